/*
 * db.h -- a database by its name, for the examples: a file of SQLite, postgresql://..., or for
 * MariaDB and MySQL "mysql:host= port= user= password= dbname= socket=".
 *
 * Statements are formats of sqlite3_mprintf(), whose %Q quotes a string as all of them read it.  A
 * process uses one kind of database, and each thread a connection of its own.
 */
#ifndef DB_H
#define DB_H

#include <escrow/escrow_consumer.h>
#include <escrow/escrow_table.h>

/* sqlite3 *, PGconn * or MYSQL *.  Without one there is nothing to do: it says so and ends the
 * process. */
void *db_open(const char *where);
void db_close(void *db);

/* How many rows it changed; -1: it failed, and escrow_last_error() says why. */
int db_run(void *db, const char *format, ...);
/* Inserts "TABLE VALUES (...)" unless there is a row of that KEY already: then 0. */
int db_insert(void *db, const char *key, const char *format, ...);
/* The first value that it reads; 0: there is none; -1 as above. */
long long db_number(void *db, const char *format, ...);
/* Makes a table where it is missing: "NAME (COLUMNS)".  Or ends the process. */
void db_make(void *db, const char *text);

/* The library's calls for this kind of database. */
escrow_status db_store(escrow_store **ret_store, void *db);
escrow_status db_table(escrow_table **ret_table, const char *where);

#endif /* DB_H */
