/*
 * test_inflate.c -- consumers must get the body that the producer meant, and a few kilobytes of
 * bad will must not become gigabytes of memory.
 */
#include <lz4frame.h>
#include <zlib.h>
#include <zstd.h>

#include "base/base.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/inflate.h"
#include "unit.h"

#define BIG (3u << 20)

static const enum codec codecs[] = { CODEC_ZLIB, CODEC_LZ4, CODEC_ZSTD };

/* Compressed form of P by CODEC; the caller frees. */
static struct buf
deflated(enum codec codec, const void *p, size_t n)
{
	size_t room = n + n / 10 + 1024;
	struct buf out = BUF_INIT;
	char *to = buf_reserve(&out, room);
	uLongf z = room;

	switch (codec) {
	case CODEC_NONE:
		memcpy(to, p, n);
		out.len = n;
		break;
	case CODEC_ZLIB:
		ck_assert_int_eq(compress2((Bytef *)to, &z, p, n, 5), Z_OK);
		out.len = z;
		break;
	case CODEC_LZ4:
		out.len = LZ4F_compressFrame(to, room, p, n, NULL);
		ck_assert(!LZ4F_isError(out.len));
		break;
	case CODEC_ZSTD:
		out.len = ZSTD_compress(to, room, p, n, 3);
		ck_assert(!ZSTD_isError(out.len));
		break;
	}
	return out;
}

/* Half text, half noise, so that every codec has both kinds of blocks. */
static char *
body(size_t n)
{
	char *p = mem_alloc(n);

	for (size_t i = 0; i < n; i++)
		p[i] = i % 8192 < 4096 ? (char)('a' + i % 7) : (char)hash_u64(i);
	return p;
}

START_TEST(gives_back_every_size)
{
	static const size_t sizes[] = { 0, 1, 2, 100, 1023, 1024, 4096, 65536, 65537, 300000, BIG };
	char *plain = body(BIG);

	for (size_t c = 0; c < ARRAY_LEN(codecs); c++) {
		for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
			struct buf in = deflated(codecs[c], plain, sizes[i]), out = BUF_INIT;

			buf_str(&out, STR("before"));
			/* Exactly the limit is allowed. */
			ck_assert_int_eq(inflate_body(codecs[c], buf_as_str(&in), sizes[i], &out),
					 0);
			ck_assert_uint_eq(out.len, sizes[i] + 6);
			ck_assert_mem_eq(out.data, "before", 6);
			if (sizes[i])
				ck_assert_mem_eq(out.data + 6, plain, sizes[i]);
			buf_free(&in);
			buf_free(&out);
		}
	}
	mem_free(plain);
}
END_TEST

START_TEST(one_byte_over_the_limit_is_refused)
{
	static const size_t sizes[] = { 1, 1024, 65536, 300000 };
	char *plain = body(300000);

	for (size_t c = 0; c < ARRAY_LEN(codecs); c++) {
		for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
			struct buf in = deflated(codecs[c], plain, sizes[i]), out = BUF_INIT;

			ck_assert_int_eq(inflate_body(codecs[c], buf_as_str(&in), sizes[i] - 1,
						      &out),
					 ERR_TOOBIG);
			ck_assert_uint_eq(out.len, 0);
			buf_free(&in);
			buf_free(&out);
		}
	}
	mem_free(plain);
}
END_TEST

START_TEST(a_bomb_does_not_fill_memory)
{
	size_t n = 200u << 20, max = 1u << 20;
	char *zeroes = mem_alloc(n);

	for (size_t c = 0; c < ARRAY_LEN(codecs); c++) {
		struct buf in = deflated(codecs[c], zeroes, n), out = BUF_INIT;

		ck_assert_uint_lt(in.len, 2u << 20);
		ck_assert_int_eq(inflate_body(codecs[c], buf_as_str(&in), max, &out), ERR_TOOBIG);
		ck_assert_uint_le(out.cap, 2 * max + 4096);
		buf_free(&in);
		buf_free(&out);
	}
	mem_free(zeroes);
}
END_TEST

/* A zstd stream does not tell its size: the Java client's stream class makes such frames. */
START_TEST(a_zstd_frame_without_its_size_is_read)
{
	char *plain = body(BIG);
	ZSTD_CCtx *z = ZSTD_createCCtx();
	struct buf in = BUF_INIT, out = BUF_INIT;
	ZSTD_inBuffer from = { plain, BIG, 0 };
	ZSTD_outBuffer to = { buf_reserve(&in, 2 * BIG), 2 * BIG, 0 };

	ck_assert_uint_eq(ZSTD_compressStream2(z, &to, &from, ZSTD_e_continue), 0 * to.pos);
	ck_assert_uint_eq(ZSTD_compressStream2(z, &to, &from, ZSTD_e_end), 0);
	in.len = to.pos;
	ck_assert(ZSTD_getFrameContentSize(in.data, in.len) == ZSTD_CONTENTSIZE_UNKNOWN);
	ck_assert_int_eq(inflate_body(CODEC_ZSTD, buf_as_str(&in), 4u << 20, &out), 0);
	ck_assert_uint_eq(out.len, BIG);
	ck_assert_mem_eq(out.data, plain, BIG);
	out.len = 0;
	ck_assert_int_eq(inflate_body(CODEC_ZSTD, buf_as_str(&in), BIG - 1, &out), ERR_TOOBIG);
	ZSTD_freeCCtx(z);
	buf_free(&in);
	buf_free(&out);
	mem_free(plain);
}
END_TEST

START_TEST(cut_bytes_and_bytes_behind_are_refused)
{
	char *plain = body(5000);

	for (size_t c = 0; c < ARRAY_LEN(codecs); c++) {
		struct buf in = deflated(codecs[c], plain, 5000), out = BUF_INIT;

		for (size_t n = 0; n < in.len; n += 1 + n / 50)
			ck_assert_int_eq(inflate_body(codecs[c], str_from(in.data, n), 1 << 20,
						      &out),
					 ERR_MALFORMED);
		buf_u8(&in, 0);
		ck_assert_int_eq(inflate_body(codecs[c], buf_as_str(&in), 1 << 20, &out),
				 ERR_MALFORMED);
		in.len--;
		buf_add(&in, in.data, 0);
		/* Two frames, each good. */
		char *twice = mem_alloc(in.len * 2);
		memcpy(twice, in.data, in.len);
		memcpy(twice + in.len, in.data, in.len);
		ck_assert_int_eq(inflate_body(codecs[c], str_from(twice, in.len * 2), 1 << 20,
					      &out),
				 ERR_MALFORMED);
		ck_assert_uint_eq(out.len, 0);
		mem_free(twice);
		buf_free(&in);
		buf_free(&out);
	}
	mem_free(plain);
}
END_TEST

/* Damage is either seen or harmless; never a crash, never more than the limit. */
START_TEST(damaged_bytes_stay_within_the_limit)
{
	char *plain = body(5000);

	for (size_t c = 0; c < ARRAY_LEN(codecs); c++) {
		struct buf in = deflated(codecs[c], plain, 5000), out = BUF_INIT;

		for (size_t at = 0; at < in.len; at++) {
			char was = in.data[at];
			int err;

			in.data[at] = (char)(was ^ (char)(1 << at % 8));
			out.len = 0;
			err = inflate_body(codecs[c], buf_as_str(&in), 6000, &out);
			ck_assert(err == 0 || err == ERR_MALFORMED || err == ERR_TOOBIG ||
				  err == ERR_NOMEM);
			ck_assert_uint_le(out.len, err ? 0 : 6000);
			in.data[at] = was;
		}
		buf_free(&in);
		buf_free(&out);
	}
	mem_free(plain);
}
END_TEST

START_TEST(frames_that_only_ask_to_be_skipped_are_refused)
{
	static const char skip[] = "\x50\x2a\x4d\x18\x04\x00\x00\x00"
				   "abcd";
	struct buf out = BUF_INIT;

	ck_assert_int_eq(inflate_body(CODEC_LZ4, str_from(skip, 12), 100, &out), ERR_MALFORMED);
	ck_assert_int_eq(inflate_body(CODEC_ZSTD, str_from(skip, 12), 100, &out), ERR_MALFORMED);
	buf_free(&out);
}
END_TEST

START_TEST(plain_bodies_pass)
{
	struct buf out = BUF_INIT;

	ck_assert_int_eq(inflate_body(CODEC_NONE, STR("hello"), 5, &out), 0);
	ck_assert(str_eq(buf_as_str(&out), STR("hello")));
	ck_assert_int_eq(inflate_body(CODEC_NONE, STR("hello"), 4, &out), ERR_TOOBIG);
	ck_assert_int_eq(inflate_body((enum codec)9, STR("hello"), 5, &out), ERR_MALFORMED);
	buf_free(&out);
}
END_TEST

UNIT("inflate", gives_back_every_size, one_byte_over_the_limit_is_refused,
     a_bomb_does_not_fill_memory, a_zstd_frame_without_its_size_is_read,
     cut_bytes_and_bytes_behind_are_refused, damaged_bytes_stay_within_the_limit,
     frames_that_only_ask_to_be_skipped_are_refused, plain_bodies_pass);
