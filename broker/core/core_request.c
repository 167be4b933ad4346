/*
 * core_request.c -- requests: kept until the turn decides them, and copied when they must wait.
 *
 * The hot path copies no body and allocates nothing: a half-send borrows its bytes until
 * core_decide() returns, and the little that an END needs goes into an arena that is emptied
 * each turn.  Only a request that outlives its turn is copied whole, into one block that is
 * counted against deferred_bytes.
 */
#include "core/core_internal.h"

struct arena_block {
	struct arena_block *next;
	size_t used;
	_Alignas(16) char bytes[];
};

/* ---- requests of this turn ------------------------------------------------------------------- */

#define ARENA_BLOCK (64u << 10) /* more than any one thing */

_Static_assert(LIMIT_MESSAGES * sizeof(struct message) <= ARENA_BLOCK,
	       "the messages of a half-send fit one block");

/* N bytes until the end of core_decide(), which resets it. */
static void *
arena_take(struct core *c, size_t n)
{
	struct arena *a = &c->arena;

	n = (n + 15) & ~(size_t)15;
	CHECK(n <= ARENA_BLOCK, n);
	if (a->now && ARENA_BLOCK - a->now->used < n && a->now->next)
		a->now = a->now->next;
	if (!a->now || ARENA_BLOCK - a->now->used < n) {
		struct arena_block *b = mem_grow(NULL, sizeof(*b) + ARENA_BLOCK);

		b->next = NULL;
		b->used = 0;
		if (a->now)
			a->now->next = b;
		else
			a->first = b;
		a->now = b;
	}
	a->now->used += n;
	return a->now->bytes + a->now->used - n;
}

void
core_arena_done(struct core *c)
{
	for (struct arena_block *b = c->arena.first, *next; b; b = next) {
		next = b->next;
		mem_free(b);
	}
	c->arena = (struct arena){ NULL, NULL };
}

/* Keeps the blocks for the next turn. */
void
core_arena_reset(struct core *c)
{
	for (struct arena_block *b = c->arena.first; b; b = b->next)
		b->used = 0;
	c->arena.now = c->arena.first;
}

static struct str
arena_str(struct core *c, struct str s, size_t max)
{
	char *p;

	if (s.n > max)
		s.n = max;
	if (s.n == 0)
		return s.p ? STR("") : STR_NONE;
	p = arena_take(c, s.n);
	memcpy(p, s.p, s.n);
	return str_from(p, s.n);
}

static struct request *
request_new(struct requests *q, enum request_kind kind)
{
	struct request *r;

	if (q->count == q->cap) {
		q->cap = q->cap ? q->cap * 2 : 256;
		q->items = mem_grow(q->items, q->cap * sizeof(*q->items));
	}
	r = &q->items[q->count++];
	r->kind = kind;
	return r;
}

void
core_half_send(struct core *c, const struct half_request *r)
{
	struct half_request *copy = &request_new(&c->halves, REQUEST_HALF)->half;
	size_t size = r->half.count * sizeof(struct message);

	*copy = *r;
	copy->key_hash = core_key_hash(c, r->half.group, r->half.key);
	table_prefetch_key(&c->table, copy->key_hash);
	if (r->half.count <= LIMIT_MESSAGES) {
		struct message *messages = arena_take(c, size);

		memcpy(messages, r->half.messages, size);
		copy->half.messages = messages;
	}
}

void
core_end(struct core *c, const struct end_request *r)
{
	struct end_request *copy = &request_new(&c->ends, REQUEST_END)->end;

	*copy = *r;
	table_prefetch_row(&c->table, r->seq);
	/* One byte more than is allowed stays too long to match. */
	copy->group = arena_str(c, r->group, LIMIT_GROUP_BYTES + 1);
	copy->remark = arena_str(c, r->remark, LIMIT_REASON_BYTES);
	copy->from = arena_str(c, r->from, LIMIT_WHO_BYTES);
}

void
core_operate(struct core *c, const struct operation *op)
{
	struct operation *copy = &request_new(&c->ends, REQUEST_OPERATION)->operation;

	*copy = *op;
	copy->who = arena_str(c, op->who, LIMIT_WHO_BYTES);
	copy->reason = arena_str(c, op->reason, LIMIT_REASON_BYTES + 1);
}

void
core_route(struct core *c, struct reply_to to, struct str topic)
{
	struct request *r = request_new(&c->ends, REQUEST_ROUTE);

	r->route = (struct route_request){ to, arena_str(c, topic, LIMIT_TOPIC_BYTES + 1) };
}

/* ---- requests that wait ---------------------------------------------------------------------- */

/* Copies strings behind each other; with AT NULL it only counts. */
struct copier {
	char *at;
	size_t n;
};

static void
copy_str(struct copier *k, struct str *s)
{
	if (k->at && s->n) {
		memcpy(k->at + k->n, s->p, s->n);
		s->p = k->at + k->n;
	} else if (k->at && s->p) {
		s->p = "";
	}
	k->n += s->n;
}

static void
copy_half(struct copier *k, struct half *h, struct message *messages)
{
	copy_str(k, &h->group);
	copy_str(k, &h->key);
	copy_str(k, &h->from);
	copy_str(k, &h->edge);
	for (uint32_t i = 0; i < h->count; i++) {
		struct message m = h->messages[i];

		copy_str(k, &m.topic);
		copy_str(k, &m.key);
		copy_str(k, &m.value);
		copy_str(k, &m.headers.bytes);
		if (messages)
			messages[i] = m;
	}
	if (messages)
		h->messages = messages;
}

static void
copy_request(struct copier *k, struct request *r, struct message *messages)
{
	switch (r->kind) {
	case REQUEST_HALF:
		copy_half(k, &r->half.half, messages);
		return;
	case REQUEST_END:
		copy_str(k, &r->end.group);
		copy_str(k, &r->end.remark);
		copy_str(k, &r->end.from);
		return;
	case REQUEST_OPERATION:
		copy_str(k, &r->operation.who);
		copy_str(k, &r->operation.reason);
		return;
	case REQUEST_ROUTE:
		copy_str(k, &r->route.topic);
		return;
	}
}

static struct deferred *
deferred_new(struct core *c, const struct request *r)
{
	struct request dry = *r;
	struct copier k = { NULL, 0 };
	size_t messages = r->kind == REQUEST_HALF ? r->half.half.count * sizeof(struct message) : 0;
	size_t bytes;
	struct deferred *d;

	copy_request(&k, &dry, NULL);
	bytes = sizeof(*d) + messages + k.n;
	if (c->deferred_bytes + bytes > c->conf.deferred_bytes)
		return NULL;
	d = mem_try(bytes);
	if (!d)
		return NULL;
	*d = (struct deferred){ .bytes = bytes, .request = *r };
	list_init(&d->node);
	k = (struct copier){ (char *)(d + 1) + messages, 0 };
	copy_request(&k, &d->request, messages ? (struct message *)(void *)(d + 1) : NULL);
	c->deferred_bytes += bytes;
	c->deferred_count++;
	return d;
}

void
core_undefer(struct core *c, struct deferred *d)
{
	c->deferred_bytes -= d->bytes;
	c->deferred_count--;
	mem_free(d);
}

static void
deferred_link(struct core *c, struct deferred *d, struct wait wait)
{
	switch (wait.kind) {
	case WAIT_ROW:
		d->seq = wait.seq;
		row_set(core_row(c, table_find(&c->table, wait.seq)), ROW_WAITED);
		list_add_tail(&c->waiting[hash_u64(wait.seq) % WAIT_BUCKETS], &d->node);
		return;
	case WAIT_TOPIC:
		if (core_topic_join(c, wait.topic, d))
			return;
		core_busy(c, &d->request, ANSWER_BUSY, "too many unknown topics at one time");
		core_undefer(c, d);
		return;
	case WAIT_NOT:
		list_add_tail(&c->overflow, &d->node);
		return;
	}
}

void
core_defer(struct core *c, const struct request *r, struct wait wait)
{
	struct deferred *d = deferred_new(c, r);

	if (d)
		deferred_link(c, d, wait);
	else
		core_busy(c, r, ANSWER_BUSY, "too many requests wait");
}

void
core_wake(struct core *c, struct list *waiting)
{
	LIST_EACH (node, waiting) {
		list_del(node);
		list_add_tail(&c->woken, node);
	}
}

struct wait
core_handle(struct core *c, struct request *r)
{
	switch (r->kind) {
	case REQUEST_HALF:
		return core_do_half(c, &r->half);
	case REQUEST_END:
		return core_do_end(c, &r->end);
	case REQUEST_OPERATION:
		return core_do_operation(c, &r->operation);
	case REQUEST_ROUTE:
		return core_do_route(c, &r->route);
	}
	check_failed("a kind of enum request_kind", __FILE__, __LINE__, (uint64_t)r->kind);
}

void
core_handle_deferred(struct core *c, struct list *waiting, uint64_t *budget)
{
	while (!list_empty(waiting) && *budget > 0) {
		struct deferred *d = LIST_ENTRY(waiting->next, struct deferred, node);
		struct wait wait;

		list_del(&d->node);
		d->seq = 0;
		if (d->request.kind == REQUEST_HALF)
			*budget -= min_u64(*budget, d->bytes);
		wait = core_handle(c, &d->request);
		if (wait.kind == WAIT_NOT)
			core_undefer(c, d);
		else
			deferred_link(c, d, wait);
	}
}
