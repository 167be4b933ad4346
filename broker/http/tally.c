/*
 * tally.c -- see tally.h.
 */
#include <stdlib.h>

#include "http/tally.h"

#define US INT64_C(1000)
#define MS NS_PER_MS
#define S  NS_PER_S

const int64_t tally_fast_ns[TALLY_BOUNDS] = {
	100 * US, 250 * US, 500 * US, 1 * MS,   2500 * US, 5 * MS,    10 * MS, 25 * MS,
	50 * MS,  100 * MS, 250 * MS, 500 * MS, 1 * S,     2500 * MS, 10 * S,  60 * S,
};

const int64_t tally_slow_ns[TALLY_BOUNDS] = {
	1 * MS, 5 * MS, 10 * MS, 50 * MS, 100 * MS, 500 * MS, 1 * S,     5 * S,
	10 * S, 30 * S, 60 * S,  300 * S, 900 * S,  3600 * S, 21600 * S, 86400 * S,
};

static void
histogram_add(struct histogram *h, const int64_t bounds_ns[TALLY_BOUNDS], int64_t ns)
{
	size_t i = 0;

	ns = max_i64(ns, 0); /* the wall clock may have been set back */
	while (i < TALLY_BOUNDS && ns > bounds_ns[i])
		i++;
	h->counts[i]++;
	h->count++;
	h->sum_ns += (uint64_t)ns;
}

int64_t
histogram_quantile_ns(const struct histogram *h, const int64_t bounds_ns[TALLY_BOUNDS],
		      double fraction)
{
	uint64_t seen = 0;

	if (h->count == 0)
		return 0;
	for (size_t i = 0; i < TALLY_BOUNDS; i++) {
		seen += h->counts[i];
		if ((double)seen >= fraction * (double)h->count)
			return bounds_ns[i];
	}
	return bounds_ns[TALLY_BOUNDS - 1];
}

const char *
tally_alarm_name(enum note_kind kind)
{
	switch (kind) {
	case NOTE_CONTRADICTION:
		return "contradiction";
	case NOTE_UNPUBLISHABLE:
		return "undeliverable";
	case NOTE_LANE_FROZEN:
		return "lane_frozen";
	case NOTE_GROUP_SILENT:
		return "group_silent";
	case NOTE_FOREIGN_CLUSTER:
		return "foreign_cluster";
	case NOTE_RECORD_GONE:
		return "record_gone";
	case NOTE_TOPIC_ANEW:
		return "topic_anew";
	case NOTE_KEYS_FULL:
		return "keys_full";
	case NOTE_GROUP_FULL:
		return "group_full";
	case NOTE_TRANSITION:
	case NOTE_CHECK_SENT:
	case NOTE_CHECK_ANSWERED:
	case NOTE_PUBLISHED:
	case NOTE_LANE_RESUMED:
		return NULL;
	}
	abort();
}

static void
raise_alarm(struct tally *t, const struct note *note, uint64_t wall_ms)
{
	struct alarm *a = &t->alarms[t->alarm_count++ % HTTP_ALARMS];
	size_t n = min_u64(note->text.n, sizeof(a->text) - 1);

	*a = (struct alarm){ .ms = wall_ms,
			     .kind = note->kind,
			     .gid = note->gid,
			     .value = note->value,
			     .partition = note->partition };
	if (n)
		memcpy(a->text, note->text.p, n);
}

static int64_t
since(uint64_t then_ms, uint64_t wall_ms)
{
	return wall_ms > then_ms ? (int64_t)(wall_ms - then_ms) * NS_PER_MS : 0;
}

void
tally_note(struct tally *t, const struct note *note, uint64_t wall_ms)
{
	if (tally_alarm_name(note->kind))
		raise_alarm(t, note, wall_ms);
	if (note->kind == NOTE_PUBLISHED && note->lasted_ns >= 0)
		histogram_add(&t->publish, tally_fast_ns, note->lasted_ns);
	if (note->kind != NOTE_TRANSITION)
		return;
	if (note->from == 0 && note->to == TXN_PREPARED && note->lasted_ns >= 0)
		histogram_add(&t->half_send, tally_fast_ns, note->lasted_ns);
	if ((note->from == TXN_PREPARED || note->from == TXN_PARKED) &&
	    (note->to == TXN_COMMITTED || note->to == TXN_ROLLED_BACK))
		histogram_add(&t->decision, tally_slow_ns,
			      note->lasted_ns >= 0 ? note->lasted_ns
						   : since(gid_ms(note->gid), wall_ms));
}

static struct tally_sample
sample_of(const struct core_stats *s, int64_t now_ns)
{
	struct tally_sample x = { .ns = now_ns,
				  .published = s->published,
				  .checks = s->checks_sent };

	x.half_sends = s->half_sends[ANSWER_OK];
	for (size_t origin = 0; origin < ARRAY_LEN(s->decisions[0]); origin++) {
		x.commits += s->decisions[0][origin];
		x.rollbacks += s->decisions[1][origin];
	}
	return x;
}

bool
tally_due(const struct tally *t, int64_t now_ns)
{
	return !t->sample_count ||
	       now_ns - t->samples[(t->sample_count - 1) % TALLY_SAMPLES].ns >= NS_PER_S;
}

void
tally_sample(struct tally *t, const struct core_stats *stats, int64_t now_ns)
{
	t->samples[t->sample_count++ % TALLY_SAMPLES] = sample_of(stats, now_ns);
}

struct tally_rates
tally_rates(const struct tally *t, const struct core_stats *stats, int64_t now_ns)
{
	struct tally_sample now = sample_of(stats, now_ns);
	const struct tally_sample *then = NULL;
	double seconds;

	if (t->sample_count)
		then = &t->samples[t->sample_count < TALLY_SAMPLES
					   ? 0
					   : t->sample_count % TALLY_SAMPLES];
	if (!then || now.ns - then->ns < NS_PER_S / 10)
		return (struct tally_rates){ 0 };
	seconds = (double)(now.ns - then->ns) / (double)NS_PER_S;
	return (struct tally_rates){
		.half_sends = (double)(now.half_sends - then->half_sends) / seconds,
		.commits = (double)(now.commits - then->commits) / seconds,
		.rollbacks = (double)(now.rollbacks - then->rollbacks) / seconds,
		.published = (double)(now.published - then->published) / seconds,
		.checks = (double)(now.checks - then->checks) / seconds,
	};
}
