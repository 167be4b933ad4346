/*
 * reader.c -- see reader.h.
 */
#include "sim/reader.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/crc.h"

#define GROUP_HEADER 40
#define SEGMENTS_MAX 4096

struct file {
	uint64_t number;
	const uint8_t *p;
	size_t n;
	uint64_t previous_end; /* of its state record; 0: it has none */
	uint64_t epoch;        /* of its opening: what an earlier try left behind has another */
};

struct files {
	struct file of[SEGMENTS_MAX];
	size_t count;
};

static uint64_t
le(const uint8_t *p, int bytes)
{
	uint64_t v = 0;

	for (int i = bytes - 1; i >= 0; i--)
		v = v << 8 | p[i];
	return v;
}

uint64_t
reader_le(const struct reader_record *r, const uint8_t **at, int bytes)
{
	uint64_t v = 0;

	if (r->end - *at < bytes) {
		*at = r->end;
		return 0;
	}
	v = le(*at, bytes);
	*at += bytes;
	return v;
}

uint64_t
reader_varint(const struct reader_record *r, const uint8_t **at)
{
	uint64_t v = 0;

	for (int shift = 0; *at < r->end && shift < 64; shift += 7) {
		uint8_t byte = *(*at)++;

		v |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return v;
	}
	return 0;
}

struct str
reader_str(const struct reader_record *r, const uint8_t **at)
{
	uint64_t n = reader_varint(r, at);
	struct str s = str_from((const char *)*at, 0);

	if (n > (uint64_t)(r->end - *at))
		return s;
	s.n = n;
	*at += n;
	return s;
}

static uint32_t
seeded(uint64_t segment, uint64_t lsn, const uint8_t *p, size_t n)
{
	uint8_t seed[16];

	for (int i = 0; i < 8; i++) {
		seed[i] = (uint8_t)(segment >> 8 * i);
		seed[8 + i] = (uint8_t)(lsn >> 8 * i);
	}
	return crc32c(crc32c(0, seed, sizeof(seed)), p, n);
}

/* The length of the records of the group at OFFSET, or -1: none counts there. */
static int64_t
group_at(const struct file *f, uint64_t base, size_t offset)
{
	const uint8_t *h = f->p + offset;
	uint64_t lsn = base + offset;

	if (f->n < GROUP_HEADER || offset > f->n - GROUP_HEADER || le(h, 4) != 0x31477345 ||
	    le(h + 8, 8) != lsn || le(h + 36, 4) != seeded(f->number, lsn, h, 36) ||
	    le(h + 28, 4) > f->n - offset - GROUP_HEADER || (offset && le(h + 24, 4) != f->epoch))
		return -1;
	return (int64_t)le(h + 28, 4);
}

/* The records of one group; false when one does not count. */
static bool
records(const struct file *f, uint64_t base, size_t at, size_t end,
	void (*each)(void *arg, const struct reader_record *r), void *arg)
{
	while (at < end) {
		struct reader_record r = { .lsn = base + at, .end = f->p + end };
		const uint8_t *p = f->p + at + 4;
		uint64_t len;

		if (end - at < 6)
			return false;
		r.type = *p++;
		len = reader_varint(&r, &p);
		if (len > (uint64_t)(r.end - p))
			return false;
		r.body = p;
		r.len = len;
		r.end = p + len;
		if (le(f->p + at, 4) !=
		    seeded(f->number, r.lsn, f->p + at + 4, (size_t)(r.end - (f->p + at + 4))))
			return false;
		each(arg, &r);
		at = (size_t)(r.end - f->p);
	}
	return true;
}

static void
add_file(void *arg, const char *name, uint64_t size)
{
	struct files *files = arg;
	unsigned long long number;
	char rest[8] = "";

	(void)size;
	if (sscanf(name, "%20llu.%7s", &number, rest) != 2 || strcmp(rest, "seg") != 0 ||
	    files->count == SEGMENTS_MAX)
		return;
	files->of[files->count++] = (struct file){ .number = number };
}

static int
by_number(const void *a, const void *b)
{
	const struct file *x = a, *y = b;

	return x->number < y->number ? -1 : x->number > y->number;
}

static void
take_previous_end(void *arg, const struct reader_record *r)
{
	struct file *f = arg;

	if (r->type == 1 && !f->previous_end)
		f->previous_end = le(r->body + 24, 8);
}

bool
reader_walk(struct disk_sim *disk, void (*each)(void *arg, const struct reader_record *r),
	    void *arg)
{
	static struct files files; /* large, and one thread */
	struct disk *d = disk_sim_disk(disk);

	files.count = 0;
	if (d->ops->list(d, add_file, &files) != 0)
		return true; /* the disk is dead: nothing to be seen */
	qsort(files.of, files.count, sizeof(*files.of), by_number);
	for (size_t i = 0; i < files.count; i++) {
		struct file *f = &files.of[i];
		char name[32];
		uint64_t base;

		snprintf(name, sizeof(name), "%020llu.seg", (unsigned long long)f->number);
		f->p = disk_sim_durable(disk, name, &f->n);
		base = f->n >= GROUP_HEADER ? le(f->p + 8, 8) : 0;
		f->epoch = f->n >= GROUP_HEADER ? le(f->p + 24, 4) : 0;
		if (f->n >= GROUP_HEADER && group_at(f, base, 0) >= 0)
			(void)records(f, base, GROUP_HEADER,
				      GROUP_HEADER + (size_t)group_at(f, base, 0),
				      take_previous_end, f);
	}
	for (size_t i = 0; i < files.count; i++) {
		const struct file *f = &files.of[i];
		uint64_t base = f->previous_end || f->n >= GROUP_HEADER ? le(f->p + 8, 8) : 0;
		uint64_t limit = i + 1 < files.count ? files.of[i + 1].previous_end : 0;
		size_t at = 0;
		int64_t len;

		while ((len = group_at(f, base, at)) >= 0 && (!limit || base + at < limit)) {
			size_t end = at + GROUP_HEADER + (size_t)len;

			if (!records(f, base, at + GROUP_HEADER, end, each, arg))
				return false;
			at = end + (size_t)le(f->p + at + 6, 2);
		}
	}
	return true;
}
