/*
 * crc.c -- CRC32C three ways: by table, by instruction, by instruction three at a time.
 *
 * The crc32 instruction has a latency of three cycles and a throughput of one, so three
 * independent streams run as fast as one:
 *
 *      |--- a: block ---|--- b: block ---|--- c: block ---|      crc = shift(shift(a) ^ b) ^ c
 *
 * shift() moves a register over one block of zero bytes.  That is linear in the register's bits, so
 * four look-ups do it; their tables follow from what happens to each single bit.  There are two
 * sizes of block, for groups of records and for one record of a kilobyte.
 */
#include "base/crc.h"

#include "base/bytes.h"

#define POLYNOMIAL 0x82f63b78u /* Castagnoli, bits reversed */
#define LONG       1024u       /* bytes of one stream; a multiple of 8 */
#define SHORT      256u

typedef uint32_t (*crc_fn)(uint32_t crc, const uint8_t *p, size_t n);

static uint32_t by_byte[256];
static uint32_t shift_long[4][256];
static uint32_t shift_short[4][256];
static crc_fn crc_best;

static uint32_t
crc_table(uint32_t crc, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		crc = crc >> 8 ^ by_byte[(crc ^ p[i]) & 0xff];
	return crc;
}

#if defined(__x86_64__)
static inline uint32_t
shift(uint32_t by[4][256], uint32_t crc)
{
	return by[0][crc & 0xff] ^ by[1][crc >> 8 & 0xff] ^ by[2][crc >> 16 & 0xff] ^
	       by[3][crc >> 24];
}

__attribute__((target("sse4.2"))) static inline uint64_t
three(uint64_t a, const uint8_t *p, size_t block, uint32_t by[4][256])
{
	uint64_t b = 0, c = 0;

	for (size_t i = 0; i < block; i += 8) {
		a = __builtin_ia32_crc32di(a, le_get64(p + i));
		b = __builtin_ia32_crc32di(b, le_get64(p + block + i));
		c = __builtin_ia32_crc32di(c, le_get64(p + 2 * block + i));
	}
	return shift(by, shift(by, (uint32_t)a) ^ (uint32_t)b) ^ (uint32_t)c;
}

__attribute__((target("sse4.2"))) static uint32_t
crc_sse(uint32_t crc, const uint8_t *p, size_t n)
{
	uint64_t a = crc;

	for (; n >= 3 * LONG; n -= 3 * LONG, p += 3 * LONG)
		a = three(a, p, LONG, shift_long);
	for (; n >= 3 * SHORT; n -= 3 * SHORT, p += 3 * SHORT)
		a = three(a, p, SHORT, shift_short);
	for (; n >= 8; n -= 8, p += 8)
		a = __builtin_ia32_crc32di(a, le_get64(p));
	for (; n; n--, p++)
		a = __builtin_ia32_crc32qi((uint32_t)a, *p);
	return (uint32_t)a;
}
#endif

static void
shift_prepare(uint32_t by[4][256], size_t block)
{
	static const uint8_t zeroes[LONG];

	for (uint32_t bit = 0; bit < 32; bit++) {
		uint32_t moved = crc_table(1u << bit, zeroes, block);

		for (uint32_t i = 0; i < 256; i++) {
			if (i >> (bit % 8) & 1)
				by[bit / 8][i] ^= moved;
		}
	}
}

/* Before main() and before any thread, so that crc32c() needs no "is it ready?". */
__attribute__((constructor)) static void
crc_prepare(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t crc = i;

		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? POLYNOMIAL : 0);
		by_byte[i] = crc;
	}
	shift_prepare(shift_long, LONG);
	shift_prepare(shift_short, SHORT);
	crc_best = crc_table;
#if defined(__x86_64__)
	__builtin_cpu_init();
	if (__builtin_cpu_supports("sse4.2"))
		crc_best = crc_sse;
#endif
}

uint32_t
crc32c(uint32_t seed, const void *p, size_t n)
{
	return ~crc_best(~seed, p, n);
}

uint32_t
crc32c_table(uint32_t seed, const void *p, size_t n)
{
	return ~crc_table(~seed, p, n);
}
