/*
 * producers.h -- simulated RocketMQ producers: stock clients with a local database.
 *
 * Each speaks remoting over net_sim with client/wire, half-sends, runs a "local
 * transaction" (a word in the oracle), says END or stays silent, repeats what was not answered
 * under the same UNIQ_KEY, and answers checks: truthfully, late, with unknown, or not at all. About
 * a transaction that it never began it says ROLLBACK: naive producers just say so, fenced ones
 * first write it into their fence, so that it can never begin.
 */
#ifndef PRODUCERS_H
#define PRODUCERS_H

#include "sim/clock_sim.h"
#include "sim/net_sim.h"
#include "sim/oracle.h"

struct producers_knobs {
	uint32_t producers;	   /* connections                                         */
	uint32_t groups;
	uint32_t topics;
	uint32_t keys;		   /* ordering keys, shared by all                        */
	uint32_t jobs;		   /* of one producer at a time                           */
	uint32_t messages;	   /* in all                                              */
	uint32_t body_max;
	uint32_t plain_permille;
	uint32_t silent_permille;  /* no END: left to the check                           */
	uint32_t rollback_permille;
	uint32_t slow_permille;	   /* the local transaction takes up to slow_ns            */
	int64_t slow_ns;
	uint32_t unknown_permille; /* a check is answered unknown                         */
	uint32_t mute_permille;	   /* a check is not answered                             */
	uint32_t late_permille;	   /* ... answered up to slow_ns later                    */
	uint32_t repeat_permille;  /* a half-send is repeated though it was answered       */
	uint32_t anew_permille;	   /* what was rolled back is tried again, under its key      */
	uint32_t fenced_permille;  /* of producers                                        */
	uint32_t quit_permille;	   /* per step: a producer's connection is dropped          */
	uint32_t flip_permille;	   /* of decisions: the contrary of what the database says   */
	uint32_t stranger_permille; /* of local transactions: another group decides it too    */
	uint32_t altered_permille; /* of those: another body under the same key comes first  */
	uint32_t twice_permille;   /* of requests: they arrive twice                        */
	int64_t again_ns;	   /* what is committed is sent again up to so much later    */
	bool ends_may_wait;	   /* a decision may be answered "busy": memory is bounded   */
	int64_t timeout_ns;	   /* of a request, then it is repeated                    */
};

struct producers;

struct producers *producers_new(const struct producers_knobs *knobs, struct net_sim *net,
				struct oracle *oracle, const char *address, uint64_t seed);
struct producers *producers_free(struct producers *p);
/* Does all that is due at NOW; returns true when anything was done. */
bool producers_step(struct producers *p, int64_t now_ns);
int64_t producers_next_ns(const struct producers *p);
/* From now on: nothing new, every check is answered at once and definitely. */
void producers_settle(struct producers *p);
/* All messages were tried and nothing is under way. */
bool producers_done(const struct producers *p);

/*
 * One producer's process dies and starts again: its jobs are forgotten, its database undoes what
 * ran.  Returns how many jobs that were.
 */
uint32_t producers_crash(struct producers *p);

struct producers_counts {
	uint64_t checks, check_answers, connects, timeouts, repeats, stale_rollbacks;
	uint64_t flips, strangers, twice, quits, odd, busy, anew;
};

const struct producers_counts *producers_counts(const struct producers *p);

#endif /* PRODUCERS_H */
