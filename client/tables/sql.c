/*
 * sql.c -- the text of every statement, in three dialects.
 *
 * Why they are as they are is in fence.c and dedup.c.  Three rules hold for all: keys are
 * binary, for a collation makes two ids one; there is no second index, for a duplicate on one
 * locks a gap; and the only way to write a key is to insert it, never to look first.
 */
#include "tables/sql.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ONCE: the key whose second insert changes no row; MySQL does that by error 1062 instead. */
#define ONCE(key) " ON CONFLICT (" key ") DO NOTHING"

struct text {
	const char *of[3]; /* by dialect; NULL: as PostgreSQL's */
};

#define CREATE(name, postgres, sqlite, mysql)                                                      \
	{                                                                                          \
		{                                                                                  \
			"CREATE TABLE IF NOT EXISTS " name " (" postgres ")",                      \
				"CREATE TABLE IF NOT EXISTS " name " (" sqlite ") WITHOUT ROWID",  \
				"CREATE TABLE IF NOT EXISTS " name " (" mysql ") ENGINE=InnoDB"    \
		}                                                                                  \
	}
#define INSERT(into, key)                                                                          \
	{                                                                                          \
		{                                                                                  \
			"INSERT INTO " into ONCE(key), NULL, "INSERT INTO " into                   \
		}                                                                                  \
	}
/* At most a thousand rows at a time, by the primary key. */
#define SWEEP(table, key, where)                                                                   \
	{                                                                                          \
		{                                                                                  \
			"DELETE FROM " table " WHERE (" key ") IN (SELECT " key " FROM " table     \
			" WHERE " where " ORDER BY " key " LIMIT 1000)",                           \
				NULL,                                                              \
				"DELETE FROM " table " WHERE " where " ORDER BY " key              \
				" LIMIT 1000"                                                      \
		}                                                                                  \
	}
#define ALIKE(text)                                                                                \
	{                                                                                          \
		{                                                                                  \
			text, NULL, NULL                                                           \
		}                                                                                  \
	}

static const struct text texts[SQL_STATEMENTS] = {
	[SQL_FENCE_CREATE] =
		CREATE("escrow_fence",
		       "gid BYTEA NOT NULL PRIMARY KEY, state SMALLINT NOT NULL, who BYTEA",
		       "gid BLOB NOT NULL PRIMARY KEY, state INTEGER NOT NULL, who BLOB",
		       "gid VARBINARY(16) NOT NULL PRIMARY KEY, state TINYINT NOT NULL, "
		       "who VARBINARY(32) NULL"),
	[SQL_META_CREATE] =
		CREATE("escrow_meta",
		       "id SMALLINT NOT NULL PRIMARY KEY, db_id BYTEA NOT NULL, low BYTEA NOT NULL",
		       "id INTEGER NOT NULL PRIMARY KEY, db_id BLOB NOT NULL, low BLOB NOT NULL",
		       "id TINYINT NOT NULL PRIMARY KEY, db_id VARBINARY(16) NOT NULL, "
		       "low VARBINARY(16) NOT NULL"),
	/* db_id, low */
	[SQL_META_INSERT] = INSERT("escrow_meta (id, db_id, low) VALUES (1, ?, ?)", "id"),
	[SQL_META_READ] = ALIKE("SELECT db_id, low FROM escrow_meta WHERE id = 1"),
	/* low, low */
	[SQL_META_RAISE] = ALIKE("UPDATE escrow_meta SET low = ? WHERE id = 1 AND low < ?"),
	/* db_id */
	[SQL_META_REKEY] = ALIKE("UPDATE escrow_meta SET db_id = ? WHERE id = 1"),
	/* gid, state, who */
	[SQL_FENCE_INSERT] = INSERT("escrow_fence (gid, state, who) VALUES (?, ?, ?)", "gid"),
	/* gid */
	[SQL_FENCE_READ] = ALIKE("SELECT state FROM escrow_fence WHERE gid = ?"),
	[SQL_FENCE_OLDEST] = ALIKE("SELECT gid FROM escrow_fence ORDER BY gid LIMIT 1"),
	/* low */
	[SQL_FENCE_SWEEP] = SWEEP("escrow_fence", "gid", "gid < ?"),

	[SQL_DEDUP_CREATE] = CREATE("escrow_dedup",
				    "consumer BYTEA NOT NULL, msg BYTEA NOT NULL, seen BIGINT, "
				    "PRIMARY KEY (consumer, msg)",
				    "consumer BLOB NOT NULL, msg BLOB NOT NULL, seen INTEGER, "
				    "PRIMARY KEY (consumer, msg)",
				    "consumer VARBINARY(32) NOT NULL, msg VARBINARY(255) NOT NULL, "
				    "seen BIGINT NULL, PRIMARY KEY (consumer, msg)"),
	[SQL_LOW_CREATE] =
		CREATE("escrow_meta_c", "consumer BYTEA NOT NULL PRIMARY KEY, low BYTEA NOT NULL",
		       "consumer BLOB NOT NULL PRIMARY KEY, low BLOB NOT NULL",
		       "consumer VARBINARY(32) NOT NULL PRIMARY KEY, low VARBINARY(16) NOT NULL"),
	[SQL_HW_CREATE] =
		CREATE("escrow_hw",
		       "consumer BYTEA NOT NULL, topic BYTEA NOT NULL, part INTEGER NOT NULL, "
		       "journal BYTEA NOT NULL, first BIGINT NOT NULL, seq BIGINT NOT NULL, "
		       "PRIMARY KEY (consumer, topic, part, journal)",
		       "consumer BLOB NOT NULL, topic BLOB NOT NULL, part INTEGER NOT NULL, "
		       "journal BLOB NOT NULL, first INTEGER NOT NULL, seq INTEGER NOT NULL, "
		       "PRIMARY KEY (consumer, topic, part, journal)",
		       "consumer VARBINARY(32) NOT NULL, topic VARBINARY(249) NOT NULL, "
		       "part INT NOT NULL, journal VARBINARY(16) NOT NULL, first BIGINT NOT NULL, "
		       "seq BIGINT NOT NULL, PRIMARY KEY (consumer, topic, part, journal)"),
	[SQL_GAP_CREATE] =
		CREATE("escrow_gap",
		       "consumer BYTEA NOT NULL, topic BYTEA NOT NULL, part INTEGER NOT NULL, "
		       "journal BYTEA NOT NULL, n BIGINT NOT NULL, "
		       "PRIMARY KEY (consumer, topic, part, journal, n)",
		       "consumer BLOB NOT NULL, topic BLOB NOT NULL, part INTEGER NOT NULL, "
		       "journal BLOB NOT NULL, n INTEGER NOT NULL, "
		       "PRIMARY KEY (consumer, topic, part, journal, n)",
		       "consumer VARBINARY(32) NOT NULL, topic VARBINARY(249) NOT NULL, "
		       "part INT NOT NULL, journal VARBINARY(16) NOT NULL, n BIGINT NOT NULL, "
		       "PRIMARY KEY (consumer, topic, part, journal, n)"),
	/* consumer, msg, seen */
	[SQL_DEDUP_INSERT] =
		INSERT("escrow_dedup (consumer, msg, seen) VALUES (?, ?, ?)", "consumer, msg"),
	/* consumer, low */
	[SQL_LOW_INSERT] = INSERT("escrow_meta_c (consumer, low) VALUES (?, ?)", "consumer"),
	/* consumer */
	[SQL_LOW_READ] = ALIKE("SELECT low FROM escrow_meta_c WHERE consumer = ?"),
	/* low, consumer, low */
	[SQL_LOW_RAISE] = ALIKE("UPDATE escrow_meta_c SET low = ? WHERE consumer = ? AND low < ?"),
	/* consumer, low */
	[SQL_DEDUP_SWEEP] =
		SWEEP("escrow_dedup", "consumer, msg", "consumer = ? AND msg < ? AND seen IS NULL"),
	/* consumer, seen */
	[SQL_DEDUP_EXPIRE] = SWEEP("escrow_dedup", "consumer, msg",
				   "consumer = ? AND seen IS NOT NULL AND seen < ?"),
	/* consumer, least msg, msg behind the greatest, seen */
	[SQL_DEDUP_MARK] = ALIKE("SELECT msg FROM escrow_dedup WHERE consumer = ? AND msg >= ? "
				 "AND msg < ? AND seen < ? ORDER BY msg DESC LIMIT 1"),
	/* consumer, topic, part, journal, first, seq */
	[SQL_HW_INSERT] = INSERT("escrow_hw (consumer, topic, part, journal, first, seq) "
				 "VALUES (?, ?, ?, ?, ?, ?)",
				 "consumer, topic, part, journal"),
	/* n, consumer, topic, part, journal, n - 1 */
	[SQL_HW_STEP] = ALIKE("UPDATE escrow_hw SET seq = ? WHERE consumer = ? AND topic = ? "
			      "AND part = ? AND journal = ? AND seq = ?"),
	/* consumer, topic, part, journal */
	[SQL_HW_LOCK] = { { "SELECT first, seq FROM escrow_hw WHERE consumer = ? AND topic = ? "
			    "AND part = ? AND journal = ? FOR UPDATE",
			    "SELECT first, seq FROM escrow_hw WHERE consumer = ? AND topic = ? "
			    "AND part = ? AND journal = ?",
			    NULL } },
	/* seq, consumer, topic, part, journal */
	[SQL_HW_SET] = ALIKE("UPDATE escrow_hw SET seq = ? WHERE consumer = ? AND topic = ? "
			     "AND part = ? AND journal = ?"),
	/* consumer, topic, part, journal, n */
	[SQL_GAP_INSERT] = INSERT("escrow_gap (consumer, topic, part, journal, n) "
				  "VALUES (?, ?, ?, ?, ?)",
				  "consumer, topic, part, journal, n"),
	/* consumer, topic, part, journal, n */
	[SQL_GAP_DELETE] = ALIKE("DELETE FROM escrow_gap WHERE consumer = ? AND topic = ? "
				 "AND part = ? AND journal = ? AND n = ?"),

	/* How many of our tables are of a kind that cannot roll back; only MySQL has such. */
	[SQL_ENGINES] = { { "SELECT 0", NULL,
			    "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = "
			    "DATABASE() AND table_name IN ('escrow_fence', 'escrow_meta', "
			    "'escrow_dedup', 'escrow_meta_c', 'escrow_hw', 'escrow_gap') AND "
			    "engine <> 'InnoDB'" } },
	/* The one cleaner of a database: 1 when it is us; db_id.  SQLite has one writer anyway. */
	[SQL_LEADER_TAKE] = { { "SELECT pg_try_advisory_lock(hashtextextended("
				"encode(?::bytea, 'hex'), 0))::int",
				"SELECT 1 WHERE ? IS NOT NULL",
				"SELECT GET_LOCK(CONCAT('escrow_', HEX(?)), 0)" } },
	[SQL_LEADER_DROP] = { { "SELECT pg_advisory_unlock(hashtextextended("
				"encode(?::bytea, 'hex'), 0))::int",
				"SELECT 1 WHERE ? IS NOT NULL",
				"SELECT RELEASE_LOCK(CONCAT('escrow_', HEX(?)))" } },
};

const char *
sql_text(enum sql_statement what, enum sql_dialect dialect)
{
	const char *text = texts[what].of[dialect];

	return text != NULL ? text : texts[what].of[SQL_POSTGRES];
}

int
sql_fail(struct sql *s, int result, const char *format, ...)
{
	va_list args;
	size_t n;

	va_start(args, format);
	(void)vsnprintf(s->error, sizeof(s->error), format, args); /* cut, if too long */
	va_end(args);
	n = strlen(s->error);
	while (n > 0 && s->error[n - 1] == '\n')
		s->error[--n] = '\0';
	return result;
}

void
sql_borrow(struct sql *s, const struct sql_engine *engine, void *db)
{
	memset(s, 0, sizeof(*s));
	s->engine = engine;
	s->db = db;
}

int
sql_open(struct sql *s, const struct sql_engine *engine, const char *where, int patience_ms)
{
	sql_borrow(s, engine, NULL);
	s->owned = true;
	s->patience_ms = patience_ms;
	return engine->connect(s, where);
}

void
sql_done(struct sql *s)
{
	if (s->engine != NULL)
		s->engine->done(s);
	memset(s, 0, sizeof(*s));
}

int
sql_begin(struct sql *s)
{
	if (sql_inside(s))
		return sql_fail(s, SQL_BAD, "the connection is inside a transaction already");
	return s->engine->begin(s);
}

int
sql_commit(struct sql *s)
{
	return s->engine->commit(s);
}

int
sql_rollback(struct sql *s)
{
	char why[SQL_ERROR];
	int err;

	memcpy(why, s->error, sizeof(why));
	err = s->engine->rollback(s);
	memcpy(s->error, why, sizeof(why));
	return err;
}

bool
sql_inside(struct sql *s)
{
	return s->engine->inside(s);
}

int
sql_reconnect(struct sql *s)
{
	return s->engine->reconnect(s);
}

int
sql_run(struct sql *s, enum sql_statement what, const struct sql_value *in, size_t count,
	struct sql_row *ret)
{
	struct sql_row row = { 0 };
	int err = s->engine->run(s, what, in, count, &row);

	if (!err && ret != NULL)
		*ret = row;
	return err;
}

int
sql_alone(struct sql *s, enum sql_statement what, const struct sql_value *in, size_t count,
	  struct sql_row *ret)
{
	int err = sql_begin(s);

	if (!err)
		err = sql_run(s, what, in, count, ret);
	if (!err)
		return sql_commit(s);
	(void)sql_rollback(s); /* or the server does */
	return err;
}
