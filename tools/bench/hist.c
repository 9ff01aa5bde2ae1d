// SPDX-License-Identifier: Apache-2.0
/* Latencies in buckets: exact below HIST_STEPS, above in that many steps to each doubling. */
#include "bench.h"

static unsigned bucket_of(uint64_t v)
{
	unsigned shift;

	if (v < HIST_STEPS)
		return (unsigned)v;
	shift = 63 - (unsigned)__builtin_clzll(v) - 6; /* 2^6 is HIST_STEPS */
	return (shift + 1) * HIST_STEPS + (unsigned)(v >> shift) - HIST_STEPS;
}

/* The middle of a bucket. */
static uint64_t value_of(unsigned bucket)
{
	unsigned shift = bucket / HIST_STEPS;

	if (!shift)
		return bucket;
	shift--;
	return ((uint64_t)(bucket % HIST_STEPS + HIST_STEPS) << shift) + (((uint64_t)1 << shift) >> 1);
}

void hist_add(struct hist *h, uint64_t value)
{
	h->nr++;
	h->sum += value;
	h->max = MAX(h->max, value);
	h->count[bucket_of(value)]++;
}

void hist_merge(struct hist *h, const struct hist *more)
{
	h->nr += more->nr;
	h->sum += more->sum;
	h->max = MAX(h->max, more->max);
	for (size_t i = 0; i < ARRAY_SIZE(h->count); i++)
		h->count[i] += more->count[i];
}

uint64_t hist_at(const struct hist *h, double part)
{
	uint64_t seen = 0, want = (uint64_t)(part * (double)h->nr);

	for (unsigned i = 0; i < ARRAY_SIZE(h->count); i++) {
		seen += h->count[i];
		if (seen > want)
			return MIN(value_of(i), h->max);
	}
	return h->max;
}
