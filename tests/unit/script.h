/*
 * script.h -- a broker that does what a test tells it: a thread with one socket.
 *
 * It answers hello, heartbeats, half-sends and decisions like Escrow, until a knob says
 * otherwise.  Knobs are atomic: a test turns them while the thread runs.  With TLS it has a
 * certificate of its own, which script_start_tls() writes for the client to trust.
 */
#ifndef SCRIPT_H
#define SCRIPT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "wire/wire.h"

struct script {
	/* knobs */
	atomic_int hello_code;   /* answer to 7801 without a database                       */
	atomic_int drop_halves;  /* so many are read and their connection is closed          */
	atomic_int busy;         /* so many half-sends and decisions are answered 2           */
	atomic_int half_code;    /* answer of half-sends; with `remark`                      */
	atomic_int end_code;
	const char *remark;
	atomic_bool mute;        /* half-sends and decisions are not answered                 */
	atomic_bool mute_once;   /* until the next connection                               */
	atomic_bool hang;        /* script_hang_up()                                        */
	atomic_int hold;         /* answers are kept until there are so many, then reversed   */
	atomic_bool garbage;     /* whoever connects gets no frame                           */
	atomic_bool refuse;      /* connections are closed as they come                      */
	atomic_bool old;         /* of watermarks it knows only that of fences                */

	/* what came */
	atomic_int connections, halves, ends, beats, watermarks;
	atomic_int reads;        /* recv() that brought something                            */
	atomic_int one_read;     /* reads that brought both a decision and a half-send        */
	pthread_mutex_t mutex;   /* the rest */
	char keys[64][64];       /* idempotency keys, in order                              */
	char groups[256];        /* of the last heartbeat, "a,b,"                            */
	struct wire_end end;     /* the last decision; its strings below                      */
	char end_group[256], end_remark[1100];
	uint8_t body[1 << 16];   /* of the last half-send                                   */
	size_t body_n;
	int32_t code;            /* of the last half-send: 7802 or 310                       */
	char db_id[64], check_after[16], properties[2048];

	/* its own */
	int listener, conn, port;
	pthread_t thread;
	atomic_bool stop;
	uint8_t *in;
	size_t in_n;
	uint8_t held[256][512];
	size_t held_n[256];
	int held_count;
	int64_t sequence;
	void *tls_context, *tls;
};

void script_start(struct script *s);
/* At an address of one's choice, 127.0.0.N, and port (0: any). */
void script_start_at(struct script *s, int n, int port);
/* The certificate, valid for the name "broker.test", goes to FILE. */
void script_start_tls(struct script *s, const char *file);
void script_stop(struct script *s);
/* "escrow://127.0.0.1:PORT?group=g" and MORE; lives until the next call. */
const char *script_url(const struct script *s, const char *more);
/* A check of COUNT messages with sequence SEQ, for GROUP, to who is connected. */
void script_check(struct script *s, const char *group, int64_t seq, int count);
/* Closes the connection. */
void script_hang_up(struct script *s);
/* Waits until *WHAT is at least N, at most 10 s. */
bool script_wait(atomic_int *what, int n);

#endif /* SCRIPT_H */
