/*
 * sink_real_scout.c -- asks Kafka what blocks to ask: topics, their limits, the cluster id.
 *
 * librdkafka's metadata call waits for an answer, so it has a thread of its own.  The scout
 * borrows the current handle, watches every topic that it was asked about, and tells the loop
 * what is new through notes.  When rebuild() replaces the handle it lets go and takes the
 * new one: nothing of it may be left when the old one is destroyed.
 *
 * A watched topic that Kafka suddenly does not know is asked for again before it is called
 * gone: a broker that has just started denies topics that it has not heard of yet.
 */
#include "world/sink_real.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "base/err.h"

#define CONFIGS_BATCH 256
#define GONE_AFTER    3  /* denials in a row */
#define CONFIGS_TRIES 3  /* unanswered in a row: this cluster does not tell */
#define CONFIGS_EVERY 10 /* refreshes */

struct watched {
	char *name;
	rd_kafka_topic_t *rkt; /* of the borrowed handle                              */
	int32_t partitions;    /* 0: never seen, or gone                              */
	uint32_t max_bytes;
	uint8_t denials;
	bool asked;   /* describe() waits for news                           */
	bool configs; /* its limits are to be asked for                      */
	bool news;    /* to be told                                          */
};

struct scout {
	struct sink_real *sink;
	struct sink_handle *handle; /* borrowed */
	struct watched *topics;
	uint32_t count;
	struct map map;
	char *cluster; /* as told for this handle */
	unsigned configs_silent;
	unsigned refreshes;
	bool away;  /* no broker answered: look again soon                    */
	bool wrong; /* of some topic nothing is known: soon, then less often   */
	int64_t patience_ms;
};

static int64_t
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / NS_PER_MS;
}

static uint64_t
topic_hash(const void *arg, uint32_t index)
{
	const struct scout *sc = arg;
	const char *name = sc->topics[index].name;

	return hash_key(sc->sink->secret, name, strlen(name));
}

static struct watched *
find(struct scout *sc, const char *name)
{
	struct map_probe probe;
	uint64_t hash = hash_key(sc->sink->secret, name, strlen(name));

	for (uint32_t i = map_first(&sc->map, hash, &probe); i != MAP_NONE;
	     i = map_next(&sc->map, &probe))
		if (strcmp(sc->topics[i].name, name) == 0)
			return &sc->topics[i];
	return NULL;
}

static void
tell_topic(struct scout *sc, const char *name, enum sink_topic_news news, int32_t partitions,
	   uint32_t max_bytes)
{
	sink_note_push(sc->sink, 0,
		       &(struct sink_event){ .kind = SINK_TOPIC,
					     .topic = str_of(name),
					     .news = news,
					     .partitions = partitions,
					     .max_bytes = max_bytes });
}

static void
forget(struct scout *sc, struct watched *w)
{
	uint32_t i = (uint32_t)(w - sc->topics);
	uint32_t last = sc->count - 1;

	map_del(&sc->map, topic_hash(sc, i), i);
	if (w->rkt)
		rd_kafka_topic_destroy(w->rkt);
	if (i != last) {
		uint64_t hash = topic_hash(sc, last);

		map_del(&sc->map, hash, last);
		mem_free(w->name);
		*w = sc->topics[last];
		map_put(&sc->map, hash, i);
	} else {
		mem_free(w->name);
	}
	sc->count--;
}

/*
 * Anybody may name topics, and where Kafka neither has nor denies them (an ACL in between), they
 * stay.  So one that was never seen makes room for a new name when nobody waits for it any more:
 * the youngest, for those that the journal remembers were asked about first.
 */
static bool
make_room(struct scout *sc)
{
	if (sc->count < sc->sink->max_topics)
		return true;
	for (uint32_t i = sc->count; i-- > 0;) {
		if (sc->topics[i].partitions == 0 && !sc->topics[i].asked) {
			forget(sc, &sc->topics[i]);
			return true;
		}
	}
	return false;
}

/* Takes NAME.  NULL: it was refused and told so. */
static struct watched *
watch(struct scout *sc, char *name)
{
	struct watched *w = find(sc, name);

	if (w) {
		mem_free(name);
		return w;
	}
	if (!make_room(sc)) {
		tell_topic(sc, name, SINK_TOPIC_FAILED, 0, 0);
		mem_free(name);
		return NULL;
	}
	sc->topics = mem_grow(sc->topics, (sc->count + 1) * sizeof(*sc->topics));
	w = &sc->topics[sc->count];
	*w = (struct watched){ .name = name, .configs = true };
	map_put(&sc->map, topic_hash(sc, sc->count), sc->count);
	sc->count++;
	return w;
}

/* ---- the handle ---- */

static void
let_go(struct scout *sc)
{
	struct sink_real *s = sc->sink;

	if (!sc->handle)
		return;
	for (uint32_t i = 0; i < sc->count; i++) {
		if (sc->topics[i].rkt)
			rd_kafka_topic_destroy(sc->topics[i].rkt);
		sc->topics[i].rkt = NULL;
	}
	mem_free(sc->cluster);
	sc->cluster = NULL;
	sc->configs_silent = 0;
	pthread_mutex_lock(&s->lock);
	sc->handle->borrowed--;
	sc->handle = NULL;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

/* Everything watched has a topic object, so that librdkafka asks for it by itself too. */
static void
hold_topics(struct scout *sc)
{
	for (uint32_t i = 0; i < sc->count; i++)
		if (!sc->topics[i].rkt)
			sc->topics[i].rkt =
				rd_kafka_topic_new(sc->handle->rk, sc->topics[i].name, NULL);
}

/* ---- limits ---- */

static void
read_limit(struct scout *sc, const rd_kafka_ConfigResource_t *r)
{
	struct watched *w = find(sc, rd_kafka_ConfigResource_name(r));
	const rd_kafka_ConfigEntry_t **entries;
	size_t count;

	if (!w || rd_kafka_ConfigResource_error(r))
		return;
	entries = rd_kafka_ConfigResource_configs(r, &count);
	for (size_t i = 0; i < count; i++) {
		const char *value = rd_kafka_ConfigEntry_value(entries[i]);
		unsigned long long n;

		if (strcmp(rd_kafka_ConfigEntry_name(entries[i]), "max.message.bytes") != 0 ||
		    !value)
			continue;
		n = strtoull(value, NULL, 10);
		if (n > 0 && n <= UINT32_MAX && w->max_bytes != n) {
			w->max_bytes = (uint32_t)n;
			w->news = true;
		}
	}
	w->configs = false;
}

static void
ask_configs(struct scout *sc, rd_kafka_ConfigResource_t **rs, size_t count)
{
	rd_kafka_t *rk = sc->handle->rk;
	rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
	rd_kafka_AdminOptions_t *o =
		rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
	const rd_kafka_ConfigResource_t **answers;
	rd_kafka_event_t *e;
	char why[128];
	size_t n;

	(void)rd_kafka_AdminOptions_set_request_timeout(o, SINK_METADATA_MS, why, sizeof(why));
	rd_kafka_DescribeConfigs(rk, rs, count, o, queue);
	e = rd_kafka_queue_poll(queue, SINK_CONFIGS_MS);
	if (e && !rd_kafka_event_error(e)) {
		answers = rd_kafka_DescribeConfigs_result_resources(
			rd_kafka_event_DescribeConfigs_result(e), &n);
		for (size_t i = 0; i < n; i++)
			read_limit(sc, answers[i]);
		sc->configs_silent = 0;
	} else {
		sc->configs_silent++;
	}
	if (e)
		rd_kafka_event_destroy(e);
	rd_kafka_AdminOptions_destroy(o);
	rd_kafka_queue_destroy(queue);
}

/* Of the topics that are there and whose limits are not known; a few hundred at a time. */
static void
learn_limits(struct scout *sc)
{
	rd_kafka_ConfigResource_t *rs[CONFIGS_BATCH];
	size_t n = 0;

	for (uint32_t i = 0; i <= sc->count && sc->configs_silent < CONFIGS_TRIES; i++) {
		if (n == CONFIGS_BATCH || (i == sc->count && n)) {
			ask_configs(sc, rs, n);
			rd_kafka_ConfigResource_destroy_array(rs, n);
			n = 0;
		}
		if (i < sc->count && sc->topics[i].configs && sc->topics[i].partitions)
			rs[n++] = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC,
							      sc->topics[i].name);
	}
	rd_kafka_ConfigResource_destroy_array(rs, n);
}

/* ---- metadata ---- */

static bool
is_denial(rd_kafka_resp_err_t err)
{
	return err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
	       err == RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION;
}

static void
heard(struct scout *sc, struct watched *w, const rd_kafka_metadata_topic_t *t)
{
	if (!t->err && t->partition_cnt > 0) {
		if (w->partitions == 0)
			w->configs = true; /* perhaps made anew, with another limit */
		w->news = w->news || w->asked || w->partitions != t->partition_cnt;
		w->partitions = t->partition_cnt;
		w->denials = 0;
		w->asked = false;
		return;
	}
	sc->wrong = true;
	if (!is_denial(t->err))
		return; /* no leader yet, not authorised: not an answer */
	if (w->partitions && ++w->denials < GONE_AFTER)
		return;
	tell_topic(sc, w->name, SINK_TOPIC_GONE, 0, 0);
	forget(sc, w);
}

/* Those that still wait were not answered about. */
static void
fail_the_asked(struct scout *sc)
{
	for (uint32_t i = 0; i < sc->count; i++) {
		if (!sc->topics[i].asked)
			continue;
		sc->topics[i].asked = false;
		tell_topic(sc, sc->topics[i].name, SINK_TOPIC_FAILED, 0, 0);
	}
}

static void
tell_news(struct scout *sc)
{
	for (uint32_t i = 0; i < sc->count; i++) {
		struct watched *w = &sc->topics[i];

		if (!w->news)
			continue;
		w->news = false;
		tell_topic(sc, w->name, SINK_TOPIC_HERE, w->partitions, w->max_bytes);
	}
}

static void
tell_cluster(struct scout *sc)
{
	char *id = rd_kafka_clusterid(sc->handle->rk, 0);

	if (id && (!sc->cluster || strcmp(id, sc->cluster) != 0)) {
		mem_free(sc->cluster);
		sc->cluster = mem_dup(id, strlen(id) + 1);
		sink_note_push(sc->sink, sc->handle->number,
			       &(struct sink_event){ .kind = SINK_CLUSTER, .text = str_of(id) });
	}
	if (id)
		rd_kafka_mem_free(sc->handle->rk, id);
}

/* Asks for ONLY, or for everything watched when it is NULL. */
static void
look(struct scout *sc, const struct watched *only)
{
	const struct rd_kafka_metadata *md = NULL;
	rd_kafka_resp_err_t err;

	hold_topics(sc);
	sc->away = sc->wrong = false;
	/*
	 * With nothing watched, ask for all there is: librdkafka 2.0.2 would let the broker
	 * make the topics that linger in its cache, misspelt ones too.
	 */
	err = rd_kafka_metadata(sc->handle->rk, sc->count == 0, only ? only->rkt : NULL, &md,
				SINK_METADATA_MS);
	if (err) {
		sc->away = true;
		sink_note_push(sc->sink, sc->handle->number,
			       &(struct sink_event){ .kind = SINK_DOWN,
						     .code = err,
						     .text = str_of(rd_kafka_err2str(err)) });
		fail_the_asked(sc);
		return;
	}
	tell_cluster(sc); /* first: what follows is about that cluster */
	sink_note_push(sc->sink, sc->handle->number, &(struct sink_event){ .kind = SINK_UP });
	for (int i = 0; i < md->topic_cnt; i++) {
		struct watched *w = find(sc, md->topics[i].topic);

		if (w)
			heard(sc, w, &md->topics[i]);
	}
	rd_kafka_metadata_destroy(md);
	learn_limits(sc);
	tell_news(sc);
	if (!only)
		fail_the_asked(sc);
	for (uint32_t i = 0; i < sc->count; i++)
		sc->wrong = sc->wrong || sc->topics[i].asked || !sc->topics[i].partitions;
}

static int64_t
next_look_ms(struct scout *sc)
{
	if (!sc->away && !sc->wrong)
		sc->patience_ms = SINK_HURRY_MS;
	else if (sc->away)
		return SINK_HURRY_MS;
	else
		return sc->patience_ms = min_i64(sc->patience_ms * 2, SINK_REFRESH_MS);
	return SINK_REFRESH_MS;
}

/* ---- the thread ---- */

/* Waits for something to do; false: stop.  Takes the requests that have come. */
static bool
wait_for_work(struct scout *sc, int64_t due_ms, bool *ret_all, char **ret_names, size_t *ret_count)
{
	struct timespec due = { .tv_sec = due_ms / 1000, .tv_nsec = due_ms % 1000 * NS_PER_MS };
	struct sink_real *s = sc->sink;
	bool stop;
	int err = 0;

	pthread_mutex_lock(&s->lock);
	while (!s->stop && !s->hurry && !s->request_count && s->handle == sc->handle &&
	       err != ETIMEDOUT)
		err = pthread_cond_timedwait(&s->changed, &s->lock, &due);
	*ret_all = err == ETIMEDOUT || s->hurry || s->handle != sc->handle;
	s->hurry = false;
	stop = s->stop;
	*ret_count = stop ? 0 : s->request_count; /* what is left is freed with the sink */
	memcpy(ret_names, s->requests, *ret_count * sizeof(*ret_names));
	s->request_count -= *ret_count;
	pthread_mutex_unlock(&s->lock);
	return !stop;
}

static void
take_handle(struct scout *sc)
{
	struct sink_real *s = sc->sink;

	let_go(sc);
	pthread_mutex_lock(&s->lock);
	sc->handle = s->handle;
	if (sc->handle)
		sc->handle->borrowed++;
	pthread_mutex_unlock(&s->lock);
}

static bool
is_current(struct scout *sc)
{
	struct sink_real *s = sc->sink;
	bool current;

	pthread_mutex_lock(&s->lock);
	current = sc->handle && s->handle == sc->handle;
	pthread_mutex_unlock(&s->lock);
	return current;
}

static void *
scout_main(void *arg)
{
	struct scout sc = { .sink = arg, .patience_ms = SINK_HURRY_MS };
	char **names = mem_alloc(SINK_REQUESTS_MAX * sizeof(*names));
	int64_t due = 0, last = 0;
	size_t count = 0;
	bool all = true;

	map_init(&sc.map, topic_hash, &sc);
	while (wait_for_work(&sc, due, &all, names, &count)) {
		struct watched *only = NULL;

		for (size_t i = 0; i < count; i++) {
			struct watched *w = watch(&sc, names[i]);

			if (w)
				w->asked = true;
		}
		if (!is_current(&sc))
			take_handle(&sc);
		if (!sc.handle)
			break;
		/* One look a while, however often something goes wrong. */
		if (all && count == 0 && now_ms() < last + SINK_HURRY_MS / 4 && sc.cluster) {
			due = last + SINK_HURRY_MS / 4;
			continue;
		}
		if (!all && count == 1 && sc.count) {
			hold_topics(&sc);
			for (uint32_t i = 0; i < sc.count && !only; i++)
				only = sc.topics[i].asked ? &sc.topics[i] : NULL;
		}
		if (!only && ++sc.refreshes % CONFIGS_EVERY == 0)
			for (uint32_t i = 0; i < sc.count; i++)
				sc.topics[i].configs = true;
		if (count)
			sc.patience_ms = SINK_HURRY_MS / 2;
		look(&sc, only);
		last = now_ms();
		due = last + next_look_ms(&sc);
	}
	let_go(&sc);
	for (uint32_t i = 0; i < sc.count; i++)
		mem_free(sc.topics[i].name);
	mem_free(sc.topics);
	map_done(&sc.map);
	mem_free(names);
	return NULL;
}

int
sink_scout_start(struct sink_real *s)
{
	if (pthread_create(&s->scout, NULL, scout_main, s))
		return ERR_SYSTEM;
	s->scouting = true;
	return 0;
}

void
sink_scout_stop(struct sink_real *s)
{
	if (!s->scouting)
		return;
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->scout, NULL);
	s->scouting = false;
}

static void
tell(struct sink_real *s, struct str topic, enum sink_topic_news news)
{
	sink_note_push(s, 0,
		       &(struct sink_event){ .kind = SINK_TOPIC, .topic = topic, .news = news });
}

void
sink_scout_ask(struct sink_real *s, struct str topic)
{
	char *name;
	bool taken;

	/* Kafka's own bound; and a name with a NUL inside is nobody's. */
	if (topic.n == 0 || topic.n > 249 || memchr(topic.p, '\0', topic.n)) {
		tell(s, topic, SINK_TOPIC_GONE);
		return;
	}
	name = mem_alloc(topic.n + 1);
	memcpy(name, topic.p, topic.n);
	pthread_mutex_lock(&s->lock);
	taken = s->request_count < SINK_REQUESTS_MAX;
	if (taken)
		s->requests[s->request_count++] = name;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	if (!taken) {
		tell(s, topic, SINK_TOPIC_FAILED);
		mem_free(name);
	}
}

void
sink_scout_hurry(struct sink_real *s)
{
	pthread_mutex_lock(&s->lock);
	s->hurry = true;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}
