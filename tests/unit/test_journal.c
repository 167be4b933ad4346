/*
 * test_journal.c -- what was called durable is there after any crash, and nothing else is.
 *
 * A user would lose: a half message that was answered, and with it money; or find a transaction
 * decided that nobody decided.
 *
 * A small client stands in for the core: it half-sends numbered messages whose content follows
 * from the number, decides some, copies forward what is undecided, and remembers what it was told
 * to be durable.  The disk is simulated and falls over wherever it is told to.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "journal/internal.h"
#include "sim/disk_sim.h"
#include "sim/memory_sim.h"
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

static uint64_t
draw(uint64_t n)
{
	return hash_u64(w->rng++) % n;
}

/* ---- messages whose content follows from their number --------------------------------- */

static char body[1 << 20];

static size_t
body_of(uint64_t seq, char *out)
{
	size_t n = (size_t)(hash_u64(seq) % w->body_max);

	for (size_t i = 0; i < n; i++)
		out[i] = (char)hash_u64(seq * 1000003 + i / 64);
	return n;
}

static struct half
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

static void
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

static int
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

static void
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

static void
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

static void
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

static void
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

static void
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

static void
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

static void
end_world(void)
{
	w->j = journal_free(w->j);
	disk_sim_disk(w->sim)->ops->free(disk_sim_disk(w->sim));
	mem_free(w);
	w = NULL;
}

/* After recovery: all that was acknowledged is there; of the rest a prefix. */
static void
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
static void
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

static int
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

static void
must_open(void)
{
	int err = open_journal();

	ck_assert_msg(err == 0, "open: %s: %s", err_name(err), w->fault.text);
}

static int
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

static int
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

static int
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
static int
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

static int
settle(void)
{
	for (int i = 0; i < 400; i++) {
		int err = turn();

		if (err)
			return err;
	}
	return 0;
}

static void
power_cut(void)
{
	disk_sim_crash(w->sim);
	w->j = journal_free(w->j);
}

static void
kill_process(void)
{
	disk_sim_kill(w->sim);
	w->j = journal_free(w->j);
}

static uint64_t
count(enum what half)
{
	uint64_t n = 0;

	for (uint64_t i = 1; i < w->next_seq; i++)
		n += w->rows[i].half == half && !w->rows[i].dead;
	return n;
}

/* ---- stories -------------------------------------------------------------------------------- */

START_TEST(what_was_durable_is_there_after_a_restart)
{
	make_world(1, 65536, 16);
	must_open();
	ck_assert(w->new_journal);
	ck_assert_int_eq(work(50, 4, 3), 0);
	ck_assert_int_eq(settle(), 0);
	ck_assert_uint_eq(count(PENDING), 0);
	ck_assert_uint_gt(count(ACKED), 50);
	for (int i = 0; i < 5; i++) {
		uint64_t acked = count(ACKED);

		i % 2 ? power_cut() : kill_process();
		must_open();
		ck_assert(!w->new_journal);
		ck_assert_uint_eq(count(ACKED), acked);
		ck_assert_int_eq(work(5, 4, 3), 0);
		ck_assert_int_eq(settle(), 0);
	}
	ck_assert_int_eq(journal_sync(w->j), 0);
	end_world();
}
END_TEST

/* The directory is locked: two daemons on one journal would tear it apart. */
START_TEST(a_second_daemon_is_refused)
{
	struct journal *other;
	struct journal_fault fault;
	bool fresh;

	make_world(1, 65536, 16);
	must_open();
	ck_assert_int_eq(journal_open(disk_sim_disk(w->sim), &w->conf, &client, NULL, &other,
				      &fresh, &fault),
			 ERR_LOCKED);
	end_world();
}
END_TEST

static int
script(void)
{
	int err = open_journal();

	if (!err)
		err = work(14, 5, 3);
	return err ? err : settle();
}

/*
 * A user would lose: whatever the one moment between two steps that nobody thought of loses.  The
 * power goes at each step that changes the disk, once for each of some dice; then again while
 * recovering.
 */
static void
cut_everywhere(uint64_t segment_bytes, uint32_t align, uint64_t dice, uint32_t delay, uint32_t unit)
{
	uint64_t cuts = 0, damaged = 0, recovered_pending = 0;

	for (uint64_t stop = 1;; stop++) {
		bool done = false;

		for (uint64_t die = 0; die < dice; die++) {
			make_world(100 + die, segment_bytes, 12);
			w->conf.align = align;
			disk_sim_knobs(w->sim)->stop = stop;
			disk_sim_knobs(w->sim)->delay_max = delay;
			disk_sim_knobs(w->sim)->unit = unit;
			if (script() == 0 && !disk_sim_stopped(w->sim))
				done = true;
			ck_assert(done || disk_sim_stopped(w->sim));
			cuts++;
			power_cut();
			/* again, while recovering and starting */
			disk_sim_knobs(w->sim)->stop = 1 + draw(8);
			if (open_journal() != 0) {
				ck_assert_msg(disk_sim_stopped(w->sim), "stop %llu die %llu: %s",
					      (unsigned long long)stop, (unsigned long long)die,
					      w->fault.text);
			}
			die % 2 && !disk_sim_stopped(w->sim) ? kill_process() : power_cut();
			must_open();
			recovered_pending += count(ACKED);
			ck_assert_int_eq(work(3, 4, 2), 0);
			ck_assert_int_eq(settle(), 0);
			ck_assert_uint_eq(count(PENDING), 0);
			power_cut();
			must_open();
			damaged += disk_sim_counts(w->sim)->units_damaged;
			end_world();
		}
		if (done)
			break;
	}
	/* or nothing was proved */
	ck_assert_uint_gt(cuts, 100);
	ck_assert_uint_gt(damaged, 100);
	ck_assert_uint_gt(recovered_pending, 0);
}

START_TEST(a_power_cut_at_every_step)
{
	static const struct {
		uint64_t segment;
		uint32_t align, delay, unit;
	} cases[] = { { 4096, 0, 0, 512 },
		      { 4096, 0, 3, 4096 },
		      { 16384, 512, 2, 512 },
		      { 65536, 4096, 1, 4096 } };

	cut_everywhere(cases[_i].segment, cases[_i].align, 6, cases[_i].delay, cases[_i].unit);
}
END_TEST

/*
 * A user would lose: the daemon, that refuses to start.  A process dies in its start, the next one
 * finds in the page cache what never reached the disk and builds on it, and then the power goes;
 * and goes once more while the next start removes what the two have left.
 */
START_TEST(killed_in_a_start_then_cut_in_the_next)
{
	uint64_t both = 0, third = 0;

	for (uint64_t a = 1; a < 16; a++) {
		for (uint64_t b = 1; b < 16; b++) {
			for (uint64_t die = 0; die < 6; die++) {
				bool first, second;

				make_world(die * 1000 + a * 16 + b, 4096, 12);
				must_open();
				ck_assert_int_eq(work(10, 4, 2), 0);
				kill_process();
				disk_sim_knobs(w->sim)->stop = a;
				first = open_journal() != 0;
				kill_process();
				disk_sim_knobs(w->sim)->stop = b;
				second = open_journal() != 0;
				both += first && second;
				power_cut();
				disk_sim_knobs(w->sim)->stop = 1 + draw(6);
				third += open_journal() != 0;
				power_cut();
				must_open();
				ck_assert_int_eq(work(5, 4, 2), 0);
				power_cut();
				must_open();
				end_world();
			}
		}
	}
	ck_assert_uint_gt(both, 100);
	ck_assert_uint_gt(third, 100);
}
END_TEST

/*
 * A user would lose: the daemon, that refuses to start.  Batches are two groups, and a cut leaves
 * the second without the first: right behind an opening that is a header that says that the
 * opening was synced, and nothing that says more was.
 */
START_TEST(a_hole_is_a_torn_end_wherever_it_is)
{
	uint64_t segments = 0;

	for (uint64_t stop = 1; segments < 6; stop++) {
		make_world(51, 16384, 12);
		w->body_max = 1500;
		disk_sim_knobs(w->sim)->stop = stop;
		disk_sim_knobs(w->sim)->cut = DISK_SIM_HOLE;
		disk_sim_knobs(w->sim)->cut_steps = UINT32_MAX;
		for (int err = open_journal(); !err;) {
			(void)half_send();
			writer_close_group(w->j);
			(void)half_send();
			segments = journal_stats(w->j)->newest_segment;
			err = turn();
		}
		ck_assert(disk_sim_stopped(w->sim));
		power_cut();
		must_open();
		end_world();
	}
}
END_TEST

/* Of all files, whoever knows of them. */
static void
within_quota(void)
{
	ck_assert_uint_le(disk_sim_used(w->sim), w->conf.quota_bytes);
}

/*
 * A user would lose: the disk.  A supervisor starts a daemon again and again, for its port is in
 * use or it dies at once, and each start takes a segment that nothing gives back.
 */
START_TEST(starts_in_a_row_take_no_segment)
{
	uint64_t newest, acked;

	make_world(21 + (uint64_t)_i, 65536, 6);
	w->conf.align = _i == 2 ? 4096 : 0;
	w->body_max = 500;
	must_open();
	ck_assert_int_eq(work(8, 3, 1), 0);
	ck_assert_int_eq(settle(), 0);
	newest = journal_stats(w->j)->newest_segment;
	for (int i = 0; i < 60; i++) {
		acked = count(ACKED);
		if (_i)
			ck_assert_int_eq(turn(), 0);
		if (i % 3 == 2)
			ck_assert_int_eq(journal_sync(w->j), 0);
		i % 2 ? power_cut() : kill_process();
		must_open();
		within_quota();
		ck_assert_uint_eq(count(ACKED), acked);
		ck_assert_uint_eq(journal_stats(w->j)->newest_segment, newest);
	}
	/* With a little in each life: as many segments as that fills. */
	for (int i = 0; i < 60; i++) {
		ck_assert_int_eq(work(1, 1, 1), 0);
		ck_assert_int_eq(settle(), 0);
		power_cut();
		must_open();
		within_quota();
	}
	ck_assert_uint_le(journal_stats(w->j)->newest_segment, newest + 3);
	end_world();
}
END_TEST

/* A user would lose: the disk, when a full journal is started again and again. */
START_TEST(starts_in_a_row_on_a_full_journal)
{
	uint64_t acked;

	make_world(31, 16384, 8);
	w->conf.align = _i ? 512 : 0;
	must_open();
	for (int refused = 0; refused < 50;) {
		int err = half_send();

		ck_assert(err == 0 || err == ERR_FULL);
		refused += err == ERR_FULL;
		ck_assert_int_eq(turn(), 0);
	}
	acked = count(ACKED);
	for (uint64_t i = 0; i < 60; i++) {
		i % 2 ? power_cut() : kill_process();
		must_open();
		within_quota();
		ck_assert_uint_eq(count(ACKED), acked);
		/* reclaim begins to copy, and does not come to an end */
		for (uint64_t t = draw(4); t-- > 0;)
			ck_assert_int_eq(turn(), 0);
		ck_assert_int_eq(decide(1 + i), 0);
		ck_assert_int_eq(turn(), 0);
		within_quota();
		acked = count(ACKED);
	}
	for (uint64_t s = 1; s < w->next_seq; s++) {
		ck_assert_int_eq(decide(s), 0);
		ck_assert_int_eq(turn(), 0);
		within_quota();
	}
	ck_assert_int_eq(settle(), 0);
	ck_assert(journal_has_room(w->j));
	end_world();
}
END_TEST

/*
 * A user would lose: what the last segment held, between its old file and its new one.  The start
 * that writes it anew is cut or killed at each step, the next one too, and the tools are asked
 * in between.
 */
START_TEST(a_segment_is_the_old_one_or_the_new_one)
{
	static const struct {
		uint32_t align, delay, unit;
	} cases[] = { { 0, 0, 512 }, { 512, 2, 4096 } };
	uint64_t cut = 0, twice = 0;
	struct buf out = BUF_INIT;

	for (uint64_t a = 1; a < 24; a++) {
		for (uint64_t b = 1; b < 24; b++) {
			uint64_t acked, newest;

			make_world(a * 100 + b, 16384, 8);
			w->conf.align = cases[_i].align;
			disk_sim_knobs(w->sim)->delay_max = cases[_i].delay;
			disk_sim_knobs(w->sim)->unit = cases[_i].unit;
			w->body_max = 100;
			must_open();
			ck_assert_int_eq(work(4, 2, 1), 0);
			ck_assert_int_eq(settle(), 0);
			acked = count(ACKED);
			newest = journal_stats(w->j)->newest_segment;
			kill_process();
			disk_sim_knobs(w->sim)->stop = a;
			cut += open_journal() != 0;
			draw(2) ? power_cut() : kill_process();
			ck_assert_int_eq(journal_verify(disk_sim_disk(w->sim), &out, &w->fault), 0);
			disk_sim_knobs(w->sim)->stop = b;
			twice += open_journal() != 0;
			draw(3) ? power_cut() : kill_process();
			ck_assert_int_eq(journal_verify(disk_sim_disk(w->sim), &out, &w->fault), 0);
			must_open();
			within_quota();
			ck_assert_uint_eq(count(ACKED), acked);
			ck_assert_uint_eq(journal_stats(w->j)->newest_segment, newest);
			/* what is written behind it is found again */
			ck_assert_int_eq(work(4, 2, 1), 0);
			ck_assert_int_eq(settle(), 0);
			acked = count(ACKED);
			power_cut();
			must_open();
			ck_assert_uint_eq(count(ACKED), acked);
			end_world();
		}
	}
	buf_free(&out);
	/* or nothing was proved */
	ck_assert_uint_gt(cut, 150);
	ck_assert_uint_gt(twice, 150);
}
END_TEST

/*
 * A user would lose: all that the last segment holds, and without a word.  Nothing else has the
 * records of one that was written anew, so no bit of it may matter and not be missed.
 */
START_TEST(a_segment_written_anew_is_guarded_to_its_last_bit)
{
	uint64_t reported = 0, len = 1;
	char name[NAME_BYTES];

	segment_name(name, 2);
	for (uint64_t at = 0; at < len; at++) {
		uint64_t acked;

		make_world(61, 4096, 8);
		must_open();
		while (journal_stats(w->j)->newest_segment < 2)
			ck_assert_int_eq(work(1, 2, 1), 0);
		ck_assert_int_eq(settle(), 0);
		kill_process();
		must_open();
		acked = count(ACKED);
		len = w->j->written_lsn - segment_base(w->j, 2);
		ck_assert_uint_eq(journal_stats(w->j)->newest_segment, 2);
		power_cut();
		disk_sim_flip(w->sim, name, at * 8 + draw(8));
		if (open_journal() == 0)
			ck_assert_uint_eq(count(ACKED), acked);
		else
			reported++;
		end_world();
	}
	/* all but the second marker */
	ck_assert_uint_eq(reported, len - GROUP_HEADER);
}
END_TEST

/* A user would lose: history, later than it should; a start makes nothing in it younger. */
START_TEST(a_segment_written_anew_keeps_its_time)
{
	uint64_t opened;

	make_world(41, 16384, 8);
	must_open();
	ck_assert_int_eq(work(2, 2, 1), 0);
	ck_assert_int_eq(settle(), 0);
	opened = w->j->segments[w->j->segment_count - 1].opened_ms;
	for (int i = 0; i < 3; i++) {
		kill_process();
		ck_assert_int_eq(journal_open(disk_sim_disk(w->sim), &w->conf, &client, NULL, &w->j,
					      &w->new_journal, &w->fault),
				 0);
		ck_assert_int_eq(journal_start(w->j, opened + 1000), 0);
		ck_assert_uint_eq(w->j->segments[w->j->segment_count - 1].opened_ms, opened);
	}
	end_world();
}
END_TEST

/* Many lives of one journal, with everything at once. */
START_TEST(a_long_life_with_many_crashes)
{
	for (uint64_t seed = 0; seed < 12; seed++) {
		make_world(5000 + seed + (uint64_t)_i * 100, (uint64_t)4096 << seed % 4,
			   6 + seed % 5);
		disk_sim_knobs(w->sim)->delay_max = (uint32_t)(seed % 4);
		disk_sim_knobs(w->sim)->unit = seed % 2 ? 512 : 4096;
		w->conf.align = seed % 3 == 0 ? 512 : 0;
		w->conf.cache_bytes = seed % 2 ? 0 : 100000;
		for (int life = 0; life < 25; life++) {
			disk_sim_knobs(w->sim)->stop = draw(3) ? 1 + draw(200) : 0;
			if (open_journal() == 0)
				(void)!work((int)draw(60), 4, 5);
			else
				ck_assert_msg(disk_sim_stopped(w->sim), "seed %llu life %d: %s",
					      (unsigned long long)seed, life, w->fault.text);
			if (!disk_sim_stopped(w->sim) && draw(2))
				kill_process();
			else
				power_cut();
		}
		must_open();
		end_world();
	}
}
END_TEST

START_TEST(segments_go_round_and_what_is_undecided_goes_along)
{
	uint64_t steps = 0;

	make_world(7, 16384, 8);
	must_open();
	for (int i = 0; i < 300; i++) {
		ck_assert_int_eq(work(1, 6, 6), 0);
		/* decide nearly all, so that there is something to reclaim */
		for (uint64_t s = 1; s < w->next_seq; s++)
			if (s % 29)
				ck_assert_int_eq(decide(s), 0);
		ck_assert_int_eq(turn(), 0);
		steps = journal_stats(w->j)->segments + journal_stats(w->j)->spares;
		ck_assert_uint_le(steps, 9);
	}
	ck_assert_int_eq(settle(), 0);
	ck_assert_uint_gt(journal_stats(w->j)->reclaimed, 5);
	ck_assert_uint_gt(w->copies, 20);
	ck_assert_uint_gt(journal_stats(w->j)->oldest_segment, 5);
	/* each undecided one can still be read, hot or cold */
	for (uint64_t s = 1; s < w->next_seq; s++) {
		const struct half *h;
		uint64_t before = w->fetched;
		int err;

		if (w->rows[s].dead || !w->rows[s].place.len)
			continue;
		err = journal_fetch(w->j, w->rows[s].place, s, &h);
		if (err == 0) {
			same_half(h);
			ck_assert_uint_eq(h->gid.lo, s);
			continue;
		}
		ck_assert_int_eq(err, ERR_AGAIN);
		ck_assert_int_eq(turn(), 0);
		ck_assert_uint_eq(w->fetched, before + 1);
		ck_assert_int_eq(w->fetch_err, 0);
	}
	ck_assert_uint_gt(journal_stats(w->j)->fetch_misses, 0);
	power_cut();
	must_open();
	end_world();
}
END_TEST

/* A user would lose: decisions, when the disk is full of half messages. */
START_TEST(a_full_journal_refuses_half_sends_and_nothing_else)
{
	uint64_t sent = 0, undecided;
	int refused = 0;

	make_world(8, 16384, 8);
	must_open();
	for (int i = 0; i < 2000 && refused < 50; i++) {
		int err = half_send();

		ck_assert(err == 0 || err == ERR_FULL);
		sent += err == 0;
		refused += err == ERR_FULL;
		ck_assert_int_eq(turn(), 0);
	}
	ck_assert_int_ge(refused, 50);
	ck_assert_uint_gt(sent, 40);
	ck_assert(!w->space && !journal_has_room(w->j) && journal_stats(w->j)->full);
	ck_assert(!w->for_lack_of_disk);
	/* all of it is live: it must not copy itself in circles */
	ck_assert_uint_le(journal_stats(w->j)->bytes_copied, 8 * 16384);
	undecided = count(ACKED);
	ck_assert_uint_eq(undecided, sent);
	/* it can be stopped and started when full */
	power_cut();
	must_open();
	ck_assert_uint_eq(count(ACKED), sent);
	for (uint64_t s = 1; s < w->next_seq; s++) {
		ck_assert_int_eq(decide(s), 0);
		ck_assert_int_eq(turn(), 0);
	}
	for (int i = 0; i < 100 && !journal_has_room(w->j); i++) {
		w->now += 10 * NS_PER_S;
		ck_assert_int_eq(settle(), 0);
		/* something must be written for a reclaim to be worth while */
		struct entry e = { .type = ENTRY_CLUSTER, .cluster = { STR("c") } };
		struct place p;

		ck_assert_int_eq(journal_append(w->j, &e, &p), 0);
	}
	ck_assert(w->space && journal_has_room(w->j));
	ck_assert_int_eq(half_send(), 0);
	end_world();
}
END_TEST

/*
 * A user would lose: the daemon, to the machine's memory, when a disk stands still, or is slower
 * than what producers send who wait for no answer.  What finishes transactions is taken all the
 * same.
 */
START_TEST(what_waits_for_the_disk_has_its_bound)
{
	uint64_t first, waiting;
	int err = 0;

	make_world(40, 16384, 64);
	w->conf.unsynced_bytes = 40000;
	must_open();
	ck_assert_int_eq(half_send(), 0);
	ck_assert_int_eq(turn(), 0);
	ck_assert_int_eq(settle(), 0);
	first = w->next_seq - 1;
	ck_assert_int_eq(w->rows[first].half, ACKED);
	disk_sim_knobs(w->sim)->hold = true; /* nothing ends */
	for (int i = 0; i < 3000 && !err; i++) {
		err = half_send();
		ck_assert_int_eq(turn(), 0);
	}
	ck_assert_int_eq(err, ERR_AGAIN);
	ck_assert(journal_has_room(w->j));
	waiting = journal_stats(w->j)->appended_lsn - journal_stats(w->j)->durable_lsn;
	ck_assert_uint_gt(waiting, 40000);
	ck_assert_uint_lt(waiting, 40000 + 16384);
	ck_assert_int_eq(decide(first), 0);
	disk_sim_knobs(w->sim)->hold = false;
	ck_assert_int_eq(settle(), 0);
	ck_assert_int_eq(w->rows[first].decision, ACKED);
	ck_assert_int_eq(half_send(), 0);
	ck_assert_int_eq(settle(), 0);
	ck_assert_uint_eq(count(PENDING), 0);
	end_world();
}
END_TEST

/* The file system is full although our quota is not. */
START_TEST(no_space_on_the_disk_refuses_half_sends_until_there_is)
{
	int refused = 0;

	make_world(9, 16384, 64);
	disk_sim_knobs(w->sim)->capacity = 6 * 16384;
	must_open();
	for (int i = 0; i < 1000 && refused < 20; i++) {
		int err = half_send();

		ck_assert(err == 0 || err == ERR_FULL);
		refused += err == ERR_FULL;
		ck_assert_int_eq(turn(), 0);
	}
	ck_assert_int_ge(refused, 20);
	ck_assert(w->for_lack_of_disk);
	for (uint64_t s = 1; s < w->next_seq; s += 2) {
		ck_assert_int_eq(decide(s), 0);
		ck_assert_int_eq(turn(), 0);
	}
	power_cut();
	must_open();
	ck_assert_int_eq(turn(), 0);
	disk_sim_knobs(w->sim)->capacity = 0;
	w->now += 60 * NS_PER_S;
	ck_assert_int_eq(settle(), 0);
	ck_assert_int_eq(half_send(), 0);
	end_world();
}
END_TEST

/* Half-sends until twenty were refused; how many were taken. */
static uint64_t
fill_up(void)
{
	uint64_t sent = 0;
	int refused = 0;

	for (int i = 0; i < 3000 && refused < 20; i++) {
		int err = half_send();

		ck_assert(err == 0 || err == ERR_FULL);
		sent += err == 0;
		refused += err == ERR_FULL;
		ck_assert_int_eq(turn(), 0);
	}
	ck_assert_int_eq(refused, 20);
	return sent;
}

static void
decide_all(void)
{
	for (uint64_t s = 1; s < w->next_seq; s++) {
		ck_assert_int_eq(decide(s), 0);
		ck_assert_int_eq(turn(), 0);
	}
	ck_assert_int_eq(settle(), 0);
	for (uint64_t s = 1; s < w->next_seq; s++)
		ck_assert(w->rows[s].dead || w->rows[s].half == NOTHING ||
			  w->rows[s].decision == ACKED);
}

/*
 * A user would lose: the daemon, in the middle of a segment.  Others take all that is left of the
 * disk while no spare is filled yet, so every segment still grows.
 */
START_TEST(others_fill_the_disk_while_segments_grow)
{
	uint64_t room;

	make_world(20 + (uint64_t)_i, 16384, 64);
	disk_sim_knobs(w->sim)->allocate_delay = 100000;
	must_open();
	if (_i)
		ck_assert_int_eq(work(20 * _i, 4, 0), 0);
	room = disk_sim_used(w->sim);
	disk_sim_knobs(w->sim)->capacity = room;
	fill_up();
	ck_assert(!w->space && journal_stats(w->j)->disk_full);
	ck_assert(w->for_lack_of_disk);
	ck_assert_int_le(journal_deadline_ns(w->j), w->now + RETRY_NS);
	decide_all();
	/* and nothing that others have was touched */
	ck_assert_uint_le(disk_sim_used(w->sim), room);
	disk_sim_knobs(w->sim)->capacity = 0;
	w->now += RETRY_NS;
	ck_assert_int_eq(turn(), 0);
	ck_assert(w->space && !journal_stats(w->j)->disk_full);
	ck_assert_int_eq(half_send(), 0);
	ck_assert_int_eq(turn(), 0);
	end_world();
}
END_TEST

/* What is set aside survives: a daemon that stopped on a full disk starts on it, and decides. */
START_TEST(a_full_disk_lets_it_start)
{
	make_world(30, 16384, 64);
	disk_sim_knobs(w->sim)->allocate_delay = 100000;
	must_open();
	disk_sim_knobs(w->sim)->capacity = disk_sim_used(w->sim);
	fill_up();
	_i ? kill_process() : power_cut();
	must_open();
	ck_assert_int_eq(turn(), 0);
	ck_assert_int_eq(half_send(), ERR_FULL);
	decide_all();
	ck_assert_uint_le(disk_sim_used(w->sim), disk_sim_knobs(w->sim)->capacity);
	end_world();
}
END_TEST

/*
 * A user would lose: decisions, when others have filled the disk and each transaction has many
 * small messages: the numbers that a commit gives them are longer than what one message needs.
 */
START_TEST(decisions_about_many_messages_have_their_room)
{
	make_world(41, 65536, 64);
	w->messages = 64;
	w->body_max = 1;
	w->copy_all = true; /* as while Kafka is away */
	must_open();
	ck_assert_int_eq(work(40, 4, 0), 0);
	if (_i) { /* what recovery counts is the same */
		kill_process();
		must_open();
	}
	disk_sim_knobs(w->sim)->capacity = 24 * 65536;
	fill_up();
	decide_all();
	ck_assert_uint_le(disk_sim_used(w->sim), disk_sim_knobs(w->sim)->capacity);
	end_world();
}
END_TEST

/* With nothing set aside there is no start; nothing is lost, and room brings it back. */
START_TEST(no_room_for_a_segment_ends_the_start)
{
	make_world(31, 16384, 64);
	disk_sim_knobs(w->sim)->capacity = 16383;
	ck_assert_int_eq(open_journal(), ERR_NOSPACE);
	w->j = journal_free(w->j);
	disk_sim_kill(w->sim);
	ck_assert_uint_eq(disk_sim_used(w->sim), 0);
	/* half of the reserve: it runs, and takes nothing that it could not finish */
	disk_sim_knobs(w->sim)->capacity = 2 * 16384;
	must_open();
	ck_assert_int_eq(half_send(), ERR_FULL);
	ck_assert_int_eq(turn(), 0);
	ck_assert(!w->space);
	disk_sim_knobs(w->sim)->capacity = 0;
	w->now += RETRY_NS;
	ck_assert_int_eq(turn(), 0);
	ck_assert_int_eq(half_send(), 0);
	ck_assert_int_eq(turn(), 0);
	end_world();
}
END_TEST

/*
 * A user would lose: what operators do, when they do so much of it on a full disk that even the
 * reserve is gone.  It waits, unanswered, and goes on by itself.
 */
START_TEST(beyond_the_reserve_it_waits_for_room)
{
	struct entry e = { .type = ENTRY_CLUSTER };
	static char id[1000];
	struct place p;
	uint64_t durable;

	make_world(32, 16384, 64);
	disk_sim_knobs(w->sim)->allocate_delay = 100000;
	must_open();
	disk_sim_knobs(w->sim)->capacity = disk_sim_used(w->sim);
	fill_up();
	e.cluster.id = str_from(id, sizeof(id));
	for (int i = 0; i < 100; i++) {
		ck_assert_int_eq(journal_append(w->j, &e, &p), 0);
		ck_assert_int_eq(turn(), 0);
	}
	durable = w->durable;
	ck_assert_uint_lt(durable, p.lsn);
	ck_assert_int_eq(settle(), 0);
	ck_assert_uint_eq(w->durable, durable);
	ck_assert_int_le(journal_deadline_ns(w->j), w->now + RETRY_NS);
	disk_sim_knobs(w->sim)->capacity = 0;
	w->now += RETRY_NS;
	ck_assert_int_eq(settle(), 0);
	ck_assert_uint_ge(w->durable, p.lsn + p.len);
	power_cut();
	must_open();
	end_world();
}
END_TEST

/*
 * A user would lose: all new half-sends, for good.  What is set aside for very many undecided
 * transactions is more than two segments, and history must make way for it.
 */
START_TEST(history_makes_way_for_a_big_reserve)
{
	make_world(33, 16384, 24);
	w->body_max = 16;
	must_open();
	/* history: all decided, nearly all of the quota */
	for (int i = 0; i < 3000 && journal_stats(w->j)->segments < 14; i++) {
		ck_assert_int_eq(half_send(), 0);
		ck_assert_int_eq(turn(), 0);
		ck_assert_int_eq(decide(w->next_seq - 1), 0);
	}
	ck_assert_uint_eq(journal_stats(w->j)->segments, 14);
	/* 6 segments to finish so many */
	for (int i = 0; i < 600; i++) {
		ck_assert_msg(half_send() == 0, "refused with %d undecided", i);
		ck_assert_int_eq(turn(), 0);
		ck_assert_int_eq(turn(), 0);
	}
	ck_assert_uint_gt(journal_stats(w->j)->reclaimed, 0);
	ck_assert_uint_ge(segments_ready(w->j), 6);
	end_world();
}
END_TEST

/* A user would lose: records that a disk lost and a daemon called durable. */
START_TEST(a_failed_sync_is_the_end)
{
	for (uint64_t n = 1; n < 12; n++) {
		uint64_t acked, pending;
		int err;

		make_world(n, 16384, 16);
		must_open();
		ck_assert_int_eq(work(3, 3, 0), 0);
		ck_assert_int_eq(settle(), 0);
		acked = count(ACKED);
		disk_sim_knobs(w->sim)->lie = n % 2 ? DISK_SIM_LOST : DISK_SIM_WRITTEN;
		if (n % 3)
			disk_sim_knobs(w->sim)->fail_sync = 1;
		else
			disk_sim_knobs(w->sim)->fail_write = 1;
		ck_assert_int_eq(half_send(), 0);
		ck_assert_int_eq(turn(), ERR_IO);
		ck_assert_uint_eq(count(ACKED), acked);
		/* nothing brings it back */
		ck_assert_int_eq(turn(), ERR_IO);
		ck_assert_int_eq(half_send(), 0);
		ck_assert_int_eq(turn(), ERR_IO);
		ck_assert_uint_eq(count(ACKED), acked);
		ck_assert_int_eq(journal_sync(w->j), ERR_IO);
		/*
		 * The page cache may still show it; what is served after a start must be on the
		 * disk.
		 */
		kill_process();
		must_open();
		pending = count(ACKED);
		ck_assert_uint_ge(pending, acked);
		disk_sim_knobs(w->sim)->cut = DISK_SIM_PREFIX;
		power_cut();
		err = open_journal();
		ck_assert_msg(err == 0, "%s", w->fault.text);
		ck_assert_uint_eq(count(ACKED), pending);
		end_world();
	}
}
END_TEST

/* A life in which the journal does all that it can do.  0, or what it ended with. */
static int
whole_life(void)
{
	const struct half *h;
	int err = open_journal();

	for (int i = 0; i < 40 && !err; i++) {
		err = work(1, 5, 3);
		/* decide nearly all, so that there is something to reclaim */
		for (uint64_t s = 1; s < w->next_seq && !err; s++)
			err = s % 13 ? decide(s) : 0;
		for (uint64_t s = 13; s < w->next_seq && !err; s += 13) {
			err = journal_fetch(w->j, w->rows[s].place, s, &h);
			err = err == ERR_AGAIN || err == ERR_NOTFOUND ? 0 : err;
		}
	}
	if (!err)
		err = settle();
	if (!err && w->j->reclaim != RECLAIM_IDLE)
		ck_abort_msg("still reclaiming");
	/* the last words of a daemon that stops */
	if (!err)
		err = half_send();
	err = err == ERR_FULL ? 0 : err;
	return err ? err : journal_sync(w->j);
}

/*
 * A user would lose: messages, to a call that failed where nobody looked.  Each call of the disk
 * in turn refuses to begin, or fails in the end: the journal says so, answers nothing any more,
 * and all that it had answered is there at the next start.
 */
START_TEST(any_call_of_the_disk_may_fail)
{
	uint64_t lives = 0, struck = 1, before;

	for (uint64_t n = 1; struck; n++) {
		int err;

		make_world(40, 4096, 8);
		w->conf.cache_bytes = 0;
		disk_sim_knobs(w->sim)->delay_max = n % 3 ? 0 : 2;
		/* a journal is there already, with a tail, a spare, and a leftover */
		ck_assert_int_eq(open_journal(), 0);
		ck_assert_int_eq(work(20, 4, 3), 0);
		kill_process();
		before = disk_sim_counts(w->sim)->faults;
		*(_i ? &disk_sim_knobs(w->sim)->fail_end : &disk_sim_knobs(w->sim)->refuse) = n;
		err = whole_life();
		struck = disk_sim_counts(w->sim)->faults - before;
		disk_sim_knobs(w->sim)->fail_end = disk_sim_knobs(w->sim)->refuse = 0;
		ck_assert_msg(struck ? err < 0 : err == 0, "call %llu: %s", (unsigned long long)n,
			      err ? err_name(err) : "nobody noticed");
		if (struck && w->j && w->j->started) {
			uint64_t acked = count(ACKED);

			/* whatever else comes in this turn is taken, and kept by nobody */
			(void)half_send();
			ck_assert_int_lt(turn(), 0);
			ck_assert_uint_eq(count(ACKED), acked);
		}
		n % 2 ? kill_process() : power_cut();
		must_open();
		ck_assert_int_eq(work(3, 3, 3), 0);
		end_world();
		lives++;
	}
	ck_assert_uint_gt(lives, _i ? 60 : 100);
}
END_TEST

/*
 * A user would lose: the sentence, and a clean end.  A read cannot begin in the middle of a turn,
 * and the core goes on appending until the turn ends.
 */
START_TEST(a_failure_in_a_turn_is_told_at_its_end)
{
	const struct half *h;
	uint64_t acked;

	make_world(19, 65536, 16);
	w->conf.cache_bytes = 0;
	must_open();
	ck_assert_int_eq(work(100, 6, 0), 0);
	ck_assert_int_eq(settle(), 0);
	acked = count(ACKED);
	disk_sim_knobs(w->sim)->refuse = 1;
	ck_assert_int_eq(journal_fetch(w->j, w->rows[1].place, 1, &h), ERR_SYSTEM);
	ck_assert_int_eq(half_send(), 0);
	ck_assert_int_eq(decide(1), 0);
	ck_assert_int_eq(journal_persist(w->j, w->now, 1000000), ERR_SYSTEM);
	ck_assert_int_eq(turn(), ERR_SYSTEM);
	ck_assert_uint_eq(count(ACKED), acked);
	ck_assert_int_eq(w->rows[1].decision, PENDING);
	end_world();
}
END_TEST

static void
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

/* A user would lose: the truth about a rotten disk, taken for a crash. */
START_TEST(damage_below_the_durable_lsn_is_reported)
{
	for (uint64_t i = 0; i < 300; i++) {
		uint64_t segment, end;
		struct buf out = BUF_INIT;
		int err;

		make_world(300 + i, 16384, 16);
		must_open();
		ck_assert_int_eq(work(30, 3, 2), 0);
		ck_assert_int_eq(settle(), 0);
		/* what the last header vouches for, and the header behind it */
		ck_assert_uint_ge(w->j->vouched_lsn, w->j->content_lsn);
		segment = 1 + draw(w->j->tail_segment);
		end = segment == w->j->tail_segment ? w->j->vouched_lsn
						    : w->j->segments[segment - 1].end;
		kill_process();
		flip_somewhere(segment, 0, (size_t)(end - segment * 16384));
		err = open_journal();
		ck_assert_msg(err == ERR_CORRUPT, "seed %llu segment %llu: %s",
			      (unsigned long long)i, (unsigned long long)segment, err_name(err));
		ck_assert_uint_gt(strlen(w->fault.text), 20);
		ck_assert_int_eq(journal_verify(disk_sim_disk(w->sim), &out, &w->fault),
				 ERR_CORRUPT);
		buf_free(&out);
		end_world();
	}
}
END_TEST

START_TEST(a_missing_segment_is_reported)
{
	struct disk *d;

	make_world(11, 4096, 32);
	must_open();
	ck_assert_int_eq(work(60, 4, 0), 0);
	ck_assert_int_eq(settle(), 0);
	ck_assert_uint_gt(w->j->tail_segment, 4);
	kill_process();
	d = disk_sim_disk(w->sim);
	ck_assert_int_eq(d->ops->remove(d, "00000000000000000003.seg"), 0);
	ck_assert_int_eq(open_journal(), ERR_CORRUPT);
	ck_assert_uint_eq(w->fault.segment, 3);
	end_world();
}
END_TEST

/* A user would lose: all that is in the journal, when a disk comes back empty. */
START_TEST(a_wiped_journal_is_not_a_new_one)
{
	uint64_t oldest, newest;

	make_world(12, 4096, 8);
	w->conf.retention_ms = 0;
	must_open();
	ck_assert_int_eq(work(100, 3, 3), 0);
	ck_assert_int_eq(settle(), 0);
	oldest = w->j->segments[0].number;
	newest = w->j->tail_segment;
	ck_assert_uint_gt(oldest, 1);
	kill_process();
	for (uint64_t i = oldest; i <= newest; i++) {
		char name[NAME_BYTES];
		size_t len;
		uint8_t *bytes;

		segment_name(name, i);
		bytes = disk_sim_bytes(w->sim, name, &len);
		ck_assert_ptr_nonnull(bytes);
		memset(bytes, 0, len);
	}
	ck_assert_int_eq(open_journal(), ERR_CORRUPT);
	ck_assert_uint_gt(strlen(w->fault.text), 20);
	end_world();
}
END_TEST

/* A user would lose: a message, given to Kafka with a bit flipped. */
START_TEST(a_cold_read_is_verified)
{
	const struct half *h;

	make_world(12, 65536, 16);
	w->conf.cache_bytes = 0;
	must_open();
	ck_assert_int_eq(work(100, 6, 0), 0);
	ck_assert_int_eq(settle(), 0);
	ck_assert_uint_gt(w->j->tail_segment, 2);
	ck_assert_int_eq(journal_fetch(w->j, w->rows[1].place, 1, &h), ERR_AGAIN);
	/* one read serves its neighbours */
	ck_assert_int_eq(journal_fetch(w->j, w->rows[2].place, 2, &h), ERR_AGAIN);
	ck_assert_int_eq(turn(), 0);
	ck_assert_uint_eq(w->fetched, 2);
	ck_assert_int_eq(journal_fetch(w->j, w->rows[3].place, 3, &h), 0);
	same_half(h);
	ck_assert_int_eq(journal_fetch(w->j, (struct place){ 0, 0 }, 3, &h), ERR_NOTFOUND);
	kill_process();
	must_open();
	flip_somewhere(1, (size_t)(w->rows[1].place.lsn - 65536),
		       (size_t)(w->rows[1].place.lsn + w->rows[1].place.len - 65536));
	ck_assert_int_eq(journal_fetch(w->j, w->rows[1].place, 1, &h), ERR_AGAIN);
	ck_assert_int_eq(turn(), ERR_CORRUPT);
	ck_assert_int_eq(w->fetch_err, ERR_CORRUPT);
	end_world();
}
END_TEST

START_TEST(many_cold_fetches_find_their_slot)
{
	const struct half *h;
	uint64_t asked = 0;

	make_world(13, 4096, 64);
	w->conf.cache_bytes = 0;
	disk_sim_knobs(w->sim)->delay_max = 5;
	must_open();
	ck_assert_int_eq(work(100, 6, 0), 0);
	ck_assert_int_eq(settle(), 0);
	w->fetched = 0;
	for (uint64_t s = 1; s < w->next_seq; s++) {
		int err = journal_fetch(w->j, w->rows[s].place, s, &h);

		ck_assert(err == 0 || err == ERR_AGAIN);
		asked += err == ERR_AGAIN;
	}
	ck_assert_uint_gt(asked, SLOTS * 2);
	ck_assert_int_eq(settle(), 0);
	ck_assert_uint_eq(w->fetched, asked);
	end_world();
}
END_TEST

/* More bodies from more places than can be read at one time: each comes, once. */
START_TEST(more_cold_fetches_than_slots)
{
	const struct half *h;
	uint64_t asked = 0, open = 0;
	int err;

	make_world(50, 4096, 300);
	w->conf.cache_bytes = 0;
	must_open();
	ck_assert_int_eq(work(1200, 6, 0), 0);
	ck_assert_int_eq(settle(), 0);
	/* more files than may be open at one time */
	ck_assert_uint_gt(journal_stats(w->j)->segments, FILES_OPEN_MAX + SLOTS);
	for (size_t i = 0; i < w->j->segment_count; i++)
		open += w->j->segments[i].file != NULL;
	ck_assert_uint_le(open, FILES_OPEN_MAX + 2);
	disk_sim_knobs(w->sim)->delay_max = 5;
	for (int round = 0; round < 2; round++) {
		w->fetched = asked = 0;
		for (uint64_t s = 1; s < w->next_seq; s += round ? 1 : 7) {
			err = journal_fetch(w->j, w->rows[s].place, s, &h);
			ck_assert(err == 0 || err == ERR_AGAIN);
			asked += err == ERR_AGAIN;
		}
		ck_assert_uint_gt(asked, SLOTS * 8);
		for (int i = 0; i < 20; i++)
			ck_assert_int_eq(settle(), 0);
		ck_assert_uint_eq(w->fetched, asked);
		ck_assert_int_eq(w->fetch_err, 0);
	}
	/* one of those that wait cannot be read any more */
	w->fetched = asked = 0;
	for (uint64_t s = 1; s < w->next_seq; s += 7)
		(void)!journal_fetch(w->j, w->rows[s].place, s, &h);
	disk_sim_knobs(w->sim)->refuse = 1;
	do
		err = turn();
	while (!err);
	ck_assert_int_eq(err, ERR_SYSTEM);
	ck_assert_int_eq(journal_fetch(w->j, w->rows[1].place, 1, &h), ERR_SYSTEM);
	end_world();
}
END_TEST

/* All that the cache may hold is found there, and costs no read, however many pieces it is. */
START_TEST(recent_bodies_are_read_from_memory)
{
	const struct half *h;

	make_world(53, 4096, 300);
	w->conf.cache_bytes = 4096 * 200;
	must_open();
	ck_assert_int_eq(work(600, 6, 0), 0);
	ck_assert_int_eq(settle(), 0);
	ck_assert_uint_gt(w->j->chunk_count, 70);
	ck_assert_uint_lt(w->j->chunk_count, 200);
	for (uint64_t s = 1; s < w->next_seq; s++) {
		ck_assert_int_eq(journal_fetch(w->j, w->rows[s].place, s, &h), 0);
		ck_assert_uint_eq(h->gid.lo, s);
	}
	ck_assert_uint_eq(journal_stats(w->j)->fetch_misses, 0);
	/* and more files than a listing is made for at first are found again */
	power_cut();
	must_open();
	end_world();
}
END_TEST

/* Not where a record ends: damage, or our own mistake.  Nobody gets half a message, or two. */
START_TEST(a_place_of_another_length_is_damage)
{
	const struct half *h;
	struct place place;
	bool cold = _i & 1;

	make_world(54, 16384, 16);
	w->conf.cache_bytes = 0;
	must_open();
	ck_assert_int_eq(work(60, 6, 0), 0);
	ck_assert_int_eq(settle(), 0);
	place = w->rows[cold ? 1 : w->next_seq - 2].place;
	place.len += _i & 2 ? 1 : (uint32_t)-1;
	if (cold) {
		ck_assert_int_eq(journal_fetch(w->j, place, 1, &h), ERR_AGAIN);
		ck_assert_int_eq(turn(), ERR_CORRUPT);
	} else {
		ck_assert_int_eq(journal_fetch(w->j, place, 1, &h), ERR_CORRUPT);
		ck_assert_int_eq(turn(), ERR_CORRUPT);
	}
	end_world();
}
END_TEST

/* A record whose place spans what memory has and what it has not comes from the disk, or not. */
START_TEST(a_place_across_two_pieces_is_not_served)
{
	const struct half *h;
	struct chunk *c;
	struct place place;

	make_world(55, 4096, 64);
	w->conf.cache_bytes = 4096 * 60;
	must_open();
	ck_assert_int_eq(work(60, 6, 0), 0);
	ck_assert_int_eq(settle(), 0);
	c = w->j->chunks[w->j->chunk_count - 2];
	place = (struct place){ c->lsn + c->used - 10, 100 };
	ck_assert_int_ne(journal_fetch(w->j, place, 1, &h), 0);
	end_world();
}
END_TEST

/* A place that is none, or none of a half message any more, is told as such: it ends nothing. */
START_TEST(fetches_of_what_is_not_there)
{
	struct entry e = { .type = ENTRY_CLUSTER, .cluster = { STR("c") } };
	struct place cold, hot, place;
	const struct half *h;

	make_world(51, 16384, 16);
	w->conf.cache_bytes = 0;
	must_open();
	ck_assert_int_eq(journal_append(w->j, &e, &cold), 0);
	ck_assert_int_eq(work(60, 6, 0), 0);
	ck_assert_int_eq(settle(), 0);
	ck_assert_int_eq(journal_append(w->j, &e, &hot), 0);
	ck_assert_int_eq(journal_fetch(w->j, hot, 1, &h), ERR_NOTFOUND);
	ck_assert_int_eq(journal_fetch(w->j, cold, 1, &h), ERR_AGAIN);
	ck_assert_int_eq(turn(), 0);
	ck_assert_int_eq(w->fetch_err, ERR_NOTFOUND);
	place = (struct place){ w->j->tail_lsn, 10 };
	ck_assert_int_eq(journal_fetch(w->j, place, 1, &h), ERR_NOTFOUND);
	/* its segment is gone */
	for (int i = 0; i < 300; i++) {
		ck_assert_int_eq(work(1, 6, 0), 0);
		for (uint64_t s = 1; s < w->next_seq; s++)
			ck_assert_int_eq(decide(s), 0);
	}
	ck_assert_int_eq(settle(), 0);
	ck_assert_uint_gt(journal_stats(w->j)->reclaimed, 1);
	ck_assert_int_eq(journal_fetch(w->j, cold, 1, &h), ERR_NOTFOUND);
	/* not where a record begins: that is damage, or our own mistake, and the end */
	ck_assert_int_eq(journal_append(w->j, &e, &hot), 0);
	place = (struct place){ hot.lsn + 1, hot.len - 1 };
	ck_assert_int_eq(journal_fetch(w->j, place, 1, &h), ERR_CORRUPT);
	ck_assert_int_eq(turn(), ERR_CORRUPT);
	end_world();
}
END_TEST

/* A user would lose: bodies, without a word, to somebody who removes a file of the journal. */
START_TEST(a_segment_that_is_removed_is_missed)
{
	struct disk_file *file;
	struct disk *d;
	const struct half *h;
	int err = 0;

	make_world(52, 4096, 300);
	w->conf.cache_bytes = 0;
	must_open();
	ck_assert_int_eq(work(900, 6, 0), 0);
	ck_assert_int_eq(settle(), 0);
	ck_assert_uint_gt(journal_stats(w->j)->segments, FILES_OPEN_MAX + 2);
	d = disk_sim_disk(w->sim);
	ck_assert_int_eq(d->ops->remove(d, "00000000000000000001.seg"), 0);
	if (_i) { /* or that of one which was made empty */
		ck_assert_int_eq(d->ops->open(d, "00000000000000000001.seg", true, &file), 0);
		d->ops->close(file);
	}
	/* the oldest files are closed when others are needed */
	for (uint64_t s = w->next_seq - 1; s >= 1 && err == 0; s--) {
		err = journal_fetch(w->j, w->rows[s].place, s, &h);
		err = err == ERR_AGAIN ? turn() : err;
	}
	ck_assert_int_eq(err, ERR_CORRUPT);
	end_world();
}
END_TEST

/* A user would lose: what reclaim copies, when what it reads is not what was written. */
START_TEST(reclaim_stops_at_damage)
{
	int err = 0;

	for (uint64_t seed = 0; seed < 40; seed++) {
		make_world(600 + seed, 16384, 6);
		w->conf.cache_bytes = 0;
		must_open();
		ck_assert_int_eq(work(6, 6, 0), 0);
		ck_assert_int_eq(settle(), 0);
		ck_assert_uint_eq(w->j->segments[0].number, 1);
		flip_somewhere(1, 0, 2000);
		for (int i = 0; i < 400 && !err; i++) {
			err = work(1, 6, 0);
			for (uint64_t s = 1; s < w->next_seq && !err; s++)
				err = decide(s);
		}
		ck_assert_int_eq(err, ERR_CORRUPT);
		err = 0;
		end_world();
	}
}
END_TEST

/* A user would lose: throughput, or latency, to waiting that nobody needs. */
START_TEST(lazy_records_wait_and_others_do_not)
{
	struct entry lazy = { .type = ENTRY_CHECKS, .checks = { 1, 1, 1, false } };
	struct place p;
	uint64_t syncs;

	make_world(14, 65536, 16);
	must_open();
	ck_assert_int_eq(settle(), 0);
	ck_assert(journal_deadline_ns(w->j) == TIME_NEVER);
	syncs = journal_stats(w->j)->syncs;
	ck_assert_int_eq(journal_append(w->j, &lazy, &p), 0);
	ck_assert_int_eq(turn(), 0);
	ck_assert_uint_eq(journal_stats(w->j)->syncs, syncs);
	ck_assert(journal_deadline_ns(w->j) <= w->now + LAZY_NS);
	w->now += LAZY_NS;
	ck_assert_int_eq(turn(), 0);
	ck_assert_uint_eq(journal_stats(w->j)->syncs, syncs + 1);
	ck_assert_int_eq(half_send(), 0);
	ck_assert(journal_deadline_ns(w->j) <= w->now);
	ck_assert_int_eq(turn(), 0);
	ck_assert_uint_eq(journal_stats(w->j)->syncs, syncs + 2);
	/* one that takes an hour is counted, too */
	disk_sim_knobs(w->sim)->sync_ns = 3600 * NS_PER_S;
	ck_assert_int_eq(half_send(), 0);
	ck_assert_int_eq(turn(), 0);
	syncs = journal_stats(w->j)->syncs;
	ck_assert_uint_eq(
		journal_stats(w->j)
			->sync_histogram[ARRAY_LEN(journal_stats(w->j)->sync_histogram) - 1],
		1);
	/* with slow syncs two wait for as many as were just answered, and not for ever */
	disk_sim_knobs(w->sim)->sync_ns = 100 * NS_PER_MS;
	ck_assert_int_eq(half_send(), 0);
	ck_assert_int_eq(half_send(), 0);
	ck_assert_int_eq(turn(), 0);
	syncs = journal_stats(w->j)->syncs;
	ck_assert_int_eq(half_send(), 0);
	ck_assert_int_eq(journal_persist(w->j, w->now, 1000000), 0);
	ck_assert_int_eq(journal_poll(w->j, w->now), 0);
	ck_assert_uint_eq(journal_stats(w->j)->syncs, syncs);
	ck_assert(journal_deadline_ns(w->j) == w->now + GATHER_MAX_NS);
	ck_assert_int_eq(turn(), 0);
	ck_assert_uint_eq(journal_stats(w->j)->syncs, syncs + 1);
	end_world();
}
END_TEST

START_TEST(old_segments_leave_when_their_retention_is_over)
{
	make_world(15, 4096, 64);
	w->conf.retention_ms = 50;
	must_open();
	for (int i = 0; i < 200; i++) {
		ck_assert_int_eq(work(1, 3, 0), 0);
		for (uint64_t s = 1; s < w->next_seq; s++)
			ck_assert_int_eq(decide(s), 0);
	}
	ck_assert_int_eq(settle(), 0);
	ck_assert_uint_gt(journal_stats(w->j)->reclaimed, 10);
	ck_assert_uint_le(journal_stats(w->j)->segments, 3);
	ck_assert_uint_le(journal_stats(w->j)->spares, 3);
	end_world();
}
END_TEST

static int lines;

static void
one_line(void *arg, struct str line)
{
	(void)arg;
	ck_assert_uint_gt(line.n, 3);
	for (size_t i = 0; i < line.n; i++)
		ck_assert(line.p[i] >= 0x20 && line.p[i] < 0x7f);
	lines++;
}

START_TEST(the_tools_read_what_recovery_reads)
{
	struct buf out = BUF_INIT;
	struct disk *d;

	make_world(16, 16384, 16);
	must_open();
	ck_assert_int_eq(work(40, 4, 3), 0);
	ck_assert_int_eq(settle(), 0);
	d = disk_sim_disk(w->sim);
	kill_process();
	ck_assert_int_eq(journal_dump(d, one_line, NULL, &w->fault), 0);
	ck_assert_int_gt(lines, 100);
	ck_assert_int_eq(journal_verify(d, &out, &w->fault), 0);
	ck_assert_ptr_nonnull(memmem(out.data, out.len, "records", 7));
	buf_reset(&out, 0);
	ck_assert_int_eq(journal_stat(d, &out, &w->fault), 0);
	ck_assert_ptr_nonnull(memmem(out.data, out.len, "records_half ", 13));
	buf_free(&out);
	must_open();
	end_world();
}
END_TEST

/* A user would lose: the journal, to a file that somebody put beside it; or their file. */
START_TEST(files_of_others_are_left_alone)
{
	static const char *const names[] = {
		"0000000000000000000x.seg",
		"00000000000000000000.seg",
		"00000000000000000007.sge",
		"99999999999999999999.seg",
		"7.seg",
		"notes",
		"spare-",
		"spare-00000x.seg",
		"spare-99999999999.seg",
		"spare-000007-seg",
		"spare-000007.seg.bak.txt",
	};
	struct disk_file *file;
	struct disk *d;

	make_world(60, 16384, 16);
	d = disk_sim_disk(w->sim);
	for (int life = 0; life < 2; life++) {
		must_open();
		ck_assert_int_eq(work(20, 4, 3), 0);
		ck_assert_int_eq(settle(), 0);
		kill_process();
		for (size_t i = 0; i < ARRAY_LEN(names) && !life; i++) {
			ck_assert_int_eq(d->ops->open(d, names[i], true, &file), 0);
			d->ops->close(file);
		}
	}
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		ck_assert_msg(d->ops->open(d, names[i], false, &file) == 0, "%s", names[i]);
		d->ops->close(file);
	}
	end_world();
}
END_TEST

/* A user would lose: everything, to a new journal that is begun where the old one was. */
START_TEST(a_journal_that_is_gone_is_not_begun_anew)
{
	char name[NAME_BYTES];
	struct disk *d;
	uint64_t oldest;

	make_world(61, 4096, 8);
	must_open();
	for (int i = 0; i < 100; i++) {
		ck_assert_int_eq(work(1, 6, 0), 0);
		for (uint64_t s = 1; s < w->next_seq; s++)
			ck_assert_int_eq(decide(s), 0);
	}
	ck_assert_int_eq(settle(), 0);
	oldest = journal_stats(w->j)->oldest_segment;
	ck_assert_uint_gt(oldest, 1);
	d = disk_sim_disk(w->sim);
	for (uint64_t n = oldest; n < w->j->tail_segment; n++) {
		segment_name(name, n);
		ck_assert_int_eq(d->ops->remove(d, name), 0);
	}
	segment_name(name, w->j->tail_segment);
	kill_process();
	/* the opening of the only one that is left is damaged */
	for (size_t i = 0; i < 200; i++)
		disk_sim_flip(w->sim, name, i * 8);
	ck_assert_int_eq(open_journal(), ERR_CORRUPT);
	ck_assert_uint_gt(strlen(w->fault.text), 20);
	disk_sim_kill(w->sim);
	ck_assert_int_eq(d->ops->remove(d, name), 0);
	ck_assert_int_eq(open_journal(), ERR_CORRUPT);
	ck_assert_ptr_nonnull(strstr(w->fault.text, "spare"));
	end_world();
}
END_TEST

/* A user would lose: the meaning of a line, to a body that writes lines of its own. */
START_TEST(the_dump_is_text_whatever_the_journal_holds)
{
	struct message m[6];
	uint32_t topic[6] = { 0 };
	struct entry half = { .type = ENTRY_HALF };
	struct entry parked = { .type = ENTRY_CHECKS, .checks = { 1, 3, 1, true } };
	struct entry checked = { .type = ENTRY_CHECKS, .checks = { 1, 2, 1, false } };
	struct entry audit = { .type = ENTRY_AUDIT,
			       .audit = { .verb = STR("check"),
					  .who = STR("a\"b\\c\n\x7f\x1b"),
					  .reason = STR("\xc3\xa9"),
					  .outcome = STR("ok") } };
	static char long_text[300];
	struct place p;

	make_world(62, 65536, 16);
	must_open();
	memset(long_text, 'x', sizeof(long_text));
	half.half.half = half_of(1, &m[0], body);
	m[0].value.n = 200;
	for (int i = 1; i < 6; i++)
		m[i] = m[0];
	half.half.half.count = 6;
	half.half.half.messages = m;
	half.half.half.key = str_from(long_text, 255);
	half.half.topics = topic;
	ck_assert_int_eq(journal_append(w->j, &half, &p), 0);
	ck_assert_int_eq(journal_append(w->j, &checked, &p), 0);
	ck_assert_int_eq(journal_append(w->j, &parked, &p), 0);
	ck_assert_int_eq(journal_append(w->j, &audit, &p), 0);
	ck_assert_int_eq(journal_sync(w->j), 0);
	disk_sim_kill(w->sim);
	w->j = journal_free(w->j);
	lines = 0;
	ck_assert_int_eq(journal_dump(disk_sim_disk(w->sim), one_line, NULL, &w->fault), 0);
	ck_assert_int_ge(lines, 5);
	end_world();
}
END_TEST

/* What the tools cannot read they say, as the daemon would. */
START_TEST(the_tools_tell_a_disk_that_fails)
{
	struct buf out = BUF_INIT;
	struct disk *d;
	uint64_t struck = 1, before;

	for (uint64_t n = 1; struck; n++) {
		int err;

		make_world(63, 16384, 16);
		must_open();
		ck_assert_int_eq(work(40, 4, 3), 0);
		ck_assert_int_eq(settle(), 0);
		d = disk_sim_disk(w->sim);
		kill_process();
		before = disk_sim_counts(w->sim)->faults;
		*(n % 2 ? &disk_sim_knobs(w->sim)->refuse : &disk_sim_knobs(w->sim)->fail_end) =
			(n + 1) / 2;
		err = _i == 0   ? journal_dump(d, one_line, NULL, &w->fault)
		      : _i == 1 ? journal_verify(d, &out, &w->fault)
				: journal_stat(d, &out, &w->fault);
		struck = disk_sim_counts(w->sim)->faults - before;
		ck_assert(struck ? err < 0 : err == 0);
		buf_reset(&out, 0);
		end_world();
	}
	buf_free(&out);
}
END_TEST

/*
 * What opens a segment has a bound.  Beyond it the daemon ends with a sentence, before it has
 * written a segment that no start could read; and nothing that was answered is lost.
 */
START_TEST(a_catalogue_too_big_for_a_segment_ends_it)
{
	int err = 0;

	make_world(70, 4096, 16);
	if (_i == 0) { /* the very first */
		w->topics = 2000;
		ck_assert_int_eq(open_journal(), ERR_TOOBIG);
		disk_sim_kill(w->sim);
		w->topics = 1;
		w->j = journal_free(w->j);
		must_open();
		end_world();
		return;
	}
	must_open();
	ck_assert_int_eq(work(20, 4, 0), 0);
	ck_assert_int_eq(settle(), 0);
	if (_i == 1) /* the next one */
		for (w->topics = 2000; !err;)
			err = work(1, 4, 0);
	kill_process();
	w->topics = 2000; /* and that of a start */
	err = open_journal();
	ck_assert_int_eq(err, ERR_TOOBIG);
	w->j = journal_free(w->j);
	disk_sim_kill(w->sim);
	w->topics = 1;
	must_open();
	end_world();
}
END_TEST

/* A record that is whole and cannot be: the sentence says which, and where. */
START_TEST(what_the_core_does_not_believe_is_told)
{
	make_world(71, 16384, 16);
	must_open();
	ck_assert_int_eq(work(20, 4, 0), 0);
	ck_assert_int_eq(settle(), 0);
	kill_process();
	w->impossible = 5;
	ck_assert_int_eq(open_journal(), ERR_CORRUPT);
	ck_assert_ptr_nonnull(strstr(w->fault.text, "half record"));
	ck_assert_uint_eq(w->fault.lsn, w->rows[5].place.lsn);
	disk_sim_kill(w->sim);
	w->impossible = 0;
	must_open();
	end_world();
}
END_TEST

/* Or somebody restores a backup over a journal that has nothing: it was memory that was missing. */
START_TEST(memory_that_runs_out_is_no_damage)
{
	uint64_t refused = 0;

	make_world(72, 16384, 16);
	must_open();
	ck_assert_int_eq(work(20, 4, 0), 0);
	ck_assert_int_eq(settle(), 0);
	for (uint64_t n = 1;; n++) {
		int err;

		kill_process();
		memory_sim_fail(n, 1);
		err = open_journal();
		if (!memory_sim_struck()) {
			memory_sim_fail(0, 0);
			ck_assert_int_eq(err, 0);
			break;
		}
		ck_assert_int_eq(err, ERR_NOMEM);
		refused++;
		disk_sim_kill(w->sim);
		must_open();
	}
	ck_assert_uint_gt(refused, 0);
	end_world();
}
END_TEST

/* A user would lose: a tenth of a second, in the middle of the day, for a segment that goes. */
START_TEST(a_big_segment_goes_piece_by_piece)
{
	uint64_t turns = 0, copied = 0;

	make_world(73, 1 << 20, 6);
	w->body_max = 20000;
	w->copy_all = true;
	must_open();
	while (w->j->reclaim == RECLAIM_IDLE)
		ck_assert_int_eq(work(1, 4, 0), 0);
	while (w->j->reclaim == RECLAIM_SCAN) {
		copied = journal_stats(w->j)->bytes_copied;
		w->now += NS_PER_MS;
		ck_assert_int_eq(journal_poll(w->j, w->now), 0);
		ck_assert_int_eq(journal_persist(w->j, w->now, 1000000), 0);
		ck_assert_uint_le(journal_stats(w->j)->bytes_copied - copied, RECLAIM_TURN + 20000);
		turns++;
		ck_assert(w->j->reclaim != RECLAIM_SCAN || journal_deadline_ns(w->j) <= w->now);
	}
	ck_assert_uint_ge(turns, 3);
	end_world();
}
END_TEST

/* A spare that somebody cut short is not begun as a segment; its space is not there. */
START_TEST(spares_of_another_size_are_removed)
{
	struct disk_file *file;
	struct disk *d;

	make_world(74, 16384, 16);
	must_open();
	ck_assert_int_eq(work(20, 4, 0), 0);
	ck_assert_int_eq(settle(), 0);
	kill_process();
	d = disk_sim_disk(w->sim);
	ck_assert_int_eq(d->ops->open(d, "spare-000900.seg", true, &file), 0);
	d->ops->close(file);
	must_open();
	ck_assert_int_eq(d->ops->open(d, "spare-000900.seg", false, &file), ERR_NOTFOUND);
	ck_assert_uint_gt(w->j->spare_id, 900); /* nor is its number used again */
	end_world();
}
END_TEST

START_TEST(a_record_that_cannot_fit_is_refused)
{
	make_world(17, 4096, 16);
	w->body_max = 100000;
	must_open();
	while (hash_u64(w->next_seq) % w->body_max < 2000)
		w->next_seq++;
	ck_assert_int_eq(half_send(), ERR_TOOBIG);
	ck_assert_int_eq(turn(), 0);
	end_world();
}
END_TEST

/*
 * Else one half-send of just the right length is taken, and ends the daemon when its segment is
 * given up; and again after every restart.
 */
START_TEST(what_was_taken_can_be_copied_forward)
{
	struct part part = { 0, 3, UINT64_MAX / 2, PART_REFUSED, INT32_MIN };
	struct entry half = { .type = ENTRY_HALF }, copy = { .type = ENTRY_COPY };
	uint32_t topic = 0;
	struct message m;
	struct place place;
	int err = ERR_TOOBIG;

	make_world(18, 16384, 16);
	must_open();
	half.half.half = half_of(1, &m, body);
	half.half.topics = &topic;
	for (m.value.n = 8192; m.value.n > 0 && err == ERR_TOOBIG; m.value.n--)
		err = journal_append(w->j, &half, &place);
	ck_assert_int_eq(err, 0);
	m.value.n++;
	ck_assert_uint_gt(m.value.n, 3000);
	copy.copy.half = half.half.half;
	copy.copy.topics = &topic;
	copy.copy.state = TXN_UNDELIVERABLE;
	copy.copy.decision =
		(struct decision){ TXN_COMMITTED, ORIGIN_CLIENT, UINT64_MAX / 2, STR_NONE };
	copy.copy.parts = &part;
	ck_assert_int_eq(journal_append(w->j, &copy, &place), 0);
	w->j = journal_free(w->j);
	end_world();
}
END_TEST

int
main(void)
{
	TCase *t = unit_case("journal", NULL, NULL);

	tcase_set_timeout(t, 120);
	tcase_add_test(t, what_was_durable_is_there_after_a_restart);
	tcase_add_test(t, a_second_daemon_is_refused);
	tcase_add_loop_test(t, a_power_cut_at_every_step, 0, 4);
	tcase_add_test(t, killed_in_a_start_then_cut_in_the_next);
	tcase_add_test(t, a_hole_is_a_torn_end_wherever_it_is);
	tcase_add_loop_test(t, starts_in_a_row_take_no_segment, 0, 3);
	tcase_add_loop_test(t, starts_in_a_row_on_a_full_journal, 0, 2);
	tcase_add_loop_test(t, a_segment_is_the_old_one_or_the_new_one, 0, 2);
	tcase_add_test(t, a_segment_written_anew_is_guarded_to_its_last_bit);
	tcase_add_test(t, a_segment_written_anew_keeps_its_time);
	tcase_add_loop_test(t, a_long_life_with_many_crashes, 0, 4);
	tcase_add_test(t, segments_go_round_and_what_is_undecided_goes_along);
	tcase_add_test(t, a_full_journal_refuses_half_sends_and_nothing_else);
	tcase_add_test(t, what_waits_for_the_disk_has_its_bound);
	tcase_add_test(t, no_space_on_the_disk_refuses_half_sends_until_there_is);
	tcase_add_loop_test(t, others_fill_the_disk_while_segments_grow, 0, 4);
	tcase_add_loop_test(t, a_full_disk_lets_it_start, 0, 2);
	tcase_add_loop_test(t, decisions_about_many_messages_have_their_room, 0, 2);
	tcase_add_test(t, no_room_for_a_segment_ends_the_start);
	tcase_add_test(t, beyond_the_reserve_it_waits_for_room);
	tcase_add_test(t, history_makes_way_for_a_big_reserve);
	tcase_add_test(t, a_failed_sync_is_the_end);
	tcase_add_loop_test(t, any_call_of_the_disk_may_fail, 0, 2);
	tcase_add_test(t, a_failure_in_a_turn_is_told_at_its_end);
	tcase_add_test(t, damage_below_the_durable_lsn_is_reported);
	tcase_add_test(t, a_missing_segment_is_reported);
	tcase_add_test(t, a_wiped_journal_is_not_a_new_one);
	tcase_add_test(t, a_cold_read_is_verified);
	tcase_add_test(t, many_cold_fetches_find_their_slot);
	tcase_add_test(t, more_cold_fetches_than_slots);
	tcase_add_test(t, fetches_of_what_is_not_there);
	tcase_add_loop_test(t, a_segment_that_is_removed_is_missed, 0, 2);
	tcase_add_test(t, recent_bodies_are_read_from_memory);
	tcase_add_loop_test(t, a_place_of_another_length_is_damage, 0, 4);
	tcase_add_test(t, a_place_across_two_pieces_is_not_served);
	tcase_add_loop_test(t, a_catalogue_too_big_for_a_segment_ends_it, 0, 3);
	tcase_add_test(t, what_the_core_does_not_believe_is_told);
	tcase_add_test(t, memory_that_runs_out_is_no_damage);
	tcase_add_test(t, a_big_segment_goes_piece_by_piece);
	tcase_add_test(t, spares_of_another_size_are_removed);
	tcase_add_test(t, reclaim_stops_at_damage);
	tcase_add_test(t, lazy_records_wait_and_others_do_not);
	tcase_add_test(t, old_segments_leave_when_their_retention_is_over);
	tcase_add_test(t, the_tools_read_what_recovery_reads);
	tcase_add_test(t, files_of_others_are_left_alone);
	tcase_add_test(t, a_journal_that_is_gone_is_not_begun_anew);
	tcase_add_test(t, the_dump_is_text_whatever_the_journal_holds);
	tcase_add_loop_test(t, the_tools_tell_a_disk_that_fails, 0, 3);
	tcase_add_test(t, a_record_that_cannot_fit_is_refused);
	tcase_add_test(t, what_was_taken_can_be_copied_forward);
	return unit_run_case("journal", t);
}
