// SPDX-License-Identifier: Apache-2.0
/* The index as clients see it: existence, locations, leases, who has to let go, and walks. */
#include "objects_private.h"

#include <limits.h>

static struct loc loc_of(const struct rep *r)
{
	return (struct loc){ .region = r->region, .nr_extents = r->nr_extents, .off = r->off, .gen = r->gen };
}

static void grant(struct objects *ix, struct shard *s, struct object *o, uint64_t now)
{
	o->lease_ns = now + ix->lease_ns;
	if (o->lease_ns > s->lease_ns)
		s->lease_ns = o->lease_ns;
}

/* The index fits no cache: what a batch will touch is asked for before the first of it is needed. */
static void prefetch(struct objects *ix, const uint64_t *hash, uint32_t nr)
{
	for (uint32_t i = 0; i < nr; i++)
		shard_prefetch(shard_of(ix, hash[i]), hash[i]);
	for (uint32_t i = 0; i < nr; i++) {
		struct shard *s = shard_of(ix, hash[i]);

		pthread_mutex_lock(&s->lock);
		shard_prefetch_object(s, hash[i]);
		pthread_mutex_unlock(&s->lock);
	}
}

static void hash_keys(struct objects *ix, const struct key *first, size_t stride, uint32_t nr, uint64_t *hash)
{
	for (uint32_t i = 0; i < nr; i++) {
		const struct shard *s;

		hash[i] = hash_of(ix, (const struct key *)(const void *)((const char *)first + i * stride));
		s = shard_of(ix, hash[i]);
		__builtin_prefetch(s, 1);
		__builtin_prefetch(&s->graves);
	}
}

void objects_prefetch(struct objects *ix, const struct key *first, size_t stride, uint32_t nr)
{
	uint64_t hash[OBJECTS_BATCH];

	hash_keys(ix, first, stride, nr, hash);
	prefetch(ix, hash, nr);
}

/* Not the objects, which are not there yet, but the replicas in front of which theirs are chained. */
void objects_prefetch_new(struct objects *ix, uint16_t slot, const struct key *first, size_t stride, uint32_t nr)
{
	uint64_t hash[OBJECTS_BATCH];

	hash_keys(ix, first, stride, nr, hash);
	for (uint32_t i = 0; i < nr; i++) {
		struct shard *s = shard_of(ix, hash[i]);
		struct rep *head = __atomic_load_n(&ix->slots[slot].heads[s - ix->shards], __ATOMIC_RELAXED);

		shard_prefetch(s, hash[i]);
		if (head)
			__builtin_prefetch(&head->pprev, 1); /* an address, no more: it may be gone by now */
	}
}

/* 0, 1 or 2, as objects_exist() has it. */
static uint8_t exists(struct objects *ix, uint64_t hash, const struct key *key, bool touch, uint64_t now)
{
	struct shard *s = shard_of(ix, hash);
	struct object *o;
	uint8_t found = 0;

	pthread_mutex_lock(&s->lock);
	o = shard_find(s, hash, key);
	if (o)
		found = object_whole(ix, o, SLOT_LIVE) ? 1 : object_has(ix, o, SLOT_LIVE) ? 2 : 0;
	if (found && touch)
		grant(ix, s, o, now);
	pthread_mutex_unlock(&s->lock);
	return found;
}

uint32_t objects_exist(struct objects *ix, const struct key *keys, uint32_t nr, bool touch, uint64_t now, uint8_t *found)
{
	uint64_t hash[OBJECTS_BATCH];
	uint32_t n, count = 0;

	for (uint32_t at = 0; at < nr; at += n) {
		n = MIN(nr - at, (uint32_t)OBJECTS_BATCH);
		for (uint32_t i = 0; i < n; i++) {
			hash[i] = hash_of(ix, &keys[at + i]);
			__builtin_prefetch(shard_of(ix, hash[i]), 1);
		}
		if (n > 1)
			prefetch(ix, hash, n);
		for (uint32_t i = 0; i < n; i++) {
			found[at + i] = exists(ix, hash[i], &keys[at + i], touch, now);
			count += found[at + i] != 0;
		}
	}
	return count;
}

void objects_locate(struct objects *ix, const struct key *key, bool touch, uint64_t now, struct located *out)
{
	uint64_t hash = hash_of(ix, key);
	struct shard *s = shard_of(ix, hash);
	struct object *o;
	struct rep *r;

	out->status = -ENOENT;
	out->nr_replicas = 0;
	pthread_mutex_lock(&s->lock);
	o = shard_find(s, hash, key);
	if (!o)
		goto out;
	for_each_rep(o, r)
		if (rep_state(ix, r) == SLOT_LIVE)
			out->replica[out->nr_replicas++] =
				(struct replica){ .pool = ix->slots[r->slot].pool, .loc = loc_of(r) };
	if (!out->nr_replicas)
		goto out;
	out->status = 0;
	out->size = o->size;
	out->put_id = o->put_id;
	out->flags = (o->flags & KEPT_FLAGS) | (object_whole(ix, o, SLOT_LIVE) ? 0 : OBJ_PENDING);
	if (touch)
		grant(ix, s, o, now);
out:
	pthread_mutex_unlock(&s->lock);
}

int objects_holders(struct objects *ix, const struct key *key, bool force, uint64_t now, struct holder out[REPLICAS_MAX],
		    unsigned *nr)
{
	uint64_t hash = hash_of(ix, key);
	struct shard *s = shard_of(ix, hash);
	struct object *o;
	struct rep *r;
	int ret = -ENOENT;

	*nr = 0;
	pthread_mutex_lock(&s->lock);
	o = shard_find(s, hash, key);
	if (!o)
		goto out;
	ret = -ETXTBSY;
	if (o->flags & OBJ_BOUND && object_has(ix, o, SLOT_LIVE))
		goto out;
	ret = -EBUSY;
	if (!force && o->lease_ns > now && object_has(ix, o, SLOT_LIVE))
		goto out;
	for_each_rep(o, r) {
		if (rep_state(ix, r) == SLOT_GONE)
			o->flags |= OBJ_BURIED; /* it may come back, and must not with this */
		else
			out[(*nr)++] = (struct holder){ r->slot, ix->slots[r->slot].pool, r->gen };
	}
	ret = *nr ? 0 : -ENOENT;
out:
	pthread_mutex_unlock(&s->lock);
	return ret;
}

/* ---- walking ---- */

struct walk {
	struct objects *ix;
	uint64_t now;
	bool (*fn)(void *arg, const struct object_view *o);
	void *arg;
};

static bool show(void *arg, struct object *o)
{
	struct walk *w = arg;
	struct object_view v = {
		.key = { .data = o->key, .len = o->key_len },
		.size = o->size,
		.flags = o->flags & KEPT_FLAGS,
		.leased = o->lease_ns > w->now,
	};
	struct rep *r;

	for_each_rep(o, r)
		v.nr_replicas += rep_state(w->ix, r) == SLOT_LIVE;
	return !v.nr_replicas || w->fn(w->arg, &v);
}

struct leased_walk {
	struct walk w;
	uint32_t nr, max;
};

static bool show_leased(void *arg, struct object *o)
{
	struct leased_walk *l = arg;

	if (o->lease_ns <= l->w.now)
		return true;
	return l->nr++ < l->max && show(&l->w, o);
}

#define LOOK_MAX (256 * 1024) /* objects: some tens of milliseconds */

static uint64_t beside_leased(struct objects *ix, uint64_t now)
{
	uint64_t nr = 0;

	for (unsigned i = 0; i < ix->nr_shards; i++) {
		struct shard *s = &ix->shards[i];

		pthread_mutex_lock(&s->lock);
		nr += s->lease_ns > now ? s->count : 0;
		pthread_mutex_unlock(&s->lock);
	}
	return nr;
}

int objects_each_leased(struct objects *ix, uint64_t now, uint32_t max, bool (*fn)(void *arg, const struct object_view *o),
			void *arg)
{
	struct leased_walk l = { .w = { .ix = ix, .now = now, .fn = fn, .arg = arg }, .max = max };
	bool more = true;

	if (beside_leased(ix, now) > LOOK_MAX)
		return -E2BIG;
	for (unsigned i = 0; i < ix->nr_shards && more; i++) {
		struct shard *s = &ix->shards[i];
		unsigned steps = UINT_MAX;

		pthread_mutex_lock(&s->lock);
		if (s->lease_ns > now)
			shard_walk(s, (uint64_t)i << (64 - ix->shard_bits), &steps, &more, show_leased, &l);
		pthread_mutex_unlock(&s->lock);
	}
	return more ? 0 : -E2BIG;
}

uint64_t objects_walk(struct objects *ix, uint64_t cursor, unsigned steps, uint64_t now,
		      bool (*fn)(void *arg, const struct object_view *o), void *arg)
{
	struct walk w = { .ix = ix, .now = now, .fn = fn, .arg = arg };
	bool more = true;

	while (steps && more) {
		struct shard *s = shard_of(ix, cursor);

		pthread_mutex_lock(&s->lock);
		cursor = shard_walk(s, cursor, &steps, &more, show, &w);
		pthread_mutex_unlock(&s->lock);
		if (!cursor)
			return 0;
	}
	return cursor;
}
