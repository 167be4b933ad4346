/*
 * fuzz_wire.c -- any bytes into client/wire: what every client may send us.
 *
 * The first byte chooses what the rest is: 0 a JSON header, 1 a binary header, 2 a
 * heartbeat, 3 an encoded message, 5 the messages of a half-send, else a stream as it comes
 * from a socket.  Oracles besides crashes: what is accepted survives being written in both
 * encodings and read again; a frame is the same whatever the pieces in which it arrives;
 * nothing is read past its end (each input is copied to a block of exactly its size).
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz/must.h"
#include "wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define OUT_ROOM (2u << 20)

static uint8_t out[OUT_ROOM];

static uint8_t *
exactly(const uint8_t *data, size_t n)
{
	uint8_t *p = malloc(n > 0 ? n : 1);

	MUST(p != NULL);
	if (n > 0)
		memcpy(p, data, n);
	return p;
}

static bool
same(struct wire_str a, struct wire_str b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* Null and empty are one in binary, and null fields are not written in JSON: leave them out. */
static void
drop_empty(struct wire_command *c)
{
	size_t n = 0;

	for (size_t i = 0; i < c->field_count; i++)
		if (c->fields[i].value.n > 0 && c->fields[i].name.n > 0 &&
		    c->fields[i].name.n <= INT16_MAX)
			c->fields[n++] = c->fields[i];
	c->field_count = n;
}

static void
written_and_read(struct wire_command *c, enum wire_type type)
{
	static struct wire_command again;
	size_t n = 0;

	c->type = type;
	if (type == WIRE_BINARY) {
		c->code = (int16_t)c->code;
		c->version = (int16_t)c->version;
	}
	if (wire_encode(c, out, sizeof(out), &n) < 0)
		return; /* escaped, it may outgrow a header */
	MUST(wire_decode(out, n, &again) == 0);
	MUST(again.type == type && again.code == c->code && again.version == c->version);
	MUST(again.opaque == c->opaque && again.flag == c->flag);
	MUST(same(again.remark, c->remark) && same(again.body, c->body));
	MUST(again.field_count == c->field_count);
	for (size_t i = 0; i < c->field_count; i++)
		MUST(same(again.fields[i].name, c->fields[i].name) &&
		     same(again.fields[i].value, c->fields[i].value));
	wire_command_done(&again);
}

/* A request is the same when it is written again, under its own code or under the other. */
static void
send_again(const struct wire_send *s, int32_t code)
{
	static struct wire_command w;
	struct wire_send again;
	char text[WIRE_SEND_TEXT];

	wire_command_init(&w, WIRE_JSON, code);
	wire_send_fields(s, &w, text);
	MUST(wire_send_decode(&w, &again) == 0);
	MUST(same(again.producer_group, s->producer_group) && same(again.topic, s->topic) &&
	     same(again.default_topic, s->default_topic) && same(again.properties, s->properties));
	MUST(again.default_topic_queue_nums == s->default_topic_queue_nums &&
	     again.queue_id == s->queue_id && again.sys_flag == s->sys_flag &&
	     again.born_timestamp == s->born_timestamp && again.flag == s->flag &&
	     again.batch == s->batch);
}

static void
half_again(const struct wire_half *h)
{
	static struct wire_command w;
	struct wire_half again;
	char text[WIRE_HALF_TEXT];

	wire_command_init(&w, WIRE_BINARY, 7802);
	wire_half_fields(h, &w, text);
	MUST(wire_half_decode(&w, &again) == 0);
	MUST(same(again.group, h->group) && same(again.key, h->key) && same(again.db_id, h->db_id));
	MUST(again.born_ms == h->born_ms && again.check_after_s == h->check_after_s);
}

static void
end_again(const struct wire_end *e)
{
	static struct wire_command w;
	struct wire_end again;
	char text[WIRE_END_TEXT];

	wire_command_init(&w, WIRE_BINARY, 37);
	wire_end_fields(e, &w, text);
	MUST(wire_end_decode(&w, &again) == 0);
	MUST(same(again.producer_group, e->producer_group) && same(again.msg_id, e->msg_id) &&
	     same(again.transaction_id, e->transaction_id) && same(again.topic, e->topic));
	MUST(again.state_offset == e->state_offset && again.log_offset == e->log_offset &&
	     again.decision == e->decision && again.from_check == e->from_check);
}

static void
requests(const struct wire_command *c)
{
	struct wire_str found;
	struct wire_send s;
	struct wire_half h;
	struct wire_end e;
	struct wire_field f;
	int64_t offset;

	if (wire_send_decode(c, &s) == 0) {
		for (size_t at = 0; wire_property_next(s.properties, &at, &f);)
			MUST(at <= s.properties.n && f.name.n > 0);
		if (wire_property_find(s.properties, "KEYS", &found))
			MUST(found.p >= s.properties.p &&
			     found.p + found.n <= s.properties.p + s.properties.n);
		send_again(&s, 10);
		send_again(&s, 310);
	}
	if (wire_half_decode(c, &h) == 0) {
		MUST(h.group.p != NULL && h.check_after_s >= 0);
		half_again(&h);
	}
	if (wire_end_decode(c, &e) == 0) {
		MUST(e.decision == WIRE_UNKNOWN || e.decision == WIRE_COMMIT ||
		     e.decision == WIRE_ROLLBACK);
		end_again(&e);
	}
	for (size_t i = 0; i < c->field_count; i++)
		if (wire_msg_id_parse(c->fields[i].value, &offset) == 0) {
			char text[WIRE_MSG_ID_TEXT];
			int64_t back;

			MUST(offset >= 0);
			wire_msg_id_format((const uint8_t *)"\x7f\0\0\x01", 4, 10911, offset, text);
			MUST(wire_msg_id_parse((struct wire_str){ text, strlen(text) }, &back) ==
				     0 &&
			     back == offset);
		}
	/* The last of a name is the one that counts. */
	if (c->field_count && c->fields[0].name.n < 64) {
		const struct wire_str *name = &c->fields[0].name;
		const struct wire_field *last;
		char text[64];

		memcpy(text, name->p ? name->p : "", name->n);
		text[name->n] = '\0';
		last = wire_field(c, text);
		MUST(strlen(text) != name->n || (last && same(last->name, *name)));
		(void)wire_field_i64(c, text, &offset);
	}
	MUST(wire_language_name(c->language) != NULL);
}

static void
command(const uint8_t *p, size_t n)
{
	static struct wire_command c;

	if (wire_decode(p, n, &c) < 0)
		return;
	MUST(c.field_count <= WIRE_FIELDS_MAX);
	requests(&c);
	drop_empty(&c);
	written_and_read(&c, WIRE_JSON);
	written_and_read(&c, WIRE_BINARY);
	wire_command_done(&c);
}

static void
header(const uint8_t *data, size_t n, uint8_t type)
{
	uint8_t *p = malloc(n + 8);
	size_t total = n + 4;

	MUST(p != NULL);
	for (int i = 0; i < 4; i++) {
		p[i] = (uint8_t)(total >> (24 - 8 * i));
		p[4 + i] = (uint8_t)(n >> (24 - 8 * i));
	}
	p[4] = type;
	if (n > 0)
		memcpy(p + 8, data, n);
	command(p, n + 8);
	free(p);
}

/* Frame after frame, each looked at from its first byte on until it is whole. */
static void
stream(const uint8_t *data, size_t n)
{
	static struct wire_command c;

	for (size_t at = 0; at < n;) {
		size_t left = n - at, total = 0, longer = 0;
		int err = wire_frame_size(data + at, left, 1u << 20, &total);

		for (size_t i = 0; i < left && i < 64; i++) {
			uint8_t *piece = exactly(data + at, i);

			if (i < 8)
				MUST(wire_frame_size(piece, i, 1u << 20, &longer) == WIRE_E_MORE);
			else
				MUST(wire_frame_size(piece, i, 1u << 20, &longer) == err &&
				     longer == total);
			if (err == 0 && i < total)
				MUST(wire_decode(piece, i, &c) == WIRE_E_MORE);
			free(piece);
		}
		if (err < 0 || total > left)
			return;

		uint8_t *whole = exactly(data + at, total);

		command(whole, total);
		free(whole);
		at += total;
	}
}

static void
heartbeat(const uint8_t *p, size_t n)
{
	static struct wire_heartbeat h, again;
	size_t m = 0;

	if (wire_heartbeat_decode((struct wire_str){ (const char *)p, n }, &h) < 0)
		return;
	MUST(h.group_count <= WIRE_GROUPS_MAX);
	MUST(wire_heartbeat_encode(&h, out, sizeof(out), &m) == 0);
	MUST(wire_heartbeat_decode((struct wire_str){ (const char *)out, m }, &again) == 0);
	MUST(again.group_count == h.group_count && same(again.client_id, h.client_id));
	wire_heartbeat_done(&again);
	wire_heartbeat_done(&h);
}

static void
message(uint8_t *p, size_t n)
{
	struct wire_message m;
	uint32_t crc;

	if (n < 12)
		return;
	/* Size and magic are put right, and the CRC where the body lies, or nothing would pass. */
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(n >> (24 - 8 * i));
	memcpy(p + 4, "\xDA\xA3\x20\xA7", 4);
	if (n >= 92 && !(p[39] & (WIRE_SYS_BORNHOST_V6 | WIRE_SYS_STOREHOST_V6))) {
		size_t body =
			(size_t)p[84] << 24 | (size_t)p[85] << 16 | (size_t)p[86] << 8 | p[87];

		if (body <= n - 88) {
			crc = wire_crc32(p + 88, body) & 0x7FFFFFFF;
			for (int i = 0; i < 4; i++)
				p[8 + i] = (uint8_t)(crc >> (24 - 8 * i));
		}
	}
	if (wire_message_decode(p, n, &m) < 0)
		return;
	MUST(wire_message_size(&m) == n);
	MUST(wire_message_encode(&m, out, sizeof(out)) == 0);
	MUST(memcmp(out, p, n) == 0);
}

/* What is taken of a body is, written again, the same bytes. */
static void
parts(const uint8_t *p, size_t n)
{
	struct wire_str body = { (const char *)p, n };
	struct wire_part part;
	size_t at = 0, begin = 0;

	while (wire_part_next(body, &at, &part) > 0) {
		MUST(at <= n && wire_part_size(&part) == at - begin);
		/* As headers are written: the size told first is the size. */
		MUST(wire_header_put(part.topic, part.value, NULL) ==
		     wire_header_put(part.topic, part.value, out));
		wire_part_put(&part, out);
		MUST(memcmp(out, p + begin, at - begin) == 0);
		begin = at;
	}
	MUST(at == begin);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	if (n == 0 || n > 1u << 20)
		return 0;

	uint8_t *p = exactly(data + 1, n - 1);

	if (data[0] <= 1)
		header(p, n - 1, data[0]);
	else if (data[0] == 2)
		heartbeat(p, n - 1);
	else if (data[0] == 3)
		message(p, n - 1);
	else if (data[0] == 5)
		parts(p, n - 1);
	else
		stream(p, n - 1);
	free(p);
	return 0;
}
