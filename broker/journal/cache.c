/*
 * cache.c -- recent groups in memory, and bodies back from the disk.
 *
 * Groups are encoded into chunks of a mebibyte and written from there; the chunks stay, up to
 * journal.cache bytes, so that the relay finds the body of what was just committed without a
 * copy or a system call.  What is older comes in read chunks of 256 KiB, because an old backlog is
 * read in order: one read serves many fetches.  Bytes from the disk are verified each time.
 */
#include "journal/internal.h"

#include <stdlib.h>

#include "base/err.h"

/* ---- chunks ---------------------------------------------------------------------------- */

static uint64_t
chunk_end(const struct chunk *c)
{
	return c->lsn + c->used;
}

static void
chunk_drop(struct journal *j, size_t i)
{
	struct chunk *c = j->chunks[i];

	j->chunk_bytes -= c->cap;
	mem_free(c->mem);
	mem_free(c);
	memmove(&j->chunks[i], &j->chunks[i + 1], (j->chunk_count - i - 1) * sizeof(c));
	j->chunk_count--;
}

/* All that is durable may go, oldest first, until the rest fits. */
static void
chunks_trim(struct journal *j)
{
	size_t n = 0, keep;
	uint64_t bytes = j->chunk_bytes;

	while (n + 1 < j->chunk_count && bytes > j->conf.cache_bytes &&
	       chunk_end(j->chunks[n]) <= j->durable_lsn)
		bytes -= j->chunks[n++]->cap;
	if (!n)
		return;
	for (size_t i = 0; i < n; i++) {
		/* The next one goes into the same pages: fresh ones cost more than the copy. */
		mem_free(j->chunk_spare);
		j->chunk_spare = j->chunks[i]->mem;
		j->chunk_spare_cap = j->chunks[i]->cap;
		mem_free(j->chunks[i]);
	}
	keep = j->chunk_count - n;
	memmove(j->chunks, j->chunks + n, keep * sizeof(*j->chunks));
	j->chunk_count = keep;
	j->chunk_bytes = bytes;
}

/* Room for NEED bytes at LSN, behind what is there or in a new chunk. */
uint8_t *
cache_reserve(struct journal *j, uint64_t lsn, size_t need)
{
	struct chunk *c = j->chunk_count ? j->chunks[j->chunk_count - 1] : NULL;
	size_t cap;

	if (c && chunk_end(c) == lsn && lsn != segment_base(j, j->tail_segment) &&
	    c->cap - c->used >= need)
		return c->mem + c->used;
	CHECK(!c || chunk_end(c) <= lsn, lsn);
	chunks_trim(j);
	cap = (size_t)min_u64(CHUNK_BYTES, j->segment_bytes);
	cap = cap > need ? cap : need;
	c = mem_alloc(sizeof(*c));
	c->lsn = lsn;
	c->cap = cap;
	if (j->chunk_spare && j->chunk_spare_cap == cap) {
		c->mem = j->chunk_spare;
		j->chunk_spare = NULL;
	} else {
		c->mem = mem_grow(NULL, cap);
	}
	if (j->chunk_count == j->chunk_cap) {
		j->chunk_cap = j->chunk_cap ? j->chunk_cap * 2 : 64;
		j->chunks = mem_grow(j->chunks, j->chunk_cap * sizeof(*j->chunks));
	}
	j->chunks[j->chunk_count++] = c;
	j->chunk_bytes += cap;
	return c->mem;
}

static const uint8_t *
chunk_find(const struct journal *j, uint64_t lsn, size_t len)
{
	size_t lo = 0, hi = j->chunk_count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (chunk_end(j->chunks[mid]) <= lsn)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == j->chunk_count || j->chunks[lo]->lsn > lsn ||
	    lsn + len > chunk_end(j->chunks[lo]))
		return NULL;
	return j->chunks[lo]->mem + (lsn - j->chunks[lo]->lsn);
}

void
cache_drop_segment(struct journal *j, uint64_t number)
{
	for (size_t i = 0; i < SLOTS; i++) {
		CHECK(j->slots[i].state != SLOT_READING || j->slots[i].segment != number, number);
		if (j->slots[i].segment == number && !j->slots[i].pinned)
			j->slots[i].state = SLOT_FREE;
	}
	for (size_t i = j->chunk_count; i-- > 0;)
		if (j->chunks[i]->lsn / j->segment_bytes == number)
			chunk_drop(j, i);
}

/* ---- fetch ----------------------------------------------------------------------------------- */

static int
decode_half(struct journal *j, const struct record *r, const struct half **ret_half)
{
	static const struct half none;
	struct entry *e = &j->fetched;

	if (record_decode(r, j->scratch, e))
		return ERR_CORRUPT;
	*ret_half = e->type == ENTRY_HALF   ? &e->half.half
		    : e->type == ENTRY_COPY ? &e->copy.half
					    : &none;
	return *ret_half == &none ? ERR_NOTFOUND : 0;
}

/* From bytes that the disk gave: verified. */
static int
read_half(struct journal *j, const uint8_t *p, struct place place, const struct half **ret_half)
{
	uint64_t segment = place.lsn / j->segment_bytes;
	struct record r;

	if (record_open(str_from(p, place.len), segment, place.lsn, &r) || r.len != place.len)
		return ERR_CORRUPT;
	return decode_half(j, &r, ret_half);
}

/* From bytes that we encoded and that never left this memory. */
static int
cached_half(struct journal *j, const uint8_t *p, struct place place, const struct half **ret_half)
{
	struct record r;

	if (record_open_ours(str_from(p, place.len), place.lsn, &r) || r.len != place.len)
		return ERR_CORRUPT;
	return decode_half(j, &r, ret_half);
}

static bool
covers(const struct slot *s, struct place p)
{
	return s->state != SLOT_FREE && p.lsn >= s->lsn && p.lsn + p.len <= s->lsn + s->len;
}

static struct slot *
slot_take(struct journal *j)
{
	struct slot *best = NULL;

	for (size_t i = 0; i < SLOTS; i++) {
		struct slot *s = &j->slots[i];

		if (s->state == SLOT_READING || s->pinned)
			continue;
		if (s->state == SLOT_FREE)
			return s;
		if (!best || s->used < best->used)
			best = s;
	}
	return best;
}

/* Begins to read from PLACE on, a whole read chunk where the segment has so much. */
static int
slot_read(struct journal *j, struct slot *s, struct place place)
{
	struct segment *seg = segment_find(j, place.lsn / j->segment_bytes);
	uint64_t offset, end;
	struct disk_file *f;
	int err;

	CHECK(seg, place.lsn);
	err = segment_file(j, seg, &f);
	if (err)
		return err;
	offset = place.lsn - segment_base(j, seg->number);
	end = seg->end ? seg->end : min_u64(j->written_lsn, segment_base(j, seg->number + 1));
	s->len = (size_t)min_u64(READ_BYTES, end > place.lsn ? end - place.lsn : 0);
	s->len = s->len > place.len ? s->len : place.len;
	if (s->len > s->cap) {
		mem_free(s->mem);
		s->mem = mem_grow(NULL, s->len);
		s->cap = s->len;
	}
	s->lsn = place.lsn;
	s->segment = seg->number;
	s->state = SLOT_READING;
	seg->busy++;
	/* It may end inside the call, and then nothing else would wake us. */
	j->more = true;
	return j->disk->ops->read(f, offset, s->mem, s->len,
				  TOKEN(TOKEN_SLOT, (uint64_t)(s - j->slots)));
}

/* Bytes that were read before and are wrong now: whoever asked may ask for ever, so end it here. */
static int
told(struct journal *j, int err)
{
	return err && err != ERR_NOTFOUND ? journal_fail(j, err) : err;
}

int
journal_fetch(struct journal *j, struct place place, uint64_t token, const struct half **ret_half)
{
	const uint8_t *p;
	struct waiter *w;
	struct slot *s = NULL;

	if (j->err)
		return j->err;
	if (!place.len || place.lsn + place.len > j->tail_lsn)
		return ERR_NOTFOUND;
	p = chunk_find(j, place.lsn, place.len);
	if (p) {
		j->stats.fetch_hits++;
		return told(j, cached_half(j, p, place, ret_half));
	}
	if (!segment_find(j, place.lsn / j->segment_bytes))
		return ERR_NOTFOUND;
	for (size_t i = 0; i < SLOTS && !s; i++)
		if (covers(&j->slots[i], place))
			s = &j->slots[i];
	if (s && s->state == SLOT_READY) {
		j->stats.fetch_hits++;
		s->used = ++j->slot_clock;
		return told(j, read_half(j, s->mem + (place.lsn - s->lsn), place, ret_half));
	}
	if (!s) {
		s = slot_take(j);
		if (s) {
			int err = slot_read(j, s, place);

			if (err)
				return journal_fail(j, err);
		}
	}
	j->stats.fetch_misses++;
	w = mem_alloc(sizeof(*w));
	w->place = place;
	w->token = token;
	list_add_tail(s ? &s->waiters : &j->unslotted, &w->link);
	return ERR_AGAIN;
}

/* Those that found every slot busy: one read each, as slots get free. */
static int
serve_unslotted(struct journal *j)
{
	LIST_EACH (node, &j->unslotted) {
		struct waiter *w = LIST_ENTRY(node, struct waiter, link);
		struct slot *s = NULL;
		int err = 0;

		for (size_t i = 0; i < SLOTS && !s; i++)
			if (j->slots[i].state == SLOT_READING && covers(&j->slots[i], w->place))
				s = &j->slots[i];
		if (!s) {
			s = slot_take(j);
			if (!s)
				return 0;
			err = slot_read(j, s, w->place);
		}
		if (err)
			return err;
		list_del(node);
		list_add_tail(&s->waiters, node);
	}
	return 0;
}

int
cache_read_done(struct journal *j, size_t slot, const struct disk_done *done)
{
	struct slot *s = &j->slots[slot];
	struct segment *seg = segment_find(j, s->segment);
	int err = done->err;

	CHECK(slot < SLOTS && s->state == SLOT_READING && seg && seg->busy, slot);
	seg->busy--;
	s->state = SLOT_READY;
	s->used = ++j->slot_clock;
	s->len = done->len < s->len ? done->len : s->len;
	s->pinned = true;
	while (!list_empty(&s->waiters)) {
		struct waiter *w = LIST_ENTRY(s->waiters.next, struct waiter, link);
		struct place place = w->place;
		uint64_t token = w->token;
		const struct half *half = NULL;
		int bad = done->err;

		list_del(&w->link);
		mem_free(w);
		if (!bad)
			bad = covers(s, place)
				      ? read_half(j, s->mem + (place.lsn - s->lsn), place, &half)
				      : ERR_CORRUPT;
		err = err ? err : bad == ERR_NOTFOUND ? 0 : bad;
		j->client->fetched(j->arg, token, bad, bad ? NULL : half);
	}
	s->pinned = false;
	if (done->err)
		s->state = SLOT_FREE;
	return err ? err : serve_unslotted(j);
}

void
cache_done(struct journal *j)
{
	while (j->chunk_count)
		chunk_drop(j, j->chunk_count - 1);
	mem_free(j->chunk_spare);
	mem_free(j->chunks);
	for (size_t i = 0; i <= SLOTS; i++) {
		struct list *l = i < SLOTS ? &j->slots[i].waiters : &j->unslotted;

		while (!list_empty(l)) {
			struct waiter *w = LIST_ENTRY(l->next, struct waiter, link);

			list_del(&w->link);
			mem_free(w);
		}
		if (i < SLOTS)
			mem_free(j->slots[i].mem);
	}
}
