/*
 * run.h -- one simulated life of the broker, from a seed.
 *
 *      producers -- net_sim --+             +-- sink_sim (Kafka) --> oracle, consumers
 *                             |             |
 *      operators -------------+-- loop.c ---+      the daemon's own objects, unchanged
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
	X(POWER_CUT, "power-cut", "power cut")                                                     \
	X(KILL, "kill", "process killed between two turns")                                        \
	X(DIE, "die", "process dies in the middle of a turn")                                      \
	X(CRASH_IN_RECOVERY, "crash-in-recovery", "crash inside recovery")                         \
	X(NO_MEMORY, "no-memory", "no memory for what may be refused")                             \
	X(PAUSE, "pause", "the process is paused")                                                 \
	X(TWO, "two", "a second instance on the directory")                                        \
	X(DRAIN, "drain", "drained, stopped, started again")                                       \
	X(SYNC_EIO, "sync-eio", "a sync fails, its data lost")                                     \
	X(SYNC_LIES, "sync-lies", "a sync fails, its data there")                                  \
	X(SYNC_HANGS, "sync-hangs", "a sync never ends")                                           \
	X(WRITE_EIO, "write-eio", "a write fails")                                                 \
	X(READ_EIO, "read-eio", "a read fails")                                                    \
	X(ALLOCATE_FULL, "allocate-full", "no space for a segment")                                \
	X(WRITE_FULL, "write-full", "no space at a write or a sync")                               \
	X(DISK_LATE, "disk-late", "reads and syncs end in any order")                              \
	X(DISK_SLOW, "disk-slow", "reads and syncs take a second, or 30")                          \
	X(READ_FLIP, "read-flip", "a bit of what is read is wrong")                                \
	X(WRITE_LOST, "write-lost", "a write lost or misdirected in silence")                      \
	X(BIT_ROT, "bit-rot", "a bit on the disk flips in silence")                                \
	X(NET_CUT, "net-cut", "connections reset or vanish")                                       \
	X(NET_ONE_WAY, "net-one-way", "bytes pass in one direction only")                          \
	X(NET_SLOW, "net-slow", "fragments, stalls, full sockets")                                 \
	X(NET_TWICE, "net-twice", "requests arrive twice")                                         \
	X(SLOW_READER, "slow-reader", "clients read a few bytes at a time")                        \
	X(KAFKA_LOST, "kafka-lost", "not appended, no response")                                   \
	X(KAFKA_UNHEARD, "kafka-unheard", "appended, no response")                                 \
	X(KAFKA_LIES, "kafka-lies", "refused, though appended, or only once")                      \
	X(KAFKA_POISON, "kafka-poison", "a message is refused for good")                           \
	X(KAFKA_FATAL, "kafka-fatal", "the handle is fatal")                                       \
	X(KAFKA_FULL, "kafka-full", "the producer's queue is full")                                \
	X(KAFKA_DOWN, "kafka-down", "no broker answers for a while")                               \
	X(KAFKA_HIDES, "kafka-hides", "a topic is unknown for half a minute")                      \
	X(KAFKA_GROWS, "kafka-grows", "a topic gets more partitions")                              \
	X(KAFKA_TWICE, "kafka-twice", "Kafka appends a record twice")                              \
	X(KAFKA_TRUNCATES, "kafka-truncates", "acknowledged records are gone")                     \
	X(KAFKA_FOREIGN, "kafka-foreign", "another cluster answers")                               \
	X(PRODUCER_QUIT, "producer-quit", "producers drop their connections")                      \
	X(PRODUCER_CRASH, "producer-crash", "producers restart without memory")                    \
	X(PRODUCER_ODD, "producer-odd", "silent, late, repeated answers")                          \
	X(PRODUCER_FLIP, "producer-flip", "a producer contradicts itself")                         \
	X(STRANGER, "stranger", "another group decides, with the right tokens")                    \
	X(CONSUMER_CRASH, "consumer-crash", "a consumer dies before or behind its commit")         \
	X(REBALANCE, "rebalance", "a partition changes hands in the middle of a batch")            \
	X(CLOCK_JUMP, "clock-jump", "the wall clock jumps by an hour")                             \
	X(CLOCK_YEARS, "clock-years", "the wall clock jumps by years")                             \
	X(CLOCK_DOWN, "clock-down", "the wall clock jumps while the daemon is down")               \
	X(CLOCK_DRIFT, "clock-drift", "the wall clock drifts")                                     \
	X(CLOCK_FROZEN, "clock-frozen", "the monotonic clock stands still in a pause")             \
	X(CLOCK_COARSE, "clock-coarse", "many turns within one tick of the clock")                 \
	X(LIMITS, "limits", "limits of memory are reached")                                        \
	X(OPERATOR, "operator", "operators decide, check, resume, retry, discard")                 \
	X(RESTARTS, "restarts", "started again and again, with little in between")                 \
	X(KAFKA_UNLED, "kafka-unled", "a partition refuses a new producer's first, takes the next")

/* What ought to happen in some seed, or the worlds are too tame. */
#define SOMETIMES_LIST(X)                                                                          \
	X(PARKED, "parked")                                                                        \
	X(PARKED_DECIDED, "decided while parked")                                                  \
	X(PARKED_REPEATED, "half-sent again while parked")                                         \
	X(RESUMED, "resumed by an operator")                                                       \
	X(REPEATED, "half-sent again while undecided")                                             \
	X(UNDELIVERABLE, "undeliverable")                                                          \
	X(RETRIED, "retried by an operator")                                                       \
	X(DISCARDED, "discarded by an operator")                                                   \
	X(CONTRADICTED, "a second decision refused")                                               \
	X(STALE, "an answer of an older generation")                                               \
	X(SILENT_GROUP, "a group with nobody to ask")                                              \
	X(FROZEN, "a lane frozen")                                                                 \
	X(RESUMED_LANE, "a lane resumed")                                                          \
	X(REBUILT, "the handle to Kafka rebuilt")                                                  \
	X(KEYS_FULL, "memory for keys used up")                                                    \
	X(GROUP_FULL, "a producer group with its share")                                           \
	X(FULL, "the journal full")                                                                \
	X(COLD, "a body read back from the disk")                                                  \
	X(RECLAIMED, "a segment reclaimed")                                                        \
	X(COPIED, "a record copied forward")                                                       \
	X(DEFERRED, "a request that waits")                                                        \
	X(HALF_BUSY, "a half-send refused: busy")                                                  \
	X(HALF_DRAINING, "a half-send refused: draining")                                          \
	X(HALF_DECIDED, "a half-send refused: decided")                                            \
	X(HALF_UNKNOWN, "a half-send refused: topic unknown")                                      \
	X(ANEW, "the end of a log lost, and told")                                                 \
	X(TORN, "a torn unit at a power cut")                                                      \
	X(DUPLICATE, "a record twice in Kafka")                                                    \
	X(LATE, "a message applied behind later ones, by its gap")                                 \
	X(QUARANTINED, "a repetition older than a dedup table remembers")                          \
	X(DAMAGE_FOUND, "silent damage found at a start")

enum sometimes {
#define X(name, text) SOMETIMES_##name,
	SOMETIMES_LIST(X)
#undef X
	SOMETIMES_COUNT
};

const char *sometimes_text(enum sometimes s);

enum fault {
#define X(name, word, text) FAULT_##name,
	FAULT_LIST(X)
#undef X
	FAULT_COUNT
};

const char *fault_word(enum fault f); /* "power-cut" */
const char *fault_text(enum fault f);

struct run_options {
	uint64_t seed;
	uint32_t messages; /* of the workload */
	uint64_t steps;	   /* the phase of faults ends after so many; 0: when all is sent */
	uint64_t without;  /* bit 1 << enum fault: off, even if drawn */
	bool trace;	   /* print every line as it happens */
	uint32_t tail;	   /* print so many of the last lines, when there is a violation */
	bool dump;	   /* print the journal, when there is a violation */
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
	uint64_t operations, audits;
	bool hit[SOMETIMES_COUNT];
};

void run_seed(const struct run_options *options, struct run_result *ret_result);

#endif /* RUN_H */
