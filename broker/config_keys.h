/*
 * config_keys.h -- the one table of keys: name, type, default, unit, place, sentence.
 *
 * Everything about a key that the daemon knows is one row: adding a setting is adding a row
 * (and its lines in conf/escrowd.conf, which a test asks for).
 */
#ifndef CONFIG_KEYS_H
#define CONFIG_KEYS_H

#include "config.h"

enum config_type {
	CONFIG_TEXT,	 /* not empty, no blanks                                     */
	CONFIG_HOSTS,	 /* names with commas between, or empty                      */
	CONFIG_PATH,	 /* not empty                                                */
	CONFIG_BOOL,	 /* true, false                                              */
	CONFIG_COUNT,	 /* 50000                                                    */
	CONFIG_SIZE,	 /* 64MiB, 20GiB; also B, KiB, TiB and kB, MB, GB, TB         */
	CONFIG_DURATION, /* 500ms, 6s, 10m, 1h, 90d                                  */
	CONFIG_PERCENT,	 /* 1.5, kept as 150                                         */
	CONFIG_ADDRESS,	 /* 127.0.0.1:9876, [::1]:9876                               */
	CONFIG_ENDPOINT, /* the same; or empty                                       */
	CONFIG_LEVEL,	 /* log.level                                                */
	CONFIG_FORMAT,	 /* log.format                                               */
};

struct config_key {
	const char *name;
	enum config_type type;
	const char *built_in; /* the default, as text */
	uint64_t min;	      /* of numbers, in the type's own unit (bytes, ns, percent) */
	uint64_t max;
	uint64_t unit;	/* the field holds the number divided by it: NS_PER_MS for ms */
	size_t offset;	/* of the field in struct config */
	size_t width;	/* its size */
	const char *meaning;
};

extern const struct config_key config_keys[];
extern const size_t config_key_count;

const struct config_key *config_key_find(const char *name);
/* The key that NAME is most like, or NULL. */
const char *config_key_like(const char *name);

/*
 * Reads VALUE as K says and puts it into its field of C (strings are pointed at: VALUE must
 * live).  ERR_CONFIG: RET_WHY is a sentence.
 */
#define CONFIG_WHY_BYTES 256
int config_key_set(const struct config_key *k, const char *value, struct config *c,
		   char ret_why[CONFIG_WHY_BYTES]) MUSTUSE;

#endif /* CONFIG_KEYS_H */
