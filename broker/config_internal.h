/*
 * config_internal.h -- what config.c and config_read.c share: settings while they are read.
 */
#ifndef CONFIG_INTERNAL_H
#define CONFIG_INTERNAL_H

#include "config.h"
#include "config_keys.h"

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
	bool no_file; /* nobody named one, and there is none */
};

/* What is wrong, and where: a line of the faults. */
PRINTF(3, 4) void config_fault(struct loader *l, const char *origin, const char *fmt, ...);
/* A copy of S that lives as long as the config. */
const char *config_own(struct loader *l, struct str s);

struct config_entry *config_entry_find(struct config *c, const char *name);
/* Sets NAME; a later source replaces what an earlier one said. */
void config_entry_put(struct loader *l, const struct config_key *key, const char *name,
		      const char *value, const char *origin);
/* One setting of any source but the built-in ones. */
void config_set(struct loader *l, const char *name, const char *value, const char *origin);

bool config_ends_with(const char *text, const char *end);
/* Shown to nobody: passwords, private keys, and what may hold them. */
bool config_is_secret(const char *name);
/* "kafka.sasl.password_file" is the file of the secret "kafka.sasl.password". */
bool config_is_secret_file(const char *name);

/* ---- config_read.c: each source is stronger than those before it ----------------------------- */

void config_read_file(struct loader *l, const char *path, bool may_be_missing);
/* The files of conf.d beside FILE, in the order of their names. */
void config_read_directory(struct loader *l, const char *file);
void config_read_environment(struct loader *l);
void config_read_sets(struct loader *l);
/* Puts the file's content in the place of kafka.<secret>_file. */
void config_read_secret(struct loader *l, struct config_entry *file);

#endif /* CONFIG_INTERNAL_H */
