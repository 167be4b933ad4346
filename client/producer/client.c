/*
 * client.c -- open, flush, poll, close; who waits, and for what.
 */
#include "producer/inside.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

escrow_status
fail(escrow_status status, const char *fmt, ...)
{
	char text[DETAIL_MAX];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args); /* cut short is fine */
	va_end(args);
	escrow_set_last_error(text);
	return status;
}

/* ---- may it be used? ------------------------------------------------------------------------- */

escrow_status
client_usable(const escrow_client *c)
{
	if (!c)
		return fail(ESCROW_E_ARG, "the client is NULL");
	if (atomic_load_explicit(c->alive, memory_order_relaxed) == 0)
		return fail(ESCROW_E_FORK, "this client belongs to the parent process");
	if (atomic_load_explicit(&c->closed, memory_order_relaxed))
		return fail(ESCROW_E_CLOSED, "the client is being closed");
	return ESCROW_OK;
}

escrow_status
client_enter(escrow_client *c)
{
	escrow_status st;

	if (!c)
		return client_usable(c);
	/* Counted before it looks: escrow_close() either sees it, or is seen. */
	atomic_fetch_add(&c->inside, 1);
	st = client_usable(c);
	if (st != ESCROW_OK)
		client_leave(c);
	return st;
}

void
client_leave(escrow_client *c)
{
	atomic_fetch_sub(&c->inside, 1); /* from here on C may be gone */
}

bool
client_in_callback(const escrow_client *c)
{
	if (atomic_load(&c->polling))
		return pthread_equal(pthread_self(), c->poller);
	return c->has_thread && pthread_equal(pthread_self(), c->thread);
}

escrow_status
client_may_block(const escrow_client *c)
{
	return client_in_callback(c) ? fail(ESCROW_E_ARG, "a callback may not block") : ESCROW_OK;
}

void
client_log(const escrow_client *c, escrow_log_level level, const char *fmt, ...)
{
	char text[DETAIL_MAX];
	va_list args;

	if (!c->conf->log)
		return;
	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args); /* cut short is fine */
	va_end(args);
	c->conf->log(c->conf->log_arg, level, text);
}

/* ---- waiting --------------------------------------------------------------------------------- */

void
client_changed(escrow_client *c)
{
	if (atomic_load(&c->waiters) == 0)
		return;
	pthread_mutex_lock(&c->mutex);
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->mutex);
}

/* One turn by whoever polls or waits, in poll mode. */
static void
turn(escrow_client *c, int64_t timeout_ns)
{
	c->poller = pthread_self();
	atomic_store(&c->polling, true);
	engine_turn(c, timeout_ns);
	atomic_store(&c->polling, false);
}

/* Waits until READY(c, ARG), at most TIMEOUT_MS; runs the engine meanwhile in poll mode. */
static bool
wait_until(escrow_client *c, bool (*ready)(escrow_client *c, void *arg), void *arg,
	   int64_t timeout_ms)
{
	int64_t now = clock_ns(), until = now + timeout_ms * NS_PER_MS;
	struct timespec at = { until / 1000000000, until % 1000000000 };
	bool done;
	int err = 0;

	if (!c->has_thread) {
		while (!(done = ready(c, arg)) && (now = clock_ns()) < until)
			turn(c, until - now);
		return done;
	}
	pthread_mutex_lock(&c->mutex);
	atomic_fetch_add(&c->waiters, 1);
	while (!(done = ready(c, arg)) && !err) /* over, or a time that is none */
		err = pthread_cond_timedwait(&c->changed, &c->mutex, &at);
	atomic_fetch_sub(&c->waiters, 1);
	pthread_mutex_unlock(&c->mutex);
	return done;
}

void
waiter_init(struct waiter *w, escrow_client *c)
{
	w->turns = c->has_thread ? NULL : c;
	(void)sem_init(&w->sem, 0, 0); /* cannot fail with these arguments */
	atomic_init(&w->done, false);
	w->status = ESCROW_OK;
	w->txn = NULL;
	w->why[0] = '\0';
}

void
waiter_wake(struct waiter *w, escrow_status status, const char *why)
{
	w->status = status;
	(void)snprintf(w->why, sizeof(w->why), "%s", why ? why : "");
	atomic_store(&w->done, true);
	(void)sem_post(&w->sem); /* from here on W may be gone */
}

escrow_status
client_await(struct waiter *w)
{
	/* It ends by its deadline, if by nothing else. */
	while (w->turns && !atomic_load(&w->done))
		turn(w->turns, TIME_NEVER);
	while (sem_wait(&w->sem) < 0 && errno == EINTR)
		;
	sem_destroy(&w->sem);
	if (w->status != ESCROW_OK)
		escrow_set_last_error(w->why);
	return w->status;
}

/* ---- requests -------------------------------------------------------------------------------- */

escrow_status
client_submit(escrow_client *c, struct op *op, struct op *behind)
{
	size_t count = behind ? 2 : 1;
	escrow_status st = client_enter(c);

	if (st != ESCROW_OK)
		return st;
	op->client = c;
	op->parity = atomic_load(&c->parity) & 1;
	if (behind) {
		behind->client = c;
		behind->parity = op->parity;
	}
	atomic_fetch_add(&c->under_way[op->parity], count);
	/* After the count: escrow_close() waits for what is counted, and takes no more. */
	st = client_usable(c);
	if (st == ESCROW_OK)
		engine_push(c, op, behind);
	else
		atomic_fetch_sub(&c->under_way[op->parity], count);
	client_leave(c);
	return st;
}

void
client_complete(escrow_client *c, unsigned parity)
{
	if (atomic_fetch_sub(&c->under_way[parity], 1) == 1)
		client_changed(c);
}

void
client_no_room(escrow_client *c, size_t bytes)
{
	atomic_fetch_sub(&c->halves, 1);
	atomic_fetch_sub(&c->bytes, bytes);
	client_changed(c);
}

struct room {
	size_t bytes;
};

/*
 * Takes room in the window, or says that there is none.  Who fails must not have seemed to take
 * some meanwhile, or somebody whom a completion wakes right then finds none and waits on, with
 * nobody left to wake him; but where another took it in between, whose completion will.
 */
static bool
take_room(escrow_client *c, void *arg)
{
	const struct room *r = arg;
	size_t halves = atomic_load(&c->halves), bytes = atomic_load(&c->bytes);

	do {
		if (halves >= (size_t)c->conf->window)
			return false;
		/* A message beyond all of the window may go alone. */
		if (bytes > 0 && bytes + r->bytes > (size_t)c->conf->window_bytes)
			return false;
	} while (!atomic_compare_exchange_weak(&c->bytes, &bytes, bytes + r->bytes));
	while (!atomic_compare_exchange_weak(&c->halves, &halves, halves + 1)) {
		if (halves < (size_t)c->conf->window)
			continue;
		atomic_fetch_sub(&c->bytes, r->bytes);
		return false;
	}
	return true;
}

static bool
room_or_closed(escrow_client *c, void *arg)
{
	return atomic_load(&c->closed) || take_room(c, arg);
}

escrow_status
client_room(escrow_client *c, size_t bytes, bool wait, int64_t timeout_ms)
{
	struct room r = { bytes };

	if (take_room(c, &r))
		return ESCROW_OK;
	if (!wait || client_in_callback(c))
		return fail(ESCROW_E_FULL, "the window of %lld half-sends is full",
			    (long long)c->conf->window);
	if (!wait_until(c, room_or_closed, &r, timeout_ms))
		return fail(ESCROW_E_FULL, "the window of %lld half-sends stayed full for %lld ms",
			    (long long)c->conf->window, (long long)timeout_ms);
	/* Closed: the room was perhaps not taken, and nobody counts it any more. */
	return client_usable(c);
}

/* ---- open ------------------------------------------------------------------------------------ */

static void *
run(void *arg)
{
	escrow_client *c = arg;

	while (!atomic_load(&c->stop))
		engine_turn(c, TIME_NEVER);
	return NULL;
}

/* A thread that takes no signal: those are the application's.  NULL: nobody joins it. */
int
client_thread(pthread_t *ret_thread, void *(*fn)(void *), void *arg)
{
	pthread_attr_t attributes;
	sigset_t all, before;
	pthread_t thread;
	int err = pthread_attr_init(&attributes);

	if (err)
		return err;
	if (!ret_thread)
		(void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(ret_thread ? ret_thread : &thread, &attributes, fn, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	(void)pthread_attr_destroy(&attributes);
	return err;
}

static void
init_locks(escrow_client *c)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&c->mutex, NULL);
	pthread_cond_init(&c->changed, &attr);
	pthread_condattr_destroy(&attr);
}

static void
free_client(escrow_client *c)
{
	pthread_mutex_destroy(&c->mutex);
	pthread_cond_destroy(&c->changed);
	escrow_conf_free(c->conf);
	munmap(c->alive, sizeof(*c->alive));
	free(c);
}

void
client_hold(escrow_client *c)
{
	atomic_fetch_add(&c->refs, 1);
}

void
client_drop(escrow_client *c)
{
	if (atomic_fetch_sub(&c->refs, 1) == 1)
		free_client(c);
}

/* A page of which a child of fork() gets an empty one. */
static atomic_uint *
alive_page(void)
{
	atomic_uint *p =
		mmap(NULL, sizeof(*p), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	(void)madvise(p, sizeof(*p), MADV_WIPEONFORK); /* an old kernel: fork() is not noticed */
	atomic_init(p, 1);
	return p;
}

static void
name(escrow_client *c)
{
	char host[64] = "";

	(void)gethostname(host, sizeof(host) - 1); /* only for people */
	if (c->conf->client_id)
		(void)snprintf(c->client_id, sizeof(c->client_id), "%s", c->conf->client_id);
	else
		(void)snprintf(c->client_id, sizeof(c->client_id), "%s@%d#%08x", host,
			       (int)getpid(), (unsigned)(c->id_random & 0xffffffff));
}

static escrow_status
start(escrow_client *c)
{
	escrow_status st;

	if (getrandom(&c->id_random, sizeof(c->id_random), 0) != sizeof(c->id_random))
		return fail(ESCROW_E_NOMEM, "no random bytes: %s", strerror(errno));
	name(c);
	st = engine_open(c);
	if (st != ESCROW_OK)
		return st;
	if (c->conf->mode == MODE_POLL)
		return ESCROW_OK;
	if (client_thread(&c->thread, run, c) != 0)
		return fail(ESCROW_E_NOMEM, "no thread could be started");
	c->has_thread = true;
	return ESCROW_OK;
}

escrow_status
escrow_open_conf(escrow_client **ret_client, escrow_conf *conf)
{
	escrow_client *c;
	escrow_status st;

	if (!ret_client || !conf)
		return fail(ESCROW_E_ARG, "escrow_open_conf: an argument is NULL");
	c = calloc(1, sizeof(*c));
	if (!c || !(c->alive = alive_page())) {
		free(c);
		return fail(ESCROW_E_NOMEM, "out of memory");
	}
	init_locks(c);
	c->conf = conf;
	atomic_init(&c->refs, 1);
	checks_init(c);
	st = start(c);
	if (st != ESCROW_OK) {
		engine_close(c);
		checks_done(c);
		c->conf = NULL; /* still the caller's */
		client_drop(c);
		return st;
	}
	*ret_client = c;
	return ESCROW_OK;
}

escrow_status
escrow_open(escrow_client **ret_client, const char *url)
{
	escrow_conf *conf;
	escrow_status st;

	if (!url)
		url = getenv("ESCROW_URL");
	if (!url)
		return fail(ESCROW_E_ARG, "there is no URL, and ESCROW_URL is not set");
	conf = escrow_conf_new();
	if (!conf)
		return ESCROW_E_NOMEM;
	st = escrow_conf_set_url(conf, url);
	if (st == ESCROW_OK)
		st = escrow_open_conf(ret_client, conf);
	if (st != ESCROW_OK)
		escrow_conf_free(conf);
	return st;
}

/* ---- wait, flush, poll ----------------------------------------------------------------------- */

static bool
is_connected(escrow_client *c, void *arg)
{
	(void)arg;
	return atomic_load(&c->connected) || atomic_load(&c->closed);
}

escrow_status
escrow_wait_connected(escrow_client *c, int timeout_ms)
{
	escrow_status st = client_enter(c);

	if (st != ESCROW_OK)
		return st;
	st = client_may_block(c);
	if (st == ESCROW_OK && !wait_until(c, is_connected, NULL, timeout_ms))
		st = fail(ESCROW_E_UNREACHABLE, "no connection within %d ms", timeout_ms);
	else if (st == ESCROW_OK)
		st = client_usable(c);
	client_leave(c);
	return st;
}

static bool
none_under_way(escrow_client *c, void *arg)
{
	return atomic_load(&c->under_way[*(const unsigned *)arg & 1]) == 0;
}

/* One at a time. */
static bool
may_flush(escrow_client *c, void *arg)
{
	(void)arg;
	return !atomic_exchange(&c->flushing, true);
}

/*
 * All that was there before: requests are counted under one of two numbers, and with each flush
 * the next ones count under the other, so those that come meanwhile are not waited for.
 */
static bool
flush(escrow_client *c, int64_t timeout_ms)
{
	int64_t until = clock_ns() + timeout_ms * NS_PER_MS;
	unsigned old, other;
	bool done;

	/* Not a lock: somebody else may have more time for his. */
	if (!wait_until(c, may_flush, NULL, timeout_ms))
		return false;
	timeout_ms = (until - clock_ns()) / NS_PER_MS;
	atomic_fetch_add(&c->hurry, 1);
	atomic_store(&c->asleep, true); /* wakes it whatever it does */
	engine_wake(c);
	old = atomic_load(&c->parity);
	other = old + 1;
	done = wait_until(c, none_under_way, &other, timeout_ms);
	if (done) {
		int64_t left = (until - clock_ns()) / NS_PER_MS;

		atomic_store(&c->parity, other);
		done = wait_until(c, none_under_way, &old, left > 0 ? left : 0);
	}
	atomic_fetch_sub(&c->hurry, 1);
	atomic_store(&c->flushing, false);
	client_changed(c);
	return done;
}

escrow_status
escrow_flush(escrow_client *c, int timeout_ms)
{
	escrow_status st = client_enter(c);

	if (st != ESCROW_OK)
		return st;
	st = client_may_block(c);
	if (st == ESCROW_OK && !flush(c, timeout_ms))
		st = fail(ESCROW_E_TIMEOUT, "requests are under way after %d ms", timeout_ms);
	client_leave(c);
	return st;
}

int
escrow_fd(const escrow_client *c)
{
	return c ? c->engine.epoll : -1;
}

int
escrow_poll(escrow_client *c, int timeout_ms)
{
	if (client_usable(c) != ESCROW_OK)
		return -1;
	if (c->has_thread || client_in_callback(c)) {
		(void)fail(ESCROW_E_ARG, "escrow_poll() is for poll mode, outside of callbacks");
		return -1;
	}
	c->callbacks = 0;
	turn(c, timeout_ms < 0 ? TIME_NEVER : timeout_ms * NS_PER_MS);
	return c->callbacks + checks_run(c);
}

escrow_status
escrow_get_stats(const escrow_client *c, escrow_stats *ret_stats)
{
	escrow_stats s = ESCROW_STATS_INIT;

	if (!c || !ret_stats || ret_stats->struct_size < sizeof(size_t))
		return fail(ESCROW_E_ARG, "escrow_get_stats: struct_size is not set");
	s.struct_size = ret_stats->struct_size < sizeof(s) ? ret_stats->struct_size : sizeof(s);
	s.half_sends = atomic_load(&c->stats.half_sends);
	s.half_sends_ok = atomic_load(&c->stats.half_sends_ok);
	s.decisions = atomic_load(&c->stats.decisions);
	s.decisions_ok = atomic_load(&c->stats.decisions_ok);
	s.repeats = atomic_load(&c->stats.repeats);
	s.checks = atomic_load(&c->stats.checks);
	s.checks_dropped = atomic_load(&c->stats.checks_dropped);
	s.connects = atomic_load(&c->stats.connects);
	s.writes = atomic_load(&c->stats.writes);
	s.in_flight = atomic_load(&c->under_way[0]) + atomic_load(&c->under_way[1]);
	s.connected = atomic_load(&c->connected);
	s.rocketmq = atomic_load(&c->stats.rocketmq);
	memcpy(ret_stats, &s, s.struct_size);
	return ESCROW_OK;
}

/* ---- close ----------------------------------------------------------------------------------- */

escrow_status
escrow_close(escrow_client *c, int timeout_ms)
{
	escrow_status st = ESCROW_OK;

	if (!c)
		return ESCROW_OK;
	if (atomic_load(c->alive) == 0) {
		engine_close(c); /* its threads and locks are not here: the rest is left alone */
		return ESCROW_OK;
	}
	if (client_in_callback(c) || checks_is_runner(c))
		return fail(ESCROW_E_ARG, "a callback may not close the client");
	if (!flush(c, timeout_ms > 0 ? timeout_ms : 0))
		st = fail(ESCROW_E_TIMEOUT, "requests were under way after %d ms", timeout_ms);
	atomic_store(&c->closed, true);
	client_changed(c);
	checks_stop(c);
	if (c->has_thread) {
		atomic_store(&c->stop, true);
		atomic_store(&c->asleep, true);
		engine_wake(c);
		pthread_join(c->thread, NULL);
	}
	/* Who counted a request before we closed pushes it now or soon; then it leaves. */
	c->poller = pthread_self();
	atomic_store(&c->polling, true);
	do {
		engine_fail_all(c);
		sched_yield();
	} while (atomic_load(&c->under_way[0]) + atomic_load(&c->under_way[1]) > 0 ||
		 atomic_load(&c->inside) > 0);
	atomic_store(&c->polling, false);
	engine_close(c);
	checks_done(c);
	client_drop(c);
	return st;
}
