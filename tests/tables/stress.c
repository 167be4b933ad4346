/*
 * stress.c -- hunts for a wrong decision of the fence, with kill -9.
 *
 * What a user would lose: a payment that is in the database and whose message is thrown away, or a
 * message about a payment that is not.
 *
 *      stress [--transactions N] [--seed S] [--naive no-insert|no-watermark|no-db-id]
 *
 * Prints what it counted, as one line of JSON.
 *
 * Processes share a board, and the broker is nothing but that board: it hands out gids in order,
 * takes the first definite answer, and knows its oldest undecided gid.
 *
 *   business x 4   half-sends, dawdles, runs a local transaction; commits, rolls back, or is
 *                  killed: most often inside COMMIT, by a timer armed right before it
 *   checkers x 3   ask about what is undecided, late; some of them in the wrong database
 *   cleaner  x 1   sweeps up to the oldest undecided gid, with no grace at all
 *
 * Checkers and the cleaner are killed too, and all are started again.  In the end every gid is
 * asked about once more, long after.  Then, for each: at most one kind of definite answer was ever
 * given, and COMMIT was decided exactly where the business row is.
 *
 * The naive variants each leave out what tables.md says is needed, and must be caught: the run
 * then passes when it finds wrong decisions.  The complete one passes when it finds none, at
 * least a tenth of the commits were cut in flight, and at least a fifth of the local
 * transactions overlapped a check.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "db.h"
#include "tables/fence.h"

#define BUSINESS 4
#define CHECKERS 3
#define OTHERS   (BUSINESS + CHECKERS + 1)

enum naive { COMPLETE, NO_INSERT, NO_WATERMARK, NO_DB_ID };
enum phase { WAITING, HALF_SENT, RUNNING, COMMITTING, OVER };
enum kind { NONE, COMMIT, ROLLBACK };

struct slot {
	atomic_int phase;
	atomic_int decided; /* by the first definite answer */
	atomic_uint said_commit, said_rollback, said_unknown;
	atomic_int overlapped, cut;
};

struct board {
	atomic_int next; /* slot to be half-sent */
	atomic_int stop;
	atomic_int checks, checker_kills, cleaner_kills, business_kills, swept, wrong_db, fenced;
	atomic_int commit_ns; /* how long one takes, about */
	uint8_t db_id[16];
	struct slot slot[];
};

static struct board *board;
static int transactions = 300;
static enum naive naive;
static unsigned seed = 1;
static char other_where[512];

static int64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static long
below(long n)
{
	return n > 0 ? random() % n : 0;
}

/* The dawdling of a program between two statements. */
static void
dawdle(long us)
{
	struct timespec t = { us / 1000000, us % 1000000 * 1000 };

	(void)ppoll(NULL, 0, &t, NULL);
}

/* Kills this process in so long; 0: not after all. */
static void
kill_in(long ns)
{
	static timer_t timer;
	static int made;
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL };
	struct itimerspec when = { .it_value = { ns / 1000000000, ns % 1000000000 } };

	if (!made && timer_create(CLOCK_MONOTONIC, &event, &timer))
		abort();
	made = 1;
	if (timer_settime(timer, 0, &when, NULL))
		abort();
}

static void
gid_of(int i, uint8_t gid[16])
{
	fence_gid_at(INT64_C(1700000000000) + i / 7, gid);
	for (int b = 0; b < 4; b++)
		gid[15 - b] = (uint8_t)((unsigned)i >> (8 * b));
}

/* ---- the broker ------------------------------------------------------------------------------ */

static void
tell(int i, enum kind kind)
{
	struct slot *s = &board->slot[i];
	int none = NONE;

	if (kind == COMMIT)
		atomic_fetch_add(&s->said_commit, 1);
	else if (kind == ROLLBACK)
		atomic_fetch_add(&s->said_rollback, 1);
	else
		atomic_fetch_add(&s->said_unknown, 1);
	if (kind != NONE)
		atomic_compare_exchange_strong(&s->decided, &none, kind);
}

static int
oldest_undecided(void)
{
	int next = atomic_load(&board->next), i = 0;

	while (i < next && i < transactions && atomic_load(&board->slot[i].decided) != NONE)
		i++;
	return i;
}

/* ---- business -------------------------------------------------------------------------------- */

static void
commit(struct sql *s, int i, int killed)
{
	struct slot *slot = &board->slot[i];
	int64_t begun = now_ns();
	int about = atomic_load(&board->commit_ns);
	int rc;

	atomic_store(&slot->phase, COMMITTING);
	if (killed)
		kill_in(1 + below(about));
	rc = sql_commit(s);
	atomic_store(&slot->phase, OVER);
	if (killed)
		kill_in(0);
	atomic_store(&board->commit_ns, (int)(about + ((now_ns() - begun) - about) / 8));
	if (rc == SQL_OK)
		tell(i, COMMIT);
	else if (rc == SQL_UNDONE)
		tell(i, ROLLBACK);
}

static void
local_transaction(struct sql *s, int i)
{
	struct slot *slot = &board->slot[i];
	long lot = below(100), dawdling = below(100);
	uint8_t gid[16];
	char text[80];
	int rc;

	gid_of(i, gid);
	/* Some begin so late that they are asked about before. */
	dawdle(dawdling < 25 ? below(15000) : below(200));
	atomic_store(&slot->phase, RUNNING);
	rc = fence_begin(s, gid, board->db_id);
	if (rc != FENCE_OPEN) {
		atomic_store(&slot->phase, OVER);
		if (rc == FENCE_DONE)
			tell(i, COMMIT);
		else if (rc < 0)
			tell(i, ROLLBACK); /* before COMMIT was sent: certain */
		else
			atomic_fetch_add(&board->fenced, 1);
		return;
	}
	snprintf(text, sizeof(text), "INSERT INTO business (n) VALUES (%d)", i);
	rc = db_try(s, text);
	dawdle(below(3000));
	if (rc || lot < 15) {
		rc = sql_rollback(s);
		atomic_store(&slot->phase, OVER);
		if (!rc)
			tell(i, ROLLBACK);
	} else if (lot < 20) {
		kill_in(1); /* before COMMIT */
		dawdle(1000000);
	} else {
		commit(s, i, lot < 55);
	}
}

static void
business(void)
{
	struct sql s;
	int i;

	db_open(&s, 20000);
	while ((i = atomic_fetch_add(&board->next, 1)) < transactions) {
		atomic_store(&board->slot[i].phase, HALF_SENT);
		local_transaction(&s, i);
	}
	sql_done(&s);
}

/* ---- checks ---------------------------------------------------------------------------------- */

static enum fence_answer
look_only(struct sql *s, const uint8_t *gid)
{
	struct sql_row row;

	if (SQL_RUN(s, SQL_FENCE_READ, &row, sql_bytes(gid, 16)))
		return FENCE_UNKNOWN;
	return row.found && row.column[0].number == 1 ? FENCE_COMMIT : FENCE_ROLLBACK;
}

/* As fence_check(), and believing that the half-send meant this database. */
static enum fence_answer
whatever_database(struct sql *s, const uint8_t *gid)
{
	struct sql_row row;
	const char *remark;

	if (sql_run(s, SQL_META_READ, NULL, 0, &row) || !row.found)
		return FENCE_UNKNOWN;
	return fence_check(s, gid, row.column[0].bytes, &remark);
}

static enum fence_answer
check(struct sql *s, int i)
{
	enum fence_answer answer;
	const char *remark = "";
	uint8_t gid[16];

	gid_of(i, gid);
	if (naive == NO_INSERT)
		answer = look_only(s, gid);
	else if (naive == NO_DB_ID)
		answer = whatever_database(s, gid);
	else
		answer = fence_check(s, gid, board->db_id, &remark);
	if (strcmp(remark, "wrong_db") == 0)
		atomic_fetch_add(&board->wrong_db, 1);
	tell(i, answer == FENCE_COMMIT ? COMMIT : answer == FENCE_ROLLBACK ? ROLLBACK : NONE);
	return answer;
}

static int
runs(int i)
{
	int phase = atomic_load(&board->slot[i].phase);

	return phase == RUNNING || phase == COMMITTING;
}

/* Something undecided, and rather what runs. */
static int
pick(void)
{
	int from = oldest_undecided(), next = atomic_load(&board->next), i = -1;

	if (next > transactions)
		next = transactions;
	for (int attempt = 0; attempt < 8 && from < next; attempt++) {
		i = from + (int)below(next - from);
		if (atomic_load(&board->slot[i].phase) != WAITING && runs(i))
			break;
	}
	if (i >= 0 && (atomic_load(&board->slot[i].decided) != NONE ||
		       atomic_load(&board->slot[i].phase) == WAITING))
		return -1;
	return i;
}

static void
checker(void)
{
	struct sql here, there;
	int i, overlapped, wrong;

	db_open(&here, 1000);
	if (sql_open(&there, db_engine(), other_where, 1000))
		abort();
	while (!atomic_load(&board->stop)) {
		i = pick();
		if (i < 0) {
			dawdle(500);
			continue;
		}
		/* On the way; it may be decided, and swept, before it arrives. */
		dawdle(below(10) == 0 ? below(20000) : below(1000));
		if (below(100) < 3)
			kill_in(1 + below(2000000));
		wrong = below(100) < (naive == NO_DB_ID ? 50 : 12);
		overlapped = runs(i);
		(void)check(wrong ? &there : &here, i); /* it has told */
		if (!wrong && (overlapped || runs(i)))
			atomic_store(&board->slot[i].overlapped, 1);
		kill_in(0);
		atomic_fetch_add(&board->checks, 1);
	}
	sql_done(&here);
	sql_done(&there);
}

/* ---- the cleaner ----------------------------------------------------------------------------- */

static void
cleaner(void)
{
	struct fence_swept swept = { 0 };
	struct sql_row row = { 0 };
	uint8_t oldest[16], never[16];
	struct sql s;

	db_open(&s, 1000);
	memset(never, 0xff, sizeof(never));
	while (!atomic_load(&board->stop)) {
		gid_of(oldest_undecided(), oldest);
		if (below(100) < 5)
			kill_in(1 + below(3000000));
		if (naive == NO_INSERT) {
			/* Nothing is swept: its own fault is enough. */
		} else if (naive == NO_WATERMARK) {
			struct sql_value at = sql_bytes(oldest, 16);

			if (!sql_alone(&s, SQL_FENCE_SWEEP, &at, 1, &row))
				atomic_fetch_add(&board->swept, (int)row.changed);
		} else if (!fence_sweep(&s, oldest, never, 100, &swept)) {
			atomic_fetch_add(&board->swept, (int)swept.rows);
		}
		kill_in(0);
		dawdle(2000);
	}
	sql_done(&s);
}

/* ---- all of it ------------------------------------------------------------------------------- */

static void
child(int role, unsigned life)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	srandom(seed * 7919 + (unsigned)role * 104729 + life);
	if (role < BUSINESS)
		business();
	else if (role < BUSINESS + CHECKERS)
		checker();
	else
		cleaner();
	_exit(0);
}

/* What the killed one was at. */
static void
bury(int role)
{
	if (role >= BUSINESS) {
		atomic_fetch_add(role == OTHERS - 1 ? &board->cleaner_kills : &board->checker_kills,
				 1);
		return;
	}
	atomic_fetch_add(&board->business_kills, 1);
}

static void
live(void)
{
	pid_t pid[OTHERS];
	unsigned life = 0;
	int at_work = BUSINESS, status;

	for (int role = 0; role < OTHERS; role++) {
		pid[role] = fork();
		if (pid[role] == 0)
			child(role, life);
	}
	while (at_work > 0) {
		pid_t dead = waitpid(-1, &status, 0);
		int role = 0;

		while (role < OTHERS && pid[role] != dead)
			role++;
		if (role == OTHERS)
			continue;
		if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
			bury(role);
			pid[role] = fork();
			if (pid[role] == 0)
				child(role, ++life);
			life++;
		} else if (!WIFEXITED(status) || WEXITSTATUS(status)) {
			fprintf(stderr, "stress: a process ended with %x\n", (unsigned)status);
			exit(2);
		} else {
			pid[role] = 0;
			at_work -= role < BUSINESS;
		}
	}
	atomic_store(&board->stop, 1);
	for (int role = BUSINESS; role < OTHERS; role++) {
		kill(pid[role], SIGKILL);
		waitpid(pid[role], &status, 0);
	}
}

/* What nobody decided is asked about until it is; then everything once more. */
static int
ask_everything(struct sql *s)
{
	int undecided = 0;

	for (int i = 0; i < transactions; i++) {
		struct slot *slot = &board->slot[i];

		if (atomic_load(&slot->phase) == COMMITTING)
			atomic_store(&slot->cut, 1);
		for (int attempt = 0; attempt < 50 && atomic_load(&slot->decided) == NONE;
		     attempt++)
			(void)check(s, i); /* it has told */
		undecided += atomic_load(&slot->decided) == NONE;
	}
	for (int i = 0; i < transactions; i++)
		(void)check(s, i); /* it has told */
	return undecided;
}

struct verdict {
	int wrong, undecided, committed, cut, commits, overlapped, ran;
};

static struct verdict
judge(struct sql *s)
{
	struct verdict v = { .undecided = ask_everything(s) };
	char text[80];

	for (int i = 0; i < transactions; i++) {
		struct slot *slot = &board->slot[i];
		int decided = atomic_load(&slot->decided), phase = atomic_load(&slot->phase);
		unsigned commits = atomic_load(&slot->said_commit);
		unsigned rollbacks = atomic_load(&slot->said_rollback);
		int64_t rows;

		snprintf(text, sizeof(text), "SELECT COUNT(*) FROM business WHERE n = %d", i);
		rows = db_number(s, text);
		if ((commits && rollbacks) || rows > 1 || (rows == 1) != (decided == COMMIT)) {
			v.wrong++;
			if (naive == COMPLETE)
				fprintf(stderr,
					"stress: transaction %d: %lld rows, decided %d, said "
					"commit "
					"%u and rollback %u times, phase %d\n",
					i, (long long)rows, decided, commits, rollbacks, phase);
		}
		v.committed += rows == 1;
		v.cut += atomic_load(&slot->cut);
		v.overlapped += atomic_load(&slot->overlapped);
		v.ran += phase >= RUNNING;
		/* Every COMMIT that was sent, and those that were cut before an answer. */
		v.commits += rows == 1 || atomic_load(&slot->cut);
	}
	return v;
}

static void
prepare(void)
{
	uint8_t other_id[16];
	struct sql s;

	db_wipe();
	db_open(&s, 20000);
	if (s.engine == &sql_sqlite)
		db_exec(&s, seed % 2 ? "PRAGMA journal_mode=WAL" : "PRAGMA journal_mode=DELETE");
	if (fence_install(&s, board->db_id))
		abort();
	db_exec(&s, "CREATE TABLE business (n INTEGER)");
	db_exec(&s, "CREATE INDEX business_n ON business (n)");
	sql_done(&s);
	if (sql_open(&s, db_engine(), other_where, 20000) || fence_install(&s, other_id)) {
		fprintf(stderr, "stress: the other database: %s\n", s.error);
		exit(2);
	}
	sql_done(&s);
}

int
main(int argc, char **argv)
{
	static const char *const names[] = { "complete", "no-insert", "no-watermark", "no-db-id" };
	static const struct option options[] = {
		{ "transactions", 1, NULL, 't' },
		{ "seed", 1, NULL, 's' },
		{ "naive", 1, NULL, 'n' },
		{ NULL, 0, NULL, 0 },
	};
	const char *other = getenv("ESCROW_TEST_DB2");
	int64_t begun = now_ns();
	struct verdict v;
	struct sql s;
	int id, passed;

	while ((id = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (id) {
		case 't':
			transactions = atoi(optarg);
			break;
		case 's':
			seed = (unsigned)atoi(optarg);
			break;
		case 'n':
			while (naive <= NO_DB_ID && strcmp(names[naive], optarg) != 0)
				naive++;
			if (naive > NO_DB_ID)
				return 2;
			break;
		default:
			return 2;
		}
	}
	if (transactions < 1 || other == NULL)
		return 2;
	snprintf(other_where, sizeof(other_where), "%s", strchr(other, ':') + 1);
	board = mmap(NULL, sizeof(*board) + (size_t)transactions * sizeof(struct slot),
		     PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (board == MAP_FAILED)
		return 2;
	atomic_store(&board->commit_ns, 200000);
	prepare();
	live();
	db_open(&s, 20000);
	v = judge(&s);
	sql_done(&s);
	passed = naive != COMPLETE ? v.wrong > 0
				   : v.wrong == 0 && v.undecided == 0 && v.cut * 10 >= v.commits &&
					     v.overlapped * 5 >= v.ran;
	printf("{\"engine\": \"%s\", \"variant\": \"%s\", \"seed\": %u, \"transactions\": %d, "
	       "\"wrong\": %d, \"undecided\": %d, \"committed\": %d, \"commits\": %d, \"cut\": %d, "
	       "\"ran\": %d, \"overlapped\": %d, \"checks\": %d, \"wrong_db\": %d, \"fenced\": %d, "
	       "\"swept\": %d, \"kills\": [%d, %d, %d], \"seconds\": %.1f}\n",
	       db_engine()->name, names[naive], seed, transactions, v.wrong, v.undecided,
	       v.committed, v.commits, v.cut, v.ran, v.overlapped, atomic_load(&board->checks),
	       atomic_load(&board->wrong_db), atomic_load(&board->fenced),
	       atomic_load(&board->swept), atomic_load(&board->business_kills),
	       atomic_load(&board->checker_kills), atomic_load(&board->cleaner_kills),
	       (double)(now_ns() - begun) / 1e9);
	if (!passed)
		fprintf(stderr, "stress: %s\n",
			naive != COMPLETE ? "the naive variant was not caught"
			: v.wrong         ? "wrong decisions"
			: v.undecided     ? "something stays undecided"
				      : "too few commits were cut, or too few checks overlapped");
	return !passed;
}
