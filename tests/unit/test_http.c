/*
 * test_http.c -- the HTTP side against a clerk of paper.
 *
 * The listener, its threads and its limits are real; the loop is a thread here that fills
 * mails from constants.  What the core would do with a command is not this test's matter, what
 * reaches the core is.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <jansson.h>

#include "base/err.h"
#include "http/request.h"
#include "protocol.h"
#include "unit.h"

#define GID "0000018f3b9e0000000000000000002a"
#define TXN "/api/v1/transactions/" GID

/* ---- the loop of paper ------------------------------------------------------------------- */

struct paper {
	struct net net;
	int fd;
	pthread_t thread;
	atomic_bool stopping;
	atomic_bool hold;    /* commands are kept waiting */
	atomic_int answer;   /* enum answer_code of commands */
	atomic_int commands; /* how many reached the clerk */
	struct operation op; /* the last one; `who` and `reason` below */
	char who[256];
	char reason[2048];
	struct list_query query;
	struct http *http;
	uint16_t port;
};

static struct paper paper;
/* Who holds the dam keeps HTTP threads in their wake(), who holds the mill the loop's thread. */
static pthread_mutex_t dam = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t mill = PTHREAD_MUTEX_INITIALIZER;
static atomic_int woken;

static void
wake(struct net *n)
{
	uint64_t one = 1;

	(void)n;
	pthread_mutex_lock(&dam);
	pthread_mutex_unlock(&dam);
	atomic_fetch_add(&woken, 1);
	ck_assert_int_eq(write(paper.fd, &one, sizeof(one)), sizeof(one));
}

static const struct net_ops paper_net = { .wake = wake };

static struct row_view
row(void)
{
	struct gid gid;

	ck_assert_int_eq(gid_parse(STR(GID), &gid), 0);
	return (struct row_view){ .gid = gid,
				  .state = TXN_PREPARED,
				  .checks = 3,
				  .etag = UINT64_C(18446744073709551615),
				  .group = STR("orders"),
				  .arrived_ms = 1700000000123,
				  .due_in_ms = 1500,
				  .count = 1,
				  .topic = STR("orders.paid"),
				  .place = { 4096, 100 } };
}

static void
fill_txn(struct mail *m)
{
	static const struct message msg = { .topic = { "orders.paid", 11 },
					    .key = { "k\xff", 2 },
					    .value = { "hello", 5 },
					    .plain_bytes = 5 };
	struct half half = { .group = STR("orders"),
			     .key = STR("id-1"),
			     .from = STR("10.0.0.4:5"),
			     .kind = EDGE_ROCKETMQ,
			     .count = 1,
			     .messages = &msg };
	struct row_view r = row();

	if (!gid_eq(m->gid, r.gid)) {
		m->err = ERR_NOTFOUND;
		return;
	}
	mail_take_rows(m, &r, 1);
	if (!m->want_half)
		return;
	m->timeline = mem_alloc(2 * sizeof(*m->timeline));
	m->timeline[0] = (struct timeline_event){ .ms = 1700000000123,
						  .kind = NOTE_TRANSITION,
						  .to = TXN_PREPARED };
	m->timeline[1] = (struct timeline_event){ .ms = 1700000006123,
						  .kind = NOTE_CHECK_ANSWERED,
						  .peer = 7 };
	m->timeline_count = 2;
	m->half = half_copy(&half, m->value_bytes, m->whole_if_packed);
}

static bool
operate(struct mail *m)
{
	paper.op = m->op;
	snprintf(paper.who, sizeof(paper.who), "%.*s", STR_ARG(m->op.who));
	snprintf(paper.reason, sizeof(paper.reason), "%.*s", STR_ARG(m->op.reason));
	m->answer = (struct answer){ .code = (enum answer_code)atomic_load(&paper.answer),
				     .state = TXN_COMMITTED };
	atomic_fetch_add(&paper.commands, 1);
	return !atomic_load(&paper.hold);
}

static bool
fill(void *arg, struct mail *m, int64_t now_ns)
{
	struct row_view rows[2] = { row(), row() };

	(void)arg;
	(void)now_ns;
	m->wall_ms = 1700000010000;
	switch (m->kind) {
	case MAIL_SNAPSHOT:
		m->snapshot = mem_alloc(sizeof(*m->snapshot));
		m->snapshot->core.rows[TXN_PREPARED] = 12;
		m->snapshot->relay.up = false;
		m->snapshot->relay.mapping_failures = 3;
		if (m->want_topics) {
			m->snapshot->topics = mem_alloc(sizeof(*m->snapshot->topics));
			m->snapshot->topic_count = 1;
			snprintf(m->snapshot->topics[0].name, 32, "a\"b");
			m->snapshot->topics[0].pending = 4;
			m->snapshot->core.publish_pending = 5;
		}
		return true;
	case MAIL_LIST:
		paper.query = m->query;
		mail_take_rows(m, rows, 2);
		m->next_seq = 77;
		return true;
	case MAIL_TXN:
		fill_txn(m);
		return true;
	case MAIL_OPERATE:
		return operate(m);
	case MAIL_GROUPS:
		m->groups = mem_alloc(sizeof(*m->groups));
		snprintf(m->groups[0].name, 32, "orders");
		m->groups[0].silent = true;
		m->count = 1;
		m->next = 9;
		return true;
	case MAIL_TOPICS:
	case MAIL_CONNECTIONS:
		return true;
	case MAIL_WATERMARK:
		m->watermark = row().gid;
		m->unpublished = gid_make(1, 0, 1);
		return true;
	}
	return true;
}

static void *
turns(void *arg)
{
	static const struct clerk clerk = { NULL, fill };
	uint64_t n;

	(void)arg;
	while (!atomic_load(&paper.stopping)) {
		ck_assert_int_eq(read(paper.fd, &n, sizeof(n)), sizeof(n));
		pthread_mutex_lock(&mill);
		mailbox_turn(paper.http->mailbox, &clerk, 0);
		pthread_mutex_unlock(&mill);
	}
	return NULL;
}

static void
start(enum http_state state, bool write, int64_t first_ns)
{
	struct http_conf conf = { .address = "127.0.0.1:0",
				  .admin_write = write,
				  .hosts = "one.example,two.example",
				  .max_topics = 200,
				  .version = "9.9.9",
				  .revision = "abc",
				  .librdkafka = "2.0.2",
				  .first_ns = first_ns };
	struct net_addr addr;

	paper.net.ops = &paper_net;
	paper.fd = eventfd(0, EFD_CLOEXEC);
	ck_assert_int_eq(http_start(&conf, &paper.net, &paper.http), 0);
	http_addr(paper.http, &addr);
	paper.port = addr.port;
	atomic_store(&paper.http->state, state);
	ck_assert_int_eq(pthread_create(&paper.thread, NULL, turns, NULL), 0);
}

/* The loop's thread ends first, as main() does it: then nothing else fills mails. */
static void
stop_turns(void)
{
	atomic_store(&paper.stopping, true);
	wake(&paper.net);
	pthread_join(paper.thread, NULL);
}

static void
stop(void)
{
	stop_turns();
	http_stop(paper.http);
	close(paper.fd);
}

/* ---- a client of bytes ---------------------------------------------------------------------- */

static int
dial(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(paper.port) };
	struct timeval patience = { .tv_sec = 20 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ck_assert_int_ge(fd, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

static void
say(int fd, const char *bytes)
{
	size_t n = strlen(bytes);

	while (n) {
		ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL);

		ck_assert_int_gt(sent, 0);
		bytes += sent;
		n -= (size_t)sent;
	}
}

static char reply[1 << 20];

/* Until the end of the stream, which must come. */
static const char *
hear(int fd)
{
	size_t len = 0;

	for (;;) {
		ssize_t n = recv(fd, reply + len, sizeof(reply) - 1 - len, 0);

		if (n <= 0) {
			ck_assert_msg(n == 0 || errno == ECONNRESET, "no end: %s", strerror(errno));
			break;
		}
		len += (size_t)n;
	}
	reply[len] = '\0';
	close(fd);
	return reply;
}

static const char *
talk(const char *bytes)
{
	int fd = dial();

	say(fd, bytes);
	return hear(fd);
}

static const char *
get(const char *target, const char *headers)
{
	char text[4096];

	snprintf(text, sizeof(text),
		 "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s\r\n", target,
		 headers);
	return talk(text);
}

static const char *
post(const char *target, const char *headers, const char *body)
{
	static char text[200000];

	snprintf(text, sizeof(text),
		 "POST %s HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %zu\r\n%s\r\n%s", target,
		 strstr(headers, "Content-Type") ? "" : "Content-Type: application/json\r\n",
		 strlen(body), headers, body);
	return talk(text);
}

static int
status(const char *answer)
{
	ck_assert_msg(strncmp(answer, "HTTP/1.1 ", 9) == 0, "no answer: %.200s", answer);
	return (int)strtol(answer + 9, NULL, 10);
}

static json_t *
json_of(const char *answer)
{
	const char *body = strstr(answer, "\r\n\r\n");
	json_error_t error;
	json_t *value;

	ck_assert_ptr_nonnull(body);
	value = json_loads(body + 4, JSON_REJECT_DUPLICATES, &error);
	ck_assert_msg(value != NULL, "%s in %s", error.text, body);
	return value;
}

#define ck_has(answer, text)                                                                       \
	ck_assert_msg(strstr(answer, text) != NULL, "no %s in %s", text, answer)
#define ck_lacks(answer, text) ck_assert_msg(strstr(answer, text) == NULL, "%s in %s", text, answer)

/* ---- probes ------------------------------------------------------------------------------ */

/* An orchestrator would kill a daemon that recovers for minutes, or send it producers too early. */
START_TEST(test_recovering)
{
	const char *a;

	start(HTTP_RECOVERING, false, 0);
	atomic_store(&paper.http->recovered, 12);
	atomic_store(&paper.http->to_recover, 40);
	ck_assert_int_eq(status(get("/livez", "")), 200);
	a = get("/readyz?verbose", "");
	ck_assert_int_eq(status(a), 503);
	ck_has(a, "\"segments_recovered\":12,\"segments\":40");
	ck_assert_int_eq(status(get("/startupz", "")), 503);
	a = get("/api/v1/status", "");
	ck_assert_int_eq(status(a), 503);
	ck_has(a, "Retry-After: 1\r\n");
	ck_has(a, "ESC-1403");
	ck_assert_int_eq(status(get("/", "")), 200);
	stop();
}
END_TEST

/* With Kafka away half-sends are still taken: a probe that says no would make one outage two. */
START_TEST(test_ready)
{
	const char *a;

	start(HTTP_SERVING, false, 0);
	a = get("/readyz?verbose", "");
	ck_assert_int_eq(status(a), 200);
	ck_has(a, "\"status\":\"degraded\"");
	json_decref(json_of(a));
	ck_assert_int_eq(status(get("/healthz", "")), 200);
	ck_assert_int_eq(status(get("/readyz?require=kafka", "")), 503);
	ck_assert_int_eq(status(get("/readyz?require=kafca", "")), 400);
	ck_assert_int_eq(status(get("/startupz", "")), 200);
	http_draining(paper.http);
	a = get("/readyz", "");
	ck_assert_int_eq(status(a), 503);
	ck_has(a, "draining");
	stop();
}
END_TEST

/* ---- reading ----------------------------------------------------------------------------- */

/* A typing error in a filter would show all transactions instead of those meant. */
START_TEST(test_parameters)
{
	static const char *const bad[] = {
		"sate=prepared", "state=preparde", "state=",
		"limit=501",     "limit=-1",       "limit=1x",
		"min_age=30",    "min_age=5y",     "order=old",
		"fields=gidd",   "key=a",          "id=123",
		"cursor=n5",     "cursor=",        "limit=1&limit=2",
		"group=a%00b",   "group=",         "id=" GID "&limit=4",
	};
	char target[256];

	start(HTTP_SERVING, false, 0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		snprintf(target, sizeof(target), "/api/v1/transactions?%s", bad[i]);
		ck_assert_msg(status(get(target, "")) == 400, "%s: %s", bad[i], reply);
		ck_has(reply, "application/problem+json");
		json_decref(json_of(reply));
	}
	stop();
}
END_TEST

/* Who follows `next` would leave transactions out, or see others than were filtered. */
START_TEST(test_list)
{
	const char *a;
	json_t *page, *first;

	start(HTTP_SERVING, false, 0);
	a = get("/api/v1/"
		"transactions?state=parked,prepared&group=a%26b&min_age=5m&min_checks=2&order="
		"newest"
		"&limit=2&cursor=n99",
		"");
	ck_assert_int_eq(status(a), 200);
	ck_has(a, "Link: </api/v1/transactions?state=parked%2Cprepared&group=a%26b&min_age=5m&"
		  "min_checks=2&order=newest&limit=2&cursor=n77>; rel=\"next\"\r\n");
	page = json_of(a);
	ck_assert_str_eq(json_string_value(json_object_get(page, "next")), "n77");
	ck_assert_uint_eq(json_array_size(json_object_get(page, "transactions")), 2);
	first = json_array_get(json_object_get(page, "transactions"), 0);
	ck_assert_str_eq(json_string_value(json_object_get(first, "gid")), GID);
	ck_assert_str_eq(json_string_value(json_object_get(first, "state")), "prepared");
	ck_assert_str_eq(json_string_value(json_object_get(first, "etag")), "18446744073709551615");
	ck_assert_str_eq(json_string_value(json_object_get(first, "arrived")),
			 "2023-11-14T22:13:20.123Z");
	ck_assert_int_eq(json_integer_value(json_object_get(first, "arrived_ms")), 1700000000123);
	ck_assert_int_eq(json_integer_value(json_object_get(first, "age_ms")), 9877);
	ck_assert(json_is_null(json_object_get(first, "decided")));
	json_decref(page);
	ck_assert_uint_eq(paper.query.states, 1u << TXN_PARKED | 1u << TXN_PREPARED);
	ck_assert_uint_eq(paper.query.min_age_ms, 300000);
	ck_assert_uint_eq(paper.query.after_seq, 99);
	ck_assert_uint_eq(paper.query.limit, 2);
	ck_assert(paper.query.newest_first);
	a = get("/api/v1/transactions?fields=state", "");
	ck_has(a, "{\"transactions\":[{\"gid\":\"" GID "\",\"state\":\"prepared\"},");
	a = get("/api/v1/transactions?id=" GID, "");
	ck_has(a, "\"next\":null");
	ck_has(a, GID);
	a = get("/api/v1/transactions?id=00000000000000000000000000000001", "");
	ck_has(a, "{\"transactions\":[],\"next\":null}");
	stop();
}
END_TEST

/* A payload is the customer's secret: only who sits at this machine may see it. */
START_TEST(test_transaction)
{
	const char *a;
	json_t *t, *part;

	start(HTTP_SERVING, false, 0);
	a = get(TXN, "X-Request-Id: abc-1.2_3\r\n");
	ck_assert_int_eq(status(a), 200);
	ck_has(a, "ETag: \"18446744073709551615\"\r\n");
	ck_has(a, "X-Request-Id: abc-1.2_3\r\n");
	ck_lacks(a, "hello");
	t = json_of(a);
	ck_assert_uint_eq(json_array_size(json_object_get(t, "timeline")), 2);
	part = json_array_get(json_object_get(t, "parts"), 0);
	ck_assert_str_eq(json_string_value(json_object_get(part, "key")), "k\xef\xbf\xbd");
	ck_assert_int_eq(json_integer_value(json_object_get(part, "value_bytes")), 5);
	json_decref(t);
	ck_has(get(TXN "?payload=text", ""), "\"payload\":\"hello\",\"payload_cut\":false");
	ck_has(get(TXN "?payload=base64&max=4", ""),
	       "\"payload\":\"aGVsbA==\",\"payload_cut\":true");
	ck_assert_int_eq(status(get(TXN "?payload=text", "X-Forwarded-For: 9.9.9.9\r\n")), 403);
	ck_assert_int_eq(status(talk("GET " TXN "?payload=text HTTP/1.1\r\nHost: evil.example\r\n"
				     "Connection: close\r\n\r\n")),
			 403);
	ck_assert_int_eq(status(get("/api/v1/transactions/00000000000000000000000000000001", "")),
			 404);
	ck_assert_int_eq(status(get("/api/v1/transactions/nonsense", "")), 400);
	ck_lacks(get(TXN, "X-Request-Id: a b\r\n"), "X-Request-Id");
	stop();
}
END_TEST

/* A client that guesses the method or the path would not learn what is possible. */
START_TEST(test_methods)
{
	const char *a;

	start(HTTP_SERVING, true, 0);
	a = talk("HEAD /api/v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	ck_assert_int_eq(status(a), 200);
	ck_assert_str_eq(strstr(a, "\r\n\r\n"), "\r\n\r\n");
	a = talk("OPTIONS /api/v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	ck_assert_int_eq(status(a), 204);
	ck_has(a, "Allow: GET, HEAD, OPTIONS\r\n");
	a = talk("DELETE /api/v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	ck_assert_int_eq(status(a), 405);
	ck_assert_int_eq(status(get(TXN ":commit", "")), 405);
	ck_assert_int_eq(status(get("/nothing", "")), 404);
	ck_assert_int_eq(status(get("/api/v1/../v1/status", "")), 404);
	ck_assert_int_eq(status(get("/livez%22", "")), 404);
	a = get("/", "Accept: application/json\r\n");
	ck_has(a, "\"path\":\"/api/v1/transactions/{gid}:discard\"");
	json_decref(json_of(a));
	ck_has(get("/", ""), "<!doctype html>");
	a = get("/api/v1/groups?limit=1", "");
	ck_has(a, "\"silent\":true");
	ck_has(a, "Link: </api/v1/groups?limit=1&cursor=9>");
	ck_assert_int_eq(status(get("/api/v1/topics", "")), 200);
	ck_assert_int_eq(status(get("/api/v1/connections", "")), 200);
	ck_assert_int_eq(status(get("/api/v1/watermarks", "")), 400);
	a = get("/api/v1/watermarks?db_id=" GID, "");
	ck_has(a, "\"oldest_undecided_gid\":\"" GID "\"");
	ck_has(a, "\"oldest_unpublished_gid\":\"00000000000100000000000000000001\"");
	json_decref(json_of(get("/api/v1/status", "")));
	json_decref(json_of(get("/api/v1/journal", "")));
	json_decref(json_of(get("/api/v1/kafka", "")));
	stop();
}
END_TEST

/* Dashboards and alerts are written against these names. */
START_TEST(test_metrics)
{
	static const char *const names[] = {
		"escrow_transactions{state=\"prepared\"} 12",
		"escrow_transactions{state=\"undeliverable\"} 0",
		"escrow_undecided_oldest_timestamp_seconds 0",
		"escrow_half_sends_total{result=\"ok\"} 0",
		"escrow_half_send_repeats_total 0",
		"escrow_requests_waiting 0",
		"escrow_connection_faults_total{fault=\"malformed\"} 0",
		"escrow_sent_bytes_total 0",
		"escrow_half_send_duration_seconds_count 0",
		"escrow_decisions_total{decision=\"rollback\",origin=\"check\"} 0",
		"escrow_decision_delay_seconds_bucket{le=\"+Inf\"} 0",
		"escrow_checks_sent_total 0",
		"escrow_check_answers_total{answer=\"unknown\"} 0",
		"escrow_publish_total{result=\"acknowledged\"} 0",
		"escrow_mapping_failures_total 3",
		"escrow_publish_duration_seconds_sum 0",
		"escrow_publish_pending{topic=\"a\\\"b\"} 4",
		"escrow_publish_pending{topic=\"other\"} 1",
		"escrow_publish_oldest_timestamp_seconds 0",
		"escrow_publish_lanes_frozen{topic=\"other\"} 0",
		"escrow_journal_sync_duration_seconds_count 0",
		"escrow_journal_group_records_bucket{le=\"1\"} 0",
		"escrow_journal_bytes{kind=\"live\"} 0",
		"escrow_kafka_up 0",
		"escrow_connections 0",
		"escrow_build_info{version=\"9.9.9\",revision=\"abc\",librdkafka=\"2.0.2\"} 1",
		"process_resident_memory_bytes ",
		"process_open_fds ",
	};
	const char *a;

	start(HTTP_SERVING, false, 0);
	a = get("/metrics", "");
	ck_has(a, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n");
	ck_has(a, "# TYPE escrow_half_sends_total counter\n");
	ck_lacks(a, "# EOF");
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		ck_has(a, names[i]);
	a = get("/metrics",
		"Accept: application/openmetrics-text; version=1.0.0,text/plain;q=0.5\r\n");
	ck_has(a, "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n");
	ck_has(a, "# TYPE escrow_half_sends counter\n");
	ck_has(a, "escrow_half_sends_total{result=\"ok\"} 0\n");
	ck_assert_str_eq(a + strlen(a) - 6, "# EOF\n");
	stop();
}
END_TEST

/* ---- commands ---------------------------------------------------------------------------- */

/* Another's transaction would be decided by whoever can reach the port. */
START_TEST(test_command_allowed)
{
	/* Some proxies tell no more than the scheme, or the host that was asked for. */
	static const char *const proxies[] = { "X-Forwarded-For: 1.2.3.4\r\n",
					       "x-forwarded-proto: https\r\n",
					       "X-Forwarded-Host: escrow\r\n",
					       "X-Original-URL: /\r\n",
					       "X-Envoy-External-Address: 1.2.3.4\r\n",
					       "CF-Connecting-IP: 1.2.3.4\r\n",
					       "True-Client-IP: 1.2.3.4\r\n",
					       "X-Real-IP: 1.2.3.4\r\n",
					       "Forwarded: for=1.2.3.4\r\n",
					       "Via: 1.1 proxy\r\n" };

	start(HTTP_SERVING, false, 0);
	ck_assert_int_eq(status(post(TXN ":commit", "", "{\"reason\":\"x\"}")), 403);
	ck_has(reply, "ESC-1101");
	paper.http->conf.admin_write = true;
	for (size_t i = 0; i < ARRAY_LEN(proxies); i++)
		ck_assert_int_eq(status(post(TXN ":commit", proxies[i], "{\"reason\":\"x\"}")),
				 403);
	ck_assert_int_eq(status(post(TXN ":commit", "Origin: http://evil.example\r\n",
				     "{\"reason\":\"x\"}")),
			 403);
	ck_assert_int_eq(status(post(TXN ":commit", "Origin: null\r\n", "{\"reason\":\"x\"}")),
			 403);
	ck_assert_int_eq(status(post(TXN ":commit", "Sec-Fetch-Site: cross-site\r\n",
				     "{\"reason\":\"x\"}")),
			 403);
	ck_assert_int_eq(status(talk("POST " TXN ":commit HTTP/1.1\r\nHost: evil.example:7780\r\n"
				     "Content-Type: application/json\r\nContent-Length: 14\r\n\r\n"
				     "{\"reason\":\"x\"}")),
			 403);
	ck_assert_int_eq(status(talk("POST " TXN ":commit HTTP/1.1\r\nHost: 127.evil.example\r\n"
				     "Content-Type: application/json\r\nContent-Length: 14\r\n\r\n"
				     "{\"reason\":\"x\"}")),
			 403);
	ck_assert_int_eq(atomic_load(&paper.commands), 0);
	ck_assert_int_eq(status(post(TXN ":commit", "Origin: http://localhost\r\n",
				     "{\"reason\":\"x\"}")),
			 200);
	ck_assert_int_eq(atomic_load(&paper.commands), 1);
	stop();
}
END_TEST

static int
asked_as(const char *host, const char *target, const char *headers)
{
	char text[512];

	snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s\r\n",
		 target, host, headers);
	return status(talk(text));
}

/* Any page that a browser on this machine shows could read keys, groups and gids. */
START_TEST(test_rebinding)
{
	static const char *const ours[] = { "localhost:7780", "127.0.0.1",  "127.0.0.2:7780",
					    "10.0.0.7:7780",  "[::1]:7780", "escrow-0:7780" };
	static const char *const theirs[] = { "evil.example:7780", "127.evil.example",
					      "127.0.0.1.evil.example:7780", "evil.:7780" };
	static const char *const targets[] = { "/api/v1/transactions", "/api/v1/groups",
					       "/api/v1/status", "/metrics", TXN };

	start(HTTP_SERVING, false, 0);
	for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
		for (size_t j = 0; j < ARRAY_LEN(ours); j++)
			ck_assert_int_eq(asked_as(ours[j], targets[i], ""), 200);
		for (size_t j = 0; j < ARRAY_LEN(theirs); j++) {
			ck_assert_int_eq(asked_as(theirs[j], targets[i], ""), 403);
			ck_has(reply, "ESC-1103");
		}
		/* a page may say that it is a proxy; one that hands on Host has its name listed */
		ck_assert_int_eq(asked_as("evil.example", targets[i],
					  "X-Forwarded-For: 10.0.0.9\r\n"),
				 403);
		ck_assert_int_eq(asked_as("Two.example:443", targets[i],
					  "X-Forwarded-For: 10.0.0.9\r\n"),
				 200);
		ck_assert_int_eq(asked_as("two.example.evil.example", targets[i], ""), 403);
	}
	ck_assert_int_eq(asked_as("evil.example", "/livez", ""), 200);
	stop();
}
END_TEST

/* The audit would not say who and why, or the wrong thing would be done. */
START_TEST(test_command)
{
	struct gid gid;
	const char *a;

	start(HTTP_SERVING, true, 0);
	a = post(TXN ":rollback", "If-Match: \"18446744073709551615\"\r\n",
		 "{\"reason\":\"order was \\u00e9t\xc3\xa9 \\\"x\\\"\",\"who\":\"ann\"}");
	ck_assert_int_eq(status(a), 200);
	ck_has(a, "Connection: close\r\n");
	ck_has(a, "{\"outcome\":\"ok\",\"gid\":\"" GID
		  "\",\"verb\":\"rollback\",\"state\":\"committed\"}");
	ck_assert_int_eq(gid_parse(STR(GID), &gid), 0);
	ck_assert(gid_eq(paper.op.gid, gid));
	ck_assert_int_eq(paper.op.verb, VERB_ROLLBACK);
	ck_assert(paper.op.has_etag);
	ck_assert_uint_eq(paper.op.etag, UINT64_MAX);
	ck_assert_str_eq(paper.who, "ann");
	ck_assert_str_eq(paper.reason, "order was \xc3\xa9t\xc3\xa9 \"x\"");
	ck_assert_int_eq(status(post(TXN ":check", "", "{\"reason\":\"x\"}")), 200);
	ck_assert_int_eq(paper.op.verb, VERB_CHECK);
	ck_assert(!paper.op.has_etag);
	ck_assert_int_eq(strncmp(paper.who, "127.0.0.1:", 10), 0);
	stop();
}
END_TEST

/* Something half understood would be done. */
START_TEST(test_command_body)
{
	static const struct {
		int status;
		const char *headers;
		const char *body;
	} bad[] = {
		{ 400, "", "" },
		{ 400, "", "{}" },
		{ 400, "", "[]" },
		{ 400, "", "{\"reason\":\"\"}" },
		{ 400, "", "{\"reason\":7}" },
		{ 400, "", "{\"reason\":\"a\\u0000b\"}" },
		{ 400, "", "{\"reason\":\"a\\nb\"}" },
		{ 400, "", "{\"reason\":\"a\",\"reason\":\"b\"}" },
		{ 400, "", "{\"reason\":\"a\",\"force\":true}" },
		{ 400, "", "{\"reason\":\"a\"} x" },
		{ 400, "",
		  "{\"reason\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[" },
		{ 400, "If-Match: 5\r\n", "{\"reason\":\"a\"}" },
		{ 400, "If-Match: \"5\", \"6\"\r\n", "{\"reason\":\"a\"}" },
		{ 400, "If-Match: W/\"5\"\r\n", "{\"reason\":\"a\"}" },
		{ 415, "Content-Type: text/plain\r\n", "{\"reason\":\"a\"}" },
		{ 415, "Content-Type: application/jsonp\r\n", "{\"reason\":\"a\"}" },
		{ 415, "Content-Type: \r\n", "{\"reason\":\"a\"}" },
	};
	static char body[100001];

	start(HTTP_SERVING, true, 0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		ck_assert_msg(status(post(TXN ":commit", bad[i].headers, bad[i].body)) ==
				      bad[i].status,
			      "%zu: %s", i, reply);
	ck_assert_int_eq(status(post(TXN ":commit?reason=x", "", "{\"reason\":\"a\"}")), 400);
	memset(body, ' ', sizeof(body) - 1);
	ck_assert_int_eq(status(post(TXN ":commit", "", body)), 413);
	ck_assert_int_eq(atomic_load(&paper.commands), 0);
	stop();
}
END_TEST

/* A client would do the wrong thing next: repeat what is final, or give up what is not. */
START_TEST(test_command_answers)
{
	static const struct {
		enum answer_code code;
		int status;
		const char *has;
	} answers[] = {
		{ ANSWER_BUSY, 503, "Retry-After: 1" },
		{ ANSWER_DRAINING, 503, "\"retriable\":true" },
		{ ANSWER_NOT_FOUND, 404, "ESC-1201" },
		{ ANSWER_DECIDED, 409, "\"winner\":\"commit\"" },
		{ ANSWER_STATE, 409, "ESC-1205" },
		{ ANSWER_MOVED, 412, "ESC-1206" },
		{ ANSWER_REFUSED, 422, "ESC-1207" },
		{ ANSWER_STALE, 200, "\"outcome\":\"stale\"" },
	};

	start(HTTP_SERVING, true, 0);
	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		atomic_store(&paper.answer, (int)answers[i].code);
		ck_assert_int_eq(status(post(TXN ":commit", "", "{\"reason\":\"x\"}")),
				 answers[i].status);
		ck_has(reply, answers[i].has);
		json_decref(json_of(reply));
	}
	stop();
}
END_TEST

/* ---- hostile peers ----------------------------------------------------------------------- */

/* A request hidden in another's body would pass a proxy that had refused it. */
START_TEST(test_smuggling)
{
	static const char *const framing[] = {
		"Content-Length: 0\r\nContent-Length: 94\r\n",
		"Content-Length: 94\r\nContent-Length: 94\r\n",
		"Content-Length: 94\r\nTransfer-Encoding: chunked\r\n",
		"Transfer-Encoding: chunked\r\nContent-Length: 94\r\n",
		"Transfer-Encoding: xchunked\r\n",
		"Content-Length : 5\r\n",
		"Cont\aent-Length: 5\r\n",
		"X: a\v\r\n",
		"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
	};
	char text[2048];

	start(HTTP_SERVING, true, 0);
	for (size_t i = 0; i < ARRAY_LEN(framing); i++) {
		const char *a;

		for (int post = 0; post < 2; post++) {
			snprintf(text, sizeof(text),
				 "%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
				 "application/json\r\n%s\r\n"
				 "POST " TXN ":commit HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
				 "application/json\r\nContent-Length: 14\r\n\r\n{\"reason\":\"x\"}",
				 post ? "POST " TXN ":check" : "GET /api/v1/status", framing[i]);
			a = talk(text);
			if (a[0]) { /* closed without a word is as good */
				ck_assert_msg(status(a) == 400, "%s: %s", framing[i], a);
				ck_assert_ptr_null(strstr(a + 5, "HTTP/1.1"));
			}
		}
	}
	ck_assert_int_eq(atomic_load(&paper.commands), 0);
	/* A body where none belongs is read by nobody, so nothing behind it is either. */
	ck_assert_int_eq(
		status(talk("GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")),
		400);
	ck_assert_int_eq(status(talk("GET /livez HTTP/1.1\r\n\r\n")), 400); /* no Host */
	/* Chunked alone is fine. */
	ck_assert_int_eq(status(talk("POST " TXN
				     ":check HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
				     "application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
				     "e\r\n{\"reason\":\"x\"}\r\n0\r\n\r\n")),
			 200);
	stop();
}
END_TEST

/* A body without a declared length would fill memory. */
START_TEST(test_endless_body)
{
	static char chunk[8192 + 16];
	const char *a;
	int fd;

	start(HTTP_SERVING, true, 0);
	fd = dial();
	say(fd,
	    "POST " TXN ":check HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
	    "Transfer-Encoding: chunked\r\n\r\n");
	snprintf(chunk, sizeof(chunk), "2000\r\n%08192d\r\n", 1);
	for (int i = 0; i < 9; i++)
		say(fd, chunk);
	say(fd, "0\r\n\r\n");
	a = hear(fd);
	ck_assert_int_eq(status(a), 413);
	ck_assert_int_eq(atomic_load(&paper.commands), 0);
	stop();
}
END_TEST

/* Eighty peers that never finish a request would lock the operator out. */
START_TEST(test_slow_peers)
{
	int fds[80];

	start(HTTP_SERVING, false, 200 * NS_PER_MS);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		fds[i] = dial();
		say(fds[i], "GET /livez HTTP/1.1\r\nHost: lo");
	}
	ck_assert_int_eq(status(get("/readyz", "")), 200);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		hear(fds[i]); /* the end comes, and nothing was answered */
	stop();
}
END_TEST

/* Silent connections would use up all the slots, and the probe's with them. */
START_TEST(test_flood)
{
	static int fds[HTTP_FRESH_CONNS + 40];

	start(HTTP_SERVING, false, 0);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = dial();
	ck_assert_int_eq(status(get("/livez", "")), 200);
	hear(fds[0]); /* the oldest had to go */
	for (size_t i = 1; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
	stop();
}
END_TEST

/* One operator's stuck script would keep everybody from deciding anything. */
START_TEST(test_command_limit)
{
	int fds[HTTP_MUTATION_CONNS_PER_IP];

	start(HTTP_SERVING, true, 0);
	atomic_store(&paper.hold, true);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		fds[i] = dial();
		say(fds[i], "POST " TXN ":check HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
			    "application/json\r\nContent-Length: 14\r\n\r\n{\"reason\":\"x\"}");
	}
	while (atomic_load(&paper.commands) < (int)ARRAY_LEN(fds))
		poll(NULL, 0, 1);
	ck_assert_int_eq(status(post(TXN ":check", "", "{\"reason\":\"x\"}")), 503);
	ck_has(reply, "ESC-1404");
	ck_assert_int_eq(status(get("/readyz", "")), 200);
	/* The daemon stops, and who waits is told. */
	stop_turns();
	paper.http = http_stop(paper.http);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		ck_assert_int_eq(status(hear(fds[i])), 503);
}
END_TEST

/* Reads one answer of a connection that is kept alive. */
static void
hear_one(int fd)
{
	char text[16384];
	size_t len = 0;

	for (;;) {
		ssize_t n = recv(fd, text + len, sizeof(text) - 1 - len, 0);
		const char *end, *length;

		ck_assert_msg(n > 0, "stalled: %s", n ? strerror(errno) : "closed");
		len += (size_t)n;
		text[len] = '\0';
		end = strstr(text, "\r\n\r\n");
		length = strstr(text, "Content-Length: ");
		if (end && length &&
		    len == (size_t)(end - text) + 4 + strtoul(length + 16, NULL, 10)) {
			ck_assert_int_eq(status(text), 200);
			return;
		}
	}
}

/*
 * Dashboards and scrapers would hang: a thread of libmicrohttpd that finds exactly 128 sockets
 * ready waits for one more before it looks at any (limits.h).  So one more each time is ready.
 */
START_TEST(test_many_connections)
{
	static int fds[280];

	start(HTTP_SERVING, false, 0);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		fds[i] = dial();
		say(fds[i], "GET /api/v1/status HTTP/1.1\r\nHost: x\r\n\r\n");
		hear_one(fds[i]);
	}
	for (size_t n = 120; n <= ARRAY_LEN(fds); n++) {
		pthread_mutex_lock(&mill);
		pthread_mutex_lock(&dam);
		atomic_store(&woken, 0);
		for (size_t i = 0; i < n; i++)
			say(fds[i], "GET /api/v1/topics HTTP/1.1\r\nHost: x\r\n\r\n");
		pthread_mutex_unlock(&dam);
		for (int ms = 0; atomic_load(&woken) < (int)n; ms++) {
			ck_assert_msg(ms < 5000, "%d of %zu came", atomic_load(&woken), n);
			poll(NULL, 0, 1);
		}
		pthread_mutex_unlock(&mill);
		for (size_t i = 0; i < n; i++)
			hear_one(fds[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
	stop();
}
END_TEST

/* ---- small parts ------------------------------------------------------------------------- */

/* Two daemons on one port would take turns with the operator's requests. */
START_TEST(test_address)
{
	struct http_conf conf = { .version = "v", .revision = "r", .librdkafka = "k" };
	static const char *const bad[] = { "127.0.0.1", "127.0.0.1:", ":80", "127.0.0.1:x",
					   "[::1]" };
	struct http *h = NULL;
	char address[64];

	start(HTTP_SERVING, false, 0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		conf.address = bad[i];
		ck_assert_int_eq(http_start(&conf, &paper.net, &h), ERR_CONFIG);
	}
	snprintf(address, sizeof(address), "127.0.0.1:%u", paper.port);
	conf.address = address;
	ck_assert_int_eq(http_start(&conf, &paper.net, &h), ERR_EXISTS);
	stop();
}
END_TEST

/* A topic's or key's odd bytes would break every reader of the answer. */
START_TEST(test_out)
{
	struct buf b = BUF_INIT;
	struct out o = out_begin(&b);

	out_open(&o, NULL, '[');
	out_str(&o, NULL, STR("a\"\\\n\x7f\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"));
	out_str(&o, NULL, STR("\xc0\x80\xed\xa0\x80\xf5\xc3"));
	out_real(&o, NULL, 0.5);
	out_base64(&o, NULL, STR("ab"));
	out_close(&o, ']');
	buf_u8(&b, '\0');
	ck_assert_str_eq(b.data,
			 "[\"a\\\"\\\\\\u000a\\u007f\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\","
			 "\"\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\",0.5,\"YWI=\"]");
	buf_free(&b);
}
END_TEST

/* Latencies would be shown where there were none, or in the wrong bucket. */
START_TEST(test_tally)
{
	struct note note = { .kind = NOTE_TRANSITION,
			     .from = TXN_PREPARED,
			     .to = TXN_COMMITTED,
			     .gid = gid_make(1000, 0, 1),
			     .lasted_ns = -1 };
	struct core_stats stats = { 0 };
	static struct tally t;

	tally_note(&t, &note, 1040); /* 40 ms: in (10, 50] */
	ck_assert_uint_eq(t.decision.counts[3], 1);
	tally_note(&t, &note, 900); /* the clock went back */
	ck_assert_uint_eq(t.decision.counts[0], 1);
	note.lasted_ns = 0; /* the core knows it */
	tally_note(&t, &note, 5000);
	ck_assert_uint_eq(t.decision.counts[0], 2);
	ck_assert_int_eq(histogram_quantile_ns(&t.decision, tally_slow_ns, 0.99), 50 * NS_PER_MS);
	for (int i = 0; i < 40; i++) {
		stats.published = (uint64_t)i * 100;
		tally_sample(&t, &stats, i * NS_PER_S);
	}
	ck_assert_double_eq_tol(tally_rates(&t, &stats, 39 * NS_PER_S).published, 100, 1e-6);
	note = (struct note){ .kind = NOTE_GROUP_SILENT, .text = STR("orders") };
	for (int i = 0; i < HTTP_ALARMS + 3; i++)
		tally_note(&t, &note, (uint64_t)i);
	ck_assert_uint_eq(t.alarm_count, HTTP_ALARMS + 3);
}
END_TEST

/* An endpoint that README.md does not tell of is not there for anybody. */
START_TEST(test_readme)
{
	FILE *f = fopen(SOURCE_ROOT "/broker/http/README.md", "re");
	static char text[100000];

	ck_assert_ptr_nonnull(f);
	text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
	fclose(f);
	for (const struct route *route = routes; route->method; route++) {
		const char *verb = strrchr(route->path, ':');

		ck_has(text, verb ? verb : route->path);
	}
#define X(name, status, number, slug, retriable, title) ck_has(text, "ESC-" #number);
	PROBLEM_LIST(X)
#undef X
}
END_TEST

/* And an answer that PROTOCOL.md does not have is one that no program expects. */
START_TEST(test_conditions)
{
	char cells[4][200];
	unsigned status;

#define X(name, text)                                                                              \
	ck_assert_msg(protocol_row(#name, cells) || protocol_row(#name ", end", cells), #name);    \
	status = problem_of(ANSWER_##name) ? problem_status(problem_of(ANSWER_##name)) : 200;      \
	if (!strstr(cells[2], "answers to checks only") && !strstr(cells[2], "producers only"))    \
		ck_assert_msg(protocol_number(cells[2]) == (int)status,                            \
			      "%s is %u, documented as %s", #name, status, cells[2]);
	ANSWER_LIST(X)
#undef X
}
END_TEST

UNIT("http", test_recovering, test_ready, test_parameters, test_list, test_transaction,
     test_methods, test_metrics, test_command_allowed, test_rebinding, test_command,
     test_command_body, test_command_answers, test_smuggling, test_endless_body, test_slow_peers,
     test_flood, test_command_limit, test_many_connections, test_address, test_out, test_tally,
     test_readme, test_conditions);
