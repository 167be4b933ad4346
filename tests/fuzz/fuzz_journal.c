/*
 * fuzz_journal.c -- any damage to the segments of a journal, and then a start.
 *
 * A small journal with a record of every type, of three starts and as many segments, the last with
 * so little that a start writes it anew, is made once; the input damages it.  Its first byte: bit
 * 0, all checksums are made right again afterwards, so that what is read is believed; bit 1, the
 * rest is the content of the last segment, else it is edits of six bytes; bits 2 to 7 say 1: the
 * tools read it too; more, n: a start comes before in which the n-th call of the disk fails, or
 * for 63 the client refuses a record.  Oracles besides crashes:
 *
 *   - recovery ends with 0 or with an error that says that the journal is to blame;
 *   - with the checksums as they are, what it hands over is what was written, from the first record
 *     on: a beginning of it, nothing left out and nothing else;
 *   - what it handed over once it hands over again, after a start and a power cut;
 *   - an untouched journal is recovered to its last record;
 *   - a start in which a call failed says so, and writes nothing that the next one stumbles over;
 *   - dump, verify and stat get to their end too.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "fuzz/disk_mem.h"
#include "fuzz/must.h"
#include "journal/journal.h"
#include "journal/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define SEGMENT     DISK_MEM_FILE_MAX
#define FILES_MAX   16
#define RECORDS_MAX 256
#define STARTS      3
#define EDIT        6

struct file {
	char name[32];
	uint8_t bytes[SEGMENT];
	size_t len;
};

/* A file that is no segment: a spare, or somebody else's. */
struct stray {
	char name[DISK_MEM_NAME_MAX];
	size_t len;
};

#define STRAYS_MAX 4

struct image {
	struct file files[FILES_MAX];
	size_t count;
	struct stray strays[STRAYS_MAX];
	size_t stray_count;
};

static struct image base;
/* Of the records in BASE: [i] is the hash over the first i. */
static uint64_t written[RECORDS_MAX];
static uint64_t written_count;
static struct disk_mem *mem;

/* ---- a client that remembers what it was handed ----------------------------------------- */

struct seen {
	unsigned refuse; /* the record that is not believed; 0: none                          */
	uint64_t hash;   /* over all records in order, states apart: those are the journal's own */
	uint64_t count;
	uint64_t *hashes; /* NULL, or RECORDS_MAX: [i] after i records */
};

static int
on_recover(void *arg, const struct entry *e, struct place place)
{
	struct seen *seen = arg;
	uint8_t *bytes;
	size_t n;

	MUST(place.len > 0);
	if (seen->refuse && --seen->refuse == 0)
		return ERR_CORRUPT;
	if (e->type == ENTRY_STATE)
		return 0;
	bytes = mem_alloc(record_bound(e));
	n = record_encode(e, bytes);
	seen->hash = hash_body(bytes + 4, n - 4, seen->hash).lo; /* the checksum is not set */
	seen->count++;
	if (seen->hashes) {
		MUST(seen->count < RECORDS_MAX);
		seen->hashes[seen->count] = seen->hash;
	}
	mem_free(bytes);
	return 0;
}

static void
on_state(void *arg, struct entry_state *s)
{
	static const struct entry_topic topic = { 0, { "orders", 6 }, 7, 0 };
	static const struct lane_state lane = { 0, 3, 17, 4 };

	(void)arg;
	memset(s, 0, sizeof(*s));
	s->next_seq = 1000;
	s->topic_count = s->lane_count = 1;
	s->topics = &topic;
	s->lanes = &lane;
}

static void
on_reclaim(void *arg, const struct entry *e, struct place place)
{
	(void)arg, (void)e, (void)place;
}

static bool
on_keep(void *arg, uint64_t seq, struct place place)
{
	(void)arg, (void)seq, (void)place;
	return false;
}

static void
on_durable(void *arg, uint64_t lsn)
{
	(void)arg, (void)lsn;
}

static void
on_fetched(void *arg, uint64_t token, int err, const struct half *half)
{
	(void)arg, (void)token, (void)err, (void)half;
}

static void
on_space(void *arg, bool ok)
{
	(void)arg, (void)ok;
}

static void
on_progress(void *arg, uint64_t segment, uint64_t segments)
{
	(void)arg;
	MUST(segment >= 1 && segment <= segments);
}

static const struct journal_client client = {
	.progress = on_progress,
	.recover = on_recover,
	.state = on_state,
	.reclaim = on_reclaim,
	.keep = on_keep,
	.durable = on_durable,
	.fetched = on_fetched,
	.space = on_space,
};

static const struct journal_conf conf = {
	.quota_bytes = 12 * SEGMENT,
	.segment_bytes = SEGMENT,
	.cache_bytes = SEGMENT,
	.retention_ms = UINT64_C(1) << 50,
};

/* ---- the journal that is damaged ---------------------------------------------------------- */

static struct half
half_of(uint64_t seq, struct message *m)
{
	*m = (struct message){
		.topic = STR("orders"),
		.partition = (int32_t)(seq % 7),
		.key = seq % 3 ? STR("key") : STR_NONE,
		.value = STR("a body of some bytes, which compresses into nothing"),
		.plain_bytes = 51,
	};
	return (struct half){
		.gid = gid_make(1000000 + seq, 1, seq),
		.check = hash_u64(seq) >> 9,
		.group = STR("group"),
		.key = seq % 2 ? STR("7F0000010A2B18B4AAC27F5A3D4E0001") : STR("another"),
		.from = STR("10.0.0.1:4711"),
		.edge = STR("edge"),
		.arrived_ms = 1000000 + seq,
		.born_ms = 1000000 + seq,
		.kind = EDGE_ROCKETMQ,
		.count = 1,
		.messages = m,
	};
}

/* One of each type that a client writes. */
static void
append(struct journal *j, uint64_t seq)
{
	static const uint32_t topic;
	static const struct part part = { 0, 3, 17, PART_PUBLISHED, 0 };
	static const uint64_t n[] = { 17, 19, 23 };
	struct decision decided = { TXN_COMMITTED, ORIGIN_CLIENT, 5, STR("10.0.0.1:4711") };
	struct message m;
	struct half half = half_of(seq, &m);
	struct entry entries[] = {
		{ .type = ENTRY_HALF, .half = { half, &topic } },
		{ .type = ENTRY_DECISION, .decision = { seq, decided, 1, n } },
		{ .type = ENTRY_GENERATION, .generation = { seq, 1, 7 } },
		{ .type = ENTRY_CHECKS, .checks = { seq, 3, 7, true } },
		{ .type = ENTRY_RESUMED, .resumed = { seq, 7 } },
		{ .type = ENTRY_PUBLISHED, .published = { 0, 3, 16, 3, n } },
		{ .type = ENTRY_REFUSED, .refused = { seq, 0, 10, 7 } },
		{ .type = ENTRY_RETRIED, .retried = { seq, 7 } },
		{ .type = ENTRY_DISCARDED, .discarded = { seq, 7 } },
		{ .type = ENTRY_TOPIC, .topic = { 0, STR("orders"), 7, 1 << 20 } },
		{ .type = ENTRY_STUB,
		  .stub = { .gid = half.gid,
			    .check = half.check,
			    .state = TXN_COMMITTED,
			    .decision = decided,
			    .group = half.group,
			    .key = half.key,
			    .key_hash = 5 } },
		{ .type = ENTRY_COPY,
		  .copy = { half, &topic, TXN_COMMITTED, 1, 2, 3, decided, &part } },
		{ .type = ENTRY_AUDIT,
		  .audit = { .gid = half.gid,
			     .number = seq,
			     .verb = STR("commit"),
			     .who = STR("admin"),
			     .reason = STR("why"),
			     .outcome = STR("ok") } },
		{ .type = ENTRY_CLUSTER, .cluster = { STR("a-cluster") } },
	};
	struct place place;

	for (size_t i = 0; i < ARRAY_LEN(entries); i++)
		MUST(journal_append(j, &entries[i], &place) == 0);
}

/* So much that the next start takes a segment of its own: what has little is written anew. */
static void
append_much(struct journal *j, uint64_t seq)
{
	static char text[SEGMENT / 8];
	struct entry e = { .type = ENTRY_AUDIT,
			   .audit = { .gid = gid_make(1000000 + seq, 1, seq),
				      .number = seq,
				      .verb = STR("commit"),
				      .who = STR("admin"),
				      .reason = str_from(text, sizeof(text)),
				      .outcome = STR("ok") } };
	struct place place;

	memset(text, 'y', sizeof(text));
	for (int i = 0; i < 3; i++)
		MUST(journal_append(j, &e, &place) == 0);
}

static void
keep_file(void *arg, const char *name, uint64_t size)
{
	struct file *f = &base.files[base.count];
	const uint8_t *bytes;
	size_t len;

	(void)arg;
	if (!strstr(name, ".seg") || strncmp(name, "spare", 5) == 0)
		return;
	MUST(base.count < FILES_MAX && size <= SEGMENT && strlen(name) < sizeof(f->name));
	bytes = disk_mem_get(mem, name, &len);
	memcpy(f->name, name, strlen(name) + 1);
	memcpy(f->bytes, bytes, len);
	f->len = len;
	base.count++;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const struct file *)a)->name, ((const struct file *)b)->name);
}

static void
make_base(void)
{
	struct disk *disk;
	struct journal_fault fault;
	struct seen seen = { 0 }, again = { .hashes = written };
	struct journal *j;
	bool fresh;

	mem = disk_mem_new();
	disk = disk_mem_disk(mem);
	for (uint64_t seq = 1; seq <= STARTS; seq++) {
		int64_t now_ns = (int64_t)seq * NS_PER_MS;

		MUST(journal_open(disk, &conf, &client, &seen, &j, &fresh, &fault) == 0);
		MUST(journal_start(j, 1000000) == 0);
		append(j, seq);
		if (seq < STARTS)
			append_much(j, seq);
		MUST(journal_poll(j, now_ns) == 0 && journal_persist(j, now_ns, 1000000) == 0);
		/* The last one dies before its marker: what it wrote is a tail. */
		MUST(seq == STARTS || journal_sync(j) == 0);
		journal_free(j);
		disk_mem_cut(mem);
	}
	MUST(disk->ops->list(disk, keep_file, NULL) == 0);
	qsort(base.files, base.count, sizeof(base.files[0]), by_name);
	MUST(base.count == STARTS);
	MUST(journal_open(disk, &conf, &client, &again, &j, &fresh, &fault) == 0 && !fresh);
	written_count = again.count;
	MUST(written_count > STARTS * 12);
	journal_free(j);
}

/* ---- damage -------------------------------------------------------------------------------- */

static uint64_t
number_of(const struct file *f)
{
	return strtoull(f->name, NULL, 10);
}

static uint64_t
low(const uint8_t *p, int n)
{
	uint64_t v = 0;

	while (n-- > 0)
		v = v << 8 | p[n];
	return v;
}

static void
stray(struct image *im, const uint8_t e[EDIT])
{
	static const char *const names[] = {
		"spare-",
		"spare-0000x0.seg",
		"spare-99999999999.seg",
		"spare-000001-seg",
		"0000000000000000000x.seg",
		"00000000000000000000.seg",
		"00000000000000000001.sge",
		"99999999999999999999.seg",
		"lock2",
	};
	struct stray *s = &im->strays[im->stray_count];

	if (im->stray_count == STRAYS_MAX)
		return;
	if (e[1] % 2)
		snprintf(s->name, sizeof(s->name), "%s", names[e[2] % ARRAY_LEN(names)]);
	else
		snprintf(s->name, sizeof(s->name), "spare-%06u.%s", e[2], e[3] % 2 ? "seg" : "new");
	s->len = e[4] % 2 ? SEGMENT : e[5];
	for (size_t i = 0; i < im->stray_count; i++)
		if (strcmp(im->strays[i].name, s->name) == 0)
			return;
	im->stray_count++;
}

static void
edit(struct image *im, const uint8_t e[EDIT])
{
	struct file *f = &im->files[e[0] % im->count];
	struct file *other = &im->files[e[5] % im->count];
	size_t at = (size_t)(e[2] | e[3] << 8) % SEGMENT;
	size_t run = min_u64((uint64_t)e[5] + 1, SEGMENT - at);

	if (e[1] >= 240) {
		stray(im, e);
		return;
	}
	switch (e[1] % 8) {
	case 0:
		f->bytes[at] = e[4];
		break;
	case 1:
		f->bytes[at] ^= (uint8_t)(1 << e[4] % 8);
		break;
	case 2:
		memset(f->bytes + at, e[4], run);
		break;
	case 3: /* what lay elsewhere */
		run = min_u64((uint64_t)e[4] * 16, SEGMENT - at);
		memmove(f->bytes + at, other->bytes + at, run);
		break;
	case 4:
		f->len = at;
		break;
	case 5: /* a name that is gone */
		if (im->count > 1) {
			memmove(f, f + 1, (size_t)(im->files + im->count - f - 1) * sizeof(*f));
			im->count--;
		}
		break;
	case 6: /* a file whose content is another's */
		memcpy(f->bytes, other->bytes, SEGMENT);
		f->len = other->len;
		break;
	case 7: /* a file above the last */
		if (im->count < FILES_MAX) {
			uint64_t last = number_of(&im->files[im->count - 1]);
			struct file *next = &im->files[im->count];

			*next = *f;
			snprintf(next->name, sizeof(next->name), "%020llu.seg",
				 (unsigned long long)last + 1);
			im->count++;
		}
		break;
	}
}

/* Whatever is there, each checksum and each LSN is right for its place. */
static void
repair(struct file *f)
{
	uint64_t number = number_of(f), base_lsn = number * SEGMENT;

	for (size_t at = 0; at + GROUP_HEADER <= f->len;) {
		uint8_t *p = f->bytes + at;
		struct group_header g = {
			.incompatible = p[4],
			.compatible = p[5],
			.padding = (uint16_t)low(p + 6, 2),
			.lsn = base_lsn + at,
			.durable_lsn = low(p + 16, 8),
			.epoch = (uint32_t)low(p + 24, 4),
			.length = (uint32_t)low(p + 28, 4),
			.records = (uint32_t)low(p + 32, 4),
		};
		size_t end, r = at + GROUP_HEADER;

		if (low(p, 4) != GROUP_MAGIC)
			return;
		group_encode(&g, number, p);
		if (g.length > f->len - r)
			return;
		for (end = r + g.length; r < end;) {
			uint64_t len = 0;

			if (record_length(str_from((char *)f->bytes + r, end - r), &len) ||
			    len < RECORD_HEAD_MIN || len > end - r)
				break;
			record_seal(f->bytes + r, (size_t)len, number, base_lsn + r);
			r += (size_t)len;
		}
		at = end + g.padding;
	}
}

/* ---- a start ------------------------------------------------------------------------------- */

static void
no_line(void *arg, struct str line)
{
	(void)arg, (void)line;
}

/* Tools read what a daemon would not start on. */
static void
tools(struct disk *disk)
{
	struct journal_fault fault;
	struct buf out = BUF_INIT;

	if (journal_dump(disk, no_line, NULL, &fault) || journal_verify(disk, &out, &fault) ||
	    journal_stat(disk, &out, &fault))
		MUST(memchr(fault.text, 0, sizeof(fault.text)));
	buf_free(&out);
}

static void
lay(const struct image *im)
{
	static const uint8_t zeroes[SEGMENT];

	disk_mem_clear(mem);
	for (size_t i = 0; i < im->count; i++)
		disk_mem_put(mem, im->files[i].name, im->files[i].bytes, im->files[i].len);
	for (size_t i = 0; i < im->stray_count; i++)
		disk_mem_put(mem, im->strays[i].name, zeroes, im->strays[i].len);
}

/* A start that something prevents, and then the power is cut: the next one finds the same. */
static void
prevented(const struct image *im, unsigned n)
{
	struct disk *disk = disk_mem_disk(mem);
	struct journal_fault fault;
	struct seen seen = { .refuse = n == 63 ? 5 : 0 }, first = { 0 }, again = { 0 };
	struct journal *j = NULL;
	bool fresh = false;
	int err, started = 0;

	lay(im);
	err = journal_open(disk, &conf, &client, &first, &j, &fresh, &fault);
	j = journal_free(j);
	lay(im);
	if (n != 63)
		(void)disk_mem_fail(mem, n == 62 ? 1 : n); /* 1 in the input are the tools */
	started = journal_open(disk, &conf, &client, &seen, &j, &fresh, &fault);
	MUST(started == 0 || fault.text[0]);
	if (!started)
		started = journal_start(j, 2000000);
	if (!started) /* what was begun and not waited for */
		started = journal_poll(j, 1);
	MUST(started < 0 || !disk_mem_fail(mem, 0));
	j = journal_free(j);
	(void)disk_mem_fail(mem, 0);
	disk_mem_cut(mem);
	if (err) /* nothing to lose */
		return;
	MUST(journal_open(disk, &conf, &client, &again, &j, &fresh, &fault) == 0);
	MUST(again.hash == first.hash && again.count == first.count);
	journal_free(j);
}

static void
recover(const struct image *im, bool with_tools, struct seen *ret_seen, int *ret_err)
{
	struct disk *disk = disk_mem_disk(mem);
	struct journal_fault fault;
	struct seen again = { 0 };
	struct journal *j = NULL;
	bool fresh = false;
	int err;

	lay(im);
	if (with_tools)
		tools(disk);
	err = journal_open(disk, &conf, &client, ret_seen, &j, &fresh, &fault);
	*ret_err = err;
	MUST(err == 0 || err == ERR_CORRUPT || err == ERR_VERSION || err == ERR_NOSPACE);
	MUST(err == 0 || fault.text[0]);
	if (err)
		return;
	err = journal_start(j, 2000000);
	MUST(err == 0 || err == ERR_NOSPACE || err == ERR_CORRUPT);
	j = journal_free(j);
	disk_mem_cut(mem);
	err = journal_open(disk, &conf, &client, &again, &j, &fresh, &fault);
	if (err)
		fprintf(stderr, "started once, then %s: %s\n", err_name(err), fault.text);
	MUST(err == 0);
	MUST(again.hash == ret_seen->hash && again.count == ret_seen->count);
	journal_free(j);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct image im;
	struct seen seen = { 0 };
	int err;

	if (n == 0 || n > SEGMENT + 1)
		return 0;
	if (!mem)
		make_base();
	im = base;
	if (data[0] & 2) {
		struct file *last = &im.files[im.count - 1];

		memcpy(last->bytes, data + 1, n - 1);
		last->len = max_u64(last->len, n - 1);
	} else {
		for (size_t at = 1; at + EDIT <= n; at += EDIT)
			edit(&im, data + at);
	}
	for (size_t i = 0; (data[0] & 1) && i < im.count; i++)
		repair(&im.files[i]);
	if (data[0] >> 2 > 1)
		prevented(&im, data[0] >> 2);
	recover(&im, data[0] >> 2 == 1, &seen, &err);
	if (!(data[0] & 3) && !err)
		MUST(seen.count <= written_count && seen.hash == written[seen.count]);
	if (n == 1)
		MUST(err == 0 && seen.count == written_count);
	return 0;
}
