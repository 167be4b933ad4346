/*
 * story_lives.c -- the ordinary lives of a transaction, and the decisions that stand.
 */
#include "sim/story.h"

static void
commit_it(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	show(s);
	remark(s, "P1 runs its local transaction, and says how it ended");
	commit(s, "P1", "m1");
	show(s);
}

static void
rollback_it(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	rollback(s, "P1", "m1");
	show(s);
	remark(s, "the same order, half-sent anew, is another transaction");
	half(s, "P1", "m1");
	commit(s, "P1", "m1");
	show(s);
}

static void
sticky_commit(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	lose_answer(s, "P1");
	commit(s, "P1", "m1");
	remark(s, "P1 does not know, and repeats it: the same answer, nothing happens twice");
	producer(s, "P1", "shop");
	commit(s, "P1", "m1");
	remark(s, "whoever says the opposite is refused, and told what stands");
	rollback(s, "P1", "m1");
	show(s);
}

static void
sticky_rollback(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	rollback(s, "P1", "m1");
	rollback(s, "P1", "m1");
	commit(s, "P1", "m1");
	remark(s, "a crash does not change it");
	power_cut(s, 0, false);
	(void)restart(s);
	producer(s, "P1", "shop");
	commit(s, "P1", "m1");
	show(s);
}

static void
repeated_half_send(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	lose_answer(s, "P1");
	half(s, "P1", "m1");
	remark(s, "P1 cannot know that its half message is there, and repeats it: the same "
		  "transaction");
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	show(s);
	commit(s, "P1", "m1");
}

static void
committed_key(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	commit(s, "P1", "m1");
	remark(s, "by mistake: SUCCESS would make P1 run its local transaction a second time");
	half(s, "P1", "m1");
	remark(s, "on purpose: the client library has put the gid on the message object, and so "
		  "says "
		  "that it knows");
	half_on_purpose(s, "P1", "m1");
	commit(s, "P1", "m1");
	show(s);
}

static void
plain_send(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	half_as(s, "P1", "m1", (struct peer_message){ .plain = true });
	show(s);
}

static void
order_of_a_key(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	half(s, "P1", "m2");
	half(s, "P1", "m3");
	hold_kafka(s, true);
	remark(s, "committed in another order than half-sent: this is the order that counts");
	commit(s, "P1", "m2");
	commit(s, "P1", "m3");
	commit(s, "P1", "m1");
	remark(s, "the first is lost on the way: all go again, from the first, under the same "
		  "numbers");
	kafka_says(s, SINK_SIM_LOST);
	hold_kafka(s, false);
	wait_ms(s, 100);
	show(s);
}

static void
operators_word(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	half(s, "P1", "m2");
	quit(s, "P1");
	operate(s, VERB_COMMIT, "m1", "the order is in the database");
	operate(s, VERB_ROLLBACK, "m2", "the order is not in the database");
	remark(s, "an operator's decision stands like any other");
	operate(s, VERB_ROLLBACK, "m1", "changed my mind");
	producer(s, "P1", "shop");
	commit(s, "P1", "m2");
	show(s);
}

static void
draining(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	line(s, "operator", "stops the daemon: it drains");
	loop_drain(stage_of(s)->loop);
	settle(s);
	remark(s, "what is new is refused; what was begun can be ended");
	half(s, "P1", "m2");
	commit(s, "P1", "m1");
	wait_ms(s, 1000);
	line(s, "escrow", loop_drained(stage_of(s)->loop) ? "has drained" : "is still draining");
}

const struct story_case story_lives[] = {
	{ "commit", "The ordinary life: half-send, commit, Kafka",
	  "A half-send is answered when it is durable, and no consumer sees it. The\n"
	  "commit is answered when the decision is durable. Then the message goes to\n"
	  "Kafka, with the id that consumers drop duplicates by.",
	  commit_it },
	{ "rollback", "A rolled-back message is dropped; the same message may come again",
	  "What is rolled back never reaches Kafka. Its key is free again: the\n"
	  "application may try the same order a second time.",
	  rollback_it },
	{ "sticky-commit", "A commit that was answered is final",
	  "Promise 2. A decision is written once. Repeating it succeeds, contradicting\n"
	  "it is refused, and the answer names the winner.",
	  sticky_commit },
	{ "sticky-rollback", "A rollback that was answered is final",
	  "Promise 2, the other way round, and across a power cut.", sticky_rollback },
	{ "repeated-half-send", "A half-send is idempotent while it is undecided",
	  "A client that got no answer sends again. Group, UNIQ_KEY, topic and body\n"
	  "agree, so it is the same transaction with the same tokens; its generation is\n"
	  "raised (see generation-rule).",
	  repeated_half_send },
	{ "committed-key", "A half-send is never answered SUCCESS for a committed message",
	  "The client would run its local transaction again, and its decision would be\n"
	  "lost. So the key of a committed message is refused, with the gid; except\n"
	  "when the message carries that very gid, which an application gets by sending\n"
	  "the same object again on purpose.",
	  committed_key },
	{ "plain-send", "A send that is not transactional goes straight to Kafka",
	  "It is durable before it is answered, like everything, and then published at\n"
	  "once.",
	  plain_send },
	{ "order-of-a-key", "Messages of one key arrive in the order of their commits",
	  "Promise 4. A lane is what is owed to one topic-partition. When one message\n"
	  "fails, those behind it are not let past: the lane sends again from the first\n"
	  "that is not acknowledged.",
	  order_of_a_key },
	{ "operators-word", "An operator decides when nobody else can",
	  "Commit and rollback take a reason, which is journaled with the decision.",
	  operators_word },
	{ "draining", "A daemon that stops takes nothing new and lets all else end",
	  "Half-sends are refused as \"try again\"; decisions and publications go on.", draining },
	{ 0 },
};
