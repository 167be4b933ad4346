/*
 * fence.c -- the fence's algorithms.  The order of statements is the proof; see fence.h.
 *
 *   1. Insert first, look afterwards.  "Not found" alone proves nothing: the local transaction
 *      may be open, and on another connection.
 *   2. The watermark is read after the insert, by a statement of its own, so that it is at least
 *      as new as the deletion that may have made room for the insert.
 *   3. An answer ROLLBACK is given only after the commit of its own row: where inserts do not
 *      wait (certification), the loser learns it there.
 *   4. The db_id is compared with what the row of this very transaction says, so neither a wrong
 *      connection nor a rekey in between goes unnoticed.
 */
#include "tables/fence.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum state {
	COMMITTED = 1,
	ROLLED_BACK = 2,
};

static int
new_id(struct sql *s, uint8_t id[FENCE_ID])
{
	if (getrandom(id, FENCE_ID, 0) != FENCE_ID)
		return sql_fail(s, SQL_BAD, "no random bytes: %s", strerror(errno));
	return SQL_OK;
}

/* The row of escrow_meta. */
static int
read_meta(struct sql *s, uint8_t db_id[FENCE_ID], uint8_t low[FENCE_ID])
{
	struct sql_row row;
	int err = sql_run(s, SQL_META_READ, NULL, 0, &row);

	if (err)
		return err;
	if (!row.found || row.column[0].n != FENCE_ID || row.column[1].n != FENCE_ID)
		return sql_fail(s, SQL_BAD, "escrow_meta has no row, or not one of ours");
	memcpy(db_id, row.column[0].bytes, FENCE_ID);
	memcpy(low, row.column[1].bytes, FENCE_ID);
	return SQL_OK;
}

int
fence_install(struct sql *s, uint8_t ret_db_id[FENCE_ID])
{
	static const uint8_t zero[FENCE_ID];
	uint8_t fresh[FENCE_ID], low[FENCE_ID];
	struct sql_row row;
	int err = new_id(s, fresh);

	if (err)
		return err;
	/* PostgreSQL fails one of two processes that create a table at once: it is there then. */
	for (int attempt = 0; attempt < 3; attempt++) {
		err = sql_run(s, SQL_FENCE_CREATE, NULL, 0, NULL);
		if (!err)
			err = sql_run(s, SQL_META_CREATE, NULL, 0, NULL);
		if (!err || err == SQL_LOST)
			break;
	}
	if (!err)
		err = sql_run(s, SQL_ENGINES, NULL, 0, &row);
	if (!err && row.column[0].number != 0)
		err = sql_fail(s, SQL_BAD, "a table of ours is not InnoDB, and cannot roll back");
	if (!err)
		err = SQL_RUN(s, SQL_META_INSERT, NULL, sql_bytes(fresh, FENCE_ID),
			      sql_bytes(zero, FENCE_ID));
	/* The one that is there, whoever made it. */
	return err ? err : read_meta(s, ret_db_id, low);
}

static int
insert(struct sql *s, const uint8_t gid[FENCE_ID], enum state state, bool *ret_mine)
{
	char who[32], host[20];
	struct sql_row row;
	int err;

	if (gethostname(host, sizeof(host)) < 0)
		host[0] = '\0';
	host[sizeof(host) - 1] = '\0';
	snprintf(who, sizeof(who), "%s:%d", host, (int)getpid());
	err = SQL_RUN(s, SQL_FENCE_INSERT, &row, sql_bytes(gid, FENCE_ID), sql_number(state),
		      sql_bytes(who, strlen(who)));
	if (!err)
		*ret_mine = row.changed == 1;
	return err;
}

int
fence_insert(struct sql *s, const uint8_t gid[FENCE_ID], const uint8_t db_id[FENCE_ID])
{
	uint8_t here[FENCE_ID], low[FENCE_ID];
	struct sql_row row;
	bool mine;
	int err = insert(s, gid, COMMITTED, &mine);

	if (!err)
		err = read_meta(s, here, low);
	if (err)
		return err;
	if (memcmp(here, db_id, FENCE_ID) != 0)
		return FENCE_WRONG_DB;
	if (memcmp(gid, low, FENCE_ID) < 0)
		return FENCE_EXPIRED;
	if (mine)
		return FENCE_OPEN;
	err = SQL_RUN(s, SQL_FENCE_READ, &row, sql_bytes(gid, FENCE_ID));
	if (err)
		return err;
	if (!row.found)
		return FENCE_EXPIRED;
	return row.column[0].number == COMMITTED ? FENCE_DONE : FENCE_SHUT;
}

int
fence_begin(struct sql *s, const uint8_t gid[FENCE_ID], const uint8_t db_id[FENCE_ID])
{
	int outcome = sql_begin(s);

	if (outcome)
		return outcome;
	outcome = fence_insert(s, gid, db_id);
	if (outcome != FENCE_OPEN)
		(void)sql_rollback(s); /* or the server does */
	return outcome;
}

/* Inside the transaction: the answer, and whether the row that was inserted is to stay. */
static int
look(struct sql *s, const uint8_t gid[FENCE_ID], const uint8_t half_db_id[FENCE_ID],
     enum fence_answer *ret_answer, bool *ret_keep, const char **ret_remark)
{
	uint8_t here[FENCE_ID], low[FENCE_ID];
	struct sql_row row;
	bool mine;
	int err = insert(s, gid, ROLLED_BACK, &mine);

	if (!err)
		err = read_meta(s, here, low);
	if (err)
		return err;
	if (memcmp(here, half_db_id, FENCE_ID) != 0) {
		*ret_remark = "wrong_db";
		return SQL_OK;
	}
	if (memcmp(gid, low, FENCE_ID) < 0) {
		*ret_remark = "expired";
		return SQL_OK;
	}
	if (mine) {
		*ret_answer = FENCE_ROLLBACK;
		*ret_keep = true;
		*ret_remark = "no local transaction committed it, and none can any more";
		return SQL_OK;
	}
	err = SQL_RUN(s, SQL_FENCE_READ, &row, sql_bytes(gid, FENCE_ID));
	if (err)
		return err;
	if (!row.found) {
		*ret_remark = "no row";
	} else if (row.column[0].number == COMMITTED) {
		*ret_answer = FENCE_COMMIT;
		*ret_remark = "committed";
	} else {
		*ret_answer = FENCE_ROLLBACK;
		*ret_remark = "rolled back";
	}
	return SQL_OK;
}

enum fence_answer
fence_check(struct sql *s, const uint8_t gid[FENCE_ID], const uint8_t half_db_id[FENCE_ID],
	    const char **ret_remark)
{
	uint8_t here[FENCE_ID], low[FENCE_ID];
	enum fence_answer answer = FENCE_UNKNOWN;
	bool keep = false;
	int err;

	/* Another database's fence is not even touched. */
	err = read_meta(s, here, low);
	if (!err && memcmp(here, half_db_id, FENCE_ID) != 0) {
		*ret_remark = "wrong_db";
		return FENCE_UNKNOWN;
	}
	if (!err)
		err = sql_begin(s);
	if (!err) {
		err = look(s, gid, half_db_id, &answer, &keep, ret_remark);
		if (!err && keep)
			err = sql_commit(s);
		if (err || !keep)
			(void)sql_rollback(s); /* or the server does */
	}
	if (!err)
		return answer;
	*ret_remark = s->error;
	return FENCE_UNKNOWN;
}

void
fence_gid_at(int64_t ms, uint8_t ret_gid[FENCE_ID])
{
	memset(ret_gid, 0, FENCE_ID);
	for (int i = 0; i < 6 && ms > 0; i++)
		ret_gid[i] = (uint8_t)(ms >> (40 - 8 * i));
}

/* As the only cleaner. */
static int
sweep(struct sql *s, const uint8_t *low, int chunks, struct fence_swept *ret)
{
	struct sql_value at = sql_bytes(low, FENCE_ID);
	uint8_t db_id[FENCE_ID];
	struct sql_row row;
	int err;

	/* Durable first: from here on nobody believes in the absence of a row below. */
	err = sql_alone(s, SQL_META_RAISE, (const struct sql_value[]){ at, at }, 2, &row);
	if (!err)
		err = read_meta(s, db_id, ret->low);
	/* It may be higher than asked for, by a run that knew more. */
	at = sql_bytes(ret->low, FENCE_ID);
	do {
		if (!err)
			err = sql_alone(s, SQL_FENCE_SWEEP, &at, 1, &row);
		if (!err)
			ret->rows += row.changed;
	} while (!err && row.changed > 0 && --chunks > 0);
	return err;
}

static void
step_down(struct sql *s, const struct sql_value *id)
{
	char why[SQL_ERROR];

	memcpy(why, s->error, sizeof(why));
	if (sql_run(s, SQL_LEADER_DROP, id, 1, NULL))
		memcpy(s->error, why, sizeof(why)); /* then the lock ends with the session */
}

int
fence_sweep(struct sql *s, const uint8_t oldest[FENCE_ID], const uint8_t horizon[FENCE_ID],
	    int chunks, struct fence_swept *ret)
{
	const uint8_t *low = memcmp(oldest, horizon, FENCE_ID) < 0 ? oldest : horizon;
	struct fence_swept swept = { 0 };
	uint8_t db_id[FENCE_ID];
	struct sql_value id = sql_bytes(db_id, FENCE_ID);
	struct sql_row row;
	int err = read_meta(s, db_id, swept.low);

	if (!err)
		err = sql_run(s, SQL_LEADER_TAKE, &id, 1, &row);
	if (err)
		return err;
	swept.leader = row.found && row.column[0].number == 1;
	if (swept.leader) {
		err = sweep(s, low, chunks, &swept);
		step_down(s, &id);
	}
	if (!err)
		*ret = swept;
	return err;
}

int
fence_stats(struct sql *s, uint8_t ret_oldest[FENCE_ID], uint8_t ret_low[FENCE_ID])
{
	uint8_t db_id[FENCE_ID], low[FENCE_ID];
	struct sql_row row;
	int err = sql_run(s, SQL_FENCE_OLDEST, NULL, 0, &row);

	if (!err)
		err = read_meta(s, db_id, low);
	if (err)
		return err;
	memset(ret_oldest, 0, FENCE_ID);
	if (row.found)
		memcpy(ret_oldest, row.column[0].bytes, FENCE_ID);
	memcpy(ret_low, low, FENCE_ID);
	return SQL_OK;
}

int
fence_rekey(struct sql *s, uint8_t ret_db_id[FENCE_ID])
{
	uint8_t fresh[FENCE_ID];
	struct sql_value id = sql_bytes(fresh, FENCE_ID);
	struct sql_row row;
	int err = new_id(s, fresh);

	if (!err)
		err = sql_alone(s, SQL_META_REKEY, &id, 1, &row);
	if (!err && row.changed != 1)
		err = sql_fail(s, SQL_BAD, "escrow_meta has no row");
	if (!err)
		memcpy(ret_db_id, fresh, FENCE_ID);
	return err;
}
