/*
 * core_operate.c -- what people may do to one transaction.
 *
 * Each change is journaled with who and why right before the record of its effect, in the
 * same group: neither is ever durable without the other.
 */
#include "core/core_internal.h"

const char *
verb_name(enum verb verb)
{
	switch (verb) {
	case VERB_COMMIT:
		return "commit";
	case VERB_ROLLBACK:
		return "rollback";
	case VERB_CHECK:
		return "check";
	case VERB_RESUME:
		return "resume";
	case VERB_RETRY:
		return "retry";
	case VERB_DISCARD:
		return "discard";
	}
	return "none";
}

/* ---- audit ----------------------------------------------------------------------------------- */

static void
chain_str(struct buf *b, struct str s)
{
	buf_le32(b, (uint32_t)s.n);
	buf_str(b, s);
}

static void
chain_of(struct core *c, const struct entry_audit *a, const uint8_t before[16],
	 uint8_t ret_chain[16])
{
	struct buf *b = &c->audit_buf;
	struct hash128 hash;

	buf_reset(b, 4096);
	buf_add(b, before, 16);
	buf_le64(b, a->gid.hi);
	buf_le64(b, a->gid.lo);
	buf_le64(b, a->ms);
	buf_le64(b, a->number);
	chain_str(b, a->verb);
	chain_str(b, a->who);
	chain_str(b, a->reason);
	chain_str(b, a->outcome);
	hash = hash_body(b->data, b->len, 0);
	memcpy(ret_chain, &hash.lo, 8);
	memcpy(ret_chain + 8, &hash.hi, 8);
}

static struct place
audit(struct core *c, const struct operation *op, const char *outcome)
{
	struct entry e = {
		.type = ENTRY_AUDIT,
		.audit = {
			.gid = op->gid,
			.ms = c->wall_ms,
			.number = c->audit_number + 1,
			.verb = str_of(verb_name(op->verb)),
			.who = op->who,
			.reason = op->reason,
			.outcome = str_of(outcome),
		},
	};

	chain_of(c, &e.audit, c->audit_chain, e.audit.chain);
	memcpy(c->audit_chain, e.audit.chain, sizeof(c->audit_chain));
	c->audit_number++;
	return core_append(c, &e);
}

/* ---- verbs ----------------------------------------------------------------------------------- */

static void
tell(struct core *c, const struct operation *op, uint32_t index, enum answer_code code,
     const char *why)
{
	struct answer a = { .code = code };

	if (index != ROW_NONE)
		a = core_answer_of(c, core_row(c, index), code);
	a.why = why;
	core_answer(c, op->to, &a);
}

static void
operate_decide(struct core *c, const struct operation *op, uint32_t index)
{
	const struct row *row = core_row(c, index);
	enum txn_event ev = op->verb == VERB_COMMIT ? TXN_COMMIT : TXN_ROLLBACK;
	struct txn_step step = txn_step(&row->txn, ev, c->now_ns, &c->conf.policy);
	struct decision d = {
		.state = (enum txn_state)step.next.state,
		.origin = ORIGIN_OPERATOR,
		.ms = c->wall_ms,
		.who = op->who,
	};

	switch (step.verdict) {
	case TXN_OK:
		(void)audit(c, op, txn_state_name(d.state));
		core_decision(c, index, &step, &d, ev, op->to);
		return;
	case TXN_DUPLICATE:
		tell(c, op, index, ANSWER_OK, NULL);
		return;
	case TXN_CONFLICT:
		c->stats.contradictions++;
		tell(c, op, index, ANSWER_DECIDED, "it is decided, and not like this");
		return;
	case TXN_LAZY:
		break;
	}
	check_failed("a decision is waited for", __FILE__, __LINE__, row->txn.seq);
}

/* Nothing of it may still be on its way: it would be published after it was given up. */
static bool
all_settled(const struct core *c, const struct row *row)
{
	for (uint32_t p = row->parts; p != PART_NONE; p = table_part(&c->table, p)->next) {
		uint8_t state = table_part(&c->table, p)->state;

		if (state != PART_PUBLISHED && state != PART_REFUSED)
			return false;
	}
	return true;
}

static void
effect_entry(const struct core *c, const struct row *row, enum txn_event ev,
	     struct entry *ret_entry)
{
	switch (ev) {
	case TXN_RESUME:
		ret_entry->type = ENTRY_RESUMED;
		ret_entry->resumed = (struct entry_resumed){ row->txn.seq, c->wall_ms };
		return;
	case TXN_RETRY:
		ret_entry->type = ENTRY_RETRIED;
		ret_entry->retried = (struct entry_retried){ row->txn.seq, c->wall_ms };
		return;
	case TXN_DISCARD:
		ret_entry->type = ENTRY_DISCARDED;
		ret_entry->discarded = (struct entry_discarded){ row->txn.seq, c->wall_ms };
		return;
	case TXN_HALF_SEND:
	case TXN_COMMIT:
	case TXN_ROLLBACK:
	case TXN_TIMER:
	case TXN_CHECKED:
	case TXN_ACKED:
	case TXN_REFUSED:
		break;
	}
	check_failed("an operator's event", __FILE__, __LINE__, row->txn.seq);
}

static void
operate_step(struct core *c, const struct operation *op, uint32_t index, enum txn_event ev)
{
	struct row *row = core_row(c, index);
	struct txn_step step = txn_step(&row->txn, ev, c->now_ns, &c->conf.policy);
	struct pending p = {
		.to = op->to,
		.next = step.next,
		.began_ns = c->now_ns,
		.row = index,
		.kind = PENDING_OPERATION,
		.event = (uint8_t)ev,
		.verb = (uint8_t)op->verb,
	};
	struct entry e = { 0 };

	switch (step.verdict) {
	case TXN_OK:
		break;
	case TXN_DUPLICATE:
		tell(c, op, index, ANSWER_OK, NULL);
		return;
	case TXN_CONFLICT:
		tell(c, op, index, ANSWER_STATE, "not possible in the state that it is in");
		return;
	case TXN_LAZY:
		check_failed("an operator's step is waited for", __FILE__, __LINE__, row->txn.seq);
	}
	if (ev == TXN_DISCARD && !all_settled(c, row)) {
		tell(c, op, index, ANSWER_STATE, "another of its messages is not settled");
		return;
	}
	if (!CANARY(AUDIT_AFTER_EFFECT))
		(void)audit(c, op, txn_state_name((enum txn_state)step.next.state));
	effect_entry(c, row, ev, &e);
	row_set(row, ROW_PENDING);
	core_pend(c, &p, core_append(c, &e));
	if (CANARY(AUDIT_AFTER_EFFECT))
		(void)audit(c, op, txn_state_name((enum txn_state)step.next.state));
}

static void
operate_check(struct core *c, const struct operation *op, uint32_t index)
{
	struct row *row = core_row(c, index);
	struct pending p = {
		.to = op->to,
		.next = row->txn,
		.began_ns = c->now_ns,
		.row = index,
		.kind = PENDING_OPERATION,
		.event = TXN_TIMER,
		.verb = VERB_CHECK,
	};

	if (!row_undecided(row)) {
		tell(c, op, index, ANSWER_STATE, "it is decided");
		return;
	}
	row_set(row, ROW_PENDING);
	core_pend(c, &p, audit(c, op, txn_state_name((enum txn_state)row->txn.state)));
}

struct wait
core_do_operation(struct core *c, const struct operation *op)
{
	uint32_t index = table_find(&c->table, op->gid.lo);
	const struct row *row = index == ROW_NONE ? NULL : core_row(c, index);

	if (op->reason.n == 0 || op->reason.n > LIMIT_REASON_BYTES) {
		tell(c, op, ROW_NONE, ANSWER_REFUSED, "a reason of 1 to 1024 bytes is required");
		return DONE;
	}
	if (!row || !gid_eq(op->gid, table_gid(&c->table, row))) {
		tell(c, op, ROW_NONE, ANSWER_NOT_FOUND, NULL);
		return DONE;
	}
	if (row->flags & (ROW_HALFWAY | ROW_PENDING))
		return (struct wait){ WAIT_ROW, op->gid.lo, STR_NONE };
	if (op->has_etag && op->etag != core_etag(c, row)) {
		tell(c, op, index, ANSWER_MOVED, "it changed since it was looked at");
		return DONE;
	}
	switch (op->verb) {
	case VERB_COMMIT:
	case VERB_ROLLBACK:
		operate_decide(c, op, index);
		return DONE;
	case VERB_CHECK:
		operate_check(c, op, index);
		return DONE;
	case VERB_RESUME:
		operate_step(c, op, index, TXN_RESUME);
		return DONE;
	case VERB_RETRY:
		operate_step(c, op, index, TXN_RETRY);
		return DONE;
	case VERB_DISCARD:
		operate_step(c, op, index, TXN_DISCARD);
		return DONE;
	}
	check_failed("a verb of enum verb", __FILE__, __LINE__, op->gid.lo);
}

/* ---- effects --------------------------------------------------------------------------------- */

static void
retry_parts(struct core *c, uint32_t index)
{
	const struct row *row = core_row(c, index);
	struct lane_item item = { .row = index, .again = true };

	for (uint32_t p = row->parts; p != PART_NONE; p = table_part(&c->table, p)->next) {
		struct part_node *part = table_part(&c->table, p);

		if (part->state == PART_REFUSED) {
			part->state = PART_RETRIED;
			part->again = 1;
			item.n = part->n;
			lanes_push(&c->lanes, core_lane(c, part->topic, part->partition), &item);
		}
		item.index++;
	}
}

void
core_operation_durable(struct core *c, const struct pending *p)
{
	struct txn_step step = { TXN_OK, TXN_NOTHING, p->next };
	enum verb verb = (enum verb)p->verb;

	if (verb == VERB_CHECK || verb == VERB_RESUME) {
		core_untime(c, p->row);
		if (verb == VERB_CHECK) { /* due now, whatever the timer said */
			groups_overdue(&c->groups, p->row);
		} else {
			core_apply(c, p->row, &step, TXN_RESUME);
			core_time(c, p->row);
		}
	} else {
		core_apply(c, p->row, &step, (enum txn_event)p->event);
		if (verb == VERB_RETRY)
			retry_parts(c, p->row);
		else
			core_final(c, p->row);
	}
	core_settled(c, p->row);
	tell(c, &(struct operation){ .to = p->to }, p->row, ANSWER_OK, NULL);
}
