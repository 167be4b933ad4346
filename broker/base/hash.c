/*
 * hash.c -- SipHash-2-4, and libxxhash's XXH3 compiled in.
 *
 * XXH3 is taken from the header alone (XXH_INLINE_ALL), so that base links no library for it
 * and short bodies cost no call.
 */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/bytes.h"
#include "base/hash.h"

struct sip {
	uint64_t v0, v1, v2, v3;
};

static inline uint64_t
rotl(uint64_t x, int by)
{
	return x << by | x >> (64 - by);
}

static inline void
sip_round(struct sip *s)
{
	s->v0 += s->v1;
	s->v1 = rotl(s->v1, 13) ^ s->v0;
	s->v0 = rotl(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = rotl(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = rotl(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = rotl(s->v1, 17) ^ s->v2;
	s->v2 = rotl(s->v2, 32);
}

static inline void
sip_word(struct sip *s, uint64_t word)
{
	s->v3 ^= word;
	sip_round(s);
	sip_round(s);
	s->v0 ^= word;
}

static inline struct sip
sip_begin(struct hash_secret secret)
{
	return (struct sip){
		.v0 = secret.k0 ^ UINT64_C(0x736f6d6570736575),
		.v1 = secret.k1 ^ UINT64_C(0x646f72616e646f6d),
		.v2 = secret.k0 ^ UINT64_C(0x6c7967656e657261),
		.v3 = secret.k1 ^ UINT64_C(0x7465646279746573),
	};
}

/* Takes N bytes; the last word is padded with zeroes and carries N in its highest byte. */
static void
sip_bytes(struct sip *s, const void *p, size_t n)
{
	const uint8_t *b = p;
	uint64_t last = (uint64_t)n << 56;
	size_t whole = n & ~(size_t)7;

	for (size_t i = 0; i < whole; i += 8)
		sip_word(s, le_get64(b + i));
	for (size_t i = whole; i < n; i++)
		last |= (uint64_t)b[i] << (8 * (i - whole));
	sip_word(s, last);
}

static uint64_t
sip_end(struct sip *s)
{
	s->v2 ^= 0xff;
	for (int i = 0; i < 4; i++)
		sip_round(s);
	return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

uint64_t
hash_key(struct hash_secret secret, const void *p, size_t n)
{
	struct sip s = sip_begin(secret);

	sip_bytes(&s, p, n);
	return sip_end(&s);
}

uint64_t
hash_key2(struct hash_secret secret, struct str a, struct str b)
{
	struct sip s = sip_begin(secret);

	/* The whole length of A first: sip_bytes() keeps only its low eight bits. */
	sip_word(&s, a.n);
	sip_bytes(&s, a.p, a.n);
	sip_bytes(&s, b.p, b.n);
	return sip_end(&s);
}

struct hash128
hash_body(const void *p, size_t n, uint64_t seed)
{
	XXH128_hash_t h = XXH3_128bits_withSeed(p, n, seed);

	return (struct hash128){ .lo = h.low64, .hi = h.high64 };
}
