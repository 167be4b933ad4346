/*
 * fuzz_sequence.c -- the simulator, its choices made by a fuzzer.
 *
 * The daemon's own objects live in the simulated world of tests/sim, and its oracle judges them.
 * What a seed draws there, the configuration, each fault, each delay, each word of a producer,
 * comes here from the input, two bytes a choice, as long as there are any; so what reaches a new
 * branch is kept and varied.  A violation is a finding: replay it to see the sentence.
 */
#include "fuzz/must.h"
#include "sim/clock_sim.h"
#include "sim/run.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define INPUT_MAX 8192u

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct run_result result;
	/* Behind its input a life goes on by the seed: another one for each length. */
	struct run_options options = { .messages = 24, .steps = 1500, .seed = n };

	if (n > INPUT_MAX)
		return 0;
	rng_sim_feed(data, n);
	run_seed(&options, &result);
	rng_sim_feed(NULL, 0);
	if (result.violation[0])
		fprintf(stderr, "violation: %s\n", result.violation);
	MUST(!result.violation[0]);
	return 0;
}
