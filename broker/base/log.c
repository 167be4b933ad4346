/*
 * log.c -- lines for people and machines, made without the heap and without locks.
 *
 * A line is put together in a buffer on the stack and leaves in one write(), so lines of
 * several threads never mix, and the last words before "out of memory" need none.  The
 * pairs come as logfmt; the JSON form is made by taking those apart again, which works because
 * log_q() escapes as JSON does.
 */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/utf8.h"

#define RING 8

static _Atomic int log_level = LOG_INFO;
static _Atomic int log_format = LOG_LOGFMT;
static log_clock_fn clock_fn;
static log_sink_fn sink_fn;
static void *redirect_arg;
static bool under_journald;
static bool colours;

/* A line that is being made; what does not fit is left out. */
struct line {
	char *p;
	size_t n;
	size_t max;
};

static const char *
level_name(enum log_level level)
{
	switch (level) {
	case LOG_ERROR:
		return "error";
	case LOG_WARN:
		return "warn";
	case LOG_INFO:
		return "info";
	case LOG_DEBUG:
		return "debug";
	case LOG_TRACE:
		return "trace";
	}
	return "info";
}

/* $JOURNAL_STREAM is inherited by everything a service starts, so it must name our stderr. */
static bool
stderr_is_journald(void)
{
	const char *text = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;

	if (!text || sscanf(text, "%llu:%llu", &device, &inode) != 2)
		return false;
	return fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

void
log_setup(enum log_level level, enum log_format format)
{
	atomic_store(&log_level, (int)level);
	atomic_store(&log_format, (int)format);
	under_journald = stderr_is_journald();
	colours = isatty(STDERR_FILENO) && !getenv("NO_COLOR");
}

void
log_redirect(log_clock_fn clock, log_sink_fn sink, void *arg)
{
	clock_fn = clock;
	sink_fn = sink;
	redirect_arg = arg;
}

bool
log_enabled(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&log_level, memory_order_relaxed);
}

int
log_level_parse(const char *text, enum log_level *ret_level)
{
	for (int i = LOG_ERROR; i <= LOG_TRACE; i++) {
		if (strcmp(text, level_name((enum log_level)i)) == 0) {
			*ret_level = (enum log_level)i;
			return 0;
		}
	}
	return ERR_CONFIG;
}

int
log_format_parse(const char *text, enum log_format *ret_format)
{
	if (strcmp(text, "logfmt") == 0)
		*ret_format = LOG_LOGFMT;
	else if (strcmp(text, "json") == 0)
		*ret_format = LOG_JSON;
	else if (strcmp(text, "text") == 0)
		*ret_format = LOG_TEXT;
	else
		return ERR_CONFIG;
	return 0;
}

static void
add(struct line *l, const char *p, size_t n)
{
	if (n > l->max - l->n)
		n = l->max - l->n;
	memcpy(l->p + l->n, p, n);
	l->n += n;
}

static void
add_text(struct line *l, const char *text)
{
	add(l, text, strlen(text));
}

/*
 * One character of S, escaped as in JSON, to RET; returns what was taken of S.  A byte that is
 * not UTF-8 becomes U+FFFD: a log that no program can read loses more than the byte.
 */
static size_t
escape(struct str s, char ret[8], size_t *ret_len)
{
	static const char plain[] = "\"\\\n\t\r", letter[] = "\"\\ntr";
	unsigned char c = (unsigned char)s.p[0];
	size_t n = utf8_length(s);
	const char *known = c ? strchr(plain, c) : NULL;

	if (known) {
		ret[0] = '\\';
		ret[1] = letter[known - plain];
		*ret_len = 2;
	} else if (n == 0 || c < 0x20 || c == 0x7f) {
		*ret_len = (size_t)snprintf(ret, 8, "\\u%04x", n == 0 ? 0xfffd : (unsigned)c);
	} else {
		memcpy(ret, s.p, n);
		*ret_len = n;
		return n;
	}
	return 1;
}

const char *
log_q(struct str s)
{
	static _Thread_local char ring[RING][LOG_VALUE_BYTES];
	static _Thread_local unsigned turn;
	char *out = ring[turn++ % RING];
	size_t n = 0;

	out[n++] = '"';
	while (s.n) {
		char piece[8];
		size_t len, took = escape(s, piece, &len);

		if (n + len + sizeof("...\"") > LOG_VALUE_BYTES) {
			memcpy(out + n, "...", 3);
			n += 3;
			break;
		}
		memcpy(out + n, piece, len);
		n += len;
		s = str_from(s.p + took, s.n - took);
	}
	out[n++] = '"';
	out[n] = '\0';
	return out;
}

/* Escapes S, in whole characters only. */
static void
add_quoted(struct line *l, struct str s)
{
	add(l, "\"", 1);
	while (s.n) {
		char piece[8];
		size_t len, took = escape(s, piece, &len);

		add(l, piece, len);
		s = str_from(s.p + took, s.n - took);
	}
	add(l, "\"", 1);
}

static bool
is_number(struct str s)
{
	size_t i = s.n && s.p[0] == '-' ? 1 : 0;
	size_t digits = 0, points = 0, start = i;

	for (; i < s.n; i++) {
		if (s.p[i] >= '0' && s.p[i] <= '9')
			digits++;
		else if (s.p[i] == '.' && digits && i + 1 < s.n)
			points++;
		else
			return false;
	}
	/* Ids with a leading zero are text; and so is what a double would round. */
	return digits && digits <= 15 && points <= 1 &&
	       !(s.p[start] == '0' && s.n > start + 1 && s.p[start + 1] != '.');
}

/* Is S what log_q() makes?  A raw %s of a peer's bytes may look like it and not be JSON. */
static bool
is_quoted(struct str s)
{
	if (s.n < 2 || s.p[0] != '"' || s.p[s.n - 1] != '"')
		return false;
	s = str_from(s.p + 1, s.n - 2);
	while (s.n) {
		size_t took = utf8_length(s);

		if (s.p[0] == '\\') {
			took = s.n >= 2 && memchr("\"\\ntr", s.p[1], 5) ? 2 : 0;
			if (s.n >= 6 && s.p[1] == 'u' && strspn(s.p + 2, "0123456789abcdef") >= 4)
				took = 6;
		} else if (s.p[0] == '"') {
			took = 0;
		}
		if (took == 0)
			return false;
		s = str_from(s.p + took, s.n - took);
	}
	return true;
}

/* Takes the next pair off FIELDS; false at the end. */
static bool
next_pair(struct str *fields, struct str *ret_key, struct str *ret_value)
{
	const char *p = fields->p, *end = p + fields->n, *key, *value;

	while (p < end && *p == ' ')
		p++;
	if (p == end)
		return false;
	for (key = p; p < end && *p != '=' && *p != ' '; p++)
		;
	*ret_key = str_from(key, (size_t)(p - key));
	if (p < end && *p == '=')
		p++;
	value = p;
	if (p < end && *p == '"') {
		for (p++; p < end && *p != '"'; p++) {
			if (*p == '\\' && p + 1 < end)
				p++;
		}
		if (p < end)
			p++;
	} else {
		while (p < end && *p != ' ')
			p++;
	}
	*ret_value = str_from(value, (size_t)(p - value));
	*fields = str_from(p, (size_t)(end - p));
	return true;
}

static void
add_json_pairs(struct line *l, struct str fields)
{
	struct str key, value;

	while (next_pair(&fields, &key, &value)) {
		/* Room for the pair at its worst, or none of it: half a pair is not JSON. */
		if (l->max - l->n < key.n + 6 * value.n + 8)
			return;
		add(l, ",", 1);
		add_quoted(l, key);
		add(l, ":", 1);
		if (is_quoted(value) || is_number(value) || str_eq(value, STR("true")) ||
		    str_eq(value, STR("false")))
			add(l, value.p, value.n);
		else
			add_quoted(l, value);
	}
}

static void
add_time(struct line *l)
{
	struct timespec now;
	struct tm tm;
	char text[40];
	int64_t us;
	time_t s;

	if (clock_fn) {
		us = clock_fn(redirect_arg);
	} else {
		clock_gettime(CLOCK_REALTIME, &now);
		us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
	}
	s = (time_t)(us / 1000000);
	gmtime_r(&s, &tm);
	add(l, text, strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm));
	snprintf(text, sizeof(text), ".%06dZ", (int)(us % 1000000));
	add_text(l, text);
}

static void
make_logfmt(struct line *l, enum log_level level, const char *msg, struct str fields)
{
	if (!under_journald) {
		add_text(l, "ts=");
		add_time(l);
		add_text(l, " ");
	}
	add_text(l, "level=");
	add_text(l, level_name(level));
	add_text(l, " msg=");
	add_quoted(l, str_of(msg));
	if (fields.n) {
		add_text(l, " ");
		add(l, fields.p, fields.n);
	}
}

static void
make_json(struct line *l, enum log_level level, const char *msg, struct str fields)
{
	add_text(l, "{");
	if (!under_journald) {
		add_text(l, "\"ts\":\"");
		add_time(l);
		add_text(l, "\",");
	}
	add_text(l, "\"level\":\"");
	add_text(l, level_name(level));
	add_text(l, "\",\"msg\":");
	add_quoted(l, str_of(msg));
	l->max -= 1; /* for the brace */
	add_json_pairs(l, fields);
	l->max += 1;
	add_text(l, "}");
}

static void
make_text(struct line *l, enum log_level level, const char *msg, struct str fields)
{
	static const char *const paint[] = { "\033[31m", "\033[33m", "\033[32m", "\033[36m",
					     "\033[90m" };
	char name[16];

	if (!under_journald) {
		add_time(l);
		add_text(l, " ");
	}
	snprintf(name, sizeof(name), "%-5s", level_name(level));
	if (colours && !sink_fn)
		add_text(l, paint[level]);
	add_text(l, name);
	if (colours && !sink_fn)
		add_text(l, "\033[0m");
	add_text(l, " ");
	add_text(l, msg);
	if (fields.n) {
		add_text(l, "  ");
		add(l, fields.p, fields.n);
	}
}

static void
put(const char *p, size_t n)
{
	/* Nobody is left to tell when stderr itself fails. */
	while (n) {
		ssize_t done = write(STDERR_FILENO, p, n);

		if (done <= 0)
			return;
		p += done;
		n -= (size_t)done;
	}
}

void
log_write(enum log_level level, const char *msg, const char *fields, ...)
{
	/* As syslog numbers them: err, warning, info, debug, debug. */
	static const char *const prefix[] = { "<3>", "<4>", "<6>", "<7>", "<7>" };
	char pairs[LOG_LINE_BYTES / 2], text[LOG_LINE_BYTES];
	struct line l = { text, 0, sizeof(text) - 1 };
	struct str f = STR("");
	va_list args;

	if (!log_enabled(level))
		return;
	if (fields) {
		int n;

		va_start(args, fields);
		n = vsnprintf(pairs, sizeof(pairs), fields, args);
		va_end(args);
		f = str_from(pairs, n < 0 ? 0 : min_u64((uint64_t)n, sizeof(pairs) - 1));
	}
	/* A line feed that somebody put in unescaped would forge a line. */
	for (size_t i = 0; i < f.n; i++) {
		if ((unsigned char)pairs[i] < 0x20)
			pairs[i] = ' ';
	}
	if (under_journald && !sink_fn)
		add_text(&l, prefix[level]);
	switch ((enum log_format)atomic_load(&log_format)) {
	case LOG_LOGFMT:
		make_logfmt(&l, level, msg, f);
		break;
	case LOG_JSON:
		make_json(&l, level, msg, f);
		break;
	case LOG_TEXT:
		make_text(&l, level, msg, f);
		break;
	}
	text[l.n++] = '\n';
	if (sink_fn)
		sink_fn(redirect_arg, text, l.n);
	else
		put(text, l.n);
}
