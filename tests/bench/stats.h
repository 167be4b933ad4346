/*
 * stats.h -- latencies in buckets, and counts by answer code.  For the bench only.
 *
 * A bucket is 1/64 of a power of two wide, so a percentile is right to 1.6 %, and
 * recording is a shift and an increment: the load must not cost what it measures.
 */
#ifndef BENCH_STATS_H
#define BENCH_STATS_H

#include <stdint.h>
#include <stdio.h>

#define HIST_SUB     64
#define HIST_BUCKETS (HIST_SUB * 40)

struct hist {
	uint64_t n;
	uint64_t max_ns;
	uint64_t buckets[HIST_BUCKETS];
};

static inline void
hist_add(struct hist *h, int64_t ns)
{
	uint64_t v = ns > 0 ? (uint64_t)ns : 0;
	unsigned shift = v >= HIST_SUB * 2 ? 57u - (unsigned)__builtin_clzll(v) : 0;
	uint64_t i = shift * HIST_SUB + (v >> shift);

	h->buckets[i < HIST_BUCKETS ? i : HIST_BUCKETS - 1]++;
	h->n++;
	if (v > h->max_ns)
		h->max_ns = v;
}

/* The upper edge of the bucket that holds the share P of all, in microseconds. */
static inline double
hist_us(const struct hist *h, double p)
{
	uint64_t want = (uint64_t)(p * (double)h->n), seen = 0;

	for (uint64_t i = 0; i < HIST_BUCKETS; i++) {
		seen += h->buckets[i];
		if (seen > want || (seen == h->n && h->n > 0)) {
			uint64_t shift = i < HIST_SUB * 2 ? 0 : i / HIST_SUB - 1;

			return (double)((i - shift * HIST_SUB + 1) << shift) / 1000;
		}
	}
	return 0;
}

static inline void
hist_print(FILE *f, const char *name, const struct hist *h)
{
	fprintf(f, "\"%s\":{\"n\":%llu,\"p50\":%.1f,\"p99\":%.1f,\"p99_9\":%.1f,\"max\":%.1f}",
		name, (unsigned long long)h->n, hist_us(h, 0.5), hist_us(h, 0.99),
		hist_us(h, 0.999), (double)h->max_ns / 1000);
}

#define CODES_MAX 16

struct codes {
	int n;
	int32_t code[CODES_MAX];
	uint64_t count[CODES_MAX];
};

/* Codes beyond the sixteenth are counted with the last: there are fewer in the protocol. */
static inline void
codes_add(struct codes *c, int32_t code)
{
	int i = 0;

	while (i < c->n && c->code[i] != code)
		i++;
	if (i == CODES_MAX)
		i--;
	if (i == c->n)
		c->code[c->n++] = code;
	c->count[i]++;
}

static inline void
codes_print(FILE *f, const char *name, const struct codes *c)
{
	fprintf(f, "\"%s\":{", name);
	for (int i = 0; i < c->n; i++)
		fprintf(f, "%s\"%d\":%llu", i ? "," : "", c->code[i],
			(unsigned long long)c->count[i]);
	fprintf(f, "}");
}

#endif /* BENCH_STATS_H */
