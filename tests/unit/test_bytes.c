/*
 * test_bytes.c -- the cursor stands between the daemon and every hostile byte: one read behind the
 * end, and a stranger reads or ends the process.
 */
#include "base/base.h"
#include "base/bytes.h"
#include "unit.h"

START_TEST(numbers_come_back)
{
	uint8_t b[8];

	le_put16(b, 0x0102);
	ck_assert_uint_eq(b[0], 2);
	ck_assert_uint_eq(le_get16(b), 0x0102);
	ck_assert_uint_eq(be_get16(b), 0x0201);
	be_put32(b, 0x01020304);
	ck_assert_uint_eq(b[0], 1);
	ck_assert_uint_eq(be_get32(b), 0x01020304);
	be_put64(b, UINT64_C(0x0102030405060708));
	ck_assert_uint_eq(b[7], 8);
	ck_assert_uint_eq(be_get64(b), UINT64_C(0x0102030405060708));
	le_put64(b, UINT64_C(0x0102030405060708));
	ck_assert_uint_eq(le_get64(b), UINT64_C(0x0102030405060708));
}
END_TEST

START_TEST(varints_come_back_at_every_width)
{
	for (unsigned shift = 0; shift < 64; shift++) {
		for (int off = -1; off <= 1; off++) {
			uint64_t v = (UINT64_C(1) << shift) + (uint64_t)(int64_t)off;
			uint8_t b[VARINT_MAX];
			struct cursor c = { b, b + varint_put(b, v), false };

			ck_assert_uint_eq(cursor_varint(&c), v);
			ck_assert(!c.bad);
			ck_assert_uint_eq(cursor_left(&c), 0);
		}
	}
}
END_TEST

START_TEST(varints_that_are_too_long_are_refused)
{
	static const char ten[] = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
	static const char over[] = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02";
	static const char eleven[] = "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00";
	static const char cut[] = "\x80\x80";
	struct cursor c = cursor_of(str_from(ten, 10));

	ck_assert_uint_eq(cursor_varint(&c), UINT64_MAX);
	ck_assert(!c.bad);
	c = cursor_of(str_from(over, 10));
	cursor_varint(&c);
	ck_assert(c.bad);
	c = cursor_of(str_from(eleven, 11));
	cursor_varint(&c);
	ck_assert(c.bad);
	c = cursor_of(str_from(cut, 2));
	ck_assert_uint_eq(cursor_varint(&c), 0);
	ck_assert(c.bad);
}
END_TEST

START_TEST(the_first_short_read_stays)
{
	struct cursor c = cursor_of(str_from("abcdef", 6));

	ck_assert_uint_eq(cursor_u8(&c), 'a');
	ck_assert_uint_eq(cursor_le64(&c), 0);
	ck_assert(c.bad);
	/* Five bytes are left, but whoever missed the failure must not get them. */
	ck_assert_uint_eq(cursor_u8(&c), 0);
	ck_assert_ptr_null(cursor_take(&c, 0));
	ck_assert_ptr_null(cursor_str(&c, 1).p);
	ck_assert(c.bad);
}
END_TEST

START_TEST(lengths_near_the_top_do_not_wrap)
{
	struct cursor c = cursor_of(str_from("abcdef", 6));

	ck_assert_ptr_null(cursor_take(&c, UINT64_MAX));
	ck_assert(c.bad);
	c = cursor_of(str_from("abcdef", 6));
	ck_assert_ptr_null(cursor_take(&c, UINT64_MAX - 5));
	ck_assert(c.bad);
	c = cursor_of(str_from("abcdef", 6));
	ck_assert(str_eq(cursor_str(&c, 6), STR("abcdef")));
	ck_assert_ptr_nonnull(cursor_take(&c, 0));
	ck_assert(!c.bad);
}
END_TEST

START_TEST(strings_compare_by_bytes)
{
	ck_assert(str_eq(STR_NONE, STR("")));
	ck_assert(!str_eq(STR("a"), STR("ab")));
	ck_assert(str_starts(STR("escrow-id"), STR("escrow-")));
	ck_assert(!str_starts(STR("escrow"), STR("escrow-")));
	ck_assert(str_starts(STR("x"), STR("")));
	ck_assert_uint_eq(str_of(NULL).n, 0);
}
END_TEST

UNIT("bytes", numbers_come_back, varints_come_back_at_every_width,
     varints_that_are_too_long_are_refused, the_first_short_read_stays,
     lengths_near_the_top_do_not_wrap, strings_compare_by_bytes);
