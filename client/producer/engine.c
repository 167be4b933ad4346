/*
 * engine.c -- one turn: what was queued goes out, what comes in is completed.
 *
 *      queue --> waiting --> table[opaque] --> done()        requests.c
 *                              |       ^
 *                       out -> socket -> in                  connect.c: which socket
 *
 * A turn: take what was queued, see to the times, write once, sleep, read what came, complete it.
 * Answers are completed while they are read, and what the completions ask for is
 * in the same next write: so a thousand transactions under way cost three system calls.
 */
#include "producer/inside.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define IN_ROOM    (256u << 10)
#define OUT_FULL   (1u << 20)  /* more is not prepared before the socket took some */
#define OUT_LINGER (64u << 10) /* so much is written without lingering */
#define OUT_KEEP   (4u << 20)

int64_t
clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* ---- the queue ------------------------------------------------------------------------------- */

void
engine_wake(escrow_client *c)
{
	uint64_t one = 1;

	if (atomic_exchange(&c->asleep, false))
		(void)!write(c->engine.wake, &one, sizeof(one)); /* full: it is awake */
}

void
engine_push(escrow_client *c, struct op *op, struct op *behind)
{
	struct op *head = atomic_load_explicit(&c->queue, memory_order_relaxed);
	struct op *newest = behind ? behind : op;

	if (behind)
		behind->next = op;
	do {
		op->next = head;
	} while (!atomic_compare_exchange_weak(&c->queue, &head, newest));
	if (atomic_load(&c->asleep))
		engine_wake(c);
}

/* The newest is first in it. */
static void
take_queue(escrow_client *c)
{
	struct engine *e = &c->engine;
	struct op *op, *next, *first = NULL;

	if (!atomic_load_explicit(&c->queue, memory_order_relaxed))
		return;
	for (op = atomic_exchange(&c->queue, NULL); op; op = next) {
		next = op->next;
		op->next = first;
		first = op;
	}
	for (op = first; op; op = next) {
		next = op->next;
		ops_add(&e->waiting, op);
		e->next_ns = min_ns(e->next_ns, op->deadline_ns);
	}
}

/* ---- out ------------------------------------------------------------------------------------- */

static bool
out_reserve(struct engine *e, size_t n)
{
	size_t room = e->out_room ? e->out_room : 64u << 10;
	uint8_t *grown;

	if (e->out_at == e->out_n)
		e->out_at = e->out_n = 0;
	if (e->out_room - e->out_n >= n)
		return true;
	while (room - e->out_n < n)
		room *= 2;
	grown = realloc(e->out, room);
	if (!grown)
		return false;
	e->out = grown;
	e->out_room = room;
	return true;
}

void
engine_append(escrow_client *c, struct op *op)
{
	struct engine *e = &c->engine;

	if (!out_reserve(e, op->n) || (!op->oneway && !table_add(e, op))) {
		op_finish(c, op, op->doubt ? ESCROW_E_TIMEOUT : ESCROW_E_NOMEM, "out of memory",
			  NULL);
		return;
	}
	if (!op->oneway)
		wire_set_opaque(op->frame, op->opaque);
	if (e->out_n == e->out_at)
		e->linger_ns = e->now_ns + c->conf->linger_us * NS_PER_US;
	if (op->urgent)
		e->linger_ns = 0;
	memcpy(e->out + e->out_n, op->frame, op->n);
	e->out_n += op->n;
	e->appended += op->n;
	op->end = e->appended;
	e->next_ns = min_ns(e->next_ns, op->deadline_ns);
	if (op->oneway)
		op_finish(c, op, ESCROW_OK, NULL, NULL);
}

static void
send_waiting(escrow_client *c)
{
	struct engine *e = &c->engine;

	while (e->ready && !e->leave_ns && e->waiting.head && e->out_n - e->out_at < OUT_FULL) {
		struct op *op = e->waiting.head;
		const char *why = NULL;

		ops_remove(&e->waiting, op);
		/* Sent to another broker before, it may have been taken there. */
		if (e->rocketmq && (why = rocketmq_frame(op)) != NULL)
			op_finish(c, op, op->doubt ? ESCROW_E_TIMEOUT : ESCROW_E_UNSUPPORTED, why,
				  NULL);
		else
			engine_append(c, op);
	}
}

static void
write_out(escrow_client *c)
{
	struct engine *e = &c->engine;
	ssize_t n;

	if (e->out_n - e->out_at < OUT_LINGER && e->linger_ns > e->now_ns &&
	    atomic_load(&c->hurry) == 0)
		return;
	while (e->out_at < e->out_n) {
		n = link_write(&e->link, e->out + e->out_at, e->out_n - e->out_at);
		if (n < 0) {
			connect_lost(c);
			return;
		}
		atomic_fetch_add_explicit(&c->stats.writes, 1, memory_order_relaxed);
		if (n == 0)
			break;
		e->out_at += (size_t)n;
		e->taken += (size_t)n;
	}
	if (e->out_at == e->out_n && e->out_room > OUT_KEEP) {
		free(e->out);
		e->out = NULL;
		e->out_n = e->out_at = e->out_room = 0;
	}
	e->link.want_write = e->out_at < e->out_n;
	connect_watch(c);
}

/* ---- in -------------------------------------------------------------------------------------- */

static bool
begins(struct wire_str s, const char *text)
{
	size_t n = strlen(text);

	return s.n >= n && memcmp(s.p, text, n) == 0;
}

/* What an answer means: PROTOCOL.md, section 6; RocketMQ's own codes are among them. */
static escrow_status
status_of(const struct op *op, const struct wire_command *a)
{
	switch (a->code) {
	case WIRE_SUCCESS:
		return ESCROW_OK;
	case WIRE_SYSTEM_BUSY:
		return ESCROW_E_BUSY;
	case WIRE_NOT_SUPPORTED:
		return ESCROW_E_UNSUPPORTED;
	case WIRE_TRANSACTION_FAILED:
		return ESCROW_E_DECIDED;
	case WIRE_NO_PERMISSION:
		return ESCROW_E_AUTH;
	case WIRE_TOPIC_NOT_EXIST:
		return ESCROW_E_TOPIC;
	case WIRE_SYSTEM_ERROR:
		return op->kind == OP_END && begins(a->remark, "not found") ? ESCROW_E_NOT_FOUND
									    : ESCROW_E_REFUSED;
	default:
		break;
	}
	if (begins(a->remark, "decided"))
		return ESCROW_E_DECIDED;
	if (begins(a->remark, "key reused"))
		return ESCROW_E_KEY_REUSED;
	if (begins(a->remark, "too big"))
		return ESCROW_E_TOO_BIG;
	return ESCROW_E_REFUSED;
}

static void
answered(escrow_client *c, const struct wire_command *a)
{
	struct op *op = table_take(&c->engine, a->opaque);
	escrow_status status;
	char why[DETAIL_MAX];

	if (!op)
		return; /* of a request whose time is over */
	status = status_of(op, a);
	if (status == ESCROW_OK) {
		op_finish(c, op, status, NULL, a);
		return;
	}
	if (status == ESCROW_E_BUSY && op->kind <= OP_WATERMARK && op_put_off(&c->engine, op))
		return;
	/* Refused now, but an earlier attempt may have been taken. */
	if (op->doubt && escrow_is_retriable(status))
		status = ESCROW_E_TIMEOUT;
	(void)snprintf(why, sizeof(why), "%.*s", (int)(a->remark.n < 500 ? a->remark.n : 500),
		       a->remark.n ? a->remark.p : "");
	if (!why[0])
		(void)snprintf(why, sizeof(why), "the broker refused it with code %d", a->code);
	op_finish(c, op, status, why, a);
}

static void
frame(escrow_client *c, const struct wire_command *command)
{
	if (command->flag & WIRE_RESPONSE)
		answered(c, command);
	else if (command->code == WIRE_CHECK_TRANSACTION)
		checks_take(c, command);
	/* Else: one of RocketMQ's messages to consumers. */
}

/* All whole frames; false: what came is none. */
static bool
frames(escrow_client *c, size_t *ret_need)
{
	struct engine *e = &c->engine;
	size_t at = 0, total = 0;
	bool good = true;

	*ret_need = 0;
	while (e->link.state == LINK_OPEN && !e->hello_failed) {
		struct wire_command command WIRE_UNSET;
		int err = wire_frame_size(e->in + at, e->in_n - at, SIZE_MAX, &total);

		if (err == 0 && total > e->in_n - at) {
			*ret_need = total;
			err = WIRE_E_MORE;
		}
		if (err == WIRE_E_MORE)
			break;
		if (err == 0)
			err = wire_decode(e->in + at, total, &command);
		if (err < 0) {
			good = false;
			break;
		}
		frame(c, &command);
		wire_command_done(&command);
		at += total;
	}
	memmove(e->in, e->in + at, e->in_n - at);
	e->in_n -= at;
	return good && !e->hello_failed;
}

static bool
in_reserve(struct engine *e, size_t need)
{
	size_t room = need > IN_ROOM ? need : IN_ROOM;
	uint8_t *grown;

	if (e->in_room >= room && (need > 0 || e->in_room <= 4 * IN_ROOM))
		return true;
	if (e->in_n > room)
		return true;
	grown = realloc(e->in, room);
	if (!grown)
		return e->in_room > e->in_n;
	e->in = grown;
	e->in_room = room;
	return true;
}

static void
read_in(escrow_client *c)
{
	struct engine *e = &c->engine;
	size_t need = 0;

	e->hello_failed = false;
	for (;;) {
		ssize_t n;
		size_t room;

		if (!in_reserve(e, need)) {
			connect_lost_because(c, "out of memory");
			return;
		}
		room = e->in_room - e->in_n;
		n = link_read(&e->link, e->in + e->in_n, room);
		if (n < 0) {
			connect_lost(c);
			return;
		}
		if (n == 0)
			return;
		e->heard_ns = e->now_ns;
		e->in_n += (size_t)n;
		if (!frames(c, &need)) {
			e->link.fatal = true;
			connect_lost_because(c, "what answers does not speak the protocol");
			return;
		}
		/* A short read was all there is; TLS gives a record at a time. */
		if ((size_t)n < room && !e->link.tls)
			return;
	}
}

/* ---- a turn ---------------------------------------------------------------------------------- */

/* All that can be done without waiting; when there is something to do next. */
static int64_t
prepare(escrow_client *c)
{
	struct engine *e = &c->engine;
	int64_t due;

	take_queue(c);
	requests_sweep(c);
	connect_turn(c);
	send_waiting(c);
	if (e->link.state == LINK_OPEN)
		write_out(c);
	due = e->next_ns;
	if (!e->ready)
		return min_ns(due, e->connect_ns);
	due = min_ns(min_ns(due, e->beat_ns), e->lookup ? TIME_NEVER : e->refresh_ns);
	if (e->leave_ns)
		due = min_ns(due, e->leave_ns);
	if (e->table_count > 0)
		due = min_ns(due, e->heard_ns + c->conf->retry_ms * NS_PER_MS);
	if (e->out_at < e->out_n && !e->link.want_write)
		due = min_ns(due, e->linger_ns);
	return due;
}

static void
arm_timer(struct engine *e, int64_t due)
{
	struct itimerspec t = { { 0, 0 }, { 0, 0 } };

	if (e->timer < 0)
		return;
	if (due != TIME_NEVER) {
		due = due > 0 ? due : 1;
		t.it_value = (struct timespec){ due / 1000000000, due % 1000000000 };
	}
	(void)timerfd_settime(e->timer, TFD_TIMER_ABSTIME, &t, NULL); /* its arguments are right */
}

static void
drain(int fd)
{
	uint64_t count;

	if (fd >= 0)
		(void)!read(fd, &count, sizeof(count)); /* empty already is fine */
}

/* Sleeps until the socket is ready, somebody pushed, or UNTIL_NS. */
static short
sleep_until(escrow_client *c, int64_t until_ns)
{
	struct engine *e = &c->engine;
	struct pollfd fds[2] = { { .fd = e->wake, .events = POLLIN }, { .fd = e->link.fd } };
	struct timespec left = { 0, 0 };
	bool forever = until_ns == TIME_NEVER;

	if (e->link.want_read)
		fds[1].events |= POLLIN;
	if (e->link.want_write)
		fds[1].events |= POLLOUT;
	if (!forever && until_ns > e->now_ns)
		left = (struct timespec){ (until_ns - e->now_ns) / 1000000000,
					  (until_ns - e->now_ns) % 1000000000 };
	atomic_store(&c->asleep, true);
	/* Pushed before `asleep` was seen: nobody wakes us for that. */
	if (atomic_load(&c->queue) || atomic_load(&c->stop)) {
		forever = false;
		left = (struct timespec){ 0, 0 };
	}
	if (ppoll(fds, 2, forever ? NULL : &left, NULL) <= 0)
		fds[0].revents = fds[1].revents = 0;
	atomic_store(&c->asleep, false);
	e->now_ns = clock_ns();
	if (fds[0].revents)
		drain(e->wake);
	return fds[1].revents;
}

void
engine_turn(escrow_client *c, int64_t timeout_ns)
{
	struct engine *e = &c->engine;
	int64_t due, until;
	short events;

	drain(e->timer);
	atomic_store(&c->asleep, false);
	e->now_ns = clock_ns();
	until = timeout_ns == TIME_NEVER ? TIME_NEVER : e->now_ns + timeout_ns;
	due = prepare(c);
	events = sleep_until(c, min_ns(due, until));
	if (events && e->link.state != LINK_OPEN && e->link.state != LINK_CLOSED)
		connect_go_on(c);
	else if (events && e->link.state == LINK_OPEN)
		read_in(c);
	due = prepare(c);
	if (e->timer >= 0) {
		arm_timer(e, due);
		/* Outside of a turn every push wakes whoever waits for escrow_fd(). */
		atomic_store(&c->asleep, true);
		if (atomic_load(&c->queue))
			engine_wake(c);
	}
}

/* ---- begin and end --------------------------------------------------------------------------- */

static escrow_status
no_descriptor(void)
{
	return fail(ESCROW_E_NOMEM, "no file descriptor: %s", strerror(errno));
}

static escrow_status
open_poll(struct engine *e)
{
	struct epoll_event ev = { .events = EPOLLIN };

	e->epoll = epoll_create1(EPOLL_CLOEXEC);
	e->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (e->epoll < 0 || e->timer < 0 || epoll_ctl(e->epoll, EPOLL_CTL_ADD, e->timer, &ev) < 0 ||
	    epoll_ctl(e->epoll, EPOLL_CTL_ADD, e->wake, &ev) < 0)
		return no_descriptor();
	arm_timer(e, 1); /* the first turn connects */
	return ESCROW_OK;
}

escrow_status
engine_open(escrow_client *c)
{
	struct engine *e = &c->engine;
	escrow_status st;

	e->epoll = e->wake = e->timer = e->watched_fd = e->link.fd = -1;
	e->next_ns = TIME_NEVER;
	e->backoff_ns = c->conf->backoff_ms * NS_PER_MS;
	if (getrandom(&e->random, sizeof(e->random), 0) != sizeof(e->random))
		e->random = (uint64_t)clock_ns(); /* only jitter */
	st = conf_servers(c->conf->servers ? c->conf->servers : "127.0.0.1", &e->servers,
			  &e->server_count);
	if (st == ESCROW_OK && c->conf->tls)
		st = tls_new(c->conf, &e->tls);
	if (st != ESCROW_OK)
		return st;
	e->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (e->wake < 0)
		return no_descriptor();
	atomic_store(&c->asleep, true);
	return c->conf->mode == MODE_POLL ? open_poll(e) : ESCROW_OK;
}

void
engine_fail_all(escrow_client *c)
{
	struct engine *e = &c->engine;

	e->now_ns = clock_ns();
	take_queue(c);
	if (e->link.state != LINK_CLOSED) {
		(void)snprintf(e->link.why, sizeof(e->link.why), "the client is being closed");
		link_close(&e->link);
	}
	requests_take_back(c);
	connect_set(c, false);
	requests_fail(c, ESCROW_E_CLOSED, "the client is being closed");
}

void
engine_close(escrow_client *c)
{
	struct engine *e = &c->engine;

	link_close(&e->link);
	lookup_abandon(e->lookup);
	tls_free(e->tls);
	servers_free(e->servers, e->server_count);
	free(e->in);
	free(e->out);
	free(e->table);
	for (int *fd = (int[]){ e->epoll, e->wake, e->timer, -2 }; *fd != -2; fd++)
		if (*fd >= 0)
			close(*fd);
}
