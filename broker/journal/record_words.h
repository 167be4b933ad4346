/*
 * record_words.h -- what the bodies of records are made of: numbers and strings, put and got.
 *
 * Puts go to room that body_bound() has counted, and so cannot fail.  Gets read what may be
 * hostile: a short or impossible word shows in the cursor.  For record_body.c and record_txn.c.
 */
#ifndef RECORD_WORDS_H
#define RECORD_WORDS_H

#include "base/base.h"
#include "base/bytes.h"

/* Room for a body: from P, which moves, to END. */
struct out {
	uint8_t *p;
	uint8_t *end;
};

static inline void
put_bytes(struct out *o, const void *p, size_t n)
{
	CHECK(n <= (size_t)(o->end - o->p), n);
	if (n)
		memcpy(o->p, p, n);
	o->p += n;
}

static inline void
put_u8(struct out *o, uint8_t v)
{
	put_bytes(o, &v, 1);
}

/* The low N bytes of V. */
static inline void
put_low(struct out *o, uint64_t v, size_t n)
{
	put_bytes(o, &v, n);
}

static inline void
put_varint(struct out *o, uint64_t v)
{
	uint8_t b[VARINT_MAX];

	put_bytes(o, b, varint_put(b, v));
}

static inline void
put_str(struct out *o, struct str s)
{
	put_varint(o, s.n);
	put_bytes(o, s.p, s.n);
}

/* The difference of two clocks: small, of either sign, exact modulo 2^64. */
static inline void
put_delta(struct out *o, uint64_t v, uint64_t base)
{
	uint64_t d = v - base;

	put_varint(o, d << 1 ^ (d >> 63 ? UINT64_MAX : 0));
}

static inline uint64_t
get_low(struct cursor *c, size_t n)
{
	const uint8_t *p = cursor_take(c, n);
	uint64_t v = 0;

	if (p)
		memcpy(&v, p, n);
	return v;
}

static inline uint64_t
get_delta(struct cursor *c, uint64_t base)
{
	uint64_t z = cursor_varint(c);

	return base + (z >> 1 ^ (z & 1 ? UINT64_MAX : 0));
}

static inline struct str
get_str(struct cursor *c)
{
	return cursor_str(c, cursor_varint(c));
}

static inline uint32_t
get_u32(struct cursor *c)
{
	uint64_t v = cursor_varint(c);

	if (v > UINT32_MAX)
		c->bad = true;
	return (uint32_t)v;
}

/* -1 ("none") becomes 0. */
static inline void
put_partition(struct out *o, int32_t v)
{
	put_varint(o, (uint32_t)((uint32_t)v + 1));
}

static inline int32_t
get_partition(struct cursor *c)
{
	return (int32_t)(get_u32(c) - 1);
}

#endif /* RECORD_WORDS_H */
