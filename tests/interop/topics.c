/*
 * topics.c -- what the tests ask of Kafka itself, without waiting for a JVM.
 *
 *	topics create BOOTSTRAP name:partitions[:config=value...] ...
 *	topics delete BOOTSTRAP name ...
 *	topics ends   BOOTSTRAP name ...     one JSON line a partition: low and high offset
 *	topics dump [--hash] BOOTSTRAP name ...   one JSON line a record, from the beginning up
 *	                                          to the end offsets found at the start
 *
 * Key, value and header values are bytes, printed in base64; null is null.  A header is a
 * pair, in the record's order.  --hash prints "crc" (CRC-32) and "value_bytes" in place of the
 * value, for a million records.
 *
 * create() waits until every partition has a leader, since a topic is usable only then.
 * Exit status 0; 1 with a sentence on stderr.
 */
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

#define TIMEOUT_MS 30000

static void __attribute__((noreturn, format(printf, 1, 2))) fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("topics: ", stderr);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

static void
set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
	char text[512];

	if (rd_kafka_conf_set(conf, name, value, text, sizeof(text)) != RD_KAFKA_CONF_OK)
		fail("%s", text);
}

static rd_kafka_t *
connect_to(rd_kafka_type_t type, const char *bootstrap)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char text[512];
	rd_kafka_t *rk;

	set(conf, "bootstrap.servers", bootstrap);
	set(conf, "log_level", "3");
	if (type == RD_KAFKA_CONSUMER) {
		set(conf, "group.id", "escrow-tests-topics");
		set(conf, "enable.auto.commit", "false");
		set(conf, "enable.partition.eof", "true");
		set(conf, "fetch.wait.max.ms", "5");
		set(conf, "check.crcs", "true");
		set(conf, "fetch.message.max.bytes", "16777216");
	}
	rk = rd_kafka_new(type, conf, text, sizeof(text));
	if (!rk)
		fail("%s", text);
	return rk;
}

static int64_t
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* How many partitions NAME has, all of them with a leader; 0 when not (yet) so. */
static int
partitions_of(rd_kafka_t *rk, const char *name)
{
	rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, name, NULL);
	const struct rd_kafka_metadata *m = NULL;
	int count = 0;

	if (!topic)
		fail("%s: no such topic name", name);
	if (rd_kafka_metadata(rk, 0, topic, &m, TIMEOUT_MS) == RD_KAFKA_RESP_ERR_NO_ERROR) {
		if (m->topic_cnt == 1 && !m->topics[0].err) {
			count = m->topics[0].partition_cnt;
			for (int i = 0; i < m->topics[0].partition_cnt; i++)
				if (m->topics[0].partitions[i].err ||
				    m->topics[0].partitions[i].leader < 0)
					count = 0;
		}
		rd_kafka_metadata_destroy(m);
	}
	rd_kafka_topic_destroy(topic);
	return count;
}

/* Waits for the one result event of an admin request. */
static rd_kafka_event_t *
result_of(rd_kafka_queue_t *queue)
{
	rd_kafka_event_t *event = rd_kafka_queue_poll(queue, TIMEOUT_MS);

	if (!event)
		fail("no answer from Kafka");
	if (rd_kafka_event_error(event))
		fail("%s", rd_kafka_event_error_string(event));
	return event;
}

static rd_kafka_NewTopic_t *
parse_topic(char *arg, int *ret_count)
{
	char *save = NULL;
	char *name = strtok_r(arg, ":", &save);
	char *count = strtok_r(NULL, ":", &save);
	char *config;
	char text[512];
	rd_kafka_NewTopic_t *topic;

	*ret_count = count ? atoi(count) : 0;
	if (!name || *ret_count < 1)
		fail("say name:partitions");
	topic = rd_kafka_NewTopic_new(name, *ret_count, 1, text, sizeof(text));
	if (!topic)
		fail("%s: %s", name, text);
	while ((config = strtok_r(NULL, ":", &save))) {
		char *value = strchr(config, '=');

		if (!value)
			fail("%s: no value", config);
		*value++ = '\0';
		rd_kafka_NewTopic_set_config(topic, config, value);
	}
	return topic;
}

static void
create(const char *bootstrap, int n, char **args)
{
	rd_kafka_t *rk = connect_to(RD_KAFKA_PRODUCER, bootstrap);
	rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);

	for (int i = 0; i < n; i++) {
		int count;
		rd_kafka_NewTopic_t *topic = parse_topic(args[i], &count);
		rd_kafka_event_t *event;
		size_t results;
		const rd_kafka_topic_result_t **result;
		int64_t deadline = now_ms() + TIMEOUT_MS;

		rd_kafka_CreateTopics(rk, &topic, 1, NULL, queue);
		event = result_of(queue);
		result = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(
								     event),
							     &results);
		for (size_t r = 0; r < results; r++) {
			rd_kafka_resp_err_t err = rd_kafka_topic_result_error(result[r]);

			if (err && err != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
				fail("%s: %s", args[i],
				     rd_kafka_topic_result_error_string(result[r]));
		}
		rd_kafka_event_destroy(event);
		rd_kafka_NewTopic_destroy(topic);
		while (partitions_of(rk, args[i]) < count)
			if (now_ms() > deadline)
				fail("%s: no leader", args[i]);
	}
	rd_kafka_queue_destroy(queue);
	rd_kafka_destroy(rk);
}

static void delete (const char *bootstrap, int n, char **names)
{
	rd_kafka_t *rk = connect_to(RD_KAFKA_PRODUCER, bootstrap);
	rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);

	for (int i = 0; i < n; i++) {
		rd_kafka_DeleteTopic_t *topic = rd_kafka_DeleteTopic_new(names[i]);
		rd_kafka_event_t *event;
		size_t results;
		const rd_kafka_topic_result_t **result;
		int64_t deadline = now_ms() + TIMEOUT_MS;

		rd_kafka_DeleteTopics(rk, &topic, 1, NULL, queue);
		event = result_of(queue);
		result = rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(
								     event),
							     &results);
		for (size_t r = 0; r < results; r++)
			if (rd_kafka_topic_result_error(result[r]))
				fail("%s: %s", names[i],
				     rd_kafka_topic_result_error_string(result[r]));
		rd_kafka_event_destroy(event);
		rd_kafka_DeleteTopic_destroy(topic);
		while (partitions_of(rk, names[i]))
			if (now_ms() > deadline)
				fail("%s: still there", names[i]);
	}
	rd_kafka_queue_destroy(queue);
	rd_kafka_destroy(rk);
}

/* A broker that has just started leads nothing yet: it is asked again for a while. */
static void
watermarks(rd_kafka_t *rk, const char *topic, int partition, int64_t *ret_low, int64_t *ret_high)
{
	int64_t deadline = now_ms() + TIMEOUT_MS;
	rd_kafka_resp_err_t err;

	while ((err = rd_kafka_query_watermark_offsets(rk, topic, partition, ret_low, ret_high,
						       TIMEOUT_MS)) &&
	       (err == RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION ||
		err == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE) &&
	       now_ms() < deadline)
		rd_kafka_poll(rk, 100);
	if (err)
		fail("%s/%d: %s", topic, partition, rd_kafka_err2str(err));
}

/* The partitions of the named topics, each with its end as offset. */
static rd_kafka_topic_partition_list_t *
ends_of(rd_kafka_t *rk, int n, char **names, bool print)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);

	for (int i = 0; i < n; i++) {
		int64_t deadline = now_ms() + TIMEOUT_MS;
		int count;

		while (!(count = partitions_of(rk, names[i])) && now_ms() < deadline)
			rd_kafka_poll(rk, 100);
		if (!count)
			fail("%s: no such topic, or nobody leads it", names[i]);
		for (int p = 0; p < count; p++) {
			int64_t low = 0;
			int64_t high = 0;

			watermarks(rk, names[i], p, &low, &high);
			rd_kafka_topic_partition_list_add(list, names[i], p)->offset = high;
			if (print)
				printf("{\"topic\":\"%s\",\"partition\":%d,\"low\":%" PRId64
				       ",\"high\":%" PRId64 "}\n",
				       names[i], p, low, high);
			if (low == high)
				rd_kafka_topic_partition_list_del(list, names[i], p);
		}
	}
	return list;
}

static void
print_base64(const void *data, size_t n)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const uint8_t *p = data;

	if (!data) {
		fputs("null", stdout);
		return;
	}
	putchar_unlocked('"');
	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = (uint32_t)p[i] << 16;

		if (i + 1 < n)
			v |= (uint32_t)p[i + 1] << 8;
		if (i + 2 < n)
			v |= p[i + 2];
		putchar_unlocked(digits[v >> 18]);
		putchar_unlocked(digits[v >> 12 & 63]);
		putchar_unlocked(i + 1 < n ? digits[v >> 6 & 63] : '=');
		putchar_unlocked(i + 2 < n ? digits[v & 63] : '=');
	}
	putchar_unlocked('"');
}

static void
print_string(const char *s)
{
	putchar_unlocked('"');
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			printf("\\%c", *s);
		else if ((unsigned char)*s < 0x20)
			printf("\\u%04x", (unsigned)*s);
		else
			putchar_unlocked(*s);
	}
	putchar_unlocked('"');
}

static void
print_record(const rd_kafka_message_t *m, bool hash)
{
	rd_kafka_headers_t *headers;
	const char *name;
	const void *value;
	size_t size;

	printf("{\"topic\":\"%s\",\"partition\":%d,\"offset\":%" PRId64 ",\"timestamp\":%" PRId64
	       ",\"key\":",
	       rd_kafka_topic_name(m->rkt), m->partition, m->offset,
	       rd_kafka_message_timestamp(m, NULL));
	print_base64(m->key, m->key_len);
	if (hash) {
		printf(",\"value_bytes\":%zu,\"crc\":%lu", m->len,
		       crc32(0, m->payload ? m->payload : (const void *)"", (unsigned)m->len));
	} else {
		fputs(",\"value\":", stdout);
		print_base64(m->payload, m->len);
	}
	fputs(",\"headers\":[", stdout);
	if (rd_kafka_message_headers(m, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR)
		for (size_t i = 0; !rd_kafka_header_get_all(headers, i, &name, &value, &size);
		     i++) {
			fputs(i ? ",[" : "[", stdout);
			print_string(name);
			putchar_unlocked(',');
			print_base64(value, size);
			putchar_unlocked(']');
		}
	puts("]}");
}

static void
dump(const char *bootstrap, int n, char **names, bool hash)
{
	rd_kafka_t *rk = connect_to(RD_KAFKA_CONSUMER, bootstrap);
	rd_kafka_topic_partition_list_t *ends;
	rd_kafka_topic_partition_list_t *from;
	int open;
	int64_t deadline = now_ms() + TIMEOUT_MS;

	rd_kafka_poll_set_consumer(rk);
	ends = ends_of(rk, n, names, false);
	from = rd_kafka_topic_partition_list_copy(ends);
	for (int i = 0; i < from->cnt; i++)
		from->elems[i].offset = RD_KAFKA_OFFSET_BEGINNING;
	rd_kafka_assign(rk, from);
	for (open = ends->cnt; open;) {
		rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, 1000);
		rd_kafka_topic_partition_t *end;

		if (!m) {
			if (now_ms() > deadline)
				fail("Kafka stopped answering, %d partitions are not read to the "
				     "end",
				     open);
			continue;
		}
		if (m->err && m->err != RD_KAFKA_RESP_ERR__PARTITION_EOF) {
			if (now_ms() > deadline)
				fail("%s", rd_kafka_message_errstr(m));
			rd_kafka_message_destroy(m);
			continue;
		}
		deadline = now_ms() + TIMEOUT_MS;
		end = rd_kafka_topic_partition_list_find(ends, rd_kafka_topic_name(m->rkt),
							 m->partition);
		if (!m->err && m->offset < end->offset)
			print_record(m, hash);
		if (end->offset >= 0 && m->offset + !m->err >= end->offset) {
			end->offset = -1;
			open--;
		}
		rd_kafka_message_destroy(m);
	}
	rd_kafka_topic_partition_list_destroy(from);
	rd_kafka_topic_partition_list_destroy(ends);
	rd_kafka_assign(rk, NULL);
	rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
}

int
main(int argc, char **argv)
{
	bool hash = argc > 2 && !strcmp(argv[2], "--hash");
	const char *verb = argc > 1 ? argv[1] : "";

	if (hash) {
		argc--;
		argv++;
	}
	if (argc < 4)
		fail("usage: topics create|delete|ends|dump [--hash] BOOTSTRAP TOPIC...");
	if (!strcmp(verb, "create")) {
		create(argv[2], argc - 3, argv + 3);
	} else if (!strcmp(verb, "delete")) {
		delete (argv[2], argc - 3, argv + 3);
	} else if (!strcmp(verb, "ends")) {
		rd_kafka_t *rk = connect_to(RD_KAFKA_CONSUMER, argv[2]);

		rd_kafka_topic_partition_list_destroy(ends_of(rk, argc - 3, argv + 3, true));
		rd_kafka_destroy(rk);
	} else if (!strcmp(verb, "dump")) {
		dump(argv[2], argc - 3, argv + 3, hash);
	} else {
		fail("%s: no such verb", verb);
	}
	if (fflush(stdout) || ferror(stdout))
		fail("the output could not be written");
	return 0;
}
