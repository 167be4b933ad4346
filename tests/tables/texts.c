/*
 * What client/TABLES.md is compared with: every statement that the libraries execute, one a
 * line, behind its dialect and a tab.  Without it users of other languages would follow a page
 * that the C library left long ago, and share tables with it.
 */
#include <stdio.h>

#include "tables/sql.h"

int
main(void)
{
	static const char *const names[] = {
		[SQL_POSTGRES] = "PostgreSQL",
		[SQL_SQLITE] = "SQLite",
		[SQL_MYSQL] = "MySQL",
	};

	for (int what = 0; what < SQL_STATEMENTS; what++)
		for (int dialect = SQL_POSTGRES; dialect <= SQL_MYSQL; dialect++)
			printf("%s\t%s\n", names[dialect],
			       sql_text((enum sql_statement)what, (enum sql_dialect)dialect));
	return 0;
}
