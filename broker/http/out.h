/*
 * out.h -- JSON, written straight into a buffer.
 *
 * Answers are flat and known in shape, so they need no tree: each call writes one member
 * and the commas look after themselves.  KEY NULL: an element of an array.  Bytes that
 * are not UTF-8 become U+FFFD, so the result always parses.
 *
 *     struct out o = out_begin(&buf);
 *     out_open(&o, NULL, '{');
 *     out_text(&o, "state", "prepared");
 *     out_close(&o, '}');
 */
#ifndef OUT_H
#define OUT_H

#include "base/buf.h"

struct out {
	struct buf *buf;
	bool comma;
};

#define OUT_TIME 32

struct out out_begin(struct buf *b);
void out_open(struct out *o, const char *key, char bracket);
void out_close(struct out *o, char bracket);
void out_str(struct out *o, const char *key, struct str value); /* .p NULL: null */
void out_text(struct out *o, const char *key, const char *value); /* NULL: null */
void out_num(struct out *o, const char *key, uint64_t value);
void out_signed(struct out *o, const char *key, int64_t value);
void out_real(struct out *o, const char *key, double value);
void out_flag(struct out *o, const char *key, bool value);
void out_null(struct out *o, const char *key);
/* A 64-bit id, as a string: JSON's readers lose bits above 2^53. */
void out_id(struct out *o, const char *key, uint64_t value);
/* "key": RFC 3339 and "key_ms": the number; 0: both null. */
void out_time(struct out *o, const char *key, uint64_t ms);
void out_base64(struct out *o, const char *key, struct str value);


#endif /* OUT_H */
