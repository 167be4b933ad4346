/*
 * sink.h -- Kafka, as a seam.  (Interface only.)
 *
 * sink_real*.c are the only files that use librdkafka (and demo.c, its mock cluster);
 * tests/sim/sink_sim.c is a log with latency that loses answers, refuses, forgets and dies.  The
 * relay is its only caller, save fd(), which is the loop's.
 *
 * Contract, checked of both by tests/contract/test_sink.c:
 *
 *   - publish() copies what it needs, and may do no more before flush(); ERR_AGAIN means the
 *     queue is full, and SINK_READY follows when it no longer is; any other error means "not
 *     taken, no report";
 *   - after publish() returned 0 there is exactly one SINK_REPORT with its token, or,
 *     when the handle is rebuilt first, none: rebuild() voids all that is unreported;
 *   - records of one partition are appended in the order of publish() as long as no
 *     report of it said otherwise than ACKED; but until a partition has acknowledged one of
 *     this handle it may fail one, and append those behind it;
 *   - next() never blocks; the loop is woken through the descriptor of fd();
 *   - strings of an event live until the following next().
 */
#ifndef SINK_H
#define SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"

struct sink_header {
	struct str name;
	struct str value; /* .p NULL: null */
};

struct sink_record {
	struct str topic;
	int32_t partition;
	struct str key;	  /* .p NULL: none */
	struct str value; /* .p NULL: null */
	uint64_t timestamp_ms;
	uint32_t header_count;
	const struct sink_header *headers;
};

enum sink_event_kind {
	SINK_REPORT,  /* token, result, offset, code            */
	SINK_READY,   /* room in the queue again                */
	SINK_TOPIC,   /* topic, news, partitions, max_bytes      */
	SINK_CLUSTER, /* text = cluster id                      */
	SINK_FATAL,   /* code, text: only rebuild() helps        */
	SINK_UP,      /* at least one broker answers            */
	SINK_DOWN,    /* none does; text tells                   */
	SINK_STATS,   /* text = librdkafka's statistics, JSON    */
	SINK_LOG,     /* code = syslog level, text               */
};

enum sink_result {
	SINK_ACKED,    /* in the log, at `offset`                                   */
	SINK_REFUSED,  /* MSG_SIZE_TOO_LARGE, INVALID_RECORD, INVALID_TIMESTAMP   */
	SINK_UNCERTAIN /* everything else, persisted or not                      */
};

enum sink_topic_news { SINK_TOPIC_HERE, SINK_TOPIC_GONE, SINK_TOPIC_FAILED };

struct sink_event {
	enum sink_event_kind kind;
	uint64_t token;
	enum sink_result result;
	int64_t offset;	 /* of what is acknowledged; else -1 */
	int32_t code;	 /* Kafka's or librdkafka's error */
	struct str text; /* a sentence, an id */
	struct str topic;
	enum sink_topic_news news;
	int32_t partitions;
	uint32_t max_bytes; /* 0: not told */
};

struct sink;

struct sink_ops {
	int (*publish)(struct sink *s, const struct sink_record *r, uint64_t token);
	/* Behind the last publish() of a turn: what they hold back until then goes on its way. */
	void (*flush)(struct sink *s);
	/* Asks for a topic's metadata, now and whenever it changes; answers as SINK_TOPIC. */
	void (*describe)(struct sink *s, struct str topic);
	bool (*next)(struct sink *s, struct sink_event *ret_event);
	/* After SINK_FATAL or a stall: a new handle at once; the old one ends by itself. */
	int (*rebuild)(struct sink *s);
	int (*fd)(struct sink *s); /* readable when next() may have something; -1: none */
	void (*free)(struct sink *s);
};

struct sink {
	const struct sink_ops *ops; /* first member of every implementation */
};

/* One `kafka.<name> = value` of the configuration, the prefix taken off. */
struct sink_property {
	const char *name;
	const char *value;
};

/*
 * ERR_CONFIG: a property is unknown, denied or wrong; RET_WHY (at least 512 bytes) says which
 * and why, in librdkafka's own words where they are its.  ERR_SYSTEM: there is no thread, or no
 * descriptor, for it.  The deny list is in sink_real_conf.c.
 */
int sink_real_open(const struct sink_property *properties, size_t count, char *ret_why,
		   size_t why_size, struct sink **ret_sink);
/* The same of the properties alone: nothing is opened, and nobody is asked. */
int sink_real_check(const struct sink_property *properties, size_t count, char *ret_why,
		    size_t why_size);
/* librdkafka's version at run time, "2.0.2". */
const char *sink_real_version(void);
/* NULL when PROPERTY may be set by people; else why not. */
const char *sink_real_denied(const char *property);
/* Prints every property that librdkafka knows and we do not deny. */
struct buf;
void sink_real_properties(struct buf *out);

#endif /* SINK_H */
