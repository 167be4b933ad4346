/*
 * The life of one transaction.  If this table changed unseen, a message could be published
 * that nobody committed, or a decision be lost that was answered.
 */
#include <stdio.h>

#include "base/base.h"
#include "core/txn.h"
#include "unit.h"

static const struct txn_policy policy = {
	.immunity_ns = 6,
	.interval_ns = 30,
	.interval_max_ns = 600,
	.parked_ns = 3600,
	.backoff_percent = 150,
	.checks_max = 3,
};

static struct txn
txn_in(enum txn_state state, uint32_t checks)
{
	struct txn t = { .seq = 42, .checks = checks, .state = (uint8_t)state, .tag = 7 };

	t.due_ns = state == TXN_PREPARED || state == TXN_PARKED ? 100 : 0;
	return t;
}

static void
cell(char *out, size_t size, const struct txn_step *step)
{
	const char *lazy = step->verdict == TXN_LAZY ? "~" : "";

	switch (step->verdict) {
	case TXN_OK:
	case TXN_LAZY:
		snprintf(out, size, "%s%s", lazy, txn_state_name(step->next.state));
		return;
	case TXN_DUPLICATE:
		snprintf(out, size, "duplicate");
		return;
	case TXN_CONFLICT:
		snprintf(out, size, "conflict");
		return;
	}
}

START_TEST(the_whole_table)
{
	static const enum txn_state states[] = { TXN_PREPARED,    TXN_COMMITTED, TXN_PUBLISHED,
						 TXN_ROLLED_BACK, TXN_PARKED,    TXN_UNDELIVERABLE,
						 TXN_DISCARDED };
	static const char want[] =
		"half_send prepared conflict conflict conflict prepared conflict conflict\n"
		"commit committed duplicate duplicate conflict committed duplicate duplicate\n"
		"rollback rolled_back conflict conflict duplicate rolled_back conflict conflict\n"
		"timer ~prepared conflict conflict conflict ~parked conflict conflict\n"
		"checked ~prepared duplicate duplicate duplicate ~parked duplicate duplicate\n"
		"acked conflict ~published duplicate conflict conflict conflict conflict\n"
		"refused conflict undeliverable conflict conflict conflict duplicate conflict\n"
		"resume duplicate conflict conflict conflict prepared conflict conflict\n"
		"retry conflict duplicate duplicate conflict conflict committed conflict\n"
		"discard conflict conflict conflict conflict conflict discarded duplicate\n";
	char got[2048] = "";
	size_t n = 0;

	for (int ev = TXN_HALF_SEND; ev <= TXN_DISCARD; ev++) {
		n += (size_t)snprintf(got + n, sizeof(got) - n, "%s", txn_event_name(ev));
		for (size_t s = 0; s < ARRAY_LEN(states); s++) {
			struct txn t = txn_in(states[s], 0);
			struct txn_step step = txn_step(&t, ev, 1000, &policy);
			char text[32];

			cell(text, sizeof(text), &step);
			n += (size_t)snprintf(got + n, sizeof(got) - n, " %s", text);
			if (step.verdict == TXN_OK || step.verdict == TXN_LAZY)
				txn_apply(&t, &step);
			ck_assert_uint_eq(step.next.tag, 7);
		}
		n += (size_t)snprintf(got + n, sizeof(got) - n, "\n");
	}
	ck_assert_str_eq(got, want);
}
END_TEST

/* A producer that is away must find its transaction parked after all its checks, not gone. */
START_TEST(checks_are_used_up_then_parked_then_asked_slowly)
{
	struct txn t = txn_in(TXN_PREPARED, 0);
	int64_t now = 100;

	for (uint32_t i = 1; i <= policy.checks_max; i++) {
		struct txn_step ask = txn_step(&t, TXN_TIMER, now, &policy);
		struct txn_step checked;

		ck_assert_int_eq(ask.action, TXN_ASK);
		txn_apply(&t, &ask);
		ck_assert_uint_eq(t.checks, i - 1); /* asked is not yet delivered */
		checked = txn_step(&t, TXN_CHECKED, now, &policy);
		txn_apply(&t, &checked);
		ck_assert_uint_eq(t.checks, i);
		ck_assert_int_gt(t.due_ns, now);
		now = t.due_ns;
	}
	struct txn_step park = txn_step(&t, TXN_TIMER, now, &policy);

	ck_assert_int_eq(park.next.state, TXN_PARKED);
	ck_assert_int_eq(park.action, TXN_NOTHING);
	txn_apply(&t, &park);
	ck_assert_int_eq(t.due_ns, now + policy.parked_ns);
	park = txn_step(&t, TXN_TIMER, t.due_ns, &policy);
	ck_assert_int_eq(park.action, TXN_ASK);
}
END_TEST

/* An undelivered check must not bring a transaction nearer to being parked. */
START_TEST(a_check_that_was_not_written_does_not_count)
{
	struct txn t = txn_in(TXN_PREPARED, 0);

	for (int i = 0; i < 100; i++) {
		struct txn_step ask = txn_step(&t, TXN_TIMER, t.due_ns, &policy);

		txn_apply(&t, &ask);
	}
	ck_assert_uint_eq(t.checks, 0);
	ck_assert_int_eq(t.state, TXN_PREPARED);
}
END_TEST

/* A retried half-send must get its full immunity, or it is asked before its local
 * transaction could have begun. */
START_TEST(a_repeat_starts_anew)
{
	struct txn t = txn_in(TXN_PARKED, 9);
	struct txn_step step = txn_step(&t, TXN_HALF_SEND, 5000, &policy);

	txn_apply(&t, &step);
	ck_assert_int_eq(t.due_ns, 5006);
	ck_assert_uint_eq(t.checks, 0);
	ck_assert_uint_eq(t.generation, 1);
	t.generation = 255;
	step = txn_step(&t, TXN_HALF_SEND, 5000, &policy);
	ck_assert_int_eq(step.verdict, TXN_CONFLICT);
}
END_TEST

START_TEST(gaps_grow_up_to_their_bound)
{
	struct txn_policy flat = policy;

	ck_assert_int_eq(txn_check_gap_ns(&policy, 0), 30);
	ck_assert_int_eq(txn_check_gap_ns(&policy, 1), 30);
	ck_assert_int_ge(txn_check_gap_ns(&policy, 2), 45);
	ck_assert_int_eq(txn_check_gap_ns(&policy, 1000000), 600);
	flat.backoff_percent = 100;
	ck_assert_int_eq(txn_check_gap_ns(&flat, UINT32_MAX), 30);
	flat.backoff_percent = 200;
	flat.interval_max_ns = INT64_MAX;
	ck_assert_int_gt(txn_check_gap_ns(&flat, 1000), 0);
}
END_TEST

START_TEST(the_end_of_time_is_no_wrap)
{
	struct txn t = txn_in(TXN_PREPARED, 0);
	struct txn_step step = txn_step(&t, TXN_TIMER, INT64_MAX - 1, &policy);

	ck_assert_int_gt(step.next.due_ns, 0);
	/* nor is its beginning "no timer", nor the last count of checks the first */
	step = txn_step(&t, TXN_CHECKED, -policy.interval_ns, &policy);
	ck_assert_int_ne(step.next.due_ns, 0);
	t = txn_in(TXN_PARKED, UINT32_MAX);
	step = txn_step(&t, TXN_CHECKED, 1000, &policy);
	ck_assert_uint_eq(step.next.checks, UINT32_MAX);
}
END_TEST

UNIT("txn", the_whole_table, checks_are_used_up_then_parked_then_asked_slowly,
     a_check_that_was_not_written_does_not_count, a_repeat_starts_anew, gaps_grow_up_to_their_bound,
     the_end_of_time_is_no_wrap);
