/*
 * table.c -- rows in chunks, two maps, and the spans that keep their order.
 */
#include "core/table.h"

#define SPAN_MASK ((UINT64_C(1) << TABLE_SPAN_BITS) - 1)

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

/* The first span whose number is >= NUMBER. */
static uint32_t
span_at(const struct table *t, uint64_t number)
{
	uint32_t low = 0;
	uint32_t high = t->span_count;

	/* New transactions have the greatest sequence: look there first. */
	if (high && t->spans[high - 1].number <= number)
		return t->spans[high - 1].number == number ? high - 1 : high;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (t->spans[middle].number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
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

static void
span_add(struct table *t, uint64_t seq)
{
	uint64_t number = seq >> TABLE_SPAN_BITS;
	uint32_t at = span_at(t, number);

	if (at == t->span_count || t->spans[at].number != number) {
		if (t->span_count == t->span_cap) {
			t->span_cap = t->span_cap ? t->span_cap * 2 : 64;
			t->spans = mem_grow(t->spans, t->span_cap * sizeof(*t->spans));
		}
		memmove(t->spans + at + 1, t->spans + at, (t->span_count - at) * sizeof(*t->spans));
		t->spans[at] = (struct span){ number, 0, 0 };
		t->span_count++;
		t->span_empty++;
	}
	if (t->spans[at].live++ == 0)
		t->span_empty--;
}

static void
span_del(struct table *t, uint64_t seq)
{
	uint32_t at = span_at(t, seq >> TABLE_SPAN_BITS);

	CHECK(at < t->span_count && t->spans[at].live > t->spans[at].undecided, seq);
	if (--t->spans[at].live == 0 && ++t->span_empty > 64 + t->span_count / 2)
		spans_squeeze(t);
}

uint32_t
table_add(struct table *t, uint64_t seq)
{
	uint32_t index = row_take(t);
	struct row *row = table_row(t, index);

	*row = (struct row){ .link = ROW_NONE, .link_back = ROW_NONE };
	row->txn.seq = seq;
	map_put(&t->by_seq, hash_u64(seq), index);
	span_add(t, seq);
	t->rows_live++;
	return index;
}

void
table_del(struct table *t, uint32_t index)
{
	struct row *row = table_row(t, index);

	CHECK(row->txn.seq != 0, index);
	CHECK(!(row->flags & (ROW_OVERDUE | ROW_FINAL | ROW_PENDING)), row->txn.seq);
	table_unkey(t, index);
	while ((row->flags & ROW_PARTS) && row->parts != PART_NONE) {
		uint32_t part = row->parts;
		struct part_node *node = table_part(t, part);

		row->parts = node->next;
		node->next = t->part_free;
		t->part_free = part;
		t->parts_live--;
	}
	map_del(&t->by_seq, hash_u64(row->txn.seq), index);
	span_del(t, row->txn.seq);
	*row = (struct row){ .link = t->row_free };
	t->row_free = index;
	t->rows_live--;
}

uint32_t
table_find(const struct table *t, uint64_t seq)
{
	struct map_probe probe;
	uint32_t index = map_first(&t->by_seq, hash_u64(seq), &probe);

	while (index != MAP_NONE && table_row(t, index)->txn.seq != seq)
		index = map_next(&t->by_seq, &probe);
	return index == MAP_NONE ? ROW_NONE : index;
}

void
table_prefetch_row(const struct table *t, uint64_t seq)
{
	struct map_probe probe;
	uint32_t index = map_first(&t->by_seq, hash_u64(seq), &probe);

	if (index != MAP_NONE)
		prefetch_row(t, index);
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
		table_unkey(t, old);
	map_put(&t->by_key, row->key_hash, index);
	row_set(row, ROW_KEYED);
}

void
table_unkey(struct table *t, uint32_t index)
{
	struct row *row = table_row(t, index);

	if (!(row->flags & ROW_KEYED))
		return;
	map_del(&t->by_key, row->key_hash, index);
	row_clear(row, ROW_KEYED);
}

void
table_undecided(struct table *t, uint64_t seq, bool is)
{
	uint32_t at = span_at(t, seq >> TABLE_SPAN_BITS);

	CHECK(at < t->span_count && t->spans[at].number == seq >> TABLE_SPAN_BITS, seq);
	if (is) {
		t->spans[at].undecided++;
		CHECK(t->spans[at].undecided <= t->spans[at].live, seq);
	} else {
		CHECK(t->spans[at].undecided > 0, seq);
		t->spans[at].undecided--;
	}
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
		uint64_t last = first | SPAN_MASK;
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
	       map_bytes(&t->by_seq) + map_bytes(&t->by_key) + t->span_cap * sizeof(struct span);
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
