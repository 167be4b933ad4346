/*
 * shop.c -- a consumer to be killed: its effect is a row for each message, and nothing in the
 * database forbids two.
 *
 *      shop --brokers B --topic T --group G [--seq] [--batch N] [--workers N] [--session MS]
 *           [--poison N] [--flaky N] [--strategy S]
 *      shop --count | --report
 *
 * The database is $ESCROW_TEST_DB.  Message i is poison when i % POISON == 7: its handler always
 * fails; and flaky when i % FLAKY == 3: it fails at the first attempt of this process.  SIGTERM
 * stops it in order.  --count prints the number of effects; --report prints a JSON object of
 * what is wrong with them.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "escrow/escrow_consumer.h"
#include "tables/db.h"
#include "tables/store.h"

#define WORKERS 8
#define FLAKY   65536

static escrow_consumer *consumer;
static volatile sig_atomic_t stopped;
static int poison, flaky;
static unsigned char failed_before[FLAKY];
static struct sql connections[WORKERS];
static int connection_count;

static void
on_signal(int number)
{
	(void)number;
	stopped = 1;
	if (consumer)
		escrow_consumer_stop(consumer);
}

/* SIGTERM comes blocked from whoever starts us: it may be sent before there is a main(). */
static void
take_signals(void)
{
	sigset_t set;

	signal(SIGTERM, on_signal);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static void
log_line(void *arg, escrow_log_level level, const char *text)
{
	(void)arg;
	fprintf(stderr, "%d %d %s\n", (int)getpid(), (int)level, text);
}

/* The connection of a worker, for SQL on any engine. */
static struct sql *
of(void *db)
{
	for (int i = 0; i < connection_count; i++) {
		if (connections[i].db == db)
			return &connections[i];
	}
	abort();
}

static int
sell(const rd_kafka_message_t *m, void *db, void *arg)
{
	char text[128];
	int i;

	(void)arg;
	snprintf(text, sizeof(text), "%.*s", (int)m->len, (const char *)m->payload);
	i = atoi(text);
	if (poison && i % poison == 7) {
		escrow_set_last_error("it is poison");
		return ESCROW_RETRY;
	}
	snprintf(text, sizeof(text), "INSERT INTO business (n, part) VALUES (%d, %d)", i,
		 (int)m->partition);
	if (db_try(of(db), text)) {
		escrow_set_last_error(of(db)->error);
		return ESCROW_RETRY;
	}
	/* Behind the effect, which must then be gone again. */
	if (flaky && i % flaky == 3 && !failed_before[i % FLAKY]) {
		failed_before[i % FLAKY] = 1;
		return ESCROW_RETRY;
	}
	return ESCROW_HANDLED;
}

static void
make_table(struct sql *s)
{
	const char *text =
		"CREATE TABLE IF NOT EXISTS business (at BIGSERIAL PRIMARY KEY, n INT, part INT)";

	if (s->engine == &sql_sqlite)
		text = "CREATE TABLE IF NOT EXISTS business "
		       "(at INTEGER PRIMARY KEY AUTOINCREMENT, n INT, part INT)";
	if (s->engine == &sql_mysql)
		text = "CREATE TABLE IF NOT EXISTS business "
		       "(at BIGINT AUTO_INCREMENT PRIMARY KEY, n INT, part INT)";
	if (s->engine == &sql_sqlite)
		db_exec(s, "PRAGMA journal_mode=WAL");
	if (db_try(s, text))
		db_exec(s, text); /* PostgreSQL: somebody else made it */
}

static int
report(void)
{
	struct sql s;

	db_open(&s, 20000);
	make_table(&s);
	printf("{\"effects\": %lld, \"messages\": %lld, \"doubled\": %lld, \"reordered\": %lld, "
	       "\"poison\": %lld}\n",
	       (long long)db_number(&s, "SELECT COUNT(*) FROM business"),
	       (long long)db_number(&s, "SELECT COUNT(DISTINCT n) FROM business"),
	       (long long)db_number(&s, "SELECT COUNT(*) FROM (SELECT n FROM business GROUP BY n "
					"HAVING COUNT(*) > 1) x"),
	       (long long)db_number(&s, "SELECT COUNT(*) FROM (SELECT n, LAG(n) OVER (PARTITION BY "
					"part ORDER BY at) AS last FROM business) x "
					"WHERE n < last"),
	       poison ? (long long)db_number(&s, "SELECT COUNT(*) FROM business WHERE n % 500 = 7")
		      : 0);
	sql_done(&s);
	return 0;
}

static int
count(void)
{
	struct sql s;

	db_open(&s, 20000);
	make_table(&s);
	printf("%lld\n", (long long)db_number(&s, "SELECT COUNT(DISTINCT n) FROM business"));
	sql_done(&s);
	return 0;
}

static escrow_store *
open_store(struct sql *s)
{
	escrow_store *store = NULL;
	escrow_status status = ESCROW_E_DATABASE;

	db_open(s, 20000);
	make_table(s);
	/* PostgreSQL may find the tables half made by the process beside us. */
	for (int attempt = 0; status && attempt < 5; attempt++) {
		if (s->engine == &sql_sqlite)
			status = escrow_store_sqlite(&store, s->db);
		else if (s->engine == &sql_postgres)
			status = escrow_store_postgres(&store, s->db);
		else
			status = escrow_store_mysql(&store, s->db);
	}
	if (status) {
		fprintf(stderr, "shop: %s\n", escrow_last_error());
		exit(1);
	}
	return store;
}

struct settings {
	escrow_consumer_opts consumer;
	char brokers[256], group[128], session[64], strategy[64];
	const char *kafka[7];
	int kafka_count;
	int what; /* 'c', 'r', or 0: to consume */
};

static bool
parse(struct settings *s, int argc, char **argv)
{
	static const struct option names[] = {
		{ "brokers", 1, NULL, 'b' }, { "topic", 1, NULL, 't' },
		{ "group", 1, NULL, 'g' },   { "seq", 0, NULL, 'q' },
		{ "batch", 1, NULL, 'n' },   { "workers", 1, NULL, 'w' },
		{ "session", 1, NULL, 's' }, { "poison", 1, NULL, 'p' },
		{ "flaky", 1, NULL, 'f' },   { "count", 0, NULL, 'c' },
		{ "report", 0, NULL, 'r' },  { "strategy", 1, NULL, 'y' },
		{ NULL, 0, NULL, 0 },
	};
	escrow_consumer_opts *o = &s->consumer;
	int id;

	while ((id = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (id) {
		case 'b':
			snprintf(s->brokers, sizeof(s->brokers), "bootstrap.servers=%s", optarg);
			break;
		case 't':
			o->topics = optarg;
			break;
		case 'g':
			snprintf(s->group, sizeof(s->group), "group.id=%s", optarg);
			break;
		case 'q':
			o->dedup = ESCROW_DEDUP_BY_SEQ;
			break;
		case 'n':
			o->batch_max = atoi(optarg);
			break;
		case 'w':
			o->store_count = (size_t)atoi(optarg);
			break;
		case 's':
			snprintf(s->session, sizeof(s->session), "session.timeout.ms=%s", optarg);
			break;
		case 'y':
			snprintf(s->strategy, sizeof(s->strategy),
				 "partition.assignment.strategy=%s", optarg);
			s->kafka[s->kafka_count++] = s->strategy;
			break;
		case 'p':
			poison = atoi(optarg);
			break;
		case 'f':
			flaky = atoi(optarg);
			break;
		case 'c':
		case 'r':
			s->what = id;
			break;
		default:
			return false;
		}
	}
	return o->store_count >= 1 && o->store_count <= WORKERS;
}

static escrow_status
consume(escrow_consumer_opts *o)
{
	escrow_store *stores[WORKERS];
	escrow_status status;

	for (size_t i = 0; i < o->store_count; i++) {
		stores[i] = open_store(&connections[i]);
		connection_count++;
	}
	o->stores = stores;
	status = escrow_consumer_open(&consumer, o);
	if (!status && stopped)
		escrow_consumer_stop(consumer);
	if (!status)
		status = escrow_consumer_run(consumer);
	if (status)
		fprintf(stderr, "shop: %s: %s\n", escrow_status_name(status), escrow_last_error());
	escrow_consumer_close(consumer);
	for (int i = 0; i < connection_count; i++) {
		escrow_store_free(stores[i]);
		sql_done(&connections[i]);
	}
	return status;
}

int
main(int argc, char **argv)
{
	escrow_consumer_opts consumer_opts = ESCROW_CONSUMER_OPTS_INIT;
	static struct settings s;
	const char *const kafka[] = { s.brokers, s.group, s.session, "heartbeat.interval.ms=300",
				      "fetch.wait.max.ms=5" };

	s.consumer = consumer_opts;
	s.consumer.store_count = 1;
	s.consumer.kafka = s.kafka;
	s.consumer.handle = sell;
	s.consumer.tries_max = 4;
	s.consumer.retry_ms = 20;
	s.consumer.retry_max_ms = 100;
	s.consumer.log = log_line;
	memcpy(s.kafka, kafka, sizeof(kafka));
	s.kafka_count = sizeof(kafka) / sizeof(kafka[0]);
	strcpy(s.session, "session.timeout.ms=6000");
	if (!parse(&s, argc, argv))
		return 2;
	if (s.what)
		return s.what == 'c' ? count() : report();
	take_signals();
	return consume(&s.consumer) != ESCROW_OK;
}
