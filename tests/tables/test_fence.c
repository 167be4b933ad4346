/*
 * What a user would lose: a check that answers ROLLBACK for a payment that is in the database
 * after all, or COMMIT for one that is not.  The stress (fence_stress.c) hunts for that at random;
 * here is each rule by itself.
 */
#include <string.h>

#include "db.h"
#include "tables/fence.h"
#include "unit/unit.h"

static struct sql business, check, third;
static uint8_t db_id[16];
static const char *remark;

static void
setup(void)
{
	db_wipe();
	db_open(&business, 20000);
	db_open(&check, 1000);
	db_open(&third, 1000);
	ck_assert_int_eq(fence_install(&business, db_id), SQL_OK);
	db_exec(&business, "CREATE TABLE business (n INTEGER)");
}

static void
teardown(void)
{
	sql_done(&business);
	sql_done(&check);
	sql_done(&third);
}

static const uint8_t *
gid(int64_t ms)
{
	static uint8_t g[4][16];
	static int at;

	at = (at + 1) % 4;
	fence_gid_at(ms, g[at]);
	return g[at];
}

static void
pay(int64_t ms)
{
	ck_assert_int_eq(fence_begin(&business, gid(ms), db_id), FENCE_OPEN);
	db_exec(&business, "INSERT INTO business VALUES (1)");
	ck_assert_int_eq(sql_commit(&business), SQL_OK);
}

START_TEST(tables_are_made_once_and_the_id_stays)
{
	uint8_t again[16], zero[16] = { 0 };

	ck_assert_int_eq(fence_install(&check, again), SQL_OK);
	ck_assert_mem_eq(again, db_id, 16);
	ck_assert_mem_ne(again, zero, 16);
}
END_TEST

START_TEST(a_committed_transaction_is_answered_commit)
{
	pay(1000);
	ck_assert_int_eq(fence_check(&check, gid(1000), db_id, &remark), FENCE_COMMIT);
	ck_assert_int_eq(fence_check(&third, gid(1000), db_id, &remark), FENCE_COMMIT);
}
END_TEST

START_TEST(one_that_never_came_is_answered_rollback_and_can_never_come)
{
	ck_assert_int_eq(fence_check(&check, gid(1000), db_id, &remark), FENCE_ROLLBACK);
	ck_assert_int_eq(fence_begin(&business, gid(1000), db_id), FENCE_SHUT);
	ck_assert(!sql_inside(&business));
	ck_assert_int_eq(fence_check(&third, gid(1000), db_id, &remark), FENCE_ROLLBACK);
}
END_TEST

START_TEST(one_that_runs_is_answered_unknown_and_may_commit)
{
	ck_assert_int_eq(fence_begin(&business, gid(1000), db_id), FENCE_OPEN);
	db_exec(&business, "INSERT INTO business VALUES (1)");
	ck_assert_int_eq(fence_check(&check, gid(1000), db_id, &remark), FENCE_UNKNOWN);
	ck_assert_int_eq(sql_commit(&business), SQL_OK);
	ck_assert_int_eq(fence_check(&check, gid(1000), db_id, &remark), FENCE_COMMIT);
	ck_assert_int_eq(db_number(&business, "SELECT COUNT(*) FROM business"), 1);
}
END_TEST

START_TEST(one_that_rolled_back_is_answered_rollback)
{
	ck_assert_int_eq(fence_begin(&business, gid(1000), db_id), FENCE_OPEN);
	ck_assert_int_eq(sql_rollback(&business), SQL_OK);
	ck_assert_int_eq(fence_check(&check, gid(1000), db_id, &remark), FENCE_ROLLBACK);
}
END_TEST

START_TEST(the_same_gid_again_is_done)
{
	pay(1000);
	ck_assert_int_eq(fence_begin(&business, gid(1000), db_id), FENCE_DONE);
	ck_assert(!sql_inside(&business));
	ck_assert_int_eq(db_number(&business, "SELECT COUNT(*) FROM business"), 1);
}
END_TEST

/* The row last: the lock is short, and a check that comes meanwhile kills the transaction. */
START_TEST(a_check_kills_who_fences_last)
{
	if (business.engine == &sql_sqlite)
		return; /* one writer: the check would wait */
	ck_assert_int_eq(sql_begin(&business), SQL_OK);
	db_exec(&business, "INSERT INTO business VALUES (1)");
	ck_assert_int_eq(fence_check(&check, gid(1000), db_id, &remark), FENCE_ROLLBACK);
	ck_assert_int_eq(fence_insert(&business, gid(1000), db_id), FENCE_SHUT);
	ck_assert_int_eq(sql_rollback(&business), SQL_OK);
	ck_assert_int_eq(db_number(&business, "SELECT COUNT(*) FROM business"), 0);
}
END_TEST

START_TEST(another_database_answers_nothing_and_is_not_touched)
{
	uint8_t other[16] = { 9 };

	ck_assert_int_eq(fence_check(&check, gid(1000), other, &remark), FENCE_UNKNOWN);
	ck_assert_str_eq(remark, "wrong_db");
	ck_assert_int_eq(fence_begin(&business, gid(1000), other), FENCE_WRONG_DB);
	ck_assert_int_eq(db_number(&business, "SELECT COUNT(*) FROM escrow_fence"), 0);
}
END_TEST

START_TEST(a_copy_with_a_new_id_answers_nothing_for_the_original)
{
	uint8_t fresh[16];

	pay(1000);
	ck_assert_int_eq(fence_rekey(&check, fresh), SQL_OK);
	ck_assert_mem_ne(fresh, db_id, 16);
	ck_assert_int_eq(fence_check(&check, gid(1000), db_id, &remark), FENCE_UNKNOWN);
	ck_assert_int_eq(fence_check(&check, gid(1000), fresh, &remark), FENCE_COMMIT);
}
END_TEST

START_TEST(what_is_swept_is_expired_for_both_sides)
{
	struct fence_swept swept;
	uint8_t oldest[16], low[16];

	for (int i = 0; i < 30; i++)
		pay(1000 + i);
	ck_assert_int_eq(fence_sweep(&third, gid(1020), gid(5000), 100, &swept), SQL_OK);
	ck_assert(swept.leader);
	ck_assert_int_eq(swept.rows, 20);
	ck_assert_mem_eq(swept.low, gid(1020), 16);
	ck_assert_int_eq(fence_check(&check, gid(1019), db_id, &remark), FENCE_UNKNOWN);
	ck_assert_str_eq(remark, "expired");
	ck_assert_int_eq(fence_begin(&business, gid(1019), db_id), FENCE_EXPIRED);
	ck_assert(!sql_inside(&business));
	ck_assert_int_eq(fence_check(&check, gid(1020), db_id, &remark), FENCE_COMMIT);
	ck_assert_int_eq(db_number(&business, "SELECT COUNT(*) FROM escrow_fence"), 10);
	ck_assert_int_eq(fence_stats(&third, oldest, low), SQL_OK);
	ck_assert_mem_eq(oldest, gid(1020), 16);
	ck_assert_mem_eq(low, gid(1020), 16);
}
END_TEST

START_TEST(grace_holds_the_watermark_back_and_it_never_falls)
{
	struct fence_swept swept;

	pay(1000);
	ck_assert_int_eq(fence_sweep(&third, gid(9000), gid(500), 100, &swept), SQL_OK);
	ck_assert_int_eq(swept.rows, 0);
	ck_assert_int_eq(fence_check(&check, gid(1000), db_id, &remark), FENCE_COMMIT);
	ck_assert_int_eq(fence_sweep(&third, gid(9000), gid(2000), 100, &swept), SQL_OK);
	ck_assert_int_eq(swept.rows, 1);
	ck_assert_int_eq(fence_sweep(&third, gid(9000), gid(300), 100, &swept), SQL_OK);
	ck_assert_mem_eq(swept.low, gid(2000), 16);
}
END_TEST

START_TEST(more_rows_than_one_chunk_are_swept)
{
	struct fence_swept swept;

	db_exec(&business, "BEGIN");
	for (int i = 0; i < 2500; i++)
		ck_assert_int_eq(SQL_RUN(&business, SQL_FENCE_INSERT, NULL,
					 sql_bytes(gid(1000 + i), 16), sql_number(1), sql_null()),
				 SQL_OK);
	ck_assert_int_eq(sql_commit(&business), SQL_OK);
	/* Not all at once: checks wait.  The watermark counts from the first piece on. */
	ck_assert_int_eq(fence_sweep(&third, gid(3400), gid(9000), 1, &swept), SQL_OK);
	ck_assert_int_eq(swept.rows, 1000);
	ck_assert_mem_eq(swept.low, gid(3400), 16);
	ck_assert_int_eq(fence_sweep(&third, gid(3400), gid(9000), 100, &swept), SQL_OK);
	ck_assert_int_eq(swept.rows, 1400);
	ck_assert_int_eq(db_number(&business, "SELECT COUNT(*) FROM escrow_fence"), 100);
}
END_TEST

START_TEST(only_one_sweeps)
{
	struct fence_swept swept;
	struct sql_value id = sql_bytes(db_id, 16);
	struct sql_row row;

	if (business.engine == &sql_sqlite)
		return; /* one writer anyway */
	pay(1000);
	ck_assert_int_eq(sql_run(&check, SQL_LEADER_TAKE, &id, 1, &row), SQL_OK);
	ck_assert_int_eq(fence_sweep(&third, gid(9000), gid(9000), 100, &swept), SQL_OK);
	ck_assert(!swept.leader);
	ck_assert_int_eq(swept.rows, 0);
}
END_TEST

START_TEST(tables_that_cannot_roll_back_are_refused)
{
	uint8_t id[16];

	if (business.engine != &sql_mysql)
		return;
	db_exec(&business, "ALTER TABLE escrow_fence ENGINE=MyISAM");
	ck_assert_int_eq(fence_install(&business, id), SQL_BAD);
	ck_assert_ptr_nonnull(strstr(business.error, "InnoDB"));
}
END_TEST

UNIT_WITH("fence", setup, teardown, tables_are_made_once_and_the_id_stays,
	  a_committed_transaction_is_answered_commit,
	  one_that_never_came_is_answered_rollback_and_can_never_come,
	  one_that_runs_is_answered_unknown_and_may_commit,
	  one_that_rolled_back_is_answered_rollback, the_same_gid_again_is_done,
	  a_check_kills_who_fences_last, another_database_answers_nothing_and_is_not_touched,
	  a_copy_with_a_new_id_answers_nothing_for_the_original,
	  what_is_swept_is_expired_for_both_sides,
	  grace_holds_the_watermark_back_and_it_never_falls, more_rows_than_one_chunk_are_swept,
	  only_one_sweeps, tables_that_cannot_roll_back_are_refused);
