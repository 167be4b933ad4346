/*
 * utf8.h -- is it UTF-8?
 *
 * Asked of everything that people will read again: configuration, log values, names.
 */
#ifndef UTF8_H
#define UTF8_H

#include "base.h"

/* Bytes of the character that S begins with; 0: S is empty or begins with something else. */
static inline size_t
utf8_length(struct str s)
{
	const uint8_t *b = (const uint8_t *)s.p;
	size_t n;

	if (s.n == 0)
		return 0;
	n = b[0] < 0x80 ? 1 : b[0] >> 5 == 6 ? 2 : b[0] >> 4 == 14 ? 3 : b[0] >> 3 == 30 ? 4 : 0;
	if (n == 0 || n > s.n)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if (b[i] >> 6 != 2)
			return 0;
	}
	/* Overlong forms, surrogates, beyond U+10FFFF. */
	if ((n == 2 && b[0] < 0xc2) || (n == 3 && b[0] == 0xe0 && b[1] < 0xa0) ||
	    (n == 3 && b[0] == 0xed && b[1] > 0x9f) || (n == 4 && b[0] == 0xf0 && b[1] < 0x90) ||
	    (n == 4 && (b[0] > 0xf4 || (b[0] == 0xf4 && b[1] > 0x8f))))
		return 0;
	return n;
}

#endif /* UTF8_H */
