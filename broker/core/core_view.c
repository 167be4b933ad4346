/*
 * core_view.c -- what people and dashboards see.  Nothing here changes a transaction.
 */
#include "core/core_internal.h"

/* ---- one row --------------------------------------------------------------------------------- */

uint64_t
core_etag(const struct core *c, const struct row *row)
{
	uint64_t tag = hash_u64((uint64_t)row->txn.state << 40 |
				(uint64_t)row->txn.generation << 32 | row->txn.checks);

	if (!(row->flags & ROW_PARTS))
		return tag;
	for (uint32_t p = row->parts; p != PART_NONE; p = table_part(&c->table, p)->next)
		tag = hash_u64(tag ^ table_part(&c->table, p)->state);
	return tag;
}

static void
view_parts(const struct core *c, const struct row *row, struct row_view *v)
{
	for (uint32_t p = row->parts; p != PART_NONE; p = table_part(&c->table, p)->next) {
		const struct part_node *part = table_part(&c->table, p);

		v->published += part->state == PART_PUBLISHED;
		v->refused += part->state == PART_REFUSED;
		if ((part->state == PART_REFUSED || part->state == PART_RETRIED) &&
		    !v->refused_code)
			v->refused_code = part->code;
	}
	v->partition = table_part(&c->table, row->parts)->partition;
}

static void
view_of(const struct core *c, const struct row *row, struct row_view *ret_view)
{
	bool stub = row->flags & ROW_STUB;

	*ret_view = (struct row_view){
		.gid = table_gid(&c->table, row),
		.state = (enum txn_state)row->txn.state,
		.generation = row->txn.generation,
		.checks = row->txn.checks,
		.etag = core_etag(c, row),
		.group = groups_name(&c->groups, row->group),
		.arrived_ms = row->ms,
		.due_in_ms = -1,
		.decided_ms = row->origin ? row->decided_ms : 0,
		.origin = (enum origin)row->origin,
		.count = (uint32_t)row->count,
		.place = { row->lsn, stub ? 0 : row->len },
	};
	/* A stub that was recovered knows no topic. */
	if (row->count)
		ret_view->topic = c->topics.topics[row->txn.tag].name;
	if (row->flags & ROW_PARTS)
		view_parts(c, row, ret_view);
	else
		ret_view->partition = row->partition;
	if (row_undecided(row))
		ret_view->due_in_ms = max_i64(row->txn.due_ns - c->now_ns, 0) / NS_PER_MS;
}

/* A half-send that is not durable yet was not answered: nobody has seen it. */
static bool
visible(const struct row *row)
{
	return !(row->flags & ROW_HALFWAY);
}

int
core_get(struct core *c, struct gid gid, struct row_view *ret_row)
{
	uint32_t index = table_find(&c->table, gid.lo);

	if (index == ROW_NONE || !visible(core_row(c, index)) ||
	    !gid_eq(gid, table_gid(&c->table, core_row(c, index))))
		return ERR_NOTFOUND;
	view_of(c, core_row(c, index), ret_row);
	return 0;
}

/* ---- lists ----------------------------------------------------------------------------------- */

struct filter {
	const struct list_query *q;
	uint32_t group;
	uint32_t topic;
	uint64_t key_hash;
};

static bool
topic_matches(const struct core *c, const struct row *row, uint32_t topic)
{
	if (row->count == 0)
		return false;
	if (row->txn.tag == topic)
		return true;
	for (uint32_t p = row->flags & ROW_PARTS ? row->parts : PART_NONE; p != PART_NONE;) {
		if (table_part(&c->table, p)->topic == topic)
			return true;
		p = table_part(&c->table, p)->next;
	}
	return false;
}

static bool
matches(const struct core *c, const struct row *row, const struct filter *f)
{
	const struct list_query *q = f->q;

	if (!visible(row) || (q->states && !(q->states & 1u << row->txn.state)))
		return false;
	if (q->group.n && row->group != f->group)
		return false;
	if (q->topic.n && !topic_matches(c, row, f->topic))
		return false;
	if (q->key.n && row->key_hash != f->key_hash)
		return false;
	if (q->min_age_ms && row->ms + q->min_age_ms > c->wall_ms)
		return false;
	return row->txn.checks >= q->min_checks;
}

void
core_list(struct core *c, const struct list_query *q, struct list_page *ret_page)
{
	struct filter f = { .q = q };
	uint32_t budget = LIMIT_LIST_SCAN;
	uint32_t limit = q->limit && q->limit < LIMIT_LIST_PAGE ? q->limit : LIMIT_LIST_PAGE;
	uint64_t seq = q->after_seq;

	ret_page->count = 0;
	ret_page->next_seq = 0;
	if (q->group.n)
		f.group = groups_find(&c->groups, q->group);
	if (q->topic.n)
		f.topic = topics_find(&c->topics, q->topic);
	if ((q->group.n && f.group == GROUP_NONE) || (q->topic.n && f.topic == TOPIC_NONE))
		return;
	f.key_hash = core_key_hash(c, q->group, q->key);
	if (q->newest_first)
		seq = seq ? seq - 1 : UINT64_MAX;
	else
		seq = seq + 1;
	for (;;) {
		uint32_t index = table_walk(&c->table, seq, q->newest_first, &budget, &seq);

		if (index == ROW_NONE) {
			/* The cursor is the last sequence that was looked at. */
			if (seq)
				ret_page->next_seq = q->newest_first ? seq + 1 : seq - 1;
			return;
		}
		if (matches(c, core_row(c, index), &f))
			view_of(c, core_row(c, index), &ret_page->rows[ret_page->count++]);
		if (ret_page->count == limit) {
			ret_page->next_seq = seq;
			return;
		}
		seq = q->newest_first ? seq - 1 : seq + 1;
	}
}

/* ---- timeline -------------------------------------------------------------------------------- */

/*
 * The ordinary life (half-sent, decided, published) is in the row, and survives a restart with it.
 * The ring has what the row does not tell: so it reaches back further, and costs less.
 */
static bool
row_tells(const struct note *n)
{
	if (n->kind != NOTE_TRANSITION)
		return false;
	return !n->from || n->event == TXN_COMMIT || n->event == TXN_ROLLBACK ||
	       n->event == TXN_ACKED;
}

static uint64_t *
timeline_head(const struct core *c, uint64_t seq)
{
	return &c->timeline_heads[seq % TIMELINE_EVENTS];
}

static void
timeline_flush(struct core *c)
{
	for (uint32_t i = 0; i < c->timeline_batched; i++) {
		struct timeline_slot *s = &c->timeline_batch[i];
		uint64_t *head = timeline_head(c, s->seq);
		uint64_t number = ++c->timeline_count;

		s->before = *head;
		*head = number;
		c->timeline[number % TIMELINE_EVENTS] = *s;
	}
	c->timeline_batched = 0;
}

void
core_timeline_add(struct core *c, const struct note *n)
{
	uint64_t number = c->timeline_count + c->timeline_batched + 1;

	if (row_tells(n))
		return;
	__builtin_prefetch(timeline_head(c, n->gid.lo), 1);
	__builtin_prefetch(&c->timeline[number % TIMELINE_EVENTS], 1);
	c->timeline_batch[c->timeline_batched++] = (struct timeline_slot){
		.event = {
			.ms = c->wall_ms,
			.kind = n->kind,
			.peer = n->peer,
			.value = n->value,
			.from = n->from,
			.to = n->to,
		},
		.seq = n->gid.lo,
	};
	if (c->timeline_batched == TIMELINE_BATCH)
		timeline_flush(c);
}

/* Events of one transaction, oldest first; beyond the room the later ones are dropped. */
struct telling {
	struct timeline_event *events;
	uint32_t count;
	uint32_t max;
	enum txn_state state; /* as the last one left it */
};

static void
tell(struct telling *t, const struct timeline_event *e)
{
	if (e->kind == NOTE_TRANSITION)
		t->state = e->to;
	if (t->count < t->max)
		t->events[t->count++] = *e;
}

static void
tell_step(struct telling *t, uint64_t ms, enum txn_state to)
{
	struct timeline_event e = { .ms = ms, .kind = NOTE_TRANSITION, .from = t->state, .to = to };

	tell(t, &e);
}

/* The newest events of SEQ that the ring has, at most MAX, oldest first. */
static uint32_t
from_ring(const struct core *c, uint64_t seq, struct timeline_event *ret_events, uint32_t max)
{
	uint64_t number = *timeline_head(c, seq);
	uint32_t count = 0;

	while (number && number + TIMELINE_EVENTS > c->timeline_count && count < max) {
		const struct timeline_slot *slot = &c->timeline[number % TIMELINE_EVENTS];

		if (slot->seq == seq)
			ret_events[count++] = slot->event;
		number = slot->before;
	}
	for (uint32_t i = 0; i < count / 2; i++) {
		struct timeline_event swap = ret_events[i];

		ret_events[i] = ret_events[count - 1 - i];
		ret_events[count - 1 - i] = swap;
	}
	return count;
}

/* E is of the time before ROW was decided; of one millisecond may be both. */
static bool
before_decision(const struct row *row, const struct timeline_event *e)
{
	if (row_undecided(row))
		return true;
	if (e->ms > row->decided_ms || e->kind == NOTE_PUBLISHED || e->kind == NOTE_UNPUBLISHABLE)
		return false;
	return e->kind != NOTE_TRANSITION || e->from == TXN_PREPARED || e->from == TXN_PARKED;
}

uint32_t
core_timeline(struct core *c, uint64_t seq, struct timeline_event *ret_events, uint32_t max)
{
	struct timeline_event ring[LIMIT_TIMELINE] UNINITIALIZED;
	uint32_t count, i = 0;
	struct telling t = { .events = ret_events, .max = max };
	uint32_t index = table_find(&c->table, seq);
	const struct row *row;

	if (index == ROW_NONE)
		return 0;
	row = core_row(c, index);
	timeline_flush(c);
	count = from_ring(c, seq, ring, LIMIT_TIMELINE);
	if (row->flags & ROW_PLAIN)
		tell_step(&t, row->ms, TXN_COMMITTED);
	else
		tell_step(&t, row->ms, TXN_PREPARED);
	while (i < count && before_decision(row, &ring[i]))
		tell(&t, &ring[i++]);
	if (!row_undecided(row) && !(row->flags & ROW_PLAIN))
		tell_step(&t, row->decided_ms,
			  row->txn.state == TXN_ROLLED_BACK ? TXN_ROLLED_BACK : TXN_COMMITTED);
	while (i < count)
		tell(&t, &ring[i++]);
	if (row->txn.state == TXN_PUBLISHED && count && ring[count - 1].kind == NOTE_PUBLISHED)
		tell_step(&t, ring[count - 1].ms, TXN_PUBLISHED);
	return t.count;
}

/* ---- groups, topics, counters ---------------------------------------------------------------- */

bool
core_group_next(struct core *c, uint32_t *at, struct group_view *ret_group)
{
	while (*at < c->groups.group_count) {
		const struct group *g = &c->groups.groups[(*at)++];

		if (!g->used)
			continue;
		*ret_group = (struct group_view){
			.name = str_from(g->name, g->name_len),
			.listeners = g->listeners,
			.waiting = g->waiting,
			.waiting_bytes = g->waiting_bytes,
			.silent = g->waiting > 0 && g->listeners == 0,
		};
		return true;
	}
	return false;
}

bool
core_topic_next(struct core *c, uint32_t *at, struct topic_view *ret_topic)
{
	const struct topic *t;

	if (*at >= c->topics.count)
		return false;
	t = &c->topics.topics[(*at)++];
	*ret_topic = (struct topic_view){
		.name = t->name,
		.partitions = t->partitions,
		.max_bytes = t->max_bytes,
	};
	for (int32_t i = 0; i < t->lane_cap; i++) {
		const struct lane *lane =
			t->lanes[i] == LANE_NONE ? NULL : lanes_at(&c->lanes, t->lanes[i]);

		if (!lane)
			continue;
		ret_topic->pending += lane->pending;
		ret_topic->frozen += lane->mode != LANE_OPEN;
	}
	return true;
}

/* The oldest message that is committed and not published: the first of some lane. */
static uint64_t
oldest_owed_ms(const struct core *c)
{
	uint64_t oldest = 0;

	for (uint32_t i = 0; i < c->lanes.count; i++) {
		uint32_t index = lanes_first_row(&c->lanes, i);
		uint64_t ms = index == ROW_NONE ? 0 : core_row(c, index)->decided_ms;

		if (ms && (oldest == 0 || ms < oldest))
			oldest = ms;
	}
	return oldest;
}

const struct core_stats *
core_stats(struct core *c)
{
	const struct row *oldest = core_oldest_undecided(c);

	c->stats.rows_bytes = table_bytes(&c->table) + c->timers.cap * sizeof(uint32_t);
	c->stats.lanes_frozen = c->stats.foreign_cluster ? c->lanes.count : c->lanes.frozen;
	c->stats.publish_pending = c->lanes.pending;
	c->stats.publish_oldest_ms = c->lanes.pending ? oldest_owed_ms(c) : 0;
	c->stats.undecided_oldest_ms = oldest ? oldest->ms : 0;
	c->stats.deferred = c->deferred_count;
	c->stats.timer_visits = c->timers.visits;
	c->stats.groups = c->groups.groups_used;
	return &c->stats;
}

/* ---- words ----------------------------------------------------------------------------------- */

const char *
answer_name(enum answer_code code)
{
	switch (code) {
	case ANSWER_OK:
		return "ok";
	case ANSWER_BUSY:
		return "busy";
	case ANSWER_DRAINING:
		return "draining";
	case ANSWER_REFUSED:
		return "refused";
	case ANSWER_TOO_BIG:
		return "too_big";
	case ANSWER_TOPIC_UNKNOWN:
		return "topic_unknown";
	case ANSWER_NOT_FOUND:
		return "not_found";
	case ANSWER_WRONG_TOKEN:
		return "wrong_token";
	case ANSWER_WRONG_GROUP:
		return "wrong_group";
	case ANSWER_DECIDED:
		return "decided";
	case ANSWER_KEY_REUSED:
		return "key_reused";
	case ANSWER_STATE:
		return "state";
	case ANSWER_MOVED:
		return "moved";
	case ANSWER_STALE:
		return "stale";
	}
	return "none";
}

const char *
answer_text(enum answer_code code)
{
	switch (code) {
#define X(name, text)                                                                              \
	case ANSWER_##name:                                                                        \
		return text;
		ANSWER_LIST(X)
#undef X
	}
	return "none";
}
