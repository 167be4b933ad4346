/*
 * consume.c -- from a command line to a consumer that ends in order.
 */
#include "consume.h"

#include <signal.h>
#include <stdio.h>

#define PROPERTIES 16

static escrow_consumer *consumer;

static void
on_signal(int number)
{
	(void)number;
	escrow_consumer_stop(consumer);
}

static void
say(void *arg, escrow_log_level level, const char *text)
{
	(void)arg;
	(void)level;
	fprintf(stderr, "%s\n", text);
}

int
consume(escrow_consumer_opts *o, char *const *kafka)
{
	char servers[256], group[64];
	/* So long its messages wait when this process was killed; Kafka's default is 45 s. */
	const char *properties[PROPERTIES + 1] = { servers, group, "session.timeout.ms=6000" };
	escrow_status status;

	snprintf(servers, sizeof(servers), "bootstrap.servers=%s", kafka[0]);
	snprintf(group, sizeof(group), "group.id=%s", o->name);
	for (int i = 1; kafka[i] != NULL && i + 2 < PROPERTIES; i++)
		properties[i + 2] = kafka[i];
	o->kafka = properties;
	o->log = say;
	status = escrow_consumer_open(&consumer, o);
	if (!status) {
		signal(SIGINT, on_signal);
		signal(SIGTERM, on_signal);
		status = escrow_consumer_run(consumer);
	}
	if (status)
		fprintf(stderr, "%s: %s\n", o->name, escrow_last_error());
	escrow_consumer_close(consumer);
	return status != ESCROW_OK;
}
