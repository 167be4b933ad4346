/*
 * config.h -- what a person may set, and where each value came from.
 *
 *   built-in  <  escrowd.conf  <  conf.d/<any>.conf  <  environment  <  --set key=value
 *
 * conf.d is the folder beside the file.  ESCROW_CHECK_INTERVAL_MAX is check.interval.max;
 * ESCROW_KAFKA_LINGER_MS is kafka.linger.ms.  The table of keys is in config_keys.c; what each
 * means to people is in conf/escrowd.conf, which a test compares with the table.
 *
 * kafka.<property> goes to librdkafka as it is; what we deny there is asked of DENIED.
 * topic.map.<name> = <kafka topic> renames.  A secret (kafka.sasl.password, ...) is masked
 * wherever values are shown, is refused in --set, and may be read from a file:
 * kafka.sasl.password_file = <path>, relative ones in $CREDENTIALS_DIRECTORY.
 *
 * Nothing here logs or exits: faults are lines of text, all of them at once.
 */
#ifndef CONFIG_H
#define CONFIG_H

#include "base/buf.h"
#include "base/log.h"
#include "world/loop.h"

#define CONFIG_FILE "/etc/escrow/escrowd.conf"

struct config_sources {
	const char *file;	  /* --config; NULL: CONFIG_FILE, which may be missing        */
	char *const *environment; /* environ; NULL: none                                     */
	const char *const *sets;  /* each --set, "key=value"                                 */
	size_t set_count;
	/* sink_real_denied(); NULL: nothing is denied. */
	const char *(*denied)(const char *property);
	bool without_kafka; /* kafka.bootstrap.servers may be missing */
};

struct config {
	struct loop_conf loop; /* its strings live as long as the config                     */
	const char *data_dir;
	const char *http_address;
	const char *http_hosts;
	bool http_admin_write;
	enum log_level log_level;
	enum log_format log_format;
	int64_t shutdown_timeout_ns;
	uint32_t metrics_max_topics;
	uint32_t group_share; /* limits.group.share, percent                                  */
	const struct sink_property *kafka; /* for sink_real_open()                           */
	size_t kafka_count;

	/* config.c's own */
	struct config_entry *entries;
	size_t entry_count;
	char **owned;
	size_t owned_count;
};

/*
 * Reads all sources and checks them together.  0; ERR_CONFIG: FAULTS has a line for each thing
 * that is wrong, and RET holds what could be read, good for config_print() only.  WARNINGS
 * has a line for each thing that is probably not meant.  config_done() it in all cases.
 */
int config_load(const struct config_sources *src, struct config *ret, struct buf *faults,
		struct buf *warnings) MUSTUSE;
void config_done(struct config *c);

/* One effective value, for people; secrets are masked. */
struct config_view {
	const char *name;
	const char *value;
	const char *origin; /* "built-in", "escrowd.conf:12:1", "environment", "--set" */
	const char *meaning; /* a sentence; NULL for kafka.* and topic.map.*             */
};

/* Steps through them in the order of the table: *AT is 0 to begin; false at the end. */
bool config_next(const struct config *c, size_t *at, struct config_view *ret_view);

/*
 * --print-config: text that --config reads again, each value under a comment with its origin.
 * Secrets are comments: their lines have to be filled in.
 */
void config_print(const struct config *c, struct buf *out);

#endif /* CONFIG_H */
