/*
 * test_core_operate.c -- what people do by hand has its effect, its bounds and its audit record.
 *
 * A user would lose: a message that an operator gave up by mistake, or the name of who did.
 */
#include "core_world.h"

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

UNIT("core_operate", one_refused_message_of_two_is_retried_alone,
     one_refused_message_of_two_is_given_up, what_people_do_is_journaled_with_their_reason,
     what_people_mistype_changes_nothing, a_check_by_hand_asks_now);
