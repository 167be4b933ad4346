/*
 * Order towards Kafka.  A message that overtakes another of its key shows consumers an order
 * shipped before it was paid; one that is skipped is lost.
 */
#include <stdio.h>

#include "core/lanes.h"
#include "unit.h"

static struct lanes lanes;
static uint32_t lane;

static void
open_lane(uint32_t window)
{
	lanes_init(&lanes, window, 100, 400);
	lane = lanes_add(&lanes, 0, 0);
}

static void
push(uint32_t count)
{
	while (count-- > 0) {
		struct lane_item item = { .n = lanes_at(&lanes, lane)->next_n++, .row = 7 };

		lanes_push(&lanes, lane, &item);
	}
}

/* Sends what may be sent; the numbers as text. */
static const char *
sent(void)
{
	static char text[4096];
	struct lane_item item;
	size_t n = 0;

	text[0] = '\0';
	while (lanes_next(&lanes, lane, &item)) {
		lanes_sent(&lanes, lane);
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%llu ",
				      (unsigned long long)item.n);
	}
	return text;
}

static enum lane_outcome
report(uint64_t position, enum report r, int64_t now_ns)
{
	struct lane_item item;

	return lanes_report(&lanes, lane, position, r, 0, now_ns, &item);
}

START_TEST(a_window_of_messages_is_on_its_way)
{
	open_lane(3);
	push(5);
	ck_assert_str_eq(sent(), "1 2 3 ");
	report(1, REPORT_ACKED, 0); /* not the first: the window does not move */
	ck_assert_str_eq(sent(), "");
	ck_assert_uint_eq(lanes_at(&lanes, lane)->low, 1);
	report(0, REPORT_ACKED, 0);
	ck_assert_uint_eq(lanes_at(&lanes, lane)->low, 3);
	ck_assert_str_eq(sent(), "4 5 ");
}
END_TEST

/* Operators look the code up: that of those which fail behind it sends them the wrong way. */
START_TEST(a_frozen_lane_names_the_first_failure)
{
	struct lane_item item;

	open_lane(10);
	push(3);
	ck_assert_str_eq(sent(), "1 2 3 ");
	lanes_report(&lanes, lane, 0, REPORT_UNKNOWN, 29, 0, &item);
	lanes_report(&lanes, lane, 1, REPORT_UNKNOWN, -148, 0, &item);
	lanes_report(&lanes, lane, 2, REPORT_UNKNOWN, -148, 0, &item);
	ck_assert_int_eq(lanes_at(&lanes, lane)->mode, LANE_BACKOFF);
	ck_assert_int_eq(lanes_at(&lanes, lane)->code, 29);
}
END_TEST

START_TEST(after_any_failure_nothing_is_sent_until_all_is_heard)
{
	open_lane(10);
	push(4);
	ck_assert_str_eq(sent(), "1 2 3 4 ");
	report(1, REPORT_UNKNOWN, 0);
	push(1);
	ck_assert_str_eq(sent(), "");
	report(0, REPORT_ACKED, 0);
	report(2, REPORT_ACKED, 0); /* some brokers do take what is behind */
	ck_assert_str_eq(sent(), "");
	report(3, REPORT_UNKNOWN, 0);
	ck_assert_int_eq(lanes_at(&lanes, lane)->mode, LANE_BACKOFF);
	ck_assert_int_eq(lanes_wake(&lanes, 99), 100);
	ck_assert_str_eq(sent(), "");
	lanes_wake(&lanes, 100);
	ck_assert_str_eq(sent(), "2 4 5 "); /* in order, what was acknowledged not again */
	ck_assert_uint_eq(lanes.frozen, 0);
}
END_TEST

START_TEST(backoff_doubles_up_to_its_bound_and_a_success_resets_it)
{
	int64_t now = 0;
	static const int64_t gaps[] = { 100, 200, 400, 400 };

	open_lane(1);
	push(2);
	for (size_t i = 0; i < ARRAY_LEN(gaps); i++) {
		ck_assert_str_eq(sent(), "1 ");
		report(0, REPORT_UNKNOWN, now);
		ck_assert_int_eq(lanes_at(&lanes, lane)->until_ns, now + gaps[i]);
		now += gaps[i];
		lanes_wake(&lanes, now);
	}
	ck_assert_str_eq(sent(), "1 ");
	report(0, REPORT_ACKED, now);
	ck_assert_str_eq(sent(), "2 ");
	report(1, REPORT_UNKNOWN, now);
	ck_assert_int_eq(lanes_at(&lanes, lane)->until_ns, now + 100);
}
END_TEST

/* Everything before it goes first, alone too: or the confirmation itself would overtake. */
START_TEST(a_refusal_is_confirmed_alone_and_in_order)
{
	open_lane(10);
	push(4);
	ck_assert_str_eq(sent(), "1 2 3 4 ");
	report(1, REPORT_REFUSED, 0);
	report(0, REPORT_UNKNOWN, 0);
	report(2, REPORT_UNKNOWN, 0);
	report(3, REPORT_UNKNOWN, 0);
	ck_assert_int_eq(lanes_at(&lanes, lane)->mode, LANE_SOLO);
	ck_assert_str_eq(sent(), "1 ");
	ck_assert_int_eq(report(0, REPORT_ACKED, 0), LANE_ACKED);
	ck_assert_str_eq(sent(), "2 ");
	ck_assert_int_eq(report(1, REPORT_REFUSED, 0), LANE_REFUSE);
	ck_assert_str_eq(sent(), ""); /* until that is durable */
	lanes_refused(&lanes, lane, 1);
	ck_assert_str_eq(sent(), "3 4 ");
	report(2, REPORT_ACKED, 0);
	report(3, REPORT_ACKED, 0);
	ck_assert_uint_eq(lanes_at(&lanes, lane)->low, 5);
	ck_assert_uint_eq(lanes.pending, 0);
}
END_TEST

/* One is refused on the way to another's confirmation: that one is still confirmed alone. */
START_TEST(two_refusals_are_confirmed_one_by_one)
{
	open_lane(10);
	push(3);
	ck_assert_str_eq(sent(), "1 2 3 ");
	report(1, REPORT_REFUSED, 0);
	report(0, REPORT_UNKNOWN, 0);
	report(2, REPORT_UNKNOWN, 0);
	ck_assert_str_eq(sent(), "1 ");
	ck_assert_int_eq(report(0, REPORT_REFUSED, 0), LANE_REFUSE);
	lanes_refused(&lanes, lane, 0);
	ck_assert_str_eq(sent(), "2 ");
	ck_assert_int_eq(report(1, REPORT_REFUSED, 0), LANE_REFUSE);
	lanes_refused(&lanes, lane, 1);
	ck_assert_str_eq(sent(), "3 ");
	report(2, REPORT_ACKED, 0);
	ck_assert_uint_eq(lanes_at(&lanes, lane)->low, 4);
	ck_assert_uint_eq(lanes.pending, 0);
}
END_TEST

/* POSSIBLY_PERSISTED and its like must never make a message undeliverable. */
START_TEST(refused_once_and_unknown_alone_is_no_refusal)
{
	open_lane(10);
	push(1);
	sent();
	report(0, REPORT_REFUSED, 0);
	ck_assert_str_eq(sent(), "1 ");
	ck_assert_int_eq(report(0, REPORT_UNKNOWN, 0), LANE_NOTHING);
	ck_assert_int_eq(lanes_at(&lanes, lane)->mode, LANE_BACKOFF);
	lanes_wake(&lanes, 1000);
	ck_assert_str_eq(sent(), "1 ");
}
END_TEST

START_TEST(a_retried_message_does_not_move_the_watermark)
{
	struct lane_item again = { .n = 1, .row = 7, .again = true };

	open_lane(10);
	push(3);
	sent();
	report(0, REPORT_ACKED, 0);
	report(1, REPORT_ACKED, 0);
	lanes_push(&lanes, lane, &again);
	ck_assert_str_eq(sent(), "1 ");
	report(3, REPORT_ACKED, 0);
	ck_assert_uint_eq(lanes_at(&lanes, lane)->low, 3);
	report(2, REPORT_ACKED, 0);
	ck_assert_uint_eq(lanes_at(&lanes, lane)->low, 4);
}
END_TEST

START_TEST(a_long_backlog_keeps_its_order)
{
	struct lane_item item;
	uint64_t expect = 1;
	uint64_t position = 0;

	open_lane(64);
	push(100000);
	while (lanes_next(&lanes, lane, &item)) {
		ck_assert_uint_eq(item.n, expect++);
		position = lanes_sent(&lanes, lane);
		report(position, REPORT_ACKED, 0);
	}
	ck_assert_uint_eq(expect, 100001);
	lanes_done(&lanes);
}
END_TEST

UNIT("lanes", a_window_of_messages_is_on_its_way, a_frozen_lane_names_the_first_failure,
     after_any_failure_nothing_is_sent_until_all_is_heard,
     backoff_doubles_up_to_its_bound_and_a_success_resets_it,
     a_refusal_is_confirmed_alone_and_in_order, two_refusals_are_confirmed_one_by_one,
     refused_once_and_unknown_alone_is_no_refusal, a_retried_message_does_not_move_the_watermark,
     a_long_backlog_keeps_its_order);
