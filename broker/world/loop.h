/*
 * loop.h -- one turn: sleep, time, timers, decide, persist, release.
 *
 * Joins the core to its edges (ports.h) and drives them.  The daemon gives it the real
 * seams, tests/sim the simulated ones; everything between is the same object code.
 *
 *      net poll  ->  remoting reads  ->  core decides  ->  journal writes, syncs
 *         ^                                                       |
 *         +----  answers, checks, publications  <-  durable  <----+
 */
#ifndef LOOP_H
#define LOOP_H

#include "core/core.h"
#include "journal/journal.h"
#include "relay/relay.h"
#include "remoting/remoting.h"
#include "world/clock.h"
#include "world/disk.h"
#include "world/net.h"
#include "world/rng.h"
#include "world/sink.h"

/* The seams.  Owned by the caller, who frees them after loop_free(). */
struct world {
	struct clock *clock;
	struct disk *disk;
	struct net *net;
	struct sink *sink;
	struct rng *rng;
};

struct loop_conf {
	struct core_conf core;
	struct journal_conf journal;
	struct remoting_conf remoting;
	struct relay_conf relay;
	uint64_t trace_every; /* steps of every N-th transaction are logged at level trace; 0: 1 */
};

/*
 * What a third edge (http) adds.  All may be NULL.  TURN is called each turn before
 * core_decide(); ANSWER gets answers whose peer has PEER_HTTP set; FETCHED the ends of
 * journal_fetch() whose token has FETCH_HOOK set, without that bit; NOTE sees every note; PROGRESS
 * hears of recovery, segment I of N.
 */
#define PEER_HTTP (UINT64_C(1) << 63)

struct loop_hooks {
	void *arg;
	void (*turn)(void *arg, struct core *core, int64_t now_ns);
	void (*answer)(void *arg, struct reply_to to, const struct answer *answer);
	void (*fetched)(void *arg, uint64_t token, int err, const struct half *half);
	void (*note)(void *arg, const struct note *note);
	void (*progress)(void *arg, uint64_t i, uint64_t n);
};

/* Tokens of journal_fetch() with this bit are the hooks', not the core's. */
#define FETCH_HOOK (UINT64_C(1) << 63)

struct loop;

/*
 * Recovers the journal, meets Kafka and starts everything.  Errors of journal_open(),
 * journal_start(), remoting_new(); ERR_FOREIGN: Kafka is another cluster than the journal's.
 * RET_FAULT->text is the sentence for people.
 */
int loop_new(const struct world *world, const struct loop_conf *conf,
	     const struct loop_hooks *hooks, struct loop **ret_loop,
	     struct journal_fault *ret_fault) MUSTUSE;
struct loop *loop_free(struct loop *l);

/*
 * One turn.  Sleeps in net poll for at most MAX_SLEEP_NS.  0; any error (ERR_IO, ERR_CORRUPT): the
 * process must end, and nothing that was not durable has been answered.
 */
int loop_turn(struct loop *l, int64_t max_sleep_ns) MUSTUSE;

/* Begins the drain; loop_drained() once all is answered and published, or it may as well stop. */
void loop_drain(struct loop *l);
bool loop_drained(const struct loop *l);

struct core *loop_core(struct loop *l);
struct journal *loop_journal(struct loop *l);
struct remoting *loop_remoting(struct loop *l);
struct relay *loop_relay(struct loop *l);

#endif /* LOOP_H */
