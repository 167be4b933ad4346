/*
 * shim.c -- slow syncs and a wall clock that jumps, as a preload.
 *
 *	LD_PRELOAD=shim.so SHIM_CONTROL=/a/file escrowd ...
 *
 * The control file is mapped, so that a test changes what happens while the daemon runs:
 *
 *	offset 0   i64   added to the wall clock, in nanoseconds
 *	       8   i64   longest delay before an fdatasync or fsync, in nanoseconds; each is drawn
 *	      16   u64   wall clock readings that were changed, counted here
 *	      24   u64   syncs that were delayed, counted here
 *	      32   u64   syncs that are being delayed now
 *
 * Only the daemon's own code sees another clock: librdkafka hands wall clock times to the
 * kernel to wait for, and the kernel's clock has not moved.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define EXPORT    __attribute__((visibility("default")))
#define NS_PER_S  1000000000
#define NS_PER_MS 1000000

struct control {
	_Atomic int64_t wall_ns;
	_Atomic int64_t delay_ns;
	_Atomic uint64_t readings;
	_Atomic uint64_t delays;
	_Atomic uint64_t waiting;
};

static struct control *control;
static uintptr_t begin, end;
static _Atomic uint64_t seed = 88172645463325252u;

/* The first object is the program itself. */
static int
first_object(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	(void)arg;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];

		if (p->p_type == PT_LOAD && p->p_flags & PF_X) {
			begin = info->dlpi_addr + p->p_vaddr;
			end = begin + p->p_memsz;
		}
	}
	return 1;
}

__attribute__((constructor)) static void
load(void)
{
	const char *path = getenv("SHIM_CONTROL");
	int fd;

	if (!path)
		return;
	dl_iterate_phdr(first_object, NULL);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		abort();
	control = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (control == MAP_FAILED)
		abort();
	close(fd);
	atomic_store(&control->waiting, 0); /* who was killed in one did not say so */
}

EXPORT int
clock_gettime(clockid_t id, struct timespec *t)
{
	static __typeof__(&clock_gettime) real;
	uintptr_t caller = (uintptr_t)__builtin_return_address(0);
	int64_t ns;

	if (!real)
		real = (__typeof__(&clock_gettime))dlsym(RTLD_NEXT, "clock_gettime");
	if (real(id, t) < 0)
		return -1;
	if (id != CLOCK_REALTIME || !control || caller < begin || caller >= end)
		return 0;
	ns = atomic_load(&control->wall_ns);
	if (ns) {
		ns += (int64_t)t->tv_sec * NS_PER_S + t->tv_nsec;
		t->tv_sec = ns / NS_PER_S;
		t->tv_nsec = ns % NS_PER_S;
		atomic_fetch_add(&control->readings, 1);
	}
	return 0;
}

static void
delay(void)
{
	int64_t most = control ? atomic_load(&control->delay_ns) : 0;
	uint64_t x;

	if (most <= 0)
		return;
	/* Any numbers do, also when two threads draw the same one. */
	x = atomic_load(&seed);
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	atomic_store(&seed, x);
	/* Not a test that waits for something to have happened: a disk that takes its time. */
	atomic_fetch_add(&control->waiting, 1);
	poll(NULL, 0, (int)(x % (uint64_t)most / NS_PER_MS));
	atomic_fetch_sub(&control->waiting, 1);
	atomic_fetch_add(&control->delays, 1);
}

EXPORT int
fdatasync(int fd)
{
	delay();
	return ((__typeof__(&fdatasync))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}

EXPORT int
fsync(int fd)
{
	delay();
	return ((__typeof__(&fsync))dlsym(RTLD_NEXT, "fsync"))(fd);
}
