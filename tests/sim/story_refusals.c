/*
 * story_refusals.c -- every refusal, while it still costs nothing.
 */
#include "sim/story.h"

#include "base/buf.h"

static void
unknown_topic(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	half_as(s, "P1", "m1", (struct peer_message){ .topic = "nowhere" });
	half(s, "P1", "m0");
	remark(s, "while Kafka is away a topic never seen is no refusal, but: try again later");
	kafka_down(s, true);
	half_as(s, "P1", "m2", (struct peer_message){ .topic = "invoices" });
	wait_ms(s, 2000);
	remark(s, "a topic that was seen serves while Kafka is away: the catalogue is journaled");
	half(s, "P1", "m3");
	show(s);
}

static void
too_big(struct story *s)
{
	char *body = mem_alloc(9000);

	memset(body, 'x', 8999);
	sink_sim_topic(stage_of(s)->sink, "small", 1, 200);
	begin(s);
	producer(s, "P1", "shop");
	half_as(s, "P1", "m1", (struct peer_message){ .body = body });
	remark(s, "topic small takes 200 bytes: over key, value, headers and batch overhead");
	body[180] = '\0';
	half_as(s, "P1", "m2", (struct peer_message){ .body = body, .topic = "small" });
	half_as(s, "P1", "m3", (struct peer_message){ .body = body });
	mem_free(body);
	show(s);
}

static void
odd_messages(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	half_as(s, "P1", "m1", (struct peer_message){ .property = "escrow-id", .value = "mine" });
	half_as(s, "P1", "m2", (struct peer_message){ .property = "DELAY", .value = "3" });
	half_as(s, "P1", "m3", (struct peer_message){ .property = "ESCROW_DB", .value = "main" });
	half_as(s, "P1", "m4", (struct peer_message){ .topic = "no such/topic" });
	show(s);
}

static void
key_reused(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	half_as(s, "P1", "m1", (struct peer_message){ .body = "something else" });
	half_as(s, "P1", "m1", (struct peer_message){ .topic = "payments" });
	remark(s, "another group's keys are its own");
	producer(s, "P2", "bank");
	half_as(s, "P2", "m1", (struct peer_message){ .body = "something else" });
	show(s);
}

static void
wrong_hands(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	producer(s, "P2", "bank");
	half(s, "P1", "m1");
	remark(s, "a sequence can be counted; the token beside it is 55 random bits");
	commit_with(s, "P2", "m1", 0, 256);
	commit_with(s, "P2", "m1", 1, 0);
	remark(s, "with the right tokens, but of another group");
	commit_as(s, "P2", "m1", "bank");
	show(s);
	rollback(s, "P1", "m1");
}

static void
too_many(struct story *s)
{
	stage_of(s)->conf.core.undecided_max = 2;
	begin(s);
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	half(s, "P1", "m2");
	half(s, "P1", "m3");
	remark(s, "a decision makes room");
	commit(s, "P1", "m1");
	half(s, "P1", "m3");
	show(s);
}

static void
too_many_repeats(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	line(s, "P1", "repeats it 255 times");
	hush(s, true);
	for (int i = 0; i < 255; i++)
		half(s, "P1", "m1");
	hush(s, false);
	show(s);
	half(s, "P1", "m1");
	commit(s, "P1", "m1");
}

static void
operator_refused(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	operate(s, VERB_ROLLBACK, "m1", "");
	operate(s, VERB_RETRY, "m1", "it has not even been committed");
	operate(s, VERB_DISCARD, "m1", "nor refused by Kafka");
	rollback(s, "P1", "m1");
	operate(s, VERB_COMMIT, "m1", "too late");
	operate(s, VERB_CHECK, "m1", "nothing to ask");
	show(s);
}

const struct story_case story_refusals[] = {
	{ "topic-unknown", "A topic that Kafka does not have is refused at the half-send",
	  "Topic and partition are fixed at the half-send, where a refusal still harms\n"
	  "nobody: the local transaction has not begun.",
	  unknown_topic },
	{ "too-big", "A message that Kafka would refuse for its size is refused at the half-send",
	  "Against limits.message, and against what Kafka says of the topic\n"
	  "(max.message.bytes).",
	  too_big },
	{ "odd-messages", "What could not be published as it is, is refused at the half-send",
	  "Names that are Escrow's own, delays, a database id that is none, a topic\n"
	  "name that Kafka does not allow.",
	  odd_messages },
	{ "key-reused", "One key, two messages: the second is refused",
	  "A repeat is recognised by its UNIQ_KEY within the group; so the same key\n"
	  "with another body or topic must be a mistake, and treating it as a repeat\n"
	  "would lose a message.",
	  key_reused },
	{ "wrong-hands", "Only who holds the tokens, of the right group, decides",
	  "The answer to a half-send hands out two numbers. Both come back with the\n"
	  "END.",
	  wrong_hands },
	{ "too-many-undecided", "At the limit of undecided transactions a half-send is BUSY",
	  "BUSY says: try again later. Nothing was begun.", too_many },
	{ "too-many-repeats", "The 256th repeat of one half message is refused",
	  "The generation has eight bits in the token; going round would make an old\n"
	  "answer look new.",
	  too_many_repeats },
	{ "operator-refused", "What operators cannot do",
	  "A reason is required, and every verb has its states.", operator_refused },
	{ 0 },
};
