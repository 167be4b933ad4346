/*
 * conf.h -- configuration text to pairs of key and value.
 *
 *     # a comment: only at the beginning of a line, for passwords may hold a '#'
 *     journal.quota = 20GiB
 *     kafka.bootstrap.servers = kafka-1:9092,\
 *                               kafka-2:9092
 *     [check]
 *     max = 15                      (is check.max)
 *
 * Strict, because a setting that is silently not what was written is found in production:
 *
 *   - a key is letters, digits and  . _ - % |   and stands once in a file;
 *   - a value is the rest of its line without blanks around it, taken as it is: no quotes,
 *     no escapes, save at the end of a line, where "\" joins the next line, its
 *     leading blanks dropped, and "\\" is one backslash;
 *   - [name] puts "name." before the keys that follow, [] ends that;
 *   - text is UTF-8 without control characters; lines are as long as they like.
 *
 * What the keys mean is not known here (see config.h).
 */
#ifndef CONF_H
#define CONF_H

#include "base.h"

struct buf;

struct conf_pair {
	char *key; /* with its section */
	char *value;
	unsigned line; /* of the key, from 1 */
	unsigned column;
};

struct conf {
	struct conf_pair *pairs; /* in the order of the text */
	size_t count;
};

/*
 * Parses TEXT, which messages call FILE.  0; ERR_CONFIG: each fault is a line in ERRORS, as
 * "file:line:column: message", and RET has what could be read.  conf_done() it in both cases.
 */
int conf_parse(const char *file, struct str text, struct conf *ret, struct buf *errors) MUSTUSE;
void conf_done(struct conf *c);

#endif /* CONF_H */
