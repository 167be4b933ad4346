/*
 * partition.c -- MurmurHash2 (Austin Appleby), the 32-bit one that Kafka's clients use.
 *
 * The order of the three trailing bytes and the sign handling are the Java client's: its
 * bytes are masked to unsigned before they are mixed, and the result is made positive by
 * clearing the sign bit, not by abs().
 */
#include "core/partition.h"

#include "base/bytes.h"

#define MURMUR_SEED UINT32_C(0x9747b28c)
#define MURMUR_M    UINT32_C(0x5bd1e995)

uint32_t
partition_murmur2(const void *p, size_t n)
{
	const uint8_t *b = p;
	uint32_t h = MURMUR_SEED ^ (uint32_t)n;
	size_t left = n;

	for (; left >= 4; left -= 4, b += 4) {
		uint32_t k = le_get32(b) * MURMUR_M;

		k = (k ^ (k >> 24)) * MURMUR_M;
		h = (h * MURMUR_M) ^ k;
	}
	if (left == 3)
		h ^= (uint32_t)b[2] << 16;
	if (left >= 2)
		h ^= (uint32_t)b[1] << 8;
	if (left >= 1)
		h = (h ^ b[0]) * MURMUR_M;
	h = (h ^ (h >> 13)) * MURMUR_M;
	return h ^ (h >> 15);
}

int32_t
partition_of_key(struct str key, int32_t count)
{
	uint32_t positive = partition_murmur2(key.p, key.n) & UINT32_C(0x7fffffff);

	CHECK(count > 0, count);
	return (int32_t)(positive % (uint32_t)count);
}
