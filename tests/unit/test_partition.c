/*
 * Partitions as Kafka's Java client chooses them.  A key in another partition than every
 * other producer's breaks joins and per-key order downstream, silently.
 */

#include "core/partition.h"
#include "unit.h"

/* Vectors of Kafka's own UtilsTest.testMurmur2. */
START_TEST(murmur2_is_kafkas)
{
	static const struct {
		const char *text;
		int32_t hash;
	} vectors[] = {
		{ "21", -973932308 },
		{ "foobar", -790332482 },
		{ "a-little-bit-long-string", -985981536 },
		{ "a-little-bit-longer-string", -1486304829 },
		{ "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971 },
		{ "abc", 479470107 },
	};

	for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
		struct str s = str_of(vectors[i].text);

		ck_assert_int_eq((int32_t)partition_murmur2(s.p, s.n), vectors[i].hash);
	}
}
END_TEST

START_TEST(a_negative_hash_gives_a_partition)
{
	/* -973932308 & 0x7fffffff = 1173551340 */
	ck_assert_int_eq(partition_of_key(STR("21"), 12), 1173551340 % 12);
	ck_assert_int_eq(partition_of_key(STR("21"), 1), 0);
	for (int32_t n = 1; n < 100; n++) {
		int32_t p = partition_of_key(STR("foobar"), n);

		ck_assert(p >= 0 && p < n);
	}
}
END_TEST

UNIT("partition", murmur2_is_kafkas, a_negative_hash_gives_a_partition);
