/*
 * route.h -- what a client is told about topics, and which Kafka topic one is.
 */
#ifndef ROUTE_H
#define ROUTE_H

#include "remoting/conn.h"

/* Java clients ask for it to learn of a broker before their first send; it has no Kafka topic. */
#define ROUTE_AUTO_CREATE STR("TBW102")
#define ROUTE_AUTO_CREATE_QUEUES 4

/* Copies and sorts conf's topic.map.  ERR_CONFIG: an entry's Kafka name is none. */
int route_init(struct remoting *r) MUSTUSE;
/*
 * RocketMQ's name of a topic to Kafka's.  ERR_MALFORMED: Kafka forbids it; *RET_WHY says so
 * to people.  The result lives as long as NAME or R.
 */
int route_topic(const struct remoting *r, struct str name, struct str *ret_kafka,
		const char **ret_why) MUSTUSE;
/* 105: asks the core, which answers with the partitions. */
void route_request(struct conn *c, const struct wire_command *command);
/* The route as compact JSON, in r->text: the Go client takes it apart by hand. */
struct str route_json(struct conn *c, int32_t queues);

#endif /* ROUTE_H */
