/*
 * story.h -- the words in which a directed case is told, each of which does what it says.
 *
 * A story is a function that speaks these words to the daemon's own objects on a stage (stage.h).
 * Every word does one thing to the world, lets the daemon finish what follows from it, and prints a
 * line for all that was done, said or heard.  The lines are compared with traces/NAME.txt.
 *
 * People and messages go by name.  A message "m1" has UNIQ_KEY m1, and unless told otherwise topic
 * orders, key k1, and a body that says its name.  Its transaction is called m1 too; when the same
 * message becomes a second one, that is m1#2.
 */
#ifndef STORY_H
#define STORY_H

#include "sim/peer.h"
#include "sim/stage.h"

struct story;

struct story_case {
	const char *name;  /* of the trace                                                   */
	const char *title; /* one line                                                       */
	const char *text;  /* what a newcomer should know before reading on; lines of prose  */
	void (*tell)(struct story *s);
};

/* The tables of story_*.c, each ended by a case without a name. */
extern const struct story_case story_lives[], story_checks[], story_refusals[], story_crashes[],
	story_kafkas[], story_journals[];

/* ---- the world ----------------------------------------------------------------------- */

/* To change the configuration, before begin(). */
struct stage *stage_of(struct story *s);
/* Starts the daemon on topic orders of one partition (and payments of one). */
void begin(struct story *s);
/* A remark in the trace: what to look at. */
void remark(struct story *s, const char *text);
void wait_ms(struct story *s, int64_t ms);
/* All transactions that the daemon remembers, one line each. */
void show(struct story *s);

/* ---- producers ----------------------------------------------------------------------- */

/* Connects and says its heartbeat; again after quit() or a crash. */
void producer(struct story *s, const char *who, const char *group);
void quit(struct story *s, const char *who);
/* The next answer does not reach it: its connection breaks first. */
void lose_answer(struct story *s, const char *who);

void half(struct story *s, const char *who, const char *message);
/* Another message than the usual one: CHANGE replaces what is set in it. */
void half_as(struct story *s, const char *who, const char *message, struct peer_message change);
/* The same message, carrying the __transactionId__ of its transaction. */
void half_on_purpose(struct story *s, const char *who, const char *message);
void commit(struct story *s, const char *who, const char *message);
void rollback(struct story *s, const char *who, const char *message);
/* END with a group or tokens that are not its own. */
void commit_as(struct story *s, const char *who, const char *message, const char *group);
void commit_with(struct story *s, const char *who, const char *message, int64_t seq_off,
		 int64_t token_off);
/* Answers the first check about it that is not answered yet. */
void answer(struct story *s, const char *who, const char *message, enum wire_decision decision);

/* ---- disk and process ---------------------------------------------------------------- */

/* From now on no sync ends; false: those held back end, and others at once. */
void hold_disk(struct story *s, bool on);
/* Power fails; of what was not synced the first UNITS 512-byte units survive, and with TORN half
 * of the next. */
void power_cut(struct story *s, uint32_t units, bool torn);
/* kill -9: what was written is still in the page cache. */
void kill_9(struct story *s);
/* Starts again.  False: it does not, and the trace has the sentence. */
bool restart(struct story *s);
/* The next sync fails. */
void fail_sync(struct story *s);

/* ---- Kafka ------------------------------------------------------------------------------ */

/* From now on publications are under way until kafka_says(); false: they land by themselves. */
void hold_kafka(struct story *s, bool on);
/* What becomes of the first one under way. */
void kafka_says(struct story *s, enum sink_sim_fate fate);
void kafka_fatal(struct story *s);
void kafka_down(struct story *s, bool down);

/* ---- operators ---------------------------------------------------------------------------- */

void operate(struct story *s, enum verb verb, const char *message, const char *reason);

/* ---- for what has no word: a line of the trace, by WHO; turns, and what follows is told -- */

void line(struct story *s, const char *who, const char *fmt, ...) PRINTF(3, 4);
void settle(struct story *s);
/* Silent: until loud() nothing is printed (for filling a journal with a hundred messages). */
void hush(struct story *s, bool on);

#endif /* STORY_H */
