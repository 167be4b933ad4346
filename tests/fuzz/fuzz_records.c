/*
 * fuzz_records.c -- any records, with right checksums, into what loads them: decoder and core.
 *
 * The input is a run of { type 1 | length 2, little-endian | body }.  Each is decoded as
 * recovery does it and handed to a core: state, catalogue, copies, stubs, marks.  Then the core
 * starts, and every record is reclaimed, as if its segment were about to go.  Oracles besides
 * crashes:
 *
 *   - a record is decoded or refused; what was decoded, written again, decodes to the same;
 *   - the core takes a record or says that it is impossible; it never stumbles over it later;
 *   - its own state record loads into another core, which then writes the same;
 *   - what was copied forward, behind such a state record, brings back every transaction that is
 *     not finished, as it was: copies lose nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "core/core.h"
#include "fuzz/must.h"
#include "journal/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define INPUT_MAX   16384u
#define RECORDS_MAX 512u

static const uint32_t live_states =
	1u << TXN_PREPARED | 1u << TXN_COMMITTED | 1u << TXN_PARKED | 1u << TXN_UNDELIVERABLE;

/* A log of records: the LSN of each is its number and a little. */
struct record_log {
	struct record records[RECORDS_MAX];
	size_t count;
	struct buf bytes; /* bodies of those appended; offsets, for it moves */
	size_t at[RECORDS_MAX];
};

struct life {
	struct core *core;
	struct record_log in;  /* what is recovered: bodies are the input's                  */
	struct record_log out; /* what the core appends                                      */
	struct record_scratch *scratch;
	bool gone; /* it said that something is missing that was owed                       */
};

#define LSN_IN  1000000u
#define LSN_OUT 2000000u
#define LSN_GAP 100u

/* ---- ports ----------------------------------------------------------------------------------- */

static int
on_append(void *arg, const struct entry *e, struct place *ret_place)
{
	struct life *l = arg;
	struct record_log *out = &l->out;
	struct record r;
	uint8_t *p;
	size_t n;

	*ret_place = (struct place){ 0, 0 };
	if (out->count == RECORDS_MAX) {
		MUST(e->type == ENTRY_HALF || e->type == ENTRY_CHECKS ||
		     e->type == ENTRY_PUBLISHED);
		return e->type == ENTRY_HALF ? ERR_FULL : 0;
	}
	p = mem_alloc(record_bound(e));
	n = record_encode(e, p);
	MUST(n <= record_bound(e));
	MUST(record_open_ours(str_from((char *)p, n), 0, &r) == 0 && r.len == n);
	out->at[out->count] = out->bytes.len;
	buf_str(&out->bytes, r.body);
	out->records[out->count] = r;
	*ret_place = (struct place){ LSN_OUT + out->count * LSN_GAP, r.len };
	out->count++;
	mem_free(p);
	return 0;
}

/* Record I of LOG, its body where it is now. */
static struct record
record_at(const struct record_log *log, size_t i)
{
	struct record r = log->records[i];

	if (log->bytes.data)
		r.body.p = log->bytes.data + log->at[i];
	return r;
}

static int
on_fetch(void *arg, struct place place, uint64_t token, const struct half **ret_half)
{
	static struct entry e;
	struct life *l = arg;
	const struct record_log *log = place.lsn >= LSN_OUT ? &l->out : &l->in;
	size_t i = (size_t)((place.lsn - (log == &l->out ? LSN_OUT : LSN_IN)) / LSN_GAP);
	struct record r;

	(void)token;
	MUST(place.len && i < log->count);
	r = record_at(log, i);
	MUST(record_decode(&r, l->scratch, &e) == 0);
	MUST(e.type == ENTRY_HALF || e.type == ENTRY_COPY);
	*ret_half = e.type == ENTRY_HALF ? &e.half.half : &e.copy.half;
	return 0;
}

static void
on_answer(void *arg, struct reply_to to, const struct answer *answer)
{
	(void)arg, (void)to, (void)answer;
}

static int
on_check(void *arg, const struct check *check)
{
	(void)arg, (void)check;
	return ERR_CLOSED;
}

static int
on_publish(void *arg, const struct publication *p)
{
	(void)arg;
	MUST(p->n && p->index < p->half->count && p->partition >= 0);
	return 0;
}

static void
on_describe(void *arg, struct str topic)
{
	(void)arg, (void)topic;
}

static void
on_note(void *arg, const struct note *note)
{
	((struct life *)arg)->gone |= note->kind == NOTE_RECORD_GONE;
}

static uint64_t
on_random(void *arg)
{
	(void)arg;
	return 4; /* fair enough: nothing is half-sent */
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

/* ---- lives ----------------------------------------------------------------------------------- */

static struct core_conf conf;

static void
live(struct life *l)
{
	core_conf_default(&conf);
	l->core = core_new(&conf, &ports, l);
	l->scratch = mem_alloc(sizeof(*l->scratch));
}

static void
die(struct life *l)
{
	core_free(l->core);
	record_scratch_done(l->scratch);
	mem_free(l->scratch);
	buf_free(&l->in.bytes);
	buf_free(&l->out.bytes);
}

/* As bytes, as decoded from them, as bytes again: the same. */
static void
written_again(const struct entry *e)
{
	static struct record_scratch scratch;
	uint8_t *once = mem_alloc(record_bound(e)), *twice;
	size_t n = record_encode(e, once), m;
	struct entry again;
	struct record r;

	MUST(n <= record_bound(e));
	MUST(record_open_ours(str_from((char *)once, n), 0, &r) == 0 && r.len == n);
	MUST(record_decode(&r, &scratch, &again) == 0 && again.type == e->type);
	twice = mem_alloc(record_bound(&again));
	m = record_encode(&again, twice);
	MUST(m == n && memcmp(once + 4, twice + 4, n - 4) == 0);
	mem_free(once);
	mem_free(twice);
}

/* All of LOG into the core; false when it refused one. */
static bool
recover(struct life *l, const struct record_log *log)
{
	struct entry e;

	for (size_t i = 0; i < log->count; i++) {
		struct record r = record_at(log, i);
		struct place place = { LSN_IN + i * LSN_GAP, r.len };
		int err = record_decode(&r, l->scratch, &e);

		MUST(err == 0);
		err = core_recover(l->core, &e, place);
		MUST(err == 0 || err == ERR_CORRUPT);
		if (err)
			return false;
	}
	return true;
}

static void
state_of(struct life *l, struct buf *out)
{
	struct entry e = { .type = ENTRY_STATE };
	size_t n;

	core_state(l->core, &e.state);
	n = record_encode(&e, (uint8_t *)buf_reserve(out, record_bound(&e)));
	out->len += n;
}

static void
turn(struct life *l, int64_t now_ns, uint64_t wall_ms)
{
	core_clock(l->core, now_ns, wall_ms);
	core_decide(l->core);
	core_durable(l->core, UINT64_MAX);
	core_publish(l->core);
}

/* ---- the same transactions? ------------------------------------------------------------------ */

static void
page_of(struct life *l, struct list_page *page)
{
	struct list_query q = { .states = live_states, .limit = LIMIT_LIST_PAGE };

	core_list(l->core, &q, page);
	MUST(page->next_seq == 0);
}

static void
same_rows(struct life *a, struct life *b)
{
	static struct list_page x, y;

	page_of(a, &x);
	page_of(b, &y);
	MUST(x.count == y.count);
	for (uint32_t i = 0; i < x.count; i++) {
		const struct row_view *p = &x.rows[i], *q = &y.rows[i];

		MUST(gid_eq(p->gid, q->gid) && p->state == q->state &&
		     p->generation == q->generation && p->checks == q->checks);
		MUST(str_eq(p->group, q->group) && str_eq(p->topic, q->topic));
		MUST(p->decided_ms == q->decided_ms && p->origin == q->origin);
		MUST(p->count == q->count && p->partition == q->partition);
		MUST(p->published == q->published && p->refused == q->refused);
	}
}

/* What a start finds when all that was recovered has been reclaimed. */
static void
reclaimed(struct life *l, const struct buf *state)
{
	struct life next = { .core = NULL };
	struct place from, to;
	struct record r;
	struct entry e;
	size_t before = l->out.count;

	for (size_t i = 0; i < l->in.count; i++) {
		r = record_at(&l->in, i);
		MUST(record_decode(&r, l->scratch, &e) == 0);
		from = (struct place){ LSN_IN + i * LSN_GAP, r.len };
		if (e.type != ENTRY_STUB) {
			core_reclaim(l->core, &e, from);
		} else if (core_reclaim_stub(l->core, e.stub.gid.lo, from)) {
			MUST(on_append(l, &e, &to) == 0);
			core_moved(l->core, e.stub.gid.lo, to);
		}
	}
	MUST(l->out.count < RECORDS_MAX); /* one copy for each, at most */
	core_durable(l->core, UINT64_MAX);
	core_publish(l->core);
	live(&next);
	MUST(record_open_ours(buf_as_str(state), 0, &r) == 0);
	next.in.records[next.in.count++] = r;
	for (size_t i = before; i < l->out.count; i++)
		next.in.records[next.in.count++] = record_at(&l->out, i);
	MUST(recover(&next, &next.in));
	core_start(next.core, 1000 * NS_PER_S, 1767225600000);
	same_rows(l, &next);
	die(&next);
}

static void
split(const uint8_t *data, size_t n, struct record_log *log)
{
	size_t len;

	for (size_t at = 0; n - at >= 3 && log->count < RECORDS_MAX / 2; at += 3 + len) {
		len = (size_t)(data[at + 1] | data[at + 2] << 8);
		if (len > n - at - 3)
			len = n - at - 3;
		log->records[log->count++] = (struct record){
			.type = data[at],
			.body = str_from((const char *)data + at + 3, len),
			.len = (uint32_t)len + RECORD_HEAD_MIN,
		};
	}
}

/*
 * What a half or a copy says of the half message must be what the first of its gid said: nobody
 * writes two of one sequence, and which of them is believed is nobody's promise.
 */
static bool
contradicts(const struct entry *e)
{
	static struct said {
		uint64_t seq, hash;
	} said[RECORDS_MAX];
	static size_t count;
	struct entry half = { .type = ENTRY_HALF };
	uint64_t hash;
	uint8_t *p;
	size_t n;

	if (!e) {
		count = 0;
		return false;
	}
	if (e->type == ENTRY_HALF)
		half.half = e->half;
	else if (e->type == ENTRY_COPY)
		half.half = (struct entry_half){ e->copy.half, e->copy.topics };
	else
		return false;
	p = mem_alloc(record_bound(&half));
	n = record_encode(&half, p);
	hash = hash_body(p + 4, n - 4, 0).lo;
	mem_free(p);
	for (size_t i = 0; i < count; i++)
		if (said[i].seq == half.half.half.gid.lo)
			return said[i].hash != hash;
	said[count++] = (struct said){ half.half.half.gid.lo, hash };
	return false;
}

/* Those that are decoded; the rest is what recovery stops at. */
static void
readable(struct life *l)
{
	size_t kept = 0;
	struct entry e;

	(void)contradicts(NULL);
	for (size_t i = 0; i < l->in.count; i++) {
		int err = record_decode(&l->in.records[i], l->scratch, &e);

		MUST(err == 0 || err == ERR_MALFORMED || err == ERR_VERSION || err == ERR_NOMEM);
		if (err)
			continue;
		written_again(&e);
		if (contradicts(&e))
			continue;
		l->in.records[kept++] = l->in.records[i];
	}
	l->in.count = kept;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct life *l;
	struct life again = { .core = NULL };
	struct buf state = BUF_INIT, other = BUF_INIT;
	struct record r;

	if (n > INPUT_MAX)
		return 0;
	l = mem_alloc(sizeof(*l));
	live(l);
	split(data, n, &l->in);
	readable(l);
	if (!recover(l, &l->in))
		goto out;
	state_of(l, &state);
	live(&again);
	MUST(record_open_ours(buf_as_str(&state), 0, &r) == 0);
	again.in.records[again.in.count++] = r;
	MUST(recover(&again, &again.in));
	state_of(&again, &other);
	MUST(str_eq(buf_as_str(&state), buf_as_str(&other)));
	die(&again);

	core_start(l->core, 1000 * NS_PER_S, 1767225600000);
	reclaimed(l, &state);
	for (int i = 1; i < 4; i++)
		turn(l, (1000 + i * 40) * NS_PER_S, 1767225600000 + (uint64_t)i * 40000);
out:
	die(l);
	mem_free(l);
	buf_free(&state);
	buf_free(&other);
	return 0;
}
