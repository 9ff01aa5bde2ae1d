// SPDX-License-Identifier: Apache-2.0
/*
 * Touches: readers write them into rings, one per client, and the owner takes them out before it
 * decides what goes.
 */
#include "pool/inner.h"

#define TOUCH_PLACES 8192
#define DRAIN	     256 /* values at a time */

uint64_t touch_places(uint64_t bytes)
{
	uint64_t places = bytes < LOSSY_RING_BYTES(1) ?
				  0 :
				  (bytes - sizeof(struct lossy_ring)) / sizeof(uint64_t);

	return places ? (uint64_t)1 << (63 - __builtin_clzll(places)) : 0;
}

int ring_init(struct pool_ring *r)
{
	int ret;

	*r = (struct pool_ring){ 0 };
	ret = region_create("mc-touches", LOSSY_RING_BYTES(TOUCH_PLACES), REGION_MEMFD, -1, &r->region);
	if (ret)
		return ret;
	r->ring = r->region.base;
	r->mask = touch_places(r->region.size) - 1;
	lossy_ring_init(r->ring, r->mask + 1);
	return 0;
}

void ring_fini(struct pool_ring *r)
{
	if (r->ring)
		region_close(&r->region);
	r->ring = NULL;
}

int pool_ring_open(struct pool *p, struct pool_ring **out)
{
	struct pool_ring *r = malloc(sizeof(*r));
	int ret;

	if (!r)
		return -ENOMEM;
	ret = ring_init(r);
	if (ret) {
		free(r);
		return ret;
	}
	r->next = p->rings;
	p->rings = r;
	*out = r;
	return 0;
}

static void drain(struct pool *p, struct pool_ring *r, uint64_t now_ns);

void pool_ring_close(struct pool *p, struct pool_ring *r)
{
	struct pool_ring **at = &p->rings;

	if (!r)
		return;
	drain(p, r, p->now_ns);
	while (*at != r)
		at = &(*at)->next;
	*at = r->next;
	ring_fini(r);
	free(r);
}

void touch_entry(struct pool *p, uint32_t i, uint64_t now_ns)
{
	p->slots[i].touched_ns = now_ns;
	if (p->slots[i].grouped)
		group_touch(p, i, now_ns);
	p->entries[i].stamp = ++p->stamp;
	order_touch(p, i);
}

/* Clients can write anything into their ring. */
static void touch_value(struct pool *p, uint64_t value, uint64_t now_ns)
{
	uint32_t i = (uint32_t)value - 1;

	if (i >= dir_top(p))
		return;
	if (entry_gen(p, i) && touch_pack(i, entry_gen(p, i)) == value)
		touch_entry(p, i, now_ns);
}

static void drain(struct pool *p, struct pool_ring *r, uint64_t now_ns)
{
	uint64_t values[DRAIN];
	uint64_t left =
		r->mask + 1; /* a client that writes as fast as we read does not keep us here */
	size_t nr;

	do {
		nr = lossy_ring_drain(r->ring, r->mask, &r->tail, values,
				      MIN(left, (uint64_t)DRAIN));
		for (size_t k = 0; k < nr; k++)
			touch_value(p, values[k], now_ns);
		left -= nr;
	} while (nr && left);
}

void pool_drain_touches(struct pool *p, uint64_t now_ns)
{
	p->now_ns = MAX(p->now_ns, now_ns);
	if (p->own_ring.ring)
		drain(p, &p->own_ring, now_ns);
	for (struct pool_ring *r = p->rings; r; r = r->next)
		drain(p, r, now_ns);
}
