/*
 * test_dump.c -- dump, verify and stat see what a start would see, and change nothing.
 *
 * A user would lose: the one way to find out what a journal that does not start still holds.
 */
#include "journal_world.h"

static int lines;

static void
one_line(void *arg, struct str line)
{
	(void)arg;
	ck_assert_uint_gt(line.n, 3);
	for (size_t i = 0; i < line.n; i++)
		ck_assert(line.p[i] >= 0x20 && line.p[i] < 0x7f);
	lines++;
}

START_TEST(the_tools_read_what_recovery_reads)
{
	struct buf out = BUF_INIT;
	struct disk *d;

	make_world(16, 16384, 16);
	must_open();
	ck_assert_int_eq(work(40, 4, 3), 0);
	ck_assert_int_eq(settle(), 0);
	d = disk_sim_disk(w->sim);
	kill_process();
	ck_assert_int_eq(journal_dump(d, one_line, NULL, &w->fault), 0);
	ck_assert_int_gt(lines, 100);
	ck_assert_int_eq(journal_verify(d, &out, &w->fault), 0);
	ck_assert_ptr_nonnull(memmem(out.data, out.len, "records", 7));
	buf_reset(&out, 0);
	ck_assert_int_eq(journal_stat(d, &out, &w->fault), 0);
	ck_assert_ptr_nonnull(memmem(out.data, out.len, "records_half ", 13));
	buf_free(&out);
	must_open();
	end_world();
}
END_TEST

/* A user would lose: the meaning of a line, to a body that writes lines of its own. */
START_TEST(the_dump_is_text_whatever_the_journal_holds)
{
	struct message m[6];
	uint32_t topic[6] = { 0 };
	struct entry half = { .type = ENTRY_HALF };
	struct entry parked = { .type = ENTRY_CHECKS, .checks = { 1, 3, 1, true } };
	struct entry checked = { .type = ENTRY_CHECKS, .checks = { 1, 2, 1, false } };
	struct entry audit = { .type = ENTRY_AUDIT,
			       .audit = { .verb = STR("check"),
					  .who = STR("a\"b\\c\n\x7f\x1b"),
					  .reason = STR("\xc3\xa9"),
					  .outcome = STR("ok") } };
	static char long_text[300];
	struct place p;

	make_world(62, 65536, 16);
	must_open();
	memset(long_text, 'x', sizeof(long_text));
	half.half.half = half_of(1, &m[0], body);
	m[0].value.n = 200;
	for (int i = 1; i < 6; i++)
		m[i] = m[0];
	half.half.half.count = 6;
	half.half.half.messages = m;
	half.half.half.key = str_from(long_text, 255);
	half.half.topics = topic;
	ck_assert_int_eq(journal_append(w->j, &half, &p), 0);
	ck_assert_int_eq(journal_append(w->j, &checked, &p), 0);
	ck_assert_int_eq(journal_append(w->j, &parked, &p), 0);
	ck_assert_int_eq(journal_append(w->j, &audit, &p), 0);
	ck_assert_int_eq(journal_sync(w->j), 0);
	disk_sim_kill(w->sim);
	w->j = journal_free(w->j);
	lines = 0;
	ck_assert_int_eq(journal_dump(disk_sim_disk(w->sim), one_line, NULL, &w->fault), 0);
	ck_assert_int_ge(lines, 5);
	end_world();
}
END_TEST

/* What the tools cannot read they say, as the daemon would. */
START_TEST(the_tools_tell_a_disk_that_fails)
{
	struct buf out = BUF_INIT;
	struct disk *d;
	uint64_t struck = 1, before;

	for (uint64_t n = 1; struck; n++) {
		int err;

		make_world(63, 16384, 16);
		must_open();
		ck_assert_int_eq(work(40, 4, 3), 0);
		ck_assert_int_eq(settle(), 0);
		d = disk_sim_disk(w->sim);
		kill_process();
		before = disk_sim_counts(w->sim)->faults;
		*(n % 2 ? &disk_sim_knobs(w->sim)->refuse : &disk_sim_knobs(w->sim)->fail_end) =
			(n + 1) / 2;
		err = _i == 0   ? journal_dump(d, one_line, NULL, &w->fault)
		      : _i == 1 ? journal_verify(d, &out, &w->fault)
				: journal_stat(d, &out, &w->fault);
		struck = disk_sim_counts(w->sim)->faults - before;
		ck_assert(struck ? err < 0 : err == 0);
		buf_reset(&out, 0);
		end_world();
	}
	buf_free(&out);
}
END_TEST

int
main(void)
{
	TCase *t = unit_case("dump", NULL, NULL);

	tcase_set_timeout(t, 120);
	tcase_add_test(t, the_tools_read_what_recovery_reads);
	tcase_add_test(t, the_dump_is_text_whatever_the_journal_holds);
	tcase_add_loop_test(t, the_tools_tell_a_disk_that_fails, 0, 3);
	return unit_run_case("dump", t);
}
