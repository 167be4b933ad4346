/*
 * store.h -- an escrow_store on any of the engines.  The constructors of escrow_consumer.h are in
 * store_sqlite.c, store_postgres.c and store_mysql.c, one line each, for each is in the
 * library of its engine.
 */
#ifndef TABLES_STORE_H
#define TABLES_STORE_H

#include "escrow/escrow_consumer.h"
#include "tables/sql.h"

escrow_status store_new(escrow_store **ret_store, const struct sql_engine *engine, void *db);

#endif /* TABLES_STORE_H */
