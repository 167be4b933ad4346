/*
 * topics.h -- the catalogue: what Kafka last said of each topic that was ever used.
 *
 * It is journaled, so half-sends to known topics are accepted while Kafka is away.  A number
 * names a topic in the journal and is never reused.  Internal to the core.
 */
#ifndef TOPICS_H
#define TOPICS_H

#include "base/map.h"
#include "core/entry.h"

#define TOPIC_NONE UINT32_MAX
#define LANE_NONE UINT32_MAX

struct topic {
	struct str name;      /* owned                                              */
	int32_t partitions;   /* 0: gone                                            */
	uint32_t max_bytes;   /* 0: not known                                       */
	uint32_t *lanes;      /* of each partition below lane_cap; LANE_NONE        */
	int32_t lane_cap;
};

struct topics {
	struct topic *topics;
	uint32_t count;
	uint32_t cap;
	uint32_t last; /* found: most look-ups are for it again */
	struct map by_name;
	struct hash_secret secret;
};

void topics_init(struct topics *t, struct hash_secret secret);
void topics_done(struct topics *t);
uint32_t topics_find(struct topics *t, struct str name);
/* Sets what is known of topic NUMBER, which is made when it is the next one.  ERR_CORRUPT: a number
 * out of order, or another name.  Returns 1 when something changed, else 0. */
int topics_set(struct topics *t, uint32_t number, struct str name, int32_t partitions,
	       uint32_t max_bytes);
uint32_t topics_lane(const struct topics *t, uint32_t number, int32_t partition);
void topics_set_lane(struct topics *t, uint32_t number, int32_t partition, uint32_t lane);

#endif /* TOPICS_H */
