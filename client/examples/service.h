/*
 * service.h -- what the services of the examples share: handle a message, and send the next one
 * from within.
 *
 *      a message from Kafka
 *      BEGIN                          in the service's database
 *      the message is claimed         exactly once, by libescrow-consumer
 *      your handler: SQL, and         half-sent ----------> durable at the broker, invisible
 *        service_send()               and a row of the fence
 *      COMMIT                         claim, SQL and fence together, or none of them
 *      commit ----------------------------------------> the broker publishes it
 *
 * Killed before COMMIT, the message comes again and what was half-sent is rolled back by a check;
 * killed behind it, the check finds the fence's row, and answers commit.  One service a process.
 */
#ifndef SERVICE_H
#define SERVICE_H

#include "db.h"

/* Opens the database, and joins the producer group that BROKER names: this process answers its
 * checks.  Returns the database's connection; ends the process when it cannot. */
void *service_open(const char *broker, const char *database);
/* escrow_table_send() of one message: FORMAT's text to TOPIC, with FN as the local transaction. */
escrow_status service_begin(escrow_business_fn fn, void *arg, const char *topic, const char *key,
			    const char *format, ...) __attribute__((format(printf, 5, 6)));
/* Handles the messages of TOPIC, by consume(). */
int service_run(const char *name, const char *topic, escrow_handle_fn handle, char *const *kafka);
/* In a handler: a message that is sent exactly if the handler's transaction commits.  Returns what
 * the handler is to return. */
int service_send(const char *topic, const char *key, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void service_close(void);

#endif /* SERVICE_H */
