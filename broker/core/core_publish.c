/*
 * core_publish.c -- lanes to Kafka, reports back, and the marks that remember them.
 *
 * A mark says how far a lane is.  It is lazy: written once a turn for each lane with progress, and
 * waited for by nobody.  A crash before it is durable publishes again, under the same number.
 */
#include "core/core_internal.h"

#define LANE_QUANTUM    64       /* messages of one lane before the next lane has its turn */
#define BATCH_BYTES     1000000u /* librdkafka makes no longer ones, unless it is told to */
#define KAFKA_TOO_LARGE 10       /* MSG_SIZE_TOO_LARGE: of a message, or of its whole batch */
#define KNOWN_NS        (3600 * NS_PER_S) /* Kafka forgets who is silent for a day */

uint32_t
core_lane(struct core *c, uint32_t topic, int32_t partition)
{
	uint32_t lane = topics_lane(&c->topics, topic, partition);

	if (lane == LANE_NONE) {
		lane = lanes_add(&c->lanes, topic, partition);
		topics_set_lane(&c->topics, topic, partition, lane);
		c->stats.lanes++;
	}
	return lane;
}

void
core_push(struct core *c, uint32_t index)
{
	const struct row *row = core_row(c, index);
	struct lane_item item = { .row = index };

	for (uint32_t p = row->parts; p != PART_NONE; p = table_part(&c->table, p)->next) {
		const struct part_node *part = table_part(&c->table, p);

		CHECK(part->state == PART_OWED, row->txn.seq);
		item.n = part->n;
		lanes_push(&c->lanes, core_lane(c, part->topic, part->partition), &item);
		item.index++;
	}
}

/* ---- to Kafka -------------------------------------------------------------------------------- */

static uint32_t
flight_new(struct core *c)
{
	uint32_t i = c->flight_free;

	if (i != UINT32_MAX) {
		c->flight_free = c->flights[i].next_free;
		if (c->flight_free != UINT32_MAX)
			__builtin_prefetch(&c->flights[c->flight_free], 1);
		return i;
	}
	if (c->flight_count == c->flight_cap) {
		c->flight_cap = c->flight_cap ? c->flight_cap * 2 : 256;
		c->flights = mem_grow(c->flights, c->flight_cap * sizeof(*c->flights));
	}
	i = c->flight_count++;
	c->flights[i] = (struct lane_flight){ .lane = LANE_NONE };
	return i;
}

static void
flight_free(struct core *c, uint32_t i)
{
	c->flights[i].lane = LANE_NONE;
	c->flights[i].next_free = c->flight_free;
	c->flight_free = i;
}

static void
note_lane(struct core *c, const struct lane *lane, enum note_kind kind)
{
	core_note(c, &(struct note){
			     .kind = kind,
			     .partition = lane->partition,
			     .value = lane->code,
			     .lasted_ns = -1,
			     .text = c->topics.topics[lane->topic].name,
		     });
}

/* Tells once when a lane stops, and once when it goes again. */
static void
lane_watch(struct core *c, uint32_t number, bool acked)
{
	struct lane *lane = lanes_at(&c->lanes, number);

	if (lane->mode == LANE_BACKOFF && !lane->noted) {
		lane->noted = true;
		note_lane(c, lane, NOTE_LANE_FROZEN);
	} else if (lane->mode == LANE_OPEN && lane->noted && acked) {
		lane->noted = false;
		note_lane(c, lane, NOTE_LANE_RESUMED);
	}
}

/*
 * What Kafka's client holds of message I until it reports: inflated, whatever it takes in the
 * journal, or a few kilobytes of ours would be gigabytes of its memory, and seconds of inflating in
 * one turn.
 */
static uint32_t
flight_size(const struct half *h, uint32_t i)
{
	const struct message *m = &h->messages[i];

	return (uint32_t)(RECORD_OVERHEAD + h->group.n + h->key.n +
			  max_u64(m->plain_bytes, m->value.n) + m->key.n + m->headers.bytes.n);
}

/*
 * Does the lane's partition know our producer?  Until it does it takes any sequence for the first.
 * Of two requests under way it could refuse one, for it does not lead yet, and append the next:
 * the order would be lost.  So the first message goes alone.
 */
static bool
is_known(const struct core *c, const struct lane *lane)
{
	return lane->known == c->producer &&
	       (c->producer == 0 || c->now_ns - lane->known_ns < KNOWN_NS);
}

/*
 * Kafka's limit is that of a batch, and its client puts into one what it has for a partition,
 * without knowing the topic's limit: what is under way must fit one.  Or all of it would be
 * refused, and with it the handle that all lanes share, and only one message would get through.
 */
static bool
is_full(const struct core *c, const struct lane *lane, uint32_t size)
{
	uint64_t most = lane->most ? lane->most : UINT64_MAX;
	uint32_t max = c->topics.topics[lane->topic].max_bytes;

	if (max && max < BATCH_BYTES + RECORD_OVERHEAD)
		most = min_u64(most, max);
	return lane->in_flight > 0 &&
	       ((!is_known(c, lane) && !CANARY(FIRST_NOT_ALONE)) || lane->bytes + size > most);
}

/*
 * The limit is not known, or was lowered: half of what was under way is tried next, and half of
 * that.  Unless it was one message that is too large by itself, and no batch.
 */
static void
learn_most(struct lane *lane, enum report report, int32_t code)
{
	if (report != REPORT_REFUSED || code != KAFKA_TOO_LARGE)
		return;
	if (lane->mode == LANE_SOLO)
		lane->most = lane->most_before;
	if (lane->mode != LANE_OPEN)
		return;
	lane->most_before = lane->most;
	if (lane->in_flight > 1)
		lane->most = max_u64(lane->bytes / 2, 1);
}

/* Hands ITEM, whose half is here, to Kafka, as SIZE bytes.  False: the lane must wait. */
static bool
send_item(struct core *c, uint32_t number, const struct lane_item *item, const struct half *half,
	  uint32_t size)
{
	const struct row *row = core_row(c, item->row);
	uint32_t i = flight_new(c);
	struct lane_flight *f = &c->flights[i];
	struct publication p = {
		.token = (uint64_t)f->serial << 32 | i,
		.half = half,
		.index = item->index,
		.partition = lanes_at(&c->lanes, number)->partition,
		.n = CANARY(RENUMBER_ON_RESEND) ? lanes_at(&c->lanes, number)->next + 1 : item->n,
		.ms = row->decided_ms,
		.journal_id = c->journal_id,
	};
	int err;

	CHECK(item->index < half->count && half->gid.lo == row->txn.seq, row->txn.seq);
	err = c->ports.publish(c->arg, &p);
	if (err) {
		CHECK(err == ERR_AGAIN, row->txn.seq);
		flight_free(c, i);
		c->sink_full = true;
		return false;
	}
	f->lane = number;
	f->position = lanes_sent(&c->lanes, number);
	f->bytes = size;
	c->flight_bytes += f->bytes;
	lanes_at(&c->lanes, number)->bytes += f->bytes;
	return true;
}

bool
core_window_full(const struct core *c)
{
	return c->flight_bytes / 2 >= c->conf.lane_window_bytes && c->lanes.in_flight > 0;
}

/*
 * The window is for all lanes, and those whose partitions have no leader, or too few replicas, keep
 * what they have of it: in the end all of it.  So when it is used up, who has less than an equal
 * share may go on; together that is one more window at most, but for the last message of each.
 */
static bool
has_its_share(const struct core *c, const struct lane *lane)
{
	return c->flight_bytes >= c->conf.lane_window_bytes && lane->in_flight > 0 &&
	       lane->bytes >= c->conf.lane_window_bytes / c->lanes.active;
}

/* Sends a few of the first ready lane. */
static void
pump_lane(struct core *c, uint32_t number)
{
	struct lane_item item;

	for (int i = 0; i < LANE_QUANTUM; i++) {
		const struct half *half = NULL;
		uint32_t size;
		int err;

		if (core_window_full(c))
			return;
		if (has_its_share(c, lanes_at(&c->lanes, number)) ||
		    !lanes_next(&c->lanes, number, &item)) {
			lanes_unready(&c->lanes);
			return;
		}
		err = c->ports.fetch(c->arg, row_place(core_row(c, item.row)), FETCH_LANE | number,
				     &half);
		if (err == ERR_AGAIN) {
			lanes_at(&c->lanes, number)->fetching = item.n;
			lanes_unready(&c->lanes);
			return;
		}
		if (err) { /* the journal has told the loop; the lane must not spin meanwhile */
			lanes_untaken(&c->lanes, number, err, c->now_ns);
			lane_watch(c, number, false);
			lanes_unready(&c->lanes);
			return;
		}
		size = flight_size(half, item.index);
		if (is_full(c, lanes_at(&c->lanes, number), size)) {
			lanes_unready(&c->lanes); /* the next report wakes it */
			return;
		}
		if (!send_item(c, number, &item, half, size))
			return;
	}
	lanes_rotate(&c->lanes);
}

void
core_publish(struct core *c)
{
	uint32_t number;

	if (c->stats.foreign_cluster)
		return;
	while (!c->sink_full && !core_window_full(c) &&
	       (number = lanes_ready(&c->lanes)) != LANE_NONE)
		pump_lane(c, number);
}

void
core_lane_fetched(struct core *c, uint32_t number, const struct half *half)
{
	struct lane *lane = number < c->lanes.count ? lanes_at(&c->lanes, number) : NULL;
	struct lane_item item;
	uint32_t size;
	uint64_t n;

	if (!lane || !lane->fetching)
		return;
	n = lane->fetching;
	lanes_unblock(&c->lanes, number);
	if (!half) {
		lanes_untaken(&c->lanes, number, ERR_IO, c->now_ns);
		lane_watch(c, number, false);
		return;
	}
	/* The lane may have been frozen, and the row copied, since it was asked for. */
	if (c->stats.foreign_cluster || c->sink_full || !lanes_next(&c->lanes, number, &item) ||
	    item.n != n || core_row(c, item.row)->txn.seq != half->gid.lo)
		return;
	size = flight_size(half, item.index);
	if (!is_full(c, lane, size))
		(void)send_item(c, number, &item, half, size);
}

void
core_sink_ready(struct core *c)
{
	c->sink_full = false;
}

void
core_sink_anew(struct core *c)
{
	c->producer++;
}

/* ---- reports back ---------------------------------------------------------------------------- */

static bool
all_published(const struct core *c, const struct row *row)
{
	for (uint32_t p = row->parts; p != PART_NONE; p = table_part(&c->table, p)->next)
		if (table_part(&c->table, p)->state != PART_PUBLISHED)
			return false;
	return true;
}

/*
 * Offsets of a partition only rise.  One that does not tells that the topic was made anew, or
 * that Kafka lost its end: what was acknowledged before may be gone, and people must hear of it.
 */
static void
watch_offset(struct core *c, struct lane *lane, int64_t offset)
{
	CHECK(offset >= 0, lane->low);
	if (offset <= lane->offset)
		core_note(c, &(struct note){
				     .kind = NOTE_TOPIC_ANEW,
				     .partition = lane->partition,
				     .value = offset,
				     .lasted_ns = -1,
				     .text = c->topics.topics[lane->topic].name,
			     });
	lane->offset = offset;
	lane->known = c->producer;
	lane->known_ns = c->now_ns;
}

static void
item_acked(struct core *c, struct lane *lane, const struct lane_item *item, int64_t offset)
{
	struct row *row = core_row(c, item->row);

	table_part_of(&c->table, row, item->index)->state = PART_PUBLISHED;
	c->stats.published++;
	watch_offset(c, lane, offset);
	core_note(c, &(struct note){
			     .kind = NOTE_PUBLISHED,
			     .gid = table_gid(&c->table, row),
			     .partition = lane->partition,
			     .value = offset,
			     .lasted_ns = (int64_t)(max_u64(c->wall_ms, row->decided_ms) -
						    row->decided_ms) *
					  NS_PER_MS,
			     .text = c->topics.topics[lane->topic].name,
		     });
	if (row->txn.state == TXN_COMMITTED && all_published(c, row)) {
		struct txn_step step = txn_step(&row->txn, TXN_ACKED, c->now_ns, &c->conf.policy);

		core_apply(c, item->row, &step, TXN_ACKED);
		core_final(c, item->row);
	}
}

/* Kafka refuses this very message, and it was alone: it goes to the people. */
static void
item_refused(struct core *c, uint32_t number, uint64_t position, const struct lane_item *item,
	     int32_t code)
{
	const struct row *row = core_row(c, item->row);
	struct entry e = {
		.type = ENTRY_REFUSED,
		.refused = { row->txn.seq, item->index, code, c->wall_ms },
	};
	struct pending p = {
		.value = position,
		.row = item->row,
		.lane = number,
		.code = code,
		.index = item->index,
		.kind = PENDING_REFUSED,
		.event = TXN_REFUSED,
	};

	core_pend(c, &p, core_append(c, &e));
}

void
core_refused_durable(struct core *c, const struct pending *p)
{
	struct row *row = core_row(c, p->row);
	struct part_node *part = table_part_of(&c->table, row, p->index);
	struct txn_step step = txn_step(&row->txn, TXN_REFUSED, c->now_ns, &c->conf.policy);

	part->state = PART_REFUSED;
	part->code = p->code;
	c->stats.refused++;
	lanes_refused(&c->lanes, p->lane, p->value);
	if (step.verdict == TXN_OK)
		core_apply(c, p->row, &step, TXN_REFUSED);
	core_note(c, &(struct note){
			     .kind = NOTE_UNPUBLISHABLE,
			     .gid = table_gid(&c->table, row),
			     .partition = part->partition,
			     .value = p->code,
			     .lasted_ns = -1,
			     .text = c->topics.topics[part->topic].name,
		     });
}

void
core_report(struct core *c, uint64_t token, enum report report, int64_t offset, int32_t code)
{
	uint32_t i = (uint32_t)token;
	struct lane_item item;
	struct lane_flight f;
	struct lane *lane;

	if (i >= c->flight_count || c->flights[i].lane == LANE_NONE ||
	    c->flights[i].serial != token >> 32)
		return;
	f = c->flights[i];
	c->flights[i].serial++;
	flight_free(c, i);
	c->flight_bytes -= f.bytes;
	lane = lanes_at(&c->lanes, f.lane);
	learn_most(lane, report, code);
	lane->bytes -= f.bytes;
	switch (lanes_report(&c->lanes, f.lane, f.position, report, code, c->now_ns, &item)) {
	case LANE_ACKED:
		item_acked(c, lanes_at(&c->lanes, f.lane), &item, offset);
		break;
	case LANE_REFUSE:
		item_refused(c, f.lane, f.position, &item, code);
		break;
	case LANE_NOTHING:
		c->stats.publish_retries++;
		break;
	}
	lane_watch(c, f.lane, report == REPORT_ACKED);
}

/* ---- marks ----------------------------------------------------------------------------------- */

static int
by_number(const void *a, const void *b)
{
	const uint64_t *x = a;
	const uint64_t *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* Appends one mark; false when the disk is full and it was dropped. */
static bool
mark(struct core *c, uint32_t number, uint64_t low, const uint64_t *done, uint32_t count)
{
	const struct lane *lane = lanes_at(&c->lanes, number);
	struct entry e = {
		.type = ENTRY_PUBLISHED,
		.published = { lane->topic, lane->partition, low, count, done },
	};
	struct pending p = { .value = low, .row = number, .kind = PENDING_MARK };
	struct place place = core_append(c, &e);

	if (place.len == 0)
		return false;
	core_pend(c, &p, place);
	return true;
}

bool
core_passed(const struct core *c, const struct row *row, bool journaled)
{
	uint32_t p = row->flags & ROW_PARTS ? row->parts : PART_NONE;

	for (; p != PART_NONE; p = table_part(&c->table, p)->next) {
		const struct part_node *part = table_part(&c->table, p);
		uint32_t number = topics_lane(&c->topics, part->topic, part->partition);
		const struct lane *lane;

		if (part->again || part->n == 0)
			continue; /* its lane's watermark says nothing of it */
		lane = lanes_at(&c->lanes, number);
		if (part->n >= (journaled ? lane->marked_low : lane->low))
			return false;
	}
	return true;
}

void
core_mark_low(struct core *c, uint32_t number)
{
	struct lane *lane = lanes_at(&c->lanes, number);

	if (lane->low > lane->marked_low && mark(c, number, lane->low, NULL, 0))
		lane->marked_low = lane->low;
}

/*
 * What was acknowledged since the last mark: behind the watermark by name, below it by the
 * watermark alone, and retried ones by name in a mark of their own.
 */
static bool
lane_mark(struct core *c, uint32_t number)
{
	struct lane *lane = lanes_at(&c->lanes, number);
	uint64_t *n = core_n_scratch(c, lane->fresh_count);
	uint32_t count = 0;
	uint32_t again = 0;

	for (uint32_t i = 0; i < lane->fresh_count; i++)
		if (!(lane->fresh[i] & 1) && lane->fresh[i] >> 1 >= lane->low)
			n[count++] = lane->fresh[i] >> 1;
	for (uint32_t i = 0; i < lane->fresh_count; i++)
		if (lane->fresh[i] & 1)
			n[count + again++] = lane->fresh[i] >> 1;
	if (again) {
		qsort(n + count, again, sizeof(*n), by_number);
		if (!mark(c, number, 0, n + count, again))
			return false;
	}
	if (count || lane->low > lane->marked_low) {
		if (count)
			qsort(n, count, sizeof(*n), by_number); /* without any, N may be NULL */
		if (!mark(c, number, lane->low, n, count))
			return false;
	}
	lane->marked_low = lane->low;
	lane->fresh_count = 0;
	return true;
}

/* The disk is full and may be so for hours: keep only what the watermark will not say. */
static void
lane_prune(struct lane *lane)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < lane->fresh_count; i++)
		if ((lane->fresh[i] & 1) || lane->fresh[i] >> 1 >= lane->low)
			lane->fresh[kept++] = lane->fresh[i];
	lane->fresh_count = kept;
}

void
core_marks(struct core *c)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < c->lanes.dirty_count; i++) {
		uint32_t number = c->lanes.dirty[i];

		/* Marks in batches would be a fair saving, if what is in memory freed nothing. */
		if (CANARY(FREE_ON_MEMORY_MARK) && lanes_at(&c->lanes, number)->fresh_count < 24) {
			c->lanes.dirty[kept++] = number;
			continue;
		}
		if (lane_mark(c, number)) {
			lanes_at(&c->lanes, number)->dirty = false;
		} else {
			lane_prune(lanes_at(&c->lanes, number));
			c->lanes.dirty[kept++] = number;
		}
	}
	c->lanes.dirty_count = kept;
}

void
core_mark_durable(struct core *c, const struct pending *p)
{
	struct lane *lane = lanes_at(&c->lanes, p->row);

	lane->durable_low = max_u64(lane->durable_low, p->value);
}
