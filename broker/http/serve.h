/*
 * serve.h -- the clerk: fills mails from the core, on the loop's thread.
 *
 * The only file of this folder that reads core, journal, relay and remoting; everything that
 * leaves it is a copy.  A turn's mails are bounded (HTTP_TURN_COST) and so is each of them: a
 * list looks at LIMIT_LIST_SCAN rows, a page has LIMIT_LIST_PAGE.
 */
#ifndef SERVE_H
#define SERVE_H

#include "http/mailbox.h"
#include "world/loop.h"

struct serve;

struct serve *serve_new(struct mailbox *mb, struct loop *l, uint32_t max_topics);
struct serve *serve_free(struct serve *s);

struct clerk serve_clerk(struct serve *s);
void serve_tally(struct serve *s, int64_t now_ns);
void serve_note(struct serve *s, const struct note *note);
void serve_answer(struct serve *s, struct reply_to to, const struct answer *answer);
void serve_fetched(struct serve *s, uint64_t token, int err, const struct half *half);

#endif /* SERVE_H */
