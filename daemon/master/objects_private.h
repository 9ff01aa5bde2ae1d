/* SPDX-License-Identifier: Apache-2.0 */
/* Between objects.c and objects_query.c. */
#ifndef MC_MASTER_OBJECTS_PRIVATE_H
#define MC_MASTER_OBJECTS_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "objects.h"
#include "table.h"

struct slot {
	uint32_t pool;
	bool used;
	atomic_bool buried;
	_Atomic uint64_t replicas, objects, tenanted; /* struct slot_stat */
	unsigned purge_at; /* the shard where purging goes on */
	struct rep **heads; /* one chain per shard, under that shard's lock */
};

struct objects {
	struct hash_key hash_key;
	uint64_t lease_ns;
	uint32_t soft_pin_ms;
	unsigned nr_shards, shard_bits;
	struct shard *shards;
	atomic_uchar state[SLOTS_MAX]; /* enum slot_state */
	atomic_uint bound; /* objects_bind() without objects_unbind() yet */

	pthread_mutex_t lock; /* opening and closing of slots */
	struct slot slots[SLOTS_MAX];
	unsigned next_slot;
};

/* What owners say that describes the object itself, and our own bits: one that was removed while some of its pools were away. */
#define KEPT_FLAGS (OBJ_HARD_PIN | OBJ_SOFT_PIN | OBJ_CRC | OBJ_TYPE)
#define OBJ_BURIED 0x80
#define OBJ_BOUND 0x40 /* a task copies or moves it */
#define OBJ_ASTRAY 0x20 /* a copy that a task gave up may still come; once the object is gone it is refused */

static inline enum slot_state rep_state(struct objects *ix, const struct rep *r)
{
	return (enum slot_state)atomic_load_explicit(&ix->state[r->slot], memory_order_relaxed);
}

static inline uint64_t hash_of(const struct objects *ix, const struct key *k)
{
	return siphash64(&ix->hash_key, k->data, k->len);
}

static inline struct shard *shard_of(const struct objects *ix, uint64_t hash)
{
	return &ix->shards[hash >> (64 - ix->shard_bits)];
}

/* ---- replicas of an object; all under its shard's lock ---- */

static inline struct rep *rep_next(struct object *o, struct rep *r)
{
	struct rep_more *m = r == &o->rep ? o->more : container_of(r, struct rep_more, rep)->next;

	return m ? &m->rep : NULL;
}

#define for_each_rep(o, r) for (r = (o)->nr ? &(o)->rep : NULL; r; r = rep_next(o, r))

bool object_has(struct objects *ix, struct object *o, enum slot_state state);
bool object_whole(struct objects *ix, struct object *o, enum slot_state state); /* a replica in this state that is not pending */
void object_reap(struct objects *ix, struct object *o); /* replicas whose slot is gone; none may be left */
void object_del(struct objects *ix, struct shard *s, struct object *o);

#endif
