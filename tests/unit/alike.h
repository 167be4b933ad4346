/*
 * alike.h -- two numbers that a map cannot tell apart by what its slots say.
 *
 * A map (base/map.h) keeps 27 bits of a hash and asks its caller to compare.  With ten million rows
 * there are many pairs that share them; with the few of a test there are none, unless looked for.
 */
#ifndef ALIKE_H
#define ALIKE_H

#include <check.h>
#include <stdlib.h>

#include "base/hash.h"

#define ALIKE_BITS  ((UINT64_C(1) << 27) - 1)
#define ALIKE_TRIES 60000u

struct alike {
	uint64_t bits;
	uint64_t number;
};

static inline int
alike_by_bits(const void *a, const void *b)
{
	const struct alike *x = a, *y = b;

	if (x->bits != y->bits)
		return x->bits < y->bits ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

/* Two numbers, ascending, STEP and more apart each, for which HASH agrees in those bits. */
static inline void
alike_find(uint64_t (*hash)(uint64_t number), uint64_t step, uint64_t ret[2])
{
	static struct alike all[ALIKE_TRIES];

	for (uint64_t i = 0; i < ALIKE_TRIES; i++) {
		all[i].number = 1000 + i * step;
		all[i].bits = hash(all[i].number) & ALIKE_BITS;
	}
	qsort(all, ALIKE_TRIES, sizeof(all[0]), alike_by_bits);
	for (uint64_t i = 1; i < ALIKE_TRIES; i++)
		if (all[i].bits == all[i - 1].bits) {
			ret[0] = all[i - 1].number;
			ret[1] = all[i].number;
			return;
		}
	ck_abort_msg("no two are alike");
}

#endif /* ALIKE_H */
