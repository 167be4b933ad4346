/*
 * route.c -- the table of endpoints, and the only place that knows them all.
 *
 * The index at `/` is printed from it, and tests/unit/test_http.c looks each up in README.md.
 */
#include <stdio.h>

#include "http/endpoints.h"

#define API         "/api/v1"
#define TXN         API "/transactions/{gid}"
#define LIST_PARAMS "state group topic key id min_age min_checks order fields limit cursor"
#define COMMAND(name, VERB, about)                                                                 \
	{                                                                                          \
		"POST", TXN ":" name, "", about, operate_ask, operate_tell, CONN_MUTATION, false,  \
			VERB                                                                       \
	}

const struct route routes[] = {
	{ "GET", "/", "", "this list", index_ask, NULL, CONN_READ, true, 0 },
	{ "GET", "/livez", "verbose", "200 while the process runs", livez_ask, NULL, CONN_PROBE,
	  true, 0 },
	{ "GET", "/startupz", "verbose", "200 once the journal is recovered", startupz_ask, NULL,
	  CONN_PROBE, true, 0 },
	{ "GET", "/readyz", "verbose require", "200 while half-sends are taken", readyz_ask,
	  readyz_tell, CONN_PROBE, true, 0 },
	{ "GET", "/healthz", "verbose require", "the same as /readyz", readyz_ask, readyz_tell,
	  CONN_PROBE, true, 0 },
	{ "GET", "/metrics", "", "Prometheus text, OpenMetrics when asked for", metrics_ask,
	  metrics_tell, CONN_READ, false, 0 },
	{ "GET", API "/status", "", "version, counts, rates, journal, Kafka, last errors",
	  snapshot_ask, status_tell, CONN_READ, false, 0 },
	{ "GET", API "/transactions", LIST_PARAMS, "a page of transactions", list_ask, list_tell,
	  CONN_READ, false, 0 },
	{ "GET", TXN, "payload max", "one transaction with its timeline and messages", txn_ask,
	  txn_tell, CONN_READ, false, 0 },
	COMMAND("commit", VERB_COMMIT, "decide: publish it"),
	COMMAND("rollback", VERB_ROLLBACK, "decide: drop it"),
	COMMAND("check", VERB_CHECK, "ask its producer group now"),
	COMMAND("resume", VERB_RESUME, "parked: check at full pace again"),
	COMMAND("retry", VERB_RETRY, "undeliverable: publish what was refused again"),
	COMMAND("discard", VERB_DISCARD, "undeliverable: give it up"),
	{ "GET", API "/groups", "limit cursor", "producer groups, their listeners, who waits",
	  groups_ask, groups_tell, CONN_READ, false, 0 },
	{ "GET", API "/topics", "limit cursor", "topics, what waits to be published", topics_ask,
	  topics_tell, CONN_READ, false, 0 },
	{ "GET", API "/connections", "limit cursor", "connected producers", connections_ask,
	  connections_tell, CONN_READ, false, 0 },
	{ "GET", API "/journal", "", "segments, space, syncs", snapshot_ask, journal_tell,
	  CONN_READ, false, 0 },
	{ "GET", API "/kafka", "", "the way to Kafka", snapshot_ask, kafka_tell, CONN_READ, false,
	  0 },
	{ "GET", API "/watermarks", "db_id", "the oldest undecided gid of a database",
	  watermark_ask, watermark_tell, CONN_READ, false, 0 },
	{ NULL, NULL, NULL, NULL, NULL, NULL, 0, false, 0 },
};

/* "{gid}" takes everything up to the next '/' or ':'. */
static bool
matches(const char *pattern, const char *path, struct str *ret_gid)
{
	struct str gid = STR_NONE;

	while (*pattern) {
		if (strncmp(pattern, "{gid}", 5) == 0) {
			gid = str_from(path, strcspn(path, "/:"));
			if (gid.n == 0)
				return false;
			path += gid.n;
			pattern += 5;
		} else if (*pattern++ != *path++) {
			return false;
		}
	}
	if (*path)
		return false;
	*ret_gid = gid;
	return true;
}

const struct route *
route_find(const char *method, const char *path, struct str *ret_gid, char ret_allow[32])
{
	ret_allow[0] = '\0';
	if (strcmp(method, "HEAD") == 0)
		method = "GET";
	for (const struct route *route = routes; route->method; route++) {
		if (!matches(route->path, path, ret_gid))
			continue;
		if (strcmp(route->method, method) == 0)
			return route;
		snprintf(ret_allow, 32, "%s",
			 strcmp(route->method, "GET") == 0 ? "GET, HEAD, OPTIONS"
							   : "POST, OPTIONS");
	}
	return NULL;
}
