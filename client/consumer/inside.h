/*
 * inside.h -- what the files of the consumer share and nobody else includes.
 *
 *     run()'s thread (consumer.c, partitions.c)       workers (worker.c)
 *     poll, rebalance, offsets, pause and resume      claim, handle, commit, dead letters
 *                 \                                    /
 *                  partitions, under the consumer's lock
 *
 * A partition belongs to one worker while it is assigned.  The messages in its ring are the
 * worker's to read while `busy`, without the lock; all else of it is under the lock.
 */
#ifndef CONSUMER_INSIDE_H
#define CONSUMER_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "escrow/escrow_consumer.h"

#define QUEUE_HIGH       4096      /* messages of a partition at which it is paused ...         */
#define QUEUE_HIGH_BYTES (8 << 20) /* ... or bytes                                              */
#define FULL_MS          1000      /* but a worker that gets on is waited for so long first     */
#define DATABASE_MS      100       /* the first pause when the database fails; doubles ...      */
#define DATABASE_MAX_MS  5000      /* ... up to this                                            */
#define SLICE_MS         50        /* how long run() sleeps: then it looks if it is to stop      */
#define OFFSETS_MS       200       /* how often offsets are committed ...                       */
#define OFFSETS_AGAIN_MS 2000      /* ... and when Kafka refused them                           */
#define KAFKA_MS         3000      /* how long Kafka may take to hear of offsets, or of the end  */
#define LEAVE_SLICE_MS   5         /* how often is looked whether it has                         */
#define FORGET_MS        3600000   /* how often the tables are cleaned                          */
#define FORGET_PAUSE_MS  20        /* between two pieces of that                                */
#define ASK_MS           2000      /* how long a daemon is asked what it may publish             */
#define ESCROWS_MAX      64        /* daemons                                                   */
#define REASON           512

struct part {
	struct part *next;
	char *topic;
	int32_t partition;
	struct worker *worker;

	rd_kafka_message_t **ring; /* from `head`, `count` of them */
	uint32_t size, head, count;
	size_t bytes;

	bool busy;       /* the worker is in it                                                 */
	bool revoked;    /* it is to leave it, and does not come back                           */
	bool paused;     /* at Kafka: enough is queued                                          */
	int64_t done;    /* the offset to be committed; -1: none yet                            */
	int64_t told;    /* the one that was                                                    */
	uint32_t cap;    /* of the next batch: 1 after a failure                                */
	int32_t tries;   /* of the first message                                                */
	int64_t due_ms;  /* not before                                                          */
};

struct worker {
	struct escrow_consumer *consumer;
	escrow_store *store;
	pthread_t thread;
	struct part *last;      /* whose turn it was */
	rd_kafka_message_t **batch;
	int64_t database_due_ms; /* the database or the broker failed: nothing before */
	int32_t database_ms;
	int64_t forget_ms;        /* when to clean the tables, or to go on with that */
	bool forgets;             /* there is more, below: */
	unsigned char forget_low[ESCROW_GID_SIZE];
	int64_t forget_seen_ms;
	escrow_txn **sent; /* by handlers, within the transaction that runs */
	size_t sent_count, sent_room;
	bool handles;              /* a handler runs */
	escrow_status send_failed; /* in it: its transaction must not commit */
};

struct escrow_consumer {
	escrow_consumer_opts opts;
	char name[33];
	char *topics, *dead_letter_topic;
	rd_kafka_conf_t *dead_conf; /* until the producer is needed */
	rd_kafka_t *kafka;
	atomic_bool stop;

	pthread_mutex_t lock;
	pthread_cond_t work; /* for workers: a message, or the end */
	pthread_cond_t idle; /* for run(): a worker has left a partition */
	struct part *parts;
	struct worker *workers;
	size_t worker_count;
	escrow_client *escrows[ESCROWS_MAX];
	size_t escrow_count;
	bool offsets_failed; /* the last that Kafka heard of */
	escrow_consumer_stats stats;
	escrow_status ended; /* why run() ends, unless stopped */
	char why[REASON];

	pthread_mutex_t dead_lock;
	rd_kafka_t *dead; /* the producer of dead letters */
};

int64_t consumer_now_ms(clockid_t clock);
void consumer_log(struct escrow_consumer *c, escrow_log_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* ---- partitions.c: under the lock, but for the two callbacks --------------------------------- */

/* NULL: it is not ours. */
struct part *part_find(struct escrow_consumer *c, const char *topic, int32_t partition);
/* Takes M, or not: no memory. */
bool part_push(struct part *p, rd_kafka_message_t *m);
/* Pauses or resumes at Kafka what is paused otherwise. */
void part_pace(struct escrow_consumer *c, struct part *p, bool pause);
/* The next one. */
struct part *part_free(struct part *p);
/* The offsets of all (or only the revoked) partitions that moved; NULL: none. */
rd_kafka_topic_partition_list_t *offsets_moved(struct escrow_consumer *c, bool revoked);
/* Commits and frees OFFSETS; waits for that, within KAFKA_MS.  Without the lock. */
void offsets_tell(struct escrow_consumer *c, rd_kafka_topic_partition_list_t *offsets);
/* librdkafka's callbacks: what became of a commit; partitions come and go. */
void offsets_committed(rd_kafka_t *rk, rd_kafka_resp_err_t err,
		       rd_kafka_topic_partition_list_t *offsets, void *consumer);
void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err, rd_kafka_topic_partition_list_t *list,
		  void *consumer);

/* ---- worker.c, dead.c ------------------------------------------------------------------------ */

/* A worker's thread; ARG is a struct worker. */
void *worker_main(void *arg);

/*
 * Gives M to the dead-letter topic, and returns when Kafka has it: true.  False: it has not, or
 * that is not known; *RET_WHY says so and lives as long as librdkafka's names of errors.
 */
bool dead_letter(struct escrow_consumer *c, const rd_kafka_message_t *m, const char *reason,
		 int32_t tries, const char **ret_why);

#endif /* CONSUMER_INSIDE_H */
