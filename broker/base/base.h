/*
 * base.h -- the few words that every file of the broker speaks.
 *
 * CHECK, which stays on in production; borrowed byte strings; small macros; and
 * the list of calls that nobody may make, which is why it includes their headers itself.
 */
#ifndef BASE_H
#define BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* They declare what is poisoned at the end of this file, so they have to come before it. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define MUSTUSE __attribute__((warn_unused_result))
#define PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
/* For a large local that is filled before it is read: we build with all locals zeroed. */
#define UNINITIALIZED __attribute__((uninitialized))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/*
 * CHECK(cond, id) -- a truth about our own code, not about the world.
 *
 * It logs the condition, the place and ID (a sequence, an LSN, a connection: what
 * an operator would search for) and aborts.  Restart recovers from the journal,
 * which a process that no longer understands itself must not write.
 */
#define CHECK(cond, id)                                                                            \
	do {                                                                                       \
		if (__builtin_expect(!(cond), 0))                                                  \
			check_failed(#cond, __FILE__, __LINE__, (uint64_t)(id));                   \
	} while (0)

_Noreturn void check_failed(const char *cond, const char *file, int line, uint64_t id);

/*
 * A borrowed run of bytes.  Never NUL-terminated, never owned: whoever hands one
 * out says until when it lives.  {NULL, 0} is "none"; {non-NULL, 0} is "empty",
 * and where the difference matters (a Kafka key, a value) it is kept.
 */
struct str {
	const char *p;
	size_t n;
};

#define STR(literal) ((struct str){ (literal), sizeof(literal) - 1 })
#define STR_NONE ((struct str){ NULL, 0 })
/* For printf's "%.*s". */
#define STR_ARG(s) (int)(s).n, (s).p ? (s).p : ""

static inline struct str
str_of(const char *text)
{
	return (struct str){ text, text ? strlen(text) : 0 };
}

static inline struct str
str_from(const void *p, size_t n)
{
	return (struct str){ (const char *)p, n };
}

static inline bool
str_eq(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool
str_starts(struct str s, struct str prefix)
{
	return s.n >= prefix.n && memcmp(s.p, prefix.p, prefix.n) == 0;
}

static inline uint64_t
min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t
max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static inline int64_t
min_i64(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static inline int64_t
max_i64(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S INT64_C(1000000000)
#define TIME_NEVER INT64_MAX /* a deadline that does not come */

/*
 * mem_alloc() and mem_grow() abort the process, with the size, when memory is out:
 * the limits of core/limits.h keep us from there, and a broker that cannot hold
 * its index must not guess.  Buffers whose size a peer chooses use mem_try().
 */
void *mem_alloc(size_t size) MUSTUSE;		   /* zeroed */
void *mem_grow(void *p, size_t size) MUSTUSE;	   /* realloc */
void *mem_try(size_t size) MUSTUSE;		   /* not zeroed; NULL when out */
void *mem_dup(const void *p, size_t size) MUSTUSE; /* NULL for NULL */
void mem_free(void *p);

/* Unbounded, not re-entrant, or a clock or sleep where none may be. */
#pragma GCC poison strcpy strcat sprintf vsprintf strtok
#pragma GCC poison gmtime localtime ctime asctime rand srand sleep usleep atoi atol

#endif /* BASE_H */
