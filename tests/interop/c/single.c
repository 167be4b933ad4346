/*
 * libescrow with a broker that is RocketMQ: what a service would lose that moves from one to the
 * other, or keeps both.  One message to a transaction, and no fence; all else must be as said.
 *
 *      single URL TOPIC die        half-sends some, and is gone before it decides them
 *      single URL TOPIC run        commits, rolls back, says nothing or unknown, refuses what
 *                                  there is not; answers checks, also for the one that is gone
 *
 * What is to become of a message travels in its header `plan`: what is said at once, and to each
 * check, the last one for ever.  It prints JSON lines: {"expect": ID} for what consumers must
 * find, {"fail": WHY}, {"note": TEXT} of the library's log; and {"done": 1} when every
 * transaction that was left has its answer.  Then it stays until its standard input ends.
 */
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <escrow/escrow_table.h>

#define DEAD  10  /* left behind by `die` */
#define EACH  20  /* of each plan */
#define ASYNC 500 /* at once */

static escrow_client *client;
static const char *topic;
static atomic_int left, under_way, fences;

static void say(const char *what, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void
say(const char *what, const char *format, ...)
{
	char text[600];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args); /* cut, if too long */
	va_end(args);
	for (char *p = text; *p; p++)
		if (*p == '"' || *p == '\\' || (unsigned char)*p < ' ')
			*p = '\'';
	printf("{\"%s\": \"%s\"}\n", what, text);
}

static void
must(const char *what, escrow_status status, escrow_status wanted)
{
	if (status != wanted)
		say("fail", "%s: %s instead of %s: %s", what, escrow_status_name(status),
		    escrow_status_name(wanted), escrow_last_error());
}

static void
note(void *arg, escrow_log_level level, const char *text)
{
	(void)arg;
	if (level != ESCROW_LOG_INFO)
		say("note", "%s", text);
}

/* ---- plans ----------------------------------------------------------------------------------- */

/* The N-th word of a plan, from 0; the last one for ever. */
static escrow_decision
word(const char *plan, size_t n, uint32_t at)
{
	const char *end = plan + n, *comma;

	for (; at > 0 && (comma = memchr(plan, ',', (size_t)(end - plan))) != NULL; at--)
		plan = comma + 1;
	return *plan == 'c' ? ESCROW_COMMIT : *plan == 'r' ? ESCROW_ROLLBACK : ESCROW_UNKNOWN;
}

static const char *const kinds[] = { "c", "r", "u,c", "u,r", "n,c", "n,r", "n,u,c" };
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* What consumers find in the end: all of RocketMQ's properties and bytes that we can send. */
struct mail {
	char id[64], value[128];
	escrow_header headers[2];
	escrow_message message;
	escrow_half_opts opts;
};

static void
write_mail(struct mail *m, const char *plan, const char *kind, int number)
{
	static const escrow_message message = ESCROW_MESSAGE_INIT;
	static const escrow_half_opts opts = ESCROW_HALF_OPTS_INIT;
	int n = snprintf(m->id, sizeof(m->id), "%s-%d-%s", kind, number, plan);

	for (char *p = m->id; *p; p++)
		if (*p == ',')
			*p = '.';
	n = snprintf(m->value, sizeof(m->value), "value of %s", m->id);
	m->value[n++] = '\0'; /* any bytes */
	m->value[n++] = (char)0xff;
	m->headers[0] = (escrow_header){ "plan", plan, strlen(plan) };
	m->headers[1] = (escrow_header){ "color", "gr\xc3\xbcn", 5 };
	m->message = message;
	m->message.topic = topic;
	m->message.key = m->id;
	m->message.key_len = strlen(m->id);
	m->message.value = m->value;
	m->message.value_len = (size_t)n;
	m->message.headers = m->headers;
	m->message.header_count = 2;
	m->opts = opts;
	m->opts.id = m->id;
}

/* Whether the plan ends in a commit. */
static void
expect(const char *plan, const char *id)
{
	if (word(plan, strlen(plan), UINT32_MAX) == ESCROW_COMMIT)
		say("expect", "%s", id);
}

/* RocketMQ may ask again about what it was told; one listener runs at a time. */
static bool
is_first(const char *id)
{
	static char *told[1000];
	static int count;

	for (int i = 0; i < count; i++)
		if (strcmp(told[i], id) == 0)
			return false;
	if (count < (int)(sizeof(told) / sizeof(told[0])))
		told[count++] = strdup(id);
	return true;
}

static escrow_decision
answer(const escrow_view *view, void *arg)
{
	escrow_message m = ESCROW_MESSAGE_INIT;
	const char *plan = "u", *gid = escrow_view_gid(view);
	escrow_decision decision;
	size_t n = 1;

	(void)arg;
	must("a view", escrow_view_message(view, 0, &m), ESCROW_OK);
	for (size_t i = 0; i < m.header_count; i++) {
		if (strcmp(m.headers[i].name, "plan") == 0) {
			plan = m.headers[i].value;
			n = m.headers[i].len;
		} else if (strcmp(m.headers[i].name, "color") != 0) {
			say("fail", "%s: a check has the header %s", escrow_view_id(view),
			    m.headers[i].name);
		}
	}
	if (strspn(gid, "0") != 32 || escrow_view_db_id(view) != NULL)
		say("fail", "%s: a check has the gid %s", escrow_view_id(view), gid);
	if (m.key_len != strlen(escrow_view_id(view)) ||
	    memcmp(m.key, escrow_view_id(view), m.key_len) != 0)
		say("fail", "%s: a check has another key", escrow_view_id(view));
	decision = word(plan, n, escrow_view_number(view));
	if (decision != ESCROW_UNKNOWN && is_first(escrow_view_id(view)))
		atomic_fetch_sub(&left, 1);
	return decision;
}

/* ---- what is there ------------------------------------------------------------------------- */

static void
one(const char *plan, int number)
{
	escrow_txn *txn = NULL;
	struct mail m;

	write_mail(&m, plan, "one", number);
	must(m.id, escrow_half_send(client, &m.message, 1, &m.opts, &txn), ESCROW_OK);
	if (!txn)
		return;
	expect(plan, m.id);
	if (plan[1] == ',')
		atomic_fetch_add(&left, 1);
	if (*plan == 'n')
		escrow_abandon(&txn);
	else
		must(m.id, escrow_decide(&txn, word(plan, 1, 0), NULL), ESCROW_OK);
}

/* A commit rides with the next half-send. */
static void
chain(void)
{
	escrow_status decided = ESCROW_OK;
	escrow_txn *txn = NULL, *next;
	struct mail m;

	for (int i = 0; i < EACH; i++) {
		write_mail(&m, "c", "chain", i);
		next = NULL;
		must(m.id,
		     txn ? escrow_decide_then_half_send(&txn, ESCROW_COMMIT, &decided, &m.message,
							1, &m.opts, &next)
			 : escrow_half_send(client, &m.message, 1, &m.opts, &next),
		     ESCROW_OK);
		must("the one before", decided, ESCROW_OK);
		expect("c", m.id);
		txn = next;
	}
	if (txn)
		must("the last", escrow_commit(&txn), ESCROW_OK);
}

static void
decided(void *arg, escrow_status status)
{
	must(arg, status, ESCROW_OK);
	free(arg);
	atomic_fetch_sub(&under_way, 1);
}

static void
half_sent(void *arg, escrow_status status, escrow_txn *txn)
{
	must(arg, status, ESCROW_OK);
	if (txn) {
		expect("c", arg);
		must(arg, escrow_decide_async(&txn, ESCROW_COMMIT, NULL, decided, arg), ESCROW_OK);
	} else {
		atomic_fetch_sub(&under_way, 1);
	}
}

static void
at_once(void)
{
	struct mail m;

	for (int i = 0; i < ASYNC; i++) {
		write_mail(&m, "c", "async", i);
		atomic_fetch_add(&under_way, 1);
		must(m.id,
		     escrow_half_send_async(client, &m.message, 1, &m.opts, half_sent,
					    strdup(m.id)),
		     ESCROW_OK);
	}
	/* A flush waits for what was requested before; the decisions were not, all of them. */
	for (int i = 0; i < 100 && atomic_load(&under_way) > 0; i++)
		must("flush", escrow_flush(client, 60000), ESCROW_OK);
	if (atomic_load(&under_way) != 0)
		say("fail", "%d are still under way", atomic_load(&under_way));
}

/* ---- what is not ----------------------------------------------------------------------------- */

static escrow_fenced
never(escrow_fence *fence, void *db, const unsigned char *gid, const unsigned char *db_id)
{
	(void)fence;
	(void)db;
	(void)gid;
	(void)db_id;
	atomic_fetch_add(&fences, 1);
	return ESCROW_FENCE_FAILED;
}

static void
nothing(escrow_fence *fence)
{
	(void)fence;
}

static int
business(void *db, void *arg)
{
	(void)db;
	(void)arg;
	atomic_fetch_add(&fences, 1);
	return 0;
}

static void
refusals(void)
{
	escrow_fence fence = { .struct_size = sizeof(fence), .begin = never, .free = nothing };
	escrow_table_opts table_opts = ESCROW_TABLE_OPTS_INIT;
	escrow_stats stats = ESCROW_STATS_INIT;
	unsigned char gid[ESCROW_GID_SIZE];
	escrow_message two[2];
	escrow_txn *txn = NULL;
	escrow_table *table;
	struct mail m;

	write_mail(&m, "r", "refused", 0);
	two[0] = two[1] = m.message;
	must("two messages", escrow_half_send(client, two, 2, &m.opts, &txn), ESCROW_E_UNSUPPORTED);
	m.opts.db_id = "0123456789abcdef";
	must("a db_id", escrow_half_send(client, &m.message, 1, &m.opts, &txn),
	     ESCROW_E_UNSUPPORTED);
	m.opts.db_id = NULL;
	m.message.value_len = 0;
	must("no value", escrow_half_send(client, &m.message, 1, &m.opts, &txn),
	     ESCROW_E_UNSUPPORTED);
	m.message.value = calloc(5, 1 << 20);
	m.message.value_len = 5 << 20;
	must("5 MiB", escrow_half_send(client, &m.message, 1, &m.opts, &txn), ESCROW_E_REFUSED);
	m.message.value_len = 1;
	m.message.topic = "no topic!";
	must("a name", escrow_half_send(client, &m.message, 1, &m.opts, &txn), ESCROW_E_REFUSED);
	free((void *)(uintptr_t)m.message.value);
	must("watermark", escrow_oldest_undecided(client, "0123456789abcdef", 5000, gid),
	     ESCROW_E_UNSUPPORTED);
	must("stats", escrow_get_stats(client, &stats), ESCROW_OK);
	if (!stats.rocketmq)
		say("fail", "it does not know that this is RocketMQ");

	write_mail(&m, "r", "fenced", 0);
	table_opts.clean_ms = 0;
	must("a table", escrow_table_open(&table, &fence), ESCROW_OK);
	must("attach", escrow_table_attach(table, client, "fenced", &table_opts), ESCROW_OK);
	must("the fence", escrow_table_send(table, NULL, &m.message, 1, NULL, business, NULL),
	     ESCROW_E_UNSUPPORTED);
	if (atomic_load(&fences) != 0)
		say("fail", "a local transaction ran without a fence");
	escrow_table_close(table);
}

int
main(int argc, char **argv)
{
	escrow_conf *conf = escrow_conf_new();
	char byte;

	if (argc != 4 || !conf)
		return 2;
	topic = argv[2];
	setvbuf(stdout, NULL, _IOLBF, 0);
	escrow_conf_set_log(conf, note, NULL);
	if (escrow_conf_set_url(conf, argv[1]) || escrow_open_conf(&client, conf)) {
		say("fail", "%s", escrow_last_error());
		return 1;
	}
	if (strcmp(argv[3], "die") == 0) {
		for (int i = 0; i < DEAD; i++) {
			escrow_txn *txn = NULL;
			struct mail m;

			write_mail(&m, i % 2 ? "n,c" : "n,r", "dead", i);
			must(m.id, escrow_half_send(client, &m.message, 1, &m.opts, &txn),
			     ESCROW_OK);
			expect(i % 2 ? "n,c" : "n,r", m.id);
		}
		_exit(9);
	}
	atomic_store(&left, DEAD);
	must("a listener", escrow_on_check(client, NULL, answer, NULL), ESCROW_OK);
	for (int i = 0; i < EACH; i++)
		for (size_t kind = 0; kind < KINDS; kind++)
			one(kinds[kind], i);
	chain();
	at_once();
	refusals();
	for (int i = 0; i < 1200 && atomic_load(&left) > 0; i++)
		(void)poll(NULL, 0, 100);
	if (atomic_load(&left) != 0)
		say("fail", "%d are not decided after two minutes", atomic_load(&left));
	printf("{\"done\": 1}\n");
	while (fread(&byte, 1, 1, stdin) == 1)
		;
	must("close", escrow_close(client, 10000), ESCROW_OK);
	return 0;
}
