/*
 * replay.c -- runs a fuzz target over files, one after the other, with any compiler.
 *
 * So what a fuzzer once found stays found by `meson test`, and a finding can be put under gdb.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define FILE_MAX (4u << 20)

int
main(int argc, char **argv)
{
	uint8_t *room = malloc(FILE_MAX);

	if (argc < 2 || room == NULL) {
		fprintf(stderr, "replay: which files?\n");
		return 2;
	}
	for (int i = 1; i < argc; i++) {
		FILE *f = fopen(argv[i], "rb");

		if (f == NULL) {
			perror(argv[i]);
			return 1;
		}

		size_t n = fread(room, 1, FILE_MAX, f);

		fclose(f);
		fprintf(stderr, "%s: %zu bytes\n", argv[i], n);
		(void)LLVMFuzzerTestOneInput(room, n); /* always 0; a finding aborts */
	}
	free(room);
	return 0;
}
