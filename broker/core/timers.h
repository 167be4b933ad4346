/*
 * timers.h -- which transaction is due next.
 *
 * A heap with four children a node: four bytes a transaction, and half the levels of a
 * binary one.  Order is (due, sequence), so that a run is a function of its inputs.  A row keeps
 * its position in `link`, so it can be moved or taken out without a search.  A tick looks at the
 * entries that are due and at one more; it never asks what time it is.
 */
#ifndef TIMERS_H
#define TIMERS_H

#include "core/table.h"

struct timers {
	const struct table *table;
	uint32_t *heap; /* of row indexes */
	uint32_t count;
	uint32_t cap;
	uint64_t visits; /* entries looked at by timers_pop() */
};

void timers_init(struct timers *t, const struct table *table);
void timers_done(struct timers *t);
/* The row must have a due time and be in no list. */
void timers_add(struct timers *t, uint32_t row);
void timers_del(struct timers *t, uint32_t row);
/* Takes out the first row that is due at NOW_NS; ROW_NONE when none is. */
uint32_t timers_pop(struct timers *t, int64_t now_ns);
/* When the first is due; TIME_NEVER. */
int64_t timers_next_ns(const struct timers *t);

#endif /* TIMERS_H */
