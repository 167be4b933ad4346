/*
 * What a user would lose: a consumer that starts with options it does not understand, and does
 * something else with their messages than they asked for.  What it does to messages is tested
 * in tests/consumer.
 */
#include <string.h>

#include "escrow/escrow_consumer.h"
#include "unit.h"

static escrow_store store = { .struct_size = sizeof(store) };
static escrow_store *const stores[] = { &store };
static const char *kafka[4];
static escrow_consumer_opts o;
static escrow_consumer *c;

static int
handle(const rd_kafka_message_t *m, void *db, void *arg)
{
	(void)m;
	(void)db;
	(void)arg;
	return ESCROW_HANDLED;
}

static void
setup(void)
{
	static const escrow_consumer_opts init = ESCROW_CONSUMER_OPTS_INIT;

	o = init;
	kafka[0] = "bootstrap.servers=127.0.0.1:1";
	kafka[1] = "group.id=shipping";
	kafka[2] = NULL;
	o.kafka = kafka;
	o.topics = "orders";
	o.stores = stores;
	o.handle = handle;
}

static void
refused(const char *because)
{
	ck_assert_int_eq(escrow_consumer_open(&c, &o), ESCROW_E_ARG);
	ck_assert_msg(strstr(escrow_last_error(), because) != NULL, "\"%s\" says nothing of %s",
		      escrow_last_error(), because);
	setup();
}

START_TEST(the_defaults_are_enough)
{
	escrow_consumer_stats stats = { .struct_size = sizeof(stats) };

	ck_assert_int_eq(escrow_consumer_open(&c, &o), ESCROW_OK);
	escrow_consumer_get_stats(c, &stats);
	ck_assert_uint_eq(stats.handled + stats.partitions + stats.queued, 0);
	escrow_consumer_close(c);
	escrow_consumer_close(NULL);
}
END_TEST

START_TEST(a_consumer_that_is_stopped_before_it_runs_returns)
{
	o.remember_ms = -1;
	ck_assert_int_eq(escrow_consumer_open(&c, &o), ESCROW_OK);
	escrow_consumer_stop(c);
	ck_assert_int_eq(escrow_consumer_run(c), ESCROW_OK);
	escrow_consumer_close(c);
}
END_TEST

START_TEST(what_is_wrong_is_named)
{
	o.struct_size = 0;
	refused("options");
	o.struct_size += 8;
	refused("options");
	o.kafka = NULL;
	refused("kafka");
	o.handle = NULL;
	refused("handle");
	o.store_count = 0;
	refused("store");
	o.name = "a name that is longer than thirty-two bytes";
	refused("32");
	o.batch_max = 0;
	refused("batch_max");
	o.tries_max = 0;
	refused("tries_max");
	o.retry_max_ms = 1;
	refused("retry_max_ms");
	o.remember_ms = -2;
	refused("remember_ms");
	kafka[2] = "enable.auto.commit=true";
	refused("enable.auto.commit");
	kafka[2] = "no.such.property=1";
	refused("no.such.property");
	kafka[2] = "nonsense";
	refused("nonsense");
	kafka[1] = "group.id=a group whose name is longer than thirty-two bytes";
	refused("group.id");
	kafka[1] = NULL;
	refused("group.id");
}
END_TEST

START_TEST(a_long_group_goes_with_a_name)
{
	kafka[1] = "group.id=a group whose name is longer than thirty-two bytes";
	o.name = "shipping";
	ck_assert_int_eq(escrow_consumer_open(&c, &o), ESCROW_OK);
	escrow_consumer_close(c);
	o.topics = ",";
	ck_assert_int_eq(escrow_consumer_open(&c, &o), ESCROW_OK);
	ck_assert_int_eq(escrow_consumer_run(c), ESCROW_E_ARG);
	escrow_consumer_close(c);
}
END_TEST

UNIT_WITH("consumer", setup, NULL, the_defaults_are_enough,
	  a_consumer_that_is_stopped_before_it_runs_returns, what_is_wrong_is_named,
	  a_long_group_goes_with_a_name);
