/*
 * golden.c -- makes journals to be kept for ever, and says what a start finds in one.
 *
 *   golden make FOLDER    writes FOLDER/NAME/ for each journal of the table below
 *   golden show FOLDER    starts on the journal in it, as the daemon does, and prints what it found
 *
 * What is written comes from the daemon's own core and journal over a real disk, with a Kafka, a
 * producer and two clocks that do what the script of each journal says; so does what is found.
 */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "golden/daemon.h"

struct told {
	struct gid gid;
	uint64_t token;
};

/* ---- words of the scripts -------------------------------------------------------------------- */

/* Kafka and a producer are there. */
static void
kafka(struct daemon *d)
{
	core_clock(d->core, d->now_ns, d->wall_ms);
	MUST(core_cluster(d->core, STR("golden-cluster")) == 0);
	MUST(core_join(d->core, 7, STR("golden")) == 0);
	daemon_turn(d);
}

static void
answered(const struct daemon *d, const char *what)
{
	if (d->answer.code == ANSWER_OK)
		return;
	fprintf(stderr, "%s: %s\n", what,
		d->answer.code == NOT_ANSWERED ? "no answer" : answer_name(d->answer.code));
	exit(1);
}

static struct told
half_send(struct daemon *d, const char *key, struct half half, bool plain)
{
	struct half_request r = { .to.peer = 7, .half = half, .plain = plain };
	struct buf all = BUF_INIT;

	r.half.key = str_of(key);
	if (!r.half.group.n)
		r.half.group = STR("golden");
	if (!r.half.from.n)
		r.half.from = STR("192.0.2.1:4711");
	r.half.kind = r.half.kind ? r.half.kind : EDGE_ROCKETMQ;
	r.half.born_ms = d->wall_ms - 3;
	for (uint32_t i = 0; i < half.count; i++) {
		buf_str(&all, half.messages[i].topic);
		buf_str(&all, half.messages[i].value);
	}
	r.half.body_hash = hash_body(all.data, all.len, 0);
	core_clock(d->core, d->now_ns, d->wall_ms);
	core_half_send(d->core, &r);
	daemon_turn(d);
	buf_free(&all);
	answered(d, key);
	return (struct told){ d->answer.gid, d->answer.token };
}

static struct message
message_of(struct str topic, struct str key, struct str value)
{
	return (struct message){ .topic = topic,
				 .partition = -1,
				 .spread = 1,
				 .key = key,
				 .value = value,
				 .plain_bytes = (uint32_t)value.n };
}

static struct told
one(struct daemon *d, const char *id, struct str key, struct str value)
{
	struct message m = message_of(STR("orders"), key, value);

	return half_send(d, id, (struct half){ .count = 1, .messages = &m }, false);
}

static void
decide(struct daemon *d, struct told t, enum verdict verdict)
{
	struct end_request e = { .to.peer = 7,
				 .peer = 7,
				 .group = STR("golden"),
				 .seq = t.gid.lo,
				 .token = t.token,
				 .verdict = verdict,
				 .from = STR("192.0.2.1:4711") };

	core_clock(d->core, d->now_ns, d->wall_ms);
	core_end(d->core, &e);
	daemon_turn(d);
	answered(d, "end");
}

/* What Kafka says of what it was given of T. */
static void
report(struct daemon *d, struct told t, uint32_t index, enum report report, int32_t code)
{
	size_t i = 0;

	for (int tries = 0;; tries++, daemon_pass(d, 100)) {
		for (i = 0; i < d->published_count; i++)
			if (d->published[i].seq == t.gid.lo && d->published[i].index == index)
				break;
		if (i < d->published_count)
			break;
		MUST(tries < 1000);
	}
	core_clock(d->core, d->now_ns, d->wall_ms);
	core_report(d->core, d->published[i].token, report, 100 + (int64_t)i, code);
	d->published[i] = d->published[--d->published_count];
	daemon_turn(d);
}

/* For good: it is given to Kafka alone once more, and refused again. */
static void
refuse(struct daemon *d, struct told t, uint32_t index, int32_t code)
{
	report(d, t, index, REPORT_REFUSED, code);
	report(d, t, index, REPORT_REFUSED, code);
}

static void
operate(struct daemon *d, struct told t, enum verb verb)
{
	struct operation op = { .to.peer = 8,
				.verb = verb,
				.gid = t.gid,
				.who = STR("127.0.0.1"),
				.reason = STR("golden \"reason\"") };

	core_clock(d->core, d->now_ns, d->wall_ms);
	core_operate(d->core, &op);
	daemon_turn(d);
	answered(d, verb_name(verb));
}

/* Time passes until a check is sent, and it is written to its connection. */
static void
checked(struct daemon *d)
{
	for (int i = 0; d->check_count == 0; i++) {
		MUST(i < 1000);
		daemon_pass(d, 1000);
	}
	core_clock(d->core, d->now_ns, d->wall_ms);
	while (d->check_count) {
		d->check_count--;
		core_check_written(d->core, d->checks[d->check_count].seq,
				   d->checks[d->check_count].peer);
	}
	daemon_turn(d);
	daemon_pass(d, 31000); /* nobody answers */
}

/* ---- the journals ---------------------------------------------------------------------------- */

static void
lives_of_all_kinds(struct daemon *d)
{
	struct buf headers = BUF_INIT;
	struct message many[3], with;
	struct told t;

	t = one(d, "no-key", STR_NONE, STR("published"));
	decide(d, t, VERDICT_COMMIT);
	report(d, t, 0, REPORT_ACKED, 0);
	t = one(d, "7F0000010A2B18B4AAC27F5A3D4E0001", STR(""), STR("the key is empty"));
	decide(d, t, VERDICT_ROLLBACK);
	t = one(d, "bytes", str_from("\0\xff\x80", 3), STR_NONE); /* committed, and no more */
	decide(d, t, VERDICT_COMMIT);
	one(d, "", STR("empty"), STR("")); /* no idempotency key */

	headers_add(&headers, STR("repeated"), STR("1"));
	headers_add(&headers, STR("repeated"), STR(""));
	headers_add(&headers, STR("repeated"), STR_NONE);
	headers_add(&headers, STR("bytes"), str_from("\0\n\xfe", 3));
	with = message_of(STR("orders"), STR("k"), STR("with headers"));
	with.partition = 2;
	with.headers.bytes = buf_as_str(&headers);
	half_send(d, "headers",
		  (struct half){
			  .count = 1,
			  .messages = &with,
			  .has_db_id = true,
			  .db_id = { 0xdb, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 },
			  .immunity_ms = 3600000,
			  .from = STR("[2001:db8::1]:4711"),
			  .edge = STR("what the edge needs") },
		  false);

	/* Three messages: one published, one refused, one on its way. */
	many[0] = message_of(STR("orders"), STR("a"), STR("first"));
	many[1] = message_of(STR("in.voices"), STR_NONE, STR("second"));
	many[2] = message_of(STR("orders"), STR("b"), STR("third"));
	many[2].partition = 0; /* where nothing is refused: what is waits for those before it */
	t = half_send(d, "three", (struct half){ .count = 3, .messages = many }, false);
	decide(d, t, VERDICT_COMMIT);
	report(d, t, 0, REPORT_ACKED, 0);
	refuse(d, t, 1, 10);
	t = half_send(d, "three undecided", (struct half){ .count = 3, .messages = many }, false);

	t = one(d, "discarded", STR_NONE, STR("refused, and given up"));
	decide(d, t, VERDICT_COMMIT);
	refuse(d, t, 0, 10);
	operate(d, t, VERB_DISCARD);
	t = one(d, "undeliverable", STR_NONE, STR("refused"));
	decide(d, t, VERDICT_COMMIT);
	refuse(d, t, 0, 10);
	t = one(d, "retried", STR_NONE, STR("refused, and owed again"));
	decide(d, t, VERDICT_COMMIT);
	refuse(d, t, 0, 87);
	operate(d, t, VERB_RETRY);

	one(d, "again", STR_NONE, STR("half-sent twice"));
	daemon_pass(d, 10);
	one(d, "again", STR_NONE, STR("half-sent twice"));
	t = one(d, "operator", STR_NONE, STR("decided by an operator"));
	operate(d, t, VERB_COMMIT);

	with = message_of(STR("orders"), STR_NONE, STR("plain"));
	half_send(d, "plain", (struct half){ .count = 1, .messages = &with }, true);
	buf_free(&headers);
}

static void
checks_to_parked(struct daemon *d)
{
	struct told t = one(d, "resumed", STR_NONE, STR("parked, then resumed"));

	one(d, "parked", STR_NONE, STR("parked"));
	for (int i = 0; i < 2; i++)
		checked(d);
	daemon_pass(d, 60000);
	operate(d, t, VERB_RESUME);
	core_topic(d->core, STR("orders"), TOPIC_HERE, 4, 1 << 21); /* it grew */
	core_topic(d->core, STR("in.voices"), TOPIC_GONE, 0, 0);
	daemon_pass(d, 10);
}

static void
every_record(struct daemon *d)
{
	kafka(d);
	checks_to_parked(d);
	kafka(d);
	lives_of_all_kinds(d);
	daemon_pass(d, 300);
}

/* Until segments went round: everything that is owed was copied, what is young became stubs. */
static void
reclaimed(struct daemon *d)
{
	struct message m = message_of(
		STR("orders"), STR_NONE,
		STR("a body that is here to fill segments, over and over, until they are needed "
		    "again, and nobody will ever read it, or so one would hope"));
	struct told t;
	char key[32];

	m.partition = 2; /* where nothing is owed: Kafka acknowledges a partition in order */
	every_record(d);
	for (int i = 0; journal_stats(d->journal)->reclaimed < 6; i++) {
		MUST(i < 2000);
		snprintf(key, sizeof(key), "filler-%d", i);
		t = half_send(d, key, (struct half){ .count = 1, .messages = &m }, false);
		decide(d, t, VERDICT_COMMIT);
		report(d, t, 0, REPORT_ACKED, 0);
		daemon_pass(d, 100);
	}
}

static void
few(struct daemon *d)
{
	kafka(d);
	decide(d, one(d, "committed", STR("k"), STR("committed")), VERDICT_COMMIT);
	one(d, "undecided", STR("k"), STR("undecided"));
	daemon_pass(d, 300);
}

/* The last group is written and synced, and no later header vouches for it. */
static void
without_marker(struct daemon *d)
{
	struct message m = message_of(STR("orders"), STR_NONE, STR("the last"));
	struct half_request r = { .to.peer = 7,
				  .half = { .group = STR("golden"),
					    .key = STR("last"),
					    .from = STR("192.0.2.1:4711"),
					    .kind = EDGE_ROCKETMQ,
					    .count = 1,
					    .messages = &m } };

	few(d);
	core_clock(d->core, d->now_ns, d->wall_ms);
	core_half_send(d->core, &r);
	core_decide(d->core);
	MUST(journal_persist(d->journal, d->now_ns, d->wall_ms) == 0);
	daemon_news(d);
}

static void
nothing(struct daemon *d)
{
	(void)d;
}

/* ---- damage ---------------------------------------------------------------------------------- */

/* The file of segment NUMBER. */
static int
open_segment(const char *folder, uint64_t number)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/%020" PRIu64 ".seg", folder, number);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	MUST(fd >= 0);
	return fd;
}

/* Where the bytes of the file end that are not zero. */
static off_t
content_end(int fd)
{
	static uint8_t bytes[SEGMENT];
	ssize_t n = pread(fd, bytes, sizeof(bytes), 0);

	while (n > 0 && !bytes[n - 1])
		n--;
	return n;
}

static void
tear_the_last_group(const char *folder)
{
	static const uint8_t zeroes[16];
	int fd = open_segment(folder, 1);

	MUST(pwrite(fd, zeroes, sizeof(zeroes), content_end(fd) - 16) == 16);
	close(fd);
}

static void
flip_a_durable_bit(const char *folder)
{
	int fd = open_segment(folder, 1);
	off_t at = content_end(fd) / 2;
	uint8_t byte;

	MUST(pread(fd, &byte, 1, at) == 1);
	byte ^= 4;
	MUST(pwrite(fd, &byte, 1, at) == 1);
	close(fd);
}

/* Nothing may be there but the file that was begun. */
static void
remove_spares(const char *folder)
{
	char path[512];
	struct dirent *entry;
	DIR *dir = opendir(folder);

	MUST(dir);
	while ((entry = readdir(dir))) {
		if (strncmp(entry->d_name, "spare-", 6) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		MUST(unlink(path) == 0);
	}
	closedir(dir);
}

/* The next segment has its file and the first half of its opening. */
static void
half_a_roll(const char *folder)
{
	uint8_t bytes[100];
	int from = open_segment(folder, 1), to = open_segment(folder, 2);

	MUST(pread(from, bytes, sizeof(bytes), 0) == sizeof(bytes));
	MUST(pwrite(to, bytes, sizeof(bytes) / 2, 0) == sizeof(bytes) / 2);
	MUST(ftruncate(to, SEGMENT) == 0);
	close(from);
	close(to);
}

/* A start has written the last segment anew, and has not renamed it. */
static void
anew_beside_the_old_one(const char *folder)
{
	static uint8_t bytes[SEGMENT];
	int from = open_segment(folder, 1), to = open_segment(folder, 2);

	MUST(pread(from, bytes, sizeof(bytes), 0) == sizeof(bytes));
	MUST(pwrite(to, bytes, sizeof(bytes), 0) == sizeof(bytes));
	close(from);
	close(to);
}

static void
half_a_first_opening(const char *folder)
{
	int fd = open_segment(folder, 1);

	MUST(ftruncate(fd, 60) == 0 && ftruncate(fd, SEGMENT) == 0);
	close(fd);
	remove_spares(folder);
}

/* ---- the table ------------------------------------------------------------------------------- */

static const struct golden {
	const char *name;
	unsigned align;
	unsigned starts; /* the script runs in the first; the others only start and stop */
	void (*script)(struct daemon *d);
	void (*damage)(const char *folder);
} goldens[] = {
	{ "every-record", 0, 1, every_record, NULL },
	{ "every-record-aligned", 512, 1, every_record, NULL },
	{ "restarted", 0, 3, every_record, NULL },
	{ "reclaimed", 0, 1, reclaimed, NULL },
	{ "reclaimed-restarted", 0, 2, reclaimed, NULL },
	{ "tail", 0, 1, without_marker, NULL },
	{ "tail-rewritten", 0, 2, without_marker, NULL },
	{ "torn-tail", 0, 1, without_marker, tear_the_last_group },
	{ "half-a-roll", 0, 1, few, half_a_roll },
	{ "anew", 0, 3, few, NULL },
	{ "anew-beside-the-old", 0, 2, few, anew_beside_the_old_one },
	{ "damaged", 0, 1, few, flip_a_durable_bit },
	{ "first-start-cut", 0, 1, nothing, half_a_first_opening },
};

static void
make(const struct golden *g, const char *folder)
{
	char path[512];
	struct daemon d;

	snprintf(path, sizeof(path), "%s/%s", folder, g->name);
	daemon_init(&d);
	d.journal_conf.align = g->align;
	for (unsigned i = 0; i < g->starts; i++) {
		MUST(daemon_start(&d, path) == 0);
		if (i == 0)
			g->script(&d);
		daemon_stop(&d);
		d.now_ns += NS_PER_S;
		d.wall_ms += 1000;
	}
	if (g->damage)
		g->damage(path);
	printf("%s\n", path);
}

static int
show(const char *folder)
{
	struct daemon d;

	daemon_init(&d);
	d.talks = true;
	d.wall_ms += 86400 * 1000; /* a day later: what was written with its time shows it */
	if (daemon_start(&d, folder) == 0)
		say_rows(&d);
	daemon_stop(&d);
	return 0;
}

int
main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "make") == 0) {
		for (size_t i = 0; i < ARRAY_LEN(goldens); i++)
			make(&goldens[i], argv[2]);
		return 0;
	}
	if (argc == 3 && strcmp(argv[1], "show") == 0)
		return show(argv[2]);
	fprintf(stderr, "golden make FOLDER | golden show FOLDER\n");
	return 2;
}
