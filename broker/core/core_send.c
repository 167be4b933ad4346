/*
 * core_send.c -- half-sends: refused, repeated or new.
 *
 * A half-send is the last moment at which a refusal is harmless: the local transaction has
 * not begun.  So everything that could go wrong later (an unknown topic, a message that Kafka will
 * not take, memory, disk) is asked about here.  The one thing that must never happen is OK for
 * a transaction that is decided: the client would run its local transaction again.
 */
#include "core/core_internal.h"
#include "core/partition.h"

/* ---- answers --------------------------------------------------------------------------------- */

static void
refuse(struct core *c, struct reply_to to, enum answer_code code, const char *why)
{
	c->stats.half_sends[code]++;
	core_answer(c, to, &(struct answer){ .code = code, .why = why });
}

static void
refuse_row(struct core *c, struct reply_to to, const struct row *row, enum answer_code code,
	   const char *why)
{
	struct answer a = core_answer_of(c, row, code);

	a.why = why;
	c->stats.half_sends[code]++;
	core_answer(c, to, &a);
}

/* OK: with what the producer needs to decide it. */
static void
accept_row(struct core *c, struct reply_to to, const struct row *row)
{
	struct answer a = core_answer_of(c, row, ANSWER_OK);

	a.token = (uint64_t)row->check << 8; /* the generation is for checks only */
	a.partition = row->flags & ROW_PARTS ? table_part_of(&c->table, row, 0)->partition
					     : row->partition;
	c->stats.half_sends[ANSWER_OK]++;
	core_answer(c, to, &a);
}

void
core_busy(struct core *c, const struct request *r, enum answer_code code, const char *why)
{
	const struct answer a = { .code = code, .why = why };

	switch (r->kind) {
	case REQUEST_HALF:
		refuse(c, r->half.to, code, why);
		return;
	case REQUEST_END:
		core_answer(c, r->end.to, &a);
		return;
	case REQUEST_OPERATION:
		core_answer(c, r->operation.to, &a);
		return;
	case REQUEST_ROUTE:
		core_answer(c, r->route.to, &a);
		return;
	}
}

/* ---- limits ---------------------------------------------------------------------------------- */

static enum answer_code
message_limits(const struct core *c, const struct message *m, const char **ret_why)
{
	struct headers h = m->headers;
	struct header header;
	size_t at = 0;
	int count = headers_count(h);

	if (m->topic.n == 0 || m->topic.n > LIMIT_TOPIC_BYTES) {
		*ret_why = "a topic has 1 to 127 bytes";
		return ANSWER_REFUSED;
	}
	if (m->key.n > LIMIT_KAFKA_KEY_BYTES) {
		*ret_why = "the key of a message has at most 32767 bytes";
		return ANSWER_REFUSED;
	}
	if (h.bytes.n > LIMIT_HEADERS_BYTES || count > LIMIT_HEADERS) {
		*ret_why = "properties have at most 32512 bytes";
		return ANSWER_REFUSED;
	}
	if (count < 0) {
		*ret_why = "the headers are malformed";
		return ANSWER_REFUSED;
	}
	while (headers_next(h, &at, &header))
		if (str_starts(header.name, STR("escrow-"))) {
			*ret_why = "properties that begin with escrow- are the broker's own";
			return ANSWER_REFUSED;
		}
	if (m->plain_bytes > c->conf.message_bytes || m->value.n > c->conf.message_bytes ||
	    m->plain_bytes + m->key.n + h.bytes.n > c->conf.message_bytes) {
		*ret_why = "the message is larger than limits.message";
		return ANSWER_TOO_BIG;
	}
	return ANSWER_OK;
}

/* What can be said without knowing any topic or transaction. */
static enum answer_code
half_limits(const struct core *c, const struct half_request *r, const char **ret_why)
{
	const struct half *h = &r->half;
	enum answer_code code;

	if (c->draining) {
		*ret_why = "the daemon is stopping";
		return ANSWER_DRAINING;
	}
	if (h->count == 0 || h->count > LIMIT_MESSAGES) {
		*ret_why = "a transaction has 1 to 256 messages";
		return ANSWER_REFUSED;
	}
	if (h->group.n == 0 || h->group.n > LIMIT_GROUP_BYTES) {
		*ret_why = "a producer group has 1 to 255 bytes";
		return ANSWER_REFUSED;
	}
	if (h->key.n > LIMIT_KEY_BYTES) {
		*ret_why = "an idempotency key has at most 255 bytes";
		return ANSWER_REFUSED;
	}
	if (h->edge.n > LIMIT_EDGE_BYTES || h->from.n > LIMIT_WHO_BYTES) {
		*ret_why = "what has to be kept with the message is too long";
		return ANSWER_REFUSED;
	}
	for (uint32_t i = 0; i < h->count; i++) {
		code = message_limits(c, &h->messages[i], ret_why);
		if (code != ANSWER_OK)
			return code;
	}
	return ANSWER_OK;
}

/* ---- repeats --------------------------------------------------------------------------------- */

uint64_t
core_key_hash(const struct core *c, struct str group, struct str key)
{
	uint64_t hash = key.n ? hash_key2(c->secret, group, key) : 0;

	return key.n && hash == 0 ? 1 : hash; /* 0 says "no key" */
}

static uint64_t
body_bits(const struct half *h)
{
	return h->body_hash.lo & ((UINT64_C(1) << 44) - 1);
}

static struct txn_policy
policy_for(const struct core *c, const struct half *h)
{
	struct txn_policy policy = c->conf.policy;

	if (h->immunity_ms)
		policy.immunity_ns = (int64_t)h->immunity_ms * NS_PER_MS;
	return policy;
}

/* The known one is undecided: the same tokens, once the new generation is durable. */
static void
repeat_undecided(struct core *c, uint32_t index, const struct half_request *r)
{
	struct row *row = core_row(c, index);
	struct txn_policy policy = policy_for(c, &r->half);
	struct txn_step step = txn_step(&row->txn, TXN_HALF_SEND, c->now_ns, &policy);
	struct pending p = {
		.to = r->to,
		.next = step.next,
		.began_ns = c->now_ns,
		.row = index,
		.kind = PENDING_GENERATION,
		.event = TXN_HALF_SEND,
	};
	struct entry e = {
		.type = ENTRY_GENERATION,
		.generation = { row->txn.seq, step.next.generation, c->wall_ms },
	};

	if (step.verdict != TXN_OK) {
		refuse_row(c, r->to, row, ANSWER_REFUSED, "half-sent too often");
		return;
	}
	/* Each costs a record, and there may be 255 of each: what is set aside is for decisions. */
	if (!c->space) {
		refuse(c, r->to, ANSWER_BUSY, "the journal is full");
		return;
	}
	c->stats.half_repeats++;
	row->peer = (uint32_t)r->to.peer;
	row_set(row, ROW_PENDING);
	core_pend(c, &p, core_append(c, &e));
}

/*
 * The immunity is for the local transaction, which begins with the answer: what the disk took comes
 * on top.
 */
static int64_t
from_now(const struct core *c, const struct pending *p, int64_t due_ns)
{
	int64_t later_ns;

	return __builtin_add_overflow(due_ns, c->now_ns - p->began_ns, &later_ns) ? due_ns
										  : later_ns;
}

void
core_generation_durable(struct core *c, const struct pending *p)
{
	struct row *row = core_row(c, p->row);
	struct txn_step step = { TXN_OK, TXN_NOTHING, p->next };

	core_untime(c, p->row);
	step.next.due_ns = from_now(c, p, step.next.due_ns);
	core_apply(c, p->row, &step, TXN_HALF_SEND);
	core_time(c, p->row);
	core_settled(c, p->row);
	accept_row(c, p->to, row);
}

/*
 * The key of R leads to row INDEX, which has no step pending.  True: R is answered or journaled;
 * false: it begins a new transaction.
 */
static bool
repeat(struct core *c, uint32_t index, const struct half_request *r)
{
	const struct row *row = core_row(c, index);
	bool plain = row->flags & ROW_PLAIN;

	switch ((enum txn_state)row->txn.state) {
	case TXN_PREPARED:
	case TXN_PARKED:
		if (r->plain || (row->body != body_bits(&r->half) && !CANARY(BODY_NOT_COMPARED)))
			refuse_row(c, r->to, row, ANSWER_KEY_REUSED,
				   "another message was half-sent under this key");
		else
			repeat_undecided(c, index, r);
		return true;
	case TXN_ROLLED_BACK: /* nothing came of it: the key is free */
		return false;
	case TXN_COMMITTED:
	case TXN_PUBLISHED:
	case TXN_UNDELIVERABLE:
	case TXN_DISCARDED:
		if (r->again.lo && gid_eq(r->again, table_gid(&c->table, row)))
			return false; /* the same object, sent on purpose */
		if (plain && r->plain && !core_in_window(c, row))
			return false;
		if (row->body != body_bits(&r->half)) {
			refuse_row(c, r->to, row, ANSWER_KEY_REUSED,
				   "another message was sent under this key");
		} else if (plain && r->plain) {
			c->stats.half_repeats++;
			accept_row(c, r->to, row); /* there is no local transaction to run twice */
		} else if (CANARY(SUCCESS_FOR_DECIDED)) {
			accept_row(c, r->to, row);
		} else {
			refuse_row(c, r->to, row, ANSWER_DECIDED, "it is committed already");
		}
		return true;
	}
	check_failed("a state of enum txn_state", __FILE__, __LINE__, row->txn.seq);
}

/* ---- new ones -------------------------------------------------------------------------------- */

/* Memory holds a bounded number of groups, and history must not be what keeps new ones out. */
static uint32_t
group_of(struct core *c, struct str name)
{
	uint32_t group = groups_get(&c->groups, name);

	if (group == GROUP_NONE && core_groups_room(c))
		group = groups_get(&c->groups, name);
	return group;
}

/* Fixes the partition and the size of every message.  The messages are our own copy. */
static enum answer_code
fit(struct core *c, const struct half *h, const uint32_t *topics, const char **ret_why)
{
	for (uint32_t i = 0; i < h->count; i++) {
		struct message *m = (struct message *)(uintptr_t)&h->messages[i];
		const struct topic *topic = &c->topics.topics[topics[i]];
		uint64_t bytes = (uint64_t)m->plain_bytes + m->key.n + m->headers.bytes.n;

		if (topic->max_bytes &&
		    bytes + RECORD_OVERHEAD + h->group.n + h->key.n > topic->max_bytes) {
			*ret_why = "the message is larger than the topic's max.message.bytes";
			return ANSWER_TOO_BIG;
		}
		if (m->partition >= topic->partitions) {
			*ret_why = "the topic has fewer partitions";
			return ANSWER_REFUSED;
		}
		if (m->partition < 0 && m->key.p)
			m->partition = partition_of_key(m->key, topic->partitions);
		else if (m->partition < 0)
			m->partition = (int32_t)(m->spread % (uint32_t)topic->partitions);
	}
	return ANSWER_OK;
}

/* The gid of a new transaction.  Nothing is used up when the append fails. */
static struct gid
next_gid(const struct core *c)
{
	return gid_make(max_u64(c->wall_ms, c->last_ms), c->conf.shard, c->next_seq);
}

static uint64_t
check_value(struct core *c)
{
	return c->ports.random(c->arg) >> 9; /* 55 bits */
}

static int
append_new(struct core *c, const struct half *h, const uint32_t *topics, bool plain,
	   struct place *ret_place)
{
	struct part parts[LIMIT_MESSAGES] UNINITIALIZED;
	struct entry e = { .type = ENTRY_HALF, .half = { *h, topics } };

	if (!plain)
		return c->ports.append(c->arg, &e, ret_place);
	for (uint32_t i = 0; i < h->count; i++) {
		uint32_t lane = core_lane(c, topics[i], h->messages[i].partition);

		parts[i] = (struct part){ topics[i], h->messages[i].partition,
					  lanes_at(&c->lanes, lane)->next_n, PART_OWED, 0 };
		for (uint32_t j = 0; j < i; j++) /* several to one lane: numbers in order */
			if (parts[j].topic == parts[i].topic &&
			    parts[j].partition == parts[i].partition)
				parts[i].n = parts[j].n + 1;
	}
	e = (struct entry){
		.type = ENTRY_COPY,
		.copy = {
			.half = *h,
			.topics = topics,
			.state = TXN_COMMITTED,
			.since_ms = c->wall_ms,
			.decision = { TXN_COMMITTED, ORIGIN_PLAIN, c->wall_ms, h->from },
			.parts = parts,
		},
	};
	return c->ports.append(c->arg, &e, ret_place);
}

uint32_t
core_row_of(struct core *c, const struct half *h, const uint32_t *topics, uint32_t group,
	    struct place place, uint64_t key_hash, bool parts)
{
	uint32_t index = table_add(&c->table, h->gid.lo);
	struct row *row = core_row(c, index);

	row->txn.tag = (uint16_t)topics[0];
	row->check = h->check & ((UINT64_C(1) << 55) - 1);
	row->ms = gid_ms(h->gid) & ((UINT64_C(1) << 48) - 1);
	row->count = h->count & 511;
	row->lsn = place.lsn;
	row->len = place.len;
	row->key_hash = key_hash;
	row->body = h->body_hash.lo & ((UINT64_C(1) << 44) - 1);
	row->group = group & ((1u << 20) - 1);
	row->partition = h->messages[0].partition;
	if (parts || h->count > 1) {
		table_parts(&c->table, index, h->count);
		for (uint32_t i = 0; i < h->count; i++) {
			struct part_node *part = table_part_of(&c->table, row, i);

			part->topic = (uint16_t)topics[i];
			part->partition = h->messages[i].partition;
		}
	}
	return index;
}

/* The row of a half-send that was appended at PLACE. */
static uint32_t
row_new(struct core *c, const struct half_request *r, const struct half *h, const uint32_t *topics,
	uint32_t group, struct place place)
{
	uint32_t index = core_row_of(c, h, topics, group, place, r->key_hash, r->plain);
	struct row *row = core_row(c, index);
	struct txn_policy policy = policy_for(c, h);

	row_set(row, ROW_HALFWAY);
	if (r->plain) {
		for (uint32_t i = 0; i < h->count; i++) {
			struct part_node *part = table_part_of(&c->table, row, i);
			uint32_t lane = core_lane(c, topics[i], part->partition);

			part->n = lanes_at(&c->lanes, lane)->next_n++;
		}
		row_set(row, ROW_PLAIN);
		row->txn.state = TXN_COMMITTED;
		row->origin = ORIGIN_PLAIN;
		row->decided_ms = c->wall_ms;
	} else {
		row->txn.state = TXN_PREPARED;
		row->txn.due_ns = max_i64(c->now_ns + policy.immunity_ns, 1);
		row->peer = (uint32_t)r->to.peer;
		row->db = core_db(c, h->has_db_id, h->db_id);
		core_undecided(c, index, true);
	}
	table_open(&c->table, row->txn.seq, true);
	table_key(&c->table, index);
	return index;
}

/* One group's undecided transactions must not use up what all groups share. */
static bool
group_full(struct core *c, uint32_t group)
{
	struct group *it = &c->groups.groups[group];

	if (it->waiting < c->conf.group_undecided && it->waiting_bytes < c->conf.group_bytes)
		return false;
	if (!it->full)
		core_note(c, &(struct note){ .kind = NOTE_GROUP_FULL,
					     .value = (int64_t)it->waiting,
					     .lasted_ns = -1,
					     .text = groups_name(&c->groups, group) });
	it->full = true;
	return true;
}

static void
refuse_append(struct core *c, struct reply_to to, int err)
{
	if (err == ERR_TOOBIG)
		refuse(c, to, ANSWER_TOO_BIG, "it does not fit the journal");
	else if (err == ERR_AGAIN)
		refuse(c, to, ANSWER_BUSY, "the disk does not keep up");
	else
		refuse(c, to, ANSWER_BUSY, "the journal is full");
}

static void
begin(struct core *c, const struct half_request *r, const uint32_t *topics)
{
	struct half h = r->half;
	struct pending p = { .to = r->to, .began_ns = c->now_ns, .kind = PENDING_HALF };
	const char *why = NULL;
	enum answer_code code = fit(c, &h, topics, &why);
	struct place place;
	uint32_t group;
	int err;

	if (code != ANSWER_OK) {
		refuse(c, r->to, code, why);
		return;
	}
	if (!c->space) {
		refuse(c, r->to, ANSWER_BUSY, "the journal is full");
		return;
	}
	if (c->undecided - (CANARY(LIMIT_BEHIND_BATCH) ? c->pending_end - c->pending_first : 0) >=
	    c->conf.undecided_max) {
		refuse(c, r->to, ANSWER_BUSY, "too many transactions are undecided");
		return;
	}
	if (core_keys_full(c)) {
		refuse(c, r->to, ANSWER_BUSY, "the memory for keys is full");
		return;
	}
	group = group_of(c, h.group);
	if (group == GROUP_NONE) {
		refuse(c, r->to, ANSWER_BUSY, "too many producer groups");
		return;
	}
	if (!r->plain && group_full(c, group)) {
		refuse(c, r->to, ANSWER_BUSY, "too much of this producer group is undecided");
		return;
	}
	h.gid = next_gid(c);
	h.check = check_value(c);
	h.arrived_ms = c->wall_ms;
	err = append_new(c, &h, topics, r->plain, &place);
	if (err) {
		groups_drop(&c->groups, group);
		refuse_append(c, r->to, err);
		return;
	}
	c->last_ms = gid_ms(h.gid);
	c->next_seq++;
	p.row = row_new(c, r, &h, topics, group, place);
	p.next = core_row(c, p.row)->txn;
	core_began(c, p.row);
	core_pend(c, &p, place);
}

void
core_half_durable(struct core *c, const struct pending *p)
{
	struct row *row = core_row(c, p->row);
	struct note note = {
		.kind = NOTE_TRANSITION,
		.gid = table_gid(&c->table, row),
		.to = (enum txn_state)row->txn.state,
		.event = row->flags & ROW_PLAIN ? TXN_COMMIT : TXN_HALF_SEND,
		.peer = p->to.peer,
		.lasted_ns = c->now_ns - p->began_ns,
	};

	txn_check(&row->txn);
	core_note(c, &note);
	core_settled(c, p->row);
	if (row->flags & ROW_PLAIN) {
		core_push(c, p->row);
	} else {
		row->txn.due_ns = from_now(c, p, row->txn.due_ns);
		core_time(c, p->row);
	}
	accept_row(c, p->to, row);
}

struct wait
core_do_half(struct core *c, struct half_request *r)
{
	uint32_t topics[LIMIT_MESSAGES] UNINITIALIZED;
	const char *why = NULL;
	enum answer_code code = half_limits(c, r, &why);
	uint32_t known;

	if (code != ANSWER_OK) {
		refuse(c, r->to, code, why);
		return DONE;
	}
	known = table_find_key(&c->table, r->key_hash);
	if (known != ROW_NONE) {
		const struct row *row = core_row(c, known);

		if (row->flags & (ROW_HALFWAY | ROW_PENDING))
			return (struct wait){ WAIT_ROW, row->txn.seq, STR_NONE };
		if (repeat(c, known, r))
			return DONE;
	}
	for (uint32_t i = 0; i < r->half.count; i++) {
		struct str name = r->half.messages[i].topic;

		topics[i] = topics_find(&c->topics, name);
		if (topics[i] == TOPIC_NONE || c->topics.topics[topics[i]].partitions == 0)
			return (struct wait){ WAIT_TOPIC, 0, name };
	}
	begin(c, r, topics);
	return DONE;
}
