/* SPDX-License-Identifier: Apache-2.0 */
/* Which pool takes a replica. */
#include "store/store.h"

/*
 * A pool that is full still takes new objects by evicting old ones: it keeps a weight of 1/16 of its capacity, so that a
 * cluster of full pools shares new objects by size, and free space elsewhere is used first.
 */
static uint64_t weight(const struct candidate *c)
{
	uint64_t free = c->capacity > c->used ? c->capacity - c->used : 0;

	return MAX(free, c->capacity / 16) >> 10;
}

static int rank(const struct candidate *c)
{
	return c->preferred ? 2 : c->same_node ? 1 : 0;
}

int place_pick(const struct candidate *c, unsigned nr, uint64_t random)
{
	uint64_t total = 0, at;
	int best = -1, last = -1;

	for (unsigned i = 0; i < nr; i++)
		if (c[i].usable)
			best = MAX(best, rank(&c[i]));
	for (unsigned i = 0; i < nr; i++)
		if (c[i].usable && rank(&c[i]) == best)
			total += weight(&c[i]) + 1;
	if (!total)
		return -1;
	at = random % total;
	for (unsigned i = 0; i < nr; i++) {
		if (!c[i].usable || rank(&c[i]) != best)
			continue;
		last = (int)i;
		if (at < weight(&c[i]) + 1)
			return last;
		at -= weight(&c[i]) + 1;
	}
	return last;
}
