/*
 * sim.c -- runs seeds and says what they found.
 *
 *   sim --seed 7 [--trace]          one seed, its trace on request
 *       [--dump]                  ... and the journal, when there is a violation
 *       [--messages N] [--steps N] [--without WORD,WORD]   smaller than it was drawn
 *   sim --seeds 1000 [--first 1]    a range
 *   sim --hashes ...                the hash of each seed's trace, a line each
 *   sim --seconds 60 [--first 1]    as many as fit
 *   sim --expect-violation ...      exit 0 when one is found: for canaries
 *
 * A violation prints the seed, the invariant, the last lines of the trace, and the smallest world
 * that still shows it: fewer classes of faults, fewer messages, fewer steps.  The exit code is 1.
 * So it is when a run of many seeds did not reach its faults: such a run proves nothing.
 */
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "sim/digits.h"
#include "sim/run.h"

#define RARE_SEEDS 8000 /* in so many even the rarest of what ought to happen has */

struct totals {
	uint64_t seeds, violations, events, steps, crashes, halves, commits, rollbacks, checks,
		records, duplicates, reclaimed;
	int64_t virtual_ns;
	uint64_t drawn[FAULT_COUNT], effective[FAULT_COUNT], seeds_effective[FAULT_COUNT];
	uint64_t hit[SOMETIMES_COUNT];
	uint64_t operations, audits;
	uint64_t first_violation;
	char violation[600];
};

static int64_t
real_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

static void
add(struct totals *t, const struct run_result *r)
{
	t->seeds++;
	t->events += r->events;
	t->steps += r->steps;
	t->crashes += r->crashes;
	t->halves += r->halves;
	t->commits += r->commits;
	t->rollbacks += r->rollbacks;
	t->checks += r->checks;
	t->records += r->records;
	t->duplicates += r->duplicates;
	t->reclaimed += r->reclaimed;
	t->virtual_ns += r->virtual_ns;
	t->operations += r->operations;
	t->audits += r->audits;
	for (int i = 0; i < SOMETIMES_COUNT; i++)
		t->hit[i] += r->hit[i];
	for (int f = 0; f < FAULT_COUNT; f++) {
		t->drawn[f] += r->drawn[f];
		t->effective[f] += r->effective[f];
		t->seeds_effective[f] += r->effective[f] > 0;
	}
}

static void
print_totals(const struct totals *t, int64_t took_ns)
{
	double seconds = (double)took_ns / 1e9;
	double cpu = (double)clock() / CLOCKS_PER_SEC;

	for (int f = 0; f < FAULT_COUNT; f++)
		printf("  %-46s drawn by %6" PRIu64 "  took effect in %6" PRIu64 "  times %8" PRIu64
		       "\n",
		       fault_text((enum fault)f), t->drawn[f], t->seeds_effective[f],
		       t->effective[f]);
	for (int i = 0; i < SOMETIMES_COUNT; i++)
		printf("  sometimes: %-38s in %6" PRIu64 "\n", sometimes_text((enum sometimes)i),
		       t->hit[i]);
	printf("{\"seeds\":%" PRIu64
	       ",\"seconds\":%.1f,\"cpu_seconds\":%.1f,\"seeds_per_cpu_s\":%.1f,"
	       "\"virtual_s\":%.0f,\"virtual_to_real\":%.0f,\"events\":%" PRIu64
	       ",\"events_per_seed\":%.0f,\"crashes\":%" PRIu64 ",\"halves\":%" PRIu64
	       ",\"commits\":%" PRIu64 ",\"rollbacks\":%" PRIu64 ",\"checks\":%" PRIu64
	       ",\"records\":%" PRIu64 ",\"duplicates\":%" PRIu64 ",\"segments_reclaimed\":%" PRIu64
	       ",\"operations\":%" PRIu64 ",\"audit_records\":%" PRIu64 ",\"violations\":%" PRIu64,
	       t->seeds, seconds, cpu, (double)t->seeds / cpu, (double)t->virtual_ns / 1e9,
	       (double)t->virtual_ns / 1e9 / cpu, t->events,
	       (double)t->events / (double)(t->seeds ? t->seeds : 1), t->crashes, t->halves,
	       t->commits, t->rollbacks, t->checks, t->records, t->duplicates, t->reclaimed,
	       t->operations, t->audits, t->violations);
	for (int f = 0; f < FAULT_COUNT; f++)
		printf("%s\"%s\":[%" PRIu64 ",%" PRIu64 "]", f ? "," : ",\"effective\":{",
		       fault_word((enum fault)f), t->seeds_effective[f], t->effective[f]);
	for (int i = 0; i < SOMETIMES_COUNT; i++)
		printf("%s\"%s\":%" PRIu64, i ? "," : "},\"sometimes\":{",
		       sometimes_text((enum sometimes)i), t->hit[i]);
	printf("}}\n");
}

/* A check that cannot fail is a defect: with enough seeds every class must have struck. */
static bool
vacuous(const struct totals *t)
{
	bool empty = false;

	if (t->seeds < 500)
		return false;
	for (int f = 0; f < FAULT_COUNT; f++) {
		if (t->seeds_effective[f] * 20 < t->seeds) {
			printf("vacuous: \"%s\" took effect in less than 5 %% of the seeds\n",
			       fault_text((enum fault)f));
			empty = true;
		}
	}
	for (int i = 0; i < SOMETIMES_COUNT && t->seeds >= RARE_SEEDS; i++) {
		if (!t->hit[i]) {
			printf("vacuous: never %s\n", sometimes_text((enum sometimes)i));
			empty = true;
		}
	}
	return empty;
}

/* ---- a violation, made small ---------------------------------------------------------------- */

/* The same one, as far as its invariant tells: "I-5 ..." */
static bool
same(const char *a, const char *b)
{
	return strncmp(a, b, strcspn(a, " ") + 1) == 0;
}

static bool
still(struct run_options *o, const struct run_options *next, const char *violation)
{
	struct run_result r;

	run_seed(next, &r);
	if (!same(violation, r.violation))
		return false;
	*o = *next;
	return true;
}

/* Every life is a function of the options, so whatever still fails is a smaller example. */
static void
shrink(struct run_options *o, const struct run_result *found)
{
	struct run_options next;

	o->trace = o->hash = false;
	for (int round = 0; round < 2; round++) {
		for (int f = 0; f < FAULT_COUNT; f++) {
			next = *o;
			next.without |= UINT64_C(1) << f;
			if (found->drawn[f] && next.without != o->without)
				(void)still(o, &next, found->violation);
		}
		for (uint32_t cut = o->messages / 2; cut; cut /= 2) {
			next = *o;
			while (next.messages > cut) {
				next.messages -= cut;
				if (!still(o, &next, found->violation))
					break;
			}
		}
		for (uint64_t steps = found->steps; steps; steps /= 2) {
			next = *o;
			next.steps = steps;
			if (!still(o, &next, found->violation))
				break;
		}
	}
}

static void
print_again(const struct run_options *o)
{
	const char *comma = " --without ";

	printf("  again: sim --seed %" PRIu64 " --messages %" PRIu32, o->seed, o->messages);
	if (o->steps)
		printf(" --steps %" PRIu64, o->steps);
	for (int f = 0; f < FAULT_COUNT; f++) {
		if (!(o->without >> f & 1))
			continue;
		printf("%s%s", comma, fault_word((enum fault)f));
		comma = ",";
	}
	printf(" --trace\n");
}

/* The end of the trace of the smallest world. */
static void
print_small(struct run_options o, const struct run_result *found)
{
	struct run_result r;

	shrink(&o, found);
	o.tail = 12;
	run_seed(&o, &r);
	printf("  smallest: %" PRIu64 " steps, with", r.steps);
	for (int f = 0; f < FAULT_COUNT; f++)
		if (r.drawn[f])
			printf(" %s", fault_word((enum fault)f));
	printf(": %s\n", r.violation);
	print_again(&o);
}

static bool
parse_without(const char *words, uint64_t *ret_without)
{
	while (*words) {
		size_t n = strcspn(words, ",");
		int f = 0;

		while (f < FAULT_COUNT && (strlen(fault_word((enum fault)f)) != n ||
					   strncmp(fault_word((enum fault)f), words, n) != 0))
			f++;
		if (f == FAULT_COUNT)
			return false;
		*ret_without |= UINT64_C(1) << f;
		words += n + (words[n] == ',');
	}
	return true;
}

static bool
argument(int argc, char **argv, int *i, const char *name, uint64_t *ret_value)
{
	if (strcmp(argv[*i], name) != 0 || *i + 1 >= argc)
		return false;
	*ret_value = strtoull(argv[++*i], NULL, 10);
	return true;
}

/* The seed that is being run: the broker may end in the middle of it. */
static uint64_t running, running_messages;

static const int deaths[] = { SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL };
static struct sigaction before[ARRAY_LEN(deaths)];

/*
 * Says which seed it was, and lets it die as it would have.  abort() was called by nobody who holds
 * stdio; whatever else it is may be in the middle of it, so the seed does not go that way.
 */
static void
died(int signal)
{
	char text[200];
	char *p;

	for (size_t i = 0; i < ARRAY_LEN(deaths); i++)
		sigaction(deaths[i], &before[i], NULL);
	if (signal == SIGABRT)
		fflush(stdout);
	p = digits(text, "\nVIOLATION seed ", (int64_t)running);
	if (signal == SIGABRT)
		p = stpcpy(p, ": the broker aborted");
	else
		p = digits(p, ": the broker died of signal ", signal);
	p = digits(p, "\n  again: sim --seed ", (int64_t)running);
	p = digits(p, " --messages ", (int64_t)running_messages);
	p = stpcpy(p, " --trace\n");
	(void)!write(STDOUT_FILENO, text, (size_t)(p - text));
	fflush(stdout);
}

static void
watch_for_death(void)
{
	struct sigaction action = { .sa_handler = died };

	for (size_t i = 0; i < ARRAY_LEN(deaths); i++)
		sigaction(deaths[i], &action, &before[i]);
}

static const char usage[] =
	"sim --seed N [--trace] [--dump] [--messages N] [--steps N] [--without WORD,WORD]\n"
	"sim --seeds N | --seconds N [--first N] [--keep-going N] [--hashes] [--expect-violation]\n"
	"tests/sim/README.md says what it does\n";

int
main(int argc, char **argv)
{
	struct run_options o = { .messages = 180 };
	struct totals t = { 0 };
	uint64_t seeds = 0, seconds = 0, first = 1, messages = o.messages, one = 0, keep_going = 0;
	bool expect = false, single = false, hashes = false;
	int64_t begun = real_ns();

	/* What one world gives back the next one takes: the kernel need not hear of it. */
	mallopt(M_MMAP_THRESHOLD, 1 << 25);
	mallopt(M_TRIM_THRESHOLD, 1 << 28);
	mallopt(M_TOP_PAD, 1 << 24);
	for (int i = 1; i < argc; i++) {
		if (argument(argc, argv, &i, "--seed", &one))
			single = true;
		else if (strcmp(argv[i], "--trace") == 0)
			o.trace = true;
		else if (strcmp(argv[i], "--hash") == 0)
			o.hash = true;
		else if (strcmp(argv[i], "--hashes") == 0)
			o.hash = hashes = true;
		else if (strcmp(argv[i], "--dump") == 0)
			o.dump = true;
		else if (strcmp(argv[i], "--expect-violation") == 0)
			expect = true;
		else if (strcmp(argv[i], "--without") == 0 && i + 1 < argc &&
			 parse_without(argv[i + 1], &o.without))
			i++;
		else if (!argument(argc, argv, &i, "--seeds", &seeds) &&
			 !argument(argc, argv, &i, "--seconds", &seconds) &&
			 !argument(argc, argv, &i, "--first", &first) &&
			 !argument(argc, argv, &i, "--keep-going", &keep_going) &&
			 !argument(argc, argv, &i, "--steps", &o.steps) &&
			 !argument(argc, argv, &i, "--messages", &messages)) {
			fputs(usage, stderr);
			return 2;
		}
	}
	o.messages = (uint32_t)messages;
	running_messages = messages;
	watch_for_death();
	if (single) {
		first = one;
		seeds = 1;
	}
	if (!seeds && !seconds)
		seeds = 100;
	for (o.seed = first; !seeds || o.seed < first + seeds; o.seed++) {
		struct run_result r;

		if (seconds && real_ns() - begun > (int64_t)seconds * NS_PER_S)
			break;
		running = o.seed;
		run_seed(&o, &r);
		add(&t, &r);
		if (hashes)
			printf("seed %" PRIu64 " hash %016" PRIx64 "\n", o.seed, r.trace_hash);
		if (single)
			printf("seed %" PRIu64 ": %" PRIu64 " steps, %" PRIu64
			       " events, trace hash %016" PRIx64 "\n",
			       o.seed, r.steps, r.events, r.trace_hash);
		if (!r.violation[0])
			continue;
		if (!t.violations++) {
			t.first_violation = o.seed;
			snprintf(t.violation, sizeof(t.violation), "%s", r.violation);
		}
		printf("VIOLATION seed %" PRIu64 ": %s\n", o.seed, r.violation);
		print_again(&o);
		if (!expect && !o.trace)
			print_small(o, &r);
		fflush(stdout);
		if (t.violations > keep_going)
			break;
	}
	print_totals(&t, real_ns() - begun);
	if (expect) {
		printf(t.violations ? "caught after %" PRIu64 " seeds\n"
				    : "NOT CAUGHT in %" PRIu64 " seeds\n",
		       t.seeds);
		return t.violations ? 0 : 1;
	}
	return t.violations || (!single && vacuous(&t));
}
