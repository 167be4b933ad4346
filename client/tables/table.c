/*
 * table.c -- a local transaction between a half-send and its decision.
 *
 * It knows no database: that is behind struct escrow_fence.  What it decides is what to tell the
 * broker, and its one rule is to tell nothing that is not certain.
 */
#include "escrow/escrow_table.h"

#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "producer/hold.h"

/* A local transaction of this process: a check about it need not wait for its row. */
struct running {
	struct running *next;
	unsigned char gid[ESCROW_GID_SIZE];
};

struct escrow_table {
	escrow_fence *fence;
	escrow_client *client; /* NULL: not attached */
	char *group;
	escrow_table_opts opts;

	pthread_mutex_t lock; /* all below */
	escrow_table_stats stats;
	struct running *running;
	int stop;
	pthread_cond_t wake;

	pthread_mutex_t turn; /* held while waiting for the next: who cleans on cannot overtake */
	pthread_mutex_t own;  /* the fence's own connection */
	pthread_t cleaner;
	int has_cleaner;
};

static escrow_status
fail(escrow_status status, const char *text)
{
	escrow_set_last_error(text);
	return status;
}

static void
count(escrow_table *t, uint64_t *figure, uint64_t by)
{
	pthread_mutex_lock(&t->lock);
	*figure += by;
	pthread_mutex_unlock(&t->lock);
}

/* ---- what runs here -------------------------------------------------------------------------- */

static void
enter(escrow_table *t, const unsigned char *gid)
{
	struct running *r = malloc(sizeof(*r));

	if (r == NULL)
		return; /* a check then waits for the row, and finds out as well */
	memcpy(r->gid, gid, sizeof(r->gid));
	pthread_mutex_lock(&t->lock);
	r->next = t->running;
	t->running = r;
	pthread_mutex_unlock(&t->lock);
}

static void
leave(escrow_table *t, const unsigned char *gid)
{
	struct running **at, *r;

	pthread_mutex_lock(&t->lock);
	for (at = &t->running; (r = *at) != NULL; at = &r->next) {
		if (memcmp(r->gid, gid, sizeof(r->gid)) == 0) {
			*at = r->next;
			free(r);
			break;
		}
	}
	pthread_mutex_unlock(&t->lock);
}

static int
is_running(escrow_table *t, const unsigned char *gid)
{
	struct running *r;

	pthread_mutex_lock(&t->lock);
	for (r = t->running; r != NULL && memcmp(r->gid, gid, sizeof(r->gid)) != 0; r = r->next)
		;
	pthread_mutex_unlock(&t->lock);
	return r != NULL;
}

/* ---- checks ---------------------------------------------------------------------------------- */

static void
take_own(escrow_table *t)
{
	pthread_mutex_lock(&t->turn);
	pthread_mutex_lock(&t->own);
	pthread_mutex_unlock(&t->turn);
}

/* On the fence's own connection. */
static escrow_decision
ask(escrow_table *t, const unsigned char *gid, const unsigned char *db_id, char remark[256])
{
	escrow_decision decision;
	const char *why = "";

	take_own(t);
	decision = t->fence->check(t->fence, gid, db_id, &why);
	(void)snprintf(remark, 256, "%s", why); /* cut, if too long */
	pthread_mutex_unlock(&t->own);
	return decision;
}

static escrow_decision
answer(const escrow_view *view, void *arg)
{
	escrow_table *t = arg;
	const unsigned char *gid = escrow_view_gid_bytes(view), *db_id = escrow_view_db_id(view);
	escrow_decision decision = ESCROW_UNKNOWN;
	char remark[256] = "";

	if (db_id == NULL)
		snprintf(remark, sizeof(remark), "it was half-sent without a db_id");
	else if (is_running(t, gid))
		snprintf(remark, sizeof(remark), "running");
	else
		decision = ask(t, gid, db_id, remark);
	escrow_view_remark(view, remark);
	count(t,
	      decision == ESCROW_COMMIT     ? &t->stats.answers_commit
	      : decision == ESCROW_ROLLBACK ? &t->stats.answers_rollback
					    : &t->stats.answers_unknown,
	      1);
	return decision;
}

/* ---- cleaning -------------------------------------------------------------------------------- */

static void
gid_at(int64_t ms, unsigned char gid[ESCROW_GID_SIZE])
{
	memset(gid, 0, ESCROW_GID_SIZE);
	for (int i = 0; i < 6 && ms > 0; i++)
		gid[i] = (unsigned char)(ms >> (40 - 8 * i));
}

static int64_t
ms_of(const unsigned char gid[ESCROW_GID_SIZE])
{
	int64_t ms = 0;

	for (int i = 0; i < 6; i++)
		ms = ms << 8 | gid[i];
	return ms;
}

/* Some of the rows; *RET_MORE: there may be others. */
static escrow_status
sweep_some(escrow_table *t, const unsigned char *oldest, const unsigned char *horizon,
	   int *ret_more)
{
	unsigned char low[ESCROW_GID_SIZE];
	uint64_t rows = 0;
	int err;

	take_own(t);
	err = t->fence->sweep(t->fence, oldest, horizon, low, &rows);
	pthread_mutex_unlock(&t->own);
	if (err)
		return ESCROW_E_DATABASE;
	pthread_mutex_lock(&t->lock);
	t->stats.cleaned += rows;
	t->stats.low_ms = ms_of(low);
	*ret_more = rows > 0 && !t->stop;
	pthread_mutex_unlock(&t->lock);
	return ESCROW_OK;
}

escrow_status
escrow_table_clean(escrow_table *t)
{
	unsigned char oldest[ESCROW_GID_SIZE], horizon[ESCROW_GID_SIZE];
	escrow_status status;
	struct timespec now;
	int more = 1;

	if (t->client == NULL)
		return fail(ESCROW_E_ARG, "the table is not attached");
	status = escrow_oldest_undecided(t->client, t->fence->db_id, 0, oldest);
	if (status)
		return status;
	clock_gettime(CLOCK_REALTIME, &now);
	gid_at(now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000 - t->opts.grace_ms, horizon);
	while (status == ESCROW_OK && more)
		status = sweep_some(t, oldest, horizon, &more);
	return status;
}

static void *
clean_often(void *arg)
{
	escrow_table *t = arg;
	struct timespec until;

	pthread_mutex_lock(&t->lock);
	while (!t->stop) {
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += t->opts.clean_ms / 1000;
		until.tv_nsec += t->opts.clean_ms % 1000 * 1000000L;
		if (until.tv_nsec >= 1000000000L) {
			until.tv_nsec -= 1000000000L;
			until.tv_sec++;
		}
		if (pthread_cond_timedwait(&t->wake, &t->lock, &until) == 0)
			continue;
		pthread_mutex_unlock(&t->lock);
		if (escrow_table_clean(t))
			count(t, &t->stats.clean_errors, 1);
		pthread_mutex_lock(&t->lock);
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

/* ---- open and attach ------------------------------------------------------------------------- */

escrow_status
escrow_table_open(escrow_table **ret_table, escrow_fence *fence)
{
	escrow_table *t = calloc(1, sizeof(*t));
	pthread_condattr_t monotonic;

	if (t == NULL)
		return fail(ESCROW_E_NOMEM, "out of memory");
	t->fence = fence;
	pthread_mutex_init(&t->lock, NULL);
	pthread_mutex_init(&t->turn, NULL);
	pthread_mutex_init(&t->own, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&t->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	*ret_table = t;
	return ESCROW_OK;
}

static escrow_status
start_cleaner(escrow_table *t)
{
	sigset_t all, before;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&t->cleaner, NULL, clean_often, t);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	t->has_cleaner = !err;
	return err ? fail(ESCROW_E_NOMEM, "no thread for cleaning") : ESCROW_OK;
}

escrow_status
escrow_table_attach(escrow_table *t, escrow_client *client, const char *group,
		    const escrow_table_opts *opts)
{
	static const escrow_table_opts init = ESCROW_TABLE_OPTS_INIT;
	escrow_status status;

	if (t->client != NULL)
		return fail(ESCROW_E_ARG, "the table is attached already");
	if (opts != NULL && (opts->struct_size == 0 || opts->struct_size > sizeof(*opts)))
		return fail(ESCROW_E_ARG, "options of another version, or not initialised");
	t->opts = init;
	if (opts != NULL)
		memcpy(&t->opts, opts, opts->struct_size);
	if (t->opts.grace_ms < 0 || t->opts.clean_ms < 0)
		return fail(ESCROW_E_ARG, "grace_ms and clean_ms are 0 or more");
	if (group != NULL) {
		t->group = strdup(group);
		if (t->group == NULL)
			return fail(ESCROW_E_NOMEM, "out of memory");
	}
	status = escrow_on_check(client, group, answer, t);
	if (status == ESCROW_OK) {
		client_hold(client);
		t->client = client;
		if (t->opts.clean_ms > 0)
			status = start_cleaner(t);
		if (status == ESCROW_OK)
			return ESCROW_OK;
		if (escrow_on_check(client, group, NULL, NULL))
			escrow_set_last_error("no thread for cleaning");
		client_drop(client);
		t->client = NULL;
	}
	free(t->group);
	t->group = NULL;
	return status;
}

void
escrow_table_close(escrow_table *t)
{
	if (t == NULL)
		return;
	if (t->has_cleaner) {
		pthread_mutex_lock(&t->lock);
		t->stop = 1;
		pthread_cond_signal(&t->wake);
		pthread_mutex_unlock(&t->lock);
		pthread_join(t->cleaner, NULL);
	}
	if (t->client != NULL) {
		/* When it returns no check runs.  In a client that is closed none does anyway. */
		escrow_status status = escrow_on_check(t->client, t->group, NULL, NULL);

		(void)status;
		client_drop(t->client);
	}
	t->fence->free(t->fence);
	pthread_cond_destroy(&t->wake);
	pthread_mutex_destroy(&t->turn);
	pthread_mutex_destroy(&t->own);
	pthread_mutex_destroy(&t->lock);
	free(t->group);
	free(t);
}

/* ---- the local transaction ------------------------------------------------------------------- */

const unsigned char *
escrow_table_db_id(const escrow_table *t)
{
	return t->fence->db_id;
}

/* What the fence said of a transaction that was to be opened, or joined. */
static escrow_status
opened(escrow_table *t, escrow_fenced fenced)
{
	switch (fenced) {
	case ESCROW_FENCE_OPEN:
		return ESCROW_OK;
	case ESCROW_FENCE_SHUT:
		count(t, &t->stats.fenced, 1);
		return fail(ESCROW_E_FENCED, "a check was answered ROLLBACK before it began");
	case ESCROW_FENCE_DONE:
		return fail(ESCROW_E_DECIDED, "an earlier attempt has committed");
	case ESCROW_FENCE_EXPIRED:
		count(t, &t->stats.fenced, 1);
		return fail(ESCROW_E_EXPIRED,
			    "it was half-sent longer ago than the fence remembers");
	case ESCROW_FENCE_WRONG_DB:
		return fail(ESCROW_E_ARG,
			    "this connection leads to another database than the table's");
	case ESCROW_FENCE_FAILED:
	case ESCROW_FENCE_LOST:
		break;
	}
	count(t, &t->stats.rolled_back, 1);
	return ESCROW_E_DATABASE; /* the fence has said why */
}

escrow_status
escrow_table_begin(escrow_table *t, void *db, const unsigned char *gid)
{
	static const unsigned char none[ESCROW_GID_SIZE];
	escrow_status status;

	/* All of its transactions would be one. */
	if (memcmp(gid, none, sizeof(none)) == 0)
		return fail(ESCROW_E_ARG, "a gid of zeroes: RocketMQ has none, so that there is no "
					  "fence");
	enter(t, gid);
	status = opened(t, t->fence->begin(t->fence, db, gid, t->fence->db_id));
	if (status != ESCROW_OK)
		leave(t, gid);
	return status;
}

escrow_status
escrow_table_commit(escrow_table *t, void *db, const unsigned char *gid)
{
	escrow_fenced fenced = t->fence->commit(t->fence, db);
	escrow_decision decision = ESCROW_UNKNOWN;
	char remark[256];

	leave(t, gid);
	if (fenced == ESCROW_FENCE_OPEN)
		decision = ESCROW_COMMIT;
	else if (fenced == ESCROW_FENCE_FAILED)
		decision = ESCROW_ROLLBACK;
	else /* Nobody knows on this connection; on another the row says it. */
		decision = ask(t, gid, t->fence->db_id, remark);
	switch (decision) {
	case ESCROW_COMMIT:
		count(t, &t->stats.committed, 1);
		return ESCROW_OK;
	case ESCROW_ROLLBACK:
		count(t, &t->stats.rolled_back, 1);
		return ESCROW_E_DATABASE;
	case ESCROW_UNKNOWN:
		break;
	}
	count(t, &t->stats.in_doubt, 1);
	return ESCROW_E_IN_DOUBT;
}

escrow_status
escrow_table_rollback(escrow_table *t, void *db, const unsigned char *gid)
{
	escrow_fenced fenced = t->fence->rollback(t->fence, db);

	leave(t, gid);
	count(t, fenced == ESCROW_FENCE_OPEN ? &t->stats.rolled_back : &t->stats.in_doubt, 1);
	return fenced == ESCROW_FENCE_OPEN ? ESCROW_OK : ESCROW_E_IN_DOUBT;
}

/* ---- send ------------------------------------------------------------------------------------ */

/* Tells the broker, and returns STATUS with the sentence it came with. */
static escrow_status
told(escrow_txn **txn, escrow_decision decision, escrow_status status)
{
	escrow_decide_opts opts = ESCROW_DECIDE_OPTS_INIT;
	escrow_status decided;
	char why[512];

	(void)snprintf(why, sizeof(why), "%s", escrow_last_error());
	if (status != ESCROW_OK)
		opts.remark = why;
	decided = escrow_decide(txn, decision, &opts);
	/* That somebody decided otherwise must be heard.  All else costs a check. */
	if (decided == ESCROW_E_DECIDED)
		return decided;
	escrow_set_last_error(why);
	return status;
}

static escrow_status
local(escrow_table *t, void *db, escrow_txn **txn, escrow_business_fn fn, void *arg)
{
	unsigned char gid[ESCROW_GID_SIZE];
	escrow_status status;

	memcpy(gid, escrow_txn_gid_bytes(*txn), sizeof(gid));
	status = escrow_table_begin(t, db, gid);
	if (status == ESCROW_E_DECIDED)
		return told(txn, ESCROW_COMMIT, ESCROW_OK);
	if (status == ESCROW_E_FENCED || status == ESCROW_E_DATABASE)
		return told(txn, ESCROW_ROLLBACK, status);
	if (status != ESCROW_OK)
		return status;
	escrow_set_last_error("the local transaction said so");
	if (fn(db, arg) != 0) {
		status = escrow_table_rollback(t, db, gid);
		return status == ESCROW_OK ? told(txn, ESCROW_ROLLBACK, ESCROW_E_LOCAL) : status;
	}
	status = escrow_table_commit(t, db, gid);
	if (status == ESCROW_OK)
		return told(txn, ESCROW_COMMIT, ESCROW_OK);
	if (status == ESCROW_E_DATABASE)
		return told(txn, ESCROW_ROLLBACK, status);
	return status;
}

static escrow_status
half_send(escrow_table *t, const escrow_message *messages, size_t n, const escrow_half_opts *opts,
	  escrow_txn **ret_txn)
{
	escrow_half_opts half = ESCROW_HALF_OPTS_INIT;

	if (t->client == NULL)
		return fail(ESCROW_E_ARG, "the table is not attached");
	if (opts != NULL && (opts->struct_size == 0 || opts->struct_size > sizeof(half)))
		return fail(ESCROW_E_ARG, "options of another version, or not initialised");
	if (opts != NULL)
		memcpy(&half, opts, opts->struct_size);
	half.struct_size = sizeof(half);
	half.group = t->group;
	half.db_id = t->fence->db_id;
	return escrow_half_send(t->client, messages, n, &half, ret_txn);
}

escrow_status
escrow_table_send(escrow_table *t, void *db, const escrow_message *messages, size_t n,
		  const escrow_half_opts *opts, escrow_business_fn fn, void *arg)
{
	escrow_txn *txn = NULL;
	escrow_status status = half_send(t, messages, n, opts, &txn);

	if (status != ESCROW_OK)
		return status;
	status = local(t, db, &txn, fn, arg);
	escrow_abandon(&txn); /* where nothing was told: the check finds out */
	return status;
}

/* ---- join ------------------------------------------------------------------------------------ */

escrow_status
escrow_table_join(escrow_table *t, void *db, const escrow_message *messages, size_t n,
		  const escrow_half_opts *opts, escrow_txn **ret_txn)
{
	const unsigned char *gid;
	escrow_txn *txn = NULL;
	escrow_status status;

	if (t->fence->struct_size < offsetof(escrow_fence, join) + sizeof(t->fence->join) ||
	    t->fence->join == NULL)
		return fail(ESCROW_E_UNSUPPORTED, "this fence cannot join a transaction");
	status = half_send(t, messages, n, opts, &txn);
	if (status != ESCROW_OK)
		return status;
	gid = escrow_txn_gid_bytes(txn);
	status = opened(t, t->fence->join(t->fence, db, gid, t->fence->db_id));
	if (status == ESCROW_OK)
		*ret_txn = txn;
	else /* Its row may be there and be committed all the same: the check goes by that. */
		escrow_abandon(&txn);
	return status;
}

/* ---- care ------------------------------------------------------------------------------------ */

void
escrow_table_get_stats(escrow_table *t, escrow_table_stats *ret)
{
	size_t size = ret->struct_size;

	if (size > sizeof(*ret))
		size = sizeof(*ret); /* of a newer header: what we know of it */
	pthread_mutex_lock(&t->lock);
	memcpy(ret, &t->stats, size);
	pthread_mutex_unlock(&t->lock);
	ret->struct_size = size;
}

escrow_status
escrow_table_rekey(escrow_table *t)
{
	int err;

	if (t->client != NULL)
		return fail(ESCROW_E_ARG, "the table is attached: its db_id is in use");
	take_own(t);
	err = t->fence->rekey(t->fence);
	pthread_mutex_unlock(&t->own);
	return err ? ESCROW_E_DATABASE : ESCROW_OK;
}
