/*
 * fuzz_config.c -- what people write: settings, sizes, times, addresses, ids; and packed headers.
 *
 * The first byte chooses what the rest is:
 *
 *   0  the text of a configuration file.  What is accepted, written plainly, reads the same;
 *      what is not has a line for each fault, with a place;
 *   1  settings, a line each, from the command line, or after a '$' the environment, after a '@'
 *      the file; after a '!' it is a line of a file with a secret; '~' says that a Kafka must be
 *      named.  What is accepted is printed as --print-config does, and that text reads to the same;
 *   2  a value for one key: accepted exactly when a second reader, written here, accepts it, and
 *      with the same number; written as bytes or milliseconds it reads to the same;
 *   3  packed headers: what can be stepped through can be packed again to the same bytes, and
 *      what was packed can be stepped through;
 *   4  an id, an address: what is read can be written and read again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/conf.h"
#include "base/err.h"
#include "base/hex.h"
#include "config_keys.h"
#include "core/message.h"
#include "fuzz/must.h"
#include "world/net.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define INPUT_MAX 4096u
#define SETS_MAX  64

/* ---- 0: text to pairs ------------------------------------------------------------------------ */

/* Each fault is a line that begins with the file and two numbers. */
static size_t
count_faults(const struct buf *errors)
{
	struct str s = buf_as_str(errors);
	size_t count = 0;

	while (s.n) {
		const char *end = memchr(s.p, '\n', s.n);
		unsigned line, column;
		char text[32];

		MUST(end);
		snprintf(text, sizeof(text), "%.*s", (int)min_u64((uint64_t)(end - s.p), 31), s.p);
		MUST(sscanf(text, "f:%u:%u: ", &line, &column) == 2 && line && column);
		s = str_from(end + 1, s.n - (size_t)(end + 1 - s.p));
		count++;
	}
	return count;
}

/* KEY = VALUE as conf.h reads it. */
static void
write_pair(struct buf *out, const char *key, const char *value)
{
	size_t n = strlen(value);

	buf_printf(out, "%s = %s", key, value);
	while (n && value[n - 1] == '\\') {
		buf_u8(out, '\\');
		n--;
	}
	buf_u8(out, '\n');
}

static void
conf_text(struct str text)
{
	struct buf errors = BUF_INIT, plain = BUF_INIT;
	struct conf c, again;
	int err = conf_parse("f", text, &c, &errors);

	MUST(err == 0 || err == ERR_CONFIG);
	MUST((err != 0) == (count_faults(&errors) > 0));
	for (size_t i = 0; i < c.count; i++) {
		for (size_t k = 0; k < i; k++)
			MUST(strcmp(c.pairs[i].key, c.pairs[k].key) != 0);
		write_pair(&plain, c.pairs[i].key, c.pairs[i].value);
	}
	MUST(conf_parse("f", buf_as_str(&plain), &again, &errors) == 0);
	MUST(again.count == c.count);
	for (size_t i = 0; i < c.count; i++)
		MUST(!strcmp(again.pairs[i].key, c.pairs[i].key) &&
		     !strcmp(again.pairs[i].value, c.pairs[i].value) &&
		     again.pairs[i].line == i + 1);
	conf_done(&again);
	conf_done(&c);
	buf_free(&errors);
	buf_free(&plain);
}

/* ---- 1: settings to a configuration ---------------------------------------------------------- */

static const char *
denied(const char *property)
{
	return strcmp(property, "acks") == 0 ? "Escrow needs acks=all" : NULL;
}

/* A file that --config can be given: no folder conf.d is beside it. */
static const char *
file_of(const struct buf *text, bool secret)
{
	static char paths[2][64];
	static int fds[2] = { -1, -1 };
	int *fd = &fds[secret];

	if (*fd < 0) {
		*fd = memfd_create("fuzz_config", MFD_CLOEXEC);
		MUST(*fd >= 0);
		snprintf(paths[secret], sizeof(paths[secret]), "/proc/self/fd/%d", *fd);
	}
	MUST(ftruncate(*fd, 0) == 0);
	MUST(!text->len || pwrite(*fd, text->data, text->len, 0) == (ssize_t)text->len);
	return paths[secret];
}

/* What --print-config says, without comments: where it was said, and secrets. */
static void
print(const struct config *c, struct buf *out)
{
	struct buf all = BUF_INIT;
	struct str s;

	config_print(c, &all);
	s = buf_as_str(&all);
	while (s.n) {
		const char *end = memchr(s.p, '\n', s.n);

		MUST(end);
		if (s.p[0] != '#')
			buf_add(out, s.p, (size_t)(end + 1 - s.p));
		s = str_from(end + 1, s.n - (size_t)(end + 1 - s.p));
	}
	buf_free(&all);
}

static void
settings(char *text)
{
	const char *sets[SETS_MAX];
	char *environment[SETS_MAX + 1] = { NULL };
	struct config_sources src = {
		.sets = sets, .environment = environment, .denied = denied, .without_kafka = true
	};
	struct buf faults = BUF_INIT, warnings = BUF_INIT, first = BUF_INIT, second = BUF_INIT;
	struct buf printed = BUF_INIT, file = BUF_INIT, secret = BUF_INIT;
	char secret_set[128];
	struct config c;
	size_t variables = 0;
	char *save = NULL;
	int err;

	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		/* The only thing that opens files of any name; a terminal would wait for ever. */
		if (strstr(line, "_file") || strstr(line, "_FILE"))
			continue;
		/* A byte that says "a new line", which no line has. */
		for (char *p = line; *p; p++)
			if (*p == '\x01')
				*p = '\n';
		if (line[0] == '@')
			buf_printf(&file, "%s\n", line + 1);
		else if (line[0] == '!')
			buf_printf(&secret, "%s\n", line + 1);
		else if (line[0] == '~')
			src.without_kafka = false;
		else if (line[0] == '$' && variables < SETS_MAX)
			environment[variables++] = line + 1;
		else if (src.set_count < SETS_MAX)
			sets[src.set_count++] = line;
	}
	src.file = file_of(&file, false);
	if (secret.len && src.set_count < SETS_MAX) {
		snprintf(secret_set, sizeof(secret_set), "kafka.sasl.password_file=%s",
			 file_of(&secret, true));
		sets[src.set_count++] = secret_set;
	}
	err = config_load(&src, &c, &faults, &warnings);
	MUST(err == 0 || err == ERR_CONFIG);
	MUST((err != 0) == (faults.len > 0));
	print(&c, &first);
	config_print(&c, &printed);
	config_done(&c);
	if (err)
		goto out;
	src = (struct config_sources){ .denied = denied, .without_kafka = true };
	src.file = file_of(&printed, false);
	err = config_load(&src, &c, &faults, &warnings);
	if (err)
		fprintf(stderr, "printed:\n%.*s\nfaults:\n%.*s\n", STR_ARG(buf_as_str(&printed)),
			STR_ARG(buf_as_str(&faults)));
	MUST(err == 0);
	print(&c, &second);
	MUST(str_eq(buf_as_str(&first), buf_as_str(&second)));
	config_done(&c);
out:
	buf_free(&faults);
	buf_free(&warnings);
	buf_free(&first);
	buf_free(&second);
	buf_free(&printed);
	buf_free(&file);
	buf_free(&secret);
}

/* ---- 2: one value ---------------------------------------------------------------------------- */

struct unit {
	const char *text;
	double times; /* in bytes, or ms */
};

static const struct unit size_units[] = {
	{ "B", 1 },     { "KiB", 1024 },   { "MiB", 1048576 }, { "GiB", 1073741824.0 },
	{ "kB", 1000 }, { "MB", 1000000 }, { "GB", 1e9 },      { "TiB", 1099511627776.0 },
	{ "TB", 1e12 }, { .text = NULL },
};

static const struct unit time_units[] = {
	{ "ms", 1 },      { "s", 1000 },     { "m", 60000 },
	{ "h", 3600000 }, { "d", 86400000 }, { NULL, 0 },
};

/*
 * The second reader: digits, perhaps one blank, a unit; 0 alone.  False: not a number.  Numbers
 * beyond 2^53 are beyond every key's range too, and a double shows that.
 */
static bool
second_reader(const char *text, const struct unit *units, double *ret)
{
	size_t digits = strspn(text, "0123456789");
	const char *rest = text + digits;
	double v = 0;

	for (size_t i = 0; i < digits; i++)
		v = v * 10 + (text[i] - '0');
	*ret = v;
	if (!digits)
		return false;
	if (!units)
		return !*rest;
	if (v == 0 && !*rest)
		return true;
	rest += *rest == ' ';
	for (; units->text; units++) {
		*ret = v * units->times;
		if (strcmp(rest, units->text) == 0)
			return true;
	}
	return false;
}

static uint64_t
field(const struct config *c, const struct config_key *k)
{
	uint64_t v = 0;

	memcpy(&v, (const char *)c + k->offset, k->width);
	return v;
}

static void
one_value(uint8_t which, const char *text)
{
	static struct config c, again;
	const struct config_key *k = &config_keys[which % config_key_count];
	const struct unit *units = NULL;
	const char *base = "";
	char why[CONFIG_WHY_BYTES] = "", plain[64];
	double v, scale = 1;
	bool number;
	int err = config_key_set(k, text, &c, why);

	MUST(err == 0 || err == ERR_CONFIG);
	MUST((err != 0) == (why[0] != '\0'));
	switch (k->type) {
	case CONFIG_COUNT:
		break;
	case CONFIG_SIZE:
		units = size_units;
		base = "B";
		break;
	case CONFIG_DURATION:
		units = time_units;
		base = "ms";
		scale = (double)NS_PER_MS;
		break;
	case CONFIG_TEXT:
	case CONFIG_HOSTS:
	case CONFIG_PATH:
	case CONFIG_BOOL:
	case CONFIG_PERCENT:
	case CONFIG_ADDRESS:
	case CONFIG_ENDPOINT:
	case CONFIG_LEVEL:
	case CONFIG_FORMAT:
		return;
	}
	number = second_reader(text, units, &v);
	MUST((err == 0) == (number && v * scale >= (double)k->min && v * scale <= (double)k->max));
	if (err)
		return;
	MUST((double)(field(&c, k) * k->unit) == v * scale);
	snprintf(plain, sizeof(plain), "%.0f%s", v, base);
	MUST(config_key_set(k, plain, &again, why) == 0);
	MUST(field(&c, k) == field(&again, k));
}

/* ---- 3: headers ------------------------------------------------------------------------------ */

static void
headers(struct str bytes)
{
	struct headers h = { bytes }, packed;
	struct header one;
	struct buf out = BUF_INIT, twice = BUF_INIT;
	size_t at = 0;
	int count = headers_count(h), n = 0;

	while (headers_next(h, &at, &one)) {
		MUST(at <= bytes.n);
		headers_add(&out, one.name, one.value);
		n++;
	}
	MUST(count == -1 || (count == n && at == bytes.n));
	packed.bytes = buf_as_str(&out);
	MUST(headers_count(packed) == n);
	/* A number can be written longer than need be, so the bytes are the same from here on. */
	for (at = 0; headers_next(packed, &at, &one);)
		headers_add(&twice, one.name, one.value);
	MUST(str_eq(buf_as_str(&twice), packed.bytes));
	buf_free(&out);
	buf_free(&twice);
}

/* ---- 4: ids and addresses -------------------------------------------------------------------- */

static void
names(const char *text, size_t n)
{
	struct gid gid, gid2;
	struct net_addr addr, addr2;
	char hex[GID_TEXT], written[NET_ADDR_TEXT];
	uint8_t bytes[16], raw[16];

	if (gid_parse(str_from(text, n), &gid) == 0) {
		gid_format(gid, hex);
		MUST(gid_parse(str_of(hex), &gid2) == 0 && gid_eq(gid, gid2));
		gid_bytes(gid, bytes);
		MUST(hex_get(raw, hex, 16, HEX_LOWER) && memcmp(raw, bytes, 16) == 0);
		for (size_t i = 0; i < 32; i++)
			MUST(hex[i] == text[i] || hex[i] == (text[i] | 0x20));
	}
	if (net_addr_parse(text, n, &addr) == 0) {
		net_addr_format(&addr, written);
		MUST(net_addr_parse(written, strlen(written), &addr2) == 0);
		MUST(addr.len == addr2.len && addr.port == addr2.port &&
		     memcmp(addr.ip, addr2.ip, addr.len) == 0);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char *text;

	if (n == 0 || n > INPUT_MAX)
		return 0;
	/* A copy of exactly that size, with a NUL behind it for those who want one. */
	text = malloc(n);
	MUST(text);
	memcpy(text, data + 1, n - 1);
	text[n - 1] = '\0';
	switch (data[0] % 5) {
	case 0:
		conf_text(str_from(text, n - 1));
		break;
	case 1:
		settings(text);
		break;
	case 2:
		one_value(n > 1 ? data[1] : 0, n > 1 ? text + 1 : text);
		break;
	case 3:
		headers(str_from(text, n - 1));
		break;
	case 4:
		names(text, n - 1);
		break;
	}
	free(text);
	return 0;
}
