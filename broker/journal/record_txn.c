/*
 * record_txn.c -- the bodies that tell of a transaction: half, decision, copy, stub.
 *
 * They are compact because they are most of what a busy disk writes: numbers are varints, what is
 * usual costs a flag and not a field, an idempotency key of 32 hex digits and an IPv4 address
 * travel as the bytes they stand for.
 */
#include "base/err.h"
#include "base/hex.h"
#include "journal/record_body.h"

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

void
body_put_half(struct out *o, const struct half *h, const uint32_t *topics)
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

void
body_get_half(struct cursor *c, struct record_scratch *s, struct half *h)
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
void
body_put_decision(struct out *o, const struct decision *d)
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

void
body_get_decision(struct cursor *c, struct record_scratch *s, struct decision *d)
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

void
body_put_copy(struct out *o, const struct entry_copy *e)
{
	put_u8(o, (uint8_t)((unsigned)e->state | (e->parts ? 0x10u : 0u)));
	put_u8(o, e->generation);
	put_varint(o, e->checks);
	put_low(o, e->since_ms, 8);
	body_put_decision(o, &e->decision);
	body_put_half(o, &e->half, e->topics);
	for (uint32_t i = 0; e->parts && i < e->half.count; i++)
		put_part(o, &e->parts[i]);
}

void
body_get_copy(struct cursor *c, struct record_scratch *s, struct entry_copy *e)
{
	uint8_t flags = cursor_u8(c);

	e->state = (enum txn_state)(flags & 15);
	e->generation = cursor_u8(c);
	e->checks = get_u32(c);
	e->since_ms = get_low(c, 8);
	body_get_decision(c, s, &e->decision);
	body_get_half(c, s, &e->half);
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

void
body_put_stub(struct out *o, const struct entry_stub *e)
{
	uint8_t key[16];
	bool hex = key_is_hex(e->key, key);

	put_u8(o, (uint8_t)((unsigned)e->state | (hex ? 0x10u : 0u)));
	put_low(o, e->gid.hi, 8);
	put_varint(o, e->gid.lo);
	put_low(o, e->check, 8);
	put_u8(o, e->generation);
	body_put_decision(o, &e->decision);
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

void
body_get_stub(struct cursor *c, struct record_scratch *s, struct entry_stub *e)
{
	uint8_t flags = cursor_u8(c);
	const uint8_t *p;

	e->state = (enum txn_state)(flags & 15);
	e->gid.hi = cursor_le64(c);
	e->gid.lo = cursor_varint(c);
	e->check = cursor_le64(c);
	e->generation = cursor_u8(c);
	body_get_decision(c, s, &e->decision);
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

/* ---- bounds -------------------------------------------------------------------------------- */

/* What a copy says beyond its half, and of each message; its decision's WHO is not kept. */
#define COPY_MORE 64
#define COPY_PART 28

size_t
body_bound_half(const struct half *h)
{
	size_t n = 128 + h->group.n + h->key.n + h->from.n + h->edge.n;

	for (uint32_t i = 0; i < h->count; i++) {
		const struct message *m = &h->messages[i];

		n += 48 + m->topic.n + m->key.n + m->value.n + m->headers.bytes.n;
	}
	return n;
}

size_t
body_bound_copy(const struct entry_copy *e)
{
	return COPY_MORE + body_bound_half(&e->half) + e->decision.who.n +
	       (e->parts ? (size_t)e->half.count * COPY_PART : 0);
}

size_t
record_copy_bound(const struct half *h)
{
	return COPY_MORE + (size_t)h->count * COPY_PART;
}
