/*
 * buf.c -- a byte buffer that grows by half of itself, so that appending stays linear.
 */
#include "base/buf.h"

#include <stdarg.h>

#include "base/bytes.h"

#define BUF_SMALLEST 64

char *
buf_reserve(struct buf *b, size_t n)
{
	size_t want = b->len + n;
	size_t cap;

	CHECK(want >= n, n);
	if (want > b->cap || !b->data) {
		cap = b->cap + b->cap / 2;
		if (cap < want)
			cap = want;
		if (cap < BUF_SMALLEST)
			cap = BUF_SMALLEST;
		b->data = mem_grow(b->data, cap);
		b->cap = cap;
	}
	return b->data + b->len;
}

void
buf_add(struct buf *b, const void *p, size_t n)
{
	char *room = buf_reserve(b, n);

	if (n)
		memcpy(room, p, n);
	b->len += n;
}

void
buf_str(struct buf *b, struct str s)
{
	buf_add(b, s.p, s.n);
}

void
buf_u8(struct buf *b, uint8_t v)
{
	buf_add(b, &v, 1);
}

void
buf_le32(struct buf *b, uint32_t v)
{
	le_put32(buf_reserve(b, 4), v);
	b->len += 4;
}

void
buf_le64(struct buf *b, uint64_t v)
{
	le_put64(buf_reserve(b, 8), v);
	b->len += 8;
}

void
buf_varint(struct buf *b, uint64_t v)
{
	b->len += varint_put(buf_reserve(b, VARINT_MAX), v);
}

void
buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list args, again;
	char *room;
	int n;

	CHECK(fmt, b->len);
	room = buf_reserve(b, BUF_SMALLEST);
	va_start(args, fmt);
	va_copy(again, args);
	n = vsnprintf(room, b->cap - b->len, fmt, args);
	va_end(args);
	CHECK(n >= 0, b->len);

	/* One more than is used: vsnprintf() ends with a NUL. */
	if ((size_t)n >= b->cap - b->len)
		n = vsnprintf(buf_reserve(b, (size_t)n + 1), (size_t)n + 1, fmt, again);
	va_end(again);
	b->len += (size_t)n;
}

void
buf_drop(struct buf *b, size_t n)
{
	CHECK(n <= b->len, n);
	if (n && n < b->len)
		memmove(b->data, b->data + n, b->len - n);
	b->len -= n;
}

void
buf_reset(struct buf *b, size_t keep)
{
	if (b->cap > keep)
		buf_free(b);
	b->len = 0;
}

void
buf_free(struct buf *b)
{
	mem_free(b->data);
	*b = BUF_INIT;
}
