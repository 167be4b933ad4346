/*
 * core_world.h -- what the stories of the core share: one fake world, and a Kafka that reports.
 */
#ifndef CORE_WORLD_H
#define CORE_WORLD_H

#include "fake_ports.h"
#include "unit.h"

static struct fake f;

static inline void
open_with_topic(void)
{
	fake_open(&f);
	fake_topic(&f, "t", 1);
}

static uint32_t reported; /* publications */

/* Kafka takes the first N publications that were not reported yet. */
static inline void
ack(uint32_t n)
{
	core_clock(f.core, f.now_ns, f.wall_ms);
	while (n-- > 0) {
		ck_assert_uint_lt(reported, f.publish_count);
		core_report(f.core, f.published[reported++].token, REPORT_ACKED, 5, 0);
	}
}

/* And does not take the next one. */
static inline void
refuse(enum report report)
{
	core_clock(f.core, f.now_ns, f.wall_ms);
	ck_assert_uint_lt(reported, f.publish_count);
	core_report(f.core, f.published[reported++].token, report, -1, 10);
}

#endif /* CORE_WORLD_H */
