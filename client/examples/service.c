/*
 * service.c -- a consumer and a producer in one local transaction.
 */
#include "service.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "consume.h"

static void *db;
static escrow_client *mq;
static escrow_table *table;

static void
must(escrow_status status)
{
	if (status == ESCROW_OK)
		return;
	fprintf(stderr, "%s: %s\n", escrow_status_name(status), escrow_last_error());
	exit(1);
}

void *
service_open(const char *broker, const char *database)
{
	db = db_open(database);
	must(escrow_open(&mq, broker));
	must(db_table(&table, database));
	must(escrow_table_attach(table, mq, NULL, NULL));
	return db;
}

void
service_close(void)
{
	escrow_table_close(table);
	escrow_close(mq, 5000);
	db_close(db);
}

/* TEXT is where the value will be. */
static escrow_message
message(const char *topic, const char *key, char text[256], const char *format, va_list arguments)
{
	escrow_message m = ESCROW_MESSAGE_INIT;

	vsnprintf(text, 256, format, arguments);
	m.topic = topic;
	m.key = key;
	m.key_len = strlen(key);
	m.value = text;
	m.value_len = strlen(text);
	return m;
}

/* ---- the first message ---------------------------------------------------------------------- */

escrow_status
service_begin(escrow_business_fn fn, void *arg, const char *topic, const char *key,
	      const char *format, ...)
{
	escrow_message m;
	char text[256];
	va_list arguments;

	va_start(arguments, format);
	m = message(topic, key, text, format, arguments);
	va_end(arguments);
	return escrow_table_send(table, db, &m, 1, NULL, fn, arg);
}

/* ---- the next ones -------------------------------------------------------------------------- */

int
service_send(const char *topic, const char *key, const char *format, ...)
{
	escrow_message m;
	char text[256];
	va_list arguments;

	va_start(arguments, format);
	m = message(topic, key, text, format, arguments);
	va_end(arguments);
	return escrow_consumer_send(table, &m, 1, NULL) == ESCROW_OK ? ESCROW_HANDLED
								     : ESCROW_RETRY;
}

int
service_run(const char *name, const char *topic, escrow_handle_fn handle, char *const *kafka)
{
	escrow_consumer_opts o = ESCROW_CONSUMER_OPTS_INIT;
	escrow_store *store;
	int failed;

	must(db_store(&store, db));
	o.name = name;
	o.topics = topic;
	o.stores = &store;
	o.handle = handle;
	o.batch_max = 1;  /* each message has a small transaction of its own ... */
	o.tries_max = -1; /* ... and none is given up */
	o.retry_max_ms = 1000;
	failed = consume(&o, kafka);
	escrow_store_free(store);
	return failed;
}
