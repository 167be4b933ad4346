/*
 * send.h -- a RocketMQ send as a half message, and what is kept of it for its checks.
 */
#ifndef SEND_H
#define SEND_H

#include "remoting/conn.h"

/* 10 and 310: to core_half_send(), or refused. */
void send_request(struct conn *c, const struct wire_command *command);

/* 7802, Escrow's own, of one or several messages: the same. */
void half_request(struct conn *c, const struct wire_command *command);

/*
 * "Is it the same?": over COUNT messages, whose plain values are PLAIN[].  The bytes that are
 * hashed stand at its definition: they decide over repeats across restarts.
 */
struct hash128 send_hash(struct arena *a, const struct message *messages, const struct str *plain,
			 uint32_t count);

/*
 * half.edge of EDGE_ROCKETMQ.  Stored in the journal: fields are only ever added behind a
 * new flag.  Everything else that a check needs is in struct half already: born_ms, from (born
 * host), codec (compression bits of sysFlag), key, group, db_id, immunity_ms, headers.
 *
 *   u8      flags, enum edge_flag
 *   varint  queue id                                    EDGE_QUEUE
 *   varint  message flag, as u32                        EDGE_FLAG
 *   varint  length | RocketMQ's name of the topic       EDGE_TOPIC   (mapped: not Kafka's)
 *   rest    system properties that are not published, as headers_add() encodes them
 *
 * A Java client's message takes two bytes.
 */
enum edge_flag {
	EDGE_QUEUE = 0x01,
	EDGE_FLAG = 0x02,
	EDGE_TOPIC = 0x04,
	EDGE_WAIT_TRUE = 0x08,	 /* WAIT=true: every Java message has it                  */
	EDGE_SHARDING_KEY = 0x10, /* the Kafka key came from __SHARDINGKEY                   */
	EDGE_IMMUNITY = 0x20,	 /* immunity_ms / 1000 is CHECK_IMMUNITY_TIME_IN_SECONDS  */
	EDGE_MULTI_TAGS = 0x40,	 /* that bit of sysFlag                                  */
};

struct edge {
	uint32_t flags;
	uint32_t queue_id;
	int32_t flag;
	struct str topic; /* {NULL, 0}: Kafka's name is RocketMQ's */
	struct headers properties;
};

int edge_decode(struct str bytes, struct edge *ret_edge) MUSTUSE;

#endif /* SEND_H */
