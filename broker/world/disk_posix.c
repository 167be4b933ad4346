/*
 * disk_posix.c -- one directory of a real file system.
 *
 * Three helper threads, each started when it is first needed and each with a queue of its own, so
 * that no kind of work waits behind another: one syncs, one reads what the page cache does not
 * have, one fills spares.  A sync runs inside the call while syncs are fast, because two context
 * switches cost a third of one; a read is tried without waiting first (RWF_NOWAIT).
 *
 * Zeroes are really written: blocks that are only reserved are converted at the first write to
 * them, in the file system's own journal, and that shows as milliseconds in a sync.  They are
 * written in small pieces, each synced, with a pause as long as the piece took: a big flush would
 * make every sync of the journal wait.
 */
#include "world/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "base/err.h"
#include "base/list.h"

#define PIECE        (1u << 20)
#define PIECE_WRITE  (128u << 10)
#define PAUSE_MIN_NS (2 * NS_PER_MS)
#define PAUSE_MAX_NS (100 * NS_PER_MS)

struct disk_file {
	struct disk_posix *disk;
	int fd;
	atomic_bool poisoned; /* a write or a sync failed: none may succeed any more         */
	atomic_uint busy;     /* calls under way                                            */
	struct list link;
};

enum job_kind { JOB_SYNC, JOB_SYNC_DIR, JOB_READ, JOB_ALLOCATE };

struct job {
	struct list link;
	enum job_kind kind;
	struct disk_file *file;
	uint64_t offset;
	uint8_t *buf;
	size_t len;
	struct disk_done done;
};

struct worker {
	struct disk_posix *disk;
	struct list jobs;
	pthread_cond_t more;
	pthread_t thread;
	bool running;
	bool working;
};

enum worker_kind { WORKER_SYNC, WORKER_READ, WORKER_FILL, WORKERS };

struct disk_posix {
	struct disk disk;
	int dir;
	int lock_fd;
	int64_t sync_inline_ns;
	_Atomic int64_t sync_ns; /* running estimate                                         */
	struct list files;
	void (*wake)(void *arg);
	void *wake_arg;

	pthread_mutex_t mutex; /* for all below                                            */
	pthread_cond_t ended;
	struct list done;
	size_t under_way;
	bool stopping;
	struct worker workers[WORKERS];
};

static struct disk_posix *
posix(struct disk *disk)
{
	return CONTAINER_OF(disk, struct disk_posix, disk);
}

static int64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

static int
err_of(int number)
{
	switch (number) {
	case EIO:
		return ERR_IO;
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return ERR_NOSPACE;
	case ENOENT:
		return ERR_NOTFOUND;
	case EEXIST:
		return ERR_EXISTS;
	}
	return ERR_SYSTEM;
}

/* ---- what the threads do ---------------------------------------------------------------- */

static void
learn(struct disk_posix *d, int64_t ns)
{
	int64_t mean = atomic_load(&d->sync_ns);

	atomic_store(&d->sync_ns, mean ? mean + (ns - mean) / 8 : ns);
}

static void
do_sync(struct disk_posix *d, struct job *job)
{
	struct disk_file *f = job->file;
	int64_t begun = now_ns();

	/* Never again after a failure, not even when the kernel would say yes. */
	if (atomic_load(&f->poisoned) || fdatasync(f->fd) < 0) {
		atomic_store(&f->poisoned, true);
		job->done.err = ERR_IO;
	}
	/* A write may have failed meanwhile on the other thread. */
	if (atomic_load(&f->poisoned))
		job->done.err = ERR_IO;
	job->done.ns = now_ns() - begun;
	learn(d, job->done.ns);
}

static void
do_read(struct job *job)
{
	while (job->done.len < job->len) {
		ssize_t n = pread(job->file->fd, job->buf + job->done.len, job->len - job->done.len,
				  (off_t)(job->offset + job->done.len));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			job->done.err = err_of(errno);
		if (n <= 0)
			return;
		job->done.len += (size_t)n;
	}
}

/* Lets others have the disk; false: we are to stop. */
static bool
pause_for(struct disk_posix *d, int64_t ns)
{
	struct worker *w = &d->workers[WORKER_FILL];
	struct timespec until;
	bool stopping;

	ns = min_i64(max_i64(ns, PAUSE_MIN_NS), PAUSE_MAX_NS);
	ns += now_ns();
	until.tv_sec = ns / NS_PER_S;
	until.tv_nsec = ns % NS_PER_S;
	pthread_mutex_lock(&d->mutex);
	while (!d->stopping && pthread_cond_timedwait(&w->more, &d->mutex, &until) == 0)
		;
	stopping = d->stopping;
	pthread_mutex_unlock(&d->mutex);
	return !stopping;
}

/*
 * A write makes folios of the page cache as large as it is itself, and every later write looks at
 * all blocks of each folio that it touches: with a mebibyte that costs the journal 5 us a time.
 */
static int
write_zeroes(int fd, uint64_t offset, size_t len)
{
	static const uint8_t zeroes[PIECE_WRITE];

	while (len) {
		ssize_t n = pwrite(fd, zeroes, min_u64(len, sizeof(zeroes)), (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_of(errno);
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* One call that moves no data; the size stays, for it tells how much was ever written. */
static int
set_aside(int fd, uint64_t len)
{
	int err;

	do
		err = fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)len) < 0 ? errno : 0;
	while (err == EINTR);
	return err == 0 || err == EOPNOTSUPP ? 0 : err_of(err);
}

static int
do_allocate(struct disk_posix *d, struct job *job)
{
	int fd = job->file->fd, err;
	struct stat st;
	uint64_t at;

	if (fstat(fd, &st) < 0)
		return err_of(errno);
	at = (uint64_t)st.st_size;
	if (at >= job->len)
		return fdatasync(fd) < 0 ? ERR_IO : 0;
	err = set_aside(fd, job->len); /* where that cannot be, writing does it as well */
	if (err)
		return err;
	while (at < job->len) {
		size_t n = (size_t)min_u64(PIECE, job->len - at);
		int64_t begun = now_ns();

		err = write_zeroes(fd, at, n);
		if (err)
			return err;
		if (fdatasync(fd) < 0)
			return ERR_IO;
		at += n;
		if (at < job->len && !pause_for(d, now_ns() - begun))
			return ERR_SYSTEM;
	}
	return 0;
}

static void
perform(struct disk_posix *d, struct job *job)
{
	switch (job->kind) {
	case JOB_SYNC:
		do_sync(d, job);
		return;
	case JOB_SYNC_DIR:
		if (fsync(d->dir) < 0)
			job->done.err = ERR_IO;
		return;
	case JOB_READ:
		do_read(job);
		return;
	case JOB_ALLOCATE:
		job->done.err = do_allocate(d, job);
		return;
	}
}

static void
end(struct disk_posix *d, struct job *job)
{
	if (job->file)
		atomic_fetch_sub(&job->file->busy, 1);
	pthread_mutex_lock(&d->mutex);
	list_add_tail(&d->done, &job->link);
	d->under_way--;
	pthread_cond_broadcast(&d->ended);
	pthread_mutex_unlock(&d->mutex);
}

static void *
work(void *arg)
{
	struct worker *w = arg;
	struct disk_posix *d = w->disk;

	pthread_mutex_lock(&d->mutex);
	for (;;) {
		struct job *job;

		while (list_empty(&w->jobs) && !d->stopping)
			pthread_cond_wait(&w->more, &d->mutex);
		if (list_empty(&w->jobs))
			break;
		job = LIST_ENTRY(w->jobs.next, struct job, link);
		list_del(&job->link);
		w->working = true;
		pthread_mutex_unlock(&d->mutex);
		perform(d, job);
		pthread_mutex_lock(&d->mutex);
		w->working = false;
		pthread_mutex_unlock(&d->mutex);
		end(d, job);
		pthread_mutex_lock(&d->mutex);
		void (*wake)(void *arg) = d->wake;
		void *wake_arg = d->wake_arg;
		pthread_mutex_unlock(&d->mutex);
		if (wake)
			wake(wake_arg);
		pthread_mutex_lock(&d->mutex);
	}
	pthread_mutex_unlock(&d->mutex);
	return NULL;
}

/* ---- handing over -------------------------------------------------------------------------- */

static struct job *
job_new(enum job_kind kind, struct disk_file *f, uint64_t token)
{
	struct job *job = mem_alloc(sizeof(*job));

	list_init(&job->link);
	job->kind = kind;
	job->file = f;
	job->done.token = token;
	if (f)
		atomic_fetch_add(&f->busy, 1);
	return job;
}

/* With the mutex held.  Signals are the main thread's. */
static int
start_worker(struct worker *w)
{
	sigset_t all, before;
	int err;

	if (w->running)
		return 0;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&w->thread, NULL, work, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	w->running = err == 0;
	errno = err;
	return err ? ERR_SYSTEM : 0;
}

static void
count_under_way(struct disk_posix *d)
{
	pthread_mutex_lock(&d->mutex);
	d->under_way++;
	pthread_mutex_unlock(&d->mutex);
}

static int
hand_over(struct disk_posix *d, enum worker_kind kind, struct job *job)
{
	struct worker *w = &d->workers[kind];
	int err;

	pthread_mutex_lock(&d->mutex);
	err = start_worker(w);
	if (!err) {
		d->under_way++;
		list_add_tail(&w->jobs, &job->link);
		pthread_cond_signal(&w->more);
	}
	pthread_mutex_unlock(&d->mutex);
	if (err) {
		if (job->file)
			atomic_fetch_sub(&job->file->busy, 1);
		mem_free(job);
	}
	return err;
}

static bool
syncer_busy(struct disk_posix *d)
{
	struct worker *w = &d->workers[WORKER_SYNC];
	bool busy;

	pthread_mutex_lock(&d->mutex);
	busy = w->working || !list_empty(&w->jobs);
	pthread_mutex_unlock(&d->mutex);
	return busy;
}

/* ---- the operations -------------------------------------------------------------------------- */

static int
posix_lock(struct disk *disk)
{
	struct disk_posix *d = posix(disk);
	int fd;

	if (d->lock_fd >= 0)
		return ERR_LOCKED;
	fd = openat(d->dir, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_of(errno);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		int err = errno == EWOULDBLOCK ? ERR_LOCKED : err_of(errno);

		close(fd);
		return err;
	}
	d->lock_fd = fd;
	return 0;
}

static int
posix_list(struct disk *disk, void (*each)(void *arg, const char *name, uint64_t size), void *arg)
{
	struct disk_posix *d = posix(disk);
	int fd = openat(d->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *e;
	DIR *dir;

	if (fd < 0)
		return err_of(errno);
	dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return ERR_SYSTEM;
	}
	for (errno = 0; (e = readdir(dir)); errno = 0) {
		struct stat st;

		if (fstatat(d->dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !S_ISREG(st.st_mode) || strcmp(e->d_name, "lock") == 0)
			continue;
		each(arg, e->d_name, (uint64_t)st.st_size);
	}
	/* A listing that broke off would look like a journal with a gap. */
	int err = errno ? ERR_IO : 0;

	closedir(dir);
	return err;
}

static int
posix_open(struct disk *disk, const char *name, bool create, struct disk_file **ret_file)
{
	struct disk_posix *d = posix(disk);
	int flags = O_RDWR | O_NOFOLLOW | O_CLOEXEC | (create ? O_CREAT | O_EXCL : 0);
	struct disk_file *f;
	int fd;

	CHECK(!strchr(name, '/'), create);
	fd = openat(d->dir, name, flags, 0600);
	if (fd < 0)
		return err_of(errno);
	f = mem_alloc(sizeof(*f));
	f->disk = d;
	f->fd = fd;
	list_add_tail(&d->files, &f->link);
	*ret_file = f;
	return 0;
}

static int
posix_size(struct disk_file *f, uint64_t *ret_size)
{
	struct stat st;

	if (fstat(f->fd, &st) < 0)
		return err_of(errno);
	*ret_size = (uint64_t)st.st_size;
	return 0;
}

static int
posix_reserve(struct disk_file *f, uint64_t len)
{
	return set_aside(f->fd, len);
}

static int
posix_allocate(struct disk_file *f, uint64_t len, uint64_t token)
{
	struct job *job = job_new(JOB_ALLOCATE, f, token);

	job->len = (size_t)len;
	return hand_over(f->disk, WORKER_FILL, job);
}

static int
posix_read(struct disk_file *f, uint64_t offset, void *buf, size_t len, uint64_t token)
{
	struct job *job = job_new(JOB_READ, f, token);

	job->offset = offset;
	job->buf = buf;
	job->len = len;
	while (job->done.len < len) {
		struct iovec iov = { job->buf + job->done.len, len - job->done.len };
		ssize_t n = preadv2(f->fd, &iov, 1, (off_t)(offset + job->done.len), RWF_NOWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		/* Not in the page cache, or not possible here: a thread may wait for it. */
		if (n < 0)
			return hand_over(f->disk, WORKER_READ, job);
		if (n == 0)
			break;
		job->done.len += (size_t)n;
	}
	count_under_way(f->disk);
	end(f->disk, job);
	return 0;
}

/* Never tried again: what a disk that fails says first is the last that is believed. */
static int
write_failed(struct disk_file *f, ssize_t n)
{
	atomic_store(&f->poisoned, true);
	return n < 0 && err_of(errno) == ERR_NOSPACE ? ERR_NOSPACE : ERR_IO;
}

static int
posix_write(struct disk_file *f, uint64_t offset, const struct iovec *iov, int iov_count)
{
	if (atomic_load(&f->poisoned))
		return ERR_IO;
	for (int i = 0; i < iov_count; i++) {
		const uint8_t *p = iov[i].iov_base;
		size_t left = iov[i].iov_len;

		/* The usual case: all that is left in one call. */
		if (i == 0) {
			ssize_t n = pwritev(f->fd, iov, iov_count, (off_t)offset);
			size_t all = 0;

			for (int k = 0; k < iov_count; k++)
				all += iov[k].iov_len;
			if (n >= 0 && (size_t)n == all)
				return 0;
			if (n < 0 && errno != EINTR)
				return write_failed(f, n);
		}
		while (left) {
			ssize_t n = pwrite(f->fd, p, left, (off_t)offset);

			if (n < 0 && errno == EINTR)
				continue;
			if (n <= 0)
				return write_failed(f, n);
			p += n;
			left -= (size_t)n;
			offset += (uint64_t)n;
		}
	}
	return 0;
}

static int
posix_sync(struct disk_file *f, uint64_t token)
{
	struct disk_posix *d = f->disk;
	struct job *job = job_new(JOB_SYNC, f, token);

	if (atomic_load(&d->sync_ns) >= d->sync_inline_ns || syncer_busy(d))
		return hand_over(d, WORKER_SYNC, job);
	count_under_way(d);
	do_sync(d, job);
	end(d, job);
	return 0;
}

static int
posix_close(struct disk_file *f)
{
	CHECK(atomic_load(&f->busy) == 0, f->fd);
	list_del(&f->link);
	close(f->fd);
	mem_free(f);
	return 0;
}

static int
posix_rename(struct disk *disk, const char *from, const char *to)
{
	struct disk_posix *d = posix(disk);

	return renameat(d->dir, from, d->dir, to) < 0 ? err_of(errno) : 0;
}

static int
posix_remove(struct disk *disk, const char *name)
{
	return unlinkat(posix(disk)->dir, name, 0) < 0 ? err_of(errno) : 0;
}

static int
posix_sync_dir(struct disk *disk, uint64_t token)
{
	return hand_over(posix(disk), WORKER_SYNC, job_new(JOB_SYNC_DIR, NULL, token));
}

static bool
posix_next(struct disk *disk, struct disk_done *ret_done)
{
	struct disk_posix *d = posix(disk);
	struct job *job = NULL;

	pthread_mutex_lock(&d->mutex);
	if (!list_empty(&d->done)) {
		job = LIST_ENTRY(d->done.next, struct job, link);
		list_del(&job->link);
	}
	pthread_mutex_unlock(&d->mutex);
	if (!job)
		return false;
	*ret_done = job->done;
	mem_free(job);
	return true;
}

static void
posix_wait(struct disk *disk)
{
	struct disk_posix *d = posix(disk);

	pthread_mutex_lock(&d->mutex);
	while (list_empty(&d->done) && d->under_way)
		pthread_cond_wait(&d->ended, &d->mutex);
	pthread_mutex_unlock(&d->mutex);
}

static void
posix_wake(struct disk *disk, void (*wake)(void *arg), void *arg)
{
	struct disk_posix *d = posix(disk);

	pthread_mutex_lock(&d->mutex);
	d->wake_arg = arg;
	d->wake = wake;
	pthread_mutex_unlock(&d->mutex);
}

static void
drop_jobs(struct list *l)
{
	while (!list_empty(l)) {
		struct job *job = LIST_ENTRY(l->next, struct job, link);

		list_del(&job->link);
		mem_free(job);
	}
}

static void
posix_free(struct disk *disk)
{
	struct disk_posix *d = posix(disk);

	pthread_mutex_lock(&d->mutex);
	d->stopping = true;
	d->wake = NULL;
	for (size_t i = 0; i < WORKERS; i++)
		pthread_cond_broadcast(&d->workers[i].more);
	pthread_mutex_unlock(&d->mutex);
	for (size_t i = 0; i < WORKERS; i++) {
		if (d->workers[i].running)
			pthread_join(d->workers[i].thread, NULL);
		drop_jobs(&d->workers[i].jobs);
		pthread_cond_destroy(&d->workers[i].more);
	}
	drop_jobs(&d->done);
	while (!list_empty(&d->files))
		posix_close(LIST_ENTRY(d->files.next, struct disk_file, link));
	if (d->lock_fd >= 0)
		close(d->lock_fd);
	close(d->dir);
	pthread_cond_destroy(&d->ended);
	pthread_mutex_destroy(&d->mutex);
	mem_free(d);
}

/* A directory that we made must survive as well. */
static int
make_directory(const char *path)
{
	char *parent;
	char *slash;
	int fd;

	if (mkdir(path, 0700) < 0)
		return errno == EEXIST ? 0 : ERR_SYSTEM;
	parent = mem_dup(path, strlen(path) + 1);
	slash = strrchr(parent, '/');
	if (slash && slash != parent)
		*slash = '\0';
	fd = open(slash ? (slash == parent ? "/" : parent) : ".",
		  O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	mem_free(parent);
	if (fd < 0)
		return 0; /* a parent that we may not read: its owner's care */
	(void)fsync(fd);
	close(fd);
	return 0;
}

int
disk_posix_open(const char *directory, int64_t sync_inline_ns, struct disk **ret_disk)
{
	static const struct disk_ops ops = {
		.lock = posix_lock,
		.list = posix_list,
		.open = posix_open,
		.size = posix_size,
		.reserve = posix_reserve,
		.allocate = posix_allocate,
		.read = posix_read,
		.write = posix_write,
		.sync = posix_sync,
		.close = posix_close,
		.rename = posix_rename,
		.remove = posix_remove,
		.sync_dir = posix_sync_dir,
		.next = posix_next,
		.wait = posix_wait,
		.wake = posix_wake,
		.free = posix_free,
	};
	pthread_condattr_t attr;
	struct disk_posix *d;
	int dir, err = make_directory(directory);

	if (err)
		return err;
	dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return ERR_SYSTEM;
	d = mem_alloc(sizeof(*d));
	d->disk.ops = &ops;
	d->dir = dir;
	d->lock_fd = -1;
	d->sync_inline_ns = sync_inline_ns;
	list_init(&d->files);
	list_init(&d->done);
	pthread_mutex_init(&d->mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&d->ended, &attr);
	for (size_t i = 0; i < WORKERS; i++) {
		d->workers[i].disk = d;
		list_init(&d->workers[i].jobs);
		pthread_cond_init(&d->workers[i].more, &attr);
	}
	pthread_condattr_destroy(&attr);
	*ret_disk = &d->disk;
	return 0;
}
