/*
 * journal.c -- the writer: append, write, sync, say what is durable.
 *
 * The promise, and where it is kept:
 *
 *   1. nothing is called durable before a sync that began after its last write has ended with 0
 *      (sync_done());
 *   2. at most one sync is under way, and nothing is written meanwhile: so each header can
 *      name the durable LSN of the moment, and the tail that it cannot vouch for is one batch
 *      (writer_flush());
 *   3. a segment is written only when all of the one before is durable, its own name is durable,
 *      and its opening is synced before anything follows it (writer_flush(), next_ready());
 *   4. after a failed write or sync nothing works any more (journal_fail()).
 */
#include "journal/internal.h"

#include <stdlib.h>

#include "base/canary.h"
#include "base/err.h"

int
journal_fail(struct journal *j, int err)
{
	CHECK(err < 0, 0);
	if (!j->err)
		j->err = err;
	return j->err;
}

uint64_t
segment_base(const struct journal *j, uint64_t number)
{
	return number * j->segment_bytes;
}

static struct segment *
current(const struct journal *j)
{
	return &j->segments[j->segment_count - 1];
}

static unsigned
bits_of(uint64_t v)
{
	return v ? 64u - (unsigned)__builtin_clzll(v) : 0;
}

static void
count_in(uint64_t *histogram, size_t n, uint64_t v)
{
	size_t i = bits_of(v);

	histogram[i < n ? i : n - 1]++;
}

/* ---- the open group ---------------------------------------------------------------------- */

static uint64_t
room_in_segment(const struct journal *j)
{
	uint64_t end = segment_base(j, j->tail_segment + 1);

	return end > j->tail_lsn ? end - j->tail_lsn : 0;
}

/* A group of at least NEED bytes of records begins at the tail. */
static void
group_begin(struct journal *j, size_t need, bool opening)
{
	struct group *g = &j->open;
	uint8_t *p;

	CHECK(!j->group_open, j->tail_lsn);
	p = cache_reserve(j, j->tail_lsn, GROUP_HEADER + need + j->conf.align);
	memset(g, 0, sizeof(*g));
	g->chunk = j->chunks[j->chunk_count - 1];
	g->at = (size_t)(p - g->chunk->mem);
	g->segment = j->tail_segment;
	g->lsn = j->tail_lsn;
	g->opening = opening;
	memset(p, 0, GROUP_HEADER);
	g->chunk->used += GROUP_HEADER;
	j->tail_lsn += GROUP_HEADER;
	j->group_open = true;
	j->open_urgent = false;
	j->lazy_since_ns = j->now_ns;
}

void
writer_close_group(struct journal *j)
{
	struct group *g = &j->open;
	size_t i;

	if (!j->group_open)
		return;
	j->group_open = false;
	if (j->conf.align > 1 && j->tail_lsn % j->conf.align) {
		uint64_t pad = j->conf.align - j->tail_lsn % j->conf.align;

		g->padding = (uint16_t)min_u64(pad, room_in_segment(j));
		memset(g->chunk->mem + g->chunk->used, 0, g->padding);
		g->chunk->used += g->padding;
		j->tail_lsn += g->padding;
	}
	if (j->queue_count == j->queue_cap) {
		size_t cap = j->queue_cap ? j->queue_cap * 2 : 64;
		struct group *q = mem_alloc(cap * sizeof(*q));

		for (i = 0; i < j->queue_count; i++)
			q[i] = j->queue[(j->queue_head + i) % j->queue_cap];
		mem_free(j->queue);
		j->queue = q;
		j->queue_head = 0;
		j->queue_cap = cap;
	}
	j->queue[(j->queue_head + j->queue_count++) % j->queue_cap] = *g;
}

/* Makes LEN bytes at the tail, which are written already, a record of the open group. */
static struct place
take_record(struct journal *j, uint8_t *p, size_t len)
{
	struct place place = { j->tail_lsn, (uint32_t)len };

	record_seal(p, len, j->tail_segment, j->tail_lsn);
	j->open.chunk->used += len;
	j->open.length += (uint32_t)len;
	j->open.records++;
	j->tail_lsn += len;
	j->waiting_records++;
	j->stats.records++;
	return place;
}

/* Where NEED bytes can be encoded: at the end of the open group, or of a new one. */
static uint8_t *
record_room(struct journal *j, size_t need)
{
	struct chunk *c = j->open.chunk;

	if (j->group_open &&
	    (c->cap - c->used < need + j->conf.align || j->open.length + need > j->group_max))
		writer_close_group(j);
	if (need + (j->group_open ? 0 : GROUP_HEADER) > room_in_segment(j)) {
		uint64_t end;

		writer_close_group(j);
		end = j->tail_lsn;
		writer_open_segment(j, j->tail_segment + 1, end, 0);
		writer_close_group(j);
	}
	if (!j->group_open)
		group_begin(j, need, false);
	return j->open.chunk->mem + j->open.chunk->used;
}

uint64_t
journal_state_max(const struct journal *j)
{
	return j->segment_bytes / JOURNAL_RECORD_SHARE;
}

/* The client is asked for the state as it is now: after all that was appended before. */
static struct entry
state_now(struct journal *j, uint64_t previous_end)
{
	struct entry e = { .type = ENTRY_STATE };

	j->client->state(j->arg, &e.state);
	e.state.oldest_segment = j->oldest;
	e.state.segment_bytes = j->segment_bytes;
	e.state.opened_ms = j->wall_ms;
	e.state.previous_end = previous_end;
	return e;
}

size_t
writer_state_len(struct journal *j)
{
	struct entry e = state_now(j, 0);
	uint8_t *p = mem_alloc(record_bound(&e));
	size_t len = record_encode(&e, p);

	mem_free(p);
	return len;
}

/* Begins segment NUMBER with its state record, in a group that is left open. */
void
writer_open_segment(struct journal *j, uint64_t number, uint64_t previous_end, size_t tail_bytes)
{
	struct entry e = state_now(j, previous_end);
	size_t need = record_bound(&e), len;
	uint8_t *p;

	CHECK(!j->group_open, number);

	j->tail_segment = number;
	j->tail_lsn = segment_base(j, number);
	/* Recovery puts the tail that it rewrites into this very group. */
	group_begin(j, need + tail_bytes, true);
	p = j->open.chunk->mem + j->open.chunk->used;
	len = record_encode(&e, p);
	if (len > journal_state_max(j))
		journal_fail(j, ERR_TOOBIG);
	(void)take_record(j, p, len);
	j->waiting_records--;
	j->open.vouches = previous_end;
	j->open_urgent = true;
}

/* A record that recovery found behind what is vouched for, byte for byte, at its new place. */
void
writer_add_raw(struct journal *j, const struct record *r, struct place *ret_place)
{
	uint8_t *p = j->open.chunk->mem + j->open.chunk->used;

	CHECK(j->group_open && j->open.opening, j->tail_lsn);
	CHECK(j->open.chunk->cap - j->open.chunk->used >= r->len, j->tail_lsn);
	memcpy(p, r->body.p - (r->len - r->body.n), r->len);
	*ret_place = take_record(j, p, r->len);
	j->waiting_records--;
}

/* ---- append ---------------------------------------------------------------------------------- */

bool
journal_has_room(const struct journal *j)
{
	uint64_t ready = segments_ready(j) * j->segment_bytes;
	uint64_t reserve = 2 * j->segment_bytes + finish_bytes(j);

	return ready + room_in_segment(j) > reserve;
}

/* Not even what finishes transactions may count on room any more: lazy records stay away. */
static bool
scarce(const struct journal *j)
{
	return segments_left(j) == 0;
}

/*
 * What is not durable lies in memory, and a disk that is slow, or stands still for a minute, must
 * not let it grow to all of the quota.  What finishes transactions is not refused: it is small, and
 * each undecided one has it once.
 */
static bool
disk_is_behind(const struct journal *j)
{
	uint64_t max = j->conf.unsynced_bytes ? j->conf.unsynced_bytes : JOURNAL_UNSYNCED;

	return j->tail_lsn - j->durable_lsn > max;
}

/* E, a half, undecided copy or decision, changes how much is set aside. */
void
writer_count(struct journal *j, const struct entry *e)
{
	if (e->type == ENTRY_DECISION) {
		uint64_t count = max_u64(e->decision.messages, max_u64(e->decision.count, 1));

		j->undecided -= min_u64(j->undecided, 1);
		j->undecided_more -= min_u64(j->undecided_more, count - 1);
		return;
	}
	j->undecided++;
	j->undecided_more += (e->type == ENTRY_HALF ? e->half.half.count : e->copy.half.count) - 1;
}

void
journal_undecided(struct journal *j, uint64_t transactions, uint64_t messages)
{
	CHECK(!j->started && messages >= transactions, messages);
	j->undecided = transactions;
	j->undecided_more = messages - transactions;
}

static void
count_undecided(struct journal *j, const struct entry *e)
{
	CHECK(e->type != ENTRY_COPY || j->in_reclaim || e->copy.decision.state, e->type);
	if (e->type == ENTRY_HALF || e->type == ENTRY_DECISION)
		writer_count(j, e);
}

int
journal_append(struct journal *j, const struct entry *e, struct place *ret_place)
{
	bool refusable = e->type == ENTRY_HALF || (e->type == ENTRY_COPY && !j->in_reclaim);
	bool lazy = e->type == ENTRY_CHECKS || e->type == ENTRY_PUBLISHED;
	uint64_t before = j->tail_lsn;
	size_t need, len;
	uint8_t *p;

	CHECK(e->type != ENTRY_STATE, e->type);
	CHECK(j->started, e->type);
	need = record_bound(e);
	if (j->err) {
		*ret_place = (struct place){ j->tail_lsn, (uint32_t)need };
		return 0;
	}
	*ret_place = (struct place){ 0, 0 };
	/* It must fit again when it is copied forward, with all that is known of it by then. */
	if (need + (e->type == ENTRY_HALF ? record_copy_bound(&e->half.half) : 0) > j->record_max)
		return ERR_TOOBIG;
	if (refusable && disk_is_behind(j))
		return ERR_AGAIN;
	if (refusable && !journal_has_room(j)) {
		/* Perhaps only because much came in this turn. */
		int err = spares_keep(j);

		if (err)
			journal_fail(j, err);
		if (!journal_has_room(j))
			return ERR_FULL;
	}
	if (lazy && scarce(j) && !j->in_reclaim)
		return 0;
	p = record_room(j, need);
	len = record_encode(e, p);
	CHECK(len <= need, j->tail_lsn);
	*ret_place = take_record(j, p, len);
	count_undecided(j, e);
	if (!lazy)
		j->open_urgent = true;
	if (j->in_reclaim)
		j->stats.bytes_copied += len;
	else if (e->type != ENTRY_OLDEST)
		j->external_bytes += j->tail_lsn - before;
	return 0;
}

/* Appends R again, which reclaim read, byte for byte. */
int
writer_append_again(struct journal *j, const struct record *r, struct place *ret_place)
{
	uint8_t *p = record_room(j, r->len);

	if (j->err)
		return j->err;
	memcpy(p, r->body.p - (r->len - r->body.n), r->len);
	*ret_place = take_record(j, p, r->len);
	j->open_urgent = true;
	j->stats.bytes_copied += r->len;
	return 0;
}

/* ---- write and sync -------------------------------------------------------------------------- */

static int
sync_begin(struct journal *j)
{
	int err = j->disk->ops->sync(current(j)->file, TOKEN(TOKEN_SYNC, 0));

	if (err)
		return journal_fail(j, err);
	j->syncing = true;
	j->sync_lsn = j->written_lsn;
	return 0;
}

static int
group_write(struct journal *j, const struct group *g)
{
	uint8_t *p = g->chunk->mem + g->at;
	size_t len = GROUP_HEADER + g->length + g->padding;
	struct group_header h = {
		.padding = g->padding,
		.lsn = g->lsn,
		.durable_lsn = g->opening ? g->vouches : j->durable_lsn,
		.epoch = j->epoch,
		.length = g->length,
		.records = g->records,
	};
	struct iovec iov = { p, len };
	int err;

	CHECK(g->lsn == j->written_lsn, g->lsn);
	CHECK(h.durable_lsn <= g->lsn, g->lsn);
	group_encode(&h, g->segment, p);
	err = j->disk->ops->write(current(j)->file, g->lsn - segment_base(j, g->segment), &iov, 1);
	if (err)
		return journal_fail(j, err);
	j->written_lsn += len;
	if (!g->opening)
		j->vouched_lsn = h.durable_lsn;
	current(j)->size = max_u64(current(j)->size, j->written_lsn - segment_base(j, g->segment));
	if (g->records)
		j->content_lsn = j->written_lsn;
	j->sync_records += g->records;
	j->stats.groups++;
	j->stats.bytes_written += len;
	count_in(j->stats.group_histogram, ARRAY_LEN(j->stats.group_histogram), g->records);
	return 0;
}

static struct group *
queue_front(const struct journal *j)
{
	return &j->queue[j->queue_head % j->queue_cap];
}

static void
queue_pop(struct journal *j)
{
	j->queue_head = (j->queue_head + 1) % j->queue_cap;
	j->queue_count--;
	j->released--;
}

/* Promise 3: all before is durable and the name is. */
static bool
next_ready(struct journal *j, const struct group *g, int *err)
{
	struct segment *s;

	CHECK(g->opening && g->segment == current(j)->number + 1, g->lsn);
	if (j->written_lsn != j->durable_lsn && !CANARY(OPEN_BEFORE_DURABLE)) {
		*err = sync_begin(j);
		return false;
	}
	if (j->next_state != NEXT_READY) {
		CHECK(j->vouched_durable > segment_base(j, current(j)->number), g->lsn);
		*err = next_prepare(j, g->segment, true);
		if (*err)
			journal_fail(j, *err);
		return false;
	}
	current(j)->end = j->written_lsn;
	s = segment_add(j, g->segment);
	s->file = j->next_file;
	s->size = j->next_size;
	s->opened_ms = j->wall_ms;
	j->next_file = NULL;
	j->next_state = NEXT_NONE;
	j->written_lsn = j->durable_lsn = j->vouched_lsn = j->vouched_durable = g->lsn;
	return true;
}

/* Writes what was released, as far as promises 2 and 3 let it, and begins the sync. */
int
writer_flush(struct journal *j)
{
	uint64_t batch = 0, batch_max = j->segment_bytes / 4;
	bool wrote = false;
	int err = 0;

	while (!j->syncing && j->released) {
		struct group *g = queue_front(j);
		bool opening = g->opening;

		if (g->segment != current(j)->number) {
			if (wrote)
				break;
			if (!next_ready(j, g, &err))
				return err;
		}
		if (wrote && (opening || batch + g->length > batch_max))
			break;
		err = group_write(j, g);
		if (err)
			return err;
		batch += GROUP_HEADER + g->length + g->padding;
		wrote = true;
		queue_pop(j);
		if (opening)
			break;
	}
	return wrote ? sync_begin(j) : 0;
}

static int
sync_done(struct journal *j, const struct disk_done *done)
{
	int64_t mean = (int64_t)j->stats.sync_ns_mean;

	j->syncing = false;
	if (done->err && CANARY(RETRY_FAILED_SYNC))
		return sync_begin(j);
	if (done->err)
		return journal_fail(j, ERR_IO);
	CHECK(j->sync_lsn <= j->written_lsn && j->sync_lsn >= j->durable_lsn, j->sync_lsn);
	j->durable_lsn = j->sync_lsn;
	j->vouched_durable = j->vouched_lsn;
	j->stats.syncs++;
	j->stats.sync_ns_last = (uint64_t)done->ns;
	j->stats.sync_ns_total += (uint64_t)done->ns;
	mean = mean ? mean + (done->ns - mean) / 8 : done->ns;
	j->stats.sync_ns_mean = (uint64_t)mean;
	count_in(j->stats.sync_histogram, ARRAY_LEN(j->stats.sync_histogram),
		 (uint64_t)done->ns / 1000);
	/* Wait for as many as were just answered, for they are coming back; but not for long. */
	j->gather_records = mean > GATHER_MIN_NS ? j->sync_records : 0;
	j->gather_until_ns = j->now_ns + min_i64(mean / 4, GATHER_MAX_NS);
	j->sync_records = 0;
	j->idle_since_ns = j->now_ns;
	if (j->started)
		j->client->durable(j->arg, j->durable_lsn);
	return writer_flush(j);
}

/* ---- what has ended -------------------------------------------------------------------------- */

static int
take_end(struct journal *j, const struct disk_done *done)
{
	switch (TOKEN_KIND(done->token)) {
	case TOKEN_SYNC:
		return sync_done(j, done);
	case TOKEN_NEXT_DIR:
		if (done->err)
			return done->err;
		j->next_state = NEXT_READY;
		return writer_flush(j);
	case TOKEN_START_DIR:
		j->dir_synced = !done->err;
		return done->err;
	case TOKEN_FILL:
		return spare_filled(j, done->err);
	case TOKEN_RECYCLE_DIR:
		return reclaim_dir_done(j, done->err);
	case TOKEN_RECLAIM:
		return reclaim_read_done(j, done);
	case TOKEN_SLOT:
		return cache_read_done(j, (size_t)TOKEN_VALUE(done->token), done);
	case TOKEN_BLOCKING:
		break;
	}
	CHECK(false, done->token);
	return ERR_IO;
}

/* Takes what has ended. */
static int
drain(struct journal *j)
{
	struct disk_done done;

	while (!j->err && j->disk->ops->next(j->disk, &done)) {
		int err = take_end(j, &done);

		if (err)
			journal_fail(j, err);
	}
	return j->err;
}

/* Stands still until DONE; ERR_IO when the disk has nothing under way and it is not so. */
int
journal_await(struct journal *j, bool (*done)(const struct journal *j))
{
	struct disk_done end;

	for (;;) {
		int err = drain(j);

		if (err)
			return err;
		if (done(j))
			return 0;
		j->disk->ops->wait(j->disk);
		if (!j->disk->ops->next(j->disk, &end))
			return journal_fail(j, ERR_IO);
		err = take_end(j, &end);
		if (err)
			return journal_fail(j, err);
	}
}

/* ---- one turn -------------------------------------------------------------------------------- */

static bool
gathering(const struct journal *j)
{
	return j->waiting_records < j->gather_records && j->now_ns < j->gather_until_ns;
}

/* Is there something that should be written now? */
static bool
due(const struct journal *j)
{
	if (j->queue_count > j->released)
		return true;
	if (!j->group_open || !j->open.records)
		return false;
	return j->open_urgent || j->open.length >= LAZY_BYTES ||
	       j->now_ns - j->lazy_since_ns >= LAZY_NS;
}

static void
release_all(struct journal *j)
{
	writer_close_group(j);
	j->released = j->queue_count;
	j->waiting_records = 0;
}

bool
journal_idle(const struct journal *j)
{
	return !j->syncing && !j->queue_count && !(j->group_open && j->open.records);
}

/* The next segment vouches for a last group behind which no header fits. */
static bool
marker_wanted(const struct journal *j)
{
	return journal_idle(j) && j->vouched_lsn < j->content_lsn && !j->group_open &&
	       j->written_lsn == j->durable_lsn && room_in_segment(j) >= GROUP_HEADER;
}

/*
 * An empty group whose header names the durable LSN: from then on damage to the last group that
 * was acknowledged is seen as damage, and not taken for a torn tail.
 */
static int
write_marker(struct journal *j)
{
	group_begin(j, 0, false);
	writer_close_group(j);
	j->released = j->queue_count;
	int err = group_write(j, queue_front(j));

	queue_pop(j);
	return err;
}

static int
keep_ahead(struct journal *j)
{
	uint64_t begun = j->written_lsn - segment_base(j, current(j)->number);
	uint64_t opening = segment_base(j, current(j)->number);
	bool waiting = j->tail_segment != current(j)->number;
	int err = spares_keep(j);

	/*
	 * Only when what vouches for the current one's opening is durable: a crash must not
	 * leave two segments that were not opened.
	 */
	if (!err && (waiting || begun >= j->segment_bytes / 4 * 3) && j->vouched_durable > opening)
		err = next_prepare(j, current(j)->number + 1, waiting);
	space_update(j);
	return err ? journal_fail(j, err) : 0;
}

int
journal_persist(struct journal *j, int64_t now_ns, uint64_t wall_ms)
{
	int err;

	j->now_ns = now_ns;
	j->wall_ms = wall_ms;
	if (j->err)
		return j->err;
	if (!j->syncing && due(j) && !gathering(j)) {
		release_all(j);
		err = writer_flush(j);
		if (err)
			return err;
	} else if (marker_wanted(j) && now_ns - j->idle_since_ns >= MARKER_NS) {
		err = write_marker(j);
		if (err)
			return err;
	}
	return keep_ahead(j);
}

int
journal_poll(struct journal *j, int64_t now_ns)
{
	int err;

	j->now_ns = now_ns;
	j->more = false;
	err = drain(j);
	if (err)
		return err;
	err = reclaim_advance(j);
	if (err)
		return journal_fail(j, err);
	return keep_ahead(j);
}

int64_t
journal_deadline_ns(const struct journal *j)
{
	int64_t at = TIME_NEVER;

	if (j->err || j->more)
		return j->now_ns;
	if (!j->syncing && due(j))
		at = gathering(j) ? j->gather_until_ns : j->now_ns;
	else if (!j->syncing && j->group_open && j->open.records)
		at = j->lazy_since_ns + LAZY_NS;
	else if (marker_wanted(j))
		at = j->idle_since_ns + MARKER_NS;
	if (j->disk_full)
		at = min_i64(at, max_i64(j->retry_ns, j->now_ns + NS_PER_MS));
	if (j->reclaim == RECLAIM_IDLE && j->now_ns < j->reclaim_not_before_ns && reclaim_wanted(j))
		at = min_i64(at, j->reclaim_not_before_ns);
	return at;
}

static bool
all_durable(const struct journal *j)
{
	return !j->syncing && !j->queue_count;
}

int
journal_sync(struct journal *j)
{
	int err;

	if (j->err)
		return j->err;
	release_all(j);
	err = writer_flush(j);
	if (!err)
		err = journal_await(j, all_durable);
	if (!err && marker_wanted(j))
		err = write_marker(j);
	if (!err && j->written_lsn != j->durable_lsn)
		err = sync_begin(j);
	return err ? err : journal_await(j, all_durable);
}

int
writer_vouch(struct journal *j)
{
	int err;

	CHECK(journal_idle(j) && room_in_segment(j) >= GROUP_HEADER, j->tail_lsn);
	err = write_marker(j);
	if (!err)
		err = sync_begin(j);
	return err ? err : journal_await(j, all_durable);
}

const struct journal_stats *
journal_stats(const struct journal *j)
{
	struct journal_stats *s = &((struct journal *)(uintptr_t)j)->stats;

	s->appended_lsn = j->tail_lsn;
	s->durable_lsn = j->durable_lsn;
	s->segments = j->segment_count;
	s->spares = j->spare_count;
	s->oldest_segment = j->segment_count ? j->segments[0].number : 0;
	s->newest_segment = j->tail_segment;
	s->quota_bytes = j->segments_max * j->segment_bytes;
	s->live_bytes = j->segment_count ? j->tail_lsn - segment_base(j, s->oldest_segment) : 0;
	s->full = j->started && !j->space_ok;
	s->disk_full = j->disk_full;
	return s;
}

/* Nothing that is under way may write into memory that is gone. */
static void
wait_for_reads(struct journal *j)
{
	struct disk_done done;

	for (;;) {
		while (j->disk->ops->next(j->disk, &done))
			;
		j->disk->ops->wait(j->disk);
		if (!j->disk->ops->next(j->disk, &done))
			return;
	}
}

struct journal *
journal_free(struct journal *j)
{
	if (!j)
		return NULL;
	wait_for_reads(j);
	for (size_t i = 0; i < j->segment_count; i++)
		if (j->segments[i].file)
			j->disk->ops->close(j->segments[i].file);
	if (j->next_file)
		j->disk->ops->close(j->next_file);
	if (j->fill_file)
		j->disk->ops->close(j->fill_file);
	cache_done(j);
	scan_done(&j->reclaim_scan);
	listing_done(&j->leftovers);
	record_scratch_done(j->scratch);
	mem_free(j->scratch);
	mem_free(j->segments);
	mem_free(j->spares);
	mem_free(j->queue);
	mem_free(j);
	return NULL;
}
