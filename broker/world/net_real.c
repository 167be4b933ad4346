/*
 * net_real.c -- sockets and epoll: the network as the daemon sees it.
 *
 * Level-triggered, so a caller that leaves bytes unread is told again and nothing can be
 * forgotten.  One epoll descriptor knows listeners, connections, an eventfd for wake(), and
 * the descriptors of others (watch_fd), whose readiness only ends the sleep.
 *
 * A connection that is closed while events of it are still queued is freed in the next
 * poll(), so next() never hands out a dead pointer.  A connection that wants neither reads
 * nor writes leaves the epoll set: a hang-up is reported whether one asks for it or not, and
 * would keep us awake.
 */
#include "world/net.h"

#include "base/base.h"
#include "base/err.h"
#include "base/list.h"
#include "base/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_MAX    512 /* taken from the kernel in one poll()                           */
#define ACCEPTS_MAX   64  /* of one listener in one poll(): a storm must not starve the rest */
#define BACKLOG       1024
#define IOV_COUNT_MAX 64

enum source { SOURCE_CONN, SOURCE_LISTENER, SOURCE_WAKE, SOURCE_OTHER };

struct net_real;

struct net_conn {
	enum source source; /* first: epoll's pointer leads here */
	int fd;             /* -1: closed, waiting to be freed */
	struct net_real *net;
	struct list link; /* in net->conns or net->dead */
	void *data;
	uint32_t interest; /* EPOLLIN | EPOLLOUT, as epoll knows it */
	bool in_set;
};

struct net_listener {
	enum source source;
	int fd;
	struct list link;
};

struct net_real {
	struct net net;
	int epoll_fd;
	int wake_fd;
	int spare_fd; /* given up to say "no" politely when descriptors are out */
	bool no_pwait2;
	int64_t complained_s;
	enum source wake_source;
	enum source other_source;
	struct list conns;
	struct list listeners;
	struct list dead;
	int count; /* events[at .. count) are not handed out yet */
	int at;
	int accepts; /* of events[at], when it is a listener */
	bool half;   /* events[at] was READABLE and is still to be WRITABLE */
	struct epoll_event events[EVENTS_MAX];
};

static struct net_real *
real_of(struct net *n)
{
	return CONTAINER_OF(n, struct net_real, net);
}

static void
addr_from(const struct sockaddr_storage *ss, struct net_addr *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (ss->ss_family == AF_INET) {
		struct sockaddr_in in;

		memcpy(&in, ss, sizeof(in));
		memcpy(ret->ip, &in.sin_addr, 4);
		ret->len = 4;
		ret->port = ntohs(in.sin_port);
	} else if (ss->ss_family == AF_INET6) {
		struct sockaddr_in6 in6;

		memcpy(&in6, ss, sizeof(in6));
		ret->port = ntohs(in6.sin6_port);
		/* A v4 client of a dual-stack listener is a v4 client to people and to RocketMQ. */
		if (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr)) {
			memcpy(ret->ip, (const char *)&in6.sin6_addr + 12, 4);
			ret->len = 4;
		} else {
			memcpy(ret->ip, &in6.sin6_addr, 16);
			ret->len = 16;
		}
	}
}

/* Splits "host:port" or "[host]:port" at the last colon; the host may be empty (any). */
static int
split_address(const char *address, char ret_host[256], char ret_port[8])
{
	const char *colon = strrchr(address, ':');
	size_t host_len, port_len;

	if (!colon)
		return ERR_CONFIG;
	host_len = (size_t)(colon - address);
	port_len = strlen(colon + 1);
	if (host_len >= 2 && address[0] == '[' && address[host_len - 1] == ']') {
		address++;
		host_len -= 2;
	}
	if (host_len >= 256 || port_len == 0 || port_len >= 8)
		return ERR_CONFIG;
	memcpy(ret_host, address, host_len);
	ret_host[host_len] = '\0';
	memcpy(ret_port, colon + 1, port_len + 1);
	return 0;
}

static int
bind_one(const struct addrinfo *ai, int *ret_fd)
{
	int on = 1, off = 0, fd, err;

	fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return ERR_SYSTEM;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (ai->ai_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
		err = errno;
		(void)close(fd);
		errno = err;
		return err == EADDRINUSE      ? ERR_EXISTS
		       : err == EADDRNOTAVAIL ? ERR_CONFIG
					      : ERR_SYSTEM;
	}
	*ret_fd = fd;
	return 0;
}

static int
real_listen(struct net *n, const char *address, struct net_listener **ret_listener)
{
	struct net_real *r = real_of(n);
	struct addrinfo hints = { .ai_family = AF_UNSPEC,
				  .ai_socktype = SOCK_STREAM,
				  .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
	struct addrinfo *found = NULL;
	struct net_listener *l;
	struct epoll_event ev = { .events = EPOLLIN };
	char host[256], port[8];
	int fd = -1, err;

	err = split_address(address, host, port);
	if (err < 0)
		return err;
	if (getaddrinfo(host[0] ? host : NULL, port, &hints, &found) != 0)
		return ERR_CONFIG;
	err = bind_one(found, &fd);
	freeaddrinfo(found);
	if (err < 0)
		return err;

	l = mem_alloc(sizeof(*l));
	l->source = SOURCE_LISTENER;
	l->fd = fd;
	ev.data.ptr = l;
	if (epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		(void)close(fd);
		mem_free(l);
		return ERR_SYSTEM;
	}
	list_add_tail(&r->listeners, &l->link);
	*ret_listener = l;
	return 0;
}

static void
real_unlisten(struct net *n, struct net_listener *l)
{
	struct net_real *r = real_of(n);

	if (!l)
		return;
	/* Queued readiness of it must not be looked at any more. */
	for (int i = r->at; i < r->count; i++)
		if (r->events[i].data.ptr == l)
			r->events[i].data.ptr = &r->other_source;
	list_del(&l->link);
	(void)close(l->fd);
	mem_free(l);
}

static void
real_listen_addr(struct net_listener *l, struct net_addr *ret_addr)
{
	struct sockaddr_storage ss = { .ss_family = AF_UNSPEC };
	socklen_t len = sizeof(ss);

	(void)getsockname(l->fd, (struct sockaddr *)&ss, &len);
	addr_from(&ss, ret_addr);
}

static void
bury(struct net_real *r)
{
	LIST_EACH (node, &r->dead) {
		struct net_conn *c = LIST_ENTRY(node, struct net_conn, link);

		list_del(node);
		mem_free(c);
	}
}

static int
wait_events(struct net_real *r, int64_t timeout_ns)
{
	struct timespec ts;
	int64_t ms;

	if (!r->no_pwait2) {
		int n;

		if (timeout_ns >= 0) {
			ts.tv_sec = timeout_ns / NS_PER_S;
			ts.tv_nsec = timeout_ns % NS_PER_S;
		}
		n = epoll_pwait2(r->epoll_fd, r->events, EVENTS_MAX, timeout_ns < 0 ? NULL : &ts,
				 NULL);
		if (n >= 0 || errno != ENOSYS)
			return n;
		r->no_pwait2 = true; /* before Linux 5.11: milliseconds must do */
	}
	if (timeout_ns < 0)
		return epoll_wait(r->epoll_fd, r->events, EVENTS_MAX, -1);
	/* Rounded up: a deadline slept to a millisecond too short would be polled for. */
	ms = min_i64((timeout_ns + NS_PER_MS - 1) / NS_PER_MS, INT32_MAX);
	return epoll_wait(r->epoll_fd, r->events, EVENTS_MAX, (int)ms);
}

static void
real_poll(struct net *n, int64_t timeout_ns)
{
	struct net_real *r = real_of(n);
	int got;

	bury(r);
	r->at = r->count = r->accepts = 0;
	r->half = false;
	got = wait_events(r, timeout_ns);
	if (got < 0) {
		CHECK(errno == EINTR, errno); /* anything else: the set itself is broken */
		got = 0;
	}
	r->count = got;
}

/*
 * Out of descriptors: a connection that stays in the backlog would wake us for ever, so
 * one kept in reserve is used to take it and close it.
 */
static void
turn_away(struct net_real *r, struct net_listener *l)
{
	struct timespec now;
	int fd;

	if (r->spare_fd >= 0)
		(void)close(r->spare_fd);
	fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		(void)close(fd);
	r->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	(void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	if (now.tv_sec - r->complained_s >= 10) {
		r->complained_s = now.tv_sec;
		log_warn("out of file descriptors, closing new connections; raise LimitNOFILE",
			 "listener_fd=%d", l->fd);
	}
}

static void
set_interest(struct net_conn *c, uint32_t interest)
{
	struct epoll_event ev = { .events = interest, .data.ptr = c };

	if (c->fd < 0 || (c->interest == interest && c->in_set == (interest != 0)))
		return;
	c->interest = interest;
	if (interest == 0) {
		(void)epoll_ctl(c->net->epoll_fd, EPOLL_CTL_DEL, c->fd, NULL);
		c->in_set = false;
		return;
	}
	/* Fails only for want of kernel memory; the connection then falls to its deadline. */
	if (epoll_ctl(c->net->epoll_fd, c->in_set ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &ev) == 0)
		c->in_set = true;
}

/* True and an event when a connection was waiting at L. */
static bool
accept_one(struct net_real *r, struct net_listener *l, struct net_event *ret_event)
{
	struct net_conn *c;
	int on = 1, fd;

	do
		fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE)
			turn_away(r, l);
		return false;
	}
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	c = mem_alloc(sizeof(*c));
	c->source = SOURCE_CONN;
	c->fd = fd;
	c->net = r;
	list_add_tail(&r->conns, &c->link);
	set_interest(c, EPOLLIN);
	*ret_event = (struct net_event){ .kind = NET_ACCEPTED, .conn = c, .listener = l };
	return true;
}

/* One readiness of the kernel may be two events: READABLE first, then WRITABLE. */
static bool
conn_event(struct net_real *r, struct net_conn *c, uint32_t flags, struct net_event *ret_event)
{
	bool gone = (flags & (EPOLLHUP | EPOLLERR)) != 0;
	bool readable = (c->interest & EPOLLIN) && ((flags & EPOLLIN) || gone);
	bool writable = (c->interest & EPOLLOUT) && ((flags & EPOLLOUT) || gone);

	if (c->fd < 0) {
		r->at++;
		r->half = false;
		return false;
	}
	*ret_event = (struct net_event){ .kind = NET_READABLE, .conn = c, .data = c->data };
	if (readable && !r->half) {
		r->half = true;
		return true;
	}
	r->at++;
	r->half = false;
	ret_event->kind = NET_WRITABLE;
	return writable;
}

static bool
real_next(struct net *n, struct net_event *ret_event)
{
	struct net_real *r = real_of(n);
	uint64_t drain;

	while (r->at < r->count) {
		const struct epoll_event *ev = &r->events[r->at];

		switch (*(enum source *)ev->data.ptr) {
		case SOURCE_CONN:
			if (conn_event(r, ev->data.ptr, ev->events, ret_event))
				return true;
			break;
		case SOURCE_LISTENER:
			if (r->accepts++ < ACCEPTS_MAX && accept_one(r, ev->data.ptr, ret_event))
				return true;
			r->accepts = 0;
			r->at++;
			break;
		case SOURCE_WAKE:
			(void)!read(r->wake_fd, &drain, sizeof(drain));
			r->at++;
			break;
		case SOURCE_OTHER: /* its owner drains it */
			r->at++;
			break;
		}
	}
	return false;
}

static bool
not_now(int err)
{
	return err == EAGAIN || err == EWOULDBLOCK || err == EINTR;
}

static int
real_read(struct net_conn *c, void *buf, size_t len, size_t *ret_n)
{
	ssize_t n;

	*ret_n = 0;
	if (c->fd < 0)
		return ERR_CLOSED;
	n = recv(c->fd, buf, len, 0);
	if (n < 0)
		return not_now(errno) ? 0 : ERR_CLOSED;
	if (n == 0 && len > 0)
		return ERR_CLOSED;
	*ret_n = (size_t)n;
	return 0;
}

static int
real_write(struct net_conn *c, const struct iovec *iov, int iov_count, size_t *ret_n)
{
	struct msghdr msg = { .msg_iovlen = (size_t)iov_count };
	ssize_t n;

	*ret_n = 0;
	if (c->fd < 0)
		return ERR_CLOSED;
	if (iov_count > IOV_COUNT_MAX)
		msg.msg_iovlen = IOV_COUNT_MAX;
	msg.msg_iov = (struct iovec *)(uintptr_t)iov; /* sendmsg() does not write to it */
	if (iov_count == 1) /* nearly always: spares the kernel a header to read */
		n = send(c->fd, iov[0].iov_base, iov[0].iov_len, MSG_NOSIGNAL);
	else
		n = sendmsg(c->fd, &msg, MSG_NOSIGNAL);
	if (n < 0)
		return not_now(errno) ? 0 : ERR_CLOSED;
	*ret_n = (size_t)n;
	return 0;
}

static void
real_want_read(struct net_conn *c, bool on)
{
	set_interest(c, on ? c->interest | EPOLLIN : c->interest & ~(uint32_t)EPOLLIN);
}

static void
real_want_write(struct net_conn *c, bool on)
{
	set_interest(c, on ? c->interest | EPOLLOUT : c->interest & ~(uint32_t)EPOLLOUT);
}

static void
real_set_data(struct net_conn *c, void *data)
{
	c->data = data;
}

static void
real_local_addr(struct net_conn *c, struct net_addr *ret_addr)
{
	struct sockaddr_storage ss = { .ss_family = AF_UNSPEC };
	socklen_t len = sizeof(ss);

	(void)getsockname(c->fd, (struct sockaddr *)&ss, &len);
	addr_from(&ss, ret_addr);
}

static void
real_peer_addr(struct net_conn *c, struct net_addr *ret_addr)
{
	struct sockaddr_storage ss = { .ss_family = AF_UNSPEC };
	socklen_t len = sizeof(ss);

	(void)getpeername(c->fd, (struct sockaddr *)&ss, &len);
	addr_from(&ss, ret_addr);
}

static void
real_close(struct net_conn *c)
{
	if (!c)
		return;
	CHECK(c->fd >= 0, c->fd);
	(void)close(c->fd); /* leaves the epoll set with it */
	c->fd = -1;
	list_del(&c->link);
	list_add_tail(&c->net->dead, &c->link);
}

static void
real_wake(struct net *n)
{
	uint64_t one = 1;

	/* A full counter means that it is awake already. */
	(void)!write(real_of(n)->wake_fd, &one, sizeof(one));
}

static int
real_watch_fd(struct net *n, int fd)
{
	struct net_real *r = real_of(n);
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = &r->other_source };

	return epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? ERR_SYSTEM : 0;
}

static void
real_free(struct net *n)
{
	struct net_real *r;

	if (!n)
		return;
	r = real_of(n);
	LIST_EACH (node, &r->conns)
		real_close(LIST_ENTRY(node, struct net_conn, link));
	r->at = r->count = 0;
	bury(r);
	LIST_EACH (node, &r->listeners)
		real_unlisten(n, LIST_ENTRY(node, struct net_listener, link));
	if (r->spare_fd >= 0)
		(void)close(r->spare_fd);
	if (r->wake_fd >= 0)
		(void)close(r->wake_fd);
	if (r->epoll_fd >= 0)
		(void)close(r->epoll_fd);
	mem_free(r);
}

static const struct net_ops real_ops = {
	.listen = real_listen,
	.unlisten = real_unlisten,
	.listen_addr = real_listen_addr,
	.poll = real_poll,
	.next = real_next,
	.read = real_read,
	.write = real_write,
	.want_read = real_want_read,
	.want_write = real_want_write,
	.set_data = real_set_data,
	.local_addr = real_local_addr,
	.peer_addr = real_peer_addr,
	.close = real_close,
	.wake = real_wake,
	.watch_fd = real_watch_fd,
	.free = real_free,
};

int
net_real_open(struct net **ret_net)
{
	struct net_real *r = mem_alloc(sizeof(*r));
	struct epoll_event ev = { .events = EPOLLIN };

	r->net.ops = &real_ops;
	r->wake_source = SOURCE_WAKE;
	r->other_source = SOURCE_OTHER;
	r->complained_s = INT32_MIN;
	list_init(&r->conns);
	list_init(&r->listeners);
	list_init(&r->dead);
	r->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	r->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	r->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	ev.data.ptr = &r->wake_source;
	if (r->epoll_fd < 0 || r->wake_fd < 0 ||
	    epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, r->wake_fd, &ev) < 0) {
		real_free(&r->net);
		return ERR_SYSTEM;
	}
	*ret_net = &r->net;
	return 0;
}
