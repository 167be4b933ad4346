/*
 * inside.h -- what the files of libescrow share.
 *
 *      any thread                         the engine: one thread, or whoever polls
 *      ----------                         ----------------------------------------
 *      encode, push --> queue (lock-free) --> waiting --> table (by opaque) --> done()
 *                                               ^            |
 *                                               +-- repeat --+  connection lost, broker busy
 *
 * A request is encoded once, by the thread that makes it, and kept until it is complete,
 * for it may have to be sent again.  Only the engine touches the connection, the lists and
 * the table; what others may touch is atomic or behind a mutex that is named beside it.
 */
#ifndef ESCROW_INSIDE_H
#define ESCROW_INSIDE_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#include "escrow/escrow.h"
#include "producer/hold.h"
#include "wire/wire.h"

#define NS_PER_MS INT64_C(1000000)
#define NS_PER_US INT64_C(1000)
#define TIME_NEVER INT64_MAX

#define DETAIL_MAX 512   /* a sentence of escrow_last_error(), with its NUL              */
#define GROUP_MAX 255
#define ID_MAX 255
#define TOPIC_MAX 127
#define KEY_MAX 32767
#define PART_MAX 32000   /* key and headers of one message: PROTOCOL.md, 7802            */
#define HEADERS_MAX 1024
#define REMARK_MAX 1024
#define LISTENERS_MAX WIRE_GROUPS_MAX
#define SERVERS_MAX 64
#define TABLE_MAX (1u << 24) /* requests under way at once                                */

/* Says why, for escrow_last_error(), and returns STATUS. */
escrow_status fail(escrow_status status, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* ---- conf.c ---------------------------------------------------------------------------------- */

enum conf_mode { MODE_THREAD, MODE_POLL };
enum conf_broker { BROKER_AUTO, BROKER_ESCROW, BROKER_ROCKETMQ };

struct server {
	char *host;
	char port[6];
	size_t first; /* of its addresses, to be tried next */
};

struct escrow_conf {
	char *servers, *group, *client_id;
	char *tls_ca, *tls_cert, *tls_key, *tls_name;
	int64_t mode, broker, tls, tls_verify; /* booleans and enums are numbers here */
	int64_t timeout_ms, retry_ms, linger_us, window, window_bytes, checks_max;
	int64_t connect_ms, backoff_ms, backoff_max_ms, heartbeat_ms, refresh_ms;
	char text[32]; /* what escrow_conf_get() said of a number */
	escrow_log_fn log;
	void *log_arg;
};

/* The list `servers`, taken apart.  *RET_SERVERS is malloced, each host too. */
escrow_status conf_servers(const char *text, struct server **ret_servers, size_t *ret_count);
void servers_free(struct server *servers, size_t count);

/* ---- requests -------------------------------------------------------------------------------- */

enum op_kind {
	OP_HALF,
	OP_END,
	OP_WATERMARK,
	OP_HELLO,     /* "are you Escrow?", and a heartbeat: made and sent by the engine  */
	OP_HEARTBEAT,
};

struct op;
/*
 * The end of a request: called once, by the engine; the op is its callee's from then on.  WHY is
 * a sentence unless STATUS is OK; ANSWER is the broker's when there is one.
 */
typedef void (*op_done_fn)(struct op *op, escrow_status status, const char *why,
			   const struct wire_command *answer);

struct op {
	struct op *next;
	struct op *prev;       /* in a list                                             */
	escrow_client *client;
	uint64_t end;	       /* position in the stream of its last byte               */
	op_done_fn done;
	uint8_t *frame;        /* its owner's, or malloced                              */
	size_t n;
	size_t weight;         /* bytes that it takes of the window; 0: none            */
	int64_t deadline_ns;
	int64_t again_ns;      /* not to be sent before: the broker was busy            */
	int64_t backoff_ns;
	int32_t opaque;        /* of the attempt under way                              */
	enum op_kind kind;
	uint8_t parity;        /* which flush waits for it                              */
	bool oneway;
	bool urgent;           /* does not linger: somebody waits                       */
	bool under_way;        /* in the table                                          */
	bool doubt;            /* an earlier attempt was sent and never answered        */
	bool busy;             /* the last attempt was refused for now                  */
	bool owns_frame;
};

/* What OP is the member of. */
#define OWNER(op, type, member) ((type *)((char *)(op)-offsetof(type, member)))

/* Oldest first. */
struct ops {
	struct op *head, *tail;
	size_t count;
};

/* A thread that waits for one request. */
struct waiter {
	escrow_client *turns; /* poll mode: whose engine the thread runs meanwhile; or NULL */
	sem_t sem;
	atomic_bool done; /* poll mode looks at it */
	escrow_status status;
	escrow_txn *txn;
	unsigned char gid[ESCROW_GID_SIZE];
	char why[DETAIL_MAX];
};

#define END_ROOM 288 /* an END with a group and tokens of usual length */

struct escrow_txn {
	struct op op; /* the half-send, later the decision: one of them at a time */
	escrow_client *client;
	union {
		escrow_half_sent_fn half_sent;
		escrow_decided_fn decided;
	} fn;
	void *arg;
	struct waiter *waiter;
	int64_t log_offset, state_offset;
	char gid[ESCROW_GID_TEXT];
	unsigned char gid_bytes[ESCROW_GID_SIZE];
	char *id;	       /* the idempotency key                                   */
	char *group;
	uint8_t small[END_ROOM];
	char text[];	       /* id and group                                          */
};

/* ---- link.c: the socket, with or without TLS ------------------------------------------------- */

enum link_state { LINK_CLOSED, LINK_RESOLVING, LINK_CONNECTING, LINK_SHAKING, LINK_OPEN };

struct tls; /* tls.c */

struct link {
	int fd;
	enum link_state state;
	struct addrinfo *addrs, *addr; /* of the server; the one being tried */
	size_t at, count;	       /* its number; how many there are     */
	struct tls *tls;
	bool want_read, want_write;    /* what the state or TLS waits for  */
	bool fatal;		       /* no other attempt can do better   */
	char why[DETAIL_MAX];	       /* after a failure                  */
};

/* Begins to connect to one of ADDRS, which it takes.  0, or -1 with `why`. */
int link_open(struct link *l, const struct server *server, struct addrinfo *addrs,
	      struct tls *tls);
/* The socket is ready: goes on with connecting.  0, or -1. */
int link_go_on(struct link *l, const struct server *server);
/* Bytes; 0 when there is no more for now; -1: it ended, see `why`. */
ssize_t link_read(struct link *l, void *buf, size_t room);
ssize_t link_write(struct link *l, const void *buf, size_t n);
void link_close(struct link *l);

/* The settings, once per client: ARG when a file cannot be used, and so on. */
escrow_status tls_new(const escrow_conf *conf, struct tls **ret_tls);
void tls_free(struct tls *t);
/* One session at a time. */
int tls_begin(struct tls *t, int fd, const char *host);
/* 1: done, 0: go on when ready for *RET_WRITE, -1: failed, WHY is set; -2: not trusted. */
int tls_shake(struct tls *t, bool *ret_write, char why[DETAIL_MAX]);
ssize_t tls_read(struct tls *t, void *buf, size_t room, char why[DETAIL_MAX]);
ssize_t tls_write(struct tls *t, const void *buf, size_t n, char why[DETAIL_MAX]);
void tls_end(struct tls *t);

/* ---- resolve.c ------------------------------------------------------------------------------- */

struct lookup;
/* Here and now; DIGITS: only if it is an address already.  0, or an EAI_... */
int lookup_now(const struct server *server, bool digits, struct addrinfo **ret_addrs);
/*
 * In a thread of its own, which writes to the eventfd WAKE in the end.  FD: the connection that
 * there is, or -1; when it leads to none of the addresses, those are knocked at, KNOCK_MS each.
 * NULL: no thread.
 */
struct lookup *lookup_begin(const struct server *server, int fd, int knock_ms, int wake);
bool lookup_done(const struct lookup *l);
/* Once done: the connection leads to none of the addresses, and at one of them somebody listens. */
bool lookup_moved(const struct lookup *l);
/* Once done: its end. */
int lookup_take(struct lookup *l, struct addrinfo **ret_addrs);
/* Its end, whenever it comes.  NULL is fine. */
void lookup_abandon(struct lookup *l);

/* ---- engine.c -------------------------------------------------------------------------------- */

struct engine {
	int epoll, wake, timer; /* timer: poll mode only, else -1 */
	struct link link;
	struct tls *tls;
	struct server *servers;
	size_t server_count, server;
	size_t tried;	       /* servers in vain since the last pause */
	bool others;	       /* not all of them were strangers */
	struct lookup *lookup; /* of the server: to connect, or to see whether it moved */
	bool named;	       /* the server is given by name */
	int64_t refresh_ns;    /* when to look again */
	int missed;	       /* lookups in a row that lead elsewhere */
	int64_t leave_ns;      /* nothing more is sent here, and then it ends; or 0 */
	int watched_fd;	       /* what epoll knows of the socket */
	uint32_t watched;
	int64_t now_ns;
	int64_t next_ns;       /* nothing is due before */
	int64_t backoff_ns;
	int64_t connect_ns;    /* when to connect; or the connecting ends */
	int64_t heard_ns;      /* last; or when there began to be something to hear */
	int64_t beat_ns;
	int64_t linger_ns;     /* what is in `out` is written then */
	bool ready;	       /* the broker said what it is */
	bool rocketmq;
	char why[DETAIL_MAX];  /* there is no connection; empty: it is being made */
	bool hello_failed;     /* what answers is neither Escrow nor RocketMQ */

	uint8_t *in, *out;
	size_t in_n, in_room;
	size_t out_n, out_at, out_room;
	int32_t last_opaque;
	struct op **table;
	size_t table_size, table_count;
	uint64_t appended, taken; /* bytes of the stream, ever: by us, by the socket */
	struct ops waiting;    /* not under way, in order */
	struct ops delayed;    /* the broker was busy */
	uint64_t random;
};

escrow_status engine_open(escrow_client *c);
void engine_close(escrow_client *c);
/* One turn; sleeps at most TIMEOUT_NS (TIME_NEVER: until something happens). */
void engine_turn(escrow_client *c, int64_t timeout_ns);
/* Any thread: hands over a request, and perhaps a second one for the same write. */
void engine_push(escrow_client *c, struct op *op, struct op *behind);
void engine_wake(escrow_client *c);
/* Fails everything there is: the client is being closed. */
void engine_fail_all(escrow_client *c);
/* The engine's: OP is under way, its bytes behind what goes out next. */
void engine_append(escrow_client *c, struct op *op);
int64_t clock_ns(void);

static inline int64_t
min_ns(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* ---- requests.c: the engine's only ----------------------------------------------------------- */

void ops_add(struct ops *l, struct op *op);
void ops_remove(struct ops *l, struct op *op);
/* Gives OP an opaque that has never been under way on this connection.  False: no memory. */
bool table_add(struct engine *e, struct op *op);
/* What was under way as OPAQUE, and is no longer; or NULL. */
struct op *table_take(struct engine *e, int32_t opaque);
/* Its end. */
void op_finish(escrow_client *c, struct op *op, escrow_status status, const char *why,
	       const struct wire_command *answer);
/* Again in a while, if there is time for that. */
bool op_put_off(struct engine *e, struct op *op);
/* Ends what has no time left; what was put off for long enough waits again. */
void requests_sweep(escrow_client *c);
/* What was under way waits again, before all that never was, in its order. */
void requests_take_back(escrow_client *c);
/* Ends all that waits: with TIMEOUT what may have arrived, with STATUS what has not. */
void requests_fail(escrow_client *c, escrow_status status, const char *why);

/* ---- connect.c: the engine's only ------------------------------------------------------------ */

/* Connects, gives up, looks the name up again, lets the heart beat: whatever is due. */
void connect_turn(escrow_client *c);
/* The socket is ready, and the connection not open yet. */
void connect_go_on(escrow_client *c);
/* The connection ended, or never came to be: link.why says it, or WHY. */
void connect_lost(escrow_client *c);
void connect_lost_because(escrow_client *c, const char *why);
/* Tells epoll, if anybody uses it, what the socket waits for. */
void connect_watch(escrow_client *c);
/* There is a connection to a broker, or none: for who waits for that. */
void connect_set(escrow_client *c, bool on);

/* ---- rocketmq.c ------------------------------------------------------------------------------ */

/* Makes a request one that RocketMQ knows, once.  NULL, or why that cannot be. */
const char *rocketmq_frame(struct op *op);

/* ---- view.c ---------------------------------------------------------------------------------- */

struct seen_message {
	char topic[TOPIC_MAX + 1];
	struct wire_str key, value;
	escrow_header *headers;
	size_t header_count;
};

struct escrow_view {
	struct escrow_view *next;
	char gid[ESCROW_GID_TEXT];
	unsigned char gid_bytes[ESCROW_GID_SIZE];
	char group[GROUP_MAX + 1];
	char id[ID_MAX + 1];
	bool rocketmq; /* of a broker that is RocketMQ */
	bool has_db;
	unsigned char db[ESCROW_DB_ID_SIZE];
	uint32_t number;
	int64_t log_offset, state_offset;
	size_t count;
	struct seen_message *messages;
	char *remark; /* of REMARK_MAX + 1 */
	size_t n;
	char body[]; /* a copy, in which marks become NULs */
};

/* COMMAND is a check.  NULL: it cannot be read, or there is no memory. */
struct escrow_view *view_read(const struct wire_command *command, bool rocketmq);
void view_free(struct escrow_view *v);

/* ---- check.c --------------------------------------------------------------------------------- */

struct listener {
	char *group;
	escrow_check_fn fn;
	void *arg;
};

struct checks {
	pthread_mutex_t mutex;	    /* all of this */
	pthread_cond_t news, idle;
	struct listener listeners[LISTENERS_MAX];
	size_t listener_count;
	struct escrow_view *head, **tail; /* checks that wait */
	size_t count;
	const char *running;	    /* group of the check that is being answered, or NULL */
	pthread_t thread, runner;   /* the checks' own; who runs one now */
	bool has_thread;
	bool stop;
	atomic_bool changed;	    /* the engine shall tell the broker */
};

void checks_init(escrow_client *c);
/* No check runs after it. */
void checks_stop(escrow_client *c);
void checks_done(escrow_client *c);
/* True inside of a listener. */
bool checks_is_runner(escrow_client *c);
/* The engine received one. */
void checks_take(escrow_client *c, const struct wire_command *command);
/* Poll mode: answers what waits; how many. */
int checks_run(escrow_client *c);
/* The groups that have a listener, into H, whose strings live while checks.mutex is held. */
void checks_groups(escrow_client *c, struct wire_heartbeat *h);

/* ---- client.c -------------------------------------------------------------------------------- */

struct escrow_client {
	struct escrow_conf *conf;
	atomic_uint *alive;    /* on a page that a child of fork() finds empty */
	atomic_int refs;       /* the opener's, and one for each transaction and table */
	atomic_bool closed;    /* takes no more requests */
	atomic_int inside;     /* calls that escrow_close() waits for: client_enter() */
	char client_id[256];
	uint64_t id_random;
	atomic_uint_fast64_t id_count;

	struct engine engine;
	pthread_t thread;
	bool has_thread;       /* thread mode: from the opening on */
	atomic_bool stop;
	pthread_t poller;      /* who is in engine_turn() in poll mode, or closes the client */
	atomic_bool polling;
	int callbacks;	       /* made in this poll */

	_Atomic(struct op *) queue;
	atomic_bool asleep;
	atomic_int hurry;      /* flushes: nothing lingers */

	atomic_size_t halves;  /* in the window */
	atomic_size_t bytes;
	atomic_size_t under_way[2]; /* requests, by parity of the flush that waits for them */
	atomic_uint parity;
	atomic_int waiters;    /* for room, a flush or a connection */
	pthread_mutex_t mutex; /* with `changed` */
	pthread_cond_t changed;
	atomic_bool flushing;  /* one at a time */
	atomic_bool connected;

	struct checks checks;
	struct {
		atomic_uint_fast64_t half_sends, half_sends_ok, decisions, decisions_ok, repeats;
		atomic_uint_fast64_t checks, checks_dropped, connects, writes;
		atomic_bool rocketmq;
	} stats;
};

/* OK, or why no call can do anything: ARG for NULL, CLOSED, FORK. */
escrow_status client_usable(const escrow_client *c);
/*
 * Before and behind what uses C and may meet escrow_close() in another thread, which waits for it:
 * what it completes may otherwise be all that kept C.  Enters only when it is usable.
 */
escrow_status client_enter(escrow_client *c);
void client_leave(escrow_client *c);
/* True where blocking would be for ever: in a callback of the engine. */
bool client_in_callback(const escrow_client *c);
/* OK, or ARG there. */
escrow_status client_may_block(const escrow_client *c);
/* Room for a half-send of BYTES in the window: FULL... */
escrow_status client_room(escrow_client *c, size_t bytes, bool wait, int64_t timeout_ms);
/* ...and back. */
void client_no_room(escrow_client *c, size_t bytes);
/* Starts a thread that takes no signals; RET_THREAD NULL: one that nobody joins.  0 or an errno. */
int client_thread(pthread_t *ret_thread, void *(*fn)(void *), void *arg);
void client_log(const escrow_client *c, escrow_log_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Something that waiters look at has changed. */
void client_changed(escrow_client *c);
/* Counts it, and perhaps one behind it, and hands them to the engine.  CLOSED. */
escrow_status client_submit(escrow_client *c, struct op *op, struct op *behind);
/* A request that was counted is complete, its callback included. */
void client_complete(escrow_client *c, unsigned parity);
void waiter_init(struct waiter *w, escrow_client *c);
/* Waits for the request that W belongs to, when the client may be gone; status and sentence. */
escrow_status client_await(struct waiter *w);
void waiter_wake(struct waiter *w, escrow_status status, const char *why);

/* ---- half.c ---------------------------------------------------------------------------------- */

/* A transaction with its half-send encoded, and room taken for it. */
escrow_status half_prepare(escrow_client *c, const escrow_message *messages, size_t count,
			   const escrow_half_opts *given, bool wait, escrow_txn **ret_txn);
/* Hands it over; after an error TXN is gone. */
escrow_status half_submit(escrow_client *c, escrow_txn *txn);
/* Nobody holds the handle any more. */
void txn_free(escrow_txn *txn);
/* Frees the frame, if it is the op's own. */
void op_free_frame(struct op *op);
/*
 * Copies the caller's struct, of whatever version, over the defaults in TO.  False: it is none, or
 * says something in a field that this version does not know.
 */
bool struct_take(void *to, size_t size, const void *from);
/* N bytes as lower-case hex digits and a NUL. */
void hex_put(char *to, const unsigned char *bytes, size_t n);
/* 32 hex digits as text and bytes.  False: they are not. */
bool gid_take(struct wire_str text, char ret_gid[ESCROW_GID_TEXT],
	      unsigned char ret_bytes[ESCROW_GID_SIZE]);

static inline struct wire_str
str_of(const char *text)
{
	return (struct wire_str){ text, text ? strlen(text) : 0 };
}

/* ---- end.c ----------------------------------------------------------------------------------- */

enum wire_decision decision_of(escrow_decision decision);
/* An END of these, into malloced memory or ROOM bytes at SMALL; sets frame, n, owns_frame. */
escrow_status encode_end(struct op *op, const struct wire_end *e, const char *remark, void *small,
			 size_t room);

#endif /* ESCROW_INSIDE_H */
