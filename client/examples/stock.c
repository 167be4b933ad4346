/*
 * stock.c -- a service that keeps the stock: each order is taken from it exactly once.
 *
 *      stock KAFKA DATABASE [PROPERTY=VALUE ...]       e.g. 127.0.0.1:9092 stock.db
 *
 * What order.c sold in its database is taken from the stock in this one, which may be of another
 * make: postgresql://localhost/stock, mysql:dbname=stock.  Properties are librdkafka's.  SIGINT
 * ends it.
 */
#include <signal.h>
#include <stdio.h>

#include "db.h"

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
	int pieces;

	(void)arg;
	snprintf(text, sizeof(text), "%.*s", (int)m->len, (const char *)m->payload);
	if (sscanf(text, "%63s %d %63s", id, &pieces, item) != 3)
		return ESCROW_GIVE_UP; /* never to be understood: a dead letter */
	if (db_run(db, "INSERT INTO sold VALUES (%Q, %Q, %d)", item, id, pieces) != 1)
		return ESCROW_RETRY;
	return ESCROW_HANDLED;
}

int
main(int argc, char **argv)
{
	char brokers[256];
	/* So long the orders wait when this process was killed; Kafka's default is 45 s. */
	const char *kafka[16] = { brokers, "group.id=stock", "session.timeout.ms=6000" };
	escrow_consumer_opts o = ESCROW_CONSUMER_OPTS_INIT;
	escrow_store *store = NULL;
	escrow_status status;
	void *db;

	if (argc < 3 || argc > 15) {
		fprintf(stderr, "usage: stock KAFKA DATABASE [PROPERTY=VALUE ...]\n"
				"  stock 127.0.0.1:9092 stock.db\n"
				"  stock 127.0.0.1:9092 postgresql://localhost/stock\n");
		return 2;
	}
	snprintf(brokers, sizeof(brokers), "bootstrap.servers=%s", argv[1]);
	for (int i = 3; i < argc; i++)
		kafka[i] = argv[i];
	db = db_open(argv[2]);
	db_make(db, "sold (item VARCHAR(64), id VARCHAR(64), pieces INTEGER)");
	o.kafka = kafka;
	o.topics = "orders";
	o.name = "stock";
	o.stores = &store;
	o.handle = take;
	status = db_store(&store, db);
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
	db_close(db);
	return status != ESCROW_OK;
}
