/*
 * identity.h -- by what a message is recognised when it comes again.
 */
#ifndef CONSUMER_IDENTITY_H
#define CONSUMER_IDENTITY_H

#include <stdbool.h>

#include "escrow/escrow_consumer.h"

#define IDENTITY_MAX 255 /* bytes of an id in the tables; longer ones are none */

/* One way to claim a message; RET->id may point into ID. */
struct identity {
	escrow_claim claim;
	unsigned char id[IDENTITY_MAX];
};

/*
 * From the headers, which may be NULL: `escrow-seq` where BY says so and it is there, else
 * `escrow-id`, else `ce_id`, else `id`.  Fills all of the claim but consumer, topic, partition
 * and now_ms.  False: none of them, or what is there cannot be one; *RET_WHY then says which.
 */
bool identity_find(const rd_kafka_headers_t *headers, escrow_dedup by, struct identity *ret,
		   const char **ret_why);

#endif /* CONSUMER_IDENTITY_H */
