/*
 * One suite for both networks.  If the simulated one allowed what the real one forbids, a
 * million simulated runs would prove nothing about the daemon; if the real one broke its
 * contract, producers would hang or be answered twice.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/base.h"
#include "base/err.h"
#include "sim/net_sim.h"
#include "world/net.h"
#include "unit/unit.h"

#define TRIES 200

/* The other end of a connection, in either world. */
struct client {
	int fd;
	struct net_sim_client *sim;
};

struct side {
	struct net *net;
	struct net_sim *sim; /* NULL: the real one */
	int64_t now_ns;
	struct net_listener *listener;
	struct net_addr addr;
};

static const bool sides[] = { false, true };

static void
begin(struct side *s, bool simulated)
{
	*s = (struct side){ .net = NULL };
	if (simulated) {
		struct net_sim_knobs knobs = { .latency_min_ns = 1000, .latency_max_ns = 5000 };

		s->sim = net_sim_new(1);
		net_sim_set(s->sim, &knobs);
		s->net = net_sim_net(s->sim);
	} else {
		ck_assert_int_eq(net_real_open(&s->net), 0);
	}
	ck_assert_int_eq(s->net->ops->listen(s->net, "127.0.0.1:0", &s->listener), 0);
	s->net->ops->listen_addr(s->listener, &s->addr);
	ck_assert_uint_ne(s->addr.port, 0);
	ck_assert_uint_eq(s->addr.len, 4);
}

static void
end(struct side *s)
{
	s->net->ops->free(s->net);
	net_sim_free(s->sim);
}

static struct client
dial(struct side *s)
{
	struct client c = { .fd = -1 };
	char text[NET_ADDR_TEXT];

	net_addr_format(&s->addr, text);
	if (s->sim) {
		c.sim = net_sim_connect(s->sim, text);
		ck_assert_ptr_nonnull(c.sim);
	} else {
		struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(s->addr.port) };

		memcpy(&in.sin_addr, s->addr.ip, 4);
		c.fd = socket(AF_INET, SOCK_STREAM, 0);
		ck_assert_int_eq(connect(c.fd, (struct sockaddr *)&in, sizeof(in)), 0);
	}
	return c;
}

static void
client_send(struct client *c, const char *text, size_t n)
{
	if (c->sim)
		ck_assert(net_sim_send(c->sim, text, n));
	else
		ck_assert_int_eq(send(c->fd, text, n, MSG_NOSIGNAL), (ssize_t)n);
}

/* -1: closed. */
static ssize_t
client_recv(struct client *c, char *p, size_t n)
{
	bool closed;
	size_t got;

	if (!c->sim) {
		ssize_t r = recv(c->fd, p, n, MSG_DONTWAIT);

		if (r < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return 0;
		return r <= 0 ? -1 : r;
	}
	got = net_sim_recv(c->sim, p, n, &closed);
	return closed ? -1 : (ssize_t)got;
}

static void
client_close(struct client *c)
{
	if (c->sim)
		net_sim_close(c->sim, false);
	else
		(void)close(c->fd);
}

/* Lets a little time pass: virtual, or what the kernel needs, within poll() itself. */
static void
pass(struct side *s)
{
	if (s->sim) {
		s->now_ns += 10000;
		net_sim_advance(s->sim, s->now_ns);
	}
	s->net->ops->poll(s->net, 5 * NS_PER_MS);
}

/* The next event of KIND; others are passed over. */
static struct net_event
await(struct side *s, enum net_event_kind kind)
{
	struct net_event ev;

	for (int i = 0; i < TRIES; i++) {
		pass(s);
		while (s->net->ops->next(s->net, &ev))
			if (ev.kind == kind)
				return ev;
	}
	ck_abort_msg("no event of kind %d", (int)kind);
	return ev;
}

static bool
comes(struct side *s, enum net_event_kind kind)
{
	struct net_event ev;
	bool found = false;

	for (int i = 0; i < 4; i++) {
		pass(s);
		while (s->net->ops->next(s->net, &ev))
			found = found || ev.kind == kind;
	}
	return found;
}

/* Reads until N bytes are there or it is closed. */
static size_t
read_all(struct side *s, struct net_conn *c, char *p, size_t n)
{
	size_t got = 0, some;

	for (int i = 0; i < TRIES && got < n; i++) {
		if (s->net->ops->read(c, p + got, n - got, &some) < 0)
			break;
		got += some;
		if (some == 0)
			pass(s);
	}
	return got;
}

START_TEST(bytes_go_both_ways)
{
	struct side s;
	struct client c;
	struct net_event ev;
	struct net_addr peer, local;
	struct iovec iov[2] = { { .iov_base = (void *)(uintptr_t) "wor", .iov_len = 3 },
				{ .iov_base = (void *)(uintptr_t) "ld", .iov_len = 2 } };
	char buf[16] = "";
	size_t n = 0, got = 0;
	int data;

	begin(&s, sides[_i]);
	c = dial(&s);
	ev = await(&s, NET_ACCEPTED);
	ck_assert_ptr_eq(ev.listener, s.listener);
	s.net->ops->set_data(ev.conn, &data);
	s.net->ops->peer_addr(ev.conn, &peer);
	s.net->ops->local_addr(ev.conn, &local);
	ck_assert_uint_eq(local.port, s.addr.port);
	ck_assert_uint_ne(peer.port, 0);
	ck_assert_uint_ne(peer.port, local.port);

	ck_assert_int_eq(s.net->ops->read(ev.conn, buf, sizeof(buf), &n), 0);
	ck_assert_uint_eq(n, 0); /* not now, and not closed */
	client_send(&c, "hello", 5);
	ev = await(&s, NET_READABLE);
	ck_assert_ptr_eq(ev.data, &data);
	ck_assert_uint_eq(read_all(&s, ev.conn, buf, 5), 5);
	ck_assert_mem_eq(buf, "hello", 5);

	ck_assert_int_eq(s.net->ops->write(ev.conn, iov, 2, &n), 0);
	ck_assert_uint_eq(n, 5);
	for (int i = 0; i < TRIES && got < 5; i++) {
		pass(&s);
		got += (size_t)client_recv(&c, buf + got, sizeof(buf) - got);
	}
	ck_assert_mem_eq(buf, "world", 5);
	s.net->ops->close(ev.conn);
	for (int i = 0; i < TRIES && client_recv(&c, buf, 1) == 0; i++)
		pass(&s);
	ck_assert_int_eq(client_recv(&c, buf, 1), -1);
	client_close(&c);
	end(&s);
}
END_TEST

START_TEST(unread_bytes_are_told_again)
{
	struct side s;
	struct client c;
	struct net_event ev;
	char buf[8];

	begin(&s, sides[_i]);
	c = dial(&s);
	(void)await(&s, NET_ACCEPTED);
	client_send(&c, "ab", 2);
	ev = await(&s, NET_READABLE);
	ev = await(&s, NET_READABLE); /* nothing was read: level-triggered */
	ck_assert_uint_eq(read_all(&s, ev.conn, buf, 1), 1);
	ev = await(&s, NET_READABLE);
	ck_assert_uint_eq(read_all(&s, ev.conn, buf, 1), 1);
	ck_assert(!comes(&s, NET_READABLE));
	s.net->ops->close(ev.conn);
	client_close(&c);
	end(&s);
}
END_TEST

START_TEST(a_connection_that_is_not_wanted_is_silent)
{
	struct side s;
	struct client c;
	struct net_event ev;

	begin(&s, sides[_i]);
	c = dial(&s);
	ev = await(&s, NET_ACCEPTED);
	s.net->ops->want_read(ev.conn, false);
	client_send(&c, "ab", 2);
	ck_assert(!comes(&s, NET_READABLE));
	s.net->ops->want_read(ev.conn, true);
	(void)await(&s, NET_READABLE);
	ck_assert(!comes(&s, NET_WRITABLE));
	s.net->ops->want_write(ev.conn, true);
	(void)await(&s, NET_WRITABLE);
	s.net->ops->want_write(ev.conn, false);
	ck_assert(!comes(&s, NET_WRITABLE));
	s.net->ops->close(ev.conn);
	client_close(&c);
	end(&s);
}
END_TEST

START_TEST(the_end_comes_after_the_last_byte)
{
	struct side s;
	struct client c;
	struct net_event ev;
	char buf[8];
	size_t n;

	begin(&s, sides[_i]);
	c = dial(&s);
	ev = await(&s, NET_ACCEPTED);
	client_send(&c, "last", 4);
	client_close(&c);
	ev = await(&s, NET_READABLE);
	ck_assert_uint_eq(read_all(&s, ev.conn, buf, 4), 4);
	ck_assert_mem_eq(buf, "last", 4);
	ev = await(&s, NET_READABLE);
	ck_assert_int_eq(s.net->ops->read(ev.conn, buf, 1, &n), ERR_CLOSED);
	ck_assert_uint_eq(n, 0);
	s.net->ops->close(ev.conn);
	end(&s);
}
END_TEST

START_TEST(a_full_socket_takes_no_more_and_says_when)
{
	static char block[256 << 10];
	struct side s;
	struct client c;
	struct net_event ev;
	struct iovec iov = { .iov_base = block, .iov_len = sizeof(block) };
	size_t n, total = 0, got = 0;
	bool full = false;

	begin(&s, sides[_i]);
	c = dial(&s);
	ev = await(&s, NET_ACCEPTED);
	for (int i = 0; i < 1000 && !full; i++) {
		ck_assert_int_eq(s.net->ops->write(ev.conn, &iov, 1, &n), 0);
		total += n;
		full = n == 0;
	}
	ck_assert(full);
	s.net->ops->want_write(ev.conn, true);
	while (got < total) {
		ssize_t r = client_recv(&c, block, sizeof(block));

		ck_assert_int_ge(r, 0);
		got += (size_t)r;
		pass(&s);
	}
	(void)await(&s, NET_WRITABLE);
	ck_assert_int_eq(s.net->ops->write(ev.conn, &iov, 1, &n), 0);
	ck_assert_uint_gt(n, 0);
	s.net->ops->close(ev.conn);
	client_close(&c);
	end(&s);
}
END_TEST

START_TEST(a_closed_connection_has_no_more_events)
{
	struct side s;
	struct client a, b;
	struct net_event ev;
	struct net_conn *first, *second;

	begin(&s, sides[_i]);
	a = dial(&s);
	first = await(&s, NET_ACCEPTED).conn;
	b = dial(&s);
	second = await(&s, NET_ACCEPTED).conn;
	client_send(&a, "x", 1);
	client_send(&b, "y", 1);
	/* Both are ready in one poll; whichever comes first closes the other. */
	for (int i = 0; i < 20; i++)
		pass(&s);
	ck_assert(s.net->ops->next(s.net, &ev));
	ck_assert(ev.conn == first || ev.conn == second);
	s.net->ops->close(ev.conn == first ? second : first);
	ck_assert(!s.net->ops->next(s.net, &ev));
	s.net->ops->close(ev.conn == first ? first : second);
	ck_assert(!comes(&s, NET_READABLE));
	client_close(&a);
	client_close(&b);
	end(&s);
}
END_TEST

START_TEST(an_address_is_listened_on_once)
{
	struct side s;
	struct net_listener *other;
	char text[NET_ADDR_TEXT];

	begin(&s, sides[_i]);
	net_addr_format(&s.addr, text);
	ck_assert_int_eq(s.net->ops->listen(s.net, text, &other), ERR_EXISTS);
	ck_assert_int_eq(s.net->ops->listen(s.net, "nonsense", &other), ERR_CONFIG);
	if (!sides[_i]) /* nobody has an address for documentation */
		ck_assert_int_eq(s.net->ops->listen(s.net, "192.0.2.1:0", &other), ERR_CONFIG);
	s.net->ops->unlisten(s.net, s.listener);
	ck_assert_int_eq(s.net->ops->listen(s.net, text, &s.listener), 0);
	end(&s);
}
END_TEST

START_TEST(wake_and_watched_descriptors_end_the_sleep)
{
	struct net *net;
	struct net_event ev;
	int pipes[2];

	ck_assert_int_eq(net_real_open(&net), 0);
	ck_assert_int_eq(pipe(pipes), 0);
	ck_assert_int_eq(net->ops->watch_fd(net, pipes[0]), 0);
	net->ops->wake(net);
	net->ops->poll(net, -1); /* would hang for ever */
	ck_assert(!net->ops->next(net, &ev));
	ck_assert_int_eq(write(pipes[1], "x", 1), 1);
	net->ops->poll(net, -1);
	ck_assert(!net->ops->next(net, &ev));
	net->ops->free(net);
}
END_TEST

START_TEST(a_hang_up_does_not_wake_a_loop_that_waits_for_nothing)
{
	struct side s;
	struct client c;
	struct net_event ev;
	struct linger now = { .l_onoff = 1 };

	begin(&s, false);
	c = dial(&s);
	ev = await(&s, NET_ACCEPTED);
	s.net->ops->want_read(ev.conn, false);
	ck_assert_int_eq(setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
	client_close(&c); /* a reset */
	ck_assert(!comes(&s, NET_READABLE));
	s.net->ops->want_read(ev.conn, true);
	(void)await(&s, NET_READABLE);
	s.net->ops->close(ev.conn);
	end(&s);
}
END_TEST

START_TEST(addresses_read_as_they_are_written)
{
	static const char *const good[] = { "127.0.0.1:9876", "[::1]:9876", "[fe80::1]:1" };
	static const char *const bad[] = { "",         "9876",   "host:1",       "1.2.3.4",
					   "1.2.3.4:", ":9876",  "1.2.3:1",      "1.2.3.4:x",
					   "::1:9876", "[::1:1", "1.2.3.4:65536" };
	struct net_addr addr;
	char text[NET_ADDR_TEXT];

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		ck_assert_int_eq(net_addr_parse(good[i], strlen(good[i]), &addr), 0);
		net_addr_format(&addr, text);
		ck_assert_str_eq(text, good[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		ck_assert_int_eq(net_addr_parse(bad[i], strlen(bad[i]), &addr), -1);
}
END_TEST

int
main(void)
{
	const TTest *const both[] = {
		bytes_go_both_ways,
		unread_bytes_are_told_again,
		a_connection_that_is_not_wanted_is_silent,
		the_end_comes_after_the_last_byte,
		a_full_socket_takes_no_more_and_says_when,
		a_closed_connection_has_no_more_events,
		an_address_is_listened_on_once,
	};
	TCase *tc = unit_case("net", NULL, NULL);

	tcase_set_timeout(tc, 30);
	for (size_t i = 0; i < ARRAY_LEN(both); i++)
		tcase_add_loop_test(tc, both[i], 0, ARRAY_LEN(sides));
	tcase_add_test(tc, wake_and_watched_descriptors_end_the_sleep);
	tcase_add_test(tc, a_hang_up_does_not_wake_a_loop_that_waits_for_nothing);
	tcase_add_test(tc, addresses_read_as_they_are_written);
	return unit_run_case("net", tc);
}
