/*
 * arena.c -- a bump allocator over a chain of chunks.
 */
#include "remoting/arena.h"

struct arena_chunk {
	struct arena_chunk *next;
	size_t used;
	size_t size;
	_Alignas(16) char data[];
};

/* A new chunk behind the one in use. */
static struct arena_chunk *
add_chunk(struct arena *a, size_t min)
{
	size_t size = min > ARENA_CHUNK ? min : ARENA_CHUNK;
	struct arena_chunk *k = mem_grow(NULL, sizeof(*k) + size);

	k->used = 0;
	k->size = size;
	k->next = a->now ? a->now->next : NULL;
	if (a->now)
		a->now->next = k;
	else
		a->first = k;
	a->bytes += size;
	return k;
}

char *
arena_room(struct arena *a, size_t min, size_t *ret_room)
{
	struct arena_chunk *k = a->now;

	if (!k || k->size - k->used < min) {
		if (k && k->next && k->next->size >= min)
			k = k->next;
		else
			k = add_chunk(a, min);
		CHECK(k->used == 0, k->used);
		a->now = k;
	}
	*ret_room = k->size - k->used;
	return k->data + k->used;
}

void
arena_take(struct arena *a, size_t n)
{
	CHECK(a->now && n <= a->now->size - a->now->used, n);
	a->now->used += n;
}

void *
arena_alloc(struct arena *a, size_t n)
{
	size_t room, pad;
	char *p = arena_room(a, n + 15, &room);

	pad = -a->now->used & 15;
	arena_take(a, pad + n);
	return p + pad;
}

void
arena_reset(struct arena *a)
{
	struct arena_chunk *k = a->first;

	for (size_t kept = 1; k; k = k->next, kept++) {
		k->used = 0;
		while (kept >= ARENA_KEEP && k->next) {
			struct arena_chunk *next = k->next;

			k->next = next->next;
			a->bytes -= next->size;
			mem_free(next);
		}
	}
	a->now = a->first;
}

size_t
arena_used(const struct arena *a)
{
	size_t n = 0;

	for (const struct arena_chunk *k = a->first; k && a->now; k = k->next) {
		if (k == a->now)
			return n + k->used;
		n += k->size;
	}
	return n;
}

void
arena_done(struct arena *a)
{
	while (a->first) {
		struct arena_chunk *next = a->first->next;

		mem_free(a->first);
		a->first = next;
	}
	*a = (struct arena){ NULL, NULL, 0 };
}
