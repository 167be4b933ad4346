/*
 * core_history.c -- final transactions: remembered for who repeats or asks, then forgotten.
 *
 * They stay for history.retention; when the memory for keys is used up, for idempotency.window at
 * least.  Oldest first: the list is in the order in which they became final.
 */
#include "core/core_internal.h"

void
core_final(struct core *c, uint32_t index)
{
	struct row *row = core_row(c, index);

	CHECK(row->origin != 0 && !(row->flags & (ROW_FINAL | ROW_OVERDUE)), row->txn.seq);
	row_list_add(&c->table, &c->history, index);
	row_set(row, ROW_FINAL);
	if (c->started) /* it never was open in this life otherwise */
		table_open(&c->table, row->txn.seq, false);
}

void
core_forget(struct core *c, uint32_t index)
{
	struct row *row = core_row(c, index);
	uint32_t group = row->group;

	CHECK((row->flags & ROW_FINAL) && !(row->flags & ROW_WAITED), row->txn.seq);
	row_list_del(&c->table, &c->history, index);
	row_clear(row, ROW_FINAL);
	c->stats.rows[row->txn.state]--;
	c->groups.groups[group].rows--;
	table_del(&c->table, index);
	groups_drop(&c->groups, group);
}

bool
core_in_window(const struct core *c, const struct row *row)
{
	return c->now_ns < c->settled_ns || core_lately(c, row);
}

bool
core_lately(const struct core *c, const struct row *row)
{
	if (row->decided_ms > c->wall_ms)
		return c->now_ns < c->back_until_ns;
	return c->wall_ms - row->decided_ms < c->conf.idempotency_window_ms + c->jumped_ms;
}

/*
 * The oldest of the history, if it may be forgotten now.  PRESSED: memory is used up.  Then the
 * clocks are believed even after a start, or a busy daemon would refuse half-sends for a window.
 */
static uint32_t
history_oldest(const struct core *c, uint64_t keep_ms, bool pressed)
{
	const struct row *row;
	bool in_window;

	if (c->history.head == ROW_NONE)
		return ROW_NONE;
	row = core_row(c, c->history.head);
	if (!core_passed(c, row, true))
		return ROW_NONE;
	in_window = pressed ? core_lately(c, row) : core_in_window(c, row);
	if (in_window && !CANARY(KEY_FORGOTTEN_IN_WINDOW))
		return ROW_NONE;
	/* One from the future was decided before the clock was set back: its age is unknown. */
	if (row->decided_ms <= c->wall_ms && row->decided_ms + keep_ms >= c->wall_ms)
		return ROW_NONE;
	return c->history.head;
}

static uint64_t
history_bytes(const struct core *c)
{
	/* A row, a part, and its slots in the two maps. */
	return (uint64_t)c->history.count * (sizeof(struct row) + sizeof(struct part_node) + 16);
}

/* OLDEST goes.  What the next one to go touches is asked for now: it lies anywhere in memory. */
static void
history_forget(struct core *c, uint32_t oldest)
{
	uint32_t next = core_row(c, oldest)->link;

	if (next != ROW_NONE)
		table_prefetch_del(&c->table, next);
	core_forget(c, oldest);
}

bool
core_keys_room(struct core *c)
{
	while (history_bytes(c) >= c->conf.keys_bytes) {
		uint32_t oldest = history_oldest(c, 0, true);

		if (oldest == ROW_NONE)
			return false;
		history_forget(c, oldest);
	}
	return true;
}

bool
core_groups_room(struct core *c)
{
	const struct groups *g = &c->groups;

	for (; g->groups_used >= g->limit && c->forget_left; c->forget_left--) {
		uint32_t oldest = history_oldest(c, 0, true);

		if (oldest == ROW_NONE)
			return false;
		history_forget(c, oldest);
	}
	return g->groups_used < g->limit;
}

void
core_trim(struct core *c)
{
	/* Bounded: after a pause there may be millions. */
	for (uint32_t i = 0; i < LIMIT_TURN_HISTORY; i++) {
		uint32_t oldest = history_oldest(c, c->conf.history_retention_ms, false);

		if (oldest == ROW_NONE)
			break;
		history_forget(c, oldest);
	}
	c->forget_left = LIMIT_TURN_HISTORY;
	c->stats.keys_full = !core_keys_room(c);
	if (!c->stats.keys_full)
		c->keys_noted = false;
}

bool
core_keys_full(struct core *c)
{
	if (core_keys_room(c))
		return false;
	c->stats.keys_full = true;
	if (!c->keys_noted)
		core_note(c, &(struct note){ .kind = NOTE_KEYS_FULL, .lasted_ns = -1 });
	c->keys_noted = true;
	return true;
}
