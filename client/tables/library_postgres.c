/*
 * library_postgres.c -- what libescrow-postgres is: a table for producers, a store for consumers.
 */
#include "tables/barrier.h"
#include "tables/store.h"

escrow_status
escrow_table_postgres(escrow_table **ret_table, const char *conninfo)
{
	return barrier_open(ret_table, &sql_postgres, conninfo);
}

escrow_status
escrow_store_postgres(escrow_store **ret_store, struct pg_conn *db)
{
	return store_new(ret_store, &sql_postgres, db);
}
