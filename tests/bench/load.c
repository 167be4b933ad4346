/*
 * load.c -- a load generator that speaks the remoting protocol as a Java client does.
 *
 * Measures what a producer sees: half-sends and pairs per second, their latencies, answers
 * by code; and writes down (--log) what was promised, so that a checker can compare it with
 * Kafka after crashes.  See README.md for the options and load.h for the shape.
 */
#include "load.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "cpu.h"
#include "options.h"
#include "stats.h"

#define VERSION      479
#define SECOND       INT64_C(1000000000)
#define HEARTBEAT_NS (30 * SECOND)
#define RETRY_NS     (SECOND / 50) /* after BUSY                                     */
#define RECONNECT_NS (SECOND / 20)
#define UNIQ         32
#define UNIQ_RUN     16 /* digits that name this run; then 6 of the producer, 10 of the count */

/*
 * opaque = count (12 bits) | producer (16) | END (1): an answer to a repeat must not be taken
 * for that of the next message.
 */
enum { OPAQUE_HEARTBEAT = 0x7F000000, OPAQUE_CHECK, OPAQUE_ROUTE };

/* One message on its way. */
struct txn {
	char uniq[UNIQ + 1];
	char gid[33];
	uint32_t topic;
	uint32_t body_at;
	uint32_t crc;
	uint32_t key;
	uint64_t n;       /* the producer's count: rises, so it rises per key too */
	int64_t start_ns; /* when it was due: waiting for us counts */
	int64_t sent_ns;
	int64_t log_offset;
	int64_t state_offset;
	uint64_t said_at; /* event at which END was said first; 0: not yet */
	enum wire_decision truth;
	bool silent;
};

struct producer {
	uint64_t n;
	struct txn half; /* sent, or answered and waiting for END of the one before */
	struct txn end;  /* being decided */
	bool half_out;
	bool half_ready;
	bool end_out;
};

struct retry {
	int64_t due_ns;
	uint32_t producer;
	bool end;
};

struct load {
	struct options o;
	struct peers peers;
	struct producer *producers;
	uint32_t *idle; /* paced: producers with nothing to do */
	uint32_t idle_count;
	struct retry *retries; /* a ring, as long as all that can be in it */
	uint64_t retry_head, retry_tail;
	uint8_t *pool;
	uint32_t body_next;
	char run[UNIQ_RUN + 1];
	char client_id[64];
	uint64_t seed;
	int64_t now_ns;
	int64_t wall_us;
	int64_t wall_ms;
	int64_t due_ns;  /* paced: the next start */
	uint32_t routes; /* topics that have one */
	int32_t queues[TOPICS_MAX];
	bool started;
	bool stopping;
	int failed;
	uint64_t complaints; /* only the first ten are told */
	FILE *log;
	uint64_t events;            /* END said, anything answered: which was before which */
	int64_t began_ns, ended_ns; /* of the measured part */
	bool measuring;
	struct hist half_hist, pair_hist;
	struct codes half_codes, end_codes, check_codes;
	uint64_t begun; /* half-sends, for --halves */
	uint64_t halves, commits, rollbacks, silents, checks, check_answers, repeats, timeouts;
};

static volatile sig_atomic_t interrupted;

static void
on_signal(int sig)
{
	(void)sig;
	interrupted = 1;
}

static int64_t
clock_ns(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return t.tv_sec * SECOND + t.tv_nsec;
}

static uint64_t
random_word(struct load *l)
{
	uint64_t z = (l->seed += UINT64_C(0x9E3779B97F4A7C15));

	z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
	return z ^ (z >> 31);
}

static void
hex(char *to, uint64_t v, int digits)
{
	while (digits-- > 0) {
		to[digits] = "0123456789ABCDEF"[v & 15];
		v >>= 4;
	}
}

/* ---- what is to come of a message: a function of its UNIQ_KEY --------------------------- */

static void
decide(const struct options *o, const char *uniq, enum wire_decision *ret_truth, bool *ret_silent)
{
	uint64_t h = UINT64_C(0xCBF29CE484222325);

	for (int i = 0; i < UNIQ; i++)
		h = (h ^ (uint8_t)uniq[i]) * UINT64_C(0x100000001B3);
	h ^= h >> 32;
	h *= UINT64_C(0x9E3779B97F4A7C15);
	*ret_truth = (double)(h >> 48) < o->rollback * 65536 ? WIRE_ROLLBACK : WIRE_COMMIT;
	*ret_silent = (double)(h >> 32 & 0xFFFF) < o->silent * 65536;
}

static void
log_line(struct load *l, const char *event, const struct txn *t)
{
	if (l->log == NULL || strtoull(t->gid + 16, NULL, 16) % l->o.log_every != 0)
		return;
	fprintf(l->log,
		"{\"e\":\"%s\",\"ms\":%lld,\"gid\":\"%s\",\"uniq\":\"%s\",\"topic\":\"%s\",\"crc\":"
		"%u,"
		"\"truth\":\"%s\",\"n\":%llu",
		event, (long long)l->wall_ms, t->gid, t->uniq, l->o.topics[t->topic], t->crc,
		t->truth == WIRE_COMMIT ? "commit" : "rollback", (unsigned long long)t->n);
	/* When it was said: of an END, what the broker is to publish began then. */
	fprintf(l->log, ",\"sent_us\":%lld",
		(long long)(l->wall_us - (l->now_ns - t->sent_ns) / 1000));
	fprintf(l->log, ",\"at\":%llu,\"said_at\":%llu", (unsigned long long)++l->events,
		(unsigned long long)t->said_at);
	if (l->o.keys > 0)
		fprintf(l->log, ",\"key\":\"k%u\"", t->key);
	fputs("}\n", l->log);
}

static int32_t
opaque_of(uint32_t producer, const struct txn *t, bool end)
{
	return (int32_t)((uint32_t)(t->n & 0xFFF) << 17 | producer << 1 | (end ? 1 : 0));
}

/* ---- sending ----------------------------------------------------------------------------- */

#define NO_BODY ((struct wire_str){ NULL, 0 })

static struct peer *
peer_of(struct load *l, uint32_t producer)
{
	return &l->peers.all[producer % l->peers.count];
}

static void
command(struct wire_command *c, int32_t code, int32_t opaque)
{
	wire_command_init(c, WIRE_BINARY, code);
	c->language = 0;
	c->version = VERSION;
	c->opaque = opaque;
}

static void
send_half(struct load *l, uint32_t i)
{
	struct txn *t = &l->producers[i].half;
	struct wire_command c WIRE_UNSET;
	char text[WIRE_SEND_TEXT] WIRE_UNSET;
	char properties[512] WIRE_UNSET;
	char *p = properties;
	const char *group = l->o.group;

	p = stpcpy(p, "UNIQ_KEY\001");
	p = stpcpy(p, t->uniq);
	p = stpcpy(p, "\002TRAN_MSG\001true\002PGROUP\001");
	p = stpcpy(p, group);
	p = stpcpy(p, "\002WAIT\001true\002");
	if (l->o.keys > 0)
		p += sprintf(p, "KEYS\001k%u\002", t->key);

	struct wire_send s = {
		.producer_group = { group, strlen(group) },
		.topic = { l->o.topics[t->topic], strlen(l->o.topics[t->topic]) },
		.default_topic = WIRE_STR("TBW102"),
		.default_topic_queue_nums = 4,
		.queue_id = (int32_t)((t->n + i) % (uint64_t)l->queues[t->topic]),
		.sys_flag = WIRE_SYS_PREPARED,
		.born_timestamp = l->wall_ms,
		.properties = { properties, (size_t)(p - properties) },
	};

	command(&c, WIRE_SEND_V2, opaque_of(i, t, false));
	wire_send_fields(&s, &c, text);
	t->sent_ns = l->now_ns;
	peer_send(&l->peers, peer_of(l, i), &c,
		  (struct wire_str){ (char *)l->pool + t->body_at, l->o.body });
}

static void
send_end(struct load *l, uint32_t i)
{
	struct txn *t = &l->producers[i].end;
	struct wire_command c WIRE_UNSET;
	char text[WIRE_END_TEXT] WIRE_UNSET;
	struct wire_end e = {
		.producer_group = { l->o.group, strlen(l->o.group) },
		.state_offset = t->state_offset,
		.log_offset = t->log_offset,
		.decision = t->truth,
		.msg_id = { t->uniq, UNIQ },
		.transaction_id = { t->gid, strlen(t->gid) },
		.topic = { l->o.topics[t->topic], strlen(l->o.topics[t->topic]) },
	};

	command(&c, WIRE_END_TRANSACTION, opaque_of(i, t, true));
	wire_end_fields(&e, &c, text);
	c.flag = l->o.oneway ? WIRE_ONEWAY : 0;
	t->sent_ns = l->now_ns;
	if (t->said_at == 0) /* and not when it is said again */
		t->said_at = ++l->events;
	peer_send(&l->peers, peer_of(l, i), &c, NO_BODY);
}

/*
 * Where the next body lies: they follow each other through the pool, from another byte each time
 * round, so that the processor has the next one ready.
 */
static uint32_t
body_place(struct load *l)
{
	uint32_t at = l->body_next;

	if (at + l->o.body > POOL)
		at = (uint32_t)(random_word(l) % (POOL - l->o.body));
	l->body_next = at + l->o.body;
	return at;
}

static void
begin(struct load *l, uint32_t i, int64_t due_ns)
{
	struct producer *p = &l->producers[i];
	struct txn *t = &p->half;

	p->n++;
	memcpy(t->uniq, l->run, UNIQ_RUN);
	hex(t->uniq + UNIQ_RUN, i, 6);
	hex(t->uniq + UNIQ_RUN + 6, p->n, UNIQ - UNIQ_RUN - 6);
	t->uniq[UNIQ] = '\0';
	t->gid[0] = '\0';
	t->n = p->n;
	t->topic = (uint32_t)((p->n + i) % l->o.topic_count);
	t->body_at = body_place(l);
	t->key = l->o.keys > 0 ? (uint32_t)(random_word(l) % l->o.keys) : 0;
	t->said_at = 0;
	t->crc = l->log != NULL ? wire_crc32(l->pool + t->body_at, l->o.body) : 0;
	t->start_ns = due_ns;
	decide(&l->o, t->uniq, &t->truth, &t->silent);
	p->half_out = true;
	send_half(l, i);
}

/* Producer I has nothing to do. */
static void
idle(struct load *l, uint32_t i)
{
	if (l->stopping || (l->o.halves > 0 && l->begun >= l->o.halves))
		return;
	l->begun++;
	if (l->o.rate > 0)
		l->idle[l->idle_count++] = i;
	else
		begin(l, i, l->now_ns);
}

static void
later(struct load *l, uint32_t i, bool end)
{
	uint64_t room = 2ull * l->o.producers;

	l->retries[l->retry_tail++ % room] = (struct retry){ l->now_ns + RETRY_NS, i, end };
}

/* ---- answers ----------------------------------------------------------------------------- */

static void
ended(struct load *l, uint32_t i)
{
	struct producer *p = &l->producers[i];
	struct txn *t = &p->end;

	if (l->measuring)
		hist_add(&l->pair_hist, l->now_ns - t->start_ns);
	if (t->truth == WIRE_COMMIT)
		l->commits++;
	else
		l->rollbacks++;
	log_line(l, t->truth == WIRE_COMMIT ? "commit" : "rollback", t);
	if (l->o.pairs > 0 && l->commits + l->rollbacks >= l->o.pairs)
		l->stopping = true;
}

/* The half of producer I was answered, and its END before is out of the way. */
static void
decide_half(struct load *l, uint32_t i)
{
	struct producer *p = &l->producers[i];

	p->half_ready = false;
	if (p->half.silent) {
		l->silents++;
		idle(l, i);
		return;
	}
	p->end = p->half;
	p->end_out = !l->o.oneway;
	send_end(l, i);
	if (l->o.oneway)
		ended(l, i);
	if (l->o.oneway || l->o.piggyback)
		idle(l, i);
}

static void
half_answered(struct load *l, uint32_t i, const struct wire_command *c)
{
	struct producer *p = &l->producers[i];
	const struct wire_field *id, *gid;

	if (!p->half_out)
		return; /* of a repeat, and answered before */
	codes_add(&l->half_codes, c->code);
	if (c->code == WIRE_SYSTEM_BUSY) {
		later(l, i, false);
		return;
	}
	p->half_out = false;
	if (c->code != WIRE_SUCCESS) {
		if (l->complaints++ < 10)
			fprintf(stderr, "load: half-send refused, %d %.*s\n", c->code,
				(int)c->remark.n, c->remark.p ? c->remark.p : "");
		log_line(l, "refused", &p->half);
		idle(l, i);
		return;
	}
	id = wire_field(c, "msgId");
	gid = wire_field(c, "transactionId");
	if (id == NULL || wire_msg_id_parse(id->value, &p->half.log_offset) < 0 ||
	    !wire_field_i64(c, "queueOffset", &p->half.state_offset) || gid == NULL ||
	    gid->value.n != 32) {
		fprintf(stderr, "load: an answer to a half-send without its tokens\n");
		l->failed = 1;
		l->stopping = true;
		return;
	}
	memcpy(p->half.gid, gid->value.p, 32);
	p->half.gid[32] = '\0';
	l->halves++;
	if (l->measuring)
		hist_add(&l->half_hist, l->now_ns - p->half.start_ns);
	log_line(l, "half", &p->half);
	if (p->end_out)
		p->half_ready = true;
	else
		decide_half(l, i);
}

static void
end_answered(struct load *l, uint32_t i, const struct wire_command *c)
{
	struct producer *p = &l->producers[i];

	if (!p->end_out)
		return;
	codes_add(&l->end_codes, c->code);
	if (c->code == WIRE_SYSTEM_BUSY) {
		later(l, i, true);
		return;
	}
	p->end_out = false;
	if (c->code == WIRE_SUCCESS) {
		ended(l, i);
	} else {
		if (l->complaints++ < 10)
			fprintf(stderr, "load: END of %s refused, %d %.*s\n", p->end.gid, c->code,
				(int)c->remark.n, c->remark.p ? c->remark.p : "");
		log_line(l, "end-refused", &p->end);
	}
	if (p->half_ready)
		decide_half(l, i);
	else if (!l->o.piggyback) /* there the next half-send went with it */
		idle(l, i);
}

/*
 * A check: the truth of its UNIQ_KEY, or unknown when it is one of ours whose half-send
 * was not answered yet, for then the local transaction has not begun.
 */
static void
check_asked(struct load *l, struct peer *peer, const struct wire_command *c)
{
	struct wire_message m;
	struct wire_str uniq, group, gid;
	struct wire_end e = { .from_check = true };
	struct wire_command reply WIRE_UNSET;
	char text[WIRE_END_TEXT] WIRE_UNSET;
	char index[7] = "";
	bool silent;

	l->checks++;
	if (wire_message_decode(c->body.p, c->body.n, &m) < 0 ||
	    !wire_property_find(m.properties, "UNIQ_KEY", &uniq) || uniq.n != UNIQ ||
	    !wire_property_find(m.properties, "PGROUP", &group) ||
	    !wire_property_find(m.properties, "__transactionId__", &gid) ||
	    !wire_field_i64(c, "tranStateTableOffset", &e.state_offset) ||
	    !wire_field_i64(c, "commitLogOffset", &e.log_offset)) {
		fprintf(stderr, "load: a check that cannot be answered\n");
		l->failed = 1;
		return;
	}
	if (!l->o.answer_checks)
		return;
	decide(&l->o, uniq.p, &e.decision, &silent);
	if (l->o.answer_unknown)
		e.decision = WIRE_UNKNOWN;
	if (memcmp(uniq.p, l->run, UNIQ_RUN) == 0) {
		memcpy(index, uniq.p + UNIQ_RUN, 6);
		unsigned long i = strtoul(index, NULL, 16);

		if (i < l->o.producers && l->producers[i].half_out &&
		    memcmp(l->producers[i].half.uniq, uniq.p, UNIQ) == 0)
			e.decision = WIRE_UNKNOWN;
	}
	e.producer_group = group;
	e.msg_id = uniq;
	e.transaction_id = gid;
	e.topic = m.topic;
	command(&reply, WIRE_END_TRANSACTION, OPAQUE_CHECK);
	wire_end_fields(&e, &reply, text);
	l->check_answers++;
	if (l->log != NULL)
		fprintf(l->log,
			"{\"e\":\"check\",\"ms\":%lld,\"gid\":\"%.*s\",\"uniq\":\"%.*s\",\"said\":%"
			"d}\n",
			(long long)l->wall_ms, (int)gid.n, gid.p, (int)uniq.n, uniq.p, e.decision);
	peer_send(&l->peers, peer, &reply, NO_BODY);
}

/* ---- connections ------------------------------------------------------------------------- */

static void
ask_route(struct load *l, struct peer *peer, uint32_t topic)
{
	struct wire_command c WIRE_UNSET;

	command(&c, WIRE_ROUTE, OPAQUE_ROUTE + (int32_t)topic);
	wire_add(&c, WIRE_STR("topic"),
		 (struct wire_str){ l->o.topics[topic], strlen(l->o.topics[topic]) });
	peer_send(&l->peers, peer, &c, NO_BODY);
}

static void
route_answered(struct load *l, uint32_t topic, const struct wire_command *c)
{
	static const char name[] = "\"writeQueueNums\":";
	const char *at = c->body.n ? memmem(c->body.p, c->body.n, name, sizeof(name) - 1) : NULL;

	if (l->queues[topic] > 0)
		return;
	if (c->code != WIRE_SUCCESS || at == NULL) {
		/* A topic made a moment ago may not be known yet: asked again each second. */
		fprintf(stderr, "load: no route of %s yet: %d %.*s\n", l->o.topics[topic], c->code,
			(int)c->remark.n, c->remark.p ? c->remark.p : "");
		return;
	}
	l->queues[topic] = atoi(at + sizeof(name) - 1);
	if (l->queues[topic] <= 0)
		l->queues[topic] = 1;
	l->routes++;
}

static void
heartbeat(struct load *l, struct peer *peer)
{
	struct wire_command c WIRE_UNSET;
	static struct wire_heartbeat h; /* 4 KiB, and the same for all */
	char body[512];
	size_t n = 0;

	h.client_id = (struct wire_str){ l->client_id, strlen(l->client_id) };
	h.group_count = 1;
	h.groups[0] = (struct wire_str){ l->o.group, strlen(l->o.group) };
	if (wire_heartbeat_encode(&h, body, sizeof(body), &n) < 0)
		return;
	command(&c, WIRE_HEARTBEAT, OPAQUE_HEARTBEAT);
	c.body = (struct wire_str){ body, n };
	peer_send(&l->peers, peer, &c, NO_BODY);
}

void
load_opened(struct load *l, struct peer *peer)
{
	heartbeat(l, peer);
	for (uint32_t t = 0; peer->index == 0 && t < l->o.topic_count; t++)
		if (l->queues[t] == 0)
			ask_route(l, peer, t);
	/* What was on its way when the last connection went: the same bytes, the same key. */
	for (uint32_t i = peer->index; i < l->o.producers; i += l->peers.count) {
		if (l->producers[i].end_out) {
			send_end(l, i);
			l->repeats++;
		}
		if (l->producers[i].half_out) {
			send_half(l, i);
			l->repeats++;
		}
	}
}

void
load_closed(struct load *l, struct peer *peer, const char *why)
{
	if (!l->o.reconnect) {
		fprintf(stderr, "load: connection %u: %s\n", peer->index, why);
		l->failed = 1;
		l->stopping = true;
	}
	peer_close(&l->peers, peer, l->now_ns + RECONNECT_NS);
}

void
load_frame(struct load *l, struct peer *peer, const struct wire_command *c)
{
	if (!(c->flag & WIRE_RESPONSE)) {
		if (c->code == WIRE_CHECK_TRANSACTION)
			check_asked(l, peer, c);
	} else if (c->opaque == OPAQUE_CHECK) {
		codes_add(&l->check_codes, c->code);
	} else if (c->opaque >= OPAQUE_ROUTE) {
		if (c->opaque - OPAQUE_ROUTE < TOPICS_MAX)
			route_answered(l, (uint32_t)(c->opaque - OPAQUE_ROUTE), c);
	} else if (c->opaque >= 0 && ((uint32_t)c->opaque >> 1 & 0xFFFF) < l->o.producers) {
		uint32_t i = (uint32_t)c->opaque >> 1 & 0xFFFF;
		struct producer *p = &l->producers[i];

		if (c->opaque & 1 && c->opaque == opaque_of(i, &p->end, true))
			end_answered(l, i, c);
		else if (c->opaque == opaque_of(i, &p->half, false))
			half_answered(l, i, c);
	}
}

/* ---- time -------------------------------------------------------------------------------- */

static void
retry_due(struct load *l)
{
	uint64_t room = 2ull * l->o.producers;

	while (l->retry_head < l->retry_tail &&
	       l->retries[l->retry_head % room].due_ns <= l->now_ns) {
		struct retry r = l->retries[l->retry_head++ % room];
		struct producer *p = &l->producers[r.producer];

		if (r.end && p->end_out)
			send_end(l, r.producer);
		else if (!r.end && p->half_out && !l->stopping)
			send_half(l, r.producer);
		else if (!r.end)
			p->half_out = false;
	}
}

/* Once a second: heartbeats, routes that are missing, answers that never came. */
static void
every_second(struct load *l, int64_t second)
{
	int64_t late = l->now_ns - (int64_t)(l->o.timeout * (double)SECOND);

	for (uint32_t i = 0; i < l->peers.count; i++)
		if (l->peers.all[i].open && second % (HEARTBEAT_NS / SECOND) == 0)
			heartbeat(l, &l->peers.all[i]);
	for (uint32_t t = 0; t < l->o.topic_count; t++)
		if (l->queues[t] == 0 && l->peers.all[0].open)
			ask_route(l, &l->peers.all[0], t);
	for (uint32_t i = 0; i < l->o.producers; i++) {
		struct producer *p = &l->producers[i];
		struct peer *peer = peer_of(l, i);

		if (peer->open && ((p->half_out && p->half.sent_ns < late) ||
				   (p->end_out && p->end.sent_ns < late))) {
			l->timeouts++;
			load_closed(l, peer, "no answer in time");
		}
	}
}

static void
pace(struct load *l)
{
	int64_t step = (int64_t)((double)SECOND / l->o.rate);

	while (!l->stopping && l->idle_count > 0 && l->due_ns <= l->now_ns) {
		begin(l, l->idle[--l->idle_count], l->due_ns);
		l->due_ns += step > 0 ? step : 1;
	}
}

static bool
busy(const struct load *l)
{
	for (uint32_t i = 0; i < l->o.producers; i++)
		if (l->producers[i].half_out || l->producers[i].end_out ||
		    l->producers[i].half_ready)
			return true;
	return false;
}

static void
report(struct load *l, double own, double other)
{
	double seconds = (double)(l->ended_ns - l->began_ns) / (double)SECOND;
	double pairs = (double)(l->pair_hist.n > 0 ? l->pair_hist.n : 1);

	printf("{\"pairs_per_s\":%.0f,\"halves_per_s\":%.0f,\"seconds\":%.2f,\"producers\":%u,"
	       "\"connections\":%u,",
	       (double)l->pair_hist.n / seconds, (double)l->half_hist.n / seconds, seconds,
	       l->o.producers, l->o.connections);
	hist_print(stdout, "half_us", &l->half_hist);
	printf(",");
	hist_print(stdout, "pair_us", &l->pair_hist);
	printf(",\"load_cpu_us_per_pair\":%.2f,\"daemon_cpu_us_per_pair\":%.2f,", own * 1e6 / pairs,
	       other * 1e6 / pairs);
	codes_print(stdout, "half_answers", &l->half_codes);
	printf(",");
	codes_print(stdout, "end_answers", &l->end_codes);
	printf(",");
	codes_print(stdout, "check_answers", &l->check_codes);
	printf(",\"halves\":%llu,\"commits\":%llu,\"rollbacks\":%llu,\"silent\":%llu,\"checks\":%"
	       "llu,"
	       "\"checks_answered\":%llu,\"reconnects\":%llu,\"repeats\":%llu,\"timeouts\":%llu,"
	       "\"unanswered\":%s}\n",
	       (unsigned long long)l->halves, (unsigned long long)l->commits,
	       (unsigned long long)l->rollbacks, (unsigned long long)l->silents,
	       (unsigned long long)l->checks, (unsigned long long)l->check_answers,
	       (unsigned long long)l->peers.reconnects, (unsigned long long)l->repeats,
	       (unsigned long long)l->timeouts, busy(l) ? "true" : "false");
}

static int
run(struct load *l)
{
	int64_t start_ns = clock_ns(CLOCK_MONOTONIC), second = 0, give_up_ns = INT64_MAX;
	double own = 0, other = 0;

	l->now_ns = start_ns;
	for (;;) {
		int64_t wait_ns = SECOND / 20;

		if (l->started && l->o.rate > 0 && l->idle_count > 0 && !l->stopping)
			wait_ns = l->due_ns - l->now_ns;
		if (l->retry_head < l->retry_tail && wait_ns > RETRY_NS)
			wait_ns = RETRY_NS;
		peers_poll(&l->peers, wait_ns > 0 ? wait_ns : 0);
		l->now_ns = clock_ns(CLOCK_MONOTONIC);
		l->wall_us = clock_ns(CLOCK_REALTIME) / 1000;
		l->wall_ms = l->wall_us / 1000;

		for (uint32_t i = 0; i < l->peers.count; i++) {
			struct peer *peer = &l->peers.all[i];

			if (peer->fd < 0 && peer->again_ns <= l->now_ns &&
			    !peer_connect(&l->peers, peer))
				load_closed(l, peer, strerror(errno));
		}
		if ((l->now_ns - start_ns) / SECOND > second) {
			second = (l->now_ns - start_ns) / SECOND;
			every_second(l, second);
		}
		if (!l->started && l->routes == l->o.topic_count) {
			l->started = true;
			start_ns = l->due_ns = l->now_ns;
			second = 0;
			for (uint32_t i = 0; i < l->o.producers; i++)
				idle(l, i);
		}
		retry_due(l);
		if (l->started && l->o.rate > 0)
			pace(l);
		peers_flush(&l->peers);

		double since = (double)(l->now_ns - start_ns) / (double)SECOND;

		if (!l->measuring && l->began_ns == 0 && l->started && since >= l->o.warmup) {
			l->measuring = true;
			l->began_ns = l->now_ns;
			own = cpu_own_s();
			other = cpu_of_s(l->o.pid);
		}
		if (!l->started && since > 30) {
			fprintf(stderr, "load: no route of every topic within 30 s\n");
			return 1;
		}
		if (interrupted || (l->measuring && since >= l->o.warmup + l->o.seconds))
			l->stopping = true;
		if (l->o.halves > 0 && !l->o.listen && l->begun >= l->o.halves && !busy(l))
			l->stopping = true;
		if (l->stopping && give_up_ns == INT64_MAX) {
			l->measuring = false;
			l->ended_ns = l->now_ns;
			own = cpu_own_s() - own;
			other = cpu_of_s(l->o.pid) - other;
			give_up_ns = l->now_ns + 10 * SECOND;
		}
		if (l->stopping && (l->failed || !busy(l) || l->now_ns > give_up_ns))
			break;
	}
	report(l, own, other);
	return l->failed;
}

/* ---- main --------------------------------------------------------------------------------- */

int
main(int argc, char **argv)
{
	static struct load load;
	struct load *l = &load;
	uint64_t words[2];

	if (!options_parse(&l->o, argc, argv))
		return 2;
	if (l->o.log != NULL && (l->log = fopen(l->o.log, "a")) == NULL) {
		perror(l->o.log);
		return 2;
	}
	if (getrandom(words, sizeof(words), 0) != sizeof(words))
		return 1;
	l->seed = words[0];
	hex(l->run, 0x7F000001, 8);
	hex(l->run + 8, words[1], 8);
	snprintf(l->client_id, sizeof(l->client_id), "127.0.0.1@%d#%llx", (int)getpid(),
		 (unsigned long long)words[1]);
	l->pool = malloc(POOL);
	l->producers = calloc(l->o.producers, sizeof(*l->producers));
	l->idle = calloc(l->o.producers, sizeof(*l->idle));
	l->retries = calloc(2ull * l->o.producers, sizeof(*l->retries));
	if (l->pool == NULL || l->producers == NULL || l->idle == NULL || l->retries == NULL ||
	    !peers_init(&l->peers, l, l->o.address, l->o.connections, l->o.trace)) {
		fprintf(stderr, "load: no memory, or --address is not IP:PORT\n");
		return 1;
	}
	for (size_t i = 0; i < POOL; i += 8) {
		uint64_t w = random_word(l);

		memcpy(l->pool + i, &w, sizeof(w));
	}

	struct sigaction stop = { .sa_handler = on_signal };

	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGTERM, &stop, NULL);

	int rc = run(l);

	if (l->log != NULL && fclose(l->log) != 0) {
		perror("load: --log");
		rc = 1;
	}
	return rc;
}
