/*
 * script.c -- the broker of script.h: reads frames, follows its knobs, remembers what came.
 */
#include "script.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define IN_ROOM (4u << 20)

/* ---- bytes ----------------------------------------------------------------------------------- */

static void
put(struct script *s, const uint8_t *p, size_t n)
{
	while (n > 0) {
		ssize_t sent =
			s->tls ? SSL_write(s->tls, p, (int)n) : send(s->conn, p, n, MSG_NOSIGNAL);

		if (sent <= 0)
			return; /* it left: the next read says so */
		p += sent;
		n -= (size_t)sent;
	}
}

static void
hang_up(struct script *s)
{
	if (s->tls)
		SSL_free(s->tls);
	s->tls = NULL;
	if (s->conn >= 0)
		close(s->conn);
	s->conn = -1;
	s->in_n = 0;
	s->held_count = 0;
}

static void
release(struct script *s)
{
	while (s->held_count > 0) {
		s->held_count--;
		put(s, s->held[s->held_count], s->held_n[s->held_count]);
	}
}

static void
reply(struct script *s, struct wire_command *c, const struct wire_command *to)
{
	size_t n = 0;
	uint8_t *at = s->held[s->held_count];

	if (to->flag & WIRE_ONEWAY)
		return;
	c->opaque = to->opaque;
	c->flag = WIRE_RESPONSE;
	if (c->code != WIRE_SUCCESS && s->remark && c->remark.n == 0)
		c->remark = (struct wire_str){ s->remark, strlen(s->remark) };
	ck_assert_int_eq(wire_encode(c, at, sizeof(s->held[0]), &n), 0);
	s->held_n[s->held_count++] = n;
	if (s->held_count >= atomic_load(&s->hold) || s->held_count == 256)
		release(s);
}

/* ---- requests -------------------------------------------------------------------------------- */

static void
keep_text(char *to, size_t room, const struct wire_command *c, const char *name)
{
	const struct wire_field *f = wire_field(c, name);

	struct wire_str v = f && f->value.p ? f->value : WIRE_STR("");

	(void)snprintf(to, room, "%.*s", (int)v.n, v.p);
}

static bool
busy(struct script *s)
{
	int left = atomic_load(&s->busy);

	if (left > 0)
		atomic_store(&s->busy, left - 1);
	return left > 0;
}

/* False: the connection was closed. */
static bool
half(struct script *s, const struct wire_command *c)
{
	struct wire_command r;
	char seq[24], token[24], gid[33], id[WIRE_MSG_ID_TEXT];
	uint8_t ip[16] = { 127, 0, 0, 1 };
	int n;

	pthread_mutex_lock(&s->mutex);
	n = atomic_load(&s->halves);
	s->code = c->code;
	keep_text(s->keys[n % 64], sizeof(s->keys[0]), c, "key");
	keep_text(s->db_id, sizeof(s->db_id), c, "dbId");
	keep_text(s->check_after, sizeof(s->check_after), c, "checkAfter");
	keep_text(s->properties, sizeof(s->properties), c, "i");
	s->body_n = c->body.n < sizeof(s->body) ? c->body.n : sizeof(s->body);
	if (s->body_n > 0)
		memcpy(s->body, c->body.p, s->body_n);
	s->sequence++;
	pthread_mutex_unlock(&s->mutex);
	atomic_fetch_add(&s->halves, 1);
	if (atomic_load(&s->drop_halves) > 0) {
		atomic_fetch_sub(&s->drop_halves, 1);
		hang_up(s);
		return false;
	}
	if (atomic_load(&s->mute) || atomic_load(&s->mute_once))
		return true;
	wire_command_init(&r, WIRE_BINARY, busy(s) ? WIRE_SYSTEM_BUSY : atomic_load(&s->half_code));
	(void)snprintf(seq, sizeof(seq), "%lld", (long long)s->sequence);
	(void)snprintf(token, sizeof(token), "%lld", (long long)s->sequence * 1000);
	(void)snprintf(gid, sizeof(gid), "0000018bcfe56800%016llx", (long long)s->sequence);
	wire_msg_id_format(ip, 4, 1, s->sequence, id);
	if (r.code == WIRE_SUCCESS && c->code == WIRE_HALF_SEND) {
		wire_add(&r, WIRE_STR("transactionId"), (struct wire_str){ gid, strlen(gid) });
		wire_add(&r, WIRE_STR("commitLogOffset"), (struct wire_str){ seq, strlen(seq) });
		wire_add(&r, WIRE_STR("tranStateTableOffset"),
			 (struct wire_str){ token, strlen(token) });
	} else if (r.code == WIRE_SUCCESS) {
		wire_add(&r, WIRE_STR("msgId"), (struct wire_str){ id, strlen(id) });
		wire_add(&r, WIRE_STR("queueOffset"), (struct wire_str){ token, strlen(token) });
	}
	reply(s, &r, c);
	return true;
}

static void
end(struct script *s, const struct wire_command *c)
{
	struct wire_command r;

	pthread_mutex_lock(&s->mutex);
	ck_assert_int_eq(wire_end_decode(c, &s->end), 0);
	(void)snprintf(s->end_group, sizeof(s->end_group), "%.*s", (int)s->end.producer_group.n,
		       s->end.producer_group.p);
	(void)snprintf(s->end_remark, sizeof(s->end_remark), "%.*s", (int)c->remark.n,
		       c->remark.p ? c->remark.p : "");
	pthread_mutex_unlock(&s->mutex);
	atomic_fetch_add(&s->ends, 1);
	if (atomic_load(&s->mute))
		return;
	/* As RocketMQ does. */
	if (atomic_load(&s->hello_code) == WIRE_NOT_SUPPORTED && s->end.decision == WIRE_UNKNOWN)
		return;
	wire_command_init(&r, WIRE_BINARY, busy(s) ? WIRE_SYSTEM_BUSY : atomic_load(&s->end_code));
	reply(s, &r, c);
}

static void
heartbeat(struct script *s, const struct wire_command *c)
{
	struct wire_heartbeat h;
	struct wire_command r;
	size_t n = 0;

	ck_assert_int_eq(wire_heartbeat_decode(c->body, &h), 0);
	pthread_mutex_lock(&s->mutex);
	s->groups[0] = '\0';
	for (size_t i = 0; i < h.group_count; i++)
		n += (size_t)snprintf(s->groups + n, sizeof(s->groups) - n, "%.*s,",
				      (int)h.groups[i].n, h.groups[i].p);
	pthread_mutex_unlock(&s->mutex);
	wire_heartbeat_done(&h);
	atomic_fetch_add(&s->beats, 1);
	wire_command_init(&r, WIRE_BINARY, WIRE_SUCCESS);
	reply(s, &r, c);
}

static void
watermark(struct script *s, const struct wire_command *c)
{
	struct wire_command r;

	wire_command_init(&r, WIRE_BINARY, atomic_load(&s->hello_code));
	if (atomic_fetch_add(&s->watermarks, 1) >= 0 && r.code == WIRE_SUCCESS)
		wire_add(&r, WIRE_STR("oldestUndecidedGid"),
			 WIRE_STR("00000000000100020000000000001000"));
	if (r.code == WIRE_SUCCESS && !atomic_load(&s->old))
		wire_add(&r, WIRE_STR("oldestUnpublishedGid"),
			 WIRE_STR("00000000000200020000000000002000"));
	reply(s, &r, c);
}

static bool
request(struct script *s, const struct wire_command *c)
{
	switch (c->code) {
	case WIRE_WATERMARK:
		watermark(s, c);
		return true;
	case WIRE_HEARTBEAT:
		heartbeat(s, c);
		return true;
	case WIRE_HALF_SEND:
	case WIRE_SEND_V2:
		return half(s, c);
	case WIRE_END_TRANSACTION:
		end(s, c);
		return true;
	default:
		ck_abort_msg("request code %d", c->code);
	}
	return true;
}

static void
frames(struct script *s)
{
	size_t at = 0, total = 0;
	int halves = atomic_load(&s->halves), ends = atomic_load(&s->ends);

	atomic_fetch_add(&s->reads, 1);
	while (wire_frame_size(s->in + at, s->in_n - at, SIZE_MAX, &total) == 0 &&
	       total <= s->in_n - at) {
		struct wire_command c;

		ck_assert_int_eq(wire_decode(s->in + at, total, &c), 0);
		at += total;
		if (!request(s, &c))
			return;
	}
	if (atomic_load(&s->halves) > halves && atomic_load(&s->ends) > ends)
		atomic_fetch_add(&s->one_read, 1);
	memmove(s->in, s->in + at, s->in_n - at);
	s->in_n -= at;
}

static void
readable(struct script *s)
{
	do {
		ssize_t n = s->tls ? SSL_read(s->tls, s->in + s->in_n, (int)(IN_ROOM - s->in_n))
				   : recv(s->conn, s->in + s->in_n, IN_ROOM - s->in_n, 0);

		if (n <= 0) {
			hang_up(s);
			return;
		}
		s->in_n += (size_t)n;
		frames(s);
	} while (s->tls && SSL_pending(s->tls) > 0);
}

static void
newcomer(struct script *s)
{
	int conn = accept(s->listener, NULL, NULL);

	if (conn < 0)
		return;
	hang_up(s);
	atomic_fetch_add(&s->connections, 1);
	if (atomic_load(&s->connections) > 1)
		atomic_store(&s->mute_once, false);
	if (atomic_load(&s->refuse)) {
		close(conn);
		return;
	}
	pthread_mutex_lock(&s->mutex);
	s->conn = conn;
	pthread_mutex_unlock(&s->mutex);
	if (atomic_load(&s->garbage))
		put(s, (const uint8_t *)"HTTP/1.1 400 Bad Request\r\n\r\n", 28);
	if (s->tls_context) {
		s->tls = SSL_new(s->tls_context);
		SSL_set_fd(s->tls, conn);
		if (SSL_accept(s->tls) != 1)
			hang_up(s);
	}
}

static void *
run(void *arg)
{
	struct script *s = arg;
	sigset_t pipe;

	/* OpenSSL writes to who has left.  Only here: the client must never raise it. */
	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe, NULL);
	while (!atomic_load(&s->stop)) {
		struct pollfd fds[2] = { { .fd = s->listener, .events = POLLIN },
					 { .fd = s->conn, .events = POLLIN } };

		if (atomic_exchange(&s->hang, false)) {
			hang_up(s);
			continue;
		}
		if (poll(fds, 2, 5) <= 0)
			continue;
		if (fds[1].revents)
			readable(s);
		else if (fds[0].revents)
			newcomer(s);
	}
	hang_up(s);
	return NULL;
}

/* ---- begin and end --------------------------------------------------------------------------- */

void
script_start(struct script *s)
{
	script_start_at(s, 1, 0);
}

void
script_start_at(struct script *s, int at, int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK - 1 + (uint32_t)at),
				 .sin_port = htons((uint16_t)port) };
	socklen_t n = sizeof(a);

	pthread_mutex_init(&s->mutex, NULL);
	s->conn = -1;
	s->in = malloc(IN_ROOM);
	s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(s->listener, (struct sockaddr *)&a, sizeof(a)), 0);
	ck_assert_int_eq(listen(s->listener, 16), 0);
	ck_assert_int_eq(getsockname(s->listener, (struct sockaddr *)&a, &n), 0);
	s->port = ntohs(a.sin_port);
	ck_assert_int_eq(pthread_create(&s->thread, NULL, run, s), 0);
}

void
script_start_tls(struct script *s, const char *file)
{
	EVP_PKEY *key = EVP_RSA_gen(2048);
	X509 *cert = X509_new();
	X509_EXTENSION *names;
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());
	FILE *f = fopen(file, "w");

	ck_assert_ptr_nonnull(f);
	X509_set_version(cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
	X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	X509_set_pubkey(cert, key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
				   (const unsigned char *)"script", -1, -1, 0);
	X509_set_issuer_name(cert, X509_get_subject_name(cert));
	names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:broker.test");
	X509_add_ext(cert, names, -1);
	X509_EXTENSION_free(names);
	ck_assert_int_gt(X509_sign(cert, key, EVP_sha256()), 0);
	ck_assert_int_eq(PEM_write_X509(f, cert), 1);
	fclose(f);
	ck_assert_int_eq(SSL_CTX_use_certificate(context, cert), 1);
	ck_assert_int_eq(SSL_CTX_use_PrivateKey(context, key), 1);
	X509_free(cert);
	EVP_PKEY_free(key);
	s->tls_context = context;
	script_start(s);
}

void
script_stop(struct script *s)
{
	if (!s->in)
		return; /* never started */
	atomic_store(&s->stop, true);
	pthread_join(s->thread, NULL);
	close(s->listener);
	free(s->in);
	SSL_CTX_free(s->tls_context);
	pthread_mutex_destroy(&s->mutex);
}

const char *
script_url(const struct script *s, const char *more)
{
	static char url[512];

	(void)snprintf(url, sizeof(url), "%s://127.0.0.1:%d?group=g%s",
		       s->tls_context ? "escrows" : "escrow", s->port, more);
	return url;
}

void
script_check(struct script *s, const char *group, int64_t seq, int count)
{
	static uint8_t body[64 << 10], out[80 << 10];
	struct wire_command c;
	char properties[512], number[24], token[24];
	size_t n = 0, total = 0;
	int len;

	len = snprintf(properties, sizeof(properties),
		       "TRAN_MSG\1true\2PGROUP\1%s\2UNIQ_KEY\1K%lld\2__transactionId__\1"
		       "0000018bcfe56800%016llx\2TRANSACTION_CHECK_TIMES\0013\2ESCROW_DB\1"
		       "0102030405060708090a0b0c0d0e0f10\2__SHARDINGKEY\1key\2color\1red\2%s",
		       group, (long long)seq, (long long)seq,
		       atomic_load(&s->hello_code) == WIRE_NOT_SUPPORTED
			       ? "KEYS\1key\2MSG_REGION\1r\2CLUSTER\1c\2TRACE_ON\1true\2"
			       : "");
	for (int i = 0; i < count; i++) {
		char value[16];
		int value_n = snprintf(value, sizeof(value), "v%d", i);
		struct wire_message m = {
			.born_ip_len = 4,
			.store_ip_len = 4,
			.topic = WIRE_STR("orders"),
			.body = { value, (size_t)value_n },
			.properties = { properties, (size_t)len },
		};

		ck_assert_int_eq(wire_message_encode(&m, body + n, sizeof(body) - n), 0);
		n += wire_message_size(&m);
	}
	wire_command_init(&c, WIRE_BINARY, WIRE_CHECK_TRANSACTION);
	c.flag = WIRE_ONEWAY;
	(void)snprintf(number, sizeof(number), "%lld", (long long)seq);
	(void)snprintf(token, sizeof(token), "%lld", (long long)seq * 1000 + 1);
	wire_add(&c, WIRE_STR("commitLogOffset"), (struct wire_str){ number, strlen(number) });
	wire_add(&c, WIRE_STR("tranStateTableOffset"), (struct wire_str){ token, strlen(token) });
	c.body = (struct wire_str){ (char *)body, n };
	ck_assert_int_eq(wire_encode(&c, out, sizeof(out), &total), 0);
	pthread_mutex_lock(&s->mutex);
	put(s, out, total);
	pthread_mutex_unlock(&s->mutex);
}

void
script_hang_up(struct script *s)
{
	atomic_store(&s->hang, true);
}

bool
script_wait(atomic_int *what, int n)
{
	for (int i = 0; i < 10000 && atomic_load(what) < n; i++)
		(void)poll(NULL, 0, 1);
	return atomic_load(what) >= n;
}
