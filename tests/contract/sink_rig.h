/*
 * sink_rig.h -- a sink of either side with its Kafka, moved until what a case waits for has come.
 */
#ifndef SINK_RIG_H
#define SINK_RIG_H

#include <stdio.h>
#include <sys/types.h>

#include "base/buf.h"
#include "sim/sink_sim.h"
#include "world/sink_real.h"

#define TOKENS 4096

struct rig {
	bool real;
	struct sink *sink;
	struct sink_sim *sim;
	int64_t now_ns;
	char topic[64];
	/* mockd */
	pid_t pid;
	FILE *to;
	FILE *from;
	char bootstrap[128];
	/* what was reported, by token; and how often */
	struct sink_event reports[TOKENS];
	unsigned times[TOKENS];
	unsigned reported;
	/* how often each kind of event came */
	unsigned kinds[SINK_LOG + 1];
	struct sink_event topic_news;
	char cluster[64];
	int32_t fatal;
	/* the log, one line a record, per partition */
	struct buf log[8];
	unsigned appended;
};

/* REAL: PROPERTY = VALUE is for librdkafka; NULL: none. */
struct rig *rig_new(bool real, const char *property, const char *value);
void rig_free(struct rig *g);
/* mockd takes the command. */
void rig_mock(struct rig *g, const char *command);
/* Reads what is in the log: WANT records, as text. */
void rig_read_log(struct rig *g, unsigned want);
/* Lets time pass until KIND has come TIMES times; false: it did not. */
bool rig_await(struct rig *g, enum sink_event_kind kind, unsigned times);
struct sink_record rig_record(struct rig *g, int32_t partition, const char *value);
/* "mTOKEN", as the sink answers it. */
int rig_publish(struct rig *g, int32_t partition, uint64_t token);
/* Of the simulated one; its latency is the rig's. */
void rig_knobs(struct rig *g, struct sink_sim_knobs knobs);

#endif /* SINK_RIG_H */
