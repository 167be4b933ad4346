/*
 * golden.c -- makes journals to be kept for ever, and says what a start finds in one.
 *
 *   golden make FOLDER    writes FOLDER/NAME/ for each journal of the table below
 *   golden show FOLDER    starts on the journal in it, as the daemon does, and prints what it found
 *
 * What is written comes from the daemon's own core and journal over a real disk, with a Kafka, a
 * producer and two clocks that do what the script of each journal says; so does what is
 * found.  What show prints is this program's own format: it stays, whatever the tools print.
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
#include "base/err.h"
#include "core/core.h"
#include "journal/journal.h"

#define SEGMENT      16384u
#define START_MS     UINT64_C(1767225600000) /* 2026-01-01 */
#define KEPT_MAX     64
#define NOT_ANSWERED ((enum answer_code)1000)
#define FOR_SHOW     1 /* a token of ours, and none of the core's */

#define MUST(condition)                                                                            \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);    \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

struct daemon {
	struct disk *disk;
	struct core *core;
	struct journal *journal;
	struct journal_conf journal_conf;
	struct core_conf conf;
	bool talks; /* show: each record is a line */
	int64_t now_ns;
	uint64_t wall_ms;
	uint64_t durable_lsn;
	uint64_t random;
	struct answer answer; /* the last */
	struct {
		uint64_t token, seq;
		uint32_t index;
	} published[KEPT_MAX];
	size_t published_count;
	struct {
		uint64_t seq, token, peer;
	} checks[KEPT_MAX];
	size_t check_count;
	bool described; /* the core wants to know about topics */
};

/* ---- what is printed ------------------------------------------------------------------------- */

static void
say_str(const char *name, struct str s)
{
	printf(" %s=", name);
	if (!s.p) {
		printf("null");
		return;
	}
	putchar('"');
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		printf(c < 0x20 || c > 0x7e || c == '"' || c == '\\' ? "\\x%02x" : "%c", c);
	}
	putchar('"');
}

static void
say_gid(struct gid gid)
{
	char text[GID_TEXT];

	gid_format(gid, text);
	printf(" gid=%s", text);
}

static void
say_decision(const struct decision *d)
{
	printf(" decided=%s origin=%d ms=%" PRIu64, d->state ? txn_state_name(d->state) : "none",
	       d->origin, d->ms);
	say_str("who", d->who);
}

static void
say_half(const struct half *h)
{
	say_gid(h->gid);
	printf(" check=%" PRIu64, h->check);
	say_str("group", h->group);
	say_str("key", h->key);
	say_str("from", h->from);
	say_str("edge", h->edge);
	printf(" kind=%d arrived=%" PRIu64 " born=%" PRIu64 " immunity=%" PRIu32 " db=", h->kind,
	       h->arrived_ms, h->born_ms, h->immunity_ms);
	for (size_t i = 0; h->has_db_id && i < sizeof(h->db_id); i++)
		printf("%02x", h->db_id[i]);
	printf(" body=%016" PRIx64 "%016" PRIx64 "\n", h->body_hash.hi, h->body_hash.lo);
	for (uint32_t i = 0; i < h->count; i++) {
		const struct message *m = &h->messages[i];
		struct header header;

		printf("  message %" PRIu32, i);
		say_str("topic", m->topic);
		printf(" partition=%" PRId32 " codec=%d plain=%" PRIu32, m->partition, m->codec,
		       m->plain_bytes);
		say_str("key", m->key);
		say_str("value", m->value);
		for (size_t at = 0; headers_next(m->headers, &at, &header);) {
			say_str("header", header.name);
			say_str("is", header.value);
		}
		printf("\n");
	}
}

static void
say_topic(const struct entry_topic *t)
{
	printf(" number=%" PRIu32, t->number);
	say_str("name", t->name);
	printf(" partitions=%" PRId32 " max_bytes=%" PRIu32 "\n", t->partitions, t->max_bytes);
}

static void
say_state(const struct entry_state *s)
{
	printf("state shard=%u opened=%" PRIu64 " next_seq=%" PRIu64 " last_ms=%" PRIu64
	       " audit=%" PRIu64,
	       s->shard, s->opened_ms, s->next_seq, s->last_ms, s->audit_number);
	say_str("cluster", s->cluster);
	printf("\n");
	for (uint32_t i = 0; i < s->topic_count; i++) {
		printf("  topic");
		say_topic(&s->topics[i]);
	}
	for (uint32_t i = 0; i < s->lane_count; i++)
		printf("  lane topic=%" PRIu32 " partition=%" PRId32 " next_n=%" PRIu64
		       " low=%" PRIu64 "\n",
		       s->lanes[i].topic, s->lanes[i].partition, s->lanes[i].next_n,
		       s->lanes[i].low);
}

static void
say_copy(const struct entry_copy *e)
{
	printf("copy state=%s generation=%u checks=%" PRIu32 " since=%" PRIu64,
	       txn_state_name(e->state), e->generation, e->checks, e->since_ms);
	say_decision(&e->decision);
	say_half(&e->half);
	for (uint32_t i = 0; e->parts && i < e->half.count; i++)
		printf("  part topic=%" PRIu32 " partition=%" PRId32 " n=%" PRIu64
		       " state=%d code=%" PRId32 "\n",
		       e->parts[i].topic, e->parts[i].partition, e->parts[i].n, e->parts[i].state,
		       e->parts[i].code);
}

static void
say_numbers(const uint64_t *n, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		printf(" %" PRIu64, n[i]);
	printf("\n");
}

static void
say_audit(const struct entry_audit *e)
{
	printf("audit number=%" PRIu64 " ms=%" PRIu64, e->number, e->ms);
	say_gid(e->gid);
	say_str("verb", e->verb);
	say_str("who", e->who);
	say_str("reason", e->reason);
	say_str("outcome", e->outcome);
	printf(" chain=");
	for (size_t i = 0; i < sizeof(e->chain); i++)
		printf("%02x", e->chain[i]);
	printf("\n");
}

static void
say_entry(const struct entry *e)
{
	switch (e->type) {
	case ENTRY_STATE:
		say_state(&e->state);
		return;
	case ENTRY_HALF:
		printf("half");
		say_half(&e->half.half);
		return;
	case ENTRY_DECISION:
		printf("decision seq=%" PRIu64, e->decision.seq);
		say_decision(&e->decision.decision);
		printf(" n");
		say_numbers(e->decision.n, e->decision.count);
		return;
	case ENTRY_GENERATION:
		printf("generation seq=%" PRIu64 " generation=%u ms=%" PRIu64 "\n",
		       e->generation.seq, e->generation.generation, e->generation.ms);
		return;
	case ENTRY_CHECKS:
		printf("checks seq=%" PRIu64 " checks=%" PRIu32 " ms=%" PRIu64 " parked=%d\n",
		       e->checks.seq, e->checks.checks, e->checks.ms, e->checks.parked);
		return;
	case ENTRY_RESUMED:
		printf("resumed seq=%" PRIu64 " ms=%" PRIu64 "\n", e->resumed.seq, e->resumed.ms);
		return;
	case ENTRY_PUBLISHED:
		printf("published topic=%" PRIu32 " partition=%" PRId32 " low=%" PRIu64 " done",
		       e->published.topic, e->published.partition, e->published.low);
		say_numbers(e->published.done, e->published.done_count);
		return;
	case ENTRY_REFUSED:
		printf("refused seq=%" PRIu64 " index=%" PRIu32 " code=%" PRId32 " ms=%" PRIu64
		       "\n",
		       e->refused.seq, e->refused.index, e->refused.code, e->refused.ms);
		return;
	case ENTRY_RETRIED:
		printf("retried seq=%" PRIu64 " ms=%" PRIu64 "\n", e->retried.seq, e->retried.ms);
		return;
	case ENTRY_DISCARDED:
		printf("discarded seq=%" PRIu64 " ms=%" PRIu64 "\n", e->discarded.seq,
		       e->discarded.ms);
		return;
	case ENTRY_TOPIC:
		printf("topic");
		say_topic(&e->topic);
		return;
	case ENTRY_STUB:
		printf("stub state=%s generation=%u check=%" PRIu64, txn_state_name(e->stub.state),
		       e->stub.generation, e->stub.check);
		say_gid(e->stub.gid);
		say_decision(&e->stub.decision);
		say_str("group", e->stub.group);
		say_str("key", e->stub.key);
		printf(" arrived=%" PRIu64 " body=%016" PRIx64 "%016" PRIx64 "\n",
		       e->stub.arrived_ms, e->stub.body_hash.hi, e->stub.body_hash.lo);
		return;
	case ENTRY_COPY:
		say_copy(&e->copy);
		return;
	case ENTRY_AUDIT:
		say_audit(&e->audit);
		return;
	case ENTRY_CLUSTER:
		printf("cluster");
		say_str("id", e->cluster.id);
		printf("\n");
		return;
	case ENTRY_OLDEST: /* the journal's own: nobody is handed it */
		break;
	}
	printf("record %d\n", e->type);
}

/* Its half message can be read back, and is the one. */
static void
say_body(struct daemon *d, const struct row_view *r)
{
	const struct half *half = NULL;
	int err = journal_fetch(d->journal, r->place, FOR_SHOW, &half);

	while (err == ERR_AGAIN) {
		d->disk->ops->wait(d->disk);
		MUST(journal_poll(d->journal, d->now_ns) == 0);
		err = journal_fetch(d->journal, r->place, FOR_SHOW, &half);
	}
	if (err)
		printf(" body=%s\n", err_name(err));
	else
		printf(" body=%016" PRIx64 "\n",
		       gid_eq(half->gid, r->gid) ? half->body_hash.lo : 0);
}

/* Everything that is remembered, as operators see it; no line depends on the time of the start. */
static void
say_rows(struct daemon *d)
{
	static struct list_page page;
	struct list_query q = { .limit = LIMIT_LIST_PAGE };

	do {
		core_list(d->core, &q, &page);
		for (uint32_t i = 0; i < page.count; i++) {
			const struct row_view *r = &page.rows[i];

			printf("row");
			say_gid(r->gid);
			printf(" state=%s generation=%u checks=%" PRIu32 " messages=%" PRIu32,
			       txn_state_name(r->state), r->generation, r->checks, r->count);
			say_str("group", r->group);
			say_str("topic", r->topic);
			printf(" partition=%" PRId32 " arrived=%" PRIu64 " decided=%" PRIu64
			       " origin=%d published=%" PRIu32 " refused=%" PRIu32 " code=%" PRId32,
			       r->partition, r->arrived_ms, r->decided_ms, r->origin, r->published,
			       r->refused, r->refused_code);
			if (!r->place.len) {
				printf(" body=gone\n");
				continue;
			}
			say_body(d, r);
		}
		q.after_seq = page.next_seq;
	} while (page.next_seq);
}

/* ---- the daemon, as world/loop.c joins it ---------------------------------------------------- */

static int
on_recover(void *arg, const struct entry *e, struct place place)
{
	struct daemon *d = arg;

	if (d->talks)
		say_entry(e);
	return core_recover(d->core, e, place);
}

static void
on_state(void *arg, struct entry_state *ret_state)
{
	core_state(((struct daemon *)arg)->core, ret_state);
}

static void
on_reclaim(void *arg, const struct entry *e, struct place place)
{
	core_reclaim(((struct daemon *)arg)->core, e, place);
}

static bool
on_keep(void *arg, uint64_t seq, struct place place)
{
	return core_reclaim_stub(((struct daemon *)arg)->core, seq, place);
}

static void
on_moved(void *arg, uint64_t seq, struct place place)
{
	core_moved(((struct daemon *)arg)->core, seq, place);
}

static void
on_durable(void *arg, uint64_t lsn)
{
	((struct daemon *)arg)->durable_lsn = lsn;
}

static void
on_fetched(void *arg, uint64_t token, int err, const struct half *half)
{
	if (token != FOR_SHOW)
		core_fetched(((struct daemon *)arg)->core, token, err, half);
}

static void
on_space(void *arg, bool ok)
{
	core_space(((struct daemon *)arg)->core, ok);
}

static int
on_append(void *arg, const struct entry *e, struct place *ret_place)
{
	return journal_append(((struct daemon *)arg)->journal, e, ret_place);
}

static int
on_fetch(void *arg, struct place place, uint64_t token, const struct half **ret_half)
{
	return journal_fetch(((struct daemon *)arg)->journal, place, token, ret_half);
}

static void
on_answer(void *arg, struct reply_to to, const struct answer *answer)
{
	(void)to;
	((struct daemon *)arg)->answer = *answer;
}

static int
on_check(void *arg, const struct check *check)
{
	struct daemon *d = arg;

	MUST(d->check_count < KEPT_MAX);
	d->checks[d->check_count].seq = check->half->gid.lo;
	d->checks[d->check_count].token = check->token;
	d->checks[d->check_count++].peer = check->peer;
	return 0;
}

static int
on_publish(void *arg, const struct publication *p)
{
	struct daemon *d = arg;

	MUST(d->published_count < KEPT_MAX);
	d->published[d->published_count].token = p->token;
	d->published[d->published_count].seq = p->half->gid.lo;
	d->published[d->published_count++].index = p->index;
	return 0;
}

static void
on_describe(void *arg, struct str topic)
{
	(void)topic;
	((struct daemon *)arg)->described = true;
}

static void
on_note(void *arg, const struct note *note)
{
	(void)arg;
	if (note->kind == NOTE_RECORD_GONE)
		printf("gone: %" PRId64 " messages that are owed\n", note->value);
}

static uint64_t
on_random(void *arg)
{
	return hash_u64(++((struct daemon *)arg)->random);
}

static const struct ports ports = {
	.append = on_append,
	.fetch = on_fetch,
	.answer = on_answer,
	.check = on_check,
	.publish = on_publish,
	.describe = on_describe,
	.note = on_note,
	.random = on_random,
};

static const struct journal_client client = {
	.recover = on_recover,
	.state = on_state,
	.reclaim = on_reclaim,
	.keep = on_keep,
	.moved = on_moved,
	.durable = on_durable,
	.fetched = on_fetched,
	.space = on_space,
};

/* 0, or the error with what is wrong printed. */
static int
start(struct daemon *d, const char *folder)
{
	struct journal_fault fault;
	bool fresh;
	int err;

	MUST(disk_posix_open(folder, INT64_MAX, &d->disk) == 0);
	d->core = core_new(&d->conf, &ports, d);
	err = journal_open(d->disk, &d->journal_conf, &client, d, &d->journal, &fresh, &fault);
	if (err) {
		printf("%s: %s\n", err_name(err), fault.text);
		d->journal = NULL;
		return err;
	}
	if (d->talks)
		printf(fresh ? "a new journal\n" : "a journal of %" PRIu64 " segments\n",
		       journal_stats(d->journal)->segments);
	if (fresh)
		core_format(d->core);
	core_start(d->core, d->now_ns, d->wall_ms);
	core_state_max(d->core, journal_state_max(d->journal));
	err = journal_start(d->journal, d->wall_ms);
	if (err)
		printf("%s: the journal cannot be started\n", err_name(err));
	return err;
}

/* As if killed: what was written stays, and nothing else is. */
static void
stop(struct daemon *d)
{
	d->journal = journal_free(d->journal);
	d->core = core_free(d->core);
	d->disk->ops->free(d->disk);
	d->published_count = d->check_count = 0;
}

static void
news(struct daemon *d)
{
	MUST(journal_poll(d->journal, d->now_ns) == 0);
	core_durable(d->core, d->durable_lsn);
}

static void
persist(struct daemon *d)
{
	MUST(journal_persist(d->journal, d->now_ns, d->wall_ms) == 0);
	news(d);
}

static void
turn(struct daemon *d)
{
	d->answer.code = NOT_ANSWERED;
	core_clock(d->core, d->now_ns, d->wall_ms);
	news(d);
	core_decide(d->core);
	persist(d);
	if (d->described) {
		d->described = false;
		core_topic(d->core, STR("orders"), TOPIC_HERE, 3, 1 << 20);
		core_topic(d->core, STR("in.voices"), TOPIC_HERE, 1, 0);
		core_decide(d->core);
		persist(d);
	}
	while (!journal_idle(d->journal)) {
		d->now_ns += NS_PER_MS;
		d->wall_ms++;
		persist(d);
	}
}

static void
pass(struct daemon *d, int64_t ms)
{
	d->now_ns += ms * NS_PER_MS;
	d->wall_ms += (uint64_t)ms;
	turn(d);
}

/* ---- words of the scripts -------------------------------------------------------------------- */

static const struct daemon fresh_daemon = {
	.journal_conf = { .quota_bytes = 8 * SEGMENT,
			  .segment_bytes = SEGMENT,
			  .cache_bytes = SEGMENT,
			  .retention_ms = 3600 * 1000 },
	.now_ns = 1000 * NS_PER_S,
	.wall_ms = START_MS,
};

static void
configure(struct daemon *d)
{
	*d = fresh_daemon;
	core_conf_default(&d->conf);
	d->conf.policy.checks_max = 2;
	d->conf.message_bytes = 2048;
}

/* Kafka and a producer are there. */
static void
kafka(struct daemon *d)
{
	core_clock(d->core, d->now_ns, d->wall_ms);
	MUST(core_cluster(d->core, STR("golden-cluster")) == 0);
	MUST(core_join(d->core, 7, STR("golden")) == 0);
	turn(d);
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

struct told {
	struct gid gid;
	uint64_t token;
};

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
	turn(d);
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
	turn(d);
	answered(d, "end");
}

/* What Kafka says of what it was given of T. */
static void
report(struct daemon *d, struct told t, uint32_t index, enum report report, int32_t code)
{
	size_t i = 0;

	for (int tries = 0;; tries++, pass(d, 100)) {
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
	turn(d);
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
	turn(d);
	answered(d, verb_name(verb));
}

/* Time passes until a check is sent, and it is written to its connection. */
static void
checked(struct daemon *d)
{
	for (int i = 0; d->check_count == 0; i++) {
		MUST(i < 1000);
		pass(d, 1000);
	}
	core_clock(d->core, d->now_ns, d->wall_ms);
	while (d->check_count) {
		d->check_count--;
		core_check_written(d->core, d->checks[d->check_count].seq,
				   d->checks[d->check_count].peer);
	}
	turn(d);
	pass(d, 31000); /* nobody answers */
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
	pass(d, 10);
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
	pass(d, 60000);
	operate(d, t, VERB_RESUME);
	core_topic(d->core, STR("orders"), TOPIC_HERE, 4, 1 << 21); /* it grew */
	core_topic(d->core, STR("in.voices"), TOPIC_GONE, 0, 0);
	pass(d, 10);
}

static void
every_record(struct daemon *d)
{
	kafka(d);
	checks_to_parked(d);
	kafka(d);
	lives_of_all_kinds(d);
	pass(d, 300);
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
		pass(d, 100);
	}
}

static void
few(struct daemon *d)
{
	kafka(d);
	decide(d, one(d, "committed", STR("k"), STR("committed")), VERDICT_COMMIT);
	one(d, "undecided", STR("k"), STR("undecided"));
	pass(d, 300);
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
	news(d);
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
	configure(&d);
	d.journal_conf.align = g->align;
	for (unsigned i = 0; i < g->starts; i++) {
		MUST(start(&d, path) == 0);
		if (i == 0)
			g->script(&d);
		stop(&d);
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

	configure(&d);
	d.talks = true;
	d.wall_ms += 86400 * 1000; /* a day later: what was written with its time shows it */
	if (start(&d, folder) == 0)
		say_rows(&d);
	stop(&d);
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
