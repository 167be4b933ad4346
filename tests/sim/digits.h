/*
 * digits.h -- whole numbers as text, without printf: a world writes thousands of them.
 */
#ifndef DIGITS_H
#define DIGITS_H

#include "base/base.h"

#define DIGITS_MAX 21 /* with a sign, and the NUL */

/* PREFIX and V at TO, with a NUL; returns where that is. */
static inline char *
digits(char *to, const char *prefix, int64_t v)
{
	uint64_t rest = v < 0 ? -(uint64_t)v : (uint64_t)v;
	char text[DIGITS_MAX];
	char *p = text + sizeof(text);
	size_t n = strlen(prefix);

	do {
		*--p = (char)('0' + rest % 10);
		rest /= 10;
	} while (rest);
	if (v < 0)
		*--p = '-';
	memcpy(to, prefix, n);
	to += n;
	n = (size_t)(text + sizeof(text) - p);
	memcpy(to, p, n);
	to[n] = '\0';
	return to + n;
}

#endif /* DIGITS_H */
