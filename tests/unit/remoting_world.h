/*
 * remoting_world.h -- the data port against a core that only remembers, over a simulated network.
 *
 * The core's functions are defined here: what they were told is in `fake`, and a test answers in
 * their place.  A peer is one client connection, moved by hand, turn by turn.
 */
#ifndef REMOTING_WORLD_H
#define REMOTING_WORLD_H

#include "unit.h"

#include <stdio.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/log.h"
#include "core/core.h"
#include "remoting/limits.h"
#include "remoting/remoting.h"
#include "remoting/conn.h"
#include "remoting/send.h"
#include "sim/clock_sim.h"
#include "sim/net_sim.h"
#include "wire/wire.h"

/* ---- a core that remembers ------------------------------------------------------------- */

#define SEEN 64

static struct {
	struct half_request halves[SEEN]; /* borrowed until the turn's decide */
	uint32_t half_count, half_total;
	struct end_request ends[SEEN];
	char end_remark[256];
	uint32_t end_count;
	struct reply_to routes[SEEN];
	char route_topic[SEEN][128];
	uint32_t route_count;
	char log[4096]; /* joins and leaves */
	uint64_t written[SEEN];
	uint32_t written_count;
	int join_err;
	void (*decide)(void);
} fake;

static struct remoting *port;

void
core_half_send(struct core *c, const struct half_request *r)
{
	(void)c;
	fake.halves[fake.half_count++ % SEEN] = *r;
	fake.half_total++;
}

void
core_end(struct core *c, const struct end_request *r)
{
	(void)c;
	fake.ends[fake.end_count++ % SEEN] = *r;
	snprintf(fake.end_remark, sizeof(fake.end_remark), "%.*s", STR_ARG(r->remark));
}

void
core_route(struct core *c, struct reply_to to, struct str topic)
{
	(void)c;
	snprintf(fake.route_topic[fake.route_count % SEEN], 128, "%.*s", STR_ARG(topic));
	fake.routes[fake.route_count++ % SEEN] = to;
}

static inline void
remember(const char *what, struct str group)
{
	size_t n = strlen(fake.log);

	snprintf(fake.log + n, sizeof(fake.log) - n, "%s(%.*s)", what, STR_ARG(group));
}

int
core_join(struct core *c, uint64_t peer, struct str group)
{
	(void)c;
	(void)peer;
	if (!fake.join_err)
		remember("join", group);
	return fake.join_err;
}

void
core_leave(struct core *c, uint64_t peer, struct str group)
{
	(void)c;
	(void)peer;
	remember("leave", group);
}

void
core_check_written(struct core *c, uint64_t seq, uint64_t peer)
{
	(void)c;
	(void)peer;
	fake.written[fake.written_count++ % SEEN] = seq;
}

struct gid
core_watermark(struct core *c, const uint8_t db_id[16])
{
	(void)c;
	return gid_make(db_id[0], 0, db_id[15]);
}

struct gid
core_unpublished(struct core *c)
{
	(void)c;
	return gid_make(7, 0, 9);
}

/* ---- the world -------------------------------------------------------------------------- */

static struct net_sim *sim;
static int64_t now_ns = NS_PER_S;
static char last_line[1024];

static inline int64_t
log_now(void *arg)
{
	(void)arg;
	return now_ns;
}

static inline void
log_line(void *arg, const char *line, size_t len)
{
	(void)arg;
	snprintf(last_line, sizeof(last_line), "%.*s", (int)len, line);
}

static inline struct remoting_conf
conf_default(void)
{
	static const struct topic_mapping map[] = { { "z-last", "zzz" },
						    { "orders-created", "orders.created" },
						    { "%RETRY%g", "retries" } };

	return (struct remoting_conf){ .listen = "127.0.0.1:9876",
				       .broker_name = "escrow-0",
				       .cluster_name = "escrow",
				       .connections_max = 2000,
				       .message_bytes = 64 << 10,
				       .map = map,
				       .map_count = ARRAY_LEN(map) };
}

static inline void
begin_with(const struct remoting_conf *conf)
{
	memset(&fake, 0, sizeof(fake));
	log_redirect(log_now, log_line, NULL);
	sim = net_sim_new(7);
	ck_assert_int_eq(remoting_new(NULL, net_sim_net(sim), conf, &port), 0);
}

static inline void
begin(void)
{
	struct remoting_conf conf = conf_default();

	begin_with(&conf);
}

static inline void
end(void)
{
	remoting_free(port);
	net_sim_free(sim);
}

static inline void
turn(void)
{
	struct net *net = net_sim_net(sim);
	struct net_event ev;

	now_ns += NS_PER_MS;
	net_sim_advance(sim, now_ns);
	net->ops->poll(net, 0);
	while (net->ops->next(net, &ev))
		remoting_event(port, &ev, now_ns);
	if (fake.decide)
		fake.decide();
	remoting_consumed(port);
	fake.half_count = 0; /* no longer ours to look at */
	remoting_flush(port, now_ns);
}

static inline void
turns(int n)
{
	while (n-- > 0)
		turn();
}

struct peer {
	struct net_sim_client *client;
	char in[1 << 20];
	size_t n;
	bool closed;
};

static inline struct peer *
dial(void)
{
	struct peer *p = mem_alloc(sizeof(*p));

	p->client = net_sim_connect(sim, "127.0.0.1:9876");
	ck_assert_ptr_nonnull(p->client);
	return p;
}

static inline void
hang_up(struct peer *p)
{
	net_sim_close(p->client, false);
	mem_free(p);
}

static inline void
take(struct peer *p)
{
	p->n += net_sim_recv(p->client, p->in + p->n, sizeof(p->in) - p->n, &p->closed);
}

/* The next frame that came; false: none within some turns. */
static inline bool
receive(struct peer *p, struct wire_command *ret)
{
	static char frame[1 << 20];
	size_t total;

	for (int i = 0; i < 20; i++) {
		take(p);
		if (wire_frame_size(p->in, p->n, SIZE_MAX, &total) == 0 && total <= p->n) {
			memcpy(frame, p->in, total);
			memmove(p->in, p->in + total, p->n - total);
			p->n -= total;
			ck_assert_int_eq(wire_decode(frame, total, ret), 0);
			return true;
		}
		turn();
	}
	return false;
}

static inline size_t
encode(const struct wire_command *c, char *to, size_t room)
{
	size_t n;

	ck_assert_int_eq(wire_encode(c, to, room, &n), 0);
	return n;
}

static inline void
post(struct peer *p, const struct wire_command *c)
{
	static char frame[4 << 20];

	ck_assert(net_sim_send(p->client, frame, encode(c, frame, sizeof(frame))));
}

static inline const char *
ext(const struct wire_command *c, const char *name)
{
	static char text[8][256];
	static int at;
	const struct wire_field *f = wire_field(c, name);
	char *t = text[at++ % 8];

	if (!f)
		return "(none)";
	snprintf(t, 256, "%.*s", (int)f->value.n, f->value.p);
	return t;
}

static inline const char *
remark(const struct wire_command *c)
{
	static char text[256];

	snprintf(text, sizeof(text), "%.*s", (int)c->remark.n, c->remark.p ? c->remark.p : "");
	return text;
}

static inline void
request(struct wire_command *c, enum wire_type type, int32_t code, int32_t opaque)
{
	wire_command_init(c, type, code);
	c->opaque = opaque;
}

#define PROPERTIES                                                                                 \
	"TRAN_MSG\1true\2PGROUP\1g1\2UNIQ_KEY\1K1\2WAIT\1true\2color\1red\2TAGS\1A\2KEYS\1k1 k2\2"

static char send_text[WIRE_SEND_TEXT];

static inline void
half_send(struct wire_command *c, enum wire_type type, int32_t code, struct str properties,
	  struct str body, int32_t sys_flag)
{
	struct wire_send s = { .producer_group = WIRE_STR("g1"),
			       .topic = WIRE_STR("orders-created"),
			       .default_topic = WIRE_STR("TBW102"),
			       .default_topic_queue_nums = 4,
			       .queue_id = 3,
			       .sys_flag = sys_flag,
			       .born_timestamp = 1700000000123,
			       .properties = { properties.p, properties.n } };

	request(c, type, code, 42);
	wire_send_fields(&s, c, send_text);
	c->body = (struct wire_str){ body.p, body.n };
}

static inline const char *
header_of(const struct half_request *r, const char *name)
{
	static char text[64];
	struct header header;
	size_t at = 0;

	while (headers_next(r->half.messages[0].headers, &at, &header))
		if (str_eq(header.name, str_of(name))) {
			snprintf(text, sizeof(text), "%.*s", STR_ARG(header.value));
			return text;
		}
	return "(none)";
}

/* The body of a route, as we spell it. */
#define ROUTE(address, n)                                                                          \
	"{\"brokerDatas\":[{\"brokerAddrs\":{\"0\":\"" address "\"},\"brokerName\":\"escrow-0\","  \
	"\"cluster\":\"escrow\",\"enableActingMaster\":false}],\"filterServerTable\":{},"          \
	"\"queueDatas\":[{\"brokerName\":\"escrow-0\",\"perm\":6,\"readQueueNums\":" n             \
	",\"topicSysFlag\":0,\"writeQueueNums\":" n "}]}"

/* ---- a half message, kept ------------------------------------------------------------------- */

static struct half seen_half;
static struct message seen_message;
static bool seen_plain;
static struct reply_to seen_to;
static struct buf seen_bytes; /* what the half pointed to, copied as the core would */

static inline struct str
keep(struct str s)
{
	size_t at = seen_bytes.len;

	if (!s.p)
		return s;
	buf_str(&seen_bytes, s);
	return str_from(seen_bytes.data + at, s.n);
}

static inline void
keep_half(void)
{
	struct half_request *r = &fake.halves[0];

	if (fake.half_count == 0)
		return;
	ck_assert_uint_eq(fake.half_count, 1);
	buf_reset(&seen_bytes, 0);
	(void)buf_reserve(&seen_bytes, 1 << 20); /* no move from here on */
	seen_half = r->half;
	seen_message = r->half.messages[0];
	seen_plain = r->plain;
	seen_to = r->to;
	seen_half.messages = &seen_message;
	seen_half.group = keep(r->half.group);
	seen_half.key = keep(r->half.key);
	seen_half.from = keep(r->half.from);
	seen_half.edge = keep(r->half.edge);
	seen_message.topic = keep(seen_message.topic);
	seen_message.key = keep(seen_message.key);
	seen_message.value = keep(seen_message.value);
	seen_message.headers.bytes = keep(seen_message.headers.bytes);
}

static inline void
end_with(struct wire_command *c, enum wire_type type, const char *decision, const char *from_check)
{
	request(c, type, WIRE_END_TRANSACTION, 77);
	wire_add(c, WIRE_STR("producerGroup"), WIRE_STR("g1"));
	wire_add(c, WIRE_STR("tranStateTableOffset"), WIRE_STR("19088643"));
	wire_add(c, WIRE_STR("commitLogOffset"), WIRE_STR("4096"));
	wire_add(c, WIRE_STR("commitOrRollback"), (struct wire_str){ decision, strlen(decision) });
	if (from_check)
		wire_add(c, WIRE_STR("fromTransactionCheck"),
			 (struct wire_str){ from_check, strlen(from_check) });
}

static inline void
heartbeat(struct peer *p, const char *body, int32_t expected)
{
	struct wire_command c;

	request(&c, WIRE_JSON, WIRE_HEARTBEAT, 1);
	c.body = (struct wire_str){ body, strlen(body) };
	post(p, &c);
	ck_assert(receive(p, &c));
	ck_assert_int_eq(c.code, expected);
	wire_command_done(&c);
}

#endif /* REMOTING_WORLD_H */
