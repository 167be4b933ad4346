/*
 * stock.c -- a service that keeps the stock: each order is taken from it exactly once.
 *
 *      stock KAFKA DATABASE                            e.g. 127.0.0.1:9092
 *
 * Flash sale: what was sold is a table of details, one row for each order, rather than a counter
 * whose row every order would lock; what is left is a sum.  SIGINT ends it.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <escrow/escrow_consumer.h>
#include <sqlite3.h>

static escrow_consumer *consumer;

static void
on_signal(int number)
{
	(void)number;
	escrow_consumer_stop(consumer);
}

/* Runs inside the transaction that also remembers the message. */
static int
take(const rd_kafka_message_t *m, void *db, void *arg)
{
	char text[128], id[64], item[64];
	int pieces, rc;
	char *sql;

	(void)arg;
	snprintf(text, sizeof(text), "%.*s", (int)m->len, (const char *)m->payload);
	if (sscanf(text, "%63s %d %63s", id, &pieces, item) != 3)
		return ESCROW_GIVE_UP; /* never to be understood: a dead letter */
	sql = sqlite3_mprintf("INSERT INTO sold VALUES (%Q, %Q, %d)", item, id, pieces);
	rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
	sqlite3_free(sql);
	return rc == SQLITE_OK ? ESCROW_HANDLED : ESCROW_RETRY;
}

int
main(int argc, char **argv)
{
	char brokers[256];
	/* So long the orders wait when this process was killed; Kafka's default is 45 s. */
	const char *kafka[] = { brokers, "group.id=stock", "session.timeout.ms=6000", NULL };
	escrow_consumer_opts o = ESCROW_CONSUMER_OPTS_INIT;
	escrow_store *store = NULL;
	escrow_status status;
	sqlite3 *db;

	if (argc != 3) {
		fprintf(stderr, "usage: stock KAFKA DATABASE\n  stock 127.0.0.1:9092 stock.db\n");
		return 2;
	}
	snprintf(brokers, sizeof(brokers), "bootstrap.servers=%s", argv[1]);
	if (sqlite3_open(argv[2], &db) || sqlite3_busy_timeout(db, 10000) ||
	    sqlite3_exec(db, "CREATE TABLE IF NOT EXISTS sold (item, id, pieces)", NULL, NULL,
			 NULL)) {
		fprintf(stderr, "stock: %s\n", sqlite3_errmsg(db));
		return 1;
	}
	o.kafka = kafka;
	o.topics = "orders";
	o.stores = &store;
	o.handle = take;
	status = escrow_store_sqlite(&store, db);
	if (!status)
		status = escrow_consumer_open(&consumer, &o);
	if (!status) {
		signal(SIGINT, on_signal);
		signal(SIGTERM, on_signal);
		status = escrow_consumer_run(consumer);
	}
	if (status)
		fprintf(stderr, "stock: %s\n", escrow_last_error());
	escrow_consumer_close(consumer);
	escrow_store_free(store);
	sqlite3_close(db);
	return status != ESCROW_OK;
}
