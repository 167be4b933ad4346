/*
 * mapping.h -- a half message as a Kafka record.
 *
 *     topic, partition   as fixed at half-send
 *     key                the message's; none and empty stay different
 *     value              the body, inflated if the client compressed it
 *     timestamp          when the transaction was decided
 *     headers            the message's own, in order and untouched, then ours:
 *
 *       UNIQ_KEY         the idempotency key of the half-send, when there is one
 *       escrow-id        <gid, 32 hex digits>-<ordinal, decimal from 0>: the dedup key
 *       escrow-group     producer group
 *       escrow-seq       <journal id, 32 hex digits>:<n, decimal from 1>
 *       escrow-txn-size  decimal; only when the transaction has several messages
 *
 * All of it is a function of what is journaled, so that a second publication has the same
 * bytes as the first.  Pure; nothing is allocated once the arrays have grown.
 */
#ifndef MAPPING_H
#define MAPPING_H

#include "base/buf.h"
#include "core/ports.h"
#include "world/sink.h"

struct mapping; /* scratch memory, used again for every record */

struct mapping *mapping_new(void);
struct mapping *mapping_free(struct mapping *m);

/*
 * The record lives until the next call, and as long as what P borrows.  ERR_MALFORMED,
 * ERR_TOOBIG: headers or a compressed body that the half-send should have refused.
 */
int mapping_record(struct mapping *m, const struct publication *p,
		   struct sink_record *ret_record) MUSTUSE;

#endif /* MAPPING_H */
