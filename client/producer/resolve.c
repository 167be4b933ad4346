/*
 * resolve.c -- where a server is: names to addresses, without waiting for them.
 *
 *      engine:  lookup_begin() ---> a thread of its own: getaddrinfo(), and perhaps a knock
 *               lookup_take()  <--- wakes the engine; whoever comes last frees it
 *
 * A resolver may take half a minute, and cannot be called off.  So the engine gives up on the
 * lookup, not the lookup on its work: both hold it.  Addresses in digits need no thread, and
 * in poll mode, where the library has none, a name blocks.
 */
#include "producer/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct lookup {
	atomic_int refs; /* the engine, the thread */
	atomic_bool done;
	int wake; /* an eventfd of its own number: the client's may be closed by then */
	char *host;
	char port[6];
	bool connected;
	struct sockaddr_storage peer; /* to whom */
	int knock_ms;
	struct addrinfo *addrs;
	int err;
	bool moved;
};

static int
look(const char *host, const char *port, int flags, struct addrinfo **ret_addrs)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
				  .ai_flags = AI_NUMERICSERV | AI_ADDRCONFIG | flags };
	int err = getaddrinfo(host, port, &hints, ret_addrs);

	if (err == EAI_ADDRFAMILY || err == EAI_NONAME) { /* a loopback address, and no network */
		hints.ai_flags &= ~AI_ADDRCONFIG;
		err = getaddrinfo(host, port, &hints, ret_addrs);
	}
	return err;
}

int
lookup_now(const struct server *server, bool digits, struct addrinfo **ret_addrs)
{
	return look(server->host, server->port, digits ? AI_NUMERICHOST : 0, ret_addrs);
}

static void
lookup_drop(struct lookup *l)
{
	if (atomic_fetch_sub(&l->refs, 1) != 1)
		return;
	if (l->addrs)
		freeaddrinfo(l->addrs);
	close(l->wake);
	free(l->host);
	free(l);
}

/* Does anybody listen there? */
static bool
knock(const struct addrinfo *a, int timeout_ms)
{
	int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), err = 0;
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	socklen_t n = sizeof(err);
	bool open = false;

	if (fd < 0)
		return false;
	if (connect(fd, a->ai_addr, a->ai_addrlen) == 0)
		open = true;
	else if (errno == EINPROGRESS && poll(&p, 1, timeout_ms) == 1)
		open = getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &n) == 0 && err == 0;
	close(fd);
	return open;
}

static bool
has(const struct addrinfo *addrs, const struct sockaddr_storage *peer)
{
	for (const struct addrinfo *a = addrs; a; a = a->ai_next) {
		const struct sockaddr_in *x = (const struct sockaddr_in *)a->ai_addr,
					 *y = (const struct sockaddr_in *)peer;
		const struct sockaddr_in6 *v = (const struct sockaddr_in6 *)a->ai_addr,
					  *w = (const struct sockaddr_in6 *)peer;

		if (a->ai_family != peer->ss_family)
			continue;
		if (a->ai_family == AF_INET && x->sin_addr.s_addr == y->sin_addr.s_addr)
			return true;
		if (a->ai_family == AF_INET6 &&
		    memcmp(&v->sin6_addr, &w->sin6_addr, sizeof(v->sin6_addr)) == 0)
			return true;
	}
	return false;
}

static void *
run(void *arg)
{
	struct lookup *l = arg;
	uint64_t one = 1;

	l->err = look(l->host, l->port, 0, &l->addrs);
	if (!l->err && l->connected && !has(l->addrs, &l->peer)) {
		for (const struct addrinfo *a = l->addrs; a && !l->moved; a = a->ai_next)
			l->moved = knock(a, l->knock_ms);
	}
	atomic_store(&l->done, true);
	(void)!write(l->wake, &one, sizeof(one)); /* full: it is awake */
	lookup_drop(l);
	return NULL;
}

struct lookup *
lookup_begin(const struct server *server, int fd, int knock_ms, int wake)
{
	struct lookup *l = calloc(1, sizeof(*l));
	socklen_t n = sizeof(l->peer);

	if (!l)
		return NULL;
	l->connected = fd >= 0 && getpeername(fd, (struct sockaddr *)&l->peer, &n) == 0;
	atomic_init(&l->refs, 2);
	memcpy(l->port, server->port, sizeof(l->port));
	l->knock_ms = knock_ms;
	l->host = strdup(server->host);
	l->wake = fcntl(wake, F_DUPFD_CLOEXEC, 0);
	if (!l->host || l->wake < 0 || client_thread(NULL, run, l) != 0) {
		free(l->host);
		if (l->wake >= 0)
			close(l->wake);
		free(l);
		return NULL;
	}
	return l;
}

bool
lookup_done(const struct lookup *l)
{
	return atomic_load(&l->done);
}

int
lookup_take(struct lookup *l, struct addrinfo **ret_addrs)
{
	int err = l->err;

	*ret_addrs = l->addrs;
	l->addrs = NULL;
	lookup_drop(l);
	return err;
}

bool
lookup_moved(const struct lookup *l)
{
	return l->moved;
}

void
lookup_abandon(struct lookup *l)
{
	if (l)
		lookup_drop(l);
}
