/*
 * txn.c -- one function per event, and in each, one case per state.
 *
 * Read it as the table it is: find the event, find the state, read the answer.  There is
 * no default: label anywhere, so adding a state to the enum stops the build
 * (-Wswitch-enum) until every event has said what it means there.
 */
#include "base/base.h"
#include "base/canary.h"

#include "core/limits.h"
#include "core/txn.h"

/* A state that is in no list above: memory is damaged, or a case was forgotten. */
static _Noreturn void
impossible(const struct txn *t)
{
	check_failed("a state of enum txn_state", __FILE__, __LINE__, t->seq);
}

static struct txn_step
stay(const struct txn *t, enum txn_verdict verdict)
{
	return (struct txn_step){ .verdict = verdict, .action = TXN_NOTHING, .next = *t };
}

static struct txn_step
go(const struct txn *t, enum txn_verdict verdict, enum txn_state to, enum txn_action action)
{
	struct txn_step step = { .verdict = verdict, .action = action, .next = *t };

	step.next.state = (uint8_t)to;
	step.next.due_ns = 0;
	return step;
}

/* Undecided next: DUE_NS is when it is asked about. */
static struct txn_step
wait_until(const struct txn *t, enum txn_verdict verdict, enum txn_state to, int64_t due_ns)
{
	struct txn_step step = go(t, verdict, to, TXN_NOTHING);

	step.next.due_ns = due_ns;
	return step;
}

/* NOW + GAP, without running past the end of time, and never the 0 that says "no timer". */
static int64_t
later(int64_t now_ns, int64_t gap_ns)
{
	int64_t due_ns;

	if (__builtin_add_overflow(now_ns, gap_ns, &due_ns))
		return TIME_NEVER - 1;
	return due_ns == 0 ? 1 : due_ns;
}

int64_t
txn_check_gap_ns(const struct txn_policy *policy, uint32_t checks)
{
	int64_t gap_ns = policy->interval_ns;

	/* A backoff of 100 or less never grows: do not go round a hundred thousand times. */
	if (policy->backoff_percent <= 100)
		return min_i64(gap_ns, policy->interval_max_ns);
	for (uint32_t i = 1; i < checks && gap_ns < policy->interval_max_ns; i++) {
		if (gap_ns > INT64_MAX / policy->backoff_percent)
			return policy->interval_max_ns;
		gap_ns = gap_ns * policy->backoff_percent / 100 + 1;
	}
	return min_i64(gap_ns, policy->interval_max_ns);
}

static struct txn_step
on_half_send(const struct txn *t, int64_t now_ns, const struct txn_policy *policy)
{
	struct txn_step step;

	switch ((enum txn_state)t->state) {
	case TXN_PREPARED:
	case TXN_PARKED: /* its producer is back: the local transaction may begin now */
		if (t->generation == LIMIT_REPEATS) /* a check could no longer tell them apart */
			return stay(t, TXN_CONFLICT);
		step = wait_until(t, TXN_OK, TXN_PREPARED, later(now_ns, policy->immunity_ns));
		step.next.generation++;
		step.next.checks = 0;
		return step;
	case TXN_COMMITTED:
	case TXN_PUBLISHED:
	case TXN_ROLLED_BACK: /* a new transaction, not an event of this one */
	case TXN_UNDELIVERABLE:
	case TXN_DISCARDED:
		return stay(t, TXN_CONFLICT);
	}
	impossible(t);
}

static struct txn_step
on_commit(const struct txn *t)
{
	switch ((enum txn_state)t->state) {
	case TXN_PREPARED:
	case TXN_PARKED: /* a late answer is what it was kept for */
		return go(t, TXN_OK, TXN_COMMITTED, TXN_PUBLISH);
	case TXN_COMMITTED:
	case TXN_PUBLISHED: /* a retry of an answer the producer lost */
	case TXN_UNDELIVERABLE:
	case TXN_DISCARDED: /* the decision stands, whatever came of it */
		return stay(t, TXN_DUPLICATE);
	case TXN_ROLLED_BACK: /* silence would lose the message */
		if (CANARY(SECOND_DECISION_OVERWRITES))
			return go(t, TXN_OK, TXN_COMMITTED, TXN_PUBLISH);
		return stay(t, TXN_CONFLICT);
	}
	impossible(t);
}

static struct txn_step
on_rollback(const struct txn *t)
{
	switch ((enum txn_state)t->state) {
	case TXN_PREPARED:
	case TXN_PARKED:
		return go(t, TXN_OK, TXN_ROLLED_BACK, TXN_FORGET);
	case TXN_ROLLED_BACK:
		return stay(t, TXN_DUPLICATE);
	case TXN_COMMITTED:
	case TXN_PUBLISHED: /* consumers have seen it, or will */
	case TXN_UNDELIVERABLE:
	case TXN_DISCARDED: /* given up, but the local transaction stands */
		return stay(t, CANARY(ROLLBACK_AFTER_COMMIT) ? TXN_DUPLICATE : TXN_CONFLICT);
	}
	impossible(t);
}

static struct txn_step
on_timer(const struct txn *t, int64_t now_ns, const struct txn_policy *policy)
{
	struct txn_step step;

	switch ((enum txn_state)t->state) {
	case TXN_PREPARED:
		if (t->checks >= policy->checks_max)
			return wait_until(t, TXN_LAZY, TXN_PARKED,
					  later(now_ns, policy->parked_ns));
		/* Asked again then, should this check never be written. */
		step = wait_until(t, TXN_LAZY, TXN_PREPARED,
				  later(now_ns, txn_check_gap_ns(policy, t->checks)));
		step.action = TXN_ASK;
		return step;
	case TXN_PARKED:
		step = wait_until(t, TXN_LAZY, TXN_PARKED, later(now_ns, policy->parked_ns));
		step.action = TXN_ASK;
		return step;
	case TXN_COMMITTED:
	case TXN_PUBLISHED:
	case TXN_ROLLED_BACK:
	case TXN_UNDELIVERABLE:
	case TXN_DISCARDED: /* it has no timer: the caller's heap is wrong */
		return stay(t, TXN_CONFLICT);
	}
	impossible(t);
}

static struct txn_step
on_checked(const struct txn *t, int64_t now_ns, const struct txn_policy *policy)
{
	struct txn_step step;
	uint32_t checks = t->checks == UINT32_MAX ? t->checks : t->checks + 1;

	switch ((enum txn_state)t->state) {
	case TXN_PREPARED:
		step = wait_until(t, TXN_LAZY, TXN_PREPARED,
				  later(now_ns, txn_check_gap_ns(policy, checks)));
		step.next.checks = checks;
		return step;
	case TXN_PARKED:
		step = wait_until(t, TXN_LAZY, TXN_PARKED, later(now_ns, policy->parked_ns));
		step.next.checks = checks;
		return step;
	case TXN_COMMITTED: /* decided while the check was on its way out */
	case TXN_PUBLISHED:
	case TXN_ROLLED_BACK:
	case TXN_UNDELIVERABLE:
	case TXN_DISCARDED:
		return stay(t, TXN_DUPLICATE);
	}
	impossible(t);
}

static struct txn_step
on_acked(const struct txn *t)
{
	switch ((enum txn_state)t->state) {
	case TXN_COMMITTED:
		return go(t, TXN_LAZY, TXN_PUBLISHED, TXN_FORGET);
	case TXN_PUBLISHED:
		return stay(t, TXN_DUPLICATE);
	case TXN_PREPARED:
	case TXN_PARKED: /* nobody may have seen it: something is badly wrong */
	case TXN_ROLLED_BACK:
	case TXN_UNDELIVERABLE:
	case TXN_DISCARDED:
		return stay(t, TXN_CONFLICT);
	}
	impossible(t);
}

static struct txn_step
on_refused(const struct txn *t)
{
	switch ((enum txn_state)t->state) {
	case TXN_COMMITTED:
		return go(t, TXN_OK, TXN_UNDELIVERABLE, TXN_NOTHING);
	case TXN_UNDELIVERABLE: /* another message of the same transaction */
		return stay(t, TXN_DUPLICATE);
	case TXN_PREPARED:
	case TXN_PARKED:
	case TXN_PUBLISHED:
	case TXN_ROLLED_BACK:
	case TXN_DISCARDED:
		return stay(t, TXN_CONFLICT);
	}
	impossible(t);
}

static struct txn_step
on_resume(const struct txn *t, int64_t now_ns)
{
	struct txn_step step;

	switch ((enum txn_state)t->state) {
	case TXN_PARKED: /* somebody is waiting for the answer: ask at once */
		step = wait_until(t, TXN_OK, TXN_PREPARED, later(now_ns, 0));
		step.next.checks = 0; /* or the next timer would park it again */
		return step;
	case TXN_PREPARED:
		return stay(t, TXN_DUPLICATE);
	case TXN_COMMITTED:
	case TXN_PUBLISHED:
	case TXN_ROLLED_BACK:
	case TXN_UNDELIVERABLE:
	case TXN_DISCARDED:
		return stay(t, TXN_CONFLICT);
	}
	impossible(t);
}

static struct txn_step
on_retry(const struct txn *t)
{
	switch ((enum txn_state)t->state) {
	case TXN_UNDELIVERABLE:
		return go(t, TXN_OK, TXN_COMMITTED, TXN_PUBLISH);
	case TXN_COMMITTED: /* being published anyway */
	case TXN_PUBLISHED:
		return stay(t, TXN_DUPLICATE);
	case TXN_PREPARED:
	case TXN_PARKED:
	case TXN_ROLLED_BACK:
	case TXN_DISCARDED: /* given up is final */
		return stay(t, TXN_CONFLICT);
	}
	impossible(t);
}

static struct txn_step
on_discard(const struct txn *t)
{
	switch ((enum txn_state)t->state) {
	case TXN_UNDELIVERABLE:
		return go(t, TXN_OK, TXN_DISCARDED, TXN_FORGET);
	case TXN_DISCARDED:
		return stay(t, TXN_DUPLICATE);
	case TXN_PREPARED: /* only a decision ends these */
	case TXN_PARKED:
	case TXN_COMMITTED:
	case TXN_PUBLISHED:
	case TXN_ROLLED_BACK:
		return stay(t, TXN_CONFLICT);
	}
	impossible(t);
}

struct txn_step
txn_step(const struct txn *t, enum txn_event ev, int64_t now_ns, const struct txn_policy *policy)
{
	txn_check(t);

	switch (ev) {
	case TXN_HALF_SEND:
		return on_half_send(t, now_ns, policy);
	case TXN_COMMIT:
		return on_commit(t);
	case TXN_ROLLBACK:
		return on_rollback(t);
	case TXN_TIMER:
		return on_timer(t, now_ns, policy);
	case TXN_CHECKED:
		return on_checked(t, now_ns, policy);
	case TXN_ACKED:
		return on_acked(t);
	case TXN_REFUSED:
		return on_refused(t);
	case TXN_RESUME:
		return on_resume(t, now_ns);
	case TXN_RETRY:
		return on_retry(t);
	case TXN_DISCARD:
		return on_discard(t);
	}
	check_failed("an event of enum txn_event", __FILE__, __LINE__, t->seq);
}

void
txn_apply(struct txn *t, const struct txn_step *step)
{
	CHECK(step->verdict == TXN_OK || step->verdict == TXN_LAZY, t->seq);
	CHECK(step->next.seq == t->seq, t->seq);
	CHECK(step->next.tag == t->tag, t->seq);
	CHECK(step->next.generation >= t->generation, t->seq);

	*t = step->next;
	txn_check(t);
}

void
txn_check(const struct txn *t)
{
	CHECK(t->seq != 0 && t->seq <= INT64_MAX, t->seq);

	switch ((enum txn_state)t->state) {
	case TXN_PREPARED:
	case TXN_PARKED:
		CHECK(t->due_ns != 0, t->seq); /* or nobody would ever ask */
		return;
	case TXN_COMMITTED:
	case TXN_PUBLISHED:
	case TXN_ROLLED_BACK:
	case TXN_UNDELIVERABLE:
	case TXN_DISCARDED:
		CHECK(t->due_ns == 0, t->seq); /* or a decided one would be asked about */
		return;
	}
	impossible(t);
}

const char *
txn_state_name(enum txn_state state)
{
	switch (state) {
	case TXN_PREPARED:
		return "prepared";
	case TXN_COMMITTED:
		return "committed";
	case TXN_PUBLISHED:
		return "published";
	case TXN_ROLLED_BACK:
		return "rolled_back";
	case TXN_PARKED:
		return "parked";
	case TXN_UNDELIVERABLE:
		return "undeliverable";
	case TXN_DISCARDED:
		return "discarded";
	}
	return "none";
}

const char *
txn_event_name(enum txn_event ev)
{
	switch (ev) {
	case TXN_HALF_SEND:
		return "half_send";
	case TXN_COMMIT:
		return "commit";
	case TXN_ROLLBACK:
		return "rollback";
	case TXN_TIMER:
		return "timer";
	case TXN_CHECKED:
		return "checked";
	case TXN_ACKED:
		return "acked";
	case TXN_REFUSED:
		return "refused";
	case TXN_RESUME:
		return "resume";
	case TXN_RETRY:
		return "retry";
	case TXN_DISCARD:
		return "discard";
	}
	return "none";
}
