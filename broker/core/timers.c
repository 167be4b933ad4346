/*
 * timers.c -- the heap.  Children of i are 4i+1 .. 4i+4, its parent is (i-1)/4.
 */
#include "core/timers.h"

#include "base/canary.h"

#define WIDTH 4u

void
timers_init(struct timers *t, const struct table *table)
{
	*t = (struct timers){ .table = table };
}

void
timers_done(struct timers *t)
{
	mem_free(t->heap);
	*t = (struct timers){ 0 };
}

static bool
sooner(const struct timers *t, uint32_t a, uint32_t b)
{
	const struct txn *x = &table_row(t->table, a)->txn;
	const struct txn *y = &table_row(t->table, b)->txn;

	return x->due_ns != y->due_ns ? x->due_ns < y->due_ns : x->seq < y->seq;
}

static void
put(struct timers *t, uint32_t at, uint32_t row)
{
	t->heap[at] = row;
	table_row(t->table, row)->link = at;
}

static void
up(struct timers *t, uint32_t at, uint32_t row)
{
	while (at > 0) {
		uint32_t parent = (at - 1) / WIDTH;

		if (!sooner(t, row, t->heap[parent]))
			break;
		put(t, at, t->heap[parent]);
		at = parent;
	}
	put(t, at, row);
}

static void
down(struct timers *t, uint32_t at, uint32_t row)
{
	for (;;) {
		uint64_t first = (uint64_t)at * WIDTH + 1;
		uint32_t best;

		if (first >= t->count)
			break;
		best = (uint32_t)first;
		for (uint64_t i = first + 1; i < first + WIDTH && i < t->count; i++)
			if (sooner(t, t->heap[i], t->heap[best]))
				best = (uint32_t)i;
		if (!sooner(t, t->heap[best], row))
			break;
		put(t, at, t->heap[best]);
		at = best;
	}
	put(t, at, row);
}

void
timers_add(struct timers *t, uint32_t row)
{
	CHECK(table_row(t->table, row)->txn.due_ns != 0, row);
	if (t->count == t->cap) {
		t->cap = t->cap ? t->cap + t->cap / 2 : 1024;
		t->heap = mem_grow(t->heap, t->cap * sizeof(*t->heap));
	}
	t->count++;
	up(t, t->count - 1, row);
}

void
timers_del(struct timers *t, uint32_t row)
{
	uint32_t at = table_row(t->table, row)->link;
	uint32_t last;

	CHECK(at < t->count && t->heap[at] == row, row);
	last = t->heap[--t->count];
	table_row(t->table, row)->link = ROW_NONE;
	if (last == row)
		return;
	if (at > 0 && sooner(t, last, t->heap[(at - 1) / WIDTH]))
		up(t, at, last);
	else
		down(t, at, last);
}

uint32_t
timers_pop(struct timers *t, int64_t now_ns)
{
	uint32_t row;

	if (t->count == 0)
		return ROW_NONE;
	t->visits++;
	row = t->heap[0];
	if (table_row(t->table, row)->txn.due_ns > now_ns - (CANARY(IMMUNITY_BOUNDARY) ? 1 : 0))
		return ROW_NONE;
	timers_del(t, row);
	return row;
}

int64_t
timers_next_ns(const struct timers *t)
{
	return t->count ? table_row(t->table, t->heap[0])->txn.due_ns : TIME_NEVER;
}
