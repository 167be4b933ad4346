/*
 * core_reclaim.c -- what of a dying segment is still needed is appended again.
 *
 * Segments go strictly oldest first, and what is appended here is durable before the segment is
 * given up.  Two things make that enough:
 *
 *   1. A copy says what the *log* says up to the place where it is appended, not what memory says.
 *      A decision that is journaled and not yet durable lies before the copy; a copy that
 *      still said "undecided" would win over it at recovery, because a record about a
 *      transaction that is not known (its half is gone) is ignored, and the copy comes after.
 *      So the steps pending on the row are put into the copy.  Should the end of the log be torn
 *      off, then it is torn before the copy or behind it: never the decision without the copy.
 *
 *   2. Nothing but halves, copies, stubs and audit records is ever copied.  Every other record is
 *      about a half that lies before it, in the same segment or an older one.  When that half was
 *      reclaimed it was copied with all that memory and (1) knew of it, this record included; or it
 *      was forgotten, and then so is this record.  What lanes have reached and the catalogue are in
 *      the state record at the head of every segment.
 *
 * A message counts as published only when that is durable: below a watermark that is, or in the
 * dying copy itself.  The in-memory truth (Kafka has it) goes into the copy, so a message is not
 * published again because its segment was reclaimed, and next time the copy is the proof.  That
 * dies with the copy, so the watermark has to have passed by then, and is journaled right here if
 * its mark was dropped on a full disk: or recovery would miss a number that nobody owes.
 */
#include "core/core_internal.h"

/* The row as the log has it: with the steps that are journaled and not durable. */
struct journaled {
	struct txn txn;
	enum origin origin;
	uint64_t decided_ms;
	struct part parts[LIMIT_MESSAGES];
	bool has_parts;
	bool pending;
};

static void
journaled_parts(const struct core *c, const struct row *row, struct journaled *j)
{
	uint32_t i = 0;

	j->has_parts = row->flags & ROW_PARTS;
	for (uint32_t p = j->has_parts ? row->parts : PART_NONE; p != PART_NONE; i++) {
		const struct part_node *part = table_part(&c->table, p);

		CHECK(i < LIMIT_MESSAGES, row->txn.seq);
		j->parts[i] = (struct part){ part->topic, part->partition, part->n,
					     (enum part_state)part->state, part->code };
		p = part->next;
	}
}

static void
journaled_step(const struct row *row, const struct pending *p, struct journaled *j)
{
	j->pending = true;
	switch ((enum pending_kind)p->kind) {
	case PENDING_HALF:
	case PENDING_GENERATION:
		j->txn = p->next;
		return;
	case PENDING_DECISION:
		j->txn = p->next;
		j->origin = (enum origin)p->origin;
		j->decided_ms = p->value;
		return;
	case PENDING_REFUSED:
		j->parts[p->index].state = PART_REFUSED;
		j->parts[p->index].code = p->code;
		if (j->txn.state == TXN_COMMITTED)
			j->txn.state = TXN_UNDELIVERABLE;
		return;
	case PENDING_OPERATION:
		if (p->verb == VERB_CHECK)
			return;
		j->txn = p->next;
		for (uint32_t i = 0; p->verb == VERB_RETRY && i < row->count; i++)
			if (j->parts[i].state == PART_REFUSED)
				j->parts[i].state = PART_RETRIED;
		return;
	case PENDING_MARK:
		return;
	}
}

static void
journaled(const struct core *c, uint32_t index, struct journaled *j)
{
	const struct row *row = core_row(c, index);

	j->txn = row->txn;
	j->origin = (enum origin)row->origin;
	j->decided_ms = row->origin ? row->decided_ms : 0;
	j->pending = false;
	journaled_parts(c, row, j);
	for (uint64_t i = c->pending_first; i < c->pending_end; i++) {
		const struct pending *p = &c->pending[i & (c->pending_cap - 1)];

		if (p->row == index && p->kind != PENDING_MARK && !CANARY(COPY_SAYS_MEMORY))
			journaled_step(row, p, j);
	}
}

/* When the present gap began, so that a restart finds the same due time. */
static uint64_t
since_ms(const struct core *c, const struct txn *t, const struct half *h)
{
	int64_t gap_ns =
		h->immunity_ms ? (int64_t)h->immunity_ms * NS_PER_MS : c->conf.policy.immunity_ns;
	int64_t since;

	if (t->state == TXN_PARKED)
		gap_ns = c->conf.policy.parked_ns;
	else if (t->checks)
		gap_ns = txn_check_gap_ns(&c->conf.policy, t->checks);
	since = (int64_t)c->wall_ms + (t->due_ns - c->now_ns - gap_ns) / NS_PER_MS;
	return since > 0 ? (uint64_t)since : 0;
}

static void
copy_forward(struct core *c, uint32_t index, const struct half *half, const uint32_t *topics,
	     const struct journaled *j, struct str who)
{
	struct row *row = core_row(c, index);
	bool undecided = j->txn.state == TXN_PREPARED || j->txn.state == TXN_PARKED;
	bool committed = !undecided && j->txn.state != TXN_ROLLED_BACK;
	struct entry e = {
		.type = ENTRY_COPY,
		.copy = {
			.half = *half,
			.topics = topics,
			.state = (enum txn_state)j->txn.state,
			.generation = j->txn.generation,
			.checks = j->txn.checks,
			.since_ms = undecided ? since_ms(c, &j->txn, half) : j->decided_ms,
			.parts = committed ? j->parts : NULL,
		},
	};

	CHECK(!committed || j->has_parts, row->txn.seq);
	if (!undecided)
		e.copy.decision = (struct decision){
			.state = committed ? TXN_COMMITTED : TXN_ROLLED_BACK,
			.origin = j->origin,
			.ms = j->decided_ms,
			.who = who,
		};
	core_placed(c, index, core_append(c, &e));
}

/* Everything of it is in Kafka, and no crash can make us forget that.  OLD: the dying copy. */
static bool
durably_published(const struct core *c, const struct row *row, const struct entry_copy *old)
{
	uint32_t i = 0;

	CHECK(row->flags & ROW_PARTS, row->txn.seq);
	if (CANARY(FREE_ON_MEMORY_MARK))
		return true;
	for (uint32_t p = row->parts; p != PART_NONE; p = table_part(&c->table, p)->next, i++) {
		const struct part_node *part = table_part(&c->table, p);
		uint32_t lane = topics_lane(&c->topics, part->topic, part->partition);
		bool proof = old && old->parts && old->parts[i].state == PART_PUBLISHED;

		if (!proof && (part->again || part->n >= lanes_at(&c->lanes, lane)->durable_low))
			return false;
	}
	return true;
}

/* Once it is forgotten only the watermark tells of its numbers. */
static void
mark_passed(struct core *c, const struct row *row)
{
	uint32_t p = row->flags & ROW_PARTS ? row->parts : PART_NONE;

	for (; p != PART_NONE; p = table_part(&c->table, p)->next) {
		const struct part_node *part = table_part(&c->table, p);
		uint32_t lane = topics_lane(&c->topics, part->topic, part->partition);

		if (!part->again && part->n && part->n >= lanes_at(&c->lanes, lane)->marked_low)
			core_mark_low(c, lane);
	}
}

static void
stub_forward(struct core *c, uint32_t index, struct entry_stub *stub)
{
	struct row *row = core_row(c, index);
	struct entry e = { .type = ENTRY_STUB };

	stub->gid = table_gid(&c->table, row);
	stub->check = row->check;
	stub->generation = row->txn.generation;
	stub->state = (enum txn_state)row->txn.state;
	stub->decision.state = row->txn.state == TXN_ROLLED_BACK ? TXN_ROLLED_BACK : TXN_COMMITTED;
	stub->decision.origin = (enum origin)row->origin;
	stub->decision.ms = row->decided_ms;
	stub->key_hash = row->key_hash;
	e.stub = *stub;
	core_placed(c, index, core_append(c, &e));
	row_set(row, ROW_STUB);
}

static void
reclaim_half(struct core *c, const struct half *half, const uint32_t *topics,
	     const struct entry_copy *old, struct place place)
{
	uint32_t index = table_find(&c->table, half->gid.lo);
	struct str who = old ? old->decision.who : STR_NONE;
	struct journaled j UNINITIALIZED;
	struct entry_stub stub = {
		.decision.who = who,
		.arrived_ms = half->arrived_ms,
		.group = half->group,
		.key = half->key,
		.body_hash = half->body_hash,
	};
	struct row *row;
	bool final;

	if (index == ROW_NONE || core_row(c, index)->lsn != place.lsn)
		return; /* forgotten, or copied before */
	row = core_row(c, index);
	final = (row->flags & ROW_FINAL) && core_passed(c, row, false);
	if (final && (row->txn.state != TXN_PUBLISHED || durably_published(c, row, old))) {
		mark_passed(c, row);
		if (core_in_window(c, row))
			stub_forward(c, index, &stub);
		else
			core_forget(c, index);
		return;
	}
	journaled(c, index, &j);
	copy_forward(c, index, half, topics, &j, who);
}

/* A segment has its halves nearly in order: the rows that come next are likely these. */
static void
prefetch_behind(const struct core *c, uint64_t seq)
{
	table_prefetch_row(&c->table, seq + 8);
}

void
core_reclaim(struct core *c, const struct entry *e, struct place place)
{
	switch (e->type) {
	case ENTRY_HALF:
		prefetch_behind(c, e->half.half.gid.lo);
		reclaim_half(c, &e->half.half, e->half.topics, NULL, place);
		return;
	case ENTRY_COPY:
		reclaim_half(c, &e->copy.half, e->copy.topics, &e->copy, place);
		return;
	case ENTRY_AUDIT:
		if (e->audit.ms + c->conf.audit_retention_ms > c->wall_ms &&
		    !core_audit_copied(c, place.lsn))
			(void)core_append(c, e);
		return;
	case ENTRY_STUB:  /* core_reclaim_stub() */
	case ENTRY_STATE: /* these are not asked about: see (2) above */
	case ENTRY_DECISION:
	case ENTRY_GENERATION:
	case ENTRY_CHECKS:
	case ENTRY_RESUMED:
	case ENTRY_PUBLISHED:
	case ENTRY_REFUSED:
	case ENTRY_RETRIED:
	case ENTRY_DISCARDED:
	case ENTRY_TOPIC:
	case ENTRY_OLDEST:
	case ENTRY_CLUSTER:
		return;
	}
}

bool
core_reclaim_stub(struct core *c, uint64_t seq, struct place place)
{
	uint32_t index = table_find(&c->table, seq);

	prefetch_behind(c, seq);
	if (index == ROW_NONE || core_row(c, index)->lsn != place.lsn)
		return false;
	CHECK(core_row(c, index)->flags & ROW_FINAL, seq);
	if (core_in_window(c, core_row(c, index)))
		return true;
	core_forget(c, index);
	return false;
}

void
core_moved(struct core *c, uint64_t seq, struct place place)
{
	core_placed(c, table_find(&c->table, seq), place);
}
