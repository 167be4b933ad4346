/*
 * options.c -- the load's options: one row each, for the parser and for the person who asks.
 */
#include "options.h"

#include <getopt.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PRODUCERS_MAX (1u << 16)

enum kind { HELP, FLAG, TOPIC, TEXT, INT, U32, U64, REAL };

#define AT(member) offsetof(struct options, member)

static const struct row {
	const char *name, *arg;
	enum kind kind;
	size_t at;
	const char *help, *otherwise;
} rows[] = {
	{ "address", "IP:PORT", TEXT, AT(address), "of the daemon", "127.0.0.1:9876" },
	{ "topic", "NAME", TOPIC, 0, "may be repeated", "bench" },
	{ "group", "NAME", TEXT, AT(group), "producer group", "bench" },
	{ "producers", "N", U32, AT(producers), "each a closed loop", "16" },
	{ "connections", "N", U32, AT(connections), "that they share", "as many" },
	{ "body", "N", U32, AT(body), "bytes of a message", "1024" },
	{ "seconds", "S", REAL, AT(seconds), "measured", "10" },
	{ "warmup", "S", REAL, AT(warmup), "before it", "1" },
	{ "pairs", "N", U64, AT(pairs), "stop after so many", "by time" },
	{ "halves", "N", U64, AT(halves), "the same, counting half-sends", "" },
	{ "listen", "", FLAG, AT(listen), "... but stay, and answer checks, until the end", "" },
	{ "rate", "N", REAL, AT(rate), "half-sends per second, all together", "flat out" },
	{ "commit-ratio", "R", REAL, AT(commit), "of what is decided", "1" },
	{ "rollback-ratio", "R", REAL, AT(rollback), "the rest of it", "0" },
	{ "silent-ratio", "R", REAL, AT(silent), "share of half-sends that get no END", "0" },
	{ "answer-checks", "", FLAG, AT(answer_checks), "with what was meant", "ignored" },
	{ "answer-unknown", "", FLAG, AT(answer_unknown), "answer checks with unknown", "" },
	{ "keys", "N", U32, AT(keys), "KEYS: of so many, shared by all producers", "none" },
	{ "log", "FILE", TEXT, AT(log), "JSON lines: what was answered, for the checker", "" },
	{ "log-every", "N", U64, AT(log_every), "of every N-th transaction only", "1" },
	{ "reconnect", "", FLAG, AT(reconnect), "go on when the daemon goes, say it again", "" },
	{ "timeout", "S", REAL, AT(timeout), "without an answer: connect anew", "10" },
	{ "piggyback", "", FLAG, AT(piggyback), "END rides with the next half-send", "" },
	{ "oneway", "", FLAG, AT(oneway), "END is not answered, as from a Java client", "" },
	{ "pid", "N", INT, AT(pid), "of the daemon, to tell its CPU", "" },
	{ "trace", "", FLAG, AT(trace), "every frame, on stderr", "" },
	{ "help", "", HELP, 0, "this", "" },
};

#define ROWS (sizeof(rows) / sizeof(rows[0]))

static void
usage(void)
{
	fputs("load [options]: half-sends and decides messages over RocketMQ's remoting protocol\n",
	      stderr);
	for (size_t i = 0; i < ROWS; i++)
		fprintf(stderr, "  --%-15s%-9s%-48s%s\n", rows[i].name, rows[i].arg, rows[i].help,
			rows[i].otherwise);
	fputs("Prints one line of JSON.  Ends with 1 when something was not as it should be.\n",
	      stderr);
}

static bool
take(struct options *o, const struct row *row, char *text)
{
	char *at = (char *)o + row->at;

	switch (row->kind) {
	case HELP:
		return false;
	case FLAG:
		*(bool *)at = true;
		return true;
	case TOPIC:
		if (o->topic_count == TOPICS_MAX)
			return false;
		o->topics[o->topic_count++] = text;
		return true;
	case TEXT:
		*(const char **)(void *)at = text;
		return true;
	case INT:
		*(int *)(void *)at = atoi(text);
		return true;
	case U32:
		*(uint32_t *)(void *)at = (uint32_t)strtoul(text, NULL, 10);
		return true;
	case U64:
		*(uint64_t *)(void *)at = strtoull(text, NULL, 10);
		return true;
	case REAL:
		*(double *)(void *)at = strtod(text, NULL);
		return true;
	}
	return false;
}

static bool
parse(struct options *o, int argc, char **argv)
{
	struct option names[ROWS + 1] = { { NULL, 0, NULL, 0 } };
	int id;

	for (size_t i = 0; i < ROWS; i++)
		names[i] = (struct option){ rows[i].name, rows[i].arg[0] != '\0', NULL, (int)i };
	while ((id = getopt_long(argc, argv, "", names, NULL)) != -1)
		if (id == '?' || !take(o, &rows[id], optarg))
			return false;
	return optind == argc;
}

/* What follows from the others. */
static void
complete(struct options *o)
{
	if (o->topic_count == 0)
		o->topics[o->topic_count++] = "bench";
	if (o->log_every == 0)
		o->log_every = 1;
	if (o->connections == 0 || o->connections > o->producers)
		o->connections = o->producers;
	if (o->commit >= 0 && o->rollback == 0)
		o->rollback = 1 - o->commit;
	if (o->pairs > 0 || o->halves > 0)
		o->warmup = 0;
	o->answer_checks |= o->answer_unknown;
}

static bool
possible(const struct options *o)
{
	double decided = o->commit + o->rollback;

	return o->producers > 0 && o->producers <= PRODUCERS_MAX && o->body < POOL &&
	       strlen(o->group) < 256 && (o->commit < 0 || (decided > 0.999 && decided < 1.001));
}

bool
options_parse(struct options *o, int argc, char **argv)
{
	bool good;

	*o = (struct options){
		.address = "127.0.0.1:9876",
		.group = "bench",
		.producers = 16,
		.body = 1024,
		.log_every = 1,
		.seconds = 10,
		.warmup = 1,
		.commit = -1,
		.timeout = 10,
	};
	good = parse(o, argc, argv);
	complete(o);
	good = good && possible(o);
	if (!good)
		usage();
	return good;
}
