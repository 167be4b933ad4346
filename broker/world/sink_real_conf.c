/*
 * sink_real_conf.c -- librdkafka's configuration: ours, then people's, but for what is denied.
 *
 * `kafka.<property>` passes through unchecked, so that a newer librdkafka brings its
 * features without a change here.  Denied is what the promises rest on, what would replace
 * our own wiring, and what loads code into the daemon.
 */
#include "world/sink_real.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/err.h"

#ifndef ESCROW_VERSION
#define ESCROW_VERSION "0"
#endif

static const char owned[] = "the order and the durability of what is published rest on it";
static const char wired[] = "it is how the daemon hears from librdkafka";
static const char loads[] = "it would load a shared object into the daemon";
static const char mocks[] = "it silently replaces the cluster; use --demo";

static const struct {
	const char *name;
	const char *why;
} denied[] = {
	{ "enable.idempotence", owned },
	{ "acks", owned },
	{ "request.required.acks", owned },
	{ "transactional.id", owned },
	{ "enable.gapless.guarantee", owned },
	{ "message.timeout.ms",
	  "a message that times out would leave a gap; the journal retries for ever" },
	{ "delivery.timeout.ms",
	  "a message that times out would leave a gap; the journal retries for ever" },
	{ "queuing.strategy", owned },
	{ "msg_order_cmp", owned },
	{ "partitioner", "the partition is chosen at half-send and journaled" },
	{ "delivery.report.only.error", wired },
	{ "log.queue", wired },
	{ "enabled_events", wired },
	{ "opaque", wired },
	{ "interceptors", wired },
	{ "default_topic_conf", wired },
	{ "ssl_engine_callback_data", wired },
	{ "allow.auto.create.topics", "a misspelt topic must be refused, not made" },
	{ "plugin.library.paths", loads },
	{ "ssl.engine.location", loads },
	{ "client.software.name", "it tells brokers who is calling" },
	{ "client.software.version", "it tells brokers who is calling" },
};

static bool
ends(const char *s, const char *tail)
{
	size_t n = strlen(s);
	size_t m = strlen(tail);

	return n >= m && strcmp(s + n - m, tail) == 0;
}

const char *
sink_real_denied(const char *property)
{
	for (size_t i = 0; i < ARRAY_LEN(denied); i++)
		if (strcmp(property, denied[i].name) == 0)
			return denied[i].why;
	if (ends(property, "_cb"))
		return wired;
	if (strncmp(property, "test.mock.", 10) == 0)
		return mocks;
	if (strncmp(property, "builtin.", 8) == 0)
		return "it is what librdkafka was built with, not a setting";
	if (strncmp(property, "ut_", 3) == 0)
		return "it belongs to librdkafka's own tests";
	return NULL;
}

/* People's may replace those of the second half; the first half is denied to them. */
static const struct sink_property ours[] = {
	{ "enable.idempotence", "true" },
	{ "acks", "all" },
	{ "enable.gapless.guarantee", "true" },
	{ "message.timeout.ms", "0" },
	{ "log.queue", "true" },
	{ "allow.auto.create.topics", "false" },
	{ "client.software.name", "escrow" },
	{ "client.software.version", ESCROW_VERSION },

	{ "client.id", "escrow" },
	{ "max.in.flight", "5" },
	{ "linger.ms", "0.5" },
	{ "socket.timeout.ms", "10000" },
	{ "socket.connection.setup.timeout.ms", "5000" },
	{ "reconnect.backoff.max.ms", "2000" },
	{ "socket.keepalive.enable", "true" },
	{ "socket.nagle.disable", "true" },
	{ "statistics.interval.ms", "5000" },
};

int
sink_conf_build(const struct sink_property *properties, size_t count, char *ret_why,
		size_t why_size, rd_kafka_conf_t **ret_conf)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char errstr[384];

	for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
		if (rd_kafka_conf_set(conf, ours[i].name, ours[i].value, errstr, sizeof(errstr))) {
			snprintf(ret_why, why_size, "this librdkafka does not take %s=%s: %s",
				 ours[i].name, ours[i].value, errstr);
			goto fail;
		}
	}
	for (size_t i = 0; i < count; i++) {
		const char *why = sink_real_denied(properties[i].name);

		if (why) {
			snprintf(ret_why, why_size, "kafka.%s may not be set: %s",
				 properties[i].name, why);
			goto fail;
		}
		if (rd_kafka_conf_set(conf, properties[i].name, properties[i].value, errstr,
				      sizeof(errstr))) {
			snprintf(ret_why, why_size, "kafka.%s: %s", properties[i].name, errstr);
			goto fail;
		}
	}
	rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR |
					       RD_KAFKA_EVENT_LOG | RD_KAFKA_EVENT_STATS);
	*ret_conf = conf;
	return 0;
fail:
	rd_kafka_conf_destroy(conf);
	return ERR_CONFIG;
}

int
sink_real_check(const struct sink_property *properties, size_t count, char *ret_why,
		size_t why_size)
{
	struct sink_property *some = mem_alloc((count + 1) * sizeof(*some));
	rd_kafka_conf_t *conf = NULL;
	rd_kafka_t *rk;
	size_t n = 0;
	int err;

	/* With no broker to go to, a handle goes nowhere. */
	for (size_t i = 0; i < count; i++)
		if (strcmp(properties[i].name, "bootstrap.servers") != 0 &&
		    strcmp(properties[i].name, "metadata.broker.list") != 0)
			some[n++] = properties[i];
	err = sink_conf_build(some, n, ret_why, why_size, &conf);
	mem_free(some);
	if (err)
		return err;
	rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, ret_why, why_size);
	if (!rk) {
		rd_kafka_conf_destroy(conf);
		return ERR_CONFIG;
	}
	rd_kafka_destroy(rk);
	return 0;
}

void
sink_real_properties(struct buf *out)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	if (!f)
		return;
	rd_kafka_conf_properties_show(f);
	fclose(f);
	/* A table, one property a line, its name first. */
	for (char *line = text, *end; (size_t)(line - text) < n; line = end + 1) {
		char name[128];
		size_t len;

		end = strchr(line, '\n');
		if (!end)
			end = text + n;
		len = strcspn(line, " |\n");
		if (len < sizeof(name)) {
			memcpy(name, line, len);
			name[len] = '\0';
			if (sink_real_denied(name))
				continue;
		}
		buf_add(out, line, (size_t)(end - line));
		buf_u8(out, '\n');
	}
	free(text);
}

const char *
sink_real_version(void)
{
	return rd_kafka_version_str();
}
