/*
 * limits.h -- every bound of the core, with its default and the answer given at it.
 *
 * Fixed ones are #defines.  Fields of struct core_conf with a key beside them are set by
 * conf/escrowd.conf; the others have no key, and limits.c has their only value.
 */
#ifndef LIMITS_H
#define LIMITS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/txn.h"

#define LIMIT_TOPIC_BYTES 127	     /* RocketMQ's; Kafka allows 249.  REFUSED            */
#define LIMIT_GROUP_BYTES 255	     /* REFUSED                                          */
#define LIMIT_KEY_BYTES 255	     /* idempotency key.  REFUSED                        */
#define LIMIT_KAFKA_KEY_BYTES 32767  /* key of a message.  REFUSED                       */
#define LIMIT_HEADERS_BYTES 32512    /* of one message, see PROTOCOL.md.  REFUSED         */
#define LIMIT_HEADERS 1024	     /* of one message.  REFUSED                         */
#define LIMIT_MESSAGES 256	     /* of one transaction.  REFUSED                     */
#define LIMIT_EDGE_BYTES 8192	     /* what an edge keeps with a half.  REFUSED          */
#define LIMIT_RECORD_MORE (512u << 10) /* a half message's record, also as a copy: at most so
					much beyond limits.message; a frame's slack is in it  */
#define LIMIT_REASON_BYTES 1024	     /* an operator's.  REFUSED                          */
#define LIMIT_WHO_BYTES 128	     /* cut short                                        */
#define LIMIT_TOPICS 10000	     /* of the catalogue.  BUSY                          */
#define LIMIT_TOPIC_WAITS 256	     /* unknown topics asked about at one time.  BUSY    */
#define LIMIT_DBS 4096		     /* databases that half messages name; more count as none */
#define LIMIT_GROUPS 100000	     /* producer groups: old history goes first, then BUSY */
#define LIMIT_GROUPS_RECOVERED (1u << 20) /* while the journal is read: what a row's number
						can tell; old history goes first      */
#define LIMIT_REPEATS 255	     /* of one half message.  REFUSED                    */
#define LIMIT_LIST_SCAN 4096	     /* rows looked at by one list in one turn            */
#define LIMIT_LIST_PAGE 500	     /* rows of one page                                 */
#define LIMIT_TIMELINE 64	     /* events told of one transaction                   */
#define LIMIT_TURN_BYTES (8u << 20)  /* half messages taken, and of those asked about, in one
					turn; the rest waits                           */
#define LIMIT_TURN_CHECKS 1024	     /* checks begun in one turn                         */
#define LIMIT_TURN_HISTORY 4096u     /* decided ones forgotten at one time               */

struct core_conf {
	uint16_t shard;
	struct txn_policy policy;	  /* check.immunity, .interval, .backoff, .max, ...      */
	uint32_t check_rate;		  /* check.rate: begun per second, all together        */
	uint32_t check_outstanding;	  /* check.outstanding: unanswered on one connection   */
	int64_t check_timeout_ns;	  /* an unanswered check leaves `outstanding` then      */
	int64_t topic_timeout_ns;	  /* a half-send waits so long for its topic; BUSY       */
	uint64_t idempotency_window_ms;	  /* idempotency.window                              */
	uint64_t history_retention_ms;	  /* history.retention                               */
	uint64_t audit_retention_ms;	  /* audit.retention                                 */
	uint32_t message_bytes;		  /* limits.message: plain value + key + headers; REFUSED */
	uint64_t undecided_max;		  /* limits.undecided; BUSY                          */
	uint64_t group_undecided;	  /* limits.group.share of that, for one group; BUSY */
	uint64_t group_bytes;		  /* ... of journal.quota: their records; BUSY       */
	uint64_t keys_bytes;		  /* limits.keys.memory: rows of decided ones; BUSY   */
	uint64_t deferred_bytes;	  /* copies of half-sends that wait; BUSY            */
	uint32_t lane_window;		  /* messages of one lane given to Kafka, unreported  */
	uint64_t lane_window_bytes;	  /* bytes, over all lanes; and once more for those
					     that have less than their share of it             */
	int64_t lane_backoff_ns;	  /* a frozen lane tries again after, doubling...     */
	int64_t lane_backoff_max_ns;	  /* ...up to                                        */
};

/* The defaults of conf/escrowd.conf. */
void core_conf_default(struct core_conf *ret_conf);

#endif /* LIMITS_H */
