/*
 * problem.c -- see problem.h.
 */
#include <stdio.h>
#include <stdlib.h>

#include "http/problem.h"

struct description {
	unsigned status;
	unsigned number;
	const char *slug;
	bool retriable;
	const char *title;
};

static struct description
describe(enum problem p)
{
	switch (p) {
	case PROBLEM_NONE:
		break;
#define X(name, status, number, slug, retriable, title)                                            \
	case PROBLEM_##name:                                                                       \
		return (struct description){ status, number, slug, retriable, title };
		PROBLEM_LIST(X)
#undef X
	}
	abort();
}

unsigned
problem_status(enum problem p)
{
	return describe(p).status;
}

enum problem
problem_of(enum answer_code code)
{
	switch (code) {
	case ANSWER_OK:
	case ANSWER_STALE: /* heard, and it decided nothing */
		return PROBLEM_NONE;
	case ANSWER_BUSY:
		return PROBLEM_BUSY;
	case ANSWER_DRAINING:
		return PROBLEM_DRAINING;
	case ANSWER_REFUSED:
		return PROBLEM_REFUSED;
	case ANSWER_TOO_BIG:
	case ANSWER_TOPIC_UNKNOWN:
	case ANSWER_WRONG_TOKEN:
	case ANSWER_WRONG_GROUP:
	case ANSWER_KEY_REUSED: /* producers' only; never theirs here */
		return PROBLEM_REFUSED;
	case ANSWER_NOT_FOUND:
		return PROBLEM_NOT_FOUND;
	case ANSWER_DECIDED:
		return PROBLEM_DECIDED;
	case ANSWER_STATE:
		return PROBLEM_STATE;
	case ANSWER_MOVED:
		return PROBLEM_MOVED;
	}
	abort();
}

struct out
problem_begin(struct buf *b, enum problem p, const char *instance, const char *detail)
{
	struct description d = describe(p);
	struct out o = out_begin(b);
	char text[64];

	out_open(&o, NULL, '{');
	snprintf(text, sizeof(text), "urn:escrow:problem:%s", d.slug);
	out_text(&o, "type", text);
	out_text(&o, "title", d.title);
	out_num(&o, "status", d.status);
	snprintf(text, sizeof(text), "ESC-%u", d.number);
	out_text(&o, "code", text);
	out_flag(&o, "retriable", d.retriable);
	if (detail && detail[0])
		out_text(&o, "detail", detail);
	if (instance)
		out_text(&o, "instance", instance);
	return o;
}

void
problem_end(struct out *o)
{
	out_close(o, '}');
	buf_u8(o->buf, '\n');
}
