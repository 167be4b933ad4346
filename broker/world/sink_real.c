/*
 * sink_real.c -- Kafka through librdkafka: producing, reports, and one handle after another.
 *
 * This and the other sink_real files are the only ones of the broker that know librdkafka.
 * Nothing here decides: an error's meaning for a message is the core's, when to rebuild is
 * the relay's.  What librdkafka needs to be asked while blocking (metadata, cluster id)
 * is asked by the scout, on a thread of its own (sink_real_scout.c).
 *
 * A publish() that librdkafka refuses on the spot becomes a report like any other, so
 * that the caller has one way to hear of failures.
 */
#include "world/sink_real.h"

#include <errno.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"

static struct sink_real *
of(struct sink *s)
{
	return (struct sink_real *)s;
}

static struct timespec
in_ms(clockid_t clock, int64_t ms)
{
	struct timespec t;

	clock_gettime(clock, &t);
	t.tv_sec += ms / 1000;
	t.tv_nsec += (ms % 1000) * NS_PER_MS;
	if (t.tv_nsec >= NS_PER_S) {
		t.tv_nsec -= NS_PER_S;
		t.tv_sec++;
	}
	return t;
}

static int64_t
mono_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * NS_PER_S + t.tv_nsec;
}

static void
wake(struct sink_real *s)
{
	uint64_t one = 1;

	/* EAGAIN: the counter is full, so it is readable already. */
	(void)!write(s->fd, &one, sizeof(one));
}

/* ---- notes: events of our own ---- */

void
sink_note_push(struct sink_real *s, uint64_t of_handle, const struct sink_event *event)
{
	struct sink_note n = { .event = *event, .of = of_handle };

	n.text = mem_dup(event->text.p, event->text.n);
	n.topic = mem_dup(event->topic.p, event->topic.n);
	n.event.text.p = n.text;
	n.event.topic.p = n.topic;
	pthread_mutex_lock(&s->lock);
	if (s->note_at == s->note_count)
		s->note_at = s->note_count = 0;
	if (s->note_count == s->note_cap) {
		s->note_cap = s->note_cap ? s->note_cap * 2 : 16;
		s->notes = mem_grow(s->notes, s->note_cap * sizeof(*s->notes));
	}
	s->notes[s->note_count++] = n;
	pthread_mutex_unlock(&s->lock);
	wake(s);
}

static void
note_done(struct sink_note *n)
{
	mem_free(n->text);
	mem_free(n->topic);
	memset(n, 0, sizeof(*n));
}

/* The next note that is not of a handle that is gone; it stays in s->note. */
static bool
note_pop(struct sink_real *s)
{
	bool found = false;

	note_done(&s->note);
	pthread_mutex_lock(&s->lock);
	while (!found && s->note_at < s->note_count) {
		s->note = s->notes[s->note_at++];
		found = !s->note.of || (s->handle && s->note.of == s->handle->number);
		if (!found)
			note_done(&s->note);
	}
	pthread_mutex_unlock(&s->lock);
	return found;
}

/* ---- handles ---- */

static uint64_t
lane_hash(const void *arg, uint32_t index)
{
	const struct sink_handle *h = arg;

	return hash_key(h->sink->secret, h->lanes[index].name, h->lanes[index].name_len);
}

static int
handle_new(struct sink_real *s, char *ret_why, size_t why_size, struct sink_handle **ret_handle)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_dup(s->conf);
	struct sink_handle *h;
	rd_kafka_t *rk;
	uint64_t one = 1;

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
	rd_kafka_set_log_queue(rk, NULL);
	rd_kafka_queue_io_event_enable(h->queue, s->fd, &one, sizeof(one));
	*ret_handle = h;
	return 0;
}

static rd_kafka_topic_t *
handle_topic(struct sink_handle *h, struct str name)
{
	uint64_t hash = hash_key(h->sink->secret, name.p, name.n);
	struct map_probe probe;
	rd_kafka_topic_t *rkt;
	char *text;

	for (uint32_t i = map_first(&h->lane_map, hash, &probe); i != MAP_NONE;
	     i = map_next(&h->lane_map, &probe))
		if (h->lanes[i].name_len == name.n && memcmp(h->lanes[i].name, name.p, name.n) == 0)
			return h->lanes[i].rkt;
	text = mem_alloc(name.n + 1);
	memcpy(text, name.p, name.n);
	rkt = rd_kafka_topic_new(h->rk, text, NULL);
	if (!rkt) {
		mem_free(text);
		return NULL;
	}
	if (h->lane_count == h->lane_cap) {
		h->lane_cap = h->lane_cap ? h->lane_cap * 2 : 16;
		h->lanes = mem_grow(h->lanes, h->lane_cap * sizeof(*h->lanes));
	}
	h->lanes[h->lane_count] = (struct sink_lane){ text, name.n, rkt };
	map_put(&h->lane_map, hash, h->lane_count);
	h->lane_count++;
	return rkt;
}

/* Once the scout has let go, everything of the handle, then the handle; it may block for long. */
static void *
undertaker(void *arg)
{
	struct sink_handle *h = arg;
	struct sink_real *s = h->sink;

	pthread_mutex_lock(&s->lock);
	while (h->borrowed)
		pthread_cond_wait(&s->changed, &s->lock);
	pthread_mutex_unlock(&s->lock);
	for (uint32_t i = 0; i < h->lane_count; i++) {
		rd_kafka_topic_destroy(h->lanes[i].rkt);
		mem_free(h->lanes[i].name);
	}
	mem_free(h->lanes);
	map_done(&h->lane_map);
	rd_kafka_queue_destroy(h->queue);
	rd_kafka_destroy(h->rk);
	mem_free(h);
	pthread_mutex_lock(&s->lock);
	s->dying--;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* H is no longer s->handle.  What it still holds must not go out beside its successor's. */
static void
handle_bury(struct sink_real *s, struct sink_handle *h)
{
	pthread_attr_t attr;
	pthread_t thread;

	rd_kafka_queue_io_event_enable(h->queue, -1, NULL, 0);
	rd_kafka_purge(h->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT |
				      RD_KAFKA_PURGE_F_NON_BLOCKING);
	pthread_mutex_lock(&s->lock);
	s->dying++;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	/* No thread left: the handle is leaked, purged as it is; `dying` keeps the sink too. */
	(void)pthread_create(&thread, &attr, undertaker, h);
	pthread_attr_destroy(&attr);
}

/* ---- publishing ---- */

static enum sink_result
classify(rd_kafka_resp_err_t err)
{
	if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
		return SINK_ACKED;
	if (err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE ||
	    err == RD_KAFKA_RESP_ERR_INVALID_RECORD || err == RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP)
		return SINK_REFUSED;
	return SINK_UNCERTAIN;
}

static bool
is_about_topic(rd_kafka_resp_err_t err)
{
	return err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION ||
	       err == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
	       err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
}

static rd_kafka_headers_t *
headers_of(const struct sink_record *r)
{
	rd_kafka_headers_t *headers;

	if (!r->header_count)
		return NULL;
	headers = rd_kafka_headers_new(r->header_count);
	for (uint32_t i = 0; i < r->header_count; i++)
		rd_kafka_header_add(headers, r->headers[i].name.p, (ssize_t)r->headers[i].name.n,
				    r->headers[i].value.p, (ssize_t)r->headers[i].value.n);
	return headers;
}

static rd_kafka_resp_err_t
produce(struct sink_handle *h, const struct sink_record *r, uint64_t token)
{
	rd_kafka_topic_t *rkt = handle_topic(h, r->topic);
	rd_kafka_headers_t *headers;
	rd_kafka_resp_err_t err;

	if (!rkt)
		return rd_kafka_last_error();
	headers = headers_of(r);
	/* librdkafka takes pointers to non-const and, with F_COPY, does not write to them. */
	err = rd_kafka_producev(h->rk, RD_KAFKA_V_RKT(rkt), RD_KAFKA_V_PARTITION(r->partition),
				RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
				RD_KAFKA_V_VALUE((void *)(uintptr_t)r->value.p, r->value.n),
				RD_KAFKA_V_KEY((const void *)r->key.p, r->key.n),
				RD_KAFKA_V_TIMESTAMP((int64_t)r->timestamp_ms),
				RD_KAFKA_V_OPAQUE((void *)(uintptr_t)token),
				RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
	if (err && headers)
		rd_kafka_headers_destroy(headers);
	return err;
}

static int
sink_publish(struct sink *sink, const struct sink_record *r, uint64_t token)
{
	struct sink_real *s = of(sink);
	rd_kafka_resp_err_t err = produce(s->handle, r, token);

	/* With nothing unreported the queue cannot drain: this one record is larger than it. */
	if (err == RD_KAFKA_RESP_ERR__QUEUE_FULL && s->unreported) {
		s->full = true;
		return ERR_AGAIN;
	}
	s->unreported++;
	if (err) {
		if (is_about_topic(err))
			sink_scout_hurry(s);
		s->noted++;
		sink_note_push(s, s->handle->number,
			       &(struct sink_event){ .kind = SINK_REPORT,
						     .token = token,
						     .result = classify(err),
						     .offset = -1,
						     .code = err,
						     .text = str_of(rd_kafka_err2str(err)) });
	}
	return 0;
}

/* ---- events ---- */

static bool
went(struct sink_real *s, bool up, struct str text, struct sink_event *ret)
{
	if (s->up == (int8_t)up)
		return false;
	s->up = (int8_t)up;
	if (!up)
		sink_scout_hurry(s);
	*ret = (struct sink_event){ .kind = up ? SINK_UP : SINK_DOWN, .text = text };
	return true;
}

/* The next message of a batch of reports. */
static bool
take_report(struct sink_real *s, struct sink_event *ret)
{
	const rd_kafka_message_t *m = rd_kafka_event_message_next(s->event);

	if (!m)
		return false;
	if (is_about_topic(m->err))
		sink_scout_hurry(s);
	s->unreported--;
	*ret = (struct sink_event){
		.kind = SINK_REPORT,
		.token = (uintptr_t)m->_private,
		.result = classify(m->err),
		.offset = m->offset >= 0 ? m->offset : -1,
		.code = m->err,
		.text = str_of(m->err ? rd_kafka_err2str(m->err) : NULL),
	};
	return true;
}

static bool
take_error(struct sink_real *s, struct sink_event *ret)
{
	rd_kafka_resp_err_t err = rd_kafka_event_error(s->event);
	char why[512];

	buf_reset(&s->text, 4096);
	/* 2.0.2 sends a fatal error under its own code; the handle knows that it was fatal. */
	if (rd_kafka_fatal_error(s->handle->rk, why, sizeof(why))) {
		if (s->handle->fatal)
			return false;
		s->handle->fatal = true;
		err = rd_kafka_fatal_error(s->handle->rk, why, sizeof(why));
		buf_printf(&s->text, "%s: %s", rd_kafka_err2name(err), why);
		*ret = (struct sink_event){ .kind = SINK_FATAL, .code = err };
	} else if (err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
		buf_printf(&s->text, "%s", rd_kafka_event_error_string(s->event));
		if (!went(s, false, STR_NONE, ret))
			return false;
		ret->code = err;
	} else {
		buf_printf(&s->text, "%s: %s", rd_kafka_err2name(err),
			   rd_kafka_event_error_string(s->event));
		*ret = (struct sink_event){ .kind = SINK_LOG, .code = 7 }; /* logged by it too */
	}
	ret->text = buf_as_str(&s->text);
	return true;
}

/* What s->event still has to say; a batch of reports is asked again and again. */
static bool
take(struct sink_real *s, bool fresh, struct sink_event *ret)
{
	const char *fac, *text;
	int level;

	switch (rd_kafka_event_type(s->event)) {
	case RD_KAFKA_EVENT_DR:
		return take_report(s, ret);
	case RD_KAFKA_EVENT_ERROR:
		return fresh && take_error(s, ret);
	case RD_KAFKA_EVENT_LOG:
		if (!fresh || rd_kafka_event_log(s->event, &fac, &text, &level))
			return false;
		/* Known and wanted; it would be said with every handle. */
		if (strcmp(fac, "CONFWARN") == 0 && strstr(text, "enable.gapless.guarantee"))
			return false;
		/* SINK_FATAL says it; here it is only what the relay deals with every day. */
		if (strcmp(fac, "FATAL") == 0)
			level = 5;
		buf_reset(&s->text, 4096);
		buf_printf(&s->text, "%s: %s", fac, text);
		*ret = (struct sink_event){ .kind = SINK_LOG,
					    .code = level,
					    .text = buf_as_str(&s->text) };
		return true;
	case RD_KAFKA_EVENT_STATS:
		if (!fresh)
			return false;
		*ret = (struct sink_event){ .kind = SINK_STATS,
					    .text = str_of(rd_kafka_event_stats(s->event)) };
		return true;
	default: /* librdkafka's own list, which grows; not enabled, so not sent */
		return false;
	}
}

/* Messages leave librdkafka's queue with the event that reported them. */
static void
event_done(struct sink_real *s)
{
	if (s->full && rd_kafka_event_type(s->event) == RD_KAFKA_EVENT_DR) {
		s->full = false;
		s->ready = true;
	}
	rd_kafka_event_destroy(s->event);
	s->event = NULL;
}

static bool
next_note(struct sink_real *s, struct sink_event *ret)
{
	while (note_pop(s)) {
		*ret = s->note.event;
		if (ret->kind == SINK_REPORT) {
			s->unreported--;
			s->noted--;
		}
		if (ret->kind == SINK_UP || ret->kind == SINK_DOWN) {
			if (!went(s, ret->kind == SINK_UP, ret->text, ret))
				continue;
		}
		return true;
	}
	return false;
}

static bool
sink_next(struct sink *sink, struct sink_event *ret)
{
	struct sink_real *s = of(sink);
	uint64_t count;

	if (!s->woken) {
		s->woken = true;
		/* Before looking: what comes after this read wakes the loop again. */
		(void)!read(s->fd, &count, sizeof(count));
	}
	if (s->event && take(s, false, ret))
		return true;
	for (;;) {
		if (s->event)
			event_done(s);
		if (s->ready) {
			s->ready = false;
			*ret = (struct sink_event){ .kind = SINK_READY };
			return true;
		}
		if (next_note(s, ret))
			return true;
		if (s->stash_at < s->stash_count)
			s->event = s->stash[s->stash_at++];
		else
			s->event = rd_kafka_queue_poll(s->handle->queue, 0);
		if (!s->event)
			break;
		if (take(s, true, ret))
			return true;
	}
	s->woken = false;
	return false;
}

static void
stash_drop(struct sink_real *s)
{
	while (s->stash_at < s->stash_count)
		rd_kafka_event_destroy(s->stash[s->stash_at++]);
	s->stash_at = s->stash_count = 0;
}

/* Reports that are here already and that next() has not given out yet. */
static uint64_t
reports_waiting(const struct sink_real *s)
{
	uint64_t n = s->noted + (s->event ? rd_kafka_event_message_count(s->event) : 0);

	for (size_t i = s->stash_at; i < s->stash_count; i++)
		n += rd_kafka_event_message_count(s->stash[i]);
	return n;
}

static void
sink_flush(struct sink *sink, int64_t timeout_ns)
{
	struct sink_real *s = of(sink);
	int64_t end = mono_ns() + timeout_ns;
	uint64_t waiting = reports_waiting(s);
	rd_kafka_event_t *e;
	int64_t left;

	while (s->unreported > waiting && (left = end - mono_ns()) > 0) {
		e = rd_kafka_queue_poll(s->handle->queue,
					(int)(min_i64(left, NS_PER_S) / NS_PER_MS) + 1);
		if (!e)
			continue;
		waiting += rd_kafka_event_message_count(e);
		if (s->stash_at == s->stash_count)
			s->stash_at = s->stash_count = 0;
		if (s->stash_count == s->stash_cap) {
			s->stash_cap = s->stash_cap ? s->stash_cap * 2 : 16;
			s->stash = mem_grow(s->stash, s->stash_cap * sizeof(*s->stash));
		}
		s->stash[s->stash_count++] = e;
	}
	wake(s);
}

/* ---- life ---- */

static int
sink_rebuild(struct sink *sink)
{
	struct sink_real *s = of(sink);
	struct sink_handle *old = s->handle;
	struct sink_handle *h = NULL;
	char why[512];
	int err;

	err = handle_new(s, why, sizeof(why), &h);
	if (err) {
		sink_note_push(s, 0,
			       &(struct sink_event){
				       .kind = SINK_LOG, .code = 3, .text = str_of(why) });
		return err;
	}
	if (s->event)
		rd_kafka_event_destroy(s->event);
	s->event = NULL;
	stash_drop(s);
	s->unreported = s->noted = 0;
	s->ready = s->ready || s->full;
	s->full = false;
	s->up = -1;
	pthread_mutex_lock(&s->lock);
	s->handle = h;
	pthread_mutex_unlock(&s->lock);
	handle_bury(s, old);
	wake(s);
	return 0;
}

static void
sink_describe(struct sink *sink, struct str topic)
{
	sink_scout_ask(of(sink), topic);
}

static int
sink_fd(struct sink *sink)
{
	return of(sink)->fd;
}

/* False: an old handle does not die, and will touch S when it does. */
static bool
wait_for_the_dead(struct sink_real *s)
{
	struct timespec end = in_ms(CLOCK_MONOTONIC, SINK_DESTROY_MS);
	int err = 0;
	bool gone;

	pthread_mutex_lock(&s->lock);
	while (s->dying && err != ETIMEDOUT)
		err = pthread_cond_timedwait(&s->changed, &s->lock, &end);
	gone = s->dying == 0;
	pthread_mutex_unlock(&s->lock);
	return gone;
}

static void
sink_free(struct sink *sink)
{
	struct sink_real *s = of(sink);
	struct sink_handle *h;

	if (!s)
		return;
	sink_scout_stop(s);
	if (s->event)
		rd_kafka_event_destroy(s->event);
	stash_drop(s);
	pthread_mutex_lock(&s->lock);
	h = s->handle;
	s->handle = NULL;
	pthread_mutex_unlock(&s->lock);
	if (h)
		handle_bury(s, h);
	if (!wait_for_the_dead(s))
		return; /* intentionally leaked: the process is about to end */
	while (note_pop(s)) {
	}
	for (size_t i = 0; i < s->request_count; i++)
		mem_free(s->requests[i]);
	mem_free(s->requests);
	mem_free(s->notes);
	mem_free(s->stash);
	buf_free(&s->text);
	rd_kafka_conf_destroy(s->conf);
	pthread_cond_destroy(&s->changed);
	pthread_mutex_destroy(&s->lock);
	close(s->fd);
	mem_free(s);
}

static const struct sink_ops real_ops = {
	.publish = sink_publish,
	.describe = sink_describe,
	.next = sink_next,
	.rebuild = sink_rebuild,
	.flush = sink_flush,
	.fd = sink_fd,
	.free = sink_free,
};

int
sink_real_open(const struct sink_property *properties, size_t count, char *ret_why, size_t why_size,
	       struct sink **ret_sink)
{
	pthread_condattr_t attr;
	struct sink_real *s;
	rd_kafka_conf_t *conf = NULL;
	int err;

	err = sink_conf_build(properties, count, ret_why, why_size, &conf);
	if (err)
		return err;
	s = mem_alloc(sizeof(*s));
	s->sink.ops = &real_ops;
	s->conf = conf;
	s->up = -1;
	/* Topic names come from clients, but only from those that Kafka or an operator let in. */
	s->secret = (struct hash_secret){ (uint64_t)mono_ns(), (uintptr_t)s };
	s->requests = mem_alloc(SINK_REQUESTS_MAX * sizeof(*s->requests));
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->changed, &attr);
	pthread_condattr_destroy(&attr);
	s->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (s->fd < 0) {
		snprintf(ret_why, why_size, "eventfd: %s", strerror(errno));
		err = ERR_SYSTEM;
		goto fail;
	}
	err = handle_new(s, ret_why, why_size, &s->handle);
	if (err) {
		err = ERR_CONFIG; /* librdkafka refuses the combination of properties */
		goto fail;
	}
	err = sink_scout_start(s);
	if (err) {
		snprintf(ret_why, why_size, "cannot start a thread");
		goto fail;
	}
	*ret_sink = &s->sink;
	return 0;
fail:
	sink_free(&s->sink);
	return err;
}
