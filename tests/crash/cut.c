/*
 * cut.c -- the power fails, as far as one file system can tell.
 *
 *	cut MOUNTPOINT DIRECTORY SEED PERCENT COPIES
 *
 * First it tears: of the dirty pages of the two highest segments in DIRECTORY about PERCENT of
 * a hundred are written out, drawn by SEED, so that what reaches the disk has holes.  Then it
 * shuts the ext4 of MOUNTPOINT down without flushing its log (EXT4_IOC_SHUTDOWN): whatever was
 * not synced is gone at the next mount.  What the page cache held at that moment goes to
 * COPIES, a directory elsewhere, under the segments' names, so that a test can see what was lost.
 *
 * It prints a line "NAME PAGE" for every page that was dirty and has been written out.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define EXT4_IOC_SHUTDOWN _IOR('X', 125, uint32_t)
#define NO_LOG_FLUSH      2u
#define PAGE              4096
#define NS_PER_S          1000000000
#define DIRTY_NS          15000 /* a clean page is passed over in less than a microsecond */
#define TORN_SEGMENTS     2

struct segment {
	char name[32];
	const uint8_t *bytes;
	size_t size;
	int fd;
};

static void
die(const char *what)
{
	perror(what);
	exit(1);
}

static int64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

static int
open_dir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY);

	if (fd < 0)
		die(path);
	return fd;
}

/* The highest segments, mapped: their pages stay readable when the file system does not. */
static int
map(const char *path, struct segment *s)
{
	int dir = open_dir(path), count, n = 0;
	struct dirent **names;
	struct stat st;

	count = scandirat(dir, ".", &names, NULL, alphasort);
	if (count < 0)
		die(path);
	while (count-- && n < TORN_SEGMENTS) {
		const char *name = names[count]->d_name;
		size_t len = strlen(name);

		/* A segment is a number; the spares are not looked at. */
		if (name[0] > '9' || len < 4 || len >= sizeof(s->name) ||
		    strcmp(name + len - 4, ".seg") != 0)
			continue;
		strcpy(s[n].name, name);
		s[n].fd = openat(dir, name, O_RDWR);
		if (s[n].fd < 0 || fstat(s[n].fd, &st) < 0)
			die(name);
		s[n].size = (size_t)st.st_size;
		if (s[n].size == 0)
			continue;
		s[n].bytes = mmap(NULL, s[n].size, PROT_READ, MAP_SHARED, s[n].fd, 0);
		if (s[n].bytes == MAP_FAILED)
			die(name);
		/* Fault all of it in while it can be read. */
		for (size_t at = 0; at < s[n].size; at += PAGE)
			(void)*(const volatile uint8_t *)(s[n].bytes + at);
		n++;
	}
	return n;
}

static void
tear(const struct segment *s, long percent)
{
	for (size_t at = 0; at < s->size; at += PAGE) {
		int64_t begun = now_ns();

		if (random() % 100 >= percent)
			continue;
		if (sync_file_range(s->fd, (off64_t)at, PAGE,
				    SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
					    SYNC_FILE_RANGE_WAIT_AFTER) < 0)
			die("sync_file_range");
		if (now_ns() - begun > DIRTY_NS)
			printf("%s %zu\n", s->name, at / PAGE);
	}
}

static void
save(int copies, const struct segment *s)
{
	int fd = openat(copies, s->name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd < 0)
		die(s->name);
	for (size_t done = 0; done < s->size;) {
		ssize_t n = write(fd, s->bytes + done, s->size - done);

		if (n <= 0)
			die(s->name);
		done += (size_t)n;
	}
	close(fd);
}

int
main(int argc, char **argv)
{
	uint32_t flags = NO_LOG_FLUSH;
	struct segment segments[TORN_SEGMENTS];
	int mount, copies, n;

	if (argc != 6) {
		fprintf(stderr, "usage: cut MOUNTPOINT DIRECTORY SEED PERCENT COPIES\n");
		return 2;
	}
	mount = open_dir(argv[1]);
	copies = open_dir(argv[5]);
	srandom((unsigned)strtoul(argv[3], NULL, 10));
	n = map(argv[2], segments);
	for (int i = 0; i < n; i++)
		tear(&segments[i], strtol(argv[4], NULL, 10));
	if (ioctl(mount, EXT4_IOC_SHUTDOWN, &flags) < 0)
		die("EXT4_IOC_SHUTDOWN");
	for (int i = 0; i < n; i++)
		save(copies, &segments[i]);
	return 0;
}
