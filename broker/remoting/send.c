/*
 * send.c -- a RocketMQ send as a half message of ours.
 *
 * Here RocketMQ's words end: properties become Kafka headers, a key, a group, a database, an
 * immunity; what only a check needs is packed into half.edge.  All strings stay where they
 * were read; what is built (headers, edge, the request itself) lies in the turn's arena.
 */
#include "remoting/send.h"

#include "base/bytes.h"
#include "base/err.h"
#include "remoting/route.h"
#include "remoting/serve.h"

/* "PGROUP", two marks and the group are added to a check when the client did not send them. */
#define PGROUP_EXTRA 8
#define DIGEST_BYTES 50 /* of one message, see send_hash() */

/* One request with all that it points to, borrowed by the core until the turn's end. */
struct send_slot {
	struct half_request request;
	struct message message;
};

/* What the properties of one message come to. */
struct parsed {
	struct str group;
	struct str unique;
	struct str sharding;
	struct str sharding_go;
	struct str keys;
	bool half;
	bool wait;
	bool has_db;
	bool has_immunity;
	struct gid db;
	struct gid again;
	uint32_t immunity_s;
	uint32_t count;
	struct buf *headers; /* published */
	struct buf *system;  /* kept for checks */
};

enum property {
	PROPERTY_USER,    /* published */
	PROPERTY_SYSTEM,  /* RocketMQ's own: kept for checks, not published */
	PROPERTY_DROPPED, /* made anew in each check */
	PROPERTY_TRAN_MSG,
	PROPERTY_PGROUP,
	PROPERTY_UNIQ_KEY,
	PROPERTY_KEYS,
	PROPERTY_SHARDING,
	PROPERTY_SHARDING_GO,
	PROPERTY_WAIT,
	PROPERTY_IMMUNITY,
	PROPERTY_AGAIN,
	PROPERTY_DB,
	PROPERTY_DELAY,
};

/* MessageConst.java's names.  TAGS is not here: it is published like a user's. */
static const struct {
	struct str name;
	enum property property;
} properties[] = {
#define P(text, property)                                                                          \
	{                                                                                          \
		{ text, sizeof(text) - 1 }, property                                               \
	}
	P("TRAN_MSG", PROPERTY_TRAN_MSG),
	P("PGROUP", PROPERTY_PGROUP),
	P("UNIQ_KEY", PROPERTY_UNIQ_KEY),
	P("KEYS", PROPERTY_KEYS),
	P("WAIT", PROPERTY_WAIT),
	P("__SHARDINGKEY", PROPERTY_SHARDING),
	P("SHARDING_KEY", PROPERTY_SHARDING_GO),
	P("CHECK_IMMUNITY_TIME_IN_SECONDS", PROPERTY_IMMUNITY),
	P("__transactionId__", PROPERTY_AGAIN),
	P("ESCROW_DB", PROPERTY_DB),
	P("DELAY", PROPERTY_DELAY),
	P("TRANSACTION_CHECK_TIMES", PROPERTY_DROPPED),
	P("TRAN_PREPARED_QUEUE_OFFSET", PROPERTY_DROPPED),
	P("REAL_TOPIC", PROPERTY_DROPPED),
	P("REAL_QID", PROPERTY_DROPPED),
	P("INSTANCE_ID", PROPERTY_SYSTEM),
	P("CLUSTER", PROPERTY_SYSTEM),
	P("MSG_REGION", PROPERTY_SYSTEM),
	P("TRACE_ON", PROPERTY_SYSTEM),
	P("BUYER_ID", PROPERTY_SYSTEM),
	P("MSG_TYPE", PROPERTY_SYSTEM),
	P("EXTEND_UNIQ_INFO", PROPERTY_SYSTEM),
	P("RETRY_TOPIC", PROPERTY_SYSTEM),
	P("ORIGIN_MESSAGE_ID", PROPERTY_SYSTEM),
	P("TRANSFER_FLAG", PROPERTY_SYSTEM),
	P("CORRECTION_FLAG", PROPERTY_SYSTEM),
	P("MQ2_FLAG", PROPERTY_SYSTEM),
	P("RECONSUME_TIME", PROPERTY_SYSTEM),
	P("MAX_RECONSUME_TIMES", PROPERTY_SYSTEM),
	P("CONSUME_START_TIME", PROPERTY_SYSTEM),
	P("MIN_OFFSET", PROPERTY_SYSTEM),
	P("MAX_OFFSET", PROPERTY_SYSTEM),
	P("INNER_NUM", PROPERTY_SYSTEM),
	P("INNER_BASE", PROPERTY_SYSTEM),
	P("DUP_INFO", PROPERTY_SYSTEM),
	P("__CRC32#", PROPERTY_SYSTEM),
#undef P
};

static enum property
classify(struct str name)
{
	/* A user's names rarely share length and first letter with one of these. */
	for (size_t i = 0; i < ARRAY_LEN(properties); i++)
		if (properties[i].name.n == name.n && properties[i].name.p[0] == name.p[0] &&
		    str_eq(properties[i].name, name))
			return properties[i].property;
	if (str_starts(name, STR("TIMER_")))
		return PROPERTY_DELAY;
	return PROPERTY_USER;
}

static bool
is_true(struct str value)
{
	return value.n == 4 && (value.p[0] | 0x20) == 't' && (value.p[1] | 0x20) == 'r' &&
	       (value.p[2] | 0x20) == 'u' && (value.p[3] | 0x20) == 'e';
}

/* A plain number of seconds, as a client prints it; else it is kept as text and means nothing. */
static bool
parse_immunity(struct str value, uint32_t *ret_s)
{
	int64_t v;

	if (!wire_i64(wire_of(value), &v) || v <= 0 || v > LIMIT_IMMUNITY_S || value.p[0] == '0')
		return false;
	*ret_s = (uint32_t)v;
	return true;
}

/* NULL, or why the message is refused. */
static const char *
take_property(struct parsed *m, struct str name, struct str value)
{
	switch (classify(name)) {
	case PROPERTY_USER:
		if (str_starts(name, STR("escrow-")))
			return "refused: property names that begin with escrow- are ours";
		headers_add(m->headers, name, value);
		m->count++;
		return NULL;
	case PROPERTY_KEYS:
		m->keys = value;
		headers_add(m->headers, name, value);
		m->count++;
		return NULL;
	case PROPERTY_SYSTEM:
		headers_add(m->system, name, value);
		return NULL;
	case PROPERTY_DROPPED:
		return NULL;
	case PROPERTY_TRAN_MSG:
		m->half = is_true(value);
		return NULL;
	case PROPERTY_PGROUP:
		m->group = value;
		return NULL;
	case PROPERTY_UNIQ_KEY:
		m->unique = value;
		return NULL;
	case PROPERTY_SHARDING:
		m->sharding = value;
		return NULL;
	case PROPERTY_SHARDING_GO: /* the Go client's name of it; published like a user's */
		m->sharding_go = value;
		headers_add(m->headers, name, value);
		m->count++;
		return NULL;
	case PROPERTY_WAIT:
		if (str_eq(value, STR("true")))
			m->wait = true;
		else
			headers_add(m->system, name, value);
		return NULL;
	case PROPERTY_IMMUNITY:
		m->has_immunity = parse_immunity(value, &m->immunity_s);
		if (!m->has_immunity)
			headers_add(m->system, name, value);
		return NULL;
	case PROPERTY_AGAIN:
		/* RocketMQ's own brokers put other ids here: only a gid means something to us. */
		if (gid_parse(value, &m->again) < 0)
			m->again = (struct gid){ 0, 0 };
		return NULL;
	case PROPERTY_DB:
		if (gid_parse(value, &m->db) < 0)
			return "refused: ESCROW_DB is not 32 hex digits";
		m->has_db = true;
		return NULL;
	case PROPERTY_DELAY:
		if (str_eq(name, STR("DELAY")) && str_eq(value, STR("0")))
			return NULL; /* level 0 is no delay */
		return "refused: delayed messages are not supported";
	}
	return NULL;
}

static const char *
parse_properties(struct parsed *m, struct wire_str block)
{
	struct wire_field p;
	const char *why;
	size_t at = 0;

	while (wire_property_next(block, &at, &p)) {
		why = take_property(m, str_wire(p.name), str_wire(p.value));
		if (why)
			return why;
	}
	if (at < block.n)
		return "refused: malformed properties";
	if (m->count > LIMIT_HEADERS)
		return "refused: too many properties";
	return NULL;
}

/* B's bytes into the arena; B may then be used for the next message. */
static struct str
settle(struct arena *a, const struct buf *b)
{
	char *p;

	if (b->len == 0)
		return str_from("", 0);
	p = arena_alloc(a, b->len);
	memcpy(p, b->data, b->len);
	return str_from(p, b->len);
}

static struct str
kafka_key(const struct parsed *m)
{
	size_t n = 0;
	struct str keys = m->keys;

	if (m->sharding.n > 0)
		return m->sharding;
	if (m->sharding_go.n > 0)
		return m->sharding_go;
	while (keys.n > 0 && keys.p[0] == ' ') {
		keys.p++;
		keys.n--;
	}
	while (n < keys.n && keys.p[n] != ' ')
		n++;
	return n > 0 ? str_from(keys.p, n) : STR_NONE;
}

static int
codec_of(int32_t sys_flag, enum codec *ret_codec)
{
	static const enum codec codecs[8] = { CODEC_ZLIB, CODEC_LZ4, CODEC_ZSTD, CODEC_ZLIB };
	uint32_t type = ((uint32_t)sys_flag & WIRE_SYS_COMPRESSION) >> 8;

	*ret_codec = CODEC_NONE;
	if (!(sys_flag & WIRE_SYS_COMPRESSED))
		return 0;
	if (type > 3)
		return ERR_MALFORMED;
	*ret_codec = codecs[type];
	return 0;
}

/*
 * "Is it the same message?", of one or several.  For each, in order, 50 bytes:
 *
 *      16  hash of Kafka's topic name
 *       1  1 when there is a key        16  hash of the key, else zeroes
 *       1  1 when there is a value      16  hash of the plain value, else zeroes
 *
 * each hash being hash_body() with seed 0, low half first, little-endian; and over all of them
 * hash_body() with the number of messages as seed.  Property order, born time, queue and
 * compression are not in it: clients change those between attempts.
 */
static uint8_t *
put_hash(uint8_t *p, struct str s)
{
	struct hash128 h = hash_body(s.p, s.n, 0);

	le_put64(p, h.lo);
	le_put64(p + 8, h.hi);
	return p + 16;
}

static uint8_t *
put_optional(uint8_t *p, struct str s)
{
	*p++ = s.p != NULL;
	if (s.p)
		return put_hash(p, s);
	memset(p, 0, 16);
	return p + 16;
}

struct hash128
send_hash(struct arena *a, const struct message *messages, const struct str *plain, uint32_t count)
{
	uint8_t *digest = arena_alloc(a, count * DIGEST_BYTES);
	uint8_t *p = digest;

	for (uint32_t i = 0; i < count; i++) {
		p = put_hash(p, messages[i].topic);
		p = put_optional(p, messages[i].key);
		p = put_optional(p, plain[i]);
	}
	CHECK(p == digest + count * DIGEST_BYTES, count);
	return hash_body(digest, count * DIGEST_BYTES, count);
}

static struct str
edge_encode(struct remoting *r, const struct wire_send *s, const struct parsed *m, struct str kafka)
{
	struct buf *b = &r->text;
	struct str topic = str_wire(s->topic);
	uint8_t flags = 0;

	if (s->queue_id != 0)
		flags |= EDGE_QUEUE;
	if (s->flag != 0)
		flags |= EDGE_FLAG;
	if (!str_eq(topic, kafka))
		flags |= EDGE_TOPIC;
	if (m->wait)
		flags |= EDGE_WAIT_TRUE;
	if (m->sharding.n > 0)
		flags |= EDGE_SHARDING_KEY;
	if (m->has_immunity)
		flags |= EDGE_IMMUNITY;
	if (s->sys_flag & 0x2)
		flags |= EDGE_MULTI_TAGS;
	buf_reset(b, 4096);
	buf_u8(b, flags);
	if (flags & EDGE_QUEUE)
		buf_varint(b, (uint32_t)s->queue_id);
	if (flags & EDGE_FLAG)
		buf_varint(b, (uint32_t)s->flag);
	if (flags & EDGE_TOPIC) {
		buf_varint(b, topic.n);
		buf_str(b, topic);
	}
	buf_add(b, m->system->data, m->system->len);
	return settle(&r->arena, b);
}

int
edge_decode(struct str bytes, struct edge *ret_edge)
{
	struct cursor c = cursor_of(bytes);
	struct edge e = { .flags = cursor_u8(&c) };

	if (e.flags & EDGE_QUEUE)
		e.queue_id = (uint32_t)cursor_varint(&c);
	if (e.flags & EDGE_FLAG)
		e.flag = (int32_t)(uint32_t)cursor_varint(&c);
	if (e.flags & EDGE_TOPIC)
		e.topic = cursor_str(&c, cursor_varint(&c));
	if (c.bad || e.flags > 0x7f)
		return ERR_MALFORMED;
	e.properties.bytes = cursor_str(&c, cursor_left(&c));
	if (headers_count(e.properties) < 0)
		return ERR_MALFORMED;
	*ret_edge = e;
	return 0;
}

/* The plain bytes of the body, for size and hash; it is stored as it came. */
static const char *
plain_body(struct remoting *r, struct message *m, struct str *ret_plain)
{
	int err;

	*ret_plain = m->value;
	if (m->codec != CODEC_NONE) {
		buf_reset(&r->plain, 1u << 20);
		err = inflate_body(m->codec, m->value, r->conf.message_bytes, &r->plain);
		/* Nobody tells how far one came that failed. */
		r->inflated += err < 0 ? r->conf.message_bytes : r->plain.len;
		if (err == ERR_TOOBIG)
			return "too big: the inflated body is larger than limits.message";
		if (err < 0)
			return "refused: the body does not inflate";
		*ret_plain = str_from(r->plain.data ? r->plain.data : "", r->plain.len);
	}
	m->plain_bytes = (uint32_t)ret_plain->n;
	return NULL;
}

/* Fills SLOT from the request; NULL, or why it is refused. */
static const char *
build(struct conn *c, const struct wire_command *command, const struct wire_send *s,
      struct send_slot *slot)
{
	struct remoting *r = c->r;
	struct half *h = &slot->request.half;
	struct message *m = &slot->message;
	struct parsed p = { .headers = &r->block, .system = &r->plain };
	static const char too_long[] = "refused: the properties are too long for a check";
	struct str plain;
	const char *why;
	size_t block;

	if (s->batch)
		return "refused: batches are not accepted";
	if (route_topic(r, str_wire(s->topic), &m->topic, &why) < 0)
		return why;
	buf_reset(&r->block, 64u << 10);
	buf_reset(&r->plain, 1u << 20);
	block = s->properties.n;
	if (block > WIRE_PROPERTIES_MAX)
		return too_long;
	why = parse_properties(&p, s->properties);
	if (why)
		return why;
	if (p.group.n == 0) {
		p.group = str_wire(s->producer_group);
		block += PGROUP_EXTRA + p.group.n;
	}
	if (block > WIRE_PROPERTIES_MAX)
		return too_long;
	if (p.group.n == 0 || p.group.n > LIMIT_GROUP_BYTES)
		return "refused: a producer group has 1 to 255 bytes";
	if (p.unique.n > LIMIT_KEY_BYTES)
		return "refused: UNIQ_KEY is too long";
	if (((uint32_t)s->sys_flag & WIRE_SYS_TRANSACTION) == WIRE_SYS_PREPARED)
		p.half = true;

	m->partition = -1;
	m->spread = (uint32_t)s->queue_id;
	m->key = kafka_key(&p);
	m->value = str_from(command->body.p ? command->body.p : "", command->body.n);
	m->headers.bytes = settle(&r->arena, p.headers);
	if (codec_of(s->sys_flag, &m->codec) < 0)
		return "refused: an unknown compression";

	*h = (struct half){
		.group = p.group,
		.key = p.unique,
		.has_db_id = p.has_db,
		.born_ms = s->born_timestamp > 0 ? (uint64_t)s->born_timestamp : 0,
		.immunity_ms = p.has_immunity ? p.immunity_s * 1000u : 0,
		.from = str_of(c->from),
		.kind = EDGE_ROCKETMQ,
		.edge = p.half ? edge_encode(r, s, &p, m->topic) : str_from("", 0),
		.count = 1,
		.messages = m,
	};
	if (p.has_db)
		gid_bytes(p.db, h->db_id);
	/* From here on r->plain holds the body: the system properties are in the edge. */
	why = plain_body(r, m, &plain);
	if (why)
		return why;
	h->body_hash = send_hash(&r->arena, m, &plain, 1);
	slot->request.plain = !p.half;
	slot->request.again = p.again;
	return NULL;
}

void
send_request(struct conn *c, const struct wire_command *command)
{
	struct reply_to to = serve_reply_to(c, command, SERVE_SEND);
	struct send_slot *slot;
	struct wire_send send;
	const char *why;

	if (wire_send_decode(command, &send) < 0) {
		serve_refuse(c, to, WIRE_MESSAGE_ILLEGAL,
			     "refused: a field of the send is missing or no number");
		return;
	}
	if (send.sys_flag & WIRE_SYS_COMPRESSED && c->r->inflated > LIMIT_TURN_INFLATE_MAX) {
		serve_refuse(c, to, WIRE_SYSTEM_BUSY, "busy: too much to inflate at one time");
		return;
	}
	slot = arena_alloc(&c->r->arena, sizeof(*slot));
	slot->request.to = to;
	why = build(c, command, &send, slot);
	if (why) {
		serve_refuse(c, to, WIRE_MESSAGE_ILLEGAL, why);
		return;
	}
	core_half_send(c->r->core, &slot->request);
}
