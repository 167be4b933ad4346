/*
 * bank.c -- two services that move money between two databases, to be killed at any instant.
 *
 *      bank init --accounts N                  both databases: N accounts with 1000 each
 *      bank pay --broker URL --count N         takes from accounts of the first, and says so
 *      bank receive --kafka B [--seq] [--session MS]
 *                                              gives to accounts of the second
 *      bank report                             what is there, as a JSON object
 *
 * $ESCROW_TEST_DB and $ESCROW_TEST_DB2 are the databases.  A transfer's number is made of the
 * process and a counter, and never used twice.  Each one is a row where it leaves and a row where
 * it arrives, and nothing in the databases forbids a second one.  One transfer in ten is refused
 * by the local transaction.  `pay` ends when N transfers have left.
 */
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "escrow/escrow_consumer.h"
#include "escrow/escrow_table.h"
#include "tables/db.h"

#define THREADS 4

static escrow_table *table;
static escrow_consumer *consumer;
static atomic_int left, count;
static long accounts;
static atomic_llong counter;

static const char *
second(void)
{
	const char *text = getenv("ESCROW_TEST_DB2");

	return text != NULL ? strchr(text, ':') + 1 : "";
}

static void
open_second(struct sql *s)
{
	if (sql_open(s, db_engine(), second(), 20000)) {
		fprintf(stderr, "bank: %s\n", s->error);
		exit(1);
	}
}

/* ---- init and report ------------------------------------------------------------------------- */

static void
make(struct sql *s)
{
	char text[128];

	if (s->engine == &sql_sqlite)
		db_exec(s, "PRAGMA journal_mode=WAL");
	db_exec(s, "CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance BIGINT)");
	db_exec(s, "CREATE TABLE transfers (n BIGINT, amount INTEGER)");
	for (long i = 0; i < accounts; i++) {
		snprintf(text, sizeof(text), "INSERT INTO accounts VALUES (%ld, 1000)", i);
		db_exec(s, text);
	}
}

static int
init(void)
{
	struct sql s;

	db_open(&s, 20000);
	make(&s);
	sql_done(&s);
	open_second(&s);
	make(&s);
	sql_done(&s);
	return 0;
}

static void
show(struct sql *s, const char *name)
{
	printf("\"%s\": {\"balance\": %lld, \"transfers\": %lld, \"distinct\": %lld, \"numbers\": "
	       "%lld, "
	       "\"amount\": %lld}",
	       name, (long long)db_number(s, "SELECT SUM(balance) FROM accounts"),
	       (long long)db_number(s, "SELECT COUNT(*) FROM transfers"),
	       (long long)db_number(s, "SELECT COUNT(DISTINCT n) FROM transfers"),
	       (long long)db_number(s, "SELECT COALESCE(SUM(n % 1000003), 0) FROM transfers"),
	       (long long)db_number(s, "SELECT COALESCE(SUM(amount), 0) FROM transfers"));
}

static int
report(void)
{
	struct sql s;

	db_open(&s, 20000);
	printf("{");
	show(&s, "first");
	sql_done(&s);
	open_second(&s);
	printf(", ");
	show(&s, "second");
	printf("}\n");
	sql_done(&s);
	return 0;
}

/* ---- pay ------------------------------------------------------------------------------------- */

struct transfer {
	struct sql *s;
	long long n;
	long from, to, amount;
};

/* The local transaction. */
static int
take(void *db, void *arg)
{
	struct transfer *t = arg;
	char text[160];

	(void)db;
	snprintf(text, sizeof(text), "UPDATE accounts SET balance = balance - %ld WHERE id = %ld",
		 t->amount, t->from);
	if (db_try(t->s, text))
		return 1;
	snprintf(text, sizeof(text), "INSERT INTO transfers VALUES (%lld, %ld)", t->n, t->amount);
	if (db_try(t->s, text))
		return 1;
	return t->n % 10 == 0;
}

static void *
pay_often(void *arg)
{
	struct sql s;

	(void)arg;
	db_open(&s, 20000);
	while (atomic_load(&left) < atomic_load(&count)) {
		escrow_message m = ESCROW_MESSAGE_INIT;
		struct transfer t = { .s = &s, .n = atomic_fetch_add(&counter, 1) };
		escrow_status status;
		char key[32], value[64];

		t.from = (long)(t.n % accounts);
		t.to = (long)(t.n * 7 % accounts);
		t.amount = (long)(1 + t.n % 9);
		snprintf(key, sizeof(key), "%ld", t.to);
		snprintf(value, sizeof(value), "%lld %ld %ld", t.n, t.to, t.amount);
		m.topic = "transfers";
		m.key = key;
		m.key_len = strlen(key);
		m.value = value;
		m.value_len = strlen(value);
		status = escrow_table_send(table, s.db, &m, 1, NULL, take, &t);
		if (status == ESCROW_OK)
			atomic_fetch_add(&left, 1);
		else if (status != ESCROW_E_LOCAL)
			fprintf(stderr, "bank: %s: %s\n", escrow_status_name(status),
				escrow_last_error());
		if ((status == ESCROW_E_DATABASE || status == ESCROW_E_IN_DOUBT) &&
		    sql_reconnect(&s))
			fprintf(stderr, "bank: %s\n", s.error);
	}
	sql_done(&s);
	return NULL;
}

static int
pay(const char *url)
{
	escrow_status (*open)(escrow_table **, const char *) =
		db_engine() == &sql_sqlite     ? escrow_table_sqlite
		: db_engine() == &sql_postgres ? escrow_table_postgres
					       : escrow_table_mysql;
	escrow_table_opts opts = ESCROW_TABLE_OPTS_INIT;
	pthread_t threads[THREADS];
	escrow_client *client;
	struct timeval now;
	struct sql s;

	gettimeofday(&now, NULL);
	atomic_store(&counter,
		     (now.tv_sec * 1000LL + now.tv_usec / 1000) % 100000000000LL * 100000);
	db_open(&s, 20000);
	atomic_store(&left, (int)db_number(&s, "SELECT COUNT(*) FROM transfers"));
	accounts = (long)db_number(&s, "SELECT COUNT(*) FROM accounts");
	sql_done(&s);
	opts.grace_ms = 2000; /* cleaned while it runs */
	opts.clean_ms = 500;
	if (escrow_open(&client, url) || open(&table, db_where()) ||
	    escrow_table_attach(table, client, NULL, &opts)) {
		fprintf(stderr, "bank: %s\n", escrow_last_error());
		return 1;
	}
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, pay_often, NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	/* It stays, to be asked, until somebody ends it. */
	while (pause() == 0)
		;
	return 0;
}

/* ---- receive --------------------------------------------------------------------------------- */

static struct sql receiver;

static int
give(const rd_kafka_message_t *m, void *db, void *arg)
{
	char value[64], text[160];
	long long n;
	long to, amount;

	(void)db;
	(void)arg;
	snprintf(value, sizeof(value), "%.*s", (int)m->len, (const char *)m->payload);
	if (sscanf(value, "%lld %ld %ld", &n, &to, &amount) != 3)
		return ESCROW_GIVE_UP;
	snprintf(text, sizeof(text), "UPDATE accounts SET balance = balance + %ld WHERE id = %ld",
		 amount, to);
	if (db_try(&receiver, text))
		return ESCROW_RETRY;
	snprintf(text, sizeof(text), "INSERT INTO transfers VALUES (%lld, %ld)", n, amount);
	return db_try(&receiver, text) ? ESCROW_RETRY : ESCROW_HANDLED;
}

static void
on_signal(int number)
{
	(void)number;
	escrow_consumer_stop(consumer);
}

static int
receive(const char *kafka, int by_seq, int session_ms)
{
	char brokers[256], session[64];
	const char *properties[] = { brokers,
				     session,
				     "group.id=bank",
				     "fetch.wait.max.ms=5",
				     "heartbeat.interval.ms=300",
				     NULL,
				     NULL };
	escrow_consumer_opts o = ESCROW_CONSUMER_OPTS_INIT;
	escrow_store *store = NULL;
	escrow_status status;

	snprintf(brokers, sizeof(brokers), "bootstrap.servers=%s", kafka);
	snprintf(session, sizeof(session), "session.timeout.ms=%d", session_ms);
	/* The mock may forget who waits for others to join; then it joins anew. */
	if (session_ms < 6000)
		properties[5] = "max.poll.interval.ms=6000";
	open_second(&receiver);
	if (db_engine() == &sql_sqlite)
		status = escrow_store_sqlite(&store, receiver.db);
	else if (db_engine() == &sql_postgres)
		status = escrow_store_postgres(&store, receiver.db);
	else
		status = escrow_store_mysql(&store, receiver.db);
	o.kafka = properties;
	o.topics = "transfers";
	o.stores = &store;
	o.handle = give;
	o.dedup = by_seq ? ESCROW_DEDUP_BY_SEQ : ESCROW_DEDUP_BY_ID;
	o.tries_max = -1;
	if (!status)
		status = escrow_consumer_open(&consumer, &o);
	if (!status) {
		signal(SIGTERM, on_signal);
		status = escrow_consumer_run(consumer);
	}
	if (status)
		fprintf(stderr, "bank: %s\n", escrow_last_error());
	escrow_consumer_close(consumer);
	escrow_store_free(store);
	sql_done(&receiver);
	return status != ESCROW_OK;
}

int
main(int argc, char **argv)
{
	static const struct option names[] = {
		{ "accounts", 1, NULL, 'a' }, { "broker", 1, NULL, 'b' },
		{ "kafka", 1, NULL, 'k' },    { "count", 1, NULL, 'n' },
		{ "seq", 0, NULL, 'q' },      { "session", 1, NULL, 's' },
		{ NULL, 0, NULL, 0 },
	};
	const char *broker = "", *kafka = "";
	int id, by_seq = 0, session_ms = 6000;

	while ((id = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (id) {
		case 'a':
			accounts = atol(optarg);
			break;
		case 'b':
			broker = optarg;
			break;
		case 'k':
			kafka = optarg;
			break;
		case 'n':
			atomic_store(&count, atoi(optarg));
			break;
		case 'q':
			by_seq = 1;
			break;
		case 's':
			session_ms = atoi(optarg);
			break;
		default:
			return 2;
		}
	}
	if (optind + 1 != argc)
		return 2;
	if (strcmp(argv[optind], "init") == 0)
		return init();
	if (strcmp(argv[optind], "report") == 0)
		return report();
	if (strcmp(argv[optind], "pay") == 0)
		return pay(broker);
	if (strcmp(argv[optind], "receive") == 0)
		return receive(kafka, by_seq, session_ms);
	return 2;
}
