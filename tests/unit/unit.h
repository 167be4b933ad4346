/*
 * unit.h -- the main() of every unit test.
 *
 * Each test runs in a process of its own (the check library's default), so that a CHECK
 * that fires takes one test with it and not the rest.
 *
 *     UNIT("crc", agrees_with_the_standard, any_split_gives_the_same)
 */
#ifndef UNIT_H
#define UNIT_H

#include <check.h>
#include <stdlib.h>

static inline int
unit_run(const char *name, const TTest *const *tests, size_t count)
{
	Suite *suite = suite_create(name);
	TCase *tcase = tcase_create(name);
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 60);
	for (size_t i = 0; i < count; i++)
		tcase_add_test(tcase, tests[i]);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#define UNIT(name, ...)                                                                            \
	int main(void)                                                                             \
	{                                                                                          \
		const TTest *const tests[] = { __VA_ARGS__ };                                      \
                                                                                                   \
		return unit_run(name, tests, sizeof(tests) / sizeof(tests[0]));                    \
	}                                                                                          \
	_Static_assert(1, "takes the semicolon")

#endif /* UNIT_H */
