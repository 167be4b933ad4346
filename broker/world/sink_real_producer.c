/*
 * sink_real_producer.c -- one handle of librdkafka, and the thread that works it.
 *
 *   1. take all that the loop has given, produce it in that order;
 *   2. take what librdkafka has to say: reports go to the loop in batches, the rest as notes;
 *   3. with nothing to produce, sleep in librdkafka's queue; the loop's next message yields it.
 *
 * A message's bytes are copied once, by the loop, and librdkafka reads them where they lie: a chunk
 * is given back when all of its messages were reported.  The thread ends with its handle, which it
 * destroys itself: that may block for as long as a broker does not answer.
 */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "world/sink_real.h"

#define CHUNK_BYTES (256u << 10)
#define SPARES      32
#define SLEEP_MS    1000 /* at most: a yield ends it */
#define STUCK_MS    10   /* librdkafka's queue is full: until it is looked at again */

/* ---- from the loop --------------------------------------------------------------------------- */

static size_t
aligned(size_t n)
{
	return (n + 15) & ~(size_t)15;
}

/* Nobody needs C any more.  Under h->lock. */
static void
chunk_free(struct sink_handle *h, struct sink_chunk *c)
{
	list_del(&c->node);
	if (c->cap == CHUNK_BYTES && h->spare_count < SPARES) {
		list_add_tail(&h->spares, &c->node);
		h->spare_count++;
		return;
	}
	mem_free(c);
}

static struct sink_chunk *
chunk_take(struct sink_handle *h, size_t need)
{
	size_t cap = need > CHUNK_BYTES ? need : CHUNK_BYTES;
	struct sink_chunk *c;

	if (cap == CHUNK_BYTES && h->spare_count) { /* the one that was used last */
		c = LIST_ENTRY(h->spares.prev, struct sink_chunk, node);
		list_del(&c->node);
		h->spare_count--;
	} else {
		c = mem_alloc(sizeof(*c) + cap);
		c->cap = cap;
	}
	c->used = 0;
	c->count = c->reported = 0;
	return c;
}

/* NEED bytes in the open chunk, or in a new one. */
static struct sink_message *
room(struct sink_handle *h, size_t need)
{
	struct sink_chunk *c = h->open;
	struct sink_message *m;

	if (!c || c->cap - c->used < need) {
		pthread_mutex_lock(&h->lock);
		h->open = chunk_take(h, need);
		list_add_tail(&h->chunks, &h->open->node);
		if (c && c->reported == c->count)
			chunk_free(h, c);
		pthread_mutex_unlock(&h->lock);
		c = h->open;
	}
	m = (struct sink_message *)(void *)(c->bytes + c->used);
	m->chunk = c;
	c->used += need;
	c->count++;
	return m;
}

static struct str
copied(char **at, struct str s)
{
	char *p = *at;

	if (!s.p)
		return STR_NONE;
	memcpy(p, s.p, s.n);
	*at += s.n;
	return str_from(p, s.n);
}

void
sink_handle_give(struct sink_handle *h, rd_kafka_topic_t *rkt, const struct sink_record *r,
		 uint64_t token, size_t bytes)
{
	size_t fixed = sizeof(struct sink_message) + r->header_count * sizeof(*r->headers);
	struct sink_message *m = room(h, aligned(fixed + bytes));
	struct sink_messages *q = &h->held;
	char *at = (char *)m + fixed;

	m->token = token;
	m->rkt = rkt;
	m->timestamp_ms = r->timestamp_ms;
	m->bytes = bytes;
	m->partition = r->partition;
	m->header_count = r->header_count;
	m->key = copied(&at, r->key);
	m->value = copied(&at, r->value);
	for (uint32_t i = 0; i < r->header_count; i++) {
		m->headers[i].name = copied(&at, r->headers[i].name);
		m->headers[i].value = copied(&at, r->headers[i].value);
	}
	if (q->count == q->cap) {
		q->cap = q->cap ? q->cap * 2 : 1024;
		q->items = mem_grow(q->items, q->cap * sizeof(struct sink_message *));
	}
	q->items[q->count++] = m;
}

void
sink_handle_flush(struct sink_handle *h)
{
	struct sink_messages *q = &h->given, swap;
	bool asleep;

	if (!h->held.count)
		return;
	pthread_mutex_lock(&h->lock);
	if (!q->count) {
		swap = *q;
		*q = h->held;
		h->held = swap;
	} else {
		if (q->cap - q->count < h->held.count) {
			q->cap = 2 * (q->count + h->held.count);
			q->items = mem_grow(q->items, q->cap * sizeof(struct sink_message *));
		}
		memcpy(q->items + q->count, h->held.items,
		       h->held.count * sizeof(struct sink_message *));
		q->count += h->held.count;
		h->held.count = 0;
	}
	asleep = h->asleep;
	h->asleep = false;
	pthread_mutex_unlock(&h->lock);
	if (asleep)
		rd_kafka_queue_yield(h->queue);
}

void
sink_handle_take(struct sink_handle *h, struct sink_reports *reports)
{
	struct sink_reports empty = *reports;

	empty.count = 0;
	pthread_mutex_lock(&h->lock);
	*reports = h->told;
	h->told = empty;
	pthread_mutex_unlock(&h->lock);
}

/* ---- reports --------------------------------------------------------------------------------- */

static void
report(struct sink_handle *h, struct sink_message *m, int64_t offset, rd_kafka_resp_err_t err)
{
	struct sink_reports *b = &h->batch;

	if (b->count == b->cap) {
		b->cap = b->cap ? b->cap * 2 : 1024;
		b->items = mem_grow(b->items, b->cap * sizeof(*b->items));
		h->reported = mem_grow(h->reported, b->cap * sizeof(struct sink_message *));
	}
	h->reported[b->count] = m;
	b->items[b->count++] = (struct sink_report){ m->token, offset, m->bytes, err };
}

/* What was reported goes to the loop, its memory back. */
static void
tell(struct sink_handle *h)
{
	struct sink_reports *b = &h->batch, *t = &h->told;
	bool first;

	if (!b->count)
		return;
	pthread_mutex_lock(&h->lock);
	first = t->count == 0;
	if (t->cap - t->count < b->count) {
		t->cap = t->cap * 2 > t->count + b->count ? t->cap * 2 : t->count + b->count;
		t->items = mem_grow(t->items, t->cap * sizeof(*t->items));
	}
	memcpy(t->items + t->count, b->items, b->count * sizeof(*b->items));
	t->count += b->count;
	for (size_t i = 0; i < b->count; i++) {
		struct sink_chunk *c = h->reported[i]->chunk;

		c->reported++;
		/* The count of one that is not open no longer changes. */
		if (c != h->open && c->reported == c->count)
			chunk_free(h, c);
	}
	pthread_mutex_unlock(&h->lock);
	b->count = 0;
	if (first)
		sink_wake(h->sink);
}

/* ---- producing ------------------------------------------------------------------------------- */

static rd_kafka_headers_t *
headers_of(const struct sink_message *m)
{
	rd_kafka_headers_t *headers;

	if (!m->header_count)
		return NULL;
	headers = rd_kafka_headers_new(m->header_count);
	for (uint32_t i = 0; i < m->header_count; i++)
		rd_kafka_header_add(headers, m->headers[i].name.p, (ssize_t)m->headers[i].name.n,
				    m->headers[i].value.p, (ssize_t)m->headers[i].value.n);
	return headers;
}

static rd_kafka_resp_err_t
produce(struct sink_handle *h, struct sink_message *m)
{
	rd_kafka_headers_t *headers = headers_of(m);
	rd_kafka_resp_err_t err;

	/* librdkafka takes a pointer to non-const and, without F_FREE, does not write to it. */
	err = rd_kafka_producev(h->rk, RD_KAFKA_V_RKT(m->rkt), RD_KAFKA_V_PARTITION(m->partition),
				RD_KAFKA_V_MSGFLAGS(0),
				RD_KAFKA_V_VALUE((void *)(uintptr_t)m->value.p, m->value.n),
				RD_KAFKA_V_KEY((const void *)m->key.p, m->key.n),
				RD_KAFKA_V_TIMESTAMP((int64_t)m->timestamp_ms),
				RD_KAFKA_V_OPAQUE(m), RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
	if (err && headers)
		rd_kafka_headers_destroy(headers);
	return err;
}

/* Produces what was given.  A refusal on the spot is a report like any other. */
static void
produce_all(struct sink_handle *h)
{
	h->stuck = false;
	pthread_mutex_lock(&h->gate);
	while (!h->dead && h->work_at < h->work.count) {
		struct sink_message *m = h->work.items[h->work_at];
		rd_kafka_resp_err_t err = produce(h, m);

		/* With nothing under way it cannot drain: this one is larger than the queue. */
		if (err == RD_KAFKA_RESP_ERR__QUEUE_FULL && h->flying) {
			h->stuck = true;
			break;
		}
		if (err)
			report(h, m, -1, err);
		else
			h->flying++;
		h->work_at++;
	}
	pthread_mutex_unlock(&h->gate);
	tell(h);
}

/* False: the handle is dead. */
static bool
take_work(struct sink_handle *h)
{
	bool dead;

	if (h->work_at == h->work.count) {
		struct sink_messages empty = h->work;

		empty.count = 0;
		h->work_at = 0;
		pthread_mutex_lock(&h->lock);
		h->work = h->given;
		h->given = empty;
		h->asleep = h->work.count == 0;
		pthread_mutex_unlock(&h->lock);
	}
	pthread_mutex_lock(&h->gate);
	dead = h->dead;
	pthread_mutex_unlock(&h->gate);
	return !dead;
}

/* ---- what librdkafka says -------------------------------------------------------------------- */

static void
note(struct sink_handle *h, enum sink_event_kind kind, int32_t code, const char *before,
     const char *text)
{
	char sentence[1024];

	snprintf(sentence, sizeof(sentence), "%s: %s", before, text);
	sink_note_push(h->sink, h->number,
		       &(struct sink_event){
			       .kind = kind, .code = code, .text = str_of(sentence) });
}

static void
on_reports(struct sink_handle *h, rd_kafka_event_t *e)
{
	const rd_kafka_message_t *k;

	while ((k = rd_kafka_event_message_next(e))) {
		report(h, k->_private, k->offset, k->err);
		h->flying--;
	}
	tell(h);
}

static void
on_error(struct sink_handle *h, rd_kafka_event_t *e)
{
	rd_kafka_resp_err_t err = rd_kafka_event_error(e);
	char why[512];

	/* 2.0.2 sends a fatal error under its own code; the handle knows that it was fatal. */
	if (rd_kafka_fatal_error(h->rk, why, sizeof(why))) {
		if (h->fatal)
			return;
		h->fatal = true;
		err = rd_kafka_fatal_error(h->rk, why, sizeof(why));
		note(h, SINK_FATAL, err, rd_kafka_err2name(err), why);
	} else if (err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
		sink_note_push(h->sink, h->number,
			       &(struct sink_event){
				       .kind = SINK_DOWN,
				       .code = err,
				       .text = str_of(rd_kafka_event_error_string(e)) });
	} else { /* logged by it too */
		note(h, SINK_LOG, 7, rd_kafka_err2name(err), rd_kafka_event_error_string(e));
	}
}

static void
on_log(struct sink_handle *h, rd_kafka_event_t *e)
{
	const char *fac, *text;
	int level;

	if (rd_kafka_event_log(e, &fac, &text, &level))
		return;
	/* Known and wanted; it would be said with every handle. */
	if (strcmp(fac, "CONFWARN") == 0 && strstr(text, "enable.gapless.guarantee"))
		return;
	/* SINK_FATAL says it; here it is only what the relay deals with every day. */
	if (strcmp(fac, "FATAL") == 0)
		level = 5;
	note(h, SINK_LOG, level, fac, text);
}

static void
on_event(struct sink_handle *h, rd_kafka_event_t *e)
{
	switch (rd_kafka_event_type(e)) {
	case RD_KAFKA_EVENT_DR:
		on_reports(h, e);
		break;
	case RD_KAFKA_EVENT_ERROR:
		on_error(h, e);
		break;
	case RD_KAFKA_EVENT_LOG:
		on_log(h, e);
		break;
	case RD_KAFKA_EVENT_STATS:
		sink_note_push(h->sink, h->number,
			       &(struct sink_event){ .kind = SINK_STATS,
						     .text = str_of(rd_kafka_event_stats(e)) });
		break;
	default: /* librdkafka's own list, which grows; not enabled, so not sent */
		break;
	}
	rd_kafka_event_destroy(e);
}

/* ---- life ------------------------------------------------------------------------------------ */

/* Frees what does not need librdkafka. */
static void
handle_free(struct sink_handle *h)
{
	for (uint32_t i = 0; i < h->lane_count; i++)
		mem_free(h->lanes[i].name);
	LIST_EACH (node, &h->chunks)
		mem_free(LIST_ENTRY(node, struct sink_chunk, node));
	LIST_EACH (node, &h->spares)
		mem_free(LIST_ENTRY(node, struct sink_chunk, node));
	mem_free(h->lanes);
	map_done(&h->lane_map);
	mem_free(h->held.items);
	mem_free(h->given.items);
	mem_free(h->work.items);
	mem_free(h->told.items);
	mem_free(h->batch.items);
	mem_free(h->reported);
	pthread_mutex_destroy(&h->lock);
	pthread_mutex_destroy(&h->gate);
	mem_free(h);
}

/* Once the scout has let go, everything of the handle, then the handle; it may block for long. */
static void
destroy(struct sink_handle *h)
{
	struct sink_real *s = h->sink;

	pthread_mutex_lock(&s->lock);
	while (h->borrowed)
		pthread_cond_wait(&s->changed, &s->lock);
	pthread_mutex_unlock(&s->lock);
	for (uint32_t i = 0; i < h->lane_count; i++)
		rd_kafka_topic_destroy(h->lanes[i].rkt);
	rd_kafka_queue_destroy(h->queue);
	rd_kafka_destroy(h->rk); /* from here on nothing reads the chunks */
	handle_free(h);
	pthread_mutex_lock(&s->lock);
	s->dying--;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

static void *
producer_main(void *arg)
{
	struct sink_handle *h = arg;

	while (take_work(h)) {
		int patience_ms = SLEEP_MS;
		rd_kafka_event_t *e;

		if (h->work.count) {
			produce_all(h);
			patience_ms = h->stuck ? STUCK_MS : 0;
		}
		while ((e = rd_kafka_queue_poll(h->queue, patience_ms))) {
			on_event(h, e);
			patience_ms = 0;
		}
	}
	destroy(h);
	return NULL;
}

void
sink_handle_bury(struct sink_handle *h)
{
	struct sink_real *s = h->sink;

	pthread_mutex_lock(&s->lock);
	s->dying++;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	pthread_mutex_lock(&h->gate);
	h->dead = true;
	rd_kafka_purge(h->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT |
				      RD_KAFKA_PURGE_F_NON_BLOCKING);
	rd_kafka_queue_yield(h->queue);
	pthread_mutex_unlock(&h->gate);
}

static uint64_t
lane_hash(const void *arg, uint32_t index)
{
	const struct sink_handle *h = arg;

	return hash_key(h->sink->secret, h->lanes[index].name, h->lanes[index].name_len);
}

int
sink_handle_new(struct sink_real *s, char *ret_why, size_t why_size,
		struct sink_handle **ret_handle)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_dup(s->conf);
	struct sink_handle *h;
	pthread_attr_t attr;
	pthread_t thread;
	rd_kafka_t *rk;
	int err;

	rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, ret_why, why_size);
	if (!rk) {
		rd_kafka_conf_destroy(conf);
		return ERR_KAFKA;
	}
	h = mem_alloc(sizeof(*h));
	h->sink = s;
	h->number = ++s->handles;
	h->rk = rk;
	h->queue = rd_kafka_queue_get_main(rk);
	map_init(&h->lane_map, lane_hash, h);
	list_init(&h->chunks);
	list_init(&h->spares);
	pthread_mutex_init(&h->lock, NULL);
	pthread_mutex_init(&h->gate, NULL);
	rd_kafka_set_log_queue(rk, NULL);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	err = pthread_create(&thread, &attr, producer_main, h);
	pthread_attr_destroy(&attr);
	if (err) {
		snprintf(ret_why, why_size, "cannot start a thread");
		rd_kafka_queue_destroy(h->queue);
		rd_kafka_destroy(rk);
		handle_free(h);
		return ERR_SYSTEM;
	}
	*ret_handle = h;
	return 0;
}
