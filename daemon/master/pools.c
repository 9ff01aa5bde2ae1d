// SPDX-License-Identifier: Apache-2.0
/* The table of pools, their lives, and the slots waiting to be forgotten. */
#include "pools.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"

struct retired {
	struct list node;
	uint16_t slot;
	uint64_t due_ns;
};

struct pools {
	struct objects *ix;
	struct pools_opts o;
	atomic_uint view;

	pthread_mutex_t lock; /* all below */
	struct pool *by_index[POOLS_MAX];
	uint32_t next_index;
	struct list retired; /* by due_ns of the first ones; lives that left come first */
	uint64_t settled_from_ns;
	bool ready;
};

int pools_open(const struct pools_opts *o, struct objects *ix, uint64_t now, struct pools **out)
{
	struct pools *ps = calloc(1, sizeof(*ps));

	if (!ps)
		return -ENOMEM;
	ps->ix = ix;
	ps->o = *o;
	ps->next_index = 1;
	ps->settled_from_ns = now;
	list_init(&ps->retired);
	atomic_init(&ps->view, 1);
	pthread_mutex_init(&ps->lock, NULL);
	*out = ps;
	return 0;
}

static void pool_free(struct pool *p)
{
	if (!p)
		return;
	free((void *)p->info.segment.data);
	free((void *)p->info.unix_path.data);
	free((void *)p->info.addr.data);
	free(p);
}

void pools_close(struct pools *ps)
{
	struct retired *r, *tmp;

	if (!ps)
		return;
	list_for_each_entry_safe(r, tmp, &ps->retired, node)
		free(r);
	for (uint32_t i = 0; i < POOLS_MAX; i++)
		pool_free(ps->by_index[i]);
	pthread_mutex_destroy(&ps->lock);
	free(ps);
}

/* ---- under the lock ---- */

static void view_changed(struct pools *ps)
{
	atomic_fetch_add(&ps->view, 1);
}

static enum slot_state slot_state(enum pool_state state)
{
	return state == POOL_ONLINE ? SLOT_LIVE : state == POOL_SUSPECT ? SLOT_HIDDEN : SLOT_GONE;
}

static void set_state(struct pools *ps, struct pool *p, enum pool_state state)
{
	p->silent = false;
	if (p->state == state)
		return;
	p->state = state;
	objects_slot_set(ps->ix, p->slot, slot_state(state));
	view_changed(ps);
}

static void lose(struct pools *ps, struct pool *p, uint64_t now)
{
	if (p->state == POOL_LOST)
		return;
	set_state(ps, p, POOL_LOST);
	p->lost_ns = now;
}

static void forget(struct pools *ps, struct pool *p)
{
	ps->by_index[p->info.index] = NULL;
	pool_free(p);
}

static void retire(struct pools *ps, uint16_t slot, uint64_t due_ns)
{
	struct retired *r = malloc(sizeof(*r));

	objects_slot_set(ps->ix, slot, SLOT_GONE);
	if (!r) {
		log_err("no memory to forget the replicas of slot %u: they stay, invisible", slot);
		return;
	}
	*r = (struct retired){ .slot = slot, .due_ns = due_ns };
	list_append(&ps->retired, &r->node);
}

static struct pool *by_id(struct pools *ps, const uint8_t id[16])
{
	for (uint32_t i = 0; i < POOLS_MAX; i++)
		if (ps->by_index[i] && !memcmp(ps->by_index[i]->info.id, id, 16))
			return ps->by_index[i];
	return NULL;
}

/* The pool of this very life; NULL when another life has begun or it was forgotten. */
static struct pool *of_life(struct pools *ps, const struct pool_life *l)
{
	struct pool *p = l->index < POOLS_MAX ? ps->by_index[l->index] : NULL;

	return p && p->slot == l->slot ? p : NULL;
}

/* ---- joining ---- */

static bool info_ok(const struct pool_info *in)
{
	static const uint8_t none[16];
	uint64_t end;

	if (!memcmp(in->id, none, 16) || !in->nr_regions || in->nr_regions > POOL_REGIONS_MAX)
		return false;
	for (unsigned i = 0; i < in->nr_regions; i++)
		if (!in->region[i].len || check_add(in->region[i].addr, in->region[i].len, &end))
			return false;
	return true;
}

static int text_dup(struct key *to, const struct key *from)
{
	char *text = malloc((size_t)from->len + 1);

	if (!text)
		return -ENOMEM;
	if (from->len)
		memcpy(text, from->data, from->len);
	text[from->len] = 0;
	*to = (struct key){ .data = text, .len = from->len };
	return 0;
}

static struct pool *pool_new(const struct pool_info *in)
{
	struct pool *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->info = *in;
	p->info.segment = p->info.unix_path = p->info.addr = (struct key){ 0 };
	if (text_dup(&p->info.segment, &in->segment) || text_dup(&p->info.unix_path, &in->unix_path) ||
	    text_dup(&p->info.addr, &in->addr)) {
		pool_free(p);
		return NULL;
	}
	return p;
}

/* Numbers rest as long as possible: a late client must not take one for another pool. 0 is nobody. */
static uint32_t free_index(struct pools *ps)
{
	for (uint32_t tried = 1; tried < POOLS_MAX; tried++) {
		uint32_t i = ps->next_index;

		ps->next_index = i + 1 < POOLS_MAX ? i + 1 : 1;
		if (!ps->by_index[i])
			return i;
	}
	return 0;
}

static int join(struct pools *ps, struct pool *p, uint64_t now, struct pool_life *life, struct pool_life *old)
{
	struct pool *known = by_id(ps, p->info.id);
	uint32_t index = known ? known->info.index : free_index(ps);
	int ret;

	if (known && known->state != POOL_LOST && known->info.epoch > p->info.epoch)
		return -ESTALE;
	if (!index)
		return -ENOSPC;
	ret = objects_slot_open(ps->ix, index, &p->slot);
	if (ret)
		return ret;
	ret = 0;
	if (known) {
		if (known->state != POOL_LOST) {
			objects_slot_set(ps->ix, known->slot, SLOT_GONE);
			*old = (struct pool_life){ index, known->slot, known->worker };
			ret = 1;
		}
		forget(ps, known);
	}
	p->info.index = index;
	p->state = POOL_ONLINE;
	p->worker = life->worker;
	p->joined_ns = p->heard_ns = now;
	p->stat = (struct msg_pool_stat){ .flags = p->info.flags, .capacity = p->info.capacity, .used = p->info.used };
	ps->by_index[index] = p;
	if (!ps->ready)
		ps->settled_from_ns = now;
	view_changed(ps);
	life->index = index;
	life->slot = p->slot;
	return ret;
}

int pools_join(struct pools *ps, const struct pool_info *in, uint64_t now, struct pool_life *life, struct pool_life *old)
{
	struct pool *p;
	int ret;

	if (!info_ok(in))
		return -EINVAL;
	p = pool_new(in);
	if (!p)
		return -ENOMEM;
	pthread_mutex_lock(&ps->lock);
	ret = join(ps, p, now, life, old);
	pthread_mutex_unlock(&ps->lock);
	if (ret < 0)
		pool_free(p);
	return ret;
}

void pools_heard(struct pools *ps, const struct pool_life *l, const struct msg_pool_stat *st, uint64_t now)
{
	struct pool *p;

	pthread_mutex_lock(&ps->lock);
	p = of_life(ps, l);
	if (p) {
		p->heard_ns = now;
		if (p->silent)
			set_state(ps, p, POOL_ONLINE);
		if (st->flags != p->info.flags)
			view_changed(ps);
		p->info.flags = st->flags;
		p->info.capacity = st->capacity;
		p->info.used = st->used;
		p->stat = *st;
	}
	pthread_mutex_unlock(&ps->lock);
}

void pools_synced(struct pools *ps, const struct pool_life *l)
{
	struct pool *p;

	pthread_mutex_lock(&ps->lock);
	p = of_life(ps, l);
	if (p)
		p->synced = true;
	pthread_mutex_unlock(&ps->lock);
}

void pools_ended(struct pools *ps, const struct pool_life *l, bool leave, uint64_t now)
{
	struct pool *p;

	pthread_mutex_lock(&ps->lock);
	p = of_life(ps, l);
	if (p) {
		lose(ps, p, now);
		if (leave)
			forget(ps, p);
	}
	/* Nobody uses the replicas any more; freeing them at once would only be work in the middle of a failure. */
	retire(ps, l->slot, p && !leave ? now + ps->o.ttl_ns : now);
	pthread_mutex_unlock(&ps->lock);
}

int pools_emptied(struct pools *ps, struct pool_life *l, const struct msg_dropped *d, uint64_t now)
{
	struct pool *p;
	uint16_t slot;
	int ret;

	ret = objects_slot_open(ps->ix, l->index, &slot);
	if (ret)
		return ret;
	for (uint32_t i = 0; i < d->nr; i++)
		objects_move(ps->ix, l->slot, slot, &d->kept[i].key, d->kept[i].gen);
	pthread_mutex_lock(&ps->lock);
	p = of_life(ps, l);
	objects_slot_set(ps->ix, slot, p ? slot_state(p->state) : SLOT_GONE);
	if (p)
		p->slot = slot;
	retire(ps, l->slot, now);
	pthread_mutex_unlock(&ps->lock);
	l->slot = slot;
	return 0;
}

void pools_bury(struct pools *ps, bool all_tenants)
{
	struct slot_stat st;
	struct retired *r;

	pthread_mutex_lock(&ps->lock);
	list_for_each_entry(r, &ps->retired, node) {
		objects_slot_stat(ps->ix, r->slot, &st);
		if (all_tenants || !st.tenanted)
			objects_slot_bury(ps->ix, r->slot);
	}
	pthread_mutex_unlock(&ps->lock);
}

void pools_suspect(struct pools *ps, uint32_t index, bool suspect)
{
	struct pool *p;

	pthread_mutex_lock(&ps->lock);
	p = index < POOLS_MAX ? ps->by_index[index] : NULL;
	if (p && p->state != POOL_LOST)
		set_state(ps, p, suspect ? POOL_SUSPECT : POOL_ONLINE);
	pthread_mutex_unlock(&ps->lock);
}

/* ---- housekeeping ---- */

void pools_tick(struct pools *ps, uint64_t now, void (*expired)(void *arg, const struct pool_life *l), void *arg)
{
	for (uint32_t i = 1; i < POOLS_MAX; i++) {
		struct pool_life l;
		bool report = false;
		struct pool *p;

		pthread_mutex_lock(&ps->lock);
		p = ps->by_index[i];
		if (p && p->state == POOL_LOST && now - p->lost_ns >= ps->o.ttl_ns) {
			forget(ps, p);
		} else if (p && p->state != POOL_LOST && now > p->heard_ns && now - p->heard_ns >= ps->o.ttl_ns) {
			lose(ps, p, now);
			l = (struct pool_life){ i, p->slot, p->worker };
			report = true;
		} else if (p && p->state == POOL_ONLINE && ps->o.quiet_ns && now > p->heard_ns &&
			   now - p->heard_ns >= ps->o.quiet_ns) {
			log_info("pool %u is silent: invisible until it is heard of", i);
			set_state(ps, p, POOL_SUSPECT);
			p->silent = true;
		}
		pthread_mutex_unlock(&ps->lock);
		if (report)
			expired(arg, &l);
	}
}

bool pools_purge(struct pools *ps, uint64_t now, unsigned max)
{
	struct retired *r, *due = NULL;

	pthread_mutex_lock(&ps->lock);
	list_for_each_entry(r, &ps->retired, node)
		if (r->due_ns <= now) {
			due = r;
			break;
		}
	pthread_mutex_unlock(&ps->lock);
	if (!due)
		return false;
	/* Entries are taken out here only, and this has one caller at a time. */
	if (objects_slot_purge(ps->ix, due->slot, max) == max)
		return true;
	objects_slot_close(ps->ix, due->slot);
	pthread_mutex_lock(&ps->lock);
	list_del(&due->node);
	pthread_mutex_unlock(&ps->lock);
	free(due);
	return true;
}

/* ---- everybody ---- */

uint32_t pools_view(const struct pools *ps)
{
	return atomic_load_explicit(&ps->view, memory_order_relaxed);
}

bool pools_ready(struct pools *ps, uint64_t now)
{
	bool ready;

	pthread_mutex_lock(&ps->lock);
	ready = ps->ready;
	if (!ready && now - ps->settled_from_ns >= ps->o.settle_ns) {
		ready = true;
		for (uint32_t i = 1; i < POOLS_MAX && ready; i++)
			ready = !ps->by_index[i] || ps->by_index[i]->synced || ps->by_index[i]->state == POOL_LOST;
		ps->ready = ready;
	}
	pthread_mutex_unlock(&ps->lock);
	return ready;
}

bool pools_life(struct pools *ps, uint32_t index, struct pool_life *out)
{
	struct pool *p;
	bool found;

	pthread_mutex_lock(&ps->lock);
	p = index < POOLS_MAX ? ps->by_index[index] : NULL;
	found = p && p->state != POOL_LOST;
	if (found)
		*out = (struct pool_life){ index, p->slot, p->worker };
	pthread_mutex_unlock(&ps->lock);
	return found;
}

bool pools_id(struct pools *ps, uint32_t index, uint8_t out[16])
{
	struct pool *p;

	pthread_mutex_lock(&ps->lock);
	p = index < POOLS_MAX ? ps->by_index[index] : NULL;
	if (p)
		memcpy(out, p->info.id, 16);
	pthread_mutex_unlock(&ps->lock);
	return p;
}

bool pools_address(struct pools *ps, uint32_t index, struct pool_address *out)
{
	struct pool *p;

	pthread_mutex_lock(&ps->lock);
	p = index < POOLS_MAX ? ps->by_index[index] : NULL;
	if (p && (p->state != POOL_ONLINE || p->info.flags & POOL_DRAINING))
		p = NULL;
	if (p) {
		memcpy(out->id, p->info.id, 16);
		memcpy(out->node, p->info.node, 16);
		memcpy(out->unix_path, p->info.unix_path.data, p->info.unix_path.len + 1u); /* with its NUL: text_dup() */
		memcpy(out->addr, p->info.addr.data, p->info.addr.len + 1u);
	}
	pthread_mutex_unlock(&ps->lock);
	return p;
}

void pools_encode(struct pools *ps, struct buf *out)
{
	struct msg_pools m = { 0 };

	pthread_mutex_lock(&ps->lock);
	m.view = pools_view(ps);
	m.pools = calloc(POOLS_MAX, sizeof(*m.pools));
	for (uint32_t i = 1; i < POOLS_MAX && m.pools; i++)
		if (ps->by_index[i] && ps->by_index[i]->state == POOL_ONLINE)
			m.pools[m.nr++] = ps->by_index[i]->info;
	if (m.pools)
		msg_pools_encode(&m, out);
	else
		out->err = -ENOMEM;
	pthread_mutex_unlock(&ps->lock);
	free(m.pools);
}

void pools_each(struct pools *ps, void (*fn)(void *arg, const struct pool *p), void *arg)
{
	pthread_mutex_lock(&ps->lock);
	for (uint32_t i = 1; i < POOLS_MAX; i++)
		if (ps->by_index[i])
			fn(arg, ps->by_index[i]);
	pthread_mutex_unlock(&ps->lock);
}
