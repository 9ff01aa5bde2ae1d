// SPDX-License-Identifier: Apache-2.0
/*
 * Objects lent to somebody who sends their bytes without a look at the headers afterwards: the bytes stay as they are until they
 * are given back. Few at a time.
 *
 *	LENT ── given back ──▸ in the order of eviction again
 *	  └── removed, replaced ──▸ gone for readers at once ── given back ──▸ the space is free
 */
#include "pool/inner.h"

struct lent {
	struct list node; /* of pool.lent */
	uint32_t entry;
	unsigned users;
	bool gone;
	struct layout *layout; /* what to free, once it is gone; NULL: one */
	struct piece one;
};

static struct lent *lent_at(const struct pool *p, uint32_t i)
{
	struct lent *l;

	list_for_each_entry(l, &p->lent, node)
		if (l->entry == i && !l->gone)
			return l;
	return NULL;
}

int pool_lend(struct pool *p, const struct key *key, uint64_t gen, struct lent **out)
{
	struct publish_item it;
	struct lent *l;
	uint32_t i;

	if (pool_find(p, key, &it) || it.loc.gen != gen)
		return -ENOENT;
	i = find_key(p, key);
	l = lent_at(p, i);
	if (!l) {
		l = calloc(1, sizeof(*l));
		if (!l)
			return -ENOMEM;
		l->entry = i;
		order_remove(p, i);
		p->slots[i].order = ORDER_LENT;
		list_append(&p->lent, &l->node);
	}
	l->users++;
	*out = l;
	return 0;
}

bool lent_keep_space(struct pool *p, uint32_t i, struct layout *layout, const struct piece *one)
{
	struct lent *l = p->slots[i].order == ORDER_LENT ? lent_at(p, i) : NULL;

	if (!l)
		return false;
	l->gone = true;
	l->layout = layout;
	l->one = *one;
	return true;
}

static void lent_free(struct lent *l)
{
	list_del(&l->node);
	free(l->layout);
	free(l);
}

void pool_give_back(struct pool *p, struct lent *l)
{
	if (--l->users)
		return;
	if (l->gone) {
		pieces_free(p, l->layout ? l->layout->piece : &l->one, l->layout ? l->layout->nr : 1);
	} else {
		p->slots[l->entry].order = ORDER_NONE;
		order_insert(p, l->entry);
	}
	lent_free(l);
}

void lent_forget(struct pool *p)
{
	struct lent *l;

	while ((l = list_first(&p->lent, struct lent, node)))
		lent_free(l);
}
