/*
 * recover.c -- from files to memory, and the start of a new epoch.
 *
 * Recovery writes nothing: it can be repeated, and can crash, at any point.  What it cannot be sure
 * that the disk holds (the tail behind the last durable LSN that a header names: after a
 * failed sync only the page cache may have it) is given to the client at its new place, in the
 * opening group of the segment that journal_start() writes and syncs before anything is served.
 *
 *      41.seg  42.seg                       much in 42:  a new 43, 42 ends where it was durable
 *      41.seg  42.seg  <-rename-  43.seg    little:      42 anew, all of it in its opening
 *
 * A daemon that is started again and again would else take a segment each time, with nothing in
 * it, past any quota.  JOURNAL.md has the steps by number.
 */
#include "journal/internal.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/canary.h"
#include "base/err.h"

struct recovery {
	struct journal *j;
	struct chain chain;
	struct journal_fault *fault;
	uint64_t durable; /* of the last segment: where the tail begins */
	bool anew;        /* the last segment is written anew            */
	bool in_tail;
};

static void
set_geometry(struct journal *j, uint64_t segment_bytes)
{
	uint64_t n = j->conf.quota_bytes / segment_bytes;

	CHECK(segment_bytes >= SEGMENT_MIN, segment_bytes);
	j->segment_bytes = segment_bytes;
	j->segments_max = n > SEGMENTS_MIN ? n : SEGMENTS_MIN;
	j->group_max = (uint32_t)min_u64(GROUP_MAX, segment_bytes / JOURNAL_RECORD_SHARE);
	j->record_max = segment_bytes / JOURNAL_RECORD_SHARE;
	if (j->record_max > UINT32_MAX / 2)
		j->record_max = UINT32_MAX / 2;
}

static int
deliver(struct recovery *rec, const struct record *r, struct place place)
{
	struct journal *j = rec->j;
	struct entry e;
	int err = record_decode(r, j->scratch, &e);

	if (err == ERR_NOMEM)
		return err;
	if (err == ERR_VERSION && r->type >= RECORD_TYPE_SKIP)
		return 0;
	if (err)
		return fault_set(rec->fault, err == ERR_VERSION ? err : ERR_CORRUPT,
				 place.lsn / j->segment_bytes, place.lsn,
				 "a record of type %u at LSN %llu (%s)", r->type,
				 (unsigned long long)place.lsn,
				 err == ERR_VERSION ? "written by a newer version"
						    : "its content is malformed");
	if (e.type == ENTRY_OLDEST)
		return 0;
	if (e.type == ENTRY_HALF || e.type == ENTRY_DECISION ||
	    (e.type == ENTRY_COPY && !e.copy.decision.state))
		writer_count(j, &e);
	j->stats.records++;
	err = j->client->recover(j->arg, &e, place);
	if (err == ERR_CORRUPT)
		return fault_set(rec->fault, err, place.lsn / j->segment_bytes, place.lsn,
				 "the %s record at LSN %llu is impossible after those before it",
				 record_type_name(r->type), (unsigned long long)place.lsn);
	return err;
}

static uint64_t
padded(const struct journal *j, uint64_t bytes)
{
	uint32_t align = j->conf.align;

	return align > 1 ? (bytes + align - 1) / align * align : bytes;
}

/*
 * Step 6: is the last segment written anew, under its own number?  When it has little, for else
 * each start would waste the rest of it; and, whatever it has, when a start would take one of the
 * last two of the quota, which are for copies.  All of it must fit, and two markers behind
 * it: mostly it does, for it was many groups.
 */
static bool
last_anew(const struct recovery *rec)
{
	struct journal *j = rec->j;
	const struct survey *v = &rec->chain.survey;
	uint64_t need = padded(j, GROUP_HEADER + writer_state_len(j) + v->behind);
	uint64_t in_use = rec->chain.last + 1 - rec->chain.oldest;

	if (need + padded(j, GROUP_HEADER) + GROUP_HEADER > j->segment_bytes)
		return false;
	return v->behind <= j->segment_bytes / ANEW_SHARE || in_use + 1 + 2 > j->segments_max;
}

/* Step 6: from here on records move to the opening group of the segment that is started with. */
static void
begin_tail(struct recovery *rec)
{
	const struct survey *v = &rec->chain.survey;
	struct journal *j = rec->j;

	if (rec->in_tail)
		return;
	rec->in_tail = true;
	j->start_anew = rec->anew;
	j->start_opened_ms = v->opened_ms;
	j->previous_end = rec->anew ? v->previous_end : rec->durable;
	j->start_segment = rec->chain.last + !rec->anew;
	j->start_reuse = rec->chain.unopened == j->start_segment;
	writer_open_segment(j, j->start_segment, j->previous_end,
			    rec->anew ? (size_t)v->behind : (size_t)(v->end - rec->durable));
	j->opening_ready = true;
}

static int
take(struct recovery *rec, struct scan *s, const struct record *r)
{
	struct place place = { s->record_lsn, r->len };
	bool last = s->segment == rec->chain.last;
	bool state = s->record_lsn == s->base + GROUP_HEADER;
	int err;

	if (last && !state && (rec->anew || s->record_lsn >= rec->durable)) {
		begin_tail(rec);
		writer_add_raw(rec->j, r, &place);
	}
	err = deliver(rec, r, place);
	if (!err && last && state)
		rec->anew = last_anew(rec);
	return err;
}

/* Step 5: one segment, up to its END, which is known. */
static int
replay(struct recovery *rec, uint64_t number, uint64_t end)
{
	struct journal *j = rec->j;
	struct scan s = { 0 };
	struct segment *seg;
	struct disk_file *f;
	enum scan_result result = SCAN_END;
	struct record r;
	uint64_t base = segment_base(j, number);
	int err;

	seg = segment_add(j, number);
	seg->end = end;
	err = segment_file(j, seg, &f);
	if (!err)
		err = j->disk->ops->size(f, &seg->size);
	if (err)
		return err;
	scan_init(&s, number, base, j->segment_bytes);
	while (!err && base + s.at < end) {
		err = scan_wait(&s, j->disk, f, &r, &result);
		if (err || (result != SCAN_RECORD && result != SCAN_GROUP))
			break;
		if (result == SCAN_RECORD)
			err = take(rec, &s, &r);
		/* The padding of the last group, or its header alone. */
		if (s.group_end && s.at == s.group_end && base + s.group_next >= end)
			break;
	}
	if (!err && (result == SCAN_BAD || result == SCAN_END) && base + s.at < end)
		err = fault_set(
			rec->fault, ERR_CORRUPT, number, base + s.at,
			"segment %llu is damaged at LSN %llu (offset %llu): it must be valid up "
			"to LSN %llu",
			(unsigned long long)number, (unsigned long long)(base + s.at),
			(unsigned long long)s.at, (unsigned long long)end);
	if (!err && result == SCAN_VERSION)
		err = fault_set(rec->fault, ERR_VERSION, number, base + s.at,
				"segment %llu was written by a newer version",
				(unsigned long long)number);
	scan_done(&s);
	return err;
}

static int
replay_all(struct recovery *rec)
{
	struct journal *j = rec->j;
	struct chain *c = &rec->chain;
	uint64_t opened_ms = 0;

	for (uint64_t n = c->oldest; n <= c->last; n++) {
		struct survey v = { 0 };
		uint64_t end = c->survey.end;
		int err;

		if (j->client->progress)
			j->client->progress(j->arg, n - c->oldest + 1, c->last - c->oldest + 1);
		if (n < c->last) {
			err = survey_opening(j->disk, n + 1, j->scratch, &v);
			if (err)
				return err;
			if (!v.segment_bytes)
				return fault_set(rec->fault, ERR_CORRUPT, n + 1, 0,
						 "segment %llu has no valid opening",
						 (unsigned long long)(n + 1));
			end = v.previous_end;
		}
		err = replay(rec, n, end);
		if (err)
			return err;
		j->segments[n - c->oldest].opened_ms = opened_ms;
		opened_ms = v.opened_ms;
	}
	/* Of the last one, what is behind the durable LSN does not count any more. */
	begin_tail(rec);
	j->segments[j->segment_count - 1].end = rec->durable;
	return j->err;
}

static int
recover(struct recovery *rec)
{
	struct journal *j = rec->j;
	int err = chain_find(j->disk, j->scratch, &rec->chain, rec->fault);

	if (err)
		return err;
	j->epoch = rec->chain.epoch + 1;
	if (!rec->chain.last) {
		j->oldest = j->start_segment = 1;
		j->start_reuse = rec->chain.unopened == 1;
		set_geometry(j, j->conf.segment_bytes);
		return 0;
	}
	set_geometry(j, rec->chain.survey.segment_bytes);
	j->oldest = rec->chain.oldest;
	rec->durable = max_u64(rec->chain.survey.durable, rec->chain.survey.opening_end);
	return replay_all(rec);
}

int
journal_open(struct disk *disk, const struct journal_conf *conf,
	     const struct journal_client *client, void *arg, struct journal **ret_journal,
	     bool *ret_new, struct journal_fault *ret_fault)
{
	struct recovery rec = { .fault = ret_fault };
	struct journal *j;
	int err;

	CHECK(conf->align <= UINT16_MAX && conf->segment_bytes >= SEGMENT_MIN, conf->segment_bytes);
	memset(ret_fault, 0, sizeof(*ret_fault));
	err = disk->ops->lock(disk);
	if (err && !CANARY(TWO_DAEMONS))
		return fault_set(ret_fault, err, 0, 0, "%s",
				 err == ERR_LOCKED ? "another daemon holds the journal"
						   : "the journal cannot be locked");
	j = mem_alloc(sizeof(*j));
	j->disk = disk;
	j->conf = *conf;
	j->client = client;
	j->arg = arg;
	j->scratch = mem_alloc(sizeof(*j->scratch));
	j->space_ok = true;
	list_init(&j->unslotted);
	for (size_t i = 0; i < SLOTS; i++)
		list_init(&j->slots[i].waiters);
	rec.j = j;
	err = recover(&rec);
	j->leftovers = rec.chain.files;
	if (!err && j->err)
		err = j->err;
	if (err) {
		if (!ret_fault->text[0])
			fault_set(ret_fault, err, 0, 0, "the journal cannot be read: %s",
				  err_text(err));
		journal_free(j);
		return err;
	}
	*ret_new = !rec.chain.last;
	*ret_journal = j;
	return 0;
}

/* ---- start ----------------------------------------------------------------------------------- */

static bool
next_is_ready(const struct journal *j)
{
	return j->next_state == NEXT_READY;
}

static bool
opening_is_durable(const struct journal *j)
{
	return !j->syncing && !j->released;
}

static bool
dir_is_durable(const struct journal *j)
{
	return j->dir_synced;
}

static int
await_dir(struct journal *j)
{
	int err;

	j->dir_synced = false;
	err = j->disk->ops->sync_dir(j->disk, TOKEN(TOKEN_START_DIR, 0));
	return err ? err : journal_await(j, dir_is_durable);
}

/*
 * Step 7: what lies above the new segment was never opened.  Its name must be gone for certain
 * before a byte below it is written again, for it vouches for the bytes that were there; and one
 * after the other from the top, each synced, for the power may be cut here too: a lower name that
 * is gone without a higher one is a gap, and a gap is damage.
 */
static int
remove_above(struct journal *j)
{
	char name[NAME_BYTES];
	int err = 0;

	for (size_t i = j->leftovers.segment_count; i-- > 0 && !err;) {
		if (j->leftovers.segments[i] <= j->start_segment)
			break;
		segment_name(name, j->leftovers.segments[i]);
		err = j->disk->ops->remove(j->disk, name);
		if (!err)
			err = await_dir(j);
	}
	return err;
}

/*
 * Step 7: the file of the new segment, with its space, under a name that survives.  One that was
 * made by a start that came to nothing goes: it may lack its space, and a spare has it.  What is
 * written anew lies under the number above until it is whole: nothing in it counts there, for its
 * checksums are of another place.  Not under the name of a spare: as a spare, after a crash, it
 * would be written anew once more, and what is left of it behind the new bytes would count.
 */
static int
start_file(struct journal *j)
{
	char name[NAME_BYTES];
	int err = 0;

	segment_name(name, j->start_segment);
	if (j->start_reuse)
		err = j->disk->ops->remove(j->disk, name);
	if (!err)
		err = next_prepare(j, j->start_segment + j->start_anew, true);
	if (err)
		return err;
	return j->next_state == NEXT_NONE ? ERR_NOSPACE : journal_await(j, next_is_ready);
}

/* The state record was encoded when the time was not known. */
static void
stamp_opening(struct journal *j)
{
	uint8_t *p = j->open.chunk->mem + j->open.at + GROUP_HEADER;
	struct record r;

	CHECK(record_open(str_from(p, j->open.length), j->open.segment, j->open.lsn + GROUP_HEADER,
			  &r) == 0,
	      j->open.lsn);
	CHECK(r.type == ENTRY_STATE, j->open.lsn);
	le_put64(p + (r.len - r.body.n), j->start_anew ? j->start_opened_ms : j->wall_ms);
	record_seal(p, r.len, j->open.segment, j->open.lsn + GROUP_HEADER);
}

/* Step 8: files that recovery did not need. */
static int
clear_leftovers(struct journal *j)
{
	char name[NAME_BYTES];
	int err = 0;

	for (size_t i = 0; i < j->leftovers.segment_count && !err; i++) {
		segment_name(name, j->leftovers.segments[i]);
		if (j->leftovers.segments[i] < j->segments[0].number)
			err = j->disk->ops->remove(j->disk, name);
	}
	listing_done(&j->leftovers);
	return err;
}

static int
take_spares(struct journal *j)
{
	char name[NAME_BYTES];
	int err = 0;

	for (size_t i = 0; i < j->leftovers.spare_count && !err; i++) {
		const struct spare_file *s = &j->leftovers.spares[i];

		spare_name(name, s->id, s->whole);
		if (s->id >= j->spare_id)
			j->spare_id = s->id + 1;
		if (j->spare_count > segments_reserve(j) ||
		    (s->whole && s->size != j->segment_bytes))
			err = j->disk->ops->remove(j->disk, name);
		else if (s->whole)
			spare_add(j, s->id, true);
		else
			err = spare_reserve(j, s->id, false);
	}
	return err;
}

/* The file becomes the segment that is written. */
static void
start_segment(struct journal *j)
{
	struct segment *s = j->start_anew ? segment_find(j, j->start_segment)
					  : segment_add(j, j->start_segment);

	if (s->file)
		j->disk->ops->close(s->file);
	s->file = j->next_file;
	s->size = j->next_size;
	s->end = 0;
	s->opened_ms = j->start_anew ? j->start_opened_ms : j->wall_ms;
	j->next_file = NULL;
	j->next_state = NEXT_NONE;
	j->written_lsn = j->durable_lsn = j->vouched_lsn = segment_base(j, s->number);
}

/*
 * Step 7: the opening is written and synced, then a marker that vouches for it.  What is written
 * anew gets two: nothing else has its records any more, and with one alone a single bit that is
 * wrong in it would make a segment of them that was not opened.
 */
static int
write_opening(struct journal *j)
{
	int err;

	writer_close_group(j);
	j->released = j->queue_count;
	err = writer_flush(j);
	if (!err)
		err = journal_await(j, opening_is_durable);
	if (!err)
		err = journal_sync(j);
	return !err && j->start_anew ? writer_vouch(j) : err;
}

/*
 * Step 7: the one that was written anew takes the place of the old one, which is gone with that:
 * until the name is durable a cut brings it back, and then it must be as it was.
 */
static int
replace_old(struct journal *j)
{
	char from[NAME_BYTES], to[NAME_BYTES];
	int err;

	segment_name(from, j->start_segment + 1);
	segment_name(to, j->start_segment);
	err = j->disk->ops->rename(j->disk, from, to);
	return err ? err : await_dir(j);
}

int
journal_start(struct journal *j, uint64_t wall_ms)
{
	int err;

	CHECK(!j->started, 0);
	j->wall_ms = wall_ms;
	err = take_spares(j);
	if (err)
		return err;
	if (!j->opening_ready) {
		writer_open_segment(j, j->start_segment, segment_base(j, j->start_segment), 0);
		if (j->err)
			return j->err;
	}
	stamp_opening(j);
	err = remove_above(j);
	if (!err)
		err = start_file(j);
	if (err)
		return err;
	start_segment(j);
	if (CANARY(REPLACED_BEFORE_SYNC) && j->start_anew)
		err = replace_old(j);
	if (!err)
		err = write_opening(j);
	if (!err && j->start_anew && !CANARY(REPLACED_BEFORE_SYNC))
		err = replace_old(j);
	if (!err)
		err = clear_leftovers(j);
	if (err)
		return journal_fail(j, err);
	j->started = true;
	j->idle_since_ns = j->now_ns;
	err = spares_keep(j);
	return err ? journal_fail(j, err) : 0;
}
