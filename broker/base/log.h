/*
 * log.h -- one line for people, with fields for machines.
 *
 * Edges and main log; core, journal and wire never do (they return errors, and the
 * layer that decides what a failure means says it once).  Lines are logfmt by
 * default:  ts=2026-01-02T03:04:05.678901Z level=warn msg="kafka is away" lanes=3
 *
 * FIELDS is a printf format of `key=%value` pairs separated by blanks, or NULL; a value that
 * may hold blanks or quotes is passed through log_q().  Thread-safe: each line is one
 * write(2) to stderr, cut at LOG_LINE_BYTES.  Under systemd ($JOURNAL_STREAM names the
 * stderr that we have) a line begins with <N> and has no time.  The text format is for
 * eyes: it has colours when stderr is a terminal and $NO_COLOR is not set.
 */
#ifndef LOG_H
#define LOG_H

#include "base.h"

enum log_level { LOG_ERROR = 0, LOG_WARN = 1, LOG_INFO = 2, LOG_DEBUG = 3, LOG_TRACE = 4 };
enum log_format { LOG_LOGFMT = 0, LOG_JSON = 1, LOG_TEXT = 2 };

#define LOG_LINE_BYTES 8192  /* of a finished line, with its end */
#define LOG_VALUE_BYTES 1024 /* of one log_q(); longer ones end in ... */

/* Microseconds since 1970 (the simulator gives its own); NULL: the wall clock. */
typedef int64_t (*log_clock_fn)(void *arg);
/* Where finished lines go; NULL: stderr. */
typedef void (*log_sink_fn)(void *arg, const char *line, size_t len);

void log_setup(enum log_level level, enum log_format format);
void log_redirect(log_clock_fn clock, log_sink_fn sink, void *arg);
bool log_enabled(enum log_level level);
int log_level_parse(const char *text, enum log_level *ret_level) MUSTUSE;
int log_format_parse(const char *text, enum log_format *ret_format) MUSTUSE;
void log_write(enum log_level level, const char *msg, const char *fields, ...) PRINTF(3, 4);

/* S as a quoted, escaped logfmt value; lives in a ring of 8 thread-local buffers. */
const char *log_q(struct str s);

#define log_error(msg, ...) log_write(LOG_ERROR, msg, __VA_ARGS__)
#define log_warn(msg, ...) log_write(LOG_WARN, msg, __VA_ARGS__)
#define log_info(msg, ...) log_write(LOG_INFO, msg, __VA_ARGS__)
#define log_debug(msg, ...)                                                                        \
	do {                                                                                       \
		if (log_enabled(LOG_DEBUG))                                                        \
			log_write(LOG_DEBUG, msg, __VA_ARGS__);                                    \
	} while (0)

#endif /* LOG_H */
