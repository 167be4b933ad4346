/*
 * consumers.c -- see consumers.h.
 *
 *      log of a partition   | 0 | 1 | 2 | 3 | 4 | 5 | ...
 *                               ^acked      ^owner
 *                                   ^zombie, until its batch ends
 */
#include "sim/consumers.h"

#include <inttypes.h>

#include "base/hash.h"
#include "base/map.h"
#include "sim/clock_sim.h"

#define PARTITIONS_MAX 64
#define BATCH          8 /* what a zombie still has in its hands */
/* What a dead handle had under way has landed by then; the broker cannot know of it. */
#define LANDED_NS (5 * NS_PER_S)

enum variant { BY_ID, BY_SEQ, VARIANTS };

struct record {
	uint32_t item;
	uint64_t n; /* of escrow-seq */
};

/* One message under one escrow-id, and what became of it in each database. */
struct item {
	struct gid gid;
	uint32_t effects[VARIANTS];
	bool row;  /* in the dedup table by id */
	bool lost; /* Kafka lost it, perhaps before it was read */
	bool quarantined;
};

struct reader {
	size_t acked, at;
	size_t zombie, zombie_end; /* the same: none */
	/* escrow_hw and escrow_gap; the journal never changes within a life */
	bool known;
	uint64_t first, seq;
	uint8_t *gaps; /* by n: a row in the table */
	size_t gap_room;
};

struct partition {
	char topic[32];
	int32_t number;
	struct record *log;
	size_t count, room;
	struct reader readers[VARIANTS];
};

struct consumers {
	struct oracle *oracle;
	struct rng_sim rng;
	struct consumers_knobs knobs;
	struct consumers_counts counts;
	struct partition partitions[PARTITIONS_MAX];
	uint32_t partition_count;
	struct item *items;
	uint32_t item_count, item_room;
	struct map by_gid;
	struct gid low;  /* rows of the table by id below it are gone */
	struct gid told; /* LANDED_NS ago the broker had said: nothing older comes any more */
	struct gid tells;
	int64_t tells_ns;
	consumers_low_fn ask;
	void *ask_arg;
};

static uint64_t
item_hash(const void *arg, uint32_t index)
{
	const struct consumers *c = arg;

	return hash_u64(c->items[index].gid.lo);
}

struct consumers *
consumers_new(struct oracle *oracle, uint64_t seed)
{
	struct consumers *c = mem_alloc(sizeof(*c));

	c->oracle = oracle;
	rng_sim_init(&c->rng, seed);
	map_init(&c->by_gid, item_hash, c);
	c->knobs.ack_permille = 300;
	return c;
}

struct consumers *
consumers_free(struct consumers *c)
{
	if (!c)
		return NULL;
	for (uint32_t i = 0; i < c->partition_count; i++) {
		mem_free(c->partitions[i].log);
		mem_free(c->partitions[i].readers[BY_SEQ].gaps);
	}
	map_done(&c->by_gid);
	mem_free(c->items);
	mem_free(c);
	return NULL;
}

void
consumers_set(struct consumers *c, const struct consumers_knobs *knobs)
{
	c->knobs = *knobs;
}

/* ---- the log --------------------------------------------------------------------------------- */

static struct partition *
partition_of(struct consumers *c, struct str topic, int32_t number)
{
	struct partition *p;

	for (uint32_t i = 0; i < c->partition_count; i++) {
		p = &c->partitions[i];
		if (p->number == number && str_eq(str_of(p->topic), topic))
			return p;
	}
	CHECK(c->partition_count < PARTITIONS_MAX, number);
	p = &c->partitions[c->partition_count++];
	snprintf(p->topic, sizeof(p->topic), "%.*s", STR_ARG(topic));
	p->number = number;
	return p;
}

static uint32_t
item_of(struct consumers *c, struct gid gid)
{
	struct map_probe probe;
	uint32_t i;

	for (i = map_first(&c->by_gid, hash_u64(gid.lo), &probe); i != MAP_NONE;
	     i = map_next(&c->by_gid, &probe))
		if (gid_eq(c->items[i].gid, gid))
			return i;
	if (c->item_count == c->item_room) {
		c->item_room = c->item_room ? c->item_room * 2 : 64;
		c->items = mem_grow(c->items, c->item_room * sizeof(*c->items));
	}
	c->items[c->item_count] = (struct item){ .gid = gid };
	map_put(&c->by_gid, hash_u64(gid.lo), c->item_count);
	return c->item_count++;
}

static struct str
header(const struct sink_record *r, const char *name)
{
	for (uint32_t i = 0; i < r->header_count; i++)
		if (str_eq(r->headers[i].name, str_of(name)))
			return r->headers[i].value;
	return STR("");
}

static bool
gid_below(struct gid a, struct gid b)
{
	return a.hi != b.hi ? a.hi < b.hi : a.lo < b.lo;
}

/* What the broker says now counts in a while. */
static void
listen(struct consumers *c, int64_t now_ns)
{
	struct gid low;

	if (c->tells_ns && now_ns - c->tells_ns >= LANDED_NS) {
		c->told = c->tells;
		c->tells_ns = 0;
	}
	if (c->tells_ns || !c->ask || !c->ask(c->ask_arg, &low))
		return;
	if (!low.lo) /* a start that could not mark anything yet tells nothing */
		return;
	if (gid_below(low, c->told))
		oracle_fail(c->oracle,
			    "I-15 the oldest unpublished fell to seq %" PRIu64 " from %" PRIu64,
			    low.lo, c->told.lo);
	c->tells = low;
	c->tells_ns = now_ns;
}

void
consumers_record(struct consumers *c, const struct sink_record *r, int64_t now_ns)
{
	struct partition *p = partition_of(c, r->topic, r->partition);
	struct str id = header(r, "escrow-id"), seq = header(r, "escrow-seq");
	char digits[24] = "";
	struct gid gid;

	if (id.n < 32 || gid_parse(str_from(id.p, 32), &gid) != 0 || seq.n < 34 ||
	    seq.n - 33 >= sizeof(digits))
		return; /* the oracle says so */
	memcpy(digits, seq.p + 33, seq.n - 33);
	listen(c, now_ns);
	if (gid_below(gid, c->told))
		oracle_fail(c->oracle,
			    "I-15 seq %" PRIu64 " is published, and nothing below %" PRIu64
			    " was to come any more",
			    gid.lo, c->told.lo);
	if (p->count == p->room) {
		p->room = p->room ? p->room * 2 : 64;
		p->log = mem_grow(p->log, p->room * sizeof(*p->log));
	}
	p->log[p->count++] = (struct record){ item_of(c, gid), strtoull(digits, NULL, 10) };
}

void
consumers_truncate(struct consumers *c, struct str topic, int32_t partition, int64_t records)
{
	struct partition *p = partition_of(c, topic, partition);

	for (; records > 0 && p->count; records--)
		c->items[p->log[--p->count].item].lost = true;
	for (int v = 0; v < VARIANTS; v++) {
		struct reader *r = &p->readers[v];

		r->acked = min_u64(r->acked, p->count);
		r->at = min_u64(r->at, p->count);
		r->zombie = r->zombie_end = 0;
	}
}

/* ---- the transaction ------------------------------------------------------------------------- */

/* Is it to be applied?  The row by id; COMMIT: the transaction ends well. */
static bool
claim_by_id(struct consumers *c, struct item *item, bool commit)
{
	if (gid_below(item->gid, c->low)) {
		item->quarantined = true;
		c->counts.quarantined++;
		return false;
	}
	if (item->row)
		return false;
	item->row = commit;
	return true;
}

static void
gap(struct reader *r, uint64_t n, bool row)
{
	if (n >= r->gap_room) {
		size_t room = (size_t)n * 2 + 64;

		r->gaps = mem_grow(r->gaps, room);
		memset(r->gaps + r->gap_room, 0, room - r->gap_room);
		r->gap_room = room;
	}
	r->gaps[n] = row;
}

static bool
claim_by_seq(struct consumers *c, struct reader *r, uint64_t n, bool commit)
{
	if (!r->known && commit) {
		r->known = true;
		r->first = r->seq = 0; /* it reads from the beginning of the journal's life */
	}
	if (n > r->seq) {
		for (uint64_t k = r->seq + 1; k < n && commit; k++)
			gap(r, k, true);
		r->seq = commit ? n : r->seq;
		return true;
	}
	if (n >= r->gap_room || !r->gaps[n])
		return false;
	c->counts.late++;
	gap(r, n, !commit);
	return true;
}

/* One message goes through a handler.  COMMIT: its database transaction commits. */
static void
deliver(struct consumers *c, struct partition *p, enum variant v, size_t at, bool commit)
{
	const struct record *rec = &p->log[at];
	struct item *item = &c->items[rec->item];
	bool mine = v == BY_ID ? claim_by_id(c, item, commit)
			       : claim_by_seq(c, &p->readers[v], rec->n, commit);

	c->counts.delivered++;
	if (!mine) {
		c->counts.duplicates++;
		return;
	}
	if (!commit)
		return;
	c->counts.applied++;
	if (++item->effects[v] > 1)
		oracle_fail(c->oracle, "I-7b seq %" PRIu64 " had %" PRIu32 " effects, by %s",
			    item->gid.lo, item->effects[v], v == BY_ID ? "id" : "seq");
}

/* ---- processes ------------------------------------------------------------------------------- */

static void
zombie_step(struct consumers *c, struct partition *p, enum variant v)
{
	struct reader *r = &p->readers[v];

	if (r->zombie >= r->zombie_end)
		return;
	c->counts.zombies++;
	deliver(c, p, v, r->zombie++, true);
}

static void
owner_step(struct consumers *c, struct partition *p, enum variant v)
{
	struct reader *r = &p->readers[v];

	if (rng_sim_chance(&c->rng, c->knobs.rebalance_permille)) {
		r->zombie = r->at;
		r->zombie_end = min_u64(r->at + BATCH, p->count);
		r->at = r->acked;
		c->counts.rebalances++;
	}
	if (r->at >= p->count)
		return;
	if (rng_sim_chance(&c->rng, c->knobs.crash_permille)) {
		deliver(c, p, v, r->at, rng_sim_chance(&c->rng, 500)); /* before or after commit */
		r->at = r->acked;
		c->counts.crashes++;
		return;
	}
	deliver(c, p, v, r->at++, true);
	if (rng_sim_chance(&c->rng, c->knobs.ack_permille))
		r->acked = r->at;
}

void
consumers_ask(struct consumers *c, consumers_low_fn fn, void *arg)
{
	c->ask = fn;
	c->ask_arg = arg;
}

/* What is neither owed by the broker nor still to be read may be forgotten. */
static void
forget(struct consumers *c)
{
	struct gid low;

	if (!c->ask || !c->ask(c->ask_arg, &low))
		return;
	for (uint32_t i = 0; i < c->item_count; i++) {
		const struct item *item = &c->items[i];

		if (!item->effects[BY_ID] && !item->lost && gid_below(item->gid, low))
			low = item->gid;
	}
	if (gid_below(c->low, low))
		c->low = low;
	for (uint32_t i = 0; i < c->item_count; i++)
		c->items[i].row &= !gid_below(c->items[i].gid, c->low);
}

void
consumers_step(struct consumers *c, int64_t now_ns)
{
	enum variant v = (enum variant)rng_sim_below(&c->rng, VARIANTS);
	struct partition *p;

	listen(c, now_ns);
	if (!c->partition_count)
		return;
	p = &c->partitions[rng_sim_below(&c->rng, c->partition_count)];
	if (rng_sim_chance(&c->rng, c->knobs.forget_permille))
		forget(c);
	if (rng_sim_chance(&c->rng, 300))
		zombie_step(c, p, v);
	owner_step(c, p, v);
}

void
consumers_final(struct consumers *c)
{
	struct consumers_knobs quiet = { .ack_permille = 1000 };

	c->knobs = quiet;
	for (uint32_t i = 0; i < c->partition_count; i++) {
		struct partition *p = &c->partitions[i];

		for (int v = 0; v < VARIANTS; v++)
			while (p->readers[v].at < p->count)
				owner_step(c, p, (enum variant)v);
	}
	for (uint32_t i = 0; i < c->item_count; i++) {
		const struct item *item = &c->items[i];

		for (int v = 0; v < VARIANTS; v++)
			if (item->effects[v] != 1 && !item->lost)
				oracle_fail(c->oracle,
					    "I-7b seq %" PRIu64 " had %" PRIu32
					    " effects in the end, by %s%s",
					    item->gid.lo, item->effects[v],
					    v == BY_ID ? "id" : "seq",
					    item->quarantined ? ", quarantined" : "");
	}
}

const struct consumers_counts *
consumers_counts(const struct consumers *c)
{
	return &c->counts;
}
