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
static escrow_txn *sent; /* by the handler, as undecided as its transaction */

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
	escrow_half_opts o = ESCROW_HALF_OPTS_INIT;
	escrow_message m;
	char text[256];
	va_list arguments;

	va_start(arguments, format);
	m = message(topic, key, text, format, arguments);
	va_end(arguments);
	o.db_id = escrow_table_db_id(table);
	if (escrow_half_send(mq, &m, 1, &o, &sent) != ESCROW_OK)
		return ESCROW_RETRY;
	/* As escrow_table_begin() does; but here the transaction is open already. */
	return db_fence(db, escrow_txn_gid(sent)) ? ESCROW_HANDLED : ESCROW_RETRY;
}

/* The store's own two, around which ours are. */
static int (*store_commit)(escrow_store *store);
static int (*store_rollback)(escrow_store *store);

/* What has become of it is known here first.  When it is not told, the broker asks. */
static int
commit(escrow_store *store)
{
	int rc = store_commit(store);

	if (rc == ESCROW_STORE_OK && sent != NULL)
		(void)escrow_commit(&sent);
	escrow_abandon(&sent);
	return rc;
}

static int
rollback(escrow_store *store)
{
	escrow_abandon(&sent);
	return store_rollback(store);
}

int
service_run(const char *name, const char *topic, escrow_handle_fn handle, char *const *kafka)
{
	escrow_consumer_opts o = ESCROW_CONSUMER_OPTS_INIT;
	escrow_store *store;
	int failed;

	must(db_store(&store, db));
	store_commit = store->commit;
	store_rollback = store->rollback;
	store->commit = commit;
	store->rollback = rollback;
	o.name = name;
	o.topics = topic;
	o.stores = &store;
	o.handle = handle;
	o.batch_max = 1;  /* one message, one transaction, one that is sent */
	o.tries_max = -1; /* while the broker is away it waits */
	o.retry_max_ms = 1000;
	failed = consume(&o, kafka);
	escrow_store_free(store);
	return failed;
}
