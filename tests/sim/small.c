/*
 * small.c -- see small.h: the lists, and the steps.
 *
 *      message    NEW -half-send-> ASKING -hear-> LOCAL -decide-> ENDED
 *                                    | ^
 *                                    +-+ repeat
 *
 *      daemon     up -kill, cut-> down -start-> up
 *                                  | ^
 *                      start fails | | cut
 *                                  v |
 *                                 dying
 */
#include "sim/small.h"

#include <inttypes.h>

#include "base/buf.h"
#include "base/err.h"
#include "sim/oracle.h"
#include "sim/peer.h"
#include "sim/stage.h"

#define GROUP          "g0"
#define INBOX_MAX      16
#define ANSWERS_MAX    16
#define RECOVERY_STEPS 64 /* more than recovery ever takes here */
#define DOWN_NS        (100 * NS_PER_MS)
#define HEAL_ROUNDS    400

enum phase { NEW, ASKING, LOCAL, ENDED };

struct small_message {
	enum phase phase;
	uint32_t owner;
	int32_t opaque; /* of what its owner waits for; 0: nothing that can still come */
	uint64_t asked;
	struct peer_tokens tokens;
	struct gid gid;
	enum verdict verdict;
	bool said;     /* an END was sent     */
	bool answered; /* ... and answered    */
};

/* What arrived at a producer and was not heard yet. */
struct arrived {
	bool check;
	int32_t code;
	int32_t opaque;
	uint32_t message;
	bool has_tokens;
	struct peer_tokens tokens;
};

struct owed_answer {
	struct peer_tokens tokens;
	struct gid gid;
	enum verdict verdict;
};

struct small_producer {
	struct peer *peer;
	struct arrived inbox[INBOX_MAX];
	uint32_t inbox_count;
	struct owed_answer answers[ANSWERS_MAX];
	uint32_t answer_count;
};

enum life { UP, DOWN, DYING };

struct small {
	struct small_bounds left; /* of the bounds, what may still happen */
	struct stage stage;
	struct oracle *oracle;
	enum life life;
	bool healing;
	bool nothing; /* small_void() */
	int32_t opaque;
	struct small_message messages[SMALL_MESSAGES];
	struct small_producer producers[SMALL_PRODUCERS];
	uint32_t producer_count;
	uint32_t producers_used;
	uint64_t checks, crashes, recovery_crashes;
	struct hash128 past;    /* of all steps that reached the daemon, in order */
	struct hash128 between; /* of producers' steps since then, in any order   */
};

/* ---- the key ----------------------------------------------------------------------------- */

static struct hash128
sum(struct hash128 a, struct hash128 b)
{
	return (struct hash128){ a.lo + b.lo, a.hi + b.hi + (a.lo + b.lo < a.lo) };
}

static uint64_t
hash_tokens(const struct peer_tokens *t)
{
	uint64_t words[3] = { hash_body(t->gid, strlen(t->gid), 0).lo, (uint64_t)t->seq,
			      (uint64_t)t->token };

	return hash_body(words, sizeof(words), 4).lo;
}

/* A step of producers alone, with what came of it. */
static void
among_producers(struct small *w, uint64_t what, uint64_t who, uint64_t outcome)
{
	uint64_t words[3] = { what, who, outcome };

	w->between = sum(w->between, hash_body(words, sizeof(words), 1));
}

static void
reaches_daemon(struct small *w, const struct small_step *step)
{
	struct {
		struct hash128 past, between;
		struct small_step step;
	} all;

	memset(&all, 0, sizeof(all)); /* no padding of chance in a hash */
	all.past = w->past;
	all.between = w->between;
	all.step.kind = step->kind;
	all.step.a = step->a;
	all.step.b = step->b;
	all.step.c = step->c;
	all.step.d = step->d;
	w->past = hash_body(&all, sizeof(all), 2);
	w->between = (struct hash128){ 0, 0 };
}

/*
 * The daemon is gone, and with it all that it had not written: what is left is the disk, Kafka, the
 * producers, and what the oracle remembers.  However the world came here, it goes on alike.
 */
static void
past_is_gone(struct small *w)
{
	struct {
		struct small_bounds left;
		struct hash128 disk, oracle;
		uint64_t words, now_ns, kafka_end, connects, used, life;
		struct {
			uint32_t phase, owner, verdict, flags;
			uint64_t tokens;
		} messages[SMALL_MESSAGES];
		struct {
			uint32_t count;
			struct {
				uint64_t tokens, verdict;
			} answers[ANSWERS_MAX];
		} producers[SMALL_PRODUCERS];
	} all;

	memset(&all, 0, sizeof(all)); /* no padding of chance in a hash */
	all.left = w->left;
	all.disk = disk_sim_digest(w->stage.disk);
	all.oracle = oracle_digest(w->oracle);
	all.words = w->stage.words.state;
	all.now_ns = (uint64_t)w->stage.clock.now_ns;
	all.kafka_end = (uint64_t)sink_sim_end(w->stage.sink, "topic0", 0);
	all.connects = net_sim_counts(w->stage.net)->connects; /* ports are journaled */
	all.used = w->producers_used;
	all.life = w->life;
	for (uint32_t m = 0; m < SMALL_MESSAGES; m++) {
		const struct small_message *message = &w->messages[m];

		all.messages[m].phase = message->phase;
		all.messages[m].owner = message->owner;
		all.messages[m].verdict = message->verdict;
		all.messages[m].flags = message->said | (uint32_t)message->answered << 1;
		all.messages[m].tokens = hash_tokens(&message->tokens);
	}
	for (uint32_t p = 0; p < SMALL_PRODUCERS; p++) {
		all.producers[p].count = w->producers[p].answer_count;
		for (uint32_t i = 0; i < w->producers[p].answer_count; i++) {
			const struct owed_answer *a = &w->producers[p].answers[i];

			all.producers[p].answers[i].tokens = hash_tokens(&a->tokens);
			all.producers[p].answers[i].verdict = a->verdict;
		}
	}
	w->past = hash_body(&all, sizeof(all), 5);
	w->between = (struct hash128){ 0, 0 };
}

struct hash128
small_key(const struct small *w)
{
	struct hash128 both[2] = { w->past, w->between };

	return hash_body(both, sizeof(both), 3);
}

/* ---- what the daemon tells --------------------------------------------------------------- */

static void
on_note(void *arg, const struct note *n)
{
	struct small *w = arg;

	if (n->kind == NOTE_TRANSITION)
		oracle_transition(w->oracle, n);
	if (n->kind == NOTE_CHECK_SENT)
		w->checks++;
	if (n->kind == NOTE_RECORD_GONE)
		oracle_fail(w->oracle, "I-9 %" PRId64 " messages that are owed are gone", n->value);
}

static void
on_append(void *arg, int64_t offset, const struct sink_record *r)
{
	struct small *w = arg;

	oracle_kafka(w->oracle, offset, r);
}

static int
shown(void *arg, struct gid gid)
{
	struct small *w = arg;
	struct row_view row;

	if (!w->stage.loop)
		return -1;
	if (core_get(loop_core(w->stage.loop), gid, &row) != 0)
		return 0;
	return row.refused_code ? TXN_UNDELIVERABLE : (int)row.state;
}

/* ---- producers --------------------------------------------------------------------------- */

static struct gid
gid_of(const struct peer_tokens *t)
{
	struct gid gid = { 0, 0 };
	int err = gid_parse(str_from(t->gid, GID_TEXT - 1), &gid);

	CHECK(err == 0, err);
	return gid;
}

static void
connect_to(struct small *w, uint32_t p)
{
	struct small_producer *one = &w->producers[p];

	one->peer = peer_connect(w->stage.net, STAGE_ADDRESS, p, p % 2 == 1);
	CHECK(one->peer, p);
	(void)peer_heartbeat(one->peer, GROUP, ++w->opaque);
}

/* Whatever P waited for does not come any more. */
static void
disconnect(struct small *w, uint32_t p)
{
	struct small_producer *one = &w->producers[p];

	one->peer = peer_close(one->peer, true);
	one->inbox_count = 0;
	for (uint32_t m = 0; m < SMALL_MESSAGES; m++) {
		if (w->messages[m].owner == p)
			w->messages[m].opaque = 0;
	}
}

static uint32_t
message_of_check(const struct wire_command *c)
{
	char digits[8] = "";
	struct wire_str unique;

	if (!peer_check_unique(c, &unique) || unique.n < 2 || unique.n > 7)
		return UINT32_MAX;
	memcpy(digits, unique.p + 1, unique.n - 1);
	return (uint32_t)strtoul(digits, NULL, 10);
}

static void
arrive(struct small *w, struct small_producer *one, const struct wire_command *c)
{
	struct arrived a = { .code = c->code, .opaque = c->opaque, .message = UINT32_MAX };

	a.check = !(c->flag & WIRE_RESPONSE);
	a.has_tokens = peer_tokens(c, &a.tokens);
	if (a.check) {
		a.message = message_of_check(c);
		if (!a.has_tokens || a.message >= SMALL_MESSAGES) {
			oracle_fail(w->oracle, "a check that cannot be read");
			return;
		}
	}
	for (uint32_t m = 0; m < SMALL_MESSAGES && !a.check; m++) {
		if (w->messages[m].opaque == c->opaque)
			a.message = m;
	}
	if (a.message == UINT32_MAX)
		return; /* to a heartbeat, or to what nobody waits for */
	CHECK(one->inbox_count < INBOX_MAX, c->opaque);
	one->inbox[one->inbox_count++] = a;
}

/* The daemon does all that follows; what it says arrives, and is heard when that is chosen. */
static void
turn(struct small *w)
{
	struct wire_command c;
	bool closed = false;
	int err;

	oracle_step(w->oracle, w->stage.clock.now_ns);
	err = stage_settle(&w->stage);
	if (err)
		oracle_fail(w->oracle, "a turn failed without cause: %s", err_name(err));
	for (uint32_t p = 0; p < w->producer_count; p++) {
		struct small_producer *one = &w->producers[p];

		while (peer_next(one->peer, &c, &closed))
			arrive(w, one, &c);
		if (closed) {
			disconnect(w, p);
			connect_to(w, p);
		}
	}
}

static void
say_half(struct small *w, uint32_t m)
{
	struct small_message *message = &w->messages[m];
	struct buf body = BUF_INIT, key = BUF_INIT;
	char unique[16];

	oracle_body(w->oracle, m, &body);
	oracle_key(w->oracle, m, &key);
	buf_u8(&key, 0);
	snprintf(unique, sizeof(unique), "u%" PRIu32, m);
	message->phase = ASKING;
	message->opaque = ++w->opaque;
	message->asked = oracle_now(w->oracle);
	oracle_half_invoked(w->oracle, m);
	(void)peer_half_send(w->producers[message->owner].peer,
			     &(struct peer_message){
				     .topic = "topic0",
				     .group = GROUP,
				     .unique = unique,
				     .key = key.data,
				     .body = body.data,
				     .body_bytes = body.len,
			     },
			     message->opaque);
	buf_free(&body);
	buf_free(&key);
}

static enum wire_decision
word_of(enum verdict verdict)
{
	return verdict == VERDICT_COMMIT     ? WIRE_COMMIT
	       : verdict == VERDICT_ROLLBACK ? WIRE_ROLLBACK
					     : WIRE_UNKNOWN;
}

static void
say_end(struct small *w, uint32_t m)
{
	struct small_message *message = &w->messages[m];

	message->said = true;
	message->opaque = ++w->opaque;
	oracle_decide_invoked(w->oracle, message->gid, message->verdict);
	(void)peer_end(w->producers[message->owner].peer, GROUP, &message->tokens,
		       word_of(message->verdict), false, message->opaque);
}

static void
say_answer(struct small *w, uint32_t p, uint32_t i)
{
	struct small_producer *one = &w->producers[p];
	struct owed_answer a = one->answers[i];

	one->answer_count--;
	memmove(&one->answers[i], &one->answers[i + 1], (one->answer_count - i) * sizeof(a));
	oracle_decide_invoked(w->oracle, a.gid, a.verdict);
	(void)peer_end(one->peer, GROUP, &a.tokens, word_of(a.verdict), true, ++w->opaque);
}

static void
hear_half(struct small *w, uint32_t m, const struct arrived *a)
{
	struct small_message *message = &w->messages[m];

	message->opaque = 0;
	if (a->code != WIRE_SUCCESS) {
		if (a->code == WIRE_MESSAGE_ILLEGAL)
			message->phase = ENDED; /* decided already */
		return;
	}
	if (!a->has_tokens) {
		oracle_fail(w->oracle, "an answer to a half-send without gid or tokens");
		return;
	}
	message->tokens = a->tokens;
	message->gid = gid_of(&a->tokens);
	oracle_half_ok(w->oracle, m, message->gid, message->asked);
	if (oracle_truth(w->oracle, message->gid) == TRUTH_NONE)
		oracle_local(w->oracle, message->gid, TRUTH_RUNNING);
	message->phase = LOCAL;
}

static void
hear_end(struct small *w, uint32_t m, const struct arrived *a)
{
	struct small_message *message = &w->messages[m];

	message->opaque = 0;
	message->answered = true;
	if (a->code == WIRE_SUCCESS)
		oracle_decide_ok(w->oracle, message->gid, message->verdict);
	else if (a->code == WIRE_TRANSACTION_FAILED)
		oracle_decide_refused(w->oracle, message->gid, message->verdict);
	else if (a->code == WIRE_SYSTEM_ERROR)
		oracle_decide_lost(w->oracle, message->gid);
}

/* What a naive listener finds in the database: "no such order" is a rollback. */
static enum verdict
look_up(struct small *w, uint32_t m, struct gid gid)
{
	switch (oracle_truth(w->oracle, gid)) {
	case TRUTH_COMMIT:
		return VERDICT_COMMIT;
	case TRUTH_ROLLBACK:
		return VERDICT_ROLLBACK;
	case TRUTH_RUNNING:
		return VERDICT_UNKNOWN;
	case TRUTH_NONE:
		/* the application waits for the answer to this very half-send */
		return w->messages[m].phase == ASKING && w->messages[m].opaque ? VERDICT_UNKNOWN
									       : VERDICT_ROLLBACK;
	}
	abort();
}

static void
hear_check(struct small *w, struct small_producer *one, const struct arrived *a, bool dumb)
{
	struct owed_answer *owed = &one->answers[one->answer_count];

	CHECK(one->answer_count < ANSWERS_MAX, a->message);
	one->answer_count++;
	owed->tokens = a->tokens;
	owed->gid = gid_of(&a->tokens);
	owed->verdict = dumb ? VERDICT_UNKNOWN : look_up(w, a->message, owed->gid);
}

static void
hear(struct small *w, uint32_t p, bool dumb)
{
	struct small_producer *one = &w->producers[p];
	struct arrived a = one->inbox[0];
	uint64_t outcome = (uint64_t)(uint32_t)a.opaque << 32 | (uint32_t)a.code;

	one->inbox_count--;
	memmove(&one->inbox[0], &one->inbox[1], one->inbox_count * sizeof(a));
	if (a.check) {
		hear_check(w, one, &a, dumb);
		outcome = one->answers[one->answer_count - 1].verdict;
		outcome = outcome << 60 | hash_tokens(&a.tokens) >> 4;
	} else if (w->messages[a.message].opaque == a.opaque) {
		if (w->messages[a.message].phase == ASKING)
			hear_half(w, a.message, &a);
		else
			hear_end(w, a.message, &a);
	}
	among_producers(w, dumb ? SMALL_HEAR_DUMB : SMALL_HEAR, p, outcome);
}

/* ---- disk, power, time ------------------------------------------------------------------- */

static void
start(struct small *w, uint32_t stop)
{
	struct disk_sim_knobs *k = disk_sim_knobs(w->stage.disk);
	int err;

	k->hold = false;
	k->stop = stop;
	err = stage_start(&w->stage);
	if (stop && disk_sim_stopped(w->stage.disk)) {
		w->life = DYING;
		w->recovery_crashes++;
		return;
	}
	if (err) {
		oracle_fail(w->oracle, "the broker does not start: %s, %s", err_name(err),
			    w->stage.fault.text);
		return;
	}
	w->nothing = stop != 0;
	k->stop = 0;
	w->life = UP;
	sink_sim_set(w->stage.sink, &(struct sink_sim_knobs){ .hold = true });
	for (uint32_t p = 0; p < w->producer_count; p++)
		connect_to(w, p);
	turn(w); /* spares are prepared now, and not amid what is enumerated */
	k->hold = !w->healing;
}

static void
crash(struct small *w, bool power)
{
	w->crashes++;
	oracle_crashed(w->oracle);
	disk_sim_knobs(w->stage.disk)->hold = false;
	stage_crash(&w->stage, power);
	for (uint32_t p = 0; p < w->producer_count; p++)
		disconnect(w, p);
	w->stage.clock.now_ns += DOWN_NS;
	net_sim_advance(w->stage.net, w->stage.clock.now_ns);
	sink_sim_advance(w->stage.sink, w->stage.clock.now_ns);
	w->life = DOWN;
	past_is_gone(w);
}

static void
fail_power(struct small *w, const struct small_step *s)
{
	struct disk_sim_knobs *k = disk_sim_knobs(w->stage.disk);

	k->cut = (enum disk_sim_cut)s->a;
	k->cut_units = s->b;
	k->cut_steps = s->d;
	sink_sim_strand(w->stage.sink, s->c, false);
	crash(w, true);
}

/* ---- the lists --------------------------------------------------------------------------- */

struct list_of {
	struct small_step *steps;
	uint32_t count;
};

static void
add(struct list_of *l, enum small_kind kind, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
	CHECK(l->count < SMALL_OPTIONS, l->count);
	l->steps[l->count++] = (struct small_step){ kind, a, b, c, d };
}

static void
add_message(struct small *w, uint32_t m, struct list_of *l)
{
	const struct small_message *message = &w->messages[m];
	uint32_t most = (uint32_t)min_u64(w->producers_used + 1, w->producer_count);

	switch (message->phase) {
	case NEW:
		/* messages are alike, and so are idle producers: one order stands for all */
		if (m == 0 || w->messages[m - 1].phase != NEW)
			for (uint32_t p = 0; p < most; p++)
				add(l, SMALL_HALF, m, p, 0, 0);
		return;
	case ASKING:
		if (w->left.repeats)
			add(l, SMALL_REPEAT, m, 0, 0, 0);
		return;
	case LOCAL:
		for (uint32_t commit = 0; commit < 2; commit++) {
			add(l, SMALL_DECIDE, m, commit, 1, 0);
			add(l, SMALL_DECIDE, m, commit, 0, 0);
		}
		return;
	case ENDED:
		if (message->said && !message->answered && w->left.repeats)
			add(l, SMALL_REPEAT, m, 0, 0, 0);
		return;
	}
}

static void
add_producer(struct small *w, uint32_t p, struct list_of *l)
{
	const struct small_producer *one = &w->producers[p];

	if (one->inbox_count) {
		add(l, SMALL_HEAR, p, 0, 0, 0);
		if (one->inbox[0].check && w->left.unknowns)
			add(l, SMALL_HEAR_DUMB, p, 0, 0, 0);
	}
	for (uint32_t i = 0; i < one->answer_count; i++)
		add(l, SMALL_ANSWER, p, i, 0, 0);
	if (w->left.resets)
		add(l, SMALL_RESET, p, 0, 0, 0);
}

static void
add_kafka(struct small *w, struct list_of *l)
{
	uint32_t flying = (uint32_t)sink_sim_flying(w->stage.sink);

	if (!flying)
		return;
	add(l, SMALL_KAFKA, SINK_SIM_ACKED, 0, 0, 0);
	if (!w->left.faults)
		return;
	for (uint32_t fate = SINK_SIM_LOST; fate <= SINK_SIM_LYING; fate++)
		add(l, SMALL_KAFKA, fate, 0, 0, 0);
	for (uint32_t n = 0; n <= flying; n++)
		add(l, SMALL_FATAL, n, 0, 0, 0);
}

/* Every way in which the power can fail now. */
static void
add_cuts(struct small *w, struct list_of *l)
{
	uint32_t steps, units = disk_sim_unsynced(w->stage.disk, &steps);
	uint32_t flying = w->life == UP ? (uint32_t)sink_sim_flying(w->stage.sink) : 0;

	for (uint32_t n = 0; n <= flying; n++) {
		for (uint32_t d = 0; d <= steps; d++) {
			/* of a long run of units only the ends: what is between is alike */
			for (uint32_t k = 0; k <= units; k++)
				if (k < 3 || k + 2 > units)
					add(l, SMALL_CUT, DISK_SIM_PREFIX, k, n, d);
			for (uint32_t k = 0; k < units; k++)
				if (k < 2 || k + 1 == units)
					add(l, SMALL_CUT, DISK_SIM_TORN, k, n, d);
			for (uint32_t k = 0; k + 1 < units && k < 2; k++)
				add(l, SMALL_CUT, DISK_SIM_HOLE, k, n, d);
		}
		if (units || steps)
			add(l, SMALL_KILL, 0, 0, n, 0);
	}
}

uint32_t
small_options(struct small *w, struct small_step *ret_steps)
{
	struct list_of l = { ret_steps, 0 };

	switch (w->life) {
	case UP:
		break;
	case DYING:
		add_cuts(w, &l);
		return l.count;
	case DOWN:
		add(&l, SMALL_START, 0, 0, 0, 0);
		for (uint32_t i = 1; i <= RECOVERY_STEPS && w->left.crashes; i++)
			add(&l, SMALL_START_FAILS, i, 0, 0, 0);
		return l.count;
	}
	for (uint32_t m = 0; m < w->left.messages; m++)
		add_message(w, m, &l);
	for (uint32_t p = 0; p < w->producer_count; p++)
		add_producer(w, p, &l);
	for (uint32_t i = 0; i < disk_sim_pending(w->stage.disk); i++)
		add(&l, SMALL_DISK, i, 0, 0, 0);
	add_kafka(w, &l);
	if (w->left.timers && stage_due_ns(&w->stage) != TIME_NEVER)
		add(&l, SMALL_TIME, 0, 0, 0, 0);
	if (w->left.crashes)
		add_cuts(w, &l);
	return l.count;
}

/* ---- the steps --------------------------------------------------------------------------- */

static void
spend(uint32_t *left)
{
	CHECK(*left > 0, 0);
	--*left;
}

static void
decide(struct small *w, const struct small_step *s)
{
	struct small_message *message = &w->messages[s->a];

	message->verdict = s->b ? VERDICT_COMMIT : VERDICT_ROLLBACK;
	message->phase = ENDED;
	oracle_local(w->oracle, message->gid, s->b ? TRUTH_COMMIT : TRUTH_ROLLBACK);
	if (s->c) {
		reaches_daemon(w, s);
		say_end(w, s->a);
		turn(w);
	} else {
		among_producers(w, SMALL_DECIDE, s->a, s->b);
	}
}

/* All that only concerns the daemon once it is up: then a turn. */
static void
do_up(struct small *w, const struct small_step *s)
{
	struct stage *g = &w->stage;

	switch (s->kind) {
	case SMALL_HALF:
		w->messages[s->a].owner = s->b;
		w->producers_used = (uint32_t)max_u64(w->producers_used, s->b + 1);
		say_half(w, s->a);
		break;
	case SMALL_REPEAT:
		spend(&w->left.repeats);
		if (w->messages[s->a].phase == ASKING)
			say_half(w, s->a);
		else
			say_end(w, s->a);
		break;
	case SMALL_ANSWER:
		say_answer(w, s->a, s->b);
		break;
	case SMALL_RESET:
		spend(&w->left.resets);
		disconnect(w, s->a);
		connect_to(w, s->a);
		break;
	case SMALL_DISK:
		disk_sim_end(g->disk, s->a);
		break;
	case SMALL_KAFKA:
		if (s->a != SINK_SIM_ACKED)
			spend(&w->left.faults);
		sink_sim_land(g->sink, (enum sink_sim_fate)s->a);
		while (s->a != SINK_SIM_ACKED && sink_sim_flying(g->sink))
			sink_sim_land(g->sink, (enum sink_sim_fate)s->a); /* they fail with it */
		break;
	case SMALL_FATAL:
		spend(&w->left.faults);
		sink_sim_strand(g->sink, s->a, true);
		break;
	case SMALL_TIME:
		spend(&w->left.timers);
		g->clock.now_ns = max_i64(stage_due_ns(g), g->clock.now_ns + 1);
		break;
	case SMALL_HEAR:
	case SMALL_HEAR_DUMB:
	case SMALL_DECIDE:
	case SMALL_KILL:
	case SMALL_CUT:
	case SMALL_START:
	case SMALL_START_FAILS:
		check_failed("a step of a daemon that is up", __FILE__, __LINE__, s->kind);
	}
	turn(w);
}

void
small_do(struct small *w, const struct small_step *s)
{
	bool dying = w->life == DYING;

	switch (s->kind) {
	case SMALL_HEAR:
		hear(w, s->a, false);
		return;
	case SMALL_HEAR_DUMB:
		spend(&w->left.unknowns);
		hear(w, s->a, true);
		return;
	case SMALL_DECIDE:
		decide(w, s);
		return;
	case SMALL_KILL:
	case SMALL_CUT:
		reaches_daemon(w, s);
		if (!dying)
			spend(&w->left.crashes);
		if (s->kind == SMALL_CUT) {
			fail_power(w, s);
		} else {
			sink_sim_strand(w->stage.sink, s->c, false);
			crash(w, false);
		}
		return;
	case SMALL_START:
		reaches_daemon(w, s);
		start(w, 0);
		return;
	case SMALL_START_FAILS:
		reaches_daemon(w, s);
		spend(&w->left.crashes);
		start(w, s->a);
		return;
	case SMALL_HALF:
	case SMALL_REPEAT:
	case SMALL_ANSWER:
	case SMALL_RESET:
	case SMALL_DISK:
	case SMALL_KAFKA:
	case SMALL_FATAL:
	case SMALL_TIME:
		reaches_daemon(w, s);
		do_up(w, s);
		return;
	}
}

bool
small_void(const struct small *w)
{
	return w->nothing;
}

/* ---- healing ----------------------------------------------------------------------------- */

static bool
at_rest(struct small *w)
{
	const struct core_stats *s = core_stats(loop_core(w->stage.loop));

	return oracle_owed(w->oracle) == 0 && core_owed(loop_core(w->stage.loop)) == 0 &&
	       s->rows[TXN_PREPARED] + s->rows[TXN_PARKED] == 0;
}

/* Producers hear all, end what they began, and answer truthfully; true: they said something. */
static bool
producers_heal(struct small *w)
{
	bool any = false;

	for (uint32_t p = 0; p < w->producer_count; p++) {
		while (w->producers[p].inbox_count)
			hear(w, p, false);
		for (; w->producers[p].answer_count; any = true)
			say_answer(w, p, 0);
	}
	for (uint32_t m = 0; m < w->left.messages; m++) {
		struct small_message *message = &w->messages[m];

		if (message->phase != LOCAL)
			continue;
		message->phase = ENDED;
		message->verdict = VERDICT_COMMIT;
		oracle_local(w->oracle, message->gid, TRUTH_COMMIT);
	}
	return any;
}

static void
until_rest(struct small *w)
{
	struct stage *g = &w->stage;

	for (int i = 0; !small_violation(w); i++) {
		bool any = producers_heal(w);

		turn(w);
		if (any)
			continue;
		if (at_rest(w))
			return;
		if (i >= HEAL_ROUNDS) {
			oracle_final(w->oracle);
			oracle_fail(w->oracle, "not at rest after healing: %" PRIu64 " owed",
				    oracle_owed(w->oracle));
			return;
		}
		g->clock.now_ns = max_i64(min_i64(stage_due_ns(g), sink_sim_next_ns(g->sink)),
					  g->clock.now_ns + 1);
		for (uint32_t p = 0; p < w->producer_count; p++)
			(void)peer_heartbeat(w->producers[p].peer, GROUP, ++w->opaque);
	}
}

static void
all_is_well(struct small *w)
{
	disk_sim_knobs(w->stage.disk)->hold = false;
	sink_sim_set(w->stage.sink, &(struct sink_sim_knobs){ 0 });
}

void
small_heal(struct small *w)
{
	static const struct small_step cut = { SMALL_CUT, DISK_SIM_PREFIX, 0, 0, 0 };

	w->healing = true;
	if (w->life == DYING)
		fail_power(w, &cut);
	if (w->life == DOWN)
		start(w, 0);
	if (small_violation(w))
		return;
	all_is_well(w);
	until_rest(w);
	if (small_violation(w))
		return;
	fail_power(w, &cut); /* the audit: nothing may come back, and nothing be missing */
	start(w, 0);
	if (small_violation(w))
		return;
	all_is_well(w);
	until_rest(w);
	oracle_final(w->oracle);
}

const char *
small_violation(const struct small *w)
{
	return oracle_violation(w->oracle);
}

/* ---- life -------------------------------------------------------------------------------- */

struct small *
small_new(const struct small_bounds *bounds)
{
	struct small *w = mem_alloc(sizeof(*w));
	struct stage *g = &w->stage;

	CHECK(bounds->messages <= SMALL_MESSAGES && bounds->producers <= SMALL_PRODUCERS, 0);
	stage_init(g);
	w->left = *bounds;
	w->producer_count = bounds->producers;
	g->conf.core.policy.immunity_ns = NS_PER_S;
	g->conf.core.policy.interval_ns = NS_PER_S;
	g->conf.core.policy.checks_max = 2;
	g->conf.core.policy.parked_ns = 10 * NS_PER_S;
	g->conf.journal.segment_bytes = 16 << 10;
	g->conf.journal.quota_bytes = 8 * (16 << 10);
	g->conf.journal.cache_bytes = 16 << 10;
	g->hooks = (struct loop_hooks){ .arg = w, .note = on_note };
	sink_sim_topic(g->sink, "topic0", 1, 0);
	sink_sim_watch(g->sink, on_append, w);
	w->oracle = oracle_new();
	oracle_set_shown(w->oracle, shown, w);
	oracle_set_window(w->oracle, (int64_t)g->conf.core.idempotency_window_ms * NS_PER_MS);
	for (uint32_t m = 0; m < bounds->messages; m++)
		(void)oracle_message(w->oracle, 0, 1, bounds->body, false);
	start(w, 0);
	return w;
}

struct small *
small_free(struct small *w)
{
	for (uint32_t p = 0; p < w->producer_count; p++)
		peer_close(w->producers[p].peer, true);
	stage_done(&w->stage);
	oracle_free(w->oracle);
	mem_free(w);
	return NULL;
}

void
small_count(const struct small *w, struct small_counts *counts)
{
	const struct oracle_counts *o = oracle_counts(w->oracle);

	counts->records += o->records;
	counts->duplicates += o->duplicates;
	counts->checks += w->checks;
	counts->crashes += w->crashes;
	counts->recovery_crashes += w->recovery_crashes;
}

const char *
small_text(const struct small_step *s)
{
	static const char *const fates[] = {
		[SINK_SIM_ACKED] = "acknowledges",          [SINK_SIM_LOST] = "loses",
		[SINK_SIM_UNHEARD] = "appends, unheard,",   [SINK_SIM_REFUSED] = "refuses",
		[SINK_SIM_LYING] = "appends, and refuses,",
	};
	static char text[200];
	char what[80];

	switch (s->kind) {
	case SMALL_HALF:
		snprintf(text, sizeof(text), "P%" PRIu32 " half-sends m%" PRIu32, s->b, s->a);
		break;
	case SMALL_REPEAT:
		snprintf(text, sizeof(text), "m%" PRIu32 " is said again", s->a);
		break;
	case SMALL_HEAR:
		snprintf(text, sizeof(text), "P%" PRIu32 " hears", s->a);
		break;
	case SMALL_HEAR_DUMB:
		snprintf(text, sizeof(text), "P%" PRIu32 " hears, and does not know", s->a);
		break;
	case SMALL_DECIDE:
		snprintf(text, sizeof(text), "m%" PRIu32 " is %s by its owner, who %s", s->a,
			 s->b ? "committed" : "rolled back", s->c ? "says so" : "is silent");
		break;
	case SMALL_ANSWER:
		snprintf(text, sizeof(text), "P%" PRIu32 " answers check %" PRIu32, s->a, s->b);
		break;
	case SMALL_RESET:
		snprintf(text, sizeof(text), "P%" PRIu32 " loses its connection", s->a);
		break;
	case SMALL_DISK:
		snprintf(text, sizeof(text), "the disk ends operation %" PRIu32, s->a);
		break;
	case SMALL_KAFKA:
		snprintf(text, sizeof(text), "Kafka %s the first", fates[s->a]);
		break;
	case SMALL_FATAL:
		snprintf(text, sizeof(text), "the handle dies, %" PRIu32 " were appended", s->a);
		break;
	case SMALL_TIME:
		snprintf(text, sizeof(text), "time goes on");
		break;
	case SMALL_KILL:
		snprintf(text, sizeof(text), "the process is killed, %" PRIu32 " were appended",
			 s->c);
		break;
	case SMALL_CUT:
		if (s->a == DISK_SIM_PREFIX)
			snprintf(what, sizeof(what), "the first %" PRIu32 " units survive", s->b);
		else if (s->a == DISK_SIM_TORN)
			snprintf(what, sizeof(what), "%" PRIu32 " units and half of one survive",
				 s->b);
		else
			snprintf(what, sizeof(what), "all survive but unit %" PRIu32, s->b);
		snprintf(text, sizeof(text),
			 "the power fails, %s, %" PRIu32 " names, %" PRIu32 " were appended", what,
			 s->d, s->c);
		break;
	case SMALL_START:
		snprintf(text, sizeof(text), "the daemon starts");
		break;
	case SMALL_START_FAILS:
		snprintf(text, sizeof(text), "the daemon starts, and power fails at step %" PRIu32,
			 s->a);
		break;
	}
	return text;
}
