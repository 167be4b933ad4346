/*
 * end.c -- decisions: alone, with the next half-send, and as RocketMQ's clients take them.
 *
 * All of it but the completion runs in the caller's thread.
 */
#include "producer/inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static escrow_status
take_decide_opts(const escrow_decide_opts *given, escrow_decide_opts *ret)
{
	escrow_decide_opts none = ESCROW_DECIDE_OPTS_INIT;

	*ret = none;
	if (given && !struct_take(ret, sizeof(*ret), given))
		return fail(ESCROW_E_ARG, "escrow_decide_opts: struct_size is not of this version");
	if (ret->timeout_ms < 0 || ret->flags & ~ESCROW_ONEWAY)
		return fail(ESCROW_E_ARG,
			    "escrow_decide_opts: a number is negative or a flag unknown");
	return ESCROW_OK;
}

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
	txn_free(txn);
	if (waiter) {
		waiter_wake(waiter, status, why);
	} else if (fn) {
		if (why)
			escrow_set_last_error(why);
		c->callbacks++;
		fn(arg, status);
	}
}

enum wire_decision
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
			.producer_group = str_of(txn->group),
			.state_offset = txn->state_offset,
			.log_offset = txn->log_offset,
			.decision = decision_of(decision),
		};
		memset(&txn->op, 0, sizeof(txn->op));
		txn->op.oneway = opts.flags & ESCROW_ONEWAY;
		st = encode_end(&txn->op, &e, opts.remark, txn->small, sizeof(txn->small));
	}
	if (st != ESCROW_OK) {
		txn_free(txn);
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
		txn_free(txn);
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

	if (c && client_usable(c) == ESCROW_OK && (st = client_may_block(c)) != ESCROW_OK) {
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
	if (client_usable(c) == ESCROW_OK && (st = client_may_block(c)) != ESCROW_OK) {
		escrow_abandon(handle);
		return *ret_decided = st;
	}
	/* The next one first: when it cannot be, the decision does not wait for it. */
	st = half_prepare(c, messages, count, opts, true, &next);
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
			txn_free(txn);
			client_no_room(c, next->op.weight);
			txn_free(next);
		}
	} else if (decided == ESCROW_OK) {
		decided = submit_end(txn);
	} else if (st == ESCROW_OK) {
		st = half_submit(c, next);
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
