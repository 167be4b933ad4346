/*
 * test_log.c -- the log is what an operator has at night: a line that breaks a collector, or
 * that a producer could forge, costs the one who reads it.
 */
#include <jansson.h>

#include "base/base.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "unit.h"

static struct buf caught;

static int64_t
some_time(void *arg)
{
	(void)arg;
	return INT64_C(1767323045678901); /* 2026-01-02T03:04:05.678901Z */
}

static void
catch_line(void *arg, const char *line, size_t len)
{
	(void)arg;
	caught.len = 0;
	buf_add(&caught, line, len);
}

static const char *
line(void)
{
	*buf_reserve(&caught, 1) = '\0';
	return caught.data;
}

static void
begin(enum log_format format)
{
	log_setup(LOG_INFO, format);
	log_redirect(some_time, catch_line, NULL);
	caught.len = 0;
}

START_TEST(logfmt_is_one_line_of_pairs)
{
	begin(LOG_LOGFMT);
	log_warn("kafka is away", "lanes=%d topic=%s", 3, log_q(STR("orders \"paid\"\n")));
	ck_assert_str_eq(line(), "ts=2026-01-02T03:04:05.678901Z level=warn msg=\"kafka is away\" "
				 "lanes=3 topic=\"orders \\\"paid\\\"\\n\"\n");
	log_info("ready", NULL);
	ck_assert_str_eq(line(), "ts=2026-01-02T03:04:05.678901Z level=info msg=\"ready\"\n");
}
END_TEST

START_TEST(text_is_for_eyes)
{
	begin(LOG_TEXT);
	log_error("the disk failed", "code=%d", -4);
	ck_assert_str_eq(line(), "2026-01-02T03:04:05.678901Z error the disk failed  code=-4\n");
}
END_TEST

START_TEST(json_has_types)
{
	begin(LOG_JSON);
	log_info("ready", "port=%d ratio=%.2f id=%s ok=true name=%s seq=%s neg=-7 flag lead=007",
		 9876, 0.5, log_q(STR("a b")), "bare", "12345678901234567890");
	ck_assert_str_eq(
		line(),
		"{\"ts\":\"2026-01-02T03:04:05.678901Z\",\"level\":\"info\",\"msg\":\"ready\","
		"\"port\":9876,\"ratio\":0.50,\"id\":\"a b\",\"ok\":true,\"name\":\"bare\","
		"\"seq\":\"12345678901234567890\",\"neg\":-7,\"flag\":\"\",\"lead\":\"007\"}\n");
}
END_TEST

/* Whatever bytes a peer brings, a JSON line parses and a logfmt line is one line. */
START_TEST(no_bytes_break_a_line)
{
	char bytes[512];

	for (unsigned round = 0; round < 256; round++) {
		json_t *parsed;

		for (unsigned i = 0; i < sizeof(bytes); i++)
			bytes[i] = (char)(i * 7 + round * 13 + i * i % 31);
		begin(LOG_JSON);
		log_info("peer", "q=%s raw=%.*s", log_q(str_from(bytes, sizeof(bytes))), 40,
			 bytes + 100);
		parsed = json_loadb(caught.data, caught.len, JSON_ALLOW_NUL, NULL);
		ck_assert_msg(parsed != NULL, "%s", line());
		json_decref(parsed);
		begin(LOG_LOGFMT);
		log_info("peer", "q=%s raw=%.*s", log_q(str_from(bytes, sizeof(bytes))), 40,
			 bytes + 100);
		ck_assert_ptr_eq(strchr(line(), '\n'), caught.data + caught.len - 1);
	}
}
END_TEST

START_TEST(long_lines_are_cut_and_stay_whole)
{
	size_t n = 3 * LOG_LINE_BYTES;
	char *bytes = mem_alloc(n + 1);
	json_t *parsed;

	memset(bytes, '"', n);
	for (int format = LOG_LOGFMT; format <= LOG_TEXT; format++) {
		begin((enum log_format)format);
		log_info("long", "a=%s b=%s c=%s", log_q(str_from(bytes, n)), bytes, bytes);
		ck_assert_uint_le(caught.len, LOG_LINE_BYTES);
		ck_assert_int_eq(caught.data[caught.len - 1], '\n');
		if (format == LOG_JSON) {
			parsed = json_loadb(caught.data, caught.len, JSON_ALLOW_NUL, NULL);
			ck_assert_ptr_nonnull(parsed);
			json_decref(parsed);
		}
	}
	mem_free(bytes);
}
END_TEST

START_TEST(quoted_values_are_bounded_and_whole)
{
	char umlauts[2 * LOG_VALUE_BYTES];
	const char *q;

	for (size_t i = 0; i < sizeof(umlauts); i += 2)
		memcpy(umlauts + i, "\xc3\xa4", 2);
	q = log_q(str_from(umlauts, sizeof(umlauts)));
	ck_assert_uint_lt(strlen(q), LOG_VALUE_BYTES);
	ck_assert_str_eq(q + strlen(q) - 4, "...\"");
	ck_assert_str_eq(log_q(STR_NONE), "\"\"");
	ck_assert_str_eq(log_q(STR("\xc3\xa4\xff\x01\x7f")), "\"\xc3\xa4\\ufffd\\u0001\\u007f\"");
	ck_assert_str_eq(log_q(STR("\xed\xa0\x80")), "\"\\ufffd\\ufffd\\ufffd\"");
}
END_TEST

START_TEST(eight_values_fit_one_line)
{
	begin(LOG_LOGFMT);
	log_info("m", "%s%s%s%s%s%s%s%s", log_q(STR("1")), log_q(STR("2")), log_q(STR("3")),
		 log_q(STR("4")), log_q(STR("5")), log_q(STR("6")), log_q(STR("7")),
		 log_q(STR("8")));
	ck_assert_ptr_nonnull(strstr(line(), "\"1\"\"2\"\"3\"\"4\"\"5\"\"6\"\"7\"\"8\"\n"));
}
END_TEST

START_TEST(levels_are_held)
{
	enum log_level level;
	enum log_format format;

	begin(LOG_LOGFMT);
	log_debug("quiet", "x=%d", 1);
	ck_assert_uint_eq(caught.len, 0);
	log_setup(LOG_DEBUG, LOG_LOGFMT);
	log_debug("loud", "x=%d", 1);
	ck_assert_uint_gt(caught.len, 0);
	ck_assert_int_eq(log_level_parse("trace", &level), 0);
	ck_assert_int_eq(level, LOG_TRACE);
	ck_assert_int_eq(log_level_parse("loud", &level), ERR_CONFIG);
	ck_assert_int_eq(log_format_parse("json", &format), 0);
	ck_assert_int_eq(format, LOG_JSON);
	ck_assert_int_eq(log_format_parse("xml", &format), ERR_CONFIG);
}
END_TEST

START_TEST(errors_have_names)
{
	ck_assert_str_eq(err_name(0), "OK");
	ck_assert_str_eq(err_name(ERR_TORN), "TORN");
	ck_assert_str_eq(err_name(1), "UNKNOWN");
	ck_assert_str_eq(err_text(ERR_NOSPACE), "the disk is full");
}
END_TEST

UNIT("log", logfmt_is_one_line_of_pairs, text_is_for_eyes, json_has_types, no_bytes_break_a_line,
     long_lines_are_cut_and_stay_whole, quoted_values_are_bounded_and_whole,
     eight_values_fit_one_line, levels_are_held, errors_have_names);
