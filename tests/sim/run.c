/*
 * run.c -- see run.h: the world of one seed, its faults, and its healing.
 */
#include "sim/run.h"

#include <inttypes.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/log.h"
#include "sim/clock_sim.h"
#include "sim/disk_sim.h"
#include "sim/net_sim.h"
#include "sim/oracle.h"
#include "sim/producers.h"
#include "sim/sink_sim.h"
#include "world/loop.h"

#define ADDRESS        "127.0.0.1:9876"
#define START_NS       (1000 * NS_PER_S)
#define START_WALL_MS  INT64_C(1767225600000)
#define STEPS_MAX      60000  /* of the phase of faults */
#define HEAL_STEPS_MAX 400000 /* of the phase of healing, which has a bound in time too */
#define HEAL_NS        (3 * 3600 * NS_PER_S)

struct run {
	const struct run_options *options;
	struct run_result *result;
	struct rng_sim rng;
	struct clock_sim clock;
	struct rng_sim words; /* the broker's random words */
	struct net_sim *net;
	struct disk_sim *disk;
	struct sink_sim *sink;
	struct oracle *oracle;
	struct producers *producers;
	struct loop_conf conf;
	struct loop *loop;
	struct net_sim_knobs net_knobs;
	struct sink_sim_knobs sink_knobs;
	uint32_t cut_permyriad, kill_permyriad, eio_permyriad, full_permyriad, jump_permyriad,
		pause_permyriad, down_permyriad, operator_permyriad, recovery_permille;
	uint64_t reclaimed_seen;
	int64_t up_ns; /* Kafka is down until then; 0: up */
	bool excused;  /* a fault was injected that may end the process */
};

const char *
fault_text(enum fault f)
{
	switch (f) {
#define X(name, text)                                                                              \
	case FAULT_##name:                                                                         \
		return text;
		FAULT_LIST(X)
#undef X
	case FAULT_COUNT:
		break;
	}
	abort();
}

static bool
chance10k(struct run *r, uint32_t permyriad)
{
	return permyriad && rng_sim_below(&r->rng, 10000) < permyriad;
}

static uint32_t
between(struct run *r, uint32_t low, uint32_t high)
{
	return low + (uint32_t)rng_sim_below(&r->rng, high - low + 1);
}

/* ---- drawing a world ------------------------------------------------------------------------ */

static bool
draw(struct run *r, enum fault f, uint32_t permille)
{
	r->result->drawn[f] = rng_sim_chance(&r->rng, permille);
	return r->result->drawn[f];
}

static void
draw_conf(struct run *r)
{
	struct core_conf *c = &r->conf.core;
	struct journal_conf *j = &r->conf.journal;

	core_conf_default(c);
	c->policy.immunity_ns = between(r, 500, 6000) * NS_PER_MS;
	c->policy.interval_ns = between(r, 500, 5000) * NS_PER_MS;
	c->policy.interval_max_ns = 20 * NS_PER_S;
	c->policy.checks_max = between(r, 2, 6);
	c->policy.parked_ns = between(r, 5, 60) * NS_PER_S;
	c->idempotency_window_ms = between(r, 200, 30000);
	c->history_retention_ms = between(r, 0, 60000);
	c->audit_retention_ms = between(r, 1000, 60000);
	c->message_bytes = 8192;
	c->lane_window = between(r, 1, 64);
	c->lane_backoff_ns = 50 * NS_PER_MS;
	c->lane_backoff_max_ns = 2 * NS_PER_S;
	j->segment_bytes = UINT64_C(16384) << between(r, 0, 3);
	j->quota_bytes = j->segment_bytes *
			 (rng_sim_chance(&r->rng, 300) ? between(r, 4, 6) : between(r, 6, 40));
	j->cache_bytes = UINT64_C(4096) << between(r, 0, 6);
	j->align = rng_sim_chance(&r->rng, 100) ? 512 : 0;
	j->retention_ms = c->history_retention_ms;
	r->conf.remoting = (struct remoting_conf){
		.listen = ADDRESS,
		.broker_name = "escrow-0",
		.cluster_name = "escrow",
		.connections_max = 1000,
		.message_bytes = c->message_bytes,
		.receive_bytes = 64u << 20,
	};
	r->conf.relay.stall_ns = 30 * NS_PER_S;
}

static void
draw_faults(struct run *r)
{
	struct disk_sim_knobs *d = disk_sim_knobs(r->disk);
	bool on;

	r->net_knobs =
		(struct net_sim_knobs){ .latency_min_ns = 50000, .latency_max_ns = 2 * NS_PER_MS };
	r->sink_knobs = (struct sink_sim_knobs){ .latency_min_ns = 200000,
						 .latency_max_ns = between(r, 1, 50) * NS_PER_MS };
	d->sync_ns = 100000;
	d->unit = rng_sim_chance(&r->rng, 500) ? 512 : 4096;
	if (draw(r, FAULT_POWER_CUT, 600))
		r->cut_permyriad = between(r, 2, 60);
	if (draw(r, FAULT_KILL, 400))
		r->kill_permyriad = between(r, 2, 60);
	if (draw(r, FAULT_CRASH_IN_RECOVERY, 300))
		r->recovery_permille = between(r, 50, 500);
	on = draw(r, FAULT_SYNC_EIO, 200);
	on |= draw(r, FAULT_WRITE_EIO, 200);
	if (on)
		r->eio_permyriad = between(r, 1, 30);
	if (draw(r, FAULT_ALLOCATE_FULL, 200)) {
		r->full_permyriad = between(r, 5, 100);
		/* a disk that is smaller than the quota: marks are dropped, half-sends refused */
		if (rng_sim_chance(&r->rng, 500))
			d->capacity = r->conf.journal.segment_bytes * between(r, 4, 8);
	}
	if (draw(r, FAULT_DISK_LATE, 300))
		d->delay_max = between(r, 1, 20);
	if (draw(r, FAULT_NET_CUT, 300)) {
		r->net_knobs.reset_permille = between(r, 1, 30);
		r->net_knobs.vanish_permille = between(r, 0, 5);
	}
	if (draw(r, FAULT_NET_SLOW, 300)) {
		r->net_knobs.fragment_permille = between(r, 1, 500);
		r->net_knobs.stall_permille = between(r, 0, 20);
		r->net_knobs.stall_ns = 5 * NS_PER_S;
		r->net_knobs.write_full_permille = between(r, 0, 200);
		r->net_knobs.latency_max_ns = 500 * NS_PER_MS;
	}
	if (draw(r, FAULT_KAFKA_LOST, 400)) {
		r->sink_knobs.lost_permille = between(r, 1, 100);
		r->sink_knobs.unheard_permille = between(r, 1, 100);
		r->sink_knobs.full_permille = between(r, 0, 200);
		r->sink_knobs.silent_permille = between(r, 0, 300);
	}
	if (draw(r, FAULT_KAFKA_LIES, 200)) {
		r->sink_knobs.lying_permille = between(r, 1, 50);
		r->sink_knobs.refuse_permille = between(r, 1, 50);
	}
	if (draw(r, FAULT_KAFKA_POISON, 200))
		r->sink_knobs.poison_permille = between(r, 1, 60);
	if (draw(r, FAULT_KAFKA_FATAL, 200))
		r->sink_knobs.fatal_permille = between(r, 1, 20);
	r->sink_knobs.zombie_permille = 500;
	if (draw(r, FAULT_KAFKA_DOWN, 200))
		r->down_permyriad = between(r, 1, 30);
	if (draw(r, FAULT_CLOCK_JUMP, 200))
		r->jump_permyriad = between(r, 1, 50);
	if (draw(r, FAULT_PAUSE, 200))
		r->pause_permyriad = between(r, 1, 50);
	if (draw(r, FAULT_OPERATOR, 300))
		r->operator_permyriad = between(r, 5, 100);
}

static void
draw_producers(struct run *r)
{
	struct producers_knobs k = {
		.producers = between(r, 1, 6),
		.groups = between(r, 1, 2),
		.topics = between(r, 1, 3),
		.keys = between(r, 1, 8),
		.jobs = between(r, 1, 8),
		.messages = r->options->messages,
		.body_max = between(r, 16, 2000),
		.plain_permille = between(r, 0, 100),
		.silent_permille = 50,
		.rollback_permille = between(r, 100, 400),
		.slow_permille = between(r, 0, 300),
		.slow_ns = between(r, 1, 15) * NS_PER_S,
		.fenced_permille = between(r, 0, 1000),
		.timeout_ns = 3 * NS_PER_S,
	};

	if (draw(r, FAULT_PRODUCER_QUIT, 300))
		k.quit_permille = between(r, 1, 10);
	if (draw(r, FAULT_PRODUCER_ODD, 700)) {
		k.silent_permille = between(r, 50, 500);
		k.unknown_permille = between(r, 0, 400);
		k.mute_permille = between(r, 0, 300);
		k.late_permille = between(r, 0, 600);
		k.repeat_permille = between(r, 0, 300);
	}
	for (uint32_t i = 0; i < k.topics; i++) {
		char name[16];

		snprintf(name, sizeof(name), "topic%" PRIu32, i);
		sink_sim_topic(r->sink, name, (int32_t)between(r, 1, 4), 0);
	}
	r->producers = producers_new(&k, r->net, r->oracle, ADDRESS, rng_sim_next(&r->rng));
}

/* ---- the broker's life ----------------------------------------------------------------------- */

static void
on_note(void *arg, const struct note *n)
{
	struct run *r = arg;

	if (n->kind == NOTE_TRANSITION)
		oracle_transition(r->oracle, n);
	if (n->kind == NOTE_RECORD_GONE)
		oracle_fail(r->oracle,
			    "I-9 %" PRId64 " messages that are owed left with their segment",
			    n->value);
}

static int
shown(void *arg, struct gid gid)
{
	struct run *r = arg;
	struct row_view row;

	if (!r->loop)
		return -1;
	if (core_get(loop_core(r->loop), gid, &row) != 0)
		return 0;
	/* Retried after a refusal: it comes behind those that went on without it. */
	return row.refused_code ? TXN_UNDELIVERABLE : (int)row.state;
}

static void
on_append(void *arg, int64_t offset, const struct sink_record *rec)
{
	struct run *r = arg;

	oracle_kafka(r->oracle, offset, rec);
}

/* The broker is gone, and with it all that was only in memory. */
static void
bury(struct run *r, bool power)
{
	r->result->crashes++;
	oracle_crashed(r->oracle);
	if (r->options->trace)
		log_write(LOG_TRACE, power ? "---- power cut" : "---- killed", "crash=%" PRIu64,
			  r->result->crashes);
	if (r->loop)
		r->result->reclaimed += journal_stats(loop_journal(r->loop))->reclaimed;
	if (power)
		disk_sim_crash(r->disk);
	else
		disk_sim_kill(r->disk);
	r->loop = loop_free(r->loop);
	r->reclaimed_seen = 0;
	net_sim_crash(r->net);
	sink_sim_crash(r->sink);
	disk_sim_knobs(r->disk)->stop = 0;
	disk_sim_knobs(r->disk)->fail_sync = 0;
	disk_sim_knobs(r->disk)->fail_write = 0;
	r->excused = false;
}

static void
pass(struct run *r, int64_t ns)
{
	r->clock.now_ns += ns;
	net_sim_advance(r->net, r->clock.now_ns);
	sink_sim_advance(r->sink, r->clock.now_ns);
}

/* The daemon said that the disk is full, and somebody made room. */
static bool
free_the_disk(struct run *r)
{
	struct disk_sim_knobs *d = disk_sim_knobs(r->disk);
	bool was_small = d->capacity != 0;

	d->capacity = 0;
	return was_small;
}

/* Starts it, perhaps with a power cut somewhere in the middle of recovery. */
static void
raise_up(struct run *r, bool faults)
{
	struct world world = { &r->clock.clock, disk_sim_disk(r->disk), net_sim_net(r->net),
			       sink_sim_sink(r->sink), &r->words.rng };
	struct loop_hooks hooks = { .arg = r, .note = on_note };
	struct journal_fault fault;
	int err;

	/* One refusal would end the start; a small disk has the room that was set aside. */
	disk_sim_knobs(r->disk)->fail_reserve = 0;
	for (int tries = 0;; tries++) {
		bool trap = faults && tries < 3 && rng_sim_chance(&r->rng, r->recovery_permille);

		if (trap)
			disk_sim_knobs(r->disk)->stop = between(r, 1, 12);
		err = loop_new(&world, &r->conf, &hooks, &r->loop, &fault);
		if (err)
			r->loop = NULL;
		if (!err) {
			disk_sim_knobs(r->disk)->stop = 0;
			if (!disk_sim_stopped(r->disk))
				return;
		}
		if (err == ERR_NOSPACE && free_the_disk(r)) {
			bury(r, false);
			world.net = net_sim_net(r->net);
			continue;
		}
		if (!trap) {
			oracle_fail(r->oracle,
				    "the broker does not start again: %s, %s, segment %" PRIu64
				    ", lsn %" PRIu64,
				    err_name(err), fault.text, fault.segment, fault.lsn);
			return;
		}
		r->result->effective[FAULT_CRASH_IN_RECOVERY]++;
		bury(r, rng_sim_chance(&r->rng, 700));
		world.net = net_sim_net(r->net);
		pass(r, 100 * NS_PER_MS);
	}
}

static void
restart(struct run *r, bool power, bool faults)
{
	bury(r, power);
	pass(r, (int64_t)between(r, 1, 3000) * NS_PER_MS);
	raise_up(r, faults);
}

/* ---- faults while running -------------------------------------------------------------------- */

static void
operate(struct run *r)
{
	static const enum verb verbs[] = { VERB_CHECK, VERB_RESUME, VERB_RETRY };
	static struct list_page page; /* large, and one thread */
	struct list_query q = { .limit = 20 };
	struct operation op = { .verb = verbs[rng_sim_below(&r->rng, 3)],
				.who = STR("sim"),
				.reason = STR("a seed said so") };

	op.to.peer = PEER_HTTP | 1;
	q.states = op.verb == VERB_RETRY ? 1u << TXN_UNDELIVERABLE
					 : 1u << TXN_PREPARED | 1u << TXN_PARKED;
	core_list(loop_core(r->loop), &q, &page);
	if (!page.count)
		return;
	op.gid = page.rows[rng_sim_below(&r->rng, page.count)].gid;
	core_operate(loop_core(r->loop), &op);
	r->result->effective[FAULT_OPERATOR]++;
}

/* The moment at which whatever was forgotten too early is gone for good. */
static bool
just_reclaimed(struct run *r)
{
	uint64_t reclaimed = journal_stats(loop_journal(r->loop))->reclaimed;
	bool fresh = reclaimed > r->reclaimed_seen;

	r->reclaimed_seen = reclaimed;
	return fresh && r->cut_permyriad && rng_sim_chance(&r->rng, 100);
}

static void
misfortune(struct run *r)
{
	struct disk_sim_knobs *d = disk_sim_knobs(r->disk);

	if (chance10k(r, r->eio_permyriad) && !r->excused) {
		bool sync = r->result->drawn[FAULT_SYNC_EIO] &&
			    (!r->result->drawn[FAULT_WRITE_EIO] || rng_sim_chance(&r->rng, 500));

		*(sync ? &d->fail_sync : &d->fail_write) = 1;
		d->lie = rng_sim_chance(&r->rng, 500) ? DISK_SIM_LOST : DISK_SIM_WRITTEN;
		r->result->effective[sync ? FAULT_SYNC_EIO : FAULT_WRITE_EIO]++;
		r->excused = true;
	}
	if (chance10k(r, r->full_permyriad)) {
		*(rng_sim_chance(&r->rng, 500) ? &d->fail_allocate : &d->fail_reserve) = 1;
		r->result->effective[FAULT_ALLOCATE_FULL]++;
	}
	if (chance10k(r, r->jump_permyriad)) {
		r->clock.wall_offset_ms += (int64_t)rng_sim_below(&r->rng, 7200000) - 3600000;
		r->result->effective[FAULT_CLOCK_JUMP]++;
	}
	if (chance10k(r, r->pause_permyriad)) {
		pass(r, (int64_t)between(r, 1, 60) * NS_PER_S);
		r->result->effective[FAULT_PAUSE]++;
	}
	if (chance10k(r, r->down_permyriad) && !r->up_ns) {
		sink_sim_down(r->sink, true);
		r->up_ns = r->clock.now_ns + (int64_t)between(r, 1, 60) * NS_PER_S;
		r->result->effective[FAULT_KAFKA_DOWN]++;
	}
	if (chance10k(r, r->operator_permyriad))
		operate(r);
	if (chance10k(r, r->cut_permyriad) || just_reclaimed(r)) {
		r->result->effective[FAULT_POWER_CUT]++;
		restart(r, true, true);
	} else if (chance10k(r, r->kill_permyriad)) {
		r->result->effective[FAULT_KILL]++;
		restart(r, false, true);
	}
}

/* ---- time ------------------------------------------------------------------------------------ */

static int64_t
next_ns(struct run *r)
{
	int64_t next = net_sim_next_ns(r->net);

	next = min_i64(next, sink_sim_next_ns(r->sink));
	next = min_i64(next, producers_next_ns(r->producers));
	next = min_i64(next, core_next_due_ns(loop_core(r->loop)));
	next = min_i64(next, journal_deadline_ns(loop_journal(r->loop)));
	next = min_i64(next, remoting_deadline_ns(loop_remoting(r->loop)));
	next = min_i64(next, relay_deadline_ns(loop_relay(r->loop)));
	if (r->up_ns)
		next = min_i64(next, r->up_ns);
	if (disk_sim_pending(r->disk))
		next = min_i64(next, r->clock.now_ns + 100000);
	/* time never stands still, and a turn takes a while */
	next = max_i64(next, r->clock.now_ns + 20000);
	return min_i64(next, r->clock.now_ns + 60 * NS_PER_S);
}

/* One step of the world; false when it is over, one way or the other. */
static bool
step(struct run *r)
{
	int err;

	r->result->steps++;
	pass(r, next_ns(r) - r->clock.now_ns);
	oracle_step(r->oracle, r->clock.now_ns);
	if (r->up_ns && r->clock.now_ns >= r->up_ns) {
		r->up_ns = 0;
		sink_sim_down(r->sink, false);
	}
	producers_step(r->producers, r->clock.now_ns);
	net_sim_advance(r->net, r->clock.now_ns);
	err = loop_turn(r->loop, 0);
	if (err && err != ERR_NOSPACE && r->excused)
		restart(r, rng_sim_chance(&r->rng, 500), true);
	else if (err)
		oracle_fail(r->oracle, "a turn failed without cause: %s", err_name(err));
	return !oracle_violation(r->oracle) && r->loop;
}

static void
settle(struct run *r)
{
	struct disk_sim_knobs *d = disk_sim_knobs(r->disk);

	d->fail_sync = d->fail_write = d->fail_allocate = d->fail_reserve = d->stop = 0;
	d->delay_max = 0;
	d->capacity = 0;
	/* A sync that failed may not have been heard of yet. */
	r->excused &= disk_sim_pending(r->disk) > 0;
	r->net_knobs =
		(struct net_sim_knobs){ .latency_min_ns = 50000, .latency_max_ns = NS_PER_MS };
	net_sim_set(r->net, &r->net_knobs);
	r->sink_knobs = (struct sink_sim_knobs){ .latency_min_ns = 200000,
						 .latency_max_ns = NS_PER_MS,
						 .poison_permille = r->sink_knobs.poison_permille };
	sink_sim_set(r->sink, &r->sink_knobs);
	sink_sim_down(r->sink, false);
	r->up_ns = 0;
	producers_settle(r->producers);
}

static bool
at_rest(struct run *r)
{
	const struct core_stats *s = core_stats(loop_core(r->loop));

	return producers_done(r->producers) && oracle_owed(r->oracle) == 0 &&
	       core_owed(loop_core(r->loop)) == 0 &&
	       s->rows[TXN_PREPARED] + s->rows[TXN_PARKED] == 0;
}

static void
heal(struct run *r)
{
	int64_t until_ns = r->clock.now_ns + HEAL_NS;

	for (uint64_t i = 0; i < HEAL_STEPS_MAX && r->clock.now_ns < until_ns; i++) {
		if (at_rest(r) || !step(r))
			return;
	}
	oracle_final(r->oracle);
	oracle_fail(r->oracle,
		    "not at rest after healing: %" PRIu64 " owed to clients, %" PRIu64
		    " owed to Kafka, %" PRIu64 " prepared, %" PRIu64 " parked",
		    oracle_owed(r->oracle), core_owed(loop_core(r->loop)),
		    core_stats(loop_core(r->loop))->rows[TXN_PREPARED],
		    core_stats(loop_core(r->loop))->rows[TXN_PARKED]);
}

/* ---- one seed -------------------------------------------------------------------------------- */

static int64_t
trace_clock(void *arg)
{
	struct run *r = arg;

	return r->clock.now_ns / NS_PER_MS;
}

static void
trace_line(void *arg, const char *line, size_t len)
{
	struct run *r = arg;

	if (r->options->trace)
		fwrite(line, 1, len, stdout);
	r->result->trace_hash = hash_body(line, len, r->result->trace_hash).lo;
}

static void
build(struct run *r)
{
	rng_sim_init(&r->rng, r->options->seed);
	rng_sim_init(&r->words, rng_sim_next(&r->rng));
	clock_sim_init(&r->clock, START_NS, START_WALL_MS);
	r->net = net_sim_new(rng_sim_next(&r->rng));
	r->disk = disk_sim_new(rng_sim_next(&r->rng));
	r->sink = sink_sim_new(rng_sim_next(&r->rng));
	r->oracle = oracle_new();
	draw_conf(r);
	draw_faults(r);
	draw_producers(r);
	net_sim_set(r->net, &r->net_knobs);
	sink_sim_set(r->sink, &r->sink_knobs);
	sink_sim_watch(r->sink, on_append, r);
	oracle_set_shown(r->oracle, shown, r);
	oracle_set_window(r->oracle, (int64_t)r->conf.core.idempotency_window_ms * NS_PER_MS);
	pass(r, 0);
	log_redirect(trace_clock, trace_line, r);
	log_setup(r->options->trace || r->options->hash ? LOG_TRACE : LOG_ERROR, LOG_LOGFMT);
}

static void
count(struct run *r)
{
	const struct net_sim_counts *n = net_sim_counts(r->net);
	const struct sink_sim_counts *k = sink_sim_counts(r->sink);
	const struct disk_sim_counts *d = disk_sim_counts(r->disk);
	const struct oracle_counts *o = oracle_counts(r->oracle);
	const struct producers_counts *p = producers_counts(r->producers);
	uint64_t *e = r->result->effective;

	e[FAULT_DISK_LATE] = r->result->drawn[FAULT_DISK_LATE] ? d->syncs : 0;
	e[FAULT_NET_CUT] = n->resets + n->vanishes;
	e[FAULT_NET_SLOW] = n->stalls + n->short_writes + n->fragments;
	e[FAULT_KAFKA_LOST] = k->lost + k->unheard;
	e[FAULT_KAFKA_LIES] = k->lying + (k->refused - k->poisoned);
	e[FAULT_KAFKA_POISON] = k->poisoned;
	e[FAULT_KAFKA_FATAL] = k->fatal;
	e[FAULT_PRODUCER_QUIT] = r->result->drawn[FAULT_PRODUCER_QUIT] ? p->connects : 0;
	e[FAULT_PRODUCER_ODD] = r->result->drawn[FAULT_PRODUCER_ODD] ? p->checks : 0;
	r->result->events = n->sends + d->steps + k->published + p->checks;
	r->result->virtual_ns = r->clock.now_ns - START_NS;
	r->result->halves = o->halves_ok;
	r->result->commits = o->commits_ok;
	r->result->rollbacks = o->rollbacks_ok;
	r->result->records = o->records;
	r->result->duplicates = o->duplicates;
	r->result->checks = p->checks;
	if (r->loop)
		r->result->reclaimed += journal_stats(loop_journal(r->loop))->reclaimed;
}

void
run_seed(const struct run_options *options, struct run_result *ret_result)
{
	struct run r = { .options = options, .result = ret_result };

	memset(ret_result, 0, sizeof(*ret_result));
	build(&r);
	raise_up(&r, false);
	for (uint64_t i = 0; r.loop && i < STEPS_MAX; i++) {
		misfortune(&r);
		if (!r.loop || !step(&r))
			break;
		if (oracle_messages(r.oracle) >= options->messages && producers_done(r.producers))
			break;
	}
	if (r.loop && !oracle_violation(r.oracle)) {
		settle(&r);
		heal(&r);
	}
	if (r.loop && !oracle_violation(r.oracle)) {
		restart(&r, true, false); /* the audit: nothing may come back, nothing be missing */
		if (r.loop)
			heal(&r);
		oracle_final(r.oracle);
	}
	count(&r);
	if (oracle_violation(r.oracle))
		snprintf(ret_result->violation, sizeof(ret_result->violation), "%s",
			 oracle_violation(r.oracle));
	r.loop = loop_free(r.loop);
	producers_free(r.producers);
	oracle_free(r.oracle);
	sink_sim_free(r.sink);
	disk_sim_disk(r.disk)->ops->free(disk_sim_disk(r.disk));
	net_sim_free(r.net);
	log_redirect(NULL, NULL, NULL);
}
