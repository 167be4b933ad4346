/*
 * remoting.c -- the listener, the list of connections, and the data port's part of a turn.
 *
 * Deadlines are kept as lists in order of time, one a kind, so that a turn looks at four
 * list heads however many connections there are.
 */
#include "remoting/remoting.h"

#include "base/err.h"
#include "base/log.h"
#include "remoting/check.h"
#include "remoting/conn.h"
#include "remoting/route.h"
#include "remoting/serve.h"

#include <stdio.h>

#define RECEIVE_BYTES_DEFAULT (256u << 20)

/* ---- life --------------------------------------------------------------------------------- */

/* The second listener of clients that talk to "port - 2" by default (4.3 and 4.4). */
static int
listen_vip(struct remoting *r)
{
	struct net_addr addr = r->addr;
	char text[NET_ADDR_TEXT];

	if (addr.port <= 2)
		return ERR_CONFIG;
	addr.port = (uint16_t)(addr.port - 2);
	net_addr_format(&addr, text);
	return r->net->ops->listen(r->net, text, &r->listeners[1]);
}

static int
start(struct remoting *r)
{
	struct net_addr advertised;
	const char *advertise = r->conf.advertise;
	int err;

	/* A name would make clients open a second connection for their answers to checks. */
	if (advertise && net_addr_parse(advertise, strlen(advertise), &advertised) < 0)
		return ERR_CONFIG;
	err = route_init(r);
	if (err < 0)
		return err;
	err = r->net->ops->listen(r->net, r->conf.listen, &r->listeners[0]);
	if (err < 0)
		return err;
	r->net->ops->listen_addr(r->listeners[0], &r->addr);
	return r->conf.vip ? listen_vip(r) : 0;
}

static void
copy_conf(struct remoting *r, const struct remoting_conf *conf)
{
	r->conf = *conf;
	r->conf.listen = mem_dup(conf->listen, strlen(conf->listen) + 1);
	r->conf.broker_name = mem_dup(conf->broker_name, strlen(conf->broker_name) + 1);
	r->conf.cluster_name = mem_dup(conf->cluster_name, strlen(conf->cluster_name) + 1);
	if (conf->advertise)
		r->conf.advertise = mem_dup(conf->advertise, strlen(conf->advertise) + 1);
	if (r->conf.receive_bytes == 0)
		r->conf.receive_bytes = RECEIVE_BYTES_DEFAULT;
	r->conf.connections_max = (uint32_t)min_u64(conf->connections_max, LIMIT_CONNECTIONS);
	r->frame_max = min_u64((uint64_t)conf->message_bytes + LIMIT_FRAME_SLACK,
			       WIRE_FRAME_MAX - LIMIT_CARRY_SMALL);
}

int
remoting_new(struct core *core, struct net *net, const struct remoting_conf *conf,
	     struct remoting **ret_remoting)
{
	struct remoting *r = mem_alloc(sizeof(*r));
	int err;

	r->core = core;
	r->net = net;
	list_init(&r->silent);
	list_init(&r->idle);
	list_init(&r->begun);
	list_init(&r->stuck);
	list_init(&r->beats);
	list_init(&r->dirty);
	list_init(&r->hungry);
	copy_conf(r, conf);
	err = start(r);
	if (err < 0) {
		remoting_free(r);
		return err;
	}
	*ret_remoting = r;
	return 0;
}

static void
free_text(const char *text)
{
	mem_free((void *)(uintptr_t)text);
}

static void
unlisten(struct remoting *r)
{
	for (size_t i = 0; i < ARRAY_LEN(r->listeners); i++)
		if (r->listeners[i])
			r->net->ops->unlisten(r->net, r->listeners[i]);
	r->listeners[0] = r->listeners[1] = NULL;
}

struct remoting *
remoting_free(struct remoting *r)
{
	if (!r)
		return NULL;
	unlisten(r);
	/* The core is on its way out too: it is not told. */
	for (uint32_t i = 0; i < r->slot_count; i++) {
		if (!r->slots[i])
			continue;
		r->net->ops->close(r->slots[i]->net);
		conn_free(r->slots[i]);
	}
	remoting_consumed(r);
	for (uint32_t i = 0; i < r->pool_count; i++)
		buf_free(&r->pool[i]);
	for (size_t i = 0; r->map && i < r->conf.map_count; i++) {
		free_text(r->map[i].name);
		free_text(r->map[i].kafka);
	}
	mem_free(r->map);
	mem_free(r->slots);
	mem_free(r->free_slots);
	mem_free(r->spent);
	mem_free(r->scratches);
	mem_free(r->dead);
	buf_free(&r->plain);
	buf_free(&r->text);
	buf_free(&r->block);
	arena_done(&r->arena);
	free_text(r->conf.listen);
	free_text(r->conf.advertise);
	free_text(r->conf.broker_name);
	free_text(r->conf.cluster_name);
	mem_free(r);
	return NULL;
}

void
remoting_addr(const struct remoting *r, struct net_addr *ret_addr)
{
	*ret_addr = r->addr;
}

/* ---- a turn ------------------------------------------------------------------------------- */

void
remoting_event(struct remoting *r, const struct net_event *ev, int64_t now_ns)
{
	r->now_ns = now_ns;
	switch (ev->kind) {
	case NET_ACCEPTED:
		(void)conn_accept(r, ev->conn); /* refused ones are counted and closed */
		break;
	case NET_READABLE:
		if (ev->data)
			conn_readable(ev->data);
		break;
	case NET_WRITABLE:
		if (ev->data)
			conn_touch(ev->data);
		break;
	}
}

void
remoting_consumed(struct remoting *r)
{
	for (size_t i = 0; i < r->spent_count; i++)
		buf_free(&r->spent[i]);
	r->spent_count = 0;
	for (size_t i = 0; i < r->scratch_count; i++) {
		r->request.scratch = r->scratches[i];
		wire_command_done(&r->request);
	}
	r->scratch_count = 0;
	for (size_t i = 0; i < r->dead_count; i++)
		conn_free(r->dead[i]);
	r->dead_count = 0;
	r->inflated = 0;
	arena_reset(&r->arena);
}

static struct conn *
oldest(const struct list *head, size_t offset)
{
	return list_empty(head) ? NULL : (struct conn *)(void *)((char *)head->next - offset);
}

#define OLDEST(r, list) oldest(&(r)->list, offsetof(struct conn, list))

static void
expire_one(struct conn *c, const char *why)
{
	c->r->stats.timeouts++;
	if (conn_may_complain(c))
		log_warn(why, "peer=%llu from=%s client=%s", (unsigned long long)c->peer, c->from,
			 log_q(buf_as_str(&c->client_id)));
	conn_gone(c);
}

static void
expire(struct remoting *r)
{
	int64_t now = r->now_ns;
	struct conn *c;

	while ((c = OLDEST(r, begun)) && now - c->begun_ns >= LIMIT_FRAME_NS)
		expire_one(c, "a frame was begun and not ended in time, closing");
	while ((c = OLDEST(r, stuck)) && now - c->stuck_ns >= LIMIT_OUT_NS)
		expire_one(c, "a client takes none of its answers, closing");
	while ((c = OLDEST(r, idle)) && now - c->idle_ns >= LIMIT_IDLE_NS) {
		log_debug("nothing heard for long, closing", "peer=%llu from=%s",
			  (unsigned long long)c->peer, c->from);
		conn_gone(c);
	}
	while ((c = OLDEST(r, beats)) && now - c->beat_ns >= LIMIT_HEARTBEAT_NS) {
		list_del(&c->beats);
		conn_expire_groups(c);
	}
}

/* Receive memory is there again: those that waited for it may read. */
static void
feed(struct remoting *r)
{
	if (conn_received(r) >= r->conf.receive_bytes)
		return;
	LIST_EACH (node, &r->hungry) {
		struct conn *c = LIST_ENTRY(node, struct conn, hungry);

		list_del(node);
		c->starved = false;
		conn_interest(c);
	}
}

/*
 * Each connection's answers have a bound, but there may be thousands of connections: together
 * they have one too, and at it goes who holds the most.
 */
static void
relieve(struct remoting *r)
{
	while (r->stats.buffered_out > r->conf.receive_bytes) {
		struct conn *most = NULL;

		LIST_EACH (node, &r->stuck) {
			struct conn *c = LIST_ENTRY(node, struct conn, stuck);

			if (!most || c->out.cap > most->out.cap)
				most = c;
		}
		if (!most)
			return;
		r->stats.crowded++;
		if (conn_may_complain(most))
			log_warn("answers that nobody takes fill their memory, closing the largest",
				 "peer=%llu from=%s client=%s", (unsigned long long)most->peer,
				 most->from, log_q(buf_as_str(&most->client_id)));
		conn_gone(most);
	}
}

void
remoting_flush(struct remoting *r, int64_t now_ns)
{
	r->now_ns = now_ns;
	/* Flushing may end a connection, never begin output on another. */
	while (!list_empty(&r->dirty))
		conn_flush(OLDEST(r, dirty));
	relieve(r);
	expire(r);
	feed(r);
}

int64_t
remoting_deadline_ns(const struct remoting *r)
{
	int64_t due = TIME_NEVER;
	struct conn *c;

	if (!list_empty(&r->dirty))
		return 0;
	if ((c = OLDEST(r, begun)))
		due = min_i64(due, c->begun_ns + LIMIT_FRAME_NS);
	if ((c = OLDEST(r, stuck)))
		due = min_i64(due, c->stuck_ns + LIMIT_OUT_NS);
	if ((c = OLDEST(r, idle)))
		due = min_i64(due, c->idle_ns + LIMIT_IDLE_NS);
	if ((c = OLDEST(r, beats)))
		due = min_i64(due, c->beat_ns + LIMIT_HEARTBEAT_NS);
	return due;
}

/* ---- the core's ports --------------------------------------------------------------------- */

void
remoting_answer(struct remoting *r, struct reply_to to, const struct answer *answer)
{
	struct conn *c = conn_of(r, to.peer);

	if (c) /* whoever is gone asks again elsewhere */
		serve_answer(c, to.tag, answer);
}

int
remoting_check(struct remoting *r, const struct check *check)
{
	struct conn *c = conn_of(r, check->peer);

	return c ? check_write(c, check) : ERR_CLOSED;
}

/* ---- the end, and what people see ----------------------------------------------------------- */

void
remoting_drain(struct remoting *r)
{
	r->draining = true;
	unlisten(r);
}

bool
remoting_idle(const struct remoting *r)
{
	for (uint32_t i = 0; i < r->slot_count; i++)
		if (r->slots[i] && conn_backlog(r->slots[i]) > 0)
			return false;
	return true;
}

const struct remoting_stats *
remoting_stats(const struct remoting *r)
{
	return &r->stats;
}

bool
remoting_conn_next(struct remoting *r, uint32_t *at, struct conn_view *ret_view)
{
	const struct conn *c;

	while (*at < r->slot_count && !r->slots[*at])
		(*at)++;
	if (*at >= r->slot_count)
		return false;
	c = r->slots[(*at)++];
	*ret_view = (struct conn_view){
		.peer = c->peer,
		.addr = c->addr,
		.client_id = buf_as_str(&c->client_id),
		.language = str_of(wire_language_name(c->language)),
		.version = (uint32_t)c->version,
		.requests = c->requests,
		.binary = c->binary,
	};
	return true;
}
