/*
 * core_start.c -- recovered rows become a running core: timers, lanes, history.
 *
 * Every owed message is looked at once, when all records have been read, for copies of older
 * messages may follow the marks that tell of them:
 *
 *     owed      published when n is below the lane's watermark, or named in a mark
 *     retried   published only when named in a mark: its n was below the watermark all the time
 *     refused   stays so
 */
#include "core/core_internal.h"

struct owed {
	uint32_t lane;
	bool again;
	uint64_t n;
	uint32_t row;
	uint16_t index;
};

static int
compare_u64(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

static int
by_lane_and_n(const void *a, const void *b)
{
	const struct done_n *x = a;
	const struct done_n *y = b;

	return x->lane != y->lane ? compare_u64(x->lane, y->lane) : compare_u64(x->n, y->n);
}

/* Retried ones behind the others of their lane. */
static int
by_order(const void *a, const void *b)
{
	const struct owed *x = a;
	const struct owed *y = b;

	if (x->lane != y->lane)
		return compare_u64(x->lane, y->lane);
	return x->again != y->again ? x->again - y->again : compare_u64(x->n, y->n);
}

struct finished {
	uint64_t ms;
	uint64_t seq;
	uint32_t row;
};

static int
by_time(const void *a, const void *b)
{
	const struct finished *x = a;
	const struct finished *y = b;

	return x->ms != y->ms ? compare_u64(x->ms, y->ms) : compare_u64(x->seq, y->seq);
}

struct start {
	struct owed *owed;
	size_t owed_count, owed_cap;
	struct finished *finished;
	size_t finished_count, finished_cap;
	uint64_t *known; /* by lane: numbers from its watermark on that some row has */
};

static bool
marked(const struct core *c, uint32_t lane, const struct part_node *part)
{
	struct done_n key = { lane, part->n };

	if (part->state == PART_OWED && part->n < lanes_at(&c->lanes, lane)->low)
		return true;
	return c->done_count &&
	       bsearch(&key, c->done, c->done_count, sizeof(key), by_lane_and_n) != NULL;
}

static void
start_committed(struct core *c, struct start *s, uint32_t index)
{
	struct row *row = core_row(c, index);
	uint16_t ordinal = 0;
	bool all = row->flags & ROW_PARTS;

	for (uint32_t p = all ? row->parts : PART_NONE; p != PART_NONE; ordinal++) {
		struct part_node *part = table_part(&c->table, p);
		uint32_t lane = core_lane(c, part->topic, part->partition);

		if (part->n >= lanes_at(&c->lanes, lane)->low)
			s->known[lane]++;
		if (part->state == PART_OWED || part->state == PART_RETRIED) {
			if (marked(c, lane, part)) {
				part->state = PART_PUBLISHED;
			} else {
				if (s->owed_count == s->owed_cap) {
					s->owed_cap = s->owed_cap ? s->owed_cap * 2 : 1024;
					s->owed = mem_grow(s->owed, s->owed_cap * sizeof(*s->owed));
				}
				s->owed[s->owed_count++] =
					(struct owed){ lane, part->state == PART_RETRIED, part->n,
						       index, ordinal };
			}
		}
		all = all && part->state == PART_PUBLISHED;
		p = part->next;
	}
	if (all && row->txn.state == TXN_COMMITTED)
		row->txn.state = TXN_PUBLISHED;
}

static void
start_undecided(struct core *c, uint32_t index)
{
	struct row *row = core_row(c, index);
	int64_t gap_ns = core_recovered_gap_ns(c, row);
	int64_t wait_ms = row->txn.due_ns - (int64_t)c->wall_ms;
	uint64_t spread_ns = (uint64_t)max_i64(c->conf.policy.interval_ns, 1);

	/* The wall clock may have been set back meanwhile: never later than one whole gap. */
	if (wait_ms > gap_ns / NS_PER_MS)
		wait_ms = gap_ns / NS_PER_MS;
	if (wait_ms > 0)
		row->txn.due_ns = c->now_ns + wait_ms * NS_PER_MS;
	else /* overdue while we were down: not all in one moment */
		row->txn.due_ns = c->now_ns + (int64_t)(hash_u64(row->txn.seq) % spread_ns);
	row->txn.due_ns = max_i64(row->txn.due_ns, 1);
	row->link = row->link_back = ROW_NONE;
	core_time(c, index);
	core_undecided(c, index, true);
}

static void
start_row(struct core *c, struct start *s, uint32_t index)
{
	struct row *row = core_row(c, index);

	if (row_undecided(row)) {
		core_began(c, index);
		start_undecided(c, index);
		table_open(&c->table, row->txn.seq, true);
		return;
	}
	row->link = row->link_back = ROW_NONE;
	start_committed(c, s, index);
	core_began(c, index);
	txn_check(&row->txn);
	if (row->txn.state == TXN_COMMITTED || row->txn.state == TXN_UNDELIVERABLE) {
		table_open(&c->table, row->txn.seq, true);
		return;
	}
	if (s->finished_count == s->finished_cap) {
		s->finished_cap = s->finished_cap ? s->finished_cap * 2 : 1024;
		s->finished = mem_grow(s->finished, s->finished_cap * sizeof(*s->finished));
	}
	s->finished[s->finished_count++] =
		(struct finished){ row->decided_ms, row->txn.seq, index };
}

/*
 * From the watermark on every number belongs to a message that is still here: what frees
 * messages waits for durable marks.  If not, something was forgotten that was owed.
 */
static void
check_lane(struct core *c, const struct start *s, uint32_t number)
{
	const struct lane *lane = lanes_at(&c->lanes, number);
	uint64_t given = lane->next_n - lane->low;

	if (lane->next_n <= lane->low || s->known[number] >= given)
		return;
	core_note(c, &(struct note){ .kind = NOTE_RECORD_GONE,
				     .partition = lane->partition,
				     .value = (int64_t)(given - s->known[number]),
				     .lasted_ns = -1,
				     .text = c->topics.topics[lane->topic].name });
}

static void
start_lanes(struct core *c, struct start *s)
{
	size_t at = 0;

	if (s->owed_count)
		qsort(s->owed, s->owed_count, sizeof(*s->owed), by_order);
	for (uint32_t i = 0; i < c->lanes.count; i++) {
		struct lane *lane = lanes_at(&c->lanes, i);
		uint64_t low = lane->next_n;

		check_lane(c, s, i);
		lane->marked_low = lane->durable_low = lane->low;
		if (at < s->owed_count && s->owed[at].lane == i && !s->owed[at].again)
			low = s->owed[at].n;
		/* All below the first owed one is known to be settled. */
		lane->low = max_u64(lane->low, low);
		for (; at < s->owed_count && s->owed[at].lane == i; at++) {
			const struct owed *o = &s->owed[at];
			struct lane_item item = { o->n, o->row, o->index, o->again };

			lanes_push(&c->lanes, i, &item);
		}
	}
}

void
core_start(struct core *c, int64_t now_ns, uint64_t wall_ms)
{
	struct start s = { 0 };

	core_clock(c, now_ns, wall_ms);
	c->check_tokens = c->conf.check_rate; /* cut to the bucket's size when first used */
	c->check_tokens_ns = now_ns;
	c->settled_ns = now_ns + (int64_t)c->conf.idempotency_window_ms * NS_PER_MS;
	if (c->done_count)
		qsort(c->done, c->done_count, sizeof(*c->done), by_lane_and_n);
	s.known = mem_alloc((c->lanes.count + 1) * sizeof(*s.known));
	for (uint32_t i = 0; i < c->table.row_count; i++)
		if (core_row(c, i)->txn.seq)
			start_row(c, &s, i);
	start_lanes(c, &s);
	mem_free(s.known);
	if (s.finished_count)
		qsort(s.finished, s.finished_count, sizeof(*s.finished), by_time);
	for (size_t i = 0; i < s.finished_count; i++)
		core_final(c, s.finished[i].row);
	for (uint32_t i = 0; i < c->groups.group_count; i++)
		groups_drop(&c->groups, i);
	mem_free(s.owed);
	mem_free(s.finished);
	core_audits_sort(c);
	mem_free(c->done);
	c->done = NULL;
	c->done_count = c->done_cap = 0;
	c->groups.limit = LIMIT_GROUPS;
	/* The journal may remember more than memory is allowed to. */
	(void)core_keys_room(c);
	c->forget_left = UINT32_MAX;
	(void)core_groups_room(c);
	c->forget_left = LIMIT_TURN_HISTORY;
	c->started = true;
}
