/*
 * config_read.c -- where settings come from: files, environment, --set, secrets.
 */
#include "config_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/conf.h"
#include "base/err.h"
#include "base/utf8.h"

#define FILE_MAX_BYTES   (16u << 20)
#define SECRET_MAX_BYTES (64u << 10)
#define NOT_A_KEY        "a key is made of letters, digits and . _ - %% |"

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
		config_fault(l, origin, "the value of %s has control characters, or is not UTF-8",
			     name);
	else
		config_set(l, name, config_own(l, str_from(value, n)), origin);
}

/* Reads at most MAX bytes of PATH; 0 or an errno. */
static int
read_whole(const char *path, size_t max, struct buf *ret)
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

void
config_read_file(struct loader *l, const char *path, bool may_be_missing)
{
	struct buf text = BUF_INIT;
	struct conf conf;
	int no = read_whole(path, FILE_MAX_BYTES, &text);

	l->level++;
	l->no_file |= may_be_missing && no == ENOENT;
	if (no && !(no == ENOENT && may_be_missing)) {
		config_fault(l, path, "cannot be read: %s", strerror(no));
	} else if (!no) {
		if (conf_parse(path, buf_as_str(&text), &conf, l->faults) != 0)
			l->err = ERR_CONFIG;
		for (size_t i = 0; i < conf.count; i++) {
			const struct conf_pair *p = &conf.pairs[i];
			struct buf origin = BUF_INIT;

			buf_printf(&origin, "%s:%u:%u", path, p->line, p->column);
			buf_u8(&origin, 0);
			config_set(l, p->key, p->value, origin.data);
			buf_free(&origin);
		}
		conf_done(&conf);
	}
	buf_free(&text);
}

static int
is_conf_file(const struct dirent *d)
{
	return d->d_name[0] != '.' && config_ends_with(d->d_name, ".conf");
}

/* Not alphasort(): the order of precedence must not depend on the locale. */
static int
by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

void
config_read_directory(struct loader *l, const char *file)
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
		config_fault(l, dir.data, "cannot be read: %s", strerror(errno));
	for (int i = 0; i < count; i++) {
		path.len = 0;
		buf_printf(&path, "%s/%s", dir.data, names[i]->d_name);
		buf_u8(&path, '\0');
		config_read_file(l, path.data, false);
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
	if (n > 5 && config_ends_with(ret, ".file")) {
		ret[n - 5] = '_';
		if (!config_is_secret_file(ret))
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
	       strstr(name, "_PORT_") || config_ends_with(name, "_PORT");
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
			config_fault(l, "the environment", NOT_A_KEY);
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

void
config_read_environment(struct loader *l)
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

void
config_read_sets(struct loader *l)
{
	l->level++;
	for (size_t i = 0; i < l->src->set_count; i++) {
		const char *text = l->src->sets[i], *equals = strchr(text, '=');
		const char *name;

		if (!equals || equals == text) {
			config_fault(l, "--set", "\"%s\" is not key=value", text);
			continue;
		}
		name = config_own(l, str_from(text, (size_t)(equals - text)));
		if (!is_key(name))
			config_fault(l, "--set", NOT_A_KEY);
		else if (config_is_secret(name))
			config_fault(
				l, "--set",
				"%s is a secret, and command lines can be seen by everybody; use "
				"%s_file",
				name, name);
		else
			set_text(l, name, equals + 1, "--set");
	}
}

void
config_read_secret(struct loader *l, struct config_entry *file)
{
	const char *credentials = getenv("CREDENTIALS_DIRECTORY");
	struct buf path = BUF_INIT, text = BUF_INIT;
	const char *name =
		config_own(l, str_from(file->name, strlen(file->name) - strlen("_file")));
	const char *origin = file->origin;
	struct config_entry *e = config_entry_find(l->c, name);
	int no;

	if (e && e->level > file->level)
		return; /* the secret itself was given by a stronger source */
	if (e && e->level == file->level) {
		config_fault(l, origin, "%s is set as well (%s)", name, e->origin);
		return;
	}
	if (file->value[0] != '/' && credentials)
		buf_printf(&path, "%s/", credentials);
	buf_str(&path, str_of(file->value));
	buf_u8(&path, '\0');
	no = read_whole(path.data, SECRET_MAX_BYTES, &text);
	while (text.len && (text.data[text.len - 1] == '\n' || text.data[text.len - 1] == '\r'))
		text.len--;
	if (no) {
		config_fault(l, origin, "%s: %s cannot be read: %s", file->name, path.data,
			     strerror(no));
	} else if (text.len == 0 || memchr(text.data, '\0', text.len)) {
		config_fault(l, origin, "%s: %s is empty or not text", file->name, path.data);
	} else {
		l->level = file->level;
		/* FILE dies here: the entries may move. */
		config_entry_put(l, NULL, name, config_own(l, buf_as_str(&text)), path.data);
	}
	if (text.data)
		explicit_bzero(text.data, text.cap);
	buf_free(&path);
	buf_free(&text);
}
