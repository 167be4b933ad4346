/*
 * transactions.c -- the list of transactions, and one of them in full.
 *
 * A cursor is the sequence of the last row looked at, never an offset: the set moves while
 * it is read.  The loop looks at a bounded number of rows a turn, so a page may be short, even
 * empty, and still have a `next`.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "http/endpoints.h"

/* Members of a row that `fields` can choose among. */
#define FIELD_LIST(X)                                                                              \
	X(gid)                                                                                     \
	X(state)                                                                                   \
	X(group)                                                                                   \
	X(topic)                                                                                   \
	X(partition)                                                                               \
	X(messages)                                                                                \
	X(generation)                                                                              \
	X(checks)                                                                                  \
	X(etag)                                                                                    \
	X(arrived)                                                                                 \
	X(age_ms)                                                                                  \
	X(next_check_in_ms)                                                                        \
	X(decided)                                                                                 \
	X(origin)                                                                                  \
	X(published)                                                                               \
	X(refused)                                                                                 \
	X(refused_code)                                                                            \
	X(body)

enum field {
#define X(name) FIELD_##name,
	FIELD_LIST(X)
#undef X
};

static const char *
field_name(enum field f)
{
	switch (f) {
#define X(name)                                                                                    \
	case FIELD_##name:                                                                         \
		return #name;
		FIELD_LIST(X)
#undef X
	}
	abort();
}

#define FIELD_COUNT (FIELD_body + 1)
#define FIELDS_ALL  ((1u << FIELD_COUNT) - 1)

/* ---- asking for a list ---------------------------------------------------------------------- */

/* The next comma-separated word of *REST; false when there is none. */
static bool
next_word(struct str *rest, struct str *ret_word)
{
	size_t n = 0;

	if (!rest->p)
		return false;
	while (n < rest->n && rest->p[n] != ',')
		n++;
	*ret_word = str_from(rest->p, n);
	*rest = n < rest->n ? str_from(rest->p + n + 1, rest->n - n - 1) : STR_NONE;
	return true;
}

static bool
take_states(struct request *r)
{
	const struct str *given = request_param(r, "state");
	struct str rest = given ? *given : STR_NONE;
	struct str word;

	while (next_word(&rest, &word)) {
		uint32_t bit = 0;

		for (unsigned s = TXN_PREPARED; s <= TXN_DISCARDED; s++)
			if (str_eq(word, str_of(txn_state_name((enum txn_state)s))))
				bit = 1u << s;
		if (!bit) {
			request_problem(
				r, PROBLEM_BAD_PARAMETER,
				"state: of prepared, committed, published, rolled_back, parked, "
				"undeliverable, discarded; several by comma");
			return false;
		}
		r->mail.query.states |= bit;
	}
	return true;
}

static bool
take_fields(struct request *r)
{
	const struct str *given = request_param(r, "fields");
	struct str rest = given ? *given : STR_NONE;
	struct str word;

	r->fields = given ? 1u << FIELD_gid : FIELDS_ALL;
	while (next_word(&rest, &word)) {
		uint32_t bit = 0;

		for (unsigned f = 0; f < FIELD_COUNT; f++)
			if (str_eq(word, str_of(field_name((enum field)f))))
				bit = 1u << f;
		if (!bit) {
			request_problem(r, PROBLEM_BAD_PARAMETER,
					"fields: members of a row, by comma; README.md lists them");
			return false;
		}
		r->fields |= bit;
	}
	return true;
}

/* The cursor says in which order it was made: in the other it would skip all. */
static bool
take_order(struct request *r)
{
	const struct str *order = request_param(r, "order");
	const struct str *cursor = request_param(r, "cursor");
	struct list_query *q = &r->mail.query;
	char text[24] = "";
	char *end;

	if (order && !str_eq(*order, STR("oldest")) && !str_eq(*order, STR("newest"))) {
		request_problem(r, PROBLEM_BAD_PARAMETER, "order: oldest or newest");
		return false;
	}
	q->newest_first = order && str_eq(*order, STR("newest"));
	if (!cursor)
		return true;
	if (cursor->n > 1 && cursor->n < sizeof(text) &&
	    cursor->p[0] == (q->newest_first ? 'n' : 'o') && cursor->p[1] >= '0' &&
	    cursor->p[1] <= '9') {
		memcpy(text, cursor->p + 1, cursor->n - 1);
		q->after_seq = strtoull(text, &end, 10);
		if (!*end && q->after_seq)
			return true;
	}
	request_problem(r, PROBLEM_BAD_PARAMETER, "cursor: a `next` of this very list");
	return false;
}

static bool
take_filters(struct request *r)
{
	struct list_query *q = &r->mail.query;
	const struct str *group = request_param(r, "group");
	const struct str *topic = request_param(r, "topic");
	const struct str *key = request_param(r, "key");
	uint64_t limit = HTTP_PAGE_DEFAULT;
	uint64_t min_checks = 0;

	if (!request_number(r, "limit", LIMIT_LIST_PAGE, &limit) ||
	    !request_number(r, "min_checks", UINT32_MAX, &min_checks) ||
	    !request_duration(r, "min_age", &q->min_age_ms))
		return false;
	if ((group && !group->n) || (topic && !topic->n) || (key && !key->n)) {
		request_problem(r, PROBLEM_BAD_PARAMETER, "group, topic, key: not empty");
		return false;
	}
	if (key && !group) {
		request_problem(r, PROBLEM_BAD_PARAMETER, "key: needs group");
		return false;
	}
	q->limit = (uint32_t)max_u64(limit, 1);
	q->min_checks = (uint32_t)min_checks;
	q->group = group ? *group : STR_NONE;
	q->topic = topic ? *topic : STR_NONE;
	q->key = key ? *key : STR_NONE;
	return true;
}

bool
list_ask(struct request *r)
{
	const struct str *id = request_param(r, "id");

	if (!take_states(r) || !take_fields(r) || !take_order(r) || !take_filters(r))
		return false;
	r->mail.kind = MAIL_LIST;
	if (!id)
		return true;
	if (gid_parse(*id, &r->mail.gid) != 0) {
		request_problem(r, PROBLEM_BAD_PARAMETER, "id: a gid, 32 hex digits");
		return false;
	}
	if (r->param_count > 1 + (request_param(r, "fields") != NULL)) {
		request_problem(r, PROBLEM_BAD_PARAMETER, "id: goes with fields only");
		return false;
	}
	r->mail.kind = MAIL_TXN;
	return true;
}

/* ---- telling rows ------------------------------------------------------------------------ */

static const char *
origin_name(enum origin origin)
{
	switch (origin) {
	case ORIGIN_CLIENT:
		return "client";
	case ORIGIN_CHECK:
		return "check";
	case ORIGIN_OPERATOR:
		return "operator";
	case ORIGIN_PLAIN:
		return "plain";
	}
	return NULL; /* undecided */
}

static void
write_field(struct out *o, enum field f, const struct row_view *row, uint64_t wall_ms)
{
	char gid[GID_TEXT];

	switch (f) {
	case FIELD_gid:
		gid_format(row->gid, gid);
		out_text(o, "gid", gid);
		return;
	case FIELD_state:
		out_text(o, "state", txn_state_name(row->state));
		return;
	case FIELD_group:
		out_str(o, "group", row->group);
		return;
	case FIELD_topic:
		out_str(o, "topic", row->topic);
		return;
	case FIELD_partition:
		out_signed(o, "partition", row->partition);
		return;
	case FIELD_messages:
		out_num(o, "messages", row->count);
		return;
	case FIELD_generation:
		out_num(o, "generation", row->generation);
		return;
	case FIELD_checks:
		out_num(o, "checks", row->checks);
		return;
	case FIELD_etag:
		out_id(o, "etag", row->etag);
		return;
	case FIELD_arrived:
		out_time(o, "arrived", row->arrived_ms);
		return;
	case FIELD_age_ms:
		out_num(o, "age_ms", wall_ms > row->arrived_ms ? wall_ms - row->arrived_ms : 0);
		return;
	case FIELD_next_check_in_ms:
		if (row->due_in_ms >= 0)
			out_signed(o, "next_check_in_ms", row->due_in_ms);
		else
			out_null(o, "next_check_in_ms");
		return;
	case FIELD_decided:
		out_time(o, "decided", row->decided_ms);
		return;
	case FIELD_origin:
		out_text(o, "origin", row->decided_ms ? origin_name(row->origin) : NULL);
		return;
	case FIELD_published:
		out_num(o, "published", row->published);
		return;
	case FIELD_refused:
		out_num(o, "refused", row->refused);
		return;
	case FIELD_refused_code:
		if (row->refused)
			out_signed(o, "refused_code", row->refused_code);
		else
			out_null(o, "refused_code");
		return;
	case FIELD_body:
		out_text(o, "body", row->place.len ? "journal" : "gone");
		return;
	}
	abort();
}

static void
write_row(struct out *o, uint32_t fields, const struct row_view *row, uint64_t wall_ms)
{
	for (unsigned f = 0; f < FIELD_COUNT; f++)
		if (fields & 1u << f)
			write_field(o, (enum field)f, row, wall_ms);
}

static void
percent(struct buf *b, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if ((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
		    (c && strchr("-._~", c)))
			buf_u8(b, c);
		else
			buf_printf(b, "%%%02X", c);
	}
}

/* The same request, with the cursor. */
static void
make_link(struct request *r, const char *cursor)
{
	struct buf b = BUF_INIT;

	buf_printf(&b, "<%s?", r->path);
	for (unsigned i = 0; i < r->param_count; i++) {
		if (strcmp(r->params[i].name, "cursor") == 0)
			continue;
		buf_printf(&b, "%s=", r->params[i].name);
		percent(&b, r->params[i].value);
		buf_u8(&b, '&');
	}
	buf_printf(&b, "cursor=%s>; rel=\"next\"", cursor);
	/* Too long for a header: the body has the cursor too. */
	if (b.len < sizeof(r->link))
		snprintf(r->link, sizeof(r->link), "%.*s", (int)b.len, b.data);
	buf_free(&b);
}

void
list_tell(struct request *r)
{
	const struct mail *m = &r->mail;
	struct out o = request_json(r);
	char cursor[24];

	/* `?id=` of an unknown one: m->count is 0, a list of none. */
	out_open(&o, NULL, '{');
	out_open(&o, "transactions", '[');
	for (uint32_t i = 0; i < m->count; i++) {
		out_open(&o, NULL, '{');
		write_row(&o, r->fields, &m->rows[i], m->wall_ms);
		out_close(&o, '}');
	}
	out_close(&o, ']');
	if (m->next_seq) {
		snprintf(cursor, sizeof(cursor), "%c%llu", m->query.newest_first ? 'n' : 'o',
			 (unsigned long long)m->next_seq);
		out_text(&o, "next", cursor);
		make_link(r, cursor);
	} else {
		out_null(&o, "next");
	}
	out_close(&o, '}');
}

/* ---- one transaction --------------------------------------------------------------------- */

bool
txn_ask(struct request *r)
{
	const struct str *payload = request_param(r, "payload");
	uint64_t max = HTTP_PAYLOAD_DEFAULT;

	if (gid_parse(r->gid_text, &r->mail.gid) != 0) {
		request_problem(r, PROBLEM_BAD_REQUEST, "a gid has 32 hex digits");
		return false;
	}
	if (!request_number(r, "max", HTTP_PAYLOAD_MAX, &max))
		return false;
	r->mail.kind = MAIL_TXN;
	r->mail.want_half = true;
	if (!payload)
		return true;
	if (!str_eq(*payload, STR("text")) && !str_eq(*payload, STR("base64"))) {
		request_problem(r, PROBLEM_BAD_PARAMETER, "payload: text or base64");
		return false;
	}
	if (!request_is_local(r)) {
		request_problem(r, PROBLEM_NOT_LOCAL, "payloads are shown on this machine only");
		return false;
	}
	if (!request_came_direct(r))
		return false;
	r->payload = *payload;
	r->payload_max = (uint32_t)max;
	r->mail.value_bytes = (uint32_t)max;
	r->mail.whole_if_packed = true;
	return true;
}

static void
write_event(struct out *o, const struct timeline_event *e)
{
	out_open(o, NULL, '{');
	out_time(o, "at", e->ms);
	switch (e->kind) {
	case NOTE_TRANSITION:
		out_text(o, "event", "transition");
		out_text(o, "from", e->from ? txn_state_name(e->from) : NULL);
		out_text(o, "to", e->to ? txn_state_name(e->to) : NULL);
		break;
	case NOTE_CHECK_SENT:
		out_text(o, "event", "check_sent");
		out_signed(o, "number", e->value);
		break;
	case NOTE_CHECK_ANSWERED:
		out_text(o, "event", "check_answered");
		out_text(o, "answer",
			 e->value == TXN_COMMIT     ? "commit"
			 : e->value == TXN_ROLLBACK ? "rollback"
						    : "unknown");
		break;
	case NOTE_CONTRADICTION:
		out_text(o, "event", "contradiction");
		break;
	case NOTE_UNPUBLISHABLE:
		out_text(o, "event", "refused");
		out_signed(o, "kafka_code", e->value);
		break;
	case NOTE_PUBLISHED:
		out_text(o, "event", "published");
		out_signed(o, "offset", e->value);
		break;
	case NOTE_LANE_FROZEN:
	case NOTE_LANE_RESUMED:
	case NOTE_GROUP_SILENT:
	case NOTE_FOREIGN_CLUSTER:
	case NOTE_TOPIC_ANEW:
	case NOTE_RECORD_GONE:
	case NOTE_KEYS_FULL:
	case NOTE_GROUP_FULL:
		out_text(o, "event", "other"); /* not about one transaction */
		break;
	}
	if (e->peer)
		out_id(o, "peer", e->peer);
	out_close(o, '}');
}

static const char *
codec_name(enum codec codec)
{
	switch (codec) {
	case CODEC_NONE:
		return "none";
	case CODEC_ZLIB:
		return "zlib";
	case CODEC_LZ4:
		return "lz4";
	case CODEC_ZSTD:
		return "zstd";
	}
	return "unknown";
}

/* At most *LEFT bytes, which all messages share. */
static void
write_payload(struct out *o, const struct request *r, const struct message *msg, size_t *left)
{
	struct buf plain = BUF_INIT;
	struct str value = msg->value;
	bool cut;

	if (value.p && msg->codec != CODEC_NONE) {
		if (inflate_body(msg->codec, value, msg->plain_bytes, &plain) != 0) {
			out_null(o, "payload");
			out_text(o, "payload_error", "does not inflate");
			return;
		}
		value = str_from(plain.data ? plain.data : "", plain.len);
	}
	value.n = min_u64(value.n, *left);
	*left -= value.n;
	cut = value.n < msg->plain_bytes;
	if (str_eq(r->payload, STR("base64")))
		out_base64(o, "payload", value);
	else
		out_str(o, "payload", value);
	out_flag(o, "payload_cut", cut);
	buf_free(&plain);
}

static void
write_message(struct out *o, const struct request *r, uint32_t i, size_t *left)
{
	const struct half_copy *copy = r->mail.half;
	const struct message *msg = &copy->messages[i];
	struct header h;
	size_t at = 0;

	out_open(o, NULL, '{');
	out_str(o, "topic", msg->topic);
	out_signed(o, "partition", msg->partition);
	out_str(o, "key", msg->key);
	out_open(o, "headers", '[');
	while (headers_next(msg->headers, &at, &h)) {
		out_open(o, NULL, '{');
		out_str(o, "name", h.name);
		out_str(o, "value", h.value);
		out_close(o, '}');
	}
	out_close(o, ']');
	out_num(o, "value_bytes", msg->plain_bytes);
	out_num(o, "stored_bytes", copy->value_bytes[i]);
	out_text(o, "codec", codec_name(msg->codec));
	if (r->payload.p)
		write_payload(o, r, msg, left);
	out_close(o, '}');
}

static const char *
edge_name(enum edge_kind kind)
{
	switch (kind) {
	case EDGE_ROCKETMQ:
		return "rocketmq";
	case EDGE_NATIVE:
		return "native";
	case EDGE_HTTP:
		return "http";
	}
	return "unknown";
}

static void
write_half(struct out *o, const struct request *r)
{
	const struct half *half = &r->mail.half->half;
	size_t left = r->payload_max;
	char db_id[33];

	out_str(o, "key", half->key.n ? half->key : STR_NONE);
	out_str(o, "from", half->from);
	out_text(o, "edge", edge_name(half->kind));
	out_time(o, "born", half->born_ms);
	out_num(o, "immunity_ms", half->immunity_ms);
	for (size_t i = 0; i < sizeof(half->db_id); i++)
		snprintf(db_id + 2 * i, 3, "%02x", half->db_id[i]);
	out_text(o, "db_id", half->has_db_id ? db_id : NULL);
	out_open(o, "parts", '[');
	for (uint32_t i = 0; i < half->count; i++)
		write_message(o, r, i, &left);
	out_close(o, ']');
}

void
txn_tell(struct request *r)
{
	const struct mail *m = &r->mail;
	struct out o;

	if (m->err) {
		request_problem(r, PROBLEM_NOT_FOUND, "never known here, or forgotten since");
		return;
	}
	if (m->half_err && r->payload.p) {
		request_problem(r, PROBLEM_UNREADABLE, "%s", err_text(m->half_err));
		return;
	}
	CHECK(m->rows, m->gid.lo);
	o = request_json(r);
	snprintf(r->etag, sizeof(r->etag), "\"%llu\"", (unsigned long long)m->rows[0].etag);
	out_open(&o, NULL, '{');
	write_row(&o, FIELDS_ALL, &m->rows[0], m->wall_ms);
	if (m->half)
		write_half(&o, r);
	else if (m->half_err)
		out_text(&o, "body_error", err_text(m->half_err));
	out_open(&o, "timeline", '[');
	for (uint32_t i = 0; i < m->timeline_count; i++)
		write_event(&o, &m->timeline[i]);
	out_close(&o, ']');
	out_close(&o, '}');
}
