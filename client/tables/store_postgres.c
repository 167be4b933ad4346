/*
 * store_postgres.c -- a store for consumers, in the library of this engine.
 */
#include "tables/store.h"

escrow_status
escrow_store_postgres(escrow_store **ret_store, struct pg_conn *db)
{
	return store_new(ret_store, &sql_postgres, db);
}
