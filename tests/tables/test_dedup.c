/*
 * What a user would lose: a message that comes twice is applied twice, or one that comes once
 * never is.
 */
#include <string.h>

#include "db.h"
#include "tables/dedup.h"
#include "tables/fence.h"
#include "unit/unit.h"

static const struct dedup_consumer shipping = { "shipping", 8 }, billing = { "billing", 7 };
static struct sql a;

static void
setup(void)
{
	db_wipe();
	db_open(&a, 20000);
	ck_assert_int_eq(dedup_install(&a), SQL_OK);
	ck_assert_int_eq(dedup_install(&a), SQL_OK);
}

static void
teardown(void)
{
	sql_done(&a);
}

static const uint8_t *
id(int64_t ms, uint8_t ordinal)
{
	static uint8_t msg[18];

	fence_gid_at(ms, msg);
	msg[17] = ordinal;
	return msg;
}

/* A claim in a transaction of its own, committed when it is new. */
static int
ours(struct dedup_consumer c, int64_t ms, uint8_t ordinal)
{
	int claim;

	ck_assert_int_eq(sql_begin(&a), SQL_OK);
	claim = dedup_claim_id(&a, c, id(ms, ordinal), 18, true, 0);
	ck_assert_int_eq(claim == DEDUP_NEW ? sql_commit(&a) : sql_rollback(&a), SQL_OK);
	return claim;
}

static int
foreign(const char *text, int64_t ms)
{
	int claim;

	ck_assert_int_eq(sql_begin(&a), SQL_OK);
	claim = dedup_claim_id(&a, shipping, text, strlen(text), false, ms);
	ck_assert_int_eq(claim == DEDUP_NEW ? sql_commit(&a) : sql_rollback(&a), SQL_OK);
	return claim;
}

static bool again; /* what number() claims: it was published again */

static int
number(uint8_t journal, int64_t n)
{
	struct dedup_seq seq = { "orders", 6, 3, { journal }, n, again };
	int claim;

	ck_assert_int_eq(sql_begin(&a), SQL_OK);
	claim = dedup_claim_seq(&a, shipping, &seq);
	ck_assert_int_eq(claim == DEDUP_NEW ? sql_commit(&a) : sql_rollback(&a), SQL_OK);
	return claim;
}

START_TEST(the_second_copy_is_seen_and_other_messages_are_new)
{
	ck_assert_int_eq(ours(shipping, 1000, 0), DEDUP_NEW);
	ck_assert_int_eq(ours(shipping, 1000, 0), DEDUP_SEEN);
	ck_assert_int_eq(ours(shipping, 1000, 1), DEDUP_NEW);
	ck_assert_int_eq(ours(shipping, 1001, 0), DEDUP_NEW);
	ck_assert_int_eq(ours(billing, 1000, 0), DEDUP_NEW);
}
END_TEST

START_TEST(a_claim_that_rolled_back_is_free_again)
{
	ck_assert_int_eq(sql_begin(&a), SQL_OK);
	ck_assert_int_eq(dedup_claim_id(&a, shipping, id(1000, 0), 18, true, 0), DEDUP_NEW);
	ck_assert_int_eq(sql_rollback(&a), SQL_OK);
	ck_assert_int_eq(ours(shipping, 1000, 0), DEDUP_NEW);
}
END_TEST

START_TEST(below_the_watermark_nobody_knows)
{
	uint8_t low[16];
	int64_t rows;

	for (int i = 0; i < 2300; i++) {
		if (i % 500 == 0)
			ck_assert_int_eq(sql_begin(&a), SQL_OK);
		ck_assert_int_eq(dedup_claim_id(&a, shipping, id(1000 + i, 0), 18, true, 0),
				 DEDUP_NEW);
		if (i % 500 == 499 || i == 2299)
			ck_assert_int_eq(sql_commit(&a), SQL_OK);
	}
	ck_assert_int_eq(ours(billing, 1000, 0), DEDUP_NEW);
	fence_gid_at(3200, low);
	/* Not all at once: messages wait.  The watermark counts from the first piece on. */
	ck_assert_int_eq(dedup_forget(&a, shipping, low, 0, 1, &rows), DEDUP_MORE);
	ck_assert_int_eq(rows, 1000);
	ck_assert_int_eq(ours(shipping, 3199, 0), DEDUP_OLD);
	ck_assert_int_eq(dedup_forget(&a, shipping, low, 0, 100, &rows), SQL_OK);
	ck_assert_int_eq(rows, 1200);
	ck_assert_int_eq(ours(shipping, 1000, 0), DEDUP_OLD);
	ck_assert_int_eq(ours(shipping, 3199, 0), DEDUP_OLD);
	ck_assert_int_eq(ours(shipping, 3200, 0), DEDUP_SEEN);
	ck_assert_int_eq(ours(shipping, 9000, 0), DEDUP_NEW);
	ck_assert_int_eq(ours(billing, 1000, 0), DEDUP_SEEN);
	/* It never falls. */
	fence_gid_at(10, low);
	ck_assert_int_eq(dedup_forget(&a, shipping, low, 0, 100, &rows), SQL_OK);
	ck_assert_int_eq(ours(shipping, 3199, 0), DEDUP_OLD);
}
END_TEST

START_TEST(foreign_ids_are_bytes_and_expire_by_when_they_came)
{
	uint8_t low[16];
	int64_t rows;

	ck_assert_int_eq(foreign("ce_id:abc", 1000), DEDUP_NEW);
	ck_assert_int_eq(foreign("ce_id:abc", 1000), DEDUP_SEEN);
	/* No collation, no padding: these are four messages. */
	ck_assert_int_eq(foreign("ce_id:ABC", 2000), DEDUP_NEW);
	ck_assert_int_eq(foreign("ce_id:abc ", 2000), DEDUP_NEW);
	ck_assert_int_eq(foreign("id:abc", 2000), DEDUP_NEW);
	fence_gid_at(INT64_C(1) << 46, low);
	ck_assert_int_eq(dedup_forget(&a, shipping, low, 1500, 100, &rows), SQL_OK);
	ck_assert_int_eq(rows, 1);
	ck_assert_int_eq(foreign("ce_id:abc", 3000), DEDUP_NEW);
	ck_assert_int_eq(foreign("ce_id:ABC", 3000), DEDUP_SEEN);
}
END_TEST

/* Would lose: what was parked for long, when the table forgot by the clock alone. */
START_TEST(a_mark_counts_when_what_kafka_had_then_is_gone)
{
	uint8_t low[16], marks[3][16], none[16] = { 0 };
	int64_t rows;

	for (int i = 0; i < 3; i++)
		fence_gid_at(1000 * (i + 1), marks[i]);
	ck_assert_int_eq(dedup_mark(&a, shipping, NULL, 50, 50, low), SQL_OK);
	ck_assert_mem_eq(low, none, 16);
	ck_assert_int_eq(dedup_mark(&a, shipping, marks[0], 100, 50, low), SQL_OK);
	ck_assert_mem_eq(low, none, 16);
	/* It did not move: that it was so is known for longer. */
	ck_assert_int_eq(dedup_mark(&a, shipping, marks[0], 200, 150, low), SQL_OK);
	ck_assert_mem_eq(low, marks[0], 16);
	ck_assert_int_eq(dedup_mark(&a, shipping, marks[1], 300, 150, low), SQL_OK);
	ck_assert_mem_eq(low, marks[0], 16);
	ck_assert_int_eq(dedup_mark(&a, shipping, marks[2], 400, 301, low), SQL_OK);
	ck_assert_mem_eq(low, marks[1], 16);
	ck_assert_int_eq(dedup_mark(&a, billing, NULL, 400, 400, low), SQL_OK);
	ck_assert_mem_eq(low, none, 16);
	/* Marks are no messages, are deleted with the foreign ids, and leave the last. */
	ck_assert_int_eq(ours(shipping, 500, 0), DEDUP_NEW);
	ck_assert_int_eq(ours(shipping, 2500, 0), DEDUP_NEW);
	ck_assert_int_eq(dedup_forget(&a, shipping, marks[1], 301, 100, &rows), SQL_OK);
	ck_assert_int_eq(rows, 3);
	ck_assert_int_eq(ours(shipping, 500, 0), DEDUP_OLD);
	ck_assert_int_eq(ours(shipping, 2500, 0), DEDUP_SEEN);
	ck_assert_int_eq(dedup_mark(&a, shipping, NULL, 500, 500, low), SQL_OK);
	ck_assert_mem_eq(low, marks[2], 16);
}
END_TEST

START_TEST(ids_too_long_are_refused_and_never_cut)
{
	static char name[256];

	memset(name, 'x', sizeof(name));
	ck_assert_int_eq(sql_begin(&a), SQL_OK);
	ck_assert_int_eq(dedup_claim_id(&a, shipping, name, 255, false, 1), DEDUP_NEW);
	ck_assert_int_eq(dedup_claim_id(&a, shipping, name, 256, false, 1), SQL_BAD);
	ck_assert_int_eq(dedup_claim_id(&a, (struct dedup_consumer){ name, 33 }, "id:1", 4, false,
					1),
			 SQL_BAD);
	ck_assert_int_eq(sql_rollback(&a), SQL_OK);
}
END_TEST

START_TEST(numbers_in_order_are_new_and_repeats_are_seen)
{
	for (int64_t n = 5; n < 20; n++)
		ck_assert_int_eq(number(1, n), DEDUP_NEW);
	for (int64_t n = 5; n < 20; n++)
		ck_assert_int_eq(number(1, n), DEDUP_SEEN);
	ck_assert_int_eq(number(1, 20), DEDUP_NEW);
	ck_assert_int_eq(db_number(&a, "SELECT COUNT(*) FROM escrow_hw"), 1);
	/* Another journal counts for itself. */
	ck_assert_int_eq(number(2, 7), DEDUP_NEW);
	ck_assert_int_eq(db_number(&a, "SELECT COUNT(*) FROM escrow_hw"), 2);
	ck_assert_int_eq(db_number(&a, "SELECT COUNT(*) FROM escrow_gap"), 0);
}
END_TEST

START_TEST(what_was_skipped_is_new_once_when_it_comes_after_all)
{
	ck_assert_int_eq(number(1, 5), DEDUP_NEW);
	ck_assert_int_eq(number(1, 9), DEDUP_NEW);
	ck_assert_int_eq(db_number(&a, "SELECT COUNT(*) FROM escrow_gap"), 3);
	ck_assert_int_eq(number(1, 7), DEDUP_NEW);
	ck_assert_int_eq(number(1, 7), DEDUP_SEEN);
	ck_assert_int_eq(number(1, 10), DEDUP_NEW);
	ck_assert_int_eq(number(1, 6), DEDUP_NEW);
	ck_assert_int_eq(number(1, 8), DEDUP_NEW);
	ck_assert_int_eq(number(1, 8), DEDUP_SEEN);
	ck_assert_int_eq(db_number(&a, "SELECT COUNT(*) FROM escrow_gap"), 0);
}
END_TEST

START_TEST(what_came_before_the_beginning_is_never_skipped_silently)
{
	ck_assert_int_eq(number(1, 5), DEDUP_NEW);
	ck_assert_int_eq(number(1, 4), DEDUP_BEFORE);
	ck_assert_int_eq(number(1, 1), DEDUP_BEFORE);
	ck_assert_int_eq(number(1, 5), DEDUP_SEEN);
}
END_TEST

/*
 * Would lose: what nobody could handle at first, for good.  It was put aside, and the next one
 * would be the first of the partition.
 */
START_TEST(what_was_put_aside_first_is_new_when_it_comes_again)
{
	struct dedup_seq seq = { "orders", 6, 3, { 1 }, 5, false };

	for (seq.n = 5; seq.n < 7; seq.n++)
		ck_assert_int_eq(dedup_meet(&a, shipping, &seq), SQL_OK);
	ck_assert_int_eq(number(1, 7), DEDUP_NEW);
	again = true;
	ck_assert_int_eq(number(1, 5), DEDUP_NEW);
	ck_assert_int_eq(number(1, 5), DEDUP_SEEN);
	ck_assert_int_eq(number(1, 6), DEDUP_NEW);
	ck_assert_int_eq(number(1, 4), DEDUP_BEFORE);
	again = false;
	ck_assert_int_eq(number(1, 8), DEDUP_NEW);
}
END_TEST

/*
 * Would lose: a partition.  A new consumer may meet a dead letter, which was published again into
 * another partition, before its own; all that lies before it there would be of before.
 */
START_TEST(what_comes_again_is_never_the_first_of_its_partition)
{
	struct dedup_seq seq = { "orders", 6, 3, { 1 }, 5, true };

	again = true;
	ck_assert_int_eq(number(1, 5), DEDUP_BEFORE);
	ck_assert_int_eq(dedup_meet(&a, shipping, &seq), SQL_OK);
	again = false;
	for (int64_t n = 1; n < 7; n++)
		ck_assert_int_eq(number(1, n), DEDUP_NEW);
	again = true;
	ck_assert_int_eq(number(1, 5), DEDUP_SEEN);
	ck_assert_int_eq(number(1, 20000), DEDUP_BEFORE);
}
END_TEST

START_TEST(a_huge_gap_stops_the_consumer)
{
	ck_assert_int_eq(number(1, 5), DEDUP_NEW);
	ck_assert_int_eq(number(1, 5 + 10002), DEDUP_GAP);
	ck_assert_int_eq(number(1, 6), DEDUP_NEW);
	ck_assert_int_eq(number(1, INT64_C(0x7fffffffffffffff)), DEDUP_GAP);
}
END_TEST

START_TEST(a_gap_that_rolled_back_is_found_again)
{
	struct dedup_seq seq = { "orders", 6, 3, { 1 }, 8, false };

	ck_assert_int_eq(number(1, 5), DEDUP_NEW);
	ck_assert_int_eq(sql_begin(&a), SQL_OK);
	ck_assert_int_eq(dedup_claim_seq(&a, shipping, &seq), DEDUP_NEW);
	ck_assert_int_eq(sql_rollback(&a), SQL_OK);
	ck_assert_int_eq(db_number(&a, "SELECT COUNT(*) FROM escrow_gap"), 0);
	ck_assert_int_eq(number(1, 6), DEDUP_NEW);
	ck_assert_int_eq(number(1, 7), DEDUP_NEW);
	ck_assert_int_eq(number(1, 8), DEDUP_NEW);
}
END_TEST

UNIT_WITH("dedup", setup, teardown, the_second_copy_is_seen_and_other_messages_are_new,
	  a_claim_that_rolled_back_is_free_again, below_the_watermark_nobody_knows,
	  foreign_ids_are_bytes_and_expire_by_when_they_came,
	  a_mark_counts_when_what_kafka_had_then_is_gone, ids_too_long_are_refused_and_never_cut,
	  numbers_in_order_are_new_and_repeats_are_seen,
	  what_was_skipped_is_new_once_when_it_comes_after_all,
	  what_came_before_the_beginning_is_never_skipped_silently,
	  what_was_put_aside_first_is_new_when_it_comes_again,
	  what_comes_again_is_never_the_first_of_its_partition, a_huge_gap_stops_the_consumer,
	  a_gap_that_rolled_back_is_found_again);
