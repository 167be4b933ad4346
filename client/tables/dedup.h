/*
 * dedup.h -- the consumer's tables: a message that comes twice is applied once.
 *
 * Two variants; which of them is a choice per consumer.
 *
 * A row for each message, by its id.  Rows are deleted below a watermark, by time:
 *
 *     escrow_dedup  (consumer, msg, seen)      msg: gid (16) and ordinal (2), big-endian, or a
 *                                              foreign id with what it is: "ce_id:...", "id:..."
 *     escrow_meta_c (consumer, low)            below the gid low nothing is remembered
 *
 * Among these rows are marks, "low:" and a gid: when they came nothing older was still to be
 * published.  So once Kafka has dropped what it had then, no copy that is older can be read.
 *
 * A row for each partition and journal, by the number that the broker gives each message of a
 * partition (contiguous, and the same whenever it publishes again):
 *
 *     escrow_hw  (consumer, topic, part, journal, first, seq)   all in (first, seq] came ...
 *     escrow_gap (consumer, topic, part, journal, n)            ... but these
 *
 * The second grows only with gaps, and needs the messages of a partition one after another; it
 * is not for compacted topics, whose gaps are normal.
 *
 * A claim is made inside the transaction that has the effect, and before the effect: then both
 * are durable or neither is.  Functions return 0 or more (enum dedup_claim) or an enum sql_result.
 */
#ifndef TABLES_DEDUP_H
#define TABLES_DEDUP_H

#include "tables/sql.h"

#define DEDUP_CONSUMER_MAX 32  /* bytes of a consumer's name */
#define DEDUP_TOPIC_MAX    249 /* as Kafka's */
#define DEDUP_MSG_MAX      255
#define DEDUP_MSG_OURS     18    /* bytes of gid and ordinal */
#define DEDUP_GAP_MAX      10000 /* numbers that may be missing at once */

enum dedup_claim {
	DEDUP_NEW = 0, /* apply it, in this transaction                                       */
	DEDUP_SEEN,    /* its effect is durable: roll back, acknowledge                       */
	DEDUP_OLD,     /* older than what is remembered: roll back; nobody knows              */
	DEDUP_BEFORE,  /* of before this consumer's first message there: the same             */
	DEDUP_GAP,     /* too many are missing before it: retention has overtaken us; stop    */
};

struct dedup_consumer {
	const void *name;
	size_t name_bytes;
};

struct dedup_seq {
	const void *topic;
	size_t topic_bytes;
	int32_t partition;
	uint8_t journal[16];
	int64_t n;  /* 1 and up */
	bool again; /* of a partition of which nothing came yet, or not nearly: DEDUP_BEFORE */
};

/* Makes the tables where they are missing.  Outside of a transaction. */
int dedup_install(struct sql *s) SQL_MUSTUSE;

/* By id.  MSG of DEDUP_MSG_OURS bytes is ours, and MS then ignored; of a foreign one MS, since
 * 1970, is when it came. */
int dedup_claim_id(struct sql *s, struct dedup_consumer consumer, const void *msg,
		   size_t msg_bytes, bool ours, int64_t ms) SQL_MUSTUSE;

/* By number. */
int dedup_claim_seq(struct sql *s, struct dedup_consumer consumer,
		    const struct dedup_seq *seq) SQL_MUSTUSE;
/* What came and is put aside, not applied: it is new when it comes again, should it be the first of
 * its partition.  Outside of a transaction. */
int dedup_meet(struct sql *s, struct dedup_consumer consumer,
	       const struct dedup_seq *seq) SQL_MUSTUSE;

/*
 * Keeps the mark OLDEST of NOW_MS (NULL: none is known now), and finds the greatest that was made
 * before BEFORE_MS: *RET_LOW, zeroes when there is none yet.  dedup_forget() deletes old ones.
 */
int dedup_mark(struct sql *s, struct dedup_consumer consumer, const uint8_t oldest[16],
	       int64_t now_ms, int64_t before_ms, uint8_t ret_low[16]) SQL_MUSTUSE;

/*
 * Raises the watermark of CONSUMER to LOW, a gid, and deletes what is below; and foreign ids
 * that came before SEEN_MS.  LOW may be a gid T only when no copy of a message begun before T
 * can still arrive.  Each thousand rows are a transaction, of which there are at most CHUNKS: then
 * DEDUP_MORE, for messages wait for this connection.  *RET_ROWS: deleted.
 */
#define DEDUP_MORE 1
int dedup_forget(struct sql *s, struct dedup_consumer consumer, const uint8_t low[16],
		 int64_t seen_ms, int chunks, int64_t *ret_rows) SQL_MUSTUSE;

#endif /* TABLES_DEDUP_H */
