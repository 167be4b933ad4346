/*
 * consumer.c -- a consumer: options, and the poll loop in the thread of run().
 */
#include "consumer/inside.h"

#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int64_t
consumer_now_ms(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

void
consumer_log(struct escrow_consumer *c, escrow_log_level level, const char *format, ...)
{
	char text[REASON + 300];
	va_list args;

	if (c->opts.log == NULL)
		return;
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args); /* cut, if too long */
	va_end(args);
	c->opts.log(c->opts.log_arg, level, text);
}

static escrow_status fail(escrow_status status, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static escrow_status
fail(escrow_status status, const char *format, ...)
{
	char text[REASON];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args); /* cut, if too long */
	va_end(args);
	escrow_set_last_error(text);
	return status;
}

/* ---- run --------------------------------------------------------------------------------- */

static bool
has_room(const struct part *p)
{
	return p->count < QUEUE_HIGH / 2 && p->bytes < QUEUE_HIGH_BYTES / 2;
}

/*
 * Under the lock: P has enough.  Resuming a partition takes librdkafka up to a second (2.0.2: its
 * thread sleeps meanwhile), and what it had fetched is fetched again.  So a worker that gets on is
 * waited for, and P is paused when it does not: what is left to it then lasts for that second.
 */
static void
enough(struct escrow_consumer *c, struct part *p)
{
	int64_t until_ms = consumer_now_ms(CLOCK_MONOTONIC) + FULL_MS;
	int64_t ms;

	while (!has_room(p) && p->tries == 0 && p->worker->database_ms == 0 &&
	       !atomic_load(&c->stop)) {
		struct timespec slice;

		ms = consumer_now_ms(CLOCK_MONOTONIC);
		if (ms >= until_ms)
			break;
		ms += SLICE_MS;
		slice = (struct timespec){ ms / 1000, ms % 1000 * 1000000 };
		(void)pthread_cond_timedwait(&c->idle, &c->lock, &slice); /* either is fine */
	}
	if (!has_room(p))
		part_pace(c, p, true);
}

static void
receive(struct escrow_consumer *c, rd_kafka_message_t *m)
{
	struct part *p;

	pthread_mutex_lock(&c->lock);
	p = part_find(c, rd_kafka_topic_name(m->rkt), m->partition);
	if (p == NULL) {
		rd_kafka_message_destroy(m); /* not ours any more */
	} else if (part_push(p, m)) {
		if (p->count == 1)
			pthread_cond_broadcast(&c->work);
		if (!p->paused && (p->count >= QUEUE_HIGH || p->bytes >= QUEUE_HIGH_BYTES))
			enough(c, p);
	} else {
		rd_kafka_message_destroy(m);
		c->ended = ESCROW_E_NOMEM;
		atomic_store(&c->stop, true);
	}
	pthread_mutex_unlock(&c->lock);
}

/* What comes instead of a message. */
static void
trouble(struct escrow_consumer *c, const rd_kafka_message_t *m)
{
	char text[REASON];
	rd_kafka_resp_err_t err = rd_kafka_fatal_error(c->kafka, text, sizeof(text));

	if (err) {
		pthread_mutex_lock(&c->lock); /* a worker may have a reason of its own */
		c->ended = ESCROW_E_PROTOCOL;
		snprintf(c->why, sizeof(c->why), "%s: %.400s", rd_kafka_err2name(err), text);
		pthread_mutex_unlock(&c->lock);
		atomic_store(&c->stop, true);
		return;
	}
	consumer_log(c, ESCROW_LOG_WARN, "Kafka: %s", rd_kafka_message_errstr(m));
}

/* Between messages: resume what has room, tell offsets and figures. */
static void
housekeeping(struct escrow_consumer *c, int64_t now_ms, int64_t *offsets_ms, int64_t *stats_ms)
{
	rd_kafka_topic_partition_list_t *offsets = NULL;
	escrow_consumer_stats stats = { .struct_size = sizeof(stats) };

	pthread_mutex_lock(&c->lock);
	for (struct part *p = c->parts; p != NULL; p = p->next) {
		if (p->paused && has_room(p))
			part_pace(c, p, false);
	}
	if (now_ms >= *offsets_ms) {
		*offsets_ms = now_ms + (c->offsets_failed ? OFFSETS_AGAIN_MS : OFFSETS_MS);
		offsets = offsets_moved(c, false);
	}
	pthread_mutex_unlock(&c->lock);
	if (offsets != NULL) {
		rd_kafka_resp_err_t err = rd_kafka_commit(c->kafka, offsets, 1);

		if (err)
			offsets_committed(c->kafka, err, offsets, c);
		rd_kafka_topic_partition_list_destroy(offsets);
	}
	if (c->opts.stats != NULL && now_ms >= *stats_ms) {
		*stats_ms = now_ms + c->opts.stats_ms;
		escrow_consumer_get_stats(c, &stats);
		c->opts.stats(c->opts.log_arg, &stats);
	}
}

static escrow_status
subscribe(struct escrow_consumer *c)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(4);
	char *rest = c->topics, *topic;
	rd_kafka_resp_err_t err;

	while ((topic = strsep(&rest, ",")) != NULL) {
		if (*topic)
			rd_kafka_topic_partition_list_add(list, topic, RD_KAFKA_PARTITION_UA);
	}
	err = list->cnt ? rd_kafka_subscribe(c->kafka, list) : RD_KAFKA_RESP_ERR__INVALID_ARG;
	rd_kafka_topic_partition_list_destroy(list);
	return err ? fail(ESCROW_E_ARG, "topics: %s", rd_kafka_err2str(err)) : ESCROW_OK;
}

/* The workers inherit that every signal is the caller's. */
static size_t
start_workers(struct escrow_consumer *c)
{
	sigset_t all, before;
	size_t n = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (n < c->worker_count &&
	       pthread_create(&c->workers[n].thread, NULL, worker_main, &c->workers[n]) == 0)
		n++;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return n;
}

/* A place with a name is kept, for whoever comes back under it before the session ends; and of
 * what librdkafka has given up there is nothing to leave. */
static bool
leaves(struct escrow_consumer *c)
{
	char name[256] = "";
	size_t n = sizeof(name);

	(void)rd_kafka_conf_get(rd_kafka_conf(c->kafka), "group.instance.id", name, &n);
	return name[0] == '\0' && !rd_kafka_fatal_error(c->kafka, NULL, 0);
}

static bool
is_member(struct escrow_consumer *c)
{
	char *id = rd_kafka_memberid(c->kafka);
	bool member = id != NULL && id[0] != '\0';

	rd_kafka_mem_free(c->kafka, id);
	return member;
}

/*
 * Gives the partitions back, when a rebalance that has begun is over.  Before the group is closed:
 * for whatever on_rebalance() asks of it then, librdkafka's close may forget to answer (2.0.2),
 * and that would wait for ever; and its cooperative assignor aborts a process that closes a group
 * which it has joined and in which it was assigned nothing yet.
 */
static void
give_back(struct escrow_consumer *c)
{
	int64_t until_ms = consumer_now_ms(CLOCK_MONOTONIC) + KAFKA_MS;

	(void)rd_kafka_unsubscribe(c->kafka);
	do {
		rd_kafka_message_t *m = rd_kafka_consumer_poll(c->kafka, LEAVE_SLICE_MS);

		if (m != NULL)
			rd_kafka_message_destroy(m); /* comes again, to whoever is next */
	} while ((c->parts != NULL || is_member(c)) && consumer_now_ms(CLOCK_MONOTONIC) < until_ms);
}

/* A Kafka that does not answer learns by the session's timeout that we have left. */
static void
leave(struct escrow_consumer *c)
{
	int64_t until_ms = consumer_now_ms(CLOCK_MONOTONIC) + KAFKA_MS;
	rd_kafka_queue_t *queue = rd_kafka_queue_new(c->kafka);
	rd_kafka_error_t *error = rd_kafka_consumer_close_queue(c->kafka, queue);

	while (error == NULL && !rd_kafka_consumer_closed(c->kafka)) {
		rd_kafka_message_t *m = rd_kafka_consume_queue(queue, LEAVE_SLICE_MS);

		if (m != NULL)
			rd_kafka_message_destroy(m);
		if (consumer_now_ms(CLOCK_MONOTONIC) >= until_ms) {
			consumer_log(c, ESCROW_LOG_WARN, "Kafka was not told of the end");
			break;
		}
	}
	if (error != NULL)
		rd_kafka_error_destroy(error); /* librdkafka had a fatal error */
	rd_kafka_queue_destroy(queue);
}

escrow_status
escrow_consumer_run(escrow_consumer *c)
{
	int64_t now_ms, offsets_ms = 0, stats_ms = 0, kept_ms = 0;
	escrow_status status = subscribe(c);
	rd_kafka_topic_partition_list_t *offsets;
	size_t started;

	if (status)
		return status;
	started = start_workers(c);
	if (started < c->worker_count) {
		c->ended = ESCROW_E_NOMEM;
		atomic_store(&c->stop, true);
	}
	while (!atomic_load(&c->stop)) {
		rd_kafka_message_t *m = rd_kafka_consumer_poll(c->kafka, SLICE_MS);

		if (m != NULL && m->err) {
			trouble(c, m);
			rd_kafka_message_destroy(m);
		} else if (m != NULL) {
			receive(c, m);
		}
		now_ms = consumer_now_ms(CLOCK_MONOTONIC);
		if (m == NULL || now_ms >= kept_ms + 10) {
			kept_ms = now_ms;
			housekeeping(c, now_ms, &offsets_ms, &stats_ms);
		}
	}
	pthread_mutex_lock(&c->lock);
	pthread_cond_broadcast(&c->work);
	pthread_mutex_unlock(&c->lock);
	for (size_t i = 0; i < started; i++)
		pthread_join(c->workers[i].thread, NULL);

	pthread_mutex_lock(&c->lock);
	offsets = offsets_moved(c, false);
	pthread_mutex_unlock(&c->lock);
	if (offsets != NULL)
		offsets_tell(c, offsets);
	if (leaves(c)) {
		give_back(c);
		leave(c);
	}
	if (c->ended == ESCROW_E_NOMEM)
		return fail(c->ended, "out of memory, or of threads");
	return c->ended ? fail(c->ended, "%s", c->why) : ESCROW_OK;
}

void
escrow_consumer_stop(escrow_consumer *c)
{
	atomic_store(&c->stop, true);
}

void
escrow_consumer_get_stats(escrow_consumer *c, escrow_consumer_stats *ret)
{
	size_t size = ret->struct_size;
	escrow_consumer_stats now;

	pthread_mutex_lock(&c->lock);
	now = c->stats;
	for (struct part *p = c->parts; p != NULL; p = p->next) {
		now.partitions++;
		now.queued += p->count;
		now.waiting += p->count > 0 && p->tries > 0;
	}
	pthread_mutex_unlock(&c->lock);
	if (size > sizeof(now))
		size = sizeof(now); /* of a newer header: what we know of it */
	memcpy(ret, &now, size);
	ret->struct_size = size;
}

/* ---- open and close ---------------------------------------------------------------------- */

static void
kafka_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
	struct escrow_consumer *c = rd_kafka_opaque(rk);

	/* That it ignores what is for the consumer. */
	if (rd_kafka_type(rk) == RD_KAFKA_PRODUCER && strcmp(facility, "CONFWARN") == 0)
		return;
	consumer_log(c,
		     level <= 3   ? ESCROW_LOG_ERROR
		     : level <= 5 ? ESCROW_LOG_WARN
				  : ESCROW_LOG_INFO,
		     "librdkafka: %s: %s", facility, text);
}

static escrow_status
set(rd_kafka_conf_t *conf, const char *key, const char *value)
{
	char text[REASON];

	if (rd_kafka_conf_set(conf, key, value, text, sizeof(text)) == RD_KAFKA_CONF_OK)
		return ESCROW_OK;
	return fail(ESCROW_E_ARG, "kafka: %s", text);
}

/* Reports of dead letters come to an end, and without sequence numbers there is nothing fatal: one
 * that comes twice has the same escrow-id.  What Kafka takes is as large as Kafka says, unless the
 * user said otherwise: librdkafka's own limit is below what topics have. */
static escrow_status
configure_dead(rd_kafka_conf_t *conf)
{
	escrow_status status = set(conf, "message.timeout.ms", "10000");
	char limit[32] = "";
	size_t n = sizeof(limit);

	if (!status)
		status = set(conf, "enable.idempotence", "false");
	if (!status && rd_kafka_conf_get(conf, "message.max.bytes", limit, &n) == 0 &&
	    strcmp(limit, "1000000") == 0)
		status = set(conf, "message.max.bytes", "1000000000");
	return status;
}

/* The user's properties over our defaults and under what is ours. */
static escrow_status
configure(rd_kafka_conf_t *conf, const char *const *properties, char name[33])
{
	static const char *const ours[] = { "enable.auto.commit", "enable.auto.offset.store" };
	escrow_status status = set(conf, "auto.offset.reset", "earliest");
	bool named = name[0] != '\0';
	char key[128];

	if (!status)
		status = set(conf, "socket.timeout.ms", "10000"); /* the end may wait for it */
	for (; !status && *properties != NULL; properties++) {
		const char *value = strchr(*properties, '=');
		size_t n = value != NULL ? (size_t)(value - *properties) : 0;

		if (n == 0 || n >= sizeof(key))
			return fail(ESCROW_E_ARG, "kafka: \"%s\" is not property=value",
				    *properties);
		memcpy(key, *properties, n);
		key[n] = '\0';
		value++;
		for (size_t i = 0; i < 2; i++) {
			if (strcmp(key, ours[i]) == 0)
				return fail(ESCROW_E_ARG,
					    "kafka: %s: offsets are committed behind the database, "
					    "by this library",
					    key);
		}
		if (strcmp(key, "group.id") == 0 && !named) {
			if (strlen(value) > 32)
				return fail(ESCROW_E_ARG, "group.id has more than 32 bytes: give "
							  "the consumer a name of its own");
			snprintf(name, 33, "%s", value);
		}
		status = set(conf, key, value);
	}
	for (size_t i = 0; !status && i < 2; i++)
		status = set(conf, ours[i], "false");
	return status;
}

static escrow_status
check(const escrow_consumer_opts *o)
{
	if (o->kafka == NULL || o->topics == NULL || o->handle == NULL)
		return fail(ESCROW_E_ARG, "kafka, topics and handle are needed");
	if (o->stores == NULL || o->store_count == 0)
		return fail(ESCROW_E_ARG, "at least one store is needed");
	for (size_t i = 0; i < o->store_count; i++) {
		if (o->stores[i] == NULL ||
		    o->stores[i]->struct_size < offsetof(escrow_store, mark))
			return fail(ESCROW_E_ARG, "store %zu is none", i);
		if (o->escrow != NULL &&
		    (o->stores[i]->struct_size < offsetof(escrow_store, meet) ||
		     o->stores[i]->mark == NULL))
			return fail(ESCROW_E_ARG, "escrow: store %zu has no mark()", i);
	}
	if (o->name != NULL && (o->name[0] == '\0' || strlen(o->name) > 32))
		return fail(ESCROW_E_ARG, "a name has 1 to 32 bytes");
	if (o->dedup != ESCROW_DEDUP_BY_ID && o->dedup != ESCROW_DEDUP_BY_SEQ)
		return fail(ESCROW_E_ARG, "dedup is by id or by seq");
	if (o->batch_max < 1 || o->batch_max > QUEUE_HIGH)
		return fail(ESCROW_E_ARG, "batch_max is 1 to %d", QUEUE_HIGH);
	if (o->tries_max == 0 || o->tries_max < -1 || o->retry_ms < 1 ||
	    o->retry_max_ms < o->retry_ms)
		return fail(ESCROW_E_ARG, "tries_max is -1 or at least 1; "
					  "1 <= retry_ms <= retry_max_ms");
	if (o->remember_ms < -1 || (o->stats != NULL && o->stats_ms < 1))
		return fail(ESCROW_E_ARG, "remember_ms is -1 or more, stats_ms at least 1");
	return ESCROW_OK;
}

static escrow_status
make_workers(struct escrow_consumer *c, const escrow_consumer_opts *o)
{
	c->workers = calloc(o->store_count, sizeof(*c->workers));
	if (c->workers == NULL)
		return fail(ESCROW_E_NOMEM, "out of memory");
	for (size_t i = 0; i < o->store_count; i++) {
		struct worker *w = &c->workers[i];

		w->consumer = c;
		w->store = o->stores[i];
		w->batch = calloc((size_t)o->batch_max, sizeof(rd_kafka_message_t *));
		c->worker_count = i + 1;
		if (w->batch == NULL)
			return fail(ESCROW_E_NOMEM, "out of memory");
	}
	return ESCROW_OK;
}

static escrow_status
open_kafka(struct escrow_consumer *c, const escrow_consumer_opts *o)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	escrow_status status;
	char text[REASON];

	rd_kafka_conf_set_opaque(conf, c);
	rd_kafka_conf_set_log_cb(conf, kafka_log);
	status = configure(conf, o->kafka, c->name);
	if (!status && c->name[0] == '\0')
		status = fail(ESCROW_E_ARG, "kafka: group.id is needed");
	if (!status) {
		c->dead_conf = rd_kafka_conf_dup(conf);
		status = configure_dead(c->dead_conf);
	}
	if (!status) {
		rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
		rd_kafka_conf_set_offset_commit_cb(conf, offsets_committed);
		c->kafka = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof(text));
		if (c->kafka == NULL)
			status = fail(ESCROW_E_ARG, "kafka: %s", text);
		else
			conf = NULL; /* taken */
	}
	if (conf != NULL)
		rd_kafka_conf_destroy(conf);
	if (!status)
		(void)rd_kafka_poll_set_consumer(c->kafka); /* fails for producers only */
	return status;
}

static escrow_status
open_escrows(struct escrow_consumer *c, const char *const *urls)
{
	escrow_status status = ESCROW_OK;

	for (; !status && urls != NULL && *urls != NULL; urls++) {
		if (c->escrow_count == ESCROWS_MAX)
			return fail(ESCROW_E_ARG, "escrow: at most %d daemons", ESCROWS_MAX);
		status = escrow_open(&c->escrows[c->escrow_count], *urls);
		c->escrow_count += status == ESCROW_OK;
	}
	return status;
}

escrow_status
escrow_consumer_open(escrow_consumer **ret_consumer, const escrow_consumer_opts *opts)
{
	escrow_consumer_opts o = ESCROW_CONSUMER_OPTS_INIT;
	struct escrow_consumer *c;
	pthread_condattr_t monotonic;
	escrow_status status;

	if (opts == NULL || opts->struct_size == 0 || opts->struct_size > sizeof(o))
		return fail(ESCROW_E_ARG, "options of another version, or not initialised");
	memcpy(&o, opts, opts->struct_size);
	status = check(&o);
	if (status)
		return status;
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		return fail(ESCROW_E_NOMEM, "out of memory");
	c->opts = o;
	pthread_mutex_init(&c->lock, NULL);
	pthread_mutex_init(&c->dead_lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&c->work, &monotonic);
	pthread_cond_init(&c->idle, &monotonic);
	pthread_condattr_destroy(&monotonic);
	if (o.name != NULL)
		snprintf(c->name, sizeof(c->name), "%s", o.name);
	c->topics = strdup(o.topics);
	if (o.dead_letter_topic != NULL)
		c->dead_letter_topic = strdup(o.dead_letter_topic);
	if (c->topics == NULL || (o.dead_letter_topic != NULL && c->dead_letter_topic == NULL))
		status = fail(ESCROW_E_NOMEM, "out of memory");
	if (!status)
		status = make_workers(c, &o);
	if (!status)
		status = open_kafka(c, &o);
	if (!status)
		status = open_escrows(c, o.escrow);
	if (status) {
		char text[REASON];

		snprintf(text, sizeof(text), "%s", escrow_last_error());
		escrow_consumer_close(c);
		escrow_set_last_error(text);
		return status;
	}
	*ret_consumer = c;
	return ESCROW_OK;
}

void
escrow_consumer_close(escrow_consumer *c)
{
	if (c == NULL)
		return;
	while (c->parts != NULL)
		c->parts = part_free(c->parts);
	if (c->kafka != NULL)
		rd_kafka_destroy_flags(c->kafka,
				       RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE); /* leave() */
	if (c->dead != NULL)
		rd_kafka_destroy(c->dead);
	if (c->dead_conf != NULL)
		rd_kafka_conf_destroy(c->dead_conf);
	for (size_t i = 0; i < c->escrow_count; i++)
		(void)escrow_close(c->escrows[i], 0); /* nothing is under way */
	for (size_t i = 0; i < c->worker_count; i++) {
		free(c->workers[i].batch);
		free(c->workers[i].sent); /* no transaction runs: there are none in it */
	}
	free(c->workers);
	free(c->topics);
	free(c->dead_letter_topic);
	pthread_cond_destroy(&c->work);
	pthread_cond_destroy(&c->idle);
	pthread_mutex_destroy(&c->lock);
	pthread_mutex_destroy(&c->dead_lock);
	free(c);
}

void
escrow_store_free(escrow_store *store)
{
	if (store != NULL)
		store->free(store);
}
