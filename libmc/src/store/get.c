/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading: from this node's directories without a system call or a message; get_far.c has the rest. Whatever says where an object
 * lies, the read itself checks it.
 */
#include "store/store.h"


static bool fail(struct get_item *it, int err)
{
	it->result = err;
	return false;
}

/* @alloc is asked for exactly the object's bytes, so it is asked once the size is certain: a cached one is not. */
static bool prepare_alloc(struct get_item *it)
{
	void *p = NULL;

	if (it->alloc && !it->cached) {
		p = it->alloc(it->arg, it->size);
		it->alloc = NULL;
	} else if (it->alloc) {
		free(it->bounce);
		p = it->bounce = malloc(it->size);
	} else if (it->own.len != it->size) {
		return fail(it, -ESTALE); /* another object took its place in between */
	} else {
		return true;
	}
	it->own = (struct mc_iov){ p, it->size };
	it->iov = &it->own;
	it->nr_iov = 1;
	return p || fail(it, -ENOMEM);
}

bool get_prepare(struct get_item *it)
{
	uint64_t room = 0;

	if (it->slices)
		return true;
	if (it->alloc || it->own.addr)
		return prepare_alloc(it);
	for (unsigned i = 0; i < it->nr_iov && room < it->size; i++)
		if (check_add(room, it->iov[i].len, &room))
			room = UINT64_MAX;
	return room >= it->size || fail(it, -EMSGSIZE);
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

/*
 * Is it the put that was promised? A generation is unique in one pool only, and whose answer named this pool may have numbered
 * pools in another way. What is read here belongs to the generation if that holds afterwards.
 */
static bool same_put(const struct pool_view *v, const struct get_item *it)
{
	const struct extent_hdr *h;
	uint16_t r = it->loc.region;

	if (!it->put_id)
		return true;
	if (r >= v->nr_regions || it->loc.off % POOL_UNIT || !range_inside(it->loc.off, sizeof(*h), v->region[r].size))
		return false;
	h = (const void *)((const char *)v->region[r].base + it->loc.off);
	return atomic_load_explicit(&h->gen, memory_order_acquire) == it->loc.gen &&
	       *(const volatile uint64_t *)&h->put_id == it->put_id;
}

int get_mapped(const struct pool_view *v, struct get_item *it)
{
	int ret;

	if (!same_put(v, it))
		return -ESTALE;
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
static bool get_here(const struct pool_set *set, struct get_item *it, struct tally *tally)
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
			it->put_id = 0;
			if (!get_prepare(it))
				return it->result != -ESTALE;
			if (!get_mapped(&p->view, it)) {
				view_touch(&p->view, &f);
				return true;
			}
			tally->retries++;
		}
	}
	return false;
}

/* ---- the calls ------------------------------------------------------------------------------------------------------ */

/* A place of some bytes without an address. */
static bool nowhere(const struct get_item *it)
{
	for (unsigned i = 0; i < it->nr_iov; i++)
		if (!it->iov[i].addr && it->iov[i].len)
			return true;
	for (unsigned i = 0; i < it->nr_slices; i++)
		if (!it->slices[i].dst && it->slices[i].len)
			return true;
	return false;
}

static uint64_t bytes_of(const struct get_item *it)
{
	uint64_t sum = 0;

	if (!it->slices)
		return (uint64_t)it->result;
	for (unsigned i = 0; i < it->nr_slices; i++)
		sum += it->slices[i].result > 0 ? (uint64_t)it->slices[i].result : 0;
	return sum;
}

/* Counts it, and why it failed. The first that did is told in words. */
static void tally_get(struct get_item *it, struct tally *t, const struct get_item **first, enum mc_miss *why, uint64_t deadline_ns)
{
	enum mc_miss reason;

	if (likely(it->result >= 0)) {
		tally_add(t, it->path, bytes_of(it));
		return;
	}
	if (it->result == -EAGAIN)
		return; /* no miss yet */
	reason = reason_of(it, deadline_ns);
	it->why = (uint8_t)reason;
	if (!t->missed++) {
		memset(t->miss, 0, sizeof(t->miss));
		*first = it;
		*why = reason;
	}
	t->miss[reason]++;
	if (it->result == -ESTALE)
		it->result = -ENOENT; /* evicted under every try: a miss */
}

static void tell_miss(const struct get_item *it, enum mc_miss why, uint64_t others)
{
	struct key tenant, key = { 0 };

	key_split(&it->key, &tenant, &key);
	note_miss(&(struct mc_key){ key.data, key.len }, why, (int)it->result, (unsigned)others);
}

/* Reads @items; @missing has room for pointers to all of them. What is not here ends with -EAGAIN, unless it may be @far. */
static void run_get(struct mc_store *s, struct get_item *items, unsigned nr, struct get_item **missing, bool far,
		    uint64_t deadline_ns)
{
	uint64_t start_ns = stats_sample_ns();
	struct pool_set *set = pools_get(s);
	const struct get_item *first = NULL;
	unsigned nr_missing = 0;
	struct tally tally;
	enum mc_miss why;

	tally_init(&tally);
	/* From the last to the first: the blocks of a request are a chain, and what is touched last is evicted last. */
	for (unsigned i = nr; i-- > 0;) {
		if (!items[i].key.len || nowhere(&items[i])) {
			items[i].result = -EINVAL;
		} else if (!get_here(set, &items[i], &tally)) {
			items[i].result = far ? -ENOENT : -EAGAIN;
			missing[nr_missing++] = &items[i];
		}
	}
	pools_put(set);
	if (nr_missing && far) {
		start_ns = start_ns ? start_ns : clock_now_ns();
		deadline_ns = store_deadline(s, deadline_ns);
		s->ops->get_missing(s, missing, nr_missing, deadline_ns);
	}
	for (unsigned i = 0; i < nr; i++) {
		spool_put(items[i].pool);
		tally_get(&items[i], &tally, &first, &why, deadline_ns);
	}
	stats_got(s, &tally, start_ns);
	if (unlikely(first))
		tell_miss(first, why, tally.missed - 1);
}

/* Before any item was looked for. The store may be gone, so nothing is counted. */
static void tell_refused(const struct mc_key *key, unsigned nr, int err)
{
	if (nr)
		note_miss(key, MC_MISS_CALL, err, nr - 1);
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

/* Enters the store, too. */
static int call_open(struct get_call *c, struct mc_store *s, const void *items, unsigned nr,
		     const struct mc_key *(*at)(const void *, unsigned))
{
	int ret = keys_enter(s, items, nr, at, &c->keys);

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
			keys_leave(s, &c->keys);
			return -ENOMEM;
		}
	} else {
		memset(c->small, 0, nr * sizeof(c->small[0]));
	}
	for (unsigned i = 0; i < nr; i++)
		c->items[i].key = c->keys.key[i];
	return 0;
}

static void call_close(struct get_call *c, struct mc_store *s)
{
	if (c->items != c->small) {
		free(c->items);
		free(c->missing);
	}
	keys_leave(s, &c->keys);
}

static int get(struct mc_store *s, struct mc_get *items, unsigned nr, bool far, uint64_t deadline_ns)
{
	struct get_call c;
	int ret = call_open(&c, s, items, nr, get_key), ok = 0;

	if (ret)
		goto out;
	for (unsigned i = 0; i < nr; i++) {
		c.items[i].iov = items[i].iov;
		c.items[i].nr_iov = items[i].nr_iov;
		c.items[i].alloc = items[i].alloc;
		c.items[i].arg = items[i].arg;
	}
	run_get(s, c.items, nr, c.missing, far, deadline_ns);
	for (unsigned i = 0; i < nr; i++) {
		items[i].result = c.items[i].result;
		items[i].why = c.items[i].why;
		ok += items[i].result >= 0;
	}
	call_close(&c, s);
out:
	for (unsigned i = 0; i < nr && ret; i++) {
		items[i].result = ret;
		items[i].why = MC_MISS_CALL;
	}
	if (ret)
		tell_refused(get_key(items, 0), nr, ret);
	return ok;
}

void mc_store_get_note(const struct mc_get *item)
{
	if (item->result < 0)
		note_miss(&item->key, item->why, (int)item->result, 0);
}

int mc_store_get(struct mc_store *s, struct mc_get *items, unsigned nr, uint64_t deadline_ns)
{
	return get(s, items, nr, true, deadline_ns);
}

int mc_store_get_here(struct mc_store *s, struct mc_get *items, unsigned nr)
{
	return get(s, items, nr, false, 0);
}

/* Of objects that were read: their misses were told of. */
static void tell_slices(const struct mc_get_slices *items, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		for (unsigned k = 0; k < items[i].nr && items[i].result >= 0; k++)
			if (items[i].slices[k].result < 0) {
				note_part(&items[i].key, (int)items[i].slices[k].result);
				return;
			}
}

int mc_store_get_slices(struct mc_store *s, struct mc_get_slices *items, unsigned nr, uint64_t deadline_ns)
{
	struct get_call c;
	int ret = call_open(&c, s, items, nr, slices_key), ok = 0;

	if (ret)
		goto out;
	for (unsigned i = 0; i < nr; i++) {
		c.items[i].slices = items[i].slices;
		c.items[i].nr_slices = items[i].nr;
	}
	run_get(s, c.items, nr, c.missing, true, deadline_ns);
	for (unsigned i = 0; i < nr; i++) {
		items[i].result = c.items[i].result;
		ok += c.items[i].result >= 0;
		for (unsigned k = 0; k < items[i].nr && c.items[i].result < 0; k++)
			items[i].slices[k].result = c.items[i].result;
	}
	call_close(&c, s);
	tell_slices(items, nr);
out:
	for (unsigned i = 0; i < nr && ret; i++) {
		items[i].result = ret;
		for (unsigned k = 0; k < items[i].nr; k++)
			items[i].slices[k].result = ret;
	}
	if (ret)
		tell_refused(slices_key(items, 0), nr, ret);
	return ok;
}
