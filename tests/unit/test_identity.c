/*
 * What a user would lose: two messages taken for one are a lost message, and one taken for two is
 * applied twice.
 */
#include <string.h>

#include "consumer/identity.h"
#include "unit.h"

#define GID     "0192f00000010000000000000000002a"
#define JOURNAL "000102030405060708090a0b0c0d0e0f"

static rd_kafka_headers_t *headers;
static struct identity id;
static const char *why;

static void
setup(void)
{
	headers = rd_kafka_headers_new(4);
}

static void
teardown(void)
{
	rd_kafka_headers_destroy(headers);
}

static void
add(const char *name, const char *value)
{
	rd_kafka_header_add(headers, name, -1, value, -1);
}

static bool
find(escrow_dedup by)
{
	return identity_find(headers, by, &id, &why);
}

START_TEST(ours_is_gid_and_ordinal)
{
	static const unsigned char want[18] = { 1, 0x92, 0xf0, 0, 0, 1, 0,    0, 0,
						0, 0,    0,    0, 0, 0, 0x2a, 1, 2 };

	add("id", "x");
	add("ce_id", "y");
	add("escrow-id", GID "-258");
	ck_assert(find(ESCROW_DEDUP_BY_ID));
	ck_assert_int_eq(id.claim.by, ESCROW_DEDUP_BY_ID);
	ck_assert_int_eq(id.claim.ours, 1);
	ck_assert_uint_eq(id.claim.id_len, 18);
	ck_assert_mem_eq(id.claim.id, want, 18);
}
END_TEST

START_TEST(by_seq_it_is_the_journal_and_the_number)
{
	add("escrow-id", GID "-0");
	add("escrow-seq", JOURNAL ":9223372036854775807");
	ck_assert(find(ESCROW_DEDUP_BY_SEQ));
	ck_assert_int_eq(id.claim.by, ESCROW_DEDUP_BY_SEQ);
	ck_assert_int_eq(id.claim.n, INT64_MAX);
	ck_assert_int_eq(id.claim.journal[15], 15);
	ck_assert(find(ESCROW_DEDUP_BY_ID));
	ck_assert_int_eq(id.claim.by, ESCROW_DEDUP_BY_ID);
}
END_TEST

START_TEST(by_seq_without_one_it_is_the_id)
{
	add("escrow-id", GID "-0");
	ck_assert(find(ESCROW_DEDUP_BY_SEQ));
	ck_assert_int_eq(id.claim.by, ESCROW_DEDUP_BY_ID);
}
END_TEST

START_TEST(foreign_ids_say_whose_they_are)
{
	add("id", "77");
	ck_assert(find(ESCROW_DEDUP_BY_ID));
	ck_assert_uint_eq(id.claim.id_len, 5);
	ck_assert_mem_eq(id.claim.id, "id:77", 5);
	ck_assert_int_eq(id.claim.ours, 0);
	add("ce_id", "78");
	ck_assert(find(ESCROW_DEDUP_BY_ID));
	ck_assert_mem_eq(id.claim.id, "ce_id:78", 8);
	/* Of a repeated name the last counts. */
	add("ce_id", "79");
	ck_assert(find(ESCROW_DEDUP_BY_ID));
	ck_assert_mem_eq(id.claim.id, "ce_id:79", 8);
}
END_TEST

START_TEST(none_is_none_and_malformed_says_so)
{
	static const char *const bad[] = { "",
					   GID,
					   GID "-",
					   GID "-x",
					   GID "-65536",
					   GID "-99999999999999999999",
					   GID ":1",
					   "0192f0000001000000000000000000-0",
					   "zz92f00000010000000000000000002a-0" };
	static const char *const worse[] = { JOURNAL, JOURNAL ":", JOURNAL ":0", JOURNAL ":-1",
					     JOURNAL ":9223372036854775808" };
	char text[300];

	ck_assert(!identity_find(NULL, ESCROW_DEDUP_BY_ID, &id, &why));
	ck_assert_ptr_null(why);
	ck_assert(!find(ESCROW_DEDUP_BY_SEQ));
	ck_assert_ptr_null(why);
	add("id", "a good one, which must not be taken instead");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		add("escrow-id", bad[i]);
		why = NULL;
		ck_assert_msg(!find(ESCROW_DEDUP_BY_ID), "%s", bad[i]);
		ck_assert_ptr_nonnull(why);
	}
	for (size_t i = 0; i < sizeof(worse) / sizeof(worse[0]); i++) {
		add("escrow-seq", worse[i]);
		ck_assert_msg(!find(ESCROW_DEDUP_BY_SEQ), "%s", worse[i]);
	}
	rd_kafka_header_remove(headers, "escrow-id");
	rd_kafka_header_remove(headers, "id");
	memset(text, 'x', sizeof(text));
	text[253] = '\0';
	add("id", text); /* with "id:" one byte too many */
	ck_assert(!find(ESCROW_DEDUP_BY_ID));
	add("id", text + 1);
	ck_assert(find(ESCROW_DEDUP_BY_ID));
	ck_assert_uint_eq(id.claim.id_len, 255);
}
END_TEST

START_TEST(a_number_counts_where_it_was_published_first)
{
	static const char *const malformed[] = {
		"",           "orders",      "orders/1",           "/1/2", "orders//2", "orders/1/",
		"orders/x/2", "orders/-1/2", "orders/4294967296/2"
	};

	add("escrow-seq", JOURNAL ":7");
	ck_assert(find(ESCROW_DEDUP_BY_SEQ));
	ck_assert_ptr_null(id.claim.topic); /* where it comes from now */
	add("escrow-dead-from", "orders/11/42");
	ck_assert(find(ESCROW_DEDUP_BY_SEQ));
	ck_assert_str_eq(id.claim.topic, "orders");
	ck_assert_int_eq(id.claim.partition, 11);
	ck_assert_int_eq(id.claim.n, 7);
	for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++) {
		add("escrow-dead-from", malformed[i]);
		ck_assert(!find(ESCROW_DEDUP_BY_SEQ));
		ck_assert_str_eq(why, "its escrow-dead-from is malformed");
	}
	/* By id it is the same wherever it comes from. */
	add("escrow-id", GID "-0");
	ck_assert(find(ESCROW_DEDUP_BY_ID));
	/* But not without what it said. */
	add("escrow-dead-without", "1048576");
	ck_assert(!find(ESCROW_DEDUP_BY_ID));
	ck_assert_str_eq(why, "it is a dead letter whose value was left out");
}
END_TEST

UNIT_WITH("identity", setup, teardown, ours_is_gid_and_ordinal,
	  by_seq_it_is_the_journal_and_the_number, by_seq_without_one_it_is_the_id,
	  foreign_ids_say_whose_they_are, none_is_none_and_malformed_says_so,
	  a_number_counts_where_it_was_published_first);
