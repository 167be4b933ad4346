/*
 * test_core_send.c -- a half-send is new, a repetition, or refused while that is harmless.
 *
 * A user would lose: money, to a local transaction that ran twice because a committed half-send
 * was answered OK; or a message that was accepted and could never be published.
 */
#include "core_world.h"

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

	struct answer a;

	open_with_topic();
	f.conf.history_retention_ms = 0;
	a = fake_begin(&f, 1, "k", "hello");
	fake_decided(&f, &a, VERDICT_COMMIT);
	ack(1);
	fake_turn(&f);
	fake_crash(&f, jumps_ms[_i % 2]);
	fake_turn(&f);
	if (_i >= 2)
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
END_TEST

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

int
main(void)
{
	TCase *t = unit_case("core_send", NULL, NULL);

	tcase_add_test(t, a_repeat_gets_the_same_tokens_and_a_new_generation);
	tcase_add_test(t, a_repeat_in_the_same_turn_waits);
	tcase_add_test(t, another_body_under_the_key_is_refused);
	tcase_add_test(t, a_committed_key_is_never_answered_ok);
	tcase_add_test(t, after_a_rollback_the_key_is_free);
	tcase_add_test(t, the_256th_repeat_is_refused);
	tcase_add_test(t, plain_sends_go_straight_to_kafka_once);
	tcase_add_test(t, every_limit_has_its_answer);
	tcase_add_test(t, a_full_memory_for_keys_refuses_instead_of_forgetting);
	tcase_add_test(t, a_jump_of_the_wall_clock_forgets_no_key);
	tcase_add_loop_test(t, a_jump_while_down_forgets_no_key, 0, 4);
	tcase_add_test(t, a_repeat_takes_nothing_of_a_full_journal);
	tcase_add_test(t, a_half_send_waits_for_an_unknown_topic);
	tcase_add_test(t, unknown_to_kafka_and_unknown_to_us_are_two_answers);
	tcase_add_test(t, a_known_topic_serves_while_kafka_is_away_and_after_a_crash);
	tcase_add_test(t, an_endless_immunity_stays_so);
	tcase_add_test(t, plain_messages_to_one_lane_keep_their_order);
	tcase_add_test(t, the_catalogue_stays_within_what_a_segment_can_open_with);
	tcase_add_test(t, beyond_a_turns_bytes_half_sends_wait_and_decisions_do_not);
	return unit_run_case("core_send", t);
}
