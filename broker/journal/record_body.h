/*
 * record_body.h -- between record.c, which has the frame, and the two files that have the bodies.
 * Nobody else includes it.
 */
#ifndef RECORD_BODY_H
#define RECORD_BODY_H

#include "journal/record.h"
#include "journal/record_words.h"

/* At least as many bytes as the body of E takes. */
size_t body_bound(const struct entry *e);
/* Writes it: how many bytes it took, of ROOM. */
size_t body_put(const struct entry *e, uint8_t *out, size_t room);
/*
 * RET_ENTRY->type says what BODY is.  ERR_MALFORMED; ERR_VERSION: a type of a newer version;
 * ERR_NOMEM.  The entry borrows from BODY and S.
 */
int body_get(struct str body, struct record_scratch *s, struct entry *ret_entry) MUSTUSE;

/* ---- record_txn.c: what is impossible shows in the cursor ------------------------------------ */

size_t body_bound_half(const struct half *h);
size_t body_bound_copy(const struct entry_copy *e);
void body_put_half(struct out *o, const struct half *h, const uint32_t *topics);
void body_get_half(struct cursor *c, struct record_scratch *s, struct half *h);
void body_put_decision(struct out *o, const struct decision *d);
void body_get_decision(struct cursor *c, struct record_scratch *s, struct decision *d);
void body_put_copy(struct out *o, const struct entry_copy *e);
void body_get_copy(struct cursor *c, struct record_scratch *s, struct entry_copy *e);
void body_put_stub(struct out *o, const struct entry_stub *e);
void body_get_stub(struct cursor *c, struct record_scratch *s, struct entry_stub *e);

#endif /* RECORD_BODY_H */
