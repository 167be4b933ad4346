/*
 * test_remoting.c -- what clients ask reaches the core, and what the core answers reaches them.
 *
 * What is lost here is lost before the journal ever saw it: a property that does not reach Kafka, a
 * check without its group, an answer in the wrong encoding.
 */
#include "protocol.h"
#include "remoting_world.h"

#include <zlib.h>

#include "remoting/route.h"

/* ---- routes --------------------------------------------------------------------------- */

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

/* ---- half-sends ------------------------------------------------------------------------------ */

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

/* ---- decisions ------------------------------------------------------------------------------- */

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

/* ---- groups and checks ----------------------------------------------------------------------- */

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

UNIT("remoting", a_route_names_one_broker_without_a_blank, what_cannot_be_served_is_not_started,
     nobody_sends_to_kafkas_own_topics, a_half_send_reaches_the_core_whole,
     the_sharding_key_of_the_go_client_is_the_kafka_key, what_is_refused_is_refused_before_the_core,
     one_way_requests_are_never_answered, a_compressed_body_is_the_same_message,
     decisions_reach_the_core_and_answers_the_client, each_condition_is_answered_as_documented,
     a_refused_half_send_tells_which_transaction_won, the_watermark_is_told,
     a_group_comes_and_goes_with_its_heartbeats, a_check_is_the_message_that_was_sent,
     a_typical_message_keeps_next_to_nothing_for_its_checks,
     a_check_counts_when_its_last_byte_was_taken, inflating_has_its_share_of_a_turn);
