/*
 * serve.h -- one request frame to a call of the core, one answer of the core to a frame.
 *
 * What an answer needs of its request is packed into the tag that the core carries, so
 * there is no table of requests under way:
 *
 *      bit 63 .. 40   0
 *      bit 39 .. 36   kind: route, send, end, half
 *      bit 32         serialisation: 1 binary
 *      bit 31 .. 0    opaque
 */
#ifndef SERVE_H
#define SERVE_H

#include "remoting/conn.h"

enum serve_kind { SERVE_ROUTE = 1, SERVE_SEND = 2, SERVE_END = 3, SERVE_HALF = 4 };

/* COMMAND borrows from its frame, which lives until remoting_consumed(). */
void serve_frame(struct conn *c, const struct wire_command *command);
/* A frame beyond the limit, of which only the header was kept. */
void serve_too_big(struct conn *c, const struct wire_command *command);
/* Whom the core shall answer; nobody, when the request is one-way. */
struct reply_to serve_reply_to(const struct conn *c, const struct wire_command *command,
			       enum serve_kind kind);
/* An answer that needs no core: nothing when TO is nobody. */
void serve_refuse(struct conn *c, struct reply_to to, enum wire_result code, const char *remark);
void serve_answer(struct conn *c, uint64_t tag, const struct answer *answer);

#endif /* SERVE_H */
