/*
 * inside.h -- struct http, for the files of this folder.
 */
#ifndef HTTP_INSIDE_H
#define HTTP_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>

#include "http/conns.h"
#include "http/http.h"
#include "http/mailbox.h"

/* In the order of a life; read by every handler, written by the loop's thread. */
enum http_state { HTTP_RECOVERING, HTTP_SERVING, HTTP_DRAINING };

struct desk;
struct MHD_Daemon;

struct http {
	struct http_conf conf;
	struct net_addr addr;
	char host[256]; /* of http.address, without the port */
	struct MHD_Daemon *daemon;
	struct conns *conns;
	struct mailbox *mailbox;
	uint64_t started_ms;
	atomic_int state;
	atomic_uint_fast64_t recovered; /* segments, of to_recover */
	atomic_uint_fast64_t to_recover;

	/* Requests being answered, for a stop that does not cut answers off. */
	pthread_mutex_t lock;
	pthread_cond_t none_live;
	unsigned live;

	/* The loop's thread only; set by http_serving(). */
	struct desk *desk;
	struct clerk clerk;
	void (*stop_serving)(struct http *h);
};

/* A request begins or has ended. */
void http_live(struct http *h, bool begins);

#endif /* HTTP_INSIDE_H */
