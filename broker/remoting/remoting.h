/*
 * remoting.h -- RocketMQ producers in: the data port.
 *
 * Connections to requests, answers to bytes, checks out.  One port speaks for name
 * server and broker.  It decides nothing: frames become calls of core.h, and answers come back
 * through remoting_answer().  Uses client/wire for bytes, net.h for sockets.  One thread.
 *
 * A slow or hostile peer cannot hold memory or the loop: frame, header, property and body
 * limits; a deadline for a frame once begun; reading stops while a peer does not take its
 * answers; a total over all connections.  Limits are in limits.h of this folder.
 */
#ifndef REMOTING_H
#define REMOTING_H

#include "core/core.h"
#include "world/net.h"

struct remoting;

/* `topic.map.<name> = <kafka topic>` */
struct topic_mapping {
	const char *name;
	const char *kafka;
};

struct remoting_conf {
	const char *listen;	/* listen.address, "127.0.0.1:9876"; port 0: any             */
	bool vip;		/* listen.vip: also on port - 2                             */
	const char *advertise;	/* listen.advertise; numeric; NULL: where the client reached us */
	const char *broker_name; /* of the route, e.g. "escrow-0"                            */
	const char *cluster_name;
	uint32_t connections_max; /* limits.connections                                     */
	uint32_t message_bytes;	  /* limits.message                                         */
	uint64_t receive_bytes;	  /* partial frames of all connections together; as much again
				   * for answers that are not taken                          */
	const struct topic_mapping *map;
	size_t map_count;
};

/* Listens.  ERR_SYSTEM, ERR_EXISTS (address in use), ERR_CONFIG. */
int remoting_new(struct core *core, struct net *net, const struct remoting_conf *conf,
		 struct remoting **ret_remoting) MUSTUSE;
struct remoting *remoting_free(struct remoting *r);
/* Where it really listens. */
void remoting_addr(const struct remoting *r, struct net_addr *ret_addr);

/* One event of net_ops.next(): reads, parses, calls the core.  Frames stay readable until
 * remoting_consumed(), so that the core may borrow from them. */
void remoting_event(struct remoting *r, const struct net_event *ev, int64_t now_ns);
/* After core_decide(): gives back what was borrowed. */
void remoting_consumed(struct remoting *r);
/* End of the turn: one write for all answers of a connection; deadlines. */
void remoting_flush(struct remoting *r, int64_t now_ns);
int64_t remoting_deadline_ns(const struct remoting *r);

/* The ports of the core that are ours. */
void remoting_answer(struct remoting *r, struct reply_to to, const struct answer *answer);
int remoting_check(struct remoting *r, const struct check *check);

/* Stop accepting half-sends and connections; what was read is still answered. */
void remoting_drain(struct remoting *r);
/* Nothing is left to be written. */
bool remoting_idle(const struct remoting *r);

struct remoting_stats {
	uint64_t connections;
	uint64_t accepted;
	uint64_t refused;	 /* at limits.connections                                */
	uint64_t requests[5];	 /* route, heartbeat, send, end, other                   */
	uint64_t malformed;
	uint64_t grpc;		 /* 5.x gRPC clients that were told                      */
	uint64_t timeouts;	 /* frames begun and never ended, answers never taken     */
	uint64_t crowded;	 /* closed to make room: of answers, begun frames, connections */
	uint64_t bytes_in, bytes_out;
	uint64_t buffered;	 /* bytes held now                                       */
	uint64_t buffered_out;	 /* of them, answers                                     */
};

const struct remoting_stats *remoting_stats(const struct remoting *r);

/* One connection, for people: *AT 0 to begin; false at the end. */
struct conn_view {
	uint64_t peer;
	struct net_addr addr;
	struct str client_id;
	struct str language;
	uint32_t version;
	uint64_t requests;
	bool binary;
};

bool remoting_conn_next(struct remoting *r, uint32_t *at, struct conn_view *ret_view);

#endif /* REMOTING_H */
