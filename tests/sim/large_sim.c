/*
 * large_sim.c -- large blocks of memory that stay: what one world leaves, the next one takes.
 *
 * Each life of a broker has tables of megabytes and uses some pages of them.  Mapped for each life
 * they cost a fifth of a seed's time, and from the heap, where they have to be zeroed, more.  So
 * they stay mapped, and only what was touched goes back: then it reads as zeroes again.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#define LARGE      ((size_t)256 << 10)
#define BLOCKS_MAX 64u

void *__real_mem_alloc(size_t size); /* the linker's names */
void __real_mem_free(void *p);
void *__wrap_mem_alloc(size_t size);
void __wrap_mem_free(void *p);

/* A process has one memory, and one thread runs the seeds. */
static struct block {
	void *p;
	size_t size;
	bool taken;
} blocks[BLOCKS_MAX];
static size_t count;
static uintptr_t lowest = UINTPTR_MAX, highest;

static struct block *
block_new(size_t size)
{
	void *p;

	if (count == BLOCKS_MAX)
		return NULL;
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	blocks[count] = (struct block){ p, size, false };
	lowest = lowest < (uintptr_t)p ? lowest : (uintptr_t)p;
	highest = highest > (uintptr_t)p ? highest : (uintptr_t)p;
	return &blocks[count++];
}

void *
__wrap_mem_alloc(size_t size)
{
	struct block *b = NULL;

	if (size < LARGE)
		return __real_mem_alloc(size);
	for (size_t i = 0; i < count && !b; i++)
		if (!blocks[i].taken && blocks[i].size == size)
			b = &blocks[i];
	if (!b)
		b = block_new(size);
	if (!b)
		return __real_mem_alloc(size);
	b->taken = true;
	return b->p;
}

void
__wrap_mem_free(void *p)
{
	for (size_t i = 0; i < count && (uintptr_t)p >= lowest && (uintptr_t)p <= highest; i++) {
		if (blocks[i].p != p)
			continue;
		if (madvise(p, blocks[i].size, MADV_DONTNEED) != 0)
			abort();
		blocks[i].taken = false;
		return;
	}
	__real_mem_free(p);
}
