/*
 * sink_real.h -- what the four files of the real sink share.  Nobody else includes it.
 *
 *      loop thread              producer thread           scout thread
 *      publish, next, rebuild   one for each handle       metadata, configs, cluster id
 *           |        ^               |      ^                  |
 *           |  reports, notes        |      |                  v
 *           |        +---------------+------|---------- notes (locked)
 *           v                        v      |
 *        messages (locked) -----> librdkafka's handle
 *
 * librdkafka spends more on a message than the rest of the daemon: so the loop only copies it, and
 * the handle's own thread makes headers, produces, and takes the reports apart.  One eventfd is
 * readable when next() may have something.
 *
 * A handle is one incarnation of the producer.  rebuild() makes another one; the old one's thread
 * waits until the scout has let go of it, and destroys it, which may block.
 */
#ifndef SINK_REAL_H
#define SINK_REAL_H

#include <librdkafka/rdkafka.h>
#include <pthread.h>

#include "base/hash.h"
#include "base/list.h"
#include "base/map.h"
#include "world/sink.h"

#define SINK_TOPICS_MAX 16384	/* topics watched: see make_room()               */
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

/* Messages in one piece of memory, given back when the last of them was reported. */
struct sink_chunk {
	struct list node; /* in handle->chunks                                           */
	size_t used;
	size_t cap;
	uint32_t count;	   /* messages                                                   */
	uint32_t reported; /* of these                                                   */
	_Alignas(16) char bytes[];
};

/* One publication between publish() and its report; strings and headers lie behind it. */
struct sink_message {
	uint64_t token;
	struct sink_chunk *chunk;
	rd_kafka_topic_t *rkt;
	uint64_t timestamp_ms;
	size_t bytes; /* as counted against queue.buffering.max.kbytes                   */
	struct str key;
	struct str value;
	int32_t partition;
	uint32_t header_count;
	struct sink_header headers[];
};

struct sink_report {
	uint64_t token;
	int64_t offset;
	size_t bytes;
	rd_kafka_resp_err_t err;
};

struct sink_reports {
	struct sink_report *items;
	size_t count;
	size_t cap;
};

struct sink_messages {
	struct sink_message **items;
	size_t count;
	size_t cap;
};

struct sink_handle {
	struct sink_real *sink;
	uint64_t number; /* 1, 2, ...: which incarnation                                  */
	rd_kafka_t *rk;
	rd_kafka_queue_t *queue; /* reports, errors, logs, statistics                    */
	unsigned borrowed;	 /* by the scout, under sink.lock                        */

	/* Loop thread. */
	struct map lane_map;
	struct sink_lane *lanes;
	uint32_t lane_count;
	uint32_t lane_cap;
	struct sink_messages held; /* until the turn ends                                */

	/* Between loop and producer thread, under `lock`. */
	pthread_mutex_t lock;
	struct sink_messages given;
	struct sink_reports told;
	struct list chunks;
	struct sink_chunk *open;  /* the loop fills it, and writes this                  */
	struct list spares;	  /* free ones of the usual size                         */
	unsigned spare_count;
	bool asleep;		  /* the producer waits for librdkafka alone             */

	/* Held while it produces: what is buried under it produces nothing more. */
	pthread_mutex_t gate;
	bool dead;

	/* Producer thread. */
	struct sink_messages work;
	size_t work_at;
	struct sink_reports batch; /* told at once                                       */
	struct sink_message **reported; /* those of the batch, as many                   */
	uint64_t flying; /* produced and not reported                                     */
	bool stuck;	 /* librdkafka's queue is full                                   */
	bool fatal;	 /* and said so                                                  */
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

	uint64_t max_messages; /* queue.buffering.max.messages                           */
	uint64_t max_bytes;    /* queue.buffering.max.kbytes                             */
	uint32_t max_topics;   /* SINK_TOPICS_MAX; tests have less                       */

	/* Loop thread. */
	struct sink_reports reports; /* taken from the handle                            */
	size_t report_at;
	struct sink_note note; /* the one that next() gave out last                      */
	uint64_t unreported;
	uint64_t unreported_bytes;
	uint64_t handles; /* made so far                                                 */
	bool full;	  /* publish() said ERR_AGAIN                                    */
	bool ready;	  /* SINK_READY is owed                                          */
	bool woken;	  /* the eventfd was read and nothing left since                 */
	int8_t up;	  /* 1, 0; -1: nobody knows yet                                  */

	/* Between threads. */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct sink_handle *handle; /* written by the loop thread under lock             */
	struct sink_note *notes;
	size_t note_at;
	size_t note_count;
	size_t note_cap;
	unsigned dying;	   /* handles that are being destroyed                           */
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

/* sink_real_producer.c */
int sink_handle_new(struct sink_real *s, char *ret_why, size_t why_size,
		    struct sink_handle **ret_handle);
/* H is no longer s->handle.  What it still holds must not go out beside its successor's. */
void sink_handle_bury(struct sink_handle *h);
/* Copies R; its report comes with TOKEN.  Loop thread. */
void sink_handle_give(struct sink_handle *h, rd_kafka_topic_t *rkt, const struct sink_record *r,
		      uint64_t token, size_t bytes);
/* What was given goes to the producer thread, which is woken once for all of it.  Loop thread. */
void sink_handle_flush(struct sink_handle *h);
/* All reports since the last call; what REPORTS held is overwritten.  Loop thread. */
void sink_handle_take(struct sink_handle *h, struct sink_reports *reports);

/* sink_real.c: queues an event for the loop; EVENT's text and topic are copied.  Any thread. */
void sink_note_push(struct sink_real *s, uint64_t of, const struct sink_event *event);
/* Makes the eventfd readable.  Any thread. */
void sink_wake(struct sink_real *s);

#endif /* SINK_REAL_H */
