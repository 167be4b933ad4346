/*
 * store_mysql.c -- a store for consumers, in the library of this engine.
 */
#include "tables/store.h"

escrow_status
escrow_store_mysql(escrow_store **ret_store, struct st_mysql *db)
{
	return store_new(ret_store, &sql_mysql, db);
}
