/*
 * request.h -- one HTTP request: checked, asked of the loop, answered.
 *
 *     headers in        CHECK framing, host, class, route, parameters
 *        |  \-- anything wrong: a problem is the answer
 *     body in           at most HTTP_BODY_BYTES, counted here
 *        |
 *     route->ask()      on the HTTP thread: answers at once, or makes a mail
 *        |  \-- suspended while the loop has the mail
 *     route->tell()     on the HTTP thread: writes the answer from the mail
 *
 * libmicrohttpd 0.9.75 is lax about framing (two Content-Lengths, Content-Length beside
 * chunked, unknown codings); request.c refuses all of that and closes.
 */
#ifndef REQUEST_H
#define REQUEST_H

#include <microhttpd.h>

#include "http/inside.h"
#include "http/problem.h"

struct request;

struct route {
	const char *method; /* "GET" (and HEAD), "POST"                                     */
	const char *path;   /* "{gid}" stands for 32 hex digits                             */
	const char *params; /* query parameters it knows, blank-separated                   */
	const char *about;  /* for the index                                               */
	bool (*ask)(struct request *r); /* true: r->mail is to be posted                      */
	void (*tell)(struct request *r);
	enum conn_class class;
	bool early;	    /* answered while recovering                                    */
	enum verb verb;	    /* of commands                                                 */
};

enum request_phase {
	REQUEST_BODY,	/* headers are in; perhaps an answer is made already              */
	REQUEST_POSTED, /* the loop has the mail, the connection is suspended             */
	REQUEST_FOUND,	/* the mail came back                                             */
};

struct request_param {
	const char *name;
	struct str value;
};

/* Headers that matter; NULL: not sent.  The strings are libmicrohttpd's. */
struct request_headers {
	const char *accept;
	const char *content_length;
	const char *content_type;
	const char *host;
	const char *if_match;
	const char *origin;
	const char *request_id;
	const char *fetch_site;
	const char *transfer_encoding;
	bool repeated;	/* one of those that may come only once came twice                  */
	bool odd;	/* a name that is no token, or a control character in a value        */
	bool forwarded; /* a proxy speaks for somebody else                                */
};

struct request {
	struct http *http;
	struct MHD_Connection *mhd;
	struct conn *conn;
	const struct route *route;
	enum request_phase phase;
	char path[HTTP_PATH_BYTES];
	struct request_headers headers;
	struct request_param params[HTTP_PARAMS];
	unsigned param_count;
	struct str gid_text; /* what stood for {gid} in the path                            */
	struct buf body;
	size_t body_seen;
	uint32_t fields; /* of a list: which members                                        */
	struct str payload; /* of one transaction: "text", "base64", none                     */
	uint32_t payload_max;
	struct mail mail;

	/* The answer; status 0: none yet. */
	unsigned status;
	const char *type;
	struct buf out;
	char etag[24];
	char link[2048];
	char allow[32];
	bool close;
};

/* A problem becomes the answer. */
void request_problem(struct request *r, enum problem p, const char *fmt, ...) PRINTF(3, 4);
/* The same, left open for more members; then problem_end(). */
struct out request_problem_begin(struct request *r, enum problem p, const char *detail);
/* 200 with a JSON object or array begun by the caller in what is returned. */
struct out request_json(struct request *r);
void request_text(struct request *r, unsigned status, const char *type, struct str text);

/* NULL: not given.  A parameter without "=" has an empty value. */
const struct str *request_param(const struct request *r, const char *name);
/* Decimal, at most MAX; else a problem, false.  Absent: *RET_VALUE stays. */
bool request_number(struct request *r, const char *name, uint64_t max, uint64_t *ret_value);
/* "500ms", "30s", "5m", "2h", "7d". */
bool request_duration(struct request *r, const char *name, uint64_t *ret_ms);
/* This machine's own, and no proxy in between. */
bool request_is_local(const struct request *r);
/* The Host is ours, and no other site's page sent it; else a problem, false. */
bool request_came_direct(struct request *r);

/* route.c: the table.  Ends with a row of method NULL. */
extern const struct route routes[];
/* NULL: *RET_ALLOW is "" when no route has this path, else the methods it takes. */
const struct route *route_find(const char *method, const char *path, struct str *ret_gid,
			       char ret_allow[32]);

/* libmicrohttpd's callbacks. */
enum MHD_Result request_handle(void *cls, struct MHD_Connection *mhd, const char *url,
			       const char *method, const char *version, const char *upload,
			       size_t *upload_size, void **con_cls);
void request_completed(void *cls, struct MHD_Connection *mhd, void **con_cls,
		       enum MHD_RequestTerminationCode why);
void request_connection(void *cls, struct MHD_Connection *mhd, void **socket_context,
			enum MHD_ConnectionNotificationCode code);

#endif /* REQUEST_H */
