/*
 * metrics.c -- everything countable, for Prometheus.
 *
 * Names, units and labels follow Prometheus' rules: one prefix, base units, counters end in
 * _total, histograms and no summaries.  No label can grow without bound: topics are
 * capped at metrics.max_topics, and what is beyond is added up under "other".
 *
 * The two formats differ in three things only: where a counter's TYPE line leaves out _total,
 * the content type, and "# EOF".
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "http/endpoints.h"

struct metrics {
	struct buf *buf;
	bool open;        /* OpenMetrics */
	const char *name; /* of the family that samples belong to */
};

static void
family(struct metrics *m, const char *name, const char *type, const char *help)
{
	size_t n = strlen(name);

	m->name = name;
	if (m->open && strcmp(type, "counter") == 0)
		n -= strlen("_total");
	buf_printf(m->buf, "# HELP %.*s %s\n# TYPE %.*s %s\n", (int)n, name, help, (int)n, name,
		   type);
}

/* LABELS: 'state="prepared"', or NULL. */
static void
sample(struct metrics *m, const char *labels, uint64_t value)
{
	buf_printf(m->buf, "%s%s%s%s %llu\n", m->name, labels ? "{" : "", labels ? labels : "",
		   labels ? "}" : "", (unsigned long long)value);
}

static void
sample_real(struct metrics *m, double value)
{
	buf_printf(m->buf, "%s %.17g\n", m->name, value);
}

static void
single(struct metrics *m, const char *name, const char *type, const char *help, uint64_t value)
{
	family(m, name, type, help);
	sample(m, NULL, value);
}

static void
single_real(struct metrics *m, const char *name, const char *type, const char *help, double value)
{
	family(m, name, type, help);
	sample_real(m, value);
}

/* Topic names come from producers: '\\', '"' and newlines are escaped. */
static void
topic_sample(struct metrics *m, const char *topic, uint64_t value)
{
	buf_printf(m->buf, "%s{topic=\"", m->name);
	for (const char *c = topic; *c; c++) {
		if (*c == '\\' || *c == '"')
			buf_u8(m->buf, '\\');
		buf_u8(m->buf, *c == '\n' ? ' ' : (uint8_t)*c);
	}
	buf_printf(m->buf, "\"} %llu\n", (unsigned long long)value);
}

/* ---- histograms ------------------------------------------------------------------------------ */

static void
durations(struct metrics *m, const char *name, const char *help, const struct histogram *h,
	  const int64_t bounds_ns[TALLY_BOUNDS])
{
	uint64_t sum = 0;

	family(m, name, "histogram", help);
	for (size_t i = 0; i < TALLY_BOUNDS; i++) {
		sum += h->counts[i];
		buf_printf(m->buf, "%s_bucket{le=\"%.9g\"} %llu\n", name,
			   (double)bounds_ns[i] / 1e9, (unsigned long long)sum);
	}
	buf_printf(m->buf, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %.9g\n%s_count %llu\n", name,
		   (unsigned long long)h->count, name, (double)h->sum_ns / 1e9, name,
		   (unsigned long long)h->count);
}

/*
 * counts[i] holds what is under 2^i units and not under 2^(i-1).  LESS is what makes that bound
 * an inclusive one: 0 for measured durations, 1 for whole numbers.
 */
static void
doubling(struct metrics *m, const char *name, const char *help, const uint64_t *counts, size_t n,
	 size_t first, size_t last, double unit, double less, double total)
{
	uint64_t sum = 0;

	family(m, name, "histogram", help);
	for (size_t i = 0; i < n; i++) {
		sum += counts[i];
		if (i >= first && i <= last)
			buf_printf(m->buf, "%s_bucket{le=\"%.9g\"} %llu\n", name,
				   ((double)(UINT64_C(1) << i) - less) * unit,
				   (unsigned long long)sum);
	}
	buf_printf(m->buf, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %.9g\n%s_count %llu\n", name,
		   (unsigned long long)sum, name, total, name, (unsigned long long)sum);
}

/* ---- the families ------------------------------------------------------------------------ */

static void
transactions(struct metrics *m, const struct snapshot *s)
{
	static const enum txn_state shown[] = { TXN_PREPARED, TXN_COMMITTED, TXN_PARKED,
						TXN_UNDELIVERABLE };
	char label[64];

	family(m, "escrow_transactions", "gauge", "Transactions that are not finished, by state.");
	for (size_t i = 0; i < ARRAY_LEN(shown); i++) {
		snprintf(label, sizeof(label), "state=\"%s\"", txn_state_name(shown[i]));
		sample(m, label, s->core.rows[shown[i]]);
	}
	single_real(m, "escrow_undecided_oldest_timestamp_seconds", "gauge",
		    "When the oldest undecided transaction was half-sent; 0: there is none.",
		    (double)s->core.undecided_oldest_ms / 1e3);
}

static void
half_sends(struct metrics *m, const struct snapshot *s)
{
	char label[64];

	family(m, "escrow_half_sends_total", "counter", "Half-sends answered, by result.");
	for (unsigned i = 0; i < ARRAY_LEN(s->core.half_sends); i++) {
		if (i != ANSWER_OK && i != ANSWER_BUSY && s->core.half_sends[i] == 0)
			continue; /* most answers are none of a half-send */
		snprintf(label, sizeof(label), "result=\"%s\"", answer_name((enum answer_code)i));
		sample(m, label, s->core.half_sends[i]);
	}
	single(m, "escrow_half_send_repeats_total", "counter",
	       "Half-sends of a message that was known by its key.", s->core.half_repeats);
	single(m, "escrow_requests_waiting", "gauge",
	       "Requests kept until a record is durable, Kafka tells of a topic, or the next turn.",
	       s->core.deferred);
	durations(m, "escrow_half_send_duration_seconds",
		  "From a half-send's arrival until it was durable.", &s->tally.half_send,
		  tally_fast_ns);
}

static void
decisions(struct metrics *m, const struct snapshot *s)
{
	static const char *const decision[] = { "commit", "rollback" };
	static const struct {
		enum origin origin;
		const char *name;
	} origins[] = { { ORIGIN_CLIENT, "client" },
			{ ORIGIN_CHECK, "check" },
			{ ORIGIN_OPERATOR, "operator" } };
	char label[64];

	family(m, "escrow_decisions_total", "counter", "Transactions decided, and through what.");
	for (size_t d = 0; d < ARRAY_LEN(decision); d++) {
		for (size_t i = 0; i < ARRAY_LEN(origins); i++) {
			snprintf(label, sizeof(label), "decision=\"%s\",origin=\"%s\"", decision[d],
				 origins[i].name);
			sample(m, label, s->core.decisions[d][origins[i].origin]);
		}
	}
	durations(m, "escrow_decision_delay_seconds",
		  "From a half-send until its transaction was decided.", &s->tally.decision,
		  tally_slow_ns);
	single(m, "escrow_contradictions_total", "counter", "Second decisions that were refused.",
	       s->core.contradictions);
}

static void
checks(struct metrics *m, const struct snapshot *s)
{
	static const char *const answers[] = { "unknown", "commit", "rollback" };
	char label[64];

	single(m, "escrow_checks_sent_total", "counter", "Checks written to a connection.",
	       s->core.checks_sent);
	family(m, "escrow_check_answers_total", "counter", "Answers to checks.");
	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		snprintf(label, sizeof(label), "answer=\"%s\"", answers[i]);
		sample(m, label, s->core.check_answers[i]);
	}
	single(m, "escrow_check_answers_stale_total", "counter",
	       "Answers to checks of an older generation.", s->core.stale_answers);
}

static void
publications(struct metrics *m, const struct snapshot *s)
{
	uint64_t pending = 0;
	uint64_t frozen = 0;

	family(m, "escrow_publish_total", "counter",
	       "Messages given to Kafka, by what became of it.");
	sample(m, "result=\"acknowledged\"", s->core.published);
	sample(m, "result=\"refused\"", s->core.refused);
	sample(m, "result=\"retried\"", s->core.publish_retries);
	single(m, "escrow_mapping_failures_total", "counter",
	       "Of those refused, messages that cannot be made Kafka records.",
	       s->relay.mapping_failures);
	durations(m, "escrow_publish_duration_seconds",
		  "From a durable decision until Kafka acknowledged the message.",
		  &s->tally.publish, tally_fast_ns);
	family(m, "escrow_publish_pending", "gauge",
	       "Committed messages that are not published yet.");
	for (uint32_t i = 0; i < s->topic_count; i++) {
		topic_sample(m, s->topics[i].name, s->topics[i].pending);
		pending += s->topics[i].pending;
	}
	topic_sample(m, "other",
		     s->core.publish_pending > pending ? s->core.publish_pending - pending : 0);
	single_real(m, "escrow_publish_oldest_timestamp_seconds", "gauge",
		    "When the oldest of them was decided; 0: there is none.",
		    (double)s->core.publish_oldest_ms / 1e3);
	family(m, "escrow_publish_lanes_frozen", "gauge",
	       "Topic-partitions whose publishing is held up.");
	for (uint32_t i = 0; i < s->topic_count; i++) {
		topic_sample(m, s->topics[i].name, s->topics[i].frozen);
		frozen += s->topics[i].frozen;
	}
	topic_sample(m, "other", s->core.lanes_frozen > frozen ? s->core.lanes_frozen - frozen : 0);
	single(m, "escrow_kafka_up", "gauge", "1 while a Kafka broker answers.", s->relay.up);
}

static void
journal(struct metrics *m, const struct snapshot *s)
{
	const struct journal_stats *j = &s->journal;

	doubling(m, "escrow_journal_sync_duration_seconds", "One sync of the journal.",
		 j->sync_histogram, ARRAY_LEN(j->sync_histogram), 6, 22, 1e-6, 0,
		 (double)j->sync_ns_total / 1e9);
	doubling(m, "escrow_journal_group_records", "Records that shared one write and one sync.",
		 j->group_histogram, ARRAY_LEN(j->group_histogram), 1, 16, 1, 1,
		 (double)j->records);
	family(m, "escrow_journal_bytes", "gauge", "Bytes of the journal's segments.");
	sample(m, "kind=\"live\"", j->live_bytes);
	sample(m, "kind=\"quota\"", j->quota_bytes);
	single(m, "escrow_journal_written_bytes_total", "counter", "Bytes written to the journal.",
	       j->bytes_written);
	single(m, "escrow_journal_copied_bytes_total", "counter",
	       "Of these, bytes that reclaim wrote again.", j->bytes_copied);
	single(m, "escrow_journal_full", "gauge",
	       "1 while half-sends are refused for lack of room.", j->full);
}

static void
edges(struct metrics *m, const struct snapshot *s, const struct http_conf *conf)
{
	char label[256];

	single(m, "escrow_connections", "gauge", "Connected producers.", s->remoting.connections);
	single(m, "escrow_connections_refused_total", "counter",
	       "Connections refused at limits.connections.", s->remoting.refused);
	family(m, "escrow_connection_faults_total", "counter",
	       "Connections closed for what the peer did or did not do.");
	sample(m, "fault=\"malformed\"", s->remoting.malformed);
	sample(m, "fault=\"grpc\"", s->remoting.grpc);
	sample(m, "fault=\"timeout\"", s->remoting.timeouts);
	sample(m, "fault=\"crowded\"", s->remoting.crowded);
	single(m, "escrow_received_bytes_total", "counter", "Bytes read from producers.",
	       s->remoting.bytes_in);
	single(m, "escrow_sent_bytes_total", "counter", "Bytes written to producers.",
	       s->remoting.bytes_out);
	single(m, "escrow_timer_ticks_total", "counter", "Looks at what is due, one a turn.",
	       s->core.ticks);
	single(m, "escrow_timer_visits_total", "counter",
	       "Timer entries looked at: one in each look, and one for each that was due.",
	       s->core.timer_visits);
	single(m, "escrow_index_bytes", "gauge", "Memory of the index of transactions.",
	       s->core.rows_bytes);
	single(m, "escrow_errors_total", "counter", "What /api/v1/status lists under last_errors.",
	       s->tally.alarm_count);
	snprintf(label, sizeof(label), "version=\"%s\",revision=\"%s\",librdkafka=\"%s\"",
		 conf->version, conf->revision, conf->librdkafka);
	family(m, "escrow_build_info", "gauge", "What is running; always 1.");
	sample(m, label, 1);
}

/* ---- the process ------------------------------------------------------------------------- */

static uint64_t
open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	uint64_t n = 0;

	if (!dir)
		return 0;
	while (readdir(dir))
		n++;
	closedir(dir);
	return n > 3 ? n - 3 : 0; /* ".", ".." and the one of opendir() */
}

static void
process(struct metrics *m, const struct http *h)
{
	unsigned long pages = 0;
	unsigned long resident = 0;
	long page = sysconf(_SC_PAGESIZE);
	struct rusage used = { 0 };
	struct rlimit files = { 0 };
	FILE *f = fopen("/proc/self/statm", "re");

	if (f) {
		if (fscanf(f, "%lu %lu", &pages, &resident) != 2)
			pages = resident = 0;
		fclose(f);
	}
	getrusage(RUSAGE_SELF, &used);
	getrlimit(RLIMIT_NOFILE, &files);
	single_real(m, "process_cpu_seconds_total", "counter", "User and system CPU time.",
		    (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
			    (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
	single(m, "process_resident_memory_bytes", "gauge", "Resident memory.",
	       (uint64_t)resident * (uint64_t)page);
	single(m, "process_virtual_memory_bytes", "gauge", "Virtual memory.",
	       (uint64_t)pages * (uint64_t)page);
	single(m, "process_open_fds", "gauge", "Open file descriptors.", open_fds());
	single(m, "process_max_fds", "gauge", "Limit of open file descriptors.", files.rlim_cur);
	single_real(m, "process_start_time_seconds", "gauge", "When the process started.",
		    (double)h->started_ms / 1e3);
}

/* ---- the endpoint ------------------------------------------------------------------------ */

bool
metrics_ask(struct request *r)
{
	r->mail.kind = MAIL_SNAPSHOT;
	r->mail.want_topics = true;
	return true;
}

void
metrics_tell(struct request *r)
{
	const struct snapshot *s = r->mail.snapshot;
	const char *accept = r->headers.accept;
	struct buf text = BUF_INIT;
	struct metrics m = { .buf = &text };

	m.open = accept && strstr(accept, "application/openmetrics-text");
	transactions(&m, s);
	half_sends(&m, s);
	decisions(&m, s);
	checks(&m, s);
	publications(&m, s);
	journal(&m, s);
	edges(&m, s, &r->http->conf);
	process(&m, r->http);
	if (m.open)
		buf_str(&text, STR("# EOF\n"));
	request_text(r, MHD_HTTP_OK,
		     m.open ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
			    : "text/plain; version=0.0.4; charset=utf-8",
		     buf_as_str(&text));
	buf_free(&text);
}
