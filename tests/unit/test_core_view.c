/*
 * test_core_view.c -- what people are shown is all that there is, and true.
 *
 * A user would lose: the transaction that they look for, in a list that left it out; or their
 * patience, with a word that means nothing.
 */
#include "fake_ports.h"
#include "alike.h"
#include "unit.h"

#include "core/core_internal.h"

static struct fake f;
static struct list_page page;

static void
open_with_topics(void)
{
	fake_open(&f);
	fake_topic(&f, "t", 1);
	fake_topic(&f, "u", 2);
	fake_topic(&f, "unused", 1);
}

static struct answer
begin(const char *group, const char *key, const struct message *m, uint32_t count)
{
	struct half_request r = {
		.to = { 1, 1 },
		.half = { .group = str_of(group),
			  .key = str_of(key),
			  .count = count,
			  .messages = m },
	};

	core_half_send(f.core, &r);
	fake_turn(&f);
	ck_assert_int_eq(fake_last(&f)->code, ANSWER_OK);
	return *fake_last(&f);
}

static uint32_t
listed(const struct list_query *q)
{
	core_list(f.core, q, &page);
	return page.count;
}

START_TEST(every_answer_has_a_name_and_a_sentence)
{
	for (enum answer_code a = ANSWER_OK; (unsigned)a < ANSWER_COUNT; a++) {
		ck_assert_uint_gt(strlen(answer_text(a)), 8);
		for (enum answer_code b = ANSWER_OK; b < a; b++) {
			ck_assert_str_ne(answer_name(a), answer_name(b));
			ck_assert_str_ne(answer_text(a), answer_text(b));
		}
	}
}
END_TEST

START_TEST(each_filter_finds_what_it_says_and_nothing_else)
{
	struct message m[3] = { fake_message("t", "1"), fake_message("u", "2"),
				fake_message("t", "3") };
	struct answer t, u, both, old;

	open_with_topics();
	old = begin("g", "old", m, 1);
	fake_pass(&f, NS_PER_S);
	t = begin("g", "t", m, 1);
	u = begin("h", "u", m + 1, 1);
	both = begin("g", "both", m, 3);
	ck_assert_uint_eq(listed(&(struct list_query){ .group = STR("g") }), 3);
	ck_assert_uint_eq(listed(&(struct list_query){ .group = STR("nobody") }), 0);
	ck_assert_uint_eq(listed(&(struct list_query){ .topic = STR("t") }), 3);
	ck_assert_uint_eq(listed(&(struct list_query){ .topic = STR("u") }), 2);
	ck_assert(gid_eq(page.rows[0].gid, u.gid) && gid_eq(page.rows[1].gid, both.gid));
	ck_assert_uint_eq(listed(&(struct list_query){ .topic = STR("unused") }), 0);
	ck_assert_uint_eq(listed(&(struct list_query){ .topic = STR("no.such") }), 0);
	ck_assert_uint_eq(listed(&(struct list_query){ .group = STR("g"), .key = STR("t") }), 1);
	ck_assert(gid_eq(page.rows[0].gid, t.gid));
	ck_assert_uint_eq(listed(&(struct list_query){ .group = STR("g"), .key = STR("u") }), 0);
	ck_assert_uint_eq(listed(&(struct list_query){ .min_age_ms = 500 }), 1);
	ck_assert(gid_eq(page.rows[0].gid, old.gid));
	ck_assert_uint_eq(listed(&(struct list_query){ .min_checks = 1 }), 0);
	ck_assert_uint_eq(listed(&(struct list_query){ .states = 1u << TXN_PREPARED }), 4);
	ck_assert_uint_eq(listed(&(struct list_query){ .states = 1u << TXN_PARKED }), 0);
	/* more than a page may have: as many as it may */
	ck_assert_uint_eq(listed(&(struct list_query){ .limit = LIMIT_LIST_PAGE + 1 }), 4);
	/* what is not durable yet nobody has seen */
	fake_send(&f, 1, "halfway", "x");
	ck_assert_uint_eq(listed(&(struct list_query){ .newest_first = true }), 4);
	ck_assert(gid_eq(page.rows[0].gid, both.gid));
	fake_sync(&f);
	ck_assert_uint_eq(listed(&(struct list_query){ .newest_first = true, .limit = 1 }), 1);
	ck_assert_uint_eq(page.next_seq, page.rows[0].gid.lo);
}
END_TEST

/* Of what became a stub only the key is left: it is in the list, and under no topic. */
START_TEST(a_stub_is_listed_and_under_no_topic)
{
	struct answer a;

	open_with_topics();
	a = fake_begin(&f, 1, "k", "x");
	fake_decided(&f, &a, VERDICT_ROLLBACK);
	fake_reclaim(&f);
	ck_assert_uint_eq(listed(&(struct list_query){ .topic = STR("t") }), 1);
	fake_crash(&f, 0);
	ck_assert_uint_eq(listed(&(struct list_query){ .group = STR("g"), .key = STR("k") }), 1);
	ck_assert(gid_eq(page.rows[0].gid, a.gid));
	ck_assert_uint_eq(page.rows[0].topic.n, 0);
	ck_assert_uint_eq(listed(&(struct list_query){ .topic = STR("t") }), 0);
}
END_TEST

/* A gid that somebody tried, with the right sequence and another time, is none. */
START_TEST(only_the_whole_gid_leads_to_a_transaction)
{
	struct row_view v;
	struct answer a;

	open_with_topics();
	a = fake_begin(&f, 1, "k", "x");
	ck_assert_int_eq(core_get(f.core, a.gid, &v), 0);
	a.gid.hi++;
	ck_assert_int_eq(core_get(f.core, a.gid, &v), ERR_NOTFOUND);
	a.gid.hi--;
	a.gid.lo++;
	ck_assert_int_eq(core_get(f.core, a.gid, &v), ERR_NOTFOUND);
	fake_send(&f, 1, "halfway", "x");
	ck_assert_int_eq(core_get(f.core, a.gid, &v), ERR_NOTFOUND);
}
END_TEST

/* One turn looks at so many rows; who asks on with the cursor still gets every one, once. */
START_TEST(a_list_over_very_many_goes_on_where_it_stopped)
{
	struct list_query q = { .states = 1u << TXN_PARKED };
	uint32_t turns = 0, found = 0;
	bool newest = _i;

	open_with_topics();
	f.lazy_lost = true;
	for (int i = 0; i < LIMIT_LIST_SCAN + 2000; i++) {
		struct entry e = { .type = ENTRY_HALF };
		struct message m = fake_message("t", "x");
		uint32_t topic = 0;

		m.partition = 0;
		e.half.topics = &topic;
		e.half.half = (struct half){ .gid = gid_make(f.wall_ms, 0, 1 + (uint64_t)i),
					     .group = STR("g"),
					     .count = 1,
					     .messages = &m };
		if (i == 0) {
			fake_crash(&f, 0);
			f.core = core_free(f.core);
			f.core = core_new(&f.conf, &fake_ports, &f);
			for (uint32_t k = f.first; k < f.count; k++)
				ck_assert_int_eq(core_recover(f.core, &f.log[k],
							      (struct place){ k * FAKE_LEN, 1 }),
						 0);
		}
		ck_assert_int_eq(core_recover(f.core, &e, (struct place){ 1, 1 }), 0);
	}
	core_start(f.core, f.now_ns, f.wall_ms);
	q.newest_first = newest;
	do {
		found += listed(&q);
		turns++;
		q.after_seq = page.next_seq;
	} while (page.next_seq);
	ck_assert_uint_eq(found, 0);
	ck_assert_uint_gt(turns, 1);
	q = (struct list_query){ .newest_first = newest };
	do {
		found += listed(&q);
		q.after_seq = page.next_seq;
	} while (page.next_seq);
	ck_assert_uint_eq(found, LIMIT_LIST_SCAN + 2000);
}
END_TEST

START_TEST(groups_that_nobody_answers_for_are_silent)
{
	struct message m = fake_message("t", "x");
	struct group_view g;
	uint32_t at = 0, seen = 0, silent = 0;

	open_with_topics();
	/* one that waits for a listener, one that has one, one that came and went */
	fake_begin(&f, 1, "k", "x");
	begin("heard", "k", &m, 1);
	ck_assert_int_eq(core_join(f.core, 5, STR("heard")), 0);
	ck_assert_int_eq(core_join(f.core, 5, STR("idle")), 0);
	ck_assert_int_eq(core_join(f.core, 6, STR("gone")), 0);
	core_leave(f.core, 6, STR_NONE);
	while (core_group_next(f.core, &at, &g)) {
		seen++;
		silent += g.silent;
		ck_assert(g.silent == str_eq(g.name, STR("g")));
		ck_assert(!str_eq(g.name, STR("gone")));
		ck_assert_uint_eq(g.waiting, str_eq(g.name, STR("idle")) ? 0 : 1);
	}
	ck_assert_uint_eq(seen, 3);
	ck_assert_uint_eq(silent, 1);
}
END_TEST

START_TEST(topics_tell_what_they_are_owed)
{
	struct topic_view t;
	struct message m = fake_message("u", "x");
	struct answer a;
	uint32_t at = 0;

	open_with_topics();
	m.partition = 1;
	a = begin("g", "k", &m, 1);
	fake_decided(&f, &a, VERDICT_COMMIT);
	ck_assert_uint_eq(f.publish_count, 1);
	core_report(f.core, f.published[0].token, REPORT_UNKNOWN, -1, 7);
	fake_turn(&f);
	for (; core_topic_next(f.core, &at, &t);) {
		bool u = str_eq(t.name, STR("u"));

		ck_assert_uint_eq(t.pending, u);
		ck_assert_uint_eq(t.frozen, u);
		ck_assert_int_eq(t.partitions, u ? 2 : 1);
	}
	ck_assert_uint_eq(at, 3);
}
END_TEST

/*
 * A fence cleaned too far would let a local transaction commit after its check said no.  One
 * database's mark is not held back by another's, and always by those that name none.
 */
START_TEST(each_database_has_its_watermark)
{
	static const uint8_t db[3][16] = { { 1 }, { 2 }, { 3 } };
	struct message m = fake_message("t", "x");
	struct half_request r = { .to = { 1, 1 },
				  .half = { .group = STR("g"), .count = 1, .messages = &m } };
	struct answer a[3];

	open_with_topics();
	for (int i = 0; i < 2; i++) {
		r.half.has_db_id = true;
		memcpy(r.half.db_id, db[i], 16);
		core_half_send(f.core, &r);
		fake_turn(&f);
		a[i] = *fake_last(&f);
		ck_assert_int_eq(a[i].code, ANSWER_OK);
	}
	ck_assert(gid_eq(core_watermark(f.core, db[0]), a[0].gid));
	ck_assert(gid_eq(core_watermark(f.core, db[1]), a[1].gid));
	/* one that nobody named: nothing of it is undecided */
	ck_assert_uint_gt(core_watermark(f.core, db[2]).lo, a[1].gid.lo);
	fake_decided(&f, &a[0], VERDICT_ROLLBACK);
	ck_assert_uint_gt(core_watermark(f.core, db[0]).lo, a[1].gid.lo);
	ck_assert(gid_eq(core_watermark(f.core, db[1]), a[1].gid));
	/* without a name it counts for every database */
	a[2] = fake_begin(&f, 1, "none", "x");
	ck_assert(gid_eq(core_watermark(f.core, db[0]), a[2].gid));
	ck_assert(gid_eq(core_watermark(f.core, db[1]), a[1].gid));
	fake_decided(&f, &a[1], VERDICT_COMMIT);
	ck_assert(gid_eq(core_watermark(f.core, db[1]), a[2].gid));
	/* and after a restart they are the same */
	fake_crash(&f, 10);
	ck_assert(gid_eq(core_watermark(f.core, db[1]), a[2].gid));
}
END_TEST

/*
 * A dedup table cleaned too far would meet a message that it has forgotten.  So who is parked or
 * undeliverable holds it back, and who is in Kafka too until no crash can forget that.
 */
START_TEST(the_oldest_unpublished_waits_for_a_durable_mark)
{
	struct message m[2] = { fake_message("t", "x"), fake_message("u", "y") };
	struct half_request r = { .to = { 1, 1 },
				  .half = { .group = STR("g"), .count = 1 },
				  .plain = true };
	struct answer a, b, plain;

	open_with_topics();
	ck_assert_uint_gt(core_unpublished(f.core).lo, 0);
	a = begin("g", "a", m, 2);
	b = begin("g", "b", m, 1);
	ck_assert(gid_eq(core_unpublished(f.core), a.gid));
	fake_decided(&f, &b, VERDICT_ROLLBACK);
	ck_assert(gid_eq(core_unpublished(f.core), a.gid));
	fake_decided(&f, &a, VERDICT_COMMIT);
	ck_assert_uint_eq(f.publish_count, 2);
	core_report(f.core, f.published[0].token, REPORT_ACKED, 0, 0);
	fake_turn(&f);
	ck_assert(gid_eq(core_unpublished(f.core), a.gid));
	/* Acknowledged, but not marked; marked, but not durable. */
	core_report(f.core, f.published[1].token, REPORT_ACKED, 0, 0);
	ck_assert(gid_eq(core_unpublished(f.core), a.gid));
	fake_decide(&f);
	ck_assert(gid_eq(core_unpublished(f.core), a.gid));
	fake_crash(&f, 10);
	ck_assert(gid_eq(core_unpublished(f.core), a.gid));
	fake_turn(&f);
	ck_assert_uint_eq(f.publish_count, 1);
	ck_assert_uint_eq(f.published[0].seq, a.gid.lo);
	core_report(f.core, f.published[0].token, REPORT_ACKED, 1, 0);
	fake_turn(&f);
	ck_assert_uint_gt(core_unpublished(f.core).lo, b.gid.lo);
	/* A plain message is there before anybody can decide it. */
	r.half.messages = m;
	core_half_send(f.core, &r);
	fake_turn(&f);
	plain = *fake_last(&f);
	ck_assert(gid_eq(core_unpublished(f.core), plain.gid));
	fake_crash(&f, 10);
	ck_assert(gid_eq(core_unpublished(f.core), plain.gid));
}
END_TEST

/* A disk that is full has no room for marks. */
START_TEST(the_oldest_unpublished_stands_still_while_marks_are_lost)
{
	struct message m = fake_message("t", "x");
	struct answer a;

	open_with_topics();
	a = begin("g", "a", &m, 1);
	ck_assert(gid_eq(core_unpublished(f.core), a.gid));
	fake_decided(&f, &a, VERDICT_COMMIT);
	f.lazy_lost = true;
	core_report(f.core, f.published[0].token, REPORT_ACKED, 0, 0);
	for (int i = 0; i < 3; i++)
		fake_pass(&f, 2 * NS_PER_S);
	ck_assert(gid_eq(core_unpublished(f.core), a.gid));
	f.lazy_lost = false;
	fake_pass(&f, 2 * NS_PER_S);
	ck_assert_uint_gt(core_unpublished(f.core).lo, a.gid.lo);
}
END_TEST

/* Two databases whose ids look alike to the map are two. */
static uint64_t
hash_of_db(uint64_t number)
{
	uint8_t id[16] = { 0 };

	memcpy(id, &number, sizeof(number));
	return hash_body(id, 16, 0).lo;
}

START_TEST(databases_that_look_alike_are_not_mixed_up)
{
	struct message m = fake_message("t", "x");
	struct half_request r = { .to = { 1, 1 },
				  .half = { .group = STR("g"), .count = 1, .messages = &m } };
	uint8_t id[2][16] = { { 0 }, { 0 } };
	uint64_t alike[2];
	struct answer a[2];

	open_with_topics();
	alike_find(hash_of_db, 1, alike);
	r.half.has_db_id = true;
	for (int i = 0; i < 2; i++) {
		memcpy(id[i], &alike[i], sizeof(alike[i]));
		memcpy(r.half.db_id, id[i], 16);
		core_half_send(f.core, &r);
		fake_turn(&f);
		a[i] = *fake_last(&f);
	}
	fake_decided(&f, &a[0], VERDICT_ROLLBACK);
	ck_assert_uint_gt(core_watermark(f.core, id[0]).lo, a[1].gid.lo);
	ck_assert(gid_eq(core_watermark(f.core, id[1]), a[1].gid));
}
END_TEST

/* One database waits behind very many of another: its mark gets there, and is never too far. */
START_TEST(a_watermark_finds_its_way_past_many)
{
	enum { MANY = LIMIT_LIST_SCAN + 1000 };
	static const uint8_t id[2][16] = { { 1 }, { 2 } };
	struct message m = fake_message("t", "x");
	struct entry e = { .type = ENTRY_HALF };
	struct gid last, w = { 0, 0 };
	uint32_t topic = 0, asked = 0;

	open_with_topics();
	/* before the journal is read nobody knows */
	f.core = core_free(f.core);
	f.core = core_new(&f.conf, &fake_ports, &f);
	for (uint32_t i = f.first; i < f.count; i++)
		ck_assert_int_eq(core_recover(f.core, &f.log[i], (struct place){ 1, 1 }), 0);
	m.partition = 0;
	e.half.topics = &topic;
	for (uint32_t i = 1; i <= MANY; i++) {
		e.half.half = (struct half){ .gid = gid_make(f.wall_ms, 0, i),
					     .group = STR("g"),
					     .has_db_id = true,
					     .count = 1,
					     .messages = &m };
		memcpy(e.half.half.db_id, id[i == MANY], 16);
		ck_assert_int_eq(core_recover(f.core, &e, (struct place){ 100 * i, 100 }), 0);
	}
	last = e.half.half.gid;
	ck_assert_uint_eq(core_stats(f.core)->undecided_oldest_ms, 0);
	ck_assert_uint_le(core_watermark(f.core, id[1]).lo, 1);
	core_start(f.core, f.now_ns, f.wall_ms);
	for (; !gid_eq(w, last); asked++) {
		w = core_watermark(f.core, id[1]);
		ck_assert_uint_le(w.lo, last.lo);
		ck_assert_uint_lt(asked, 10);
	}
	ck_assert_uint_gt(asked, 1);
	ck_assert_uint_eq(core_watermark(f.core, id[0]).lo, 1);
}
END_TEST

/* More databases than are remembered count as "none": too careful, never wrong. */
START_TEST(one_database_too_many_holds_all_back)
{
	struct message m = fake_message("t", "x");
	struct half_request r = { .to = { 1, 1 },
				  .half = { .group = STR("g"), .count = 1, .messages = &m } };
	uint8_t first[16] = { 0 };
	struct answer a;

	open_with_topics();
	f.lazy_lost = true;
	for (uint32_t i = 0; i <= LIMIT_DBS; i++)
		core_db(f.core, true, (uint8_t[16]){ (uint8_t)i, (uint8_t)(i >> 8), 1 });
	first[2] = 1;
	r.half.has_db_id = true;
	memset(r.half.db_id, 0xee, 16);
	core_half_send(f.core, &r);
	fake_turn(&f);
	a = *fake_last(&f);
	ck_assert_int_eq(a.code, ANSWER_OK);
	ck_assert(gid_eq(core_watermark(f.core, r.half.db_id), a.gid));
	ck_assert(gid_eq(core_watermark(f.core, first), a.gid));
}
END_TEST

/* A plain send has no time at which it was undecided; a refusal is told behind the decision. */
START_TEST(a_timeline_tells_each_kind_of_life)
{
	struct message m = fake_message("t", "x");
	struct half_request r = { .to = { 1, 1 },
				  .plain = true,
				  .half = { .group = STR("g"), .count = 1, .messages = &m } };
	struct timeline_event events[8];
	struct answer a;
	uint32_t n;

	open_with_topics();
	core_half_send(f.core, &r);
	fake_turn(&f);
	a = *fake_last(&f);
	core_report(f.core, f.published[0].token, REPORT_ACKED, 5, 0);
	fake_turn(&f);
	n = core_timeline(f.core, a.gid.lo, events, 8);
	ck_assert_uint_eq(n, 3);
	ck_assert_int_eq(events[0].to, TXN_COMMITTED);
	ck_assert_int_eq(events[1].kind, NOTE_PUBLISHED);
	ck_assert_int_eq(events[2].to, TXN_PUBLISHED);

	/* asked, answered by nobody, then rolled back by its own producer */
	core_join(f.core, 1, STR("g"));
	a = fake_begin(&f, 1, "rolled back", "x");
	fake_pass(&f, 7 * NS_PER_S);
	core_check_written(f.core, a.gid.lo, 1);
	fake_pass(&f, NS_PER_S);
	fake_decided(&f, &a, VERDICT_ROLLBACK);
	n = core_timeline(f.core, a.gid.lo, events, 8);
	ck_assert_uint_eq(n, 3);
	ck_assert_int_eq(events[1].kind, NOTE_CHECK_SENT);
	ck_assert_int_eq(events[2].to, TXN_ROLLED_BACK);

	/* what came behind the decision, in the same millisecond even, is told behind it */
	a = fake_begin(&f, 1, "refused", "x");
	fake_decided(&f, &a, VERDICT_COMMIT);
	for (uint32_t i = f.publish_count - 1; i < f.publish_count && i < 3; i++) {
		core_report(f.core, f.published[i].token, REPORT_REFUSED, -1, 10);
		fake_turn(&f);
	}
	n = core_timeline(f.core, a.gid.lo, events, 8);
	ck_assert_uint_eq(n, 4);
	ck_assert_int_eq(events[1].to, TXN_COMMITTED);
	ck_assert_int_eq(events[2].to, TXN_UNDELIVERABLE);
	ck_assert_int_eq(events[3].kind, NOTE_UNPUBLISHABLE);

	/* after a restart the ring is empty, and the transaction tells what it knows */
	fake_crash(&f, 1000);
	ck_assert_uint_eq(core_timeline(f.core, a.gid.lo, events, 8), 2);
	ck_assert_int_eq(events[1].to, TXN_COMMITTED);
}
END_TEST

START_TEST(a_timeline_is_bounded_and_only_its_own)
{
	struct timeline_event events[8];
	struct note n = { .kind = NOTE_CHECK_SENT };
	struct answer a;

	open_with_topics();
	a = fake_begin(&f, 1, "a", "x");
	n.gid = a.gid;
	for (n.value = 1; n.value <= 3; n.value++)
		core_timeline_add(f.core, &n);
	fake_decided(&f, &a, VERDICT_COMMIT);
	ck_assert_uint_eq(core_timeline(f.core, a.gid.lo, events, 1), 1);
	ck_assert_uint_eq(core_timeline(f.core, a.gid.lo, events, 8), 5);
	for (int i = 1; i <= 3; i++)
		ck_assert_int_eq(events[i].value, i);
	ck_assert_int_eq(events[4].to, TXN_COMMITTED);
	/* one that falls into the same place of the index is not told as ours */
	while (hash_u64(++n.gid.lo) % TIMELINE_EVENTS != hash_u64(a.gid.lo) % TIMELINE_EVENTS)
		;
	core_timeline_add(f.core, &n);
	ck_assert_uint_eq(core_timeline(f.core, a.gid.lo, events, 8), 5);
	ck_assert_uint_eq(core_timeline(f.core, n.gid.lo, events, 8), 0);
	/* and what is long ago is forgotten, but for what the transaction itself tells */
	n.gid.lo = 77777;
	for (uint32_t i = 0; i < TIMELINE_EVENTS; i++)
		core_timeline_add(f.core, &n);
	ck_assert_uint_eq(core_timeline(f.core, a.gid.lo, events, 8), 2);
}
END_TEST

/* Of several messages that Kafka refused the first one's reason is shown. */
START_TEST(the_first_refusal_is_shown)
{
	struct message m[3] = { fake_message("t", "1"), fake_message("u", "2"),
				fake_message("unused", "3") };
	struct row_view v;
	struct answer a;

	open_with_topics();
	a = begin("g", "k", m, 3);
	fake_decided(&f, &a, VERDICT_COMMIT);
	ck_assert_uint_eq(f.publish_count, 3);
	for (uint32_t i = 0; i < f.publish_count; i++) {
		core_report(f.core, f.published[i].token, REPORT_REFUSED, -1,
			    (int32_t)(10 + f.published[i].index));
		fake_turn(&f);
	}
	v = fake_view(&f, a.gid);
	ck_assert_uint_eq(f.publish_count, 6);
	ck_assert_int_eq(v.state, TXN_UNDELIVERABLE);
	ck_assert_uint_eq(v.refused, 3);
	ck_assert_int_eq(v.refused_code, 10);
}
END_TEST

int
main(void)
{
	TCase *t = unit_case("core_view", NULL, NULL);

	tcase_add_test(t, every_answer_has_a_name_and_a_sentence);
	tcase_add_test(t, each_filter_finds_what_it_says_and_nothing_else);
	tcase_add_test(t, a_stub_is_listed_and_under_no_topic);
	tcase_add_test(t, only_the_whole_gid_leads_to_a_transaction);
	tcase_add_loop_test(t, a_list_over_very_many_goes_on_where_it_stopped, 0, 2);
	tcase_add_test(t, groups_that_nobody_answers_for_are_silent);
	tcase_add_test(t, topics_tell_what_they_are_owed);
	tcase_add_test(t, each_database_has_its_watermark);
	tcase_add_test(t, the_oldest_unpublished_waits_for_a_durable_mark);
	tcase_add_test(t, the_oldest_unpublished_stands_still_while_marks_are_lost);
	tcase_add_test(t, databases_that_look_alike_are_not_mixed_up);
	tcase_add_test(t, a_watermark_finds_its_way_past_many);
	tcase_add_test(t, one_database_too_many_holds_all_back);
	tcase_add_test(t, a_timeline_tells_each_kind_of_life);
	tcase_add_test(t, a_timeline_is_bounded_and_only_its_own);
	tcase_add_test(t, the_first_refusal_is_shown);
	return unit_run_case("core_view", t);
}
