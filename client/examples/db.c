/*
 * db.c -- the few statements of the examples, on SQLite and on PostgreSQL.
 */
#include "db.h"

#include <libpq-fe.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int is_postgres;

static void
quiet(void *arg, const char *notice)
{
	(void)arg;
	(void)notice; /* "relation exists already, skipping" */
}

void *
db_open(const char *where)
{
	sqlite3 *lite = NULL;
	PGconn *pg;

	is_postgres = strncmp(where, "postgresql://", 13) == 0;
	if (!is_postgres) {
		if (sqlite3_open(where, &lite) == SQLITE_OK &&
		    sqlite3_busy_timeout(lite, 20000) == SQLITE_OK)
			return lite;
		fprintf(stderr, "%s: %s\n", where, sqlite3_errmsg(lite));
		exit(1);
	}
	pg = PQconnectdb(where);
	if (PQstatus(pg) == CONNECTION_OK) {
		PQsetNoticeProcessor(pg, quiet, NULL);
		return pg;
	}
	fprintf(stderr, "%s", PQerrorMessage(pg));
	exit(1);
}

void
db_close(void *db)
{
	if (is_postgres)
		PQfinish(db);
	else
		sqlite3_close(db);
}

/* The first value goes to *RET_FIRST, when that is asked for. */
static int
run_sqlite(sqlite3 *db, const char *sql, long long *ret_first)
{
	sqlite3_stmt *statement = NULL;
	int rc = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);

	if (rc == SQLITE_OK) {
		rc = sqlite3_step(statement);
		if (rc == SQLITE_ROW && ret_first != NULL)
			*ret_first = sqlite3_column_int64(statement, 0);
		rc = sqlite3_finalize(statement);
	}
	if (rc == SQLITE_OK)
		return sqlite3_changes(db);
	escrow_set_last_error(sqlite3_errmsg(db));
	return -1;
}

static int
run_postgres(PGconn *db, const char *sql, long long *ret_first)
{
	PGresult *r = PQexec(db, sql);
	ExecStatusType status = PQresultStatus(r);
	int rows = -1;

	if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) {
		rows = atoi(PQcmdTuples(r));
		if (ret_first != NULL && PQntuples(r) > 0)
			*ret_first = atoll(PQgetvalue(r, 0, 0));
	} else {
		escrow_set_last_error(PQerrorMessage(db));
	}
	PQclear(r);
	return rows;
}

static int
run(void *db, const char *format, va_list arguments, long long *ret_first)
{
	char *sql = sqlite3_vmprintf(format, arguments);
	int rows = is_postgres ? run_postgres(db, sql, ret_first) : run_sqlite(db, sql, ret_first);

	sqlite3_free(sql);
	return rows;
}

int
db_run(void *db, const char *format, ...)
{
	va_list arguments;
	int rows;

	va_start(arguments, format);
	rows = run(db, format, arguments, NULL);
	va_end(arguments);
	return rows;
}

long long
db_number(void *db, const char *format, ...)
{
	long long first = 0;
	va_list arguments;

	va_start(arguments, format);
	if (run(db, format, arguments, &first) < 0)
		first = -1;
	va_end(arguments);
	return first;
}

void
db_make(void *db, const char *text)
{
	/* PostgreSQL fails one of two processes that make a table at once: it is there then. */
	if (db_run(db, "CREATE TABLE IF NOT EXISTS %s", text) < 0 &&
	    db_run(db, "CREATE TABLE IF NOT EXISTS %s", text) < 0) {
		fprintf(stderr, "%s: %s\n", text, escrow_last_error());
		exit(1);
	}
}

escrow_status
db_store(escrow_store **ret_store, void *db)
{
	return is_postgres ? escrow_store_postgres(ret_store, db)
			   : escrow_store_sqlite(ret_store, db);
}

escrow_status
db_table(escrow_table **ret_table, const char *where)
{
	return is_postgres ? escrow_table_postgres(ret_table, where)
			   : escrow_table_sqlite(ret_table, where);
}

int
db_fence(void *db, const char *gid)
{
	/* TABLES.md 3: insert, and look at the watermark only then. */
	if (is_postgres)
		return db_run(db,
			      "INSERT INTO escrow_fence (gid, state) VALUES "
			      "(decode(%Q, 'hex'), 1)",
			      gid) == 1 &&
		       db_number(db,
				 "SELECT COUNT(*) FROM escrow_meta "
				 "WHERE low <= decode(%Q, 'hex')",
				 gid) == 1;
	return db_run(db, "INSERT INTO escrow_fence (gid, state) VALUES (X%Q, 1)", gid) == 1 &&
	       db_number(db, "SELECT COUNT(*) FROM escrow_meta WHERE low <= X%Q", gid) == 1;
}
