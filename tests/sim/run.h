/*
 * run.h -- one simulated life of the broker, from a seed.
 *
 *      producers -- net_sim --+             +-- sink_sim (Kafka) --> oracle
 *                             |             |
 *                             +-- loop.c ---+      the daemon's own objects, unchanged
 *                                   |
 *                               disk_sim
 *
 * Phases: faults (the classes that the seed drew), then healing: every fault off, producers answer
 * at once, and within a bounded virtual time everything must be decided and published; then a
 * clean restart must show the same.
 */
#ifndef RUN_H
#define RUN_H

#include "base/base.h"

/* Fault classes a seed may draw; each counts how often it took effect. */
#define FAULT_LIST(X)                                                                              \
	X(POWER_CUT, "power cut")                                                                  \
	X(KILL, "process killed")                                                                  \
	X(CRASH_IN_RECOVERY, "crash inside recovery")                                              \
	X(SYNC_EIO, "a sync fails")                                                                \
	X(WRITE_EIO, "a write fails")                                                              \
	X(ALLOCATE_FULL, "no space for a segment")                                                 \
	X(DISK_LATE, "reads and syncs end late, in any order")                                     \
	X(NET_CUT, "connections reset or vanish")                                                  \
	X(NET_SLOW, "fragments, stalls, full sockets")                                             \
	X(KAFKA_LOST, "publications fail, appended or not")                                        \
	X(KAFKA_LIES, "refused, though appended, or only once")                                    \
	X(KAFKA_POISON, "a message is refused for good")                                           \
	X(KAFKA_FATAL, "the handle is fatal")                                                      \
	X(KAFKA_DOWN, "no broker answers for a while")                                             \
	X(PRODUCER_QUIT, "producers drop their connections")                                       \
	X(PRODUCER_ODD, "silent, late, repeated, contradictory answers")                           \
	X(CLOCK_JUMP, "the wall clock jumps")                                                      \
	X(PAUSE, "the process is paused")                                                          \
	X(OPERATOR, "operators check, resume and retry")

enum fault {
#define X(name, text) FAULT_##name,
	FAULT_LIST(X)
#undef X
	FAULT_COUNT
};

const char *fault_text(enum fault f);

struct run_options {
	uint64_t seed;
	uint32_t messages; /* of the workload */
	bool trace;	   /* print every line as it happens */
	bool hash;	   /* compute trace_hash: slower */
};

struct run_result {
	char violation[600]; /* empty: none */
	uint64_t steps;	     /* turns of the loop */
	uint64_t events;     /* frames, disk steps, Kafka records: what happened in all */
	int64_t virtual_ns;
	uint64_t trace_hash;
	bool drawn[FAULT_COUNT];
	uint64_t effective[FAULT_COUNT];
	uint64_t crashes, halves, commits, rollbacks, checks, records, duplicates, reclaimed;
};

void run_seed(const struct run_options *options, struct run_result *ret_result);

#endif /* RUN_H */
