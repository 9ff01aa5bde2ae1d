/* SPDX-License-Identifier: Apache-2.0 */
/* A pool whose objects are numbers: the bytes of each say which it is. */
#ifndef POOL_PUTS_H
#define POOL_PUTS_H

#include "pool_rig.h"

#define LEASE 1000000000u

static inline struct pool *pool_of(uint64_t bytes)
{
	struct pool_opts o = { .name = "test", .bytes = bytes };
	struct pool *p = NULL;

	if (pool_create(&o, &p))
		abort();
	return p;
}

static inline bool reads(struct pool *p, const struct key *key, uint64_t size, uint64_t seed)
{
	uint8_t *out = malloc(size + 1);
	uint64_t got = 0;
	bool ok;

	ok = !rig_get(pool_view(p), key, out, size, &got) && got == size &&
	     rig_check(out, size, seed);
	free(out);
	return ok;
}

static inline int put(struct pool *p, unsigned long nr, uint64_t size, uint32_t flags)
{
	uint8_t *data = malloc(size);
	struct rig_key k;
	int ret;

	rig_fill(data, size, nr);
	ret = rig_put(p, rig_key(&k, nr), data, size, flags);
	free(data);
	return ret;
}

static inline bool has(struct pool *p, unsigned long nr, uint64_t size)
{
	struct rig_key k;

	return reads(p, rig_key(&k, nr), size, nr);
}

static inline int find(struct pool *p, unsigned long nr, struct found *f)
{
	struct rig_key k;

	rig_key(&k, nr);
	return view_lookup(pool_view(p), k.key.data, k.key.len, f);
}

#endif
