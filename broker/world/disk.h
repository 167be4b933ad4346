/*
 * disk.h -- everything the broker asks of a file system.  (Interface only.)
 *
 * Two implementations: disk_posix.c, which the daemon links, and
 * tests/sim/disk_sim.c, which keeps files in memory, loses what was not
 * synced, tears what was being written, and fails on request.
 *
 * One flat directory; names are plain, without a slash.  The journal is its only caller.
 *
 * Contract, which both honour and tests/contract/test_disk.c checks of both:
 *
 *   - allocate(), read(), sync() and sync_dir() only start; their end comes out of
 *     next() with the token given, as an event of the loop, perhaps already in the
 *     same turn.  Several may be under way; they may end in any order;
 *   - read() fills BUF, which must live until its end came; fewer bytes than asked
 *     for means the end of the file;
 *   - write() is done when it returns (short writes are finished inside);
 *   - written bytes are visible to read() at once, and to a restarted process
 *     only after a sync() begun after the write has ended with 0;
 *   - once sync() or write() has failed on a file, no later sync() of it may succeed:
 *     the kernel may have dropped the dirty pages and forgotten the error;
 *   - a name made, renamed or removed survives a crash only after sync_dir() ended;
 *   - reserve() sets space aside for [0, LEN), at once and without writing: no later
 *     write in there ends with ERR_NOSPACE.  The size does not change.  Where the file
 *     system cannot do that, 0 promises nothing (JOURNAL.md, what is assumed);
 *   - allocate() reserves [0, LEN) and writes zeroes where the file has no bytes
 *     yet; slowly and in the background, so that it never stalls a sync for long; an
 *     end with 0 means that they are durable too.  ERR_NOSPACE leaves what it had done;
 *   - wait() sleeps until next() has something or nothing is under way: only for
 *     recovery and shutdown, never in the loop.  The loop is woken through wake().
 *
 * Every call returns 0 or a negative ERR_* (ERR_IO, ERR_NOSPACE, ERR_NOTFOUND,
 * ERR_EXISTS, ERR_LOCKED, ERR_SYSTEM); none of them logs.
 */
#ifndef DISK_H
#define DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct disk;
struct disk_file;

struct disk_done {
	uint64_t token;
	int err;
	size_t len;
	int64_t ns;			/* of a sync: how long it took, for estimates only */
};

struct disk_ops {
	int (*lock)(struct disk *d);	/* the data directory: one daemon at a time; ERR_LOCKED */
	int (*list)(struct disk *d, void (*each)(void *arg, const char *name, uint64_t size),
		    void *arg);
	/* Opens for reading and writing; CREATE makes it (ERR_EXISTS when it is there). */
	int (*open)(struct disk *d, const char *name, bool create, struct disk_file **ret_file);
	int (*size)(struct disk_file *f, uint64_t *ret_size);
	int (*reserve)(struct disk_file *f, uint64_t len);
	int (*allocate)(struct disk_file *f, uint64_t len, uint64_t token);
	int (*read)(struct disk_file *f, uint64_t offset, void *buf, size_t len, uint64_t token);
	int (*write)(struct disk_file *f, uint64_t offset, const struct iovec *iov, int iov_count);
	int (*sync)(struct disk_file *f, uint64_t token);
	int (*close)(struct disk_file *f);	/* nothing may be under way on it */
	int (*rename)(struct disk *d, const char *from, const char *to);
	int (*remove)(struct disk *d, const char *name);
	int (*sync_dir)(struct disk *d, uint64_t token);
	bool (*next)(struct disk *d, struct disk_done *ret_done);
	void (*wait)(struct disk *d);
	/*
	 * WAKE is called, perhaps on another thread, when next() has something new.  Not for what
	 * ended inside the call that began it: the caller knows that there was a call.
	 */
	void (*wake)(struct disk *d, void (*wake)(void *arg), void *arg);
	void (*free)(struct disk *d);		/* closes files, drops the lock */
};

struct disk {
	const struct disk_ops *ops;	/* first member of every implementation */
};

/*
 * The real one, on DIRECTORY (made 0700 when missing).  SYNC_INLINE_NS: while a sync takes
 * less than this by running estimate it runs inside sync(), above it on a helper thread; 0: always
 * the thread.  ERR_SYSTEM: errno tells.
 */
int disk_posix_open(const char *directory, int64_t sync_inline_ns, struct disk **ret_disk);

#endif /* DISK_H */
