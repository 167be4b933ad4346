/*
 * rocketmq.c -- requests for a broker that is RocketMQ: a half-send by 310 instead of 7802.
 *
 * RocketMQ's messages are text with properties: what cannot be said so is refused here, before it
 * would be lost in silence.  There is no fence: no db_id, no gid, and a repeated half-send is a
 * second one, which its check rolls back.  A half-send that names a db_id counts on the fence, and
 * is refused too.
 */
#include "producer/inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "name 1 value 2" at the end of a block that has room for it. */
static bool
add(char *block, size_t *n, struct wire_str name, struct wire_str value)
{
	if (name.n == 0 || memchr(name.p, 1, name.n) || memchr(name.p, 2, name.n) ||
	    (value.n > 0 && (memchr(value.p, 1, value.n) || memchr(value.p, 2, value.n))) ||
	    *n + name.n + value.n + 2 > WIRE_PROPERTIES_MAX)
		return false;
	memcpy(block + *n, name.p, name.n);
	*n += name.n;
	block[(*n)++] = 1;
	if (value.n > 0)
		memcpy(block + *n, value.p, value.n);
	*n += value.n;
	block[(*n)++] = 2;
	return true;
}

/* Seven bits a byte, low first: our own, so well formed. */
static size_t
take_varint(const char **p)
{
	size_t v = 0;
	unsigned shift = 0, byte;

	do {
		byte = (unsigned char)*(*p)++;
		v |= (size_t)(byte & 0x7f) << shift;
		shift += 7;
	} while (byte & 0x80);
	return v;
}

static bool
add_headers(char *block, size_t *n, struct wire_str headers)
{
	const char *p = headers.p, *end = headers.p + headers.n;

	while (p < end) {
		struct wire_str name, value;

		name.n = take_varint(&p);
		name.p = p;
		p += name.n;
		value.n = take_varint(&p);
		if (value.n-- == 0)
			return false; /* null */
		value.p = p;
		p += value.n;
		if (!add(block, n, name, value))
			return false;
	}
	return true;
}

static const char *
properties(const struct wire_half *h, const struct wire_part *part, char *block, size_t *n)
{
	char seconds[16];
	int len = snprintf(seconds, sizeof(seconds), "%d", (int)h->check_after_s);

	if (!add(block, n, WIRE_STR("TRAN_MSG"), WIRE_STR("true")) ||
	    !add(block, n, WIRE_STR("PGROUP"), h->group) ||
	    !add(block, n, WIRE_STR("UNIQ_KEY"), h->key) ||
	    !add(block, n, WIRE_STR("WAIT"), WIRE_STR("true")))
		return "group or id cannot be a property of RocketMQ";
	if (h->check_after_s > 0 && !add(block, n, WIRE_STR("CHECK_IMMUNITY_TIME_IN_SECONDS"),
					 (struct wire_str){ seconds, (size_t)len }))
		return "the properties are too long";
	if (part->key.p && !add(block, n, WIRE_STR("KEYS"), part->key))
		return "RocketMQ's keys are text";
	if (!add_headers(block, n, part->headers))
		return "RocketMQ's headers are text, and not null";
	return NULL;
}

static const char *
convert(struct op *op, const struct wire_command *from, char *block)
{
	struct wire_command to WIRE_UNSET;
	struct wire_part part, none;
	struct wire_half h;
	char text[WIRE_SEND_TEXT];
	const char *why;
	size_t at = 0, n = 0, size = 0;
	uint8_t *made;

	if (wire_half_decode(from, &h) < 0 || wire_part_next(from->body, &at, &part) != 1)
		return "the half-send cannot be read";
	if (h.db_id.n > 0)
		return "RocketMQ has no gids, so that there is no fence";
	if (wire_part_next(from->body, &at, &none) != 0)
		return "RocketMQ has one message to a transaction";
	if (part.value.n == 0)
		return "RocketMQ's messages are not empty";
	why = properties(&h, &part, block, &n);
	if (why)
		return why;

	struct wire_send s = {
		.producer_group = h.group,
		.topic = part.topic,
		.default_topic = WIRE_STR("TBW102"),
		.default_topic_queue_nums = 4,
		.queue_id = part.partition,
		.sys_flag = WIRE_SYS_PREPARED,
		.born_timestamp = h.born_ms,
		.properties = { block, n },
	};

	wire_command_init(&to, WIRE_BINARY, WIRE_SEND_V2);
	wire_send_fields(&s, &to, text);
	to.body = part.value;
	(void)wire_encode(&to, NULL, 0, &size); /* only to learn the size */
	made = malloc(size);
	if (!made || wire_encode(&to, made, size, &size) < 0) {
		free(made);
		return "out of memory";
	}
	free(op->frame);
	op->frame = made;
	op->n = size;
	return NULL;
}

/* A decision that decides nothing is not answered: who waited for that would wait in vain. */
static void
unanswered(struct op *op, const struct wire_command *end)
{
	int64_t decision;

	if (!wire_field_i64(end, "commitOrRollback", &decision) || decision != WIRE_UNKNOWN)
		return;
	wire_set_flag(op->frame, WIRE_ONEWAY);
	op->oneway = true;
}

const char *
rocketmq_frame(struct op *op)
{
	struct wire_command from WIRE_UNSET;
	const char *why = "out of memory";
	char *block;

	if (op->kind == OP_WATERMARK)
		return "RocketMQ knows no watermark";
	if (op->kind != OP_HALF && op->kind != OP_END)
		return NULL;
	if (wire_decode(op->frame, op->n, &from) < 0)
		return "the request cannot be read";
	if (op->kind == OP_END)
		unanswered(op, &from);
	if (from.code != WIRE_HALF_SEND)
		return NULL; /* done already */
	block = malloc(WIRE_PROPERTIES_MAX);
	if (block)
		why = convert(op, &from, block);
	free(block);
	return why;
}
