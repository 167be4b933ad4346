/*
 * test_core_recover.c -- what a journal cannot say is refused, and what it may say is understood.
 *
 * A user would lose: everything at once, to a daemon that takes a record which cannot be for a
 * truth and goes on from there; or the daemon, to a record about something long gone.
 */
#include "fake_ports.h"
#include "unit.h"

#include "core/core_internal.h"

static struct fake f;
static struct answer undecided, committed, rolled_back;
static uint32_t topics[LIMIT_MESSAGES + 1];
static struct message messages[LIMIT_MESSAGES + 1];
static struct part parts[2];

/* A journal with a bit of everything, read into a core that has not started yet. */
static void
reread(void)
{
	f.core = core_free(f.core);
	f.core = core_new(&f.conf, &fake_ports, &f);
	for (uint32_t i = f.first; i < f.count; i++)
		ck_assert_int_eq(core_recover(f.core, &f.log[i],
					      (struct place){ i * FAKE_LEN, FAKE_LEN }),
				 0);
}

static void
some_journal(void)
{
	fake_open(&f);
	fake_topic(&f, "t", 2);
	undecided = fake_begin(&f, 1, "undecided", "x");
	committed = fake_begin(&f, 1, "committed", "x");
	fake_decided(&f, &committed, VERDICT_COMMIT);
	rolled_back = fake_begin(&f, 1, "rolled back", "x");
	fake_decided(&f, &rolled_back, VERDICT_ROLLBACK);
	for (uint32_t i = 0; i < ARRAY_LEN(messages); i++)
		messages[i] = (struct message){ .topic = STR("t"), .value = STR("x") };
	reread();
}

static int
read_one(struct entry e)
{
	return core_recover(f.core, &e, (struct place){ 90000, 10 });
}

static struct half
half(uint64_t seq, uint32_t count)
{
	return (struct half){ .gid = gid_make(f.wall_ms, 0, seq),
			      .group = STR("g"),
			      .count = count,
			      .messages = messages };
}

static int
read_half(uint64_t seq, uint32_t count)
{
	return read_one((struct entry){ .type = ENTRY_HALF, .half = { half(seq, count), topics } });
}

static int
read_copy(uint64_t seq, enum txn_state state, enum txn_state decided, const struct part *p)
{
	return read_one((struct entry){ .type = ENTRY_COPY,
					.copy = { .half = half(seq, 1),
						  .topics = topics,
						  .state = state,
						  .decision = { .state = decided,
								.origin = ORIGIN_CLIENT,
								.ms = 1,
								.who = STR("x") },
						  .parts = p } });
}

static int
read_decision(uint64_t seq, enum txn_state state, uint32_t count)
{
	static const uint64_t n[2] = { 7, 8 };

	return read_one((struct entry){ .type = ENTRY_DECISION,
					.decision = { .seq = seq,
						      .decision = { .state = state,
								    .origin = ORIGIN_CLIENT,
								    .ms = 1,
								    .who = STR("x") },
						      .count = count,
						      .n = n } });
}

static int
read_stub(uint64_t seq, enum txn_state state, struct str group)
{
	return read_one((struct entry){
		.type = ENTRY_STUB,
		.stub = { .gid = gid_make(f.wall_ms, 0, seq),
			  .state = state,
			  .decision = { .state = TXN_COMMITTED, .origin = ORIGIN_PLAIN, .ms = 1 },
			  .group = group,
			  .key_hash = 1 } });
}

START_TEST(impossible_halves_are_refused)
{
	some_journal();
	ck_assert_int_eq(read_half(0, 1), ERR_CORRUPT);
	ck_assert_int_eq(read_half((uint64_t)INT64_MAX + 1, 1), ERR_CORRUPT);
	ck_assert_int_eq(read_half(1000, 0), ERR_CORRUPT);
	ck_assert_int_eq(read_half(1000, LIMIT_MESSAGES + 1), ERR_CORRUPT);
	topics[1] = 1;
	ck_assert_int_eq(read_half(1000, 2), ERR_CORRUPT);
	topics[1] = 0;
	messages[1].partition = -1;
	ck_assert_int_eq(read_half(1000, 2), ERR_CORRUPT);
	messages[1].partition = 1;
	ck_assert_int_eq(read_half(1000, 2), 0);
	/* a second time: the same record, in another place */
	ck_assert_int_eq(read_half(1000, 2), 0);
}
END_TEST

START_TEST(impossible_decisions_are_refused)
{
	some_journal();
	ck_assert_int_eq(read_decision(undecided.gid.lo, TXN_PUBLISHED, 1), ERR_CORRUPT);
	ck_assert_int_eq(read_decision(undecided.gid.lo, TXN_COMMITTED, 2), ERR_CORRUPT);
	ck_assert_int_eq(read_decision(undecided.gid.lo, TXN_COMMITTED, 0), ERR_CORRUPT);
	ck_assert_int_eq(read_decision(undecided.gid.lo, TXN_ROLLED_BACK, 1), ERR_CORRUPT);
	/* about what left with its segment, or is decided: nothing new */
	ck_assert_int_eq(read_decision(4711, TXN_COMMITTED, 1), 0);
	ck_assert_int_eq(read_decision(rolled_back.gid.lo, TXN_COMMITTED, 1), 0);
	ck_assert_int_eq(read_decision(undecided.gid.lo, TXN_ROLLED_BACK, 0), 0);
	core_start(f.core, f.now_ns, f.wall_ms);
	ck_assert_int_eq(fake_view(&f, undecided.gid).state, TXN_ROLLED_BACK);
	ck_assert_int_eq(fake_view(&f, rolled_back.gid).state, TXN_ROLLED_BACK);
}
END_TEST

START_TEST(impossible_copies_and_stubs_are_refused)
{
	some_journal();
	ck_assert_int_eq(read_copy(0, TXN_PREPARED, 0, NULL), ERR_CORRUPT);
	ck_assert_int_eq(read_copy(1000, TXN_COMMITTED, TXN_COMMITTED, NULL), ERR_CORRUPT);
	parts[0] = (struct part){ 0, 0, 9, PART_RETRIED, 5 };
	ck_assert_int_eq(read_copy(1001, TXN_COMMITTED, TXN_COMMITTED, parts), 0);
	ck_assert_int_eq(read_copy(1002, TXN_ROLLED_BACK, TXN_ROLLED_BACK, NULL), 0);
	/* of one that is known: the copy wins */
	ck_assert_int_eq(read_copy(undecided.gid.lo, TXN_PARKED, 0, NULL), 0);
	ck_assert_int_eq(read_stub(0, TXN_PUBLISHED, STR("g")), ERR_CORRUPT);
	ck_assert_int_eq(read_stub(1003, TXN_COMMITTED, STR("g")), ERR_CORRUPT);
	ck_assert_int_eq(read_stub(1003, TXN_DISCARDED, STR("g")), 0);
	ck_assert_int_eq(read_stub(1004, TXN_ROLLED_BACK, STR("g")), 0);
	ck_assert_int_eq(read_stub(rolled_back.gid.lo, TXN_ROLLED_BACK, STR("g")), 0);
	core_start(f.core, f.now_ns, f.wall_ms);
	ck_assert_int_eq(fake_view(&f, undecided.gid).state, TXN_PARKED);
	ck_assert_int_eq(fake_view(&f, gid_make(f.wall_ms, 0, 1003)).state, TXN_DISCARDED);
}
END_TEST

/* Numbers that no lane gave: none, or so many that the next one would be 0. */
START_TEST(impossible_numbers_are_refused)
{
	static const uint64_t none[] = { 0, INT64_MAX, UINT64_MAX };
	struct lane_state lane = { 0, 0, 5, 1 };
	struct entry e = { .type = ENTRY_STATE };
	struct entry_state good;

	some_journal();
	core_state(f.core, &good);
	for (size_t i = 0; i < ARRAY_LEN(none); i++) {
		struct entry decision = { .type = ENTRY_DECISION,
					  .decision = { .seq = undecided.gid.lo,
							.decision = { .state = TXN_COMMITTED,
								      .origin = ORIGIN_CLIENT,
								      .ms = 1 },
							.count = 1,
							.n = &none[i] } };

		ck_assert_int_eq(read_one(decision), ERR_CORRUPT);
		parts[0] = (struct part){ 0, 0, none[i], PART_OWED, 0 };
		ck_assert_int_eq(read_copy(1000 + i, TXN_COMMITTED, TXN_COMMITTED, parts),
				 ERR_CORRUPT);
		ck_assert_int_eq(read_one((struct entry){ .type = ENTRY_PUBLISHED,
							  .published = { 0, 0, 1, 1, &none[i] } }),
				 ERR_CORRUPT);
	}
	ck_assert_int_eq(read_one((struct entry){ .type = ENTRY_PUBLISHED,
						  .published = { .low = UINT64_MAX } }),
			 ERR_CORRUPT);
	e.state = good;
	e.state.lane_count = 1;
	e.state.lanes = &lane;
	ck_assert_int_eq(read_one(e), 0);
	lane.next_n = UINT64_MAX;
	ck_assert_int_eq(read_one(e), ERR_CORRUPT);
	e.state = good;
	e.state.next_seq = UINT64_MAX;
	ck_assert_int_eq(read_one(e), ERR_CORRUPT);
	e.state = good;
	e.state.last_ms = UINT64_MAX;
	ck_assert_int_eq(read_one(e), ERR_CORRUPT);
}
END_TEST

/* Who decided is part of the audit trail: a decision by nobody, or by who cannot be, is none. */
START_TEST(decisions_by_nobody_are_refused)
{
	struct entry e = { .type = ENTRY_DECISION,
			   .decision = { .decision = { .state = TXN_ROLLED_BACK, .ms = 1 } } };

	some_journal();
	e.decision.seq = undecided.gid.lo;
	ck_assert_int_eq(read_one(e), ERR_CORRUPT);
	e.decision.decision.origin = (enum origin)(ORIGIN_PLAIN + 1);
	ck_assert_int_eq(read_one(e), ERR_CORRUPT);
	e.decision.decision.origin = ORIGIN_OPERATOR;
	ck_assert_int_eq(read_one(e), 0);
}
END_TEST

/* More groups than even a journal may name: the start ends, rather than to forget some. */
START_TEST(more_groups_than_a_journal_may_name)
{
	struct half other = half(1000, 1);

	some_journal();
	f.core->groups.limit = 1;
	other.group = STR("another");
	ck_assert_int_eq(read_one((struct entry){ .type = ENTRY_HALF, .half = { other, topics } }),
			 ERR_CORRUPT);
	ck_assert_int_eq(read_stub(1001, TXN_PUBLISHED, STR("another")), ERR_CORRUPT);
	ck_assert_int_eq(read_stub(1001, TXN_PUBLISHED, STR("g")), 0);
}
END_TEST

/* A backlog longer than anything was made for is published, all of it, in order. */
START_TEST(a_long_backlog_is_owed)
{
	enum { MANY = 1100 };

	some_journal();
	for (uint64_t i = 0; i < MANY; i++) {
		parts[0] = (struct part){ 0, 0, MANY + 9 - i, PART_OWED, 0 };
		ck_assert_int_eq(read_copy(1000 + i, TXN_COMMITTED, TXN_COMMITTED, parts), 0);
	}
	core_start(f.core, f.now_ns, f.wall_ms);
	ck_assert_uint_eq(core_owed(f.core), MANY + 1); /* and that of some_journal() */
}
END_TEST

/* What a record says of a transaction that it cannot be about changes nothing. */
START_TEST(records_about_the_gone_and_the_decided_are_passed_over)
{
	some_journal();
	for (int i = 0; i < 2; i++) {
		uint64_t seq = i ? rolled_back.gid.lo : 4711;

		ck_assert_int_eq(read_one((struct entry){ .type = ENTRY_GENERATION,
							  .generation = { seq, 9, 1 } }),
				 0);
		ck_assert_int_eq(read_one((struct entry){ .type = ENTRY_CHECKS,
							  .checks = { seq, 9, 1, true } }),
				 0);
		ck_assert_int_eq(read_one((struct entry){ .type = ENTRY_RESUMED,
							  .resumed = { seq, 1 } }),
				 0);
		ck_assert_int_eq(read_one((struct entry){ .type = ENTRY_RETRIED,
							  .retried = { seq, 1 } }),
				 0);
		ck_assert_int_eq(read_one((struct entry){ .type = ENTRY_DISCARDED,
							  .discarded = { seq, 1 } }),
				 0);
	}
	core_start(f.core, f.now_ns, f.wall_ms);
	ck_assert_int_eq(fake_view(&f, rolled_back.gid).state, TXN_ROLLED_BACK);
	ck_assert_int_eq(fake_view(&f, undecided.gid).state, TXN_PREPARED);
}
END_TEST

START_TEST(refusals_of_what_was_not_published_are_refused)
{
	some_journal();
	ck_assert_int_eq(read_one((struct entry){ .type = ENTRY_REFUSED,
						  .refused = { 4711, 0, 10, 1 } }),
			 0);
	ck_assert_int_eq(read_one((struct entry){ .type = ENTRY_REFUSED,
						  .refused = { undecided.gid.lo, 0, 10, 1 } }),
			 ERR_CORRUPT);
	ck_assert_int_eq(read_one((struct entry){ .type = ENTRY_REFUSED,
						  .refused = { committed.gid.lo, 1, 10, 1 } }),
			 ERR_CORRUPT);
	for (int i = 0; i < 2; i++) /* the second time it is undeliverable already */
		ck_assert_int_eq(read_one((struct entry){
					 .type = ENTRY_REFUSED,
					 .refused = { committed.gid.lo, 0, 10, 1 } }),
				 0);
	/* several messages, and nobody decided about them */
	messages[1].partition = 1;
	ck_assert_int_eq(read_half(2000, 2), 0);
	ck_assert_int_eq(read_one((struct entry){ .type = ENTRY_REFUSED,
						  .refused = { 2000, 0, 10, 1 } }),
			 ERR_CORRUPT);
	/* of one of which only a stub is left: it was published since */
	ck_assert_int_eq(read_stub(rolled_back.gid.lo, TXN_PUBLISHED, STR("g")), 0);
	ck_assert_int_eq(read_one((struct entry){ .type = ENTRY_REFUSED,
						  .refused = { rolled_back.gid.lo, 0, 10, 1 } }),
			 0);
	core_start(f.core, f.now_ns, f.wall_ms);
	ck_assert_int_eq(fake_view(&f, committed.gid).state, TXN_UNDELIVERABLE);
}
END_TEST

START_TEST(given_up_and_retried_ones_stay_so)
{
	some_journal();
	ck_assert_int_eq(read_one((struct entry){ .type = ENTRY_REFUSED,
						  .refused = { committed.gid.lo, 0, 10, 1 } }),
			 0);
	if (_i)
		ck_assert_int_eq(read_one((struct entry){ .type = ENTRY_DISCARDED,
							  .discarded = { committed.gid.lo, 1 } }),
				 0);
	else
		ck_assert_int_eq(read_one((struct entry){ .type = ENTRY_RETRIED,
							  .retried = { committed.gid.lo, 1 } }),
				 0);
	core_start(f.core, f.now_ns, f.wall_ms);
	ck_assert_int_eq(fake_view(&f, committed.gid).state, _i ? TXN_DISCARDED : TXN_COMMITTED);
}
END_TEST

START_TEST(marks_of_no_lane_are_refused)
{
	static uint64_t done[600];
	const struct entry_published many = { 0, 1, 1, ARRAY_LEN(done), done };

	some_journal();
	ck_assert_int_eq(read_one((struct entry){ .type = ENTRY_PUBLISHED,
						  .published = { .topic = 1, .low = 1 } }),
			 ERR_CORRUPT);
	ck_assert_int_eq(read_one((struct entry){ .type = ENTRY_PUBLISHED,
						  .published = { .partition = -1, .low = 1 } }),
			 ERR_CORRUPT);
	/* very many at once */
	for (uint32_t i = 0; i < ARRAY_LEN(done); i++)
		done[i] = 2 + i;
	ck_assert_int_eq(read_one((struct entry){ .type = ENTRY_PUBLISHED, .published = many }), 0);
	core_start(f.core, f.now_ns, f.wall_ms);
	fake_turn(&f);
}
END_TEST

START_TEST(impossible_catalogues_are_refused)
{
	static const char long_name[300] = "longer than any";
	struct entry_topic topic = { 5, STR("far away"), 1, 0 };
	struct lane_state lane = { 0, 0, 5, 1 };
	struct entry e = { .type = ENTRY_STATE };
	struct entry_state good;

	some_journal();
	core_state(f.core, &good);
	e.state = good;
	ck_assert_int_eq(read_one(e), 0);
	e.state.topic_count = 1;
	e.state.topics = &topic;
	ck_assert_int_eq(read_one(e), ERR_CORRUPT);
	topic = (struct entry_topic){ 1, STR_NONE, 1, 0 };
	ck_assert_int_eq(read_one(e), ERR_CORRUPT);
	topic = (struct entry_topic){ 1, STR("u"), -1, 0 };
	ck_assert_int_eq(read_one(e), ERR_CORRUPT);
	ck_assert_int_eq(read_one((struct entry){ .type = ENTRY_TOPIC, .topic = topic }),
			 ERR_CORRUPT);
	topic = (struct entry_topic){ LIMIT_TOPICS, STR("u"), 1, 0 };
	ck_assert_int_eq(read_one(e), ERR_CORRUPT);
	e.state.topic_count = 0;
	e.state.lane_count = 1;
	e.state.lanes = &lane;
	ck_assert_int_eq(read_one(e), 0);
	lane.topic = 1;
	ck_assert_int_eq(read_one(e), ERR_CORRUPT);
	lane = (struct lane_state){ 0, -1, 5, 1 };
	ck_assert_int_eq(read_one(e), ERR_CORRUPT);
	lane = (struct lane_state){ 0, 0, 5, 6 };
	ck_assert_int_eq(read_one(e), ERR_CORRUPT);
	/* what cannot be the name of a cluster is none */
	e.state = good;
	e.state.lane_count = e.state.topic_count = 0;
	e.state.cluster = str_from(long_name, sizeof(long_name));
	ck_assert_int_eq(read_one(e), 0);
	ck_assert_int_eq(read_one((struct entry){ .type = ENTRY_CLUSTER }), 0);
	core_state(f.core, &good);
	ck_assert_uint_eq(good.cluster.n, 0);
	ck_assert_int_eq(read_one((struct entry){ .type = ENTRY_OLDEST }), 0);
	ck_assert_int_eq(read_one((struct entry){ .type = (enum entry_type)99 }), ERR_CORRUPT);
}
END_TEST

/* The audit trail goes on from the last record, wherever it was found. */
START_TEST(the_audit_trail_never_goes_back)
{
	struct entry_audit audit = { .number = 9, .verb = STR("check"), .chain = { 9 } };
	struct entry e = { .type = ENTRY_STATE };
	struct entry_state s;

	some_journal();
	ck_assert_int_eq(read_one((struct entry){ .type = ENTRY_AUDIT, .audit = audit }), 0);
	audit.number = 3;
	audit.chain[0] = 3;
	ck_assert_int_eq(read_one((struct entry){ .type = ENTRY_AUDIT, .audit = audit }), 0);
	core_state(f.core, &s);
	e.state = s;
	e.state.audit_number = 2;
	e.state.audit_chain[0] = 2;
	ck_assert_int_eq(read_one(e), 0);
	core_state(f.core, &s);
	ck_assert_uint_eq(s.audit_number, 9);
	ck_assert_uint_eq(s.audit_chain[0], 9);
}
END_TEST

/*
 * A user would lose: the order of a partition, or a night, to an alarm that messages are gone.  A
 * decision opens a segment, and a power cut leaves of that only its state record: the number that
 * the decision had was never given to anybody.
 */
START_TEST(a_number_goes_with_the_decision_that_had_it)
{
	struct answer a;

	fake_open(&f);
	fake_topic(&f, "t", 1);
	a = fake_begin(&f, 1, "key", "x");
	f.roll = true;
	fake_end(&f, &a, a.token, VERDICT_COMMIT, false);
	fake_decide(&f);
	ck_assert(!f.roll && f.log[f.count - 1].type == ENTRY_DECISION);
	ck_assert_int_eq(f.log[f.count - 2].type, ENTRY_STATE);
	f.durable = f.count - 1;
	fake_crash(&f, 1000);
	ck_assert_uint_eq(f.notes[NOTE_RECORD_GONE], 0);
	fake_decided(&f, &a, VERDICT_COMMIT);
	ck_assert_uint_eq(f.publish_count, 1);
	ck_assert_uint_eq(f.published[0].n, 1);
}
END_TEST

int
main(void)
{
	TCase *t = unit_case("core_recover", NULL, NULL);

	tcase_add_test(t, impossible_halves_are_refused);
	tcase_add_test(t, impossible_decisions_are_refused);
	tcase_add_test(t, impossible_copies_and_stubs_are_refused);
	tcase_add_test(t, impossible_numbers_are_refused);
	tcase_add_test(t, decisions_by_nobody_are_refused);
	tcase_add_test(t, more_groups_than_a_journal_may_name);
	tcase_add_test(t, a_long_backlog_is_owed);
	tcase_add_test(t, records_about_the_gone_and_the_decided_are_passed_over);
	tcase_add_test(t, refusals_of_what_was_not_published_are_refused);
	tcase_add_loop_test(t, given_up_and_retried_ones_stay_so, 0, 2);
	tcase_add_test(t, marks_of_no_lane_are_refused);
	tcase_add_test(t, impossible_catalogues_are_refused);
	tcase_add_test(t, the_audit_trail_never_goes_back);
	tcase_add_test(t, a_number_goes_with_the_decision_that_had_it);
	return unit_run_case("core_recover", t);
}
