/*
 * core.c -- life, the turn, and the effects that wait for the disk.
 */
#include "core/core_internal.h"

/* ---- life ------------------------------------------------------------------------------------ */

struct core *
core_new(const struct core_conf *conf, const struct ports *ports, void *arg)
{
	struct core *c = mem_alloc(sizeof(*c));
	struct hash_secret secret;

	c->conf = *conf;
	c->ports = *ports;
	c->arg = arg;
	c->space = true;
	c->next_seq = 1;
	c->flight_free = UINT32_MAX;
	c->history = ROW_LIST_INIT;
	c->topic_due_ns = c->asked_due_ns = TIME_NEVER;
	/* For tables that a restart builds anew; the journal's secret is for what it keeps. */
	secret = (struct hash_secret){ ports->random(arg), ports->random(arg) };
	table_init(&c->table, conf->shard);
	timers_init(&c->timers, &c->table);
	groups_init(&c->groups, &c->table, secret, conf->check_outstanding);
	c->groups.limit = LIMIT_GROUPS_RECOVERED; /* until core_start() */
	topics_init(&c->topics, secret);
	lanes_init(&c->lanes, conf->lane_window, conf->lane_backoff_ns, conf->lane_backoff_max_ns);
	core_watermarks_init(c);
	list_init(&c->woken);
	list_init(&c->overflow);
	list_init(&c->topic_waits);
	for (size_t i = 0; i < WAIT_BUCKETS; i++)
		list_init(&c->waiting[i]);
	c->timeline = mem_alloc(TIMELINE_EVENTS * sizeof(*c->timeline));
	c->timeline_heads = mem_alloc(TIMELINE_EVENTS * sizeof(*c->timeline_heads));
	return c;
}

static void
free_waiting(struct list *waiting)
{
	LIST_EACH (node, waiting) {
		list_del(node);
		mem_free(LIST_ENTRY(node, struct deferred, node));
	}
}

struct core *
core_free(struct core *c)
{
	if (!c)
		return NULL;
	free_waiting(&c->woken);
	free_waiting(&c->overflow);
	for (size_t i = 0; i < WAIT_BUCKETS; i++)
		free_waiting(&c->waiting[i]);
	LIST_EACH (node, &c->topic_waits) {
		struct topic_wait *w = LIST_ENTRY(node, struct topic_wait, node);

		free_waiting(&w->waiting);
		list_del(node);
		mem_free(w);
	}
	core_arena_done(c);
	lanes_done(&c->lanes);
	topics_done(&c->topics);
	groups_done(&c->groups);
	timers_done(&c->timers);
	table_done(&c->table);
	map_done(&c->by_db);
	mem_free(c->dbs);
	mem_free(c->ends.items);
	mem_free(c->halves.items);
	mem_free(c->pending);
	mem_free(c->flights);
	mem_free(c->done);
	mem_free(c->timeline);
	mem_free(c->timeline_heads);
	mem_free(c->n_scratch);
	mem_free(c->state_topics);
	mem_free(c->state_lanes);
	mem_free(c->audits);
	buf_free(&c->audit_buf);
	mem_free(c);
	return NULL;
}

void
core_format(struct core *c)
{
	for (size_t i = 0; i < sizeof(c->journal_id); i += 8) {
		uint64_t word = c->ports.random(c->arg);

		memcpy(c->journal_id + i, &word, 8);
	}
	c->secret = (struct hash_secret){ c->ports.random(c->arg), c->ports.random(c->arg) };
}

const uint8_t *
core_journal_id(const struct core *c)
{
	return c->journal_id;
}

/* ---- effects --------------------------------------------------------------------------------- */

struct place
core_append(struct core *c, const struct entry *e)
{
	struct place place = { 0, 0 };
	int err = c->ports.append(c->arg, e, &place);

	/* Its space was reserved with the half-send: the journal has miscounted. */
	CHECK(err == 0, e->type);
	return place;
}

void
core_answer(struct core *c, struct reply_to to, const struct answer *a)
{
	if (to.peer)
		c->ports.answer(c->arg, to, a);
}

struct answer
core_answer_of(const struct core *c, const struct row *row, enum answer_code code)
{
	return (struct answer){
		.code = code,
		.gid = table_gid(&c->table, row),
		.state = (enum txn_state)row->txn.state,
		.generation = row->txn.generation,
	};
}

void
core_note(struct core *c, const struct note *n)
{
	if (n->gid.lo)
		core_timeline_add(c, n);
	c->ports.note(c->arg, n);
}

static void
pending_run(struct core *c, const struct pending *p)
{
	switch ((enum pending_kind)p->kind) {
	case PENDING_HALF:
		core_half_durable(c, p);
		return;
	case PENDING_GENERATION:
		core_generation_durable(c, p);
		return;
	case PENDING_DECISION:
		core_decision_durable(c, p);
		return;
	case PENDING_REFUSED:
		core_refused_durable(c, p);
		return;
	case PENDING_MARK:
		core_mark_durable(c, p);
		return;
	case PENDING_OPERATION:
		core_operation_durable(c, p);
		return;
	}
}

void
core_pend(struct core *c, struct pending *p, struct place place)
{
	p->lsn = place.lsn + place.len;
	if (c->pending_end - c->pending_first == c->pending_cap) {
		uint32_t cap = c->pending_cap ? c->pending_cap * 2 : 64;
		struct pending *ring = mem_alloc(cap * sizeof(*ring));

		for (uint64_t i = c->pending_first; i < c->pending_end; i++)
			ring[i & (cap - 1)] = c->pending[i & (c->pending_cap - 1)];
		mem_free(c->pending);
		c->pending = ring;
		c->pending_cap = cap;
	}
	c->pending[c->pending_end++ & (c->pending_cap - 1)] = *p;
}

void
core_durable(struct core *c, uint64_t lsn)
{
	CHECK(c->started, lsn);
	while (c->pending_first < c->pending_end) {
		struct pending p = c->pending[c->pending_first & (c->pending_cap - 1)];

		if (p.lsn > lsn)
			break;
		c->pending_first++;
		pending_run(c, &p);
	}
	core_marked(c);
}

/* ---- rows ------------------------------------------------------------------------------------ */

void
core_apply(struct core *c, uint32_t index, const struct txn_step *step, enum txn_event ev)
{
	struct row *row = core_row(c, index);
	enum txn_state from = (enum txn_state)row->txn.state;
	struct note note = { .kind = NOTE_TRANSITION, .from = from, .event = ev, .lasted_ns = -1 };

	txn_apply(&row->txn, step);
	note.to = (enum txn_state)row->txn.state;
	c->stats.rows[from]--;
	c->stats.rows[note.to]++;
	if (from == note.to && ev != TXN_HALF_SEND)
		return;
	note.gid = table_gid(&c->table, row);
	if (ev == TXN_COMMIT || ev == TXN_ROLLBACK)
		note.lasted_ns = (int64_t)(max_u64(c->wall_ms, row->ms) - row->ms) * NS_PER_MS;
	core_note(c, &note);
}

void
core_began(struct core *c, uint32_t index)
{
	struct row *row = core_row(c, index);

	c->stats.rows[row->txn.state]++;
	c->groups.groups[row->group].rows++;
}

void
core_undecided(struct core *c, uint32_t index, bool is)
{
	const struct row *row = core_row(c, index);
	struct group *group = &c->groups.groups[row->group];

	table_undecided(&c->table, row->txn.seq, is);
	if (is) {
		c->undecided++;
		c->undecided_messages += row->count;
		group->waiting++;
		group->waiting_bytes += row->len;
		return;
	}
	CHECK(c->undecided > 0 && group->waiting > 0 && group->waiting_bytes >= row->len,
	      row->txn.seq);
	c->undecided--;
	c->undecided_messages -= row->count;
	group->waiting--;
	group->waiting_bytes -= row->len;
	/* Told again only after it had an eighth of room: at its bound each decision makes some. */
	if (group->waiting < c->conf.group_undecided - c->conf.group_undecided / 8 &&
	    group->waiting_bytes < c->conf.group_bytes - c->conf.group_bytes / 8)
		group->full = false;
}

void
core_placed(struct core *c, uint32_t index, struct place place)
{
	struct row *row = core_row(c, index);

	if (row_undecided(row))
		c->groups.groups[row->group].waiting_bytes += (uint64_t)place.len - row->len;
	row->lsn = place.lsn;
	row->len = place.len;
}

void
core_time(struct core *c, uint32_t index)
{
	timers_add(&c->timers, index);
}

void
core_untime(struct core *c, uint32_t index)
{
	struct row *row = core_row(c, index);

	if (row->flags & ROW_OVERDUE)
		groups_not_overdue(&c->groups, index);
	else if (row->link != ROW_NONE)
		timers_del(&c->timers, index);
}

void
core_settled(struct core *c, uint32_t index)
{
	struct row *row = core_row(c, index);
	uint64_t seq = row->txn.seq;
	struct list *bucket = &c->waiting[hash_u64(seq) % WAIT_BUCKETS];

	row_clear(row, ROW_PENDING);
	row_clear(row, ROW_HALFWAY);
	if (!(row->flags & ROW_WAITED))
		return;
	row_clear(row, ROW_WAITED);
	LIST_EACH (node, bucket) {
		if (LIST_ENTRY(node, struct deferred, node)->seq != seq)
			continue;
		list_del(node);
		list_add_tail(&c->woken, node);
	}
}

uint64_t *
core_n_scratch(struct core *c, uint32_t count)
{
	if (count > c->n_scratch_cap) {
		c->n_scratch = mem_grow(c->n_scratch, count * sizeof(*c->n_scratch));
		c->n_scratch_cap = count;
	}
	return c->n_scratch;
}

/* ---- the turn -------------------------------------------------------------------------------- */

#define CLOCK_SLACK_MS 100 /* rounding and slewing are not jumps */

void
core_clock(struct core *c, int64_t now_ns, uint64_t wall_ms)
{
	int64_t window_ns = (int64_t)c->conf.idempotency_window_ms * NS_PER_MS;
	uint64_t expected_ms = c->wall_ms + (uint64_t)(now_ns - c->now_ns) / NS_PER_MS;

	CHECK(now_ns >= c->now_ns, now_ns);
	CHECK(wall_ms <= GID_MS_MAX, wall_ms);
	if (c->started && wall_ms > expected_ms + CLOCK_SLACK_MS) {
		c->jumped_ms += wall_ms - expected_ms;
		c->jumped_until_ns = now_ns + window_ns;
	} else if (!c->started || wall_ms + CLOCK_SLACK_MS < expected_ms) {
		c->back_until_ns = now_ns + window_ns;
	}
	if (now_ns >= c->jumped_until_ns) /* what was decided before the jump is old by now */
		c->jumped_ms = 0;
	c->now_ns = now_ns;
	c->wall_ms = wall_ms;
}

static void
decide_ends(struct core *c)
{
	for (uint32_t i = 0; i < c->ends.count; i++) {
		struct wait wait;

		if (i + CORE_AHEAD < c->ends.count &&
		    c->ends.items[i + CORE_AHEAD].kind == REQUEST_END)
			table_prefetch_row(&c->table, c->ends.items[i + CORE_AHEAD].end.seq);
		wait = core_handle(c, &c->ends.items[i]);
		if (wait.kind != WAIT_NOT)
			core_defer(c, &c->ends.items[i], wait);
	}
	c->ends.count = 0;
}

static uint64_t
half_bytes(const struct half *h)
{
	uint64_t bytes = 256 + h->edge.n;

	for (uint32_t i = 0; i < h->count && h->count <= LIMIT_MESSAGES; i++)
		bytes += h->messages[i].value.n + h->messages[i].headers.bytes.n;
	return bytes;
}

static void
decide_halves(struct core *c)
{
	uint64_t budget = LIMIT_TURN_BYTES;

	core_handle_deferred(c, &c->overflow, &budget);
	for (uint32_t i = 0; i < c->halves.count; i++) {
		struct request *r = &c->halves.items[i];
		struct wait wait = DONE;

		/* Behind others that wait, or they would be overtaken for ever. */
		if (budget == 0 || !list_empty(&c->overflow)) {
			if (r->half.half.count <= LIMIT_MESSAGES) {
				core_defer(c, r, DONE);
				continue;
			}
		}
		budget -= min_u64(budget, half_bytes(&r->half.half));
		wait = core_handle(c, r);
		if (wait.kind != WAIT_NOT)
			core_defer(c, r, wait);
	}
	c->halves.count = 0;
}

void
core_decide(struct core *c)
{
	uint64_t unbounded = UINT64_MAX;

	CHECK(c->started, 0);
	if (!c->described) {
		c->described = true;
		for (uint32_t i = 0; i < c->topics.count; i++)
			c->ports.describe(c->arg, c->topics.topics[i].name);
	}
	c->asked_due_ns = groups_expire(&c->groups, c->now_ns);
	(void)lanes_wake(&c->lanes, c->now_ns);
	core_topics_expire(c);
	core_handle_deferred(c, &c->woken, &unbounded);
	decide_ends(c);
	core_due(c);
	decide_halves(c);
	core_ask(c);
	core_publish(c);
	core_marks(c);
	if (c->now_ns >= c->sample_ns)
		core_sample(c);
	core_trim(c);
	core_arena_reset(c);
}

int64_t
core_next_due_ns(const struct core *c)
{
	int64_t due_ns = timers_next_ns(&c->timers);

	if (!list_empty(&c->woken) || !list_empty(&c->overflow) || c->ends.count || c->halves.count)
		return c->now_ns;
	if (lanes_ready(&c->lanes) != LANE_NONE && !c->sink_full && !c->stats.foreign_cluster &&
	    !core_window_full(c))
		return c->now_ns;
	due_ns = min_i64(due_ns, c->asked_due_ns);
	due_ns = min_i64(due_ns, c->lanes.wake_ns);
	due_ns = min_i64(due_ns, c->topic_due_ns);
	return min_i64(due_ns, core_ask_due_ns(c));
}

void
core_space(struct core *c, bool ok)
{
	c->space = ok;
}

void
core_drain(struct core *c)
{
	c->draining = true;
}

void
core_undecided_count(const struct core *c, uint64_t *ret_transactions, uint64_t *ret_messages)
{
	*ret_transactions = c->undecided;
	*ret_messages = c->undecided_messages;
}

uint64_t
core_owed(const struct core *c)
{
	return c->lanes.pending;
}

void
core_fetched(struct core *c, uint64_t token, int err, const struct half *half)
{
	uint64_t which = token & ~FETCH_KINDS;

	if (err)
		half = NULL;
	if ((token & FETCH_KINDS) == FETCH_LANE) {
		core_lane_fetched(c, (uint32_t)which, half);
		return;
	}
	CHECK((token & FETCH_KINDS) == FETCH_CHECK, token);
	core_check_fetched(c, which, half);
}
