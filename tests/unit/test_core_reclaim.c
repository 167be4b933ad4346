/*
 * test_core_reclaim.c -- a segment goes, and what it said of the living is said again.
 *
 * A user would lose: an operator's word, a repeated half-send or a refusal, journaled a moment
 * before its half message is copied forward.  The copy lies behind that record and wins over it,
 * so it has to say what the journal says by then, not what memory does.
 */
#include "fake_ports.h"
#include "unit.h"

#include "core/core_internal.h"

static struct fake f;

static void
open_with_topics(void)
{
	fake_open(&f);
	fake_topic(&f, "t", 1);
	fake_topic(&f, "u", 1);
}

/* Of two messages, to two lanes. */
static struct answer
begin_two(uint32_t immunity_ms)
{
	struct message m[2] = { fake_message("t", "one"), fake_message("u", "two") };
	struct half_request r = {
		.to = { 1, 1 },
		.half = { .group = STR("g"),
			  .key = STR("two"),
			  .immunity_ms = immunity_ms,
			  .count = 2,
			  .messages = m },
	};

	core_half_send(f.core, &r);
	fake_turn(&f);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_OK);
	return *fake_last(&f);
}

static void
report(uint32_t i, enum report what)
{
	core_clock(f.core, f.now_ns, f.wall_ms);
	core_report(f.core, f.published[i].token, what, what == REPORT_ACKED ? 5 : -1, 10);
}

/* Asks for VERB; it is journaled, and not durable yet. */
static void
operate(enum verb verb, struct gid gid)
{
	struct operation op = { .to = { 8, 8 },
				.verb = verb,
				.gid = gid,
				.who = STR("ann"),
				.reason = STR("because") };

	core_operate(f.core, &op);
	fake_decide(&f);
}

/* Its checks are used up. */
static struct answer
parked(void)
{
	struct answer a;

	core_join(f.core, 1, STR("g"));
	a = fake_begin(&f, 1, "parked", "x");
	for (uint32_t sent = 0; fake_view(&f, a.gid).state == TXN_PREPARED; fake_pass(&f, NS_PER_S))
		for (; sent < f.check_count; sent++)
			core_check_written(f.core, a.gid.lo, 1);
	return a;
}

/* Two messages: Kafka has refused the first for good, and the second as SECOND says. */
static struct answer
refused_one(enum report second)
{
	struct answer a = begin_two(0);

	fake_decided(&f, &a, VERDICT_COMMIT);
	ck_assert_uint_eq(f.publish_count, 2);
	report(0, REPORT_REFUSED);
	fake_turn(&f);
	ck_assert_uint_eq(f.publish_count, 3); /* alone, once more */
	report(2, REPORT_REFUSED);
	fake_turn(&f);
	ck_assert_int_eq(fake_view(&f, a.gid).state, TXN_UNDELIVERABLE);
	report(1, second);
	fake_turn(&f);
	return a;
}

/* The segment goes while the last step is not durable; then all is read again. */
static struct row_view
reclaimed_and_read(struct gid gid)
{
	fake_reclaim(&f);
	fake_crash(&f, 0);
	return fake_view(&f, gid);
}

START_TEST(a_repeat_that_is_not_durable_yet)
{
	struct answer a;

	open_with_topics();
	a = fake_begin(&f, 1, "k", "x");
	fake_send(&f, 1, "k", "x");
	ck_assert_int_eq(f.log[f.count - 1].type, ENTRY_GENERATION);
	ck_assert_uint_eq(reclaimed_and_read(a.gid).generation, 1);
}
END_TEST

START_TEST(what_an_operator_asks_for_is_not_durable_yet)
{
	struct answer a;

	open_with_topics();
	a = parked();
	operate(_i ? VERB_CHECK : VERB_RESUME, a.gid);
	ck_assert_int_eq(reclaimed_and_read(a.gid).state, _i ? TXN_PARKED : TXN_PREPARED);
	ck_assert_uint_eq(fake_view(&f, a.gid).checks, _i ? 15 : 0);
}
END_TEST

/* What was published of it stays so, whatever is asked of the rest. */
START_TEST(a_retry_that_is_not_durable_yet)
{
	struct answer a;

	open_with_topics();
	a = refused_one(REPORT_ACKED);
	operate(VERB_RETRY, a.gid);
	ck_assert_int_eq(fake_view(&f, a.gid).state, TXN_UNDELIVERABLE);
	ck_assert_int_eq(reclaimed_and_read(a.gid).state, TXN_COMMITTED);
	fake_turn(&f);
	ck_assert_uint_eq(f.publish_count, 1);
	ck_assert_uint_eq(f.published[0].index, 0);
	ck_assert_uint_eq(f.published[0].n, 1);
}
END_TEST

START_TEST(a_discard_that_is_not_durable_yet)
{
	struct answer a;

	open_with_topics();
	a = refused_one(REPORT_ACKED);
	operate(VERB_DISCARD, a.gid);
	ck_assert_int_eq(reclaimed_and_read(a.gid).state, TXN_DISCARDED);
	fake_turn(&f);
	ck_assert_uint_eq(f.publish_count, 0);
}
END_TEST

/* The first refusal of a transaction, and the second: both are of one message each. */
START_TEST(a_refusal_that_is_not_durable_yet)
{
	struct row_view v;
	struct answer a;

	open_with_topics();
	if (_i) {
		a = refused_one(REPORT_REFUSED);
	} else {
		a = begin_two(0);
		fake_decided(&f, &a, VERDICT_COMMIT);
		report(0, REPORT_REFUSED);
		fake_turn(&f);
	}
	ck_assert_uint_eq(f.publish_count, _i ? 4 : 3);
	report(_i ? 3 : 2, REPORT_REFUSED);
	ck_assert_int_eq(f.log[f.count - 1].type, ENTRY_REFUSED);
	v = reclaimed_and_read(a.gid);
	ck_assert_int_eq(v.state, TXN_UNDELIVERABLE);
	ck_assert_uint_eq(v.refused, _i ? 2 : 1);
	ck_assert_int_eq(v.refused_code, 10);
}
END_TEST

/* Or a message with an immunity of an hour would be asked about after some seconds. */
START_TEST(an_immunity_of_its_own_is_copied)
{
	struct answer a;

	open_with_topics();
	a = begin_two(3600 * 1000);
	fake_pass(&f, 600 * NS_PER_S);
	ck_assert_int_eq(reclaimed_and_read(a.gid).due_in_ms, 3000 * 1000);
}
END_TEST

/* Rolled back, it has no number in any lane: no mark has to pass it, and nothing is owed. */
START_TEST(several_messages_that_were_rolled_back_go)
{
	struct answer a;

	open_with_topics();
	a = begin_two(0);
	fake_decided(&f, &a, VERDICT_ROLLBACK);
	ck_assert_int_eq(reclaimed_and_read(a.gid).state, TXN_ROLLED_BACK);
	ck_assert_uint_eq(fake_view(&f, a.gid).place.len, 0); /* a stub */
	fake_pass(&f, 100 * NS_PER_S);
	fake_reclaim(&f);
	ck_assert_int_eq(core_get(f.core, a.gid, &(struct row_view){ 0 }), ERR_NOTFOUND);
	ck_assert_uint_eq(f.publish_count, 0);
}
END_TEST

/*
 * A full disk dropped the mark that would have told of b.  Nothing else will when its copy is gone:
 * the next start would miss a message that nobody owes, and ring the alarm of a loss.
 */
START_TEST(the_watermark_is_journaled_before_its_messages_go)
{
	struct answer a, b;
	uint32_t end;

	open_with_topics();
	f.lazy_lost = true;
	a = fake_begin(&f, 1, "a", "x");
	b = fake_begin(&f, 1, "b", "x");
	fake_decided(&f, &a, VERDICT_COMMIT);
	fake_decided(&f, &b, VERDICT_COMMIT);
	report(1, REPORT_ACKED);
	fake_turn(&f);
	fake_reclaim(&f); /* the copy of b says that it was published */
	fake_pass(&f, 100 * NS_PER_S);
	end = f.count;
	fake_roll(&f);
	report(0, REPORT_ACKED); /* only now the watermark passes both */
	fake_turn(&f);
	f.lazy_lost = false;
	for (uint32_t i = f.first; i < end; i++)
		core_reclaim(f.core, &f.log[i], (struct place){ i * FAKE_LEN, FAKE_LEN });
	fake_sync(&f);
	f.first = end;
	ck_assert_int_eq(core_get(f.core, b.gid, &(struct row_view){ 0 }), ERR_NOTFOUND);
	fake_crash(&f, 0);
	ck_assert_uint_eq(f.notes[NOTE_RECORD_GONE], 0);
	fake_turn(&f);
	ck_assert_uint_eq(f.publish_count, 0);
}
END_TEST

/* The same loss that is none, told because memory forgot b before a mark could tell of it. */
START_TEST(history_waits_for_the_mark)
{
	struct answer b;

	open_with_topics();
	f.lazy_lost = true;
	b = fake_begin(&f, 1, "b", "x");
	fake_decided(&f, &b, VERDICT_COMMIT);
	report(0, REPORT_ACKED); /* the very first that no mark has passed */
	fake_pass(&f, 1000 * 3600 * NS_PER_S);
	fake_turn(&f);
	ck_assert_int_eq(fake_view(&f, b.gid).state, TXN_PUBLISHED);
	f.lazy_lost = false;
	fake_turn(&f);
	fake_turn(&f);
	ck_assert_int_eq(core_get(f.core, b.gid, &(struct row_view){ 0 }), ERR_NOTFOUND);
	fake_sync(&f);
	fake_reclaim(&f);
	fake_crash(&f, 0);
	ck_assert_uint_eq(f.notes[NOTE_RECORD_GONE], 0);
	fake_turn(&f);
	ck_assert_uint_eq(f.publish_count, 0);
}
END_TEST

/* Copies all, which becomes durable; and is killed before the old segment is given up. */
static void
reclaim_cut_short(void)
{
	uint32_t end = f.count;

	fake_roll(&f);
	for (uint32_t i = f.first; i < end; i++)
		core_reclaim(f.core, &f.log[i], (struct place){ i * FAKE_LEN, FAKE_LEN });
	fake_sync(&f);
	fake_crash(&f, 0);
}

/*
 * In a loop of crashes each start begins its reclaim anew.  Were an audit record copied by each of
 * them, its copies would be copied too, and fill the journal past any quota.
 */
START_TEST(an_audit_record_is_copied_once)
{
	struct answer a, b;
	uint32_t audits = 0;

	open_with_topics();
	a = fake_begin(&f, 1, "a", "x");
	b = fake_begin(&f, 1, "b", "x");
	operate(VERB_ROLLBACK, a.gid);
	operate(VERB_ROLLBACK, b.gid);
	fake_turn(&f);
	for (int i = 0; i < 4; i++)
		reclaim_cut_short();
	fake_reclaim(&f);
	for (uint32_t i = f.first; i < f.count; i++)
		audits += f.log[i].type == ENTRY_AUDIT;
	ck_assert_uint_eq(audits, 2);
	fake_reclaim(&f); /* in this life too */
	for (uint32_t i = f.first; i < f.count; i++)
		audits += f.log[i].type == ENTRY_AUDIT;
	ck_assert_uint_eq(audits, 4);
}
END_TEST

int
main(void)
{
	TCase *t = unit_case("core_reclaim", NULL, NULL);

	tcase_add_test(t, a_repeat_that_is_not_durable_yet);
	tcase_add_loop_test(t, what_an_operator_asks_for_is_not_durable_yet, 0, 2);
	tcase_add_test(t, a_retry_that_is_not_durable_yet);
	tcase_add_test(t, a_discard_that_is_not_durable_yet);
	tcase_add_loop_test(t, a_refusal_that_is_not_durable_yet, 0, 2);
	tcase_add_test(t, an_immunity_of_its_own_is_copied);
	tcase_add_test(t, several_messages_that_were_rolled_back_go);
	tcase_add_test(t, the_watermark_is_journaled_before_its_messages_go);
	tcase_add_test(t, history_waits_for_the_mark);
	tcase_add_test(t, an_audit_record_is_copied_once);
	return unit_run_case("core_reclaim", t);
}
