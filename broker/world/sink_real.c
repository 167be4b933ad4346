/*
 * sink_real.c -- Kafka through librdkafka, the loop's side: what is given, reports, notes.
 *
 * This and the other sink_real files are the only ones of the broker that know librdkafka.
 * Nothing here decides: an error's meaning for a message is the core's, when to rebuild is
 * the relay's.  What librdkafka needs to be asked while blocking (metadata, cluster id)
 * is asked by the scout, and all that costs is done by the handle's own thread
 * (sink_real_scout.c, sink_real_producer.c).
 */
#include "world/sink_real.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
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

void
sink_wake(struct sink_real *s)
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
	sink_wake(s);
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

/* ---- publishing ---- */

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

/* As librdkafka would count it, or a little more. */
static size_t
bytes_of(const struct sink_record *r)
{
	size_t bytes = r->key.n + r->value.n;

	for (uint32_t i = 0; i < r->header_count; i++)
		bytes += r->headers[i].name.n + r->headers[i].value.n;
	return bytes;
}

/* The limits of librdkafka's queue, kept here: it must not be full with what it was promised. */
static bool
has_room(const struct sink_real *s, size_t bytes)
{
	return s->unreported == 0 ||
	       (s->unreported < s->max_messages && s->unreported_bytes + bytes <= s->max_bytes);
}

static int
sink_publish(struct sink *sink, const struct sink_record *r, uint64_t token)
{
	struct sink_real *s = of(sink);
	size_t bytes = bytes_of(r);
	rd_kafka_topic_t *rkt;

	if (!has_room(s, bytes)) {
		s->full = true;
		return ERR_AGAIN;
	}
	s->unreported++;
	rkt = handle_topic(s->handle, r->topic);
	if (rkt) {
		s->unreported_bytes += bytes;
		sink_handle_give(s->handle, rkt, r, token, bytes);
	} else {
		rd_kafka_resp_err_t err = rd_kafka_last_error();

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

static void
sink_flush(struct sink *sink)
{
	sink_handle_flush(of(sink)->handle);
}

/* ---- events ---- */

/* Is it news that brokers answer, or that none does? */
static bool
turned(struct sink_real *s, bool up)
{
	if (s->up == (int8_t)up)
		return false;
	s->up = (int8_t)up;
	if (!up)
		sink_scout_hurry(s);
	return true;
}

static void
reported(struct sink_real *s, size_t bytes)
{
	s->unreported--;
	s->unreported_bytes -= bytes;
	if (s->full) {
		s->full = false;
		s->ready = true;
	}
}

static bool
next_note(struct sink_real *s, struct sink_event *ret)
{
	while (note_pop(s)) {
		*ret = s->note.event;
		if ((ret->kind == SINK_UP || ret->kind == SINK_DOWN) &&
		    !turned(s, ret->kind == SINK_UP))
			continue;
		if (ret->kind == SINK_REPORT)
			reported(s, 0);
		return true;
	}
	return false;
}

static bool
next_report(struct sink_real *s, struct sink_event *ret)
{
	const struct sink_report *r;

	if (s->report_at == s->reports.count) {
		s->report_at = 0;
		sink_handle_take(s->handle, &s->reports);
		if (s->reports.count == 0)
			return false;
	}
	r = &s->reports.items[s->report_at++];
	reported(s, r->bytes);
	*ret = (struct sink_event){
		.kind = SINK_REPORT,
		.token = r->token,
		.result = classify(r->err),
		.offset = r->offset >= 0 ? r->offset : -1,
		.code = r->err,
	};
	/*
	 * Without an offset the record was seen by nobody: librdkafka takes it for appended because
	 * a later one was, and Kafka begins at any sequence when it knows nothing of the producer.
	 */
	if (!r->err && r->offset < 0) {
		ret->result = SINK_UNCERTAIN;
		ret->text = STR("acknowledged without an offset");
	}
	if (r->err) {
		ret->text = str_of(rd_kafka_err2str(r->err));
		if (is_about_topic(r->err))
			sink_scout_hurry(s);
	}
	return true;
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
	if (next_note(s, ret) || next_report(s, ret))
		return true;
	if (s->ready) { /* behind the reports that made room */
		s->ready = false;
		*ret = (struct sink_event){ .kind = SINK_READY };
		return true;
	}
	s->woken = false;
	return false;
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

	err = sink_handle_new(s, why, sizeof(why), &h);
	if (err) {
		sink_note_push(s, 0,
			       &(struct sink_event){
				       .kind = SINK_LOG, .code = 3, .text = str_of(why) });
		return err;
	}
	s->reports.count = s->report_at = 0;
	s->unreported = s->unreported_bytes = 0;
	s->ready = s->ready || s->full;
	s->full = false;
	s->up = -1;
	pthread_mutex_lock(&s->lock);
	s->handle = h;
	pthread_mutex_unlock(&s->lock);
	sink_handle_bury(old);
	sink_wake(s);
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
	pthread_mutex_lock(&s->lock);
	h = s->handle;
	s->handle = NULL;
	pthread_mutex_unlock(&s->lock);
	if (h)
		sink_handle_bury(h);
	if (!wait_for_the_dead(s))
		return; /* intentionally leaked: the process is about to end */
	while (note_pop(s)) {
	}
	for (size_t i = 0; i < s->request_count; i++)
		mem_free(s->requests[i]);
	mem_free(s->requests);
	mem_free(s->notes);
	mem_free(s->reports.items);
	rd_kafka_conf_destroy(s->conf);
	pthread_cond_destroy(&s->changed);
	pthread_mutex_destroy(&s->lock);
	close(s->fd);
	mem_free(s);
}

static const struct sink_ops real_ops = {
	.publish = sink_publish,
	.flush = sink_flush,
	.describe = sink_describe,
	.next = sink_next,
	.rebuild = sink_rebuild,
	.fd = sink_fd,
	.free = sink_free,
};

/* A limit of librdkafka's queue; 0 means none. */
static uint64_t
limit_of(const rd_kafka_conf_t *conf, const char *name)
{
	char text[32];
	size_t size = sizeof(text);
	uint64_t limit;

	CHECK(rd_kafka_conf_get(conf, name, text, &size) == RD_KAFKA_CONF_OK, size);
	limit = strtoull(text, NULL, 10);
	return limit ? limit : UINT64_MAX;
}

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
	s->max_messages = limit_of(conf, "queue.buffering.max.messages");
	s->max_bytes = limit_of(conf, "queue.buffering.max.kbytes");
	s->max_bytes = s->max_bytes > UINT64_MAX >> 10 ? UINT64_MAX : s->max_bytes << 10;
	s->up = -1;
	/* Topic names come from clients, but only from those that Kafka or an operator let in. */
	s->secret = (struct hash_secret){ (uint64_t)mono_ns(), (uintptr_t)s };
	s->max_topics = SINK_TOPICS_MAX;
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
	err = sink_handle_new(s, ret_why, why_size, &s->handle);
	if (err) {
		if (err == ERR_KAFKA) /* librdkafka refuses the combination of properties */
			err = ERR_CONFIG;
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
