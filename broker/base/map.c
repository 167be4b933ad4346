/*
 * map.c -- open addressing with linear probing; see map.h for why it is so small.
 *
 * Invariant: from the home slot of a row (its hash & mask) to the slot where it lies there is no
 * free slot.  Deletion keeps it by moving later rows of the run back, so there are no
 * tombstones, and a map that lives for months stays as fast as a new one.
 */
#include "base/map.h"

#define MAP_SMALLEST 16

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
place(uint32_t *slots, uint64_t mask, uint64_t hash, uint32_t slot)
{
	uint64_t at = hash & mask;

	while (slots[at])
		at = (at + 1) & mask;
	slots[at] = slot;
}

static void
grow(struct map *m)
{
	uint64_t count = m->slots ? (m->mask + 1) * 2 : MAP_SMALLEST;
	uint32_t *slots = mem_alloc(count * sizeof(*slots));

	for (uint64_t i = 0; m->slots && i <= m->mask; i++) {
		if (m->slots[i])
			place(slots, count - 1, m->hash(m->arg, m->slots[i] - 1), m->slots[i]);
	}
	mem_free(m->slots);
	m->slots = slots;
	m->mask = count - 1;
}

void
map_put(struct map *m, uint64_t hash, uint32_t index)
{
	CHECK(index != MAP_NONE, index);
	if (!m->slots || (m->used + 1) * 4 > (m->mask + 1) * 3)
		grow(m);
	place(m->slots, m->mask, hash, index + 1);
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
		uint64_t home = m->hash(m->arg, m->slots[at] - 1) & m->mask;

		if (((at - home) & m->mask) >= ((at - hole) & m->mask)) {
			m->slots[hole] = m->slots[at];
			hole = at;
		}
	}
	m->slots[hole] = 0;
}

void
map_del(struct map *m, uint64_t hash, uint32_t index)
{
	uint64_t at = hash & m->mask;

	CHECK(m->used > 0, index);
	while (m->slots[at] != index + 1) {
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
	slot = m->slots[probe->at];
	if (!slot)
		return MAP_NONE;
	probe->at = (probe->at + 1) & m->mask;
	return slot - 1;
}

size_t
map_bytes(const struct map *m)
{
	return m->slots ? (size_t)(m->mask + 1) * sizeof(*m->slots) : 0;
}
