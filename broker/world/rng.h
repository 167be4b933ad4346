/*
 * rng.h -- random words, as a seam.  (Interface only.)
 *
 * rng_real.c takes them from getrandom(), which is what makes a check value unguessable;
 * the simulator's are a function of its seed.
 */
#ifndef RNG_H
#define RNG_H

#include <stdint.h>

struct rng;

struct rng_ops {
	uint64_t (*next)(struct rng *r);
};

struct rng {
	const struct rng_ops *ops; /* first member of every implementation */
};

struct rng *rng_real(void); /* one for the process; never freed */

#endif /* RNG_H */
