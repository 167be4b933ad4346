/*
 * test_mapping.c -- what consumers see of a half message, byte for byte.
 */
#include <zlib.h>

#include "base/err.h"
#include "core/message.h"
#include "relay/mapping.h"
#include "unit/unit.h"

static const uint8_t journal_id[16] = { 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
					0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff };

struct given {
	struct half half;
	struct message message[3];
	struct publication publication;
	struct buf headers;
};

static void
given(struct given *g)
{
	memset(g, 0, sizeof(*g));
	g->message[0] = (struct message){ .topic = STR("orders"), .value = STR("body") };
	g->message[2] = g->message[1] = g->message[0];
	g->half = (struct half){ .gid = gid_make(0x0123456789ab, 0xcdef, 0x42),
				 .group = STR("shop"),
				 .count = 1,
				 .messages = g->message };
	g->publication = (struct publication){ .half = &g->half,
					       .partition = 5,
					       .n = 17,
					       .ms = 1234567890123,
					       .journal_id = journal_id };
}

/* Headers as text: name=value, null as name!, with | between. */
static const char *
text(const struct sink_record *r)
{
	static char out[4096];
	size_t n = 0;

	out[0] = '\0';
	for (uint32_t i = 0; i < r->header_count; i++) {
		const struct sink_header *h = &r->headers[i];

		n += (size_t)snprintf(out + n, sizeof(out) - n, "%s%.*s%s%.*s", i ? "|" : "",
				      STR_ARG(h->name), h->value.p ? "=" : "!", STR_ARG(h->value));
	}
	return out;
}

/* Would lose: the dedup key, and every consumer's duplicates with it. */
START_TEST(a_record_carries_our_headers)
{
	struct mapping *m = mapping_new();
	struct sink_record r;
	struct given g;

	given(&g);
	ck_assert_int_eq(mapping_record(m, &g.publication, &r), 0);
	ck_assert(str_eq(r.topic, STR("orders")));
	ck_assert_int_eq(r.partition, 5);
	ck_assert_uint_eq(r.timestamp_ms, 1234567890123);
	ck_assert(str_eq(r.value, STR("body")));
	ck_assert_ptr_null(r.key.p);
	ck_assert_str_eq(text(&r), "escrow-id=0123456789abcdef0000000000000042-0|escrow-group=shop|"
				   "escrow-seq=00112233445566778899aabbccddeeff:17");
	mapping_free(m);
}
END_TEST

/* Would lose: traces, content types, and whatever else the producer told its consumers. */
START_TEST(the_users_headers_come_first_and_untouched)
{
	struct mapping *m = mapping_new();
	struct sink_record r;
	struct given g;

	given(&g);
	g.half.key = STR("7F0001");
	headers_add(&g.headers, STR("traceparent"), STR("00-a-b-01"));
	headers_add(&g.headers, STR("x"), STR("1"));
	headers_add(&g.headers, STR("x"), STR("2"));
	headers_add(&g.headers, STR("nothing"), STR_NONE);
	headers_add(&g.headers, STR("empty"), STR(""));
	g.message[0].headers.bytes = buf_as_str(&g.headers);
	ck_assert_int_eq(mapping_record(m, &g.publication, &r), 0);
	ck_assert_str_eq(text(&r), "traceparent=00-a-b-01|x=1|x=2|nothing!|empty=|UNIQ_KEY=7F0001|"
				   "escrow-id=0123456789abcdef0000000000000042-0|escrow-group=shop|"
				   "escrow-seq=00112233445566778899aabbccddeeff:17");
	buf_free(&g.headers);
	mapping_free(m);
}
END_TEST

/* Would lose: one of two messages of a transaction, taken for the other's duplicate. */
START_TEST(each_message_of_a_transaction_has_its_own_id)
{
	struct mapping *m = mapping_new();
	struct sink_record r;
	struct given g;

	given(&g);
	g.half.count = 3;
	g.message[2].key = STR("");
	g.publication.index = 2;
	g.publication.n = UINT64_MAX;
	ck_assert_int_eq(mapping_record(m, &g.publication, &r), 0);
	ck_assert_str_eq(text(&r),
			 "escrow-id=0123456789abcdef0000000000000042-2|escrow-group=shop|"
			 "escrow-seq=00112233445566778899aabbccddeeff:18446744073709551615|"
			 "escrow-txn-size=3");
	/* Empty is a key; none is not. */
	ck_assert_ptr_nonnull(r.key.p);
	ck_assert_uint_eq(r.key.n, 0);
	mapping_free(m);
}
END_TEST

/* Would lose: the difference between two journals' numbers. */
START_TEST(the_journals_id_is_told_anew)
{
	static const uint8_t other[16] = { 0xff };
	struct mapping *m = mapping_new();
	struct sink_record r;
	struct given g;

	given(&g);
	for (int i = 0; i < 3; i++) {
		g.publication.journal_id = i == 1 ? other : journal_id;
		ck_assert_int_eq(mapping_record(m, &g.publication, &r), 0);
		ck_assert_ptr_nonnull(
			strstr(text(&r), i == 1 ? "seq=ff000000000000000000000000000000:17"
						: "seq=00112233445566778899aabbccddeeff:17"));
	}
	/* A journal whose id is all zeroes is as good as any. */
	mapping_free(m);
	m = mapping_new();
	g.publication.journal_id = (const uint8_t[16]){ 0 };
	ck_assert_int_eq(mapping_record(m, &g.publication, &r), 0);
	ck_assert_ptr_nonnull(strstr(text(&r), "seq=00000000000000000000000000000000:17"));
	mapping_free(m);
}
END_TEST

/* Would lose: readable values, for consumers that know nothing of RocketMQ's compression. */
START_TEST(a_compressed_body_is_published_plain)
{
	struct mapping *m = mapping_new();
	uint8_t packed[256];
	uLongf n = sizeof(packed);
	struct sink_record r;
	struct given g;

	given(&g);
	ck_assert_int_eq(compress(packed, &n, (const Bytef *)"hello hello hello", 17), Z_OK);
	g.message[0].value = str_from(packed, n);
	g.message[0].codec = CODEC_ZLIB;
	g.message[0].plain_bytes = 17;
	ck_assert_int_eq(mapping_record(m, &g.publication, &r), 0);
	ck_assert(str_eq(r.value, STR("hello hello hello")));
	/* Again, with the same memory. */
	ck_assert_int_eq(mapping_record(m, &g.publication, &r), 0);
	ck_assert(str_eq(r.value, STR("hello hello hello")));
	/* What would be larger than was promised is not published. */
	g.message[0].plain_bytes = 16;
	ck_assert_int_eq(mapping_record(m, &g.publication, &r), ERR_TOOBIG);
	g.message[0].value = STR("not zlib");
	ck_assert_int_eq(mapping_record(m, &g.publication, &r), ERR_MALFORMED);
	/* Nothing compressed stays nothing, empty stays empty. */
	g.message[0].value = STR_NONE;
	g.message[0].plain_bytes = 0;
	ck_assert_int_eq(mapping_record(m, &g.publication, &r), 0);
	ck_assert_ptr_null(r.value.p);
	n = sizeof(packed);
	ck_assert_int_eq(compress(packed, &n, (const Bytef *)"", 0), Z_OK);
	g.message[0].value = str_from(packed, n);
	ck_assert_int_eq(mapping_record(m, &g.publication, &r), 0);
	ck_assert_ptr_nonnull(r.value.p);
	ck_assert_uint_eq(r.value.n, 0);
	mapping_free(m);
}
END_TEST

/* Would lose: headers, silently, if damaged bytes were taken for their end. */
START_TEST(damaged_headers_are_refused)
{
	struct mapping *m = mapping_new();
	struct sink_record r;
	struct given g;

	given(&g);
	headers_add(&g.headers, STR("a"), STR("1"));
	headers_add(&g.headers, STR("b"), STR("2"));
	for (size_t n = 0; n <= g.headers.len; n++) {
		g.message[0].headers.bytes = str_from(g.headers.data, n);
		ck_assert_int_eq(mapping_record(m, &g.publication, &r),
				 n == 0 || n == g.headers.len / 2 || n == g.headers.len
					 ? 0
					 : ERR_MALFORMED);
	}
	buf_free(&g.headers);
	mapping_free(m);
}
END_TEST

/* Would lose: a header, or the process, to the growing of the array. */
START_TEST(a_thousand_headers_fit)
{
	struct mapping *m = mapping_new();
	struct sink_record r;
	struct given g;
	char name[16];

	given(&g);
	for (uint32_t want = 0; want < 1024; want += 93) {
		buf_reset(&g.headers, SIZE_MAX);
		for (uint32_t i = 0; i < want; i++) {
			snprintf(name, sizeof(name), "h%u", i);
			headers_add(&g.headers, str_of(name), str_of(name));
		}
		g.message[0].headers.bytes = buf_as_str(&g.headers);
		ck_assert_int_eq(mapping_record(m, &g.publication, &r), 0);
		ck_assert_uint_eq(r.header_count, want + 3);
		for (uint32_t i = 0; i < want; i++) {
			snprintf(name, sizeof(name), "h%u", i);
			ck_assert(str_eq(r.headers[i].name, str_of(name)));
		}
		ck_assert(str_eq(r.headers[want].name, STR("escrow-id")));
	}
	buf_free(&g.headers);
	mapping_free(m);
}
END_TEST

UNIT("mapping", a_record_carries_our_headers, the_users_headers_come_first_and_untouched,
     each_message_of_a_transaction_has_its_own_id, the_journals_id_is_told_anew,
     a_compressed_body_is_published_plain, damaged_headers_are_refused, a_thousand_headers_fit);
