// SPDX-License-Identifier: Apache-2.0
/* The index, one replica at a time: which of an object's may go. */
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
	ret = o->lease_ns > now ? -EBUSY : incomplete(ix, o) ? -EAGAIN : 0;
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
