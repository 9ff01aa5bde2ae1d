/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tests of the pool share: putting an object in the two ways an owner knows, and contents
 * that can be checked.
 */
#ifndef POOL_RIG_H
#define POOL_RIG_H

#include <stdio.h>
#include <sys/uio.h>

#include "pool/pool.h"

#define RIG_KEY_MAX 64

/* EXPECT_EQ(size, 5) */
#pragma GCC diagnostic ignored "-Wsign-compare"

struct rig_key {
	char text[RIG_KEY_MAX];
	struct key key;
};

/* A full key of the default tenant. */
static inline struct key *rig_key(struct rig_key *k, unsigned long nr)
{
	k->text[0] = 0;
	k->key.len = (uint16_t)(1 + snprintf(k->text + 1, sizeof(k->text) - 1, "key-%lu", nr));
	k->key.data = k->text;
	return &k->key;
}

/* Bytes that tell which object, which version and which offset they are. */
static inline void rig_fill(void *out, uint64_t len, uint64_t seed)
{
	uint64_t x = seed * 0x9e3779b97f4a7c15u + 1;
	uint8_t *p = out;

	for (uint64_t i = 0; i < len; i += 8) {
		uint64_t v = x + i * 0xd1342543de82ef95u;

		memcpy(p + i, &v, len - i < 8 ? len - i : 8);
	}
}

static inline bool rig_check(const void *data, uint64_t len, uint64_t seed)
{
	uint64_t x = seed * 0x9e3779b97f4a7c15u + 1;
	const uint8_t *p = data;

	for (uint64_t i = 0; i < len; i += 8) {
		uint64_t v = x + i * 0xd1342543de82ef95u;

		if (memcmp(p + i, &v, len - i < 8 ? len - i : 8))
			return false;
	}
	return true;
}

static inline struct publish_item rig_item(const struct extents *x, const struct key *key,
					   uint32_t flags)
{
	return (struct publish_item){ .key = *key,
				      .put_id = x->put_id,
				      .size = x->size,
				      .flags = flags,
				      .loc = extents_loc(x) };
}

/* As an owner that receives the bytes. */
static inline int rig_put_in(struct pool *p, const struct key *key, const void *data, uint64_t size,
			     uint32_t flags, uint32_t group, uint32_t soft_pin_ms)
{
	struct iovec iov = { (void *)(uintptr_t)data, size };
	struct publish_item it;
	struct staged *s;
	struct extents x;
	int ret;

	ret = pool_alloc(p, size, key->len, &x);
	if (ret)
		return ret;
	x.put_id = x.gen;
	extents_fill(pool_view(p), &x, key, (uint16_t)flags, &iov, 1);
	it = rig_item(&x, key, flags);
	it.group = group;
	it.soft_pin_ms = soft_pin_ms;
	ret = pool_stage_own(p, &x, &it, &s);
	if (ret) {
		pool_alloc_undo(p, &x);
		return ret;
	}
	pool_publish(p, s);
	return 0;
}

static inline int rig_put(struct pool *p, const struct key *key, const void *data, uint64_t size,
			  uint32_t flags)
{
	return rig_put_in(p, key, data, size, flags, 0, 0);
}

/* A client with grants, in the owner's process. */
struct rig_client {
	struct pool_holder holder;
	struct range_set runs[POOL_REGIONS_MAX];
	uint64_t gen, gens;
	struct scratch scratch;
};

static inline int rig_grant(struct pool *p, struct rig_client *c, uint64_t bytes)
{
	struct msg_grant_reply m;
	int ret;

	scratch_reset(&c->scratch);
	ret = pool_grant(p, &c->holder, bytes, &c->scratch, &m);
	if (ret)
		return ret;
	c->gen = m.gen;
	c->gens = m.gen_count;
	return view_granted(pool_view(p), &m, c->runs);
}

static inline void rig_client_fini(struct pool *p, struct rig_client *c)
{
	pool_holder_fini(p, &c->holder);
	for (unsigned i = 0; i < POOL_REGIONS_MAX; i++)
		range_set_fini(&c->runs[i]);
	scratch_fini(&c->scratch);
}

static inline int rig_get(const struct pool_view *v, const struct key *key, void *out, uint64_t max,
			  uint64_t *size)
{
	struct found f;
	int ret;

	ret = view_lookup(v, key->data, key->len, &f);
	if (ret)
		return ret;
	if (f.size > max)
		return -EMSGSIZE;
	*size = f.size;
	return view_read(v, &f.loc, f.size, 0, out, f.size);
}

#endif
