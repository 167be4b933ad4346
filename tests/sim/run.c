/*
 * run.c -- see run.h: the world of one seed, its faults, and its healing.
 */
#include <inttypes.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/log.h"
#include "sim/life.h"
#include "sim/memory_sim.h"

#define START_NS       (1000 * NS_PER_S)
#define START_WALL_MS  INT64_C(1767225600000)
#define STEPS_MAX      60000  /* of the phase of faults */
#define HEAL_STEPS_MAX 400000 /* of the phase of healing, which has a bound in time too */
#define HEAL_NS        (15 * 60 * NS_PER_S)

const char *
fault_word(enum fault f)
{
	switch (f) {
#define X(name, word, text)                                                                        \
	case FAULT_##name:                                                                         \
		return word;
		FAULT_LIST(X)
#undef X
	case FAULT_COUNT:
		break;
	}
	abort();
}

const char *
fault_text(enum fault f)
{
	switch (f) {
#define X(name, word, text)                                                                        \
	case FAULT_##name:                                                                         \
		return text;
		FAULT_LIST(X)
#undef X
	case FAULT_COUNT:
		break;
	}
	abort();
}

const char *
sometimes_text(enum sometimes s)
{
	switch (s) {
#define X(name, text)                                                                              \
	case SOMETIMES_##name:                                                                     \
		return text;
		SOMETIMES_LIST(X)
#undef X
	case SOMETIMES_COUNT:
		break;
	}
	abort();
}

uint32_t
life_between(struct rng_sim *r, uint32_t low, uint32_t high)
{
	return low + (uint32_t)rng_sim_below(r, high - low + 1);
}

static uint32_t
between(struct life *l, uint32_t low, uint32_t high)
{
	return life_between(&l->rng, low, high);
}

/* ---- drawing a world ------------------------------------------------------------------------ */

static void
draw_conf(struct life *l)
{
	struct core_conf *c = &l->conf.core;
	struct journal_conf *j = &l->conf.journal;

	core_conf_default(c);
	c->policy.immunity_ns = between(l, 500, 6000) * NS_PER_MS;
	c->policy.interval_ns = between(l, 500, 5000) * NS_PER_MS;
	c->policy.interval_max_ns = 20 * NS_PER_S;
	c->policy.checks_max = between(l, 2, 6);
	c->policy.parked_ns = between(l, 5, 60) * NS_PER_S;
	c->idempotency_window_ms = between(l, 200, 30000);
	/* Often as little as there is: then segments leave as soon as they are full. */
	c->history_retention_ms = between(l, 0, rng_sim_chance(&l->rng, 300) ? 500 : 60000);
	c->audit_retention_ms = between(l, 1000, 60000);
	c->message_bytes = 8192;
	c->lane_window = between(l, 1, 64);
	c->lane_backoff_ns = 50 * NS_PER_MS;
	c->lane_backoff_max_ns = 2 * NS_PER_S;
	j->segment_bytes = UINT64_C(16384) << between(l, 0, 3);
	j->quota_bytes = j->segment_bytes *
			 (rng_sim_chance(&l->rng, 300) ? between(l, 4, 6) : between(l, 6, 40));
	j->cache_bytes = UINT64_C(4096) << between(l, 0, 6);
	j->align = rng_sim_chance(&l->rng, 100) ? 512 : 0;
	j->retention_ms = c->history_retention_ms;
	l->conf.remoting = (struct remoting_conf){
		.listen = ADDRESS,
		.broker_name = "escrow-0",
		.cluster_name = "escrow",
		.connections_max = 1000,
		.message_bytes = c->message_bytes,
		.receive_bytes = 64u << 20,
	};
	l->conf.relay.stall_ns = 30 * NS_PER_S;
}

static void
draw_producers(struct life *l)
{
	bool *drawn = l->result->drawn;
	struct rng_sim *odd = &l->dice[FAULT_PRODUCER_ODD];
	struct producers_knobs k = {
		.producers = between(l, 1, 6),
		.groups = between(l, 1, 2),
		.topics = between(l, 1, 3),
		.keys = between(l, 1, 8),
		.jobs = between(l, 1, 8),
		.messages = l->options->messages,
		.body_max = between(l, 16, 2000),
		.plain_permille = between(l, 0, 100),
		.silent_permille = 50,
		.rollback_permille = between(l, 100, 400),
		.slow_permille = between(l, 0, 300),
		.slow_ns = between(l, 1, 15) * NS_PER_S,
		.fenced_permille = between(l, 0, 1000),
		/* it may be a new transaction, which nobody but its producer may decide */
		.altered_permille = drawn[FAULT_OPERATOR] || drawn[FAULT_PRODUCER_FLIP] ? 0 : 300,
		.ends_may_wait = drawn[FAULT_LIMITS] || drawn[FAULT_NO_MEMORY],
		.again_ns = (int64_t)l->conf.core.idempotency_window_ms * NS_PER_MS * 5 / 4,
		.timeout_ns = 3 * NS_PER_S,
	};

	if (drawn[FAULT_PRODUCER_QUIT])
		k.quit_permille = life_between(&l->dice[FAULT_PRODUCER_QUIT], 1, 10);
	if (drawn[FAULT_PRODUCER_ODD]) {
		k.silent_permille = life_between(odd, 50, 500);
		k.unknown_permille = life_between(odd, 0, 400);
		k.mute_permille = life_between(odd, 0, 300);
		k.late_permille = life_between(odd, 0, 600);
		k.repeat_permille = life_between(odd, 0, 300);
		k.anew_permille = life_between(odd, 0, 900);
	}
	if (drawn[FAULT_PRODUCER_FLIP])
		k.flip_permille = life_between(&l->dice[FAULT_PRODUCER_FLIP], 5, 100);
	if (drawn[FAULT_STRANGER])
		k.stranger_permille = life_between(&l->dice[FAULT_STRANGER], 10, 200);
	if (drawn[FAULT_NET_TWICE])
		k.twice_permille = life_between(&l->dice[FAULT_NET_TWICE], 5, 200);
	l->topics = k.topics;
	for (uint32_t i = 0; i < k.topics; i++) {
		char name[16];

		snprintf(name, sizeof(name), "topic%" PRIu32, i);
		sink_sim_topic(l->sink, name, (int32_t)between(l, 1, 4), 0);
	}
	l->producers = producers_new(&k, l->net, l->oracle, ADDRESS, rng_sim_next(&l->rng));
}

/* ---- what the broker says of itself --------------------------------------------------------- */

static void
hit(struct life *l, enum sometimes s, bool it)
{
	l->result->hit[s] |= it;
}

static void
hit_transition(struct life *l, const struct note *n)
{
	bool parked = n->from == TXN_PARKED, half = n->event == TXN_HALF_SEND;

	hit(l, SOMETIMES_PARKED, n->to == TXN_PARKED);
	hit(l, SOMETIMES_PARKED_DECIDED, parked && n->to != TXN_PREPARED);
	hit(l, SOMETIMES_PARKED_REPEATED, parked && half);
	hit(l, SOMETIMES_REPEATED, n->from == TXN_PREPARED && half);
	hit(l, SOMETIMES_RESUMED, n->event == TXN_RESUME);
	hit(l, SOMETIMES_UNDELIVERABLE, n->to == TXN_UNDELIVERABLE);
	hit(l, SOMETIMES_RETRIED, n->event == TXN_RETRY);
	hit(l, SOMETIMES_DISCARDED, n->to == TXN_DISCARDED);
}

/* What the counters of one run of the daemon tell. */
static void
hit_counters(struct life *l)
{
	const struct core_stats *c = core_stats(loop_core(l->loop));
	const struct journal_stats *j = journal_stats(loop_journal(l->loop));

	hit(l, SOMETIMES_STALE, c->stale_answers > 0);
	hit(l, SOMETIMES_REBUILT, relay_stats(loop_relay(l->loop))->rebuilds > 0);
	hit(l, SOMETIMES_FULL, l->was_full);
	hit(l, SOMETIMES_COLD, j->fetch_misses > 0);
	hit(l, SOMETIMES_RECLAIMED, j->reclaimed > 0);
	hit(l, SOMETIMES_COPIED, j->bytes_copied > 0);
	hit(l, SOMETIMES_HALF_BUSY, c->half_sends[ANSWER_BUSY] > 0);
	hit(l, SOMETIMES_HALF_DRAINING, c->half_sends[ANSWER_DRAINING] > 0);
	hit(l, SOMETIMES_HALF_DECIDED, c->half_sends[ANSWER_DECIDED] > 0);
	hit(l, SOMETIMES_HALF_UNKNOWN, c->half_sends[ANSWER_TOPIC_UNKNOWN] > 0);
}

static void
on_note(void *arg, const struct note *n)
{
	struct life *l = arg;

	if (n->kind == NOTE_TRANSITION) {
		oracle_transition(l->oracle, n);
		hit_transition(l, n);
	}
	if (n->kind == NOTE_CHECK_SENT)
		oracle_check_sent(l->oracle, n->gid);
	schedule_note(l->schedule, n, l->clock.now_ns);
	hit(l, SOMETIMES_CONTRADICTED, n->kind == NOTE_CONTRADICTION);
	hit(l, SOMETIMES_SILENT_GROUP, n->kind == NOTE_GROUP_SILENT);
	hit(l, SOMETIMES_FROZEN, n->kind == NOTE_LANE_FROZEN);
	hit(l, SOMETIMES_RESUMED_LANE, n->kind == NOTE_LANE_RESUMED);
	hit(l, SOMETIMES_KEYS_FULL, n->kind == NOTE_KEYS_FULL);
	hit(l, SOMETIMES_GROUP_FULL, n->kind == NOTE_GROUP_FULL);
	hit(l, SOMETIMES_ANEW, n->kind == NOTE_TOPIC_ANEW);
	if (n->kind == NOTE_RECORD_GONE)
		oracle_fail(l->oracle,
			    "I-9 %" PRId64 " messages that are owed left with their segment",
			    n->value);
	if (n->kind == NOTE_TOPIC_ANEW)
		l->anew_told = true;
	if (n->kind == NOTE_FOREIGN_CLUSTER)
		l->result->effective[FAULT_KAFKA_FOREIGN]++;
}

static void
on_turn(void *arg, struct core *core, int64_t now_ns)
{
	struct life *l = arg;

	operators_turn(l->operators, core, now_ns);
}

static void
on_answer(void *arg, struct reply_to to, const struct answer *answer)
{
	struct life *l = arg;

	operators_answer(l->operators, to, answer);
}

static int
shown(void *arg, struct gid gid)
{
	struct life *l = arg;
	struct row_view row;

	if (!l->loop)
		return -1;
	if (core_get(loop_core(l->loop), gid, &row) != 0)
		return 0;
	/* Retried after a refusal: it comes behind those that went on without it. */
	return row.refused_code ? TXN_UNDELIVERABLE : (int)row.state;
}

static void
on_append(void *arg, int64_t offset, const struct sink_record *rec)
{
	struct life *l = arg;

	oracle_kafka(l->oracle, offset, rec);
	consumers_record(l->consumers, rec, l->now_ns);
}

static void
on_acked(void *arg, const char *topic, int32_t partition, int64_t offset)
{
	struct life *l = arg;
	int64_t *told = &l->told_offset[topic[5] - '0'][partition];

	CHECK(partition < (int32_t)ARRAY_LEN(l->told_offset[0]), partition);
	if (offset < 0)
		return;
	if (offset < *told) /* of the end of the log: one more than the last offset */
		l->anew_owed = true;
	*told = offset + 1;
}

/* ---- the broker's life ----------------------------------------------------------------------- */

/*
 * What a power cut leaves: mostly anything; sometimes, on purpose, what came first, with half a
 * unit behind it, or all but one unit, for those are where rules about groups end.
 */
static void
draw_cut(struct life *l)
{
	static const enum disk_sim_cut cuts[] = { DISK_SIM_PREFIX, DISK_SIM_TORN, DISK_SIM_HOLE };
	struct disk_sim_knobs *d = disk_sim_knobs(l->disk);
	struct rng_sim *dice = &l->dice[FAULT_POWER_CUT];

	d->cut = rng_sim_chance(dice, 700) ? DISK_SIM_DRAWN
					   : cuts[rng_sim_below(dice, ARRAY_LEN(cuts))];
	d->cut_units = life_between(dice, 0, 3);
	d->cut_steps = life_between(dice, 0, 4);
}

/* The broker is gone, and with it all that was only in memory. */
static void
bury(struct life *l, bool power)
{
	struct disk_sim_knobs *d = disk_sim_knobs(l->disk);

	l->result->crashes++;
	oracle_crashed(l->oracle);
	operators_crashed(l->operators);
	schedule_crashed(l->schedule);
	if (l->options->trace)
		log_write(LOG_TRACE, power ? "---- power cut" : "---- killed", "crash=%" PRIu64,
			  l->result->crashes);
	if (l->loop) {
		l->result->reclaimed += journal_stats(loop_journal(l->loop))->reclaimed;
		hit_counters(l);
	}
	draw_cut(l);
	if (power)
		disk_sim_crash(l->disk);
	else
		disk_sim_kill(l->disk);
	l->loop = loop_free(l->loop);
	l->reclaimed_seen = 0;
	net_sim_crash(l->net);
	sink_sim_crash(l->sink);
	d->stop = d->fail_sync = d->fail_write = d->fail_read = d->flip_read = d->hang_sync = 0;
	d->error = 0;
	d->lose_write = d->stray_write = 0;
	l->mislaying = l->allocating = false;
	memset(l->told_offset, 0, sizeof(l->told_offset));
	l->anew_owed = l->anew_told = false;
	l->excused = false;
	l->was_full = false;
	l->durable_seen = 0;
	l->draining = false;
	l->watchdog_ns = 0;
	memory_sim_fail(0, 0);
}

void
life_pass(struct life *l, int64_t ns)
{
	int64_t mono;

	l->now_ns += ns;
	mono = l->now_ns - l->lag_ns;
	mono = l->tick_ns ? mono - mono % l->tick_ns : mono;
	l->clock.now_ns = max_i64(l->clock.now_ns, mono);
	l->drift_ns += ns / 1000 * l->drift_permille;
	l->clock.wall_offset_ms += l->drift_ns / NS_PER_MS;
	l->drift_ns %= NS_PER_MS;
	net_sim_advance(l->net, l->now_ns);
	sink_sim_advance(l->sink, l->now_ns);
	disk_sim_advance(l->disk, l->now_ns);
}

bool
life_make_room(struct life *l)
{
	struct disk_sim_knobs *d = disk_sim_knobs(l->disk);
	bool was_small = d->capacity != 0;

	d->capacity = 0;
	l->result->effective[FAULT_ALLOCATE_FULL] += was_small;
	return was_small;
}

static int
start(struct life *l, struct journal_fault *ret_fault)
{
	struct world world = { &l->clock.clock, disk_sim_disk(l->disk), net_sim_net(l->net),
			       sink_sim_sink(l->sink), &l->words.rng };
	struct loop_hooks hooks = {
		.arg = l, .note = on_note, .turn = on_turn, .answer = on_answer
	};
	int err = loop_new(&world, &l->conf, &hooks, &l->loop, ret_fault);

	if (err)
		l->loop = NULL;
	l->started_ns = l->now_ns;
	return err;
}

/* Starts it, perhaps with a power cut somewhere in the middle of recovery. */
static void
raise_up(struct life *l, bool faults)
{
	struct rng_sim *dice = &l->dice[FAULT_CRASH_IN_RECOVERY];
	struct journal_fault fault;
	int err;

	/* One refusal would end the start; a small disk has the room that was set aside. */
	disk_sim_knobs(l->disk)->fail_reserve = 0;
	for (int tries = 0;; tries++) {
		bool trap = faults && tries < 3 && l->result->drawn[FAULT_CRASH_IN_RECOVERY] &&
			    rng_sim_chance(dice, 300);

		if (trap)
			disk_sim_knobs(l->disk)->stop = life_between(dice, 1, 12);
		err = start(l, &fault);
		if (!err) {
			disk_sim_knobs(l->disk)->stop = 0;
			if (!disk_sim_stopped(l->disk))
				return;
		}
		if (err == ERR_CORRUPT && l->mislaid_lsn) {
			l->result->effective[FAULT_WRITE_LOST]++;
			l->detected = true;
			return;
		}
		if (err == ERR_NOSPACE && life_make_room(l)) {
			bury(l, false);
			continue;
		}
		if (!trap) {
			oracle_fail(l->oracle,
				    "the broker does not start again: %s, %s, segment %" PRIu64
				    ", lsn %" PRIu64,
				    err_name(err), fault.text, fault.segment, fault.lsn);
			return;
		}
		l->result->effective[FAULT_CRASH_IN_RECOVERY]++;
		bury(l, rng_sim_chance(dice, 700) && !l->mislaid_lsn);
		life_pass(l, 100 * NS_PER_MS);
	}
}

static void
notice_mislaid(struct life *l)
{
	const struct disk_sim_knobs *d = disk_sim_knobs(l->disk);
	const struct journal_stats *j = journal_stats(loop_journal(l->loop));

	if (l->mislaying && !d->lose_write && !d->stray_write) {
		l->mislaid_lsn = j->appended_lsn;
		l->vouching_lsn = 0;
	} else if (l->mislaid_lsn && !l->vouching_lsn && j->durable_lsn >= l->mislaid_lsn) {
		l->vouching_lsn = j->durable_lsn;
	}
	l->mislaying = d->lose_write || d->stray_write;
}

/*
 * What was lost in silence can be told from a torn end only once a header that names it durable is
 * durable itself (JOURNAL.md, Limits): a cut before that proves nothing.  What shares a sync with
 * it does not name it: a marker is synced with the group behind it.  Nor does a segment that is
 * begun: durable_lsn passes to its base, what the old one had no use for, and its opening is not
 * synced yet.
 */
static bool
vouched(const struct life *l)
{
	uint64_t durable;

	if (!l->mislaid_lsn)
		return true;
	if (!l->loop || !l->vouching_lsn)
		return false;
	durable = journal_stats(loop_journal(l->loop))->durable_lsn;
	return durable > l->vouching_lsn && durable % l->conf.journal.segment_bytes != 0;
}

void
life_restart(struct life *l, bool power, bool faults)
{
	struct rng_sim *dice = &l->dice[FAULT_CLOCK_DOWN];
	bool cut = power && vouched(l);

	bury(l, cut);
	if (faults && l->result->drawn[FAULT_CLOCK_DOWN] && rng_sim_chance(dice, 500)) {
		l->clock.wall_offset_ms += ((int64_t)life_between(dice, 0, 4000) - 2000) *
					   (rng_sim_chance(dice, 500) ? 100 : 10000000);
		l->result->effective[FAULT_CLOCK_DOWN]++;
	}
	life_pass(l, (int64_t)between(l, 1, 3000) * NS_PER_MS);
	raise_up(l, faults);
	if (cut && l->loop)
		l->mislaid_lsn = 0; /* it was of no consequence */
}

void
life_second(struct life *l)
{
	struct net_sim *net = net_sim_new(l->options->seed);
	struct world world = { &l->clock.clock, disk_sim_disk(l->disk), net_sim_net(net),
			       sink_sim_sink(l->sink), &l->words.rng };
	struct loop_hooks hooks = { 0 };
	struct journal_fault fault;
	struct loop *second;
	int err = loop_new(&world, &l->conf, &hooks, &second, &fault);

	if (err != ERR_LOCKED && !disk_sim_stopped(l->disk)) {
		oracle_fail(l->oracle, "I-11 a second instance on the directory: %s",
			    err ? err_name(err) : "it serves");
		disk_sim_kill(l->disk); /* what either began may not end in the other's memory */
	}
	net_sim_free(net);
	l->result->effective[FAULT_TWO]++;
}

/* ---- a clean restart ------------------------------------------------------------------------- */

/* What may never differ after one. */
struct shot {
	struct gid gid;
	uint8_t state;
	uint8_t generation;
	uint32_t checks, count, published, refused;
};

struct album {
	struct shot *of;
	size_t count, room;
};

static void
shoot(struct life *l, struct album *a)
{
	static struct list_page page; /* large, and one thread */
	struct list_query q = { .limit = LIMIT_LIST_PAGE };

	do {
		core_list(loop_core(l->loop), &q, &page);
		for (uint32_t i = 0; i < page.count; i++) {
			const struct row_view *row = &page.rows[i];

			if (a->count == a->room) {
				a->room = a->room ? a->room * 2 : 128;
				a->of = mem_grow(a->of, a->room * sizeof(*a->of));
			}
			a->of[a->count++] = (struct shot){
				row->gid,   (uint8_t)row->state, row->generation, row->checks,
				row->count, row->published,      row->refused,
			};
		}
		q.after_seq = page.next_seq;
	} while (page.next_seq);
}

/* A plain send whose answer a crash took, and then the refusal too, has a number all the same. */
static void
tell_refused(struct life *l)
{
	static struct list_page page;
	struct list_query q = { .limit = LIMIT_LIST_PAGE };

	if (!l->loop)
		return;
	do {
		core_list(loop_core(l->loop), &q, &page);
		for (uint32_t i = 0; i < page.count; i++) {
			if (page.rows[i].refused_code)
				oracle_refused(l->oracle, page.rows[i].gid);
		}
		q.after_seq = page.next_seq;
	} while (page.next_seq);
}

static bool
is_final(uint8_t state)
{
	return state == TXN_PUBLISHED || state == TXN_ROLLED_BACK || state == TXN_DISCARDED;
}

/* Ascending by sequence, both of them. */
static void
compare(struct life *l, const struct album *before, const struct album *after, const char *what)
{
	for (size_t i = 0, k = 0; i < before->count; i++) {
		const struct shot *x = &before->of[i], *y;

		while (k < after->count && after->of[k].gid.lo < x->gid.lo)
			k++;
		y = k < after->count && after->of[k].gid.lo == x->gid.lo ? &after->of[k] : NULL;
		if (!y && is_final(x->state))
			continue; /* history may go */
		if (!y || y->state != x->state || y->generation != x->generation ||
		    (!is_final(x->state) &&
		     (y->count != x->count || y->checks != x->checks || y->refused != x->refused)))
			oracle_fail(l->oracle,
				    "I-10 %s: seq %" PRIu64 " was %s, generation %d, %" PRIu32
				    " checks, and is %s, generation %d, %" PRIu32 " checks",
				    what, x->gid.lo, txn_state_name((enum txn_state)x->state),
				    x->generation, x->checks,
				    y ? txn_state_name((enum txn_state)y->state) : "gone",
				    y ? y->generation : 0, y ? y->checks : 0);
	}
}

/* Stops it as main.c does, and starts it again: nothing may differ, if all was settled. */
static void
stop_and_start(struct life *l, bool power)
{
	struct album before = { 0 }, after = { 0 };
	struct disk_sim_knobs *d = disk_sim_knobs(l->disk);
	bool drained = loop_drained(l->loop) && !l->was_full; /* lazy records are dropped then */
	bool excused = l->excused;
	int err;

	d->stop = d->fail_sync = d->fail_write = d->fail_read = d->flip_read = d->hang_sync = 0;
	err = journal_sync(loop_journal(l->loop));
	notice_mislaid(l);
	if (err && !excused)
		oracle_fail(l->oracle, "the last sync failed without cause: %s", err_name(err));
	shoot(l, &before);
	bury(l, power && vouched(l));
	life_pass(l, (int64_t)between(l, 1, 3000) * NS_PER_MS);
	raise_up(l, false);
	if (l->loop && drained && !err) {
		shoot(l, &after);
		compare(l, &before, &after, "after a clean restart");
		l->result->effective[FAULT_DRAIN]++;
	}
	mem_free(before.of);
	mem_free(after.of);
}

/* ---- time ------------------------------------------------------------------------------------ */

/* A deadline of the broker's clock, in time of the world. */
static int64_t
in_world(const struct life *l, int64_t mono_ns)
{
	if (mono_ns == TIME_NEVER)
		return TIME_NEVER;
	if (l->tick_ns)
		mono_ns = (mono_ns + l->tick_ns - 1) / l->tick_ns * l->tick_ns;
	return mono_ns + l->lag_ns;
}

static int64_t
next_ns(struct life *l)
{
	int64_t next = net_sim_next_ns(l->net);
	int64_t due = core_next_due_ns(loop_core(l->loop));

	due = min_i64(due, journal_deadline_ns(loop_journal(l->loop)));
	due = min_i64(due, remoting_deadline_ns(loop_remoting(l->loop)));
	due = min_i64(due, relay_deadline_ns(loop_relay(l->loop)));
	next = min_i64(next, in_world(l, due));
	next = min_i64(next, sink_sim_next_ns(l->sink));
	next = min_i64(next, producers_next_ns(l->producers));
	next = min_i64(next, faults_next_ns(l));
	if (disk_sim_pending(l->disk))
		next = min_i64(next, max_i64(disk_sim_next_ns(l->disk), l->now_ns + 100000));
	/* time never stands still, and a turn takes a while */
	next = max_i64(next, l->now_ns + 20000);
	return min_i64(next, l->now_ns + 60 * NS_PER_S);
}

/*
 * I-9: of what clients cause at most three times as much is copied, for a segment of which more
 * than three quarters are live is copied at most once a second; and a run of the daemon may pack
 * what it found closer, once.  That is a write amplification of four, where the rules ask for
 * three: for those reclaim would have to back off from two thirds on, and a journal between
 * these two would take in a third of a segment a second, then a minute.
 */
static void
check_amplification(struct life *l)
{
	const struct journal_stats *j = journal_stats(loop_journal(l->loop));
	uint64_t seconds = (uint64_t)(l->now_ns - l->started_ns) / NS_PER_S;
	uint64_t caused = j->bytes_written - min_u64(j->bytes_copied, j->bytes_written);
	uint64_t besides = j->quota_bytes + (1 + seconds) * l->conf.journal.segment_bytes;

	if (j->bytes_copied > 3 * caused + besides)
		oracle_fail(l->oracle,
			    "I-9 %" PRIu64 " bytes were copied, and %" PRIu64 " written else",
			    j->bytes_copied, caused);
}

/*
 * I-9: never more than the quota and one segment, however many starts come in a row: all files,
 * whoever knows of them.  Segments leave oldest first.
 * I-10: positions never go back within one run of the daemon.
 */
static void
check_journal(struct life *l)
{
	const struct journal_stats *j = journal_stats(loop_journal(l->loop));
	uint64_t bytes = disk_sim_used(l->disk);

	l->was_full |= j->full;
	if (bytes > j->quota_bytes + l->conf.journal.segment_bytes)
		oracle_fail(l->oracle,
			    "I-9 the journal has %" PRIu64 " bytes, and %" PRIu64 " to use", bytes,
			    j->quota_bytes);
	if (j->durable_lsn < l->durable_seen || j->oldest_segment < l->oldest_seen ||
	    j->oldest_segment > l->oldest_seen + 1)
		oracle_fail(l->oracle,
			    "I-10 durable up to %" PRIu64 ", before %" PRIu64
			    "; oldest segment %" PRIu64 ", before %" PRIu64,
			    j->durable_lsn, l->durable_seen, j->oldest_segment, l->oldest_seen);
	l->durable_seen = j->durable_lsn;
	l->oldest_seen = j->oldest_segment;
}

static void
check_limits(struct life *l, const struct core_stats *s)
{
	struct group_view g;
	uint32_t at = 0;

	while (core_group_next(loop_core(l->loop), &at, &g))
		if (g.waiting > l->conf.core.group_undecided)
			oracle_fail(l->oracle, "I-14 %" PRIu64 " of one group are undecided",
				    g.waiting);
	if (s->rows[TXN_PREPARED] + s->rows[TXN_PARKED] > l->conf.core.undecided_max)
		oracle_fail(l->oracle,
			    "I-14 %" PRIu64 " transactions are undecided, of at most %" PRIu64,
			    s->rows[TXN_PREPARED] + s->rows[TXN_PARKED],
			    (uint64_t)l->conf.core.undecided_max);
}

static void
count_blows(struct life *l, const struct core_stats *s)
{
	struct disk_sim_knobs *d = disk_sim_knobs(l->disk);

	if (l->allocating && !d->fail_allocate && !d->fail_reserve)
		l->result->effective[FAULT_ALLOCATE_FULL]++;
	l->allocating = d->fail_allocate || d->fail_reserve;
	if (l->anew_owed != l->anew_told)
		oracle_fail(l->oracle,
			    l->anew_owed
				    ? "I-7 Kafka lost acknowledged records, and nobody was told"
				    : "I-7 an alarm that Kafka lost records, and it did not");
	l->anew_owed = l->anew_told = false;
	if (!l->durable_seen) /* the first turn of this run */
		l->oldest_seen = journal_stats(loop_journal(l->loop))->oldest_segment;
	check_journal(l);
	check_amplification(l);
	hit(l, SOMETIMES_DEFERRED, s->deferred > 0);
}

bool
life_step(struct life *l)
{
	const struct core_stats *s;
	bool power;
	int err;

	l->result->steps++;
	life_pass(l, next_ns(l) - l->now_ns);
	oracle_step(l->oracle, l->now_ns);
	faults_pass(l);
	if (!l->loop)
		return false;
	producers_step(l->producers, l->now_ns);
	consumers_step(l->consumers, l->now_ns);
	net_sim_advance(l->net, l->now_ns);
	err = loop_turn(l->loop, 0);
	notice_mislaid(l);
	s = core_stats(loop_core(l->loop));
	check_limits(l, s);
	if (!err)
		count_blows(l, s);
	if (!err && disk_sim_stopped(l->disk))
		err = ERR_IO; /* it died in the middle of that turn */
	if (err && faults_excuse(l, err, &power))
		life_restart(l, power, true);
	else if (err)
		oracle_fail(l->oracle, "a turn failed without cause: %s", err_name(err));
	if (l->loop && l->draining && (loop_drained(l->loop) || l->now_ns >= l->drained_ns))
		stop_and_start(l, between(l, 0, 1));
	return !oracle_violation(l->oracle) && l->loop;
}

static bool
at_rest(struct life *l)
{
	const struct core_stats *s = core_stats(loop_core(l->loop));

	return producers_done(l->producers) && oracle_owed(l->oracle) == 0 &&
	       core_owed(loop_core(l->loop)) == 0 &&
	       s->rows[TXN_PREPARED] + s->rows[TXN_PARKED] == 0;
}

static void
heal(struct life *l)
{
	int64_t until_ns = l->now_ns + HEAL_NS;

	for (uint64_t i = 0; i < HEAL_STEPS_MAX && l->now_ns < until_ns; i++) {
		if (at_rest(l) || !life_step(l))
			return;
	}
	oracle_final(l->oracle);
	oracle_fail(l->oracle,
		    "not at rest after healing: %" PRIu64 " owed to clients, %" PRIu64
		    " owed to Kafka, %" PRIu64 " prepared, %" PRIu64 " parked",
		    oracle_owed(l->oracle), core_owed(loop_core(l->loop)),
		    core_stats(loop_core(l->loop))->rows[TXN_PREPARED],
		    core_stats(loop_core(l->loop))->rows[TXN_PARKED]);
}

/* ---- silent damage ------------------------------------------------------------------------- */

struct pick {
	struct rng_sim *dice;
	uint64_t seen;
	char name[64];
	uint64_t size;
};

static void
pick_segment(void *arg, const char *name, uint64_t size)
{
	struct pick *p = arg;

	if (strstr(name, ".seg") && size && rng_sim_below(p->dice, ++p->seen) == 0) {
		snprintf(p->name, sizeof(p->name), "%s", name);
		p->size = size;
	}
}

/*
 * After an orderly end everything is vouched for: one bit that flips anywhere is either found at
 * the start, which then ends with a report, or was of no consequence (I-13).
 */
static void
rot(struct life *l)
{
	struct pick pick = { .dice = &l->dice[FAULT_BIT_ROT] };
	struct album before = { 0 }, after = { 0 };
	struct disk *disk = disk_sim_disk(l->disk);
	struct journal_fault fault;
	uint64_t bit;
	int err;

	err = journal_sync(loop_journal(l->loop));
	if (err)
		oracle_fail(l->oracle, "the last sync failed without cause: %s", err_name(err));
	shoot(l, &before);
	bury(l, true);
	(void)disk->ops->list(disk, pick_segment, &pick);
	/* More often at the front: the last segment is mostly empty. */
	bit = rng_sim_below(pick.dice, (pick.size >> life_between(pick.dice, 0, 6)) * 8 + 8);
	disk_sim_flip(l->disk, pick.name, bit);
	err = start(l, &fault);
	l->result->effective[FAULT_BIT_ROT] += err == ERR_CORRUPT;
	if (!err) {
		shoot(l, &after);
		compare(l, &before, &after, "I-13 with a flipped bit");
	} else if (err != ERR_CORRUPT) {
		oracle_fail(l->oracle, "I-13 a flipped bit is reported as %s: %s", err_name(err),
			    fault.text);
	}
	mem_free(before.of);
	mem_free(after.of);
}

/* ---- one seed -------------------------------------------------------------------------------- */

static int64_t
trace_clock(void *arg)
{
	struct life *l = arg;

	return l->now_ns / NS_PER_MS;
}

static void
trace_line(void *arg, const char *line, size_t len)
{
	struct life *l = arg;

	if (l->options->trace)
		fwrite(line, 1, len, stdout);
	if (l->options->tail)
		snprintf(l->tail[l->lines++ % ARRAY_LEN(l->tail)], sizeof(l->tail[0]), "%.*s",
			 (int)strcspn(line, "\n"), line);
	l->result->trace_hash = hash_body(line, len, l->result->trace_hash).lo;
}

static void
print_line(void *arg, struct str line)
{
	(void)arg;
	printf("%.*s\n", STR_ARG(line));
}

static void
print_tail(const struct life *l)
{
	uint64_t n = min_u64(min_u64(l->options->tail, ARRAY_LEN(l->tail)), l->lines);

	for (uint64_t i = l->lines - n; i < l->lines; i++)
		printf("    %s\n", l->tail[i % ARRAY_LEN(l->tail)]);
}

static bool
oldest_unpublished(void *arg, struct gid *ret_low)
{
	const struct life *l = arg;

	if (!l->loop)
		return false;
	*ret_low = core_unpublished(loop_core(l->loop));
	return true;
}

/* How long a committed key is remembered for certain. */
static int64_t
window_ns(const struct life *l)
{
	int64_t window_ns = (int64_t)l->conf.core.idempotency_window_ms * NS_PER_MS;

	/* Short of memory, a restart has only the clock to tell which keys are the oldest. */
	if (l->result->drawn[FAULT_LIMITS])
		return 0;
	/* Where the clock stands still, a decision bears the time of the tick before. */
	if (l->result->drawn[FAULT_CLOCK_COARSE])
		window_ns -= CLOCK_TICK_MAX_MS * NS_PER_MS;
	return l->drift_permille ? window_ns * 8 / 10 : window_ns;
}

/* Nothing waits in a connection: it takes at once what the broker writes. */
static bool
prompt(const bool *drawn)
{
	return !drawn[FAULT_NET_SLOW] && !drawn[FAULT_SLOW_READER] && !drawn[FAULT_NET_ONE_WAY] &&
	       !drawn[FAULT_NET_CUT];
}

static void
build(struct life *l)
{
	rng_sim_init(&l->rng, l->options->seed);
	rng_sim_init(&l->words, rng_sim_next(&l->rng));
	l->refusals_before = memory_sim_refusals();
	l->now_ns = START_NS;
	clock_sim_init(&l->clock, START_NS, START_WALL_MS);
	l->net = net_sim_new(rng_sim_next(&l->rng));
	l->disk = disk_sim_new(rng_sim_next(&l->rng));
	l->sink = sink_sim_new(rng_sim_next(&l->rng));
	l->oracle = oracle_new();
	l->operators = operators_new(l->oracle, l->disk, rng_sim_next(&l->rng));
	l->consumers = consumers_new(l->oracle, hash_u64(l->options->seed ^ 77));
	consumers_ask(l->consumers, oldest_unpublished, l);
	draw_conf(l);
	l->schedule = schedule_new(&l->conf.core.policy, l->oracle);
	operators_tell(l->operators, l->schedule);
	faults_draw(l);
	draw_producers(l);
	net_sim_set(l->net, &l->net_knobs);
	sink_sim_set(l->sink, &l->sink_knobs);
	sink_sim_watch(l->sink, on_append, l);
	sink_sim_watch_acked(l->sink, on_acked, l);
	oracle_set_shown(l->oracle, shown, l);
	oracle_set_window(l->oracle, window_ns(l));
	oracle_set_prompt(l->oracle, prompt(l->result->drawn));
	life_pass(l, 0);
	log_redirect(trace_clock, trace_line, l);
	log_setup(l->options->trace || l->options->hash || l->options->tail ? LOG_TRACE : LOG_ERROR,
		  LOG_LOGFMT);
}

static void
count(struct life *l)
{
	const struct net_sim_counts *n = net_sim_counts(l->net);
	const struct sink_sim_counts *k = sink_sim_counts(l->sink);
	const struct disk_sim_counts *d = disk_sim_counts(l->disk);
	const struct oracle_counts *o = oracle_counts(l->oracle);
	const struct producers_counts *p = producers_counts(l->producers);
	const struct operators_counts *w = operators_counts(l->operators);
	const struct consumers_counts *s = consumers_counts(l->consumers);
	struct run_result *r = l->result;
	uint64_t *e = r->effective;

	e[FAULT_DISK_LATE] = r->drawn[FAULT_DISK_LATE] ? d->syncs : 0;
	e[FAULT_DISK_SLOW] = r->drawn[FAULT_DISK_SLOW] ? d->syncs : 0;
	e[FAULT_NO_MEMORY] += memory_sim_refusals() - l->refusals_before;
	e[FAULT_NET_CUT] = n->resets + n->vanishes;
	e[FAULT_NET_ONE_WAY] = n->one_way;
	e[FAULT_NET_SLOW] = n->stalls + n->short_writes + n->fragments;
	e[FAULT_NET_TWICE] = p->twice;
	e[FAULT_SLOW_READER] = n->slow;
	e[FAULT_KAFKA_LOST] = k->lost;
	e[FAULT_KAFKA_UNHEARD] = k->unheard;
	e[FAULT_KAFKA_LIES] = k->lying + (k->refused - k->poisoned);
	e[FAULT_KAFKA_POISON] = k->poisoned;
	e[FAULT_KAFKA_FATAL] = k->fatal;
	e[FAULT_KAFKA_FULL] = r->drawn[FAULT_KAFKA_FULL] ? k->full : 0;
	e[FAULT_KAFKA_TWICE] = k->repeats;
	e[FAULT_KAFKA_UNLED] = k->unled;
	e[FAULT_PRODUCER_QUIT] = p->quits;
	e[FAULT_PRODUCER_ODD] = p->odd;
	e[FAULT_PRODUCER_FLIP] = p->flips;
	e[FAULT_STRANGER] = p->strangers;
	e[FAULT_CONSUMER_CRASH] = s->crashes;
	e[FAULT_REBALANCE] = s->rebalances;
	hit(l, SOMETIMES_LATE, s->late > 0);
	hit(l, SOMETIMES_QUARANTINED, s->quarantined > 0);
	e[FAULT_CLOCK_COARSE] = r->drawn[FAULT_CLOCK_COARSE] ? r->steps : 0;
	e[FAULT_LIMITS] = r->drawn[FAULT_LIMITS] ? p->busy : 0;
	e[FAULT_OPERATOR] = w->done;
	r->events = n->sends + d->steps + k->published + p->checks + w->orders + s->delivered;
	r->virtual_ns = l->now_ns - START_NS;
	r->halves = o->halves_ok;
	r->commits = o->commits_ok;
	r->rollbacks = o->rollbacks_ok;
	r->records = o->records;
	r->duplicates = o->duplicates;
	r->checks = p->checks;
	r->operations = w->done;
	r->audits = w->audits;
	hit(l, SOMETIMES_TORN, d->units_damaged > 0);
	hit(l, SOMETIMES_DUPLICATE, o->duplicates > 0);
	hit(l, SOMETIMES_DAMAGE_FOUND, e[FAULT_BIT_ROT] || e[FAULT_WRITE_LOST]);
	if (l->loop) {
		r->reclaimed += journal_stats(loop_journal(l->loop))->reclaimed;
		hit_counters(l);
	}
}

static bool
alive(const struct life *l)
{
	return l->loop && !oracle_violation(l->oracle);
}

void
run_seed(const struct run_options *options, struct run_result *ret_result)
{
	struct life l = { .options = options, .result = ret_result };
	uint64_t most = options->steps ? options->steps : STEPS_MAX;

	memset(ret_result, 0, sizeof(*ret_result));
	build(&l);
	raise_up(&l, false);
	for (uint64_t i = 0; l.loop && i < most; i++) {
		faults_strike(&l);
		if (!alive(&l) || !life_step(&l))
			break;
		if (oracle_messages(l.oracle) >= options->messages && producers_done(l.producers))
			break;
	}
	if (alive(&l)) {
		faults_settle(&l);
		heal(&l);
	}
	if (alive(&l)) {
		life_restart(&l, true, false); /* nothing may come back, nothing be missing */
		if (l.loop)
			heal(&l);
		if (!l.detected) {
			tell_refused(&l);
			oracle_final(l.oracle);
			consumers_final(l.consumers);
		}
	}
	if (alive(&l))
		operators_audit(l.operators);
	if (alive(&l) && ret_result->drawn[FAULT_BIT_ROT])
		rot(&l);
	count(&l);
	if (oracle_violation(l.oracle)) {
		struct journal_fault fault;

		print_tail(&l);
		if (options->dump)
			bury(&l, false);
		if (options->dump &&
		    journal_dump(disk_sim_disk(l.disk), print_line, NULL, &fault) != 0)
			printf("%s\n", fault.text);
	}
	if (oracle_violation(l.oracle))
		snprintf(ret_result->violation, sizeof(ret_result->violation), "%s",
			 oracle_violation(l.oracle));
	l.loop = loop_free(l.loop);
	memory_sim_fail(0, 0);
	producers_free(l.producers);
	operators_free(l.operators);
	consumers_free(l.consumers);
	schedule_free(l.schedule);
	oracle_free(l.oracle);
	sink_sim_free(l.sink);
	disk_sim_disk(l.disk)->ops->free(disk_sim_disk(l.disk));
	net_sim_free(l.net);
	log_redirect(NULL, NULL, NULL);
}
