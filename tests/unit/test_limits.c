/*
 * test_limits.c -- at every bound of the core there is an answer, and the rest goes on.
 *
 * A user would lose: the daemon's memory to one peer that asks for more than there is, or an answer
 * that says what to do.
 */
#include "fake_ports.h"
#include "unit.h"

#include "core/core_internal.h"

static struct fake f;
static char big[LIMIT_HEADERS_BYTES + 1000];
static struct message messages[LIMIT_MESSAGES + 1];

static void
open_with_topic(void)
{
	fake_open(&f);
	fake_topic(&f, "t", 4);
	memset(big, 'x', sizeof(big));
	for (uint32_t i = 0; i < ARRAY_LEN(messages); i++)
		messages[i] = fake_message("t", "v");
}

static enum answer_code
sent(const struct half_request *r)
{
	uint32_t before = f.answer_count;

	core_half_send(f.core, r);
	fake_turn(&f);
	ck_assert_uint_eq(f.answer_count, before + 1);
	return fake_last(&f)->code;
}

START_TEST(each_part_of_a_half_send_has_its_bound)
{
	const struct half_request good = {
		.to = { 1, 1 },
		.half = { .group = STR("g"),
			  .kind = EDGE_ROCKETMQ,
			  .count = 1,
			  .messages = messages },
	};
	struct half_request r = good;
	struct buf headers = BUF_INIT;

	open_with_topic();
	ck_assert_int_eq(sent(&r), ANSWER_OK);
	r.half.count = 0;
	ck_assert_int_eq(sent(&r), ANSWER_REFUSED);
	r.half.count = LIMIT_MESSAGES + 1;
	ck_assert_int_eq(sent(&r), ANSWER_REFUSED);
	r.half.count = LIMIT_MESSAGES;
	ck_assert_int_eq(sent(&r), ANSWER_OK);
	r = good;
	r.half.group = str_from(big, LIMIT_GROUP_BYTES + 1);
	ck_assert_int_eq(sent(&r), ANSWER_REFUSED);
	r.half.group.n--;
	ck_assert_int_eq(sent(&r), ANSWER_OK);
	r = good;
	r.half.key = str_from(big, LIMIT_KEY_BYTES + 1);
	ck_assert_int_eq(sent(&r), ANSWER_REFUSED);
	r.half.key.n--;
	ck_assert_int_eq(sent(&r), ANSWER_OK);
	r = good;
	r.half.edge = str_from(big, LIMIT_EDGE_BYTES + 1);
	ck_assert_int_eq(sent(&r), ANSWER_REFUSED);
	r.half.edge.n--;
	r.half.from = str_from(big, LIMIT_WHO_BYTES + 1);
	ck_assert_int_eq(sent(&r), ANSWER_REFUSED);
	r.half.from.n--;
	ck_assert_int_eq(sent(&r), ANSWER_OK);
	r = good;
	messages[0].topic = STR_NONE;
	ck_assert_int_eq(sent(&r), ANSWER_REFUSED);
	messages[0].topic = str_from(big, LIMIT_TOPIC_BYTES + 1);
	ck_assert_int_eq(sent(&r), ANSWER_REFUSED);
	messages[0] = fake_message("t", "v");
	for (int i = 0; i <= LIMIT_HEADERS; i++)
		headers_add(&headers, STR("n"), STR("v"));
	messages[0].headers.bytes = buf_as_str(&headers);
	ck_assert_int_eq(sent(&r), ANSWER_REFUSED);
	buf_reset(&headers, 0);
	headers_add(&headers, STR("n"), str_from(big, LIMIT_HEADERS_BYTES));
	messages[0].headers.bytes = buf_as_str(&headers);
	ck_assert_int_eq(sent(&r), ANSWER_REFUSED);
	/* together they may be no longer than one message */
	messages[0].headers.bytes.n = 0;
	messages[0].plain_bytes = f.conf.message_bytes;
	ck_assert_int_eq(sent(&r), ANSWER_OK);
	messages[0].key = STR("k");
	ck_assert_int_eq(sent(&r), ANSWER_TOO_BIG);
	messages[0] = fake_message("t", "v");
	messages[0].value.n = f.conf.message_bytes + 1; /* a body that did not get smaller */
	ck_assert_int_eq(sent(&r), ANSWER_TOO_BIG);
	messages[0] = fake_message("t", "v");
	f.full = f.too_big = true;
	ck_assert_int_eq(sent(&r), ANSWER_TOO_BIG);
	buf_free(&headers);
}
END_TEST

/* Many at once, in one turn: each is answered, and no queue is too short. */
START_TEST(a_crowd_in_one_turn_is_served)
{
	struct answer first;
	static char keys[700][16];
	char key[16];

	open_with_topic();
	for (int i = 0; i < 700; i++) {
		struct half_request r = { .to = { 1, (uint64_t)i },
					  .half = { .group = STR("g"),
						    .key = str_of(key),
						    .count = 1,
						    .messages = messages } };

		snprintf(key, sizeof(key), "k%d", i);
		memcpy(keys[i], key, sizeof(key));
		r.half.key = str_of(keys[i]);
		core_half_send(f.core, &r);
	}
	ck_assert_int_le(core_next_due_ns(f.core), f.now_ns);
	fake_turn(&f);
	ck_assert_uint_eq(f.answer_count, 700);
	first = f.answers[0].a;
	for (uint32_t i = 0; i < 700; i++) {
		ck_assert_int_eq(f.answers[i].a.code, ANSWER_OK);
		fake_end(&f, &f.answers[i].a, f.answers[i].a.token, VERDICT_COMMIT, false);
	}
	/* one behind them all that is not an END */
	core_route(f.core, (struct reply_to){ 3, 3 }, STR("t"));
	fake_turn(&f);
	ck_assert_uint_eq(f.answer_count, 1401);
	ck_assert_int_eq(fake_view(&f, first.gid).state, TXN_COMMITTED);
	/* a turn of messages that need more than one block of memory */
	for (int i = 0; i < 8; i++) {
		struct half_request r = {
			.to = { 1, 1 },
			.half = { .group = STR("g"), .count = LIMIT_MESSAGES, .messages = messages }
		};

		core_half_send(f.core, &r);
	}
	fake_turn(&f);
	for (int i = 0; i < 8; i++)
		ck_assert_int_eq(f.answers[1401 + i].a.code, ANSWER_OK);
	fake_begin(&f, 1, "after", "x");
}
END_TEST

/*
 * A user would lose: seconds in which nobody is answered, and gigabytes, to somebody who lets a
 * thousand large half messages fall due at one moment and then comes to be asked.
 */
START_TEST(large_checks_take_turns)
{
	static const char *const keys[] = { "a", "b", "c", "d", "e" };

	open_with_topic();
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		struct answer a = fake_begin(&f, 1, keys[i], "hello");
		uint32_t row = table_find(&f.core->table, a.gid.lo);

		core_placed(f.core, row, (struct place){ core_row(f.core, row)->lsn, 4u << 20 });
	}
	fake_pass(&f, f.conf.policy.immunity_ns + NS_PER_S);
	ck_assert_int_eq(core_join(f.core, 2, STR("g")), 0);
	fake_turn(&f);
	ck_assert_uint_eq(f.check_count, LIMIT_TURN_BYTES >> 22);
	ck_assert_int_le(core_next_due_ns(f.core), f.now_ns);
	fake_turn(&f);
	ck_assert_uint_eq(f.check_count, 2 * (LIMIT_TURN_BYTES >> 22));
	fake_turn(&f);
	ck_assert_uint_eq(f.check_count, ARRAY_LEN(keys));
}
END_TEST

START_TEST(what_waits_has_its_bound)
{
	open_with_topic();
	f.conf.deferred_bytes = 2000;
	fake_crash(&f, 0);
	for (int i = 0; i < 10; i++) {
		core_route(f.core, (struct reply_to){ 3, 3 }, STR("unknown"));
		fake_turn(&f);
	}
	ck_assert_uint_gt(f.answer_count, 0);
	ck_assert_uint_lt(f.answer_count, 10);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_BUSY);
	/* a half-send behind too much of others waits too, or is refused */
	core_topic(f.core, STR("unknown"), TOPIC_GONE, 0, 0);
	ck_assert_uint_eq(f.answer_count, 10);
	ck_assert_uint_eq(core_stats(f.core)->deferred, 0);
	fake_begin(&f, 1, "k", "x");
}
END_TEST

START_TEST(unknown_topics_are_asked_for_so_many_at_a_time)
{
	char name[16];

	open_with_topic();
	for (int i = 0; i < LIMIT_TOPIC_WAITS; i++) {
		snprintf(name, sizeof(name), "topic-%d", i);
		core_route(f.core, (struct reply_to){ 3, 3 }, str_of(name));
		fake_turn(&f);
	}
	ck_assert_uint_eq(f.answer_count, 0);
	core_route(f.core, (struct reply_to){ 3, 3 }, STR("one more"));
	fake_turn(&f);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_BUSY);
	/* one that is asked for already may have more who wait */
	core_route(f.core, (struct reply_to){ 3, 3 }, STR("topic-7"));
	fake_turn(&f);
	ck_assert_uint_eq(f.answer_count, 1);
	core_topic(f.core, STR("topic-7"), TOPIC_HERE, 1, 0);
	fake_turn(&f);
	ck_assert_uint_eq(f.answer_count, 3);
	core_route(f.core, (struct reply_to){ 3, 3 }, STR("one more"));
	fake_turn(&f);
	ck_assert_uint_eq(f.answer_count, 3);
	core_route(f.core, (struct reply_to){ 3, 3 }, STR_NONE);
	fake_turn(&f);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_REFUSED);
	core_route(f.core, (struct reply_to){ 3, 3 }, str_from(big, LIMIT_TOPIC_BYTES + 1));
	fake_turn(&f);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_REFUSED);
}
END_TEST

/* What Kafka says of a topic, in every order: what nobody asked for changes nothing. */
START_TEST(kafkas_words_about_topics)
{
	uint32_t before;

	open_with_topic();
	before = f.count;
	core_topic(f.core, STR("nobody asked"), TOPIC_HERE, 4, 0);
	core_topic(f.core, STR("nobody asked"), TOPIC_GONE, 0, 0);
	core_topic(f.core, STR("nobody asked"), TOPIC_FAILED, 0, 0);
	core_topic(f.core, STR("t"), TOPIC_HERE, 0, 0);
	core_topic(f.core, STR("t"), TOPIC_HERE, 4, 0);
	ck_assert_uint_eq(f.count, before);
	core_route(f.core, (struct reply_to){ 3, 3 }, STR("u"));
	fake_turn(&f);
	core_topic(f.core, STR("u"), TOPIC_FAILED, 0, 0);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_BUSY);
	/* gone, told twice; then half-sends wait for it, and are refused */
	core_topic(f.core, STR("t"), TOPIC_GONE, 0, 0);
	ck_assert_uint_eq(f.count, before + 1);
	core_topic(f.core, STR("t"), TOPIC_GONE, 0, 0);
	ck_assert_uint_eq(f.count, before + 1);
	fake_send(&f, 1, "k", "x");
	fake_sync(&f);
	ck_assert_uint_eq(f.answer_count, 1);
	core_topic(f.core, STR("t"), TOPIC_FAILED, 0, 0);
	ck_assert_uint_eq(f.answer_count, 1);
	core_topic(f.core, STR("t"), TOPIC_GONE, 0, 0);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_TOPIC_UNKNOWN);
	core_route(f.core, (struct reply_to){ 3, 3 }, STR("t"));
	fake_turn(&f);
	core_topic(f.core, STR("t"), TOPIC_HERE, 6, 0);
	fake_turn(&f);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_OK);
	ck_assert_int_eq(fake_last(&f)->partitions, 6);
}
END_TEST

START_TEST(the_catalogue_has_its_bound)
{
	char name[16];

	open_with_topic();
	f.core = core_free(f.core);
	f.core = core_new(&f.conf, &fake_ports, &f);
	for (uint32_t i = 0; i < LIMIT_TOPICS; i++) {
		struct entry e = { .type = ENTRY_TOPIC };

		snprintf(name, sizeof(name), "topic-%u", i);
		e.topic = (struct entry_topic){ i, str_of(name), i ? 1 : 0, 0 };
		ck_assert_int_eq(core_recover(f.core, &e, (struct place){ 1, 1 }), 0);
	}
	core_start(f.core, f.now_ns, f.wall_ms);
	core_route(f.core, (struct reply_to){ 3, 3 }, STR("one more"));
	fake_turn(&f);
	core_topic(f.core, STR("one more"), TOPIC_HERE, 1, 0);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_BUSY);
	core_route(f.core, (struct reply_to){ 3, 3 }, STR("topic-9999"));
	fake_turn(&f);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_OK);
	/* and that of a segment's first record: what comes back and does not fit */
	core_state_max(f.core, 1000);
	core_topic(f.core, STR("topic-0"), TOPIC_HERE, 1, 0);
	core_route(f.core, (struct reply_to){ 3, 3 }, STR("topic-0"));
	fake_turn(&f);
	core_topic(f.core, STR("topic-0"), TOPIC_HERE, 1, 0);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_BUSY);
}
END_TEST

START_TEST(the_name_of_a_cluster_has_its_bound)
{
	open_with_topic();
	ck_assert_int_eq(core_cluster(f.core, STR_NONE), 0);
	ck_assert_int_eq(core_cluster(f.core, str_from(big, 1000)), 0);
	ck_assert_int_eq(core_cluster(f.core, STR("ours")), 0);
	ck_assert_int_eq(core_cluster(f.core, STR("ours")), 0);
	ck_assert_int_eq(core_cluster(f.core, STR("other")), ERR_FOREIGN);
	ck_assert_int_eq(core_cluster(f.core, STR("other")), ERR_FOREIGN);
	ck_assert_uint_eq(f.notes[NOTE_FOREIGN_CLUSTER], 1);
	ck_assert_int_eq(core_cluster(f.core, STR("ours")), 0);
	ck_assert(!core_stats(f.core)->foreign_cluster);
}
END_TEST

/* The same again is one message, another body is refused, and later the key is free. */
START_TEST(plain_sends_and_their_keys)
{
	struct half_request r = {
		.to = { 1, 1 },
		.plain = true,
		.half = { .group = STR("g"),
			  .key = STR("p"),
			  .count = 3,
			  .messages = messages,
			  .body_hash = { .lo = 1 } },
	};
	struct gid gid;

	open_with_topic();
	messages[0].partition = messages[2].partition = 1;
	messages[1].partition = 2;
	ck_assert_int_eq(sent(&r), ANSWER_OK);
	gid = fake_last(&f)->gid;
	ck_assert_uint_eq(f.publish_count, 3);
	for (uint32_t i = 0; i < 3; i++)
		ck_assert_uint_eq(f.published[i].n, f.published[i].index == 2 ? 2 : 1);
	ck_assert_int_eq(sent(&r), ANSWER_OK);
	ck_assert(gid_eq(fake_last(&f)->gid, gid));
	r.half.body_hash.lo = 77;
	ck_assert_int_eq(sent(&r), ANSWER_KEY_REUSED);
	r.again = gid;
	r.again.lo++; /* of another message: says nothing about this one */
	ck_assert_int_eq(sent(&r), ANSWER_KEY_REUSED);
	r.again = (struct gid){ 0, 0 };
	r.plain = false;
	ck_assert_int_eq(sent(&r), ANSWER_KEY_REUSED);
	r.half.body_hash.lo = 1;
	ck_assert_int_eq(sent(&r), ANSWER_DECIDED);
	r.plain = true;
	fake_pass(&f, (int64_t)(f.conf.idempotency_window_ms + 1) * NS_PER_MS);
	ck_assert_int_eq(sent(&r), ANSWER_OK);
	ck_assert(!gid_eq(fake_last(&f)->gid, gid));
	/* and not under the key of one that is undecided */
	fake_begin(&f, 1, "half", "x");
	r.half.key = STR("half");
	ck_assert_int_eq(sent(&r), ANSWER_KEY_REUSED);
}
END_TEST

START_TEST(checks_that_nobody_waits_for)
{
	struct answer a;

	open_with_topic();
	ck_assert_int_eq(core_join(f.core, 5, STR_NONE), ERR_FULL);
	ck_assert_int_eq(core_join(f.core, 5, str_from(big, LIMIT_GROUP_BYTES + 1)), ERR_FULL);
	ck_assert_int_eq(core_join(f.core, 5, STR("g")), 0);
	a = fake_begin(&f, 1, "k", "x");
	core_check_written(f.core, 4711, 5);
	core_check_written(f.core, a.gid.lo, 5);
	ck_assert_uint_eq(fake_view(&f, a.gid).checks, 0);
	/* a connection that takes none now is asked again when it is due again */
	f.check_closed = true;
	fake_pass(&f, f.conf.policy.immunity_ns);
	ck_assert_uint_eq(f.check_count, 0);
	f.check_closed = false;
	fake_pass(&f, f.conf.policy.interval_max_ns);
	ck_assert_uint_eq(f.check_count, 1);
	/* half-sent again before the check was on the wire: it was another one that was asked */
	fake_begin(&f, 1, "k", "x");
	core_check_written(f.core, a.gid.lo, 5);
	ck_assert_uint_eq(fake_view(&f, a.gid).checks, 0);
	/* and decided, but not durable yet */
	fake_pass(&f, f.conf.policy.interval_max_ns);
	ck_assert_uint_eq(f.check_count, 2);
	fake_end(&f, &a, a.token, VERDICT_COMMIT, false);
	fake_decide(&f);
	core_check_written(f.core, a.gid.lo, 5);
	fake_sync(&f);
	ck_assert_uint_eq(fake_view(&f, a.gid).checks, 0);
	ck_assert_int_eq(fake_view(&f, a.gid).state, TXN_COMMITTED);
}
END_TEST

/* check.rate bounds all checks together; without one nobody is asked, and nothing spins. */
START_TEST(checks_keep_to_their_rate)
{
	char key[16];

	fake_open(&f);
	f.conf.check_rate = (uint32_t)_i * 5;
	fake_topic(&f, "t", 1);
	fake_crash(&f, 0);
	ck_assert_int_eq(core_join(f.core, 5, STR("g")), 0);
	for (int i = 0; i < 40; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		fake_begin(&f, 1, key, "x");
	}
	fake_pass(&f, f.conf.policy.immunity_ns);
	ck_assert_uint_le(f.check_count, 1);
	if (!_i) {
		ck_assert_uint_eq(f.check_count, 0);
		ck_assert_int_gt(core_next_due_ns(f.core), f.now_ns);
		return;
	}
	ck_assert_int_gt(core_next_due_ns(f.core), f.now_ns);
	ck_assert_int_le(core_next_due_ns(f.core), f.now_ns + NS_PER_S);
	for (int i = 0; i < 20; i++)
		fake_pass(&f, NS_PER_S / 10);
	ck_assert_uint_ge(f.check_count, 9);
	ck_assert_uint_le(f.check_count, 12);
}
END_TEST

/* More overdue bodies on a slow disk than one turn asks for. */
START_TEST(cold_checks_are_fetched_so_many_at_a_time)
{
	struct entry e = { .type = ENTRY_HALF };
	uint32_t topic = 0;

	open_with_topic();
	f.conf.check_rate = 1000000;
	f.core = core_free(f.core);
	f.core = core_new(&f.conf, &fake_ports, &f);
	for (uint32_t k = f.first; k < f.count; k++)
		ck_assert_int_eq(core_recover(f.core, &f.log[k], (struct place){ k * FAKE_LEN, 1 }),
				 0);
	messages[0].partition = 0;
	e.half.topics = &topic;
	for (uint64_t i = 1; i <= LIMIT_TURN_CHECKS + 500; i++) {
		e.half.half = (struct half){ .gid = gid_make(f.wall_ms, 0, i),
					     .group = STR("g"),
					     .count = 1,
					     .messages = messages };
		ck_assert_int_eq(core_recover(f.core, &e, (struct place){ i, 1 }), 0);
	}
	core_start(f.core, f.now_ns, f.wall_ms);
	ck_assert_int_eq(core_join(f.core, 5, STR("g")), 0);
	f.cold = true;
	for (int i = 0; i < 40; i++)
		fake_pass(&f, f.conf.policy.interval_max_ns / 10);
	ck_assert_int_gt(core_next_due_ns(f.core), f.now_ns);
	/* one of them could not be read, one was forgotten meanwhile */
	core_fetched(f.core, f.fetch_token, ERR_IO, NULL);
	core_fetched(f.core, FETCH_CHECK | 999999, 0, &e.half.half);
	ck_assert_uint_eq(f.check_count, 0);
	core_fetched(f.core, FETCH_LANE | 12345, 0, NULL); /* of no lane */
}
END_TEST

static enum answer_code
sent_by(const char *group, const char *key, struct answer *ret_answer)
{
	struct half_request r = { .to = { 1, 1 },
				  .half = { .group = str_of(group),
					    .key = str_of(key),
					    .count = 1,
					    .messages = messages,
					    .body_hash = { .lo = 1 } } };
	enum answer_code code = sent(&r);

	*ret_answer = *fake_last(&f);
	return code;
}

static enum answer_code
decided_by(const char *group, const struct answer *a, enum verdict verdict)
{
	struct end_request r = { .to = { 7, 1 },
				 .peer = 7,
				 .group = str_of(group),
				 .seq = a->gid.lo,
				 .token = a->token,
				 .verdict = verdict };

	core_end(f.core, &r);
	fake_turn(&f);
	return fake_last(&f)->code;
}

static void
ack_all(void)
{
	static uint32_t acked;

	for (; acked < f.publish_count; acked++)
		core_report(f.core, f.published[acked].token, REPORT_ACKED, acked, 0);
	fake_turn(&f);
}

/*
 * A user would lose: every producer group that was not seen before, for a day, after somebody had
 * named very many.  What is decided is forgotten for them, once its window is over.
 */
START_TEST(history_keeps_no_group_out)
{
	struct answer a;
	struct answer kept;
	char name[16];

	open_with_topic();
	f.core->groups.limit = 4;
	ck_assert_int_eq(sent_by("kept", "k", &kept), ANSWER_OK);
	for (int i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "g%d", i);
		ck_assert_int_eq(sent_by(name, "k", &a), ANSWER_OK);
		ck_assert_int_eq(decided_by(name, &a, VERDICT_ROLLBACK), ANSWER_OK);
		fake_pass(&f, NS_PER_S);
	}
	ck_assert_int_eq(sent_by("new", "k", &a), ANSWER_BUSY);
	ck_assert_int_eq(core_join(f.core, 5, STR("new")), ERR_FULL);
	fake_pass(&f, (int64_t)f.conf.idempotency_window_ms * NS_PER_MS);
	ck_assert_int_eq(core_join(f.core, 5, STR("new")), 0);
	ck_assert_int_eq(sent_by("newer", "k", &a), ANSWER_OK);
	/* those that are undecided, or listen, stay */
	ck_assert_int_eq(sent_by("g9", "k", &a), ANSWER_OK);
	ck_assert_int_eq(sent_by("g10", "k", &a), ANSWER_BUSY);
	ck_assert_int_eq(decided_by("kept", &kept, VERDICT_COMMIT), ANSWER_OK);
}
END_TEST

/*
 * A user would lose: a second for each heartbeat that names hundreds of groups, when groups that
 * are listened for have used up their numbers and no history that is forgotten gives one back.
 */
START_TEST(history_goes_for_groups_in_small_pieces)
{
	char key[16];
	struct answer a;

	open_with_topic();
	f.core->groups.limit = 1;
	ck_assert_int_eq(core_join(f.core, 5, STR("g")), 0);
	for (int i = 0; i < 8; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		a = fake_begin(&f, 1, key, "x");
		fake_decided(&f, &a, VERDICT_ROLLBACK);
	}
	fake_pass(&f, (int64_t)(f.conf.idempotency_window_ms + 1) * NS_PER_MS);
	ck_assert_uint_eq(f.core->history.count, 8);
	f.core->forget_left = 3;
	ck_assert_int_eq(core_join(f.core, 5, STR("a")), ERR_FULL);
	ck_assert_int_eq(core_join(f.core, 5, STR("b")), ERR_FULL);
	ck_assert_uint_eq(f.core->history.count, 5);
	fake_turn(&f);
	ck_assert_uint_eq(f.core->forget_left, LIMIT_TURN_HISTORY);
	ck_assert_int_eq(core_join(f.core, 5, STR("a")), ERR_FULL);
	ck_assert_uint_eq(f.core->history.count, 0);
}
END_TEST

/* Two transactions for each group, or as many bytes: in the fake's journal a record has 100. */
static void
share(int by_bytes)
{
	if (by_bytes)
		f.core->conf.group_bytes = 101;
	else
		f.core->conf.group_undecided = 2;
}

/* A user would lose: all other groups' half-sends, to one group that never decides. */
START_TEST(a_group_has_its_share)
{
	struct answer a[3], b;
	struct group_view v;
	uint32_t at = 0;

	open_with_topic();
	share(_i);
	ck_assert_int_eq(sent_by("quiet", "1", &a[0]), ANSWER_OK);
	ck_assert_int_eq(sent_by("quiet", "2", &a[1]), ANSWER_OK);
	ck_assert_int_eq(sent_by("quiet", "3", &b), ANSWER_BUSY);
	ck_assert_int_eq(sent_by("quiet", "4", &b), ANSWER_BUSY);
	ck_assert_uint_eq(f.notes[NOTE_GROUP_FULL], 1);
	/* a repeat is nothing new, and others have their own */
	ck_assert_int_eq(sent_by("quiet", "2", &b), ANSWER_OK);
	ck_assert_int_eq(sent_by("other", "1", &b), ANSWER_OK);
	ck_assert_int_eq(decided_by("other", &b, VERDICT_COMMIT), ANSWER_OK);
	/* it stays so in the journal's next life, and when records are copied */
	fake_crash(&f, 10);
	share(_i);
	fake_reclaim(&f);
	ck_assert(core_group_next(f.core, &at, &v));
	ck_assert_uint_eq(v.waiting, 2);
	ck_assert_uint_eq(v.waiting_bytes, 200);
	ck_assert_int_eq(sent_by("quiet", "3", &b), ANSWER_BUSY);
	/* and a decision makes room */
	ck_assert_int_eq(decided_by("quiet", &a[0], VERDICT_ROLLBACK), ANSWER_OK);
	ck_assert_int_eq(sent_by("quiet", "3", &a[2]), ANSWER_OK);
	ck_assert_int_eq(sent_by("quiet", "4", &b), ANSWER_BUSY);
}
END_TEST

/* A user would lose: the log, to a line for each decision of a group that is at its bound. */
START_TEST(a_group_at_its_share_is_told_of_once)
{
	struct answer a[16], b;
	char key[16];

	open_with_topic();
	f.core->conf.group_undecided = 16;
	for (int i = 0; i < 16; i++) {
		snprintf(key, sizeof(key), "%d", i);
		ck_assert_int_eq(sent_by("busy", key, &a[i]), ANSWER_OK);
	}
	for (int i = 0; i < 10; i++) {
		ck_assert_int_eq(sent_by("busy", "late", &b), ANSWER_BUSY);
		ck_assert_int_eq(decided_by("busy", &a[i], VERDICT_ROLLBACK), ANSWER_OK);
		snprintf(key, sizeof(key), "again-%d", i);
		ck_assert_int_eq(sent_by("busy", key, &b), ANSWER_OK);
	}
	ck_assert_uint_eq(f.notes[NOTE_GROUP_FULL], 1);
	for (int i = 10; i < 13; i++) /* more than an eighth */
		ck_assert_int_eq(decided_by("busy", &a[i], VERDICT_ROLLBACK), ANSWER_OK);
	for (int i = 10; i < 13; i++) {
		snprintf(key, sizeof(key), "again-%d", i);
		ck_assert_int_eq(sent_by("busy", key, &b), ANSWER_OK);
	}
	ck_assert_int_eq(sent_by("busy", "late", &b), ANSWER_BUSY);
	ck_assert_uint_eq(f.notes[NOTE_GROUP_FULL], 2);
}
END_TEST

/*
 * A user would lose: the daemon, with all that it holds, at the first start after somebody had
 * named more groups than a row's number can tell.
 */
START_TEST(a_journal_may_name_any_number_of_groups)
{
	static struct answer a[400];
	char name[16];
	uint32_t owed = 0;

	open_with_topic();
	for (uint32_t i = 0; i < ARRAY_LEN(a); i++) {
		snprintf(name, sizeof(name), "g%u", i);
		ck_assert_int_eq(sent_by(name, "k", &a[i]), ANSWER_OK);
		if (i % 40 == 0)
			continue; /* stays undecided */
		ck_assert_int_eq(decided_by(name, &a[i], i % 2 ? VERDICT_COMMIT : VERDICT_ROLLBACK),
				 ANSWER_OK);
		owed += i % 2;
		if (i % 10 == 0 && i < ARRAY_LEN(a) - 10) {
			ack_all();
			owed = 0;
			fake_pass(&f, NS_PER_S); /* marks are journaled */
		}
	}
	fake_sync(&f);
	f.core = core_free(f.core);
	f.answer_count = f.publish_count = 0;
	f.core = core_new(&f.conf, &fake_ports, &f);
	f.core->groups.limit = 64;
	for (uint32_t i = f.first; i < f.count; i++)
		ck_assert_int_eq(core_recover(f.core, &f.log[i],
					      (struct place){ i * FAKE_LEN, FAKE_LEN }),
				 0);
	ck_assert_uint_le(f.core->groups.groups_used, 64);
	core_start(f.core, f.now_ns, f.wall_ms);
	fake_turn(&f);
	/* nothing that is owed or undecided went, nor the keys that came last */
	ck_assert_uint_eq(f.notes[NOTE_RECORD_GONE], 0);
	ck_assert_uint_eq(f.publish_count, owed);
	for (uint32_t i = 0; i < ARRAY_LEN(a); i++) {
		struct answer again;

		snprintf(name, sizeof(name), "g%u", i);
		if (i % 40 == 0)
			ck_assert_int_eq(decided_by(name, &a[i], VERDICT_COMMIT), ANSWER_OK);
		else if (i >= ARRAY_LEN(a) - 20 && i % 2)
			ck_assert_int_eq(sent_by(name, "k", &again), ANSWER_DECIDED);
		else if (i >= ARRAY_LEN(a) - 20)
			ck_assert_int_eq(decided_by(name, &a[i], VERDICT_ROLLBACK), ANSWER_OK);
	}
}
END_TEST

int
main(void)
{
	TCase *t = unit_case("limits", NULL, NULL);

	tcase_add_test(t, each_part_of_a_half_send_has_its_bound);
	tcase_add_test(t, a_crowd_in_one_turn_is_served);
	tcase_add_test(t, large_checks_take_turns);
	tcase_add_test(t, what_waits_has_its_bound);
	tcase_add_test(t, unknown_topics_are_asked_for_so_many_at_a_time);
	tcase_add_test(t, kafkas_words_about_topics);
	tcase_add_test(t, the_catalogue_has_its_bound);
	tcase_add_test(t, the_name_of_a_cluster_has_its_bound);
	tcase_add_test(t, plain_sends_and_their_keys);
	tcase_add_test(t, checks_that_nobody_waits_for);
	tcase_add_loop_test(t, checks_keep_to_their_rate, 0, 2);
	tcase_add_test(t, cold_checks_are_fetched_so_many_at_a_time);
	tcase_add_loop_test(t, a_group_has_its_share, 0, 2);
	tcase_add_test(t, a_group_at_its_share_is_told_of_once);
	tcase_add_test(t, history_keeps_no_group_out);
	tcase_add_test(t, history_goes_for_groups_in_small_pieces);
	tcase_add_test(t, a_journal_may_name_any_number_of_groups);
	return unit_run_case("limits", t);
}
