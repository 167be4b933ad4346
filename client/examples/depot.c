/*
 * depot.c -- takes what was paid for from its stock, or refuses it, and with that undoes the
 * payment: see wallet.c.
 *
 *      depot BROKER DATABASE ITEM PIECES KAFKA [PROPERTY=VALUE ...]
 *
 * The refusal is a row here and a message to the wallet, or neither: the message is half-sent in
 * the local transaction that refuses, and published exactly if that commits.
 */
#include <stdio.h>
#include <stdlib.h>

#include "service.h"

static int
deliver(const rd_kafka_message_t *m, void *db, void *arg)
{
	char text[128], id[64], item[64];
	int pieces, taken;
	long price;

	(void)arg;
	snprintf(text, sizeof(text), "%.*s", (int)m->len, (const char *)m->payload);
	if (sscanf(text, "%63s %63s %d %ld", id, item, &pieces, &price) != 4)
		return ESCROW_GIVE_UP;
	taken = db_run(db, "UPDATE stock SET pieces = pieces - %d WHERE item = %Q AND pieces >= %d",
		       pieces, item, pieces);
	if (taken < 0 || db_run(db, "INSERT INTO answer VALUES (%Q, %d)", id, taken) != 1)
		return ESCROW_RETRY;
	if (taken == 1)
		return ESCROW_HANDLED;
	return service_send("orders.refused", id, "%s %ld", id, price);
}

int
main(int argc, char **argv)
{
	int failed;
	void *db;

	if (argc < 6) {
		fprintf(stderr,
			"usage: depot BROKER DATABASE ITEM PIECES KAFKA [PROPERTY=VALUE ...]\n"
			"  depot 'escrow://127.0.0.1:9876?group=depot' depot.db shoes 60 "
			"127.0.0.1:9092\n");
		return 2;
	}
	db = service_open(argv[1], argv[2]);
	db_make(db, "stock (item VARCHAR(64) PRIMARY KEY, pieces INTEGER)");
	db_make(db, "answer (id VARCHAR(64), taken INTEGER)");
	if (db_insert(db, "item", "stock VALUES (%Q, %d)", argv[3], atoi(argv[4])) < 0) {
		fprintf(stderr, "depot: %s\n", escrow_last_error());
		return 1;
	}
	failed = service_run("depot", "orders.paid", deliver, argv + 5);
	service_close();
	return failed;
}
