/*
 * The data port against a core that only remembers.  What is lost here is lost before the
 * journal ever saw it: a property that does not reach Kafka, a check without its group, an
 * answer in the wrong encoding, or a daemon that one slow client stops for all.
 */
#include "protocol.h"
#include "unit.h"

#include <stdio.h>
#include <zlib.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/log.h"
#include "core/core.h"
#include "remoting/limits.h"
#include "remoting/remoting.h"
#include "remoting/conn.h"
#include "remoting/route.h"
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

static void
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

static int64_t
log_now(void *arg)
{
	(void)arg;
	return now_ns;
}

static void
log_line(void *arg, const char *line, size_t len)
{
	(void)arg;
	snprintf(last_line, sizeof(last_line), "%.*s", (int)len, line);
}

static struct remoting_conf
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

static void
begin_with(const struct remoting_conf *conf)
{
	memset(&fake, 0, sizeof(fake));
	log_redirect(log_now, log_line, NULL);
	sim = net_sim_new(7);
	ck_assert_int_eq(remoting_new(NULL, net_sim_net(sim), conf, &port), 0);
}

static void
begin(void)
{
	struct remoting_conf conf = conf_default();

	begin_with(&conf);
}

static void
end(void)
{
	remoting_free(port);
	net_sim_free(sim);
}

static void
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

static void
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

static struct peer *
dial(void)
{
	struct peer *p = mem_alloc(sizeof(*p));

	p->client = net_sim_connect(sim, "127.0.0.1:9876");
	ck_assert_ptr_nonnull(p->client);
	return p;
}

static void
hang_up(struct peer *p)
{
	net_sim_close(p->client, false);
	mem_free(p);
}

static void
take(struct peer *p)
{
	p->n += net_sim_recv(p->client, p->in + p->n, sizeof(p->in) - p->n, &p->closed);
}

/* The next frame that came; false: none within some turns. */
static bool
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

static size_t
encode(const struct wire_command *c, char *to, size_t room)
{
	size_t n;

	ck_assert_int_eq(wire_encode(c, to, room, &n), 0);
	return n;
}

static void
post(struct peer *p, const struct wire_command *c)
{
	static char frame[4 << 20];

	ck_assert(net_sim_send(p->client, frame, encode(c, frame, sizeof(frame))));
}

static const char *
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

static const char *
remark(const struct wire_command *c)
{
	static char text[256];

	snprintf(text, sizeof(text), "%.*s", (int)c->remark.n, c->remark.p ? c->remark.p : "");
	return text;
}

static void
request(struct wire_command *c, enum wire_type type, int32_t code, int32_t opaque)
{
	wire_command_init(c, type, code);
	c->opaque = opaque;
}

#define PROPERTIES                                                                                 \
	"TRAN_MSG\1true\2PGROUP\1g1\2UNIQ_KEY\1K1\2WAIT\1true\2color\1red\2TAGS\1A\2KEYS\1k1 k2\2"

static char send_text[WIRE_SEND_TEXT];

static void
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

static const char *
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

/* ---- routes --------------------------------------------------------------------------- */

#define ROUTE(address, n)                                                                          \
	"{\"brokerDatas\":[{\"brokerAddrs\":{\"0\":\"" address "\"},\"brokerName\":\"escrow-0\","  \
	"\"cluster\":\"escrow\",\"enableActingMaster\":false}],\"filterServerTable\":{},"          \
	"\"queueDatas\":[{\"brokerName\":\"escrow-0\",\"perm\":6,\"readQueueNums\":" n             \
	",\"topicSysFlag\":0,\"writeQueueNums\":" n "}]}"

START_TEST(a_route_names_one_broker_without_a_blank)
{
	struct remoting_conf conf = conf_default();
	struct answer answer = { .code = ANSWER_OK, .partitions = 12 };
	struct wire_command c;
	struct peer *p;

	begin();
	p = dial();
	request(&c, WIRE_JSON, WIRE_ROUTE, 5);
	wire_add(&c, WIRE_STR("topic"), WIRE_STR("TBW102"));
	post(p, &c);
	ck_assert(receive(p, &c));
	ck_assert_int_eq(c.type, WIRE_JSON);
	ck_assert_int_eq(c.opaque, 5);
	ck_assert_int_eq(c.flag, WIRE_RESPONSE);
	ck_assert_uint_eq(c.body.n, strlen(ROUTE("127.0.0.1:9876", "4")));
	ck_assert_mem_eq(c.body.p, ROUTE("127.0.0.1:9876", "4"), c.body.n);
	wire_command_done(&c);

	request(&c, WIRE_BINARY, WIRE_ROUTE, 6);
	wire_add(&c, WIRE_STR("topic"), WIRE_STR("orders-created"));
	post(p, &c);
	turns(3);
	ck_assert_uint_eq(fake.route_count, 1);
	ck_assert_str_eq(fake.route_topic[0], "orders.created"); /* topic.map */
	remoting_answer(port, fake.routes[0], &answer);
	ck_assert(receive(p, &c));
	ck_assert_int_eq(c.type, WIRE_BINARY); /* as it was asked */
	ck_assert_mem_eq(c.body.p, ROUTE("127.0.0.1:9876", "12"), c.body.n);

	answer.code = ANSWER_TOPIC_UNKNOWN;
	remoting_answer(port, fake.routes[0], &answer);
	ck_assert(receive(p, &c));
	ck_assert_int_eq(c.code, WIRE_TOPIC_NOT_EXIST);

	request(&c, WIRE_JSON, WIRE_ROUTE, 7);
	wire_add(&c, WIRE_STR("topic"), WIRE_STR("a|b"));
	post(p, &c);
	ck_assert(receive(p, &c));
	ck_assert_int_eq(c.code, WIRE_MESSAGE_ILLEGAL);
	wire_command_done(&c);
	hang_up(p);
	end();

	conf.advertise = "192.0.2.1:1234";
	begin_with(&conf);
	p = dial();
	request(&c, WIRE_JSON, WIRE_ROUTE, 5);
	wire_add(&c, WIRE_STR("topic"), WIRE_STR("TBW102"));
	post(p, &c);
	ck_assert(receive(p, &c));
	ck_assert_mem_eq(c.body.p, ROUTE("192.0.2.1:1234", "4"), c.body.n);
	wire_command_done(&c);
	hang_up(p);
	end();
}
END_TEST

START_TEST(what_cannot_be_served_is_not_started)
{
	struct remoting_conf conf = conf_default();
	const struct topic_mapping bad = { "a", "b%c" };

	sim = net_sim_new(1);
	conf.advertise =
		"escrow.example:9876"; /* a name would make clients open a second connection */
	ck_assert_int_eq(remoting_new(NULL, net_sim_net(sim), &conf, &port), ERR_CONFIG);
	conf.advertise = NULL;
	conf.map = &bad;
	conf.map_count = 1;
	ck_assert_int_eq(remoting_new(NULL, net_sim_net(sim), &conf, &port), ERR_CONFIG);
	net_sim_free(sim);
}
END_TEST

/*
 * Kafka lets nobody append to its own topics.  A user would lose: the quiet of all other topics,
 * for ever, to one message that can neither be published nor given up.
 */
START_TEST(nobody_sends_to_kafkas_own_topics)
{
	static const char *const names[] = { "__consumer_offsets", "__transaction_state",
					     "__share_group_state", "__cluster_metadata" };
	struct remoting_conf conf = conf_default();
	struct topic_mapping bad = { "a", names[0] };
	struct str topic;
	const char *why;

	begin();
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		ck_assert_int_eq(route_topic(port, str_of(names[i]), &topic, &why), ERR_MALFORMED);
	ck_assert_int_eq(route_topic(port, STR("__mine"), &topic, &why), 0);
	end();
	sim = net_sim_new(1);
	conf.map = &bad;
	conf.map_count = 1;
	ck_assert_int_eq(remoting_new(NULL, net_sim_net(sim), &conf, &port), ERR_CONFIG);
	net_sim_free(sim);
}
END_TEST

/* ---- half-sends ----------------------------------------------------------------------------- */

static struct half seen_half;
static struct message seen_message;
static bool seen_plain;
static struct reply_to seen_to;
static struct buf seen_bytes; /* what the half pointed to, copied as the core would */

static struct str
keep(struct str s)
{
	size_t at = seen_bytes.len;

	if (!s.p)
		return s;
	buf_str(&seen_bytes, s);
	return str_from(seen_bytes.data + at, s.n);
}

static void
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

static void
look_at_half(void)
{
	const struct half_request *r = &fake.halves[0];
	const struct message *m = r->half.messages;

	if (fake.half_count == 0)
		return;
	ck_assert(!r->plain);
	ck_assert(str_eq(r->half.group, STR("g1")));
	ck_assert(str_eq(r->half.key, STR("K1")));
	ck_assert_uint_eq(r->half.count, 1);
	ck_assert_uint_eq(r->half.born_ms, 1700000000123);
	ck_assert_int_eq(r->half.kind, EDGE_ROCKETMQ);
	ck_assert(str_starts(r->half.from, STR("10.0.0.7:")));
	ck_assert_uint_le(r->half.edge.n, 16 + 16); /* the mapped topic's name is half of it */
	ck_assert(str_eq(m->topic, STR("orders.created")));
	ck_assert(str_eq(m->key, STR("k1")));
	ck_assert(str_eq(m->value, STR("hello")));
	ck_assert_int_eq(m->codec, CODEC_NONE);
	ck_assert_uint_eq(m->plain_bytes, 5);
	ck_assert_int_eq(m->partition, -1);
	ck_assert_uint_eq(m->spread, 3);
	ck_assert_int_eq(headers_count(m->headers), 3);
	ck_assert_str_eq(header_of(r, "color"), "red");
	ck_assert_str_eq(header_of(r, "TAGS"), "A");
	ck_assert_str_eq(header_of(r, "KEYS"), "k1 k2");
}

static void
look_at_go_key(void)
{
	if (fake.half_count == 0)
		return;
	ck_assert(str_eq(fake.halves[0].half.messages[0].key, STR("s1")));
	ck_assert_str_eq(header_of(&fake.halves[0], "SHARDING_KEY"), "s1");
}

/* Would lose: the order of what a Go producer sends under one sharding key. */
START_TEST(the_sharding_key_of_the_go_client_is_the_kafka_key)
{
	struct wire_command c;
	struct peer *p;

	begin();
	p = dial();
	fake.decide = look_at_go_key;

	half_send(&c, WIRE_JSON, WIRE_SEND,
		  STR("TRAN_MSG\1true\2UNIQ_KEY\1K1\2KEYS\1k1\2SHARDING_KEY\1s1\2"), STR("x"),
		  WIRE_SYS_PREPARED);
	post(p, &c);
	turns(3);
	ck_assert_uint_gt(fake.half_total, 0);
	hang_up(p);
	end();
}
END_TEST

START_TEST(a_half_send_reaches_the_core_whole)
{
	static const struct {
		enum wire_type type;
		int32_t code;
	} ways[] = { { WIRE_JSON, WIRE_SEND },
		     { WIRE_BINARY, WIRE_SEND_V2 },
		     { WIRE_JSON, WIRE_SEND_V2 } };
	struct net_sim_knobs torn = { .fragment_permille = 900 };
	struct answer answer = { .code = ANSWER_OK,
				 .gid = gid_make(1, 2, 4096),
				 .token = UINT64_C(0x1234500),
				 .partition = 7 };
	struct wire_command c;
	struct peer *p;

	begin();
	p = dial();
	for (size_t i = 0; i < 2 * ARRAY_LEN(ways); i++) {
		uint32_t before = fake.half_total;

		/* Whole, then torn into pieces: the core must not see a difference. */
		fake.decide = look_at_half;
		if (i == ARRAY_LEN(ways))
			net_sim_set(sim, &torn);
		half_send(&c, ways[i % 3].type, ways[i % 3].code, STR(PROPERTIES), STR("hello"), 4);
		post(p, &c);
		for (int n = 0; n < 500 && fake.half_total == before; n++) {
			fake.decide = look_at_half;
			turn();
		}
		ck_assert_uint_eq(fake.half_total, before + 1);
		remoting_answer(port, fake.halves[0].to, &answer);
		for (int n = 0; n < 100; n++)
			turn();
		ck_assert(receive(p, &c));
		ck_assert_int_eq(c.code, 0);
		ck_assert_int_eq(c.type, ways[i % 3].type);
		ck_assert_int_eq(c.opaque, 42);
		ck_assert_str_eq(ext(&c, "msgId"), "7F000001000026940000000000001000");
		ck_assert_str_eq(ext(&c, "queueId"), "7");
		ck_assert_str_eq(ext(&c, "queueOffset"), "19088640");
		ck_assert_str_eq(ext(&c, "transactionId"), "00000000000100020000000000001000");
		wire_command_done(&c);
	}
	ck_assert_uint_eq(remoting_stats(port)->buffered, 0);
	hang_up(p);
	end();
}
END_TEST

START_TEST(what_is_refused_is_refused_before_the_core)
{
	static const struct {
		const char *properties;
		const char *says;
	} cases[] = {
		{ "DELAY\0013\002", "refused: delayed" },
		{ "TIMER_DELAY_SEC\0019\002", "refused: delayed" },
		{ "escrow-id\001x\002", "refused: property names" },
		{ "ESCROW_DB\001xyz\002", "refused: ESCROW_DB" },
		{ "broken", "refused: malformed" },
		{ "a\001b\002broken\002", "refused: malformed" },
	};
	static char longest[WIRE_PROPERTIES_MAX + 2];
	struct wire_command c;
	struct peer *p;

	begin();
	p = dial();
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		half_send(&c, WIRE_BINARY, WIRE_SEND_V2, str_of(cases[i].properties), STR("b"), 4);
		post(p, &c);
		ck_assert(receive(p, &c));
		ck_assert_int_eq(c.code, WIRE_MESSAGE_ILLEGAL);
		ck_assert_msg(strncmp(remark(&c), cases[i].says, strlen(cases[i].says)) == 0,
			      "%s: %s", cases[i].properties, remark(&c));
	}
	memset(longest, 'x', sizeof(longest));
	longest[1] = 1;
	half_send(&c, WIRE_BINARY, WIRE_SEND_V2, str_from(longest, WIRE_PROPERTIES_MAX + 1),
		  STR("b"), 4);
	post(p, &c);
	ck_assert(receive(p, &c));
	ck_assert_int_eq(c.code, WIRE_MESSAGE_ILLEGAL);
	/* Without PGROUP a check would have to add it: no room for that at the limit. */
	half_send(&c, WIRE_BINARY, WIRE_SEND_V2, str_from(longest, WIRE_PROPERTIES_MAX), STR("b"),
		  4);
	post(p, &c);
	ck_assert(receive(p, &c));
	ck_assert_int_eq(c.code, WIRE_MESSAGE_ILLEGAL);

	half_send(&c, WIRE_BINARY, WIRE_SEND_V2, STR(""), STR("not zlib"), 5);
	post(p, &c);
	ck_assert(receive(p, &c));
	ck_assert_int_eq(c.code, WIRE_MESSAGE_ILLEGAL);
	ck_assert_str_eq(remark(&c), "refused: the body does not inflate");

	request(&c, WIRE_BINARY, WIRE_SEND_BATCH, 9);
	post(p, &c);
	ck_assert(receive(p, &c));
	ck_assert_int_eq(c.code, WIRE_MESSAGE_ILLEGAL);
	request(&c, WIRE_BINARY, 9999, 9);
	post(p, &c);
	ck_assert(receive(p, &c));
	ck_assert_int_eq(c.code, WIRE_NOT_SUPPORTED);
	ck_assert_str_eq(remark(&c), "request code 9999 is not supported");
	ck_assert_uint_eq(fake.half_total, 0);
	hang_up(p);
	end();
}
END_TEST

START_TEST(one_way_requests_are_never_answered)
{
	struct wire_command c;
	struct peer *p;

	begin();
	p = dial();
	fake.decide = keep_half;
	half_send(&c, WIRE_JSON, WIRE_SEND, STR("a\1b\2"), STR("b"), 0);
	c.flag = WIRE_ONEWAY;
	post(p, &c);
	half_send(&c, WIRE_JSON, WIRE_SEND, STR("DELAY\0013\2"), STR("b"), 0);
	c.flag = WIRE_ONEWAY;
	post(p, &c);
	request(&c, WIRE_BINARY, 9999, 9);
	c.flag = WIRE_ONEWAY;
	post(p, &c);
	ck_assert(!receive(p, &c));
	ck_assert_uint_eq(fake.half_total, 1);
	ck_assert(seen_plain);
	ck_assert_uint_eq(seen_to.peer, 0);
	ck_assert_uint_eq(seen_half.edge.n, 0); /* never asked about */
	hang_up(p);
	end();
}
END_TEST

START_TEST(a_compressed_body_is_the_same_message)
{
	static char plain[8000], packed[8000];
	uLongf n = sizeof(packed);
	struct wire_command c;
	struct hash128 hash;
	struct peer *p;

	begin();
	p = dial();
	fake.decide = keep_half;
	memset(plain, 'x', sizeof(plain));
	ck_assert_int_eq(compress2((Bytef *)packed, &n, (const Bytef *)plain, sizeof(plain), 5),
			 Z_OK);
	half_send(&c, WIRE_BINARY, WIRE_SEND_V2, STR(PROPERTIES), str_from(plain, sizeof(plain)),
		  4);
	post(p, &c);
	turns(4);
	hash = seen_half.body_hash;
	half_send(&c, WIRE_JSON, WIRE_SEND, STR(PROPERTIES "x\1y\2"), str_from(packed, n), 5);
	post(p, &c);
	turns(4);
	ck_assert_uint_eq(fake.half_total, 2);
	ck_assert_int_eq(seen_message.codec, CODEC_ZLIB);
	ck_assert(str_eq(seen_message.value, str_from(packed, n)));
	ck_assert_uint_eq(seen_message.plain_bytes, sizeof(plain));
	ck_assert(seen_half.body_hash.lo == hash.lo && seen_half.body_hash.hi == hash.hi);
	plain[0] = 'y';
	half_send(&c, WIRE_BINARY, WIRE_SEND_V2, STR(PROPERTIES), str_from(plain, sizeof(plain)),
		  4);
	post(p, &c);
	turns(4);
	ck_assert(seen_half.body_hash.lo != hash.lo || seen_half.body_hash.hi != hash.hi);
	hang_up(p);
	end();
}
END_TEST

/* A few hundred bytes inflate to megabytes: one such producer must not stop the turn for all. */
START_TEST(inflating_has_its_share_of_a_turn)
{
	static char plain[4 << 20], packed[64 << 10], frame[16 << 10];
	struct remoting_conf conf = conf_default();
	uLongf n = sizeof(packed);
	struct wire_command c;
	struct peer *p, *q;
	size_t len, sent = 0, busy = 0;

	conf.message_bytes = sizeof(plain);
	begin_with(&conf);
	p = dial();
	q = dial();
	turn();
	ck_assert_int_eq(compress2((Bytef *)packed, &n, (const Bytef *)plain, sizeof(plain), 9),
			 Z_OK);
	half_send(&c, WIRE_BINARY, WIRE_SEND_V2, STR(PROPERTIES), str_from(packed, n), 5);
	len = encode(&c, frame, sizeof(frame));
	for (; sent < 40; sent++) {
		ck_assert(net_sim_send(p->client, frame, len));
		ck_assert(net_sim_send(q->client, frame, len));
	}
	for (int i = 0; i < 10; i++) {
		size_t before = fake.half_total;

		turn();
		ck_assert_uint_le(fake.half_total - before,
				  LIMIT_TURN_INFLATE_MAX / sizeof(plain) + 1);
	}
	while (receive(p, &c) || receive(q, &c)) {
		ck_assert_int_eq(c.code, WIRE_SYSTEM_BUSY);
		busy++;
	}
	ck_assert_uint_gt(busy, 0);
	ck_assert_uint_eq(busy + fake.half_total, 2 * sent);
	/* In the next turn there is room again. */
	busy = fake.half_total;
	ck_assert(net_sim_send(p->client, frame, len));
	turns(3);
	ck_assert_uint_eq(fake.half_total, busy + 1);
	hang_up(p);
	hang_up(q);
	end();
}
END_TEST

/* ---- decisions -------------------------------------------------------------------------- */

static void
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

START_TEST(decisions_reach_the_core_and_answers_the_client)
{
	static const struct {
		enum answer_code code;
		int32_t wire;
		const char *says;
	} answers[] = {
		{ ANSWER_OK, 0, "" },
		{ ANSWER_STALE, 0, "stale" },
		{ ANSWER_DECIDED, 4, "decided: rolled back" },
		{ ANSWER_NOT_FOUND, 1, "not found" },
		{ ANSWER_WRONG_TOKEN, 16, "wrong token" },
		{ ANSWER_WRONG_GROUP, 16, "wrong group" },
		{ ANSWER_BUSY, 2, "busy: try later" },
	};
	struct wire_command c;
	struct peer *p;

	begin();
	p = dial();
	end_with(&c, WIRE_BINARY, "8", NULL);
	c.remark = WIRE_STR("it broke");
	post(p, &c);
	end_with(&c, WIRE_BINARY, "12", "true");
	post(p, &c);
	end_with(&c, WIRE_JSON, "5", "false");
	post(p, &c);
	turns(3);
	ck_assert_uint_eq(fake.end_count, 3);
	ck_assert_int_eq(fake.ends[0].verdict, VERDICT_COMMIT);
	ck_assert_uint_eq(fake.ends[0].seq, 4096);
	ck_assert_uint_eq(fake.ends[0].token, 19088643);
	ck_assert_uint_ne(fake.ends[0].peer, 0);
	ck_assert(!fake.ends[0].from_check);
	ck_assert_int_eq(fake.ends[1].verdict, VERDICT_ROLLBACK);
	ck_assert(fake.ends[1].from_check);
	ck_assert_int_eq(fake.ends[2].verdict, VERDICT_UNKNOWN);
	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		struct answer a = { .code = answers[i].code, .state = TXN_ROLLED_BACK };

		a.why = a.code == ANSWER_BUSY ? "try later" : NULL;
		remoting_answer(port, fake.ends[0].to, &a);
		ck_assert(receive(p, &c));
		ck_assert_int_eq(c.code, answers[i].wire);
		ck_assert_int_eq(c.opaque, 77);
		ck_assert_str_eq(remark(&c), answers[i].says);
	}
	end_with(&c, WIRE_BINARY, "x", NULL);
	post(p, &c);
	ck_assert(receive(p, &c));
	ck_assert_int_eq(c.code, WIRE_MESSAGE_ILLEGAL);
	end_with(&c, WIRE_BINARY, "8", NULL);
	c.flag = WIRE_ONEWAY;
	post(p, &c);
	turns(3);
	ck_assert_uint_eq(fake.end_count, 4);
	ck_assert_uint_eq(fake.ends[3].to.peer, 0);
	ck_assert_uint_eq(fake.ends[3].peer, fake.ends[0].peer);
	hang_up(p);
	end();
}
END_TEST

/* What answers CODE gets, sent where TO says: as PROTOCOL.md has it for CONDITION. */
static void
as_documented(struct peer *p, struct reply_to to, enum answer_code code, const char *condition)
{
	struct answer a = { .code = code, .state = TXN_COMMITTED, .gid = gid_make(1, 2, 3) };
	char cells[4][200], begins[200];
	struct wire_command c;

	ck_assert_msg(protocol_row(condition, cells), "PROTOCOL.md has no %s", condition);
	if (strstr(cells[1], "operators only"))
		return;
	remoting_answer(port, to, &a);
	ck_assert(receive(p, &c));
	ck_assert_msg(protocol_number(cells[1]) == c.code, "%s is %d, documented as %s", condition,
		      c.code, cells[1]);
	snprintf(begins, sizeof(begins), "%s",
		 cells[3][0] == '`' ? cells[3] + 1 : ""); /* up to what differs */
	begins[strcspn(begins, "`<")] = '\0';
	ck_assert_msg(strncmp(remark(&c), begins, strlen(begins)) == 0 &&
			      (begins[0] || !remark(&c)[0]),
		      "%s says \"%s\", documented as %s", condition, remark(&c), cells[3]);
}

/* Programs are written by this table. */
START_TEST(each_condition_is_answered_as_documented)
{
	struct wire_command c;
	struct reply_to to;
	struct peer *p;

	begin();
	p = dial();
	end_with(&c, WIRE_BINARY, "8", NULL);
	post(p, &c);
	turns(3);
	to = fake.ends[0].to;
#define X(name, text)                                                                              \
	if (ANSWER_##name != ANSWER_DECIDED && ANSWER_##name != ANSWER_KEY_REUSED)                 \
		as_documented(p, to, ANSWER_##name, #name);
	ANSWER_LIST(X)
#undef X
	as_documented(p, to, ANSWER_DECIDED, "DECIDED, end");
	half_send(&c, WIRE_BINARY, WIRE_SEND_V2, STR(PROPERTIES), STR("b"), 4);
	post(p, &c);
	turns(3);
	to = fake.halves[0].to;
	as_documented(p, to, ANSWER_DECIDED, "DECIDED, half");
	as_documented(p, to, ANSWER_KEY_REUSED, "KEY_REUSED");
	hang_up(p);
	end();
}
END_TEST

START_TEST(a_refused_half_send_tells_which_transaction_won)
{
	struct answer a = { .code = ANSWER_DECIDED,
			    .state = TXN_PUBLISHED,
			    .gid = gid_make(1, 2, 3) };
	struct wire_command c;
	struct peer *p;

	begin();
	p = dial();
	half_send(&c, WIRE_BINARY, WIRE_SEND_V2, STR(PROPERTIES), STR("b"), 4);
	post(p, &c);
	turns(3);
	remoting_answer(port, fake.halves[0].to, &a);
	ck_assert(receive(p, &c));
	ck_assert_int_eq(c.code, WIRE_MESSAGE_ILLEGAL);
	ck_assert_str_eq(remark(&c), "decided: committed, gid 00000000000100020000000000000003");
	hang_up(p);
	end();
}
END_TEST

START_TEST(the_watermark_is_told)
{
	struct wire_command c;
	struct peer *p;

	begin();
	p = dial();
	request(&c, WIRE_BINARY, WIRE_WATERMARK, 1);
	wire_add(&c, WIRE_STR("dbId"), WIRE_STR("01000000000000000000000000000002"));
	post(p, &c);
	ck_assert(receive(p, &c));
	ck_assert_str_eq(ext(&c, "oldestUndecidedGid"), "00000000000100000000000000000002");
	ck_assert_str_eq(ext(&c, "oldestUnpublishedGid"), "00000000000700000000000000000009");
	request(&c, WIRE_BINARY, WIRE_WATERMARK, 1);
	post(p, &c);
	ck_assert(receive(p, &c));
	ck_assert_int_eq(c.code, WIRE_MESSAGE_ILLEGAL);
	hang_up(p);
	end();
}
END_TEST

/* ---- groups and checks -------------------------------------------------------------------- */

static void
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

START_TEST(a_group_comes_and_goes_with_its_heartbeats)
{
	struct wire_command c;
	struct conn_view view;
	uint32_t at = 0;
	struct peer *p;

	begin();
	p = dial();
	heartbeat(p,
		  "{\"clientID\":\"me\",\"producerDataSet\":[{\"groupName\":\"CLIENT_INNER_"
		  "PRODUCER\"},"
		  "{\"groupName\":\"g1\"},{\"groupName\":\"g2\"}]}\n",
		  0);
	heartbeat(p, "{\"clientID\":\"me\",\"producerDataSet\":[{\"groupName\":\"g1\"}]}", 0);
	ck_assert_str_eq(fake.log, "join(g1)join(g2)");
	heartbeat(p, "[]]", WIRE_MESSAGE_ILLEGAL);
	ck_assert(remoting_conn_next(port, &at, &view));
	ck_assert(str_eq(view.client_id, STR("me")));
	ck_assert(!remoting_conn_next(port, &at, &view));

	now_ns += LIMIT_HEARTBEAT_NS / 2;
	heartbeat(p, "{\"clientID\":\"me\",\"producerDataSet\":[{\"groupName\":\"g1\"}]}", 0);
	now_ns += LIMIT_HEARTBEAT_NS / 2 + NS_PER_S;
	heartbeat(p, "{\"clientID\":\"me\",\"producerDataSet\":[{\"groupName\":\"g1\"}]}", 0);
	ck_assert_str_eq(fake.log, "join(g1)join(g2)leave(g2)"); /* g2 was silent */

	request(&c, WIRE_JSON, WIRE_UNREGISTER, 1);
	wire_add(&c, WIRE_STR("producerGroup"), WIRE_STR("g1"));
	post(p, &c);
	ck_assert(receive(p, &c));
	ck_assert_int_eq(c.code, 0);
	ck_assert_str_eq(fake.log, "join(g1)join(g2)leave(g2)leave(g1)");
	hang_up(p);
	turns(3);
	ck_assert_str_eq(fake.log, "join(g1)join(g2)leave(g2)leave(g1)leave()");
	ck_assert_uint_eq(remoting_stats(port)->connections, 0);
	end();
}
END_TEST

START_TEST(a_check_is_the_message_that_was_sent)
{
	static const char properties[] =
		"TRAN_MSG\1true\2PGROUP\1g1\2UNIQ_KEY\1K1\2WAIT\1true\2color\1red\2TAGS\1A\2"
		"__SHARDINGKEY\1s1\2CHECK_IMMUNITY_TIME_IN_SECONDS\00160\2INSTANCE_ID\1i\2"
		"ESCROW_DB\0010102030405060708090a0b0c0d0e0f10\2__transactionId__\1old\2";
	static const struct {
		const char *name, *value;
	} expected[] = {
		{ "TRAN_MSG", "true" },
		{ "PGROUP", "g1" },
		{ "UNIQ_KEY", "K1" },
		{ "WAIT", "true" },
		{ "color", "red" },
		{ "TAGS", "A" },
		{ "INSTANCE_ID", "i" },
		{ "__SHARDINGKEY", "s1" },
		{ "TRANSACTION_CHECK_TIMES", "2" },
		{ "CHECK_IMMUNITY_TIME_IN_SECONDS", "60" },
		{ "ESCROW_DB", "0102030405060708090a0b0c0d0e0f10" },
		{ "__transactionId__", "00000000000100020000000000001000" },
		{ "REAL_TOPIC", "orders-created" },
	};
	struct check check = { .half = &seen_half, .token = 19088643, .number = 2 };
	struct wire_command c;
	struct wire_message m;
	struct wire_str v;
	struct peer *p;

	begin();
	p = dial();
	fake.decide = keep_half;
	half_send(&c, WIRE_JSON, WIRE_SEND, str_from(properties, sizeof(properties) - 1),
		  STR("hello"), 4);
	post(p, &c);
	turns(3);
	ck_assert_uint_eq(seen_half.immunity_ms, 60000);
	ck_assert(seen_half.has_db_id);
	ck_assert(str_eq(seen_message.key, STR("s1")));
	seen_half.gid = gid_make(1, 2, 4096);
	seen_half.arrived_ms = 1700000000456;
	check.peer = seen_to.peer;
	ck_assert_int_eq(remoting_check(port, &check), 0);
	ck_assert_uint_eq(fake.written_count, 0); /* not before the socket took it */
	ck_assert(receive(p, &c));
	ck_assert_uint_eq(fake.written_count, 1);
	ck_assert_uint_eq(fake.written[0], 4096);
	ck_assert_int_eq(c.type, WIRE_JSON); /* what this client speaks */
	ck_assert_int_eq(c.code, WIRE_CHECK_TRANSACTION);
	ck_assert_int_eq(c.flag, WIRE_ONEWAY);
	ck_assert_str_eq(ext(&c, "tranStateTableOffset"), "19088643");
	ck_assert_str_eq(ext(&c, "commitLogOffset"), "4096");
	ck_assert_str_eq(ext(&c, "msgId"), "K1");
	ck_assert_str_eq(ext(&c, "transactionId"), "00000000000100020000000000001000");
	ck_assert_str_eq(ext(&c, "topic"), "orders-created");
	ck_assert_int_eq(wire_message_decode(c.body.p, c.body.n, &m), 0);
	ck_assert_int_eq(m.queue_id, 3);
	ck_assert_int_eq(m.sys_flag, 0);
	ck_assert_int_eq(m.queue_offset, 19088643);
	ck_assert_int_eq(m.physical_offset, 4096);
	ck_assert_int_eq(m.born_timestamp, 1700000000123);
	ck_assert_int_eq(m.store_timestamp, 1700000000456);
	ck_assert_uint_eq(m.born_ip[0], 10);
	ck_assert(m.topic.n == 14 && memcmp(m.topic.p, "orders-created", 14) == 0);
	ck_assert(m.body.n == 5 && memcmp(m.body.p, "hello", 5) == 0);
	for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
		ck_assert_msg(wire_property_find(m.properties, expected[i].name, &v), "%s",
			      expected[i].name);
		ck_assert_msg(v.n == strlen(expected[i].value) &&
				      memcmp(v.p, expected[i].value, v.n) == 0,
			      "%s=%.*s", expected[i].name, (int)v.n, v.p);
	}
	wire_command_done(&c);
	hang_up(p);
	turns(3);
	ck_assert_int_eq(remoting_check(port, &check), ERR_CLOSED);
	end();
}
END_TEST

/* ---- Escrow's own half-send ---------------------------------------------------------------- */

static uint8_t parts_body[600u << 10];

static struct wire_str
parts(const struct wire_part *all, size_t count)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		wire_part_put(&all[i], parts_body + n);
		n += wire_part_size(&all[i]);
	}
	return (struct wire_str){ (const char *)parts_body, n };
}

static char half_text[WIRE_HALF_TEXT];

static void
native(struct wire_command *c, const struct wire_half *h, struct wire_str body)
{
	request(c, WIRE_BINARY, WIRE_HALF_SEND, 43);
	wire_half_fields(h, c, half_text);
	c->body = body;
}

static struct message seen_three[3];

static void
look_at_three(void)
{
	const struct half *h = &fake.halves[0].half;

	if (fake.half_count == 0)
		return;
	keep_half();
	ck_assert(!seen_plain);
	ck_assert_int_eq(h->kind, EDGE_NATIVE);
	ck_assert_uint_eq(h->count, 3);
	ck_assert_uint_eq(h->immunity_ms, 60000);
	ck_assert_uint_eq(h->born_ms, 1700000000123);
	ck_assert(h->has_db_id && h->db_id[0] == 1 && h->db_id[15] == 0x10);
	ck_assert(str_eq(h->messages[0].topic, STR("orders.created"))); /* topic.map */
	ck_assert(str_eq(h->messages[1].topic, STR("stock")));
	ck_assert(h->messages[0].key.p && h->messages[0].key.n == 0);
	ck_assert(str_eq(h->messages[0].value, STR("paid")));
	ck_assert_int_eq(headers_count(h->messages[0].headers), 1);
	ck_assert_str_eq(header_of(&fake.halves[0], "color"), "red");
	ck_assert_int_eq(h->messages[1].partition, 2);
	ck_assert(str_eq(h->messages[1].key, STR("k")));
	ck_assert_ptr_null(h->messages[1].value.p); /* a tombstone stays one */
	ck_assert_ptr_null(h->messages[2].key.p);
	ck_assert_int_eq(h->messages[2].partition, -1);
	for (uint32_t i = 0; i < 3; i++) {
		seen_three[i] = h->messages[i];
		seen_three[i].topic = keep(seen_three[i].topic);
		seen_three[i].key = keep(seen_three[i].key);
		seen_three[i].value = keep(seen_three[i].value);
		seen_three[i].headers.bytes = keep(seen_three[i].headers.bytes);
	}
	seen_half.messages = seen_three;
}

/* Would lose: one of several messages under one decision, or what only one of them has. */
START_TEST(several_messages_reach_the_core_and_come_back_in_the_check)
{
	struct wire_half h = { .group = WIRE_STR("g1"),
			       .key = WIRE_STR("K1"),
			       .db_id = WIRE_STR("0102030405060708090a0b0c0d0e0f10"),
			       .born_ms = 1700000000123,
			       .check_after_s = 60 };
	struct wire_part three[] = {
		{ .topic = WIRE_STR("orders-created"),
		  .partition = -1,
		  .key = { "", 0 },
		  .value = WIRE_STR("paid"),
		  .headers = WIRE_STR("\5color\4red") },
		{ .topic = WIRE_STR("stock"), .partition = 2, .key = WIRE_STR("k") },
		{ .topic = WIRE_STR("stock"), .partition = -1, .value = WIRE_STR("z") },
	};
	static const char *const topics[] = { "orders.created", "stock", "stock" };
	static const char *const values[] = { "paid", "", "z" };
	struct answer answer = { .code = ANSWER_OK, .gid = gid_make(1, 2, 4096), .token = 512 };
	struct check check = { .half = &seen_half, .token = 513, .number = 1 };
	struct wire_command c;
	struct wire_message m;
	struct wire_str v;
	struct peer *p;
	size_t at = 0;

	begin();
	p = dial();
	fake.decide = look_at_three;
	native(&c, &h, parts(three, 3));
	post(p, &c);
	turns(3);
	ck_assert_uint_eq(fake.half_total, 1);
	remoting_answer(port, seen_to, &answer);
	turns(3);
	ck_assert(receive(p, &c));
	ck_assert_int_eq(c.code, 0);
	ck_assert_int_eq(c.opaque, 43);
	ck_assert_str_eq(ext(&c, "transactionId"), "00000000000100020000000000001000");
	ck_assert_str_eq(ext(&c, "commitLogOffset"), "4096");
	ck_assert_str_eq(ext(&c, "tranStateTableOffset"), "512");
	wire_command_done(&c);

	seen_half.gid = answer.gid;
	check.peer = seen_to.peer;
	ck_assert_int_eq(remoting_check(port, &check), 0);
	ck_assert(receive(p, &c));
	ck_assert_int_eq(c.code, WIRE_CHECK_TRANSACTION);
	ck_assert_str_eq(ext(&c, "topic"), "orders.created");
	for (int i = 0; i < 3; i++) {
		uint32_t size;

		ck_assert_uint_ge(c.body.n - at, 4);
		size = be_get32(c.body.p + at);
		ck_assert_uint_le(size, c.body.n - at);
		ck_assert_int_eq(wire_message_decode(c.body.p + at, size, &m), 0);
		ck_assert(str_eq(str_wire(m.topic), str_of(topics[i])));
		ck_assert(str_eq(str_wire(m.body), str_of(values[i])));
		ck_assert(wire_property_find(m.properties, "PGROUP", &v));
		ck_assert(wire_property_find(m.properties, "ESCROW_DB", &v));
		ck_assert_int_eq(wire_property_find(m.properties, "color", &v), i == 0);
		ck_assert_int_eq(wire_property_find(m.properties, "__SHARDINGKEY", &v), i < 2);
		at += size;
	}
	ck_assert_uint_eq(at, c.body.n);
	wire_command_done(&c);
	hang_up(p);
	end();
}
END_TEST

static struct hash128 seen_hash;

static void
look_at_hash(void)
{
	if (fake.half_count > 0)
		seen_hash = fake.halves[0].half.body_hash;
}

static struct hash128
hash_of(struct peer *p, const struct wire_part *all, size_t count)
{
	struct wire_half h = { .group = WIRE_STR("g1") };
	struct wire_command c;
	uint32_t before = fake.half_total;

	fake.decide = look_at_hash;
	native(&c, &h, parts(all, count));
	post(p, &c);
	turns(3);
	ck_assert_uint_eq(fake.half_total, before + 1);
	return seen_hash;
}

/* Would lose: a message that differs from an earlier one of its key where nobody looked. */
START_TEST(the_hash_of_several_messages_sees_each_of_them)
{
	struct wire_part base[] = {
		{ .topic = WIRE_STR("a"), .key = WIRE_STR("k"), .value = WIRE_STR("v") },
		{ .topic = WIRE_STR("b"), .key = WIRE_STR("k"), .value = WIRE_STR("w") },
	};
	struct hash128 first, other;
	struct peer *p;

	begin();
	p = dial();
	first = hash_of(p, base, 2);
	base[0].headers = WIRE_STR("\5color\4red");
	other = hash_of(p, base, 2);
	ck_assert(first.lo == other.lo && first.hi == other.hi);
	for (int i = 0; i < 4; i++) {
		struct wire_part changed[2] = { base[0], base[1] };

		if (i == 0)
			changed[1].topic = WIRE_STR("c");
		else if (i == 1)
			changed[1].key = (struct wire_str){ NULL, 0 };
		else if (i == 2)
			changed[1].value = (struct wire_str){ NULL, 0 };
		other = hash_of(p, changed, i == 3 ? 1 : 2);
		ck_assert_msg(first.lo != other.lo, "%d", i);
	}
	hang_up(p);
	end();
}
END_TEST

/* Would lose: a transaction of which some messages can never be published. */
START_TEST(half_sends_that_cannot_be_are_refused_before_the_core)
{
	struct wire_half good = { .group = WIRE_STR("g1") };
	struct wire_part one = { .topic = WIRE_STR("a"), .partition = -1 };
	struct wire_part bad_topic = { .topic = WIRE_STR("a%b"), .partition = -1 };
	struct wire_part bad_partition = { .topic = WIRE_STR("a"), .partition = -2 };
	static struct wire_part many[LIMIT_MESSAGES + 1];
	static char block[LIMIT_PART_BYTES + 1];
	struct wire_part fat = { .topic = WIRE_STR("a"),
				 .headers = { block, sizeof(block) - 9 },
				 .key = { block, 10 } };
	struct {
		struct wire_half half;
		struct wire_part *all;
		size_t count;
		const char *says;
	} cases[] = {
		{ { .born_ms = 1 }, &one, 1, "refused: a field of the half-send" },
		{ { .group = WIRE_STR("g"), .db_id = WIRE_STR("12") }, &one, 1, "refused: dbId" },
		{ { .group = WIRE_STR("g"), .check_after_s = LIMIT_IMMUNITY_S + 1 },
		  &one,
		  1,
		  "refused: checkAfter" },
		{ good, NULL, 0, "refused: a transaction has 1 to 256 messages" },
		{ good, many, ARRAY_LEN(many), "refused: a transaction has 1 to 256 messages" },
		{ good, &bad_topic, 1, "refused: Kafka forbids" },
		{ good, &bad_partition, 1, "refused: a partition" },
		{ good, &fat, 1, "refused: key and headers" },
	};
	struct wire_command c;
	struct peer *p;

	begin();
	p = dial();
	for (size_t i = 0; i < ARRAY_LEN(many); i++)
		many[i] = one;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		native(&c, &cases[i].half, parts(cases[i].all, cases[i].count));
		post(p, &c);
		ck_assert(receive(p, &c));
		ck_assert_int_eq(c.code, WIRE_MESSAGE_ILLEGAL);
		ck_assert_msg(strncmp(remark(&c), cases[i].says, strlen(cases[i].says)) == 0,
			      "%zu: %s", i, remark(&c));
	}
	native(&c, &good, (struct wire_str){ "no messages at all", 18 });
	post(p, &c);
	ck_assert(receive(p, &c));
	ck_assert_str_eq(remark(&c), "refused: the body is not a row of messages");
	ck_assert_uint_eq(fake.half_total, 0);
	hang_up(p);
	end();
}
END_TEST

START_TEST(a_typical_message_keeps_next_to_nothing_for_its_checks)
{
	struct wire_send s = { .producer_group = WIRE_STR("g1"),
			       .topic = WIRE_STR("orders"),
			       .queue_id = 3,
			       .sys_flag = 4,
			       .properties = WIRE_STR(PROPERTIES) };
	struct wire_command c;
	struct edge edge;
	struct peer *p;

	begin();
	p = dial();
	fake.decide = keep_half;
	request(&c, WIRE_BINARY, WIRE_SEND_V2, 1);
	wire_send_fields(&s, &c, send_text);
	post(p, &c);
	turns(3);
	ck_assert_uint_eq(seen_half.edge.n, 2);
	ck_assert_int_eq(edge_decode(seen_half.edge, &edge), 0);
	ck_assert_uint_eq(edge.queue_id, 3);
	ck_assert_int_eq(edge_decode(STR("\x04\x7f"), &edge), ERR_MALFORMED);
	ck_assert_int_eq(edge_decode(STR(""), &edge), ERR_MALFORMED);
	hang_up(p);
	end();
}
END_TEST

START_TEST(a_check_counts_when_its_last_byte_was_taken)
{
	struct net_sim_knobs narrow = { .window_bytes = 300 };
	struct check check = { .half = &seen_half, .token = 256, .number = 1 };
	struct wire_command c;
	struct peer *p;

	begin();
	p = dial();
	fake.decide = keep_half;
	half_send(&c, WIRE_BINARY, WIRE_SEND_V2, STR(PROPERTIES), STR("hello"), 4);
	post(p, &c);
	turns(3);
	net_sim_set(sim, &narrow);
	check.peer = seen_to.peer;
	seen_half.gid = gid_make(1, 0, 9);
	ck_assert_int_eq(remoting_check(port, &check), 0);
	turns(5);
	ck_assert_uint_eq(fake.written_count, 0); /* 300 bytes of it are under way */
	ck_assert(!remoting_idle(port));
	ck_assert(receive(p, &c));
	turns(2);
	ck_assert_uint_eq(fake.written_count, 1);
	ck_assert(remoting_idle(port));
	hang_up(p);
	end();
}
END_TEST

/* ---- hostile and unlucky peers -------------------------------------------------------------- */

static bool
closed_after(struct peer *p, int n)
{
	while (n-- > 0) {
		turn();
		take(p);
	}
	return p->closed;
}

START_TEST(strangers_are_told_apart_and_shown_the_door)
{
	static const struct {
		const char *bytes;
		size_t n;
		const char *says;
	} strangers[] = {
		{ "\x16\x03\x01", 3, "TLS" },
		{ "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24, "rocketmq-client" },
		{ "GET / HTTP/1.1\r\n\r\n", 18, "http.address" },
		{ "\x00\x00\x00\x03\x00\x00\x00\x00", 8, "no RocketMQ frame" },
		{ "\x7f\x00\x00\x03\x00\x00\x00\x00", 8, "no RocketMQ frame" },
		{ "\x00\x00\x00\x05\x01\x00\x00\x09z", 9, "no RocketMQ frame" },
	};

	begin();
	for (size_t i = 0; i < ARRAY_LEN(strangers); i++) {
		struct peer *p = dial();

		now_ns += NS_PER_S;
		ck_assert(net_sim_send(p->client, strangers[i].bytes, strangers[i].n));
		ck_assert(closed_after(p, 5));
		ck_assert_msg(strstr(last_line, strangers[i].says), "%s", last_line);
		hang_up(p);
	}
	ck_assert_uint_eq(remoting_stats(port)->grpc, 1);
	turns(2);
	ck_assert_uint_eq(remoting_stats(port)->connections, 0);
	end();
}
END_TEST

START_TEST(an_oversized_message_is_refused_and_the_connection_lives)
{
	static char body[1 << 20];
	struct wire_command c;
	struct peer *p;

	begin();
	p = dial();
	half_send(&c, WIRE_BINARY, WIRE_SEND_V2, STR(PROPERTIES), str_from(body, sizeof(body)), 4);
	post(p, &c);
	request(&c, WIRE_BINARY, WIRE_ROUTE, 6);
	wire_add(&c, WIRE_STR("topic"), WIRE_STR("TBW102"));
	post(p, &c);
	ck_assert(receive(p, &c));
	ck_assert_int_eq(c.opaque, 42);
	ck_assert_int_eq(c.code, WIRE_MESSAGE_ILLEGAL);
	ck_assert(receive(p, &c));
	ck_assert_int_eq(c.opaque, 6);
	ck_assert_int_eq(c.code, 0);
	ck_assert_uint_eq(fake.half_total, 0);
	hang_up(p);
	end();
}
END_TEST

START_TEST(a_large_frame_in_pieces_is_one_frame)
{
	static char frame[128 << 10], body[100 << 10];
	struct remoting_conf conf = conf_default();
	struct wire_command c;
	struct peer *p;
	size_t n;

	conf.message_bytes = 1 << 20;
	begin_with(&conf);
	p = dial();
	fake.decide = keep_half;
	for (size_t i = 0; i < sizeof(body); i++)
		body[i] = (char)(i * 7);
	half_send(&c, WIRE_BINARY, WIRE_SEND_V2, STR(PROPERTIES), str_from(body, sizeof(body)), 4);
	n = encode(&c, frame, sizeof(frame));
	for (size_t at = 0; at < n; at += 1000) {
		ck_assert(net_sim_send(p->client, frame + at, min_u64(1000, n - at)));
		turn();
	}
	turns(8);
	ck_assert_uint_eq(fake.half_total, 1);
	ck_assert(str_eq(seen_message.value, str_from(body, sizeof(body))));
	ck_assert_uint_eq(remoting_stats(port)->buffered, 0);
	hang_up(p);
	end();
}
END_TEST

START_TEST(patience_has_its_limits)
{
	struct peer *idle, *begun, *live;

	begin();
	idle = dial();
	begun = dial();
	live = dial();
	ck_assert(net_sim_send(begun->client, "\0\0\0\x20\0", 5));
	turns(3);
	now_ns += LIMIT_FRAME_NS - NS_PER_S;
	ck_assert(!closed_after(begun, 2));
	ck_assert(net_sim_send(begun->client, "\0", 1)); /* a byte more is not a frame */
	now_ns += NS_PER_S;
	ck_assert(closed_after(begun, 3));
	ck_assert_uint_eq(remoting_stats(port)->timeouts, 1);
	ck_assert(!closed_after(idle, 3));
	now_ns += LIMIT_IDLE_NS - LIMIT_FRAME_NS - NS_PER_S;
	heartbeat(live, "{\"clientID\":\"x\",\"producerDataSet\":[]}", 0);
	now_ns += NS_PER_S;
	ck_assert_int_le(remoting_deadline_ns(port), now_ns);
	ck_assert(closed_after(idle, 3));
	ck_assert(!closed_after(live, 3));
	hang_up(idle);
	hang_up(begun);
	hang_up(live);
	end();
}
END_TEST

/*
 * A user would lose: all his producers that come back, to somebody who connects as often as is
 * allowed and says nothing.
 */
START_TEST(who_never_asks_makes_room_at_the_limit)
{
	static const char beat[] = "{\"clientID\":\"x\",\"producerDataSet\":[]}";
	struct remoting_conf conf = conf_default();
	struct peer *silent, *asked, *late[3];

	conf.connections_max = 2;
	begin_with(&conf);
	silent = dial();
	asked = dial();
	turn();
	heartbeat(asked, beat, 0);
	/* A newcomer has a moment to say what he wants. */
	late[0] = dial();
	ck_assert(closed_after(late[0], 3));
	ck_assert_uint_eq(remoting_stats(port)->refused, 1);
	now_ns += LIMIT_SILENT_NS;
	late[1] = dial();
	turn();
	heartbeat(late[1], beat, 0);
	ck_assert(closed_after(silent, 3));
	ck_assert_uint_eq(remoting_stats(port)->crowded, 1);
	/* Of who asked once nobody makes room. */
	now_ns += LIMIT_SILENT_NS;
	late[2] = dial();
	ck_assert(closed_after(late[2], 3));
	ck_assert(!closed_after(asked, 3));
	hang_up(silent);
	hang_up(asked);
	for (size_t i = 0; i < ARRAY_LEN(late); i++)
		hang_up(late[i]);
	end();
}
END_TEST

START_TEST(who_takes_no_answers_is_not_read_and_then_closed)
{
	struct net_sim_knobs narrow = { .window_bytes = 64 << 10 };
	struct wire_command c;
	char frame[256];
	struct peer *p;
	size_t n, sent = 0;

	begin();
	p = dial();
	turn();
	net_sim_set(sim, &narrow);
	request(&c, WIRE_BINARY, WIRE_ROUTE, 6);
	wire_add(&c, WIRE_STR("topic"), WIRE_STR("TBW102"));
	n = encode(&c, frame, sizeof(frame));
	for (int i = 0; i < 200000; i++) {
		sent += net_sim_send(p->client, frame, n) ? 1 : 0;
		if (i % 500 == 0)
			turn();
	}
	turns(5);
	/* It stopped soon after the backlog's limit, not at the last request. */
	ck_assert_uint_gt(remoting_stats(port)->buffered, LIMIT_OUT_STOP);
	ck_assert_uint_lt(remoting_stats(port)->buffered, 4 * LIMIT_OUT_STOP);
	ck_assert_uint_lt(remoting_stats(port)->requests[0], sent);
	now_ns += LIMIT_OUT_NS;
	turns(2);
	ck_assert_uint_eq(remoting_stats(port)->connections, 0);
	ck_assert_uint_eq(remoting_stats(port)->buffered, 0);
	hang_up(p);
	end();
}
END_TEST

/*
 * Many who ask and never listen: their answers are memory too, and the others must not be cut off
 * for it.
 */
START_TEST(answers_nobody_takes_have_a_roof_together)
{
	enum { PEERS = 40 };
	static char burst[256 << 10];
	struct net_sim_knobs narrow = { .window_bytes = 64 << 10 };
	struct remoting_conf conf = conf_default();
	struct peer *peers[PEERS], *honest;
	struct wire_command c;
	size_t n, len = 0;

	conf.receive_bytes = 8 << 20;
	begin_with(&conf);
	request(&c, WIRE_BINARY, WIRE_ROUTE, 6);
	wire_add(&c, WIRE_STR("topic"), WIRE_STR("TBW102"));
	while (len + 256 < sizeof(burst)) {
		n = encode(&c, burst + len, sizeof(burst) - len);
		len += n;
	}
	honest = dial();
	for (size_t i = 0; i < PEERS; i++)
		peers[i] = dial();
	turn();
	net_sim_set(sim, &narrow);
	for (int round = 0; round < 64; round++) {
		for (size_t i = 0; i < PEERS; i++)
			(void)net_sim_send(peers[i]->client, burst, len);
		turn();
		ck_assert_uint_le(remoting_stats(port)->buffered_out, conf.receive_bytes);
	}
	ck_assert_uint_gt(remoting_stats(port)->crowded, 0);
	/* One who takes his answers is served, also when his frame comes in pieces. */
	n = encode(&c, burst, sizeof(burst));
	ck_assert(net_sim_send(honest->client, burst, n / 2));
	turns(3);
	ck_assert(net_sim_send(honest->client, burst + n / 2, n - n / 2));
	ck_assert(receive(honest, &c));
	for (size_t i = 0; i < PEERS; i++)
		hang_up(peers[i]);
	hang_up(honest);
	end();
}
END_TEST

/*
 * The same for checks, of which there may be thousands in one turn, each as large as its message:
 * who is not asked now is asked later.
 */
START_TEST(checks_nobody_takes_have_that_roof_too)
{
	enum { PEERS = 40 };
	static char body[1 << 20];
	struct net_sim_knobs narrow = { .window_bytes = 64 << 10 };
	struct remoting_conf conf = conf_default();
	struct check check = { .half = &seen_half, .token = 256, .number = 1 };
	uint64_t ids[PEERS];
	struct peer *peers[PEERS];
	struct wire_command c;
	int taken = 0;

	conf.message_bytes = 2 << 20;
	conf.receive_bytes = 8 << 20;
	begin_with(&conf);
	fake.decide = keep_half;
	for (size_t i = 0; i < PEERS; i++) {
		peers[i] = dial();
		half_send(&c, WIRE_BINARY, WIRE_SEND_V2, STR(PROPERTIES), STR("hello"), 4);
		post(peers[i], &c);
		turns(3);
		ids[i] = seen_to.peer;
	}
	seen_half.gid = gid_make(1, 0, 9);
	seen_message.value = str_from(body, sizeof(body));
	seen_message.plain_bytes = sizeof(body);
	net_sim_set(sim, &narrow);
	for (size_t i = 0; i < PEERS; i++) {
		int err;

		check.peer = ids[i];
		err = remoting_check(port, &check);
		ck_assert(err == 0 || err == ERR_FULL);
		taken += err == 0;
	}
	ck_assert_int_ge(taken, 4);
	ck_assert_uint_le(remoting_stats(port)->buffered_out, conf.receive_bytes + (4 << 20));
	for (size_t i = 0; i < PEERS; i++)
		hang_up(peers[i]);
	end();
}
END_TEST

START_TEST(receive_memory_has_a_roof)
{
	enum { PEERS = 20 };
	static char frame[8 << 20], body[3 << 20];
	struct remoting_conf conf = conf_default();
	struct peer *peers[PEERS];
	struct wire_command c;
	struct peer *small;
	size_t n;

	conf.message_bytes = 4 << 20;
	conf.receive_bytes = 4 << 20;
	begin_with(&conf);
	half_send(&c, WIRE_BINARY, WIRE_SEND_V2, STR(PROPERTIES), str_from(body, sizeof(body)), 4);
	n = encode(&c, frame, sizeof(frame));
	for (size_t i = 0; i < PEERS; i++) {
		peers[i] = dial();
		ck_assert(net_sim_send(peers[i]->client, frame, n - 1)); /* all but the end */
	}
	for (int i = 0; i < 100; i++) {
		turn();
		ck_assert_uint_le(remoting_stats(port)->buffered, conf.receive_bytes * 5 / 4);
	}
	/* The small are still served. */
	small = dial();
	heartbeat(small, "{\"clientID\":\"x\",\"producerDataSet\":[]}", 0);
	/* And once the deadline has cleared the others, a large one is too. */
	now_ns += LIMIT_FRAME_NS;
	turns(3);
	ck_assert(net_sim_send(small->client, frame, n));
	turns(100);
	ck_assert_uint_eq(fake.half_total, 1);
	for (size_t i = 0; i < PEERS; i++)
		hang_up(peers[i]);
	hang_up(small);
	end();
}
END_TEST

/*
 * Many who begin a small frame and never end it, all that there is for small ones.  A user would
 * lose the connection of each of his producers whose frame comes in two pieces.
 */
START_TEST(who_never_ends_a_frame_makes_room_for_who_does)
{
	enum { PEERS = 60 };
	static char frame[64 << 10], body[60 << 10];
	struct remoting_conf conf = conf_default();
	struct peer *peers[PEERS], *honest;
	struct wire_command c;
	size_t n;

	conf.receive_bytes = 1 << 20;
	begin_with(&conf);
	half_send(&c, WIRE_BINARY, WIRE_SEND_V2, STR(PROPERTIES), str_from(body, sizeof(body)), 4);
	n = encode(&c, frame, sizeof(frame));
	for (size_t i = 0; i < PEERS; i++) {
		peers[i] = dial();
		ck_assert(net_sim_send(peers[i]->client, frame, n - 1));
		turns(3);
	}
	ck_assert_uint_le(remoting_stats(port)->buffered, conf.receive_bytes * 5 / 4);
	honest = dial();
	ck_assert(net_sim_send(honest->client, frame, n / 2));
	turns(3);
	ck_assert(net_sim_send(honest->client, frame + n / 2, n - n / 2));
	turns(3);
	ck_assert_uint_eq(fake.half_total, 1);
	ck_assert(!closed_after(honest, 3));
	ck_assert(closed_after(peers[0], 3));
	ck_assert(!closed_after(peers[PEERS - 1], 3));
	ck_assert_uint_gt(remoting_stats(port)->crowded, 0);
	for (size_t i = 0; i < PEERS; i++)
		hang_up(peers[i]);
	hang_up(honest);
	end();
}
END_TEST

START_TEST(who_waited_for_receive_memory_goes_on)
{
	static char frame[8 << 20], body[3 << 20];
	struct remoting_conf conf = conf_default();
	struct wire_command c;
	struct peer *first, *second;
	size_t n;

	conf.message_bytes = 4 << 20;
	conf.receive_bytes = 4 << 20;
	begin_with(&conf);
	half_send(&c, WIRE_BINARY, WIRE_SEND_V2, STR(PROPERTIES), str_from(body, sizeof(body)), 4);
	n = encode(&c, frame, sizeof(frame));
	first = dial();
	second = dial();
	ck_assert(net_sim_send(first->client, frame, n - 1));
	turns(100);
	ck_assert(net_sim_send(second->client, frame, n));
	turns(100);
	ck_assert_uint_eq(fake.half_total, 0); /* there is room for one of them only */
	ck_assert(net_sim_send(first->client, frame + n - 1, 1));
	turns(100);
	ck_assert_uint_eq(fake.half_total, 2);
	ck_assert_uint_eq(remoting_stats(port)->buffered, 0);
	hang_up(first);
	hang_up(second);
	end();
}
END_TEST

START_TEST(idle_connections_hold_no_buffer)
{
	enum { PEERS = 1000 };
	struct remoting_conf conf = conf_default();
	static struct net_sim_client *clients[PEERS + 1];
	struct wire_command c;
	char frame[256];
	size_t n;

	conf.connections_max = PEERS;
	begin_with(&conf);
	request(&c, WIRE_JSON, WIRE_ROUTE, 6);
	wire_add(&c, WIRE_STR("topic"), WIRE_STR("TBW102"));
	n = encode(&c, frame, sizeof(frame));
	for (size_t i = 0; i <= PEERS; i++) {
		clients[i] = net_sim_connect(sim, "127.0.0.1:9876");
		(void)net_sim_send(clients[i], frame, n);
	}
	turns(6);
	ck_assert_uint_eq(remoting_stats(port)->connections, PEERS);
	ck_assert_uint_eq(remoting_stats(port)->refused, 1);
	ck_assert_uint_eq(remoting_stats(port)->requests[0], PEERS);
	ck_assert_uint_eq(remoting_stats(port)->buffered, 0);
	for (size_t i = 0; i <= PEERS; i++)
		net_sim_close(clients[i], i % 2);
	turns(3);
	ck_assert_uint_eq(remoting_stats(port)->connections, 0);
	end();
}
END_TEST

START_TEST(an_answer_for_who_is_gone_harms_nobody_else)
{
	struct answer answer = { .code = ANSWER_OK, .gid = gid_make(1, 2, 3), .token = 256 };
	struct wire_command c;
	struct peer *p, *q;
	struct reply_to to;

	begin();
	p = dial();
	half_send(&c, WIRE_BINARY, WIRE_SEND_V2, STR(PROPERTIES), STR("b"), 4);
	post(p, &c);
	turns(3);
	to = fake.halves[0].to;
	hang_up(p);
	turns(3);
	q = dial(); /* in the very slot that is free again */
	turns(3);
	remoting_answer(port, to, &answer);
	ck_assert(!receive(q, &c));
	hang_up(q);
	end();
}
END_TEST

START_TEST(a_draining_port_takes_no_newcomers)
{
	struct peer *p;

	begin();
	p = dial();
	turns(3);
	remoting_drain(port);
	ck_assert_ptr_null(net_sim_connect(sim, "127.0.0.1:9876"));
	heartbeat(p, "{\"clientID\":\"x\",\"producerDataSet\":[]}", 0);
	hang_up(p);
	end();
}
END_TEST

START_TEST(what_came_before_garbage_is_still_answered)
{
	struct wire_command c;
	char frame[512];
	struct peer *p;
	size_t n;

	begin();
	p = dial();
	request(&c, WIRE_BINARY, WIRE_ROUTE, 6);
	wire_add(&c, WIRE_STR("topic"), WIRE_STR("TBW102"));
	n = encode(&c, frame, sizeof(frame));
	memset(frame + n, 0xff, 16);
	ck_assert(net_sim_send(p->client, frame, n + 16));
	ck_assert(receive(p, &c));
	ck_assert_int_eq(c.opaque, 6);
	ck_assert(closed_after(p, 3));
	ck_assert_uint_eq(remoting_stats(port)->malformed, 1);
	hang_up(p);
	end();
}
END_TEST

START_TEST(the_vip_port_names_the_main_one)
{
	struct remoting_conf conf = conf_default();
	struct wire_command c;
	struct peer *p = mem_alloc(sizeof(*p));

	conf.vip = true;
	begin_with(&conf);
	p->client = net_sim_connect(sim, "127.0.0.1:9874");
	ck_assert_ptr_nonnull(p->client);
	request(&c, WIRE_JSON, WIRE_ROUTE, 5);
	wire_add(&c, WIRE_STR("topic"), WIRE_STR("TBW102"));
	post(p, &c);
	ck_assert(receive(p, &c));
	ck_assert_mem_eq(c.body.p, ROUTE("127.0.0.1:9876", "4"), c.body.n);
	wire_command_done(&c);
	hang_up(p);
	end();
}
END_TEST

/* ---- any bytes whatever -------------------------------------------------------------------- */

static uint64_t story; /* what the core was told, as a hash */
static bool broken;    /* it ended with the connection closed */

static void
hear(struct str s)
{
	story = hash_body(s.p, s.n, story).lo;
}

static void
hear_all(void)
{
	for (uint32_t i = 0; i < fake.half_count; i++) {
		const struct half_request *r = &fake.halves[i % SEEN];
		const struct message *m = r->half.messages;

		hear(r->half.group);
		hear(r->half.key);
		hear(r->half.edge);
		hear(m->topic);
		hear(m->value);
		hear(m->headers.bytes);
		hear(str_from(&r->half.body_hash, sizeof(r->half.body_hash)));
	}
}

/* Some frames, one byte in a hundred of them changed. */
static size_t
draw_bytes(struct rng_sim *rng, char *to, size_t room)
{
	struct wire_command c;
	size_t at = 0;

	for (int i = 0; i < 8; i++) {
		enum wire_type type = rng_sim_chance(rng, 500) ? WIRE_JSON : WIRE_BINARY;

		switch (rng_sim_below(rng, 4)) {
		case 0:
			half_send(&c, type, WIRE_SEND, STR(PROPERTIES), STR("body"), 4);
			break;
		case 1:
			half_send(&c, type, WIRE_SEND_V2, STR(PROPERTIES), STR(""), 5);
			break;
		case 2:
			end_with(&c, type, "8", "true");
			break;
		default:
			request(&c, type, WIRE_HEARTBEAT, 1);
			c.body = WIRE_STR(
				"{\"clientID\":\"x\",\"producerDataSet\":[{\"groupName\":\"g\"}]}");
			break;
		}
		at += encode(&c, to + at, room - at);
	}
	for (size_t i = 0; i < at; i++)
		if (rng_sim_chance(rng, 2))
			to[i] = (char)rng_sim_next(rng);
	return at;
}

/* Feeds them in pieces of at most PIECE bytes; the story and the bytes that came back. */
static uint64_t
tell(const char *bytes, size_t n, size_t piece)
{
	static char back[1 << 16];
	size_t at = 0, got = 0;
	struct peer *p;

	begin();
	story = 0;
	fake.decide = hear_all;
	p = dial();
	turn();
	while (at < n) {
		size_t some = min_u64(piece, n - at);

		if (!net_sim_send(p->client, bytes + at, some))
			break;
		at += some;
		turn();
	}
	turns(3);
	for (;;) {
		size_t some = net_sim_recv(p->client, back + got, sizeof(back) - got, &p->closed);

		if (some == 0)
			break;
		got += some;
	}
	hear(str_from(back, got));
	story += p->closed;
	broken = p->closed;
	story = story * 31 + fake.half_total + fake.end_count * 1000;
	hang_up(p);
	end();
	return story;
}

START_TEST(any_bytes_mean_the_same_however_they_are_split)
{
	static char bytes[64 << 10];
	struct rng_sim rng;
	uint32_t closed = 0;

	rng_sim_init(&rng, 1);
	for (int i = 0; i < 300; i++) {
		size_t n = draw_bytes(&rng, bytes, sizeof(bytes));
		uint64_t whole = tell(bytes, n, SIZE_MAX);

		closed += broken;
		ck_assert_msg(whole == tell(bytes, n, 1 + rng_sim_below(&rng, 7)), "round %d", i);
	}
	ck_assert_uint_gt(closed, 10); /* else nothing was broken, and nothing proved */
	ck_assert_uint_lt(closed, 290);
}
END_TEST

UNIT("remoting", several_messages_reach_the_core_and_come_back_in_the_check,
     the_hash_of_several_messages_sees_each_of_them,
     half_sends_that_cannot_be_are_refused_before_the_core, who_waited_for_receive_memory_goes_on,
     what_came_before_garbage_is_still_answered, the_vip_port_names_the_main_one,
     any_bytes_mean_the_same_however_they_are_split, a_route_names_one_broker_without_a_blank,
     what_cannot_be_served_is_not_started, nobody_sends_to_kafkas_own_topics,
     a_half_send_reaches_the_core_whole, the_sharding_key_of_the_go_client_is_the_kafka_key,
     what_is_refused_is_refused_before_the_core, one_way_requests_are_never_answered,
     a_compressed_body_is_the_same_message, decisions_reach_the_core_and_answers_the_client,
     each_condition_is_answered_as_documented, a_refused_half_send_tells_which_transaction_won,
     the_watermark_is_told, a_group_comes_and_goes_with_its_heartbeats,
     a_check_is_the_message_that_was_sent, a_typical_message_keeps_next_to_nothing_for_its_checks,
     a_check_counts_when_its_last_byte_was_taken, strangers_are_told_apart_and_shown_the_door,
     an_oversized_message_is_refused_and_the_connection_lives, a_large_frame_in_pieces_is_one_frame,
     patience_has_its_limits, who_takes_no_answers_is_not_read_and_then_closed,
     inflating_has_its_share_of_a_turn, answers_nobody_takes_have_a_roof_together,
     who_never_asks_makes_room_at_the_limit, checks_nobody_takes_have_that_roof_too,
     who_never_ends_a_frame_makes_room_for_who_does, receive_memory_has_a_roof,
     idle_connections_hold_no_buffer, an_answer_for_who_is_gone_harms_nobody_else,
     a_draining_port_takes_no_newcomers);
