/*
 * map.h -- hash to index, open addressing, four bytes a slot.
 *
 * The map stores only 32-bit indexes (of rows in the caller's array) and asks the caller
 * for the hash of a row when it grows or moves one, so an entry costs about 6 bytes.  Linear
 * probing, deletion by moving back, load at most 3/4.  Several rows may share a hash: a
 * look-up walks the candidates with map_first()/map_next() and the caller compares.  What an
 * index leaves of the four bytes keeps most others from being candidates at all.
 * Order of iteration is not offered: decisions must not depend on it.
 */
#ifndef MAP_H
#define MAP_H

#include "base.h"

#define MAP_NONE UINT32_MAX

typedef uint64_t (*map_hash_fn)(const void *arg, uint32_t index);

struct map {
	uint32_t *slots; /* fingerprint, distance, index + 1; 0 is free */
	uint64_t mask;
	uint64_t used;
	uint64_t far; /* the greatest distance that a slot can say */
	uint32_t index_mask;
	uint8_t home_bits; /* of the hash: log2 of the number of slots */
	uint8_t index_bits;
	uint8_t distance_bits;
	uint8_t print_bits;
	map_hash_fn hash;
	const void *arg;
};

struct map_probe {
	uint64_t at;
	uint64_t hash;
};

void map_init(struct map *m, map_hash_fn hash, const void *arg);
void map_done(struct map *m);
/* HASH must be what m->hash gives for INDEX, well mixed; INDEX < UINT32_MAX. */
void map_put(struct map *m, uint64_t hash, uint32_t index);
/* Removes INDEX, which must be there. */
void map_del(struct map *m, uint64_t hash, uint32_t index);
/* The first row whose hash may be HASH, or MAP_NONE; then the next ones. */
uint32_t map_first(const struct map *m, uint64_t hash, struct map_probe *ret_probe);
uint32_t map_next(const struct map *m, struct map_probe *probe);
/* Fetches what a look-up of HASH will read, so that other work hides the cache miss. */
static inline void
map_prefetch(const struct map *m, uint64_t hash)
{
	if (m->slots)
		__builtin_prefetch(&m->slots[hash & m->mask], 1);
}

size_t map_bytes(const struct map *m);

#endif /* MAP_H */
