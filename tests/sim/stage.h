/*
 * stage.h -- the daemon's loop between the four simulated seams, moved by hand.
 *
 * run.c draws a world and its faults from a seed.  Here nothing is drawn: whoever holds the stage
 * says what happens next, for told stories (story.c) and for all there is to choose (scope.c).
 * Nothing has latency, syncs end inside the turn unless the disk is told to hold them back, and
 * time stands still but for stage_pass().
 */
#ifndef STAGE_H
#define STAGE_H

#include "sim/clock_sim.h"
#include "sim/disk_sim.h"
#include "sim/net_sim.h"
#include "sim/sink_sim.h"
#include "world/loop.h"

#define STAGE_ADDRESS  "127.0.0.1:9876"
#define STAGE_START_NS (1000 * NS_PER_S)

struct stage {
	struct clock_sim clock;
	struct rng_sim words; /* the broker's random words: the same in every stage */
	struct net_sim *net;
	struct disk_sim *disk;
	struct sink_sim *sink;
	struct loop_conf conf; /* to be changed before stage_start() */
	struct loop_hooks hooks;
	struct loop *loop;	    /* NULL: not running            */
	struct journal_fault fault; /* of the last stage_start()    */
	uint64_t turns;
};

/* A stage with a small configuration of round numbers; no topics, nothing started. */
void stage_init(struct stage *s);
void stage_done(struct stage *s);

/* Errors of loop_new(); then the stage has no loop. */
int stage_start(struct stage *s) MUSTUSE;
/* The process is gone: by power cut, or killed. */
void stage_crash(struct stage *s, bool power);

/* One turn; true from busy(): something has come in, or is due, that the next would take up. */
int stage_turn(struct stage *s) MUSTUSE;
bool stage_busy(const struct stage *s);
/*
 * Turns until there is nothing to do at this moment.  Errors of loop_turn(): the process must end,
 * that is stage_crash(), killed.
 */
int stage_settle(struct stage *s) MUSTUSE;
/* When the broker wants to do something next of itself; TIME_NEVER. */
int64_t stage_due_ns(const struct stage *s);
/* Time goes on to UNTIL_NS, all that is due happening when it is due. */
int stage_pass(struct stage *s, int64_t until_ns) MUSTUSE;

#endif /* STAGE_H */
