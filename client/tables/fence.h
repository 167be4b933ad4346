/*
 * fence.h -- the producer's log table: what came of a local transaction, provably.
 *
 *     escrow_fence (gid, state, who)      one row a transaction: 1 COMMITTED, 2 ROLLED_BACK
 *     escrow_meta  (id = 1, db_id, low)   which database this is; below low all is forgotten
 *
 * Two kinds of writer insert the row of a gid, each in the transaction whose outcome the row
 * stands for: the local transaction (1) and whoever answers a check (2).  The primary key admits
 * one of them, and the second waits for the first to end.  So every definite answer equals a
 * durable row, and once 2 is durable no 1 can follow: the local transaction is fenced off.
 *
 *     local transaction                     check
 *     BEGIN                                 BEGIN
 *     insert (gid, 1)       <- one wins ->  insert (gid, 2)
 *     read low: gid below? leave            read low: gid below? UNKNOWN
 *     business SQL                          mine: COMMIT, then answer ROLLBACK
 *     COMMIT                                not mine: answer what the row says
 *
 * Rows are deleted below a watermark that was durable before; both sides read it after their
 * insert, so that who finds no row because it was deleted also finds that it was.
 *
 * Every function returns 0, one of its named outcomes (above 0), or an enum sql_result (below),
 * with a sentence in s->error.  A gid is 16 bytes, ordered by time.
 */
#ifndef TABLES_FENCE_H
#define TABLES_FENCE_H

#include "tables/sql.h"

#define FENCE_ID 16 /* bytes of a gid and of a db_id */

enum fence_outcome {
	FENCE_OPEN = 0,  /* go on: the row is inserted, the transaction open                    */
	FENCE_SHUT,      /* a check has answered ROLLBACK: never try this gid again             */
	FENCE_DONE,      /* an earlier attempt committed: tell the broker COMMIT                */
	FENCE_EXPIRED,   /* below the watermark: too old to know; decide nothing                */
	FENCE_WRONG_DB,  /* this connection leads to another database than the half-send named  */
};

enum fence_answer {
	FENCE_UNKNOWN = 0,
	FENCE_COMMIT,
	FENCE_ROLLBACK,
};

/* Makes the tables where they are missing, and reads the db_id.  SQL_BAD: also when a table is
 * of an engine that cannot roll back.  Outside of a transaction. */
int fence_install(struct sql *s, uint8_t ret_db_id[FENCE_ID]) SQL_MUSTUSE;

/*
 * Opens the local transaction of GID on the caller's connection, and inserts its row as the first
 * statement.  For anything but FENCE_OPEN the transaction is rolled back already.
 */
int fence_begin(struct sql *s, const uint8_t gid[FENCE_ID],
		const uint8_t db_id[FENCE_ID]) SQL_MUSTUSE;

/*
 * The row alone, in a transaction that is open.  For very long transactions it may come last:
 * begin with sql_begin(), end with this and sql_commit().  The row is then locked for a moment
 * only, but a check that comes early kills the transaction instead of waiting for it.
 * For anything but FENCE_OPEN the caller rolls back.
 */
int fence_insert(struct sql *s, const uint8_t gid[FENCE_ID],
		 const uint8_t db_id[FENCE_ID]) SQL_MUSTUSE;

/*
 * Answers a check about GID, half-sent for the database HALF_DB_ID, on a connection of the
 * answerer's own, with bounded patience, to the primary.  Never fails: what it cannot find out
 * is FENCE_UNKNOWN.  *RET_REMARK says why, in a word or a sentence that lives until the next
 * call on S.
 */
enum fence_answer fence_check(struct sql *s, const uint8_t gid[FENCE_ID],
			      const uint8_t half_db_id[FENCE_ID], const char **ret_remark);

/* The smallest gid of a moment, in ms since 1970: what is below was begun before. */
void fence_gid_at(int64_t ms, uint8_t ret_gid[FENCE_ID]);

struct fence_swept {
	bool leader;            /* false: another process was at it, and nothing was done */
	uint8_t low[FENCE_ID];  /* the watermark now */
	int64_t rows;           /* deleted */
};

/*
 * Raises the watermark to the smaller of OLDEST, the broker's oldest undecided gid of this
 * database, and HORIZON, fence_gid_at(now - grace); then deletes what is below, at most CHUNKS
 * times a thousand rows: who waits for this connection shall not wait for all of them.  GRACE is
 * at least the longest local transaction and the difference of clocks.
 */
int fence_sweep(struct sql *s, const uint8_t oldest[FENCE_ID], const uint8_t horizon[FENCE_ID],
		int chunks, struct fence_swept *ret) SQL_MUSTUSE;

/* The oldest row's gid (all zero: the table is empty) and the watermark, for metrics. */
int fence_stats(struct sql *s, uint8_t ret_oldest[FENCE_ID], uint8_t ret_low[FENCE_ID]) SQL_MUSTUSE;

/* Gives a restored or cloned copy a db_id of its own.  Must come before it is used: until then
 * copy and original answer for each other. */
int fence_rekey(struct sql *s, uint8_t ret_db_id[FENCE_ID]) SQL_MUSTUSE;

#endif /* TABLES_FENCE_H */
