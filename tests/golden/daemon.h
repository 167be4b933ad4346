/*
 * daemon.h -- core and journal over a real disk, as world/loop.c joins them, without the rest.
 *
 * There is no network and no Kafka: what the core publishes and asks is kept, and the script of a
 * journal (golden.c) says what becomes of it.  Two clocks stand still but for daemon_pass().
 */
#ifndef GOLDEN_DAEMON_H
#define GOLDEN_DAEMON_H

#include <stdio.h>
#include <stdlib.h>

#include "core/core.h"
#include "journal/journal.h"

#define SEGMENT      16384u
#define START_MS     UINT64_C(1767225600000) /* 2026-01-01 */
#define KEPT_MAX     64
#define NOT_ANSWERED ((enum answer_code)1000)
#define FOR_SHOW     1 /* a token of ours, and none of the core's */

#define MUST(condition)                                                                            \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);    \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

struct daemon {
	struct disk *disk;
	struct core *core;
	struct journal *journal;
	struct journal_conf journal_conf;
	struct core_conf conf;
	bool talks; /* show: each record is a line */
	int64_t now_ns;
	uint64_t wall_ms;
	uint64_t durable_lsn;
	uint64_t random;
	struct answer answer; /* the last */
	struct {
		uint64_t token, seq;
		uint32_t index;
	} published[KEPT_MAX];
	size_t published_count;
	struct {
		uint64_t seq, token, peer;
	} checks[KEPT_MAX];
	size_t check_count;
	bool described; /* the core wants to know about topics */
};

/* As each script finds it. */
void daemon_init(struct daemon *d);
/* 0, or the error with what is wrong printed. */
int daemon_start(struct daemon *d, const char *folder);
/* As if killed: what was written stays, and nothing else is. */
void daemon_stop(struct daemon *d);
/* What has become durable reaches the core. */
void daemon_news(struct daemon *d);
/* Decides, and writes until nothing is left to be written. */
void daemon_turn(struct daemon *d);
/* A turn MS later. */
void daemon_pass(struct daemon *d, int64_t ms);

/* ---- say.c: what `golden show` prints ------------------------------------------------------- */

void say_entry(const struct entry *e);
/* Everything that is remembered, as operators see it; no line depends on the time of the start. */
void say_rows(struct daemon *d);

#endif /* GOLDEN_DAEMON_H */
