/*
 * The client library against a broker that follows a script.  What is lost here is lost by every
 * producer: a half-send that is repeated as another one, a decision that contradicts, a status
 * that says "nothing happened" of what did.
 */
#include "folder.h"
#include "unit.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <limits.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "escrow/escrow_table.h"
#include "script.h"

static struct script *s;

static void
setup(void)
{
	s = calloc(1, sizeof(*s));
	atomic_store(&s->hold, 1);
}

static void
teardown(void)
{
	script_stop(s);
	free(s);
}

static escrow_client *
open_client(const char *more)
{
	escrow_client *c = NULL;
	escrow_status st = escrow_open(&c, script_url(s, more));

	ck_assert_msg(st == ESCROW_OK, "%s", escrow_last_error());
	return c;
}

static escrow_message
message(const char *value)
{
	escrow_message m = ESCROW_MESSAGE_INIT;

	m.topic = "orders";
	m.value = value;
	m.value_len = strlen(value);
	return m;
}

static escrow_txn *
half(escrow_client *c)
{
	escrow_message m = message("paid");
	escrow_txn *txn = NULL;
	escrow_status st = escrow_half_send(c, &m, 1, NULL, &txn);

	ck_assert_msg(st == ESCROW_OK, "%s: %s", escrow_status_name(st), escrow_last_error());
	return txn;
}

#define ck_status(st, expected)                                                                    \
	do {                                                                                       \
		escrow_status is_ = (st);                                                          \
		ck_assert_msg(is_ == (expected), "%s, not %s: %s", escrow_status_name(is_),        \
			      escrow_status_name(expected), escrow_last_error());                  \
	} while (0)

/* ---- half-sends and decisions ---------------------------------------------------------------- */

/* Would lose: what a message has besides its value, or all messages but one. */
START_TEST(what_is_half_sent_is_what_the_application_said)
{
	escrow_message m[2] = { message("paid"), ESCROW_MESSAGE_INIT };
	escrow_half_opts opts = ESCROW_HALF_OPTS_INIT;
	escrow_header headers[] = { { "color", "red", 3 }, { "none", NULL, 0 } };
	struct wire_part part;
	escrow_client *c;
	escrow_txn *txn = NULL;
	size_t at = 0;

	script_start(s);
	c = open_client("");
	m[0].key = "";
	m[0].headers = headers;
	m[0].header_count = 2;
	m[1].topic = "stock";
	m[1].partition = 3;
	opts.id = "order-1";
	opts.db_id = "0123456789abcdef";
	opts.check_after_ms = 1001;
	ck_status(escrow_half_send(c, m, 2, &opts, &txn), ESCROW_OK);
	ck_assert_str_eq(escrow_txn_gid(txn), "0000018bcfe568000000000000000001");
	ck_assert_int_eq(escrow_txn_gid_bytes(txn)[15], 1);
	ck_assert_str_eq(s->keys[0], "order-1");
	ck_assert_str_eq(s->db_id, "30313233343536373839616263646566");
	ck_assert_str_eq(s->check_after, "2");
	struct wire_str body = { (char *)s->body, s->body_n };

	ck_assert_int_eq(wire_part_next(body, &at, &part), 1);
	ck_assert(part.topic.n == 6 && memcmp(part.topic.p, "orders", 6) == 0);
	ck_assert(part.key.p && part.key.n == 0 && part.partition == -1);
	ck_assert(part.value.n == 4 && memcmp(part.value.p, "paid", 4) == 0);
	ck_assert(part.headers.n == 16 && memcmp(part.headers.p, "\5color\4red\4none\0", 16) == 0);
	ck_assert_int_eq(wire_part_next(body, &at, &part), 1);
	ck_assert(part.partition == 3 && !part.key.p && !part.value.p && part.headers.n == 0);
	ck_assert_int_eq(wire_part_next(body, &at, &part), 0);

	ck_status(escrow_commit(&txn), ESCROW_OK);
	ck_assert_ptr_null(txn);
	ck_assert_int_eq(s->end.decision, WIRE_COMMIT);
	ck_assert_int_eq(s->end.log_offset, 1);
	ck_assert_int_eq(s->end.state_offset, 1000);
	ck_assert_str_eq(s->end_group, "g");
	ck_assert(!s->end.from_check);
	txn = half(c);
	ck_status(escrow_rollback(&txn), ESCROW_OK);
	ck_assert_int_eq(s->end.decision, WIRE_ROLLBACK);
	ck_status(escrow_close(c, 1000), ESCROW_OK);
}
END_TEST

/* Would lose: a message, half-sent twice under two keys; the first is asked about for ever. */
START_TEST(a_lost_answer_is_asked_for_again_under_the_same_key)
{
	escrow_client *c;
	escrow_txn *txn;
	escrow_stats stats = ESCROW_STATS_INIT;

	script_start(s);
	atomic_store(&s->drop_halves, 2);
	c = open_client("&backoff.ms=5");
	txn = half(c);
	ck_assert_int_eq(atomic_load(&s->halves), 3);
	ck_assert_str_eq(s->keys[0], s->keys[1]);
	ck_assert_str_eq(s->keys[0], s->keys[2]);
	ck_assert_uint_eq(strlen(s->keys[0]), 32);
	ck_status(escrow_commit(&txn), ESCROW_OK);
	txn = half(c);
	ck_assert_str_ne(s->keys[0], s->keys[3]);
	escrow_abandon(&txn);
	ck_status(escrow_get_stats(c, &stats), ESCROW_OK);
	ck_assert_uint_eq(stats.repeats, 2);
	ck_assert_uint_eq(stats.connects, 3);
	ck_assert_uint_eq(stats.half_sends_ok, 2);
	ck_status(escrow_close(c, 1000), ESCROW_OK);
}
END_TEST

/* Would lose: the difference between "may be there" and "is not", which decides what to do next. */
START_TEST(what_was_sent_and_not_answered_is_unknown_and_the_rest_is_not)
{
	escrow_message m = message("paid");
	escrow_txn *txn = NULL;
	escrow_client *c;
	escrow_status st;

	script_start(s);
	atomic_store(&s->drop_halves, 1);
	c = open_client("&timeout.ms=300&backoff.ms=5");
	ck_status(escrow_wait_connected(c, 5000), ESCROW_OK);
	atomic_store(&s->refuse, true);
	st = escrow_half_send(c, &m, 1, NULL, &txn);
	ck_status(st, ESCROW_E_TIMEOUT);
	ck_assert(escrow_is_unknown(st) && !escrow_is_retriable(st));
	ck_assert_int_eq(atomic_load(&s->halves), 1);
	st = escrow_half_send(c, &m, 1, NULL, &txn);
	ck_status(st, ESCROW_E_UNREACHABLE);
	ck_assert(!escrow_is_unknown(st) && escrow_is_retriable(st));
	ck_assert_int_eq(atomic_load(&s->halves), 1);
	atomic_store(&s->refuse, false);
	atomic_store(&s->mute, true);
	ck_status(escrow_wait_connected(c, 10000), ESCROW_OK);
	st = escrow_half_send(c, &m, 1, NULL, &txn);
	ck_status(st, ESCROW_E_TIMEOUT);
	ck_assert_ptr_null(txn);
	ck_status(escrow_close(c, 1000), ESCROW_OK);
}
END_TEST

START_TEST(who_is_busy_is_asked_again_while_there_is_time)
{
	escrow_message m = message("paid");
	escrow_client *c;
	escrow_txn *txn;
	escrow_status st;

	script_start(s);
	c = open_client("&timeout.ms=2000");
	atomic_store(&s->busy, 2);
	txn = half(c);
	ck_assert_int_eq(atomic_load(&s->halves), 3);
	ck_assert_str_eq(s->keys[0], s->keys[2]);
	atomic_store(&s->busy, 1);
	ck_status(escrow_commit(&txn), ESCROW_OK);
	ck_assert_int_eq(atomic_load(&s->ends), 2);
	atomic_store(&s->busy, 1000);
	st = escrow_half_send(c, &m, 1, NULL, &txn);
	ck_status(st, ESCROW_E_BUSY);
	ck_assert(escrow_is_retriable(st));
	ck_status(escrow_close(c, 1000), ESCROW_OK);
}
END_TEST

/* Would lose: the reason why a message was refused, or the news that it is committed already. */
START_TEST(every_answer_has_its_status)
{
	static const struct {
		int code;
		const char *remark;
		escrow_status half, end;
	} cases[] = {
		{ 13, "refused: no", ESCROW_E_REFUSED, ESCROW_E_REFUSED },
		{ 13, "too big: the", ESCROW_E_TOO_BIG, ESCROW_E_TOO_BIG },
		{ 13, "decided: committed, gid 01", ESCROW_E_DECIDED, ESCROW_E_DECIDED },
		{ 13, "key reused, gid 01", ESCROW_E_KEY_REUSED, ESCROW_E_KEY_REUSED },
		{ 17, "topic unknown: x", ESCROW_E_TOPIC, ESCROW_E_TOPIC },
		{ 16, "wrong group", ESCROW_E_AUTH, ESCROW_E_AUTH },
		{ 4, "decided: rolled back", ESCROW_E_DECIDED, ESCROW_E_DECIDED },
		{ 3, "request code", ESCROW_E_UNSUPPORTED, ESCROW_E_UNSUPPORTED },
		{ 1, "not found: it", ESCROW_E_REFUSED, ESCROW_E_NOT_FOUND },
		{ 1, "internal: it", ESCROW_E_REFUSED, ESCROW_E_REFUSED },
	};
	escrow_message m = message("paid");
	escrow_client *c;
	escrow_txn *txn;

	script_start(s);
	c = open_client("");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		s->remark = cases[i].remark;
		atomic_store(&s->half_code, cases[i].code);
		atomic_store(&s->end_code, cases[i].code);
		ck_status(escrow_half_send(c, &m, 1, NULL, &txn), cases[i].half);
		ck_assert_str_eq(escrow_last_error(), cases[i].remark);
		atomic_store(&s->half_code, 0);
		txn = half(c);
		ck_status(escrow_commit(&txn), cases[i].end);
		ck_assert_ptr_null(txn);
		ck_assert_str_eq(escrow_last_error(), cases[i].remark);
	}
	ck_status(escrow_close(c, 1000), ESCROW_OK);
}
END_TEST

/* Would lose: half of the speed of everybody who works one by one. */
START_TEST(a_decision_rides_with_the_next_half_send)
{
	escrow_message m = message("paid");
	escrow_status decided = ESCROW_E_ARG;
	escrow_client *c;
	escrow_txn *txn, *next;

	script_start(s);
	c = open_client("");
	txn = half(c);
	for (int i = 0; i < 5; i++) {
		ck_status(escrow_decide_then_half_send(&txn, ESCROW_COMMIT, &decided, &m, 1, NULL,
						       &next),
			  ESCROW_OK);
		ck_status(decided, ESCROW_OK);
		ck_assert_ptr_null(txn);
		txn = next;
	}
	ck_assert_int_eq(atomic_load(&s->one_read), 5);
	/* Each may fail without the other. */
	m.topic = "";
	ck_status(escrow_decide_then_half_send(&txn, ESCROW_COMMIT, &decided, &m, 1, NULL, &next),
		  ESCROW_E_ARG);
	ck_status(decided, ESCROW_OK);
	m.topic = "orders";
	txn = half(c);
	s->remark = "decided: rolled back";
	atomic_store(&s->end_code, 4);
	ck_status(escrow_decide_then_half_send(&txn, ESCROW_COMMIT, &decided, &m, 1, NULL, &next),
		  ESCROW_OK);
	ck_status(decided, ESCROW_E_DECIDED);
	escrow_abandon(&next);
	ck_status(escrow_close(c, 1000), ESCROW_OK);
}
END_TEST

START_TEST(a_one_way_decision_is_sent_and_not_waited_for)
{
	escrow_decide_opts opts = ESCROW_DECIDE_OPTS_INIT;
	escrow_client *c;
	escrow_txn *txn;

	script_start(s);
	c = open_client("&timeout.ms=1000");
	txn = half(c);
	atomic_store(&s->mute, true);
	opts.flags = ESCROW_ONEWAY;
	opts.remark = "because";
	ck_status(escrow_decide(&txn, ESCROW_ROLLBACK, &opts), ESCROW_OK);
	ck_assert(script_wait(&s->ends, 1));
	ck_assert_str_eq(s->end_remark, "because");
	ck_status(escrow_close(c, 1000), ESCROW_OK);
}
END_TEST

static escrow_decision
local(escrow_txn *txn, void *arg)
{
	ck_assert_uint_eq(strlen(escrow_txn_gid(txn)), 32);
	return *(escrow_decision *)arg;
}

START_TEST(the_local_transaction_decides)
{
	static const struct {
		escrow_decision says;
		escrow_status status;
		int ends;
	} cases[] = { { ESCROW_COMMIT, ESCROW_OK, 1 },
		      { ESCROW_ROLLBACK, ESCROW_E_LOCAL, 2 },
		      { ESCROW_UNKNOWN, ESCROW_E_IN_DOUBT, 2 } };
	escrow_message m = message("paid");
	escrow_client *c;
	int ran;

	script_start(s);
	c = open_client("");
	for (int i = 0; i < 3; i++) {
		escrow_decision says = cases[i].says;

		ck_status(escrow_send_in_txn(c, &m, 1, NULL, local, &says, &ran), cases[i].status);
		ck_assert_int_eq(ran, 1);
		ck_assert_int_eq(atomic_load(&s->ends), cases[i].ends);
	}
	atomic_store(&s->half_code, 13);
	ck_status(escrow_send_in_txn(c, &m, 1, NULL, local, NULL, &ran), ESCROW_E_REFUSED);
	ck_assert_int_eq(ran, 0);
	ck_status(escrow_close(c, 1000), ESCROW_OK);
}
END_TEST

/* ---- many at once ---------------------------------------------------------------------------- */

struct many {
	escrow_client *client;
	atomic_int sent, decided, failed;
};

static void
one_decided(void *arg, escrow_status st)
{
	struct many *m = arg;

	atomic_fetch_add(st == ESCROW_OK ? &m->decided : &m->failed, 1);
}

static void
one_sent(void *arg, escrow_status st, escrow_txn *txn)
{
	struct many *m = arg;

	atomic_fetch_add(st == ESCROW_OK ? &m->sent : &m->failed, 1);
	ck_assert((st == ESCROW_OK) == (txn != NULL));
	if (txn)
		ck_status(escrow_decide_async(&txn, ESCROW_COMMIT, NULL, one_decided, m),
			  ESCROW_OK);
}

/* Would lose: the answer of another request, when answers come in any order. */
START_TEST(a_thousand_under_way_get_each_its_own_answer)
{
	escrow_message m = message("paid");
	struct many many = { NULL, 0, 0, 0 };

	script_start(s);
	atomic_store(&s->hold, 50);
	many.client = open_client("&broker=escrow");
	/* The heartbeat's answer is among them. */
	for (int i = 0; i < 1049; i++)
		ck_status(escrow_half_send_async(many.client, &m, 1, NULL, one_sent, &many),
			  ESCROW_OK);
	ck_assert(script_wait(&many.sent, 1000));
	atomic_store(&s->hold, 1);
	ck_assert_int_eq(atomic_load(&many.failed), 0);
	(void)escrow_close(many.client, 100); /* what is still held was never answered */
	ck_assert_int_eq(atomic_load(&many.sent) + atomic_load(&many.failed) >= 1049, 1);
}
END_TEST

START_TEST(every_request_is_completed_once_whatever_becomes_of_the_connection)
{
	escrow_message m = message("paid");
	struct many many = { NULL, 0, 0, 0 };

	script_start(s);
	many.client = open_client("&backoff.ms=1&backoff.max.ms=5&timeout.ms=20000");
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < 50; i++)
			ck_status(escrow_half_send_async(many.client, &m, 1, NULL, one_sent, &many),
				  ESCROW_OK);
		atomic_store(&s->drop_halves, 1);
	}
	ck_assert(script_wait(&many.decided, 1000));
	ck_status(escrow_flush(many.client, 5000), ESCROW_OK);
	ck_assert_int_eq(atomic_load(&many.sent), 1000);
	ck_assert_int_eq(atomic_load(&many.decided), 1000);
	ck_assert_int_eq(atomic_load(&many.failed), 0);
	ck_status(escrow_close(many.client, 1000), ESCROW_OK);
	ck_assert_int_eq(atomic_load(&many.decided), 1000);
}
END_TEST

static void *
blocking_producer(void *arg)
{
	escrow_client *c = arg;

	for (int i = 0; i < 100; i++) {
		escrow_txn *txn = half(c);

		ck_status(escrow_commit(&txn), ESCROW_OK);
	}
	return NULL;
}

START_TEST(threads_share_one_connection)
{
	pthread_t threads[8];
	escrow_client *c;

	script_start(s);
	c = open_client("");
	for (int i = 0; i < 8; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, blocking_producer, c), 0);
	for (int i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	ck_assert_int_eq(atomic_load(&s->halves), 800);
	ck_assert_int_eq(atomic_load(&s->connections), 1);
	ck_status(escrow_close(c, 1000), ESCROW_OK);
}
END_TEST

/* Would lose: the memory of a producer that is faster than its broker. */
START_TEST(the_window_holds_back_and_lets_go)
{
	escrow_message m = message("paid");
	escrow_half_opts now = ESCROW_HALF_OPTS_INIT;
	struct many many = { NULL, 0, 0, 0 };

	script_start(s);
	atomic_store(&s->hold, 4);
	many.client = open_client("&window=4&broker=escrow");
	ck_assert(script_wait(&s->beats, 1)); /* its answer is the first of four */
	now.flags = ESCROW_NONBLOCK;
	atomic_store(&s->mute, true);
	for (int i = 0; i < 4; i++)
		ck_status(escrow_half_send_async(many.client, &m, 1, NULL, one_sent, &many),
			  ESCROW_OK);
	ck_status(escrow_half_send_async(many.client, &m, 1, &now, one_sent, &many), ESCROW_E_FULL);
	now.flags = 0;
	now.timeout_ms = 50;
	ck_status(escrow_half_send_async(many.client, &m, 1, &now, one_sent, &many), ESCROW_E_FULL);
	ck_assert(script_wait(&s->halves, 4));
	atomic_store(&s->hold, 1);
	atomic_store(&s->mute, false);
	/* All four are sent again once the connection was lost, and make room. */
	atomic_store(&s->drop_halves, 0);
	script_hang_up(s);
	for (int i = 0; i < 100; i++)
		ck_status(escrow_half_send_async(many.client, &m, 1, NULL, one_sent, &many),
			  ESCROW_OK);
	ck_status(escrow_flush(many.client, 5000), ESCROW_OK);
	ck_assert_int_eq(atomic_load(&many.sent), 104);
	ck_status(escrow_close(many.client, 1000), ESCROW_OK);
}
END_TEST

START_TEST(what_lingers_is_sent_by_a_flush)
{
	escrow_message m = message("paid");
	struct many many = { NULL, 0, 0, 0 };

	script_start(s);
	many.client = open_client("&linger.us=1000000");
	ck_status(escrow_wait_connected(many.client, 5000), ESCROW_OK);
	ck_assert(script_wait(&s->beats, 1));
	for (int i = 0; i < 10; i++)
		ck_status(escrow_half_send_async(many.client, &m, 1, NULL, one_sent, &many),
			  ESCROW_OK);
	ck_assert_int_eq(atomic_load(&s->halves), 0);
	ck_status(escrow_flush(many.client, 5000), ESCROW_OK);
	ck_assert_int_eq(atomic_load(&many.sent), 10);
	ck_status(escrow_close(many.client, 1000), ESCROW_OK);
	ck_assert_int_eq(atomic_load(&many.decided), 10);
}
END_TEST

static atomic_bool patient_is_done;

static void *
flush_patiently(void *arg)
{
	escrow_client *c = arg;

	ck_status(escrow_flush(c, 20000), ESCROW_OK);
	atomic_store(&patient_is_done, true);
	return NULL;
}

/* Would lose: the time to end in order, to another thread that has more of it. */
START_TEST(a_flush_does_not_wait_longer_because_another_does)
{
	escrow_message m = message("paid");
	struct many many = { NULL, 0, 0, 0 };
	pthread_t patient;

	script_start(s);
	atomic_store(&s->mute, true);
	many.client = open_client("&timeout.ms=3000&linger.us=1000000");
	ck_status(escrow_wait_connected(many.client, 5000), ESCROW_OK);
	ck_status(escrow_half_send_async(many.client, &m, 1, NULL, one_sent, &many), ESCROW_OK);
	ck_assert_int_eq(pthread_create(&patient, NULL, flush_patiently, many.client), 0);
	ck_assert(script_wait(&s->halves, 1)); /* it lingered, so he is in his flush */
	ck_status(escrow_flush(many.client, 1), ESCROW_E_TIMEOUT);
	ck_assert(!atomic_load(&patient_is_done));
	ck_assert_int_eq(pthread_join(patient, NULL), 0);
	ck_status(escrow_close(many.client, 1000), ESCROW_OK);
}
END_TEST

/* ---- connections ----------------------------------------------------------------------------- */

/* Would lose: everything, to a broker that hangs and whose connection stays open. */
START_TEST(silence_ends_a_connection)
{
	escrow_client *c;
	escrow_txn *txn;

	script_start(s);
	c = open_client("&retry.ms=100&backoff.ms=5");
	ck_status(escrow_wait_connected(c, 5000), ESCROW_OK);
	atomic_store(&s->mute_once, true);
	txn = half(c);
	ck_assert_int_eq(atomic_load(&s->connections), 2);
	ck_assert_str_eq(s->keys[0], s->keys[1]);
	ck_status(escrow_commit(&txn), ESCROW_OK);
	ck_status(escrow_close(c, 1000), ESCROW_OK);
}
END_TEST

START_TEST(the_next_server_is_tried)
{
	char url[128];
	escrow_client *c;
	escrow_txn *txn;

	script_start(s);
	(void)snprintf(url, sizeof(url), "escrow://127.0.0.1:1,127.0.0.1:%d?group=g&backoff.ms=5",
		       s->port);
	ck_status(escrow_open(&c, url), ESCROW_OK);
	txn = half(c);
	escrow_abandon(&txn);
	ck_status(escrow_close(c, 1000), ESCROW_OK);
}
END_TEST

/*
 * A name service of our own, for one name: 127.0.0.N for each of its digits N, '!' at the
 * beginning: it fails, '?': it does not answer until that is gone.
 */
#define NAME "broker.test"
static char addresses[16];
static pthread_mutex_t name_mutex = PTHREAD_MUTEX_INITIALIZER;
static atomic_int lookups;

static void
name_leads_to(const char *digits)
{
	pthread_mutex_lock(&name_mutex);
	(void)snprintf(addresses, sizeof(addresses), "%s", digits);
	pthread_mutex_unlock(&name_mutex);
	atomic_store(&lookups, 0);
}

static char
name_now(char to[sizeof(addresses)])
{
	pthread_mutex_lock(&name_mutex);
	memcpy(to, addresses, sizeof(addresses));
	pthread_mutex_unlock(&name_mutex);
	return to[0];
}

int
getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **ret)
{
	int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
	char now[sizeof(addresses)], ip[] = "127.0.0.x";
	struct addrinfo *first = NULL, **end = &first;
	int err = 0;

	*(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
	if (strcmp(host, NAME) != 0)
		return real(host, port, hints, ret);
	if (hints->ai_flags & AI_NUMERICHOST)
		return EAI_NONAME;
	while (name_now(now) == '?')
		(void)poll(NULL, 0, 1);
	for (const char *digit = now; !err && *digit && *now != '!'; digit++) {
		ip[8] = *digit;
		err = real(ip, port, hints, end);
		while (!err && *end)
			end = &(*end)->ai_next;
	}
	*ret = first;
	atomic_fetch_add(&lookups, 1);
	return *now == '!' ? EAI_AGAIN : err;
}

static escrow_client *
open_by_name(int port, const char *more)
{
	char url[160];
	escrow_client *c = NULL;

	(void)snprintf(url, sizeof(url), "escrow://" NAME ":%d?group=g%s", port, more);
	ck_status(escrow_open(&c, url), ESCROW_OK);
	return c;
}

/* Somebody who takes connections and never says a word. */
static int
mute_at(int n, int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK - 1 + (uint32_t)n),
				 .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	ck_assert_int_eq(listen(fd, 16), 0);
	return fd;
}

/* Would lose: the broker, whose name has a dead address in front of the good one. */
START_TEST(every_address_of_a_name_is_tried_before_there_is_a_pause)
{
	escrow_client *c;
	escrow_txn *txn;
	int mute;

	script_start(s);
	mute = mute_at(2, s->port);
	name_leads_to("231");
	c = open_by_name(s->port, "&connect.ms=50&backoff.ms=60000&backoff.max.ms=60000");
	txn = half(c);
	ck_status(escrow_commit(&txn), ESCROW_OK);
	ck_status(escrow_close(c, 1000), ESCROW_OK);
	close(mute);
}
END_TEST

START_TEST(every_server_is_tried_before_there_is_a_pause)
{
	char url[160];
	escrow_client *c;
	escrow_txn *txn;

	script_start(s);
	(void)snprintf(url, sizeof(url),
		       "escrow://127.0.0.1:1,127.0.0.1:2,127.0.0.1:%d?group=g&backoff.ms=60000"
		       "&backoff.max.ms=60000",
		       s->port);
	ck_status(escrow_open(&c, url), ESCROW_OK);
	txn = half(c);
	escrow_abandon(&txn);
	ck_status(escrow_close(c, 1000), ESCROW_OK);
}
END_TEST

/* Would lose: the good server of a list in which another one is wrong. */
START_TEST(a_stranger_among_servers_fails_nothing)
{
	struct script *other = calloc(1, sizeof(*other));
	char url[160];
	escrow_client *c;
	escrow_txn *txn;

	script_start(s);
	atomic_store(&s->garbage, true);
	atomic_store(&other->hold, 1);
	script_start(other);
	(void)snprintf(url, sizeof(url), "escrow://127.0.0.1:%d,127.0.0.1:%d?group=g", s->port,
		       other->port);
	ck_status(escrow_open(&c, url), ESCROW_OK);
	txn = half(c);
	escrow_abandon(&txn);
	ck_status(escrow_close(c, 1000), ESCROW_OK);
	script_stop(other);
	free(other);
}
END_TEST

/* Would lose: the limit of its own time, and its end, to a name service that does not answer. */
START_TEST(a_name_that_takes_for_ever_holds_up_nobody)
{
	escrow_message m = message("paid");
	escrow_txn *txn = NULL;
	escrow_client *c;

	script_start(s);
	name_leads_to("?");
	c = open_by_name(s->port, "&timeout.ms=50");
	ck_status(escrow_half_send(c, &m, 1, NULL, &txn), ESCROW_E_UNREACHABLE);
	ck_status(escrow_close(c, 1000), ESCROW_OK);
	ck_assert_int_eq(atomic_load(&lookups), 0);
	name_leads_to("1"); /* it comes to an end, and finds nobody who waits */
	ck_assert(script_wait(&lookups, 1));
	c = open_by_name(s->port, "");
	txn = half(c);
	escrow_abandon(&txn);
	ck_status(escrow_close(c, 1000), ESCROW_OK);
}
END_TEST

/* Would lose: the broker, until the application is started anew. */
START_TEST(a_broker_that_moved_is_found_again)
{
	struct script *there = calloc(1, sizeof(*there));
	escrow_client *c;
	escrow_txn *txn;

	script_start(s);
	atomic_store(&there->hold, 1);
	script_start_at(there, 2, s->port);
	name_leads_to("1");
	c = open_by_name(s->port, "&backoff.ms=5&refresh.ms=10");
	txn = half(c);
	escrow_abandon(&txn);
	/* The name fails, or leads to where nobody is: the connection that there is stays. */
	name_leads_to("!");
	ck_assert(script_wait(&lookups, 5));
	name_leads_to("3");
	ck_assert(script_wait(&lookups, 5));
	ck_assert_int_eq(atomic_load(&s->connections), 1);
	/* It leads to another broker, and the old one never hung up. */
	name_leads_to("2");
	ck_assert(script_wait(&there->beats, 1));
	txn = half(c);
	ck_assert_int_eq(atomic_load(&there->halves), 1);
	ck_status(escrow_commit(&txn), ESCROW_OK);
	ck_assert_int_eq(atomic_load(&s->halves), 1);
	ck_assert(script_wait(&lookups, 5));
	txn = half(c);
	escrow_abandon(&txn);
	/* And back, because this one is gone. */
	name_leads_to("1");
	atomic_store(&there->mute, true);
	atomic_store(&there->refuse, true);
	script_hang_up(there);
	txn = half(c);
	ck_assert_int_eq(atomic_load(&s->halves), 2);
	escrow_abandon(&txn);
	ck_status(escrow_close(c, 1000), ESCROW_OK);
	script_stop(there);
	free(there);
}
END_TEST

START_TEST(a_stranger_at_the_address_is_told_apart)
{
	escrow_message m = message("paid");
	escrow_client *c;
	escrow_txn *txn;
	escrow_status st;

	script_start(s);
	atomic_store(&s->garbage, true);
	c = open_client("&backoff.ms=5");
	st = escrow_half_send(c, &m, 1, NULL, &txn);
	ck_status(st, ESCROW_E_PROTOCOL);
	ck_assert(escrow_is_fatal(st));
	atomic_store(&s->garbage, false);
	/* Somebody mended it. */
	while ((st = escrow_half_send(c, &m, 1, NULL, &txn)) == ESCROW_E_PROTOCOL)
		;
	ck_status(st, ESCROW_OK);
	escrow_abandon(&txn);
	ck_status(escrow_close(c, 1000), ESCROW_OK);
}
END_TEST

/* Would lose: a message at a broker that does not know what it was asked. */
START_TEST(rocketmq_gets_what_it_knows_and_the_rest_is_refused)
{
	escrow_message m[2] = { message("paid"), message("two") };
	escrow_header header = { "color", "red", 3 };
	escrow_half_opts opts = ESCROW_HALF_OPTS_INIT;
	unsigned char gid[ESCROW_GID_SIZE];
	escrow_client *c;
	escrow_txn *txn;

	script_start(s);
	atomic_store(&s->hello_code, WIRE_NOT_SUPPORTED);
	c = open_client("");
	m[0].key = "k1";
	m[0].key_len = 2;
	m[0].headers = &header;
	m[0].header_count = 1;
	opts.id = "U1";
	ck_status(escrow_half_send(c, m, 1, &opts, &txn), ESCROW_OK);
	ck_assert_int_eq(s->code, WIRE_SEND_V2);
	ck_assert_str_eq(s->properties, "TRAN_MSG\1true\2PGROUP\1g\2UNIQ_KEY\1U1\2WAIT\1true\2"
					"KEYS\1k1\2color\1red\2");
	ck_assert(s->body_n == 4 && memcmp(s->body, "paid", 4) == 0);
	ck_assert_str_eq(escrow_txn_gid(txn), "00000000000000000000000000000000");
	ck_status(escrow_commit(&txn), ESCROW_OK);
	ck_assert_int_eq(s->end.log_offset, 1);
	ck_assert_int_eq(s->end.state_offset, 1000);
	ck_status(escrow_half_send(c, m, 2, NULL, &txn), ESCROW_E_UNSUPPORTED);
	header.value = NULL;
	header.len = 0;
	ck_status(escrow_half_send(c, m, 1, NULL, &txn), ESCROW_E_UNSUPPORTED);
	m[0].header_count = 0;
	m[0].key = "\1\2";
	ck_status(escrow_half_send(c, m, 1, NULL, &txn), ESCROW_E_UNSUPPORTED);
	m[0].key = NULL;
	m[0].key_len = 0;
	opts.db_id = "0123456789abcdef";
	ck_status(escrow_half_send(c, m, 1, &opts, &txn), ESCROW_E_UNSUPPORTED);
	ck_assert_ptr_nonnull(strstr(escrow_last_error(), "no fence"));
	ck_status(escrow_oldest_undecided(c, "0123456789abcdef", 1000, gid), ESCROW_E_UNSUPPORTED);
	ck_status(escrow_close(c, 1000), ESCROW_OK);
}
END_TEST

/* What one broker may have taken is not "nothing happened" because the next one cannot do it. */
START_TEST(what_was_sent_to_escrow_is_in_doubt_at_rocketmq)
{
	escrow_half_opts opts = ESCROW_HALF_OPTS_INIT;
	escrow_message m = message("paid");
	escrow_client *c;
	escrow_txn *txn;

	script_start(s);
	c = open_client("");
	ck_status(escrow_wait_connected(c, 5000), ESCROW_OK);
	atomic_store(&s->hello_code, WIRE_NOT_SUPPORTED);
	atomic_store(&s->drop_halves, 1);
	opts.db_id = "0123456789abcdef";
	ck_status(escrow_half_send(c, &m, 1, &opts, &txn), ESCROW_E_TIMEOUT);
	ck_assert_ptr_nonnull(strstr(escrow_last_error(), "no fence"));
	ck_assert_int_eq(atomic_load(&s->halves), 1);
	ck_status(escrow_close(c, 1000), ESCROW_OK);
}
END_TEST

/* Would lose: a thread, to a loop that ends only when there is a connection. */
START_TEST(a_time_that_is_none_is_over)
{
	escrow_client *c;

	ck_status(escrow_open(&c, "escrow://127.0.0.1:1?group=g"), ESCROW_OK);
	ck_status(escrow_wait_connected(c, INT_MIN), ESCROW_E_UNREACHABLE);
	ck_status(escrow_wait_connected(c, -1), ESCROW_E_UNREACHABLE);
	ck_status(escrow_flush(c, INT_MIN), ESCROW_OK);
	ck_status(escrow_close(c, INT_MIN), ESCROW_OK);
}
END_TEST

static escrow_decision
knows_nothing(const escrow_view *view, void *arg)
{
	escrow_message m = ESCROW_MESSAGE_INIT;

	(void)arg;
	/* The script's checks carry one, as RocketMQ's do: but there it is the UNIQ_KEY. */
	ck_assert_str_eq(escrow_view_gid(view), "00000000000000000000000000000000");
	ck_assert_int_eq(escrow_view_gid_bytes(view)[15], 0);
	ck_status(escrow_view_message(view, 0, &m), ESCROW_OK);
	ck_assert_uint_eq(m.header_count, 1);
	ck_assert_str_eq(m.headers[0].name, "color");
	return ESCROW_UNKNOWN;
}

static void
no_complaint(void *arg, escrow_log_level level, const char *text)
{
	if (level != ESCROW_LOG_INFO && !strstr(text, "this broker is RocketMQ"))
		atomic_fetch_add((atomic_int *)arg, 1);
}

/* Would lose: seconds for every transaction that is left to its check, and the connection. */
START_TEST(rocketmq_does_not_answer_who_knows_nothing)
{
	escrow_conf *conf = escrow_conf_new();
	atomic_int complaints = 0;
	escrow_client *c;
	escrow_txn *txn;

	script_start(s);
	atomic_store(&s->hello_code, WIRE_NOT_SUPPORTED);
	ck_assert_ptr_nonnull(conf);
	escrow_conf_set_log(conf, no_complaint, &complaints);
	ck_status(escrow_conf_set_url(conf, script_url(s, "&timeout.ms=2000")), ESCROW_OK);
	ck_status(escrow_open_conf(&c, conf), ESCROW_OK);
	ck_status(escrow_on_check(c, NULL, knows_nothing, NULL), ESCROW_OK);
	txn = half(c);
	ck_status(escrow_decide(&txn, ESCROW_UNKNOWN, NULL), ESCROW_OK);
	ck_assert(script_wait(&s->ends, 1));
	script_check(s, "g", 7, 1);
	ck_assert(script_wait(&s->ends, 2));
	ck_assert_int_eq(s->end.decision, WIRE_UNKNOWN);
	ck_status(escrow_flush(c, 1000), ESCROW_OK);
	ck_status(escrow_close(c, 1000), ESCROW_OK);
	ck_assert_int_eq(atomic_load(&complaints), 0);
}
END_TEST

START_TEST(the_watermark_is_told)
{
	unsigned char gid[ESCROW_GID_SIZE];
	escrow_client *c;

	script_start(s);
	c = open_client("");
	ck_status(escrow_oldest_undecided(c, "0123456789abcdef", 1000, gid), ESCROW_OK);
	ck_assert_int_eq(gid[5], 1);
	ck_assert_int_eq(gid[14], 0x10);
	ck_status(escrow_oldest_unpublished(c, 1000, gid), ESCROW_OK);
	ck_assert_int_eq(gid[5], 2);
	atomic_store(&s->old, true);
	ck_status(escrow_oldest_unpublished(c, 1000, gid), ESCROW_E_UNSUPPORTED);
	ck_status(escrow_oldest_undecided(c, "0123456789abcdef", 1000, gid), ESCROW_OK);
	ck_status(escrow_oldest_unpublished(c, -1, gid), ESCROW_E_ARG);
	ck_status(escrow_close(c, 1000), ESCROW_OK);
}
END_TEST

/* Would lose: everything that is said, to who sits in between. */
START_TEST(tls_trusts_whom_it_was_told_to)
{
	char file[128], more[256];
	escrow_message m = message("paid");
	escrow_client *c;
	escrow_txn *txn;

	(void)snprintf(file, sizeof(file), "%s/cert.pem", folder);
	script_start_tls(s, file);
	c = open_client("&backoff.ms=5");
	ck_status(escrow_half_send(c, &m, 1, NULL, &txn), ESCROW_E_PROTOCOL); /* unknown */
	ck_assert_ptr_nonnull(strstr(escrow_last_error(), "not trusted"));
	ck_status(escrow_close(c, 1000), ESCROW_OK);
	(void)snprintf(more, sizeof(more), "&backoff.ms=5&tls.ca=%s", file);
	c = open_client(more);
	ck_status(escrow_half_send(c, &m, 1, NULL, &txn), ESCROW_E_PROTOCOL); /* another name */
	ck_status(escrow_close(c, 1000), ESCROW_OK);
	(void)snprintf(more, sizeof(more), "&tls.name=broker.test&tls.ca=%s", file);
	c = open_client(more);
	m.value = calloc(1, 1 << 20);
	m.value_len = 1 << 20;
	for (int i = 0; i < 20; i++) {
		ck_status(escrow_half_send(c, &m, 1, NULL, &txn), ESCROW_OK);
		ck_status(escrow_commit(&txn), ESCROW_OK);
	}
	free((void *)(uintptr_t)m.value);
	ck_status(escrow_close(c, 1000), ESCROW_OK);
	c = open_client("&tls.verify=false");
	txn = half(c);
	escrow_abandon(&txn);
	ck_status(escrow_close(c, 1000), ESCROW_OK);
}
END_TEST

/* ---- checks ---------------------------------------------------------------------------------- */

struct asked {
	atomic_int count;
	escrow_decision says;
	escrow_client *client;
};

static escrow_decision
listener(const escrow_view *v, void *arg)
{
	struct asked *a = arg;
	escrow_message m = ESCROW_MESSAGE_INIT;

	ck_assert_str_eq(escrow_view_group(v), "g");
	ck_assert_str_eq(escrow_view_gid(v), "0000018bcfe568000000000000000007");
	ck_assert_int_eq(escrow_view_gid_bytes(v)[15], 7);
	ck_assert_str_eq(escrow_view_id(v), "K7");
	ck_assert_int_eq(escrow_view_db_id(v)[15], 0x10);
	ck_assert_uint_eq(escrow_view_number(v), 3);
	ck_assert_uint_eq(escrow_view_count(v), 3);
	ck_status(escrow_view_message(v, 2, &m), ESCROW_OK);
	ck_assert_str_eq(m.topic, "orders");
	ck_assert(m.value_len == 2 && memcmp(m.value, "v2", 2) == 0);
	ck_assert(m.key_len == 3 && memcmp(m.key, "key", 3) == 0);
	ck_assert_uint_eq(m.header_count, 1);
	ck_assert_str_eq(m.headers[0].name, "color");
	ck_assert(m.headers[0].len == 3 && memcmp(m.headers[0].value, "red", 3) == 0);
	ck_status(escrow_view_message(v, 3, &m), ESCROW_E_ARG);
	escrow_view_remark(v, "looked it up");
	if (a->client) { /* it may take its time, and call */
		escrow_txn *txn = half(a->client);

		escrow_abandon(&txn);
	}
	atomic_fetch_add(&a->count, 1);
	return a->says;
}

/* Would lose: what a silent producer committed, when nobody answers for it. */
START_TEST(checks_are_answered_by_the_listener_of_their_group)
{
	struct asked asked = { 0, ESCROW_COMMIT, NULL };
	escrow_stats stats = ESCROW_STATS_INIT;
	escrow_client *c;

	script_start(s);
	c = open_client("&backoff.ms=5");
	asked.client = c;
	ck_status(escrow_wait_connected(c, 5000), ESCROW_OK);
	ck_assert(script_wait(&s->beats, 1));
	ck_assert_str_eq(s->groups, ""); /* who has no listener is not asked */
	ck_status(escrow_on_check(c, NULL, listener, &asked), ESCROW_OK);
	ck_assert(script_wait(&s->beats, 2));
	ck_assert_str_eq(s->groups, "g,");
	script_check(s, "g", 7, 3);
	ck_assert(script_wait(&s->ends, 1));
	ck_assert_int_eq(s->end.decision, WIRE_COMMIT);
	ck_assert(s->end.from_check);
	ck_assert_int_eq(s->end.log_offset, 7);
	ck_assert_int_eq(s->end.state_offset, 7001);
	ck_assert_str_eq(s->end_remark, "looked it up");
	ck_assert_str_eq(s->end_group, "g");
	asked.says = ESCROW_UNKNOWN;
	script_check(s, "g", 7, 3);
	ck_assert(script_wait(&s->ends, 2));
	ck_assert_int_eq(s->end.decision, WIRE_UNKNOWN);
	script_check(s, "another", 7, 3);
	/* After a reconnect the broker hears of the group by itself. */
	script_hang_up(s);
	ck_assert(script_wait(&s->connections, 2));
	ck_assert(script_wait(&s->beats, 3));
	ck_assert_str_eq(s->groups, "g,");
	ck_status(escrow_on_check(c, "g", NULL, NULL), ESCROW_OK);
	ck_assert(script_wait(&s->beats, 4));
	ck_assert_str_eq(s->groups, "");
	script_check(s, "g", 7, 3);
	ck_status(escrow_flush(c, 1000), ESCROW_OK);
	for (int i = 0; i < 5000 && stats.checks < 4; i++) {
		(void)poll(NULL, 0, 1);
		ck_status(escrow_get_stats(c, &stats), ESCROW_OK);
	}
	ck_assert_uint_eq(stats.checks_dropped, 2);
	ck_assert_int_eq(atomic_load(&asked.count), 2);
	ck_status(escrow_close(c, 1000), ESCROW_OK);
}
END_TEST

/* ---- poll mode ------------------------------------------------------------------------------- */

static bool
readable(escrow_client *c)
{
	struct pollfd p = { .fd = escrow_fd(c), .events = POLLIN };

	return poll(&p, 1, 5000) == 1;
}

/* Would lose: the application that has an event loop of its own, and waits on a descriptor. */
START_TEST(everything_happens_in_poll_when_the_descriptor_says_so)
{
	struct asked asked = { 0, ESCROW_ROLLBACK, NULL };
	escrow_message m = message("paid");
	struct many many = { NULL, 0, 0, 0 };
	escrow_status decided;
	escrow_txn *txn, *next;

	script_start(s);
	many.client = open_client("&mode=poll&window=100");
	for (int i = 0; i < 100; i++)
		ck_status(escrow_half_send_async(many.client, &m, 1, NULL, one_sent, &many),
			  ESCROW_OK);
	ck_status(escrow_half_send_async(many.client, &m, 1, NULL, one_sent, &many), ESCROW_E_FULL);
	ck_assert_int_eq(atomic_load(&s->connections), 0);
	while (atomic_load(&many.decided) < 100) {
		ck_assert(readable(many.client));
		ck_assert_int_ge(escrow_poll(many.client, 0), 0);
	}
	ck_status(escrow_on_check(many.client, NULL, listener, &asked), ESCROW_OK);
	while (atomic_load(&s->beats) < 2) {
		ck_assert(readable(many.client));
		ck_assert_int_ge(escrow_poll(many.client, 0), 0);
	}
	script_check(s, "g", 7, 3);
	while (atomic_load(&s->ends) < 101) {
		ck_assert(readable(many.client));
		ck_assert_int_ge(escrow_poll(many.client, 0), 0);
	}
	ck_assert_int_eq(s->end.decision, WIRE_ROLLBACK);
	/* The blocking calls run it themselves. */
	txn = half(many.client);
	ck_status(escrow_decide_then_half_send(&txn, ESCROW_COMMIT, &decided, &m, 1, NULL, &next),
		  ESCROW_OK);
	ck_status(escrow_commit(&next), ESCROW_OK);
	ck_status(escrow_flush(many.client, 1000), ESCROW_OK);
	ck_status(escrow_close(many.client, 1000), ESCROW_OK);
}
END_TEST

static void
blocks(void *arg, escrow_status st, escrow_txn *txn)
{
	escrow_message m = message("paid");
	escrow_client *c = *(escrow_client **)arg;
	escrow_txn *other = NULL;

	ck_status(st, ESCROW_OK);
	ck_status(escrow_half_send(c, &m, 1, NULL, &other), ESCROW_E_ARG);
	ck_status(escrow_flush(c, 1), ESCROW_E_ARG);
	ck_status(escrow_close(c, 1), ESCROW_E_ARG);
	ck_status(escrow_commit(&txn), ESCROW_E_ARG);
	ck_assert_ptr_null(txn);
	*(escrow_client **)arg = NULL;
}

/* Would lose: a producer that waits for itself, for ever. */
START_TEST(a_callback_cannot_block)
{
	escrow_message m = message("paid");

	script_start(s);
	for (int i = 0; i < 2; i++) {
		escrow_client *c = open_client(i ? "&mode=poll" : ""), *arg = c;

		ck_status(escrow_half_send_async(c, &m, 1, NULL, blocks, &arg), ESCROW_OK);
		ck_status(escrow_flush(c, 5000), ESCROW_OK);
		ck_assert_ptr_null(arg);
		ck_status(escrow_close(c, 1000), ESCROW_OK);
	}
}
END_TEST

/* ---- the end --------------------------------------------------------------------------------- */

static void
closed(void *arg, escrow_status st, escrow_txn *txn)
{
	ck_assert_ptr_null(txn);
	((escrow_status *)arg)[0] = st;
	((int *)arg)[1]++;
}

START_TEST(closing_completes_what_is_under_way_and_keeps_handles_valid)
{
	escrow_message m = message("paid");
	int sent[2] = { 0, 0 }, unsent[2] = { 0, 0 };
	escrow_client *c;
	escrow_txn *txn;

	script_start(s);
	c = open_client("&backoff.ms=5");
	txn = half(c);
	atomic_store(&s->mute, true);
	ck_status(escrow_half_send_async(c, &m, 1, NULL, closed, sent), ESCROW_OK);
	ck_assert(script_wait(&s->halves, 2));
	ck_status(escrow_close(c, 10), ESCROW_E_TIMEOUT);
	ck_assert_int_eq(sent[0], ESCROW_E_TIMEOUT);
	ck_assert_int_eq(sent[1], 1);
	ck_assert_str_eq(escrow_txn_gid(txn), "0000018bcfe568000000000000000001");
	ck_status(escrow_commit(&txn), ESCROW_E_CLOSED);
	ck_assert_ptr_null(txn);
	atomic_store(&s->refuse, true);
	c = open_client("&backoff.ms=5");
	ck_status(escrow_half_send_async(c, &m, 1, NULL, closed, unsent), ESCROW_OK);
	ck_status(escrow_close(c, 10), ESCROW_E_TIMEOUT);
	ck_assert_int_eq(unsent[0], ESCROW_E_CLOSED);
	ck_assert_int_eq(unsent[1], 1);
	ck_status(escrow_close(NULL, 0), ESCROW_OK);
}
END_TEST

#define RACERS 4

struct racer {
	pthread_t thread;
	pthread_barrier_t *start;
	escrow_txn *txn;
	escrow_status status;
};

static void *
race(void *arg)
{
	struct racer *r = arg;

	(void)pthread_barrier_wait(r->start); /* says who is the last */
	r->status = escrow_commit(&r->txn);
	return NULL;
}

/* Would lose: the process, when a thread commits while another closes the client. */
START_TEST(closing_waits_for_the_calls_of_other_threads)
{
	script_start(s);
	for (int i = 0; i < 300; i++) {
		struct racer racers[RACERS];
		pthread_barrier_t start;
		escrow_client *c = open_client("&backoff.ms=5");
		escrow_status st;

		pthread_barrier_init(&start, NULL, RACERS + 1);
		for (int k = 0; k < RACERS; k++) {
			racers[k].start = &start;
			racers[k].txn = half(c);
			ck_assert_int_eq(pthread_create(&racers[k].thread, NULL, race, &racers[k]),
					 0);
		}
		(void)pthread_barrier_wait(&start); /* says who is the last */
		st = escrow_close(c, 0);
		ck_assert(st == ESCROW_OK || st == ESCROW_E_TIMEOUT);
		for (int k = 0; k < RACERS; k++) {
			pthread_join(racers[k].thread, NULL);
			st = racers[k].status;
			ck_assert_msg(st == ESCROW_OK || st == ESCROW_E_CLOSED ||
					      st == ESCROW_E_TIMEOUT,
				      "%s", escrow_status_name(st));
			ck_assert_ptr_null(racers[k].txn);
		}
		pthread_barrier_destroy(&start);
	}
}
END_TEST

/* Would lose: the parent's connection, to a child that writes into it. */
/* ---- a table on a client --------------------------------------------------------------------- */

static int fences_freed;

static int
fence_sweep(escrow_fence *f, const unsigned char *oldest, const unsigned char *horizon,
	    unsigned char low[ESCROW_GID_SIZE], uint64_t *rows)
{
	(void)f;
	(void)oldest;
	(void)horizon;
	memset(low, 0, ESCROW_GID_SIZE);
	*rows = 0;
	return 0;
}

static void
fence_free(escrow_fence *f)
{
	(void)f;
	fences_freed++;
}

static int
never(void *db, void *arg)
{
	(void)db;
	(void)arg;
	ck_abort_msg("the local transaction of a half message that is none");
	return 1;
}

/* Would lose: the process, when whoever ends it closes the client first. */
START_TEST(a_table_may_be_closed_behind_its_client)
{
	escrow_fence fence = { .struct_size = sizeof(fence),
			       .sweep = fence_sweep,
			       .free = fence_free };
	escrow_table_opts opts = ESCROW_TABLE_OPTS_INIT;
	escrow_message m = message("paid");
	escrow_table *table = NULL;
	escrow_client *c;

	script_start(s);
	opts.clean_ms = 1;
	c = open_client("");
	ck_status(escrow_table_open(&table, &fence), ESCROW_OK);
	ck_status(escrow_table_attach(table, c, NULL, &opts), ESCROW_OK);
	ck_assert(script_wait(&s->watermarks, 3));
	ck_status(escrow_close(c, 1000), ESCROW_OK);
	ck_status(escrow_table_send(table, NULL, &m, 1, NULL, never, NULL), ESCROW_E_CLOSED);
	ck_status(escrow_table_clean(table), ESCROW_E_CLOSED);
	ck_assert_int_eq(fences_freed, 0);
	escrow_table_close(table);
	ck_assert_int_eq(fences_freed, 1);
}
END_TEST

START_TEST(a_child_is_told_that_the_client_is_not_its_own)
{
	escrow_message m = message("paid");
	escrow_client *c;
	escrow_txn *txn;
	int status;
	pid_t pid;

	script_start(s);
	c = open_client("");
	txn = half(c);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		escrow_txn *other = NULL;
		int bad = escrow_half_send(c, &m, 1, NULL, &other) != ESCROW_E_FORK;

		bad |= escrow_commit(&txn) != ESCROW_E_FORK;
		bad |= escrow_close(c, 100) != ESCROW_OK;
		if (!bad)
			raise(SIGKILL); /* without the farewells of who watches the parent */
		_exit(1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	ck_status(escrow_commit(&txn), ESCROW_OK);
	ck_status(escrow_close(c, 1000), ESCROW_OK);
}
END_TEST

/* ---- arguments ------------------------------------------------------------------------------- */

START_TEST(what_is_malformed_is_refused_before_it_is_sent)
{
	static char long_topic[129], long_value[1];
	escrow_half_opts opts = ESCROW_HALF_OPTS_INIT;
	escrow_message good = message("paid"), m = good;
	escrow_header header = { NULL, NULL, 0 };
	struct {
		escrow_message known;
		char tail[16];
	} newer = { message("paid"), { 0 } };
	escrow_client *c;
	escrow_txn *txn;

	script_start(s);
	c = open_client("");
	memset(long_topic, 'x', 128);
#define refused(change)                                                                            \
	do {                                                                                       \
		m = good;                                                                          \
		change;                                                                            \
		ck_status(escrow_half_send(c, &m, 1, &opts, &txn), ESCROW_E_ARG);                  \
	} while (0)
	refused(m.struct_size = 0);
	refused(m.struct_size = 8);
	refused(m.topic = NULL);
	refused(m.topic = long_topic);
	refused(m.partition = -2);
	refused(m.key_len = 1);
	refused((m.value = NULL, m.value_len = 1));
	refused((m.headers = &header, m.header_count = 1));
	refused((m.key = long_value, m.key_len = 32768));
	opts.id = "";
	refused((void)0);
	opts.id = NULL;
	opts.flags = 0x80;
	refused((void)0);
	opts.flags = 0;
	opts.check_after_ms = -1;
	refused((void)0);
	opts.check_after_ms = 0;
	m = good;
	ck_status(escrow_half_send(c, &m, 0, NULL, &txn), ESCROW_E_ARG);
	ck_status(escrow_half_send(c, &m, 257, NULL, &txn), ESCROW_E_ARG);
	m.value = long_value;
	m.value_len = (16 << 20) + 1;
	ck_status(escrow_half_send(c, &m, 1, NULL, &txn), ESCROW_E_TOO_BIG);
	ck_assert_int_eq(atomic_load(&s->halves), 0);
	/* A later version's struct: fine while it says nothing that is not known here. */
	newer.known.struct_size = sizeof(newer);
	ck_status(escrow_half_send(c, &newer.known, 1, NULL, &txn), ESCROW_OK);
	escrow_abandon(&txn);
	newer.tail[3] = 1;
	ck_status(escrow_half_send(c, &newer.known, 1, NULL, &txn), ESCROW_E_ARG);
	ck_status(escrow_close(c, 1000), ESCROW_OK);
}
END_TEST

START_TEST(keys_and_urls_say_what_is_wrong_with_them)
{
	static const char *const bad[] = {
		"http://x",
		"escrow://",
		"escrow://h:0",
		"escrow://h:70000",
		"escrow://h:x",
		"escrow://h,",
		"escrow://[::1",
		"escrow://h?group",
		"escrow://h?group=",
		"escrow://h?group=%zz",
		"escrow://h?timeout.ms=0",
		"escrow://h?timeout.ms=1s",
		"escrow://h?timeout.ms=-1",
		"escrow://h?mode=threads",
	};
	escrow_conf *conf = escrow_conf_new();
	escrow_client *c;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(escrow_conf_set_url(conf, bad[i]) == ESCROW_E_ARG, "%s", bad[i]);
	ck_status(escrow_conf_set(conf, "timout.ms", "1"), ESCROW_E_ARG);
	ck_assert_ptr_nonnull(strstr(escrow_last_error(), "timeout.ms"));
	ck_status(escrow_conf_set_url(conf, "escrows://[::1]:99,b/?group=a%26b&window.bytes=1MiB"),
		  ESCROW_OK);
	ck_assert_str_eq(escrow_conf_get(conf, "servers"), "[::1]:99,b");
	ck_assert_str_eq(escrow_conf_get(conf, "group"), "a&b");
	ck_assert_str_eq(escrow_conf_get(conf, "window.bytes"), "1048576");
	ck_assert_str_eq(escrow_conf_get(conf, "tls"), "true");
	ck_assert_ptr_null(escrow_conf_get(conf, "no such key"));
	ck_status(escrow_conf_set(conf, "tls.ca", "/no/such/file"), ESCROW_OK);
	ck_status(escrow_open_conf(&c, conf), ESCROW_E_ARG); /* and CONF is still ours */
	ck_assert_ptr_nonnull(strstr(escrow_last_error(), "/no/such/file"));
	escrow_conf_free(conf);
	unsetenv("ESCROW_URL");
	ck_status(escrow_open(&c, NULL), ESCROW_E_ARG);
	script_start(s);
	setenv("ESCROW_URL", script_url(s, ""), 1);
	ck_status(escrow_open(&c, NULL), ESCROW_OK);
	ck_status(escrow_close(c, 0), ESCROW_OK);
}
END_TEST

UNIT_WITH("escrow", setup, teardown, what_is_half_sent_is_what_the_application_said,
	  a_lost_answer_is_asked_for_again_under_the_same_key,
	  what_was_sent_and_not_answered_is_unknown_and_the_rest_is_not,
	  who_is_busy_is_asked_again_while_there_is_time, every_answer_has_its_status,
	  a_decision_rides_with_the_next_half_send, a_one_way_decision_is_sent_and_not_waited_for,
	  the_local_transaction_decides, a_thousand_under_way_get_each_its_own_answer,
	  every_request_is_completed_once_whatever_becomes_of_the_connection,
	  threads_share_one_connection, the_window_holds_back_and_lets_go,
	  what_lingers_is_sent_by_a_flush, a_flush_does_not_wait_longer_because_another_does,
	  silence_ends_a_connection, the_next_server_is_tried,
	  every_address_of_a_name_is_tried_before_there_is_a_pause,
	  every_server_is_tried_before_there_is_a_pause, a_stranger_among_servers_fails_nothing,
	  a_name_that_takes_for_ever_holds_up_nobody, a_broker_that_moved_is_found_again,
	  a_stranger_at_the_address_is_told_apart,
	  rocketmq_gets_what_it_knows_and_the_rest_is_refused,
	  what_was_sent_to_escrow_is_in_doubt_at_rocketmq, a_time_that_is_none_is_over,
	  rocketmq_does_not_answer_who_knows_nothing, the_watermark_is_told,
	  tls_trusts_whom_it_was_told_to, checks_are_answered_by_the_listener_of_their_group,
	  everything_happens_in_poll_when_the_descriptor_says_so, a_callback_cannot_block,
	  closing_completes_what_is_under_way_and_keeps_handles_valid,
	  closing_waits_for_the_calls_of_other_threads, a_table_may_be_closed_behind_its_client,
	  a_child_is_told_that_the_client_is_not_its_own,
	  what_is_malformed_is_refused_before_it_is_sent,
	  keys_and_urls_say_what_is_wrong_with_them);
