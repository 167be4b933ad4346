/*
 * demo.c -- the mock cluster, on a librdkafka handle of its own that nobody produces with.
 */
#include "world/demo.h"

#include <stdio.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "base/err.h"

int
sink_demo_start(char *ret_bootstrap, size_t size)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_mock_cluster_t *cluster;
	char why[256];
	rd_kafka_t *rk;
	int n;

	(void)rd_kafka_conf_set(conf, "log_level", "3", why, sizeof(why));
	rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
	if (!rk) {
		rd_kafka_conf_destroy(conf);
		return ERR_KAFKA;
	}
	cluster = rd_kafka_mock_cluster_new(rk, 1);
	if (!cluster) {
		rd_kafka_destroy(rk);
		return ERR_KAFKA;
	}
	n = snprintf(ret_bootstrap, size, "%s", rd_kafka_mock_cluster_bootstraps(cluster));
	/* Intentionally never destroyed: it is the demo's Kafka until the process ends. */
	return n > 0 && (size_t)n < size ? 0 : ERR_KAFKA;
}
