/*
 * test_journal.c -- what is taken finds its room and becomes durable, and what fails is told.
 *
 * A user would lose: a half message that was answered, and with it money; or find a transaction
 * decided that nobody decided.
 */
#include "journal_world.h"

/* The directory is locked: two daemons on one journal would tear it apart. */
START_TEST(a_second_daemon_is_refused)
{
	struct journal *other;
	struct journal_fault fault;
	bool fresh;

	make_world(1, 65536, 16);
	must_open();
	ck_assert_int_eq(journal_open(disk_sim_disk(w->sim), &w->conf, &client, NULL, &other,
				      &fresh, &fault),
			 ERR_LOCKED);
	end_world();
}
END_TEST

START_TEST(segments_go_round_and_what_is_undecided_goes_along)
{
	uint64_t steps = 0;

	make_world(7, 16384, 8);
	must_open();
	for (int i = 0; i < 300; i++) {
		ck_assert_int_eq(work(1, 6, 6), 0);
		/* decide nearly all, so that there is something to reclaim */
		for (uint64_t s = 1; s < w->next_seq; s++)
			if (s % 29)
				ck_assert_int_eq(decide(s), 0);
		ck_assert_int_eq(turn(), 0);
		steps = journal_stats(w->j)->segments + journal_stats(w->j)->spares;
		ck_assert_uint_le(steps, 9);
	}
	ck_assert_int_eq(settle(), 0);
	ck_assert_uint_gt(journal_stats(w->j)->reclaimed, 5);
	ck_assert_uint_gt(w->copies, 20);
	ck_assert_uint_gt(journal_stats(w->j)->oldest_segment, 5);
	/* each undecided one can still be read, hot or cold */
	for (uint64_t s = 1; s < w->next_seq; s++) {
		const struct half *h;
		uint64_t before = w->fetched;
		int err;

		if (w->rows[s].dead || !w->rows[s].place.len)
			continue;
		err = journal_fetch(w->j, w->rows[s].place, s, &h);
		if (err == 0) {
			same_half(h);
			ck_assert_uint_eq(h->gid.lo, s);
			continue;
		}
		ck_assert_int_eq(err, ERR_AGAIN);
		ck_assert_int_eq(turn(), 0);
		ck_assert_uint_eq(w->fetched, before + 1);
		ck_assert_int_eq(w->fetch_err, 0);
	}
	ck_assert_uint_gt(journal_stats(w->j)->fetch_misses, 0);
	power_cut();
	must_open();
	end_world();
}
END_TEST

/* A user would lose: decisions, when the disk is full of half messages. */
START_TEST(a_full_journal_refuses_half_sends_and_nothing_else)
{
	uint64_t sent = 0, undecided;
	int refused = 0;

	make_world(8, 16384, 8);
	must_open();
	for (int i = 0; i < 2000 && refused < 50; i++) {
		int err = half_send();

		ck_assert(err == 0 || err == ERR_FULL);
		sent += err == 0;
		refused += err == ERR_FULL;
		ck_assert_int_eq(turn(), 0);
	}
	ck_assert_int_ge(refused, 50);
	ck_assert_uint_gt(sent, 40);
	ck_assert(!w->space && !journal_has_room(w->j) && journal_stats(w->j)->full);
	ck_assert(!w->for_lack_of_disk);
	/* all of it is live: it must not copy itself in circles */
	ck_assert_uint_le(journal_stats(w->j)->bytes_copied, 8 * 16384);
	undecided = count(ACKED);
	ck_assert_uint_eq(undecided, sent);
	/* it can be stopped and started when full */
	power_cut();
	must_open();
	ck_assert_uint_eq(count(ACKED), sent);
	for (uint64_t s = 1; s < w->next_seq; s++) {
		ck_assert_int_eq(decide(s), 0);
		ck_assert_int_eq(turn(), 0);
	}
	for (int i = 0; i < 100 && !journal_has_room(w->j); i++) {
		w->now += 10 * NS_PER_S;
		ck_assert_int_eq(settle(), 0);
		/* something must be written for a reclaim to be worth while */
		struct entry e = { .type = ENTRY_CLUSTER, .cluster = { STR("c") } };
		struct place p;

		ck_assert_int_eq(journal_append(w->j, &e, &p), 0);
	}
	ck_assert(w->space && journal_has_room(w->j));
	ck_assert_int_eq(half_send(), 0);
	end_world();
}
END_TEST

/*
 * A user would lose: the daemon, to the machine's memory, when a disk stands still, or is slower
 * than what producers send who wait for no answer.  What finishes transactions is taken all the
 * same.
 */
START_TEST(what_waits_for_the_disk_has_its_bound)
{
	uint64_t first, waiting;
	int err = 0;

	make_world(40, 16384, 64);
	w->conf.unsynced_bytes = 40000;
	must_open();
	ck_assert_int_eq(half_send(), 0);
	ck_assert_int_eq(turn(), 0);
	ck_assert_int_eq(settle(), 0);
	first = w->next_seq - 1;
	ck_assert_int_eq(w->rows[first].half, ACKED);
	disk_sim_knobs(w->sim)->hold = true; /* nothing ends */
	for (int i = 0; i < 3000 && !err; i++) {
		err = half_send();
		ck_assert_int_eq(turn(), 0);
	}
	ck_assert_int_eq(err, ERR_AGAIN);
	ck_assert(journal_has_room(w->j));
	waiting = journal_stats(w->j)->appended_lsn - journal_stats(w->j)->durable_lsn;
	ck_assert_uint_gt(waiting, 40000);
	ck_assert_uint_lt(waiting, 40000 + 16384);
	ck_assert_int_eq(decide(first), 0);
	disk_sim_knobs(w->sim)->hold = false;
	ck_assert_int_eq(settle(), 0);
	ck_assert_int_eq(w->rows[first].decision, ACKED);
	ck_assert_int_eq(half_send(), 0);
	ck_assert_int_eq(settle(), 0);
	ck_assert_uint_eq(count(PENDING), 0);
	end_world();
}
END_TEST

/* The file system is full although our quota is not. */
START_TEST(no_space_on_the_disk_refuses_half_sends_until_there_is)
{
	int refused = 0;

	make_world(9, 16384, 64);
	disk_sim_knobs(w->sim)->capacity = 6 * 16384;
	must_open();
	for (int i = 0; i < 1000 && refused < 20; i++) {
		int err = half_send();

		ck_assert(err == 0 || err == ERR_FULL);
		refused += err == ERR_FULL;
		ck_assert_int_eq(turn(), 0);
	}
	ck_assert_int_ge(refused, 20);
	ck_assert(w->for_lack_of_disk);
	for (uint64_t s = 1; s < w->next_seq; s += 2) {
		ck_assert_int_eq(decide(s), 0);
		ck_assert_int_eq(turn(), 0);
	}
	power_cut();
	must_open();
	ck_assert_int_eq(turn(), 0);
	disk_sim_knobs(w->sim)->capacity = 0;
	w->now += 60 * NS_PER_S;
	ck_assert_int_eq(settle(), 0);
	ck_assert_int_eq(half_send(), 0);
	end_world();
}
END_TEST

/* Half-sends until twenty were refused; how many were taken. */
static uint64_t
fill_up(void)
{
	uint64_t sent = 0;
	int refused = 0;

	for (int i = 0; i < 3000 && refused < 20; i++) {
		int err = half_send();

		ck_assert(err == 0 || err == ERR_FULL);
		sent += err == 0;
		refused += err == ERR_FULL;
		ck_assert_int_eq(turn(), 0);
	}
	ck_assert_int_eq(refused, 20);
	return sent;
}

static void
decide_all(void)
{
	for (uint64_t s = 1; s < w->next_seq; s++) {
		ck_assert_int_eq(decide(s), 0);
		ck_assert_int_eq(turn(), 0);
	}
	ck_assert_int_eq(settle(), 0);
	for (uint64_t s = 1; s < w->next_seq; s++)
		ck_assert(w->rows[s].dead || w->rows[s].half == NOTHING ||
			  w->rows[s].decision == ACKED);
}

/*
 * A user would lose: the daemon, in the middle of a segment.  Others take all that is left of the
 * disk while no spare is filled yet, so every segment still grows.
 */
START_TEST(others_fill_the_disk_while_segments_grow)
{
	uint64_t room;

	make_world(20 + (uint64_t)_i, 16384, 64);
	disk_sim_knobs(w->sim)->allocate_delay = 100000;
	must_open();
	if (_i)
		ck_assert_int_eq(work(20 * _i, 4, 0), 0);
	room = disk_sim_used(w->sim);
	disk_sim_knobs(w->sim)->capacity = room;
	fill_up();
	ck_assert(!w->space && journal_stats(w->j)->disk_full);
	ck_assert(w->for_lack_of_disk);
	ck_assert_int_le(journal_deadline_ns(w->j), w->now + RETRY_NS);
	decide_all();
	/* and nothing that others have was touched */
	ck_assert_uint_le(disk_sim_used(w->sim), room);
	disk_sim_knobs(w->sim)->capacity = 0;
	w->now += RETRY_NS;
	ck_assert_int_eq(turn(), 0);
	ck_assert(w->space && !journal_stats(w->j)->disk_full);
	ck_assert_int_eq(half_send(), 0);
	ck_assert_int_eq(turn(), 0);
	end_world();
}
END_TEST

/* What is set aside survives: a daemon that stopped on a full disk starts on it, and decides. */
START_TEST(a_full_disk_lets_it_start)
{
	make_world(30, 16384, 64);
	disk_sim_knobs(w->sim)->allocate_delay = 100000;
	must_open();
	disk_sim_knobs(w->sim)->capacity = disk_sim_used(w->sim);
	fill_up();
	_i ? kill_process() : power_cut();
	must_open();
	ck_assert_int_eq(turn(), 0);
	ck_assert_int_eq(half_send(), ERR_FULL);
	decide_all();
	ck_assert_uint_le(disk_sim_used(w->sim), disk_sim_knobs(w->sim)->capacity);
	end_world();
}
END_TEST

/*
 * A user would lose: decisions, when others have filled the disk and each transaction has many
 * small messages: the numbers that a commit gives them are longer than what one message needs.
 */
START_TEST(decisions_about_many_messages_have_their_room)
{
	make_world(41, 65536, 64);
	w->messages = 64;
	w->body_max = 1;
	w->copy_all = true; /* as while Kafka is away */
	must_open();
	ck_assert_int_eq(work(40, 4, 0), 0);
	if (_i) { /* what recovery counts is the same */
		kill_process();
		must_open();
	}
	disk_sim_knobs(w->sim)->capacity = 24 * 65536;
	fill_up();
	decide_all();
	ck_assert_uint_le(disk_sim_used(w->sim), disk_sim_knobs(w->sim)->capacity);
	end_world();
}
END_TEST

/* With nothing set aside there is no start; nothing is lost, and room brings it back. */
START_TEST(no_room_for_a_segment_ends_the_start)
{
	make_world(31, 16384, 64);
	disk_sim_knobs(w->sim)->capacity = 16383;
	ck_assert_int_eq(open_journal(), ERR_NOSPACE);
	w->j = journal_free(w->j);
	disk_sim_kill(w->sim);
	ck_assert_uint_eq(disk_sim_used(w->sim), 0);
	/* half of the reserve: it runs, and takes nothing that it could not finish */
	disk_sim_knobs(w->sim)->capacity = 2 * 16384;
	must_open();
	ck_assert_int_eq(half_send(), ERR_FULL);
	ck_assert_int_eq(turn(), 0);
	ck_assert(!w->space);
	disk_sim_knobs(w->sim)->capacity = 0;
	w->now += RETRY_NS;
	ck_assert_int_eq(turn(), 0);
	ck_assert_int_eq(half_send(), 0);
	ck_assert_int_eq(turn(), 0);
	end_world();
}
END_TEST

/*
 * A user would lose: what operators do, when they do so much of it on a full disk that even the
 * reserve is gone.  It waits, unanswered, and goes on by itself.
 */
START_TEST(beyond_the_reserve_it_waits_for_room)
{
	struct entry e = { .type = ENTRY_CLUSTER };
	static char id[1000];
	struct place p;
	uint64_t durable;

	make_world(32, 16384, 64);
	disk_sim_knobs(w->sim)->allocate_delay = 100000;
	must_open();
	disk_sim_knobs(w->sim)->capacity = disk_sim_used(w->sim);
	fill_up();
	e.cluster.id = str_from(id, sizeof(id));
	for (int i = 0; i < 100; i++) {
		ck_assert_int_eq(journal_append(w->j, &e, &p), 0);
		ck_assert_int_eq(turn(), 0);
	}
	durable = w->durable;
	ck_assert_uint_lt(durable, p.lsn);
	ck_assert_int_eq(settle(), 0);
	ck_assert_uint_eq(w->durable, durable);
	ck_assert_int_le(journal_deadline_ns(w->j), w->now + RETRY_NS);
	disk_sim_knobs(w->sim)->capacity = 0;
	w->now += RETRY_NS;
	ck_assert_int_eq(settle(), 0);
	ck_assert_uint_ge(w->durable, p.lsn + p.len);
	power_cut();
	must_open();
	end_world();
}
END_TEST

/*
 * A user would lose: all new half-sends, for good.  What is set aside for very many undecided
 * transactions is more than two segments, and history must make way for it.
 */
START_TEST(history_makes_way_for_a_big_reserve)
{
	make_world(33, 16384, 24);
	w->body_max = 16;
	must_open();
	/* history: all decided, nearly all of the quota */
	for (int i = 0; i < 3000 && journal_stats(w->j)->segments < 14; i++) {
		ck_assert_int_eq(half_send(), 0);
		ck_assert_int_eq(turn(), 0);
		ck_assert_int_eq(decide(w->next_seq - 1), 0);
	}
	ck_assert_uint_eq(journal_stats(w->j)->segments, 14);
	/* 6 segments to finish so many */
	for (int i = 0; i < 600; i++) {
		ck_assert_msg(half_send() == 0, "refused with %d undecided", i);
		ck_assert_int_eq(turn(), 0);
		ck_assert_int_eq(turn(), 0);
	}
	ck_assert_uint_gt(journal_stats(w->j)->reclaimed, 0);
	ck_assert_uint_ge(segments_ready(w->j), 6);
	end_world();
}
END_TEST

/* A user would lose: records that a disk lost and a daemon called durable. */
START_TEST(a_failed_sync_is_the_end)
{
	for (uint64_t n = 1; n < 12; n++) {
		uint64_t acked, pending;
		int err;

		make_world(n, 16384, 16);
		must_open();
		ck_assert_int_eq(work(3, 3, 0), 0);
		ck_assert_int_eq(settle(), 0);
		acked = count(ACKED);
		disk_sim_knobs(w->sim)->lie = n % 2 ? DISK_SIM_LOST : DISK_SIM_WRITTEN;
		if (n % 3)
			disk_sim_knobs(w->sim)->fail_sync = 1;
		else
			disk_sim_knobs(w->sim)->fail_write = 1;
		ck_assert_int_eq(half_send(), 0);
		ck_assert_int_eq(turn(), ERR_IO);
		ck_assert_uint_eq(count(ACKED), acked);
		/* nothing brings it back */
		ck_assert_int_eq(turn(), ERR_IO);
		ck_assert_int_eq(half_send(), 0);
		ck_assert_int_eq(turn(), ERR_IO);
		ck_assert_uint_eq(count(ACKED), acked);
		ck_assert_int_eq(journal_sync(w->j), ERR_IO);
		/*
		 * The page cache may still show it; what is served after a start must be on the
		 * disk.
		 */
		kill_process();
		must_open();
		pending = count(ACKED);
		ck_assert_uint_ge(pending, acked);
		disk_sim_knobs(w->sim)->cut = DISK_SIM_PREFIX;
		power_cut();
		err = open_journal();
		ck_assert_msg(err == 0, "%s", w->fault.text);
		ck_assert_uint_eq(count(ACKED), pending);
		end_world();
	}
}
END_TEST

/* A life in which the journal does all that it can do.  0, or what it ended with. */
static int
whole_life(void)
{
	const struct half *h;
	int err = open_journal();

	for (int i = 0; i < 40 && !err; i++) {
		err = work(1, 5, 3);
		/* decide nearly all, so that there is something to reclaim */
		for (uint64_t s = 1; s < w->next_seq && !err; s++)
			err = s % 13 ? decide(s) : 0;
		for (uint64_t s = 13; s < w->next_seq && !err; s += 13) {
			err = journal_fetch(w->j, w->rows[s].place, s, &h);
			err = err == ERR_AGAIN || err == ERR_NOTFOUND ? 0 : err;
		}
	}
	if (!err)
		err = settle();
	if (!err && w->j->reclaim != RECLAIM_IDLE)
		ck_abort_msg("still reclaiming");
	/* the last words of a daemon that stops */
	if (!err)
		err = half_send();
	err = err == ERR_FULL ? 0 : err;
	return err ? err : journal_sync(w->j);
}

/*
 * A user would lose: messages, to a call that failed where nobody looked.  Each call of the disk
 * in turn refuses to begin, or fails in the end: the journal says so, answers nothing any more,
 * and all that it had answered is there at the next start.
 */
START_TEST(any_call_of_the_disk_may_fail)
{
	uint64_t lives = 0, struck = 1, before;

	for (uint64_t n = 1; struck; n++) {
		int err;

		make_world(40, 4096, 8);
		w->conf.cache_bytes = 0;
		disk_sim_knobs(w->sim)->delay_max = n % 3 ? 0 : 2;
		/* a journal is there already, with a tail, a spare, and a leftover */
		ck_assert_int_eq(open_journal(), 0);
		ck_assert_int_eq(work(20, 4, 3), 0);
		kill_process();
		before = disk_sim_counts(w->sim)->faults;
		*(_i ? &disk_sim_knobs(w->sim)->fail_end : &disk_sim_knobs(w->sim)->refuse) = n;
		err = whole_life();
		struck = disk_sim_counts(w->sim)->faults - before;
		disk_sim_knobs(w->sim)->fail_end = disk_sim_knobs(w->sim)->refuse = 0;
		ck_assert_msg(struck ? err < 0 : err == 0, "call %llu: %s", (unsigned long long)n,
			      err ? err_name(err) : "nobody noticed");
		if (struck && w->j && w->j->started) {
			uint64_t acked = count(ACKED);

			/* whatever else comes in this turn is taken, and kept by nobody */
			(void)half_send();
			ck_assert_int_lt(turn(), 0);
			ck_assert_uint_eq(count(ACKED), acked);
		}
		n % 2 ? kill_process() : power_cut();
		must_open();
		ck_assert_int_eq(work(3, 3, 3), 0);
		end_world();
		lives++;
	}
	ck_assert_uint_gt(lives, _i ? 60 : 100);
}
END_TEST

/*
 * A user would lose: the sentence, and a clean end.  A read cannot begin in the middle of a turn,
 * and the core goes on appending until the turn ends.
 */
START_TEST(a_failure_in_a_turn_is_told_at_its_end)
{
	const struct half *h;
	uint64_t acked;

	make_world(19, 65536, 16);
	w->conf.cache_bytes = 0;
	must_open();
	ck_assert_int_eq(work(100, 6, 0), 0);
	ck_assert_int_eq(settle(), 0);
	acked = count(ACKED);
	disk_sim_knobs(w->sim)->refuse = 1;
	ck_assert_int_eq(journal_fetch(w->j, w->rows[1].place, 1, &h), ERR_SYSTEM);
	ck_assert_int_eq(half_send(), 0);
	ck_assert_int_eq(decide(1), 0);
	ck_assert_int_eq(journal_persist(w->j, w->now, 1000000), ERR_SYSTEM);
	ck_assert_int_eq(turn(), ERR_SYSTEM);
	ck_assert_uint_eq(count(ACKED), acked);
	ck_assert_int_eq(w->rows[1].decision, PENDING);
	end_world();
}
END_TEST

/* A user would lose: what reclaim copies, when what it reads is not what was written. */
START_TEST(reclaim_stops_at_damage)
{
	int err = 0;

	for (uint64_t seed = 0; seed < 40; seed++) {
		make_world(600 + seed, 16384, 6);
		w->conf.cache_bytes = 0;
		must_open();
		ck_assert_int_eq(work(6, 6, 0), 0);
		ck_assert_int_eq(settle(), 0);
		ck_assert_uint_eq(w->j->segments[0].number, 1);
		flip_somewhere(1, 0, 2000);
		for (int i = 0; i < 400 && !err; i++) {
			err = work(1, 6, 0);
			for (uint64_t s = 1; s < w->next_seq && !err; s++)
				err = decide(s);
		}
		ck_assert_int_eq(err, ERR_CORRUPT);
		err = 0;
		end_world();
	}
}
END_TEST

/* A user would lose: throughput, or latency, to waiting that nobody needs. */
START_TEST(lazy_records_wait_and_others_do_not)
{
	struct entry lazy = { .type = ENTRY_CHECKS, .checks = { 1, 1, 1, false } };
	struct place p;
	uint64_t syncs;

	make_world(14, 65536, 16);
	must_open();
	ck_assert_int_eq(settle(), 0);
	ck_assert(journal_deadline_ns(w->j) == TIME_NEVER);
	syncs = journal_stats(w->j)->syncs;
	ck_assert_int_eq(journal_append(w->j, &lazy, &p), 0);
	ck_assert_int_eq(turn(), 0);
	ck_assert_uint_eq(journal_stats(w->j)->syncs, syncs);
	ck_assert(journal_deadline_ns(w->j) <= w->now + LAZY_NS);
	w->now += LAZY_NS;
	ck_assert_int_eq(turn(), 0);
	ck_assert_uint_eq(journal_stats(w->j)->syncs, syncs + 1);
	ck_assert_int_eq(half_send(), 0);
	ck_assert(journal_deadline_ns(w->j) <= w->now);
	ck_assert_int_eq(turn(), 0);
	ck_assert_uint_eq(journal_stats(w->j)->syncs, syncs + 2);
	/* one that takes an hour is counted, too */
	disk_sim_knobs(w->sim)->sync_ns = 3600 * NS_PER_S;
	ck_assert_int_eq(half_send(), 0);
	ck_assert_int_eq(turn(), 0);
	syncs = journal_stats(w->j)->syncs;
	ck_assert_uint_eq(
		journal_stats(w->j)
			->sync_histogram[ARRAY_LEN(journal_stats(w->j)->sync_histogram) - 1],
		1);
	/* with slow syncs two wait for as many as were just answered, and not for ever */
	disk_sim_knobs(w->sim)->sync_ns = 100 * NS_PER_MS;
	ck_assert_int_eq(half_send(), 0);
	ck_assert_int_eq(half_send(), 0);
	ck_assert_int_eq(turn(), 0);
	syncs = journal_stats(w->j)->syncs;
	ck_assert_int_eq(half_send(), 0);
	ck_assert_int_eq(journal_persist(w->j, w->now, 1000000), 0);
	ck_assert_int_eq(journal_poll(w->j, w->now), 0);
	ck_assert_uint_eq(journal_stats(w->j)->syncs, syncs);
	ck_assert(journal_deadline_ns(w->j) == w->now + GATHER_MAX_NS);
	ck_assert_int_eq(turn(), 0);
	ck_assert_uint_eq(journal_stats(w->j)->syncs, syncs + 1);
	end_world();
}
END_TEST

START_TEST(old_segments_leave_when_their_retention_is_over)
{
	make_world(15, 4096, 64);
	w->conf.retention_ms = 50;
	must_open();
	for (int i = 0; i < 200; i++) {
		ck_assert_int_eq(work(1, 3, 0), 0);
		for (uint64_t s = 1; s < w->next_seq; s++)
			ck_assert_int_eq(decide(s), 0);
	}
	ck_assert_int_eq(settle(), 0);
	ck_assert_uint_gt(journal_stats(w->j)->reclaimed, 10);
	ck_assert_uint_le(journal_stats(w->j)->segments, 3);
	ck_assert_uint_le(journal_stats(w->j)->spares, 3);
	end_world();
}
END_TEST

/*
 * What opens a segment has a bound.  Beyond it the daemon ends with a sentence, before it has
 * written a segment that no start could read; and nothing that was answered is lost.
 */
START_TEST(a_catalogue_too_big_for_a_segment_ends_it)
{
	int err = 0;

	make_world(70, 4096, 16);
	if (_i == 0) { /* the very first */
		w->topics = 2000;
		ck_assert_int_eq(open_journal(), ERR_TOOBIG);
		disk_sim_kill(w->sim);
		w->topics = 1;
		w->j = journal_free(w->j);
		must_open();
		end_world();
		return;
	}
	must_open();
	ck_assert_int_eq(work(20, 4, 0), 0);
	ck_assert_int_eq(settle(), 0);
	if (_i == 1) /* the next one */
		for (w->topics = 2000; !err;)
			err = work(1, 4, 0);
	kill_process();
	w->topics = 2000; /* and that of a start */
	err = open_journal();
	ck_assert_int_eq(err, ERR_TOOBIG);
	w->j = journal_free(w->j);
	disk_sim_kill(w->sim);
	w->topics = 1;
	must_open();
	end_world();
}
END_TEST

START_TEST(a_record_that_cannot_fit_is_refused)
{
	make_world(17, 4096, 16);
	w->body_max = 100000;
	must_open();
	while (hash_u64(w->next_seq) % w->body_max < 2000)
		w->next_seq++;
	ck_assert_int_eq(half_send(), ERR_TOOBIG);
	ck_assert_int_eq(turn(), 0);
	end_world();
}
END_TEST

/*
 * Else one half-send of just the right length is taken, and ends the daemon when its segment is
 * given up; and again after every restart.
 */
START_TEST(what_was_taken_can_be_copied_forward)
{
	struct part part = { 0, 3, UINT64_MAX / 2, PART_REFUSED, INT32_MIN };
	struct entry half = { .type = ENTRY_HALF }, copy = { .type = ENTRY_COPY };
	uint32_t topic = 0;
	struct message m;
	struct place place;
	int err = ERR_TOOBIG;

	make_world(18, 16384, 16);
	must_open();
	half.half.half = half_of(1, &m, body);
	half.half.topics = &topic;
	for (m.value.n = 8192; m.value.n > 0 && err == ERR_TOOBIG; m.value.n--)
		err = journal_append(w->j, &half, &place);
	ck_assert_int_eq(err, 0);
	m.value.n++;
	ck_assert_uint_gt(m.value.n, 3000);
	copy.copy.half = half.half.half;
	copy.copy.topics = &topic;
	copy.copy.state = TXN_UNDELIVERABLE;
	copy.copy.decision =
		(struct decision){ TXN_COMMITTED, ORIGIN_CLIENT, UINT64_MAX / 2, STR_NONE };
	copy.copy.parts = &part;
	ck_assert_int_eq(journal_append(w->j, &copy, &place), 0);
	w->j = journal_free(w->j);
	end_world();
}
END_TEST

int
main(void)
{
	TCase *t = unit_case("journal", NULL, NULL);

	tcase_set_timeout(t, 120);
	tcase_add_test(t, a_second_daemon_is_refused);
	tcase_add_test(t, segments_go_round_and_what_is_undecided_goes_along);
	tcase_add_test(t, a_full_journal_refuses_half_sends_and_nothing_else);
	tcase_add_test(t, what_waits_for_the_disk_has_its_bound);
	tcase_add_test(t, no_space_on_the_disk_refuses_half_sends_until_there_is);
	tcase_add_loop_test(t, others_fill_the_disk_while_segments_grow, 0, 4);
	tcase_add_loop_test(t, a_full_disk_lets_it_start, 0, 2);
	tcase_add_loop_test(t, decisions_about_many_messages_have_their_room, 0, 2);
	tcase_add_test(t, no_room_for_a_segment_ends_the_start);
	tcase_add_test(t, beyond_the_reserve_it_waits_for_room);
	tcase_add_test(t, history_makes_way_for_a_big_reserve);
	tcase_add_test(t, a_failed_sync_is_the_end);
	tcase_add_loop_test(t, any_call_of_the_disk_may_fail, 0, 2);
	tcase_add_test(t, a_failure_in_a_turn_is_told_at_its_end);
	tcase_add_loop_test(t, a_catalogue_too_big_for_a_segment_ends_it, 0, 3);
	tcase_add_test(t, reclaim_stops_at_damage);
	tcase_add_test(t, lazy_records_wait_and_others_do_not);
	tcase_add_test(t, old_segments_leave_when_their_retention_is_over);
	tcase_add_test(t, a_record_that_cannot_fit_is_refused);
	tcase_add_test(t, what_was_taken_can_be_copied_forward);
	return unit_run_case("journal", t);
}
