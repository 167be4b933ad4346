/*
 * test_half.c -- Escrow's own half-send: several messages, whole, and back in their check.
 *
 * A user would lose: a message of a transaction of several, or one that was taken for another.
 */
#include "remoting_world.h"

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

UNIT("half", several_messages_reach_the_core_and_come_back_in_the_check,
     the_hash_of_several_messages_sees_each_of_them,
     half_sends_that_cannot_be_are_refused_before_the_core);
