/*
 * sink_sim.c -- see sink_sim.h.
 *
 *      publish() --> flights (in order, each with its time) --> log
 *                        |                                       ^
 *                        +-- rebuild(), crash --> zombies -------+
 */
#include "sim/sink_sim.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "sim/clock_sim.h"

#define EVENTS_MAX 4096

struct partition {
	int64_t end;
	int64_t last_due_ns;    /* of what is under way: in order, so none is due before another */
	uint64_t failed_behind; /* flights numbered up to this fail: one before them did;  */
				/* all, until the producer has heard of it               */
	uint64_t known;         /* the last handle of which something was appended       */
};

struct topic {
	char name[128];
	int32_t partitions;
	uint32_t max_bytes;
	bool hidden;
	struct partition *of;
};

/* A record under way: a deep copy. */
struct flight {
	uint64_t number;
	uint64_t token;
	int64_t due_ns;
	uint32_t topic;
	int32_t partition;
	bool has_key, has_value;
	struct buf bytes; /* key, value, then names and values of headers */
	size_t key_len, value_len;
	uint64_t timestamp_ms;
	uint32_t header_count;
	struct {
		uint32_t name_len, value_len;
		bool has_value;
	} headers[64];
};

struct sink_sim {
	struct sink sink;
	struct rng_sim rng;
	struct sink_sim_knobs knobs;
	struct sink_sim_counts counts;
	sink_sim_append_fn watch;
	sink_sim_acked_fn acked;
	void *acked_arg;
	void *watch_arg;
	int64_t now_ns;
	bool down;
	bool fatal;
	bool was_full;
	bool told_cluster;
	char cluster[64];
	struct topic *topics;
	uint32_t topic_count;
	struct flight **flights; /* of the living handle, in order of publish()        */
	size_t flight_count, flight_room;
	struct flight **zombies; /* of dead handles                                    */
	size_t zombie_count, zombie_room;
	uint64_t next_number;
	uint64_t handle; /* which one it is                                   */
	struct event {
		struct sink_event e;
		int64_t due_ns;
		bool failed;       /* of a report: that it is no success           */
		uint32_t of_topic; /* of a report */
		int32_t of_partition;
		char topic[128];
	} events[EVENTS_MAX]; /* a ring, in order                                      */
	size_t event_head, event_tail;
	struct sink_event out;
	char out_topic[128];
};

/* ---- the log --------------------------------------------------------------------------- */

static struct topic *
topic_find(const struct sink_sim *s, struct str name, uint32_t *ret_index)
{
	for (uint32_t i = 0; i < s->topic_count; i++) {
		if (str_eq(str_of(s->topics[i].name), name)) {
			if (ret_index)
				*ret_index = i;
			return &s->topics[i];
		}
	}
	return NULL;
}

static struct event *event_push(struct sink_sim *s, enum sink_event_kind kind, int64_t due_ns);

/* Metadata came, and this is what it says. */
static void
tell_topic(struct sink_sim *s, const struct topic *t)
{
	struct event *e = event_push(s, SINK_TOPIC, s->now_ns + s->knobs.latency_max_ns);

	snprintf(e->topic, sizeof(e->topic), "%s", t->name);
	if (t->hidden) {
		e->e.news = SINK_TOPIC_GONE;
		return;
	}
	e->e.news = SINK_TOPIC_HERE;
	e->e.partitions = t->partitions;
	e->e.max_bytes = t->max_bytes;
}

void
sink_sim_topic(struct sink_sim *s, const char *name, int32_t partitions, uint32_t max_bytes)
{
	struct topic *t = topic_find(s, str_of(name), NULL);
	bool grown;

	if (!t) {
		s->topics = mem_grow(s->topics, (s->topic_count + 1) * sizeof(*s->topics));
		t = &s->topics[s->topic_count++];
		memset(t, 0, sizeof(*t));
		snprintf(t->name, sizeof(t->name), "%s", name);
	}
	CHECK(partitions >= t->partitions, partitions);
	grown = t->partitions && partitions > t->partitions;
	t->of = mem_grow(t->of, (size_t)partitions * sizeof(*t->of));
	for (int32_t i = t->partitions; i < partitions; i++)
		t->of[i] = (struct partition){ 0 };
	t->partitions = partitions;
	t->max_bytes = max_bytes;
	if (grown)
		tell_topic(s, t);
}

void
sink_sim_truncate(struct sink_sim *s, const char *name, int32_t partition, int64_t records)
{
	struct topic *t = topic_find(s, str_of(name), NULL);

	CHECK(t && partition < t->partitions && records <= t->of[partition].end, records);
	t->of[partition].end -= records;
	s->counts.truncated += (uint64_t)records;
}

void
sink_sim_hide(struct sink_sim *s, const char *name, bool hidden)
{
	struct topic *t = topic_find(s, str_of(name), NULL);

	CHECK(t, hidden);
	t->hidden = hidden;
	tell_topic(s, t);
}

int64_t
sink_sim_end(const struct sink_sim *s, const char *topic, int32_t partition)
{
	const struct topic *t = topic_find(s, str_of(topic), NULL);

	return t && partition < t->partitions ? t->of[partition].end : 0;
}

int32_t
sink_sim_partitions(const struct sink_sim *s, const char *topic)
{
	const struct topic *t = topic_find(s, str_of(topic), NULL);

	return t ? t->partitions : 0;
}

static void
append(struct sink_sim *s, const struct flight *f)
{
	struct topic *t = &s->topics[f->topic];
	struct sink_header headers[64];
	struct sink_record r = { .topic = str_of(t->name),
				 .partition = f->partition,
				 .timestamp_ms = f->timestamp_ms,
				 .header_count = f->header_count,
				 .headers = headers };
	const char *p = f->bytes.data;

	r.key = f->has_key ? str_from(p, f->key_len) : STR_NONE;
	p += f->key_len;
	r.value = f->has_value ? str_from(p, f->value_len) : STR_NONE;
	p += f->value_len;
	for (uint32_t i = 0; i < f->header_count; i++) {
		headers[i].name = str_from(p, f->headers[i].name_len);
		p += f->headers[i].name_len;
		headers[i].value =
			f->headers[i].has_value ? str_from(p, f->headers[i].value_len) : STR_NONE;
		p += f->headers[i].value_len;
	}
	s->counts.appended++;
	t->of[f->partition].end++;
	if (s->watch)
		s->watch(s->watch_arg, t->of[f->partition].end - 1, &r);
}

static struct flight *
flight_free(struct flight *f)
{
	buf_free(&f->bytes);
	mem_free(f);
	return NULL;
}

static struct flight *
flight_new(struct sink_sim *s, const struct sink_record *r, uint64_t token, uint32_t topic)
{
	struct flight *f = mem_alloc(sizeof(*f));
	uint64_t span = (uint64_t)(s->knobs.latency_max_ns - s->knobs.latency_min_ns) + 1;

	f->number = ++s->next_number;
	f->token = token;
	f->due_ns = s->now_ns + s->knobs.latency_min_ns + (int64_t)rng_sim_below(&s->rng, span);
	f->topic = topic;
	f->partition = r->partition;
	/* A flight waits for those before it; due earlier, it would hold back virtual time. */
	f->due_ns = max_i64(f->due_ns, s->topics[topic].of[f->partition].last_due_ns);
	s->topics[topic].of[f->partition].last_due_ns = f->due_ns;
	f->has_key = r->key.p != NULL;
	f->has_value = r->value.p != NULL;
	f->key_len = r->key.n;
	f->value_len = r->value.n;
	f->timestamp_ms = r->timestamp_ms;
	f->header_count = r->header_count;
	CHECK(r->header_count <= ARRAY_LEN(f->headers), r->header_count);
	buf_reserve(&f->bytes, r->key.n + r->value.n + 1);
	buf_str(&f->bytes, r->key);
	buf_str(&f->bytes, r->value);
	for (uint32_t i = 0; i < r->header_count; i++) {
		f->headers[i].name_len = (uint32_t)r->headers[i].name.n;
		f->headers[i].value_len = (uint32_t)r->headers[i].value.n;
		f->headers[i].has_value = r->headers[i].value.p != NULL;
		buf_str(&f->bytes, r->headers[i].name);
		buf_str(&f->bytes, r->headers[i].value);
	}
	return f;
}

/* ---- events ------------------------------------------------------------------------------ */

static struct event *
event_push(struct sink_sim *s, enum sink_event_kind kind, int64_t due_ns)
{
	struct event *e = &s->events[s->event_tail % EVENTS_MAX];

	CHECK(s->event_tail - s->event_head < EVENTS_MAX, s->event_tail);
	s->event_tail++;
	memset(e, 0, sizeof(*e));
	e->e.kind = kind;
	e->due_ns = due_ns;
	return e;
}

static void
report(struct sink_sim *s, const struct flight *f, enum sink_result result, int64_t offset,
       int32_t code)
{
	struct event *e = event_push(s, SINK_REPORT, s->now_ns);

	e->of_topic = f->topic;
	e->of_partition = f->partition;
	e->e.token = f->token;
	e->e.result = result;
	e->e.offset = offset;
	e->e.code = code;
}

/* ---- what happens to a record under way ------------------------------------------------------ */

static bool
poisoned(const struct sink_sim *s, const struct flight *f)
{
	if (!s->knobs.poison_permille)
		return false;
	return hash_body(f->bytes.data + f->key_len, f->value_len, 7).lo % 1000 <
	       s->knobs.poison_permille;
}

/* A failure: whatever is behind F fails too, until the producer has heard. */
static void
fail(struct sink_sim *s, const struct flight *f, enum sink_result result, int32_t code)
{
	struct partition *p = &s->topics[f->topic].of[f->partition];

	p->failed_behind = UINT64_MAX;
	report(s, f, result, -1, code);
	s->events[(s->event_tail - 1) % EVENTS_MAX].failed = true;
}

/* Behind one that failed, and the producer has not heard of it. */
static bool
doomed(struct sink_sim *s, const struct flight *f)
{
	if (s->topics[f->topic].of[f->partition].failed_behind < f->number)
		return false;
	report(s, f, SINK_UNCERTAIN, -1, -197);
	return true;
}

/*
 * Its leader is elected just now, and refuses what it is asked before it knows.  From a producer
 * that it has never heard of it takes any sequence for the first, so what is behind F passes.
 */
static bool
unled(struct sink_sim *s, const struct partition *p)
{
	return s->knobs.unled_permille && p->known != s->handle &&
	       rng_sim_chance(&s->rng, s->knobs.unled_permille);
}

static void
land(struct sink_sim *s, struct flight *f)
{
	struct partition *p = &s->topics[f->topic].of[f->partition];

	if (doomed(s, f))
		return;
	if (s->topics[f->topic].hidden) {
		s->counts.hidden++;
		fail(s, f, SINK_UNCERTAIN, 3);
		return;
	}
	if (poisoned(s, f) || rng_sim_chance(&s->rng, s->knobs.refuse_permille)) {
		s->counts.refused++;
		s->counts.poisoned += poisoned(s, f);
		fail(s, f, SINK_REFUSED, 10);
		return;
	}
	if (rng_sim_chance(&s->rng, s->knobs.lost_permille)) {
		s->counts.lost++;
		fail(s, f, SINK_UNCERTAIN, 19);
		return;
	}
	if (unled(s, p)) {
		s->counts.unled++;
		report(s, f, SINK_UNCERTAIN, -1, 6);
		return;
	}
	append(s, f);
	p->known = s->handle;
	if (rng_sim_chance(&s->rng, s->knobs.repeat_permille)) {
		s->counts.repeats++;
		append(s, f);
	}
	if (rng_sim_chance(&s->rng, s->knobs.unheard_permille)) {
		s->counts.unheard++;
		fail(s, f, SINK_UNCERTAIN, -195);
	} else if (rng_sim_chance(&s->rng, s->knobs.lying_permille)) {
		s->counts.lying++;
		fail(s, f, SINK_REFUSED, 10);
	} else {
		report(s, f, SINK_ACKED, p->end - 1, 0);
	}
}

static bool
is_first_of_partition(struct flight *const *list, size_t i)
{
	for (size_t k = 0; k < i; k++) {
		if (list[k]->topic == list[i]->topic && list[k]->partition == list[i]->partition)
			return false;
	}
	return true;
}

static void
take_out(struct flight **list, size_t *count, size_t i)
{
	memmove(&list[i], &list[i + 1], (*count - i - 1) * sizeof(*list));
	(*count)--;
}

static void
zombie_add(struct sink_sim *s, struct flight *f)
{
	if (s->zombie_count == s->zombie_room) {
		s->zombie_room = s->zombie_room ? s->zombie_room * 2 : 64;
		s->zombies = mem_grow(s->zombies, s->zombie_room * sizeof(*s->zombies));
	}
	s->zombies[s->zombie_count++] = f;
}

/* The handle is gone.  Of each partition a prefix may still land, at its leisure. */
static void
abandon(struct sink_sim *s)
{
	bool zombie = rng_sim_chance(&s->rng, s->knobs.zombie_permille);

	while (s->flight_count) {
		struct flight *f = s->flights[0];
		struct partition *p = &s->topics[f->topic].of[f->partition];

		take_out(s->flights, &s->flight_count, 0);
		if (!zombie || p->failed_behind >= f->number || poisoned(s, f) ||
		    rng_sim_chance(&s->rng, 300)) {
			p->failed_behind = s->next_number; /* the prefix ends here */
			flight_free(f);
			continue;
		}
		s->counts.zombies++;
		f->due_ns += s->knobs.latency_max_ns;
		zombie_add(s, f);
	}
	for (uint32_t t = 0; t < s->topic_count; t++) {
		for (int32_t i = 0; i < s->topics[t].partitions; i++)
			s->topics[t].of[i].failed_behind = s->next_number;
	}
	s->event_head = s->event_tail;
	s->handle++;
	s->fatal = false;
	s->was_full = false;
}

void
sink_sim_advance(struct sink_sim *s, int64_t now_ns)
{
	s->now_ns = max_i64(s->now_ns, now_ns);
	if (s->down)
		return;
	for (size_t i = 0; i < s->zombie_count;) {
		struct flight *f = s->zombies[i];

		if (f->due_ns > s->now_ns || !is_first_of_partition(s->zombies, i)) {
			i++;
			continue;
		}
		append(s, f);
		take_out(s->zombies, &s->zombie_count, i);
		flight_free(f);
	}
	for (size_t i = 0; i < s->flight_count && !s->fatal && !s->knobs.hold;) {
		struct flight *f = s->flights[i];

		if (f->due_ns > s->now_ns || !is_first_of_partition(s->flights, i)) {
			i++;
			continue;
		}
		if (rng_sim_chance(&s->rng, s->knobs.fatal_permille)) {
			s->counts.fatal++;
			s->fatal = true;
			event_push(s, SINK_FATAL, s->now_ns)->e.code = -150;
			return;
		}
		land(s, f);
		take_out(s->flights, &s->flight_count, i);
		flight_free(f);
		if (s->was_full) {
			s->was_full = false;
			event_push(s, SINK_READY, s->now_ns);
		}
	}
	if (s->was_full && !s->flight_count) {
		s->was_full = false;
		event_push(s, SINK_READY, s->now_ns);
	}
}

size_t
sink_sim_flying(const struct sink_sim *s)
{
	return s->fatal ? 0 : s->flight_count;
}

void
sink_sim_land(struct sink_sim *s, enum sink_sim_fate fate)
{
	struct flight *f = s->flights[0];

	CHECK(sink_sim_flying(s) > 0, fate);
	take_out(s->flights, &s->flight_count, 0);
	if (!doomed(s, f)) {
		if (fate == SINK_SIM_ACKED || fate == SINK_SIM_UNHEARD || fate == SINK_SIM_LYING)
			append(s, f);
		switch (fate) {
		case SINK_SIM_ACKED:
			report(s, f, SINK_ACKED, s->topics[f->topic].of[f->partition].end - 1, 0);
			break;
		case SINK_SIM_LOST:
		case SINK_SIM_UNHEARD:
			fail(s, f, SINK_UNCERTAIN, 19);
			break;
		case SINK_SIM_REFUSED:
		case SINK_SIM_LYING:
			fail(s, f, SINK_REFUSED, 10);
			break;
		}
	}
	flight_free(f);
}

void
sink_sim_strand(struct sink_sim *s, size_t n, bool fatal)
{
	CHECK(n <= s->flight_count, n);
	for (size_t i = 0; i < n; i++)
		append(s, s->flights[i]);
	if (!fatal)
		return;
	s->counts.fatal++;
	s->fatal = true;
	event_push(s, SINK_FATAL, s->now_ns)->e.code = -150;
}

void
sink_sim_cluster(struct sink_sim *s, const char *id)
{
	snprintf(s->cluster, sizeof(s->cluster), "%s", id);
	s->told_cluster = false;
}

int64_t
sink_sim_next_ns(const struct sink_sim *s)
{
	int64_t next = TIME_NEVER;

	if (s->down)
		return TIME_NEVER;
	/* Otherwise there is room when one lands: virtual time must not stand still for it. */
	if (s->was_full && !s->flight_count)
		next = s->now_ns;
	for (size_t i = 0; i < s->flight_count && !s->fatal && !s->knobs.hold; i++)
		next = min_i64(next, s->flights[i]->due_ns);
	for (size_t i = 0; i < s->zombie_count; i++)
		next = min_i64(next, s->zombies[i]->due_ns);
	if (s->event_head != s->event_tail)
		next = min_i64(next, s->events[s->event_head % EVENTS_MAX].due_ns);
	return next;
}

/* ---- the seam ---- */

static int
sim_publish(struct sink *sink, const struct sink_record *r, uint64_t token)
{
	struct sink_sim *s = CONTAINER_OF(sink, struct sink_sim, sink);
	uint32_t topic = 0;
	struct topic *t = topic_find(s, r->topic, &topic);

	if (s->fatal || s->flight_count >= EVENTS_MAX / 4 ||
	    rng_sim_chance(&s->rng, s->knobs.full_permille)) {
		s->counts.full++;
		s->was_full = true;
		return ERR_AGAIN;
	}
	CHECK(t && r->partition >= 0 && r->partition < t->partitions, r->partition);
	s->counts.published++;
	if (s->flight_count == s->flight_room) {
		s->flight_room = s->flight_room ? s->flight_room * 2 : 64;
		s->flights = mem_grow(s->flights, s->flight_room * sizeof(*s->flights));
	}
	s->flights[s->flight_count++] = flight_new(s, r, token, topic);
	return 0;
}

static void
sim_describe(struct sink *sink, struct str name)
{
	struct sink_sim *s = CONTAINER_OF(sink, struct sink_sim, sink);
	struct topic *t = topic_find(s, name, NULL);
	bool silent = s->down || rng_sim_chance(&s->rng, s->knobs.silent_permille);
	struct event *e;

	if (t && !silent) {
		tell_topic(s, t);
		return;
	}
	e = event_push(s, SINK_TOPIC, s->now_ns + s->knobs.latency_max_ns);
	snprintf(e->topic, sizeof(e->topic), "%.*s", STR_ARG(name));
	s->counts.silent += silent;
	e->e.news = silent ? SINK_TOPIC_FAILED : SINK_TOPIC_GONE;
}

static bool
sim_next(struct sink *sink, struct sink_event *ret_event)
{
	struct sink_sim *s = CONTAINER_OF(sink, struct sink_sim, sink);
	struct event *e;

	if (!s->told_cluster && !s->down) {
		s->told_cluster = true;
		*ret_event =
			(struct sink_event){ .kind = SINK_CLUSTER, .text = str_of(s->cluster) };
		return true;
	}
	if (s->event_head == s->event_tail)
		return false;
	e = &s->events[s->event_head % EVENTS_MAX];
	if (e->due_ns > s->now_ns)
		return false;
	s->event_head++;
	if (e->failed)
		s->topics[e->of_topic].of[e->of_partition].failed_behind = s->next_number;
	if (e->e.kind == SINK_REPORT && e->e.result == SINK_ACKED && s->acked)
		s->acked(s->acked_arg, s->topics[e->of_topic].name, e->of_partition, e->e.offset);
	memcpy(s->out_topic, e->topic, sizeof(s->out_topic));
	s->out = e->e;
	s->out.topic = str_of(s->out_topic);
	*ret_event = s->out;
	return true;
}

static int
sim_rebuild(struct sink *sink)
{
	struct sink_sim *s = CONTAINER_OF(sink, struct sink_sim, sink);
	bool full = s->was_full;

	abandon(s);
	s->was_full = full; /* SINK_READY is still owed */
	return 0;
}

static void
sim_flush(struct sink *sink)
{
	(void)sink; /* published is on its way */
}

static int
sim_fd(struct sink *sink)
{
	(void)sink;
	return -1;
}

static void
sim_free(struct sink *sink)
{
	(void)sink; /* sink_sim_free() is the world's */
}

static const struct sink_ops sink_sim_ops = {
	.publish = sim_publish,
	.flush = sim_flush,
	.describe = sim_describe,
	.next = sim_next,
	.rebuild = sim_rebuild,
	.fd = sim_fd,
	.free = sim_free,
};

struct sink_sim *
sink_sim_new(uint64_t seed)
{
	struct sink_sim *s = mem_alloc(sizeof(*s));

	s->sink.ops = &sink_sim_ops;
	s->handle = 1;
	sink_sim_cluster(s, "sim-cluster");
	rng_sim_init(&s->rng, seed);
	return s;
}

struct sink_sim *
sink_sim_free(struct sink_sim *s)
{
	if (!s)
		return NULL;
	for (size_t i = 0; i < s->flight_count; i++)
		flight_free(s->flights[i]);
	for (size_t i = 0; i < s->zombie_count; i++)
		flight_free(s->zombies[i]);
	for (uint32_t i = 0; i < s->topic_count; i++)
		mem_free(s->topics[i].of);
	mem_free(s->topics);
	mem_free(s->flights);
	mem_free(s->zombies);
	mem_free(s);
	return NULL;
}

struct sink *
sink_sim_sink(struct sink_sim *s)
{
	return &s->sink;
}

void
sink_sim_set(struct sink_sim *s, const struct sink_sim_knobs *knobs)
{
	s->knobs = *knobs;
}

void
sink_sim_watch_acked(struct sink_sim *s, sink_sim_acked_fn fn, void *arg)
{
	s->acked = fn;
	s->acked_arg = arg;
}

void
sink_sim_watch(struct sink_sim *s, sink_sim_append_fn fn, void *arg)
{
	s->watch = fn;
	s->watch_arg = arg;
}

const struct sink_sim_counts *
sink_sim_counts(const struct sink_sim *s)
{
	return &s->counts;
}

void
sink_sim_down(struct sink_sim *s, bool down)
{
	s->down = down;
}

void
sink_sim_crash(struct sink_sim *s)
{
	abandon(s);
	s->told_cluster = false;
}
