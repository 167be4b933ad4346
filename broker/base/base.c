/*
 * base.c -- how the process ends when it no longer understands itself, and its memory.
 *
 * All memory passes through here, so that "out of memory" is said once, in one way.
 */
#include "base/base.h"
#include "base/log.h"

#include <sys/mman.h>

#define HUGE_PAGE ((uintptr_t)2 << 20)

_Noreturn void
check_failed(const char *cond, const char *file, int line, uint64_t id)
{
	log_write(LOG_ERROR,
		  "this is a bug of escrow; the process ends and recovers when it is started",
		  "check=%s file=%s line=%d id=%llu", log_q(str_of(cond)), log_q(str_of(file)),
		  line, (unsigned long long)id);
	abort();
}

static _Noreturn void
out_of_memory(size_t size)
{
	log_write(LOG_ERROR, "out of memory", "bytes=%zu", size);
	abort();
}

/*
 * Chunks of rows and the slots of large maps are read here and there: with small pages nearly
 * every look-up misses the processor's address cache as well.  A wish, so failing is no error.
 */
static void
ask_for_huge_pages(void *p, size_t size)
{
	uintptr_t first = ((uintptr_t)p + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
	uintptr_t end = ((uintptr_t)p + size) & ~(HUGE_PAGE - 1);

	(void)madvise((void *)first, end - first, MADV_HUGEPAGE);
}

void *
mem_alloc(size_t size)
{
	/* calloc(0) may give NULL, which would read as "out". */
	void *p = calloc(1, size ? size : 1);

	if (!p)
		out_of_memory(size);
	if (size >= 2 * HUGE_PAGE)
		ask_for_huge_pages(p, size);
	return p;
}

void *
mem_grow(void *p, size_t size)
{
	void *q = realloc(p, size ? size : 1);

	if (!q)
		out_of_memory(size);
	return q;
}

void *
mem_try(size_t size)
{
	return malloc(size ? size : 1);
}

void *
mem_dup(const void *p, size_t size)
{
	void *q;

	if (!p)
		return NULL;
	q = mem_grow(NULL, size);
	if (size)
		memcpy(q, p, size);
	return q;
}

void
mem_free(void *p)
{
	free(p);
}
