/*
 * The enumerator of the small worlds.  One that skips a sequence proves nothing about it, and
 * nobody would notice.
 */
#include "sim/choice.h"
#include "unit.h"

/* Every sequence of a program whose later questions depend on the earlier answers, as text. */
START_TEST(each_sequence_comes_once_in_order)
{
	static struct choice c;
	char text[256] = "";
	size_t n = 0;

	do {
		uint32_t first = choose(&c, 3);

		n += (size_t)snprintf(text + n, sizeof(text) - n, "%u", first);
		for (uint32_t i = 0; i < first; i++)
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%u", choose(&c, 2));
		n += (size_t)snprintf(text + n, sizeof(text) - n, " ");
	} while (choice_next(&c));
	ck_assert_str_eq(text, "0 10 11 200 201 210 211 ");
}
END_TEST

/* What an earlier run has seen is not new: the search would count it twice, or stop there. */
START_TEST(it_knows_what_it_repeats)
{
	static struct choice c;

	ck_assert(!choice_repeats(&c));
	choose(&c, 2);
	choose(&c, 2);
	ck_assert(choice_next(&c)); /* 0 1 */
	ck_assert(choice_repeats(&c));
	choose(&c, 2);
	ck_assert(choice_repeats(&c));
	ck_assert_uint_eq(choose(&c, 2), 1);
	ck_assert(!choice_repeats(&c));
}
END_TEST

START_TEST(alternatives_that_do_not_exist_are_left_out)
{
	static struct choice c;
	uint32_t runs = 0;

	do {
		runs++;
		if (choose(&c, 100) == 3)
			choice_last(&c); /* "recovery has three steps" */
	} while (choice_next(&c));
	ck_assert_uint_eq(runs, 4);
}
END_TEST

UNIT("choice", each_sequence_comes_once_in_order, it_knows_what_it_repeats,
     alternatives_that_do_not_exist_are_left_out);
