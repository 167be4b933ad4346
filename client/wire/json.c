/*
 * json.c -- the JSON header, and the body of a heartbeat.
 *
 * Stock clients in Go and C++ always speak JSON, so it is on the path of every one of their
 * requests: one pass, no tree.  Strings without escapes stay where they are; the others are
 * unescaped into one scratch block, made at the first of them.  Text never grows by being
 * unescaped, so a block of the input's size is always enough.
 *
 * Lenient where clients are: numbers and booleans count as their text (C++ sends such
 * ext values), unknown names are stepped over with whatever they hold, and blanks may follow.
 */
#include <stdlib.h>

#include "wire/codec.h"
#include "wire/wire.h"

struct json {
	const char *p;
	const char *end;
	char *scratch; /* made when first needed                               */
	size_t used;
};

static int
peek(struct json *j)
{
	while (j->p < j->end && (*j->p == ' ' || *j->p == '\n' || *j->p == '\r' || *j->p == '\t'))
		j->p++;
	return j->p < j->end ? (unsigned char)*j->p : -1;
}

static bool
eat(struct json *j, char c)
{
	if (peek(j) != c)
		return false;
	j->p++;
	return true;
}

static bool
hex4(struct json *j, uint32_t *ret)
{
	uint32_t v = 0;

	if (j->end - j->p < 4)
		return false;
	for (int i = 0; i < 4; i++) {
		int digit = wire_hex_digit(*j->p++);

		if (digit < 0)
			return false;
		v = v << 4 | (uint32_t)digit;
	}
	*ret = v;
	return true;
}

static char *
put_utf8(char *to, uint32_t v)
{
	if (v < 0x80) {
		*to++ = (char)v;
	} else if (v < 0x800) {
		*to++ = (char)(0xC0 | v >> 6);
		*to++ = (char)(0x80 | (v & 0x3F));
	} else if (v < 0x10000) {
		*to++ = (char)(0xE0 | v >> 12);
		*to++ = (char)(0x80 | (v >> 6 & 0x3F));
		*to++ = (char)(0x80 | (v & 0x3F));
	} else {
		*to++ = (char)(0xF0 | v >> 18);
		*to++ = (char)(0x80 | (v >> 12 & 0x3F));
		*to++ = (char)(0x80 | (v >> 6 & 0x3F));
		*to++ = (char)(0x80 | (v & 0x3F));
	}
	return to;
}

/* After \u: a code point, or what is left of a broken pair as U+FFFD. */
static char *
unescape_u(struct json *j, char *to)
{
	uint32_t v, low;

	if (!hex4(j, &v))
		return NULL;
	if (v >= 0xD800 && v < 0xDC00) {
		const char *back = j->p;

		if (j->end - j->p >= 6 && j->p[0] == '\\' && j->p[1] == 'u') {
			j->p += 2;
			if (!hex4(j, &low))
				return NULL;
			if (low >= 0xDC00 && low < 0xE000)
				return put_utf8(to,
						0x10000 + ((v - 0xD800) << 10) + (low - 0xDC00));
			j->p = back;
		}
		v = 0xFFFD;
	} else if (v >= 0xDC00 && v < 0xE000) {
		v = 0xFFFD;
	}
	return put_utf8(to, v);
}

/* J->p is at the character after the backslash. */
static char *
unescape(struct json *j, char *to)
{
	if (j->p == j->end)
		return NULL;
	switch (*j->p++) {
	case '"':
		*to++ = '"';
		return to;
	case '\\':
		*to++ = '\\';
		return to;
	case '/':
		*to++ = '/';
		return to;
	case 'b':
		*to++ = '\b';
		return to;
	case 'f':
		*to++ = '\f';
		return to;
	case 'n':
		*to++ = '\n';
		return to;
	case 'r':
		*to++ = '\r';
		return to;
	case 't':
		*to++ = '\t';
		return to;
	case 'u':
		return unescape_u(j, to);
	default:
		return NULL;
	}
}

/* The end of the run of plain characters at P: a quote, a backslash or END. */
static const char *
plain_end(const char *p, const char *end)
{
	while (p < end && *p != '"' && *p != '\\')
		p++;
	return p;
}

static int
string(struct json *j, struct wire_str *ret)
{
	if (!eat(j, '"'))
		return WIRE_E_MALFORMED;

	const char *from = j->p;
	const char *stop = plain_end(from, j->end);

	if (stop == j->end)
		return WIRE_E_MALFORMED;
	if (*stop == '"') {
		*ret = (struct wire_str){ from, (size_t)(stop - from) };
		j->p = stop + 1;
		return 0;
	}

	if (j->scratch == NULL) {
		j->scratch = malloc((size_t)(j->end - from));
		if (j->scratch == NULL)
			return WIRE_E_NOMEM;
		j->used = 0;
	}

	char *start = j->scratch + j->used;
	char *to = start;

	for (;;) {
		to = (char *)put_bytes((uint8_t *)to, from, (size_t)(stop - from));
		j->p = stop + 1;
		if (stop == j->end)
			return WIRE_E_MALFORMED;
		if (*stop == '"')
			break;
		to = unescape(j, to);
		if (to == NULL)
			return WIRE_E_MALFORMED;
		from = j->p;
		stop = plain_end(from, j->end);
	}
	*ret = (struct wire_str){ start, (size_t)(to - start) };
	j->used += ret->n;
	return 0;
}

/* A number or a word: taken as the text it is. */
static int
bare(struct json *j, struct wire_str *ret)
{
	const char *from = j->p;

	while (j->p < j->end) {
		char c = *j->p;

		if (!((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
		      c == '-' || c == '+' || c == '.'))
			break;
		j->p++;
	}
	*ret = (struct wire_str){ from, (size_t)(j->p - from) };
	if (ret->n == 0)
		return WIRE_E_MALFORMED;
	if ((*from >= '0' && *from <= '9') || *from == '-')
		return 0;
	return STR_IS(*ret, "true") || STR_IS(*ret, "false") || STR_IS(*ret, "null")
		       ? 0
		       : WIRE_E_MALFORMED;
}

/* A string, number or boolean as text, null as null. */
static int
scalar(struct json *j, struct wire_str *ret)
{
	if (peek(j) == '"')
		return string(j, ret);

	int err = bare(j, ret);

	if (err == 0 && STR_IS(*ret, "null"))
		*ret = (struct wire_str){ NULL, 0 };
	return err;
}

/* Steps over any value, however nested, up to WIRE_DEPTH_MAX. */
static int
skip(struct json *j, int depth)
{
	struct wire_str ignored;
	int c = peek(j);
	char close = c == '{' ? '}' : ']';
	int err;

	if (c != '{' && c != '[')
		return scalar(j, &ignored);
	if (depth == WIRE_DEPTH_MAX)
		return WIRE_E_TOO_BIG;
	j->p++;
	if (eat(j, close))
		return 0;
	do {
		if (c == '{') {
			err = string(j, &ignored);
			if (err < 0)
				return err;
			if (!eat(j, ':'))
				return WIRE_E_MALFORMED;
		}
		err = skip(j, depth + 1);
		if (err < 0)
			return err;
	} while (eat(j, ','));
	return eat(j, close) ? 0 : WIRE_E_MALFORMED;
}

/* Reads "{", each name with its value given to MEMBER, and "}". */
static int
object(struct json *j, void *arg, int (*member)(struct json *j, void *arg, struct wire_str name))
{
	struct wire_str name;
	int err;

	if (!eat(j, '{'))
		return WIRE_E_MALFORMED;
	if (eat(j, '}'))
		return 0;
	do {
		err = string(j, &name);
		if (err < 0)
			return err;
		if (!eat(j, ':'))
			return WIRE_E_MALFORMED;
		err = member(j, arg, name);
		if (err < 0)
			return err;
	} while (eat(j, ','));
	return eat(j, '}') ? 0 : WIRE_E_MALFORMED;
}

/* ---- the header -------------------------------------------------------------------------- */

static int
ext_member(struct json *j, void *arg, struct wire_str name)
{
	struct wire_command *c = arg;
	struct wire_str value;
	int next = peek(j);
	int err;

	if (next == '{' || next == '[')
		return skip(j, 0);
	err = scalar(j, &value);
	if (err < 0)
		return err;
	if (c->field_count == WIRE_FIELDS_MAX)
		return WIRE_E_TOO_BIG;
	c->fields[c->field_count++] = (struct wire_field){ name, value };
	return 0;
}

static int
int32_value(struct json *j, int32_t *ret)
{
	struct wire_str text;
	int64_t v;
	int err = scalar(j, &text);

	if (err < 0)
		return err;
	if (!wire_i64(text, &v) || v < INT32_MIN || v > INT32_MAX)
		return WIRE_E_MALFORMED;
	*ret = (int32_t)v;
	return 0;
}

static int
language_value(struct json *j, int32_t *ret)
{
	struct wire_str text;
	int64_t v;
	int err = scalar(j, &text);

	if (err < 0)
		return err;
	if (text.p == NULL)
		return 0;
	if (wire_i64(text, &v))
		*ret = v >= 0 && v <= UINT8_MAX ? (int32_t)v : -1;
	else
		*ret = language_byte(text);
	return 0;
}

struct header {
	struct wire_command *c;
	bool code;
};

static int
header_member(struct json *j, void *arg, struct wire_str name)
{
	struct header *h = arg;
	struct wire_command *c = h->c;

	if (STR_IS(name, "code")) {
		h->code = true;
		return int32_value(j, &c->code);
	}
	if (STR_IS(name, "opaque"))
		return int32_value(j, &c->opaque);
	if (STR_IS(name, "flag"))
		return int32_value(j, &c->flag);
	if (STR_IS(name, "version"))
		return int32_value(j, &c->version);
	if (STR_IS(name, "language"))
		return language_value(j, &c->language);
	if (STR_IS(name, "remark"))
		return scalar(j, &c->remark);
	if (STR_IS(name, "extFields") && peek(j) == '{')
		return object(j, c, ext_member);
	return skip(j, 0);
}

int
json_header_decode(const char *p, size_t n, struct wire_command *c)
{
	struct json j = { .p = p, .end = p + n };
	struct header h = { .c = c };
	int err;

	c->code = 0;
	c->language = -1;
	c->version = 0;
	c->opaque = 0;
	c->flag = 0;
	err = object(&j, &h, header_member);
	c->scratch = j.scratch;
	if (err < 0)
		return err;
	return h.code && peek(&j) == -1 ? 0 : WIRE_E_MALFORMED;
}

/* ---- writing ----------------------------------------------------------------------------- */

#define OUT(o, literal) out_bytes((o), (literal), sizeof(literal) - 1)

static void
out_string(struct out *o, struct wire_str s)
{
	static const char hex[] = "0123456789abcdef";
	size_t from = 0;

	OUT(o, "\"");
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7F)
			continue;
		out_bytes(o, s.p + from, i - from);
		from = i + 1;
		if (c == '"' || c == '\\') {
			char two[2] = { '\\', (char)c };

			out_bytes(o, two, sizeof(two));
		} else {
			char six[6] = { '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] };

			out_bytes(o, six, sizeof(six));
		}
	}
	if (s.n > from)
		out_bytes(o, s.p + from, s.n - from);
	OUT(o, "\"");
}

static void
out_i64(struct out *o, int64_t v)
{
	char text[20];
	char *p = text;
	struct wire_str s = print_i64(&p, v);

	out_bytes(o, s.p, s.n);
}

void
json_header_encode(struct out *o, const struct wire_command *c)
{
	const char *language = wire_language_name(c->language);
	bool first = true;

	OUT(o, "{\"code\":");
	out_i64(o, c->code);
	OUT(o, ",\"language\":\"");
	out_bytes(o, language, strlen(language));
	OUT(o, "\",\"version\":");
	out_i64(o, c->version);
	OUT(o, ",\"opaque\":");
	out_i64(o, c->opaque);
	OUT(o, ",\"flag\":");
	out_i64(o, c->flag);
	if (c->remark.p != NULL) {
		OUT(o, ",\"remark\":");
		out_string(o, c->remark);
	}
	OUT(o, ",\"extFields\":{");
	for (size_t i = 0; i < c->field_count; i++) {
		if (c->fields[i].value.p == NULL)
			continue; /* as Java does: a null is not there */
		if (!first)
			OUT(o, ",");
		first = false;
		out_string(o, c->fields[i].name);
		OUT(o, ":");
		out_string(o, c->fields[i].value);
	}
	OUT(o, "},\"serializeTypeCurrentRPC\":\"JSON\"}");
}

/* ---- the heartbeat ----------------------------------------------------------------------- */

static int
producer_member(struct json *j, void *arg, struct wire_str name)
{
	struct wire_heartbeat *h = arg;
	struct wire_str group;
	int next = peek(j);
	int err;

	if (!STR_IS(name, "groupName") || next == '{' || next == '[')
		return skip(j, 0);
	err = scalar(j, &group);
	if (err < 0 || group.n == 0)
		return err;
	if (h->group_count == WIRE_GROUPS_MAX)
		return WIRE_E_TOO_BIG;
	h->groups[h->group_count++] = group;
	return 0;
}

static int
heartbeat_member(struct json *j, void *arg, struct wire_str name)
{
	struct wire_heartbeat *h = arg;
	int next = peek(j);
	int err;

	if (STR_IS(name, "clientID") && next != '{' && next != '[')
		return scalar(j, &h->client_id);
	if (!STR_IS(name, "producerDataSet") || next != '[')
		return skip(j, 0);
	j->p++;
	if (eat(j, ']'))
		return 0;
	do {
		err = peek(j) == '{' ? object(j, h, producer_member) : skip(j, 0);
		if (err < 0)
			return err;
	} while (eat(j, ','));
	return eat(j, ']') ? 0 : WIRE_E_MALFORMED;
}

int
wire_heartbeat_decode(struct wire_str body, struct wire_heartbeat *ret_heartbeat)
{
	struct wire_heartbeat *h = ret_heartbeat;
	struct json j = { .p = body.p };
	int err;

	h->client_id = (struct wire_str){ NULL, 0 };
	h->group_count = 0;
	h->scratch = NULL;
	if (body.p == NULL)
		return WIRE_E_MALFORMED;
	j.end = body.p + body.n;
	err = object(&j, h, heartbeat_member);
	if (err == 0 && peek(&j) != -1)
		err = WIRE_E_MALFORMED;
	h->scratch = j.scratch;
	if (err < 0)
		wire_heartbeat_done(h);
	return err;
}

void
wire_heartbeat_done(struct wire_heartbeat *h)
{
	if (h == NULL)
		return;
	free(h->scratch);
	h->scratch = NULL;
}

int
wire_heartbeat_encode(const struct wire_heartbeat *h, void *buf, size_t room, size_t *ret_n)
{
	struct out o = { buf, room, 0 };

	OUT(&o, "{\"clientID\":");
	out_string(&o, h->client_id);
	OUT(&o, ",\"consumerDataSet\":[],\"producerDataSet\":[");
	for (size_t i = 0; i < h->group_count; i++) {
		if (i > 0)
			OUT(&o, ",");
		OUT(&o, "{\"groupName\":");
		out_string(&o, h->groups[i]);
		OUT(&o, "}");
	}
	OUT(&o, "]}");
	*ret_n = o.n;
	return o.n > room ? WIRE_E_ROOM : 0;
}
