/*
 * net.h -- stream sockets, as a seam.  (Interface only.)
 *
 * net_real.c is epoll, level-triggered; tests/sim/net_sim.c is queues that lose, tear
 * and stall.  remoting is its only caller, save poll(), next(), watch_fd() and wake(), which are
 * the loop's (and wake() of whoever has news for it).
 *
 * Contract, checked of both by tests/contract/test_net.c:
 *
 *   - poll() is the only place where the daemon sleeps: until something is ready,
 *     wake() was called, or TIMEOUT_NS passed (0: looks only; negative: for ever);
 *   - next() gives what poll() found, one event at a time, until false;
 *   - read() and write() never block: 0 with *ret_n == 0 means "not now"; ERR_CLOSED
 *     means gone (end of stream or reset), and then close() is still the caller's duty;
 *   - want_write() asks for NET_WRITABLE events; NET_READABLE ones come unless
 *     want_read(false): a connection that is not read cannot fill memory;
 *   - a net_conn lives until close(); `data` is the caller's.
 */
#ifndef NET_H
#define NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define NET_ADDR_TEXT 64

/* An IP address and port; v4 addresses have len 4, v6 ones 16. */
struct net_addr {
	uint8_t ip[16];
	uint8_t len;
	uint16_t port;
};

struct net;
struct net_conn;
struct net_listener;

enum net_event_kind { NET_ACCEPTED, NET_READABLE, NET_WRITABLE };

struct net_event {
	enum net_event_kind kind;
	struct net_conn *conn;		/* ACCEPTED: the new one */
	struct net_listener *listener;	/* ACCEPTED: at which    */
	void *data;			/* of conn               */
};

struct net_ops {
	/* "127.0.0.1:9876", "[::1]:9876"; port 0: any.  ERR_EXISTS, ERR_CONFIG, ERR_SYSTEM. */
	int (*listen)(struct net *n, const char *address, struct net_listener **ret_listener);
	void (*unlisten)(struct net *n, struct net_listener *l);
	void (*listen_addr)(struct net_listener *l, struct net_addr *ret_addr);
	void (*poll)(struct net *n, int64_t timeout_ns);
	bool (*next)(struct net *n, struct net_event *ret_event);
	int (*read)(struct net_conn *c, void *buf, size_t len, size_t *ret_n);
	int (*write)(struct net_conn *c, const struct iovec *iov, int iov_count, size_t *ret_n);
	void (*want_read)(struct net_conn *c, bool on);
	void (*want_write)(struct net_conn *c, bool on);
	void (*set_data)(struct net_conn *c, void *data);
	void (*local_addr)(struct net_conn *c, struct net_addr *ret_addr);
	void (*peer_addr)(struct net_conn *c, struct net_addr *ret_addr);
	void (*close)(struct net_conn *c);
	/* Thread-safe: ends the current or next poll() at once. */
	void (*wake)(struct net *n);
	/* poll() also ends when FD is readable (an eventfd of the relay or of http). */
	int (*watch_fd)(struct net *n, int fd);
	void (*free)(struct net *n);
};

struct net {
	const struct net_ops *ops;	/* first member of every implementation */
};

int net_real_open(struct net **ret_net);

/* "10.0.0.7:4711", "[fe80::1]:4711". */
void net_addr_format(const struct net_addr *a, char ret_text[NET_ADDR_TEXT]);
/* The way back, numeric only: 0, or -1 and *RET_ADDR untouched. */
int net_addr_parse(const char *text, size_t n, struct net_addr *ret_addr);
/* Why an address could not be listened at, for who wrote it down. */
const char *net_listen_text(int err);

#endif /* NET_H */
