/*
 * map.c -- open addressing with linear probing; see map.h for why it is so small.
 *
 * Invariant: from the home slot of a row (its hash & mask) to the slot where it lies there is no
 * free slot.  Deletion keeps it by moving later rows of the run back, so there are no
 * tombstones, and a map that lives for months stays as fast as a new one.
 *
 * With millions of rows each row looked at is a cache miss, so a slot uses the bits that its index
 * does not need, to say without the row whether it can be the one:
 *
 *      | fingerprint: bits of the hash | distance from home | index + 1 |
 *
 * The greatest distance means "that or more".  A map that needs more bits for its indexes has
 * fewer for the rest; with none at all every row of the run is a candidate, as without them.
 *
 * The fingerprint is the bits just above those of the home.  A map of twice the size takes its
 * lowest bit into the home and gives one more bit to the index, so that growing needs no rows
 * either: with millions of them that would stand still for a tenth of a second.
 */
#include "base/map.h"

#define MAP_SMALLEST  4 /* bits of the home: 16 slots */
#define DISTANCE_BITS 5u

/* What a slot says of a row with HASH that lies DISTANCE behind its home. */
static uint32_t
slot_of(const struct map *m, uint64_t hash, uint64_t distance, uint32_t index)
{
	uint64_t print = (hash >> m->home_bits) & ((UINT64_C(1) << m->print_bits) - 1);
	uint64_t tag = (distance < m->far ? distance : m->far) | print << m->distance_bits;

	return (uint32_t)(tag << m->index_bits) | (index + 1);
}

static uint32_t
index_of(const struct map *m, uint32_t slot)
{
	return (slot & m->index_mask) - 1;
}

/* Its distance from home at most m->far: then it is that, or more. */
static uint64_t
distance_of(const struct map *m, uint32_t slot)
{
	return (uint64_t)slot >> m->index_bits & m->far;
}

void
map_init(struct map *m, map_hash_fn hash, const void *arg)
{
	*m = (struct map){ .hash = hash, .arg = arg };
}

void
map_done(struct map *m)
{
	mem_free(m->slots);
	m->slots = NULL;
	m->mask = 0;
	m->used = 0;
}

static void
place(struct map *m, uint64_t hash, uint32_t index)
{
	uint64_t at = hash & m->mask;
	uint64_t distance = 0;

	while (m->slots[at]) {
		at = (at + 1) & m->mask;
		distance++;
	}
	m->slots[at] = slot_of(m, hash, distance, index);
}

/* Divides a slot's bits so that indexes up to INDEX fit; AT_LEAST for them. */
static void
divide(struct map *m, uint32_t index, uint32_t at_least)
{
	uint32_t bits = at_least < 32 ? at_least : 32;
	uint32_t rest;

	while (bits < 32 && ((uint64_t)index + 1) >> bits)
		bits++;
	rest = 32 - bits;
	m->index_bits = (uint8_t)bits;
	m->index_mask = (uint32_t)((UINT64_C(1) << bits) - 1);
	m->distance_bits = (uint8_t)(rest < DISTANCE_BITS ? rest : DISTANCE_BITS);
	m->print_bits = (uint8_t)(rest - m->distance_bits);
	m->far = (UINT64_C(1) << m->distance_bits) - 1;
}

/* As much of the hash of the row at AT as M asks for: what OLD knows of it, or all. */
static uint64_t
hash_from(const struct map *m, const struct map *old, uint64_t at)
{
	uint32_t slot = old->slots[at];
	uint64_t distance = distance_of(old, slot);
	uint64_t print = (uint64_t)slot >> old->index_bits >> old->distance_bits;

	if (distance == old->far || m->home_bits + m->print_bits > old->home_bits + old->print_bits)
		return m->hash(m->arg, index_of(old, slot));
	return ((at - distance) & old->mask) | print << old->home_bits;
}

/* The same rows in a map of 2^HOME_BITS slots, which have room for INDEX. */
static void
rebuild(struct map *m, uint8_t home_bits, uint32_t index)
{
	uint64_t count = UINT64_C(1) << home_bits;
	struct map old = *m;

	m->slots = mem_alloc(count * sizeof(*m->slots));
	m->mask = count - 1;
	m->home_bits = home_bits;
	divide(m, index, (uint32_t)old.index_bits + home_bits - old.home_bits);
	for (uint64_t i = 0; old.slots && i <= old.mask; i++)
		if (old.slots[i])
			place(m, hash_from(m, &old, i), index_of(&old, old.slots[i]));
	mem_free(old.slots);
}

void
map_put(struct map *m, uint64_t hash, uint32_t index)
{
	CHECK(index != MAP_NONE, index);
	if (!m->slots || (m->used + 1) * 4 > (m->mask + 1) * 3)
		rebuild(m, m->slots ? (uint8_t)(m->home_bits + 1) : MAP_SMALLEST, index);
	else if (index + 1 > m->index_mask)
		rebuild(m, m->home_bits, index);
	place(m, hash, index);
	m->used++;
}

/*
 * Closes the hole at HOLE.  A later row of the run may move into it exactly when its home does
 * not lie (cyclically) behind the hole: else it would stand before its home and never be found.
 */
static void
close_hole(struct map *m, uint64_t hole)
{
	for (uint64_t at = (hole + 1) & m->mask; m->slots[at]; at = (at + 1) & m->mask) {
		uint64_t distance = distance_of(m, m->slots[at]);
		uint64_t gap = (at - hole) & m->mask;

		if (distance < m->far) {
			if (distance < gap)
				continue;
			m->slots[hole] = m->slots[at] - (uint32_t)(gap << m->index_bits);
		} else {
			uint32_t index = index_of(m, m->slots[at]);
			uint64_t hash = m->hash(m->arg, index);

			distance = (at - hash) & m->mask;
			if (distance < gap)
				continue;
			m->slots[hole] = slot_of(m, hash, distance - gap, index);
		}
		hole = at;
	}
	m->slots[hole] = 0;
}

void
map_del(struct map *m, uint64_t hash, uint32_t index)
{
	uint64_t at = hash & m->mask;

	CHECK(m->used > 0, index);
	while (m->slots[at] == 0 || index_of(m, m->slots[at]) != index) {
		CHECK(m->slots[at] != 0, index);
		at = (at + 1) & m->mask;
	}
	close_hole(m, at);
	m->used--;
}

uint32_t
map_first(const struct map *m, uint64_t hash, struct map_probe *ret_probe)
{
	*ret_probe = (struct map_probe){ .at = hash & m->mask, .hash = hash };
	return map_next(m, ret_probe);
}

uint32_t
map_next(const struct map *m, struct map_probe *probe)
{
	uint32_t slot;

	if (!m->slots)
		return MAP_NONE;
	while ((slot = m->slots[probe->at]) != 0) {
		uint64_t distance = (probe->at - probe->hash) & m->mask;
		uint32_t like = slot_of(m, probe->hash, distance, 0);

		probe->at = (probe->at + 1) & m->mask;
		if ((uint64_t)(like ^ slot) >> m->index_bits == 0)
			return index_of(m, slot);
	}
	return MAP_NONE;
}

size_t
map_bytes(const struct map *m)
{
	return m->slots ? (size_t)(m->mask + 1) * sizeof(*m->slots) : 0;
}
