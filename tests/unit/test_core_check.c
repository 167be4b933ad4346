/*
 * test_core_check.c -- who falls silent is asked, in time, in turn, and never too much.
 *
 * A user would lose: a transaction that nobody ever asks about, or a producer to a flood of
 * questions.
 */
#include "core_world.h"

START_TEST(a_silent_producer_is_asked_and_its_answer_decides)
{
	struct answer a;

	open_with_topic();
	ck_assert_int_eq(core_join(f.core, 1, STR("g")), 0);
	a = fake_begin(&f, 1, "k", "hello");
	fake_pass(&f, 6 * NS_PER_S - 1);
	ck_assert_uint_eq(f.check_count, 0);
	fake_pass(&f, 1);
	ck_assert_uint_eq(f.check_count, 1);
	ck_assert_uint_eq(f.checks[0].peer, 1);
	ck_assert_uint_eq(f.checks[0].token, a.token);
	ck_assert_uint_eq(f.checks[0].number, 1);
	/* Not written yet: it does not count. */
	ck_assert_uint_eq(fake_view(&f, a.gid).checks, 0);
	core_check_written(f.core, a.gid.lo, 1);
	ck_assert_uint_eq(fake_view(&f, a.gid).checks, 1);
	core_check_written(f.core, a.gid.lo, 1);
	ck_assert_uint_eq(fake_view(&f, a.gid).checks, 1);
	fake_end(&f, &a, f.checks[0].token, VERDICT_COMMIT, true);
	fake_turn(&f);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_OK);
	ck_assert_int_eq(fake_view(&f, a.gid).origin, ORIGIN_CHECK);
	ck_assert_uint_eq(f.publish_count, 1);
}
END_TEST

/* RocketMQ #386: whoever comes back is asked at once, and nothing is spent on waiting. */
START_TEST(nobody_there_costs_nothing_and_whoever_joins_is_asked)
{
	uint64_t visits;

	open_with_topic();
	fake_begin(&f, 1, "k", "hello");
	fake_pass(&f, 7 * NS_PER_S);
	ck_assert_uint_eq(f.notes[NOTE_GROUP_SILENT], 1);
	visits = core_stats(f.core)->timer_visits;
	for (int i = 0; i < 1000; i++)
		fake_pass(&f, NS_PER_S);
	ck_assert_uint_eq(core_stats(f.core)->timer_visits, visits);
	ck_assert_uint_eq(f.check_count, 0);
	ck_assert_uint_eq(f.notes[NOTE_GROUP_SILENT], 1);
	ck_assert_int_gt(core_next_due_ns(f.core), f.now_ns);
	core_join(f.core, 2, STR("g"));
	ck_assert_int_le(core_next_due_ns(f.core), f.now_ns);
	fake_turn(&f);
	ck_assert_uint_eq(f.check_count, 1);
	ck_assert_uint_eq(f.checks[0].peer, 2);
}
END_TEST

/* "No such order" from before the retry says nothing about the retry. */
START_TEST(an_answer_of_an_older_generation_decides_nothing)
{
	struct answer a;
	uint64_t old;

	open_with_topic();
	core_join(f.core, 1, STR("g"));
	a = fake_begin(&f, 1, "k", "hello");
	fake_pass(&f, 6 * NS_PER_S);
	core_check_written(f.core, a.gid.lo, 1);
	old = f.checks[0].token;
	fake_begin(&f, 1, "k", "hello");
	fake_end(&f, &a, old, VERDICT_ROLLBACK, true);
	fake_turn(&f);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_STALE);
	ck_assert_int_eq(fake_view(&f, a.gid).state, TXN_PREPARED);
	ck_assert_uint_eq(core_stats(f.core)->stale_answers, 1);
	fake_pass(&f, 6 * NS_PER_S);
	ck_assert_uint_eq(f.check_count, 2);
	ck_assert_uint_eq(f.checks[1].token, a.token | 1);
	fake_end(&f, &a, f.checks[1].token, VERDICT_ROLLBACK, true);
	fake_turn(&f);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_OK);
}
END_TEST

START_TEST(used_up_checks_park_and_parked_ones_are_still_asked)
{
	struct answer a;

	open_with_topic();
	core_join(f.core, 1, STR("g"));
	a = fake_begin(&f, 1, "k", "hello");
	while (fake_view(&f, a.gid).state == TXN_PREPARED) {
		uint32_t before = f.check_count;

		fake_pass(&f, NS_PER_S);
		if (f.check_count > before)
			core_check_written(f.core, a.gid.lo, 1);
	}
	ck_assert_uint_eq(f.check_count, 15);
	ck_assert_int_eq(fake_view(&f, a.gid).state, TXN_PARKED);
	fake_crash(&f, 1000);
	ck_assert_int_eq(fake_view(&f, a.gid).state, TXN_PARKED);
	core_join(f.core, 1, STR("g"));
	fake_pass(&f, 3600 * NS_PER_S);
	ck_assert_uint_eq(f.check_count, 1);
	ck_assert_int_eq(fake_decided(&f, &a, VERDICT_COMMIT).code, ANSWER_OK);
	ck_assert_uint_eq(f.publish_count, 1);
}
END_TEST

/* RocketMQ #1517: decided while its body was on its way from the disk. */
START_TEST(a_decided_transaction_is_not_asked_about)
{
	struct answer a;

	open_with_topic();
	core_join(f.core, 1, STR("g"));
	a = fake_begin(&f, 1, "k", "hello");
	f.cold = true;
	fake_pass(&f, 6 * NS_PER_S);
	ck_assert_uint_ne(f.fetch_token, 0);
	fake_end(&f, &a, a.token, VERDICT_ROLLBACK, false);
	fake_decide(&f); /* journaled, not durable: already too late to ask */
	core_fetched(f.core, f.fetch_token, 0, fake_half_at(&f, f.fetch_place));
	ck_assert_uint_eq(f.check_count, 0);
	fake_sync(&f);
}
END_TEST

/* A single connection that answers for all is a bottleneck nobody asked for. */
START_TEST(checks_are_spread_over_the_producers_of_a_group)
{
	uint32_t of[3] = { 0 };
	char key[16];

	open_with_topic();
	core_join(f.core, 1, STR("g"));
	core_join(f.core, 2, STR("g"));
	for (int i = 0; i < 10; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		fake_begin(&f, 3, key, "hello"); /* whoever sent them is gone */
	}
	fake_pass(&f, 6 * NS_PER_S);
	ck_assert_uint_eq(f.check_count, 10);
	for (uint32_t i = 0; i < 10; i++)
		of[f.checks[i].peer]++;
	ck_assert_uint_eq(of[1], 5);
	ck_assert_uint_eq(of[2], 5);
}
END_TEST

START_TEST(one_connection_is_not_flooded_with_checks)
{
	char key[16];

	core_conf_default(&f.conf);
	fake_open(&f);
	f.core = core_free(f.core);
	f.conf.check_outstanding = 10;
	f.core = core_new(&f.conf, &fake_ports, &f);
	core_format(f.core);
	core_start(f.core, f.now_ns, f.wall_ms);
	fake_topic(&f, "t", 1);
	core_join(f.core, 1, STR("g"));
	for (int i = 0; i < 50; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		fake_begin(&f, 1, key, "hello");
	}
	fake_pass(&f, 6 * NS_PER_S);
	ck_assert_uint_eq(f.check_count, 10);
	fake_pass(&f, NS_PER_S);
	ck_assert_uint_eq(f.check_count, 10);
	/* Another one takes some; a time-out frees the first. */
	core_join(f.core, 2, STR("g"));
	fake_turn(&f);
	ck_assert_uint_eq(f.check_count, 20);
	fake_pass(&f, f.conf.check_timeout_ns);
	ck_assert_uint_eq(f.check_count, 40);
}
END_TEST

/* The wall clock was set back an hour while we were down: nobody waits an hour for a check. */
START_TEST(after_a_restart_checks_come_within_one_gap)
{
	open_with_topic();
	fake_begin(&f, 1, "a", "hello");
	fake_crash(&f, -3600 * 1000);
	core_join(f.core, 1, STR("g"));
	fake_pass(&f, 6 * NS_PER_S);
	ck_assert_uint_eq(f.check_count, 1);
}
END_TEST

/* After a pause more is due than one turn looks at: the next one goes on at once. */
START_TEST(more_is_due_than_one_turn_looks_at)
{
	enum { MANY = 8192 + 100 };
	struct message m = fake_message("t", "x");
	struct entry e = { .type = ENTRY_HALF };
	uint32_t topic = 0;

	open_with_topic();
	f.core = core_free(f.core);
	f.core = core_new(&f.conf, &fake_ports, &f);
	for (uint32_t i = f.first; i < f.count; i++)
		ck_assert_int_eq(core_recover(f.core, &f.log[i], (struct place){ i * 100, 100 }),
				 0);
	m.partition = 0;
	e.half.topics = &topic;
	for (uint32_t i = 1; i <= MANY; i++) {
		e.half.half = (struct half){ .gid = gid_make(f.wall_ms, 0, i),
					     .arrived_ms = f.wall_ms,
					     .group = STR("g"),
					     .count = 1,
					     .messages = &m };
		ck_assert_int_eq(core_recover(f.core, &e, (struct place){ 100 * i, 100 }), 0);
	}
	core_start(f.core, f.now_ns, f.wall_ms);
	f.now_ns += 100 * NS_PER_S;
	fake_turn(&f);
	ck_assert_int_le(core_next_due_ns(f.core), f.now_ns);
	fake_turn(&f);
	ck_assert_int_gt(core_next_due_ns(f.core), f.now_ns); /* nobody is there to be asked */
	ck_assert_uint_eq(core_stats(f.core)->rows[TXN_PREPARED], MANY);
}
END_TEST

UNIT("core_check", a_silent_producer_is_asked_and_its_answer_decides,
     nobody_there_costs_nothing_and_whoever_joins_is_asked,
     an_answer_of_an_older_generation_decides_nothing,
     used_up_checks_park_and_parked_ones_are_still_asked, a_decided_transaction_is_not_asked_about,
     checks_are_spread_over_the_producers_of_a_group, one_connection_is_not_flooded_with_checks,
     after_a_restart_checks_come_within_one_gap, more_is_due_than_one_turn_looks_at);
