/*
 * story_kafkas.c -- Kafka away, in doubt, refusing, dying; and another Kafka.
 */
#include "sim/story.h"

static void
away(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	half(s, "P1", "m2");
	kafka_down(s, true);
	commit(s, "P1", "m1");
	commit(s, "P1", "m2");
	wait_ms(s, 20000);
	show(s);
	kafka_down(s, false);
	show(s);
}

static void
frozen(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	half(s, "P1", "m2");
	half_as(s, "P1", "m3", (struct peer_message){ .topic = "payments" });
	hold_kafka(s, true);
	commit(s, "P1", "m1");
	commit(s, "P1", "m2");
	kafka_says(s, SINK_SIM_LOST);
	remark(s, "the lane waits, longer each time; other lanes are not held up");
	commit(s, "P1", "m3");
	kafka_says(s, SINK_SIM_ACKED);
	wait_ms(s, 100);
	kafka_says(s, SINK_SIM_LOST);
	wait_ms(s, 200);
	kafka_says(s, SINK_SIM_ACKED);
	kafka_says(s, SINK_SIM_ACKED);
	show(s);
}

static void
in_doubt(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	half(s, "P1", "m2");
	hold_kafka(s, true);
	commit(s, "P1", "m1");
	commit(s, "P1", "m2");
	kafka_says(s, SINK_SIM_UNHEARD);
	remark(s, "\"possibly persisted\" is neither yes nor no: it is sent again, in order");
	hold_kafka(s, false);
	wait_ms(s, 100);
	show(s);
}

static void
undeliverable(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	half(s, "P1", "m2");
	hold_kafka(s, true);
	commit(s, "P1", "m1");
	commit(s, "P1", "m2");
	kafka_says(s, SINK_SIM_REFUSED);
	remark(s, "perhaps it was another one of its batch: m1 is sent alone");
	kafka_says(s, SINK_SIM_REFUSED);
	remark(s, "for good: an alarm, and the lane goes on behind it");
	kafka_says(s, SINK_SIM_ACKED);
	show(s);
	remark(s, "somebody mends the topic, and lets it be tried again");
	operate(s, VERB_RETRY, "m1", "max.message.bytes was raised");
	kafka_says(s, SINK_SIM_ACKED);
	show(s);
}

static void
discarded(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	hold_kafka(s, true);
	commit(s, "P1", "m1");
	kafka_says(s, SINK_SIM_REFUSED);
	kafka_says(s, SINK_SIM_REFUSED);
	power_cut(s, 0, false);
	(void)restart(s);
	show(s);
	operate(s, VERB_DISCARD, "m1", "the customer was called instead");
	operate(s, VERB_RETRY, "m1", "or was it?");
	show(s);
}

static void
lying(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	half(s, "P1", "m2");
	hold_kafka(s, true);
	commit(s, "P1", "m1");
	commit(s, "P1", "m2");
	kafka_says(s, SINK_SIM_LYING);
	kafka_says(s, SINK_SIM_ACKED);
	kafka_says(s, SINK_SIM_ACKED);
	show(s);
}

static void
fatal(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	half(s, "P1", "m2");
	hold_kafka(s, true);
	commit(s, "P1", "m1");
	commit(s, "P1", "m2");
	kafka_fatal(s);
	wait_ms(s, 1000);
	hold_kafka(s, false);
	wait_ms(s, 200);
	show(s);
}

static void
stalled(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	hold_kafka(s, true);
	commit(s, "P1", "m1");
	wait_ms(s, 29999);
	remark(s,
	       "30 s without a word from the client library: it is taken for dead, once a moment\n"
	       "   has passed for the reports of what did not stall");
	wait_ms(s, 251);
	hold_kafka(s, false);
	wait_ms(s, 200);
	show(s);
}

static void
another_cluster(struct story *s)
{
	struct stage *g = stage_of(s);

	g->conf.relay.contact_ns = NS_PER_S;
	begin(s);
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	line(s, "world", "the bootstrap address leads to another Kafka now");
	sink_sim_cluster(g->sink, "other-cluster");
	settle(s);
	commit(s, "P1", "m1");
	remark(s, "the commit stands, and nothing is published to a stranger");
	show(s);
	kill_9(s);
	(void)restart(s);
	line(s, "world", "the address is mended");
	sink_sim_cluster(g->sink, "sim-cluster");
	(void)restart(s);
	wait_ms(s, 100);
	show(s);
}

const struct story_case story_kafkas[] = {
	{ "kafka-away", "Kafka is away: commits are accepted, and the backlog waits",
	  "Promise 3. A committed message reaches Kafka, however long Kafka is away.", away },
	{ "lane-frozen", "A passing error freezes one lane, which then goes on in order",
	  "Errors of the partition, the cluster, the authorisation: anything that may\n"
	  "pass. They are retried for ever, and never cost a message.",
	  frozen },
	{ "in-doubt", "Kafka has it, and its answer is lost",
	  "The log then holds it twice, under one escrow-id.", in_doubt },
	{ "undeliverable", "Kafka refuses one message for good; an operator retries it",
	  "Only a refusal of this very message (too large, invalid record or\n"
	  "timestamp), confirmed by sending it alone, makes it undeliverable. It is\n"
	  "kept, shown and alarmed.",
	  undeliverable },
	{ "discarded", "Undeliverable survives a crash, until an operator gives it up",
	  "With a reason, which is journaled before it takes effect.", discarded },
	{ "kafka-lies", "A refusal of a message that is in Kafka is not believed at once",
	  "Sent alone once more, it is acknowledged: a duplicate instead of a lost\n"
	  "message.",
	  lying },
	{ "handle-fatal", "A fatal error of the client library is routine",
	  "A new handle is made, and everything that was not acknowledged goes again,\n"
	  "in order.",
	  fatal },
	{ "handle-stalled", "A handle that says nothing is replaced",
	  "All that was under way counts as unknown, and goes again.", stalled },
	{ "another-kafka", "A journal belongs to one Kafka",
	  "The cluster id is journaled at first contact. Another one while serving\n"
	  "freezes all lanes; at the start it ends the start.",
	  another_cluster },
	{ 0 },
};
