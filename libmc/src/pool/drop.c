// SPDX-License-Identifier: Apache-2.0
/* Finding, listing and removing objects, one or all of a prefix. */
#include "pool/inner.h"

uint32_t find_key(const struct pool *p, const struct key *key)
{
	uint64_t hash[2];

	siphash128(&p->view.hash_key, key->data, key->len, hash);
	return dir_find(p, hash);
}

int pool_find(struct pool *p, const struct key *key, struct publish_item *out)
{
	uint32_t i = find_key(p, key);

	if (i == NIL || announced_writing(p, i))
		return -ENOENT;
	entry_item(p, i, out);
	out->key = *key;
	return 0;
}

uint32_t pool_walk(struct pool *p, uint64_t *cursor, uint32_t max, struct publish_item *out)
{
	uint64_t i = *cursor, top = dir_top(p);
	uint32_t nr = 0;

	for (; i < top && nr < max; i++) {
		struct key key;

		fetch_object(p, i + FETCH_AHEAD, true, false);
		/*
		 * An object whose key was overwritten cannot be named any more: it waits for its
		 * eviction.
		 */
		if (!entry_gen(p, (uint32_t)i) || !entry_key(p, (uint32_t)i, &key))
			continue;
		entry_item(p, (uint32_t)i, &out[nr]);
		out[nr++].key = key;
	}
	*cursor = i < top ? i : 0;
	return nr;
}

static bool leased(const struct pool *p, uint32_t i, uint64_t now_ns, uint64_t lease_ns)
{
	uint64_t touched = MAX(p->slots[i].touched_ns, group_touched_ns(p, i));

	return touched && lease_ns && now_ns < touched + lease_ns;
}

int pool_drop(struct pool *p, const struct key *key, uint64_t gen, bool force, uint64_t now_ns,
	      uint64_t lease_ns)
{
	uint32_t i = find_key(p, key);

	if (i == NIL || (gen && entry_gen(p, i) != gen))
		return -ENOENT;
	if (!force) {
		pool_drain_touches(p, now_ns);
		if (leased(p, i, now_ns, lease_ns))
			return -EBUSY;
	}
	object_remove(p, i);
	return 0;
}

static bool has_prefix(const struct pool *p, uint32_t i, const void *prefix, size_t len)
{
	struct key key;

	if (!len)
		return true;
	if (p->slots[i].key_len < len)
		return false;
	entry_key_at(p, i, &key);
	return !memcmp(key.data, prefix, len);
}

uint64_t pool_sweep(struct pool *p, const void *prefix, size_t len, bool force, uint64_t now_ns,
		    uint64_t lease_ns, struct pool_kept *kept)
{
	uint64_t nr = 0;

	if (!force)
		pool_drain_touches(p, now_ns);
	/* Backwards: what came last is mostly the first of its chain. */
	for (uint32_t i = (uint32_t)dir_top(p); i--;) {
		if (i >= FETCH_AHEAD)
			fetch_object(p, i - FETCH_AHEAD, len, true);
		if (!entry_gen(p, i) || !has_prefix(p, i, prefix, len))
			continue;
		if (!force && leased(p, i, now_ns, lease_ns)) {
			if (kept && kept->nr++ < KEPT_MAX)
				kept->entry[kept->nr - 1] = i;
			continue;
		}
		object_remove(p, i);
		nr++;
	}
	return nr;
}

uint32_t pool_kept_items(struct pool *p, const struct pool_kept *kept, struct drop_item *out)
{
	uint32_t nr = 0;

	for (uint64_t i = 0; i < kept->nr && kept->nr <= KEPT_MAX; i++) {
		out[nr].gen = entry_gen(p, kept->entry[i]);
		nr += entry_key(p, kept->entry[i], &out[nr].key);
	}
	return nr;
}

void pool_touch(struct pool *p, const struct key *key, uint64_t now_ns)
{
	uint32_t i = find_key(p, key);

	if (i != NIL)
		touch_entry(p, i, now_ns);
}
