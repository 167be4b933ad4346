/*
 * What a user would lose: a program that repeats what may have happened, or gives up on what it
 * could repeat, because a status says the wrong thing about itself.
 */
#include <stdio.h>
#include <string.h>

#include "escrow/escrow.h"
#include "unit.h"

/* As the table of escrow.h says it: r, u and f. */
static const char table[] = "OK 0, ARG 0, NOMEM r, FULL r, UNREACHABLE r, BUSY r, TIMEOUT u, "
			    "REFUSED 0, TOO_BIG 0, TOPIC 0, AUTH 0, NOT_FOUND 0, DECIDED 0, "
			    "KEY_REUSED 0, UNSUPPORTED 0, LOCAL 0, FENCED 0, EXPIRED 0, "
			    "DATABASE 0, IN_DOUBT u, CLOSED f, FORK f, PROTOCOL f";

START_TEST(every_status_says_what_to_do)
{
	char text[1024] = "";

	for (int i = 0; i <= ESCROW_E_PROTOCOL; i++) {
		escrow_status s = (escrow_status)i;
		size_t n = strlen(text);

		ck_assert_int_le(!!escrow_is_retriable(s) + !!escrow_is_unknown(s) +
					 !!escrow_is_fatal(s),
				 1);
		snprintf(text + n, sizeof(text) - n, "%s%s %s", n ? ", " : "",
			 escrow_status_name(s),
			 escrow_is_retriable(s) ? "r"
			 : escrow_is_unknown(s) ? "u"
			 : escrow_is_fatal(s)   ? "f"
						: "0");
	}
	ck_assert_str_eq(text, table);
	ck_assert_str_eq(escrow_status_name((escrow_status)99), "?");
}
END_TEST

START_TEST(a_long_sentence_is_cut_and_none_is_empty)
{
	char text[2000];

	ck_assert_str_eq(escrow_last_error(), "");
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	escrow_set_last_error(text);
	ck_assert_uint_eq(strlen(escrow_last_error()), 511);
}
END_TEST

UNIT("status", every_status_says_what_to_do, a_long_sentence_is_cut_and_none_is_empty);
