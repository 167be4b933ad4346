/*
 * order.c -- a service that sells: an order in its database and a message to the stock, or neither.
 *
 *      order BROKER DATABASE ITEM PIECES ORDERS        e.g. escrow://127.0.0.1:9876?group=order
 *
 * Kill it at any instant: an order that is in the database is heard of by stock.c, and one that
 * is not never is.  Started again, it answers what Escrow asks about the time before.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <escrow/escrow_table.h>
#include <sqlite3.h>

struct order {
	char id[32];
	const char *item;
	int pieces;
};

/* Business SQL, and nothing else: the fence is around it already. */
static int
sell(void *db, void *arg)
{
	struct order *o = arg;
	char *sql = sqlite3_mprintf("INSERT INTO orders VALUES (%Q, %Q, %d)", o->id, o->item,
				    o->pieces);
	int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);

	sqlite3_free(sql);
	return rc;
}

static escrow_status
place(escrow_table *table, sqlite3 *db, struct order *o)
{
	escrow_message m = ESCROW_MESSAGE_INIT;
	char text[128];

	snprintf(text, sizeof(text), "%s %d %s", o->id, o->pieces, o->item);
	m.topic = "orders";
	m.key = o->id;
	m.key_len = strlen(o->id);
	m.value = text;
	m.value_len = strlen(text);
	return escrow_table_send(table, db, &m, 1, NULL, sell, o);
}

int
main(int argc, char **argv)
{
	escrow_client *mq = NULL;
	escrow_table *table = NULL;
	sqlite3 *db = NULL;
	int failed = 0;

	if (argc != 6) {
		fprintf(stderr,
			"usage: order BROKER DATABASE ITEM PIECES ORDERS\n"
			"  order 'escrow://127.0.0.1:9876?group=order' orders.db shoes 2 100\n");
		return 2;
	}
	if (escrow_open(&mq, argv[1]) || escrow_table_sqlite(&table, argv[2]) ||
	    escrow_table_attach(table, mq, NULL, NULL)) {
		fprintf(stderr, "order: %s\n", escrow_last_error());
		return 1;
	}
	if (sqlite3_open(argv[2], &db) || sqlite3_busy_timeout(db, 10000) ||
	    sqlite3_exec(db, "CREATE TABLE IF NOT EXISTS orders (id, item, pieces)", NULL, NULL,
			 NULL)) {
		fprintf(stderr, "order: %s\n", sqlite3_errmsg(db));
		return 1;
	}
	for (int i = 0; i < atoi(argv[5]); i++) {
		struct order o = { "", argv[3], atoi(argv[4]) };
		escrow_status status;

		sqlite3_snprintf(sizeof(o.id), o.id, "%d-%d", (int)getpid(), i);
		status = place(table, db, &o);
		/* In doubt: the check finds out, and nobody has to do anything. */
		if (status != ESCROW_OK && !escrow_is_unknown(status)) {
			fprintf(stderr, "%s: %s: %s\n", o.id, escrow_status_name(status),
				escrow_last_error());
			failed = 1;
		}
	}
	sqlite3_close(db);
	escrow_table_close(table);
	escrow_close(mq, 5000);
	return failed;
}
