/*
 * db.h -- a database for a test: which, where, and SQL of the test's own.
 *
 * tests/tables/run starts a server and says in $ESCROW_TEST_DB which engine it is and where:
 * "sqlite:FILE", "postgres:CONNINFO" or "mysql:host= ...".
 */
#ifndef TESTS_TABLES_DB_H
#define TESTS_TABLES_DB_H

#include "tables/sql.h"

const struct sql_engine *db_engine(void);
const char *db_where(void);

/* A connection of its own; ends the test when there is none. */
void db_open(struct sql *s, int patience_ms);

/* SQL of the test's own, on the connection of S.  Both end the test when it fails; db_number()
 * returns the first value of the first row. */
void db_exec(struct sql *s, const char *text);
int64_t db_number(struct sql *s, const char *text);

/* The same, and how it ended: 0, or the error is in s->error. */
int db_try(struct sql *s, const char *text);

/* Drops every table that a test may have left. */
void db_wipe(void);

#endif /* TESTS_TABLES_DB_H */
