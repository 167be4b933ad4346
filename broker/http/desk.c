/*
 * desk.c -- the clerk: fills mails from the core, on the loop's thread.
 *
 * The only file of this folder that reads core, journal, relay and remoting; everything that
 * leaves it is a copy.  A turn's mails are bounded (HTTP_TURN_COST) and so is each of them: a
 * list looks at LIMIT_LIST_SCAN rows, a page has LIMIT_LIST_PAGE.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/err.h"
#include "http/inside.h"

struct desk {
	struct mailbox *mb;
	struct loop *loop;
	uint32_t max_topics;
	uint64_t wall_ms; /* of this turn: for display, never a deadline */
	int64_t now_ns;
	struct tally tally;
	struct list_page page; /* too large for a stack */
};

static uint64_t
wall_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static struct desk *
desk_new(struct mailbox *mb, struct loop *l, uint32_t max_topics)
{
	struct desk *s = mem_alloc(sizeof(*s));

	s->mb = mb;
	s->loop = l;
	s->max_topics = max_topics;
	s->wall_ms = wall_ms();
	return s;
}

static struct desk *
desk_free(struct desk *s)
{
	mem_free(s);
	return NULL;
}

static void
copy_text(char *to, size_t size, struct str s)
{
	size_t n = min_u64(s.n, size - 1);

	if (n)
		memcpy(to, s.p, n);
	to[n] = '\0';
}

/* ---- one function a kind of mail ------------------------------------------------------------ */

static void
copy_topic(struct topic_brief *to, const struct topic_view *v)
{
	copy_text(to->name, sizeof(to->name), v->name);
	to->pending = v->pending;
	to->frozen = v->frozen;
	to->partitions = v->partitions;
	to->max_bytes = v->max_bytes;
}

static void
fill_snapshot(struct desk *s, struct mail *m)
{
	struct core *core = loop_core(s->loop);
	struct snapshot *snap = mem_alloc(sizeof(*snap));
	struct topic_view v;
	uint32_t at = 0;

	snap->wall_ms = s->wall_ms;
	snap->now_ns = s->now_ns;
	snap->core = *core_stats(core);
	snap->journal = *journal_stats(loop_journal(s->loop));
	snap->remoting = *remoting_stats(loop_remoting(s->loop));
	snap->relay = *relay_stats(loop_relay(s->loop));
	snap->tally = s->tally;
	snap->owed = core_owed(core);
	memcpy(snap->journal_id, core_journal_id(core), sizeof(snap->journal_id));
	if (m->want_topics && s->max_topics) {
		snap->topics = mem_alloc(s->max_topics * sizeof(*snap->topics));
		while (snap->topic_count < s->max_topics && core_topic_next(core, &at, &v))
			copy_topic(&snap->topics[snap->topic_count++], &v);
	}
	m->snapshot = snap;
}

static void
fill_list(struct desk *s, struct mail *m)
{
	core_list(loop_core(s->loop), &m->query, &s->page);
	mail_take_rows(m, s->page.rows, s->page.count);
	m->next_seq = s->page.next_seq;
}

static bool
fill_txn(struct desk *s, struct mail *m)
{
	struct core *core = loop_core(s->loop);
	const struct half *half;
	struct row_view row;
	int err;

	m->err = core_get(core, m->gid, &row);
	if (m->err)
		return true;
	mail_take_rows(m, &row, 1);
	m->timeline = mem_alloc(LIMIT_TIMELINE * sizeof(*m->timeline));
	m->timeline_count = core_timeline(core, m->gid.lo, m->timeline, LIMIT_TIMELINE);
	if (!m->want_half || m->rows[0].place.len == 0) /* 0: only a stub is left */
		return true;
	err = journal_fetch(loop_journal(s->loop), m->rows[0].place, FETCH_HOOK | m->number, &half);
	if (err == ERR_AGAIN)
		return false;
	if (err)
		m->half_err = err;
	else
		m->half = half_copy(half, m->value_bytes, m->whole_if_packed);
	return true;
}

static void
fill_groups(struct desk *s, struct mail *m)
{
	struct group_view v;
	uint32_t at = m->at;

	m->groups = mem_alloc(m->limit * sizeof(*m->groups));
	while (m->count < m->limit && core_group_next(loop_core(s->loop), &at, &v)) {
		struct group_brief *to = &m->groups[m->count++];

		copy_text(to->name, sizeof(to->name), v.name);
		to->listeners = v.listeners;
		to->waiting = v.waiting;
		to->waiting_bytes = v.waiting_bytes;
		to->silent = v.silent;
	}
	m->next = m->count == m->limit ? at : 0;
}

static void
fill_topics(struct desk *s, struct mail *m)
{
	struct topic_view v;
	uint32_t at = m->at;

	m->topics = mem_alloc(m->limit * sizeof(*m->topics));
	while (m->count < m->limit && core_topic_next(loop_core(s->loop), &at, &v))
		copy_topic(&m->topics[m->count++], &v);
	m->next = m->count == m->limit ? at : 0;
}

static void
fill_connections(struct desk *s, struct mail *m)
{
	struct conn_view v;
	uint32_t at = m->at;

	m->conns = mem_alloc(m->limit * sizeof(*m->conns));
	while (m->count < m->limit && remoting_conn_next(loop_remoting(s->loop), &at, &v)) {
		struct conn_brief *to = &m->conns[m->count++];

		to->peer = v.peer;
		net_addr_format(&v.addr, to->addr);
		copy_text(to->client_id, sizeof(to->client_id), v.client_id);
		copy_text(to->language, sizeof(to->language), v.language);
		to->version = v.version;
		to->requests = v.requests;
		to->binary = v.binary;
	}
	m->next = m->count == m->limit ? at : 0;
}

static bool
fill(void *arg, struct mail *m, int64_t now_ns)
{
	struct desk *s = arg;

	s->now_ns = now_ns;
	m->wall_ms = s->wall_ms;
	switch (m->kind) {
	case MAIL_SNAPSHOT:
		fill_snapshot(s, m);
		return true;
	case MAIL_LIST:
		fill_list(s, m);
		return true;
	case MAIL_TXN:
		return fill_txn(s, m);
	case MAIL_OPERATE:
		m->op.to = (struct reply_to){ PEER_HTTP | m->number, m->number };
		core_operate(loop_core(s->loop), &m->op);
		return false; /* it may be done already: then M is gone, and so says false */
	case MAIL_GROUPS:
		fill_groups(s, m);
		return true;
	case MAIL_TOPICS:
		fill_topics(s, m);
		return true;
	case MAIL_CONNECTIONS:
		fill_connections(s, m);
		return true;
	case MAIL_WATERMARK:
		m->watermark = core_watermark(loop_core(s->loop), m->db_id);
		m->unpublished = core_unpublished(loop_core(s->loop));
		return true;
	}
	abort();
}

static struct clerk
desk_clerk(struct desk *s)
{
	return (struct clerk){ s, fill };
}

/* ---- what the loop tells ----------------------------------------------------------------- */

static void
desk_tally(struct desk *s, int64_t now_ns)
{
	s->wall_ms = wall_ms();
	if (tally_due(&s->tally, now_ns))
		tally_sample(&s->tally, core_stats(loop_core(s->loop)), now_ns);
}

static void
desk_note(struct desk *s, const struct note *note)
{
	tally_note(&s->tally, note, s->wall_ms);
}

static void
desk_answer(struct desk *s, struct reply_to to, const struct answer *answer)
{
	struct mail *m = mailbox_find(s->mb, to.tag);

	CHECK(m && m->kind == MAIL_OPERATE, to.tag); /* one answer to each */
	m->answer = *answer;
	m->answer.why = NULL;
	copy_text(m->why, sizeof(m->why), str_of(answer->why));
	mailbox_done(s->mb, m);
}

static void
desk_fetched(struct desk *s, uint64_t token, int err, const struct half *half)
{
	struct mail *m = mailbox_find(s->mb, token);

	CHECK(m && m->kind == MAIL_TXN, token);
	if (err)
		m->half_err = err;
	else
		m->half = half_copy(half, m->value_bytes, m->whole_if_packed);
	mailbox_done(s->mb, m);
}

/* ---- hooks ------------------------------------------------------------------------------- */

static void
hook_turn(void *arg, struct core *core, int64_t now_ns)
{
	struct http *h = arg;

	(void)core;
	if (!h->desk)
		return;
	desk_tally(h->desk, now_ns);
	mailbox_turn(h->mailbox, &h->clerk, now_ns);
}

static void
hook_answer(void *arg, struct reply_to to, const struct answer *answer)
{
	struct http *h = arg;

	desk_answer(h->desk, to, answer);
}

static void
hook_fetched(void *arg, uint64_t token, int err, const struct half *half)
{
	struct http *h = arg;

	desk_fetched(h->desk, token, err, half);
}

static void
hook_note(void *arg, const struct note *note)
{
	struct http *h = arg;

	if (h->desk) /* recovery is not counted */
		desk_note(h->desk, note);
}

static void
hook_progress(void *arg, uint64_t i, uint64_t n)
{
	struct http *h = arg;

	atomic_store(&h->recovered, i);
	atomic_store(&h->to_recover, n);
}

void
http_hooks(struct http *h, struct loop_hooks *ret_hooks)
{
	*ret_hooks = (struct loop_hooks){ .arg = h,
					  .turn = hook_turn,
					  .answer = hook_answer,
					  .fetched = hook_fetched,
					  .note = hook_note,
					  .progress = hook_progress };
}

static void
stop_serving(struct http *h)
{
	h->desk = desk_free(h->desk);
}

void
http_serving(struct http *h, struct loop *l)
{
	CHECK(!h->desk, 0);
	h->desk = desk_new(h->mailbox, l, h->conf.max_topics);
	h->clerk = desk_clerk(h->desk);
	h->stop_serving = stop_serving;
	atomic_store(&h->state, HTTP_SERVING);
}
