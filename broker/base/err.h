/*
 * err.h -- every way a call inside the broker can fail, in one list.
 *
 * A function returns 0 or one of these, negative.  What the caller does about it
 * is the third column; the text is what people see.
 */
#ifndef ERR_H
#define ERR_H

#define ERR_LIST(X)                                                                                \
	X(AGAIN, 1, "not now; wait for the event and call again")                                  \
	X(NOMEM, 2, "out of memory")                                                               \
	X(FULL, 3, "a limit is reached; nothing was done")                                         \
	X(IO, 4, "the disk failed; the process must end")                                          \
	X(NOSPACE, 5, "the disk is full")                                                          \
	X(CORRUPT, 6, "stored bytes are damaged")                                                  \
	X(TORN, 7, "the end of the journal was never durable")                                     \
	X(EXISTS, 8, "it is there already")                                                        \
	X(NOTFOUND, 9, "it is not there")                                                          \
	X(LOCKED, 10, "another process holds it")                                                  \
	X(MALFORMED, 11, "bytes that do not follow the format")                                    \
	X(TOOBIG, 12, "larger than its limit")                                                     \
	X(CLOSED, 13, "the other side is gone")                                                    \
	X(CONFIG, 14, "the configuration is wrong")                                                \
	X(SYSTEM, 15, "the operating system refused")                                              \
	X(KAFKA, 16, "Kafka or its client library refused")                                        \
	X(VERSION, 17, "written by a newer version")                                               \
	X(FOREIGN, 18, "it belongs to something else")

enum err {
#define X(name, value, text) ERR_##name = -(value),
	ERR_LIST(X)
#undef X
};

/* "AGAIN", "NOMEM", ...; "OK" for 0, "UNKNOWN" for anything else. */
const char *err_name(int err);
/* The sentence of the list. */
const char *err_text(int err);

#endif /* ERR_H */
