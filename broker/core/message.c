/*
 * message.c -- ids as text and bytes; headers, packed and unpacked.
 */
#include "core/message.h"

#include "base/buf.h"
#include "base/bytes.h"
#include "base/err.h"
#include "base/hex.h"

void
gid_format(struct gid g, char ret_text[GID_TEXT])
{
	uint8_t bytes[16];

	gid_bytes(g, bytes);
	hex_put(ret_text, bytes, sizeof(bytes), HEX_LOWER);
	ret_text[32] = '\0';
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int
gid_parse(struct str text, struct gid *ret_gid)
{
	uint64_t word[2] = { 0, 0 };

	if (text.n != 32)
		return ERR_MALFORMED;
	for (size_t i = 0; i < 32; i++) {
		int digit = hex_digit(text.p[i]);

		if (digit < 0)
			return ERR_MALFORMED;
		word[i / 16] = word[i / 16] << 4 | (uint64_t)digit;
	}
	*ret_gid = (struct gid){ word[0], word[1] };
	return 0;
}

void
gid_bytes(struct gid g, uint8_t ret_bytes[16])
{
	be_put64(ret_bytes, g.hi);
	be_put64(ret_bytes + 8, g.lo);
}

/* One header at *AT.  1: *RET_HEADER is set; 0: the end; ERR_MALFORMED. */
static int
step(struct headers h, size_t *at, struct header *ret_header)
{
	struct cursor c = cursor_of(h.bytes);
	struct header header;
	uint64_t len;

	if (*at >= h.bytes.n)
		return 0;
	c.p += *at;
	len = cursor_varint(&c);
	header.name = cursor_str(&c, len);
	len = cursor_varint(&c);
	header.value = len ? cursor_str(&c, len - 1) : STR_NONE;
	if (c.bad)
		return ERR_MALFORMED;
	*at = h.bytes.n - cursor_left(&c);
	*ret_header = header;
	return 1;
}

bool
headers_next(struct headers h, size_t *at, struct header *ret_header)
{
	return step(h, at, ret_header) == 1;
}

int
headers_count(struct headers h)
{
	struct header header;
	size_t at = 0;
	int count = 0;
	int got;

	while ((got = step(h, &at, &header)) == 1)
		count++;
	return got < 0 ? -1 : count;
}

void
headers_add(struct buf *out, struct str name, struct str value)
{
	buf_varint(out, name.n);
	buf_str(out, name);
	buf_varint(out, value.p ? value.n + 1 : 0);
	if (value.p)
		buf_str(out, value);
}
