/*
 * fuzz_http.c -- any bytes from an operator: libmicrohttpd, our handler, JSON.
 *
 * The listener's daemon runs without threads, on one end of a pair of sockets; the loop is a
 * clerk of constants.  The first byte says whether the daemon is still recovering and whether
 * commands are allowed; the rest is what a client sends.  Oracles besides crashes:
 *
 *   - each answer is 2xx or 4xx (libmicrohttpd's own 505 aside), framed as it says, and JSON
 *     where it says so;
 *   - the work ends: so many rounds for so many bytes;
 *   - a second, strict reader of the same bytes sees every command that reached the loop, in that
 *     order, with that verb and gid: no request is smuggled in what others would call a body.
 */
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <jansson.h>

#include "base/err.h"
#include "fuzz/must.h"
#include "http/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define INPUT_MAX    16384u
#define ANSWERS_MAX  (1u << 20)
#define COMMANDS_MAX 256u
#define ROUNDS_MAX   20000u

struct command {
	enum verb verb;
	struct gid gid;
};

static struct {
	struct command ran[COMMANDS_MAX];
	size_t count;
} loop;

/* ---- the loop ------------------------------------------------------------ */

static void
wake(struct net *n)
{
	(void)n;
}

static void
one_row(struct mail *m)
{
	struct row_view row = { .gid = { 1, 2 },
				.state = TXN_PREPARED,
				.group = STR("g"),
				.topic = STR("t"),
				.count = 1 };

	mail_take_rows(m, &row, 1);
}

static bool
fill(void *arg, struct mail *m, int64_t now_ns)
{
	(void)arg, (void)now_ns;
	m->wall_ms = 1700000000000;
	switch (m->kind) {
	case MAIL_SNAPSHOT:
		m->snapshot = mem_alloc(sizeof(*m->snapshot));
		break;
	case MAIL_LIST:
		one_row(m);
		m->next_seq = 77;
		break;
	case MAIL_TXN:
		if (m->gid.lo % 2)
			m->err = ERR_NOTFOUND;
		else
			one_row(m);
		break;
	case MAIL_OPERATE:
		MUST(m->op.reason.n > 0 && m->op.reason.n <= LIMIT_REASON_BYTES);
		MUST(loop.count < COMMANDS_MAX);
		loop.ran[loop.count++] = (struct command){ m->op.verb, m->op.gid };
		m->answer = (struct answer){ .code = ANSWER_OK, .state = TXN_COMMITTED };
		break;
	case MAIL_GROUPS:
	case MAIL_TOPICS:
	case MAIL_CONNECTIONS:
		break;
	case MAIL_WATERMARK:
		m->watermark = (struct gid){ 1, 2 };
		break;
	}
	return true;
}

/* ---- the listener, on no port ------------------------------------------------------------ */

static struct http *
listener(void)
{
	static const struct net_ops ops = { .wake = wake };
	static struct net net = { .ops = &ops };
	static struct http h = { .host = "127.0.0.1" };

	if (h.daemon)
		return &h;
	json_object_seed(1);
	h.conf = (struct http_conf){ .address = "127.0.0.1:0",
				     .max_topics = 10,
				     .version = "1",
				     .revision = "2",
				     .librdkafka = "3" };
	h.mailbox = mailbox_new(&net);
	pthread_mutex_init(&h.lock, NULL);
	pthread_cond_init(&h.none_live, NULL);
	MUST(conns_new(3600 * NS_PER_S, &h.conns) == 0);
	h.daemon = MHD_start_daemon(MHD_ALLOW_SUSPEND_RESUME | MHD_USE_NO_LISTEN_SOCKET, 0, NULL,
				    NULL, request_handle, &h, MHD_OPTION_CONNECTION_LIMIT, 8u,
				    MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_CONN_MEMORY,
				    MHD_OPTION_CONNECTION_MEMORY_INCREMENT,
				    (size_t)HTTP_CONN_INCREMENT, MHD_OPTION_STRICT_FOR_CLIENT, 1,
				    MHD_OPTION_NOTIFY_COMPLETED, request_completed, &h,
				    MHD_OPTION_NOTIFY_CONNECTION, request_connection, &h,
				    MHD_OPTION_END);
	MUST(h.daemon);
	return &h;
}

/* One look at everything; the bytes that were answered are appended. */
static size_t
round_of(struct http *h, int fd, char *answers, size_t len, bool *ret_end)
{
	static const struct clerk clerk = { NULL, fill };
	ssize_t n;

	MUST(MHD_run(h->daemon) == MHD_YES);
	mailbox_turn(h->mailbox, &clerk, 0);
	n = recv(fd, answers + len, ANSWERS_MAX - len, MSG_DONTWAIT);
	*ret_end |= n == 0 || (n < 0 && errno != EAGAIN);
	return n > 0 ? (size_t)n : 0;
}

/* Sends all, takes all, until nothing comes any more. */
static size_t
talk(struct http *h, const uint8_t *bytes, size_t n, char *answers)
{
	struct sockaddr_in peer = { .sin_family = AF_INET, .sin_port = htons(4711) };
	size_t len = 0, got, rounds = 0;
	int pair[2], quiet = 0;
	bool end = false, shut = false;

	peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	MUST(MHD_add_connection(h->daemon, pair[1], (struct sockaddr *)&peer, sizeof(peer)) ==
	     MHD_YES);
	MUST(n == 0 || send(pair[0], bytes, n, MSG_NOSIGNAL) == (ssize_t)n);
	while (!end && quiet < 6) {
		MUST(rounds++ < ROUNDS_MAX && len < ANSWERS_MAX);
		got = round_of(h, pair[0], answers, len, &end);
		len += got;
		quiet = got ? 0 : quiet + 1;
		if (quiet == 6 && !shut) {
			shutdown(pair[0], SHUT_WR);
			shut = true;
			quiet = 0;
		}
	}
	close(pair[0]);
	for (int i = 0; i < 4; i++)
		MUST(MHD_run(h->daemon) == MHD_YES);
	return len;
}

/* ---- the strict reader ------------------------------------------------------------ */

struct reader {
	const char *p, *end;
	struct command commands[COMMANDS_MAX];
	size_t count;
	bool heads[COMMANDS_MAX]; /* of the first requests: is it HEAD?                        */
	size_t requests;
};

/* The next line, without its end; false: there is none. */
static bool
line_of(struct reader *r, struct str *ret_line)
{
	const char *lf = memchr(r->p, '\n', (size_t)(r->end - r->p));

	if (!lf)
		return false;
	*ret_line = str_from(r->p, (size_t)(lf - r->p));
	if (ret_line->n && lf[-1] == '\r')
		ret_line->n--;
	r->p = lf + 1;
	return true;
}

static bool
is_token(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!isalnum((unsigned char)s.p[i]) && !memchr("!#$%&'*+-.^_`|~", s.p[i], 15))
			return false;
	return s.n > 0;
}

static bool
is_name(struct str s, const char *name)
{
	return s.n == strlen(name) && strncasecmp(s.p, name, s.n) == 0;
}

static bool
skip(struct reader *r, uint64_t n)
{
	if (n > (uint64_t)(r->end - r->p))
		return false;
	r->p += n;
	return true;
}

static bool
chunks(struct reader *r)
{
	for (;;) {
		struct str line;
		uint64_t size = 0;
		size_t i = 0;

		if (!line_of(r, &line))
			return false;
		for (; i < line.n && isxdigit((unsigned char)line.p[i]) && i < 8; i++)
			size = size * 16 + (uint64_t)(isdigit((unsigned char)line.p[i])
							      ? line.p[i] - '0'
							      : (line.p[i] | 0x20) - 'a' + 10);
		if (i == 0 || (i < line.n && line.p[i] != ';'))
			return false;
		if (size == 0) {
			while (line_of(r, &line))
				if (line.n == 0)
					return true;
			return false;
		}
		if (!skip(r, size) || !line_of(r, &line) || line.n)
			return false;
	}
}

/* What stands in the path of a command: ".../{gid}:verb". */
static void
note_command(struct reader *r, struct str target)
{
	static const struct str prefix = { "/api/v1/transactions/", 21 };
	struct command c;

	if (!str_starts(target, prefix) || target.n < prefix.n + 34 || target.p[53] != ':' ||
	    gid_parse(str_from(target.p + 21, 32), &c.gid))
		return;
	for (int v = VERB_COMMIT; v <= VERB_DISCARD; v++) {
		struct str verb = str_of(verb_name((enum verb)v));
		struct str rest = str_from(target.p + 54, target.n - 54);

		if (!str_starts(rest, verb) || (rest.n > verb.n && rest.p[verb.n] != '?') ||
		    r->count == COMMANDS_MAX)
			continue;
		c.verb = (enum verb)v;
		r->commands[r->count++] = c;
	}
}

/* One request; false: it does not end here for certain, so nothing behind it may be read. */
static bool
request(struct reader *r)
{
	struct str line, method, target;
	const char *space, *last;
	uint64_t length = 0;
	unsigned lengths = 0, encodings = 0;
	bool http10;

	do {
		if (!line_of(r, &line))
			return false;
	} while (line.n == 0);
	space = memchr(line.p, ' ', line.n);
	last = memrchr(line.p, ' ', line.n);
	if (!space || last == space)
		return false;
	method = str_from(line.p, (size_t)(space - line.p));
	target = str_from(space + 1, (size_t)(last - space) - 1);
	/* libmicrohttpd hands them on as C strings, and does not say what is behind a NUL. */
	method.n = strnlen(method.p, method.n);
	target.n = strnlen(target.p, target.n);
	http10 = line.p + line.n - last == 9 && memcmp(last + 1, "HTTP/1.0", 8) == 0;
	/* An odd method is refused and does not change where the request ends. */
	if (method.n == 0 || memchr(target.p, ' ', target.n) ||
	    (!http10 && !(line.p + line.n - last == 9 && memcmp(last + 1, "HTTP/1.1", 8) == 0)))
		return false;
	for (;;) {
		struct str name, value;
		const char *colon;

		if (!line_of(r, &line))
			return false;
		if (line.n == 0)
			break;
		colon = memchr(line.p, ':', line.n);
		if (!colon)
			return false;
		name = str_from(line.p, (size_t)(colon - line.p));
		value = str_from(colon + 1, line.n - name.n - 1);
		while (value.n && (value.p[0] == ' ' || value.p[0] == '\t'))
			value = str_from(value.p + 1, value.n - 1);
		while (value.n && (value.p[value.n - 1] == ' ' || value.p[value.n - 1] == '\t'))
			value.n--;
		if (!is_token(name))
			return false;
		if (is_name(name, "Content-Length")) {
			lengths++;
			for (size_t i = 0; i < value.n; i++) {
				if (!isdigit((unsigned char)value.p[i]) || i > 9)
					return false;
				length = length * 10 + (uint64_t)(value.p[i] - '0');
			}
			if (value.n == 0)
				return false;
		} else if (is_name(name, "Transfer-Encoding")) {
			encodings++;
			if (!is_name(value, "chunked"))
				return false;
		}
	}
	if (lengths + encodings > 1 || (encodings && http10))
		return false;
	if (r->requests < COMMANDS_MAX)
		r->heads[r->requests++] = str_eq(method, STR("HEAD"));
	if (!(encodings ? chunks(r) : skip(r, length)))
		return false;
	if (str_eq(method, STR("POST")))
		note_command(r, target);
	return true;
}

/* ---- answers ------------------------------------------------------------ */

static bool
field(const char *head, size_t n, const char *name, struct str *ret_value)
{
	const char *at = memmem(head, n, name, strlen(name)), *end;

	if (!at)
		return false;
	at += strlen(name);
	end = memchr(at, '\r', n - (size_t)(at - head));
	*ret_value = str_from(at, (size_t)(end - at));
	return true;
}

static void
judge_answers(const char *p, size_t n, const struct reader *r)
{
	for (size_t i = 0; n; i++) {
		const char *blank = p ? memmem(p, n, "\r\n\r\n", 4) : NULL;
		struct str text;
		size_t head, body = 0;
		int status;

		MUST(blank && n > 13 && memcmp(p, "HTTP/1.", 7) == 0);
		head = (size_t)(blank - p) + 4;
		status = (p[9] - '0') * 100 + (p[10] - '0') * 10 + (p[11] - '0');
		if (status == 100) { /* asked for by "Expect"; the answer follows */
			p += head;
			n -= head;
			i--;
			continue;
		}
		MUST((status >= 200 && status < 300) || (status >= 400 && status < 500) ||
		     status == 503 || status == 505);
		/* libmicrohttpd's own, the last of its connection; 0.9.75 says some heads twice. */
		if (status >= 400 && !field(p, head, "Content-Type: ", &text))
			return;
		if (field(p, head, "Content-Length: ", &text))
			body = (size_t)strtoul(text.p, NULL, 10);
		if (i >= r->requests)
			return; /* no request that we know the method of */
		if (r->heads[i])
			body = 0;
		MUST(body <= n - head);
		if (body && field(p, head, "Content-Type: application/", &text) &&
		    memmem(text.p, text.n, "json", 4)) {
			json_t *json = json_loadb(p + head, body, JSON_REJECT_DUPLICATES, NULL);

			MUST(json);
			json_decref(json);
		}
		p += head + body;
		n -= head + body;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static char answers[ANSWERS_MAX];
	static struct reader r;
	struct http *h = listener();
	size_t len, at = 0;

	if (n == 0 || n > INPUT_MAX)
		return 0;
	atomic_store(&h->state, data[0] & 1 ? HTTP_RECOVERING : HTTP_SERVING);
	h->conf.admin_write = !(data[0] & 2);
	loop.count = 0;
	len = talk(h, data + 1, n - 1, answers);

	r.p = (const char *)data + 1;
	r.end = (const char *)data + n;
	r.count = r.requests = 0;
	while (request(&r))
		;
	judge_answers(answers, len, &r);
	for (size_t i = 0; i < loop.count; i++, at++) {
		while (at < r.count && !(r.commands[at].verb == loop.ran[i].verb &&
					 gid_eq(r.commands[at].gid, loop.ran[i].gid)))
			at++;
		MUST(at < r.count);
	}
	return 0;
}
