/*
 * record.c -- the frame of a record and of a group: length, type, checksum, place.
 *
 * A record's bytes are good for one place of one segment only, so the checksum begins with both.
 * What is inside is of record_body.h.
 */
#include "journal/record.h"

#include "base/bytes.h"
#include "base/canary.h"
#include "base/crc.h"
#include "base/err.h"
#include "journal/record_body.h"

size_t
record_bound(const struct entry *e)
{
	return RECORD_HEAD_MAX + body_bound(e);
}

size_t
record_encode(const struct entry *e, uint8_t *out)
{
	uint8_t length[VARINT_MAX];
	size_t bound = body_bound(e);
	size_t guess = varint_put(length, bound);
	uint8_t *body = out + 5 + guess;
	size_t n = body_put(e, body, bound), used;

	CHECK(n <= UINT32_MAX, n);
	used = varint_put(length, n);
	/* Only where the bound and the length lie on two sides of a power of 128. */
	if (used != guess)
		memmove(out + 5 + used, body, n);
	memset(out, 0, 4);
	out[4] = (uint8_t)e->type;
	memcpy(out + 5, length, used);
	return 5 + used + n;
}

static uint32_t
seed_of(uint64_t segment, uint64_t lsn)
{
	uint8_t b[16];

	le_put64(b, segment);
	le_put64(b + 8, lsn);
	return crc32c(0, b, sizeof(b));
}

void
record_seal(uint8_t *record, size_t len, uint64_t segment, uint64_t lsn)
{
	CHECK(len >= RECORD_HEAD_MIN, lsn);
	le_put32(record, crc32c(seed_of(segment, lsn), record + 4, len - 4));
}

int
record_length(struct str bytes, uint64_t *ret_len)
{
	struct cursor c = cursor_of(bytes);
	uint64_t n;

	if (bytes.n < RECORD_HEAD_MIN)
		return ERR_AGAIN;
	(void)cursor_take(&c, 5);
	n = cursor_varint(&c);
	if (c.bad)
		return bytes.n < RECORD_HEAD_MAX ? ERR_AGAIN : ERR_MALFORMED;
	if (n > UINT32_MAX - RECORD_HEAD_MAX)
		return ERR_MALFORMED;
	*ret_len = bytes.n - cursor_left(&c) + n;
	return 0;
}

int
record_open_ours(struct str bytes, uint64_t lsn, struct record *ret_record)
{
	const uint8_t *p = (const uint8_t *)bytes.p;
	struct cursor c = cursor_of(bytes);
	uint64_t len;

	if (record_length(bytes, &len) < 0 || len > bytes.n)
		return ERR_CORRUPT;
	(void)cursor_take(&c, 5);
	ret_record->type = p[4];
	ret_record->body = cursor_str(&c, cursor_varint(&c));
	ret_record->len = (uint32_t)len;
	CHECK(!c.bad, lsn);
	return 0;
}

int
record_open(struct str bytes, uint64_t segment, uint64_t lsn, struct record *ret_record)
{
	const uint8_t *p = (const uint8_t *)bytes.p;

	if (record_open_ours(bytes, lsn, ret_record))
		return ERR_CORRUPT;
	if (le_get32(p) != crc32c(seed_of(segment, lsn), p + 4, (size_t)ret_record->len - 4))
		return ERR_CORRUPT;
	return 0;
}

int
record_decode(const struct record *r, struct record_scratch *s, struct entry *ret_entry)
{
	memset(ret_entry, 0, sizeof(*ret_entry));
	ret_entry->type = (enum entry_type)r->type;
	return body_get(r->body, s, ret_entry);
}

const char *
record_type_name(uint8_t type)
{
	switch ((enum entry_type)type) {
	case ENTRY_STATE:
		return "state";
	case ENTRY_HALF:
		return "half";
	case ENTRY_DECISION:
		return "decision";
	case ENTRY_GENERATION:
		return "generation";
	case ENTRY_CHECKS:
		return "checks";
	case ENTRY_RESUMED:
		return "resumed";
	case ENTRY_PUBLISHED:
		return "published";
	case ENTRY_REFUSED:
		return "refused";
	case ENTRY_RETRIED:
		return "retried";
	case ENTRY_DISCARDED:
		return "discarded";
	case ENTRY_TOPIC:
		return "topic";
	case ENTRY_STUB:
		return "stub";
	case ENTRY_COPY:
		return "copy";
	case ENTRY_AUDIT:
		return "audit";
	case ENTRY_OLDEST:
		return "oldest";
	case ENTRY_CLUSTER:
		return "cluster";
	}
	return "?";
}

/* ---- the group's header ---------------------------------------------------------------------- */

/* Bytes of a group's header that its checksum covers: all before it. */
#define GROUP_CHECKED (CANARY(CRC_WITHOUT_LENGTH) ? 28u : 36u)

void
group_encode(const struct group_header *g, uint64_t segment, uint8_t ret_bytes[GROUP_HEADER])
{
	le_put32(ret_bytes, GROUP_MAGIC);
	ret_bytes[4] = g->incompatible;
	ret_bytes[5] = g->compatible;
	le_put16(ret_bytes + 6, g->padding);
	le_put64(ret_bytes + 8, g->lsn);
	le_put64(ret_bytes + 16, g->durable_lsn);
	le_put32(ret_bytes + 24, g->epoch);
	le_put32(ret_bytes + 28, g->length);
	le_put32(ret_bytes + 32, g->records);
	le_put32(ret_bytes + 36, crc32c(seed_of(segment, g->lsn), ret_bytes, GROUP_CHECKED));
}

int
group_decode(const uint8_t bytes[GROUP_HEADER], uint64_t segment, uint64_t lsn,
	     struct group_header *ret_group)
{
	struct group_header g;

	if (le_get32(bytes) != GROUP_MAGIC)
		return ERR_CORRUPT;
	g.incompatible = bytes[4];
	g.compatible = bytes[5];
	g.padding = le_get16(bytes + 6);
	g.lsn = le_get64(bytes + 8);
	g.durable_lsn = le_get64(bytes + 16);
	g.epoch = le_get32(bytes + 24);
	g.length = le_get32(bytes + 28);
	g.records = le_get32(bytes + 32);
	if (lsn && g.lsn != lsn)
		return ERR_CORRUPT;
	if (le_get32(bytes + 36) != crc32c(seed_of(segment, g.lsn), bytes, GROUP_CHECKED))
		return ERR_CORRUPT;
	if (g.durable_lsn > g.lsn)
		return ERR_CORRUPT;
	*ret_group = g;
	return g.incompatible & ~GROUP_INCOMPATIBLE ? ERR_VERSION : 0;
}
