/*
 * test_core.c -- the conductor, told as the stories of transactions.
 *
 * Each is something a user would lose: a message, a decision, an order, an answer that was true.
 */
#include "core_world.h"

/* An answer from memory would be a promise that the next power cut breaks. */
START_TEST(nothing_is_answered_before_it_is_durable)
{
	struct answer a;

	open_with_topic();
	fake_send(&f, 1, "k", "hello");
	ck_assert_uint_eq(f.answer_count, 0);
	fake_sync(&f);
	ck_assert_uint_eq(f.answer_count, 1);
	a = f.answers[0].a;
	ck_assert_int_eq(a.code, ANSWER_OK);
	ck_assert_uint_eq(a.token & 0xff, 0);
	ck_assert_uint_eq(f.answers[0].to.peer, 1);

	fake_end(&f, &a, a.token, VERDICT_COMMIT, false);
	fake_decide(&f);
	ck_assert_uint_eq(f.answer_count, 1);
	ck_assert_uint_eq(f.publish_count, 0);
	fake_sync(&f);
	ck_assert_uint_eq(f.answer_count, 2);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_OK);
	ck_assert_uint_eq(f.publish_count, 1);
	ck_assert_uint_eq(f.published[0].n, 1);
	ack(1);
	ck_assert_int_eq(fake_view(&f, a.gid).state, TXN_PUBLISHED);
}
END_TEST

START_TEST(a_rolled_back_message_never_reaches_kafka)
{
	struct answer a;

	open_with_topic();
	a = fake_begin(&f, 1, "k", "hello");
	ck_assert_int_eq(fake_decided(&f, &a, VERDICT_ROLLBACK).code, ANSWER_OK);
	fake_turn(&f);
	ck_assert_uint_eq(f.publish_count, 0);
	/* A commit now is refused, and told who won. */
	ck_assert_int_eq(fake_decided(&f, &a, VERDICT_COMMIT).code, ANSWER_DECIDED);
	ck_assert_int_eq(fake_last(&f)->state, TXN_ROLLED_BACK);
	ck_assert_uint_eq(core_stats(f.core)->contradictions, 1);
	ck_assert_uint_eq(f.publish_count, 0);
	/* Repeating the rollback succeeds. */
	ck_assert_int_eq(fake_decided(&f, &a, VERDICT_ROLLBACK).code, ANSWER_OK);
}
END_TEST

/* Two contradictory ENDs in one turn: one record, one winner, the other is told. */
START_TEST(of_two_decisions_in_one_turn_the_first_wins)
{
	struct answer a;
	uint32_t before;

	open_with_topic();
	a = fake_begin(&f, 1, "k", "hello");
	before = f.count;
	fake_end(&f, &a, a.token, VERDICT_ROLLBACK, false);
	fake_end(&f, &a, a.token, VERDICT_COMMIT, false);
	fake_end(&f, &a, a.token, VERDICT_ROLLBACK, false);
	fake_decide(&f);
	ck_assert_uint_eq(f.count, before + 1);
	fake_sync(&f);
	fake_turn(&f);
	ck_assert_uint_eq(f.count, before + 1);
	ck_assert_uint_eq(f.answer_count, 4);
	ck_assert_int_eq(f.answers[1].a.code, ANSWER_OK);
	ck_assert_int_eq(f.answers[2].a.code, ANSWER_DECIDED);
	ck_assert_int_eq(f.answers[3].a.code, ANSWER_OK);
	ck_assert_uint_eq(f.publish_count, 0);
}
END_TEST

START_TEST(nobody_decides_by_guessing)
{
	struct answer a;
	struct end_request r;

	open_with_topic();
	a = fake_begin(&f, 1, "k", "hello");
	fake_end(&f, &a, a.token ^ 0x100, VERDICT_COMMIT, false);
	fake_turn(&f);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_WRONG_TOKEN);
	r = (struct end_request){ .to = { 7, 1 },
				  .group = STR("other"),
				  .seq = a.gid.lo,
				  .token = a.token,
				  .verdict = VERDICT_COMMIT };
	core_end(f.core, &r);
	fake_turn(&f);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_WRONG_GROUP);
	r.seq = 4711;
	core_end(f.core, &r);
	fake_turn(&f);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_NOT_FOUND);
	ck_assert_int_eq(fake_view(&f, a.gid).state, TXN_PREPARED);
}
END_TEST

/* ---- publishing ------------------------------------------------------------------------------ */

static struct answer
committed(const char *key)
{
	struct answer a = fake_begin(&f, 1, key, key);

	fake_decided(&f, &a, VERDICT_COMMIT);
	return a;
}

START_TEST(a_failed_publication_is_repeated_in_order_under_the_same_numbers)
{
	open_with_topic();
	committed("a");
	committed("b");
	committed("c");
	ck_assert_uint_eq(f.publish_count, 3);
	ack(1);
	refuse(REPORT_UNKNOWN);
	committed("d");
	ck_assert_uint_eq(f.publish_count, 3); /* frozen until nothing is in flight */
	refuse(REPORT_UNKNOWN);
	fake_turn(&f);
	ck_assert_uint_eq(f.publish_count, 3);
	ck_assert_uint_eq(f.notes[NOTE_LANE_FROZEN], 1);
	fake_pass(&f, f.conf.lane_backoff_ns);
	ck_assert_uint_eq(f.publish_count, 6);
	for (uint32_t i = 0; i < 3; i++)
		ck_assert_uint_eq(f.published[3 + i].n, 2 + i);
	ack(3);
	ck_assert_uint_eq(f.notes[NOTE_LANE_RESUMED], 1);
	ck_assert_uint_eq(core_owed(f.core), 0);
}
END_TEST

/* A topic deleted and made again forgets everything: who did that by mistake must hear of it. */
START_TEST(an_offset_that_falls_is_told)
{
	const int64_t offsets[] = { 7, 8, 9, 0, 1 };

	open_with_topic();
	for (uint32_t i = 0; i < ARRAY_LEN(offsets); i++) {
		char key[2] = { (char)('a' + i), 0 };

		committed(key);
		core_clock(f.core, f.now_ns, f.wall_ms);
		core_report(f.core, f.published[i].token, REPORT_ACKED, offsets[i], 0);
		ck_assert_uint_eq(f.notes[NOTE_TOPIC_ANEW], i >= 3);
	}
	ck_assert_uint_eq(core_owed(f.core), 0);
}
END_TEST

/* Only this very message, refused while alone, is given up; what is behind it goes on. */
START_TEST(a_refused_message_is_confirmed_alone_then_undeliverable)
{
	struct answer a;

	open_with_topic();
	a = committed("a");
	committed("b");
	refuse(REPORT_REFUSED);
	ack(1); /* b was in flight behind it */
	fake_turn(&f);
	ck_assert_uint_eq(f.publish_count, 3);
	ck_assert_uint_eq(f.published[2].n, 1);
	refuse(REPORT_REFUSED);
	ck_assert_int_eq(fake_view(&f, a.gid).state, TXN_COMMITTED);
	fake_turn(&f);
	ck_assert_int_eq(fake_view(&f, a.gid).state, TXN_UNDELIVERABLE);
	ck_assert_uint_eq(f.notes[NOTE_UNPUBLISHABLE], 1);
	committed("c");
	ck_assert_uint_eq(f.published[3].n, 3);
	fake_crash(&f, 0);
	ck_assert_int_eq(fake_view(&f, a.gid).state, TXN_UNDELIVERABLE);
}
END_TEST

START_TEST(a_crash_publishes_again_what_was_not_marked_and_only_that)
{
	open_with_topic();
	committed("a");
	committed("b");
	ack(1);
	fake_turn(&f); /* the mark of a is durable */
	ack(1);        /* that of b is not even written */
	fake_crash(&f, 0);
	reported = 0;
	fake_turn(&f);
	ck_assert_uint_eq(f.publish_count, 1);
	ck_assert_uint_eq(f.published[0].n, 2);
	ack(1);
	committed("c");
	ck_assert_uint_eq(f.published[1].n, 3);
}
END_TEST

START_TEST(kafkas_queue_being_full_stops_and_resumes)
{
	open_with_topic();
	f.sink_full = true;
	committed("a");
	committed("b");
	ck_assert_uint_eq(f.publish_count, 0);
	ck_assert_int_gt(core_next_due_ns(f.core), f.now_ns);
	f.sink_full = false;
	core_sink_ready(f.core);
	fake_turn(&f);
	ck_assert_uint_eq(f.publish_count, 2);
}
END_TEST

START_TEST(cold_bodies_keep_the_order)
{
	open_with_topic();
	f.cold = true;
	committed("a");
	committed("b");
	ck_assert_uint_eq(f.publish_count, 0);
	core_fetched(f.core, f.fetch_token, 0, fake_half_at(&f, f.fetch_place));
	ck_assert_uint_eq(f.publish_count, 1);
	ck_assert_uint_eq(f.published[0].n, 1);
	ck_assert_int_le(core_next_due_ns(f.core), f.now_ns); /* or b would sleep */
	fake_turn(&f);
	core_fetched(f.core, f.fetch_token, 0, fake_half_at(&f, f.fetch_place));
	ck_assert_uint_eq(f.published[1].n, 2);
}
END_TEST

START_TEST(another_cluster_gets_nothing)
{
	open_with_topic();
	ck_assert_int_eq(core_cluster(f.core, STR("one")), 0);
	fake_turn(&f);
	fake_crash(&f, 0);
	ck_assert_int_eq(core_cluster(f.core, STR("two")), ERR_FOREIGN);
	committed("a");
	ck_assert_uint_eq(f.publish_count, 0);
	ck_assert(core_stats(f.core)->foreign_cluster);
	ck_assert_int_eq(core_cluster(f.core, STR("one")), 0);
	fake_turn(&f);
	ck_assert_uint_eq(f.publish_count, 1);
}
END_TEST

/* ---- crashes and reclaim --------------------------------------------------------------------- */

START_TEST(a_crash_loses_nothing_that_was_answered)
{
	struct answer a;
	struct answer b;
	struct answer c;

	open_with_topic();
	a = fake_begin(&f, 1, "a", "hello");
	b = fake_begin(&f, 1, "b", "hello");
	c = fake_begin(&f, 1, "c", "hello");
	fake_begin(&f, 1, "a", "hello");
	fake_decided(&f, &b, VERDICT_COMMIT);
	fake_decided(&f, &c, VERDICT_ROLLBACK);
	fake_send(&f, 1, "d", "never durable");
	fake_crash(&f, 5000);
	ck_assert_int_eq(fake_view(&f, a.gid).state, TXN_PREPARED);
	ck_assert_uint_eq(fake_view(&f, a.gid).generation, 1);
	ck_assert_int_eq(fake_view(&f, b.gid).state, TXN_COMMITTED);
	ck_assert_int_eq(fake_view(&f, c.gid).state, TXN_ROLLED_BACK);
	fake_turn(&f);
	ck_assert_uint_eq(f.publish_count, 1);
	/* The tokens survive, and so do the answers. */
	ck_assert_int_eq(fake_decided(&f, &b, VERDICT_COMMIT).code, ANSWER_OK);
	ck_assert_int_eq(fake_decided(&f, &b, VERDICT_ROLLBACK).code, ANSWER_DECIDED);
	ck_assert_int_eq(fake_decided(&f, &a, VERDICT_ROLLBACK).code, ANSWER_OK);
	ck_assert_uint_eq(core_stats(f.core)->rows[TXN_PREPARED], 0);
	/* A new one is newer than all before. */
	ck_assert_uint_gt(fake_begin(&f, 1, "e", "x").gid.lo, c.gid.lo);
}
END_TEST

START_TEST(reclaim_copies_what_is_owed_and_forgets_the_rest)
{
	struct answer undecided;
	struct answer owed;
	struct answer done;
	struct answer old;

	open_with_topic();
	old = fake_begin(&f, 1, "old", "x");
	fake_decided(&f, &old, VERDICT_ROLLBACK);
	fake_pass(&f, 100 * NS_PER_S);
	undecided = fake_begin(&f, 1, "u", "x");
	done = committed("done");
	ack(1);
	fake_turn(&f);
	owed = committed("owed");
	fake_reclaim(&f);
	fake_reclaim(&f); /* and copies of copies */
	ck_assert_uint_eq(f.log[f.first].type, ENTRY_STATE);
	fake_crash(&f, 100);
	ck_assert_int_eq(fake_view(&f, undecided.gid).state, TXN_PREPARED);
	ck_assert_int_eq(fake_view(&f, owed.gid).state, TXN_COMMITTED);
	ck_assert_int_eq(fake_view(&f, done.gid).state, TXN_PUBLISHED);
	ck_assert_uint_eq(fake_view(&f, done.gid).place.len, 0); /* a stub */
	ck_assert_int_eq(core_get(f.core, old.gid, &(struct row_view){ 0 }), ERR_NOTFOUND);
	reported = 0;
	fake_turn(&f);
	ck_assert_uint_eq(f.publish_count, 1);
	ck_assert_uint_eq(f.published[0].n, 2);
	ack(1);
	/* The stub still knows its key and its tokens. */
	ck_assert_int_eq(fake_decided(&f, &done, VERDICT_ROLLBACK).code, ANSWER_DECIDED);
	fake_send(&f, 1, "done", "done");
	fake_sync(&f);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_DECIDED);
	ck_assert_int_eq(fake_decided(&f, &undecided, VERDICT_COMMIT).code, ANSWER_OK);
	ck_assert_uint_eq(f.published[1].n, 3);
}
END_TEST

/* The copy lies behind the decision in the log: said without it, the decision would be lost. */
START_TEST(a_copy_carries_the_decision_that_is_not_durable_yet)
{
	struct answer a;

	open_with_topic();
	a = fake_begin(&f, 1, "a", "hello");
	fake_end(&f, &a, a.token, VERDICT_COMMIT, false);
	fake_decide(&f);
	ck_assert_int_eq(f.log[f.count - 1].type, ENTRY_DECISION);
	fake_reclaim(&f);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_OK);
	fake_crash(&f, 0);
	ck_assert_int_eq(fake_view(&f, a.gid).state, TXN_COMMITTED);
	fake_turn(&f);
	ck_assert_uint_eq(f.publish_count, 1);
	ck_assert_uint_eq(f.published[0].n, 1);
}
END_TEST

/* Kafka has it, but only memory says so: its segment may not go without a copy. */
START_TEST(a_mark_in_memory_frees_nothing)
{
	struct answer a;

	open_with_topic();
	f.lazy_lost = true;
	a = committed("a");
	ack(1);
	fake_turn(&f);
	ck_assert_int_eq(fake_view(&f, a.gid).state, TXN_PUBLISHED);
	fake_pass(&f, 100 * NS_PER_S);
	fake_reclaim(&f);
	ck_assert_int_eq(f.log[f.count - 1].type, ENTRY_COPY);
	fake_crash(&f, 0);
	fake_turn(&f);
	ck_assert_uint_eq(f.publish_count, 0);
	ck_assert_int_eq(fake_view(&f, a.gid).state, TXN_PUBLISHED);
	/* Who knows what the wall clock did meanwhile: for one window its key is remembered. */
	fake_reclaim(&f);
	ck_assert_int_eq(core_get(f.core, a.gid, &(struct row_view){ 0 }), 0);
	fake_pass(&f, 100 * NS_PER_S);
	/* The copy is proof enough to let it go. */
	fake_reclaim(&f);
	ck_assert_int_eq(core_get(f.core, a.gid, &(struct row_view){ 0 }), ERR_NOTFOUND);
}
END_TEST

/* The recovered tail may be written again: every record twice must be as every record once. */
START_TEST(recovery_of_records_that_come_twice)
{
	struct answer a;
	struct answer b;
	uint32_t end;

	open_with_topic();
	a = committed("a");
	b = fake_begin(&f, 1, "b", "x");
	fake_begin(&f, 1, "b", "x");
	ack(1);
	fake_turn(&f);
	end = f.count;
	for (uint32_t i = 0; i < end; i++)
		f.log[f.count++] = f.log[i];
	f.durable = f.count;
	fake_crash(&f, 0);
	ck_assert_int_eq(fake_view(&f, a.gid).state, TXN_PUBLISHED);
	ck_assert_int_eq(fake_view(&f, b.gid).state, TXN_PREPARED);
	ck_assert_uint_eq(fake_view(&f, b.gid).generation, 1);
	ck_assert_uint_eq(fake_view(&f, b.gid).place.lsn / FAKE_LEN >= end, 1);
	fake_turn(&f);
	ck_assert_uint_eq(f.publish_count, 0);
}
END_TEST

/* ---- views ----------------------------------------------------------------------------------- */

START_TEST(lists_page_through_everything_once)
{
	static struct list_page page;
	struct list_query q = { .limit = 7 };
	uint32_t seen = 0;
	uint64_t last = 0;
	char key[16];

	open_with_topic();
	for (int i = 0; i < 50; i++) {
		struct answer a;

		snprintf(key, sizeof(key), "k%d", i);
		a = fake_begin(&f, 1, key, "hello");
		if (i % 2)
			fake_decided(&f, &a, VERDICT_ROLLBACK);
	}
	q.states = 1u << TXN_PREPARED;
	do {
		core_list(f.core, &q, &page);
		for (uint32_t i = 0; i < page.count; i++, seen++) {
			ck_assert_uint_gt(page.rows[i].gid.lo, last);
			last = page.rows[i].gid.lo;
			ck_assert(str_eq(page.rows[i].group, STR("g")));
		}
		q.after_seq = page.next_seq;
	} while (page.next_seq);
	ck_assert_uint_eq(seen, 25);
	q = (struct list_query){ .newest_first = true, .limit = 7 };
	seen = 0;
	last = UINT64_MAX;
	do {
		core_list(f.core, &q, &page);
		for (uint32_t i = 0; i < page.count; i++, seen++) {
			ck_assert_uint_lt(page.rows[i].gid.lo, last);
			last = page.rows[i].gid.lo;
		}
		q.after_seq = page.next_seq;
	} while (page.next_seq);
	ck_assert_uint_eq(seen, 50);
	q = (struct list_query){ .group = STR("g"), .key = STR("k9") };
	core_list(f.core, &q, &page);
	ck_assert_uint_eq(page.count, 1);
}
END_TEST

/* A fence cleaned too far would let a local transaction commit after its check said no. */
START_TEST(the_watermark_never_passes_an_undecided_transaction)
{
	static const uint8_t db[16] = { 1 };
	struct answer a;
	struct answer b;
	struct gid w;

	open_with_topic();
	a = fake_begin(&f, 1, "a", "x");
	b = fake_begin(&f, 1, "b", "x");
	w = core_watermark(f.core, db);
	ck_assert(gid_eq(w, a.gid));
	fake_decided(&f, &a, VERDICT_ROLLBACK);
	w = core_watermark(f.core, db);
	ck_assert(gid_eq(w, b.gid));
	fake_send(&f, 1, "c", "x"); /* not durable, not answered: still in the way */
	fake_decided(&f, &b, VERDICT_ROLLBACK);
	w = core_watermark(f.core, db);
	ck_assert_uint_eq(w.lo, b.gid.lo + 1);
}
END_TEST

START_TEST(a_timeline_tells_a_life)
{
	struct timeline_event events[16];
	struct answer a;
	uint32_t n;

	open_with_topic();
	a = fake_begin(&f, 1, "a", "x");
	fake_begin(&f, 1, "b", "x");
	fake_decided(&f, &a, VERDICT_COMMIT);
	ack(1);
	n = core_timeline(f.core, a.gid.lo, events, 16);
	ck_assert_uint_eq(n, 4);
	ck_assert_int_eq(events[0].to, TXN_PREPARED);
	ck_assert_int_eq(events[1].to, TXN_COMMITTED);
	ck_assert_int_eq(events[2].kind, NOTE_PUBLISHED);
	ck_assert_int_eq(events[3].to, TXN_PUBLISHED);
}
END_TEST

/* A slow sync, and a crowd: each is answered once it is durable, and not before. */
START_TEST(a_thousand_answers_wait_for_one_sync)
{
	struct answer first;
	char key[16];

	open_with_topic();
	first = fake_begin(&f, 1, "first", "x");
	f.answer_count = 0;
	for (int i = 0; i < 1500; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		fake_send(&f, 1, key, "x");
	}
	ck_assert_uint_eq(f.answer_count, 0);
	fake_sync(&f);
	ck_assert_uint_eq(f.answer_count, 1500);
	for (uint32_t i = 0; i < 1500; i++) {
		ck_assert_int_eq(f.answers[i].a.code, ANSWER_OK);
		ck_assert_uint_eq(f.answers[i].a.gid.lo, first.gid.lo + 1 + i);
	}
}
END_TEST

/*
 * Memory forgets a producer group with its last transaction, the journal only with its segment: a
 * journal that names more groups than memory may hold must still be read, or the daemon never
 * starts again.
 */
START_TEST(a_journal_with_more_groups_than_memory_is_read)
{
	struct message m = fake_message("t", "x");
	struct entry e = { .type = ENTRY_HALF };
	uint32_t topic = 0;
	char name[16];

	open_with_topic();
	f.core = core_free(f.core);
	f.core = core_new(&f.conf, &fake_ports, &f);
	for (uint32_t i = f.first; i < f.count; i++)
		ck_assert_int_eq(core_recover(f.core, &f.log[i], (struct place){ i * 100, 100 }),
				 0);
	m.partition = 0;
	e.half.topics = &topic;
	for (uint32_t i = 1; i <= LIMIT_GROUPS + 1; i++) {
		struct entry done = { .type = ENTRY_DECISION };

		snprintf(name, sizeof(name), "g%u", i);
		e.half.half = (struct half){ .gid = gid_make(f.wall_ms, 0, i),
					     .group = str_of(name),
					     .count = 1,
					     .messages = &m };
		ck_assert_int_eq(core_recover(f.core, &e, (struct place){ 100 * i, 100 }), 0);
		done.decision.seq = i;
		done.decision.decision =
			(struct decision){ TXN_ROLLED_BACK, ORIGIN_CLIENT, f.wall_ms, STR_NONE };
		ck_assert_int_eq(core_recover(f.core, &done, (struct place){ 0, 0 }), 0);
	}
	core_start(f.core, f.now_ns, f.wall_ms);
	/* In service the bound holds again: within the window there is no room for yet another. */
	fake_send(&f, 1, "k", "hello");
	fake_turn(&f);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_BUSY);
	fake_pass(&f, (int64_t)(f.conf.idempotency_window_ms + 1) * NS_PER_MS);
	fake_begin(&f, 1, "k", "hello");
}
END_TEST

UNIT("core", nothing_is_answered_before_it_is_durable, a_rolled_back_message_never_reaches_kafka,
     of_two_decisions_in_one_turn_the_first_wins, nobody_decides_by_guessing,
     a_failed_publication_is_repeated_in_order_under_the_same_numbers, an_offset_that_falls_is_told,
     a_refused_message_is_confirmed_alone_then_undeliverable,
     a_crash_publishes_again_what_was_not_marked_and_only_that,
     kafkas_queue_being_full_stops_and_resumes, cold_bodies_keep_the_order,
     another_cluster_gets_nothing, a_crash_loses_nothing_that_was_answered,
     reclaim_copies_what_is_owed_and_forgets_the_rest,
     a_copy_carries_the_decision_that_is_not_durable_yet, a_mark_in_memory_frees_nothing,
     recovery_of_records_that_come_twice, a_thousand_answers_wait_for_one_sync,
     lists_page_through_everything_once, the_watermark_never_passes_an_undecided_transaction,
     a_journal_with_more_groups_than_memory_is_read, a_timeline_tells_a_life);
