/*
 * peer.c -- the load's connections: all frames of a readable socket, one write a turn.
 */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define IN_ROOM (256u << 10)
#define IOV     1024 /* as many as the kernel takes */

bool
peers_init(struct peers *p, struct load *load, const char *address, uint32_t count, bool trace)
{
	char ip[64];
	const char *colon = strrchr(address, ':');

	if (colon == NULL || (size_t)(colon - address) >= sizeof(ip))
		return false;
	memcpy(ip, address, (size_t)(colon - address));
	ip[colon - address] = '\0';
	p->addr.sin_family = AF_INET;
	p->addr.sin_port = htons((uint16_t)atoi(colon + 1));
	if (inet_pton(AF_INET, ip, &p->addr.sin_addr) != 1)
		return false;
	p->epoll = epoll_create1(EPOLL_CLOEXEC);
	p->count = count;
	p->trace = trace;
	p->all = calloc(count, sizeof(*p->all));
	for (uint32_t i = 0; p->all != NULL && i < count; i++)
		p->all[i] = (struct peer){ .load = load, .index = i, .fd = -1 };
	return p->all != NULL && p->epoll >= 0;
}

static void
forget_out(struct peer *peer)
{
	peer->out_n = peer->out_at = 0;
	peer->piece_n = peer->piece_at = peer->piece_gone = 0;
}

bool
peer_connect(struct peers *p, struct peer *peer)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT, .data.ptr = peer };
	int one = 1;

	peer->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (peer->fd < 0)
		return false;
	(void)setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* only slower */
	peer->open = false;
	peer->wants_write = true;
	peer->in_n = 0;
	forget_out(peer);
	if (connect(peer->fd, (struct sockaddr *)&p->addr, sizeof(p->addr)) < 0 &&
	    errno != EINPROGRESS)
		return false;
	return epoll_ctl(p->epoll, EPOLL_CTL_ADD, peer->fd, &ev) == 0;
}

void
peer_close(struct peers *p, struct peer *peer, int64_t again_ns)
{
	if (peer->fd >= 0)
		close(peer->fd);
	peer->fd = -1;
	peer->open = false;
	peer->again_ns = again_ns;
	p->reconnects++;
}

static void
trace(const struct peer *peer, const char *way, const struct wire_command *c, size_t body)
{
	fprintf(stderr, "%u %s code %d opaque %d flag %d", peer->index, way, c->code, c->opaque,
		c->flag);
	if (c->remark.n > 0)
		fprintf(stderr, " \"%.*s\"", (int)c->remark.n, c->remark.p);
	for (size_t i = 0; i < c->field_count; i++)
		if (c->fields[i].value.n < 100)
			fprintf(stderr, " %.*s=%.*s", (int)c->fields[i].name.n, c->fields[i].name.p,
				(int)c->fields[i].value.n, c->fields[i].value.p);
	fprintf(stderr, " +%zu\n", body);
}

/* P NULL: the next N bytes of OUT. */
static void
add_piece(struct peer *peer, const void *p, size_t n)
{
	struct piece *last = peer->piece_n ? &peer->pieces[peer->piece_n - 1] : NULL;

	if (last && !last->p && !p) {
		last->n += n;
		return;
	}
	if (peer->piece_n == peer->piece_room) {
		peer->piece_room = peer->piece_room ? peer->piece_room * 2 : 64;
		peer->pieces = realloc(peer->pieces, peer->piece_room * sizeof(*peer->pieces));
		if (peer->pieces == NULL)
			abort();
	}
	peer->pieces[peer->piece_n++] = (struct piece){ p, n };
}

void
peer_send(struct peers *p, struct peer *peer, const struct wire_command *c, struct wire_str behind)
{
	size_t n = 0;

	if (!peer->open)
		return;
	if (p->trace)
		trace(peer, ">", c, c->body.n + behind.n);
	while (wire_encode(c, peer->out + peer->out_n, peer->out_room - peer->out_n, &n) ==
	       WIRE_E_ROOM) {
		size_t room = peer->out_room ? peer->out_room * 2 : 64u << 10;

		while (room < peer->out_n + n)
			room *= 2;
		peer->out = realloc(peer->out, room);
		if (peer->out == NULL)
			abort();
		peer->out_room = room;
	}
	add_piece(peer, NULL, n);
	if (behind.n > 0) {
		wire_set_body(peer->out + peer->out_n, n, behind.n);
		add_piece(peer, behind.p, behind.n);
	}
	peer->out_n += n;
}

static void
watch(struct peers *p, struct peer *peer, bool write)
{
	struct epoll_event ev = { .events = EPOLLIN | (write ? EPOLLOUT : 0u), .data.ptr = peer };

	if (peer->wants_write == write)
		return;
	peer->wants_write = write;
	(void)epoll_ctl(p->epoll, EPOLL_CTL_MOD, peer->fd, &ev); /* the descriptor is in it */
}

/* What is to be sent next; as many as fit. */
static size_t
gather(const struct peer *peer, struct iovec iov[IOV])
{
	uint8_t *own = peer->out + peer->out_at;
	size_t skip = peer->piece_gone, n = 0;

	for (size_t i = peer->piece_at; i < peer->piece_n && n < IOV; i++, skip = 0) {
		const struct piece *piece = &peer->pieces[i];
		uint8_t *at = piece->p ? (uint8_t *)(uintptr_t)piece->p : own;

		iov[n++] = (struct iovec){ at + skip, piece->n - skip };
		if (!piece->p)
			own += piece->n;
	}
	return n;
}

static void
sent(struct peer *peer, size_t n)
{
	while (n > 0) {
		const struct piece *piece = &peer->pieces[peer->piece_at];

		if (n < piece->n - peer->piece_gone) {
			peer->piece_gone += n;
			return;
		}
		n -= piece->n - peer->piece_gone;
		peer->piece_gone = 0;
		peer->piece_at++;
		if (!piece->p)
			peer->out_at += piece->n;
	}
}

static void
flush(struct peers *p, struct peer *peer)
{
	struct iovec iov[IOV] WIRE_UNSET;

	while (peer->piece_at < peer->piece_n) {
		struct msghdr msg = { .msg_iov = iov, .msg_iovlen = gather(peer, iov) };
		ssize_t n = msg.msg_iovlen == 1
				    ? send(peer->fd, iov[0].iov_base, iov[0].iov_len, MSG_NOSIGNAL)
				    : sendmsg(peer->fd, &msg, MSG_NOSIGNAL);

		if (n < 0) {
			if (errno != EAGAIN)
				load_closed(peer->load, peer, strerror(errno));
			else
				watch(p, peer, true);
			return;
		}
		sent(peer, (size_t)n);
	}
	forget_out(peer);
	watch(p, peer, false);
}

void
peers_flush(struct peers *p)
{
	for (uint32_t i = 0; i < p->count; i++)
		if (p->all[i].open && p->all[i].out_n > 0)
			flush(p, &p->all[i]);
}

/* Takes all whole frames out of IN; what is left moves to its front. */
static bool
frames(struct peers *p, struct peer *peer)
{
	size_t at = 0, total = 0;

	while (peer->open) {
		struct wire_command c WIRE_UNSET;
		int err = wire_frame_size(peer->in + at, peer->in_n - at, SIZE_MAX, &total);

		if (err == 0 && total > peer->in_n - at)
			err = WIRE_E_MORE;
		if (err == 0)
			err = wire_decode(peer->in + at, total, &c);
		if (err == WIRE_E_MORE)
			break;
		if (err < 0)
			return false;
		if (p->trace)
			trace(peer, "<", &c, c.body.n);
		load_frame(peer->load, peer, &c);
		wire_command_done(&c);
		at += total;
	}
	if (!peer->open)
		return true;
	memmove(peer->in, peer->in + at, peer->in_n - at);
	peer->in_n -= at;
	if (peer->in_n == peer->in_room || total > peer->in_room) {
		while (peer->in_room < total || peer->in_room == peer->in_n)
			peer->in_room *= 2;
		peer->in = realloc(peer->in, peer->in_room);
		if (peer->in == NULL)
			abort();
	}
	return true;
}

static void
readable(struct peers *p, struct peer *peer)
{
	if (peer->in == NULL) {
		peer->in = malloc(IN_ROOM);
		if (peer->in == NULL)
			abort();
		peer->in_room = IN_ROOM;
	}
	for (;;) {
		size_t room = peer->in_room - peer->in_n;
		ssize_t n = recv(peer->fd, peer->in + peer->in_n, room, 0);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			load_closed(peer->load, peer,
				    n < 0 ? strerror(errno) : "closed by the other side");
			return;
		}
		peer->in_n += (size_t)n;
		if (!frames(p, peer)) {
			load_closed(peer->load, peer, "what came is no frame");
			return;
		}
		if (!peer->open || (size_t)n < room)
			return;
	}
}

static void
connected(struct peers *p, struct peer *peer)
{
	int err = 0;
	socklen_t n = sizeof(err);

	if (getsockopt(peer->fd, SOL_SOCKET, SO_ERROR, &err, &n) < 0 || err != 0) {
		load_closed(peer->load, peer, strerror(err));
		return;
	}
	peer->open = true;
	watch(p, peer, false);
	load_opened(peer->load, peer);
}

void
peers_poll(struct peers *p, int64_t timeout_ns)
{
	struct epoll_event events[256];
	struct timespec timeout = { timeout_ns / 1000000000, timeout_ns % 1000000000 };
	int n = epoll_pwait2(p->epoll, events, 256, &timeout, NULL);

	for (int i = 0; i < n; i++) {
		struct peer *peer = events[i].data.ptr;

		if (peer->fd >= 0 && !peer->open &&
		    events[i].events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
			connected(p, peer);
		if (peer->open && events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP))
			readable(p, peer);
		if (peer->open && events[i].events & EPOLLOUT)
			flush(p, peer);
	}
}
