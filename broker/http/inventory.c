/*
 * inventory.c -- lists of what is there: groups, topics, connections; and watermarks.
 *
 * A cursor is the place where the loop went on in its own table; it stays valid for as long
 * as the daemon runs.
 */
#include <stdio.h>

#include "http/endpoints.h"

static bool
page_ask(struct request *r, enum mail_kind kind)
{
	uint64_t limit = HTTP_PAGE_DEFAULT;
	uint64_t at = 0;

	if (!request_number(r, "limit", LIMIT_LIST_PAGE, &limit) ||
	    !request_number(r, "cursor", UINT32_MAX, &at))
		return false;
	r->mail.kind = kind;
	r->mail.limit = (uint32_t)max_u64(limit, 1);
	r->mail.at = (uint32_t)at;
	return true;
}

static struct out
page_begin(struct request *r, const char *what)
{
	struct out o = request_json(r);

	out_open(&o, NULL, '{');
	out_open(&o, what, '[');
	return o;
}

static void
page_end(struct request *r, struct out *o)
{
	out_close(o, ']');
	if (r->mail.next) {
		out_id(o, "next", r->mail.next);
		snprintf(r->link, sizeof(r->link), "<%s?limit=%u&cursor=%u>; rel=\"next\"", r->path,
			 r->mail.limit, r->mail.next);
	} else {
		out_null(o, "next");
	}
	out_close(o, '}');
}

bool
groups_ask(struct request *r)
{
	return page_ask(r, MAIL_GROUPS);
}

void
groups_tell(struct request *r)
{
	struct out o = page_begin(r, "groups");

	for (uint32_t i = 0; i < r->mail.count; i++) {
		const struct group_brief *g = &r->mail.groups[i];

		out_open(&o, NULL, '{');
		out_text(&o, "group", g->name);
		out_num(&o, "listeners", g->listeners);
		out_num(&o, "waiting", g->waiting);
		out_num(&o, "waiting_bytes", g->waiting_bytes);
		out_flag(&o, "silent", g->silent);
		out_close(&o, '}');
	}
	page_end(r, &o);
}

bool
topics_ask(struct request *r)
{
	return page_ask(r, MAIL_TOPICS);
}

void
topics_tell(struct request *r)
{
	struct out o = page_begin(r, "topics");

	for (uint32_t i = 0; i < r->mail.count; i++) {
		const struct topic_brief *t = &r->mail.topics[i];

		out_open(&o, NULL, '{');
		out_text(&o, "topic", t->name);
		out_signed(&o, "partitions", t->partitions);
		if (t->max_bytes)
			out_num(&o, "max_message_bytes", t->max_bytes);
		else
			out_null(&o, "max_message_bytes");
		out_num(&o, "publish_pending", t->pending);
		out_num(&o, "lanes_frozen", t->frozen);
		out_close(&o, '}');
	}
	page_end(r, &o);
}

bool
connections_ask(struct request *r)
{
	return page_ask(r, MAIL_CONNECTIONS);
}

void
connections_tell(struct request *r)
{
	struct out o = page_begin(r, "connections");

	for (uint32_t i = 0; i < r->mail.count; i++) {
		const struct conn_brief *c = &r->mail.conns[i];

		out_open(&o, NULL, '{');
		out_id(&o, "peer", c->peer);
		out_text(&o, "address", c->addr);
		out_text(&o, "client_id", c->client_id);
		out_text(&o, "language", c->language);
		out_num(&o, "client_version", c->version);
		out_text(&o, "header", c->binary ? "binary" : "json");
		out_num(&o, "requests", c->requests);
		out_close(&o, '}');
	}
	page_end(r, &o);
}

bool
watermark_ask(struct request *r)
{
	const struct str *id = request_param(r, "db_id");
	struct gid parsed;

	if (!id || gid_parse(*id, &parsed) != 0) {
		request_problem(r, PROBLEM_BAD_PARAMETER, "db_id: 32 hex digits, required");
		return false;
	}
	gid_bytes(parsed, r->mail.db_id);
	r->mail.kind = MAIL_WATERMARK;
	return true;
}

void
watermark_tell(struct request *r)
{
	struct out o = request_json(r);
	char gid[GID_TEXT];

	gid_format(r->mail.watermark, gid);
	out_open(&o, NULL, '{');
	out_str(&o, "db_id", *request_param(r, "db_id"));
	out_text(&o, "oldest_undecided_gid", gid);
	gid_format(r->mail.unpublished, gid);
	out_text(&o, "oldest_unpublished_gid", gid);
	out_close(&o, '}');
}
