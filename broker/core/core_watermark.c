/*
 * core_watermark.c -- the smallest gid that may still be undecided, of a database, or unpublished.
 *
 * Tables of applications are cleaned below what is told here, so it may be too small and never too
 * large.  Each watermark only rises, from where it stood, and looks at a bounded number of rows.
 */
#include "core/core_internal.h"

/* ---- databases ------------------------------------------------------------------------------- */

static uint64_t
hash_db(const void *arg, uint32_t index)
{
	const struct core *c = arg;

	return hash_body(c->dbs[index].id, 16, 0).lo;
}

void
core_watermarks_init(struct core *c)
{
	map_init(&c->by_db, hash_db, c);
}

uint16_t
core_db(struct core *c, bool has, const uint8_t id[16])
{
	struct map_probe probe;
	uint32_t i;

	if (!has)
		return 0;
	i = map_first(&c->by_db, hash_body(id, 16, 0).lo, &probe);
	while (i != MAP_NONE && memcmp(c->dbs[i].id, id, 16) != 0)
		i = map_next(&c->by_db, &probe);
	if (i != MAP_NONE)
		return (uint16_t)(i + 1);
	if (c->db_count >= LIMIT_DBS) /* counts for every database: too careful, never wrong */
		return 0;
	if (c->db_count == c->db_cap) {
		c->db_cap = c->db_cap ? c->db_cap * 2 : 8;
		c->dbs = mem_grow(c->dbs, c->db_cap * sizeof(*c->dbs));
	}
	i = c->db_count++;
	/* Its first transaction is the one that has just got its number: or it would be known. */
	c->dbs[i] = (struct db){ 0 };
	if (c->started)
		c->dbs[i].watermark = (struct watermark){ c->next_seq - 1, c->last_ms };
	memcpy(c->dbs[i].id, id, 16);
	map_put(&c->by_db, hash_db(c, i), i);
	return (uint16_t)(i + 1);
}

/* ---- watermarks ------------------------------------------------------------------------------ */

#define WATERMARK_ANY  (-1) /* undecided, of any database */
#define WATERMARK_OPEN (-2) /* not final: undecided, owed to Kafka, undeliverable */

static bool
is_meant(const struct row *row, int32_t db)
{
	if (db == WATERMARK_OPEN)
		return !(row->flags & ROW_FINAL);
	return row_undecided(row) && (db == WATERMARK_ANY || row->db == db);
}

/* Moves W to the first undecided of database DB, or as above; NULL: there is none before it. */
static const struct row *
watermark_move(struct core *c, struct watermark *w, int32_t db, uint32_t *budget)
{
	if (!c->started) /* who is undecided is not counted yet */
		return NULL;
	for (;;) {
		uint64_t seq = db == WATERMARK_OPEN ? table_open_from(&c->table, w->seq)
						    : table_undecided_from(&c->table, w->seq);
		uint32_t index = ROW_NONE;
		const struct row *row;

		if (seq)
			index = table_walk(&c->table, seq, false, budget, &seq);
		if (index == ROW_NONE) {
			w->seq = seq ? seq : c->next_seq;
			if (!seq)
				w->ms = c->last_ms;
			return NULL;
		}
		row = core_row(c, index);
		w->seq = seq;
		w->ms = max_u64(w->ms, row->ms);
		if (is_meant(row, db))
			return row;
		w->seq = seq + 1;
	}
}

static struct gid
watermark_gid(const struct core *c, const struct watermark *w)
{
	return gid_make(w->ms, c->conf.shard, w->seq);
}

const struct row *
core_oldest_undecided(struct core *c)
{
	uint32_t budget = LIMIT_LIST_SCAN;

	return watermark_move(c, &c->any_watermark, WATERMARK_ANY, &budget);
}

struct gid
core_watermark(struct core *c, const uint8_t db_id[16])
{
	uint32_t budget = LIMIT_LIST_SCAN;
	struct map_probe probe;
	struct gid none;
	struct gid own;
	uint32_t i;

	/* Out of budget, a watermark is smaller than it could be: too careful, never wrong. */
	(void)watermark_move(c, &c->none_watermark, 0, &budget);
	none = watermark_gid(c, &c->none_watermark);
	i = map_first(&c->by_db, hash_body(db_id, 16, 0).lo, &probe);
	while (i != MAP_NONE && memcmp(c->dbs[i].id, db_id, 16) != 0)
		i = map_next(&c->by_db, &probe);
	if (i == MAP_NONE)
		return none;
	budget = LIMIT_LIST_SCAN;
	(void)watermark_move(c, &c->dbs[i].watermark, (int32_t)i + 1, &budget);
	own = watermark_gid(c, &c->dbs[i].watermark);
	return own.hi < none.hi || (own.hi == none.hi && own.lo < none.lo) ? own : none;
}

/*
 * A published message may come again while its mark is not durable: a crash forgets that it is
 * in Kafka.  So who is open is looked at when all that was acknowledged is marked, and told
 * when these marks are durable.
 */
void
core_sample(struct core *c)
{
	uint32_t budget = LIMIT_LIST_SCAN;

	if (!c->started || c->sample_end || c->lanes.dirty_count)
		return;
	(void)watermark_move(c, &c->open_watermark, WATERMARK_OPEN, &budget);
	c->sample = watermark_gid(c, &c->open_watermark);
	c->sample_end = CANARY(TOLD_BEFORE_MARKED) ? 1 : c->pending_end + 1;
	c->sample_ns = c->now_ns + NS_PER_S;
	core_marked(c);
}

/* What was pending may be durable by now. */
void
core_marked(struct core *c)
{
	if (!c->sample_end || c->pending_first + 1 < c->sample_end)
		return;
	c->unpublished = c->sample;
	c->sample_end = 0;
}

struct gid
core_unpublished(struct core *c)
{
	core_sample(c);
	return c->unpublished;
}
