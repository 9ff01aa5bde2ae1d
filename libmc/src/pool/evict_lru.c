// SPDX-License-Identifier: Apache-2.0
/* Least recently used goes first: the yardstick for the others. */
#include "pool/evict_inner.h"

struct lru {
	struct evict base;
	uint32_t max;
	struct evict_link *links;
	struct evict_list list;
};

static struct lru *lru_of(struct evict *e)
{
	return container_of(e, struct lru, base);
}

static void lru_close(struct evict *e)
{
	struct lru *l = lru_of(e);

	sparse_free(l->links, l->max, sizeof(*l->links));
	free(l);
}

static int lru_open(uint32_t max, uint64_t weight_max, struct evict **out)
{
	struct lru *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->base.ops = &evict_lru;
	l->max = max;
	l->list = EVICT_LIST_INIT;
	l->links = sparse_alloc(max, sizeof(*l->links));
	if (!l->links) {
		free(l);
		return -ENOMEM;
	}
	*out = &l->base;
	return 0;
}

static void lru_insert(struct evict *e, uint32_t entry, uint64_t hash, uint64_t bytes)
{
	struct lru *l = lru_of(e);

	evict_list_push(&l->list, l->links, entry);
}

static void lru_remove(struct evict *e, uint32_t entry)
{
	struct lru *l = lru_of(e);

	evict_list_del(&l->list, l->links, entry);
}

static void lru_touch(struct evict *e, uint32_t entry)
{
	struct lru *l = lru_of(e);

	evict_list_del(&l->list, l->links, entry);
	evict_list_push(&l->list, l->links, entry);
}

static int64_t lru_victim(struct evict *e)
{
	struct lru *l = lru_of(e);
	uint32_t entry = l->list.last;

	if (entry == EVICT_NIL)
		return -1;
	evict_list_del(&l->list, l->links, entry);
	return entry;
}

const struct evict_ops evict_lru = {
	.name = "lru",
	.open = lru_open,
	.close = lru_close,
	.insert = lru_insert,
	.touch = lru_touch,
	.remove = lru_remove,
	.victim = lru_victim,
	.spare = lru_insert,
};
