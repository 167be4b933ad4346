/*
 * story_journals.c -- a journal that is full, segments that come round, and what is remembered.
 */
#include "sim/story.h"

#include <inttypes.h>

/* Half-sends and commits messages of 2000 bytes until N more segments have been recycled. */
static void
turn_over(struct story *s, const char *prefix, uint64_t n)
{
	const struct journal_stats *j = journal_stats(loop_journal(stage_of(s)->loop));
	uint64_t until = j->reclaimed + n;
	char body[2001], name[16];
	int count = 0;

	memset(body, 'x', 2000);
	body[2000] = '\0';
	hush(s, true);
	while (j->reclaimed < until && count < 400) {
		snprintf(name, sizeof(name), "%s%d", prefix, ++count);
		half_as(s, "P1", name, (struct peer_message){ .body = body });
		commit(s, "P1", name);
		wait_ms(s, 1);
	}
	hush(s, false);
	line(s, "P1", "half-sends and commits %d messages of 2000 bytes", count);
	line(s, "journal", "%" PRIu64 " segment(s) were recycled, oldest first", n);
}

static void
small_journal(struct story *s)
{
	struct stage *g = stage_of(s);

	g->conf.journal.segment_bytes = 16 << 10;
	g->conf.journal.quota_bytes = 8 * (16 << 10);
	g->conf.core.history_retention_ms = 0;
	g->conf.journal.retention_ms = 0;
	g->conf.core.idempotency_window_ms = 0;
}

/* Half messages n1, n2, ... behind those TAKEN, until there is no more room; how many there are. */
static int
until_full(struct story *s, char *body, int taken)
{
	struct stage *g = stage_of(s);
	char name[16];

	line(s, "P1", "half-sends messages of 2000 bytes until it is told: not now");
	hush(s, true);
	while (!journal_stats(loop_journal(g->loop))->full && taken < 100) {
		snprintf(name, sizeof(name), "n%d", ++taken);
		half_as(s, "P1", name, (struct peer_message){ .body = body });
	}
	hush(s, false);
	return taken;
}

static void
reserve(struct story *s)
{
	char body[2001], name[16];
	int taken;

	small_journal(s);
	memset(body, 'x', 2000);
	body[2000] = '\0';
	begin(s);
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	taken = until_full(s, body, 0);
	half_as(s, "P1", "m2", (struct peer_message){ .body = body });
	remark(s, "what finishes a transaction has its room, set aside at the half-send");
	commit(s, "P1", "m1");
	rollback(s, "P1", "n1");
	operate(s, VERB_COMMIT, "n2", "the disk is full, and this one matters");
	remark(s, "a daemon that stopped on a full journal can start");
	power_cut(s, 0, false);
	(void)restart(s);
	producer(s, "P1", "shop");
	taken = until_full(s, body, taken); /* its start has packed the last segment closer */
	half_as(s, "P1", "m2", (struct peer_message){ .body = body });
	line(s, "P1", "commits the %d others", taken - 2);
	hush(s, true);
	for (int i = 3; i <= taken; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		commit(s, "P1", name);
	}
	wait_ms(s, 2000);
	hush(s, false);
	half_as(s, "P1", "m2", (struct peer_message){ .body = body });
}

static void
copied_forward(struct story *s)
{
	small_journal(s);
	begin(s);
	producer(s, "P1", "shop");
	producer(s, "P2", "shop");
	half(s, "P2", "m1");
	lose_answer(s, "P2");
	half(s, "P2", "m1");
	producer(s, "P2", "shop");
	wait_ms(s, 6000);
	show(s);
	remark(s, "nobody decides m1, while the journal goes round four times");
	turn_over(s, "n", 32);
	power_cut(s, 0, false);
	(void)restart(s);
	remark(s, "its half was copied forward each time, with its generation and its checks");
	show(s);
	producer(s, "P2", "shop");
	wait_ms(s, 60000);
	answer(s, "P2", "m1", WIRE_COMMIT);
}

static void
decision_copied(struct story *s)
{
	small_journal(s);
	begin(s);
	producer(s, "P1", "shop");
	half_as(s, "P1", "m1", (struct peer_message){ .topic = "payments" });
	hold_kafka(s, true);
	commit(s, "P1", "m1");
	kafka_says(s, SINK_SIM_REFUSED);
	kafka_says(s, SINK_SIM_REFUSED);
	hold_kafka(s, false);
	remark(s, "m1 is still owed: its body, its decision and its number stay");
	turn_over(s, "n", 16);
	power_cut(s, 0, false);
	(void)restart(s);
	operate(s, VERB_RETRY, "m1", "the topic is mended");
}

static void
idempotency_window(struct story *s)
{
	small_journal(s);
	stage_of(s)->conf.core.idempotency_window_ms = 60000;
	begin(s);
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	commit(s, "P1", "m1");
	remark(s, "the segment with m1 is recycled; a stub with its key is copied forward");
	turn_over(s, "n", 8);
	power_cut(s, 0, false);
	(void)restart(s);
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	remark(s, "beyond the window, and when its stub has gone too, the key is forgotten");
	wait_ms(s, 60000);
	turn_over(s, "o", 16);
	half(s, "P1", "m1");
}

const struct story_case story_journals[] = {
	{ "journal-full", "A full journal refuses half-sends, and lets all that was begun end",
	  "Room for the records that finish a transaction is set aside when it begins.\n"
	  "So commits, rollbacks, publications and operators go on. (Here: segments of\n"
	  "16 KiB, eight in all.)",
	  reserve },
	{ "copied-forward", "Segments are recycled oldest first, and nothing owed goes with them",
	  "The journal is a ring of segments. What is still undecided in the oldest is\n"
	  "copied to the newest with its whole state, before the segment is given up.",
	  copied_forward },
	{ "decision-copied", "A decision never disappears before its half",
	  "What is committed and not in Kafka is copied forward with decision and\n"
	  "escrow-seq.",
	  decision_copied },
	{ "idempotency-window", "Keys are remembered for idempotency.window",
	  "A repeated half-send of a committed message is recognised although its\n"
	  "segment was recycled, and after a crash. Later it is taken for a new\n"
	  "message.",
	  idempotency_window },
	{ 0 },
};
