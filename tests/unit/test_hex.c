/*
 * test_hex.c -- an id that is spelled wrong is not found again: not by its producer, not by the
 * consumer that drops what it has seen.
 */
#include "base/base.h"
#include "base/hex.h"
#include "unit.h"

START_TEST(spells_every_byte_at_every_place)
{
	for (unsigned v = 0; v < 256; v++) {
		for (size_t at = 0; at < 8; at++) {
			uint8_t bytes[8] = { 0 }, back[8] = { 0 };
			char text[17] = { 0 }, want[17] = "0000000000000000";

			bytes[at] = (uint8_t)v;
			snprintf(want + 2 * at, 3, "%02x", v);
			if (at < 7)
				want[2 * at + 2] = '0';
			hex_put(text, bytes, sizeof(bytes), HEX_LOWER);
			ck_assert_str_eq(text, want);
			ck_assert(hex_get(back, text, sizeof(back), HEX_LOWER));
			ck_assert_mem_eq(back, bytes, sizeof(bytes));
			snprintf(want + 2 * at, 3, "%02X", v);
			if (at < 7)
				want[2 * at + 2] = '0';
			hex_put(text, bytes, sizeof(bytes), HEX_UPPER);
			ck_assert_str_eq(text, want);
			ck_assert(hex_get(back, text, sizeof(back), HEX_UPPER));
			ck_assert_mem_eq(back, bytes, sizeof(bytes));
		}
	}
}
END_TEST

/* A key is kept as bytes only when it comes back letter for letter. */
START_TEST(takes_nothing_but_its_own_digits)
{
	for (unsigned c = 0; c < 256; c++) {
		for (size_t at = 0; at < 8; at++) {
			bool digit = c >= '0' && c <= '9';
			uint8_t back[4];
			char text[9] = "00000000";

			text[at] = (char)c;
			ck_assert(hex_get(back, text, 4, HEX_LOWER) ==
				  (digit || (c >= 'a' && c <= 'f')));
			ck_assert(hex_get(back, text, 4, HEX_UPPER) ==
				  (digit || (c >= 'A' && c <= 'F')));
		}
	}
}
END_TEST

UNIT("hex", spells_every_byte_at_every_place, takes_nothing_but_its_own_digits);
