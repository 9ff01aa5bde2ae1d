/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading what this node's directories do not have: first from where it was last seen, then with one question to the master for
 * all that is left, and again with what went wrong.
 */
#include "store/store.h"

#define BOUNCE_MAX (1 * MiB) /* a larger object with a remembered size is asked for anew */

/* The read held: from our memory into the caller's. */
static void bounce_done(struct get_item *it)
{
	void *to = it->bounce && it->result >= 0 ? it->alloc(it->arg, it->size) : NULL;

	if (to)
		memcpy(to, it->bounce, it->size);
	else if (it->bounce && it->result >= 0)
		it->result = -ENOMEM;
	if (it->bounce && it->result >= 0)
		it->alloc = NULL;
	free(it->bounce);
	it->bounce = NULL;
}

static unsigned items_fit(struct get_item **it, unsigned nr)
{
	size_t bytes = 0;
	unsigned n = 0;

	while (n < nr && key_fits(&bytes, &it[n]->key))
		n++;
	return n;
}

static int locate(struct mc_store *s, struct get_item **it, unsigned nr, uint64_t deadline_ns, struct ask *a)
{
	struct key *keys = calloc(nr, sizeof(*keys));
	int ret;

	if (!keys)
		return -ENOMEM;
	for (unsigned i = 0; i < nr; i++)
		keys[i] = it[i]->key;
	ret = store_ask_keys(s, MSG_LOCATE, keys, nr, false, deadline_ns, a);
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

static bool avoids(const struct get_item *it, uint32_t pool)
{
	for (unsigned i = 0; i < it->nr_avoid; i++)
		if (it->avoid[i] == pool)
			return true;
	return false;
}

/*
 * A node that does not answer costs time, not an error: no read may use up what another replica or a fresh answer needs. One that
 * just used up its time, or whose machine acknowledges nothing, is asked again, but briefly, until it answers.
 */
#define SUSPECT_NS	(5 * NSEC_PER_SEC)
#define SUSPECT_WAIT_NS (250 * NSEC_PER_MSEC)
#define SLOW_BYTES_PER_MS (8 * KiB) /* a network no slower than this gets its bytes through */

static bool suspect(const struct spool *p)
{
	uint64_t until = atomic_load_explicit(&p->suspect_ns, memory_order_relaxed);

	return until && clock_now_ns() < until;
}

enum hope { CHOICE, SUSPECT, SOLE, NR_HOPES }; /* in the order of reading: the last may take all the time there is */

static enum hope hope_of(const struct get_item *it)
{
	return suspect(it->pool) ? SUSPECT : it->sole ? SOLE : CHOICE;
}

/* Until when to wait for @bytes: while there are other replicas, an eighth of the time or what a slow network needs. */
static uint64_t patience(uint64_t deadline_ns, enum hope h, uint64_t bytes)
{
	uint64_t now = clock_now_ns(), left = deadline_ns > now ? deadline_ns - now : 0, wait;
	uint64_t slow = bytes / SLOW_BYTES_PER_MS * NSEC_PER_MSEC;

	if (h == SOLE)
		return deadline_ns;
	left = MIN(left, STORE_TIMEOUT_NS);
	if (h == SUSPECT)
		wait = SUSPECT_WAIT_NS + MIN(slow, 3 * SUSPECT_WAIT_NS);
	else
		wait = MAX(left / 8, SUSPECT_WAIT_NS) + slow;
	return now + MIN(wait, left / 2);
}

/* What a read from @p that was given until @by_ns says about its node. */
static void judge(struct spool *p, int64_t result, uint64_t start_ns, uint64_t by_ns)
{
	uint64_t now;

	if (result >= 0) {
		atomic_store_explicit(&p->suspect_ns, 0, memory_order_relaxed);
		return;
	}
	now = clock_now_ns();
	/* Before its time was over: the machine there is silent. Else a caller in a hurry proves nothing. */
	if (result == -ETIMEDOUT && (now < by_ns || now - start_ns >= SUSPECT_WAIT_NS))
		atomic_store_explicit(&p->suspect_ns, now + SUSPECT_NS, memory_order_relaxed);
}

/* Those of @all whose hope is @h; @it has room for as many. */
static void read_far(struct mc_store *s, struct get_item **all, unsigned nr_all, struct get_item **it, enum hope h,
		     uint64_t deadline_ns)
{
	uint64_t start_ns = clock_now_ns(), by_ns, bytes = 0;
	unsigned nr = 0;

	for (unsigned i = 0; i < nr_all; i++)
		if (all[i]->hope == (int)h) {
			it[nr++] = all[i];
			bytes += all[i]->size;
		}
	if (!nr)
		return;
	by_ns = patience(deadline_ns, h, bytes);
	remote_read(s, it, nr, by_ns);
	for (unsigned i = 0; i < nr; i++)
		judge(it[i]->pool, it[i]->result, start_ns, by_ns);
}

/* 2: mapped; 1: reached over the network; 0: the same, but it did not answer lately; -1: not reached. */
static int nearness(const struct mc_store *s, const struct spool *p)
{
	if (!p || (!p->attached && !s->remote_ok))
		return -1;
	return p->attached ? 2 : suspect(p) ? 0 : 1;
}

/* The nearest replica that this client can reach. */
static bool pick_replica(struct mc_store *s, const struct pool_set *set, const struct located *l, struct get_item *it)
{
	set_pool(it, NULL);
	for (int near = 2; near >= 0; near--) {
		for (unsigned r = 0; r < l->nr_replicas; r++) {
			struct spool *p = pools_by_index(set, l->replica[r].pool);

			if (nearness(s, p) != near)
				continue;
			if (avoids(it, l->replica[r].pool))
				continue;
			it->size = l->size;
			it->put_id = l->put_id;
			it->flags = l->flags;
			it->loc = l->replica[r].loc;
			it->cached = false;
			it->sole = l->nr_replicas <= 1 + it->nr_avoid;
			set_pool(it, p);
			return true;
		}
	}
	return false;
}

/* Reads every item that has a pool: this node's at once, all others in parallel. Results are set; -ESTALE may be tried again. */
static void read_placed(struct mc_store *s, struct get_item **it, unsigned nr, uint64_t deadline_ns)
{
	struct get_item **far = calloc(nr, 2 * sizeof(*far));
	unsigned nr_far = 0;

	for (unsigned i = 0; i < nr; i++) {
		if (!it[i]->pool)
			continue;
		if (!get_prepare(it[i]))
			continue;
		if (it[i]->pool->attached) {
			int ret = get_mapped(&it[i]->pool->view, it[i]);

			it[i]->path = MC_PATH_MAPPED;
			if (ret)
				it[i]->result = ret;
		} else if (!far) {
			it[i]->result = -ENOMEM;
		} else {
			it[i]->hope = hope_of(it[i]);
			far[nr_far++] = it[i];
		}
	}
	for (enum hope h = 0; far && h < NR_HOPES; h++)
		read_far(s, far, nr_far, far + nr, h, deadline_ns);
	free(far);
}

/* Worth another try: gone from there, or the way there failed. What stays wrong with every answer is not. */
static bool retry(int64_t result)
{
	return result < 0 && result != -EMSGSIZE && result != -ENOMEM && result != -EINVAL && result != -ESHUTDOWN;
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

			if (p->attached || atomic_load(&p->gone) || suspect(p) || memcmp(p->id, v.pool, sizeof(v.pool)))
				continue;
			if (it[i]->alloc && v.size > BOUNCE_MAX)
				break; /* a question costs less than one more copy */
			it[i]->size = v.size;
			it[i]->put_id = v.put_id;
			it[i]->flags = v.flags;
			it[i]->loc = v.loc;
			it[i]->cached = true;
			it[i]->sole = false;
			set_pool(it[i], p);
			hits++;
			break;
		}
	}
	return hits;
}

static void remember(struct mc_store *s, const struct get_item *it)
{
	struct cached v = { .size = it->size, .put_id = it->put_id, .flags = it->flags, .loc = it->loc };

	if (!s->cache || !it->pool || it->pool->attached || it->cached)
		return;
	memcpy(v.pool, it->pool->id, sizeof(v.pool));
	cache_store(s->cache, &it->key, &v);
}

/* Is there anything left to try for @it, after a read that failed? Notes what. */
static bool try_again(struct mc_store *s, struct get_item *it)
{
	if (it->cached) { /* what was remembered proves nothing, not even that it does not fit */
		if (s->cache)
			cache_drop(s->cache, &it->key);
		it->cached = false;
		return it->result != -ESHUTDOWN;
	}
	if (!retry(it->result))
		return false;
	/* Replaced meanwhile: a fresh answer names its new place. What fails in another way, or again, is left alone. */
	if (it->result == -ESTALE && !it->stale) {
		it->stale = true;
	} else {
		it->stale = false;
		if (it->nr_avoid == ARRAY_SIZE(it->avoid))
			return false;
		it->avoid[it->nr_avoid++] = atomic_load(&it->pool->index);
	}
	return true;
}

/* Moves what is settled to the back. Return: how many are not. */
static unsigned keep_open(struct mc_store *s, struct get_item **it, unsigned nr)
{
	unsigned open = 0;

	for (unsigned i = 0; i < nr; i++) {
		struct get_item *x = it[i];

		if (x->bounce)
			bounce_done(x);
		if (x->pool && x->result >= 0) {
			remember(s, x);
			continue;
		}
		if (x->pool && !try_again(s, x))
			continue;
		it[i] = it[open];
		it[open++] = x;
	}
	return open;
}

/* One question. Return: how many have a place now; those are in front, the others are settled. */
static unsigned ask_places(struct mc_store *s, struct get_item **it, unsigned nr, uint64_t deadline_ns)
{
	struct ask a = ASK_INIT;
	struct pool_set *set;
	unsigned open = 0;
	int ret;

	ret = locate(s, it, nr, deadline_ns, &a);
	set = pools_for(s, ret ? NULL : &a.located, deadline_ns);
	for (unsigned i = 0; i < nr; i++) {
		struct get_item *x = it[i];

		x->unasked = ret;
		if (ret)
			x->result = ret;
		else if (a.located.items[i].status)
			x->result = a.located.items[i].status;
		else if (pick_replica(s, set, &a.located.items[i], x))
			continue;
		else if (!x->nr_avoid)
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
	ask_end(&a);
	pools_put(set);
	return open;
}

void cluster_locate(struct mc_store *s, struct get_item **it, unsigned nr, uint64_t deadline_ns)
{
	for (unsigned at = 0, n; at < nr; at += n) {
		n = items_fit(it + at, nr - at);
		ask_places(s, it + at, n, deadline_ns);
	}
}

/* One question, one round of reads. Return: how many may be asked for again; those are in front. */
static unsigned ask_and_read(struct mc_store *s, struct get_item **it, unsigned nr, uint64_t deadline_ns)
{
	unsigned open = ask_places(s, it, nr, deadline_ns);

	read_placed(s, it, open, deadline_ns);
	return keep_open(s, it, open);
}

#define ROUNDS (2 * STORE_TRIES)

/* The same in as many messages as it takes. */
static unsigned ask_all(struct mc_store *s, struct get_item **it, unsigned nr, uint64_t deadline_ns)
{
	unsigned open = 0, n;

	for (unsigned at = 0; at < nr; at += n) {
		unsigned left;

		n = items_fit(it + at, nr - at);
		left = ask_and_read(s, it + at, n, deadline_ns);
		for (unsigned i = 0; i < left; i++) {
			struct get_item *x = it[at + i];

			it[at + i] = it[open];
			it[open++] = x;
		}
	}
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
	for (unsigned t = 0; t < ROUNDS && nr; t++) {
		if (t && (deadline_passed(deadline_ns) || atomic_load(&s->closing)))
			break;
		nr = ask_all(s, it, nr, deadline_ns);
	}
}
