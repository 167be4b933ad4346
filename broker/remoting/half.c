/*
 * half.c -- Escrow's own half-send (7802): one or several messages under one decision.
 *
 * Nothing to translate: its messages are what Kafka will get.  The headers stay where they were
 * read; only the array of messages is built, in the turn's arena.
 */
#include "base/err.h"
#include "remoting/route.h"
#include "remoting/send.h"
#include "remoting/serve.h"

/* One half-send with all that it points to, borrowed by the core until the turn's end. */
struct half_slot {
	struct half_request request;
	struct message messages[];
};

/* How many messages the body has, or ERR_MALFORMED; more than the core takes count as one more. */
static int
count_parts(struct wire_str body)
{
	struct wire_part part;
	size_t at = 0;
	int count = 0, got;

	while (count <= LIMIT_MESSAGES && (got = wire_part_next(body, &at, &part)) != 0) {
		if (got < 0)
			return ERR_MALFORMED;
		count++;
	}
	return count;
}

/* NULL, or why one of the messages is refused. */
static const char *
take_parts(struct conn *c, struct wire_str body, struct message *messages, struct str *values)
{
	struct wire_part part;
	const char *why = NULL;
	size_t at = 0;

	for (uint32_t i = 0; wire_part_next(body, &at, &part) > 0; i++) {
		struct message *m = &messages[i];

		*m = (struct message){ .partition = part.partition };
		if (route_topic(c->r, str_wire(part.topic), &m->topic, &why) < 0)
			return why;
		if (part.partition < -1)
			return "refused: a partition is a number, or -1";
		/* In a check both are properties, in one block. */
		if (part.key.n + part.headers.n > LIMIT_PART_BYTES)
			return "refused: key and headers of a message have at most 32000 bytes";
		m->spread = (uint32_t)c->requests + i;
		m->key = str_wire(part.key);
		m->value = str_wire(part.value);
		m->plain_bytes = (uint32_t)part.value.n;
		m->headers.bytes = str_wire(part.headers);
		values[i] = m->value;
	}
	return NULL;
}

static const char *
build(struct conn *c, const struct wire_command *command, const struct wire_half *w,
      struct half_slot **ret_slot)
{
	struct arena *arena = &c->r->arena;
	int count = count_parts(command->body);
	struct half_slot *slot;
	struct half *h;
	struct str *values;
	struct gid db = { 0, 0 };
	const char *why;

	if (count < 0)
		return "refused: the body is not a row of messages";
	if (count == 0 || count > LIMIT_MESSAGES)
		return "refused: a transaction has 1 to 256 messages";
	if (w->db_id.n > 0 && gid_parse(str_wire(w->db_id), &db) < 0)
		return "refused: dbId is not 32 hex digits";
	if (w->check_after_s > LIMIT_IMMUNITY_S)
		return "refused: checkAfter is more than a week";
	slot = arena_alloc(arena, sizeof(*slot) + (size_t)count * sizeof(slot->messages[0]));
	values = arena_alloc(arena, (size_t)count * sizeof(*values));
	why = take_parts(c, command->body, slot->messages, values);
	if (why)
		return why;
	memset(&slot->request, 0, sizeof(slot->request));
	h = &slot->request.half;
	h->group = str_wire(w->group);
	h->key = str_wire(w->key);
	h->has_db_id = w->db_id.n > 0;
	gid_bytes(db, h->db_id);
	h->born_ms = w->born_ms > 0 ? (uint64_t)w->born_ms : 0;
	h->immunity_ms = (uint32_t)w->check_after_s * 1000u;
	h->from = str_of(c->from);
	h->kind = EDGE_NATIVE;
	h->edge = STR("");
	h->count = (uint32_t)count;
	h->messages = slot->messages;
	h->body_hash = send_hash(arena, slot->messages, values, h->count);
	*ret_slot = slot;
	return NULL;
}

void
half_request(struct conn *c, const struct wire_command *command)
{
	struct reply_to to = serve_reply_to(c, command, SERVE_HALF);
	struct half_slot *slot = NULL;
	struct wire_half half;
	const char *why;

	if (wire_half_decode(command, &half) < 0)
		why = "refused: a field of the half-send is missing or no number";
	else
		why = build(c, command, &half, &slot);
	if (why) {
		serve_refuse(c, to, WIRE_MESSAGE_ILLEGAL, why);
		return;
	}
	slot->request.to = to;
	core_half_send(c->r->core, &slot->request);
}
