/*
 * crc.c -- CRC32C three ways: by table, by instruction, by instruction three at a time.
 *
 * The crc32 instruction has a latency of three cycles and a throughput of one, so three
 * independent streams run as fast as one:
 *
 *      |--- a: BLOCK ---|--- b: BLOCK ---|--- c: BLOCK ---|      crc = shift(shift(a) ^ b) ^ c
 *
 * shift() moves a register over BLOCK zero bytes.  That is linear in the register's bits, so four
 * look-ups do it; their tables follow from what happens to each single bit.
 */
#include "base/crc.h"

#include "base/bytes.h"

#define POLYNOMIAL 0x82f63b78u /* Castagnoli, bits reversed */
#define BLOCK      1024u       /* of one stream; a multiple of 8 */

typedef uint32_t (*crc_fn)(uint32_t crc, const uint8_t *p, size_t n);

static uint32_t by_byte[256];
static uint32_t shift_by[4][256];
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
shift(uint32_t crc)
{
	return shift_by[0][crc & 0xff] ^ shift_by[1][crc >> 8 & 0xff] ^
	       shift_by[2][crc >> 16 & 0xff] ^ shift_by[3][crc >> 24];
}

__attribute__((target("sse4.2"))) static uint32_t
crc_sse(uint32_t crc, const uint8_t *p, size_t n)
{
	uint64_t a = crc;

	for (; n >= 3 * BLOCK; n -= 3 * BLOCK, p += 3 * BLOCK) {
		uint64_t b = 0, c = 0;

		for (size_t i = 0; i < BLOCK; i += 8) {
			a = __builtin_ia32_crc32di(a, le_get64(p + i));
			b = __builtin_ia32_crc32di(b, le_get64(p + BLOCK + i));
			c = __builtin_ia32_crc32di(c, le_get64(p + 2 * BLOCK + i));
		}
		a = shift(shift((uint32_t)a) ^ (uint32_t)b) ^ (uint32_t)c;
	}
	for (; n >= 8; n -= 8, p += 8)
		a = __builtin_ia32_crc32di(a, le_get64(p));
	for (; n; n--, p++)
		a = __builtin_ia32_crc32qi((uint32_t)a, *p);
	return (uint32_t)a;
}
#endif

/* Before main() and before any thread, so that crc32c() needs no "is it ready?". */
__attribute__((constructor)) static void
crc_prepare(void)
{
	static const uint8_t zeroes[BLOCK];

	for (uint32_t i = 0; i < 256; i++) {
		uint32_t crc = i;

		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? POLYNOMIAL : 0);
		by_byte[i] = crc;
	}
	for (uint32_t bit = 0; bit < 32; bit++) {
		uint32_t moved = crc_table(1u << bit, zeroes, BLOCK);

		for (uint32_t i = 0; i < 256; i++) {
			if (i >> (bit % 8) & 1)
				shift_by[bit / 8][i] ^= moved;
		}
	}
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
