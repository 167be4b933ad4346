/*
 * barrier.h -- an escrow_fence on any of the engines, for the constructors in library_*.c.
 */
#ifndef TABLES_BARRIER_H
#define TABLES_BARRIER_H

#include "escrow/escrow_table.h"
#include "tables/sql.h"

/* A table with its own connection to WHERE. */
escrow_status barrier_open(escrow_table **ret_table, const struct sql_engine *engine,
			   const char *where);

#endif /* TABLES_BARRIER_H */
