/*
 * schedule.c -- see schedule.h.
 */
#include "sim/schedule.h"

#include <inttypes.h>

#include "base/hash.h"
#include "base/map.h"

#define ROUNDING_NS NS_PER_MS

struct plan {
	uint64_t seq;
	uint32_t delivered; /* checks since it was last half-sent or resumed        */
	uint32_t life;      /* of the broker, in which the two times below were     */
	int64_t since_ns;   /* half-sent or resumed; -1: not in this life           */
	int64_t last_ns;    /* the last check was written; -1: none in this life    */
	bool parked;        /* or perhaps, after a crash                              */
	bool ordered;       /* an operator asked for a check, or resumed it        */
};

struct schedule {
	struct txn_policy policy;
	struct oracle *oracle;
	struct plan *plans;
	uint32_t count, room;
	uint32_t life;
	struct map by_seq;
};

static uint64_t
plan_hash(const void *arg, uint32_t index)
{
	const struct schedule *s = arg;

	return hash_u64(s->plans[index].seq);
}

struct schedule *
schedule_new(const struct txn_policy *policy, struct oracle *oracle)
{
	struct schedule *s = mem_alloc(sizeof(*s));

	s->policy = *policy;
	s->oracle = oracle;
	map_init(&s->by_seq, plan_hash, s);
	return s;
}

struct schedule *
schedule_free(struct schedule *s)
{
	if (!s)
		return NULL;
	map_done(&s->by_seq);
	mem_free(s->plans);
	mem_free(s);
	return NULL;
}

static struct plan *
plan_of(struct schedule *s, uint64_t seq)
{
	struct map_probe probe;
	struct plan *p;
	uint32_t i;

	for (i = map_first(&s->by_seq, hash_u64(seq), &probe); i != MAP_NONE;
	     i = map_next(&s->by_seq, &probe))
		if (s->plans[i].seq == seq)
			break;
	if (i == MAP_NONE) {
		if (s->count == s->room) {
			s->room = s->room ? s->room * 2 : 64;
			s->plans = mem_grow(s->plans, s->room * sizeof(*s->plans));
		}
		i = s->count++;
		s->plans[i] = (struct plan){ .seq = seq, .since_ns = -1, .last_ns = -1 };
		map_put(&s->by_seq, hash_u64(seq), i);
	}
	p = &s->plans[i];
	if (p->life != s->life) {
		p->life = s->life;
		p->since_ns = p->last_ns = -1;
	}
	return p;
}

/* The gap behind the NUMBER-th check: each so many per cent of the one before, to a bound. */
static int64_t
gap_ns(const struct schedule *s, uint32_t number)
{
	double gap = (double)s->policy.interval_ns;

	for (uint32_t i = 1; i < number; i++)
		gap *= s->policy.backoff_percent > 100 ? s->policy.backoff_percent / 100.0 : 1;
	return gap < (double)s->policy.interval_max_ns ? (int64_t)gap : s->policy.interval_max_ns;
}

static void
on_check(struct schedule *s, struct plan *p, uint32_t number, int64_t now_ns)
{
	int64_t gap = gap_ns(s, number - 1);

	if (p->parked) /* perhaps it is not any more, or not yet again */
		gap = min_i64(gap, s->policy.parked_ns);

	p->delivered++;
	if (number > p->delivered)
		oracle_fail(s->oracle,
			    "I-8 check %" PRIu32 " of seq %" PRIu64 ", and %" PRIu32
			    " were delivered",
			    number, p->seq, p->delivered);
	if (!p->ordered && p->since_ns >= 0 && p->last_ns < 0 &&
	    now_ns - p->since_ns < s->policy.immunity_ns)
		oracle_fail(s->oracle,
			    "I-8 seq %" PRIu64 " was asked about %" PRId64
			    " ms after its half-send",
			    p->seq, (now_ns - p->since_ns) / NS_PER_MS);
	if (!p->ordered && p->last_ns >= 0 && now_ns - p->last_ns < gap - ROUNDING_NS)
		oracle_fail(s->oracle,
			    "I-8 check %" PRIu32 " of seq %" PRIu64 " came %" PRId64
			    " ms after the one before, and not %" PRId64,
			    number, p->seq, (now_ns - p->last_ns) / NS_PER_MS, gap / NS_PER_MS);
	p->last_ns = now_ns;
	p->ordered = false;
}

void
schedule_note(struct schedule *s, const struct note *n, int64_t mono_ns)
{
	struct plan *p;

	if (n->kind != NOTE_TRANSITION && n->kind != NOTE_CHECK_SENT)
		return;
	p = plan_of(s, n->gid.lo);
	if (n->kind == NOTE_CHECK_SENT) {
		on_check(s, p, (uint32_t)n->value, mono_ns);
		return;
	}
	if (n->to == TXN_PREPARED) {
		p->delivered = 0;
		p->since_ns = mono_ns;
		p->last_ns = -1;
		p->ordered = n->event == TXN_RESUME;
	}
	if (n->to == TXN_PARKED && p->delivered < s->policy.checks_max)
		oracle_fail(s->oracle,
			    "I-8 seq %" PRIu64 " was parked after %" PRIu32 " delivered checks",
			    p->seq, p->delivered);
	p->parked = n->to == TXN_PARKED;
}

void
schedule_ordered(struct schedule *s, struct gid gid)
{
	plan_of(s, gid.lo)->ordered = true;
}

/*
 * A repeated half-send may have become durable without a word: then the count is behind the truth.
 * Whether it was parked is known again when it is told.
 */
void
schedule_crashed(struct schedule *s)
{
	s->life++;
	for (uint32_t i = 0; i < s->count; i++)
		s->plans[i].parked |= s->plans[i].delivered >= s->policy.checks_max;
}
