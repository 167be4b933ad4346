/*
 * peer.h -- one RocketMQ producer's connection that does exactly what it is told.
 *
 * For worlds whose course is chosen from outside (story.c, scope.c): it encodes with client/wire,
 * sends over net_sim, and hands out frames one at a time.  It decides nothing and remembers nothing
 * but half-received bytes.
 */
#ifndef PEER_H
#define PEER_H

#include "base/base.h"
#include "sim/net_sim.h"
#include "wire/wire.h"

struct peer;

/* A message as an application hands it over; NULL where there is none. */
struct peer_message {
	const char *topic;
	const char *group;
	const char *unique;	/* UNIQ_KEY                                              */
	const char *key;	/* KEYS                                                  */
	const char *body;
	size_t body_bytes;	/* 0: BODY ends with a NUL                               */
	const char *property;	/* one more, its name... */
	const char *value;	/* ...and its value      */
	bool plain;		/* an ordinary send                                      */
};

/* What an answer to a half-send, or a check, says of a transaction. */
struct peer_tokens {
	char gid[33];	/* transactionId, hex                                            */
	int64_t seq;	/* commitLogOffset                                               */
	int64_t token;	/* tranStateTableOffset                                          */
};

/* NULL: nobody listens at ADDRESS.  ID tells this connection's heartbeats from others'. */
struct peer *peer_connect(struct net_sim *net, const char *address, uint32_t id, bool binary);
/* HARD: by a reset.  NULL for NULL. */
struct peer *peer_close(struct peer *p, bool hard);

/* False: the connection is gone. */
bool peer_heartbeat(struct peer *p, const char *group, int32_t opaque);
bool peer_half_send(struct peer *p, const struct peer_message *m, int32_t opaque);
/* FROM_CHECK: one-way, as RocketMQ's clients answer checks. */
bool peer_end(struct peer *p, const char *group, const struct peer_tokens *t,
	      enum wire_decision decision, bool from_check, int32_t opaque);

/*
 * The next whole frame that arrived, valid until the next call; false: none now.  *RET_CLOSED: and
 * none will come any more.
 */
bool peer_next(struct peer *p, struct wire_command *ret_command, bool *ret_closed);
/* False: not an answer with tokens (a refusal), not a check. */
bool peer_tokens(const struct wire_command *c, struct peer_tokens *ret_tokens);
/* UNIQ_KEY of the message that a check (or nothing else) carries; false: not readable. */
bool peer_check_unique(const struct wire_command *c, struct wire_str *ret_unique);

#endif /* PEER_H */
