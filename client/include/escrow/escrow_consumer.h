/*
 * escrow_consumer.h -- libescrow-consumer: each message has its effect exactly once.
 *
 *      Kafka ---> poll ---> one queue a partition ---> workers, one database connection each
 *
 *      a worker:   BEGIN                              in your database
 *                  claim the message's id             was it here before? then it is done
 *                  your handler: the effect, in SQL   on the same connection
 *                  COMMIT                             claim and effect together, or neither
 *                  the offset is committed to Kafka   later, and losing it costs nothing
 *
 * A whole consumer:
 *
 *      static int ship(const rd_kafka_message_t *m, void *db, void *arg)
 *      {
 *              char *sql = sqlite3_mprintf("INSERT INTO shipment VALUES (%.*Q)",
 *                                          (int)m->len, (char *)m->payload);
 *              int rc = sqlite3_exec(db, sql, 0, 0, 0);
 *              return (void)arg, sqlite3_free(sql), rc;
 *      }
 *      ...
 *      const char *kafka[] = { "bootstrap.servers=127.0.0.1:9092", "group.id=shipping", NULL };
 *      escrow_consumer_opts o = ESCROW_CONSUMER_OPTS_INIT;
 *
 *      sqlite3_open("shipping.db", &db);
 *      sqlite3_busy_timeout(db, 10000);         others may read and write there too
 *      escrow_store_sqlite(&store, db);
 *      o.kafka = kafka;
 *      o.topics = "orders.paid";
 *      o.stores = &store;
 *      o.handle = ship;
 *      escrow_consumer_open(&c, &o);
 *      escrow_consumer_run(c);          until escrow_consumer_stop(), from a signal handler say
 *      escrow_consumer_close(c);
 *      escrow_store_free(store);
 *
 * Links with -lescrow-consumer and one of -lescrow-sqlite, -lescrow-postgres, -lescrow-mysql.
 *
 * What is the same message.  The header `escrow-id`, which Escrow keeps whenever it publishes
 * again, else `ce_id` (CloudEvents), else `id` (Debezium's outbox).  Never the offset: what is
 * published again has a new one.
 *
 * What the handler may do.  Anything in the transaction that is open on DB, but not end it.
 * Effects elsewhere (mails, calls) happen once for each attempt, and there may be several: a
 * message is handled again after any failure, and when a later one of the same batch fails.
 *
 * Order.  The messages of a partition are handled one after another, in order; one that fails
 * holds up its partition, and no other, while it is tried again with a growing delay.  After
 * `tries_max` attempts it goes to the dead-letter topic, with the reason, and its partition goes
 * on.  An outage of the database is no fault of a message: it is waited for, and nothing counted.
 *
 * Rebalance, crashes, zombies.  A partition is given back when the transaction that runs on it has
 * ended.  A process that lost its partitions without knowing may still commit: the claim sees to
 * it that one of two wins, and the other finds the message done.
 *
 * Threads.  escrow_consumer_run() polls Kafka in the thread that calls it; each store has a worker
 * of its own, in which the handler runs.  The handler's ARG is shared by all.  Signals are
 * blocked in the workers.  escrow_consumer_stop() may be called anywhere, in a signal handler too;
 * everything else of one consumer from one thread.  Nothing survives a fork.
 */
#ifndef ESCROW_ESCROW_CONSUMER_H
#define ESCROW_ESCROW_CONSUMER_H

#include <escrow/escrow.h>
#include <librdkafka/rdkafka.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the store: a database, and what was applied to it -------------------------------------- */

/* How a message is recognised; for a consumer's whole life the same. */
typedef enum escrow_dedup {
	/*
	 * A row for each message, deleted after `remember_ms`.  For any topic.
	 */
	ESCROW_DEDUP_BY_ID = 0,
	/*
	 * A row for each partition and journal of the broker, by `escrow-seq`: the table does not
	 * grow, and nothing expires.  Not for compacted topics, whose gaps are normal.  Messages
	 * without that header are claimed by id.
	 */
	ESCROW_DEDUP_BY_SEQ = 1
} escrow_dedup;

typedef enum escrow_claimed {
	ESCROW_CLAIM_NEW = 0,    /* apply it                                                     */
	ESCROW_CLAIM_SEEN = 1,   /* its effect is durable                                        */
	ESCROW_CLAIM_OLD = 2,    /* older than is remembered: nobody knows                       */
	ESCROW_CLAIM_BEFORE = 3, /* by seq: of before this consumer's first one: nobody knows    */
	ESCROW_CLAIM_GAP = 4,    /* by seq: more than 10,000 are missing before it               */
	ESCROW_STORE_OK = 0,
	ESCROW_STORE_AGAIN = -1, /* a lock or deadlock: roll back, repeat                        */
	ESCROW_STORE_LOST = -2,  /* the connection; of a commit: it may have happened            */
	ESCROW_STORE_BAD = -3,   /* anything else                                                */
	ESCROW_STORE_UNDONE = -4 /* of a commit: the database rolled back instead                */
} escrow_claimed;

typedef struct escrow_claim {
	size_t struct_size;
	const char *consumer;   /* its name */
	escrow_dedup by;
	const void *id;         /* by id: gid and ordinal, 18 bytes; or "ce_id:...", "id:..."    */
	size_t id_len;
	int ours;               /* the former                                                   */
	const char *topic;      /* by seq */
	int32_t partition;
	unsigned char journal[16];
	int64_t n;
	int64_t now_ms;         /* since 1970                                                   */
	int again;              /* by seq: a dead letter that was published again.  It does not
				 * begin its partition, nor say that Kafka's retention did: then
				 * it is ESCROW_CLAIM_BEFORE                              */
} escrow_claim;

/*
 * One connection to a database.  Ready ones: below.  Who brings another database fills in one of
 * these: every function is called from one thread at a time, claim(), commit() and rollback()
 * only after begin(), and begin() again after any error.
 */
typedef struct escrow_store escrow_store;
struct escrow_store {
	size_t struct_size;
	void *db;   /* what the handler gets */
	/* Opens a transaction, READ COMMITTED; after a LOST on a new connection. */
	int (*begin)(escrow_store *store);
	/* Inserts first and looks afterwards (TABLES.md): a claim of ESCROW_CLAIM_NEW must
	 * be durable with the transaction and not otherwise, and of two at once one waits. */
	int (*claim)(escrow_store *store, const escrow_claim *claim);
	int (*commit)(escrow_store *store);
	int (*rollback)(escrow_store *store);
	/* Forgets messages begun before the gid LOW, and foreign ids that came before SEEN_MS;
	 * raises the watermark first.  Not all at once, for messages wait meanwhile: above 0 says
	 * that there is more, and it is called again.  Outside of a transaction. */
	int (*forget)(escrow_store *store, const char *consumer, const unsigned char low[16],
		      int64_t seen_ms);
	/* Of the last call that failed; lives until the next. */
	const char *(*error)(const escrow_store *store);
	void (*free)(escrow_store *store);
	/* Remembers durably that at NOW_MS nothing begun before the gid OLDEST was still to be
	 * published (NULL: it is not known now), and finds the greatest OLDEST that was remembered
	 * before BEFORE_MS; zeroes: there is none yet.  Only for the option `escrow`, else it may
	 * be NULL, or missing by struct_size.  Outside of a transaction. */
	int (*mark)(escrow_store *store, const char *consumer, const unsigned char *oldest,
		    int64_t now_ms, int64_t before_ms, unsigned char ret_low[16]);
	/* By seq: a message that comes to be a dead letter was met.  If it is the first of its
	 * partition, that is remembered durably, so that it is none of before when it is published
	 * again.  May be NULL, or missing by struct_size.  Outside of a transaction. */
	int (*meet)(escrow_store *store, const escrow_claim *claim);
};

struct sqlite3;
struct pg_conn;
struct st_mysql;

/*
 * Stores on a connection of yours, which stays yours and must outlive the store.  They make the
 * tables escrow_dedup, escrow_meta_c, escrow_hw and escrow_gap where they are missing.  When
 * a connection was lost they make it anew with its own settings (PQreset(), mariadb_reconnect()):
 * settings of the session belong into the conninfo's `options`, or MYSQL_INIT_COMMAND.
 * DATABASE: the sentence says why.  NOMEM.
 */
ESCROW_API escrow_status escrow_store_sqlite(escrow_store **ret_store,
		struct sqlite3 *db) ESCROW_MUSTUSE;
ESCROW_API escrow_status escrow_store_postgres(escrow_store **ret_store,
		struct pg_conn *db) ESCROW_MUSTUSE;
ESCROW_API escrow_status escrow_store_mysql(escrow_store **ret_store,
		struct st_mysql *db) ESCROW_MUSTUSE;
ESCROW_API void escrow_store_free(escrow_store *store); /* NULL is fine; DB stays open */

/* ---- the consumer --------------------------------------------------------------------------- */

/* What a handler returns; anything else is a failure too, and means ESCROW_RETRY. */
#define ESCROW_HANDLED 0    /* commit it */
#define ESCROW_RETRY   1    /* roll it back, and try it again later                              */
#define ESCROW_GIVE_UP (-1) /* roll it back: to the dead-letter topic with it, at once          */

/* DB: store->db, inside the transaction.  A reason given to escrow_set_last_error() goes with a
 * dead letter. */
typedef int (*escrow_handle_fn)(const rd_kafka_message_t *message, void *db, void *arg);

/* What has been done so far, and how it stands. */
typedef struct escrow_consumer_stats {
	size_t struct_size;
	uint64_t handled;       /* effects that are durable                                     */
	uint64_t duplicates;    /* found done                                                   */
	uint64_t failures;      /* handlers that failed                                         */
	uint64_t dead;          /* dead letters                                                 */
	uint64_t transactions;  /* of the database, committed                                   */
	uint64_t database_errors; /* transactions that the database ended                       */
	uint64_t rebalances;    /* assignments                                                  */
	uint64_t offset_errors; /* offset commits that Kafka refused                            */
	uint64_t forget_errors; /* cleanings of the tables that failed                          */
	uint64_t queued;        /* messages fetched and not done, now                           */
	uint64_t partitions;    /* assigned, now                                                */
	uint64_t waiting;       /* of them held up by a failure, now                            */
	uint64_t sent;          /* by escrow_consumer_send(), in transactions that committed    */
	uint64_t send_errors;   /* transactions that rolled back because it could not           */
} escrow_consumer_stats;

typedef struct escrow_consumer_opts {
	size_t struct_size;            /* ESCROW_CONSUMER_OPTS_INIT                             */
	const char *const *kafka;      /* "property=value" of librdkafka, ended by NULL; at least
				        * bootstrap.servers and group.id.  Unless given,
				        * auto.offset.reset is earliest and socket.timeout.ms
				        * 10000; offsets are ours to commit                      */
	const char *topics;            /* separated by commas                                   */
	const char *name;              /* of this consumer in its tables, at most 32 bytes; NULL:
				        * the group.id.  Another name applies everything again   */
	escrow_store *const *stores;   /* one a worker; they must outlive the consumer           */
	size_t store_count;
	escrow_handle_fn handle;
	void *arg;
	escrow_dedup dedup;
	int32_t batch_max;             /* messages of one transaction, of what waits anyway; 1:
				        * each has its own                                      */
	int32_t tries_max;             /* then it is a dead letter.  -1: tried for ever, and its
				        * partition waits                                       */
	int32_t retry_ms;              /* after the first failure; doubles ...                   */
	int32_t retry_max_ms;          /* ... up to this                                        */
	const char *dead_letter_topic; /* NULL: the message's topic and ".dlq"                   */
	int32_t apply_without_id;      /* messages that have no id are handled, each time they
				        * come; else they are dead letters                       */
	int64_t remember_ms;           /* by id: so long, at least the time that a copy may still
				        * arrive: the topic's retention and, unless `escrow` is
				        * given, the longest that a transaction may be undecided.
				        * Older ones are dead letters, never applied in silence.
				        * -1: for ever                                           */
	int32_t stats_ms;              /* how often `stats` is called                           */
	void (*stats)(void *arg, const escrow_consumer_stats *stats); /* in run()'s thread; or 0 */
	escrow_log_fn log;             /* or 0: nothing is said                                 */
	void *log_arg;                 /* of both                                               */
	const char *const *escrow;     /* URLs of all Escrow daemons that publish to these topics,
				        * ended by NULL; or NULL.  Once an hour they are asked
				        * what they may still publish: then what was parked for
				        * longer than `remember_ms` is no dead letter when it
				        * comes, and what comes twice is recognised            */
} escrow_consumer_opts;

#define ESCROW_CONSUMER_OPTS_INIT                                                              \
	{                                                                                       \
		sizeof(escrow_consumer_opts), 0, 0, 0, 0, 1, 0, 0, ESCROW_DEDUP_BY_ID, 64, 10, \
			200, 30000, 0, 0, INT64_C(2592000000) /* 30 days */, 10000, 0, 0, 0, 0   \
	}

/*
 * Headers of a dead letter, besides those of the message, whose key, value and timestamp it has:
 *   escrow-dead-reason      a sentence
 *   escrow-dead-consumer    the consumer's name
 *   escrow-dead-from        TOPIC/PARTITION/OFFSET; of one that was published again and failed
 *                           again, those of the first time
 *   escrow-dead-tries       how often it was tried
 *   escrow-dead-without     it was too large for Kafka with these: its value, of so many bytes, is
 *                           left out, and its key and other headers if need be.  It lies where it
 *                           came from, as long as Kafka keeps it.  Such a letter is never applied
 * It may come twice (same escrow-id) when the process dies right behind it.  Published again with
 * all its headers, it is applied like any other message that never was: to its topic, whichever
 * partition it comes to, for by seq it is recognised by where it came from.  By seq it is a dead
 * letter once more for a consumer that has not read that far there.
 */

/* ---- to send from a handler ----------------------------------------------------------------- */

struct escrow_table; /* <escrow/escrow_table.h> */
/*
 * In a handler: half-sends, and publishes exactly if the transaction commits in which the handler
 * runs.  What was heard, what was done and what is said are then one: killed before COMMIT, the
 * message comes again and what was half-sent is rolled back; killed behind it, the check finds the
 * row.  As often as need be.  TABLE is attached to a client, and of the store's database.
 *
 * OK: it goes with the transaction.  After anything else that is rolled back, whatever the
 * handler returns.  When the broker cannot be reached, or refuses for now, that is waited for as an
 * outage of the database is; what it refuses for good is a failure of the handler.  ARG: not in a
 * handler; else as escrow_table_join().
 */
ESCROW_API escrow_status escrow_consumer_send(struct escrow_table *table,
		const escrow_message *messages, size_t count,
		const escrow_half_opts *opts) ESCROW_MUSTUSE;

/* ---- open, run, close ----------------------------------------------------------------------- */

typedef struct escrow_consumer escrow_consumer;

/*
 * Copies the options but for the stores.  ARG: the sentence names what is wrong; also a property
 * that librdkafka refuses, or one that is ours: enable.auto.commit, enable.auto.offset.store.
 * NOMEM.  Kafka is not waited for.
 */
ESCROW_API escrow_status escrow_consumer_open(escrow_consumer **ret_consumer,
		const escrow_consumer_opts *opts) ESCROW_MUSTUSE;
/*
 * Consumes until stopped: OK.  The transactions that run then end, their offsets are committed, and
 * the group is left, unless by a consumer with a group.instance.id, whose place is kept.  A Kafka
 * that does not answer is waited for 12 s at most; what it did not hear costs duplicates, which are
 * recognised.  Once only for each consumer.
 *   EXPIRED   by seq, and Kafka's retention has overtaken this consumer: more than 10,000
 *             messages are gone for good.  Who accepts that deletes the row of that topic,
 *             partition and journal from escrow_hw, and runs again
 *   PROTOCOL  librdkafka ended the consumer: the sentence is its own
 *   NOMEM
 */
ESCROW_API escrow_status escrow_consumer_run(escrow_consumer *consumer) ESCROW_MUSTUSE;
/* Lets run() return soon.  From any thread or signal handler, before run() too. */
ESCROW_API void escrow_consumer_stop(escrow_consumer *consumer);
/* After run() has returned, or instead of it.  NULL is fine.  When Kafka was not told of the end it
 * takes as long as librdkafka waits for it: socket.timeout.ms, or session.timeout.ms. */
ESCROW_API void escrow_consumer_close(escrow_consumer *consumer);
/* From any thread.  RET->struct_size is set by the caller. */
ESCROW_API void escrow_consumer_get_stats(escrow_consumer *consumer,
		escrow_consumer_stats *ret_stats);

#ifdef __cplusplus
}
#endif

#endif /* ESCROW_ESCROW_CONSUMER_H */
