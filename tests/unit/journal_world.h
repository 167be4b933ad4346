/*
 * journal_world.h -- a journal on a disk that falls over, and a client that stands for the core.
 *
 * It half-sends numbered messages whose content follows from the number, decides some, copies
 * forward what is undecided, and remembers what it was told to be durable.  After each start
 * check_recovered() holds what came back against that.
 */
#ifndef JOURNAL_WORLD_H
#define JOURNAL_WORLD_H

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "journal/internal.h"
#include "sim/disk_sim.h"
#include "unit.h"

#define ROWS 20000

enum what { NOTHING, PENDING, ACKED };

struct row {
	enum what half;
	enum what decision;
	bool seen_half, seen_decision; /* by recovery                                      */
	bool dead;                     /* decided, and reclaimed                           */
	struct place place;
	uint64_t half_lsn, decision_lsn;
};

struct world {
	struct disk_sim *sim;
	struct journal *j;
	struct journal_conf conf;
	struct row rows[ROWS];
	uint64_t next_seq;
	uint64_t next_in_journal;
	uint64_t rng;
	int64_t now;
	uint64_t durable;
	bool new_journal;
	struct journal_fault fault;
	uint64_t copies, fetched;
	int fetch_err;
	int space_calls;
	bool space;
	bool for_lack_of_disk; /* as told when it was full last */
	size_t body_max;
	uint32_t messages; /* of each half                                             */
	bool copy_all;
	uint32_t topics;     /* in the catalogue                                            */
	uint64_t impossible; /* a half that the core does not believe                       */
};

static struct world *w;

static inline uint64_t
draw(uint64_t n)
{
	return hash_u64(w->rng++) % n;
}

/* ---- messages whose content follows from their number --------------------------------- */

static char body[1 << 20];

static inline size_t
body_of(uint64_t seq, char *out)
{
	size_t n = (size_t)(hash_u64(seq) % w->body_max);

	for (size_t i = 0; i < n; i++)
		out[i] = (char)hash_u64(seq * 1000003 + i / 64);
	return n;
}

static inline struct half
half_of(uint64_t seq, struct message *m, char *buf)
{
	static char text[3][64];
	struct half h = { 0 };

	memset(m, 0, sizeof(*m));
	m->topic = STR("orders");
	m->partition = (int32_t)(seq % 7);
	m->value = str_from(buf, body_of(seq, buf));
	m->plain_bytes = (uint32_t)m->value.n;
	for (uint32_t i = 1; i < w->messages; i++)
		m[i] = m[0];
	h.gid = gid_make(1000000 + seq, 1, seq);
	h.check = hash_u64(seq) >> 9;
	snprintf(text[0], 64, "group-%d", (int)(seq % 5));
	h.group = str_of(text[0]);
	snprintf(text[1], 64, "key-%llu", (unsigned long long)seq);
	h.key = str_of(text[1]);
	h.from = STR("10.0.0.1:4711");
	h.arrived_ms = 1000000 + seq;
	h.born_ms = h.arrived_ms;
	h.kind = EDGE_ROCKETMQ;
	h.count = w->messages;
	h.messages = m;
	return h;
}

static inline void
same_half(const struct half *h)
{
	static char buf[1 << 20];
	struct message m[LIMIT_MESSAGES];
	struct half expect = half_of(h->gid.lo, m, buf);

	ck_assert(h->gid.lo > 0 && h->gid.lo < ROWS);
	ck_assert(gid_eq(h->gid, expect.gid) && h->check == expect.check);
	ck_assert(str_eq(h->group, expect.group) && str_eq(h->key, expect.key));
	ck_assert_uint_eq(h->count, w->messages);
	ck_assert(str_eq(h->messages[h->count - 1].value, m[0].value));
	ck_assert_int_eq(h->messages[h->count - 1].partition, m[0].partition);
}

/* ---- the client -------------------------------------------------------------------------- */

static inline int
on_recover(void *arg, const struct entry *e, struct place place)
{
	struct row *r;

	(void)arg;
	ck_assert_uint_gt(place.len, 0);
	if (e->type == ENTRY_STATE) {
		w->next_in_journal = max_u64(w->next_in_journal, e->state.next_seq);
		return 0;
	}
	if (e->type == ENTRY_HALF || e->type == ENTRY_COPY) {
		const struct half *h = e->type == ENTRY_HALF ? &e->half.half : &e->copy.half;

		same_half(h);
		if (w->impossible == h->gid.lo)
			return ERR_CORRUPT;
		r = &w->rows[h->gid.lo];
		ck_assert_msg(r->half != NOTHING, "half %llu was never sent",
			      (unsigned long long)h->gid.lo);
		ck_assert(e->type == ENTRY_COPY || !r->seen_half);
		r->seen_half = true;
		r->seen_decision |= e->type == ENTRY_COPY && e->copy.decision.state;
		r->place = place;
		w->next_in_journal = max_u64(w->next_in_journal, h->gid.lo + 1);
	} else if (e->type == ENTRY_DECISION) {
		r = &w->rows[e->decision.seq];
		ck_assert_msg(r->decision != NOTHING, "decision %llu was never made",
			      (unsigned long long)e->decision.seq);
		r->seen_decision = true;
	}
	return 0;
}

static inline void
on_state(void *arg, struct entry_state *s)
{
	static struct entry_topic topics[2000];

	(void)arg;
	memset(s, 0, sizeof(*s));
	s->next_seq = w->next_in_journal;
	s->topic_count = w->topics;
	s->topics = topics;
	for (uint32_t i = 0; i < w->topics; i++)
		topics[i] = (struct entry_topic){ i, STR("orders"), 7, 0 };
}

static inline void
on_reclaim(void *arg, const struct entry *e, struct place place)
{
	const struct half *h;
	struct entry copy = { .type = ENTRY_COPY };
	struct row *r;

	(void)arg;
	if (e->type != ENTRY_HALF && e->type != ENTRY_COPY)
		return;
	h = e->type == ENTRY_HALF ? &e->half.half : &e->copy.half;
	same_half(h);
	r = &w->rows[h->gid.lo];
	if (r->place.lsn != place.lsn)
		return;
	/* Only a decision that is durable frees its half. */
	if (r->decision == ACKED && !w->copy_all) {
		r->dead = true;
		r->place = (struct place){ 0, 0 };
		return;
	}
	copy.copy.half = *h;
	copy.copy.topics = e->type == ENTRY_HALF ? e->half.topics : e->copy.topics;
	copy.copy.state = TXN_PREPARED;
	/* Its record lies before the copy, and may leave first: the copy carries the decision. */
	if (r->decision != NOTHING)
		copy.copy.decision = (struct decision){ TXN_COMMITTED, ORIGIN_CLIENT, 5, STR("x") };
	w->copies++;
	ck_assert_int_eq(journal_append(w->j, &copy, &r->place), 0);
}

static inline void
on_durable(void *arg, uint64_t lsn)
{
	(void)arg;
	ck_assert_uint_ge(lsn, w->durable);
	w->durable = lsn;
	for (uint64_t i = 1; i < w->next_seq; i++) {
		struct row *r = &w->rows[i];

		if (r->half == PENDING && r->half_lsn && r->half_lsn <= lsn)
			r->half = ACKED;
		if (r->decision == PENDING && r->decision_lsn && r->decision_lsn <= lsn)
			r->decision = ACKED;
	}
}

static inline void
on_fetched(void *arg, uint64_t token, int err, const struct half *half)
{
	(void)arg;
	w->fetched++;
	w->fetch_err = err;
	if (err)
		return;
	same_half(half);
	ck_assert_uint_eq(half->gid.lo, token);
}

static inline void
on_space(void *arg, bool ok)
{
	(void)arg;
	w->space = ok;
	if (!ok)
		w->for_lack_of_disk = journal_stats(w->j)->disk_full;
	w->space_calls++;
}

static const struct journal_client client = {
	.recover = on_recover,
	.state = on_state,
	.reclaim = on_reclaim,
	.durable = on_durable,
	.fetched = on_fetched,
	.space = on_space,
};

/* ---- the life of a process ----------------------------------------------------------------- */

static inline void
make_world(uint64_t seed, uint64_t segment_bytes, uint64_t segments)
{
	w = mem_alloc(sizeof(*w));
	w->sim = disk_sim_new(seed);
	w->conf.segment_bytes = segment_bytes;
	w->conf.quota_bytes = segment_bytes * segments;
	w->conf.cache_bytes = segment_bytes;
	w->conf.retention_ms = UINT64_C(1) << 50;
	w->next_seq = w->next_in_journal = 1;
	w->rng = seed * 7919;
	w->body_max = segment_bytes / 16;
	w->messages = 1;
	w->space = true;
	w->topics = 1;
}

static inline void
end_world(void)
{
	w->j = journal_free(w->j);
	disk_sim_disk(w->sim)->ops->free(disk_sim_disk(w->sim));
	mem_free(w);
	w = NULL;
}

/* After recovery: all that was acknowledged is there; of the rest a prefix. */
static inline void
check_recovered(void)
{
	for (uint64_t i = 1; i < w->next_seq; i++) {
		struct row *r = &w->rows[i];

		if (r->half == ACKED && !r->dead)
			ck_assert_msg(r->seen_half, "half %llu was acknowledged and is gone",
				      (unsigned long long)i);
		if (r->decision == ACKED && !r->dead)
			ck_assert_msg(r->seen_decision,
				      "decision %llu was acknowledged and is gone",
				      (unsigned long long)i);
		if (r->seen_decision && !r->dead)
			ck_assert_msg(r->seen_half, "decision %llu without its half",
				      (unsigned long long)i);
	}
}

/* What recovery found is the truth from now on. */
static inline void
adopt(void)
{
	bool gap = false;

	for (uint64_t i = 1; i < w->next_seq; i++) {
		struct row *r = &w->rows[i];

		if (r->half == PENDING) {
			ck_assert_msg(!gap || !r->seen_half, "half %llu survived one before it",
				      (unsigned long long)i);
			gap |= !r->seen_half;
		}
		r->half = r->seen_half ? ACKED : r->dead ? r->half : NOTHING;
		r->decision = r->seen_decision ? ACKED : r->dead ? r->decision : NOTHING;
		if (!r->seen_half)
			r->place = (struct place){ 0, 0 };
	}
}

static inline int
open_journal(void)
{
	int err;

	w->durable = 0;
	for (uint64_t i = 1; i < w->next_seq; i++) {
		w->rows[i].seen_half = w->rows[i].seen_decision = false;
		w->rows[i].half_lsn = w->rows[i].decision_lsn = 0;
	}
	w->space = true;
	err = journal_open(disk_sim_disk(w->sim), &w->conf, &client, NULL, &w->j, &w->new_journal,
			   &w->fault);
	if (err) {
		w->j = NULL;
		return err;
	}
	check_recovered();
	err = journal_start(w->j, 1000000);
	if (err == 0)
		adopt();
	return err;
}

static inline void
must_open(void)
{
	int err = open_journal();

	ck_assert_msg(err == 0, "open: %s: %s", err_name(err), w->fault.text);
}

static inline int
turn(void)
{
	int err;

	w->now += NS_PER_MS;
	err = journal_poll(w->j, w->now);
	if (!err)
		err = journal_persist(w->j, w->now, 1000000 + (uint64_t)(w->now / NS_PER_MS));
	if (!err)
		err = journal_poll(w->j, w->now);
	return err;
}

static inline int
half_send(void)
{
	struct message m[LIMIT_MESSAGES];
	static const uint32_t topics[LIMIT_MESSAGES];
	struct entry e = { .type = ENTRY_HALF };
	uint64_t seq = w->next_seq;
	struct row *r = &w->rows[seq];
	int err;

	ck_assert_uint_lt(seq, ROWS);
	e.half.half = half_of(seq, m, body);
	e.half.topics = topics;
	err = journal_append(w->j, &e, &r->place);
	if (err)
		return err;
	w->next_seq++;
	w->next_in_journal = w->next_seq;
	r->half = PENDING;
	r->half_lsn = r->place.lsn + r->place.len;
	return 0;
}

static inline int
decide(uint64_t seq)
{
	uint64_t n[LIMIT_MESSAGES];
	struct entry e = { .type = ENTRY_DECISION };
	struct row *r = &w->rows[seq];
	struct place place;
	int err;

	if (r->half != ACKED || r->decision != NOTHING || r->dead)
		return 0;
	e.decision.seq = seq;
	e.decision.decision =
		(struct decision){ TXN_COMMITTED, ORIGIN_CLIENT, 5, STR("10.0.0.1:4711") };
	e.decision.count = w->messages;
	e.decision.n = n;
	for (uint32_t i = 0; i < w->messages; i++)
		n[i] = w->messages > 1 ? (UINT64_C(1) << 34) + seq : seq;
	err = journal_append(w->j, &e, &place);
	if (err)
		return err;
	r->decision = PENDING;
	r->decision_lsn = place.lsn + place.len;
	return 0;
}

/* Some turns of half-sends and decisions.  0, or what the journal ended with. */
static inline int
work(int turns, uint64_t halves, uint64_t decisions)
{
	for (int t = 0; t < turns; t++) {
		uint64_t n = draw(halves + 1);
		int err = 0;

		for (uint64_t i = 0; i < n && !err; i++) {
			err = half_send();
			if (err == ERR_FULL)
				err = 0;
		}
		n = draw(decisions + 1);
		for (uint64_t i = 0; i < n && !err && w->next_seq > 1; i++)
			err = decide(1 + draw(w->next_seq - 1));
		if (!err)
			err = turn();
		if (err)
			return err;
	}
	return 0;
}

static inline int
settle(void)
{
	for (int i = 0; i < 400; i++) {
		int err = turn();

		if (err)
			return err;
	}
	return 0;
}

static inline void
power_cut(void)
{
	disk_sim_crash(w->sim);
	w->j = journal_free(w->j);
}

static inline void
kill_process(void)
{
	disk_sim_kill(w->sim);
	w->j = journal_free(w->j);
}

static inline uint64_t
count(enum what half)
{
	uint64_t n = 0;

	for (uint64_t i = 1; i < w->next_seq; i++)
		n += w->rows[i].half == half && !w->rows[i].dead;
	return n;
}

static inline void
flip_somewhere(uint64_t segment, size_t from, size_t to)
{
	char name[NAME_BYTES];
	size_t len;

	segment_name(name, segment);
	ck_assert_ptr_nonnull(disk_sim_bytes(w->sim, name, &len));
	to = to < len ? to : len;
	ck_assert_uint_lt(from, to);
	disk_sim_flip(w->sim, name, (from + draw(to - from)) * 8 + draw(8));
}

#endif /* JOURNAL_WORLD_H */
