/*
 * test_conn.c -- a hostile or an unlucky peer costs the others nothing.
 *
 * A user would lose: the daemon, to one slow client that stops it for all, or to garbage.
 */
#include "remoting_world.h"

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

static bool broken; /* it ended with the connection closed */

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

UNIT("conn", who_waited_for_receive_memory_goes_on, what_came_before_garbage_is_still_answered,
     the_vip_port_names_the_main_one, any_bytes_mean_the_same_however_they_are_split,
     strangers_are_told_apart_and_shown_the_door,
     an_oversized_message_is_refused_and_the_connection_lives, a_large_frame_in_pieces_is_one_frame,
     patience_has_its_limits, who_takes_no_answers_is_not_read_and_then_closed,
     answers_nobody_takes_have_a_roof_together, who_never_asks_makes_room_at_the_limit,
     checks_nobody_takes_have_that_roof_too, who_never_ends_a_frame_makes_room_for_who_does,
     receive_memory_has_a_roof, idle_connections_hold_no_buffer,
     an_answer_for_who_is_gone_harms_nobody_else, a_draining_port_takes_no_newcomers);
