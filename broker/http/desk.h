/*
 * desk.h -- the clerk: fills mails from the core, on the loop's thread.
 *
 * The only file of this folder that reads core, journal, relay and remoting; everything that
 * leaves it is a copy.  A turn's mails are bounded (HTTP_TURN_COST) and so is each of them: a
 * list looks at LIMIT_LIST_SCAN rows, a page has LIMIT_LIST_PAGE.
 */
#ifndef DESK_H
#define DESK_H

#include "http/mailbox.h"
#include "world/loop.h"

struct desk;

struct desk *desk_new(struct mailbox *mb, struct loop *l, uint32_t max_topics);
struct desk *desk_free(struct desk *s);

struct clerk desk_clerk(struct desk *s);
void desk_tally(struct desk *s, int64_t now_ns);
void desk_note(struct desk *s, const struct note *note);
void desk_answer(struct desk *s, struct reply_to to, const struct answer *answer);
void desk_fetched(struct desk *s, uint64_t token, int err, const struct half *half);

#endif /* DESK_H */
