/*
 * arena.h -- memory that lives for one turn.
 *
 *      chunk 0: | frames read | a request | headers | frames read ...   | room |
 *      chunk 1: | ...
 *
 * Bytes are read into it and requests are built in it; the core borrows both until
 * remoting_consumed(), which resets it.  No call frees anything single.
 */
#ifndef ARENA_H
#define ARENA_H

#include "base/base.h"

#define ARENA_CHUNK (512u << 10)
#define ARENA_KEEP 4 /* chunks kept between turns */

struct arena_chunk;

struct arena {
	struct arena_chunk *first;
	struct arena_chunk *now; /* those behind it are empty */
	size_t bytes; /* of all chunks: what is held now */
};

/* At least MIN bytes in one piece, not yet taken; *RET_ROOM tells how many there are. */
char *arena_room(struct arena *a, size_t min, size_t *ret_room);
/* Takes the first N of what arena_room() gave. */
void arena_take(struct arena *a, size_t n);
/* N bytes, aligned for any struct; not zeroed. */
void *arena_alloc(struct arena *a, size_t n);
/* All is given back; ARENA_KEEP chunks are kept. */
void arena_reset(struct arena *a);
/* Bytes taken since the reset, room lost at the ends of chunks included. */
size_t arena_used(const struct arena *a);
void arena_done(struct arena *a);

#endif /* ARENA_H */
