/*
 * members.c -- for which producer groups a connection answers checks, and since when unheard.
 *
 * The core knows the groups; here is only what the wire adds: a heartbeat names all groups of
 * its client, and one that is not named any more for two minutes has left.
 */
#include "base/err.h"
#include "remoting/conn.h"

static uint32_t
find_group(const struct conn *c, struct str group)
{
	for (uint32_t i = 0; i < c->group_count; i++)
		if (str_eq(c->groups[i].name, group))
			return i;
	return c->group_count;
}

int
conn_join(struct conn *c, struct str group)
{
	uint32_t i = find_group(c, group);
	int err;

	if (i == c->group_count) {
		if (c->group_count == LIMIT_CONN_GROUPS)
			return ERR_FULL;
		err = core_join(c->r->core, c->peer, group);
		if (err < 0)
			return err;
		if ((c->group_count & (c->group_count - 1)) == 0)
			c->groups = mem_grow(c->groups, (c->group_count ? c->group_count * 2 : 1) *
								sizeof(*c->groups));
		c->groups[c->group_count++].name = str_from(mem_dup(group.p, group.n), group.n);
	}
	c->groups[i].seen_ns = c->r->now_ns;
	return 0;
}

static void
drop_group(struct conn *c, uint32_t i)
{
	core_leave(c->r->core, c->peer, c->groups[i].name);
	mem_free((void *)(uintptr_t)c->groups[i].name.p);
	c->groups[i] = c->groups[--c->group_count];
}

void
conn_leave(struct conn *c, struct str group)
{
	uint32_t i = find_group(c, group);

	if (i < c->group_count)
		drop_group(c, i);
}

void
conn_expire_groups(struct conn *c)
{
	for (uint32_t i = c->group_count; i-- > 0;)
		if (c->r->now_ns - c->groups[i].seen_ns >= LIMIT_HEARTBEAT_NS)
			drop_group(c, i);
}
