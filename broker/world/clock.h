/*
 * clock.h -- time, as a seam.  (Interface only.)
 *
 * Two clocks, never mixed: every deadline is monotonic; wall time makes gids, record
 * stamps and what people read, and may jump.  Read once a turn, by loop.c alone.
 * clock_real.c reads the system; tests/sim/clock_sim.c is told.
 */
#ifndef CLOCK_H
#define CLOCK_H

#include <stdint.h>

struct clock;

struct clock_ops {
	int64_t (*mono_ns)(struct clock *c);
	uint64_t (*wall_ms)(struct clock *c); /* since 1970, 0 before it; at most GID_MS_MAX */
};

struct clock {
	const struct clock_ops *ops; /* first member of every implementation */
};

struct clock *clock_real(void); /* one for the process; never freed */

#endif /* CLOCK_H */
