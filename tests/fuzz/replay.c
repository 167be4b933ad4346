/*
 * replay.c -- runs a fuzz target over files and folders of files, with any compiler.
 *
 * So what a fuzzer once found stays found by `meson test`, and a finding can be put under gdb.
 * A folder without files is an error: it would prove nothing.
 */
#include <dirent.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define FILE_MAX       (4u << 20)
#define PATH_MAX_BYTES 4096

static uint8_t *room;
static const char *running = "replay";
static unsigned count;

/* A finding aborts the process: say in which file it lies. */
static void
say_which(int signo)
{
	(void)!write(STDERR_FILENO, running, strlen(running)); /* there is nobody left to tell */
	(void)!write(STDERR_FILENO, "\n", 1);
	signal(signo, SIG_DFL);
	raise(signo);
}

static int
replay_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *input;
	size_t n;

	if (f == NULL) {
		perror(path);
		return 1;
	}
	n = fread(room, 1, FILE_MAX, f);
	fclose(f);
	input = malloc(n ? n : 1); /* of exactly its size, so that reading on is seen */
	if (input == NULL)
		return 1;
	memcpy(input, room, n);
	running = path;
	(void)LLVMFuzzerTestOneInput(input, n); /* always 0; a finding aborts */
	free(input);
	count++;
	return 0;
}

static int
not_hidden(const struct dirent *d)
{
	return d->d_name[0] != '.';
}

static int
replay_folder(const char *path)
{
	struct dirent **names;
	int n = scandir(path, &names, not_hidden, alphasort), err = 0;
	char file[PATH_MAX_BYTES];

	if (n < 0) {
		perror(path);
		return 1;
	}
	for (int i = 0; i < n; i++) {
		snprintf(file, sizeof(file), "%s/%s", path, names[i]->d_name);
		if (!err)
			err = replay_file(file);
		free(names[i]);
	}
	free(names);
	if (n == 0)
		fprintf(stderr, "replay: nothing in %s\n", path);
	return err || n == 0;
}

int
main(int argc, char **argv)
{
	room = malloc(FILE_MAX);
	if (argc < 2 || room == NULL) {
		fprintf(stderr, "replay: which files?\n");
		return 2;
	}
	signal(SIGABRT, say_which);
	for (int i = 1; i < argc; i++) {
		struct stat st;
		int err = stat(argv[i], &st);

		if (err)
			perror(argv[i]);
		else
			err = S_ISDIR(st.st_mode) ? replay_folder(argv[i]) : replay_file(argv[i]);
		if (err)
			return 1;
	}
	printf("%u inputs\n", count);
	free(room);
	return 0;
}
