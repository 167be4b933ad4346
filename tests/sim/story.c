/*
 * story.c -- tells the directed cases and compares them with what is written down.
 *
 *   story NAME                prints one trace
 *   story --list              names and titles
 *   story --check DIRECTORY   compares all with DIRECTORY/NAME.txt; exit status 1 when one differs
 *   story --accept DIRECTORY  writes them all, to be looked at and committed
 */
#include "sim/story.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdarg.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"

#define PEERS_MAX    8
#define MESSAGES_MAX 512
#define CHECKS_MAX   16
#define BODY_SHOWN   24 /* bytes of a record */
#define DEFAULT_KEY  "k1"

/* A check heard and not answered. */
struct heard_check {
	uint32_t message;
	struct peer_tokens tokens;
};

struct person {
	char name[16];
	char group[32];
	uint32_t id;
	struct peer *peer;
	int64_t beat_ns; /* when its next heartbeat is due */
	bool loses;
	struct heard_check checks[CHECKS_MAX];
	uint32_t check_count;
};

struct tale_message {
	char name[16];
	uint32_t times; /* transactions that it became */
	struct peer_tokens tokens;
	struct gid gid;
};

struct known_gid {
	struct gid gid;
	char name[24];
};

struct story {
	struct stage stage;
	struct buf out;
	bool hushed;
	bool full; /* the journal, as last told */
	bool dead; /* the process has ended of itself, and the trace says so */
	int32_t opaque;
	struct person people[PEERS_MAX];
	uint32_t people_count;
	struct tale_message messages[MESSAGES_MAX];
	uint32_t message_count;
	struct known_gid gids[MESSAGES_MAX];
	uint32_t gid_count;
	/* half-sends and ENDs under way, by opaque: whose answer is it? */
	struct asked {
		int32_t opaque;
		uint32_t message;
		bool half;
	} asked[MESSAGES_MAX];
	uint32_t asked_count;
};

/* ---- printing ---------------------------------------------------------------------------- */

static const char *
name_of(struct story *s, struct gid gid)
{
	for (uint32_t i = 0; i < s->gid_count; i++)
		if (gid_eq(s->gids[i].gid, gid))
			return s->gids[i].name;
	return "?";
}

/* Ids are random: in a trace the names stand for them, once these are known. */
static struct buf
named(struct story *s)
{
	struct buf out = BUF_INIT;
	const char *text = s->out.data;
	size_t left = s->out.len;
	struct gid gid;

	while (left) {
		if (left >= GID_TEXT - 1 && gid_parse(str_from(text, GID_TEXT - 1), &gid) == 0) {
			buf_printf(&out, "%s", name_of(s, gid));
			text += GID_TEXT - 1;
			left -= GID_TEXT - 1;
		} else {
			buf_u8(&out, (uint8_t)*text++);
			left--;
		}
	}
	buf_free(&s->out);
	return out;
}

void
line(struct story *s, const char *who, const char *fmt, ...)
{
	int64_t ms = (s->stage.clock.now_ns - STAGE_START_NS) / NS_PER_MS;
	char text[1024];
	va_list args;

	if (s->hushed)
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	buf_printf(&s->out, "%6" PRId64 ".%03d  %-9s ", ms / 1000, (int)(ms % 1000), who);
	buf_printf(&s->out, "%s\n", text);
}

void
remark(struct story *s, const char *text)
{
	if (!s->hushed)
		buf_printf(&s->out, "\n-- %s\n", text);
}

void
hush(struct story *s, bool on)
{
	s->hushed = on;
}

struct stage *
stage_of(struct story *s)
{
	return &s->stage;
}

static struct person *
person_of(struct story *s, const char *who)
{
	for (uint32_t i = 0; i < s->people_count; i++)
		if (strcmp(s->people[i].name, who) == 0)
			return &s->people[i];
	CHECK(s->people_count < PEERS_MAX, s->people_count);
	snprintf(s->people[s->people_count].name, sizeof(s->people[0].name), "%s", who);
	s->people[s->people_count].id = s->people_count + 1;
	return &s->people[s->people_count++];
}

static uint32_t
message_of(struct story *s, struct str name)
{
	for (uint32_t i = 0; i < s->message_count; i++)
		if (str_eq(str_of(s->messages[i].name), name))
			return i;
	CHECK(s->message_count < MESSAGES_MAX, s->message_count);
	snprintf(s->messages[s->message_count].name, sizeof(s->messages[0].name), "%.*s",
		 STR_ARG(name));
	return s->message_count++;
}

/* ---- what the daemon does --------------------------------------------------------------- */

/* A transaction is met for the first time. */
static void
meet(struct story *s, struct gid gid)
{
	for (uint32_t i = 0; i < s->gid_count; i++)
		if (gid_eq(s->gids[i].gid, gid))
			return;
	CHECK(s->gid_count < MESSAGES_MAX, gid.lo);
	s->gids[s->gid_count++].gid = gid;
}

/* Which message is it?  The daemon tells by its key, to anybody who asks for that. */
static void
name_it(struct story *s, struct known_gid *g)
{
	static struct list_page page; /* large, and one thread */

	for (uint32_t i = 0; i < s->message_count; i++) {
		struct tale_message *m = &s->messages[i];

		for (uint32_t k = 0; k < s->people_count; k++) {
			struct list_query q = { .group = str_of(s->people[k].group),
						.key = str_of(m->name),
						.limit = 10 };
			bool found = false;

			if (!q.group.n)
				continue;
			core_list(loop_core(s->stage.loop), &q, &page);
			for (uint32_t r = 0; r < page.count; r++)
				found |= gid_eq(page.rows[r].gid, g->gid);
			if (!found)
				continue;
			m->gid = g->gid;
			memcpy(g->name, m->name, sizeof(m->name));
			if (++m->times > 1)
				snprintf(g->name + strlen(m->name), 8, "#%d", (int)m->times % 100);
			return;
		}
	}
}

static void
name_all(struct story *s)
{
	for (uint32_t i = 0; i < s->gid_count; i++)
		if (s->stage.loop && !s->gids[i].name[0])
			name_it(s, &s->gids[i]);
}

static const char *
verdict_word(int64_t value)
{
	return value == TXN_COMMIT ? "commit" : value == TXN_ROLLBACK ? "rollback" : "unknown";
}

static void
on_note(void *arg, const struct note *n)
{
	struct story *s = arg;
	char gid[GID_TEXT];

	if (n->gid.lo)
		meet(s, n->gid);
	gid_format(n->gid, gid);
	switch (n->kind) {
	case NOTE_TRANSITION:
		if (!n->from)
			line(s, "escrow", "%s is durable: %s", gid, txn_state_name(n->to));
		else if (n->from != n->to)
			line(s, "escrow", "%s: %s -> %s", gid, txn_state_name(n->from),
			     txn_state_name(n->to));
		else if (n->event == TXN_HALF_SEND)
			line(s, "escrow", "%s: half-sent again, the next generation", gid);
		return;
	case NOTE_CHECK_SENT:
		line(s, "escrow", "%s: check %" PRId64 " was delivered", gid, n->value);
		return;
	case NOTE_CHECK_ANSWERED:
		line(s, "escrow", "%s: the answer counts as %s", gid, verdict_word(n->value));
		return;
	case NOTE_PUBLISHED:
		line(s, "escrow", "%s: Kafka acknowledged it, %.*s/%d offset %" PRId64, gid,
		     STR_ARG(n->text), (int)n->partition, n->value);
		return;
	case NOTE_CONTRADICTION:
		line(s, "escrow", "%s: a %s contradicts the decision that stands", gid,
		     verdict_word((int64_t)n->event));
		return;
	case NOTE_UNPUBLISHABLE:
		line(s, "escrow", "ALARM %s: Kafka refuses it for good, code %" PRId64, gid,
		     n->value);
		return;
	case NOTE_LANE_FROZEN:
		line(s, "escrow", "lane %.*s/%d is frozen, code %" PRId64, STR_ARG(n->text),
		     (int)n->partition, n->value);
		return;
	case NOTE_LANE_RESUMED:
		line(s, "escrow", "lane %.*s/%d goes on", STR_ARG(n->text), (int)n->partition);
		return;
	case NOTE_GROUP_SILENT:
		line(s, "escrow", "ALARM a check is due, and nobody of group %.*s is connected",
		     STR_ARG(n->text));
		return;
	case NOTE_FOREIGN_CLUSTER:
		line(s, "escrow", "ALARM this is another Kafka (%.*s): all lanes are frozen",
		     STR_ARG(n->text));
		return;
	case NOTE_RECORD_GONE:
		line(s, "escrow", "ALARM %" PRId64 " owed messages are gone", n->value);
		return;
	case NOTE_TOPIC_ANEW:
		line(s, "escrow", "ALARM topic %.*s was made anew", STR_ARG(n->text));
		return;
	case NOTE_KEYS_FULL:
		line(s, "escrow", "ALARM the memory for keys is used up");
		return;
	case NOTE_GROUP_FULL:
		line(s, "escrow", "ALARM group %.*s has its share", STR_ARG(n->text));
		return;
	}
}

static void
on_append(void *arg, int64_t offset, const struct sink_record *r)
{
	struct story *s = arg;
	struct str id = STR_NONE, seq = STR_NONE;

	for (uint32_t i = 0; i < r->header_count; i++) {
		if (str_eq(r->headers[i].name, STR("escrow-id")))
			id = r->headers[i].value;
		if (str_eq(r->headers[i].name, STR("escrow-seq")))
			seq = r->headers[i].value;
	}
	CHECK(seq.n > 33, seq.n); /* <journal id>:<n> */
	line(s, "kafka", "%.*s/%d offset %" PRId64 ": \"%.*s%s\", escrow-id %.*s, escrow-seq %.*s",
	     STR_ARG(r->topic), (int)r->partition, offset, (int)min_u64(r->value.n, BODY_SHOWN),
	     r->value.p, r->value.n > BODY_SHOWN ? "..." : "", STR_ARG(id), (int)(seq.n - 33),
	     seq.p + 33);
}

static void
on_answer(void *arg, struct reply_to to, const struct answer *a)
{
	struct story *s = arg;

	(void)to;
	if (a->code == ANSWER_OK)
		line(s, "operator", "is told: ok, %s", txn_state_name(a->state));
	else
		line(s, "operator", "is told: %s%s%s", answer_text(a->code), a->why ? ": " : "",
		     a->why ? a->why : "");
}

/* ---- what producers hear ------------------------------------------------------------------ */

static const char *
code_word(int32_t code)
{
	static const struct {
		int32_t code;
		const char *word;
	} words[] = {
		{ WIRE_SUCCESS, "SUCCESS" },
		{ WIRE_SYSTEM_ERROR, "SYSTEM_ERROR" },
		{ WIRE_SYSTEM_BUSY, "SYSTEM_BUSY" },
		{ WIRE_NOT_SUPPORTED, "NOT_SUPPORTED" },
		{ WIRE_TRANSACTION_FAILED, "TRANSACTION_FAILED" },
		{ WIRE_MESSAGE_ILLEGAL, "MESSAGE_ILLEGAL" },
		{ WIRE_NO_PERMISSION, "NO_PERMISSION" },
		{ WIRE_TOPIC_NOT_EXIST, "TOPIC_NOT_EXIST" },
	};

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (words[i].code == code)
			return words[i].word;
	return "a code of RocketMQ's that Escrow does not use";
}

static void
hear_check(struct story *s, struct person *p, const struct wire_command *c)
{
	struct wire_str unique;
	struct heard_check *heard;

	if (p->check_count == CHECKS_MAX) /* the oldest is not answered any more */
		memmove(p->checks, p->checks + 1, --p->check_count * sizeof(*heard));
	heard = &p->checks[p->check_count++];
	CHECK(peer_tokens(c, &heard->tokens) && peer_check_unique(c, &unique), c->code);
	heard->message = message_of(s, str_from(unique.p, unique.n));
	line(s, p->name, "is asked: what became of %s?  (generation %d)", heard->tokens.gid,
	     (int)(heard->tokens.token & 0xff));
}

static void
hear_answer(struct story *s, struct person *p, const struct wire_command *c)
{
	struct asked *a = NULL;
	struct peer_tokens tokens;

	for (uint32_t i = 0; i < s->asked_count && !a; i++)
		if (s->asked[i].opaque == c->opaque)
			a = &s->asked[i];
	if (!a)
		return; /* to a heartbeat */
	if (a->half && c->code == WIRE_SUCCESS && peer_tokens(c, &tokens)) {
		s->messages[a->message].tokens = tokens;
		line(s, p->name, "hears: SUCCESS, transaction %s", tokens.gid);
	} else {
		line(s, p->name, "hears: %s%s%.*s", code_word(c->code), c->remark.n ? ", " : "",
		     (int)c->remark.n, c->remark.n ? c->remark.p : "");
	}
	*a = s->asked[--s->asked_count];
}

static void
listen_to(struct story *s, struct person *p)
{
	struct wire_command c;
	bool closed = false;

	while (p->peer && peer_next(p->peer, &c, &closed)) {
		if (p->loses && c.flag & WIRE_RESPONSE) {
			p->loses = false;
			line(s, p->name, "loses its connection, and the answer with it");
			p->peer = peer_close(p->peer, true);
			p->check_count = 0;
			return;
		}
		if (c.flag & WIRE_RESPONSE)
			hear_answer(s, p, &c);
		else if (c.code == WIRE_CHECK_TRANSACTION)
			hear_check(s, p, &c);
	}
	if (p->peer && closed) {
		line(s, p->name, "finds its connection closed");
		p->peer = peer_close(p->peer, true);
		p->check_count = 0;
	}
}

static void
after(struct story *s, int err)
{
	for (uint32_t i = 0; i < s->people_count; i++)
		listen_to(s, &s->people[i]);
	if (err) {
		line(s, "escrow", "ends the process: %s", err_text(err));
		s->dead = true;
		return;
	}
	name_all(s);
	if (s->stage.loop && journal_stats(loop_journal(s->stage.loop))->full != s->full) {
		s->full = !s->full;
		line(s, "escrow",
		     s->full ? "ALARM the journal is full: half-sends are refused"
			     : "the journal has room again");
	}
}

/* Turn by turn, so that an answer is told before what a later turn does. */
void
settle(struct story *s)
{
	bool quiet;

	do {
		if (!s->stage.loop || s->dead)
			return;
		quiet = !stage_busy(&s->stage);
		after(s, stage_turn(&s->stage));
	} while (s->stage.loop && !s->dead && (!quiet || stage_busy(&s->stage)));
}

/* ---- the words ---------------------------------------------------------------------------- */

void
begin(struct story *s)
{
	struct stage *g = &s->stage;

	sink_sim_topic(g->sink, "orders", 1, 0);
	sink_sim_topic(g->sink, "payments", 1, 0);
	sink_sim_watch(g->sink, on_append, s);
	g->hooks = (struct loop_hooks){ .arg = s, .note = on_note, .answer = on_answer };
	(void)restart(s);
}

static void
heartbeat(struct story *s, struct person *p)
{
	p->beat_ns = s->stage.clock.now_ns + 30 * NS_PER_S;
	(void)peer_heartbeat(p->peer, p->group, ++s->opaque);
}

/* All that is connected says so now and then, as RocketMQ's clients do.  When next? */
static int64_t
heartbeats(struct story *s)
{
	int64_t next = TIME_NEVER;

	for (uint32_t i = 0; i < s->people_count; i++) {
		struct person *p = &s->people[i];

		if (p->peer && p->beat_ns <= s->stage.clock.now_ns)
			heartbeat(s, p);
		if (p->peer)
			next = min_i64(next, p->beat_ns);
	}
	return next;
}

void
wait_ms(struct story *s, int64_t ms)
{
	struct stage *g = &s->stage;
	int64_t until_ns = g->clock.now_ns + ms * NS_PER_MS;

	line(s, "--", "%" PRId64 ".%03d s go by", ms / 1000, (int)(ms % 1000));
	while (g->clock.now_ns < until_ns) {
		int64_t next = min_i64(until_ns, sink_sim_next_ns(g->sink));

		next = min_i64(next, heartbeats(s));
		if (g->loop && !s->dead)
			next = min_i64(next, stage_due_ns(g));
		g->clock.now_ns = max_i64(next, g->clock.now_ns + 1);
		net_sim_advance(g->net, g->clock.now_ns);
		sink_sim_advance(g->sink, g->clock.now_ns);
		settle(s);
	}
}

void
show(struct story *s)
{
	static struct list_page page; /* large, and one thread */
	struct list_query q = { .limit = 100 };

	if (!s->stage.loop) {
		line(s, "escrow", "is not running");
		return;
	}
	core_list(loop_core(s->stage.loop), &q, &page);
	if (!page.count)
		line(s, "escrow", "knows of no transaction");
	for (uint32_t i = 0; i < page.count; i++) {
		const struct row_view *r = &page.rows[i];
		char gid[GID_TEXT];

		meet(s, r->gid);
		gid_format(r->gid, gid);
		if (r->state == TXN_PREPARED || r->state == TXN_PARKED)
			line(s, "escrow", "shows %s: %s, generation %d, %" PRIu32 " checks", gid,
			     txn_state_name(r->state), (int)r->generation, r->checks);
		else
			line(s, "escrow", "shows %s: %s", gid, txn_state_name(r->state));
	}
	name_all(s);
}

void
producer(struct story *s, const char *who, const char *group)
{
	struct person *p = person_of(s, who);

	snprintf(p->group, sizeof(p->group), "%s", group);
	p->peer = peer_connect(s->stage.net, STAGE_ADDRESS, p->id, p->id % 2 == 0);
	CHECK(p->peer, p->id);
	line(s, who, "connects, a producer of group %s", group);
	heartbeat(s, p);
	settle(s);
}

void
quit(struct story *s, const char *who)
{
	struct person *p = person_of(s, who);

	line(s, who, "disconnects");
	p->peer = peer_close(p->peer, false);
	p->check_count = 0;
	settle(s);
}

void
lose_answer(struct story *s, const char *who)
{
	person_of(s, who)->loses = true;
}

static int32_t
ask(struct story *s, uint32_t message, bool is_half)
{
	CHECK(s->asked_count < MESSAGES_MAX, message);
	s->asked[s->asked_count++] = (struct asked){ ++s->opaque, message, is_half };
	return s->opaque;
}

void
half_as(struct story *s, const char *who, const char *message, struct peer_message change)
{
	struct person *p = person_of(s, who);
	uint32_t i = message_of(s, str_of(message));
	struct buf body = BUF_INIT;
	struct peer_message m = change;
	const char *word = m.plain ? "sends" : "half-sends";

	buf_printf(&body, "body of %s", message);
	buf_u8(&body, 0);
	m.topic = m.topic ? m.topic : "orders";
	m.group = m.group ? m.group : p->group;
	m.unique = m.unique ? m.unique : message;
	m.key = m.key ? m.key : DEFAULT_KEY;
	m.body = m.body ? m.body : body.data;
	if (m.property)
		line(s, who, "%s %s to %s, with %s = %s", word, message, m.topic, m.property,
		     m.value);
	else if (change.body)
		line(s, who, "%s %s to %s, with a body of %zu bytes", word, message, m.topic,
		     strlen(m.body));
	else
		line(s, who, "%s %s to %s, key %s", word, message, m.topic, m.key);
	(void)peer_half_send(p->peer, &m, ask(s, i, true));
	buf_free(&body);
	settle(s);
}

void
half(struct story *s, const char *who, const char *message)
{
	half_as(s, who, message, (struct peer_message){ 0 });
}

void
half_on_purpose(struct story *s, const char *who, const char *message)
{
	char gid[GID_TEXT];

	memcpy(gid, s->messages[message_of(s, str_of(message))].tokens.gid, sizeof(gid));
	half_as(s, who, message,
		(struct peer_message){ .property = "__transactionId__", .value = gid });
}

static void
end(struct story *s, const char *who, const char *message, const char *group,
    enum wire_decision decision, struct peer_tokens tokens, const char *with)
{
	struct person *p = person_of(s, who);
	uint32_t i = message_of(s, str_of(message));

	line(s, who, "says: %s %s%s", decision == WIRE_COMMIT ? "commit" : "roll back", tokens.gid,
	     with);
	(void)peer_end(p->peer, group ? group : p->group, &tokens, decision, false,
		       ask(s, i, false));
	settle(s);
}

static struct peer_tokens
tokens_of(struct story *s, const char *message)
{
	return s->messages[message_of(s, str_of(message))].tokens;
}

void
commit(struct story *s, const char *who, const char *message)
{
	end(s, who, message, NULL, WIRE_COMMIT, tokens_of(s, message), "");
}

void
rollback(struct story *s, const char *who, const char *message)
{
	end(s, who, message, NULL, WIRE_ROLLBACK, tokens_of(s, message), "");
}

void
commit_as(struct story *s, const char *who, const char *message, const char *group)
{
	char with[64];

	snprintf(with, sizeof(with), ", as group %s", group);
	end(s, who, message, group, WIRE_COMMIT, tokens_of(s, message), with);
}

void
commit_with(struct story *s, const char *who, const char *message, int64_t seq_off,
	    int64_t token_off)
{
	struct peer_tokens t = tokens_of(s, message);

	t.seq += seq_off;
	t.token += token_off;
	end(s, who, message, NULL, WIRE_COMMIT, t,
	    seq_off ? ", with a sequence that is nobody's" : ", with a guessed token");
}

void
answer(struct story *s, const char *who, const char *message, enum wire_decision decision)
{
	struct person *p = person_of(s, who);
	uint32_t i = message_of(s, str_of(message)), k = 0;
	struct heard_check check;

	while (k < p->check_count && p->checks[k].message != i)
		k++;
	CHECK(k < p->check_count, i); /* it was asked */
	check = p->checks[k];
	p->check_count--;
	memmove(&p->checks[k], &p->checks[k + 1], (p->check_count - k) * sizeof(check));
	line(s, who, "answers: %s  (to the check of generation %d of %s)",
	     decision == WIRE_COMMIT     ? "commit"
	     : decision == WIRE_ROLLBACK ? "rollback"
					 : "unknown",
	     (int)(check.tokens.token & 0xff), check.tokens.gid);
	(void)peer_end(p->peer, p->group, &check.tokens, decision, true, ++s->opaque);
	settle(s);
}

void
hold_disk(struct story *s, bool on)
{
	line(s, "disk", on ? "is slow: no sync ends" : "ends what it held back");
	disk_sim_knobs(s->stage.disk)->hold = on;
	settle(s);
}

void
fail_sync(struct story *s)
{
	line(s, "disk", "will fail the next sync");
	disk_sim_knobs(s->stage.disk)->fail_sync = 1;
}

/* The daemon is gone, and all connections with it. */
static void
gone(struct story *s, bool power)
{
	disk_sim_knobs(s->stage.disk)->hold = false;
	sink_sim_set(s->stage.sink, &(struct sink_sim_knobs){ 0 });
	stage_crash(&s->stage, power);
	s->full = false;
	s->dead = false;
	s->asked_count = 0;
	for (uint32_t i = 0; i < s->people_count; i++) {
		s->people[i].peer = peer_close(s->people[i].peer, true);
		s->people[i].check_count = 0;
	}
}

void
power_cut(struct story *s, uint32_t units, bool torn)
{
	struct disk_sim_knobs *k = disk_sim_knobs(s->stage.disk);
	uint32_t steps, lost = disk_sim_unsynced(s->stage.disk, &steps);

	k->cut = torn ? DISK_SIM_TORN : DISK_SIM_PREFIX;
	k->cut_units = units;
	k->cut_steps = units ? steps : 0;
	if (!lost)
		line(s, "world", "POWER CUT: everything written was synced");
	else if (!units && !torn)
		line(s, "world", "POWER CUT: nothing of what was not synced survives");
	else if (units >= lost)
		line(s, "world", "POWER CUT: what was not synced survives by luck");
	else
		line(s, "world",
		     "POWER CUT: of %" PRIu32 " blocks not synced %" PRIu32 " survive%s", lost,
		     units, torn ? ", and half of the next" : "");
	gone(s, true);
}

void
kill_9(struct story *s)
{
	line(s, "world", "KILL -9: what was written stays in the page cache");
	gone(s, false);
}

bool
restart(struct story *s)
{
	int err = stage_start(&s->stage);

	if (err) {
		line(s, "escrow", "refuses to start: %s", s->stage.fault.text);
		s->stage.loop = NULL;
		/* what it had begun goes with it */
		stage_crash(&s->stage, false);
		return false;
	}
	line(s, "escrow", "starts");
	settle(s);
	return true;
}

void
hold_kafka(struct story *s, bool on)
{
	struct sink_sim_knobs k = { .hold = on };

	line(s, "kafka", on ? "takes its time: publications are under way" : "is prompt again");
	sink_sim_set(s->stage.sink, &k);
	sink_sim_advance(s->stage.sink, s->stage.clock.now_ns);
	settle(s);
}

void
kafka_says(struct story *s, enum sink_sim_fate fate)
{
	static const char *const words[] = {
		[SINK_SIM_ACKED] = "appends the first under way, and says so",
		[SINK_SIM_LOST] = "does not append the first under way: a passing error",
		[SINK_SIM_UNHEARD] = "appends the first under way, but the answer is lost",
		[SINK_SIM_REFUSED] = "refuses the first under way: invalid record",
		[SINK_SIM_LYING] = "appends the first under way, and says \"invalid record\"",
	};
	size_t left;

	line(s, "kafka", "%s", words[fate]);
	sink_sim_land(s->stage.sink, fate);
	/* What was sent behind a failed one fails with it, by the client library's own hand. */
	if (fate != SINK_SIM_ACKED) {
		for (left = sink_sim_flying(s->stage.sink); left > 0; left--)
			sink_sim_land(s->stage.sink, fate);
	}
	settle(s);
}

void
kafka_fatal(struct story *s)
{
	line(s, "kafka", "the client library reports a fatal error: the handle is useless");
	sink_sim_strand(s->stage.sink, 0, true);
	settle(s);
}

void
kafka_down(struct story *s, bool down)
{
	line(s, "kafka", down ? "is away" : "is back");
	sink_sim_down(s->stage.sink, down);
	sink_sim_advance(s->stage.sink, s->stage.clock.now_ns);
	settle(s);
}

void
operate(struct story *s, enum verb verb, const char *message, const char *reason)
{
	struct operation op = { .to = { PEER_HTTP | 1, 0 },
				.verb = verb,
				.gid = s->messages[message_of(s, str_of(message))].gid,
				.who = STR("ann"),
				.reason = str_of(reason) };

	line(s, "operator", "%s %s, because: %s", verb_name(verb), message, reason);
	core_operate(loop_core(s->stage.loop), &op);
	settle(s);
}

/* ---- the program --------------------------------------------------------------------------- */

static const struct story_case *const tables[] = {
	story_lives, story_checks, story_refusals, story_crashes, story_kafkas, story_journals,
};

static int64_t
no_clock(void *arg)
{
	(void)arg;
	return 0;
}

/* What operators must hear of is in the notes; of the log only a failed CHECK is wanted. */
static void
on_log(void *arg, const char *text, size_t len)
{
	(void)arg;
	if (memmem(text, len, " check=", 7))
		fwrite(text, 1, len, stderr);
}

static struct buf
tell(const struct story_case *c)
{
	struct story *s = mem_alloc(sizeof(*s));
	struct buf out;

	stage_init(&s->stage);
	buf_printf(&s->out, "%s\n\n%s\n\n", c->title, c->text);
	c->tell(s);
	for (uint32_t i = 0; i < s->people_count; i++)
		peer_close(s->people[i].peer, true);
	stage_done(&s->stage);
	out = named(s);
	mem_free(s);
	return out;
}

static struct buf
read_file(const char *path)
{
	struct buf b = BUF_INIT;
	FILE *f = fopen(path, "r");
	char bytes[4096];
	size_t n;

	if (!f)
		return b;
	while ((n = fread(bytes, 1, sizeof(bytes), f)) > 0)
		buf_add(&b, bytes, n);
	fclose(f);
	return b;
}

/* The first line that differs, of both. */
static void
print_difference(const char *name, struct str want, struct str got)
{
	size_t at = 0, number = 1, begin = 0;

	while (at < want.n && at < got.n && want.p[at] == got.p[at]) {
		if (want.p[at++] == '\n') {
			number++;
			begin = at;
		}
	}
	printf("%s: line %zu is\n  %.*s\nand was\n  %.*s\n", name, number,
	       (int)strcspn(begin < got.n ? got.p + begin : "", "\n"),
	       begin < got.n ? got.p + begin : "(the end)",
	       (int)strcspn(begin < want.n ? want.p + begin : "", "\n"),
	       begin < want.n ? want.p + begin : "(the end)");
}

/* True: as written down, or written down now. */
static bool
compare(const struct story_case *c, const char *directory, bool accept)
{
	struct buf got = tell(c), want;
	char path[512];
	bool same;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s.txt", directory, c->name);
	want = read_file(path);
	same = str_eq(buf_as_str(&got), buf_as_str(&want));
	if (!same && accept) {
		f = fopen(path, "w");
		same = f && fwrite(got.data, 1, got.len, f) == got.len && fclose(f) == 0;
		printf("%s: %s\n", c->name, same ? "written" : "cannot be written");
	} else if (!same) {
		buf_u8(&got, 0);
		buf_u8(&want, 0);
		print_difference(c->name, str_from(want.data, want.len - 1),
				 str_from(got.data, got.len - 1));
	}
	buf_free(&got);
	buf_free(&want);
	return same;
}

static const struct story_case *
find(struct str name)
{
	for (size_t t = 0; t < ARRAY_LEN(tables); t++)
		for (const struct story_case *c = tables[t]; c->name; c++)
			if (str_eq(str_of(c->name), name))
				return c;
	return NULL;
}

/* A trace that no story tells any more would be read as true. */
static uint32_t
orphans(const char *directory)
{
	DIR *d = opendir(directory);
	const struct dirent *e;
	uint32_t count = 0;

	while (d && (e = readdir(d)) != NULL) {
		size_t n = strlen(e->d_name);

		if (n > 4 && strcmp(e->d_name + n - 4, ".txt") == 0 &&
		    !find(str_from(e->d_name, n - 4))) {
			printf("%s: no story tells it\n", e->d_name);
			count++;
		}
	}
	if (d)
		closedir(d);
	return count;
}

static int
compare_all(const char *directory, bool accept)
{
	uint32_t count = 0, different = orphans(directory);

	for (size_t t = 0; t < ARRAY_LEN(tables); t++) {
		for (const struct story_case *c = tables[t]; c->name; c++, count++)
			different += !compare(c, directory, accept);
	}
	printf("%" PRIu32 " traces, %" PRIu32 " not as written down\n", count, different);
	if (different && !accept)
		printf("look at the change: story NAME; if it is right: story --accept %s\n",
		       directory);
	return different ? 1 : 0;
}

int
main(int argc, char **argv)
{
	const struct story_case *c = argc == 2 ? find(str_of(argv[1])) : NULL;
	struct buf out;

	log_redirect(no_clock, on_log, NULL);
	if (c) {
		out = tell(c);
		fwrite(out.data, 1, out.len, stdout);
		buf_free(&out);
		return 0;
	}
	if (argc == 3 && strcmp(argv[1], "--check") == 0)
		return compare_all(argv[2], false);
	if (argc == 3 && strcmp(argv[1], "--accept") == 0)
		return compare_all(argv[2], true);
	if (argc == 2 && strcmp(argv[1], "--list") == 0) {
		for (size_t t = 0; t < ARRAY_LEN(tables); t++)
			for (c = tables[t]; c->name; c++)
				printf("%-28s %s\n", c->name, c->title);
		return 0;
	}
	fprintf(stderr, "story: NAME, --list, --check DIRECTORY or --accept DIRECTORY\n");
	return 2;
}
