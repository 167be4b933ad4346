/*
 * store.c -- the consumer's tables behind the functions that escrow_consumer.h names.
 */
#include "tables/store.h"

#include <stdlib.h>
#include <string.h>

#include "tables/dedup.h"

/* The numbers of both are the same. */
_Static_assert(ESCROW_CLAIM_NEW == (int)DEDUP_NEW && ESCROW_CLAIM_SEEN == (int)DEDUP_SEEN &&
		       ESCROW_CLAIM_OLD == (int)DEDUP_OLD &&
		       ESCROW_CLAIM_BEFORE == (int)DEDUP_BEFORE &&
		       ESCROW_CLAIM_GAP == (int)DEDUP_GAP,
	       "claims");
_Static_assert(ESCROW_STORE_AGAIN == (int)SQL_AGAIN && ESCROW_STORE_LOST == (int)SQL_LOST &&
		       ESCROW_STORE_BAD == (int)SQL_BAD && ESCROW_STORE_UNDONE == (int)SQL_UNDONE,
	       "results");

/* Deletions of one forget(): messages wait for so many. */
#define FORGET_CHUNKS 8

struct store {
	escrow_store base;
	struct sql sql;
	bool lost; /* the connection, as far as we know */
};

static struct sql *
of(escrow_store *base)
{
	return &((struct store *)base)->sql;
}

static int
noted(escrow_store *base, int result)
{
	if (result == SQL_LOST)
		((struct store *)base)->lost = true;
	return result;
}

static int
begin(escrow_store *base)
{
	struct store *s = (struct store *)base;
	int err = s->lost ? sql_reconnect(&s->sql) : SQL_OK;

	if (err)
		return err;
	s->lost = false;
	return noted(base, sql_begin(&s->sql));
}

static struct dedup_seq
seq_of(const escrow_claim *c)
{
	struct dedup_seq seq = { .topic = c->topic,
				 .topic_bytes = strlen(c->topic),
				 .partition = c->partition,
				 .n = c->n,
				 .again = c->again };

	memcpy(seq.journal, c->journal, sizeof(seq.journal));
	return seq;
}

static int
claim(escrow_store *base, const escrow_claim *c)
{
	struct dedup_consumer consumer = { c->consumer, strlen(c->consumer) };
	struct dedup_seq seq;

	if (c->by == ESCROW_DEDUP_BY_ID)
		return noted(base, dedup_claim_id(of(base), consumer, c->id, c->id_len, c->ours,
						  c->now_ms));
	seq = seq_of(c);
	return noted(base, dedup_claim_seq(of(base), consumer, &seq));
}

static int
meet(escrow_store *base, const escrow_claim *c)
{
	struct dedup_seq seq = seq_of(c);

	return noted(base,
		     dedup_meet(of(base),
				(struct dedup_consumer){ c->consumer, strlen(c->consumer) }, &seq));
}

static int
commit(escrow_store *base)
{
	return noted(base, sql_commit(of(base)));
}

static int
rollback(escrow_store *base)
{
	return noted(base, sql_rollback(of(base)));
}

static int
forget(escrow_store *base, const char *consumer, const unsigned char low[16], int64_t seen_ms)
{
	int64_t rows;

	return noted(base,
		     dedup_forget(of(base), (struct dedup_consumer){ consumer, strlen(consumer) },
				  low, seen_ms, FORGET_CHUNKS, &rows));
}

static int
mark(escrow_store *base, const char *consumer, const unsigned char *oldest, int64_t now_ms,
     int64_t before_ms, unsigned char ret_low[16])
{
	return noted(base,
		     dedup_mark(of(base), (struct dedup_consumer){ consumer, strlen(consumer) },
				oldest, now_ms, before_ms, ret_low));
}

static const char *
error(const escrow_store *base)
{
	return ((const struct store *)base)->sql.error;
}

static void
drop(escrow_store *base)
{
	sql_done(of(base));
	free(base);
}

escrow_status
store_new(escrow_store **ret_store, const struct sql_engine *engine, void *db)
{
	struct store *s = calloc(1, sizeof(*s));

	if (s == NULL) {
		escrow_set_last_error("out of memory");
		return ESCROW_E_NOMEM;
	}
	s->base = (escrow_store){ sizeof(s->base), db,    begin, claim, commit, rollback,
				  forget,          error, drop,  mark,  meet };
	sql_borrow(&s->sql, engine, db);
	if (dedup_install(&s->sql)) {
		escrow_set_last_error(s->sql.error);
		drop(&s->base);
		return ESCROW_E_DATABASE;
	}
	*ret_store = &s->base;
	return ESCROW_OK;
}
