/*
 * store_sqlite.c -- a store for consumers, in the library of this engine.
 */
#include "tables/store.h"

escrow_status
escrow_store_sqlite(escrow_store **ret_store, struct sqlite3 *db)
{
	return store_new(ret_store, &sql_sqlite, db);
}
