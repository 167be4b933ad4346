/*
 * link.c -- one connection to a server: addresses in turn, TCP, and TLS when asked for.
 *
 * Never blocks.
 */
#include "producer/inside.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int
failed(struct link *l, const struct server *server, const char *what, const char *why)
{
	(void)snprintf(l->why, sizeof(l->why), "%.200s port %s: %s%s%.200s", server->host,
		       server->port, what, why[0] ? ": " : "", why);
	return -1;
}

/* Tries the addresses from l->addr on until one has begun to connect. */
static int
next_address(struct link *l, const struct server *server, int err)
{
	int one = 1;

	for (; l->addr; l->addr = l->addr->ai_next, l->at++) {
		if (l->fd >= 0)
			close(l->fd);
		l->fd = socket(l->addr->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (l->fd < 0) {
			err = errno;
			continue;
		}
		(void)setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* slower */
		if (connect(l->fd, l->addr->ai_addr, l->addr->ai_addrlen) == 0 ||
		    errno == EINPROGRESS) {
			l->state = LINK_CONNECTING;
			l->want_write = true;
			return 0;
		}
		err = errno;
	}
	return failed(l, server, "cannot connect", strerror(err));
}

int
link_open(struct link *l, const struct server *server, struct addrinfo *addrs, struct tls *tls)
{
	*l = (struct link){ .fd = -1, .tls = tls, .addrs = addrs, .addr = addrs };
	for (const struct addrinfo *a = addrs; a; a = a->ai_next)
		l->count++;
	for (; server->first < l->count && l->at < server->first; l->at++)
		l->addr = l->addr->ai_next;
	return next_address(l, server, 0);
}

static int
shake(struct link *l, const struct server *server)
{
	char why[DETAIL_MAX];
	bool write = false;
	int got = tls_shake(l->tls, &write, why);

	if (got < 0) {
		l->fatal = got == -2;
		return failed(l, server, "TLS", why);
	}
	l->want_write = got == 0 && write;
	if (got == 1)
		l->state = LINK_OPEN;
	return 0;
}

int
link_go_on(struct link *l, const struct server *server)
{
	int err = 0;
	socklen_t n = sizeof(err);

	if (l->state == LINK_SHAKING)
		return shake(l, server);
	if (getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &err, &n) < 0)
		err = errno;
	if (err) {
		l->addr = l->addr->ai_next;
		l->at++;
		return next_address(l, server, err);
	}
	l->want_read = true;
	l->want_write = false;
	if (!l->tls) {
		l->state = LINK_OPEN;
		return 0;
	}
	if (tls_begin(l->tls, l->fd, server->host) < 0)
		return failed(l, server, "TLS", "out of memory");
	l->state = LINK_SHAKING;
	return shake(l, server);
}

ssize_t
link_read(struct link *l, void *buf, size_t room)
{
	ssize_t n;

	if (l->tls)
		return tls_read(l->tls, buf, room, l->why);
	do {
		n = recv(l->fd, buf, room, 0);
	} while (n < 0 && errno == EINTR);
	if (n > 0)
		return n;
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return 0;
	(void)snprintf(l->why, sizeof(l->why), "the connection ended: %s",
		       n < 0 ? strerror(errno) : "closed by the broker");
	return -1;
}

ssize_t
link_write(struct link *l, const void *buf, size_t n)
{
	ssize_t sent;

	if (l->tls)
		return tls_write(l->tls, buf, n, l->why);
	do {
		sent = send(l->fd, buf, n, MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	if (sent >= 0)
		return sent;
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return 0;
	(void)snprintf(l->why, sizeof(l->why), "the connection ended: %s", strerror(errno));
	return -1;
}

void
link_close(struct link *l)
{
	if (l->tls)
		tls_end(l->tls);
	if (l->fd >= 0)
		close(l->fd);
	if (l->addrs)
		freeaddrinfo(l->addrs);
	l->fd = -1;
	l->addrs = l->addr = NULL;
	l->state = LINK_CLOSED;
}
