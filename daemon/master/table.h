/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One shard of the index: an open-addressing table of pointers with a piece of the hash in their upper bits, so that a look-up
 * touches one line of the table and one object. Home places are the hash's leading bits: the table lies in the order of the
 * hash, growing keeps that order, and a walk is a range of hashes. All under the shard's lock.
 */
#ifndef MC_MASTER_TABLE_H
#define MC_MASTER_TABLE_H

#include <pthread.h>

#include "base/base.h"
#include "proto/proto.h"

struct object;

struct rep {
	struct rep *next, **pprev; /* the slot's chain in this shard */
	struct object *obj;
	uint64_t off, gen;
	uint16_t slot, region, nr_extents;
	bool pending; /* its bytes may not be there yet: the owner will say */
};

struct rep_more {
	struct rep_more *next;
	struct rep rep;
};

struct object {
	uint64_t hash, put_id, size, lease_ns;
	struct rep_more *more; /* replicas after the first */
	struct rep rep;	       /* valid while nr */
	uint32_t group; /* 0: none */
	uint32_t soft_until; /* soft_time(), of OBJ_SOFT_PIN */
	uint16_t key_len, flags;
	uint8_t nr;
	uint8_t key[];
};

/* What every change needs lies in the first line. */
struct shard {
	pthread_mutex_t lock;
	uint64_t *table; /* NULL: nothing was inserted yet */
	uint8_t bits, shard_bits; /* log2 of the table's places, of the number of shards */
	uint32_t count;
	uint64_t bytes;
	uint64_t lease_ns; /* the latest ever granted here */
	uint32_t soft_pinned;
	struct graves *graves; /* NULL: nobody lies there */
} __attribute__((aligned(64)));

/*
 * Puts that were removed while a pool that has them was away, and that nothing else reminds of any more. That pool may come back
 * with them. So many per shard: the oldest gives way.
 */
#define GRAVES_MAX 256
void shard_bury(struct shard *s, uint64_t hash, uint64_t put_id);
bool shard_buried(const struct shard *s, uint64_t hash, uint64_t put_id);

void shard_init(struct shard *s, unsigned shard_bits);
void shard_fini(struct shard *s); /* frees the objects too */

struct object *shard_find(const struct shard *s, uint64_t hash, const struct key *key);
int shard_insert(struct shard *s, struct object *o); /* not there yet; -ENOMEM */
void shard_remove(struct shard *s, struct object *o);
void shard_account(struct shard *s, const struct object *o, bool add); /* the sums, not the table */

/* Hints for a look-up that comes soon: the line of the table (without the lock), then the object. */
void shard_prefetch(const struct shard *s, uint64_t hash);
void shard_prefetch_object(const struct shard *s, uint64_t hash);

/*
 * Objects from hash @cursor on, in order, until @fn says false (@more becomes false, that object's hash is returned), @steps
 * places were visited, or the shard ends. Return: where to go on: a hash, maybe the next shard's first; 0 after the last.
 */
uint64_t shard_walk(const struct shard *s, uint64_t cursor, unsigned *steps, bool *more, bool (*fn)(void *arg, struct object *o),
		    void *arg);

#endif
