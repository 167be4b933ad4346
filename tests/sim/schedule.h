/*
 * schedule.h -- when undecided transactions may be asked about, told again (I-8).
 *
 * Hears what the broker traces and holds it against the configuration: no check before the
 * immunity is over, none before the gap that its number asks for, no number ahead of the checks
 * that were really delivered, parked only after check.max of them and then asked slowly.  Counts
 * and due times may be behind after a crash, never ahead.
 */
#ifndef SCHEDULE_H
#define SCHEDULE_H

#include "core/core.h"
#include "sim/oracle.h"

struct schedule;

struct schedule *schedule_new(const struct txn_policy *policy, struct oracle *oracle);
struct schedule *schedule_free(struct schedule *s);
/* MONO_NS: the broker's monotonic clock, by which alone it asks. */
void schedule_note(struct schedule *s, const struct note *n, int64_t mono_ns);
/* An operator wants it asked about now. */
void schedule_ordered(struct schedule *s, struct gid gid);
void schedule_crashed(struct schedule *s);

#endif /* SCHEDULE_H */
