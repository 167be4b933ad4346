/*
 * test_cache.c -- a body that is read back is the one that was half-sent, or there is an error.
 *
 * A user would lose: the text of a message that was parked for an hour, or see somebody else's.
 */
#include "journal_world.h"

/* A user would lose: a message, given to Kafka with a bit flipped. */
START_TEST(a_cold_read_is_verified)
{
	const struct half *h;

	make_world(12, 65536, 16);
	w->conf.cache_bytes = 0;
	must_open();
	ck_assert_int_eq(work(100, 6, 0), 0);
	ck_assert_int_eq(settle(), 0);
	ck_assert_uint_gt(w->j->tail_segment, 2);
	ck_assert_int_eq(journal_fetch(w->j, w->rows[1].place, 1, &h), ERR_AGAIN);
	/* one read serves its neighbours */
	ck_assert_int_eq(journal_fetch(w->j, w->rows[2].place, 2, &h), ERR_AGAIN);
	ck_assert_int_eq(turn(), 0);
	ck_assert_uint_eq(w->fetched, 2);
	ck_assert_int_eq(journal_fetch(w->j, w->rows[3].place, 3, &h), 0);
	same_half(h);
	ck_assert_int_eq(journal_fetch(w->j, (struct place){ 0, 0 }, 3, &h), ERR_NOTFOUND);
	kill_process();
	must_open();
	flip_somewhere(1, (size_t)(w->rows[1].place.lsn - 65536),
		       (size_t)(w->rows[1].place.lsn + w->rows[1].place.len - 65536));
	ck_assert_int_eq(journal_fetch(w->j, w->rows[1].place, 1, &h), ERR_AGAIN);
	ck_assert_int_eq(turn(), ERR_CORRUPT);
	ck_assert_int_eq(w->fetch_err, ERR_CORRUPT);
	end_world();
}
END_TEST

START_TEST(many_cold_fetches_find_their_slot)
{
	const struct half *h;
	uint64_t asked = 0;

	make_world(13, 4096, 64);
	w->conf.cache_bytes = 0;
	disk_sim_knobs(w->sim)->delay_max = 5;
	must_open();
	ck_assert_int_eq(work(100, 6, 0), 0);
	ck_assert_int_eq(settle(), 0);
	w->fetched = 0;
	for (uint64_t s = 1; s < w->next_seq; s++) {
		int err = journal_fetch(w->j, w->rows[s].place, s, &h);

		ck_assert(err == 0 || err == ERR_AGAIN);
		asked += err == ERR_AGAIN;
	}
	ck_assert_uint_gt(asked, SLOTS * 2);
	ck_assert_int_eq(settle(), 0);
	ck_assert_uint_eq(w->fetched, asked);
	end_world();
}
END_TEST

/* More bodies from more places than can be read at one time: each comes, once. */
START_TEST(more_cold_fetches_than_slots)
{
	const struct half *h;
	uint64_t asked = 0, open = 0;
	int err;

	make_world(50, 4096, 300);
	w->conf.cache_bytes = 0;
	must_open();
	ck_assert_int_eq(work(1200, 6, 0), 0);
	ck_assert_int_eq(settle(), 0);
	/* more files than may be open at one time */
	ck_assert_uint_gt(journal_stats(w->j)->segments, FILES_OPEN_MAX + SLOTS);
	for (size_t i = 0; i < w->j->segment_count; i++)
		open += w->j->segments[i].file != NULL;
	ck_assert_uint_le(open, FILES_OPEN_MAX + 2);
	disk_sim_knobs(w->sim)->delay_max = 5;
	for (int round = 0; round < 2; round++) {
		w->fetched = asked = 0;
		for (uint64_t s = 1; s < w->next_seq; s += round ? 1 : 7) {
			err = journal_fetch(w->j, w->rows[s].place, s, &h);
			ck_assert(err == 0 || err == ERR_AGAIN);
			asked += err == ERR_AGAIN;
		}
		ck_assert_uint_gt(asked, SLOTS * 8);
		for (int i = 0; i < 20; i++)
			ck_assert_int_eq(settle(), 0);
		ck_assert_uint_eq(w->fetched, asked);
		ck_assert_int_eq(w->fetch_err, 0);
	}
	/* one of those that wait cannot be read any more */
	w->fetched = asked = 0;
	for (uint64_t s = 1; s < w->next_seq; s += 7)
		(void)!journal_fetch(w->j, w->rows[s].place, s, &h);
	disk_sim_knobs(w->sim)->refuse = 1;
	do
		err = turn();
	while (!err);
	ck_assert_int_eq(err, ERR_SYSTEM);
	ck_assert_int_eq(journal_fetch(w->j, w->rows[1].place, 1, &h), ERR_SYSTEM);
	end_world();
}
END_TEST

/* All that the cache may hold is found there, and costs no read, however many pieces it is. */
START_TEST(recent_bodies_are_read_from_memory)
{
	const struct half *h;

	make_world(53, 4096, 300);
	w->conf.cache_bytes = 4096 * 200;
	must_open();
	ck_assert_int_eq(work(600, 6, 0), 0);
	ck_assert_int_eq(settle(), 0);
	ck_assert_uint_gt(w->j->chunk_count, 70);
	ck_assert_uint_lt(w->j->chunk_count, 200);
	for (uint64_t s = 1; s < w->next_seq; s++) {
		ck_assert_int_eq(journal_fetch(w->j, w->rows[s].place, s, &h), 0);
		ck_assert_uint_eq(h->gid.lo, s);
	}
	ck_assert_uint_eq(journal_stats(w->j)->fetch_misses, 0);
	/* and more files than a listing is made for at first are found again */
	power_cut();
	must_open();
	end_world();
}
END_TEST

/* Not where a record ends: damage, or our own mistake.  Nobody gets half a message, or two. */
START_TEST(a_place_of_another_length_is_damage)
{
	const struct half *h;
	struct place place;
	bool cold = _i & 1;

	make_world(54, 16384, 16);
	w->conf.cache_bytes = 0;
	must_open();
	ck_assert_int_eq(work(60, 6, 0), 0);
	ck_assert_int_eq(settle(), 0);
	place = w->rows[cold ? 1 : w->next_seq - 2].place;
	place.len += _i & 2 ? 1 : (uint32_t)-1;
	if (cold) {
		ck_assert_int_eq(journal_fetch(w->j, place, 1, &h), ERR_AGAIN);
		ck_assert_int_eq(turn(), ERR_CORRUPT);
	} else {
		ck_assert_int_eq(journal_fetch(w->j, place, 1, &h), ERR_CORRUPT);
		ck_assert_int_eq(turn(), ERR_CORRUPT);
	}
	end_world();
}
END_TEST

/* A record whose place spans what memory has and what it has not comes from the disk, or not. */
START_TEST(a_place_across_two_pieces_is_not_served)
{
	const struct half *h;
	struct chunk *c;
	struct place place;

	make_world(55, 4096, 64);
	w->conf.cache_bytes = 4096 * 60;
	must_open();
	ck_assert_int_eq(work(60, 6, 0), 0);
	ck_assert_int_eq(settle(), 0);
	c = w->j->chunks[w->j->chunk_count - 2];
	place = (struct place){ c->lsn + c->used - 10, 100 };
	ck_assert_int_ne(journal_fetch(w->j, place, 1, &h), 0);
	end_world();
}
END_TEST

/* A place that is none, or none of a half message any more, is told as such: it ends nothing. */
START_TEST(fetches_of_what_is_not_there)
{
	struct entry e = { .type = ENTRY_CLUSTER, .cluster = { STR("c") } };
	struct place cold, hot, place;
	const struct half *h;

	make_world(51, 16384, 16);
	w->conf.cache_bytes = 0;
	must_open();
	ck_assert_int_eq(journal_append(w->j, &e, &cold), 0);
	ck_assert_int_eq(work(60, 6, 0), 0);
	ck_assert_int_eq(settle(), 0);
	ck_assert_int_eq(journal_append(w->j, &e, &hot), 0);
	ck_assert_int_eq(journal_fetch(w->j, hot, 1, &h), ERR_NOTFOUND);
	ck_assert_int_eq(journal_fetch(w->j, cold, 1, &h), ERR_AGAIN);
	ck_assert_int_eq(turn(), 0);
	ck_assert_int_eq(w->fetch_err, ERR_NOTFOUND);
	place = (struct place){ w->j->tail_lsn, 10 };
	ck_assert_int_eq(journal_fetch(w->j, place, 1, &h), ERR_NOTFOUND);
	/* its segment is gone */
	for (int i = 0; i < 300; i++) {
		ck_assert_int_eq(work(1, 6, 0), 0);
		for (uint64_t s = 1; s < w->next_seq; s++)
			ck_assert_int_eq(decide(s), 0);
	}
	ck_assert_int_eq(settle(), 0);
	ck_assert_uint_gt(journal_stats(w->j)->reclaimed, 1);
	ck_assert_int_eq(journal_fetch(w->j, cold, 1, &h), ERR_NOTFOUND);
	/* not where a record begins: that is damage, or our own mistake, and the end */
	ck_assert_int_eq(journal_append(w->j, &e, &hot), 0);
	place = (struct place){ hot.lsn + 1, hot.len - 1 };
	ck_assert_int_eq(journal_fetch(w->j, place, 1, &h), ERR_CORRUPT);
	ck_assert_int_eq(turn(), ERR_CORRUPT);
	end_world();
}
END_TEST

/* A user would lose: bodies, without a word, to somebody who removes a file of the journal. */
START_TEST(a_segment_that_is_removed_is_missed)
{
	struct disk_file *file;
	struct disk *d;
	const struct half *h;
	int err = 0;

	make_world(52, 4096, 300);
	w->conf.cache_bytes = 0;
	must_open();
	ck_assert_int_eq(work(900, 6, 0), 0);
	ck_assert_int_eq(settle(), 0);
	ck_assert_uint_gt(journal_stats(w->j)->segments, FILES_OPEN_MAX + 2);
	d = disk_sim_disk(w->sim);
	ck_assert_int_eq(d->ops->remove(d, "00000000000000000001.seg"), 0);
	if (_i) { /* or that of one which was made empty */
		ck_assert_int_eq(d->ops->open(d, "00000000000000000001.seg", true, &file), 0);
		d->ops->close(file);
	}
	/* the oldest files are closed when others are needed */
	for (uint64_t s = w->next_seq - 1; s >= 1 && err == 0; s--) {
		err = journal_fetch(w->j, w->rows[s].place, s, &h);
		err = err == ERR_AGAIN ? turn() : err;
	}
	ck_assert_int_eq(err, ERR_CORRUPT);
	end_world();
}
END_TEST

int
main(void)
{
	TCase *t = unit_case("cache", NULL, NULL);

	tcase_set_timeout(t, 120);
	tcase_add_test(t, a_cold_read_is_verified);
	tcase_add_test(t, many_cold_fetches_find_their_slot);
	tcase_add_test(t, more_cold_fetches_than_slots);
	tcase_add_test(t, fetches_of_what_is_not_there);
	tcase_add_loop_test(t, a_segment_that_is_removed_is_missed, 0, 2);
	tcase_add_test(t, recent_bodies_are_read_from_memory);
	tcase_add_loop_test(t, a_place_of_another_length_is_damage, 0, 4);
	tcase_add_test(t, a_place_across_two_pieces_is_not_served);
	return unit_run_case("cache", t);
}
