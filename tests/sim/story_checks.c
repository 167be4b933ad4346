/*
 * story_checks.c -- what happens when a producer says nothing: checks, and who may answer them.
 *
 * Configuration here: the first check 6 s after the half-send, then every 30 s (growing), parked
 * after 3 delivered checks, then asked once an hour.
 */
#include "sim/story.h"

static void
silent_producer(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	remark(s, "P1 commits in its own database, and then says nothing");
	wait_ms(s, 6000);
	answer(s, "P1", "m1", WIRE_COMMIT);
	show(s);
}

static void
another_producer(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	producer(s, "P2", "shop");
	producer(s, "P3", "bank");
	half(s, "P1", "m1");
	quit(s, "P1");
	remark(s, "P2 is of the same group and looks at the same database; P3 is not asked");
	wait_ms(s, 6000);
	answer(s, "P2", "m1", WIRE_ROLLBACK);
	show(s);
}

static void
nobody_there(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	quit(s, "P1");
	wait_ms(s, 3600000);
	remark(s, "an hour later: nobody could be asked, so nothing was counted");
	show(s);
	producer(s, "P2", "shop");
	answer(s, "P2", "m1", WIRE_COMMIT);
}

static void
parked(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	wait_ms(s, 6000);
	answer(s, "P1", "m1", WIRE_UNKNOWN);
	wait_ms(s, 30000);
	answer(s, "P1", "m1", WIRE_UNKNOWN);
	wait_ms(s, 46000);
	answer(s, "P1", "m1", WIRE_UNKNOWN);
	wait_ms(s, 67000);
	show(s);
	remark(s, "a parked transaction is kept, and still asked about, slowly");
	wait_ms(s, 3600000);
	answer(s, "P1", "m1", WIRE_COMMIT);
	show(s);
}

static void
resume(struct story *s)
{
	stage_of(s)->conf.core.policy.checks_max = 1;
	begin(s);
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	wait_ms(s, 6000);
	answer(s, "P1", "m1", WIRE_UNKNOWN);
	wait_ms(s, 30000);
	show(s);
	operate(s, VERB_RESUME, "m1", "the database is back");
	answer(s, "P1", "m1", WIRE_COMMIT);
}

static void
generation_rule(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	producer(s, "P2", "shop");
	lose_answer(s, "P1");
	half(s, "P1", "m1");
	remark(s, "P1 has no answer, and so has not begun its local transaction.  P2 is asked");
	wait_ms(s, 6000);
	remark(s, "P2 looks: no such order.  Its answer is on its way when P1 sends again, gets "
		  "its\n"
		  "   answer, and begins");
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	answer(s, "P2", "m1", WIRE_ROLLBACK);
	show(s);
	remark(s, "the order is committed in the database by now: the old answer would have lost "
		  "it");
	commit(s, "P1", "m1");
}

static void
own_word(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	remark(s, "the same client repeats it, for instance from another thread");
	half(s, "P1", "m1");
	remark(s, "END with the tokens of the first answer, generation 0: it is P1's own word");
	commit(s, "P1", "m1");
	show(s);
}

/* RocketMQ #8158 */
static void
two_decisions(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	half(s, "P1", "m2");
	wait_ms(s, 6000);
	remark(s, "the check is answered COMMIT; then P1's own COMMIT comes, late");
	answer(s, "P1", "m1", WIRE_COMMIT);
	commit(s, "P1", "m1");
	remark(s, "the check is answered ROLLBACK; then somebody says COMMIT");
	answer(s, "P1", "m2", WIRE_ROLLBACK);
	commit(s, "P1", "m2");
	remark(s, "no check comes after a decision");
	wait_ms(s, 7200000);
	show(s);
}

/* RocketMQ #544 */
static void
immunity_boundary(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	wait_ms(s, 5999);
	remark(s, "one millisecond before the end of its immunity: nobody is asked");
	wait_ms(s, 1);
	remark(s, "in the very millisecond of its end: P1 is");
	answer(s, "P1", "m1", WIRE_COMMIT);
	remark(s, "a message may bring its own immunity");
	half_as(s, "P1", "m2",
		(struct peer_message){ .property = "CHECK_IMMUNITY_TIME_IN_SECONDS",
				       .value = "20" });
	wait_ms(s, 19999);
	wait_ms(s, 1);
	answer(s, "P1", "m2", WIRE_COMMIT);
}

/* RocketMQ #8311 */
static void
delivered_checks_count(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	half_as(s, "P1", "m1",
		(struct peer_message){ .property = "CHECK_IMMUNITY_TIME_IN_SECONDS",
				       .value = "600" });
	wait_ms(s, 599000);
	remark(s, "ten minutes of immunity, twenty intervals: nothing was counted");
	show(s);
	quit(s, "P1");
	wait_ms(s, 600000);
	remark(s, "due, but nobody was there: nothing was counted");
	show(s);
	producer(s, "P1", "shop");
	show(s);
	answer(s, "P1", "m1", WIRE_COMMIT);
}

/* RocketMQ #1517 */
static void
no_check_of_decided(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	half(s, "P1", "m2");
	wait_ms(s, 5990);
	commit(s, "P1", "m1");
	wait_ms(s, 10);
	remark(s, "only m2 is asked about");
	rollback(s, "P1", "m2");
	remark(s, "P1 answers the check that was under way when it decided: that is a repeat");
	answer(s, "P1", "m2", WIRE_ROLLBACK);
	wait_ms(s, 3600000);
	show(s);
}

/* RocketMQ #1519 */
static void
checks_write_little(struct story *s)
{
	struct stage *g = stage_of(s);
	uint64_t before, bytes, checks;
	char name[16], body[2001];

	memset(body, 'x', 2000);
	body[2000] = '\0';
	g->conf.core.check_outstanding = 10;
	g->conf.core.policy.checks_max = 1000;
	g->conf.core.policy.interval_max_ns = 30 * NS_PER_S;
	begin(s);
	producer(s, "P1", "shop");
	line(s, "P1", "half-sends 100 messages of 2000 bytes, and never answers a check");
	hush(s, true);
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "m%d", i);
		half_as(s, "P1", name, (struct peer_message){ .body = body });
	}
	before = journal_stats(loop_journal(g->loop))->bytes_written;
	wait_ms(s, 3600000);
	hush(s, false);
	bytes = journal_stats(loop_journal(g->loop))->bytes_written - before;
	checks = core_stats(loop_core(g->loop))->checks_sent;
	line(s, "--", "an hour goes by, with 100 messages to be asked about every 30 s");
	line(s, "escrow", "at most 10 checks are unanswered on one connection: the others wait");
	line(s, "escrow", "%s",
	     checks > 1000 && checks < 13000
		     ? "delivered more than a thousand checks, as many as fit"
		     : "delivered another number of checks than it should");
	line(s, "journal", "%s",
	     bytes < checks * 200 ? "grew by less than 200 bytes for each delivered check"
				  : "grew by more than 200 bytes for each delivered check");
}

/* RocketMQ #9500 */
static void
one_poisoned(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	producer(s, "P2", "bank");
	half(s, "P1", "m1");
	half(s, "P2", "m2");
	half(s, "P1", "m3");
	quit(s, "P2");
	remark(s, "nobody can answer for m2, and m1 makes P1's listener fail each time");
	wait_ms(s, 6000);
	answer(s, "P1", "m1", WIRE_UNKNOWN);
	remark(s, "m3 is not kept waiting by either");
	answer(s, "P1", "m3", WIRE_COMMIT);
	wait_ms(s, 30000);
	answer(s, "P1", "m1", WIRE_UNKNOWN);
	show(s);
}

const struct story_case story_checks[] = {
	{ "silent-producer", "A producer that falls silent is asked",
	  "Promise 5. No END came. When the immunity of the half message is over (6 s),\n"
	  "the producer is asked what became of its local transaction, and its answer\n"
	  "decides.",
	  silent_producer },
	{ "another-producer", "Any producer of the group can be asked",
	  "The connection that half-sent is preferred while it lives. When it is gone,\n"
	  "another of the same group is asked: the answer is in the database, not in\n"
	  "the process.",
	  another_producer },
	{ "nobody-there", "A check that could not be delivered does not count",
	  "With no producer of the group connected the group is flagged, and the checks\n"
	  "wait; the first that comes is asked.",
	  nobody_there },
	{ "parked", "When the checks are used up a transaction is parked, never dropped",
	  "Promise 5. RocketMQ throws a message away after transactionCheckMax checks.\n"
	  "Escrow keeps it, shows it, and goes on asking slowly: a late answer still\n"
	  "decides.",
	  parked },
	{ "resume", "An operator lets a parked transaction be asked at full pace again",
	  "For instance after an outage of the producers' database.", resume },
	{ "generation-rule", "An answer to an old check counts as unknown",
	  "The one race that idempotent half-sends bring. An answer \"no such order\" may\n"
	  "be given before the repeated half-send is answered and the local transaction\n"
	  "begins. So each repeat raises the generation, a check carries it in its\n"
	  "token, and an answer with an older one does not decide.",
	  generation_rule },
	{ "own-word", "A client's own END counts whatever the generation",
	  "Only answers to checks can be out of date. Who says END has run the local\n"
	  "transaction.",
	  own_word },
	{ "rocketmq-8158", "RocketMQ #8158: decided by a check, then by the client",
	  "There, a COMMIT after a check answered COMMIT published the message again, a\n"
	  "COMMIT after a check answered ROLLBACK was accepted, and checks went on\n"
	  "after the decision.",
	  two_decisions },
	{ "rocketmq-544", "RocketMQ #544: the edge of the immunity",
	  "There, a message whose immunity ended in the same millisecond was never\n"
	  "checked.",
	  immunity_boundary },
	{ "rocketmq-8311", "RocketMQ #8311: only delivered checks count",
	  "There, the counter rose while the message was immune, and it was discarded\n"
	  "with no check ever sent.",
	  delivered_checks_count },
	{ "rocketmq-1517", "RocketMQ #1517: nobody is asked about what is decided",
	  "A check that is under way when the decision comes is the only one that can\n"
	  "be late.",
	  no_check_of_decided },
	{ "rocketmq-1519", "RocketMQ #1519: checks do not fill the disk",
	  "There, a half message was written anew with each check, or attempt at one: 3\n"
	  "TB in two days. Here a body is written once, and a delivered check is a\n"
	  "short lazy record.",
	  checks_write_little },
	{ "rocketmq-9500", "RocketMQ #9500: one message does not stop the checks of others",
	  "There, an exception in one round of checks kept all later ones from being\n"
	  "asked.",
	  one_poisoned },
	{ 0 },
};
