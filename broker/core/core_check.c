/*
 * core_check.c -- what is due is asked about, by whoever can answer.
 *
 *      timers --due--> overdue list of the group --listener with room--> asked
 *         ^                                                                |
 *         +---------------- due again, later (txn_step TIMER) -------------+
 *
 * A check counts when the connection has taken its last byte, not before.  Between asking for
 * the body and having it anything may have happened, so it is all looked at again then.
 */
#include "core/core_internal.h"

#define DUE_PER_TURN 8192

static void
journal_checks(struct core *c, const struct row *row)
{
	struct entry e = {
		.type = ENTRY_CHECKS,
		.checks = { row->txn.seq, row->txn.checks, c->wall_ms,
			    row->txn.state == TXN_PARKED },
	};

	(void)core_append(c, &e); /* lazy: a full disk may drop it, and nobody waits */
}

/* The checks are used up; or there is somebody to be asked. */
static void
due(struct core *c, uint32_t index)
{
	struct row *row = core_row(c, index);
	struct group *group = &c->groups.groups[row->group];
	struct txn_step step;

	if (row->flags & ROW_PENDING)
		return; /* its timer comes back, if at all, with the pending step */
	step = txn_step(&row->txn, TXN_TIMER, c->now_ns, &c->conf.policy);
	CHECK(step.verdict == TXN_LAZY, row->txn.seq);
	if (step.action == TXN_NOTHING) {
		core_apply(c, index, &step, TXN_TIMER);
		core_time(c, index);
		journal_checks(c, row);
		return;
	}
	groups_overdue(&c->groups, index);
	if (group->listeners == 0 && !group->silent) {
		group->silent = true;
		core_note(c, &(struct note){ .kind = NOTE_GROUP_SILENT,
					     .lasted_ns = -1,
					     .text = groups_name(&c->groups, row->group) });
	}
}

void
core_due(struct core *c)
{
	for (int i = 0; i < DUE_PER_TURN; i++) {
		int64_t jump_ns =
			CANARY(WALL_CLOCK_DEADLINE) ? (int64_t)c->jumped_ms * NS_PER_MS : 0;
		uint32_t index = timers_pop(&c->timers, c->now_ns + jump_ns);

		if (index == ROW_NONE)
			break;
		due(c, index);
	}
	c->stats.ticks++;
	c->stats.timer_visits = c->timers.visits;
}

/* Says it to a connection that has room.  False: there is none. */
static bool
ask(struct core *c, uint32_t index, const struct half *half)
{
	struct row *row = core_row(c, index);
	uint32_t peer = groups_pick(&c->groups, row->group, row->peer);
	struct check check = {
		.half = half,
		.token = (uint64_t)row->check << 8 | row->txn.generation,
		.number = row->txn.checks + 1,
	};

	if (peer == PEER_NONE)
		return false;
	check.peer = c->groups.peers[peer].id;
	if (c->ports.check(c->arg, &check) == 0)
		groups_await(&c->groups, row->group, peer, row->txn.seq, row->txn.generation,
			     c->now_ns + c->conf.check_timeout_ns);
	return true; /* not taken: asked again when it is due again */
}

static void
tokens_fill(struct core *c)
{
	double rate = c->conf.check_rate;
	double most = rate / 10 > 1 ? rate / 10 : 1;

	c->check_tokens += (double)(c->now_ns - c->check_tokens_ns) * 1e-9 * rate;
	c->check_tokens_ns = c->now_ns;
	if (c->check_tokens > most)
		c->check_tokens = most;
}

static bool
may_ask(const struct core *c)
{
	return c->check_tokens >= 1 && c->asks_fetching < LIMIT_TURN_CHECKS;
}

#define ASKED_SEQ_BITS 44

/* What the body is fetched for: this half message, as half-sent last, and this check of it. */
static uint64_t
asked(const struct row *row)
{
	return (uint64_t)row->txn.generation << (ASKED_SEQ_BITS + 8) |
	       (uint64_t)(uint8_t)row->txn.checks << ASKED_SEQ_BITS |
	       (row->txn.seq & ((UINT64_C(1) << ASKED_SEQ_BITS) - 1));
}

/*
 * The first overdue row of the group that is ready.  The body may have to come from the disk.
 * Returns how long that is.
 */
static uint32_t
ask_first(struct core *c, uint32_t group)
{
	uint32_t index = c->groups.groups[group].overdue.head;
	struct row *row = core_row(c, index);
	struct txn_step step;
	const struct half *half = NULL;
	int err;

	groups_not_overdue(&c->groups, index);
	groups_rotate(&c->groups, group);
	if (row->flags & ROW_PENDING)
		return 0;
	step = txn_step(&row->txn, TXN_TIMER, c->now_ns, &c->conf.policy);
	if (step.action == TXN_NOTHING) { /* an operator asks beyond check.max: parked, but asked */
		core_apply(c, index, &step, TXN_TIMER);
		journal_checks(c, row);
		step = txn_step(&row->txn, TXN_TIMER, c->now_ns, &c->conf.policy);
	}
	CHECK(step.verdict == TXN_LAZY && step.action == TXN_ASK, row->txn.seq);
	if (CANARY(COUNT_UNDELIVERED_CHECKS))
		step.next.checks++;
	core_apply(c, index, &step, TXN_TIMER);
	core_time(c, index);
	c->check_tokens -= 1;
	err = c->ports.fetch(c->arg, row_place(row), FETCH_CHECK | asked(row), &half);
	if (err == ERR_AGAIN)
		c->asks_fetching++;
	else if (err == 0)
		(void)ask(c, index, half);
	return row->len;
}

void
core_ask(struct core *c)
{
	uint64_t bytes = 0;

	tokens_fill(c);
	for (int i = 0; i < LIMIT_TURN_CHECKS && bytes < LIMIT_TURN_BYTES && may_ask(c); i++) {
		uint32_t group = groups_ready(&c->groups);
		struct group *it;

		if (group == GROUP_NONE)
			break;
		it = &c->groups.groups[group];
		if (it->overdue.count == 0 ||
		    groups_pick(&c->groups, group, core_row(c, it->overdue.head)->peer) ==
			    PEER_NONE)
			groups_unready(&c->groups, group);
		else
			bytes += ask_first(c, group);
	}
}

int64_t
core_ask_due_ns(const struct core *c)
{
	if (groups_ready(&c->groups) == GROUP_NONE || c->asks_fetching >= LIMIT_TURN_CHECKS)
		return TIME_NEVER;
	if (c->check_tokens >= 1)
		return c->now_ns;
	if (c->conf.check_rate == 0)
		return TIME_NEVER;
	return c->now_ns + NS_PER_S / c->conf.check_rate + 1;
}

void
core_check_fetched(struct core *c, uint64_t which, const struct half *half)
{
	uint32_t index = half ? table_find(&c->table, half->gid.lo) : ROW_NONE;
	struct row *row;

	CHECK(c->asks_fetching > 0, which);
	c->asks_fetching--;
	if (index == ROW_NONE)
		return;
	row = core_row(c, index);
	if (!row_undecided(row) || (row->flags & (ROW_PENDING | ROW_OVERDUE)))
		return;
	/*
	 * Half-sent again meanwhile: its local transaction begins now, and is immune.  Or asked
	 * about: a disk that takes longer than the gap had two reads for it under way.
	 */
	if (which != asked(row))
		return;
	/* Each gap that passed meanwhile began a read for this same check: the first one asks. */
	if (groups_leaving(&c->groups, row->txn.seq, row->txn.generation))
		return;
	if (!ask(c, index, half)) { /* they left meanwhile: the next one who comes is asked */
		core_untime(c, index);
		groups_overdue(&c->groups, index);
	}
}

void
core_check_written(struct core *c, uint64_t seq, uint64_t peer)
{
	uint32_t index = table_find(&c->table, seq);
	uint8_t generation;
	struct txn_step step;
	struct row *row;

	if (index == ROW_NONE || !groups_written(&c->groups, seq, peer, &generation))
		return;
	row = core_row(c, index);
	/* Decided, or about to be, or half-sent again: then it is not this one that was asked. */
	if ((row->flags & ROW_PENDING) || generation != row->txn.generation)
		return;
	step = txn_step(&row->txn, TXN_CHECKED, c->now_ns, &c->conf.policy);
	CHECK(step.verdict == TXN_LAZY, seq);
	core_untime(c, index);
	core_apply(c, index, &step, TXN_CHECKED);
	core_time(c, index);
	journal_checks(c, row);
	c->stats.checks_sent++;
	core_note(c, &(struct note){ .kind = NOTE_CHECK_SENT,
				     .gid = table_gid(&c->table, row),
				     .peer = peer,
				     .value = row->txn.checks,
				     .lasted_ns = -1 });
}

int
core_join(struct core *c, uint64_t peer, struct str group)
{
	int err;

	if (group.n == 0 || group.n > LIMIT_GROUP_BYTES)
		return ERR_FULL;
	err = groups_join(&c->groups, peer, group);
	if (err == ERR_FULL && c->groups.groups_used >= c->groups.limit && core_groups_room(c))
		err = groups_join(&c->groups, peer, group);
	return err;
}

void
core_leave(struct core *c, uint64_t peer, struct str group)
{
	groups_leave(&c->groups, peer, group);
}
