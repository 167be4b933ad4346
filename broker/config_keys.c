/*
 * config_keys.c -- the table, and how its texts become numbers.
 *
 * A number without its unit is refused where a unit is meant: "check.interval = 30" is a
 * mistake of a factor of a thousand waiting to be made.
 */
#include "config_keys.h"

#include <arpa/inet.h>

#include "base/err.h"

#define KIB    UINT64_C(1024)
#define MIB    (KIB * 1024)
#define GIB    (MIB * 1024)
#define TIB    (GIB * 1024)
#define MS     UINT64_C(1000000)
#define SECOND (1000 * MS)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

#define AT(field) offsetof(struct config, field), sizeof(((struct config *)0)->field)

/* In the order in which people see them. */
const struct config_key config_keys[] = {
	{ "data.dir", CONFIG_PATH, "/var/lib/escrow", 0, 0, 1, AT(data_dir),
	  "The directory of the journal." },
	{ "shard", CONFIG_COUNT, "0", 0, UINT16_MAX, 1, AT(loop.core.shard),
	  "The number of this journal, part of every gid." },
	{ "broker.name", CONFIG_TEXT, "escrow-0", 0, 0, 1, AT(loop.remoting.broker_name),
	  "The broker name in the route that producers are given." },
	{ "cluster.name", CONFIG_TEXT, "escrow", 0, 0, 1, AT(loop.remoting.cluster_name),
	  "The cluster name in the route that producers are given." },

	{ "listen.address", CONFIG_ADDRESS, "127.0.0.1:9876", 0, 0, 1, AT(loop.remoting.listen),
	  "Where producers connect." },
	{ "listen.advertise", CONFIG_ENDPOINT, "", 0, 0, 1, AT(loop.remoting.advertise),
	  "The address that producers are told; empty: the one that they reached us at." },
	{ "listen.vip", CONFIG_BOOL, "false", 0, 0, 1, AT(loop.remoting.vip),
	  "Listen also at the port two below, for clients with vipChannelEnabled." },
	{ "http.address", CONFIG_ADDRESS, "127.0.0.1:7780", 0, 0, 1, AT(http_address),
	  "Where status, metrics and the HTTP API are." },
	{ "http.admin.write", CONFIG_BOOL, "false", 0, 0, 1, AT(http_admin_write),
	  "Let operators decide, resume and discard over HTTP, from loopback only." },
	{ "http.hosts", CONFIG_HOSTS, "", 0, 0, 1, AT(http_hosts),
	  "Further names by which who is on this machine may ask; commas between." },

	{ "journal.quota", CONFIG_SIZE, "20GiB", 8 * MIB, 1024 * TIB, 1,
	  AT(loop.journal.quota_bytes), "Disk space of all segments and spares together." },
	{ "journal.segment", CONFIG_SIZE, "64MiB", 2 * MIB, 4 * GIB, 1,
	  AT(loop.journal.segment_bytes), "Size of a segment of a new journal." },
	{ "journal.cache", CONFIG_SIZE, "32MiB", 0, TIB, 1, AT(loop.journal.cache_bytes),
	  "Recently written groups kept in memory." },
	{ "journal.align", CONFIG_SIZE, "0", 0, 64 * KIB, 1, AT(loop.journal.align),
	  "Groups begin at multiples of it, for disks without power-safe overwrite; 0: packed." },

	{ "check.immunity", CONFIG_DURATION, "6s", MS, 30 * DAY, 1,
	  AT(loop.core.policy.immunity_ns), "From the half-send to the first check." },
	{ "check.interval", CONFIG_DURATION, "30s", MS, 30 * DAY, 1,
	  AT(loop.core.policy.interval_ns), "From the first check to the second." },
	{ "check.backoff", CONFIG_PERCENT, "1.5", 100, 1000, 1,
	  AT(loop.core.policy.backoff_percent),
	  "Each further gap is so many times the one before." },
	{ "check.interval.max", CONFIG_DURATION, "10m", MS, 30 * DAY, 1,
	  AT(loop.core.policy.interval_max_ns), "No gap grows beyond it." },
	{ "check.max", CONFIG_COUNT, "15", 1, 1000000, 1, AT(loop.core.policy.checks_max),
	  "After so many delivered checks a transaction is parked." },
	{ "check.parked.interval", CONFIG_DURATION, "1h", MS, 365 * DAY, 1,
	  AT(loop.core.policy.parked_ns), "A parked transaction is still asked about so often." },
	{ "check.rate", CONFIG_COUNT, "50000", 1, 10000000, 1, AT(loop.core.check_rate),
	  "Checks begun per second, all groups together." },
	{ "check.outstanding", CONFIG_COUNT, "500", 1, 1000000, 1, AT(loop.core.check_outstanding),
	  "Unanswered checks on one connection." },

	{ "idempotency.window", CONFIG_DURATION, "60s", SECOND, 30 * DAY, MS,
	  AT(loop.core.idempotency_window_ms),
	  "Keys of half-sends are remembered at least so long." },
	{ "history.retention", CONFIG_DURATION, "24h", 0, 3650 * DAY, MS,
	  AT(loop.core.history_retention_ms),
	  "Decided transactions are remembered so long, as far as the quota goes." },
	{ "audit.retention", CONFIG_DURATION, "90d", 0, 36500 * DAY, MS,
	  AT(loop.core.audit_retention_ms), "What operators did is remembered so long." },
	{ "shutdown.timeout", CONFIG_DURATION, "10s", 0, HOUR, 1, AT(shutdown_timeout_ns),
	  "How long a stopping daemon waits for answers and publications." },

	{ "limits.message", CONFIG_SIZE, "4MiB", KIB, 15 * MIB, 1, AT(loop.core.message_bytes),
	  "Plain value, key and headers of one message together." },
	{ "limits.connections", CONFIG_COUNT, "10000", 1, 1000000, 1,
	  AT(loop.remoting.connections_max), "Connections of producers." },
	{ "limits.undecided", CONFIG_COUNT, "20000000", 1, UINT32_MAX - 1, 1,
	  AT(loop.core.undecided_max), "Undecided transactions; more half-sends are refused." },
	{ "limits.group.share", CONFIG_PERCENT, "1", 1, 100, 1, AT(group_share),
	  "The part of limits.undecided and journal.quota that one group's undecided may hold." },
	{ "limits.keys.memory", CONFIG_SIZE, "1GiB", MIB, TIB, 1, AT(loop.core.keys_bytes),
	  "Memory for decided transactions and their keys; when full, half-sends are refused." },

	{ "log.level", CONFIG_LEVEL, "info", 0, 0, 1, AT(log_level),
	  "error, warn, info, debug or trace." },
	{ "log.format", CONFIG_FORMAT, "logfmt", 0, 0, 1, AT(log_format), "logfmt, json or text." },
	{ "log.trace.every", CONFIG_COUNT, "1", 1, 1000000000, 1, AT(loop.trace_every),
	  "At level trace: of the steps of transactions, every N-th transaction's." },
	{ "metrics.max_topics", CONFIG_COUNT, "200", 0, 100000, 1, AT(metrics_max_topics),
	  "Topics with a label of their own in the metrics; the rest are \"other\"." },
};

const size_t config_key_count = ARRAY_LEN(config_keys);

struct suffix {
	const char *text;
	uint64_t times;
};

static const struct suffix sizes[] = {
	{ "B", 1 },        { "KiB", KIB },       { "MiB", MIB },
	{ "GiB", GIB },    { "TiB", TIB },       { "kB", 1000 },
	{ "MB", 1000000 }, { "GB", 1000000000 }, { "TB", UINT64_C(1000000000000) },
};

static const struct suffix durations[] = {
	{ "ms", MS }, { "s", SECOND }, { "m", MINUTE }, { "h", HOUR }, { "d", DAY },
};

const struct config_key *
config_key_find(const char *name)
{
	for (size_t i = 0; i < config_key_count; i++) {
		if (strcmp(config_keys[i].name, name) == 0)
			return &config_keys[i];
	}
	return NULL;
}

/* Levenshtein's distance, of names up to 63 characters. */
static size_t
distance(const char *a, const char *b)
{
	size_t row[64], n = strlen(b);

	if (strlen(a) > 63 || n > 63)
		return 64;
	for (size_t j = 0; j <= n; j++)
		row[j] = j;
	for (size_t i = 1; a[i - 1]; i++) {
		size_t corner = row[0];

		row[0] = i;
		for (size_t j = 1; j <= n; j++) {
			size_t cost = corner + (a[i - 1] != b[j - 1]);

			corner = row[j];
			cost = min_u64(cost, row[j] + 1);
			row[j] = min_u64(cost, row[j - 1] + 1);
		}
	}
	return row[n];
}

const char *
config_key_like(const char *name)
{
	const char *best = NULL;
	size_t least = 4;

	for (size_t i = 0; i < config_key_count; i++) {
		size_t d = distance(name, config_keys[i].name);

		/* Half of a short name wrong is another name. */
		if (d < least && d * 2 < strlen(name)) {
			least = d;
			best = config_keys[i].name;
		}
	}
	return best;
}

/* Decimal digits at *P, which moves behind them. */
static bool
read_digits(const char **p, uint64_t *ret_number)
{
	uint64_t v = 0;
	const char *begin = *p;

	for (; **p >= '0' && **p <= '9'; (*p)++) {
		if (__builtin_mul_overflow(v, UINT64_C(10), &v) ||
		    __builtin_add_overflow(v, (uint64_t)(**p - '0'), &v))
			return false;
	}
	*ret_number = v;
	return *p > begin;
}

static bool
read_with_suffix(const char *text, const struct suffix *list, size_t count, uint64_t *ret_number)
{
	uint64_t v;

	if (!read_digits(&text, &v))
		return false;
	if (v == 0 && !*text) { /* zero has no unit */
		*ret_number = 0;
		return true;
	}
	if (*text == ' ')
		text++;
	for (size_t i = 0; i < count; i++) {
		if (strcmp(text, list[i].text) == 0)
			return !__builtin_mul_overflow(v, list[i].times, ret_number);
	}
	return false;
}

static bool
read_percent(const char *text, uint64_t *ret_number)
{
	uint64_t whole, part = 0;

	if (!read_digits(&text, &whole) || whole > 1000000)
		return false;
	if (*text == '.') {
		const char *begin = ++text;

		if (!read_digits(&text, &part) || text - begin > 2)
			return false;
		if (text - begin == 1)
			part *= 10;
	}
	*ret_number = whole * 100 + part;
	return !*text;
}

/* Splits "host:port" and checks the port; "[v6]:port" loses its brackets. */
static bool
split_address(const char *text, char ret_host[256])
{
	const char *colon = strrchr(text, ':'), *p;
	uint64_t port;
	size_t n;

	if (!colon)
		return false;
	p = colon + 1;
	if (!read_digits(&p, &port) || *p || port > 65535)
		return false;
	n = (size_t)(colon - text);
	if (n >= 2 && text[0] == '[' && text[n - 1] == ']') {
		text++;
		n -= 2;
		if (!memchr(text, ':', n))
			return false;
	} else if (memchr(text, ':', n)) {
		return false; /* which colon is the port's? */
	}
	if (n == 0 || n > 255)
		return false;
	memcpy(ret_host, text, n);
	ret_host[n] = '\0';
	return true;
}

static bool
is_address(const char *text)
{
	char host[256];
	uint8_t ip[16];

	return split_address(text, host) &&
	       (inet_pton(AF_INET, host, ip) == 1 || inet_pton(AF_INET6, host, ip) == 1);
}

static void
put_number(const struct config_key *k, uint64_t v, struct config *c)
{
	char *field = (char *)c + k->offset;

	v /= k->unit;
	CHECK(k->width == 8 || v < UINT64_C(1) << (8 * k->width), v);
	memcpy(field, &v, k->width); /* bytes.h asserts a little-endian host */
}

static void
put_text(const struct config_key *k, const char *value, struct config *c)
{
	CHECK(k->width == sizeof(value), k->width);
	memcpy((char *)c + k->offset, &value, sizeof(value));
}

static int
why(char ret_why[CONFIG_WHY_BYTES], const char *sentence)
{
	snprintf(ret_why, CONFIG_WHY_BYTES, "%s", sentence);
	return ERR_CONFIG;
}

/* What a number of that type looks like, for the fault's sentence. */
static void
show_number(enum config_type type, uint64_t v, char *ret, size_t size)
{
	const struct suffix *list = type == CONFIG_SIZE ? sizes : durations;
	/* Only the binary ones: they come first. */
	size_t count = type == CONFIG_SIZE ? 5 : ARRAY_LEN(durations), i = count;

	if (type == CONFIG_PERCENT) {
		snprintf(ret, size, "%llu.%02llu", (unsigned long long)v / 100,
			 (unsigned long long)v % 100);
		return;
	}
	if (v && (type == CONFIG_SIZE || type == CONFIG_DURATION)) {
		while (i > 1 && v % list[i - 1].times)
			i--;
		snprintf(ret, size, "%llu%s", (unsigned long long)(v / list[i - 1].times),
			 list[i - 1].text);
		return;
	}
	snprintf(ret, size, "%llu", (unsigned long long)v);
}

static int
set_number(const struct config_key *k, uint64_t v, struct config *c, char ret_why[CONFIG_WHY_BYTES])
{
	char low[40], high[40];

	if (v < k->min || v > k->max) {
		show_number(k->type, k->min, low, sizeof(low));
		show_number(k->type, k->max, high, sizeof(high));
		snprintf(ret_why, CONFIG_WHY_BYTES, "must be from %s to %s", low, high);
		return ERR_CONFIG;
	}
	put_number(k, v, c);
	return 0;
}

int
config_key_set(const struct config_key *k, const char *value, struct config *c,
	       char ret_why[CONFIG_WHY_BYTES])
{
	enum log_format format;
	enum log_level level;
	uint64_t v;

	switch (k->type) {
	case CONFIG_TEXT:
		if (!*value || strpbrk(value, " \t"))
			return why(ret_why, "must be a name without blanks");
		put_text(k, value, c);
		return 0;
	case CONFIG_HOSTS:
		if (strpbrk(value, " \t:/[]"))
			return why(ret_why, "must be host names with commas between, without "
					    "blanks and ports");
		put_text(k, value, c);
		return 0;
	case CONFIG_PATH:
		if (!*value)
			return why(ret_why, "must not be empty");
		put_text(k, value, c);
		return 0;
	case CONFIG_BOOL:
		if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
			return why(ret_why, "must be true or false");
		put_number(k, *value == 't', c);
		return 0;
	case CONFIG_COUNT: {
		const char *p = value;

		if (!read_digits(&p, &v) || *p)
			return why(ret_why, "must be a whole number");
		return set_number(k, v, c, ret_why);
	}
	case CONFIG_SIZE:
		if (!read_with_suffix(value, sizes, ARRAY_LEN(sizes), &v))
			return why(ret_why,
				   "must be a size with its unit, as 64MiB, 20GiB or 512B");
		return set_number(k, v, c, ret_why);
	case CONFIG_DURATION:
		if (!read_with_suffix(value, durations, ARRAY_LEN(durations), &v))
			return why(ret_why,
				   "must be a time with its unit, as 500ms, 6s, 10m, 1h or 90d");
		return set_number(k, v, c, ret_why);
	case CONFIG_PERCENT:
		if (!read_percent(value, &v))
			return why(ret_why, "must be a factor with at most two decimals, as 1.5");
		return set_number(k, v, c, ret_why);
	case CONFIG_ADDRESS:
		if (!is_address(value))
			return why(ret_why, "must be an IP address and a port, as 127.0.0.1:9876 "
					    "or [::1]:9876");
		put_text(k, value, c);
		return 0;
	case CONFIG_ENDPOINT:
		/* Of a name clients would make a second connection, for their answers to checks. */
		if (*value && !is_address(value))
			return why(ret_why, "must be an IP address and a port, as 192.0.2.7:9876, "
					    "or empty");
		put_text(k, *value ? value : NULL, c);
		return 0;
	case CONFIG_LEVEL:
		if (log_level_parse(value, &level) != 0)
			return why(ret_why, "must be error, warn, info, debug or trace");
		put_number(k, (uint64_t)level, c);
		return 0;
	case CONFIG_FORMAT:
		if (log_format_parse(value, &format) != 0)
			return why(ret_why, "must be logfmt, json or text");
		put_number(k, (uint64_t)format, c);
		return 0;
	}
	return why(ret_why, "is of no known type");
}
