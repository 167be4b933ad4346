/*
 * What a user would lose: a broker that is told commit for what rolled back, or rollback for what
 * committed.  Here broker and database are fakes that do as a row of a table says, and the test
 * reads what the broker was told; with real ones it is tests/transfer.
 */
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "escrow/escrow_table.h"
#include "producer/hold.h"
#include "unit/unit.h"

/* ---- a libescrow that does as it is told ------------------------------------------------- */

struct escrow_txn {
	unsigned char gid[16];
};
struct escrow_view {
	const unsigned char *db_id;
	char remark[256];
};

static struct escrow_txn the_txn = { { 1, 2, 3 } };
static escrow_client *const client = (escrow_client *)&the_txn;
static escrow_status half_status, decide_status, oldest_status;
static char heard[64]; /* what the broker was told */
static escrow_half_opts half_opts;
static escrow_check_fn listener;
static void *listener_arg;

escrow_status
escrow_half_send(escrow_client *c, const escrow_message *m, size_t count,
		 const escrow_half_opts *opts, escrow_txn **ret_txn)
{
	(void)c;
	(void)m;
	(void)count;
	half_opts = *opts;
	if (half_status == ESCROW_OK)
		*ret_txn = &the_txn;
	return half_status;
}

static int held;

void
client_hold(escrow_client *c)
{
	(void)c;
	held++;
}

void
client_drop(escrow_client *c)
{
	(void)c;
	held--;
}

const unsigned char *
escrow_txn_gid_bytes(const escrow_txn *txn)
{
	return txn->gid;
}

escrow_status
escrow_decide(escrow_txn **txn, escrow_decision decision, const escrow_decide_opts *opts)
{
	(void)opts;
	*txn = NULL;
	snprintf(heard, sizeof(heard), "%s", decision == ESCROW_COMMIT ? "commit" : "rollback");
	escrow_set_last_error("of the decision");
	return decide_status;
}

void
escrow_abandon(escrow_txn **txn)
{
	if (*txn != NULL)
		snprintf(heard, sizeof(heard), "nothing");
	*txn = NULL;
}

escrow_status
escrow_on_check(escrow_client *c, const char *group, escrow_check_fn fn, void *arg)
{
	(void)c;
	(void)group;
	listener = fn;
	listener_arg = arg;
	return ESCROW_OK;
}

escrow_status
escrow_oldest_undecided(escrow_client *c, const void *db_id, int timeout_ms,
			unsigned char ret_gid[ESCROW_GID_SIZE])
{
	(void)c;
	(void)db_id;
	(void)timeout_ms;
	memset(ret_gid, 7, ESCROW_GID_SIZE);
	return oldest_status;
}

const unsigned char *
escrow_view_gid_bytes(const escrow_view *view)
{
	(void)view;
	return the_txn.gid;
}

const unsigned char *
escrow_view_db_id(const escrow_view *view)
{
	return view->db_id;
}

void
escrow_view_remark(const escrow_view *view, const char *text)
{
	snprintf(((escrow_view *)view)->remark, sizeof(view->remark), "%s", text);
}

/* ---- a database likewise ----------------------------------------------------------------- */

static escrow_fenced begins, commits, rolls_back;
static escrow_decision checked;
static int checks, sweeps, sweeps_badly, freed, local_rc, local_calls;
static unsigned char swept_horizon[16];

static escrow_fenced
f_begin(escrow_fence *f, void *db, const unsigned char *gid, const unsigned char *db_id)
{
	(void)db;
	ck_assert_mem_eq(gid, the_txn.gid, 16);
	ck_assert_mem_eq(db_id, f->db_id, 16);
	escrow_set_last_error("of the database");
	return begins;
}

static escrow_fenced joins;

static escrow_fenced
f_join(escrow_fence *f, void *db, const unsigned char *gid, const unsigned char *db_id)
{
	(void)db;
	ck_assert_mem_eq(gid, the_txn.gid, 16);
	ck_assert_mem_eq(db_id, f->db_id, 16);
	escrow_set_last_error("of the database");
	return joins;
}

static escrow_fenced
f_commit(escrow_fence *f, void *db)
{
	(void)f;
	(void)db;
	escrow_set_last_error("of the commit");
	return commits;
}

static escrow_fenced
f_rollback(escrow_fence *f, void *db)
{
	(void)f;
	(void)db;
	return rolls_back;
}

static escrow_decision
f_check(escrow_fence *f, const unsigned char *gid, const unsigned char *db_id, const char **remark)
{
	(void)f;
	(void)gid;
	(void)db_id;
	checks++;
	*remark = "because";
	return checked;
}

static int
f_sweep(escrow_fence *f, const unsigned char *oldest, const unsigned char *horizon,
	unsigned char ret_low[16], uint64_t *ret_rows)
{
	(void)f;
	ck_assert_int_eq(oldest[0], 7);
	memcpy(swept_horizon, horizon, 16);
	memcpy(ret_low, horizon, 16);
	/* In two pieces; the third finds nothing. */
	*ret_rows = sweeps < 2 ? 3 : 0;
	sweeps++;
	return sweeps_badly ? -1 : 0;
}

static int
f_rekey(escrow_fence *f)
{
	f->db_id[0]++;
	return 0;
}

static void
f_free(escrow_fence *f)
{
	(void)f;
	freed++;
}

static escrow_fence fence;
static escrow_table *table;
static const escrow_table_opts by_hand = { sizeof(by_hand), 1000, 0 };

static void
setup(void)
{
	/* All in one process, when nothing is to escape valgrind. */
	half_status = decide_status = oldest_status = ESCROW_OK;
	begins = commits = rolls_back = ESCROW_FENCE_OPEN;
	checked = ESCROW_UNKNOWN;
	checks = sweeps = sweeps_badly = freed = local_rc = local_calls = 0;
	fence = (escrow_fence){ sizeof(fence), { 9 },   f_begin, f_commit, f_rollback,
				f_check,       f_sweep, f_rekey, f_free,   f_join };
	ck_assert_int_eq(escrow_table_open(&table, &fence), ESCROW_OK);
	ck_assert_int_eq(escrow_table_attach(table, client, "orders", &by_hand), ESCROW_OK);
}

static void
teardown(void)
{
	escrow_table_close(table);
	ck_assert_int_eq(held, 0);
	ck_assert_int_eq(freed, 1);
	ck_assert_ptr_null(listener);
}

static int
business(void *db, void *arg)
{
	struct escrow_view view = { fence.db_id, "" };

	(void)db;
	(void)arg;
	local_calls++;
	/* A check that comes now is not even asked of the database. */
	ck_assert_int_eq(listener(&view, listener_arg), ESCROW_UNKNOWN);
	ck_assert_str_eq(view.remark, "running");
	return local_rc;
}

static escrow_status
sent(void)
{
	escrow_message m = ESCROW_MESSAGE_INIT;

	heard[0] = '\0';
	local_calls = 0;
	return escrow_table_send(table, NULL, &m, 1, NULL, business, NULL);
}

/* ---- tests ------------------------------------------------------------------------------- */

START_TEST(the_broker_hears_what_is_certain_and_nothing_else)
{
	static const struct {
		escrow_fenced begins, commits, rolls_back;
		escrow_decision checked;
		int local;
		escrow_status status;
		const char *heard, *why;
	} rows[] = {
		{ 0, 0, 0, 0, 0, ESCROW_OK, "commit", NULL },
		/* the local transaction did not want */
		{ 0, 0, 0, 0, 1, ESCROW_E_LOCAL, "rollback", "said so" },
		{ 0, 0, ESCROW_FENCE_LOST, 0, 1, ESCROW_E_IN_DOUBT, "nothing", NULL },
		/* COMMIT: refused; lost, and then found out or not */
		{ 0, ESCROW_FENCE_FAILED, 0, 0, 0, ESCROW_E_DATABASE, "rollback", "commit" },
		{ 0, ESCROW_FENCE_LOST, 0, ESCROW_COMMIT, 0, ESCROW_OK, "commit", NULL },
		{ 0, ESCROW_FENCE_LOST, 0, ESCROW_ROLLBACK, 0, ESCROW_E_DATABASE, "rollback",
		  NULL },
		{ 0, ESCROW_FENCE_LOST, 0, ESCROW_UNKNOWN, 0, ESCROW_E_IN_DOUBT, "nothing",
		  "commit" },
		/* the fence */
		{ ESCROW_FENCE_SHUT, 0, 0, 0, 0, ESCROW_E_FENCED, "rollback", "check" },
		{ ESCROW_FENCE_DONE, 0, 0, 0, 0, ESCROW_OK, "commit", NULL },
		{ ESCROW_FENCE_EXPIRED, 0, 0, 0, 0, ESCROW_E_EXPIRED, "nothing", "remembers" },
		{ ESCROW_FENCE_WRONG_DB, 0, 0, 0, 0, ESCROW_E_ARG, "nothing", "another database" },
		{ ESCROW_FENCE_FAILED, 0, 0, 0, 0, ESCROW_E_DATABASE, "rollback",
		  "of the database" },
		{ ESCROW_FENCE_LOST, 0, 0, 0, 0, ESCROW_E_DATABASE, "rollback", "of the database" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begins = rows[i].begins;
		commits = rows[i].commits;
		rolls_back = rows[i].rolls_back;
		checked = rows[i].checked;
		local_rc = rows[i].local;
		ck_assert_msg(sent() == rows[i].status, "row %zu: %s", i, escrow_last_error());
		ck_assert_msg(strcmp(heard, rows[i].heard) == 0, "row %zu: told %s", i, heard);
		ck_assert_int_eq(local_calls, begins == ESCROW_FENCE_OPEN);
		if (rows[i].why != NULL)
			ck_assert_msg(strstr(escrow_last_error(), rows[i].why) != NULL,
				      "row %zu: \"%s\"", i, escrow_last_error());
	}
}
END_TEST

START_TEST(without_a_half_send_nothing_runs)
{
	half_status = ESCROW_E_BUSY;
	ck_assert_int_eq(sent(), ESCROW_E_BUSY);
	ck_assert_int_eq(local_calls, 0);
	ck_assert_str_eq(heard, "");
}
END_TEST

START_TEST(a_half_send_names_group_and_database)
{
	ck_assert_int_eq(sent(), ESCROW_OK);
	ck_assert_str_eq(half_opts.group, "orders");
	ck_assert_mem_eq(half_opts.db_id, fence.db_id, 16);
}
END_TEST

START_TEST(a_decision_that_does_not_arrive_costs_nothing_and_a_contradiction_is_heard)
{
	decide_status = ESCROW_E_TIMEOUT;
	ck_assert_int_eq(sent(), ESCROW_OK);
	decide_status = ESCROW_E_UNREACHABLE;
	ck_assert_int_eq(sent(), ESCROW_OK);
	decide_status = ESCROW_E_DECIDED;
	ck_assert_int_eq(sent(), ESCROW_E_DECIDED);
}
END_TEST

START_TEST(checks_are_asked_of_the_database_and_counted)
{
	struct escrow_view view = { fence.db_id, "" }, without = { NULL, "" };
	escrow_table_stats stats = { .struct_size = sizeof(stats) };

	checked = ESCROW_COMMIT;
	ck_assert_int_eq(listener(&view, listener_arg), ESCROW_COMMIT);
	ck_assert_str_eq(view.remark, "because");
	checked = ESCROW_ROLLBACK;
	ck_assert_int_eq(listener(&view, listener_arg), ESCROW_ROLLBACK);
	ck_assert_int_eq(listener(&without, listener_arg), ESCROW_UNKNOWN);
	ck_assert_int_eq(checks, 2);
	escrow_table_get_stats(table, &stats);
	ck_assert_uint_eq(stats.answers_commit, 1);
	ck_assert_uint_eq(stats.answers_rollback, 1);
	ck_assert_uint_eq(stats.answers_unknown, 1);
}
END_TEST

START_TEST(cleaning_stays_behind_the_grace)
{
	escrow_table_stats stats = { .struct_size = sizeof(stats) };
	struct timespec now;
	int64_t now_ms;

	clock_gettime(CLOCK_REALTIME, &now);
	now_ms = now.tv_sec * 1000LL + now.tv_nsec / 1000000;
	ck_assert_int_eq(escrow_table_clean(table), ESCROW_OK);
	escrow_table_get_stats(table, &stats);
	ck_assert_uint_eq(stats.cleaned, 6);
	ck_assert_int_eq(sweeps, 3);
	ck_assert_int_ge(stats.low_ms, now_ms - 1000);
	ck_assert_int_lt(stats.low_ms, now_ms + 60000 - 1000);
	sweeps_badly = 1;
	ck_assert_int_eq(escrow_table_clean(table), ESCROW_E_DATABASE);
	oldest_status = ESCROW_E_UNREACHABLE;
	ck_assert_int_eq(escrow_table_clean(table), ESCROW_E_UNREACHABLE);
}
END_TEST

START_TEST(what_is_wrong_is_refused)
{
	static const unsigned char rocketmq[ESCROW_GID_SIZE];
	escrow_table_opts bad = ESCROW_TABLE_OPTS_INIT;
	escrow_table *second;

	ck_assert_int_eq(escrow_table_attach(table, client, NULL, NULL), ESCROW_E_ARG);
	ck_assert_int_eq(escrow_table_rekey(table), ESCROW_E_ARG);
	/* The second transaction of that "gid" would find the first one's row, and not run. */
	ck_assert_int_eq(escrow_table_begin(table, NULL, rocketmq), ESCROW_E_ARG);
	ck_assert_int_eq(escrow_table_open(&second, &fence), ESCROW_OK);
	bad.grace_ms = -1;
	ck_assert_int_eq(escrow_table_attach(second, client, NULL, &bad), ESCROW_E_ARG);
	bad.struct_size = 0;
	ck_assert_int_eq(escrow_table_attach(second, client, NULL, &bad), ESCROW_E_ARG);
	ck_assert_int_eq(escrow_table_clean(second), ESCROW_E_ARG);
	ck_assert_int_eq(escrow_table_rekey(second), ESCROW_OK);
	ck_assert_int_eq(fence.db_id[0], 10);
	ck_assert_int_eq(escrow_table_send(second, NULL, NULL, 0, NULL, business, NULL),
			 ESCROW_E_ARG);
	escrow_table_close(second);
	freed = 0;
	escrow_table_close(NULL);
}
END_TEST

START_TEST(who_joins_has_a_transaction_to_decide_or_none)
{
	static const struct {
		escrow_fenced joins;
		escrow_status status;
	} rows[] = {
		{ ESCROW_FENCE_OPEN, ESCROW_OK },
		{ ESCROW_FENCE_SHUT, ESCROW_E_FENCED },
		{ ESCROW_FENCE_DONE, ESCROW_E_DECIDED },
		{ ESCROW_FENCE_EXPIRED, ESCROW_E_EXPIRED },
		{ ESCROW_FENCE_WRONG_DB, ESCROW_E_ARG },
		{ ESCROW_FENCE_FAILED, ESCROW_E_DATABASE },
		{ ESCROW_FENCE_LOST, ESCROW_E_DATABASE },
	};
	escrow_message m = ESCROW_MESSAGE_INIT;
	escrow_txn *txn;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		joins = rows[i].joins;
		heard[0] = '\0';
		txn = NULL;
		ck_assert_int_eq(escrow_table_join(table, NULL, &m, 1, NULL, &txn), rows[i].status);
		ck_assert_ptr_eq(txn, rows[i].status == ESCROW_OK ? &the_txn : NULL);
		/* The row may be there and commit all the same: so it is the check's. */
		ck_assert_str_eq(heard, rows[i].status == ESCROW_OK ? "" : "nothing");
		ck_assert_mem_eq(half_opts.db_id, fence.db_id, 16);
		ck_assert_str_eq(half_opts.group, "orders");
	}
	half_status = ESCROW_E_UNREACHABLE;
	ck_assert_int_eq(escrow_table_join(table, NULL, &m, 1, NULL, &txn), ESCROW_E_UNREACHABLE);
	/* A fence of somebody who was built before there was such a thing. */
	half_status = ESCROW_OK;
	fence.struct_size = offsetof(escrow_fence, join);
	ck_assert_int_eq(escrow_table_join(table, NULL, &m, 1, NULL, &txn), ESCROW_E_UNSUPPORTED);
	fence.struct_size = sizeof(fence);
	fence.join = NULL;
	ck_assert_int_eq(escrow_table_join(table, NULL, &m, 1, NULL, &txn), ESCROW_E_UNSUPPORTED);
}
END_TEST

UNIT_WITH("table", setup, teardown, the_broker_hears_what_is_certain_and_nothing_else,
	  without_a_half_send_nothing_runs, a_half_send_names_group_and_database,
	  a_decision_that_does_not_arrive_costs_nothing_and_a_contradiction_is_heard,
	  checks_are_asked_of_the_database_and_counted, cleaning_stays_behind_the_grace,
	  what_is_wrong_is_refused, who_joins_has_a_transaction_to_decide_or_none);
