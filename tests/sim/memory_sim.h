/*
 * memory_sim.h -- memory that may run out where the broker can say no.
 *
 * The linker leads mem_try() here (--wrap).  mem_alloc() and mem_grow() end the process when there
 * is none, and a process is seen only through its seams: FAULT_DIE has that.
 */
#ifndef MEMORY_SIM_H
#define MEMORY_SIM_H

#include <stdbool.h>
#include <stdint.h>

/* From now on the AFTER-th mem_try() and the COUNT - 1 behind it get nothing; 0: none does. */
void memory_sim_fail(uint64_t after, uint64_t count);
/* Did any get nothing since the last memory_sim_fail()? */
bool memory_sim_struck(void);
/* How often since the process began. */
uint64_t memory_sim_refusals(void);

#endif /* MEMORY_SIM_H */
