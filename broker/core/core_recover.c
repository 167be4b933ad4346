/*
 * core_recover.c -- the journal's records become rows again.
 *
 * Every record is applied where it stands; one about a transaction that is not known is ignored:
 * its half left with a segment, and with it went or was copied all that the record said.  A record
 * may come twice (the recovered tail is written again), so each says what is, not what changes.
 *
 * Marks are not applied at once, because copies of older messages may still follow.  They are
 * collected per lane for core_start().  Until then due_ns of an undecided row is a wall-clock time
 * in milliseconds, and link_back its immunity; link and link_back of a decided one say when that
 * was, counted in records.
 */
#include "core/core_internal.h"
#include "core/partition.h"

static bool
recovered_seq(struct core *c, struct gid gid)
{
	if (gid.lo == 0 || gid.lo > INT64_MAX)
		return false;
	c->next_seq = max_u64(c->next_seq, gid.lo + 1);
	c->last_ms = max_u64(c->last_ms, gid_ms(gid));
	return true;
}

/* The key leads to the newest transaction that had it. */
static void
recover_key(struct core *c, uint32_t index)
{
	const struct row *row = core_row(c, index);
	uint32_t old = table_find_key(&c->table, row->key_hash);

	if (old == ROW_NONE || core_row(c, old)->txn.seq < row->txn.seq ||
	    CANARY(LAST_COPY_HAS_KEY))
		table_key(&c->table, index);
}

/* ---- more groups than numbers --------------------------------------------------------------- */

/* Row INDEX is decided, later than all that were before. */
static void
set_order(struct core *c, struct row *row)
{
	c->recovered_decisions++;
	row->link = (uint32_t)c->recovered_decisions;
	row->link_back = (uint32_t)(c->recovered_decisions >> 32);
}

static uint64_t
order_of(const struct row *row)
{
	return (uint64_t)row->link_back << 32 | row->link;
}

/* Nothing of it is owed, whatever the journal says further on. */
static bool
is_settled(const struct core *c, const struct row *row)
{
	if (row->origin == 0 || row->txn.state == TXN_UNDELIVERABLE)
		return false;
	for (uint32_t p = row->flags & ROW_PARTS ? row->parts : PART_NONE; p != PART_NONE;) {
		const struct part_node *part = table_part(&c->table, p);
		uint32_t lane = topics_lane(&c->topics, part->topic, part->partition);

		if (lane == LANE_NONE || part->n >= lanes_at(&c->lanes, lane)->low ||
		    (part->state != PART_OWED && row->txn.state == TXN_COMMITTED))
			return false;
		p = part->next;
	}
	return true;
}

struct settled {
	uint64_t order;
	uint32_t row;
};

static int
by_decision(const void *a, const void *b)
{
	const struct settled *x = a;
	const struct settled *y = b;

	return x->order < y->order ? -1 : x->order > y->order;
}

/*
 * Clients choose the names of groups, and the journal remembers longer than memory did: it may name
 * more of them than a row's number can tell.  But at any one time memory had at most LIMIT_GROUPS
 * with all that was undecided, owed, or decided within idempotency.window.  So what was
 * settled first is forgotten, until half of the numbers are free; counted in records, for no
 * clock can be believed here.  False: nothing was to be had.
 */
static bool
forget_groups(struct core *c)
{
	struct groups *g = &c->groups;
	uint32_t *rows = mem_alloc(g->group_count * sizeof(*rows));
	struct settled *settled = mem_alloc((c->table.rows_live + 1) * sizeof(*settled));
	size_t count = 0;

	for (uint32_t i = 0; i < c->table.row_count; i++) {
		const struct row *row = core_row(c, i);

		if (!row->txn.seq)
			continue;
		rows[row->group]++;
		if (is_settled(c, row))
			settled[count++] = (struct settled){ order_of(row), i };
	}
	for (uint32_t i = 0; i < g->group_count; i++)
		if (rows[i] == 0)
			groups_drop(g, i);
	if (count)
		qsort(settled, count, sizeof(*settled), by_decision);
	for (size_t i = 0; i < count && g->groups_used > g->limit / 2; i++) {
		struct row *row = core_row(c, settled[i].row);
		uint32_t group = row->group;

		row->link = row->link_back = ROW_NONE;
		table_del(&c->table, settled[i].row);
		if (--rows[group] == 0)
			groups_drop(g, group);
	}
	mem_free(settled);
	mem_free(rows);
	return g->groups_used < g->limit;
}

static uint32_t
recover_group(struct core *c, struct str name)
{
	uint32_t group = groups_get(&c->groups, name);

	if (group == GROUP_NONE && forget_groups(c))
		group = groups_get(&c->groups, name);
	return group;
}

/* ---- records --------------------------------------------------------------------------------- */

static void
set_due(struct row *row, uint64_t since_ms, int64_t gap_ns)
{
	row->txn.due_ns = max_i64((int64_t)since_ms + gap_ns / NS_PER_MS, 1);
}

int64_t
core_recovered_gap_ns(const struct core *c, const struct row *row)
{
	if (row->txn.state == TXN_PARKED)
		return c->conf.policy.parked_ns;
	if (row->txn.checks == 0)
		return (int64_t)row->link_back * NS_PER_MS;
	return txn_check_gap_ns(&c->conf.policy, row->txn.checks);
}

/* The row of a half or copy at PLACE, new, with its parts; undecided for now. */
static int
recover_row(struct core *c, const struct half *h, const uint32_t *topics, struct place place,
	    uint32_t *ret_index)
{
	struct row *row;
	uint32_t group;
	uint32_t index;

	if (!recovered_seq(c, h->gid) || h->count == 0 || h->count > LIMIT_MESSAGES)
		return ERR_CORRUPT;
	for (uint32_t i = 0; i < h->count; i++)
		if (topics[i] >= c->topics.count || h->messages[i].partition < 0)
			return ERR_CORRUPT;
	group = recover_group(c, h->group);
	if (group == GROUP_NONE)
		return ERR_CORRUPT;
	index = core_row_of(c, h, topics, group, place, core_key_hash(c, h->group, h->key), false);
	row = core_row(c, index);
	if (CANARY(PARTITION_ANEW) && h->messages[0].key.p &&
	    c->topics.topics[topics[0]].partitions > 0)
		row->partition = partition_of_key(h->messages[0].key,
						  c->topics.topics[topics[0]].partitions);
	row->txn.state = TXN_PREPARED;
	row->db = core_db(c, h->has_db_id, h->db_id);
	row->link_back = h->immunity_ms ? h->immunity_ms
					: (uint32_t)(c->conf.policy.immunity_ns / NS_PER_MS);
	set_due(row, h->arrived_ms, core_recovered_gap_ns(c, row));
	recover_key(c, index);
	*ret_index = index;
	return 0;
}

/* Known already: the same record again, or a newer copy; only where it lies has changed. */
static bool
moved(struct core *c, uint64_t seq, struct place place)
{
	uint32_t index = table_find(&c->table, seq);

	if (index == ROW_NONE)
		return false;
	core_row(c, index)->lsn = place.lsn;
	core_row(c, index)->len = place.len;
	return true;
}

static int
recover_half(struct core *c, const struct entry_half *e, struct place place)
{
	uint32_t index;

	if (moved(c, e->half.gid.lo, place))
		return 0;
	return recover_row(c, &e->half, e->topics, place, &index);
}

/* Somebody decided it, and what is said of it goes with that. */
static bool
is_decided(const struct decision *d, enum txn_state state)
{
	enum txn_state decided = state == TXN_ROLLED_BACK ? TXN_ROLLED_BACK : TXN_COMMITTED;

	return d->state == decided && d->origin >= ORIGIN_CLIENT && d->origin <= ORIGIN_PLAIN;
}

/* The row is decided: COUNT numbers, for a commit. */
static int
recover_decided(struct core *c, uint32_t index, const struct decision *d)
{
	struct row *row = core_row(c, index);
	uint16_t topic = row->txn.tag;
	int32_t partition = row->partition;

	if (d->state == TXN_COMMITTED && !(row->flags & ROW_PARTS)) {
		table_parts(&c->table, index, 1);
		table_part(&c->table, row->parts)->topic = topic;
		table_part(&c->table, row->parts)->partition = partition;
	}
	row->txn.state = (uint8_t)d->state;
	row->txn.due_ns = 0;
	row->origin = (unsigned)d->origin & 7;
	row->decided_ms = d->ms;
	set_order(c, row);
	if (d->origin == ORIGIN_PLAIN)
		row_set(row, ROW_PLAIN);
	return 0;
}

/* No message has number 0, and none comes near their end. */
static bool
is_number(uint64_t n)
{
	return n >= 1 && n < INT64_MAX;
}

static void
part_numbered(struct core *c, struct part_node *part, uint64_t n)
{
	struct lane *lane = lanes_at(&c->lanes, core_lane(c, part->topic, part->partition));

	part->n = n;
	lane->next_n =
		CANARY(RECOVERY_NOT_IDEMPOTENT) ? lane->next_n + 1 : max_u64(lane->next_n, n + 1);
}

static int
recover_decision(struct core *c, const struct entry_decision *e)
{
	uint32_t index = table_find(&c->table, e->seq);
	struct row *row;

	if (index == ROW_NONE || !row_undecided(core_row(c, index)))
		return 0;
	row = core_row(c, index);
	if (!is_decided(&e->decision, e->decision.state))
		return ERR_CORRUPT;
	if (e->count != (e->decision.state == TXN_COMMITTED ? row->count : 0))
		return ERR_CORRUPT;
	for (uint32_t i = 0; i < e->count; i++)
		if (!is_number(e->n[i]))
			return ERR_CORRUPT;
	recover_decided(c, index, &e->decision);
	for (uint32_t i = 0; i < e->count; i++)
		part_numbered(c, table_part_of(&c->table, row, i), e->n[i]);
	return 0;
}

static int
recover_copy(struct core *c, const struct entry_copy *e, struct place place)
{
	uint32_t index = table_find(&c->table, e->half.gid.lo);
	struct row *row;
	int err;

	if (index != ROW_NONE) {
		row = core_row(c, index);
		row->link = row->link_back = ROW_NONE;
		table_del(&c->table, index);
	}
	err = recover_row(c, &e->half, e->topics, place, &index);
	if (err)
		return err;
	row = core_row(c, index);
	row->txn.generation = e->generation;
	row->txn.checks = e->checks;
	if (e->state == TXN_PREPARED || e->state == TXN_PARKED) {
		row->txn.state = (uint8_t)e->state;
		set_due(row, e->since_ms, core_recovered_gap_ns(c, row));
		return 0;
	}
	if (!is_decided(&e->decision, e->state) ||
	    (e->decision.state == TXN_COMMITTED && !e->parts))
		return ERR_CORRUPT;
	recover_decided(c, index, &e->decision);
	row->txn.state = (uint8_t)e->state;
	for (uint32_t i = 0; e->decision.state == TXN_COMMITTED && i < row->count; i++) {
		struct part_node *part = table_part_of(&c->table, row, i);

		if (!is_number(e->parts[i].n))
			return ERR_CORRUPT;
		part_numbered(c, part, e->parts[i].n);
		part->state = (uint8_t)e->parts[i].state;
		part->again = e->parts[i].state == PART_RETRIED;
		part->code = e->parts[i].code;
	}
	return 0;
}

static int
recover_stub(struct core *c, const struct entry_stub *e, struct place place)
{
	uint32_t group;
	uint32_t index;
	struct row *row;

	if (!recovered_seq(c, e->gid) ||
	    (e->state != TXN_PUBLISHED && e->state != TXN_ROLLED_BACK && e->state != TXN_DISCARDED))
		return ERR_CORRUPT;
	/* Nothing of it is owed: that is why it became a stub. */
	index = table_find(&c->table, e->gid.lo);
	if (index != ROW_NONE) {
		row = core_row(c, index);
		row->link = row->link_back = ROW_NONE;
		table_del(&c->table, index);
	}
	group = recover_group(c, e->group);
	if (group == GROUP_NONE)
		return ERR_CORRUPT;
	index = table_add(&c->table, e->gid.lo);
	row = core_row(c, index);
	row->txn.state = (uint8_t)e->state;
	row->txn.generation = e->generation;
	row->check = e->check & ((UINT64_C(1) << 55) - 1);
	row->ms = gid_ms(e->gid) & ((UINT64_C(1) << 48) - 1);
	row->lsn = place.lsn;
	row->len = place.len;
	row->key_hash = e->key_hash;
	row->body = e->body_hash.lo & ((UINT64_C(1) << 44) - 1);
	row->group = group & ((1u << 20) - 1);
	row->origin = (unsigned)e->decision.origin & 7;
	row->decided_ms = e->decision.ms;
	row_set(row, ROW_STUB);
	set_order(c, row);
	if (e->decision.origin == ORIGIN_PLAIN)
		row_set(row, ROW_PLAIN);
	recover_key(c, index);
	return 0;
}

static void
recover_generation(struct core *c, const struct entry_generation *e)
{
	uint32_t index = table_find(&c->table, e->seq);
	struct row *row = index == ROW_NONE ? NULL : core_row(c, index);

	if (!row || !row_undecided(row))
		return;
	row->txn.state = TXN_PREPARED;
	row->txn.generation = (uint8_t)max_u64(row->txn.generation, e->generation);
	row->txn.checks = 0;
	set_due(row, e->ms, core_recovered_gap_ns(c, row));
}

static void
recover_checks(struct core *c, const struct entry_checks *e)
{
	uint32_t index = table_find(&c->table, e->seq);
	struct row *row = index == ROW_NONE ? NULL : core_row(c, index);

	if (!row || !row_undecided(row))
		return;
	row->txn.state = e->parked ? TXN_PARKED : TXN_PREPARED;
	row->txn.checks = e->checks;
	set_due(row, e->ms, core_recovered_gap_ns(c, row));
}

static void
recover_resumed(struct core *c, const struct entry_resumed *e)
{
	uint32_t index = table_find(&c->table, e->seq);
	struct row *row = index == ROW_NONE ? NULL : core_row(c, index);

	if (!row || !row_undecided(row))
		return;
	row->txn.state = TXN_PREPARED;
	row->txn.checks = 0;
	set_due(row, e->ms, 0);
}

static int
recover_refused(struct core *c, const struct entry_refused *e)
{
	uint32_t index = table_find(&c->table, e->seq);
	struct row *row = index == ROW_NONE ? NULL : core_row(c, index);
	struct part_node *part;

	if (!row || (row->flags & ROW_STUB))
		return 0;
	if (!(row->flags & ROW_PARTS) || e->index >= row->count || row->origin == 0)
		return ERR_CORRUPT;
	part = table_part_of(&c->table, row, e->index);
	part->state = PART_REFUSED;
	part->code = e->code;
	if (row->txn.state == TXN_COMMITTED)
		row->txn.state = TXN_UNDELIVERABLE;
	return 0;
}

static void
recover_retried(struct core *c, const struct entry_retried *e)
{
	uint32_t index = table_find(&c->table, e->seq);
	struct row *row = index == ROW_NONE ? NULL : core_row(c, index);

	if (!row || row->txn.state != TXN_UNDELIVERABLE)
		return;
	row->txn.state = TXN_COMMITTED;
	for (uint32_t p = row->parts; p != PART_NONE; p = table_part(&c->table, p)->next) {
		struct part_node *part = table_part(&c->table, p);

		if (part->state == PART_REFUSED) {
			part->state = PART_RETRIED;
			part->again = 1;
		}
	}
}

static void
recover_discarded(struct core *c, const struct entry_discarded *e)
{
	uint32_t index = table_find(&c->table, e->seq);

	if (index != ROW_NONE && core_row(c, index)->txn.state == TXN_UNDELIVERABLE)
		core_row(c, index)->txn.state = TXN_DISCARDED;
}

static int
recover_published(struct core *c, const struct entry_published *e)
{
	struct lane *lane;
	uint32_t number;

	if (e->topic >= c->topics.count || e->partition < 0 || e->low > INT64_MAX)
		return ERR_CORRUPT;
	number = core_lane(c, e->topic, e->partition);
	lane = lanes_at(&c->lanes, number);
	lane->low = max_u64(lane->low, e->low);
	lane->next_n = max_u64(lane->next_n, lane->low);
	for (uint32_t i = 0; i < e->done_count; i++) {
		if (!is_number(e->done[i]))
			return ERR_CORRUPT;
		if (c->done_count == c->done_cap) {
			c->done_cap = c->done_cap ? c->done_cap * 2 : 256;
			c->done = mem_grow(c->done, c->done_cap * sizeof(*c->done));
		}
		c->done[c->done_count++] = (struct done_n){ number, e->done[i] };
		lane->next_n = max_u64(lane->next_n, e->done[i] + 1);
	}
	return 0;
}

/* ---- audit records --------------------------------------------------------------------------- */

static void
recover_audit(struct core *c, const struct entry_audit *e, uint64_t lsn)
{
	if (e->number > c->audit_number) {
		c->audit_number = e->number;
		memcpy(c->audit_chain, e->chain, sizeof(c->audit_chain));
	}
	if (c->audits_count == c->audits_cap) {
		c->audits_cap = c->audits_cap ? c->audits_cap * 2 : 64;
		c->audits = mem_grow(c->audits, c->audits_cap * sizeof(*c->audits));
	}
	c->audits[c->audits_count++] = (struct audit_at){ e->number, lsn };
}

static int
by_audit_number(const void *a, const void *b)
{
	const struct audit_at *x = a;
	const struct audit_at *y = b;

	if (x->number != y->number)
		return x->number < y->number ? -1 : 1;
	return x->lsn < y->lsn ? -1 : x->lsn > y->lsn;
}

static int
by_audit_lsn(const void *a, const void *b)
{
	const struct audit_at *x = a;
	const struct audit_at *y = b;

	return x->lsn < y->lsn ? -1 : x->lsn > y->lsn;
}

/*
 * No row tells where an audit record lies now.  Were all of them copied by each reclaim that a
 * crash cuts short, they would double each time, and for the whole of audit.retention.
 */
void
core_audits_sort(struct core *c)
{
	size_t kept = 0;

	if (c->audits_count)
		qsort(c->audits, c->audits_count, sizeof(*c->audits), by_audit_number);
	for (size_t i = 0; i + 1 < c->audits_count; i++)
		if (c->audits[i].number == c->audits[i + 1].number)
			c->audits[kept++] = c->audits[i];
	c->audits_count = kept;
	if (kept) {
		qsort(c->audits, kept, sizeof(*c->audits), by_audit_lsn);
		return;
	}
	mem_free(c->audits);
	c->audits = NULL;
	c->audits_cap = 0;
}

bool
core_audit_copied(const struct core *c, uint64_t lsn)
{
	struct audit_at key = { 0, lsn };

	return c->audits_count &&
	       bsearch(&key, c->audits, c->audits_count, sizeof(key), by_audit_lsn) != NULL;
}

static void
recover_cluster(struct core *c, struct str id)
{
	if (id.n == 0 || id.n > sizeof(c->cluster))
		return;
	memcpy(c->cluster, id.p, id.n);
	c->cluster_len = (uint32_t)id.n;
}

static int
recover_state(struct core *c, const struct entry_state *e)
{
	/* Or the next gid would be an old one. */
	if (e->next_seq > (uint64_t)INT64_MAX + 1 || e->last_ms > GID_MS_MAX)
		return ERR_CORRUPT;
	memcpy(c->journal_id, e->journal_id, sizeof(c->journal_id));
	c->secret = (struct hash_secret){ e->secret[0], e->secret[1] };
	c->conf.shard = c->table.shard = e->shard; /* the gids have it */
	c->next_seq = max_u64(c->next_seq, e->next_seq);
	c->last_ms = max_u64(c->last_ms, e->last_ms);
	recover_cluster(c, e->cluster);
	if (e->audit_number >= c->audit_number) {
		c->audit_number = e->audit_number;
		memcpy(c->audit_chain, e->audit_chain, sizeof(c->audit_chain));
	}
	for (uint32_t i = 0; i < e->topic_count; i++) {
		const struct entry_topic *t = &e->topics[i];

		if (topics_set(&c->topics, t->number, t->name, t->partitions, t->max_bytes) < 0)
			return ERR_CORRUPT;
	}
	for (uint32_t i = 0; i < e->lane_count; i++) {
		const struct lane_state *s = &e->lanes[i];
		struct lane *lane;

		if (s->topic >= c->topics.count || s->partition < 0 || s->low > s->next_n ||
		    s->next_n > INT64_MAX)
			return ERR_CORRUPT;
		lane = lanes_at(&c->lanes, core_lane(c, s->topic, s->partition));
		lane->next_n = max_u64(lane->next_n, s->next_n);
		lane->low = max_u64(lane->low, s->low);
	}
	return 0;
}

int
core_recover(struct core *c, const struct entry *e, struct place place)
{
	CHECK(!c->started, place.lsn);
	switch (e->type) {
	case ENTRY_STATE:
		return recover_state(c, &e->state);
	case ENTRY_HALF:
		return recover_half(c, &e->half, place);
	case ENTRY_DECISION:
		return recover_decision(c, &e->decision);
	case ENTRY_GENERATION:
		recover_generation(c, &e->generation);
		return 0;
	case ENTRY_CHECKS:
		recover_checks(c, &e->checks);
		return 0;
	case ENTRY_RESUMED:
		recover_resumed(c, &e->resumed);
		return 0;
	case ENTRY_PUBLISHED:
		return recover_published(c, &e->published);
	case ENTRY_REFUSED:
		return recover_refused(c, &e->refused);
	case ENTRY_RETRIED:
		recover_retried(c, &e->retried);
		return 0;
	case ENTRY_DISCARDED:
		recover_discarded(c, &e->discarded);
		return 0;
	case ENTRY_TOPIC:
		return topics_set(&c->topics, e->topic.number, e->topic.name, e->topic.partitions,
				  e->topic.max_bytes) < 0
			       ? ERR_CORRUPT
			       : 0;
	case ENTRY_STUB:
		return recover_stub(c, &e->stub, place);
	case ENTRY_COPY:
		return recover_copy(c, &e->copy, place);
	case ENTRY_AUDIT:
		recover_audit(c, &e->audit, place.lsn);
		return 0;
	case ENTRY_OLDEST:
		return 0;
	case ENTRY_CLUSTER:
		recover_cluster(c, e->cluster.id);
		return 0;
	}
	return ERR_CORRUPT;
}

void
core_state(struct core *c, struct entry_state *ret_state)
{
	c->state_topics =
		mem_grow(c->state_topics, (c->topics.count + 1) * sizeof(*c->state_topics));
	for (uint32_t i = 0; i < c->topics.count; i++) {
		const struct topic *t = &c->topics.topics[i];

		c->state_topics[i] =
			(struct entry_topic){ i, t->name, t->partitions, t->max_bytes };
	}
	c->state_lanes = mem_grow(c->state_lanes, (c->lanes.count + 1) * sizeof(*c->state_lanes));
	for (uint32_t i = 0; i < c->lanes.count; i++) {
		const struct lane *lane = lanes_at(&c->lanes, i);

		c->state_lanes[i] = (struct lane_state){ lane->topic, lane->partition, lane->next_n,
							 lane->low };
	}
	memcpy(ret_state->journal_id, c->journal_id, sizeof(c->journal_id));
	ret_state->secret[0] = c->secret.k0;
	ret_state->secret[1] = c->secret.k1;
	ret_state->shard = c->conf.shard;
	ret_state->next_seq = c->next_seq;
	ret_state->last_ms = c->last_ms;
	ret_state->audit_number = c->audit_number;
	memcpy(ret_state->audit_chain, c->audit_chain, sizeof(c->audit_chain));
	ret_state->cluster = str_from(c->cluster, c->cluster_len);
	ret_state->topic_count = c->topics.count;
	ret_state->topics = c->state_topics;
	ret_state->lane_count = c->lanes.count;
	ret_state->lanes = c->state_lanes;
}
