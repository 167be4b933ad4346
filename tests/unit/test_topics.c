/*
 * The catalogue.  A number that came to mean another topic would publish old messages there.
 */
#include <stdio.h>

#include "base/err.h"
#include "core/limits.h"
#include "core/topics.h"
#include "alike.h"
#include "unit.h"

START_TEST(a_number_is_one_topic_for_ever)
{
	struct topics t;

	topics_init(&t, (struct hash_secret){ 1, 2 });
	ck_assert_int_eq(topics_set(&t, 0, STR("a"), 3, 0), 1);
	ck_assert_int_eq(topics_set(&t, 1, STR("b"), 1, 0), 1);
	ck_assert_int_eq(topics_set(&t, 0, STR("a"), 3, 0), 0);
	ck_assert_int_eq(topics_set(&t, 0, STR("a"), 4, 9), 1);
	ck_assert_int_eq(topics_set(&t, 0, STR("b"), 4, 9), ERR_CORRUPT);
	ck_assert_int_eq(topics_set(&t, 3, STR("c"), 4, 9), ERR_CORRUPT);
	ck_assert_int_eq(topics_set(&t, 2, STR("a"), 4, 9), ERR_CORRUPT);
	ck_assert_int_eq(topics_set(&t, 2, STR_NONE, 4, 9), ERR_CORRUPT);
	ck_assert_int_eq(topics_set(&t, 2, STR("c"), -1, 9), ERR_CORRUPT);
	t.count = LIMIT_TOPICS;
	ck_assert_int_eq(topics_set(&t, LIMIT_TOPICS, STR("c"), 4, 9), ERR_CORRUPT);
	t.count = 2;
	ck_assert_uint_eq(topics_find(&t, STR("a")), 0);
	ck_assert_uint_eq(topics_find(&t, STR("c")), TOPIC_NONE);
	ck_assert_int_eq(t.topics[0].partitions, 4);
	topics_done(&t);
}
END_TEST

static const struct hash_secret alike_secret = { 1, 2 };

static struct str
name_of(uint64_t number, char text[32])
{
	return str_from(text, (size_t)snprintf(text, 32, "topic-%llu", (unsigned long long)number));
}

static uint64_t
hash_of(uint64_t number)
{
	char text[32];
	struct str s = name_of(number, text);

	return hash_key(alike_secret, s.p, s.n);
}

/* Names that look alike to the map are two topics. */
START_TEST(topics_that_look_alike_are_not_mixed_up)
{
	struct topics t;
	uint64_t alike[2];
	char text[2][32];

	topics_init(&t, alike_secret);
	alike_find(hash_of, 1, alike);
	ck_assert_int_eq(topics_set(&t, 0, name_of(alike[0], text[0]), 3, 0), 1);
	ck_assert_uint_eq(topics_find(&t, name_of(alike[1], text[1])), TOPIC_NONE);
	ck_assert_int_eq(topics_set(&t, 1, name_of(alike[1], text[1]), 3, 0), 1);
	for (uint32_t i = 0; i < 2; i++) {
		t.last = 1 - i;
		ck_assert_uint_eq(topics_find(&t, name_of(alike[i], text[i])), i);
	}
	topics_done(&t);
}
END_TEST

/* Partitions are added while messages wait: the lanes of the old ones stay what they are. */
START_TEST(lanes_stay_when_partitions_grow)
{
	struct topics t;

	topics_init(&t, (struct hash_secret){ 1, 2 });
	topics_set(&t, 0, STR("a"), 2, 0);
	ck_assert_uint_eq(topics_lane(&t, 0, 1), LANE_NONE);
	topics_set_lane(&t, 0, 1, 42);
	topics_set(&t, 0, STR("a"), 100, 0);
	topics_set_lane(&t, 0, 99, 43);
	ck_assert_uint_eq(topics_lane(&t, 0, 1), 42);
	ck_assert_uint_eq(topics_lane(&t, 0, 50), LANE_NONE);
	ck_assert_uint_eq(topics_lane(&t, 0, 99), 43);
	topics_done(&t);
}
END_TEST

UNIT("topics", a_number_is_one_topic_for_ever, topics_that_look_alike_are_not_mixed_up,
     lanes_stay_when_partitions_grow);
