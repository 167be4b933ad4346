/*
 * limits.c -- the defaults of conf/escrowd.conf, in one place.
 */
#include "core/limits.h"

#include "base/base.h"

void
core_conf_default(struct core_conf *ret_conf)
{
	*ret_conf = (struct core_conf){
		.shard = 0,
		.policy = {
			.immunity_ns = 6 * NS_PER_S,
			.interval_ns = 30 * NS_PER_S,
			.interval_max_ns = 600 * NS_PER_S,
			.parked_ns = 3600 * NS_PER_S,
			.backoff_percent = 150,
			.checks_max = 15,
		},
		.check_rate = 50000,
		.check_outstanding = 500,
		.check_timeout_ns = 30 * NS_PER_S,
		.topic_timeout_ns = 2 * NS_PER_S, /* below a client's send timeout of 3 s */
		.idempotency_window_ms = 60 * 1000,
		.history_retention_ms = UINT64_C(24) * 3600 * 1000,
		.audit_retention_ms = UINT64_C(90) * 24 * 3600 * 1000,
		.message_bytes = 4u << 20,
		.undecided_max = 20 * 1000 * 1000,
		.group_undecided = UINT64_MAX,
		.group_bytes = UINT64_MAX,
		.keys_bytes = UINT64_C(1) << 30,
		.deferred_bytes = UINT64_C(64) << 20,
		.lane_window = 1024,
		.lane_window_bytes = UINT64_C(64) << 20,
		.lane_backoff_ns = 100 * NS_PER_MS,
		.lane_backoff_max_ns = 30 * NS_PER_S,
	};
}
