/*
 * unit.h -- the main() of every unit test.
 *
 * Each test runs in a process of its own (the check library's default), so that a CHECK
 * that fires takes one test with it and not the rest.
 *
 *     UNIT("crc", agrees_with_the_standard, any_split_gives_the_same);
 *     UNIT_WITH("table", setup, teardown, rows_are_found_until_they_are_forgotten);
 */
#ifndef UNIT_H
#define UNIT_H

#include <check.h>
#include <stdlib.h>

/* Runs a case that a test filled itself: loops over an argument, tests that must abort. */
static inline int
unit_run_case(const char *name, TCase *tcase)
{
	Suite *suite = suite_create(name);
	SRunner *runner;
	int failed;

	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* An empty case; SETUP and TEARDOWN, which may be NULL, come around each test, in its process. */
static inline TCase *
unit_case(const char *name, SFun setup, SFun teardown)
{
	TCase *tcase = tcase_create(name);

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	return tcase;
}

static inline int
unit_run(const char *name, SFun setup, SFun teardown, const TTest *const *tests, size_t count)
{
	TCase *tcase = unit_case(name, setup, teardown);

	for (size_t i = 0; i < count; i++)
		tcase_add_test(tcase, tests[i]);
	return unit_run_case(name, tcase);
}

#define UNIT(name, ...) UNIT_WITH(name, NULL, NULL, __VA_ARGS__)

#define UNIT_WITH(name, setup, teardown, ...)                                                      \
	int main(void)                                                                             \
	{                                                                                          \
		const TTest *const tests[] = { __VA_ARGS__ };                                      \
                                                                                                   \
		return unit_run(name, setup, teardown, tests, sizeof(tests) / sizeof(tests[0]));   \
	}                                                                                          \
	_Static_assert(1, "takes the semicolon")

#endif /* UNIT_H */
