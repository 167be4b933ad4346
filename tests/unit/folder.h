/*
 * folder.h -- a folder for the files of a test program, gone when the program ends.
 *
 * It is made before the first test begins, so that it belongs to the process that outlives them
 * all: a test that fails, aborts or runs out of time leaves nothing behind either.
 */
#ifndef FOLDER_H
#define FOLDER_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];
static pid_t folder_owner;

static inline int
folder_remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st, (void)kind, (void)at;
	return remove(path);
}

static inline void
folder_remove(void)
{
	if (getpid() == folder_owner)
		(void)nftw(folder, folder_remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

__attribute__((constructor)) static void
folder_make(void)
{
	const char *where = getenv("TMPDIR");

	/* Short: the paths of sockets are, too. */
	if (!where || strlen(where) > 32)
		where = "/tmp";
	snprintf(folder, sizeof(folder), "%s/escrow-test-XXXXXX", where);
	if (!mkdtemp(folder)) {
		perror(folder);
		exit(1);
	}
	folder_owner = getpid();
	atexit(folder_remove);
}

#endif /* FOLDER_H */
