/*
 * crc.c -- CRC32C three ways: by table, by instruction, by instruction three at a time.
 *
 * The crc32 instruction has a latency of three cycles and a throughput of one, so three
 * independent streams run as fast as one:
 *
 *      |--- a: words ---|--- b: words ---|--- c: words ---|   crc = shift2(a) ^ shift(b) ^ c
 *
 * shift() moves a register over one stream of zero bytes: in the polynomials that bits stand for,
 * times x^(64 words) modulo P.  A carry-less multiplication does that with the constant
 * x^(64 words - 33), because the 64 bits of its product stand one place too low (x), and the
 * crc32 instruction, which reduces them, brings 32 more.  There is a constant for every length, so
 * that a record of 1200 bytes is cut into three as well as a megabyte.
 */
#include "base/crc.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#include <wmmintrin.h>
#endif

#include "base/bytes.h"

#define POLYNOMIAL 0x82f63b78u /* Castagnoli, bits reversed */
#define WORDS_MAX  128u        /* of one stream */

typedef uint32_t (*crc_fn)(uint32_t crc, const uint8_t *p, size_t n);

static uint32_t by_byte[256];
static crc_fn crc_best;

static uint32_t
crc_table(uint32_t crc, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		crc = crc >> 8 ^ by_byte[(crc ^ p[i]) & 0xff];
	return crc;
}

#if defined(__x86_64__)
#define TARGET __attribute__((target("sse4.2,pclmul")))

static uint64_t shift_by[2 * WORDS_MAX + 1]; /* [n]: over n words */

static void
shift_prepare(void)
{
	static const uint8_t zeroes[8];

	shift_by[1] = 1; /* x^31, its bits reversed */
	for (size_t words = 2; words <= 2 * WORDS_MAX; words++)
		shift_by[words] = crc_table((uint32_t)shift_by[words - 1], zeroes, 8);
}

/* The product, 64 bits that are yet to be reduced. */
TARGET static inline uint64_t
shift(uint64_t crc, size_t words)
{
	__m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128((int64_t)crc),
					       _mm_cvtsi64_si128((int64_t)shift_by[words]), 0);

	return (uint64_t)_mm_cvtsi128_si64(product);
}

TARGET static inline uint64_t
three(uint64_t a, const uint8_t *p, size_t words)
{
	const uint8_t *q = p + 8 * words, *r = q + 8 * words;
	uint64_t b = 0, c = 0;

	for (size_t i = 0; i < 8 * words; i += 8) {
		a = _mm_crc32_u64(a, le_get64(p + i));
		b = _mm_crc32_u64(b, le_get64(q + i));
		c = _mm_crc32_u64(c, le_get64(r + i));
	}
	return _mm_crc32_u64(0, shift(a, 2 * words) ^ shift(b, words)) ^ c;
}

TARGET static uint32_t
crc_sse(uint32_t crc, const uint8_t *p, size_t n)
{
	uint64_t a = crc;

	while (n >= 3 * 8 * 4) { /* below, putting together costs more than it spares */
		size_t words = n / (3 * 8) < WORDS_MAX ? n / (3 * 8) : WORDS_MAX;

		a = three(a, p, words);
		p += 3 * 8 * words;
		n -= 3 * 8 * words;
	}
	for (; n >= 8; n -= 8, p += 8)
		a = _mm_crc32_u64(a, le_get64(p));
	if (n & 4) {
		a = _mm_crc32_u32((uint32_t)a, le_get32(p));
		p += 4;
	}
	for (n &= 3; n; n--, p++)
		a = _mm_crc32_u8((uint32_t)a, *p);
	return (uint32_t)a;
}
#endif

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
	crc_best = crc_table;
#if defined(__x86_64__)
	shift_prepare();
	__builtin_cpu_init();
	if (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul"))
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
