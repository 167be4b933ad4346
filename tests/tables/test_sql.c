/*
 * What a user would lose: the tables' algorithms rest on six sentences about a database, and an
 * engine for which one of them is not true loses or doubles messages.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "db.h"
#include "unit/unit.h"

static const uint8_t gid[16] = { 1, 2, 3 };

static struct sql a, b;

static void
setup(void)
{
	db_wipe();
	db_open(&a, 20000);
	db_open(&b, 1000);
	ck_assert_int_eq(sql_run(&a, SQL_FENCE_CREATE, NULL, 0, NULL), SQL_OK);
	ck_assert_int_eq(sql_run(&a, SQL_META_CREATE, NULL, 0, NULL), SQL_OK);
}

static void
teardown(void)
{
	sql_done(&a);
	sql_done(&b);
}

static int
insert(struct sql *s, int state, int64_t *ret_changed)
{
	struct sql_row row;
	int err = SQL_RUN(s, SQL_FENCE_INSERT, &row, sql_bytes(gid, 16), sql_number(state),
			  sql_null());

	*ret_changed = err ? -1 : row.changed;
	return err;
}

static int64_t
rows(void)
{
	return db_number(&a, "SELECT COUNT(*) FROM escrow_fence");
}

START_TEST(a_committed_row_is_there_and_a_rolled_back_one_is_not)
{
	int64_t n;

	ck_assert_int_eq(sql_begin(&a), SQL_OK);
	ck_assert_int_eq(insert(&a, 1, &n), SQL_OK);
	ck_assert_int_eq(n, 1);
	ck_assert(sql_inside(&a));
	ck_assert_int_eq(sql_rollback(&a), SQL_OK);
	ck_assert(!sql_inside(&a));
	ck_assert_int_eq(rows(), 0);

	ck_assert_int_eq(sql_begin(&a), SQL_OK);
	ck_assert_int_eq(insert(&a, 1, &n), SQL_OK);
	ck_assert_int_eq(sql_commit(&a), SQL_OK);
	ck_assert_int_eq(rows(), 1);
	ck_assert_int_eq(sql_rollback(&a), SQL_OK); /* of nothing */
}
END_TEST

START_TEST(a_duplicate_changes_nothing_and_the_transaction_goes_on)
{
	struct sql_row row;
	int64_t n;

	ck_assert_int_eq(sql_begin(&a), SQL_OK);
	ck_assert_int_eq(insert(&a, 1, &n), SQL_OK);
	ck_assert_int_eq(insert(&a, 2, &n), SQL_OK);
	ck_assert_int_eq(n, 0);
	ck_assert_int_eq(SQL_RUN(&a, SQL_FENCE_READ, &row, sql_bytes(gid, 16)), SQL_OK);
	ck_assert(row.found);
	ck_assert_int_eq(row.column[0].number, 1);
	ck_assert_int_eq(sql_commit(&a), SQL_OK);
	ck_assert_int_eq(rows(), 1);
}
END_TEST

START_TEST(no_other_violation_hides_behind_a_duplicate)
{
	ck_assert_int_eq(sql_begin(&a), SQL_OK);
	ck_assert_int_eq(SQL_RUN(&a, SQL_FENCE_INSERT, NULL, sql_bytes(gid, 16), sql_null(),
				 sql_null()),
			 SQL_BAD);
	ck_assert_str_ne(a.error, "");
	ck_assert_int_eq(sql_rollback(&a), SQL_OK);
	ck_assert_int_eq(rows(), 0);
}
END_TEST

START_TEST(bytes_of_every_value_come_back)
{
	uint8_t all[16];
	struct sql_row row;

	for (int base = 0; base < 256; base += 16) {
		for (int i = 0; i < 16; i++)
			all[i] = (uint8_t)(base + i);
		ck_assert_int_eq(sql_alone(&a, SQL_META_INSERT,
					   (const struct sql_value[]){ sql_bytes(all, 16),
								       sql_bytes(all, 0) },
					   2, NULL),
				 SQL_OK);
		ck_assert_int_eq(sql_run(&a, SQL_META_READ, NULL, 0, &row), SQL_OK);
		ck_assert(row.found && !row.column[0].null && !row.column[1].null);
		ck_assert_mem_eq(row.column[0].bytes, all, 16);
		ck_assert_uint_eq(row.column[0].n, 16);
		ck_assert_uint_eq(row.column[1].n, 0);
		db_exec(&a, "DELETE FROM escrow_meta");
	}
	ck_assert_int_eq(sql_run(&a, SQL_META_READ, NULL, 0, &row), SQL_OK);
	ck_assert(!row.found);
}
END_TEST

/* While A has the row open, B neither sees it nor may pass: it waits, and gives up in time. */
START_TEST(the_second_insert_waits_and_its_patience_ends)
{
	int64_t n;
	int err;

	ck_assert_int_eq(sql_begin(&a), SQL_OK);
	ck_assert_int_eq(insert(&a, 1, &n), SQL_OK);
	err = sql_begin(&b);
	if (!err)
		err = insert(&b, 2, &n);
	ck_assert_int_eq(err, SQL_AGAIN);
	ck_assert_int_eq(sql_rollback(&b), SQL_OK);
	ck_assert_int_eq(sql_commit(&a), SQL_OK);
	ck_assert_int_eq(sql_begin(&b), SQL_OK);
	ck_assert_int_eq(insert(&b, 2, &n), SQL_OK);
	ck_assert_int_eq(n, 0);
	ck_assert_int_eq(sql_rollback(&b), SQL_OK);
}
END_TEST

struct second {
	struct sql sql;
	int64_t changed;
	int err;
};

static void *
insert_second(void *arg)
{
	struct second *s = arg;

	s->err = sql_begin(&s->sql);
	if (!s->err)
		s->err = insert(&s->sql, 2, &s->changed);
	if (!s->err)
		s->err = sql_commit(&s->sql);
	return NULL;
}

/* Whoever waited gets 0 after a commit and 1 after a rollback, and then sees what is there. */
START_TEST(who_waited_learns_how_the_first_ended)
{
	for (int commit = 0; commit < 2; commit++) {
		struct second second = { 0 };
		pthread_t thread;
		int64_t n;

		db_open(&second.sql, 20000);
		ck_assert_int_eq(sql_begin(&a), SQL_OK);
		ck_assert_int_eq(insert(&a, 1, &n), SQL_OK);
		ck_assert_int_eq(pthread_create(&thread, NULL, insert_second, &second), 0);
		ck_assert_int_eq(commit ? sql_commit(&a) : sql_rollback(&a), SQL_OK);
		pthread_join(thread, NULL);
		ck_assert_msg(second.err == SQL_OK, "%s", second.sql.error);
		ck_assert_int_eq(second.changed, !commit);
		ck_assert_int_eq(db_number(&a, "SELECT state FROM escrow_fence"), commit ? 1 : 2);
		db_exec(&a, "DELETE FROM escrow_fence");
		sql_done(&second.sql);
	}
}
END_TEST

START_TEST(each_statement_sees_what_was_committed_before_it)
{
	struct sql_row row;
	int64_t n;

	if (a.engine == &sql_sqlite)
		return; /* writers come one after another */
	ck_assert_int_eq(sql_begin(&a), SQL_OK);
	ck_assert_int_eq(SQL_RUN(&a, SQL_FENCE_READ, &row, sql_bytes(gid, 16)), SQL_OK);
	ck_assert(!row.found);
	ck_assert_int_eq(sql_begin(&b), SQL_OK);
	ck_assert_int_eq(insert(&b, 2, &n), SQL_OK);
	ck_assert_int_eq(sql_commit(&b), SQL_OK);
	ck_assert_int_eq(insert(&a, 1, &n), SQL_OK);
	ck_assert_int_eq(n, 0);
	ck_assert_int_eq(SQL_RUN(&a, SQL_FENCE_READ, &row, sql_bytes(gid, 16)), SQL_OK);
	ck_assert(row.found);
	ck_assert_int_eq(sql_rollback(&a), SQL_OK);
}
END_TEST

START_TEST(a_transaction_inside_another_is_refused)
{
	ck_assert_int_eq(sql_begin(&a), SQL_OK);
	ck_assert_int_eq(sql_begin(&a), SQL_BAD);
	ck_assert_int_eq(sql_rollback(&a), SQL_OK);
}
END_TEST

START_TEST(commit_of_what_somebody_else_ended_is_unknown)
{
	int64_t n;

	ck_assert_int_eq(sql_begin(&a), SQL_OK);
	ck_assert_int_eq(insert(&a, 1, &n), SQL_OK);
	db_exec(&a, "COMMIT");
	ck_assert_int_eq(sql_commit(&a), SQL_LOST);
}
END_TEST

/* A statement failed, the caller did not look, and commits: that must not be told as done. */
START_TEST(commit_after_a_failure_is_never_told_as_done_when_it_was_not)
{
	int64_t n;
	int err;

	ck_assert_int_eq(sql_begin(&a), SQL_OK);
	ck_assert_int_eq(insert(&a, 1, &n), SQL_OK);
	ck_assert_int_ne(db_try(&a, "INSERT INTO escrow_fence (gid) VALUES (NULL)"), 0);
	err = sql_commit(&a);
	if (err == SQL_OK)
		ck_assert_int_eq(rows(), 1);
	else
		ck_assert_int_eq(err, SQL_UNDONE);
	if (err == SQL_UNDONE)
		ck_assert_int_eq(rows(), 0);
}
END_TEST

/* The server ends the connection: of a commit nobody can say, and a new connection works. */
START_TEST(a_lost_connection_is_told_and_made_anew)
{
	char text[96];
	int64_t n, id;

	if (a.engine == &sql_sqlite)
		return; /* has none to lose */
	ck_assert_int_eq(sql_begin(&a), SQL_OK);
	ck_assert_int_eq(insert(&a, 1, &n), SQL_OK);
	if (a.engine == &sql_postgres) {
		id = db_number(&a, "SELECT pg_backend_pid()");
		snprintf(text, sizeof(text), "SELECT pg_terminate_backend(%lld, 5000)",
			 (long long)id);
	} else {
		id = db_number(&a, "SELECT CONNECTION_ID()");
		snprintf(text, sizeof(text), "KILL %lld", (long long)id);
	}
	db_exec(&b, text);
	ck_assert_int_eq(sql_commit(&a), SQL_LOST);
	(void)sql_rollback(&a);
	ck_assert_int_eq(sql_reconnect(&a), SQL_OK);
	ck_assert_int_eq(sql_begin(&a), SQL_OK);
	ck_assert_int_eq(insert(&a, 2, &n), SQL_OK);
	ck_assert_int_eq(n, 1);
	ck_assert_int_eq(sql_commit(&a), SQL_OK);
}
END_TEST

START_TEST(nobody_there_is_an_error_and_not_a_crash)
{
	const char *where = "/nowhere/at/all";
	struct sql s;

	if (db_engine() == &sql_postgres)
		where = "host=/nowhere";
	if (db_engine() == &sql_mysql)
		where = "socket=/nowhere user='a \\'b'";
	ck_assert_int_ne(sql_open(&s, db_engine(), where, 100), SQL_OK);
	ck_assert_str_ne(s.error, "");
	sql_done(&s);
	if (db_engine() == &sql_mysql) {
		ck_assert_int_eq(sql_open(&s, db_engine(), "nonsense", 100), SQL_BAD);
		sql_done(&s);
		ck_assert_int_eq(sql_open(&s, db_engine(), "user='open", 100), SQL_BAD);
		sql_done(&s);
	}
}
END_TEST

START_TEST(one_leader_at_a_time)
{
	const struct sql_value id = sql_bytes(gid, 16);
	struct sql_row row;

	ck_assert_int_eq(sql_run(&a, SQL_LEADER_TAKE, &id, 1, &row), SQL_OK);
	ck_assert_int_eq(row.column[0].number, 1);
	if (a.engine == &sql_sqlite)
		return; /* one writer anyway */
	ck_assert_int_eq(sql_run(&b, SQL_LEADER_TAKE, &id, 1, &row), SQL_OK);
	ck_assert_int_eq(row.column[0].number, 0);
	ck_assert_int_eq(sql_run(&a, SQL_LEADER_DROP, &id, 1, &row), SQL_OK);
	ck_assert_int_eq(sql_run(&b, SQL_LEADER_TAKE, &id, 1, &row), SQL_OK);
	ck_assert_int_eq(row.column[0].number, 1);
}
END_TEST

UNIT_WITH("sql", setup, teardown, a_committed_row_is_there_and_a_rolled_back_one_is_not,
	  a_duplicate_changes_nothing_and_the_transaction_goes_on,
	  no_other_violation_hides_behind_a_duplicate, bytes_of_every_value_come_back,
	  the_second_insert_waits_and_its_patience_ends, who_waited_learns_how_the_first_ended,
	  each_statement_sees_what_was_committed_before_it, a_transaction_inside_another_is_refused,
	  commit_of_what_somebody_else_ended_is_unknown,
	  commit_after_a_failure_is_never_told_as_done_when_it_was_not,
	  a_lost_connection_is_told_and_made_anew, nobody_there_is_an_error_and_not_a_crash,
	  one_leader_at_a_time);
