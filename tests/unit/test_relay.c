/*
 * test_relay.c -- every publication ends in one report, whatever becomes of the handle.
 *
 * The core and the sink are fakes that write down what they are told, as lines of text.
 */
#include "base/err.h"
#include "base/log.h"
#include "relay/relay.h"
#include "unit/unit.h"

#define SECOND NS_PER_S

/* ---- the fakes ----------------------------------------------------------------------------- */

struct core {
	struct buf told;
	int cluster_answer;
};

void
core_report(struct core *c, uint64_t token, enum report report, int64_t offset, int32_t code)
{
	static const char *const names[] = { "acked", "refused", "unknown" };

	buf_printf(&c->told, "%s %llu offset %lld code %d\n", names[report],
		   (unsigned long long)token, (long long)offset, (int)code);
}

void
core_sink_ready(struct core *c)
{
	buf_printf(&c->told, "ready\n");
}

void
core_sink_anew(struct core *c)
{
	buf_printf(&c->told, "anew\n");
}

void
core_topic(struct core *c, struct str name, enum topic_news news, int32_t partitions,
	   uint32_t max_bytes)
{
	static const char *const names[] = { "here", "gone", "failed" };

	buf_printf(&c->told, "topic %.*s %s %d %u\n", STR_ARG(name), names[news], (int)partitions,
		   max_bytes);
}

int
core_cluster(struct core *c, struct str id)
{
	buf_printf(&c->told, "cluster %.*s\n", STR_ARG(id));
	return c->cluster_answer;
}

struct fake_sink {
	struct sink sink;
	struct sink_event events[64];
	unsigned first, last;
	uint64_t tokens[64]; /* as the relay names them, in order of publish() */
	unsigned published;
	unsigned rebuilds;
	int publish_answer;
	int rebuild_answer;
};

static int
fake_publish(struct sink *sink, const struct sink_record *r, uint64_t token)
{
	struct fake_sink *s = (struct fake_sink *)sink;

	(void)r;
	if (s->publish_answer)
		return s->publish_answer;
	s->tokens[s->published++ % 64] = token;
	return 0;
}

static void
fake_describe(struct sink *sink, struct str topic)
{
	(void)sink;
	(void)topic;
}

static bool
fake_next(struct sink *sink, struct sink_event *ret_event)
{
	struct fake_sink *s = (struct fake_sink *)sink;

	if (s->first == s->last)
		return false;
	*ret_event = s->events[s->first++ % 64];
	return true;
}

static int
fake_rebuild(struct sink *sink)
{
	struct fake_sink *s = (struct fake_sink *)sink;

	if (s->rebuild_answer)
		return s->rebuild_answer;
	s->rebuilds++;
	return 0;
}

static const struct sink_ops fake_ops = { .publish = fake_publish,
					  .describe = fake_describe,
					  .next = fake_next,
					  .rebuild = fake_rebuild };

struct world {
	struct core core;
	struct fake_sink sink;
	struct relay *relay;
	struct half half;
	struct message message;
	int64_t now_ns;
};

static void
quiet(void *arg, const char *line, size_t len)
{
	(void)arg;
	(void)line;
	(void)len;
}

static void
say(struct world *w, struct sink_event e)
{
	w->sink.events[w->sink.last++ % 64] = e;
}

static void
say_report(struct world *w, unsigned i, enum sink_result result, int32_t code)
{
	say(w, (struct sink_event){ .kind = SINK_REPORT,
				    .token = w->sink.tokens[i],
				    .result = result,
				    .offset = result == SINK_ACKED ? 7 : -1,
				    .code = code });
}

static int
publish(struct world *w, uint64_t token)
{
	static const uint8_t journal_id[16];
	struct publication p = {
		.token = token, .half = &w->half, .journal_id = journal_id, .n = 1
	};

	return relay_publish(w->relay, &p);
}

/* One turn; what the core was told in it. */
static const char *
turn(struct world *w, int64_t later_ns)
{
	w->now_ns += later_ns;
	buf_reset(&w->core.told, SIZE_MAX);
	ck_assert_int_eq(relay_poll(w->relay, w->now_ns), 0);
	buf_u8(&w->core.told, 0);
	return w->core.told.data;
}

static void
world_init(struct world *w)
{
	memset(w, 0, sizeof(*w));
	log_redirect(NULL, quiet, NULL);
	w->sink.sink.ops = &fake_ops;
	w->message = (struct message){ .topic = STR("t"), .value = STR("v") };
	w->half = (struct half){ .group = STR("g"), .count = 1, .messages = &w->message };
	w->now_ns = 100 * SECOND;
	w->relay =
		relay_new(&w->core, &w->sink.sink, &(struct relay_conf){ .stall_ns = 30 * SECOND });
	turn(w, 0);
}

static void
world_up(struct world *w)
{
	world_init(w);
	say(w, (struct sink_event){ .kind = SINK_CLUSTER, .text = STR("c1") });
	say(w, (struct sink_event){ .kind = SINK_UP });
	turn(w, 0);
}

static void
world_done(struct world *w)
{
	relay_free(w->relay);
	buf_free(&w->core.told);
}

/* ---- tests ---- */

/* Would lose: messages to a Kafka that is not the journal's. */
START_TEST(nothing_is_published_before_the_cluster_is_known)
{
	struct world w;

	world_init(&w);
	ck_assert_int_eq(publish(&w, 1), ERR_AGAIN);
	ck_assert_str_eq(turn(&w, SECOND), "");
	say(&w, (struct sink_event){ .kind = SINK_CLUSTER, .text = STR("c1") });
	ck_assert_str_eq(turn(&w, 0), "cluster c1\nready\n");
	ck_assert(relay_stats(w.relay)->cluster_known);
	ck_assert_int_eq(publish(&w, 1), 0);
	ck_assert_uint_eq(w.sink.published, 1);
	world_done(&w);
}
END_TEST

/* Would lose: the same, at start; later the daemon, for a bootstrap list of two clusters. */
START_TEST(a_foreign_cluster_ends_the_start_and_later_stops_publishing)
{
	struct world w;

	world_init(&w);
	w.core.cluster_answer = ERR_FOREIGN;
	say(&w, (struct sink_event){ .kind = SINK_CLUSTER, .text = STR("c2") });
	ck_assert_int_eq(relay_poll(w.relay, w.now_ns), ERR_FOREIGN);
	world_done(&w);

	/* Kafka was away at the start, and is another one when it comes. */
	world_init(&w);
	relay_serve(w.relay);
	w.core.cluster_answer = ERR_FOREIGN;
	say(&w, (struct sink_event){ .kind = SINK_CLUSTER, .text = STR("c2") });
	ck_assert_str_eq(turn(&w, 0), "cluster c2\n");
	ck_assert_int_eq(publish(&w, 1), ERR_AGAIN);
	world_done(&w);

	world_up(&w);
	relay_serve(w.relay);
	w.core.cluster_answer = ERR_FOREIGN;
	say(&w, (struct sink_event){ .kind = SINK_CLUSTER, .text = STR("c2") });
	ck_assert_str_eq(turn(&w, 0), "cluster c2\n");
	ck_assert_int_eq(publish(&w, 1), ERR_AGAIN);
	w.core.cluster_answer = 0;
	say(&w, (struct sink_event){ .kind = SINK_CLUSTER, .text = STR("c1") });
	ck_assert_str_eq(turn(&w, 0), "cluster c1\nready\n");
	ck_assert_int_eq(publish(&w, 1), 0);
	world_done(&w);
}
END_TEST

/* Would lose: the difference between "it is there", "never" and "who knows". */
START_TEST(reports_reach_the_core_under_its_own_tokens)
{
	struct world w;

	world_up(&w);
	for (unsigned i = 0; i < 4; i++)
		ck_assert_int_eq(publish(&w, 1000 + i), 0);
	ck_assert_uint_eq(relay_stats(w.relay)->in_flight, 4);
	say_report(&w, 2, SINK_REFUSED, 10);
	say_report(&w, 0, SINK_ACKED, 0);
	say_report(&w, 3, SINK_UNCERTAIN, -195);
	ck_assert_str_eq(turn(&w, 0), "refused 1002 offset -1 code 10\n"
				      "acked 1000 offset 7 code 0\n"
				      "unknown 1003 offset -1 code -195\n");
	ck_assert_uint_eq(relay_stats(w.relay)->in_flight, 1);
	ck_assert_int_eq(relay_stats(w.relay)->last_code, -195);
	/* Twice, and of nobody: not told. */
	say_report(&w, 0, SINK_ACKED, 0);
	say(&w, (struct sink_event){ .kind = SINK_REPORT, .token = UINT64_MAX });
	ck_assert_str_eq(turn(&w, 0), "");
	/* The slot of a finished one is used again, and its old token means nothing. */
	ck_assert_int_eq(publish(&w, 2000), 0);
	say_report(&w, 0, SINK_ACKED, 0);
	say_report(&w, 2, SINK_ACKED, 0);
	say_report(&w, 3, SINK_ACKED, 0);
	ck_assert_str_eq(turn(&w, 0), "");
	say_report(&w, 4, SINK_ACKED, 0);
	say_report(&w, 1, SINK_ACKED, 0);
	ck_assert_str_eq(turn(&w, 0), "acked 2000 offset 7 code 0\nacked 1001 offset 7 code 0\n");
	world_done(&w);
}
END_TEST

/* Would lose: everything, at the first fatal error, which with librdkafka is routine. */
START_TEST(a_fatal_error_is_answered_with_a_new_handle)
{
	struct world w;

	world_up(&w);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(publish(&w, i), 0);
	say(&w, (struct sink_event){ .kind = SINK_FATAL, .code = -148, .text = STR("gap") });
	say_report(&w, 1, SINK_ACKED, 0);
	ck_assert_str_eq(turn(&w, 0), "acked 1 offset 7 code 0\n");
	/* What the dead handle still has to say is awaited: it may name the culprit. */
	ck_assert_uint_eq(w.sink.rebuilds, 0);
	ck_assert_int_eq(publish(&w, 9), ERR_AGAIN);
	say_report(&w, 0, SINK_REFUSED, 10);
	ck_assert_str_eq(turn(&w, SECOND / 2), "refused 0 offset -1 code 10\n");
	ck_assert_int_eq(relay_deadline_ns(w.relay), w.now_ns + SECOND / 2);
	ck_assert_str_eq(turn(&w, SECOND / 2), "anew\nunknown 2 offset -1 code 10\nready\n");
	ck_assert_uint_eq(w.sink.rebuilds, 1);
	ck_assert_uint_eq(relay_stats(w.relay)->rebuilds, 1);
	ck_assert_uint_eq(relay_stats(w.relay)->in_flight, 0);
	/* The old handle's report comes too late to count. */
	say_report(&w, 2, SINK_ACKED, 0);
	ck_assert_str_eq(turn(&w, 0), "");
	ck_assert_int_eq(publish(&w, 9), 0);
	world_done(&w);
}
END_TEST

/* Would lose: a second for nothing; nobody waits when nothing is under way. */
START_TEST(an_idle_dead_handle_is_replaced_at_once)
{
	struct world w;

	world_up(&w);
	say(&w, (struct sink_event){ .kind = SINK_FATAL, .code = -148, .text = STR("gap") });
	ck_assert_str_eq(turn(&w, 0), "anew\n");
	ck_assert_uint_eq(w.sink.rebuilds, 1);
	ck_assert_int_eq(relay_deadline_ns(w.relay), TIME_NEVER);
	world_done(&w);
}
END_TEST

/* Would lose: all that is committed, to a librdkafka that has stopped without a word. */
START_TEST(a_stall_is_noticed)
{
	struct world w;

	world_up(&w);
	ck_assert_int_eq(publish(&w, 1), 0);
	ck_assert_str_eq(turn(&w, 20 * SECOND), "");
	ck_assert_int_eq(publish(&w, 2), 0);
	ck_assert_int_eq(relay_deadline_ns(w.relay), w.now_ns + 10 * SECOND);
	ck_assert_str_eq(turn(&w, 10 * SECOND - 1), "");
	ck_assert_uint_eq(w.sink.rebuilds, 0);
	ck_assert_int_eq(publish(&w, 5), 0);
	ck_assert_str_eq(turn(&w, 1), "");
	/* What does not stall is heard first: it would else be published twice. */
	ck_assert_int_eq(publish(&w, 6), ERR_AGAIN);
	say_report(&w, 2, SINK_ACKED, 0);
	ck_assert_str_eq(turn(&w, 1), "acked 5 offset 7 code 0\n");
	ck_assert_uint_eq(w.sink.rebuilds, 0);
	ck_assert_int_le(relay_deadline_ns(w.relay), w.now_ns + SECOND / 4);
	ck_assert_str_eq(
		turn(&w, SECOND / 4),
		"anew\nunknown 1 offset -1 code -185\nunknown 2 offset -1 code -185\nready\n");
	ck_assert_uint_eq(w.sink.rebuilds, 1);
	/* One that is acknowledged in time does not age on. */
	ck_assert_int_eq(publish(&w, 3), 0);
	turn(&w, 20 * SECOND);
	ck_assert_int_eq(publish(&w, 4), 0);
	say_report(&w, 2, SINK_ACKED, 0);
	turn(&w, 20 * SECOND);
	ck_assert_uint_eq(w.sink.rebuilds, 1);
	world_done(&w);
}
END_TEST

/* Would lose: the relay, to one failure of rd_kafka_new(). */
START_TEST(a_failed_rebuild_is_tried_again)
{
	struct world w;

	world_up(&w);
	w.sink.rebuild_answer = ERR_KAFKA;
	ck_assert_int_eq(publish(&w, 1), 0);
	say(&w, (struct sink_event){ .kind = SINK_FATAL, .code = -148, .text = STR("gap") });
	turn(&w, 0);
	ck_assert_str_eq(turn(&w, SECOND), "");
	ck_assert_int_eq(relay_deadline_ns(w.relay), w.now_ns + SECOND);
	w.sink.rebuild_answer = 0;
	ck_assert_str_eq(turn(&w, SECOND), "anew\nunknown 1 offset -1 code -148\n");
	ck_assert_uint_eq(w.sink.rebuilds, 1);
	world_done(&w);
}
END_TEST

/* Would lose: a full queue's messages, or the loop in a busy wait. */
START_TEST(a_full_queue_is_passed_on)
{
	struct world w;

	world_up(&w);
	w.sink.publish_answer = ERR_AGAIN;
	ck_assert_int_eq(publish(&w, 1), ERR_AGAIN);
	ck_assert_uint_eq(relay_stats(w.relay)->in_flight, 0);
	ck_assert_str_eq(turn(&w, 0), "");
	w.sink.publish_answer = 0;
	say(&w, (struct sink_event){ .kind = SINK_READY });
	ck_assert_str_eq(turn(&w, 0), "ready\n");
	ck_assert_int_eq(publish(&w, 1), 0);
	/* Nobody waits: nobody is told. */
	say(&w, (struct sink_event){ .kind = SINK_READY });
	ck_assert_str_eq(turn(&w, 0), "");
	world_done(&w);
}
END_TEST

/* Would lose: a lane for ever, behind a body that no longer inflates. */
START_TEST(what_cannot_be_mapped_is_refused_in_the_next_turn)
{
	struct world w;

	world_up(&w);
	w.message.codec = CODEC_ZLIB;
	w.message.plain_bytes = 10;
	ck_assert_int_eq(publish(&w, 5), 0);
	ck_assert_int_eq(relay_deadline_ns(w.relay), w.now_ns);
	ck_assert_uint_eq(w.sink.published, 0);
	ck_assert_str_eq(turn(&w, 0), "refused 5 offset -1 code 87\n");
	ck_assert_uint_eq(relay_stats(w.relay)->mapping_failures, 1);
	ck_assert_str_eq(turn(&w, 0), "");
	world_done(&w);
}
END_TEST

/* Would lose: the answer to half-sends that wait for a topic; and what readyz says. */
START_TEST(news_of_topics_and_of_brokers_are_passed_on)
{
	struct world w;

	world_up(&w);
	ck_assert(relay_stats(w.relay)->up);
	say(&w, (struct sink_event){ .kind = SINK_TOPIC,
				     .topic = STR("a"),
				     .news = SINK_TOPIC_HERE,
				     .partitions = 3,
				     .max_bytes = 9 });
	say(&w,
	    (struct sink_event){ .kind = SINK_TOPIC, .topic = STR("b"), .news = SINK_TOPIC_GONE });
	say(&w, (struct sink_event){
			.kind = SINK_TOPIC, .topic = STR("c"), .news = SINK_TOPIC_FAILED });
	say(&w, (struct sink_event){
			.kind = SINK_DOWN, .code = -187, .text = STR("1/1 brokers are down") });
	say(&w, (struct sink_event){ .kind = SINK_LOG, .code = 7, .text = STR("x") });
	say(&w, (struct sink_event){ .kind = SINK_STATS, .text = STR("{}") });
	ck_assert_str_eq(turn(&w, 0), "topic a here 3 9\ntopic b gone 0 0\ntopic c failed 0 0\n");
	ck_assert(!relay_stats(w.relay)->up);
	ck_assert_str_eq(relay_stats(w.relay)->last_error, "1/1 brokers are down");
	world_done(&w);
}
END_TEST

UNIT("relay", nothing_is_published_before_the_cluster_is_known,
     a_foreign_cluster_ends_the_start_and_later_stops_publishing,
     reports_reach_the_core_under_its_own_tokens, a_fatal_error_is_answered_with_a_new_handle,
     an_idle_dead_handle_is_replaced_at_once, a_stall_is_noticed, a_failed_rebuild_is_tried_again,
     a_full_queue_is_passed_on, what_cannot_be_mapped_is_refused_in_the_next_turn,
     news_of_topics_and_of_brokers_are_passed_on);
