/*
 * test_map.c -- the map finds the transaction that a commit is for: a row that it loses is a
 * decision that is answered "no such transaction".
 */
#include <signal.h>

#include "base/base.h"
#include "base/hash.h"
#include "base/map.h"
#include "unit.h"

#define ROWS 20000u

struct world {
	uint64_t hashes[ROWS];
	bool there[ROWS];
	struct map map;
};

static uint64_t
hash_of(const void *arg, uint32_t index)
{
	return ((const struct world *)arg)->hashes[index];
}

static bool
finds(struct world *w, uint32_t index)
{
	struct map_probe probe;

	for (uint32_t i = map_first(&w->map, w->hashes[index], &probe); i != MAP_NONE;
	     i = map_next(&w->map, &probe)) {
		if (i == index)
			return true;
	}
	return false;
}

static struct world *
world_new(void)
{
	struct world *w = mem_alloc(sizeof(*w));

	map_init(&w->map, hash_of, w);
	return w;
}

static void
world_free(struct world *w)
{
	map_done(&w->map);
	mem_free(w);
}

START_TEST(an_empty_map_has_nothing)
{
	struct world *w = world_new();
	struct map_probe probe;

	ck_assert_uint_eq(map_first(&w->map, 5, &probe), MAP_NONE);
	ck_assert_uint_eq(map_next(&w->map, &probe), MAP_NONE);
	ck_assert_uint_eq(map_bytes(&w->map), 0);
	world_free(w);
}
END_TEST

/* Random puts and deletes against an array of flags.  Few homes: the runs are long. */
static void
play(uint64_t homes)
{
	struct world *w = world_new();
	uint64_t dice = 1, count = 0;

	for (uint32_t i = 0; i < ROWS; i++)
		w->hashes[i] = homes ? hash_u64(i) % homes : hash_u64(i);
	for (unsigned step = 0; step < 3 * ROWS; step++) {
		uint32_t i = (uint32_t)((dice = hash_u64(dice)) % (homes ? 600 : ROWS));

		if (w->there[i])
			map_del(&w->map, w->hashes[i], i);
		else
			map_put(&w->map, w->hashes[i], i);
		w->there[i] = !w->there[i];
		count += w->there[i] ? 1 : (uint64_t)-1;
		ck_assert_uint_eq(w->map.used, count);
		if (step % (homes ? 997 : 9973) == 0) {
			for (uint32_t j = 0; j < (homes ? 600 : ROWS); j++)
				ck_assert(finds(w, j) == w->there[j]);
		}
	}
	world_free(w);
}

START_TEST(finds_all_that_is_there_and_nothing_else)
{
	play(0);
}
END_TEST

START_TEST(survives_keys_that_collide)
{
	play(1);
	play(3);
	play(17);
}
END_TEST

START_TEST(runs_wrap_around_the_end)
{
	struct world *w = world_new();

	/* 16 slots; all rows want the last one. */
	for (uint32_t i = 0; i < 12; i++) {
		w->hashes[i] = 15;
		map_put(&w->map, 15, i);
	}
	map_del(&w->map, 15, 0);
	map_del(&w->map, 15, 5);
	for (uint32_t i = 0; i < 12; i++)
		ck_assert(finds(w, i) == (i != 0 && i != 5));
	world_free(w);
}
END_TEST

START_TEST(an_entry_costs_about_six_bytes)
{
	struct world *w = world_new();

	for (uint32_t i = 0; i < ROWS; i++) {
		w->hashes[i] = hash_u64(i);
		map_put(&w->map, w->hashes[i], i);
	}
	ck_assert_uint_le(map_bytes(&w->map), ROWS * 11);
	world_free(w);
}
END_TEST

static uint64_t
hash_of_index(const void *arg, uint32_t index)
{
	(void)arg;
	return hash_u64(index);
}

static uint32_t
candidates(const struct map *m, uint64_t hash, uint32_t index)
{
	struct map_probe probe;
	uint32_t count = 0;

	for (uint32_t i = map_first(m, hash, &probe); i != MAP_NONE; i = map_next(m, &probe))
		count += i != index;
	return count;
}

/* A look-up that reads the rows of others costs a cache miss for each of them. */
START_TEST(few_others_are_candidates)
{
	struct map m;
	uint32_t others = 0;

	map_init(&m, hash_of_index, NULL);
	for (uint32_t i = 0; i < ROWS; i++)
		map_put(&m, hash_u64(i), i);
	for (uint32_t i = 0; i < 2 * ROWS; i++)
		others += candidates(&m, hash_u64(i), i);
	ck_assert_uint_lt(others, ROWS / 100);
	map_done(&m);
}
END_TEST

static uint64_t asked_hashes;

static uint64_t
hash_counted(const void *arg, uint32_t index)
{
	asked_hashes++;
	return hash_of_index(arg, index);
}

/* Growing among ten million rows must not read them all: everybody waits meanwhile. */
START_TEST(growing_asks_for_few_hashes)
{
	struct map m;

	map_init(&m, hash_counted, NULL);
	for (uint32_t i = 0; i < 50 * ROWS; i++)
		map_put(&m, hash_u64(i), i);
	ck_assert_uint_lt(asked_hashes, ROWS);
	for (uint32_t i = 0; i < 50 * ROWS; i++)
		map_del(&m, hash_u64(i), i);
	ck_assert_uint_lt(asked_hashes, 2 * ROWS);
	ck_assert_uint_eq(m.used, 0);
	map_done(&m);
}
END_TEST

START_TEST(indexes_of_every_width_are_kept)
{
	struct map m;

	map_init(&m, hash_of_index, NULL);
	for (unsigned bit = 0; bit < 32; bit++) {
		for (uint32_t i = 0; i < 9; i++)
			map_put(&m, hash_u64((1u << bit) * 3 / 2 + i + 40 * bit),
				(1u << bit) * 3 / 2 + i + 40 * bit);
		for (unsigned b = 0; b <= bit; b++)
			for (uint32_t i = 0; i < 9; i++) {
				uint32_t index = (1u << b) * 3 / 2 + i + 40 * b;
				struct map_probe probe;
				uint32_t at = map_first(&m, hash_u64(index), &probe);

				while (at != index) {
					ck_assert_uint_ne(at, MAP_NONE);
					at = map_next(&m, &probe);
				}
			}
	}
	for (unsigned bit = 0; bit < 32; bit++)
		for (uint32_t i = 0; i < 9; i++)
			map_del(&m, hash_u64((1u << bit) * 3 / 2 + i + 40 * bit),
				(1u << bit) * 3 / 2 + i + 40 * bit);
	ck_assert_uint_eq(m.used, 0);
	map_done(&m);
}
END_TEST

/* Run in a process of its own, which must die: going on would corrupt the index. */
START_TEST(deleting_what_is_not_there_is_a_bug)
{
	struct world *w = world_new();

	w->hashes[1] = 1;
	map_put(&w->map, 1, 1);
	map_del(&w->map, 1, 2);
}
END_TEST

int
main(void)
{
	TCase *tcase = unit_case("map", NULL, NULL);

	tcase_add_test(tcase, an_empty_map_has_nothing);
	tcase_add_test(tcase, finds_all_that_is_there_and_nothing_else);
	tcase_add_test(tcase, survives_keys_that_collide);
	tcase_add_test(tcase, runs_wrap_around_the_end);
	tcase_add_test(tcase, an_entry_costs_about_six_bytes);
	tcase_add_test(tcase, few_others_are_candidates);
	tcase_add_test(tcase, growing_asks_for_few_hashes);
	tcase_add_test(tcase, indexes_of_every_width_are_kept);
	tcase_add_test_raise_signal(tcase, deleting_what_is_not_there_is_a_bug, SIGABRT);
	return unit_run_case("map", tcase);
}
