/*
 * limits.h -- every bound of the data port that is not the core's, with what happens at it.
 *
 * What a person may set (limits.connections, limits.message, the receive memory) comes in
 * struct remoting_conf; the rest is fixed here.
 */
#ifndef REMOTING_LIMITS_H
#define REMOTING_LIMITS_H

#include "base/base.h"
#include "wire/wire.h"

/* A frame is a message plus its header; a longer one is answered with 13 and skipped. */
#define LIMIT_FRAME_SLACK (WIRE_HEADER_MAX + 8)
/* What one connection may give in one turn; the rest waits in the kernel. */
#define LIMIT_READ_BYTES (256u << 10)
/* A read is not begun with less room than this. */
#define LIMIT_READ_MIN (16u << 10)
/* Read memory of one turn, all connections; those that come later wait for the next turn.  Beside
 * the receive memory of the configuration, which counts what outlives a turn. */
#define LIMIT_TURN_READ_BYTES (16u << 20)
/* Inflating is the one thing that costs far more than its bytes: once a turn's bodies came to the
 * first, no more is read in it; what one read brings beyond the second is answered BUSY (2).  No
 * body of an application grows 200 times. */
#define LIMIT_TURN_INFLATE_BYTES (16u << 20)
#define LIMIT_TURN_INFLATE_MAX (64u << 20)
/* A partial frame up to this size is copied in front of the next read; a longer one is
 * gathered in place, so that megabytes are not copied again with each segment of TCP. */
#define LIMIT_CARRY_SMALL (64u << 10)
/* A frame once begun must end in this time: closed. */
#define LIMIT_FRAME_NS (30 * NS_PER_S)
/* Nothing heard for so long: closed.  RocketMQ's clients know this number too. */
#define LIMIT_IDLE_NS (120 * NS_PER_S)
/* Connected for so long without a request: makes room at limits.connections. */
#define LIMIT_SILENT_NS (5 * NS_PER_S)
/* A group not named by a heartbeat for so long has left. */
#define LIMIT_HEARTBEAT_NS (120 * NS_PER_S)
/* Answers not taken by the peer: reading stops at the first, goes on below the second... */
#define LIMIT_OUT_STOP (1u << 20)
#define LIMIT_OUT_RESUME (256u << 10)
/* ...and it is closed when the backlog (requests read before bring answers) grows to this... */
#define LIMIT_OUT_MAX (64u << 20)
/* ...or when it took nothing for so long. */
#define LIMIT_OUT_NS (30 * NS_PER_S)
/* Producer groups of one connection; further ones are answered with 2. */
#define LIMIT_CONN_GROUPS WIRE_GROUPS_MAX
/* A client's own name for itself, for people: cut short. */
#define LIMIT_CLIENT_ID 255
/* Body of a heartbeat: 13. */
#define LIMIT_HEARTBEAT_BYTES (1u << 20)
/* An exception's text that comes with an END: cut short. */
#define LIMIT_REMARK 1024
/* Until the first check, as a producer may ask for it: a RocketMQ property beyond it means
 * nothing, as it always did; 7802 is refused. */
#define LIMIT_IMMUNITY_S (7 * 24 * 3600)
/* Key and headers of one message of 7802: in a check they share a block of 32767. */
#define LIMIT_PART_BYTES 32000
/* Lines of the log about peers' faults, a second. */
#define LIMIT_COMPLAINTS 10
/* Connections: the slot's share of a peer id. */
#define LIMIT_CONNECTIONS (1u << 20)
/* Buffers kept ready for answers, and how large they may be to be kept. */
#define LIMIT_POOL 64
#define LIMIT_POOL_BYTES (256u << 10)

#endif /* REMOTING_LIMITS_H */
