/*
 * inflate.h -- bodies that clients compressed, plain again.
 *
 * Pure: bytes in, bytes out, a cap on the way, for a few kilobytes of hostile input can
 * ask for gigabytes.
 */
#ifndef INFLATE_H
#define INFLATE_H

#include "base.h"
#include "buf.h"

/* Stored in the journal: append, never renumber. */
enum codec { CODEC_NONE = 0, CODEC_ZLIB = 1, CODEC_LZ4 = 2, CODEC_ZSTD = 3 };

/*
 * Appends the plain form of IN to OUT.  LZ4 is the frame format, as Java clients write it.
 * ERR_MALFORMED: not that codec's bytes, cut short, or with bytes behind the end;
 * ERR_TOOBIG: more than MAX plain bytes; ERR_NOMEM.  On an error OUT is as before.
 */
int inflate_body(enum codec codec, struct str in, size_t max, struct buf *out) MUSTUSE;

#endif /* INFLATE_H */
