/*
 * watermark.c -- what the broker may still ask or publish: below it, tables are cleaned.
 */
#include "producer/inside.h"

#include <string.h>

struct watermark {
	struct op op;
	struct waiter waiter;
	const char *name; /* of the field in the answer */
	uint8_t frame[128];
};

static void
watermark_done(struct op *op, escrow_status status, const char *why,
	       const struct wire_command *answer)
{
	struct watermark *w = OWNER(op, struct watermark, op);
	const struct wire_field *gid = answer ? wire_field(answer, w->name) : NULL;
	char text[ESCROW_GID_TEXT];

	if (status == ESCROW_OK && !gid) {
		status = ESCROW_E_UNSUPPORTED;
		why = "this broker does not tell it";
	} else if (status == ESCROW_OK && !gid_take(gid->value, text, w->waiter.gid)) {
		status = ESCROW_E_PROTOCOL;
		why = "what the answer says is no gid";
	}
	waiter_wake(&w->waiter, status, why);
}

static escrow_status
watermark(escrow_client *c, const char *name, const void *db_id, int64_t timeout_ms,
	  unsigned char *ret_gid)
{
	struct wire_command command WIRE_UNSET;
	char db[2 * ESCROW_DB_ID_SIZE + 1];
	escrow_status st;
	struct watermark w;

	memset(&w.op, 0, sizeof(w.op));
	w.name = name;
	hex_put(db, db_id, ESCROW_DB_ID_SIZE);
	wire_command_init(&command, WIRE_BINARY, WIRE_WATERMARK);
	wire_add(&command, WIRE_STR("dbId"), str_of(db));
	if (wire_encode(&command, w.frame, sizeof(w.frame), &w.op.n) < 0)
		return fail(ESCROW_E_ARG, "it cannot be encoded");
	w.op.kind = OP_WATERMARK;
	w.op.frame = w.frame;
	w.op.urgent = true;
	w.op.done = watermark_done;
	w.op.deadline_ns = clock_ns() + timeout_ms * NS_PER_MS;
	waiter_init(&w.waiter, c);
	st = client_submit(c, &w.op, NULL);
	if (st == ESCROW_OK)
		st = client_await(&w.waiter);
	if (st == ESCROW_OK)
		memcpy(ret_gid, w.waiter.gid, ESCROW_GID_SIZE);
	return st;
}

static escrow_status
ask_watermark(escrow_client *c, const char *name, const void *db_id, int timeout_ms,
	      unsigned char *ret_gid)
{
	escrow_status st = client_enter(c);

	if (st != ESCROW_OK)
		return st;
	if (!db_id || !ret_gid || timeout_ms < 0)
		st = fail(ESCROW_E_ARG, "an argument is missing");
	else
		st = client_may_block(c);
	if (st == ESCROW_OK)
		st = watermark(c, name, db_id, timeout_ms ? timeout_ms : c->conf->timeout_ms,
			       ret_gid);
	client_leave(c);
	return st;
}

escrow_status
escrow_oldest_undecided(escrow_client *c, const void *db_id, int timeout_ms,
			unsigned char ret_gid[ESCROW_GID_SIZE])
{
	return ask_watermark(c, "oldestUndecidedGid", db_id, timeout_ms, ret_gid);
}

escrow_status
escrow_oldest_unpublished(escrow_client *c, int timeout_ms, unsigned char ret_gid[ESCROW_GID_SIZE])
{
	static const unsigned char none[ESCROW_DB_ID_SIZE];

	return ask_watermark(c, "oldestUnpublishedGid", none, timeout_ms, ret_gid);
}
