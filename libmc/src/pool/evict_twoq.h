/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two queues by last use: entries seen once, and entries seen again. The next victim is the older
 * of the two tails, where the age of those seen once counts @weight times: 1 is LRU, more protects
 * what came back. What went is remembered for a while (ghosts), and counts as seen again when it
 * returns.
 *
 *	insert → once ── touch ──→ again ←─ touch		(not at once: SAME_USE)
 *	           │                 │
 *	           └──→ victim ←─────┘   the hash stays in ghosts; inserted again, it goes to again
 */
#ifndef MC_EVICT_TWOQ_H
#define MC_EVICT_TWOQ_H

#include "pool/evict_inner.h"

/* ---- ghosts (evict_ghost.c): the hashes of the last evictions, six bytes each ---- */

struct ghosts {
	uint32_t *slots; /* NULL: nothing is remembered */
	uint32_t buckets;
	uint64_t clock; /* evictions so far */
	uint64_t span;	/* how many are remembered */
};

void ghosts_fini(struct ghosts *g);
/* @span: how many to remember from now on. */
void ghosts_add(struct ghosts *g, uint32_t tag, uint64_t span);
bool ghosts_take(struct ghosts *g, uint32_t tag); /* was it there? It is not, afterwards. */

/* ---- the queues (evict_twoq.c) ---- */

struct twoq_node {
	struct evict_link link;
	uint32_t when; /* of the last use, in uses; ages are differences */
	uint32_t tag;  /* of the hash; lowest bit: seen again */
};

struct twoq {
	struct twoq_node *nodes;
	uint32_t max;
	uint32_t clock;
	uint32_t weight;
	struct twoq_list {
		uint32_t first, last, count;
	} list[2]; /* seen once, seen again */
	struct ghosts ghosts;
};

#define TWOQ_GHOSTS 3 /* ghosts per entry */

static inline uint32_t twoq_tag(uint64_t hash)
{
	return (uint32_t)hash & ~1u;
}

int twoq_init(struct twoq *q, uint32_t max, uint32_t weight);
void twoq_fini(struct twoq *q);
void twoq_insert(struct twoq *q, uint32_t i, uint32_t tag);
void twoq_touch(struct twoq *q, uint32_t i);
void twoq_remove(struct twoq *q, uint32_t i);
uint32_t twoq_victim(struct twoq *q); /* EVICT_NIL: empty */

static inline uint32_t twoq_count(const struct twoq *q)
{
	return q->list[0].count + q->list[1].count;
}

/*
 * ---- shadows (evict_shadow.c) ---- A model of the cache in small: a sample of the keys, in space
 * scaled alike, with a weight of its own.
 */

#define SHADOW_MAX 2048u /* entries of one */

struct shadow {
	struct twoq q;
	uint32_t *heads, *chain; /* by tag */
	uint32_t unused, top;
	uint64_t hits;
};

int shadow_init(struct shadow *s, uint32_t weight);
void shadow_fini(struct shadow *s);
/* @cap: entries it may hold now, at most SHADOW_MAX. */
void shadow_access(struct shadow *s, uint32_t tag, uint32_t cap);
void shadow_thin(struct shadow *s, bool (*keep)(uint32_t tag, unsigned shift), unsigned shift);

#endif
