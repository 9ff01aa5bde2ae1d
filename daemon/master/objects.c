// SPDX-License-Identifier: Apache-2.0
/* The index: slots, objects and their replicas, and what owners say about them. */
#include "objects_private.h"

#include "base/clock.h"

#define SHARDS 1024


int objects_open(const struct objects_opts *o, struct objects **out)
{
	unsigned nr = o->shards ? o->shards : SHARDS;
	struct objects *ix;

	if (!is_pow2(nr) || nr < 2)
		return -EINVAL;
	ix = calloc(1, sizeof(*ix));
	if (!ix)
		return -ENOMEM;
	ix->shards = aligned_alloc(64, nr * sizeof(*ix->shards));
	if (!ix->shards) {
		free(ix);
		return -ENOMEM;
	}
	ix->nr_shards = nr;
	ix->shard_bits = (unsigned)__builtin_ctz(nr);
	ix->lease_ns = o->lease_ns;
	ix->soft_pin_ms = o->soft_pin_ms;
	if (o->hash_key)
		ix->hash_key = *o->hash_key;
	else
		random_bytes(&ix->hash_key, sizeof(ix->hash_key));
	pthread_mutex_init(&ix->lock, NULL);
	for (unsigned i = 0; i < nr; i++)
		shard_init(&ix->shards[i], ix->shard_bits);
	*out = ix;
	return 0;
}

void objects_close(struct objects *ix)
{
	if (!ix)
		return;
	for (unsigned i = 0; i < ix->nr_shards; i++)
		shard_fini(&ix->shards[i]);
	for (unsigned i = 0; i < SLOTS_MAX; i++)
		free(ix->slots[i].heads);
	pthread_mutex_destroy(&ix->lock);
	free(ix->shards);
	free(ix);
}

void objects_stat(struct objects *ix, struct objects_stat *out)
{
	*out = (struct objects_stat){ 0 };
	for (unsigned i = 0; i < ix->nr_shards; i++) {
		struct shard *s = &ix->shards[i];

		pthread_mutex_lock(&s->lock);
		out->objects += s->count;
		out->bytes += s->bytes;
		out->soft_pinned += s->soft_pinned;
		pthread_mutex_unlock(&s->lock);
	}
}

/* ---- slots ---- */

int objects_slot_open(struct objects *ix, uint32_t pool, uint16_t *slot)
{
	struct rep **heads = calloc(ix->nr_shards, sizeof(*heads));
	unsigned i, tried;

	if (!heads)
		return -ENOMEM;
	pthread_mutex_lock(&ix->lock);
	/* In turn, so that a number rests for as long as possible before it means another pool. */
	for (tried = 0; tried < SLOTS_MAX; tried++) {
		i = ix->next_slot++ % SLOTS_MAX;
		if (!ix->slots[i].used)
			break;
	}
	if (tried == SLOTS_MAX) {
		pthread_mutex_unlock(&ix->lock);
		free(heads);
		return -ENOSPC;
	}
	ix->slots[i].used = true;
	ix->slots[i].pool = pool;
	ix->slots[i].heads = heads;
	ix->slots[i].purge_at = 0;
	atomic_store(&ix->slots[i].buried, false);
	atomic_store(&ix->slots[i].replicas, 0);
	atomic_store(&ix->slots[i].objects, 0);
	atomic_store(&ix->slots[i].tenanted, 0);
	pthread_mutex_unlock(&ix->lock);
	objects_slot_set(ix, (uint16_t)i, SLOT_LIVE);
	*slot = (uint16_t)i;
	return 0;
}

void objects_slot_set(struct objects *ix, uint16_t slot, enum slot_state state)
{
	atomic_store(&ix->state[slot], (unsigned char)state);
}

void objects_slot_bury(struct objects *ix, uint16_t slot)
{
	if (atomic_load(&ix->state[slot]) == SLOT_GONE)
		atomic_store(&ix->slots[slot].buried, true);
}

void objects_slot_stat(struct objects *ix, uint16_t slot, struct slot_stat *out)
{
	struct slot *sl = &ix->slots[slot];

	*out = (struct slot_stat){
		.replicas = atomic_load_explicit(&sl->replicas, memory_order_relaxed),
		.objects = atomic_load_explicit(&sl->objects, memory_order_relaxed),
		.tenanted = atomic_load_explicit(&sl->tenanted, memory_order_relaxed),
	};
}

void objects_slot_close(struct objects *ix, uint16_t slot)
{
	pthread_mutex_lock(&ix->lock);
	free(ix->slots[slot].heads);
	ix->slots[slot].heads = NULL;
	ix->slots[slot].used = false;
	pthread_mutex_unlock(&ix->lock);
}

/* ---- replicas of an object; all under its shard's lock ---- */

static void slot_count(struct objects *ix, const struct object *o, const struct rep *r, uint64_t by)
{
	struct slot *sl = &ix->slots[r->slot];

	atomic_fetch_add_explicit(&sl->replicas, by, memory_order_relaxed);
	if (o->key[0])
		atomic_fetch_add_explicit(&sl->tenanted, by, memory_order_relaxed);
	if (r == &o->rep)
		atomic_fetch_add_explicit(&sl->objects, by, memory_order_relaxed);
}

static void rep_chain(struct objects *ix, struct shard *s, struct object *o, struct rep *r)
{
	struct rep **head = &ix->slots[r->slot].heads[s - ix->shards];

	r->obj = o;
	r->next = *head;
	r->pprev = head;
	if (r->next)
		r->next->pprev = &r->next;
	__atomic_store_n(head, r, __ATOMIC_RELAXED); /* objects_prefetch_new() looks without the lock */
	slot_count(ix, o, r, 1);
}

static void rep_unchain(struct objects *ix, const struct object *o, struct rep *r)
{
	__atomic_store_n(r->pprev, r->next, __ATOMIC_RELAXED);
	if (r->next)
		r->next->pprev = r->pprev;
	slot_count(ix, o, r, -(uint64_t)1);
}

/* The first replica lives inside the object: when that one goes, the next moves in. */
static void rep_del(struct objects *ix, struct object *o, struct rep *r)
{
	struct rep_more **at = &o->more, *m;

	rep_unchain(ix, o, r);
	o->nr--;
	if (r == &o->rep) {
		m = o->more;
		if (!m)
			return;
		o->rep = m->rep;
		__atomic_store_n(o->rep.pprev, &o->rep, __ATOMIC_RELAXED);
		if (o->rep.next)
			o->rep.next->pprev = &o->rep.next;
		atomic_fetch_add_explicit(&ix->slots[o->rep.slot].objects, 1, memory_order_relaxed);
	} else {
		while (&(*at)->rep != r)
			at = &(*at)->next;
		m = *at;
	}
	*at = m->next;
	free(m);
}

static void set_loc(struct rep *r, const struct publish_item *it)
{
	const struct loc *l = &it->loc;

	r->off = l->off;
	r->gen = l->gen;
	r->region = l->region;
	r->nr_extents = l->nr_extents;
	r->pending = it->flags & OBJ_PENDING;
}

static int rep_add(struct objects *ix, struct shard *s, struct object *o, uint16_t slot, const struct publish_item *it)
{
	struct rep *r = &o->rep;
	struct rep_more *m;

	if (o->nr) {
		m = malloc(sizeof(*m));
		if (!m)
			return -ENOMEM;
		m->next = o->more;
		o->more = m;
		r = &m->rep;
	}
	*r = (struct rep){ .slot = slot };
	set_loc(r, it);
	rep_chain(ix, s, o, r);
	o->nr++;
	return 0;
}

/* Is there a replica in this state? */
bool object_has(struct objects *ix, struct object *o, enum slot_state state)
{
	struct rep *r;

	for_each_rep(o, r)
		if (rep_state(ix, r) == state)
			return true;
	return false;
}

bool object_whole(struct objects *ix, struct object *o, enum slot_state state)
{
	struct rep *r;

	for_each_rep(o, r)
		if (!r->pending && rep_state(ix, r) == state)
			return true;
	return false;
}

void object_del(struct objects *ix, struct shard *s, struct object *o)
{
	while (o->nr)
		rep_del(ix, o, &o->rep);
	shard_account(s, o, false);
	shard_remove(s, o);
	free(o);
}

void object_reap(struct objects *ix, struct object *o)
{
	struct rep *r, *next;

	for (r = &o->rep; r && o->nr;) {
		if (rep_state(ix, r) != SLOT_GONE) {
			r = rep_next(o, r);
			continue;
		}
		next = r == &o->rep ? &o->rep : rep_next(o, r);
		rep_del(ix, o, r);
		r = next;
	}
}

unsigned objects_slot_purge(struct objects *ix, uint16_t slot, unsigned max)
{
	struct slot *sl = &ix->slots[slot];
	unsigned done = 0;

	while (done < max && sl->purge_at < ix->nr_shards) {
		struct shard *s = &ix->shards[sl->purge_at];
		struct rep *r;

		pthread_mutex_lock(&s->lock);
		while (done < max && (r = sl->heads[sl->purge_at])) {
			struct object *o = r->obj;

			if (o->nr == 1 && (o->flags & (OBJ_BURIED | OBJ_ASTRAY) || atomic_load(&sl->buried)))
				shard_bury(s, o->hash, o->put_id);
			if (o->nr == 1)
				object_del(ix, s, o);
			else
				rep_del(ix, o, r);
			done++;
		}
		if (!sl->heads[sl->purge_at])
			sl->purge_at++;
		pthread_mutex_unlock(&s->lock);
	}
	return done;
}

/* ---- owners ---- */

/* In units of 67 ms, which four bytes have room for. */
static uint32_t soft_time(uint64_t ns)
{
	return (uint32_t)(ns >> 26);
}

static uint32_t soft_end(const struct objects *ix, const struct publish_item *it, uint64_t now)
{
	return soft_time(now + (it->soft_pin_ms ? it->soft_pin_ms : ix->soft_pin_ms) * NSEC_PER_MSEC) + 1;
}

static int publish_new(struct objects *ix, struct shard *s, uint64_t hash, uint16_t slot, const struct publish_item *it,
		       uint64_t now)
{
	struct object *o = malloc(sizeof(*o) + it->key.len);
	int ret;

	if (!o)
		return -ENOMEM;
	*o = (struct object){
		.hash = hash,
		.put_id = it->put_id,
		.size = it->size,
		.key_len = it->key.len,
		.group = it->group,
		.soft_until = soft_end(ix, it, now),
		.flags = (uint16_t)(it->flags & KEPT_FLAGS),
	};
	memcpy(o->key, it->key.data, it->key.len);
	ret = shard_insert(s, o);
	if (ret) {
		free(o);
		return ret;
	}
	shard_account(s, o, true);
	return rep_add(ix, s, o, slot, it); /* the first needs no memory */
}

/* Another put takes the object over: holders elsewhere go to @old, all replicas are forgotten. */
static int publish_over(struct objects *ix, struct shard *s, struct object *o, uint16_t slot, const struct publish_item *it,
			uint64_t now, struct holder *old, unsigned *nr_old)
{
	bool pinned = it->flags & OBJ_KEEP_PIN && !(it->flags & OBJ_SOFT_PIN) && o->flags & OBJ_SOFT_PIN &&
		      o->soft_until > soft_time(now);
	struct rep *r;

	for_each_rep(o, r) {
		if (rep_state(ix, r) != SLOT_GONE)
			old[(*nr_old)++] = (struct holder){ r->slot, ix->slots[r->slot].pool, r->gen };
		else if (it->flags & OBJ_REPLACE)
			shard_bury(s, o->hash, o->put_id); /* should the new one go first: the old one is not it */
	}
	while (o->nr)
		rep_del(ix, o, &o->rep);
	shard_account(s, o, false);
	if (o->flags & (OBJ_BOUND | OBJ_ASTRAY))
		shard_bury(s, o->hash, o->put_id); /* a copy of the old one may still be on its way */
	o->put_id = it->put_id;
	o->size = it->size;
	o->flags = (uint16_t)((it->flags & KEPT_FLAGS) | (pinned ? OBJ_SOFT_PIN : 0));
	if (!pinned)
		o->soft_until = soft_end(ix, it, now);
	o->group = it->group || !(it->flags & OBJ_REPLACE) ? it->group : o->group;
	o->lease_ns = 0;
	shard_account(s, o, true);
	return rep_add(ix, s, o, slot, it);
}

/* Removed while a pool that had it was away: nobody may bring it back. */
static bool is_buried(struct objects *ix, struct object *o)
{
	struct rep *r;

	if (o->flags & OBJ_BURIED)
		return true;
	for_each_rep(o, r)
		if (rep_state(ix, r) == SLOT_GONE && atomic_load_explicit(&ix->slots[r->slot].buried, memory_order_relaxed))
			return true;
	return false;
}

static int publish_more(struct objects *ix, struct shard *s, struct object *o, uint16_t slot, const struct publish_item *it)
{
	struct rep *r;

	if (o->size != it->size)
		return -EINVAL;
	if (unlikely(is_buried(ix, o)))
		return -EEXIST;
	for_each_rep(o, r)
		if (r->slot == slot) {
			set_loc(r, it);
			return 0;
		}
	if (o->nr >= REPLICAS_MAX)
		object_reap(ix, o);
	if (o->nr >= REPLICAS_MAX)
		return -ENOSPC;
	return rep_add(ix, s, o, slot, it);
}

/* A key stays in its group for as long as somebody has it. */
static bool other_group(struct objects *ix, struct object *o, const struct publish_item *it)
{
	return it->group && it->group != o->group && (object_has(ix, o, SLOT_LIVE) || object_has(ix, o, SLOT_HIDDEN));
}

/* Nobody waits for a pool that is away. But what may never come takes the place of nothing that may have been promised. */
static int may_take_over(struct objects *ix, struct object *o, const struct publish_item *it)
{
	if (object_whole(ix, o, SLOT_LIVE) || object_whole(ix, o, SLOT_HIDDEN))
		return -EEXIST;
	if (object_has(ix, o, SLOT_LIVE))
		return -EALREADY;
	return it->flags & OBJ_PENDING && object_has(ix, o, SLOT_HIDDEN) ? -EAGAIN : 0;
}

bool objects_inherited(struct objects *ix, const struct publish_item *it, uint64_t now, struct inherited *out)
{
	uint64_t hash = hash_of(ix, &it->key);
	struct shard *s = shard_of(ix, hash);
	const struct object *o;

	*out = (struct inherited){ 0 };
	if (!(it->flags & OBJ_REPLACE))
		return false;
	pthread_mutex_lock(&s->lock);
	o = shard_find(s, hash, &it->key);
	if (o && o->put_id == it->put_id) {
		out->group = it->group ? 0 : o->group;
		if (it->flags & OBJ_KEEP_PIN && !(it->flags & OBJ_SOFT_PIN) && o->flags & OBJ_SOFT_PIN && o->soft_until > soft_time(now))
			out->soft_pin_ms = (uint32_t)MIN(((uint64_t)(o->soft_until - soft_time(now)) << 26) / NSEC_PER_MSEC,
							 (uint64_t)UINT32_MAX);
	}
	pthread_mutex_unlock(&s->lock);
	return out->group || out->soft_pin_ms;
}

int objects_publish(struct objects *ix, uint16_t slot, const struct publish_item *it, uint64_t now, struct holder old[REPLICAS_MAX],
		    unsigned *nr_old)
{
	uint64_t hash = hash_of(ix, &it->key);
	struct shard *s = shard_of(ix, hash);
	struct object *o;
	int ret;

	*nr_old = 0;
	pthread_mutex_lock(&s->lock);
	o = shard_find(s, hash, &it->key);
	if (unlikely(s->graves) && shard_buried(s, hash, it->put_id))
		ret = -EEXIST;
	else if (!o)
		ret = publish_new(ix, s, hash, slot, it, now);
	else if (o->put_id == it->put_id)
		ret = publish_more(ix, s, o, slot, it);
	else
		ret = !(it->flags & OBJ_REPLACE) ? may_take_over(ix, o, it) : other_group(ix, o, it) ? -EINVAL : 0;
	if (o && o->put_id != it->put_id && !ret)
		ret = publish_over(ix, s, o, slot, it, now, old, nr_old);
	pthread_mutex_unlock(&s->lock);
	return ret;
}

static struct rep *rep_of(struct object *o, uint16_t slot, uint64_t gen)
{
	struct rep *r;

	for_each_rep(o, r)
		if (r->slot == slot && r->gen == gen)
			return r;
	return NULL;
}

bool objects_stored(struct objects *ix, uint16_t slot, const struct key *key, uint64_t gen)
{
	uint64_t hash = hash_of(ix, key);
	struct shard *s = shard_of(ix, hash);
	struct object *o;
	struct rep *r;
	bool was;

	pthread_mutex_lock(&s->lock);
	o = shard_find(s, hash, key);
	r = o ? rep_of(o, slot, gen) : NULL;
	was = r && r->pending;
	if (r)
		r->pending = false;
	pthread_mutex_unlock(&s->lock);
	return was;
}

bool objects_move(struct objects *ix, uint16_t from, uint16_t to, const struct key *key, uint64_t gen)
{
	uint64_t hash = hash_of(ix, key);
	struct shard *s = shard_of(ix, hash);
	struct object *o;
	struct rep *r;

	pthread_mutex_lock(&s->lock);
	o = shard_find(s, hash, key);
	r = o ? rep_of(o, from, gen) : NULL;
	if (r) {
		rep_unchain(ix, o, r);
		r->slot = to;
		rep_chain(ix, s, o, r);
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

static bool take_out(struct objects *ix, uint16_t slot, const struct key *key, uint64_t gen, bool bury)
{
	uint64_t hash = hash_of(ix, key);
	struct shard *s = shard_of(ix, hash);
	struct object *o;
	struct rep *r;

	pthread_mutex_lock(&s->lock);
	o = shard_find(s, hash, key);
	if (!o)
		goto out;
	r = rep_of(o, slot, gen);
	if (!r) {
		o = NULL;
		goto out;
	}
	if (bury || (o->nr == 1 && o->flags & OBJ_ASTRAY))
		shard_bury(s, o->hash, o->put_id);
	if (o->nr == 1)
		object_del(ix, s, o);
	else
		rep_del(ix, o, r);
out:
	pthread_mutex_unlock(&s->lock);
	return o;
}

bool objects_withdraw(struct objects *ix, uint16_t slot, const struct key *key, uint64_t gen)
{
	return take_out(ix, slot, key, gen, false);
}

bool objects_bury(struct objects *ix, uint16_t slot, const struct key *key, uint64_t gen)
{
	return take_out(ix, slot, key, gen, true);
}
