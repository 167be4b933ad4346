/*
 * http.h -- status, operators' commands and metrics over HTTP.
 *
 *      browser, curl, Prometheus            the loop's thread
 *             |                                    ^   |
 *       libmicrohttpd threads -- mailbox: plain structs -- http_hooks: turn()
 *        parse, suspend, JSON                      |   v
 *                                           core, journal, relay, remoting
 *
 * The HTTP threads never touch the core: a handler posts a struct mail (mailbox.h), its
 * connection is suspended, the loop fills the struct in its turn and resumes it.  README.md of this
 * folder has every endpoint, every field and every operator's verb.
 *
 * Life:  http_start()    before recovery: /livez is 200, the rest 503 with progress
 *        http_hooks()    fills the hooks for loop_new()
 *        http_serving()  after loop_new(): everything is answered
 *        http_draining() the stop began: /readyz turns 503
 *        http_stop()     on the loop's thread, before loop_free()
 */
#ifndef HTTP_H
#define HTTP_H

#include "world/loop.h"

struct http;

struct http_conf {
	const char *address;	/* http.address: "127.0.0.1:7780", "[::1]:7780"; port 0: any    */
	bool admin_write;	/* http.admin.write: commands of loopback peers are taken         */
	const char *hosts;	/* http.hosts: "a.example,b.example"; NULL: none                 */
	uint32_t max_topics;	/* metrics.max_topics: topic labels; the rest is "other"          */
	const char *version;	/* of escrow_build_info and the status                          */
	const char *revision;
	const char *librdkafka;
	int64_t first_ns;	/* until a new connection's headers are in; 0: 5 s               */
};

/*
 * Listens and starts its threads.  NET is only woken.  CONF's strings are borrowed for ever.
 * ERR_CONFIG (address), ERR_EXISTS (in use), ERR_SYSTEM.
 */
int http_start(const struct http_conf *conf, struct net *net, struct http **ret_http) MUSTUSE;
struct http *http_stop(struct http *h);

/* Sets the hooks, all of them. */
void http_hooks(struct http *h, struct loop_hooks *ret_hooks);
/* L is recovered; it must outlive http_stop(). */
void http_serving(struct http *h, struct loop *l);
void http_draining(struct http *h);
/* Where it really listens. */
void http_addr(const struct http *h, struct net_addr *ret_addr);

#endif /* HTTP_H */
