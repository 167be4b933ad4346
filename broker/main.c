/*
 * main.c -- escrowd: options in, world built, loop run, exit with a reason.
 *
 * Exit codes: 0 drained and stopped; 1 the configuration or the command line is wrong;
 * 2 the start failed (directory locked, port in use, journal damaged, another Kafka); 3 a
 * fault while running (the disk failed): restart recovers from the journal.
 */

#include "base/base.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "config.h"
#include "http/http.h"
#include "world/demo.h"
#include "world/loop.h"
#include "world/notify.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define EXIT_CONFIG 1
#define EXIT_START  2
#define EXIT_FAULT  3

#define TURN_SLEEP_NS  (1 * NS_PER_S)
#define SYNC_INLINE_NS (300 * 1000) /* below it a helper thread's two switches cost more */
#define SETS_MAX       256
#define FILES_BESIDE   1024u /* descriptors for segments, HTTP and Kafka's client         */

/* Written by signal handlers, read by the loop. */
static volatile sig_atomic_t stop_signal;
static struct net *signal_net;

static void
on_signal(int number)
{
	stop_signal = number;
	if (signal_net)
		signal_net->ops->wake(signal_net); /* one write to an eventfd */
}

static void
catch_signals(struct net *net)
{
	struct sigaction sa = { .sa_handler = on_signal };

	signal_net = net;
	sigemptyset(&sa.sa_mask);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* ---- journal tools ---------------------------------------------------------------------- */

static void
print_line(void *arg, struct str line)
{
	(void)arg;
	printf("%.*s\n", STR_ARG(line));
}

static void
count_segment(void *arg, const char *name, uint64_t size)
{
	(void)size;
	if (strstr(name, ".seg"))
		(*(size_t *)arg)++;
}

static int
journal_tool(const char *verb, const char *directory)
{
	struct journal_fault fault = { 0 };
	struct buf out = BUF_INIT;
	struct disk *disk = NULL;
	size_t segments = 0;
	int err = ERR_SYSTEM;

	/* What is looked at is not made: a mistyped name would be a journal in best order. */
	if (access(directory, R_OK | X_OK) == 0)
		err = disk_posix_open(directory, 0, &disk);
	if (err) {
		fprintf(stderr, "escrowd journal: cannot open %s: %s\n", directory,
			strerror(errno));
		return EXIT_START;
	}
	err = disk->ops->list(disk, count_segment, &segments);
	if (!err && !segments) {
		fprintf(stderr, "escrowd journal: there is no journal in %s\n", directory);
		disk->ops->free(disk);
		return EXIT_START;
	}
	if (err)
		snprintf(fault.text, sizeof(fault.text), "the directory cannot be read");
	else if (strcmp(verb, "dump") == 0)
		err = journal_dump(disk, print_line, NULL, &fault);
	else if (strcmp(verb, "verify") == 0)
		err = journal_verify(disk, &out, &fault);
	else
		err = journal_stat(disk, &out, &fault);
	printf("%.*s", STR_ARG(buf_as_str(&out)));
	buf_free(&out);
	disk->ops->free(disk);
	if (!err)
		return 0;
	fprintf(stderr, "escrowd journal: segment %" PRIu64 ", lsn %" PRIu64 ": %s\n",
		fault.segment, fault.lsn, fault.text[0] ? fault.text : err_text(err));
	return EXIT_START;
}

/* ---- the command line ------------------------------------------------------------------- */

enum what { WHAT_RUN, WHAT_VALIDATE, WHAT_PRINT, WHAT_PROPERTIES };

struct options {
	const char *config;
	const char *sets[SETS_MAX];
	size_t set_count;
	bool demo;
	enum what what;
};

static int
usage(FILE *to, int code)
{
	fputs("escrowd -- stores half messages, asks back, publishes to Kafka\n"
	      "\n"
	      "  escrowd [--config FILE] [--set KEY=VALUE]... [--demo]\n"
	      "  escrowd --validate-config | --print-config | --list-kafka-properties\n"
	      "  escrowd journal dump|verify|stat DIRECTORY\n"
	      "  escrowd --version | --help\n"
	      "\n"
	      "  --config FILE    instead of /etc/escrow/escrowd.conf, which need not be there\n"
	      "  --set KEY=VALUE  one setting, over those of files and ESCROW_* variables\n"
	      "  --demo           an in-process mock of Kafka and a journal in a temporary "
	      "directory\n"
	      "\n"
	      "The least: --set kafka.bootstrap.servers=HOST:PORT --set data.dir=DIRECTORY\n",
	      to);
	return code;
}

static bool
takes_value(int argc, char **argv, int *i, const char *name, const char **ret_value)
{
	size_t n = strlen(name);

	if (strcmp(argv[*i], name) == 0 && *i + 1 < argc) {
		*ret_value = argv[++*i];
		return true;
	}
	if (strncmp(argv[*i], name, n) == 0 && argv[*i][n] == '=') {
		*ret_value = argv[*i] + n + 1;
		return true;
	}
	return false;
}

static int
parse_options(int argc, char **argv, struct options *o)
{
	const char *value;

	for (int i = 1; i < argc; i++) {
		if (takes_value(argc, argv, &i, "--config", &o->config)) {
			continue;
		} else if (takes_value(argc, argv, &i, "--set", &value)) {
			if (o->set_count == SETS_MAX - 4) {
				fprintf(stderr, "escrowd: more than %d --set: use a file\n",
					SETS_MAX - 4);
				return ERR_CONFIG;
			}
			o->sets[o->set_count++] = value;
		} else if (strcmp(argv[i], "--demo") == 0) {
			o->demo = true;
		} else if (strcmp(argv[i], "--validate-config") == 0) {
			o->what = WHAT_VALIDATE;
		} else if (strcmp(argv[i], "--print-config") == 0) {
			o->what = WHAT_PRINT;
		} else if (strcmp(argv[i], "--list-kafka-properties") == 0) {
			o->what = WHAT_PROPERTIES;
		} else {
			fprintf(stderr, "escrowd: %s is not an option, or lacks its value\n",
				argv[i]);
			return ERR_CONFIG;
		}
	}
	return 0;
}

/* ---- the daemon --------------------------------------------------------------------------- */

struct daemon {
	struct config config;
	struct world world;
	struct http *http;
	struct loop *loop;
	char demo_kafka[64]; /* bootstrap servers of the mock; empty: a real one */
	char demo_dir[64];
};

/*
 * Connections may not have the descriptors that segments need: without one the journal cannot go
 * on, and the daemon would end, at the will of whoever connects often enough.
 */
static void
limits_of_the_system(uint32_t *connections)
{
	uint64_t want = *connections + FILES_BESIDE;
	struct rlimit files;

	/* Secrets and other people's messages do not belong into core files. */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (getrlimit(RLIMIT_NOFILE, &files) != 0)
		return;
	if (files.rlim_cur < want && files.rlim_cur < files.rlim_max) {
		struct rlimit more = { min_u64(want, files.rlim_max), files.rlim_max };

		if (setrlimit(RLIMIT_NOFILE, &more) == 0)
			files = more;
	}
	if (files.rlim_cur >= want)
		return;
	*connections = (uint32_t)(files.rlim_cur - min_u64(FILES_BESIDE, files.rlim_cur / 2));
	log_warn("too few file descriptors for limits.connections, taking fewer; raise LimitNOFILE",
		 "files=%" PRIu64 " connections=%" PRIu32, (uint64_t)files.rlim_cur, *connections);
}

static int
open_world(struct daemon *d)
{
	const struct config *c = &d->config;
	char why[512] = "";
	int err;

	d->world.clock = clock_real();
	d->world.rng = rng_real();
	err = net_real_open(&d->world.net);
	if (err) {
		log_error("cannot make an event loop", "error=%s", log_q(str_of(strerror(errno))));
		return EXIT_START;
	}
	catch_signals(d->world.net);
	err = disk_posix_open(c->data_dir, SYNC_INLINE_NS, &d->world.disk);
	if (err) {
		log_error("cannot open the data directory", "dir=%s error=%s",
			  log_q(str_of(c->data_dir)), log_q(str_of(strerror(errno))));
		return EXIT_START;
	}
	err = sink_real_open(c->kafka, c->kafka_count, why, sizeof(why), &d->world.sink);
	if (err == ERR_SYSTEM) {
		log_error("cannot start the kafka client", "error=%s", log_q(str_of(why)));
		return EXIT_START;
	}
	if (err) {
		log_error("the kafka client refuses the configuration", "error=%s",
			  log_q(str_of(why)));
		return EXIT_CONFIG;
	}
	return 0;
}

static void
remove_demo(const char *directory)
{
	DIR *dir = opendir(directory);
	struct dirent *e;

	if (!dir)
		return;
	while ((e = readdir(dir))) {
		if (e->d_name[0] != '.')
			(void)unlinkat(dirfd(dir), e->d_name, 0); /* a demo's leftovers */
	}
	closedir(dir);
	(void)rmdir(directory);
}

static void
close_all(struct daemon *d)
{
	signal_net = NULL;
	http_stop(d->http);
	loop_free(d->loop);
	if (d->world.sink)
		d->world.sink->ops->free(d->world.sink);
	if (d->world.disk)
		d->world.disk->ops->free(d->world.disk);
	if (d->world.net)
		d->world.net->ops->free(d->world.net);
	if (d->demo_dir[0])
		remove_demo(d->demo_dir);
}

static int
start(struct daemon *d)
{
	struct http_conf http = {
		.address = d->config.http_address,
		.admin_write = d->config.http_admin_write,
		.hosts = d->config.http_hosts,
		.max_topics = d->config.metrics_max_topics,
		.version = ESCROW_VERSION,
		.revision = ESCROW_REVISION,
		.librdkafka = sink_real_version(),
	};
	struct journal_fault fault = { 0 };
	struct loop_hooks hooks = { 0 };
	int err;

	err = http_start(&http, d->world.net, &d->http);
	if (err) {
		log_error("cannot serve http", "address=%s error=%s", log_q(str_of(http.address)),
			  log_q(str_of(net_listen_text(err))));
		return EXIT_START;
	}
	http_hooks(d->http, &hooks);
	notify_send("STATUS=recovering");
	err = loop_new(&d->world, &d->config.loop, &hooks, &d->loop, &fault);
	if (err) {
		const char *why = fault.text[0] ? fault.text : err_text(err);

		if (fault.segment)
			log_error("cannot start",
				  "error=%s detail=%s segment=%" PRIu64 " lsn=%" PRIu64,
				  err_name(err), log_q(str_of(why)), fault.segment, fault.lsn);
		else
			log_error("cannot start", "error=%s detail=%s", err_name(err),
				  log_q(str_of(why)));
		return EXIT_START;
	}
	http_serving(d->http, d->loop);
	return 0;
}

static void
say_ready(const struct daemon *d)
{
	char remoting[NET_ADDR_TEXT], http[NET_ADDR_TEXT];
	struct net_addr addr;

	remoting_addr(loop_remoting(d->loop), &addr);
	net_addr_format(&addr, remoting);
	http_addr(d->http, &addr);
	net_addr_format(&addr, http);
	if (d->demo_kafka[0])
		log_info("ready", "remoting=%s http=%s kafka=%s demo=true", remoting, http,
			 d->demo_kafka);
	else
		log_info("ready", "remoting=%s http=%s", remoting, http);
	if (d->demo_kafka[0])
		fprintf(stderr,
			"escrowd " ESCROW_VERSION
			" ready   http http://%s   kafka %s (mock, demo only)\n",
			http, d->demo_kafka);
	notify_send("READY=1\nSTATUS=serving");
}

/* The turns, until a signal and then until drained, or until something is beyond trust. */
static int
serve(struct daemon *d)
{
	int64_t watchdog_ns = notify_watchdog_ns();
	int64_t fed_ns = 0, stop_ns = 0, now_ns;
	int err;

	for (;;) {
		err = loop_turn(d->loop, min_i64(TURN_SLEEP_NS, watchdog_ns));
		if (err) {
			log_error("stopping at once: nothing more may be answered", "error=%s",
				  log_q(str_of(err_text(err))));
			return EXIT_FAULT;
		}
		now_ns = d->world.clock->ops->mono_ns(d->world.clock);
		if (watchdog_ns != TIME_NEVER && now_ns - fed_ns >= watchdog_ns) {
			fed_ns = now_ns;
			notify_send("WATCHDOG=1");
		}
		if (stop_signal && !stop_ns) {
			stop_ns = now_ns +
				  (stop_signal == SIGINT ? 0 : d->config.shutdown_timeout_ns);
			log_info("draining", "signal=%d", (int)stop_signal);
			notify_send("STOPPING=1");
			http_draining(d->http);
			loop_drain(d->loop);
		}
		if (stop_ns && (loop_drained(d->loop) || now_ns >= stop_ns))
			break;
	}
	err = journal_sync(loop_journal(d->loop));
	if (err) {
		log_error("the last sync failed", "error=%s", log_q(str_of(err_text(err))));
		return EXIT_FAULT;
	}
	log_info("stopped", "owed=%" PRIu64, core_owed(loop_core(d->loop)));
	return 0;
}

static int
run(struct daemon *d)
{
	int code;

	limits_of_the_system(&d->config.loop.remoting.connections_max);
	code = open_world(d);
	if (!code)
		code = start(d);
	if (!code) {
		say_ready(d);
		code = serve(d);
	}
	if (code == EXIT_FAULT)
		_exit(code); /* no tidying up on top of a disk that failed: restart recovers */
	close_all(d);
	return code;
}

/* --demo: a mock of Kafka in this process, a journal that goes with it. */
static int
start_demo(struct daemon *d, struct options *o)
{
	static char kafka[128], dir[128];

	snprintf(d->demo_dir, sizeof(d->demo_dir), "/tmp/escrow-demo-XXXXXX");
	if (!mkdtemp(d->demo_dir)) {
		d->demo_dir[0] = '\0';
		fprintf(stderr, "escrowd: no temporary directory: %s\n", strerror(errno));
		return ERR_SYSTEM;
	}
	if (sink_demo_start(d->demo_kafka, sizeof(d->demo_kafka)) != 0) {
		fprintf(stderr, "escrowd: librdkafka cannot start its mock cluster\n");
		return ERR_KAFKA;
	}
	snprintf(kafka, sizeof(kafka), "kafka.bootstrap.servers=%s", d->demo_kafka);
	snprintf(dir, sizeof(dir), "data.dir=%s", d->demo_dir);
	o->sets[o->set_count++] = kafka;
	o->sets[o->set_count++] = dir;
	o->sets[o->set_count++] = "kafka.max.in.flight=1"; /* the mock reorders otherwise */
	return 0;
}

static int
configure(struct daemon *d, const struct options *o)
{
	struct config_sources sources = {
		.file = o->config,
		.environment = environ,
		.sets = o->sets,
		.set_count = o->set_count,
		.denied = sink_real_denied,
		.without_kafka = o->demo || o->what == WHAT_PRINT || o->what == WHAT_PROPERTIES,
	};
	struct buf faults = BUF_INIT, warnings = BUF_INIT;
	int err;

	err = config_load(&sources, &d->config, &faults, &warnings);
	fprintf(stderr, "%.*s%.*s", STR_ARG(buf_as_str(&warnings)), STR_ARG(buf_as_str(&faults)));
	buf_free(&faults);
	buf_free(&warnings);
	return err;
}

/* What is librdkafka's it says in its own words, as it would at the start. */
static int
validate_kafka(const struct config *c)
{
	char why[512] = "";

	if (sink_real_check(c->kafka, c->kafka_count, why, sizeof(why)) == 0)
		return 0;
	fprintf(stderr, "escrowd: %s\n", why);
	return EXIT_CONFIG;
}

int
main(int argc, char **argv)
{
	struct options options = { 0 };
	struct daemon d = { 0 };
	struct buf out = BUF_INIT;
	int code = EXIT_CONFIG;

	if (argc == 4 && strcmp(argv[1], "journal") == 0 &&
	    (!strcmp(argv[2], "dump") || !strcmp(argv[2], "verify") || !strcmp(argv[2], "stat")))
		return journal_tool(argv[2], argv[3]);
	if (argc >= 2 && (!strcmp(argv[argc - 1], "--help") || !strcmp(argv[argc - 1], "-h")))
		return usage(stdout, 0);
	if (argc >= 2 && strcmp(argv[1], "journal") == 0) {
		fputs("escrowd journal: wants dump, verify or stat, and a directory\n", stderr);
		return usage(stderr, EXIT_CONFIG);
	}
	if (argc == 2 && strcmp(argv[1], "--version") == 0)
		return printf("escrowd " ESCROW_VERSION " (" ESCROW_REVISION "), librdkafka %s\n",
			      sink_real_version()) < 0;
	/*
	 * Else each message given to librdkafka walks and merges all small blocks freed before it.
	 */
	(void)mallopt(M_MXFAST, 0);
	if (parse_options(argc, argv, &options) != 0)
		return usage(stderr, EXIT_CONFIG);
	if (options.demo && options.what == WHAT_RUN && start_demo(&d, &options) != 0)
		goto out;
	if (configure(&d, &options) != 0)
		goto out;
	switch (options.what) {
	case WHAT_RUN:
		log_setup(d.config.log_level, d.config.log_format);
		code = run(&d);
		d.demo_dir[0] = d.demo_kafka[0] = '\0'; /* run() tidied up */
		break;
	case WHAT_VALIDATE:
		code = validate_kafka(&d.config);
		break;
	case WHAT_PRINT:
		config_print(&d.config, &out);
		code = 0;
		break;
	case WHAT_PROPERTIES:
		sink_real_properties(&out);
		code = 0;
		break;
	}
out:
	if (out.len)
		fwrite(out.data, 1, out.len, stdout);
	buf_free(&out);
	if (d.demo_dir[0])
		remove_demo(d.demo_dir);
	config_done(&d.config);
	return code;
}
