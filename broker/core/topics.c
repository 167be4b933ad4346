/*
 * topics.c -- an array by number and a map by name.
 */
#include "core/topics.h"

#include "base/err.h"
#include "core/limits.h"

static uint64_t
hash_name(const void *arg, uint32_t index)
{
	const struct topics *t = arg;

	return hash_key(t->secret, t->topics[index].name.p, t->topics[index].name.n);
}

void
topics_init(struct topics *t, struct hash_secret secret)
{
	*t = (struct topics){ .secret = secret };
	map_init(&t->by_name, hash_name, t);
}

void
topics_done(struct topics *t)
{
	for (uint32_t i = 0; i < t->count; i++) {
		mem_free((void *)(uintptr_t)t->topics[i].name.p);
		mem_free(t->topics[i].lanes);
	}
	mem_free(t->topics);
	map_done(&t->by_name);
	*t = (struct topics){ 0 };
}

uint32_t
topics_find(struct topics *t, struct str name)
{
	struct map_probe probe;
	uint32_t i;

	if (t->last < t->count && str_eq(t->topics[t->last].name, name))
		return t->last;
	i = map_first(&t->by_name, hash_key(t->secret, name.p, name.n), &probe);
	while (i != MAP_NONE && !str_eq(t->topics[i].name, name))
		i = map_next(&t->by_name, &probe);
	if (i == MAP_NONE)
		return TOPIC_NONE;
	t->last = i;
	return i;
}

int
topics_set(struct topics *t, uint32_t number, struct str name, int32_t partitions,
	   uint32_t max_bytes)
{
	struct topic *it;

	if (number > t->count || number >= LIMIT_TOPICS || name.n == 0 || partitions < 0)
		return ERR_CORRUPT;
	if (number == t->count) {
		if (topics_find(t, name) != TOPIC_NONE)
			return ERR_CORRUPT;
		if (t->count == t->cap) {
			t->cap = t->cap ? t->cap * 2 : 16;
			t->topics = mem_grow(t->topics, t->cap * sizeof(*t->topics));
		}
		t->topics[t->count++] = (struct topic){
			.name = str_from(mem_dup(name.p, name.n), name.n),
			.partitions = partitions,
			.max_bytes = max_bytes,
		};
		map_put(&t->by_name, hash_name(t, number), number);
		return 1;
	}
	it = &t->topics[number];
	if (!str_eq(it->name, name))
		return ERR_CORRUPT;
	if (it->partitions == partitions && it->max_bytes == max_bytes)
		return 0;
	it->partitions = partitions;
	it->max_bytes = max_bytes;
	return 1;
}

uint32_t
topics_lane(const struct topics *t, uint32_t number, int32_t partition)
{
	const struct topic *it = &t->topics[number];

	return partition < it->lane_cap ? it->lanes[partition] : LANE_NONE;
}

void
topics_set_lane(struct topics *t, uint32_t number, int32_t partition, uint32_t lane)
{
	struct topic *it = &t->topics[number];

	if (partition >= it->lane_cap) {
		int32_t cap = partition + 1 > it->partitions ? partition + 1 : it->partitions;

		it->lanes = mem_grow(it->lanes, (size_t)cap * sizeof(*it->lanes));
		for (int32_t i = it->lane_cap; i < cap; i++)
			it->lanes[i] = LANE_NONE;
		it->lane_cap = cap;
	}
	it->lanes[partition] = lane;
}
