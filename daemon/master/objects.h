/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index: which object is where. Data with functions on it: no sockets, no clock of its own, time is an argument.
 *
 * Keys are spread over shards by a keyed hash; a shard is a table of pointers in the order of the hash, under a lock that one
 * operation holds for a moment. A *slot* is one life of a pool as seen from here: from joining until it is lost, leaves, joins
 * anew or is emptied. What is in a hidden slot is not shown, but it counts: its pool may answer again. What is in a slot that is
 * gone gives way to any put, and is freed in steps along the slot's chain in each shard: a lost pool costs what it held.
 *
 * Every function is thread-safe unless it says otherwise. Lock order: a caller's lock, then one shard.
 */
#ifndef MC_MASTER_OBJECTS_H
#define MC_MASTER_OBJECTS_H

#include "base/base.h"
#include "base/hash.h"
#include "proto/proto.h"

struct objects;

#define SLOTS_MAX 16384 /* live ones and those being freed */

struct objects_opts {
	unsigned shards;   /* power of two; 0: 1024 */
	uint64_t lease_ns; /* granted by a touch */
	uint32_t soft_pin_ms; /* of puts that do not say how long */
	const struct hash_key *hash_key; /* NULL: random, as outside of tests */
};

struct objects_stat {
	uint64_t objects; /* invisible ones included until they are freed */
	uint64_t bytes;	  /* of one copy of each */
	uint64_t soft_pinned;
};

/* A replica somebody has to drop. */
struct holder {
	uint16_t slot;
	uint32_t pool;
	uint64_t gen;
};

int objects_open(const struct objects_opts *o, struct objects **out);
void objects_close(struct objects *ix); /* no thread may be inside */
void objects_stat(struct objects *ix, struct objects_stat *out);

/* ---- slots (the caller serialises calls for one slot) ------------------------------------------------------------ */

enum slot_state { SLOT_GONE, SLOT_LIVE, SLOT_HIDDEN };

/* A live slot of the pool that others know as @pool. -ENOSPC, -ENOMEM. */
int objects_slot_open(struct objects *ix, uint32_t pool, uint16_t *slot);
void objects_slot_set(struct objects *ix, uint16_t slot, enum slot_state state);

/* A replica that stays when its slot is given up: it is in @to from now on. Return: was it in @from? */
bool objects_move(struct objects *ix, uint16_t from, uint16_t to, const struct key *key, uint64_t gen);

/* All that is in a slot was removed: if it is gone, nobody may publish these puts again. */
void objects_slot_bury(struct objects *ix, uint16_t slot);

struct slot_stat {
	uint64_t replicas;
	uint64_t objects; /* whose first replica is here: over all slots, each object is counted once */
	uint64_t tenanted; /* replicas of objects of other tenants than the default one */
};
void objects_slot_stat(struct objects *ix, uint16_t slot, struct slot_stat *out);

/* Forgets up to @max replicas of a slot that is gone. Return: how many. */
unsigned objects_slot_purge(struct objects *ix, uint16_t slot, unsigned max);
void objects_slot_close(struct objects *ix, uint16_t slot); /* empty: the number may be used again */

/* ---- owners ------------------------------------------------------------------------------------------------------ */

/*
 * A replica is in @slot now. The first put of a key wins and its replicas share a put_id; OBJ_REPLACE takes the place of
 * another put, whose holders elsewhere are then in @old[*nr_old] for the caller to tell.
 * OBJ_PENDING: the bytes are still being written, and objects_stored() or a withdrawal will follow.
 * Return: 0; -EEXIST another put was first, or this one was removed; -EALREADY another put may be first: all it has in live slots
 * is pending; -EAGAIN a pending one cannot take the place of what may come back; -EINVAL the replicas of one put differ in size, or
 * it would move the key to another group;
 * -ENOSPC too many replicas; -ENOMEM.
 */
int objects_publish(struct objects *ix, uint16_t slot, const struct publish_item *it, uint64_t now, struct holder old[REPLICAS_MAX],
		    unsigned *nr_old);

/* What an item that was just published, and replaces, has of what was there: its owner may not know. Return: anything? */
bool objects_inherited(struct objects *ix, const struct publish_item *it, uint64_t now, struct inherited *out);

/* The replica of generation @gen is not pending any more. Return: was it? */
bool objects_stored(struct objects *ix, uint16_t slot, const struct key *key, uint64_t gen);

/* The replica of generation @gen is gone from @slot. Return: was it known? */
bool objects_withdraw(struct objects *ix, uint16_t slot, const struct key *key, uint64_t gen);

/* The same for a replica that was removed, but whose pool did not say so: should it come with it, it is refused. */
bool objects_bury(struct objects *ix, uint16_t slot, const struct key *key, uint64_t gen);

/* ---- clients ----------------------------------------------------------------------------------------------------- */

/* found[i] = 1: a live replica exists; 2: all live ones are pending. @touch grants leases. Return: how many of both. */
uint32_t objects_exist(struct objects *ix, const struct key *keys, uint32_t nr, bool touch, uint64_t now, uint8_t *found);

/* A hint before up to OBJECTS_BATCH calls, for these keys, @stride bytes apart: memory is fetched for all at once. */
#define OBJECTS_BATCH 64
void objects_prefetch(struct objects *ix, const struct key *first, size_t stride, uint32_t nr);
/* For publishing. */
void objects_prefetch_new(struct objects *ix, uint16_t slot, const struct key *first, size_t stride, uint32_t nr);

/* Fills @out (its status too): live replicas only. OBJ_PENDING among the flags: all of them are. */
void objects_locate(struct objects *ix, const struct key *key, bool touch, uint64_t now, struct located *out);

/*
 * May the object go, and who has to be told? A pool that had it and is away will not bring it back.
 * Return: 0 and its holders; -EBUSY leased, and not @force; -ETXTBSY a task has it; -ENOENT.
 */
int objects_holders(struct objects *ix, const struct key *key, bool force, uint64_t now, struct holder out[REPLICAS_MAX],
		    unsigned *nr);

/* A set of pools, by index. */
struct pool_mask {
	uint64_t bits[POOLS_MAX / 64];
};
void pool_mask_add(struct pool_mask *m, uint32_t pool);
bool pool_mask_has(const struct pool_mask *m, uint32_t pool); /* NULL: all */

/*
 * The same for what the put @put_id stored, as far as it is in the pools of @in. -ENOENT also when another put is there, or
 * nothing in these pools; -EBUSY leased; -ETXTBSY a task has it; -EAGAIN a replica of it is pending.
 */
int objects_clear(struct objects *ix, const struct key *key, uint64_t put_id, const struct pool_mask *in, uint64_t now,
		  struct holder out[REPLICAS_MAX], unsigned *nr);

/* ---- copying and moving: one task at a time per object ------------------------------------------------------------ */

/* Until objects_unbind() nobody removes the object. -ENOENT; -EBUSY another task has it, or it is pending. */
int objects_bind(struct objects *ix, const struct key *key, uint64_t put_id);
/* @astray: a copy may still be on its way; should the object be gone by then, it must not come back with it. */
void objects_unbind(struct objects *ix, const struct key *key, uint64_t put_id, bool astray);
bool objects_bound(const struct objects *ix); /* is any? */

/* The whole, visible replica of that put in a pool, or -ENOENT. */
int objects_replica(struct objects *ix, const struct key *key, uint64_t put_id, uint32_t pool, struct holder *out);

/* The same, and -EAGAIN unless there is one in @other, too: it may be dropped. */
int objects_spare(struct objects *ix, const struct key *key, uint64_t put_id, uint32_t pool, uint32_t other, struct holder *out);

/* ---- walking ----------------------------------------------------------------------------------------------------- */

/* Valid during the callback. */
struct object_view {
	struct key key;
	uint64_t size;
	uint32_t flags;
	uint8_t nr_replicas; /* live ones */
	bool leased;
};

/*
 * Shows visible objects in the order of their hash, from @cursor (0: the beginning), until @fn returns false (that object is
 * shown again) or @steps places of the tables were looked at. An object that is there all the time is shown exactly once,
 * whatever else changes. @fn runs under a shard's lock: it copies, and calls nothing here.
 * Return: the next cursor; 0: the end.
 */
uint64_t objects_walk(struct objects *ix, uint64_t cursor, unsigned steps, uint64_t now,
		      bool (*fn)(void *arg, const struct object_view *o), void *arg);

/* Shows those that are leased, if that is quick. -E2BIG: it is not, there are more than @max, or @fn had enough. */
int objects_each_leased(struct objects *ix, uint64_t now, uint32_t max, bool (*fn)(void *arg, const struct object_view *o),
			void *arg);

#endif
