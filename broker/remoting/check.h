/*
 * check.h -- a check on the wire: CHECK_TRANSACTION_STATE (39).
 */
#ifndef CHECK_H
#define CHECK_H

#include "remoting/conn.h"

/*
 * Appends the check to C's output, in the serialisation its client uses.
 * core_check_written() follows when its last byte was taken.  ERR_FULL: too much is
 * unwritten already.
 */
int check_write(struct conn *c, const struct check *check) MUSTUSE;

#endif /* CHECK_H */
