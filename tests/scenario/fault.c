/*
 * fault.c -- a disk that fails on request, as a preload.
 *
 *	LD_PRELOAD=fault.so FAULT=sync:5 FAULT_DIR=/the/data FAULT_TRIGGER=/a/file FAULT_LOG=/b/file
 *
 * From the moment that the trigger file exists, every call of the kind (`write`: pwrite and
 * its relatives; `sync`: fdatasync, fsync, sync_file_range) on a file below FAULT_DIR fails
 * with the errno given by number.  Each failure adds one byte to FAULT_LOG: a test that
 * injected nothing has shown nothing, and must see it.
 */
#undef _FILE_OFFSET_BITS /* both names of each call are defined here, whichever the daemon uses */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

static bool
below_dir(int fd)
{
	const char *dir = getenv("FAULT_DIR");
	char link[64];
	char path[PATH_MAX];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < 0 || !dir)
		return false;
	path[n] = '\0';
	return strncmp(path, dir, strlen(dir)) == 0;
}

/* Shall this call fail?  Then errno is set and the failure is counted. */
static bool
fails(const char *kind, int fd)
{
	const char *fault = getenv("FAULT");
	const char *trigger = getenv("FAULT_TRIGGER");
	const char *log = getenv("FAULT_LOG");
	size_t n = strlen(kind);
	int saved = errno;
	int out;
	bool yes = fault && trigger && log && strncmp(fault, kind, n) == 0 && fault[n] == ':' &&
		   access(trigger, F_OK) == 0 && below_dir(fd);

	errno = saved;
	if (!yes)
		return false;
	out = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (out < 0 || dprintf(out, "x") != 1)
		abort();
	close(out);
	errno = atoi(fault + n + 1);
	return true;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

EXPORT ssize_t
pwrite(int fd, const void *p, size_t n, off_t at)
{
	return fails("write", fd) ? -1 : REAL(pwrite)(fd, p, n, at);
}

EXPORT ssize_t
pwrite64(int fd, const void *p, size_t n, off64_t at)
{
	return fails("write", fd) ? -1 : REAL(pwrite64)(fd, p, n, at);
}

EXPORT ssize_t
pwritev(int fd, const struct iovec *v, int n, off_t at)
{
	return fails("write", fd) ? -1 : REAL(pwritev)(fd, v, n, at);
}

EXPORT ssize_t
pwritev64(int fd, const struct iovec *v, int n, off64_t at)
{
	return fails("write", fd) ? -1 : REAL(pwritev64)(fd, v, n, at);
}

EXPORT ssize_t
pwritev2(int fd, const struct iovec *v, int n, off_t at, int flags)
{
	return fails("write", fd) ? -1 : REAL(pwritev2)(fd, v, n, at, flags);
}

EXPORT ssize_t
pwritev64v2(int fd, const struct iovec *v, int n, off64_t at, int flags)
{
	return fails("write", fd) ? -1 : REAL(pwritev64v2)(fd, v, n, at, flags);
}

EXPORT int
fdatasync(int fd)
{
	return fails("sync", fd) ? -1 : REAL(fdatasync)(fd);
}

EXPORT int
fsync(int fd)
{
	return fails("sync", fd) ? -1 : REAL(fsync)(fd);
}

EXPORT int
sync_file_range(int fd, off64_t at, off64_t n, unsigned flags)
{
	return fails("sync", fd) ? -1 : REAL(sync_file_range)(fd, at, n, flags);
}
