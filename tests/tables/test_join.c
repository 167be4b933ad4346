/*
 * What a user would lose: what a handler says without what it did, or the other way round.  The
 * half-send, the fence's row and the business SQL are in one transaction, which ends in each of its
 * ways; then the check is asked.  The broker is a script, the database a real one.
 */
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "db.h"
#include "escrow/escrow_table.h"
#include "tables/barrier.h"
#include "tables/fence.h"
#include "unit/script.h"
#include "unit/unit.h"

static struct script *broker;
static escrow_client *client;
static escrow_table *table;
static struct sql business, check;
static escrow_txn *txn, *second;
static uint8_t db_id[16];

/* What a producer has; of two processes the script serves only the one that came last. */
static void
open_all(void)
{
	static const escrow_table_opts by_hand = { sizeof(by_hand), 1000, 0 };

	db_open(&business, 20000);
	ck_assert_int_eq(barrier_open(&table, db_engine(), db_where()), ESCROW_OK);
	ck_assert_int_eq(escrow_open(&client, script_url(broker, "")), ESCROW_OK);
	ck_assert_int_eq(escrow_table_attach(table, client, NULL, &by_hand), ESCROW_OK);
}

static void
setup(void)
{
	db_wipe();
	broker = calloc(1, sizeof(*broker));
	script_start(broker);
	db_open(&check, 1000);
	db_exec(&check, "CREATE TABLE business (n INTEGER)");
	ck_assert_int_eq(fence_install(&check, db_id), SQL_OK);
	table = NULL;
	client = NULL;
	txn = NULL;
}

static void
teardown(void)
{
	escrow_table_close(table);
	ck_assert_int_eq(escrow_close(client, 5000), ESCROW_OK);
	script_stop(broker);
	free(broker);
	if (client != NULL)
		sql_done(&business);
	sql_done(&check);
}

static escrow_status
joined(struct sql *s, escrow_txn **ret)
{
	escrow_message m = ESCROW_MESSAGE_INIT;

	m.topic = "refused";
	m.value = "order 1";
	m.value_len = 7;
	return escrow_table_join(table, s->db, &m, 1, NULL, ret);
}

/* As the script numbers them. */
static const uint8_t *
gid(uint8_t n)
{
	static uint8_t g[ESCROW_GID_SIZE] = { 0, 0, 1, 0x8b, 0xcf, 0xe5, 0x68, 0 };

	g[15] = n;
	return g;
}

/* What a check is answered, by anybody of the group, when it is certain. */
static enum fence_answer
answer(uint8_t n)
{
	enum fence_answer a = FENCE_UNKNOWN;
	const char *remark;

	/* The server needs a moment to learn that who joined is dead. */
	for (int i = 0; i < 1000 && a == FENCE_UNKNOWN; i++)
		a = fence_check(&check, gid(n), db_id, &remark);
	return a;
}

static int64_t
rows(const char *text)
{
	return db_number(&check, text);
}

START_TEST(what_joins_a_transaction_commits_with_it)
{
	open_all();
	ck_assert_int_eq(sql_begin(&business), SQL_OK);
	db_exec(&business, "INSERT INTO business VALUES (1)");
	ck_assert_int_eq(joined(&business, &txn), ESCROW_OK);
	db_exec(&business, "INSERT INTO business VALUES (2)");
	ck_assert_int_eq(joined(&business, &second), ESCROW_OK);
	ck_assert_mem_eq(escrow_txn_gid_bytes(second), gid(2), 16);
	ck_assert_int_eq(sql_commit(&business), SQL_OK);
	ck_assert_int_eq(rows("SELECT COUNT(*) FROM business"), 2);
	ck_assert_int_eq(rows("SELECT COUNT(*) FROM escrow_fence WHERE state = 1"), 2);
	/* Before the broker is told, and behind it. */
	ck_assert_int_eq(answer(1), FENCE_COMMIT);
	ck_assert_int_eq(escrow_commit(&txn), ESCROW_OK);
	ck_assert_int_eq(escrow_commit(&second), ESCROW_OK);
	ck_assert_int_eq(atomic_load(&broker->ends), 2);
	ck_assert_int_eq(answer(2), FENCE_COMMIT);
	/* Its db_id goes with it: others may not answer for it. */
	ck_assert_uint_eq(strlen(broker->db_id), 32);
}
END_TEST

START_TEST(what_joins_a_transaction_is_undone_with_it)
{
	open_all();
	ck_assert_int_eq(sql_begin(&business), SQL_OK);
	db_exec(&business, "INSERT INTO business VALUES (1)");
	ck_assert_int_eq(joined(&business, &txn), ESCROW_OK);
	ck_assert_int_eq(sql_rollback(&business), SQL_OK);
	ck_assert_int_eq(rows("SELECT COUNT(*) FROM escrow_fence"), 0);
	ck_assert_int_eq(answer(1), FENCE_ROLLBACK);
	ck_assert_int_eq(escrow_rollback(&txn), ESCROW_OK);
	ck_assert_int_eq(rows("SELECT COUNT(*) FROM business"), 0);
}
END_TEST

/* A process of its own, which dies at AT: 1 before COMMIT, 2 behind it and before it is told. */
static void
die_at(int at)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		open_all();
		if (sql_begin(&business) == SQL_OK &&
		    db_try(&business, "INSERT INTO business VALUES (1)") == SQL_OK &&
		    joined(&business, &txn) == ESCROW_OK &&
		    (at == 1 || sql_commit(&business) == SQL_OK))
			kill(getpid(), SIGKILL);
		_exit(1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFSIGNALED(status), "it did not come so far: %d", status);
}

START_TEST(killed_before_its_commit_it_never_was)
{
	die_at(1);
	ck_assert_int_eq(answer(1), FENCE_ROLLBACK);
	ck_assert_int_eq(rows("SELECT COUNT(*) FROM business"), 0);
	ck_assert_int_eq(atomic_load(&broker->ends), 0);
}
END_TEST

START_TEST(killed_behind_its_commit_the_check_finds_the_row)
{
	die_at(2);
	ck_assert_int_eq(answer(1), FENCE_COMMIT);
	ck_assert_int_eq(rows("SELECT COUNT(*) FROM business"), 1);
	ck_assert_int_eq(atomic_load(&broker->ends), 0);
}
END_TEST

START_TEST(while_it_is_open_nobody_knows)
{
	const char *remark;

	open_all();
	ck_assert_int_eq(sql_begin(&business), SQL_OK);
	ck_assert_int_eq(joined(&business, &txn), ESCROW_OK);
	ck_assert_int_eq(fence_check(&check, gid(1), db_id, &remark), FENCE_UNKNOWN);
	ck_assert_int_eq(sql_commit(&business), SQL_OK);
	ck_assert_int_eq(answer(1), FENCE_COMMIT);
	escrow_abandon(&txn);
}
END_TEST

START_TEST(there_must_be_a_transaction)
{
	open_all();
	ck_assert_int_eq(joined(&business, &txn), ESCROW_E_DATABASE);
	ck_assert_ptr_nonnull(strstr(escrow_last_error(), "open"));
	ck_assert_int_eq(rows("SELECT COUNT(*) FROM escrow_fence"), 0);
	ck_assert_ptr_null(txn);
}
END_TEST

START_TEST(a_check_that_was_faster_wins)
{
	open_all();
	ck_assert_int_eq(answer(1), FENCE_ROLLBACK);
	ck_assert_int_eq(sql_begin(&business), SQL_OK);
	ck_assert_int_eq(joined(&business, &txn), ESCROW_E_FENCED);
	ck_assert_int_eq(sql_rollback(&business), SQL_OK);
	/* With another half-send it goes. */
	ck_assert_int_eq(sql_begin(&business), SQL_OK);
	ck_assert_int_eq(joined(&business, &txn), ESCROW_OK);
	ck_assert_int_eq(sql_commit(&business), SQL_OK);
	ck_assert_int_eq(escrow_commit(&txn), ESCROW_OK);
}
END_TEST

START_TEST(another_database_is_refused)
{
	const char *other = strchr(getenv("ESCROW_TEST_DB2"), ':') + 1;
	uint8_t id[16];
	struct sql s;

	open_all();
	ck_assert_int_eq(sql_open(&s, db_engine(), other, 1000), SQL_OK);
	ck_assert_int_eq(fence_install(&s, id), SQL_OK);
	ck_assert_int_eq(sql_begin(&s), SQL_OK);
	ck_assert_int_eq(joined(&s, &txn), ESCROW_E_ARG);
	ck_assert_int_eq(sql_rollback(&s), SQL_OK);
	ck_assert_int_eq(db_number(&s, "SELECT COUNT(*) FROM escrow_fence"), 0);
	sql_done(&s);
}
END_TEST

UNIT_WITH("join", setup, teardown, what_joins_a_transaction_commits_with_it,
	  what_joins_a_transaction_is_undone_with_it, killed_before_its_commit_it_never_was,
	  killed_behind_its_commit_the_check_finds_the_row, while_it_is_open_nobody_knows,
	  there_must_be_a_transaction, a_check_that_was_faster_wins, another_database_is_refused);
