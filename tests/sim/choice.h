/*
 * choice.h -- all sequences of choices, one after the other.
 *
 * A program that asks choose(3), then, depending on that, choose(2), ... is run again and again;
 * each run is the sequence after the last one, in the order of a dictionary:
 *
 *      0 0 0     0 0 1     0 1     1 0     1 1 0  ...
 *
 * choice_next() raises the last choice that has an alternative left and drops those behind it; the
 * next run repeats what comes before, so the program must do the same when told the same.  Nothing
 * needs to be copied, and nothing needs to know what is being enumerated.
 */
#ifndef CHOICE_H
#define CHOICE_H

#include "base/base.h"

#define CHOICE_MAX 512 /* choices of one run */

struct choice {
	uint32_t taken[CHOICE_MAX];
	uint32_t count[CHOICE_MAX]; /* of alternatives there */
	uint32_t length;	    /* known: repeated by the next run */
	uint32_t at;
};

/* A number below COUNT > 0: as in the run before, and behind that always 0. */
uint32_t choose(struct choice *c, uint32_t count);
/* True while choose() repeats: what is seen now was seen by an earlier run. */
bool choice_repeats(const struct choice *c);
/* The choice just made had no alternatives behind it: nothing larger need be tried. */
void choice_last(struct choice *c);
/* To the next sequence; false: that was the last. */
bool choice_next(struct choice *c);

#endif /* CHOICE_H */
