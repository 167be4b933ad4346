/*
 * scope.c -- everything that can happen in a small world, in every order.
 *
 *   scope                      the scopes of the quick tier, complete
 *   scope --all                every scope, complete; the last line is JSON
 *   scope --scope NAME         one; --states N or --seconds N stops after so many
 *   scope --scope NAME --path 0.3.1   one life again, step by step
 *   scope --list               the scopes
 *   ... --expect-violation     succeeds when a promise breaks (a canary)
 *   ... --no-prune             goes on from equal states too: slower, and finds the same
 *
 * A state is what a sequence of steps (small.h) has led to.  Each is entered once: a second
 * sequence that leads there stops, for all that may follow was or will be tried.  From each state
 * every step of its list is tried, and, as one more, healing: all faults end, and the promises must
 * hold.
 */
#include <inttypes.h>
#include <malloc.h>
#include <sys/prctl.h>

#include "base/buf.h"
#include "base/log.h"
#include "sim/choice.h"
#include "sim/clock_sim.h"
#include "sim/small.h"

#define SEEN_FIRST (1u << 16)

struct scope {
	const char *name;
	bool quick;
	struct small_bounds bounds;
};

/* The declared scopes.  README.md has the number of states of each. */
static const struct scope scopes[] = {
	{ "time", true, { .messages = 1, .producers = 1, .timers = 3, .body = 3 } },
	{ "doubt", true, { .messages = 1, .producers = 1, .timers = 2, .faults = 1, .body = 3 } },
	{ "unknown",
	  true,
	  { .messages = 1, .producers = 1, .timers = 2, .unknowns = 1, .body = 3 } },
	{ "kafka",
	  true,
	  { .messages = 1, .producers = 1, .crashes = 1, .timers = 1, .faults = 1, .body = 3 } },
	{ "repeat",
	  true,
	  { .messages = 1, .producers = 1, .crashes = 1, .repeats = 1, .body = 3 } },
	{ "torn", true, { .messages = 1, .producers = 1, .crashes = 1, .body = 600 } },
	{ "twice", true, { .messages = 1, .producers = 1, .crashes = 2, .body = 3 } },
	{ "twice-doubt",
	  true,
	  { .messages = 1, .producers = 1, .crashes = 2, .faults = 1, .body = 3 } },
	{ "again",
	  true,
	  { .messages = 1, .producers = 2, .timers = 1, .repeats = 1, .resets = 1, .body = 3 } },
	{ "check", true, { .messages = 1, .producers = 2, .timers = 2, .resets = 1, .body = 3 } },
	{ "two", true, { .messages = 2, .producers = 1, .body = 3 } },
	{ "two-peers", true, { .messages = 2, .producers = 2, .body = 3 } },
	{ "long-time", false, { .messages = 1, .producers = 1, .timers = 4, .body = 3 } },
	{ "twice-torn", false, { .messages = 1, .producers = 1, .crashes = 2, .body = 600 } },
	{ "two-cut", false, { .messages = 2, .producers = 1, .crashes = 1, .body = 3 } },
	{ "two-doubt", false, { .messages = 2, .producers = 1, .faults = 1, .body = 3 } },
};

struct totals {
	uint64_t states, runs, pruned, healed, deepest;
	uint64_t steps[SMALL_START_FAILS + 1];
	struct small_counts counts;
	char violation[640];
	bool complete;
};

struct search {
	const struct scope *scope;
	uint64_t states_max; /* 0: all */
	int64_t until_ns;    /* 0: to the end */
	bool prune;
	struct choice choice;
	struct small_step life[CHOICE_MAX];
	uint32_t life_steps;
	struct hash128 *seen; /* open addressing; {0, 0}: free */
	uint64_t seen_count, seen_room;
	struct totals t;
};

static int64_t
real_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

/* ---- states that were entered ------------------------------------------------------------ */

static bool
put(struct hash128 *table, uint64_t room, struct hash128 key)
{
	uint64_t i = key.lo & (room - 1);

	while (table[i].lo || table[i].hi) {
		if (table[i].lo == key.lo && table[i].hi == key.hi)
			return false;
		i = (i + 1) & (room - 1);
	}
	table[i] = key;
	return true;
}

/* False: it was entered before. */
static bool
enter(struct search *s, struct hash128 key)
{
	if (s->seen_count * 2 >= s->seen_room) {
		uint64_t room = s->seen_room ? s->seen_room * 2 : SEEN_FIRST;
		struct hash128 *table = mem_alloc(room * sizeof(*table));

		for (uint64_t i = 0; i < s->seen_room; i++)
			if (s->seen[i].lo || s->seen[i].hi)
				(void)put(table, room, s->seen[i]);
		mem_free(s->seen);
		s->seen = table;
		s->seen_room = room;
	}
	if (!put(s->seen, s->seen_room, key))
		return false;
	s->seen_count++;
	return true;
}

/* ---- one life ---------------------------------------------------------------------------- */

/* The state that the choices have led to: false when there is nothing new to be found there. */
static bool
new_state(struct search *s, const struct small *w)
{
	bool fresh;

	if (choice_repeats(&s->choice))
		return true;
	fresh = enter(s, small_key(w));
	s->t.states += fresh;
	s->t.pruned += !fresh;
	return fresh || !s->prune;
}

static void
live(struct search *s)
{
	struct small_step options[SMALL_OPTIONS];
	struct small *w = small_new(&s->scope->bounds);

	s->life_steps = 0;
	s->t.runs++;
	while (!small_violation(w) && new_state(s, w)) {
		uint32_t count = small_options(w, options);
		uint32_t k = choose(&s->choice, count + 1);

		if (k == count) {
			small_heal(w);
			s->t.healed++;
			break;
		}
		s->life[s->life_steps++] = options[k];
		small_do(w, &options[k]);
		if (small_void(w)) {
			choice_last(&s->choice);
			break;
		}
		s->t.steps[options[k].kind] += !choice_repeats(&s->choice);
	}
	if (s->life_steps > s->t.deepest)
		s->t.deepest = s->life_steps;
	small_count(w, &s->t.counts);
	if (small_violation(w))
		snprintf(s->t.violation, sizeof(s->t.violation), "%s", small_violation(w));
	small_free(w);
}

static void
print_life(const struct search *s)
{
	printf("  ");
	for (uint32_t i = 0; i < s->choice.at; i++)
		printf("%s%" PRIu32, i ? "." : "again: scope --path ", s->choice.taken[i]);
	printf(" --scope %s\n", s->scope->name);
	for (uint32_t i = 0; i < s->life_steps; i++)
		printf("  %2" PRIu32 ". %s\n", i + 1, small_text(&s->life[i]));
	if (s->life_steps < s->choice.at)
		printf("  and all heals\n");
}

static void
explore(struct search *s)
{
	bool more = true;

	while (more && !s->t.violation[0] && (!s->states_max || s->t.states < s->states_max) &&
	       (!s->until_ns || real_ns() < s->until_ns)) {
		live(s);
		if (!s->t.violation[0])
			more = choice_next(&s->choice);
	}
	s->t.complete = !more;
	if (s->t.violation[0]) {
		printf("VIOLATION %s: %s\n", s->scope->name, s->t.violation);
		print_life(s);
	}
}

/* ---- results ----------------------------------------------------------------------------- */

static void
print_line(const struct scope *scope, const struct totals *t, int64_t ns)
{
	printf("%-12s %9" PRIu64 " states%s, %" PRIu64 " lives of at most %" PRIu64
	       " steps, %" PRIu64 " equal states, %.1f s\n",
	       scope->name, t->states, t->complete ? "" : " (NOT ALL)", t->runs, t->deepest,
	       t->pruned, (double)ns * 1e-9);
	fflush(stdout);
}

static void
add_json(struct buf *out, const struct scope *scope, const struct totals *t, int64_t ns)
{
	const struct small_bounds *b = &scope->bounds;
	const struct small_counts *c = &t->counts;

	buf_printf(out,
		   "%s{\"scope\":\"%s\",\"messages\":%" PRIu32 ",\"producers\":%" PRIu32
		   ",\"crashes\":%" PRIu32 ",\"timers\":%" PRIu32 ",\"repeats\":%" PRIu32
		   ",\"resets\":%" PRIu32 ",\"faults\":%" PRIu32 ",\"unknowns\":%" PRIu32
		   ",\"body\":%" PRIu32,
		   out->len ? "," : "", scope->name, b->messages, b->producers, b->crashes,
		   b->timers, b->repeats, b->resets, b->faults, b->unknowns, b->body);
	buf_printf(out,
		   ",\"states\":%" PRIu64 ",\"complete\":%s,\"lives\":%" PRIu64
		   ",\"equal_states\":%" PRIu64 ",\"healed\":%" PRIu64 ",\"deepest\":%" PRIu64
		   ",\"seconds\":%.1f,\"crashes_lived\":%" PRIu64
		   ",\"crashes_in_recovery\":%" PRIu64 ",\"checks\":%" PRIu64
		   ",\"records\":%" PRIu64 ",\"duplicates\":%" PRIu64 ",\"violations\":%d}",
		   t->states, t->complete ? "true" : "false", t->runs, t->pruned, t->healed,
		   t->deepest, (double)ns * 1e-9, c->crashes, c->recovery_crashes, c->checks,
		   c->records, c->duplicates, t->violation[0] != '\0');
}

/* A bound that allows what never happened proves nothing about it. */
static bool
vacuous(const struct scope *scope, const struct totals *t)
{
	const struct small_bounds *b = &scope->bounds;
	const struct {
		const char *what;
		bool empty;
	} doubts[] = {
		{ "publication", !t->counts.records },
		{ "check", b->timers && !t->counts.checks },
		{ "power cut", b->crashes && !t->steps[SMALL_CUT] },
		{ "crash in recovery", b->crashes > 1 && !t->counts.recovery_crashes },
		{ "repeat", b->repeats && !t->steps[SMALL_REPEAT] },
		{ "reset", b->resets && !t->steps[SMALL_RESET] },
		{ "duplicate", b->faults && !t->counts.duplicates },
		{ "dead handle", b->faults && !t->steps[SMALL_FATAL] },
		{ "unknown", b->unknowns && !t->steps[SMALL_HEAR_DUMB] },
	};
	bool empty = false;

	for (size_t i = 0; i < ARRAY_LEN(doubts) && t->complete; i++) {
		if (doubts[i].empty)
			printf("vacuous: %s has no %s\n", scope->name, doubts[i].what);
		empty |= doubts[i].empty;
	}
	return empty;
}

static const struct scope *
find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(scopes); i++)
		if (strcmp(scopes[i].name, name) == 0)
			return &scopes[i];
	fprintf(stderr, "scope: there is no scope %s\n", name);
	exit(2);
}

static void
list(void)
{
	for (size_t i = 0; i < ARRAY_LEN(scopes); i++) {
		const struct small_bounds *b = &scopes[i].bounds;

		printf("%-10s %s messages %" PRIu32 ", producers %" PRIu32 ", crashes %" PRIu32
		       ", timers %" PRIu32 ", repeats %" PRIu32 ", resets %" PRIu32
		       ", faults of Kafka %" PRIu32 ", unknowns %" PRIu32 ", bytes %" PRIu32 "\n",
		       scopes[i].name, scopes[i].quick ? "quick:" : "      ", b->messages,
		       b->producers, b->crashes, b->timers, b->repeats, b->resets, b->faults,
		       b->unknowns, b->body);
	}
}

static void
take_path(struct choice *c, const char *path)
{
	char *end;

	while (*path) {
		CHECK(c->length < CHOICE_MAX, c->length);
		c->taken[c->length] = (uint32_t)strtoul(path, &end, 10);
		c->count[c->length] = c->taken[c->length] + 1;
		c->length++;
		path = *end ? end + 1 : end;
	}
}

static const char usage[] =
	"scope [--all | --scope NAME [--path N.N...]] [--states N] [--seconds N]\n"
	"      [--no-prune] [--expect-violation]\n"
	"scope --list\n"
	"tests/sim/README.md says what it does\n";

int
main(int argc, char **argv)
{
	static struct search s; /* large */
	const struct scope *one = NULL;
	const char *path = NULL;
	struct buf json = BUF_INIT;
	uint64_t states_max = 0, seconds = 0, states = 0, violations = 0, incomplete = 0;
	bool all = false, expect = false, prune = true, empty = false;
	int64_t begun = real_ns();

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--scope") == 0 && i + 1 < argc) {
			one = find(argv[++i]);
		} else if (strcmp(argv[i], "--states") == 0 && i + 1 < argc) {
			states_max = strtoull(argv[++i], NULL, 10);
		} else if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc) {
			seconds = strtoull(argv[++i], NULL, 10);
		} else if (strcmp(argv[i], "--path") == 0 && i + 1 < argc) {
			path = argv[++i];
		} else if (strcmp(argv[i], "--all") == 0) {
			all = true;
		} else if (strcmp(argv[i], "--no-prune") == 0) {
			prune = false;
		} else if (strcmp(argv[i], "--expect-violation") == 0) {
			expect = true;
		} else if (strcmp(argv[i], "--list") == 0) {
			list();
			return 0;
		} else {
			fputs(usage, stderr);
			return 2;
		}
	}
	/* The daemon's tables are large and here all but empty: touch only what is used. */
	(void)mallopt(M_MMAP_THRESHOLD, 256 << 10);
	(void)mallopt(M_TRIM_THRESHOLD, 256 << 20);
	(void)prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	log_setup(LOG_ERROR, LOG_LOGFMT);
	for (size_t i = 0; i < ARRAY_LEN(scopes); i++) {
		int64_t at = real_ns();

		if (one ? one != &scopes[i] : !all && !scopes[i].quick)
			continue;
		mem_free(s.seen);
		memset(&s, 0, sizeof(s));
		s.scope = &scopes[i];
		s.states_max = states_max;
		s.until_ns = seconds ? at + (int64_t)seconds * NS_PER_S : 0;
		s.prune = prune;
		if (path) {
			take_path(&s.choice, path);
			live(&s);
			print_life(&s);
			printf("%s\n", s.t.violation[0] ? s.t.violation : "no promise was broken");
			return s.t.violation[0] != '\0';
		}
		explore(&s);
		print_line(s.scope, &s.t, real_ns() - at);
		add_json(&json, s.scope, &s.t, real_ns() - at);
		empty |= vacuous(s.scope, &s.t);
		states += s.t.states;
		violations += s.t.violation[0] != '\0';
		incomplete += !s.t.complete;
	}
	mem_free(s.seen);
	printf("{\"states\":%" PRIu64 ",\"complete\":%s,\"violations\":%" PRIu64
	       ",\"seconds\":%.1f,\"scopes\":[%.*s]}\n",
	       states, incomplete ? "false" : "true", violations,
	       (double)(real_ns() - begun) * 1e-9, STR_ARG(buf_as_str(&json)));
	buf_free(&json);
	return expect ? !violations : violations || empty;
}
