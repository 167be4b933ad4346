/*
 * postgres.c -- the tables' statements on PostgreSQL.
 *
 * Statements go as text with binary parameters, unprepared: prepared ones do not survive a
 * pooler in transaction mode, and parsing costs a tenth of the round trip.
 */
#include "tables/sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#define OID_BYTEA 17

/* By the five characters of SQLSTATE, of which the documentation of PostgreSQL has a list. */
static int
told(struct sql *s, const PGresult *r)
{
	const char *state = r != NULL ? PQresultErrorField(r, PG_DIAG_SQLSTATE) : NULL;
	const char *text = r != NULL ? PQresultErrorMessage(r) : "";

	if (text[0] == '\0')
		text = PQerrorMessage(s->db);
	if (PQstatus(s->db) != CONNECTION_OK || state == NULL)
		return sql_fail(s, SQL_LOST, "postgres: %s", text);
	if (strcmp(state, "40001") == 0 || strcmp(state, "40P01") == 0 ||
	    strcmp(state, "55P03") == 0 || strcmp(state, "57014") == 0)
		return sql_fail(s, SQL_AGAIN, "postgres: %s", text);
	return sql_fail(s, SQL_BAD, "postgres: %s", text);
}

static int
exec(struct sql *s, const char *text)
{
	PGresult *r = PQexec(s->db, text);
	int err = SQL_OK;

	if (r == NULL || PQresultStatus(r) != PGRES_COMMAND_OK)
		err = told(s, r);
	PQclear(r);
	return err;
}

/* CREATE TABLE IF NOT EXISTS says so aloud each time. */
static void
quiet(void *arg, const PGresult *r)
{
	(void)arg;
	(void)r;
}

static int
connected(struct sql *s)
{
	if (PQstatus(s->db) != CONNECTION_OK)
		return sql_fail(s, SQL_LOST, "postgres: %s", PQerrorMessage(s->db));
	if (s->owned)
		(void)PQsetNoticeReceiver(s->db, quiet, NULL);
	return SQL_OK;
}

static int
connect_to(struct sql *s, const char *where)
{
	s->db = PQconnectdb(where);
	if (s->db == NULL)
		return sql_fail(s, SQL_BAD, "out of memory");
	return connected(s);
}

static int
reconnect(struct sql *s)
{
	if (PQstatus(s->db) == CONNECTION_OK)
		return SQL_OK;
	PQreset(s->db);
	return connected(s);
}

static bool
inside(struct sql *s)
{
	PGTransactionStatusType status = PQtransactionStatus(s->db);

	return status == PQTRANS_INTRANS || status == PQTRANS_INERROR || status == PQTRANS_ACTIVE;
}

static int
begin(struct sql *s)
{
	char text[128];

	snprintf(text, sizeof(text), "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE");
	if (s->patience_ms > 0)
		snprintf(text, sizeof(text),
			 "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; "
			 "SET LOCAL lock_timeout = %d",
			 s->patience_ms);
	return exec(s, text);
}

/* Of a transaction that failed before, COMMIT succeeds and says ROLLBACK. */
static int
commit(struct sql *s)
{
	PGresult *r;
	int err;

	if (!inside(s))
		return sql_fail(s, SQL_LOST, "postgres: %s",
				PQstatus(s->db) == CONNECTION_OK
					? "the transaction was ended by somebody else"
					: PQerrorMessage(s->db));
	r = PQexec(s->db, "COMMIT");
	if (r != NULL && PQresultStatus(r) == PGRES_COMMAND_OK) {
		err = SQL_OK;
		if (strcmp(PQcmdStatus(r), "COMMIT") != 0)
			err = sql_fail(s, SQL_UNDONE,
				       "postgres: a statement had failed, so COMMIT rolled back");
	} else {
		const char *state = r != NULL ? PQresultErrorField(r, PG_DIAG_SQLSTATE) : NULL;

		err = told(s, r);
		/* Constraints and serialization are looked at before anything is final;
		 * resources, operators and the system (53 to 58) may strike behind it. */
		if (err != SQL_LOST && PQtransactionStatus(s->db) == PQTRANS_IDLE && state &&
		    (strncmp(state, "23", 2) == 0 || strcmp(state, "40001") == 0 ||
		     strcmp(state, "40P01") == 0))
			err = SQL_UNDONE;
		else
			err = SQL_LOST;
	}
	PQclear(r);
	return err;
}

static int
rollback(struct sql *s)
{
	if (PQstatus(s->db) != CONNECTION_OK)
		return sql_fail(s, SQL_LOST, "postgres: %s", PQerrorMessage(s->db));
	return inside(s) ? exec(s, "ROLLBACK") : SQL_OK;
}

/* `?` becomes $1, $2, ...; none of our texts has one in a string. */
static void
number_parameters(const char *text, char *to, size_t size)
{
	size_t n = 0;
	int at = 0;

	for (; *text && n + 4 < size; text++) {
		if (*text == '?')
			n += (size_t)snprintf(to + n, size - n, "$%d", ++at);
		else
			to[n++] = *text;
	}
	to[n] = '\0';
}

/* A number in binary: bigint, integer, smallint or boolean by its size. */
static int64_t
number(const uint8_t *bytes, size_t n)
{
	uint64_t v = n > 0 && (bytes[0] & 0x80) && n > 1 ? UINT64_MAX : 0;

	for (size_t i = 0; i < n && i < 8; i++)
		v = v << 8 | bytes[i];
	return (int64_t)v;
}

static int
read_row(struct sql *s, const PGresult *r, struct sql_row *ret)
{
	ret->found = true;
	for (int i = 0; i < SQL_COLUMNS && i < PQnfields(r); i++) {
		const uint8_t *bytes = (const uint8_t *)PQgetvalue(r, 0, i);
		size_t n = (size_t)PQgetlength(r, 0, i);

		ret->column[i].null = PQgetisnull(r, 0, i);
		if (ret->column[i].null)
			continue;
		if (PQftype(r, i) != OID_BYTEA) {
			ret->column[i].number = number(bytes, n);
			continue;
		}
		if (n > SQL_CELL)
			return sql_fail(s, SQL_BAD, "postgres: a value is longer than any of ours");
		memcpy(ret->column[i].bytes, bytes, n);
		ret->column[i].n = n;
	}
	return SQL_OK;
}

static int
run(struct sql *s, enum sql_statement what, const struct sql_value *in, size_t count,
    struct sql_row *ret)
{
	const char *values[SQL_PARAMETERS];
	char text[1024], digits[SQL_PARAMETERS][24];
	Oid types[SQL_PARAMETERS];
	int lengths[SQL_PARAMETERS], formats[SQL_PARAMETERS], err = SQL_OK;
	PGresult *r;

	number_parameters(sql_text(what, SQL_POSTGRES), text, sizeof(text));
	for (size_t i = 0; i < count; i++) {
		/* Numbers go as text of no declared type: each fits the column it meets. */
		types[i] = in[i].is == SQL_IS_BYTES ? OID_BYTEA : 0;
		formats[i] = in[i].is == SQL_IS_BYTES;
		lengths[i] = (int)in[i].n;
		values[i] = in[i].is == SQL_IS_BYTES ? (in[i].n ? in[i].bytes : "") : NULL;
		if (in[i].is == SQL_IS_NUMBER) {
			snprintf(digits[i], sizeof(digits[i]), "%lld", (long long)in[i].number);
			values[i] = digits[i];
		}
	}
	r = PQexecParams(s->db, text, (int)count, types, values, lengths, formats, 1);
	if (r != NULL && PQresultStatus(r) == PGRES_COMMAND_OK)
		ret->changed = strtoll(PQcmdTuples(r), NULL, 10);
	else if (r == NULL || PQresultStatus(r) != PGRES_TUPLES_OK)
		err = told(s, r);
	else if (PQntuples(r) > 0)
		err = read_row(s, r, ret);
	PQclear(r);
	return err;
}

static void
done(struct sql *s)
{
	if (s->owned)
		PQfinish(s->db);
}

const struct sql_engine sql_postgres = {
	.name = "postgres",
	.connect = connect_to,
	.reconnect = reconnect,
	.begin = begin,
	.commit = commit,
	.rollback = rollback,
	.inside = inside,
	.run = run,
	.done = done,
};
