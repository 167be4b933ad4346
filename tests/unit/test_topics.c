/*
 * The catalogue.  A number that came to mean another topic would publish old messages there.
 */
#include "base/err.h"
#include "core/limits.h"
#include "core/topics.h"
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
	ck_assert_uint_eq(topics_find(&t, STR("a")), 0);
	ck_assert_uint_eq(topics_find(&t, STR("c")), TOPIC_NONE);
	ck_assert_int_eq(t.topics[0].partitions, 4);
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

UNIT("topics", a_number_is_one_topic_for_ever, lanes_stay_when_partitions_grow);
