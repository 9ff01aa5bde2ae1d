// SPDX-License-Identifier: Apache-2.0
/*
 * Announced objects: in the directory while a client is still writing them, so that its last store is all that is left to do.
 *
 *	stage ──▸ publish ──▸ WRITING ──▸ STORED	the writer's swap agreed → G was first
 *	    └──▸ unstage	  └─────▸ GONE		ours agreed → removed or revoked was, or it abandoned
 *
 * Everything turns on the first extent's generation, G+1 at first, which both sides change with a compare-and-swap only. The space
 * is the writer's process's until one of them is through: neither granted anew nor evicted.
 */
#include "pool/inner.h"

int announced_hold(struct staged *s, struct pool_holder *h)
{
	const struct layout *l = s->layout;

	for (unsigned i = 0; i < l->nr; i++) {
		const struct piece *x = &l->piece[i];
		int ret = range_set_add(&h->announced[place_region(x->place)], place_off(x->place), x->bytes);

		if (!ret)
			continue;
		while (i--) {
			x = &l->piece[i];
			range_set_del(&h->announced[place_region(x->place)], place_off(x->place), x->bytes);
		}
		return ret;
	}
	s->holder = h;
	return 0;
}

void announced_unhold(struct staged *s)
{
	const struct layout *l = s->layout;

	/* Without memory for the books the holder is thought to write where it does not: that costs a restart some room. */
	for (unsigned i = 0; i < l->nr; i++)
		range_set_del(&s->holder->announced[place_region(l->piece[i].place)], place_off(l->piece[i].place),
			      l->piece[i].bytes);
}

static _Atomic uint64_t *first_gen(const struct pool *p, uint64_t place)
{
	return &((struct extent_hdr *)place_at(&p->view, place, sizeof(struct extent_hdr)))->gen;
}

/* Return: @why, or what was there instead of "being written". */
static uint64_t stop_writer(const struct pool *p, const struct staged *s, enum gen_end why)
{
	_Atomic uint64_t *gen = first_gen(p, s->layout->piece[0].place);
	uint64_t seen = s->item.loc.gen | 1;

	/* Only we say yes, so one of the two holds. Acquire: whoever was first, what it wrote before is seen. */
	if (atomic_compare_exchange_strong_explicit(gen, &seen, (uint64_t)why, memory_order_acq_rel, memory_order_acquire))
		return (uint64_t)why;
	if (seen == (s->item.loc.gen | 1 | GEN_AGREED) &&
	    atomic_compare_exchange_strong_explicit(gen, &seen, (uint64_t)why, memory_order_acq_rel, memory_order_acquire))
		return (uint64_t)why;
	return seen;
}

static void space_back(struct pool *p, struct staged *s, bool to_holder)
{
	const struct layout *l = s->layout;
	struct pool_holder *h = s->holder;

	announced_unhold(s);
	for (unsigned i = 0; i < l->nr; i++) {
		const struct piece *x = &l->piece[i];

		if (to_holder && !range_set_add(&h->held[place_region(x->place)], place_off(x->place), x->bytes))
			p->granted += x->bytes;
		else
			pieces_free(p, x, 1);
	}
}

void announced_unstage(struct pool *p, struct staged *s)
{
	/* No answer said yes, so the writer does not flip; it may have given up. */
	space_back(p, s, stop_writer(p, s, GEN_REMOVED) != (uint64_t)GEN_ABANDONED);
}

void announced_publish(struct pool *p, struct staged *s)
{
	uint64_t seen = s->item.loc.gen | 1;

	p->slots[s->entry].order = ORDER_WRITING;
	s->state = ANNOUNCED_WRITING;
	list_append(&p->writing, &s->in_writing);
	/* Release: who sees the yes finds the entry. A writer that gave up does not care. */
	atomic_compare_exchange_strong_explicit(first_gen(p, s->layout->piece[0].place), &seen, seen | GEN_AGREED,
						memory_order_release, memory_order_relaxed);
}

/* ---- the two ends ---- */

static void stored(struct pool *p, struct staged *s)
{
	struct dir_entry *e = &p->entries[s->entry];

	announced_unhold(s);
	list_del(&s->in_writing);
	s->state = ANNOUNCED_STORED;
	poke(&e->flags, (uint16_t)(e->flags & ~(uint32_t)OBJ_PENDING));
	p->slots[s->entry].order = ORDER_NONE;
	order_insert(p, s->entry);
	if (s->layout->nr > 1)
		s->layout = staged_single(s); /* the slot has it */
}

static void gone(struct pool *p, struct staged *s, bool to_holder)
{
	list_del(&s->in_writing);
	s->state = ANNOUNCED_GONE;
	dir_unlink(p, s->entry);
	dir_unreserve(p, s->entry); /* forgets the slot's layout, which is ours as well */
	space_back(p, s, to_holder);
}

/* @seen: what the generation is. */
static void decide(struct pool *p, struct staged *s, uint64_t seen, bool alive)
{
	if (seen == s->item.loc.gen)
		stored(p, s);
	else
		gone(p, s, alive && seen != (uint64_t)GEN_ABANDONED);
}

enum announced pool_announced_look(struct pool *p, struct staged *s)
{
	uint64_t seen;

	if (s->state != ANNOUNCED_WRITING)
		return s->state;
	seen = atomic_load_explicit(first_gen(p, s->layout->piece[0].place), memory_order_acquire);
	/* A client may write anything there: what it spoiled is over, too, and the space is its own. */
	if (seen != (s->item.loc.gen | 1 | GEN_AGREED))
		decide(p, s, seen, true);
	return s->state;
}

enum announced pool_announced_end(struct pool *p, struct staged *s, bool alive)
{
	if (s->state == ANNOUNCED_WRITING)
		decide(p, s, stop_writer(p, s, GEN_REVOKED), alive);
	return s->state;
}

void pool_announced_free(struct pool *p, struct staged *s)
{
	if (s->state == ANNOUNCED_WRITING) {
		announced_unhold(s);
		list_del(&s->in_writing);
		if (s->layout->nr > 1)
			s->layout = staged_single(s); /* the slot has it */
	}
	staged_free(p, s);
}

/* ---- by entry ---- */

static struct staged *writing_at(struct pool *p, uint32_t i)
{
	struct staged *s;

	if (p->slots[i].order != ORDER_WRITING)
		return NULL;
	list_for_each_entry(s, &p->writing, in_writing)
		if (s->entry == i)
			return s;
	return NULL;
}

bool announced_writing(struct pool *p, uint32_t i)
{
	struct staged *s = writing_at(p, i);

	return s && pool_announced_look(p, s) != ANNOUNCED_STORED;
}

bool announced_displace(struct pool *p, uint32_t i, enum gen_end why)
{
	struct staged *s = writing_at(p, i);

	if (!s)
		return false;
	decide(p, s, stop_writer(p, s, why), true);
	return s->state == ANNOUNCED_GONE;
}

bool announced_adopt(struct pool *p, uint32_t i)
{
	struct dir_entry *e = &p->entries[i];
	uint64_t gen = entry_gen(p, i), seen = gen | 1;
	struct extent_hdr *h;

	if (!(e->flags & OBJ_PENDING))
		return true;
	h = place_at(&p->view, e->first, sizeof(*h));
	if (!h || atomic_compare_exchange_strong_explicit(&h->gen, &seen, (uint64_t)GEN_REVOKED, memory_order_acq_rel,
							  memory_order_acquire))
		return false;
	if (seen == (gen | 1 | GEN_AGREED) &&
	    atomic_compare_exchange_strong_explicit(&h->gen, &seen, (uint64_t)GEN_REVOKED, memory_order_acq_rel,
						    memory_order_acquire))
		return false;
	if (seen != gen)
		return false;
	poke(&e->flags, (uint16_t)(e->flags & ~(uint32_t)OBJ_PENDING));
	return true;
}
