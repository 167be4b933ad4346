/*
 * The table of transactions.  A row lost here is a half message that nobody is asked about
 * any more; a key that leads to the wrong row runs a local transaction twice.
 */

#include "core/table.h"
#include "alike.h"
#include "unit.h"

static struct table table;

static void
setup(void)
{
	table_init(&table, 3);
}

static void
teardown(void)
{
	table_done(&table);
}

START_TEST(rows_are_found_until_they_are_forgotten)
{
	for (uint64_t seq = 1; seq <= 200000; seq++) {
		uint32_t row = table_add(&table, seq);

		table_row(&table, row)->key_hash = hash_u64(seq);
		table_key(&table, row);
	}
	for (uint64_t seq = 1; seq <= 200000; seq += 2)
		table_del(&table, table_find(&table, seq));
	for (uint64_t seq = 1; seq <= 200000; seq++) {
		uint32_t row = table_find(&table, seq);

		ck_assert_int_eq(row == ROW_NONE, seq % 2 == 1);
		ck_assert_uint_eq(table_find_key(&table, hash_u64(seq)), row);
	}
	ck_assert_uint_eq(table.rows_live, 100000);
	/* Freed rows are used again before memory grows. */
	for (uint64_t seq = 200001; seq <= 300000; seq++)
		table_add(&table, seq);
	ck_assert_uint_eq(table.row_count, 200000);
}
END_TEST

START_TEST(a_key_leads_to_the_newest_only)
{
	uint32_t a = table_add(&table, 1);
	uint32_t b = table_add(&table, 2);

	table_row(&table, a)->key_hash = table_row(&table, b)->key_hash = 77;
	table_key(&table, a);
	ck_assert_uint_eq(table_find_key(&table, 77), a);
	table_key(&table, b);
	ck_assert_uint_eq(table_find_key(&table, 77), b);
	table_del(&table, a); /* the old one's end must not take the key away */
	ck_assert_uint_eq(table_find_key(&table, 77), b);
	table_del(&table, b);
	ck_assert_uint_eq(table_find_key(&table, 77), ROW_NONE);
	ck_assert_uint_eq(table_find_key(&table, 0), ROW_NONE);
}
END_TEST

/* A list must show every transaction once, in order, over gaps of any size. */
START_TEST(a_walk_sees_each_once_in_order)
{
	static const uint64_t seqs[] = { 1, 4095, 4096, 9000000000, 9000000001, 12000000000 };
	uint32_t budget = 100000;
	uint64_t at = 0;

	/* Recovery meets copies out of order. */
	for (size_t i = ARRAY_LEN(seqs); i-- > 0;)
		table_add(&table, seqs[i]);
	for (size_t i = 0; i < ARRAY_LEN(seqs); i++) {
		uint32_t row = table_walk(&table, at, false, &budget, &at);

		ck_assert_uint_ne(row, ROW_NONE);
		ck_assert_uint_eq(table_row(&table, row)->txn.seq, seqs[i]);
		at++;
	}
	ck_assert_uint_eq(table_walk(&table, at, false, &budget, &at), ROW_NONE);
	ck_assert_uint_eq(at, 0);
	at = UINT64_MAX;
	for (size_t i = ARRAY_LEN(seqs); i-- > 0;) {
		uint32_t row = table_walk(&table, at, true, &budget, &at);

		ck_assert_uint_ne(row, ROW_NONE);
		ck_assert_uint_eq(table_row(&table, row)->txn.seq, seqs[i]);
		at--;
	}
	ck_assert_uint_eq(table_walk(&table, at, true, &budget, &at), ROW_NONE);
}
END_TEST

/* The oldest undecided one is searched for every second, among millions that are decided. */
START_TEST(a_search_for_undecided_skips_the_decided)
{
	for (uint64_t seq = 1; seq <= 3 * 4096; seq++)
		table_add(&table, seq);
	ck_assert_uint_eq(table_undecided_from(&table, 0), 0);
	table_undecided(&table, 4096 + 5, true);
	table_undecided(&table, 8192 + 7, true);
	ck_assert_uint_eq(table_undecided_from(&table, 0), 4096);
	ck_assert_uint_eq(table_undecided_from(&table, 4096 + 6), 4096 + 6);
	table_undecided(&table, 4096 + 5, false);
	ck_assert_uint_eq(table_undecided_from(&table, 0), 8192);
	ck_assert_uint_eq(table_undecided_from(&table, 3 * 4096 + 1), 0);
	table_undecided(&table, 8192 + 7, false);
	ck_assert_uint_eq(table_undecided_from(&table, 0), 0);
	table_undecided(&table, 3, true);
	ck_assert_uint_eq(table_undecided_from(&table, 0), 1);
	/* What is open is counted for itself. */
	ck_assert_uint_eq(table_open_from(&table, 0), 0);
	table_open(&table, 8192 + 7, true);
	ck_assert_uint_eq(table_open_from(&table, 0), 8192);
	ck_assert_uint_eq(table_open_from(&table, 8192 + 9), 8192 + 9);
	table_open(&table, 8192 + 7, false);
	ck_assert_uint_eq(table_open_from(&table, 0), 0);
}
END_TEST

START_TEST(a_walk_stops_when_its_budget_is_spent)
{
	uint32_t budget = 10;
	uint64_t at = 0;

	table_add(&table, 100);
	ck_assert_uint_eq(table_walk(&table, 1, false, &budget, &at), ROW_NONE);
	ck_assert_uint_eq(budget, 0);
	ck_assert_uint_eq(at, 11); /* where to go on */
}
END_TEST

/* Two transactions whose numbers look alike to the map are told apart. */
START_TEST(rows_that_look_alike_are_not_mixed_up)
{
	uint64_t seq[2];
	uint32_t row[2];

	alike_find(hash_u64, 4096, seq); /* in spans of their own: found through the map */
	for (int i = 0; i < 2; i++)
		row[i] = table_add(&table, seq[i]);
	for (int i = 0; i < 2; i++) {
		ck_assert_uint_eq(table_find(&table, seq[i]), row[i]);
		table_prefetch_row(&table, seq[i]);
		table_prefetch_row(&table, seq[i] + 1);
	}
	table_del(&table, row[0]);
	ck_assert_uint_eq(table_find(&table, seq[0]), ROW_NONE);
	ck_assert_uint_eq(table_find(&table, seq[1]), row[1]);
}
END_TEST

/*
 * A daemon that lives for years: each of a thousand old transactions keeps a place of its own among
 * millions that went.  What is left of those places must not stay, nor hide the living.
 */
START_TEST(places_of_those_that_went_are_given_back)
{
	const uint64_t many = 300, gap = 1 << TABLE_SPAN_BITS;

	for (uint64_t i = 1; i <= many; i++)
		table_add(&table, i * gap);
	for (uint64_t i = 1; i <= many; i++)
		if (i % 10)
			table_del(&table, table_find(&table, i * gap));
	ck_assert_uint_lt(table.span_count, many);
	for (uint64_t i = 1; i <= many; i++) {
		uint32_t row = table_find(&table, i * gap);

		ck_assert_int_eq(row == ROW_NONE, i % 10 != 0);
		ck_assert_uint_eq(table_find(&table, i * gap + 1), ROW_NONE);
	}
	/* Several of the newest are missing: the guess where one lies is wrong, not the search. */
	table_add(&table, (many + 50) * gap);
	for (uint64_t i = 10; i <= many; i += 10)
		ck_assert_uint_ne(table_find(&table, i * gap), ROW_NONE);
}
END_TEST

/* A key that a row has already, or one without a key: nothing changes. */
START_TEST(a_key_is_taken_once)
{
	uint32_t keyed = table_add(&table, 1), bare = table_add(&table, 2);

	table_row(&table, keyed)->key_hash = 77;
	table_key(&table, keyed);
	table_key(&table, keyed);
	table_key(&table, bare);
	ck_assert_uint_eq(table_find_key(&table, 77), keyed);
	table_del(&table, keyed);
	ck_assert_uint_eq(table_find_key(&table, 77), ROW_NONE);
}
END_TEST

/* From above everything, and from between two that are far apart. */
START_TEST(a_walk_down_begins_anywhere)
{
	uint32_t budget = 100000;
	uint64_t at = 0;

	table_add(&table, 5000);
	table_add(&table, 50000);
	ck_assert_uint_eq(table_walk(&table, 100, true, &budget, &at), ROW_NONE);
	ck_assert_uint_eq(at, 0);
	ck_assert_uint_ne(table_walk(&table, 30000, true, &budget, &at), ROW_NONE);
	ck_assert_uint_eq(at, 5000);
	ck_assert_uint_ne(table_walk(&table, 50001, true, &budget, &at), ROW_NONE);
	ck_assert_uint_eq(at, 50000);
}
END_TEST

START_TEST(parts_are_a_chain_and_come_back)
{
	uint32_t row = table_add(&table, 1);

	table_row(&table, row)->count = 3;
	table_parts(&table, row, 3);
	for (uint32_t i = 0; i < 3; i++)
		table_part_of(&table, table_row(&table, row), i)->partition = (int32_t)i + 10;
	ck_assert_int_eq(table_part_of(&table, table_row(&table, row), 2)->partition, 12);
	table_del(&table, row);
	ck_assert_uint_eq(table.parts_live, 0);
	row = table_add(&table, 2);
	table_row(&table, row)->count = 3;
	table_parts(&table, row, 3);
	ck_assert_uint_eq(table.part_count, 3);
}
END_TEST

START_TEST(a_list_loses_nobody)
{
	struct row_list l = ROW_LIST_INIT;
	uint32_t rows[4];

	for (uint32_t i = 0; i < 4; i++) {
		rows[i] = table_add(&table, i + 1);
		row_list_add(&table, &l, rows[i]);
	}
	row_list_del(&table, &l, rows[1]);
	row_list_del(&table, &l, rows[3]);
	ck_assert_uint_eq(l.head, rows[0]);
	ck_assert_uint_eq(table_row(&table, l.head)->link, rows[2]);
	ck_assert_uint_eq(l.tail, rows[2]);
	row_list_del(&table, &l, rows[0]);
	row_list_del(&table, &l, rows[2]);
	ck_assert_uint_eq(l.head, ROW_NONE);
	ck_assert_uint_eq(l.tail, ROW_NONE);
}
END_TEST

UNIT_WITH("table", setup, teardown, rows_are_found_until_they_are_forgotten,
	  a_key_leads_to_the_newest_only, a_walk_sees_each_once_in_order,
	  a_search_for_undecided_skips_the_decided, a_walk_stops_when_its_budget_is_spent,
	  rows_that_look_alike_are_not_mixed_up, places_of_those_that_went_are_given_back,
	  a_key_is_taken_once, a_walk_down_begins_anywhere, parts_are_a_chain_and_come_back,
	  a_list_loses_nobody);
