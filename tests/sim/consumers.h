/*
 * consumers.h -- those who read Kafka's log, each with a dedup table in a database of its own.
 *
 * Two of them, one for each kind of table that Escrow's headers allow: a row for each message
 * (escrow-id), and a row for each partition and journal with a table of gaps (escrow-seq).  Claim
 * and effect are one transaction; the offset is committed afterwards.  Their processes crash before
 * the commit and between it and the offset, lose a partition in the middle of a batch, and go on as
 * zombies.  However often a message is delivered, it has exactly one effect in each (I-7b).  The
 * first forgets rows below a watermark, and quarantines what is older: never applied again, never
 * passed over (I-15).
 */
#ifndef CONSUMERS_H
#define CONSUMERS_H

#include "sim/oracle.h"
#include "world/sink.h"

struct consumers;

struct consumers_knobs {
	uint32_t crash_permille;     /* of deliveries                        */
	uint32_t rebalance_permille; /* of deliveries: another process takes the partition */
	uint32_t ack_permille;	     /* of deliveries: the offset is committed behind it   */
	uint32_t forget_permille;    /* of deliveries: rows below the watermark go          */
};

struct consumers_counts {
	uint64_t delivered, applied, duplicates, late, quarantined, crashes, rebalances, zombies;
};

struct consumers *consumers_new(struct oracle *oracle, uint64_t seed);
struct consumers *consumers_free(struct consumers *c);
void consumers_set(struct consumers *c, const struct consumers_knobs *knobs);
/* A record was appended. */
void consumers_record(struct consumers *c, const struct sink_record *r, int64_t now_ns);
/* The last RECORDS of that partition are gone. */
void consumers_truncate(struct consumers *c, struct str topic, int32_t partition, int64_t records);
/*
 * The broker's word: nothing of a smaller gid is published any more.  False: it is down.  Asked
 * when rows are about to be forgotten, and held against every record that comes afterwards.
 */
typedef bool (*consumers_low_fn)(void *arg, struct gid *ret_low);
void consumers_ask(struct consumers *c, consumers_low_fn fn, void *arg);
/* One delivery, perhaps. */
void consumers_step(struct consumers *c, int64_t now_ns);
/* Everybody reads to the end, and every message must have had its effect. */
void consumers_final(struct consumers *c);
const struct consumers_counts *consumers_counts(const struct consumers *c);

#endif /* CONSUMERS_H */
