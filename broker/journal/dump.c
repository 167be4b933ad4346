/*
 * dump.c -- the journal's own reader: dump, verify, stat.
 *
 * Reads what recovery reads with the same parser and the same verdict, changes nothing, takes no
 * lock, and needs no daemon.  On a journal that is being written, the end may look torn.
 */
#include "journal/internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/err.h"

struct reader {
	struct disk *disk;
	struct record_scratch *scratch;
	struct buf text;
	void (*line)(void *arg, struct str line);
	void *arg;
	uint64_t groups, records, bytes, segments;
	uint64_t by_type[ENTRY_CLUSTER + 1];
	uint64_t bytes_by_type[ENTRY_CLUSTER + 1];
};

static void
say(struct reader *r)
{
	if (r->line)
		r->line(r->arg, buf_as_str(&r->text));
	buf_reset(&r->text, 4096);
}

/* Printable, so that a group named with control characters cannot speak to a terminal. */
static void
say_str(struct buf *b, const char *name, struct str s)
{
	buf_printf(b, " %s=\"", name);
	for (size_t i = 0; i < s.n && i < 128; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c < 0x20 || c > 0x7e || c == '"' || c == '\\')
			buf_printf(b, "\\x%02x", c);
		else
			buf_u8(b, c);
	}
	buf_printf(b, s.n > 128 ? "...\"" : "\"");
}

static void
say_half(struct buf *b, const struct half *h)
{
	char gid[GID_TEXT];

	gid_format(h->gid, gid);
	buf_printf(b, " gid=%s messages=%u arrived=%llu", gid, h->count,
		   (unsigned long long)h->arrived_ms);
	say_str(b, "group", h->group);
	say_str(b, "key", h->key);
	say_str(b, "from", h->from);
	for (uint32_t i = 0; i < h->count && i < 4; i++) {
		say_str(b, "topic", h->messages[i].topic);
		buf_printf(b, " partition=%d bytes=%zu", h->messages[i].partition,
			   h->messages[i].value.n);
	}
}

static void
say_decision(struct buf *b, const struct decision *d)
{
	if (!d->state)
		return;
	buf_printf(b, " decided=%s origin=%d at=%llu", txn_state_name(d->state), (int)d->origin,
		   (unsigned long long)d->ms);
	say_str(b, "who", d->who);
}

static void
say_gid(struct buf *b, struct gid g)
{
	char gid[GID_TEXT];

	gid_format(g, gid);
	buf_printf(b, " gid=%s", gid);
}

static void
say_entry(struct buf *b, const struct entry *e)
{
	switch (e->type) {
	case ENTRY_STATE:
		buf_printf(b,
			   " segment_bytes=%llu oldest=%llu previous_end=%llu opened=%llu "
			   "next_seq=%llu "
			   "topics=%u lanes=%u",
			   (unsigned long long)e->state.segment_bytes,
			   (unsigned long long)e->state.oldest_segment,
			   (unsigned long long)e->state.previous_end,
			   (unsigned long long)e->state.opened_ms,
			   (unsigned long long)e->state.next_seq, e->state.topic_count,
			   e->state.lane_count);
		say_str(b, "cluster", e->state.cluster);
		return;
	case ENTRY_HALF:
		say_half(b, &e->half.half);
		return;
	case ENTRY_DECISION:
		buf_printf(b, " seq=%llu messages=%u", (unsigned long long)e->decision.seq,
			   e->decision.count);
		say_decision(b, &e->decision.decision);
		return;
	case ENTRY_GENERATION:
		buf_printf(b, " seq=%llu generation=%u", (unsigned long long)e->generation.seq,
			   e->generation.generation);
		return;
	case ENTRY_CHECKS:
		buf_printf(b, " seq=%llu checks=%u%s", (unsigned long long)e->checks.seq,
			   e->checks.checks, e->checks.parked ? " parked" : "");
		return;
	case ENTRY_RESUMED:
		buf_printf(b, " seq=%llu", (unsigned long long)e->resumed.seq);
		return;
	case ENTRY_PUBLISHED:
		buf_printf(b, " topic=%u partition=%d low=%llu done=%u", e->published.topic,
			   e->published.partition, (unsigned long long)e->published.low,
			   e->published.done_count);
		return;
	case ENTRY_REFUSED:
		buf_printf(b, " seq=%llu message=%u code=%d", (unsigned long long)e->refused.seq,
			   e->refused.index, e->refused.code);
		return;
	case ENTRY_RETRIED:
		buf_printf(b, " seq=%llu", (unsigned long long)e->retried.seq);
		return;
	case ENTRY_DISCARDED:
		buf_printf(b, " seq=%llu", (unsigned long long)e->discarded.seq);
		return;
	case ENTRY_TOPIC:
		buf_printf(b, " number=%u partitions=%d max_bytes=%u", e->topic.number,
			   e->topic.partitions, e->topic.max_bytes);
		say_str(b, "name", e->topic.name);
		return;
	case ENTRY_STUB:
		say_gid(b, e->stub.gid);
		buf_printf(b, " state=%s", txn_state_name(e->stub.state));
		say_str(b, "group", e->stub.group);
		say_str(b, "key", e->stub.key);
		say_decision(b, &e->stub.decision);
		return;
	case ENTRY_COPY:
		buf_printf(b, " state=%s generation=%u checks=%u", txn_state_name(e->copy.state),
			   e->copy.generation, e->copy.checks);
		say_half(b, &e->copy.half);
		say_decision(b, &e->copy.decision);
		return;
	case ENTRY_AUDIT:
		say_gid(b, e->audit.gid);
		buf_printf(b, " number=%llu", (unsigned long long)e->audit.number);
		say_str(b, "verb", e->audit.verb);
		say_str(b, "who", e->audit.who);
		say_str(b, "reason", e->audit.reason);
		say_str(b, "outcome", e->audit.outcome);
		return;
	case ENTRY_OLDEST:
		buf_printf(b, " segment=%llu", (unsigned long long)e->oldest.segment);
		return;
	case ENTRY_CLUSTER:
		say_str(b, "id", e->cluster.id);
		return;
	}
}

static void
show_record(struct reader *r, const struct scan *s, const struct record *rec)
{
	struct entry e;

	r->records++;
	if (rec->type <= ENTRY_CLUSTER) {
		r->by_type[rec->type]++;
		r->bytes_by_type[rec->type] += rec->len;
	}
	if (!r->line)
		return;
	buf_printf(&r->text, "%llu %s len=%u", (unsigned long long)s->record_lsn,
		   record_type_name(rec->type), rec->len);
	if (record_decode(rec, r->scratch, &e) == 0)
		say_entry(&r->text, &e);
	else
		buf_printf(&r->text, " not readable: type %u", rec->type);
	say(r);
}

static int
show_segment(struct reader *r, uint64_t number, uint64_t end)
{
	struct scan s = { 0 };
	struct disk_file *f;
	char name[NAME_BYTES];
	struct record rec;
	enum scan_result result = SCAN_BAD;
	int err;

	segment_name(name, number);
	err = r->disk->ops->open(r->disk, name, false, &f);
	if (err)
		return err;
	r->segments++;
	scan_init(&s, number, 0, UINT64_MAX);
	err = r->disk->ops->size(f, &s.file_size);
	while (!err) {
		err = scan_wait(&s, r->disk, f, &rec, &result);
		if (err || (result != SCAN_GROUP && result != SCAN_RECORD))
			break;
		if (end && s.base + s.at > end && result == SCAN_GROUP)
			break;
		if (result == SCAN_RECORD) {
			show_record(r, &s, &rec);
			continue;
		}
		r->groups++;
		r->bytes += GROUP_HEADER + s.group.length + s.group.padding;
		buf_printf(&r->text,
			   "%llu group segment=%llu epoch=%u durable=%llu records=%u len=%u",
			   (unsigned long long)s.group.lsn, (unsigned long long)number,
			   s.group.epoch, (unsigned long long)s.group.durable_lsn, s.group.records,
			   s.group.length);
		say(r);
	}
	buf_printf(&r->text, "%llu %s segment=%llu offset=%llu",
		   (unsigned long long)(s.base + s.at),
		   err || result == SCAN_BAD ? "invalid-from-here" : "end",
		   (unsigned long long)number, (unsigned long long)s.at);
	say(r);
	scan_done(&s);
	r->disk->ops->close(f);
	return err;
}

/* Runs through all that counts; the verdict is that of recovery. */
static int
run(struct reader *r, struct chain *c, struct journal_fault *ret_fault)
{
	int verdict, err = 0;

	memset(ret_fault, 0, sizeof(*ret_fault));
	r->scratch = mem_alloc(sizeof(*r->scratch));
	verdict = chain_find(r->disk, r->scratch, c, ret_fault);
	for (size_t i = 0; i < c->files.segment_count && !err; i++) {
		uint64_t n = c->files.segments[i];
		struct survey v = { 0 };

		if (n < c->oldest)
			continue;
		/* Where the next one says that this one ends. */
		if (i + 1 < c->files.segment_count && c->files.segments[i + 1] == n + 1)
			err = survey_opening(r->disk, n + 1, r->scratch, &v);
		if (!err)
			err = show_segment(r, n, n < c->last ? v.previous_end : 0);
		if (!verdict && !err && n < c->last) {
			struct survey whole;

			err = survey_segment(r->disk, n, r->scratch, &whole);
			if (!err && (!v.segment_bytes || whole.end < v.previous_end))
				verdict =
					fault_set(ret_fault, ERR_CORRUPT, n, whole.end,
						  "segment %llu is damaged at LSN %llu: it must be "
						  "valid up to LSN %llu",
						  (unsigned long long)n,
						  (unsigned long long)whole.end,
						  (unsigned long long)v.previous_end);
		}
	}
	buf_free(&r->text);
	record_scratch_done(r->scratch);
	mem_free(r->scratch);
	return verdict ? verdict : err;
}

int
journal_dump(struct disk *disk, void (*line)(void *arg, struct str line), void *arg,
	     struct journal_fault *ret_fault)
{
	struct reader r = { .disk = disk, .line = line, .arg = arg };
	struct chain c;
	int err = run(&r, &c, ret_fault);

	chain_done(&c);
	return err;
}

int
journal_verify(struct disk *disk, struct buf *out, struct journal_fault *ret_fault)
{
	struct reader r = { .disk = disk };
	struct chain c;
	int err = run(&r, &c, ret_fault);

	buf_printf(out, "%llu segments, %llu groups, %llu records, %llu bytes\n",
		   (unsigned long long)r.segments, (unsigned long long)r.groups,
		   (unsigned long long)r.records, (unsigned long long)r.bytes);
	if (!err && c.last)
		buf_printf(out, "valid from LSN %llu to %llu, durable for certain up to %llu\n",
			   (unsigned long long)(c.oldest * c.survey.segment_bytes),
			   (unsigned long long)c.survey.end, (unsigned long long)c.survey.durable);
	chain_done(&c);
	return err;
}

int
journal_stat(struct disk *disk, struct buf *out, struct journal_fault *ret_fault)
{
	struct reader r = { .disk = disk };
	struct chain c;
	int err = run(&r, &c, ret_fault);

	buf_printf(out,
		   "segment_bytes %llu\noldest_segment %llu\nlast_segment %llu\nspares %zu\nepoch "
		   "%u\n",
		   (unsigned long long)c.survey.segment_bytes, (unsigned long long)c.oldest,
		   (unsigned long long)c.last, c.files.spare_count, c.epoch);
	buf_printf(out, "groups %llu\nrecords %llu\nbytes %llu\n", (unsigned long long)r.groups,
		   (unsigned long long)r.records, (unsigned long long)r.bytes);
	for (uint8_t t = ENTRY_STATE; t <= ENTRY_CLUSTER; t++)
		if (r.by_type[t])
			buf_printf(out, "records_%s %llu\nbytes_%s %llu\n", record_type_name(t),
				   (unsigned long long)r.by_type[t], record_type_name(t),
				   (unsigned long long)r.bytes_by_type[t]);
	chain_done(&c);
	return err;
}
