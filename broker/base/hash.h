/*
 * hash.h -- three hashes, each for one purpose.
 *
 *   hash_key()   SipHash-2-4 (Aumasson, Bernstein 2012) under a secret: for tables
 *                whose keys a peer chooses, so that nobody can make them collide.
 *   hash_body()  XXH3 64 and 128 bits (libxxhash): "is it the same body?"; peers can
 *                only fool themselves with it.  Written in the journal: never changes.
 *   hash_u64()   a finaliser (splitmix64) for numbers that we made ourselves.
 */
#ifndef HASH_H
#define HASH_H

#include "base.h"

struct hash_secret {
	uint64_t k0;
	uint64_t k1;
};

struct hash128 {
	uint64_t lo;
	uint64_t hi;
};

uint64_t hash_key(struct hash_secret secret, const void *p, size_t n);
/* Of A, a zero byte... length-prefixed, so that ("ab","c") and ("a","bc") differ. */
uint64_t hash_key2(struct hash_secret secret, struct str a, struct str b);
struct hash128 hash_body(const void *p, size_t n, uint64_t seed);

static inline uint64_t
hash_u64(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

#endif /* HASH_H */
