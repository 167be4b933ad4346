/*
 * library_sqlite.c -- what libescrow-sqlite is: a table for producers, a store for consumers.
 */
#include "tables/barrier.h"
#include "tables/store.h"

escrow_status
escrow_table_sqlite(escrow_table **ret_table, const char *path)
{
	return barrier_open(ret_table, &sql_sqlite, path);
}

escrow_status
escrow_store_sqlite(escrow_store **ret_store, struct sqlite3 *db)
{
	return store_new(ret_store, &sql_sqlite, db);
}
