/*
 * record_body.c -- the body of each type of record.
 *
 * Each type has one function that puts and one that gets, beside each other, so that whoever
 * changes one sees the other; those that tell of a transaction are in record_txn.c.
 */
#include "journal/record_body.h"

#include <stdlib.h>

#include "base/err.h"

/* ---- lanes, topics, state -------------------------------------------------------------- */

static void
put_published(struct out *o, const struct entry_published *e)
{
	uint64_t last = e->low;

	put_varint(o, e->topic);
	put_partition(o, e->partition);
	put_varint(o, e->low);
	put_varint(o, e->done_count);
	for (uint32_t i = 0; i < e->done_count; i++) {
		CHECK(e->done[i] >= last, e->low);
		put_varint(o, e->done[i] - last);
		last = e->done[i];
	}
}

/* Room for N elements of SIZE at *P; N is bounded by the bytes of the record. */
static bool
scratch_grow(void **p, size_t *cap, size_t n, size_t size)
{
	void *grown;

	if (n <= *cap)
		return true;
	grown = mem_try(n * size);
	if (!grown)
		return false;
	mem_free(*p);
	*p = grown;
	*cap = n;
	return true;
}

static int
get_published(struct cursor *c, struct record_scratch *s, struct entry_published *e)
{
	uint64_t last;

	e->topic = get_u32(c);
	e->partition = get_partition(c);
	e->low = last = cursor_varint(c);
	e->done_count = get_u32(c);
	if (c->bad || e->done_count > cursor_left(c))
		return ERR_MALFORMED;
	if (!scratch_grow((void **)&s->done, &s->done_cap, e->done_count, sizeof(*s->done)))
		return ERR_NOMEM;
	for (uint32_t i = 0; i < e->done_count; i++)
		s->done[i] = last = last + cursor_varint(c);
	e->done = s->done;
	return 0;
}

static void
put_topic(struct out *o, const struct entry_topic *t)
{
	put_varint(o, t->number);
	put_str(o, t->name);
	put_varint(o, (uint32_t)t->partitions);
	put_varint(o, t->max_bytes);
}

static void
get_topic(struct cursor *c, struct entry_topic *t)
{
	t->number = get_u32(c);
	t->name = get_str(c);
	t->partitions = (int32_t)get_u32(c);
	t->max_bytes = get_u32(c);
}

/* Begins with the fields that are the journal's own. */
static void
put_state(struct out *o, const struct entry_state *e)
{
	put_low(o, e->opened_ms, 8);
	put_low(o, e->segment_bytes, 8);
	put_low(o, e->oldest_segment, 8);
	put_low(o, e->previous_end, 8);
	put_bytes(o, e->journal_id, sizeof(e->journal_id));
	put_low(o, e->secret[0], 8);
	put_low(o, e->secret[1], 8);
	put_low(o, e->shard, 2);
	put_varint(o, e->next_seq);
	put_varint(o, e->last_ms);
	put_varint(o, e->audit_number);
	put_bytes(o, e->audit_chain, sizeof(e->audit_chain));
	put_str(o, e->cluster);
	put_varint(o, e->topic_count);
	for (uint32_t i = 0; i < e->topic_count; i++)
		put_topic(o, &e->topics[i]);
	put_varint(o, e->lane_count);
	for (uint32_t i = 0; i < e->lane_count; i++) {
		put_varint(o, e->lanes[i].topic);
		put_partition(o, e->lanes[i].partition);
		put_varint(o, e->lanes[i].next_n);
		put_varint(o, e->lanes[i].low);
	}
}

static int
get_state(struct cursor *c, struct record_scratch *s, struct entry_state *e)
{
	const uint8_t *p;

	e->opened_ms = cursor_le64(c);
	e->segment_bytes = cursor_le64(c);
	e->oldest_segment = cursor_le64(c);
	e->previous_end = cursor_le64(c);
	if ((p = cursor_take(c, sizeof(e->journal_id))))
		memcpy(e->journal_id, p, sizeof(e->journal_id));
	e->secret[0] = cursor_le64(c);
	e->secret[1] = cursor_le64(c);
	e->shard = (uint16_t)get_low(c, 2);
	e->next_seq = cursor_varint(c);
	e->last_ms = cursor_varint(c);
	e->audit_number = cursor_varint(c);
	if ((p = cursor_take(c, sizeof(e->audit_chain))))
		memcpy(e->audit_chain, p, sizeof(e->audit_chain));
	e->cluster = get_str(c);

	e->topic_count = get_u32(c);
	if (c->bad || e->topic_count > cursor_left(c))
		return ERR_MALFORMED;
	if (!scratch_grow((void **)&s->state_topics, &s->state_topics_cap, e->topic_count,
			  sizeof(*s->state_topics)))
		return ERR_NOMEM;
	for (uint32_t i = 0; i < e->topic_count; i++)
		get_topic(c, &s->state_topics[i]);
	e->topics = s->state_topics;

	e->lane_count = get_u32(c);
	if (c->bad || e->lane_count > cursor_left(c))
		return ERR_MALFORMED;
	if (!scratch_grow((void **)&s->state_lanes, &s->state_lanes_cap, e->lane_count,
			  sizeof(*s->state_lanes)))
		return ERR_NOMEM;
	for (uint32_t i = 0; i < e->lane_count; i++) {
		s->state_lanes[i].topic = get_u32(c);
		s->state_lanes[i].partition = get_partition(c);
		s->state_lanes[i].next_n = cursor_varint(c);
		s->state_lanes[i].low = cursor_varint(c);
	}
	e->lanes = s->state_lanes;
	return 0;
}

static void
put_audit(struct out *o, const struct entry_audit *e)
{
	put_low(o, e->gid.hi, 8);
	put_low(o, e->gid.lo, 8);
	put_low(o, e->ms, 8);
	put_varint(o, e->number);
	put_str(o, e->verb);
	put_str(o, e->who);
	put_str(o, e->reason);
	put_str(o, e->outcome);
	put_bytes(o, e->chain, sizeof(e->chain));
}

static void
get_audit(struct cursor *c, struct entry_audit *e)
{
	const uint8_t *p;

	e->gid.hi = cursor_le64(c);
	e->gid.lo = cursor_le64(c);
	e->ms = cursor_le64(c);
	e->number = cursor_varint(c);
	e->verb = get_str(c);
	e->who = get_str(c);
	e->reason = get_str(c);
	e->outcome = get_str(c);
	if ((p = cursor_take(c, sizeof(e->chain))))
		memcpy(e->chain, p, sizeof(e->chain));
}

/* ---- all of them ------------------------------------------------------------------------ */

static size_t
bound_state(const struct entry_state *e)
{
	size_t n = 192 + e->cluster.n + (size_t)e->lane_count * 32;

	for (uint32_t i = 0; i < e->topic_count; i++)
		n += 24 + e->topics[i].name.n;
	return n;
}

size_t
body_bound(const struct entry *e)
{
	switch (e->type) {
	case ENTRY_STATE:
		return bound_state(&e->state);
	case ENTRY_HALF:
		return body_bound_half(&e->half.half);
	case ENTRY_DECISION:
		return 32 + e->decision.decision.who.n + (size_t)e->decision.count * VARINT_MAX;
	case ENTRY_PUBLISHED:
		return 32 + (size_t)e->published.done_count * VARINT_MAX;
	case ENTRY_TOPIC:
		return 32 + e->topic.name.n;
	case ENTRY_STUB:
		return 128 + e->stub.group.n + e->stub.key.n + e->stub.decision.who.n;
	case ENTRY_COPY:
		return body_bound_copy(&e->copy);
	case ENTRY_AUDIT:
		return 96 + e->audit.verb.n + e->audit.who.n + e->audit.reason.n +
		       e->audit.outcome.n;
	case ENTRY_CLUSTER:
		return 16 + e->cluster.id.n;
	case ENTRY_GENERATION:
	case ENTRY_CHECKS:
	case ENTRY_RESUMED:
	case ENTRY_REFUSED:
	case ENTRY_RETRIED:
	case ENTRY_DISCARDED:
	case ENTRY_OLDEST:
		return 48;
	}
	abort();
}

static void
put_body(struct out *o, const struct entry *e)
{
	switch (e->type) {
	case ENTRY_STATE:
		put_state(o, &e->state);
		return;
	case ENTRY_HALF:
		body_put_half(o, &e->half.half, e->half.topics);
		return;
	case ENTRY_DECISION:
		body_put_decision(o, &e->decision.decision);
		put_varint(o, e->decision.seq);
		put_varint(o, e->decision.count);
		for (uint32_t i = 0; i < e->decision.count; i++)
			put_varint(o, e->decision.n[i]);
		return;
	case ENTRY_GENERATION:
		put_varint(o, e->generation.seq);
		put_u8(o, e->generation.generation);
		put_varint(o, e->generation.ms);
		return;
	case ENTRY_CHECKS:
		put_varint(o, e->checks.seq);
		put_varint(o, (uint64_t)e->checks.checks << 1 | (e->checks.parked ? 1 : 0));
		put_varint(o, e->checks.ms);
		return;
	case ENTRY_RESUMED:
		put_varint(o, e->resumed.seq);
		put_varint(o, e->resumed.ms);
		return;
	case ENTRY_PUBLISHED:
		put_published(o, &e->published);
		return;
	case ENTRY_REFUSED:
		put_varint(o, e->refused.seq);
		put_varint(o, e->refused.index);
		put_low(o, (uint32_t)e->refused.code, 4);
		put_varint(o, e->refused.ms);
		return;
	case ENTRY_RETRIED:
		put_varint(o, e->retried.seq);
		put_varint(o, e->retried.ms);
		return;
	case ENTRY_DISCARDED:
		put_varint(o, e->discarded.seq);
		put_varint(o, e->discarded.ms);
		return;
	case ENTRY_TOPIC:
		put_topic(o, &e->topic);
		return;
	case ENTRY_STUB:
		body_put_stub(o, &e->stub);
		return;
	case ENTRY_COPY:
		body_put_copy(o, &e->copy);
		return;
	case ENTRY_AUDIT:
		put_audit(o, &e->audit);
		return;
	case ENTRY_OLDEST:
		put_varint(o, e->oldest.segment);
		return;
	case ENTRY_CLUSTER:
		put_str(o, e->cluster.id);
		return;
	}
	abort();
}

/* 0; what get_published() and get_state() say; a short read shows in C. */
static int
get_body(struct cursor *c, struct record_scratch *s, struct entry *e)
{
	uint64_t v;

	switch (e->type) {
	case ENTRY_STATE:
		return get_state(c, s, &e->state);
	case ENTRY_HALF:
		body_get_half(c, s, &e->half.half);
		e->half.topics = s->topics;
		return 0;
	case ENTRY_DECISION:
		body_get_decision(c, s, &e->decision.decision);
		e->decision.seq = cursor_varint(c);
		e->decision.messages = 0;
		e->decision.count = get_u32(c);
		if (e->decision.count > LIMIT_MESSAGES)
			return ERR_MALFORMED;
		for (uint32_t i = 0; i < e->decision.count; i++)
			s->n[i] = cursor_varint(c);
		e->decision.n = s->n;
		return 0;
	case ENTRY_GENERATION:
		e->generation.seq = cursor_varint(c);
		e->generation.generation = cursor_u8(c);
		e->generation.ms = cursor_varint(c);
		return 0;
	case ENTRY_CHECKS:
		e->checks.seq = cursor_varint(c);
		v = cursor_varint(c);
		if (v >> 33)
			return ERR_MALFORMED;
		e->checks.checks = (uint32_t)(v >> 1);
		e->checks.parked = v & 1;
		e->checks.ms = cursor_varint(c);
		return 0;
	case ENTRY_RESUMED:
		e->resumed.seq = cursor_varint(c);
		e->resumed.ms = cursor_varint(c);
		return 0;
	case ENTRY_PUBLISHED:
		return get_published(c, s, &e->published);
	case ENTRY_REFUSED:
		e->refused.seq = cursor_varint(c);
		e->refused.index = get_u32(c);
		e->refused.code = (int32_t)cursor_le32(c);
		e->refused.ms = cursor_varint(c);
		return 0;
	case ENTRY_RETRIED:
		e->retried.seq = cursor_varint(c);
		e->retried.ms = cursor_varint(c);
		return 0;
	case ENTRY_DISCARDED:
		e->discarded.seq = cursor_varint(c);
		e->discarded.ms = cursor_varint(c);
		return 0;
	case ENTRY_TOPIC:
		get_topic(c, &e->topic);
		return 0;
	case ENTRY_STUB:
		body_get_stub(c, s, &e->stub);
		return 0;
	case ENTRY_COPY:
		body_get_copy(c, s, &e->copy);
		return 0;
	case ENTRY_AUDIT:
		get_audit(c, &e->audit);
		return 0;
	case ENTRY_OLDEST:
		e->oldest.segment = cursor_varint(c);
		return 0;
	case ENTRY_CLUSTER:
		e->cluster.id = get_str(c);
		return 0;
	}
	return ERR_VERSION;
}

size_t
body_put(const struct entry *e, uint8_t *out, size_t room)
{
	struct out o = { out, out + room };

	put_body(&o, e);
	return (size_t)(o.p - out);
}

int
body_get(struct str body, struct record_scratch *s, struct entry *ret_entry)
{
	struct cursor c = cursor_of(body);
	int err = get_body(&c, s, ret_entry);

	if (err)
		return err;
	return c.bad || cursor_left(&c) ? ERR_MALFORMED : 0;
}

void
record_scratch_done(struct record_scratch *s)
{
	mem_free(s->done);
	mem_free(s->state_topics);
	mem_free(s->state_lanes);
	s->done = NULL;
	s->state_topics = NULL;
	s->state_lanes = NULL;
	s->done_cap = s->state_topics_cap = s->state_lanes_cap = 0;
}
