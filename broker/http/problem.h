/*
 * problem.h -- what went wrong, as application/problem+json (RFC 9457).
 *
 * Every problem has a code that never changes (`ESC-1203`: greppable, in README.md), the
 * HTTP status, a slug for `type`, and whether the same request may succeed later.
 */
#ifndef PROBLEM_H
#define PROBLEM_H

#include "core/core.h"
#include "http/out.h"

/* name, status, number, slug, retriable, title */
#define PROBLEM_LIST(X)										\
	X(BAD_REQUEST, 400, 1001, "bad-request", false, "The request cannot be understood")	\
	X(BAD_PARAMETER, 400, 1002, "bad-parameter", false,					\
	  "A query parameter is unknown or wrong")						\
	X(BAD_BODY, 400, 1003, "bad-body", false, "The body is not what this command takes")	\
	X(BAD_FRAMING, 400, 1004, "bad-framing", false, "The length of the request is ambiguous") \
	X(REASON_MISSING, 400, 1005, "reason-missing", false, "A command needs a reason")	\
	X(WRITE_DISABLED, 403, 1101, "write-disabled", false, "Commands are not enabled here")	\
	X(NOT_LOCAL, 403, 1102, "not-local", false, "Only for peers on this machine")		\
	X(BAD_HOST, 403, 1103, "bad-host", false, "The request came through another site")	\
	X(NO_ROUTE, 404, 1200, "no-route", false, "There is no such endpoint")			\
	X(NOT_FOUND, 404, 1201, "not-found", false, "No such transaction, or no longer known")	\
	X(DECIDED, 409, 1203, "decided", false, "Already decided, and not like this")		\
	X(STATE, 409, 1205, "state", false, "Not possible in the transaction's state")		\
	X(MOVED, 412, 1206, "moved", false, "The transaction changed since it was looked at")	\
	X(REFUSED, 422, 1207, "refused", false, "The request is not acceptable, now or later")	\
	X(METHOD, 405, 1301, "method", false, "This endpoint does not take that method")	\
	X(TOO_BIG, 413, 1302, "too-big", false, "Larger than the limit")			\
	X(MEDIA_TYPE, 415, 1303, "media-type", false, "Only application/json is read")		\
	X(BUSY, 503, 1401, "busy", true, "Not now; try again later")				\
	X(DRAINING, 503, 1402, "draining", true, "The daemon is stopping")			\
	X(RECOVERING, 503, 1403, "recovering", true, "The journal is being recovered")		\
	X(TOO_MANY, 503, 1404, "too-many", true, "Too many connections of this kind")		\
	X(UNREADABLE, 500, 1501, "unreadable", false, "The journal could not be read there")

enum problem {
	PROBLEM_NONE,
#define X(name, status, number, slug, retriable, title) PROBLEM_##name,
	PROBLEM_LIST(X)
#undef X
};

unsigned problem_status(enum problem p);
/* What an answer of the core is in HTTP; PROBLEM_NONE: 200. */
enum problem problem_of(enum answer_code code);

/*
 * Writes the members that every problem has and leaves the object open, so that the
 * caller can add its own before problem_end().
 */
struct out problem_begin(struct buf *b, enum problem p, const char *instance, const char *detail);
void problem_end(struct out *o);

#endif /* PROBLEM_H */
