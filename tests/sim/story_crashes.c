/*
 * story_crashes.c -- power cuts and kills, one at each place where something could be lost.
 */
#include "sim/story.h"

static void
answered_half(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	power_cut(s, 0, false);
	(void)restart(s);
	show(s);
	producer(s, "P1", "shop");
	wait_ms(s, 60000);
	answer(s, "P1", "m1", WIRE_COMMIT);
}

static void
unanswered_half(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	hold_disk(s, true);
	half(s, "P1", "m1");
	remark(s, "P1 waits.  Nothing is acknowledged from memory");
	power_cut(s, 0, false);
	(void)restart(s);
	show(s);
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	commit(s, "P1", "m1");
}

static void
lucky_half(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	hold_disk(s, true);
	half(s, "P1", "m1");
	power_cut(s, 99, false);
	(void)restart(s);
	show(s);
	remark(s, "P1 got no answer and repeats: it is the same transaction, one generation on");
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	show(s);
}

static void
torn_tail(struct story *s)
{
	char body[2001];

	memset(body, 'x', 2000);
	body[2000] = '\0';
	begin(s);
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	hold_disk(s, true);
	half_as(s, "P1", "m2", (struct peer_message){ .body = body });
	power_cut(s, 2, true);
	(void)restart(s);
	show(s);
	remark(s, "the tail is discarded for good: a second crash does not bring it back");
	power_cut(s, 0, false);
	(void)restart(s);
	show(s);
}

/* Flips the lowest bit of the first byte of TEXT, in whatever file it lies. */
struct damage {
	struct story *s;
	const char *text;
	bool done;
};

static void
damage_file(void *arg, const char *name, uint64_t size)
{
	struct damage *d = arg;
	struct disk_sim *disk = stage_of(d->s)->disk;
	size_t len = 0;
	const uint8_t *bytes = disk_sim_bytes(disk, name, &len);
	const uint8_t *at = bytes ? memmem(bytes, len, d->text, strlen(d->text)) : NULL;

	(void)size;
	if (!at || d->done)
		return;
	d->done = true;
	line(d->s, "disk", "one bit of \"%s\" flips", d->text);
	disk_sim_flip(disk, name, (size_t)(at - bytes) * 8);
}

static void
corruption(struct story *s)
{
	struct disk *disk = disk_sim_disk(stage_of(s)->disk);
	struct damage damage = { .s = s, .text = "body of m1" };

	begin(s);
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	half(s, "P1", "m2");
	kill_9(s);
	CHECK(disk->ops->list(disk, damage_file, &damage) == 0, 0);
	(void)restart(s);
}

static void
decision_before_sync(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	hold_disk(s, true);
	commit(s, "P1", "m1");
	remark(s, "not durable: not answered, and not given to Kafka");
	power_cut(s, 0, false);
	(void)restart(s);
	show(s);
	remark(s, "P1 repeats its END; or else a check would ask");
	producer(s, "P1", "shop");
	commit(s, "P1", "m1");
}

static void
decision_then_crash(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	hold_kafka(s, true);
	commit(s, "P1", "m1");
	remark(s, "answered; and Kafka does not have it yet");
	power_cut(s, 0, false);
	(void)restart(s);
	wait_ms(s, 100);
	show(s);
}

static void
lost_mark(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	hold_kafka(s, true);
	commit(s, "P1", "m1");
	hold_disk(s, true);
	kafka_says(s, SINK_SIM_ACKED);
	show(s);
	remark(s, "\"published\" is a lazy mark, and this one is not durable yet");
	power_cut(s, 0, false);
	(void)restart(s);
	wait_ms(s, 100);
	remark(s, "twice in Kafka under one escrow-id and one escrow-seq: consumers drop the "
		  "second");
	show(s);
}

static void
killed(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	hold_disk(s, true);
	commit(s, "P1", "m1");
	kill_9(s);
	remark(s, "recovery writes the tail it found again, and syncs it, before it believes it");
	(void)restart(s);
	wait_ms(s, 100);
	show(s);
}

static void
sync_fails(struct story *s)
{
	begin(s);
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
	fail_sync(s);
	commit(s, "P1", "m1");
	remark(s, "no second try: the kernel may have dropped the pages, and a later sync would "
		  "lie");
	kill_9(s);
	(void)restart(s);
	show(s);
}

static void
second_daemon(struct story *s)
{
	struct stage *g = stage_of(s);
	struct world world = { &g->clock.clock, disk_sim_disk(g->disk), net_sim_net(g->net),
			       sink_sim_sink(g->sink), &g->words.rng };
	struct journal_fault fault;
	struct loop *second;

	begin(s);
	if (loop_new(&world, &g->conf, &g->hooks, &second, &fault) != 0)
		line(s, "escrow 2", "refuses to start: %s", fault.text);
	producer(s, "P1", "shop");
	half(s, "P1", "m1");
}

const struct story_case story_crashes[] = {
	{ "crash-after-answer", "A half-send that was answered survives",
	  "Promise 1. After the restart it is undecided as before, and asked about.",
	  answered_half },
	{ "crash-before-sync", "A half-send that is not durable is not answered",
	  "Promise 7. The crash takes it, nobody was told otherwise, and the client\n"
	  "repeats it.",
	  unanswered_half },
	{ "crash-lucky", "A half-send that was not answered may survive all the same",
	  "The sync never ended, but the blocks had reached the disk. Both outcomes are\n"
	  "right.",
	  lucky_half },
	{ "torn-tail", "A group of records torn by a power cut is discarded",
	  "Nobody was answered for it. What was durable before is whole, and what was\n"
	  "discarded can never be revived: recovery goes on in a new segment of a\n"
	  "higher epoch.",
	  torn_tail },
	{ "corruption", "Damage below what was durable ends the start",
	  "The header of a later group says that everything before it was durable. So\n"
	  "this is no torn tail: something that was answered is damaged, and going on\n"
	  "would lose it silently.",
	  corruption },
	{ "crash-before-decision", "A decision that is not durable was not made",
	  "Neither answered nor published: the transaction is undecided after the\n"
	  "restart.",
	  decision_before_sync },
	{ "crash-before-publish", "A durable decision is published after the restart",
	  "Promise 3. Recovery finds it committed and unmarked, and puts it into its\n"
	  "lane again.",
	  decision_then_crash },
	{ "lost-mark", "A lost mark publishes again, under the same id",
	  "Promise 6. At least once from Escrow to Kafka; exactly once with the\n"
	  "consumer's dedup table.",
	  lost_mark },
	{ "kill-9", "A killed process loses nothing that it wrote",
	  "The page cache still has it; but it may never have been synced, so it is\n"
	  "made durable before anything is built on it.",
	  killed },
	{ "sync-fails", "A failed sync ends the process",
	  "Nothing that waited for it is answered. The restart reads what is really\n"
	  "there.",
	  sync_fails },
	{ "second-daemon", "A second daemon on the same directory is refused",
	  "The directory is locked; the first one is not disturbed.", second_daemon },
	{ 0 },
};
