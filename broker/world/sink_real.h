/*
 * sink_real.h -- what the three files of the real sink share.  Nobody else includes it.
 *
 *      loop thread                          scout thread              undertakers
 *      publish, next, rebuild, flush        metadata, configs,        destroy old handles,
 *           |        ^                      cluster id                 which may block
 *           v        |                           |                         |
 *       handle ---> its queue               notes (locked) <---------------+
 *           (librdkafka)  \                  /
 *                          one eventfd, readable when next() may have something
 *
 * A handle is one incarnation of the producer.  rebuild() makes another one and gives the
 * old one to an undertaker, who waits until the scout has let go of it.
 */
#ifndef SINK_REAL_H
#define SINK_REAL_H

#include <librdkafka/rdkafka.h>
#include <pthread.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/map.h"
#include "world/sink.h"

#define SINK_TOPICS_MAX 16384	/* topics watched; more are answered FAILED      */
#define SINK_REQUESTS_MAX 1024	/* describe() calls that wait for the scout       */
#define SINK_METADATA_MS 2000	/* one metadata request                          */
#define SINK_CONFIGS_MS 300	/* one DescribeConfigs; without it max_bytes is 0 */
#define SINK_REFRESH_MS 30000	/* everything known is looked at again            */
#define SINK_HURRY_MS 1000	/* the same while something is wrong              */
#define SINK_DESTROY_MS 5000	/* how long free() waits for old handles          */

/* One topic of one handle, for producing.  Loop thread only. */
struct sink_lane {
	char *name;
	size_t name_len;
	rd_kafka_topic_t *rkt;
};

struct sink_handle {
	struct sink_real *sink;
	uint64_t number; /* 1, 2, ...: which incarnation                                  */
	rd_kafka_t *rk;
	rd_kafka_queue_t *queue; /* reports, errors, logs, statistics                    */
	bool fatal;		 /* and said so                                          */
	unsigned borrowed;	 /* by the scout, under sink.lock                        */
	struct map lane_map;
	struct sink_lane *lanes;
	uint32_t lane_count;
	uint32_t lane_cap;
};

/* An event of ours, not of librdkafka's; texts are owned. */
struct sink_note {
	struct sink_event event;
	char *text;
	char *topic;
	uint64_t of; /* number of a handle: void once that one is replaced; 0: never void     */
};

struct sink_real {
	struct sink sink; /* first */
	rd_kafka_conf_t *conf;
	int fd;
	struct hash_secret secret;

	/* Loop thread. */
	rd_kafka_event_t *event; /* being taken apart                                    */
	struct sink_note note;	 /* the one that next() gave out last                    */
	struct buf text;	 /* of the event that next() gave out last               */
	rd_kafka_event_t **stash; /* taken off the queue by flush(), not given out yet    */
	size_t stash_count;
	size_t stash_at;
	size_t stash_cap;
	uint64_t unreported;
	uint64_t noted;	   /* of these, reports among the notes                           */
	uint64_t handles;  /* made so far                                                */
	bool full;	  /* publish() said ERR_AGAIN                                    */
	bool ready;	  /* SINK_READY is owed                                          */
	bool woken;	  /* the eventfd was read and the queue not seen empty since       */
	int8_t up;	  /* 1, 0; -1: nobody knows yet                                  */

	/* Between threads. */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct sink_handle *handle; /* written by the loop thread under lock             */
	struct sink_note *notes;
	size_t note_at;
	size_t note_count;
	size_t note_cap;
	unsigned dying;	   /* handles with an undertaker                                 */
	char **requests;   /* names that describe() asks for                             */
	size_t request_count;
	bool hurry;	   /* look at everything soon                                    */
	bool stop;
	pthread_t scout;
	bool scouting;
};

/* sink_real_conf.c */
int sink_conf_build(const struct sink_property *properties, size_t count, char *ret_why,
		    size_t why_size, rd_kafka_conf_t **ret_conf);

/* sink_real_scout.c */
int sink_scout_start(struct sink_real *s);
void sink_scout_stop(struct sink_real *s);
void sink_scout_ask(struct sink_real *s, struct str topic);
void sink_scout_hurry(struct sink_real *s);

/* sink_real.c: queues an event for the loop; EVENT's text and topic are copied.  Any thread. */
void sink_note_push(struct sink_real *s, uint64_t of, const struct sink_event *event);

#endif /* SINK_REAL_H */
