/*
 * test_crc.c -- a wrong checksum would make a good journal look damaged after an upgrade of the
 * processor or the compiler, and the daemon would refuse to start.
 */
#include "base/base.h"
#include "base/crc.h"
#include "base/hash.h"
#include "unit.h"

START_TEST(agrees_with_the_standard)
{
	uint8_t bytes[32];

	/* RFC 3720, appendix B.4. */
	memset(bytes, 0, sizeof(bytes));
	ck_assert_uint_eq(crc32c(0, bytes, 32), 0x8a9136aau);
	memset(bytes, 0xff, sizeof(bytes));
	ck_assert_uint_eq(crc32c(0, bytes, 32), 0x62a8ab43u);
	for (unsigned i = 0; i < 32; i++)
		bytes[i] = (uint8_t)i;
	ck_assert_uint_eq(crc32c(0, bytes, 32), 0x46dd794eu);
	ck_assert_uint_eq(crc32c(0, "123456789", 9), 0xe3069283u);
	ck_assert_uint_eq(crc32c(0, NULL, 0), 0);
}
END_TEST

/*
 * Up to 3072 bytes three streams of every length are put together, beyond that several blocks of
 * three; and the rest behind them has every length up to 23.
 */
START_TEST(instruction_and_table_agree)
{
	size_t max = 20000;
	uint8_t *bytes = mem_alloc(max + 8);

	for (size_t i = 0; i < max + 8; i++)
		bytes[i] = (uint8_t)hash_u64(i);
	for (size_t n = 0; n <= max; n += n < 3200 ? 1 : 97) {
		size_t skew = n % 8;

		ck_assert_uint_eq(crc32c(7, bytes + skew, n), crc32c_table(7, bytes + skew, n));
	}
	mem_free(bytes);
}
END_TEST

START_TEST(any_split_gives_the_same)
{
	uint8_t bytes[4000];
	uint32_t whole;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)hash_u64(i);
	whole = crc32c(0, bytes, sizeof(bytes));
	for (size_t at = 0; at <= sizeof(bytes); at += 61)
		ck_assert_uint_eq(crc32c(crc32c(0, bytes, at), bytes + at, sizeof(bytes) - at),
				  whole);
}
END_TEST

START_TEST(one_flipped_bit_is_seen)
{
	uint8_t bytes[3200] = { 1 };
	uint32_t whole = crc32c(0, bytes, sizeof(bytes));

	for (size_t bit = 0; bit < sizeof(bytes) * 8; bit += 7) {
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		ck_assert_uint_ne(crc32c(0, bytes, sizeof(bytes)), whole);
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}
END_TEST

UNIT("crc", agrees_with_the_standard, instruction_and_table_agree, any_split_gives_the_same,
     one_flipped_bit_is_seen);
