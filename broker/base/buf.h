/*
 * buf.h -- a byte buffer that grows.
 *
 *      data            data+len            data+cap
 *       |---- in use ----|------- room -------|
 *
 * Zero-initialise it (BUF_INIT) and buf_free() it.  Pointers into it die with the next
 * call that may grow it.  Growth aborts when memory is out (see mem_grow): bound what a
 * peer can put in before putting it in.
 */
#ifndef BUF_H
#define BUF_H

#include "base.h"

struct buf {
	char *data;
	size_t len;
	size_t cap;
};

#define BUF_INIT ((struct buf){ NULL, 0, 0 })

/* Makes room for N more bytes and returns where they go; LEN is the caller's to raise. */
char *buf_reserve(struct buf *b, size_t n);
void buf_add(struct buf *b, const void *p, size_t n);
void buf_str(struct buf *b, struct str s);
void buf_u8(struct buf *b, uint8_t v);
void buf_le32(struct buf *b, uint32_t v);
void buf_le64(struct buf *b, uint64_t v);
void buf_varint(struct buf *b, uint64_t v);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF(2, 3);
/* Drops the first N bytes, moving the rest down. */
void buf_drop(struct buf *b, size_t n);
/* Empties it; gives the memory back when it is larger than KEEP. */
void buf_reset(struct buf *b, size_t keep);
void buf_free(struct buf *b);

static inline struct str
buf_as_str(const struct buf *b)
{
	return str_from(b->data, b->len);
}

#endif /* BUF_H */
