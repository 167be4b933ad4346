/*
 * clock_sim.h -- the clocks and random words of a simulated world.
 *
 * Monotonic time goes where it is told and never back; wall time is monotonic time plus
 * an offset that may jump anywhere; before 1970 it stands at 0, as the seam says.
 */
#ifndef CLOCK_SIM_H
#define CLOCK_SIM_H

#include <stdbool.h>
#include <stddef.h>

#include "world/clock.h"
#include "world/rng.h"

struct clock_sim {
	struct clock clock;
	int64_t now_ns;
	int64_t wall_offset_ms;
};

void clock_sim_init(struct clock_sim *c, int64_t now_ns, int64_t wall_ms);

/* splitmix64: tiny, and every stream of a seed is independent of the others. */
struct rng_sim {
	struct rng rng;
	uint64_t state;
};

void rng_sim_init(struct rng_sim *r, uint64_t seed);
uint64_t rng_sim_next(struct rng_sim *r);
/* Uniform in [0, n); n > 0. */
uint64_t rng_sim_below(struct rng_sim *r, uint64_t n);
/* True in PERMILLE of 1000 cases; draws nothing for 0. */
bool rng_sim_chance(struct rng_sim *r, uint32_t permille);

/*
 * From now on every stream draws two bytes of BYTES for a word, in the order of the draws, as long
 * as there are any; then its seed goes on.  They are borrowed until the next call; NULL: none.
 */
void rng_sim_feed(const uint8_t *bytes, size_t n);

#endif /* CLOCK_SIM_H */
