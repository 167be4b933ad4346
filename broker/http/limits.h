/*
 * limits.h -- every bound of the HTTP side, beside the core's own.
 *
 * A peer can open connections, send slowly, send much, and ask for much.  Each has a
 * number here and an answer given at it.  Connections are counted by what they ask for
 * (enum conn_class), because a flood of one kind must not take the place of another.
 */
#ifndef HTTP_LIMITS_H
#define HTTP_LIMITS_H

#include "base/base.h"

/* Connections by class.  503 and close. */
#define HTTP_MUTATION_CONNS 64	      /* operators' commands                              */
#define HTTP_MUTATION_CONNS_PER_IP 16 /* ... of one address                               */
#define HTTP_READ_CONNS 512	      /* everything under /api, /metrics, the page         */
#define HTTP_PROBE_CONNS 64	      /* reserved: no other class can take them            */
#define HTTP_FRESH_CONNS 128	      /* no request yet; beyond it the oldest is closed     */
#define HTTP_CONNS                                                                                 \
	(HTTP_MUTATION_CONNS + HTTP_READ_CONNS + HTTP_PROBE_CONNS + HTTP_FRESH_CONNS)

/*
 * libmicrohttpd 0.9.75 takes 128 events at a time, and when it gets exactly 128 it sleeps for
 * more before it looks at them: the thread stalls, for as long as the next idle timer.  So a
 * thread never has that many sockets: its connections, the listener and a wake-up.  Each takes
 * connections up to its share and leaves the rest to the others.
 */
#define HTTP_THREADS 8
#define HTTP_THREAD_CONNS 112
#define HTTP_DAEMON_CONNS (HTTP_THREADS * HTTP_THREAD_CONNS)
_Static_assert(HTTP_THREAD_CONNS + 2 < 128, "a thread of libmicrohttpd stalls at 128 events");
_Static_assert(HTTP_DAEMON_CONNS >= HTTP_CONNS, "the classes must have room");

#define HTTP_THREAD_STACK (2u << 20) /* jansson recurses                                  */
#define HTTP_CONN_MEMORY (16u << 10) /* request line and headers.  414, 431               */
#define HTTP_CONN_INCREMENT 1024u

/* Absolute deadlines: a byte now and then does not prolong them.  The socket is shut down. */
#define HTTP_FIRST_NS (5 * NS_PER_S)   /* connected, until the headers are in               */
#define HTTP_BODY_NS (10 * NS_PER_S)   /* headers in, until the body is                     */
#define HTTP_ANSWER_NS (60 * NS_PER_S) /* answered, until it is all taken                   */
#define HTTP_IDLE_NS (75 * NS_PER_S)   /* kept alive, until the next headers are in          */
#define HTTP_FIRST_S 5u		       /* libmicrohttpd's own idle timer, class unknown      */
#define HTTP_IDLE_S 75u		       /* ... and known                                     */
#define HTTP_STOP_NS (NS_PER_S / 2)    /* the stop, for answers on their way              */
#define HTTP_WATCH_NS (NS_PER_S / 4)   /* how often deadlines are looked at                  */

#define HTTP_BODY_BYTES (64u << 10) /* of a command.  413                                  */
#define HTTP_JSON_DEPTH 32	    /* nesting of a body.  400                             */
#define HTTP_PARAMS 16		    /* query parameters.  400                              */
#define HTTP_ID_BYTES 64	    /* X-Request-Id; a longer one is not echoed             */
#define HTTP_PATH_BYTES 256	    /* 404                                                */

#define HTTP_PAGE_DEFAULT 100	     /* rows of a list; at most LIMIT_LIST_PAGE            */
#define HTTP_PAYLOAD_DEFAULT 65536u  /* bytes of payload shown                             */
#define HTTP_PAYLOAD_MAX (1u << 20)  /* 400                                               */
#define HTTP_TOPICS_MAX 10000u	     /* metrics.max_topics: the catalogue has no more      */
#define HTTP_TURN_COST 32	     /* of the requests looked at in one turn; the rest waits */
#define HTTP_LIST_COST 8	     /* a list looks at up to LIMIT_LIST_SCAN rows; others: 1 */
#define HTTP_ALARMS 16		     /* last errors kept for the status                    */
#define HTTP_WHY_BYTES 256

#endif /* HTTP_LIMITS_H */
