/*
 * entry.h -- what the core asks the journal to remember, one struct an entry.
 *
 * The core speaks in entries; journal/record.h turns them into bytes and back
 * (JOURNAL.md has the bytes).  All strings are borrowed: on the way in until append
 * returns, on the way out until the callback that hands them over returns.
 *
 * "Lazy" entries are written with the next group and waited for by nobody; a crash
 * may lose them and only repeats work.
 */
#ifndef ENTRY_H
#define ENTRY_H

#include "core/message.h"
#include "core/txn.h"

/* Where an entry lies in the journal: LSN of its first byte, and its length there. */
struct place {
	uint64_t lsn;
	uint32_t len;
};

enum entry_type {		/* stored: append, never renumber                        */
	ENTRY_STATE = 1,	/* opens a segment: what must outlive recycling          */
	ENTRY_HALF = 2,		/* a half-send                                           */
	ENTRY_DECISION = 3,	/* commit or rollback, with the n of every message        */
	ENTRY_GENERATION = 4,	/* a repeated half-send                                  */
	ENTRY_CHECKS = 5,	/* lazy: how many checks were delivered; perhaps parked   */
	ENTRY_RESUMED = 6,	/* an operator: asked at full pace again                 */
	ENTRY_PUBLISHED = 7,	/* lazy: a lane's watermark and exceptions               */
	ENTRY_REFUSED = 8,	/* Kafka refuses one message for good                    */
	ENTRY_RETRIED = 9,	/* an operator: refused messages go to their lanes again  */
	ENTRY_DISCARDED = 10,	/* an operator gave it up                                */
	ENTRY_TOPIC = 11,	/* a topic of the catalogue is new or has changed         */
	ENTRY_STUB = 12,	/* copied forward: decided and no longer owed, key only   */
	ENTRY_COPY = 13,	/* copied forward: a half with its whole state; a plain send */
	ENTRY_AUDIT = 14,	/* what an operator did, and why                         */
	ENTRY_OLDEST = 15,	/* the journal's own: the oldest segment is now this one  */
	ENTRY_CLUSTER = 16,	/* the Kafka cluster that this journal belongs to         */
};

/* Who decided.  Stored: append, never renumber. */
enum origin { ORIGIN_CLIENT = 1, ORIGIN_CHECK = 2, ORIGIN_OPERATOR = 3, ORIGIN_PLAIN = 4 };

/*
 * What became of one message of a decided transaction.  Stored: append, never renumber.
 *
 * RETRIED is owed again after a refusal.  The watermark of its lane has passed its n
 * by then and says nothing about it: only its n in done[] of an ENTRY_PUBLISHED does.
 */
enum part_state { PART_OWED = 0, PART_PUBLISHED = 1, PART_REFUSED = 2, PART_RETRIED = 3 };

/* One message of a committed transaction: where it goes, as what number, how far it is. */
struct part {
	uint32_t topic;	      /* number of the topic in the catalogue                    */
	int32_t partition;
	uint64_t n;	      /* escrow-seq of journal and partition, from 1; 0: not committed  */
	enum part_state state;
	int32_t code;	      /* Kafka's, when REFUSED or RETRIED; else 0                 */
};

struct decision {
	enum txn_state state; /* TXN_COMMITTED or TXN_ROLLED_BACK                        */
	enum origin origin;
	uint64_t ms;	      /* our wall clock: the Kafka timestamp                     */
	struct str who;	      /* "ip:port" or an operator's name                         */
};

struct entry_half {
	struct half half;	   /* its messages' partitions are fixed                  */
	const uint32_t *topics;	   /* catalogue number of each message's topic            */
};

struct entry_decision {
	uint64_t seq;
	struct decision decision;
	uint32_t count;		   /* commit: as many as messages; rollback: 0            */
	const uint64_t *n;
	uint32_t messages;	   /* of the transaction; not stored, and 0 when read      */
};

struct entry_generation {
	uint64_t seq;
	uint8_t generation;
	uint64_t ms;		   /* immunity starts anew                               */
};

struct entry_checks {
	uint64_t seq;
	uint32_t checks;
	uint64_t ms;		   /* when the last of them was written                  */
	bool parked;
};

struct entry_resumed {
	uint64_t seq;
	uint64_t ms;
};

/*
 * Of (topic, partition): every n < low is published or refused; each of done[] is published.
 * low 0 claims nothing: such an entry carries the n of retried messages (PART_RETRIED).
 */
struct entry_published {
	uint32_t topic;
	int32_t partition;
	uint64_t low;
	uint32_t done_count;
	const uint64_t *done;	   /* ascending, all >= low                              */
};

struct entry_refused {
	uint64_t seq;
	uint32_t index;		   /* which message                                      */
	int32_t code;		   /* Kafka's error code                                 */
	uint64_t ms;
};

struct entry_retried {
	uint64_t seq;
	uint64_t ms;
};

struct entry_discarded {
	uint64_t seq;
	uint64_t ms;
};

struct entry_topic {
	uint32_t number;	   /* from 0, never reused                               */
	struct str name;
	int32_t partitions;	   /* 0: the topic is gone                               */
	uint32_t max_bytes;	   /* the topic's max.message.bytes; 0: not known        */
};

struct entry_stub {
	struct gid gid;
	uint64_t check;
	uint8_t generation;
	enum txn_state state;
	struct decision decision;
	uint64_t arrived_ms;
	struct str group;
	struct str key;		   /* empty: only the hash is known                      */
	uint64_t key_hash;	   /* hash_key2 of group and key under the journal's secret */
	struct hash128 body_hash;
};

struct entry_copy {
	struct half half;
	const uint32_t *topics;
	enum txn_state state;
	uint8_t generation;
	uint32_t checks;
	uint64_t since_ms;	   /* of the last half-send, resume or check: due times   */
	struct decision decision;  /* state 0 when undecided                             */
	const struct part *parts;  /* when decided COMMITTED: half.count of them, else NULL */
};

struct entry_audit {
	struct gid gid;		   /* zero when not about one transaction                 */
	uint64_t ms;
	uint64_t number;	   /* 1, 2, 3, ... without gaps                          */
	struct str verb;	   /* "commit", "rollback", "check", ...                  */
	struct str who;
	struct str reason;
	struct str outcome;
	uint8_t chain[16];	   /* hash over this record and the chain before it       */
};

struct entry_oldest {
	uint64_t segment;
};

struct entry_cluster {
	struct str id;
};

/* One (topic, partition) of the catalogue: the n that the next committed message gets. */
struct lane_state {
	uint32_t topic;
	int32_t partition;
	uint64_t next_n;
	uint64_t low;		   /* published or refused below it, durable or not       */
};

struct entry_state {
	uint8_t journal_id[16];
	uint64_t secret[2];	   /* of hash_key                                        */
	uint16_t shard;
	uint64_t oldest_segment;   /* the journal's own                                  */
	uint64_t segment_bytes;	   /* the journal's own                                  */
	uint64_t opened_ms;	   /* the journal's own: wall clock                       */
	uint64_t previous_end;	   /* the journal's own: LSN where the segment before ends */
	uint64_t next_seq;
	uint64_t last_ms;
	uint64_t audit_number;
	uint8_t audit_chain[16];
	struct str cluster;	   /* Kafka's cluster id; empty: never seen              */
	uint32_t topic_count;
	const struct entry_topic *topics;
	uint32_t lane_count;
	const struct lane_state *lanes;
};

struct entry {
	enum entry_type type;
	union {
		struct entry_state state;
		struct entry_half half;
		struct entry_decision decision;
		struct entry_generation generation;
		struct entry_checks checks;
		struct entry_resumed resumed;
		struct entry_published published;
		struct entry_refused refused;
		struct entry_retried retried;
		struct entry_discarded discarded;
		struct entry_topic topic;
		struct entry_stub stub;
		struct entry_copy copy;
		struct entry_audit audit;
		struct entry_oldest oldest;
		struct entry_cluster cluster;
	};
};

#endif /* ENTRY_H */
