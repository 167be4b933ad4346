/*
 * mailbox.h -- from the HTTP threads to the loop and back, as plain structs.
 *
 *     HTTP thread                         loop's thread
 *     mailbox_post(mail)  ---- wake ---->  mailbox_turn(): the clerk fills it
 *                                            at once, or keeps it waiting for
 *                                            an answer or a read
 *     done(mail)          <--------------  mailbox_done()
 *
 * A mail belongs to the poster until mailbox_post(), to the loop until DONE is called, and to
 * the poster again after.  DONE runs on the loop's thread and only resumes a connection.
 * What the loop found is memory of the mail's own: mail_clear() frees it, on the poster's side.
 *
 * The clerk (desk.c, or a fake in tests) is the only one who reads the core.
 */
#ifndef MAILBOX_H
#define MAILBOX_H

#include "base/list.h"
#include "http/tally.h"
#include "journal/journal.h"
#include "relay/relay.h"
#include "remoting/remoting.h"

enum mail_kind {
	MAIL_SNAPSHOT,	  /* status, journal, kafka, metrics, readiness                */
	MAIL_LIST,	  /* transactions: query                                       */
	MAIL_TXN,	  /* one transaction: gid, want_payload                        */
	MAIL_OPERATE,	  /* a command: op                                             */
	MAIL_GROUPS,	  /* a page from `at`                                          */
	MAIL_TOPICS,
	MAIL_CONNECTIONS,
	MAIL_WATERMARK,	  /* db_id                                                     */
};

struct topic_brief {
	char name[LIMIT_TOPIC_BYTES + 130]; /* Kafka allows 249 */
	uint64_t pending;
	uint32_t frozen;
	int32_t partitions;
	uint32_t max_bytes;
};

struct group_brief {
	char name[LIMIT_GROUP_BYTES + 1];
	uint32_t listeners;
	uint64_t waiting;
	uint64_t waiting_bytes;
	bool silent;
};

struct conn_brief {
	uint64_t peer;
	char addr[NET_ADDR_TEXT];
	char client_id[128];
	char language[32];
	uint32_t version;
	uint64_t requests;
	bool binary;
};

/* All numbers of one moment. */
struct snapshot {
	uint64_t wall_ms;
	int64_t now_ns;
	struct core_stats core;
	struct journal_stats journal;
	struct remoting_stats remoting;
	struct relay_stats relay;
	struct tally tally;
	uint8_t journal_id[16];
	uint64_t owed;
	uint32_t topic_count; /* the first metrics.max_topics of them, with topics wanted */
	struct topic_brief *topics;
};

/* A half message, copied: one allocation, strings point into it. */
struct half_copy {
	struct half half;
	struct message *messages; /* = half.messages; values cut to what was wanted       */
	uint64_t *value_bytes;	  /* as stored, before the cut                           */
};

struct mail {
	struct list node;
	uint64_t number; /* the mailbox's: reply_to.peer and the token of reads  */
	enum mail_kind kind;
	void (*done)(struct mail *m);

	/* What is asked; strings are the poster's and outlive the mail. */
	struct list_query query;
	struct gid gid;
	struct operation op;
	uint8_t db_id[16];
	uint32_t at;	   /* GROUPS, TOPICS, CONNECTIONS: cursor, 0 to begin           */
	uint32_t limit;
	bool want_half;	   /* TXN: the half too, not only the row                           */
	uint32_t value_bytes; /* TXN: of each stored value copy so much...               */
	bool whole_if_packed; /* ...or all when it is compressed                         */
	bool want_topics;  /* SNAPSHOT                                                   */

	/* What the loop found.  ERR_NOTFOUND; ERR_CLOSED: the daemon stops; ERR_IO: unreadable. */
	int err;
	struct answer answer; /* OPERATE; `why` is below                               */
	char why[HTTP_WHY_BYTES];
	uint64_t wall_ms;
	uint32_t count;
	uint32_t next;	  /* cursor; 0: that was all                                     */
	uint64_t next_seq;
	struct row_view *rows;
	struct timeline_event *timeline;
	uint32_t timeline_count;
	struct half_copy *half;	   /* TXN; NULL: the half is gone, or cannot be read        */
	int half_err;
	struct group_brief *groups;
	struct topic_brief *topics;
	struct conn_brief *conns;
	struct snapshot *snapshot;
	struct gid watermark;
	struct gid unpublished;
	char *text; /* strings of rows                                                    */
};

struct mailbox;

/* Who fills mails, on the loop's thread. */
struct clerk {
	void *arg;
	/* True: M is filled.  False: mailbox_find() and mailbox_done() follow, some turn later. */
	bool (*fill)(void *arg, struct mail *m, int64_t now_ns);
};

/* NET is woken for each post. */
struct mailbox *mailbox_new(struct net *net);
struct mailbox *mailbox_free(struct mailbox *mb);

/* Any thread.  ERR_CLOSED: not taken, the mail is still the poster's. */
int mailbox_post(struct mailbox *mb, struct mail *m) MUSTUSE;

/* The loop's thread. */
void mailbox_turn(struct mailbox *mb, const struct clerk *clerk, int64_t now_ns);
struct mail *mailbox_find(struct mailbox *mb, uint64_t number); /* among the waiting; NULL */
void mailbox_done(struct mailbox *mb, struct mail *m);
/* Everything posted and waiting ends with ERR_CLOSED; nothing is taken any more. */
void mailbox_close(struct mailbox *mb);

void mail_clear(struct mail *m);

/* For clerks: copies, in memory of the mail's own. */
void mail_take_rows(struct mail *m, const struct row_view *rows, uint32_t count);
struct half_copy *half_copy(const struct half *half, uint32_t value_bytes, bool whole_if_packed);

#endif /* MAILBOX_H */
