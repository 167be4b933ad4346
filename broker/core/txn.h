/*
 * txn.h -- the life of one transaction, as a pure state machine.
 *
 * This module decides and never does.  Give it a transaction, an event and the
 * time; it answers with the next state, whether that is journaled and waited for,
 * and the one action to take after it is durable.  It owns no clock, disk, socket,
 * Kafka handle or heap, so a test can drive a year of it in a millisecond.
 *
 *       half-send (journaled before the producer is answered)
 *           |
 *           v
 *        PREPARED ---+--COMMIT----> COMMITTED ----ACKED-----> PUBLISHED
 *         |    ^     |               |     ^
 *  TIMER, |    |     |        REFUSED|     |RETRY
 *  checks |    |     |               v     |
 *  used up|    |RESUME            UNDELIVERABLE --DISCARD---> DISCARDED
 *         |    |     |
 *         v    |     |
 *         PARKED ----+--ROLLBACK--> ROLLED_BACK
 *
 * A repeated HALF_SEND leads from PREPARED and PARKED to PREPARED.
 *
 * Invariants, asserted by txn_check() before every step and after every apply:
 *
 *   PREPARED       due_ns is the next check; no consumer can see it
 *   COMMITTED      the decision is durable; its messages are in their lanes
 *   PUBLISHED      Kafka acknowledged every message
 *   ROLLED_BACK    no message was ever given to Kafka
 *   PARKED         checks used up; due_ns is the next slow check
 *   UNDELIVERABLE  Kafka refused a message for good; only an operator moves it
 *   DISCARDED      an operator gave it up, with a reason
 *
 *   due_ns is zero once it is decided.
 */
#ifndef TXN_H
#define TXN_H

#include <stdint.h>

enum txn_state {		/* stored in the journal: append, never renumber */
	TXN_PREPARED = 1,	/* half messages held; undecided                 */
	TXN_COMMITTED = 2,	/* decided: owed to Kafka                        */
	TXN_PUBLISHED = 3,	/* final: acknowledged by Kafka                  */
	TXN_ROLLED_BACK = 4,	/* final: dropped, never visible to consumers    */
	TXN_PARKED = 5,		/* still undecided: kept, shown, asked slowly    */
	TXN_UNDELIVERABLE = 6,	/* committed, but Kafka refuses it for good      */
	TXN_DISCARDED = 7,	/* final: given up by an operator                */
};

enum txn_event {
	TXN_HALF_SEND,		/* a repeat, same key and body                   */
	TXN_COMMIT,		/* client, answer to a check, or operator        */
	TXN_ROLLBACK,		/* the same                                      */
	TXN_TIMER,		/* the loop: now_ns has reached due_ns           */
	TXN_CHECKED,		/* a check was written to a live connection      */
	TXN_ACKED,		/* relay: Kafka acknowledged every message       */
	TXN_REFUSED,		/* relay: Kafka refuses a message for good       */
	TXN_RESUME,		/* operator: ask at full pace again              */
	TXN_RETRY,		/* operator: publish it again                    */
	TXN_DISCARD,		/* operator: give it up                          */
};

enum txn_verdict {
	TXN_OK,			/* journal the step; apply and act when durable  */
	TXN_LAZY,		/* apply and act now; nobody waits for its record */
	TXN_DUPLICATE,		/* already so: answer success, journal nothing   */
	TXN_CONFLICT,		/* contradicts what is journaled: refuse         */
};

enum txn_action {
	TXN_NOTHING,
	TXN_ASK,		/* send a check to the producer group            */
	TXN_PUBLISH,		/* hand its messages to their lanes              */
	TXN_FORGET,		/* only history now: may leave with its segment  */
};

/*
 * When checks are due.  The first comes immunity_ns after the half-send, the next
 * interval_ns later, each gap backoff_percent of the one before (150: half as much again), up to
 * interval_max_ns; after checks_max delivered ones it is parked and asked every parked_ns.
 */
struct txn_policy {
	int64_t immunity_ns;
	int64_t interval_ns;
	int64_t interval_max_ns;
	int64_t parked_ns;
	uint32_t backoff_percent;
	uint32_t checks_max;
};

struct txn {
	uint64_t seq;
	int64_t due_ns;		/* when TXN_TIMER fires; 0 = no timer            */
	uint32_t checks;	/* delivered so far                              */
	uint8_t generation;	/* raised by a repeated half-send; checks carry it */
	uint8_t state;		/* enum txn_state                                */
	uint16_t tag;		/* the owner's: no step changes it               */
};

struct txn_step {
	enum txn_verdict verdict;
	enum txn_action action;
	struct txn next;	/* what txn_apply() makes true                   */
};

/* Decide what event EV means for T at NOW_NS.  Changes nothing. */
struct txn_step txn_step(const struct txn *t, enum txn_event ev, int64_t now_ns,
			 const struct txn_policy *policy);

/* Make a step real: a TXN_OK step only once its record is durable. */
void txn_apply(struct txn *t, const struct txn_step *step);

/* Abort the process if T breaks an invariant of its state. */
void txn_check(const struct txn *t);

/* How long after the CHECKS-th delivered check the next is due. */
int64_t txn_check_gap_ns(const struct txn_policy *policy, uint32_t checks);

/* Lower-case words, the same in JSON, metrics and logs: "prepared", "rolled_back". */
const char *txn_state_name(enum txn_state state);
const char *txn_event_name(enum txn_event ev);

#endif /* TXN_H */
