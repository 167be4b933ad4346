/*
 * small.h -- a world so small that everything that can happen next can be listed.
 *
 * One to three messages of one key and one partition, one or two producers of one group, and the
 * daemon's own objects on a stage (stage.h).  small_options() lists what may happen next, within
 * bounds; small_do() does one of it.  Whoever tries all lists in all orders (scope.c) has tried
 * everything that fits the bounds.
 *
 * What happens, and what may go wrong:
 *
 *   producers   half-send, repeat it; hear an answer or a check; commit or roll back and say so or
 *               not; repeat an END; answer a check, late, or with unknown; lose the connection
 *   disk        a sync that is under way ends; nothing ends by itself
 *   Kafka       the first publication under way is acknowledged; or lost, unheard, refused, refused
 *               though appended; or the handle dies after any number of them were appended
 *   time        goes on to whatever the daemon wants to do next
 *   power       fails: of the n units that were not synced the first k survive, for every k; or
 *               those and half of the next; or all but one.  Of the publications under way any
 *               number was appended.  Or the process is killed.  While the daemon recovers, the
 *               power may fail again at every step that changes the disk
 *
 * Judged all the way by the oracle of the seeds (oracle.h).
 */
#ifndef SMALL_H
#define SMALL_H

#include "base/base.h"
#include "base/hash.h"

#define SMALL_MESSAGES 3
#define SMALL_PRODUCERS 2
#define SMALL_OPTIONS 256

/* How often each may happen in one life. */
struct small_bounds {
	uint32_t messages;
	uint32_t producers;
	uint32_t crashes;  /* power cuts and kills, those inside recovery included            */
	uint32_t timers;   /* that time goes on                                               */
	uint32_t repeats;  /* half-sends and ENDs said again                                  */
	uint32_t resets;   /* connections lost                                                */
	uint32_t faults;   /* of Kafka                                                        */
	uint32_t unknowns; /* checks answered unknown                                         */
	uint32_t body;	   /* bytes of a message: over 512, its record tears                   */
};

enum small_kind {
	SMALL_HALF,	   /* a: message, b: by producer                              */
	SMALL_REPEAT,	   /* a: message whose half-send or END is said again          */
	SMALL_HEAR,	   /* a: producer, the next frame                             */
	SMALL_HEAR_DUMB,   /* a: producer; the check is answered unknown              */
	SMALL_DECIDE,	   /* a: message, b: commit 1 or rollback 0, c: says so        */
	SMALL_ANSWER,	   /* a: producer, b: which of the answers it owes             */
	SMALL_RESET,	   /* a: producer                                             */
	SMALL_DISK,	   /* a: which of what is under way ends                      */
	SMALL_KAFKA,	   /* a: enum sink_sim_fate                                   */
	SMALL_FATAL,	   /* a: how many were appended                               */
	SMALL_TIME,
	SMALL_KILL,	   /* c: publications appended                                */
	SMALL_CUT,	   /* a: enum disk_sim_cut, b: units, c: publications, d: steps */
	SMALL_START,
	SMALL_START_FAILS, /* a: the step of recovery at which the power fails          */
};

struct small_step {
	enum small_kind kind;
	uint32_t a, b, c, d;
};

struct small_counts {
	uint64_t records, duplicates, checks, crashes, recovery_crashes, undeliverable;
};

struct small;

struct small *small_new(const struct small_bounds *bounds);
struct small *small_free(struct small *w);

/* Fills RET_STEPS (room for SMALL_OPTIONS), always in the same order; 0: all bounds are used up. */
uint32_t small_options(struct small *w, struct small_step *ret_steps);
void small_do(struct small *w, const struct small_step *step);
/* The step did not exist: recovery was shorter.  Nor do the ones listed behind it. */
bool small_void(const struct small *w);
/* Everything heals: within a bounded time all must be decided and published, and a restart must
 * show the same. */
void small_heal(struct small *w);
/* The first broken promise, or NULL. */
const char *small_violation(const struct small *w);

/*
 * Equal keys: equal futures.
 *
 * When the daemon has died, all that its memory held is gone, and the key is a hash of what is
 * left: the bytes of the disk, Kafka's end, clocks and random words, the producers, what is left of
 * the bounds, and the digest of what the oracle remembers.
 *
 * While it runs its memory is not looked into.  It is a function of where it began and of what came
 * in through its seams, so the key is a hash of that: the sequence of all steps that reach it or
 * its disk and Kafka.  What producers do among themselves between two such steps (hear, decide,
 * keep silent) is added up without its order, each with its outcome: such steps touch different
 * messages or connections, or else their outcomes tell the order.
 *
 * So two states that may behave differently are never taken for one (but for a collision in 128
 * bits); some that are one are taken for two, which only costs time.
 */
struct hash128 small_key(const struct small *w);

void small_count(const struct small *w, struct small_counts *counts);
/* "P0 half-sends m1": lives until the next call. */
const char *small_text(const struct small_step *step);

#endif /* SMALL_H */
