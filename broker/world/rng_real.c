/*
 * rng_real.c -- random words from the kernel.
 *
 * Fetched a page at a time: a system call for each half-send would cost more than all
 * the rest of its decision.  Words are wiped as they are given out.
 */
#include "world/rng.h"

#include "base/base.h"

#include <errno.h>
#include <sys/random.h>

#define WORDS 256

struct rng_real {
	struct rng rng;
	uint32_t left;
	uint64_t words[WORDS];
};

static void
refill(struct rng_real *r)
{
	char *p = (char *)r->words;
	size_t want = sizeof(r->words);

	while (want > 0) {
		ssize_t n = getrandom(p, want, 0);

		/* Guessable check values would let strangers decide: no substitute will do. */
		CHECK(n > 0 || errno == EINTR, errno);
		if (n > 0) {
			p += n;
			want -= (size_t)n;
		}
	}
	r->left = WORDS;
}

static uint64_t
real_next(struct rng *rng)
{
	struct rng_real *r = CONTAINER_OF(rng, struct rng_real, rng);
	uint64_t v;

	if (r->left == 0)
		refill(r);
	r->left--;
	v = r->words[r->left];
	r->words[r->left] = 0;
	return v;
}

struct rng *
rng_real(void)
{
	static const struct rng_ops ops = { .next = real_next };
	static struct rng_real real = { .rng = { .ops = &ops } };

	return &real.rng;
}
