/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handles are numbers: where an object is in its table, and the how-manieth it is there. So one that was never given, or is no
 * more, is told from one that lives without touching memory.
 */
#include <stdlib.h>

#include "capi/capi.h"

#define SLOT_BITS 20
#define SLOTS_MAX ((1u << SLOT_BITS) - 1)

void object_init(struct object *o, void (*fini)(struct object *o))
{
	o->fini = fini;
	o->refs = 1;
}

void object_put(struct object *o)
{
	/* Acquire and release: the last one sees what the others did with it. */
	if (o && atomic_fetch_sub_explicit(&o->refs, 1, memory_order_acq_rel) == 1)
		o->fini(o);
}

void table_fini(struct table *t)
{
	pthread_rwlock_destroy(&t->lock);
	free(t->slot);
}

/* With the lock for writing. */
static struct slot *free_slot(struct table *t)
{
	struct slot *grown;
	uint32_t cap;

	for (; t->free_from < t->nr; t->free_from++)
		if (!t->slot[t->free_from].object)
			return &t->slot[t->free_from];
	if (t->nr == SLOTS_MAX)
		return NULL;
	if (t->nr == t->cap) {
		cap = t->cap ? t->cap * 2 : 16;
		grown = realloc(t->slot, cap * sizeof(*grown));
		if (!grown)
			return NULL;
		t->slot = grown;
		t->cap = cap;
	}
	t->slot[t->nr] = (struct slot){ .gen = 0 };
	return &t->slot[t->nr++];
}

int table_add(struct table *t, struct object *o)
{
	struct slot *s;
	int ret;

	pthread_rwlock_wrlock(&t->lock);
	s = t->closed ? NULL : free_slot(t);
	if (s) {
		o->id = s->gen << SLOT_BITS | (uint64_t)(s - t->slot + 1);
		s->object = o;
	}
	ret = s ? 0 : t->closed ? -ESHUTDOWN : -ENOMEM;
	pthread_rwlock_unlock(&t->lock);
	return ret;
}

/* With the lock. */
static struct slot *find_slot(struct table *t, uint64_t id)
{
	uint64_t at = (id & SLOTS_MAX) - 1;
	struct slot *s = at < t->nr ? &t->slot[at] : NULL;

	return s && s->object && s->gen == id >> SLOT_BITS ? s : NULL;
}

static struct object *hold(struct slot *s)
{
	if (!s)
		return NULL;
	atomic_fetch_add_explicit(&s->object->refs, 1, memory_order_relaxed);
	return s->object;
}

/* With the lock for writing. */
static struct object *empty(struct table *t, struct slot *s)
{
	struct object *o = s ? s->object : NULL;

	if (!s)
		return NULL;
	s->object = NULL;
	s->gen = (s->gen + 1) & t->gen_mask;
	if (s - t->slot < t->free_from)
		t->free_from = (uint32_t)(s - t->slot);
	return o;
}

void table_drop(struct table *t)
{
	struct object *o;

	pthread_rwlock_wrlock(&t->lock);
	t->closed = true; /* so that there are no more places */
	for (uint32_t i = 0; i < t->nr; i++) {
		o = t->slot[i].object ? empty(t, &t->slot[i]) : NULL;
		pthread_rwlock_unlock(&t->lock);
		object_put(o);
		pthread_rwlock_wrlock(&t->lock);
	}
	pthread_rwlock_unlock(&t->lock);
}

struct object *table_get(struct table *t, uint64_t id)
{
	struct object *o;

	pthread_rwlock_rdlock(&t->lock);
	o = hold(find_slot(t, id));
	pthread_rwlock_unlock(&t->lock);
	return o;
}

struct object *table_take(struct table *t, uint64_t id)
{
	struct object *o;

	pthread_rwlock_wrlock(&t->lock);
	o = empty(t, find_slot(t, id));
	pthread_rwlock_unlock(&t->lock);
	return o;
}

struct object *table_find(struct table *t, bool (*match)(struct object *o, const void *arg), const void *arg, bool take)
{
	struct slot *s = NULL;
	struct object *o;

	pthread_rwlock_wrlock(&t->lock);
	for (uint32_t i = 0; i < t->nr && !s; i++)
		if (t->slot[i].object && match(t->slot[i].object, arg))
			s = &t->slot[i];
	o = take ? empty(t, s) : hold(s);
	pthread_rwlock_unlock(&t->lock);
	return o;
}

struct object *table_next(struct table *t, uint32_t *at)
{
	struct object *o = NULL;

	pthread_rwlock_rdlock(&t->lock);
	for (; *at < t->nr && !o; ++*at)
		if (t->slot[*at].object)
			o = hold(&t->slot[*at]);
	pthread_rwlock_unlock(&t->lock);
	return o;
}
