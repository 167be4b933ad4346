/*
 * oracle.c -- the model: messages, gids, and what may be in Kafka.
 *
 * Small worlds (some thousand messages), so tables are arrays and look-ups are linear or
 * through one hash map; being obviously right matters more than speed here.
 */
#include "sim/oracle.h"

#include <inttypes.h>
#include <stdarg.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/map.h"
#include "sim/digits.h"

#define SEQ_TEXT 96 /* escrow-seq, partition and topic */

struct omessage {
	uint32_t topic;
	uint32_t key;
	uint32_t size;
	bool plain;
	bool invoked;
	bool plain_ok;
	bool forced;             /* of one of its gids: see oracle_force()                */
	bool grown;              /* its topic got more partitions                        */
	int32_t partition;       /* of its first record                                  */
	bool undeliverable;      /* Kafka refuses it for good, and the broker says so         */
	int64_t commit_ns;       /* when that was                                        */
	uint64_t commit_invoked; /* step of the first commit told for any of its gids; 0 */
	uint64_t commit_ok;      /* step of the first END commit that was answered; 0    */
	uint64_t position;       /* 1 + order of its first record in Kafka; 0: not there  */
	struct gid published;    /* under this gid                                       */
};

struct ogid {
	struct gid gid;
	uint32_t message;
	enum truth truth;
	uint8_t state; /* as last told by a transition */
	bool crashed;  /* since then: recovery does not narrate */
	bool refused;  /* Kafka refused it for good, once at least */
	bool ok;       /* a half-send was answered with it */
	bool commit_invoked, rollback_invoked;
	bool commit_ok, rollback_ok;
	uint64_t decided_step;                /* of the first answered END */
	uint64_t commit_step, commit_ok_step; /* of the first commit told, and answered */
	int64_t commit_ns;
	bool in_kafka;
	bool forced;
	bool discarded;
	uint32_t sent, received; /* checks: as the broker says, and as they came        */
	uint32_t untold;         /* so many more may have been sent                    */
	char seq[SEQ_TEXT];      /* its escrow-seq, topic and partition */
};

struct oracle {
	char violation[512];
	uint64_t step;
	struct omessage *messages;
	uint32_t message_count, message_room;
	struct ogid *gids;
	uint32_t gid_count, gid_room;
	struct map by_gid;
	struct gid newest; /* of those that a half-send was answered with */
	uint64_t records;
	struct oracle_counts counts;
	/* escrow-seq texts seen, to find one that is used twice */
	struct seq_seen {
		char text[SEQ_TEXT];
		struct gid gid;
	} * seqs;
	uint32_t seq_count, seq_room;
	struct map by_seq;
	/* escrow-seq's n, of every record, with its lane: none may be missing in the end */
	struct n_seen {
		uint32_t topic;
		int32_t partition;
		uint64_t n;
	} * ns;
	uint32_t n_count, n_room;
	bool prompt;
	int64_t window_ns;
	int64_t now_ns;
	uint64_t grown; /* bit 1 << topic */
	oracle_shown_fn shown;
	void *shown_arg;
	/* one that overtook another while the broker was down and could not be asked */
	struct suspect {
		uint32_t message;
		uint32_t before;
	} suspects[64];
	uint32_t suspect_count;
	struct buf want; /* kept: each record needs it */
};

static uint64_t
gid_hash(const void *arg, uint32_t index)
{
	const struct oracle *o = arg;

	return hash_u64(o->gids[index].gid.lo);
}

static uint64_t
text_hash(const char *text)
{
	struct hash128 h = hash_body(text, strlen(text), 0);

	return h.lo;
}

static uint64_t
seq_hash(const void *arg, uint32_t index)
{
	const struct oracle *o = arg;

	return text_hash(o->seqs[index].text);
}

struct oracle *
oracle_new(void)
{
	struct oracle *o = mem_alloc(sizeof(*o));

	map_init(&o->by_gid, gid_hash, o);
	map_init(&o->by_seq, seq_hash, o);
	o->step = 1;
	return o;
}

struct oracle *
oracle_free(struct oracle *o)
{
	if (!o)
		return NULL;
	map_done(&o->by_gid);
	map_done(&o->by_seq);
	mem_free(o->messages);
	mem_free(o->gids);
	mem_free(o->seqs);
	mem_free(o->ns);
	buf_free(&o->want);
	mem_free(o);
	return NULL;
}

const char *
oracle_violation(const struct oracle *o)
{
	return o->violation[0] ? o->violation : NULL;
}

void
oracle_fail(struct oracle *o, const char *fmt, ...)
{
	va_list args;

	if (o->violation[0])
		return; /* the first one is the cause */
	va_start(args, fmt);
	vsnprintf(o->violation, sizeof(o->violation), fmt, args);
	va_end(args);
}

/* ---- messages ------------------------------------------------------------------------ */

uint32_t
oracle_message(struct oracle *o, uint32_t topic, uint32_t key, uint32_t size, bool plain)
{
	struct omessage *m;

	if (o->message_count == o->message_room) {
		o->message_room = o->message_room ? o->message_room * 2 : 64;
		o->messages = mem_grow(o->messages, o->message_room * sizeof(*o->messages));
	}
	m = &o->messages[o->message_count];
	memset(m, 0, sizeof(*m));
	m->topic = topic;
	m->key = key;
	m->size = size;
	m->plain = plain;
	return o->message_count++;
}

uint32_t
oracle_messages(const struct oracle *o)
{
	return o->message_count;
}

uint32_t
oracle_topic(const struct oracle *o, uint32_t message)
{
	return o->messages[message].topic;
}

bool
oracle_is_plain(const struct oracle *o, uint32_t message)
{
	return o->messages[message].plain;
}

void
oracle_body(const struct oracle *o, uint32_t message, struct buf *out)
{
	const struct omessage *m = &o->messages[message];
	size_t start = out->len, head;
	char *p, *end;

	p = buf_reserve(out, 2 + DIGITS_MAX);
	end = digits(p, "m", message);
	*end++ = ':';
	head = (size_t)(end - p);
	out->len += head;
	if (m->size <= head)
		return;
	p = buf_reserve(out, m->size + 8) - head;
	for (size_t i = head; i < m->size; i += 8)
		le_put64((uint8_t *)p + i, hash_u64(message * UINT64_C(1000003) + i));
	out->len = start + m->size;
}

void
oracle_key(const struct oracle *o, uint32_t message, struct buf *out)
{
	char text[1 + DIGITS_MAX];
	char *end = digits(text, "k", o->messages[message].key);

	if (o->messages[message].key)
		buf_add(out, text, (size_t)(end - text));
}

/* ---- gids ------------------------------------------------------------------------------ */

static struct ogid *
find(const struct oracle *o, struct gid gid)
{
	struct map_probe probe;
	uint32_t i;

	for (i = map_first(&o->by_gid, hash_u64(gid.lo), &probe); i != MAP_NONE;
	     i = map_next(&o->by_gid, &probe)) {
		if (gid_eq(o->gids[i].gid, gid))
			return &o->gids[i];
	}
	return NULL;
}

static struct ogid *
find_or_add(struct oracle *o, struct gid gid, uint32_t message)
{
	struct ogid *g = find(o, gid);

	if (g)
		return g;
	if (o->gid_count == o->gid_room) {
		o->gid_room = o->gid_room ? o->gid_room * 2 : 64;
		o->gids = mem_grow(o->gids, o->gid_room * sizeof(*o->gids));
	}
	g = &o->gids[o->gid_count];
	memset(g, 0, sizeof(*g));
	g->gid = gid;
	g->message = message;
	map_put(&o->by_gid, hash_u64(gid.lo), o->gid_count++);
	return g;
}

/* What it must end as, as far as anybody was told. */
static enum truth
outcome(const struct ogid *g)
{
	if (!g->forced)
		return g->truth;
	return g->commit_ok ? TRUTH_COMMIT : g->rollback_ok ? TRUTH_ROLLBACK : TRUTH_NONE;
}

void
oracle_set_shown(struct oracle *o, oracle_shown_fn fn, void *arg)
{
	o->shown = fn;
	o->shown_arg = arg;
}

/* Is it excused?  A refusal may have become durable in a crash, and recovery does not narrate. */
static bool
undeliverable(struct oracle *o, uint32_t message)
{
	struct omessage *m = &o->messages[message];

	for (uint32_t i = 0; i < o->gid_count && !m->undeliverable; i++) {
		const struct ogid *g = &o->gids[i];

		if (g->message == message && (outcome(g) == TRUTH_COMMIT || m->plain) && o->shown &&
		    o->shown(o->shown_arg, g->gid) == TXN_UNDELIVERABLE)
			m->undeliverable = true;
	}
	return m->undeliverable;
}

/* It must come, and has not. */
static bool
missing(struct oracle *o, uint32_t message)
{
	return !o->messages[message].position && !undeliverable(o, message);
}

/* Now it is known which message that gid is of, perhaps long after somebody decided it. */
static void
adopt(struct oracle *o, struct ogid *g, uint32_t message)
{
	struct omessage *m = &o->messages[message];

	g->message = message;
	m->forced |= g->forced;
	if (g->discarded || g->state == TXN_UNDELIVERABLE || g->state == TXN_DISCARDED)
		m->undeliverable = true; /* the answer was slower than Kafka, and an operator */
	if (g->commit_step && (!m->commit_invoked || g->commit_step < m->commit_invoked)) {
		m->commit_invoked = g->commit_step;
		m->commit_ns = g->commit_ns;
	}
	if (g->commit_ok_step && (!m->commit_ok || g->commit_ok_step < m->commit_ok))
		m->commit_ok = g->commit_ok_step;
}

void
oracle_half_invoked(struct oracle *o, uint32_t message)
{
	o->messages[message].invoked = true;
	o->counts.halves++;
}

/*
 * Whoever cleans a table by a watermark deletes what is below a gid: one that began later, and is
 * smaller, would go with it.
 */
static void
keep_order(struct oracle *o, struct gid gid)
{
	bool later = gid.lo > o->newest.lo;

	if (later ? gid.hi < o->newest.hi : gid.hi > o->newest.hi)
		oracle_fail(o, "I-10 the gids of seq %" PRIu64 " and %" PRIu64 " are out of order",
			    o->newest.lo, gid.lo);
	if (later)
		o->newest = gid;
}

void
oracle_half_ok(struct oracle *o, uint32_t message, struct gid gid, uint64_t asked)
{
	struct ogid *g = find_or_add(o, gid, message);

	keep_order(o, gid);
	o->counts.halves_ok++;
	o->counts.repeats_ok += g->ok;
	if (g->message != message && g->message != UINT32_MAX)
		oracle_fail(o, "I-3 one gid for two messages: %" PRIu32 " and %" PRIu32, g->message,
			    message);
	adopt(o, g, message);
	g->ok = true;
	if (o->messages[message].plain) {
		o->messages[message].plain_ok = true;
		o->counts.plains++;
		return;
	}
	/*
	 * SUCCESS for what was decided before the question: its local transaction would run twice.
	 */
	if (g->decided_step && g->decided_step < asked)
		oracle_fail(o,
			    "I-2 half-send of message %" PRIu32
			    " answered SUCCESS, but seq %" PRIu64
			    " was decided before it was asked",
			    message, gid.lo);
}

void
oracle_set_window(struct oracle *o, int64_t window_ns)
{
	o->window_ns = window_ns;
}

void
oracle_half_again(struct oracle *o, uint32_t message)
{
	if (o->now_ns - o->messages[message].commit_ns < o->window_ns &&
	    !o->messages[message].forced)
		oracle_fail(o,
			    "I-2 message %" PRIu32
			    " is committed, and its half-send was answered SUCCESS",
			    message);
}

void
oracle_local(struct oracle *o, struct gid gid, enum truth truth)
{
	struct ogid *g = find_or_add(o, gid, UINT32_MAX);

	CHECK(g->truth != TRUTH_COMMIT && g->truth != TRUTH_ROLLBACK, gid.lo);
	g->truth = truth;
}

enum truth
oracle_truth(const struct oracle *o, struct gid gid)
{
	const struct ogid *g = find(o, gid);

	return g ? g->truth : TRUTH_NONE;
}

void
oracle_decide_invoked(struct oracle *o, struct gid gid, enum verdict verdict)
{
	struct ogid *g = find_or_add(o, gid, UINT32_MAX);

	if (verdict == VERDICT_COMMIT) {
		g->commit_invoked = true;
		if (!g->commit_step) {
			g->commit_step = o->step;
			g->commit_ns = o->now_ns;
		}
	}
	if (verdict == VERDICT_ROLLBACK)
		g->rollback_invoked = true;
	if (g->message != UINT32_MAX)
		adopt(o, g, g->message);
}

void
oracle_decide_ok(struct oracle *o, struct gid gid, enum verdict verdict)
{
	struct ogid *g = find_or_add(o, gid, UINT32_MAX);

	if (!g->decided_step)
		g->decided_step = o->step;
	if (verdict == VERDICT_COMMIT) {
		g->commit_ok = true;
		o->counts.commits_ok++;
		if (!g->commit_ok_step)
			g->commit_ok_step = o->step;
		if (g->message != UINT32_MAX)
			adopt(o, g, g->message);
	} else {
		g->rollback_ok = true;
		o->counts.rollbacks_ok++;
	}
	if (g->commit_ok && g->rollback_ok)
		oracle_fail(o, "I-5 both decisions answered with success: seq %" PRIu64, gid.lo);
}

void
oracle_decide_refused(struct oracle *o, struct gid gid, enum verdict verdict)
{
	const struct ogid *g = find(o, gid);

	o->counts.refused++;
	if (!g)
		return;
	if (verdict == VERDICT_COMMIT && !g->rollback_invoked)
		oracle_fail(o, "I-5 commit of seq %" PRIu64 " refused, and nobody rolled it back",
			    gid.lo);
	if (verdict == VERDICT_ROLLBACK && !g->commit_invoked)
		oracle_fail(o, "I-5 rollback of seq %" PRIu64 " refused, and nobody committed it",
			    gid.lo);
}

void
oracle_decide_lost(struct oracle *o, struct gid gid)
{
	const struct ogid *g = find(o, gid);

	if (g && g->ok && !g->decided_step && !g->commit_invoked && !g->rollback_invoked)
		oracle_fail(o, "I-2 seq %" PRIu64 " was answered, is undecided, and is not known",
			    gid.lo);
}

void
oracle_force(struct oracle *o, struct gid gid)
{
	struct ogid *g = find_or_add(o, gid, UINT32_MAX);

	g->forced = true;
	if (g->message != UINT32_MAX)
		o->messages[g->message].forced = true;
}

void
oracle_discarded(struct oracle *o, struct gid gid)
{
	struct ogid *g = find_or_add(o, gid, UINT32_MAX);

	g->discarded = true;
	g->refused = true; /* or there was nothing to discard; history may forget both */
	if (g->message != UINT32_MAX)
		o->messages[g->message].undeliverable = true;
}

void
oracle_set_prompt(struct oracle *o, bool prompt)
{
	o->prompt = prompt;
}

void
oracle_check_sent(struct oracle *o, struct gid gid)
{
	find_or_add(o, gid, UINT32_MAX)->sent++;
}

void
oracle_check_ordered(struct oracle *o, struct gid gid)
{
	find_or_add(o, gid, UINT32_MAX)->untold++;
}

/* What is decided is asked about once more at most: by the one that was on its way. */
void
oracle_check_received(struct oracle *o, struct gid gid)
{
	struct ogid *g = find_or_add(o, gid, UINT32_MAX);

	if (++g->received > g->sent + g->untold + 1 && o->prompt)
		oracle_fail(o,
			    "I-8 %" PRIu32 " checks of seq %" PRIu64 " came, and %" PRIu32
			    " were sent for cause",
			    g->received, gid.lo, g->sent);
}

void
oracle_grown(struct oracle *o, uint32_t topic)
{
	o->grown |= UINT64_C(1) << topic;
}

static void
overtook(struct oracle *o, uint32_t message, uint32_t before)
{
	if (undeliverable(o, before))
		return;
	oracle_fail(o, "I-6 message %" PRIu32 " overtook %" PRIu32 " under key %" PRIu32, message,
		    before, o->messages[message].key);
}

/* ---- the world -------------------------------------------------------------------------- */

void
oracle_step(struct oracle *o, int64_t now_ns)
{
	o->step++;
	o->now_ns = now_ns;
	while (o->suspect_count && o->shown && o->shown(o->shown_arg, o->gids[0].gid) >= 0) {
		const struct suspect *s = &o->suspects[--o->suspect_count];

		overtook(o, s->message, s->before);
	}
}

uint64_t
oracle_now(const struct oracle *o)
{
	return o->step;
}

void
oracle_crashed(struct oracle *o)
{
	o->counts.crashes++;
	/* A decision may have become durable, and nobody told of it: recovery does not narrate. */
	for (uint32_t i = 0; i < o->gid_count; i++) {
		o->gids[i].crashed = true;
		o->gids[i].untold++;
		if (o->gids[i].state == TXN_PARKED)
			o->gids[i].state = TXN_PREPARED;
		if (o->gids[i].state == TXN_PUBLISHED) /* and a mark may be lost */
			o->gids[i].state = TXN_COMMITTED;
	}
}

static bool
header(const struct sink_record *r, const char *name, struct str *ret_value)
{
	for (uint32_t i = 0; i < r->header_count; i++) {
		if (str_eq(r->headers[i].name, str_of(name))) {
			*ret_value = r->headers[i].value;
			return true;
		}
	}
	return false;
}

static void
keep_n(struct oracle *o, uint32_t message, const struct sink_record *r)
{
	struct str seq;
	char digits[24] = "";

	if (!header(r, "escrow-seq", &seq) || seq.n < 34 || seq.n - 33 >= sizeof(digits))
		return;
	memcpy(digits, seq.p + 33, seq.n - 33);
	if (o->n_count == o->n_room) {
		o->n_room = o->n_room ? o->n_room * 2 : 256;
		o->ns = mem_grow(o->ns, o->n_room * sizeof(*o->ns));
	}
	o->ns[o->n_count++] = (struct n_seen){ o->messages[message].topic, r->partition,
					       strtoull(digits, NULL, 10) };
}

static int
by_n(const void *a, const void *b)
{
	const struct n_seen *x = a, *y = b;

	if (x->topic != y->topic)
		return x->topic < y->topic ? -1 : 1;
	if (x->partition != y->partition)
		return x->partition < y->partition ? -1 : 1;
	return x->n < y->n ? -1 : x->n > y->n;
}

/* n is contiguous per partition; only what Kafka refused for good may be missing. */
static void
check_contiguous(struct oracle *o)
{
	uint64_t gaps = 0, refused = 0;

	if (o->n_count)
		qsort(o->ns, o->n_count, sizeof(*o->ns), by_n);
	for (uint32_t i = 0; i < o->n_count; i++) {
		const struct n_seen *x = &o->ns[i];
		bool same = i && o->ns[i - 1].topic == x->topic &&
			    o->ns[i - 1].partition == x->partition;
		uint64_t before = same ? o->ns[i - 1].n : 0;

		gaps += x->n > before ? x->n - before - 1 : 0;
	}
	/* A refusal that became durable in a crash was told by nobody, but it is shown. */
	for (uint32_t i = 0; i < o->gid_count; i++) {
		const struct ogid *g = &o->gids[i];
		int state = g->refused || !o->shown ? 0 : o->shown(o->shown_arg, g->gid);

		refused += g->refused || state == TXN_UNDELIVERABLE || state == TXN_DISCARDED;
	}
	if (gaps > refused)
		oracle_fail(o,
			    "I-10 %" PRIu64 " escrow-seq are missing, and Kafka refused only "
			    "%" PRIu64 " transactions",
			    gaps, refused);
}

/* One escrow-seq belongs to one transaction for ever, and one transaction has one escrow-seq. */
static void
check_seq(struct oracle *o, uint32_t message, struct ogid *g, const struct sink_record *r)
{
	struct map_probe probe;
	struct str seq;
	char text[SEQ_TEXT];
	uint32_t i;

	if (!header(r, "escrow-seq", &seq)) {
		oracle_fail(o, "I-3 message %" PRIu32 " without escrow-seq", message);
		return;
	}
	if (seq.n + 2 * DIGITS_MAX > sizeof(text)) {
		oracle_fail(o, "I-3 the escrow-seq of message %" PRIu32 " is too long", message);
		return;
	}
	memset(text, 0, sizeof(text));
	memcpy(text, seq.p, seq.n);
	(void)digits(digits(text + seq.n, "/", r->partition), "/", o->messages[message].topic);
	if (g->seq[0] && strcmp(g->seq, text) != 0)
		oracle_fail(o,
			    "I-10 escrow-seq of message %" PRIu32 " (seq %" PRIu64
			    ") changed: %s, then %s",
			    message, g->gid.lo, g->seq, text);
	memcpy(g->seq, text, sizeof(text));
	for (i = map_first(&o->by_seq, text_hash(text), &probe); i != MAP_NONE;
	     i = map_next(&o->by_seq, &probe)) {
		if (strcmp(o->seqs[i].text, text) != 0)
			continue;
		if (!gid_eq(o->seqs[i].gid, g->gid))
			oracle_fail(o, "I-10 escrow-seq %s is of seq %" PRIu64 " and of %" PRIu64,
				    text, o->seqs[i].gid.lo, g->gid.lo);
		return;
	}
	if (o->seq_count == o->seq_room) {
		o->seq_room = o->seq_room ? o->seq_room * 2 : 64;
		o->seqs = mem_grow(o->seqs, o->seq_room * sizeof(*o->seqs));
	}
	memcpy(o->seqs[o->seq_count].text, text, sizeof(text));
	o->seqs[o->seq_count].gid = g->gid;
	map_put(&o->by_seq, text_hash(text), o->seq_count++);
}

/* Only the broker can say that Kafka refused BEFORE; while it is down the verdict waits. */
static void
suspect(struct oracle *o, uint32_t message, uint32_t before)
{
	if (o->shown && o->shown(o->shown_arg, o->gids[0].gid) >= 0)
		overtook(o, message, before);
	else if (o->suspect_count < ARRAY_LEN(o->suspects))
		o->suspects[o->suspect_count++] = (struct suspect){ message, before };
}

/* Whoever was told "committed" before this one was even begun must be in the log already. */
static void
check_order(struct oracle *o, uint32_t message)
{
	const struct omessage *m = &o->messages[message];

	if (!m->key || !m->commit_invoked)
		return;
	for (uint32_t i = 0; i < o->message_count; i++) {
		const struct omessage *before = &o->messages[i];

		if (before->key != m->key || before->topic != m->topic || !before->commit_ok ||
		    before->commit_ok >= m->commit_invoked || before->position)
			continue;
		if (o->grown >> m->topic & 1)
			continue; /* may lie in another partition: check_late_order() */
		suspect(o, message, i);
	}
}

/* Once a topic has grown it is known only when the late one comes, in which partition it is. */
static void
check_late_order(struct oracle *o, uint32_t message)
{
	const struct omessage *m = &o->messages[message];

	if (!m->key || !m->commit_ok || !(o->grown >> m->topic & 1) || undeliverable(o, message))
		return;
	for (uint32_t i = 0; i < o->message_count; i++) {
		const struct omessage *other = &o->messages[i];

		if (other->key == m->key && other->topic == m->topic && other->position &&
		    other->partition == m->partition && other->commit_invoked > m->commit_ok)
			suspect(o, i, message);
	}
}

static void
check_bytes(struct oracle *o, uint32_t message, const struct sink_record *r)
{
	struct buf *want = &o->want;
	struct str uniq;
	char text[32];

	buf_reset(want, SIZE_MAX);
	oracle_body(o, message, want);
	if (!str_eq(buf_as_str(want), r->value))
		oracle_fail(o, "I-3 the body of message %" PRIu32 " is not what was sent", message);
	buf_reset(want, SIZE_MAX);
	oracle_key(o, message, want);
	if (want->len ? !str_eq(buf_as_str(want), r->key) : r->key.p != NULL)
		oracle_fail(o, "I-3 the key of message %" PRIu32 " is not what was sent", message);
	(void)digits(text, "u", message);
	if (!header(r, "UNIQ_KEY", &uniq) || !str_eq(uniq, str_of(text)))
		oracle_fail(o, "I-3 UNIQ_KEY of message %" PRIu32 " is not what was sent", message);
	(void)digits(text, "topic", o->messages[message].topic);
	if (!str_eq(r->topic, str_of(text)))
		oracle_fail(o, "I-3 message %" PRIu32 " is in the wrong topic", message);
}

void
oracle_kafka(struct oracle *o, int64_t offset, const struct sink_record *r)
{
	struct str id;
	struct gid gid;
	struct omessage *m;
	struct ogid *g;
	unsigned long number = 0;
	char digits[16] = "";

	o->counts.records++;
	if (log_enabled(LOG_TRACE))
		log_write(LOG_TRACE, "kafka has", "body=%.*s partition=%d offset=%lld",
			  (int)min_u64(strcspn(r->value.p, ":"), 12), r->value.p, (int)r->partition,
			  (long long)offset);
	if (r->value.n < 2 || r->value.p[0] != 'm') {
		oracle_fail(o, "I-3 a record at offset %" PRId64 " that nobody sent", offset);
		return;
	}
	memcpy(digits, r->value.p + 1, r->value.n - 1 < 15 ? r->value.n - 1 : 15);
	number = strtoul(digits, NULL, 10);
	if (number >= o->message_count || !o->messages[number].invoked) {
		oracle_fail(o, "I-3 a record of message %lu, which was never half-sent", number);
		return;
	}
	m = &o->messages[number];
	check_bytes(o, (uint32_t)number, r);
	keep_n(o, (uint32_t)number, r);
	if (!header(r, "escrow-id", &id) || id.n < 34 || gid_parse(str_from(id.p, 32), &gid) != 0) {
		oracle_fail(o, "I-3 message %lu without a valid escrow-id", number);
		return;
	}
	g = find_or_add(o, gid, (uint32_t)number);
	if (g->message == UINT32_MAX)
		adopt(o, g, (uint32_t)number);
	if (!m->plain && !g->commit_invoked)
		oracle_fail(o,
			    "I-1 message %lu (seq %" PRIu64
			    ") is in Kafka, and nobody committed it",
			    number, gid.lo);
	if (outcome(g) == TRUTH_ROLLBACK || g->rollback_ok)
		oracle_fail(o, "I-4 message %lu (seq %" PRIu64 ") was rolled back and is in Kafka",
			    number, gid.lo);
	check_seq(o, (uint32_t)number, g, r);
	if (m->position) {
		o->counts.duplicates++;
		if (!m->plain && !m->forced && !gid_eq(m->published, gid))
			oracle_fail(o, "I-1 message %lu is in Kafka under two escrow-ids", number);
		return;
	}
	m->partition = r->partition;
	check_order(o, (uint32_t)number);
	check_late_order(o, (uint32_t)number);
	m->position = ++o->records;
	m->published = gid;
	g->in_kafka = true;
}

/* I-10: from each state only where the drawing in txn.h goes; written down here again. */
static bool
may_follow(enum txn_state from, enum txn_state to)
{
	switch (from) {
	case TXN_PREPARED:
		return true;
	case TXN_PARKED:
		return to != TXN_PUBLISHED && to != TXN_DISCARDED && to != TXN_UNDELIVERABLE;
	case TXN_COMMITTED:
		return to == TXN_COMMITTED || to == TXN_PUBLISHED || to == TXN_UNDELIVERABLE;
	case TXN_UNDELIVERABLE:
		return to == TXN_UNDELIVERABLE || to == TXN_COMMITTED || to == TXN_DISCARDED;
	case TXN_PUBLISHED:
		return to == TXN_PUBLISHED || to == TXN_COMMITTED; /* a mark lost in a crash */
	case TXN_ROLLED_BACK:
		return to == TXN_ROLLED_BACK;
	case TXN_DISCARDED:
		return to == TXN_DISCARDED;
	}
	abort();
}

void
oracle_transition(struct oracle *o, const struct note *n)
{
	struct ogid *g = find_or_add(o, n->gid, UINT32_MAX);

	/* A refusal, or its retry, may have become durable, and nobody told of it. */
	if (g->crashed && g->state && n->from && may_follow((enum txn_state)g->state, n->from))
		g->state = (uint8_t)n->from;
	g->crashed = false;
	if (g->state && !may_follow((enum txn_state)g->state, n->to))
		oracle_fail(o, "I-10 seq %" PRIu64 " went from %s to %s", n->gid.lo,
			    txn_state_name((enum txn_state)g->state), txn_state_name(n->to));
	g->untold += n->event == TXN_HALF_SEND || n->event == TXN_RESUME;
	g->state = (uint8_t)n->to;
	g->refused |= n->from == TXN_UNDELIVERABLE || n->to == TXN_UNDELIVERABLE;
	if (g->message != UINT32_MAX)
		o->messages[g->message].undeliverable =
			n->to == TXN_UNDELIVERABLE || n->to == TXN_DISCARDED;
	if (n->to == TXN_COMMITTED && !g->commit_invoked &&
	    (g->message == UINT32_MAX || !o->messages[g->message].plain) && n->event != TXN_RETRY &&
	    n->from)
		oracle_fail(o, "I-3 seq %" PRIu64 " committed, and nobody said so", n->gid.lo);
}

void
oracle_refused(struct oracle *o, struct gid gid)
{
	find_or_add(o, gid, UINT32_MAX)->refused = true;
}

uint64_t
oracle_owed(struct oracle *o)
{
	uint64_t owed = 0;

	for (uint32_t i = 0; i < o->gid_count; i++) {
		const struct ogid *g = &o->gids[i];

		if (g->message == UINT32_MAX)
			continue;
		if (outcome(g) == TRUTH_COMMIT && missing(o, g->message))
			owed++;
		if (g->truth == TRUTH_RUNNING && !g->forced)
			owed++;
	}
	for (uint32_t i = 0; i < o->message_count; i++)
		owed += o->messages[i].plain_ok && missing(o, i);
	return owed;
}

void
oracle_final(struct oracle *o)
{
	for (uint32_t i = 0; i < o->gid_count; i++) {
		const struct ogid *g = &o->gids[i];

		if (g->message == UINT32_MAX)
			continue;
		if (outcome(g) == TRUTH_COMMIT && missing(o, g->message))
			oracle_fail(o,
				    "I-7 message %" PRIu32 " (seq %" PRIu64
				    ") committed and never in Kafka%s",
				    g->message, g->gid.lo,
				    g->commit_ok ? ", though END was answered" : "");
		if (g->truth == TRUTH_COMMIT && o->messages[g->message].position &&
		    !o->messages[g->message].forced &&
		    !gid_eq(o->messages[g->message].published, g->gid))
			oracle_fail(o,
				    "I-1 message %" PRIu32
				    " was published under another gid than the one "
				    "that committed",
				    g->message);
	}
	for (uint32_t i = 0; i < o->message_count; i++) {
		if (o->messages[i].plain_ok && missing(o, i))
			oracle_fail(o,
				    "I-7 plain message %" PRIu32 " was answered and never in Kafka",
				    i);
	}
	check_contiguous(o);
}

/*
 * ---- the digest: a field that is added above, and judged by, belongs here too ----------------
 * But for the counts of checks: nobody tells of those in the worlds whose digests are compared.
 */

static void
count_if_earlier(uint64_t step, uint64_t than, uint64_t *count)
{
	*count += step && step < than;
}

/* The place of STEP among all that are remembered; 0: it never was. */
static uint64_t
rank(const struct oracle *o, uint64_t step)
{
	uint64_t earlier = 0;

	if (!step)
		return 0;
	for (uint32_t i = 0; i < o->message_count; i++) {
		count_if_earlier(o->messages[i].commit_invoked, step, &earlier);
		count_if_earlier(o->messages[i].commit_ok, step, &earlier);
	}
	for (uint32_t i = 0; i < o->gid_count; i++) {
		count_if_earlier(o->gids[i].decided_step, step, &earlier);
		count_if_earlier(o->gids[i].commit_step, step, &earlier);
		count_if_earlier(o->gids[i].commit_ok_step, step, &earlier);
	}
	return 1 + earlier;
}

/* In whatever order they were met. */
static void
add_up(struct hash128 *total, const void *p, size_t n, uint64_t kind)
{
	struct hash128 h = hash_body(p, n, kind);

	total->lo += h.lo;
	total->hi += h.hi + (total->lo < h.lo);
}

struct hash128
oracle_digest(const struct oracle *o)
{
	struct hash128 total = { o->suspect_count, o->grown };

	for (uint32_t i = 0; i < o->message_count; i++) {
		const struct omessage *m = &o->messages[i];
		uint64_t words[] = {
			i,
			(uint64_t)(m->invoked | m->plain_ok << 1 | m->undeliverable << 2 |
				   (m->position != 0) << 3 | m->forced << 4 | m->grown << 5),
			(uint64_t)m->partition,
			(uint64_t)m->commit_ns,
			rank(o, m->commit_invoked),
			rank(o, m->commit_ok),
			m->published.hi,
			m->published.lo,
		};

		add_up(&total, words, sizeof(words), 1);
	}
	for (uint32_t i = 0; i < o->gid_count; i++) {
		const struct ogid *g = &o->gids[i];
		uint64_t words[] = {
			g->gid.hi,
			g->gid.lo,
			g->message,
			g->truth,
			g->state,
			(uint64_t)(g->ok | g->commit_invoked << 1 | g->rollback_invoked << 2 |
				   g->commit_ok << 3 | g->rollback_ok << 4 | g->in_kafka << 5 |
				   g->forced << 6 | g->discarded << 7 | g->crashed << 8),
			rank(o, g->decided_step),
			rank(o, g->commit_step),
			rank(o, g->commit_ok_step),
			(uint64_t)g->commit_ns,
		};

		add_up(&total, words, sizeof(words), 2);
	}
	/* With their numbers, which check_contiguous() looks at again; and so each gid's own. */
	for (uint32_t i = 0; i < o->seq_count; i++)
		add_up(&total, o->seqs[i].text, strlen(o->seqs[i].text), o->seqs[i].gid.lo);
	for (uint32_t i = 0; i < o->suspect_count; i++)
		add_up(&total, &o->suspects[i], sizeof(o->suspects[i]), UINT64_MAX);
	return total;
}

const struct oracle_counts *
oracle_counts(const struct oracle *o)
{
	return &o->counts;
}
