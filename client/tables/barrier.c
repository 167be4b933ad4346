/*
 * barrier.c -- the fence's algorithms behind the functions that escrow_table.h names.
 */
#include "tables/barrier.h"

#include <stdlib.h>
#include <string.h>

#include "tables/fence.h"

/* How long a check waits for a local transaction to end before it says UNKNOWN. */
#define PATIENCE_MS 1000
/* Deletions of one sweep(): a check may have to wait for so many. */
#define SWEEP_CHUNKS 8

_Static_assert(ESCROW_FENCE_OPEN == (int)FENCE_OPEN && ESCROW_FENCE_SHUT == (int)FENCE_SHUT &&
		       ESCROW_FENCE_DONE == (int)FENCE_DONE &&
		       ESCROW_FENCE_EXPIRED == (int)FENCE_EXPIRED &&
		       ESCROW_FENCE_WRONG_DB == (int)FENCE_WRONG_DB,
	       "outcomes");
_Static_assert(ESCROW_UNKNOWN == (int)FENCE_UNKNOWN && ESCROW_COMMIT == (int)FENCE_COMMIT &&
		       ESCROW_ROLLBACK == (int)FENCE_ROLLBACK,
	       "answers");

struct barrier {
	escrow_fence base;
	struct sql sql; /* its own connection */
	bool lost;
};

/* The engine's outcome on the user's connection, with the sentence where it is bad news. */
static escrow_fenced
told(struct sql *s, int outcome)
{
	if (outcome < 0)
		escrow_set_last_error(s->error);
	sql_done(s);
	return outcome >= 0          ? (escrow_fenced)outcome
	       : outcome == SQL_LOST ? ESCROW_FENCE_LOST
				     : ESCROW_FENCE_FAILED;
}

static escrow_fenced
begin(escrow_fence *base, void *db, const unsigned char *gid, const unsigned char *db_id)
{
	struct sql s;

	sql_borrow(&s, ((struct barrier *)base)->sql.engine, db);
	return told(&s, fence_begin(&s, gid, db_id));
}

static escrow_fenced
join(escrow_fence *base, void *db, const unsigned char *gid, const unsigned char *db_id)
{
	struct sql s;

	sql_borrow(&s, ((struct barrier *)base)->sql.engine, db);
	if (!sql_inside(&s))
		return told(&s,
			    sql_fail(&s, SQL_BAD, "no transaction is open that could be joined"));
	return told(&s, fence_insert(&s, gid, db_id));
}

static escrow_fenced
commit(escrow_fence *base, void *db)
{
	struct sql s;

	sql_borrow(&s, ((struct barrier *)base)->sql.engine, db);
	return told(&s, sql_commit(&s));
}

static escrow_fenced
rollback(escrow_fence *base, void *db)
{
	struct sql s;

	sql_borrow(&s, ((struct barrier *)base)->sql.engine, db);
	if (!sql_inside(&s))
		return told(&s, sql_fail(&s, SQL_LOST,
					 "the local transaction was ended by somebody else"));
	return told(&s, sql_rollback(&s));
}

/* The own connection, made anew where it was lost. */
static int
ready(struct barrier *b)
{
	int err = b->lost ? sql_reconnect(&b->sql) : SQL_OK;

	b->lost = err != SQL_OK;
	return err;
}

static escrow_decision
check(escrow_fence *base, const unsigned char *gid, const unsigned char *db_id,
      const char **ret_remark)
{
	struct barrier *b = (struct barrier *)base;
	enum fence_answer answer;

	if (ready(b)) {
		*ret_remark = b->sql.error;
		return ESCROW_UNKNOWN;
	}
	answer = fence_check(&b->sql, gid, db_id, ret_remark);
	/* Any error may have been the connection's: looking costs a round trip at most. */
	b->lost = answer == FENCE_UNKNOWN;
	return (escrow_decision)answer;
}

static int
failed(struct barrier *b)
{
	b->lost = true;
	escrow_set_last_error(b->sql.error);
	return -1;
}

static int
sweep(escrow_fence *base, const unsigned char *oldest, const unsigned char *horizon,
      unsigned char ret_low[ESCROW_GID_SIZE], uint64_t *ret_rows)
{
	struct barrier *b = (struct barrier *)base;
	struct fence_swept swept;

	if (ready(b) || fence_sweep(&b->sql, oldest, horizon, SWEEP_CHUNKS, &swept))
		return failed(b);
	memcpy(ret_low, swept.low, ESCROW_GID_SIZE);
	*ret_rows = (uint64_t)swept.rows;
	return 0;
}

static int
rekey(escrow_fence *base)
{
	struct barrier *b = (struct barrier *)base;

	return ready(b) || fence_rekey(&b->sql, base->db_id) ? failed(b) : 0;
}

static void
drop(escrow_fence *base)
{
	sql_done(&((struct barrier *)base)->sql);
	free(base);
}

escrow_status
barrier_open(escrow_table **ret_table, const struct sql_engine *engine, const char *where)
{
	struct barrier *b = calloc(1, sizeof(*b));
	escrow_status status = ESCROW_E_DATABASE;

	if (b == NULL) {
		escrow_set_last_error("out of memory");
		return ESCROW_E_NOMEM;
	}
	b->base = (escrow_fence){ .struct_size = sizeof(b->base),
				  .begin = begin,
				  .commit = commit,
				  .rollback = rollback,
				  .check = check,
				  .sweep = sweep,
				  .rekey = rekey,
				  .free = drop,
				  .join = join };
	if (sql_open(&b->sql, engine, where, PATIENCE_MS) || fence_install(&b->sql, b->base.db_id))
		escrow_set_last_error(b->sql.error);
	else
		status = escrow_table_open(ret_table, &b->base);
	if (status)
		drop(&b->base);
	return status;
}
