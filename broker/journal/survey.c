/*
 * survey.c -- what lies in the directory, and where the journal in it begins and ends.
 *
 * Shared by recovery and by the tools, which must never disagree about what is valid.  Changes
 * nothing.  JOURNAL.md numbers the rules; the comments here cite them.
 */
#include "journal/internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/canary.h"
#include "base/err.h"

int
fault_set(struct journal_fault *f, int err, uint64_t segment, uint64_t lsn, const char *fmt, ...)
{
	va_list ap;

	f->segment = segment;
	f->lsn = lsn;
	va_start(ap, fmt);
	vsnprintf(f->text, sizeof(f->text), fmt, ap);
	va_end(ap);
	return err;
}

/* ---- names ------------------------------------------------------------------------------- */

void
segment_name(char ret[NAME_BYTES], uint64_t number)
{
	snprintf(ret, NAME_BYTES, "%020llu.seg", (unsigned long long)number);
}

void
spare_name(char ret[NAME_BYTES], uint32_t id, bool whole)
{
	snprintf(ret, NAME_BYTES, "spare-%06u.%s", id, whole ? "seg" : "new");
}

static bool
digits(const char *p, size_t n, uint64_t *ret)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++) {
		if (p[i] < '0' || p[i] > '9' || v > (UINT64_MAX - 9) / 10)
			return false;
		v = v * 10 + (uint64_t)(p[i] - '0');
	}
	*ret = v;
	return true;
}

/* Room for one more of SIZE at *P. */
static void *
one_more(void *p, size_t count, size_t *cap, size_t size)
{
	if (count < *cap)
		return p;
	*cap = *cap ? *cap * 2 : 64;
	return mem_grow(p, *cap * size);
}

static void
list_name(void *arg, const char *name, uint64_t size)
{
	struct listing *l = arg;
	size_t n = strlen(name);
	uint64_t v;

	if (n == 24 && memcmp(name + 20, ".seg", 4) == 0 && digits(name, 20, &v) && v) {
		l->segments = one_more(l->segments, l->segment_count, &l->segment_cap, sizeof(v));
		l->segments[l->segment_count++] = v;
	} else if (n > 10 && strncmp(name, "spare-", 6) == 0 && digits(name + 6, n - 10, &v) &&
		   v < UINT32_MAX && name[n - 4] == '.') {
		l->spares = one_more(l->spares, l->spare_count, &l->spare_cap, sizeof(*l->spares));
		l->spares[l->spare_count++] =
			(struct spare_file){ (uint32_t)v, memcmp(name + n - 4, ".seg", 4) == 0,
					     size };
	}
}

static int
by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int
by_id(const void *a, const void *b)
{
	uint32_t x = ((const struct spare_file *)a)->id, y = ((const struct spare_file *)b)->id;

	return x < y ? -1 : x > y;
}

static int
listing_read(struct disk *disk, struct listing *ret)
{
	memset(ret, 0, sizeof(*ret));
	/* In an order of our own: that of the directory is nobody's promise. */
	int err = disk->ops->list(disk, list_name, ret);

	if (ret->segment_count)
		qsort(ret->segments, ret->segment_count, sizeof(*ret->segments), by_number);
	if (ret->spare_count)
		qsort(ret->spares, ret->spare_count, sizeof(*ret->spares), by_id);
	return err;
}

void
listing_done(struct listing *l)
{
	mem_free(l->segments);
	mem_free(l->spares);
	memset(l, 0, sizeof(*l));
}

/* ---- one segment ----------------------------------------------------------------------------- */

static bool
take_state(struct survey *v, const struct scan *s, const struct entry_state *e)
{
	if (e->segment_bytes < SEGMENT_MIN || e->segment_bytes != s->base / v->segment ||
	    e->oldest_segment > v->segment || e->previous_end > s->base)
		return false;
	v->segment_bytes = e->segment_bytes;
	v->oldest = e->oldest_segment;
	v->previous_end = e->previous_end;
	v->opened_ms = e->opened_ms;
	return true;
}

/* Follows the chain from the opening; STOP: no further than the opening group. */
static int
follow(struct disk *disk, struct disk_file *f, struct scan *s, struct record_scratch *scratch,
       bool stop, struct survey *v)
{
	uint64_t groups = 0, records = 0;
	struct entry e;
	struct record r;
	enum scan_result result;
	int err;

	for (;;) {
		err = scan_wait(s, disk, f, &r, &result);
		if (err)
			return err;
		if (result == SCAN_VERSION)
			return ERR_VERSION;
		if (result != SCAN_GROUP && result != SCAN_RECORD)
			return 0;
		if (result == SCAN_GROUP) {
			if (groups == 0) {
				v->epoch = s->epoch;
				v->base = s->base;
				v->opening_end = s->base + s->group_next;
			} else {
				v->opened = true;
			}
			v->durable = max_u64(v->durable, s->group.durable_lsn);
			if (groups++ && stop)
				return 0;
			continue;
		}
		if (records++ == 0) {
			err = r.type == ENTRY_STATE ? record_decode(&r, scratch, &e) : ERR_CORRUPT;
			if (err == ERR_NOMEM) /* it may be a good one */
				return err;
			if (err || !take_state(v, s, &e.state)) {
				s->at = 0;
				return 0;
			}
			continue;
		}
		v->behind += r.len;
		if (r.type == ENTRY_OLDEST && record_decode(&r, scratch, &e) == 0)
			v->oldest = max_u64(v->oldest, e.oldest.segment);
	}
}

static int
survey(struct disk *disk, uint64_t segment, struct record_scratch *scratch, bool opening_only,
       struct survey *ret)
{
	struct scan s = { 0 };
	struct disk_file *f;
	char name[NAME_BYTES];
	uint64_t from;
	bool whole;
	int err;

	memset(ret, 0, sizeof(*ret));
	ret->segment = segment;
	segment_name(name, segment);
	err = disk->ops->open(disk, name, false, &f);
	if (err)
		return err;
	err = disk->ops->size(f, &ret->size);
	scan_init(&s, segment, 0, UINT64_MAX);
	s.file_size = ret->size;
	if (!err)
		err = follow(disk, f, &s, scratch, opening_only, ret);
	ret->end = ret->base + s.at;
	whole = ret->segment_bytes && ret->end >= ret->opening_end;
	/*
	 * From where the padding begins: a header that claims more of it than was written must not
	 * hide the ones in there, for what is written over the first would bring them to light.
	 */
	from = s.begun && s.at == s.group_next ? s.padding_at : s.at;
	if (!err && !opening_only)
		err = vouchers_find(disk, f, segment, from, &ret->later);
	/*
	 * Rule 4: an opening that nothing behind it vouches for was not finished.  What vouches may
	 * lie behind a hole: of the first batch a cut may leave the second group alone.
	 */
	ret->opened = whole && (ret->opened || ret->later.inside);
	scan_done(&s);
	disk->ops->close(f);
	return err;
}

int
survey_segment(struct disk *disk, uint64_t segment, struct record_scratch *scratch,
	       struct survey *ret)
{
	return survey(disk, segment, scratch, false, ret);
}

int
survey_opening(struct disk *disk, uint64_t segment, struct record_scratch *scratch,
	       struct survey *ret)
{
	return survey(disk, segment, scratch, true, ret);
}

/* ---- all of them ----------------------------------------------------------------------------- */

static int
damaged(struct journal_fault *f, const struct survey *v, uint64_t vouched)
{
	return fault_set(f, ERR_CORRUPT, v->segment, v->end,
			 "segment %llu is damaged at LSN %llu (offset %llu): later bytes say that "
			 "everything up to LSN %llu had been synced",
			 (unsigned long long)v->segment, (unsigned long long)v->end,
			 (unsigned long long)(v->end - v->base), (unsigned long long)vouched);
}

/* Rule 5: torn, or damaged? */
static int
judge_end(struct chain *c, const struct survey *unopened, struct journal_fault *ret_fault)
{
	const struct survey *v = &c->survey;
	uint64_t vouched = max_u64(v->durable, v->later.durable_lsn);

	if (unopened)
		vouched = max_u64(vouched, max_u64(unopened->durable, unopened->later.durable_lsn));
	return vouched > v->end && !CANARY(TRUNCATE_AT_FIRST_BAD) ? damaged(ret_fault, v, vouched)
								  : 0;
}

/* Rule 3: without gaps from the oldest on. */
static int
check_contiguous(struct chain *c, struct journal_fault *ret_fault)
{
	const struct listing *l = &c->files;
	uint64_t expected = c->oldest;

	for (size_t i = 0; i < l->segment_count; i++) {
		if (l->segments[i] < c->oldest)
			continue;
		if (l->segments[i] != expected)
			break;
		expected++;
	}
	if (expected <= c->last)
		return fault_set(ret_fault, ERR_CORRUPT, expected, 0,
				 "segment %llu is missing: the journal goes from %llu to %llu",
				 (unsigned long long)expected, (unsigned long long)c->oldest,
				 (unsigned long long)c->last);
	return 0;
}

/*
 * Rule 4: going down from the top, segments that were not opened.  Mostly there is one; there are
 * more when a process died after it had written a marker and before that was synced, its successor
 * found the marker in the page cache and went on, and then the power was cut.
 */
static int
find_last(struct disk *disk, struct record_scratch *scratch, struct chain *c, struct survey *above,
	  struct journal_fault *ret_fault)
{
	const struct listing *l = &c->files;
	struct survey *v = &c->survey;

	for (size_t i = l->segment_count; i-- > 0;) {
		uint64_t vouched = max_u64(above->durable, above->later.durable_lsn);
		int err = survey_segment(disk, l->segments[i], scratch, v);

		if (err)
			return err;
		c->epoch = v->epoch > c->epoch ? v->epoch : c->epoch;
		c->epoch = v->later.epoch > c->epoch ? v->later.epoch : c->epoch;
		if (c->unopened && c->unopened != v->segment + 1)
			return fault_set(ret_fault, ERR_CORRUPT, v->segment + 1, 0,
					 "segment %llu is missing",
					 (unsigned long long)(v->segment + 1));
		if (v->opened) {
			c->last = v->segment;
			return 0;
		}
		/*
		 * A header that names a durable LSN inside the segment: the opening had been
		 * synced, and is not whole.
		 */
		if (v->later.inside)
			return damaged(ret_fault, v, v->later.durable_lsn);
		if (c->unopened && vouched > v->end)
			return damaged(ret_fault, v, vouched);
		c->unopened = v->segment;
		*above = *v;
	}
	return 0;
}

int
chain_find(struct disk *disk, struct record_scratch *scratch, struct chain *ret,
	   struct journal_fault *ret_fault)
{
	struct survey above = { 0 };
	int err;

	memset(ret, 0, sizeof(*ret));
	err = listing_read(disk, &ret->files);
	if (err)
		return err;
	if (ret->files.segment_count == 0) {
		if (ret->files.spare_count)
			return fault_set(
				ret_fault, ERR_CORRUPT, 0, 0,
				"there are spare segments and no segment: the journal is gone");
		return 0;
	}
	err = find_last(disk, scratch, ret, &above, ret_fault);
	if (err == ERR_VERSION)
		return fault_set(ret_fault, err, ret->survey.segment, ret->survey.end,
				 "segment %llu was written by a newer version",
				 (unsigned long long)ret->survey.segment);
	if (err)
		return err;
	if (!ret->last) {
		/* Rule 1: the very first start did not come to its end. */
		if ((ret->unopened != 1 || ret->files.spare_count) && !CANARY(START_EMPTY))
			return fault_set(ret_fault, ERR_CORRUPT, ret->unopened, 0,
					 "segment %llu has no valid opening and none is before it",
					 (unsigned long long)ret->unopened);
		return 0;
	}
	ret->oldest = ret->survey.oldest;
	err = judge_end(ret, ret->unopened ? &above : NULL, ret_fault);
	if (err)
		return err;
	return check_contiguous(ret, ret_fault);
}

void
chain_done(struct chain *c)
{
	listing_done(&c->files);
}
