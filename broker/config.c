/*
 * config.c -- gathers settings from their sources, by precedence, and checks them together.
 *
 * Each setting keeps the text that a person wrote and where; only at the end, when it is known
 * which source wins, are texts turned into values.  So a fault always names the place that
 * has to be changed, and --print-config shows the person's own words.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "base/conf.h"
#include "base/err.h"
#include "base/utf8.h"
#include "config_keys.h"

#define FILE_MAX_BYTES   (16u << 20)
#define SECRET_MAX_BYTES (64u << 10)
#define MASK             "********"
#define NOT_A_KEY        "a key is made of letters, digits and . _ - %% |"

/* The fixed ones: what nobody has had a reason to set. */
#define RECEIVE_BYTES (UINT64_C(256) << 20) /* input buffers of all connections together */
#define STALL_NS      (60 * NS_PER_S) /* Kafka's client is rebuilt when it gave no report so long */
#define CONTACT_NS    (2 * NS_PER_S)  /* a Kafka that is there answers in a few milliseconds */
/*
 * What a record has beyond "plain value, key and headers": our own headers with a producer group
 * of 255 bytes, and Kafka's framing of record and batch.
 */
#define RECORD_OVERHEAD_BYTES 4096u

struct config_entry {
	const struct config_key *key; /* NULL: kafka.* or topic.map.* */
	const char *name;
	const char *value;
	const char *origin;
	unsigned level; /* grows with each source read: later ones win */
};

struct loader {
	const struct config_sources *src;
	struct config *c;
	struct buf *faults;
	struct buf *warnings;
	size_t entry_cap;
	size_t owned_cap;
	unsigned level;
	int err;
};

static PRINTF(3, 4) void fault(struct loader *l, const char *origin, const char *fmt, ...)
{
	char text[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	buf_printf(l->faults, "%s: %s\n", origin, text);
	l->err = ERR_CONFIG;
}

/* A copy of S that lives as long as the config. */
static const char *
own(struct loader *l, struct str s)
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

static bool
ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n >= m && strcmp(text + n - m, end) == 0;
}

/* Shown to nobody: passwords, private keys, and what may hold them. */
static bool
is_secret(const char *name)
{
	if (strncmp(name, "kafka.", 6) != 0 || ends_with(name, "_file"))
		return false;
	return strstr(name, "password") || strstr(name, "secret") ||
	       ends_with(name, "ssl.key.pem") || ends_with(name, "sasl.oauthbearer.config");
}

/* "kafka.sasl.password_file" is the file of the secret "kafka.sasl.password". */
static bool
is_secret_file(const char *name)
{
	char base[256];
	size_t n = strlen(name);

	if (!ends_with(name, "_file") || n - 5 >= sizeof(base))
		return false;
	memcpy(base, name, n - 5);
	base[n - 5] = '\0';
	return is_secret(base);
}

static struct config_entry *
entry_find(struct config *c, const char *name)
{
	for (size_t i = 0; i < c->entry_count; i++) {
		if (strcmp(c->entries[i].name, name) == 0)
			return &c->entries[i];
	}
	return NULL;
}

/* Sets NAME; a later source replaces what an earlier one said. */
static void
entry_put(struct loader *l, const struct config_key *key, const char *name, const char *value,
	  const char *origin)
{
	struct config *c = l->c;
	struct config_entry *e = entry_find(c, name);

	if (!e) {
		if (c->entry_count == l->entry_cap) {
			l->entry_cap = l->entry_cap ? l->entry_cap * 2 : 64;
			c->entries = mem_grow(c->entries, l->entry_cap * sizeof(*c->entries));
		}
		e = &c->entries[c->entry_count++];
		e->name = own(l, str_of(name));
	}
	e->key = key;
	e->value = own(l, str_of(value));
	e->origin = own(l, str_of(origin));
	e->level = l->level;
}

static void
unknown(struct loader *l, const char *name, const char *origin)
{
	const char *like = config_key_like(name);

	if (like)
		fault(l, origin, "there is no key %s; did you mean %s?", name, like);
	else
		fault(l, origin, "there is no key %s (conf/escrowd.conf lists all)", name);
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
		fault(l, origin, "%s does not end in a topic name", name);
	else if (!is_topic_name(value, "_-.", LIMIT_TOPIC_BYTES))
		fault(l, origin,
		      "%s: \"%s\" is not a name that Kafka allows (at most %d of a-z A-Z 0-9 . _ "
		      "-)",
		      name, value, LIMIT_TOPIC_BYTES);
	else
		entry_put(l, NULL, name, value, origin);
}

static void
set_kafka(struct loader *l, const char *name, const char *value, const char *origin)
{
	const char *property = name + strlen("kafka.");
	const char *no = l->src->denied ? l->src->denied(property) : NULL;

	if (!*property)
		unknown(l, name, origin);
	else if (no)
		fault(l, origin, "%s may not be set: %s", name, no);
	else
		entry_put(l, NULL, name, value, origin);
}

/* One setting of any source but the built-in ones. */
static void
set(struct loader *l, const char *name, const char *value, const char *origin)
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
		fault(l, origin, "%s = %s: %s", name, value, why);
	} else {
		entry_put(l, key, key->name, value, origin);
	}
}

/* UTF-8 without control characters, as in a file. */
static bool
is_text(struct str s)
{
	while (s.n) {
		size_t n = utf8_length(s);
		unsigned char c = (unsigned char)s.p[0];

		if (n == 0 || (c < 0x20 && c != '\t') || c == 0x7f)
			return false;
		s = str_from(s.p + n, s.n - n);
	}
	return true;
}

static bool
is_key(const char *name)
{
	return name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				 "._-%|")] == '\0';
}

/* A setting of the environment or the command line: its value is read as a file's is. */
static void
set_text(struct loader *l, const char *name, const char *value, const char *origin)
{
	size_t n;

	value += strspn(value, " \t");
	n = strlen(value);
	while (n && (value[n - 1] == ' ' || value[n - 1] == '\t'))
		n--;
	if (!is_text(str_from(value, n)))
		fault(l, origin, "the value of %s has control characters, or is not UTF-8", name);
	else
		set(l, name, own(l, str_from(value, n)), origin);
}

/* Reads at most MAX bytes of PATH; 0 or an errno. */
static int
read_file(const char *path, size_t max, struct buf *ret)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int err = 0;

	if (fd < 0)
		return errno;
	for (;;) {
		ssize_t n = read(fd, buf_reserve(ret, 65536), 65536);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			err = errno;
		if (n <= 0)
			break;
		ret->len += (size_t)n;
		if (ret->len > max) {
			err = EFBIG;
			break;
		}
	}
	close(fd);
	return err;
}

static void
load_file(struct loader *l, const char *path, bool may_be_missing)
{
	struct buf text = BUF_INIT;
	struct conf conf;
	int no = read_file(path, FILE_MAX_BYTES, &text);

	l->level++;
	if (no && !(no == ENOENT && may_be_missing)) {
		fault(l, path, "cannot be read: %s", strerror(no));
	} else if (!no) {
		if (conf_parse(path, buf_as_str(&text), &conf, l->faults) != 0)
			l->err = ERR_CONFIG;
		for (size_t i = 0; i < conf.count; i++) {
			const struct conf_pair *p = &conf.pairs[i];
			struct buf origin = BUF_INIT;

			buf_printf(&origin, "%s:%u:%u", path, p->line, p->column);
			buf_u8(&origin, 0);
			set(l, p->key, p->value, origin.data);
			buf_free(&origin);
		}
		conf_done(&conf);
	}
	buf_free(&text);
}

static int
is_conf_file(const struct dirent *d)
{
	return d->d_name[0] != '.' && ends_with(d->d_name, ".conf");
}

/* Not alphasort(): the order of precedence must not depend on the locale. */
static int
by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* The files of conf.d beside FILE, in the order of their names. */
static void
load_directory(struct loader *l, const char *file)
{
	const char *slash = strrchr(file, '/');
	struct buf dir = BUF_INIT, path = BUF_INIT;
	struct dirent **names = NULL;
	int count;

	if (slash)
		buf_add(&dir, file, (size_t)(slash - file) + 1);
	buf_str(&dir, STR("conf.d"));
	buf_u8(&dir, '\0');
	count = scandir(dir.data, &names, is_conf_file, by_name);
	if (count < 0 && errno != ENOENT && errno != ENOTDIR)
		fault(l, dir.data, "cannot be read: %s", strerror(errno));
	for (int i = 0; i < count; i++) {
		path.len = 0;
		buf_printf(&path, "%s/%s", dir.data, names[i]->d_name);
		buf_u8(&path, '\0');
		load_file(l, path.data, false);
		mem_free(names[i]);
	}
	free(names);
	buf_free(&dir);
	buf_free(&path);
}

/* "ESCROW_CHECK_INTERVAL_MAX" of "check.interval.max". */
static void
variable_of(const char *key, char *ret, size_t size)
{
	size_t n = (size_t)snprintf(ret, size, "ESCROW_%s", key);

	for (size_t i = 0; i < n && i + 1 < size; i++) {
		if (ret[i] >= 'a' && ret[i] <= 'z')
			ret[i] = (char)(ret[i] - 'a' + 'A');
		else if (ret[i] == '.')
			ret[i] = '_';
	}
}

/* "kafka.linger.ms" of "ESCROW_KAFKA_LINGER_MS"; librdkafka's names have no underscore. */
static void
property_of(const char *variable, char *ret, size_t size)
{
	size_t n;

	snprintf(ret, size, "%s", variable + strlen("ESCROW_"));
	n = strlen(ret);
	for (size_t i = 0; i < n; i++) {
		if (ret[i] >= 'A' && ret[i] <= 'Z')
			ret[i] = (char)(ret[i] - 'A' + 'a');
		else if (ret[i] == '_')
			ret[i] = '.';
	}
	/* ..._PASSWORD_FILE */
	if (n > 5 && ends_with(ret, ".file")) {
		ret[n - 5] = '_';
		if (!is_secret_file(ret))
			ret[n - 5] = '.';
	}
}

/*
 * Kubernetes gives every container variables named after services: with one called "escrow" or
 * "escrow-kafka" there are ESCROW_PORT=tcp://... and ESCROW_KAFKA_SERVICE_HOST.
 */
static bool
is_kubernetes(const char *name)
{
	return strstr(name, "_SERVICE_HOST") || strstr(name, "_SERVICE_PORT") ||
	       strstr(name, "_PORT_") || ends_with(name, "_PORT");
}

static void
load_variable(struct loader *l, const char *variable, const char *value)
{
	char name[256], text[320];
	const char *like;

	snprintf(text, sizeof(text), "environment variable %s", variable);
	for (size_t i = 0; i < config_key_count; i++) {
		variable_of(config_keys[i].name, name, sizeof(name));
		if (strcmp(name, variable) == 0) {
			set_text(l, config_keys[i].name, value, text);
			return;
		}
	}
	if (is_kubernetes(variable))
		return;
	property_of(variable, name, sizeof(name));
	if (strncmp(name, "kafka.", strlen("kafka.")) == 0 && name[strlen("kafka.")]) {
		if (!is_key(name))
			fault(l, "the environment", NOT_A_KEY);
		else
			set_text(l, name, value, text);
		return;
	}
	/* Not ours alone: ESCROW_URL is the client library's.  So no fault. */
	like = config_key_like(name);
	if (like) {
		variable_of(like, name, sizeof(name));
		buf_printf(l->warnings, "%s names no key, ignoring; did you mean %s?\n", text,
			   name);
	}
}

static void
load_environment(struct loader *l)
{
	l->level++;
	for (char *const *p = l->src->environment; p && *p; p++) {
		const char *equals = strchr(*p, '=');
		char name[256];

		if (!equals || strncmp(*p, "ESCROW_", strlen("ESCROW_")) != 0 ||
		    (size_t)(equals - *p) >= sizeof(name))
			continue;
		memcpy(name, *p, (size_t)(equals - *p));
		name[equals - *p] = '\0';
		load_variable(l, name, equals + 1);
	}
}

static void
load_sets(struct loader *l)
{
	l->level++;
	for (size_t i = 0; i < l->src->set_count; i++) {
		const char *text = l->src->sets[i], *equals = strchr(text, '=');
		const char *name;

		if (!equals || equals == text) {
			fault(l, "--set", "\"%s\" is not key=value", text);
			continue;
		}
		name = own(l, str_from(text, (size_t)(equals - text)));
		if (!is_key(name))
			fault(l, "--set", NOT_A_KEY);
		else if (is_secret(name))
			fault(l, "--set",
			      "%s is a secret, and command lines can be seen by everybody; use "
			      "%s_file",
			      name, name);
		else
			set_text(l, name, equals + 1, "--set");
	}
}

/* Puts the file's content in the place of kafka.<secret>_file. */
static void
read_secret(struct loader *l, struct config_entry *file)
{
	const char *credentials = getenv("CREDENTIALS_DIRECTORY");
	struct buf path = BUF_INIT, text = BUF_INIT;
	const char *name = own(l, str_from(file->name, strlen(file->name) - strlen("_file")));
	const char *origin = file->origin;
	struct config_entry *e = entry_find(l->c, name);
	int no;

	if (e && e->level > file->level)
		return; /* the secret itself was given by a stronger source */
	if (e && e->level == file->level) {
		fault(l, origin, "%s is set as well (%s)", name, e->origin);
		return;
	}
	if (file->value[0] != '/' && credentials)
		buf_printf(&path, "%s/", credentials);
	buf_str(&path, str_of(file->value));
	buf_u8(&path, '\0');
	no = read_file(path.data, SECRET_MAX_BYTES, &text);
	while (text.len && (text.data[text.len - 1] == '\n' || text.data[text.len - 1] == '\r'))
		text.len--;
	if (no) {
		fault(l, origin, "%s: %s cannot be read: %s", file->name, path.data, strerror(no));
	} else if (text.len == 0 || memchr(text.data, '\0', text.len)) {
		fault(l, origin, "%s: %s is empty or not text", file->name, path.data);
	} else {
		l->level = file->level;
		/* FILE dies here: the entries may move. */
		entry_put(l, NULL, name, own(l, buf_as_str(&text)), path.data);
	}
	if (text.data)
		explicit_bzero(text.data, text.cap);
	buf_free(&path);
	buf_free(&text);
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
		if (!c->entries[i].key && is_secret_file(c->entries[i].name))
			read_secret(l, &c->entries[i]);
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
		else if (!is_secret_file(e->name))
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
	struct config_entry *e = entry_find(c, name);

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
	struct config_entry *e = entry_find(c, "kafka.message.max.bytes");
	char text[24], *end;
	unsigned long long set;

	if (!e) {
		snprintf(text, sizeof(text), "%u",
			 c->loop.core.message_bytes + RECORD_OVERHEAD_BYTES);
		((struct sink_property *)(uintptr_t)c->kafka)[c->kafka_count++] =
			(struct sink_property){ "message.max.bytes", own(l, str_of(text)) };
		return;
	}
	set = strtoull(e->value, &end, 10);
	if (end == e->value || *end)
		return; /* librdkafka will say so in its own words */
	if (set <= 2 * RECORD_OVERHEAD_BYTES)
		fault(l, e->origin, "kafka.message.max.bytes must be more than %u",
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
		fault(l, origin_of(c, "journal.segment"),
		      "journal.segment must be a multiple of 4KiB");
	if (j->segment_bytes / JOURNAL_RECORD_SHARE <
	    (uint64_t)c->loop.core.message_bytes + LIMIT_RECORD_MORE)
		fault(l, origin_of(c, "journal.segment"),
		      "journal.segment must be at least %u times (limits.message + %uKiB): a "
		      "record may be no longer than such a part of it",
		      JOURNAL_RECORD_SHARE, LIMIT_RECORD_MORE >> 10);
	if (j->quota_bytes / 4 < j->segment_bytes)
		fault(l, origin_of(c, "journal.quota"),
		      "journal.quota must hold at least 4 segments "
		      "(journal.segment)");
	if (j->align && (j->align < 512 || j->align & (j->align - 1)))
		fault(l, origin_of(c, "journal.align"),
		      "journal.align must be 0 or a power of two from 512B");
	if (p->interval_ns > p->interval_max_ns)
		fault(l, origin_of(c, "check.interval"),
		      "check.interval must not be above "
		      "check.interval.max");
	if (c->loop.remoting.vip && port && port < 3)
		fault(l, origin_of(c, "listen.vip"),
		      "there is no port two below that of listen.address");
	if (port && strcmp(c->loop.remoting.listen, c->http_address) == 0)
		fault(l, origin_of(c, "http.address"),
		      "http.address and listen.address are the same");
	if (!l->src->without_kafka && !entry_find(c, "kafka.bootstrap.servers") &&
	    !entry_find(c, "kafka.metadata.broker.list"))
		fault(l, l->src->file ? l->src->file : CONFIG_FILE,
		      "kafka.bootstrap.servers is not set: where is Kafka?");
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
		entry_put(l, &config_keys[i], config_keys[i].name, config_keys[i].built_in,
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
	load_file(&l, file, !src->file);
	load_directory(&l, file);
	load_environment(&l);
	load_sets(&l);
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
		.value = is_secret(e->name) ? MASK : e->value,
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
		buf_printf(out, "# %s\n%s%s = %s", v.origin, is_secret(v.name) ? "# " : "", v.name,
			   v.value);
		/* As conf.h reads it: backslashes at the end stand double. */
		while (n && v.value[n - 1] == '\\') {
			buf_u8(out, '\\');
			n--;
		}
		buf_u8(out, '\n');
	}
}
