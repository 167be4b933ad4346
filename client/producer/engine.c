/*
 * engine.c -- the connection: requests out, answers in, again when it was lost.
 *
 *      queue --> waiting --> table[opaque] --> done()
 *                  ^ ^          |    |
 *                  | +- lost ---+    +- busy -> delayed -+
 *                  +------------------------------------+
 *
 * A turn: take what was queued, see to the times, write once, sleep, read what came, complete it.
 * Answers are completed while they are read, and what the completions ask for is
 * in the same next write: so a thousand transactions under way cost three system calls.
 *
 * Repeating is safe: a half-send has its key, a decision is the same decision.  What cannot be
 * known is whether an attempt that got no answer arrived: `doubt` remembers it, and the
 * end of such a request is TIMEOUT, never "nothing happened".
 */
#include "producer/inside.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define IN_ROOM    (256u << 10)
#define OUT_FULL   (1u << 20)  /* more is not prepared before the socket took some */
#define OUT_LINGER (64u << 10) /* so much is written without lingering */
#define OUT_KEEP   (4u << 20)
#define TABLE_MIN  1024u

int64_t
clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static int64_t
min_ns(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* ---- lists ----------------------------------------------------------------------------------- */

static void
ops_add(struct ops *l, struct op *op)
{
	op->next = NULL;
	op->prev = l->tail;
	if (l->tail)
		l->tail->next = op;
	else
		l->head = op;
	l->tail = op;
	l->count++;
}

static void
ops_remove(struct ops *l, struct op *op)
{
	if (op->prev)
		op->prev->next = op->next;
	else
		l->head = op->next;
	if (op->next)
		op->next->prev = op->prev;
	else
		l->tail = op->prev;
	l->count--;
}

/* ---- the queue ------------------------------------------------------------------------------- */

void
engine_wake(escrow_client *c)
{
	uint64_t one = 1;

	if (atomic_exchange(&c->asleep, false))
		(void)!write(c->engine.wake, &one, sizeof(one)); /* full: it is awake */
}

void
engine_push(escrow_client *c, struct op *op, struct op *behind)
{
	struct op *head = atomic_load_explicit(&c->queue, memory_order_relaxed);
	struct op *newest = behind ? behind : op;

	if (behind)
		behind->next = op;
	do {
		op->next = head;
	} while (!atomic_compare_exchange_weak(&c->queue, &head, newest));
	if (atomic_load(&c->asleep))
		engine_wake(c);
}

/* The newest is first in it. */
static void
take_queue(escrow_client *c)
{
	struct engine *e = &c->engine;
	struct op *op, *next, *first = NULL;

	if (!atomic_load_explicit(&c->queue, memory_order_relaxed))
		return;
	for (op = atomic_exchange(&c->queue, NULL); op; op = next) {
		next = op->next;
		op->next = first;
		first = op;
	}
	for (op = first; op; op = next) {
		next = op->next;
		ops_add(&e->waiting, op);
		e->next_ns = min_ns(e->next_ns, op->deadline_ns);
	}
}

/* ---- the table ------------------------------------------------------------------------------- */

static bool
table_grow(struct engine *e)
{
	size_t size = e->table_size ? e->table_size * 2 : TABLE_MIN;
	struct op **table = calloc(size, sizeof(*table));

	if (!table)
		return false;
	/* Places that differ below the old size differ below the new one. */
	for (size_t i = 0; i < e->table_size; i++)
		if (e->table[i])
			table[(uint32_t)e->table[i]->opaque & (size - 1)] = e->table[i];
	free(e->table);
	e->table = table;
	e->table_size = size;
	return true;
}

/* Gives it an opaque that has never been under way on this connection. */
static bool
table_add(struct engine *e, struct op *op)
{
	if (e->table_count * 2 >= e->table_size && !table_grow(e))
		return false;
	do {
		e->last_opaque = e->last_opaque == INT32_MAX ? 1 : e->last_opaque + 1;
	} while (e->table[(uint32_t)e->last_opaque & (e->table_size - 1)]);
	op->opaque = e->last_opaque;
	op->under_way = true;
	e->table[(uint32_t)op->opaque & (e->table_size - 1)] = op;
	if (e->table_count++ == 0)
		e->heard_ns = e->now_ns; /* silence begins to mean something */
	return true;
}

static struct op *
table_take(struct engine *e, int32_t opaque)
{
	struct op **at = &e->table[(uint32_t)opaque & (e->table_size - 1)];
	struct op *op = *at;

	if (!op || op->opaque != opaque)
		return NULL;
	*at = NULL;
	op->under_way = false;
	e->table_count--;
	return op;
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void
finish(escrow_client *c, struct op *op, escrow_status status, const char *why,
       const struct wire_command *answer)
{
	bool counted = op->kind <= OP_WATERMARK;
	unsigned parity = op->parity;

	/* Room before, so that the callback finds it; the count after: a flush waits for it. */
	if (op->weight > 0)
		client_no_room(c, op->weight);
	op->done(op, status, why, answer);
	if (counted)
		client_complete(c, parity);
}

/* Its time is over. */
static void
expire(escrow_client *c, struct op *op)
{
	struct engine *e = &c->engine;
	char why[DETAIL_MAX];

	if (op->under_way) {
		(void)table_take(e, op->opaque); /* its answer, if it comes, is a stranger's */
		op->doubt = true;
	}
	if (op->doubt) {
		finish(c, op, ESCROW_E_TIMEOUT,
		       "it was sent, and no answer came until the time was over", NULL);
	} else if (op->busy) {
		finish(c, op, ESCROW_E_BUSY,
		       "the broker refused it for now until the time was over", NULL);
	} else {
		(void)snprintf(why, sizeof(why), "no connection until the time was over: %.400s",
			       e->why[0] ? e->why : "still connecting");
		finish(c, op, ESCROW_E_UNREACHABLE, why, NULL);
	}
}

static void
sweep_list(escrow_client *c, struct ops *l)
{
	struct engine *e = &c->engine;
	struct op *next;

	for (struct op *op = l->head; op; op = next) {
		next = op->next;
		if (op->deadline_ns <= e->now_ns) {
			ops_remove(l, op);
			expire(c, op);
		} else if (l == &e->delayed && op->again_ns <= e->now_ns) {
			ops_remove(l, op);
			ops_add(&e->waiting, op);
			e->next_ns = min_ns(e->next_ns, op->deadline_ns);
		} else {
			e->next_ns = min_ns(e->next_ns, op->deadline_ns);
			if (l == &e->delayed)
				e->next_ns = min_ns(e->next_ns, op->again_ns);
		}
	}
}

static void
sweep(escrow_client *c)
{
	struct engine *e = &c->engine;

	if (e->now_ns < e->next_ns)
		return;
	e->next_ns = TIME_NEVER;
	sweep_list(c, &e->delayed);
	sweep_list(c, &e->waiting);
	for (size_t i = 0; i < e->table_size; i++) {
		struct op *op = e->table[i];

		if (op && op->deadline_ns <= e->now_ns)
			expire(c, op);
		else if (op)
			e->next_ns = min_ns(e->next_ns, op->deadline_ns);
	}
}

static int
by_position(const void *a, const void *b)
{
	const struct op *x = *(struct op *const *)a, *y = *(struct op *const *)b;

	return x->end < y->end ? -1 : x->end > y->end;
}

/* What was under way waits again, before all that never was, in its order. */
static void
take_back(escrow_client *c)
{
	struct engine *e = &c->engine;
	struct ops later = e->waiting;
	size_t n = 0;

	/* The table's own memory holds the list to be sorted. */
	for (size_t i = 0; i < e->table_size; i++) {
		struct op *op = e->table[i];

		e->table[i] = NULL;
		if (op)
			e->table[n++] = op;
	}
	if (n > 0)
		qsort(e->table, n, sizeof(struct op *), by_position);
	e->waiting = (struct ops){ NULL, NULL, 0 };
	for (size_t i = 0; i < n; i++) {
		struct op *op = e->table[i];

		e->table[i] = NULL;
		op->under_way = false;
		op->doubt |= op->end <= e->taken;
		if (op->kind == OP_HELLO || op->kind == OP_HEARTBEAT) {
			op->done(op, ESCROW_E_UNREACHABLE, e->link.why, NULL);
			continue;
		}
		if (op->doubt)
			atomic_fetch_add_explicit(&c->stats.repeats, 1, memory_order_relaxed);
		ops_add(&e->waiting, op);
	}
	e->table_count = 0;
	while (later.head) {
		struct op *op = later.head;

		ops_remove(&later, op);
		ops_add(&e->waiting, op);
	}
}

/* ---- the connection -------------------------------------------------------------------------- */

static void
watch(escrow_client *c)
{
	struct engine *e = &c->engine;
	struct epoll_event ev = { .events = (e->link.want_read ? EPOLLIN : 0u) |
					    (e->link.want_write ? EPOLLOUT : 0u) };

	if (e->epoll < 0 || e->link.fd < 0 ||
	    (e->watched_fd == e->link.fd && e->watched == ev.events))
		return;
	if (epoll_ctl(e->epoll, EPOLL_CTL_MOD, e->link.fd, &ev) < 0)
		(void)epoll_ctl(e->epoll, EPOLL_CTL_ADD, e->link.fd, &ev); /* nobody polls: late */
	e->watched_fd = e->link.fd;
	e->watched = ev.events;
}

static void
set_connected(escrow_client *c, bool on)
{
	if (atomic_exchange(&c->connected, on) != on)
		client_changed(c);
}

static void
fail_waiting(escrow_client *c, escrow_status status, const char *why)
{
	struct ops *lists[] = { &c->engine.delayed, &c->engine.waiting };

	for (size_t i = 0; i < 2; i++) {
		while (lists[i]->head) {
			struct op *op = lists[i]->head;

			ops_remove(lists[i], op);
			if (op->doubt)
				finish(c, op, ESCROW_E_TIMEOUT, why, NULL);
			else
				finish(c, op, status, why, NULL);
		}
	}
}

/*
 * Where to go on: every address of every server is tried before there is a pause, and none before
 * the others.  True: that was all of them, in vain.
 */
static bool
next_try(struct engine *e, bool was_ready, bool fatal)
{
	struct server *s = &e->servers[e->server];
	bool left = e->leave_ns != 0;

	e->leave_ns = 0;
	e->missed = 0;
	if (left) { /* its name leads elsewhere */
		s->first = 0;
		e->tried = 0;
		e->connect_ns = e->now_ns;
		return false;
	}
	e->others |= !fatal;
	s->first = was_ready ? e->link.at : e->link.at + 1;
	if (!was_ready && s->first < e->link.count) {
		e->connect_ns = e->now_ns;
		return false;
	}
	if (!was_ready)
		s->first = 0;
	e->server = (e->server + 1) % e->server_count;
	if (!was_ready && ++e->tried < e->server_count) {
		e->connect_ns = e->now_ns;
		return false;
	}
	e->tried = 0;
	e->random = e->random * 6364136223846793005u + 1442695040888963407u;
	e->connect_ns = e->now_ns + e->backoff_ns / 2 +
			(int64_t)((e->random >> 33) % (uint64_t)(e->backoff_ns / 2 + 1));
	return !was_ready;
}

/* The connection ended, or never came to be: link.why says it. */
static void
lost(escrow_client *c)
{
	struct engine *e = &c->engine;
	bool was_ready = e->ready, strangers;

	client_log(c, ESCROW_LOG_WARN, "%s", e->link.why);
	lookup_abandon(e->lookup);
	e->lookup = NULL;
	memcpy(e->why, e->link.why, sizeof(e->why)); /* the next attempt says its own */
	link_close(&e->link);
	e->watched_fd = -1;
	e->in_n = e->out_n = e->out_at = 0;
	take_back(c);
	e->appended = e->taken; /* what the socket did not take is not part of the stream */
	e->ready = false;
	set_connected(c, false);
	strangers = next_try(e, was_ready, e->link.fatal && !was_ready) && !e->others;
	if (e->connect_ns > e->now_ns) {
		e->others = false;
		e->backoff_ns = min_ns(e->backoff_ns * 2, c->conf->backoff_max_ms * NS_PER_MS);
	}
	if (strangers)
		fail_waiting(c, ESCROW_E_PROTOCOL, e->link.why);
}

static void
lost_because(escrow_client *c, const char *why)
{
	(void)snprintf(c->engine.link.why, sizeof(c->engine.link.why), "%.200s port %s: %.200s",
		       c->engine.servers[c->engine.server].host,
		       c->engine.servers[c->engine.server].port, why);
	lost(c);
}

static void
connect_to(escrow_client *c, struct addrinfo *addrs, int err)
{
	struct engine *e = &c->engine;
	char why[DETAIL_MAX];

	if (err) {
		(void)snprintf(why, sizeof(why), "no such host: %.200s", gai_strerror(err));
		lost_because(c, why);
	} else if (link_open(&e->link, &e->servers[e->server], addrs, e->tls) < 0) {
		lost(c);
	} else {
		watch(c);
	}
}

static void
connect_begin(escrow_client *c)
{
	struct engine *e = &c->engine;
	const struct server *s = &e->servers[e->server];
	struct addrinfo *addrs = NULL;
	int err = lookup_now(s, true, &addrs);

	e->connect_ns = e->now_ns + c->conf->connect_ms * NS_PER_MS;
	e->named = err != 0;
	e->link = (struct link){ .fd = -1, .state = LINK_RESOLVING };
	if (e->named && c->conf->mode == MODE_THREAD)
		e->lookup = lookup_begin(s, -1, 0, e->wake);
	if (e->lookup)
		return;
	if (e->named)
		err = lookup_now(s, false, &addrs);
	connect_to(c, addrs, err);
}

/* The name was looked up. */
static void
resolved(escrow_client *c)
{
	struct engine *e = &c->engine;
	struct addrinfo *addrs = NULL;
	int err = lookup_take(e->lookup, &addrs);

	e->lookup = NULL;
	connect_to(c, addrs, err);
}

/*
 * A broker that moves mostly ends its connections.  One that does not, and whose name leads
 * elsewhere, twice in a row, to somebody who listens, is left: what is under way first gets its
 * answers, for `retry.ms` at most.
 */
static void
refreshed(escrow_client *c)
{
	struct engine *e = &c->engine;
	struct addrinfo *addrs = NULL;

	e->missed = lookup_moved(e->lookup) ? e->missed + 1 : 0;
	if (lookup_take(e->lookup, &addrs) == 0)
		freeaddrinfo(addrs);
	e->lookup = NULL;
	if (e->missed >= 2)
		e->leave_ns = e->now_ns + c->conf->retry_ms * NS_PER_MS;
}

static void
refresh(escrow_client *c)
{
	struct engine *e = &c->engine;
	bool idle = e->table_count == 0 && e->out_at == e->out_n;

	if (e->lookup && lookup_done(e->lookup))
		refreshed(c);
	if (!e->lookup && !e->leave_ns && e->now_ns >= e->refresh_ns) {
		e->lookup = lookup_begin(&e->servers[e->server], e->link.fd,
					 (int)c->conf->connect_ms, e->wake);
		e->refresh_ns = e->now_ns + c->conf->refresh_ms * NS_PER_MS;
	}
	if (e->leave_ns && (idle || e->now_ns >= e->leave_ns))
		lost_because(c, "its name leads to another address now");
}

/* ---- requests of the engine's own ------------------------------------------------------------ */

static struct op *
own_op(escrow_client *c, enum op_kind kind, struct wire_command *command, op_done_fn done)
{
	struct op *op;
	size_t n = 0;

	command->language = 12;                  /* no code of RocketMQ's depends on it */
	(void)wire_encode(command, NULL, 0, &n); /* only to learn the size */
	op = calloc(1, sizeof(*op) + n);
	if (!op)
		return NULL;
	op->frame = (uint8_t *)(op + 1);
	if (wire_encode(command, op->frame, n, &op->n) < 0) {
		free(op);
		return NULL;
	}
	op->kind = kind;
	op->done = done;
	op->client = c;
	op->urgent = true;
	op->deadline_ns = TIME_NEVER; /* it ends with its connection */
	return op;
}

static void append(escrow_client *c, struct op *op);

static void
ready(escrow_client *c, bool rocketmq)
{
	struct engine *e = &c->engine;

	e->ready = true;
	e->tried = 0;
	e->refresh_ns = TIME_NEVER;
	if (e->named && c->conf->mode == MODE_THREAD && c->conf->refresh_ms > 0)
		e->refresh_ns = e->now_ns + c->conf->refresh_ms * NS_PER_MS;
	e->rocketmq = rocketmq;
	e->backoff_ns = c->conf->backoff_ms * NS_PER_MS;
	atomic_store(&c->stats.rocketmq, rocketmq);
	atomic_fetch_add(&c->stats.connects, 1);
	client_log(c, ESCROW_LOG_INFO, "connected to %s port %s", e->servers[e->server].host,
		   e->servers[e->server].port);
	if (rocketmq)
		client_log(c, ESCROW_LOG_WARN,
			   "this broker is RocketMQ: one message to a transaction, no fence");
	set_connected(c, true);
}

static void
hello_done(struct op *op, escrow_status status, const char *why, const struct wire_command *answer)
{
	escrow_client *c = op->client;

	(void)status;
	(void)why;
	free(op);
	if (!answer)
		return; /* the connection was lost */
	if (answer->code == WIRE_SUCCESS) {
		ready(c, false);
	} else if (answer->code == WIRE_NOT_SUPPORTED) {
		ready(c, true);
	} else {
		c->engine.link.fatal = true;
		c->engine.hello_failed = true; /* not here: its caller reads on */
	}
}

static void
heartbeat_done(struct op *op, escrow_status status, const char *why,
	       const struct wire_command *answer)
{
	if (answer && answer->code != WIRE_SUCCESS)
		client_log(op->client, ESCROW_LOG_WARN, "the heartbeat was refused: %s", why);
	(void)status; /* the next one is due soon */
	free(op);
}

static void
say_hello(escrow_client *c)
{
	struct wire_command command;
	struct op *op;

	wire_command_init(&command, WIRE_BINARY, WIRE_WATERMARK);
	wire_add(&command, WIRE_STR("dbId"), WIRE_STR("00000000000000000000000000000000"));
	op = own_op(c, OP_HELLO, &command, hello_done);
	if (op)
		append(c, op);
	else
		lost_because(c, "out of memory");
}

static void
beat(escrow_client *c)
{
	struct wire_heartbeat *h = malloc(sizeof(*h));
	struct wire_command command;
	struct op *op = NULL;
	char *body;
	size_t n = 0;

	c->engine.beat_ns = c->engine.now_ns + c->conf->heartbeat_ms * NS_PER_MS;
	if (!h)
		return;
	pthread_mutex_lock(&c->checks.mutex);
	checks_groups(c, h);
	(void)wire_heartbeat_encode(h, NULL, 0, &n); /* only to learn the size */
	body = malloc(n);
	if (body && wire_heartbeat_encode(h, body, n, &n) == 0) {
		wire_command_init(&command, WIRE_BINARY, WIRE_HEARTBEAT);
		command.body = (struct wire_str){ body, n };
		op = own_op(c, OP_HEARTBEAT, &command, heartbeat_done);
	}
	pthread_mutex_unlock(&c->checks.mutex);
	free(body);
	free(h);
	if (op)
		append(c, op);
}

/* ---- out ------------------------------------------------------------------------------------- */

static bool
out_reserve(struct engine *e, size_t n)
{
	size_t room = e->out_room ? e->out_room : 64u << 10;
	uint8_t *grown;

	if (e->out_at == e->out_n)
		e->out_at = e->out_n = 0;
	if (e->out_room - e->out_n >= n)
		return true;
	while (room - e->out_n < n)
		room *= 2;
	grown = realloc(e->out, room);
	if (!grown)
		return false;
	e->out = grown;
	e->out_room = room;
	return true;
}

/* Under way: in the table, and its bytes in `out`. */
static void
append(escrow_client *c, struct op *op)
{
	struct engine *e = &c->engine;

	if (!out_reserve(e, op->n) || (!op->oneway && !table_add(e, op))) {
		finish(c, op, op->doubt ? ESCROW_E_TIMEOUT : ESCROW_E_NOMEM, "out of memory", NULL);
		return;
	}
	if (!op->oneway)
		wire_set_opaque(op->frame, op->opaque);
	if (e->out_n == e->out_at)
		e->linger_ns = e->now_ns + c->conf->linger_us * NS_PER_US;
	if (op->urgent)
		e->linger_ns = 0;
	memcpy(e->out + e->out_n, op->frame, op->n);
	e->out_n += op->n;
	e->appended += op->n;
	op->end = e->appended;
	e->next_ns = min_ns(e->next_ns, op->deadline_ns);
	if (op->oneway)
		finish(c, op, ESCROW_OK, NULL, NULL);
}

static void
send_waiting(escrow_client *c)
{
	struct engine *e = &c->engine;

	while (e->ready && !e->leave_ns && e->waiting.head && e->out_n - e->out_at < OUT_FULL) {
		struct op *op = e->waiting.head;
		const char *why = NULL;

		ops_remove(&e->waiting, op);
		if (e->rocketmq && (why = rocketmq_frame(op)) != NULL)
			finish(c, op, ESCROW_E_UNSUPPORTED, why, NULL);
		else
			append(c, op);
	}
}

static void
write_out(escrow_client *c)
{
	struct engine *e = &c->engine;
	ssize_t n;

	if (e->out_n - e->out_at < OUT_LINGER && e->linger_ns > e->now_ns &&
	    atomic_load(&c->hurry) == 0)
		return;
	while (e->out_at < e->out_n) {
		n = link_write(&e->link, e->out + e->out_at, e->out_n - e->out_at);
		if (n < 0) {
			lost(c);
			return;
		}
		atomic_fetch_add_explicit(&c->stats.writes, 1, memory_order_relaxed);
		if (n == 0)
			break;
		e->out_at += (size_t)n;
		e->taken += (size_t)n;
	}
	if (e->out_at == e->out_n && e->out_room > OUT_KEEP) {
		free(e->out);
		e->out = NULL;
		e->out_n = e->out_at = e->out_room = 0;
	}
	e->link.want_write = e->out_at < e->out_n;
	watch(c);
}

/* ---- in -------------------------------------------------------------------------------------- */

static bool
begins(struct wire_str s, const char *text)
{
	size_t n = strlen(text);

	return s.n >= n && memcmp(s.p, text, n) == 0;
}

/* What an answer means: PROTOCOL.md, section 6; RocketMQ's own codes are among them. */
static escrow_status
status_of(const struct op *op, const struct wire_command *a)
{
	switch (a->code) {
	case WIRE_SUCCESS:
		return ESCROW_OK;
	case WIRE_SYSTEM_BUSY:
		return ESCROW_E_BUSY;
	case WIRE_NOT_SUPPORTED:
		return ESCROW_E_UNSUPPORTED;
	case WIRE_TRANSACTION_FAILED:
		return ESCROW_E_DECIDED;
	case WIRE_NO_PERMISSION:
		return ESCROW_E_AUTH;
	case WIRE_TOPIC_NOT_EXIST:
		return ESCROW_E_TOPIC;
	case WIRE_SYSTEM_ERROR:
		return op->kind == OP_END && begins(a->remark, "not found") ? ESCROW_E_NOT_FOUND
									    : ESCROW_E_REFUSED;
	default:
		break;
	}
	if (begins(a->remark, "decided"))
		return ESCROW_E_DECIDED;
	if (begins(a->remark, "key reused"))
		return ESCROW_E_KEY_REUSED;
	if (begins(a->remark, "too big"))
		return ESCROW_E_TOO_BIG;
	return ESCROW_E_REFUSED;
}

/* Again in a while, if there is time for that. */
static bool
put_off(struct engine *e, struct op *op)
{
	op->busy = true;
	op->backoff_ns =
		op->backoff_ns ? min_ns(op->backoff_ns * 2, 1000 * NS_PER_MS) : 20 * NS_PER_MS;
	op->again_ns = e->now_ns + op->backoff_ns;
	if (op->again_ns >= op->deadline_ns)
		return false;
	ops_add(&e->delayed, op);
	e->next_ns = min_ns(e->next_ns, op->again_ns);
	return true;
}

static void
answered(escrow_client *c, const struct wire_command *a)
{
	struct op *op = table_take(&c->engine, a->opaque);
	escrow_status status;
	char why[DETAIL_MAX];

	if (!op)
		return; /* of a request whose time is over */
	status = status_of(op, a);
	if (status == ESCROW_OK) {
		finish(c, op, status, NULL, a);
		return;
	}
	if (status == ESCROW_E_BUSY && op->kind <= OP_WATERMARK && put_off(&c->engine, op))
		return;
	/* Refused now, but an earlier attempt may have been taken. */
	if (op->doubt && escrow_is_retriable(status))
		status = ESCROW_E_TIMEOUT;
	(void)snprintf(why, sizeof(why), "%.*s", (int)(a->remark.n < 500 ? a->remark.n : 500),
		       a->remark.n ? a->remark.p : "");
	if (!why[0])
		(void)snprintf(why, sizeof(why), "the broker refused it with code %d", a->code);
	finish(c, op, status, why, a);
}

static void
frame(escrow_client *c, const struct wire_command *command)
{
	if (command->flag & WIRE_RESPONSE)
		answered(c, command);
	else if (command->code == WIRE_CHECK_TRANSACTION)
		checks_take(c, command);
	/* Else: one of RocketMQ's messages to consumers. */
}

/* All whole frames; false: what came is none. */
static bool
frames(escrow_client *c, size_t *ret_need)
{
	struct engine *e = &c->engine;
	size_t at = 0, total = 0;
	bool good = true;

	*ret_need = 0;
	while (e->link.state == LINK_OPEN && !e->hello_failed) {
		struct wire_command command WIRE_UNSET;
		int err = wire_frame_size(e->in + at, e->in_n - at, SIZE_MAX, &total);

		if (err == 0 && total > e->in_n - at) {
			*ret_need = total;
			err = WIRE_E_MORE;
		}
		if (err == WIRE_E_MORE)
			break;
		if (err == 0)
			err = wire_decode(e->in + at, total, &command);
		if (err < 0) {
			good = false;
			break;
		}
		frame(c, &command);
		wire_command_done(&command);
		at += total;
	}
	memmove(e->in, e->in + at, e->in_n - at);
	e->in_n -= at;
	return good && !e->hello_failed;
}

static bool
in_reserve(struct engine *e, size_t need)
{
	size_t room = need > IN_ROOM ? need : IN_ROOM;
	uint8_t *grown;

	if (e->in_room >= room && (need > 0 || e->in_room <= 4 * IN_ROOM))
		return true;
	if (e->in_n > room)
		return true;
	grown = realloc(e->in, room);
	if (!grown)
		return e->in_room > e->in_n;
	e->in = grown;
	e->in_room = room;
	return true;
}

static void
read_in(escrow_client *c)
{
	struct engine *e = &c->engine;
	size_t need = 0;

	e->hello_failed = false;
	for (;;) {
		ssize_t n;
		size_t room;

		if (!in_reserve(e, need)) {
			lost_because(c, "out of memory");
			return;
		}
		room = e->in_room - e->in_n;
		n = link_read(&e->link, e->in + e->in_n, room);
		if (n < 0) {
			lost(c);
			return;
		}
		if (n == 0)
			return;
		e->heard_ns = e->now_ns;
		e->in_n += (size_t)n;
		if (!frames(c, &need)) {
			e->link.fatal = true;
			lost_because(c, "what answers does not speak the protocol");
			return;
		}
		/* A short read was all there is; TLS gives a record at a time. */
		if ((size_t)n < room && !e->link.tls)
			return;
	}
}

/* ---- a turn ---------------------------------------------------------------------------------- */

static void
opened(escrow_client *c)
{
	struct engine *e = &c->engine;

	e->connect_ns = e->now_ns + c->conf->connect_ms * NS_PER_MS; /* to say what it is */
	if (c->conf->broker == BROKER_AUTO)
		say_hello(c);
	else
		ready(c, c->conf->broker == BROKER_ROCKETMQ);
	if (e->link.state == LINK_OPEN)
		beat(c);
}

static void
go_on(escrow_client *c)
{
	struct engine *e = &c->engine;
	size_t at = e->link.at;

	e->watched_fd = -1; /* another address: another socket, often of the same number */
	if (link_go_on(&e->link, &e->servers[e->server]) < 0) {
		lost(c);
		return;
	}
	if (e->link.at != at)
		e->connect_ns = e->now_ns + c->conf->connect_ms * NS_PER_MS;
	watch(c);
	if (e->link.state == LINK_OPEN)
		opened(c);
}

static void
advance(escrow_client *c)
{
	struct engine *e = &c->engine;
	char why[96];

	sweep(c);
	if (e->link.state == LINK_CLOSED && e->now_ns >= e->connect_ns)
		connect_begin(c);
	else if (e->link.state == LINK_RESOLVING && lookup_done(e->lookup))
		resolved(c);
	else if (e->link.state == LINK_RESOLVING && e->now_ns >= e->connect_ns)
		lost_because(c, "its name could not be looked up in time");
	else if (e->link.state != LINK_CLOSED && !e->ready && e->now_ns >= e->connect_ns)
		lost_because(c, "no answer in time");
	if (e->ready)
		refresh(c);
	if (!e->ready)
		return;
	if (e->table_count > 0 && e->now_ns - e->heard_ns >= c->conf->retry_ms * NS_PER_MS) {
		(void)snprintf(why, sizeof(why), "nothing was heard for %lld ms",
			       (long long)c->conf->retry_ms);
		lost_because(c, why);
	} else if (e->now_ns >= e->beat_ns || atomic_load(&c->checks.changed)) {
		atomic_store(&c->checks.changed, false);
		beat(c);
	}
}

/* All that can be done without waiting; when there is something to do next. */
static int64_t
prepare(escrow_client *c)
{
	struct engine *e = &c->engine;
	int64_t due;

	take_queue(c);
	advance(c);
	send_waiting(c);
	if (e->link.state == LINK_OPEN)
		write_out(c);
	due = e->next_ns;
	if (!e->ready)
		return min_ns(due, e->connect_ns);
	due = min_ns(min_ns(due, e->beat_ns), e->lookup ? TIME_NEVER : e->refresh_ns);
	if (e->leave_ns)
		due = min_ns(due, e->leave_ns);
	if (e->table_count > 0)
		due = min_ns(due, e->heard_ns + c->conf->retry_ms * NS_PER_MS);
	if (e->out_at < e->out_n && !e->link.want_write)
		due = min_ns(due, e->linger_ns);
	return due;
}

static void
arm_timer(struct engine *e, int64_t due)
{
	struct itimerspec t = { { 0, 0 }, { 0, 0 } };

	if (e->timer < 0)
		return;
	if (due != TIME_NEVER) {
		due = due > 0 ? due : 1;
		t.it_value = (struct timespec){ due / 1000000000, due % 1000000000 };
	}
	(void)timerfd_settime(e->timer, TFD_TIMER_ABSTIME, &t, NULL); /* its arguments are right */
}

static void
drain(int fd)
{
	uint64_t count;

	if (fd >= 0)
		(void)!read(fd, &count, sizeof(count)); /* empty already is fine */
}

/* Sleeps until the socket is ready, somebody pushed, or UNTIL_NS. */
static short
sleep_until(escrow_client *c, int64_t until_ns)
{
	struct engine *e = &c->engine;
	struct pollfd fds[2] = { { .fd = e->wake, .events = POLLIN }, { .fd = e->link.fd } };
	struct timespec left = { 0, 0 };
	bool forever = until_ns == TIME_NEVER;

	if (e->link.want_read)
		fds[1].events |= POLLIN;
	if (e->link.want_write)
		fds[1].events |= POLLOUT;
	if (!forever && until_ns > e->now_ns)
		left = (struct timespec){ (until_ns - e->now_ns) / 1000000000,
					  (until_ns - e->now_ns) % 1000000000 };
	atomic_store(&c->asleep, true);
	/* Pushed before `asleep` was seen: nobody wakes us for that. */
	if (atomic_load(&c->queue) || atomic_load(&c->stop)) {
		forever = false;
		left = (struct timespec){ 0, 0 };
	}
	if (ppoll(fds, 2, forever ? NULL : &left, NULL) <= 0)
		fds[0].revents = fds[1].revents = 0;
	atomic_store(&c->asleep, false);
	e->now_ns = clock_ns();
	if (fds[0].revents)
		drain(e->wake);
	return fds[1].revents;
}

void
engine_turn(escrow_client *c, int64_t timeout_ns)
{
	struct engine *e = &c->engine;
	int64_t due, until;
	short events;

	drain(e->timer);
	atomic_store(&c->asleep, false);
	e->now_ns = clock_ns();
	until = timeout_ns == TIME_NEVER ? TIME_NEVER : e->now_ns + timeout_ns;
	due = prepare(c);
	events = sleep_until(c, min_ns(due, until));
	if (events && e->link.state != LINK_OPEN && e->link.state != LINK_CLOSED)
		go_on(c);
	else if (events && e->link.state == LINK_OPEN)
		read_in(c);
	due = prepare(c);
	if (e->timer >= 0) {
		arm_timer(e, due);
		/* Outside of a turn every push wakes whoever waits for escrow_fd(). */
		atomic_store(&c->asleep, true);
		if (atomic_load(&c->queue))
			engine_wake(c);
	}
}

/* ---- begin and end --------------------------------------------------------------------------- */

static escrow_status
no_descriptor(void)
{
	return fail(ESCROW_E_NOMEM, "no file descriptor: %s", strerror(errno));
}

static escrow_status
open_poll(struct engine *e)
{
	struct epoll_event ev = { .events = EPOLLIN };

	e->epoll = epoll_create1(EPOLL_CLOEXEC);
	e->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (e->epoll < 0 || e->timer < 0 || epoll_ctl(e->epoll, EPOLL_CTL_ADD, e->timer, &ev) < 0 ||
	    epoll_ctl(e->epoll, EPOLL_CTL_ADD, e->wake, &ev) < 0)
		return no_descriptor();
	arm_timer(e, 1); /* the first turn connects */
	return ESCROW_OK;
}

escrow_status
engine_open(escrow_client *c)
{
	struct engine *e = &c->engine;
	escrow_status st;

	e->epoll = e->wake = e->timer = e->watched_fd = e->link.fd = -1;
	e->next_ns = TIME_NEVER;
	e->backoff_ns = c->conf->backoff_ms * NS_PER_MS;
	if (getrandom(&e->random, sizeof(e->random), 0) != sizeof(e->random))
		e->random = (uint64_t)clock_ns(); /* only jitter */
	st = conf_servers(c->conf->servers ? c->conf->servers : "127.0.0.1", &e->servers,
			  &e->server_count);
	if (st == ESCROW_OK && c->conf->tls)
		st = tls_new(c->conf, &e->tls);
	if (st != ESCROW_OK)
		return st;
	e->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (e->wake < 0)
		return no_descriptor();
	atomic_store(&c->asleep, true);
	return c->conf->mode == MODE_POLL ? open_poll(e) : ESCROW_OK;
}

void
engine_fail_all(escrow_client *c)
{
	struct engine *e = &c->engine;

	e->now_ns = clock_ns();
	take_queue(c);
	if (e->link.state != LINK_CLOSED) {
		(void)snprintf(e->link.why, sizeof(e->link.why), "the client is being closed");
		link_close(&e->link);
	}
	take_back(c);
	set_connected(c, false);
	fail_waiting(c, ESCROW_E_CLOSED, "the client is being closed");
}

void
engine_close(escrow_client *c)
{
	struct engine *e = &c->engine;

	link_close(&e->link);
	lookup_abandon(e->lookup);
	tls_free(e->tls);
	servers_free(e->servers, e->server_count);
	free(e->in);
	free(e->out);
	free(e->table);
	for (int *fd = (int[]){ e->epoll, e->wake, e->timer, -2 }; *fd != -2; fd++)
		if (*fd >= 0)
			close(*fd);
}
