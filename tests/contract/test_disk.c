/*
 * test_disk.c -- the promises of disk.h, asked of the real disk and of the simulated one.
 *
 * A user would lose: every proof that the simulator gives, if the disk in it behaved better than
 * the one under the daemon.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "base/err.h"
#include "journal/journal.h"
#include "contract/threads_fail.h"
#include "sim/disk_sim.h"
#include "unit/folder.h"
#include "unit/unit.h"

enum kind { SIM, SIM_SLOW, POSIX_INLINE, POSIX_THREADS, KINDS };

static enum kind kind;
static struct disk *d;
static struct disk_sim *sim;
static char directory[128];

/* What fdatasync() says next, 0 being what it says by itself; the linker leads its calls here. */
static _Atomic int sync_fails;

int __real_fdatasync(int fd); /* the linker's names */
int __wrap_fdatasync(int fd);

int
__wrap_fdatasync(int fd)
{
	int err = atomic_exchange(&sync_fails, 0);

	if (!err)
		return __real_fdatasync(fd);
	errno = err;
	return -1;
}

static void
open_real(void)
{
	ck_assert_int_eq(disk_posix_open(directory, kind == POSIX_INLINE ? NS_PER_S : 0, &d), 0);
}

static void
setup(int i)
{
	kind = (enum kind)i;
	if (kind <= SIM_SLOW) {
		sim = disk_sim_new(1);
		disk_sim_knobs(sim)->delay_max = kind == SIM_SLOW ? 7 : 0;
		d = disk_sim_disk(sim);
		return;
	}
	snprintf(directory, sizeof(directory), "%s/XXXXXX", folder);
	ck_assert_ptr_nonnull(mkdtemp(directory));
	/* it makes the directory itself */
	ck_assert_int_eq(rmdir(directory), 0);
	open_real();
}

static void
teardown(void)
{
	if (d)
		d->ops->free(d);
	d = NULL;
}

/* Another process, later: the same files. */
static void
reopen(void)
{
	if (kind <= SIM_SLOW) {
		disk_sim_kill(sim);
		return;
	}
	d->ops->free(d);
	open_real();
}

static struct disk_done
one_end(void)
{
	struct disk_done done;

	for (int i = 0; i < 100; i++) {
		if (d->ops->next(d, &done))
			return done;
		d->ops->wait(d);
	}
	ck_abort_msg("nothing ended");
}

static void
must_end(uint64_t token, int err)
{
	struct disk_done done = one_end();

	ck_assert_uint_eq(done.token, token);
	ck_assert_int_eq(done.err, err);
}

static struct disk_file *
make(const char *name)
{
	struct disk_file *f;

	ck_assert_int_eq(d->ops->open(d, name, true, &f), 0);
	return f;
}

static int
put(struct disk_file *f, uint64_t offset, const char *text)
{
	struct iovec iov[2] = { { (void *)(uintptr_t)text, strlen(text) / 2 },
				{ (void *)(uintptr_t)(text + strlen(text) / 2),
				  strlen(text) - strlen(text) / 2 } };

	return d->ops->write(f, offset, iov, 2);
}

static size_t
get(struct disk_file *f, uint64_t offset, char *buf, size_t len)
{
	struct disk_done done;

	ck_assert_int_eq(d->ops->read(f, offset, buf, len, 99), 0);
	done = one_end();
	ck_assert_uint_eq(done.token, 99);
	ck_assert_int_eq(done.err, 0);
	return done.len;
}

static void
must_sync(struct disk_file *f)
{
	ck_assert_int_eq(d->ops->sync(f, 1), 0);
	must_end(1, 0);
	ck_assert_int_eq(d->ops->sync_dir(d, 2), 0);
	must_end(2, 0);
}

START_TEST(what_was_written_is_read_at_once)
{
	struct disk_file *f;
	char buf[64];
	uint64_t size;

	setup(_i);
	f = make("a");
	ck_assert_int_eq(put(f, 0, "hello, world"), 0);
	ck_assert_uint_eq(get(f, 0, buf, 12), 12);
	ck_assert_mem_eq(buf, "hello, world", 12);
	ck_assert_int_eq(put(f, 7, "disks"), 0);
	ck_assert_uint_eq(get(f, 5, buf, 60), 7);
	ck_assert_mem_eq(buf, ", disks", 7);
	/* behind the end, and in a hole */
	ck_assert_uint_eq(get(f, 100, buf, 10), 0);
	ck_assert_int_eq(put(f, 5000, "far"), 0);
	ck_assert_uint_eq(get(f, 4000, buf, 10), 10);
	ck_assert_mem_eq(buf, "\0\0\0\0\0\0\0\0\0\0", 10);
	ck_assert_int_eq(d->ops->size(f, &size), 0);
	ck_assert_uint_eq(size, 5003);
	ck_assert_int_eq(d->ops->close(f), 0);
	teardown();
}
END_TEST

START_TEST(names_are_made_once_and_found_again)
{
	struct disk_file *f, *g;
	char buf[8];

	setup(_i);
	f = make("a");
	ck_assert_int_eq(d->ops->open(d, "a", true, &g), ERR_EXISTS);
	ck_assert_int_eq(d->ops->open(d, "b", false, &g), ERR_NOTFOUND);
	ck_assert_int_eq(put(f, 0, "first"), 0);
	must_sync(f);
	ck_assert_int_eq(d->ops->rename(d, "a", "b"), 0);
	ck_assert_int_eq(d->ops->rename(d, "a", "c"), ERR_NOTFOUND);
	/* the handle follows the file */
	ck_assert_int_eq(put(f, 0, "FIRST"), 0);
	ck_assert_int_eq(d->ops->close(f), 0);
	f = make("a");
	ck_assert_int_eq(put(f, 0, "other"), 0);
	ck_assert_int_eq(d->ops->close(f), 0);
	ck_assert_int_eq(d->ops->rename(d, "b", "a"), 0);
	ck_assert_int_eq(d->ops->open(d, "a", false, &f), 0);
	ck_assert_uint_eq(get(f, 0, buf, 8), 5);
	ck_assert_mem_eq(buf, "FIRST", 5);
	ck_assert_int_eq(d->ops->close(f), 0);
	ck_assert_int_eq(d->ops->remove(d, "a"), 0);
	ck_assert_int_eq(d->ops->remove(d, "a"), ERR_NOTFOUND);
	ck_assert_int_eq(d->ops->open(d, "a", false, &f), ERR_NOTFOUND);
	teardown();
}
END_TEST

static uint64_t listed_bytes;
static int listed;

static void
each(void *arg, const char *name, uint64_t size)
{
	(void)arg;
	ck_assert(strcmp(name, "a") == 0 || strcmp(name, "b") == 0);
	listed++;
	listed_bytes += size;
}

START_TEST(a_listing_tells_names_and_sizes_and_not_the_lock)
{
	struct disk_file *f;

	setup(_i);
	ck_assert_int_eq(d->ops->lock(d), 0);
	f = make("a");
	ck_assert_int_eq(put(f, 0, "hello"), 0);
	ck_assert_int_eq(d->ops->close(f), 0);
	f = make("b");
	ck_assert_int_eq(put(f, 10, "hi"), 0);
	ck_assert_int_eq(d->ops->close(f), 0);
	listed = 0;
	listed_bytes = 0;
	ck_assert_int_eq(d->ops->list(d, each, NULL), 0);
	ck_assert_int_eq(listed, 2);
	ck_assert_uint_eq(listed_bytes, 17);
	teardown();
}
END_TEST

START_TEST(synced_bytes_are_there_for_the_next_process)
{
	struct disk_file *f;
	char buf[8];

	setup(_i);
	f = make("a");
	ck_assert_int_eq(put(f, 0, "kept"), 0);
	must_sync(f);
	ck_assert_int_eq(d->ops->close(f), 0);
	reopen();
	ck_assert_int_eq(d->ops->open(d, "a", false, &f), 0);
	ck_assert_uint_eq(get(f, 0, buf, 8), 4);
	ck_assert_mem_eq(buf, "kept", 4);
	ck_assert_int_eq(d->ops->close(f), 0);
	teardown();
}
END_TEST

START_TEST(one_process_holds_the_lock)
{
	setup(_i);
	ck_assert_int_eq(d->ops->lock(d), 0);
	ck_assert_int_eq(d->ops->lock(d), ERR_LOCKED);
	if (kind >= POSIX_INLINE) {
		struct disk *other;

		ck_assert_int_eq(disk_posix_open(directory, 0, &other), 0);
		ck_assert_int_eq(other->ops->lock(other), ERR_LOCKED);
		other->ops->free(other);
	}
	reopen();
	ck_assert_int_eq(d->ops->lock(d), 0);
	teardown();
}
END_TEST

START_TEST(several_calls_are_under_way_and_each_ends_once)
{
	static char bufs[16][4096];
	struct disk_file *f, *g;
	uint64_t seen = 0;

	setup(_i);
	f = make("a");
	g = make("b");
	for (uint64_t i = 0; i < 16; i++)
		ck_assert_int_eq(put(f, i * 4096, "0123456789"), 0);
	for (uint64_t i = 0; i < 16; i++) {
		ck_assert_int_eq(d->ops->read(f, i * 4096, bufs[i], 4096, i), 0);
		if (i % 5 == 0)
			ck_assert_int_eq(d->ops->sync(g, 16 + i), 0);
	}
	ck_assert_int_eq(d->ops->sync_dir(d, 40), 0);
	ck_assert_int_eq(d->ops->allocate(g, 100000, 41), 0);
	for (int i = 0; i < 16 + 4 + 2; i++) {
		struct disk_done done = one_end();

		ck_assert_int_eq(done.err, 0);
		ck_assert(!(seen & UINT64_C(1) << done.token));
		seen |= UINT64_C(1) << done.token;
	}
	for (int i = 0; i < 16; i++)
		ck_assert_mem_eq(bufs[i], "0123456789", 10);
	/* and then nothing is under way, and wait() does not stand there for ever */
	d->ops->wait(d);
	struct disk_done done;

	ck_assert(!d->ops->next(d, &done));
	ck_assert_int_eq(d->ops->close(f), 0);
	ck_assert_int_eq(d->ops->close(g), 0);
	teardown();
}
END_TEST

START_TEST(allocation_keeps_what_is_there_and_adds_zeroes)
{
	struct disk_file *f;
	static char buf[70000];
	uint64_t size;

	setup(_i);
	f = make("a");
	ck_assert_int_eq(put(f, 0, "head"), 0);
	ck_assert_int_eq(d->ops->allocate(f, 3000000, 7), 0);
	must_end(7, 0);
	ck_assert_int_eq(d->ops->size(f, &size), 0);
	ck_assert_uint_eq(size, 3000000);
	ck_assert_uint_eq(get(f, 0, buf, sizeof(buf)), sizeof(buf));
	ck_assert_mem_eq(buf, "head", 4);
	for (size_t i = 4; i < sizeof(buf); i++)
		ck_assert_int_eq(buf[i], 0);
	/* once more changes nothing */
	ck_assert_int_eq(d->ops->allocate(f, 1000, 8), 0);
	must_end(8, 0);
	ck_assert_int_eq(d->ops->size(f, &size), 0);
	ck_assert_uint_eq(size, 3000000);
	ck_assert_int_eq(d->ops->close(f), 0);
	teardown();
}
END_TEST

START_TEST(what_is_set_aside_shows_in_no_byte_and_no_size)
{
	struct disk_file *f;
	char buf[16];
	uint64_t size;

	setup(_i);
	f = make("a");
	ck_assert_int_eq(put(f, 0, "head"), 0);
	ck_assert_int_eq(d->ops->reserve(f, 3000000), 0);
	ck_assert_int_eq(d->ops->size(f, &size), 0);
	ck_assert_uint_eq(size, 4);
	ck_assert_uint_eq(get(f, 0, buf, sizeof(buf)), 4);
	ck_assert_mem_eq(buf, "head", 4);
	/* more than there can be; and what is set aside already stays */
	if (kind <= SIM_SLOW)
		disk_sim_knobs(sim)->capacity = 4000000;
	ck_assert_int_eq(d->ops->reserve(f, UINT64_C(1) << 55), ERR_NOSPACE);
	ck_assert_int_eq(put(f, 2999990, "0123456789"), 0);
	ck_assert_int_eq(d->ops->sync(f, 7), 0);
	must_end(7, 0);
	ck_assert_int_eq(d->ops->close(f), 0);
	teardown();
}
END_TEST

/* Room for N more bytes, in the way that each disk has. */
static void
limit_bytes(uint64_t n)
{
	if (kind <= SIM_SLOW) {
		disk_sim_knobs(sim)->capacity = n;
		return;
	}
	signal(SIGXFSZ, SIG_IGN);
	struct rlimit l = { n, RLIM_INFINITY };

	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &l), 0);
}

START_TEST(a_full_disk_says_so_and_a_failed_write_is_for_ever)
{
	struct disk_file *f, *g;

	setup(_i);
	f = make("a");
	g = make("b");
	ck_assert_int_eq(put(f, 0, "0123456789"), 0);
	limit_bytes(2000);
	ck_assert_int_eq(d->ops->allocate(g, 1000000, 7), 0);
	must_end(7, ERR_NOSPACE);
	ck_assert_int_eq(put(f, 5000, "x0123456789"), ERR_NOSPACE);
	limit_bytes(1000000000);
	/* there is room again, but what this file missed is missed */
	ck_assert_int_eq(put(f, 0, "0123456789"), ERR_IO);
	ck_assert_int_eq(d->ops->sync(f, 8), 0);
	must_end(8, ERR_IO);
	ck_assert_int_eq(d->ops->sync(f, 9), 0);
	must_end(9, ERR_IO);
	/* others live on */
	ck_assert_int_eq(put(g, 0, "0123456789"), 0);
	ck_assert_int_eq(d->ops->sync(g, 10), 0);
	must_end(10, 0);
	ck_assert_int_eq(d->ops->close(f), 0);
	ck_assert_int_eq(d->ops->close(g), 0);
	teardown();
}
END_TEST

/* The next sync fails, and the kernel forgets: the one behind it would say that all is well. */
static void
fail_one_sync(void)
{
	if (kind <= SIM_SLOW)
		disk_sim_knobs(sim)->fail_sync = 1;
	else
		sync_fails = EIO;
}

START_TEST(after_a_failed_sync_nothing_of_the_file_is_believed)
{
	struct disk_file *f, *g;
	char buf[8];

	setup(_i);
	f = make("a");
	g = make("b");
	ck_assert_int_eq(put(f, 0, "kept"), 0);
	must_sync(f);
	ck_assert_int_eq(put(f, 4, "lost"), 0);
	fail_one_sync();
	ck_assert_int_eq(d->ops->sync(f, 3), 0);
	must_end(3, ERR_IO);
	ck_assert_int_eq(put(f, 8, "more"), ERR_IO);
	ck_assert_int_eq(d->ops->sync(f, 4), 0);
	must_end(4, ERR_IO);
	/* what is there can be read, and others live on */
	ck_assert_uint_ge(get(f, 0, buf, 4), 4);
	ck_assert_mem_eq(buf, "kept", 4);
	ck_assert_int_eq(put(g, 0, "other"), 0);
	ck_assert_int_eq(d->ops->sync(g, 5), 0);
	must_end(5, 0);
	ck_assert_int_eq(d->ops->close(f), 0);
	ck_assert_int_eq(d->ops->close(g), 0);
	teardown();
}
END_TEST

/* A process at its limit of threads: each call that needs one says so, and works when there is. */
START_TEST(a_thread_that_cannot_be_started_is_told)
{
	struct disk_file *f;

	setup(POSIX_THREADS);
	f = make("a");
	threads_fail = 1;
	ck_assert_int_eq(d->ops->sync(f, 1), ERR_SYSTEM);
	threads_fail = 1;
	ck_assert_int_eq(d->ops->sync_dir(d, 2), ERR_SYSTEM);
	threads_fail = 1;
	ck_assert_int_eq(d->ops->allocate(f, 100000, 3), ERR_SYSTEM);
	/* nothing of these is under way: nobody waits for them, and the file can be closed */
	d->ops->wait(d);
	ck_assert(!d->ops->next(d, &(struct disk_done){ 0 }));
	ck_assert_int_eq(d->ops->close(f), 0);
	ck_assert_int_eq(d->ops->open(d, "a", false, &f), 0);
	ck_assert_int_eq(put(f, 0, "kept"), 0);
	must_sync(f);
	ck_assert_int_eq(d->ops->allocate(f, 100000, 4), 0);
	must_end(4, 0);
	ck_assert_int_eq(d->ops->close(f), 0);
	teardown();
}
END_TEST

static pthread_mutex_t wake_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake_cond = PTHREAD_COND_INITIALIZER;
static int woken;

static void
on_wake(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&wake_mutex);
	woken++;
	pthread_cond_signal(&wake_cond);
	pthread_mutex_unlock(&wake_mutex);
}

START_TEST(an_end_that_comes_later_wakes_the_loop)
{
	struct disk_done done;

	setup(_i);
	d->ops->wake(d, on_wake, NULL);
	woken = 0;
	ck_assert_int_eq(d->ops->sync_dir(d, 5), 0);
	do {
		pthread_mutex_lock(&wake_mutex);
		while (!woken)
			pthread_cond_wait(&wake_cond, &wake_mutex);
		woken--;
		pthread_mutex_unlock(&wake_mutex);
	} while (!d->ops->next(d, &done));
	ck_assert_uint_eq(done.token, 5);
	teardown();
}
END_TEST

/* A user would lose: files outside, to somebody who may write into the data directory. */
START_TEST(links_are_not_followed_and_nobody_else_may_look)
{
	struct disk_file *f;
	char path[sizeof(directory) + 8];
	struct stat st;

	setup(POSIX_INLINE);
	snprintf(path, sizeof(path), "%s/%s", directory, "a");
	ck_assert_int_eq(symlink("/etc/hostname", path), 0);
	ck_assert_int_lt(d->ops->open(d, "a", false, &f), 0);
	listed = 0;
	ck_assert_int_eq(d->ops->list(d, each, NULL), 0);
	ck_assert_int_eq(listed, 0);
	ck_assert_int_eq(stat(directory, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0700);
	teardown();
}
END_TEST

/* ---- the journal on the real thing ---------------------------------------------------------- */

static uint64_t durable_to;
static int recovered;

static int
take(void *arg, const struct entry *e, struct place place)
{
	(void)arg;
	(void)place;
	recovered += e->type == ENTRY_CLUSTER;
	return 0;
}

static void
state(void *arg, struct entry_state *s)
{
	(void)arg;
	memset(s, 0, sizeof(*s));
}

static void
reclaim(void *arg, const struct entry *e, struct place place)
{
	(void)arg;
	(void)e;
	(void)place;
}

static void
durable(void *arg, uint64_t lsn)
{
	(void)arg;
	durable_to = lsn;
}

static void
space(void *arg, bool ok)
{
	(void)arg;
	(void)ok;
}

/* A user would lose: everything, if the journal worked on the simulated disk only. */
START_TEST(a_journal_lives_here)
{
	static const struct journal_client client = { .recover = take,
						      .state = state,
						      .reclaim = reclaim,
						      .durable = durable,
						      .space = space };
	struct journal_conf conf = { .segment_bytes = 65536,
				     .quota_bytes = 65536 * 8,
				     .cache_bytes = 65536,
				     .retention_ms = UINT64_C(1) << 50 };
	struct journal_fault fault;
	struct journal *j;
	bool fresh;
	int64_t now = 0;
	uint64_t appended = 0;

	setup(_i);
	for (int life = 0; life < 3; life++) {
		recovered = 0;
		ck_assert_int_eq(journal_open(d, &conf, &client, NULL, &j, &fresh, &fault), 0);
		ck_assert(fresh == (life == 0));
		if (life == 1)
			ck_assert_int_eq(recovered, 100);
		ck_assert_int_eq(journal_start(j, 1000), 0);
		for (int i = 0; i < (life ? 3000 : 100); i++) {
			struct entry e = { .type = ENTRY_CLUSTER,
					   .cluster = { STR("0123456789") } };
			char big[2000] = { 0 };
			struct place p;

			if (life)
				e.cluster.id = str_from(big, (size_t)(i % 2000));
			ck_assert_int_eq(journal_append(j, &e, &p), 0);
			appended = p.lsn + p.len;
			while (durable_to < appended) {
				now += NS_PER_MS;
				ck_assert_int_eq(journal_persist(j, now, 1000), 0);
				ck_assert_int_eq(journal_poll(j, now), 0);
				if (durable_to < appended)
					d->ops->wait(d);
			}
		}
		if (life)
			ck_assert_uint_gt(journal_stats(j)->reclaimed, 3);
		ck_assert_uint_le(journal_stats(j)->segments + journal_stats(j)->spares, 8);
		ck_assert_int_eq(journal_sync(j), 0);
		journal_free(j);
		reopen();
		durable_to = 0;
	}
	teardown();
}
END_TEST

/*
 * A user would lose: records that were answered.  A sync fails under a journal; what is appended
 * behind it is taken, as a turn must be able to end, and never called durable.
 */
START_TEST(a_journal_ends_with_its_first_failed_sync)
{
	static const struct journal_client client = { .recover = take,
						      .state = state,
						      .reclaim = reclaim,
						      .durable = durable,
						      .space = space };
	struct entry e = { .type = ENTRY_CLUSTER, .cluster = { STR("0123456789") } };
	struct journal_conf conf = { .segment_bytes = 65536,
				     .quota_bytes = 65536 * 8,
				     .cache_bytes = 65536,
				     .retention_ms = UINT64_C(1) << 50 };
	struct journal_fault fault;
	struct journal *j;
	struct place p;
	int64_t now = 0;
	uint64_t kept;
	bool fresh;
	int err = 0;

	setup(_i);
	ck_assert_int_eq(journal_open(d, &conf, &client, NULL, &j, &fresh, &fault), 0);
	ck_assert_int_eq(journal_start(j, 1000), 0);
	ck_assert_int_eq(journal_append(j, &e, &p), 0);
	ck_assert_int_eq(journal_sync(j), 0);
	kept = durable_to;
	ck_assert_uint_ge(kept, p.lsn + p.len);
	ck_assert_int_eq(journal_append(j, &e, &p), 0);
	fail_one_sync();
	while (!err) {
		now += NS_PER_MS;
		err = journal_persist(j, now, 1000);
		if (!err)
			err = journal_poll(j, now);
		if (!err)
			d->ops->wait(d);
	}
	ck_assert_int_eq(err, ERR_IO);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(journal_append(j, &e, &p), 0);
		ck_assert_int_eq(journal_persist(j, now += NS_PER_S, 1000), ERR_IO);
		ck_assert_int_eq(journal_poll(j, now), ERR_IO);
	}
	ck_assert_int_eq(journal_sync(j), ERR_IO);
	ck_assert_uint_eq(durable_to, kept);
	journal_free(j);
	/* the next process finds what was durable, and goes on */
	reopen();
	recovered = 0;
	ck_assert_int_eq(journal_open(d, &conf, &client, NULL, &j, &fresh, &fault), 0);
	ck_assert_int_ge(recovered, 1);
	ck_assert_int_eq(journal_start(j, 1000), 0);
	ck_assert_int_eq(journal_append(j, &e, &p), 0);
	ck_assert_int_eq(journal_sync(j), 0);
	journal_free(j);
	teardown();
}
END_TEST

int
main(void)
{
	TCase *t = unit_case("disk", NULL, NULL);

	tcase_add_loop_test(t, what_was_written_is_read_at_once, 0, KINDS);
	tcase_add_loop_test(t, names_are_made_once_and_found_again, 0, KINDS);
	tcase_add_loop_test(t, a_listing_tells_names_and_sizes_and_not_the_lock, 0, KINDS);
	tcase_add_loop_test(t, synced_bytes_are_there_for_the_next_process, 0, KINDS);
	tcase_add_loop_test(t, one_process_holds_the_lock, 0, KINDS);
	tcase_add_loop_test(t, several_calls_are_under_way_and_each_ends_once, 0, KINDS);
	tcase_add_loop_test(t, allocation_keeps_what_is_there_and_adds_zeroes, 0, KINDS);
	tcase_add_loop_test(t, what_is_set_aside_shows_in_no_byte_and_no_size, 0, KINDS);
	tcase_add_loop_test(t, a_full_disk_says_so_and_a_failed_write_is_for_ever, 0, KINDS);
	tcase_add_loop_test(t, after_a_failed_sync_nothing_of_the_file_is_believed, 0, KINDS);
	tcase_add_test(t, a_thread_that_cannot_be_started_is_told);
	tcase_add_loop_test(t, a_journal_ends_with_its_first_failed_sync, 0, KINDS);
	tcase_add_loop_test(t, an_end_that_comes_later_wakes_the_loop, 0, KINDS);
	tcase_add_test(t, links_are_not_followed_and_nobody_else_may_look);
	tcase_add_loop_test(t, a_journal_lives_here, 0, KINDS);
	return unit_run_case("disk", t);
}
