/*
 * connect.c -- where the broker is, and what there is to say to it before and between requests.
 *
 * Every address of every server is tried before there is a pause; who answers is asked whether it
 * is Escrow, is told the groups, and hears a heartbeat now and then.  A name is looked up again
 * while connected, and the client follows it.
 */
#include "producer/inside.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

void
connect_watch(escrow_client *c)
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

void
connect_set(escrow_client *c, bool on)
{
	if (atomic_exchange(&c->connected, on) != on)
		client_changed(c);
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

void
connect_lost(escrow_client *c)
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
	requests_take_back(c);
	e->appended = e->taken; /* what the socket did not take is not part of the stream */
	e->ready = false;
	connect_set(c, false);
	strangers = next_try(e, was_ready, e->link.fatal && !was_ready) && !e->others;
	if (e->connect_ns > e->now_ns) {
		e->others = false;
		e->backoff_ns = min_ns(e->backoff_ns * 2, c->conf->backoff_max_ms * NS_PER_MS);
	}
	if (strangers)
		requests_fail(c, ESCROW_E_PROTOCOL, e->link.why);
}

void
connect_lost_because(escrow_client *c, const char *why)
{
	(void)snprintf(c->engine.link.why, sizeof(c->engine.link.why), "%.200s port %s: %.200s",
		       c->engine.servers[c->engine.server].host,
		       c->engine.servers[c->engine.server].port, why);
	connect_lost(c);
}

static void
connect_to(escrow_client *c, struct addrinfo *addrs, int err)
{
	struct engine *e = &c->engine;
	char why[DETAIL_MAX];

	if (err) {
		(void)snprintf(why, sizeof(why), "no such host: %.200s", gai_strerror(err));
		connect_lost_because(c, why);
	} else if (link_open(&e->link, &e->servers[e->server], addrs, e->tls) < 0) {
		connect_lost(c);
	} else {
		connect_watch(c);
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
		connect_lost_because(c, "its name leads to another address now");
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
	connect_set(c, true);
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
		engine_append(c, op);
	else
		connect_lost_because(c, "out of memory");
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
		engine_append(c, op);
}

/* ---- on its way to be open ------------------------------------------------------------------- */

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

void
connect_go_on(escrow_client *c)
{
	struct engine *e = &c->engine;
	size_t at = e->link.at;

	e->watched_fd = -1; /* another address: another socket, often of the same number */
	if (link_go_on(&e->link, &e->servers[e->server]) < 0) {
		connect_lost(c);
		return;
	}
	if (e->link.at != at)
		e->connect_ns = e->now_ns + c->conf->connect_ms * NS_PER_MS;
	connect_watch(c);
	if (e->link.state == LINK_OPEN)
		opened(c);
}

void
connect_turn(escrow_client *c)
{
	struct engine *e = &c->engine;
	char why[96];

	if (e->link.state == LINK_CLOSED && e->now_ns >= e->connect_ns)
		connect_begin(c);
	else if (e->link.state == LINK_RESOLVING && lookup_done(e->lookup))
		resolved(c);
	else if (e->link.state == LINK_RESOLVING && e->now_ns >= e->connect_ns)
		connect_lost_because(c, "its name could not be looked up in time");
	else if (e->link.state != LINK_CLOSED && !e->ready && e->now_ns >= e->connect_ns)
		connect_lost_because(c, "no answer in time");
	if (e->ready)
		refresh(c);
	if (!e->ready)
		return;
	if (e->table_count > 0 && e->now_ns - e->heard_ns >= c->conf->retry_ms * NS_PER_MS) {
		(void)snprintf(why, sizeof(why), "nothing was heard for %lld ms",
			       (long long)c->conf->retry_ms);
		connect_lost_because(c, why);
	} else if (e->now_ns >= e->beat_ns || atomic_load(&c->checks.changed)) {
		atomic_store(&c->checks.changed, false);
		beat(c);
	}
}
