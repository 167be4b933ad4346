/*
 * load.h -- the load generator: producers multiplexed over connections, in one thread.
 *
 *      options.c  what a run does
 *      load.c     the producers and their transactions, the report
 *      peer.c     connections: frames in and out, reconnecting
 *
 * A producer is a closed loop:  half-send -> answer -> END -> answer -> next.  With
 * --piggyback END travels in one write with the next half-send.  What comes of a transaction
 * is a function of its UNIQ_KEY, so that a check can be answered by any load with the same
 * ratios, at any time, even after a restart.
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <netinet/in.h>

#include "wire/wire.h"

struct load;

/* Bytes on their way out.  P NULL: the next N of OUT; else the caller's, which stay as they are. */
struct piece {
	const void *p;
	size_t n;
};

/* One connection.  Bytes wait in OUT until peers_flush(), one write a turn. */
struct peer {
	struct load *load;
	uint32_t index;
	int fd;    /* -1: closed */
	bool open; /* connected */
	bool wants_write;
	int64_t again_ns; /* when to connect again */
	uint8_t *in;
	size_t in_n, in_room;
	uint8_t *out;
	size_t out_n, out_at, out_room;
	struct piece *pieces;
	size_t piece_n, piece_at, piece_room;
	size_t piece_gone; /* bytes of the first one that were sent */
};

struct peers {
	int epoll;
	struct sockaddr_in addr;
	uint32_t count;
	struct peer *all;
	uint64_t reconnects;
	bool trace;
};

/* "ip:port" */
bool peers_init(struct peers *p, struct load *load, const char *address, uint32_t count,
		bool trace);
/* Starts a connection.  False: not even that. */
bool peer_connect(struct peers *p, struct peer *peer);
/*
 * Appends a frame; dropped while closed: what is unanswered is sent again on opening.  BEHIND, if
 * any, is its body, sent from where it lies: what the load spends on a copy, the daemon lacks.
 */
void peer_send(struct peers *p, struct peer *peer, const struct wire_command *c,
	       struct wire_str behind);
void peer_close(struct peers *p, struct peer *peer, int64_t again_ns);
/* One sleep of at most TIMEOUT_NS, then all that arrived. */
void peers_poll(struct peers *p, int64_t timeout_ns);
void peers_flush(struct peers *p);

/* What the connections tell the load. */
void load_opened(struct load *l, struct peer *peer);
void load_closed(struct load *l, struct peer *peer, const char *why);
void load_frame(struct load *l, struct peer *peer, const struct wire_command *c);

#endif /* BENCH_LOAD_H */
