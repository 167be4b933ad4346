/*
 * clock_sim.c -- time that moves when told, randomness that repeats.
 */
#include "sim/clock_sim.h"

#include "base/base.h"
#include "base/hash.h"

static int64_t
sim_mono_ns(struct clock *c)
{
	return CONTAINER_OF(c, struct clock_sim, clock)->now_ns;
}

static uint64_t
sim_wall_ms(struct clock *c)
{
	const struct clock_sim *s = CONTAINER_OF(c, struct clock_sim, clock);
	int64_t wall_ms = s->now_ns / NS_PER_MS + s->wall_offset_ms;

	return wall_ms < 0 ? 0 : (uint64_t)wall_ms;
}

static const struct clock_ops clock_sim_ops = { sim_mono_ns, sim_wall_ms };

void
clock_sim_init(struct clock_sim *c, int64_t now_ns, int64_t wall_ms)
{
	c->clock.ops = &clock_sim_ops;
	c->now_ns = now_ns;
	c->wall_offset_ms = wall_ms - now_ns / NS_PER_MS;
}

static uint64_t
sim_rng_next(struct rng *r)
{
	return rng_sim_next(CONTAINER_OF(r, struct rng_sim, rng));
}

static const struct rng_ops rng_sim_ops = { sim_rng_next };

void
rng_sim_init(struct rng_sim *r, uint64_t seed)
{
	r->rng.ops = &rng_sim_ops;
	r->state = hash_u64(seed);
}

/* The one thing here that all worlds of a process share: a fuzzer has one at a time. */
static struct {
	const uint8_t *bytes;
	size_t left;
} feed;

void
rng_sim_feed(const uint8_t *bytes, size_t n)
{
	feed.bytes = bytes;
	feed.left = n;
}

/* Two bytes of the feed; false when it is empty. */
static bool
fed(uint64_t *ret_word)
{
	if (feed.left < 2)
		return false;
	*ret_word = (uint64_t)feed.bytes[0] | (uint64_t)feed.bytes[1] << 8;
	feed.bytes += 2;
	feed.left -= 2;
	return true;
}

uint64_t
rng_sim_next(struct rng_sim *r)
{
	uint64_t word;

	if (fed(&word))
		return word;
	r->state += UINT64_C(0x9e3779b97f4a7c15);
	return hash_u64(r->state);
}

uint64_t
rng_sim_below(struct rng_sim *r, uint64_t n)
{
	uint64_t word;

	CHECK(n > 0, n);
	if (n > UINT16_MAX && fed(&word)) /* two bytes reach all of it, in steps */
		return (uint64_t)((unsigned __int128)word * n >> 16);
	return rng_sim_next(r) % n; /* the bias is far below what a fault rate needs */
}

bool
rng_sim_chance(struct rng_sim *r, uint32_t permille)
{
	return permille && rng_sim_below(r, 1000) < permille;
}
