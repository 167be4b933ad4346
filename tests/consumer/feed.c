/*
 * feed.c -- publishes numbered messages as Escrow does: the same headers on every copy, and some
 * messages more than once.
 *
 *      feed --brokers B --topic T --partitions P --count N [--repeat PERCENT] [--rate PER_S]
 *
 * Message i goes to partition i % P with n = i / P + 1, and its value is "i".  A copy comes up
 * to 200 messages after the first.  Ends when Kafka has all of them.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <librdkafka/rdkafka.h>

#define DELAY 200

static int failed;
static long long begun_ms; /* when all transactions began */

static void
reported(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
	(void)rk;
	(void)opaque;
	failed += m->err != RD_KAFKA_RESP_ERR_NO_ERROR;
}

static void
publish(rd_kafka_t *rk, const char *topic, int partitions, int i)
{
	char value[16], id[64], seq[64];
	rd_kafka_resp_err_t err;

	snprintf(value, sizeof(value), "%d", i);
	snprintf(id, sizeof(id), "%012llx0000%016x-0", begun_ms, i + 1);
	snprintf(seq, sizeof(seq), "%032x:%d", 0xe5c, i / partitions + 1);
	while ((err = rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic),
					RD_KAFKA_V_PARTITION(i % partitions),
					RD_KAFKA_V_VALUE(value, strlen(value)),
					RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
					RD_KAFKA_V_HEADER("escrow-id", id, -1),
					RD_KAFKA_V_HEADER("escrow-seq", seq, -1),
					RD_KAFKA_V_END)) == RD_KAFKA_RESP_ERR__QUEUE_FULL)
		rd_kafka_poll(rk, 100);
	failed += err != RD_KAFKA_RESP_ERR_NO_ERROR;
}

int
main(int argc, char **argv)
{
	static const struct option names[] = {
		{ "brokers", 1, NULL, 'b' },    { "topic", 1, NULL, 't' },
		{ "partitions", 1, NULL, 'p' }, { "count", 1, NULL, 'n' },
		{ "repeat", 1, NULL, 'r' },     { "rate", 1, NULL, 's' },
		{ NULL, 0, NULL, 0 },
	};
	const char *brokers = "", *topic = "";
	int id, partitions = 1, count = 0, repeat = 0, rate = 0, waiting[DELAY] = { 0 };
	struct timespec begun, now;
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_t *rk;
	char text[256];

	while ((id = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (id) {
		case 'b':
			brokers = optarg;
			break;
		case 't':
			topic = optarg;
			break;
		case 'p':
			partitions = atoi(optarg);
			break;
		case 'n':
			count = atoi(optarg);
			break;
		case 'r':
			repeat = atoi(optarg);
			break;
		case 's':
			rate = atoi(optarg);
			break;
		default:
			return 2;
		}
	}
	rd_kafka_conf_set(conf, "bootstrap.servers", brokers, NULL, 0);
	rd_kafka_conf_set(conf, "linger.ms", "1", NULL, 0);
	/* More would reorder, on a Kafka that fails. */
	rd_kafka_conf_set(conf, "max.in.flight", "1", NULL, 0);
	rd_kafka_conf_set_dr_msg_cb(conf, reported);
	rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
	if (rk == NULL || partitions < 1) {
		fprintf(stderr, "feed: %s\n", text);
		return 2;
	}
	srandom(1);
	clock_gettime(CLOCK_REALTIME, &now);
	begun_ms = now.tv_sec * 1000LL + now.tv_nsec / 1000000;
	clock_gettime(CLOCK_MONOTONIC, &begun);
	for (int i = 0; i < count + DELAY; i++) {
		int *copy = &waiting[i % DELAY];

		if (i < count)
			publish(rk, topic, partitions, i);
		if (*copy)
			publish(rk, topic, partitions, *copy - 1);
		*copy = i < count && random() % 100 < repeat ? i + 1 : 0;
		rd_kafka_poll(rk, 0);
		while (rate > 0) {
			clock_gettime(CLOCK_MONOTONIC, &now);
			if ((double)i / rate <= (double)(now.tv_sec - begun.tv_sec) +
							(double)(now.tv_nsec - begun.tv_nsec) / 1e9)
				break;
			rd_kafka_poll(rk, 5);
		}
	}
	if (rd_kafka_flush(rk, 60000))
		failed++;
	rd_kafka_destroy(rk);
	if (failed)
		fprintf(stderr, "feed: %d messages were not taken\n", failed);
	return failed != 0;
}
