/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading. First this node's directories (no system call, no message), then where remote objects were last seen, then one
 * question to the master for all that is left. Whatever says where an object lies, the read itself checks it.
 */
#include "store/store.h"

#include "base/log.h"

bool get_prepare(struct get_item *it)
{
	uint64_t room = 0;

	if (it->alloc) {
		it->own = (struct mc_iov){ it->alloc(it->arg, it->size), it->size };
		it->alloc = NULL; /* asked once; a second try must fit what it gave */
		if (!it->own.addr) {
			it->result = -ENOMEM;
			return false;
		}
		it->iov = &it->own;
		it->nr_iov = 1;
	}
	if (!it->slices) {
		for (unsigned i = 0; i < it->nr_iov; i++)
			room += it->iov[i].len;
		/* An object that was replaced by a longer one after its room was fixed does not fit either. */
		if (room < it->size) {
			it->result = -EMSGSIZE;
			return false;
		}
	}
	return true;
}

static int mapped_slices(const struct pool_view *v, struct get_item *it)
{
	for (unsigned i = 0; i < it->nr_slices; i++) {
		struct mc_slice *sl = &it->slices[i];
		int ret;

		if (!range_inside(sl->src_off, sl->len, it->size)) {
			sl->result = -ERANGE;
			continue;
		}
		ret = sl->len ? view_read(v, &it->loc, it->size, sl->src_off, sl->dst, sl->len) : 0;
		if (ret)
			return ret;
		sl->result = (int64_t)sl->len;
	}
	return 0;
}

int get_mapped(const struct pool_view *v, struct get_item *it)
{
	int ret;

	if (it->slices)
		ret = mapped_slices(v, it);
	else if (it->nr_iov == 1)
		ret = view_read(v, &it->loc, it->size, 0, it->iov[0].addr, it->size);
	else
		ret = view_readv(v, &it->loc, it->size, (const struct iovec *)it->iov, (int)it->nr_iov);
	if (!ret)
		it->result = (int64_t)it->size;
	return ret;
}

/* Is it in one of this node's pools, and did the copy hold? Return: settled (result is set). */
static bool get_here(struct mc_store *s, const struct pool_set *set, struct get_item *it)
{
	struct found f;

	for (unsigned i = 0; i < set->nr; i++) {
		struct spool *p = set->pool[i];

		if (!p->attached || atomic_load_explicit(&p->gone, memory_order_relaxed))
			continue;
		for (int tries = 0; tries < STORE_TRIES; tries++) {
			if (view_lookup(&p->view, it->key.data, it->key.len, &f))
				break;
			it->size = f.size;
			it->flags = f.flags;
			it->loc = f.loc;
			if (!get_prepare(it))
				return true;
			if (!get_mapped(&p->view, it)) {
				view_touch(&p->view, &f);
				return true;
			}
			atomic_fetch_add_explicit(&s->count.stale, 1, memory_order_relaxed);
		}
	}
	return false;
}

/* ---- what is not on this node --------------------------------------------------------------------------------------- */

static int locate(struct mc_store *s, struct get_item **it, unsigned nr, uint64_t deadline_ns, struct scratch *scratch,
		  struct buf *reply, struct msg_located *m)
{
	struct key *keys = calloc(nr, sizeof(*keys));
	struct msg_keys q = { .touch = true, .nr = nr, .keys = keys };
	struct buf body = BUF_INIT;
	int ret;

	if (!keys)
		return -ENOMEM;
	for (unsigned i = 0; i < nr; i++)
		keys[i] = it[i]->key;
	msg_keys_encode(&q, &body);
	ret = link_call(&s->master, MSG_LOCATE, &body, deadline_ns, reply);
	if (!ret)
		ret = msg_located_decode(reply->data, reply->len, scratch, m);
	if (!ret && m->nr != nr)
		ret = -EBADMSG;
	if (!ret)
		pools_view_seen(s, m->view);
	buf_fini(&body);
	free(keys);
	return ret;
}

static void set_pool(struct get_item *it, struct spool *p)
{
	spool_put(it->pool);
	it->pool = p;
	if (p)
		spool_get(p);
}

/* The nearest replica that this client can reach; @skip leaves out that many of the best. */
static bool pick_replica(struct mc_store *s, const struct pool_set *set, const struct located *l, unsigned skip,
			 struct get_item *it)
{
	set_pool(it, NULL);
	for (int near = 1; near >= 0; near--) {
		for (unsigned r = 0; r < l->nr_replicas; r++) {
			struct spool *p = pools_by_index(set, l->replica[r].pool);

			if (!p || p->attached != !!near || (!p->attached && !s->remote_ok))
				continue;
			if (skip--)
				continue;
			it->size = l->size;
			it->flags = l->flags;
			it->loc = l->replica[r].loc;
			it->cached = false;
			set_pool(it, p);
			return true;
		}
	}
	return false;
}

static bool knows_all(const struct pool_set *set, const struct msg_located *m)
{
	for (uint32_t i = 0; i < m->nr; i++)
		for (unsigned r = 0; r < m->items[i].nr_replicas; r++)
			if (!pools_by_index(set, m->items[i].replica[r].pool))
				return false;
	return true;
}

/* Reads every item that has a pool: this node's at once, all others in parallel. Results are set; -ESTALE may be tried again. */
static void read_placed(struct mc_store *s, struct get_item **it, unsigned nr, uint64_t deadline_ns)
{
	struct get_item **far = calloc(nr, sizeof(*far));
	unsigned nr_far = 0;

	for (unsigned i = 0; i < nr; i++) {
		if (!it[i]->pool)
			continue;
		if (!get_prepare(it[i]))
			continue;
		if (it[i]->pool->attached) {
			int ret = get_mapped(&it[i]->pool->view, it[i]);

			if (ret)
				it[i]->result = ret;
		} else if (far) {
			far[nr_far++] = it[i];
		} else {
			it[i]->result = -ENOMEM;
		}
	}
	if (nr_far)
		remote_read(s, far, nr_far, deadline_ns);
	free(far);
}

/* Worth another try: gone from there, or the way there failed. */
static bool retry(int64_t result)
{
	return result == -ESTALE || result == -EBADMSG || result == -EIO || result == -ECONNRESET || result == -ECONNREFUSED ||
	       result == -EHOSTUNREACH;
}

static unsigned from_cache(struct mc_store *s, const struct pool_set *set, struct get_item **it, unsigned nr)
{
	struct cached v;
	unsigned hits = 0;

	for (unsigned i = 0; i < nr; i++) {
		set_pool(it[i], NULL);
		if (!s->cache || !cache_find(s->cache, &it[i]->key, &v))
			continue;
		for (unsigned k = 0; k < set->nr; k++) {
			struct spool *p = set->pool[k];

			if (p->attached || atomic_load(&p->gone) || memcmp(p->id, v.pool, sizeof(v.pool)))
				continue;
			it[i]->size = v.size;
			it[i]->flags = v.flags;
			it[i]->loc = v.loc;
			it[i]->cached = true;
			set_pool(it[i], p);
			hits++;
			break;
		}
	}
	return hits;
}

static void remember(struct mc_store *s, const struct get_item *it)
{
	struct cached v = { .size = it->size, .flags = it->flags, .loc = it->loc };

	if (!s->cache || !it->pool || it->pool->attached || it->cached)
		return;
	memcpy(v.pool, it->pool->id, sizeof(v.pool));
	cache_store(s->cache, &it->key, &v);
}

/* Moves what is settled to the back. Return: how many are not. */
static unsigned keep_open(struct mc_store *s, struct get_item **it, unsigned nr)
{
	unsigned open = 0;

	for (unsigned i = 0; i < nr; i++) {
		struct get_item *x = it[i];

		if (x->pool && x->result >= 0) {
			remember(s, x);
			atomic_fetch_add_explicit(&s->count.hits_remote, 1, memory_order_relaxed);
			continue;
		}
		if (x->pool && !retry(x->result))
			continue;
		if (x->cached && s->cache) {
			cache_drop(s->cache, &x->key);
			x->cached = false;
		}
		it[i] = it[open];
		it[open++] = x;
	}
	return open;
}

/* One question, one round of reads. Return: how many may be asked for again. */
static unsigned ask_and_read(struct mc_store *s, struct get_item **it, unsigned nr, unsigned skip, uint64_t deadline_ns)
{
	struct pool_set *set = pools_get(s);
	struct scratch scratch = SCRATCH_INIT;
	struct buf reply = BUF_INIT;
	struct msg_located m;
	unsigned open = 0;
	int ret;

	ret = locate(s, it, nr, deadline_ns, &scratch, &reply, &m);
	if (!ret && (!knows_all(set, &m) || atomic_load(&s->view_seen) != atomic_load(&s->view_known))) {
		pools_refresh(s, !knows_all(set, &m), deadline_ns);
		pools_put(set);
		set = pools_get(s);
	}
	for (unsigned i = 0; i < nr; i++) {
		struct get_item *x = it[i];

		if (ret)
			x->result = ret;
		else if (m.items[i].status)
			x->result = m.items[i].status;
		else if (pick_replica(s, set, &m.items[i], skip, x))
			continue;
		else if (!skip)
			x->result = -EHOSTUNREACH; /* replicas, but none that this client reaches */
		set_pool(x, NULL);
	}
	/* Those with a pool to the front; the rest is settled. */
	for (unsigned i = 0; i < nr; i++) {
		struct get_item *x = it[i];

		if (!x->pool)
			continue;
		it[i] = it[open];
		it[open++] = x;
	}
	read_placed(s, it, open, deadline_ns);
	open = keep_open(s, it, open);
	scratch_fini(&scratch);
	buf_fini(&reply);
	pools_put(set);
	return open;
}

void cluster_get_missing(struct mc_store *s, struct get_item **it, unsigned nr, uint64_t deadline_ns)
{
	struct pool_set *set = pools_get(s);

	if (from_cache(s, set, it, nr)) {
		read_placed(s, it, nr, deadline_ns);
		nr = keep_open(s, it, nr);
	}
	pools_put(set);
	/* The first answer's nearest replica, a fresh answer, then the next replica. */
	for (unsigned t = 0; t < STORE_TRIES && nr; t++) {
		if (t && deadline_passed(deadline_ns))
			break;
		nr = ask_and_read(s, it, nr, t > 1 ? t - 1 : 0, deadline_ns);
	}
}

/* ---- the calls ------------------------------------------------------------------------------------------------------ */

/* Reads @items; @missing has room for pointers to all of them. */
static void run_get(struct mc_store *s, struct get_item *items, unsigned nr, struct get_item **missing, uint64_t deadline_ns)
{
	struct pool_set *set = pools_get(s);
	unsigned nr_missing = 0;

	for (unsigned i = 0; i < nr; i++) {
		if (!items[i].key.len) {
			items[i].result = -EINVAL;
		} else if (get_here(s, set, &items[i])) {
			atomic_fetch_add_explicit(&s->count.hits_node, 1, memory_order_relaxed);
		} else {
			items[i].result = -ENOENT;
			missing[nr_missing++] = &items[i];
		}
	}
	pools_put(set);
	if (nr_missing)
		s->ops->get_missing(s, missing, nr_missing, store_deadline(s, deadline_ns));
	for (unsigned i = 0; i < nr; i++) {
		struct get_item *it = &items[i];

		spool_put(it->pool);
		if (it->result == -ESTALE)
			it->result = -ENOENT; /* evicted under every try: a miss */
		if (it->result >= 0)
			atomic_fetch_add_explicit(&s->count.get_bytes, (uint64_t)it->result, memory_order_relaxed);
		else
			atomic_fetch_add_explicit(&s->count.misses, 1, memory_order_relaxed);
	}
}

static const struct mc_key *get_key(const void *items, unsigned i)
{
	return &((const struct mc_get *)items)[i].key;
}

static const struct mc_key *slices_key(const void *items, unsigned i)
{
	return &((const struct mc_get_slices *)items)[i].key;
}

#define SMALL 8 /* batches of this size need no allocation */

struct get_call {
	struct keys keys;
	struct get_item small[SMALL], *items;
	struct get_item *small_missing[SMALL], **missing;
};

static int call_open(struct get_call *c, const struct mc_store *s, const void *items, unsigned nr,
		     const struct mc_key *(*at)(const void *, unsigned))
{
	int ret = keys_make(s, items, nr, at, &c->keys);

	if (ret)
		return ret;
	c->items = c->small;
	c->missing = c->small_missing;
	if (nr > SMALL) {
		c->items = calloc(nr, sizeof(*c->items));
		c->missing = calloc(nr, sizeof(*c->missing));
		if (!c->items || !c->missing) {
			free(c->items);
			free(c->missing);
			keys_free(&c->keys);
			return -ENOMEM;
		}
	} else {
		memset(c->small, 0, nr * sizeof(c->small[0]));
	}
	for (unsigned i = 0; i < nr; i++)
		c->items[i].key = c->keys.key[i];
	return 0;
}

static void call_close(struct get_call *c)
{
	if (c->items != c->small) {
		free(c->items);
		free(c->missing);
	}
	keys_free(&c->keys);
}

int mc_store_get(struct mc_store *s, struct mc_get *items, unsigned nr, uint64_t deadline_ns)
{
	struct get_call c;
	int ret, ok = 0;

	ret = nr > BATCH_MAX ? -E2BIG : store_enter(s);
	if (ret)
		goto out;
	ret = call_open(&c, s, items, nr, get_key);
	if (ret)
		goto out_leave;
	for (unsigned i = 0; i < nr; i++) {
		c.items[i].iov = items[i].iov;
		c.items[i].nr_iov = items[i].nr_iov;
		c.items[i].alloc = items[i].alloc;
		c.items[i].arg = items[i].arg;
	}
	run_get(s, c.items, nr, c.missing, deadline_ns);
	for (unsigned i = 0; i < nr; i++) {
		items[i].result = c.items[i].result;
		ok += items[i].result >= 0;
	}
	call_close(&c);
out_leave:
	store_leave(s);
out:
	for (unsigned i = 0; i < nr && ret; i++)
		items[i].result = ret;
	return ok;
}

int mc_store_get_slices(struct mc_store *s, struct mc_get_slices *items, unsigned nr, uint64_t deadline_ns)
{
	struct get_call c;
	int ret, ok = 0;

	ret = nr > BATCH_MAX ? -E2BIG : store_enter(s);
	if (ret)
		goto out;
	ret = call_open(&c, s, items, nr, slices_key);
	if (ret)
		goto out_leave;
	for (unsigned i = 0; i < nr; i++) {
		c.items[i].slices = items[i].slices;
		c.items[i].nr_slices = items[i].nr;
	}
	run_get(s, c.items, nr, c.missing, deadline_ns);
	for (unsigned i = 0; i < nr; i++) {
		ok += c.items[i].result >= 0;
		for (unsigned k = 0; k < items[i].nr && c.items[i].result < 0; k++)
			items[i].slices[k].result = c.items[i].result;
	}
	call_close(&c);
out_leave:
	store_leave(s);
out:
	for (unsigned i = 0; i < nr && ret; i++)
		for (unsigned k = 0; k < items[i].nr; k++)
			items[i].slices[k].result = ret;
	return ok;
}
