/*
 * fake_ports.h -- a world for the core that a test moves by hand.
 *
 * The journal is an array of entries, each with its own copy of every byte: durable up to where
 * the test says, cut there by fake_crash(), and recycled from the front by fake_reclaim() as the
 * real one does.  Answers, checks and publications are kept for the test to look at.  Memory is
 * never given back: each test is a process of its own.
 */
#ifndef FAKE_PORTS_H
#define FAKE_PORTS_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "core/core.h"

#define FAKE_MAX 4096

struct fake_answer {
	struct reply_to to;
	struct answer a;
};

struct fake_check {
	uint64_t peer, seq, token;
	uint32_t number;
};

struct fake_publication {
	uint64_t token, seq, n, ms;
	uint32_t index;
	int32_t partition;
	char topic[64];
};

struct fake {
	struct core *core;
	struct core_conf conf;
	int64_t now_ns;
	uint64_t wall_ms;
	uint64_t random;

	struct entry log[FAKE_MAX];
	struct entry lost[FAKE_MAX]; /* in crashes; kept, as the log is: nothing here is freed */
	uint32_t lost_count;
	uint32_t first, count, durable;	   /* the log is [first, count)                         */
	struct fake_answer answers[FAKE_MAX];
	uint32_t answer_count;
	struct fake_check checks[FAKE_MAX];
	uint32_t check_count;
	struct fake_publication published[FAKE_MAX];
	uint32_t publish_count;
	char described[64];
	uint32_t notes[32];

	bool full;	  /* ENTRY_HALF does not fit */
	bool too_big;	  /* and never will */
	bool lazy_lost;	  /* lazy entries are dropped */
	bool roll;	  /* the next entry begins a segment */
	bool cold;	  /* fetch says ERR_AGAIN */
	bool broken;	  /* fetch says ERR_IO */
	uint64_t fetch_token;
	struct place fetch_place;
	bool sink_full;
	bool check_closed;
};

/* LSN of entry I: a hundred bytes each, so that a place tells its index. */
#define FAKE_LEN 100u

static inline struct str
fake_str(struct str s)
{
	return s.p ? str_from(s.n ? mem_dup(s.p, s.n) : "", s.n) : STR_NONE;
}

static inline void *
fake_array(const void *p, size_t count, size_t size)
{
	return p && count ? mem_dup(p, count * size) : NULL;
}

static inline void
fake_half(struct half *h)
{
	struct message *m = fake_array(h->messages, h->count, sizeof(*m));

	h->group = fake_str(h->group);
	h->key = fake_str(h->key);
	h->from = fake_str(h->from);
	h->edge = fake_str(h->edge);
	for (uint32_t i = 0; i < h->count; i++) {
		m[i].topic = fake_str(m[i].topic);
		m[i].key = fake_str(m[i].key);
		m[i].value = fake_str(m[i].value);
		m[i].headers.bytes = fake_str(m[i].headers.bytes);
	}
	h->messages = m;
}

static inline struct entry
fake_copy(const struct entry *from)
{
	struct entry e = *from;

	switch (e.type) {
	case ENTRY_STATE:
		e.state.cluster = fake_str(e.state.cluster);
		e.state.topics = fake_array(e.state.topics, e.state.topic_count,
					    sizeof(*e.state.topics));
		for (uint32_t i = 0; i < e.state.topic_count; i++)
			((struct entry_topic *)(uintptr_t)e.state.topics)[i].name =
				fake_str(e.state.topics[i].name);
		e.state.lanes =
			fake_array(e.state.lanes, e.state.lane_count, sizeof(*e.state.lanes));
		break;
	case ENTRY_HALF:
		fake_half(&e.half.half);
		e.half.topics = fake_array(e.half.topics, e.half.half.count, 4);
		break;
	case ENTRY_COPY:
		fake_half(&e.copy.half);
		e.copy.topics = fake_array(e.copy.topics, e.copy.half.count, 4);
		e.copy.parts = fake_array(e.copy.parts, e.copy.half.count, sizeof(struct part));
		e.copy.decision.who = fake_str(e.copy.decision.who);
		break;
	case ENTRY_DECISION:
		e.decision.n = fake_array(e.decision.n, e.decision.count, 8);
		e.decision.decision.who = fake_str(e.decision.decision.who);
		break;
	case ENTRY_PUBLISHED:
		e.published.done = fake_array(e.published.done, e.published.done_count, 8);
		break;
	case ENTRY_TOPIC:
		e.topic.name = fake_str(e.topic.name);
		break;
	case ENTRY_STUB:
		e.stub.group = fake_str(e.stub.group);
		e.stub.key = fake_str(e.stub.key);
		e.stub.decision.who = fake_str(e.stub.decision.who);
		break;
	case ENTRY_AUDIT:
		e.audit.verb = fake_str(e.audit.verb);
		e.audit.who = fake_str(e.audit.who);
		e.audit.reason = fake_str(e.audit.reason);
		e.audit.outcome = fake_str(e.audit.outcome);
		break;
	case ENTRY_CLUSTER:
		e.cluster.id = fake_str(e.cluster.id);
		break;
	case ENTRY_GENERATION:
	case ENTRY_CHECKS:
	case ENTRY_RESUMED:
	case ENTRY_REFUSED:
	case ENTRY_RETRIED:
	case ENTRY_DISCARDED:
	case ENTRY_OLDEST:
		break;
	}
	return e;
}

static inline void fake_roll(struct fake *f);

static inline int
fake_append(void *arg, const struct entry *e, struct place *ret_place)
{
	struct fake *f = arg;
	bool lazy = e->type == ENTRY_PUBLISHED || e->type == ENTRY_CHECKS;

	if (f->full && e->type == ENTRY_HALF)
		return f->too_big ? ERR_TOOBIG : ERR_FULL;
	*ret_place = (struct place){ 0, 0 };
	if (f->lazy_lost && lazy)
		return 0;
	if (f->roll) {
		f->roll = false;
		fake_roll(f);
	}
	ck_assert_uint_lt(f->count, FAKE_MAX);
	*ret_place = (struct place){ f->count * FAKE_LEN, FAKE_LEN };
	f->log[f->count++] = fake_copy(e);
	return 0;
}

static inline const struct half *
fake_half_at(struct fake *f, struct place place)
{
	uint32_t i = (uint32_t)(place.lsn / FAKE_LEN);

	ck_assert_uint_ge(i, f->first); /* else its segment is gone */
	ck_assert_uint_lt(i, f->count);
	ck_assert(f->log[i].type == ENTRY_HALF || f->log[i].type == ENTRY_COPY);
	return f->log[i].type == ENTRY_HALF ? &f->log[i].half.half : &f->log[i].copy.half;
}

static inline int
fake_fetch(void *arg, struct place place, uint64_t token, const struct half **ret_half)
{
	struct fake *f = arg;

	if (f->broken)
		return ERR_IO;
	if (f->cold) {
		f->fetch_token = token;
		f->fetch_place = place;
		return ERR_AGAIN;
	}
	*ret_half = fake_half_at(f, place);
	return 0;
}

static inline void
fake_answer(void *arg, struct reply_to to, const struct answer *answer)
{
	struct fake *f = arg;

	f->answers[f->answer_count++] = (struct fake_answer){ to, *answer };
}

static inline int
fake_check(void *arg, const struct check *check)
{
	struct fake *f = arg;

	if (f->check_closed)
		return ERR_CLOSED;
	f->checks[f->check_count++] = (struct fake_check){ check->peer, check->half->gid.lo,
							   check->token, check->number };
	return 0;
}

static inline int
fake_publish(void *arg, const struct publication *p)
{
	struct fake *f = arg;
	struct fake_publication *to = &f->published[f->publish_count];

	if (f->sink_full)
		return ERR_AGAIN;
	*to = (struct fake_publication){ p->token, p->half->gid.lo, p->n, p->ms, p->index,
					 p->partition, "" };
	snprintf(to->topic, sizeof(to->topic), "%.*s", STR_ARG(p->half->messages[p->index].topic));
	f->publish_count++;
	return 0;
}

static inline void
fake_describe(void *arg, struct str topic)
{
	struct fake *f = arg;

	snprintf(f->described, sizeof(f->described), "%.*s", STR_ARG(topic));
}

static inline void
fake_note(void *arg, const struct note *note)
{
	((struct fake *)arg)->notes[note->kind]++;
}

static inline uint64_t
fake_random(void *arg)
{
	return hash_u64(++((struct fake *)arg)->random);
}

static const struct ports fake_ports = {
	.append = fake_append,
	.fetch = fake_fetch,
	.answer = fake_answer,
	.check = fake_check,
	.publish = fake_publish,
	.describe = fake_describe,
	.note = fake_note,
	.random = fake_random,
};

/* What opens a segment. */
static inline void
fake_roll(struct fake *f)
{
	struct entry e = { .type = ENTRY_STATE };
	struct place place;

	core_state(f->core, &e.state);
	fake_append(f, &e, &place);
}

static inline void
fake_open(struct fake *f)
{
	core_conf_default(&f->conf);
	f->now_ns = 1000 * NS_PER_S;
	f->wall_ms = UINT64_C(1700000000000);
	f->core = core_new(&f->conf, &fake_ports, f);
	core_format(f->core);
	core_start(f->core, f->now_ns, f->wall_ms);
	fake_roll(f);
}

static inline void
fake_sync(struct fake *f)
{
	f->durable = f->count;
	core_durable(f->core, (uint64_t)f->durable * FAKE_LEN);
	core_publish(f->core);
}

static inline void
fake_decide(struct fake *f)
{
	core_clock(f->core, f->now_ns, f->wall_ms);
	core_decide(f->core);
}

/* One whole turn. */
static inline void
fake_turn(struct fake *f)
{
	fake_decide(f);
	fake_sync(f);
}

static inline void
fake_pass(struct fake *f, int64_t ns)
{
	f->now_ns += ns;
	f->wall_ms += (uint64_t)(ns / NS_PER_MS);
	fake_turn(f);
}

/* Power off: what is not durable is gone.  Then on again, DOWN_MS later. */
static inline void
fake_crash(struct fake *f, int64_t down_ms)
{
	f->core = core_free(f->core);
	while (f->count > f->durable) {
		ck_assert_uint_lt(f->lost_count, FAKE_MAX);
		f->lost[f->lost_count++] = f->log[--f->count];
	}
	f->answer_count = f->check_count = f->publish_count = 0;
	memset(f->notes, 0, sizeof(f->notes));
	f->now_ns = 5 * NS_PER_S;
	f->wall_ms = (uint64_t)((int64_t)f->wall_ms + down_ms);
	f->core = core_new(&f->conf, &fake_ports, f);
	for (uint32_t i = f->first; i < f->count; i++) {
		struct place place = { i * FAKE_LEN, FAKE_LEN };

		ck_assert_int_eq(core_recover(f->core, &f->log[i], place), 0);
	}
	core_start(f->core, f->now_ns, f->wall_ms);
	fake_roll(f);
	fake_sync(f);
}

/* Everything up to now becomes one old segment, and is given up. */
static inline void
fake_reclaim(struct fake *f)
{
	uint32_t end = f->count;

	fake_roll(f);
	for (uint32_t i = f->first; i < end; i++) {
		struct place place = { i * FAKE_LEN, FAKE_LEN };

		if (f->log[i].type != ENTRY_STUB) {
			core_reclaim(f->core, &f->log[i], place);
		} else if (core_reclaim_stub(f->core, f->log[i].stub.gid.lo, place)) {
			uint64_t seq = f->log[i].stub.gid.lo;

			ck_assert_int_eq(fake_append(f, &f->log[i], &place), 0);
			core_moved(f->core, seq, place);
		}
	}
	fake_sync(f);
	f->first = end;
}

static inline const struct answer *
fake_last(const struct fake *f)
{
	ck_assert_uint_gt(f->answer_count, 0);
	return &f->answers[f->answer_count - 1].a;
}

/* A topic that Kafka has told us of. */
static inline void
fake_topic(struct fake *f, const char *name, int32_t partitions)
{
	core_route(f->core, (struct reply_to){ 99, 0 }, str_of(name));
	fake_turn(f);
	core_topic(f->core, str_of(name), TOPIC_HERE, partitions, 0);
	fake_turn(f);
	ck_assert_int_eq(fake_last(f)->code, ANSWER_OK);
	f->answer_count = 0;
}

static inline struct message
fake_message(const char *topic, const char *value)
{
	return (struct message){
		.topic = str_of(topic),
		.partition = -1,
		.value = str_of(value),
		.plain_bytes = (uint32_t)strlen(value),
	};
}

/* Half-sends one message; it is answered after the next fake_turn(). */
static inline void
fake_send(struct fake *f, uint64_t peer, const char *key, const char *value)
{
	struct message m = fake_message("t", value);
	struct half_request r = {
		.to = { peer, f->answer_count },
		.half = {
			.group = STR("g"),
			.key = str_of(key),
			.body_hash = hash_body(value, strlen(value), 0),
			.from = STR("1.2.3.4:5"),
			.kind = EDGE_ROCKETMQ,
			.count = 1,
			.messages = &m,
		},
	};

	core_half_send(f->core, &r);
	/* What it borrowed need not live longer than the turn, but must that long. */
	core_clock(f->core, f->now_ns, f->wall_ms);
	core_decide(f->core);
}

/* The whole of a half-send; its answer must be OK. */
static inline struct answer
fake_begin(struct fake *f, uint64_t peer, const char *key, const char *value)
{
	fake_send(f, peer, key, value);
	fake_sync(f);
	ck_assert_int_eq(fake_last(f)->code, ANSWER_OK);
	return *fake_last(f);
}

static inline void
fake_end(struct fake *f, const struct answer *a, uint64_t token, enum verdict verdict, bool check)
{
	struct end_request r = {
		.to = { 7, 1 },
		.peer = 7,
		.group = STR("g"),
		.seq = a->gid.lo,
		.token = token,
		.verdict = verdict,
		.from_check = check,
		.from = STR("1.2.3.4:5"),
	};

	core_end(f->core, &r);
}

static inline struct answer
fake_decided(struct fake *f, const struct answer *a, enum verdict verdict)
{
	fake_end(f, a, a->token, verdict, false);
	fake_turn(f);
	return *fake_last(f);
}

static inline struct row_view
fake_view(struct fake *f, struct gid gid)
{
	struct row_view v;

	ck_assert_int_eq(core_get(f->core, gid, &v), 0);
	return v;
}

#endif /* FAKE_PORTS_H */
