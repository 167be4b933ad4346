/*
 * net_sim.c -- sockets that are two queues and a die.
 *
 *      client --send--> [segment|segment|...] --due--> broker reads
 *      client <-due---- [...|segment|segment] <--write-- broker
 *
 * A segment has the time at which it arrives; within one direction of one connection these
 * never go back, so bytes keep their order while connections overtake one another.  A
 * connection is freed once both ends let go of it.
 */
#include "sim/net_sim.h"

#include "base/err.h"
#include "base/list.h"
#include "sim/clock_sim.h"

#include <stdlib.h>

#define WINDOW_DEFAULT (1u << 20)
#define FIRST_PORT     30000
/* A slow reader takes so much at a time, and its kernel has little room. */
#define SLOW_BYTES  64u
#define SLOW_NS     (5 * NS_PER_MS)
#define SLOW_WINDOW 1024u

struct segment {
	struct list link;
	int64_t due_ns;
	size_t at, n;
	char data[];
};

struct pipe {
	struct list segments;
	size_t bytes;    /* sent and not taken */
	int64_t last_ns; /* nothing arrives before what was sent before it */
	bool ended;      /* the sender closed; the end arrives at end_ns */
	int64_t end_ns;
};

/* Both ends of one connection. */
struct net_conn {
	struct net_sim *sim;
	struct list link;
	struct net_listener *listener;
	void *data;
	struct net_addr local, peer;
	bool deaf; /* nothing reaches the client */
	bool mute; /* nothing reaches the broker */
	bool slow; /* the client reads little by little, next at slow_ns */
	int64_t slow_ns;
	struct pipe in;  /* to the broker */
	struct pipe out; /* to the client */
	int64_t accept_ns;
	int64_t stall_ns;
	size_t reset_after;
	bool accepted, broker_gone, client_gone, reset, vanished;
	bool want_read, want_write;
	uint64_t seen; /* the poll whose events were given */
	int stage;     /* of this poll: 0 accept or readable, 1 writable, 2 done */
};

struct net_sim_client {
	struct net_conn *conn;
};

struct net_listener {
	struct list link;
	struct net_addr addr;
};

struct net_sim {
	struct net net;
	struct rng_sim rng;
	struct net_sim_knobs knobs;
	struct net_sim_counts counts;
	int64_t now_ns;
	uint64_t polls;
	uint32_t ports;
	struct list conns;
	struct list listeners;
};

/* ---- pipes -------------------------------------------------------------------------------- */

static void
pipe_clear(struct pipe *p)
{
	LIST_EACH (node, &p->segments) {
		list_del(node);
		free(LIST_ENTRY(node, struct segment, link));
	}
	p->bytes = 0;
}

static int64_t
arrival(struct net_sim *s, struct net_conn *c, struct pipe *p)
{
	int64_t span = s->knobs.latency_max_ns - s->knobs.latency_min_ns;
	int64_t due = s->now_ns + s->knobs.latency_min_ns;

	if (span > 0)
		due += (int64_t)rng_sim_below(&s->rng, (uint64_t)span + 1);
	due = max_i64(due, c->stall_ns);
	due = max_i64(due, c->accept_ns);
	p->last_ns = max_i64(due, p->last_ns);
	return p->last_ns;
}

static void
pipe_add(struct net_sim *s, struct net_conn *c, struct pipe *p, const char *data, size_t n)
{
	while (n > 0) {
		size_t some = n;
		struct segment *g;

		if (n > 1 && rng_sim_chance(&s->rng, s->knobs.fragment_permille)) {
			some = 1 + rng_sim_below(&s->rng, n - 1);
			s->counts.fragments++;
		}
		g = mem_grow(NULL, sizeof(*g) + some);
		g->due_ns = arrival(s, c, p);
		g->at = 0;
		g->n = some;
		memcpy(g->data, data, some);
		list_add_tail(&p->segments, &g->link);
		p->bytes += some;
		data += some;
		n -= some;
	}
}

static struct segment *
pipe_head(const struct pipe *p)
{
	return list_empty(&p->segments) ? NULL : LIST_ENTRY(p->segments.next, struct segment, link);
}

static bool
pipe_ready(const struct net_sim *s, const struct pipe *p)
{
	const struct segment *g = pipe_head(p);

	return g && g->due_ns <= s->now_ns;
}

/* All bytes were taken and the sender's end has arrived. */
static bool
pipe_ended(const struct net_sim *s, const struct pipe *p)
{
	return p->ended && !pipe_head(p) && p->end_ns <= s->now_ns;
}

static size_t
pipe_take(struct net_sim *s, struct pipe *p, char *to, size_t n)
{
	size_t got = 0;

	while (got < n && pipe_ready(s, p)) {
		struct segment *g = pipe_head(p);
		size_t some = min_u64(n - got, g->n - g->at);

		memcpy(to + got, g->data + g->at, some);
		g->at += some;
		got += some;
		p->bytes -= some;
		if (g->at == g->n) {
			list_del(&g->link);
			free(g);
		}
	}
	return got;
}

static void
pipe_end(struct net_sim *s, struct net_conn *c, struct pipe *p)
{
	if (p->ended)
		return;
	p->ended = true;
	p->end_ns = arrival(s, c, p);
}

static size_t
window(const struct net_conn *c)
{
	size_t size = c->sim->knobs.window_bytes ? c->sim->knobs.window_bytes : WINDOW_DEFAULT;

	size = c->slow ? SLOW_WINDOW : size;
	return c->out.bytes < size ? size - c->out.bytes : 0;
}

/* ---- connections -------------------------------------------------------------------------- */

static void
reset(struct net_conn *c)
{
	c->reset = true;
	pipe_clear(&c->in);
	pipe_clear(&c->out);
}

static void
conn_free(struct net_conn *c)
{
	list_del(&c->link);
	pipe_clear(&c->in);
	pipe_clear(&c->out);
	free(c);
}

static bool
readable(const struct net_conn *c)
{
	return c->want_read && !((c->vanished || c->mute) && !c->reset) &&
	       (c->reset || pipe_ready(c->sim, &c->in) || pipe_ended(c->sim, &c->in));
}

static bool
writable(const struct net_conn *c)
{
	return c->want_write && (c->reset || window(c) > 0);
}

/* ---- the broker's side --------------------------------------------------------------------- */

static struct net_sim *
sim_of(struct net *n)
{
	return CONTAINER_OF(n, struct net_sim, net);
}

static struct net_listener *
find_listener(struct net_sim *s, const struct net_addr *addr)
{
	LIST_EACH (node, &s->listeners) {
		struct net_listener *l = LIST_ENTRY(node, struct net_listener, link);

		if (l->addr.port == addr->port && l->addr.len == addr->len)
			return l;
	}
	return NULL;
}

static int
sim_listen(struct net *n, const char *address, struct net_listener **ret_listener)
{
	struct net_sim *s = sim_of(n);
	struct net_listener *l;
	struct net_addr addr;

	if (net_addr_parse(address, strlen(address), &addr) < 0)
		return ERR_CONFIG;
	if (addr.port == 0)
		addr.port = (uint16_t)(FIRST_PORT + ++s->ports % 30000);
	if (find_listener(s, &addr))
		return ERR_EXISTS;
	l = mem_alloc(sizeof(*l));
	l->addr = addr;
	list_add_tail(&s->listeners, &l->link);
	*ret_listener = l;
	return 0;
}

static void
sim_unlisten(struct net *n, struct net_listener *l)
{
	struct net_sim *s = sim_of(n);

	if (!l)
		return;
	LIST_EACH (node, &s->conns) {
		struct net_conn *c = LIST_ENTRY(node, struct net_conn, link);

		if (c->listener != l)
			continue;
		c->listener = NULL;
		if (!c->accepted) { /* those in the backlog are reset */
			c->broker_gone = true;
			reset(c);
			if (c->client_gone)
				conn_free(c);
		}
	}
	list_del(&l->link);
	mem_free(l);
}

static void
sim_listen_addr(struct net_listener *l, struct net_addr *ret_addr)
{
	*ret_addr = l->addr;
}

/* Frees what both ends have left; only here, so that events never name a freed connection. */
static void
sim_poll(struct net *n, int64_t timeout_ns)
{
	struct net_sim *s = sim_of(n);

	(void)timeout_ns;
	s->polls++;
	LIST_EACH (node, &s->conns) {
		struct net_conn *c = LIST_ENTRY(node, struct net_conn, link);

		if (c->broker_gone && c->client_gone)
			conn_free(c);
		else
			c->stage = 0;
	}
	/* Whose turn it is first changes, as it does with a kernel. */
	if (!list_empty(&s->conns) && !s->knobs.steady && rng_sim_chance(&s->rng, 500)) {
		struct list *first = s->conns.next;

		list_del(first);
		list_add_tail(&s->conns, first);
	}
}

static bool
conn_event(struct net_conn *c, struct net_event *ret_event)
{
	*ret_event = (struct net_event){ .conn = c, .data = c->data };
	if (!c->accepted) {
		if (c->accept_ns > c->sim->now_ns)
			return false;
		c->accepted = true;
		c->want_read = true;
		c->stage = 2;
		ret_event->kind = NET_ACCEPTED;
		ret_event->listener = c->listener;
		return true;
	}
	if (c->stage == 0) {
		c->stage = 1;
		ret_event->kind = NET_READABLE;
		if (readable(c))
			return true;
	}
	c->stage = 2;
	ret_event->kind = NET_WRITABLE;
	return writable(c);
}

static bool
sim_next(struct net *n, struct net_event *ret_event)
{
	struct net_sim *s = sim_of(n);

	LIST_EACH (node, &s->conns) {
		struct net_conn *c = LIST_ENTRY(node, struct net_conn, link);

		while (!c->broker_gone && c->stage < 2) {
			if (conn_event(c, ret_event))
				return true;
			if (!c->accepted)
				break;
		}
	}
	return false;
}

static int
sim_read(struct net_conn *c, void *buf, size_t len, size_t *ret_n)
{
	struct net_sim *s = c->sim;

	*ret_n = 0;
	if (c->reset)
		return ERR_CLOSED;
	if (c->vanished || c->mute)
		return 0;
	if (len > 1 && rng_sim_chance(&s->rng, s->knobs.fragment_permille))
		len = 1 + rng_sim_below(&s->rng, min_u64(len, 64));
	*ret_n = pipe_take(s, &c->in, buf, len);
	return *ret_n == 0 && pipe_ended(s, &c->in) ? ERR_CLOSED : 0;
}

static int
sim_write(struct net_conn *c, const struct iovec *iov, int iov_count, size_t *ret_n)
{
	struct net_sim *s = c->sim;
	size_t room = window(c);

	*ret_n = 0;
	if (c->reset)
		return ERR_CLOSED;
	if (c->client_gone && !c->vanished && !c->mute) {
		reset(c); /* nobody reads there any more */
		return ERR_CLOSED;
	}
	if (rng_sim_chance(&s->rng, s->knobs.write_full_permille)) {
		room = min_u64(room, rng_sim_below(&s->rng, 32));
		s->counts.short_writes++;
	}
	for (int i = 0; i < iov_count && room > 0; i++) {
		size_t some = min_u64(iov[i].iov_len, room);

		pipe_add(s, c, &c->out, iov[i].iov_base, some);
		*ret_n += some;
		room -= some;
	}
	return 0;
}

static void
sim_want_read(struct net_conn *c, bool on)
{
	c->want_read = on;
}

static void
sim_want_write(struct net_conn *c, bool on)
{
	c->want_write = on;
}

static void
sim_set_data(struct net_conn *c, void *data)
{
	c->data = data;
}

static void
sim_local_addr(struct net_conn *c, struct net_addr *ret_addr)
{
	*ret_addr = c->local;
}

static void
sim_peer_addr(struct net_conn *c, struct net_addr *ret_addr)
{
	*ret_addr = c->peer;
}

static void
sim_close(struct net_conn *c)
{
	CHECK(!c->broker_gone, c->peer.port);
	c->broker_gone = true;
	c->data = NULL;
	pipe_clear(&c->in);
	pipe_end(c->sim, c, &c->out);
}

static void
sim_wake(struct net *n)
{
	(void)n; /* poll() never sleeps */
}

static int
sim_watch_fd(struct net *n, int fd)
{
	(void)n;
	(void)fd;
	return 0;
}

/* The broker's handle goes; the world behind it stays for the next one. */
static void
sim_free(struct net *n)
{
	if (n)
		net_sim_crash(sim_of(n));
}

static const struct net_ops sim_ops = {
	.listen = sim_listen,
	.unlisten = sim_unlisten,
	.listen_addr = sim_listen_addr,
	.poll = sim_poll,
	.next = sim_next,
	.read = sim_read,
	.write = sim_write,
	.want_read = sim_want_read,
	.want_write = sim_want_write,
	.set_data = sim_set_data,
	.local_addr = sim_local_addr,
	.peer_addr = sim_peer_addr,
	.close = sim_close,
	.wake = sim_wake,
	.watch_fd = sim_watch_fd,
	.free = sim_free,
};

/* ---- the world's side ---------------------------------------------------------------------- */

struct net_sim *
net_sim_new(uint64_t seed)
{
	struct net_sim *s = mem_alloc(sizeof(*s));

	s->net.ops = &sim_ops;
	rng_sim_init(&s->rng, seed);
	list_init(&s->conns);
	list_init(&s->listeners);
	return s;
}

struct net_sim *
net_sim_free(struct net_sim *s)
{
	if (!s)
		return NULL;
	net_sim_crash(s);
	/* Clients that were never closed keep their handle: they must be closed before. */
	LIST_EACH (node, &s->conns)
		conn_free(LIST_ENTRY(node, struct net_conn, link));
	mem_free(s);
	return NULL;
}

struct net *
net_sim_net(struct net_sim *s)
{
	return &s->net;
}

void
net_sim_crash(struct net_sim *s)
{
	LIST_EACH (node, &s->conns) {
		struct net_conn *c = LIST_ENTRY(node, struct net_conn, link);

		c->broker_gone = true;
		c->listener = NULL;
		reset(c);
		if (c->client_gone)
			conn_free(c);
	}
	LIST_EACH (node, &s->listeners) {
		list_del(node);
		mem_free(LIST_ENTRY(node, struct net_listener, link));
	}
}

void
net_sim_set(struct net_sim *s, const struct net_sim_knobs *knobs)
{
	s->knobs = *knobs;
}

const struct net_sim_counts *
net_sim_counts(const struct net_sim *s)
{
	return &s->counts;
}

void
net_sim_advance(struct net_sim *s, int64_t now_ns)
{
	s->now_ns = max_i64(s->now_ns, now_ns);
}

/* Of one direction: when its receiver next has something that it has not now. */
static int64_t
pipe_next_ns(const struct net_sim *s, const struct pipe *p)
{
	LIST_EACH (node, &p->segments) {
		const struct segment *g = LIST_ENTRY(node, struct segment, link);

		if (g->due_ns > s->now_ns)
			return g->due_ns;
	}
	return p->ended && p->end_ns > s->now_ns ? p->end_ns : TIME_NEVER;
}

int64_t
net_sim_next_ns(const struct net_sim *s)
{
	int64_t next = TIME_NEVER;

	for (const struct list *node = s->conns.next; node != &s->conns; node = node->next) {
		const struct net_conn *c =
			CONTAINER_OF((struct list *)(uintptr_t)node, struct net_conn, link);

		if (!c->broker_gone && !c->accepted)
			next = min_i64(next, max_i64(c->accept_ns, s->now_ns));
		if (!c->broker_gone && c->accepted && readable(c))
			next = min_i64(next, s->now_ns);
		/* A socket that took nothing is tried a little later, or time would stand still. */
		if (!c->broker_gone && c->accepted && writable(c))
			next = min_i64(next, s->now_ns + 1000);
		if (c->vanished)
			continue;
		if (!c->broker_gone && !c->mute)
			next = min_i64(next, pipe_next_ns(s, &c->in));
		if (!c->client_gone && !c->deaf)
			next = min_i64(next, pipe_next_ns(s, &c->out));
		if (c->slow && !c->client_gone && c->slow_ns > s->now_ns && pipe_head(&c->out))
			next = min_i64(next, c->slow_ns);
	}
	return next;
}

struct net_sim_client *
net_sim_connect(struct net_sim *s, const char *address)
{
	struct net_sim_client *client;
	struct net_listener *l;
	struct net_addr addr;
	struct net_conn *c;

	if (net_addr_parse(address, strlen(address), &addr) < 0)
		return NULL;
	l = find_listener(s, &addr);
	if (!l)
		return NULL;
	c = mem_alloc(sizeof(*c));
	c->sim = s;
	c->listener = l;
	c->local = addr;
	c->peer = (struct net_addr){ .ip = { 10, 0, 0, 7 }, .len = 4 };
	c->peer.port = (uint16_t)(FIRST_PORT + ++s->ports % 30000);
	c->reset_after = SIZE_MAX;
	c->slow = rng_sim_chance(&s->rng, s->knobs.slow_permille);
	list_init(&c->in.segments);
	list_init(&c->out.segments);
	c->accept_ns = arrival(s, c, &c->in);
	list_add_tail(&s->conns, &c->link);
	client = mem_alloc(sizeof(*client));
	client->conn = c;
	s->counts.connects++;
	return client;
}

/* The die of one send: false when it was the last. */
static bool
misfortune(struct net_conn *c)
{
	struct net_sim *s = c->sim;

	if (rng_sim_chance(&s->rng, s->knobs.reset_permille)) {
		s->counts.resets++;
		reset(c);
		return false;
	}
	if (rng_sim_chance(&s->rng, s->knobs.stall_permille)) {
		s->counts.stalls++;
		c->stall_ns = s->now_ns + s->knobs.stall_ns;
	}
	if (rng_sim_chance(&s->rng, s->knobs.vanish_permille)) {
		s->counts.vanishes++;
		c->vanished = true;
	}
	if (rng_sim_chance(&s->rng, s->knobs.deaf_permille)) {
		s->counts.one_way++;
		c->deaf = true;
	}
	if (rng_sim_chance(&s->rng, s->knobs.mute_permille)) {
		s->counts.one_way++;
		c->mute = true;
	}
	return true;
}

bool
net_sim_send(struct net_sim_client *client, const void *p, size_t n)
{
	struct net_conn *c = client->conn;
	struct net_sim *s = c->sim;

	if (c->reset || c->in.ended || c->broker_gone || !misfortune(c))
		return false;
	s->counts.sends++;
	if (c->vanished || c->mute)
		return true;
	if (n >= c->reset_after) {
		pipe_add(s, c, &c->in, p, c->reset_after);
		pipe_end(s, c, &c->in);
		pipe_clear(&c->out);
		pipe_end(s, c, &c->out);
		s->counts.resets++;
		return false;
	}
	if (c->reset_after != SIZE_MAX)
		c->reset_after -= n;
	s->counts.bytes += n;
	pipe_add(s, c, &c->in, p, n);
	return true;
}

size_t
net_sim_recv(struct net_sim_client *client, void *p, size_t n, bool *ret_closed)
{
	struct net_conn *c = client->conn;
	size_t got;

	*ret_closed = false;
	if (c->reset) {
		*ret_closed = true;
		return 0;
	}
	if (c->vanished || c->deaf)
		return 0;
	if (c->slow) {
		c->sim->counts.slow += c->out.bytes > SLOW_BYTES;
		if (c->sim->now_ns < c->slow_ns)
			return 0;
		n = min_u64(n, SLOW_BYTES);
		c->slow_ns = c->sim->now_ns + SLOW_NS;
	}
	got = pipe_take(c->sim, &c->out, p, n);
	if (got == 0 && pipe_ended(c->sim, &c->out))
		*ret_closed = true;
	return got;
}

void
net_sim_close(struct net_sim_client *client, bool hard)
{
	struct net_conn *c;

	if (!client)
		return;
	c = client->conn;
	c->client_gone = true;
	mem_free(client);
	if (c->broker_gone) {
		conn_free(c);
		return;
	}
	if (c->vanished || c->mute)
		return; /* the broker is not told */
	if (hard)
		reset(c);
	else
		pipe_end(c->sim, c, &c->in);
}

void
net_sim_half_close(struct net_sim_client *client)
{
	pipe_end(client->conn->sim, client->conn, &client->conn->in);
}

void
net_sim_vanish(struct net_sim_client *client)
{
	client->conn->vanished = true;
}

void
net_sim_stall(struct net_sim_client *client, int64_t ns)
{
	struct net_conn *c = client->conn;

	c->stall_ns = c->sim->now_ns + ns;
	/* What is under way waits too. */
	LIST_EACH (node, &c->in.segments) {
		struct segment *g = LIST_ENTRY(node, struct segment, link);

		g->due_ns = max_i64(g->due_ns, c->stall_ns);
	}
	LIST_EACH (out, &c->out.segments) {
		struct segment *g = LIST_ENTRY(out, struct segment, link);

		g->due_ns = max_i64(g->due_ns, c->stall_ns);
	}
	c->in.last_ns = max_i64(c->in.last_ns, c->stall_ns);
	c->out.last_ns = max_i64(c->out.last_ns, c->stall_ns);
}

void
net_sim_reset_after(struct net_sim_client *client, size_t n)
{
	client->conn->reset_after = n;
}
