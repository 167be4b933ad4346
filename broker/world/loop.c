/*
 * loop.c -- the core joined to its edges, and the one turn that drives them all.
 *
 * Write-before-answer is a property of loop_turn(), not of any handler: requests are
 * decided, the turn's records are written and synced, and only what the journal calls
 * durable reaches core_durable(), which is where answers and checks leave, and what is
 * published behind them.
 */
#include "world/loop.h"

#include "base/canary.h"
#include "base/err.h"
#include "base/log.h"

struct loop {
	struct world world;
	struct loop_hooks hooks;
	uint64_t trace_every;
	struct core *core;
	struct journal *journal;
	struct remoting *remoting;
	struct relay *relay;
	uint64_t durable_lsn; /* as the journal told; the core hears of it after the poll */
	uint64_t told_lsn;
	bool serving;
	bool draining;
};

/* ---- ports: effects of the core ------------------------------------------------------- */

static int
port_append(void *arg, const struct entry *e, struct place *ret_place)
{
	struct loop *l = arg;

	return journal_append(l->journal, e, ret_place);
}

static int
port_fetch(void *arg, struct place place, uint64_t token, const struct half **ret_half)
{
	struct loop *l = arg;

	return journal_fetch(l->journal, place, token, ret_half);
}

static void
port_answer(void *arg, struct reply_to to, const struct answer *answer)
{
	struct loop *l = arg;

	if (!(to.peer & PEER_HTTP))
		remoting_answer(l->remoting, to, answer);
	else if (l->hooks.answer)
		l->hooks.answer(l->hooks.arg, to, answer);
}

static int
port_check(void *arg, const struct check *check)
{
	struct loop *l = arg;

	return remoting_check(l->remoting, check);
}

static int
port_publish(void *arg, const struct publication *publication)
{
	struct loop *l = arg;

	return relay_publish(l->relay, publication);
}

static void
port_describe(void *arg, struct str topic)
{
	struct loop *l = arg;

	relay_describe(l->relay, topic);
}

/* Of the ordinary life of a transaction: several for each, so told only to who traces. */
static bool
is_routine(enum note_kind kind)
{
	switch (kind) {
	case NOTE_TRANSITION:
	case NOTE_CHECK_SENT:
	case NOTE_CHECK_ANSWERED:
	case NOTE_PUBLISHED:
		return true;
	case NOTE_CONTRADICTION:
	case NOTE_UNPUBLISHABLE:
	case NOTE_LANE_FROZEN:
	case NOTE_LANE_RESUMED:
	case NOTE_GROUP_SILENT:
	case NOTE_FOREIGN_CLUSTER:
	case NOTE_TOPIC_ANEW:
	case NOTE_RECORD_GONE:
	case NOTE_KEYS_FULL:
	case NOTE_GROUP_FULL:
		return false;
	}
	return false;
}

/* What operators must hear of is logged here, once, with its ids; the rest is for traces. */
static void
log_note(const struct loop *l, const struct note *n)
{
	char gid[GID_TEXT];

	if (is_routine(n->kind) && (!log_enabled(LOG_TRACE) || n->gid.lo % l->trace_every))
		return;
	gid_format(n->gid, gid);
	switch (n->kind) {
	case NOTE_TRANSITION:
		log_write(LOG_TRACE, "transition", "gid=%s seq=%llu from=%s to=%s event=%s", gid,
			  (unsigned long long)n->gid.lo, n->from ? txn_state_name(n->from) : "none",
			  txn_state_name(n->to), txn_event_name(n->event));
		break;
	case NOTE_CHECK_SENT:
		log_write(LOG_TRACE, "check sent", "gid=%s peer=%llu number=%lld", gid,
			  (unsigned long long)n->peer, (long long)n->value);
		break;
	case NOTE_CHECK_ANSWERED:
		log_write(LOG_TRACE, "check answered", "gid=%s peer=%llu answer=%lld", gid,
			  (unsigned long long)n->peer, (long long)n->value);
		break;
	case NOTE_PUBLISHED:
		log_write(LOG_TRACE, "published", "gid=%s topic=%s partition=%d offset=%lld", gid,
			  log_q(n->text), (int)n->partition, (long long)n->value);
		break;
	case NOTE_CONTRADICTION:
		log_warn("a decision contradicts the one that stands, refusing", "gid=%s by=%s",
			 gid, log_q(n->text));
		break;
	case NOTE_UNPUBLISHABLE:
		log_error("undeliverable: kafka refuses this message for good", "gid=%s code=%lld",
			  gid, (long long)n->value);
		break;
	case NOTE_LANE_FROZEN:
		log_warn("lane frozen, retrying", "topic=%s partition=%d code=%lld", log_q(n->text),
			 (int)n->partition, (long long)n->value);
		break;
	case NOTE_LANE_RESUMED:
		log_info("lane resumed", "topic=%s partition=%d", log_q(n->text),
			 (int)n->partition);
		break;
	case NOTE_GROUP_SILENT:
		log_warn("transactions wait for a check and no producer of the group is connected",
			 "group=%s", log_q(n->text));
		break;
	case NOTE_FOREIGN_CLUSTER:
		log_error("another kafka cluster: all lanes are frozen", "cluster=%s",
			  log_q(n->text));
		break;
	case NOTE_RECORD_GONE:
		log_error("the journal lacks committed messages that it owes: report this as a "
			  "defect",
			  "topic=%s partition=%d messages=%lld", log_q(n->text), (int)n->partition,
			  (long long)n->value);
		break;
	case NOTE_TOPIC_ANEW:
		log_error(
			"the topic was made anew, or kafka lost its end: older records may be gone",
			"topic=%s partition=%d offset=%lld", log_q(n->text), (int)n->partition,
			(long long)n->value);
		break;
	case NOTE_KEYS_FULL:
		log_error("limits.keys.memory is reached: half-sends are refused", "limit=%s",
			  "limits.keys.memory");
		break;
	case NOTE_GROUP_FULL:
		log_error("limits.group.share is reached: half-sends of this group are refused",
			  "group=%s undecided=%lld", log_q(n->text), (long long)n->value);
		break;
	}
}

static void
port_note(void *arg, const struct note *note)
{
	struct loop *l = arg;

	log_note(l, note);
	if (l->hooks.note)
		l->hooks.note(l->hooks.arg, note);
}

static uint64_t
port_random(void *arg)
{
	struct loop *l = arg;

	return l->world.rng->ops->next(l->world.rng);
}

/* ---- what the journal tells ------------------------------------------------------------- */

static int
on_recover(void *arg, const struct entry *e, struct place place)
{
	struct loop *l = arg;

	return core_recover(l->core, e, place);
}

static void
on_state(void *arg, struct entry_state *ret_state)
{
	struct loop *l = arg;

	core_state(l->core, ret_state);
}

static void
on_reclaim(void *arg, const struct entry *e, struct place place)
{
	struct loop *l = arg;

	core_reclaim(l->core, e, place);
}

static bool
on_keep(void *arg, uint64_t seq, struct place place)
{
	struct loop *l = arg;

	return core_reclaim_stub(l->core, seq, place);
}

static void
on_moved(void *arg, uint64_t seq, struct place place)
{
	struct loop *l = arg;

	core_moved(l->core, seq, place);
}

/* The core acts on it, and may append: only after journal_poll() has returned. */
static void
on_durable(void *arg, uint64_t lsn)
{
	struct loop *l = arg;

	CHECK(lsn >= l->durable_lsn, lsn);
	l->durable_lsn = lsn;
}

static void
on_fetched(void *arg, uint64_t token, int err, const struct half *half)
{
	struct loop *l = arg;

	if (!(token & FETCH_HOOK))
		core_fetched(l->core, token, err, half);
	else if (l->hooks.fetched)
		l->hooks.fetched(l->hooks.arg, token & ~FETCH_HOOK, err, half);
}

static void
on_space(void *arg, bool ok)
{
	struct loop *l = arg;

	core_space(l->core, ok);
	if (!l->serving)
		return;
	if (ok)
		log_info("the journal has room again: half-sends are accepted", "quota=%llu",
			 (unsigned long long)journal_stats(l->journal)->quota_bytes);
	else
		log_error("the journal is full: half-sends are refused, decisions go on",
			  "for_lack_of=%s quota=%llu",
			  journal_stats(l->journal)->disk_full ? "disk" : "quota",
			  (unsigned long long)journal_stats(l->journal)->quota_bytes);
}

static void
on_progress(void *arg, uint64_t i, uint64_t n)
{
	struct loop *l = arg;

	if (l->hooks.progress)
		l->hooks.progress(l->hooks.arg, i, n);
}

/* Wakes the loop's sleep, from whatever thread ends a disk operation. */
static void
on_disk(void *arg)
{
	struct net *net = arg;

	net->ops->wake(net);
}

/* ---- life ------------------------------------------------------------------------------ */

static const struct ports loop_ports = {
	.append = port_append,
	.fetch = port_fetch,
	.answer = port_answer,
	.check = port_check,
	.publish = port_publish,
	.describe = port_describe,
	.note = port_note,
	.random = port_random,
};

static const struct journal_client loop_client = {
	.recover = on_recover,
	.state = on_state,
	.reclaim = on_reclaim,
	.keep = on_keep,
	.moved = on_moved,
	.durable = on_durable,
	.fetched = on_fetched,
	.space = on_space,
	.progress = on_progress,
};

static int
recover(struct loop *l, const struct loop_conf *conf, struct journal_fault *ret_fault)
{
	uint64_t transactions, messages;
	bool fresh = false;
	int err;

	err = journal_open(l->world.disk, &conf->journal, &loop_client, l, &l->journal, &fresh,
			   ret_fault);
	if (err)
		return err;
	if (fresh)
		core_format(l->core);
	core_start(l->core, l->world.clock->ops->mono_ns(l->world.clock),
		   l->world.clock->ops->wall_ms(l->world.clock));
	core_state_max(l->core, journal_state_max(l->journal));
	core_undecided_count(l->core, &transactions, &messages);
	journal_undecided(l->journal, transactions, messages);
	err = journal_start(l->journal, l->world.clock->ops->wall_ms(l->world.clock));
	if (err && !ret_fault->text[0])
		snprintf(ret_fault->text, sizeof(ret_fault->text), "starting the journal: %s",
			 err_text(err));
	return err;
}

/*
 * Which Kafka is it?  Another one than the journal's ends the start; one that is away does not, and
 * costs the start a moment.
 */
static int
meet_kafka(struct loop *l, int64_t patience_ns)
{
	struct clock *clock = l->world.clock;
	int64_t now_ns = clock->ops->mono_ns(clock), until_ns = now_ns + patience_ns;
	int err = 0;

	while (!err && now_ns < until_ns && !relay_stats(l->relay)->cluster_known) {
		l->world.net->ops->poll(l->world.net, until_ns - now_ns);
		now_ns = clock->ops->mono_ns(clock);
		core_clock(l->core, now_ns, clock->ops->wall_ms(clock));
		err = relay_poll(l->relay, now_ns);
	}
	relay_serve(l->relay);
	return err;
}

int
loop_new(const struct world *world, const struct loop_conf *conf, const struct loop_hooks *hooks,
	 struct loop **ret_loop, struct journal_fault *ret_fault)
{
	struct loop *l = mem_alloc(sizeof(*l));
	int err;

	l->world = *world;
	l->trace_every = max_u64(conf->trace_every, 1);
	if (hooks)
		l->hooks = *hooks;
	memset(ret_fault, 0, sizeof(*ret_fault));
	l->core = core_new(&conf->core, &loop_ports, l);
	err = recover(l, conf, ret_fault);
	if (err)
		goto fail;
	world->disk->ops->wake(world->disk, on_disk, world->net);
	l->relay = relay_new(l->core, world->sink, &conf->relay);
	if (world->sink->ops->fd(world->sink) >= 0) {
		err = world->net->ops->watch_fd(world->net, world->sink->ops->fd(world->sink));
		if (err)
			goto fail;
	}
	err = meet_kafka(l, conf->relay.contact_ns);
	if (err) {
		snprintf(ret_fault->text, sizeof(ret_fault->text),
			 "the journal belongs to another Kafka cluster than "
			 "kafka.bootstrap.servers leads to");
		goto fail;
	}
	err = remoting_new(l->core, world->net, &conf->remoting, &l->remoting);
	if (err) {
		snprintf(ret_fault->text, sizeof(ret_fault->text), "cannot listen on %s: %s",
			 conf->remoting.listen, net_listen_text(err));
		goto fail;
	}
	l->serving = true;
	*ret_loop = l;
	return 0;
fail:
	loop_free(l);
	return err;
}

struct loop *
loop_free(struct loop *l)
{
	if (!l)
		return NULL;
	l->serving = false;
	remoting_free(l->remoting);
	relay_free(l->relay);
	journal_free(l->journal);
	core_free(l->core);
	mem_free(l);
	return NULL;
}

/* ---- one turn ---------------------------------------------------------------------------- */

static int64_t
sleep_ns(struct loop *l, int64_t now_ns, int64_t max_sleep_ns)
{
	int64_t due = core_next_due_ns(l->core);

	due = min_i64(due, journal_deadline_ns(l->journal));
	due = min_i64(due, remoting_deadline_ns(l->remoting));
	due = min_i64(due, relay_deadline_ns(l->relay));
	if (due <= now_ns)
		return 0;
	return min_i64(due - now_ns, max_sleep_ns);
}

static int
journal_news(struct loop *l, int64_t now_ns)
{
	int err = journal_poll(l->journal, now_ns);

	if (err)
		return err;
	if (l->durable_lsn > l->told_lsn) {
		l->told_lsn = l->durable_lsn;
		core_durable(l->core, CANARY(ANSWER_ON_PREVIOUS_SYNC)
					      ? journal_stats(l->journal)->appended_lsn
					      : l->durable_lsn);
	}
	return 0;
}

int
loop_turn(struct loop *l, int64_t max_sleep_ns)
{
	struct net *net = l->world.net;
	struct clock *clock = l->world.clock;
	struct net_event ev;
	uint64_t wall_ms;
	int64_t now_ns;
	int err;

	net->ops->poll(net, sleep_ns(l, clock->ops->mono_ns(clock), max_sleep_ns));
	now_ns = clock->ops->mono_ns(clock); /* time is read once, on waking */
	wall_ms = clock->ops->wall_ms(clock);
	core_clock(l->core, now_ns, wall_ms);
	err = journal_news(l, now_ns); /* reads and syncs that ended become events */
	if (err)
		return err;
	while (net->ops->next(net, &ev))
		remoting_event(l->remoting, &ev, now_ns);
	err = relay_poll(l->relay, now_ns);
	if (err)
		return err;
	if (l->hooks.turn)
		l->hooks.turn(l->hooks.arg, l->core, now_ns);
	core_decide(l->core); /* events become steps; nothing is answered yet */
	remoting_consumed(l->remoting);
	err = journal_persist(l->journal, now_ns, wall_ms); /* one sync for the whole turn */
	if (err)
		return err;
	if (CANARY(ANSWER_BEFORE_DURABLE))
		core_durable(l->core, journal_stats(l->journal)->appended_lsn);
	err = journal_news(l, now_ns); /* a sync that ran inline has already ended */
	if (err)
		return err;
	remoting_flush(l->remoting, now_ns); /* one write a connection */
	core_publish(l->core);               /* behind the answers, which producers wait for */
	relay_flush(l->relay);
	return 0;
}

void
loop_drain(struct loop *l)
{
	if (l->draining)
		return;
	l->draining = true;
	core_drain(l->core);
	remoting_drain(l->remoting);
}

bool
loop_drained(const struct loop *l)
{
	return l->draining && remoting_idle(l->remoting) && core_owed(l->core) == 0 &&
	       journal_idle(l->journal);
}

struct core *
loop_core(struct loop *l)
{
	return l->core;
}

struct journal *
loop_journal(struct loop *l)
{
	return l->journal;
}

struct remoting *
loop_remoting(struct loop *l)
{
	return l->remoting;
}

struct relay *
loop_relay(struct loop *l)
{
	return l->relay;
}
