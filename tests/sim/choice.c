/*
 * choice.c -- see choice.h.
 */
#include "sim/choice.h"

uint32_t
choose(struct choice *c, uint32_t count)
{
	CHECK(count > 0 && c->at < CHOICE_MAX, c->at);
	if (c->at == c->length) {
		c->taken[c->length] = 0;
		c->count[c->length++] = count;
	}
	/* A program that does not repeat itself would make the enumeration a lie. */
	CHECK(c->count[c->at] == count || c->taken[c->at] + 1 == c->count[c->at], c->at);
	return c->taken[c->at++];
}

bool
choice_repeats(const struct choice *c)
{
	return c->at < c->length;
}

void
choice_last(struct choice *c)
{
	CHECK(c->at > 0, c->at);
	c->count[c->at - 1] = c->taken[c->at - 1] + 1;
}

bool
choice_next(struct choice *c)
{
	c->length = c->at;
	c->at = 0;
	while (c->length > 0) {
		uint32_t last = c->length - 1;

		if (++c->taken[last] < c->count[last])
			return true;
		c->length--;
	}
	return false;
}
