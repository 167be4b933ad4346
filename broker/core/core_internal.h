/*
 * core_internal.h -- what the files of the core share, and nobody else may see.
 *
 *   core.c            life, the turn, effects that wait for the disk
 *   core_request.c    requests: of this turn, and those that have to wait
 *   core_send.c       half-sends: new, repeated, refused
 *   core_topic.c      topics, and the requests that wait until Kafka has told of one
 *   core_end.c        decisions of producers, and what a decision does once it is durable
 *   core_check.c      what is due is asked about
 *   core_publish.c    lanes to Kafka and reports back; marks
 *   core_operate.c    what operators do, with its audit record
 *   core_recover.c    the journal's records become rows again
 *   core_start.c      and the rows a running core
 *   core_reclaim.c    what of a dying segment is still needed
 *   core_history.c    final rows: kept for who repeats or asks, then forgotten
 *   core_watermark.c  below which gid nothing is undecided, or unpublished
 *   core_view.c       lists, timelines, counters
 *
 * The order of things that all rely on: a record is appended first; its effect is pended with the
 * LSN behind the record; core_durable() applies, answers and passes on, in the order of the
 * journal.  So the rows in memory always are what a crash right now would recover, lazy steps
 * apart; a row with ROW_PENDING will be something else soon and takes no other step until then.
 */
#ifndef CORE_INTERNAL_H
#define CORE_INTERNAL_H

#include "base/buf.h"
#include "base/canary.h"
#include "base/err.h"
#include "base/list.h"
#include "core/core.h"
#include "core/groups.h"
#include "core/lanes.h"
#include "core/table.h"
#include "core/timers.h"
#include "core/topics.h"

/* ---- requests that wait ---------------------------------------------------------------------- */

enum request_kind { REQUEST_HALF, REQUEST_END, REQUEST_OPERATION, REQUEST_ROUTE };

struct route_request {
	struct reply_to to;
	struct str topic;
};

struct request {
	enum request_kind kind;
	union {
		struct half_request half;
		struct end_request end;
		struct operation operation;
		struct route_request route;
	};
};

/* A request with its own copy of every byte, in one block. */
struct deferred {
	struct list node;
	uint64_t seq;	  /* whose pending step it waits for; 0: something else */
	size_t bytes;
	struct request request;
};

enum wait_kind { WAIT_NOT, WAIT_ROW, WAIT_TOPIC };

/* What handling a request came to: done, or what it has to wait for. */
struct wait {
	enum wait_kind kind;
	uint64_t seq;
	struct str topic;
};

#define DONE ((struct wait){ WAIT_NOT, 0, { NULL, 0 } })

struct topic_wait {
	struct list node;
	struct list waiting; /* of struct deferred */
	int64_t until_ns;
	struct str name;     /* owned, behind the struct */
};

#define WAIT_BUCKETS 256

/* Bytes that live until the end of core_decide(). */
struct arena_block;
struct arena {
	struct arena_block *first;
	struct arena_block *now;
};

struct requests {
	struct request *items;
	uint32_t count;
	uint32_t cap;
};

/* ---- effects that wait for the disk ---------------------------------------------------------- */

enum pending_kind {
	PENDING_HALF,	    /* a new half message, or a plain send                        */
	PENDING_GENERATION, /* a repeated one                                             */
	PENDING_DECISION,
	PENDING_REFUSED,    /* one message is undeliverable                               */
	PENDING_MARK,	    /* a lane's watermark                                         */
	PENDING_OPERATION,  /* check, resume, retry, discard                              */
};

struct pending {
	uint64_t lsn;	    /* when everything before it is durable                       */
	struct reply_to to;
	struct txn next;    /* of the row                                                 */
	int64_t began_ns;
	uint64_t value;	    /* DECISION: when; MARK: low; REFUSED: position in the lane    */
	uint32_t row;	    /* MARK: lane                                                 */
	uint32_t lane;	    /* REFUSED                                                    */
	int32_t code;	    /* REFUSED                                                    */
	uint16_t index;	    /* REFUSED: which message                                     */
	uint8_t kind;	    /* enum pending_kind                                          */
	uint8_t event;	    /* enum txn_event                                             */
	uint8_t origin;	    /* DECISION                                                   */
	uint8_t verb;	    /* OPERATION: enum verb                                       */
};

/* Tokens of ports.fetch(): what for, in bits 60 to 62; the rest says which. */
#define FETCH_KIND_SHIFT 60
#define FETCH_LANE (UINT64_C(1) << FETCH_KIND_SHIFT)
#define FETCH_CHECK (UINT64_C(2) << FETCH_KIND_SHIFT)
#define FETCH_KINDS (UINT64_C(7) << FETCH_KIND_SHIFT)

/* A publication that Kafka has and did not report. */
struct lane_flight {
	uint64_t position;
	uint32_t lane;	    /* LANE_NONE: free                                            */
	uint32_t bytes;
	uint32_t serial;    /* tells an old token from a new one in the same slot          */
	uint32_t next_free;
};

/* No transaction of its kind is older: core_watermark.c. */
struct watermark {
	uint64_t seq;
	uint64_t ms;
};

struct db {
	uint8_t id[16];
	struct watermark watermark;
};

#define CORE_AHEAD 8 /* requests between asking for memory and needing it */

#ifndef TIMELINE_EVENTS /* as TABLE_CHUNK */
#define TIMELINE_EVENTS 65536u
#endif

struct timeline_slot {
	struct timeline_event event;
	uint64_t seq;
	uint64_t before;    /* number of the event before it in the same bucket; 0: none   */
};

/* Each event is two cache misses: asked for when it is noted, taken when so many came. */
#define TIMELINE_BATCH 32u

/* ---- recovery only --------------------------------------------------------------------------- */

struct done_n {
	uint32_t lane;
	uint64_t n;
};

struct audit_at {
	uint64_t number;
	uint64_t lsn;
};

struct core {
	struct core_conf conf;
	struct ports ports;
	void *arg;

	int64_t now_ns;
	uint64_t wall_ms;
	uint64_t jumped_ms;	  /* how far the wall clock jumped ahead lately             */
	int64_t jumped_until_ns;  /* "lately" ends                                          */
	int64_t back_until_ns;	  /* it was set back, or we started, less than a window ago  */
	int64_t settled_ns;	  /* one window after the start                             */
	bool started;
	bool described;	    /* Kafka was asked about the topics of the catalogue           */
	bool draining;
	bool space;
	bool sink_full;
	uint32_t producer;  /* which one publishes; 0: nobody said that it is new          */
	bool keys_noted;

	/* what the state record keeps */
	uint8_t journal_id[16];
	struct hash_secret secret;
	uint64_t next_seq;
	uint64_t last_ms;
	uint64_t audit_number;
	uint8_t audit_chain[16];
	char cluster[128];
	uint32_t cluster_len;
	uint64_t state_max;	  /* bytes of it; 0: no bound                               */
	struct entry_topic *state_topics;
	struct lane_state *state_lanes;

	struct table table;
	struct timers timers;
	struct groups groups;
	struct topics topics;
	struct lanes lanes;
	struct row_list history; /* final rows, in the order in which they became so     */
	uint64_t undecided;	 /* half-ways among them                                 */
	uint64_t undecided_messages;
	uint32_t forget_left;	 /* in this turn, for producer groups                    */

	struct db *dbs;		 /* by number - 1 */
	uint32_t db_count, db_cap;
	struct map by_db;
	struct watermark none_watermark; /* of transactions without a database */
	struct watermark any_watermark;
	struct watermark open_watermark; /* of all that are not final */
	struct gid unpublished;	 /* as it was at the last sample whose marks are durable   */
	struct gid sample;	 /* what it will be when ...                               */
	uint64_t sample_end;	 /* ... what is pending before here is; 0: there is none    */
	int64_t sample_ns;	 /* when to take the next                                 */

	/* requests of this turn, then those that wait */
	struct requests ends;
	struct requests halves;
	struct arena arena;
	struct list woken;	 /* decided first in the next turn                        */
	struct list overflow;	 /* half-sends beyond LIMIT_TURN_BYTES                     */
	struct list topic_waits;
	uint32_t topic_wait_count;
	struct list waiting[WAIT_BUCKETS];
	uint64_t deferred_bytes;
	uint64_t deferred_count;
	int64_t topic_due_ns;

	struct pending *pending; /* a ring */
	uint64_t pending_first, pending_end;
	uint32_t pending_cap;

	struct lane_flight *flights;
	uint32_t flight_count, flight_cap, flight_free;
	uint64_t flight_bytes;

	double check_tokens;
	int64_t check_tokens_ns;
	uint32_t asks_fetching;
	int64_t asked_due_ns;

	uint64_t recovered_decisions;
	struct done_n *done;	 /* recovery: n published by name, retried ones apart     */
	size_t done_count, done_cap;
	struct audit_at *audits; /* recovery: all that were read; from core_start() on those */
	size_t audits_count, audits_cap; /* that lie once more behind, by LSN             */

	struct timeline_slot *timeline;
	uint64_t *timeline_heads;
	uint64_t timeline_count;
	struct timeline_slot timeline_batch[TIMELINE_BATCH];
	uint32_t timeline_batched;

	uint64_t *n_scratch;
	uint32_t n_scratch_cap;
	struct buf audit_buf;
	struct core_stats stats;
};

/* ---- core.c ---------------------------------------------------------------------------------- */

static inline struct row *
core_row(const struct core *c, uint32_t index)
{
	return table_row(&c->table, index);
}

/* Appends what always has its room. */
struct place core_append(struct core *c, const struct entry *e);
/* P, with .lsn set behind PLACE, waits for the disk. */
void core_pend(struct core *c, struct pending *p, struct place place);
void core_answer(struct core *c, struct reply_to to, const struct answer *a);
/* What an answer about ROW says of it. */
struct answer core_answer_of(const struct core *c, const struct row *row, enum answer_code code);
void core_note(struct core *c, const struct note *n);

/* The one door: STEP becomes real. */
void core_apply(struct core *c, uint32_t index, const struct txn_step *step, enum txn_event ev);
/* A row begins (in STATE) or ends: the counters by state follow. */
void core_began(struct core *c, uint32_t index);
/* The row became undecided, or is no longer. */
void core_undecided(struct core *c, uint32_t index, bool is);
/* The row's record is at PLACE now. */
void core_placed(struct core *c, uint32_t index, struct place place);
/* Its pending step is done: whoever waited for it is decided in the next turn. */
void core_settled(struct core *c, uint32_t index);
/* Takes the row out of the timers or the overdue list, wherever it is. */
void core_untime(struct core *c, uint32_t index);
void core_time(struct core *c, uint32_t index);

uint64_t *core_n_scratch(struct core *c, uint32_t count);

/* ---- core_request.c -------------------------------------------------------------------------- */

void core_arena_reset(struct core *c);
void core_arena_done(struct core *c);
/* Copies the request to wait; answers BUSY when there is no room. */
void core_defer(struct core *c, const struct request *r, struct wait wait);
void core_undefer(struct core *c, struct deferred *d);
struct wait core_handle(struct core *c, struct request *r);
void core_wake(struct core *c, struct list *waiting);
/* Handles what waits in WAITING while *BUDGET lasts; what has to wait again goes elsewhere. */
void core_handle_deferred(struct core *c, struct list *waiting, uint64_t *budget);

/* ---- core_send.c ----------------------------------------------------------------------------- */

struct wait core_do_half(struct core *c, struct half_request *r);
void core_half_durable(struct core *c, const struct pending *p);
void core_generation_durable(struct core *c, const struct pending *p);
/* A new row, with all that a half message tells; PARTS: with a part even for its only message. */
uint32_t core_row_of(struct core *c, const struct half *h, const uint32_t *topics, uint32_t group,
		     struct place place, uint64_t key_hash, bool parts);
uint64_t core_key_hash(const struct core *c, struct str group, struct str key);
void core_busy(struct core *c, const struct request *r, enum answer_code code, const char *why);

/* ---- core_topic.c ---------------------------------------------------------------------------- */

struct wait core_do_route(struct core *c, const struct route_request *r);
/* Requests that waited too long for their topic are told BUSY. */
void core_topics_expire(struct core *c);
/* Joins a request that waits for NAME; false: no room. */
bool core_topic_join(struct core *c, struct str name, struct deferred *d);

/* ---- core_end.c ------------------------------------------------------------------------------ */

struct wait core_do_end(struct core *c, const struct end_request *r);
/* Journals a decision, its step taken; NULL decision strings are fine. */
void core_decision(struct core *c, uint32_t index, const struct txn_step *step,
		   const struct decision *d, enum txn_event ev, struct reply_to to);
void core_decision_durable(struct core *c, const struct pending *p);

/* ---- core_check.c ---------------------------------------------------------------------------- */

void core_due(struct core *c);
void core_ask(struct core *c);
/* When the bucket of check.rate has the next token, if that is what is missing. */
int64_t core_ask_due_ns(const struct core *c);
void core_check_fetched(struct core *c, uint64_t which, const struct half *half);

/* What Kafka adds to a record, and our own headers without the names of group and key. */
#define RECORD_OVERHEAD 320u

/* ---- core_publish.c -------------------------------------------------------------------------- */

/* The lane of (topic, partition), made when new. */
uint32_t core_lane(struct core *c, uint32_t topic, int32_t partition);
void core_push(struct core *c, uint32_t index);
/* As much is given to Kafka, and not reported, as may be. */
bool core_window_full(const struct core *c);
void core_marks(struct core *c);
/*
 * Has the watermark of every message's lane passed it, JOURNALED or only in memory?  What is
 * forgotten before would be a number that recovery misses.
 */
bool core_passed(const struct core *c, const struct row *row, bool journaled);
/* A mark of how far the lane is, now, if that was not journaled yet. */
void core_mark_low(struct core *c, uint32_t number);
void core_mark_durable(struct core *c, const struct pending *p);
void core_refused_durable(struct core *c, const struct pending *p);
void core_lane_fetched(struct core *c, uint32_t lane, const struct half *half);

/* ---- core_operate.c -------------------------------------------------------------------------- */

struct wait core_do_operation(struct core *c, const struct operation *op);
void core_operation_durable(struct core *c, const struct pending *p);

/* ---- core_recover.c -------------------------------------------------------------------------- */

/* What was copied by a reclaim that did not come to its end. */
void core_audits_sort(struct core *c);
/* Is there a later copy of the audit record at LSN? */
bool core_audit_copied(const struct core *c, uint64_t lsn);
/* Before core_start(): from the last word about an undecided row until its next check. */
int64_t core_recovered_gap_ns(const struct core *c, const struct row *row);

/* ---- core_history.c -------------------------------------------------------------------------- */

/* A row became final: from now on it is history. */
void core_final(struct core *c, uint32_t index);
void core_forget(struct core *c, uint32_t index);
/*
 * Was the row decided within idempotency.window?  Counted so that a wall clock that jumps can only
 * make the window longer.
 */
bool core_in_window(const struct core *c, const struct row *row);
/* The same by the clocks alone, which may have done anything while we were down. */
bool core_lately(const struct core *c, const struct row *row);
/* Makes room for one more key by forgetting old history; false: none. */
bool core_keys_room(struct core *c);
/* The same for one more producer group; all of them in one turn forget so many at most. */
bool core_groups_room(struct core *c);
/* Forgets what is old enough. */
void core_trim(struct core *c);
/* core_keys_room() for a half-send: people hear of it once when there is none. */
bool core_keys_full(struct core *c);

/* ---- core_watermark.c ------------------------------------------------------------------------ */

void core_watermarks_init(struct core *c);
/* Number of the database, made when new; 0 for none. */
uint16_t core_db(struct core *c, bool has, const uint8_t id[16]);
/* The oldest transaction that is undecided, or NULL. */
const struct row *core_oldest_undecided(struct core *c);
/* Looks at who is unpublished, if what is published is marked; told once the marks are durable. */
void core_sample(struct core *c);
void core_marked(struct core *c);

/* ---- core_view.c ----------------------------------------------------------------------------- */

uint64_t core_etag(const struct core *c, const struct row *row);
void core_timeline_add(struct core *c, const struct note *n);

#endif /* CORE_INTERNAL_H */
