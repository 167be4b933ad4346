/*
 * half.c -- half-sends: arguments to a frame, its answer to a transaction.
 *
 * All of it but the completion runs in the caller's thread, so that encoding costs the
 * connection's thread nothing.
 */
#include "producer/inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ID_TEXT 33

/* ---- handles --------------------------------------------------------------------------------- */

void
op_free_frame(struct op *op)
{
	if (op->owns_frame)
		free(op->frame);
	op->frame = NULL;
	op->owns_frame = false;
}

void
txn_free(escrow_txn *txn)
{
	escrow_client *c = txn->client;

	op_free_frame(&txn->op);
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
	txn_free(*txn);
	*txn = NULL;
}

/* ---- gids ------------------------------------------------------------------------------------ */

void
hex_put(char *to, const unsigned char *bytes, size_t n)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		*to++ = digits[bytes[i] >> 4];
		*to++ = digits[bytes[i] & 15];
	}
	*to = '\0';
}

bool
gid_take(struct wire_str text, char ret_gid[ESCROW_GID_TEXT],
	 unsigned char ret_bytes[ESCROW_GID_SIZE])
{
	if (text.n != ESCROW_GID_TEXT - 1)
		return false;
	for (size_t i = 0; i < ESCROW_GID_SIZE; i++) {
		int high = wire_hex_digit(text.p[2 * i]), low = wire_hex_digit(text.p[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		ret_bytes[i] = (unsigned char)(high << 4 | low);
	}
	hex_put(ret_gid, ret_bytes, ESCROW_GID_SIZE);
	return true;
}

/* ---- options --------------------------------------------------------------------------------- */

bool
struct_take(void *to, size_t size, const void *from)
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
	if (given && !struct_take(ret, sizeof(*ret), given))
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

/* ---- encoding a half-send -------------------------------------------------------------------- */

/* Checks one message.  Of PART's headers there is only the length. */
static escrow_status
take_message(const escrow_message *given, size_t index, escrow_message *m, struct wire_part *part)
{
	size_t headers = 0;

	if (!struct_take(m, sizeof(*m), given))
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

static int64_t
wall_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME_COARSE, &t);
	return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

static escrow_status
encode_half(escrow_txn *txn, const escrow_message *messages, size_t count,
	    const escrow_half_opts *opts)
{
	struct wire_half h = { .group = str_of(txn->group),
			       .key = str_of(txn->id),
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
		hex_put(db, opts->db_id, ESCROW_DB_ID_SIZE);
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
		hex_put(txn->gid, txn->gid_bytes, sizeof(txn->gid_bytes));
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
		op_free_frame(op);
	} else {
		txn_free(txn);
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
	hex_put(id, bytes, sizeof(bytes));
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
escrow_status
half_prepare(escrow_client *c, const escrow_message *messages, size_t count,
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
		txn_free(txn);
		return st;
	}
	txn->op.kind = OP_HALF;
	txn->op.done = half_done;
	*ret_txn = txn;
	return ESCROW_OK;
}

/* Hands it over; after an error TXN is gone. */
escrow_status
half_submit(escrow_client *c, escrow_txn *txn)
{
	escrow_status st = client_submit(c, &txn->op, NULL);

	if (st == ESCROW_OK)
		return st;
	client_no_room(c, txn->op.weight);
	txn_free(txn);
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
	st = half_prepare(c, messages, count, opts, c && c->has_thread, &txn);
	if (st != ESCROW_OK)
		return st;
	txn->fn.half_sent = done;
	txn->arg = arg;
	return half_submit(c, txn);
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
		st = client_may_block(c);
	if (st == ESCROW_OK)
		st = half_prepare(c, messages, count, opts, true, &txn);
	if (st != ESCROW_OK)
		return st;
	waiter_init(&w, c);
	txn->waiter = &w;
	txn->op.urgent = true;
	st = half_submit(c, txn);
	if (st == ESCROW_OK)
		st = client_await(&w);
	if (st == ESCROW_OK)
		*ret_txn = w.txn;
	return st;
}
