/*
 * test_hash.c -- body hashes lie in the journal: if they changed, a retried half-send would be
 * taken for another message and refused; if keys collided at will, one client could stall all.
 */
#include "base/base.h"
#include "base/hash.h"
#include "unit.h"

/* Key 00 01 .. 0f; input 00, 00 01, ...: the test vectors of the SipHash paper's authors. */
START_TEST(siphash_is_siphash)
{
	struct hash_secret secret = { UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908) };
	uint8_t in[64];

	for (unsigned i = 0; i < 64; i++)
		in[i] = (uint8_t)i;
	ck_assert_uint_eq(hash_key(secret, in, 0), UINT64_C(0x726fdb47dd0e0e31));
	ck_assert_uint_eq(hash_key(secret, in, 1), UINT64_C(0x74f839c593dc67fd));
	ck_assert_uint_eq(hash_key(secret, in, 8), UINT64_C(0x93f5f5799a932462));
	ck_assert_uint_eq(hash_key(secret, in, 15), UINT64_C(0xa129ca6149be45e5));
	ck_assert_uint_eq(hash_key(secret, in, 63), UINT64_C(0x958a324ceb064572));
}
END_TEST

START_TEST(another_secret_gives_another_hash)
{
	struct hash_secret a = { 1, 2 }, b = { 1, 3 };

	ck_assert_uint_ne(hash_key(a, "order-1", 7), hash_key(b, "order-1", 7));
}
END_TEST

START_TEST(pairs_are_not_glued)
{
	struct hash_secret secret = { 1, 2 };
	char a[513];

	ck_assert_uint_ne(hash_key2(secret, STR("ab"), STR("c")),
			  hash_key2(secret, STR("a"), STR("bc")));
	ck_assert_uint_ne(hash_key2(secret, STR(""), STR("abc")),
			  hash_key2(secret, STR("abc"), STR("")));
	ck_assert_uint_eq(hash_key2(secret, STR("ab"), STR("c")),
			  hash_key2(secret, STR("ab"), STR("c")));
	ck_assert_uint_eq(hash_key2(secret, STR_NONE, STR("c")),
			  hash_key2(secret, STR(""), STR("c")));

	/* Lengths that agree in their low eight bits. */
	memset(a, 'x', sizeof(a));
	ck_assert_uint_ne(hash_key2(secret, str_from(a, 0), str_from(a, 512)),
			  hash_key2(secret, str_from(a, 256), str_from(a, 256)));
}
END_TEST

/* Frozen values: the journal keeps them for years.  They are XXH3's of libxxhash 0.8. */
START_TEST(body_hash_never_changes)
{
	struct hash128 empty = hash_body("", 0, 0), hello = hash_body("hello", 5, 0);
	struct hash128 seeded = hash_body("hello", 5, 42);

	ck_assert_uint_eq(empty.lo, UINT64_C(0x6001c324468d497f));
	ck_assert_uint_eq(empty.hi, UINT64_C(0x99aa06d3014798d8));
	ck_assert_uint_eq(hello.lo, UINT64_C(0xc779cfaa5e523818));
	ck_assert_uint_eq(hello.hi, UINT64_C(0xb5e9c1ad071b3e7f));
	ck_assert(seeded.lo != hello.lo || seeded.hi != hello.hi);
}
END_TEST

START_TEST(numbers_are_mixed)
{
	unsigned seen[256] = { 0 };

	ck_assert_uint_eq(hash_u64(0), UINT64_C(0xe220a8397b1dcdaf)); /* splitmix64's first */
	for (uint64_t i = 0; i < 25600; i++)
		seen[hash_u64(i) & 255]++;
	for (unsigned i = 0; i < 256; i++)
		ck_assert_uint_gt(seen[i], 50);
}
END_TEST

UNIT("hash", siphash_is_siphash, another_secret_gives_another_hash, pairs_are_not_glued,
     body_hash_never_changes, numbers_are_mixed);
