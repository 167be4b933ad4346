/*
 * conf.c -- the keys of a client, by name or in a URL.
 */
#include "producer/inside.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_PORT "9876"

enum key_kind { KEY_TEXT, KEY_NUMBER, KEY_SIZE, KEY_CHOICE };

static const char *const modes[] = { "thread", "poll", NULL };
static const char *const brokers[] = { "auto", "escrow", "rocketmq", NULL };
static const char *const booleans[] = { "false", "true", NULL };

struct key {
	const char *name;
	enum key_kind kind;
	size_t at; /* in struct escrow_conf */
	int64_t value, min, max;
	const char *const *choices;
};

#define AT(member) offsetof(struct escrow_conf, member)
#define DAY_MS     (INT64_C(24) * 3600 * 1000)

static const struct key keys[] = {
	{ "servers", KEY_TEXT, AT(servers), 0, 0, 0, NULL },
	{ "group", KEY_TEXT, AT(group), 0, 0, 0, NULL },
	{ "client.id", KEY_TEXT, AT(client_id), 0, 0, 0, NULL },
	{ "mode", KEY_CHOICE, AT(mode), MODE_THREAD, 0, 0, modes },
	{ "timeout.ms", KEY_NUMBER, AT(timeout_ms), 10000, 1, DAY_MS, NULL },
	{ "retry.ms", KEY_NUMBER, AT(retry_ms), 5000, 10, DAY_MS, NULL },
	{ "linger.us", KEY_NUMBER, AT(linger_us), 0, 0, 1000000, NULL },
	{ "window", KEY_NUMBER, AT(window), 4096, 1, TABLE_MAX / 4, NULL },
	{ "window.bytes", KEY_SIZE, AT(window_bytes), 64 << 20, 1, INT64_C(1) << 40, NULL },
	{ "checks.max", KEY_NUMBER, AT(checks_max), 2000, 1, 1000000, NULL },
	{ "connect.ms", KEY_NUMBER, AT(connect_ms), 3000, 1, DAY_MS, NULL },
	{ "backoff.ms", KEY_NUMBER, AT(backoff_ms), 50, 1, DAY_MS, NULL },
	{ "backoff.max.ms", KEY_NUMBER, AT(backoff_max_ms), 5000, 1, DAY_MS, NULL },
	{ "heartbeat.ms", KEY_NUMBER, AT(heartbeat_ms), 30000, 10, 110000, NULL },
	{ "refresh.ms", KEY_NUMBER, AT(refresh_ms), 300000, 0, DAY_MS, NULL },
	{ "broker", KEY_CHOICE, AT(broker), BROKER_AUTO, 0, 0, brokers },
	{ "tls", KEY_CHOICE, AT(tls), 0, 0, 0, booleans },
	{ "tls.ca", KEY_TEXT, AT(tls_ca), 0, 0, 0, NULL },
	{ "tls.cert", KEY_TEXT, AT(tls_cert), 0, 0, 0, NULL },
	{ "tls.key", KEY_TEXT, AT(tls_key), 0, 0, 0, NULL },
	{ "tls.name", KEY_TEXT, AT(tls_name), 0, 0, 0, NULL },
	{ "tls.verify", KEY_CHOICE, AT(tls_verify), 1, 0, 0, booleans },
};

#define KEYS (sizeof(keys) / sizeof(keys[0]))

static char **
text_at(const escrow_conf *conf, const struct key *k)
{
	return (char **)((char *)(uintptr_t)conf + k->at);
}

static int64_t *
number_at(const escrow_conf *conf, const struct key *k)
{
	return (int64_t *)((char *)(uintptr_t)conf + k->at);
}

static const struct key *
find(const char *name)
{
	for (size_t i = 0; i < KEYS; i++)
		if (strcmp(keys[i].name, name) == 0)
			return &keys[i];
	return NULL;
}

escrow_conf *
escrow_conf_new(void)
{
	escrow_conf *conf = calloc(1, sizeof(*conf));

	for (size_t i = 0; conf && i < KEYS; i++)
		if (keys[i].kind != KEY_TEXT)
			*number_at(conf, &keys[i]) = keys[i].value;
	if (!conf)
		(void)fail(ESCROW_E_NOMEM, "out of memory"); /* NULL says it */
	return conf;
}

void
escrow_conf_free(escrow_conf *conf)
{
	if (!conf)
		return;
	for (size_t i = 0; i < KEYS; i++)
		if (keys[i].kind == KEY_TEXT)
			free(*text_at(conf, &keys[i]));
	free(conf);
}

/* Letters that two names do not share, in their order: enough to guess what was meant. */
static size_t
distance(const char *a, const char *b)
{
	size_t row[64], n = strlen(b);

	if (strlen(a) >= 64 || n >= 64)
		return 64;
	for (size_t j = 0; j <= n; j++)
		row[j] = j;
	for (size_t i = 1; a[i - 1]; i++) {
		size_t corner = row[0];

		row[0] = i;
		for (size_t j = 1; j <= n; j++) {
			size_t best = corner + (a[i - 1] != b[j - 1]);

			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			corner = row[j];
			row[j] = best;
		}
	}
	return row[n];
}

static const char *
nearest(const char *name)
{
	size_t best = 64;
	const char *found = keys[0].name;

	for (size_t i = 0; i < KEYS; i++) {
		size_t d = distance(name, keys[i].name);

		if (d < best) {
			best = d;
			found = keys[i].name;
		}
	}
	return found;
}

static bool
parse_number(const struct key *k, const char *value, int64_t *ret)
{
	char *end;
	long long v = strtoll(value, &end, 10);
	int64_t unit = 1;

	if (end == value || !isdigit((unsigned char)value[0]))
		return false;
	if (k->kind == KEY_SIZE && *end) {
		if (strcasecmp(end, "KiB") == 0)
			unit = 1 << 10;
		else if (strcasecmp(end, "MiB") == 0)
			unit = 1 << 20;
		else if (strcasecmp(end, "GiB") == 0)
			unit = 1 << 30;
		else
			return false;
	} else if (*end) {
		return false;
	}
	return !__builtin_mul_overflow((int64_t)v, unit, ret) && *ret >= k->min && *ret <= k->max;
}

static escrow_status
set_choice(const struct key *k, int64_t *at, const char *value)
{
	for (int i = 0; k->choices[i]; i++) {
		if (strcmp(k->choices[i], value) == 0) {
			*at = i;
			return ESCROW_OK;
		}
	}
	return fail(ESCROW_E_ARG, "%s is %s or %s, not \"%s\"", k->name, k->choices[0],
		    k->choices[2] ? "another of its values" : k->choices[1], value);
}

static escrow_status
set_text(const struct key *k, char **at, const char *value)
{
	struct server *servers;
	size_t count;
	char *copy;

	if (k->at == AT(servers)) {
		escrow_status st = conf_servers(value, &servers, &count);

		if (st != ESCROW_OK)
			return st;
		servers_free(servers, count);
	} else if (k->at == AT(group) && (!*value || strlen(value) > GROUP_MAX)) {
		return fail(ESCROW_E_ARG, "group has 1 to %d bytes", GROUP_MAX);
	} else if (k->at == AT(client_id) && strlen(value) > 255) {
		return fail(ESCROW_E_ARG, "client.id has at most 255 bytes");
	}
	copy = strdup(value);
	if (!copy)
		return fail(ESCROW_E_NOMEM, "out of memory");
	free(*at);
	*at = copy;
	return ESCROW_OK;
}

escrow_status
escrow_conf_set(escrow_conf *conf, const char *key, const char *value)
{
	const struct key *k = conf && key && value ? find(key) : NULL;
	int64_t v;

	if (!conf || !key || !value)
		return fail(ESCROW_E_ARG, "escrow_conf_set: an argument is NULL");
	if (!k)
		return fail(ESCROW_E_ARG, "there is no key %s; did you mean %s?", key,
			    nearest(key));
	if (k->kind == KEY_TEXT)
		return set_text(k, text_at(conf, k), value);
	if (k->kind == KEY_CHOICE)
		return set_choice(k, number_at(conf, k), value);
	if (!parse_number(k, value, &v))
		return fail(ESCROW_E_ARG, "%s is a number from %lld to %lld%s, not \"%s\"", key,
			    (long long)k->min, (long long)k->max,
			    k->kind == KEY_SIZE ? ", with KiB, MiB or GiB" : "", value);
	*number_at(conf, k) = v;
	return ESCROW_OK;
}

const char *
escrow_conf_get(const escrow_conf *conf, const char *key)
{
	const struct key *k = conf && key ? find(key) : NULL;
	char *text;

	if (!k)
		return NULL;
	if (k->kind == KEY_TEXT)
		return *text_at(conf, k) ? *text_at(conf, k) : "";
	if (k->kind == KEY_CHOICE)
		return k->choices[*number_at(conf, k)];
	text = ((escrow_conf *)(uintptr_t)conf)->text;
	(void)snprintf(text, sizeof(conf->text), "%lld", (long long)*number_at(conf, k));
	return text;
}

void
escrow_conf_set_log(escrow_conf *conf, escrow_log_fn fn, void *arg)
{
	if (!conf)
		return;
	conf->log = fn;
	conf->log_arg = arg;
}

/* ---- addresses ------------------------------------------------------------------------------- */

void
servers_free(struct server *servers, size_t count)
{
	for (size_t i = 0; servers && i < count; i++)
		free(servers[i].host);
	free(servers);
}

/* HOST, HOST:PORT, [V6] or [V6]:PORT of N bytes. */
static escrow_status
one_server(const char *p, size_t n, struct server *ret)
{
	const char *host = p, *port = DEFAULT_PORT, *end = p + n, *close;
	size_t host_n = n, port_n = strlen(port);

	if (n > 0 && *p == '[') {
		close = memchr(p, ']', n);
		if (!close || (close + 1 < end && close[1] != ':'))
			return fail(ESCROW_E_ARG, "\"%.*s\" is not [ADDRESS]:PORT", (int)n, p);
		host = p + 1;
		host_n = (size_t)(close - host);
		if (close + 1 < end) {
			port = close + 2;
			port_n = (size_t)(end - port);
		}
	} else if ((close = memchr(p, ':', n)) != NULL) {
		host_n = (size_t)(close - p);
		port = close + 1;
		port_n = (size_t)(end - port);
	}
	if (host_n == 0 || port_n == 0 || port_n > 5)
		return fail(ESCROW_E_ARG, "\"%.*s\" is not HOST:PORT", (int)n, p);
	memcpy(ret->port, port, port_n);
	ret->port[port_n] = '\0';
	for (size_t i = 0; i < port_n; i++)
		if (!isdigit((unsigned char)port[i]))
			return fail(ESCROW_E_ARG, "\"%.*s\" is not a port", (int)port_n, port);
	if (atoi(ret->port) < 1 || atoi(ret->port) > 65535)
		return fail(ESCROW_E_ARG, "there is no port %s", ret->port);
	ret->host = strndup(host, host_n);
	return ret->host ? ESCROW_OK : fail(ESCROW_E_NOMEM, "out of memory");
}

escrow_status
conf_servers(const char *text, struct server **ret_servers, size_t *ret_count)
{
	struct server *servers = calloc(SERVERS_MAX, sizeof(*servers));
	escrow_status st = ESCROW_OK;
	size_t count = 0;

	if (!servers)
		return fail(ESCROW_E_NOMEM, "out of memory");
	while (st == ESCROW_OK && text) {
		const char *comma = strchr(text, ',');
		size_t n = comma ? (size_t)(comma - text) : strlen(text);

		if (count == SERVERS_MAX)
			st = fail(ESCROW_E_ARG, "at most %d servers", SERVERS_MAX);
		else
			st = one_server(text, n, &servers[count]);
		count += st == ESCROW_OK;
		text = comma ? comma + 1 : NULL;
	}
	if (st != ESCROW_OK) {
		servers_free(servers, count);
		return st;
	}
	*ret_servers = servers;
	*ret_count = count;
	return ESCROW_OK;
}

/* ---- URLs ------------------------------------------------------------------------------------ */

/* %41 and + of a query, in place.  False: a % that is none. */
static bool
unescape(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (*s == '%') {
			char hex[3] = { 0 };

			if (!isxdigit((unsigned char)s[1]) || !isxdigit((unsigned char)s[2]))
				return false;
			hex[0] = s[1];
			hex[1] = s[2];
			*to++ = (char)strtol(hex, NULL, 16);
			s += 2;
		} else {
			*to++ = *s == '+' ? ' ' : *s;
		}
	}
	*to = '\0';
	return true;
}

static escrow_status
set_query(escrow_conf *conf, char *query)
{
	escrow_status st = ESCROW_OK;
	char *save = NULL;

	for (char *pair = strtok_r(query, "&", &save); pair && st == ESCROW_OK;
	     pair = strtok_r(NULL, "&", &save)) {
		char *value = strchr(pair, '=');

		if (!value)
			return fail(ESCROW_E_ARG, "\"%s\" in the URL is not KEY=VALUE", pair);
		*value++ = '\0';
		if (!unescape(pair) || !unescape(value))
			return fail(ESCROW_E_ARG, "a %% in the URL is not followed by two digits");
		st = escrow_conf_set(conf, pair, value);
	}
	return st;
}

escrow_status
escrow_conf_set_url(escrow_conf *conf, const char *url)
{
	static const char plain[] = "escrow://", secure[] = "escrows://";
	escrow_status st;
	bool tls;
	char *copy, *query, *servers;

	if (!conf || !url)
		return fail(ESCROW_E_ARG, "escrow_conf_set_url: an argument is NULL");
	tls = strncmp(url, secure, sizeof(secure) - 1) == 0;
	if (!tls && strncmp(url, plain, sizeof(plain) - 1) != 0)
		return fail(ESCROW_E_ARG,
			    "a URL begins with escrow:// or escrows://, not \"%.20s\"", url);
	copy = strdup(url + (tls ? sizeof(secure) : sizeof(plain)) - 1);
	if (!copy)
		return fail(ESCROW_E_NOMEM, "out of memory");
	servers = copy;
	query = strchr(copy, '?');
	if (query)
		*query++ = '\0';
	if (*servers && servers[strlen(servers) - 1] == '/')
		servers[strlen(servers) - 1] = '\0';
	st = escrow_conf_set(conf, "servers", servers);
	if (st == ESCROW_OK)
		st = escrow_conf_set(conf, "tls", tls ? "true" : "false");
	if (st == ESCROW_OK && query)
		st = set_query(conf, query);
	free(copy);
	return st;
}
