/*
 * config.c -- gathers settings from their sources, by precedence, and checks them together.
 *
 * Each setting keeps the text that a person wrote and where; only at the end, when it is known
 * which source wins, are texts turned into values.  So a fault always names the place that
 * has to be changed, and --print-config shows the person's own words.
 */
#include "config_internal.h"

#include <stdarg.h>

#include "base/err.h"

#define MASK "********"

/* The fixed ones: what nobody has had a reason to set. */
#define RECEIVE_BYTES (UINT64_C(256) << 20) /* input buffers of all connections together */
#define STALL_NS      (60 * NS_PER_S) /* Kafka's client is rebuilt when it gave no report so long */
#define CONTACT_NS    (2 * NS_PER_S)  /* a Kafka that is there answers in a few milliseconds */
/*
 * What a record has beyond "plain value, key and headers": our own headers with a producer group
 * of 255 bytes, and Kafka's framing of record and batch.
 */
#define RECORD_OVERHEAD_BYTES 4096u

void
config_fault(struct loader *l, const char *origin, const char *fmt, ...)
{
	char text[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	buf_printf(l->faults, "%s: %s\n", origin, text);
	l->err = ERR_CONFIG;
}

const char *
config_own(struct loader *l, struct str s)
{
	struct config *c = l->c;
	char *copy = mem_alloc(s.n + 1);

	if (s.n)
		memcpy(copy, s.p, s.n);
	if (c->owned_count == l->owned_cap) {
		l->owned_cap = l->owned_cap ? l->owned_cap * 2 : 64;
		c->owned = mem_grow(c->owned, l->owned_cap * sizeof(*c->owned));
	}
	c->owned[c->owned_count++] = copy;
	return copy;
}

bool
config_ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n >= m && strcmp(text + n - m, end) == 0;
}

bool
config_is_secret(const char *name)
{
	if (strncmp(name, "kafka.", 6) != 0 || config_ends_with(name, "_file"))
		return false;
	return strstr(name, "password") || strstr(name, "secret") ||
	       config_ends_with(name, "ssl.key.pem") ||
	       config_ends_with(name, "sasl.oauthbearer.config");
}

bool
config_is_secret_file(const char *name)
{
	char base[256];
	size_t n = strlen(name);

	if (!config_ends_with(name, "_file") || n - 5 >= sizeof(base))
		return false;
	memcpy(base, name, n - 5);
	base[n - 5] = '\0';
	return config_is_secret(base);
}

struct config_entry *
config_entry_find(struct config *c, const char *name)
{
	for (size_t i = 0; i < c->entry_count; i++) {
		if (strcmp(c->entries[i].name, name) == 0)
			return &c->entries[i];
	}
	return NULL;
}

void
config_entry_put(struct loader *l, const struct config_key *key, const char *name,
		 const char *value, const char *origin)
{
	struct config *c = l->c;
	struct config_entry *e = config_entry_find(c, name);

	if (!e) {
		if (c->entry_count == l->entry_cap) {
			l->entry_cap = l->entry_cap ? l->entry_cap * 2 : 64;
			c->entries = mem_grow(c->entries, l->entry_cap * sizeof(*c->entries));
		}
		e = &c->entries[c->entry_count++];
		e->name = config_own(l, str_of(name));
	}
	e->key = key;
	e->value = config_own(l, str_of(value));
	e->origin = config_own(l, str_of(origin));
	e->level = l->level;
}

static void
unknown(struct loader *l, const char *name, const char *origin)
{
	const char *like = config_key_like(name);

	if (like)
		config_fault(l, origin, "there is no key %s; did you mean %s?", name, like);
	else
		config_fault(l, origin, "there is no key %s (conf/escrowd.conf lists all)", name);
}

static bool
is_topic_name(const char *name, const char *also, size_t max)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < n; i++) {
		char ch = name[i];

		if (!(ch >= 'a' && ch <= 'z') && !(ch >= 'A' && ch <= 'Z') &&
		    !(ch >= '0' && ch <= '9') && !strchr(also, ch))
			return false;
	}
	return n > 0 && n <= max && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static void
set_mapping(struct loader *l, const char *name, const char *value, const char *origin)
{
	if (!is_topic_name(name + strlen("topic.map."), "_-%|.", LIMIT_TOPIC_BYTES))
		config_fault(l, origin, "%s does not end in a topic name", name);
	else if (!is_topic_name(value, "_-.", LIMIT_TOPIC_BYTES))
		config_fault(
			l, origin,
			"%s: \"%s\" is not a name that Kafka allows (at most %d of a-z A-Z 0-9 . _ "
			"-)",
			name, value, LIMIT_TOPIC_BYTES);
	else
		config_entry_put(l, NULL, name, value, origin);
}

static void
set_kafka(struct loader *l, const char *name, const char *value, const char *origin)
{
	const char *property = name + strlen("kafka.");
	const char *no = l->src->denied ? l->src->denied(property) : NULL;

	if (!*property)
		unknown(l, name, origin);
	else if (no)
		config_fault(l, origin, "%s may not be set: %s", name, no);
	else
		config_entry_put(l, NULL, name, value, origin);
}

void
config_set(struct loader *l, const char *name, const char *value, const char *origin)
{
	const struct config_key *key = config_key_find(name);
	struct config scratch;
	char why[CONFIG_WHY_BYTES];

	if (strncmp(name, "topic.map.", strlen("topic.map.")) == 0) {
		set_mapping(l, name, value, origin);
	} else if (strncmp(name, "kafka.", strlen("kafka.")) == 0) {
		set_kafka(l, name, value, origin);
	} else if (!key) {
		unknown(l, name, origin);
	} else if (config_key_set(key, value, &scratch, why) != 0) {
		config_fault(l, origin, "%s = %s: %s", name, value, why);
	} else {
		config_entry_put(l, key, key->name, value, origin);
	}
}

/* Texts to values; then kafka.* and topic.map.* to arrays. */
static void
apply(struct loader *l)
{
	struct config *c = l->c;
	size_t count = c->entry_count, maps = 0;
	struct sink_property *kafka;
	struct topic_mapping *map;
	char why[CONFIG_WHY_BYTES];

	for (size_t i = 0; i < count; i++) {
		if (!c->entries[i].key && config_is_secret_file(c->entries[i].name))
			config_read_secret(l, &c->entries[i]);
	}
	/* One more: message.max.bytes. */
	kafka = mem_alloc((c->entry_count + 1) * sizeof(*kafka));
	map = mem_alloc((c->entry_count + 1) * sizeof(*map));
	for (size_t i = 0; i < c->entry_count; i++) {
		struct config_entry *e = &c->entries[i];

		if (e->key)
			CHECK(config_key_set(e->key, e->value, c, why) == 0, i);
		else if (strncmp(e->name, "topic.map.", strlen("topic.map.")) == 0)
			map[maps++] =
				(struct topic_mapping){ e->name + strlen("topic.map."), e->value };
		else if (!config_is_secret_file(e->name))
			kafka[c->kafka_count++] =
				(struct sink_property){ e->name + strlen("kafka."), e->value };
	}
	c->kafka = kafka;
	c->loop.remoting.map = map;
	c->loop.remoting.map_count = maps;
}

static const char *
origin_of(struct config *c, const char *name)
{
	struct config_entry *e = config_entry_find(c, name);

	return e ? e->origin : "built-in";
}

/*
 * librdkafka's own limit is a million bytes.  A larger message would be accepted, committed, and
 * then refused here for good; so its limit follows ours, or ours follows the one that was set.
 */
static void
join_message_limits(struct loader *l)
{
	struct config *c = l->c;
	struct config_entry *e = config_entry_find(c, "kafka.message.max.bytes");
	char text[24], *end;
	unsigned long long set;

	if (!e) {
		snprintf(text, sizeof(text), "%u",
			 c->loop.core.message_bytes + RECORD_OVERHEAD_BYTES);
		((struct sink_property *)(uintptr_t)c->kafka)[c->kafka_count++] =
			(struct sink_property){ "message.max.bytes", config_own(l, str_of(text)) };
		return;
	}
	set = strtoull(e->value, &end, 10);
	if (end == e->value || *end)
		return; /* librdkafka will say so in its own words */
	if (set <= 2 * RECORD_OVERHEAD_BYTES)
		config_fault(l, e->origin, "kafka.message.max.bytes must be more than %u",
			     2 * RECORD_OVERHEAD_BYTES);
	else if (set - RECORD_OVERHEAD_BYTES < c->loop.core.message_bytes)
		c->loop.core.message_bytes = (uint32_t)(set - RECORD_OVERHEAD_BYTES);
}

/* Of everything means that groups share without bounds of their own. */
static void
share_among_groups(struct config *c)
{
	if (c->group_share >= 100)
		return;
	c->loop.core.group_undecided =
		max_u64(c->loop.core.undecided_max / 100 * c->group_share, 1);
	c->loop.core.group_bytes = c->loop.journal.quota_bytes / 100 * c->group_share;
}

static unsigned
port_of(const char *address)
{
	return (unsigned)strtoul(strrchr(address, ':') + 1, NULL, 10);
}

/* What one value cannot know of another. */
static void
cross_check(struct loader *l)
{
	struct config *c = l->c;
	const struct journal_conf *j = &c->loop.journal;
	const struct txn_policy *p = &c->loop.core.policy;
	unsigned port = port_of(c->loop.remoting.listen);

	if (j->segment_bytes % 4096)
		config_fault(l, origin_of(c, "journal.segment"),
			     "journal.segment must be a multiple of 4KiB");
	if (j->segment_bytes / JOURNAL_RECORD_SHARE <
	    (uint64_t)c->loop.core.message_bytes + LIMIT_RECORD_MORE)
		config_fault(
			l, origin_of(c, "journal.segment"),
			"journal.segment must be at least %u times (limits.message + %uKiB): a "
			"record may be no longer than such a part of it",
			JOURNAL_RECORD_SHARE, LIMIT_RECORD_MORE >> 10);
	if (j->quota_bytes / 4 < j->segment_bytes)
		config_fault(l, origin_of(c, "journal.quota"),
			     "journal.quota must hold at least 4 segments "
			     "(journal.segment)");
	if (j->align && (j->align < 512 || j->align & (j->align - 1)))
		config_fault(l, origin_of(c, "journal.align"),
			     "journal.align must be 0 or a power of two from 512B");
	if (p->interval_ns > p->interval_max_ns)
		config_fault(l, origin_of(c, "check.interval"),
			     "check.interval must not be above "
			     "check.interval.max");
	if (c->loop.remoting.vip && port && port < 3)
		config_fault(l, origin_of(c, "listen.vip"),
			     "there is no port two below that of listen.address");
	if (port && strcmp(c->loop.remoting.listen, c->http_address) == 0)
		config_fault(l, origin_of(c, "http.address"),
			     "http.address and listen.address are the same");
	if (!l->src->without_kafka && !config_entry_find(c, "kafka.bootstrap.servers") &&
	    !config_entry_find(c, "kafka.metadata.broker.list"))
		config_fault(l, l->src->file ? l->src->file : CONFIG_FILE,
			     "%skafka.bootstrap.servers is not set: where is Kafka?",
			     l->no_file ? "is not there, and " : "");
}

static void
built_in(struct loader *l)
{
	struct config *c = l->c;

	core_conf_default(&c->loop.core);
	c->loop.remoting.receive_bytes = RECEIVE_BYTES;
	c->loop.relay.stall_ns = STALL_NS;
	c->loop.relay.contact_ns = CONTACT_NS;
	for (size_t i = 0; i < config_key_count; i++)
		config_entry_put(l, &config_keys[i], config_keys[i].name, config_keys[i].built_in,
				 "built-in");
}

int
config_load(const struct config_sources *src, struct config *ret, struct buf *faults,
	    struct buf *warnings)
{
	struct loader l = { .src = src, .c = ret, .faults = faults, .warnings = warnings };
	const char *file = src->file ? src->file : CONFIG_FILE;

	memset(ret, 0, sizeof(*ret));
	built_in(&l);
	config_read_file(&l, file, !src->file);
	config_read_directory(&l, file);
	config_read_environment(&l);
	config_read_sets(&l);
	apply(&l);
	/* Before limits are joined: the segment must hold what limits.message says. */
	cross_check(&l);
	join_message_limits(&l);
	share_among_groups(ret);
	ret->loop.remoting.message_bytes = ret->loop.core.message_bytes;
	ret->loop.journal.retention_ms = ret->loop.core.history_retention_ms;
	return l.err;
}

void
config_done(struct config *c)
{
	for (size_t i = 0; i < c->owned_count; i++) {
		explicit_bzero(c->owned[i], strlen(c->owned[i])); /* some are passwords */
		mem_free(c->owned[i]);
	}
	mem_free(c->owned);
	mem_free(c->entries);
	mem_free((void *)(uintptr_t)c->kafka);
	mem_free((void *)(uintptr_t)c->loop.remoting.map);
	memset(c, 0, sizeof(*c));
}

bool
config_next(const struct config *c, size_t *at, struct config_view *ret_view)
{
	const struct config_entry *e;

	if (*at >= c->entry_count)
		return false;
	e = &c->entries[(*at)++];
	*ret_view = (struct config_view){
		.name = e->name,
		.value = config_is_secret(e->name) ? MASK : e->value,
		.origin = e->origin,
		.meaning = e->key ? e->key->meaning : NULL,
	};
	return true;
}

void
config_print(const struct config *c, struct buf *out)
{
	struct config_view v;
	size_t at = 0;

	while (config_next(c, &at, &v)) {
		size_t n = strlen(v.value);

		/* A mask is no password: a file made of this must not have it for one. */
		buf_printf(out, "# %s\n%s%s = %s", v.origin, config_is_secret(v.name) ? "# " : "",
			   v.name, v.value);
		/* As conf.h reads it: backslashes at the end stand double. */
		while (n && v.value[n - 1] == '\\') {
			buf_u8(out, '\\');
			n--;
		}
		buf_u8(out, '\n');
	}
}
