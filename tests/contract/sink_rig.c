/*
 * sink_rig.c -- mockd or the simulated Kafka behind a sink, and what it was told in the end.
 */
#include "contract/sink_rig.h"

#include <check.h>
#include <poll.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MS 20000

extern char **environ;

/* ---- the log, as text ---- */

static void
put(struct buf *out, const char *name, struct str s)
{
	if (s.p)
		buf_printf(out, " %s=%zu:", name, s.n);
	else
		buf_printf(out, " %s=null", name);
	for (size_t i = 0; i < s.n; i++) {
		uint8_t c = (uint8_t)s.p[i];

		if (c > 32 && c < 127)
			buf_u8(out, c);
		else
			buf_printf(out, "\\x%02x", c);
	}
}

static void
log_record(struct rig *g, const struct sink_record *r)
{
	struct buf *out = &g->log[r->partition];

	buf_printf(out, "ts=%llu", (unsigned long long)r->timestamp_ms);
	put(out, "key", r->key);
	put(out, "value", r->value);
	for (uint32_t i = 0; i < r->header_count; i++) {
		buf_printf(out, " [%.*s]", STR_ARG(r->headers[i].name));
		put(out, "h", r->headers[i].value);
	}
	buf_printf(out, "\n");
	g->appended++;
}

static void
on_append(void *arg, int64_t offset, const struct sink_record *r)
{
	(void)offset;
	log_record(arg, r);
}

/* Reads what is in Kafka, until WANT records have come. */
static void
read_kafka(struct rig *g, unsigned want)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(3);
	time_t end = time(NULL) + PATIENCE_MS / 1000;
	rd_kafka_t *rk;

	rd_kafka_conf_set(conf, "bootstrap.servers", g->bootstrap, NULL, 0);
	rd_kafka_conf_set(conf, "group.id", "t", NULL, 0);
	rd_kafka_conf_set(conf, "fetch.wait.max.ms", "5", NULL, 0);
	rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, NULL, 0);
	ck_assert_ptr_nonnull(rk);
	rd_kafka_poll_set_consumer(rk);
	for (int32_t p = 0; p < 3; p++)
		rd_kafka_topic_partition_list_add(list, g->topic, p)->offset = 0;
	ck_assert_int_eq(rd_kafka_assign(rk, list), 0);
	while (g->appended < want && time(NULL) < end) {
		rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, 200);
		struct sink_header headers[16];
		struct sink_record r = { 0 };
		rd_kafka_headers_t *hs;
		const void *value;
		const char *name;
		size_t n;

		if (!m)
			continue;
		if (!m->err) {
			r.partition = m->partition;
			r.key = str_from(m->key, m->key_len);
			r.value = str_from(m->payload, m->len);
			r.timestamp_ms = (uint64_t)rd_kafka_message_timestamp(m, NULL);
			r.headers = headers;
			if (!rd_kafka_message_headers(m, &hs))
				while (!rd_kafka_header_get_all(hs, r.header_count, &name, &value,
								&n))
					headers[r.header_count++] =
						(struct sink_header){ str_of(name),
								      str_from(value, n) };
			log_record(g, &r);
		}
		rd_kafka_message_destroy(m);
	}
	rd_kafka_topic_partition_list_destroy(list);
	rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
}

void
rig_read_log(struct rig *g, unsigned want)
{
	if (g->real)
		read_kafka(g, want);
	ck_assert_uint_eq(g->appended, want);
}

/* ---- mockd ---- */

void
rig_mock(struct rig *g, const char *command)
{
	char line[256];

	fprintf(g->to, "%s\n", command);
	ck_assert_ptr_nonnull(fgets(line, sizeof(line), g->from));
	ck_assert_str_eq(line, "ok\n");
}

static void
mock_start(struct rig *g)
{
	posix_spawn_file_actions_t actions;
	char *argv[] = { getenv("MOCKD"), NULL };
	int in[2], out[2];

	ck_assert_ptr_nonnull(argv[0]);
	ck_assert_int_eq(pipe(in), 0);
	ck_assert_int_eq(pipe(out), 0);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, in[0], 0);
	posix_spawn_file_actions_adddup2(&actions, out[1], 1);
	posix_spawn_file_actions_addclose(&actions, in[1]);
	posix_spawn_file_actions_addclose(&actions, out[0]);
	ck_assert_int_eq(posix_spawn(&g->pid, argv[0], &actions, NULL, argv, environ), 0);
	posix_spawn_file_actions_destroy(&actions);
	close(in[0]);
	close(out[1]);
	g->to = fdopen(in[1], "w");
	g->from = fdopen(out[0], "r");
	setvbuf(g->to, NULL, _IOLBF, 0);
	ck_assert_ptr_nonnull(fgets(g->bootstrap, sizeof(g->bootstrap), g->from));
	g->bootstrap[strcspn(g->bootstrap, "\n")] = '\0';
}

/* A real Kafka makes no topic that only a producer names. */
static void
kafka_topic(struct rig *g)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(g->topic, 3, 1, NULL, 0);
	rd_kafka_queue_t *queue;
	rd_kafka_event_t *e;
	rd_kafka_t *rk;

	rd_kafka_conf_set(conf, "bootstrap.servers", g->bootstrap, NULL, 0);
	rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, NULL, 0);
	ck_assert_ptr_nonnull(rk);
	queue = rd_kafka_queue_new(rk);
	rd_kafka_NewTopic_set_config(topic, "max.message.bytes", "77777");
	rd_kafka_CreateTopics(rk, &topic, 1, NULL, queue);
	e = rd_kafka_queue_poll(queue, PATIENCE_MS);
	ck_assert(e && !rd_kafka_event_error(e));
	rd_kafka_event_destroy(e);
	rd_kafka_NewTopic_destroy(topic);
	rd_kafka_queue_destroy(queue);
	rd_kafka_destroy(rk);
}

/* ---- the rig ---- */

struct rig *
rig_new(bool real, const char *property, const char *value)
{
	struct rig *g = mem_alloc(sizeof(*g));
	char why[512] = "";
	int err;

	g->real = real;
	snprintf(g->topic, sizeof(g->topic), "sink-%d-%ld", (int)getpid(), (long)time(NULL));
	if (!real) {
		g->sim = sink_sim_new(1);
		sink_sim_set(g->sim, &(struct sink_sim_knobs){ .latency_min_ns = NS_PER_MS,
							       .latency_max_ns = 9 * NS_PER_MS });
		sink_sim_watch(g->sim, on_append, g);
		sink_sim_topic(g->sim, g->topic, 3, 0);
		g->sink = sink_sim_sink(g->sim);
		return g;
	}
	if (getenv("ESCROW_TEST_KAFKA")) {
		snprintf(g->bootstrap, sizeof(g->bootstrap), "%s", getenv("ESCROW_TEST_KAFKA"));
		kafka_topic(g);
	} else {
		char command[128];

		mock_start(g);
		snprintf(command, sizeof(command), "topic %s 3", g->topic);
		rig_mock(g, command);
	}
	{
		struct sink_property properties[] = {
			{ "bootstrap.servers", g->bootstrap },
			{ "max.in.flight", "1" }, /* the mock loses messages with more */
			{ "socket.timeout.ms", "1000" },
			{ property ? property : "client.id", value ? value : "test" },
		};

		err = sink_real_open(properties, ARRAY_LEN(properties), why, sizeof(why), &g->sink);
		ck_assert_msg(err == 0, "%s", why);
	}
	return g;
}

void
rig_free(struct rig *g)
{
	g->sink->ops->free(g->sink);
	sink_sim_free(g->sim);
	if (g->pid) {
		fclose(g->to);
		fclose(g->from);
		waitpid(g->pid, NULL, 0);
	}
	for (size_t i = 0; i < ARRAY_LEN(g->log); i++)
		buf_free(&g->log[i]);
	mem_free(g);
}

static int64_t
real_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void
note_event(struct rig *g, const struct sink_event *e)
{
	g->kinds[e->kind]++;
	if (e->kind == SINK_REPORT) {
		ck_assert_uint_lt(e->token, TOKENS);
		g->reports[e->token] = *e;
		g->times[e->token]++;
		g->reported++;
	}
	if (e->kind == SINK_TOPIC) {
		ck_assert(str_eq(e->topic, str_of(g->topic)) || str_starts(e->topic, STR("other")));
		g->topic_news = *e;
	}
	if (e->kind == SINK_FATAL)
		g->fatal = e->code;
	if (e->kind == SINK_CLUSTER)
		snprintf(g->cluster, sizeof(g->cluster), "%.*s", STR_ARG(e->text));
}

bool
rig_await(struct rig *g, enum sink_event_kind kind, unsigned times)
{
	int64_t end = real_ms() + PATIENCE_MS;
	struct sink_event e;

	for (;;) {
		g->sink->ops->flush(g->sink);
		while (g->sink->ops->next(g->sink, &e))
			note_event(g, &e);
		if (g->kinds[kind] >= times)
			return true;
		if (g->real) {
			struct pollfd p = { .fd = g->sink->ops->fd(g->sink), .events = POLLIN };

			if (real_ms() >= end)
				return false;
			poll(&p, 1, (int)(end - real_ms()));
			ck_assert_msg(p.revents == 0 || p.revents == POLLIN, "%x", p.revents);
		} else {
			if (sink_sim_next_ns(g->sim) == TIME_NEVER)
				return false;
			g->now_ns = max_i64(g->now_ns, sink_sim_next_ns(g->sim));
			sink_sim_advance(g->sim, g->now_ns);
		}
	}
}

struct sink_record
rig_record(struct rig *g, int32_t partition, const char *value)
{
	return (struct sink_record){ .topic = str_of(g->topic),
				     .partition = partition,
				     .value = str_of(value),
				     .timestamp_ms = 1700000000123 };
}

int
rig_publish(struct rig *g, int32_t partition, uint64_t token)
{
	struct sink_record r;
	char value[32];

	snprintf(value, sizeof(value), "m%llu", (unsigned long long)token);
	r = rig_record(g, partition, value);
	return g->sink->ops->publish(g->sink, &r, token);
}

void
rig_knobs(struct rig *g, struct sink_sim_knobs knobs)
{
	knobs.latency_min_ns = NS_PER_MS;
	knobs.latency_max_ns = 9 * NS_PER_MS;
	sink_sim_set(g->sim, &knobs);
}
