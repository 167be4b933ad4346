/*
 * probe.c -- the yardstick: how often a second can this disk make 1 KiB durable?
 *
 * pwrite + fdatasync on a file that is filled first, as the journal's segments are.  Every
 * figure of the bench is told as a multiple of it, because it changes from machine to machine
 * and from hour to hour.
 *
 *      probe [DIRECTORY [SECONDS]]     prints syncs per second and two percentiles, as JSON
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "stats.h"

#define FILE_BYTES (16 << 20)
#define BLOCK      1024

static int64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

int
main(int argc, char **argv)
{
	static struct hist hist;
	static char block[BLOCK];
	char name[4096];
	double seconds = argc > 2 ? strtod(argv[2], NULL) : 2;

	snprintf(name, sizeof(name), "%s/probe.XXXXXX", argc > 1 ? argv[1] : ".");

	int fd = mkostemp(name, O_CLOEXEC);

	if (fd < 0 || unlink(name) < 0) {
		perror(name);
		return 1;
	}
	memset(block, 0xA5, sizeof(block));
	for (off_t at = 0; at < FILE_BYTES; at += BLOCK) {
		if (pwrite(fd, block, BLOCK, at) != BLOCK) {
			perror("probe: fill");
			return 1;
		}
	}
	if (fsync(fd) < 0) {
		perror("probe: fsync");
		return 1;
	}

	int64_t start = now_ns(), at_ns = start, end = start + (int64_t)(seconds * 1e9);

	for (off_t at = 0; at_ns < end; at = (at + BLOCK) % FILE_BYTES) {
		if (pwrite(fd, block, BLOCK, at) != BLOCK || fdatasync(fd) < 0) {
			perror("probe: sync");
			return 1;
		}

		int64_t t = now_ns();

		hist_add(&hist, t - at_ns);
		at_ns = t;
	}
	printf("{\"syncs_per_s\":%.0f,", (double)hist.n * 1e9 / (double)(at_ns - start));
	hist_print(stdout, "sync_us", &hist);
	printf("}\n");
	close(fd);
	return 0;
}
