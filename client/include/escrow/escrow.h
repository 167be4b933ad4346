/*
 * escrow.h -- libescrow, the producer's side of Escrow.
 *
 *      half-send ----> durable at the broker, and no consumer can see it
 *      your local transaction, in your own database
 *      commit -------> durable, and on its way to Kafka       (or rollback: gone)
 *      silence ------> the broker asks the check listener of the producer group
 *
 * A whole producer:
 *
 *      escrow_client *mq;
 *      escrow_txn *txn;
 *      escrow_message m = ESCROW_MESSAGE_INIT;
 *
 *      escrow_open(&mq, "escrow://127.0.0.1:9876?group=orders");
 *      m.topic = "orders.paid";
 *      m.value = "{\"order\":1}";
 *      m.value_len = strlen(m.value);
 *      if (escrow_half_send(mq, &m, 1, NULL, &txn) == ESCROW_OK) {
 *              ... the local transaction, which writes down escrow_txn_gid(txn) ...
 *              escrow_commit(&txn);
 *      }
 *      escrow_close(mq, 5000);
 *
 * Links with -lescrow; needs libc and OpenSSL.  Valid C99 and C++11.
 *
 * Threads.  A client may be used by any number of threads at once; one per process and broker is
 * enough, for all of its requests share one connection, thousands of them under way.  A
 * transaction belongs to one thread at a time.  In thread mode (the default) the library
 * has two threads of its own: one for the connection and the completions, one for the check
 * listeners, which may take their time; and a third that looks up a name, now and then, and may be
 * at it for a while after escrow_close().  In poll mode it has none, and everything happens in
 * escrow_poll() and in the blocking calls, which then are for one thread at a time; a name that
 * must be resolved blocks there.
 * All signals are blocked in the library's threads.  SIGPIPE is never raised.
 *
 * Fork.  A client belongs to the process that opened it.  In a child every call but
 * escrow_close() returns ESCROW_E_FORK; escrow_close() there only closes file descriptors.
 *
 * Strings and memory.  What goes in is copied before the call returns.  What comes out as `const`
 * lives as long as what it was asked of.  Handles are ended through a pointer to them, which
 * becomes NULL.  Durations are milliseconds unless the name says otherwise.
 *
 * Errors.  Every call says what became of it in an escrow_status, and why, as a sentence, in
 * escrow_last_error().  Three questions are enough to know what to do: escrow_is_retriable(),
 * escrow_is_unknown(), escrow_is_fatal().
 */
#ifndef ESCROW_ESCROW_H
#define ESCROW_ESCROW_H

#include <stddef.h>
#include <stdint.h>

#define ESCROW_VERSION "0.1.0"
#define ESCROW_VERSION_NUMBER 0x000100 /* 0xMMmmpp */

#if defined(__GNUC__)
#define ESCROW_API __attribute__((visibility("default")))
#define ESCROW_MUSTUSE __attribute__((warn_unused_result))
#else
#define ESCROW_API
#define ESCROW_MUSTUSE
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The version of the library that runs: ESCROW_VERSION is the one that was compiled against. */
ESCROW_API const char *escrow_version(void);

/* ---- what became of it ----------------------------------------------------------------------- */

/* Numbers are never changed or reused.  "r", "u", "f": retriable, unknown, fatal. */
typedef enum escrow_status {
	ESCROW_OK = 0,

	/* Nothing happened.  Correct the call. */
	ESCROW_E_ARG = 1,          /* an argument is missing, malformed or beyond a limit       */
	ESCROW_E_NOMEM = 2,        /* r  out of memory                                          */

	/* Nothing happened.  The same call may be repeated, later. */
	ESCROW_E_FULL = 3,         /* r  `window` is full, and the call may not or could not wait */
	ESCROW_E_UNREACHABLE = 4,  /* r  there was no connection until the time was over        */
	ESCROW_E_BUSY = 5,         /* r  the broker refuses for now: a limit, its disk, its end */

	/* It may have happened. */
	ESCROW_E_TIMEOUT = 6,      /* u  it was sent, and no answer came until the time was over */

	/* The broker refuses for good. */
	ESCROW_E_REFUSED = 7,      /*    not acceptable as it is                                */
	ESCROW_E_TOO_BIG = 8,      /*    larger than the broker or the topic in Kafka allows    */
	ESCROW_E_TOPIC = 9,        /*    Kafka has no such topic                                */
	ESCROW_E_AUTH = 10,        /*    not allowed, or the tokens are not of this transaction */
	ESCROW_E_NOT_FOUND = 11,   /*    no such transaction: decided and forgotten             */
	ESCROW_E_DECIDED = 12,     /*    decided already, and not like this; see each call      */
	ESCROW_E_KEY_REUSED = 13,  /*    this id was half-sent with other messages: a bug       */
	ESCROW_E_UNSUPPORTED = 14, /*    this broker cannot do that (RocketMQ, see `broker`)    */

	/* Of the local transaction (escrow_send_in_txn() and the table helper). */
	ESCROW_E_LOCAL = 15,       /*    it was rolled back: the messages are too               */
	ESCROW_E_FENCED = 16,      /*    a check was faster: it was rolled back, begin anew     */
	ESCROW_E_EXPIRED = 17,     /*    older than the fence remembers: rolled back, begin anew */
	ESCROW_E_DATABASE = 18,    /*    the database failed before its commit: rolled back     */
	ESCROW_E_IN_DOUBT = 19,    /* u  the database failed in its commit: the check finds out  */

	/* The client is of no use any more. */
	ESCROW_E_CLOSED = 20,      /* f  it is being closed                                     */
	ESCROW_E_FORK = 21,        /* f  it belongs to the parent process                       */
	ESCROW_E_PROTOCOL = 22     /* f  what answers at this address does not speak the protocol,
				    *    or its certificate is not trusted.  The next requests
				    *    try again, should somebody have mended it              */
} escrow_status;

/* "OK", "TIMEOUT", ...: stable, for logs and metrics. */
ESCROW_API const char *escrow_status_name(escrow_status status);
/* Nothing happened: the same call may be repeated. */
ESCROW_API int escrow_is_retriable(escrow_status status);
/*
 * It may have happened.  A half-send: repeat it with the same escrow_half_opts.id, or begin
 * anew and leave this one to the check.  A decision: leave it to the check, do not contradict it.
 */
ESCROW_API int escrow_is_unknown(escrow_status status);
/* Close the client. */
ESCROW_API int escrow_is_fatal(escrow_status status);
/*
 * Why the last call of this thread that failed did, as a sentence; inside a completion, why
 * that request did.  Never NULL.  Lives until this thread's next call.
 */
ESCROW_API const char *escrow_last_error(void);
/* For libraries that build on this one: sets what escrow_last_error() says; cut at 511 bytes. */
ESCROW_API void escrow_set_last_error(const char *text);

/* ---- configuration --------------------------------------------------------------------------- */

typedef struct escrow_conf escrow_conf;

/*
 * Keys, with their defaults.  The same keys are the query of a URL.
 *
 *   servers            127.0.0.1    HOST[:PORT][,HOST[:PORT]...]; port 9876; tried in turn,
 *                                   each with all addresses of its name, which is looked up
 *                                   anew for every attempt
 *   group                           the producer group of half-sends that name none
 *   client.id          made up      this producer's name, for people; at most 255 bytes
 *   mode               thread       thread, or poll: everything in escrow_poll()
 *   timeout.ms         10000        of a request, all its repeats included
 *   retry.ms           5000         nothing was heard for so long while requests are under way:
 *                                   a new connection, and they are sent again
 *   linger.us          0            completions that come together go out together anyway; so
 *                                   long a request may wait for others to share its write
 *   window             4096         half-sends under way; then calls wait, or ESCROW_E_FULL
 *   window.bytes       64MiB        the same by bytes
 *   checks.max         2000         checks waiting for their listener; more are left to be
 *                                   asked again
 *   connect.ms         3000         of one attempt
 *   backoff.ms         50           when all of them were tried; doubles, with jitter...
 *   backoff.max.ms     5000         ...up to this
 *   heartbeat.ms       30000
 *   refresh.ms         300000       so often the name is looked up while connected: when it
 *                                   leads elsewhere, twice in a row, to where somebody
 *                                   listens, the client follows.  0: never; in poll mode
 *                                   never either, for it would block
 *   broker             auto         escrow, rocketmq, or auto: asked when connected.  With
 *                                   RocketMQ `servers` is the broker, not its name server;
 *                                   there is one message to a transaction, its key and
 *                                   headers are text, its value is not empty; and there is
 *                                   no fence: gids are zeroes, a half-send with a db_id is
 *                                   UNSUPPORTED, no watermark is known, and a half-send that
 *                                   is sent again is a second one, left to its check.
 *                                   UNKNOWN is not answered: OK says that it was given to
 *                                   the connection.  The log says that it is RocketMQ
 *   tls                false        true with the scheme escrows://
 *   tls.ca             system's     PEM file of the authorities to trust
 *   tls.cert, tls.key               PEM files of our own certificate
 *   tls.name           the host     name that the certificate must have
 *   tls.verify         true         false: any certificate will do.  For tests
 */
ESCROW_API escrow_conf *escrow_conf_new(void); /* NULL: out of memory */
ESCROW_API void escrow_conf_free(escrow_conf *conf); /* NULL is fine */
/* Sets one key.  ARG: no such key (the nearest is named), or VALUE is none for it. */
ESCROW_API escrow_status escrow_conf_set(escrow_conf *conf, const char *key,
		const char *value) ESCROW_MUSTUSE;
/* The value as text, or NULL when there is no such key.  Lives until the key is set again. */
ESCROW_API const char *escrow_conf_get(const escrow_conf *conf, const char *key);
/* escrow://HOST[:PORT][,HOST[:PORT]...][?KEY=VALUE&...] into the keys above. */
ESCROW_API escrow_status escrow_conf_set_url(escrow_conf *conf, const char *url) ESCROW_MUSTUSE;

typedef enum escrow_log_level { /* as syslog numbers them */
	ESCROW_LOG_ERROR = 3,
	ESCROW_LOG_WARN = 4,
	ESCROW_LOG_INFO = 6
} escrow_log_level;
/* Called on a thread of the library, or in the caller's; must not call back. */
typedef void (*escrow_log_fn)(void *arg, escrow_log_level level, const char *text);
/* Connected, disconnected and why, what became of checks.  Without it nothing is said. */
ESCROW_API void escrow_conf_set_log(escrow_conf *conf, escrow_log_fn fn, void *arg);

/* ---- the client ------------------------------------------------------------------------------ */

typedef struct escrow_client escrow_client;

/*
 * Opens a client, and returns before it is connected: requests wait for the connection, at most
 * `timeout.ms`.  URL NULL: the environment's ESCROW_URL.  ARG, NOMEM.
 */
ESCROW_API escrow_status escrow_open(escrow_client **ret_client, const char *url) ESCROW_MUSTUSE;
/* Takes CONF when it returns OK. */
ESCROW_API escrow_status escrow_open_conf(escrow_client **ret_client,
		escrow_conf *conf) ESCROW_MUSTUSE;
/*
 * Waits until a broker answered, at most TIMEOUT_MS: UNREACHABLE.  Nobody has to call it.
 */
ESCROW_API escrow_status escrow_wait_connected(escrow_client *client,
		int timeout_ms) ESCROW_MUSTUSE;
/*
 * Sends what waits, now, and returns when every request made before is complete.  TIMEOUT: some
 * are not.
 */
ESCROW_API escrow_status escrow_flush(escrow_client *client, int timeout_ms);
/*
 * Flushes, at most TIMEOUT_MS, then ends.  Requests still under way complete with CLOSED or, when
 * they were sent, TIMEOUT, before it returns; and it returns only when no callback runs any more.
 * Transactions that are still held stay undecided; their handles are good for escrow_abandon() and
 * escrow_txn_gid().  NULL is fine.  Not from a callback: ARG.  TIMEOUT: some requests were not
 * complete.
 */
ESCROW_API escrow_status escrow_close(escrow_client *client, int timeout_ms);

/* ---- messages -------------------------------------------------------------------------------- */

typedef struct escrow_header {
	const char *name;
	const void *value; /* NULL: a null header */
	size_t len;
} escrow_header;

typedef struct escrow_message {
	size_t struct_size;           /* ESCROW_MESSAGE_INIT sets it; fields are added at the end */
	const char *topic;            /* 1 to 127 bytes                                    */
	const void *key;              /* NULL: none; at most 32767 bytes                   */
	size_t key_len;               /* 0 with a key: an empty key                        */
	const void *value;            /* NULL: a tombstone                                 */
	size_t value_len;
	const escrow_header *headers; /* published in this order; not escrow-...            */
	size_t header_count;          /* at most 1024; with the key 32000 bytes             */
	int32_t partition;            /* -1: by key, and without one spread over all        */
} escrow_message;

#define ESCROW_MESSAGE_INIT { sizeof(escrow_message), 0, 0, 0, 0, 0, 0, 0, -1 }

#define ESCROW_MESSAGES_MAX 256 /* of one transaction */
#define ESCROW_DB_ID_SIZE 16
#define ESCROW_GID_SIZE 16
#define ESCROW_GID_TEXT 33 /* 32 hex digits and the NUL */

/* ---- half-send ------------------------------------------------------------------------------- */

typedef struct escrow_txn escrow_txn; /* one undecided transaction, and the right to decide it */

typedef struct escrow_half_opts {
	size_t struct_size;   /* ESCROW_HALF_OPTS_INIT */
	const char *id;       /* idempotency key, 1 to 255 bytes: a half-send repeated with it is
			       * the same transaction.  NULL: the library makes one up, and keeps
			       * it over its own repeats                                    */
	const char *group;    /* NULL: the client's                                         */
	const void *db_id;    /* ESCROW_DB_ID_SIZE bytes: the database that decides; or NULL  */
	int32_t check_after_ms; /* the first check comes no earlier; in whole seconds, rounded up.
			       * 0: the broker's setting                                    */
	int32_t timeout_ms;   /* 0: the client's                                            */
	uint32_t flags;
} escrow_half_opts;

#define ESCROW_HALF_OPTS_INIT { sizeof(escrow_half_opts), 0, 0, 0, 0, 0, 0 }

#define ESCROW_NONBLOCK 0x1u /* FULL at once instead of waiting for room in the window */

/*
 * Half-sends COUNT messages, to any topics, under one decision.  When it returns OK they are
 * durable, and *RET_TXN is the transaction: run the local transaction now, then decide.
 * After any other status there is no transaction to decide, and the local one must not be run.
 *
 *   DECIDED   opts->id was half-sent before and is committed: the work is done already
 *   TIMEOUT   it may be there.  Repeated with the same opts->id it is found again; otherwise
 *             the check will ask about it, and a listener with a fence answers rollback
 *   KEY_REUSED, REFUSED, TOO_BIG, TOPIC, AUTH, UNSUPPORTED, ARG: not like this
 *   FULL, UNREACHABLE, BUSY, NOMEM: nothing happened; again later
 */
ESCROW_API escrow_status escrow_half_send(escrow_client *client, const escrow_message *messages,
		size_t count, const escrow_half_opts *opts,
		escrow_txn **ret_txn) ESCROW_MUSTUSE;

/*
 * The end of a half-send: TXN is NULL unless STATUS is OK, and is then the callee's to decide.
 * Called exactly once for each request that was accepted; on the connection's thread, or in
 * escrow_poll().  It may call everything that does not block, so all ..._async() and
 * escrow_abandon(); what blocks returns ARG there.
 */
typedef void (*escrow_half_sent_fn)(void *arg, escrow_status status, escrow_txn *txn);
/*
 * The same without waiting.  OK: accepted, and DONE will be called.  Otherwise (ARG, FULL, NOMEM,
 * CLOSED, FORK) it will not.  When the window is full it waits for room, at most the timeout;
 * with ESCROW_NONBLOCK, in poll mode and inside a callback it returns FULL at once.
 */
ESCROW_API escrow_status escrow_half_send_async(escrow_client *client,
		const escrow_message *messages, size_t count, const escrow_half_opts *opts,
		escrow_half_sent_fn done, void *arg) ESCROW_MUSTUSE;

/* The broker's id of it, 32 lower-case hex digits.  Lives as long as the transaction. */
ESCROW_API const char *escrow_txn_gid(const escrow_txn *txn);
/* The same as ESCROW_GID_SIZE bytes: what fence tables are keyed by.  Byte order is time order. */
ESCROW_API const unsigned char *escrow_txn_gid_bytes(const escrow_txn *txn);

/* ---- decide ---------------------------------------------------------------------------------- */

typedef enum escrow_decision {
	ESCROW_UNKNOWN = 0,
	ESCROW_COMMIT = 1,
	ESCROW_ROLLBACK = 2
} escrow_decision;

typedef struct escrow_decide_opts {
	size_t struct_size; /* ESCROW_DECIDE_OPTS_INIT */
	const char *remark; /* for operators: why; at most 1024 bytes are kept.  Or NULL     */
	int32_t timeout_ms; /* 0: the client's                                            */
	uint32_t flags;
} escrow_decide_opts;

#define ESCROW_DECIDE_OPTS_INIT { sizeof(escrow_decide_opts), 0, 0, 0 }

/*
 * Sent and not answered, as RocketMQ's Java client does: OK says that it was given to the
 * connection.  What gets lost is left to the check.
 */
#define ESCROW_ONEWAY 0x2u

/*
 * Commits or rolls back, and returns when that is durable.  The handle ends and becomes NULL,
 * whatever comes of it: a decision that did not arrive is left to the check.
 *
 *   OK         durable; also when it was decided so already
 *   DECIDED    it was decided otherwise, by a check or an operator: the sentence names the winner.
 *              After a commit: the messages will not be published.  The local transaction
 *              and its messages disagree; with a fence that cannot happen
 *   TIMEOUT    unknown: the check finds out
 *   UNREACHABLE, BUSY: not decided: the check finds out
 *   NOT_FOUND  decided and forgotten
 */
ESCROW_API escrow_status escrow_commit(escrow_txn **txn);
ESCROW_API escrow_status escrow_rollback(escrow_txn **txn);
/* The same with options, which may be NULL.  UNKNOWN tells the broker just that, and the remark. */
ESCROW_API escrow_status escrow_decide(escrow_txn **txn, escrow_decision decision,
		const escrow_decide_opts *opts);

typedef void (*escrow_decided_fn)(void *arg, escrow_status status);
/*
 * The same without waiting.  Never waits for room: what is decided makes room.  DONE may be
 * NULL.  Unless it returns OK, DONE is not called; the handle ends in any case.
 */
ESCROW_API escrow_status escrow_decide_async(escrow_txn **txn, escrow_decision decision,
		const escrow_decide_opts *opts, escrow_decided_fn done, void *arg);

/*
 * Decides nothing: the outcome of the local transaction is not known here.  The broker will ask.
 * Frees the handle.  NULL is fine.
 */
ESCROW_API void escrow_abandon(escrow_txn **txn);

/*
 * Decides one transaction and half-sends the next in the same write, so that both share one
 * sync of the broker: for a producer that works one by one this is nearly twice as fast.
 * Returns what became of the half-send, and in *RET_DECIDED (not NULL) of the decision:
 * each may fail without the other.  *TXN ends in any case; *RET_NEXT is the next.
 */
ESCROW_API escrow_status escrow_decide_then_half_send(escrow_txn **txn,
		escrow_decision decision, escrow_status *ret_decided,
		const escrow_message *messages, size_t count, const escrow_half_opts *opts,
		escrow_txn **ret_next) ESCROW_MUSTUSE;

/* ---- RocketMQ's habit ------------------------------------------------------------------------ */

/* The local transaction.  Its answer is the decision; UNKNOWN leaves it to the check. */
typedef escrow_decision (*escrow_local_fn)(escrow_txn *txn, void *arg);
/*
 * sendMessageInTransaction(): half-sends, calls FN in this thread, decides as it says.  OK:
 * committed.  LOCAL: FN said rollback.  IN_DOUBT: FN said unknown.  Otherwise the status of the
 * half-send (FN was not called) or of the commit.  *RET_RAN (may be NULL) says whether FN was.
 */
ESCROW_API escrow_status escrow_send_in_txn(escrow_client *client,
		const escrow_message *messages, size_t count, const escrow_half_opts *opts,
		escrow_local_fn fn, void *arg, int *ret_ran);

/* ---- checks ---------------------------------------------------------------------------------- */

typedef struct escrow_view escrow_view; /* what a check asks about; lives during the call */

/*
 * What became of it?  Found: COMMIT.  "Not found" alone is never ROLLBACK, for the local
 * transaction may still be running: with a fence, insert its ROLLED_BACK first, and answer
 * ROLLBACK only when that is committed.  In doubt UNKNOWN: it will be asked again.
 */
typedef escrow_decision (*escrow_check_fn)(const escrow_view *view, void *arg);
/*
 * FN answers the checks of GROUP (NULL: the client's), from now on and after every
 * reconnect.  One listener per group; a second one takes its place; FN NULL: none, and when it
 * returns the old one does not run.  FN is called one at a time: on the thread for checks,
 * where it may block and make any call but escrow_close(), or in escrow_poll(), where it holds
 * up all else.
 * ARG, NOMEM, and FULL beyond 256 groups.
 */
ESCROW_API escrow_status escrow_on_check(escrow_client *client, const char *group,
		escrow_check_fn fn, void *arg) ESCROW_MUSTUSE;

ESCROW_API const char *escrow_view_gid(const escrow_view *view); /* 32 hex digits */
ESCROW_API const unsigned char *escrow_view_gid_bytes(const escrow_view *view);
ESCROW_API const char *escrow_view_group(const escrow_view *view);
/* its idempotency key; "" when it had none */
ESCROW_API const char *escrow_view_id(const escrow_view *view);
/* ESCROW_DB_ID_SIZE bytes, or NULL when it was half-sent without. */
ESCROW_API const unsigned char *escrow_view_db_id(const escrow_view *view);
ESCROW_API uint32_t escrow_view_number(const escrow_view *view); /* 1 for the first check */
ESCROW_API size_t escrow_view_count(const escrow_view *view); /* messages */
/*
 * One of the messages; RET->struct_size must be set.  A key or a header that RocketMQ's text
 * cannot carry (bytes 1 and 2, null) is missing, the partition is -1, a null value is empty, and
 * the value of a RocketMQ client may be compressed.  ARG: no such message.
 */
ESCROW_API escrow_status escrow_view_message(const escrow_view *view, size_t index,
		escrow_message *ret_message);
/* Why it answers so, for operators: goes with the answer; at most 1024 bytes. */
ESCROW_API void escrow_view_remark(const escrow_view *view, const char *text);

/* ---- cleaning the tables --------------------------------------------------------------------- */

/*
 * The watermark of a database (ESCROW_DB_ID_SIZE bytes): no undecided transaction that names it
 * or names none has a smaller gid, and none will.  Rows of the fence below it may go.
 * UNSUPPORTED with RocketMQ; UNREACHABLE, BUSY, TIMEOUT: ask again later.
 */
ESCROW_API escrow_status escrow_oldest_undecided(escrow_client *client, const void *db_id,
		int timeout_ms, unsigned char ret_gid[ESCROW_GID_SIZE]) ESCROW_MUSTUSE;
/*
 * The same for consumers: no message with a smaller gid will be published any more, not even
 * again.  What Kafka has may still be read: a dedup table forgets below the gid that this call
 * returned as long ago as Kafka keeps the topic.  libescrow-consumer does (its option `escrow`).
 * UNSUPPORTED with RocketMQ, and with an Escrow that does not tell.
 */
ESCROW_API escrow_status escrow_oldest_unpublished(escrow_client *client, int timeout_ms,
		unsigned char ret_gid[ESCROW_GID_SIZE]) ESCROW_MUSTUSE;

/* ---- poll mode ------------------------------------------------------------------------------- */

/* Readable (poll, epoll, select) when escrow_poll() has work.  -1 in thread mode. */
ESCROW_API int escrow_fd(const escrow_client *client);
/*
 * Sends, receives, calls completions and check listeners; waits for something to do at most
 * TIMEOUT_MS (0: not, -1: for ever).  How many callbacks it made, or -1: thread mode, called
 * from a callback, closed, or after fork(); escrow_last_error() tells.
 */
ESCROW_API int escrow_poll(escrow_client *client, int timeout_ms);

/* ---- figures --------------------------------------------------------------------------------- */

typedef struct escrow_stats {
	size_t struct_size;      /* set by the caller */
	uint64_t half_sends;     /* complete, with any status                             */
	uint64_t half_sends_ok;
	uint64_t decisions;      /* complete                                              */
	uint64_t decisions_ok;
	uint64_t repeats;        /* requests sent again                                   */
	uint64_t checks;         /* received                                              */
	uint64_t checks_dropped; /* `checks.max` waited already, or nobody listens        */
	uint64_t connects;
	uint64_t writes;         /* of the socket                                         */
	uint64_t in_flight;      /* requests under way, now                               */
	int32_t connected;       /* now                                                   */
	int32_t rocketmq;        /* the broker is RocketMQ: no fence                      */
} escrow_stats;

#define ESCROW_STATS_INIT { sizeof(escrow_stats), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* What the client did so far, and how it stands.  ARG: RET_STATS->struct_size is not set. */
ESCROW_API escrow_status escrow_get_stats(const escrow_client *client, escrow_stats *ret_stats);

#ifdef __cplusplus
}
#endif

#endif /* ESCROW_ESCROW_H */
