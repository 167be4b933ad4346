/*
 * mapping.c -- headers of the user, then ours, into one array that is used again and again.
 */
#include "relay/mapping.h"

#include "base/err.h"
#include "base/hex.h"
#include "base/inflate.h"

#define OURS       5              /* headers that we add at most */
#define PLAIN_KEEP (1024u * 1024) /* of the buffer that bodies are inflated into */

struct mapping {
	struct sink_header *headers;
	uint32_t cap;
	struct buf plain;
	uint8_t journal_id[16]; /* whose digits are in seq[] */
	char id[32 + 1 + 10];
	char seq[32 + 1 + 20];
	char size[10];
};

struct mapping *
mapping_new(void)
{
	struct mapping *m = mem_alloc(sizeof(*m));

	memset(m->seq, '0', 32);
	return m;
}

struct mapping *
mapping_free(struct mapping *m)
{
	if (!m)
		return NULL;
	mem_free(m->headers);
	buf_free(&m->plain);
	mem_free(m);
	return NULL;
}

/* Ours instead of snprintf(): four of these for every record. */
static size_t
put_decimal(char *to, uint64_t v)
{
	char digits[20];
	size_t n = 0;

	do {
		digits[n++] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	for (size_t i = 0; i < n; i++)
		to[i] = digits[n - 1 - i];
	return n;
}

static void
put_gid(char to[32], struct gid g)
{
	uint8_t bytes[16];

	for (size_t i = 0; i < 8; i++) {
		bytes[i] = (uint8_t)(g.hi >> (56 - 8 * i));
		bytes[8 + i] = (uint8_t)(g.lo >> (56 - 8 * i));
	}
	hex_put(to, bytes, sizeof(bytes), HEX_LOWER);
}

static void
grow(struct mapping *m, uint32_t need)
{
	if (need <= m->cap)
		return;
	m->cap = (uint32_t)max_u64(need, m->cap * 2);
	m->headers = mem_grow(m->headers, m->cap * sizeof(*m->headers));
}

/* The user's headers; how many, or ERR_MALFORMED. */
static int
users(struct mapping *m, struct headers h)
{
	struct header header;
	size_t at = 0;
	uint32_t n = 0;

	while (headers_next(h, &at, &header)) {
		grow(m, n + 1 + OURS);
		m->headers[n++] = (struct sink_header){ header.name, header.value };
	}
	grow(m, n + OURS);
	return at == h.bytes.n ? (int)n : ERR_MALFORMED;
}

static uint32_t
ours(struct mapping *m, const struct publication *p, uint32_t n)
{
	struct sink_header *h = m->headers;
	size_t len;

	if (p->half->key.n)
		h[n++] = (struct sink_header){ STR("UNIQ_KEY"), p->half->key };

	put_gid(m->id, p->half->gid);
	m->id[32] = '-';
	len = 33 + put_decimal(m->id + 33, p->index);
	h[n++] = (struct sink_header){ STR("escrow-id"), { m->id, len } };

	h[n++] = (struct sink_header){ STR("escrow-group"), p->half->group };

	if (memcmp(m->journal_id, p->journal_id, 16) != 0) {
		memcpy(m->journal_id, p->journal_id, 16);
		hex_put(m->seq, m->journal_id, sizeof(m->journal_id), HEX_LOWER);
	}
	m->seq[32] = ':';
	len = 33 + put_decimal(m->seq + 33, p->n);
	h[n++] = (struct sink_header){ STR("escrow-seq"), { m->seq, len } };

	if (p->half->count > 1) {
		len = put_decimal(m->size, p->half->count);
		h[n++] = (struct sink_header){ STR("escrow-txn-size"), { m->size, len } };
	}
	return n;
}

int
mapping_record(struct mapping *m, const struct publication *p, struct sink_record *ret_record)
{
	const struct message *message;
	struct str value;
	int n, err;

	CHECK(p->index < p->half->count, p->half->gid.lo);
	message = &p->half->messages[p->index];
	value = message->value;
	if (message->codec != CODEC_NONE && value.p) {
		buf_reset(&m->plain, PLAIN_KEEP);
		err = inflate_body(message->codec, value, message->plain_bytes, &m->plain);
		if (err)
			return err;
		/* An empty body stays empty; it does not become none. */
		value = m->plain.len ? buf_as_str(&m->plain) : STR("");
	}
	n = users(m, message->headers);
	if (n < 0)
		return n;
	*ret_record = (struct sink_record){
		.topic = message->topic,
		.partition = p->partition,
		.key = message->key,
		.value = value,
		.timestamp_ms = p->ms,
		.header_count = ours(m, p, (uint32_t)n),
		.headers = m->headers,
	};
	return 0;
}
