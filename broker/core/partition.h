/*
 * partition.h -- which partition a message goes to, as Kafka's Java client would say.
 *
 * Consumers join streams by partition, so a key must land where every other producer of
 * the topic puts it.
 */
#ifndef PARTITION_H
#define PARTITION_H

#include "base/base.h"

/* murmur2 with the seed of org.apache.kafka.common.utils.Utils. */
uint32_t partition_murmur2(const void *p, size_t n);
/* Of COUNT partitions, COUNT > 0. */
int32_t partition_of_key(struct str key, int32_t count);

#endif /* PARTITION_H */
