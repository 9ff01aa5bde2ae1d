/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store with a pool of its own and no master: one process alone, for tests and single-process use. The directory is the
 * whole truth; reads go through it like any reader's, writes hold a lock.
 */
#include "store/store.h"

#include <stdio.h>

#include "base/log.h"

#define EMBEDDED_POOL_BYTES (64 * MiB)	  /* when no size is asked for */
#define EMBEDDED_LEASE_NS (10 * NSEC_PER_SEC)
#define SOFT_PIN_MAX_MS (24ull * 3600 * 1000) /* as a master's unless it is told otherwise */

struct embedded {
	struct pool *pool;
	struct pool_ring *ring;
	pthread_mutex_t lock;
};

int embedded_open(struct mc_store *s, uint64_t pool_bytes)
{
	struct pool_opts o = { .name = "embedded", .bytes = pool_bytes ? pool_bytes : EMBEDDED_POOL_BYTES };
	struct embedded *e = calloc(1, sizeof(*e));
	int ret;

	if (!e)
		return -ENOMEM;
	ret = pool_create(&o, &e->pool);
	if (ret)
		goto err_free;
	ret = pool_ring_open(e->pool, &e->ring);
	if (ret)
		goto err_pool;
	ret = pools_borrow(s, pool_view(e->pool), e->ring);
	if (ret)
		goto err_ring;
	pthread_mutex_init(&e->lock, NULL);
	s->embedded = e;
	return 0;

err_ring:
	pool_ring_close(e->pool, e->ring);
err_pool:
	pool_close(e->pool);
err_free:
	free(e);
	return ret;
}

void embedded_close(struct mc_store *s)
{
	struct embedded *e = s->embedded;

	if (!e)
		return;
	pool_ring_close(e->pool, e->ring);
	pool_close(e->pool);
	pthread_mutex_destroy(&e->lock);
	free(e);
	s->embedded = NULL;
}

/* ---- put ------------------------------------------------------------------------------------------------------------ */

static int put_one(struct embedded *e, const struct key *key, const struct mc_put *it, uint64_t bytes, uint64_t put_id,
		   const struct mc_put_opts *o, uint32_t group)
{
	struct publish_item item = {
		.key = *key, .put_id = put_id, .size = bytes, .flags = put_object_flags(o), .group = group,
	};
	struct publish_item old;
	struct extents *x = malloc(sizeof(*x));
	struct staged *st;
	int ret;

	if (!x)
		return -ENOMEM;
	item.soft_pin_ms = (uint32_t)MIN(o->soft_pin_ms, UINT32_MAX);

	pthread_mutex_lock(&e->lock);
	pool_drain_touches(e->pool, clock_now_ns());
	ret = pool_find(e->pool, key, &old) ? 0 : !(item.flags & OBJ_REPLACE) ? -EEXIST : group && group != old.group ? -EINVAL : 0;
	if (!ret)
		ret = pool_alloc(e->pool, bytes, key->len, x);
	pthread_mutex_unlock(&e->lock);
	if (ret)
		goto out;

	x->put_id = put_id;
	extents_fill(pool_view(e->pool), x, key, (uint16_t)item.flags, (const struct iovec *)it->iov, (int)it->nr_iov);
	item.loc = extents_loc(x);

	pthread_mutex_lock(&e->lock);
	ret = pool_stage_own(e->pool, x, &item, &st);
	if (!ret)
		pool_publish(e->pool, st);
	else
		pool_alloc_undo(e->pool, x);
	pthread_mutex_unlock(&e->lock);
out:
	free(x);
	return ret;
}

static const struct mc_key *put_key(const void *items, unsigned i)
{
	return &((const struct mc_put *)items)[i].key;
}

static int embedded_put(struct mc_store *s, struct mc_put *items, unsigned nr, const struct mc_put_opts *o, struct tally *t,
			uint64_t deadline_ns)
{
	struct keys keys;
	uint64_t bytes;
	int ret, ok = 0;

	ret = o->soft_pin_ms > SOFT_PIN_MAX_MS ? -EINVAL : keys_make(s, items, nr, put_key, &keys);
	for (unsigned i = 0; i < nr; i++) {
		if (ret)
			items[i].result = ret;
		else if (!put_check(&items[i], &bytes))
			items[i].result = -EINVAL;
		else
			items[i].result = put_one(s->embedded, &keys.key[i], &items[i], bytes, store_put_id(s), o,
						  o->groups ? put_group(s, &o->groups[i]) : 0);
		if (items[i].result == -EEXIST)
			items[i].result = 0;
		else if (!items[i].result)
			tally_add(t, MC_PATH_MAPPED, bytes);
		ok += !items[i].result;
	}
	if (!ret)
		keys_free(&keys);
	return ok;
}

/* ---- the rest: what the directory did not have is not there ---------------------------------------------------------- */

static void embedded_get_missing(struct mc_store *s, struct get_item **it, unsigned nr, uint64_t deadline_ns)
{
	for (unsigned i = 0; i < nr; i++)
		it[i]->result = -ENOENT;
}

static int embedded_query(struct mc_store *s, struct mc_query **q, const struct key *keys, unsigned nr, bool sizes,
			  uint64_t deadline_ns)
{
	return 0;
}

static int drop(struct embedded *e, const struct key *key, bool force)
{
	int ret;

	pthread_mutex_lock(&e->lock);
	pool_drain_touches(e->pool, clock_now_ns());
	ret = pool_drop(e->pool, key, 0, force, clock_now_ns(), EMBEDDED_LEASE_NS);
	pthread_mutex_unlock(&e->lock);
	return ret;
}

static int embedded_remove(struct mc_store *s, struct mc_remove *items, const struct key *keys, unsigned nr, uint32_t flags,
			   uint64_t deadline_ns)
{
	int ok = 0;

	for (unsigned i = 0; i < nr; i++) {
		items[i].result = drop(s->embedded, &keys[i], flags & MC_REMOVE_FORCE);
		ok += !items[i].result;
	}
	return ok;
}

#define WALK_STEP 256

/*
 * Calls @fn for every object of this tenant whose key matches, on copies, without the lock. What is stored meanwhile may be
 * missed. Return: how many; -EINVAL: the expression.
 */
static int64_t walk(struct mc_store *s, const char *regex, int (*fn)(void *arg, const struct publish_item *it), void *arg)
{
	struct publish_item item[WALK_STEP];
	struct embedded *e = s->embedded;
	uint8_t *keys = malloc((size_t)WALK_STEP * FULL_KEY_MAX);
	struct key tenant, key;
	uint64_t cursor = 0;
	int64_t count = 0;
	bool stop = false;
	struct pattern *p;
	uint32_t n;
	int ret;

	if (!keys)
		return -ENOMEM;
	ret = pattern_open(regex, regex ? strlen(regex) : 0, &p);
	if (ret) {
		free(keys);
		return ret;
	}
	do {
		pthread_mutex_lock(&e->lock);
		n = pool_walk(e->pool, &cursor, WALK_STEP, item);
		for (uint32_t i = 0; i < n; i++) {
			uint8_t *k = keys + (size_t)i * FULL_KEY_MAX;

			memcpy(k, item[i].key.data, item[i].key.len);
			item[i].key.data = k;
		}
		pthread_mutex_unlock(&e->lock);
		for (uint32_t i = 0; i < n && !stop; i++) {
			if (key_split(&item[i].key, &tenant, &key) || tenant.len != strlen(s->tenant) ||
			    memcmp(tenant.data, s->tenant, tenant.len) || !pattern_find(p, key.data, key.len))
				continue;
			count++;
			stop = fn(arg, &item[i]);
		}
	} while (cursor && !stop);
	pattern_close(p);
	free(keys);
	return count;
}

struct removal {
	struct embedded *e;
	bool force;
	int64_t gone;
};

static int remove_match(void *arg, const struct publish_item *it)
{
	struct removal *r = arg;

	r->gone += !drop(r->e, &it->key, r->force);
	return 0;
}

static int64_t embedded_remove_matching(struct mc_store *s, const char *regex, uint32_t flags, uint64_t deadline_ns)
{
	struct removal r = { .e = s->embedded, .force = flags & MC_REMOVE_FORCE };
	int64_t ret = walk(s, regex, remove_match, &r);

	return ret < 0 ? ret : r.gone;
}

struct listing {
	int (*fn)(void *, const struct mc_list_item *);
	void *arg;
};

static int list_match(void *arg, const struct publish_item *it)
{
	struct listing *l = arg;
	struct mc_list_item out = { .bytes = it->size, .replicas = 1 };
	struct key tenant, key;

	if (key_split(&it->key, &tenant, &key))
		return 0;
	out.key = (struct mc_key){ key.data, key.len };
	return l->fn(l->arg, &out);
}

static int64_t embedded_list(struct mc_store *s, const char *regex, int (*fn)(void *, const struct mc_list_item *), void *arg,
			     uint64_t deadline_ns)
{
	struct listing l = { fn, arg };

	return walk(s, regex, list_match, &l);
}

static int embedded_replicas(struct mc_store *s, struct mc_replicas *items, const struct key *keys, unsigned nr,
			     uint64_t deadline_ns)
{
	const struct pool_view *v = pool_view(s->embedded->pool);
	struct pool_set *set = pools_get(s); /* whose one view has a touch ring that is drained */
	struct found f;

	for (unsigned i = 0; i < nr; i++) {
		items[i].result = 0;
		if (view_lookup(v, keys[i].data, keys[i].len, &f) || replicas_reserve(&items[i], 1))
			continue;
		view_touch(&set->pool[0]->view, &f);
		replicas_add(&items[i], s->name,
			     &(struct region_info){ (uintptr_t)v->region[f.loc.region].base, v->region[f.loc.region].size }, &f.loc,
			     f.size);
	}
	pools_put(set);
	return 0;
}

static int clear_one(struct mc_store *s, const struct key *key)
{
	struct embedded *e = s->embedded;
	struct publish_item it;
	int ret;

	pthread_mutex_lock(&e->lock);
	pool_drain_touches(e->pool, clock_now_ns());
	ret = pool_find(e->pool, key, &it);
	if (!ret && !store_put_is_ours(s, it.put_id))
		ret = -ENOENT;
	if (!ret)
		ret = pool_drop(e->pool, key, it.loc.gen, false, clock_now_ns(), EMBEDDED_LEASE_NS);
	pthread_mutex_unlock(&e->lock);
	return ret;
}

static int embedded_clear(struct mc_store *s, struct mc_remove *items, const struct key *keys, unsigned nr, const char *segment,
			  uint64_t deadline_ns)
{
	int ok = 0;

	for (unsigned i = 0; i < nr; i++) {
		items[i].result = *segment && strcmp(segment, s->name) ? -ENOENT : clear_one(s, &keys[i]);
		ok += !items[i].result;
	}
	return ok;
}

static int embedded_status(struct mc_store *s, struct buf *json, uint64_t deadline_ns)
{
	struct pool_stat st;

	pthread_mutex_lock(&s->embedded->lock);
	pool_stat(s->embedded->pool, &st);
	pthread_mutex_unlock(&s->embedded->lock);
	buf_printf(json, "{\"master\":\"embedded\",\"ready\":true,\"objects\":%llu,\"capacity\":%llu,\"used\":%llu,\"evicted\":%llu}",
		   (unsigned long long)st.objects, (unsigned long long)st.capacity, (unsigned long long)st.used,
		   (unsigned long long)st.evicted);
	return json->err;
}

static int embedded_health(struct mc_store *s, uint64_t deadline_ns)
{
	return 0;
}

const struct store_ops embedded_ops = {
	.put = embedded_put,
	.get_missing = embedded_get_missing,
	.locate = embedded_get_missing, /* which is nowhere */
	.query = embedded_query,
	.remove = embedded_remove,
	.remove_matching = embedded_remove_matching,
	.list = embedded_list,
	.replicas = embedded_replicas,
	.clear = embedded_clear,
	.status = embedded_status,
	.health = embedded_health,
};
