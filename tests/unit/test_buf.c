/*
 * test_buf.c -- every frame and record is put together in a buffer: a lost or doubled byte
 * here is a damaged message there.
 */
#include "base/base.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "unit.h"

START_TEST(holds_what_was_added_however_it_grew)
{
	struct buf b = BUF_INIT;
	size_t at = 0;

	for (unsigned i = 0; i < 2000; i++) {
		char piece[64];

		memset(piece, (int)(i & 0x7f), sizeof(piece));
		buf_add(&b, piece, i % 64);
	}
	for (unsigned i = 0; i < 2000; i++) {
		for (unsigned j = 0; j < i % 64; j++)
			ck_assert_int_eq(b.data[at++], (char)(i & 0x7f));
	}
	ck_assert_uint_eq(at, b.len);
	ck_assert_uint_le(b.len, b.cap);
	buf_free(&b);
	ck_assert_ptr_null(b.data);
	buf_free(&b);
}
END_TEST

START_TEST(numbers_have_their_byte_order)
{
	static const uint8_t want[] = {
		0xab,                               /* u8 */
		0x04, 0x03, 0x02, 0x01,             /* le32 */
		8,    7,    6,    5,    4, 3, 2, 1, /* le64 */
		0xac, 0x02,                         /* varint 300 */
	};
	struct buf b = BUF_INIT;

	buf_u8(&b, 0xab);
	buf_le32(&b, 0x01020304);
	buf_le64(&b, UINT64_C(0x0102030405060708));
	buf_varint(&b, 300);
	ck_assert_uint_eq(b.len, sizeof(want));
	ck_assert_mem_eq(b.data, want, sizeof(want));
	buf_free(&b);
}
END_TEST

START_TEST(printf_appends_and_leaves_no_nul)
{
	struct buf b = BUF_INIT;
	char expected[6100];
	size_t n = 0;

	for (int i = 0; i < 1000; i++) {
		buf_printf(&b, "%d,", i);
		n += (size_t)snprintf(expected + n, sizeof(expected) - n, "%d,", i);
	}
	ck_assert(str_eq(buf_as_str(&b), str_from(expected, n)));
	buf_free(&b);
}
END_TEST

START_TEST(drop_keeps_the_rest)
{
	struct buf b = BUF_INIT;

	buf_str(&b, STR("headbody"));
	buf_drop(&b, 4);
	ck_assert(str_eq(buf_as_str(&b), STR("body")));
	buf_drop(&b, 0);
	ck_assert(str_eq(buf_as_str(&b), STR("body")));
	buf_drop(&b, 4);
	ck_assert_uint_eq(b.len, 0);
	buf_free(&b);
	buf_drop(&b, 0);
}
END_TEST

START_TEST(reset_gives_back_what_is_large)
{
	struct buf b = BUF_INIT;

	buf_reserve(&b, 1000);
	buf_reset(&b, 4096);
	ck_assert_ptr_nonnull(b.data);
	buf_reserve(&b, 100000);
	buf_str(&b, STR("x"));
	buf_reset(&b, 4096);
	ck_assert_ptr_null(b.data);
	ck_assert_uint_eq(b.len, 0);
	buf_free(&b);
}
END_TEST

UNIT("buf", holds_what_was_added_however_it_grew, numbers_have_their_byte_order,
     printf_appends_and_leaves_no_nul, drop_keeps_the_rest, reset_gives_back_what_is_large);
