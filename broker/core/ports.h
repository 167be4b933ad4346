/*
 * ports.h -- all that the core asks of the world, as one table of effects.
 *
 *      event --> core --> ports.append()     a record for the journal
 *                    \--> ports.answer()     an answer to a producer or operator
 *                    \--> ports.check()      a check for a connected producer
 *                    \--> ports.publish()    a message for Kafka
 *                    \--> ports.fetch()      a half message, back from the journal
 *                    \--> ports.describe()   what does Kafka know of a topic?
 *                    \--> ports.note()       something to trace, count or alarm
 *
 * The loop joins each to the edge that does it; the simulator joins the same edges to a
 * simulated world.  None of these blocks.  None may call back into the core before it
 * returns, except where it says so.
 *
 * An answer, a check or a publication is given out only when the record that it depends
 * on is durable: the core holds them until core_durable() says so.
 */
#ifndef PORTS_H
#define PORTS_H

#include "core/entry.h"

/* Whom to answer.  PEER is never reused within a process; 0: nobody (one-way). */
struct reply_to {
	uint64_t peer;
	uint64_t tag; /* the peer's own: RocketMQ's opaque, an HTTP request's number */
};

/*
 * Every answer there is.  client/PROTOCOL.md has the table of what each becomes on the
 * remoting wire and in HTTP, and what a client should do.
 */
#define ANSWER_LIST(X)                                                                             \
	X(OK, "done, and durable")                                                                 \
	X(BUSY, "not now: a limit, a full disk or a missing answer from Kafka; try again later")   \
	X(DRAINING, "the daemon is stopping; try again elsewhere or later")                        \
	X(REFUSED, "the request is not acceptable, now or later")                                  \
	X(TOO_BIG, "the message is larger than the limit of daemon or topic")                      \
	X(TOPIC_UNKNOWN, "Kafka has no such topic")                                                \
	X(NOT_FOUND, "no such transaction, or no longer known")                                    \
	X(WRONG_TOKEN, "the tokens are not those of this transaction")                             \
	X(WRONG_GROUP, "another producer group half-sent it")                                      \
	X(DECIDED, "already decided, and not like this; the state tells the winner")               \
	X(KEY_REUSED, "another message was half-sent under this key")                              \
	X(STATE, "not possible in the state that the transaction is in")                           \
	X(MOVED, "the transaction changed since it was looked at")                                 \
	X(STALE, "an answer to a check of an older generation: counted as unknown")

enum answer_code {
#define X(name, text) ANSWER_##name,
	ANSWER_LIST(X)
#undef X
};

enum {
#define X(name, text) +1
	ANSWER_COUNT = 0 ANSWER_LIST(X)
#undef X
};

const char *answer_name(enum answer_code code); /* "ok", "busy", ... */
const char *answer_text(enum answer_code code);

struct answer {
	enum answer_code code;
	struct gid gid;		 /* of the transaction, where there is one                */
	uint64_t token;		 /* half-send: the state token (check << 8 | generation)   */
	enum txn_state state;	 /* of the transaction, where there is one; DECIDED: the winner's */
	uint8_t generation;
	int32_t partition;	 /* half-send: of the first message                       */
	int32_t partitions;	 /* route: of the topic                                   */
	const char *why;	 /* a sentence for people, or NULL; lives during the call  */
};

/* A check to be said to one connected producer. */
struct check {
	uint64_t peer;
	const struct half *half; /* lives during the call                                 */
	uint64_t token;		 /* state token with the current generation               */
	uint32_t number;	 /* 1 for the first, as `TRANSACTION_CHECK_TIMES` has it   */
};

/* A message to be given to Kafka. */
struct publication {
	uint64_t token;		 /* comes back in core_report()                           */
	const struct half *half; /* lives during the call                                 */
	uint32_t index;		 /* which of its messages: the ordinal of escrow-id        */
	int32_t partition;
	uint64_t n;		 /* escrow-seq                                            */
	uint64_t ms;		 /* when it was decided: the record's timestamp           */
	const uint8_t *journal_id; /* 16 bytes: the other part of escrow-seq              */
};

/* Something happened that people, traces or counters want to know. */
enum note_kind {
	NOTE_TRANSITION,	/* seq, from, to, event                                  */
	NOTE_CHECK_SENT,	/* seq, peer, value = number                             */
	NOTE_CHECK_ANSWERED,	/* seq, peer, value = 0 unknown, TXN_COMMIT, TXN_ROLLBACK */
	NOTE_CONTRADICTION,	/* seq: a second decision, refused; text says by whom     */
	NOTE_UNPUBLISHABLE,	/* seq, value = Kafka's code: now undeliverable           */
	NOTE_PUBLISHED,		/* seq, value = offset, text = topic, partition           */
	NOTE_LANE_FROZEN,	/* text = topic, partition, value = Kafka's code          */
	NOTE_LANE_RESUMED,
	NOTE_GROUP_SILENT,	/* text = group: transactions wait and nobody is connected */
	NOTE_FOREIGN_CLUSTER,	/* text = the other cluster's id: all lanes are frozen    */
	NOTE_RECORD_GONE,	/* text = topic, partition, value = how many: numbers that recovery
				 * finds committed, unmarked and without a message         */
	NOTE_TOPIC_ANEW,	/* text = topic, partition, value = offset: below an earlier one */
	NOTE_KEYS_FULL,		/* limits.keys.memory is reached: half-sends are refused   */
	NOTE_GROUP_FULL,	/* text = group, value = undecided: its half-sends are refused */
};

struct note {
	enum note_kind kind;
	struct gid gid;
	enum txn_state from;
	enum txn_state to;
	enum txn_event event;
	uint64_t peer;
	int32_t partition;
	int64_t value;
	/*
	 * How long it took; -1: not known.  TRANSITION from nothing: since the half-send came,
	 * until durable; TRANSITION by a decision: since the (first) half-send; PUBLISHED: since
	 * the decision.
	 */
	int64_t lasted_ns;
	struct str text;
};

struct ports {
	/*
	 * Adds E to the journal's open group and tells where it will lie.  0; ERR_FULL (no room
	 * now), ERR_AGAIN (too much waits for the disk) and ERR_TOOBIG (never), only for
	 * ENTRY_HALF (ENTRY_COPY of a plain send too), and nothing was added; everything that
	 * finishes a transaction always has its room.  Lazy entries may be dropped when the disk is
	 * full; the place is then zero.  Once the journal has failed: 0, a place that never gets
	 * durable, and the end of the process after this turn; so nothing that waits for the entry
	 * leaves.  May call core_state() before it returns, when E begins a new segment.
	 */
	int (*append)(void *arg, const struct entry *e, struct place *ret_place);
	/*
	 * The half of the ENTRY_HALF or ENTRY_COPY at PLACE.  0: *ret_half is set and lives until
	 * the next call of a port.  ERR_AGAIN: core_fetched(TOKEN) follows, in a later turn.
	 */
	int (*fetch)(void *arg, struct place place, uint64_t token, const struct half **ret_half);
	void (*answer)(void *arg, struct reply_to to, const struct answer *answer);
	/*
	 * 0: queued for that connection; core_check_written() follows once its last byte was
	 * accepted by the connection, or never, when it dies (then core_leave() is called).
	 * ERR_CLOSED, ERR_FULL: not queued.
	 */
	int (*check)(void *arg, const struct check *check);
	/* 0: core_report() will follow.  ERR_AGAIN: Kafka's queue is full; core_sink_ready(). */
	int (*publish)(void *arg, const struct publication *publication);
	/* Ask Kafka about a topic; core_topic() follows whenever Kafka answers, and on changes. */
	void (*describe)(void *arg, struct str topic);
	void (*note)(void *arg, const struct note *note);
	uint64_t (*random)(void *arg);
};

#endif /* PORTS_H */
