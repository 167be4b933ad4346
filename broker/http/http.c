/*
 * http.c -- the listener: its address, its options, its beginning and end.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "base/err.h"
#include "base/log.h"
#include "http/request.h"

/* "host:port" or "[v6]:port" to H->host and *RET_PORT. */
static int
split_address(struct http *h, const char *address, const char **ret_port)
{
	const char *colon = strrchr(address, ':');
	const char *from = address;
	size_t n;

	if (!colon || !colon[1] || strspn(colon + 1, "0123456789") != strlen(colon + 1))
		return ERR_CONFIG;
	n = (size_t)(colon - address);
	if (n >= 2 && address[0] == '[' && address[n - 1] == ']') {
		from++;
		n -= 2;
	}
	if (n == 0 || n >= sizeof(h->host))
		return ERR_CONFIG;
	memcpy(h->host, from, n);
	h->host[n] = '\0';
	*ret_port = colon + 1;
	return 0;
}

static void
read_address(struct http *h, int fd)
{
	struct sockaddr_storage at = { 0 };
	socklen_t len = sizeof(at);

	if (getsockname(fd, (struct sockaddr *)&at, &len) != 0)
		return;
	if (at.ss_family == AF_INET6) {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&at;

		h->addr.len = 16;
		h->addr.port = ntohs(in6->sin6_port);
		memcpy(h->addr.ip, &in6->sin6_addr, 16);
	} else {
		struct sockaddr_in *in = (struct sockaddr_in *)&at;

		h->addr.len = 4;
		h->addr.port = ntohs(in->sin_port);
		memcpy(h->addr.ip, &in->sin_addr, 4);
	}
}

static int
listen_at(struct http *h, const char *address, int *ret_fd)
{
	struct addrinfo hints = { .ai_flags = AI_PASSIVE | AI_NUMERICSERV,
				  .ai_socktype = SOCK_STREAM };
	struct addrinfo *found = NULL;
	const char *port;
	int one = 1;
	int fd = -1;
	int err = split_address(h, address, &port);

	if (err)
		return err;
	if (getaddrinfo(h->host, port, &hints, &found) != 0)
		return ERR_CONFIG;
	fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	err = ERR_SYSTEM;
	if (fd < 0)
		goto out;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, 1024) != 0) {
		err = errno == EADDRINUSE      ? ERR_EXISTS
		      : errno == EADDRNOTAVAIL ? ERR_CONFIG
					       : ERR_SYSTEM;
		close(fd);
		goto out;
	}
	read_address(h, fd);
	*ret_fd = fd;
	err = 0;
out:
	freeaddrinfo(found);
	return err;
}

/* What libmicrohttpd has to say is about single peers. */
static PRINTF(2, 0) void on_log(void *arg, const char *fmt, va_list args)
{
	char text[256];

	(void)arg;
	if (!log_enabled(LOG_DEBUG))
		return;
	vsnprintf(text, sizeof(text), fmt, args);
	text[strcspn(text, "\n")] = '\0';
	log_write(LOG_DEBUG, "http", "text=%s", log_q(str_of(text)));
}

static int
start_daemon(struct http *h, int fd)
{
	h->daemon = MHD_start_daemon(
		MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0,
		NULL, NULL, request_handle, h, MHD_OPTION_EXTERNAL_LOGGER, on_log,
		h, /* first: the others may log */
		MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_THREAD_POOL_SIZE, (unsigned)HTTP_THREADS,
		MHD_OPTION_THREAD_STACK_SIZE, (size_t)HTTP_THREAD_STACK,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned)HTTP_DAEMON_CONNS,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_CONN_MEMORY,
		MHD_OPTION_CONNECTION_MEMORY_INCREMENT, (size_t)HTTP_CONN_INCREMENT,
		MHD_OPTION_CONNECTION_TIMEOUT, HTTP_FIRST_S, MHD_OPTION_STRICT_FOR_CLIENT, 1,
		MHD_OPTION_NOTIFY_COMPLETED, request_completed, h, MHD_OPTION_NOTIFY_CONNECTION,
		request_connection, h, MHD_OPTION_END);
	return h->daemon ? 0 : ERR_SYSTEM;
}

/* Signals are the main thread's; threads made here inherit this mask. */
static int
start_threads(struct http *h, int fd)
{
	sigset_t all, old;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = conns_new(h->conf.first_ns ? h->conf.first_ns : HTTP_FIRST_NS, &h->conns);
	if (!err)
		err = start_daemon(h, fd);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return err;
}

int
http_start(const struct http_conf *conf, struct net *net, struct http **ret_http)
{
	struct http *h = mem_alloc(sizeof(*h));
	struct timespec ts;
	int fd = -1;
	int err;

	json_object_seed(0); /* before there are threads that hash */
	h->conf = *conf;
	h->conf.max_topics = (uint32_t)min_u64(conf->max_topics, HTTP_TOPICS_MAX);
	clock_gettime(CLOCK_REALTIME, &ts);
	h->started_ms = (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
	atomic_init(&h->state, HTTP_RECOVERING);
	atomic_init(&h->recovered, 0);
	atomic_init(&h->to_recover, 0);
	h->mailbox = mailbox_new(net);
	pthread_mutex_init(&h->lock, NULL);
	pthread_cond_init(&h->none_live, NULL);
	err = listen_at(h, conf->address, &fd);
	if (err)
		goto fail;
	err = start_threads(h, fd);
	if (err) {
		close(fd);
		goto fail;
	}
	*ret_http = h;
	return 0;
fail:
	conns_free(h->conns);
	mailbox_free(h->mailbox);
	mem_free(h);
	return err;
}

void
http_live(struct http *h, bool begins)
{
	pthread_mutex_lock(&h->lock);
	if (begins)
		h->live++;
	else if (--h->live == 0)
		pthread_cond_signal(&h->none_live);
	pthread_mutex_unlock(&h->lock);
}

static void
wait_for_answers(struct http *h)
{
	struct timespec until;
	int err = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += HTTP_STOP_NS;
	until.tv_sec += until.tv_nsec / NS_PER_S;
	until.tv_nsec %= NS_PER_S;
	pthread_mutex_lock(&h->lock);
	while (h->live && !err)
		err = pthread_cond_timedwait(&h->none_live, &h->lock, &until);
	pthread_mutex_unlock(&h->lock);
}

struct http *
http_stop(struct http *h)
{
	if (!h)
		return NULL;
	/* Nothing may be suspended when libmicrohttpd stops. */
	mailbox_close(h->mailbox);
	wait_for_answers(h);
	MHD_stop_daemon(h->daemon);
	conns_free(h->conns);
	mailbox_free(h->mailbox);
	pthread_mutex_destroy(&h->lock);
	pthread_cond_destroy(&h->none_live);
	if (h->stop_serving)
		h->stop_serving(h);
	mem_free(h);
	return NULL;
}

void
http_draining(struct http *h)
{
	atomic_store(&h->state, HTTP_DRAINING);
}

void
http_addr(const struct http *h, struct net_addr *ret_addr)
{
	*ret_addr = h->addr;
}
