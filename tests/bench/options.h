/*
 * options.h -- what a run of the load does, from the command line.
 */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#define POOL       (4u << 20) /* bytes that bodies are cut from */
#define TOPICS_MAX 16

struct options {
	const char *address;
	const char *group;
	const char *topics[TOPICS_MAX];
	const char *log; /* a file; NULL: none */
	uint32_t topic_count;
	uint32_t producers;
	uint32_t connections;
	uint32_t body;
	uint32_t keys;
	uint64_t log_every;
	uint64_t pairs;  /* stop after so many; 0: by time */
	uint64_t halves; /* begin no more than so many; 0: no limit */
	double seconds;
	double warmup;
	double rate;
	double commit; /* -1: what is not rolled back */
	double rollback;
	double silent;
	double timeout;
	int pid; /* the daemon's, for its CPU */
	bool answer_checks;
	bool answer_unknown; /* whatever was meant */
	bool listen;         /* after the last half-send */
	bool reconnect;
	bool piggyback;
	bool oneway;
	bool trace;
};

/* False: something is wrong, or help was asked for; the usage was printed. */
bool options_parse(struct options *ret_options, int argc, char **argv);

#endif /* BENCH_OPTIONS_H */
