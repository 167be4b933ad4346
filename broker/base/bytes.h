/*
 * bytes.h -- fixed-width and variable-width integers to bytes and back.
 *
 * Files are little-endian (le_*), the RocketMQ wire is big-endian (be_*).  A varint is
 * LEB128: seven bits a byte, low first, at most ten bytes.
 *
 * A `struct cursor` reads a run of bytes and remembers the first failure, so a decoder
 * reads all its fields and asks once at the end: after a short read every further read
 * gives zero and `bad` stays set.
 */
#ifndef BYTES_H
#define BYTES_H

#include "base.h"

static inline uint16_t le_get16(const void *p) { uint16_t v; memcpy(&v, p, 2); return v; }
static inline uint32_t le_get32(const void *p) { uint32_t v; memcpy(&v, p, 4); return v; }
static inline uint64_t le_get64(const void *p) { uint64_t v; memcpy(&v, p, 8); return v; }
static inline void le_put16(void *p, uint16_t v) { memcpy(p, &v, 2); }
static inline void le_put32(void *p, uint32_t v) { memcpy(p, &v, 4); }
static inline void le_put64(void *p, uint64_t v) { memcpy(p, &v, 8); }

static inline uint16_t be_get16(const void *p) { return __builtin_bswap16(le_get16(p)); }
static inline uint32_t be_get32(const void *p) { return __builtin_bswap32(le_get32(p)); }
static inline uint64_t be_get64(const void *p) { return __builtin_bswap64(le_get64(p)); }
static inline void be_put16(void *p, uint16_t v) { le_put16(p, __builtin_bswap16(v)); }
static inline void be_put32(void *p, uint32_t v) { le_put32(p, __builtin_bswap32(v)); }
static inline void be_put64(void *p, uint64_t v) { le_put64(p, __builtin_bswap64(v)); }

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "bytes.h assumes a little-endian host");

#define VARINT_MAX 10

/* Writes V at P (room for VARINT_MAX), returns the bytes used. */
static inline size_t
varint_put(void *p, uint64_t v)
{
	uint8_t *b = p;
	size_t n = 0;

	while (v >= 0x80) {
		b[n++] = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	b[n++] = (uint8_t)v;
	return n;
}

struct cursor {
	const uint8_t *p;
	const uint8_t *end;
	bool bad;
};

static inline struct cursor
cursor_of(struct str s)
{
	return (struct cursor){ (const uint8_t *)s.p, (const uint8_t *)s.p + s.n, false };
}

static inline size_t
cursor_left(const struct cursor *c)
{
	return (size_t)(c->end - c->p);
}

static inline const uint8_t *
cursor_take(struct cursor *c, uint64_t n)
{
	const uint8_t *p = c->p;

	if (c->bad || n > cursor_left(c)) {
		c->bad = true;
		return NULL;
	}
	c->p += n;
	return p;
}

static inline struct str
cursor_str(struct cursor *c, uint64_t n)
{
	const uint8_t *p = cursor_take(c, n);

	return p ? str_from(p, (size_t)n) : STR_NONE;
}

static inline uint8_t
cursor_u8(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 1);

	return p ? *p : 0;
}

static inline uint32_t
cursor_le32(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 4);

	return p ? le_get32(p) : 0;
}

static inline uint64_t
cursor_le64(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 8);

	return p ? le_get64(p) : 0;
}

static inline uint64_t
cursor_varint(struct cursor *c)
{
	uint64_t v = 0;
	unsigned shift = 0;

	for (;;) {
		const uint8_t *p = cursor_take(c, 1);

		if (!p || shift > 63 || (shift == 63 && *p > 1)) {
			c->bad = true;
			return 0;
		}
		v |= (uint64_t)(*p & 0x7f) << shift;
		if (!(*p & 0x80))
			return v;
		shift += 7;
	}
}

#endif /* BYTES_H */
