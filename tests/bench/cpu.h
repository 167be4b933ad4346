/*
 * cpu.h -- CPU seconds, user and system, of this process and of another.  For the bench only.
 */
#ifndef BENCH_CPU_H
#define BENCH_CPU_H

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static inline double
cpu_own_s(void)
{
	struct rusage r;

	getrusage(RUSAGE_SELF, &r);
	return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
	       (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

/* 0 when it cannot be read, or PID is 0. */
static inline double
cpu_of_s(int pid)
{
	char name[64], line[1024] = "";
	unsigned long user = 0, system = 0;
	FILE *f;

	snprintf(name, sizeof(name), "/proc/%d/stat", pid);
	f = pid > 0 ? fopen(name, "r") : NULL;
	if (!f)
		return 0;
	if (fgets(line, sizeof(line), f) && strrchr(line, ')'))
		sscanf(strrchr(line, ')') + 2,
		       "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
	fclose(f);
	return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

#endif /* BENCH_CPU_H */
