/*
 * identity.h -- by what a message is recognised when it comes again.
 */
#ifndef CONSUMER_IDENTITY_H
#define CONSUMER_IDENTITY_H

#include <stdbool.h>

#include "escrow/escrow_consumer.h"

#define IDENTITY_MAX 255 /* bytes of an id in the tables; longer ones are none */

/* Where a dead letter that was published again came from at first. */
struct origin {
	char topic[250];
	int32_t partition;
};

/* One way to claim a message; RET->id and ->topic may point into ID and FROM. */
struct identity {
	escrow_claim claim;
	unsigned char id[IDENTITY_MAX];
	struct origin from;
};

/*
 * From the headers, which may be NULL: `escrow-seq` where BY says so and it is there, else
 * `escrow-id`, else `ce_id`, else `id`.  Fills all of the claim but consumer and now_ms, and topic
 * and partition only when it was a dead letter: else topic is NULL.  False: none of them, or what
 * is there cannot be one; *RET_WHY then says which, or is NULL.
 */
bool identity_find(const rd_kafka_headers_t *headers, escrow_dedup by, struct identity *ret,
		   const char **ret_why);

/* By the header `escrow-dead-from`.  1; 0: there is none; -1: it is malformed. */
int identity_origin(const rd_kafka_headers_t *headers, struct origin *ret);

#endif /* CONSUMER_IDENTITY_H */
