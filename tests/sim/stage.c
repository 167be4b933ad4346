/*
 * stage.c -- see stage.h.
 */
#include "sim/stage.h"

#include "base/log.h"

#define START_WALL_MS INT64_C(1767225600000)
#define TURNS_MAX     1000 /* at one moment: more is a loop that never comes to rest */

void
stage_init(struct stage *s)
{
	struct core_conf *c = &s->conf.core;
	struct journal_conf *j = &s->conf.journal;

	memset(s, 0, sizeof(*s));
	clock_sim_init(&s->clock, STAGE_START_NS, START_WALL_MS);
	rng_sim_init(&s->words, 1);
	s->net = net_sim_new(1);
	s->disk = disk_sim_new(1);
	s->sink = sink_sim_new(1);
	net_sim_set(s->net, &(struct net_sim_knobs){ .steady = true });
	disk_sim_knobs(s->disk)->sync_ns = 0; /* so that no time is spent on gathering */
	disk_sim_knobs(s->disk)->cut = DISK_SIM_PREFIX;
	core_conf_default(c);
	c->policy.immunity_ns = 6 * NS_PER_S;
	c->policy.interval_ns = 30 * NS_PER_S;
	c->policy.checks_max = 3;
	c->message_bytes = 8192;
	c->lane_backoff_ns = 100 * NS_PER_MS;
	c->lane_backoff_max_ns = NS_PER_S;
	j->segment_bytes = 64 << 10;
	j->quota_bytes = 16 * j->segment_bytes;
	j->cache_bytes = 64 << 10;
	j->retention_ms = c->history_retention_ms;
	s->conf.remoting = (struct remoting_conf){
		.listen = STAGE_ADDRESS,
		.broker_name = "escrow-0",
		.cluster_name = "escrow",
		.connections_max = 100,
		.message_bytes = c->message_bytes,
		.receive_bytes = 64u << 20,
	};
	s->conf.relay.stall_ns = 30 * NS_PER_S;
	net_sim_advance(s->net, s->clock.now_ns);
	sink_sim_advance(s->sink, s->clock.now_ns);
}

void
stage_done(struct stage *s)
{
	s->loop = loop_free(s->loop);
	sink_sim_free(s->sink);
	disk_sim_disk(s->disk)->ops->free(disk_sim_disk(s->disk));
	net_sim_free(s->net);
}

int
stage_start(struct stage *s)
{
	struct world world = { &s->clock.clock, disk_sim_disk(s->disk), net_sim_net(s->net),
			       sink_sim_sink(s->sink), &s->words.rng };
	int err = loop_new(&world, &s->conf, &s->hooks, &s->loop, &s->fault);

	if (err)
		s->loop = NULL;
	return err;
}

void
stage_crash(struct stage *s, bool power)
{
	if (power)
		disk_sim_crash(s->disk);
	else
		disk_sim_kill(s->disk);
	s->loop = loop_free(s->loop);
	net_sim_crash(s->net);
	sink_sim_crash(s->sink);
}

int64_t
stage_due_ns(const struct stage *s)
{
	int64_t next = core_next_due_ns(loop_core(s->loop));

	next = min_i64(next, journal_deadline_ns(loop_journal(s->loop)));
	next = min_i64(next, remoting_deadline_ns(loop_remoting(s->loop)));
	next = min_i64(next, relay_deadline_ns(loop_relay(s->loop)));
	return next;
}

bool
stage_busy(const struct stage *s)
{
	int64_t now_ns = s->clock.now_ns;

	return net_sim_next_ns(s->net) <= now_ns || sink_sim_next_ns(s->sink) <= now_ns ||
	       stage_due_ns(s) <= now_ns || disk_sim_ready(s->disk);
}

int
stage_turn(struct stage *s)
{
	net_sim_advance(s->net, s->clock.now_ns);
	sink_sim_advance(s->sink, s->clock.now_ns);
	s->turns++;
	return loop_turn(s->loop, 0);
}

int
stage_settle(struct stage *s)
{
	int err = stage_turn(s);

	for (int i = 0; !err && stage_busy(s); i++) {
		CHECK(i < TURNS_MAX, s->turns);
		err = stage_turn(s);
	}
	return err;
}

int
stage_pass(struct stage *s, int64_t until_ns)
{
	int err = 0;

	while (!err && s->clock.now_ns < until_ns) {
		int64_t next = until_ns;

		if (s->loop)
			next = min_i64(next, stage_due_ns(s));
		next = min_i64(next, sink_sim_next_ns(s->sink));
		s->clock.now_ns = max_i64(next, s->clock.now_ns + 1);
		net_sim_advance(s->net, s->clock.now_ns);
		sink_sim_advance(s->sink, s->clock.now_ns);
		if (s->loop)
			err = stage_settle(s);
	}
	return err;
}
