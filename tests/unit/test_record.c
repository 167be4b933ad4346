/*
 * test_record.c -- entries survive the trip to bytes and back, and damage never passes.
 *
 * A user would lose: a header, a key or a partition of a message that was half-sent, found out only
 * when the daemon restarts and publishes something else than it was given.
 */
#include <stdio.h>

#include "base/bytes.h"
#include "base/err.h"
#include "journal/record.h"
#include "remoting/limits.h"
#include "sim/memory_sim.h"
#include "unit.h"

static uint64_t rng_state;

static uint64_t
rng(void)
{
	uint64_t x = rng_state += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static uint64_t
below(uint64_t n)
{
	return rng() % n;
}

/* Numbers of every length, the ends most of all. */
static uint64_t
number(unsigned bits)
{
	uint64_t mask = bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;

	switch (below(4)) {
	case 0:
		return 0;
	case 1:
		return mask;
	case 2:
		return rng() & mask & 0xff;
	}
	return rng() & mask >> below(bits);
}

static char pool[1 << 16];

static struct str
bytes(size_t max)
{
	size_t n = below(4) == 0 ? 0 : (size_t)below(max + 1);

	return str_from(pool + below(sizeof(pool) - n), n);
}

static char key_text[33], from_text[32], who_text[32];

static struct str
random_key(void)
{
	static const char digits[] = "0123456789ABCDEF";

	if (below(2))
		return bytes(255);
	for (int i = 0; i < 32; i++)
		key_text[i] = digits[below(16)];
	/* almost a hex key: must stay text */
	if (below(3) == 0)
		key_text[below(32)] = "gaf x"[below(5)];
	return str_from(key_text, 32);
}

static struct str
random_address(char text[32])
{
	switch (below(4)) {
	case 0:
		return bytes(40);
	case 1:
		snprintf(text, 32, "[fe80::%x]:%u", (unsigned)below(65536), (unsigned)below(65536));
		break;
	case 2: /* with numbers that are no address, and leading zeroes */
		snprintf(text, 32, "%s%u.%u.%u.%u:%u", below(2) ? "0" : "", (unsigned)below(300),
			 (unsigned)below(300), (unsigned)below(300), (unsigned)below(300),
			 (unsigned)below(70000));
		break;
	default:
		snprintf(text, 32, "%u.%u.%u.%u:%u", (unsigned)below(256), (unsigned)below(256),
			 (unsigned)below(256), (unsigned)below(256), (unsigned)below(65536));
	}
	return str_of(text);
}

static struct message messages[LIMIT_MESSAGES];
static uint32_t topics[LIMIT_MESSAGES];
static struct part parts[LIMIT_MESSAGES];
static uint64_t ns[LIMIT_MESSAGES];
static struct entry_topic state_topics[50];
static struct lane_state state_lanes[50];

static struct half
random_half(void)
{
	struct half h = { 0 };

	h.gid = gid_make(number(48), (uint16_t)number(16), number(63));
	h.check = number(below(8) ? 55 : 64);
	h.group = bytes(255);
	h.key = random_key();
	h.body_hash = (struct hash128){ rng(), rng() };
	h.has_db_id = below(2);
	for (size_t i = 0; h.has_db_id && i < 16; i++)
		h.db_id[i] = (uint8_t)rng();
	h.arrived_ms = below(2) ? gid_ms(h.gid) : number(64);
	h.born_ms = number(64);
	h.immunity_ms = (uint32_t)number(32);
	h.from = random_address(from_text);
	h.kind = (enum edge_kind)(1 + below(3));
	h.edge = bytes(300);
	h.count = below(3) ? 1 : (uint32_t)(1 + below(LIMIT_MESSAGES));
	h.messages = messages;
	for (uint32_t i = 0; i < h.count; i++) {
		struct message *m = &messages[i];

		*m = (struct message){ 0 };
		m->topic = bytes(127);
		m->partition = below(3) ? (int32_t)below(100) : (int32_t)number(32);
		m->spread = (uint32_t)number(32);
		m->key = below(2) ? STR_NONE : bytes(100);
		m->value = below(5) ? bytes(2000) : STR_NONE;
		m->codec = (enum codec)below(4);
		m->plain_bytes = below(2) ? (uint32_t)m->value.n : (uint32_t)number(32);
		m->headers.bytes = bytes(500);
		topics[i] = (uint32_t)number(32);
	}
	return h;
}

static struct decision
random_decision(bool undecided)
{
	struct decision d = { 0 };

	if (undecided)
		return d;
	d.state = (enum txn_state)(TXN_COMMITTED + below(3));
	d.origin = (enum origin)(1 + below(4));
	d.ms = number(48);
	d.who = random_address(who_text);
	return d;
}

static struct entry_topic
random_topic(void)
{
	return (struct entry_topic){ (uint32_t)number(32), bytes(127), (int32_t)number(31),
				     (uint32_t)number(32) };
}

static void
random_state(struct entry_state *e)
{
	e->opened_ms = number(64);
	e->segment_bytes = number(64);
	e->oldest_segment = number(64);
	e->previous_end = number(64);
	for (size_t i = 0; i < 16; i++) {
		e->journal_id[i] = (uint8_t)rng();
		e->audit_chain[i] = (uint8_t)rng();
	}
	e->secret[0] = rng();
	e->secret[1] = rng();
	e->shard = (uint16_t)number(16);
	e->next_seq = number(64);
	e->last_ms = number(64);
	e->audit_number = number(64);
	e->cluster = bytes(60);
	e->topic_count = (uint32_t)below(50);
	e->topics = state_topics;
	for (uint32_t i = 0; i < e->topic_count; i++)
		state_topics[i] = random_topic();
	e->lane_count = (uint32_t)below(50);
	e->lanes = state_lanes;
	for (uint32_t i = 0; i < e->lane_count; i++)
		state_lanes[i] = (struct lane_state){ (uint32_t)number(32), (int32_t)number(31),
						      number(64), number(64) };
}

static struct entry
random_entry(enum entry_type type)
{
	struct entry e;

	memset(&e, 0, sizeof(e));
	e.type = type;
	switch (type) {
	case ENTRY_STATE:
		random_state(&e.state);
		break;
	case ENTRY_HALF:
		e.half.half = random_half();
		e.half.topics = topics;
		break;
	case ENTRY_DECISION:
		e.decision.seq = number(64);
		e.decision.decision = random_decision(false);
		e.decision.count = (uint32_t)below(LIMIT_MESSAGES + 1);
		e.decision.n = ns;
		for (uint32_t i = 0; i < e.decision.count; i++)
			ns[i] = number(64);
		break;
	case ENTRY_GENERATION:
		e.generation =
			(struct entry_generation){ number(64), (uint8_t)number(8), number(64) };
		break;
	case ENTRY_CHECKS:
		e.checks = (struct entry_checks){ number(64), (uint32_t)number(32), number(64),
						  below(2) };
		break;
	case ENTRY_RESUMED:
		e.resumed = (struct entry_resumed){ number(64), number(64) };
		break;
	case ENTRY_PUBLISHED:
		e.published.topic = (uint32_t)number(32);
		e.published.partition = (int32_t)number(31);
		e.published.low = number(40);
		e.published.done_count = (uint32_t)below(LIMIT_MESSAGES);
		e.published.done = ns;
		for (uint32_t i = 0; i < e.published.done_count; i++)
			ns[i] = (i ? ns[i - 1] : e.published.low) + number(20);
		break;
	case ENTRY_REFUSED:
		e.refused = (struct entry_refused){ number(64), (uint32_t)number(32),
						    (int32_t)number(32), number(64) };
		break;
	case ENTRY_RETRIED:
		e.retried = (struct entry_retried){ number(64), number(64) };
		break;
	case ENTRY_DISCARDED:
		e.discarded = (struct entry_discarded){ number(64), number(64) };
		break;
	case ENTRY_TOPIC:
		e.topic = random_topic();
		break;
	case ENTRY_STUB:
		e.stub.gid = gid_make(number(48), (uint16_t)number(16), number(63));
		e.stub.check = number(64);
		e.stub.generation = (uint8_t)number(8);
		e.stub.state = (enum txn_state)(1 + below(7));
		e.stub.decision = random_decision(below(4) == 0);
		e.stub.arrived_ms = number(64);
		e.stub.group = bytes(255);
		e.stub.key = random_key();
		e.stub.key_hash = rng();
		e.stub.body_hash = (struct hash128){ rng(), rng() };
		break;
	case ENTRY_COPY:
		e.copy.half = random_half();
		e.copy.topics = topics;
		e.copy.state = (enum txn_state)(1 + below(7));
		e.copy.generation = (uint8_t)number(8);
		e.copy.checks = (uint32_t)number(32);
		e.copy.since_ms = number(64);
		e.copy.decision = random_decision(below(2));
		e.copy.parts = below(2) ? parts : NULL;
		for (uint32_t i = 0; i < e.copy.half.count; i++) {
			parts[i] = (struct part){ (uint32_t)number(32), (int32_t)number(31),
						  number(64), (enum part_state)below(4), 0 };
			if (parts[i].state == PART_REFUSED || parts[i].state == PART_RETRIED)
				parts[i].code = (int32_t)number(32);
		}
		break;
	case ENTRY_AUDIT:
		e.audit.gid = gid_make(number(48), (uint16_t)number(16), number(63));
		e.audit.ms = number(64);
		e.audit.number = number(64);
		e.audit.verb = bytes(20);
		e.audit.who = bytes(128);
		e.audit.reason = bytes(1024);
		e.audit.outcome = bytes(100);
		for (size_t i = 0; i < 16; i++)
			e.audit.chain[i] = (uint8_t)rng();
		break;
	case ENTRY_OLDEST:
		e.oldest.segment = number(64);
		break;
	case ENTRY_CLUSTER:
		e.cluster.id = bytes(60);
		break;
	}
	return e;
}

/* ---- comparing, field by field, so that a forgotten one shows ------------------------- */

static void
same_null(struct str a, struct str b)
{
	ck_assert(str_eq(a, b));
	ck_assert_int_eq(a.p == NULL, b.p == NULL);
}

static void
same_half(const struct half *a, const struct half *b, const uint32_t *at, const uint32_t *bt)
{
	ck_assert(gid_eq(a->gid, b->gid));
	ck_assert(a->check == b->check);
	ck_assert(str_eq(a->group, b->group));
	ck_assert(str_eq(a->key, b->key));
	ck_assert(a->body_hash.lo == b->body_hash.lo && a->body_hash.hi == b->body_hash.hi);
	ck_assert(a->has_db_id == b->has_db_id);
	ck_assert(memcmp(a->db_id, b->db_id, 16) == 0);
	ck_assert(a->arrived_ms == b->arrived_ms);
	ck_assert(a->born_ms == b->born_ms);
	ck_assert(a->immunity_ms == b->immunity_ms);
	ck_assert(str_eq(a->from, b->from));
	ck_assert(a->kind == b->kind);
	ck_assert(str_eq(a->edge, b->edge));
	ck_assert_uint_eq(a->count, b->count);
	for (uint32_t i = 0; i < a->count; i++) {
		const struct message *m = &a->messages[i], *n = &b->messages[i];

		ck_assert(str_eq(m->topic, n->topic));
		ck_assert_int_eq(m->partition, n->partition);
		ck_assert_uint_eq(m->spread, n->spread);
		same_null(m->key, n->key);
		same_null(m->value, n->value);
		ck_assert(m->codec == n->codec);
		ck_assert_uint_eq(m->plain_bytes, n->plain_bytes);
		ck_assert(str_eq(m->headers.bytes, n->headers.bytes));
		ck_assert_uint_eq(at[i], bt[i]);
	}
}

static void
same_decision(const struct decision *a, const struct decision *b)
{
	ck_assert(a->state == b->state && a->origin == b->origin && a->ms == b->ms);
	ck_assert(str_eq(a->who, b->who));
}

static void
same_topic(const struct entry_topic *a, const struct entry_topic *b)
{
	ck_assert(a->number == b->number && a->partitions == b->partitions &&
		  a->max_bytes == b->max_bytes);
	ck_assert(str_eq(a->name, b->name));
}

static void
same_state(const struct entry_state *a, const struct entry_state *b)
{
	ck_assert(a->opened_ms == b->opened_ms && a->segment_bytes == b->segment_bytes);
	ck_assert(a->oldest_segment == b->oldest_segment && a->previous_end == b->previous_end);
	ck_assert(memcmp(a->journal_id, b->journal_id, 16) == 0);
	ck_assert(memcmp(a->audit_chain, b->audit_chain, 16) == 0);
	ck_assert(a->secret[0] == b->secret[0] && a->secret[1] == b->secret[1]);
	ck_assert(a->shard == b->shard && a->next_seq == b->next_seq && a->last_ms == b->last_ms);
	ck_assert(a->audit_number == b->audit_number);
	ck_assert(str_eq(a->cluster, b->cluster));
	ck_assert_uint_eq(a->topic_count, b->topic_count);
	for (uint32_t i = 0; i < a->topic_count; i++)
		same_topic(&a->topics[i], &b->topics[i]);
	ck_assert_uint_eq(a->lane_count, b->lane_count);
	for (uint32_t i = 0; i < a->lane_count; i++) {
		const struct lane_state *l = &a->lanes[i], *m = &b->lanes[i];

		ck_assert(l->topic == m->topic && l->partition == m->partition &&
			  l->next_n == m->next_n && l->low == m->low);
	}
}

static void
same_copy(const struct entry_copy *a, const struct entry_copy *b)
{
	same_half(&a->half, &b->half, a->topics, b->topics);
	ck_assert(a->state == b->state && a->generation == b->generation && a->checks == b->checks);
	ck_assert(a->since_ms == b->since_ms);
	same_decision(&a->decision, &b->decision);
	ck_assert_int_eq(a->parts == NULL, b->parts == NULL);
	for (uint32_t i = 0; a->parts && i < a->half.count; i++) {
		const struct part *p = &a->parts[i], *q = &b->parts[i];

		ck_assert(p->topic == q->topic && p->partition == q->partition && p->n == q->n &&
			  p->state == q->state && p->code == q->code);
	}
}

static void
same(const struct entry *a, const struct entry *b)
{
	ck_assert_int_eq(a->type, b->type);
	switch (a->type) {
	case ENTRY_STATE:
		same_state(&a->state, &b->state);
		return;
	case ENTRY_HALF:
		same_half(&a->half.half, &b->half.half, a->half.topics, b->half.topics);
		return;
	case ENTRY_DECISION:
		ck_assert(a->decision.seq == b->decision.seq);
		same_decision(&a->decision.decision, &b->decision.decision);
		ck_assert_uint_eq(a->decision.count, b->decision.count);
		if (a->decision.count)
			ck_assert(memcmp(a->decision.n, b->decision.n,
					 a->decision.count * sizeof(uint64_t)) == 0);
		return;
	case ENTRY_GENERATION:
		ck_assert(a->generation.seq == b->generation.seq &&
			  a->generation.generation == b->generation.generation &&
			  a->generation.ms == b->generation.ms);
		return;
	case ENTRY_CHECKS:
		ck_assert(a->checks.seq == b->checks.seq && a->checks.checks == b->checks.checks &&
			  a->checks.ms == b->checks.ms && a->checks.parked == b->checks.parked);
		return;
	case ENTRY_RESUMED:
		ck_assert(a->resumed.seq == b->resumed.seq && a->resumed.ms == b->resumed.ms);
		return;
	case ENTRY_PUBLISHED:
		ck_assert(a->published.topic == b->published.topic &&
			  a->published.partition == b->published.partition &&
			  a->published.low == b->published.low);
		ck_assert_uint_eq(a->published.done_count, b->published.done_count);
		for (uint32_t i = 0; i < a->published.done_count; i++)
			ck_assert(a->published.done[i] == b->published.done[i]);
		return;
	case ENTRY_REFUSED:
		ck_assert(a->refused.seq == b->refused.seq &&
			  a->refused.index == b->refused.index &&
			  a->refused.code == b->refused.code && a->refused.ms == b->refused.ms);
		return;
	case ENTRY_RETRIED:
		ck_assert(a->retried.seq == b->retried.seq && a->retried.ms == b->retried.ms);
		return;
	case ENTRY_DISCARDED:
		ck_assert(a->discarded.seq == b->discarded.seq &&
			  a->discarded.ms == b->discarded.ms);
		return;
	case ENTRY_TOPIC:
		same_topic(&a->topic, &b->topic);
		return;
	case ENTRY_STUB:
		ck_assert(gid_eq(a->stub.gid, b->stub.gid));
		ck_assert(a->stub.check == b->stub.check &&
			  a->stub.generation == b->stub.generation &&
			  a->stub.state == b->stub.state &&
			  a->stub.arrived_ms == b->stub.arrived_ms &&
			  a->stub.key_hash == b->stub.key_hash);
		same_decision(&a->stub.decision, &b->stub.decision);
		ck_assert(str_eq(a->stub.group, b->stub.group) && str_eq(a->stub.key, b->stub.key));
		ck_assert(a->stub.body_hash.lo == b->stub.body_hash.lo &&
			  a->stub.body_hash.hi == b->stub.body_hash.hi);
		return;
	case ENTRY_COPY:
		same_copy(&a->copy, &b->copy);
		return;
	case ENTRY_AUDIT:
		ck_assert(gid_eq(a->audit.gid, b->audit.gid));
		ck_assert(a->audit.ms == b->audit.ms && a->audit.number == b->audit.number);
		ck_assert(str_eq(a->audit.verb, b->audit.verb) &&
			  str_eq(a->audit.who, b->audit.who));
		ck_assert(str_eq(a->audit.reason, b->audit.reason));
		ck_assert(str_eq(a->audit.outcome, b->audit.outcome));
		ck_assert(memcmp(a->audit.chain, b->audit.chain, 16) == 0);
		return;
	case ENTRY_OLDEST:
		ck_assert(a->oldest.segment == b->oldest.segment);
		return;
	case ENTRY_CLUSTER:
		ck_assert(str_eq(a->cluster.id, b->cluster.id));
		return;
	}
	ck_abort_msg("a type that nobody compares");
}

static struct record_scratch scratch;

static size_t
seal(const struct entry *e, uint8_t **ret, uint64_t segment, uint64_t lsn)
{
	size_t bound = record_bound(e), len;

	*ret = mem_alloc(bound);
	len = record_encode(e, *ret);
	ck_assert_uint_le(len, bound);
	record_seal(*ret, len, segment, lsn);
	return len;
}

static void
setup(void)
{
	rng_state = 42;
	for (size_t i = 0; i < sizeof(pool); i++)
		pool[i] = (char)rng();
}

START_TEST(every_type_comes_back_as_it_went)
{
	for (int i = 0; i < 400; i++) {
		struct entry e = random_entry((enum entry_type)_i), back;
		uint64_t segment = number(63), lsn = number(63), length;
		struct record r;
		uint8_t *p;
		size_t len = seal(&e, &p, segment, lsn);

		ck_assert_int_eq(record_length(str_from(p, len), &length), 0);
		ck_assert_uint_eq(length, len);
		ck_assert_int_eq(record_open(str_from(p, len), segment, lsn, &r), 0);
		if (e.type == ENTRY_STUB) {
			uint64_t seq;

			ck_assert_int_eq(record_stub_seq(&r, &seq), 0);
			ck_assert_uint_eq(seq, e.stub.gid.lo);
		}
		ck_assert_uint_eq(r.len, len);
		ck_assert_int_eq(record_decode(&r, &scratch, &back), 0);
		same(&e, &back);
		/* cut short anywhere, it is no record */
		ck_assert_int_eq(record_open(str_from(p, below(len)), segment, lsn, &r),
				 ERR_CORRUPT);
		mem_free(p);
	}
	ck_assert_str_ne(record_type_name((uint8_t)_i), "?");
}
END_TEST

/* What looks like an address and is none comes back letter for letter: it is in the audit trail. */
START_TEST(what_is_nearly_an_address_stays_text)
{
	static const char *const texts[] = {
		"",           "1",           "1.2.3.4",       "1.2.3.4:",      "1.2.3.4:5x",
		"1.2.3.4:05", "1.2.3.4.5",   "1.2.3:4",       "1:2:3:4:5",     "1.2.3.4:123456",
		"1.2.3.4:-1", "256.1.1.1:1", "1.2.3.4:65536", "1.2.3.4:65535", "0.0.0.0:0",
		"1.2.3./:5",  "1..3.4:5",    "10000.2.3.4:5", "1.2.3.4;5",
	};

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct entry e = { .type = ENTRY_DECISION }, back;
		struct record r;
		uint8_t *p;
		size_t len;

		e.decision.decision =
			(struct decision){ TXN_ROLLED_BACK, ORIGIN_OPERATOR, 1, str_of(texts[i]) };
		len = seal(&e, &p, 1, 1);
		ck_assert_int_eq(record_open(str_from(p, len), 1, 1, &r), 0);
		ck_assert_int_eq(record_decode(&r, &scratch, &back), 0);
		ck_assert_msg(str_eq(back.decision.decision.who, str_of(texts[i])), "%s", texts[i]);
		mem_free(p);
	}
}
END_TEST

/* Memory that runs out is not damage: whoever is told so tries again, and restores no backup. */
START_TEST(no_memory_is_not_malformed)
{
	static uint64_t done[100];
	struct entry e[2] = { { .type = ENTRY_PUBLISHED,
				.published = { 1, 2, 3, ARRAY_LEN(done), done } },
			      { .type = ENTRY_STATE } };

	for (size_t i = 0; i < ARRAY_LEN(done); i++)
		done[i] = 3 + i;
	for (size_t i = 0; i < ARRAY_LEN(state_topics); i++)
		state_topics[i] = (struct entry_topic){ (uint32_t)i, STR("t"), 1, 0 };
	e[1].state.topic_count = ARRAY_LEN(state_topics);
	e[1].state.topics = state_topics;
	e[1].state.lane_count = ARRAY_LEN(state_lanes);
	e[1].state.lanes = state_lanes;
	for (size_t i = 0; i < ARRAY_LEN(e); i++) {
		struct record_scratch fresh = { 0 };
		struct entry back;
		struct record r;
		uint8_t *p;
		size_t len = seal(&e[i], &p, 1, 1);

		ck_assert_int_eq(record_open(str_from(p, len), 1, 1, &r), 0);
		for (uint64_t n = 1; n <= i + 1; n++) {
			memory_sim_fail(n, 1);
			ck_assert_int_eq(record_decode(&r, &fresh, &back), ERR_NOMEM);
			ck_assert(memory_sim_struck());
			record_scratch_done(&fresh);
		}
		memory_sim_fail(0, 0);
		ck_assert_int_eq(record_decode(&r, &fresh, &back), 0);
		same(&e[i], &back);
		record_scratch_done(&fresh);
		mem_free(p);
	}
}
END_TEST

/* Reclaim asks a stub for its number alone: one that is cut short has none. */
START_TEST(a_stub_cut_short_has_no_number)
{
	struct entry e = random_entry(ENTRY_STUB);
	struct record r;
	uint64_t seq;
	uint8_t *p;
	size_t len = seal(&e, &p, 1, 1);

	ck_assert_int_eq(record_open(str_from(p, len), 1, 1, &r), 0);
	r.body.n = 9;
	ck_assert_int_eq(record_stub_seq(&r, &seq), ERR_MALFORMED);
	mem_free(p);
}
END_TEST

/* A user would lose: the truth, to a disk that flips a bit or writes to the wrong place. */
START_TEST(a_flipped_bit_or_another_place_is_found)
{
	for (int i = 0; i < 3000; i++) {
		struct entry e = random_entry((enum entry_type)(1 + below(ENTRY_CLUSTER)));
		uint64_t segment = 7, lsn = 7 * 65536 + 40;
		struct record r;
		uint8_t *p;
		size_t len = seal(&e, &p, segment, lsn);
		size_t bit = below(len * 8);

		ck_assert_int_eq(record_open(str_from(p, len), segment + 1, lsn, &r), ERR_CORRUPT);
		ck_assert_int_eq(record_open(str_from(p, len), segment, lsn + 8, &r), ERR_CORRUPT);
		p[bit / 8] ^= (uint8_t)(1 << bit % 8);
		ck_assert_int_eq(record_open(str_from(p, len), segment, lsn, &r), ERR_CORRUPT);
		mem_free(p);
	}
}
END_TEST

/* A user would lose: the daemon, to a record whose checksum is right and whose content is not. */
START_TEST(hostile_bodies_are_refused_and_nothing_is_overrun)
{
	int refused = 0;

	for (int i = 0; i < 20000; i++) {
		struct entry e = random_entry((enum entry_type)(1 + below(ENTRY_CLUSTER))), back;
		struct record r;
		uint8_t *p;
		size_t len = seal(&e, &p, 1, 1), changes = 1 + below(4), head = 0;
		uint64_t length;

		ck_assert_int_eq(record_open(str_from(p, len), 1, 1, &r), 0);
		head = len - r.body.n;
		for (size_t k = 0; k < changes && r.body.n; k++)
			p[head + below(below(2) ? r.body.n : min_u64(r.body.n, 64))] =
				(uint8_t)rng();
		r.body.n -= below(3) ? 0 : below(r.body.n + 1);
		if (record_decode(&r, &scratch, &back) == ERR_MALFORMED)
			refused++;
		if (record_length(str_from(p, len), &length) == 0)
			ck_assert_uint_ge(length, RECORD_HEAD_MIN);
		mem_free(p);
	}
	ck_assert_int_gt(refused, 5000);
	/* a type from the future is told apart from a broken one */
	struct record r = { 99, STR("x"), 7 };
	struct entry back;

	ck_assert_int_eq(record_decode(&r, &scratch, &back), ERR_VERSION);
}
END_TEST

START_TEST(a_group_header_is_of_one_place_only)
{
	struct group_header g = { 0, 0, 12, 123456, 123000, 7, 4000, 31 }, back;
	uint8_t b[GROUP_HEADER];

	group_encode(&g, 3, b);
	ck_assert_int_eq(group_decode(b, 3, 123456, &back), 0);
	ck_assert(back.padding == 12 && back.lsn == 123456 && back.durable_lsn == 123000 &&
		  back.epoch == 7 && back.length == 4000 && back.records == 31);
	ck_assert_int_eq(group_decode(b, 3, 0, &back), 0);
	ck_assert_int_eq(group_decode(b, 4, 123456, &back), ERR_CORRUPT);
	ck_assert_int_eq(group_decode(b, 3, 123457, &back), ERR_CORRUPT);
	for (size_t bit = 0; bit < GROUP_HEADER * 8; bit++) {
		b[bit / 8] ^= (uint8_t)(1 << bit % 8);
		ck_assert_int_eq(group_decode(b, 3, 123456, &back), ERR_CORRUPT);
		b[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	g.incompatible = 1;
	group_encode(&g, 3, b);
	ck_assert_int_eq(group_decode(b, 3, 123456, &back), ERR_VERSION);
}
END_TEST

/* A user would lose: the disk's bandwidth, which is what bounds a broker on a cloud disk. */
START_TEST(a_pair_costs_at_most_128_bytes_beyond_what_was_sent)
{
	char body[1024] = "x", headers[200] = "y";
	struct message m = { .topic = STR("orders"),
			     .partition = 5,
			     .value = str_from(body, sizeof(body)),
			     .plain_bytes = sizeof(body),
			     .headers = { str_from(headers, sizeof(headers)) } };
	uint32_t topic = 3;
	uint64_t n = 12345678;
	struct entry half = { .type = ENTRY_HALF }, decision = { .type = ENTRY_DECISION };
	struct half *h = &half.half.half;
	uint8_t *p;
	size_t a, b;

	h->gid = gid_make(UINT64_C(1763700000123), 1, 200000000);
	h->check = UINT64_C(0x7fffffffffffff);
	h->group = STR("order-grp1");
	h->key = STR("0A00000700002A9F4B5C6D7E8F901234");
	h->body_hash = (struct hash128){ rng(), rng() };
	h->arrived_ms = gid_ms(h->gid);
	h->born_ms = h->arrived_ms - 3;
	h->from = STR("192.168.100.200:54321");
	h->kind = EDGE_ROCKETMQ;
	h->count = 1;
	h->messages = &m;
	half.half.topics = &topic;
	decision.decision = (struct entry_decision){
		h->gid.lo, { TXN_COMMITTED, ORIGIN_CLIENT, h->arrived_ms + 9, h->from }, 1, &n, 1
	};
	a = seal(&half, &p, 1, 1);
	mem_free(p);
	b = seal(&decision, &p, 1, 1);
	mem_free(p);
	/* two records of sixteen in a group */
	ck_assert_uint_le(a + b + GROUP_HEADER * 2 / 16, sizeof(body) + sizeof(headers) + 128);
}
END_TEST

/*
 * A user would lose: every large message, refused for good by a daemon whose configuration allows
 * it.  The check of journal.segment counts on LIMIT_RECORD_MORE.
 */
START_TEST(no_half_is_longer_than_the_configuration_counts_on)
{
	static uint8_t filler[LIMIT_EDGE_BYTES];
	uint32_t message_bytes = 4u << 20;
	struct half h = random_half();
	struct entry e = { .type = ENTRY_HALF };
	size_t most;

	h.group = str_from(filler, LIMIT_GROUP_BYTES);
	h.key = str_from(filler, LIMIT_KEY_BYTES);
	h.from = str_from(filler, LIMIT_WHO_BYTES);
	h.edge = str_from(filler, LIMIT_EDGE_BYTES);
	for (h.count = 1; h.count <= LIMIT_MESSAGES; h.count += LIMIT_MESSAGES - 1) {
		/* one may be as long as limits.message, several as their frame */
		size_t all = message_bytes + (h.count > 1 ? LIMIT_FRAME_SLACK : 0);

		for (uint32_t i = 0; i < h.count; i++) {
			messages[i] =
				(struct message){ .topic = str_from(filler, LIMIT_TOPIC_BYTES) };
			messages[i].value.n = all / h.count;
		}
		messages[0].value.n += all % h.count;
		e.half.half = h;
		most = record_bound(&e) + record_copy_bound(&h);
		ck_assert_uint_gt(most, message_bytes);
		ck_assert_uint_le(most, message_bytes + LIMIT_RECORD_MORE);
	}
}
END_TEST

int
main(void)
{
	TCase *t = unit_case("record", setup, NULL);

	tcase_add_loop_test(t, every_type_comes_back_as_it_went, ENTRY_STATE, ENTRY_CLUSTER + 1);
	tcase_add_test(t, what_is_nearly_an_address_stays_text);
	tcase_add_test(t, no_memory_is_not_malformed);
	tcase_add_test(t, a_stub_cut_short_has_no_number);
	tcase_add_test(t, a_flipped_bit_or_another_place_is_found);
	tcase_add_test(t, hostile_bodies_are_refused_and_nothing_is_overrun);
	tcase_add_test(t, a_group_header_is_of_one_place_only);
	tcase_add_test(t, a_pair_costs_at_most_128_bytes_beyond_what_was_sent);
	tcase_add_test(t, no_half_is_longer_than_the_configuration_counts_on);
	return unit_run_case("record", t);
}
