/*
 * net_sim.h -- the network seam in memory, driven by virtual time.
 *
 * The broker's side is `struct net` (world/net.h).  The other side is used by simulated
 * clients: they connect, send and receive bytes; between the two lie queues with latency that
 * fragment, stall, cut and forget, as the knobs say.  Bytes of one direction of one
 * connection are never reordered (TCP); connections are, among each other.
 *
 * Deterministic: a function of the seed and of the calls made.  Nothing sleeps: poll() of
 * the broker's side only looks (what is due at `now`); whoever runs the world moves time with
 * net_sim_advance() to net_sim_next_ns() or to something earlier.
 */
#ifndef NET_SIM_H
#define NET_SIM_H

#include "base/base.h"
#include "world/net.h"

struct net_sim;
struct net_sim_client; /* the client's end of one connection */

struct net_sim_knobs {
	int64_t latency_min_ns;
	int64_t latency_max_ns;
	uint32_t fragment_permille;   /* a read or delivery gets only a part of what is there    */
	uint32_t reset_permille;      /* per send: the connection is reset, bytes under way lost  */
	uint32_t stall_permille;      /* per send: nothing of this connection moves for a while   */
	int64_t stall_ns;
	uint32_t vanish_permille;     /* per send: from now on bytes go nowhere, nobody is told   */
	uint32_t deaf_permille;	      /* ... only towards the broker they do                    */
	uint32_t mute_permille;	      /* ... only towards the client they do                    */
	uint32_t slow_permille;	      /* of connections: the client reads a few bytes at a time  */
	uint32_t write_full_permille; /* per write of the broker: the socket takes 0 or few bytes */
	size_t window_bytes;	      /* bytes under way per direction; 0: 1 MiB                  */
	bool steady;		      /* poll() finds connections in the order they were made     */
};

struct net_sim_counts {
	uint64_t connects, sends, bytes, fragments, resets, stalls, vanishes, short_writes;
	uint64_t one_way, slow; /* slow: reads that got less than was there */
};

struct net_sim *net_sim_new(uint64_t seed);
struct net_sim *net_sim_free(struct net_sim *s);
/* The seam to give to the broker.  After a crash of the broker take a new one: it has no
 * listeners and no connections; clients of the old one see a reset. */
struct net *net_sim_net(struct net_sim *s);
void net_sim_crash(struct net_sim *s);
void net_sim_set(struct net_sim *s, const struct net_sim_knobs *knobs);
const struct net_sim_counts *net_sim_counts(const struct net_sim *s);

void net_sim_advance(struct net_sim *s, int64_t now_ns);
/* When something under way next arrives; TIME_NEVER. */
int64_t net_sim_next_ns(const struct net_sim *s);

/* To the listener at that address ("127.0.0.1:9876"); NULL when nobody listens there. */
struct net_sim_client *net_sim_connect(struct net_sim *s, const char *address);
/* False: the connection is gone (bytes not sent). */
bool net_sim_send(struct net_sim_client *c, const void *p, size_t n);
/* Bytes that have arrived, at most N; 0: nothing now.  *RET_CLOSED once gone and read empty. */
size_t net_sim_recv(struct net_sim_client *c, void *p, size_t n, bool *ret_closed);
/* Closes and frees; HARD: a reset, bytes under way are lost. */
void net_sim_close(struct net_sim_client *c, bool hard);

/* One fault at a time, for tests that want it exactly there. */

/* No more bytes from the client; it still receives. */
void net_sim_half_close(struct net_sim_client *c);
/* From now on bytes go nowhere, and nobody is told. */
void net_sim_vanish(struct net_sim_client *c);
/* Nothing of this connection arrives before NS from now. */
void net_sim_stall(struct net_sim_client *c, int64_t ns);
/* Resets it once the broker has been sent N more bytes; those before are delivered. */
void net_sim_reset_after(struct net_sim_client *c, size_t n);

#endif /* NET_SIM_H */
