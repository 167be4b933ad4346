/*
 * Who is asked.  A group that is skipped here keeps its transactions undecided for ever; one
 * connection that gets everything stops answering.
 */
#include <stdio.h>

#include "base/err.h"
#include "core/groups.h"
#include "alike.h"
#include "unit.h"

static struct table table;
static struct groups groups;

static void
open_groups(void)
{
	table_init(&table, 0);
	groups_init(&groups, &table, (struct hash_secret){ 1, 2 }, 2);
}

static uint32_t
row_in(uint32_t group, uint64_t seq)
{
	uint32_t row = table_add(&table, seq);

	table_row(&table, row)->group = group & ((1u << 20) - 1);
	groups.groups[group].rows++;
	return row;
}

START_TEST(the_one_that_sent_it_is_asked_then_the_others_in_turn)
{
	uint32_t first;
	uint32_t g;

	open_groups();
	ck_assert_int_eq(groups_join(&groups, 11, STR("g")), 0);
	ck_assert_int_eq(groups_join(&groups, 12, STR("g")), 0);
	ck_assert_int_eq(groups_join(&groups, 13, STR("g")), 0);
	ck_assert_int_eq(groups_join(&groups, 13, STR("g")), 0);
	g = groups_find(&groups, STR("g"));
	ck_assert_uint_eq(groups.groups[g].listeners, 3);
	ck_assert_uint_eq(groups.peers[groups_pick(&groups, g, 12)].id, 12);
	groups_leave(&groups, 12, STR(""));
	first = groups_pick(&groups, g, 12);
	ck_assert_uint_eq(groups_pick(&groups, g, 12), first); /* looking is not asking */
	groups_await(&groups, g, first, 1, 0, 100);
	ck_assert_uint_ne(groups_pick(&groups, g, 12), first);
	groups_await(&groups, g, groups_pick(&groups, g, 12), 2, 0, 100);
	ck_assert_uint_eq(groups_pick(&groups, g, 0), first);
}
END_TEST

/* A connection of another group knows nothing of these orders. */
START_TEST(a_sender_that_does_not_listen_for_the_group_is_not_asked)
{
	open_groups();
	groups_join(&groups, 11, STR("g"));
	groups_join(&groups, 12, STR("h"));
	ck_assert_uint_eq(groups.peers[groups_pick(&groups, groups_find(&groups, STR("g")), 12)].id,
			  11);
}
END_TEST

START_TEST(outstanding_checks_are_bounded_and_come_back)
{
	uint32_t g;
	uint32_t p;
	uint8_t generation = 0;

	open_groups();
	groups_join(&groups, 11, STR("g"));
	g = groups_find(&groups, STR("g"));
	p = groups_pick(&groups, g, 0);
	groups_await(&groups, g, p, 1, 3, 100);
	groups_await(&groups, g, p, 2, 0, 200);
	ck_assert_uint_eq(groups_pick(&groups, g, 0), PEER_NONE);
	ck_assert(!groups_written(&groups, 1, 99, &generation));
	ck_assert(groups_written(&groups, 1, 11, &generation));
	ck_assert_uint_eq(generation, 3);
	ck_assert(!groups_written(&groups, 1, 11, &generation));
	groups_answered(&groups, 1);
	ck_assert_uint_eq(groups_pick(&groups, g, 0), p);
	ck_assert_int_eq(groups_expire(&groups, 199), 200);
	ck_assert_int_eq(groups_expire(&groups, 200), TIME_NEVER);
	ck_assert_uint_eq(groups.peers[p].outstanding, 0);
	/* Asked, then gone: the slot's next owner owes nothing. */
	groups_await(&groups, g, p, 5, 0, 300);
	groups_leave(&groups, 11, STR(""));
	groups_join(&groups, 21, STR("g"));
	groups_expire(&groups, 300);
	p = groups_pick(&groups, groups_find(&groups, STR("g")), 0);
	ck_assert_uint_eq(groups.peers[p].outstanding, 0);
}
END_TEST

START_TEST(a_group_is_ready_when_rows_wait_and_somebody_has_room)
{
	uint32_t g;
	uint32_t h;

	open_groups();
	g = groups_get(&groups, STR("g"));
	groups_overdue(&groups, row_in(g, 1));
	ck_assert_uint_eq(groups_ready(&groups), GROUP_NONE);
	groups_join(&groups, 11, STR("g"));
	ck_assert_uint_eq(groups_ready(&groups), g);
	groups_join(&groups, 11, STR("h"));
	h = groups_find(&groups, STR("h"));
	groups_overdue(&groups, row_in(h, 2));
	ck_assert_uint_eq(groups_ready(&groups), g);
	groups_rotate(&groups, g);
	ck_assert_uint_eq(groups_ready(&groups), h);
	/* Both at their limit: unready until an answer comes. */
	groups_await(&groups, g, groups_pick(&groups, g, 0), 1, 0, 100);
	groups_await(&groups, g, groups_pick(&groups, g, 0), 2, 0, 100);
	groups_unready(&groups, h);
	groups_unready(&groups, g);
	ck_assert_uint_eq(groups_ready(&groups), GROUP_NONE);
	groups_answered(&groups, 1);
	ck_assert_uint_ne(groups_ready(&groups), GROUP_NONE);
}
END_TEST

START_TEST(names_and_memberships_are_bounded)
{
	char name[32];
	int err = 0;
	int i;

	open_groups();
	for (i = 0; err == 0; i++) {
		int n = snprintf(name, sizeof(name), "group-%d", i);

		err = groups_join(&groups, 11, str_from(name, (size_t)n));
	}
	ck_assert_int_eq(err, ERR_FULL);
	ck_assert_int_eq(i, LIMIT_PEER_GROUPS + 1);
	groups_leave(&groups, 11, STR(""));
	ck_assert_uint_eq(groups.groups_used, 0); /* nothing stays behind */
}
END_TEST

/* A row remembers 32 bits of who sent it: two connections that share them are not mixed up. */
START_TEST(connections_that_look_alike_are_not_mixed_up)
{
	const uint64_t twin = (UINT64_C(1) << 32) + 11;
	uint64_t alike[2];
	uint32_t g;

	open_groups();
	ck_assert_int_eq(groups_join(&groups, 11, STR("g")), 0);
	ck_assert_int_eq(groups_join(&groups, twin, STR("g")), ERR_FULL);
	groups_leave(&groups, twin, STR("g"));
	groups_leave(&groups, 4711, STR("g"));
	groups_leave(&groups, 11, STR("nobody's"));
	g = groups_find(&groups, STR("g"));
	ck_assert_uint_eq(groups.groups[g].listeners, 1);
	/* and those that the map takes for one another, nor their checks */
	alike_find(hash_u64, 1, alike);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(groups_join(&groups, alike[i], STR("g")), 0);
	for (int i = 0; i < 2; i++) {
		uint32_t p = groups_pick(&groups, g, (uint32_t)alike[i]);
		uint8_t generation;

		ck_assert_uint_eq(groups.peers[p].id, alike[i]);
		groups_await(&groups, g, p, alike[i], (uint8_t)i, 100);
		ck_assert(groups_written(&groups, alike[i], alike[i], &generation));
		ck_assert_int_eq((int)generation, i);
	}
	groups_leave(&groups, alike[0], STR("g"));
	ck_assert_uint_eq(groups.peers[groups_pick(&groups, g, (uint32_t)alike[1])].id, alike[1]);
}
END_TEST

/* One group of several is left: the others still ask this connection. */
START_TEST(leaving_one_group_keeps_the_others)
{
	open_groups();
	ck_assert_int_eq(groups_join(&groups, 11, STR("g")), 0);
	ck_assert_int_eq(groups_join(&groups, 11, STR("h")), 0);
	groups_leave(&groups, 11, STR("g"));
	ck_assert_uint_eq(groups_find(&groups, STR("g")), GROUP_NONE);
	ck_assert_uint_ne(groups_pick(&groups, groups_find(&groups, STR("h")), 0), PEER_NONE);
}
END_TEST

/* A group whose last row goes while it waits for its turn to ask goes with the turn, not before. */
START_TEST(a_group_in_the_queue_is_dropped_with_its_turn)
{
	uint32_t g, row;

	open_groups();
	ck_assert_int_eq(groups_join(&groups, 11, STR("g")), 0);
	g = groups_find(&groups, STR("g"));
	row = row_in(g, 1);
	groups_overdue(&groups, row);
	groups_not_overdue(&groups, row); /* decided meanwhile */
	groups.groups[g].rows--;
	groups_leave(&groups, 11, STR_NONE);
	ck_assert_uint_eq(groups_ready(&groups), g);
	ck_assert_uint_eq(groups.groups_used, 1);
	groups_unready(&groups, g);
	ck_assert_uint_eq(groups.groups_used, 0);
	groups_drop(&groups, g); /* a second time: it is gone already */
	ck_assert_uint_eq(groups.groups_used, 0);
}
END_TEST

UNIT("groups", the_one_that_sent_it_is_asked_then_the_others_in_turn,
     a_sender_that_does_not_listen_for_the_group_is_not_asked,
     outstanding_checks_are_bounded_and_come_back,
     a_group_is_ready_when_rows_wait_and_somebody_has_room, names_and_memberships_are_bounded,
     connections_that_look_alike_are_not_mixed_up, leaving_one_group_keeps_the_others,
     a_group_in_the_queue_is_dropped_with_its_turn);
