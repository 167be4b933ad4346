/*
 * flash.c -- a flash sale: many orders at once for one item, and no row that all of them lock.
 *
 *      flash DATABASE ITEM PIECES WORKERS KAFKA [PROPERTY=VALUE ...]
 *
 * A counter of what is left would be locked by one order after another, each until it has
 * committed.  Here each order of order.c takes one piece by inserting a row: a slot of the item.
 * There are as many slots as pieces, and the key admits each of them once, so that nothing is
 * sold twice or beyond the last, whatever runs at once and dies.  Two orders meet only at one
 * slot, so each looks for a free one from a place of its own.
 *
 * The sum that people see is made in the background.  Rows of `reserved` are never deleted, so
 * an item that the sum shows sold out stays so: then nobody looks for a slot any more.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "consume.h"
#include "db.h"

#define WORKERS_MAX 16

struct sale {
	const char *item;
	int pieces;
	void *db; /* of the sum, beside the workers' */
};

static int
reserve(const rd_kafka_message_t *m, void *db, void *arg)
{
	const struct sale *sale = arg;
	int first = rand() % sale->pieces, rows = 0;
	char text[128], id[64], item[64];

	snprintf(text, sizeof(text), "%.*s", (int)m->len, (const char *)m->payload);
	if (sscanf(text, "%63s %*d %63s", id, item) != 2)
		return ESCROW_GIVE_UP;
	if (strcmp(item, sale->item) != 0)
		return ESCROW_HANDLED; /* not of this sale */
	if (db_number(db, "SELECT sold FROM offer WHERE item = %Q", sale->item) < sale->pieces) {
		for (int i = 0; i < sale->pieces && rows == 0; i++)
			rows = db_insert(db, "item, slot", "reserved VALUES (%Q, %d, %Q)",
					 sale->item, (first + i) % sale->pieces, id);
	}
	if (rows == 0)
		rows = db_run(db, "INSERT INTO refused VALUES (%Q, %Q)", sale->item, id);
	return rows == 1 ? ESCROW_HANDLED : ESCROW_RETRY;
}

/* Now and then, in the thread of escrow_consumer_run(); the workers do not wait for it. */
static void
add_up(void *arg, const escrow_consumer_stats *stats)
{
	const struct sale *sale = arg;

	(void)stats;
	if (db_run(sale->db,
		   "UPDATE offer SET sold = (SELECT COUNT(*) FROM reserved WHERE item = %Q) "
		   "WHERE item = %Q",
		   sale->item, sale->item) < 0)
		fprintf(stderr, "flash: %s\n", escrow_last_error());
}

static void
make_tables(const struct sale *sale)
{
	db_make(sale->db, "reserved (item VARCHAR(64), slot INTEGER, id VARCHAR(64), "
			  "PRIMARY KEY (item, slot))");
	db_make(sale->db, "refused (item VARCHAR(64), id VARCHAR(64))");
	db_make(sale->db, "offer (item VARCHAR(64) PRIMARY KEY, sold INTEGER)");
	if (db_insert(sale->db, "item", "offer VALUES (%Q, 0)", sale->item) >= 0)
		return;
	fprintf(stderr, "flash: %s\n", escrow_last_error());
	exit(1);
}

int
main(int argc, char **argv)
{
	escrow_consumer_opts o = ESCROW_CONSUMER_OPTS_INIT;
	escrow_store *stores[WORKERS_MAX];
	void *dbs[WORKERS_MAX];
	struct sale sale;
	int failed;

	if (argc < 6 || atoi(argv[3]) < 1 || atoi(argv[4]) < 1 || atoi(argv[4]) > WORKERS_MAX) {
		fprintf(stderr,
			"usage: flash DATABASE ITEM PIECES WORKERS KAFKA [PROPERTY=VALUE ...]\n"
			"  flash postgresql://localhost/sale shoes 500 8 127.0.0.1:9092\n");
		return 2;
	}
	sale = (struct sale){ argv[2], atoi(argv[3]), db_open(argv[1]) };
	make_tables(&sale);
	srand((unsigned)getpid());
	for (o.store_count = 0; o.store_count < (size_t)atoi(argv[4]); o.store_count++) {
		dbs[o.store_count] = db_open(argv[1]);
		if (db_store(&stores[o.store_count], dbs[o.store_count])) {
			fprintf(stderr, "flash: %s\n", escrow_last_error());
			return 1;
		}
	}
	o.name = "flash";
	o.topics = "orders";
	o.stores = stores;
	o.handle = reserve;
	o.arg = &sale;
	o.batch_max = 1;  /* who holds a slot waits for no other: no deadlock */
	o.tries_max = -1; /* and none is given up */
	o.stats = add_up;
	o.stats_ms = 200;
	o.log_arg = &sale; /* of add_up() */
	failed = consume(&o, argv + 5);
	add_up(&sale, NULL); /* the last word */
	for (size_t i = 0; i < o.store_count; i++) {
		escrow_store_free(stores[i]);
		db_close(dbs[i]);
	}
	db_close(sale.db);
	return failed;
}
