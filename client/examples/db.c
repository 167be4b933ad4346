/*
 * db.c -- the few statements of the examples, on SQLite, PostgreSQL, and MariaDB or MySQL.
 */
#include "db.h"

#include <libpq-fe.h>
#include <mysql.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DUPLICATE 1062 /* MariaDB and MySQL: the key is there */

static enum { SQLITE, POSTGRES, MYSQL_TOO } kind;

static void
quiet(void *arg, const char *notice)
{
	(void)arg;
	(void)notice; /* "relation exists already, skipping" */
}

/* WHERE as escrow_table_mysql() takes it, but without quotes. */
static void *
open_mysql(const char *where)
{
	enum { HOST, USER, PASSWORD, DBNAME, SOCKET, PORT, NAMES };
	static const char *const names[] = {
		"host", "user", "password", "dbname", "socket", "port"
	};
	char key[16], value[256], *given[NAMES] = { NULL };
	MYSQL *db = mysql_init(NULL);

	for (int n = 0; sscanf(where, " %15[a-z]=%255s%n", key, value, &n) == 2; where += n)
		for (int i = 0; i < NAMES; i++)
			if (strcmp(key, names[i]) == 0)
				given[i] = strdup(value);
	/* So that %Q quotes for this one too; said again whenever the client reconnects. */
	mysql_options(db, MYSQL_INIT_COMMAND,
		      "SET SESSION sql_mode = CONCAT(@@sql_mode, ',NO_BACKSLASH_ESCAPES')");
	if (!mysql_real_connect(db, given[HOST], given[USER], given[PASSWORD], given[DBNAME],
				given[PORT] ? (unsigned)atoi(given[PORT]) : 0, given[SOCKET], 0)) {
		fprintf(stderr, "%s\n", mysql_error(db));
		exit(1);
	}
	for (int i = 0; i < NAMES; i++)
		free(given[i]);
	return db;
}

void *
db_open(const char *where)
{
	sqlite3 *lite = NULL;
	PGconn *pg;

	if (strncmp(where, "mysql:", 6) == 0) {
		kind = MYSQL_TOO;
		return open_mysql(where + 6);
	}
	if (strncmp(where, "postgresql://", 13) == 0)
		kind = POSTGRES;
	if (kind == SQLITE) {
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
	if (kind == MYSQL_TOO)
		mysql_close(db);
	else if (kind == POSTGRES)
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
run_mysql(MYSQL *db, const char *sql, long long *ret_first)
{
	MYSQL_RES *r;
	MYSQL_ROW row;

	if (mysql_query(db, sql) == 0 && mysql_field_count(db) == 0)
		return (int)mysql_affected_rows(db);
	r = mysql_errno(db) == 0 ? mysql_store_result(db) : NULL;
	if (r == NULL) {
		escrow_set_last_error(mysql_error(db));
		return -1;
	}
	row = mysql_fetch_row(r);
	if (row != NULL && row[0] != NULL && ret_first != NULL)
		*ret_first = atoll(row[0]);
	mysql_free_result(r);
	return 0;
}

static int
run_sql(void *db, const char *sql, long long *ret_first)
{
	return kind == MYSQL_TOO  ? run_mysql(db, sql, ret_first)
	       : kind == POSTGRES ? run_postgres(db, sql, ret_first)
				  : run_sqlite(db, sql, ret_first);
}

static int
run(void *db, const char *format, va_list arguments, long long *ret_first)
{
	char *sql = sqlite3_vmprintf(format, arguments);
	int rows = run_sql(db, sql, ret_first);

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

int
db_insert(void *db, const char *key, const char *format, ...)
{
	va_list arguments;
	char *what, *sql;
	int rows;

	va_start(arguments, format);
	what = sqlite3_vmprintf(format, arguments);
	va_end(arguments);
	sql = sqlite3_mprintf(kind == MYSQL_TOO ? "INSERT INTO %s"
						: "INSERT INTO %s ON CONFLICT (%s) DO NOTHING",
			      what, key);
	rows = run_sql(db, sql, NULL);
	if (rows < 0 && kind == MYSQL_TOO && mysql_errno(db) == DUPLICATE)
		rows = 0; /* which undid that statement only */
	sqlite3_free(sql);
	sqlite3_free(what);
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
	return kind == MYSQL_TOO  ? escrow_store_mysql(ret_store, db)
	       : kind == POSTGRES ? escrow_store_postgres(ret_store, db)
				  : escrow_store_sqlite(ret_store, db);
}

escrow_status
db_table(escrow_table **ret_table, const char *where)
{
	return kind == MYSQL_TOO  ? escrow_table_mysql(ret_table, where + 6)
	       : kind == POSTGRES ? escrow_table_postgres(ret_table, where)
				  : escrow_table_sqlite(ret_table, where);
}
