/*
 * protocol.h -- the table of client/PROTOCOL.md, section 6: what each condition becomes.
 *
 * It is what people program against, so tests of both edges hold the code to it.
 */
#ifndef PROTOCOL_H
#define PROTOCOL_H

#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * The cells of the row of CONDITION ("BUSY", "DECIDED, end"): it, remoting, HTTP, remark.
 * False: there is none.
 */
static inline bool
protocol_row(const char *condition, char ret_cells[4][200])
{
	FILE *f = fopen(SOURCE_ROOT "/client/PROTOCOL.md", "re");
	char line[2000];
	bool found = false;

	ck_assert_ptr_nonnull(f);
	while (!found && fgets(line, sizeof(line), f)) {
		char *at = line;

		found = line[0] == '|';
		for (int i = 0; found && i < 4; i++) {
			char *end = strstr(at + 2, " |");

			found = end != NULL;
			if (!found)
				break;
			snprintf(ret_cells[i], sizeof(ret_cells[i]), "%.*s", (int)(end - at - 2),
				 at + 2);
			at = end + 1;
		}
		found = found && strcmp(ret_cells[0], condition) == 0;
	}
	fclose(f);
	return found;
}

/* The number that a cell begins with; -1: none. */
static inline int
protocol_number(const char *cell)
{
	char *end;
	long n = strtol(cell, &end, 10);

	return end == cell ? -1 : (int)n;
}

#endif /* PROTOCOL_H */
