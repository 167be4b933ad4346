/*
 * test_sink.c -- what the relay may expect of a sink, asked of the real and of the simulated one.
 *
 * The real one talks to tests/mockd, or to the Kafka at $ESCROW_TEST_KAFKA when that is set (the
 * cases that need faults on command are then left out).  If the two sinks disagreed, the
 * simulator would prove things about a Kafka that does not exist.
 */
#include <librdkafka/rdkafka.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "contract/sink_rig.h"
#include "contract/threads_fail.h"
#include "unit/unit.h"

/* Would lose: the order of a key, or be told "published" of what is not in the log. */
static void
each_is_reported_once_and_lies_in_order(struct rig *g)
{
	struct buf want[3] = { BUF_INIT, BUF_INIT, BUF_INIT };
	int64_t last[3] = { -1, -1, -1 };

	ck_assert(rig_await(g, SINK_CLUSTER, 1));
	ck_assert_uint_gt(strlen(g->cluster), 0);
	for (unsigned i = 0; i < 600; i++) {
		char value[32];

		snprintf(value, sizeof(value), "m%u", i);
		ck_assert_int_eq(rig_publish(g, (int32_t)i % 3, i), 0);
		buf_printf(&want[i % 3], "ts=1700000000123 key=null value=%zu:%s\n", strlen(value),
			   value);
	}
	ck_assert(rig_await(g, SINK_REPORT, 600));
	for (unsigned i = 0; i < 600; i++) {
		ck_assert_uint_eq(g->times[i], 1);
		ck_assert_int_eq(g->reports[i].result, SINK_ACKED);
		ck_assert_int_gt(g->reports[i].offset, last[i % 3]);
		last[i % 3] = g->reports[i].offset;
	}
	rig_read_log(g, 600);
	for (unsigned p = 0; p < 3; p++) {
		ck_assert(str_eq(buf_as_str(&g->log[p]), buf_as_str(&want[p])));
		buf_free(&want[p]);
	}
}

/* Would lose: a header, its order, or the difference between nothing and an empty value. */
static void
every_byte_arrives_as_given(struct rig *g)
{
	struct sink_header headers[] = {
		{ STR("a"), STR("1") },    { STR("b"), { "\0\xff", 2 } }, { STR("a"), STR("2") },
		{ STR("null"), STR_NONE }, { STR("empty"), STR("") },
	};
	struct sink_record r = rig_record(g, 0, "x");

	rig_await(g, SINK_CLUSTER, 1);
	r.key = STR("key");
	r.headers = headers;
	r.header_count = ARRAY_LEN(headers);
	ck_assert_int_eq(g->sink->ops->publish(g->sink, &r, 0), 0);
	r = rig_record(g, 0, "");
	r.key = STR("");
	ck_assert_int_eq(g->sink->ops->publish(g->sink, &r, 1), 0);
	r = rig_record(g, 0, "");
	r.value = STR_NONE;
	r.timestamp_ms = 1;
	ck_assert_int_eq(g->sink->ops->publish(g->sink, &r, 2), 0);
	ck_assert(rig_await(g, SINK_REPORT, 3));
	rig_read_log(g, 3);
	buf_u8(&g->log[0], 0);
	ck_assert_str_eq(
		g->log[0].data,
		"ts=1700000000123 key=3:key value=1:x [a] h=1:1 [b] h=2:\\x00\\xff [a] h=1:2"
		" [null] h=null [empty] h=0:\n"
		"ts=1700000000123 key=0: value=0:\n"
		"ts=1 key=null value=null\n");
}

/* Would lose: half-sends to a topic that is there, or the refusal of one that is not. */
static void
topics_are_described(struct rig *g)
{
	g->sink->ops->describe(g->sink, str_of(g->topic));
	ck_assert(rig_await(g, SINK_TOPIC, 1));
	ck_assert_int_eq(g->topic_news.news, SINK_TOPIC_HERE);
	ck_assert_int_eq(g->topic_news.partitions, 3);
	if (g->real && getenv("ESCROW_TEST_KAFKA"))
		ck_assert_uint_eq(g->topic_news.max_bytes, 77777);
	/* Asked again, answered again: the core waits for each. */
	g->sink->ops->describe(g->sink, str_of(g->topic));
	ck_assert(rig_await(g, SINK_TOPIC, 2));
	ck_assert_int_eq(g->topic_news.news, SINK_TOPIC_HERE);
	/* The cluster is known by then, so that nobody takes another's topics for his own. */
	ck_assert_uint_eq(g->kinds[SINK_CLUSTER], 1);
	if (g->real && !getenv("ESCROW_TEST_KAFKA")) {
		rig_mock(g, "topic other 1");
		rig_mock(g, "topic-error other 3");
	}
	g->sink->ops->describe(g->sink, STR("other"));
	ck_assert(rig_await(g, SINK_TOPIC, 3));
	ck_assert_int_eq(g->topic_news.news, SINK_TOPIC_GONE);
}

/* Would lose: the answer to half-sends to a topic, which wait for it; or see "unknown topic". */
static void
without_a_broker_a_topic_is_neither_here_nor_gone(struct rig *g)
{
	rig_await(g, SINK_CLUSTER, 1);
	if (g->real)
		rig_mock(g, "down all");
	else
		sink_sim_down(g->sim, true);
	g->sink->ops->describe(g->sink, str_of(g->topic));
	if (!g->real) /* time stands still in a world that is down: it is a minute later */
		sink_sim_advance(g->sim, g->now_ns += 60 * NS_PER_S);
	ck_assert(rig_await(g, SINK_TOPIC, 1));
	ck_assert_int_eq(g->topic_news.news, SINK_TOPIC_FAILED);
}

/* Would lose: everything behind the first full queue, or the daemon's sleep in a busy loop. */
static void
a_full_queue_says_when_there_is_room(struct rig *g)
{
	unsigned taken = 0;

	rig_await(g, SINK_CLUSTER, 1);
	while (taken < 100 && rig_publish(g, 0, taken) == 0)
		taken++;
	if (!g->real) {
		ck_assert_uint_eq(taken, 100);
		rig_knobs(g, (struct sink_sim_knobs){ .full_permille = 1000 });
	} else {
		ck_assert_uint_eq(taken, 10); /* queue.buffering.max.messages */
	}
	ck_assert_int_eq(rig_publish(g, 0, taken), ERR_AGAIN);
	if (!g->real)
		rig_knobs(g, (struct sink_sim_knobs){ 0 });
	ck_assert(rig_await(g, SINK_READY, 1));
	ck_assert_int_eq(rig_publish(g, 0, taken), 0);
	ck_assert(rig_await(g, SINK_REPORT, taken + 1));
	ck_assert_uint_eq(g->times[taken], 1);
	rig_read_log(g, taken + 1);
}

/* Would lose: the loop, which would hear twice of what it publishes again. */
static void
rebuilding_voids_what_is_unreported(struct rig *g)
{
	rig_await(g, SINK_CLUSTER, 1);
	if (g->real)
		rig_mock(g, "down all");
	else
		sink_sim_down(g->sim, true);
	for (unsigned i = 0; i < 10; i++)
		ck_assert_int_eq(rig_publish(g, 0, i), 0);
	ck_assert_int_eq(g->sink->ops->rebuild(g->sink), 0);
	if (g->real)
		rig_mock(g, "up all");
	else
		sink_sim_down(g->sim, false);
	for (unsigned i = 100; i < 110; i++)
		ck_assert_int_eq(rig_publish(g, 0, i), 0);
	ck_assert(rig_await(g, SINK_REPORT, 10));
	for (unsigned i = 0; i < 10; i++) {
		ck_assert_uint_eq(g->times[i], 0);
		ck_assert_uint_eq(g->times[100 + i], 1);
		ck_assert_int_eq(g->reports[100 + i].result, SINK_ACKED);
	}
	rig_read_log(g, 10);
}

/* Would lose: the lane of a message that Kafka will never take. */
static void
a_refusal_of_the_message_is_told_as_one(struct rig *g)
{
	rig_await(g, SINK_CLUSTER, 1);
	if (g->real)
		rig_mock(g, "errors 0 10");
	else
		rig_knobs(g, (struct sink_sim_knobs){ .refuse_permille = 1000 });
	ck_assert_int_eq(rig_publish(g, 0, 1), 0);
	ck_assert(rig_await(g, SINK_REPORT, 1));
	ck_assert_int_eq(g->reports[1].result, SINK_REFUSED);
	ck_assert_int_eq(g->reports[1].code, 10);
	ck_assert_int_eq(g->reports[1].offset, -1);
	/* Gapless: this handle may be done for.  A new one is not. */
	ck_assert_int_eq(g->sink->ops->rebuild(g->sink), 0);
	if (!g->real)
		rig_knobs(g, (struct sink_sim_knobs){ 0 });
	ck_assert_int_eq(rig_publish(g, 0, 2), 0);
	ck_assert(rig_await(g, SINK_REPORT, 2));
	ck_assert_int_eq(g->reports[2].result, SINK_ACKED);
	rig_read_log(g, 1);
}

/* Would lose: a million messages to a lapsed ACL, if it were taken for the messages' fault. */
static void
other_errors_are_uncertain_and_leave_no_gap(struct rig *g)
{
	unsigned acked = 0;

	rig_await(g, SINK_CLUSTER, 1);
	if (g->real)
		rig_mock(g, "errors 0 29"); /* TOPIC_AUTHORIZATION_FAILED */
	else
		rig_knobs(g, (struct sink_sim_knobs){ .lost_permille = 1000 });
	for (unsigned i = 0; i < 20; i++)
		ck_assert_int_eq(rig_publish(g, 0, i), 0);
	ck_assert(rig_await(g, SINK_REPORT, 1));
	ck_assert_int_eq(g->reports[0].result, SINK_UNCERTAIN);
	if (!g->real)
		rig_knobs(g, (struct sink_sim_knobs){ 0 });
	ck_assert(rig_await(g, SINK_REPORT, 20));
	/* What lies behind the failure was not appended, or else the order would be lost. */
	for (unsigned i = 0; i < 20; i++) {
		ck_assert_uint_eq(g->times[i], 1);
		acked += g->reports[i].result == SINK_ACKED;
	}
	ck_assert_uint_eq(acked, 0);
	ck_assert_int_eq(g->sink->ops->rebuild(g->sink), 0);
	ck_assert_int_eq(rig_publish(g, 0, 50), 0);
	ck_assert(rig_await(g, SINK_REPORT, 21));
	ck_assert_int_eq(g->reports[50].result, SINK_ACKED);
	rig_read_log(g, 1);
}

/* Would lose: everything from then on, for a dead handle takes nothing. */
static void
a_dead_handle_says_so(struct rig *g)
{
	rig_await(g, SINK_CLUSTER, 1);
	if (g->real) /* OUT_OF_ORDER_SEQUENCE_NUMBER for the first of a handle: fatal */
		rig_mock(g, "errors 0 45");
	else
		rig_knobs(g, (struct sink_sim_knobs){ .fatal_permille = 1000 });
	ck_assert_int_eq(rig_publish(g, 0, 1), 0);
	ck_assert(rig_await(g, SINK_FATAL, 1));
	ck_assert_int_ne(g->fatal, 0);
	ck_assert_int_eq(g->sink->ops->rebuild(g->sink), 0);
	if (!g->real)
		rig_knobs(g, (struct sink_sim_knobs){ 0 });
	ck_assert_int_eq(rig_publish(g, 0, 2), 0);
	while (g->times[2] == 0)
		ck_assert(rig_await(g, SINK_REPORT, g->reported + 1));
	ck_assert_int_eq(g->reports[2].result, SINK_ACKED);
	ck_assert_uint_le(g->times[1], 1);
}

/* ---- both ---- */

#define BOTH(name, property, value)                                                                \
	START_TEST(real_##name)                                                                    \
	{                                                                                          \
		struct rig *g = rig_new(true, property, value);                                    \
		name(g);                                                                           \
		rig_free(g);                                                                       \
	}                                                                                          \
	END_TEST                                                                                   \
	START_TEST(sim_##name)                                                                     \
	{                                                                                          \
		struct rig *g = rig_new(false, NULL, NULL);                                        \
		name(g);                                                                           \
		rig_free(g);                                                                       \
	}                                                                                          \
	END_TEST                                                                                   \
	_Static_assert(1, "takes the semicolon")

BOTH(each_is_reported_once_and_lies_in_order, NULL, NULL);
BOTH(every_byte_arrives_as_given, NULL, NULL);
BOTH(topics_are_described, NULL, NULL);
BOTH(without_a_broker_a_topic_is_neither_here_nor_gone, NULL, NULL);
BOTH(a_full_queue_says_when_there_is_room, "queue.buffering.max.messages", "10");
BOTH(rebuilding_voids_what_is_unreported, NULL, NULL);
BOTH(a_refusal_of_the_message_is_told_as_one, NULL, NULL);
BOTH(other_errors_are_uncertain_and_leave_no_gap, "linger.ms", "50");
BOTH(a_dead_handle_says_so, NULL, NULL);

/* ---- the real one alone ---- */

/* librdkafka's queue takes so many, and then has no room for one. */
static atomic_uint queue_takes;
static atomic_bool queue_full;

rd_kafka_resp_err_t __real_rd_kafka_producev(rd_kafka_t *rk, ...); /* the linker's names */
rd_kafka_resp_err_t __wrap_rd_kafka_producev(rd_kafka_t *rk, ...);

/* What produce() of sink_real_producer.c gives, in its order: there is no other call. */
rd_kafka_resp_err_t
__wrap_rd_kafka_producev(rd_kafka_t *rk, ...)
{
	struct {
		const void *p;
		size_t n;
	} value, key;
	rd_kafka_topic_t *rkt;
	rd_kafka_headers_t *headers;
	int32_t partition;
	int64_t timestamp;
	void *opaque;
	int flags;
	va_list ap;

	if (atomic_load(&queue_takes))
		atomic_fetch_sub(&queue_takes, 1);
	else if (atomic_exchange(&queue_full, false))
		return RD_KAFKA_RESP_ERR__QUEUE_FULL;
	va_start(ap, rk);
	ck_assert_int_eq(va_arg(ap, int), RD_KAFKA_VTYPE_RKT);
	rkt = va_arg(ap, rd_kafka_topic_t *);
	ck_assert_int_eq(va_arg(ap, int), RD_KAFKA_VTYPE_PARTITION);
	partition = va_arg(ap, int32_t);
	ck_assert_int_eq(va_arg(ap, int), RD_KAFKA_VTYPE_MSGFLAGS);
	flags = va_arg(ap, int);
	ck_assert_int_eq(va_arg(ap, int), RD_KAFKA_VTYPE_VALUE);
	value.p = va_arg(ap, void *);
	value.n = va_arg(ap, size_t);
	ck_assert_int_eq(va_arg(ap, int), RD_KAFKA_VTYPE_KEY);
	key.p = va_arg(ap, void *);
	key.n = va_arg(ap, size_t);
	ck_assert_int_eq(va_arg(ap, int), RD_KAFKA_VTYPE_TIMESTAMP);
	timestamp = va_arg(ap, int64_t);
	ck_assert_int_eq(va_arg(ap, int), RD_KAFKA_VTYPE_OPAQUE);
	opaque = va_arg(ap, void *);
	ck_assert_int_eq(va_arg(ap, int), RD_KAFKA_VTYPE_HEADERS);
	headers = va_arg(ap, rd_kafka_headers_t *);
	ck_assert_int_eq(va_arg(ap, int), RD_KAFKA_VTYPE_END);
	va_end(ap);
	return __real_rd_kafka_producev(rk, RD_KAFKA_V_RKT(rkt), RD_KAFKA_V_PARTITION(partition),
					RD_KAFKA_V_MSGFLAGS(flags),
					RD_KAFKA_V_VALUE((void *)(uintptr_t)value.p, value.n),
					RD_KAFKA_V_KEY(key.p, key.n),
					RD_KAFKA_V_TIMESTAMP(timestamp), RD_KAFKA_V_OPAQUE(opaque),
					RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
}

/* Would lose: the messages behind the first that librdkafka has no room for, or their order. */
START_TEST(what_the_library_has_no_room_for_goes_later_in_order)
{
	struct rig *g = rig_new(true, NULL, NULL);
	struct buf want = BUF_INIT;

	rig_await(g, SINK_CLUSTER, 1);
	for (unsigned i = 0; i < 40; i++) {
		if (i % 10 == 0) {
			atomic_store(&queue_takes, 1 + i / 10);
			atomic_store(&queue_full, true);
		}
		ck_assert_int_eq(rig_publish(g, 0, i), 0);
		buf_printf(&want, "ts=1700000000123 key=null value=%d:m%u\n", i < 10 ? 2 : 3, i);
		if (i % 10 == 9) {
			ck_assert(rig_await(g, SINK_REPORT, i + 1));
			/* it was full, or this shows nothing */
			ck_assert(!atomic_load(&queue_full));
		}
	}
	for (unsigned i = 0; i < 40; i++) {
		ck_assert_uint_eq(g->times[i], 1);
		ck_assert_int_eq(g->reports[i].result, SINK_ACKED);
	}
	rig_read_log(g, 40);
	ck_assert(str_eq(buf_as_str(&g->log[0]), buf_as_str(&want)));
	buf_free(&want);
	rig_free(g);
}
END_TEST

/* Would lose: its lane, for ever: with nothing under way the queue will never have more room. */
START_TEST(what_never_fits_the_library_is_a_report)
{
	struct rig *g = rig_new(true, NULL, NULL);

	rig_await(g, SINK_CLUSTER, 1);
	atomic_store(&queue_full, true);
	ck_assert_int_eq(rig_publish(g, 0, 1), 0);
	ck_assert(rig_await(g, SINK_REPORT, 1));
	ck_assert_int_eq(g->reports[1].result, SINK_UNCERTAIN);
	ck_assert_int_eq(g->reports[1].code, RD_KAFKA_RESP_ERR__QUEUE_FULL);
	ck_assert_int_eq(rig_publish(g, 0, 2), 0);
	ck_assert(rig_await(g, SINK_REPORT, 2));
	ck_assert_int_eq(g->reports[2].result, SINK_ACKED);
	rig_read_log(g, 1);
	rig_free(g);
}
END_TEST

/* Would lose: the loop, or the report that the lane waits for. */
START_TEST(a_topic_that_the_library_refuses_is_a_report)
{
	struct rig *g = rig_new(true, NULL, NULL);
	struct sink_record r = rig_record(g, 0, "x");
	char name[600];

	rig_await(g, SINK_CLUSTER, 1);
	memset(name, 'x', sizeof(name));
	r.topic = str_from(name, sizeof(name)); /* librdkafka's bound is 512 */
	ck_assert_int_eq(g->sink->ops->publish(g->sink, &r, 1), 0);
	ck_assert(rig_await(g, SINK_REPORT, 1));
	ck_assert_int_eq(g->reports[1].result, SINK_UNCERTAIN);
	ck_assert_int_eq(g->reports[1].code, RD_KAFKA_RESP_ERR__INVALID_ARG);
	ck_assert_uint_gt(g->reports[1].text.n, 0);
	ck_assert_int_eq(rig_publish(g, 0, 2), 0);
	ck_assert(rig_await(g, SINK_REPORT, 2));
	ck_assert_int_eq(g->reports[2].result, SINK_ACKED);
	rig_free(g);
}
END_TEST

/*
 * Would lose: committed messages.  Kafka refuses the first of a partition and takes the next, for
 * it knows no sequence of this producer; librdkafka takes the first for appended then.
 */
START_TEST(what_kafka_refused_is_not_acked_by_what_follows)
{
	struct rig *g = rig_new(true, "max.in.flight", "5");
	unsigned acked = 0;

	rig_await(g, SINK_CLUSTER, 1);
	rig_mock(g, "rtt all 300");
	rig_mock(g, "errors 0 6 6"); /* NOT_LEADER_FOR_PARTITION */
	for (unsigned i = 0; i < 5; i++) {
		ck_assert_int_eq(rig_publish(g, 0, i), 0);
		g->sink->ops->flush(g->sink);
		(void)poll(NULL, 0, 20); /* a request for each */
	}
	ck_assert(rig_await(g, SINK_REPORT, 5));
	for (unsigned i = 0; i < 5; i++) {
		ck_assert_uint_eq(g->times[i], 1);
		acked += g->reports[i].result == SINK_ACKED;
		ck_assert(g->reports[i].result != SINK_ACKED || g->reports[i].offset >= 0);
	}
	rig_read_log(g, acked);
	rig_free(g);
}
END_TEST

/*
 * Would lose: the daemon, at its limit of threads, to a half-made sink.  A start says it, and not
 * that the configuration is wrong; a handle that cannot be replaced goes on.
 */
START_TEST(a_thread_that_cannot_be_started_is_told)
{
	struct sink_property p = { "bootstrap.servers", "127.0.0.1:1" };
	struct sink *sink = NULL;
	unsigned logged;
	struct rig *g;
	char why[512];
	int err;

	for (unsigned nth = 1; nth <= 2; nth++) { /* the producer's, then the scout's */
		threads_fail = nth;
		why[0] = '\0';
		err = sink_real_open(&p, 1, why, sizeof(why), &sink);
		ck_assert_str_eq(why, "cannot start a thread");
		ck_assert_int_eq(err, ERR_SYSTEM);
	}
	g = rig_new(true, NULL, NULL);
	rig_await(g, SINK_CLUSTER, 1);
	ck_assert_int_eq(rig_publish(g, 0, 1), 0);
	ck_assert(rig_await(g, SINK_REPORT, 1));
	threads_fail = 1;
	logged = g->kinds[SINK_LOG];
	ck_assert_int_eq(g->sink->ops->rebuild(g->sink), ERR_SYSTEM);
	ck_assert(rig_await(g, SINK_LOG, logged + 1));
	ck_assert_int_eq(rig_publish(g, 0, 2), 0);
	ck_assert(rig_await(g, SINK_REPORT, 2));
	ck_assert_int_eq(g->reports[2].result, SINK_ACKED);
	ck_assert_int_eq(g->sink->ops->rebuild(g->sink), 0);
	ck_assert_int_eq(rig_publish(g, 0, 3), 0);
	ck_assert(rig_await(g, SINK_REPORT, 3));
	ck_assert_int_eq(g->reports[3].result, SINK_ACKED);
	rig_read_log(g, 3);
	rig_free(g);
}
END_TEST

/* Would lose: a lane, frozen for ever behind a message that librdkafka refuses on the spot. */
START_TEST(too_large_for_the_library_is_a_report)
{
	struct rig *g = rig_new(true, "message.max.bytes", "2000");
	char *big = mem_alloc(4001);
	struct sink_record r;

	rig_await(g, SINK_CLUSTER, 1);
	memset(big, 'x', 4000);
	r = rig_record(g, 0, big);
	ck_assert_int_eq(g->sink->ops->publish(g->sink, &r, 7), 0);
	ck_assert(rig_await(g, SINK_REPORT, 1));
	ck_assert_int_eq(g->reports[7].result, SINK_REFUSED);
	ck_assert_int_eq(rig_publish(g, 0, 8), 0);
	ck_assert(rig_await(g, SINK_REPORT, 2));
	ck_assert_int_eq(g->reports[8].result, SINK_ACKED);
	mem_free(big);
	rig_free(g);
}
END_TEST

/* Would lose: an alarm when Kafka goes, or readiness for ever when it comes back. */
START_TEST(going_and_coming_back_are_told)
{
	struct rig *g = rig_new(true, NULL, NULL);

	ck_assert(rig_await(g, SINK_UP, 1));
	rig_mock(g, "down all");
	ck_assert(rig_await(g, SINK_DOWN, 1));
	rig_mock(g, "up all");
	ck_assert(rig_await(g, SINK_UP, 2));
	rig_free(g);
}
END_TEST

/*
 * Would lose: every new topic, for good, once somebody has named enough of those of which Kafka
 * says neither that they are there nor that they are not (29: not authorised).
 */
START_TEST(names_that_come_to_nothing_make_room)
{
	struct rig *g = rig_new(true, NULL, NULL);
	char name[32], command[64];

	((struct sink_real *)g->sink)->max_topics = 4;
	rig_await(g, SINK_CLUSTER, 1);
	for (unsigned i = 1; i <= 12; i++) {
		snprintf(name, sizeof(name), "other-%u", i);
		snprintf(command, sizeof(command), "topic %s 1", name);
		rig_mock(g, command);
		snprintf(command, sizeof(command), "topic-error %s 29", name);
		rig_mock(g, command);
		g->sink->ops->describe(g->sink, str_of(name));
		if (i % 4 == 0) /* until all of them are answered */
			ck_assert(rig_await(g, SINK_TOPIC, i));
	}
	ck_assert_int_eq(g->topic_news.news, SINK_TOPIC_FAILED);
	g->sink->ops->describe(g->sink, str_of(g->topic));
	ck_assert(rig_await(g, SINK_TOPIC, 13));
	ck_assert_int_eq(g->topic_news.news, SINK_TOPIC_HERE);
	rig_free(g);
}
END_TEST

/* Would lose: the promises of the README, to one line in a configuration file. */
START_TEST(what_is_ours_cannot_be_set)
{
	static const char *const names[] = { "acks",
					     "request.required.acks",
					     "enable.idempotence",
					     "transactional.id",
					     "message.timeout.ms",
					     "dr_msg_cb",
					     "plugin.library.paths",
					     "test.mock.num.brokers" };
	struct sink *sink = NULL;
	struct buf all = BUF_INIT;
	char why[512];

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct sink_property p = { names[i], "1" };

		ck_assert_int_eq(sink_real_open(&p, 1, why, sizeof(why), &sink), ERR_CONFIG);
		ck_assert_ptr_nonnull(strstr(why, names[i]));
		ck_assert_ptr_nonnull(sink_real_denied(names[i]));
	}
	ck_assert_ptr_null(sink_real_denied("compression.type"));
	ck_assert_int_eq(sink_real_open(&(struct sink_property){ "no.such", "1" }, 1, why,
					sizeof(why), &sink),
			 ERR_CONFIG);
	ck_assert_int_eq(sink_real_open(&(struct sink_property){ "linger.ms", "soon" }, 1, why,
					sizeof(why), &sink),
			 ERR_CONFIG);
	/* A wrong combination is found by librdkafka, at the start too. */
	ck_assert_int_eq(sink_real_open(&(struct sink_property){ "max.in.flight", "50" }, 1, why,
					sizeof(why), &sink),
			 ERR_CONFIG);
	ck_assert_ptr_nonnull(strstr(why, "max.in.flight"));
	/* All of it can be known before the start, too. */
	ck_assert_int_eq(sink_real_check(&(struct sink_property){ "no.such", "1" }, 1, why,
					 sizeof(why)),
			 ERR_CONFIG);
	ck_assert_int_eq(sink_real_check(&(struct sink_property){ "max.in.flight", "50" }, 1, why,
					 sizeof(why)),
			 ERR_CONFIG);
	ck_assert_ptr_nonnull(strstr(why, "max.in.flight"));
	ck_assert_int_eq(sink_real_check(&(struct sink_property){ "bootstrap.servers", "a:1" }, 1,
					 why, sizeof(why)),
			 0);
	sink_real_properties(&all);
	buf_u8(&all, 0);
	ck_assert_ptr_nonnull(strstr(all.data, "\ncompression.codec"));
	ck_assert_ptr_nonnull(strstr(all.data, "\nbootstrap.servers"));
	ck_assert_ptr_null(strstr(all.data, "\ntransactional.id"));
	ck_assert_ptr_null(strstr(all.data, "\nplugin.library.paths"));
	buf_free(&all);
}
END_TEST

int
main(void)
{
	const TTest *const anywhere[] = {
		real_each_is_reported_once_and_lies_in_order,
		real_every_byte_arrives_as_given,
		real_topics_are_described,
		real_a_full_queue_says_when_there_is_room,
		too_large_for_the_library_is_a_report,
	};
	const TTest *const here[] = {
		real_each_is_reported_once_and_lies_in_order,
		real_every_byte_arrives_as_given,
		real_topics_are_described,
		real_a_full_queue_says_when_there_is_room,
		too_large_for_the_library_is_a_report,
		real_without_a_broker_a_topic_is_neither_here_nor_gone,
		real_rebuilding_voids_what_is_unreported,
		real_a_refusal_of_the_message_is_told_as_one,
		real_other_errors_are_uncertain_and_leave_no_gap,
		real_a_dead_handle_says_so,
		going_and_coming_back_are_told,
		names_that_come_to_nothing_make_room,
		what_the_library_has_no_room_for_goes_later_in_order,
		what_never_fits_the_library_is_a_report,
		a_topic_that_the_library_refuses_is_a_report,
		what_kafka_refused_is_not_acked_by_what_follows,
		a_thread_that_cannot_be_started_is_told,
		what_is_ours_cannot_be_set,
		sim_each_is_reported_once_and_lies_in_order,
		sim_every_byte_arrives_as_given,
		sim_topics_are_described,
		sim_without_a_broker_a_topic_is_neither_here_nor_gone,
		sim_a_full_queue_says_when_there_is_room,
		sim_rebuilding_voids_what_is_unreported,
		sim_a_refusal_of_the_message_is_told_as_one,
		sim_other_errors_are_uncertain_and_leave_no_gap,
		sim_a_dead_handle_says_so,
	};

	signal(SIGPIPE, SIG_IGN);
	if (getenv("ESCROW_TEST_KAFKA"))
		return unit_run("sink", NULL, NULL, anywhere, ARRAY_LEN(anywhere));
	return unit_run("sink", NULL, NULL, here, ARRAY_LEN(here));
}
