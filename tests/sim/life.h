/*
 * life.h -- the state of one seed, shared by run.c, faults.c and what they call.  Internal.
 */
#ifndef LIFE_H
#define LIFE_H

#include "sim/clock_sim.h"
#include "sim/consumers.h"
#include "sim/disk_sim.h"
#include "sim/net_sim.h"
#include "sim/operators.h"
#include "sim/oracle.h"
#include "sim/producers.h"
#include "sim/run.h"
#include "sim/schedule.h"
#include "sim/sink_sim.h"
#include "world/loop.h"

#define ADDRESS "127.0.0.1:9876"
#define CLOCK_TICK_MAX_MS 16

struct life {
	const struct run_options *options;
	struct run_result *result;
	struct rng_sim rng;
	int64_t now_ns;		/* time of the world; the broker's clocks may differ */
	struct clock_sim clock; /* the broker's two */
	struct rng_sim words;	/* the broker's random words */
	struct net_sim *net;
	struct disk_sim *disk;
	struct sink_sim *sink;
	struct oracle *oracle;
	struct producers *producers;
	struct consumers *consumers;
	struct operators *operators;
	struct schedule *schedule;
	struct loop_conf conf;
	struct loop *loop;
	struct net_sim_knobs net_knobs;
	struct sink_sim_knobs sink_knobs;
	uint32_t topics;

	/* Faults: each class has dice of its own, so that switching one off leaves the others. */
	struct rng_sim dice[FAULT_COUNT];
	uint32_t rate[FAULT_COUNT]; /* of 10,000 steps; 0: does not strike by itself */
	enum fault striking[FAULT_COUNT]; /* those that do, in order                       */
	uint32_t striking_count;
	bool excused;		/* something was done that may end the process            */
	enum fault struck;	/* what                                                   */
	int64_t watchdog_ns;	/* it hangs, and somebody kills it then; 0: no             */
	int64_t up_ns;		/* Kafka is down until then; 0: up                        */
	int64_t shown_ns;	/* a topic is hidden until then; 0: none                   */
	uint32_t hidden;
	int64_t cured_ns;	/* from then on Kafka takes what it refused for good; 0: never */
	int64_t started_ns;	/* the broker, this run                                   */
	int64_t native_ns;	/* another cluster answers until then; 0: ours does        */
	int64_t lag_ns;		/* how far the monotonic clock is behind the world        */
	int32_t drift_permille;
	int64_t drift_ns;	/* of the wall clock, not yet a whole millisecond          */
	int64_t tick_ns;	/* of the monotonic clock, CLOCK_TICK_MAX_MS; 0: fine      */
	uint64_t mislaid_lsn;	/* a write was lost in silence before it; 0: none          */
	uint64_t vouching_lsn;	/* what is written behind it names mislaid_lsn; 0: nothing */
	char tail[32][200];	/* the last lines of the trace, in a ring */
	uint64_t lines;
	bool detected;		/* damage was found: the journal may not be opened again   */
	uint64_t refusals_before; /* of memory, in earlier seeds */
	bool draining;
	int64_t drained_ns;	/* give up waiting then */
	uint64_t reclaimed_seen;
	uint64_t durable_seen, oldest_seen;
	bool was_full;		/* the journal, in this run of the daemon                 */
	bool allocating, mislaying; /* such a blow is prepared and has not fallen */
	/* The largest offset that the living broker was told, by topic and partition. */
	int64_t told_offset[4][16];
	bool anew_owed, anew_told;
};

/* ---- faults.c ----------------------------------------------------------------------------- */

void faults_draw(struct life *l);
/* Whatever the dice say may happen between two steps. */
void faults_strike(struct life *l);
/* What lasts and is over now. */
void faults_pass(struct life *l);
/* When that will be. */
int64_t faults_next_ns(const struct life *l);
void faults_settle(struct life *l);
/* May the turn have ended with ERR?  Then the process ends, and how. */
bool faults_excuse(struct life *l, int err, bool *ret_power);

/* ---- run.c ---------------------------------------------------------------------------------- */

uint32_t life_between(struct rng_sim *r, uint32_t low, uint32_t high);
void life_pass(struct life *l, int64_t ns);
void life_restart(struct life *l, bool power, bool faults);
/* One step of the world; false when it is over, one way or the other. */
bool life_step(struct life *l);
/* The second process that somebody started by mistake. */
void life_second(struct life *l);
/* Somebody made room on a disk that was too small.  False: it was not. */
bool life_make_room(struct life *l);

#endif /* LIFE_H */
