/*
 * mailbox.c -- see mailbox.h.
 *
 * One lock, held for a list operation.  `posted` is looked at without it once a turn, so a
 * turn without HTTP costs one load.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/list.h"
#include "http/mailbox.h"

struct mailbox {
	struct net *net;
	pthread_mutex_t lock;
	struct list posted; /* under the lock */
	bool closed;        /* under the lock */
	atomic_bool any;
	struct list waiting; /* the loop's */
	uint64_t last_number;
};

struct mailbox *
mailbox_new(struct net *net)
{
	struct mailbox *mb = mem_alloc(sizeof(*mb));

	mb->net = net;
	pthread_mutex_init(&mb->lock, NULL);
	list_init(&mb->posted);
	list_init(&mb->waiting);
	atomic_init(&mb->any, false);
	return mb;
}

struct mailbox *
mailbox_free(struct mailbox *mb)
{
	if (!mb)
		return NULL;
	CHECK(list_empty(&mb->posted) && list_empty(&mb->waiting), mb->last_number);
	pthread_mutex_destroy(&mb->lock);
	mem_free(mb);
	return NULL;
}

int
mailbox_post(struct mailbox *mb, struct mail *m)
{
	bool closed;

	CHECK(m->done, m->kind);
	pthread_mutex_lock(&mb->lock);
	closed = mb->closed;
	if (!closed) {
		m->number = ++mb->last_number;
		list_add_tail(&mb->posted, &m->node);
		atomic_store(&mb->any, true);
	}
	pthread_mutex_unlock(&mb->lock);
	if (closed)
		return ERR_CLOSED;
	mb->net->ops->wake(mb->net);
	return 0;
}

static struct mail *
take(struct mailbox *mb)
{
	struct mail *m = NULL;

	pthread_mutex_lock(&mb->lock);
	if (!list_empty(&mb->posted)) {
		m = LIST_ENTRY(mb->posted.next, struct mail, node);
		list_del(&m->node);
	}
	if (list_empty(&mb->posted))
		atomic_store(&mb->any, false);
	pthread_mutex_unlock(&mb->lock);
	return m;
}

void
mailbox_turn(struct mailbox *mb, const struct clerk *clerk, int64_t now_ns)
{
	int cost = 0;

	while (cost < HTTP_TURN_COST) {
		struct mail *m;

		if (!atomic_load(&mb->any))
			return;
		m = take(mb);
		if (!m)
			return;
		cost += m->kind == MAIL_LIST ? HTTP_LIST_COST : 1;
		/* Among the waiting first: an answer may come from inside fill(). */
		list_add_tail(&mb->waiting, &m->node);
		if (clerk->fill(clerk->arg, m, now_ns))
			mailbox_done(mb, m);
	}
	if (atomic_load(&mb->any)) /* a turn's worth is done: let the others have theirs */
		mb->net->ops->wake(mb->net);
}

struct mail *
mailbox_find(struct mailbox *mb, uint64_t number)
{
	LIST_EACH (node, &mb->waiting) {
		struct mail *m = LIST_ENTRY(node, struct mail, node);

		if (m->number == number)
			return m;
	}
	return NULL;
}

void
mailbox_done(struct mailbox *mb, struct mail *m)
{
	(void)mb;
	list_del(&m->node);
	m->done(m); /* M may be gone now */
}

void
mailbox_close(struct mailbox *mb)
{
	struct mail *m;

	pthread_mutex_lock(&mb->lock);
	mb->closed = true;
	pthread_mutex_unlock(&mb->lock);
	while ((m = take(mb)) != NULL) {
		m->err = ERR_CLOSED;
		mailbox_done(mb, m);
	}
	while (!list_empty(&mb->waiting)) {
		m = LIST_ENTRY(mb->waiting.next, struct mail, node);
		m->err = ERR_CLOSED;
		mailbox_done(mb, m);
	}
}

/* ---- copies ------------------------------------------------------------------------------ */

void
mail_clear(struct mail *m)
{
	mem_free(m->rows);
	mem_free(m->text);
	mem_free(m->timeline);
	mem_free(m->half);
	mem_free(m->groups);
	mem_free(m->topics);
	mem_free(m->conns);
	if (m->snapshot)
		mem_free(m->snapshot->topics);
	mem_free(m->snapshot);
	m->rows = NULL;
	m->text = NULL;
	m->timeline = NULL;
	m->half = NULL;
	m->groups = NULL;
	m->topics = NULL;
	m->conns = NULL;
	m->snapshot = NULL;
}

/* Moves S's bytes to *AT, which the caller made room at. */
static struct str
move(char **at, struct str s)
{
	struct str moved = { s.p ? *at : NULL, s.n };

	if (s.n)
		memcpy(*at, s.p, s.n);
	*at += s.n;
	return moved;
}

void
mail_take_rows(struct mail *m, const struct row_view *rows, uint32_t count)
{
	size_t bytes = 1;
	char *at;

	CHECK(!m->rows && count <= LIMIT_LIST_PAGE, m->number);
	for (uint32_t i = 0; i < count; i++)
		bytes += rows[i].group.n + rows[i].topic.n;
	m->rows = mem_alloc((count ? count : 1) * sizeof(*rows));
	m->text = at = mem_alloc(bytes);
	for (uint32_t i = 0; i < count; i++) {
		m->rows[i] = rows[i];
		m->rows[i].group = move(&at, rows[i].group);
		m->rows[i].topic = move(&at, rows[i].topic);
	}
	m->count = count;
}

static struct str
cut(const struct message *msg, uint32_t value_bytes, bool whole_if_packed)
{
	struct str s = msg->value;

	if (!(whole_if_packed && msg->codec != CODEC_NONE))
		s.n = min_u64(s.n, value_bytes);
	return s;
}

struct half_copy *
half_copy(const struct half *half, uint32_t value_bytes, bool whole_if_packed)
{
	size_t bytes = half->group.n + half->key.n + half->from.n;
	struct half_copy *copy;
	char *at;

	for (uint32_t i = 0; i < half->count; i++) {
		const struct message *msg = &half->messages[i];

		bytes += msg->topic.n + msg->key.n + msg->headers.bytes.n +
			 cut(msg, value_bytes, whole_if_packed).n;
	}
	bytes += sizeof(*copy) + half->count * (sizeof(struct message) + sizeof(uint64_t));
	copy = mem_alloc(bytes);
	copy->messages = (struct message *)(copy + 1);
	copy->value_bytes = (uint64_t *)(copy->messages + half->count);
	at = (char *)(copy->value_bytes + half->count);
	copy->half = *half;
	copy->half.messages = copy->messages;
	copy->half.group = move(&at, half->group);
	copy->half.key = move(&at, half->key);
	copy->half.from = move(&at, half->from);
	copy->half.edge = STR_NONE;
	for (uint32_t i = 0; i < half->count; i++) {
		const struct message *msg = &half->messages[i];
		struct message *to = &copy->messages[i];

		*to = *msg;
		to->topic = move(&at, msg->topic);
		to->key = move(&at, msg->key);
		to->headers.bytes = move(&at, msg->headers.bytes);
		to->value = move(&at, cut(msg, value_bytes, whole_if_packed));
		copy->value_bytes[i] = msg->value.n;
	}
	CHECK((size_t)(at - (char *)copy) == bytes, half->gid.lo);
	return copy;
}
