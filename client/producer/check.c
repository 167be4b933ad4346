/*
 * check.c -- the broker asks what became of a transaction: a listener says it.
 *
 * The engine copies a check and goes on: a listener looks into a database and may take its time.
 * In thread mode they are answered one by one on a thread of their own, in poll mode in
 * escrow_poll().  What is not answered is asked again, so dropping one costs nothing but time.
 */
#include "producer/inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct seen_message {
	char topic[TOPIC_MAX + 1];
	struct wire_str key, value;
	escrow_header *headers;
	size_t header_count;
};

struct escrow_view {
	struct escrow_view *next;
	char gid[ESCROW_GID_TEXT];
	unsigned char gid_bytes[ESCROW_GID_SIZE];
	char group[GROUP_MAX + 1];
	char id[ID_MAX + 1];
	bool rocketmq; /* of a broker that is RocketMQ */
	bool has_db;
	unsigned char db[ESCROW_DB_ID_SIZE];
	uint32_t number;
	int64_t log_offset, state_offset;
	size_t count;
	struct seen_message *messages;
	char *remark; /* of REMARK_MAX + 1 */
	size_t n;
	char body[]; /* a copy, in which marks become NULs */
};

/* The answer to a check, under way. */
struct check_end {
	struct op op;
	char gid[ESCROW_GID_TEXT];
	uint8_t small[END_ROOM];
};

static void
free_view(struct escrow_view *v)
{
	for (size_t i = 0; i < v->count; i++)
		free(v->messages[i].headers);
	free(v->messages);
	free(v->remark);
	free(v);
}

/* ---- reading one ----------------------------------------------------------------------------- */

static bool
is_one_of(struct wire_str name, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (name.n == strlen(names[i]) && memcmp(name.p, names[i], name.n) == 0)
			return true;
	return false;
}

/* What the broker and RocketMQ's clients put there for themselves. */
static bool
is_system(struct wire_str name, bool rocketmq)
{
	static const char *const names[] = {
		"TRAN_MSG",
		"PGROUP",
		"UNIQ_KEY",
		"__transactionId__",
		"TRANSACTION_CHECK_TIMES",
		"ESCROW_DB",
		"__SHARDINGKEY",
		"WAIT",
		"REAL_TOPIC",
		"REAL_QID",
		"CHECK_IMMUNITY_TIME_IN_SECONDS",
	};
	static const char *const theirs[] = {
		"KEYS", "MSG_REGION", "CLUSTER", "TRACE_ON", "TRAN_PREPARED_QUEUE_OFFSET",
	};

	return is_one_of(name, names, sizeof(names) / sizeof(names[0])) ||
	       (rocketmq && is_one_of(name, theirs, sizeof(theirs) / sizeof(theirs[0])));
}

static bool
copy_text(char *to, size_t room, struct wire_str s)
{
	if (s.n >= room || (s.n > 0 && memchr(s.p, 0, s.n)))
		return false;
	memcpy(to, s.n ? s.p : "", s.n);
	to[s.n] = '\0';
	return true;
}

/* The Kafka key: the broker's own property of it, or else the first of RocketMQ's KEYS. */
static struct wire_str
key_of(struct wire_str properties)
{
	struct wire_str key = { NULL, 0 };
	const char *blank;

	if (wire_property_find(properties, "__SHARDINGKEY", &key) ||
	    !wire_property_find(properties, "KEYS", &key))
		return key;
	blank = memchr(key.p, ' ', key.n);
	if (blank)
		key.n = (size_t)(blank - key.p);
	return key;
}

static bool
take_headers(struct seen_message *m, struct wire_str properties, bool rocketmq)
{
	struct wire_field f;
	size_t count = 0;

	for (size_t at = 0; wire_property_next(properties, &at, &f);)
		count++;
	m->headers = calloc(count + 1, sizeof(*m->headers));
	if (!m->headers)
		return false;
	for (size_t at = 0; wire_property_next(properties, &at, &f);) {
		if (is_system(f.name, rocketmq))
			continue;
		m->headers[m->header_count++] = (escrow_header){ f.name.p, f.value.p, f.value.n };
	}
	return true;
}

/* Names become strings: each ends with a mark that nobody reads any more. */
static void
end_names(const struct seen_message *m)
{
	for (size_t i = 0; i < m->header_count; i++) {
		const escrow_header *h = &m->headers[i];
		char *name = (char *)(uintptr_t)h->name;
		char *mark = memchr(name, 1, (size_t)((const char *)h->value - name));

		if (mark)
			*mark = '\0';
	}
}

static bool
take_one(struct escrow_view *v, const struct wire_message *w)
{
	struct seen_message *m = realloc(v->messages, (v->count + 1) * sizeof(*m));

	if (!m)
		return false;
	v->messages = m;
	m += v->count++;
	memset(m, 0, sizeof(*m));
	if (!copy_text(m->topic, sizeof(m->topic), w->topic) ||
	    !take_headers(m, w->properties, v->rocketmq))
		return false;
	m->key = key_of(w->properties);
	m->value = w->body;
	return true;
}

/* What is said of the transaction, in the properties of its first message. */
static bool
take_transaction(struct escrow_view *v, struct wire_str properties)
{
	struct wire_str s;
	char text[ESCROW_GID_TEXT];
	int64_t number;

	if (!wire_property_find(properties, "PGROUP", &s) ||
	    !copy_text(v->group, sizeof(v->group), s))
		return false;
	if (wire_property_find(properties, "UNIQ_KEY", &s) && !copy_text(v->id, sizeof(v->id), s))
		return false;
	/* RocketMQ has none, and what it calls so is the UNIQ_KEY. */
	if (v->rocketmq || !wire_property_find(properties, "__transactionId__", &s) ||
	    !gid_take(s, v->gid, v->gid_bytes))
		(void)snprintf(v->gid, sizeof(v->gid), "%032d", 0);
	if (wire_property_find(properties, "ESCROW_DB", &s))
		v->has_db = gid_take(s, text, v->db);
	if (wire_property_find(properties, "TRANSACTION_CHECK_TIMES", &s) && wire_i64(s, &number) &&
	    number > 0 && number <= UINT32_MAX)
		v->number = (uint32_t)number;
	return true;
}

static bool
take_body(struct escrow_view *v)
{
	struct wire_message w;
	size_t at = 0;

	while (at < v->n) {
		const unsigned char *p = (const unsigned char *)v->body + at;
		size_t size = v->n - at;

		if (size >= 4)
			size = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
		if (size > v->n - at || wire_message_decode(p, size, &w) < 0 ||
		    (at == 0 && !take_transaction(v, w.properties)) || !take_one(v, &w))
			return false;
		at += size;
	}
	for (size_t i = 0; i < v->count; i++)
		end_names(&v->messages[i]);
	return v->count > 0;
}

static struct escrow_view *
read_check(const struct wire_command *command, bool rocketmq)
{
	struct escrow_view *v = calloc(1, sizeof(*v) + command->body.n);

	if (!v)
		return NULL;
	v->rocketmq = rocketmq;
	v->n = command->body.n;
	if (v->n > 0)
		memcpy(v->body, command->body.p, v->n);
	if (!wire_field_i64(command, "commitLogOffset", &v->log_offset) ||
	    !wire_field_i64(command, "tranStateTableOffset", &v->state_offset) || !take_body(v)) {
		free_view(v);
		return NULL;
	}
	return v;
}

/* ---- the queue ------------------------------------------------------------------------------- */

static struct listener *
find(struct checks *k, const char *group)
{
	for (size_t i = 0; i < k->listener_count; i++)
		if (strcmp(k->listeners[i].group, group) == 0)
			return &k->listeners[i];
	return NULL;
}

void
checks_take(escrow_client *c, const struct wire_command *command)
{
	struct checks *k = &c->checks;
	struct escrow_view *v = read_check(command, c->engine.rocketmq);
	bool taken = false;

	atomic_fetch_add(&c->stats.checks, 1);
	if (!v) {
		client_log(c, ESCROW_LOG_ERROR, "a check cannot be read, and is left unanswered");
		return;
	}
	pthread_mutex_lock(&k->mutex);
	if (!k->stop && k->count < (size_t)c->conf->checks_max && find(k, v->group)) {
		*k->tail = v;
		k->tail = &v->next;
		k->count++;
		taken = true;
		pthread_cond_signal(&k->news);
	}
	pthread_mutex_unlock(&k->mutex);
	if (taken)
		return;
	atomic_fetch_add(&c->stats.checks_dropped, 1);
	free_view(v);
}

void
checks_groups(escrow_client *c, struct wire_heartbeat *h)
{
	memset(h, 0, offsetof(struct wire_heartbeat, groups));
	h->client_id = (struct wire_str){ c->client_id, strlen(c->client_id) };
	for (size_t i = 0; i < c->checks.listener_count; i++) {
		const char *group = c->checks.listeners[i].group;

		h->groups[h->group_count++] = (struct wire_str){ group, strlen(group) };
	}
	h->scratch = NULL;
}

/* ---- answering ------------------------------------------------------------------------------- */

static void
answer_done(struct op *op, escrow_status status, const char *why, const struct wire_command *answer)
{
	struct check_end *e = (struct check_end *)op;

	(void)answer; /* its code is the status */
	/* Unanswered: it will be asked again.  Refused: somebody should look. */
	if (status == ESCROW_E_DECIDED)
		client_log(op->client, ESCROW_LOG_ERROR,
			   "the answer to the check of %s contradicts what was decided: %s", e->gid,
			   why);
	else if (status != ESCROW_OK && status != ESCROW_E_CLOSED)
		client_log(op->client, ESCROW_LOG_WARN,
			   "the answer to the check of %s did not arrive: %s", e->gid, why);
	if (op->owns_frame)
		free(op->frame);
	free(e);
}

static enum wire_decision
said(escrow_decision decision)
{
	if (decision == ESCROW_COMMIT)
		return WIRE_COMMIT;
	return decision == ESCROW_ROLLBACK ? WIRE_ROLLBACK : WIRE_UNKNOWN;
}

static void
say(escrow_client *c, const struct escrow_view *v, escrow_decision decision)
{
	struct wire_end e = {
		.producer_group = { v->group, strlen(v->group) },
		.state_offset = v->state_offset,
		.log_offset = v->log_offset,
		.decision = said(decision),
		.from_check = true,
		.msg_id = { v->id, strlen(v->id) },
		.transaction_id = { v->gid, strlen(v->gid) },
	};
	struct check_end *end = calloc(1, sizeof(*end));

	if (!end)
		return; /* it will be asked again */
	memcpy(end->gid, v->gid, sizeof(end->gid));
	if (encode_end(&end->op, &e, v->remark, end->small, sizeof(end->small)) != ESCROW_OK) {
		free(end);
		return;
	}
	end->op.kind = OP_END;
	end->op.done = answer_done;
	end->op.deadline_ns = clock_ns() + c->conf->timeout_ms * NS_PER_MS;
	if (client_submit(c, &end->op, NULL) != ESCROW_OK) {
		if (end->op.owns_frame)
			free(end->op.frame);
		free(end);
	}
}

/* Takes the next one and asks its listener.  K->mutex is held, and given up meanwhile. */
static void
answer_next(escrow_client *c)
{
	struct checks *k = &c->checks;
	struct escrow_view *v = k->head;
	struct listener *l = find(k, v->group);
	escrow_check_fn fn = l ? l->fn : NULL;
	void *arg = l ? l->arg : NULL;

	k->head = v->next;
	if (!k->head)
		k->tail = &k->head;
	k->count--;
	if (!fn) { /* it left meanwhile */
		atomic_fetch_add(&c->stats.checks_dropped, 1);
		free_view(v);
		return;
	}
	k->running = v->group;
	k->runner = pthread_self();
	pthread_mutex_unlock(&k->mutex);
	say(c, v, fn(v, arg));
	pthread_mutex_lock(&k->mutex);
	k->running = NULL;
	pthread_cond_broadcast(&k->idle);
	free_view(v);
}

static void *
run(void *arg)
{
	escrow_client *c = arg;
	struct checks *k = &c->checks;

	pthread_mutex_lock(&k->mutex);
	while (!k->stop) {
		if (k->head)
			answer_next(c);
		else
			pthread_cond_wait(&k->news, &k->mutex);
	}
	pthread_mutex_unlock(&k->mutex);
	return NULL;
}

int
checks_run(escrow_client *c)
{
	struct checks *k = &c->checks;
	int count = 0;

	pthread_mutex_lock(&k->mutex);
	for (size_t most = k->count; most > 0 && k->head; most--, count++)
		answer_next(c);
	pthread_mutex_unlock(&k->mutex);
	return count;
}

/* ---- listeners ------------------------------------------------------------------------------- */

static bool
runs(const struct checks *k, const char *group)
{
	return k->running && strcmp(k->running, group) == 0;
}

static escrow_status
add(escrow_client *c, const char *group, escrow_check_fn fn, void *arg)
{
	struct checks *k = &c->checks;
	char *copy;

	if (k->listener_count == LISTENERS_MAX)
		return fail(ESCROW_E_FULL, "at most %d groups have a listener", LISTENERS_MAX);
	/* The first brings the thread: a client without listeners needs none. */
	if (c->has_thread && !k->has_thread) {
		if (client_thread(&k->thread, run, c) != 0)
			return fail(ESCROW_E_NOMEM, "no thread could be started");
		k->has_thread = true;
	}
	copy = strdup(group);
	if (!copy)
		return fail(ESCROW_E_NOMEM, "out of memory");
	k->listeners[k->listener_count++] = (struct listener){ copy, fn, arg };
	return ESCROW_OK;
}

static void
drop(struct checks *k, struct listener *l)
{
	free(l->group);
	*l = k->listeners[--k->listener_count];
}

static escrow_status
listen(escrow_client *c, const char *group, escrow_check_fn fn, void *arg)
{
	struct checks *k = &c->checks;
	escrow_status st = ESCROW_OK;
	struct listener *l;

	if (!group || !*group || strlen(group) > GROUP_MAX)
		return fail(ESCROW_E_ARG, "no producer group, or one of more than %d bytes",
			    GROUP_MAX);
	pthread_mutex_lock(&k->mutex);
	l = find(k, group);
	if (l && fn) {
		l->fn = fn;
		l->arg = arg;
	} else if (l) {
		drop(k, l);
	} else if (fn && k->stop) {
		st = fail(ESCROW_E_CLOSED, "the client is being closed");
	} else if (fn) {
		st = add(c, group, fn, arg);
	}
	/* Not for oneself: a listener may replace itself. */
	while (runs(k, group) && !pthread_equal(k->runner, pthread_self()))
		pthread_cond_wait(&k->idle, &k->mutex);
	pthread_mutex_unlock(&k->mutex);
	atomic_store(&k->changed, true);
	atomic_store(&c->asleep, true); /* wakes the engine whatever it does */
	engine_wake(c);
	return st;
}

escrow_status
escrow_on_check(escrow_client *c, const char *group, escrow_check_fn fn, void *arg)
{
	escrow_status st = client_enter(c);

	if (st != ESCROW_OK)
		return st;
	st = listen(c, group ? group : c->conf->group, fn, arg);
	client_leave(c);
	return st;
}

/* ---- begin and end --------------------------------------------------------------------------- */

void
checks_init(escrow_client *c)
{
	struct checks *k = &c->checks;

	pthread_mutex_init(&k->mutex, NULL);
	pthread_cond_init(&k->news, NULL);
	pthread_cond_init(&k->idle, NULL);
	k->tail = &k->head;
}

bool
checks_is_runner(escrow_client *c)
{
	bool is;

	pthread_mutex_lock(&c->checks.mutex);
	is = c->checks.running && pthread_equal(c->checks.runner, pthread_self());
	pthread_mutex_unlock(&c->checks.mutex);
	return is;
}

void
checks_stop(escrow_client *c)
{
	struct checks *k = &c->checks;

	pthread_mutex_lock(&k->mutex);
	k->stop = true;
	pthread_cond_broadcast(&k->news);
	pthread_mutex_unlock(&k->mutex);
	if (k->has_thread)
		pthread_join(k->thread, NULL);
}

void
checks_done(escrow_client *c)
{
	struct checks *k = &c->checks;

	while (k->head) {
		struct escrow_view *v = k->head;

		k->head = v->next;
		free_view(v);
	}
	while (k->listener_count > 0)
		drop(k, &k->listeners[0]);
	pthread_mutex_destroy(&k->mutex);
	pthread_cond_destroy(&k->news);
	pthread_cond_destroy(&k->idle);
}

/* ---- what a listener sees -------------------------------------------------------------------- */

const char *
escrow_view_gid(const escrow_view *v)
{
	return v->gid;
}

const unsigned char *
escrow_view_gid_bytes(const escrow_view *v)
{
	return v->gid_bytes;
}

const char *
escrow_view_group(const escrow_view *v)
{
	return v->group;
}

const char *
escrow_view_id(const escrow_view *v)
{
	return v->id;
}

const unsigned char *
escrow_view_db_id(const escrow_view *v)
{
	return v->has_db ? v->db : NULL;
}

uint32_t
escrow_view_number(const escrow_view *v)
{
	return v->number;
}

size_t
escrow_view_count(const escrow_view *v)
{
	return v->count;
}

escrow_status
escrow_view_message(const escrow_view *v, size_t index, escrow_message *ret)
{
	const struct seen_message *m;

	if (!v || !ret || index >= v->count || ret->struct_size < sizeof(*ret))
		return fail(ESCROW_E_ARG, "no such message, or struct_size is not set");
	m = &v->messages[index];
	ret->topic = m->topic;
	ret->key = m->key.p;
	ret->key_len = m->key.n;
	ret->value = m->value.p;
	ret->value_len = m->value.n;
	ret->headers = m->headers;
	ret->header_count = m->header_count;
	ret->partition = -1;
	return ESCROW_OK;
}

void
escrow_view_remark(const escrow_view *view, const char *text)
{
	struct escrow_view *v = (struct escrow_view *)(uintptr_t)view;

	free(v->remark);
	v->remark = text && *text ? strndup(text, REMARK_MAX) : NULL;
}
