/*
 * reclaim.c -- the oldest segment becomes a spare, and nothing that is owed goes with it.
 *
 *   IDLE -> SCAN -> COPIES -> OLDEST -> DIR -> IDLE
 *
 *   1. SCAN    read it in pieces, a bounded share a turn; the core appends a copy of what it needs;
 *   2. COPIES  wait until those are durable;
 *   3. OLDEST  journal the new oldest segment and wait until that is durable: from here on recovery
 *              does not look for the old one;
 *   4. DIR     rename it to a spare, sync the directory.
 *
 * A crash anywhere before 3 leaves the segment and some copies: recovery sees both and the later
 * wins.  When all of the oldest is live, copying it frees nothing; then we wait, longer each time,
 * and only go on when somebody has written something, or a full journal would copy itself for ever.
 */
#include "journal/internal.h"

#include "base/canary.h"
#include "base/err.h"

void
space_update(struct journal *j)
{
	bool ok = journal_has_room(j);

	CHECK(j->started, j->oldest);
	if (ok == j->space_ok)
		return;
	j->space_ok = ok;
	j->client->space(j->arg, ok);
}

/* Is there something to reclaim, and a reason to? */
bool
reclaim_wanted(const struct journal *j)
{
	if (j->segment_count < 2)
		return false;
	if (j->reclaim_backoff_ns && !j->external_bytes)
		return false;
	return segments_left(j) <= segments_reserve(j) ||
	       j->segments[1].opened_ms + j->conf.retention_ms <= j->wall_ms;
}

static void
begin(struct journal *j)
{
	struct segment *s = &j->segments[0];
	uint64_t base;

	if (!reclaim_wanted(j) || j->now_ns < j->reclaim_not_before_ns)
		return;
	if (CANARY(RECYCLE_OUT_OF_ORDER) && j->segment_count > 3 && !s[0].busy && !s[1].busy) {
		struct segment oldest = s[0];

		s[0] = s[1];
		s[1] = oldest;
	}
	/* Only a segment whose successor is opened for certain. */
	if (j->vouched_lsn <= segment_base(j, s->number + 1))
		return;
	base = segment_base(j, s->number);
	CHECK(s->end >= base, s->number);
	scan_init(&j->reclaim_scan, s->number, base, s->end - base);
	j->reclaim = RECLAIM_SCAN;
	j->reclaim_copied = j->stats.bytes_copied;
}

/* Most of what is kept, again and again while it is in the window: without decoding it. */
static int
hand_over_stub(struct journal *j, const struct record *r, struct place place)
{
	uint64_t seq;
	int err = record_stub_seq(r, &seq);

	if (err)
		return ERR_CORRUPT;
	if (!j->client->keep(j->arg, seq, place))
		return 0;
	err = writer_append_again(j, r, &place);
	if (!err)
		j->client->moved(j->arg, seq, place);
	return err;
}

static int
hand_over(struct journal *j, const struct record *r)
{
	struct place place = { j->reclaim_scan.record_lsn, r->len };
	struct entry e;
	int err;

	if (r->type == ENTRY_STUB)
		return hand_over_stub(j, r, place);
	/* Whatever else there is tells of halves, and is in their copies or of no more use. */
	if (r->type != ENTRY_HALF && r->type != ENTRY_COPY && r->type != ENTRY_AUDIT)
		return 0;
	err = record_decode(r, j->scratch, &e);
	if (err)
		return err == ERR_NOMEM ? err : ERR_CORRUPT;
	j->in_reclaim = true;
	j->client->reclaim(j->arg, &e, place);
	j->in_reclaim = false;
	return j->err;
}

static int
read_more(struct journal *j)
{
	struct scan *s = &j->reclaim_scan;
	struct segment *seg = &j->segments[0];
	struct disk_file *f;
	void *room;
	int err = segment_file(j, seg, &f);

	if (err)
		return err;
	room = scan_room(s, READ_BYTES, &j->reclaim_asked);
	j->reclaim_reading = true;
	seg->busy++;
	/* It may end inside the call, and then nothing else would wake us. */
	j->more = true;
	return j->disk->ops->read(f, s->buf_at, room, j->reclaim_asked, TOKEN(TOKEN_RECLAIM, 0));
}

int
reclaim_read_done(struct journal *j, const struct disk_done *done)
{
	CHECK(j->reclaim_reading && j->segments[0].busy, j->segments[0].number);
	j->segments[0].busy--;
	j->reclaim_reading = false;
	if (done->err)
		return done->err;
	scan_fed(&j->reclaim_scan, j->reclaim_asked, done->len);
	return 0;
}

/* Step 1. */
static int
scan_some(struct journal *j)
{
	uint64_t budget = journal_has_room(j) ? RECLAIM_TURN : RECLAIM_TURN_URGENT;
	struct scan *s = &j->reclaim_scan;

	while (!j->reclaim_reading) {
		struct record r;
		uint64_t cost = 0;
		int err = 0;

		switch (scan_next(s, &r)) {
		case SCAN_RECORD:
			if (!CANARY(RECLAIM_LIVE_RECORD) || s->at < s->limit)
				err = hand_over(j, &r);
			if (err)
				return err;
			cost = r.len;
			break;
		case SCAN_GROUP:
			cost = GROUP_HEADER;
			break;
		case SCAN_MORE:
			return read_more(j);
		case SCAN_END:
			if (s->at != s->limit)
				return ERR_CORRUPT;
			j->reclaim = RECLAIM_COPIES;
			j->reclaim_goal =
				j->stats.bytes_copied != j->reclaim_copied ? j->tail_lsn : 0;
			return 0;
		case SCAN_BAD:
			return ERR_CORRUPT;
		case SCAN_VERSION:
			return ERR_VERSION;
		}
		if (cost >= budget) {
			j->more = true;
			return 0;
		}
		budget -= cost;
	}
	return 0;
}

/* Step 3. */
static int
journal_oldest(struct journal *j)
{
	struct entry e = { .type = ENTRY_OLDEST };
	struct place place;
	int err;

	e.oldest.segment = j->segments[0].number + 1;
	err = journal_append(j, &e, &place);
	if (err)
		return err;
	j->oldest = e.oldest.segment;
	j->reclaim_goal = place.lsn + place.len;
	j->reclaim = RECLAIM_OLDEST;
	return 0;
}

/* Step 4, when nobody reads it any more. */
static int
retire(struct journal *j)
{
	struct segment s = j->segments[0];
	int err;

	if (s.busy)
		return 0;
	cache_drop_segment(j, s.number);
	if (s.file)
		j->disk->ops->close(s.file);
	memmove(&j->segments[0], &j->segments[1], (j->segment_count - 1) * sizeof(s));
	j->segment_count--;
	err = segment_retire(j, s.number, s.size);
	if (err)
		return err;
	j->reclaim = RECLAIM_DIR;
	return j->disk->ops->sync_dir(j->disk, TOKEN(TOKEN_RECYCLE_DIR, 0));
}

int
reclaim_dir_done(struct journal *j, int err)
{
	uint64_t copied = j->stats.bytes_copied - j->reclaim_copied;

	if (err)
		return err;
	j->stats.reclaimed++;
	j->reclaim = RECLAIM_IDLE;
	if (copied > j->segment_bytes / 4 * 3) {
		j->reclaim_backoff_ns =
			j->reclaim_backoff_ns ? min_i64(j->reclaim_backoff_ns * 2, LOW_GAIN_MAX_NS)
					      : LOW_GAIN_NS;
		j->reclaim_not_before_ns = j->now_ns + j->reclaim_backoff_ns;
	} else {
		j->reclaim_backoff_ns = 0;
		j->reclaim_not_before_ns = 0;
		j->more = true;
	}
	j->external_bytes = 0;
	return 0;
}

int
reclaim_advance(struct journal *j)
{
	int err = 0;

	if (j->reclaim == RECLAIM_IDLE)
		begin(j);
	if (j->reclaim == RECLAIM_SCAN)
		err = scan_some(j);
	if (!err && j->reclaim == RECLAIM_COPIES && j->durable_lsn >= j->reclaim_goal)
		err = journal_oldest(j);
	if (!err && j->reclaim == RECLAIM_OLDEST && j->durable_lsn >= j->reclaim_goal)
		err = retire(j);
	return err;
}
