/*
 * disk_mem.c -- see disk_mem.h: two directories over one table of files.
 */
#include "fuzz/disk_mem.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "base/err.h"

#define DONE_MAX 16

struct content {
	uint8_t bytes[DISK_MEM_FILE_MAX];
	size_t size;
};

struct disk_file {
	struct disk_mem *disk;
	struct content now, durable;
	unsigned names; /* in both directories */
	unsigned handles;
};

struct name {
	char text[DISK_MEM_NAME_MAX];
	struct disk_file *file;
};

struct directory {
	struct name names[DISK_MEM_FILES];
	size_t count;
};

struct disk_mem {
	struct disk disk;
	bool locked;
	unsigned fail; /* calls until one fails */
	bool failed;
	struct directory now, durable;
	struct disk_done done[DONE_MAX];
	size_t done_count;
	struct disk_file files[DISK_MEM_FILES];
};

static struct disk_mem *
mem(struct disk *disk)
{
	return CONTAINER_OF(disk, struct disk_mem, disk);
}

static struct name *
find(struct directory *dir, const char *text)
{
	for (size_t i = 0; i < dir->count; i++)
		if (strcmp(dir->names[i].text, text) == 0)
			return &dir->names[i];
	return NULL;
}

static void
unname(struct directory *dir, struct name *n)
{
	n->file->names--;
	*n = dir->names[--dir->count];
}

/* A file that no name and no handle leads to; NULL: the table is full. */
static struct disk_file *
fresh(struct disk_mem *d)
{
	for (size_t i = 0; i < DISK_MEM_FILES; i++) {
		struct disk_file *f = &d->files[i];

		if (f->names || f->handles)
			continue;
		f->disk = d;
		f->now.size = f->durable.size = 0;
		return f;
	}
	return NULL;
}

static int
name_file(struct directory *dir, const char *text, struct disk_file *f)
{
	struct name *n;

	if (dir->count == DISK_MEM_FILES)
		return ERR_NOSPACE;
	n = &dir->names[dir->count++];
	CHECK(strlen(text) < sizeof(n->text), dir->count);
	memcpy(n->text, text, strlen(text) + 1);
	n->file = f;
	f->names++;
	return 0;
}

/* To SIZE bytes at least; what is new is zero. */
static int
grow(struct content *c, uint64_t size)
{
	if (size > DISK_MEM_FILE_MAX)
		return ERR_NOSPACE;
	if (size > c->size) {
		memset(c->bytes + c->size, 0, (size_t)size - c->size);
		c->size = (size_t)size;
	}
	return 0;
}

static void
copy(struct content *to, const struct content *from)
{
	memcpy(to->bytes, from->bytes, from->size);
	to->size = from->size;
}

/* Is it this call that fails? */
static bool
fails(struct disk_mem *d)
{
	return d->fail && --d->fail == 0;
}

/* At once. */
static bool
refuses(struct disk_mem *d)
{
	bool refused = fails(d);

	d->failed |= refused;
	return refused;
}

static int
ended(struct disk_mem *d, uint64_t token, int err, size_t len)
{
	if (fails(d))
		err = ERR_IO;
	CHECK(d->done_count < DONE_MAX, token);
	d->done[d->done_count++] = (struct disk_done){ token, err, len, 100000 };
	return 0;
}

/* ---- the operations ------------------------------------------------------------------------ */

static int
mem_lock(struct disk *disk)
{
	if (refuses(mem(disk)))
		return ERR_IO;
	if (mem(disk)->locked)
		return ERR_LOCKED;
	mem(disk)->locked = true;
	return 0;
}

static int
mem_list(struct disk *disk, void (*each)(void *arg, const char *name, uint64_t size), void *arg)
{
	struct directory *dir = &mem(disk)->now;

	if (refuses(mem(disk)))
		return ERR_IO;
	for (size_t i = 0; i < dir->count; i++)
		each(arg, dir->names[i].text, dir->names[i].file->now.size);
	return 0;
}

static int
mem_open(struct disk *disk, const char *name, bool create, struct disk_file **ret_file)
{
	struct disk_mem *d = mem(disk);
	struct name *n = find(&d->now, name);
	struct disk_file *f = n ? n->file : NULL;
	int err;

	if (refuses(d))
		return ERR_IO;
	if (create && n)
		return ERR_EXISTS;
	if (!create && !n)
		return ERR_NOTFOUND;
	if (create) {
		f = fresh(d);
		err = f ? name_file(&d->now, name, f) : ERR_NOSPACE;
		if (err)
			return err;
	}
	f->handles++;
	*ret_file = f;
	return 0;
}

static int
mem_size(struct disk_file *f, uint64_t *ret_size)
{
	if (refuses(f->disk))
		return ERR_IO;
	*ret_size = f->now.size;
	return 0;
}

static int
mem_reserve(struct disk_file *f, uint64_t len)
{
	if (refuses(f->disk))
		return ERR_IO;
	return len > DISK_MEM_FILE_MAX ? ERR_NOSPACE : 0;
}

static int
mem_allocate(struct disk_file *f, uint64_t len, uint64_t token)
{
	int err = grow(&f->now, len);

	if (!err)
		err = grow(&f->durable, len);
	return ended(f->disk, token, err, 0);
}

static int
mem_read(struct disk_file *f, uint64_t offset, void *buf, size_t len, uint64_t token)
{
	size_t n = offset < f->now.size ? f->now.size - (size_t)offset : 0;

	if (refuses(f->disk))
		return ERR_IO;
	n = n < len ? n : len;
	if (n)
		memcpy(buf, f->now.bytes + offset, n);
	return ended(f->disk, token, 0, n);
}

static int
mem_write(struct disk_file *f, uint64_t offset, const struct iovec *iov, int iov_count)
{
	if (refuses(f->disk))
		return ERR_IO;
	for (int i = 0; i < iov_count; i++) {
		int err = grow(&f->now, offset + iov[i].iov_len);

		if (err)
			return err;
		memcpy(f->now.bytes + offset, iov[i].iov_base, iov[i].iov_len);
		offset += iov[i].iov_len;
	}
	return 0;
}

static int
mem_sync(struct disk_file *f, uint64_t token)
{
	copy(&f->durable, &f->now);
	return ended(f->disk, token, 0, 0);
}

static int
mem_close(struct disk_file *f)
{
	CHECK(f->handles > 0, 0);
	f->handles--;
	return 0;
}

static int
mem_rename(struct disk *disk, const char *from, const char *to)
{
	struct disk_mem *d = mem(disk);
	struct name *n = find(&d->now, from), *old;

	if (refuses(d))
		return ERR_IO;
	if (!n)
		return ERR_NOTFOUND;
	CHECK(strlen(to) < sizeof(n->text), strlen(to));
	old = find(&d->now, to);
	if (old == n)
		return 0;
	memcpy(n->text, to, strlen(to) + 1);
	if (old)
		unname(&d->now, old);
	return 0;
}

static int
mem_remove(struct disk *disk, const char *name)
{
	struct name *n = find(&mem(disk)->now, name);

	if (refuses(mem(disk)))
		return ERR_IO;
	if (!n)
		return ERR_NOTFOUND;
	unname(&mem(disk)->now, n);
	return 0;
}

/* TO becomes what FROM is. */
static void
copy_names(struct directory *to, const struct directory *from)
{
	for (size_t i = 0; i < from->count; i++)
		from->names[i].file->names++;
	for (size_t i = 0; i < to->count; i++)
		to->names[i].file->names--;
	memcpy(to->names, from->names, from->count * sizeof(from->names[0]));
	to->count = from->count;
}

static int
mem_sync_dir(struct disk *disk, uint64_t token)
{
	struct disk_mem *d = mem(disk);

	if (refuses(d))
		return ERR_IO;
	copy_names(&d->durable, &d->now);
	return ended(d, token, 0, 0);
}

static bool
mem_next(struct disk *disk, struct disk_done *ret_done)
{
	struct disk_mem *d = mem(disk);

	if (!d->done_count)
		return false;
	*ret_done = d->done[0];
	memmove(d->done, d->done + 1, --d->done_count * sizeof(d->done[0]));
	d->failed |= ret_done->err == ERR_IO; /* now somebody has heard of it */
	return true;
}

static void
mem_wait(struct disk *disk)
{
	(void)disk;
}

static void
mem_wake(struct disk *disk, void (*wake)(void *arg), void *arg)
{
	(void)disk, (void)wake, (void)arg;
}

static void
free_disk(struct disk *disk)
{
	mem_free(mem(disk));
}

/* ---- what a test does ------------------------------------------------------------------------ */

struct disk_mem *
disk_mem_new(void)
{
	static const struct disk_ops ops = {
		.lock = mem_lock,
		.list = mem_list,
		.open = mem_open,
		.size = mem_size,
		.reserve = mem_reserve,
		.allocate = mem_allocate,
		.read = mem_read,
		.write = mem_write,
		.sync = mem_sync,
		.close = mem_close,
		.rename = mem_rename,
		.remove = mem_remove,
		.sync_dir = mem_sync_dir,
		.next = mem_next,
		.wait = mem_wait,
		.wake = mem_wake,
		.free = free_disk,
	};
	struct disk_mem *d = mem_alloc(sizeof(*d));

	d->disk.ops = &ops;
	return d;
}

struct disk_mem *
disk_mem_free(struct disk_mem *d)
{
	mem_free(d);
	return NULL;
}

struct disk *
disk_mem_disk(struct disk_mem *d)
{
	return &d->disk;
}

void
disk_mem_clear(struct disk_mem *d)
{
	for (size_t i = 0; i < DISK_MEM_FILES; i++) {
		CHECK(d->files[i].handles == 0, i);
		d->files[i].names = 0;
	}
	d->now.count = d->durable.count = 0;
	d->done_count = 0;
	d->locked = false;
	d->fail = 0;
}

bool
disk_mem_fail(struct disk_mem *d, unsigned n)
{
	bool failed = d->failed;

	d->fail = n;
	d->failed = false;
	return failed;
}

void
disk_mem_put(struct disk_mem *d, const char *name, const uint8_t *bytes, size_t len)
{
	struct disk_file *f = fresh(d);

	CHECK(f && len <= DISK_MEM_FILE_MAX && !name_file(&d->now, name, f) &&
		      !name_file(&d->durable, name, f),
	      len);
	memcpy(f->now.bytes, bytes, len);
	f->now.size = len;
	copy(&f->durable, &f->now);
}

const uint8_t *
disk_mem_get(struct disk_mem *d, const char *name, size_t *ret_len)
{
	struct name *n = find(&d->now, name);

	if (!n)
		return NULL;
	*ret_len = n->file->now.size;
	return n->file->now.bytes;
}

void
disk_mem_cut(struct disk_mem *d)
{
	copy_names(&d->now, &d->durable);
	for (size_t i = 0; i < d->now.count; i++)
		copy(&d->now.names[i].file->now, &d->now.names[i].file->durable);
	d->done_count = 0;
	d->locked = false;
}
