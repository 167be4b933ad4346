/*
 * conns.h -- the connections of the HTTP port: counted by class, and never for ever.
 *
 *   FRESH --headers--> PROBE | READ | MUTATION --kept alive--> the same, or another
 *
 * A thread of its own shuts sockets down whose absolute deadline has passed: a peer that
 * sends a byte now and then keeps libmicrohttpd's idle timer content and a slot for ever.
 * Thread-safe.
 */
#ifndef CONNS_H
#define CONNS_H

#include <sys/socket.h>

#include "http/limits.h"

enum conn_class { CONN_FRESH, CONN_PROBE, CONN_READ, CONN_MUTATION };
#define CONN_CLASSES 4

struct conns;
struct conn;

/* Starts the watch.  FIRST_NS: a new connection's headers must be in by then.  ERR_SYSTEM. */
int conns_new(int64_t first_ns, struct conns **ret_conns) MUSTUSE;
struct conns *conns_free(struct conns *cs);

/* FD stays libmicrohttpd's, which calls conns_del() before it closes it. */
struct conn *conns_add(struct conns *cs, int fd, const struct sockaddr *peer);
void conns_del(struct conns *cs, struct conn *c);

/* A request's headers are in.  False: that class is full; answer 503 and close. */
bool conns_enter(struct conns *cs, struct conn *c, enum conn_class class) MUSTUSE;
/* Nothing is expected of the peer: no deadline while the loop has it. */
void conns_wait(struct conns *cs, struct conn *c);
void conns_answer(struct conns *cs, struct conn *c);
void conns_idle(struct conns *cs, struct conn *c);

bool conn_is_loopback(const struct conn *c);
/* "127.0.0.1:4711"; lives as long as C. */
const char *conn_addr(const struct conn *c);

#endif /* CONNS_H */
