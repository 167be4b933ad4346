/*
 * segment.c -- the files: segments in order, the next one, and spares.
 *
 *      spare-7.new --filled--> spare-7.seg --next--> 42.seg --reclaimed--> spare-8.seg
 *
 * A file is filled with zeroes once and then goes round by rename, because growing a file, and
 * unlinking a big one, costs the syncs of everybody.  The name of the next segment is made and
 * synced before a byte of it is written; nothing else about these names has to be durable.
 *
 * No byte is ever appended to a file whose whole space is not the journal's already: a spare has
 * it from its first moment, filled or not.  So a disk that is smaller than the quota, or that
 * others fill, shows when the next spare is made, and never in the middle of a segment.
 */
#include "journal/internal.h"

#include "base/canary.h"
#include "base/err.h"

struct segment *
segment_find(struct journal *j, uint64_t number)
{
	if (j->segment_count == 0 || number < j->segments[0].number)
		return NULL;
	number -= j->segments[0].number;
	return number < j->segment_count ? &j->segments[number] : NULL;
}

/* Closes the handle that was not used for longest, so that a big journal does not eat them all. */
static void
close_one(struct journal *j)
{
	struct segment *oldest = NULL;
	size_t open = 0;

	for (size_t i = 0; i + 1 < j->segment_count; i++) {
		struct segment *s = &j->segments[i];

		if (!s->file)
			continue;
		open++;
		if (!s->busy && (!oldest || s->touched < oldest->touched))
			oldest = s;
	}
	if (open < FILES_OPEN_MAX || !oldest)
		return;
	j->disk->ops->close(oldest->file);
	oldest->file = NULL;
}

struct segment *
segment_add(struct journal *j, uint64_t number)
{
	struct segment *s;

	close_one(j);
	CHECK(j->segment_count == 0 || j->segments[j->segment_count - 1].number + 1 == number,
	      number);
	if (j->segment_count == j->segment_cap) {
		j->segment_cap = j->segment_cap ? j->segment_cap * 2 : 32;
		j->segments = mem_grow(j->segments, j->segment_cap * sizeof(*j->segments));
	}
	s = &j->segments[j->segment_count++];
	memset(s, 0, sizeof(*s));
	s->number = number;
	return s;
}

int
segment_file(struct journal *j, struct segment *s, struct disk_file **ret_file)
{
	s->touched = ++j->touches;
	if (!s->file) {
		char name[NAME_BYTES];
		int err;

		close_one(j);
		segment_name(name, s->number);
		err = j->disk->ops->open(j->disk, name, false, &s->file);
		if (err)
			return err == ERR_NOTFOUND ? ERR_CORRUPT : err;
	}
	*ret_file = s->file;
	return 0;
}

/* ---- how many there are ------------------------------------------------------------------- */

/* Files with their space, not written yet; the tail may be in some of them already. */
static uint64_t
reserved(const struct journal *j)
{
	return j->spare_count + (j->next_state != NEXT_NONE ? 1 : 0);
}

/* Segments that the tail has begun and that are not segments yet. */
static uint64_t
taken(const struct journal *j)
{
	return j->tail_segment - j->segments[j->segment_count - 1].number;
}

static uint64_t
left_of_quota(const struct journal *j)
{
	uint64_t in_use = j->tail_segment - j->segments[0].number + 1;

	return in_use < j->segments_max ? j->segments_max - in_use : 0;
}

uint64_t
finish_bytes(const struct journal *j)
{
	return j->undecided * FINISH_BYTES + j->undecided_more * FINISH_MORE;
}

uint64_t
segments_reserve(const struct journal *j)
{
	return 2 + finish_bytes(j) / j->segment_bytes;
}

static uint64_t
ready(const struct journal *j)
{
	return reserved(j) > taken(j) ? reserved(j) - taken(j) : 0;
}

uint64_t
segments_ready(const struct journal *j)
{
	return min_u64(left_of_quota(j), ready(j));
}

uint64_t
segments_left(const struct journal *j)
{
	return j->disk_full ? segments_ready(j) : left_of_quota(j);
}

/* Files of ours on the disk. */
static uint64_t
files(const struct journal *j)
{
	return j->segment_count + reserved(j);
}

/* One more than the reserve, so that the reserve is whole when a segment is begun. */
static bool
spare_wanted(const struct journal *j)
{
	return ready(j) <= segments_reserve(j) && files(j) < j->segments_max;
}

/* The tail waits for a file. */
static bool
next_wanted(const struct journal *j)
{
	return taken(j) && j->next_state == NEXT_NONE;
}

/* ERR_NOSPACE is not the end of anything: we wait for room. */
static int
no_space(struct journal *j, int err)
{
	if (err != ERR_NOSPACE)
		return err;
	j->disk_full = true;
	j->retry_ns = j->now_ns + RETRY_NS;
	return 0;
}

static bool
may_try(const struct journal *j)
{
	return !j->disk_full || j->now_ns >= j->retry_ns;
}

/*
 * Opens NAME, or makes it, and has all its space set aside.  ERR_NOSPACE: it is not there, or not
 * there any more.
 */
static int
file_with_space(struct journal *j, const char *name, bool make, struct disk_file **ret_file)
{
	const struct disk_ops *ops = j->disk->ops;
	struct disk_file *f;
	int err = ops->open(j->disk, name, make, &f), gone;

	if (err)
		return err;
	err = ops->reserve(f, j->segment_bytes);
	if (!err) {
		*ret_file = f;
		return 0;
	}
	ops->close(f);
	gone = err == ERR_NOSPACE ? ops->remove(j->disk, name) : 0;
	return gone ? gone : err;
}

/* ---- the next one ---------------------------------------------------------------------------- */

static struct spare *
spare_find(struct journal *j, bool whole)
{
	for (size_t i = j->spare_count; i-- > 0;) {
		struct spare *s = &j->spares[i];

		if (s->whole == whole && (whole || !j->filling || s->id != j->fill_id))
			return s;
	}
	return NULL;
}

static void
spare_drop(struct journal *j, struct spare *s)
{
	*s = j->spares[--j->spare_count];
}

static int
next_from_spare(struct journal *j, struct spare *s, const char *name)
{
	const struct disk_ops *ops = j->disk->ops;
	char from[NAME_BYTES];
	int err;

	spare_name(from, s->id, s->whole);
	err = ops->rename(j->disk, from, name);
	if (err)
		return err;
	spare_drop(j, s);
	err = ops->open(j->disk, name, false, &j->next_file);
	return err ? err : ops->size(j->next_file, &j->next_size);
}

int
next_prepare(struct journal *j, uint64_t number, bool force)
{
	char name[NAME_BYTES];
	struct spare *s;
	int err;

	if (j->next_state != NEXT_NONE)
		return 0;
	s = spare_find(j, true);
	if (!s && force)
		s = spare_find(j, false);
	if (!s && (!force || !may_try(j)))
		return 0;
	segment_name(name, number);
	if (s) {
		err = next_from_spare(j, s, name);
	} else {
		err = file_with_space(j, name, true, &j->next_file);
		j->next_size = 0;
	}
	if (err)
		return no_space(j, err);
	if (!s) /* a spare had its space already: it says nothing of the disk */
		j->disk_full = false;
	j->next_state = NEXT_DIR;
	if (CANARY(NO_DIRECTORY_SYNC))
		return j->disk->ops->sync(j->next_file, TOKEN(TOKEN_NEXT_DIR, 0));
	return j->disk->ops->sync_dir(j->disk, TOKEN(TOKEN_NEXT_DIR, 0));
}

/* ---- spares ---------------------------------------------------------------------------------- */

void
spare_add(struct journal *j, uint32_t id, bool whole)
{
	if (j->spare_count == j->spare_cap) {
		j->spare_cap = j->spare_cap ? j->spare_cap * 2 : 8;
		j->spares = mem_grow(j->spares, j->spare_cap * sizeof(*j->spares));
	}
	j->spares[j->spare_count++] = (struct spare){ id, whole };
	if (id >= j->spare_id)
		j->spare_id = id + 1;
}

int
spare_reserve(struct journal *j, uint32_t id, bool make)
{
	char name[NAME_BYTES];
	struct disk_file *f;
	int err;

	spare_name(name, id, false);
	err = file_with_space(j, name, make, &f);
	if (err)
		return no_space(j, err);
	j->disk->ops->close(f);
	j->disk_full = false;
	spare_add(j, id, false);
	return 0;
}

/* Not the only one: while it is filled it cannot be taken, and the tail would wait for that. */
static int
fill_one(struct journal *j)
{
	char name[NAME_BYTES];
	struct spare *s;
	size_t whole = 0;
	int err;

	for (size_t i = 0; i < j->spare_count; i++)
		whole += j->spares[i].whole;
	if (j->filling || whole >= SPARES_FILLED || j->spare_count < 2)
		return 0;
	s = spare_find(j, false);
	if (!s)
		return 0;
	spare_name(name, s->id, false);
	err = j->disk->ops->open(j->disk, name, false, &j->fill_file);
	if (err)
		return err;
	j->fill_id = s->id;
	j->filling = true;
	return j->disk->ops->allocate(j->fill_file, j->segment_bytes, TOKEN(TOKEN_FILL, 0));
}

int
spares_keep(struct journal *j)
{
	int err = 0;

	if (!spare_wanted(j) && !next_wanted(j))
		j->disk_full = false;
	while (!err && spare_wanted(j) && may_try(j))
		err = spare_reserve(j, j->spare_id, true);
	return err ? err : fill_one(j);
}

/* Where space cannot be set aside, filling is what finds the disk full. */
int
spare_filled(struct journal *j, int err)
{
	char name[NAME_BYTES], to[NAME_BYTES];
	struct spare *s = j->spares;

	j->disk->ops->close(j->fill_file);
	j->fill_file = NULL;
	j->filling = false;
	for (; s->id != j->fill_id; s++)
		CHECK(s + 1 < j->spares + j->spare_count, j->fill_id);
	spare_name(name, j->fill_id, false);
	if (err == ERR_NOSPACE) {
		spare_drop(j, s);
		err = j->disk->ops->remove(j->disk, name);
		return err ? err : no_space(j, ERR_NOSPACE);
	}
	if (err)
		return err;
	spare_name(to, j->fill_id, true);
	s->whole = true;
	return j->disk->ops->rename(j->disk, name, to);
}

int
segment_retire(struct journal *j, uint64_t number, uint64_t size)
{
	char name[NAME_BYTES], to[NAME_BYTES];
	bool whole = size == j->segment_bytes;
	uint32_t id = j->spare_id;
	int err;

	segment_name(name, number);
	if (ready(j) > segments_reserve(j))
		return j->disk->ops->remove(j->disk, name);
	spare_name(to, id, whole);
	err = j->disk->ops->rename(j->disk, name, to);
	if (err)
		return err;
	/* It was grown, by an earlier process perhaps: the rest of it must be ours too. */
	if (!whole)
		return spare_reserve(j, id, false);
	spare_add(j, id, true);
	return 0;
}
