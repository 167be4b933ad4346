/*
 * record_body.h -- between record.c, which has the frame, and record_body.c, which has the bodies.
 * Nobody else includes it.
 */
#ifndef RECORD_BODY_H
#define RECORD_BODY_H

#include "journal/record.h"

/* At least as many bytes as the body of E takes. */
size_t body_bound(const struct entry *e);
/* Writes it: how many bytes it took, of ROOM. */
size_t body_put(const struct entry *e, uint8_t *out, size_t room);
/*
 * RET_ENTRY->type says what BODY is.  ERR_MALFORMED; ERR_VERSION: a type of a newer version;
 * ERR_NOMEM.  The entry borrows from BODY and S.
 */
int body_get(struct str body, struct record_scratch *s, struct entry *ret_entry) MUSTUSE;

#endif /* RECORD_BODY_H */
