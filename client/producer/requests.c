/*
 * requests.c -- requests between the queue and their end.
 *
 *      waiting --> table[opaque] --> op_finish()
 *        ^ ^          |    |
 *        | +- lost ---+    +- busy -> delayed -+
 *        +------------------------------------+
 *
 * Repeating is safe: a half-send has its key, a decision is the same decision.  What cannot be
 * known is whether an attempt that got no answer arrived: `doubt` remembers it, and the
 * end of such a request is TIMEOUT, never "nothing happened".
 */
#include "producer/inside.h"

#include <stdio.h>
#include <stdlib.h>

#define TABLE_MIN 1024u

/* ---- lists ----------------------------------------------------------------------------------- */

void
ops_add(struct ops *l, struct op *op)
{
	op->next = NULL;
	op->prev = l->tail;
	if (l->tail)
		l->tail->next = op;
	else
		l->head = op;
	l->tail = op;
	l->count++;
}

void
ops_remove(struct ops *l, struct op *op)
{
	if (op->prev)
		op->prev->next = op->next;
	else
		l->head = op->next;
	if (op->next)
		op->next->prev = op->prev;
	else
		l->tail = op->prev;
	l->count--;
}

/* ---- the table ------------------------------------------------------------------------------- */

static bool
table_grow(struct engine *e)
{
	size_t size = e->table_size ? e->table_size * 2 : TABLE_MIN;
	struct op **table = calloc(size, sizeof(*table));

	if (!table)
		return false;
	/* Places that differ below the old size differ below the new one. */
	for (size_t i = 0; i < e->table_size; i++)
		if (e->table[i])
			table[(uint32_t)e->table[i]->opaque & (size - 1)] = e->table[i];
	free(e->table);
	e->table = table;
	e->table_size = size;
	return true;
}

/* Gives it an opaque that has never been under way on this connection. */
bool
table_add(struct engine *e, struct op *op)
{
	if (e->table_count * 2 >= e->table_size && !table_grow(e))
		return false;
	do {
		e->last_opaque = e->last_opaque == INT32_MAX ? 1 : e->last_opaque + 1;
	} while (e->table[(uint32_t)e->last_opaque & (e->table_size - 1)]);
	op->opaque = e->last_opaque;
	op->under_way = true;
	e->table[(uint32_t)op->opaque & (e->table_size - 1)] = op;
	if (e->table_count++ == 0)
		e->heard_ns = e->now_ns; /* silence begins to mean something */
	return true;
}

struct op *
table_take(struct engine *e, int32_t opaque)
{
	struct op **at = &e->table[(uint32_t)opaque & (e->table_size - 1)];
	struct op *op = *at;

	if (!op || op->opaque != opaque)
		return NULL;
	*at = NULL;
	op->under_way = false;
	e->table_count--;
	return op;
}

/* ---- ends ------------------------------------------------------------------------------------ */

void
op_finish(escrow_client *c, struct op *op, escrow_status status, const char *why,
	  const struct wire_command *answer)
{
	bool counted = op->kind <= OP_WATERMARK;
	unsigned parity = op->parity;

	/* Room before, so that the callback finds it; the count after: a flush waits for it. */
	if (op->weight > 0)
		client_no_room(c, op->weight);
	op->done(op, status, why, answer);
	if (counted)
		client_complete(c, parity);
}

bool
op_put_off(struct engine *e, struct op *op)
{
	op->busy = true;
	op->backoff_ns =
		op->backoff_ns ? min_ns(op->backoff_ns * 2, 1000 * NS_PER_MS) : 20 * NS_PER_MS;
	op->again_ns = e->now_ns + op->backoff_ns;
	if (op->again_ns >= op->deadline_ns)
		return false;
	ops_add(&e->delayed, op);
	e->next_ns = min_ns(e->next_ns, op->again_ns);
	return true;
}

/* Its time is over. */
static void
expire(escrow_client *c, struct op *op)
{
	struct engine *e = &c->engine;
	char why[DETAIL_MAX];

	if (op->under_way) {
		(void)table_take(e, op->opaque); /* its answer, if it comes, is a stranger's */
		op->doubt = true;
	}
	if (op->doubt) {
		op_finish(c, op, ESCROW_E_TIMEOUT,
			  "it was sent, and no answer came until the time was over", NULL);
	} else if (op->busy) {
		op_finish(c, op, ESCROW_E_BUSY,
			  "the broker refused it for now until the time was over", NULL);
	} else {
		(void)snprintf(why, sizeof(why), "no connection until the time was over: %.400s",
			       e->why[0] ? e->why : "still connecting");
		op_finish(c, op, ESCROW_E_UNREACHABLE, why, NULL);
	}
}

static void
sweep_list(escrow_client *c, struct ops *l)
{
	struct engine *e = &c->engine;
	struct op *next;

	for (struct op *op = l->head; op; op = next) {
		next = op->next;
		if (op->deadline_ns <= e->now_ns) {
			ops_remove(l, op);
			expire(c, op);
		} else if (l == &e->delayed && op->again_ns <= e->now_ns) {
			ops_remove(l, op);
			ops_add(&e->waiting, op);
			e->next_ns = min_ns(e->next_ns, op->deadline_ns);
		} else {
			e->next_ns = min_ns(e->next_ns, op->deadline_ns);
			if (l == &e->delayed)
				e->next_ns = min_ns(e->next_ns, op->again_ns);
		}
	}
}

void
requests_sweep(escrow_client *c)
{
	struct engine *e = &c->engine;

	if (e->now_ns < e->next_ns)
		return;
	e->next_ns = TIME_NEVER;
	sweep_list(c, &e->delayed);
	sweep_list(c, &e->waiting);
	for (size_t i = 0; i < e->table_size; i++) {
		struct op *op = e->table[i];

		if (op && op->deadline_ns <= e->now_ns)
			expire(c, op);
		else if (op)
			e->next_ns = min_ns(e->next_ns, op->deadline_ns);
	}
}

static int
by_position(const void *a, const void *b)
{
	const struct op *x = *(struct op *const *)a, *y = *(struct op *const *)b;

	return x->end < y->end ? -1 : x->end > y->end;
}

void
requests_take_back(escrow_client *c)
{
	struct engine *e = &c->engine;
	struct ops later = e->waiting;
	size_t n = 0;

	/* The table's own memory holds the list to be sorted. */
	for (size_t i = 0; i < e->table_size; i++) {
		struct op *op = e->table[i];

		e->table[i] = NULL;
		if (op)
			e->table[n++] = op;
	}
	if (n > 0)
		qsort(e->table, n, sizeof(struct op *), by_position);
	e->waiting = (struct ops){ NULL, NULL, 0 };
	for (size_t i = 0; i < n; i++) {
		struct op *op = e->table[i];

		e->table[i] = NULL;
		op->under_way = false;
		op->doubt |= op->end <= e->taken;
		if (op->kind == OP_HELLO || op->kind == OP_HEARTBEAT) {
			op->done(op, ESCROW_E_UNREACHABLE, e->link.why, NULL);
			continue;
		}
		if (op->doubt)
			atomic_fetch_add_explicit(&c->stats.repeats, 1, memory_order_relaxed);
		ops_add(&e->waiting, op);
	}
	e->table_count = 0;
	while (later.head) {
		struct op *op = later.head;

		ops_remove(&later, op);
		ops_add(&e->waiting, op);
	}
}

void
requests_fail(escrow_client *c, escrow_status status, const char *why)
{
	struct ops *lists[] = { &c->engine.delayed, &c->engine.waiting };

	for (size_t i = 0; i < 2; i++) {
		while (lists[i]->head) {
			struct op *op = lists[i]->head;

			ops_remove(lists[i], op);
			if (op->doubt)
				op_finish(c, op, ESCROW_E_TIMEOUT, why, NULL);
			else
				op_finish(c, op, status, why, NULL);
		}
	}
}
