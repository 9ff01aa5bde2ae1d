/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where remote objects were last seen. Four ways per set, the oldest goes; a set has its own lock. Safe to be wrong: a read
 * is validated, and a wrong place costs one more question to the master.
 */
#include "store/store.h"

#include "base/hash.h"

#define WAYS 4

struct slot {
	uint64_t hash[2];
	struct cached v;
};

struct set {
	pthread_spinlock_t lock;
	uint32_t next; /* the way to overwrite */
	struct slot way[WAYS];
};

struct loc_cache {
	struct hash_key key;
	uint64_t mask;
	struct set set[];
};

int cache_open(unsigned entries, struct loc_cache **out)
{
	uint64_t sets = 1;
	struct loc_cache *c;

	while (sets * WAYS < entries)
		sets *= 2;
	c = calloc(1, sizeof(*c) + sets * sizeof(c->set[0]));
	if (!c)
		return -ENOMEM;
	c->mask = sets - 1;
	random_bytes(&c->key, sizeof(c->key));
	for (uint64_t i = 0; i < sets; i++)
		pthread_spin_init(&c->set[i].lock, PTHREAD_PROCESS_PRIVATE);
	*out = c;
	return 0;
}

void cache_close(struct loc_cache *c)
{
	if (!c)
		return;
	for (uint64_t i = 0; i <= c->mask; i++)
		pthread_spin_destroy(&c->set[i].lock);
	free(c);
}

/* The set of @key, locked, and the key's hash. 0 is the mark of an empty slot, so no hash is 0. */
static struct set *lock_set(struct loc_cache *c, const struct key *key, uint64_t hash[2])
{
	struct set *s;

	siphash128(&c->key, key->data, key->len, hash);
	hash[1] |= 1;
	s = &c->set[hash[0] & c->mask];
	pthread_spin_lock(&s->lock);
	return s;
}

static struct slot *find(struct set *s, const uint64_t hash[2])
{
	for (unsigned i = 0; i < WAYS; i++)
		if (s->way[i].hash[0] == hash[0] && s->way[i].hash[1] == hash[1])
			return &s->way[i];
	return NULL;
}

bool cache_find(struct loc_cache *c, const struct key *key, struct cached *out)
{
	uint64_t hash[2];
	struct set *s = lock_set(c, key, hash);
	struct slot *slot = find(s, hash);

	if (slot)
		*out = slot->v;
	pthread_spin_unlock(&s->lock);
	return slot;
}

void cache_store(struct loc_cache *c, const struct key *key, const struct cached *v)
{
	uint64_t hash[2];
	struct set *s = lock_set(c, key, hash);
	struct slot *slot = find(s, hash);

	if (!slot)
		slot = &s->way[s->next++ % WAYS];
	memcpy(slot->hash, hash, sizeof(slot->hash));
	slot->v = *v;
	pthread_spin_unlock(&s->lock);
}

void cache_drop(struct loc_cache *c, const struct key *key)
{
	uint64_t hash[2];
	struct set *s = lock_set(c, key, hash);
	struct slot *slot = find(s, hash);

	if (slot)
		memset(slot->hash, 0, sizeof(slot->hash));
	pthread_spin_unlock(&s->lock);
}
