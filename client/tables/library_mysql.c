/*
 * library_mysql.c -- what libescrow-mysql is: a table for producers, a store for consumers.
 */
#include "tables/barrier.h"
#include "tables/store.h"

escrow_status
escrow_table_mysql(escrow_table **ret_table, const char *where)
{
	return barrier_open(ret_table, &sql_mysql, where);
}

escrow_status
escrow_store_mysql(escrow_store **ret_store, struct st_mysql *db)
{
	return store_new(ret_store, &sql_mysql, db);
}
