/*
 * load_lib.c -- the load of one application with libescrow: one client, so one connection.
 *
 *      --in-flight N    N transactions under way, by completions (default 256)
 *      --blocking       one by one: half_send(), commit()
 *      --next           one by one: commit and next half-send in one call
 *
 * The report is that of load.c, one line of JSON.  CPU is the whole process: the thread
 * that asks, the library's thread, and what the kernel does for both.
 */
#include <getopt.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cpu.h"
#include "escrow/escrow.h"
#include "stats.h"

#define SECOND INT64_C(1000000000)

struct run {
	escrow_client *client;
	escrow_message message;
	int64_t begin_ns, end_ns; /* what is completed between them counts */
	struct hist half, pair;
	struct codes codes;
	atomic_bool stop;
	atomic_int under_way;
	uint64_t commits, failed;
};

/* One of the transactions under way: begins the next when it is complete. */
struct slot {
	struct run *run;
	int64_t began_ns;
};

static int64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * SECOND + t.tv_nsec;
}

static void
count(struct run *r, struct hist *h, int64_t began, int64_t now)
{
	if (now >= r->begin_ns && now < r->end_ns)
		hist_add(h, now - began);
}

static void
complain(struct run *r, const char *what, escrow_status st)
{
	codes_add(&r->codes, st);
	if (r->failed++ < 5)
		fprintf(stderr, "load_lib: %s: %s: %s\n", what, escrow_status_name(st),
			escrow_last_error());
}

/* ---- many at once ---------------------------------------------------------------------------- */

static void begin(struct slot *s);

static void
decided(void *arg, escrow_status st)
{
	struct slot *s = arg;

	if (st == ESCROW_OK) {
		s->run->commits++;
		count(s->run, &s->run->pair, s->began_ns, now_ns());
	} else {
		complain(s->run, "commit", st);
	}
	begin(s);
}

static void
half_sent(void *arg, escrow_status st, escrow_txn *txn)
{
	struct slot *s = arg;

	if (st == ESCROW_OK) {
		count(s->run, &s->run->half, s->began_ns, now_ns());
		st = escrow_decide_async(&txn, ESCROW_COMMIT, NULL, decided, s);
		if (st == ESCROW_OK)
			return;
	}
	complain(s->run, "half-send", st);
	begin(s);
}

static void
begin(struct slot *s)
{
	escrow_status st;

	if (!atomic_load_explicit(&s->run->stop, memory_order_relaxed)) {
		s->began_ns = now_ns();
		st = escrow_half_send_async(s->run->client, &s->run->message, 1, NULL, half_sent,
					    s);
		if (st == ESCROW_OK)
			return;
		complain(s->run, "half-send", st);
	}
	atomic_fetch_sub(&s->run->under_way, 1);
}

static void
many(struct run *r, int in_flight)
{
	struct slot *slots = calloc((size_t)in_flight, sizeof(*slots));
	int64_t left;

	if (!slots)
		abort();
	atomic_store(&r->under_way, in_flight);
	for (int i = 0; i < in_flight; i++) {
		slots[i].run = r;
		begin(&slots[i]);
	}
	while ((left = r->end_ns - now_ns()) > 0)
		(void)poll(NULL, 0, (int)(left / 1000000) + 1);
	atomic_store(&r->stop, true);
	/* What completes last was begun before. */
	while (atomic_load(&r->under_way) > 0)
		(void)escrow_flush(r->client, 1000);
	free(slots);
}

/* ---- one by one ------------------------------------------------------------------------------ */

static void
one_by_one(struct run *r)
{
	escrow_txn *txn;

	while (now_ns() < r->end_ns) {
		int64_t began = now_ns();
		escrow_status st = escrow_half_send(r->client, &r->message, 1, NULL, &txn);

		if (st == ESCROW_OK) {
			count(r, &r->half, began, now_ns());
			st = escrow_commit(&txn);
		}
		if (st != ESCROW_OK) {
			complain(r, "one by one", st);
			continue;
		}
		r->commits++;
		count(r, &r->pair, began, now_ns());
	}
}

static void
with_next(struct run *r)
{
	escrow_txn *txn = NULL, *next = NULL;
	escrow_status decided_st = ESCROW_OK;
	int64_t began = now_ns();

	if (escrow_half_send(r->client, &r->message, 1, NULL, &txn) != ESCROW_OK)
		abort();
	while (now_ns() < r->end_ns) {
		int64_t next_began = now_ns();
		escrow_status st = escrow_decide_then_half_send(&txn, ESCROW_COMMIT, &decided_st,
								&r->message, 1, NULL, &next);

		if (st != ESCROW_OK || decided_st != ESCROW_OK) {
			complain(r, "commit, then half-send", st != ESCROW_OK ? st : decided_st);
			break;
		}
		r->commits++;
		count(r, &r->half, next_began, now_ns());
		count(r, &r->pair, began, now_ns());
		began = next_began;
		txn = next;
	}
	if (txn && escrow_commit(&txn) == ESCROW_OK)
		r->commits++;
}

/* ---- main ------------------------------------------------------------------------------------ */

struct settings {
	const char *address, *topic;
	double seconds, warmup;
	int pid, in_flight, mode; /* 'b' blocking, 'x' next, 'n' many at once */
	size_t size;
};

static bool
parse(struct settings *o, int argc, char **argv)
{
	/* clang-format off */
	static const struct option names[] = {
		{ "address", 1, NULL, 'a' }, { "topic", 1, NULL, 't' },
		{ "seconds", 1, NULL, 's' }, { "warmup", 1, NULL, 'w' },
		{ "pid", 1, NULL, 'p' }, { "in-flight", 1, NULL, 'n' },
		{ "blocking", 0, NULL, 'b' }, { "next", 0, NULL, 'x' },
		{ "size", 1, NULL, 'z' }, { NULL, 0, NULL, 0 },
	};
	/* clang-format on */
	int id;

	while ((id = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (id) {
		case 'a':
			o->address = optarg;
			break;
		case 't':
			o->topic = optarg;
			break;
		case 's':
			o->seconds = atof(optarg);
			break;
		case 'w':
			o->warmup = atof(optarg);
			break;
		case 'p':
			o->pid = atoi(optarg);
			break;
		case 'n':
			o->in_flight = atoi(optarg);
			break;
		case 'z':
			o->size = (size_t)atol(optarg);
			break;
		case 'b':
		case 'x':
			o->mode = id;
			break;
		default:
			fputs("load_lib: --address --topic --seconds --warmup --pid --size "
			      "[--in-flight N | --blocking | --next]\n",
			      stderr);
			return false;
		}
	}
	return true;
}

/* The client, and the message that it sends all the time. */
static bool
open_client(struct run *r, const struct settings *o)
{
	escrow_message m = ESCROW_MESSAGE_INIT;
	unsigned char *body = malloc(o->size);
	char url[256];

	if (!body)
		abort();
	for (size_t i = 0; i < o->size; i++)
		body[i] = (unsigned char)random();
	m.topic = o->topic;
	m.value = body;
	m.value_len = o->size;
	r->message = m;
	snprintf(url, sizeof(url), "escrow://%s?group=bench&timeout.ms=30000&window=%d", o->address,
		 o->in_flight > 4096 ? o->in_flight : 4096);
	if (escrow_open(&r->client, url) == ESCROW_OK &&
	    escrow_wait_connected(r->client, 10000) == ESCROW_OK)
		return true;
	fprintf(stderr, "load_lib: %s\n", escrow_last_error());
	return false;
}

/* OWN and OTHER: CPU seconds of warm-up and measurement, as the commits are. */
static void
report(const struct run *r, const struct settings *o, double own, double other)
{
	escrow_stats stats = ESCROW_STATS_INIT;
	double pairs = (double)r->commits;

	(void)escrow_get_stats(r->client, &stats); /* its struct_size is set */
	printf("{\"pairs_per_s\":%.0f,\"seconds\":%.2f,\"producers\":%d,\"connections\":1,",
	       (double)r->pair.n / o->seconds, o->seconds, o->mode == 'n' ? o->in_flight : 1);
	hist_print(stdout, "half_us", &r->half);
	printf(",");
	hist_print(stdout, "pair_us", &r->pair);
	printf(",\"load_cpu_us_per_pair\":%.3f,\"daemon_cpu_us_per_pair\":%.2f,", own * 1e6 / pairs,
	       other * 1e6 / pairs);
	codes_print(stdout, "statuses", &r->codes);
	printf(",\"commits\":%llu,\"failed\":%llu,\"repeats\":%llu,\"writes\":%llu}\n",
	       (unsigned long long)r->commits, (unsigned long long)r->failed,
	       (unsigned long long)stats.repeats, (unsigned long long)stats.writes);
}

int
main(int argc, char **argv)
{
	static struct run r;
	struct settings o = {
		.address = "127.0.0.1:9876",
		.topic = "bench",
		.seconds = 10,
		.warmup = 1,
		.in_flight = 256,
		.mode = 'n',
		.size = 1024,
	};
	double own, other;

	if (!parse(&o, argc, argv))
		return 2;
	if (!open_client(&r, &o))
		return 1;
	r.begin_ns = now_ns() + (int64_t)(o.warmup * 1e9);
	r.end_ns = r.begin_ns + (int64_t)(o.seconds * 1e9);
	own = cpu_own_s();
	other = cpu_of_s(o.pid);
	if (o.mode == 'b')
		one_by_one(&r);
	else if (o.mode == 'x')
		with_next(&r);
	else
		many(&r, o.in_flight);
	report(&r, &o, cpu_own_s() - own, cpu_of_s(o.pid) - other);
	(void)escrow_close(r.client, 5000); /* nothing is under way */
	free((void *)(uintptr_t)r.message.value);
	return r.failed ? 1 : 0;
}
