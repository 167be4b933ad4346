/*
 * conn.h -- one client connection: bytes to frames, answers to bytes; and what all share.
 *
 *   socket --recv--> arena of the turn --frames--> serve_frame() --> core
 *                     ^        |
 *                     |        +-- the rest, less than a frame --> in (waits for more)
 *                     +---- in, copied in front of the next read
 *
 *   core --remoting_answer()--> out --one write a turn--> socket
 *
 * An idle connection holds no buffer at all.  A frame of more than LIMIT_CARRY_SMALL is
 * gathered in `in` itself.  Frames are borrowed by the core until remoting_consumed(), so what held
 * them (arena, `in`, unescaped JSON) goes to the turn and is freed there.
 */
#ifndef CONN_H
#define CONN_H

#include "base/buf.h"
#include "base/list.h"
#include "remoting/arena.h"
#include "remoting/limits.h"
#include "remoting/remoting.h"
#include "wire/wire.h"

struct conn_group {
	struct str name; /* owned */
	int64_t seen_ns;
};

/* A check in `out`: told to the core when the byte before END was taken by the socket. */
struct conn_mark {
	uint64_t end;
	uint64_t seq;
};

struct conn {
	uint64_t peer;
	struct remoting *r;
	struct net_conn *net;
	struct net_addr addr;
	struct net_addr local;
	char from[NET_ADDR_TEXT];

	struct buf in;	/* less than a frame */
	size_t in_need; /* its whole size, when it is gathered here; else 0 */
	size_t skip;	/* bytes of an oversized frame still to be thrown away */
	struct buf out;
	size_t out_at;	   /* of it the socket has taken so many */
	uint64_t out_base; /* bytes ever taken before out.data[0] */
	size_t counted;	   /* bytes of this connection in stats.buffered */
	size_t counted_out; /* of them, in stats.buffered_out */

	struct conn_mark *marks; /* marks[mark_at .. mark_count) are not yet taken */
	uint32_t mark_at, mark_count, mark_cap;

	struct conn_group *groups;
	uint32_t group_count;
	struct buf client_id;
	int32_t language;
	int32_t version;
	bool binary;
	uint64_t requests;
	int32_t next_opaque;

	bool reading;	/* what the net was told */
	bool writing;
	bool stopped;	/* its answers are not taken: not read */
	bool starved;	/* receive memory is out: not read */
	bool closing;	/* once `out` is empty */
	bool gone;
	bool complained;

	/* Each list is in order of its time, so a deadline looks at its head alone. */
	struct list silent; /* no request yet */
	struct list idle;
	struct list begun;
	struct list stuck;
	struct list beats;
	struct list dirty;
	struct list hungry;
	int64_t born_ns;
	int64_t idle_ns;
	int64_t begun_ns;
	int64_t stuck_ns;
	int64_t beat_ns;
};

struct remoting {
	struct core *core;
	struct net *net;
	struct remoting_conf conf;
	struct net_listener *listeners[2];
	struct net_addr addr;
	struct topic_mapping *map; /* sorted by name */
	size_t frame_max;
	int64_t now_ns;
	bool draining;

	struct conn **slots;
	uint32_t *free_slots;
	uint32_t slot_count, free_count;
	uint64_t accepted; /* makes peer ids unique */

	struct list silent, idle, begun, stuck, beats, dirty, hungry;

	struct arena arena;
	struct buf *spent; /* freed when the turn's requests are consumed */
	char **scratches;
	struct conn **dead;
	size_t spent_count, spent_cap;
	size_t scratch_count, scratch_cap;
	size_t dead_count, dead_cap;

	struct buf pool[LIMIT_POOL];
	uint32_t pool_count;

	/* Too large to be made anew for each frame. */
	struct wire_command request;
	struct wire_command reply;
	struct wire_heartbeat heartbeat;
	struct buf plain; /* an inflated body, for hashing */
	uint64_t inflated; /* bytes in this turn */
	struct buf text;
	struct buf block;

	int64_t complaint_s;
	uint32_t complaints;
	uint64_t hushed;
	struct remoting_stats stats;
};

/* The connection of that id, or NULL when it is gone. */
struct conn *conn_of(const struct remoting *r, uint64_t peer);
/* A new connection; NULL (and closed) at limits.connections. */
struct conn *conn_accept(struct remoting *r, struct net_conn *net);
/* READABLE: reads once and serves what is whole.  May end in conn_gone(). */
void conn_readable(struct conn *c);
/* Ends it at once: the core is told, and the struct dies with the turn. */
void conn_gone(struct conn *c);
/* Bytes of partial frames, all connections. */
uint64_t conn_received(const struct remoting *r);
/* Writes what there is.  May end in conn_gone(). */
void conn_flush(struct conn *c);
/* conn_flush() comes at the end of this turn. */
void conn_touch(struct conn *c);
/* Frees a connection that is gone. */
void conn_free(struct conn *c);
/* Tells the net whether we want to read and write. */
void conn_interest(struct conn *c);

/* Appends COMMAND as a frame to the connection's output.  ERR_TOOBIG: longer than frames can be. */
int conn_write_command(struct conn *c, const struct wire_command *command);
/* Bytes not yet taken by the socket. */
size_t conn_backlog(const struct conn *c);
/* core_check_written(SEQ) follows once everything up to here is taken. */
void conn_mark(struct conn *c, uint64_t seq);

/* GROUP is served here, heard of now.  ERR_FULL. */
int conn_join(struct conn *c, struct str group) MUSTUSE;
void conn_leave(struct conn *c, struct str group);
/* Groups not heard of for LIMIT_HEARTBEAT_NS leave. */
void conn_expire_groups(struct conn *c);

/* True when a line about C may be logged: once a connection, few a second. */
bool conn_may_complain(struct conn *c);

static inline struct wire_str
wire_of(struct str s)
{
	return (struct wire_str){ s.p, s.n };
}

static inline struct str
str_wire(struct wire_str s)
{
	return (struct str){ s.p, s.n };
}

#endif /* CONN_H */
