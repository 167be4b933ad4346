/*
 * clock_real.c -- the system's two clocks.
 */
#include "world/clock.h"

#include <time.h>

static int64_t
real_mono_ns(struct clock *c)
{
	struct timespec t;

	(void)c;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static uint64_t
real_wall_ms(struct clock *c)
{
	struct timespec t;

	(void)c;
	(void)clock_gettime(CLOCK_REALTIME, &t);
	/* A clock before 1970 is a clock that was never set; Linux lets none be set past 2262. */
	return t.tv_sec < 0 ? 0 : (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

struct clock *
clock_real(void)
{
	static const struct clock_ops ops = { .mono_ns = real_mono_ns, .wall_ms = real_wall_ms };
	static struct clock clock = { .ops = &ops };

	return &clock;
}
