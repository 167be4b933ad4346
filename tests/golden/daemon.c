/*
 * daemon.c -- core and journal, joined; what the core asks of the world is kept for the script.
 */
#include "golden/daemon.h"

#include <inttypes.h>

#include "base/err.h"
#include "base/hash.h"

static int
on_recover(void *arg, const struct entry *e, struct place place)
{
	struct daemon *d = arg;

	if (d->talks)
		say_entry(e);
	return core_recover(d->core, e, place);
}

static void
on_state(void *arg, struct entry_state *ret_state)
{
	core_state(((struct daemon *)arg)->core, ret_state);
}

static void
on_reclaim(void *arg, const struct entry *e, struct place place)
{
	core_reclaim(((struct daemon *)arg)->core, e, place);
}

static bool
on_keep(void *arg, uint64_t seq, struct place place)
{
	return core_reclaim_stub(((struct daemon *)arg)->core, seq, place);
}

static void
on_moved(void *arg, uint64_t seq, struct place place)
{
	core_moved(((struct daemon *)arg)->core, seq, place);
}

static void
on_durable(void *arg, uint64_t lsn)
{
	((struct daemon *)arg)->durable_lsn = lsn;
}

static void
on_fetched(void *arg, uint64_t token, int err, const struct half *half)
{
	if (token != FOR_SHOW)
		core_fetched(((struct daemon *)arg)->core, token, err, half);
}

static void
on_space(void *arg, bool ok)
{
	core_space(((struct daemon *)arg)->core, ok);
}

static int
on_append(void *arg, const struct entry *e, struct place *ret_place)
{
	return journal_append(((struct daemon *)arg)->journal, e, ret_place);
}

static int
on_fetch(void *arg, struct place place, uint64_t token, const struct half **ret_half)
{
	return journal_fetch(((struct daemon *)arg)->journal, place, token, ret_half);
}

static void
on_answer(void *arg, struct reply_to to, const struct answer *answer)
{
	(void)to;
	((struct daemon *)arg)->answer = *answer;
}

static int
on_check(void *arg, const struct check *check)
{
	struct daemon *d = arg;

	MUST(d->check_count < KEPT_MAX);
	d->checks[d->check_count].seq = check->half->gid.lo;
	d->checks[d->check_count].token = check->token;
	d->checks[d->check_count++].peer = check->peer;
	return 0;
}

static int
on_publish(void *arg, const struct publication *p)
{
	struct daemon *d = arg;

	MUST(d->published_count < KEPT_MAX);
	d->published[d->published_count].token = p->token;
	d->published[d->published_count].seq = p->half->gid.lo;
	d->published[d->published_count++].index = p->index;
	return 0;
}

static void
on_describe(void *arg, struct str topic)
{
	(void)topic;
	((struct daemon *)arg)->described = true;
}

static void
on_note(void *arg, const struct note *note)
{
	(void)arg;
	if (note->kind == NOTE_RECORD_GONE)
		printf("gone: %" PRId64 " messages that are owed\n", note->value);
}

static uint64_t
on_random(void *arg)
{
	return hash_u64(++((struct daemon *)arg)->random);
}

static const struct ports ports = {
	.append = on_append,
	.fetch = on_fetch,
	.answer = on_answer,
	.check = on_check,
	.publish = on_publish,
	.describe = on_describe,
	.note = on_note,
	.random = on_random,
};

static const struct journal_client client = {
	.recover = on_recover,
	.state = on_state,
	.reclaim = on_reclaim,
	.keep = on_keep,
	.moved = on_moved,
	.durable = on_durable,
	.fetched = on_fetched,
	.space = on_space,
};

int
daemon_start(struct daemon *d, const char *folder)
{
	struct journal_fault fault;
	bool fresh;
	int err;

	MUST(disk_posix_open(folder, INT64_MAX, &d->disk) == 0);
	d->core = core_new(&d->conf, &ports, d);
	err = journal_open(d->disk, &d->journal_conf, &client, d, &d->journal, &fresh, &fault);
	if (err) {
		printf("%s: %s\n", err_name(err), fault.text);
		d->journal = NULL;
		return err;
	}
	if (d->talks)
		printf(fresh ? "a new journal\n" : "a journal of %" PRIu64 " segments\n",
		       journal_stats(d->journal)->segments);
	if (fresh)
		core_format(d->core);
	core_start(d->core, d->now_ns, d->wall_ms);
	core_state_max(d->core, journal_state_max(d->journal));
	err = journal_start(d->journal, d->wall_ms);
	if (err)
		printf("%s: the journal cannot be started\n", err_name(err));
	return err;
}

void
daemon_stop(struct daemon *d)
{
	d->journal = journal_free(d->journal);
	d->core = core_free(d->core);
	d->disk->ops->free(d->disk);
	d->published_count = d->check_count = 0;
}

void
daemon_news(struct daemon *d)
{
	MUST(journal_poll(d->journal, d->now_ns) == 0);
	core_durable(d->core, d->durable_lsn);
	core_publish(d->core);
}

static void
persist(struct daemon *d)
{
	MUST(journal_persist(d->journal, d->now_ns, d->wall_ms) == 0);
	daemon_news(d);
}

void
daemon_turn(struct daemon *d)
{
	d->answer.code = NOT_ANSWERED;
	core_clock(d->core, d->now_ns, d->wall_ms);
	daemon_news(d);
	core_decide(d->core);
	persist(d);
	if (d->described) {
		d->described = false;
		core_topic(d->core, STR("orders"), TOPIC_HERE, 3, 1 << 20);
		core_topic(d->core, STR("in.voices"), TOPIC_HERE, 1, 0);
		core_decide(d->core);
		persist(d);
	}
	while (!journal_idle(d->journal)) {
		d->now_ns += NS_PER_MS;
		d->wall_ms++;
		persist(d);
	}
}

void
daemon_pass(struct daemon *d, int64_t ms)
{
	d->now_ns += ms * NS_PER_MS;
	d->wall_ms += (uint64_t)ms;
	daemon_turn(d);
}

/* ---- as each script finds it ----------------------------------------------------------------- */

static const struct daemon fresh_daemon = {
	.journal_conf = { .quota_bytes = 8 * SEGMENT,
			  .segment_bytes = SEGMENT,
			  .cache_bytes = SEGMENT,
			  .retention_ms = 3600 * 1000 },
	.now_ns = 1000 * NS_PER_S,
	.wall_ms = START_MS,
};

void
daemon_init(struct daemon *d)
{
	*d = fresh_daemon;
	core_conf_default(&d->conf);
	d->conf.policy.checks_max = 2;
	d->conf.message_bytes = 2048;
}
