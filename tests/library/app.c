/*
 * app.c -- an application with libescrow whose "database" is a table in memory.
 *
 *      app URL COUNT SEED
 *
 * COUNT transactions from two threads, each of one message for topic orders and one for topic
 * invoices, keyed alike.  Of ten, six are committed, two rolled back, two forgotten, so that
 * the broker has to ask.  A line is written for each when its local transaction is decided:
 * "commit GID KEY" or "rollback GID KEY", and "unsent KEY" when the half-send failed.  After
 * the last it answers checks until its standard input ends.
 */
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "escrow/escrow.h"

#define ROWS_MAX 100000

static struct {
	pthread_mutex_t mutex;
	char gid[ROWS_MAX][ESCROW_GID_TEXT];
	escrow_decision decision[ROWS_MAX];
	int count;
} table = { .mutex = PTHREAD_MUTEX_INITIALIZER };

static escrow_client *client;
static int count;
static unsigned seed;

static void
write_down(const char *gid, escrow_decision decision, const char *key)
{
	pthread_mutex_lock(&table.mutex);
	memcpy(table.gid[table.count], gid, ESCROW_GID_TEXT);
	table.decision[table.count++] = decision;
	printf("%s %s %s\n", decision == ESCROW_COMMIT ? "commit" : "rollback", gid, key);
	pthread_mutex_unlock(&table.mutex);
}

/* Not found is unknown: its half-send may not have returned yet. */
static escrow_decision
look_up(const escrow_view *view, void *arg)
{
	escrow_decision found = ESCROW_UNKNOWN;

	(void)arg;
	if (escrow_view_count(view) != 2)
		abort();
	pthread_mutex_lock(&table.mutex);
	for (int i = 0; i < table.count; i++)
		if (strcmp(table.gid[i], escrow_view_gid(view)) == 0)
			found = table.decision[i];
	pthread_mutex_unlock(&table.mutex);
	return found;
}

static void
one(unsigned *random, int number)
{
	escrow_message m[2] = { ESCROW_MESSAGE_INIT, ESCROW_MESSAGE_INIT };
	escrow_half_opts opts = ESCROW_HALF_OPTS_INIT;
	escrow_header header = { "kind", "transfer", 8 };
	escrow_txn *txn;
	escrow_status st;
	char key[32];
	int what = rand_r(random) % 10;

	(void)snprintf(key, sizeof(key), "k%d", number);
	m[0].topic = "orders";
	m[1].topic = "invoices";
	for (int i = 0; i < 2; i++) {
		m[i].key = key;
		m[i].key_len = strlen(key);
		m[i].value = i ? "invoice" : "order";
		m[i].value_len = strlen(m[i].value);
		m[i].headers = &header;
		m[i].header_count = 1;
	}
	opts.check_after_ms = 1000;
	st = escrow_half_send(client, m, 2, &opts, &txn);
	if (st != ESCROW_OK) {
		printf("unsent %s\n", key);
		fprintf(stderr, "half-send %s: %s: %s\n", key, escrow_status_name(st),
			escrow_last_error());
		return;
	}
	write_down(escrow_txn_gid(txn), what < 6 || what == 8 ? ESCROW_COMMIT : ESCROW_ROLLBACK,
		   key);
	if (what < 6)
		st = escrow_commit(&txn);
	else if (what < 8)
		st = escrow_rollback(&txn);
	else
		escrow_abandon(&txn);
	if (st == ESCROW_E_DECIDED) /* a check was faster, and can only have said the same */
		fprintf(stderr, "%s: %s\n", key, escrow_last_error());
}

static void *
work(void *arg)
{
	unsigned random = seed + (unsigned)*(int *)arg;

	for (int i = *(int *)arg; i < count; i += 2)
		one(&random, i);
	return NULL;
}

static void
log_line(void *arg, escrow_log_level level, const char *text)
{
	(void)arg;
	fprintf(stderr, "%d %s\n", (int)level, text);
}

int
main(int argc, char **argv)
{
	escrow_conf *conf = escrow_conf_new();
	pthread_t threads[2];
	int numbers[2] = { 0, 1 };
	char byte;

	if (argc != 4 || !conf || (count = atoi(argv[2])) > ROWS_MAX)
		return 2;
	seed = (unsigned)atoi(argv[3]);
	setvbuf(stdout, NULL, _IOLBF, 0);
	escrow_conf_set_log(conf, log_line, NULL);
	if (escrow_conf_set_url(conf, argv[1]) != ESCROW_OK ||
	    escrow_open_conf(&client, conf) != ESCROW_OK ||
	    escrow_on_check(client, NULL, look_up, NULL) != ESCROW_OK) {
		fprintf(stderr, "%s\n", escrow_last_error());
		return 1;
	}
	for (int i = 0; i < 2; i++)
		if (pthread_create(&threads[i], NULL, work, &numbers[i]) != 0)
			return 1;
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	printf("done\n");
	while (fread(&byte, 1, 1, stdin) == 1)
		;
	return escrow_close(client, 5000) == ESCROW_OK ? 0 : 1;
}
