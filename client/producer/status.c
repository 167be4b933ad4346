/*
 * status.c -- what became of a call, in a word and in a sentence.
 *
 * The sentence is one per thread and all libraries of Escrow share it, so that a program asks
 * escrow_last_error() whichever of them it called.
 */
#include "escrow/escrow.h"

#include <stdio.h>

static __thread char sentence[512];

/* What the header's table says, letter by letter. */
enum { RETRIABLE = 1, UNKNOWN = 2, FATAL = 4 };

#define STATUS_LIST(X)                                                                             \
	X(OK, 0)                                                                                   \
	X(E_ARG, 0)                                                                                \
	X(E_NOMEM, RETRIABLE)                                                                      \
	X(E_FULL, RETRIABLE)                                                                       \
	X(E_UNREACHABLE, RETRIABLE)                                                                \
	X(E_BUSY, RETRIABLE)                                                                       \
	X(E_TIMEOUT, UNKNOWN)                                                                      \
	X(E_REFUSED, 0)                                                                            \
	X(E_TOO_BIG, 0)                                                                            \
	X(E_TOPIC, 0)                                                                              \
	X(E_AUTH, 0)                                                                               \
	X(E_NOT_FOUND, 0)                                                                          \
	X(E_DECIDED, 0)                                                                            \
	X(E_KEY_REUSED, 0)                                                                         \
	X(E_UNSUPPORTED, 0)                                                                        \
	X(E_LOCAL, 0)                                                                              \
	X(E_FENCED, 0)                                                                             \
	X(E_EXPIRED, 0)                                                                            \
	X(E_DATABASE, 0)                                                                           \
	X(E_IN_DOUBT, UNKNOWN)                                                                     \
	X(E_CLOSED, FATAL)                                                                         \
	X(E_FORK, FATAL)                                                                           \
	X(E_PROTOCOL, FATAL)

const char *
escrow_version(void)
{
	return ESCROW_VERSION;
}

/* The name without its "E_". */
const char *
escrow_status_name(escrow_status status)
{
	switch (status) {
#define X(name, kind)                                                                              \
	case ESCROW_##name:                                                                        \
		return &#name[#name[0] == 'E' ? 2 : 0];
		STATUS_LIST(X)
#undef X
	}
	return "?";
}

static int
kind_of(escrow_status status)
{
	switch (status) {
#define X(name, kind)                                                                              \
	case ESCROW_##name:                                                                        \
		return kind;
		STATUS_LIST(X)
#undef X
	}
	return 0;
}

int
escrow_is_retriable(escrow_status status)
{
	return (kind_of(status) & RETRIABLE) != 0;
}

int
escrow_is_unknown(escrow_status status)
{
	return (kind_of(status) & UNKNOWN) != 0;
}

int
escrow_is_fatal(escrow_status status)
{
	return (kind_of(status) & FATAL) != 0;
}

const char *
escrow_last_error(void)
{
	return sentence;
}

void
escrow_set_last_error(const char *text)
{
	(void)snprintf(sentence, sizeof(sentence), "%s", text); /* cut, as the header says */
}
