/*
 * consume.h -- a consumer that runs until SIGINT or SIGTERM; stock.c has the whole of it.
 */
#ifndef CONSUME_H
#define CONSUME_H

#include <escrow/escrow_consumer.h>

/*
 * OPTS: all but `kafka` and `log`; its name is the group.id too.  KAFKA: HOST:PORT, then properties
 * of librdkafka, then NULL, as they come from the command line.  Returns what main() is to return.
 */
int consume(escrow_consumer_opts *opts, char *const *kafka);

#endif /* CONSUME_H */
