/*
 * disk_sim.h -- a disk in memory that forgets what was not synced, and fails on request.
 *
 *      file    | durable bytes | dirty ranges, by 512-byte unit |
 *      names   | durable       | steps since sync_dir()         |
 *
 * Everything is a function of the seed and of the calls made.  Honours the contract of disk.h
 * (tests/contract/test_disk.c checks it like the real one) and adds what only a simulated disk can
 * do: disk_sim_crash() cuts the power, disk_sim_kill() the process.
 *
 * At a power cut, of every unit the bytes written since the last sync (and no other: power-safe
 * overwrite is assumed) are independently new, old, zero, garbage, or torn; a file's size, and
 * every step in the directory, is kept or lost, independently.
 */
#ifndef DISK_SIM_H
#define DISK_SIM_H

#include "base/hash.h"
#include "world/disk.h"

enum disk_sim_lie {
	DISK_SIM_LOST,	  /* a failed sync: pages are clean in memory and absent on disk       */
	DISK_SIM_WRITTEN, /* a failed sync: the data is there all the same                     */
};

/* What a power cut leaves of what was not synced. */
enum disk_sim_cut {
	DISK_SIM_DRAWN,  /* by the seed: see above                                       */
	DISK_SIM_PREFIX, /* the first cut_units units are new, those behind are old      */
	DISK_SIM_TORN,   /* the same, and of the next unit the first half is new         */
	DISK_SIM_HOLE,   /* all are new but the unit behind the first cut_units          */
};

/* The call at which a fault strikes: 0 never, 1 the next one, and so on.  Counted down. */
struct disk_sim_knobs {
	uint64_t fail_write;
	uint64_t fail_sync;
	int error; /* of those two; 0: ERR_IO.  ERR_NOSPACE: what was not allocated before  */
	enum disk_sim_lie lie;
	bool forget;		/* a failed sync is told once, and the next one succeeds: as the */
				/* kernel has it, below an adapter that keeps the contract      */
	uint64_t hang_sync;  /* its end never comes                                    */
	uint64_t lose_write; /* says 0, and only the page cache ever has it            */
	uint64_t stray_write; /* the same, and the medium has it elsewhere in the file   */
	uint64_t fail_read;	/* ERR_IO                                              */
	uint64_t fail_allocate; /* ERR_NOSPACE                                         */
	uint64_t fail_reserve;	/* ERR_NOSPACE                                         */
	uint64_t fail_rename;
	uint64_t refuse;	/* any call, at once: ERR_SYSTEM (no handle, no thread)   */
	uint64_t fail_end;	/* the end of any call: ERR_IO                         */
	uint64_t flip_read;	/* one bit of what is read is wrong                    */
	uint64_t stop;		/* a step that changes something: afterwards nothing works, */
				/* as at a power cut that nobody has noticed yet        */
	uint64_t capacity;	/* bytes of all files; 0: no end                       */
	uint32_t delay_max;	/* ends come up to so many polls late, in any order     */
	uint32_t allocate_delay; /* allocations end so many polls later still           */
	int64_t latency_ns;	/* ends come up to so much later, of the time told by advance() */
	uint32_t stall_permille; /* ... or stall_ns later                             */
	int64_t stall_ns;
	uint32_t unit;		/* what tears together: 512 or 4096                    */
	int64_t sync_ns;	/* how long a sync claims to have taken                */
	bool hold;		/* nothing ends until disk_sim_end() says so            */
	enum disk_sim_cut cut;
	uint32_t cut_units;	/* of a cut that is not drawn: see enum disk_sim_cut     */
	uint32_t cut_steps;	/* and the first so many steps in the directory are kept */
};

struct disk_sim_counts {
	uint64_t steps; /* that changed something: the places where a cut can fall          */
	uint64_t writes, syncs, reads, reserves, allocates, renames, dir_syncs;
	uint64_t crashes, kills;
	uint64_t faults;       /* that struck                                               */
	uint64_t stalls;
	uint64_t units_damaged; /* at cuts: neither old nor new                              */
	uint64_t units_lost;    /* at cuts: old where new was written                        */
};

struct disk_sim;

struct disk_sim *disk_sim_new(uint64_t seed);
/* Time of the world, for latencies; who never tells has none.  NEXT: when the next end is due. */
void disk_sim_advance(struct disk_sim *d, int64_t now_ns);
int64_t disk_sim_next_ns(const struct disk_sim *d);
struct disk *disk_sim_disk(struct disk_sim *d);
struct disk_sim_knobs *disk_sim_knobs(struct disk_sim *d);
const struct disk_sim_counts *disk_sim_counts(const struct disk_sim *d);

/*
 * The power goes and comes back.  Handles of before are dead: only close() them.  Drops the lock.
 */
void disk_sim_crash(struct disk_sim *d);
/* The process dies: what it wrote stays in the page cache. */
void disk_sim_kill(struct disk_sim *d);
bool disk_sim_stopped(const struct disk_sim *d);
/* Calls begun whose end has not come out of next(). */
size_t disk_sim_pending(const struct disk_sim *d);

/* The I-th call begun, of those whose end is held back, ends with the next poll. */
void disk_sim_end(struct disk_sim *d, size_t i);
/* Something ends with the next poll. */
bool disk_sim_ready(const struct disk_sim *d);
/* What a cut would decide about: units written and not synced; *RET_STEPS in the directory. */
uint32_t disk_sim_unsynced(const struct disk_sim *d, uint32_t *ret_steps);

/* Of what a process that starts now would find: names, sizes and bytes. */
struct hash128 disk_sim_digest(const struct disk_sim *d);

/* For silent damage: the bytes of a file, cached and durable alike.  NULL: no such file. */
uint8_t *disk_sim_bytes(struct disk_sim *d, const char *name, size_t *ret_len);
/* What a power cut would leave of it for certain. */
const uint8_t *disk_sim_durable(struct disk_sim *d, const char *name, size_t *ret_len);
void disk_sim_flip(struct disk_sim *d, const char *name, size_t bit);
/* Bytes of all files, with what was set aside for them: what knobs.capacity bounds. */
uint64_t disk_sim_used(struct disk_sim *d);
/* The disk itself is freed by ops->free(). */

#endif /* DISK_SIM_H */
