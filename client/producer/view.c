/*
 * view.c -- what a check asks about: read from the broker's command, shown to the listener.
 */
#include "producer/inside.h"

#include <stdio.h>
#include <stdlib.h>

static bool
is_one_of(struct wire_str name, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (name.n == strlen(names[i]) && memcmp(name.p, names[i], name.n) == 0)
			return true;
	return false;
}

/* What the broker and RocketMQ's clients put there for themselves. */
static bool
is_system(struct wire_str name, bool rocketmq)
{
	static const char *const names[] = {
		"TRAN_MSG",
		"PGROUP",
		"UNIQ_KEY",
		"__transactionId__",
		"TRANSACTION_CHECK_TIMES",
		"ESCROW_DB",
		"__SHARDINGKEY",
		"WAIT",
		"REAL_TOPIC",
		"REAL_QID",
		"CHECK_IMMUNITY_TIME_IN_SECONDS",
	};
	static const char *const theirs[] = {
		"KEYS", "MSG_REGION", "CLUSTER", "TRACE_ON", "TRAN_PREPARED_QUEUE_OFFSET",
	};

	return is_one_of(name, names, sizeof(names) / sizeof(names[0])) ||
	       (rocketmq && is_one_of(name, theirs, sizeof(theirs) / sizeof(theirs[0])));
}

static bool
copy_text(char *to, size_t room, struct wire_str s)
{
	if (s.n >= room || (s.n > 0 && memchr(s.p, 0, s.n)))
		return false;
	memcpy(to, s.n ? s.p : "", s.n);
	to[s.n] = '\0';
	return true;
}

/* The Kafka key: the broker's own property of it, or else the first of RocketMQ's KEYS. */
static struct wire_str
key_of(struct wire_str properties)
{
	struct wire_str key = { NULL, 0 };
	const char *blank;

	if (wire_property_find(properties, "__SHARDINGKEY", &key) ||
	    !wire_property_find(properties, "KEYS", &key))
		return key;
	blank = memchr(key.p, ' ', key.n);
	if (blank)
		key.n = (size_t)(blank - key.p);
	return key;
}

static bool
take_headers(struct seen_message *m, struct wire_str properties, bool rocketmq)
{
	struct wire_field f;
	size_t count = 0;

	for (size_t at = 0; wire_property_next(properties, &at, &f);)
		count++;
	m->headers = calloc(count + 1, sizeof(*m->headers));
	if (!m->headers)
		return false;
	for (size_t at = 0; wire_property_next(properties, &at, &f);) {
		if (is_system(f.name, rocketmq))
			continue;
		m->headers[m->header_count++] = (escrow_header){ f.name.p, f.value.p, f.value.n };
	}
	return true;
}

/* Names become strings: each ends with a mark that nobody reads any more. */
static void
end_names(const struct seen_message *m)
{
	for (size_t i = 0; i < m->header_count; i++) {
		const escrow_header *h = &m->headers[i];
		char *name = (char *)(uintptr_t)h->name;
		char *mark = memchr(name, 1, (size_t)((const char *)h->value - name));

		if (mark)
			*mark = '\0';
	}
}

static bool
take_one(struct escrow_view *v, const struct wire_message *w)
{
	struct seen_message *m = realloc(v->messages, (v->count + 1) * sizeof(*m));

	if (!m)
		return false;
	v->messages = m;
	m += v->count++;
	memset(m, 0, sizeof(*m));
	if (!copy_text(m->topic, sizeof(m->topic), w->topic) ||
	    !take_headers(m, w->properties, v->rocketmq))
		return false;
	m->key = key_of(w->properties);
	m->value = w->body;
	return true;
}

/* What is said of the transaction, in the properties of its first message. */
static bool
take_transaction(struct escrow_view *v, struct wire_str properties)
{
	struct wire_str s;
	char text[ESCROW_GID_TEXT];
	int64_t number;

	if (!wire_property_find(properties, "PGROUP", &s) ||
	    !copy_text(v->group, sizeof(v->group), s))
		return false;
	if (wire_property_find(properties, "UNIQ_KEY", &s) && !copy_text(v->id, sizeof(v->id), s))
		return false;
	/* RocketMQ has none, and what it calls so is the UNIQ_KEY. */
	if (v->rocketmq || !wire_property_find(properties, "__transactionId__", &s) ||
	    !gid_take(s, v->gid, v->gid_bytes))
		(void)snprintf(v->gid, sizeof(v->gid), "%032d", 0);
	if (wire_property_find(properties, "ESCROW_DB", &s))
		v->has_db = gid_take(s, text, v->db);
	if (wire_property_find(properties, "TRANSACTION_CHECK_TIMES", &s) && wire_i64(s, &number) &&
	    number > 0 && number <= UINT32_MAX)
		v->number = (uint32_t)number;
	return true;
}

static bool
take_body(struct escrow_view *v)
{
	struct wire_message w;
	size_t at = 0;

	while (at < v->n) {
		const unsigned char *p = (const unsigned char *)v->body + at;
		size_t size = v->n - at;

		if (size >= 4)
			size = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
		if (size > v->n - at || wire_message_decode(p, size, &w) < 0 ||
		    (at == 0 && !take_transaction(v, w.properties)) || !take_one(v, &w))
			return false;
		at += size;
	}
	for (size_t i = 0; i < v->count; i++)
		end_names(&v->messages[i]);
	return v->count > 0;
}

void
view_free(struct escrow_view *v)
{
	for (size_t i = 0; i < v->count; i++)
		free(v->messages[i].headers);
	free(v->messages);
	free(v->remark);
	free(v);
}

struct escrow_view *
view_read(const struct wire_command *command, bool rocketmq)
{
	struct escrow_view *v = calloc(1, sizeof(*v) + command->body.n);

	if (!v)
		return NULL;
	v->rocketmq = rocketmq;
	v->n = command->body.n;
	if (v->n > 0)
		memcpy(v->body, command->body.p, v->n);
	if (!wire_field_i64(command, "commitLogOffset", &v->log_offset) ||
	    !wire_field_i64(command, "tranStateTableOffset", &v->state_offset) || !take_body(v)) {
		view_free(v);
		return NULL;
	}
	return v;
}

/* ---- what a listener sees -------------------------------------------------------------------- */

const char *
escrow_view_gid(const escrow_view *v)
{
	return v->gid;
}

const unsigned char *
escrow_view_gid_bytes(const escrow_view *v)
{
	return v->gid_bytes;
}

const char *
escrow_view_group(const escrow_view *v)
{
	return v->group;
}

const char *
escrow_view_id(const escrow_view *v)
{
	return v->id;
}

const unsigned char *
escrow_view_db_id(const escrow_view *v)
{
	return v->has_db ? v->db : NULL;
}

uint32_t
escrow_view_number(const escrow_view *v)
{
	return v->number;
}

size_t
escrow_view_count(const escrow_view *v)
{
	return v->count;
}

escrow_status
escrow_view_message(const escrow_view *v, size_t index, escrow_message *ret)
{
	const struct seen_message *m;

	if (!v || !ret || index >= v->count || ret->struct_size < sizeof(*ret))
		return fail(ESCROW_E_ARG, "no such message, or struct_size is not set");
	m = &v->messages[index];
	ret->topic = m->topic;
	ret->key = m->key.p;
	ret->key_len = m->key.n;
	ret->value = m->value.p;
	ret->value_len = m->value.n;
	ret->headers = m->headers;
	ret->header_count = m->header_count;
	ret->partition = -1;
	return ESCROW_OK;
}

void
escrow_view_remark(const escrow_view *view, const char *text)
{
	struct escrow_view *v = (struct escrow_view *)(uintptr_t)view;

	free(v->remark);
	v->remark = text && *text ? strndup(text, REMARK_MAX) : NULL;
}
