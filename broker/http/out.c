/*
 * out.c -- see out.h.
 */
#include <math.h>
#include <stdio.h>
#include <time.h>

#include "base/utf8.h"
#include "http/out.h"

struct out
out_begin(struct buf *b)
{
	return (struct out){ b, false };
}

static void
quoted(struct buf *b, struct str s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t i = 0;

	buf_u8(b, '"');
	while (i < s.n) {
		size_t n = utf8_length(str_from(s.p + i, s.n - i));

		if (n == 0) {
			buf_str(b, STR("\\ufffd"));
			i++;
			continue;
		}
		if (n == 1 && (p[i] == '"' || p[i] == '\\')) {
			buf_u8(b, '\\');
			buf_u8(b, p[i]);
		} else if (n == 1 && (p[i] < 0x20 || p[i] == 0x7f)) {
			buf_printf(b, "\\u%04x", p[i]);
		} else {
			buf_add(b, p + i, n);
		}
		i += n;
	}
	buf_u8(b, '"');
}

static void
member(struct out *o, const char *key)
{
	if (o->comma)
		buf_u8(o->buf, ',');
	o->comma = true;
	if (key) {
		quoted(o->buf, str_of(key));
		buf_u8(o->buf, ':');
	}
}

void
out_open(struct out *o, const char *key, char bracket)
{
	member(o, key);
	buf_u8(o->buf, (uint8_t)bracket);
	o->comma = false;
}

void
out_close(struct out *o, char bracket)
{
	buf_u8(o->buf, (uint8_t)bracket);
	o->comma = true;
}

void
out_str(struct out *o, const char *key, struct str value)
{
	if (!value.p) {
		out_null(o, key);
		return;
	}
	member(o, key);
	quoted(o->buf, value);
}

void
out_text(struct out *o, const char *key, const char *value)
{
	out_str(o, key, str_of(value));
}

void
out_num(struct out *o, const char *key, uint64_t value)
{
	member(o, key);
	buf_printf(o->buf, "%llu", (unsigned long long)value);
}

void
out_signed(struct out *o, const char *key, int64_t value)
{
	member(o, key);
	buf_printf(o->buf, "%lld", (long long)value);
}

void
out_real(struct out *o, const char *key, double value)
{
	if (!isfinite(value)) {
		out_null(o, key);
		return;
	}
	member(o, key);
	buf_printf(o->buf, "%.6g", value);
}

void
out_flag(struct out *o, const char *key, bool value)
{
	member(o, key);
	buf_str(o->buf, value ? STR("true") : STR("false"));
}

void
out_null(struct out *o, const char *key)
{
	member(o, key);
	buf_str(o->buf, STR("null"));
}

void
out_id(struct out *o, const char *key, uint64_t value)
{
	member(o, key);
	buf_printf(o->buf, "\"%llu\"", (unsigned long long)value);
}

static void
rfc3339(uint64_t ms, char ret_text[OUT_TIME])
{
	time_t seconds = (time_t)min_u64(ms / 1000, UINT64_C(253402300799)); /* year 9999 */
	char date[24];
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(ret_text, OUT_TIME, "%s.%03uZ", date, (unsigned)(ms % 1000));
}

void
out_time(struct out *o, const char *key, uint64_t ms)
{
	char key_ms[64];
	char text[OUT_TIME];

	snprintf(key_ms, sizeof(key_ms), "%s_ms", key);
	if (ms == 0) {
		out_null(o, key);
		out_null(o, key_ms);
		return;
	}
	rfc3339(ms, text);
	out_text(o, key, text);
	out_num(o, key_ms, ms);
}

void
out_base64(struct out *o, const char *key, struct str value)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *p = (const unsigned char *)value.p;
	char *to;

	if (!value.p) {
		out_null(o, key);
		return;
	}
	member(o, key);
	buf_u8(o->buf, '"');
	to = buf_reserve(o->buf, (value.n + 2) / 3 * 4);
	for (size_t i = 0; i < value.n; i += 3) {
		size_t left = value.n - i;
		uint32_t bits = (uint32_t)p[i] << 16;

		if (left > 1)
			bits |= (uint32_t)p[i + 1] << 8;
		if (left > 2)
			bits |= p[i + 2];
		*to++ = digits[bits >> 18];
		*to++ = digits[bits >> 12 & 63];
		*to++ = left > 1 ? digits[bits >> 6 & 63] : '=';
		*to++ = left > 2 ? digits[bits & 63] : '=';
	}
	o->buf->len += (value.n + 2) / 3 * 4;
	buf_u8(o->buf, '"');
}
