/*
 * demo.h -- a Kafka inside the daemon, for `escrowd --demo`: to look at, not to keep.
 *
 * It is librdkafka's mock cluster: topics appear when they are named, with 4 partitions, and
 * everything is gone when the process ends.
 */
#ifndef DEMO_H
#define DEMO_H

#include "base/base.h"

/*
 * Starts it, once; it runs until the process ends.  RET_BOOTSTRAP gets its address, which
 * consumers on this machine can use too.  0 or ERR_KAFKA.
 */
int sink_demo_start(char *ret_bootstrap, size_t size) MUSTUSE;

#endif /* DEMO_H */
