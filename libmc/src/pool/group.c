// SPDX-License-Identifier: Apache-2.0
/*
 * Groups: objects of which their user wants all or none. A touch of one is a touch of the group, and when one is evicted the
 * others go next, before anything else. Objects without a group, which most are, cost a byte in their slot and no more.
 */
#include "pool/inner.h"

struct group {
	struct hnode node; /* of pool.groups; hash: its number */
	struct list members;
	uint64_t touched_ns;
};

struct member {
	struct hnode node; /* of pool.members; hash: its entry */
	struct list in_group;
	struct group *group;
};

static struct group *find_group(const struct pool *p, uint32_t nr)
{
	struct hnode *n = htab_first(&p->groups, nr);

	while (n && n->hash != nr)
		n = htab_next(n);
	return n ? container_of(n, struct group, node) : NULL;
}

static struct member *member_of(const struct pool *p, uint32_t i)
{
	struct hnode *n = p->slots[i].grouped ? htab_first(&p->members, i) : NULL;

	while (n && n->hash != i)
		n = htab_next(n);
	return n ? container_of(n, struct member, node) : NULL;
}

static struct group *make_group(struct pool *p, uint32_t nr)
{
	struct group *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	list_init(&g->members);
	if (htab_add(&p->groups, &g->node, nr)) {
		free(g);
		return NULL;
	}
	return g;
}

static void drop_if_empty(struct pool *p, struct group *g)
{
	if (!list_empty(&g->members))
		return;
	if (p->evict_group == g->node.hash)
		p->evict_group = 0;
	htab_del(&p->groups, &g->node);
	free(g);
}

void group_join(struct pool *p, uint32_t i, uint32_t nr)
{
	struct group *g;
	struct member *m;

	if (!nr)
		return;
	g = find_group(p, nr);
	if (!g)
		g = make_group(p, nr);
	m = g ? calloc(1, sizeof(*m)) : NULL;
	if (m && htab_add(&p->members, &m->node, i)) {
		free(m);
		m = NULL;
	}
	if (!m) { /* it stays alone: what is evicted is a matter of speed, not of right or wrong */
		if (g)
			drop_if_empty(p, g);
		return;
	}
	m->group = g;
	list_append(&g->members, &m->in_group);
	p->slots[i].grouped = true;
	if (p->evict_group == nr) /* somebody stores it anew */
		p->evict_group = 0;
}

void group_leave(struct pool *p, uint32_t i)
{
	struct member *m = member_of(p, i);

	if (!m)
		return;
	p->slots[i].grouped = false;
	htab_del(&p->members, &m->node);
	list_del(&m->in_group);
	drop_if_empty(p, m->group);
	free(m);
}

uint32_t group_of(const struct pool *p, uint32_t i)
{
	const struct member *m = member_of(p, i);

	return m ? (uint32_t)m->group->node.hash : 0;
}

void group_touch(struct pool *p, uint32_t i, uint64_t now_ns)
{
	struct member *m = member_of(p, i);

	if (m)
		m->group->touched_ns = now_ns;
}

uint64_t group_touched_ns(const struct pool *p, uint32_t i)
{
	const struct member *m = member_of(p, i);

	return m ? m->group->touched_ns : 0;
}

void group_evict(struct pool *p, uint32_t i)
{
	p->evict_group = group_of(p, i);
}

uint32_t group_victim(struct pool *p)
{
	struct group *g = p->evict_group ? find_group(p, p->evict_group) : NULL;
	struct member *m;

	if (g)
		list_for_each_entry(m, &g->members, in_group)
			if (p->slots[m->node.hash].order == ORDER_POLICY)
				return (uint32_t)m->node.hash;
	p->evict_group = 0; /* what is left is pinned, or being written */
	return NIL;
}

static int free_member(struct hnode *n, void *arg)
{
	free(container_of(n, struct member, node));
	return 0;
}

static int free_group(struct hnode *n, void *arg)
{
	free(container_of(n, struct group, node));
	return 0;
}

void groups_free(struct pool *p)
{
	htab_walk(&p->members, free_member, NULL);
	htab_walk(&p->groups, free_group, NULL);
	htab_fini(&p->members);
	htab_fini(&p->groups);
}
