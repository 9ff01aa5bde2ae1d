// SPDX-License-Identifier: Apache-2.0
/*
 * Removing all objects that match. Two ways:
 *
 *	all at once	everything of a pool goes but what is leased, which is little: one message per pool. Its answer marks a
 *			point in the pool's stream: what it published before is gone, so the pool gets a fresh slot, what it kept
 *			moves there, and the old one is purged.
 *	one by one	walk the index in slices of well under a millisecond, match outside of any lock, drop in batches.
 *
 * What the first way leaves (an owner kept more than it could name) the second takes up.
 */
#include "base/log.h"
#include "base/pattern.h"
#include "master.h"

#define SLICE_KEYS 2048
#define SLICE_STEPS 8192
#define TEXT_BYTES (512 * KiB) /* of keys in one slice: more than one key takes */
#define SLICE_NS (NSEC_PER_MSEC / 2)

struct removal {
	struct worker *w;
	struct removal_opts o;
	uint8_t tenant[TENANT_MAX];
	struct pattern *pattern; /* NULL: all */
	bool whole; /* all objects: counted in master.emptying */
	struct loop_work work; /* the next slice */
	uint64_t removed;
	int status;

	/* All at once: */
	atomic_uint asked; /* pools that were asked and have not answered */
	_Atomic uint64_t emptied;
	atomic_bool rest; /* not everything that could went */

	struct drop_item leased[KEPT_MAX]; /* at the master */
	uint32_t nr_leased;

	/* One by one: */
	uint64_t cursor;
	bool at_end;
	struct key keys[SLICE_KEYS]; /* copies */
	uint32_t nr, tried, kept; /* keys[0..kept) match, keys[tried..nr) have not been looked at */
	size_t bytes;
	uint8_t *text;
};

static void finish(struct removal *rm)
{
	struct master *m = rm->w->m;

	count(rm->w, CNT_MATCH, 1);
	count(rm->w, CNT_MATCH_REMOVED, rm->removed);
	if (rm->whole)
		atomic_fetch_sub(&m->emptying, 1);
	rm->o.done(rm->o.arg, rm->status, rm->removed);
	pattern_close(rm->pattern);
	free(rm->text);
	free(rm);
	atomic_fetch_sub(&m->ops, 1);
}

/* ---- one by one ---- */

static void slice(struct loop_work *work);

static void again(struct removal *rm)
{
	rm->work.fn = slice;
	loop_post(rm->w->loop, &rm->work);
}

/* Under a shard's lock: copies. */
static bool take_key(void *arg, const struct object_view *o)
{
	struct removal *rm = arg;
	struct key tenant, key;

	if ((o->leased && !rm->o.force) || key_split(&o->key, &tenant, &key))
		return true;
	if (!rm->o.all_tenants &&
	    (tenant.len != rm->o.tenant.len || memcmp(tenant.data, rm->o.tenant.data, tenant.len)))
		return true;
	if (rm->nr == SLICE_KEYS || rm->bytes + o->key.len > TEXT_BYTES)
		return false;
	memcpy(rm->text + rm->bytes, o->key.data, o->key.len);
	rm->keys[rm->nr++] = (struct key){ .data = rm->text + rm->bytes, .len = o->key.len };
	rm->bytes += o->key.len;
	return true;
}

static bool matches(const struct removal *rm, const struct key *full)
{
	struct key tenant, key;

	return !rm->pattern || (!key_split(full, &tenant, &key) && pattern_find(rm->pattern, key.data, key.len));
}

static void dropped_one(void *arg, uint32_t tag, const struct holder *h, const struct key *key, int status)
{
	struct removal *rm = arg;

	if (status < 0)
		rm->keys[tag].len = 0; /* somebody keeps it */
	else if (status == DROP_UNHEARD)
		objects_bury(rm->w->m->ix, h->slot, key, h->gen);
	else
		objects_withdraw(rm->w->m->ix, h->slot, key, h->gen);
}

static void dropped(void *arg, struct drops *d)
{
	struct removal *rm = arg;

	drops_each(d, dropped_one, rm);
	for (uint32_t i = 0; i < rm->kept; i++)
		rm->removed += rm->keys[i].len != 0;
	rm->nr = rm->tried = rm->kept = 0;
	rm->bytes = 0;
	again(rm);
}

static int drop_kept(struct removal *rm)
{
	struct drops *d = drops_new(rm->w, rm->o.force, dropped, rm);
	uint64_t now = clock_now_ns();
	int ret = d ? 0 : -ENOMEM;

	for (uint32_t i = 0; i < rm->kept && !ret; i++) {
		struct holder h[REPLICAS_MAX];
		unsigned nr;

		if (i % OBJECTS_BATCH == 0)
			objects_prefetch(rm->w->m->ix, &rm->keys[i], sizeof(*rm->keys), MIN(rm->kept - i, (uint32_t)OBJECTS_BATCH));
		if (objects_holders(rm->w->m->ix, &rm->keys[i], rm->o.force, now, h, &nr))
			rm->keys[i].len = 0; /* leased or gone meanwhile */
		for (unsigned k = 0; k < nr && !ret; k++)
			ret = drops_add(d, &h[k], &rm->keys[i], i);
	}
	if (!ret)
		drops_send(d);
	else if (d)
		drops_cancel(d);
	return ret;
}

static void slice(struct loop_work *work)
{
	struct removal *rm = container_of(work, struct removal, work);
	uint64_t start = clock_now_ns();

	if (rm->w->stopping)
		rm->status = -ESHUTDOWN;
	if (rm->status || (rm->at_end && !rm->nr)) {
		finish(rm);
		return;
	}
	if (!rm->nr) {
		rm->cursor = objects_walk(rm->w->m->ix, rm->cursor, SLICE_STEPS, start, take_key, rm);
		rm->at_end = !rm->cursor;
	}
	while (rm->tried < rm->nr && clock_now_ns() - start < SLICE_NS) {
		if (matches(rm, &rm->keys[rm->tried]))
			rm->keys[rm->kept++] = rm->keys[rm->tried];
		rm->tried++;
	}
	if (rm->tried < rm->nr) {
		again(rm);
	} else if (rm->kept) {
		rm->status = drop_kept(rm);
		if (rm->status)
			finish(rm);
	} else {
		rm->nr = rm->tried = 0;
		rm->bytes = 0;
		again(rm);
	}
}

/* ---- all at once ---- */

struct emptying {
	struct loop_work work;
	struct removal *rm;
	struct pool_life life;
};

static void all_answered(struct loop_work *work)
{
	struct removal *rm = container_of(work, struct removal, work);

	rm->removed = atomic_load(&rm->emptied);
	rm->bytes = 0; /* the text is free for keys again */
	if (atomic_load(&rm->rest))
		slice(&rm->work);
	else
		finish(rm);
}

static void answered_one(struct removal *rm)
{
	if (atomic_fetch_sub(&rm->asked, 1) != 1)
		return;
	rm->work.fn = all_answered;
	loop_post(rm->w->loop, &rm->work);
}

/* On the pool's worker, in the order of its stream. */
static void emptied(void *arg, int status, const uint8_t *body, size_t len)
{
	struct scratch s = SCRATCH_INIT;
	struct emptying *e = arg;
	struct removal *rm = e->rm;
	struct master *m = rm->w->m;
	struct peer *p = m->workers[e->life.worker].owners[e->life.index];
	struct msg_dropped d;
	struct slot_stat st;

	if (status == -ECONNRESET) {
		objects_slot_bury(m->ix, e->life.slot); /* invisible already, and not to come back */
	} else if (status || msg_dropped_decode(body, len, &s, &d) || !p || p->life.slot != e->life.slot) {
		atomic_store(&rm->rest, true);
	} else {
		objects_slot_stat(m->ix, p->life.slot, &st);
		/* Of an object with a replica elsewhere, which went, this may count one too many: it is kept here. */
		if (d.count + d.nr < st.replicas || pools_emptied(m->pools, &p->life, &d, clock_now_ns()))
			atomic_store(&rm->rest, true);
		else
			atomic_fetch_add(&rm->emptied, st.objects - MIN(st.objects, (uint64_t)d.nr));
	}
	scratch_fini(&s);
	answered_one(rm);
	free(e);
}

static void ask_owner(struct loop_work *work)
{
	struct emptying *e = container_of(work, struct emptying, work);
	struct master *m = e->rm->w->m;
	struct msg_drop_match msg = {
		.force = e->rm->o.force, .all_tenants = e->rm->o.all_tenants, .tenant = e->rm->o.tenant,
		.nr = e->rm->nr_leased, .leased = e->rm->leased,
	};
	struct peer *p = m->workers[e->life.worker].owners[e->life.index];
	struct buf b = BUF_INIT;
	int ret = -ECONNRESET;

	if (p && p->life.slot == e->life.slot) {
		msg_drop_match_encode(&msg, &b);
		ret = b.err ? b.err : conn_call(p->conn, MSG_DROP_MATCH, b.data, b.len, deadline_after_ns(m->set.client_ttl_ns),
						emptied, e);
	}
	buf_fini(&b);
	if (ret)
		emptied(e, ret, NULL, 0);
}

struct asking {
	struct removal *rm;
	struct loop_work *first; /* of struct emptying */
	unsigned nr;
};

static void note_pool(void *arg, const struct pool *p)
{
	struct asking *a = arg;
	struct removal *rm = a->rm;
	struct slot_stat st;
	struct emptying *e;

	if (p->state == POOL_LOST)
		return;
	objects_slot_stat(rm->w->m->ix, p->slot, &st);
	if (!st.replicas)
		return;
	e = !rm->o.all_tenants && st.tenanted ? NULL : calloc(1, sizeof(*e));
	if (!e) {
		atomic_store(&rm->rest, true);
		return;
	}
	*e = (struct emptying){ .work.fn = ask_owner, .rm = rm, .life = { p->info.index, p->slot, p->worker } };
	e->work.next = a->first;
	a->first = &e->work;
	a->nr++;
}

static void empty_pools(struct removal *rm)
{
	struct asking a = { .rm = rm };
	struct loop_work *next;

	pools_each(rm->w->m->pools, note_pool, &a);
	atomic_store(&rm->asked, a.nr + 1); /* one is ours, until all are on their way */
	for (struct loop_work *w = a.first; w; w = next) {
		struct emptying *e = container_of(w, struct emptying, work);

		next = w->next;
		loop_post(rm->w->m->workers[e->life.worker].loop, w);
	}
	answered_one(rm);
}

/* Under a shard's lock: copies. False: there are too many to name. */
static bool note_leased(void *arg, const struct object_view *o)
{
	struct removal *rm = arg;

	if (rm->bytes + o->key.len > TEXT_BYTES)
		return false;
	memcpy(rm->text + rm->bytes, o->key.data, o->key.len);
	rm->leased[rm->nr_leased++] = (struct drop_item){ .key = { rm->text + rm->bytes, o->key.len } };
	rm->bytes += o->key.len;
	return true;
}

/* Can pools be asked to keep what is leased here, because it is little? */
static bool find_leased(struct removal *rm)
{
	if (rm->o.force || !objects_each_leased(rm->w->m->ix, clock_now_ns(), KEPT_MAX, note_leased, rm))
		return true;
	rm->nr_leased = 0;
	rm->bytes = 0;
	return false;
}

int removal_start(struct worker *w, const struct removal_opts *o)
{
	struct removal *rm = calloc(1, sizeof(*rm));
	int ret = -ENOMEM;

	if (!rm)
		return -ENOMEM;
	rm->text = malloc(TEXT_BYTES);
	if (!rm->text)
		goto err;
	rm->w = w;
	rm->o = *o;
	memcpy(rm->tenant, o->tenant.data ? o->tenant.data : "", MIN(o->tenant.len, (uint16_t)TENANT_MAX));
	rm->o.tenant.data = rm->tenant;
	if (o->pattern.len) {
		ret = pattern_open(o->pattern.data, o->pattern.len, &rm->pattern);
		if (ret)
			goto err;
	}
	atomic_fetch_add(&w->m->ops, 1);
	rm->whole = !o->pattern.len && (o->all_tenants || !o->tenant.len);
	if (rm->whole) {
		/* First: a task that begins sees it, or is seen below. */
		atomic_fetch_add(&w->m->emptying, 1);
		pools_bury(w->m->pools, o->all_tenants);
	}
	if (rm->whole && !objects_bound(w->m->ix) && find_leased(rm))
		empty_pools(rm);
	else
		again(rm);
	return 0;

err:
	free(rm->text);
	free(rm);
	return ret;
}
