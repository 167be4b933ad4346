/*
 * lanes.c -- order, windows, and what to do when Kafka says no.
 *
 * Why DRAINING before anything else: with an idempotent producer and several batches in flight, a
 * failed message may be followed by ones that Kafka took or is about to take.  Only when nothing
 * is in flight is it known where to go on without leaving a gap or changing the order.
 */
#include "core/lanes.h"

#include "base/canary.h"

#define NIL         UINT32_MAX
#define CHUNK_ITEMS 255u

struct lane_chunk {
	struct lane_chunk *next;
	uint32_t first;
	uint32_t end;
	struct lane_item items[CHUNK_ITEMS];
};

void
lanes_init(struct lanes *l, uint32_t window, int64_t backoff_ns, int64_t backoff_max_ns)
{
	CHECK(window > 0, 0);
	*l = (struct lanes){
		.window = window,
		.backoff_ns = backoff_ns,
		.backoff_max_ns = backoff_max_ns,
		.ready_head = NIL,
		.ready_tail = NIL,
		.wake_ns = TIME_NEVER,
	};
}

void
lanes_done(struct lanes *l)
{
	for (uint32_t i = 0; i < l->count; i++) {
		struct lane *lane = &l->lanes[i];

		for (struct lane_chunk *c = lane->chunk_first, *next; c; c = next) {
			next = c->next;
			mem_free(c);
		}
		mem_free(lane->window);
		mem_free(lane->fresh);
	}
	for (struct lane_chunk *c = l->chunks_free, *next; c; c = next) {
		next = c->next;
		mem_free(c);
	}
	mem_free(l->lanes);
	mem_free(l->dirty);
	*l = (struct lanes){ 0 };
}

uint32_t
lanes_add(struct lanes *l, uint32_t topic, int32_t partition)
{
	if (l->count == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 16;
		l->lanes = mem_grow(l->lanes, l->cap * sizeof(*l->lanes));
	}
	l->lanes[l->count] = (struct lane){
		.topic = topic,
		.partition = partition,
		.mode = LANE_OPEN,
		.next_n = 1,
		.low = 1,
		.marked_low = 1,
		.durable_low = 1,
		.backoff_ns = l->backoff_ns,
		.offset = -1,
		.ready_next = NIL,
	};
	return l->count++;
}

static struct lane_slot *
slot_at(const struct lane *lane, uint64_t position)
{
	CHECK(position >= lane->first && position < lane->end, position);
	return &lane->window[position & (lane->window_cap - 1)];
}

/* ---- the queue of those that may send -------------------------------------------------------- */

static void
set_ready(struct lanes *l, uint32_t number)
{
	struct lane *lane = &l->lanes[number];

	if (lane->ready || lane->pending == 0 || lane->fetching ||
	    (lane->mode != LANE_OPEN && lane->mode != LANE_SOLO))
		return;
	lane->ready = true;
	lane->ready_next = NIL;
	if (l->ready_tail == NIL)
		l->ready_head = number;
	else
		l->lanes[l->ready_tail].ready_next = number;
	l->ready_tail = number;
}

uint32_t
lanes_ready(const struct lanes *l)
{
	return l->ready_head == NIL ? LANE_NONE : l->ready_head;
}

void
lanes_unready(struct lanes *l)
{
	struct lane *lane = &l->lanes[l->ready_head];

	CHECK(lane->ready, l->ready_head);
	l->ready_head = lane->ready_next;
	if (l->ready_head == NIL)
		l->ready_tail = NIL;
	lane->ready = false;
	lane->ready_next = NIL;
}

void
lanes_rotate(struct lanes *l)
{
	uint32_t number = l->ready_head;

	lanes_unready(l);
	set_ready(l, number);
}

static void
set_dirty(struct lanes *l, uint32_t number)
{
	if (l->lanes[number].dirty)
		return;
	if (l->dirty_count == l->dirty_cap) {
		l->dirty_cap = l->dirty_cap ? l->dirty_cap * 2 : 16;
		l->dirty = mem_grow(l->dirty, l->dirty_cap * sizeof(*l->dirty));
	}
	l->dirty[l->dirty_count++] = number;
	l->lanes[number].dirty = true;
}

static void
set_mode(struct lanes *l, uint32_t number, enum lane_mode mode)
{
	struct lane *lane = &l->lanes[number];

	l->frozen -= lane->mode != LANE_OPEN;
	l->backoff_count -= lane->mode == LANE_BACKOFF;
	lane->mode = mode;
	l->frozen += mode != LANE_OPEN;
	l->backoff_count += mode == LANE_BACKOFF;
	set_ready(l, number);
}

/* ---- backlog and window ---------------------------------------------------------------------- */

void
lanes_push(struct lanes *l, uint32_t number, const struct lane_item *item)
{
	struct lane *lane = &l->lanes[number];
	struct lane_chunk *c = lane->chunk_last;

	CHECK(item->n != 0 && item->n < lane->next_n, item->n);
	CHECK(item->again || item->n >= lane->low, item->n);
	if (!c || c->end == CHUNK_ITEMS) {
		c = l->chunks_free;
		if (c)
			l->chunks_free = c->next;
		else
			c = mem_alloc(sizeof(*c));
		c->next = NULL;
		c->first = c->end = 0;
		if (lane->chunk_last)
			lane->chunk_last->next = c;
		else
			lane->chunk_first = c;
		lane->chunk_last = c;
	}
	c->items[c->end++] = *item;
	lane->pending++;
	l->pending++;
	set_ready(l, number);
}

static void
window_grow(struct lane *lane)
{
	uint32_t cap = lane->window_cap ? lane->window_cap * 2 : 16;
	struct lane_slot *window = mem_alloc(cap * sizeof(*window));

	for (uint64_t i = lane->first; i < lane->end; i++)
		window[i & (cap - 1)] = *slot_at(lane, i);
	mem_free(lane->window);
	lane->window = window;
	lane->window_cap = cap;
}

/* Moves the first of the backlog into the window; false when there is none. */
static bool
window_fill(struct lanes *l, struct lane *lane)
{
	struct lane_chunk *c = lane->chunk_first;

	if (!c)
		return false;
	if (lane->end - lane->first == lane->window_cap)
		window_grow(lane);
	lane->end++;
	*slot_at(lane, lane->end - 1) = (struct lane_slot){ .item = c->items[c->first++] };
	if (c->first == c->end) {
		lane->chunk_first = c->next;
		if (!lane->chunk_first)
			lane->chunk_last = NULL;
		c->next = l->chunks_free;
		l->chunks_free = c;
	}
	return true;
}

bool
lanes_next(struct lanes *l, uint32_t number, struct lane_item *ret_item)
{
	struct lane *lane = &l->lanes[number];

	if (lane->mode != LANE_OPEN && (lane->mode != LANE_SOLO || lane->in_flight > 0) &&
	    !(CANARY(RESEND_AFTER_LATER) && lane->mode == LANE_DRAINING))
		return false;
	/* Sent again: what was acknowledged in between stays so. */
	while (lane->next < lane->end && slot_at(lane, lane->next)->settled)
		lane->next++;
	if (lane->next == lane->end &&
	    (lane->end - lane->first >= l->window || !window_fill(l, lane)))
		return false;
	*ret_item = slot_at(lane, lane->next)->item;
	return true;
}

uint64_t
lanes_sent(struct lanes *l, uint32_t number)
{
	struct lane *lane = &l->lanes[number];
	struct lane_slot *slot = slot_at(lane, lane->next);

	CHECK(!slot->in_flight && !slot->settled, slot->item.n);
	slot->in_flight = true;
	l->active += lane->in_flight++ == 0;
	l->in_flight++;
	return lane->next++;
}

/* The watermark follows the settled slots at the front. */
static void
window_advance(struct lane *lane)
{
	while (lane->first < lane->end && slot_at(lane, lane->first)->settled) {
		const struct lane_item *item = &slot_at(lane, lane->first)->item;

		if (!item->again)
			lane->low = max_u64(lane->low, item->n + 1);
		lane->first++;
	}
	if (lane->next < lane->first)
		lane->next = lane->first;
}

static void
settle(struct lanes *l, uint32_t number, struct lane_slot *slot)
{
	struct lane *lane = &l->lanes[number];

	CHECK(!slot->settled && lane->pending > 0, slot->item.n);
	slot->settled = true;
	if (CANARY(WATERMARK_IS_MAX) && !slot->item.again)
		lane->low = max_u64(lane->low, slot->item.n + 1);
	lane->pending--;
	l->pending--;
	window_advance(lane);
	set_dirty(l, number);
}

static void
fresh_add(struct lane *lane, const struct lane_item *item)
{
	if (lane->fresh_count == lane->fresh_cap) {
		lane->fresh_cap = lane->fresh_cap ? lane->fresh_cap * 2 : 16;
		lane->fresh = mem_grow(lane->fresh, lane->fresh_cap * sizeof(*lane->fresh));
	}
	lane->fresh[lane->fresh_count++] = item->n << 1 | item->again;
}

/* ---- reports --------------------------------------------------------------------------------- */

static void
back_off(struct lanes *l, uint32_t number, int64_t now_ns)
{
	struct lane *lane = &l->lanes[number];

	lane->until_ns = now_ns + lane->backoff_ns;
	lane->backoff_ns = min_i64(lane->backoff_ns * 2, l->backoff_max_ns);
	l->wake_ns = min_i64(l->wake_ns, lane->until_ns);
	set_mode(l, number, LANE_BACKOFF);
}

/* Nothing is in flight any more: what was the first failure? */
static void
drained(struct lanes *l, uint32_t number, int64_t now_ns)
{
	struct lane *lane = &l->lanes[number];

	if (lane->mode != LANE_DRAINING || lane->in_flight > 0)
		return;
	lane->next = lane->first;
	if (lane->failed_refused)
		set_mode(l, number, LANE_SOLO);
	else
		back_off(l, number, now_ns);
}

/* Only the first failure is a cause: those behind it fail because of it. */
static void
failed(struct lanes *l, uint32_t number, uint64_t position, bool refused, int32_t code,
       int64_t now_ns)
{
	struct lane *lane = &l->lanes[number];

	if (lane->mode == LANE_OPEN || lane->mode == LANE_SOLO) {
		lane->code = code;
		lane->failed_refused = refused;
		lane->failed = position;
		set_mode(l, number, LANE_DRAINING);
	}
	drained(l, number, now_ns);
}

static void
acked(struct lanes *l, uint32_t number, uint64_t position, int64_t now_ns)
{
	struct lane *lane = &l->lanes[number];
	struct lane_slot *slot = slot_at(lane, position);

	fresh_add(lane, &slot->item);
	settle(l, number, slot);
	if (lane->mode == LANE_SOLO && position >= lane->failed)
		set_mode(l, number, LANE_OPEN);
	if (lane->mode == LANE_OPEN)
		lane->backoff_ns = l->backoff_ns;
	set_ready(l, number);
	drained(l, number, now_ns);
}

enum lane_outcome
lanes_report(struct lanes *l, uint32_t number, uint64_t position, enum report report, int32_t code,
	     int64_t now_ns, struct lane_item *ret_item)
{
	struct lane *lane = &l->lanes[number];
	struct lane_slot *slot = slot_at(lane, position);
	bool alone = lane->mode == LANE_SOLO;

	CHECK(slot->in_flight && lane->in_flight > 0 && l->in_flight > 0, slot->item.n);
	slot->in_flight = false;
	l->active -= --lane->in_flight == 0;
	l->in_flight--;
	*ret_item = slot->item;

	switch (report) {
	case REPORT_ACKED:
		acked(l, number, position, now_ns);
		return LANE_ACKED;
	case REPORT_REFUSED:
		if (alone) {
			set_mode(l, number, LANE_REFUSING);
			return LANE_REFUSE;
		}
		failed(l, number, position, true, code, now_ns);
		return LANE_NOTHING;
	case REPORT_UNKNOWN:
		if (CANARY(SKIP_UNCERTAIN))
			settle(l, number, slot);
		failed(l, number, position, false, code, now_ns);
		return LANE_NOTHING;
	}
	check_failed("a report of enum report", __FILE__, __LINE__, (uint64_t)report);
}

void
lanes_refused(struct lanes *l, uint32_t number, uint64_t position)
{
	struct lane *lane = &l->lanes[number];

	CHECK(lane->mode == LANE_REFUSING && lane->in_flight == 0, number);
	settle(l, number, slot_at(lane, position));
	lane->next = lane->first;
	set_mode(l, number, position >= lane->failed ? LANE_OPEN : LANE_SOLO);
}

void
lanes_untaken(struct lanes *l, uint32_t number, int32_t code, int64_t now_ns)
{
	failed(l, number, l->lanes[number].next, false, code, now_ns);
}

int64_t
lanes_wake(struct lanes *l, int64_t now_ns)
{
	if (l->backoff_count == 0)
		return l->wake_ns = TIME_NEVER;
	if (now_ns < l->wake_ns)
		return l->wake_ns;
	l->wake_ns = TIME_NEVER;
	for (uint32_t i = 0; i < l->count; i++) {
		struct lane *lane = &l->lanes[i];

		if (lane->mode != LANE_BACKOFF)
			continue;
		if (lane->until_ns <= now_ns)
			set_mode(l, i, LANE_OPEN);
		else
			l->wake_ns = min_i64(l->wake_ns, lane->until_ns);
	}
	return l->wake_ns;
}

uint32_t
lanes_first_row(const struct lanes *l, uint32_t number)
{
	const struct lane *lane = &l->lanes[number];

	if (lane->first < lane->end) /* what is settled at the front has left */
		return slot_at(lane, lane->first)->item.row;
	if (!lane->chunk_first)
		return ROW_NONE;
	return lane->chunk_first->items[lane->chunk_first->first].row;
}

void
lanes_unblock(struct lanes *l, uint32_t number)
{
	l->lanes[number].fetching = 0;
	set_ready(l, number);
}
