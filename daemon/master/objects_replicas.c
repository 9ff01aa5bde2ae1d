// SPDX-License-Identifier: Apache-2.0
/* The index, one replica at a time: which of an object's may go, and what a task does to them. */
#include "objects_private.h"

bool pool_mask_has(const struct pool_mask *m, uint32_t pool)
{
	return !m || (m->bits[pool / 64] >> pool % 64 & 1);
}

void pool_mask_add(struct pool_mask *m, uint32_t pool)
{
	m->bits[pool / 64] |= (uint64_t)1 << pool % 64;
}

/* Is any replica one whose bytes may not be there yet? */
static bool incomplete(struct objects *ix, struct object *o)
{
	struct rep *r;

	for_each_rep(o, r)
		if (r->pending && rep_state(ix, r) != SLOT_GONE)
			return true;
	return false;
}

int objects_clear(struct objects *ix, const struct key *key, uint64_t put_id, const struct pool_mask *in, uint64_t now,
		  struct holder out[REPLICAS_MAX], unsigned *nr)
{
	uint64_t hash = hash_of(ix, key);
	struct shard *s = shard_of(ix, hash);
	struct object *o;
	struct rep *r;
	int ret = -ENOENT;

	*nr = 0;
	pthread_mutex_lock(&s->lock);
	o = shard_find(s, hash, key);
	if (!o || o->put_id != put_id || !object_has(ix, o, SLOT_LIVE))
		goto out;
	ret = o->flags & OBJ_BOUND ? -ETXTBSY : o->lease_ns > now ? -EBUSY : incomplete(ix, o) ? -EAGAIN : 0;
	if (ret)
		goto out;
	for_each_rep(o, r) {
		if (rep_state(ix, r) == SLOT_GONE)
			o->flags |= in ? 0 : OBJ_BURIED; /* it may come back, and must not with the whole object's copy */
		else if (pool_mask_has(in, ix->slots[r->slot].pool))
			out[(*nr)++] = (struct holder){ r->slot, ix->slots[r->slot].pool, r->gen };
	}
	ret = *nr ? 0 : -ENOENT;
out:
	pthread_mutex_unlock(&s->lock);
	return ret;
}

/* ---- tasks ---- */

int objects_bind(struct objects *ix, const struct key *key, uint64_t put_id)
{
	uint64_t hash = hash_of(ix, key);
	struct shard *s = shard_of(ix, hash);
	struct object *o;
	int ret = 0;

	pthread_mutex_lock(&s->lock);
	o = shard_find(s, hash, key);
	if (!o || o->put_id != put_id || !object_has(ix, o, SLOT_LIVE))
		ret = -ENOENT;
	else if (o->flags & OBJ_BOUND || !object_whole(ix, o, SLOT_LIVE))
		ret = -EBUSY;
	else
		o->flags |= OBJ_BOUND;
	pthread_mutex_unlock(&s->lock);
	if (!ret)
		atomic_fetch_add(&ix->bound, 1);
	return ret;
}

/* The object may have gone, or be another put's by now. */
void objects_unbind(struct objects *ix, const struct key *key, uint64_t put_id, bool astray)
{
	uint64_t hash = hash_of(ix, key);
	struct shard *s = shard_of(ix, hash);
	struct object *o;

	pthread_mutex_lock(&s->lock);
	o = shard_find(s, hash, key);
	if (o && o->put_id == put_id)
		o->flags = (uint8_t)((o->flags & ~OBJ_BOUND) | (astray ? OBJ_ASTRAY : 0));
	pthread_mutex_unlock(&s->lock);
	atomic_fetch_sub(&ix->bound, 1);
}

bool objects_bound(const struct objects *ix)
{
	return atomic_load(&ix->bound);
}

static bool whole_in(struct objects *ix, struct object *o, uint32_t pool, struct holder *out)
{
	struct rep *r;

	for_each_rep(o, r) {
		if (r->pending || rep_state(ix, r) != SLOT_LIVE || ix->slots[r->slot].pool != pool)
			continue;
		*out = (struct holder){ r->slot, pool, r->gen };
		return true;
	}
	return false;
}

static int find_replica(struct objects *ix, const struct key *key, uint64_t put_id, uint32_t pool, const uint32_t *other,
			struct holder *out)
{
	uint64_t hash = hash_of(ix, key);
	struct shard *s = shard_of(ix, hash);
	struct holder there;
	struct object *o;
	int ret = -ENOENT;

	pthread_mutex_lock(&s->lock);
	o = shard_find(s, hash, key);
	if (o && o->put_id == put_id && whole_in(ix, o, pool, out))
		ret = other && !whole_in(ix, o, *other, &there) ? -EAGAIN : 0;
	pthread_mutex_unlock(&s->lock);
	return ret;
}

int objects_replica(struct objects *ix, const struct key *key, uint64_t put_id, uint32_t pool, struct holder *out)
{
	return find_replica(ix, key, put_id, pool, NULL, out);
}

int objects_spare(struct objects *ix, const struct key *key, uint64_t put_id, uint32_t pool, uint32_t other, struct holder *out)
{
	return find_replica(ix, key, put_id, pool, &other, out);
}
