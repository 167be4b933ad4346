/*
 * record_body.c -- the body of each type of record.
 *
 * Each type has one function that puts and one that gets, beside each other, so that whoever
 * changes one sees the other.  Bodies are compact because they are most of what a busy disk
 * writes: numbers are varints, what is usual costs a flag and not a field, an idempotency key of 32
 * hex digits and an IPv4 address travel as the bytes they stand for.
 */
#include "journal/record_body.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/hex.h"

/* Flags of a half; the usual ones fit one byte of the varint. */
enum {
	HALF_KEY_HEX = 1 << 0,    /* the key is 32 upper-case hex digits: 16 bytes           */
	HALF_FROM_V4 = 1 << 1,    /* "from" is an IPv4 address and port: 6 bytes            */
	HALF_MANY = 1 << 2,       /* a count of messages follows; else it is 1              */
	HALF_ARRIVED = 1 << 3,    /* it did not arrive in the millisecond of its gid         */
	HALF_IMMUNITY = 1 << 4,   /* an immunity of its own                                 */
	HALF_KIND_SHIFT = 5,      /* two bits: enum edge_kind                               */
	HALF_DB = 1 << 7,         /* a db_id                                                */
	HALF_WIDE_CHECK = 1 << 8, /* the check value takes 8 bytes, not 7                    */
};

/* Flags of a message. */
enum {
	MESSAGE_CODEC_MASK = 3,
	MESSAGE_PLAIN = 1 << 2, /* plain_bytes is not the length of the value              */
	MESSAGE_SPREAD = 1 << 3,
	MESSAGE_KEY = 1 << 4,
	MESSAGE_NULL = 1 << 5, /* no value at all                                        */
	MESSAGE_HEADERS = 1 << 6,
};

/* ---- writing ---------------------------------------------------------------------- */

struct out {
	uint8_t *p;
	uint8_t *end;
};

static void
put_bytes(struct out *o, const void *p, size_t n)
{
	CHECK(n <= (size_t)(o->end - o->p), n);
	if (n)
		memcpy(o->p, p, n);
	o->p += n;
}

static void
put_u8(struct out *o, uint8_t v)
{
	put_bytes(o, &v, 1);
}

/* The low N bytes of V. */
static void
put_low(struct out *o, uint64_t v, size_t n)
{
	put_bytes(o, &v, n);
}

static void
put_varint(struct out *o, uint64_t v)
{
	uint8_t b[VARINT_MAX];

	put_bytes(o, b, varint_put(b, v));
}

static void
put_str(struct out *o, struct str s)
{
	put_varint(o, s.n);
	put_bytes(o, s.p, s.n);
}

/* The difference of two clocks: small, of either sign, exact modulo 2^64. */
static void
put_delta(struct out *o, uint64_t v, uint64_t base)
{
	uint64_t d = v - base;

	put_varint(o, d << 1 ^ (d >> 63 ? UINT64_MAX : 0));
}

static uint64_t
get_low(struct cursor *c, size_t n)
{
	const uint8_t *p = cursor_take(c, n);
	uint64_t v = 0;

	if (p)
		memcpy(&v, p, n);
	return v;
}

static uint64_t
get_delta(struct cursor *c, uint64_t base)
{
	uint64_t z = cursor_varint(c);

	return base + (z >> 1 ^ (z & 1 ? UINT64_MAX : 0));
}

static struct str
get_str(struct cursor *c)
{
	return cursor_str(c, cursor_varint(c));
}

static uint32_t
get_u32(struct cursor *c)
{
	uint64_t v = cursor_varint(c);

	if (v > UINT32_MAX)
		c->bad = true;
	return (uint32_t)v;
}

/* -1 ("none") becomes 0. */
static void
put_partition(struct out *o, int32_t v)
{
	put_varint(o, (uint32_t)((uint32_t)v + 1));
}

static int32_t
get_partition(struct cursor *c)
{
	return (int32_t)(get_u32(c) - 1);
}

/* ---- strings that are numbers in disguise ---------------------------------------- */

/* As RocketMQ's clients make them: 32 digits, which are 16 bytes. */
static bool
key_is_hex(struct str s, uint8_t ret[16])
{
	return s.n == 32 && hex_get(ret, s.p, 16, HEX_UPPER);
}

/* A number as people write it: no sign, no leading zero. */
static bool
take_number(struct str *s, uint32_t max, uint32_t *ret)
{
	uint32_t v = 0;
	size_t i = 0;

	while (i < s->n && i < 5 && s->p[i] >= '0' && s->p[i] <= '9')
		v = v * 10 + (uint32_t)(s->p[i++] - '0');
	if (i == 0 || v > max || (i > 1 && s->p[0] == '0'))
		return false;
	s->p += i;
	s->n -= i;
	*ret = v;
	return true;
}

/* Only text that v4_to_text() gives back letter for letter. */
static bool
text_to_v4(struct str s, uint8_t ret[6])
{
	uint32_t v;

	for (size_t i = 0; i < 5; i++) {
		if (!take_number(&s, i < 4 ? 255 : 65535, &v))
			return false;
		if (i == 4)
			break;
		ret[i] = (uint8_t)v;
		if (s.n == 0 || s.p[0] != (i < 3 ? '.' : ':'))
			return false;
		s.p++;
		s.n--;
	}
	ret[4] = (uint8_t)v;
	ret[5] = (uint8_t)(v >> 8);
	return s.n == 0;
}

/* V and then END; by hand, because every fetch of a half comes through here. */
static char *
number_to_text(char *to, uint32_t v, char end)
{
	char digits[10];
	size_t n = 0;

	do {
		digits[n++] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	while (n)
		*to++ = digits[--n];
	*to++ = end;
	return to;
}

static struct str
v4_to_text(const uint8_t b[6], char text[RECORD_ADDR_TEXT])
{
	char *to = text;

	for (size_t i = 0; i < 4; i++)
		to = number_to_text(to, b[i], i < 3 ? '.' : ':');
	to = number_to_text(to, (uint32_t)(b[4] | b[5] << 8), '\0');
	return str_from(text, (size_t)(to - text) - 1);
}

/* ---- half ---------------------------------------------------------------------------- */

static void
put_message(struct out *o, const struct message *m, uint32_t topic)
{
	bool is_null = m->value.p == NULL;
	unsigned flags = (unsigned)m->codec & MESSAGE_CODEC_MASK;

	flags |= m->plain_bytes != m->value.n ? MESSAGE_PLAIN : 0u;
	flags |= m->spread ? MESSAGE_SPREAD : 0u;
	flags |= m->key.p ? MESSAGE_KEY : 0u;
	flags |= is_null ? MESSAGE_NULL : 0u;
	flags |= m->headers.bytes.n ? MESSAGE_HEADERS : 0u;

	put_u8(o, (uint8_t)flags);
	put_varint(o, topic);
	put_str(o, m->topic);
	put_partition(o, m->partition);
	if (flags & MESSAGE_SPREAD)
		put_varint(o, m->spread);
	if (flags & MESSAGE_PLAIN)
		put_varint(o, m->plain_bytes);
	if (flags & MESSAGE_KEY)
		put_str(o, m->key);
	if (flags & MESSAGE_HEADERS)
		put_str(o, m->headers.bytes);
	if (!is_null)
		put_str(o, m->value);
}

static void
get_message(struct cursor *c, struct message *m, uint32_t *topic)
{
	unsigned flags = cursor_u8(c);

	memset(m, 0, sizeof(*m));
	m->codec = (enum codec)(flags & MESSAGE_CODEC_MASK);
	*topic = get_u32(c);
	m->topic = get_str(c);
	m->partition = get_partition(c);
	if (flags & MESSAGE_SPREAD)
		m->spread = get_u32(c);
	if (flags & MESSAGE_PLAIN)
		m->plain_bytes = get_u32(c);
	if (flags & MESSAGE_KEY)
		m->key = get_str(c);
	if (flags & MESSAGE_HEADERS)
		m->headers.bytes = get_str(c);
	if (!(flags & MESSAGE_NULL))
		m->value = get_str(c);
	if (!(flags & MESSAGE_PLAIN))
		m->plain_bytes = (uint32_t)m->value.n;
	if (flags & 0x80)
		c->bad = true;
}

static void
put_half(struct out *o, const struct half *h, const uint32_t *topics)
{
	uint8_t key[16], from[6];
	unsigned flags = (unsigned)h->kind << HALF_KIND_SHIFT;

	CHECK(h->count >= 1 && h->count <= LIMIT_MESSAGES, h->gid.lo);
	CHECK((unsigned)h->kind <= 3, h->gid.lo);
	flags |= key_is_hex(h->key, key) ? HALF_KEY_HEX : 0u;
	flags |= text_to_v4(h->from, from) ? HALF_FROM_V4 : 0u;
	flags |= h->count != 1 ? HALF_MANY : 0u;
	flags |= h->arrived_ms != gid_ms(h->gid) ? HALF_ARRIVED : 0u;
	flags |= h->immunity_ms ? HALF_IMMUNITY : 0u;
	flags |= h->has_db_id ? HALF_DB : 0u;
	flags |= h->check >> 56 ? HALF_WIDE_CHECK : 0u;

	put_varint(o, flags);
	put_low(o, gid_ms(h->gid), 6);
	put_varint(o, h->gid.hi & 0xffff);
	put_varint(o, h->gid.lo);
	put_low(o, h->check, flags & HALF_WIDE_CHECK ? 8 : 7);
	put_low(o, h->body_hash.lo, 8);
	put_low(o, h->body_hash.hi, 8);
	put_str(o, h->group);
	if (flags & HALF_KEY_HEX)
		put_bytes(o, key, sizeof(key));
	else
		put_str(o, h->key);
	if (flags & HALF_DB)
		put_bytes(o, h->db_id, sizeof(h->db_id));
	if (flags & HALF_ARRIVED)
		put_delta(o, h->arrived_ms, gid_ms(h->gid));
	put_delta(o, h->born_ms, h->arrived_ms);
	if (flags & HALF_IMMUNITY)
		put_varint(o, h->immunity_ms);
	if (flags & HALF_FROM_V4)
		put_bytes(o, from, sizeof(from));
	else
		put_str(o, h->from);
	put_str(o, h->edge);
	if (flags & HALF_MANY)
		put_varint(o, h->count);
	for (uint32_t i = 0; i < h->count; i++)
		put_message(o, &h->messages[i], topics[i]);
}

static void
get_half(struct cursor *c, struct record_scratch *s, struct half *h)
{
	uint64_t flags = cursor_varint(c);
	uint64_t ms = get_low(c, 6);
	uint64_t shard = cursor_varint(c);
	const uint8_t *p;

	memset(h, 0, sizeof(*h));
	if (flags >> 9 || shard > UINT16_MAX)
		c->bad = true;
	h->gid = gid_make(ms, (uint16_t)shard, cursor_varint(c));
	h->kind = (enum edge_kind)(flags >> HALF_KIND_SHIFT & 3);
	h->check = get_low(c, flags & HALF_WIDE_CHECK ? 8 : 7);
	h->body_hash.lo = cursor_le64(c);
	h->body_hash.hi = cursor_le64(c);
	h->group = get_str(c);
	if (!(flags & HALF_KEY_HEX)) {
		h->key = get_str(c);
	} else if ((p = cursor_take(c, 16))) {
		hex_put(s->key, p, 16, HEX_UPPER);
		h->key = str_from(s->key, sizeof(s->key));
	}
	h->has_db_id = flags & HALF_DB;
	if (h->has_db_id && (p = cursor_take(c, sizeof(h->db_id))))
		memcpy(h->db_id, p, sizeof(h->db_id));
	h->arrived_ms = flags & HALF_ARRIVED ? get_delta(c, ms) : ms;
	h->born_ms = get_delta(c, h->arrived_ms);
	h->immunity_ms = flags & HALF_IMMUNITY ? get_u32(c) : 0;
	if (!(flags & HALF_FROM_V4))
		h->from = get_str(c);
	else if ((p = cursor_take(c, 6)))
		h->from = v4_to_text(p, s->from);
	h->edge = get_str(c);
	h->count = flags & HALF_MANY ? get_u32(c) : 1;
	if (h->count < 1 || h->count > LIMIT_MESSAGES) {
		c->bad = true;
		h->count = 0;
	}
	for (uint32_t i = 0; i < h->count && !c->bad; i++)
		get_message(c, &s->messages[i], &s->topics[i]);
	h->messages = s->messages;
}

/* ---- decision and what follows it ------------------------------------------------------ */

/* state | origin << 4 | "who is an IPv4 address" << 7.  State 0: undecided, nothing follows. */
static void
put_decision(struct out *o, const struct decision *d)
{
	uint8_t who[6];
	bool v4 = text_to_v4(d->who, who);

	if (!d->state) {
		put_u8(o, 0);
		return;
	}
	CHECK((unsigned)d->state < 16 && (unsigned)d->origin < 8, d->state);
	put_u8(o, (uint8_t)((unsigned)d->state | (unsigned)d->origin << 4 | (v4 ? 0x80u : 0u)));
	put_low(o, d->ms, 6);
	if (v4)
		put_bytes(o, who, sizeof(who));
	else
		put_str(o, d->who);
}

static void
get_decision(struct cursor *c, struct record_scratch *s, struct decision *d)
{
	uint8_t flags = cursor_u8(c);
	const uint8_t *p;

	memset(d, 0, sizeof(*d));
	if (!flags)
		return;
	d->state = (enum txn_state)(flags & 15);
	d->origin = (enum origin)(flags >> 4 & 7);
	d->ms = get_low(c, 6);
	if (!(flags & 0x80))
		d->who = get_str(c);
	else if ((p = cursor_take(c, 6)))
		d->who = v4_to_text(p, s->who);
	if (d->state < TXN_PREPARED || d->state > TXN_DISCARDED)
		c->bad = true;
}

static void
put_part(struct out *o, const struct part *p)
{
	put_varint(o, p->topic);
	put_partition(o, p->partition);
	put_varint(o, p->n);
	put_u8(o, (uint8_t)p->state);
	if (p->state == PART_REFUSED || p->state == PART_RETRIED)
		put_low(o, (uint32_t)p->code, 4);
}

static void
get_part(struct cursor *c, struct part *p)
{
	p->topic = get_u32(c);
	p->partition = get_partition(c);
	p->n = cursor_varint(c);
	p->state = (enum part_state)cursor_u8(c);
	p->code = 0;
	if (p->state == PART_REFUSED || p->state == PART_RETRIED)
		p->code = (int32_t)cursor_le32(c);
	if (p->state > PART_RETRIED)
		c->bad = true;
}

static void
put_copy(struct out *o, const struct entry_copy *e)
{
	put_u8(o, (uint8_t)((unsigned)e->state | (e->parts ? 0x10u : 0u)));
	put_u8(o, e->generation);
	put_varint(o, e->checks);
	put_low(o, e->since_ms, 8);
	put_decision(o, &e->decision);
	put_half(o, &e->half, e->topics);
	for (uint32_t i = 0; e->parts && i < e->half.count; i++)
		put_part(o, &e->parts[i]);
}

static void
get_copy(struct cursor *c, struct record_scratch *s, struct entry_copy *e)
{
	uint8_t flags = cursor_u8(c);

	e->state = (enum txn_state)(flags & 15);
	e->generation = cursor_u8(c);
	e->checks = get_u32(c);
	e->since_ms = get_low(c, 8);
	get_decision(c, s, &e->decision);
	get_half(c, s, &e->half);
	e->topics = s->topics;
	e->parts = NULL;
	if (flags & 0x10) {
		for (uint32_t i = 0; i < e->half.count && !c->bad; i++)
			get_part(c, &s->parts[i]);
		e->parts = s->parts;
	}
	if (flags & 0xe0 || e->state < TXN_PREPARED || e->state > TXN_DISCARDED)
		c->bad = true;
}

static void
put_stub(struct out *o, const struct entry_stub *e)
{
	uint8_t key[16];
	bool hex = key_is_hex(e->key, key);

	put_u8(o, (uint8_t)((unsigned)e->state | (hex ? 0x10u : 0u)));
	put_low(o, e->gid.hi, 8);
	put_varint(o, e->gid.lo);
	put_low(o, e->check, 8);
	put_u8(o, e->generation);
	put_decision(o, &e->decision);
	put_delta(o, e->arrived_ms, gid_ms(e->gid));
	put_str(o, e->group);
	if (hex)
		put_bytes(o, key, sizeof(key));
	else
		put_str(o, e->key);
	put_low(o, e->key_hash, 8);
	put_low(o, e->body_hash.lo, 8);
	put_low(o, e->body_hash.hi, 8);
}

static void
get_stub(struct cursor *c, struct record_scratch *s, struct entry_stub *e)
{
	uint8_t flags = cursor_u8(c);
	const uint8_t *p;

	e->state = (enum txn_state)(flags & 15);
	e->gid.hi = cursor_le64(c);
	e->gid.lo = cursor_varint(c);
	e->check = cursor_le64(c);
	e->generation = cursor_u8(c);
	get_decision(c, s, &e->decision);
	e->arrived_ms = get_delta(c, gid_ms(e->gid));
	e->group = get_str(c);
	if (!(flags & 0x10)) {
		e->key = get_str(c);
	} else if ((p = cursor_take(c, 16))) {
		hex_put(s->key, p, 16, HEX_UPPER);
		e->key = str_from(s->key, sizeof(s->key));
	}
	e->key_hash = cursor_le64(c);
	e->body_hash.lo = cursor_le64(c);
	e->body_hash.hi = cursor_le64(c);
	if (flags & 0xe0 || e->state < TXN_PREPARED || e->state > TXN_DISCARDED)
		c->bad = true;
}

int
record_stub_seq(const struct record *r, uint64_t *ret_seq)
{
	struct cursor c = cursor_of(r->body);

	(void)cursor_u8(&c);
	(void)cursor_le64(&c);
	*ret_seq = cursor_varint(&c);
	return c.bad ? ERR_MALFORMED : 0;
}

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

/* What a copy says beyond its half, and of each message; its decision's WHO is not kept. */
#define COPY_MORE 64
#define COPY_PART 28

static size_t
bound_half(const struct half *h)
{
	size_t n = 128 + h->group.n + h->key.n + h->from.n + h->edge.n;

	for (uint32_t i = 0; i < h->count; i++) {
		const struct message *m = &h->messages[i];

		n += 48 + m->topic.n + m->key.n + m->value.n + m->headers.bytes.n;
	}
	return n;
}

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
		return bound_half(&e->half.half);
	case ENTRY_DECISION:
		return 32 + e->decision.decision.who.n + (size_t)e->decision.count * VARINT_MAX;
	case ENTRY_PUBLISHED:
		return 32 + (size_t)e->published.done_count * VARINT_MAX;
	case ENTRY_TOPIC:
		return 32 + e->topic.name.n;
	case ENTRY_STUB:
		return 128 + e->stub.group.n + e->stub.key.n + e->stub.decision.who.n;
	case ENTRY_COPY:
		return COPY_MORE + bound_half(&e->copy.half) + e->copy.decision.who.n +
		       (e->copy.parts ? (size_t)e->copy.half.count * COPY_PART : 0);
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
		put_half(o, &e->half.half, e->half.topics);
		return;
	case ENTRY_DECISION:
		put_decision(o, &e->decision.decision);
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
		put_stub(o, &e->stub);
		return;
	case ENTRY_COPY:
		put_copy(o, &e->copy);
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
		get_half(c, s, &e->half.half);
		e->half.topics = s->topics;
		return 0;
	case ENTRY_DECISION:
		get_decision(c, s, &e->decision.decision);
		e->decision.seq = cursor_varint(c);
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
		get_stub(c, s, &e->stub);
		return 0;
	case ENTRY_COPY:
		get_copy(c, s, &e->copy);
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

size_t
record_copy_bound(const struct half *h)
{
	return COPY_MORE + (size_t)h->count * COPY_PART;
}

void
record_scratch_done(struct record_scratch *s)
{
	mem_free(s->done);
	mem_free(s->state_topics);
	mem_free(s->state_lanes);
	memset(s, 0, sizeof(*s));
}
