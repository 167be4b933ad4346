/*
 * tally.h -- what the loop's notes add up to: histograms, rates, the last alarms.
 *
 * The core counts; it does not measure.  Here the notes of each turn become durations,
 * on the loop's thread, in fixed memory.  A struct tally is copied whole into a snapshot.
 */
#ifndef TALLY_H
#define TALLY_H

#include "core/core.h"
#include "http/limits.h"

#define TALLY_BOUNDS 16

/* counts[i] holds what is <= bounds_ns[i], the last one the rest; not cumulative. */
struct histogram {
	uint64_t counts[TALLY_BOUNDS + 1];
	uint64_t count;
	uint64_t sum_ns;
};

/* Upper bounds of the buckets, ascending. */
extern const int64_t tally_fast_ns[TALLY_BOUNDS]; /* half-sends, publications */
extern const int64_t tally_slow_ns[TALLY_BOUNDS]; /* decisions: databases and people */

/* The bound below which FRACTION of all lie; 0 when nothing was counted. */
int64_t histogram_quantile_ns(const struct histogram *h, const int64_t bounds_ns[TALLY_BOUNDS],
			      double fraction);

struct alarm {
	uint64_t ms;
	enum note_kind kind;
	struct gid gid;
	int64_t value;
	int32_t partition;
	char text[128];
};

/* Counters at one moment, of which rates are made. */
struct tally_sample {
	int64_t ns;
	uint64_t half_sends;
	uint64_t commits;
	uint64_t rollbacks;
	uint64_t published;
	uint64_t checks;
};

#define TALLY_SAMPLES 11 /* one a second: rates over about ten */

struct tally {
	struct histogram half_send;	/* arrived until durable                            */
	struct histogram decision;	/* half-sent until decided                          */
	struct histogram publish;	/* decided until acknowledged                       */
	struct alarm alarms[HTTP_ALARMS]; /* a ring                                         */
	uint64_t alarm_count;
	struct tally_sample samples[TALLY_SAMPLES]; /* a ring                               */
	uint64_t sample_count;
};

/* A note of this turn, at WALL_MS. */
void tally_note(struct tally *t, const struct note *note, uint64_t wall_ms);
/* Is the last sample a second old? */
bool tally_due(const struct tally *t, int64_t now_ns);
void tally_sample(struct tally *t, const struct core_stats *stats, int64_t now_ns);
/* Counter differences per second between the oldest sample kept and STATS. */
struct tally_rates {
	double half_sends;
	double commits;
	double rollbacks;
	double published;
	double checks;
};
struct tally_rates tally_rates(const struct tally *t, const struct core_stats *stats,
			       int64_t now_ns);

const char *tally_alarm_name(enum note_kind kind); /* NULL: not an alarm */

#endif /* TALLY_H */
