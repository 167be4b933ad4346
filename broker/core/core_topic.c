/*
 * core_topic.c -- what Kafka says of topics, and the requests that wait for it.
 *
 * A topic of the catalogue serves while Kafka is away.  One that was never seen is asked about, and
 * whoever wants it waits for at most topic_timeout_ns: unknown to *us* is "try later", only
 * unknown to Kafka is "no such topic".
 */
#include "core/core_internal.h"

static struct topic_wait *
wait_find(struct core *c, struct str name)
{
	LIST_EACH (node, &c->topic_waits) {
		struct topic_wait *w = LIST_ENTRY(node, struct topic_wait, node);

		if (str_eq(w->name, name))
			return w;
	}
	return NULL;
}

bool
core_topic_join(struct core *c, struct str name, struct deferred *d)
{
	struct topic_wait *w = wait_find(c, name);

	if (!w && c->topic_wait_count >= LIMIT_TOPIC_WAITS)
		return false;
	if (!w) {
		w = mem_alloc(sizeof(*w) + name.n);
		memcpy(w + 1, name.p, name.n);
		w->name = str_from(w + 1, name.n);
		w->until_ns = c->now_ns + c->conf.topic_timeout_ns;
		list_init(&w->node);
		list_init(&w->waiting);
		list_add_tail(&c->topic_waits, &w->node);
		c->topic_wait_count++;
		c->topic_due_ns = min_i64(c->topic_due_ns, w->until_ns);
		c->ports.describe(c->arg, w->name);
	}
	list_add_tail(&w->waiting, &d->node);
	return true;
}

static void
wait_free(struct core *c, struct topic_wait *w)
{
	list_del(&w->node);
	c->topic_wait_count--;
	mem_free(w);
}

/* Everybody who waits for it gets this answer. */
static void
wait_fail(struct core *c, struct topic_wait *w, enum answer_code code, const char *why)
{
	LIST_EACH (node, &w->waiting) {
		struct deferred *d = LIST_ENTRY(node, struct deferred, node);

		list_del(node);
		core_busy(c, &d->request, code, why);
		core_undefer(c, d);
	}
	wait_free(c, w);
}

void
core_topics_expire(struct core *c)
{
	if (c->now_ns < c->topic_due_ns)
		return;
	c->topic_due_ns = TIME_NEVER;
	LIST_EACH (node, &c->topic_waits) {
		struct topic_wait *w = LIST_ENTRY(node, struct topic_wait, node);

		if (w->until_ns <= c->now_ns)
			wait_fail(c, w, ANSWER_BUSY, "Kafka does not say if the topic exists");
		else
			c->topic_due_ns = min_i64(c->topic_due_ns, w->until_ns);
	}
}

static void
journal_topic(struct core *c, uint32_t number)
{
	const struct topic *t = &c->topics.topics[number];
	struct entry e = {
		.type = ENTRY_TOPIC,
		.topic = { number, t->name, t->partitions, t->max_bytes },
	};

	(void)core_append(c, &e); /* before any record that uses it: the journal keeps the order */
}

/* In the state record, at most: of everything else, of a topic, of each partition's lane. */
#define STATE_FIXED 512u
#define STATE_TOPIC 32u
#define STATE_LANE  24u

void
core_state_max(struct core *c, uint64_t bytes)
{
	c->state_max = bytes;
}

/*
 * Does the state record hold the catalogue with PARTITIONS of topic NUMBER, or of a new one NAME?
 * All of them count, used or not: a commit makes a lane, and cannot be refused any more.
 */
static bool
state_holds(const struct core *c, uint32_t number, struct str name, int32_t partitions)
{
	uint64_t bytes = STATE_FIXED;

	for (uint32_t i = 0; i < c->topics.count; i++) {
		const struct topic *t = &c->topics.topics[i];
		int32_t lanes = t->partitions > t->lane_cap ? t->partitions : t->lane_cap;

		if (i == number)
			lanes = lanes > partitions ? lanes : partitions;
		bytes += STATE_TOPIC + t->name.n + (uint64_t)lanes * STATE_LANE;
	}
	if (number == TOPIC_NONE)
		bytes += STATE_TOPIC + name.n + (uint64_t)partitions * STATE_LANE;
	return !c->state_max || bytes <= c->state_max;
}

void
core_topic(struct core *c, struct str name, enum topic_news news, int32_t partitions,
	   uint32_t max_bytes)
{
	struct topic_wait *w = wait_find(c, name);
	uint32_t number = topics_find(&c->topics, name);

	switch (news) {
	case TOPIC_FAILED:
		if (w && number == TOPIC_NONE)
			wait_fail(c, w, ANSWER_BUSY, "Kafka could not be asked about the topic");
		return;
	case TOPIC_GONE:
		if (number != TOPIC_NONE && topics_set(&c->topics, number, name, 0, 0) == 1)
			journal_topic(c, number);
		if (w)
			wait_fail(c, w, ANSWER_TOPIC_UNKNOWN, "Kafka has no such topic");
		return;
	case TOPIC_HERE:
		break;
	}
	if (number == TOPIC_NONE && !w)
		return; /* nobody asked */
	if (number == TOPIC_NONE && c->topics.count >= LIMIT_TOPICS) {
		wait_fail(c, w, ANSWER_BUSY, "the catalogue of topics is full");
		return;
	}
	if (partitions <= 0)
		return;
	if (number == TOPIC_NONE && !state_holds(c, number, name, partitions)) {
		wait_fail(c, w, ANSWER_BUSY,
			  "the journal's segments are too small for more topics");
		return;
	}
	if (number != TOPIC_NONE && partitions > c->topics.topics[number].partitions &&
	    !state_holds(c, number, name, partitions)) {
		/* The new partitions stay unused; a topic that came back needs its first ones. */
		partitions = c->topics.topics[number].partitions;
		if (partitions == 0) {
			if (w)
				wait_fail(
					c, w, ANSWER_BUSY,
					"the journal's segments are too small for more partitions");
			return;
		}
	}
	if (number == TOPIC_NONE)
		number = c->topics.count;
	else if (max_bytes == 0) /* not told this time: what was known still holds */
		max_bytes = c->topics.topics[number].max_bytes;
	if (topics_set(&c->topics, number, name, partitions, max_bytes) == 1)
		journal_topic(c, number);
	if (w) {
		core_wake(c, &w->waiting);
		wait_free(c, w);
	}
}

struct wait
core_do_route(struct core *c, const struct route_request *r)
{
	struct answer a = { .code = ANSWER_OK };
	uint32_t number;

	if (r->topic.n == 0 || r->topic.n > LIMIT_TOPIC_BYTES) {
		a.code = ANSWER_REFUSED;
		a.why = "a topic has 1 to 127 bytes";
		core_answer(c, r->to, &a);
		return DONE;
	}
	number = topics_find(&c->topics, r->topic);
	if (number == TOPIC_NONE || c->topics.topics[number].partitions == 0)
		return (struct wait){ WAIT_TOPIC, 0, r->topic };
	a.partitions = c->topics.topics[number].partitions;
	core_answer(c, r->to, &a);
	return DONE;
}

int
core_cluster(struct core *c, struct str id)
{
	struct entry e = { .type = ENTRY_CLUSTER, .cluster = { id } };

	if (id.n == 0 || id.n > sizeof(c->cluster))
		return 0; /* Kafka did not say */
	if (c->cluster_len == 0) {
		memcpy(c->cluster, id.p, id.n);
		c->cluster_len = (uint32_t)id.n;
		(void)core_append(c, &e);
		return 0;
	}
	if (str_eq(id, str_from(c->cluster, c->cluster_len))) {
		c->stats.foreign_cluster = false;
		return 0;
	}
	if (!c->stats.foreign_cluster)
		core_note(c, &(struct note){
				     .kind = NOTE_FOREIGN_CLUSTER, .lasted_ns = -1, .text = id });
	c->stats.foreign_cluster = true;
	return ERR_FOREIGN;
}
