/*
 * message.h -- what producers half-send: gid, message, half.
 *
 * Plain structs of borrowed bytes.  An edge (remoting, http) translates its wire into
 * these, so that core, journal and relay know nothing of RocketMQ; what an edge needs to
 * say a check in its own words travels in `edge`, which only that edge understands.
 */
#ifndef MESSAGE_H
#define MESSAGE_H

#include "base/base.h"
#include "base/hash.h"
#include "base/inflate.h"

/*
 * The id of a transaction: 48-bit milliseconds | 16-bit shard | 64-bit sequence (63
 * used).  Text form: 32 lower-case hex digits.  Never reused, never going back within a
 * shard, so numeric order is the order in which they began.
 */
struct gid {
	uint64_t hi; /* milliseconds << 16 | shard */
	uint64_t lo; /* sequence */
};

#define GID_TEXT   33			   /* with the NUL */
#define GID_MS_MAX ((UINT64_C(1) << 48) - 1) /* in the year 10889 */

static inline struct gid
gid_make(uint64_t ms, uint16_t shard, uint64_t seq)
{
	return (struct gid){ ms << 16 | shard, seq };
}

static inline uint64_t
gid_ms(struct gid g)
{
	return g.hi >> 16;
}

static inline bool
gid_eq(struct gid a, struct gid b)
{
	return a.hi == b.hi && a.lo == b.lo;
}

void gid_format(struct gid g, char ret_text[GID_TEXT]);
/* Accepts upper and lower case, exactly 32 digits; ERR_MALFORMED. */
int gid_parse(struct str text, struct gid *ret_gid) MUSTUSE;
/* 16 bytes, big-endian: the key of the fence table (tables of the client library). */
void gid_bytes(struct gid g, uint8_t ret_bytes[16]);

/*
 * Headers of one message: ordered, names may repeat, values are bytes or null.
 * Encoded:  { varint name_len | name | varint value_len + 1 (0: null) | value }*
 * so that they go from wire to journal to Kafka without being taken apart.
 */
struct headers {
	struct str bytes;
};

struct header {
	struct str name;
	struct str value; /* .p NULL: null */
};

/* Steps through H: *AT is 0 to begin. False at the end and on malformed bytes. */
bool headers_next(struct headers h, size_t *at, struct header *ret_header);
/* How many; -1 when the bytes are malformed. */
int headers_count(struct headers h);
struct buf;
void headers_add(struct buf *out, struct str name, struct str value);

struct message {
	struct str topic;     /* Kafka's name of it                                     */
	int32_t partition;    /* in a request: wanted, -1 by key; stored: the one        */
	uint32_t spread;      /* in a request: partition of a keyless message, modulo    */
	struct str key;	      /* .p NULL: none; .n 0: empty                             */
	struct str value;     /* as it came, perhaps compressed; .p NULL: null           */
	enum codec codec;     /* of value                                               */
	uint32_t plain_bytes; /* size of value once inflated                            */
	struct headers headers; /* published, in order                                  */
};

/* Which edge half-sent it, and so whose `edge` bytes these are.  Stored: never renumber. */
enum edge_kind { EDGE_ROCKETMQ = 1, EDGE_NATIVE = 2, EDGE_HTTP = 3 };

/* One half-send: the messages under one decision and all that is kept with them. */
struct half {
	struct gid gid;		/* made by the core                                     */
	uint64_t check;		/* 55 random bits: with the sequence, the right to decide */
	struct str group;	/* producer group, not empty                            */
	struct str key;		/* idempotency key (RocketMQ's UNIQ_KEY); may be empty   */
	struct hash128 body_hash; /* topics, keys and plain values: "is it the same?"    */
	bool has_db_id;
	uint8_t db_id[16];	/* which database decides it                            */
	uint64_t arrived_ms;	/* our wall clock                                       */
	uint64_t born_ms;	/* the producer's clock: for display only               */
	uint32_t immunity_ms;	/* until the first check; 0: check.immunity             */
	struct str from;	/* "ip:port" of the producer, for people                */
	enum edge_kind kind;
	struct str edge;	/* what that edge needs for a check                     */
	uint32_t count;		/* messages; at least 1                                 */
	const struct message *messages;
};

#endif /* MESSAGE_H */
