/*
 * disk_sim.c -- files as two byte arrays, what the process sees and what a power cut leaves.
 *
 * A write marks, for each 512-byte unit, the range of bytes that changed.  A sync takes a snapshot
 * when it begins, because only what was written before counts, and becomes durable when its
 * end is handed out.  Names are a list of steps replayed onto the durable directory.
 */
#include "sim/disk_sim.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"
#include "base/err.h"
#include "base/hash.h"

#define UNIT        512
#define NAMES_MAX   1024
#define PENDING_MAX 4096

/* From lo on, before hi; hi 0: nothing. */
struct span {
	size_t lo, hi;
};

struct inode {
	unsigned refs;
	uint8_t *now;     /* what the process sees                                         */
	uint8_t *durable; /* what a cut leaves for certain                                 */
	size_t cap;
	size_t room; /* of the three arrays, all zero behind cap                           */
	size_t size;
	size_t durable_size;
	struct span changed; /* bytes: outside `now` and `durable` are the same            */
	struct span dirty;   /* units: outside none has a range                            */
	uint64_t reserved;
	struct range {
		uint16_t lo, hi;     /* changed since the last sync; hi 0: nothing              */
		uint32_t stamp : 31; /* of the last write to it                            */
		uint32_t blank : 1;  /* all of the unit, and zeroes                        */
	} * units;
	bool poisoned;
};

struct name {
	char text[64];
	struct inode *inode;
};

struct directory {
	struct name names[NAMES_MAX];
	size_t count;
};

enum step_kind { STEP_MAKE, STEP_RENAME, STEP_REMOVE };

struct step {
	enum step_kind kind;
	char from[64];
	char to[64];
	struct inode *inode; /* MAKE */
};

struct snapshot {
	size_t unit;
	struct range range;
	uint8_t (*bytes)[UNIT]; /* of the pending call; of a blank one: none */
};

enum pending_kind { PENDING_READ, PENDING_SYNC, PENDING_ALLOCATE, PENDING_DIR };

struct pending {
	enum pending_kind kind;
	uint64_t token;
	uint64_t order;
	uint32_t delay;
	int64_t due_ns;
	int err;
	struct inode *inode;
	uint64_t offset;
	void *buf;
	size_t len;
	struct snapshot *snapshot;
	uint8_t (*bytes)[UNIT];
	size_t snapshot_count;
	size_t size;
	size_t steps; /* DIR: how many of the steps it covers                               */
	bool flip;
	bool let; /* it may end although ends are held back */
};

struct disk_file {
	struct disk_sim *disk;
	struct inode *inode;
	uint64_t life; /* of the disk when it was opened                                    */
};

struct disk_sim {
	struct disk disk;
	uint64_t rng;
	struct disk_sim_knobs knobs;
	struct disk_sim_counts counts;
	struct directory now;
	struct directory durable;
	struct step *steps;
	size_t step_count, step_cap;
	struct pending *pending;
	size_t pending_count;
	uint64_t order;
	uint32_t stamp;
	uint64_t life;
	int64_t now_ns;
	bool locked;
	bool stopped;
	void (*wake)(void *arg);
	void *wake_arg;
};

static uint64_t
draw(struct disk_sim *d)
{
	return hash_u64(d->rng++);
}

static bool
strikes(struct disk_sim *d, uint64_t *countdown)
{
	if (*countdown == 0 || --*countdown)
		return false;
	d->counts.faults++;
	return true;
}

/* A step that changes something; false: the power is gone. */
static bool
step(struct disk_sim *d)
{
	if (d->stopped)
		return false;
	d->counts.steps++;
	/* The step itself still happens: it is what a cut tears. */
	if (strikes(d, &d->knobs.stop))
		d->stopped = true;
	return true;
}

/* ---- inodes and names -------------------------------------------------------------------- */

static void
inode_unref(struct inode *i)
{
	if (--i->refs)
		return;
	mem_free(i->now);
	mem_free(i->durable);
	mem_free(i->units);
	mem_free(i);
}

static void
inode_fit(struct inode *i, size_t size)
{
	size_t cap = (size + 4095) / 4096 * 4096;

	if (cap <= i->cap)
		return;
	i->cap = cap;
	if (cap <= i->room)
		return;
	/* It will grow so far: once and not by pages. */
	cap = max_u64(cap, (i->reserved + 4095) / 4096 * 4096);
	i->now = mem_grow(i->now, cap);
	i->durable = mem_grow(i->durable, cap);
	i->units = mem_grow(i->units, cap / UNIT * sizeof(*i->units));
	memset(i->now + i->room, 0, cap - i->room);
	memset(i->durable + i->room, 0, cap - i->room);
	memset(i->units + i->room / UNIT, 0, (cap - i->room) / UNIT * sizeof(*i->units));
	i->room = cap;
}

static void
span_grow(struct span *s, size_t lo, size_t hi)
{
	s->lo = s->hi ? min_u64(s->lo, lo) : lo;
	s->hi = max_u64(s->hi, hi);
}

/* It never reaches the medium where it should: AWAY is where it lands, 0: nowhere. */
static void
inode_mislay(struct inode *i, size_t offset, const uint8_t *p, size_t n, size_t away)
{
	inode_fit(i, offset + n);
	memcpy(i->now + offset, p, n);
	span_grow(&i->changed, offset, offset + n);
	if (away && away + n <= i->cap) {
		memcpy(i->durable + away, p, n);
		span_grow(&i->changed, away, away + n);
	}
	if (offset + n > i->size)
		i->size = offset + n;
}

/* P NULL: zeroes, behind the end, where they are already. */
static void
inode_write(struct disk_sim *d, struct inode *i, size_t offset, const uint8_t *p, size_t n)
{
	inode_fit(i, offset + n);
	if (n == 0)
		return;
	if (p)
		memcpy(i->now + offset, p, n);
	else
		CHECK(offset == i->size, offset);
	span_grow(&i->changed, offset, offset + n);
	span_grow(&i->dirty, offset / UNIT, (offset + n - 1) / UNIT + 1);
	d->stamp++;
	for (size_t u = offset / UNIT; u <= (offset + n - 1) / UNIT; u++) {
		size_t lo = offset > u * UNIT ? offset - u * UNIT : 0;
		size_t hi = offset + n < (u + 1) * UNIT ? offset + n - u * UNIT : UNIT;
		struct range *r = &i->units[u];

		if (r->hi == 0)
			r->lo = (uint16_t)lo;
		r->lo = r->lo < lo ? r->lo : (uint16_t)lo;
		r->hi = r->hi > hi ? r->hi : (uint16_t)hi;
		r->stamp = d->stamp & INT32_MAX;
		r->blank = !p && hi - lo == UNIT;
	}
	if (offset + n > i->size)
		i->size = offset + n;
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
copy_name(char to[64], const char *from)
{
	size_t n = strlen(from);

	CHECK(n > 0 && n < 64 && !strchr(from, '/'), n);
	memcpy(to, from, n + 1);
}

static void
unname(struct directory *dir, struct name *n)
{
	inode_unref(n->inode);
	*n = dir->names[--dir->count];
}

static void
link_name(struct directory *dir, const char *text, struct inode *inode)
{
	struct name *n = find(dir, text);

	inode->refs++;
	if (n) {
		inode_unref(n->inode);
		n->inode = inode;
		return;
	}
	CHECK(dir->count < NAMES_MAX, dir->count);
	n = &dir->names[dir->count++];
	copy_name(n->text, text);
	n->inode = inode;
}

static void
apply(struct directory *dir, const struct step *s)
{
	struct name *n;

	switch (s->kind) {
	case STEP_MAKE:
		link_name(dir, s->to, s->inode);
		return;
	case STEP_REMOVE:
		n = find(dir, s->from);
		if (n)
			unname(dir, n);
		return;
	case STEP_RENAME:
		n = find(dir, s->from);
		/* The step that made it was lost: so is this one. */
		if (!n)
			return;
		link_name(dir, s->to, n->inode);
		n = find(dir, s->from);
		unname(dir, n);
		return;
	}
}

static void
remember(struct disk_sim *d, enum step_kind kind, const char *from, const char *to,
	 struct inode *inode)
{
	struct step *s;

	if (d->step_count == d->step_cap) {
		d->step_cap = d->step_cap ? d->step_cap * 2 : 64;
		d->steps = mem_grow(d->steps, d->step_cap * sizeof(*d->steps));
	}
	s = &d->steps[d->step_count++];
	memset(s, 0, sizeof(*s));
	s->kind = kind;
	if (from)
		copy_name(s->from, from);
	if (to)
		copy_name(s->to, to);
	s->inode = inode;
	if (inode)
		inode->refs++;
	apply(&d->now, s);
}

static void
forget_steps(struct disk_sim *d, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (d->steps[i].inode)
			inode_unref(d->steps[i].inode);
	if (n < d->step_count)
		memmove(d->steps, d->steps + n, (d->step_count - n) * sizeof(*d->steps));
	d->step_count -= n;
	for (size_t i = 0; i < d->pending_count; i++) {
		struct pending *p = &d->pending[i];

		p->steps = p->steps > n ? p->steps - n : 0;
	}
}

/* ---- what ends later ------------------------------------------------------------------------ */

static int64_t
latency(struct disk_sim *d)
{
	if (d->knobs.stall_permille && draw(d) % 1000 < d->knobs.stall_permille) {
		d->counts.stalls++;
		return d->knobs.stall_ns;
	}
	return d->knobs.latency_ns ? (int64_t)(draw(d) % (uint64_t)d->knobs.latency_ns) : 0;
}

static struct pending *
begin(struct disk_sim *d, enum pending_kind kind, uint64_t token, struct inode *inode)
{
	struct pending *p;

	CHECK(d->pending_count < PENDING_MAX, token);
	p = &d->pending[d->pending_count++];
	memset(p, 0, sizeof(*p));
	p->kind = kind;
	p->token = token;
	p->order = d->order++;
	p->delay = d->knobs.delay_max ? (uint32_t)(draw(d) % (d->knobs.delay_max + 1)) : 0;
	p->due_ns = d->now_ns + latency(d);
	p->inode = inode;
	p->err = strikes(d, &d->knobs.fail_end) ? ERR_IO : 0;
	if (inode)
		inode->refs++;
	if (d->wake)
		d->wake(d->wake_arg);
	return p;
}

static void
drop(struct disk_sim *d, struct pending *p)
{
	if (p->inode)
		inode_unref(p->inode);
	mem_free(p->snapshot);
	mem_free(p->bytes);
	*p = d->pending[--d->pending_count];
}

static void
take_snapshot(struct pending *p, const struct inode *i)
{
	size_t n = 0, full = 0;

	for (size_t u = i->dirty.lo; u < i->dirty.hi; u++) {
		n += i->units[u].hi != 0;
		full += i->units[u].hi && !i->units[u].blank;
	}
	p->snapshot = mem_grow(NULL, n * sizeof(*p->snapshot));
	p->bytes = mem_grow(NULL, full * UNIT);
	full = 0;
	for (size_t u = i->dirty.lo; u < i->dirty.hi; u++) {
		struct snapshot *s = &p->snapshot[p->snapshot_count];

		if (!i->units[u].hi)
			continue;
		*s = (struct snapshot){ .unit = u, .range = i->units[u] };
		if (!s->range.blank) {
			s->bytes = &p->bytes[full++];
			memcpy(*s->bytes, i->now + u * UNIT, UNIT);
		}
		p->snapshot_count++;
	}
	p->size = i->size;
}

static void
make_durable(struct pending *p, bool really)
{
	struct inode *i = p->inode;

	for (size_t k = 0; k < p->snapshot_count; k++) {
		const struct snapshot *s = &p->snapshot[k];
		struct range *r = &i->units[s->unit];
		uint8_t *to = i->durable + s->unit * UNIT + s->range.lo;
		size_t len = (size_t)(s->range.hi - s->range.lo);

		if (really && s->bytes)
			memcpy(to, *s->bytes + s->range.lo, len);
		else if (really)
			memset(to, 0, len);
		if (r->stamp == s->range.stamp)
			r->hi = 0;
	}
	while (i->dirty.lo < i->dirty.hi && !i->units[i->dirty.lo].hi)
		i->dirty.lo++;
	if (i->dirty.lo == i->dirty.hi)
		i->dirty = (struct span){ 0, 0 };
	if (really && p->size > i->durable_size)
		i->durable_size = p->size;
}

static size_t
finish_read(struct disk_sim *d, struct pending *p)
{
	size_t n = p->offset >= p->inode->size ? 0 : p->inode->size - (size_t)p->offset;

	n = n < p->len ? n : p->len;
	if (n == 0)
		return 0;
	memcpy(p->buf, p->inode->now + p->offset, n);
	if (p->flip && n) {
		size_t bit = draw(d) % (n * 8);

		((uint8_t *)p->buf)[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	return n;
}

static struct disk_done
finish(struct disk_sim *d, struct pending *p)
{
	struct disk_done done = { .token = p->token, .err = p->err };

	switch (p->kind) {
	case PENDING_READ:
		if (!p->err)
			done.len = finish_read(d, p);
		break;
	case PENDING_SYNC:
		done.ns = d->knobs.sync_ns;
		if (p->inode->poisoned)
			done.err = p->err ? p->err : ERR_IO;
		/* After a lie the pages are clean, and the next power cut shows the truth. */
		make_durable(p, !done.err || (p->err && d->knobs.lie == DISK_SIM_WRITTEN));
		break;
	case PENDING_ALLOCATE:
		if (!p->err)
			make_durable(p, true);
		break;
	case PENDING_DIR:
		if (p->err)
			break;
		for (size_t i = 0; i < p->steps; i++)
			apply(&d->durable, &d->steps[i]);
		forget_steps(d, p->steps);
		break;
	}
	return done;
}

/* ---- the operations -------------------------------------------------------------------------- */

static struct disk_sim *
sim(struct disk *disk)
{
	return CONTAINER_OF(disk, struct disk_sim, disk);
}

static bool
alive(const struct disk_file *f)
{
	return !f->disk->stopped && f->life == f->disk->life;
}

static bool
refused(struct disk_sim *d)
{
	return strikes(d, &d->knobs.refuse);
}

static int
sim_lock(struct disk *disk)
{
	struct disk_sim *d = sim(disk);

	if (d->stopped)
		return ERR_IO;
	if (refused(d))
		return ERR_SYSTEM;
	if (d->locked)
		return ERR_LOCKED;
	d->locked = true;
	return 0;
}

static int
sim_list(struct disk *disk, void (*each)(void *arg, const char *name, uint64_t size), void *arg)
{
	struct disk_sim *d = sim(disk);

	if (d->stopped)
		return ERR_IO;
	if (refused(d))
		return ERR_SYSTEM;
	for (size_t i = 0; i < d->now.count; i++)
		each(arg, d->now.names[i].text, d->now.names[i].inode->size);
	return 0;
}

static int
sim_open(struct disk *disk, const char *name, bool create, struct disk_file **ret_file)
{
	struct disk_sim *d = sim(disk);
	struct name *n = find(&d->now, name);
	struct inode *inode;
	struct disk_file *f;

	if (d->stopped)
		return ERR_IO;
	if (refused(d))
		return ERR_SYSTEM;
	if (create && n)
		return ERR_EXISTS;
	if (!create && !n)
		return ERR_NOTFOUND;
	if (create) {
		if (!step(d))
			return ERR_IO;
		inode = mem_alloc(sizeof(*inode));
		remember(d, STEP_MAKE, NULL, name, inode);
	} else {
		inode = n->inode;
	}
	inode->refs++;
	f = mem_alloc(sizeof(*f));
	f->disk = d;
	f->inode = inode;
	f->life = d->life;
	*ret_file = f;
	return 0;
}

static int
sim_size(struct disk_file *f, uint64_t *ret_size)
{
	if (!alive(f))
		return ERR_IO;
	if (refused(f->disk))
		return ERR_SYSTEM;
	*ret_size = f->inode->size;
	return 0;
}

static uint64_t
taken_by(const struct inode *i)
{
	return max_u64(i->size, i->reserved);
}

uint64_t
disk_sim_used(struct disk_sim *d)
{
	uint64_t n = 0;

	for (size_t i = 0; i < d->now.count; i++)
		n += taken_by(d->now.names[i].inode);
	return n;
}

static bool
fits(struct disk_sim *d, struct inode *i, uint64_t size)
{
	return !d->knobs.capacity || size <= taken_by(i) ||
	       disk_sim_used(d) + (size - taken_by(i)) <= d->knobs.capacity;
}

static int
sim_reserve(struct disk_file *f, uint64_t len)
{
	struct disk_sim *d = f->disk;

	if (!alive(f) || !step(d))
		return ERR_IO;
	if (refused(d))
		return ERR_SYSTEM;
	d->counts.reserves++;
	if (strikes(d, &d->knobs.fail_reserve) || !fits(d, f->inode, len))
		return ERR_NOSPACE;
	f->inode->reserved = max_u64(f->inode->reserved, len);
	return 0;
}

static int
sim_allocate(struct disk_file *f, uint64_t len, uint64_t token)
{
	struct disk_sim *d = f->disk;
	struct pending *p;

	if (!alive(f) || !step(d))
		return ERR_IO;
	if (refused(d))
		return ERR_SYSTEM;
	d->counts.allocates++;
	p = begin(d, PENDING_ALLOCATE, token, f->inode);
	p->delay += d->knobs.allocate_delay;
	if (strikes(d, &d->knobs.fail_allocate) || !fits(d, f->inode, len)) {
		p->err = ERR_NOSPACE;
		return 0;
	}
	if (len > f->inode->size)
		inode_write(d, f->inode, f->inode->size, NULL, (size_t)(len - f->inode->size));
	take_snapshot(p, f->inode);
	return 0;
}

static int
sim_read(struct disk_file *f, uint64_t offset, void *buf, size_t len, uint64_t token)
{
	struct disk_sim *d = f->disk;
	struct pending *p;

	if (!alive(f))
		return ERR_IO;
	if (refused(d))
		return ERR_SYSTEM;
	d->counts.reads++;
	p = begin(d, PENDING_READ, token, f->inode);
	p->offset = offset;
	p->buf = buf;
	p->len = len;
	p->err = strikes(d, &d->knobs.fail_read) ? ERR_IO : p->err;
	p->flip = strikes(d, &d->knobs.flip_read);
	return 0;
}

static int
sim_write(struct disk_file *f, uint64_t offset, const struct iovec *iov, int iov_count)
{
	struct disk_sim *d = f->disk;
	uint64_t end = offset;
	size_t away = 0;
	bool lost;

	if (!alive(f) || !step(d) || f->inode->poisoned)
		return ERR_IO;
	d->counts.writes++;
	for (int i = 0; i < iov_count; i++)
		end += iov[i].iov_len;
	if (strikes(d, &d->knobs.fail_write)) {
		f->inode->poisoned = true;
		return d->knobs.error ? d->knobs.error : ERR_IO;
	}
	if (!fits(d, f->inode, end)) {
		f->inode->poisoned = true;
		return ERR_NOSPACE;
	}
	lost = strikes(d, &d->knobs.lose_write);
	if (strikes(d, &d->knobs.stray_write) && f->inode->cap > UNIT)
		away = UNIT * (1 + draw(d) % (f->inode->cap / UNIT - 1)) + offset % UNIT;
	for (int i = 0; i < iov_count; i++) {
		if (lost || away)
			inode_mislay(f->inode, (size_t)offset, iov[i].iov_base, iov[i].iov_len,
				     away);
		else
			inode_write(d, f->inode, (size_t)offset, iov[i].iov_base, iov[i].iov_len);
		offset += iov[i].iov_len;
		away += away ? iov[i].iov_len : 0;
	}
	return 0;
}

static int
sim_sync(struct disk_file *f, uint64_t token)
{
	struct disk_sim *d = f->disk;
	struct pending *p;

	if (!alive(f) || !step(d))
		return ERR_IO;
	if (refused(d))
		return ERR_SYSTEM;
	d->counts.syncs++;
	p = begin(d, PENDING_SYNC, token, f->inode);
	take_snapshot(p, f->inode);
	if (f->inode->poisoned) {
		p->err = ERR_IO;
	} else if (p->err || strikes(d, &d->knobs.fail_sync)) {
		f->inode->poisoned = !d->knobs.forget;
		p->err = d->knobs.error ? d->knobs.error : ERR_IO;
	}
	if (strikes(d, &d->knobs.hang_sync))
		p->due_ns = INT64_MAX;
	return 0;
}

static int
sim_close(struct disk_file *f)
{
	for (size_t i = 0; f->life == f->disk->life && i < f->disk->pending_count; i++)
		CHECK(f->disk->pending[i].inode != f->inode || f->inode->refs > 2, i);
	inode_unref(f->inode);
	mem_free(f);
	return 0;
}

static int
sim_rename(struct disk *disk, const char *from, const char *to)
{
	struct disk_sim *d = sim(disk);

	if (!find(&d->now, from))
		return d->stopped ? ERR_IO : ERR_NOTFOUND;
	if (!step(d))
		return ERR_IO;
	if (refused(d))
		return ERR_SYSTEM;
	d->counts.renames++;
	if (strikes(d, &d->knobs.fail_rename))
		return ERR_IO;
	remember(d, STEP_RENAME, from, to, NULL);
	return 0;
}

static int
sim_remove(struct disk *disk, const char *name)
{
	struct disk_sim *d = sim(disk);

	if (!find(&d->now, name))
		return d->stopped ? ERR_IO : ERR_NOTFOUND;
	if (!step(d))
		return ERR_IO;
	if (refused(d))
		return ERR_SYSTEM;
	remember(d, STEP_REMOVE, name, NULL, NULL);
	return 0;
}

static int
sim_sync_dir(struct disk *disk, uint64_t token)
{
	struct disk_sim *d = sim(disk);

	if (!step(d))
		return ERR_IO;
	if (refused(d))
		return ERR_SYSTEM;
	d->counts.dir_syncs++;
	begin(d, PENDING_DIR, token, NULL)->steps = d->step_count;
	return 0;
}

/* The one to end now: no delay left; among those, the first begun. */
static bool
sim_next(struct disk *disk, struct disk_done *ret_done)
{
	struct disk_sim *d = sim(disk);
	struct pending *best = NULL;

	if (d->stopped)
		return false;
	for (size_t i = 0; i < d->pending_count; i++) {
		struct pending *p = &d->pending[i];

		if (d->knobs.hold && !p->let)
			continue;
		if (p->delay == 0 && p->due_ns <= d->now_ns && (!best || p->order < best->order))
			best = p;
	}
	if (!best && d->knobs.hold)
		return false;
	if (!best) {
		for (size_t i = 0; i < d->pending_count; i++)
			d->pending[i].delay -= d->pending[i].delay > 0;
		/* Time may stand still in a simulated world: come again. */
		if (d->pending_count && d->wake)
			d->wake(d->wake_arg);
		return false;
	}
	/* The end of a sync or allocation changes what a cut would leave. */
	if (best->kind != PENDING_READ && !step(d))
		return false;
	*ret_done = finish(d, best);
	drop(d, best);
	return true;
}

static void
sim_wait(struct disk *disk)
{
	struct disk_sim *d = sim(disk);
	struct pending *first = NULL;

	for (size_t i = 0; i < d->pending_count; i++) {
		struct pending *p = &d->pending[i];

		if (!first || p->due_ns < first->due_ns ||
		    (p->due_ns == first->due_ns && p->delay < first->delay))
			first = p;
	}
	if (!first)
		return;
	first->delay = 0; /* the sleeper notices no time, only its end */
	first->due_ns = 0;
	for (size_t i = 0; i < d->pending_count; i++)
		d->pending[i].let = true;
}

static void
sim_wake(struct disk *disk, void (*wake)(void *arg), void *arg)
{
	sim(disk)->wake = wake;
	sim(disk)->wake_arg = arg;
}

static void
sim_free(struct disk *disk)
{
	struct disk_sim *d = sim(disk);

	while (d->pending_count)
		drop(d, &d->pending[0]);
	forget_steps(d, d->step_count);
	while (d->now.count)
		unname(&d->now, &d->now.names[0]);
	while (d->durable.count)
		unname(&d->durable, &d->durable.names[0]);
	mem_free(d->steps);
	mem_free(d->pending);
	mem_free(d);
}

/* ---- what only a simulated disk can do ------------------------------------------------------- */

struct disk_sim *
disk_sim_new(uint64_t seed)
{
	static const struct disk_ops ops = {
		.lock = sim_lock,
		.list = sim_list,
		.open = sim_open,
		.size = sim_size,
		.reserve = sim_reserve,
		.allocate = sim_allocate,
		.read = sim_read,
		.write = sim_write,
		.sync = sim_sync,
		.close = sim_close,
		.rename = sim_rename,
		.remove = sim_remove,
		.sync_dir = sim_sync_dir,
		.next = sim_next,
		.wait = sim_wait,
		.wake = sim_wake,
		.free = sim_free,
	};
	struct disk_sim *d = mem_alloc(sizeof(*d));

	d->disk.ops = &ops;
	d->rng = hash_u64(seed);
	d->knobs.unit = UNIT;
	d->knobs.sync_ns = 100000;
	d->pending = mem_alloc(PENDING_MAX * sizeof(*d->pending));
	return d;
}

struct disk *
disk_sim_disk(struct disk_sim *d)
{
	return &d->disk;
}

struct disk_sim_knobs *
disk_sim_knobs(struct disk_sim *d)
{
	return &d->knobs;
}

const struct disk_sim_counts *
disk_sim_counts(const struct disk_sim *d)
{
	return &d->counts;
}

bool
disk_sim_stopped(const struct disk_sim *d)
{
	return d->stopped;
}

size_t
disk_sim_pending(const struct disk_sim *d)
{
	return d->pending_count;
}

void
disk_sim_kill(struct disk_sim *d)
{
	d->counts.kills++;
	while (d->pending_count) {
		/* A sync that was begun may have come to its end or not: it has not. */
		drop(d, &d->pending[0]);
	}
	/* A new process opens the file anew, and the kernel has forgotten the error. */
	for (size_t i = 0; i < d->now.count; i++)
		d->now.names[i].inode->poisoned = false;
	d->life++;
	d->locked = false;
	d->stopped = false;
	d->knobs.stop = 0;
}

void
disk_sim_end(struct disk_sim *d, size_t i)
{
	CHECK(i < d->pending_count, i);
	for (size_t k = 0; k < d->pending_count; k++) {
		size_t before = 0;

		for (size_t other = 0; other < d->pending_count; other++)
			before += d->pending[other].order < d->pending[k].order;
		if (before == i)
			d->pending[k].let = true;
	}
}

bool
disk_sim_ready(const struct disk_sim *d)
{
	for (size_t i = 0; i < d->pending_count; i++) {
		if (!d->knobs.hold || d->pending[i].let)
			return true;
	}
	return false;
}

uint32_t
disk_sim_unsynced(const struct disk_sim *d, uint32_t *ret_steps)
{
	uint32_t units = 0;

	*ret_steps = (uint32_t)d->step_count;
	for (size_t i = 0; i < d->now.count; i++) {
		const struct inode *inode = d->now.names[i].inode;

		for (size_t u = inode->dirty.lo; u < inode->dirty.hi; u++)
			units += inode->units[u].hi != 0;
	}
	return units;
}

struct hash128
disk_sim_digest(const struct disk_sim *d)
{
	struct hash128 total = { 0, 0 };

	for (size_t i = 0; i < d->now.count; i++) {
		const struct inode *inode = d->now.names[i].inode;
		struct hash128 name =
			hash_body(d->now.names[i].text, strlen(d->now.names[i].text), 1);
		struct hash128 bytes = hash_body(inode->now, inode->size, name.lo);

		total.lo += bytes.lo; /* in whatever order the directory has them */
		total.hi += bytes.hi;
	}
	return total;
}

enum fate { FATE_NEW, FATE_OLD, FATE_ZERO, FATE_GARBAGE, FATE_TORN };

/* Of the unit behind BEFORE others. */
static enum fate
fate_of(struct disk_sim *d, uint32_t before)
{
	uint64_t x;

	switch (d->knobs.cut) {
	case DISK_SIM_PREFIX:
		return before < d->knobs.cut_units ? FATE_NEW : FATE_OLD;
	case DISK_SIM_TORN:
		return before < d->knobs.cut_units    ? FATE_NEW
		       : before == d->knobs.cut_units ? FATE_TORN
						      : FATE_OLD;
	case DISK_SIM_HOLE:
		return before == d->knobs.cut_units ? FATE_OLD : FATE_NEW;
	case DISK_SIM_DRAWN:
		break;
	}
	x = draw(d) % 100;
	return x < 40   ? FATE_NEW
	       : x < 70 ? FATE_OLD
	       : x < 80 ? FATE_ZERO
	       : x < 90 ? FATE_GARBAGE
			: FATE_TORN;
}

/* What the disk holds of unit U after a cut, of the range that was not synced. */
static void
decide_unit(struct disk_sim *d, struct inode *i, size_t u, enum fate fate)
{
	struct range *r = &i->units[u];
	uint8_t *disk = i->durable + u * UNIT;
	const uint8_t *cache = i->now + u * UNIT;
	size_t n = (size_t)(r->hi - r->lo), cut;

	switch (fate) {
	case FATE_NEW:
		memcpy(disk + r->lo, cache + r->lo, n);
		break;
	case FATE_OLD:
		d->counts.units_lost++;
		break;
	case FATE_ZERO:
		memset(disk + r->lo, 0, n);
		d->counts.units_damaged++;
		break;
	case FATE_GARBAGE:
		for (size_t k = r->lo; k < r->hi; k++)
			disk[k] = (uint8_t)draw(d);
		d->counts.units_damaged++;
		break;
	case FATE_TORN:
		cut = d->knobs.cut == DISK_SIM_DRAWN ? draw(d) % (n + 1) : n / 2;
		memcpy(disk + r->lo, cache + r->lo, cut);
		d->counts.units_damaged++;
		break;
	}
	r->hi = 0;
}

/* *BEFORE counts the units that a cut decided about. */
static void
crash_inode(struct disk_sim *d, struct inode *i, uint32_t *before)
{
	size_t per_fate = d->knobs.unit / UNIT;
	enum fate fate = FATE_OLD;
	size_t last = SIZE_MAX;

	for (size_t u = i->dirty.lo; u < i->dirty.hi; u++) {
		if (!i->units[u].hi)
			continue;
		if (u / per_fate != last)
			fate = fate_of(d, (*before)++);
		last = u / per_fate;
		decide_unit(d, i, u, fate);
	}
	if (i->size != i->durable_size &&
	    (d->knobs.cut == DISK_SIM_DRAWN ? draw(d) % 2 != 0 : d->knobs.cut_units > 0))
		i->durable_size = i->size;
	i->size = i->durable_size;
	if (i->changed.hi > i->size) {
		size_t from = max_u64(i->changed.lo, i->size);

		memset(i->durable + from, 0, i->changed.hi - from);
	}
	if (i->changed.hi)
		memcpy(i->now + i->changed.lo, i->durable + i->changed.lo,
		       i->changed.hi - i->changed.lo);
	i->changed = i->dirty = (struct span){ 0, 0 };
	i->poisoned = false;
}

void
disk_sim_crash(struct disk_sim *d)
{
	uint32_t units = 0;

	disk_sim_kill(d);
	d->counts.kills--;
	d->counts.crashes++;
	for (size_t i = 0; i < d->step_count; i++)
		if (d->knobs.cut == DISK_SIM_DRAWN ? draw(d) % 2 : i < d->knobs.cut_steps)
			apply(&d->durable, &d->steps[i]);
	forget_steps(d, d->step_count);
	while (d->now.count)
		unname(&d->now, &d->now.names[0]);
	for (size_t i = 0; i < d->durable.count; i++) {
		link_name(&d->now, d->durable.names[i].text, d->durable.names[i].inode);
		crash_inode(d, d->durable.names[i].inode, &units);
	}
}

void
disk_sim_advance(struct disk_sim *d, int64_t now_ns)
{
	d->now_ns = now_ns;
}

int64_t
disk_sim_next_ns(const struct disk_sim *d)
{
	int64_t next = INT64_MAX;

	for (size_t i = 0; i < d->pending_count; i++)
		if (d->pending[i].due_ns < next)
			next = d->pending[i].due_ns;
	return next;
}

const uint8_t *
disk_sim_durable(struct disk_sim *d, const char *name, size_t *ret_len)
{
	struct name *n = find(&d->now, name);

	if (!n)
		return NULL;
	*ret_len = n->inode->durable_size;
	return n->inode->durable;
}

uint8_t *
disk_sim_bytes(struct disk_sim *d, const char *name, size_t *ret_len)
{
	struct name *n = find(&d->now, name);

	if (!n)
		return NULL;
	*ret_len = n->inode->size;
	return n->inode->now;
}

void
disk_sim_flip(struct disk_sim *d, const char *name, size_t bit)
{
	struct name *n = find(&d->now, name);

	CHECK(n && bit / 8 < n->inode->size, bit);
	n->inode->now[bit / 8] ^= (uint8_t)(1 << bit % 8);
	n->inode->durable[bit / 8] ^= (uint8_t)(1 << bit % 8);
	d->counts.faults++;
}
