/*
 * tls.c -- TLS by OpenSSL, over a socket that never blocks and never raises SIGPIPE.
 */
#include "producer/inside.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct tls {
	SSL_CTX *context;
	SSL *session;
	BIO_METHOD *method;
	char *name; /* that the certificate must have; NULL: the host's */
	bool verify;
	int fd;
};

/* ---- the socket as a BIO: OpenSSL's own would raise SIGPIPE ---------------------------------- */

static int
bio_write(BIO *bio, const char *p, int n)
{
	const struct tls *t = BIO_get_data(bio);
	ssize_t sent = send(t->fd, p, (size_t)n, MSG_NOSIGNAL);

	BIO_clear_retry_flags(bio);
	if (sent < 0 && (errno == EAGAIN || errno == EINTR))
		BIO_set_retry_write(bio);
	return (int)sent;
}

static int
bio_read(BIO *bio, char *p, int n)
{
	const struct tls *t = BIO_get_data(bio);
	ssize_t got = recv(t->fd, p, (size_t)n, 0);

	BIO_clear_retry_flags(bio);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		BIO_set_retry_read(bio);
	return (int)got;
}

static long
bio_control(BIO *bio, int command, long a, void *b)
{
	(void)bio;
	(void)a;
	(void)b;
	return command == BIO_CTRL_FLUSH;
}

/* ---- settings -------------------------------------------------------------------------------- */

/* What OpenSSL says of its last error; empties its queue. */
static void
reason(char text[DETAIL_MAX])
{
	unsigned long e = ERR_get_error();
	const char *words = e ? ERR_reason_error_string(e) : NULL;

	(void)snprintf(text, DETAIL_MAX, "%s", words ? words : "unknown error");
	ERR_clear_error();
}

static escrow_status
bad_file(const char *key, const char *file)
{
	char why[DETAIL_MAX];

	reason(why);
	return fail(ESCROW_E_ARG, "%s: %.200s cannot be used: %.200s", key, file, why);
}

static escrow_status
settings(struct tls *t, const escrow_conf *conf)
{
	SSL_CTX *x = t->context;

	if (SSL_CTX_set_min_proto_version(x, TLS1_2_VERSION) != 1)
		return fail(ESCROW_E_ARG, "this OpenSSL has no TLS 1.2");
	SSL_CTX_set_mode(x, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_verify(x, t->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
	if (conf->tls_ca ? SSL_CTX_load_verify_locations(x, conf->tls_ca, NULL) != 1
			 : SSL_CTX_set_default_verify_paths(x) != 1)
		return bad_file("tls.ca", conf->tls_ca ? conf->tls_ca : "the system's");
	if (!conf->tls_cert != !conf->tls_key)
		return fail(ESCROW_E_ARG, "tls.cert and tls.key need each other");
	if (conf->tls_cert && SSL_CTX_use_certificate_chain_file(x, conf->tls_cert) != 1)
		return bad_file("tls.cert", conf->tls_cert);
	if (conf->tls_key && SSL_CTX_use_PrivateKey_file(x, conf->tls_key, SSL_FILETYPE_PEM) != 1)
		return bad_file("tls.key", conf->tls_key);
	return ESCROW_OK;
}

escrow_status
tls_new(const escrow_conf *conf, struct tls **ret_tls)
{
	struct tls *t = calloc(1, sizeof(*t));
	escrow_status st;

	if (!t)
		return fail(ESCROW_E_NOMEM, "out of memory");
	t->fd = -1;
	t->verify = conf->tls_verify;
	t->context = SSL_CTX_new(TLS_client_method());
	t->method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "escrow");
	t->name = conf->tls_name ? strdup(conf->tls_name) : NULL;
	if (!t->context || !t->method || (conf->tls_name && !t->name)) {
		tls_free(t);
		return fail(ESCROW_E_NOMEM, "out of memory");
	}
	(void)BIO_meth_set_write(t->method, bio_write); /* these only store */
	(void)BIO_meth_set_read(t->method, bio_read);
	(void)BIO_meth_set_ctrl(t->method, bio_control);
	st = settings(t, conf);
	if (st != ESCROW_OK) {
		tls_free(t);
		return st;
	}
	*ret_tls = t;
	return ESCROW_OK;
}

void
tls_free(struct tls *t)
{
	if (!t)
		return;
	tls_end(t);
	SSL_CTX_free(t->context);
	BIO_meth_free(t->method);
	free(t->name);
	free(t);
}

/* ---- a session ------------------------------------------------------------------------------- */

/* The name that the certificate must have, and that the server is told (not an address). */
static int
expect(struct tls *t, const char *name)
{
	struct in6_addr any;
	bool address = inet_pton(AF_INET, name, &any) == 1 || inet_pton(AF_INET6, name, &any) == 1;

	if (!address && SSL_set_tlsext_host_name(t->session, name) != 1)
		return -1;
	if (!t->verify)
		return 0;
	if (address)
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(t->session), name) == 1 ? 0
											    : -1;
	return SSL_set1_host(t->session, name) == 1 ? 0 : -1;
}

int
tls_begin(struct tls *t, int fd, const char *host)
{
	BIO *bio;

	tls_end(t);
	t->fd = fd;
	t->session = SSL_new(t->context);
	bio = t->session ? BIO_new(t->method) : NULL;
	if (!bio)
		return -1;
	BIO_set_data(bio, t);
	BIO_set_init(bio, 1);
	SSL_set_bio(t->session, bio, bio);
	SSL_set_connect_state(t->session);
	return expect(t, t->name ? t->name : host);
}

int
tls_shake(struct tls *t, bool *ret_write, char why[DETAIL_MAX])
{
	long verified;
	int got;

	ERR_clear_error();
	got = SSL_do_handshake(t->session);
	if (got == 1)
		return 1;
	switch (SSL_get_error(t->session, got)) {
	case SSL_ERROR_WANT_READ:
		*ret_write = false;
		return 0;
	case SSL_ERROR_WANT_WRITE:
		*ret_write = true;
		return 0;
	case SSL_ERROR_SYSCALL:
		(void)snprintf(why, DETAIL_MAX, "the other side ended it");
		return -1;
	default:
		break;
	}
	verified = SSL_get_verify_result(t->session);
	if (t->verify && verified != X509_V_OK) {
		(void)snprintf(why, DETAIL_MAX, "its certificate is not trusted: %s",
			       X509_verify_cert_error_string(verified));
		ERR_clear_error();
		return -2;
	}
	reason(why);
	return -1;
}

/* What -1 or 0 of SSL_read() and SSL_write() means. */
static ssize_t
no_bytes(struct tls *t, int got, char why[DETAIL_MAX])
{
	char detail[DETAIL_MAX];

	switch (SSL_get_error(t->session, got)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return 0;
	case SSL_ERROR_ZERO_RETURN:
	case SSL_ERROR_SYSCALL:
		(void)snprintf(why, DETAIL_MAX, "the connection ended: closed by the broker");
		return -1;
	default:
		reason(detail);
		(void)snprintf(why, DETAIL_MAX, "the connection ended: TLS: %.400s", detail);
		return -1;
	}
}

ssize_t
tls_read(struct tls *t, void *buf, size_t room, char why[DETAIL_MAX])
{
	int got;

	ERR_clear_error();
	got = SSL_read(t->session, buf, room > INT32_MAX ? INT32_MAX : (int)room);
	return got > 0 ? got : no_bytes(t, got, why);
}

ssize_t
tls_write(struct tls *t, const void *buf, size_t n, char why[DETAIL_MAX])
{
	int sent;

	ERR_clear_error();
	sent = SSL_write(t->session, buf, n > INT32_MAX ? INT32_MAX : (int)n);
	return sent > 0 ? sent : no_bytes(t, sent, why);
}

void
tls_end(struct tls *t)
{
	if (t->session)
		SSL_free(t->session); /* without a goodbye: every frame says where it ends */
	t->session = NULL;
	t->fd = -1;
}
