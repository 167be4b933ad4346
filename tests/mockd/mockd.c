/*
 * mockd.c -- librdkafka's mock cluster as a process of its own.
 *
 * Tests need a Kafka that starts in milliseconds and misbehaves on command; it must outlive the
 * broker that a test kills, so it is not in the broker's process.  It keeps everything in
 * memory: when it ends, its topics are gone, and another mockd is another cluster.
 *
 *     mockd [--brokers N]
 *
 * The first line on stdout is the bootstrap address.  Then it reads commands from stdin, one
 * a line, and answers each with one line: `ok`, or `error` and why.  It ends when stdin ends or
 * its parent dies.  README.md lists the commands.
 */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#define WORDS_MAX 64

/*
 * The mock names the members of a consumer group by their addresses.  Who is thrown out while it is
 * frozen comes back under the name that it had, and malloc has given that address to
 * another member by then: the mock takes one for the other, and ends by an assertion.  So what has
 * about the size of a member is really freed only when so much else of that size was.
 */
#define KEPT      (1u << 17)
#define KEPT_FROM 56
#define KEPT_TO   136

void __libc_free(void *p);

void
free(void *p)
{
	static void *_Atomic kept[KEPT];
	static atomic_uint count;
	size_t size = p ? malloc_usable_size(p) : 0;

	if (size >= KEPT_FROM && size <= KEPT_TO)
		p = atomic_exchange(&kept[atomic_fetch_add(&count, 1) % KEPT], p);
	__libc_free(p);
}

static rd_kafka_mock_cluster_t *cluster;
static int brokers = 1;

static int
number(const char *text, int min, int max, int *ret)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(text, &end, 10);
	if (errno || end == text || *end || n < min || n > max)
		return -1;
	*ret = (int)n;
	return 0;
}

/* A number, or `all`, which is 0. */
static int
broker(const char *text, int *ret)
{
	if (strcmp(text, "all") == 0) {
		*ret = 0;
		return 0;
	}
	return number(text, 1, brokers, ret);
}

static const char *
told(rd_kafka_resp_err_t err)
{
	return err ? rd_kafka_err2name(err) : NULL;
}

/* Each command returns NULL, or why not.  WORDS[0] is the command itself. */

static const char *
do_topic(char **words, int count)
{
	int partitions;

	if (count != 3 || number(words[2], 1, 10000, &partitions))
		return "topic NAME PARTITIONS";
	return told(rd_kafka_mock_topic_create(cluster, words[1], partitions, 1));
}

static const char *
do_topic_error(char **words, int count)
{
	int code;

	if (count != 3 || number(words[2], -200, 200, &code))
		return "topic-error NAME CODE";
	rd_kafka_mock_topic_set_error(cluster, words[1], (rd_kafka_resp_err_t)code);
	return NULL;
}

static const char *
do_errors(char **words, int count)
{
	rd_kafka_resp_err_t errors[WORDS_MAX];
	int api, code;

	if (count < 3 || number(words[1], 0, 100, &api))
		return "errors APIKEY CODE...";
	for (int i = 2; i < count; i++) {
		if (number(words[i], -200, 200, &code))
			return "errors APIKEY CODE...";
		errors[i - 2] = (rd_kafka_resp_err_t)code;
	}
	rd_kafka_mock_push_request_errors_array(cluster, (int16_t)api, (size_t)count - 2, errors);
	return NULL;
}

static const char *
do_rtts(char **words, int count)
{
	int id, api, code, ms;
	rd_kafka_resp_err_t err;

	if (count < 5 || count % 2 == 0 || number(words[1], 1, brokers, &id) ||
	    number(words[2], 0, 100, &api))
		return "rtts BROKER APIKEY {CODE MS}...";
	for (int i = 3; i < count; i += 2) {
		if (number(words[i], -200, 200, &code) || number(words[i + 1], 0, 3600000, &ms))
			return "rtts BROKER APIKEY {CODE MS}...";
		err = rd_kafka_mock_broker_push_request_error_rtts(cluster, id, (int16_t)api, 1,
								   code, ms);
		if (err)
			return told(err);
	}
	return NULL;
}

static const char *
do_clear(char **words, int count)
{
	int api;

	if (count != 2 || number(words[1], 0, 100, &api))
		return "clear APIKEY";
	rd_kafka_mock_clear_request_errors(cluster, (int16_t)api);
	return NULL;
}

static const char *
each_broker(int id, rd_kafka_resp_err_t (*fn)(rd_kafka_mock_cluster_t *, int32_t))
{
	rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR_NO_ERROR;

	for (int i = id ? id : 1; i <= (id ? id : brokers) && !err; i++)
		err = fn(cluster, i);
	return told(err);
}

static const char *
do_down(char **words, int count)
{
	int id;

	if (count != 2 || broker(words[1], &id))
		return "down BROKER|all";
	return each_broker(id, rd_kafka_mock_broker_set_down);
}

static const char *
do_up(char **words, int count)
{
	int id;

	if (count != 2 || broker(words[1], &id))
		return "up BROKER|all";
	return each_broker(id, rd_kafka_mock_broker_set_up);
}

static const char *
do_rtt(char **words, int count)
{
	rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR_NO_ERROR;
	int id, ms;

	if (count != 3 || broker(words[1], &id) || number(words[2], 0, 3600000, &ms))
		return "rtt BROKER|all MS";
	for (int i = id ? id : 1; i <= (id ? id : brokers) && !err; i++)
		err = rd_kafka_mock_broker_set_rtt(cluster, i, ms);
	return told(err);
}

static const char *
do_leader(char **words, int count)
{
	int partition, id;

	if (count != 4 || number(words[2], 0, 9999, &partition) ||
	    number(words[3], -1, brokers, &id))
		return "leader TOPIC PARTITION BROKER";
	return told(rd_kafka_mock_partition_set_leader(cluster, words[1], partition, id));
}

static const struct {
	const char *name;
	const char *(*fn)(char **words, int count);
} commands[] = {
	{ "topic", do_topic },   { "topic-error", do_topic_error },
	{ "errors", do_errors }, { "rtts", do_rtts },
	{ "clear", do_clear },   { "down", do_down },
	{ "up", do_up },         { "rtt", do_rtt },
	{ "leader", do_leader },
};

static const char *
run(char *line)
{
	char *words[WORDS_MAX];
	char *save = NULL;
	int count = 0;

	for (char *w = strtok_r(line, " \t\r\n", &save); w; w = strtok_r(NULL, " \t\r\n", &save)) {
		if (count == WORDS_MAX)
			return "too many words";
		words[count++] = w;
	}
	if (count == 0)
		return "a command is missing";
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(words[0], commands[i].name) == 0)
			return commands[i].fn(words, count);
	return "no such command";
}

int
main(int argc, char **argv)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	pid_t parent = getppid();
	char errstr[256];
	char *line = NULL;
	size_t cap = 0;
	rd_kafka_t *rk;

	/* A test that crashes must not leave us behind. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		return 1;
	if (argc == 3 && strcmp(argv[1], "--brokers") == 0 &&
	    number(argv[2], 1, 100, &brokers) == 0)
		argc = 1;
	if (argc != 1) {
		fprintf(stderr, "usage: mockd [--brokers N]\n");
		return 2;
	}
	rd_kafka_conf_set(conf, "log_level", "3", NULL, 0);
	rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, errstr, sizeof(errstr));
	if (!rk) {
		fprintf(stderr, "mockd: %s\n", errstr);
		return 1;
	}
	cluster = rd_kafka_mock_cluster_new(rk, brokers);
	if (!cluster) {
		fprintf(stderr, "mockd: no cluster\n");
		return 1;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("%s\n", rd_kafka_mock_cluster_bootstraps(cluster));
	while (getline(&line, &cap, stdin) > 0) {
		const char *why = run(line);

		if (why)
			printf("error %s\n", why);
		else
			printf("ok\n");
	}
	/* Nothing of it outlives us, so nothing is taken down in order. */
	fflush(stdout);
	_exit(0);
}
