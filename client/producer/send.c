/*
 * send.c -- half-sends and decisions: arguments to frames, answers to transactions.
 *
 * All of it but the completions runs in the caller's thread, so that encoding costs the
 * connection's thread nothing.
 */
#include "producer/inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define OWNER(op, type, member) ((type *)((char *)(op)-offsetof(type, member)))
#define ID_TEXT                 33

/* ---- handles --------------------------------------------------------------------------------- */

static void
free_frame(struct op *op)
{
	if (op->owns_frame)
		free(op->frame);
	op->frame = NULL;
	op->owns_frame = false;
}

static void
free_txn(escrow_txn *txn)
{
	escrow_client *c = txn->client;

	free_frame(&txn->op);
	free(txn);
	client_drop(c);
}

const char *
escrow_txn_gid(const escrow_txn *txn)
{
	return txn->gid;
}

const unsigned char *
escrow_txn_gid_bytes(const escrow_txn *txn)
{
	return txn->gid_bytes;
}

void
escrow_abandon(escrow_txn **txn)
{
	if (!txn || !*txn)
		return;
	free_txn(*txn);
	*txn = NULL;
}

/* ---- options --------------------------------------------------------------------------------- */

/*
 * Copies the caller's struct, of whatever version, over the defaults in TO.  False: it is none, or
 * says something in a field that this version does not know.
 */
static bool
take_struct(void *to, size_t size, const void *from)
{
	size_t given;

	memcpy(&given, from, sizeof(given));
	if (given < size)
		return false; /* there is no older version */
	for (size_t i = size; i < given; i++)
		if (((const char *)from)[i])
			return false;
	memcpy(to, from, size);
	return true;
}

static escrow_status
take_half_opts(const escrow_half_opts *given, escrow_half_opts *ret)
{
	escrow_half_opts none = ESCROW_HALF_OPTS_INIT;

	*ret = none;
	if (given && !take_struct(ret, sizeof(*ret), given))
		return fail(ESCROW_E_ARG, "escrow_half_opts: struct_size is not of this version");
	if (ret->id && (!*ret->id || strlen(ret->id) > ID_MAX))
		return fail(ESCROW_E_ARG, "id has 1 to %d bytes", ID_MAX);
	if (ret->group && (!*ret->group || strlen(ret->group) > GROUP_MAX))
		return fail(ESCROW_E_ARG, "group has 1 to %d bytes", GROUP_MAX);
	if (ret->check_after_ms < 0 || ret->timeout_ms < 0 || ret->flags & ~ESCROW_NONBLOCK)
		return fail(ESCROW_E_ARG,
			    "escrow_half_opts: a number is negative or a flag unknown");
	return ESCROW_OK;
}

static escrow_status
take_decide_opts(const escrow_decide_opts *given, escrow_decide_opts *ret)
{
	escrow_decide_opts none = ESCROW_DECIDE_OPTS_INIT;

	*ret = none;
	if (given && !take_struct(ret, sizeof(*ret), given))
		return fail(ESCROW_E_ARG, "escrow_decide_opts: struct_size is not of this version");
	if (ret->timeout_ms < 0 || ret->flags & ~ESCROW_ONEWAY)
		return fail(ESCROW_E_ARG,
			    "escrow_decide_opts: a number is negative or a flag unknown");
	return ESCROW_OK;
}

/* ---- encoding a half-send -------------------------------------------------------------------- */

/* Checks one message.  Of PART's headers there is only the length. */
static escrow_status
take_message(const escrow_message *given, size_t index, escrow_message *m, struct wire_part *part)
{
	size_t headers = 0;

	if (!take_struct(m, sizeof(*m), given))
		return fail(ESCROW_E_ARG, "message %zu: struct_size is not of this version", index);
	if (!m->topic || !*m->topic || strlen(m->topic) > TOPIC_MAX)
		return fail(ESCROW_E_ARG, "message %zu: a topic has 1 to %d bytes", index,
			    TOPIC_MAX);
	if (m->partition < -1)
		return fail(ESCROW_E_ARG, "message %zu: a partition is a number, or -1", index);
	if ((!m->key && m->key_len) || (!m->value && m->value_len) ||
	    (!m->headers && m->header_count))
		return fail(ESCROW_E_ARG, "message %zu: a length without bytes", index);
	if (m->key_len > KEY_MAX || m->header_count > HEADERS_MAX)
		return fail(ESCROW_E_ARG, "message %zu: at most %d bytes of key, %d headers", index,
			    KEY_MAX, HEADERS_MAX);
	for (size_t i = 0; i < m->header_count; i++) {
		const escrow_header *h = &m->headers[i];

		if (!h->name || !*h->name || (!h->value && h->len) || h->len > PART_MAX)
			return fail(ESCROW_E_ARG,
				    "message %zu: header %zu has no name, or a length "
				    "without bytes",
				    index, i);
		headers += wire_header_put((struct wire_str){ h->name, strlen(h->name) },
					   (struct wire_str){ h->value, h->len }, NULL);
	}
	if (m->key_len + headers > PART_MAX)
		return fail(ESCROW_E_ARG, "message %zu: key and headers have more than %d bytes",
			    index, PART_MAX);
	if (m->value_len > WIRE_FRAME_MAX)
		return fail(ESCROW_E_TOO_BIG, "message %zu: more than 16 MiB", index);
	*part = (struct wire_part){
		.topic = { m->topic, strlen(m->topic) },
		.partition = m->partition,
		.key = { m->key, m->key_len },
		.value = { m->value, m->value_len },
		.headers = { NULL, headers },
	};
	return ESCROW_OK;
}

/* An array's elements have the size of the caller's version. */
static const escrow_message *
message_at(const escrow_message *messages, size_t i)
{
	return (const escrow_message *)((const char *)messages + i * messages->struct_size);
}

/* Writes the messages at TO; SCRATCH has room for the headers of any of them. */
static void
put_messages(const escrow_message *messages, size_t count, uint8_t *to, uint8_t *scratch)
{
	for (size_t i = 0; i < count; i++) {
		struct wire_part part;
		escrow_message m;
		size_t n = 0;

		(void)take_message(message_at(messages, i), i, &m, &part); /* it was checked */
		for (size_t j = 0; j < m.header_count; j++) {
			const escrow_header *h = &m.headers[j];

			n += wire_header_put((struct wire_str){ h->name, strlen(h->name) },
					     (struct wire_str){ h->value, h->len }, scratch + n);
		}
		part.headers.p = (const char *)scratch;
		wire_part_put(&part, to);
		to += wire_part_size(&part);
	}
}

static void
put_hex(char *to, const unsigned char *bytes, size_t n)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		*to++ = digits[bytes[i] >> 4];
		*to++ = digits[bytes[i] & 15];
	}
	*to = '\0';
}

static int64_t
wall_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME_COARSE, &t);
	return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

static struct wire_str
str(const char *text)
{
	return (struct wire_str){ text, text ? strlen(text) : 0 };
}

static escrow_status
encode_half(escrow_txn *txn, const escrow_message *messages, size_t count,
	    const escrow_half_opts *opts)
{
	struct wire_half h = { .group = str(txn->group),
			       .key = str(txn->id),
			       .born_ms = wall_ms() };
	struct wire_command command WIRE_UNSET;
	char text[WIRE_HALF_TEXT], db[2 * ESCROW_DB_ID_SIZE + 1];
	size_t body = 0, headers = 0, head = 0;
	uint8_t *frame;

	for (size_t i = 0; i < count; i++) {
		struct wire_part part;
		escrow_message m;
		escrow_status st = take_message(message_at(messages, i), i, &m, &part);

		if (st != ESCROW_OK)
			return st;
		body += wire_part_size(&part);
		headers = part.headers.n > headers ? part.headers.n : headers;
	}
	if (opts->db_id) {
		put_hex(db, opts->db_id, ESCROW_DB_ID_SIZE);
		h.db_id = (struct wire_str){ db, 2 * ESCROW_DB_ID_SIZE };
	}
	h.check_after_s = (int32_t)((opts->check_after_ms + INT64_C(999)) / 1000);
	wire_command_init(&command, WIRE_BINARY, WIRE_HALF_SEND);
	wire_half_fields(&h, &command, text);
	(void)wire_encode(&command, NULL, 0, &head); /* only to learn the size */
	if (head + body > WIRE_FRAME_MAX)
		return fail(ESCROW_E_TOO_BIG, "the messages have more than 16 MiB");
	frame = malloc(head + body + headers);
	if (!frame)
		return fail(ESCROW_E_NOMEM, "out of memory");
	(void)wire_encode(&command, frame, head, &head); /* it fits: see above */
	wire_set_body(frame, head, body);
	put_messages(messages, count, frame + head, frame + head + body);
	txn->op.frame = frame;
	txn->op.n = txn->op.weight = head + body;
	txn->op.owns_frame = true;
	return ESCROW_OK;
}

/* ---- the answer to a half-send --------------------------------------------------------------- */

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool
gid_take(struct wire_str text, char ret_gid[ESCROW_GID_TEXT],
	 unsigned char ret_bytes[ESCROW_GID_SIZE])
{
	if (text.n != ESCROW_GID_TEXT - 1)
		return false;
	for (size_t i = 0; i < ESCROW_GID_SIZE; i++) {
		int high = hex_digit(text.p[2 * i]), low = hex_digit(text.p[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		ret_bytes[i] = (unsigned char)(high << 4 | low);
	}
	put_hex(ret_gid, ret_bytes, ESCROW_GID_SIZE);
	return true;
}

/* The tokens, as 7802 or 310 are answered.  False: something is missing. */
static bool
take_tokens(escrow_txn *txn, const struct wire_command *a)
{
	bool gid = false, log = false, state = false;

	for (size_t i = 0; i < a->field_count; i++) {
		struct wire_str name = a->fields[i].name, v = a->fields[i].value;

		switch (name.n) {
		case 13: /* transactionId */
			gid |= memcmp(name.p, "transactionId", 13) == 0 &&
			       gid_take(v, txn->gid, txn->gid_bytes);
			break;
		case 15:
			log |= memcmp(name.p, "commitLogOffset", 15) == 0 &&
			       wire_i64(v, &txn->log_offset);
			break;
		case 20:
			state |= memcmp(name.p, "tranStateTableOffset", 20) == 0 &&
				 wire_i64(v, &txn->state_offset);
			break;
		case 11: /* RocketMQ's names of the two */
			state |= memcmp(name.p, "queueOffset", 11) == 0 &&
				 wire_i64(v, &txn->state_offset);
			break;
		case 5:
			log |= memcmp(name.p, "msgId", 5) == 0 &&
			       wire_msg_id_parse(v, &txn->log_offset) == 0;
			break;
		default:
			break;
		}
	}
	if (!gid) { /* RocketMQ has none */
		memset(txn->gid_bytes, 0, sizeof(txn->gid_bytes));
		put_hex(txn->gid, txn->gid_bytes, sizeof(txn->gid_bytes));
	}
	return log && state;
}

static void
half_done(struct op *op, escrow_status status, const char *why, const struct wire_command *answer)
{
	escrow_txn *txn = OWNER(op, escrow_txn, op);
	escrow_client *c = txn->client;
	escrow_half_sent_fn fn = txn->fn.half_sent;
	struct waiter *waiter = txn->waiter;
	void *arg = txn->arg;

	if (status == ESCROW_OK && !take_tokens(txn, answer)) {
		status = ESCROW_E_PROTOCOL;
		why = "the answer to the half-send lacks its tokens";
	}
	atomic_fetch_add_explicit(&c->stats.half_sends, 1, memory_order_relaxed);
	if (status == ESCROW_OK) {
		atomic_fetch_add_explicit(&c->stats.half_sends_ok, 1, memory_order_relaxed);
		free_frame(op);
	} else {
		free_txn(txn);
		txn = NULL;
	}
	if (waiter) {
		waiter->txn = txn;
		waiter_wake(waiter, status, why);
		return;
	}
	if (why)
		escrow_set_last_error(why);
	c->callbacks++;
	fn(arg, status, txn);
}

/* ---- half-send ------------------------------------------------------------------------------- */

/* 32 hex digits that no other client and no other half-send of this one has. */
static void
make_id(escrow_client *c, char id[ID_TEXT])
{
	uint64_t words[2] = { c->id_random, atomic_fetch_add(&c->id_count, 1) };
	unsigned char bytes[16];

	for (int i = 0; i < 16; i++)
		bytes[i] = (unsigned char)(words[i / 8] >> (56 - 8 * (i % 8)));
	put_hex(id, bytes, sizeof(bytes));
}

static escrow_txn *
new_txn(escrow_client *c, const escrow_half_opts *opts)
{
	char made[ID_TEXT];
	const char *group = opts->group ? opts->group : c->conf->group;
	const char *id = opts->id ? opts->id : made;
	size_t group_n, id_n;
	escrow_txn *txn = NULL;

	if (!opts->id)
		make_id(c, made);
	group_n = strlen(group) + 1;
	id_n = strlen(id) + 1;
	txn = malloc(sizeof(*txn) + group_n + id_n);
	if (!txn)
		return NULL;
	memset(&txn->op, 0, sizeof(txn->op));
	txn->client = c;
	txn->waiter = NULL;
	txn->id = memcpy(txn->text, id, id_n);
	txn->group = memcpy(txn->text + id_n, group, group_n);
	client_hold(c);
	return txn;
}

/* A transaction with its half-send encoded, and room taken for it. */
static escrow_status
prepare_half(escrow_client *c, const escrow_message *messages, size_t count,
	     const escrow_half_opts *given, bool wait, escrow_txn **ret_txn)
{
	escrow_status st = client_usable(c);
	escrow_half_opts opts;
	escrow_txn *txn = NULL;
	int64_t timeout;

	if (st == ESCROW_OK)
		st = take_half_opts(given, &opts);
	if (st != ESCROW_OK)
		return st;
	if (!messages || count == 0 || count > ESCROW_MESSAGES_MAX)
		return fail(ESCROW_E_ARG, "a transaction has 1 to %d messages",
			    ESCROW_MESSAGES_MAX);
	if (!opts.group && !c->conf->group)
		return fail(ESCROW_E_ARG,
			    "no producer group: neither in the options nor the client's");
	timeout = opts.timeout_ms ? opts.timeout_ms : c->conf->timeout_ms;
	txn = new_txn(c, &opts);
	if (!txn)
		return fail(ESCROW_E_NOMEM, "out of memory");
	st = encode_half(txn, messages, count, &opts);
	if (st == ESCROW_OK) {
		txn->op.deadline_ns = clock_ns() + timeout * NS_PER_MS;
		st = client_room(c, txn->op.weight, wait && !(opts.flags & ESCROW_NONBLOCK),
				 timeout);
	}
	if (st != ESCROW_OK) {
		free_txn(txn);
		return st;
	}
	txn->op.kind = OP_HALF;
	txn->op.done = half_done;
	*ret_txn = txn;
	return ESCROW_OK;
}

/* Hands it over; after an error TXN is gone. */
static escrow_status
submit_half(escrow_client *c, escrow_txn *txn)
{
	escrow_status st = client_submit(c, &txn->op, NULL);

	if (st == ESCROW_OK)
		return st;
	client_no_room(c, txn->op.weight);
	free_txn(txn);
	return st;
}

escrow_status
escrow_half_send_async(escrow_client *c, const escrow_message *messages, size_t count,
		       const escrow_half_opts *opts, escrow_half_sent_fn done, void *arg)
{
	escrow_status st;
	escrow_txn *txn = NULL;

	if (!done)
		return fail(ESCROW_E_ARG, "a half-send needs a completion: it brings the handle");
	st = prepare_half(c, messages, count, opts, c && c->has_thread, &txn);
	if (st != ESCROW_OK)
		return st;
	txn->fn.half_sent = done;
	txn->arg = arg;
	return submit_half(c, txn);
}

static escrow_status
may_block(const escrow_client *c)
{
	return client_in_callback(c) ? fail(ESCROW_E_ARG, "a callback may not block") : ESCROW_OK;
}

escrow_status
escrow_half_send(escrow_client *c, const escrow_message *messages, size_t count,
		 const escrow_half_opts *opts, escrow_txn **ret_txn)
{
	escrow_status st = client_usable(c);
	struct waiter w;
	escrow_txn *txn = NULL;

	if (st == ESCROW_OK && !ret_txn)
		st = fail(ESCROW_E_ARG, "nowhere to put the transaction");
	if (st == ESCROW_OK)
		st = may_block(c);
	if (st == ESCROW_OK)
		st = prepare_half(c, messages, count, opts, true, &txn);
	if (st != ESCROW_OK)
		return st;
	waiter_init(&w, c);
	txn->waiter = &w;
	txn->op.urgent = true;
	st = submit_half(c, txn);
	if (st == ESCROW_OK)
		st = client_await(&w);
	if (st == ESCROW_OK)
		*ret_txn = w.txn;
	return st;
}

/* ---- decisions ------------------------------------------------------------------------------- */

escrow_status
encode_end(struct op *op, const struct wire_end *e, const char *remark, void *small, size_t room)
{
	struct wire_command command WIRE_UNSET;
	char text[WIRE_END_TEXT];
	size_t n = 0;

	wire_command_init(&command, WIRE_BINARY, WIRE_END_TRANSACTION);
	wire_end_fields(e, &command, text);
	if (remark)
		command.remark = (struct wire_str){ remark, strnlen(remark, REMARK_MAX) };
	if (op->oneway)
		command.flag = WIRE_ONEWAY;
	op->frame = small;
	op->owns_frame = false;
	if (wire_encode(&command, small, room, &n) == WIRE_E_ROOM) {
		op->frame = malloc(n);
		if (!op->frame)
			return fail(ESCROW_E_NOMEM, "out of memory");
		op->owns_frame = true;
		(void)wire_encode(&command, op->frame, n, &n); /* it fits now */
	}
	op->n = n;
	return ESCROW_OK;
}

static void
end_done(struct op *op, escrow_status status, const char *why, const struct wire_command *answer)
{
	escrow_txn *txn = OWNER(op, escrow_txn, op);
	escrow_client *c = txn->client;
	escrow_decided_fn fn = txn->fn.decided;
	struct waiter *waiter = txn->waiter;
	void *arg = txn->arg;

	(void)answer; /* its code is the status */
	atomic_fetch_add_explicit(&c->stats.decisions, 1, memory_order_relaxed);
	if (status == ESCROW_OK)
		atomic_fetch_add_explicit(&c->stats.decisions_ok, 1, memory_order_relaxed);
	free_txn(txn);
	if (waiter) {
		waiter_wake(waiter, status, why);
	} else if (fn) {
		if (why)
			escrow_set_last_error(why);
		c->callbacks++;
		fn(arg, status);
	}
}

static enum wire_decision
decision_of(escrow_decision decision)
{
	switch (decision) {
	case ESCROW_COMMIT:
		return WIRE_COMMIT;
	case ESCROW_ROLLBACK:
		return WIRE_ROLLBACK;
	case ESCROW_UNKNOWN:
		return WIRE_UNKNOWN;
	}
	return WIRE_UNKNOWN;
}

/* Takes the handle and makes its decision ready to go; after an error TXN is gone. */
static escrow_status
prepare_end(escrow_txn **handle, escrow_decision decision, const escrow_decide_opts *given,
	    escrow_txn **ret_txn)
{
	escrow_txn *txn = handle ? *handle : NULL;
	escrow_decide_opts opts;
	escrow_status st;
	struct wire_end e;
	int64_t timeout;

	if (!txn)
		return fail(ESCROW_E_ARG, "there is no transaction to decide");
	*handle = NULL;
	st = client_usable(txn->client);
	if (st == ESCROW_OK)
		st = take_decide_opts(given, &opts);
	if (st == ESCROW_OK) {
		e = (struct wire_end){
			.producer_group = str(txn->group),
			.state_offset = txn->state_offset,
			.log_offset = txn->log_offset,
			.decision = decision_of(decision),
		};
		memset(&txn->op, 0, sizeof(txn->op));
		txn->op.oneway = opts.flags & ESCROW_ONEWAY;
		st = encode_end(&txn->op, &e, opts.remark, txn->small, sizeof(txn->small));
	}
	if (st != ESCROW_OK) {
		free_txn(txn);
		return st;
	}
	timeout = opts.timeout_ms ? opts.timeout_ms : txn->client->conf->timeout_ms;
	txn->op.kind = OP_END;
	txn->op.done = end_done;
	txn->op.deadline_ns = clock_ns() + timeout * NS_PER_MS;
	txn->waiter = NULL;
	txn->fn.decided = NULL;
	*ret_txn = txn;
	return ESCROW_OK;
}

static escrow_status
submit_end(escrow_txn *txn)
{
	escrow_status st = client_submit(txn->client, &txn->op, NULL);

	if (st != ESCROW_OK)
		free_txn(txn);
	return st;
}

escrow_status
escrow_decide_async(escrow_txn **handle, escrow_decision decision, const escrow_decide_opts *opts,
		    escrow_decided_fn done, void *arg)
{
	escrow_txn *txn = NULL;
	escrow_status st = prepare_end(handle, decision, opts, &txn);

	if (st != ESCROW_OK)
		return st;
	txn->fn.decided = done;
	txn->arg = arg;
	return submit_end(txn);
}

escrow_status
escrow_decide(escrow_txn **handle, escrow_decision decision, const escrow_decide_opts *opts)
{
	escrow_client *c = handle && *handle ? (*handle)->client : NULL;
	escrow_status st;
	escrow_txn *txn = NULL;
	struct waiter w;

	if (c && client_usable(c) == ESCROW_OK && (st = may_block(c)) != ESCROW_OK) {
		escrow_abandon(handle);
		return st;
	}
	st = prepare_end(handle, decision, opts, &txn);
	if (st != ESCROW_OK)
		return st;
	waiter_init(&w, c);
	txn->waiter = &w;
	txn->op.urgent = true;
	st = submit_end(txn);
	return st == ESCROW_OK ? client_await(&w) : st;
}

escrow_status
escrow_commit(escrow_txn **txn)
{
	return escrow_decide(txn, ESCROW_COMMIT, NULL);
}

escrow_status
escrow_rollback(escrow_txn **txn)
{
	return escrow_decide(txn, ESCROW_ROLLBACK, NULL);
}

escrow_status
escrow_decide_then_half_send(escrow_txn **handle, escrow_decision decision,
			     escrow_status *ret_decided, const escrow_message *messages,
			     size_t count, const escrow_half_opts *opts, escrow_txn **ret_next)
{
	escrow_client *c = handle && *handle ? (*handle)->client : NULL;
	escrow_status st, decided;
	escrow_txn *txn = NULL, *next = NULL;
	struct waiter w[2];

	if (!c || !ret_decided || !ret_next)
		return fail(ESCROW_E_ARG, "escrow_decide_then_half_send: an argument is NULL");
	if (client_usable(c) == ESCROW_OK && (st = may_block(c)) != ESCROW_OK) {
		escrow_abandon(handle);
		return *ret_decided = st;
	}
	/* The next one first: when it cannot be, the decision does not wait for it. */
	st = prepare_half(c, messages, count, opts, true, &next);
	decided = prepare_end(handle, decision, NULL, &txn);
	if (decided == ESCROW_OK) {
		waiter_init(&w[0], c);
		txn->waiter = &w[0];
		txn->op.urgent = true;
	}
	if (st == ESCROW_OK) {
		waiter_init(&w[1], c);
		next->waiter = &w[1];
		next->op.urgent = true;
	}
	if (decided == ESCROW_OK && st == ESCROW_OK) {
		/* Handed over as one: so they are in one write, and share the broker's sync. */
		decided = st = client_submit(c, &txn->op, &next->op);
		if (st != ESCROW_OK) {
			free_txn(txn);
			client_no_room(c, next->op.weight);
			free_txn(next);
		}
	} else if (decided == ESCROW_OK) {
		decided = submit_end(txn);
	} else if (st == ESCROW_OK) {
		st = submit_half(c, next);
	}
	if (decided == ESCROW_OK)
		decided = client_await(&w[0]);
	if (st == ESCROW_OK)
		st = client_await(&w[1]);
	if (st == ESCROW_OK)
		*ret_next = w[1].txn;
	*ret_decided = decided;
	return st;
}

/* ---- RocketMQ's habit ------------------------------------------------------------------------ */

escrow_status
escrow_send_in_txn(escrow_client *c, const escrow_message *messages, size_t count,
		   const escrow_half_opts *opts, escrow_local_fn fn, void *arg, int *ret_ran)
{
	escrow_decision decision;
	escrow_status st;
	escrow_txn *txn = NULL;

	if (ret_ran)
		*ret_ran = 0;
	if (!fn)
		return fail(ESCROW_E_ARG, "there is no local transaction");
	st = escrow_half_send(c, messages, count, opts, &txn);
	if (st != ESCROW_OK)
		return st;
	decision = fn(txn, arg);
	if (ret_ran)
		*ret_ran = 1;
	switch (decision) {
	case ESCROW_COMMIT:
		return escrow_commit(&txn);
	case ESCROW_ROLLBACK:
		(void)escrow_rollback(&txn); /* lost, it costs a check and nothing else */
		return fail(ESCROW_E_LOCAL, "the local transaction was rolled back");
	case ESCROW_UNKNOWN:
		break;
	}
	escrow_abandon(&txn);
	return fail(ESCROW_E_IN_DOUBT, "the local transaction's outcome is not known: it is left "
				       "to the check");
}

/* ---- watermarks ------------------------------------------------------------------------------ */

struct watermark {
	struct op op;
	struct waiter waiter;
	const char *name; /* of the field in the answer */
	uint8_t frame[128];
};

static void
watermark_done(struct op *op, escrow_status status, const char *why,
	       const struct wire_command *answer)
{
	struct watermark *w = OWNER(op, struct watermark, op);
	const struct wire_field *gid = answer ? wire_field(answer, w->name) : NULL;
	char text[ESCROW_GID_TEXT];

	if (status == ESCROW_OK && !gid) {
		status = ESCROW_E_UNSUPPORTED;
		why = "this broker does not tell it";
	} else if (status == ESCROW_OK && !gid_take(gid->value, text, w->waiter.gid)) {
		status = ESCROW_E_PROTOCOL;
		why = "what the answer says is no gid";
	}
	waiter_wake(&w->waiter, status, why);
}

static escrow_status
watermark(escrow_client *c, const char *name, const void *db_id, int64_t timeout_ms,
	  unsigned char *ret_gid)
{
	struct wire_command command WIRE_UNSET;
	char db[2 * ESCROW_DB_ID_SIZE + 1];
	escrow_status st;
	struct watermark w;

	memset(&w.op, 0, sizeof(w.op));
	w.name = name;
	put_hex(db, db_id, ESCROW_DB_ID_SIZE);
	wire_command_init(&command, WIRE_BINARY, WIRE_WATERMARK);
	wire_add(&command, WIRE_STR("dbId"), str(db));
	if (wire_encode(&command, w.frame, sizeof(w.frame), &w.op.n) < 0)
		return fail(ESCROW_E_ARG, "it cannot be encoded");
	w.op.kind = OP_WATERMARK;
	w.op.frame = w.frame;
	w.op.urgent = true;
	w.op.done = watermark_done;
	w.op.deadline_ns = clock_ns() + timeout_ms * NS_PER_MS;
	waiter_init(&w.waiter, c);
	st = client_submit(c, &w.op, NULL);
	if (st == ESCROW_OK)
		st = client_await(&w.waiter);
	if (st == ESCROW_OK)
		memcpy(ret_gid, w.waiter.gid, ESCROW_GID_SIZE);
	return st;
}

static escrow_status
ask_watermark(escrow_client *c, const char *name, const void *db_id, int timeout_ms,
	      unsigned char *ret_gid)
{
	escrow_status st = client_enter(c);

	if (st != ESCROW_OK)
		return st;
	if (!db_id || !ret_gid || timeout_ms < 0)
		st = fail(ESCROW_E_ARG, "an argument is missing");
	else
		st = may_block(c);
	if (st == ESCROW_OK)
		st = watermark(c, name, db_id, timeout_ms ? timeout_ms : c->conf->timeout_ms,
			       ret_gid);
	client_leave(c);
	return st;
}

escrow_status
escrow_oldest_undecided(escrow_client *c, const void *db_id, int timeout_ms,
			unsigned char ret_gid[ESCROW_GID_SIZE])
{
	return ask_watermark(c, "oldestUndecidedGid", db_id, timeout_ms, ret_gid);
}

escrow_status
escrow_oldest_unpublished(escrow_client *c, int timeout_ms, unsigned char ret_gid[ESCROW_GID_SIZE])
{
	static const unsigned char none[ESCROW_DB_ID_SIZE];

	return ask_watermark(c, "oldestUnpublishedGid", none, timeout_ms, ret_gid);
}
