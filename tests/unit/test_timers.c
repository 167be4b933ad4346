/*
 * Due times.  A transaction that falls out of here is never asked about again; one tick that
 * looks at all of them stops the broker when there are millions.
 */

#include "core/timers.h"
#include "unit.h"

static struct table table;
static struct timers timers;

static void
setup(void)
{
	table_init(&table, 0);
	timers_init(&timers, &table);
}

static void
teardown(void)
{
	timers_done(&timers);
	table_done(&table);
}

static uint32_t
add(uint64_t seq, int64_t due_ns)
{
	uint32_t row = table_add(&table, seq);

	table_row(&table, row)->txn.due_ns = due_ns;
	timers_add(&timers, row);
	return row;
}

START_TEST(they_come_in_order_of_due_and_sequence)
{
	int64_t last_due = 0;
	uint64_t last_seq = 0;
	uint32_t got = 0;

	for (uint64_t seq = 1; seq <= 20000; seq++)
		add(seq, (int64_t)(hash_u64(seq) % 500) + 1);
	for (uint32_t i = 0; i < 20000; i += 3) /* taken out of the middle */
		timers_del(&timers, i);
	for (;;) {
		uint32_t row = timers_pop(&timers, 1000);
		const struct txn *t;

		if (row == ROW_NONE)
			break;
		t = &table_row(&table, row)->txn;
		ck_assert(t->due_ns > last_due || (t->due_ns == last_due && t->seq > last_seq));
		last_due = t->due_ns;
		last_seq = t->seq;
		ck_assert_uint_ne(row % 3, 0);
		got++;
	}
	ck_assert_uint_eq(got, 20000 - 6667);
}
END_TEST

/* RocketMQ #544: due in this very instant is due. */
START_TEST(the_boundary_is_due)
{
	add(1, 100);
	ck_assert_int_eq(timers_next_ns(&timers), 100);
	ck_assert_uint_eq(timers_pop(&timers, 99), ROW_NONE);
	ck_assert_uint_ne(timers_pop(&timers, 100), ROW_NONE);
	ck_assert_int_eq(timers_next_ns(&timers), TIME_NEVER);
}
END_TEST

START_TEST(an_idle_tick_looks_at_one_entry)
{
	uint64_t before;

	for (uint64_t seq = 1; seq <= 100000; seq++)
		add(seq, 1000 + (int64_t)seq);
	before = timers.visits;
	ck_assert_uint_eq(timers_pop(&timers, 999), ROW_NONE);
	ck_assert_uint_le(timers.visits - before, 1);
}
END_TEST

UNIT_WITH("timers", setup, teardown, they_come_in_order_of_due_and_sequence, the_boundary_is_due,
	  an_idle_tick_looks_at_one_entry);
