/*
 * worker.c -- a worker: takes what waits in one of its partitions, and sees to its effect.
 *
 *   1. A claim comes before the effect and in its transaction.
 *   2. The messages of a partition are claimed in their order, and in no transaction is one
 *      claimed behind another that failed.
 *   3. An offset moves past a message only when its effect is durable, was durable before, or
 *      Kafka has it as a dead letter.
 *   4. What fails outside of the handler (claims, commits, connections, the broker) is never
 *      counted against a message.
 *   5. Of what a handler sent the broker hears commit when the database said so, and else nothing:
 *      its check goes by the row of the fence.
 */
#include "consumer/inside.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "consumer/identity.h"
#include "escrow/escrow_table.h"

enum fate {
	FATE_DONE,      /* all of them: durable, now or before                              */
	FATE_FAILED,    /* the handler: try again later                                     */
	FATE_DEAD,      /* never                                                            */
	FATE_DATABASE,  /* it ended the transaction, or there is none                       */
	FATE_BROKER,    /* what the handler sends cannot be half-sent, now                  */
	FATE_OVERTAKEN, /* by Kafka's retention                                             */
};

struct attempt {
	uint32_t at; /* which message it failed at */
	uint64_t handled, duplicates, sent;
	char reason[REASON];
};

static enum fate
said(struct attempt *a, enum fate fate, const char *reason)
{
	snprintf(a->reason, sizeof(a->reason), "%s", reason);
	return fate;
}

/* ---- what handlers send --------------------------------------------------------------------- */

static _Thread_local struct worker *here; /* of this thread, if it is a worker's */

/* Room for one more, before there is one that could be lost. */
static bool
sent_room(struct worker *w)
{
	size_t room = w->sent_room ? w->sent_room * 2 : 8;
	escrow_txn **sent;

	if (w->sent_count < w->sent_room)
		return true;
	sent = realloc(w->sent, room * sizeof(escrow_txn *));
	if (sent == NULL)
		return false;
	w->sent = sent;
	w->sent_room = room;
	return true;
}

escrow_status
escrow_consumer_send(escrow_table *table, const escrow_message *messages, size_t count,
		     const escrow_half_opts *opts)
{
	struct worker *w = here;
	escrow_status status = ESCROW_E_NOMEM;

	if (w == NULL || !w->handles) {
		escrow_set_last_error("escrow_consumer_send() is for handlers");
		return ESCROW_E_ARG;
	}
	if (w->send_failed) {
		escrow_set_last_error("the handler's transaction cannot commit any more: "
				      "another message could not be sent");
		return w->send_failed;
	}
	if (sent_room(w))
		status = escrow_table_join(table, w->store->db, messages, count, opts,
					   &w->sent[w->sent_count]);
	else
		escrow_set_last_error("out of memory");
	if (status == ESCROW_OK)
		w->sent_count++;
	w->send_failed = status;
	return status;
}

/* Whether the message can never be sent like this, or only not now. */
static bool
for_good(escrow_status status)
{
	switch (status) {
	case ESCROW_E_ARG:
	case ESCROW_E_REFUSED:
	case ESCROW_E_TOO_BIG:
	case ESCROW_E_TOPIC:
	case ESCROW_E_AUTH:
	case ESCROW_E_NOT_FOUND:
	case ESCROW_E_DECIDED:
	case ESCROW_E_KEY_REUSED:
	case ESCROW_E_UNSUPPORTED:
	case ESCROW_E_LOCAL:
	case ESCROW_E_DATABASE: /* mostly a statement of the handler's own; see transaction() */
		return true;
	case ESCROW_OK:
	case ESCROW_E_NOMEM:
	case ESCROW_E_FULL:
	case ESCROW_E_UNREACHABLE:
	case ESCROW_E_BUSY:
	case ESCROW_E_TIMEOUT:
	case ESCROW_E_FENCED:
	case ESCROW_E_EXPIRED:
	case ESCROW_E_IN_DOUBT:
	case ESCROW_E_CLOSED:
	case ESCROW_E_FORK:
	case ESCROW_E_PROTOCOL:
		break;
	}
	return false;
}

/* Behind the transaction.  Nobody waits for the answers: a commit that gets lost costs a check. */
static void
settle(struct worker *w, bool committed)
{
	for (size_t i = 0; i < w->sent_count; i++) {
		if (committed)
			(void)escrow_decide_async(&w->sent[i], ESCROW_COMMIT, NULL, NULL, NULL);
		else
			escrow_abandon(&w->sent[i]);
	}
	w->sent_count = 0;
}

static int
handle(struct worker *w, rd_kafka_message_t *m)
{
	const escrow_consumer_opts *o = &w->consumer->opts;
	int rc;

	escrow_set_last_error("");
	w->send_failed = ESCROW_OK;
	w->handles = true;
	rc = o->handle(m, w->store->db, o->arg);
	w->handles = false;
	/* Its effect without what it has to say is what all of this is there to prevent. */
	return rc == ESCROW_HANDLED && w->send_failed ? ESCROW_RETRY : rc;
}

/* ---- a transaction -------------------------------------------------------------------------- */

/* As what M is claimed.  False: it cannot be, and *RET_WHY says why. */
static bool
identify(struct worker *w, const rd_kafka_message_t *m, struct identity *ret, const char **ret_why)
{
	rd_kafka_headers_t *headers = NULL;

	(void)rd_kafka_message_headers(m, &headers); /* NULL when it has none */
	if (!identity_find(headers, w->consumer->opts.dedup, ret, ret_why))
		return false;
	ret->claim.consumer = w->consumer->name;
	if (ret->claim.topic == NULL) {
		ret->claim.topic = rd_kafka_topic_name(m->rkt);
		ret->claim.partition = m->partition;
	}
	ret->claim.now_ms = consumer_now_ms(CLOCK_REALTIME);
	return true;
}

/* Claims and handles M. */
static enum fate
one(struct worker *w, rd_kafka_message_t *m, struct attempt *a)
{
	const escrow_consumer_opts *o = &w->consumer->opts;
	struct identity id;
	const char *why;
	int rc;

	if (identify(w, m, &id, &why)) {
		rc = w->store->claim(w->store, &id.claim);
		if (rc < 0)
			return said(a, FATE_DATABASE, w->store->error(w->store));
		if (rc == ESCROW_CLAIM_SEEN) {
			a->duplicates++;
			return FATE_DONE;
		}
		if (rc == ESCROW_CLAIM_GAP)
			return said(a, FATE_OVERTAKEN, "");
		if (rc != ESCROW_CLAIM_NEW)
			return said(a, FATE_DEAD,
				    "it is older than this consumer remembers: it may have been "
				    "applied or not");
	} else if (why != NULL) {
		return said(a, FATE_DEAD, why);
	} else if (!o->apply_without_id) {
		return said(a, FATE_DEAD, "it has no escrow-id, ce_id or id");
	}
	rc = handle(w, m);
	if (rc == ESCROW_HANDLED) {
		a->handled++;
		return FATE_DONE;
	}
	if (escrow_last_error()[0] != '\0')
		(void)said(a, FATE_FAILED, escrow_last_error());
	else
		snprintf(a->reason, sizeof(a->reason), "the handler returned %d", rc);
	if (rc == ESCROW_GIVE_UP)
		return FATE_DEAD;
	return w->send_failed && !for_good(w->send_failed) ? FATE_BROKER : FATE_FAILED;
}

/* The first COUNT of the batch in one transaction. */
static enum fate
transaction(struct worker *w, uint32_t count, struct attempt *a)
{
	escrow_store *store = w->store;
	enum fate fate = FATE_DONE;
	int rc;

	memset(a, 0, sizeof(*a));
	if (store->begin(store))
		return said(a, FATE_DATABASE, store->error(store));
	for (a->at = 0; a->at < count; a->at++) {
		fate = one(w, w->batch[a->at], a);
		if (fate != FATE_DONE)
			break;
	}
	if (fate == FATE_DONE && a->handled > 0) {
		rc = store->commit(store);
		a->sent = w->sent_count;
		settle(w, rc == ESCROW_STORE_OK);
		if (!rc)
			return FATE_DONE;
		(void)said(a, FATE_DATABASE, store->error(store));
		/* A constraint that is only looked at now is the message's fault, or one's of
		 * several; a loss is nobody's, and the next claim tells what it was. */
		fate = rc == ESCROW_STORE_UNDONE ? FATE_FAILED : FATE_DATABASE;
		a->at = count > 1 ? 1 : 0;
	}
	settle(w, false);
	/* A rollback that fails leaves it to the server. */
	if (store->rollback(store) && fate == FATE_FAILED)
		fate = FATE_DATABASE; /* and the handler only felt it */
	return fate;
}

/* The first COUNT messages of P are done: out of the ring, and the offset behind them. */
static void
finish(struct part *p, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		rd_kafka_message_t *m = p->ring[p->head];

		p->done = m->offset + 1;
		p->bytes -= m->len;
		p->head = (p->head + 1) % p->size;
		p->count--;
		rd_kafka_message_destroy(m);
	}
	p->tries = 0;
	p->due_ms = 0;
}

static int32_t
grown(int32_t first_ms, int32_t max_ms, int32_t times)
{
	int64_t ms = first_ms;

	for (int32_t i = 0; i < times && ms < max_ms; i++)
		ms *= 2;
	return (int32_t)(ms < max_ms ? ms : max_ms);
}

/* Whether the store knows that M came: by seq, or nothing would once the next one is applied. */
static bool
met(struct worker *w, const rd_kafka_message_t *m)
{
	escrow_store *s = w->store;
	struct identity id;
	const char *why;

	if (s->struct_size <= offsetof(escrow_store, meet) || s->meet == NULL ||
	    !identify(w, m, &id, &why) || id.claim.by != ESCROW_DEDUP_BY_SEQ)
		return true;
	return s->meet(s, &id.claim) == ESCROW_STORE_OK;
}

/* Without the lock: whether the first message of P is a dead letter now. */
static bool
bury(struct worker *w, struct part *p, const char *reason, int32_t tries)
{
	const char *why = "";

	if (!met(w, w->batch[0])) {
		consumer_log(w->consumer, ESCROW_LOG_WARN, "%s/%d/%lld waits for the database: %s",
			     p->topic, (int)p->partition, (long long)w->batch[0]->offset,
			     w->store->error(w->store));
		return false;
	}
	if (dead_letter(w->consumer, w->batch[0], reason, tries, &why)) {
		consumer_log(w->consumer, ESCROW_LOG_WARN,
			     "%s/%d/%lld is a dead letter after %d tries: %s", p->topic,
			     (int)p->partition, (long long)w->batch[0]->offset, (int)tries, reason);
		return true;
	}
	consumer_log(w->consumer, ESCROW_LOG_ERROR,
		     "%s/%d/%lld waits, for Kafka does not take it as a dead letter: %s", p->topic,
		     (int)p->partition, (long long)w->batch[0]->offset, why);
	return false;
}

/* Under the lock. */
static void
outage(struct worker *w, enum fate fate, const char *why)
{
	struct escrow_consumer *c = w->consumer;

	if (fate == FATE_BROKER)
		c->stats.send_errors++;
	else
		c->stats.database_errors++;
	w->database_ms = w->database_ms ? grown(w->database_ms, DATABASE_MAX_MS, 1) : DATABASE_MS;
	w->database_due_ms = consumer_now_ms(CLOCK_MONOTONIC) + w->database_ms;
	consumer_log(c, ESCROW_LOG_WARN, "the %s, again in %d ms: %s",
		     fate == FATE_BROKER ? "broker" : "database", (int)w->database_ms, why);
}

/* Under the lock: the message that P begins with failed, FATE says how. */
static void
failed(struct worker *w, struct part *p, enum fate fate, const char *reason)
{
	struct escrow_consumer *c = w->consumer;
	const escrow_consumer_opts *o = &c->opts;
	int32_t tries = p->tries < INT32_MAX ? ++p->tries : p->tries;
	bool dead = fate == FATE_DEAD;

	if (fate == FATE_FAILED) {
		c->stats.failures++;
		dead = o->tries_max >= 0 && tries >= o->tries_max;
	}
	if (dead) {
		pthread_mutex_unlock(&c->lock);
		dead = bury(w, p, reason, tries);
		pthread_mutex_lock(&c->lock);
	} else {
		consumer_log(c, ESCROW_LOG_WARN, "%s/%d/%lld failed, try %d: %s", p->topic,
			     (int)p->partition, (long long)w->batch[0]->offset, (int)tries, reason);
	}
	if (dead) {
		c->stats.dead++;
		finish(p, 1);
	} else {
		p->due_ms = consumer_now_ms(CLOCK_MONOTONIC) +
			    grown(o->retry_ms, o->retry_max_ms, tries - 1);
	}
}

/* Under the lock, which is released meanwhile. */
static void
work(struct worker *w, struct part *p)
{
	struct escrow_consumer *c = w->consumer;
	uint32_t count = p->count < p->cap ? p->count : p->cap;
	struct attempt a;
	enum fate fate;

	for (uint32_t i = 0; i < count; i++)
		w->batch[i] = p->ring[(p->head + i) % p->size];
	p->busy = true;
	pthread_mutex_unlock(&c->lock);
	fate = transaction(w, count, &a);
	pthread_mutex_lock(&c->lock);
	if (fate != FATE_DATABASE && fate != FATE_BROKER)
		w->database_ms = 0;
	if (fate == FATE_DONE) {
		c->stats.handled += a.handled;
		c->stats.duplicates += a.duplicates;
		c->stats.transactions += a.handled > 0;
		c->stats.sent += a.sent;
		finish(p, count);
		p->cap = (uint32_t)c->opts.batch_max;
	} else if (fate == FATE_DATABASE || fate == FATE_BROKER) {
		outage(w, fate, a.reason);
		p->cap = 1; /* a handler that hid its error spoils the next claim, not its own */
	} else if (a.at > 0) {
		p->cap = a.at; /* those before it first; then it begins a batch */
	} else if (fate == FATE_OVERTAKEN) {
		c->ended = ESCROW_E_EXPIRED;
		snprintf(c->why, sizeof(c->why),
			 "%s/%d: more than 10000 messages are missing before offset %lld: Kafka's "
			 "retention has overtaken consumer %s",
			 p->topic, (int)p->partition, (long long)w->batch[0]->offset, c->name);
		atomic_store(&c->stop, true);
	} else {
		p->cap = 1; /* it is tried alone from here on */
		failed(w, p, fate, a.reason);
	}
	p->busy = false;
	pthread_cond_broadcast(&c->idle);
}

/* Whose turn it is: the next partition of this worker that has something to do now; else NULL,
 * and *RET_DUE_MS says when there may be one. */
static struct part *
next(struct worker *w, int64_t now_ms, int64_t *ret_due_ms)
{
	struct part *p, *first = NULL, *after = NULL;
	bool passed = false;

	*ret_due_ms = INT64_MAX;
	if (w->database_ms && now_ms < w->database_due_ms) {
		*ret_due_ms = w->database_due_ms;
		return NULL;
	}
	for (p = w->consumer->parts; p != NULL; p = p->next) {
		if (p->worker == w && p->count > 0 && !p->revoked) {
			if (now_ms < p->due_ms) {
				if (p->due_ms < *ret_due_ms)
					*ret_due_ms = p->due_ms;
			} else if (passed && after == NULL) {
				after = p;
			} else if (first == NULL) {
				first = p;
			}
		}
		passed = passed || p == w->last;
	}
	w->last = after != NULL ? after : first;
	return w->last;
}

/* The oldest that any of the daemons may still publish.  False: one of them does not tell. */
static bool
oldest_unpublished(struct escrow_consumer *c, unsigned char ret[ESCROW_GID_SIZE])
{
	unsigned char gid[ESCROW_GID_SIZE];

	memset(ret, 0xff, ESCROW_GID_SIZE);
	for (size_t i = 0; i < c->escrow_count; i++) {
		if (escrow_oldest_unpublished(c->escrows[i], ASK_MS, gid) != ESCROW_OK) {
			consumer_log(c, ESCROW_LOG_WARN, "what Escrow may still publish: %s",
				     escrow_last_error());
			return false;
		}
		if (memcmp(gid, ret, sizeof(gid)) < 0)
			memcpy(ret, gid, sizeof(gid));
	}
	return true;
}

/* Below which gid no copy can arrive any more.  0, or of the store. */
static int
horizon(struct worker *w, int64_t now_ms, int64_t before_ms, unsigned char low[ESCROW_GID_SIZE],
	bool *ret_told)
{
	struct escrow_consumer *c = w->consumer;
	unsigned char oldest[ESCROW_GID_SIZE];

	*ret_told = true;
	memset(low, 0, ESCROW_GID_SIZE);
	if (c->escrow_count > 0) {
		*ret_told = oldest_unpublished(c, oldest);
		return w->store->mark(w->store, c->name, *ret_told ? oldest : NULL, now_ms,
				      before_ms, low);
	}
	for (int i = 0; i < 6 && before_ms > 0; i++)
		low[i] = (unsigned char)(before_ms >> (40 - 8 * i));
	return 0;
}

/* Without the lock: deletes of what need not be remembered any more; when to go on with that. */
static int64_t
forget(struct worker *w)
{
	struct escrow_consumer *c = w->consumer;
	int64_t now_ms = consumer_now_ms(CLOCK_REALTIME);
	bool told = true;
	int err = 0;

	if (!w->forgets) {
		w->forget_seen_ms = now_ms - c->opts.remember_ms;
		err = horizon(w, now_ms, w->forget_seen_ms, w->forget_low, &told);
	}
	if (!err)
		err = w->store->forget(w->store, c->name, w->forget_low, w->forget_seen_ms);
	w->forgets = err > 0;
	if (err < 0)
		consumer_log(c, ESCROW_LOG_WARN, "the tables were not cleaned: %s",
			     w->store->error(w->store));
	pthread_mutex_lock(&c->lock);
	c->stats.forget_errors += err < 0 || !told;
	pthread_mutex_unlock(&c->lock);
	return consumer_now_ms(CLOCK_MONOTONIC) + (w->forgets ? FORGET_PAUSE_MS : FORGET_MS);
}

void *
worker_main(void *arg)
{
	struct worker *w = arg;
	struct escrow_consumer *c = w->consumer;
	bool cleans = w == c->workers && c->opts.remember_ms >= 0;
	int64_t now_ms, due_ms;
	struct timespec until;
	struct part *p;

	here = w;
	pthread_mutex_lock(&c->lock);
	while (!atomic_load(&c->stop)) {
		now_ms = consumer_now_ms(CLOCK_MONOTONIC);
		if (cleans && now_ms >= w->forget_ms) {
			pthread_mutex_unlock(&c->lock);
			w->forget_ms = forget(w);
			pthread_mutex_lock(&c->lock);
			continue; /* run() may have told of the end meanwhile */
		}
		p = next(w, now_ms, &due_ms);
		if (p != NULL) {
			work(w, p);
			continue;
		}
		if (cleans && w->forget_ms < due_ms)
			due_ms = w->forget_ms;
		if (due_ms == INT64_MAX) {
			pthread_cond_wait(&c->work, &c->lock);
			continue;
		}
		until = (struct timespec){ due_ms / 1000, due_ms % 1000 * 1000000 };
		(void)pthread_cond_timedwait(&c->work, &c->lock, &until); /* either is fine */
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}
