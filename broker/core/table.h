/*
 * table.h -- all transactions that are remembered, by sequence and by (group, key).
 *
 * Owns the rows.  A row is 88 bytes and knows its message only by place and by hashes, so that ten
 * million undecided ones fit in a gigabyte together with what finds them and the timers:
 *
 *      chunks --> [ row row row ... 64 Ki ]   never moved, never given back: an index and a
 *                 [ row row row ... 64 Ki ]   pointer stay good while the row lives
 *      spans  --> the runs of 4096 sequences that have rows, in order; a run with many of them
 *                 has an array, sequence to row, the rows of the others are in a map
 *      parts  --> a chain per row: one node for each message of a decided transaction
 *                 (of an undecided one only when it has several)
 *
 * Sequences come, are decided and go nearly in order, so with an array the work of a moment is in
 * a few cache lines; a map would scatter it over all of memory, one miss for each step.
 *
 * Fields that only an undecided transaction needs share their bytes with those that only a
 * decided one needs.  Internal to the core.
 */
#ifndef TABLE_H
#define TABLE_H

#include "base/hash.h"
#include "base/map.h"
#include "core/entry.h"

#define ROW_NONE UINT32_MAX
#define PART_NONE UINT32_MAX
#ifndef TABLE_CHUNK	     /* who makes a core a millisecond (tests/fuzz) makes it small */
#define TABLE_CHUNK 65536u   /* rows: a power of two */
#endif
#define TABLE_SPAN_BITS 12   /* a span is 4096 sequences */

enum row_flag {
	ROW_HALFWAY = 1 << 0,	/* its half-send is not durable yet: nobody may see it    */
	ROW_PENDING = 1 << 1,	/* a step is journaled and not durable yet                */
	ROW_WAITED = 1 << 2,	/* requests wait for the pending step                     */
	ROW_PLAIN = 1 << 3,	/* a plain send: never was undecided                      */
	ROW_STUB = 1 << 4,	/* only a stub is in the journal: no body                 */
	ROW_KEYED = 1 << 5,	/* it is the one that its key leads to                    */
	ROW_PARTS = 1 << 6,	/* `parts` is the chain; else `partition`                 */
	ROW_OVERDUE = 1 << 7,	/* link: in its group's list; else in the timers          */
	ROW_FINAL = 1 << 8,	/* link: in the history                                   */
};

struct row {
	struct txn txn;		/* .tag: topic number of the first message                */
	uint64_t check : 55;
	uint64_t flags : 9;	/* enum row_flag                                          */
	uint64_t ms : 48;	/* of the gid                                             */
	uint64_t count : 9;	/* messages                                               */
	uint64_t origin : 3;	/* enum origin, 0: undecided                              */
	uint64_t lsn;		/* of its half, copy or stub                              */
	uint64_t key_hash;	/* 0: no key                                              */
	uint64_t body : 44;	/* low bits of the body's hash                            */
	uint64_t group : 20;
	union {
		struct {
			uint32_t peer;	/* groups.h: slot of the connection that sent it   */
			uint16_t db;	/* 0: none; else number of its database            */
		};
		uint64_t decided_ms;	/* by ->origin != 0                               */
	};
	uint32_t len;		/* of the record at lsn                                   */
	union {
		int32_t partition;
		uint32_t parts;
	};
	uint32_t link;		/* timers: position; lists: next                          */
	uint32_t link_back;	/* lists: previous                                        */
};

_Static_assert(sizeof(struct row) == 88, "ten million rows have to fit in a gigabyte");

/* One message of a transaction that has several, or is decided. */
struct part_node {
	uint64_t n;		/* 0: not committed                                       */
	int32_t partition;
	uint32_t next;		/* of the same row, in order; PART_NONE                   */
	int32_t code;		/* Kafka's, when refused                                  */
	uint16_t topic;
	uint8_t state;		/* enum part_state                                        */
	uint8_t again;		/* was retried: the lane's watermark says nothing of it   */
};

struct span {
	uint64_t number;	/* sequence >> TABLE_SPAN_BITS */
	uint32_t live;
	uint32_t undecided;	/* of those; as table_undecided() was told */
	uint32_t open;		/* of those; as table_open() was told */
	uint32_t *rows;		/* by the sequence's low bits: row + 1; NULL: they are in the map */
};

struct table {
	struct row **chunks;
	uint32_t chunk_count;
	uint32_t row_count;	/* made so far, free ones among them */
	uint32_t row_free;
	uint64_t newest;	/* the greatest sequence that a row ever had */
	struct part_node **part_chunks;
	uint32_t part_chunk_count;
	uint32_t part_count;
	uint32_t part_free;
	uint64_t rows_live;
	uint64_t parts_live;
	struct map by_seq;	/* of spans with few rows */
	struct map by_key;
	struct span *spans;	/* ascending; empty ones are squeezed out now and then */
	uint32_t span_count;
	uint32_t span_cap;
	uint32_t span_empty;
	uint32_t span_arrays;
	uint16_t shard;
};

void table_init(struct table *t, uint16_t shard);
void table_done(struct table *t);

/* A zeroed row for SEQ, in no list, found by sequence from now on.  SEQ must be new. */
uint32_t table_add(struct table *t, uint64_t seq);
/* Forgets the row and its parts; it must be in no list and no timer. */
void table_del(struct table *t, uint32_t index);
uint32_t table_find(const struct table *t, uint64_t seq);
/* The row that KEY_HASH (not 0) leads to. */
uint32_t table_find_key(const struct table *t, uint64_t key_hash);
/* Lets the row's key lead to it, and no longer to another. */
void table_key(struct table *t, uint32_t index);
/* The live row SEQ became undecided, or is no longer. */
void table_undecided(struct table *t, uint64_t seq, bool is);
/* Where a search for undecided rows from SEQ on may begin: skips spans that have none.  0: no
 * row from SEQ on is undecided. */
uint64_t table_undecided_from(const struct table *t, uint64_t seq);
/* The same two for rows that are not final. */
void table_open(struct table *t, uint64_t seq, bool is);
uint64_t table_open_from(const struct table *t, uint64_t seq);
/* The first row with a sequence >= (or, DOWN, <=) SEQ; looks at up to *BUDGET sequences and lowers
 * it.  ROW_NONE with *ret_seq 0: there is none; else *ret_seq is where to go on. */
uint32_t table_walk(const struct table *t, uint64_t seq, bool down, uint32_t *budget,
		    uint64_t *ret_seq);

/* Gives the row COUNT part nodes (it must have none). */
void table_parts(struct table *t, uint32_t index, uint32_t count);
size_t table_bytes(const struct table *t);

static inline struct row *
table_row(const struct table *t, uint32_t index)
{
	return &t->chunks[index / TABLE_CHUNK][index % TABLE_CHUNK];
}

static inline struct part_node *
table_part(const struct table *t, uint32_t index)
{
	return &t->part_chunks[index / TABLE_CHUNK][index % TABLE_CHUNK];
}

/* With millions of rows each step to one is a cache miss: ask for it early. */
static inline void
table_prefetch_key(const struct table *t, uint64_t key_hash)
{
	map_prefetch(&t->by_key, key_hash);
}

void table_prefetch_row(const struct table *t, uint64_t seq);
/* What table_del(INDEX) will touch, and the row behind it in its list.  Reads the row itself. */
void table_prefetch_del(const struct table *t, uint32_t index);

/* The I-th part of the row, which has parts. */
struct part_node *table_part_of(const struct table *t, const struct row *row, uint32_t i);

static inline struct gid
table_gid(const struct table *t, const struct row *row)
{
	return gid_make(row->ms, t->shard, row->txn.seq);
}

static inline struct place
row_place(const struct row *row)
{
	return (struct place){ row->lsn, row->len };
}

static inline void
row_set(struct row *row, enum row_flag flag)
{
	row->flags = (row->flags | flag) & 0x1ff;
}

static inline void
row_clear(struct row *row, enum row_flag flag)
{
	row->flags = row->flags & (0x1ff & ~(unsigned)flag);
}

static inline bool
row_undecided(const struct row *row)
{
	return row->txn.state == TXN_PREPARED || row->txn.state == TXN_PARKED;
}

/* A doubly linked list of rows through link and link_back.  A row is in at most one. */
struct row_list {
	uint32_t head;
	uint32_t tail;
	uint32_t count;
};

#define ROW_LIST_INIT ((struct row_list){ ROW_NONE, ROW_NONE, 0 })

void row_list_add(const struct table *t, struct row_list *l, uint32_t index);
void row_list_del(const struct table *t, struct row_list *l, uint32_t index);

#endif /* TABLE_H */
