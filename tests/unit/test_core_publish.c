/*
 * test_core_publish.c -- every committed message reaches Kafka, whatever the disk does.
 *
 * A user would lose: a message whose body came too late, or whose turn never came; or get one twice
 * for a mark that was dropped and never written again.
 */
#include "fake_ports.h"
#include "unit.h"

#include "core/core_internal.h"

static struct fake f;

static void
open_with_topic(int32_t partitions)
{
	fake_open(&f);
	fake_topic(&f, "t", partitions);
}

static struct answer
commit_to(const char *key, int32_t partition)
{
	struct message m = fake_message("t", "hello");
	struct half_request r = {
		.to = { 1, 1 },
		.half = { .group = STR("g"), .key = str_of(key), .count = 1, .messages = &m },
	};
	struct answer a;

	m.partition = partition;
	core_half_send(f.core, &r);
	fake_turn(&f);
	a = *fake_last(&f);
	ck_assert_int_eq(a.code, ANSWER_OK);
	fake_end(&f, &a, a.token, VERDICT_COMMIT, false);
	fake_turn(&f);
	return a;
}

static void
report(uint32_t i, enum report what)
{
	core_clock(f.core, f.now_ns, f.wall_ms);
	core_report(f.core, f.published[i].token, what, what == REPORT_ACKED ? 5 : -1, 10);
}

static uint32_t
count_of(enum entry_type type)
{
	uint32_t n = 0;

	for (uint32_t i = f.first; i < f.count; i++)
		n += f.log[i].type == type;
	return n;
}

/* More lanes, and more in flight, than anything was made for at first. */
START_TEST(many_lanes_and_many_in_flight)
{
	char key[16];

	open_with_topic(300);
	for (int i = 0; i < 600; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		commit_to(key, i % 300);
		if (i % 300 == 299)
			fake_turn(&f);
	}
	ck_assert_uint_eq(f.publish_count, 600);
	for (uint32_t i = 0; i < 600; i++)
		report(599 - i, REPORT_ACKED);
	fake_turn(&f);
	ck_assert_uint_eq(core_owed(f.core), 0);
	fake_crash(&f, 0);
	fake_turn(&f);
	ck_assert_uint_eq(f.publish_count, 0);
}
END_TEST

/* The window of bytes bounds memory; it never stops the last message. */
START_TEST(the_window_of_bytes)
{
	open_with_topic(3);
	f.conf.lane_window_bytes = 1;
	fake_crash(&f, 0);
	commit_to("a", 0);
	commit_to("b", 1);
	commit_to("c", 2);
	ck_assert_uint_eq(f.publish_count, 1);
	ck_assert_int_gt(core_next_due_ns(f.core), f.now_ns);
	for (uint32_t i = 0; i < 3; i++) {
		report(i, REPORT_ACKED);
		if (i < 2)
			ck_assert_int_le(core_next_due_ns(f.core), f.now_ns);
		fake_turn(&f);
	}
	ck_assert_uint_eq(f.publish_count, 3);
	ck_assert_uint_eq(core_owed(f.core), 0);
}
END_TEST

/*
 * What counts is what Kafka's client gets, and keeps until it reports: inflated.  A user would lose
 * the daemon, to somebody who commits a few thousand well compressed megabytes.
 */
START_TEST(the_window_counts_inflated_bytes)
{
	struct message m[6];

	open_with_topic(6);
	f.conf.lane_window_bytes = 1u << 20;
	fake_crash(&f, 0);
	for (int i = 0; i < 6; i++) {
		struct half_request r = {
			.to = { 1, 1 }, .half = { .group = STR("g"), .count = 1, .messages = &m[i] }
		};
		struct answer a;

		m[i] = fake_message("t", "small");
		m[i].codec = CODEC_ZLIB;
		m[i].plain_bytes = 600u << 10;
		m[i].partition = i;
		core_half_send(f.core, &r);
		fake_turn(&f);
		a = *fake_last(&f);
		ck_assert_int_eq(fake_decided(&f, &a, VERDICT_COMMIT).code, ANSWER_OK);
	}
	ck_assert_uint_eq(f.publish_count, 4); /* the window, and once more */
	report(0, REPORT_ACKED);
	fake_turn(&f);
	ck_assert_uint_eq(f.publish_count, 5);
	for (uint32_t i = 1; i < 6; i++) {
		report(i, REPORT_ACKED);
		fake_turn(&f);
	}
	ck_assert_uint_eq(core_owed(f.core), 0);
}
END_TEST

/*
 * A partition without a leader keeps what it was given.  A user would lose: all other topics, as
 * long as that lasts, to the backlog of a few such partitions.
 */
START_TEST(lanes_that_stand_still_leave_the_window_to_others)
{
	char key[16];
	uint32_t acked = 0;

	open_with_topic(4);
	f.conf.lane_window_bytes = 4000; /* a dozen */
	fake_crash(&f, 0);
	for (int i = 0; i < 120; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		commit_to(key, i % 3); /* these stand still */
	}
	ck_assert_uint_lt(f.publish_count, 30);
	for (int i = 0; i < 40; i++) {
		snprintf(key, sizeof(key), "live%d", i);
		commit_to(key, 3);
		for (uint32_t k = 0; k < f.publish_count; k++) {
			if (f.published[k].partition != 3 || f.published[k].n <= acked)
				continue;
			acked++;
			report(k, REPORT_ACKED);
		}
		fake_turn(&f);
		ck_assert_uint_ge(acked, (uint32_t)i + 1);
		ck_assert_uint_lt(f.publish_count - acked, 30);
	}
	ck_assert_uint_eq(core_owed(f.core), 120);
}
END_TEST

/*
 * Kafka takes any sequence for the first of a producer that it does not know.  A user would lose:
 * the order of a key, when the first of two requests is refused by who does not lead yet.
 */
START_TEST(the_first_message_of_a_producer_goes_alone)
{
	open_with_topic(2);
	core_sink_anew(f.core);
	commit_to("a", 0);
	commit_to("b", 0);
	commit_to("c", 0);
	commit_to("other", 1);
	ck_assert_uint_eq(f.publish_count, 2); /* one of each partition */
	report(0, REPORT_ACKED);
	fake_turn(&f);
	ck_assert_uint_eq(f.publish_count, 4); /* it is known there, and not yet at the other */
	commit_to("other2", 1);
	ck_assert_uint_eq(f.publish_count, 4);
	for (uint32_t i = 1; i < 4; i++)
		report(i, REPORT_ACKED);
	fake_turn(&f);
	ck_assert_uint_eq(f.publish_count, 5);
	report(4, REPORT_ACKED);
	ck_assert_uint_eq(core_owed(f.core), 0);
	/* a new one, and one that was silent so long that Kafka may have forgotten it */
	for (int i = 0; i < 2; i++) {
		uint32_t before = f.publish_count;

		if (i == 0)
			core_sink_anew(f.core);
		else
			fake_pass(&f, 3600 * NS_PER_S);
		commit_to(i ? "d" : "e", 0);
		commit_to(i ? "f" : "g", 0);
		ck_assert_uint_eq(f.publish_count, before + 1);
		report(before, REPORT_ACKED);
		fake_turn(&f);
		ck_assert_uint_eq(f.publish_count, before + 2);
		report(before + 1, REPORT_ACKED);
		fake_turn(&f);
	}
}
END_TEST

/*
 * Kafka refuses a batch that is longer than the topic's max.message.bytes, all of it.  A user would
 * lose: his backlog, and everybody's, to one message a rebuild of Kafka's client.
 */
START_TEST(what_is_under_way_fits_the_batch_of_its_topic)
{
	char key[16];

	open_with_topic(2);
	core_topic(f.core, STR("t"), TOPIC_HERE, 2, 1000);
	for (int i = 0; i < 6; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		commit_to(key, 0);
	}
	/* three of some 330 bytes, and no fourth; the other partition has its own */
	ck_assert_uint_eq(f.publish_count, 3);
	commit_to("other", 1);
	ck_assert_uint_eq(f.publish_count, 4);
	ck_assert_int_gt(core_next_due_ns(f.core), f.now_ns);
	for (uint32_t i = 0; i < 7; i++) {
		report(i, REPORT_ACKED);
		fake_turn(&f);
	}
	ck_assert_uint_eq(f.publish_count, 7);
	ck_assert_uint_eq(core_owed(f.core), 0);
}
END_TEST

/* The same where Kafka does not tell the limit, or has another one by now: it is found. */
START_TEST(the_batch_of_a_topic_is_found)
{
	char key[16];
	uint32_t told = 0;
	int rounds = 0;

	open_with_topic(1);
	for (int i = 0; i < 64; i++) {
		snprintf(key, sizeof(key), "k%02d", i);
		commit_to(key, 0);
	}
	ck_assert_uint_eq(f.publish_count, 64);
	/* no batch of more than three is taken */
	while (core_owed(f.core) && rounds++ < 100) {
		uint32_t end = f.publish_count;
		bool fits = end - told <= 3;

		for (bool first = true; told < end; told++, first = false) {
			core_clock(f.core, f.now_ns, f.wall_ms);
			core_report(f.core, f.published[told].token,
				    fits    ? REPORT_ACKED
				    : first ? REPORT_REFUSED
					    : REPORT_UNKNOWN,
				    fits ? 5 : -1, fits ? 0 : 10);
		}
		fake_turn(&f);
	}
	ck_assert_uint_eq(core_owed(f.core), 0);
	ck_assert_uint_eq(core_stats(f.core)->refused, 0);
	/* six halvings, each with one sent alone, and the rest by two and three */
	ck_assert_int_le(rounds, 12 + 32);
}
END_TEST

/* A body that cannot be read now is no reason to skip it, nor to spin. */
START_TEST(a_body_that_cannot_be_read)
{
	open_with_topic(1);
	f.broken = _i == 0;
	f.cold = _i == 1;
	commit_to("a", 0);
	ck_assert_uint_eq(f.publish_count, 0);
	if (f.cold)
		core_fetched(f.core, f.fetch_token, ERR_IO, NULL);
	fake_turn(&f);
	ck_assert_int_gt(core_next_due_ns(f.core), f.now_ns);
	f.broken = f.cold = false;
	fake_pass(&f, f.conf.lane_backoff_max_ns);
	ck_assert_uint_eq(f.publish_count, 1);
	ck_assert_uint_eq(f.published[0].n, 1);
}
END_TEST

/* Between the asking for a body and its coming the world may have changed. */
START_TEST(a_body_that_comes_when_nobody_wants_it)
{
	const struct half *half;
	uint64_t token;

	open_with_topic(1);
	f.cold = true;
	commit_to("a", 0);
	token = f.fetch_token;
	half = fake_half_at(&f, f.fetch_place);
	core_fetched(f.core, FETCH_LANE | 77, 0, half); /* of no lane */
	if (_i == 0) {
		f.sink_full = true;
		core_fetched(f.core, token, 0, half);
		f.sink_full = false;
		core_sink_ready(f.core);
	} else if (_i == 1) {
		ck_assert_int_eq(core_cluster(f.core, STR("ours")), 0);
		ck_assert_int_eq(core_cluster(f.core, STR("other")), ERR_FOREIGN);
		core_fetched(f.core, token, 0, half);
		ck_assert_uint_eq(f.publish_count, 0);
		fake_turn(&f);
		ck_assert_uint_eq(f.publish_count, 0);
		ck_assert_uint_eq(core_stats(f.core)->lanes_frozen, 1);
		ck_assert_int_eq(core_cluster(f.core, STR("ours")), 0);
	} else {
		struct half other = *half;

		/* what lies there now is not it: asked for again */
		other.gid.lo++;
		core_fetched(f.core, token, 0, &other);
	}
	ck_assert_uint_eq(f.publish_count, 0);
	core_fetched(f.core, token, 0, half); /* a second time: it was not asked for twice */
	ck_assert_uint_eq(f.publish_count, 0);
	f.cold = false;
	fake_turn(&f);
	ck_assert_uint_eq(f.publish_count, 1);
	report(0, REPORT_ACKED);
	fake_turn(&f);
	ck_assert_uint_eq(core_owed(f.core), 0);
}
END_TEST

START_TEST(reports_of_nothing_change_nothing)
{
	struct answer a;

	open_with_topic(1);
	a = commit_to("a", 0);
	core_report(f.core, 4711, REPORT_ACKED, 5, 0);
	core_report(f.core, f.published[0].token + (UINT64_C(1) << 32), REPORT_ACKED, 5, 0);
	ck_assert_int_eq(fake_view(&f, a.gid).state, TXN_COMMITTED);
	report(0, REPORT_ACKED);
	report(0, REPORT_ACKED); /* twice */
	ck_assert_int_eq(fake_view(&f, a.gid).state, TXN_PUBLISHED);
	ck_assert_uint_eq(core_stats(f.core)->published, 1);
}
END_TEST

/* On a full disk marks are dropped; what they would have said is said later, and once. */
START_TEST(marks_that_a_full_disk_drops_come_later)
{
	char key[16];

	open_with_topic(1);
	for (int i = 0; i < 6; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		commit_to(key, 0);
	}
	f.lazy_lost = true;
	/* out of order, so that some are named and some lie below the watermark */
	report(0, REPORT_ACKED);
	report(3, REPORT_ACKED);
	report(5, REPORT_ACKED);
	fake_turn(&f);
	report(1, REPORT_ACKED);
	report(2, REPORT_ACKED);
	fake_turn(&f);
	fake_turn(&f);
	ck_assert_uint_eq(count_of(ENTRY_PUBLISHED), 0);
	f.lazy_lost = false;
	fake_turn(&f);
	ck_assert_uint_eq(count_of(ENTRY_PUBLISHED), 1);
	fake_crash(&f, 0);
	fake_turn(&f);
	ck_assert_uint_eq(f.publish_count, 1);
	ck_assert_uint_eq(f.published[0].n, 5);
}
END_TEST

/* The same for one that was refused, retried, and then taken: its number is long below the mark. */
START_TEST(the_mark_of_a_retried_message_is_not_lost)
{
	struct operation op = {
		.to = { 8, 8 }, .verb = VERB_RETRY, .who = STR("ann"), .reason = STR("because")
	};
	struct answer a, b;

	open_with_topic(1);
	a = commit_to("a", 0);
	report(0, REPORT_REFUSED);
	fake_turn(&f);
	ck_assert_uint_eq(f.publish_count, 2);
	report(1, REPORT_REFUSED);
	fake_turn(&f);
	ck_assert_int_eq(fake_view(&f, a.gid).state, TXN_UNDELIVERABLE);
	b = commit_to("b", 0);
	op.gid = a.gid;
	core_operate(f.core, &op);
	fake_turn(&f);
	fake_turn(&f);
	ck_assert_uint_eq(f.publish_count, 4);
	f.lazy_lost = true;
	report(2, REPORT_ACKED);
	report(3, REPORT_ACKED);
	fake_turn(&f);
	fake_turn(&f);
	f.lazy_lost = false;
	fake_turn(&f);
	ck_assert_uint_ge(count_of(ENTRY_PUBLISHED), 2);
	fake_crash(&f, 0);
	fake_turn(&f);
	ck_assert_uint_eq(f.publish_count, 0);
	ck_assert_int_eq(fake_view(&f, a.gid).state, TXN_PUBLISHED);
	ck_assert_int_eq(fake_view(&f, b.gid).state, TXN_PUBLISHED);
}
END_TEST

int
main(void)
{
	TCase *t = unit_case("core_publish", NULL, NULL);

	tcase_add_test(t, many_lanes_and_many_in_flight);
	tcase_add_test(t, the_window_of_bytes);
	tcase_add_test(t, the_window_counts_inflated_bytes);
	tcase_add_test(t, lanes_that_stand_still_leave_the_window_to_others);
	tcase_add_test(t, what_is_under_way_fits_the_batch_of_its_topic);
	tcase_add_test(t, the_first_message_of_a_producer_goes_alone);
	tcase_add_test(t, the_batch_of_a_topic_is_found);
	tcase_add_loop_test(t, a_body_that_cannot_be_read, 0, 2);
	tcase_add_loop_test(t, a_body_that_comes_when_nobody_wants_it, 0, 3);
	tcase_add_test(t, reports_of_nothing_change_nothing);
	tcase_add_test(t, marks_that_a_full_disk_drops_come_later);
	tcase_add_test(t, the_mark_of_a_retried_message_is_not_lost);
	return unit_run_case("core_publish", t);
}
