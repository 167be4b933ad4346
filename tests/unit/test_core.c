/*
 * The conductor, told as the stories of transactions.  Each is something a user would lose:
 * a message, a decision, an order, an answer that was true.
 */
#include "fake_ports.h"
#include "unit.h"

static struct fake f;

static void
open_with_topic(void)
{
	fake_open(&f);
	fake_topic(&f, "t", 1);
}

/* Kafka takes the first N publications that were not reported yet. */
static uint32_t reported;

static void
ack(uint32_t n)
{
	core_clock(f.core, f.now_ns, f.wall_ms);
	while (n-- > 0) {
		ck_assert_uint_lt(reported, f.publish_count);
		core_report(f.core, f.published[reported++].token, REPORT_ACKED, 5, 0);
	}
}

static void
refuse(enum report report)
{
	core_clock(f.core, f.now_ns, f.wall_ms);
	ck_assert_uint_lt(reported, f.publish_count);
	core_report(f.core, f.published[reported++].token, report, -1, 10);
}

/* An answer from memory would be a promise that the next power cut breaks. */
START_TEST(nothing_is_answered_before_it_is_durable)
{
	struct answer a;

	open_with_topic();
	fake_send(&f, 1, "k", "hello");
	ck_assert_uint_eq(f.answer_count, 0);
	fake_sync(&f);
	ck_assert_uint_eq(f.answer_count, 1);
	a = f.answers[0].a;
	ck_assert_int_eq(a.code, ANSWER_OK);
	ck_assert_uint_eq(a.token & 0xff, 0);
	ck_assert_uint_eq(f.answers[0].to.peer, 1);

	fake_end(&f, &a, a.token, VERDICT_COMMIT, false);
	fake_decide(&f);
	ck_assert_uint_eq(f.answer_count, 1);
	ck_assert_uint_eq(f.publish_count, 0);
	fake_sync(&f);
	ck_assert_uint_eq(f.answer_count, 2);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_OK);
	ck_assert_uint_eq(f.publish_count, 1);
	ck_assert_uint_eq(f.published[0].n, 1);
	ack(1);
	ck_assert_int_eq(fake_view(&f, a.gid).state, TXN_PUBLISHED);
}
END_TEST

START_TEST(a_rolled_back_message_never_reaches_kafka)
{
	struct answer a;

	open_with_topic();
	a = fake_begin(&f, 1, "k", "hello");
	ck_assert_int_eq(fake_decided(&f, &a, VERDICT_ROLLBACK).code, ANSWER_OK);
	fake_turn(&f);
	ck_assert_uint_eq(f.publish_count, 0);
	/* A commit now is refused, and told who won. */
	ck_assert_int_eq(fake_decided(&f, &a, VERDICT_COMMIT).code, ANSWER_DECIDED);
	ck_assert_int_eq(fake_last(&f)->state, TXN_ROLLED_BACK);
	ck_assert_uint_eq(core_stats(f.core)->contradictions, 1);
	ck_assert_uint_eq(f.publish_count, 0);
	/* Repeating the rollback succeeds. */
	ck_assert_int_eq(fake_decided(&f, &a, VERDICT_ROLLBACK).code, ANSWER_OK);
}
END_TEST

/* Two contradictory ENDs in one turn: one record, one winner, the other is told. */
START_TEST(of_two_decisions_in_one_turn_the_first_wins)
{
	struct answer a;
	uint32_t before;

	open_with_topic();
	a = fake_begin(&f, 1, "k", "hello");
	before = f.count;
	fake_end(&f, &a, a.token, VERDICT_ROLLBACK, false);
	fake_end(&f, &a, a.token, VERDICT_COMMIT, false);
	fake_end(&f, &a, a.token, VERDICT_ROLLBACK, false);
	fake_decide(&f);
	ck_assert_uint_eq(f.count, before + 1);
	fake_sync(&f);
	fake_turn(&f);
	ck_assert_uint_eq(f.count, before + 1);
	ck_assert_uint_eq(f.answer_count, 4);
	ck_assert_int_eq(f.answers[1].a.code, ANSWER_OK);
	ck_assert_int_eq(f.answers[2].a.code, ANSWER_DECIDED);
	ck_assert_int_eq(f.answers[3].a.code, ANSWER_OK);
	ck_assert_uint_eq(f.publish_count, 0);
}
END_TEST

START_TEST(nobody_decides_by_guessing)
{
	struct answer a;
	struct end_request r;

	open_with_topic();
	a = fake_begin(&f, 1, "k", "hello");
	fake_end(&f, &a, a.token ^ 0x100, VERDICT_COMMIT, false);
	fake_turn(&f);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_WRONG_TOKEN);
	r = (struct end_request){ .to = { 7, 1 },
				  .group = STR("other"),
				  .seq = a.gid.lo,
				  .token = a.token,
				  .verdict = VERDICT_COMMIT };
	core_end(f.core, &r);
	fake_turn(&f);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_WRONG_GROUP);
	r.seq = 4711;
	core_end(f.core, &r);
	fake_turn(&f);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_NOT_FOUND);
	ck_assert_int_eq(fake_view(&f, a.gid).state, TXN_PREPARED);
}
END_TEST

/* A client that lost our answer sends again: it must get the same transaction, not a second. */
START_TEST(a_repeat_gets_the_same_tokens_and_a_new_generation)
{
	struct answer a;
	struct answer b;

	open_with_topic();
	a = fake_begin(&f, 1, "k", "hello");
	fake_send(&f, 1, "k", "hello");
	ck_assert_uint_eq(f.answer_count, 1);
	ck_assert_int_eq(f.log[f.count - 1].type, ENTRY_GENERATION);
	fake_sync(&f);
	b = *fake_last(&f);
	ck_assert_int_eq(b.code, ANSWER_OK);
	ck_assert(gid_eq(a.gid, b.gid));
	ck_assert_uint_eq(a.token, b.token);
	ck_assert_uint_eq(fake_view(&f, a.gid).generation, 1);
	/* The client's own END counts whatever the generation. */
	ck_assert_int_eq(fake_decided(&f, &a, VERDICT_COMMIT).code, ANSWER_OK);
}
END_TEST

/* Both before the first is durable: still one transaction. */
START_TEST(a_repeat_in_the_same_turn_waits)
{
	open_with_topic();
	fake_send(&f, 1, "k", "hello");
	fake_send(&f, 2, "k", "hello");
	ck_assert_uint_eq(core_stats(f.core)->deferred, 1);
	fake_sync(&f);
	fake_turn(&f);
	ck_assert_uint_eq(f.answer_count, 2);
	ck_assert(gid_eq(f.answers[0].a.gid, f.answers[1].a.gid));
	ck_assert_uint_eq(core_stats(f.core)->rows[TXN_PREPARED], 1);
	ck_assert_uint_eq(core_stats(f.core)->deferred, 0);
}
END_TEST

/*
 * A user would lose: decisions on a full disk, to somebody who half-sends a million undecided ones
 * again and again: each takes of what is set aside for them.
 */
START_TEST(a_repeat_takes_nothing_of_a_full_journal)
{
	struct answer a, again;
	uint32_t before;

	open_with_topic();
	a = fake_begin(&f, 1, "k", "hello");
	core_space(f.core, false);
	before = f.count;
	fake_send(&f, 1, "k", "hello");
	fake_sync(&f);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_BUSY);
	ck_assert_uint_eq(f.count, before);
	core_space(f.core, true);
	again = fake_begin(&f, 1, "k", "hello");
	ck_assert(gid_eq(a.gid, again.gid));
	ck_assert_int_eq(fake_decided(&f, &a, VERDICT_COMMIT).code, ANSWER_OK);
}
END_TEST

START_TEST(another_body_under_the_key_is_refused)
{
	open_with_topic();
	fake_begin(&f, 1, "k", "hello");
	fake_send(&f, 1, "k", "other");
	fake_sync(&f);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_KEY_REUSED);
}
END_TEST

/* SUCCESS here would run the local transaction a second time and lose its decision. */
START_TEST(a_committed_key_is_never_answered_ok)
{
	struct message m = fake_message("t", "hello");
	struct half_request again = {
		.to = { 1, 9 },
		.half = { .group = STR("g"),
			  .key = STR("k"),
			  .count = 1,
			  .messages = &m,
			  .body_hash = hash_body("hello", 5, 0) },
	};
	struct answer a;

	open_with_topic();
	a = fake_begin(&f, 1, "k", "hello");
	fake_decided(&f, &a, VERDICT_COMMIT);
	ack(1);
	fake_send(&f, 1, "k", "hello");
	fake_sync(&f);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_DECIDED);
	ck_assert(gid_eq(fake_last(&f)->gid, a.gid));
	/* Unless the application sends the very object on purpose. */
	again.again = a.gid;
	core_half_send(f.core, &again);
	fake_turn(&f);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_OK);
	ck_assert(!gid_eq(fake_last(&f)->gid, a.gid));
}
END_TEST

START_TEST(after_a_rollback_the_key_is_free)
{
	struct answer a;
	struct answer b;

	open_with_topic();
	a = fake_begin(&f, 1, "k", "hello");
	fake_decided(&f, &a, VERDICT_ROLLBACK);
	b = fake_begin(&f, 1, "k", "hello");
	ck_assert(!gid_eq(a.gid, b.gid));
	/* The old one is still remembered as what it was. */
	ck_assert_int_eq(fake_view(&f, a.gid).state, TXN_ROLLED_BACK);
	fake_send(&f, 1, "k", "hello");
	fake_sync(&f);
	ck_assert(gid_eq(fake_last(&f)->gid, b.gid));
}
END_TEST

START_TEST(the_256th_repeat_is_refused)
{
	open_with_topic();
	fake_begin(&f, 1, "k", "hello");
	for (int i = 0; i < 255; i++)
		fake_begin(&f, 1, "k", "hello");
	fake_send(&f, 1, "k", "hello");
	fake_sync(&f);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_REFUSED);
}
END_TEST

START_TEST(plain_sends_go_straight_to_kafka_once)
{
	struct message m = fake_message("t", "plain");
	struct half_request r = {
		.to = { 1, 1 },
		.plain = true,
		.half = { .group = STR("g"),
			  .key = STR("p"),
			  .count = 1,
			  .messages = &m,
			  .body_hash = hash_body("plain", 5, 0) },
	};
	struct gid gid;

	open_with_topic();
	core_half_send(f.core, &r);
	fake_decide(&f);
	ck_assert_uint_eq(f.publish_count, 0);
	fake_sync(&f);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_OK);
	gid = fake_last(&f)->gid;
	ck_assert_uint_eq(f.publish_count, 1);
	core_half_send(f.core, &r);
	fake_turn(&f);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_OK);
	ck_assert(gid_eq(fake_last(&f)->gid, gid));
	ck_assert_uint_eq(f.publish_count, 1);
	fake_crash(&f, 10);
	fake_turn(&f);
	ck_assert_uint_eq(f.publish_count, 1);
	ck_assert_uint_eq(f.published[0].n, 1);
}
END_TEST

/* ---- limits ---------------------------------------------------------------------------------- */

static enum answer_code
answer_to(const struct message *m, const char *group)
{
	struct half_request r = {
		.to = { 1, 1 },
		.half = { .group = str_of(group), .count = 1, .messages = m },
	};

	core_half_send(f.core, &r);
	fake_turn(&f);
	return fake_last(&f)->code;
}

START_TEST(every_limit_has_its_answer)
{
	static char big[40000];
	struct buf b = BUF_INIT;
	struct message m;

	fake_open(&f);
	memset(big, 'x', sizeof(big) - 1);
	fake_topic(&f, "t", 4);
	m = fake_message("t", "v");
	ck_assert_int_eq(answer_to(&m, ""), ANSWER_REFUSED);
	m.key = str_from(big, 32768);
	ck_assert_int_eq(answer_to(&m, "g"), ANSWER_REFUSED);
	m.key = STR_NONE;
	headers_add(&b, STR("escrow-id"), STR("mine"));
	m.headers.bytes = buf_as_str(&b);
	ck_assert_int_eq(answer_to(&m, "g"), ANSWER_REFUSED);
	m.headers.bytes = str_from("\x05", 1);
	ck_assert_int_eq(answer_to(&m, "g"), ANSWER_REFUSED);
	m.headers.bytes = STR_NONE;
	m.partition = 4;
	ck_assert_int_eq(answer_to(&m, "g"), ANSWER_REFUSED);
	m.partition = 3;
	ck_assert_int_eq(answer_to(&m, "g"), ANSWER_OK);
	ck_assert_int_eq(fake_last(&f)->partition, 3);
	m.plain_bytes = f.conf.message_bytes + 1;
	ck_assert_int_eq(answer_to(&m, "g"), ANSWER_TOO_BIG);
	core_topic(f.core, STR("t"), TOPIC_HERE, 4, 1000);
	m = fake_message("t", "v");
	m.plain_bytes = 900;
	ck_assert_int_eq(answer_to(&m, "g"), ANSWER_TOO_BIG);
	m.plain_bytes = 500;
	ck_assert_int_eq(answer_to(&m, "g"), ANSWER_OK);
	f.full = true;
	ck_assert_int_eq(answer_to(&m, "g"), ANSWER_BUSY);
	f.full = false;
	core_space(f.core, false);
	ck_assert_int_eq(answer_to(&m, "g"), ANSWER_BUSY);
	core_space(f.core, true);
	core_drain(f.core);
	ck_assert_int_eq(answer_to(&m, "g"), ANSWER_DRAINING);
	buf_free(&b);
}
END_TEST

/* Keys inside the window are not forgotten, whatever that costs in half-sends refused. */
START_TEST(a_full_memory_for_keys_refuses_instead_of_forgetting)
{
	struct answer a;

	core_conf_default(&f.conf);
	open_with_topic();
	f.conf.keys_bytes = 1;
	f.core = core_free(f.core);
	f.core = core_new(&f.conf, &fake_ports, &f);
	core_format(f.core);
	core_start(f.core, f.now_ns, f.wall_ms);
	fake_topic(&f, "t", 1);
	a = fake_begin(&f, 1, "k", "hello");
	fake_decided(&f, &a, VERDICT_ROLLBACK);
	fake_send(&f, 1, "k2", "hello");
	fake_sync(&f);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_BUSY);
	ck_assert_uint_eq(f.notes[NOTE_KEYS_FULL], 1);
	fake_pass(&f, 61 * NS_PER_S);
	fake_begin(&f, 1, "k2", "hello");
}
END_TEST

/* A wall clock that jumps a year ahead must not make every key old at once. */
START_TEST(a_jump_of_the_wall_clock_forgets_no_key)
{
	struct answer a;

	open_with_topic();
	a = fake_begin(&f, 1, "k", "hello");
	fake_decided(&f, &a, VERDICT_COMMIT);
	ack(1);
	f.wall_ms += UINT64_C(365) * 24 * 3600 * 1000;
	fake_pass(&f, NS_PER_S);
	fake_send(&f, 1, "k", "hello");
	fake_sync(&f);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_DECIDED);
}
END_TEST

/*
 * The same while the daemon was down, by years, either way: a restart does not know for how long it
 * was, so whatever the clocks say a whole window begins, for what stays and for what reclaim
 * copies.
 */
START_TEST(a_jump_while_down_forgets_no_key)
{
	static const int64_t jumps_ms[] = { INT64_C(365) * 24 * 3600 * 1000,
					    INT64_C(-365) * 24 * 3600 * 1000 };

	for (size_t story = 0; story < 4; story++) {
		struct answer a;

		memset(&f, 0, sizeof(f));
		reported = 0;
		open_with_topic();
		f.conf.history_retention_ms = 0;
		a = fake_begin(&f, 1, "k", "hello");
		fake_decided(&f, &a, VERDICT_COMMIT);
		ack(1);
		fake_turn(&f);
		fake_crash(&f, jumps_ms[story % 2]);
		fake_turn(&f);
		if (story >= 2)
			fake_reclaim(&f);
		for (int i = 0; i < 59; i++) {
			fake_pass(&f, NS_PER_S);
			fake_send(&f, 1, "k", "hello");
			fake_sync(&f);
			ck_assert_int_eq(fake_last(&f)->code, ANSWER_DECIDED);
		}
		fake_pass(&f, 2 * NS_PER_S);
		fake_turn(&f);
		fake_begin(&f, 1, "k", "hello");
	}
}
END_TEST

/* ---- topics ---------------------------------------------------------------------------------- */

START_TEST(a_half_send_waits_for_an_unknown_topic)
{
	fake_open(&f);
	fake_send(&f, 1, "k", "hello");
	fake_sync(&f);
	ck_assert_uint_eq(f.answer_count, 0);
	ck_assert_str_eq(f.described, "t");
	core_topic(f.core, STR("t"), TOPIC_HERE, 3, 0);
	fake_turn(&f);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_OK);
}
END_TEST

START_TEST(unknown_to_kafka_and_unknown_to_us_are_two_answers)
{
	fake_open(&f);
	fake_send(&f, 1, "k", "hello");
	core_topic(f.core, STR("t"), TOPIC_GONE, 0, 0);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_TOPIC_UNKNOWN);
	fake_send(&f, 1, "k", "hello");
	fake_pass(&f, f.conf.topic_timeout_ns - 1);
	ck_assert_uint_eq(f.answer_count, 1);
	ck_assert_int_le(core_next_due_ns(f.core), f.now_ns + 1);
	fake_pass(&f, 1);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_BUSY);
	ck_assert_uint_eq(core_stats(f.core)->deferred, 0);
}
END_TEST

START_TEST(a_known_topic_serves_while_kafka_is_away_and_after_a_crash)
{
	open_with_topic();
	fake_crash(&f, 0);
	fake_begin(&f, 1, "k", "hello");
	core_topic(f.core, STR("t"), TOPIC_FAILED, 0, 0);
	fake_begin(&f, 1, "k2", "hello");
}
END_TEST

/* ---- checks ---------------------------------------------------------------------------------- */

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

/* ---- publishing ------------------------------------------------------------------------------ */

static struct answer
committed(const char *key)
{
	struct answer a = fake_begin(&f, 1, key, key);

	fake_decided(&f, &a, VERDICT_COMMIT);
	return a;
}

START_TEST(a_failed_publication_is_repeated_in_order_under_the_same_numbers)
{
	open_with_topic();
	committed("a");
	committed("b");
	committed("c");
	ck_assert_uint_eq(f.publish_count, 3);
	ack(1);
	refuse(REPORT_UNKNOWN);
	committed("d");
	ck_assert_uint_eq(f.publish_count, 3); /* frozen until nothing is in flight */
	refuse(REPORT_UNKNOWN);
	fake_turn(&f);
	ck_assert_uint_eq(f.publish_count, 3);
	ck_assert_uint_eq(f.notes[NOTE_LANE_FROZEN], 1);
	fake_pass(&f, f.conf.lane_backoff_ns);
	ck_assert_uint_eq(f.publish_count, 6);
	for (uint32_t i = 0; i < 3; i++)
		ck_assert_uint_eq(f.published[3 + i].n, 2 + i);
	ack(3);
	ck_assert_uint_eq(f.notes[NOTE_LANE_RESUMED], 1);
	ck_assert_uint_eq(core_owed(f.core), 0);
}
END_TEST

/* A topic deleted and made again forgets everything: who did that by mistake must hear of it. */
START_TEST(an_offset_that_falls_is_told)
{
	const int64_t offsets[] = { 7, 8, -1, 9, 0, 1 };

	open_with_topic();
	for (uint32_t i = 0; i < ARRAY_LEN(offsets); i++) {
		char key[2] = { (char)('a' + i), 0 };

		committed(key);
		core_clock(f.core, f.now_ns, f.wall_ms);
		core_report(f.core, f.published[i].token, REPORT_ACKED, offsets[i], 0);
		ck_assert_uint_eq(f.notes[NOTE_TOPIC_ANEW], i >= 4);
	}
	ck_assert_uint_eq(core_owed(f.core), 0);
}
END_TEST

/* Only this very message, refused while alone, is given up; what is behind it goes on. */
START_TEST(a_refused_message_is_confirmed_alone_then_undeliverable)
{
	struct answer a;

	open_with_topic();
	a = committed("a");
	committed("b");
	refuse(REPORT_REFUSED);
	ack(1); /* b was in flight behind it */
	fake_turn(&f);
	ck_assert_uint_eq(f.publish_count, 3);
	ck_assert_uint_eq(f.published[2].n, 1);
	refuse(REPORT_REFUSED);
	ck_assert_int_eq(fake_view(&f, a.gid).state, TXN_COMMITTED);
	fake_turn(&f);
	ck_assert_int_eq(fake_view(&f, a.gid).state, TXN_UNDELIVERABLE);
	ck_assert_uint_eq(f.notes[NOTE_UNPUBLISHABLE], 1);
	committed("c");
	ck_assert_uint_eq(f.published[3].n, 3);
	fake_crash(&f, 0);
	ck_assert_int_eq(fake_view(&f, a.gid).state, TXN_UNDELIVERABLE);
}
END_TEST

START_TEST(a_crash_publishes_again_what_was_not_marked_and_only_that)
{
	open_with_topic();
	committed("a");
	committed("b");
	ack(1);
	fake_turn(&f); /* the mark of a is durable */
	ack(1);        /* that of b is not even written */
	fake_crash(&f, 0);
	reported = 0;
	fake_turn(&f);
	ck_assert_uint_eq(f.publish_count, 1);
	ck_assert_uint_eq(f.published[0].n, 2);
	ack(1);
	committed("c");
	ck_assert_uint_eq(f.published[1].n, 3);
}
END_TEST

START_TEST(kafkas_queue_being_full_stops_and_resumes)
{
	open_with_topic();
	f.sink_full = true;
	committed("a");
	committed("b");
	ck_assert_uint_eq(f.publish_count, 0);
	ck_assert_int_gt(core_next_due_ns(f.core), f.now_ns);
	f.sink_full = false;
	core_sink_ready(f.core);
	fake_turn(&f);
	ck_assert_uint_eq(f.publish_count, 2);
}
END_TEST

START_TEST(cold_bodies_keep_the_order)
{
	open_with_topic();
	f.cold = true;
	committed("a");
	committed("b");
	ck_assert_uint_eq(f.publish_count, 0);
	core_fetched(f.core, f.fetch_token, 0, fake_half_at(&f, f.fetch_place));
	ck_assert_uint_eq(f.publish_count, 1);
	ck_assert_uint_eq(f.published[0].n, 1);
	ck_assert_int_le(core_next_due_ns(f.core), f.now_ns); /* or b would sleep */
	fake_turn(&f);
	core_fetched(f.core, f.fetch_token, 0, fake_half_at(&f, f.fetch_place));
	ck_assert_uint_eq(f.published[1].n, 2);
}
END_TEST

START_TEST(another_cluster_gets_nothing)
{
	open_with_topic();
	ck_assert_int_eq(core_cluster(f.core, STR("one")), 0);
	fake_turn(&f);
	fake_crash(&f, 0);
	ck_assert_int_eq(core_cluster(f.core, STR("two")), ERR_FOREIGN);
	committed("a");
	ck_assert_uint_eq(f.publish_count, 0);
	ck_assert(core_stats(f.core)->foreign_cluster);
	ck_assert_int_eq(core_cluster(f.core, STR("one")), 0);
	fake_turn(&f);
	ck_assert_uint_eq(f.publish_count, 1);
}
END_TEST

/* ---- several messages ------------------------------------------------------------------------ */

static struct answer
begin_two(void)
{
	struct message m[2] = { fake_message("t", "one"), fake_message("u", "two") };
	struct half_request r = {
		.to = { 1, 1 },
		.half = { .group = STR("g"), .key = STR("multi"), .count = 2, .messages = m },
	};

	core_half_send(f.core, &r);
	fake_turn(&f);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_OK);
	return *fake_last(&f);
}

static void
operate(enum verb verb, struct gid gid)
{
	struct operation op = { .to = { 8, 8 },
				.verb = verb,
				.gid = gid,
				.who = STR("ann"),
				.reason = STR("because") };

	core_operate(f.core, &op);
	fake_turn(&f);
}

START_TEST(one_refused_message_of_two_is_retried_alone)
{
	struct answer a;
	struct row_view v;

	open_with_topic();
	fake_topic(&f, "u", 1);
	a = begin_two();
	fake_decided(&f, &a, VERDICT_COMMIT);
	ck_assert_uint_eq(f.publish_count, 2);
	ck_assert_str_eq(f.published[0].topic, "t");
	refuse(REPORT_REFUSED);
	fake_turn(&f);
	reported = 2; /* alone */
	refuse(REPORT_REFUSED);
	fake_turn(&f);
	v = fake_view(&f, a.gid);
	ck_assert_int_eq(v.state, TXN_UNDELIVERABLE);
	ck_assert_uint_eq(v.refused, 1);
	/* The other one is still on its way: giving up now would publish it afterwards. */
	operate(VERB_DISCARD, a.gid);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_STATE);
	reported = 1;
	ack(1);
	operate(VERB_RETRY, a.gid);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_OK);
	ck_assert_uint_eq(f.publish_count, 4);
	ck_assert_uint_eq(f.published[3].index, 0);
	ck_assert_uint_eq(f.published[3].n, 1);
	ck_assert_int_eq(fake_view(&f, a.gid).state, TXN_COMMITTED);
	/* It is owed again: no older mark may say that it was published. */
	fake_turn(&f);
	fake_crash(&f, 0);
	reported = 0;
	fake_turn(&f);
	ck_assert_uint_eq(f.publish_count, 1);
	ck_assert_uint_eq(f.published[0].n, 1);
	ack(1);
	ck_assert_int_eq(fake_view(&f, a.gid).state, TXN_PUBLISHED);
	fake_turn(&f);
	fake_crash(&f, 0);
	fake_turn(&f);
	ck_assert_uint_eq(f.publish_count, 0);
	ck_assert_int_eq(fake_view(&f, a.gid).state, TXN_PUBLISHED);
}
END_TEST

/* Given up is what Kafka refused; what it took stays published. */
START_TEST(one_refused_message_of_two_is_given_up)
{
	struct answer a;
	struct row_view v;

	open_with_topic();
	fake_topic(&f, "u", 1);
	a = begin_two();
	fake_decided(&f, &a, VERDICT_COMMIT);
	refuse(REPORT_REFUSED);
	ack(1);
	fake_turn(&f);
	refuse(REPORT_REFUSED);
	fake_turn(&f);
	operate(VERB_DISCARD, a.gid);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_OK);
	v = fake_view(&f, a.gid);
	ck_assert_int_eq(v.state, TXN_DISCARDED);
	ck_assert_uint_eq(v.published, 1);
	fake_crash(&f, 0);
	ck_assert_int_eq(fake_view(&f, a.gid).state, TXN_DISCARDED);
	fake_turn(&f);
	ck_assert_uint_eq(f.publish_count, 0);
	operate(VERB_DISCARD, a.gid); /* who asks again is not told that it failed */
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_OK);
}
END_TEST

/* ---- crashes and reclaim --------------------------------------------------------------------- */

START_TEST(a_crash_loses_nothing_that_was_answered)
{
	struct answer a;
	struct answer b;
	struct answer c;

	open_with_topic();
	a = fake_begin(&f, 1, "a", "hello");
	b = fake_begin(&f, 1, "b", "hello");
	c = fake_begin(&f, 1, "c", "hello");
	fake_begin(&f, 1, "a", "hello");
	fake_decided(&f, &b, VERDICT_COMMIT);
	fake_decided(&f, &c, VERDICT_ROLLBACK);
	fake_send(&f, 1, "d", "never durable");
	fake_crash(&f, 5000);
	ck_assert_int_eq(fake_view(&f, a.gid).state, TXN_PREPARED);
	ck_assert_uint_eq(fake_view(&f, a.gid).generation, 1);
	ck_assert_int_eq(fake_view(&f, b.gid).state, TXN_COMMITTED);
	ck_assert_int_eq(fake_view(&f, c.gid).state, TXN_ROLLED_BACK);
	fake_turn(&f);
	ck_assert_uint_eq(f.publish_count, 1);
	/* The tokens survive, and so do the answers. */
	ck_assert_int_eq(fake_decided(&f, &b, VERDICT_COMMIT).code, ANSWER_OK);
	ck_assert_int_eq(fake_decided(&f, &b, VERDICT_ROLLBACK).code, ANSWER_DECIDED);
	ck_assert_int_eq(fake_decided(&f, &a, VERDICT_ROLLBACK).code, ANSWER_OK);
	ck_assert_uint_eq(core_stats(f.core)->rows[TXN_PREPARED], 0);
	/* A new one is newer than all before. */
	ck_assert_uint_gt(fake_begin(&f, 1, "e", "x").gid.lo, c.gid.lo);
}
END_TEST

START_TEST(reclaim_copies_what_is_owed_and_forgets_the_rest)
{
	struct answer undecided;
	struct answer owed;
	struct answer done;
	struct answer old;

	open_with_topic();
	old = fake_begin(&f, 1, "old", "x");
	fake_decided(&f, &old, VERDICT_ROLLBACK);
	fake_pass(&f, 100 * NS_PER_S);
	undecided = fake_begin(&f, 1, "u", "x");
	done = committed("done");
	ack(1);
	fake_turn(&f);
	owed = committed("owed");
	fake_reclaim(&f);
	fake_reclaim(&f); /* and copies of copies */
	ck_assert_uint_eq(f.log[f.first].type, ENTRY_STATE);
	fake_crash(&f, 100);
	ck_assert_int_eq(fake_view(&f, undecided.gid).state, TXN_PREPARED);
	ck_assert_int_eq(fake_view(&f, owed.gid).state, TXN_COMMITTED);
	ck_assert_int_eq(fake_view(&f, done.gid).state, TXN_PUBLISHED);
	ck_assert_uint_eq(fake_view(&f, done.gid).place.len, 0); /* a stub */
	ck_assert_int_eq(core_get(f.core, old.gid, &(struct row_view){ 0 }), ERR_NOTFOUND);
	reported = 0;
	fake_turn(&f);
	ck_assert_uint_eq(f.publish_count, 1);
	ck_assert_uint_eq(f.published[0].n, 2);
	ack(1);
	/* The stub still knows its key and its tokens. */
	ck_assert_int_eq(fake_decided(&f, &done, VERDICT_ROLLBACK).code, ANSWER_DECIDED);
	fake_send(&f, 1, "done", "done");
	fake_sync(&f);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_DECIDED);
	ck_assert_int_eq(fake_decided(&f, &undecided, VERDICT_COMMIT).code, ANSWER_OK);
	ck_assert_uint_eq(f.published[1].n, 3);
}
END_TEST

/* The copy lies behind the decision in the log: said without it, the decision would be lost. */
START_TEST(a_copy_carries_the_decision_that_is_not_durable_yet)
{
	struct answer a;

	open_with_topic();
	a = fake_begin(&f, 1, "a", "hello");
	fake_end(&f, &a, a.token, VERDICT_COMMIT, false);
	fake_decide(&f);
	ck_assert_int_eq(f.log[f.count - 1].type, ENTRY_DECISION);
	fake_reclaim(&f);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_OK);
	fake_crash(&f, 0);
	ck_assert_int_eq(fake_view(&f, a.gid).state, TXN_COMMITTED);
	fake_turn(&f);
	ck_assert_uint_eq(f.publish_count, 1);
	ck_assert_uint_eq(f.published[0].n, 1);
}
END_TEST

/* Kafka has it, but only memory says so: its segment may not go without a copy. */
START_TEST(a_mark_in_memory_frees_nothing)
{
	struct answer a;

	open_with_topic();
	f.lazy_lost = true;
	a = committed("a");
	ack(1);
	fake_turn(&f);
	ck_assert_int_eq(fake_view(&f, a.gid).state, TXN_PUBLISHED);
	fake_pass(&f, 100 * NS_PER_S);
	fake_reclaim(&f);
	ck_assert_int_eq(f.log[f.count - 1].type, ENTRY_COPY);
	fake_crash(&f, 0);
	fake_turn(&f);
	ck_assert_uint_eq(f.publish_count, 0);
	ck_assert_int_eq(fake_view(&f, a.gid).state, TXN_PUBLISHED);
	/* Who knows what the wall clock did meanwhile: for one window its key is remembered. */
	fake_reclaim(&f);
	ck_assert_int_eq(core_get(f.core, a.gid, &(struct row_view){ 0 }), 0);
	fake_pass(&f, 100 * NS_PER_S);
	/* The copy is proof enough to let it go. */
	fake_reclaim(&f);
	ck_assert_int_eq(core_get(f.core, a.gid, &(struct row_view){ 0 }), ERR_NOTFOUND);
}
END_TEST

/* The recovered tail may be written again: every record twice must be as every record once. */
START_TEST(recovery_of_records_that_come_twice)
{
	struct answer a;
	struct answer b;
	uint32_t end;

	open_with_topic();
	a = committed("a");
	b = fake_begin(&f, 1, "b", "x");
	fake_begin(&f, 1, "b", "x");
	ack(1);
	fake_turn(&f);
	end = f.count;
	for (uint32_t i = 0; i < end; i++)
		f.log[f.count++] = f.log[i];
	f.durable = f.count;
	fake_crash(&f, 0);
	ck_assert_int_eq(fake_view(&f, a.gid).state, TXN_PUBLISHED);
	ck_assert_int_eq(fake_view(&f, b.gid).state, TXN_PREPARED);
	ck_assert_uint_eq(fake_view(&f, b.gid).generation, 1);
	ck_assert_uint_eq(fake_view(&f, b.gid).place.lsn / FAKE_LEN >= end, 1);
	fake_turn(&f);
	ck_assert_uint_eq(f.publish_count, 0);
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

/* ---- operators ------------------------------------------------------------------------------- */

START_TEST(what_people_do_is_journaled_with_their_reason)
{
	struct answer a;
	struct operation op = { .to = { 8, 8 }, .verb = VERB_COMMIT, .who = STR("ann") };
	struct row_view v;

	open_with_topic();
	a = fake_begin(&f, 1, "a", "hello");
	op.gid = a.gid;
	core_operate(f.core, &op);
	fake_turn(&f);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_REFUSED); /* no reason */
	op.reason = STR("the order exists");
	v = fake_view(&f, a.gid);
	op.has_etag = true;
	op.etag = v.etag + 1;
	core_operate(f.core, &op);
	fake_turn(&f);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_MOVED);
	op.etag = v.etag;
	core_operate(f.core, &op);
	fake_turn(&f);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_OK);
	ck_assert_int_eq(f.log[f.count - 2].type, ENTRY_AUDIT);
	ck_assert_int_eq(f.log[f.count - 1].type, ENTRY_DECISION);
	ck_assert(str_eq(f.log[f.count - 2].audit.reason, STR("the order exists")));
	ck_assert_uint_eq(f.log[f.count - 2].audit.number, 1);
	ck_assert_int_eq(fake_view(&f, a.gid).origin, ORIGIN_OPERATOR);
	operate(VERB_ROLLBACK, a.gid);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_DECIDED);
	operate(VERB_RESUME, a.gid);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_STATE);
	/* Audit records outlive their segment. */
	fake_reclaim(&f);
	fake_crash(&f, 0);
	operate(VERB_CHECK, fake_begin(&f, 1, "b", "x").gid);
	ck_assert_int_eq(f.log[f.count - 1].type, ENTRY_AUDIT);
	ck_assert_uint_eq(f.log[f.count - 1].audit.number, 2);
}
END_TEST

/* A gid of nobody's, or of another shard, is none; and too much is not cut off in silence. */
START_TEST(what_people_mistype_changes_nothing)
{
	static char reason[LIMIT_REASON_BYTES + 1];
	struct operation op = { .to = { 8, 8 }, .verb = VERB_COMMIT, .who = STR("ann") };
	struct answer a;

	open_with_topic();
	a = fake_begin(&f, 1, "a", "hello");
	operate(VERB_COMMIT, gid_make(f.wall_ms, 0, a.gid.lo + 1));
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_NOT_FOUND);
	operate(VERB_COMMIT, gid_make(f.wall_ms, 7, a.gid.lo));
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_NOT_FOUND);
	memset(reason, 'x', sizeof(reason));
	op.gid = a.gid;
	op.reason = str_from(reason, sizeof(reason));
	core_operate(f.core, &op);
	fake_turn(&f);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_REFUSED);
	ck_assert_int_eq(fake_view(&f, a.gid).state, TXN_PREPARED);
	op.reason.n--;
	core_operate(f.core, &op);
	fake_turn(&f);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_OK);
	/* what two people decide in one turn waits for the first, and is told how that ended */
	a = fake_begin(&f, 1, "b", "hello");
	op.gid = a.gid;
	op.verb = VERB_ROLLBACK;
	core_operate(f.core, &op);
	core_operate(f.core, &op);
	fake_turn(&f);
	fake_turn(&f);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_OK);
	ck_assert_uint_eq(core_stats(f.core)->decisions[1][ORIGIN_OPERATOR], 1);
}
END_TEST

START_TEST(a_check_by_hand_asks_now)
{
	struct answer a;

	open_with_topic();
	core_join(f.core, 1, STR("g"));
	a = fake_begin(&f, 1, "a", "hello");
	operate(VERB_CHECK, a.gid);
	fake_turn(&f);
	ck_assert_uint_eq(f.check_count, 1);
}
END_TEST

/* ---- views ----------------------------------------------------------------------------------- */

START_TEST(lists_page_through_everything_once)
{
	static struct list_page page;
	struct list_query q = { .limit = 7 };
	uint32_t seen = 0;
	uint64_t last = 0;
	char key[16];

	open_with_topic();
	for (int i = 0; i < 50; i++) {
		struct answer a;

		snprintf(key, sizeof(key), "k%d", i);
		a = fake_begin(&f, 1, key, "hello");
		if (i % 2)
			fake_decided(&f, &a, VERDICT_ROLLBACK);
	}
	q.states = 1u << TXN_PREPARED;
	do {
		core_list(f.core, &q, &page);
		for (uint32_t i = 0; i < page.count; i++, seen++) {
			ck_assert_uint_gt(page.rows[i].gid.lo, last);
			last = page.rows[i].gid.lo;
			ck_assert(str_eq(page.rows[i].group, STR("g")));
		}
		q.after_seq = page.next_seq;
	} while (page.next_seq);
	ck_assert_uint_eq(seen, 25);
	q = (struct list_query){ .newest_first = true, .limit = 7 };
	seen = 0;
	last = UINT64_MAX;
	do {
		core_list(f.core, &q, &page);
		for (uint32_t i = 0; i < page.count; i++, seen++) {
			ck_assert_uint_lt(page.rows[i].gid.lo, last);
			last = page.rows[i].gid.lo;
		}
		q.after_seq = page.next_seq;
	} while (page.next_seq);
	ck_assert_uint_eq(seen, 50);
	q = (struct list_query){ .group = STR("g"), .key = STR("k9") };
	core_list(f.core, &q, &page);
	ck_assert_uint_eq(page.count, 1);
}
END_TEST

/* A fence cleaned too far would let a local transaction commit after its check said no. */
START_TEST(the_watermark_never_passes_an_undecided_transaction)
{
	static const uint8_t db[16] = { 1 };
	struct answer a;
	struct answer b;
	struct gid w;

	open_with_topic();
	a = fake_begin(&f, 1, "a", "x");
	b = fake_begin(&f, 1, "b", "x");
	w = core_watermark(f.core, db);
	ck_assert(gid_eq(w, a.gid));
	fake_decided(&f, &a, VERDICT_ROLLBACK);
	w = core_watermark(f.core, db);
	ck_assert(gid_eq(w, b.gid));
	fake_send(&f, 1, "c", "x"); /* not durable, not answered: still in the way */
	fake_decided(&f, &b, VERDICT_ROLLBACK);
	w = core_watermark(f.core, db);
	ck_assert_uint_eq(w.lo, b.gid.lo + 1);
}
END_TEST

START_TEST(a_timeline_tells_a_life)
{
	struct timeline_event events[16];
	struct answer a;
	uint32_t n;

	open_with_topic();
	a = fake_begin(&f, 1, "a", "x");
	fake_begin(&f, 1, "b", "x");
	fake_decided(&f, &a, VERDICT_COMMIT);
	ack(1);
	n = core_timeline(f.core, a.gid.lo, events, 16);
	ck_assert_uint_eq(n, 4);
	ck_assert_int_eq(events[0].to, TXN_PREPARED);
	ck_assert_int_eq(events[1].to, TXN_COMMITTED);
	ck_assert_int_eq(events[2].kind, NOTE_PUBLISHED);
	ck_assert_int_eq(events[3].to, TXN_PUBLISHED);
}
END_TEST

/* Whose immunity ends after the end of time is not asked about at its beginning. */
START_TEST(an_endless_immunity_stays_so)
{
	struct answer a;

	open_with_topic();
	f.conf.policy.immunity_ns = INT64_MAX;
	fake_crash(&f, 0);
	core_join(f.core, 1, STR("g"));
	a = fake_begin(&f, 1, "k", "x");
	fake_send(&f, 1, "k", "x");
	f.now_ns += NS_PER_S;
	core_clock(f.core, f.now_ns, f.wall_ms);
	fake_sync(&f); /* the disk took a second */
	ck_assert_uint_eq(fake_view(&f, a.gid).generation, 1);
	for (int i = 0; i < 3; i++)
		fake_pass(&f, 3600 * NS_PER_S);
	ck_assert_uint_eq(f.check_count, 0);
	ck_assert_int_eq(fake_view(&f, a.gid).state, TXN_PREPARED);
}
END_TEST

/* Several messages of one plain send: numbered in their order, lane by lane. */
START_TEST(plain_messages_to_one_lane_keep_their_order)
{
	struct message m[4] = { fake_message("t", "1"), fake_message("u", "2"),
				fake_message("t", "3"), fake_message("u", "4") };
	struct half_request r = {
		.to = { 1, 1 },
		.plain = true,
		.half = { .group = STR("g"), .key = STR("p"), .count = 4, .messages = m },
	};

	open_with_topic();
	fake_topic(&f, "u", 2);
	m[1].partition = 1; /* and the last to the other partition of the same topic */
	core_half_send(f.core, &r);
	fake_turn(&f);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_OK);
	for (int life = 0; life < 2; life++) {
		uint64_t n[4] = { 0 };

		ck_assert_uint_eq(f.publish_count, 4);
		for (uint32_t i = 0; i < 4; i++)
			n[f.published[i].index] = f.published[i].n;
		ck_assert(n[0] == 1 && n[1] == 1 && n[2] == 2 && n[3] == 1);
		fake_crash(&f, 0); /* the journal says the same */
		fake_turn(&f);
	}
}
END_TEST

/* A slow sync, and a crowd: each is answered once it is durable, and not before. */
START_TEST(a_thousand_answers_wait_for_one_sync)
{
	struct answer first;
	char key[16];

	open_with_topic();
	first = fake_begin(&f, 1, "first", "x");
	f.answer_count = 0;
	for (int i = 0; i < 1500; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		fake_send(&f, 1, key, "x");
	}
	ck_assert_uint_eq(f.answer_count, 0);
	fake_sync(&f);
	ck_assert_uint_eq(f.answer_count, 1500);
	for (uint32_t i = 0; i < 1500; i++) {
		ck_assert_int_eq(f.answers[i].a.code, ANSWER_OK);
		ck_assert_uint_eq(f.answers[i].a.gid.lo, first.gid.lo + 1 + i);
	}
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

/* Under a flood of half-sends a decision is not left waiting. */
START_TEST(beyond_a_turns_bytes_half_sends_wait_and_decisions_do_not)
{
	static char body[1 << 20];
	struct message m = fake_message("t", "x");
	struct half_request r = {
		.to = { 1, 1 },
		.half = { .group = STR("g"), .count = 1, .messages = &m },
	};
	struct answer a;

	open_with_topic();
	a = fake_begin(&f, 1, "a", "x");
	f.answer_count = 0;
	m.value = str_from(body, sizeof(body));
	m.plain_bytes = sizeof(body);
	for (int i = 0; i < 20; i++)
		core_half_send(f.core, &r);
	/* one that can never be is not kept for later */
	r.half.count = LIMIT_MESSAGES + 1;
	core_half_send(f.core, &r);
	fake_end(&f, &a, a.token, VERDICT_COMMIT, false);
	fake_turn(&f);
	ck_assert_uint_gt(core_stats(f.core)->deferred, 0);
	ck_assert_uint_lt(f.answer_count, 13);
	ck_assert_int_le(core_next_due_ns(f.core), f.now_ns);
	ck_assert_uint_eq(f.publish_count, 1);
	fake_turn(&f);
	fake_turn(&f);
	ck_assert_uint_eq(f.answer_count, 22);
	ck_assert_uint_eq(core_stats(f.core)->deferred, 0);
}
END_TEST

/*
 * Memory forgets a producer group with its last transaction, the journal only with its segment: a
 * journal that names more groups than memory may hold must still be read, or the daemon never
 * starts again.
 */
START_TEST(a_journal_with_more_groups_than_memory_is_read)
{
	struct message m = fake_message("t", "x");
	struct entry e = { .type = ENTRY_HALF };
	uint32_t topic = 0;
	char name[16];

	open_with_topic();
	f.core = core_free(f.core);
	f.core = core_new(&f.conf, &fake_ports, &f);
	for (uint32_t i = f.first; i < f.count; i++)
		ck_assert_int_eq(core_recover(f.core, &f.log[i], (struct place){ i * 100, 100 }),
				 0);
	m.partition = 0;
	e.half.topics = &topic;
	for (uint32_t i = 1; i <= LIMIT_GROUPS + 1; i++) {
		struct entry done = { .type = ENTRY_DECISION };

		snprintf(name, sizeof(name), "g%u", i);
		e.half.half = (struct half){ .gid = gid_make(f.wall_ms, 0, i),
					     .group = str_of(name),
					     .count = 1,
					     .messages = &m };
		ck_assert_int_eq(core_recover(f.core, &e, (struct place){ 100 * i, 100 }), 0);
		done.decision.seq = i;
		done.decision.decision =
			(struct decision){ TXN_ROLLED_BACK, ORIGIN_CLIENT, f.wall_ms, STR_NONE };
		ck_assert_int_eq(core_recover(f.core, &done, (struct place){ 0, 0 }), 0);
	}
	core_start(f.core, f.now_ns, f.wall_ms);
	/* In service the bound holds again: within the window there is no room for yet another. */
	fake_send(&f, 1, "k", "hello");
	fake_turn(&f);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_BUSY);
	fake_pass(&f, (int64_t)(f.conf.idempotency_window_ms + 1) * NS_PER_MS);
	fake_begin(&f, 1, "k", "hello");
}
END_TEST

/* The record that opens a segment has a bound; whoever passes it ends the daemon for good. */
START_TEST(the_catalogue_stays_within_what_a_segment_can_open_with)
{
	struct entry e = { .type = ENTRY_STATE };

	open_with_topic();
	core_state_max(f.core, 4096);
	core_route(f.core, (struct reply_to){ 9, 0 }, STR("wide"));
	fake_turn(&f);
	core_topic(f.core, STR("wide"), TOPIC_HERE, 1000, 0);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_BUSY);
	fake_topic(&f, "small", 20);
	/* Partitions that are added later stay unused: what is known goes on. */
	core_topic(f.core, STR("t"), TOPIC_HERE, 1000, 0);
	core_state(f.core, &e.state);
	ck_assert_uint_eq(e.state.topic_count, 2);
	ck_assert_int_eq(e.state.topics[0].partitions, 1);
	fake_begin(&f, 1, "k", "hello");
	core_topic(f.core, STR("t"), TOPIC_HERE, 2, 0);
	core_state(f.core, &e.state);
	ck_assert_int_eq(e.state.topics[0].partitions, 2);
}
END_TEST

UNIT("core", nothing_is_answered_before_it_is_durable, a_rolled_back_message_never_reaches_kafka,
     of_two_decisions_in_one_turn_the_first_wins, nobody_decides_by_guessing,
     a_repeat_gets_the_same_tokens_and_a_new_generation, a_repeat_in_the_same_turn_waits,
     another_body_under_the_key_is_refused, a_committed_key_is_never_answered_ok,
     after_a_rollback_the_key_is_free, the_256th_repeat_is_refused,
     plain_sends_go_straight_to_kafka_once, every_limit_has_its_answer,
     a_full_memory_for_keys_refuses_instead_of_forgetting, a_jump_of_the_wall_clock_forgets_no_key,
     a_jump_while_down_forgets_no_key, a_repeat_takes_nothing_of_a_full_journal,
     a_half_send_waits_for_an_unknown_topic, unknown_to_kafka_and_unknown_to_us_are_two_answers,
     a_known_topic_serves_while_kafka_is_away_and_after_a_crash,
     a_silent_producer_is_asked_and_its_answer_decides,
     nobody_there_costs_nothing_and_whoever_joins_is_asked,
     an_answer_of_an_older_generation_decides_nothing,
     used_up_checks_park_and_parked_ones_are_still_asked, a_decided_transaction_is_not_asked_about,
     checks_are_spread_over_the_producers_of_a_group, one_connection_is_not_flooded_with_checks,
     a_failed_publication_is_repeated_in_order_under_the_same_numbers, an_offset_that_falls_is_told,
     a_refused_message_is_confirmed_alone_then_undeliverable,
     a_crash_publishes_again_what_was_not_marked_and_only_that,
     kafkas_queue_being_full_stops_and_resumes, cold_bodies_keep_the_order,
     another_cluster_gets_nothing, one_refused_message_of_two_is_retried_alone,
     one_refused_message_of_two_is_given_up, a_crash_loses_nothing_that_was_answered,
     reclaim_copies_what_is_owed_and_forgets_the_rest,
     a_copy_carries_the_decision_that_is_not_durable_yet, a_mark_in_memory_frees_nothing,
     recovery_of_records_that_come_twice, after_a_restart_checks_come_within_one_gap,
     what_people_do_is_journaled_with_their_reason, what_people_mistype_changes_nothing,
     a_check_by_hand_asks_now, an_endless_immunity_stays_so,
     plain_messages_to_one_lane_keep_their_order, a_thousand_answers_wait_for_one_sync,
     more_is_due_than_one_turn_looks_at, lists_page_through_everything_once,
     the_watermark_never_passes_an_undecided_transaction,
     a_journal_with_more_groups_than_memory_is_read,
     the_catalogue_stays_within_what_a_segment_can_open_with, a_timeline_tells_a_life,
     beyond_a_turns_bytes_half_sends_wait_and_decisions_do_not);
