/*
 * db.h -- a database by its name, for the examples: a file of SQLite, or postgresql://...
 *
 * Statements are formats of sqlite3_mprintf(), whose %Q quotes a string as both databases read
 * it.  A process uses one kind of database, and each thread a connection of its own.
 */
#ifndef DB_H
#define DB_H

#include <escrow/escrow_consumer.h>
#include <escrow/escrow_table.h>

/* sqlite3 * or PGconn *.  Without one there is nothing to do: it says so and ends the process. */
void *db_open(const char *where);
void db_close(void *db);

/* How many rows it changed; -1: it failed, and escrow_last_error() says why. */
int db_run(void *db, const char *format, ...);
/* The first value that it reads; 0: there is none; -1 as above. */
long long db_number(void *db, const char *format, ...);
/* Makes a table where it is missing: "NAME (COLUMNS)".  Or ends the process. */
void db_make(void *db, const char *text);

/* The library's calls for this kind of database. */
escrow_status db_store(escrow_store **ret_store, void *db);
escrow_status db_table(escrow_table **ret_table, const char *where);
/* In the transaction that is open on DB: the row of the fence by which GID (32 hex digits) commits
 * with it.  0: roll it back. */
int db_fence(void *db, const char *gid);

#endif /* DB_H */
