/*
 * eat.c -- one consumer with its dedup table in SQLite, as fast as it goes.
 *
 *      eat --brokers B --topic T --group G --file F --count N [--batch N] [--seq]
 *
 * The effect of a message is a row, in the same transaction as its claim; every commit is
 * synced (WAL, synchronous=FULL).  Ends when N messages have had their effect, and prints a line of
 * JSON; the time counts from the first to the last.
 */
#include <getopt.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <sqlite3.h>

#include "cpu.h"
#include "escrow/escrow_consumer.h"

static sqlite3_stmt *insert;
static escrow_consumer *consumer;
static int64_t begun_ns, ended_ns;
static uint64_t wanted;

static int64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static int
eat(const rd_kafka_message_t *m, void *db, void *arg)
{
	int rc;

	(void)db;
	(void)arg;
	if (!begun_ns)
		begun_ns = now_ns();
	sqlite3_bind_blob(insert, 1, m->payload, (int)m->len, SQLITE_STATIC);
	rc = sqlite3_step(insert);
	sqlite3_reset(insert);
	return rc == SQLITE_DONE ? ESCROW_HANDLED : ESCROW_RETRY;
}

/* Often enough that the end is seen at once. */
static void
look(void *arg, const escrow_consumer_stats *stats)
{
	(void)arg;
	if (stats->handled + stats->dead < wanted || ended_ns)
		return;
	ended_ns = now_ns();
	escrow_consumer_stop(consumer);
}

static sqlite3 *
open_file(const char *file)
{
	sqlite3 *db;

	if (sqlite3_open(file, &db) || sqlite3_busy_timeout(db, 10000) ||
	    sqlite3_exec(db,
			 "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
			 "CREATE TABLE IF NOT EXISTS effects (value BLOB)",
			 NULL, NULL, NULL) ||
	    sqlite3_prepare_v2(db, "INSERT INTO effects VALUES (?)", -1, &insert, NULL)) {
		fprintf(stderr, "eat: %s: %s\n", file, sqlite3_errmsg(db));
		exit(1);
	}
	return db;
}

static void
report(void)
{
	escrow_consumer_stats stats = { .struct_size = sizeof(stats) };
	double seconds = (double)(ended_ns - begun_ns) / 1e9;

	escrow_consumer_get_stats(consumer, &stats);
	printf("{\"handled\": %llu, \"dead\": %llu, \"transactions\": %llu, \"seconds\": %.3f, "
	       "\"per_s\": %.0f, \"cpu_us\": %.2f}\n",
	       (unsigned long long)stats.handled, (unsigned long long)stats.dead,
	       (unsigned long long)stats.transactions, seconds, (double)stats.handled / seconds,
	       cpu_own_s() * 1e6 / (double)stats.handled);
}

int
main(int argc, char **argv)
{
	static const struct option names[] = {
		{ "brokers", 1, NULL, 'b' }, { "topic", 1, NULL, 't' }, { "group", 1, NULL, 'g' },
		{ "file", 1, NULL, 'f' },    { "count", 1, NULL, 'n' }, { "batch", 1, NULL, 'm' },
		{ "seq", 0, NULL, 'q' },     { NULL, 0, NULL, 0 },
	};
	escrow_consumer_opts o = ESCROW_CONSUMER_OPTS_INIT;
	char brokers[256] = "", group[128] = "";
	const char *kafka[] = { brokers, group, NULL }, *file = NULL;
	escrow_store *store;
	escrow_status status;
	sqlite3 *db;
	int id;

	while ((id = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (id) {
		case 'b':
			snprintf(brokers, sizeof(brokers), "bootstrap.servers=%s", optarg);
			break;
		case 't':
			o.topics = optarg;
			break;
		case 'g':
			snprintf(group, sizeof(group), "group.id=%s", optarg);
			break;
		case 'f':
			file = optarg;
			break;
		case 'n':
			wanted = strtoull(optarg, NULL, 10);
			break;
		case 'm':
			o.batch_max = atoi(optarg);
			break;
		case 'q':
			o.dedup = ESCROW_DEDUP_BY_SEQ;
			break;
		default:
			return 2;
		}
	}
	if (!file || !wanted)
		return 2;
	db = open_file(file);
	o.kafka = kafka;
	o.stores = &store;
	o.handle = eat;
	o.stats = look;
	o.stats_ms = 10;
	status = escrow_store_sqlite(&store, db);
	if (!status)
		status = escrow_consumer_open(&consumer, &o);
	if (!status)
		status = escrow_consumer_run(consumer);
	if (status) {
		fprintf(stderr, "eat: %s: %s\n", escrow_status_name(status), escrow_last_error());
		return 1;
	}
	report();
	escrow_consumer_close(consumer);
	escrow_store_free(store);
	sqlite3_finalize(insert);
	sqlite3_close(db);
	return 0;
}
