// SPDX-License-Identifier: Apache-2.0
/*
 * Two queues whose weight follows the load. Small models of the cache run beside it, one per
 * weight, on a sample of the keys; the weight whose model has had the most hits lately is the one
 * in force. How much protection what came back deserves differs by a factor of thirty between
 * small and large pools on the same trace, so no fixed weight is right (evict.h has the figures).
 */
#include "pool/evict_twoq.h"

static const uint32_t weights[] = { 1, 2, 4, 32 };
#define NR ARRAY_SIZE(weights)

struct adaptive {
	struct evict base;
	struct twoq q;
	struct shadow shadow[NR];
	unsigned now;	/* which weight is in force */
	unsigned shift; /* the sample is one key in 2^shift */
	uint32_t full;	/* entries when eviction began, or last happened; 0: never */
	uint32_t seen;	/* sampled uses since the last decision */
};

static struct adaptive *adaptive_of(struct evict *e)
{
	return container_of(e, struct adaptive, base);
}

static void adaptive_close(struct evict *e)
{
	struct adaptive *a = adaptive_of(e);

	for (size_t i = 0; i < NR; i++)
		shadow_fini(&a->shadow[i]);
	twoq_fini(&a->q);
	free(a);
}

static int adaptive_open(uint32_t max, uint64_t weight_max, struct evict **out)
{
	struct adaptive *a = calloc(1, sizeof(*a));
	int ret;

	if (!a)
		return -ENOMEM;
	a->base.ops = &evict_adaptive;
	ret = twoq_init(&a->q, max, weights[0]);
	for (size_t i = 0; i < NR && !ret; i++)
		ret = shadow_init(&a->shadow[i], weights[i]);
	if (ret) {
		adaptive_close(&a->base);
		return ret;
	}
	*out = &a->base;
	return 0;
}

/* By the bits of the tag that choose no bucket in small tables. */
static bool sampled(uint32_t tag, unsigned shift)
{
	return !shift || !(tag >> (32 - shift));
}

static void decide(struct adaptive *a)
{
	unsigned best = a->now;

	for (unsigned i = 0; i < NR; i++)
		if (a->shadow[i].hits > a->shadow[best].hits)
			best = i;
	/* Not for a difference that is noise. */
	if (a->shadow[best].hits > a->shadow[a->now].hits + a->shadow[a->now].hits / 50) {
		a->now = best;
		a->q.weight = weights[best];
	}
	for (unsigned i = 0; i < NR; i++)
		a->shadow[i].hits -= a->shadow[i].hits / 10;
	a->seen = 0;
}

static void observe(struct adaptive *a, uint32_t tag)
{
	uint32_t cap = a->full ? (a->full >> a->shift) + 1 : SHADOW_MAX;

	if (!sampled(tag, a->shift))
		return;
	if (twoq_count(&a->shadow[0].q) >= SHADOW_MAX && cap >= SHADOW_MAX) {
		a->shift++;
		for (size_t i = 0; i < NR; i++)
			shadow_thin(&a->shadow[i], sampled, a->shift);
		observe(a, tag);
		return;
	}
	if (a->shift && cap < SHADOW_MAX / 8)
		a->shift--; /* the cache is small now: a larger sample fills the models */
	for (size_t i = 0; i < NR; i++)
		shadow_access(&a->shadow[i], tag, MIN(cap, SHADOW_MAX));
	if (a->full && ++a->seen >= cap)
		decide(a);
}

static void adaptive_insert(struct evict *e, uint32_t entry, uint64_t hash, uint64_t bytes)
{
	struct adaptive *a = adaptive_of(e);

	twoq_insert(&a->q, entry, twoq_tag(hash));
	observe(a, twoq_tag(hash));
}

static void adaptive_touch(struct evict *e, uint32_t entry)
{
	struct adaptive *a = adaptive_of(e);

	twoq_touch(&a->q, entry);
	observe(a, a->q.nodes[entry].tag & ~1u);
}

static void adaptive_remove(struct evict *e, uint32_t entry)
{
	twoq_remove(&adaptive_of(e)->q, entry);
}

static int64_t adaptive_victim(struct evict *e)
{
	struct adaptive *a = adaptive_of(e);
	uint32_t i;

	a->full = twoq_count(&a->q);
	i = twoq_victim(&a->q);
	return i == EVICT_NIL ? -1 : (int64_t)i;
}

static void adaptive_spare(struct evict *e, uint32_t entry, uint64_t hash, uint64_t bytes)
{
	twoq_insert(&adaptive_of(e)->q, entry, twoq_tag(hash));
}

const struct evict_ops evict_adaptive = {
	.name = "adaptive",
	.open = adaptive_open,
	.close = adaptive_close,
	.insert = adaptive_insert,
	.touch = adaptive_touch,
	.remove = adaptive_remove,
	.victim = adaptive_victim,
	.spare = adaptive_spare,
};
