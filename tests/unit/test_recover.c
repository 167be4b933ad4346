/*
 * test_recover.c -- a start finds what was durable, or says what is damaged.
 *
 * A user would lose: a half message that was answered before the power went; or all of them, to a
 * start that took damage for a new journal.
 */
#include "journal_world.h"

#include "sim/memory_sim.h"

START_TEST(what_was_durable_is_there_after_a_restart)
{
	make_world(1, 65536, 16);
	must_open();
	ck_assert(w->new_journal);
	ck_assert_int_eq(work(50, 4, 3), 0);
	ck_assert_int_eq(settle(), 0);
	ck_assert_uint_eq(count(PENDING), 0);
	ck_assert_uint_gt(count(ACKED), 50);
	for (int i = 0; i < 5; i++) {
		uint64_t acked = count(ACKED);

		i % 2 ? power_cut() : kill_process();
		must_open();
		ck_assert(!w->new_journal);
		ck_assert_uint_eq(count(ACKED), acked);
		ck_assert_int_eq(work(5, 4, 3), 0);
		ck_assert_int_eq(settle(), 0);
	}
	ck_assert_int_eq(journal_sync(w->j), 0);
	end_world();
}
END_TEST

static int
script(void)
{
	int err = open_journal();

	if (!err)
		err = work(14, 5, 3);
	return err ? err : settle();
}

/*
 * A user would lose: whatever the one moment between two steps that nobody thought of loses.  The
 * power goes at each step that changes the disk, once for each of some dice; then again while
 * recovering.
 */
static void
cut_everywhere(uint64_t segment_bytes, uint32_t align, uint64_t dice, uint32_t delay, uint32_t unit)
{
	uint64_t cuts = 0, damaged = 0, recovered_pending = 0;

	for (uint64_t stop = 1;; stop++) {
		bool done = false;

		for (uint64_t die = 0; die < dice; die++) {
			make_world(100 + die, segment_bytes, 12);
			w->conf.align = align;
			disk_sim_knobs(w->sim)->stop = stop;
			disk_sim_knobs(w->sim)->delay_max = delay;
			disk_sim_knobs(w->sim)->unit = unit;
			if (script() == 0 && !disk_sim_stopped(w->sim))
				done = true;
			ck_assert(done || disk_sim_stopped(w->sim));
			cuts++;
			power_cut();
			/* again, while recovering and starting */
			disk_sim_knobs(w->sim)->stop = 1 + draw(8);
			if (open_journal() != 0) {
				ck_assert_msg(disk_sim_stopped(w->sim), "stop %llu die %llu: %s",
					      (unsigned long long)stop, (unsigned long long)die,
					      w->fault.text);
			}
			die % 2 && !disk_sim_stopped(w->sim) ? kill_process() : power_cut();
			must_open();
			recovered_pending += count(ACKED);
			ck_assert_int_eq(work(3, 4, 2), 0);
			ck_assert_int_eq(settle(), 0);
			ck_assert_uint_eq(count(PENDING), 0);
			power_cut();
			must_open();
			damaged += disk_sim_counts(w->sim)->units_damaged;
			end_world();
		}
		if (done)
			break;
	}
	/* or nothing was proved */
	ck_assert_uint_gt(cuts, 100);
	ck_assert_uint_gt(damaged, 100);
	ck_assert_uint_gt(recovered_pending, 0);
}

START_TEST(a_power_cut_at_every_step)
{
	static const struct {
		uint64_t segment;
		uint32_t align, delay, unit;
	} cases[] = { { 4096, 0, 0, 512 },
		      { 4096, 0, 3, 4096 },
		      { 16384, 512, 2, 512 },
		      { 65536, 4096, 1, 4096 } };

	cut_everywhere(cases[_i].segment, cases[_i].align, 6, cases[_i].delay, cases[_i].unit);
}
END_TEST

/*
 * A user would lose: the daemon, that refuses to start.  A process dies in its start, the next one
 * finds in the page cache what never reached the disk and builds on it, and then the power goes;
 * and goes once more while the next start removes what the two have left.
 */
START_TEST(killed_in_a_start_then_cut_in_the_next)
{
	uint64_t both = 0, third = 0;

	for (uint64_t a = 1; a < 16; a++) {
		for (uint64_t b = 1; b < 16; b++) {
			for (uint64_t die = 0; die < 6; die++) {
				bool first, second;

				make_world(die * 1000 + a * 16 + b, 4096, 12);
				must_open();
				ck_assert_int_eq(work(10, 4, 2), 0);
				kill_process();
				disk_sim_knobs(w->sim)->stop = a;
				first = open_journal() != 0;
				kill_process();
				disk_sim_knobs(w->sim)->stop = b;
				second = open_journal() != 0;
				both += first && second;
				power_cut();
				disk_sim_knobs(w->sim)->stop = 1 + draw(6);
				third += open_journal() != 0;
				power_cut();
				must_open();
				ck_assert_int_eq(work(5, 4, 2), 0);
				power_cut();
				must_open();
				end_world();
			}
		}
	}
	ck_assert_uint_gt(both, 100);
	ck_assert_uint_gt(third, 100);
}
END_TEST

/*
 * A user would lose: the daemon, that refuses to start.  Batches are two groups, and a cut leaves
 * the second without the first: right behind an opening that is a header that says that the
 * opening was synced, and nothing that says more was.
 */
START_TEST(a_hole_is_a_torn_end_wherever_it_is)
{
	uint64_t segments = 0;

	for (uint64_t stop = 1; segments < 6; stop++) {
		make_world(51, 16384, 12);
		w->body_max = 1500;
		disk_sim_knobs(w->sim)->stop = stop;
		disk_sim_knobs(w->sim)->cut = DISK_SIM_HOLE;
		disk_sim_knobs(w->sim)->cut_steps = UINT32_MAX;
		for (int err = open_journal(); !err;) {
			(void)half_send();
			writer_close_group(w->j);
			(void)half_send();
			segments = journal_stats(w->j)->newest_segment;
			err = turn();
		}
		ck_assert(disk_sim_stopped(w->sim));
		power_cut();
		must_open();
		end_world();
	}
}
END_TEST

/* Of all files, whoever knows of them. */
static void
within_quota(void)
{
	ck_assert_uint_le(disk_sim_used(w->sim), w->conf.quota_bytes);
}

/*
 * A user would lose: the disk.  A supervisor starts a daemon again and again, for its port is in
 * use or it dies at once, and each start takes a segment that nothing gives back.
 */
START_TEST(starts_in_a_row_take_no_segment)
{
	uint64_t newest, acked;

	make_world(21 + (uint64_t)_i, 65536, 6);
	w->conf.align = _i == 2 ? 4096 : 0;
	w->body_max = 500;
	must_open();
	ck_assert_int_eq(work(8, 3, 1), 0);
	ck_assert_int_eq(settle(), 0);
	newest = journal_stats(w->j)->newest_segment;
	for (int i = 0; i < 60; i++) {
		acked = count(ACKED);
		if (_i)
			ck_assert_int_eq(turn(), 0);
		if (i % 3 == 2)
			ck_assert_int_eq(journal_sync(w->j), 0);
		i % 2 ? power_cut() : kill_process();
		must_open();
		within_quota();
		ck_assert_uint_eq(count(ACKED), acked);
		ck_assert_uint_eq(journal_stats(w->j)->newest_segment, newest);
	}
	/* With a little in each life: as many segments as that fills. */
	for (int i = 0; i < 60; i++) {
		ck_assert_int_eq(work(1, 1, 1), 0);
		ck_assert_int_eq(settle(), 0);
		power_cut();
		must_open();
		within_quota();
	}
	ck_assert_uint_le(journal_stats(w->j)->newest_segment, newest + 3);
	end_world();
}
END_TEST

/* A user would lose: the disk, when a full journal is started again and again. */
START_TEST(starts_in_a_row_on_a_full_journal)
{
	uint64_t acked;

	make_world(31, 16384, 8);
	w->conf.align = _i ? 512 : 0;
	must_open();
	for (int refused = 0; refused < 50;) {
		int err = half_send();

		ck_assert(err == 0 || err == ERR_FULL);
		refused += err == ERR_FULL;
		ck_assert_int_eq(turn(), 0);
	}
	acked = count(ACKED);
	for (uint64_t i = 0; i < 60; i++) {
		i % 2 ? power_cut() : kill_process();
		must_open();
		within_quota();
		ck_assert_uint_eq(count(ACKED), acked);
		/* reclaim begins to copy, and does not come to an end */
		for (uint64_t t = draw(4); t-- > 0;)
			ck_assert_int_eq(turn(), 0);
		ck_assert_int_eq(decide(1 + i), 0);
		ck_assert_int_eq(turn(), 0);
		within_quota();
		acked = count(ACKED);
	}
	for (uint64_t s = 1; s < w->next_seq; s++) {
		ck_assert_int_eq(decide(s), 0);
		ck_assert_int_eq(turn(), 0);
		within_quota();
	}
	ck_assert_int_eq(settle(), 0);
	ck_assert(journal_has_room(w->j));
	end_world();
}
END_TEST

/*
 * A user would lose: what the last segment held, between its old file and its new one.  The start
 * that writes it anew is cut or killed at each step, the next one too, and the tools are asked
 * in between.
 */
START_TEST(a_segment_is_the_old_one_or_the_new_one)
{
	static const struct {
		uint32_t align, delay, unit;
	} cases[] = { { 0, 0, 512 }, { 512, 2, 4096 } };
	uint64_t cut = 0, twice = 0;
	struct buf out = BUF_INIT;

	for (uint64_t a = 1; a < 24; a++) {
		for (uint64_t b = 1; b < 24; b++) {
			uint64_t acked, newest;

			make_world(a * 100 + b, 16384, 8);
			w->conf.align = cases[_i].align;
			disk_sim_knobs(w->sim)->delay_max = cases[_i].delay;
			disk_sim_knobs(w->sim)->unit = cases[_i].unit;
			w->body_max = 100;
			must_open();
			ck_assert_int_eq(work(4, 2, 1), 0);
			ck_assert_int_eq(settle(), 0);
			acked = count(ACKED);
			newest = journal_stats(w->j)->newest_segment;
			kill_process();
			disk_sim_knobs(w->sim)->stop = a;
			cut += open_journal() != 0;
			draw(2) ? power_cut() : kill_process();
			ck_assert_int_eq(journal_verify(disk_sim_disk(w->sim), &out, &w->fault), 0);
			disk_sim_knobs(w->sim)->stop = b;
			twice += open_journal() != 0;
			draw(3) ? power_cut() : kill_process();
			ck_assert_int_eq(journal_verify(disk_sim_disk(w->sim), &out, &w->fault), 0);
			must_open();
			within_quota();
			ck_assert_uint_eq(count(ACKED), acked);
			ck_assert_uint_eq(journal_stats(w->j)->newest_segment, newest);
			/* what is written behind it is found again */
			ck_assert_int_eq(work(4, 2, 1), 0);
			ck_assert_int_eq(settle(), 0);
			acked = count(ACKED);
			power_cut();
			must_open();
			ck_assert_uint_eq(count(ACKED), acked);
			end_world();
		}
	}
	buf_free(&out);
	/* or nothing was proved */
	ck_assert_uint_gt(cut, 150);
	ck_assert_uint_gt(twice, 150);
}
END_TEST

/*
 * A user would lose: all that the last segment holds, and without a word.  Nothing else has the
 * records of one that was written anew, so no bit of it may matter and not be missed.
 */
START_TEST(a_segment_written_anew_is_guarded_to_its_last_bit)
{
	uint64_t reported = 0, len = 1;
	char name[NAME_BYTES];

	segment_name(name, 2);
	for (uint64_t at = 0; at < len; at++) {
		uint64_t acked;

		make_world(61, 4096, 8);
		must_open();
		while (journal_stats(w->j)->newest_segment < 2)
			ck_assert_int_eq(work(1, 2, 1), 0);
		ck_assert_int_eq(settle(), 0);
		kill_process();
		must_open();
		acked = count(ACKED);
		len = w->j->written_lsn - segment_base(w->j, 2);
		ck_assert_uint_eq(journal_stats(w->j)->newest_segment, 2);
		power_cut();
		disk_sim_flip(w->sim, name, at * 8 + draw(8));
		if (open_journal() == 0)
			ck_assert_uint_eq(count(ACKED), acked);
		else
			reported++;
		end_world();
	}
	/* all but the second marker */
	ck_assert_uint_eq(reported, len - GROUP_HEADER);
}
END_TEST

/* A user would lose: history, later than it should; a start makes nothing in it younger. */
START_TEST(a_segment_written_anew_keeps_its_time)
{
	uint64_t opened;

	make_world(41, 16384, 8);
	must_open();
	ck_assert_int_eq(work(2, 2, 1), 0);
	ck_assert_int_eq(settle(), 0);
	opened = w->j->segments[w->j->segment_count - 1].opened_ms;
	for (int i = 0; i < 3; i++) {
		kill_process();
		ck_assert_int_eq(journal_open(disk_sim_disk(w->sim), &w->conf, &client, NULL, &w->j,
					      &w->new_journal, &w->fault),
				 0);
		ck_assert_int_eq(journal_start(w->j, opened + 1000), 0);
		ck_assert_uint_eq(w->j->segments[w->j->segment_count - 1].opened_ms, opened);
	}
	end_world();
}
END_TEST

/* Many lives of one journal, with everything at once. */
START_TEST(a_long_life_with_many_crashes)
{
	for (uint64_t seed = 0; seed < 12; seed++) {
		make_world(5000 + seed + (uint64_t)_i * 100, (uint64_t)4096 << seed % 4,
			   6 + seed % 5);
		disk_sim_knobs(w->sim)->delay_max = (uint32_t)(seed % 4);
		disk_sim_knobs(w->sim)->unit = seed % 2 ? 512 : 4096;
		w->conf.align = seed % 3 == 0 ? 512 : 0;
		w->conf.cache_bytes = seed % 2 ? 0 : 100000;
		for (int life = 0; life < 25; life++) {
			disk_sim_knobs(w->sim)->stop = draw(3) ? 1 + draw(200) : 0;
			if (open_journal() == 0)
				(void)!work((int)draw(60), 4, 5);
			else
				ck_assert_msg(disk_sim_stopped(w->sim), "seed %llu life %d: %s",
					      (unsigned long long)seed, life, w->fault.text);
			if (!disk_sim_stopped(w->sim) && draw(2))
				kill_process();
			else
				power_cut();
		}
		must_open();
		end_world();
	}
}
END_TEST

/* A user would lose: the truth about a rotten disk, taken for a crash. */
START_TEST(damage_below_the_durable_lsn_is_reported)
{
	for (uint64_t i = 0; i < 300; i++) {
		uint64_t segment, end;
		struct buf out = BUF_INIT;
		int err;

		make_world(300 + i, 16384, 16);
		must_open();
		ck_assert_int_eq(work(30, 3, 2), 0);
		ck_assert_int_eq(settle(), 0);
		/* what the last header vouches for, and the header behind it */
		ck_assert_uint_ge(w->j->vouched_lsn, w->j->content_lsn);
		segment = 1 + draw(w->j->tail_segment);
		end = segment == w->j->tail_segment ? w->j->vouched_lsn
						    : w->j->segments[segment - 1].end;
		kill_process();
		flip_somewhere(segment, 0, (size_t)(end - segment * 16384));
		err = open_journal();
		ck_assert_msg(err == ERR_CORRUPT, "seed %llu segment %llu: %s",
			      (unsigned long long)i, (unsigned long long)segment, err_name(err));
		ck_assert_uint_gt(strlen(w->fault.text), 20);
		ck_assert_int_eq(journal_verify(disk_sim_disk(w->sim), &out, &w->fault),
				 ERR_CORRUPT);
		buf_free(&out);
		end_world();
	}
}
END_TEST

START_TEST(a_missing_segment_is_reported)
{
	struct disk *d;

	make_world(11, 4096, 32);
	must_open();
	ck_assert_int_eq(work(60, 4, 0), 0);
	ck_assert_int_eq(settle(), 0);
	ck_assert_uint_gt(w->j->tail_segment, 4);
	kill_process();
	d = disk_sim_disk(w->sim);
	ck_assert_int_eq(d->ops->remove(d, "00000000000000000003.seg"), 0);
	ck_assert_int_eq(open_journal(), ERR_CORRUPT);
	ck_assert_uint_eq(w->fault.segment, 3);
	end_world();
}
END_TEST

/* A user would lose: all that is in the journal, when a disk comes back empty. */
START_TEST(a_wiped_journal_is_not_a_new_one)
{
	uint64_t oldest, newest;

	make_world(12, 4096, 8);
	w->conf.retention_ms = 0;
	must_open();
	ck_assert_int_eq(work(100, 3, 3), 0);
	ck_assert_int_eq(settle(), 0);
	oldest = w->j->segments[0].number;
	newest = w->j->tail_segment;
	ck_assert_uint_gt(oldest, 1);
	kill_process();
	for (uint64_t i = oldest; i <= newest; i++) {
		char name[NAME_BYTES];
		size_t len;
		uint8_t *bytes;

		segment_name(name, i);
		bytes = disk_sim_bytes(w->sim, name, &len);
		ck_assert_ptr_nonnull(bytes);
		memset(bytes, 0, len);
	}
	ck_assert_int_eq(open_journal(), ERR_CORRUPT);
	ck_assert_uint_gt(strlen(w->fault.text), 20);
	end_world();
}
END_TEST

/* A user would lose: the journal, to a file that somebody put beside it; or their file. */
START_TEST(files_of_others_are_left_alone)
{
	static const char *const names[] = {
		"0000000000000000000x.seg",
		"00000000000000000000.seg",
		"00000000000000000007.sge",
		"99999999999999999999.seg",
		"7.seg",
		"notes",
		"spare-",
		"spare-00000x.seg",
		"spare-99999999999.seg",
		"spare-000007-seg",
		"spare-000007.seg.bak.txt",
	};
	struct disk_file *file;
	struct disk *d;

	make_world(60, 16384, 16);
	d = disk_sim_disk(w->sim);
	for (int life = 0; life < 2; life++) {
		must_open();
		ck_assert_int_eq(work(20, 4, 3), 0);
		ck_assert_int_eq(settle(), 0);
		kill_process();
		for (size_t i = 0; i < ARRAY_LEN(names) && !life; i++) {
			ck_assert_int_eq(d->ops->open(d, names[i], true, &file), 0);
			d->ops->close(file);
		}
	}
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		ck_assert_msg(d->ops->open(d, names[i], false, &file) == 0, "%s", names[i]);
		d->ops->close(file);
	}
	end_world();
}
END_TEST

/* A user would lose: everything, to a new journal that is begun where the old one was. */
START_TEST(a_journal_that_is_gone_is_not_begun_anew)
{
	char name[NAME_BYTES];
	struct disk *d;
	uint64_t oldest;

	make_world(61, 4096, 8);
	must_open();
	for (int i = 0; i < 100; i++) {
		ck_assert_int_eq(work(1, 6, 0), 0);
		for (uint64_t s = 1; s < w->next_seq; s++)
			ck_assert_int_eq(decide(s), 0);
	}
	ck_assert_int_eq(settle(), 0);
	oldest = journal_stats(w->j)->oldest_segment;
	ck_assert_uint_gt(oldest, 1);
	d = disk_sim_disk(w->sim);
	for (uint64_t n = oldest; n < w->j->tail_segment; n++) {
		segment_name(name, n);
		ck_assert_int_eq(d->ops->remove(d, name), 0);
	}
	segment_name(name, w->j->tail_segment);
	kill_process();
	/* the opening of the only one that is left is damaged */
	for (size_t i = 0; i < 200; i++)
		disk_sim_flip(w->sim, name, i * 8);
	ck_assert_int_eq(open_journal(), ERR_CORRUPT);
	ck_assert_uint_gt(strlen(w->fault.text), 20);
	disk_sim_kill(w->sim);
	ck_assert_int_eq(d->ops->remove(d, name), 0);
	ck_assert_int_eq(open_journal(), ERR_CORRUPT);
	ck_assert_ptr_nonnull(strstr(w->fault.text, "spare"));
	end_world();
}
END_TEST

/* A record that is whole and cannot be: the sentence says which, and where. */
START_TEST(what_the_core_does_not_believe_is_told)
{
	make_world(71, 16384, 16);
	must_open();
	ck_assert_int_eq(work(20, 4, 0), 0);
	ck_assert_int_eq(settle(), 0);
	kill_process();
	w->impossible = 5;
	ck_assert_int_eq(open_journal(), ERR_CORRUPT);
	ck_assert_ptr_nonnull(strstr(w->fault.text, "half record"));
	ck_assert_uint_eq(w->fault.lsn, w->rows[5].place.lsn);
	disk_sim_kill(w->sim);
	w->impossible = 0;
	must_open();
	end_world();
}
END_TEST

/* Or somebody restores a backup over a journal that has nothing: it was memory that was missing. */
START_TEST(memory_that_runs_out_is_no_damage)
{
	uint64_t refused = 0;

	make_world(72, 16384, 16);
	must_open();
	ck_assert_int_eq(work(20, 4, 0), 0);
	ck_assert_int_eq(settle(), 0);
	for (uint64_t n = 1;; n++) {
		int err;

		kill_process();
		memory_sim_fail(n, 1);
		err = open_journal();
		if (!memory_sim_struck()) {
			memory_sim_fail(0, 0);
			ck_assert_int_eq(err, 0);
			break;
		}
		ck_assert_int_eq(err, ERR_NOMEM);
		refused++;
		disk_sim_kill(w->sim);
		must_open();
	}
	ck_assert_uint_gt(refused, 0);
	end_world();
}
END_TEST

/* A user would lose: a tenth of a second, in the middle of the day, for a segment that goes. */
START_TEST(a_big_segment_goes_piece_by_piece)
{
	uint64_t turns = 0, copied = 0;

	make_world(73, 1 << 20, 6);
	w->body_max = 20000;
	w->copy_all = true;
	must_open();
	while (w->j->reclaim == RECLAIM_IDLE)
		ck_assert_int_eq(work(1, 4, 0), 0);
	while (w->j->reclaim == RECLAIM_SCAN) {
		copied = journal_stats(w->j)->bytes_copied;
		w->now += NS_PER_MS;
		ck_assert_int_eq(journal_poll(w->j, w->now), 0);
		ck_assert_int_eq(journal_persist(w->j, w->now, 1000000), 0);
		ck_assert_uint_le(journal_stats(w->j)->bytes_copied - copied, RECLAIM_TURN + 20000);
		turns++;
		ck_assert(w->j->reclaim != RECLAIM_SCAN || journal_deadline_ns(w->j) <= w->now);
	}
	ck_assert_uint_ge(turns, 3);
	end_world();
}
END_TEST

/* A spare that somebody cut short is not begun as a segment; its space is not there. */
START_TEST(spares_of_another_size_are_removed)
{
	struct disk_file *file;
	struct disk *d;

	make_world(74, 16384, 16);
	must_open();
	ck_assert_int_eq(work(20, 4, 0), 0);
	ck_assert_int_eq(settle(), 0);
	kill_process();
	d = disk_sim_disk(w->sim);
	ck_assert_int_eq(d->ops->open(d, "spare-000900.seg", true, &file), 0);
	d->ops->close(file);
	must_open();
	ck_assert_int_eq(d->ops->open(d, "spare-000900.seg", false, &file), ERR_NOTFOUND);
	ck_assert_uint_gt(w->j->spare_id, 900); /* nor is its number used again */
	end_world();
}
END_TEST

int
main(void)
{
	TCase *t = unit_case("recover", NULL, NULL);

	tcase_set_timeout(t, 120);
	tcase_add_test(t, what_was_durable_is_there_after_a_restart);
	tcase_add_loop_test(t, a_power_cut_at_every_step, 0, 4);
	tcase_add_test(t, killed_in_a_start_then_cut_in_the_next);
	tcase_add_test(t, a_hole_is_a_torn_end_wherever_it_is);
	tcase_add_loop_test(t, starts_in_a_row_take_no_segment, 0, 3);
	tcase_add_loop_test(t, starts_in_a_row_on_a_full_journal, 0, 2);
	tcase_add_loop_test(t, a_segment_is_the_old_one_or_the_new_one, 0, 2);
	tcase_add_test(t, a_segment_written_anew_is_guarded_to_its_last_bit);
	tcase_add_test(t, a_segment_written_anew_keeps_its_time);
	tcase_add_loop_test(t, a_long_life_with_many_crashes, 0, 4);
	tcase_add_test(t, damage_below_the_durable_lsn_is_reported);
	tcase_add_test(t, a_missing_segment_is_reported);
	tcase_add_test(t, a_wiped_journal_is_not_a_new_one);
	tcase_add_test(t, what_the_core_does_not_believe_is_told);
	tcase_add_test(t, memory_that_runs_out_is_no_damage);
	tcase_add_test(t, a_big_segment_goes_piece_by_piece);
	tcase_add_test(t, spares_of_another_size_are_removed);
	tcase_add_test(t, files_of_others_are_left_alone);
	tcase_add_test(t, a_journal_that_is_gone_is_not_begun_anew);
	return unit_run_case("recover", t);
}
