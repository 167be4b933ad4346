/*
 * dedup.c -- claims.  Insert first, then look: whoever looks first runs handlers twice.
 */
#include "tables/dedup.h"

#include <string.h>

int
dedup_install(struct sql *s)
{
	static const enum sql_statement creates[] = { SQL_DEDUP_CREATE, SQL_LOW_CREATE,
						      SQL_HW_CREATE, SQL_GAP_CREATE };
	struct sql_row row;
	int err = SQL_OK;

	for (size_t i = 0; i < sizeof(creates) / sizeof(creates[0]); i++) {
		/* PostgreSQL fails one of two processes that create a table at once. */
		for (int attempt = 0; attempt < 3; attempt++) {
			err = sql_run(s, creates[i], NULL, 0, NULL);
			if (!err || err == SQL_LOST)
				break;
		}
		if (err)
			return err;
	}
	err = sql_run(s, SQL_ENGINES, NULL, 0, &row);
	if (!err && row.column[0].number != 0)
		err = sql_fail(s, SQL_BAD, "a table of ours is not InnoDB, and cannot roll back");
	return err;
}

int
dedup_claim_id(struct sql *s, struct dedup_consumer consumer, const void *msg, size_t msg_bytes,
	       bool ours, int64_t ms)
{
	struct sql_row row;
	bool fresh;
	int err;

	/* Refused, never truncated: two ids that become one are a lost message. */
	if (consumer.name_bytes > DEDUP_CONSUMER_MAX || msg_bytes > DEDUP_MSG_MAX ||
	    (ours && msg_bytes != DEDUP_MSG_OURS))
		return sql_fail(s, SQL_BAD, "an id or a consumer's name is too long");
	err = SQL_RUN(s, SQL_DEDUP_INSERT, &row, sql_bytes(consumer.name, consumer.name_bytes),
		      sql_bytes(msg, msg_bytes), ours ? sql_null() : sql_number(ms));
	if (err)
		return err;
	fresh = row.changed == 1;
	if (!ours)
		return fresh ? DEDUP_NEW : DEDUP_SEEN;
	/* After the insert: it may have found room that a deletion made. */
	err = SQL_RUN(s, SQL_LOW_READ, &row, sql_bytes(consumer.name, consumer.name_bytes));
	if (err)
		return err;
	if (row.found && memcmp(msg, row.column[0].bytes, 16) < 0)
		return DEDUP_OLD;
	return fresh ? DEDUP_NEW : DEDUP_SEEN;
}

/* The numbers between SEQ and N, to be claimed when they come after all: undeliverable ones,
 * which an operator may publish by retry. */
static int
leave_gap(struct sql *s, const struct sql_value key[4], int64_t seq, int64_t n)
{
	for (int64_t i = seq + 1; i < n; i++) {
		int err = SQL_RUN(s, SQL_GAP_INSERT, NULL, key[0], key[1], key[2], key[3],
				  sql_number(i));

		if (err)
			return err;
	}
	return SQL_OK;
}

/* All but the one statement of the usual case. */
static int
out_of_order(struct sql *s, const struct sql_value key[4], int64_t n, bool again)
{
	int64_t first, seq;
	struct sql_row row;
	int err = SQL_OK;

	if (!again)
		err = SQL_RUN(s, SQL_HW_INSERT, NULL, key[0], key[1], key[2], key[3],
			      sql_number(n - 1), sql_number(n - 1));
	if (!err)
		err = SQL_RUN(s, SQL_HW_LOCK, &row, key[0], key[1], key[2], key[3]);
	if (err)
		return err;
	if (!row.found && again)
		return DEDUP_BEFORE;
	if (!row.found)
		return sql_fail(s, SQL_BAD, "the row of a partition vanished");
	first = row.column[0].number;
	seq = row.column[1].number;
	if (n <= first)
		return DEDUP_BEFORE;
	if (n <= seq) {
		err = SQL_RUN(s, SQL_GAP_DELETE, &row, key[0], key[1], key[2], key[3],
			      sql_number(n));
		if (err)
			return err;
		return row.changed == 1 ? DEDUP_NEW : DEDUP_SEEN;
	}
	if (n - seq - 1 > DEDUP_GAP_MAX)
		return again ? DEDUP_BEFORE : DEDUP_GAP; /* those may be here yet */
	err = leave_gap(s, key, seq, n);
	if (!err)
		err = SQL_RUN(s, SQL_HW_SET, NULL, sql_number(n), key[0], key[1], key[2], key[3]);
	return err ? err : DEDUP_NEW;
}

int
dedup_claim_seq(struct sql *s, struct dedup_consumer consumer, const struct dedup_seq *seq)
{
	const struct sql_value key[4] = {
		sql_bytes(consumer.name, consumer.name_bytes),
		sql_bytes(seq->topic, seq->topic_bytes),
		sql_number(seq->partition),
		sql_bytes(seq->journal, sizeof(seq->journal)),
	};
	struct sql_row row;
	int err;

	if (consumer.name_bytes > DEDUP_CONSUMER_MAX || seq->topic_bytes > DEDUP_TOPIC_MAX)
		return sql_fail(s, SQL_BAD, "a topic or a consumer's name is too long");
	if (seq->n < 1)
		return sql_fail(s, SQL_BAD, "numbers begin at 1");
	/* The next in order, nearly always.  The update locks the row, and waits for it. */
	err = SQL_RUN(s, SQL_HW_STEP, &row, sql_number(seq->n), key[0], key[1], key[2], key[3],
		      sql_number(seq->n - 1));
	if (err)
		return err;
	if (row.changed == 1)
		return DEDUP_NEW;
	return out_of_order(s, key, seq->n, seq->again);
}

int
dedup_meet(struct sql *s, struct dedup_consumer consumer, const struct dedup_seq *seq)
{
	const struct sql_value row[] = {
		sql_bytes(consumer.name, consumer.name_bytes),
		sql_bytes(seq->topic, seq->topic_bytes),
		sql_number(seq->partition),
		sql_bytes(seq->journal, sizeof(seq->journal)),
		sql_number(seq->n - 1),
		sql_number(seq->n - 1),
	};

	/* Of one that was published again another is the first. */
	return seq->again ? SQL_OK : sql_alone(s, SQL_HW_INSERT, row, 6, NULL);
}

#define MARK       "low:"
#define MARK_BYTES (sizeof(MARK) - 1 + 16)

int
dedup_mark(struct sql *s, struct dedup_consumer consumer, const uint8_t oldest[16], int64_t now_ms,
	   int64_t before_ms, uint8_t ret_low[16])
{
	const struct sql_value name = sql_bytes(consumer.name, consumer.name_bytes);
	uint8_t msg[MARK_BYTES] = MARK;
	struct sql_row row;
	int err = SQL_OK;

	memset(ret_low, 0, 16);
	if (oldest != NULL) {
		memcpy(msg + sizeof(MARK) - 1, oldest, 16);
		/* The same one again keeps the time of the first. */
		err = sql_alone(s, SQL_DEDUP_INSERT,
				(const struct sql_value[]){ name, sql_bytes(msg, sizeof(msg)),
							    sql_number(now_ms) },
				3, NULL);
	}
	if (!err)
		err = sql_alone(s, SQL_DEDUP_MARK,
				(const struct sql_value[]){ name, sql_bytes(MARK, sizeof(MARK) - 1),
							    sql_bytes("low;", sizeof(MARK) - 1),
							    sql_number(before_ms) },
				4, &row);
	if (!err && row.found && row.column[0].n == MARK_BYTES)
		memcpy(ret_low, row.column[0].bytes + sizeof(MARK) - 1, 16);
	return err;
}

/* Deletes until there is nothing, or *CHUNKS are used up. */
static int
delete_some(struct sql *s, enum sql_statement what, const struct sql_value in[2], int *chunks,
	    int64_t *rows)
{
	struct sql_row row = { .changed = 1 };
	int err = SQL_OK;

	while (!err && row.changed > 0 && (*chunks)-- > 0) {
		err = sql_alone(s, what, in, 2, &row);
		if (!err)
			*rows += row.changed;
	}
	return err;
}

int
dedup_forget(struct sql *s, struct dedup_consumer consumer, const uint8_t low[16], int64_t seen_ms,
	     int chunks, int64_t *ret_rows)
{
	static const uint8_t zero[16];
	const struct sql_value name = sql_bytes(consumer.name, consumer.name_bytes);
	const struct sql_value at = sql_bytes(low, 16);
	int64_t rows = 0;
	int err;

	/* Durable first: only then may rows below go. */
	err = sql_alone(s, SQL_LOW_INSERT, (const struct sql_value[]){ name, sql_bytes(zero, 16) },
			2, NULL);
	if (!err)
		err = sql_alone(s, SQL_LOW_RAISE, (const struct sql_value[]){ at, name, at }, 3,
				NULL);
	if (!err)
		err = delete_some(s, SQL_DEDUP_SWEEP, (const struct sql_value[]){ name, at },
				  &chunks, &rows);
	if (!err)
		err = delete_some(s, SQL_DEDUP_EXPIRE,
				  (const struct sql_value[]){ name, sql_number(seen_ms) }, &chunks,
				  &rows);
	if (err)
		return err;
	*ret_rows = rows;
	return chunks < 0 ? DEDUP_MORE : SQL_OK;
}
