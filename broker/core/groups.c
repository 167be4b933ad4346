/*
 * groups.c -- groups, peers, memberships and outstanding checks, each in a pool with a free list.
 */
#include "core/groups.h"

#include "base/err.h"
#include "core/limits.h"

#define NIL UINT32_MAX

static uint64_t
hash_name(const void *arg, uint32_t index)
{
	const struct groups *g = arg;

	return hash_key(g->secret, g->groups[index].name, g->groups[index].name_len);
}

/* Only 32 bits, because a row remembers no more of who sent it. */
static uint64_t
hash_peer(const void *arg, uint32_t index)
{
	return hash_u64((uint32_t)((const struct groups *)arg)->peers[index].id);
}

static uint64_t
hash_asked(const void *arg, uint32_t index)
{
	return hash_u64(((const struct groups *)arg)->asked[index].seq);
}

void
groups_init(struct groups *g, const struct table *table, struct hash_secret secret,
	    uint32_t outstanding_max)
{
	*g = (struct groups){
		.table = table,
		.secret = secret,
		.outstanding_max = outstanding_max,
		.limit = LIMIT_GROUPS,
		.group_free = NIL,
		.peer_free = NIL,
		.member_free = NIL,
		.asked_free = NIL,
		.asked_head = NIL,
		.asked_tail = NIL,
		.ready_head = NIL,
		.ready_tail = NIL,
	};
	map_init(&g->by_name, hash_name, g);
	map_init(&g->by_peer, hash_peer, g);
	map_init(&g->by_asked, hash_asked, g);
}

void
groups_done(struct groups *g)
{
	for (uint32_t i = 0; i < g->group_count; i++)
		mem_free(g->groups[i].name);
	mem_free(g->groups);
	mem_free(g->peers);
	mem_free(g->members);
	mem_free(g->asked);
	map_done(&g->by_name);
	map_done(&g->by_peer);
	map_done(&g->by_asked);
	*g = (struct groups){ 0 };
}

/* Room for one more in a pool of SIZE-byte things. */
static void *
pool_room(void *pool, uint32_t count, uint32_t *cap, size_t size)
{
	if (count < *cap)
		return pool;
	*cap = *cap ? *cap * 2 : 16;
	return mem_grow(pool, *cap * size);
}

/* ---- groups ---------------------------------------------------------------------------------- */

uint32_t
groups_find(struct groups *g, struct str name)
{
	struct map_probe probe;
	uint32_t i;

	if (g->last < g->group_count && g->groups[g->last].used &&
	    str_eq(groups_name(g, g->last), name))
		return g->last;
	i = map_first(&g->by_name, hash_key(g->secret, name.p, name.n), &probe);
	while (i != MAP_NONE && !str_eq(groups_name(g, i), name))
		i = map_next(&g->by_name, &probe);
	if (i == MAP_NONE)
		return GROUP_NONE;
	g->last = i;
	return i;
}

uint32_t
groups_get(struct groups *g, struct str name)
{
	uint32_t i = groups_find(g, name);

	if (i != GROUP_NONE)
		return i;
	if (g->groups_used >= g->limit)
		return GROUP_NONE;
	i = g->group_free;
	if (i != NIL) {
		g->group_free = g->groups[i].ready_next;
	} else {
		g->groups = pool_room(g->groups, g->group_count, &g->group_cap, sizeof(*g->groups));
		i = g->group_count++;
	}
	g->groups[i] = (struct group){
		.name = mem_dup(name.p, name.n),
		.name_len = (uint32_t)name.n,
		.turn = NIL,
		.ready_next = NIL,
		.overdue = ROW_LIST_INIT,
		.used = true,
	};
	map_put(&g->by_name, hash_name(g, i), i);
	g->groups_used++;
	return i;
}

struct str
groups_name(const struct groups *g, uint32_t group)
{
	return str_from(g->groups[group].name, g->groups[group].name_len);
}

static void
ready_add(struct groups *g, uint32_t group)
{
	struct group *it = &g->groups[group];

	if (it->ready || it->overdue.count == 0 || it->listeners == 0)
		return;
	it->ready = true;
	it->ready_next = NIL;
	if (g->ready_tail == NIL)
		g->ready_head = group;
	else
		g->groups[g->ready_tail].ready_next = group;
	g->ready_tail = group;
}

void
groups_drop(struct groups *g, uint32_t group)
{
	struct group *it = &g->groups[group];

	/* One in the ready queue goes when it comes to the head of it. */
	if (!it->used || it->rows || it->listeners || it->ready)
		return;
	CHECK(it->overdue.count == 0 && it->waiting == 0, group);
	map_del(&g->by_name, hash_name(g, group), group);
	mem_free(it->name);
	*it = (struct group){ .ready_next = g->group_free };
	g->group_free = group;
	g->groups_used--;
}

/* ---- peers ----------------------------------------------------------------------------------- */

static uint32_t
peer_find(const struct groups *g, uint32_t low)
{
	struct map_probe probe;
	uint32_t i = map_first(&g->by_peer, hash_u64(low), &probe);

	while (i != MAP_NONE && (uint32_t)g->peers[i].id != low)
		i = map_next(&g->by_peer, &probe);
	return i == MAP_NONE ? PEER_NONE : i;
}

static uint32_t
peer_get(struct groups *g, uint64_t id)
{
	uint32_t i = peer_find(g, (uint32_t)id);

	if (i != PEER_NONE)
		return g->peers[i].id == id ? i : PEER_NONE;
	i = g->peer_free;
	if (i != NIL) {
		g->peer_free = g->peers[i].members;
	} else {
		g->peers = pool_room(g->peers, g->peer_count, &g->peer_cap, sizeof(*g->peers));
		i = g->peer_count++;
	}
	g->peers[i] = (struct peer){ .id = id, .members = NIL };
	map_put(&g->by_peer, hash_peer(g, i), i);
	return i;
}

static void
peer_drop(struct groups *g, uint32_t peer)
{
	/* One that may come back under the same id keeps what it was asked. */
	if (g->peers[peer].members != NIL || g->peers[peer].outstanding)
		return;
	map_del(&g->by_peer, hash_peer(g, peer), peer);
	g->peers[peer] = (struct peer){ .members = g->peer_free };
	g->peer_free = peer;
}

static uint32_t
member_find(const struct groups *g, uint32_t peer, uint32_t group)
{
	uint32_t i = g->peers[peer].members;

	while (i != NIL && g->members[i].group != group)
		i = g->members[i].of_peer;
	return i;
}

int
groups_join(struct groups *g, uint64_t peer, struct str name)
{
	uint32_t p = peer_get(g, peer);
	uint32_t group;
	uint32_t i;
	struct group *it;

	if (p == PEER_NONE)
		return ERR_FULL;
	group = groups_find(g, name);
	if (group != GROUP_NONE && member_find(g, p, group) != NIL)
		return 0;
	if (g->peers[p].member_count < LIMIT_PEER_GROUPS)
		group = groups_get(g, name);
	else
		group = GROUP_NONE;
	if (group == GROUP_NONE) {
		peer_drop(g, p);
		return ERR_FULL;
	}
	i = g->member_free;
	if (i != NIL) {
		g->member_free = g->members[i].of_peer;
	} else {
		g->members =
			pool_room(g->members, g->member_count, &g->member_cap, sizeof(*g->members));
		i = g->member_count++;
	}
	it = &g->groups[group];
	g->members[i] = (struct member){ p, group, g->peers[p].members, i, i };
	g->peers[p].members = i;
	g->peers[p].member_count++;
	if (it->turn == NIL) {
		it->turn = i;
	} else {
		struct member *turn = &g->members[it->turn];

		g->members[i].next = it->turn;
		g->members[i].prev = turn->prev;
		g->members[turn->prev].next = i;
		turn->prev = i;
	}
	it->listeners++;
	it->silent = false;
	ready_add(g, group);
	return 0;
}

/* Takes membership I, whose link in its peer's chain is LINK, out of everything. */
static void
member_del(struct groups *g, uint32_t *link, uint32_t i)
{
	struct member m = g->members[i];
	struct group *it = &g->groups[m.group];

	*link = m.of_peer;
	g->peers[m.peer].member_count--;
	g->members[m.prev].next = m.next;
	g->members[m.next].prev = m.prev;
	if (it->turn == i)
		it->turn = m.next == i ? NIL : m.next;
	it->listeners--;
	g->members[i].of_peer = g->member_free;
	g->member_free = i;
	groups_drop(g, m.group);
}

void
groups_leave(struct groups *g, uint64_t peer, struct str name)
{
	uint32_t p = peer_find(g, (uint32_t)peer);
	uint32_t group = name.n ? groups_find(g, name) : GROUP_NONE;
	uint32_t *link;

	if (p == PEER_NONE || g->peers[p].id != peer || (name.n && group == GROUP_NONE))
		return;
	link = &g->peers[p].members;
	while (*link != NIL) {
		uint32_t i = *link;

		if (name.n == 0 || g->members[i].group == group)
			member_del(g, link, i);
		else
			link = &g->members[i].of_peer;
	}
	peer_drop(g, p);
}

/* ---- checks ---------------------------------------------------------------------------------- */

void
groups_overdue(struct groups *g, uint32_t row)
{
	struct row *r = table_row(g->table, row);

	CHECK(!(r->flags & (ROW_OVERDUE | ROW_FINAL)), r->txn.seq);
	row_list_add(g->table, &g->groups[r->group].overdue, row);
	row_set(r, ROW_OVERDUE);
	ready_add(g, r->group);
}

void
groups_not_overdue(struct groups *g, uint32_t row)
{
	struct row *r = table_row(g->table, row);

	CHECK(r->flags & ROW_OVERDUE, r->txn.seq);
	row_list_del(g->table, &g->groups[r->group].overdue, row);
	row_clear(r, ROW_OVERDUE);
}

uint32_t
groups_ready(const struct groups *g)
{
	return g->ready_head == NIL ? GROUP_NONE : g->ready_head;
}

void
groups_unready(struct groups *g, uint32_t group)
{
	struct group *it = &g->groups[group];

	CHECK(it->ready && g->ready_head == group, group);
	g->ready_head = it->ready_next;
	if (g->ready_head == NIL)
		g->ready_tail = NIL;
	it->ready = false;
	it->ready_next = NIL;
	groups_drop(g, group);
}

void
groups_rotate(struct groups *g, uint32_t group)
{
	if (g->ready_tail == group)
		return;
	groups_unready(g, group);
	ready_add(g, group);
}

uint32_t
groups_pick(struct groups *g, uint32_t group, uint32_t preferred)
{
	struct group *it = &g->groups[group];
	uint32_t p = preferred ? peer_find(g, preferred) : PEER_NONE;

	if (p != PEER_NONE && g->peers[p].outstanding < g->outstanding_max &&
	    member_find(g, p, group) != NIL)
		return p;
	for (uint32_t i = 0; i < it->listeners; i++) {
		p = g->members[it->turn].peer;
		if (g->peers[p].outstanding < g->outstanding_max)
			return p; /* its turn ends when it is really asked */
		it->turn = g->members[it->turn].next;
	}
	return PEER_NONE;
}

static uint32_t
asked_find(const struct groups *g, uint64_t seq)
{
	struct map_probe probe;
	uint32_t i = map_first(&g->by_asked, hash_u64(seq), &probe);

	while (i != MAP_NONE && g->asked[i].seq != seq)
		i = map_next(&g->by_asked, &probe);
	return i == MAP_NONE ? NIL : i;
}

static void
asked_del(struct groups *g, uint32_t i)
{
	struct asked *a = &g->asked[i];
	struct peer *p = &g->peers[a->peer];

	map_del(&g->by_asked, hash_u64(a->seq), i);
	if (a->prev == NIL)
		g->asked_head = a->next;
	else
		g->asked[a->prev].next = a->next;
	if (a->next == NIL)
		g->asked_tail = a->prev;
	else
		g->asked[a->next].prev = a->prev;
	CHECK(p->id == a->peer_id && p->outstanding > 0, a->seq);
	if (p->outstanding-- == g->outstanding_max)
		for (uint32_t m = p->members; m != NIL; m = g->members[m].of_peer)
			ready_add(g, g->members[m].group);
	peer_drop(g, a->peer);
	a->next = g->asked_free;
	g->asked_free = i;
}

void
groups_await(struct groups *g, uint32_t group, uint32_t peer, uint64_t seq, uint8_t generation,
	     int64_t until_ns)
{
	struct group *it = &g->groups[group];
	uint32_t i;

	if (it->turn != NIL && g->members[it->turn].peer == peer)
		it->turn = g->members[it->turn].next;

	groups_answered(g, seq); /* an older question no longer counts */
	i = g->asked_free;
	if (i != NIL) {
		g->asked_free = g->asked[i].next;
	} else {
		g->asked = pool_room(g->asked, g->asked_count, &g->asked_cap, sizeof(*g->asked));
		i = g->asked_count++;
	}
	g->asked[i] = (struct asked){
		.seq = seq,
		.peer_id = g->peers[peer].id,
		.until_ns = until_ns,
		.peer = peer,
		.next = NIL,
		.prev = g->asked_tail,
		.generation = generation,
	};
	if (g->asked_tail == NIL)
		g->asked_head = i;
	else
		g->asked[g->asked_tail].next = i;
	g->asked_tail = i;
	map_put(&g->by_asked, hash_u64(seq), i);
	g->peers[peer].outstanding++;
}

bool
groups_written(struct groups *g, uint64_t seq, uint64_t peer, uint8_t *ret_generation)
{
	uint32_t i = asked_find(g, seq);

	if (i == NIL || g->asked[i].written || g->asked[i].peer_id != peer)
		return false;
	g->asked[i].written = true;
	*ret_generation = g->asked[i].generation;
	return true;
}

bool
groups_leaving(const struct groups *g, uint64_t seq, uint8_t generation)
{
	uint32_t i = asked_find(g, seq);

	return i != NIL && !g->asked[i].written && g->asked[i].generation == generation;
}

void
groups_answered(struct groups *g, uint64_t seq)
{
	uint32_t i = asked_find(g, seq);

	if (i != NIL)
		asked_del(g, i);
}

int64_t
groups_expire(struct groups *g, int64_t now_ns)
{
	while (g->asked_head != NIL && g->asked[g->asked_head].until_ns <= now_ns)
		asked_del(g, g->asked_head);
	return g->asked_head == NIL ? TIME_NEVER : g->asked[g->asked_head].until_ns;
}
