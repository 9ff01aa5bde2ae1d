/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What policies share: lists of entries in one sparse array, so that an unused entry costs
 * nothing.
 */
#ifndef MC_EVICT_INNER_H
#define MC_EVICT_INNER_H

#include "pool/evict.h"

#define EVICT_NIL UINT32_MAX

struct evict_link {
	uint32_t prev, next;
};

/* First: used last. */
struct evict_list {
	uint32_t first, last;
	uint32_t count;
	uint64_t bytes; /* for policies that count them */
};

#define EVICT_LIST_INIT ((struct evict_list){ .first = EVICT_NIL, .last = EVICT_NIL })

static inline void evict_list_push(struct evict_list *l, struct evict_link *links, uint32_t i)
{
	links[i] = (struct evict_link){ .prev = EVICT_NIL, .next = l->first };
	if (l->first != EVICT_NIL)
		links[l->first].prev = i;
	else
		l->last = i;
	l->first = i;
	l->count++;
}

static inline void evict_list_del(struct evict_list *l, struct evict_link *links, uint32_t i)
{
	struct evict_link at = links[i];

	if (at.prev != EVICT_NIL)
		links[at.prev].next = at.next;
	else
		l->first = at.next;
	if (at.next != EVICT_NIL)
		links[at.next].prev = at.prev;
	else
		l->last = at.prev;
	l->count--;
}

/* Zeroed address space whose pages appear at first use; NULL: no memory. */
void *sparse_alloc(size_t nr, size_t size);
void sparse_free(void *p, size_t nr, size_t size);

extern const struct evict_ops evict_adaptive, evict_twoq, evict_lru;

#endif
