/*
 * inflate.c -- zlib, LZ4 frames and zstd frames to plain bytes, with a cap.
 *
 * The output grows by doubling and never beyond MAX + 1 bytes: the one more tells "too big"
 * from "exactly full".  One stream or frame, and nothing behind it: two frames in one body
 * would be read differently by different clients.
 */
#include "base/inflate.h"

#include <limits.h>
#include <lz4frame.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/bytes.h"
#include "base/err.h"

#define LZ4_MAGIC     0x184d2204u
#define ZSTD_MAGIC    0xfd2fb528u
#define ROOM_SMALLEST 1024

/* How much room to begin with, for IN bytes of input. */
static size_t
first_room(size_t in, size_t max)
{
	size_t room = in < SIZE_MAX / 4 ? in * 4 : in;

	if (room < ROOM_SMALLEST)
		room = ROOM_SMALLEST;
	return room < max + 1 ? room : max + 1;
}

static size_t
next_room(size_t room, size_t max)
{
	return room < (max + 1) / 2 ? room * 2 : max + 1;
}

static int
zlib_err(int ret)
{
	return ret == Z_MEM_ERROR ? ERR_NOMEM : ERR_MALFORMED;
}

static int
inflate_zlib(struct str in, size_t max, struct buf *out)
{
	size_t room = first_room(in.n, max), done = 0;
	z_stream z = { .next_in = (Bytef *)(uintptr_t)in.p, .avail_in = (uInt)in.n };
	int ret = inflateInit(&z);

	if (ret != Z_OK)
		return zlib_err(ret);
	for (;;) {
		z.next_out = (Bytef *)buf_reserve(out, room) + done;
		z.avail_out = (uInt)(room - done);
		ret = inflate(&z, Z_NO_FLUSH);
		done = room - z.avail_out;
		if (ret != Z_OK || z.avail_out || done > max)
			break;
		room = next_room(room, max);
	}
	(void)inflateEnd(&z); /* only says whether the stream was complete, which we know */
	if (done > max)
		return ERR_TOOBIG;
	if (ret != Z_STREAM_END || z.avail_in)
		return zlib_err(ret);
	out->len += done;
	return 0;
}

static int
inflate_lz4(struct str in, size_t max, struct buf *out)
{
	size_t room = first_room(in.n, max), done = 0, taken = 0, hint = 1;
	LZ4F_dctx *d;

	if (in.n < 4 || le_get32(in.p) != LZ4_MAGIC)
		return ERR_MALFORMED; /* also frames that only ask to be skipped */
	if (LZ4F_isError(LZ4F_createDecompressionContext(&d, LZ4F_VERSION)))
		return ERR_NOMEM;
	while (hint) {
		size_t got = room - done, used = in.n - taken;

		hint = LZ4F_decompress(d, buf_reserve(out, room) + done, &got, in.p + taken, &used,
				       NULL);
		if (LZ4F_isError(hint))
			break;
		done += got;
		taken += used;
		if (done > max || (hint && !got && !used && done < room))
			break;
		if (done == room)
			room = next_room(room, max);
	}
	LZ4F_freeDecompressionContext(d);
	if (done > max)
		return ERR_TOOBIG;
	if (hint || taken != in.n)
		return ERR_MALFORMED;
	out->len += done;
	return 0;
}

/*
 * In one call, not as a stream: a stream allocates the window that the frame asks for, which may be
 * far larger than MAX; in one call the output is the window.
 */
static int
inflate_zstd(struct str in, size_t max, struct buf *out)
{
	size_t room = first_room(in.n, max), got;
	unsigned long long told;
	ZSTD_DCtx *d;

	if (in.n < 4 || le_get32(in.p) != ZSTD_MAGIC)
		return ERR_MALFORMED;
	if (ZSTD_findFrameCompressedSize(in.p, in.n) != in.n)
		return ERR_MALFORMED;
	told = ZSTD_getFrameContentSize(in.p, in.n);
	if (told != ZSTD_CONTENTSIZE_UNKNOWN && told != ZSTD_CONTENTSIZE_ERROR)
		room = told < max ? (size_t)told : max + 1;
	d = ZSTD_createDCtx();
	if (!d)
		return ERR_NOMEM;
	for (;;) {
		got = ZSTD_decompressDCtx(d, buf_reserve(out, room), room, in.p, in.n);
		if (ZSTD_getErrorCode(got) != ZSTD_error_dstSize_tooSmall || room > max)
			break;
		room = next_room(room, max);
	}
	ZSTD_freeDCtx(d);
	if (ZSTD_isError(got))
		return ZSTD_getErrorCode(got) == ZSTD_error_dstSize_tooSmall ? ERR_TOOBIG
									     : ERR_MALFORMED;
	if (got > max)
		return ERR_TOOBIG;
	out->len += got;
	return 0;
}

int
inflate_body(enum codec codec, struct str in, size_t max, struct buf *out)
{
	/* zlib counts in 32 bits; nobody's limit comes near. */
	CHECK(max < INT_MAX, max);
	if (in.n > INT_MAX)
		return ERR_TOOBIG;
	switch (codec) {
	case CODEC_NONE:
		if (in.n > max)
			return ERR_TOOBIG;
		buf_str(out, in);
		return 0;
	case CODEC_ZLIB:
		return inflate_zlib(in, max, out);
	case CODEC_LZ4:
		return inflate_lz4(in, max, out);
	case CODEC_ZSTD:
		return inflate_zstd(in, max, out);
	}
	return ERR_MALFORMED;
}
