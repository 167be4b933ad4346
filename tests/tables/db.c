/*
 * db.c -- a database for a test.
 */
#include "db.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>
#include <mysql.h>
#include <sqlite3.h>

static void
die(const char *what, const char *why)
{
	fprintf(stderr, "%s: %s\n", what, why);
	abort();
}

static const char *
url(void)
{
	const char *text = getenv("ESCROW_TEST_DB");

	if (text == NULL || strchr(text, ':') == NULL)
		die("ESCROW_TEST_DB", "not set; tests/tables/run does it");
	return text;
}

const struct sql_engine *
db_engine(void)
{
	switch (url()[0]) {
	case 'p':
		return &sql_postgres;
	case 'm':
		return &sql_mysql;
	default:
		return &sql_sqlite;
	}
}

const char *
db_where(void)
{
	return strchr(url(), ':') + 1;
}

void
db_open(struct sql *s, int patience_ms)
{
	if (sql_open(s, db_engine(), db_where(), patience_ms))
		die(db_where(), s->error);
}

int
db_try(struct sql *s, const char *text)
{
	if (s->engine == &sql_sqlite) {
		if (sqlite3_exec(s->db, text, NULL, NULL, NULL) != SQLITE_OK)
			return sql_fail(s, SQL_BAD, "%s", sqlite3_errmsg(s->db));
	} else if (s->engine == &sql_postgres) {
		PGresult *r = PQexec(s->db, text);
		ExecStatusType status = PQresultStatus(r);

		PQclear(r);
		if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
			return sql_fail(s, SQL_BAD, "%s", PQerrorMessage(s->db));
	} else if (mysql_query(s->db, text)) {
		return sql_fail(s, SQL_BAD, "%s", mysql_error(s->db));
	}
	return SQL_OK;
}

void
db_exec(struct sql *s, const char *text)
{
	if (db_try(s, text))
		die(text, s->error);
}

int64_t
db_number(struct sql *s, const char *text)
{
	int64_t n = -1;

	if (s->engine == &sql_sqlite) {
		sqlite3_stmt *statement;

		if (sqlite3_prepare_v2(s->db, text, -1, &statement, NULL) != SQLITE_OK ||
		    sqlite3_step(statement) != SQLITE_ROW)
			die(text, sqlite3_errmsg(s->db));
		n = sqlite3_column_int64(statement, 0);
		sqlite3_finalize(statement);
	} else if (s->engine == &sql_postgres) {
		PGresult *r = PQexec(s->db, text);

		if (PQresultStatus(r) != PGRES_TUPLES_OK || PQntuples(r) == 0)
			die(text, PQerrorMessage(s->db));
		n = strtoll(PQgetvalue(r, 0, 0), NULL, 10);
		PQclear(r);
	} else {
		MYSQL_RES *r;
		MYSQL_ROW row;

		if (mysql_query(s->db, text) || (r = mysql_store_result(s->db)) == NULL ||
		    (row = mysql_fetch_row(r)) == NULL)
			die(text, mysql_error(s->db));
		n = row[0] != NULL ? strtoll(row[0], NULL, 10) : 0;
		mysql_free_result(r);
	}
	return n;
}

void
db_wipe(void)
{
	static const char *const tables[] = { "escrow_fence",  "escrow_meta", "escrow_dedup",
					      "escrow_meta_c", "escrow_hw",   "escrow_gap",
					      "business" };
	char text[64];
	struct sql s;

	db_open(&s, 20000);
	if (s.engine == &sql_postgres)
		db_exec(&s, "SET client_min_messages = warning");
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		snprintf(text, sizeof(text), "DROP TABLE IF EXISTS %s", tables[i]);
		db_exec(&s, text);
	}
	sql_done(&s);
}
