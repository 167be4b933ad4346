/*
 * wallet.c -- pays for orders, and is given back what the depot refuses: one transaction undone
 * by another.
 *
 *      wallet buy BROKER DATABASE ITEM PIECES ORDERS
 *      wallet serve BROKER DATABASE KAFKA [PROPERTY=VALUE ...]
 *
 *      wallet buy:    - price  --"orders.paid"-->    depot.c: takes the pieces,
 *      wallet serve:  + price  <--"orders.refused"--          or has none left
 *
 * Neither waits for the other with its locks held, and either may be away for a day.  Money that
 * was taken is for pieces that were taken, or comes back: once, whatever is killed and when.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "service.h"

#define PRICE 10

struct order {
	char id[32];
	long price;
};

/* The transaction that may have to be undone... */
static int
pay(void *db, void *arg)
{
	struct order *o = arg;

	return db_run(db, "INSERT INTO entry VALUES (%Q, %ld)", o->id, -o->price) != 1;
}

/* ...and the one that undoes it.  No row is changed or deleted: the books show both. */
static int
refund(const rd_kafka_message_t *m, void *db, void *arg)
{
	char text[128], id[64];
	long price;

	(void)arg;
	snprintf(text, sizeof(text), "%.*s", (int)m->len, (const char *)m->payload);
	if (sscanf(text, "%63s %ld", id, &price) != 2)
		return ESCROW_GIVE_UP;
	if (db_run(db, "INSERT INTO entry VALUES (%Q, %ld)", id, price) != 1)
		return ESCROW_RETRY;
	return ESCROW_HANDLED;
}

static int
buy(const char *item, int pieces, int orders)
{
	int failed = 0;

	for (int i = 0; i < orders; i++) {
		struct order o = { "", pieces * PRICE };
		escrow_status status;

		snprintf(o.id, sizeof(o.id), "%d-%d", (int)getpid(), i);
		status = service_begin(pay, &o, "orders.paid", o.id, "%s %s %d %ld", o.id, item,
				       pieces, o.price);
		/* In doubt: the check finds out, and nobody has to do anything. */
		if (status != ESCROW_OK && !escrow_is_unknown(status)) {
			fprintf(stderr, "%s: %s: %s\n", o.id, escrow_status_name(status),
				escrow_last_error());
			failed = 1;
		}
	}
	return failed;
}

int
main(int argc, char **argv)
{
	int serves = argc >= 5 && strcmp(argv[1], "serve") == 0, failed;

	if (!serves && (argc != 7 || strcmp(argv[1], "buy") != 0)) {
		fprintf(stderr, "usage: wallet buy BROKER DATABASE ITEM PIECES ORDERS\n"
				"       wallet serve BROKER DATABASE KAFKA [PROPERTY=VALUE ...]\n");
		return 2;
	}
	db_make(service_open(argv[2], argv[3]), "entry (id VARCHAR(64), amount INTEGER)");
	failed = serves ? service_run("wallet", "orders.refused", refund, argv + 4)
			: buy(argv[4], atoi(argv[5]), atoi(argv[6]));
	service_close();
	return failed;
}
