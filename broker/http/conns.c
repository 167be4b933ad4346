/*
 * conns.c -- see conns.h.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "base/err.h"
#include "base/list.h"
#include "http/conns.h"
#include "world/net.h"

struct conn {
	struct list node; /* in the order of coming */
	int fd;
	struct net_addr addr;
	char text[NET_ADDR_TEXT];
	enum conn_class class;
	bool idle; /* answered, and no next request yet */
	int64_t deadline_ns;
};

struct conns {
	pthread_mutex_t lock;
	pthread_cond_t changed; /* monotonic clock */
	pthread_t watch;
	int64_t first_ns;
	bool stopping;
	struct list all;
	uint32_t total;
	uint32_t count[CONN_CLASSES];
};

static const uint32_t class_limit[CONN_CLASSES] = {
	[CONN_FRESH] = HTTP_FRESH_CONNS,
	[CONN_PROBE] = HTTP_PROBE_CONNS,
	[CONN_READ] = HTTP_READ_CONNS,
	[CONN_MUTATION] = HTTP_MUTATION_CONNS,
};

static int64_t
mono_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

/* The thread of libmicrohttpd sees an end of stream, and closes. */
static void
cut_off(struct conn *c)
{
	c->deadline_ns = TIME_NEVER;
	(void)shutdown(c->fd, SHUT_RDWR); /* it may be gone already */
}

static void *
watch(void *arg)
{
	struct conns *cs = arg;

	pthread_mutex_lock(&cs->lock);
	while (!cs->stopping) {
		int64_t now_ns = mono_ns();
		int64_t next_ns = now_ns + HTTP_WATCH_NS;
		struct timespec ts = { next_ns / NS_PER_S, next_ns % NS_PER_S };

		LIST_EACH (node, &cs->all) {
			struct conn *c = LIST_ENTRY(node, struct conn, node);

			if (c->deadline_ns <= now_ns)
				cut_off(c);
		}
		if (list_empty(&cs->all))
			pthread_cond_wait(&cs->changed, &cs->lock);
		else
			pthread_cond_timedwait(&cs->changed, &cs->lock, &ts);
	}
	pthread_mutex_unlock(&cs->lock);
	return NULL;
}

int
conns_new(int64_t first_ns, struct conns **ret_conns)
{
	struct conns *cs = mem_alloc(sizeof(*cs));
	pthread_condattr_t attr;

	pthread_mutex_init(&cs->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&cs->changed, &attr);
	pthread_condattr_destroy(&attr);
	list_init(&cs->all);
	cs->first_ns = first_ns;
	if (pthread_create(&cs->watch, NULL, watch, cs) != 0) {
		mem_free(cs);
		return ERR_SYSTEM;
	}
	*ret_conns = cs;
	return 0;
}

struct conns *
conns_free(struct conns *cs)
{
	if (!cs)
		return NULL;
	pthread_mutex_lock(&cs->lock);
	CHECK(cs->total == 0, cs->total);
	cs->stopping = true;
	pthread_cond_signal(&cs->changed);
	pthread_mutex_unlock(&cs->lock);
	pthread_join(cs->watch, NULL);
	pthread_cond_destroy(&cs->changed);
	pthread_mutex_destroy(&cs->lock);
	mem_free(cs);
	return NULL;
}

static void
addr_of(const struct sockaddr *peer, struct net_addr *ret_addr)
{
	memset(ret_addr, 0, sizeof(*ret_addr));
	ret_addr->len = 4;
	if (peer && peer->sa_family == AF_INET) {
		struct sockaddr_in in;

		memcpy(&in, peer, sizeof(in));
		memcpy(ret_addr->ip, &in.sin_addr, 4);
		ret_addr->port = ntohs(in.sin_port);
	} else if (peer && peer->sa_family == AF_INET6) {
		struct sockaddr_in6 in6;

		memcpy(&in6, peer, sizeof(in6));
		ret_addr->port = ntohs(in6.sin6_port);
		if (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr)) {
			memcpy(ret_addr->ip, &in6.sin6_addr.s6_addr[12], 4);
		} else {
			ret_addr->len = 16;
			memcpy(ret_addr->ip, &in6.sin6_addr, 16);
		}
	}
}

/* The first of CLASS, idle if IDLE; NULL. */
static struct conn *
oldest(struct conns *cs, enum conn_class class, bool idle)
{
	LIST_EACH (node, &cs->all) {
		struct conn *c = LIST_ENTRY(node, struct conn, node);

		if (c->class == class && c->idle == idle && c->deadline_ns != TIME_NEVER)
			return c;
	}
	return NULL;
}

struct conn *
conns_add(struct conns *cs, int fd, const struct sockaddr *peer)
{
	struct conn *c = mem_alloc(sizeof(*c));

	c->fd = fd;
	addr_of(peer, &c->addr);
	net_addr_format(&c->addr, c->text);
	c->class = CONN_FRESH;
	c->deadline_ns = mono_ns() + cs->first_ns;
	pthread_mutex_lock(&cs->lock);
	if (cs->count[CONN_FRESH] >= class_limit[CONN_FRESH]) {
		struct conn *victim = oldest(cs, CONN_FRESH, false);

		if (victim)
			cut_off(victim);
	}
	list_add_tail(&cs->all, &c->node);
	cs->count[CONN_FRESH]++;
	if (cs->total++ == 0)
		pthread_cond_signal(&cs->changed);
	pthread_mutex_unlock(&cs->lock);
	return c;
}

void
conns_del(struct conns *cs, struct conn *c)
{
	pthread_mutex_lock(&cs->lock);
	list_del(&c->node);
	cs->count[c->class]--;
	cs->total--;
	pthread_mutex_unlock(&cs->lock);
	mem_free(c);
}

static bool
room_for_ip(struct conns *cs, const struct conn *c)
{
	uint32_t same = 0;

	LIST_EACH (node, &cs->all) {
		const struct conn *other = LIST_ENTRY(node, struct conn, node);

		if (other != c && other->class == CONN_MUTATION && other->addr.len == c->addr.len &&
		    memcmp(other->addr.ip, c->addr.ip, c->addr.len) == 0)
			same++;
	}
	return same < HTTP_MUTATION_CONNS_PER_IP;
}

static bool
room(struct conns *cs, const struct conn *c, enum conn_class class)
{
	struct conn *victim;

	if (class == CONN_MUTATION && !room_for_ip(cs, c))
		return false;
	if (cs->count[class] < class_limit[class])
		return true;
	/* Who asks goes before who only keeps a connection. */
	victim = oldest(cs, class, true);
	if (!victim)
		return false;
	cut_off(victim);
	return true;
}

bool
conns_enter(struct conns *cs, struct conn *c, enum conn_class class)
{
	bool ok = true;

	pthread_mutex_lock(&cs->lock);
	c->idle = false;
	if (c->class != class) {
		ok = room(cs, c, class);
		if (ok) {
			cs->count[c->class]--;
			cs->count[class]++;
			c->class = class;
		}
	}
	c->deadline_ns = mono_ns() + HTTP_BODY_NS;
	pthread_mutex_unlock(&cs->lock);
	return ok;
}

static void
set(struct conns *cs, struct conn *c, bool idle, int64_t deadline_ns)
{
	pthread_mutex_lock(&cs->lock);
	c->idle = idle;
	c->deadline_ns = deadline_ns;
	pthread_mutex_unlock(&cs->lock);
}

void
conns_wait(struct conns *cs, struct conn *c)
{
	set(cs, c, false, TIME_NEVER);
}

void
conns_answer(struct conns *cs, struct conn *c)
{
	set(cs, c, false, mono_ns() + HTTP_ANSWER_NS);
}

void
conns_idle(struct conns *cs, struct conn *c)
{
	set(cs, c, true, mono_ns() + HTTP_IDLE_NS);
}

bool
conn_is_loopback(const struct conn *c)
{
	static const uint8_t v6[16] = { [15] = 1 };

	return c->addr.len == 4 ? c->addr.ip[0] == 127 : memcmp(c->addr.ip, v6, sizeof(v6)) == 0;
}

const char *
conn_addr(const struct conn *c)
{
	return c->text;
}
