/*
 * producers.c -- see producers.h.
 *
 * A job is one message on its way:
 *
 *      IDLE -> SENDING -> LOCAL -> ENDING -> IDLE
 *                 ^  |                |
 *                 +--+ timeout,       +-> (silent) IDLE
 *                      connection lost
 */
#include "sim/producers.h"

#include <inttypes.h>

#include "base/buf.h"
#include "base/log.h"
#include "sim/digits.h"
#include "wire/wire.h"

#define RX_BYTES    65536
#define ANSWERS_MAX 64
#define TRIES_MAX   6
#define STRANGER    (1 << 30)       /* opaques from here on are of requests that must be refused */
#define ALTERED     (1 << 29)       /* ... and those of half-sends with another body than before */
#define ANEW_NS     (2 * NS_PER_S)  /* what was rolled back is tried again so soon */
#define DEAF_NS     (70 * NS_PER_S) /* after so much silence a client connects anew */

enum job_state { JOB_IDLE, JOB_SENDING, JOB_LOCAL, JOB_ENDING };

struct job {
	enum job_state state;
	uint32_t message;
	uint32_t tries;
	int32_t opaque;
	int64_t due_ns; /* of the timeout, of the local transaction's end; 0: at once */
	uint64_t asked; /* oracle step of the attempt */
	struct gid gid;
	int64_t seq;
	int64_t token;
	enum verdict verdict;
	bool silent;
	bool repeated; /* answered once already, sent again on purpose */
	bool again;    /* committed already, and sent again by mistake */
};

/* An answer to a check that is sent later. */
struct late_answer {
	int64_t due_ns;
	struct gid gid;
	int64_t seq;
	int64_t token;
	enum verdict verdict;
};

struct producer {
	uint32_t number;
	char group[16];
	bool binary;
	bool fenced;
	struct net_sim_client *conn;
	int64_t connect_ns; /* not before */
	int64_t heartbeat_ns;
	int64_t heard_ns; /* when bytes last came */
	int32_t opaque;
	char rx[RX_BYTES];
	size_t rx_len;
	struct job *jobs;
	struct late_answer answers[ANSWERS_MAX];
	uint32_t answer_count;
};

struct producers {
	struct producers_knobs knobs;
	struct net_sim *net;
	struct oracle *oracle;
	const char *address;
	struct rng_sim rng;
	struct producer *all;
	uint32_t begun;
	bool settling;
	int64_t now_ns;
	struct buf tx, body, properties; /* kept: each frame needs them */
	struct producers_counts counts;
};

struct producers *
producers_new(const struct producers_knobs *knobs, struct net_sim *net, struct oracle *oracle,
	      const char *address, uint64_t seed)
{
	struct producers *p = mem_alloc(sizeof(*p));

	p->knobs = *knobs;
	p->net = net;
	p->oracle = oracle;
	p->address = address;
	rng_sim_init(&p->rng, seed);
	p->all = mem_alloc(knobs->producers * sizeof(*p->all));
	for (uint32_t i = 0; i < knobs->producers; i++) {
		struct producer *one = &p->all[i];

		one->number = i;
		snprintf(one->group, sizeof(one->group), "g%" PRIu32, i % knobs->groups);
		one->binary = rng_sim_chance(&p->rng, 500);
		one->fenced = rng_sim_chance(&p->rng, knobs->fenced_permille);
		one->jobs = mem_alloc(knobs->jobs * sizeof(*one->jobs));
		one->opaque = 1;
	}
	return p;
}

struct producers *
producers_free(struct producers *p)
{
	if (!p)
		return NULL;
	for (uint32_t i = 0; i < p->knobs.producers; i++) {
		if (p->all[i].conn)
			net_sim_close(p->all[i].conn, true);
		mem_free(p->all[i].jobs);
	}
	mem_free(p->all);
	buf_free(&p->tx);
	buf_free(&p->body);
	buf_free(&p->properties);
	mem_free(p);
	return NULL;
}

/* ---- requests ---------------------------------------------------------------------------- */

static void
drop(struct producers *p, struct producer *one)
{
	if (!one->conn)
		return;
	net_sim_close(one->conn, rng_sim_chance(&p->rng, 500));
	one->conn = NULL;
	one->rx_len = 0;
	one->connect_ns = p->now_ns + (int64_t)rng_sim_below(&p->rng, 500) * NS_PER_MS;
	for (uint32_t i = 0; i < p->knobs.jobs; i++) {
		struct job *j = &one->jobs[i];

		if (j->state == JOB_SENDING || j->state == JOB_ENDING)
			j->due_ns = one->connect_ns; /* its answer can no longer come */
		j->opaque = 0;
	}
}

static void
put(struct wire_command *c, const char *name, struct wire_str value)
{
	c->fields[c->field_count++] = (struct wire_field){ { name, strlen(name) }, value };
}

/* A line of the story for --trace. */
static void
tell(const struct producer *one, const char *what, uint32_t message, uint64_t seq, int value)
{
	if (log_enabled(LOG_TRACE))
		log_write(LOG_TRACE, what,
			  "producer=%" PRIu32 " message=%" PRIu32 " seq=%" PRIu64 " value=%d",
			  one->number, message, seq, value);
}

static struct wire_str
wstr(const char *text)
{
	return (struct wire_str){ text, strlen(text) };
}

static void
send_command(struct producers *p, struct producer *one, struct wire_command *c)
{
	size_t n = 0;
	char *at;

	c->type = one->binary ? WIRE_BINARY : WIRE_JSON;
	c->version = 475;
	buf_reset(&p->tx, 1 << 20);
	at = buf_reserve(&p->tx, c->body.n + 16384);
	CHECK(wire_encode(c, at, c->body.n + 16384, &n) == 0, n);
	if (rng_sim_chance(&p->rng, p->knobs.twice_permille) && !p->settling &&
	    net_sim_send(one->conn, at, n))
		p->counts.twice++;
	if (!net_sim_send(one->conn, at, n))
		drop(p, one);
}

/* The half-send of a message; ALTERED: with another body under its key, which must not pass. */
static void
half_frame(struct producers *p, struct producer *one, uint32_t message, int32_t opaque,
	   bool altered)
{
	struct wire_command c = { 0 };
	struct wire_send s = { 0 };
	struct buf *body = &p->body, *props = &p->properties;
	char text[WIRE_SEND_TEXT] UNINITIALIZED, topic[32]; /* or another name */
	bool plain = oracle_is_plain(p->oracle, message);
	size_t at;

	buf_reset(body, SIZE_MAX);
	buf_reset(props, SIZE_MAX);
	oracle_body(p->oracle, message, body);
	if (altered)
		buf_u8(body, '!');
	(void)digits(topic, "u", message);
	buf_str(props, STR("UNIQ_KEY\001"));
	buf_str(props, str_of(topic));
	buf_str(props, STR("\002WAIT\001true\002"));
	if (!plain) {
		buf_str(props, STR("TRAN_MSG\001true\002PGROUP\001"));
		buf_str(props, str_of(one->group));
		buf_u8(props, 2);
	}
	at = props->len;
	buf_str(props, STR("KEYS\001"));
	oracle_key(p->oracle, message, props);
	if (props->len == at + strlen("KEYS\001"))
		props->len = at; /* it has none */
	else
		buf_u8(props, 2);
	(void)digits(topic, "topic", oracle_topic(p->oracle, message));
	s.producer_group = wstr(one->group);
	s.topic = wstr(topic);
	s.default_topic = wstr("TBW102");
	s.default_topic_queue_nums = 4;
	s.queue_id = (int32_t)rng_sim_below(&p->rng, 4);
	s.sys_flag = plain ? 0 : WIRE_SYS_PREPARED;
	s.born_timestamp = p->now_ns / NS_PER_MS;
	s.properties = (struct wire_str){ props->data, props->len };
	c.code = one->binary ? WIRE_SEND_V2 : WIRE_SEND;
	c.opaque = opaque;
	c.body = (struct wire_str){ body->data, body->len };
	wire_send_fields(&s, &c, text);
	send_command(p, one, &c);
}

static void
send_half(struct producers *p, struct producer *one, struct job *j)
{
	j->opaque = one->opaque++;
	j->state = JOB_SENDING;
	j->tries++;
	j->asked = oracle_now(p->oracle);
	j->due_ns = p->now_ns + p->knobs.timeout_ns;
	oracle_half_invoked(p->oracle, j->message);
	tell(one, "half-send", j->message, 0, (int)j->tries);
	half_frame(p, one, j->message, j->opaque, false);
}

static void
send_end_frame(struct producers *p, struct producer *one, struct gid gid, int64_t seq,
	       int64_t token, enum verdict verdict, bool from_check, int32_t opaque)
{
	struct wire_command c = { 0 };
	char seq_text[24], token_text[24], gid_text[GID_TEXT];
	const char *said = verdict == VERDICT_COMMIT     ? "8"
			   : verdict == VERDICT_ROLLBACK ? "12"
							 : "0";

	(void)digits(seq_text, "", seq);
	(void)digits(token_text, "", token);
	gid_format(gid, gid_text);
	c.code = WIRE_END_TRANSACTION;
	c.opaque = opaque;
	c.flag = from_check ? WIRE_ONEWAY : 0;
	put(&c, "producerGroup", wstr(one->group));
	put(&c, "tranStateTableOffset", wstr(token_text));
	put(&c, "commitLogOffset", wstr(seq_text));
	put(&c, "commitOrRollback", wstr(said));
	put(&c, "fromTransactionCheck", wstr(from_check ? "true" : "false"));
	put(&c, "transactionId", wstr(gid_text));
	send_command(p, one, &c);
}

static void
send_end(struct producers *p, struct producer *one, struct gid gid, int64_t seq, int64_t token,
	 enum verdict verdict, bool from_check, int32_t opaque)
{
	oracle_decide_invoked(p->oracle, gid, verdict);
	tell(one, from_check ? "says, asked" : "says", 0, gid.lo, (int)verdict);
	send_end_frame(p, one, gid, seq, token, verdict, from_check, opaque);
}

static void
send_heartbeat(struct producers *p, struct producer *one)
{
	struct wire_command c = { 0 };
	char body[160];

	snprintf(body, sizeof(body),
		 "{\"clientID\":\"10.0.0.%" PRIu32
		 "@1\",\"consumerDataSet\":[],\"producerDataSet\":["
		 "{\"groupName\":\"%s\"}]}",
		 one->number, one->group);
	c.code = WIRE_HEARTBEAT;
	c.opaque = one->opaque++;
	c.body = wstr(body);
	one->heartbeat_ns = p->now_ns + 30 * NS_PER_S;
	send_command(p, one, &c);
}

/* ---- answers -------------------------------------------------------------------------------- */

static struct job *
job_of(struct producers *p, struct producer *one, int32_t opaque)
{
	for (uint32_t i = 0; i < p->knobs.jobs; i++) {
		if (one->jobs[i].opaque == opaque && one->jobs[i].state != JOB_IDLE)
			return &one->jobs[i];
	}
	return NULL;
}

static void
job_over(struct job *j)
{
	memset(j, 0, sizeof(*j));
}

/* The half-send was answered: the local transaction runs now, unless the fence forbids it. */
static void
begin_local(struct producers *p, struct job *j)
{
	enum truth truth = oracle_truth(p->oracle, j->gid);

	if (truth == TRUTH_COMMIT || truth == TRUTH_ROLLBACK) {
		/* a repeat, or the fence was there first */
		j->verdict = truth == TRUTH_COMMIT ? VERDICT_COMMIT : VERDICT_ROLLBACK;
		j->due_ns = 0;
	} else {
		oracle_local(p->oracle, j->gid, TRUTH_RUNNING);
		j->verdict = rng_sim_chance(&p->rng, p->knobs.rollback_permille) ? VERDICT_ROLLBACK
										 : VERDICT_COMMIT;
		j->due_ns = rng_sim_chance(&p->rng, p->knobs.slow_permille)
				    ? p->now_ns + (int64_t)rng_sim_below(&p->rng,
									 (uint64_t)p->knobs.slow_ns)
				    : p->now_ns;
	}
	j->silent = rng_sim_chance(&p->rng, p->knobs.silent_permille);
	j->state = JOB_LOCAL;
	j->tries = 0;
}

/* Its key may be free again, then it is a new transaction; but never one that is under way. */
static void
on_altered_answer(struct producers *p, struct producer *one, const struct wire_command *c)
{
	const struct wire_field *id = wire_field(c, "transactionId");
	struct gid gid;

	if (c->code != WIRE_SUCCESS || !id ||
	    gid_parse(str_from(id->value.p, id->value.n), &gid) != 0)
		return;
	for (uint32_t i = 0; i < p->knobs.jobs; i++) {
		if (one->jobs[i].state != JOB_IDLE && gid_eq(one->jobs[i].gid, gid))
			oracle_fail(p->oracle,
				    "I-3 another body under the key of seq %" PRIu64
				    " was taken for a repeat",
				    gid.lo);
	}
}

static void
on_half_answer(struct producers *p, struct producer *one, struct job *j,
	       const struct wire_command *c)
{
	const struct wire_field *id = wire_field(c, "transactionId");
	const struct wire_field *msg_id = wire_field(c, "msgId");

	if (j->again && c->code == WIRE_SUCCESS)
		oracle_half_again(p->oracle, j->message);
	p->counts.busy += c->code == WIRE_SYSTEM_BUSY;
	if (j->again || c->code != WIRE_SUCCESS) {
		if (j->again || c->code == WIRE_MESSAGE_ILLEGAL || j->tries >= TRIES_MAX)
			job_over(j); /* decided already, or given up */
		else
			j->due_ns = p->now_ns + 200 * NS_PER_MS, j->opaque = 0;
		return;
	}
	if (!id || gid_parse(str_from(id->value.p, id->value.n), &j->gid) != 0 ||
	    !wire_field_i64(c, "queueOffset", &j->token) || !msg_id ||
	    wire_msg_id_parse(msg_id->value, &j->seq) != 0) {
		oracle_fail(p->oracle, "an answer to a half-send without gid or tokens");
		return;
	}
	oracle_half_ok(p->oracle, j->message, j->gid, j->asked);
	tell(one, "half-send ok", j->message, j->gid.lo, 0);
	if (oracle_is_plain(p->oracle, j->message)) {
		job_over(j);
		return;
	}
	if (!j->repeated && rng_sim_chance(&p->rng, p->knobs.repeat_permille)) {
		j->repeated = true; /* as if this answer had been lost on the last metre */
		p->counts.repeats++;
		if (rng_sim_chance(&p->rng, p->knobs.altered_permille))
			half_frame(p, one, j->message, ALTERED + one->opaque, true);
		if (one->conn)
			send_half(p, one, j);
		return;
	}
	begin_local(p, j);
}

/* The same message, under the same key, within so much time. */
static void
send_again(struct producers *p, struct job *j, uint64_t within_ns)
{
	uint32_t message = j->message;

	job_over(j);
	j->message = message;
	j->state = JOB_SENDING;
	j->due_ns = p->now_ns + (int64_t)rng_sim_below(&p->rng, within_ns);
}

static void
on_end_answer(struct producers *p, struct producer *one, struct job *j,
	      const struct wire_command *c)
{
	tell(one, "END answered", j->message, j->gid.lo, c->code);
	if (c->code == WIRE_SUCCESS)
		oracle_decide_ok(p->oracle, j->gid, j->verdict);
	else if (c->code == WIRE_TRANSACTION_FAILED)
		oracle_decide_refused(p->oracle, j->gid, j->verdict);
	else if (c->code == WIRE_SYSTEM_ERROR)
		oracle_decide_lost(p->oracle, j->gid);
	else if (c->code == WIRE_SYSTEM_BUSY && !p->knobs.ends_may_wait)
		oracle_fail(p->oracle, "I-14 a decision of seq %" PRIu64 " was answered busy",
			    j->gid.lo);
	if (c->code == WIRE_SUCCESS && j->verdict == VERDICT_COMMIT &&
	    rng_sim_chance(&p->rng, p->knobs.repeat_permille)) {
		send_again(p, j, (uint64_t)p->knobs.again_ns);
		j->again = true;
		return;
	}
	if (c->code == WIRE_SUCCESS && j->verdict == VERDICT_ROLLBACK && !p->settling &&
	    rng_sim_chance(&p->rng, p->knobs.anew_permille)) {
		send_again(p, j, ANEW_NS);
		p->counts.anew++;
		return;
	}
	job_over(j);
}

/* Is somebody waiting for the answer to a half-send of this message right now? */
static bool
attempt_open(const struct producers *p, uint32_t message)
{
	for (uint32_t i = 0; i < p->knobs.producers; i++) {
		const struct producer *one = &p->all[i];

		for (uint32_t k = 0; k < p->knobs.jobs; k++) {
			const struct job *j = &one->jobs[k];

			if (j->message == message && j->state == JOB_SENDING && j->opaque)
				return true;
		}
	}
	return false;
}

static enum verdict
ask_database(struct producers *p, struct producer *one, struct gid gid, uint32_t message)
{
	switch (oracle_truth(p->oracle, gid)) {
	case TRUTH_COMMIT:
		return VERDICT_COMMIT;
	case TRUTH_ROLLBACK:
		return VERDICT_ROLLBACK;
	case TRUTH_RUNNING:
		return VERDICT_UNKNOWN;
	case TRUTH_NONE:
		if (attempt_open(p, message))
			return VERDICT_UNKNOWN;
		if (one->fenced)
			oracle_local(p->oracle, gid, TRUTH_ROLLBACK);
		else
			p->counts.stale_rollbacks++;
		return VERDICT_ROLLBACK; /* "no such order" */
	}
	abort();
}

static enum verdict
perhaps_flipped(struct producers *p, struct gid gid, enum verdict verdict)
{
	if (verdict == VERDICT_UNKNOWN || p->settling ||
	    !rng_sim_chance(&p->rng, p->knobs.flip_permille))
		return verdict;
	p->counts.flips++;
	oracle_force(p->oracle, gid);
	return verdict == VERDICT_COMMIT ? VERDICT_ROLLBACK : VERDICT_COMMIT;
}

static void
on_check(struct producers *p, struct producer *one, const struct wire_command *c)
{
	struct wire_message m;
	struct wire_str id, uniq;
	struct late_answer a = { .due_ns = p->now_ns };
	int64_t slow = p->knobs.slow_ns;

	p->counts.checks++;
	if (wire_message_decode(c->body.p, c->body.n, &m) != 0 ||
	    !wire_property_find(m.properties, "__transactionId__", &id) ||
	    gid_parse(str_from(id.p, id.n), &a.gid) != 0 ||
	    !wire_property_find(m.properties, "UNIQ_KEY", &uniq) || uniq.n < 2 ||
	    !wire_field_i64(c, "commitLogOffset", &a.seq) ||
	    !wire_field_i64(c, "tranStateTableOffset", &a.token)) {
		oracle_fail(p->oracle, "a check that cannot be read");
		return;
	}
	oracle_check_received(p->oracle, a.gid);
	if (!p->settling && rng_sim_chance(&p->rng, p->knobs.mute_permille)) {
		p->counts.odd++;
		return;
	}
	if (!p->settling && rng_sim_chance(&p->rng, p->knobs.unknown_permille)) {
		p->counts.odd++;
		a.verdict = VERDICT_UNKNOWN;
	} else {
		char digits[12] = "";

		memcpy(digits, uniq.p + 1, uniq.n - 1 < 11 ? uniq.n - 1 : 11);
		a.verdict = ask_database(p, one, a.gid, (uint32_t)strtoul(digits, NULL, 10));
	}
	if (!p->settling && rng_sim_chance(&p->rng, p->knobs.late_permille)) {
		p->counts.odd++;
		a.due_ns += (int64_t)rng_sim_below(&p->rng, (uint64_t)slow);
	}
	a.verdict = perhaps_flipped(p, a.gid, a.verdict);
	if (one->answer_count < ANSWERS_MAX)
		one->answers[one->answer_count++] = a;
}

static void
on_frame(struct producers *p, struct producer *one, const char *frame, size_t n)
{
	static struct wire_command c; /* large, and one thread */
	struct job *j;

	if (wire_decode(frame, n, &c) != 0) {
		oracle_fail(p->oracle, "the broker sent a frame that cannot be decoded");
		return;
	}
	if (c.flag & WIRE_RESPONSE && c.opaque >= ALTERED && c.opaque < STRANGER) {
		on_altered_answer(p, one, &c);
		wire_command_done(&c);
		return;
	}
	if (c.flag & WIRE_RESPONSE && c.opaque >= STRANGER) {
		if (c.code == WIRE_SUCCESS)
			oracle_fail(p->oracle, "I-3 a decision of another group was accepted");
		wire_command_done(&c);
		return;
	}
	if (!(c.flag & WIRE_RESPONSE)) {
		if (c.code == WIRE_CHECK_TRANSACTION)
			on_check(p, one, &c);
		wire_command_done(&c);
		return;
	}
	j = job_of(p, one, c.opaque);
	if (j && j->state == JOB_SENDING)
		on_half_answer(p, one, j, &c);
	else if (j && j->state == JOB_ENDING)
		on_end_answer(p, one, j, &c);
	wire_command_done(&c);
}

static bool
receive(struct producers *p, struct producer *one)
{
	bool closed = false, any = false;
	size_t n, total;

	while (one->conn) {
		n = net_sim_recv(one->conn, one->rx + one->rx_len, RX_BYTES - one->rx_len, &closed);
		if (n == 0)
			break;
		any = true;
		one->heard_ns = p->now_ns;
		one->rx_len += n;
		while (one->conn && one->rx_len >= 8 &&
		       wire_frame_size(one->rx, one->rx_len, RX_BYTES, &total) == 0 &&
		       total <= one->rx_len) {
			on_frame(p, one, one->rx, total);
			if (!one->conn)
				return true; /* dropped meanwhile: rx is void */
			one->rx_len -= total;
			memmove(one->rx, one->rx + total, one->rx_len);
		}
	}
	if (one->conn && closed) {
		drop(p, one);
		any = true;
	}
	return any;
}

/* ---- what is due ----------------------------------------------------------------------------- */

/* Somebody of no group or another one, who has seen the tokens, says the contrary. */
static void
send_stranger(struct producers *p, struct producer *one, const struct job *j)
{
	char own[sizeof(one->group)];

	p->counts.strangers++;
	memcpy(own, one->group, sizeof(own));
	snprintf(one->group, sizeof(one->group), rng_sim_chance(&p->rng, 500) ? "stranger" : "g9");
	send_end_frame(p, one, j->gid, j->seq, j->token,
		       j->verdict == VERDICT_COMMIT ? VERDICT_ROLLBACK : VERDICT_COMMIT,
		       rng_sim_chance(&p->rng, 300), STRANGER + one->opaque);
	memcpy(one->group, own, sizeof(own));
}

static void
begin_job(struct producers *p, struct job *j)
{
	const struct producers_knobs *k = &p->knobs;

	j->message = oracle_message(p->oracle, (uint32_t)rng_sim_below(&p->rng, k->topics),
				    (uint32_t)rng_sim_below(&p->rng, k->keys + 1),
				    (uint32_t)rng_sim_below(&p->rng, k->body_max) + 1,
				    rng_sim_chance(&p->rng, k->plain_permille));
	p->begun++;
	j->state = JOB_SENDING;
	j->due_ns = 0;
	j->opaque = 0;
}

static bool
job_step(struct producers *p, struct producer *one, struct job *j)
{
	switch (j->state) {
	case JOB_IDLE:
		if (p->settling || p->begun >= p->knobs.messages || !rng_sim_chance(&p->rng, 300))
			return false;
		begin_job(p, j);
		send_half(p, one, j);
		return true;
	case JOB_SENDING:
		if (j->due_ns > p->now_ns)
			return false;
		p->counts.timeouts++;
		if (j->again ? j->tries > 0 : j->tries >= TRIES_MAX)
			job_over(j);
		else
			send_half(p, one, j);
		return true;
	case JOB_LOCAL:
		if (j->due_ns > p->now_ns)
			return false;
		if (oracle_truth(p->oracle, j->gid) == TRUTH_RUNNING)
			oracle_local(p->oracle, j->gid,
				     j->verdict == VERDICT_COMMIT ? TRUTH_COMMIT : TRUTH_ROLLBACK);
		if (j->silent) {
			job_over(j);
			return true;
		}
		j->state = JOB_ENDING;
		j->due_ns = 0;
		return job_step(p, one, j);
	case JOB_ENDING:
		if (j->due_ns > p->now_ns)
			return false;
		if (j->tries == 0)
			j->verdict = perhaps_flipped(p, j->gid, j->verdict);
		if (j->tries++ >= TRIES_MAX) {
			job_over(j);
			return true;
		}
		if (rng_sim_chance(&p->rng, p->knobs.stranger_permille) && !p->settling)
			send_stranger(p, one, j);
		if (!one->conn)
			return true;
		j->opaque = one->opaque++;
		j->due_ns = p->now_ns + p->knobs.timeout_ns;
		send_end(p, one, j->gid, j->seq, j->token, j->verdict, false, j->opaque);
		return true;
	}
	abort();
}

static bool
answers_step(struct producers *p, struct producer *one)
{
	bool any = false;

	for (uint32_t i = 0; i < one->answer_count && one->conn;) {
		struct late_answer a = one->answers[i];

		if (a.due_ns > p->now_ns && !p->settling) {
			i++;
			continue;
		}
		one->answers[i] = one->answers[--one->answer_count];
		p->counts.check_answers++;
		send_end(p, one, a.gid, a.seq, a.token, a.verdict, true, one->opaque++);
		any = true;
	}
	return any;
}

static bool
connect_step(struct producers *p, struct producer *one)
{
	if (one->connect_ns > p->now_ns)
		return false;
	one->conn = net_sim_connect(p->net, p->address);
	if (!one->conn) {
		one->connect_ns = p->now_ns + 100 * NS_PER_MS;
		return false;
	}
	p->counts.connects++;
	one->heard_ns = p->now_ns;
	one->rx_len = 0;
	send_heartbeat(p, one);
	return true;
}

bool
producers_step(struct producers *p, int64_t now_ns)
{
	bool any = false;

	p->now_ns = now_ns;
	for (uint32_t i = 0; i < p->knobs.producers; i++) {
		struct producer *one = &p->all[i];

		if (!one->conn && !connect_step(p, one))
			continue;
		any |= receive(p, one);
		if (one->conn && one->heartbeat_ns <= now_ns)
			send_heartbeat(p, one);
		if (one->conn && now_ns - one->heard_ns > DEAF_NS)
			drop(p, one);
		if (one->conn)
			any |= answers_step(p, one);
		for (uint32_t k = 0; k < p->knobs.jobs && one->conn; k++)
			any |= job_step(p, one, &one->jobs[k]);
		if (one->conn && !p->settling && rng_sim_chance(&p->rng, p->knobs.quit_permille)) {
			p->counts.quits++;
			drop(p, one);
		}
	}
	return any;
}

uint32_t
producers_crash(struct producers *p)
{
	struct producer *one = &p->all[rng_sim_below(&p->rng, p->knobs.producers)];
	uint32_t lost = 0;

	for (uint32_t i = 0; i < p->knobs.jobs; i++) {
		struct job *j = &one->jobs[i];

		lost += j->state != JOB_IDLE;
		if (j->state == JOB_LOCAL && oracle_truth(p->oracle, j->gid) == TRUTH_RUNNING)
			oracle_local(p->oracle, j->gid, TRUTH_ROLLBACK);
		job_over(j);
	}
	one->answer_count = 0;
	drop(p, one);
	return lost;
}

int64_t
producers_next_ns(const struct producers *p)
{
	int64_t next = TIME_NEVER;

	for (uint32_t i = 0; i < p->knobs.producers; i++) {
		const struct producer *one = &p->all[i];

		if (!one->conn) {
			next = min_i64(next, one->connect_ns);
			continue;
		}
		next = min_i64(next, one->heartbeat_ns);
		next = min_i64(next, one->heard_ns + DEAF_NS + 1);
		for (uint32_t k = 0; k < p->knobs.jobs; k++) {
			if (one->jobs[k].state != JOB_IDLE)
				next = min_i64(next, one->jobs[k].due_ns);
			else if (!p->settling && p->begun < p->knobs.messages)
				next = min_i64(next, p->now_ns + 50 * NS_PER_MS);
		}
		for (uint32_t k = 0; k < one->answer_count; k++)
			next = min_i64(next, one->answers[k].due_ns);
	}
	return next;
}

void
producers_settle(struct producers *p)
{
	p->settling = true;
}

bool
producers_done(const struct producers *p)
{
	for (uint32_t i = 0; i < p->knobs.producers; i++) {
		for (uint32_t k = 0; k < p->knobs.jobs; k++) {
			if (p->all[i].jobs[k].state != JOB_IDLE)
				return false;
		}
		if (p->all[i].answer_count)
			return false;
	}
	return true;
}

const struct producers_counts *
producers_counts(const struct producers *p)
{
	return &p->counts;
}
