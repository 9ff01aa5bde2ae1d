// SPDX-License-Identifier: Apache-2.0
/* Intrusive hash table with chains. */
#include "base/htab.h"

#define HTAB_FIRST 16

/* The multiplication spreads hashes whose low bits say little (pointers, counters); the top bits index. */
static size_t slot_of(const struct htab *t, uint64_t hash)
{
	return (size_t)((hash * 0x9e3779b97f4a7c15u) >> (64 - __builtin_ctzl(t->nr_slots)));
}

void htab_fini(struct htab *t)
{
	free(t->slots);
	*t = HTAB_INIT;
}

static int grow(struct htab *t)
{
	struct htab bigger = { .nr_slots = t->nr_slots ? t->nr_slots * 2 : HTAB_FIRST };

	bigger.slots = calloc(bigger.nr_slots, sizeof(*bigger.slots));
	if (!bigger.slots)
		return -ENOMEM;
	for (size_t i = 0; i < t->nr_slots; i++) {
		struct hnode *n, *next;

		for (n = t->slots[i]; n; n = next) {
			struct hnode **slot = &bigger.slots[slot_of(&bigger, n->hash)];

			next = n->next;
			n->next = *slot;
			*slot = n;
		}
	}
	free(t->slots);
	t->slots = bigger.slots;
	t->nr_slots = bigger.nr_slots;
	return 0;
}

int htab_add(struct htab *t, struct hnode *n, uint64_t hash)
{
	struct hnode **slot;

	if (t->count >= t->nr_slots && grow(t) && !t->nr_slots)
		return -ENOMEM;
	n->hash = hash;
	slot = &t->slots[slot_of(t, hash)];
	n->next = *slot;
	*slot = n;
	t->count++;
	return 0;
}

void htab_del(struct htab *t, struct hnode *n)
{
	struct hnode **p = &t->slots[slot_of(t, n->hash)];

	while (*p != n)
		p = &(*p)->next;
	*p = n->next;
	n->next = NULL;
	t->count--;
}

static struct hnode *with_hash(struct hnode *n, uint64_t hash)
{
	while (n && n->hash != hash)
		n = n->next;
	return n;
}

struct hnode *htab_first(const struct htab *t, uint64_t hash)
{
	return t->nr_slots ? with_hash(t->slots[slot_of(t, hash)], hash) : NULL;
}

struct hnode *htab_next(const struct hnode *n)
{
	return with_hash(n->next, n->hash);
}

int htab_walk(struct htab *t, int (*fn)(struct hnode *n, void *arg), void *arg)
{
	for (size_t i = 0; i < t->nr_slots; i++) {
		struct hnode *n, *next;

		for (n = t->slots[i]; n; n = next) {
			int ret;

			next = n->next;
			ret = fn(n, arg);
			if (ret)
				return ret;
		}
	}
	return 0;
}
