/*
 * sink_sim.h -- Kafka in memory, driven by virtual time, with all that goes wrong there.
 *
 * A log per topic-partition that survives everything, and in front of it the producer handle of the
 * seam (world/sink.h), which does not.  Like librdkafka with the gapless guarantee: once a message
 * of a partition has failed, those behind it that are already under way fail too and are not
 * appended.  What an old handle had under way may land later: always a prefix per partition, for
 * Kafka refuses sequence gaps.
 *
 * Deterministic: a function of the seed and of the calls made.
 */
#ifndef SINK_SIM_H
#define SINK_SIM_H

#include "base/base.h"
#include "world/sink.h"

struct sink_sim;

struct sink_sim_knobs {
	int64_t latency_min_ns;
	int64_t latency_max_ns;
	uint32_t lost_permille;		/* not appended, UNCERTAIN                              */
	uint32_t unheard_permille;	/* appended, UNCERTAIN                                  */
	uint32_t lying_permille;	/* appended, REFUSED: a definite-looking error          */
	uint32_t refuse_permille;	/* not appended, REFUSED, and next time it may pass     */
	uint32_t poison_permille;	/* of messages, by their bytes: always REFUSED           */
	uint32_t fatal_permille;	/* the handle is done for: SINK_FATAL                   */
	uint32_t full_permille;		/* publish() says ERR_AGAIN, SINK_READY follows          */
	uint32_t zombie_permille;	/* of handles given up: their requests land later        */
	uint32_t repeat_permille;	/* the broker appends it twice                          */
	uint32_t unled_permille;	/* of a handle's first to a partition: not appended,    */
					/* UNCERTAIN, and those behind it are appended          */
	uint32_t silent_permille;	/* describe() is answered FAILED                        */
	bool hold;			/* nothing lands until sink_sim_land() says so           */
};

/* What becomes of a publication under way. */
enum sink_sim_fate {
	SINK_SIM_ACKED,	  /* appended, and said so                                        */
	SINK_SIM_LOST,	  /* not appended, UNCERTAIN                                      */
	SINK_SIM_UNHEARD, /* appended, UNCERTAIN                                          */
	SINK_SIM_REFUSED, /* not appended, REFUSED                                        */
	SINK_SIM_LYING,	  /* appended, REFUSED                                            */
};

struct sink_sim_counts {
	uint64_t published, appended, lost, unheard, lying, refused, poisoned, fatal, full, zombies,
		repeats, silent, hidden, truncated, unled;
};

/*
 * A report "appended at OFFSET" of a partition reached the producer; offsets only rise, unless the
 * log lost its end, and the broker must tell.
 */
typedef void (*sink_sim_acked_fn)(void *arg, const char *topic, int32_t partition, int64_t offset);

/* Called for each record as it is appended; R lives during the call. */
typedef void (*sink_sim_append_fn)(void *arg, int64_t offset, const struct sink_record *r);

struct sink_sim *sink_sim_new(uint64_t seed);
struct sink_sim *sink_sim_free(struct sink_sim *s);
struct sink *sink_sim_sink(struct sink_sim *s);
void sink_sim_set(struct sink_sim *s, const struct sink_sim_knobs *knobs);
void sink_sim_watch(struct sink_sim *s, sink_sim_append_fn fn, void *arg);
void sink_sim_watch_acked(struct sink_sim *s, sink_sim_acked_fn fn, void *arg);
const struct sink_sim_counts *sink_sim_counts(const struct sink_sim *s);

/* Makes the topic, or lets it grow; who asked about it is told.  Nobody else makes topics. */
void sink_sim_topic(struct sink_sim *s, const char *name, int32_t partitions, uint32_t max_bytes);
/* So many records at the end of a partition are gone: its replicas were not in sync after all. */
void sink_sim_truncate(struct sink_sim *s, const char *name, int32_t partition, int64_t records);
/* Kafka knows the topic no longer, and publications to it fail, until it is shown again. */
void sink_sim_hide(struct sink_sim *s, const char *name, bool hidden);
/* No broker answers: nothing is appended or reported until it is up again. */
void sink_sim_down(struct sink_sim *s, bool down);
/* The process that used the handle died: as rebuild(), but nobody hears of anything. */
void sink_sim_crash(struct sink_sim *s);

void sink_sim_advance(struct sink_sim *s, int64_t now_ns);
int64_t sink_sim_next_ns(const struct sink_sim *s);
/*
 * For a world that chooses itself (`hold`).  The first publication under way ends so; behind one
 * that failed the others of its partition fail too, whatever FATE says, until that was heard.
 */
size_t sink_sim_flying(const struct sink_sim *s);
void sink_sim_land(struct sink_sim *s, enum sink_sim_fate fate);
/* The first N under way are appended and nobody will say so; with FATAL the handle dies too. */
void sink_sim_strand(struct sink_sim *s, size_t n, bool fatal);
/* Another Kafka answers at this address: its cluster id is told anew. */
void sink_sim_cluster(struct sink_sim *s, const char *id);
int32_t sink_sim_partitions(const struct sink_sim *s, const char *topic);
/* Records in a partition's log; 0 when there is none. */
int64_t sink_sim_end(const struct sink_sim *s, const char *topic, int32_t partition);

#endif /* SINK_SIM_H */
