/*
 * test_config.c -- a person must be able to believe the configuration: what the documented file
 * says is the default is the default, a typo is told, and a password is never shown.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/base.h"
#include "base/conf.h"
#include "base/err.h"
#include "config.h"
#include "config_keys.h"
#include "folder.h"
#include "unit.h"

static char dir[128];
static struct config config;
static struct buf faults, warnings;

static const char *
text_of(struct buf *b)
{
	*buf_reserve(b, 1) = '\0';
	return b->data;
}

static const char *
put_file(const char *name, const char *text)
{
	static struct buf path;
	FILE *f;

	path.len = 0;
	buf_printf(&path, "%s/%s", dir, name);
	f = fopen(text_of(&path), "w");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
	return path.data;
}

static const char *
deny(const char *property)
{
	return strcmp(property, "acks") == 0 ? "the broker promises what acks=all gives" : NULL;
}

/* Loads TEXT as the file, with one variable and one --set where given. */
static int
load(const char *text, const char *variable, const char *set)
{
	char *const environment[] = { (char *)(uintptr_t)variable, NULL };
	struct config_sources src = {
		.file = put_file("escrowd.conf", text),
		.environment = environment,
		.sets = &set,
		.set_count = set ? 1 : 0,
		.denied = deny,
		.without_kafka = true,
	};

	config_done(&config);
	faults.len = warnings.len = 0;
	return config_load(&src, &config, &faults, &warnings);
}

/* The faults, without the directory of the files. */
static const char *
faults_of(const char *text, const char *variable, const char *set)
{
	char *at;

	ck_assert_int_eq(load(text, variable, set), ERR_CONFIG);
	text_of(&faults);
	while ((at = strstr(faults.data, dir)))
		memmove(at, at + strlen(dir) + 1, strlen(at + strlen(dir) + 1) + 1);
	return faults.data;
}

static struct config_view
view_of(const char *name)
{
	struct config_view v;
	size_t at = 0;

	while (config_next(&config, &at, &v)) {
		if (strcmp(v.name, name) == 0)
			return v;
	}
	return (struct config_view){ .name = NULL };
}

static const char *
kafka_value(const char *name)
{
	for (size_t i = 0; i < config.kafka_count; i++) {
		if (strcmp(config.kafka[i].name, name) == 0)
			return config.kafka[i].value;
	}
	return NULL;
}

START_TEST(without_a_file_all_is_as_documented)
{
	struct core_conf core;

	ck_assert_int_eq(load("", NULL, NULL), 0);
	core_conf_default(&core);
	ck_assert_mem_eq(&config.loop.core.policy, &core.policy, sizeof(core.policy));
	ck_assert_uint_eq(config.loop.core.check_rate, core.check_rate);
	ck_assert_uint_eq(config.loop.core.check_outstanding, core.check_outstanding);
	ck_assert_uint_eq(config.loop.core.idempotency_window_ms, core.idempotency_window_ms);
	ck_assert_uint_eq(config.loop.core.history_retention_ms, core.history_retention_ms);
	ck_assert_uint_eq(config.loop.core.audit_retention_ms, core.audit_retention_ms);
	ck_assert_uint_eq(config.loop.core.message_bytes, core.message_bytes);
	ck_assert_uint_eq(config.loop.core.undecided_max, core.undecided_max);
	ck_assert_uint_eq(config.loop.core.keys_bytes, core.keys_bytes);
	ck_assert_uint_eq(config.loop.core.lane_window, core.lane_window);
	ck_assert_uint_eq(config.loop.journal.quota_bytes, UINT64_C(20) << 30);
	ck_assert_uint_eq(config.loop.journal.segment_bytes, 64u << 20);
	ck_assert_uint_eq(config.loop.journal.cache_bytes, 32u << 20);
	ck_assert_uint_eq(config.loop.journal.align, 0);
	ck_assert_uint_eq(config.loop.journal.retention_ms, 24 * 3600 * 1000);
	ck_assert_str_eq(config.loop.remoting.listen, "127.0.0.1:9876");
	ck_assert_ptr_null(config.loop.remoting.advertise);
	ck_assert(!config.loop.remoting.vip);
	ck_assert_str_eq(config.loop.remoting.broker_name, "escrow-0");
	ck_assert_str_eq(config.loop.remoting.cluster_name, "escrow");
	ck_assert_uint_eq(config.loop.remoting.connections_max, 10000);
	ck_assert_uint_eq(config.loop.remoting.message_bytes, 4u << 20);
	ck_assert_uint_gt(config.loop.remoting.receive_bytes, 0);
	ck_assert_int_gt(config.loop.relay.stall_ns, 0);
	ck_assert_str_eq(config.data_dir, "/var/lib/escrow");
	ck_assert_str_eq(config.http_address, "127.0.0.1:7780");
	ck_assert(!config.http_admin_write);
	ck_assert_int_eq(config.log_level, LOG_INFO);
	ck_assert_int_eq(config.log_format, LOG_LOGFMT);
	ck_assert_int_eq(config.shutdown_timeout_ns, 10 * NS_PER_S);
	ck_assert_uint_eq(config.metrics_max_topics, 200);
}
END_TEST

/* conf/escrowd.conf, its comments opened, has every key of the table with its default, once. */
START_TEST(the_sample_is_the_table)
{
	struct buf raw = BUF_INIT, open = BUF_INIT, errors = BUF_INIT;
	FILE *f = fopen(SOURCE_ROOT "/conf/escrowd.conf", "r");
	struct conf conf;
	char line[512];
	size_t own = 0;

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f)) {
		buf_str(&raw, str_of(line));
		buf_str(&open, str_of(line[0] == '#' && line[1] >= 'a' && line[1] <= 'z' ? line + 1
											 : line));
	}
	fclose(f);
	ck_assert_int_eq(conf_parse("escrowd.conf", buf_as_str(&raw), &conf, &errors), 0);
	ck_assert_uint_eq(conf.count, 0);
	ck_assert_msg(conf_parse("escrowd.conf", buf_as_str(&open), &conf, &errors) == 0, "%s",
		      text_of(&errors));
	for (size_t i = 0; i < conf.count; i++) {
		const struct config_key *k = config_key_find(conf.pairs[i].key);

		if (strncmp(conf.pairs[i].key, "kafka.", 6) == 0 ||
		    strncmp(conf.pairs[i].key, "topic.map.", 10) == 0)
			continue;
		ck_assert_msg(k != NULL, "%s is not in the table", conf.pairs[i].key);
		ck_assert_str_eq(conf.pairs[i].value, k->built_in);
		own++;
	}
	ck_assert_uint_eq(own, config_key_count);
	conf_done(&conf);
	buf_free(&raw);
	buf_free(&open);
}
END_TEST

START_TEST(the_minimal_sample_is_enough)
{
	struct config_sources src = { .file = SOURCE_ROOT "/conf/minimal.conf", .denied = deny };

	ck_assert_int_eq(config_load(&src, &config, &faults, &warnings), 0);
	ck_assert_str_eq(kafka_value("bootstrap.servers"), "127.0.0.1:9092");
	config_done(&config);
	src.file = put_file("escrowd.conf", "");
	ck_assert_int_eq(config_load(&src, &config, &faults, &warnings), ERR_CONFIG);
	ck_assert_ptr_nonnull(strstr(text_of(&faults), "kafka.bootstrap.servers is not set"));
}
END_TEST

START_TEST(the_table_is_sound)
{
	for (size_t i = 0; i < config_key_count; i++) {
		const struct config_key *k = &config_keys[i];
		struct config scratch;
		char why[CONFIG_WHY_BYTES];

		ck_assert_ptr_eq(config_key_find(k->name), k); /* no name twice */
		ck_assert_int_eq(config_key_set(k, k->built_in, &scratch, why), 0);
		ck_assert_int_eq(k->meaning[strlen(k->meaning) - 1], '.');
		/* The largest value fits its field, or put_number() ends the process. */
		if (k->max) {
			char text[40];

			snprintf(text, sizeof(text), "%llu%s",
				 (unsigned long long)(k->type == CONFIG_DURATION
							      ? k->max / NS_PER_MS
						      : k->type == CONFIG_PERCENT ? k->max / 100
										  : k->max),
				 k->type == CONFIG_DURATION ? "ms"
				 : k->type == CONFIG_SIZE   ? "B"
							    : "");
			ck_assert_msg(config_key_set(k, text, &scratch, why) == 0, "%s: %s",
				      k->name, why);
		}
	}
}
END_TEST

START_TEST(later_sources_win)
{
	char path[256];

	ck_assert_int_eq(load("check.max = 3", NULL, NULL), 0);
	ck_assert_uint_eq(config.loop.core.policy.checks_max, 3);
	ck_assert_ptr_nonnull(strstr(view_of("check.max").origin, "escrowd.conf:1:1"));
	ck_assert_str_eq(view_of("check.rate").origin, "built-in");

	snprintf(path, sizeof(path), "%s/conf.d", dir);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	put_file("conf.d/20.conf", "check.max = 5\n");
	put_file("conf.d/10.conf", "check.max = 4\ncheck.rate = 7\n");
	put_file("conf.d/30.conf~", "check.max = 6\n");
	ck_assert_int_eq(load("check.max = 3", NULL, NULL), 0);
	ck_assert_uint_eq(config.loop.core.policy.checks_max, 5);
	ck_assert_uint_eq(config.loop.core.check_rate, 7);

	ck_assert_int_eq(load("check.max = 3", "ESCROW_CHECK_MAX=8", NULL), 0);
	ck_assert_uint_eq(config.loop.core.policy.checks_max, 8);
	ck_assert_str_eq(view_of("check.max").origin, "environment variable ESCROW_CHECK_MAX");

	ck_assert_int_eq(load("check.max = 3", "ESCROW_CHECK_MAX=8", "check.max=9"), 0);
	ck_assert_uint_eq(config.loop.core.policy.checks_max, 9);
	ck_assert_str_eq(view_of("check.max").origin, "--set");
}
END_TEST

START_TEST(units_are_read)
{
	ck_assert_int_eq(
		load("check.immunity = 1500ms\ncheck.interval=2m\ncheck.interval.max = 2 h\n"
		     "check.backoff = 2\nhistory.retention = 2d\njournal.quota = 3TiB\n"
		     "journal.segment = 128MiB\njournal.cache=0\njournal.align = 4KiB\n"
		     "limits.message = 2000kB\nlog.format = json\nlog.level=debug\n"
		     "listen.address = [::1]:0\nlisten.advertise = 192.0.2.7:9876\n"
		     "listen.vip = true\n",
		     NULL, NULL),
		0);
	ck_assert_int_eq(config.loop.core.policy.immunity_ns, 1500 * NS_PER_MS);
	ck_assert_int_eq(config.loop.core.policy.interval_ns, 120 * NS_PER_S);
	ck_assert_int_eq(config.loop.core.policy.interval_max_ns, 7200 * NS_PER_S);
	ck_assert_uint_eq(config.loop.core.policy.backoff_percent, 200);
	ck_assert_uint_eq(config.loop.core.history_retention_ms, 2u * 24 * 3600 * 1000);
	ck_assert_uint_eq(config.loop.journal.quota_bytes, UINT64_C(3) << 40);
	ck_assert_uint_eq(config.loop.journal.align, 4096);
	ck_assert_uint_eq(config.loop.core.message_bytes, 2000000);
	ck_assert_int_eq(config.log_format, LOG_JSON);
	ck_assert_str_eq(config.loop.remoting.advertise, "192.0.2.7:9876");
	ck_assert(config.loop.remoting.vip);
}
END_TEST

START_TEST(mistakes_are_told_where_they_are)
{
	ck_assert_str_eq(
		faults_of("check.intervall = 30s\n\nx = 1\n", NULL, NULL),
		"escrowd.conf:1:1: there is no key check.intervall; did you mean check.interval?\n"
		"escrowd.conf:3:1: there is no key x (conf/escrowd.conf lists all)\n");
	ck_assert_str_eq(
		faults_of("check.interval = 30\n", "ESCROW_CHECK_MAX=0", "check.rate=fast"),
		"escrowd.conf:1:1: check.interval = 30: must be a time with its unit, as 500ms, "
		"6s, 10m, 1h or 90d\n"
		"environment variable ESCROW_CHECK_MAX: check.max = 0: must be from 1 to 1000000\n"
		"--set: check.rate = fast: must be a whole number\n");
	ck_assert_str_eq(faults_of("", NULL, "check.max"),
			 "--set: \"check.max\" is not key=value\n");
	ck_assert_str_eq(faults_of("check.max = 1\ncheck.max = 2", NULL, NULL),
			 "escrowd.conf:2:1: check.max is already set in line 1\n");
}
END_TEST

START_TEST(values_outside_their_type_are_refused)
{
	static const char *const wrong[] = {
		"check.max = -1",
		"check.max = 1.5",
		"check.max =",
		"check.max = 99999999999999999999",
		"check.max = 0x10",
		"check.backoff = 0.9",
		"check.backoff = 11",
		"check.backoff = 1.555",
		"check.backoff = .5",
		"check.backoff = 1,5",
		"check.immunity = 6 seconds",
		"check.immunity = 99999999999999999999s",
		"check.immunity = 999999999999d",
		"check.immunity = 0",
		"journal.quota = 20",
		"journal.quota = 20G",
		"journal.quota = 1KiB",
		"journal.align = 3",
		"journal.align = 128KiB",
		"listen.vip = yes",
		"log.level = loud",
		"log.format = xml",
		"listen.address = localhost:9876",
		"listen.address = 127.0.0.1",
		"listen.address = 127.0.0.1:65536",
		"listen.address = ::1:9876",
		"listen.address = [::1]",
		"listen.address = [127.0.0.1]:1",
		"listen.address = 127.0.0.1:+1",
		"listen.address =",
		"listen.advertise = a b:1",
		"listen.advertise = host",
		"listen.advertise = escrow.example.org:9876",
		"broker.name = a b",
		"broker.name =",
		"data.dir =",
		"shard = 65536",
		"limits.message = 16MiB",
		"topic.map. = x",
		"topic.map.a = x y",
		"topic.map.a =",
		"topic.map.a = ..",
		"topic.map.a = x%y",
		"kafka. = 1",
	};

	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		ck_assert_msg(load(wrong[i], NULL, NULL) == ERR_CONFIG, "%s", wrong[i]);
}
END_TEST

START_TEST(settings_must_go_together)
{
	static const char *const wrong[] = {
		"journal.segment = 17MiB",       "journal.quota = 255MiB",
		"journal.segment = 65537KiB",    "journal.segment = 60MiB\nlimits.message = 15MiB",
		"journal.segment = 2MiB",        "check.interval = 11m",
		"check.interval.max = 29s",      "listen.vip = true\nlisten.address = 127.0.0.1:2",
		"http.address = 127.0.0.1:9876", "kafka.message.max.bytes = 5000",
		"journal.align = 256B",
	};

	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		ck_assert_msg(load(wrong[i], NULL, NULL) == ERR_CONFIG, "%s", wrong[i]);
	ck_assert_int_eq(load("journal.segment = 18MiB\njournal.quota = 72MiB\n", NULL, NULL), 0);
	ck_assert_int_eq(load("limits.message = 15MiB", NULL, NULL), 0);
}
END_TEST

START_TEST(kafka_passes_through)
{
	ck_assert_int_eq(
		load("[kafka]\nlinger.ms = 20\nbootstrap.servers = a:1\nno.such.thing = x\n",
		     "ESCROW_KAFKA_BOOTSTRAP_SERVERS=b:2,c:3", "kafka.linger.ms=30"),
		0);
	ck_assert_str_eq(kafka_value("bootstrap.servers"), "b:2,c:3");
	ck_assert_str_eq(kafka_value("linger.ms"), "30");
	ck_assert_str_eq(kafka_value("no.such.thing"), "x"); /* librdkafka says it better */
	ck_assert_str_eq(
		faults_of("\n kafka.acks = 1", NULL, NULL),
		"escrowd.conf:2:2: kafka.acks may not be set: the broker promises what acks=all "
		"gives\n");
}
END_TEST

/* A larger message than librdkafka takes would be committed and then be undeliverable. */
START_TEST(message_limits_follow_each_other)
{
	ck_assert_int_eq(load("limits.message = 8MiB", NULL, NULL), 0);
	ck_assert_int_ge(strtol(kafka_value("message.max.bytes"), NULL, 10), (8 << 20) + 4096);
	ck_assert_int_eq(load("kafka.message.max.bytes = 1000000", NULL, NULL), 0);
	ck_assert_str_eq(kafka_value("message.max.bytes"), "1000000");
	ck_assert_uint_lt(config.loop.core.message_bytes, 1000000);
	ck_assert_uint_eq(config.loop.remoting.message_bytes, config.loop.core.message_bytes);
	ck_assert_int_eq(load("kafka.message.max.bytes = 100000000", NULL, NULL), 0);
	ck_assert_uint_eq(config.loop.core.message_bytes, 4u << 20);
}
END_TEST

START_TEST(a_group_has_its_share)
{
	ck_assert_int_eq(load("limits.undecided = 1000", NULL, NULL), 0);
	ck_assert_uint_eq(config.loop.core.group_undecided, UINT64_MAX);
	ck_assert_uint_eq(config.loop.core.group_bytes, UINT64_MAX);
	ck_assert_int_eq(load("limits.undecided = 1000\nlimits.group.share = 0.25", NULL, NULL), 0);
	ck_assert_uint_eq(config.loop.core.group_undecided, 250);
	ck_assert_uint_eq(config.loop.core.group_bytes, (UINT64_C(20) << 30) / 100 * 25);
	ck_assert_int_eq(load("limits.group.share = 0", NULL, NULL), ERR_CONFIG);
}
END_TEST

START_TEST(topics_are_mapped)
{
	ck_assert_int_eq(load("topic.map.orders_paid = orders.paid\n[topic.map]\nA = b\n", NULL,
			      NULL),
			 0);
	ck_assert_uint_eq(config.loop.remoting.map_count, 2);
	ck_assert_str_eq(config.loop.remoting.map[0].name, "orders_paid");
	ck_assert_str_eq(config.loop.remoting.map[0].kafka, "orders.paid");
	ck_assert_str_eq(config.loop.remoting.map[1].name, "A");
}
END_TEST

START_TEST(secrets_are_not_shown)
{
	static const char *const secret[] = {
		"kafka.sasl.password",
		"kafka.ssl.key.password",
		"kafka.ssl.keystore.password",
		"kafka.ssl.key.pem",
		"kafka.sasl.oauthbearer.client.secret",
		"kafka.sasl.oauthbearer.config",
	};
	struct buf out = BUF_INIT, text = BUF_INIT;

	for (size_t i = 0; i < ARRAY_LEN(secret); i++)
		buf_printf(&text, "%s = hunter2\n", secret[i]);
	ck_assert_int_eq(load(text_of(&text), NULL, NULL), 0);
	ck_assert_uint_eq(config.kafka_count, ARRAY_LEN(secret) + 1);
	config_print(&config, &out);
	ck_assert_ptr_null(strstr(text_of(&out), "hunter2"));
	/* As a comment: a file made of what was printed must not have the mask for a password. */
	ck_assert_ptr_nonnull(strstr(text_of(&out), "\n# kafka.sasl.password = ********\n"));
	ck_assert_str_eq(kafka_value("sasl.password"), "hunter2");

	faults_of("", NULL, "kafka.sasl.password=hunter2");
	ck_assert_ptr_nonnull(strstr(faults.data, "use kafka.sasl.password_file"));
	ck_assert_ptr_null(strstr(faults.data, "hunter2"));
	buf_free(&out);
	buf_free(&text);
}
END_TEST

START_TEST(secrets_come_from_files)
{
	char text[256];

	put_file("password", "hunter2\n");
	snprintf(text, sizeof(text), "kafka.sasl.password_file = %s/password", dir);
	ck_assert_int_eq(load(text, NULL, NULL), 0);
	ck_assert_str_eq(kafka_value("sasl.password"), "hunter2");
	ck_assert_ptr_null(kafka_value("sasl.password_file"));
	ck_assert_str_eq(view_of("kafka.sasl.password").value, "********");

	/* Relative paths are systemd's credentials. */
	setenv("CREDENTIALS_DIRECTORY", dir, 1);
	ck_assert_int_eq(load("", "ESCROW_KAFKA_SASL_PASSWORD_FILE=password", NULL), 0);
	ck_assert_str_eq(kafka_value("sasl.password"), "hunter2");
	/* A stronger source wins, whichever form it has; one source must not say both. */
	ck_assert_int_eq(load("kafka.sasl.password = x", NULL, "kafka.sasl.password_file=password"),
			 0);
	ck_assert_str_eq(kafka_value("sasl.password"), "hunter2");
	ck_assert_int_eq(load("kafka.sasl.password_file = password", "ESCROW_KAFKA_SASL_PASSWORD=y",
			      NULL),
			 0);
	ck_assert_str_eq(kafka_value("sasl.password"), "y");
	faults_of("kafka.sasl.password = x\nkafka.sasl.password_file = password", NULL, NULL);
	ck_assert_ptr_nonnull(strstr(faults.data, "kafka.sasl.password is set as well"));
	faults_of("kafka.sasl.password_file = nothing", NULL, NULL);
	ck_assert_ptr_nonnull(strstr(faults.data, "cannot be read: No such file"));
}
END_TEST

START_TEST(strange_variables_are_not_ours)
{
	static const char *const ignored[] = {
		"ESCROW_URL=escrow://x",
		"ESCROW_PORT=tcp://10.0.0.1:9876",
		"ESCROW_SERVICE_HOST=10.0.0.1",
		"ESCROW_KAFKA_SERVICE_HOST=10.0.0.1",
		"ESCROW_KAFKA_PORT_9092_TCP=tcp://x",
		"ESCROW_",
		"HOME=/",
		"ESCROW_KAFKA=1",
	};

	for (size_t i = 0; i < ARRAY_LEN(ignored); i++) {
		ck_assert_int_eq(load("", ignored[i], NULL), 0);
		ck_assert_uint_eq(config.kafka_count, 1);
		ck_assert_uint_eq(warnings.len, 0);
	}
	ck_assert_int_eq(load("", "ESCROW_CHECK_INTERVALL=3s", NULL), 0);
	ck_assert_ptr_nonnull(strstr(text_of(&warnings), "did you mean ESCROW_CHECK_INTERVAL?"));
}
END_TEST

/* What is printed can be read again, and means the same. */
/* A value with a line break, printed, would set another key when the text is used as a file. */
START_TEST(values_are_text_wherever_they_come_from)
{
	faults_of("", NULL, "data.dir=/x\ncheck.max = 3");
	ck_assert_ptr_nonnull(strstr(faults.data, "the value of data.dir has control characters"));
	faults_of("", "ESCROW_DATA_DIR=/x\x7f", NULL);
	ck_assert_ptr_nonnull(strstr(faults.data, "the value of data.dir has control characters"));
	faults_of("", "ESCROW_DATA_DIR=/\xff", NULL);
	ck_assert_ptr_nonnull(strstr(faults.data, "is not UTF-8"));
	faults_of("", NULL, "kafka.linger ms=5");
	ck_assert_ptr_nonnull(strstr(faults.data, "a key is made of letters"));
	faults_of("", "ESCROW_KAFKA_A\nB=5", NULL);
	ck_assert_ptr_nonnull(strstr(faults.data, "a key is made of letters"));
	ck_assert_int_eq(load("", NULL, "kafka.client.id=  two words\t"), 0);
	ck_assert_str_eq(kafka_value("client.id"), "two words");
}
END_TEST

START_TEST(printed_text_loads_to_the_same)
{
	struct buf first = BUF_INIT, second = BUF_INIT;
	struct config_view v;
	size_t at = 0;

	ck_assert_int_eq(load("check.max = 4\nkafka.client.id = a\\\\\ntopic.map.A = b\n"
			      "listen.advertise = [::1]:1\n",
			      NULL, "check.backoff=1.25"),
			 0);
	while (config_next(&config, &at, &v))
		buf_printf(&first, "%s=%s\n", v.name, v.value);
	config_print(&config, &second);
	ck_assert_int_eq(load(text_of(&second), NULL, NULL), 0);
	second.len = 0;
	at = 0;
	while (config_next(&config, &at, &v))
		buf_printf(&second, "%s=%s\n", v.name, v.value);
	ck_assert_str_eq(text_of(&first), text_of(&second));
	ck_assert_uint_eq(config.loop.core.policy.backoff_percent, 125);
	ck_assert_str_eq(kafka_value("client.id"), "a\\");
	buf_free(&first);
	buf_free(&second);
}
END_TEST

START_TEST(a_named_file_must_be_there)
{
	struct config_sources src = { .file = "/nowhere/escrowd.conf", .without_kafka = true };

	ck_assert_int_eq(config_load(&src, &config, &faults, &warnings), ERR_CONFIG);
	ck_assert_str_eq(text_of(&faults),
			 "/nowhere/escrowd.conf: cannot be read: No such file or directory\n");
}
END_TEST

static void
setup(void)
{
	unsetenv("CREDENTIALS_DIRECTORY");
	snprintf(dir, sizeof(dir), "%s/XXXXXX", folder);
	ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void
teardown(void)
{
	config_done(&config);
}

UNIT_WITH("config", setup, teardown, without_a_file_all_is_as_documented, the_sample_is_the_table,
	  the_minimal_sample_is_enough, the_table_is_sound, later_sources_win, units_are_read,
	  mistakes_are_told_where_they_are, values_outside_their_type_are_refused,
	  settings_must_go_together, kafka_passes_through, message_limits_follow_each_other,
	  a_group_has_its_share, topics_are_mapped, secrets_are_not_shown, secrets_come_from_files,
	  strange_variables_are_not_ours, values_are_text_wherever_they_come_from,
	  printed_text_loads_to_the_same, a_named_file_must_be_there);
