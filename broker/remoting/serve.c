/*
 * serve.c -- requests to calls of the core, answers of the core to frames.
 *
 * client/PROTOCOL.md has the table of every request with every possible answer; the two
 * switches of this file are that table.
 */
#include "remoting/serve.h"

#include "base/err.h"
#include "remoting/route.h"
#include "remoting/send.h"

#include <stdio.h>

/* What real brokers say of themselves; nothing we serve depends on what a client makes of it. */
#define OUR_LANGUAGE 0 /* JAVA: the one name that every client knows */
#define OUR_VERSION  479

#define TAG_BINARY     (UINT64_C(1) << 32)
#define TAG_KIND_SHIFT 36

enum counter { COUNT_ROUTE, COUNT_HEARTBEAT, COUNT_SEND, COUNT_END, COUNT_OTHER };

/* ---- replies ------------------------------------------------------------------------------ */

static uint64_t
tag_of(const struct wire_command *command, uint64_t kind)
{
	return (uint32_t)command->opaque | (command->type == WIRE_BINARY ? TAG_BINARY : 0) |
	       kind << TAG_KIND_SHIFT;
}

struct reply_to
serve_reply_to(const struct conn *c, const struct wire_command *command, enum serve_kind kind)
{
	if (command->flag & WIRE_ONEWAY)
		return (struct reply_to){ 0, 0 };
	return (struct reply_to){ c->peer, tag_of(command, (uint64_t)kind) };
}

/* An empty reply of that tag, in the connection's shared command. */
static struct wire_command *
reply_begin(struct conn *c, uint64_t tag, int32_t code, const char *remark)
{
	struct wire_command *reply = &c->r->reply;

	wire_command_init(reply, tag & TAG_BINARY ? WIRE_BINARY : WIRE_JSON, code);
	reply->language = OUR_LANGUAGE;
	reply->version = OUR_VERSION;
	reply->opaque = (int32_t)(uint32_t)tag;
	reply->flag = WIRE_RESPONSE;
	if (remark)
		reply->remark = wire_of(str_of(remark));
	return reply;
}

/* A reply of ours is a few hundred bytes: it always fits a frame. */
static void
reply_end(struct conn *c)
{
	int err = conn_write_command(c, &c->r->reply);

	CHECK(err == 0, c->peer);
}

void
serve_refuse(struct conn *c, struct reply_to to, enum wire_result code, const char *remark)
{
	if (to.peer == 0)
		return;
	(void)reply_begin(c, to.tag, (int32_t)code, remark);
	reply_end(c);
}

static void
succeed(struct conn *c, struct reply_to to)
{
	serve_refuse(c, to, WIRE_SUCCESS, NULL);
}

/* ---- the smaller requests ------------------------------------------------------------------ */

/* Java's own, in every heartbeat of every client: nobody half-sends under it. */
static bool
inner_group(struct str group)
{
	return str_eq(group, STR("CLIENT_INNER_PRODUCER"));
}

static enum wire_result
join_all(struct conn *c, const struct wire_heartbeat *h, const char **ret_why)
{
	for (size_t i = 0; i < h->group_count; i++) {
		struct str group = str_wire(h->groups[i]);

		if (inner_group(group))
			continue;
		if (group.n == 0 || group.n > LIMIT_GROUP_BYTES) {
			*ret_why = "refused: a producer group's name is empty or too long";
			return WIRE_MESSAGE_ILLEGAL;
		}
		if (conn_join(c, group) < 0) {
			*ret_why = "busy: too many producer groups";
			return WIRE_SYSTEM_BUSY;
		}
	}
	return WIRE_SUCCESS;
}

static void
heartbeat(struct conn *c, const struct wire_command *command, struct reply_to to)
{
	struct remoting *r = c->r;
	struct wire_heartbeat *h = &r->heartbeat;
	enum wire_result result;
	const char *why = NULL;

	if (command->body.n > LIMIT_HEARTBEAT_BYTES ||
	    wire_heartbeat_decode(command->body, h) < 0) {
		serve_refuse(c, to, WIRE_MESSAGE_ILLEGAL, "refused: not the body of a heartbeat");
		return;
	}
	if (c->client_id.len == 0 && h->client_id.n > 0)
		buf_add(&c->client_id, h->client_id.p, min_u64(h->client_id.n, LIMIT_CLIENT_ID));
	result = join_all(c, h, &why);
	wire_heartbeat_done(h);
	c->beat_ns = r->now_ns;
	list_del(&c->beats);
	list_add_tail(&r->beats, &c->beats);
	conn_expire_groups(c);
	serve_refuse(c, to, result, why);
}

static void
unregister(struct conn *c, const struct wire_command *command, struct reply_to to)
{
	const struct wire_field *group = wire_field(command, "producerGroup");

	if (group && group->value.n > 0)
		conn_leave(c, str_wire(group->value));
	succeed(c, to);
}

static enum verdict
verdict_of(enum wire_decision decision)
{
	switch (decision) {
	case WIRE_COMMIT:
		return VERDICT_COMMIT;
	case WIRE_ROLLBACK:
		return VERDICT_ROLLBACK;
	case WIRE_UNKNOWN:
		return VERDICT_UNKNOWN;
	}
	return VERDICT_UNKNOWN;
}

static void
end_transaction(struct conn *c, const struct wire_command *command)
{
	struct reply_to to = serve_reply_to(c, command, SERVE_END);
	struct end_request request;
	struct wire_end end;

	if (wire_end_decode(command, &end) < 0) {
		serve_refuse(c, to, WIRE_MESSAGE_ILLEGAL,
			     "refused: a field of END_TRANSACTION is missing or no number");
		return;
	}
	request.to = to;
	request.peer = c->peer;
	request.group = str_wire(end.producer_group);
	/* Negative ones are nobody's: as unsigned they are beyond every sequence. */
	request.seq = (uint64_t)end.log_offset;
	request.token = (uint64_t)end.state_offset;
	request.verdict = verdict_of(end.decision);
	request.from_check = end.from_check;
	request.remark = str_from(command->remark.p, min_u64(command->remark.n, LIMIT_REMARK));
	request.from = str_of(c->from);
	core_end(c->r->core, &request);
}

static void
watermark(struct conn *c, const struct wire_command *command, struct reply_to to)
{
	const struct wire_field *id = wire_field(command, "dbId");
	struct wire_command *reply;
	char undecided[GID_TEXT];
	char unpublished[GID_TEXT];
	uint8_t bytes[16];
	struct gid gid;

	/* A db_id is 16 bytes in hex, as a gid is. */
	if (!id || gid_parse(str_wire(id->value), &gid) < 0) {
		serve_refuse(c, to, WIRE_MESSAGE_ILLEGAL, "refused: dbId is not 32 hex digits");
		return;
	}
	gid_bytes(gid, bytes);
	gid_format(core_watermark(c->r->core, bytes), undecided);
	gid_format(core_unpublished(c->r->core), unpublished);
	if (to.peer == 0)
		return;
	reply = reply_begin(c, to.tag, WIRE_SUCCESS, NULL);
	wire_add(reply, WIRE_STR("oldestUndecidedGid"), wire_of(str_of(undecided)));
	wire_add(reply, WIRE_STR("oldestUnpublishedGid"), wire_of(str_of(unpublished)));
	reply_end(c);
}

static void
unknown_code(struct conn *c, const struct wire_command *command, struct reply_to to)
{
	char remark[96];

	(void)snprintf(remark, sizeof(remark), "request code %d is not supported",
		       (int)command->code);
	serve_refuse(c, to, WIRE_NOT_SUPPORTED, remark);
}

void
serve_frame(struct conn *c, const struct wire_command *command)
{
	struct reply_to to = serve_reply_to(c, command, 0);
	uint64_t *count = c->r->stats.requests;

	if (c->requests++ == 0)
		list_del(&c->silent);
	c->binary = command->type == WIRE_BINARY;
	c->language = command->language;
	c->version = command->version;
	if (command->flag & WIRE_RESPONSE) {
		count[COUNT_OTHER]++; /* we ask nothing that is answered */
		return;
	}
	switch (command->code) {
	case WIRE_SEND:
	case WIRE_SEND_V2:
		count[COUNT_SEND]++;
		send_request(c, command);
		return;
	case WIRE_HALF_SEND:
		count[COUNT_SEND]++;
		half_request(c, command);
		return;
	case WIRE_END_TRANSACTION:
		count[COUNT_END]++;
		end_transaction(c, command);
		return;
	case WIRE_HEARTBEAT:
		count[COUNT_HEARTBEAT]++;
		heartbeat(c, command, to);
		return;
	case WIRE_ROUTE:
		count[COUNT_ROUTE]++;
		route_request(c, command);
		return;
	case WIRE_UNREGISTER:
		count[COUNT_OTHER]++;
		unregister(c, command, to);
		return;
	case WIRE_WATERMARK:
		count[COUNT_OTHER]++;
		watermark(c, command, to);
		return;
	case WIRE_SEND_BATCH:
		count[COUNT_OTHER]++;
		serve_refuse(c, to, WIRE_MESSAGE_ILLEGAL, "refused: batches are not accepted");
		return;
	default:
		count[COUNT_OTHER]++;
		unknown_code(c, command, to);
		return;
	}
}

void
serve_too_big(struct conn *c, const struct wire_command *command)
{
	if (c->requests++ == 0)
		list_del(&c->silent);
	c->r->stats.requests[COUNT_OTHER]++;
	if (!(command->flag & WIRE_RESPONSE))
		serve_refuse(c, serve_reply_to(c, command, 0), WIRE_MESSAGE_ILLEGAL,
			     "too big: the frame is larger than limits.message allows");
}

/* ---- answers of the core ------------------------------------------------------------------- */

static enum wire_result
result_of(enum answer_code code, uint64_t kind)
{
	switch (code) {
	case ANSWER_OK:
	case ANSWER_STALE:
		return WIRE_SUCCESS;
	case ANSWER_BUSY:
	case ANSWER_DRAINING:
		return WIRE_SYSTEM_BUSY;
	case ANSWER_REFUSED:
	case ANSWER_TOO_BIG:
	case ANSWER_KEY_REUSED:
		return WIRE_MESSAGE_ILLEGAL;
	case ANSWER_TOPIC_UNKNOWN:
		return WIRE_TOPIC_NOT_EXIST;
	case ANSWER_NOT_FOUND:
		return WIRE_SYSTEM_ERROR;
	case ANSWER_WRONG_TOKEN:
	case ANSWER_WRONG_GROUP:
		return WIRE_NO_PERMISSION;
	case ANSWER_DECIDED:
		return kind == SERVE_END ? WIRE_TRANSACTION_FAILED : WIRE_MESSAGE_ILLEGAL;
	case ANSWER_STATE:
	case ANSWER_MOVED: /* operators' only; never theirs here */
		return WIRE_TRANSACTION_FAILED;
	}
	return WIRE_SYSTEM_ERROR;
}

/* How the remark of each begins: PROTOCOL.md, section 6. */
static const char *
remark_begins(enum answer_code code)
{
	switch (code) {
	case ANSWER_OK:
		return NULL;
	case ANSWER_BUSY:
		return "busy";
	case ANSWER_DRAINING:
		return "draining";
	case ANSWER_REFUSED:
		return "refused";
	case ANSWER_TOO_BIG:
		return "too big";
	case ANSWER_TOPIC_UNKNOWN:
		return "topic unknown";
	case ANSWER_NOT_FOUND:
		return "not found";
	case ANSWER_WRONG_TOKEN:
		return "wrong token";
	case ANSWER_WRONG_GROUP:
		return "wrong group";
	case ANSWER_DECIDED:
		return "decided";
	case ANSWER_KEY_REUSED:
		return "key reused";
	case ANSWER_STATE:
		return "state";
	case ANSWER_MOVED:
		return "moved";
	case ANSWER_STALE:
		return "stale";
	}
	return "internal";
}

/* The decision that stands, whatever became of it since: programs read these words. */
static const char *
winner(enum txn_state state)
{
	return state == TXN_ROLLED_BACK ? "rolled back" : "committed";
}

static const char *
remark_of(struct remoting *r, const struct answer *a, uint64_t kind)
{
	const char *begin = remark_begins(a->code);
	char gid[GID_TEXT];

	if (!begin)
		return NULL;
	buf_reset(&r->text, 4096);
	buf_printf(&r->text, "%s", begin);
	gid_format(a->gid, gid);
	if (a->code == ANSWER_DECIDED)
		buf_printf(&r->text, ": %s", winner(a->state));
	if (kind != SERVE_END && (a->code == ANSWER_DECIDED || a->code == ANSWER_KEY_REUSED))
		buf_printf(&r->text, ", gid %s", gid);
	if (a->why)
		buf_printf(&r->text, ": %s", a->why);
	buf_u8(&r->text, 0);
	return r->text.data;
}

/* V in decimal at the end of TEXT. */
static struct wire_str
decimal(char text[21], uint64_t v)
{
	char *p = text + 21;

	do {
		*--p = (char)('0' + v % 10);
		v /= 10;
	} while (v > 0);
	return (struct wire_str){ p, (size_t)(text + 21 - p) };
}

static void
answer_send(struct conn *c, uint64_t tag, const struct answer *a)
{
	struct wire_command *reply = reply_begin(c, tag, WIRE_SUCCESS, NULL);
	char id[WIRE_MSG_ID_TEXT], gid[GID_TEXT], partition[21], token[21];

	/* Clients hand both back through signed decimals. */
	CHECK(a->gid.lo <= INT64_MAX && a->token <= INT64_MAX, a->gid.lo);
	wire_msg_id_format(c->local.ip, c->local.len, c->local.port, (int64_t)a->gid.lo, id);
	gid_format(a->gid, gid);
	wire_add(reply, WIRE_STR("msgId"), wire_of(str_from(id, c->local.len == 4 ? 32 : 56)));
	wire_add(reply, WIRE_STR("queueId"),
		 decimal(partition, a->partition > 0 ? (uint64_t)a->partition : 0));
	wire_add(reply, WIRE_STR("queueOffset"), decimal(token, a->token));
	wire_add(reply, WIRE_STR("transactionId"), wire_of(str_from(gid, GID_TEXT - 1)));
	wire_add(reply, WIRE_STR("MSG_REGION"), WIRE_STR("DefaultRegion"));
	wire_add(reply, WIRE_STR("TRACE_ON"), WIRE_STR("true"));
	reply_end(c);
}

/* The same without what only RocketMQ's clients look for. */
static void
answer_half(struct conn *c, uint64_t tag, const struct answer *a)
{
	struct wire_command *reply = reply_begin(c, tag, WIRE_SUCCESS, NULL);
	char gid[GID_TEXT], seq[21], token[21];

	CHECK(a->gid.lo <= INT64_MAX && a->token <= INT64_MAX, a->gid.lo);
	gid_format(a->gid, gid);
	wire_add(reply, WIRE_STR("transactionId"), wire_of(str_from(gid, GID_TEXT - 1)));
	wire_add(reply, WIRE_STR("commitLogOffset"), decimal(seq, a->gid.lo));
	wire_add(reply, WIRE_STR("tranStateTableOffset"), decimal(token, a->token));
	reply_end(c);
}

void
serve_answer(struct conn *c, uint64_t tag, const struct answer *a)
{
	uint64_t kind = tag >> TAG_KIND_SHIFT;
	struct wire_command *reply;

	if (a->code == ANSWER_OK && kind == SERVE_SEND) {
		answer_send(c, tag, a);
		return;
	}
	if (a->code == ANSWER_OK && kind == SERVE_HALF) {
		answer_half(c, tag, a);
		return;
	}
	if (a->code == ANSWER_OK && kind == SERVE_ROUTE) {
		reply = reply_begin(c, tag, WIRE_SUCCESS, NULL);
		reply->body = wire_of(route_json(c, a->partitions));
		reply_end(c);
		return;
	}
	serve_refuse(c, (struct reply_to){ c->peer, tag }, result_of(a->code, kind),
		     remark_of(c->r, a, kind));
}
