/*
 * escrow_table.h -- the local transaction that can be asked about: business SQL, and nothing else.
 *
 *      half-send ---------------------------> durable at the broker
 *      BEGIN                                  on your connection
 *      a row of the fence: this gid commits   by this library
 *      your SQL                               by your function
 *      COMMIT
 *      commit or rollback ------------------> as it went; when nobody knows, nothing
 *
 * And when the broker asks: the row is there, so COMMIT; or the library inserts a row that says
 * rolled back, so that the local transaction can never commit any more, and then ROLLBACK.  One
 * row for each transaction, whose key admits one of the two: no answer can be wrong.
 *
 *      static int pay(void *db, void *order)
 *      {
 *              char *sql = sqlite3_mprintf("UPDATE orders SET paid = 1 WHERE id = %Q", order);
 *              int rc = sqlite3_exec(db, sql, 0, 0, 0);
 *              return sqlite3_free(sql), rc;
 *      }
 *      ...
 *      escrow_open(&mq, "escrow://127.0.0.1:9876?group=orders");
 *      escrow_table_sqlite(&table, "orders.db");
 *      escrow_table_attach(table, mq, NULL, NULL);
 *      sqlite3_open("orders.db", &db);
 *      sqlite3_busy_timeout(db, 10000);
 *      ...
 *      status = escrow_table_send(table, db, &message, 1, NULL, pay, order);
 *      if (status != ESCROW_OK)
 *              fprintf(stderr, "%s: %s\n", escrow_status_name(status), escrow_last_error());
 *
 * Links with -lescrow and one of -lescrow-sqlite, -lescrow-postgres, -lescrow-mysql.
 *
 * The tables.  escrow_fence (gid, state, who) and escrow_meta (id, db_id, low), made where they are
 * missing.  escrow_meta names the database: half-sends carry its db_id, a check about another
 * one is not answered, and a connection that leads elsewhere is refused before your SQL runs.
 * A restored or cloned copy has the db_id of its original: escrow_table_rekey() must come before
 * anybody uses it, for until then the two answer for each other.
 *
 * Your connection.  READ COMMITTED (SQLite: BEGIN IMMEDIATE, so set a busy timeout), and outside of
 * any transaction when it comes.  Do not end the transaction in your function; in MariaDB and
 * MySQL DDL ends it.  Only the primary is asked: never point a table at a replica.  A pooler must
 * keep a transaction on one connection.
 *
 * Threads.  A table may be used by any number of threads, each with a connection of its own.  The
 * table has one connection more, for checks and cleaning, and after escrow_table_attach() a
 * thread that cleans.
 */
#ifndef ESCROW_ESCROW_TABLE_H
#define ESCROW_ESCROW_TABLE_H

#include <escrow/escrow.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct escrow_table escrow_table;

/* ---- open and attach ------------------------------------------------------------------------ */

/*
 * Opens the table's own connection, and makes the two tables where they are missing.  PATH: a
 * file.  CONNINFO: libpq's.  WHERE: "host= port= user= password= dbname= socket=", each at
 * most once, values with blanks between single quotes, \ before a quote.
 * DATABASE: the sentence says why.  NOMEM.
 */
ESCROW_API escrow_status escrow_table_sqlite(escrow_table **ret_table,
		const char *path) ESCROW_MUSTUSE;
ESCROW_API escrow_status escrow_table_postgres(escrow_table **ret_table,
		const char *conninfo) ESCROW_MUSTUSE;
ESCROW_API escrow_status escrow_table_mysql(escrow_table **ret_table,
		const char *where) ESCROW_MUSTUSE;

typedef struct escrow_table_opts {
	size_t struct_size;    /* ESCROW_TABLE_OPTS_INIT */
	int64_t grace_ms;      /* rows younger than this stay.  At least the longest local
				* transaction and the difference of clocks                     */
	int32_t clean_ms;      /* how often rows are deleted that the broker cannot ask about any
				* more; 0: never, you call escrow_table_clean()                */
} escrow_table_opts;

#define ESCROW_TABLE_OPTS_INIT { sizeof(escrow_table_opts), INT64_C(86400000), 60000 }

/*
 * From now on the table answers the checks of GROUP (NULL: the client's), and rows are cleaned.
 * Once for each table.  OPTS may be NULL.  When the client is closed before the table, whatever
 * needs the broker returns CLOSED from then on, and checks are answered by others of the group.
 * ARG: attached already.  Else as escrow_on_check().
 */
ESCROW_API escrow_status escrow_table_attach(escrow_table *table, escrow_client *client,
		const char *group, const escrow_table_opts *opts) ESCROW_MUSTUSE;
/*
 * Ends the listener and the thread, then the connection; when it returns no check runs.  Better
 * before escrow_close(), but safe behind it too.  Not while another call with TABLE runs.  NULL
 * is fine.
 */
ESCROW_API void escrow_table_close(escrow_table *table);

/* ---- send ----------------------------------------------------------------------------------- */

/* Business SQL, inside the local transaction on DB.  0: commit it.  Anything else: roll it back. */
typedef int (*escrow_business_fn)(void *db, void *arg);

/*
 * All of the picture above.  DB: sqlite3 *, PGconn * or MYSQL *.  OPTS as for escrow_half_send();
 * its group and db_id are the table's.
 *
 *   OK        committed: the messages are published, if need be after a check
 *   LOCAL     FN said so: rolled back
 *   DATABASE  rolled back, by the database or for its sake
 *   FENCED    a check was faster: rolled back.  Begin anew, with another opts->id
 *   EXPIRED   begun longer ago than the fence remembers: rolled back.  Begin anew, likewise
 *   IN_DOUBT  the connection was lost in COMMIT, and the database did not answer on another
 *             either.  The check finds out; do not repeat it
 *   DECIDED   before FN: opts->id is committed already.  After it: an operator decided otherwise
 *   ARG       not attached, or DB leads to another database or is inside a transaction
 *   UNSUPPORTED  the broker is RocketMQ, which has no gids: there is no fence.  FN was not called
 *   any other of escrow_half_send(): FN was not called
 *
 * FN was called, and its effect is durable, exactly when it returns OK (or IN_DOUBT, then maybe;
 * or DECIDED after it).  With an opts->id that was half-sent before, OK may also mean that the
 * effect is of the time before, and FN was not called again.
 */
ESCROW_API escrow_status escrow_table_send(escrow_table *table, void *db,
		const escrow_message *messages, size_t count, const escrow_half_opts *opts,
		escrow_business_fn fn, void *arg) ESCROW_MUSTUSE;

/* ---- join: in a transaction that is open already --------------------------------------------- */

/*
 * Half-sends, and puts the row of the fence into the transaction that is open on DB, so that the
 * messages are published exactly if that commits.  As often as need be in one transaction, and
 * anywhere in it.  It is READ COMMITTED (SQLite: IMMEDIATE; nobody writes while it half-sends).
 * In the handler of a consumer escrow_consumer_send() does all of this.
 *
 *      BEGIN, your SQL
 *      escrow_table_join(table, db, &message, 1, NULL, &txn)       for each
 *      COMMIT
 *      done:                                escrow_commit(&txn), or escrow_decide_async()
 *      rolled back, and that is certain:    escrow_rollback(&txn)
 *      nobody knows:                        escrow_abandon(&txn): the check finds out
 *
 * OK: the row is in the transaction, and *RET_TXN is to be ended behind it.  After anything else
 * roll back; then the check does, too.  As escrow_table_send(), and
 *
 *   DATABASE     also when no transaction is open on DB
 *   DECIDED      opts->id has committed, with an earlier transaction
 *   UNSUPPORTED  also a fence without join()
 */
ESCROW_API escrow_status escrow_table_join(escrow_table *table, void *db,
		const escrow_message *messages, size_t count, const escrow_half_opts *opts,
		escrow_txn **ret_txn) ESCROW_MUSTUSE;

/* ---- the same in steps, for who half-sends in other ways ------------------------------------ */

/* ESCROW_DB_ID_SIZE bytes for escrow_half_opts.db_id.  Lives as long as the table. */
ESCROW_API const unsigned char *escrow_table_db_id(const escrow_table *table);
/*
 * Opens the local transaction of a gid (ESCROW_GID_SIZE bytes).  OK: it is open.  FENCED, EXPIRED,
 * DATABASE, ARG as above; DECIDED: an earlier attempt committed, so tell the broker COMMIT.  A gid
 * of zeroes is RocketMQ's, and ARG.
 * Unless it returns OK no transaction is open.  To the broker: ROLLBACK after FENCED and
 * DATABASE, nothing after EXPIRED and ARG.
 */
ESCROW_API escrow_status escrow_table_begin(escrow_table *table, void *db,
		const unsigned char *gid) ESCROW_MUSTUSE;
/*
 * Commits the local transaction.  OK: tell COMMIT.  DATABASE: it rolled back, tell ROLLBACK.
 * IN_DOUBT: tell nothing, and abandon the transaction.
 */
ESCROW_API escrow_status escrow_table_commit(escrow_table *table, void *db,
		const unsigned char *gid) ESCROW_MUSTUSE;
/*
 * Rolls it back.  OK: tell ROLLBACK.  IN_DOUBT: the transaction was ended by somebody else, or the
 * connection.
 */
ESCROW_API escrow_status escrow_table_rollback(escrow_table *table, void *db,
		const unsigned char *gid) ESCROW_MUSTUSE;

/* ---- care ----------------------------------------------------------------------------------- */

typedef struct escrow_table_stats {
	size_t struct_size;       /* set by the caller */
	uint64_t committed;       /* by escrow_table_commit(), and so by _send()                 */
	uint64_t rolled_back;
	uint64_t in_doubt;
	uint64_t fenced;          /* FENCED and EXPIRED                                           */
	uint64_t answers_commit;  /* of checks */
	uint64_t answers_rollback;
	uint64_t answers_unknown;
	uint64_t cleaned;         /* rows */
	uint64_t clean_errors;
	int64_t low_ms;           /* the watermark: rows of transactions begun before are gone; ms
				   * since 1970                                               */
} escrow_table_stats;

/* What the table did so far.  From any thread. */
ESCROW_API void escrow_table_get_stats(escrow_table *table, escrow_table_stats *ret_stats);
/* Cleans once, now.  As escrow_oldest_undecided(), and DATABASE. */
ESCROW_API escrow_status escrow_table_clean(escrow_table *table) ESCROW_MUSTUSE;
/* Gives a copy a db_id of its own, before it is attached and before anybody else uses it. */
ESCROW_API escrow_status escrow_table_rekey(escrow_table *table) ESCROW_MUSTUSE;

/* ---- another database ----------------------------------------------------------------------- */

typedef enum escrow_fenced {
	ESCROW_FENCE_OPEN = 0,      /* the row is inserted, the transaction open                 */
	ESCROW_FENCE_SHUT = 1,      /* a check has answered ROLLBACK                             */
	ESCROW_FENCE_DONE = 2,      /* an earlier attempt committed                              */
	ESCROW_FENCE_EXPIRED = 3,   /* below the watermark                                       */
	ESCROW_FENCE_WRONG_DB = 4,  /* escrow_meta of this connection has another db_id           */
	ESCROW_FENCE_FAILED = -1,   /* the database; rolled back                                 */
	ESCROW_FENCE_LOST = -2      /* of commit and rollback: nobody knows                      */
} escrow_fenced;

/*
 * What a table needs of a database; the ready ones fill in one of these.  begin(), commit(),
 * rollback() and join() run on the user's connection, in any thread; the others on the fence's
 * own, one at a time.  Each sets escrow_set_last_error() when it fails.
 *
 * begin(), after BEGIN: insert (gid, 1), and only then read db_id and low; check(): insert (gid,
 * 2), then read both, and answer ROLLBACK only after its own COMMIT; sweep(): the watermark
 * durable first, then DELETE.  The order is the proof.
 */
typedef struct escrow_fence escrow_fence;
struct escrow_fence {
	size_t struct_size;
	unsigned char db_id[ESCROW_DB_ID_SIZE];
	escrow_fenced (*begin)(escrow_fence *fence, void *db, const unsigned char *gid,
			       const unsigned char *db_id);
	escrow_fenced (*commit)(escrow_fence *fence, void *db);  /* OPEN: committed; FAILED: not */
	escrow_fenced (*rollback)(escrow_fence *fence, void *db); /* OPEN: it is certain */
	/* *RET_REMARK lives until the next call. */
	escrow_decision (*check)(escrow_fence *fence, const unsigned char *gid,
				 const unsigned char *db_id, const char **ret_remark);
	/* To the smaller of the two gids.  Again while it deletes rows, of which it need not delete
	 * all at once: checks wait for it.  0, or -1. */
	int (*sweep)(escrow_fence *fence, const unsigned char *oldest, const unsigned char *horizon,
		     unsigned char ret_low[ESCROW_GID_SIZE], uint64_t *ret_rows);
	int (*rekey)(escrow_fence *fence); /* and sets db_id.  0, or -1 */
	void (*free)(escrow_fence *fence);
	/* As begin(), but inside the transaction that is open on DB, and rolls nothing back.
	 * FAILED when there is none.  May be NULL, or missing by struct_size. */
	escrow_fenced (*join)(escrow_fence *fence, void *db, const unsigned char *gid,
			      const unsigned char *db_id);
};

/* Takes FENCE when it returns OK.  NOMEM. */
ESCROW_API escrow_status escrow_table_open(escrow_table **ret_table,
		escrow_fence *fence) ESCROW_MUSTUSE;

#ifdef __cplusplus
}
#endif

#endif /* ESCROW_ESCROW_TABLE_H */
