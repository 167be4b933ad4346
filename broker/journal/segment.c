/*
 * segment.c -- the files: segments in order, the next one, and spares.
 *
 *      spare-7.new --filled--> spare-7.seg --next--> 42.seg --reclaimed--> spare-8.seg
 *
 * A file is filled with zeroes once and then goes round by rename, because growing a file, and
 * unlinking a big one, costs the syncs of everybody.  The name of the next segment is made and
 * synced before a byte of it is written; nothing else about these names has to be durable.
 */
#include "journal/internal.h"

#include "base/err.h"

struct segment *
segment_find(struct journal *j, uint64_t number)
{
	if (j->segment_count == 0 || number < j->segments[0].number)
		return NULL;
	number -= j->segments[0].number;
	return number < j->segment_count ? &j->segments[number] : NULL;
}

struct segment *
segment_add(struct journal *j, uint64_t number)
{
	struct segment *s;

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

/* How many more segments can be begun, those included that are made ready already. */
uint64_t
segments_available(const struct journal *j)
{
	uint64_t in_use = j->tail_segment - j->segments[0].number + 1;
	uint64_t by_quota = in_use < j->segments_max ? j->segments_max - in_use : 0;
	uint64_t ready, taken;

	if (!j->disk_full)
		return by_quota;
	ready = j->spare_count + (j->next_state != NEXT_NONE ? 1 : 0);
	taken = j->tail_segment - j->segments[j->segment_count - 1].number;
	return min_u64(by_quota, ready > taken ? ready - taken : 0);
}

/* ---- the next one ---------------------------------------------------------------------------- */

int
next_prepare(struct journal *j, uint64_t number, bool force)
{
	const struct disk_ops *ops = j->disk->ops;
	char name[NAME_BYTES], from[NAME_BYTES];
	int err;

	if (j->next_state != NEXT_NONE || (!j->spare_count && !force))
		return 0;
	segment_name(name, number);
	if (j->spare_count) {
		spare_name(from, j->spares[j->spare_count - 1], true);
		err = ops->rename(j->disk, from, name);
		if (err)
			return err;
		j->spare_count--;
		err = ops->open(j->disk, name, false, &j->next_file);
		j->next_size = j->segment_bytes;
	} else {
		err = ops->open(j->disk, name, true, &j->next_file);
		j->next_size = 0;
	}
	if (err)
		return err;
	j->next_state = NEXT_DIR;
	return ops->sync_dir(j->disk, TOKEN(TOKEN_NEXT_DIR, 0));
}

/* ---- spares ---------------------------------------------------------------------------------- */

void
spare_add(struct journal *j, uint32_t id)
{
	if (j->spare_count == j->spare_cap) {
		j->spare_cap = j->spare_cap ? j->spare_cap * 2 : 8;
		j->spares = mem_grow(j->spares, j->spare_cap * sizeof(*j->spares));
	}
	j->spares[j->spare_count++] = id;
	if (id >= j->spare_id)
		j->spare_id = id + 1;
}

/* Files of ours on the disk. */
static uint64_t
files(const struct journal *j)
{
	return j->segment_count + j->spare_count + (j->next_state != NEXT_NONE ? 1 : 0) +
	       (j->filling ? 1 : 0);
}

static int
fill_begin(struct journal *j, struct disk_file *f, uint32_t id)
{
	j->fill_file = f;
	j->fill_id = id;
	j->filling = true;
	return j->disk->ops->allocate(f, j->segment_bytes, TOKEN(TOKEN_FILL, 0));
}

/* Makes a spare in the background when one is wanted and the quota leaves room for the file. */
int
spare_fill(struct journal *j)
{
	char name[NAME_BYTES];
	struct disk_file *f;
	int err;

	if (j->filling || !j->started)
		return 0;
	/* With the spares at hand, believe in the disk again: the next one will tell. */
	if (j->spare_count >= SPARES_WANTED) {
		if (j->disk_full && j->now_ns >= j->retry_ns)
			j->disk_full = false;
		return 0;
	}
	if (files(j) >= j->segments_max || (j->disk_full && j->now_ns < j->retry_ns))
		return 0;
	spare_name(name, j->spare_id, false);
	err = j->disk->ops->open(j->disk, name, true, &f);
	if (err == ERR_NOSPACE) {
		j->disk_full = true;
		j->retry_ns = j->now_ns + RETRY_NS;
		return 0;
	}
	if (err)
		return err;
	return fill_begin(j, f, j->spare_id++);
}

int
spare_filled(struct journal *j, int err)
{
	char name[NAME_BYTES], to[NAME_BYTES];

	j->disk->ops->close(j->fill_file);
	j->fill_file = NULL;
	j->filling = false;
	spare_name(name, j->fill_id, false);
	/* What was reserved until then goes back: the segment being written may need it. */
	if (err == ERR_NOSPACE) {
		j->disk_full = true;
		j->retry_ns = j->now_ns + RETRY_NS;
		return j->disk->ops->remove(j->disk, name);
	}
	if (err)
		return err;
	j->disk_full = false;
	spare_name(to, j->fill_id, true);
	err = j->disk->ops->rename(j->disk, name, to);
	if (!err)
		spare_add(j, j->fill_id);
	return err;
}

int
segment_retire(struct journal *j, uint64_t number, uint64_t size)
{
	char name[NAME_BYTES], to[NAME_BYTES];
	uint32_t id = j->spare_id;
	struct disk_file *f;
	int err;

	segment_name(name, number);
	if (j->spare_count + (j->filling ? 1 : 0) >= SPARES_MAX ||
	    (size != j->segment_bytes && j->filling))
		return j->disk->ops->remove(j->disk, name);
	spare_name(to, id, size == j->segment_bytes);
	err = j->disk->ops->rename(j->disk, name, to);
	if (err)
		return err;
	if (size == j->segment_bytes) {
		spare_add(j, id);
		/* A whole file came back: the disk being full is no longer what stops us. */
		return 0;
	}
	/* It was grown, not filled: fill the rest before it is used again. */
	j->spare_id++;
	err = j->disk->ops->open(j->disk, to, false, &f);
	return err ? err : fill_begin(j, f, id);
}
