/*
 * operators.c -- see operators.h.
 */
#include "sim/operators.h"

#include <inttypes.h>

#include "base/hash.h"
#include "base/log.h"
#include "sim/reader.h"
#include "sim/schedule.h"
#include "world/loop.h"

#define REASON "order "

/* Nothing is known of the record before: this is the oldest that is left. */
#define SEQ_RECYCLED UINT64_MAX

enum fate { FATE_OPEN, FATE_OK, FATE_REFUSED, FATE_UNKNOWN };

struct order {
	struct operation op; /* its strings are made anew from the number */
	enum fate fate;
	bool valid;      /* it has a reason that is acceptable                            */
	bool apt;        /* it fitted the state when it was given */
	bool certain;    /* OK can only mean that it changed something                      */
	uint64_t number; /* of the audit record; 0: none seen                           */
};

struct audit {
	uint64_t number;
	uint8_t chain[16];
	uint64_t content; /* hash of all else */
	uint32_t walk;    /* in which it was last met, */
	uint32_t times;   /* and how often */
};

struct operators {
	struct oracle *oracle;
	struct disk_sim *disk;
	struct schedule *schedule;
	struct rng_sim rng;
	struct order *orders;
	uint32_t order_count, order_room;
	uint32_t given;       /* orders the core has been given */
	struct audit *audits; /* of the last walk, by number */
	uint32_t audit_count, audit_room;
	uint32_t walks;
	uint64_t last_seq; /* of the record before, when it was an audit record; 0: not */
	int last_verb;
	bool blind;
	struct operators_counts counts;
};

struct operators *
operators_new(struct oracle *oracle, struct disk_sim *disk, uint64_t seed)
{
	struct operators *o = mem_alloc(sizeof(*o));

	o->oracle = oracle;
	o->disk = disk;
	rng_sim_init(&o->rng, seed);
	return o;
}

struct operators *
operators_free(struct operators *o)
{
	if (!o)
		return NULL;
	mem_free(o->orders);
	mem_free(o->audits);
	mem_free(o);
	return NULL;
}

void
operators_tell(struct operators *o, struct schedule *schedule)
{
	o->schedule = schedule;
}

/* ---- orders -------------------------------------------------------------------------------- */

/* States in which the verb changes something. */
static uint32_t
states_for(enum verb verb)
{
	switch (verb) {
	case VERB_COMMIT:
	case VERB_ROLLBACK:
	case VERB_CHECK:
		return 1u << TXN_PREPARED | 1u << TXN_PARKED;
	case VERB_RESUME:
		return 1u << TXN_PARKED;
	case VERB_RETRY:
	case VERB_DISCARD:
		return 1u << TXN_UNDELIVERABLE;
	}
	abort();
}

void
operators_act(struct operators *o, struct core *core)
{
	static struct list_page page; /* large, and one thread */
	bool odd = rng_sim_chance(&o->rng, 150);
	enum verb verb = (enum verb)rng_sim_below(&o->rng, 6);
	struct list_query q = { .limit = 20,
				.states = odd ? 0 : states_for(verb),
				.newest_first = rng_sim_chance(&o->rng, 500) };
	const struct row_view *row;
	struct order *order;

	core_list(core, &q, &page);
	if (!page.count)
		return;
	if (o->order_count == o->order_room) {
		o->order_room = o->order_room ? o->order_room * 2 : 16;
		o->orders = mem_grow(o->orders, o->order_room * sizeof(*o->orders));
	}
	row = &page.rows[rng_sim_below(&o->rng, page.count)];
	order = &o->orders[o->order_count++];
	memset(order, 0, sizeof(*order));
	order->op.to = (struct reply_to){ PEER_HTTP | 1, o->order_count };
	order->op.verb = verb;
	order->op.gid = row->gid;
	order->op.has_etag = rng_sim_chance(&o->rng, 600);
	order->op.etag = row->etag;
	order->valid = !rng_sim_chance(&o->rng, 40);
	order->apt = states_for(verb) >> row->state & 1;
	order->certain = order->op.has_etag && order->apt;
	o->counts.orders++;
}

void
operators_turn(struct operators *o, struct core *core, int64_t now_ns)
{
	(void)now_ns;
	for (; o->given < o->order_count; o->given++) {
		struct operation op = o->orders[o->given].op;
		char reason[32], who[16];

		snprintf(reason, sizeof(reason), REASON "%" PRIu64, op.to.tag);
		snprintf(who, sizeof(who), "person%" PRIu64, op.to.tag % 3);
		op.reason = o->orders[o->given].valid ? str_of(reason) : STR("");
		op.who = str_of(who);
		if (o->orders[o->given].apt &&
		    (op.verb == VERB_COMMIT || op.verb == VERB_ROLLBACK)) {
			oracle_force(o->oracle, op.gid);
			if (o->orders[o->given].valid)
				oracle_decide_invoked(o->oracle, op.gid,
						      op.verb == VERB_COMMIT ? VERDICT_COMMIT
									     : VERDICT_ROLLBACK);
		}
		if (log_enabled(LOG_TRACE))
			log_write(LOG_TRACE, "order", "number=%" PRIu64 " verb=%s seq=%" PRIu64,
				  op.to.tag, verb_name(op.verb), op.gid.lo);
		core_operate(core, &op);
	}
}

static void
done(struct operators *o, struct order *order)
{
	order->fate = FATE_OK;
	o->counts.done++;
	o->counts.verbs[order->op.verb]++;
	if (!order->valid)
		oracle_fail(o->oracle, "I-12 order %" PRIu64 " was done without a reason",
			    order->op.to.tag);
	if (order->apt && order->op.verb == VERB_COMMIT)
		oracle_decide_ok(o->oracle, order->op.gid, VERDICT_COMMIT);
	if (order->apt && order->op.verb == VERB_ROLLBACK)
		oracle_decide_ok(o->oracle, order->op.gid, VERDICT_ROLLBACK);
	if (order->op.verb == VERB_DISCARD)
		oracle_discarded(o->oracle, order->op.gid);
	if (order->op.verb == VERB_CHECK) {
		schedule_ordered(o->schedule, order->op.gid);
		oracle_check_ordered(o->oracle, order->op.gid);
	}
	operators_audit(o); /* the answer leaves now: what it rests on is durable by now */
	if (order->certain && !order->number && !o->blind && !disk_sim_stopped(o->disk))
		oracle_fail(o->oracle,
			    "I-12 order %" PRIu64 " (%s) was answered OK, and no durable record "
			    "says why",
			    order->op.to.tag, verb_name(order->op.verb));
}

void
operators_answer(struct operators *o, struct reply_to to, const struct answer *answer)
{
	struct order *order;

	if (to.tag == 0 || to.tag > o->order_count) {
		oracle_fail(o->oracle, "I-12 an answer to order %" PRIu64 ", which nobody gave",
			    to.tag);
		return;
	}
	order = &o->orders[to.tag - 1];
	if (order->fate != FATE_OPEN) {
		oracle_fail(o->oracle, "I-12 order %" PRIu64 " was answered twice", to.tag);
		return;
	}
	if (answer->code == ANSWER_OK) {
		done(o, order);
		return;
	}
	order->fate = FATE_REFUSED;
	o->counts.refused++;
	if (answer->code == ANSWER_DECIDED && order->apt && order->op.verb == VERB_COMMIT)
		oracle_decide_refused(o->oracle, order->op.gid, VERDICT_COMMIT);
	if (answer->code == ANSWER_DECIDED && order->apt && order->op.verb == VERB_ROLLBACK)
		oracle_decide_refused(o->oracle, order->op.gid, VERDICT_ROLLBACK);
}

void
operators_crashed(struct operators *o)
{
	for (uint32_t i = 0; i < o->order_count; i++) {
		struct order *order = &o->orders[i];

		if (order->fate != FATE_OPEN)
			continue;
		order->fate = FATE_UNKNOWN;
		if (order->op.verb == VERB_DISCARD && order->apt)
			oracle_discarded(o->oracle, order->op.gid); /* perhaps it is */
	}
	o->given = o->order_count;
}

/* ---- the trail ------------------------------------------------------------------------------- */

/* As broker/JOURNAL.md has it: over the chain before, and everything but the chain itself. */
static void
chain_after(const uint8_t before[16], const struct reader_record *r, uint8_t ret_chain[16])
{
	const uint8_t *at = r->body + 24;
	uint8_t bytes[4096], *p = bytes;
	uint64_t number = reader_varint(r, &at);
	struct hash128 h;

	memcpy(p, before, 16);
	memcpy(p + 16, r->body, 24); /* gid and ms */
	p += 40;
	for (int i = 0; i < 8; i++)
		*p++ = (uint8_t)(number >> 8 * i);
	for (int i = 0; i < 4; i++) {
		struct str s = reader_str(r, &at);

		for (int k = 0; k < 4; k++)
			*p++ = (uint8_t)(s.n >> 8 * k);
		memcpy(p, s.p, s.n);
		p += s.n;
	}
	h = hash_body(bytes, (size_t)(p - bytes), 0);
	for (int i = 0; i < 8; i++) {
		ret_chain[i] = (uint8_t)(h.lo >> 8 * i);
		ret_chain[8 + i] = (uint8_t)(h.hi >> 8 * i);
	}
}

static struct audit *
audit_find(struct operators *o, uint64_t number)
{
	for (uint32_t i = 0; i < o->audit_count; i++)
		if (o->audits[i].number == number)
			return &o->audits[i];
	return NULL;
}

/*
 * I-9: it lies where it was written, or was copied to from there, and perhaps in the copy that a
 * reclaim has made by now: no number of reclaims that were cut short makes more of it.
 */
static void
count_audit(struct operators *o, struct audit *a)
{
	if (a->walk != o->walks)
		a->times = 0;
	a->walk = o->walks;
	if (++a->times > 2)
		oracle_fail(o->oracle, "I-9 audit record %" PRIu64 " lies %" PRIu32 " times",
			    a->number, a->times);
}

static void
keep_audit(struct operators *o, const struct reader_record *r, uint64_t number)
{
	struct audit *known = audit_find(o, number), *before;
	struct audit a = { .number = number };
	uint8_t chain[16];

	a.content = hash_body(r->body, r->len, 0).lo;
	memcpy(a.chain, r->body + r->len - 16, 16);
	if (known && known->content != a.content)
		oracle_fail(o->oracle, "I-12 audit record %" PRIu64 " has two contents", number);
	if (known) {
		count_audit(o, known);
		return;
	}
	before = number > 1 ? audit_find(o, number - 1) : &(struct audit){ 0 };
	if (before) {
		chain_after(before->chain, r, chain);
		if (memcmp(chain, a.chain, 16) != 0)
			oracle_fail(o->oracle, "I-12 the chain breaks at audit record %" PRIu64,
				    number);
	}
	if (o->audit_count == o->audit_room) {
		o->audit_room = o->audit_room ? o->audit_room * 2 : 16;
		o->audits = mem_grow(o->audits, o->audit_room * sizeof(*o->audits));
	}
	count_audit(o, &a);
	o->audits[o->audit_count++] = a;
	o->counts.audits++;
}

static void
on_audit(struct operators *o, const struct reader_record *r)
{
	const uint8_t *at = r->body;
	struct gid gid;
	struct str verb, who, reason;
	struct order *order;
	uint64_t number, tag;
	char digits[24] = "", want[16];

	gid.hi = reader_le(r, &at, 8);
	gid.lo = reader_le(r, &at, 8);
	(void)reader_le(r, &at, 8);
	number = reader_varint(r, &at);
	verb = reader_str(r, &at);
	who = reader_str(r, &at);
	reason = reader_str(r, &at);
	o->last_seq = gid.lo;
	keep_audit(o, r, number);
	if (!str_starts(reason, STR(REASON)) || reason.n - strlen(REASON) >= sizeof(digits)) {
		oracle_fail(o->oracle, "I-12 audit record %" PRIu64 " has no reason", number);
		return;
	}
	memcpy(digits, reason.p + strlen(REASON), reason.n - strlen(REASON));
	tag = strtoull(digits, NULL, 10);
	if (tag == 0 || tag > o->order_count) {
		oracle_fail(o->oracle, "I-12 audit record %" PRIu64 " of an order nobody gave",
			    number);
		return;
	}
	order = &o->orders[tag - 1];
	o->last_verb = (int)order->op.verb;
	snprintf(want, sizeof(want), "person%" PRIu64, tag % 3);
	if (!gid_eq(order->op.gid, gid) || !str_eq(verb, str_of(verb_name(order->op.verb))) ||
	    !str_eq(who, str_of(want)))
		oracle_fail(o->oracle, "I-12 audit record %" PRIu64 " is not what was ordered",
			    number);
	if (order->number && order->number != number)
		oracle_fail(o->oracle, "I-12 order %" PRIu64 " has two audit records", tag);
	if (order->fate == FATE_REFUSED)
		oracle_fail(o->oracle, "I-12 order %" PRIu64 " was refused and is in the audit",
			    tag);
	order->number = number;
}

/* What an operator changed stands right behind its reason. */
static void
on_effect(struct operators *o, uint64_t seq, int verb, int other)
{
	if (o->last_seq == SEQ_RECYCLED)
		return;
	if (o->last_seq != seq || (o->last_verb != verb && o->last_verb != other))
		oracle_fail(o->oracle,
			    "I-12 seq %" PRIu64 " was changed by an operator without a reason",
			    seq);
}

static void
on_record(void *arg, const struct reader_record *r)
{
	struct operators *o = arg;
	const uint8_t *at = r->body;
	uint64_t decision;

	switch (r->type) {
	case 1: /* a segment may open between the two, and the one before may be recycled */
		return;
	case 14:
		on_audit(o, r);
		return;
	case 3:
		decision = reader_le(r, &at, 1);
		(void)reader_le(r, &at, 6);
		if (decision & 128)
			(void)reader_le(r, &at, 6);
		else
			(void)reader_str(r, &at);
		if ((decision >> 4 & 7) == ORIGIN_OPERATOR)
			on_effect(o, reader_varint(r, &at), VERB_COMMIT, VERB_ROLLBACK);
		break;
	case 6:
		on_effect(o, reader_varint(r, &at), VERB_RESUME, VERB_RESUME);
		break;
	case 9:
		on_effect(o, reader_varint(r, &at), VERB_RETRY, VERB_RETRY);
		break;
	case 10:
		on_effect(o, reader_varint(r, &at), VERB_DISCARD, VERB_DISCARD);
		break;
	}
	o->last_seq = 0;
}

void
operators_blind(struct operators *o)
{
	o->blind = true;
}

void
operators_audit(struct operators *o)
{
	if (!o->order_count || o->blind || disk_sim_stopped(o->disk))
		return;
	o->last_seq = SEQ_RECYCLED;
	o->walks++;
	if (!reader_walk(o->disk, on_record, o))
		oracle_fail(o->oracle, "I-13 a durable group holds a record that does not count");
}

const struct operators_counts *
operators_counts(const struct operators *o)
{
	return &o->counts;
}
