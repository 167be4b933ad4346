/*
 * repay.c -- a large repayment as a chain of small transactions, each of which triggers the next.
 *
 *      repay begin BROKER DATABASE LOAN AMOUNT
 *      repay serve BROKER DATABASE KAFKA [PROPERTY=VALUE ...]
 *
 *      begin: the loan --"step 1"--> an instalment --"step 2"--> an instalment --...--> the last
 *
 * One transaction for all instalments would hold its locks for as long as that takes, and be lost
 * as a whole.  Here each pays one and sends, if it commits and not otherwise, the message that
 * triggers the next.  Kill it at any instant: the chain goes on where it was, and no link of
 * it is done twice or left out.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service.h"

#define PART 100

struct repayment {
	const char *loan;
	long amount;
};

static int
lend(void *db, void *arg)
{
	struct repayment *r = arg;

	return db_run(db, "INSERT INTO loan VALUES (%Q, %ld)", r->loan, r->amount) != 1;
}

static int
begin(struct repayment r)
{
	escrow_status status =
		service_begin(lend, &r, "repayments", r.loan, "%s 1 %ld", r.loan, r.amount);

	if (status != ESCROW_OK)
		fprintf(stderr, "%s: %s: %s\n", r.loan, escrow_status_name(status),
			escrow_last_error());
	return status != ESCROW_OK;
}

/* A link of the chain: one small transaction. */
static int
pay(const rd_kafka_message_t *m, void *db, void *arg)
{
	char text[128], loan[64];
	long left, part;
	int step;

	(void)arg;
	snprintf(text, sizeof(text), "%.*s", (int)m->len, (const char *)m->payload);
	if (sscanf(text, "%63s %d %ld", loan, &step, &left) != 3)
		return ESCROW_GIVE_UP;
	part = left < PART ? left : PART;
	if (db_run(db, "INSERT INTO instalment VALUES (%Q, %d, %ld)", loan, step, part) != 1 ||
	    db_run(db, "UPDATE loan SET owed = owed - %ld WHERE id = %Q", part, loan) != 1)
		return ESCROW_RETRY;
	if (part == left)
		return ESCROW_HANDLED; /* the last */
	return service_send("repayments", loan, "%s %d %ld", loan, step + 1, left - part);
}

int
main(int argc, char **argv)
{
	int serves = argc >= 5 && strcmp(argv[1], "serve") == 0, failed;
	void *db;

	if (!serves && (argc != 6 || strcmp(argv[1], "begin") != 0)) {
		fprintf(stderr, "usage: repay begin BROKER DATABASE LOAN AMOUNT\n"
				"       repay serve BROKER DATABASE KAFKA [PROPERTY=VALUE ...]\n"
				"  repay begin 'escrow://127.0.0.1:9876?group=repay' loans.db "
				"house 100000\n"
				"  repay serve 'escrow://127.0.0.1:9876?group=repay' loans.db "
				"127.0.0.1:9092\n");
		return 2;
	}
	db = service_open(argv[2], argv[3]);
	db_make(db, "loan (id VARCHAR(64) PRIMARY KEY, owed INTEGER)");
	db_make(db, "instalment (loan VARCHAR(64), step INTEGER, amount INTEGER)");
	failed = serves ? service_run("repay", "repayments", pay, argv + 4)
			: begin((struct repayment){ argv[4], atol(argv[5]) });
	service_close();
	return failed;
}
