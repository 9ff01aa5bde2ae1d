// SPDX-License-Identifier: Apache-2.0
/*
 * Which object goes next: the policy's victims, then soft pins by last use. Hard pins are in no
 * order. A soft pin that ran out joins the policy when it is the one used longest ago; until then
 * it only stays longer than it had to. Where the rules say that soft pins do not go before they end, those
 * that ran out are looked for among the others, a few at a time.
 */
#include "pool/inner.h"

static void soft_insert(struct pool *p, uint32_t i)
{
	struct slot *s = &p->slots[i];

	s->prev = NIL;
	s->next = p->soft_first;
	if (s->next != NIL)
		p->slots[s->next].prev = i;
	else
		p->soft_last = i;
	p->soft_first = i;
	p->soft += entry_bytes(p, i);
	s->order = ORDER_SOFT;
}

static void soft_remove(struct pool *p, uint32_t i)
{
	struct slot *s = &p->slots[i];

	if (s->prev != NIL)
		p->slots[s->prev].next = s->next;
	else
		p->soft_first = s->next;
	if (s->next != NIL)
		p->slots[s->next].prev = s->prev;
	else
		p->soft_last = s->prev;
	p->soft -= entry_bytes(p, i);
	s->order = ORDER_NONE;
}

static void policy_insert(struct pool *p, uint32_t i)
{
	p->evict->ops->insert(p->evict, i, p->entries[i].hash[0], entry_bytes(p, i));
	p->slots[i].order = ORDER_POLICY;
}

void order_insert(struct pool *p, uint32_t i)
{
	uint16_t flags = p->entries[i].flags;

	if (flags & OBJ_HARD_PIN) {
		p->pinned += entry_bytes(p, i);
		return;
	}
	p->evictable += entry_bytes(p, i);
	if (flags & OBJ_SOFT_PIN)
		soft_insert(p, i);
	else
		policy_insert(p, i);
}

static void leave(struct pool *p, uint32_t i)
{
	if (p->slots[i].order == ORDER_SOFT)
		soft_remove(p, i);
	else
		p->evict->ops->remove(p->evict, i);
	p->slots[i].order = ORDER_NONE;
}

void order_remove(struct pool *p, uint32_t i)
{
	if (p->slots[i].order == ORDER_LENT)
		return;
	if (p->slots[i].order == ORDER_NONE) {
		if (p->entries[i].flags & OBJ_HARD_PIN)
			p->pinned -= entry_bytes(p, i);
		return;
	}
	leave(p, i);
	p->evictable -= entry_bytes(p, i);
}

void order_touch(struct pool *p, uint32_t i)
{
	if (p->slots[i].order == ORDER_POLICY) {
		p->evict->ops->touch(p->evict, i);
	} else if (p->slots[i].order == ORDER_SOFT) {
		soft_remove(p, i);
		soft_insert(p, i);
	}
}

static bool soft_stays(const struct pool *p)
{
	return p->rules.flags & POOL_RULE_SOFT_STAYS;
}

/* At most a few at a time: each eviction comes by here. */
static void soft_expire(struct pool *p, unsigned max)
{
	for (unsigned nr = 0; nr < max && p->soft_last != NIL; nr++) {
		uint32_t i = p->soft_last;
		bool ended = soft_time(p->now_ns) >= p->slots[i].soft_until;

		if (!ended && !soft_stays(p))
			return;
		soft_remove(p, i);
		if (ended)
			policy_insert(p, i);
		else /* who is used longest ago does not matter where none of them goes */
			soft_insert(p, i);
	}
}

#define SOFT_LOOK 64

uint64_t order_evictable(struct pool *p)
{
	if (!soft_stays(p))
		return p->evictable;
	soft_expire(p, SOFT_LOOK);
	return p->evictable - p->soft;
}

/* The policy's choice, which it has let go of. */
static uint32_t policy_victim(struct pool *p)
{
	int64_t i = p->evict->ops->victim(p->evict);

	if (i < 0)
		return NIL;
	p->slots[i].order = ORDER_NONE;
	p->evictable -= entry_bytes(p, (uint32_t)i);
	return (uint32_t)i;
}

#define SPARED_MAX 16 /* in a row: then one goes all the same */

/* Another member of its group was used since: it counts as used then. */
static bool spared(struct pool *p, uint32_t i)
{
	uint64_t group_ns = group_touched_ns(p, i);

	if (group_ns <= p->slots[i].touched_ns)
		return false;
	p->slots[i].touched_ns = group_ns;
	order_insert(p, i);
	order_touch(p, i);
	return true;
}

uint32_t order_victim(struct pool *p)
{
	uint32_t i;

	soft_expire(p, 4);
	i = group_victim(p);
	if (i != NIL) {
		leave(p, i);
		p->evictable -= entry_bytes(p, i);
		return i;
	}
	for (unsigned tries = 0;; tries++) {
		i = policy_victim(p);
		if (i == NIL || !p->slots[i].grouped)
			break;
		if (tries < SPARED_MAX && spared(p, i))
			continue;
		group_evict(p, i);
		break;
	}
	if (i == NIL && p->soft_last != NIL && !soft_stays(p)) {
		i = p->soft_last;
		leave(p, i);
		p->evictable -= entry_bytes(p, i);
	}
	return i;
}
