/*
 * operators.h -- people at the HTTP edge: they decide, check, resume, retry and discard.
 *
 * They come in where the HTTP edge does (core_operate() within the turn, answers through the hook)
 * and give each order a reason of its own, so that the audit trail in the journal can be held
 * against what was ordered (I-12): what was answered OK is there, durable, before the answer;
 * what is there was ordered, and only once; numbers have no gap and the chain verifies.
 */
#ifndef OPERATORS_H
#define OPERATORS_H

#include "sim/clock_sim.h"
#include "sim/disk_sim.h"
#include "sim/oracle.h"

struct operators;

struct operators *operators_new(struct oracle *oracle, struct disk_sim *disk, uint64_t seed);
struct operators *operators_free(struct operators *o);
struct schedule;
/* Who must hear of checks that were ordered. */
void operators_tell(struct operators *o, struct schedule *schedule);
/* In the next turn somebody does something to some transaction. */
void operators_act(struct operators *o, struct core *core);
/* The hooks of the loop. */
void operators_turn(struct operators *o, struct core *core, int64_t now_ns);
void operators_answer(struct operators *o, struct reply_to to, const struct answer *answer);
/* The broker died: what was not answered may have happened or not. */
void operators_crashed(struct operators *o);
/* The medium no longer has what it should: the trail cannot be read before recovery has judged. */
void operators_blind(struct operators *o);
/* Reads the journal's audit trail and holds it against the orders. */
void operators_audit(struct operators *o);

struct operators_counts {
	uint64_t orders, done, refused, audits;
	uint64_t verbs[6]; /* done, by enum verb */
};

const struct operators_counts *operators_counts(const struct operators *o);

#endif /* OPERATORS_H */
