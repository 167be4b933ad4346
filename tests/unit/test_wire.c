/*
 * test_wire.c -- the remoting frames, against vectors, every truncation, and noise.
 *
 * If this fails, stock RocketMQ clients are misread or misread us: half messages get lost,
 * check-backs roll back what was committed, or one peer's bytes take the daemon down.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/wire.h"
#include "unit.h"

static size_t
unhex(const char *hex, uint8_t *to)
{
	size_t n = 0;

	while (*hex) {
		unsigned v;

		if (*hex == ' ' || *hex == '\n') {
			hex++;
			continue;
		}
		ck_assert_int_eq(sscanf(hex, "%2x", &v), 1);
		to[n++] = (uint8_t)v;
		hex += 2;
	}
	return n;
}

static uint64_t
next(uint64_t *seed)
{
	uint64_t z = (*seed += 0x9E3779B97F4A7C15u);

	z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
	z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
	return z ^ (z >> 31);
}

#define assert_str(s, text)                                                                        \
	do {                                                                                       \
		ck_assert_uint_eq((s).n, strlen(text));                                            \
		ck_assert_mem_eq((s).p, (text), strlen(text));                                     \
	} while (0)

static void
assert_field(const struct wire_command *c, const char *name, const char *value)
{
	const struct wire_field *f = wire_field(c, name);

	ck_assert_msg(f != NULL, "no field %s", name);
	assert_str(f->value, value);
}

/* A frame around a header, as a peer would make it. */
static size_t
frame(uint8_t *to, unsigned type, const void *header, size_t header_n, const void *body,
      size_t body_n)
{
	size_t total = 4 + header_n + body_n;

	for (int i = 0; i < 4; i++) {
		to[i] = (uint8_t)(total >> (24 - 8 * i));
		to[4 + i] = (uint8_t)(header_n >> (24 - 8 * i));
	}
	to[4] = (uint8_t)type;
	memcpy(to + 8, header, header_n);
	if (body_n > 0)
		memcpy(to + 8 + header_n, body, body_n);
	return 8 + header_n + body_n;
}

static int
decode_json(const char *header, struct wire_command *c)
{
	static uint8_t buf[65536];
	size_t n = frame(buf, 0, header, strlen(header), "body", 4);

	return wire_decode(buf, n, c);
}

/* ---- vectors ----------------------------------------------------------------------------- */

static const char *const route_hex = "0000002b 01000027 0069 00 01db 00000001 00000000 00000000 "
				     "00000012 0005 746f706963 00000007 "
				     "546f7069635478";

START_TEST(the_binary_route_request_of_a_java_client_is_read_and_written)
{
	uint8_t buf[128], again[128];
	size_t n = unhex(route_hex, buf), m = 0;
	struct wire_command c;

	ck_assert_int_eq(wire_decode(buf, n, &c), 0);
	ck_assert_int_eq(c.type, WIRE_BINARY);
	ck_assert_int_eq(c.code, WIRE_ROUTE);
	ck_assert_int_eq(c.language, 0);
	ck_assert_int_eq(c.version, 475);
	ck_assert_int_eq(c.opaque, 1);
	ck_assert_int_eq(c.flag, 0);
	ck_assert_ptr_null(c.remark.p);
	ck_assert_uint_eq(c.body.n, 0);
	ck_assert_uint_eq(c.field_count, 1);
	assert_field(&c, "topic", "TopicTx");
	ck_assert_ptr_null(wire_field(&c, "topi"));

	ck_assert_int_eq(wire_encode(&c, again, sizeof(again), &m), 0);
	ck_assert_uint_eq(m, n);
	ck_assert_mem_eq(again, buf, n);
}
END_TEST

START_TEST(a_check_reaches_the_client_in_the_bytes_it_knows)
{
	static const char *const hex = "000000c3daa320a73610a68600000000000000000000000000000007000"
				       "0000000001000000000000000"
				       "018bcfe568007f0000010000c3500000018bcfe56864"
				       "7f00000100002a9f0000000000000000000000000000000568656c6c6f0"
				       "7546f7069635478005c5452414e"
				       "5f4d53470174727565025047524f55500167310255"
				       "4e49515f4b4559013746303030303031303444393042423343344442363"
				       "841453646313630303030025452"
				       "414e53414354494f4e5f434845434b5f54494d4553013102";
	uint8_t buf[256], again[256];
	size_t n = unhex(hex, buf);
	struct wire_message m;
	struct wire_str v;

	ck_assert_uint_eq(n, 195);
	ck_assert_int_eq(wire_message_decode(buf, n, &m), 0);
	ck_assert_int_eq(m.queue_offset, 7);
	ck_assert_int_eq(m.physical_offset, 4096);
	ck_assert_int_eq(m.born_port, 50000);
	ck_assert_int_eq(m.store_port, 10911);
	ck_assert_int_eq(m.store_timestamp - m.born_timestamp, 100);
	assert_str(m.body, "hello");
	assert_str(m.topic, "TopicTx");
	ck_assert(wire_property_find(m.properties, "TRANSACTION_CHECK_TIMES", &v));
	assert_str(v, "1");
	ck_assert(wire_property_find(m.properties, "PGROUP", &v));
	assert_str(v, "g1");
	ck_assert(!wire_property_find(m.properties, "PGROU", &v));

	ck_assert_uint_eq(wire_message_size(&m), n);
	ck_assert_int_eq(wire_message_encode(&m, again, n - 1), WIRE_E_ROOM);
	ck_assert_int_eq(wire_message_encode(&m, again, sizeof(again)), 0);
	ck_assert_mem_eq(again, buf, n);

	for (size_t i = 0; i < n; i++) {
		uint8_t *cut = malloc(i ? i : 1);

		memcpy(cut, buf, i);
		ck_assert_int_eq(wire_message_decode(cut, i, &m), WIRE_E_MALFORMED);
		if (i >= 4) { /* and one that lies about its size */
			cut[3] = (uint8_t)i;
			ck_assert_int_eq(wire_message_decode(cut, i, &m), WIRE_E_MALFORMED);
		}
		free(cut);
	}
	ck_assert_int_eq(wire_message_decode(again, n, &m), 0);
	again[(size_t)(m.body.p - (char *)again)] ^= 1; /* the CRC knows */
	ck_assert_int_eq(wire_message_decode(again, n, &m), WIRE_E_MALFORMED);
}
END_TEST

START_TEST(a_check_of_an_ipv6_message_keeps_flags_and_addresses_together)
{
	struct wire_message m = {
		.sys_flag = WIRE_SYS_COMPRESSED | WIRE_SYS_BORNHOST_V6,
		.born_ip_len = 4,
		.store_ip_len = 16,
		.born_ip = { 10, 0, 0, 1 },
		.store_ip = { 0x20, 0x01, [15] = 7 },
		.body = WIRE_STR("x"),
		.topic = WIRE_STR("t"),
	};
	struct wire_message back;
	uint8_t buf[256];
	static char big[WIRE_PROPERTIES_MAX + 300];

	ck_assert_int_eq(wire_message_encode(&m, buf, sizeof(buf)), 0);
	ck_assert_int_eq(wire_message_decode(buf, wire_message_size(&m), &back), 0);
	ck_assert_int_eq(back.sys_flag, WIRE_SYS_COMPRESSED | WIRE_SYS_STOREHOST_V6);
	ck_assert_int_eq(back.born_ip_len, 4);
	ck_assert_mem_eq(back.store_ip, m.store_ip, 16);

	m.topic = (struct wire_str){ big, 128 };
	ck_assert_int_eq(wire_message_encode(&m, buf, sizeof(buf)), WIRE_E_TOO_BIG);
	m.topic.n = 1;
	m.properties = (struct wire_str){ big, 32768 };
	ck_assert_int_eq(wire_message_encode(&m, buf, sizeof(buf)), WIRE_E_TOO_BIG);
}
END_TEST

START_TEST(the_offset_comes_back_out_of_the_message_id)
{
	static const uint8_t ip[4] = { 127, 0, 0, 1 }, ip6[16] = { 0xfe, 0x80, [15] = 1 };
	char text[WIRE_MSG_ID_TEXT];
	int64_t offset = 0;

	wire_msg_id_format(ip, 4, 10911, 4096, text);
	ck_assert_str_eq(text, "7F00000100002A9F0000000000001000");
	ck_assert_int_eq(wire_msg_id_parse((struct wire_str){ text, strlen(text) }, &offset), 0);
	ck_assert_int_eq(offset, 4096);
	wire_msg_id_format(ip6, 16, 9876, INT64_MAX, text);
	ck_assert_uint_eq(strlen(text), 56);
	ck_assert_int_eq(wire_msg_id_parse((struct wire_str){ text, 56 }, &offset), 0);
	ck_assert_int_eq(offset, INT64_MAX);
	ck_assert_int_eq(wire_msg_id_parse((struct wire_str){ text, 55 }, &offset),
			 WIRE_E_MALFORMED);
	text[40] = '8'; /* the sign */
	ck_assert_int_eq(wire_msg_id_parse((struct wire_str){ text, 56 }, &offset),
			 WIRE_E_MALFORMED);
	text[40] = 'g';
	ck_assert_int_eq(wire_msg_id_parse((struct wire_str){ text, 56 }, &offset),
			 WIRE_E_MALFORMED);
}
END_TEST

START_TEST(the_crc_is_that_of_java)
{
	uint8_t buf[300];
	uint64_t seed = 1;

	ck_assert_uint_eq(wire_crc32("123456789", 9), 0xCBF43926);
	ck_assert_uint_eq(wire_crc32("", 0), 0);
	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)next(&seed);
	for (size_t n = 0; n <= sizeof(buf); n++) {
		uint32_t crc = 0xFFFFFFFF;

		for (size_t i = 0; i < n; i++) {
			crc ^= buf[i];
			for (int b = 0; b < 8; b++)
				crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320 : 0);
		}
		ck_assert_uint_eq(wire_crc32(buf, n), ~crc);
	}
}
END_TEST

/* ---- JSON -------------------------------------------------------------------------------- */

START_TEST(a_json_header_is_read_as_each_client_writes_it)
{
	struct wire_command c;
	int64_t v = 0;

	/* Java */
	ck_assert_int_eq(
		decode_json("{\"code\":310,\"extFields\":{\"a\":\"g1\",\"b\":\"t\",\"k\":null},"
			    "\"flag\":2,\"language\":\"JAVA\",\"opaque\":7,"
			    "\"serializeTypeCurrentRPC\":\"JSON\",\"version\":479}",
			    &c),
		0);
	ck_assert_int_eq(c.type, WIRE_JSON);
	ck_assert_int_eq(c.code, 310);
	ck_assert_int_eq(c.flag, WIRE_ONEWAY);
	ck_assert_int_eq(c.opaque, 7);
	ck_assert_int_eq(c.language, 0);
	ck_assert_int_eq(c.version, 479);
	ck_assert_ptr_null(c.remark.p);
	assert_str(c.body, "body");
	assert_field(&c, "a", "g1");
	ck_assert_ptr_nonnull(wire_field(&c, "k"));
	ck_assert_ptr_null(wire_field(&c, "k")->value.p);
	ck_assert_ptr_null(c.scratch);
	wire_command_done(&c);

	/* C++: numbers, booleans, a newline */
	ck_assert_int_eq(
		decode_json("{\"code\":310,\"extFields\":{\"e\":3,\"f\":-5,\"k\":false,\"z\":"
			    "1.5e3},\"language\":\"CPP\", \"opaque\" : -1,\"flag\":0}\n",
			    &c),
		0);
	ck_assert_int_eq(c.language, 1);
	ck_assert_int_eq(c.opaque, -1);
	ck_assert(wire_field_i64(&c, "e", &v) && v == 3);
	ck_assert(wire_field_i64(&c, "f", &v) && v == -5);
	ck_assert(!wire_field_i64(&c, "z", &v));
	ck_assert(!wire_field_i64(&c, "none", &v));
	assert_field(&c, "k", "false");
	wire_command_done(&c);

	/* whatever comes one day: unknown names, nested values, a repeated field: the last wins */
	ck_assert_int_eq(
		decode_json("{\"new\":{\"a\":[1,{\"b\":\"}\"}],\"c\":[]},\"code\":1,\"extFields\":{"
			    "\"x\":\"1\",\"o\":{\"y\":[]},\"x\":\"2\"},\"remark\":null,"
			    "\"language\":\"COBOL\"}",
			    &c),
		0);
	assert_field(&c, "x", "2");
	ck_assert_ptr_null(wire_field(&c, "o"));
	ck_assert_int_eq(c.language, 7);
	ck_assert_str_eq(wire_language_name(c.language), "OTHER");
	wire_command_done(&c);
}
END_TEST

START_TEST(escapes_are_undone)
{
	struct wire_command c;

	ck_assert_int_eq(decode_json("{\"code\":1,\"remark\":\"a\\n\\\"\\\\\\/\\t\",\"extFields\":{"
				     "\"i\":\"TAGS\\u0001x\\u0002K\\u00E9\\u20ac\\ud83d\\ude00\","
				     "\"h\":\"\\ud83d|\\udc00|\\ud83d\\u0041\",\"e\":\"\"}}",
				     &c),
			 0);
	assert_str(c.remark, "a\n\"\\/\t");
	assert_field(&c, "i", "TAGS\001x\002K\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80");
	assert_field(&c, "h",
		     "\xEF\xBF\xBD|\xEF\xBF\xBD|\xEF\xBF\xBD"
		     "A");
	assert_field(&c, "e", "");
	ck_assert_ptr_nonnull(wire_field(&c, "e")->value.p);
	wire_command_done(&c);
}
END_TEST

START_TEST(what_is_no_json_header_is_refused)
{
	static const char *const bad[] = {
		"",
		"{",
		"}",
		"[]",
		"1",
		"{\"code\":1",
		"{\"code\":1,}",
		"{\"code\":1}}",
		"{\"code\":1} x",
		"{\"code\":}",
		"{\"code\":\"x\"}",
		"{\"code\":1.5}",
		"{\"code\":3000000000}",
		"{\"code\":null}",
		"{\"opaque\":1}",
		"{code:1}",
		"{\"code\":1,\"remark\":\"\\x\"}",
		"{\"code\":1,\"remark\":\"\\u12\"}",
		"{\"code\":1,\"remark\":\"\\ud800\\u00zz\"}",
		"{\"code\":1,\"remark\":\"open}",
		"{\"code\":1,\"remark\":tru}",
		"{\"code\":1,\"remark\":\"\\",
		"{\"code\" 1}",
		"{\"code\":1,\"extFields\":{\"a\"}}",
		"{\"code\":1,\"extFields\":{\"a\":{\"b\":1}}",
		"{\"code\":1,\"x\":[1 2]}",
		"{\"code\":1,\"flag\":true}",
	};
	struct wire_command c;
	char deep[256] = "{\"code\":1,\"x\":";

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(decode_json(bad[i], &c) == WIRE_E_MALFORMED, "accepted: %s", bad[i]);
	memset(deep + strlen(deep), '[', WIRE_DEPTH_MAX + 1);
	ck_assert_int_eq(decode_json(deep, &c), WIRE_E_TOO_BIG);
}
END_TEST

START_TEST(one_peer_cannot_grow_the_fields)
{
	char text[4096] = "{\"code\":1,\"extFields\":{";
	size_t n = strlen(text);
	struct wire_command c;
	uint8_t buf[4096];
	size_t m = 0;

	for (int i = 0; i < WIRE_FIELDS_MAX; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s\"f%d\":\"%d\"", i ? "," : "",
				      i, i);
	snprintf(text + n, sizeof(text) - n, "}}");
	ck_assert_int_eq(decode_json(text, &c), 0);
	ck_assert_uint_eq(c.field_count, WIRE_FIELDS_MAX);
	c.type = WIRE_BINARY;
	c.body.n = 0;
	ck_assert_int_eq(wire_encode(&c, buf, sizeof(buf), &m), 0);
	ck_assert_int_eq(wire_decode(buf, m, &c), 0);
	wire_command_done(&c);

	snprintf(text + n, sizeof(text) - n, ",\"more\":\"1\"}}");
	ck_assert_int_eq(decode_json(text, &c), WIRE_E_TOO_BIG);

	/* the same in binary: one more empty-valued field at the end, lengths put right */
	memcpy(buf + m, "\0\1x\0\0\0\0", 7);
	m += 7;
	buf[2] = (uint8_t)((m - 4) >> 8), buf[3] = (uint8_t)(m - 4);
	buf[6] = (uint8_t)((m - 8) >> 8), buf[7] = (uint8_t)(m - 8);
	buf[8 + 19] = (uint8_t)((m - 8 - 21) >> 8), buf[8 + 20] = (uint8_t)(m - 8 - 21);
	ck_assert_int_eq(wire_decode(buf, m, &c), WIRE_E_TOO_BIG);
}
END_TEST

START_TEST(our_json_is_compact_and_escaped)
{
	struct wire_command c;
	char buf[512];
	size_t n = 0;
	static const char want[] =
		"{\"code\":0,\"language\":\"JAVA\",\"version\":479,\"opaque\":9,\"flag\":1,"
		"\"remark\":"
		"\"no \\\"x\\\"\\u000a\",\"extFields\":{\"a\":\"1\\u00012\",\"b\":\"\"},"
		"\"serializeTypeCurrentRPC\":\"JSON\"}";

	wire_command_init(&c, WIRE_JSON, WIRE_SUCCESS);
	c.language = 0;
	c.version = 479;
	c.opaque = 9;
	c.flag = WIRE_RESPONSE;
	c.remark = WIRE_STR("no \"x\"\n");
	wire_add(&c, WIRE_STR("a"), WIRE_STR("1\0012"));
	wire_add(&c, WIRE_STR("gone"), (struct wire_str){ NULL, 0 });
	wire_add(&c, WIRE_STR("b"), WIRE_STR(""));
	c.body = WIRE_STR("{}");
	ck_assert_int_eq(wire_encode(&c, NULL, 0, &n), WIRE_E_ROOM);
	ck_assert_uint_eq(n, 8 + sizeof(want) - 1 + 2);
	ck_assert_int_eq(wire_encode(&c, buf, n - 1, &n), WIRE_E_ROOM);
	ck_assert_int_eq(wire_encode(&c, buf, n, &n), 0);
	ck_assert_mem_eq(buf + 8, want, sizeof(want) - 1);
	ck_assert_mem_eq(buf + n - 2, "{}", 2);
	ck_assert_int_eq(wire_decode(buf, n, &c), 0);
	assert_str(c.remark, "no \"x\"\n");
	wire_command_done(&c);
}
END_TEST

/* ---- frames ------------------------------------------------------------------------------ */

START_TEST(a_frame_is_found_whatever_the_pieces_it_arrives_in)
{
	uint8_t buf[128];
	size_t n = unhex(route_hex, buf), total = 0;
	struct wire_command c;

	for (size_t i = 0; i < n; i++) {
		uint8_t *piece = malloc(i ? i : 1);

		memcpy(piece, buf, i);
		if (i < 8) {
			ck_assert_int_eq(wire_frame_size(piece, i, SIZE_MAX, &total), WIRE_E_MORE);
		} else {
			ck_assert_int_eq(wire_frame_size(piece, i, SIZE_MAX, &total), 0);
			ck_assert_uint_eq(total, n);
		}
		ck_assert_int_eq(wire_decode(piece, i, &c), WIRE_E_MORE);
		free(piece);
	}
	ck_assert_int_eq(wire_decode(buf, n + 1, &c), WIRE_E_MALFORMED);
}
END_TEST

START_TEST(lengths_that_cannot_be_are_refused_at_the_eighth_byte)
{
	static const struct {
		const char *hex;
		int err;
	} cases[] = {
		{ "00000003 00000000", WIRE_E_MALFORMED },
		{ "00000004 00000001", WIRE_E_MALFORMED },
		{ "00000010 0000000d", WIRE_E_MALFORMED },
		{ "00000010 0000000c", 0 },
		{ "00000010 0200000c", WIRE_E_MALFORMED },
		{ "ffffffff 00000001", WIRE_E_TOO_BIG },
		{ "01000001 00000001", WIRE_E_TOO_BIG },
		{ "01000000 00000001", 0 },
		{ "00100000 00040001", WIRE_E_TOO_BIG },
		{ "00100000 00040000", 0 },
		{ "16030100 00000001", WIRE_E_TOO_BIG },
		{ "50524920 2a204854", WIRE_E_MALFORMED },
	};
	size_t total;
	uint8_t buf[8];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		unhex(cases[i].hex, buf);
		ck_assert_msg(wire_frame_size(buf, 8, SIZE_MAX, &total) == cases[i].err, "%s",
			      cases[i].hex);
	}
	unhex("00000100 00000010", buf);
	ck_assert_int_eq(wire_frame_size(buf, 8, 0x103, &total), WIRE_E_TOO_BIG);
	ck_assert_int_eq(wire_frame_size(buf, 8, 0x104, &total), 0);
}
END_TEST

START_TEST(negative_lengths_in_a_binary_header_are_refused)
{
	/* remark, ext, name, value: each -1 in an otherwise good frame */
	static const size_t at[][2] = {
		{ 8 + 13, 4 }, { 8 + 17, 4 }, { 8 + 21, 2 }, { 8 + 28, 4 }
	};
	uint8_t buf[128];
	size_t n = unhex(route_hex, buf);
	struct wire_command c;

	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		unhex(route_hex, buf);
		memset(buf + at[i][0], 0xFF, at[i][1]);
		ck_assert_int_eq(wire_decode(buf, n, &c), WIRE_E_MALFORMED);
		unhex(route_hex, buf);
		buf[at[i][0] + at[i][1] - 1]++; /* one too many */
		ck_assert_int_eq(wire_decode(buf, n, &c), WIRE_E_MALFORMED);
	}
}
END_TEST

/* Header cut at every byte, with lengths that fit the cut: never accepted, never read past. */
START_TEST(a_header_cut_anywhere_is_refused)
{
	uint8_t buf[512], out[512];
	struct wire_command c;

	for (int type = WIRE_JSON; type <= WIRE_BINARY; type++) {
		size_t n = 0;

		wire_command_init(&c, (enum wire_type)type, WIRE_END_TRANSACTION);
		c.remark = WIRE_STR("why\n");
		wire_add(&c, WIRE_STR("producerGroup"), WIRE_STR("g\001"));
		wire_add(&c, WIRE_STR("commitLogOffset"), WIRE_STR("12"));
		ck_assert_int_eq(wire_encode(&c, buf, sizeof(buf), &n), 0);
		for (size_t i = 0; i < n - 8; i++) {
			size_t m = frame(out, (unsigned)type, buf + 8, i, NULL, 0);
			uint8_t *exact = malloc(m);

			memcpy(exact, out, m);
			ck_assert_int_eq(wire_decode(exact, m, &c), WIRE_E_MALFORMED);
			free(exact);
		}
	}
}
END_TEST

static bool
same(const struct wire_command *a, const struct wire_command *b)
{
	if (a->code != b->code || a->opaque != b->opaque || a->flag != b->flag ||
	    a->remark.n != b->remark.n || a->body.n != b->body.n ||
	    a->field_count != b->field_count ||
	    (a->remark.n && memcmp(a->remark.p, b->remark.p, a->remark.n) != 0) ||
	    (a->body.n && memcmp(a->body.p, b->body.p, a->body.n) != 0))
		return false;
	for (size_t i = 0; i < a->field_count; i++) {
		const struct wire_field *x = &a->fields[i], *y = &b->fields[i];

		if (x->name.n != y->name.n || x->value.n != y->value.n ||
		    memcmp(x->name.p, y->name.p, x->name.n) != 0 ||
		    (x->value.n && memcmp(x->value.p, y->value.p, x->value.n) != 0))
			return false;
	}
	return true;
}

/* Noise: what is accepted must survive being written and read again. */
START_TEST(noise_is_refused_or_read_the_same_twice)
{
	static const char *const seeds[] = {
		"{\"code\":310,\"extFields\":{\"a\":\"g1\",\"i\":\"A\\u0001b\\u0002\",\"e\":3},"
		"\"flag\":2,"
		"\"language\":\"JAVA\",\"opaque\":7,\"remark\":\"\\ud83d\\ude00\",\"x\":[{\"y\":"
		"null}]}\n",
	};
	uint8_t base[2][512], out[4096];
	size_t base_n[2], accepted = 0, refused = 0;
	uint64_t seed = 20260101;

	base_n[0] = frame(base[0], 0, seeds[0], strlen(seeds[0]), "xyz", 3);
	struct wire_command c, d;

	ck_assert_int_eq(wire_decode(base[0], base_n[0], &c), 0);
	c.type = WIRE_BINARY;
	ck_assert_int_eq(wire_encode(&c, base[1], sizeof(base[1]), &base_n[1]), 0);
	wire_command_done(&c);

	for (int round = 0; round < 200000; round++) {
		uint64_t r = next(&seed);
		size_t n = base_n[r & 1], m = 0;
		uint8_t *p = malloc(n);
		int flips = 1 + (int)(r >> 8 & 3);

		memcpy(p, base[r & 1], n);
		while (flips-- > 0) {
			uint64_t w = next(&seed);
			size_t at = (r & 4 ? 8 : 0) + (size_t)(w >> 16) % (n - 8);

			p[at] = w & 1 ? (uint8_t)(w >> 8)
				      : (uint8_t) "\"{}[],:\\0-u\xff"[w >> 8 & 11];
		}
		if (wire_decode(p, n, &c) == 0) {
			accepted++;
			for (size_t i = 0; i < c.field_count; i++)
				if (c.fields[i].value.p == NULL)
					c.fields[i].value = WIRE_STR("");
			ck_assert_int_eq(wire_encode(&c, out, sizeof(out), &m), 0);
			ck_assert_int_eq(wire_decode(out, m, &d), 0);
			ck_assert(same(&c, &d));
			wire_command_done(&d);
			wire_command_done(&c);
		} else {
			refused++;
		}
		free(p);
	}
	ck_assert_uint_gt(accepted, 1000);
	ck_assert_uint_gt(refused, 1000);
}
END_TEST

/* ---- requests ---------------------------------------------------------------------------- */

START_TEST(a_send_is_the_same_in_both_spellings)
{
	static const int codes[] = { WIRE_SEND, WIRE_SEND_V2 };
	struct wire_send s = {
		.producer_group = WIRE_STR("g1"),
		.topic = WIRE_STR("orders"),
		.default_topic = WIRE_STR("TBW102"),
		.default_topic_queue_nums = 1000,
		.queue_id = 3,
		.sys_flag = 5,
		.born_timestamp = 1700000000123,
		.flag = -2,
		.properties = WIRE_STR("K\1v\2"),
	};

	for (int i = 0; i < 2; i++) {
		for (int type = WIRE_JSON; type <= WIRE_BINARY; type++) {
			struct wire_command c;
			struct wire_send t;
			char text[WIRE_SEND_TEXT];
			uint8_t buf[1024];
			size_t n = 0;

			wire_command_init(&c, (enum wire_type)type, codes[i]);
			wire_send_fields(&s, &c, text);
			ck_assert_int_eq(wire_encode(&c, buf, sizeof(buf), &n), 0);
			ck_assert_int_eq(wire_decode(buf, n, &c), 0);
			ck_assert_int_eq(wire_send_decode(&c, &t), 0);
			assert_str(t.producer_group, "g1");
			assert_str(t.topic, "orders");
			assert_str(t.default_topic, "TBW102");
			ck_assert_int_eq(t.default_topic_queue_nums, 1000);
			ck_assert_int_eq(t.queue_id, 3);
			ck_assert_int_eq(t.sys_flag, 5);
			ck_assert_int_eq(t.born_timestamp, 1700000000123);
			ck_assert_int_eq(t.flag, -2);
			assert_str(t.properties, "K\1v\2");
			ck_assert(!t.batch);
			c.field_count = 2;
			ck_assert_int_eq(wire_send_decode(&c, &t), WIRE_E_MALFORMED);
			wire_command_done(&c);
		}
	}
}
END_TEST

START_TEST(a_decision_is_read_and_what_is_odd_counts_as_unknown)
{
	struct wire_end e = { .producer_group = WIRE_STR("g1"),
			      .state_offset = (int64_t)1 << 62,
			      .log_offset = 42,
			      .decision = WIRE_COMMIT,
			      .msg_id = WIRE_STR("7F") };
	struct wire_end f;
	struct wire_command c;
	char text[WIRE_END_TEXT];

	wire_command_init(&c, WIRE_BINARY, WIRE_END_TRANSACTION);
	wire_end_fields(&e, &c, text);
	ck_assert_int_eq(wire_end_decode(&c, &f), 0);
	ck_assert_int_eq(f.decision, WIRE_COMMIT);
	ck_assert_int_eq(f.state_offset, e.state_offset);
	ck_assert_int_eq(f.log_offset, 42);
	ck_assert(!f.from_check);
	ck_assert_ptr_null(f.transaction_id.p);
	assert_str(f.msg_id, "7F");

	c.fields[3].value = WIRE_STR("4");
	ck_assert_int_eq(wire_end_decode(&c, &f), 0);
	ck_assert_int_eq(f.decision, WIRE_UNKNOWN);
	c.fields[3].value = WIRE_STR("8x");
	ck_assert_int_eq(wire_end_decode(&c, &f), WIRE_E_MALFORMED);
	c.fields[3].value = WIRE_STR("12");
	c.fields[2].value = (struct wire_str){ NULL, 0 };
	ck_assert_int_eq(wire_end_decode(&c, &f), WIRE_E_MALFORMED);
}
END_TEST

START_TEST(numbers_are_whole_or_nothing)
{
	static const struct {
		const char *text;
		bool ok;
		int64_t value;
	} cases[] = {
		{ "0", true, 0 },
		{ "-0", true, 0 },
		{ "007", true, 7 },
		{ "9223372036854775807", true, INT64_MAX },
		{ "-9223372036854775808", true, INT64_MIN },
		{ "9223372036854775808", false, 0 },
		{ "-9223372036854775809", false, 0 },
		{ "99999999999999999999", false, 0 },
		{ "", false, 0 },
		{ "-", false, 0 },
		{ "+1", false, 0 },
		{ " 1", false, 0 },
		{ "1 ", false, 0 },
		{ "1.0", false, 0 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t v = 0;
		bool ok = wire_i64((struct wire_str){ cases[i].text, strlen(cases[i].text) }, &v);

		ck_assert_msg(ok == cases[i].ok, "%s", cases[i].text);
		if (ok)
			ck_assert_int_eq(v, cases[i].value);
	}
}
END_TEST

START_TEST(a_heartbeat_names_its_groups)
{
	static const char *const java = "{\"clientID\":\"10.0.0.7@4711#184467\","
					"\"consumerDataSet\":[{\"groupName\":\"no\"}],"
					"\"producerDataSet\":[{\"groupName\":\"CLIENT_INNER_"
					"PRODUCER\"},{\"x\":[1],\"groupName\":\"g\\u00e9\"}],"
					"\"heartbeatFingerprint\":0,\"withoutSub\":false}";
	static const char *const cpp = "{\"clientID\":\"127.0.0.1@1241#DEFAULT\","
				       "\"producerDataSet\":[{\"groupName\":\"cpptx\"}]}\n";
	static struct wire_heartbeat h, back;
	static char many[WIRE_GROUPS_MAX * 24 + 64];
	char buf[256];
	size_t n = 0;

	ck_assert_int_eq(wire_heartbeat_decode((struct wire_str){ java, strlen(java) }, &h), 0);
	assert_str(h.client_id, "10.0.0.7@4711#184467");
	ck_assert_uint_eq(h.group_count, 2);
	assert_str(h.groups[1], "g\xC3\xA9");
	ck_assert_int_eq(wire_heartbeat_encode(&h, buf, sizeof(buf), &n), 0);
	ck_assert_int_eq(wire_heartbeat_decode((struct wire_str){ buf, n }, &back), 0);
	ck_assert_uint_eq(back.group_count, 2);
	assert_str(back.groups[0], "CLIENT_INNER_PRODUCER");
	wire_heartbeat_done(&h);
	wire_heartbeat_done(&back);

	ck_assert_int_eq(wire_heartbeat_decode((struct wire_str){ cpp, strlen(cpp) }, &h), 0);
	ck_assert_uint_eq(h.group_count, 1);
	wire_heartbeat_done(&h);
	for (size_t i = 0; i < strlen(cpp) - 1; i++)
		ck_assert_int_eq(wire_heartbeat_decode((struct wire_str){ cpp, i }, &h),
				 WIRE_E_MALFORMED);
	ck_assert_int_eq(wire_heartbeat_decode((struct wire_str){ NULL, 0 }, &h), WIRE_E_MALFORMED);

	n = (size_t)snprintf(many, sizeof(many), "{\"producerDataSet\":[");
	for (int i = 0; i <= WIRE_GROUPS_MAX; i++)
		n += (size_t)snprintf(many + n, sizeof(many) - n, "%s{\"groupName\":\"g%d\"}",
				      i ? "," : "", i);
	n += (size_t)snprintf(many + n, sizeof(many) - n, "]}");
	ck_assert_int_eq(wire_heartbeat_decode((struct wire_str){ many, n }, &h), WIRE_E_TOO_BIG);
}
END_TEST

START_TEST(properties_are_stepped_through)
{
	struct wire_field f;
	struct wire_str block = WIRE_STR("A\001b\002C\001\002D\001e");
	size_t at = 0;

	ck_assert(wire_property_next(block, &at, &f));
	assert_str(f.name, "A");
	assert_str(f.value, "b");
	ck_assert(wire_property_next(block, &at, &f));
	assert_str(f.name, "C");
	assert_str(f.value, "");
	ck_assert(wire_property_next(block, &at, &f));
	assert_str(f.value, "e");
	ck_assert(!wire_property_next(block, &at, &f));
	ck_assert_uint_eq(at, block.n);

	static const char *const bad[] = { "A", "\001b\002", "A\002b\001c", "A\001b\001c\002",
					   "\002" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		at = 0;
		block = (struct wire_str){ bad[i], strlen(bad[i]) };
		ck_assert(!wire_property_next(block, &at, &f));
		ck_assert_uint_lt(at, block.n);
	}
	at = 0;
	ck_assert(!wire_property_next((struct wire_str){ NULL, 0 }, &at, &f));
}
END_TEST

/* Would lose: a key that is no text, the null of a tombstone, or the bounds of a message. */
START_TEST(messages_of_a_half_send_carry_any_bytes)
{
	static const char vector[] =
		"0000001d 03 02 0001 0009 ffffffff 7431 00 0161 037802 027a7a 00 767676";
	uint8_t headers[64], body[256], expected[64];
	struct wire_part one = { .topic = WIRE_STR("t1"), .partition = -1, .key = { "", 1 } };
	struct wire_part two = { .topic = WIRE_STR("t"), .partition = 7 };
	struct wire_part three = { .topic = WIRE_STR("t"), .key = { "", 0 }, .value = { "", 0 } };
	struct wire_part got;
	size_t n = 0, at = 0;

	n += wire_header_put(WIRE_STR("a"), WIRE_STR("x\2"), headers + n);
	n += wire_header_put(WIRE_STR("zz"), (struct wire_str){ NULL, 0 }, headers + n);
	ck_assert_uint_eq(n, wire_header_put(WIRE_STR("a"), WIRE_STR("x\2"), NULL) +
				     wire_header_put(WIRE_STR("zz"), (struct wire_str){ NULL, 0 },
						     NULL));
	one.headers = (struct wire_str){ (const char *)headers, n };
	one.value = WIRE_STR("vvv");
	n = 0;
	wire_part_put(&one, body);
	ck_assert_uint_eq(unhex(vector, expected), wire_part_size(&one));
	ck_assert_mem_eq(body, expected, wire_part_size(&one));
	n += wire_part_size(&one);
	wire_part_put(&two, body + n);
	n += wire_part_size(&two);
	wire_part_put(&three, body + n);
	n += wire_part_size(&three);

	struct wire_str all = { (const char *)body, n };

	ck_assert_int_eq(wire_part_next(all, &at, &got), 1);
	assert_str(got.topic, "t1");
	ck_assert_int_eq(got.partition, -1);
	ck_assert_uint_eq(got.key.n, 1);
	ck_assert_mem_eq(got.key.p, "", 1);
	ck_assert_mem_eq(got.headers.p, headers, got.headers.n);
	assert_str(got.value, "vvv");
	ck_assert_int_eq(wire_part_next(all, &at, &got), 1);
	ck_assert_int_eq(got.partition, 7);
	ck_assert_ptr_null(got.key.p);
	ck_assert_ptr_null(got.value.p);
	ck_assert_int_eq(wire_part_next(all, &at, &got), 1);
	ck_assert_ptr_nonnull(got.key.p);
	ck_assert_ptr_nonnull(got.value.p);
	ck_assert_uint_eq(got.key.n + got.value.n, 0);
	ck_assert_int_eq(wire_part_next(all, &at, &got), 0);
	ck_assert_uint_eq(at, n);
}
END_TEST

/* Would lose: the daemon, to a body that points past its end; or bytes that nobody claims. */
START_TEST(messages_that_cannot_be_are_refused)
{
	uint8_t body[64];
	struct wire_part part = { .topic = WIRE_STR("t"),
				  .key = WIRE_STR("kk"),
				  .headers = WIRE_STR("hhh"),
				  .value = WIRE_STR("v") };
	struct wire_part got;
	size_t n = wire_part_size(&part), at;

	wire_part_put(&part, body);
	for (size_t cut = 1; cut < n; cut++) {
		at = 0;
		ck_assert_int_eq(wire_part_next((struct wire_str){ (char *)body, cut }, &at, &got),
				 WIRE_E_MALFORMED);
	}
	static const struct {
		size_t offset;
		uint8_t value;
	} bad[] = {
		{ 3, 13 }, /* shorter than its own head */
		{ 3, 19 }, /* than its fields */
		{ 4, 7 },  /* a flag that is none */
		{ 4, 2 },  /* a key of two bytes that is none */
		{ 4, 1 },  /* a value of one byte that is none */
		{ 5, 9 },  { 6, 1 }, { 8, 1 },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		wire_part_put(&part, body);
		body[bad[i].offset] = bad[i].value;
		at = 0;
		ck_assert_msg(wire_part_next((struct wire_str){ (char *)body, n }, &at, &got) ==
				      WIRE_E_MALFORMED,
			      "%zu", i);
	}
}
END_TEST

START_TEST(the_fields_of_a_half_send_are_read_and_written)
{
	struct wire_half h = { .group = WIRE_STR("g"),
			       .key = WIRE_STR("k"),
			       .db_id = WIRE_STR("0102"),
			       .born_ms = 12345678901234,
			       .check_after_s = 60 };
	struct wire_half got;
	struct wire_command c;
	char text[WIRE_HALF_TEXT];

	wire_command_init(&c, WIRE_BINARY, WIRE_HALF_SEND);
	wire_half_fields(&h, &c, text);
	ck_assert_uint_eq(c.field_count, 5);
	ck_assert_int_eq(wire_half_decode(&c, &got), 0);
	assert_str(got.group, "g");
	assert_str(got.key, "k");
	assert_str(got.db_id, "0102");
	ck_assert_int_eq(got.born_ms, 12345678901234);
	ck_assert_int_eq(got.check_after_s, 60);
	wire_add(&c, WIRE_STR("checkAfter"), WIRE_STR("-1"));
	ck_assert_int_eq(wire_half_decode(&c, &got), WIRE_E_MALFORMED);
	wire_command_init(&c, WIRE_BINARY, WIRE_HALF_SEND);
	wire_add(&c, WIRE_STR("key"), WIRE_STR("k"));
	ck_assert_int_eq(wire_half_decode(&c, &got), WIRE_E_MALFORMED);
}
END_TEST

UNIT("wire", messages_of_a_half_send_carry_any_bytes, messages_that_cannot_be_are_refused,
     the_fields_of_a_half_send_are_read_and_written,
     the_binary_route_request_of_a_java_client_is_read_and_written,
     a_check_reaches_the_client_in_the_bytes_it_knows,
     a_check_of_an_ipv6_message_keeps_flags_and_addresses_together,
     the_offset_comes_back_out_of_the_message_id, the_crc_is_that_of_java,
     a_json_header_is_read_as_each_client_writes_it, escapes_are_undone,
     what_is_no_json_header_is_refused, one_peer_cannot_grow_the_fields,
     our_json_is_compact_and_escaped, a_frame_is_found_whatever_the_pieces_it_arrives_in,
     lengths_that_cannot_be_are_refused_at_the_eighth_byte,
     negative_lengths_in_a_binary_header_are_refused, a_header_cut_anywhere_is_refused,
     noise_is_refused_or_read_the_same_twice, a_send_is_the_same_in_both_spellings,
     a_decision_is_read_and_what_is_odd_counts_as_unknown, numbers_are_whole_or_nothing,
     a_heartbeat_names_its_groups, properties_are_stepped_through);
