/*
 * faults.c -- which kinds of trouble a seed has, how often each strikes, and what it does.
 *
 * A class takes effect when it changed something that the broker or a client could see: a disk call
 * that failed, a connection that was cut.  Only that is counted.
 */
#include <inttypes.h>

#include "base/err.h"
#include "base/log.h"
#include "sim/life.h"
#include "sim/memory_sim.h"

#define YEAR_MS    INT64_C(31557600000)
#define ROLL_BYTES 1500 /* so near to its end a segment is about to be full */

/* How many of 1000 seeds have the class, and of 10,000 steps with it how many it strikes at. */
static const struct odds {
	enum fault fault;
	uint16_t permille;
	uint16_t least, most;
} odds[] = {
	{ FAULT_POWER_CUT, 500, 2, 40 },
	{ FAULT_KILL, 350, 2, 40 },
	{ FAULT_DIE, 250, 2, 30 },
	{ FAULT_CRASH_IN_RECOVERY, 300, 0, 0 },
	{ FAULT_NO_MEMORY, 250, 20, 200 },
	{ FAULT_PAUSE, 200, 5, 50 },
	{ FAULT_TWO, 100, 20, 100 },
	{ FAULT_DRAIN, 200, 5, 40 },
	{ FAULT_SYNC_EIO, 150, 5, 30 },
	{ FAULT_SYNC_LIES, 150, 5, 30 },
	{ FAULT_SYNC_HANGS, 200, 5, 40 },
	{ FAULT_WRITE_EIO, 150, 5, 30 },
	{ FAULT_READ_EIO, 250, 20, 200 },
	{ FAULT_ALLOCATE_FULL, 200, 5, 100 },
	{ FAULT_WRITE_FULL, 150, 5, 30 },
	{ FAULT_DISK_LATE, 250, 0, 0 },
	{ FAULT_DISK_SLOW, 150, 0, 0 },
	{ FAULT_READ_FLIP, 250, 20, 200 },
	{ FAULT_WRITE_LOST, 150, 5, 30 },
	{ FAULT_BIT_ROT, 250, 0, 0 },
	{ FAULT_NET_CUT, 250, 0, 0 },
	{ FAULT_NET_ONE_WAY, 200, 0, 0 },
	{ FAULT_NET_SLOW, 250, 0, 0 },
	{ FAULT_NET_TWICE, 200, 0, 0 },
	{ FAULT_SLOW_READER, 150, 0, 0 },
	{ FAULT_KAFKA_LOST, 300, 0, 0 },
	{ FAULT_KAFKA_UNHEARD, 300, 0, 0 },
	{ FAULT_KAFKA_LIES, 200, 0, 0 },
	{ FAULT_KAFKA_POISON, 200, 0, 0 },
	{ FAULT_KAFKA_FATAL, 200, 0, 0 },
	{ FAULT_KAFKA_FULL, 200, 0, 0 },
	{ FAULT_KAFKA_DOWN, 200, 5, 30 },
	{ FAULT_KAFKA_HIDES, 150, 5, 30 },
	{ FAULT_KAFKA_GROWS, 150, 5, 30 },
	{ FAULT_KAFKA_TWICE, 150, 0, 0 },
	{ FAULT_KAFKA_TRUNCATES, 150, 5, 40 },
	{ FAULT_KAFKA_FOREIGN, 120, 5, 30 },
	{ FAULT_PRODUCER_QUIT, 200, 0, 0 },
	{ FAULT_PRODUCER_CRASH, 200, 5, 50 },
	{ FAULT_PRODUCER_ODD, 600, 0, 0 },
	{ FAULT_PRODUCER_FLIP, 120, 0, 0 },
	{ FAULT_STRANGER, 150, 0, 0 },
	{ FAULT_CONSUMER_CRASH, 250, 0, 0 },
	{ FAULT_REBALANCE, 250, 0, 0 },
	{ FAULT_CLOCK_JUMP, 150, 5, 50 },
	{ FAULT_CLOCK_YEARS, 120, 5, 30 },
	{ FAULT_CLOCK_DOWN, 250, 0, 0 },
	{ FAULT_CLOCK_DRIFT, 120, 0, 0 },
	{ FAULT_CLOCK_FROZEN, 120, 5, 40 },
	{ FAULT_CLOCK_COARSE, 120, 0, 0 },
	{ FAULT_LIMITS, 120, 0, 0 },
	{ FAULT_OPERATOR, 300, 10, 120 },
	{ FAULT_RESTARTS, 150, 2, 20 },
	{ FAULT_KAFKA_UNLED, 250, 0, 0 },
};

static bool
drawn(const struct life *l, enum fault f)
{
	return l->result->drawn[f];
}

static uint32_t
roll(struct life *l, enum fault f, uint32_t low, uint32_t high)
{
	return life_between(&l->dice[f], low, high);
}

static void
draw_disk(struct life *l)
{
	struct disk_sim_knobs *d = disk_sim_knobs(l->disk);

	d->sync_ns = 100000;
	d->unit = rng_sim_chance(&l->rng, 500) ? 512 : 4096;
	/* a disk that is smaller than the quota: marks are dropped, half-sends refused */
	if (drawn(l, FAULT_ALLOCATE_FULL) && roll(l, FAULT_ALLOCATE_FULL, 0, 1))
		d->capacity = l->conf.journal.segment_bytes * roll(l, FAULT_ALLOCATE_FULL, 4, 8);
	if (drawn(l, FAULT_DISK_LATE))
		d->delay_max = roll(l, FAULT_DISK_LATE, 1, 20);
	if (drawn(l, FAULT_DISK_SLOW)) {
		d->latency_ns = roll(l, FAULT_DISK_SLOW, 1, 1000) * NS_PER_MS;
		d->stall_permille = roll(l, FAULT_DISK_SLOW, 1, 5);
		d->stall_ns = 30 * NS_PER_S;
	}
}

static void
draw_net(struct life *l)
{
	struct net_sim_knobs *k = &l->net_knobs;

	*k = (struct net_sim_knobs){ .latency_min_ns = 50000, .latency_max_ns = 2 * NS_PER_MS };
	if (drawn(l, FAULT_NET_CUT)) {
		k->reset_permille = roll(l, FAULT_NET_CUT, 1, 30);
		k->vanish_permille = roll(l, FAULT_NET_CUT, 0, 5);
	}
	if (drawn(l, FAULT_NET_ONE_WAY)) {
		k->deaf_permille = roll(l, FAULT_NET_ONE_WAY, 1, 6);
		k->mute_permille = roll(l, FAULT_NET_ONE_WAY, 1, 6);
	}
	if (drawn(l, FAULT_NET_SLOW)) {
		k->fragment_permille = roll(l, FAULT_NET_SLOW, 1, 500);
		k->stall_permille = roll(l, FAULT_NET_SLOW, 0, 20);
		k->stall_ns = 5 * NS_PER_S;
		k->write_full_permille = roll(l, FAULT_NET_SLOW, 0, 200);
		k->latency_max_ns = 500 * NS_PER_MS;
	}
	if (drawn(l, FAULT_SLOW_READER))
		k->slow_permille = roll(l, FAULT_SLOW_READER, 200, 600);
}

static void
draw_kafka(struct life *l)
{
	struct sink_sim_knobs *k = &l->sink_knobs;

	*k = (struct sink_sim_knobs){ .latency_min_ns = 200000,
				      .latency_max_ns = life_between(&l->rng, 1, 50) * NS_PER_MS,
				      .zombie_permille = 500 };
	if (drawn(l, FAULT_KAFKA_LOST)) {
		k->lost_permille = roll(l, FAULT_KAFKA_LOST, 5, 100);
		k->silent_permille = roll(l, FAULT_KAFKA_LOST, 0, 300);
	}
	if (drawn(l, FAULT_KAFKA_UNHEARD))
		k->unheard_permille = roll(l, FAULT_KAFKA_UNHEARD, 5, 100);
	if (drawn(l, FAULT_KAFKA_LIES)) {
		k->lying_permille = roll(l, FAULT_KAFKA_LIES, 1, 50);
		k->refuse_permille = roll(l, FAULT_KAFKA_LIES, 1, 50);
	}
	if (drawn(l, FAULT_KAFKA_POISON)) {
		k->poison_permille = roll(l, FAULT_KAFKA_POISON, 1, 60);
		/* somebody raises the limit in the end, or nobody does */
		if (roll(l, FAULT_KAFKA_POISON, 0, 1))
			l->cured_ns = l->now_ns + roll(l, FAULT_KAFKA_POISON, 5, 60) * NS_PER_S;
	}
	if (drawn(l, FAULT_KAFKA_FATAL))
		k->fatal_permille = roll(l, FAULT_KAFKA_FATAL, 1, 20);
	if (drawn(l, FAULT_KAFKA_FULL))
		k->full_permille = roll(l, FAULT_KAFKA_FULL, 10, 300);
	if (drawn(l, FAULT_KAFKA_TWICE))
		k->repeat_permille = roll(l, FAULT_KAFKA_TWICE, 5, 100);
	if (drawn(l, FAULT_KAFKA_UNLED))
		k->unled_permille = roll(l, FAULT_KAFKA_UNLED, 50, 600);
}

static void
draw_limits(struct life *l)
{
	struct core_conf *c = &l->conf.core;

	if (!drawn(l, FAULT_LIMITS))
		return;
	if (roll(l, FAULT_LIMITS, 0, 1))
		c->undecided_max = roll(l, FAULT_LIMITS, 1, 12);
	if (roll(l, FAULT_LIMITS, 0, 1))
		c->keys_bytes = roll(l, FAULT_LIMITS, 1, 40) * UINT64_C(256);
	if (roll(l, FAULT_LIMITS, 0, 1))
		c->deferred_bytes = roll(l, FAULT_LIMITS, 500, 5000);
	if (roll(l, FAULT_LIMITS, 0, 1))
		c->group_undecided = roll(l, FAULT_LIMITS, 1, 6);
	if (roll(l, FAULT_LIMITS, 0, 1))
		c->group_bytes = roll(l, FAULT_LIMITS, 200, 4000);
}

void
faults_draw(struct life *l)
{
	for (size_t i = 0; i < ARRAY_LEN(odds); i++) {
		enum fault f = odds[i].fault;

		rng_sim_init(&l->dice[f], hash_u64(l->options->seed) + f);
		if (!rng_sim_chance(&l->dice[f], odds[i].permille) ||
		    (l->options->without >> f & 1))
			continue;
		l->result->drawn[f] = true;
		if (odds[i].most)
			l->rate[f] = life_between(&l->dice[f], odds[i].least, odds[i].most);
	}
	for (int f = 0; f < FAULT_COUNT; f++)
		if (l->rate[f])
			l->striking[l->striking_count++] = (enum fault)f;
	draw_disk(l);
	draw_net(l);
	draw_kafka(l);
	draw_limits(l);
	consumers_set(l->consumers,
		      &(struct consumers_knobs){
			      .crash_permille = drawn(l, FAULT_CONSUMER_CRASH)
							? roll(l, FAULT_CONSUMER_CRASH, 5, 200)
							: 0,
			      .rebalance_permille = drawn(l, FAULT_REBALANCE)
							    ? roll(l, FAULT_REBALANCE, 5, 200)
							    : 0,
			      .ack_permille = life_between(&l->rng, 50, 600),
			      .forget_permille = life_between(&l->rng, 0, 30),
		      });
	if (drawn(l, FAULT_CLOCK_DRIFT))
		l->drift_permille = (int32_t)roll(l, FAULT_CLOCK_DRIFT, 0, 200) - 100;
	if (drawn(l, FAULT_CLOCK_COARSE))
		l->tick_ns = roll(l, FAULT_CLOCK_COARSE, 1, CLOCK_TICK_MAX_MS) * NS_PER_MS;
	l->result->effective[FAULT_CLOCK_DRIFT] = l->drift_permille != 0;
}

/* ---- one blow each -------------------------------------------------------------------------- */

/* The moment at which whatever was forgotten too early is gone for good. */
static bool
just_reclaimed(struct life *l)
{
	uint64_t reclaimed;
	bool fresh;

	if (!drawn(l, FAULT_POWER_CUT))
		return false;
	reclaimed = journal_stats(loop_journal(l->loop))->reclaimed;
	fresh = reclaimed > l->reclaimed_seen;
	l->reclaimed_seen = reclaimed;
	return fresh && rng_sim_chance(&l->dice[FAULT_POWER_CUT], 100);
}

/* The moment before a segment is begun: what a record relies on may be on either side. */
static bool
about_to_roll(struct life *l)
{
	uint64_t begun;

	if (!drawn(l, FAULT_DIE))
		return false;
	begun = journal_stats(loop_journal(l->loop))->appended_lsn % l->conf.journal.segment_bytes;
	return begun + ROLL_BYTES > l->conf.journal.segment_bytes &&
	       rng_sim_chance(&l->dice[FAULT_DIE], 300);
}

static void
break_disk(struct life *l, enum fault f)
{
	struct disk_sim_knobs *d = disk_sim_knobs(l->disk);

	if (l->excused) /* one reason to die at a time */
		return;
	l->excused = true;
	l->struck = f;
	d->error = f == FAULT_WRITE_FULL ? ERR_NOSPACE : 0;
	d->lie = f == FAULT_SYNC_LIES ? DISK_SIM_WRITTEN : DISK_SIM_LOST;
	d->forget = true; /* nobody may lean on being told twice */
	if (f == FAULT_SYNC_EIO || f == FAULT_SYNC_LIES)
		d->fail_sync = 1;
	if (f == FAULT_WRITE_EIO)
		d->fail_write = 1;
	if (f == FAULT_WRITE_FULL)
		*(roll(l, f, 0, 1) ? &d->fail_write : &d->fail_sync) = 1;
	if (f == FAULT_READ_EIO)
		d->fail_read = 1;
	if (f == FAULT_READ_FLIP)
		d->flip_read = 1;
	if (f == FAULT_DIE)
		d->stop = roll(l, f, 1, 30);
	if (f == FAULT_SYNC_HANGS) {
		d->hang_sync = 1;
		l->watchdog_ns = l->now_ns + roll(l, f, 10, 60) * NS_PER_S;
	}
}

static void
lose_write(struct life *l)
{
	struct disk_sim_knobs *d = disk_sim_knobs(l->disk);

	if (l->mislaid_lsn || d->lose_write || d->stray_write)
		return;
	operators_blind(l->operators);
	l->mislaying = true;
	*(roll(l, FAULT_WRITE_LOST, 0, 1) ? &d->lose_write : &d->stray_write) = 1;
}

static void
jump(struct life *l, enum fault f)
{
	int64_t ms = f == FAULT_CLOCK_JUMP ? (int64_t)rng_sim_below(&l->dice[f], 7200000) - 3600000
					   : ((int64_t)roll(l, f, 0, 20) - 10) * YEAR_MS;

	l->clock.wall_offset_ms += ms;
	l->result->effective[f] += ms != 0;
}

static void
hide_topic(struct life *l)
{
	char name[16];

	if (l->shown_ns)
		return;
	l->hidden = roll(l, FAULT_KAFKA_HIDES, 0, l->topics - 1);
	snprintf(name, sizeof(name), "topic%" PRIu32, l->hidden);
	sink_sim_hide(l->sink, name, true);
	l->shown_ns = l->now_ns + 30 * NS_PER_S;
	l->result->effective[FAULT_KAFKA_HIDES]++;
}

static void
grow_topic(struct life *l)
{
	uint32_t topic = roll(l, FAULT_KAFKA_GROWS, 0, l->topics - 1);
	int32_t partitions;
	char name[16];

	snprintf(name, sizeof(name), "topic%" PRIu32, topic);
	partitions = sink_sim_partitions(l->sink, name);
	if (partitions >= 8 || l->shown_ns)
		return;
	oracle_grown(l->oracle, topic);
	sink_sim_topic(l->sink, name, partitions + (int32_t)roll(l, FAULT_KAFKA_GROWS, 1, 2), 0);
	l->result->effective[FAULT_KAFKA_GROWS]++;
}

static void
truncate_topic(struct life *l)
{
	uint32_t topic = roll(l, FAULT_KAFKA_TRUNCATES, 0, l->topics - 1);
	int32_t partition;
	int64_t end, records;
	char name[16];

	snprintf(name, sizeof(name), "topic%" PRIu32, topic);
	partition = (int32_t)rng_sim_below(&l->dice[FAULT_KAFKA_TRUNCATES],
					   (uint64_t)sink_sim_partitions(l->sink, name));
	end = sink_sim_end(l->sink, name, partition);
	if (end == 0)
		return;
	records = 1 + (int64_t)rng_sim_below(&l->dice[FAULT_KAFKA_TRUNCATES],
					     (uint64_t)min_i64(end, 5));
	sink_sim_truncate(l->sink, name, partition, records);
	consumers_truncate(l->consumers, str_of(name), partition, records);
	l->result->effective[FAULT_KAFKA_TRUNCATES]++;
}

/*
 * A supervisor's loop: whatever ends it, it is started again at once.  Mostly it does not come to a
 * single turn; sometimes to a few, and clients to a word with it.
 */
static void
start_again_and_again(struct life *l)
{
	uint32_t times = roll(l, FAULT_RESTARTS, 3, 20);
	bool power = drawn(l, FAULT_POWER_CUT);

	for (uint32_t i = 0; i < times && l->loop; i++) {
		uint32_t steps = roll(l, FAULT_RESTARTS, 0, 2) ? 0 : roll(l, FAULT_RESTARTS, 1, 30);

		life_restart(l, power && roll(l, FAULT_RESTARTS, 0, 3) == 0, true);
		while (steps-- && l->loop && life_step(l))
			;
		l->result->effective[FAULT_RESTARTS]++;
	}
}

static void
freeze(struct life *l)
{
	int64_t ns = (int64_t)roll(l, FAULT_CLOCK_FROZEN, 1, 60) * NS_PER_S;

	l->lag_ns += ns; /* asleep: the world and the wall clock go on */
	l->clock.wall_offset_ms += ns / NS_PER_MS;
	life_pass(l, ns);
	l->result->effective[FAULT_CLOCK_FROZEN]++;
}

static void
strike(struct life *l, enum fault f)
{
	if (log_enabled(LOG_TRACE))
		log_write(LOG_TRACE, "---- fault", "class=%s", fault_word(f));
	switch (f) {
	case FAULT_POWER_CUT:
	case FAULT_KILL:
		l->result->effective[f]++;
		life_restart(l, f == FAULT_POWER_CUT, true);
		return;
	case FAULT_DIE:
	case FAULT_SYNC_EIO:
	case FAULT_SYNC_LIES:
	case FAULT_SYNC_HANGS:
	case FAULT_WRITE_EIO:
	case FAULT_WRITE_FULL:
	case FAULT_READ_EIO:
	case FAULT_READ_FLIP:
		break_disk(l, f);
		return;
	case FAULT_NO_MEMORY:
		memory_sim_fail(roll(l, f, 1, 3), roll(l, f, 1, 20));
		return;
	case FAULT_PAUSE:
		life_pass(l, (int64_t)roll(l, f, 1, 60) * NS_PER_S);
		l->result->effective[f]++;
		return;
	case FAULT_TWO:
		life_second(l);
		return;
	case FAULT_DRAIN:
		if (l->draining)
			return;
		l->draining = true;
		l->drained_ns = l->now_ns + 30 * NS_PER_S;
		loop_drain(l->loop);
		return;
	case FAULT_ALLOCATE_FULL:
		*(roll(l, f, 0, 1) ? &disk_sim_knobs(l->disk)->fail_allocate
				   : &disk_sim_knobs(l->disk)->fail_reserve) = 1;
		l->allocating = true;
		return;
	case FAULT_WRITE_LOST:
		lose_write(l);
		return;
	case FAULT_KAFKA_DOWN:
		if (l->up_ns)
			return;
		sink_sim_down(l->sink, true);
		l->up_ns = l->now_ns + (int64_t)roll(l, f, 1, 60) * NS_PER_S;
		l->result->effective[f]++;
		return;
	case FAULT_KAFKA_HIDES:
		hide_topic(l);
		return;
	case FAULT_KAFKA_GROWS:
		grow_topic(l);
		return;
	case FAULT_KAFKA_TRUNCATES:
		truncate_topic(l);
		return;
	case FAULT_KAFKA_FOREIGN:
		if (l->native_ns || !sink_sim_counts(l->sink)->appended)
			return; /* the first that answers is the one it belongs to */
		sink_sim_cluster(l->sink, "another");
		l->native_ns = l->now_ns + (int64_t)roll(l, f, 1, 30) * NS_PER_S;
		return;
	case FAULT_PRODUCER_CRASH:
		l->result->effective[f] += producers_crash(l->producers);
		return;
	case FAULT_CLOCK_JUMP:
	case FAULT_CLOCK_YEARS:
		jump(l, f);
		return;
	case FAULT_CLOCK_FROZEN:
		freeze(l);
		return;
	case FAULT_OPERATOR:
		operators_act(l->operators, loop_core(l->loop));
		return;
	case FAULT_RESTARTS:
		start_again_and_again(l);
		return;
	case FAULT_CRASH_IN_RECOVERY: /* the others have no moment of their own */
	case FAULT_DISK_LATE:
	case FAULT_DISK_SLOW:
	case FAULT_BIT_ROT:
	case FAULT_NET_CUT:
	case FAULT_NET_ONE_WAY:
	case FAULT_NET_SLOW:
	case FAULT_NET_TWICE:
	case FAULT_SLOW_READER:
	case FAULT_KAFKA_LOST:
	case FAULT_KAFKA_UNHEARD:
	case FAULT_KAFKA_LIES:
	case FAULT_KAFKA_POISON:
	case FAULT_KAFKA_FATAL:
	case FAULT_KAFKA_FULL:
	case FAULT_KAFKA_TWICE:
	case FAULT_KAFKA_UNLED:
	case FAULT_PRODUCER_QUIT:
	case FAULT_PRODUCER_ODD:
	case FAULT_PRODUCER_FLIP:
	case FAULT_STRANGER:
	case FAULT_CONSUMER_CRASH:
	case FAULT_REBALANCE:
	case FAULT_CLOCK_DOWN:
	case FAULT_CLOCK_DRIFT:
	case FAULT_CLOCK_COARSE:
	case FAULT_LIMITS:
	case FAULT_COUNT:
		break;
	}
	abort();
}

void
faults_strike(struct life *l)
{
	for (uint32_t i = 0; i < l->striking_count && l->loop; i++) {
		enum fault f = l->striking[i];

		if (rng_sim_below(&l->dice[f], 10000) < l->rate[f])
			strike(l, f);
		if (oracle_violation(l->oracle))
			return; /* of two that share a directory neither lives on */
	}
	if (l->loop && just_reclaimed(l))
		strike(l, FAULT_POWER_CUT);
	if (l->loop && !l->excused && about_to_roll(l)) {
		strike(l, FAULT_DIE);
		disk_sim_knobs(l->disk)->stop = roll(l, FAULT_DIE, 1, 10);
	}
}

/* ---- what lasts ------------------------------------------------------------------------------ */

int64_t
faults_next_ns(const struct life *l)
{
	int64_t next = TIME_NEVER;

	next = l->up_ns ? min_i64(next, l->up_ns) : next;
	next = l->shown_ns ? min_i64(next, l->shown_ns) : next;
	next = l->native_ns ? min_i64(next, l->native_ns) : next;
	next = l->watchdog_ns ? min_i64(next, l->watchdog_ns) : next;
	return l->draining ? min_i64(next, l->drained_ns) : next;
}

static void
show_topic(struct life *l)
{
	char name[16];

	snprintf(name, sizeof(name), "topic%" PRIu32, l->hidden);
	sink_sim_hide(l->sink, name, false);
	l->shown_ns = 0;
}

static void
go_native(struct life *l)
{
	sink_sim_cluster(l->sink, "sim-cluster");
	l->native_ns = 0;
}

void
faults_pass(struct life *l)
{
	struct disk_sim_knobs *d = disk_sim_knobs(l->disk);

	if (l->up_ns && l->now_ns >= l->up_ns) {
		l->up_ns = 0;
		sink_sim_down(l->sink, false);
	}
	if (l->shown_ns && l->now_ns >= l->shown_ns)
		show_topic(l);
	if (l->cured_ns && l->now_ns >= l->cured_ns) {
		l->cured_ns = 0;
		l->sink_knobs.poison_permille = 0;
		sink_sim_set(l->sink, &l->sink_knobs);
	}
	if (l->native_ns && l->now_ns >= l->native_ns)
		go_native(l);
	if (l->watchdog_ns && l->now_ns >= l->watchdog_ns) {
		l->result->effective[FAULT_SYNC_HANGS] += d->hang_sync == 0;
		life_restart(l, rng_sim_chance(&l->dice[FAULT_SYNC_HANGS], 500), true);
	}
}

bool
faults_excuse(struct life *l, int err, bool *ret_power)
{
	uint64_t *e = l->result->effective;

	*ret_power = rng_sim_chance(&l->rng, 500);
	if (err == ERR_NOSPACE && l->struck != FAULT_WRITE_FULL)
		return false; /* what a turn needs was set aside */
	if (err == ERR_NOMEM && memory_sim_struck())
		return true;
	if (!l->excused)
		return false;
	e[l->struck]++;
	return true;
}

void
faults_settle(struct life *l)
{
	struct disk_sim_knobs *d = disk_sim_knobs(l->disk);

	d->fail_sync = d->fail_write = d->fail_allocate = d->fail_read = d->flip_read = 0;
	d->fail_reserve = 0;
	d->stop = d->hang_sync = d->lose_write = d->stray_write = 0;
	d->delay_max = d->stall_permille = 0;
	d->latency_ns = 0;
	d->capacity = 0;
	memory_sim_fail(0, 0);
	l->net_knobs =
		(struct net_sim_knobs){ .latency_min_ns = 50000, .latency_max_ns = NS_PER_MS };
	net_sim_set(l->net, &l->net_knobs);
	l->sink_knobs = (struct sink_sim_knobs){ .latency_min_ns = 200000,
						 .latency_max_ns = NS_PER_MS,
						 .poison_permille = l->sink_knobs.poison_permille };
	sink_sim_set(l->sink, &l->sink_knobs);
	sink_sim_down(l->sink, false);
	l->up_ns = 0;
	if (l->shown_ns)
		show_topic(l);
	if (l->native_ns)
		go_native(l);
	l->tick_ns = 0;
	l->drift_permille = 0;
	producers_settle(l->producers);
}
