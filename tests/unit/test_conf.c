/*
 * test_conf.c -- a setting that silently is not what the person wrote costs a night: a broker list
 * cut at 200 bytes, a password that ends at its '#', the second of two equal keys.
 */
#include "base/base.h"
#include "base/buf.h"
#include "base/conf.h"
#include "base/err.h"
#include "base/hash.h"
#include "unit.h"

/* What TEXT parses to, as "key=value\n" lines, then the errors. */
static const char *
parsed_n(struct str text)
{
	static struct buf out;
	struct buf errors = BUF_INIT;
	struct conf conf;
	int err = conf_parse("f", text, &conf, &errors);

	ck_assert_int_eq(err, errors.len ? ERR_CONFIG : 0);
	out.len = 0;
	for (size_t i = 0; i < conf.count; i++)
		buf_printf(&out, "%s=%s\n", conf.pairs[i].key, conf.pairs[i].value);
	buf_str(&out, buf_as_str(&errors));
	buf_u8(&out, 0);
	buf_free(&errors);
	conf_done(&conf);
	return out.data;
}

static const char *
parsed(const char *text)
{
	return parsed_n(str_of(text));
}

START_TEST(pairs_comments_and_blanks)
{
	ck_assert_str_eq(parsed(""), "");
	ck_assert_str_eq(parsed("\n  \n# x = 1\n   # y\n"), "");
	ck_assert_str_eq(parsed("a.b = c"), "a.b=c\n");
	ck_assert_str_eq(parsed("a=\n\tb\t=\t c d \t\n"), "a=\nb=c d\n");
	ck_assert_str_eq(parsed("\xef\xbb\xbf"
				"a = 1\r\nb = 2\r\n"),
			 "a=1\nb=2\n");
	ck_assert_str_eq(parsed("topic.map.%DLQ%a|b = x"), "topic.map.%DLQ%a|b=x\n");
}
END_TEST

START_TEST(values_are_taken_as_they_are)
{
	ck_assert_str_eq(parsed("p = a#b # c"), "p=a#b # c\n");
	ck_assert_str_eq(parsed("p = \"x\" = [y] ;"), "p=\"x\" = [y] ;\n");
	ck_assert_str_eq(parsed("p = C:\\new\\table"), "p=C:\\new\\table\n");
	ck_assert_str_eq(parsed("p = gr\xc3\xbc\xc3\x9f"), "p=gr\xc3\xbc\xc3\x9f\n");
}
END_TEST

START_TEST(a_backslash_joins_lines)
{
	ck_assert_str_eq(parsed("a = 1,\\\n    2,\\\n3\nb = 4"), "a=1,2,3\nb=4\n");
	ck_assert_str_eq(parsed("a = 1 \\  \n  # 2\n"), "a=1 # 2\n");
	ck_assert_str_eq(parsed("a = x\\\\\nb = 1"), "a=x\\\nb=1\n");
	/* joined with nothing, or with blanks: no blank that nobody sees stays at its end */
	ck_assert_str_eq(parsed("a = 1 \\\n\nb = 2 \\\n  \\\n \t\n"), "a=1\nb=2\n");
	ck_assert_str_eq(parsed("a = x\\\\\\\ny"), "a=x\\y\n");
	ck_assert_str_eq(parsed("# c \\\na = 1"), "a=1\n");
	ck_assert_str_eq(parsed("a = 1\\"),
			 "f:1:1: the text ends behind a '\\' that asks for another line\n");
}
END_TEST

START_TEST(sections_are_prefixes)
{
	ck_assert_str_eq(parsed("a=1\n[check]\nmax=2\n[ kafka.ssl ]\nx=3\n[]\nb=4"),
			 "a=1\ncheck.max=2\nkafka.ssl.x=3\nb=4\n");
	ck_assert_str_eq(parsed("[check\n[a b]\n[a] x\n"),
			 "f:1:1: this section has no ']'\n"
			 "f:2:3: a section is named by letters, digits and . _ -\n"
			 "f:3:4: nothing may follow the ']'\n");
}
END_TEST

START_TEST(faults_are_all_told_with_their_place)
{
	ck_assert_str_eq(parsed("a = 1\nb\n  c d = 2\n\xc3\xa4 = 3\n= 4\nd! = 5\ne = 6\n"),
			 "a=1\ne=6\n"
			 "f:2:2: expected '=' and a value behind b\n"
			 "f:3:5: expected '=' behind c\n"
			 "f:4:1: a key is made of letters, digits and . _ - % |\n"
			 "f:5:1: a key is made of letters, digits and . _ - % |\n"
			 "f:6:2: a key is made of letters, digits and . _ - % |\n");
}
END_TEST

START_TEST(one_key_twice_names_both_lines)
{
	ck_assert_str_eq(parsed("a.b = 1\n\n[a]\n  b = \\\n 2\nc = 3\n"),
			 "a.b=1\na.c=3\nf:4:3: a.b is already set in line 1\n");
}
END_TEST

START_TEST(text_must_be_text)
{
	ck_assert_str_eq(parsed("a = \xc3\xa4\xff"), "f:1:6: byte 0xff is not UTF-8\n");
	ck_assert_str_eq(parsed("a = 1\nb = \x1b[0m"), "a=1\nf:2:5: control character 0x1b\n");
	ck_assert_str_eq(parsed("a = \\\n\xff\nb = 2"), "b=2\nf:2:1: byte 0xff is not UTF-8\n");
	ck_assert_str_eq(parsed_n(STR("a = 1\0 2\nb = 2")), "b=2\nf:1:6: control character 0x00\n");
}
END_TEST

START_TEST(lines_are_as_long_as_they_like)
{
	struct buf text = BUF_INIT, errors = BUF_INIT;
	struct conf conf;

	buf_str(&text, STR("a = "));
	for (int i = 0; i < 100000; i++)
		buf_str(&text, STR("0123456789"));
	ck_assert_int_eq(conf_parse("f", buf_as_str(&text), &conf, &errors), 0);
	ck_assert_uint_eq(strlen(conf.pairs[0].value), 1000000);
	conf_done(&conf);
	buf_free(&text);
}
END_TEST

START_TEST(many_keys_stay_quick)
{
	struct buf text = BUF_INIT, errors = BUF_INIT;
	struct conf conf;

	for (int i = 0; i < 100000; i++)
		buf_printf(&text, "topic.map.t%d = k%d\n", i, i);
	ck_assert_int_eq(conf_parse("f", buf_as_str(&text), &conf, &errors), 0);
	ck_assert_uint_eq(conf.count, 100000);
	ck_assert_str_eq(conf.pairs[99999].value, "k99999");
	conf_done(&conf);
	buf_free(&text);
}
END_TEST

/* Any bytes: no crash, and every fault has a place. */
START_TEST(any_bytes_are_answered)
{
	static const char alphabet[] = "a.=[]#\\\n\r \t\xc3\xa4\xff\x01";
	uint64_t dice = 7;

	for (int round = 0; round < 20000; round++) {
		char text[24];

		for (size_t i = 0; i < sizeof(text); i++)
			text[i] = alphabet[(dice = hash_u64(dice)) % (sizeof(alphabet) - 1)];
		parsed_n(str_from(text, dice >> 32 & 15));
	}
}
END_TEST

UNIT("conf", pairs_comments_and_blanks, values_are_taken_as_they_are, a_backslash_joins_lines,
     sections_are_prefixes, faults_are_all_told_with_their_place, one_key_twice_names_both_lines,
     text_must_be_text, lines_are_as_long_as_they_like, many_keys_stay_quick,
     any_bytes_are_answered);
