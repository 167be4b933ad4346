/*
 * status.c -- the index, the probes, and the state of the whole.
 *
 * Liveness touches nothing that can be away: a probe that fails with Kafka restarts every
 * node and makes two outages of one.  Readiness asks the loop, so it also proves that the
 * loop turns.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/endpoints.h"

bool
snapshot_ask(struct request *r)
{
	r->mail.kind = MAIL_SNAPSHOT;
	return true;
}

/* ---- index ------------------------------------------------------------------------------- */

static void
index_page(struct request *r)
{
	struct buf page = BUF_INIT;

	buf_str(&page, STR("<!doctype html>\n<meta charset=\"utf-8\">\n<title>escrowd</title>\n"));
	buf_printf(&page, "<h1>escrowd %s</h1>\n<ul>\n", r->http->conf.version);
	for (const struct route *route = routes; route->method; route++) {
		bool link = strcmp(route->method, "GET") == 0 && !strchr(route->path, '{') &&
			    !strstr(route->path, "watermarks");

		if (link)
			buf_printf(&page, "<li><a href=\"%s\">%s</a>: %s</li>\n", route->path,
				   route->path, route->about);
		else
			buf_printf(&page, "<li>%s %s: %s</li>\n", route->method, route->path,
				   route->about);
	}
	buf_str(&page, STR("</ul>\n"));
	request_text(r, MHD_HTTP_OK, "text/html; charset=utf-8", buf_as_str(&page));
	buf_free(&page);
}

bool
index_ask(struct request *r)
{
	struct out o;

	if (!r->headers.accept || !strstr(r->headers.accept, "application/json")) {
		index_page(r);
		return false;
	}
	o = request_json(r);
	out_open(&o, NULL, '{');
	out_text(&o, "name", "escrowd");
	out_text(&o, "version", r->http->conf.version);
	out_open(&o, "endpoints", '[');
	for (const struct route *route = routes; route->method; route++) {
		out_open(&o, NULL, '{');
		out_text(&o, "method", route->method);
		out_text(&o, "path", route->path);
		out_text(&o, "parameters", route->params);
		out_text(&o, "about", route->about);
		out_close(&o, '}');
	}
	out_close(&o, ']');
	out_close(&o, '}');
	return false;
}

/* ---- probes --------------------------------------------------------------------------------- */

enum health { HEALTH_OK, HEALTH_DEGRADED, HEALTH_FAILED };

struct probe {
	struct buf checks; /* the elements of "checks", written as they are found */
	struct out out;
	enum health worst;
};

static const char *
health_name(enum health health)
{
	switch (health) {
	case HEALTH_OK:
		return "ok";
	case HEALTH_DEGRADED:
		return "degraded";
	case HEALTH_FAILED:
		return "failed";
	}
	abort();
}

static void
probe_check(struct probe *p, const char *name, enum health health, const char *detail)
{
	if (health > p->worst)
		p->worst = health;
	out_open(&p->out, NULL, '{');
	out_text(&p->out, "name", name);
	out_text(&p->out, "status", health_name(health));
	if (health != HEALTH_OK)
		out_text(&p->out, "detail", detail);
	out_close(&p->out, '}');
}

static void
probe_begin(struct probe *p)
{
	*p = (struct probe){ .checks = BUF_INIT };
	p->out = out_begin(&p->checks);
}

/* WORD: "ready", "alive", ... */
static struct out
probe_end(struct request *r, struct probe *p, const char *word)
{
	struct out o = request_json(r);

	if (p->worst == HEALTH_FAILED)
		r->status = MHD_HTTP_SERVICE_UNAVAILABLE;
	out_open(&o, NULL, '{');
	out_text(&o, "status", word);
	if (request_param(r, "verbose")) {
		out_open(&o, "checks", '[');
		buf_str(o.buf, buf_as_str(&p->checks));
		out_close(&o, ']');
	}
	buf_free(&p->checks);
	return o;
}

static void
progress(struct out *o, struct http *h)
{
	out_open(o, "recovery", '{');
	out_num(o, "segments_recovered", atomic_load(&h->recovered));
	out_num(o, "segments", atomic_load(&h->to_recover));
	out_close(o, '}');
}

bool
livez_ask(struct request *r)
{
	struct probe p;
	struct out o;

	probe_begin(&p);
	probe_check(&p, "process", HEALTH_OK, NULL);
	o = probe_end(r, &p, "alive");
	out_close(&o, '}');
	return false;
}

static void
recovery_tell(struct request *r, bool started)
{
	struct probe p;
	struct out o;

	probe_begin(&p);
	probe_check(&p, "recovery", started ? HEALTH_OK : HEALTH_FAILED,
		    "the journal is being recovered");
	o = probe_end(r, &p, started ? "started" : "recovering");
	if (!started)
		progress(&o, r->http);
	out_close(&o, '}');
}

bool
startupz_ask(struct request *r)
{
	recovery_tell(r, atomic_load(&r->http->state) != HTTP_RECOVERING);
	return false;
}

bool
readyz_ask(struct request *r)
{
	const struct str *require = request_param(r, "require");

	if (require && !str_eq(*require, STR("kafka"))) {
		request_problem(r, PROBLEM_BAD_PARAMETER, "require: kafka");
		return false;
	}
	if (atomic_load(&r->http->state) == HTTP_RECOVERING) {
		recovery_tell(r, false);
		return false;
	}
	return snapshot_ask(r);
}

void
readyz_tell(struct request *r)
{
	const struct snapshot *s = r->mail.snapshot;
	enum health kafka = request_param(r, "require") ? HEALTH_FAILED : HEALTH_DEGRADED;
	bool draining = atomic_load(&r->http->state) == HTTP_DRAINING;
	const char *word = "ready";
	struct probe p;
	struct out o;

	probe_begin(&p);
	probe_check(&p, "recovery", HEALTH_OK, NULL);
	probe_check(&p, "serving", draining ? HEALTH_FAILED : HEALTH_OK, "the daemon is stopping");
	probe_check(&p, "journal", s->journal.full ? HEALTH_FAILED : HEALTH_OK,
		    "the journal is full: half-sends are refused, decisions go on");
	probe_check(&p, "keys", s->core.keys_full ? HEALTH_FAILED : HEALTH_OK,
		    "limits.keys.memory is reached: half-sends are refused");
	probe_check(&p, "kafka", s->relay.up ? HEALTH_OK : kafka,
		    "Kafka is away: committed messages wait in the journal");
	probe_check(&p, "cluster", s->core.foreign_cluster ? kafka : HEALTH_OK,
		    "this is another Kafka cluster than the journal's: nothing is published");
	probe_check(&p, "lanes", s->core.lanes_frozen ? HEALTH_DEGRADED : HEALTH_OK,
		    "some lanes are frozen: see /api/v1/topics");
	if (p.worst == HEALTH_FAILED)
		word = draining ? "draining" : "not_ready";
	else if (p.worst == HEALTH_DEGRADED)
		word = "degraded";
	o = probe_end(r, &p, word);
	out_close(&o, '}');
}

/* ---- the state of the whole -------------------------------------------------------------- */

static void
write_counts(struct out *o, const struct snapshot *s)
{
	out_open(o, "transactions", '{');
	for (unsigned state = TXN_PREPARED; state <= TXN_DISCARDED; state++)
		out_num(o, txn_state_name((enum txn_state)state), s->core.rows[state]);
	out_close(o, '}');
	out_time(o, "undecided_oldest", s->core.undecided_oldest_ms);
	out_num(o, "index_bytes", s->core.rows_bytes);
	out_num(o, "groups", s->core.groups);
	out_num(o, "connections", s->remoting.connections);
}

static void
write_rates(struct out *o, const struct snapshot *s)
{
	struct tally_rates rates = tally_rates(&s->tally, &s->core, s->now_ns);

	out_open(o, "per_second", '{');
	out_real(o, "half_sends", rates.half_sends);
	out_real(o, "commits", rates.commits);
	out_real(o, "rollbacks", rates.rollbacks);
	out_real(o, "published", rates.published);
	out_real(o, "checks", rates.checks);
	out_close(o, '}');
}

static void
write_quantiles(struct out *o, const char *key, const struct histogram *h,
		const int64_t bounds_ns[TALLY_BOUNDS])
{
	out_open(o, key, '{');
	out_num(o, "count", h->count);
	if (h->count) {
		out_real(o, "p50_below_ms",
			 (double)histogram_quantile_ns(h, bounds_ns, 0.5) / (double)NS_PER_MS);
		out_real(o, "p99_below_ms",
			 (double)histogram_quantile_ns(h, bounds_ns, 0.99) / (double)NS_PER_MS);
	} else {
		out_null(o, "p50_below_ms");
		out_null(o, "p99_below_ms");
	}
	out_close(o, '}');
}

static void
write_alarms(struct out *o, const struct tally *t)
{
	uint64_t n = min_u64(t->alarm_count, HTTP_ALARMS);
	char gid[GID_TEXT];

	out_num(o, "errors_total", t->alarm_count);
	out_open(o, "last_errors", '[');
	for (uint64_t i = 0; i < n; i++) { /* newest first */
		const struct alarm *a = &t->alarms[(t->alarm_count - 1 - i) % HTTP_ALARMS];

		out_open(o, NULL, '{');
		out_time(o, "at", a->ms);
		out_text(o, "kind", tally_alarm_name(a->kind));
		if (a->gid.hi || a->gid.lo) {
			gid_format(a->gid, gid);
			out_text(o, "gid", gid);
		}
		if (a->kind == NOTE_LANE_FROZEN)
			out_signed(o, "partition", a->partition);
		if (a->kind == NOTE_LANE_FROZEN || a->kind == NOTE_UNPUBLISHABLE)
			out_signed(o, "kafka_code", a->value);
		out_text(o, "text", a->text);
		out_close(o, '}');
	}
	out_close(o, ']');
}

static void
write_journal(struct out *o, const struct snapshot *s)
{
	const struct journal_stats *j = &s->journal;
	char id[33];

	for (size_t i = 0; i < sizeof(s->journal_id); i++)
		snprintf(id + 2 * i, 3, "%02x", s->journal_id[i]);
	out_text(o, "id", id);
	out_flag(o, "full", j->full);
	out_num(o, "quota_bytes", j->quota_bytes);
	out_num(o, "live_bytes", j->live_bytes);
	out_id(o, "appended_lsn", j->appended_lsn);
	out_id(o, "durable_lsn", j->durable_lsn);
	out_num(o, "segments", j->segments);
	out_num(o, "spares", j->spares);
	out_id(o, "oldest_segment", j->oldest_segment);
	out_id(o, "newest_segment", j->newest_segment);
	out_num(o, "records", j->records);
	out_num(o, "groups", j->groups);
	out_num(o, "syncs", j->syncs);
	out_real(o, "records_per_group", j->groups ? (double)j->records / (double)j->groups : 0);
	out_real(o, "sync_mean_ms", (double)j->sync_ns_mean / (double)NS_PER_MS);
}

static void
write_kafka(struct out *o, const struct snapshot *s)
{
	out_flag(o, "up", s->relay.up);
	out_flag(o, "cluster_known", s->relay.cluster_known);
	out_flag(o, "foreign_cluster", s->core.foreign_cluster);
	out_num(o, "publish_pending", s->core.publish_pending);
	out_time(o, "publish_oldest", s->core.publish_oldest_ms);
	out_num(o, "in_flight", s->relay.in_flight);
	out_num(o, "lanes", s->core.lanes);
	out_num(o, "lanes_frozen", s->core.lanes_frozen);
}

void
status_tell(struct request *r)
{
	const struct snapshot *s = r->mail.snapshot;
	const struct http_conf *conf = &r->http->conf;
	struct out o = request_json(r);

	out_open(&o, NULL, '{');
	out_text(&o, "version", conf->version);
	out_text(&o, "revision", conf->revision);
	out_text(&o, "librdkafka", conf->librdkafka);
	out_text(&o, "state",
		 atomic_load(&r->http->state) == HTTP_DRAINING ? "draining" : "serving");
	out_time(&o, "now", s->wall_ms);
	out_time(&o, "started", r->http->started_ms);
	out_num(&o, "uptime_s",
		s->wall_ms > r->http->started_ms ? (s->wall_ms - r->http->started_ms) / 1000 : 0);
	write_counts(&o, s);
	write_rates(&o, s);
	write_quantiles(&o, "half_send", &s->tally.half_send, tally_fast_ns);
	write_quantiles(&o, "decision_delay", &s->tally.decision, tally_slow_ns);
	write_quantiles(&o, "publish", &s->tally.publish, tally_fast_ns);
	out_open(&o, "journal", '{');
	write_journal(&o, s);
	out_close(&o, '}');
	out_open(&o, "kafka", '{');
	write_kafka(&o, s);
	out_close(&o, '}');
	write_alarms(&o, &s->tally);
	out_close(&o, '}');
}

/* Doubling buckets, without the empty ones at the end. */
static void
write_doubling(struct out *o, const char *key, const char *unit, const uint64_t *counts, size_t n)
{
	while (n && counts[n - 1] == 0)
		n--;
	out_open(o, key, '[');
	for (size_t i = 0; i < n; i++) {
		out_open(o, NULL, '{');
		out_num(o, unit, UINT64_C(1) << i);
		out_num(o, "count", counts[i]);
		out_close(o, '}');
	}
	out_close(o, ']');
}

void
journal_tell(struct request *r)
{
	const struct snapshot *s = r->mail.snapshot;
	const struct journal_stats *j = &s->journal;
	struct out o = request_json(r);

	out_open(&o, NULL, '{');
	write_journal(&o, s);
	out_num(&o, "bytes_written", j->bytes_written);
	out_num(&o, "bytes_copied", j->bytes_copied);
	out_num(&o, "segments_reclaimed", j->reclaimed);
	out_num(&o, "fetch_hits", j->fetch_hits);
	out_num(&o, "fetch_misses", j->fetch_misses);
	write_doubling(&o, "sync_histogram", "below_us", j->sync_histogram,
		       ARRAY_LEN(j->sync_histogram));
	write_doubling(&o, "group_histogram", "below_records", j->group_histogram,
		       ARRAY_LEN(j->group_histogram));
	out_close(&o, '}');
}

void
kafka_tell(struct request *r)
{
	const struct snapshot *s = r->mail.snapshot;
	struct out o = request_json(r);

	out_open(&o, NULL, '{');
	write_kafka(&o, s);
	out_num(&o, "published", s->core.published);
	out_num(&o, "refused", s->core.refused);
	out_num(&o, "retries", s->core.publish_retries);
	out_num(&o, "handle_rebuilds", s->relay.rebuilds);
	out_signed(&o, "last_error_code", s->relay.last_code);
	out_str(&o, "last_error", s->relay.last_error[0] ? str_of(s->relay.last_error) : STR_NONE);
	out_close(&o, '}');
}
