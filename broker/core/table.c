/*
 * table.c -- rows in chunks, the spans that find them by sequence, the map that finds them by key.
 */
#include "core/table.h"

#define SPAN_ROWS (UINT64_C(1) << TABLE_SPAN_BITS)
#define SPAN_MASK (SPAN_ROWS - 1)
/* An array of 16 KiB pays from so many rows on, and is kept for a while when they get fewer. */
#define SPAN_MANY 256u
#define SPAN_FEW  64u

static uint64_t
hash_seq(const void *arg, uint32_t index)
{
	return hash_u64(table_row(arg, index)->txn.seq);
}

static uint64_t
hash_of_key(const void *arg, uint32_t index)
{
	return table_row(arg, index)->key_hash; /* SipHash: mixed already */
}

void
table_init(struct table *t, uint16_t shard)
{
	*t = (struct table){ .row_free = ROW_NONE, .part_free = PART_NONE, .shard = shard };
	map_init(&t->by_seq, hash_seq, t);
	map_init(&t->by_key, hash_of_key, t);
}

void
table_done(struct table *t)
{
	for (uint32_t i = 0; i < t->chunk_count; i++)
		mem_free(t->chunks[i]);
	for (uint32_t i = 0; i < t->part_chunk_count; i++)
		mem_free(t->part_chunks[i]);
	for (uint32_t i = 0; i < t->span_count; i++)
		mem_free(t->spans[i].rows);
	mem_free(t->chunks);
	mem_free(t->part_chunks);
	mem_free(t->spans);
	map_done(&t->by_seq);
	map_done(&t->by_key);
	*t = (struct table){ 0 };
}

static void
prefetch_row(const struct table *t, uint32_t index)
{
	const char *row = (const char *)table_row(t, index);

	__builtin_prefetch(row, 1);
	__builtin_prefetch(row + sizeof(struct row) - 1, 1);
}

static uint32_t
row_take(struct table *t)
{
	uint32_t index = t->row_free;

	if (index != ROW_NONE) {
		t->row_free = table_row(t, index)->link;
		if (t->row_free != ROW_NONE)
			prefetch_row(t, t->row_free);
		return index;
	}
	if (t->row_count % TABLE_CHUNK == 0) {
		t->chunks = mem_grow(t->chunks, (t->chunk_count + 1) * sizeof(*t->chunks));
		t->chunks[t->chunk_count++] = mem_alloc(TABLE_CHUNK * sizeof(struct row));
	}
	return t->row_count++;
}

static uint32_t
part_take(struct table *t)
{
	uint32_t index = t->part_free;

	if (index != PART_NONE) {
		t->part_free = table_part(t, index)->next;
		if (t->part_free != PART_NONE)
			__builtin_prefetch(table_part(t, t->part_free), 1);
		return index;
	}
	if (t->part_count % TABLE_CHUNK == 0) {
		t->part_chunks = mem_grow(t->part_chunks,
					  (t->part_chunk_count + 1) * sizeof(*t->part_chunks));
		t->part_chunks[t->part_chunk_count++] =
			mem_alloc(TABLE_CHUNK * sizeof(struct part_node));
	}
	return t->part_count++;
}

/* ---- spans ----------------------------------------------------------------------------------- */

/* The first span whose number is >= NUMBER. */
static uint32_t
span_at(const struct table *t, uint64_t number)
{
	uint32_t low = 0;
	uint32_t high = t->span_count;
	uint64_t back;

	/* New transactions have the greatest sequence: look there first. */
	if (high == 0 || t->spans[high - 1].number < number)
		return high;
	/* Seldom is one missing among the newer ones: then it lies so far from the end. */
	back = t->spans[high - 1].number - number;
	if (back < high && t->spans[high - 1 - back].number == number)
		return high - 1 - (uint32_t)back;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (t->spans[middle].number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The span of SEQ, or NULL. */
static struct span *
span_of(const struct table *t, uint64_t seq)
{
	uint32_t at = span_at(t, seq >> TABLE_SPAN_BITS);

	if (at == t->span_count || t->spans[at].number != seq >> TABLE_SPAN_BITS)
		return NULL;
	return &t->spans[at];
}

static uint32_t
map_find(const struct table *t, uint64_t seq)
{
	struct map_probe probe;
	uint32_t index = map_first(&t->by_seq, hash_u64(seq), &probe);

	while (index != MAP_NONE && table_row(t, index)->txn.seq != seq)
		index = map_next(&t->by_seq, &probe);
	return index == MAP_NONE ? ROW_NONE : index;
}

/* From the map into an array of its own. */
static void
span_spread(struct table *t, struct span *s)
{
	uint32_t *rows = mem_alloc(SPAN_ROWS * sizeof(*rows));
	uint32_t left = s->live;

	for (uint64_t i = 0; left && i < SPAN_ROWS; i++) {
		uint64_t seq = s->number << TABLE_SPAN_BITS | i;
		uint32_t index = map_find(t, seq);

		if (index == ROW_NONE)
			continue;
		rows[i] = index + 1;
		map_del(&t->by_seq, hash_u64(seq), index);
		left--;
	}
	CHECK(left == 0, s->number);
	s->rows = rows;
	t->span_arrays++;
}

/* And back. */
static void
span_gather(struct table *t, struct span *s)
{
	for (uint64_t i = 0; i < SPAN_ROWS; i++)
		if (s->rows[i])
			map_put(&t->by_seq, hash_u64(s->number << TABLE_SPAN_BITS | i),
				s->rows[i] - 1);
	mem_free(s->rows);
	s->rows = NULL;
	t->span_arrays--;
}

static void
spans_squeeze(struct table *t)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < t->span_count; i++)
		if (t->spans[i].live)
			t->spans[kept++] = t->spans[i];
	t->span_count = kept;
	t->span_empty = 0;
}

/* Row INDEX is found by SEQ from now on. */
static void
span_add(struct table *t, uint64_t seq, uint32_t index)
{
	uint64_t number = seq >> TABLE_SPAN_BITS;
	uint32_t at = span_at(t, number);
	struct span *s;

	if (at == t->span_count || t->spans[at].number != number) {
		if (t->span_count == t->span_cap) {
			t->span_cap = t->span_cap ? t->span_cap * 2 : 64;
			t->spans = mem_grow(t->spans, t->span_cap * sizeof(*t->spans));
		}
		memmove(t->spans + at + 1, t->spans + at, (t->span_count - at) * sizeof(*t->spans));
		t->spans[at] = (struct span){ .number = number };
		t->span_count++;
		t->span_empty++;
	}
	s = &t->spans[at];
	if (!s->rows && s->live >= SPAN_MANY)
		span_spread(t, s);
	if (s->rows) {
		CHECK(s->rows[seq & SPAN_MASK] == 0, seq);
		s->rows[seq & SPAN_MASK] = index + 1;
	} else {
		map_put(&t->by_seq, hash_u64(seq), index);
	}
	if (s->live++ == 0)
		t->span_empty--;
}

static void
span_del(struct table *t, uint64_t seq, uint32_t index)
{
	struct span *s = span_of(t, seq);

	CHECK(s && s->live > s->undecided && s->live > s->open, seq);
	if (s->rows) {
		CHECK(s->rows[seq & SPAN_MASK] == index + 1, seq);
		s->rows[seq & SPAN_MASK] = 0;
	} else {
		map_del(&t->by_seq, hash_u64(seq), index);
	}
	s->live--;
	if (s->rows && s->live <= SPAN_FEW)
		span_gather(t, s);
	if (s->live == 0 && ++t->span_empty > 64 + t->span_count / 2)
		spans_squeeze(t);
}

/* ---- rows ------------------------------------------------------------------------------------ */

uint32_t
table_add(struct table *t, uint64_t seq)
{
	uint32_t index = row_take(t);
	struct row *row = table_row(t, index);

	*row = (struct row){ .link = ROW_NONE, .link_back = ROW_NONE };
	row->txn.seq = seq;
	t->newest = max_u64(t->newest, seq);
	span_add(t, seq, index);
	t->rows_live++;
	return index;
}

static void
unkey(struct table *t, uint32_t index)
{
	struct row *row = table_row(t, index);

	if (!(row->flags & ROW_KEYED))
		return;
	map_del(&t->by_key, row->key_hash, index);
	row_clear(row, ROW_KEYED);
}

void
table_del(struct table *t, uint32_t index)
{
	struct row *row = table_row(t, index);

	CHECK(row->txn.seq != 0, index);
	CHECK(!(row->flags & (ROW_OVERDUE | ROW_FINAL | ROW_PENDING)), row->txn.seq);
	unkey(t, index);
	while ((row->flags & ROW_PARTS) && row->parts != PART_NONE) {
		uint32_t part = row->parts;
		struct part_node *node = table_part(t, part);

		row->parts = node->next;
		node->next = t->part_free;
		t->part_free = part;
		t->parts_live--;
	}
	span_del(t, row->txn.seq, index);
	*row = (struct row){ .link = t->row_free };
	t->row_free = index;
	t->rows_live--;
}

uint32_t
table_find(const struct table *t, uint64_t seq)
{
	const struct span *s = span_of(t, seq);

	if (!s)
		return ROW_NONE;
	/* 0, "none", becomes ROW_NONE. */
	return s->rows ? s->rows[seq & SPAN_MASK] - 1 : map_find(t, seq);
}

void
table_prefetch_row(const struct table *t, uint64_t seq)
{
	const struct span *s = span_of(t, seq);

	if (s && s->rows && s->rows[seq & SPAN_MASK])
		prefetch_row(t, s->rows[seq & SPAN_MASK] - 1);
}

void
table_prefetch_del(const struct table *t, uint32_t index)
{
	const struct row *row = table_row(t, index);

	if (row->flags & ROW_KEYED)
		map_prefetch(&t->by_key, row->key_hash);
	if ((row->flags & ROW_PARTS) && row->parts != PART_NONE)
		__builtin_prefetch(table_part(t, row->parts), 1);
	if (row->link != ROW_NONE)
		prefetch_row(t, row->link);
}

uint32_t
table_find_key(const struct table *t, uint64_t key_hash)
{
	struct map_probe probe;
	uint32_t index;

	if (key_hash == 0)
		return ROW_NONE;
	index = map_first(&t->by_key, key_hash, &probe);
	while (index != MAP_NONE && table_row(t, index)->key_hash != key_hash)
		index = map_next(&t->by_key, &probe);
	return index == MAP_NONE ? ROW_NONE : index;
}

void
table_key(struct table *t, uint32_t index)
{
	struct row *row = table_row(t, index);
	uint32_t old = table_find_key(t, row->key_hash);

	if (old == index || row->key_hash == 0)
		return;
	if (old != ROW_NONE)
		unkey(t, old);
	map_put(&t->by_key, row->key_hash, index);
	row_set(row, ROW_KEYED);
}

/* One of the counts of live rows that a span keeps. */
static void
span_count(const struct span *s, uint32_t *count, bool is)
{
	CHECK(is ? *count < s->live : *count > 0, s->number);
	*count = is ? *count + 1 : *count - 1;
}

void
table_undecided(struct table *t, uint64_t seq, bool is)
{
	struct span *s = span_of(t, seq);

	CHECK(s, seq);
	span_count(s, &s->undecided, is);
}

void
table_open(struct table *t, uint64_t seq, bool is)
{
	struct span *s = span_of(t, seq);

	CHECK(s, seq);
	span_count(s, &s->open, is);
}

uint64_t
table_undecided_from(const struct table *t, uint64_t seq)
{
	uint32_t at = span_at(t, seq >> TABLE_SPAN_BITS);

	while (at < t->span_count && !t->spans[at].undecided)
		at++;
	if (at == t->span_count)
		return 0;
	return max_u64(max_u64(seq, 1), t->spans[at].number << TABLE_SPAN_BITS);
}

uint64_t
table_open_from(const struct table *t, uint64_t seq)
{
	uint32_t at = span_at(t, seq >> TABLE_SPAN_BITS);

	while (at < t->span_count && !t->spans[at].open)
		at++;
	if (at == t->span_count)
		return 0;
	return max_u64(max_u64(seq, 1), t->spans[at].number << TABLE_SPAN_BITS);
}

uint32_t
table_walk(const struct table *t, uint64_t seq, bool down, uint32_t *budget, uint64_t *ret_seq)
{
	uint32_t at = span_at(t, seq >> TABLE_SPAN_BITS);

	if (down && (at == t->span_count || t->spans[at].number != seq >> TABLE_SPAN_BITS)) {
		if (at == 0)
			goto none;
		at--;
	}
	for (; at < t->span_count; at = down ? at - 1 : at + 1) {
		uint64_t first = t->spans[at].number << TABLE_SPAN_BITS;
		uint64_t last = min_u64(first | SPAN_MASK, t->newest);
		uint64_t i = down ? min_u64(seq, last) : max_u64(seq, first);

		for (; t->spans[at].live && i >= first && i <= last; i = down ? i - 1 : i + 1) {
			uint32_t index;

			*ret_seq = i;
			if (*budget == 0)
				return ROW_NONE;
			(*budget)--;
			index = table_find(t, i);
			if (index != ROW_NONE)
				return index;
			if (down && i == 0)
				goto none;
		}
		if (down && at == 0)
			break;
	}
none:
	*ret_seq = 0;
	return ROW_NONE;
}

void
table_parts(struct table *t, uint32_t index, uint32_t count)
{
	struct row *row = table_row(t, index);
	uint32_t *link = &row->parts;

	CHECK(!(row->flags & ROW_PARTS), row->txn.seq);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t part = part_take(t);

		*table_part(t, part) = (struct part_node){ .next = PART_NONE };
		*link = part;
		link = &table_part(t, part)->next;
	}
	row_set(row, ROW_PARTS);
	t->parts_live += count;
}

struct part_node *
table_part_of(const struct table *t, const struct row *row, uint32_t i)
{
	uint32_t part = row->parts;

	CHECK((row->flags & ROW_PARTS) && i < row->count, row->txn.seq);
	while (i-- > 0)
		part = table_part(t, part)->next;
	return table_part(t, part);
}

size_t
table_bytes(const struct table *t)
{
	return t->rows_live * sizeof(struct row) + t->parts_live * sizeof(struct part_node) +
	       map_bytes(&t->by_seq) + map_bytes(&t->by_key) + t->span_cap * sizeof(struct span) +
	       t->span_arrays * SPAN_ROWS * sizeof(uint32_t);
}

void
row_list_add(const struct table *t, struct row_list *l, uint32_t index)
{
	struct row *row = table_row(t, index);

	row->link = ROW_NONE;
	row->link_back = l->tail;
	if (l->tail == ROW_NONE)
		l->head = index;
	else
		table_row(t, l->tail)->link = index;
	l->tail = index;
	l->count++;
}

void
row_list_del(const struct table *t, struct row_list *l, uint32_t index)
{
	struct row *row = table_row(t, index);

	CHECK(l->count > 0, row->txn.seq);
	if (row->link_back == ROW_NONE)
		l->head = row->link;
	else
		table_row(t, row->link_back)->link = row->link;
	if (row->link == ROW_NONE)
		l->tail = row->link_back;
	else
		table_row(t, row->link)->link_back = row->link_back;
	row->link = row->link_back = ROW_NONE;
	l->count--;
}
