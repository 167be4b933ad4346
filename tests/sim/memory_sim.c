/*
 * memory_sim.c -- see memory_sim.h.
 */
#include "sim/memory_sim.h"

#include <stddef.h>

void *__real_mem_try(size_t size); /* the linker's names */
void *__wrap_mem_try(size_t size);

/* A process has one memory, and one thread runs the seeds. */
static struct {
	uint64_t after, count, refusals;
	bool struck;
} memory;

void *
__wrap_mem_try(size_t size)
{
	if (memory.after > 1) {
		memory.after--;
	} else if (memory.count) {
		memory.count--;
		memory.refusals++;
		memory.struck = true;
		return NULL;
	}
	return __real_mem_try(size);
}

void
memory_sim_fail(uint64_t after, uint64_t count)
{
	memory.after = after;
	memory.count = count;
	memory.struck = false;
}

bool
memory_sim_struck(void)
{
	return memory.struck;
}

uint64_t
memory_sim_refusals(void)
{
	return memory.refusals;
}
