/*
 * relay.h -- Kafka out: publications to the sink, its reports back to the core.
 *
 * The lanes are the core's (core/lanes.h): order, freezing, windows.  The relay makes a
 * Kafka record of a half message (mapping.h), hands it to the sink, tells what became
 * of it, and keeps the sink alive: a fatal error or a stall is routine, the handle is rebuilt and
 * everything unreported is reported as unknown, so that the lanes go on from the journal.
 */
#ifndef RELAY_H
#define RELAY_H

#include "core/core.h"
#include "world/sink.h"

struct relay;

struct relay_conf {
	int64_t contact_ns; /* the start waits so long for Kafka to say which cluster it is */
	int64_t stall_ns; /* the oldest unreported publication is older: rebuild the handle  */
};

struct relay *relay_new(struct core *core, struct sink *sink, const struct relay_conf *conf);
struct relay *relay_free(struct relay *r);

/* The ports of the core that are ours. */
int relay_publish(struct relay *r, const struct publication *p);
void relay_describe(struct relay *r, struct str topic);
/* Behind all that a turn publishes: now it goes on its way. */
void relay_flush(struct relay *r);

/*
 * Reads the sink's events.  ERR_FOREIGN, only before relay_serve(): another Kafka cluster than the
 * journal's, and the start ends; later all lanes freeze with an alarm, and the daemon stays.
 */
int relay_poll(struct relay *r, int64_t now_ns) MUSTUSE;
void relay_serve(struct relay *r);
int64_t relay_deadline_ns(const struct relay *r);

struct relay_stats {
	bool up;
	bool cluster_known;
	uint64_t in_flight;
	uint64_t rebuilds;
	int32_t last_code;
	char last_error[256];
	uint64_t mapping_failures; /* bodies that do not inflate: none, for half-sends check it */
};

const struct relay_stats *relay_stats(const struct relay *r);

#endif /* RELAY_H */
