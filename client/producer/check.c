/*
 * check.c -- the broker asks what became of a transaction: a listener says it.
 *
 * The engine copies a check and goes on: a listener looks into a database and may take its time.
 * In thread mode they are answered one by one on a thread of their own, in poll mode in
 * escrow_poll().  What is not answered is asked again, so dropping one costs nothing but time.
 */
#include "producer/inside.h"

#include <stdlib.h>
#include <string.h>

/* The answer to a check, under way. */
struct check_end {
	struct op op;
	char gid[ESCROW_GID_TEXT];
	uint8_t small[END_ROOM];
};

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
	struct escrow_view *v = view_read(command, c->engine.rocketmq);
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
	view_free(v);
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
	op_free_frame(op);
	free(e);
}

static void
say(escrow_client *c, const struct escrow_view *v, escrow_decision decision)
{
	struct wire_end e = {
		.producer_group = { v->group, strlen(v->group) },
		.state_offset = v->state_offset,
		.log_offset = v->log_offset,
		.decision = decision_of(decision),
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
		op_free_frame(&end->op);
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
		view_free(v);
		return;
	}
	k->running = v->group;
	k->runner = pthread_self();
	pthread_mutex_unlock(&k->mutex);
	say(c, v, fn(v, arg));
	pthread_mutex_lock(&k->mutex);
	k->running = NULL;
	pthread_cond_broadcast(&k->idle);
	view_free(v);
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
		view_free(v);
	}
	while (k->listener_count > 0)
		drop(k, &k->listeners[0]);
	pthread_mutex_destroy(&k->mutex);
	pthread_cond_destroy(&k->news);
	pthread_cond_destroy(&k->idle);
}
