/*
 * What a user would lose: a consumer that starts with options it does not understand, and does
 * something else with their messages than they asked for.  What it does to messages is tested
 * in tests/consumer.
 */
#include <string.h>

#include "escrow/escrow_consumer.h"
#include "script.h"
#include "unit.h"

static escrow_store store = { .struct_size = sizeof(store) };
static unsigned char marked[16], forgot[16];
static int64_t marked_ms, before_ms, seen_ms;
static int marks, without;
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

/* ---- a store that remembers what it was told -------------------------------------------- */

static int
mark(escrow_store *s, const char *consumer, const unsigned char *oldest, int64_t now_ms,
     int64_t before, unsigned char ret_low[16])
{
	(void)s;
	ck_assert_str_eq(consumer, "shipping");
	marks++;
	without += oldest == NULL;
	if (oldest != NULL)
		memcpy(marked, oldest, sizeof(marked));
	marked_ms = now_ms;
	before_ms = before;
	memset(ret_low, 5, 16);
	return 0;
}

static int
forget(escrow_store *s, const char *consumer, const unsigned char low[16], int64_t seen)
{
	(void)s;
	(void)consumer;
	memcpy(forgot, low, sizeof(forgot));
	seen_ms = seen;
	escrow_consumer_stop(c);
	return 0;
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
	o.escrow = (const char *const[]){ "escrow://127.0.0.1:1", NULL };
	refused("mark()");
	store.mark = mark;
	o.escrow = (const char *const[]){ "http://127.0.0.1:1", NULL };
	refused("escrow://");
}
END_TEST

/*
 * Would lose: a message that was parked for longer than the table remembers, when it is published
 * at last and passes for old.  So it is not the clock that says what is old, but the brokers.
 */
START_TEST(the_brokers_say_what_may_be_forgotten)
{
	static const unsigned char oldest[16] = { 0, 0, 0, 0, 0, 2, 0, 2 };
	escrow_consumer_stats stats = { .struct_size = sizeof(stats) };
	struct script *s[2];
	const char *urls[3] = { NULL };
	unsigned char low[16];

	for (int i = 0; i < 2; i++) {
		s[i] = calloc(1, sizeof(*s[i]));
		atomic_store(&s[i]->hold, 1);
		script_start(s[i]);
		urls[i] = strdup(script_url(s[i], ""));
	}
	store.mark = mark;
	store.forget = forget;
	o.escrow = urls;
	o.remember_ms = 1000;
	ck_assert_int_eq(escrow_consumer_open(&c, &o), ESCROW_OK);
	ck_assert_int_eq(escrow_consumer_run(c), ESCROW_OK);
	ck_assert_int_eq(marks, 1);
	ck_assert_mem_eq(marked, oldest, 8);
	ck_assert_int_eq(marked_ms - before_ms, 1000);
	ck_assert_int_eq(seen_ms, before_ms);
	memset(low, 5, sizeof(low));
	ck_assert_mem_eq(forgot, low, 16);
	escrow_consumer_get_stats(c, &stats);
	ck_assert_uint_eq(stats.forget_errors, 0);
	escrow_consumer_close(c);
	/* One that does not tell: nothing is marked, and what was marked before still counts. */
	atomic_store(&s[1]->old, true);
	ck_assert_int_eq(escrow_consumer_open(&c, &o), ESCROW_OK);
	ck_assert_int_eq(escrow_consumer_run(c), ESCROW_OK);
	ck_assert_int_eq(without, 1);
	ck_assert_mem_eq(forgot, low, 16);
	escrow_consumer_get_stats(c, &stats);
	ck_assert_uint_eq(stats.forget_errors, 1);
	escrow_consumer_close(c);
	for (int i = 0; i < 2; i++) {
		script_stop(s[i]);
		free(s[i]);
		free((char *)(uintptr_t)urls[i]);
	}
}
END_TEST

/* ---- a librdkafka that is at its end ----------------------------------------------------- */

static bool unsaid;

const char *
rd_kafka_rebalance_protocol(rd_kafka_t *rk)
{
	(void)rk;
	return unsaid ? NULL : "EAGER";
}

static void
stop_when_assigned(void *arg, escrow_log_level level, const char *text)
{
	(void)arg;
	(void)level;
	if (strstr(text, " assigned") != NULL) {
		unsaid = true;
		escrow_consumer_stop(c);
	}
}

/*
 * Would lose: the process, at its end.  While a consumer closes librdkafka does not always say
 * by which protocol partitions are given back (seen with SIGTERM in a rebalance).
 */
START_TEST(partitions_are_given_back_by_a_protocol_that_is_not_said)
{
	kafka[0] = "test.mock.num.brokers=1";
	o.remember_ms = -1;
	o.log = stop_when_assigned;
	ck_assert_int_eq(escrow_consumer_open(&c, &o), ESCROW_OK);
	ck_assert_int_eq(escrow_consumer_run(c), ESCROW_OK);
	ck_assert(unsaid);
	escrow_consumer_close(c);
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
	  the_brokers_say_what_may_be_forgotten,
	  partitions_are_given_back_by_a_protocol_that_is_not_said, a_long_group_goes_with_a_name);
