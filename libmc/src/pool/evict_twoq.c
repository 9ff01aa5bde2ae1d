// SPDX-License-Identifier: Apache-2.0
/*
 * Two queues with ghosts, as evict_twoq.h says; and the policy "twoq", which is that with a fixed
 * weight.
 */
#include "pool/evict_twoq.h"

/*
 * A touch within this share of the entries after the last use belongs to the same use (a block that
 * is written and read back) and says nothing about its coming again.
 */
#define SAME_USE     32

#define FIXED_WEIGHT 2 /* the best fixed one at pools of 5 and 10 % of both traces */

int twoq_init(struct twoq *q, uint32_t max, uint32_t weight)
{
	*q = (struct twoq){ .max = max, .weight = weight };
	for (int k = 0; k < 2; k++)
		q->list[k] = (struct twoq_list){ .first = EVICT_NIL, .last = EVICT_NIL };
	q->nodes = sparse_alloc(max, sizeof(*q->nodes));
	return q->nodes ? 0 : -ENOMEM;
}

void twoq_fini(struct twoq *q)
{
	sparse_free(q->nodes, q->max, sizeof(*q->nodes));
	ghosts_fini(&q->ghosts);
}

static void push(struct twoq *q, uint32_t i, uint32_t tag, bool again)
{
	struct twoq_list *l = &q->list[again];

	q->nodes[i] = (struct twoq_node){ .link = { .prev = EVICT_NIL, .next = l->first },
					  .when = q->clock++,
					  .tag = tag | again };
	if (l->first != EVICT_NIL)
		q->nodes[l->first].link.prev = i;
	else
		l->last = i;
	l->first = i;
	l->count++;
}

void twoq_remove(struct twoq *q, uint32_t i)
{
	struct evict_link at = q->nodes[i].link;
	struct twoq_list *l = &q->list[q->nodes[i].tag & 1];

	if (at.prev != EVICT_NIL)
		q->nodes[at.prev].link.next = at.next;
	else
		l->first = at.next;
	if (at.next != EVICT_NIL)
		q->nodes[at.next].link.prev = at.prev;
	else
		l->last = at.prev;
	l->count--;
}

void twoq_insert(struct twoq *q, uint32_t i, uint32_t tag)
{
	push(q, i, tag, ghosts_take(&q->ghosts, tag));
}

void twoq_touch(struct twoq *q, uint32_t i)
{
	uint32_t tag = q->nodes[i].tag & ~1u, age = q->clock - q->nodes[i].when;
	bool again = (q->nodes[i].tag & 1) || age > twoq_count(q) / SAME_USE;

	twoq_remove(q, i);
	push(q, i, tag, again);
}

static uint32_t older(const struct twoq *q, uint32_t once, uint32_t again)
{
	uint32_t age = q->clock - q->nodes[once].when;

	return (uint64_t)age * q->weight >= q->clock - q->nodes[again].when ? once : again;
}

uint32_t twoq_victim(struct twoq *q)
{
	uint32_t once = q->list[0].last, again = q->list[1].last, i;

	if (once == EVICT_NIL)
		i = again;
	else if (again == EVICT_NIL)
		i = once;
	else
		i = older(q, once, again);
	if (i == EVICT_NIL)
		return i;
	ghosts_add(&q->ghosts, q->nodes[i].tag & ~1u, (uint64_t)TWOQ_GHOSTS * twoq_count(q));
	twoq_remove(q, i);
	return i;
}

/* ---- the policy ---- */

struct fixed {
	struct evict base;
	struct twoq q;
};

static struct twoq *q_of(struct evict *e)
{
	return &container_of(e, struct fixed, base)->q;
}

static int fixed_open(uint32_t max, uint64_t weight_max, struct evict **out)
{
	struct fixed *f = malloc(sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->base.ops = &evict_twoq;
	if (twoq_init(&f->q, max, FIXED_WEIGHT)) {
		free(f);
		return -ENOMEM;
	}
	*out = &f->base;
	return 0;
}

static void fixed_close(struct evict *e)
{
	twoq_fini(q_of(e));
	free(container_of(e, struct fixed, base));
}

static void fixed_insert(struct evict *e, uint32_t entry, uint64_t hash, uint64_t bytes)
{
	twoq_insert(q_of(e), entry, twoq_tag(hash));
}

static void fixed_touch(struct evict *e, uint32_t entry)
{
	twoq_touch(q_of(e), entry);
}

static void fixed_remove(struct evict *e, uint32_t entry)
{
	twoq_remove(q_of(e), entry);
}

static int64_t fixed_victim(struct evict *e)
{
	uint32_t i = twoq_victim(q_of(e));

	return i == EVICT_NIL ? -1 : (int64_t)i;
}

const struct evict_ops evict_twoq = {
	.name = "twoq",
	.open = fixed_open,
	.close = fixed_close,
	.insert = fixed_insert,
	.touch = fixed_touch,
	.remove = fixed_remove,
	.victim = fixed_victim,
	.spare = fixed_insert, /* a ghost by now: it goes to those seen again */
};
