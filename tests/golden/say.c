/*
 * say.c -- what a start found, as text: each record and each transaction.
 *
 * The format is kept for ever, as the journals are, whatever the tools print.
 */
#include "golden/daemon.h"

#include <inttypes.h>

#include "base/err.h"

static void
say_str(const char *name, struct str s)
{
	printf(" %s=", name);
	if (!s.p) {
		printf("null");
		return;
	}
	putchar('"');
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		printf(c < 0x20 || c > 0x7e || c == '"' || c == '\\' ? "\\x%02x" : "%c", c);
	}
	putchar('"');
}

static void
say_gid(struct gid gid)
{
	char text[GID_TEXT];

	gid_format(gid, text);
	printf(" gid=%s", text);
}

static void
say_decision(const struct decision *d)
{
	printf(" decided=%s origin=%d ms=%" PRIu64, d->state ? txn_state_name(d->state) : "none",
	       d->origin, d->ms);
	say_str("who", d->who);
}

static void
say_half(const struct half *h)
{
	say_gid(h->gid);
	printf(" check=%" PRIu64, h->check);
	say_str("group", h->group);
	say_str("key", h->key);
	say_str("from", h->from);
	say_str("edge", h->edge);
	printf(" kind=%d arrived=%" PRIu64 " born=%" PRIu64 " immunity=%" PRIu32 " db=", h->kind,
	       h->arrived_ms, h->born_ms, h->immunity_ms);
	for (size_t i = 0; h->has_db_id && i < sizeof(h->db_id); i++)
		printf("%02x", h->db_id[i]);
	printf(" body=%016" PRIx64 "%016" PRIx64 "\n", h->body_hash.hi, h->body_hash.lo);
	for (uint32_t i = 0; i < h->count; i++) {
		const struct message *m = &h->messages[i];
		struct header header;

		printf("  message %" PRIu32, i);
		say_str("topic", m->topic);
		printf(" partition=%" PRId32 " codec=%d plain=%" PRIu32, m->partition, m->codec,
		       m->plain_bytes);
		say_str("key", m->key);
		say_str("value", m->value);
		for (size_t at = 0; headers_next(m->headers, &at, &header);) {
			say_str("header", header.name);
			say_str("is", header.value);
		}
		printf("\n");
	}
}

static void
say_topic(const struct entry_topic *t)
{
	printf(" number=%" PRIu32, t->number);
	say_str("name", t->name);
	printf(" partitions=%" PRId32 " max_bytes=%" PRIu32 "\n", t->partitions, t->max_bytes);
}

static void
say_state(const struct entry_state *s)
{
	printf("state shard=%u opened=%" PRIu64 " next_seq=%" PRIu64 " last_ms=%" PRIu64
	       " audit=%" PRIu64,
	       s->shard, s->opened_ms, s->next_seq, s->last_ms, s->audit_number);
	say_str("cluster", s->cluster);
	printf("\n");
	for (uint32_t i = 0; i < s->topic_count; i++) {
		printf("  topic");
		say_topic(&s->topics[i]);
	}
	for (uint32_t i = 0; i < s->lane_count; i++)
		printf("  lane topic=%" PRIu32 " partition=%" PRId32 " next_n=%" PRIu64
		       " low=%" PRIu64 "\n",
		       s->lanes[i].topic, s->lanes[i].partition, s->lanes[i].next_n,
		       s->lanes[i].low);
}

static void
say_copy(const struct entry_copy *e)
{
	printf("copy state=%s generation=%u checks=%" PRIu32 " since=%" PRIu64,
	       txn_state_name(e->state), e->generation, e->checks, e->since_ms);
	say_decision(&e->decision);
	say_half(&e->half);
	for (uint32_t i = 0; e->parts && i < e->half.count; i++)
		printf("  part topic=%" PRIu32 " partition=%" PRId32 " n=%" PRIu64
		       " state=%d code=%" PRId32 "\n",
		       e->parts[i].topic, e->parts[i].partition, e->parts[i].n, e->parts[i].state,
		       e->parts[i].code);
}

static void
say_numbers(const uint64_t *n, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		printf(" %" PRIu64, n[i]);
	printf("\n");
}

static void
say_audit(const struct entry_audit *e)
{
	printf("audit number=%" PRIu64 " ms=%" PRIu64, e->number, e->ms);
	say_gid(e->gid);
	say_str("verb", e->verb);
	say_str("who", e->who);
	say_str("reason", e->reason);
	say_str("outcome", e->outcome);
	printf(" chain=");
	for (size_t i = 0; i < sizeof(e->chain); i++)
		printf("%02x", e->chain[i]);
	printf("\n");
}

void
say_entry(const struct entry *e)
{
	switch (e->type) {
	case ENTRY_STATE:
		say_state(&e->state);
		return;
	case ENTRY_HALF:
		printf("half");
		say_half(&e->half.half);
		return;
	case ENTRY_DECISION:
		printf("decision seq=%" PRIu64, e->decision.seq);
		say_decision(&e->decision.decision);
		printf(" n");
		say_numbers(e->decision.n, e->decision.count);
		return;
	case ENTRY_GENERATION:
		printf("generation seq=%" PRIu64 " generation=%u ms=%" PRIu64 "\n",
		       e->generation.seq, e->generation.generation, e->generation.ms);
		return;
	case ENTRY_CHECKS:
		printf("checks seq=%" PRIu64 " checks=%" PRIu32 " ms=%" PRIu64 " parked=%d\n",
		       e->checks.seq, e->checks.checks, e->checks.ms, e->checks.parked);
		return;
	case ENTRY_RESUMED:
		printf("resumed seq=%" PRIu64 " ms=%" PRIu64 "\n", e->resumed.seq, e->resumed.ms);
		return;
	case ENTRY_PUBLISHED:
		printf("published topic=%" PRIu32 " partition=%" PRId32 " low=%" PRIu64 " done",
		       e->published.topic, e->published.partition, e->published.low);
		say_numbers(e->published.done, e->published.done_count);
		return;
	case ENTRY_REFUSED:
		printf("refused seq=%" PRIu64 " index=%" PRIu32 " code=%" PRId32 " ms=%" PRIu64
		       "\n",
		       e->refused.seq, e->refused.index, e->refused.code, e->refused.ms);
		return;
	case ENTRY_RETRIED:
		printf("retried seq=%" PRIu64 " ms=%" PRIu64 "\n", e->retried.seq, e->retried.ms);
		return;
	case ENTRY_DISCARDED:
		printf("discarded seq=%" PRIu64 " ms=%" PRIu64 "\n", e->discarded.seq,
		       e->discarded.ms);
		return;
	case ENTRY_TOPIC:
		printf("topic");
		say_topic(&e->topic);
		return;
	case ENTRY_STUB:
		printf("stub state=%s generation=%u check=%" PRIu64, txn_state_name(e->stub.state),
		       e->stub.generation, e->stub.check);
		say_gid(e->stub.gid);
		say_decision(&e->stub.decision);
		say_str("group", e->stub.group);
		say_str("key", e->stub.key);
		printf(" arrived=%" PRIu64 " body=%016" PRIx64 "%016" PRIx64 "\n",
		       e->stub.arrived_ms, e->stub.body_hash.hi, e->stub.body_hash.lo);
		return;
	case ENTRY_COPY:
		say_copy(&e->copy);
		return;
	case ENTRY_AUDIT:
		say_audit(&e->audit);
		return;
	case ENTRY_CLUSTER:
		printf("cluster");
		say_str("id", e->cluster.id);
		printf("\n");
		return;
	case ENTRY_OLDEST: /* the journal's own: nobody is handed it */
		break;
	}
	printf("record %d\n", e->type);
}

/* Its half message can be read back, and is the one. */
static void
say_body(struct daemon *d, const struct row_view *r)
{
	const struct half *half = NULL;
	int err = journal_fetch(d->journal, r->place, FOR_SHOW, &half);

	while (err == ERR_AGAIN) {
		d->disk->ops->wait(d->disk);
		MUST(journal_poll(d->journal, d->now_ns) == 0);
		err = journal_fetch(d->journal, r->place, FOR_SHOW, &half);
	}
	if (err)
		printf(" body=%s\n", err_name(err));
	else
		printf(" body=%016" PRIx64 "\n",
		       gid_eq(half->gid, r->gid) ? half->body_hash.lo : 0);
}

void
say_rows(struct daemon *d)
{
	static struct list_page page;
	struct list_query q = { .limit = LIMIT_LIST_PAGE };

	do {
		core_list(d->core, &q, &page);
		for (uint32_t i = 0; i < page.count; i++) {
			const struct row_view *r = &page.rows[i];

			printf("row");
			say_gid(r->gid);
			printf(" state=%s generation=%u checks=%" PRIu32 " messages=%" PRIu32,
			       txn_state_name(r->state), r->generation, r->checks, r->count);
			say_str("group", r->group);
			say_str("topic", r->topic);
			printf(" partition=%" PRId32 " arrived=%" PRIu64 " decided=%" PRIu64
			       " origin=%d published=%" PRIu32 " refused=%" PRIu32 " code=%" PRId32,
			       r->partition, r->arrived_ms, r->decided_ms, r->origin, r->published,
			       r->refused, r->refused_code);
			if (!r->place.len) {
				printf(" body=gone\n");
				continue;
			}
			say_body(d, r);
		}
		q.after_seq = page.next_seq;
	} while (page.next_seq);
}
