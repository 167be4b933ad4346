/*
 * core.h -- the conductor: events in, effects out.
 *
 * Owns the transactions, their timers, the producer groups, the lanes towards Kafka and the
 * catalogue of topics.  Sans-I/O: what it wants done goes through `struct ports`; what
 * happened comes in through the calls below; time is told once a turn.  One thread.
 *
 * A turn of the loop, from the core's side:
 *
 *     core_clock()                      the two clocks, read once
 *     core_durable() core_fetched() core_report() core_topic() ...    what ended
 *     core_half_send() core_end() core_operate() ...                  what was asked
 *     core_decide()                     timers, decisions, then half-sends -> records
 *       (the journal writes and syncs the turn's records)
 *     core_durable()                    what became durable: apply, answer, ask
 *       (the answers are sent)
 *     core_publish()                    committed messages -> Kafka; nobody waits for that
 *
 * Requests are queued and looked at in core_decide(): decisions before half-sends, and of
 * half-sends only LIMIT_TURN_BYTES a turn; the rest is copied and waits.  A transaction has at most
 * one step that is decided but not durable; a second event for it waits for the first.
 */
#ifndef CORE_H
#define CORE_H

#include "core/entry.h"
#include "core/limits.h"
#include "core/ports.h"

struct core;

/*
 * A fresh core, with no memory.  CONF and PORTS are copied; ARG goes to every port.
 * Then either core_format() for a new journal, or core_recover()... and in both cases core_start().
 */
struct core *core_new(const struct core_conf *conf, const struct ports *ports, void *arg);
struct core *core_free(struct core *c);

/* A new journal: draws its id and secret. */
void core_format(struct core *c);
/* One record of the journal, in order; its strings are borrowed.  ERR_CORRUPT: impossible here. */
int core_recover(struct core *c, const struct entry *e, struct place place) MUSTUSE;
/* Recovery is over: due times are computed, lanes filled.  Nothing is asked or published before. */
void core_start(struct core *c, int64_t now_ns, uint64_t wall_ms);
/*
 * The record that opens a segment has BYTES at most: topics, and partitions of known ones, that
 * would make it longer are not taken into the catalogue.  Without a call there is no bound.
 */
void core_state_max(struct core *c, uint64_t bytes);

/*
 * Fills the core's part of the record that opens a segment.  The arrays live until the
 * next call of the core.
 */
void core_state(struct core *c, struct entry_state *ret_state);
/*
 * The journal is about to give up the segment that E at PLACE lies in.  If the
 * transaction still needs it, the core appends a copy (or a stub) now, from E's bytes.
 * Lazy and finished things are forgotten here.
 */
void core_reclaim(struct core *c, const struct entry *e, struct place place);
/* The same for a stub, of transaction SEQ.  True: it is needed, and core_moved() must follow. */
bool core_reclaim_stub(struct core *c, uint64_t seq, struct place place);
void core_moved(struct core *c, uint64_t seq, struct place place);
/* Journal space: half-sends are refused (BUSY) while it is not OK. */
void core_space(struct core *c, bool ok);

/* The time of this turn: NOW_NS never goes back, WALL_MS may jump, to GID_MS_MAX at most. */
void core_clock(struct core *c, int64_t now_ns, uint64_t wall_ms);
void core_decide(struct core *c);
/* All records that end at or before LSN are durable. */
void core_durable(struct core *c, uint64_t lsn);
/* Gives Kafka of what is committed and durable as much as may be under way. */
void core_publish(struct core *c);
/* When core_decide() wants to be called next; now or earlier while work waits; TIME_NEVER. */
int64_t core_next_due_ns(const struct core *c);
/* Half-sends are answered DRAINING from now on; decisions go on. */
void core_drain(struct core *c);
/* Publications given to Kafka and not reported + committed ones not given: 0 when drained. */
uint64_t core_owed(const struct core *c);
/* Undecided transactions, and the messages of all of them. */
void core_undecided_count(const struct core *c, uint64_t *ret_transactions, uint64_t *ret_messages);

/* ---- requests of producers ------------------------------------------------------------------- */

struct half_request {
	struct reply_to to;
	struct half half;	 /* gid, check and arrived_ms are the core's to fill; a
				  * message's partition is wanted (-1: by key, else `spread`) */
	bool plain;		 /* not transactional: committed at once                  */
	struct gid again;	 /* the message carries this __transactionId__; zero: none  */
	uint64_t key_hash;	 /* the core's to fill                                     */
};

/*
 * Borrowed until the core_decide() of this turn returns.  Answers: OK with gid, token and
 * partition; BUSY, DRAINING, REFUSED, TOO_BIG, TOPIC_UNKNOWN, DECIDED (the key is
 * committed), KEY_REUSED.
 */
void core_half_send(struct core *c, const struct half_request *r);

enum verdict { VERDICT_UNKNOWN = 0, VERDICT_COMMIT = 1, VERDICT_ROLLBACK = 2 };

struct end_request {
	struct reply_to to;
	uint64_t peer;		 /* where it came from, answered or not                   */
	struct str group;
	uint64_t seq;		 /* commitLogOffset                                       */
	uint64_t token;		 /* tranStateTableOffset: check << 8 | generation          */
	enum verdict verdict;
	bool from_check;
	struct str remark;	 /* for people                                            */
	struct str from;	 /* "ip:port"                                             */
};

/*
 * Copied.  Answers: OK when the decision is durable (also for a repeat, and at once for an
 * unknown verdict); DECIDED, STALE, NOT_FOUND, WRONG_TOKEN, WRONG_GROUP.
 */
void core_end(struct core *c, const struct end_request *r);

/* May this topic be half-sent to?  OK with `partitions`; TOPIC_UNKNOWN; BUSY. */
void core_route(struct core *c, struct reply_to to, struct str topic);

/*
 * PEER can answer checks for GROUP.  Repeating it is free.  ERR_FULL: LIMIT_GROUPS, or one
 * connection answers for too many.
 */
int core_join(struct core *c, uint64_t peer, struct str group);
/* PEER no longer answers for GROUP; empty: for any, it is gone. */
void core_leave(struct core *c, uint64_t peer, struct str group);
/* The check of SEQ was accepted by the connection: now it counts. */
void core_check_written(struct core *c, uint64_t seq, uint64_t peer);

/* The smallest gid of an undecided transaction of that database (or of none). */
struct gid core_watermark(struct core *c, const uint8_t db_id[16]);
/*
 * No message of a transaction with a smaller gid will be published any more, whatever crashes:
 * those are rolled back, discarded, or published with a durable mark.  Never falls, and may be
 * smaller than it could be.
 */
struct gid core_unpublished(struct core *c);

/* ---- Kafka ----------------------------------------------------------------------------------- */

enum report {
	REPORT_ACKED,	 /* in the log, at OFFSET                                         */
	REPORT_REFUSED,	 /* this very message: too large, invalid record, invalid timestamp */
	REPORT_UNKNOWN,	 /* anything else: may be in the log, may not; try again          */
};

/* TOKEN as given to ports.publish(); a token that is not in flight is ignored. */
void core_report(struct core *c, uint64_t token, enum report report, int64_t offset, int32_t code);
/* ports.publish() said ERR_AGAIN, and now there is room. */
void core_sink_ready(struct core *c);
/*
 * What is published from now on comes from a producer that Kafka does not know yet: each partition
 * is given one message first, and more when that is acknowledged with an offset.
 */
void core_sink_anew(struct core *c);

enum topic_news { TOPIC_HERE, TOPIC_GONE, TOPIC_FAILED };

/* What Kafka says of a topic.  max_bytes 0: not told. */
void core_topic(struct core *c, struct str name, enum topic_news news, int32_t partitions,
		uint32_t max_bytes);
/* Kafka's cluster id.  ERR_FOREIGN: the journal belongs to another; nothing is published. */
int core_cluster(struct core *c, struct str id);

/* ---- the journal ----------------------------------------------------------------------------- */

/* ports.fetch() said ERR_AGAIN; this is its end.  HALF lives during the call. */
void core_fetched(struct core *c, uint64_t token, int err, const struct half *half);

/* ---- operators ------------------------------------------------------------------------------- */

enum verb { VERB_COMMIT, VERB_ROLLBACK, VERB_CHECK, VERB_RESUME, VERB_RETRY, VERB_DISCARD };

const char *verb_name(enum verb verb);

struct operation {
	struct reply_to to;
	enum verb verb;
	struct gid gid;
	struct str who;
	struct str reason;	 /* required, at most LIMIT_REASON_BYTES                  */
	bool has_etag;
	uint64_t etag;		 /* of struct row_view: MOVED when it is no longer so     */
};

/* Copied.  OK when durable; NOT_FOUND, DECIDED, STATE, MOVED, REFUSED (no reason, or too long). */
void core_operate(struct core *c, const struct operation *op);

/* One transaction, as people see it.  Strings live until the next call of the core. */
struct row_view {
	struct gid gid;
	enum txn_state state;
	uint8_t generation;
	uint32_t checks;
	uint64_t etag;		 /* changes with every change of the transaction          */
	struct str group;
	uint64_t arrived_ms;
	int64_t due_in_ms;	 /* of the next check; -1: none                           */
	uint64_t decided_ms;	 /* 0: undecided                                          */
	enum origin origin;
	uint32_t count;		 /* messages                                              */
	struct str topic;	 /* of the first                                          */
	int32_t partition;
	uint32_t published;	 /* messages acknowledged                                 */
	uint32_t refused;
	int32_t refused_code;	 /* Kafka's, of the first that it refused, retried or not    */
	struct place place;	 /* for fetching the half; len 0: only a stub is left      */
};

struct list_query {
	uint32_t states;	 /* bit 1 << enum txn_state; 0: all                       */
	struct str group;	 /* empty: any                                            */
	struct str topic;
	struct str key;		 /* idempotency key; needs group                          */
	uint64_t min_age_ms;
	uint32_t min_checks;
	bool newest_first;
	uint32_t limit;		 /* at most LIMIT_LIST_PAGE                               */
	uint64_t after_seq;	 /* cursor; 0: from the beginning (or end)                 */
};

struct list_page {
	uint32_t count;
	struct row_view rows[LIMIT_LIST_PAGE];
	uint64_t next_seq;	 /* 0: that was all                                       */
};

/* Examines at most LIMIT_LIST_SCAN rows, so a page may be short and still have a next. */
void core_list(struct core *c, const struct list_query *q, struct list_page *ret_page);
int core_get(struct core *c, struct gid gid, struct row_view *ret_row) MUSTUSE;

/*
 * What is remembered of a transaction's life, oldest first: when it began and was decided always,
 * the rest bounded and in memory only.  An event that the row tells has no peer.
 */
struct timeline_event {
	uint64_t ms;
	enum note_kind kind;
	uint64_t peer;
	int64_t value;
	enum txn_state from;
	enum txn_state to;
};

uint32_t core_timeline(struct core *c, uint64_t seq, struct timeline_event *ret_events,
		       uint32_t max);

struct group_view {
	struct str name;
	uint32_t listeners;
	uint64_t waiting;	 /* undecided                                             */
	uint64_t waiting_bytes;	 /* their records in the journal                          */
	bool silent;		 /* waiting > 0 and listeners == 0                         */
};

/* Groups by number from *AT (0 to begin); false at the end. */
bool core_group_next(struct core *c, uint32_t *at, struct group_view *ret_group);

struct topic_view {
	struct str name;
	int32_t partitions;
	uint32_t max_bytes;
	uint64_t pending;	 /* committed and not published                           */
	uint32_t frozen;	 /* lanes                                                 */
};

bool core_topic_next(struct core *c, uint32_t *at, struct topic_view *ret_topic);

/* Counters since start, and gauges. */
struct core_stats {
	uint64_t rows[8];		/* by enum txn_state                              */
	uint64_t rows_bytes;		/* memory of the index                            */
	uint64_t half_sends[ANSWER_COUNT];	/* by answer                                      */
	uint64_t half_repeats;
	uint64_t decisions[2][5];	/* [commit, rollback][origin]                     */
	uint64_t contradictions;
	uint64_t stale_answers;
	uint64_t checks_sent;
	uint64_t check_answers[3];	/* by verdict                                     */
	uint64_t published;
	uint64_t refused;		/* messages now undeliverable                     */
	uint64_t publish_retries;
	uint64_t lanes;
	uint64_t lanes_frozen;
	uint64_t publish_pending;
	uint64_t publish_oldest_ms;	/* wall clock of its decision; 0: none             */
	uint64_t undecided_oldest_ms;	/* wall clock of its arrival; 0: none              */
	uint64_t deferred;
	uint64_t ticks;			/* calls of core_decide(), so looks at the timers */
	uint64_t timer_visits;		/* timer entries seen in them; an idle one sees one */
	uint64_t groups;
	bool foreign_cluster;
	bool keys_full;
};

const struct core_stats *core_stats(struct core *c);
/* The 16 random bytes that name the journal. */
const uint8_t *core_journal_id(const struct core *c);

#endif /* CORE_H */
