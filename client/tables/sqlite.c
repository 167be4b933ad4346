/*
 * sqlite.c -- the tables' statements on SQLite.
 *
 * Transactions are IMMEDIATE: a deferred one that reads and then writes fails at once with
 * SQLITE_BUSY, whatever the busy timeout.  So writers come one after another, each sees all
 * that the ones before committed, and the waiting of the contract is the busy timeout.
 */
#include "tables/sql.h"

#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

struct prepared {
	sqlite3_stmt *statement[SQL_STATEMENTS];
};

static int
told(struct sql *s, int rc)
{
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_DONE:
	case SQLITE_ROW:
		return SQL_OK;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
	case SQLITE_INTERRUPT:
		return sql_fail(s, SQL_AGAIN, "sqlite: %s (%d)", sqlite3_errmsg(s->db), rc);
	default:
		return sql_fail(s, SQL_BAD, "sqlite: %s (%d)", sqlite3_errmsg(s->db), rc);
	}
}

static int
connect_to(struct sql *s, const char *where)
{
	sqlite3 *db = NULL;
	int rc = sqlite3_open_v2(where, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);

	s->db = db;
	if (db == NULL)
		return sql_fail(s, SQL_BAD, "sqlite: out of memory");
	if (rc != SQLITE_OK)
		return sql_fail(s, SQL_BAD, "sqlite: %s: %s", where, sqlite3_errmsg(db));
	(void)sqlite3_busy_timeout(db, s->patience_ms); /* says only SQLITE_OK */
	return SQL_OK;
}

/* A connection to a file is never lost. */
static int
reconnect(struct sql *s)
{
	(void)s;
	return SQL_OK;
}

static int
begin(struct sql *s)
{
	return told(s, sqlite3_exec(s->db, "BEGIN IMMEDIATE", NULL, NULL, NULL));
}

static bool
inside(struct sql *s)
{
	return !sqlite3_get_autocommit(s->db);
}

static int
rollback(struct sql *s)
{
	if (!inside(s))
		return SQL_OK;
	return told(s, sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL));
}

/*
 * A busy COMMIT did nothing and leaves the transaction open, so that its rollback is certain.
 * An I/O error is not: a commit record that could not be synced may still be found by the
 * recovery of another process.
 */
static int
commit(struct sql *s)
{
	int rc;

	if (!inside(s))
		return sql_fail(s, SQL_LOST, "sqlite: the transaction was ended by somebody else");
	rc = sqlite3_exec(s->db, "COMMIT", NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		return SQL_OK;
	(void)told(s, rc); /* for the sentence */
	switch (rc & 0xff) {
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
	case SQLITE_CONSTRAINT:
	case SQLITE_INTERRUPT:
		if (inside(s) && sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL) == SQLITE_OK)
			return SQL_UNDONE;
		return SQL_LOST;
	default:
		if (inside(s))
			(void)sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL); /* anyway lost */
		return SQL_LOST;
	}
}

static int
bind(sqlite3_stmt *statement, int at, const struct sql_value *v)
{
	switch (v->is) {
	case SQL_IS_NUMBER:
		return sqlite3_bind_int64(statement, at, v->number);
	case SQL_IS_BYTES:
		/* Of no bytes too it makes a blob: NULL as the address would make a NULL. */
		return sqlite3_bind_blob(statement, at, v->n ? v->bytes : "", (int)v->n,
					 SQLITE_STATIC);
	case SQL_IS_NULL:
		break;
	}
	return sqlite3_bind_null(statement, at);
}

static int
read_row(struct sql *s, sqlite3_stmt *statement, struct sql_row *ret)
{
	ret->found = true;
	for (int i = 0; i < SQL_COLUMNS && i < sqlite3_column_count(statement); i++) {
		int type = sqlite3_column_type(statement, i);

		ret->column[i].null = type == SQLITE_NULL;
		ret->column[i].number = sqlite3_column_int64(statement, i);
		if (type != SQLITE_BLOB && type != SQLITE_TEXT)
			continue;
		ret->column[i].n = (size_t)sqlite3_column_bytes(statement, i);
		if (ret->column[i].n > SQL_CELL)
			return sql_fail(s, SQL_BAD, "sqlite: a value is longer than any of ours");
		if (ret->column[i].n)
			memcpy(ret->column[i].bytes, sqlite3_column_blob(statement, i),
			       ret->column[i].n);
	}
	return SQL_OK;
}

static int
run(struct sql *s, enum sql_statement what, const struct sql_value *in, size_t count,
    struct sql_row *ret)
{
	struct prepared *prepared = s->prepared;
	sqlite3_stmt *statement;
	int rc, err = SQL_OK;

	if (prepared == NULL) {
		s->prepared = prepared = calloc(1, sizeof(*prepared));
		if (prepared == NULL)
			return sql_fail(s, SQL_BAD, "out of memory");
	}
	if (prepared->statement[what] == NULL) {
		rc = sqlite3_prepare_v3(s->db, sql_text(what, SQL_SQLITE), -1,
					SQLITE_PREPARE_PERSISTENT, &prepared->statement[what],
					NULL);
		if (rc != SQLITE_OK)
			return told(s, rc);
	}
	statement = prepared->statement[what];
	for (size_t i = 0; i < count; i++) {
		rc = bind(statement, (int)i + 1, &in[i]);
		if (rc != SQLITE_OK) {
			err = told(s, rc);
			goto reset;
		}
	}
	rc = sqlite3_step(statement);
	if (rc == SQLITE_ROW)
		err = read_row(s, statement, ret);
	else
		err = told(s, rc);
	if (!err && rc == SQLITE_DONE && !sqlite3_stmt_readonly(statement))
		ret->changed = sqlite3_changes(s->db);
reset:
	(void)sqlite3_reset(statement); /* says again what step said */
	(void)sqlite3_clear_bindings(statement);
	return err;
}

static void
done(struct sql *s)
{
	struct prepared *prepared = s->prepared;

	for (int i = 0; prepared != NULL && i < SQL_STATEMENTS; i++)
		(void)sqlite3_finalize(prepared->statement[i]); /* says what its last step said */
	free(prepared);
	if (s->owned)
		(void)sqlite3_close(s->db); /* every statement of it is gone */
}

const struct sql_engine sql_sqlite = {
	.name = "sqlite",
	.connect = connect_to,
	.reconnect = reconnect,
	.begin = begin,
	.commit = commit,
	.rollback = rollback,
	.inside = inside,
	.run = run,
	.done = done,
};
