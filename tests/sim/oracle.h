/*
 * oracle.h -- what must be true, told by somebody who shares no code with the core.
 *
 * It hears what clients asked and were answered, what their local databases hold, and
 * what stands in Kafka's log; it never looks into the broker.  Every violation of an
 * invariant (I-1 to I-7 and I-10 of the reliability rules) is kept with a sentence.
 *
 * A "message" is one thing that an application wants told, known by its number; a "gid"
 * is what the broker made of it.  One message may have several gids in a row (rolled
 * back, then sent anew), but at most one of them may ever reach Kafka.
 */
#ifndef ORACLE_H
#define ORACLE_H

#include "base/base.h"
#include "core/core.h"
#include "world/sink.h"

struct oracle;

/* What the local database says of a transaction. */
enum truth { TRUTH_NONE, TRUTH_RUNNING, TRUTH_COMMIT, TRUTH_ROLLBACK };

struct oracle *oracle_new(void);
struct oracle *oracle_free(struct oracle *o);

/* The first violation, or NULL: "I-4 rolled back, yet in Kafka: message 12 ..." */
const char *oracle_violation(const struct oracle *o);
void oracle_fail(struct oracle *o, const char *fmt, ...) PRINTF(2, 3);

/* ---- what clients did -------------------------------------------------------------- */

/* A new message: of TOPIC number T, ordered under KEY (0: none), with SIZE bytes of body. */
uint32_t oracle_message(struct oracle *o, uint32_t topic, uint32_t key, uint32_t size, bool plain);
uint32_t oracle_messages(const struct oracle *o);
/* Its bytes, a function of its number: appended to OUT. */
struct buf;
void oracle_body(const struct oracle *o, uint32_t message, struct buf *out);
void oracle_key(const struct oracle *o, uint32_t message, struct buf *out);
uint32_t oracle_topic(const struct oracle *o, uint32_t message);
bool oracle_is_plain(const struct oracle *o, uint32_t message);

/* A half-send of it was begun. */
void oracle_half_invoked(struct oracle *o, uint32_t message);
/* ... and answered SUCCESS with this gid, to an attempt begun at step ASKED. */
void oracle_half_ok(struct oracle *o, uint32_t message, struct gid gid, uint64_t asked);
/*
 * Its commit was answered, it was sent once more by mistake, and that was answered SUCCESS: its
 * local transaction would run twice.  Within idempotency.window of the commit that must not be.
 */
void oracle_half_again(struct oracle *o, uint32_t message);
void oracle_set_window(struct oracle *o, int64_t window_ns);
/* The local transaction of that gid: begun, or at an end. */
void oracle_local(struct oracle *o, struct gid gid, enum truth truth);
enum truth oracle_truth(const struct oracle *o, struct gid gid);
/* Somebody told the broker so (END, or the answer to a check). */
void oracle_decide_invoked(struct oracle *o, struct gid gid, enum verdict verdict);
/* ... and an END of it was answered with success. */
void oracle_decide_ok(struct oracle *o, struct gid gid, enum verdict verdict);
/* ... or refused, the broker naming the winner. */
void oracle_decide_refused(struct oracle *o, struct gid gid, enum verdict verdict);
/*
 * Somebody decides without asking the local database: an operator, or a producer that contradicts
 * itself.  From now on the database's word says nothing of what became of GID; answers do.
 */
void oracle_force(struct oracle *o, struct gid gid);
/*
 * A check of it was sent, as the broker says, which does not say so of one that was on its way
 * when it was decided, half-sent again, or ordered about; and one was received.  Judged only where
 * connections take at once what they are given (PROMPT): else many may wait in them.
 */
void oracle_set_prompt(struct oracle *o, bool prompt);
void oracle_check_sent(struct oracle *o, struct gid gid);
void oracle_check_ordered(struct oracle *o, struct gid gid);
void oracle_check_received(struct oracle *o, struct gid gid);
/* An operator gave it up, and was answered: it is not published any more. */
void oracle_discarded(struct oracle *o, struct gid gid);
/* The topic is about to have more partitions: a key's messages may lie in two of them. */
void oracle_grown(struct oracle *o, uint32_t topic);
/* The broker does not know it. */
void oracle_decide_lost(struct oracle *o, struct gid gid);

/* ---- what the world saw ---------------------------------------------------------------- */

/* Steps of the simulation, for "before": raised by the world once a step. */
void oracle_step(struct oracle *o, int64_t now_ns);
uint64_t oracle_now(const struct oracle *o);
/* A record was appended to Kafka's log. */
void oracle_kafka(struct oracle *o, int64_t offset, const struct sink_record *r);
/* The broker applied a transition (its own trace); RESTARTED: since the last one it crashed. */
void oracle_transition(struct oracle *o, const struct note *n);
void oracle_crashed(struct oracle *o);
/* The broker shows that Kafka refused GID, of which nobody may have been told that it exists. */
void oracle_refused(struct oracle *o, struct gid gid);
/*
 * How the broker shows a transaction: its state, 0 when it does not know it, -1 when it is down.
 * Asked only where "shown as undeliverable" excuses a message that is not in Kafka.
 */
typedef int (*oracle_shown_fn)(void *arg, struct gid gid);
void oracle_set_shown(struct oracle *o, oracle_shown_fn fn, void *arg);
/* The last word: all is healed and idle; nothing may be owed or undecided. */
void oracle_final(struct oracle *o);
/* Undecided, or committed and not in Kafka, by what clients know. */
uint64_t oracle_owed(struct oracle *o);

/*
 * A hash of all that may still make a difference to its judgement: equal ones judge the future
 * alike.  Steps count by their order alone.
 */
struct hash128 oracle_digest(const struct oracle *o);

struct oracle_counts {
	uint64_t halves, halves_ok, repeats_ok, commits_ok, rollbacks_ok, refused;
	uint64_t records, duplicates, plains;
	uint64_t crashes;
};

const struct oracle_counts *oracle_counts(const struct oracle *o);

#endif /* ORACLE_H */
