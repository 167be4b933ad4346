/*
 * relay.c -- publications out, reports back, and the handle kept alive.
 *
 * Each publication under way has a flight; the token that the sink sees names it, so a
 * report finds it in one step and a report of an earlier life finds nothing.
 *
 *      flights[]   index --> { core's token, when given, lap }     sink token = lap << 32 | index
 *      in order    oldest <-> ... <-> newest           the stall watchdog looks at the first
 *      free        index -> index -> none
 *
 * Memory so follows what is under way, which the core bounds, and not how long the oldest
 * of it has been waiting.
 *
 * Nothing is published before Kafka has said which cluster it is: a journal belongs to one.
 */
#include "relay/relay.h"

#include <stdio.h>

#include "base/canary.h"
#include "base/err.h"
#include "base/log.h"
#include "relay/mapping.h"

#define NONE                UINT32_MAX
#define FLIGHTS_MAX         (1u << 22)
#define FATAL_GRACE_NS      (1 * NS_PER_S) /* for the reports of a dead handle to come out */
#define STALL_GRACE_NS      (NS_PER_S / 4) /* for the reports of what does not stall */
#define RETRY_NS            (1 * NS_PER_S) /* after a rebuild that failed */
#define CODE_INVALID_RECORD 87             /* Kafka's */
#define CODE_TIMED_OUT      (-185)         /* librdkafka's */

struct relay_flight {
	uint64_t token;
	int64_t since_ns;
	uint32_t lap; /* raised when it ends: a late report is no longer its */
	uint32_t prev;
	uint32_t next;
	bool flying;
};

/* What became of a publication that never reached the sink; told in the next poll. */
struct verdict_owed {
	uint64_t token;
	int32_t code;
};

struct relay {
	struct core *core;
	struct sink *sink;
	struct relay_conf conf;
	struct relay_stats stats;
	struct mapping *mapping;
	struct relay_flight *flights;
	uint32_t flight_count; /* slots ever used */
	uint32_t flight_cap;
	uint32_t free;
	uint32_t oldest;
	uint32_t newest;
	struct verdict_owed *owed;
	size_t owed_count;
	size_t owed_cap;
	uint64_t *lost; /* scratch of a rebuild */
	int64_t now_ns;
	int64_t rebuild_ns; /* when; TIME_NEVER: no need */
	bool refused;       /* publish() said ERR_AGAIN: core_sink_ready() is owed */
	bool foreign;
	bool serving;
};

/* ---- flights ---- */

static uint32_t
flight_begin(struct relay *r, uint64_t token)
{
	uint32_t i = r->free;
	struct relay_flight *f;

	if (i != NONE) {
		r->free = r->flights[i].next;
		if (r->free != NONE)
			__builtin_prefetch(&r->flights[r->free], 1);
	} else {
		if (r->flight_count == r->flight_cap) {
			r->flight_cap = r->flight_cap ? r->flight_cap * 2 : 1024;
			r->flights = mem_grow(r->flights, r->flight_cap * sizeof(*r->flights));
		}
		i = r->flight_count++;
		r->flights[i].lap = 0;
	}
	f = &r->flights[i];
	f->token = token;
	f->since_ns = r->now_ns;
	f->flying = true;
	f->prev = r->newest;
	f->next = NONE;
	if (r->newest != NONE)
		r->flights[r->newest].next = i;
	else
		r->oldest = i;
	r->newest = i;
	r->stats.in_flight++;
	return i;
}

static void
flight_end(struct relay *r, uint32_t i)
{
	struct relay_flight *f = &r->flights[i];

	CHECK(f->flying, f->token);
	if (f->prev != NONE)
		r->flights[f->prev].next = f->next;
	else
		r->oldest = f->next;
	if (f->next != NONE)
		r->flights[f->next].prev = f->prev;
	else
		r->newest = f->prev;
	f->flying = false;
	f->lap++;
	f->next = r->free;
	r->free = i;
	r->stats.in_flight--;
}

static uint64_t
sink_token(const struct relay *r, uint32_t i)
{
	return (uint64_t)r->flights[i].lap << 32 | i;
}

/* ---- the core's ports ---- */

static int
not_now(struct relay *r)
{
	r->refused = true;
	return ERR_AGAIN;
}

/* Decided here and now, but the core may not be called back from its own port. */
static void
owe_refusal(struct relay *r, uint64_t token, int32_t code)
{
	if (r->owed_count == r->owed_cap) {
		r->owed_cap = r->owed_cap ? r->owed_cap * 2 : 16;
		r->owed = mem_grow(r->owed, r->owed_cap * sizeof(*r->owed));
	}
	r->owed[r->owed_count++] = (struct verdict_owed){ token, code };
}

int
relay_publish(struct relay *r, const struct publication *p)
{
	struct sink_record record;
	uint32_t i;
	int err;

	if (!r->stats.cluster_known || r->foreign || r->rebuild_ns != TIME_NEVER ||
	    r->stats.in_flight >= FLIGHTS_MAX)
		return not_now(r);
	err = mapping_record(r->mapping, p, &record);
	if (err) {
		r->stats.mapping_failures++;
		log_error("a committed message cannot be made a kafka record, refusing it",
			  "seq=%llu index=%u err=%s", (unsigned long long)p->half->gid.lo, p->index,
			  err_name(err));
		owe_refusal(r, p->token, CODE_INVALID_RECORD);
		return 0;
	}
	i = flight_begin(r, p->token);
	err = r->sink->ops->publish(r->sink, &record, sink_token(r, i));
	if (err) {
		/* The contract knows ERR_AGAIN only; whatever else it may be, it is not taken. */
		flight_end(r, i);
		return CANARY(FORGET_QUEUE_FULL) ? 0 : not_now(r);
	}
	return 0;
}

void
relay_describe(struct relay *r, struct str topic)
{
	r->sink->ops->describe(r->sink, topic);
}

void
relay_flush(struct relay *r)
{
	r->sink->ops->flush(r->sink);
}

/* ---- the handle ---- */

/* Everything under way becomes unknown: the lanes freeze, and go on from the journal. */
static void
forget_flights(struct relay *r, int32_t code)
{
	size_t n = 0;

	if (!r->stats.in_flight)
		return;
	r->lost = mem_grow(r->lost, r->stats.in_flight * sizeof(*r->lost));
	/* First all, then the core, which publishes again as soon as it hears. */
	while (r->oldest != NONE) {
		r->lost[n++] = r->flights[r->oldest].token;
		flight_end(r, r->oldest);
	}
	for (size_t i = 0; i < n; i++)
		core_report(r->core, r->lost[i], REPORT_UNKNOWN, -1, code);
}

static void
ready(struct relay *r)
{
	if (!r->refused)
		return;
	r->refused = false;
	core_sink_ready(r->core);
}

static void
rebuild(struct relay *r)
{
	int err = r->sink->ops->rebuild(r->sink);

	if (err) {
		log_error("cannot make a new kafka producer, retrying in 1s", "err=%s",
			  err_name(err));
		r->rebuild_ns = r->now_ns + RETRY_NS;
		return;
	}
	r->stats.rebuilds++;
	r->rebuild_ns = TIME_NEVER;
	log_warn("kafka producer rebuilt, publishing again what was not acknowledged",
		 "unacknowledged=%llu rebuilds=%llu", (unsigned long long)r->stats.in_flight,
		 (unsigned long long)r->stats.rebuilds);
	core_sink_anew(r->core);
	forget_flights(r, r->stats.last_code);
	ready(r);
}

static void
remember_error(struct relay *r, int32_t code, struct str text)
{
	r->stats.last_code = code;
	snprintf(r->stats.last_error, sizeof(r->stats.last_error), "%.*s", STR_ARG(text));
}

static void
watch_for_stall(struct relay *r)
{
	const struct relay_flight *f;

	if (r->oldest == NONE || r->rebuild_ns != TIME_NEVER)
		return;
	f = &r->flights[r->oldest];
	if (r->now_ns - f->since_ns < r->conf.stall_ns)
		return;
	log_warn("kafka has not acknowledged for long, rebuilding the producer",
		 "oldest_ms=%lld unacknowledged=%llu",
		 (long long)((r->now_ns - f->since_ns) / NS_PER_MS),
		 (unsigned long long)r->stats.in_flight);
	remember_error(r, CODE_TIMED_OUT, STR("not acknowledged for too long"));
	/*
	 * Mostly it is one partition, without a leader or with too few replicas, and all others
	 * get on: what is under way of them would be published twice, each time.
	 */
	r->rebuild_ns = r->now_ns + STALL_GRACE_NS;
}

/* ---- events ---- */

static void
on_report(struct relay *r, const struct sink_event *e)
{
	uint32_t i = (uint32_t)e->token;
	uint64_t token;

	if (i >= r->flight_count || !r->flights[i].flying || sink_token(r, i) != e->token)
		return; /* of an earlier life */
	token = r->flights[i].token;
	flight_end(r, i);
	switch (e->result) {
	case SINK_ACKED:
		core_report(r->core, token, REPORT_ACKED, e->offset, 0);
		return;
	case SINK_REFUSED:
		remember_error(r, e->code, e->text);
		core_report(r->core, token, REPORT_REFUSED, -1, e->code);
		return;
	case SINK_UNCERTAIN:
		remember_error(r, e->code, e->text);
		core_report(r->core, token, REPORT_UNKNOWN, -1, e->code);
		return;
	}
}

static void
on_topic(struct relay *r, const struct sink_event *e)
{
	switch (e->news) {
	case SINK_TOPIC_HERE:
		core_topic(r->core, e->topic, TOPIC_HERE, e->partitions, e->max_bytes);
		return;
	case SINK_TOPIC_GONE:
		core_topic(r->core, e->topic, TOPIC_GONE, 0, 0);
		return;
	case SINK_TOPIC_FAILED:
		core_topic(r->core, e->topic, TOPIC_FAILED, 0, 0);
		return;
	}
}

static int
on_cluster(struct relay *r, struct str id)
{
	bool first = !r->stats.cluster_known;
	int err = core_cluster(r->core, id);

	if (err == ERR_FOREIGN) {
		log_error("this kafka cluster is not the one that the journal belongs to",
			  "cluster=%s", log_q(id));
		r->foreign = true;
		return r->serving ? 0 : ERR_FOREIGN;
	}
	if (err)
		return err;
	if (first)
		log_info("kafka answers", "cluster=%s", log_q(id));
	r->stats.cluster_known = true;
	r->foreign = false;
	ready(r);
	return 0;
}

static void
on_fatal(struct relay *r, const struct sink_event *e)
{
	if (r->rebuild_ns != TIME_NEVER)
		return;
	log_warn("kafka producer failed for good, making a new one", "code=%d why=%s", (int)e->code,
		 log_q(e->text));
	remember_error(r, e->code, e->text);
	/* The reports of what it held are on their way, and some may say "acknowledged". */
	r->rebuild_ns = r->now_ns + FATAL_GRACE_NS;
}

static void
on_updown(struct relay *r, const struct sink_event *e)
{
	bool up = e->kind == SINK_UP;

	if (!up)
		remember_error(r, e->code, e->text);
	if (up && !r->stats.up)
		log_info("kafka is there", "unacknowledged=%llu",
			 (unsigned long long)r->stats.in_flight);
	if (!up)
		log_warn("kafka is away: commits are accepted and wait in the journal",
			 "why=%s unacknowledged=%llu", log_q(e->text),
			 (unsigned long long)r->stats.in_flight);
	r->stats.up = up;
}

/* syslog's levels, as librdkafka uses them, to ours. */
static enum log_level
level_of(int32_t syslog)
{
	if (syslog <= 3)
		return LOG_ERROR;
	if (syslog == 4)
		return LOG_WARN;
	return syslog <= 6 ? LOG_INFO : LOG_DEBUG;
}

static int
on_event(struct relay *r, const struct sink_event *e)
{
	switch (e->kind) {
	case SINK_REPORT:
		on_report(r, e);
		return 0;
	case SINK_READY:
		ready(r);
		return 0;
	case SINK_TOPIC:
		on_topic(r, e);
		return 0;
	case SINK_CLUSTER:
		return on_cluster(r, e->text);
	case SINK_FATAL:
		on_fatal(r, e);
		return 0;
	case SINK_UP:
	case SINK_DOWN:
		on_updown(r, e);
		return 0;
	case SINK_STATS:
		if (log_enabled(LOG_TRACE))
			log_write(LOG_TRACE, "kafka client statistics", "json=%s", log_q(e->text));
		return 0;
	case SINK_LOG:
		if (log_enabled(level_of(e->code)))
			log_write(level_of(e->code), "kafka client", "said=%s", log_q(e->text));
		return 0;
	}
	return 0;
}

static void
tell_owed(struct relay *r)
{
	/* By index and count anew: hearing of one, the core may publish, and owe, the next. */
	for (size_t i = 0; i < r->owed_count; i++)
		core_report(r->core, r->owed[i].token, REPORT_REFUSED, -1, r->owed[i].code);
	r->owed_count = 0;
}

int
relay_poll(struct relay *r, int64_t now_ns)
{
	struct sink_event e;
	int err;

	r->now_ns = now_ns;
	tell_owed(r);
	while (r->sink->ops->next(r->sink, &e)) {
		err = on_event(r, &e);
		if (err)
			return err;
	}
	watch_for_stall(r);
	if (r->rebuild_ns != TIME_NEVER && (r->rebuild_ns <= now_ns || !r->stats.in_flight) &&
	    !CANARY(IGNORE_FATAL))
		rebuild(r);
	return 0;
}

void
relay_serve(struct relay *r)
{
	r->serving = true;
}

int64_t
relay_deadline_ns(const struct relay *r)
{
	if (r->owed_count)
		return r->now_ns;
	if (r->rebuild_ns != TIME_NEVER)
		return r->rebuild_ns;
	if (r->oldest != NONE)
		return r->flights[r->oldest].since_ns + r->conf.stall_ns;
	return TIME_NEVER;
}

/* ---- life ---- */

struct relay *
relay_new(struct core *core, struct sink *sink, const struct relay_conf *conf)
{
	struct relay *r = mem_alloc(sizeof(*r));

	CHECK(conf->stall_ns > 0, conf->stall_ns);
	r->core = core;
	r->sink = sink;
	r->conf = *conf;
	r->mapping = mapping_new();
	r->free = r->oldest = r->newest = NONE;
	r->rebuild_ns = TIME_NEVER;
	core_sink_anew(core);
	return r;
}

struct relay *
relay_free(struct relay *r)
{
	if (!r)
		return NULL;
	mapping_free(r->mapping);
	mem_free(r->flights);
	mem_free(r->owed);
	mem_free(r->lost);
	mem_free(r);
	return NULL;
}

const struct relay_stats *
relay_stats(const struct relay *r)
{
	return &r->stats;
}
