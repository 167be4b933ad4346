/*
 * scan.c -- from the bytes of a segment to groups and records, trusting nothing.
 *
 * One parser for recovery, reclaim and the tools: it is handed bytes and asks for more, so the
 * same code runs where reading blocks and where it must not.  A length is believed only after
 * the checksum over it was right, and only as far as the group and the segment reach.
 */
#include "journal/internal.h"

#include "base/bytes.h"
#include "base/err.h"

void
scan_init(struct scan *s, uint64_t segment, uint64_t base, uint64_t limit)
{
	uint8_t *buf = s->buf;
	size_t cap = s->cap;

	memset(s, 0, sizeof(*s));
	s->buf = buf;
	s->cap = cap;
	s->segment = segment;
	s->base = base;
	s->limit = limit;
	s->file_end = UINT64_MAX;
	s->file_size = UINT64_MAX;
}

void
scan_done(struct scan *s)
{
	mem_free(s->buf);
	memset(s, 0, sizeof(*s));
}

void *
scan_room(struct scan *s, size_t ahead, size_t *ret_len)
{
	size_t n = s->want_len > ahead ? s->want_len : ahead;

	n = (size_t)min_u64(n, s->limit > s->want_at ? s->limit - s->want_at : n);
	n = (size_t)min_u64(n, s->file_size > s->want_at ? s->file_size - s->want_at : n);
	if (n < s->want_len)
		n = s->want_len;
	if (n > s->cap) {
		mem_free(s->buf);
		s->buf = mem_grow(NULL, n);
		s->cap = n;
	}
	s->buf_at = s->want_at;
	s->len = 0;
	*ret_len = n;
	return s->buf;
}

void
scan_fed(struct scan *s, size_t asked, size_t got)
{
	s->len = got;
	if (got < asked)
		s->file_end = s->buf_at + got;
}

/* N bytes at offset AT; NULL: not here, and *RET says why. */
static const uint8_t *
bytes_at(struct scan *s, uint64_t at, uint64_t n, enum scan_result *ret)
{
	if (at >= s->buf_at && at + n <= s->buf_at + s->len)
		return s->buf + (at - s->buf_at);
	if (at + n > s->file_end) {
		*ret = SCAN_BAD;
		return NULL;
	}
	s->want_at = at;
	s->want_len = (size_t)n;
	*ret = SCAN_MORE;
	return NULL;
}

static enum scan_result
next_group(struct scan *s)
{
	enum scan_result result = SCAN_BAD;
	const uint8_t *p;
	int err;

	if (s->at >= s->limit || s->limit - s->at < GROUP_HEADER)
		return s->at == s->limit || s->begun ? SCAN_END : SCAN_BAD;
	p = bytes_at(s, s->at, GROUP_HEADER, &result);
	if (!p)
		return result;
	err = group_decode(p, s->segment, s->base ? s->base + s->at : 0, &s->group);
	if (err == ERR_VERSION)
		return SCAN_VERSION;
	if (err)
		return SCAN_BAD;
	if (!s->begun) {
		if (!s->base && (s->group.lsn % s->segment || s->at))
			return SCAN_BAD;
		s->base = s->base ? s->base : s->group.lsn;
		s->epoch = s->group.epoch;
		/* Until the state record told, the segment's size is what its LSN says. */
		s->limit = min_u64(s->limit, s->base / s->segment);
		s->begun = true;
	}
	if (s->group.epoch != s->epoch)
		return SCAN_BAD;
	if (s->group.length > s->limit - s->at - GROUP_HEADER)
		return SCAN_BAD;
	s->at += GROUP_HEADER;
	s->group_end = s->at + s->group.length;
	/* Beyond the previous end it is cut off; beyond the segment nobody writes any. */
	if (s->group_end + s->group.padding > s->base / s->segment)
		return SCAN_BAD;
	s->group_next = min_u64(s->group_end + s->group.padding, s->limit);
	s->records_left = s->group.records;
	return SCAN_GROUP;
}

static enum scan_result
next_record(struct scan *s, struct record *ret_record)
{
	uint64_t left = s->group_end - s->at, len;
	enum scan_result result = SCAN_BAD;
	const uint8_t *p;
	size_t head = (size_t)min_u64(left, RECORD_HEAD_MAX);

	p = bytes_at(s, s->at, head, &result);
	if (!p)
		return result;
	if (record_length(str_from(p, head), &len) < 0 || len > left)
		return SCAN_BAD;
	p = bytes_at(s, s->at, len, &result);
	if (!p)
		return result;
	if (record_open(str_from(p, (size_t)len), s->segment, s->base + s->at, ret_record))
		return SCAN_BAD;
	if (s->records_left == 0)
		return SCAN_BAD;
	s->records_left--;
	s->record_lsn = s->base + s->at;
	s->at += len;
	return SCAN_RECORD;
}

enum scan_result
scan_next(struct scan *s, struct record *ret_record)
{
	if (s->group_end && s->at == s->group_end) {
		if (s->records_left)
			return SCAN_BAD;
		s->padding_at = s->group_end;
		s->at = s->group_next;
		s->group_end = 0;
	}
	return s->group_end ? next_record(s, ret_record) : next_group(s);
}

static int
read_wait(struct disk *disk, struct disk_file *f, uint64_t offset, void *buf, size_t len,
	  size_t *ret_len)
{
	struct disk_done done;
	int err = disk->ops->read(f, offset, buf, len, TOKEN(TOKEN_BLOCKING, 0));
	bool waited = false;

	if (err)
		return err;
	while (!disk->ops->next(disk, &done)) {
		/* A second silence after a wait: nothing is under way, the disk is gone. */
		if (waited)
			return ERR_IO;
		disk->ops->wait(disk);
		waited = true;
	}
	CHECK(TOKEN_KIND(done.token) == TOKEN_BLOCKING, done.token);
	*ret_len = done.len;
	return done.err;
}

int
scan_wait(struct scan *s, struct disk *disk, struct disk_file *f, struct record *ret_record,
	  enum scan_result *ret)
{
	while ((*ret = scan_next(s, ret_record)) == SCAN_MORE) {
		size_t asked, got;
		void *room = scan_room(s, RECOVER_BYTES, &asked);
		int err = read_wait(disk, f, s->want_at, room, asked, &got);

		if (err)
			return err;
		scan_fed(s, asked, got);
	}
	return 0;
}

static void
look_at(const uint8_t *p, uint64_t segment, uint64_t offset, struct vouchers *v)
{
	struct group_header g;

	if (group_decode(p, segment, 0, &g) == ERR_CORRUPT)
		return;
	/* It must have been written for this very offset, whatever the segment's size. */
	if (g.lsn < offset || (g.lsn - offset) % segment)
		return;
	v->inside |= g.durable_lsn > g.lsn - offset;
	v->durable_lsn = max_u64(v->durable_lsn, g.durable_lsn);
	v->epoch = g.epoch > v->epoch ? g.epoch : v->epoch;
}

int
vouchers_find(struct disk *disk, struct disk_file *f, uint64_t segment, uint64_t from,
	      struct vouchers *ret)
{
	uint8_t magic[4], *buf;
	size_t kept = 0, got = 0, cap;
	uint64_t size;
	int err = disk->ops->size(f, &size);

	memset(ret, 0, sizeof(*ret));
	if (err || from >= size)
		return err;
	cap = (size_t)min_u64(RECOVER_BYTES, size - from + GROUP_HEADER);
	buf = mem_grow(NULL, cap);
	le_put32(magic, GROUP_MAGIC);
	for (;;) {
		const uint8_t *p = buf, *end;

		err = read_wait(disk, f, from + kept, buf + kept, cap - kept, &got);
		if (err || got == 0)
			break;
		end = buf + kept + got;
		/* Mostly zeroes: a search for one byte passes over them faster than memmem(). */
		while ((p = memchr(p, magic[0], (size_t)(end - p))) && end - p >= GROUP_HEADER) {
			if (memcmp(p, magic, sizeof(magic)) == 0)
				look_at(p, segment, from + (uint64_t)(p - buf), ret);
			p++;
		}
		/* A header may lie across two reads. */
		kept = min_u64((uint64_t)(end - buf), GROUP_HEADER - 1);
		from += (uint64_t)(end - buf) - kept;
		memmove(buf, end - kept, kept);
	}
	mem_free(buf);
	return err;
}
