/*
 * half.c -- Escrow's own half-send: fields for the transaction, a body of messages.
 *
 *      0        4  5  6     8     10        14
 *      +--------+--+--+-----+-----+---------+-------+-----+---------+-------+
 *      | size   |fl|tn| key | hdr |partition| topic | key | headers | value |
 *      +--------+--+--+-----+-----+---------+-------+-----+---------+-------+
 *        u32     u8 u8  u16   u16   i32                               the rest
 *
 * Unlike a RocketMQ message it carries any bytes: a key that is no text, an empty key, a null
 * value, a null header.  The headers are encoded as the daemon keeps them, so that they go
 * through it untouched.
 */
#include "wire/wire.h"

#include "wire/codec.h"

#define PART_HEAD 14

enum part_flag { PART_KEY = 0x1, PART_VALUE = 0x2 };

int
wire_half_decode(const struct wire_command *c, struct wire_half *ret_half)
{
	struct wire_half h = { .born_ms = 0 };
	int64_t after = 0;
	bool ok = true;

	for (size_t i = 0; i < c->field_count; i++) {
		struct wire_str name = c->fields[i].name;
		struct wire_str v = c->fields[i].value;

		if (v.p == NULL)
			continue;
		if (STR_IS(name, "group"))
			h.group = v;
		else if (STR_IS(name, "key"))
			h.key = v;
		else if (STR_IS(name, "dbId"))
			h.db_id = v;
		else if (STR_IS(name, "born"))
			ok &= wire_i64(v, &h.born_ms);
		else if (STR_IS(name, "checkAfter"))
			ok &= wire_i64(v, &after) && after >= 0 && after <= INT32_MAX;
	}
	if (!ok || h.group.p == NULL)
		return WIRE_E_MALFORMED;
	h.check_after_s = (int32_t)after;
	*ret_half = h;
	return 0;
}

void
wire_half_fields(const struct wire_half *h, struct wire_command *c, char text[WIRE_HALF_TEXT])
{
	wire_add(c, WIRE_STR("group"), h->group);
	if (h->key.n > 0)
		wire_add(c, WIRE_STR("key"), h->key);
	if (h->db_id.n > 0)
		wire_add(c, WIRE_STR("dbId"), h->db_id);
	if (h->born_ms != 0)
		wire_add(c, WIRE_STR("born"), print_i64(&text, h->born_ms));
	if (h->check_after_s != 0)
		wire_add(c, WIRE_STR("checkAfter"), print_i64(&text, h->check_after_s));
}

size_t
wire_part_size(const struct wire_part *p)
{
	return PART_HEAD + p->topic.n + p->key.n + p->headers.n + p->value.n;
}

void
wire_part_put(const struct wire_part *p, void *to)
{
	uint8_t *b = put32(to, (uint32_t)wire_part_size(p));

	*b++ = (uint8_t)((p->key.p != NULL ? PART_KEY : 0) | (p->value.p != NULL ? PART_VALUE : 0));
	*b++ = (uint8_t)p->topic.n;
	b = put16(b, (uint16_t)p->key.n);
	b = put16(b, (uint16_t)p->headers.n);
	b = put32(b, (uint32_t)p->partition);
	b = put_bytes(b, p->topic.p, p->topic.n);
	b = put_bytes(b, p->key.p, p->key.n);
	b = put_bytes(b, p->headers.p, p->headers.n);
	put_bytes(b, p->value.p, p->value.n);
}

int
wire_part_next(struct wire_str body, size_t *at, struct wire_part *ret_part)
{
	const uint8_t *p = (const uint8_t *)body.p + *at;
	size_t left = body.n - *at;
	struct wire_part part = { .partition = -1 };
	size_t size, used;
	uint8_t flags;

	if (left == 0)
		return 0;
	if (left < PART_HEAD)
		return WIRE_E_MALFORMED;
	size = get32(p);
	flags = p[4];
	part.topic.n = p[5];
	part.key.n = get16(p + 6);
	part.headers.n = get16(p + 8);
	part.partition = (int32_t)get32(p + 10);
	used = PART_HEAD + part.topic.n + part.key.n + part.headers.n;
	if (size > left || size < used || flags & ~(PART_KEY | PART_VALUE))
		return WIRE_E_MALFORMED;
	part.topic.p = (const char *)p + PART_HEAD;
	if (flags & PART_KEY)
		part.key.p = part.topic.p + part.topic.n;
	part.headers.p = part.topic.p + part.topic.n + part.key.n;
	if (flags & PART_VALUE)
		part.value = (struct wire_str){ (const char *)p + used, size - used };
	/* Bytes that nothing claims would be lost in silence. */
	if ((part.key.p == NULL && part.key.n > 0) || (part.value.p == NULL && size > used))
		return WIRE_E_MALFORMED;
	*at += size;
	*ret_part = part;
	return 1;
}

static size_t
put_varint(uint8_t *to, size_t v)
{
	size_t n = 0;

	for (; v >= 0x80; v >>= 7, n++)
		if (to != NULL)
			to[n] = (uint8_t)(v | 0x80);
	if (to != NULL)
		to[n] = (uint8_t)v;
	return n + 1;
}

size_t
wire_header_put(struct wire_str name, struct wire_str value, void *to)
{
	uint8_t *p = to;
	size_t n = put_varint(p, name.n);

	if (p != NULL)
		put_bytes(p + n, name.p, name.n);
	n += name.n;
	n += put_varint(p != NULL ? p + n : NULL, value.p != NULL ? value.n + 1 : 0);
	if (value.p != NULL) {
		if (p != NULL)
			put_bytes(p + n, value.p, value.n);
		n += value.n;
	}
	return n;
}
