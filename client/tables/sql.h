/*
 * sql.h -- the little SQL that the tables need, alike on SQLite, PostgreSQL and MariaDB/MySQL.
 *
 *      fence.c   dedup.c          the algorithms, once
 *            \   /
 *            sql.h                statements by name, four kinds of outcome
 *          /   |    \
 *  sqlite.c postgres.c mysql.c    one database library each
 *
 * Contract, which tests/tables/test_sql.c checks of all three:
 *
 *   - sql_begin() opens a transaction of READ COMMITTED (SQLite: IMMEDIATE), and refuses a
 *     connection that is inside one already;
 *   - an insert of a key that exists waits for whoever inserted it to end, changes 0 rows and
 *     leaves the transaction usable; no other violation is hidden by that;
 *   - each statement of a transaction reads what was committed before that statement began;
 *   - after any error but that, the transaction can only be rolled back;
 *   - sql_commit() says SQL_OK, SQL_UNDONE or SQL_LOST, and the first two are certain.
 *
 * A struct sql is used by one thread at a time, as the connection under it.  Nothing here logs.
 */
#ifndef TABLES_SQL_H
#define TABLES_SQL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SQL_MUSTUSE __attribute__((warn_unused_result))

enum sql_result {
	SQL_OK = 0,
	SQL_AGAIN = -1,  /* a lock, a deadlock, a serialization failure: roll back, then repeat  */
	SQL_LOST = -2,   /* the connection is gone; of a commit: nobody knows whether it happened */
	SQL_BAD = -3,    /* anything else: roll back, do not expect better of a repetition        */
	SQL_UNDONE = -4, /* of a commit only: the database rolled back instead                    */
};

/* The statements: their text is in sql.c, where the parameters are named too. */
enum sql_statement {
	SQL_FENCE_CREATE,
	SQL_META_CREATE,
	SQL_META_INSERT,
	SQL_META_READ,
	SQL_META_RAISE,
	SQL_META_REKEY,
	SQL_FENCE_INSERT,
	SQL_FENCE_READ,
	SQL_FENCE_OLDEST,
	SQL_FENCE_SWEEP,
	SQL_DEDUP_CREATE,
	SQL_LOW_CREATE,
	SQL_HW_CREATE,
	SQL_GAP_CREATE,
	SQL_DEDUP_INSERT,
	SQL_LOW_INSERT,
	SQL_LOW_READ,
	SQL_LOW_RAISE,
	SQL_DEDUP_SWEEP,
	SQL_DEDUP_EXPIRE,
	SQL_DEDUP_MARK,
	SQL_HW_INSERT,
	SQL_HW_STEP,
	SQL_HW_LOCK,
	SQL_HW_SET,
	SQL_GAP_INSERT,
	SQL_GAP_DELETE,
	SQL_ENGINES,
	SQL_LEADER_TAKE,
	SQL_LEADER_DROP,
	SQL_STATEMENTS
};

#define SQL_PARAMETERS 7
#define SQL_COLUMNS    2
#define SQL_CELL       32 /* bytes of one value that is read; longer ones are SQL_BAD */
#define SQL_ERROR      256

/* A parameter: bytes, a number, or NULL. */
struct sql_value {
	enum { SQL_IS_NULL, SQL_IS_NUMBER, SQL_IS_BYTES } is;
	int64_t number;
	const void *bytes;
	size_t n;
};

static inline struct sql_value
sql_bytes(const void *bytes, size_t n)
{
	return (struct sql_value){ SQL_IS_BYTES, 0, bytes, n };
}

static inline struct sql_value
sql_number(int64_t number)
{
	return (struct sql_value){ SQL_IS_NUMBER, number, NULL, 0 };
}

static inline struct sql_value
sql_null(void)
{
	return (struct sql_value){ SQL_IS_NULL, 0, NULL, 0 };
}

/* What came of a statement: rows changed, and the first row read.  Numbers of a column are in
 * NUMBER, bytes in BYTES; which of the two follows from the statement. */
struct sql_row {
	int64_t changed;
	bool found;
	struct {
		bool null;
		int64_t number;
		uint8_t bytes[SQL_CELL];
		size_t n;
	} column[SQL_COLUMNS];
};

struct sql {
	const struct sql_engine *engine;
	void *db;         /* sqlite3 *, PGconn *, MYSQL * */
	bool owned;       /* sql_done() closes it */
	int patience_ms;  /* how long a statement waits for a lock; 0: as the connection is set */
	void *prepared;   /* the engine's own */
	char error[SQL_ERROR]; /* of the last call that did not return SQL_OK */
};

struct sql_engine {
	const char *name;
	int (*connect)(struct sql *s, const char *where);
	int (*reconnect)(struct sql *s);
	int (*begin)(struct sql *s);
	int (*commit)(struct sql *s);
	int (*rollback)(struct sql *s);
	bool (*inside)(struct sql *s);
	int (*run)(struct sql *s, enum sql_statement what, const struct sql_value *in,
		   size_t count, struct sql_row *ret);
	void (*done)(struct sql *s);
};

extern const struct sql_engine sql_sqlite, sql_postgres, sql_mysql;

/* On a connection of the caller, who keeps it open until sql_done(). */
void sql_borrow(struct sql *s, const struct sql_engine *engine, void *db);

/* On a connection of its own; WHERE is a file (SQLite), a conninfo string (PostgreSQL), or
 * "host= port= user= password= dbname= socket=" (MariaDB/MySQL).  PATIENCE_MS as in the struct.
 * Even after an error S may, and should, be given to sql_done(). */
int sql_open(struct sql *s, const struct sql_engine *engine, const char *where,
	     int patience_ms) SQL_MUSTUSE;
void sql_done(struct sql *s);

int sql_begin(struct sql *s) SQL_MUSTUSE;
int sql_commit(struct sql *s) SQL_MUSTUSE;

/* Ends the transaction if there is one.  SQL_LOST: the connection is gone, and with it the
 * transaction, or will be when the server notices.  Leaves s->error as it is: what led here is
 * what there is to tell. */
int sql_rollback(struct sql *s);

/* Whether a transaction is open, as far as this side knows. */
bool sql_inside(struct sql *s);

/* Where a connection was lost: a new one, with the same settings as the first. */
int sql_reconnect(struct sql *s) SQL_MUSTUSE;

/* RET may be NULL. */
int sql_run(struct sql *s, enum sql_statement what, const struct sql_value *in, size_t count,
	    struct sql_row *ret) SQL_MUSTUSE;

#define SQL_RUN(s, what, ret, ...)                                                             \
	sql_run(s, what, (const struct sql_value[]){ __VA_ARGS__ },                             \
		sizeof((const struct sql_value[]){ __VA_ARGS__ }) / sizeof(struct sql_value), ret)

/* One statement that is its own transaction. */
int sql_alone(struct sql *s, enum sql_statement what, const struct sql_value *in, size_t count,
	      struct sql_row *ret) SQL_MUSTUSE;

/* For the engines: the text of a statement, and a sentence for sql->error; returns RESULT. */
enum sql_dialect { SQL_POSTGRES, SQL_SQLITE, SQL_MYSQL };
const char *sql_text(enum sql_statement what, enum sql_dialect dialect);
int sql_fail(struct sql *s, int result, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif /* TABLES_SQL_H */
