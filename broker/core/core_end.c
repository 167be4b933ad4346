/*
 * core_end.c -- commit, rollback, unknown: who may decide, and what a decision does.
 */
#include "base/canary.h"
#include "core/core_internal.h"

static void
answer_row(struct core *c, struct reply_to to, const struct row *row, enum answer_code code,
	   const char *why)
{
	struct answer a = core_answer_of(c, row, code);

	a.why = why;
	core_answer(c, to, &a);
}

/*
 * The numbers of the messages: fixed now, in the order of the journal, and never changed.  They are
 * used up only by numbers_used(), once the record is appended: the append may open a segment,
 * whose state record must not count a number of which a crash leaves no other trace.
 */
static uint32_t
number_parts(struct core *c, uint32_t index, uint64_t *ret_n)
{
	struct row *row = core_row(c, index);
	int32_t partition = row->partition;
	uint32_t i = 0;

	if (!(row->flags & ROW_PARTS)) {
		table_parts(&c->table, index, 1);
		table_part(&c->table, row->parts)->topic = row->txn.tag;
		table_part(&c->table, row->parts)->partition = partition;
	}
	for (uint32_t p = row->parts; p != PART_NONE; p = table_part(&c->table, p)->next) {
		struct part_node *part = table_part(&c->table, p);
		uint32_t lane = core_lane(c, part->topic, part->partition);

		part->n = lanes_at(&c->lanes, lane)->next_n++;
		part->state = PART_OWED;
		ret_n[i++] = part->n;
	}
	CHECK(i == row->count, row->txn.seq);
	if (CANARY(NUMBER_BEFORE_APPEND))
		return i;
	for (uint32_t p = row->parts; p != PART_NONE; p = table_part(&c->table, p)->next) {
		const struct part_node *part = table_part(&c->table, p);

		lanes_at(&c->lanes, core_lane(c, part->topic, part->partition))->next_n--;
	}
	return i;
}

static void
numbers_used(struct core *c, const struct row *row)
{
	for (uint32_t p = row->parts; p != PART_NONE; p = table_part(&c->table, p)->next) {
		const struct part_node *part = table_part(&c->table, p);

		lanes_at(&c->lanes, core_lane(c, part->topic, part->partition))->next_n++;
	}
}

void
core_decision(struct core *c, uint32_t index, const struct txn_step *step, const struct decision *d,
	      enum txn_event ev, struct reply_to to)
{
	struct row *row = core_row(c, index);
	struct entry e = { .type = ENTRY_DECISION };
	struct pending p = {
		.to = to,
		.next = step->next,
		.began_ns = c->now_ns,
		.value = d->ms,
		.row = index,
		.kind = PENDING_DECISION,
		.event = (uint8_t)ev,
		.origin = (uint8_t)d->origin,
	};

	CHECK(step->verdict == TXN_OK && !(row->flags & ROW_PENDING), row->txn.seq);
	e.decision.seq = row->txn.seq;
	e.decision.decision = *d;
	e.decision.messages = (uint32_t)row->count;
	if (ev == TXN_COMMIT) {
		e.decision.n = core_n_scratch(c, row->count);
		e.decision.count = number_parts(c, index, c->n_scratch);
	}
	row_set(row, ROW_PENDING);
	core_pend(c, &p, core_append(c, &e));
	if (ev == TXN_COMMIT && !CANARY(NUMBER_BEFORE_APPEND))
		numbers_used(c, row);
	if (CANARY(PUBLISH_BEFORE_DURABLE) && ev == TXN_COMMIT)
		core_push(c, index);
}

void
core_decision_durable(struct core *c, const struct pending *p)
{
	struct row *row = core_row(c, p->row);
	struct txn_step step = { TXN_OK, TXN_NOTHING, p->next };

	core_untime(c, p->row);
	groups_answered(&c->groups, row->txn.seq); /* whoever is still asked need not answer */
	row->origin = (unsigned)p->origin & 7;
	row->decided_ms = p->value;
	core_undecided(c, p->row, false);
	c->stats.decisions[p->event == TXN_COMMIT ? 0 : 1][p->origin]++;
	core_apply(c, p->row, &step, (enum txn_event)p->event);
	core_settled(c, p->row);
	if (p->event == TXN_ROLLBACK)
		core_final(c, p->row);
	else if (!CANARY(PUBLISH_BEFORE_DURABLE))
		core_push(c, p->row);
	answer_row(c, p->to, row, ANSWER_OK, NULL);
}

/* The answer to a check, or the producer's own word; false: it counts as unknown. */
static bool
note_answer(struct core *c, const struct end_request *r, const struct row *row)
{
	bool stale = (uint8_t)r->token != row->txn.generation && !CANARY(OLD_GENERATION_ANSWER);
	enum verdict verdict = stale ? VERDICT_UNKNOWN : r->verdict;
	struct note note = {
		.kind = NOTE_CHECK_ANSWERED,
		.gid = table_gid(&c->table, row),
		.peer = r->peer,
		.lasted_ns = -1,
		.text = r->remark,
	};

	switch (verdict) {
	case VERDICT_UNKNOWN:
		note.value = 0;
		break;
	case VERDICT_COMMIT:
		note.value = TXN_COMMIT;
		break;
	case VERDICT_ROLLBACK:
		note.value = TXN_ROLLBACK;
		break;
	}
	c->stats.check_answers[verdict]++;
	groups_answered(&c->groups, r->seq);
	core_note(c, &note);
	if (!stale)
		return true;
	c->stats.stale_answers++;
	answer_row(c, r->to, row, ANSWER_STALE,
		   "the answer is to a check of an older generation: it counts as unknown");
	return false;
}

static void
contradiction(struct core *c, const struct end_request *r, const struct row *row)
{
	c->stats.contradictions++;
	core_note(c, &(struct note){
			     .kind = NOTE_CONTRADICTION,
			     .gid = table_gid(&c->table, row),
			     .event = r->verdict == VERDICT_COMMIT ? TXN_COMMIT : TXN_ROLLBACK,
			     .peer = r->peer,
			     .lasted_ns = -1,
			     .text = r->from,
		     });
	answer_row(c, r->to, row, ANSWER_DECIDED, "it is decided, and not like this");
}

struct wait
core_do_end(struct core *c, const struct end_request *r)
{
	uint32_t index = table_find(&c->table, r->seq);
	struct decision d = {
		.origin = r->from_check ? ORIGIN_CHECK : ORIGIN_CLIENT,
		.ms = c->wall_ms,
		.who = r->from,
	};
	const struct row *row;
	struct txn_step step;
	enum txn_event ev;

	if (index == ROW_NONE) {
		core_answer(c, r->to, &(struct answer){ .code = ANSWER_NOT_FOUND });
		return DONE;
	}
	row = core_row(c, index);
	if (r->token >> 8 != row->check) {
		core_answer(c, r->to, &(struct answer){ .code = ANSWER_WRONG_TOKEN });
		return DONE;
	}
	if (!CANARY(GROUP_NOT_CHECKED) && !str_eq(r->group, groups_name(&c->groups, row->group))) {
		core_answer(c, r->to, &(struct answer){ .code = ANSWER_WRONG_GROUP });
		return DONE;
	}
	if (!CANARY(DECIDE_WHILE_PENDING) && (row->flags & (ROW_HALFWAY | ROW_PENDING)))
		return (struct wait){ WAIT_ROW, r->seq, STR_NONE };
	if (r->from_check && !note_answer(c, r, row))
		return DONE;
	if (r->verdict == VERDICT_UNKNOWN) {
		answer_row(c, r->to, row, ANSWER_OK, NULL);
		return DONE;
	}
	ev = r->verdict == VERDICT_COMMIT ? TXN_COMMIT : TXN_ROLLBACK;
	d.state = ev == TXN_COMMIT ? TXN_COMMITTED : TXN_ROLLED_BACK;
	step = txn_step(&row->txn, ev, c->now_ns, &c->conf.policy);
	switch (step.verdict) {
	case TXN_OK:
		core_decision(c, index, &step, &d, ev, r->to);
		return DONE;
	case TXN_DUPLICATE:
		answer_row(c, r->to, row, ANSWER_OK, NULL);
		return DONE;
	case TXN_CONFLICT:
		contradiction(c, r, row);
		return DONE;
	case TXN_LAZY:
		break;
	}
	check_failed("a decision is waited for", __FILE__, __LINE__, r->seq);
}
