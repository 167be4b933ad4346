/*
 * disk_mem.h -- a disk of a few small files, made for a million starts.
 *
 * tests/sim/disk_sim.c can do far more, and takes a hundred times as long to make and throw away.
 * Here all memory is one block that is filled anew: disk_mem_clear().  Honours the contract of
 * world/disk.h as far as a single journal sees it; every call ends at once, so next() has its end
 * when the call returns.  Of faults there are two: the tidy power cut, what was not synced is gone;
 * and one call that fails with ERR_IO, at once or, where there is one, in its end.
 */
#ifndef DISK_MEM_H
#define DISK_MEM_H

#include "world/disk.h"

#define DISK_MEM_FILES    40
#define DISK_MEM_FILE_MAX 4096u /* bytes; more is ERR_NOSPACE */
#define DISK_MEM_NAME_MAX 32

struct disk_mem;

struct disk_mem *disk_mem_new(void);
struct disk_mem *disk_mem_free(struct disk_mem *d);
struct disk *disk_mem_disk(struct disk_mem *d);
/* No files, and nobody holds the lock.  All handles must have been closed. */
void disk_mem_clear(struct disk_mem *d);
/* A file as if it had always been there. */
void disk_mem_put(struct disk_mem *d, const char *name, const uint8_t *bytes, size_t len);
/* The bytes of a file; NULL: no such file.  They live until the next call. */
const uint8_t *disk_mem_get(struct disk_mem *d, const char *name, size_t *ret_len);
/* The N-th call from now on fails, 1 being the next; 0: none.  True: one did, and was heard. */
bool disk_mem_fail(struct disk_mem *d, unsigned n);
/* What was not synced is gone, files and names; so is the lock. */
void disk_mem_cut(struct disk_mem *d);

#endif /* DISK_MEM_H */
