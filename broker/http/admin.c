/*
 * admin.c -- an operator decides or moves one transaction by hand.
 *
 * Taken only from this machine, only when http.admin.write is true, only with a reason; the core
 * journals who and why before the effect.  If-Match carries the etag that was looked at, so
 * that nobody decides what has moved since.
 */
#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

#include "http/endpoints.h"

/* Depth is bounded before jansson sees it: its own bound is 2048, and it recurses. */
static bool
too_deep(struct str body)
{
	unsigned depth = 0;
	bool text = false;

	for (size_t i = 0; i < body.n; i++) {
		char c = body.p[i];

		if (text) {
			if (c == '\\')
				i++;
			else if (c == '"')
				text = false;
		} else if (c == '"') {
			text = true;
		} else if (c == '{' || c == '[') {
			if (++depth > HTTP_JSON_DEPTH)
				return true;
		} else if ((c == '}' || c == ']') && depth) {
			depth--;
		}
	}
	return false;
}

/* A string of 1..MAX bytes, without control characters, copied to BUF (MAX + 1 bytes). */
static bool
take_text(struct request *r, json_t *value, const char *name, size_t max, char *buf)
{
	const char *s = json_string_value(value);
	size_t n = json_string_length(value);

	if (!s || n == 0 || n > max) {
		request_problem(r, PROBLEM_BAD_BODY, "%s: a text of 1 to %zu bytes", name, max);
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f) {
			request_problem(r, PROBLEM_BAD_BODY, "%s: holds a control character", name);
			return false;
		}
	}
	memcpy(buf, s, n);
	buf[n] = '\0';
	return true;
}

/* The body's texts, in the request's own memory: the mail borrows them. */
struct command {
	char reason[LIMIT_REASON_BYTES + 1];
	char who[LIMIT_WHO_BYTES + 1];
};

static bool
take_members(struct request *r, json_t *body, struct command *c)
{
	const char *key;
	json_t *value;

	if (!json_is_object(body)) {
		request_problem(r, PROBLEM_BAD_BODY, "an object: {\"reason\": \"...\"}");
		return false;
	}
	json_object_foreach(body, key, value)
	{
		if (strcmp(key, "reason") == 0) {
			if (!take_text(r, value, "reason", LIMIT_REASON_BYTES, c->reason))
				return false;
		} else if (strcmp(key, "who") == 0) {
			if (!take_text(r, value, "who", LIMIT_WHO_BYTES, c->who))
				return false;
		} else {
			request_problem(r, PROBLEM_BAD_BODY, "unknown member; known: reason, who");
			return false;
		}
	}
	if (!c->reason[0]) {
		request_problem(r, PROBLEM_REASON_MISSING,
				"{\"reason\": \"...\"}: it goes into the audit");
		return false;
	}
	return true;
}

static bool
take_body(struct request *r, struct command *c)
{
	json_error_t error;
	json_t *body;
	bool ok;

	if (too_deep(buf_as_str(&r->body))) {
		request_problem(r, PROBLEM_BAD_BODY, "nested deeper than %d", HTTP_JSON_DEPTH);
		return false;
	}
	body = json_loadb(r->body.data ? r->body.data : "", r->body.len, JSON_REJECT_DUPLICATES,
			  &error);
	if (!body) {
		request_problem(r, PROBLEM_BAD_BODY, "not JSON: line %d, column %d: %s", error.line,
				error.column, error.text);
		return false;
	}
	ok = take_members(r, body, c);
	json_decref(body);
	return ok;
}

/* `If-Match: "123"`; "*" asks for nothing more than that it is there. */
static bool
take_etag(struct request *r)
{
	const char *s = r->headers.if_match;
	char *end;

	if (!s || strcmp(s, "*") == 0)
		return true;
	if (s[0] == '"' && s[1] >= '0' && s[1] <= '9' && strlen(s) <= 22) {
		r->mail.op.etag = strtoull(s + 1, &end, 10);
		r->mail.op.has_etag = true;
		if (strcmp(end, "\"") == 0)
			return true;
	}
	request_problem(r, PROBLEM_BAD_REQUEST, "If-Match: one etag as it was given, in quotes");
	return false;
}

bool
operate_ask(struct request *r)
{
	struct mail *m = &r->mail;
	struct command *c;

	if (!r->http->conf.admin_write) {
		request_problem(r, PROBLEM_WRITE_DISABLED,
				"http.admin.write = true enables commands");
		return false;
	}
	if (!request_is_local(r)) {
		request_problem(
			r, PROBLEM_NOT_LOCAL,
			"commands are taken from this machine only, and not through a proxy");
		return false;
	}
	if (!request_came_direct(r))
		return false;
	if (gid_parse(r->gid_text, &m->op.gid) != 0) {
		request_problem(r, PROBLEM_BAD_REQUEST, "a gid has 32 hex digits");
		return false;
	}
	c = mem_alloc(sizeof(*c));
	if (!take_etag(r) || !take_body(r, c)) {
		mem_free(c);
		return false;
	}
	/* The body is read; its buffer now keeps what was found in it. */
	buf_reset(&r->body, HTTP_BODY_BYTES);
	buf_add(&r->body, c, sizeof(*c));
	mem_free(c);
	c = (struct command *)(void *)r->body.data;
	m->kind = MAIL_OPERATE;
	m->op.verb = r->route->verb;
	m->op.reason = str_of(c->reason);
	m->op.who = c->who[0] ? str_of(c->who) : str_of(conn_addr(r->conn));
	return true;
}

void
operate_tell(struct request *r)
{
	const struct mail *m = &r->mail;
	const struct answer *a = &m->answer;
	enum problem p = problem_of(a->code);
	char gid[GID_TEXT];
	struct out o;

	if (p != PROBLEM_NONE) {
		o = request_problem_begin(r, p, m->why[0] ? m->why : answer_text(a->code));
	} else {
		o = request_json(r);
		out_open(&o, NULL, '{');
		out_text(&o, "outcome", answer_name(a->code));
	}
	gid_format(m->op.gid, gid);
	out_text(&o, "gid", gid);
	out_text(&o, "verb", verb_name(m->op.verb));
	if (a->state)
		out_text(&o, "state", txn_state_name(a->state));
	if (a->code == ANSWER_DECIDED && a->state)
		out_text(&o, "winner", a->state == TXN_ROLLED_BACK ? "rollback" : "commit");
	problem_end(&o);
}
