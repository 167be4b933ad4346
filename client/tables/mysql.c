/*
 * mysql.c -- the tables' statements on MariaDB and MySQL (InnoDB).
 *
 * Statements go as text with every value written as a number or as x'hex', which needs no
 * quoting and no second round trip for a prepared statement.
 *
 * A duplicate key is error 1062, which undoes that statement only.  INSERT IGNORE would also
 * swallow truncation, and the row count of ON DUPLICATE KEY depends on a flag of the connection.
 */
#include "tables/sql.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mysql.h>

#define DUPLICATE       1062
#define LOCK_WAIT       1205
#define DEADLOCK        1213
#define RECORD_CHANGED  1020
#define SERVER_SHUTDOWN 1053
#define KILLED          1927
#define IDLE_TIMEOUT    4031
#define CLIENT_ERRORS   2000 /* to 2999: libmariadb's own, all of them about the connection */

static int
told(struct sql *s)
{
	unsigned code = mysql_errno(s->db);
	int result = SQL_BAD;

	if (code == LOCK_WAIT || code == DEADLOCK || code == RECORD_CHANGED)
		result = SQL_AGAIN;
	else if (code == SERVER_SHUTDOWN || code == KILLED || code == IDLE_TIMEOUT ||
		 code / 1000 * 1000 == CLIENT_ERRORS)
		result = SQL_LOST;
	return sql_fail(s, result, "mysql: %s (%u)", mysql_error(s->db), code);
}

static int
exec(struct sql *s, const char *text)
{
	return mysql_query(s->db, text) ? told(s) : SQL_OK;
}

/* One `key=value` of TEXT, the value as it is or between single quotes, with \ before what is
 * meant literally.  Where the next begins, or NULL. */
static const char *
parse(const char *text, char key[16], char value[256])
{
	size_t n = 0;
	bool quoted;

	while (isspace((unsigned char)*text))
		text++;
	while (*text && *text != '=' && !isspace((unsigned char)*text) && n < 15)
		key[n++] = *text++;
	key[n] = '\0';
	if (n == 0 || *text++ != '=')
		return NULL;
	quoted = *text == '\'';
	text += quoted;
	for (n = 0; *text && (quoted ? *text != '\'' : !isspace((unsigned char)*text)); text++) {
		if (*text == '\\' && text[1])
			text++;
		if (n == 255)
			return NULL;
		value[n++] = *text;
	}
	value[n] = '\0';
	if (quoted && *text++ != '\'')
		return NULL;
	while (isspace((unsigned char)*text))
		text++;
	return text;
}

static int
connect_to(struct sql *s, const char *where)
{
	static const char *const names[] = {
		"host", "port", "user", "password", "dbname", "socket"
	};
	enum { HOST, PORT, USER, PASSWORD, DBNAME, SOCKET, NAMES };
	char text[NAMES][256], key[16], value[256], wait[64];
	bool given[NAMES] = { false };
	unsigned port = 0;
	MYSQL *db;
	int i;

	while (*where) {
		where = parse(where, key, value);
		for (i = 0; where != NULL && i < NAMES && strcmp(key, names[i]) != 0;)
			i++;
		if (where == NULL || i == NAMES)
			return sql_fail(s, SQL_BAD,
					"mysql: not of the form \"host= port= user= password= "
					"dbname= socket=\"");
		memcpy(text[i], value, sizeof(value));
		given[i] = true;
	}
	if (given[PORT])
		port = (unsigned)strtoul(text[PORT], NULL, 10);
	s->db = db = mysql_init(NULL);
	if (db == NULL)
		return sql_fail(s, SQL_BAD, "out of memory");
	/* In seconds, and asked for again whenever the client reconnects. */
	snprintf(wait, sizeof(wait), "SET SESSION innodb_lock_wait_timeout = %d",
		 s->patience_ms < 1000 ? 1 : s->patience_ms / 1000);
	if (s->patience_ms > 0)
		(void)mysql_options(db, MYSQL_INIT_COMMAND, wait); /* no error is documented */
	if (!mysql_real_connect(db, given[HOST] ? text[HOST] : NULL,
				given[USER] ? text[USER] : NULL,
				given[PASSWORD] ? text[PASSWORD] : NULL,
				given[DBNAME] ? text[DBNAME] : NULL, port,
				given[SOCKET] ? text[SOCKET] : NULL, 0))
		return told(s);
	return SQL_OK;
}

/*
 * The client library reconnects only where that is switched on, and not at the first attempt when
 * it was inside a transaction.  Switched off again at once: a statement that finds itself on a new
 * connection would be committed by itself, without the ones before.
 */
static int
reconnect(struct sql *s)
{
	my_bool yes = 1, no = 0;
	bool failed = mysql_ping(s->db) != 0;

	if (!failed)
		return SQL_OK;
	(void)mysql_options(s->db, MYSQL_OPT_RECONNECT, &yes); /* no error is documented */
	for (int attempt = 0; failed && attempt < 2; attempt++)
		failed = mariadb_reconnect(s->db);
	(void)mysql_options(s->db, MYSQL_OPT_RECONNECT, &no);
	return failed ? sql_fail(s, SQL_LOST, "mysql: %s", mysql_error(s->db)) : SQL_OK;
}

static bool
inside(struct sql *s)
{
	unsigned status = 0;

	(void)mariadb_get_infov(s->db, MARIADB_CONNECTION_SERVER_STATUS, &status); /* 0 is no */
	return status & SERVER_STATUS_IN_TRANS;
}

static int
begin(struct sql *s)
{
	int err = exec(s, "SET TRANSACTION ISOLATION LEVEL READ COMMITTED");

	return err ? err : exec(s, "START TRANSACTION READ WRITE");
}

/*
 * Of what ends a transaction behind our back, DDL is the usual one; and it commits.
 *
 * A deadlock found at COMMIT (Galera's certification) is a rollback.  Any other error may come
 * after the decision was written: the binary log, a shutdown, a connection.
 */
static int
commit(struct sql *s)
{
	if (!inside(s))
		return sql_fail(s, SQL_LOST, "mysql: the transaction was ended by somebody else");
	if (mysql_query(s->db, "COMMIT") == 0)
		return SQL_OK;
	(void)told(s); /* for the sentence */
	if (mysql_errno(s->db) == DEADLOCK)
		return SQL_UNDONE;
	return SQL_LOST;
}

static int
rollback(struct sql *s)
{
	return exec(s, "ROLLBACK");
}

/* TEXT with its `?` replaced; the longest, of a foreign id and a topic, is below 2 KiB. */
static size_t
render(const char *text, const struct sql_value *in, size_t count, char *to, size_t size)
{
	static const char hex[] = "0123456789abcdef";
	size_t n = 0, at = 0;

	for (; *text; text++) {
		if (n + 32 > size)
			return 0;
		if (*text != '?' || at == count) {
			to[n++] = *text;
			continue;
		}

		const struct sql_value *v = &in[at++];
		const uint8_t *bytes = v->bytes;

		if (v->is == SQL_IS_NUMBER) {
			n += (size_t)snprintf(to + n, size - n, "%lld", (long long)v->number);
			continue;
		}
		if (v->is == SQL_IS_NULL) {
			memcpy(to + n, "NULL", 4);
			n += 4;
			continue;
		}
		if (n + 2 * v->n + 4 > size)
			return 0;
		to[n++] = 'x';
		to[n++] = '\'';
		for (size_t i = 0; i < v->n; i++) {
			to[n++] = hex[bytes[i] >> 4];
			to[n++] = hex[bytes[i] & 15];
		}
		to[n++] = '\'';
	}
	return n;
}

static int
read_row(struct sql *s, MYSQL_RES *r, struct sql_row *ret)
{
	MYSQL_ROW row = mysql_fetch_row(r);
	unsigned long *lengths;

	if (row == NULL)
		return SQL_OK;
	lengths = mysql_fetch_lengths(r);
	ret->found = true;
	for (unsigned i = 0; i < SQL_COLUMNS && i < mysql_num_fields(r); i++) {
		ret->column[i].null = row[i] == NULL;
		if (row[i] == NULL)
			continue;
		if (IS_NUM(mysql_fetch_field_direct(r, i)->type)) {
			ret->column[i].number = strtoll(row[i], NULL, 10);
			continue;
		}
		if (lengths[i] > SQL_CELL)
			return sql_fail(s, SQL_BAD, "mysql: a value is longer than any of ours");
		memcpy(ret->column[i].bytes, row[i], lengths[i]);
		ret->column[i].n = lengths[i];
	}
	return SQL_OK;
}

static int
run(struct sql *s, enum sql_statement what, const struct sql_value *in, size_t count,
    struct sql_row *ret)
{
	char text[2560];
	size_t n = render(sql_text(what, SQL_MYSQL), in, count, text, sizeof(text));
	MYSQL_RES *r;
	int err;

	if (n == 0)
		return sql_fail(s, SQL_BAD, "mysql: a value is too long");
	if (mysql_real_query(s->db, text, n)) {
		if (mysql_errno(s->db) == DUPLICATE)
			return SQL_OK; /* 0 rows changed */
		return told(s);
	}
	if (mysql_field_count(s->db) == 0) {
		ret->changed = (int64_t)mysql_affected_rows(s->db);
		return SQL_OK;
	}
	r = mysql_store_result(s->db);
	if (r == NULL)
		return told(s);
	err = read_row(s, r, ret);
	mysql_free_result(r);
	return err;
}

static void
done(struct sql *s)
{
	if (s->owned && s->db != NULL)
		mysql_close(s->db);
}

const struct sql_engine sql_mysql = {
	.name = "mysql",
	.connect = connect_to,
	.reconnect = reconnect,
	.begin = begin,
	.commit = commit,
	.rollback = rollback,
	.inside = inside,
	.run = run,
	.done = done,
};
