/*
 * codec.h -- what the files of wire share: big-endian loads and stores, and an output that
 * counts on when its room is used up, so that one pass writes or tells the size.
 */
#ifndef ESCROW_WIRE_CODEC_H
#define ESCROW_WIRE_CODEC_H

#include <string.h>

#include "wire/wire.h"

static inline uint16_t
get16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return __builtin_bswap16(v);
}

static inline uint32_t
get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return __builtin_bswap32(v);
}

static inline uint64_t
get64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return __builtin_bswap64(v);
}

static inline uint8_t *
put16(uint8_t *p, uint16_t v)
{
	v = __builtin_bswap16(v);
	memcpy(p, &v, sizeof(v));
	return p + sizeof(v);
}

static inline uint8_t *
put32(uint8_t *p, uint32_t v)
{
	v = __builtin_bswap32(v);
	memcpy(p, &v, sizeof(v));
	return p + sizeof(v);
}

static inline uint8_t *
put64(uint8_t *p, uint64_t v)
{
	v = __builtin_bswap64(v);
	memcpy(p, &v, sizeof(v));
	return p + sizeof(v);
}

static inline uint8_t *
put_bytes(uint8_t *p, const void *from, size_t n)
{
	if (n > 0)
		memcpy(p, from, n);
	return p + n;
}

struct out {
	uint8_t *p;
	size_t room;
	size_t n; /* what it takes; above ROOM nothing more is written */
};

static inline void
out_bytes(struct out *o, const void *p, size_t n)
{
	if (n > 0 && o->n <= o->room && n <= o->room - o->n)
		memcpy(o->p + o->n, p, n);
	o->n += n;
}

static inline bool
str_is(struct wire_str s, const char *text, size_t n)
{
	return s.n == n && memcmp(s.p, text, n) == 0;
}

#define STR_IS(s, literal) str_is((s), (literal), sizeof(literal) - 1)

/* Prints V at TEXT (at most 20 bytes, no NUL) and moves TEXT on. */
struct wire_str print_i64(char **text, int64_t v);

/* json.c: the header between the lengths and the body. */
int json_header_decode(const char *p, size_t n, struct wire_command *c);
void json_header_encode(struct out *o, const struct wire_command *c);

/* wire.c: the byte of a language's name; OTHER when it has none. */
int32_t language_byte(struct wire_str name);

#endif /* ESCROW_WIRE_CODEC_H */
