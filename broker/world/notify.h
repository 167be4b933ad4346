/*
 * notify.h -- tells systemd how we are, when it asked to be told.
 *
 * One datagram to $NOTIFY_SOCKET; without it every call does nothing.  Own lines instead
 * of libsystemd, for the protocol is this small (sd_notify(3)).
 */
#ifndef NOTIFY_H
#define NOTIFY_H

#include "base/base.h"

/* "READY=1", "STATUS=recovering segment 3/40", "STOPPING=1", "WATCHDOG=1", ... */
void notify_send(const char *fmt, ...) PRINTF(1, 2);
/* How often WATCHDOG=1 must be sent: half of $WATCHDOG_USEC; TIME_NEVER: nobody asks. */
int64_t notify_watchdog_ns(void);

#endif /* NOTIFY_H */
