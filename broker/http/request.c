/*
 * request.c -- see request.h.
 */
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>
#include <unistd.h>

#include "base/err.h"
#include "http/request.h"

/* A body that will be answered with a problem anyway is read to its end, so that the answer
 * is not lost to a reset; but not for ever. */
#define DISCARD_BYTES (1u << 20)

/* ---- answers ------------------------------------------------------------------------------ */

struct out
request_problem_begin(struct request *r, enum problem p, const char *detail)
{
	r->status = problem_status(p);
	r->type = "application/problem+json";
	buf_reset(&r->out, 4096);
	return problem_begin(&r->out, p, r->path[0] ? r->path : NULL, detail);
}

void
request_problem(struct request *r, enum problem p, const char *fmt, ...)
{
	char detail[512];
	struct out o;
	va_list args;

	va_start(args, fmt);
	vsnprintf(detail, sizeof(detail), fmt, args);
	va_end(args);
	o = request_problem_begin(r, p, detail);
	problem_end(&o);
}

struct out
request_json(struct request *r)
{
	r->status = MHD_HTTP_OK;
	r->type = "application/json";
	buf_reset(&r->out, 4096);
	return out_begin(&r->out);
}

void
request_text(struct request *r, unsigned status, const char *type, struct str text)
{
	r->status = status;
	r->type = type;
	buf_reset(&r->out, 4096);
	buf_str(&r->out, text);
}

static bool
request_id_ok(const char *id)
{
	size_t n = id ? strlen(id) : 0;

	return n > 0 && n <= HTTP_ID_BYTES &&
	       strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == n;
}

static void
header(struct MHD_Response *response, const char *name, const char *value)
{
	/* Out of memory: an answer without the header is better than none. */
	(void)MHD_add_response_header(response, name, value);
}

static enum MHD_Result
respond(struct request *r)
{
	struct MHD_Response *response;
	enum MHD_Result result;

	CHECK(r->status, r->mail.number);
	/* JSON too ends its line, for people at a terminal. */
	if (r->out.len && r->out.data[r->out.len - 1] != '\n')
		buf_u8(&r->out, '\n');
	response = MHD_create_response_from_buffer_with_free_callback(r->out.len, r->out.data,
								      mem_free);
	if (!response)
		return MHD_NO;
	r->out = BUF_INIT;
	if (r->type)
		header(response, MHD_HTTP_HEADER_CONTENT_TYPE, r->type);
	header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	header(response, "X-Content-Type-Options", "nosniff");
	header(response, "Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'");
	if (request_id_ok(r->headers.request_id))
		header(response, "X-Request-Id", r->headers.request_id);
	if (r->etag[0])
		header(response, MHD_HTTP_HEADER_ETAG, r->etag);
	if (r->link[0])
		header(response, "Link", r->link);
	if (r->allow[0])
		header(response, MHD_HTTP_HEADER_ALLOW, r->allow);
	if (r->status == MHD_HTTP_SERVICE_UNAVAILABLE)
		header(response, MHD_HTTP_HEADER_RETRY_AFTER, "1");
	/* What follows an ambiguous or a commanding request is not read. */
	if (r->close || (r->route && r->route->class == CONN_MUTATION))
		header(response, MHD_HTTP_HEADER_CONNECTION, "close");
	conns_answer(r->http->conns, r->conn);
	result = MHD_queue_response(r->mhd, r->status, response);
	MHD_destroy_response(response);
	return result;
}

/* ---- parameters ----------------------------------------------------------------------------- */

const struct str *
request_param(const struct request *r, const char *name)
{
	for (unsigned i = 0; i < r->param_count; i++)
		if (strcmp(r->params[i].name, name) == 0)
			return &r->params[i].value;
	return NULL;
}

/* Digits of S from *AT; false when there are none, or more than MAX. */
static bool
digits(struct str s, size_t *at, uint64_t max, uint64_t *ret_value)
{
	uint64_t v = 0;
	size_t i = *at;

	while (i < s.n && s.p[i] >= '0' && s.p[i] <= '9') {
		uint64_t digit = (uint64_t)(s.p[i] - '0');

		if (v > (max - digit) / 10 || digit > max)
			return false;
		v = v * 10 + digit;
		i++;
	}
	if (i == *at)
		return false;
	*at = i;
	*ret_value = v;
	return true;
}

bool
request_number(struct request *r, const char *name, uint64_t max, uint64_t *ret_value)
{
	const struct str *s = request_param(r, name);
	size_t at = 0;
	uint64_t v;

	if (!s)
		return true;
	if (!digits(*s, &at, max, &v) || at != s->n) {
		request_problem(r, PROBLEM_BAD_PARAMETER, "%s: a whole number from 0 to %llu", name,
				(unsigned long long)max);
		return false;
	}
	*ret_value = v;
	return true;
}

bool
request_duration(struct request *r, const char *name, uint64_t *ret_ms)
{
	static const struct {
		struct str unit;
		uint64_t ms;
	} units[] = {
		{ { "ms", 2 }, 1 },      { { "s", 1 }, 1000 },     { { "m", 1 }, 60000 },
		{ { "h", 1 }, 3600000 }, { { "d", 1 }, 86400000 },
	};
	const struct str *s = request_param(r, name);
	size_t at = 0;
	uint64_t v;

	if (!s)
		return true;
	if (digits(*s, &at, UINT32_MAX, &v)) {
		for (size_t i = 0; i < ARRAY_LEN(units); i++) {
			if (str_eq(str_from(s->p + at, s->n - at), units[i].unit)) {
				*ret_ms = v * units[i].ms;
				return true;
			}
		}
	}
	request_problem(r, PROBLEM_BAD_PARAMETER,
			"%s: a number and a unit, like 500ms, 30s, 5m, 2h, 7d", name);
	return false;
}

/* Is NAME one of the blank-separated words of LIST? */
static bool
is_listed(const char *list, const char *name)
{
	size_t n = strlen(name);

	while (list && *list) {
		size_t word = strcspn(list, " ");

		if (word == n && strncmp(list, name, n) == 0)
			return true;
		list += word;
		list += strspn(list, " ");
	}
	return false;
}

static enum MHD_Result
each_param(void *cls, enum MHD_ValueKind kind, const char *key, size_t key_size, const char *value,
	   size_t value_size)
{
	struct request *r = cls;

	(void)kind;
	if (strlen(key) != key_size || !is_listed(r->route->params, key)) {
		request_problem(r, PROBLEM_BAD_PARAMETER, "unknown parameter; known here: %s",
				r->route->params[0] ? r->route->params : "none");
		return MHD_NO;
	}
	if (request_param(r, key)) {
		request_problem(r, PROBLEM_BAD_PARAMETER, "%s is given twice", key);
		return MHD_NO;
	}
	if (value && memchr(value, '\0', value_size)) {
		request_problem(r, PROBLEM_BAD_PARAMETER, "%s: holds a NUL", key);
		return MHD_NO;
	}
	if (r->param_count == HTTP_PARAMS) {
		request_problem(r, PROBLEM_BAD_PARAMETER, "too many parameters");
		return MHD_NO;
	}
	r->params[r->param_count++] =
		(struct request_param){ key, str_from(value ? value : "", value_size) };
	return MHD_YES;
}

/* ---- headers -------------------------------------------------------------------------------- */

static void
once(struct request_headers *h, const char **slot, const char *value)
{
	if (*slot)
		h->repeated = true;
	*slot = value;
}

/* "Content-Length : 5" is a length to some readers and nothing to others. */
static bool
is_plain_header(const char *key, const char *value)
{
	if (!*key || key[strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				     "0123456789!#$%&'*+-.^_`|~")])
		return false;
	for (; *value; value++)
		if (((unsigned char)*value < 0x20 && *value != '\t') || *value == 0x7f)
			return false;
	return true;
}

/*
 * Proxies say in many ways for whom they ask; one that says but one of these, if only with which
 * scheme it was asked, has said that it is one.
 */
static bool
is_of_proxy(const char *key)
{
	static const char *const begins[] = { "X-Forwarded", "X-Original-", "X-Envoy-" };
	static const char *const is[] = { "Forwarded",           "Via",
					  "X-Real-Ip",           "X-Client-Ip",
					  "X-Cluster-Client-Ip", "True-Client-Ip",
					  "CF-Connecting-Ip" };

	for (size_t i = 0; i < ARRAY_LEN(begins); i++)
		if (!strncasecmp(key, begins[i], strlen(begins[i])))
			return true;
	for (size_t i = 0; i < ARRAY_LEN(is); i++)
		if (!strcasecmp(key, is[i]))
			return true;
	return false;
}

static enum MHD_Result
each_header(void *cls, enum MHD_ValueKind kind, const char *key, const char *value)
{
	struct request_headers *h = cls;

	(void)kind;
	if (!value)
		value = "";
	if (!is_plain_header(key, value))
		h->odd = true;
	if (!strcasecmp(key, "Accept"))
		h->accept = value;
	else if (!strcasecmp(key, "Content-Length"))
		once(h, &h->content_length, value);
	else if (!strcasecmp(key, "Content-Type"))
		once(h, &h->content_type, value);
	else if (!strcasecmp(key, "Host"))
		once(h, &h->host, value);
	else if (!strcasecmp(key, "If-Match"))
		once(h, &h->if_match, value);
	else if (!strcasecmp(key, "Origin"))
		once(h, &h->origin, value);
	else if (!strcasecmp(key, "Sec-Fetch-Site"))
		once(h, &h->fetch_site, value);
	else if (!strcasecmp(key, "Transfer-Encoding"))
		once(h, &h->transfer_encoding, value);
	else if (!strcasecmp(key, "X-Request-Id"))
		h->request_id = value;
	else if (is_of_proxy(key))
		h->forwarded = true;
	return MHD_YES;
}

bool
request_is_local(const struct request *r)
{
	return conn_is_loopback(r->conn) && !r->headers.forwarded;
}

/* The name of "name:port" or "[v6]:port". */
static struct str
host_name(const char *host)
{
	size_t n;

	if (host[0] == '[') {
		n = strcspn(host, "]");
		return str_from(host + 1, n ? n - 1 : 0);
	}
	return str_from(host, strcspn(host, ":"));
}

static bool
host_is_ours(const struct request *r)
{
	struct str name = host_name(r->headers.host ? r->headers.host : "");

	return (name.n == 9 && strncasecmp(name.p, "localhost", 9) == 0) ||
	       str_eq(name, STR("::1")) ||
	       (str_starts(name, STR("127.")) && strspn(name.p, "0123456789.") >= name.n) ||
	       (name.n && str_eq(name, str_of(r->http->host)));
}

bool
request_came_direct(struct request *r)
{
	const struct request_headers *h = &r->headers;
	bool same = true;

	if (h->origin)
		same = strncmp(h->origin, "http://", 7) == 0 && h->host &&
		       strcasecmp(h->origin + 7, h->host) == 0;
	if (h->fetch_site)
		same = same &&
		       (!strcmp(h->fetch_site, "same-origin") || !strcmp(h->fetch_site, "none"));
	if (host_is_ours(r) && same)
		return true;
	request_problem(r, PROBLEM_BAD_HOST,
			"Host must be localhost, a loopback address or that of http.address, and "
			"Origin the same");
	return false;
}

static bool
host_is_listed(const struct request *r, struct str name)
{
	const char *at = r->http->conf.hosts ? r->http->conf.hosts : "";

	for (; *at; at += *at == ',') {
		size_t n = strcspn(at, ",");

		if (n == name.n && strncasecmp(at, name.p, n) == 0)
			return true;
		at += n;
	}
	return false;
}

/*
 * A page of another site may have its name lead to this machine, and then read what a browser here
 * may read (DNS rebinding); the browser says that name, and whatever headers of a proxy the page
 * likes.  Nobody has names without a dot or addresses to give away.  Of other machines we cannot
 * know by which name they know us.
 */
static bool
host_is_borrowed(const struct request *r)
{
	struct str name = host_name(r->headers.host ? r->headers.host : "");
	char here[256] = "";

	if (!conn_is_loopback(r->conn) || !name.n || host_is_ours(r) || host_is_listed(r, name) ||
	    r->headers.host[0] == '[' || !memchr(name.p, '.', name.n) ||
	    strspn(name.p, "0123456789.") >= name.n)
		return false;
	return gethostname(here, sizeof(here) - 1) != 0 || !str_eq(name, str_of(here));
}

/* Where does this request end?  If two readers could differ, nobody may read on. */
static bool
framing_is_clear(struct request *r, const char *version)
{
	const struct request_headers *h = &r->headers;
	bool body =
		h->transfer_encoding || (h->content_length && strcmp(h->content_length, "0") != 0);
	const char *wrong = NULL;

	if (h->odd)
		wrong = "a header whose name or value others read differently";
	else if (h->repeated)
		wrong = "a header that may come only once came twice";
	else if (h->content_length && h->transfer_encoding)
		wrong = "Content-Length beside Transfer-Encoding";
	else if (h->transfer_encoding && strcasecmp(h->transfer_encoding, "chunked") != 0)
		wrong = "Transfer-Encoding other than chunked";
	else if (h->transfer_encoding && strcmp(version, "HTTP/1.1") != 0)
		wrong = "Transfer-Encoding in HTTP/1.0";
	else if (body && (!r->route || strcmp(r->route->method, "POST") != 0))
		wrong = "a body where none is read";
	if (!wrong)
		return true;
	request_problem(r, PROBLEM_BAD_FRAMING, "%s", wrong);
	r->close = true;
	return false;
}

static bool
path_is_plain(const char *url)
{
	return url[0] == '/' && strlen(url) < HTTP_PATH_BYTES &&
	       url[strspn(url,
			  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/_.:-")] ==
		       '\0';
}

/* ---- the course of a request ------------------------------------------------------------- */

static bool
is_json(const char *type)
{
	size_t n = type ? strcspn(type, "; \t") : 0;

	return n == 16 && strncasecmp(type, "application/json", 16) == 0;
}

static void
still_recovering(struct request *r)
{
	struct out o = request_problem_begin(r, PROBLEM_RECOVERING, NULL);

	out_num(&o, "segments_recovered", atomic_load(&r->http->recovered));
	out_num(&o, "segments", atomic_load(&r->http->to_recover));
	problem_end(&o);
}

static void
check_route(struct request *r, const char *url, const char *method)
{
	if (!path_is_plain(url)) {
		request_problem(r, PROBLEM_NO_ROUTE, "GET / lists the endpoints");
		return;
	}
	snprintf(r->path, sizeof(r->path), "%s", url);
	r->route = route_find(method, url, &r->gid_text, r->allow);
	if (r->route) {
		r->allow[0] = '\0';
	} else if (!r->allow[0]) {
		request_problem(r, PROBLEM_NO_ROUTE, "GET / lists the endpoints");
	} else if (!strcmp(method, "OPTIONS")) {
		r->status = MHD_HTTP_NO_CONTENT;
	} else {
		request_problem(r, PROBLEM_METHOD, "it takes %s", r->allow);
	}
}

/* Everything that can be said once the headers are in.  r->status is set when it has been. */
static void
check_request(struct request *r)
{
	const struct request_headers *h = &r->headers;

	if (!conns_enter(r->http->conns, r->conn, r->route->class)) {
		request_problem(r, PROBLEM_TOO_MANY, "close some, or try again");
		r->close = true;
		return;
	}
	(void)MHD_set_connection_option(r->mhd, MHD_CONNECTION_OPTION_TIMEOUT, HTTP_IDLE_S);
	if (atomic_load(&r->http->state) == HTTP_RECOVERING && !r->route->early) {
		still_recovering(r);
		return;
	}
	if (!r->route->early && host_is_borrowed(r)) {
		request_problem(r, PROBLEM_BAD_HOST,
				"on this machine Host must be localhost, an address, that of "
				"http.address, or one of http.hosts");
		return;
	}
	MHD_get_connection_values_n(r->mhd, MHD_GET_ARGUMENT_KIND, each_param, r);
	if (r->status || strcmp(r->route->method, "POST") != 0)
		return;
	if (h->content_length && (strlen(h->content_length) > 9 ||
				  strtoul(h->content_length, NULL, 10) > HTTP_BODY_BYTES)) {
		request_problem(r, PROBLEM_TOO_BIG, "a body has at most %u bytes", HTTP_BODY_BYTES);
		r->close = true;
	} else if (!is_json(h->content_type)) {
		request_problem(r, PROBLEM_MEDIA_TYPE, "Content-Type: application/json");
	}
}

static enum MHD_Result
begin(struct request *r, const char *url, const char *method, const char *version)
{
	bool body;

	MHD_get_connection_values(r->mhd, MHD_HEADER_KIND, each_header, &r->headers);
	check_route(r, url, method);
	if (framing_is_clear(r, version)) {
		if (r->route)
			check_request(r);
		else if (!conns_enter(r->http->conns, r->conn, CONN_READ))
			r->close = true;
	}
	body = r->headers.transfer_encoding || r->headers.content_length;
	if (r->close || (r->status && !body))
		return respond(r);
	return MHD_YES;
}

static enum MHD_Result
body(struct request *r, const char *upload, size_t n)
{
	r->body_seen += n;
	if (r->status)
		return r->body_seen <= DISCARD_BYTES ? MHD_YES : MHD_NO;
	if (r->body_seen > HTTP_BODY_BYTES) {
		request_problem(r, PROBLEM_TOO_BIG, "a body has at most %u bytes", HTTP_BODY_BYTES);
		return MHD_YES;
	}
	buf_add(&r->body, upload, n);
	return MHD_YES;
}

/* The loop's thread. */
static void
found(struct mail *m)
{
	struct request *r = CONTAINER_OF(m, struct request, mail);

	r->phase = REQUEST_FOUND;
	MHD_resume_connection(r->mhd);
}

static enum MHD_Result
ask(struct request *r)
{
	if (!r->status && r->route->ask(r)) {
		CHECK(!r->status, r->mail.number);
		r->phase = REQUEST_POSTED;
		r->mail.done = found;
		conns_wait(r->http->conns, r->conn);
		MHD_suspend_connection(r->mhd);
		/* Once posted, R is the loop's until it resumes the connection. */
		if (mailbox_post(r->http->mailbox, &r->mail) != 0) {
			r->mail.err = ERR_CLOSED;
			found(&r->mail);
		}
		return MHD_YES;
	}
	return respond(r);
}

static enum MHD_Result
tell(struct request *r)
{
	if (r->mail.err == ERR_CLOSED)
		request_problem(r, PROBLEM_DRAINING, "the daemon stops");
	else
		r->route->tell(r);
	mail_clear(&r->mail);
	return respond(r);
}

enum MHD_Result
request_handle(void *cls, struct MHD_Connection *mhd, const char *url, const char *method,
	       const char *version, const char *upload, size_t *upload_size, void **con_cls)
{
	struct request *r = *con_cls;
	const union MHD_ConnectionInfo *info;
	size_t n = *upload_size;

	if (!r) {
		info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
		if (!info || !info->socket_context)
			return MHD_NO;
		r = mem_alloc(sizeof(*r));
		r->http = cls;
		r->mhd = mhd;
		r->conn = info->socket_context;
		*con_cls = r;
		http_live(r->http, true);
		return begin(r, url, method, version);
	}
	if (n) {
		*upload_size = 0;
		return body(r, upload, n);
	}
	switch (r->phase) {
	case REQUEST_BODY:
		return ask(r);
	case REQUEST_FOUND:
		return tell(r);
	case REQUEST_POSTED:
		break; /* suspended: libmicrohttpd does not call */
	}
	CHECK(false, r->mail.number);
	return MHD_NO;
}

void
request_completed(void *cls, struct MHD_Connection *mhd, void **con_cls,
		  enum MHD_RequestTerminationCode why)
{
	struct request *r = *con_cls;

	(void)cls;
	(void)mhd;
	(void)why;
	if (!r)
		return;
	CHECK(r->phase != REQUEST_POSTED, r->mail.number);
	conns_idle(r->http->conns, r->conn);
	http_live(r->http, false);
	mail_clear(&r->mail);
	buf_free(&r->body);
	buf_free(&r->out);
	mem_free(r);
	*con_cls = NULL;
}

void
request_connection(void *cls, struct MHD_Connection *mhd, void **socket_context,
		   enum MHD_ConnectionNotificationCode code)
{
	struct http *h = cls;
	const union MHD_ConnectionInfo *fd;
	const union MHD_ConnectionInfo *peer;

	if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
		if (*socket_context)
			conns_del(h->conns, *socket_context);
		*socket_context = NULL;
		return;
	}
	fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
	peer = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	if (fd && peer)
		*socket_context = conns_add(h->conns, fd->connect_fd, peer->client_addr);
}
