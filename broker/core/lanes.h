/*
 * lanes.h -- per topic-partition, what is committed and not yet published, in order.
 *
 *      backlog                       window (at most LANE_WINDOW messages)
 *      [chunk]->[chunk]->[chunk] --> | settled? | in flight | in flight | to send ... |
 *                                    ^ first                            ^ next
 *
 * Pure: it is told what was pushed, sent and reported, and says what may be sent next.
 *
 *   OPEN       sends in order, up to a window
 *   DRAINING   something was not acknowledged: nothing more is sent until nothing is in flight
 *   SOLO       the first failure was "this very message": everything up to it goes again, one at
 *              a time; refused again while alone, it is refused for good
 *   REFUSING   ... and that is being journaled
 *   BACKOFF    anything else: the same again in order from the first unacknowledged, later
 *
 * So a message is never overtaken by one behind it, and what is sent again is sent in the same
 * order under the same numbers.  Messages with `again` (retried by an operator) come out of
 * order by nature; the watermark says nothing about them.  Internal to the core.
 */
#ifndef LANES_H
#define LANES_H

#include "core/core.h"
#include "core/table.h"
#include "core/topics.h"

enum lane_mode { LANE_OPEN, LANE_DRAINING, LANE_SOLO, LANE_REFUSING, LANE_BACKOFF };

struct lane_item {
	uint64_t n;
	uint32_t row;
	uint16_t index;
	bool again;
};

/* One of the window. */
struct lane_slot {
	struct lane_item item;
	bool settled;	  /* acknowledged, or refused for good */
	bool in_flight;
};

struct lane_chunk;

struct lane {
	uint32_t topic;
	int32_t partition;
	enum lane_mode mode;
	uint64_t next_n;      /* of the next decision                                   */
	uint64_t low;	      /* every n below it, save retried ones, is settled          */
	uint64_t marked_low;  /* journaled, perhaps not durable                         */
	uint64_t durable_low; /* journaled and durable                                  */

	struct lane_slot *window;
	uint32_t window_cap;  /* a power of two                                         */
	uint64_t first;	      /* absolute position of the first slot                     */
	uint64_t next;	      /* of the next to send                                    */
	uint64_t end;	      /* behind the last slot                                   */
	uint32_t in_flight;
	uint64_t bytes;	      /* of these, in Kafka's records                           */
	uint64_t most;	      /* of bytes: Kafka refused more in one batch; 0: any      */
	uint64_t most_before; /* SOLO, REFUSING: if it turns out that it was no batch   */
	uint64_t pending;     /* pushed and not settled                                 */
	struct lane_chunk *chunk_first;
	struct lane_chunk *chunk_last;

	bool failed_refused;  /* DRAINING: what the first failure was                    */
	uint64_t failed;      /* its position; SOLO: the last to be sent alone           */
	int32_t code;	      /* of the first failure                                   */
	bool noted;	      /* NOTE_LANE_FROZEN was said                              */
	int64_t backoff_ns;   /* the next one                                           */
	int64_t until_ns;     /* BACKOFF                                                */
	int64_t offset;	      /* the last that Kafka told; -1: none in this run           */
	int64_t known_ns;     /* when it told that: it knew the producer then             */
	uint32_t known;	      /* which producer; 0: none                                  */
	uint64_t fetching;    /* n whose body is on its way from the disk; 0: none       */

	uint64_t *fresh;      /* settled by acknowledgement, not yet in a mark: n << 1 | again */
	uint32_t fresh_count;
	uint32_t fresh_cap;
	bool ready;	      /* in the queue of those that may send                     */
	bool dirty;	      /* in the list of those with progress to journal           */
	uint32_t ready_next;
};

struct lanes {
	struct lane *lanes;
	uint32_t count;
	uint32_t cap;
	uint32_t window;
	int64_t backoff_ns;
	int64_t backoff_max_ns;
	struct lane_chunk *chunks_free;
	uint32_t ready_head, ready_tail;
	uint32_t *dirty;
	uint32_t dirty_count, dirty_cap;
	uint32_t backoff_count;
	int64_t wake_ns;      /* no lane leaves BACKOFF before                          */
	uint32_t frozen;      /* not OPEN                                               */
	uint64_t pending;
	uint64_t in_flight;
	uint32_t active;      /* with something in flight                               */
};

enum lane_outcome {
	LANE_NOTHING,
	LANE_ACKED,  /* the item is published                                            */
	LANE_REFUSE, /* the item is refused for good: journal it, then lanes_refused()    */
};

void lanes_init(struct lanes *l, uint32_t window, int64_t backoff_ns, int64_t backoff_max_ns);
void lanes_done(struct lanes *l);
/* A new lane whose first n is 1. */
uint32_t lanes_add(struct lanes *l, uint32_t topic, int32_t partition);

static inline struct lane *
lanes_at(const struct lanes *l, uint32_t lane)
{
	return &l->lanes[lane];
}

/* Behind all others of the lane.  Without `again` its n is greater than every n before. */
void lanes_push(struct lanes *l, uint32_t lane, const struct lane_item *item);
/* The first lane that may send; LANE_NONE. */
uint32_t lanes_ready(const struct lanes *l);
/* Takes the first one out of the queue; it comes back by itself when something changes... */
void lanes_unready(struct lanes *l);
/* ...or at the end of the queue, now, if it may still send. */
void lanes_rotate(struct lanes *l);
/* What the lane sends next.  False: nothing now. */
bool lanes_next(struct lanes *l, uint32_t lane, struct lane_item *ret_item);
/* It was handed over; returns the position for the report. */
uint64_t lanes_sent(struct lanes *l, uint32_t lane);
/* What became of the message at POSITION; *ret_item is set. */
enum lane_outcome lanes_report(struct lanes *l, uint32_t lane, uint64_t position,
			       enum report report, int32_t code, int64_t now_ns,
			       struct lane_item *ret_item);
/* The refusal of the message at POSITION is durable: the lane goes on. */
void lanes_refused(struct lanes *l, uint32_t lane, uint64_t position);
/* lanes_next() could not be handed over, for a reason that may pass. */
void lanes_untaken(struct lanes *l, uint32_t lane, int32_t code, int64_t now_ns);
/* Opens the lanes whose BACKOFF is over; returns when to call again. */
int64_t lanes_wake(struct lanes *l, int64_t now_ns);
/* Whose message is the first that is not settled; ROW_NONE. */
uint32_t lanes_first_row(const struct lanes *l, uint32_t lane);
/* A body arrived or will not: the lane may send again. */
void lanes_unblock(struct lanes *l, uint32_t lane);

#endif /* LANES_H */
