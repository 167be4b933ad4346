/*
 * hex.h -- bytes to hex digits and back, eight digits at a time.
 *
 * Ids are bytes in the journal and digits everywhere else, so each message is spelled several
 * times on its way.  A word holds the digits of four bytes, first digit in its lowest byte.
 */
#ifndef HEX_H
#define HEX_H

#include "base/bytes.h"

#define HEX_EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

enum hex_case {
	HEX_LOWER = 'a' - '0' - 10,	/* a digit above 9 is so much further from '0' */
	HEX_UPPER = 'A' - '0' - 10,
};

/* Eight values of 0 to 15 as digits. */
static inline uint64_t
hex_digits(uint64_t values, enum hex_case letters)
{
	uint64_t above_9 = (values + HEX_EACH(6)) >> 4 & HEX_EACH(1);

	return values + HEX_EACH('0') + above_9 * (uint64_t)letters;
}

/* N bytes, a multiple of 4, as 2 N digits; no NUL. */
static inline void
hex_put(char *to, const void *bytes, size_t n, enum hex_case letters)
{
	const uint8_t *p = bytes;

	for (size_t i = 0; i < n; i += 4) {
		uint64_t v = le_get32(p + i);

		v = (v | v << 16) & UINT64_C(0x0000ffff0000ffff);
		v = (v | v << 8) & UINT64_C(0x00ff00ff00ff00ff);
		v = (v >> 4 | v << 8) & HEX_EACH(15);
		le_put64(to + 2 * i, hex_digits(v, letters));
	}
}

/* The N bytes, a multiple of 4, that hex_put() spells exactly so; false: there are none. */
static inline bool
hex_get(void *bytes, const char *from, size_t n, enum hex_case letters)
{
	uint8_t *p = bytes;

	for (size_t i = 0; i < n; i += 4) {
		uint64_t text = le_get64(from + 2 * i);
		uint64_t v = ((text & HEX_EACH(15)) + (text >> 6 & HEX_EACH(1)) * 9) & HEX_EACH(15);

		if (hex_digits(v, letters) != text)
			return false;
		v = (v << 4 | v >> 8) & UINT64_C(0x00ff00ff00ff00ff);
		v = (v | v >> 8) & UINT64_C(0x0000ffff0000ffff);
		le_put32(p + i, (uint32_t)(v | v >> 16));
	}
	return true;
}

#endif /* HEX_H */
