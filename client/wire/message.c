/*
 * message.c -- a stored message as the body of a check carries it, its CRC, and offsetMsgId.
 *
 *      i32 size | u32 magic | i32 crc32(body) | i32 queueId | i32 flag | i64 queueOffset
 *      i64 physicalOffset | i32 sysFlag | i64 bornTs | born ip(4|16) i32 port | i64 storeTs
 *      store ip(4|16) i32 port | i32 reconsumeTimes | i64 preparedOffset
 *      i32 n, body | u8 n, topic | i16 n, properties
 */
#include "wire/codec.h"
#include "wire/wire.h"

#define MAGIC     0xDAA320A7u /* the first version: old clients know no other    */
#define FIXED     (4 + 4 + 4 + 4 + 4 + 8 + 8 + 4 + 8 + 4 + 8 + 4 + 4 + 8 + 4 + 1 + 2)
#define TOPIC_MAX 127
#define BLOCK_MAX 32767

/* ---- CRC-32 ------------------------------------------------------------------------------ */

/*
 * Eight bytes a step.  The table of a step is linear over exclusive or, so its 256 entries
 * follow from the eight of the single bits; the macros below let the compiler do it.
 */
#define E(i, a, b, c, d, e, f, g, h)                                                               \
	(((i)&1 ? (a) : 0) ^ ((i)&2 ? (b) : 0) ^ ((i)&4 ? (c) : 0) ^ ((i)&8 ? (d) : 0) ^           \
	 ((i)&16 ? (e) : 0) ^ ((i)&32 ? (f) : 0) ^ ((i)&64 ? (g) : 0) ^ ((i)&128 ? (h) : 0))
#define E4(i, ...)                                                                                 \
	E((i), __VA_ARGS__), E((i) + 1, __VA_ARGS__), E((i) + 2, __VA_ARGS__),                     \
		E((i) + 3, __VA_ARGS__)
#define E16(i, ...)                                                                                \
	E4((i), __VA_ARGS__), E4((i) + 4, __VA_ARGS__), E4((i) + 8, __VA_ARGS__),                  \
		E4((i) + 12, __VA_ARGS__)
#define E64(i, ...)                                                                                \
	E16((i), __VA_ARGS__), E16((i) + 16, __VA_ARGS__), E16((i) + 32, __VA_ARGS__),             \
		E16((i) + 48, __VA_ARGS__)
#define TABLE(...)                                                                                 \
	{                                                                                          \
		E64(0, __VA_ARGS__), E64(64, __VA_ARGS__), E64(128, __VA_ARGS__),                  \
			E64(192, __VA_ARGS__)                                                      \
	}

static const uint32_t crc_table[8][256] = {
	TABLE(0x77073096, 0xEE0E612C, 0x076DC419, 0x0EDB8832, 0x1DB71064, 0x3B6E20C8, 0x76DC4190,
	      0xEDB88320),
	TABLE(0x191B3141, 0x32366282, 0x646CC504, 0xC8D98A08, 0x4AC21251, 0x958424A2, 0xF0794F05,
	      0x3B83984B),
	TABLE(0x01C26A37, 0x0384D46E, 0x0709A8DC, 0x0E1351B8, 0x1C26A370, 0x384D46E0, 0x709A8DC0,
	      0xE1351B80),
	TABLE(0xB8BC6765, 0xAA09C88B, 0x8F629757, 0xC5B428EF, 0x5019579F, 0xA032AF3E, 0x9B14583D,
	      0xED59B63B),
	TABLE(0x3D6029B0, 0x7AC05360, 0xF580A6C0, 0x30704BC1, 0x60E09782, 0xC1C12F04, 0x58F35849,
	      0xB1E6B092),
	TABLE(0xCB5CD3A5, 0x4DC8A10B, 0x9B914216, 0xEC53826D, 0x03D6029B, 0x07AC0536, 0x0F580A6C,
	      0x1EB014D8),
	TABLE(0xA6770BB4, 0x979F1129, 0xF44F2413, 0x33EF4E67, 0x67DE9CCE, 0xCFBD399C, 0x440B7579,
	      0x8816EAF2),
	TABLE(0xCCAA009E, 0x4225077D, 0x844A0EFA, 0xD3E51BB5, 0x7CBB312B, 0xF9766256, 0x299DC2ED,
	      0x533B85DA),
};

uint32_t
wire_crc32(const void *p, size_t n)
{
	const uint8_t *b = p;
	uint32_t crc = 0xFFFFFFFF;

	for (; n >= 8; n -= 8, b += 8) {
		uint32_t lo = crc ^ ((uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 |
				     (uint32_t)b[3] << 24);

		crc = crc_table[7][lo & 255] ^ crc_table[6][lo >> 8 & 255] ^
		      crc_table[5][lo >> 16 & 255] ^ crc_table[4][lo >> 24] ^ crc_table[3][b[4]] ^
		      crc_table[2][b[5]] ^ crc_table[1][b[6]] ^ crc_table[0][b[7]];
	}
	for (; n > 0; n--)
		crc = crc_table[0][(crc ^ *b++) & 255] ^ crc >> 8;
	return ~crc;
}

/* ---- the message ------------------------------------------------------------------------- */

size_t
wire_message_size(const struct wire_message *m)
{
	return FIXED + (size_t)m->born_ip_len + m->store_ip_len + m->body.n + m->topic.n +
	       m->properties.n;
}

int
wire_message_encode(const struct wire_message *m, void *buf, size_t room)
{
	uint8_t *p = buf;
	size_t size = wire_message_size(m);
	uint32_t sys_flag =
		(uint32_t)m->sys_flag & ~(uint32_t)(WIRE_SYS_BORNHOST_V6 | WIRE_SYS_STOREHOST_V6);

	if (m->topic.n > TOPIC_MAX || m->properties.n > BLOCK_MAX || size > WIRE_FRAME_MAX)
		return WIRE_E_TOO_BIG;
	if ((m->born_ip_len != 4 && m->born_ip_len != 16) ||
	    (m->store_ip_len != 4 && m->store_ip_len != 16))
		return WIRE_E_MALFORMED;
	if (size > room)
		return WIRE_E_ROOM;
	if (m->born_ip_len == 16)
		sys_flag |= WIRE_SYS_BORNHOST_V6;
	if (m->store_ip_len == 16)
		sys_flag |= WIRE_SYS_STOREHOST_V6;

	p = put32(p, (uint32_t)size);
	p = put32(p, MAGIC);
	p = put32(p, wire_crc32(m->body.p, m->body.n) & 0x7FFFFFFF);
	p = put32(p, (uint32_t)m->queue_id);
	p = put32(p, (uint32_t)m->flag);
	p = put64(p, (uint64_t)m->queue_offset);
	p = put64(p, (uint64_t)m->physical_offset);
	p = put32(p, sys_flag);
	p = put64(p, (uint64_t)m->born_timestamp);
	p = put_bytes(p, m->born_ip, m->born_ip_len);
	p = put32(p, (uint32_t)m->born_port);
	p = put64(p, (uint64_t)m->store_timestamp);
	p = put_bytes(p, m->store_ip, m->store_ip_len);
	p = put32(p, (uint32_t)m->store_port);
	p = put32(p, (uint32_t)m->reconsume_times);
	p = put64(p, (uint64_t)m->prepared_offset);
	p = put32(p, (uint32_t)m->body.n);
	p = put_bytes(p, m->body.p, m->body.n);
	*p++ = (uint8_t)m->topic.n;
	p = put_bytes(p, m->topic.p, m->topic.n);
	p = put16(p, (uint16_t)m->properties.n);
	put_bytes(p, m->properties.p, m->properties.n);
	return 0;
}

/* A cursor over bytes from outside: past the end everything reads as zero, and BAD says so. */
struct in {
	const uint8_t *p;
	const uint8_t *end;
	bool bad;
};

static const uint8_t *
in_bytes(struct in *in, size_t n)
{
	static const uint8_t zero[16];
	const uint8_t *p = in->p;

	if ((size_t)(in->end - p) < n) {
		in->bad = true;
		return n <= sizeof(zero) ? zero : NULL;
	}
	in->p += n;
	return p;
}

static int32_t
in32(struct in *in)
{
	return (int32_t)get32(in_bytes(in, 4));
}

static int64_t
in64(struct in *in)
{
	return (int64_t)get64(in_bytes(in, 8));
}

static struct wire_str
in_str(struct in *in, int32_t n)
{
	if (n < 0)
		in->bad = true;
	if (in->bad)
		return (struct wire_str){ NULL, 0 };

	const uint8_t *p = in_bytes(in, (size_t)n);

	return in->bad ? (struct wire_str){ NULL, 0 }
		       : (struct wire_str){ (const char *)p, (size_t)n };
}

int
wire_message_decode(const void *p, size_t n, struct wire_message *ret_message)
{
	struct in in = { .p = p, .end = (const uint8_t *)p + n };
	struct wire_message m = { 0 };

	if (n < FIXED)
		return WIRE_E_MALFORMED;

	int32_t size = in32(&in);
	uint32_t magic = (uint32_t)in32(&in);
	uint32_t crc = (uint32_t)in32(&in);

	if (size < 0 || (size_t)size != n || magic != MAGIC)
		return WIRE_E_MALFORMED;
	m.queue_id = in32(&in);
	m.flag = in32(&in);
	m.queue_offset = in64(&in);
	m.physical_offset = in64(&in);
	m.sys_flag = in32(&in);
	m.born_ip_len = m.sys_flag & WIRE_SYS_BORNHOST_V6 ? 16 : 4;
	m.store_ip_len = m.sys_flag & WIRE_SYS_STOREHOST_V6 ? 16 : 4;
	m.born_timestamp = in64(&in);
	memcpy(m.born_ip, in_bytes(&in, m.born_ip_len), m.born_ip_len);
	m.born_port = in32(&in);
	m.store_timestamp = in64(&in);
	memcpy(m.store_ip, in_bytes(&in, m.store_ip_len), m.store_ip_len);
	m.store_port = in32(&in);
	m.reconsume_times = in32(&in);
	m.prepared_offset = in64(&in);
	m.body = in_str(&in, in32(&in));
	m.topic = in_str(&in, *in_bytes(&in, 1));
	m.properties = in_str(&in, (int16_t)get16(in_bytes(&in, 2)));
	if (in.bad || in.p != in.end || m.topic.n > TOPIC_MAX)
		return WIRE_E_MALFORMED;
	if ((wire_crc32(m.body.p, m.body.n) & 0x7FFFFFFF) != crc)
		return WIRE_E_MALFORMED;
	*ret_message = m;
	return 0;
}

/* ---- ids --------------------------------------------------------------------------------- */

static char *
put_hex(char *to, const uint8_t *p, size_t n)
{
	static const char digits[] = "0123456789ABCDEF";

	for (size_t i = 0; i < n; i++) {
		*to++ = digits[p[i] >> 4];
		*to++ = digits[p[i] & 15];
	}
	return to;
}

void
wire_msg_id_format(const uint8_t *ip, uint8_t ip_len, int32_t port, int64_t offset,
		   char ret_text[WIRE_MSG_ID_TEXT])
{
	uint8_t tail[12];
	char *to = put_hex(ret_text, ip, ip_len == 16 ? 16 : 4);

	put64(put32(tail, (uint32_t)port), (uint64_t)offset);
	*put_hex(to, tail, sizeof(tail)) = '\0';
}

int
wire_msg_id_parse(struct wire_str text, int64_t *ret_offset)
{
	uint64_t v = 0;

	if (text.n != 32 && text.n != 56)
		return WIRE_E_MALFORMED;
	for (size_t i = 0; i < text.n; i++) {
		int digit = wire_hex_digit(text.p[i]);

		if (digit < 0)
			return WIRE_E_MALFORMED;
		v = v << 4 | (uint64_t)digit; /* the last sixteen digits stay */
	}
	if (v > INT64_MAX)
		return WIRE_E_MALFORMED;
	*ret_offset = (int64_t)v;
	return 0;
}
