/*
 * Ids and headers.  An id that reads back as another would commit a stranger's transaction;
 * a header lost on the way is a header the consumer never sees.
 */

#include "base/buf.h"
#include "base/err.h"
#include "core/message.h"
#include "unit.h"

START_TEST(a_gid_is_written_and_read_back)
{
	struct gid g = gid_make(UINT64_C(0x0123456789ab), 0xcdef, UINT64_C(0x7fffffffffffffff));
	struct gid back;
	char text[GID_TEXT];
	uint8_t bytes[16];

	gid_format(g, text);
	ck_assert_str_eq(text, "0123456789abcdef7fffffffffffffff");
	ck_assert_int_eq(gid_parse(str_of(text), &back), 0);
	ck_assert(gid_eq(g, back));
	ck_assert_int_eq(gid_parse(STR("0123456789ABCDEF7FFFFFFFFFFFFFFF"), &back), 0);
	ck_assert(gid_eq(g, back));
	gid_bytes(g, bytes);
	ck_assert_uint_eq(bytes[0], 0x01);
	ck_assert_uint_eq(bytes[7], 0xef);
	ck_assert_uint_eq(bytes[8], 0x7f);
	ck_assert_uint_eq(gid_ms(g), UINT64_C(0x0123456789ab));
}
END_TEST

START_TEST(what_is_no_gid_is_refused)
{
	struct gid g;

	ck_assert_int_eq(gid_parse(STR(""), &g), ERR_MALFORMED);
	ck_assert_int_eq(gid_parse(STR("0123456789abcdef7ffffffffffffff"), &g), ERR_MALFORMED);
	ck_assert_int_eq(gid_parse(STR("0123456789abcdef7fffffffffffffff0"), &g), ERR_MALFORMED);
	ck_assert_int_eq(gid_parse(STR("0123456789abcdeg7fffffffffffffff"), &g), ERR_MALFORMED);
}
END_TEST

START_TEST(headers_keep_order_repeats_nulls_and_emptiness)
{
	struct buf b = BUF_INIT;
	struct headers h;
	struct header header;
	size_t at = 0;

	headers_add(&b, STR("a"), STR("1"));
	headers_add(&b, STR("a"), STR("2"));
	headers_add(&b, STR("null"), STR_NONE);
	headers_add(&b, STR(""), STR(""));
	h.bytes = buf_as_str(&b);
	ck_assert_int_eq(headers_count(h), 4);
	ck_assert(headers_next(h, &at, &header));
	ck_assert(str_eq(header.name, STR("a")) && str_eq(header.value, STR("1")));
	ck_assert(headers_next(h, &at, &header));
	ck_assert(str_eq(header.value, STR("2")));
	ck_assert(headers_next(h, &at, &header));
	ck_assert_ptr_null(header.value.p);
	ck_assert(headers_next(h, &at, &header));
	ck_assert_ptr_nonnull(header.value.p);
	ck_assert_uint_eq(header.value.n, 0);
	ck_assert(!headers_next(h, &at, &header));
	buf_free(&b);
}
END_TEST

/* Every cut of a good block is either malformed or a whole number of headers. */
START_TEST(a_cut_block_is_malformed)
{
	struct buf b = BUF_INIT;

	headers_add(&b, STR("name"), STR("value"));
	for (size_t n = 1; n < b.len; n++) {
		struct headers h = { str_from(b.data, n) };
		struct header header;
		size_t at = 0;

		ck_assert_int_eq(headers_count(h), -1);
		ck_assert(!headers_next(h, &at, &header));
	}
	ck_assert_int_eq(headers_count((struct headers){ STR_NONE }), 0);
	buf_free(&b);
}
END_TEST

UNIT("message", a_gid_is_written_and_read_back, what_is_no_gid_is_refused,
     headers_keep_order_repeats_nulls_and_emptiness, a_cut_block_is_malformed);
