/*
 * conf.c -- the parser of conf.h: one pass, line by line, every fault told.
 *
 * It goes on after a fault, so that a person who made three mistakes starts the daemon twice
 * and not four times.
 */
#include "base/conf.h"

#include <stdarg.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/map.h"
#include "base/utf8.h"

struct parser {
	const char *file;
	struct str rest; /* text not read yet */
	unsigned line;   /* of the line being read */
	struct str section;
	struct conf *conf;
	size_t cap;
	struct map by_key; /* pairs of this file, for duplicates */
	struct buf value;
	struct buf *errors;
	int err;
};

static uint64_t
key_hash(struct str key)
{
	/* Who writes the file could as well stop the daemon: no secret is needed. */
	return hash_key((struct hash_secret){ 0, 0 }, key.p, key.n);
}

static uint64_t
pair_hash(const void *arg, uint32_t index)
{
	const struct conf *c = arg;

	return key_hash(str_of(c->pairs[index].key));
}

static PRINTF(3, 4) void fault(struct parser *p, unsigned column, const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	buf_printf(p->errors, "%s:%u:%u: %s\n", p->file, p->line, column, text);
	p->err = ERR_CONFIG;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool
is_key_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr("._-%|", c));
}

static struct str
trim_left(struct str s)
{
	while (s.n && is_blank(s.p[0]))
		s = str_from(s.p + 1, s.n - 1);
	return s;
}

static struct str
trim_right(struct str s)
{
	while (s.n && is_blank(s.p[s.n - 1]))
		s.n--;
	return s;
}

/* Characters, not bytes: that is what an editor counts. */
static unsigned
column_of(struct str line, const char *at)
{
	unsigned column = 1;

	for (const char *p = line.p; p < at; p++)
		column += ((unsigned char)*p & 0xc0) != 0x80;
	return column;
}

/* The next line, without its end; false at the end of the text. */
static bool
next_line(struct parser *p, struct str *ret_line)
{
	const char *end;
	size_t n;

	if (p->rest.n == 0)
		return false;
	end = memchr(p->rest.p, '\n', p->rest.n);
	n = end ? (size_t)(end - p->rest.p) : p->rest.n;
	*ret_line = str_from(p->rest.p, n);
	p->rest = str_from(p->rest.p + n + (end != NULL), p->rest.n - n - (end != NULL));
	if (n && ret_line->p[n - 1] == '\r')
		ret_line->n--;
	p->line++;
	return true;
}

static bool
line_is_text(struct parser *p, struct str line)
{
	struct str s = line;

	while (s.n) {
		size_t n = utf8_length(s);
		unsigned char c = (unsigned char)s.p[0];

		if (n == 0) {
			fault(p, column_of(line, s.p), "byte 0x%02x is not UTF-8", c);
			return false;
		}
		if ((c < 0x20 && c != '\t') || c == 0x7f) {
			fault(p, column_of(line, s.p), "control character 0x%02x", c);
			return false;
		}
		s = str_from(s.p + n, s.n - n);
	}
	return true;
}

static void
read_section(struct parser *p, struct str line, struct str s)
{
	const char *close = memchr(s.p, ']', s.n);
	struct str name;

	if (!close) {
		fault(p, column_of(line, s.p), "this section has no ']'");
		return;
	}
	name = trim_right(trim_left(str_from(s.p + 1, (size_t)(close - s.p) - 1)));
	for (size_t i = 0; i < name.n; i++) {
		if (!is_key_char(name.p[i])) {
			fault(p, column_of(line, name.p + i),
			      "a section is named by letters, digits and . _ -");
			return;
		}
	}
	if (close + 1 != s.p + s.n) {
		fault(p, column_of(line, close + 1), "nothing may follow the ']'");
		return;
	}
	p->section = name;
}

/* Adds the value's text of one line to p->value; true when the line is to be continued. */
static bool
add_value(struct parser *p, struct str s)
{
	size_t slashes = 0;

	s = trim_right(s);
	while (slashes < s.n && s.p[s.n - 1 - slashes] == '\\')
		slashes++;
	s.n -= slashes;
	buf_str(&p->value, s);
	for (size_t i = 0; i < slashes / 2; i++)
		buf_u8(&p->value, '\\');
	return slashes % 2 == 1;
}

static void
keep(struct parser *p, struct str key, unsigned line, unsigned column)
{
	struct conf *c = p->conf;
	struct buf full = BUF_INIT;
	struct map_probe probe;
	struct conf_pair *pair;

	if (p->section.n) {
		buf_str(&full, p->section);
		buf_u8(&full, '.');
	}
	buf_str(&full, key);
	for (uint32_t i = map_first(&p->by_key, key_hash(buf_as_str(&full)), &probe); i != MAP_NONE;
	     i = map_next(&p->by_key, &probe)) {
		if (!str_eq(str_of(c->pairs[i].key), buf_as_str(&full)))
			continue;
		p->line = line;
		fault(p, column, "%.*s is already set in line %u", STR_ARG(buf_as_str(&full)),
		      c->pairs[i].line);
		buf_free(&full);
		return;
	}
	if (c->count == p->cap) {
		p->cap = p->cap ? p->cap * 2 : 16;
		c->pairs = mem_grow(c->pairs, p->cap * sizeof(*c->pairs));
	}
	buf_u8(&full, '\0');
	buf_u8(&p->value, '\0');
	pair = &c->pairs[c->count];
	*pair = (struct conf_pair){ .key = full.data, .line = line, .column = column };
	pair->value = mem_dup(p->value.data, p->value.len);
	map_put(&p->by_key, key_hash(str_of(pair->key)), (uint32_t)c->count);
	c->count++;
}

static void
read_pair(struct parser *p, struct str line, struct str s)
{
	unsigned at = p->line, column = column_of(line, s.p);
	struct str key = s, rest;
	size_t n = 0;
	bool more, good = true;

	while (n < s.n && is_key_char(s.p[n]))
		n++;
	key.n = n;
	rest = trim_left(str_from(s.p + n, s.n - n));
	if (n == 0 || rest.n == 0 || rest.p[0] != '=') {
		if (rest.n == 0)
			fault(p, column_of(line, rest.p), "expected '=' and a value behind %.*s",
			      STR_ARG(key));
		else if (rest.p[0] != '=' && rest.p > s.p + n)
			fault(p, column_of(line, rest.p), "expected '=' behind %.*s", STR_ARG(key));
		else
			fault(p, column_of(line, rest.p),
			      "a key is made of letters, digits and . _ - %% |");
		good = false; /* and yet its continuation belongs to it */
	}
	p->value.len = 0;
	more = add_value(p, good ? trim_left(str_from(rest.p + 1, rest.n - 1)) : rest);
	while (more) {
		if (!next_line(p, &line)) {
			fault(p, column, "the text ends behind a '\\' that asks for another line");
			return;
		}
		if (!line_is_text(p, line))
			good = false;
		more = add_value(p, trim_left(line));
	}
	/* What stood before a "\" that joined nothing. */
	p->value.len = trim_right(buf_as_str(&p->value)).n;
	if (good)
		keep(p, key, at, column);
}

int
conf_parse(const char *file, struct str text, struct conf *ret, struct buf *errors)
{
	struct parser p = { .file = file, .rest = text, .conf = ret, .errors = errors };
	struct str line;

	*ret = (struct conf){ NULL, 0 };
	map_init(&p.by_key, pair_hash, ret);
	/* Some editors put a byte order mark there. */
	if (str_starts(text, STR("\xef\xbb\xbf")))
		p.rest = str_from(text.p + 3, text.n - 3);
	while (next_line(&p, &line)) {
		struct str s = trim_right(trim_left(line));

		if (!line_is_text(&p, line) || s.n == 0 || s.p[0] == '#')
			continue;
		if (s.p[0] == '[')
			read_section(&p, line, s);
		else
			read_pair(&p, line, s);
	}
	map_done(&p.by_key);
	buf_free(&p.value);
	return p.err;
}

void
conf_done(struct conf *c)
{
	for (size_t i = 0; i < c->count; i++) {
		mem_free(c->pairs[i].key);
		mem_free(c->pairs[i].value);
	}
	mem_free(c->pairs);
	*c = (struct conf){ NULL, 0 };
}
