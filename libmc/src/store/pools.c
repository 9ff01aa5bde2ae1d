/* SPDX-License-Identifier: Apache-2.0 */
/* Which pools there are. A set is immutable; when the master's view changes, a new one takes its place. */
#include "store/store.h"

#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#endif
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/log.h"

#define ATTACH_NS (2 * NSEC_PER_SEC)
#define FREE_NS (200 * NSEC_PER_MSEC) /* what the last user of a pool may wait for its owner */

static void spool_free(struct spool *p)
{
	if (p->attached && p->owner) {
		/* Nobody writes any more. Without this the owner keeps the space until this process ends. */
		if (!mux_broken(p->owner))
			grant_release(p, deadline_after_ns(FREE_NS));
		grant_forget(p);
		mux_close(p->owner);
		view_close(&p->view);
	} else if (!p->attached) {
		link_fini(&p->remote);
	}
	if (p->seg)
		mc_segment_close(p->seg);
	for (unsigned i = 0; i < POOL_REGIONS_MAX; i++)
		range_set_fini(&p->runs[i]);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

void spool_get(struct spool *p)
{
	atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
}

void spool_put(struct spool *p)
{
	if (p && atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) == 1)
		spool_free(p);
}

struct pool_set *pools_get(struct mc_store *s)
{
	struct pool_set *set;

	pthread_spin_lock(&s->set_lock);
	set = s->set;
	atomic_fetch_add_explicit(&set->refs, 1, memory_order_relaxed);
	pthread_spin_unlock(&s->set_lock);
	return set;
}

void pools_put(struct pool_set *set)
{
	if (atomic_fetch_sub_explicit(&set->refs, 1, memory_order_acq_rel) > 1)
		return;
	for (unsigned i = 0; i < set->nr; i++)
		spool_put(set->pool[i]);
	free(set);
}

struct spool *pools_by_index(const struct pool_set *set, uint32_t index)
{
	for (unsigned i = 0; i < set->nr; i++)
		if (set->pool[i]->index == index && !atomic_load(&set->pool[i]->gone))
			return set->pool[i];
	return NULL;
}

static struct pool_set *set_alloc(unsigned max)
{
	struct pool_set *set = calloc(1, sizeof(*set) + max * sizeof(set->pool[0]));

	if (set)
		atomic_init(&set->refs, 1);
	return set;
}

static void set_replace(struct mc_store *s, struct pool_set *set)
{
	struct pool_set *old;

	pthread_spin_lock(&s->set_lock);
	old = s->set;
	s->set = set;
	pthread_spin_unlock(&s->set_lock);
	if (old)
		pools_put(old);
}

void pools_view_seen(struct mc_store *s, uint32_t view)
{
	atomic_store_explicit(&s->view_seen, view, memory_order_relaxed);
}

/* ---- attaching ------------------------------------------------------------------------------------------------------ */

/*
 * An idle client keeps no memory that nobody serves. Whoever refreshes at this moment drops the pool as well; what call still uses
 * it has a reference.
 */
static void leave_set(struct loop_work *w)
{
	struct spool *p = container_of(w, struct spool, leaving);
	struct mc_store *s = p->store;
	struct pool_set *set;

	if (!pthread_mutex_trylock(&s->refresh_lock)) {
		set = s->set ? set_alloc(s->set->nr + 1) : NULL;
		for (unsigned i = 0; set && i < s->set->nr; i++) {
			if (s->set->pool[i] == p)
				continue;
			spool_get(s->set->pool[i]);
			set->pool[set->nr++] = s->set->pool[i];
		}
		if (set)
			set_replace(s, set);
		pthread_mutex_unlock(&s->refresh_lock);
	}
	prefault_stop(p);
	spool_put(p);
}

/*
 * The owner ended, or says goodbye: readers stop using its memory, because removals and upserts no longer reach it. An owner that
 * closes in order still listens, and waits for the space it granted.
 */
static void owner_gone(struct loop_fd *f, uint32_t ready)
{
	struct spool *p = container_of(f, struct spool, hup);

	atomic_store(&p->gone, true);
	loop_fd_del(p->store->loop, f);
	grant_release(p, deadline_after_ns(FREE_NS));
	log_info("the owner of pool %s ended", p->segment);
	atomic_store(&p->store->view_known, 0); /* ask the master at the next chance */
	spool_get(p);
	p->leaving.fn = leave_set; /* not from here, which is inside of it */
	loop_post(p->store->loop, &p->leaving);
}

struct watch_arg {
	struct spool *p;
	bool add;
};

static int watch(void *arg)
{
	struct watch_arg *w = arg;

	int ret;

	if (!w->add) {
		loop_fd_del(w->p->store->loop, &w->p->hup);
		prefault_stop(w->p);
		return 0;
	}
	ret = loop_fd_add(w->p->store->loop, &w->p->hup, mux_fd(w->p->owner), EPOLLRDHUP, owner_gone);
	if (!ret)
		prefault_start(w->p);
	return ret;
}

static int ask_attach(struct mc_store *s, struct spool *p, uint64_t deadline_ns)
{
	struct msg_attach m = { .write = true };
	struct msg_attach_reply info;
	struct scratch scratch = SCRATCH_INIT;
	struct buf body = BUF_INIT;
	struct mux_req r = { .type = MSG_ATTACH };
	int ret;

	memcpy(m.id, s->id, sizeof(m.id));
	memcpy(m.node, s->node, sizeof(m.node));
	msg_attach_encode(&m, &body);
	r.body = body.data;
	r.body_len = body.len;
	ret = body.err ? body.err : mux_call(p->owner, &r, deadline_ns);
	if (!ret)
		ret = msg_attach_reply_decode(r.reply.data, r.reply.len, &scratch, &info);
	if (!ret && r.nr_fds != 2 + info.nr_regions)
		ret = -EBADMSG;
	/* Another pool behind the same path: a generation there may be a number that is promised here. */
	if (!ret && p->epoch && memcmp(p->id, info.pool_id, sizeof(p->id)))
		ret = -ESTALE;
	if (!ret) {
		ret = view_open(r.fds[0], r.fds[1], r.fds + 2, &info, true, &p->view);
		r.nr_fds = 0; /* the view has them, or closed them */
		memcpy(p->id, info.pool_id, sizeof(p->id));
		p->epoch = info.epoch;
		p->nr_regions = info.nr_regions;
	}
	for (int i = 0; i < r.nr_fds; i++)
		close(r.fds[i]);
	scratch_fini(&scratch);
	buf_fini(&body);
	buf_fini(&r.reply);
	return ret;
}

static struct spool *spool_new(struct mc_store *s)
{
	struct spool *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	atomic_init(&p->refs, 1);
	p->store = s;
	pthread_mutex_init(&p->lock, NULL);
	return p;
}

/* Maps the pool behind @unix_path into @p. */
static int attach(struct mc_store *s, struct spool *p, const char *unix_path, uint64_t deadline_ns)
{
	struct watch_arg w = { p, true };
	struct msg_hello_reply hi;
	struct net_addr addr;
	int fd, ret;

	ret = net_addr_parse(unix_path, 0, &addr);
	if (ret)
		return ret;
	ret = net_connect(&addr, deadline_ns, &fd);
	if (ret)
		return ret;
	ret = mux_open(fd, &p->owner);
	if (ret) {
		close(fd);
		return ret;
	}
	ret = hello(p->owner, s, ROLE_CLIENT, unix_path, deadline_ns, &hi);
	if (!ret)
		ret = ask_attach(s, p, deadline_ns);
	if (ret)
		goto err_mux;
	ret = loop_call(s->loop, watch, &w);
	if (ret)
		goto err_view;
	p->attached = true;
	return 0;

err_view:
	view_close(&p->view);
err_mux:
	mux_close(p->owner);
	p->owner = NULL;
	return ret;
}

/* ---- refreshing ----------------------------------------------------------------------------------------------------- */

static void copy_text(char *to, size_t size, const struct key *from)
{
	size_t len = MIN((size_t)from->len, size - 1);

	memcpy(to, from->data, len);
	to[len] = 0;
}

static void take_info(struct spool *p, const struct pool_info *i)
{
	p->flags = i->flags;
	p->capacity = i->capacity;
	p->used = i->used;
	if (!p->nr_regions) /* else attached: the housekeeping thread is reading it */
		p->nr_regions = i->nr_regions;
	memcpy(p->region, i->region, sizeof(p->region));
	copy_text(p->segment, sizeof(p->segment), &i->segment);
	copy_text(p->unix_path, sizeof(p->unix_path), &i->unix_path);
	copy_text(p->addr, sizeof(p->addr), &i->addr);
	p->index = i->index; /* last: who finds the pool by it finds the rest */
}

static bool same_pool(const struct spool *p, const struct pool_info *i)
{
	return !memcmp(p->id, i->id, sizeof(p->id)) && p->epoch == i->epoch && !atomic_load(&p->gone);
}

/*
 * The pool for @i: the one we have, when nothing a reader depends on changed; else a new one. NULL: no memory.
 * The fields of a pool in a set never change, except use figures, which are hints.
 */
static struct spool *pool_for(struct mc_store *s, const struct pool_set *old, const struct pool_info *i, uint64_t deadline_ns)
{
	struct spool *p;
	int ret;

	for (unsigned k = 0; k < old->nr; k++) {
		p = old->pool[k];
		if (!same_pool(p, i))
			continue;
		p->capacity = i->capacity;
		p->used = i->used;
		p->flags = i->flags;
		if (!p->index)
			take_info(p, i); /* attached before the master told */
		/* Another master numbers anew. Who still holds an old answer reads elsewhere, and sees it: put ids differ. */
		p->index = i->index;
		spool_get(p);
		return p;
	}
	p = spool_new(s);
	if (!p)
		return NULL;
	memcpy(p->id, i->id, sizeof(p->id));
	p->epoch = i->epoch;
	take_info(p, i);
	p->same_node = !memcmp(i->node, s->node, sizeof(s->node));
	if (p->same_node && s->map_ok && i->unix_path.len) {
		ret = attach(s, p, p->unix_path, MIN(deadline_ns, deadline_after_ns(ATTACH_NS)));
		if (!ret)
			return p;
		log_warn_limited("cannot map pool %s through %s: %s%s; using the network instead", p->segment, p->unix_path,
				 strerror(-ret), ret == -EACCES ? " (only members of the node's --group may)" : "");
	}
	ret = link_init(&p->remote, s, p->addr, ROLE_CLIENT);
	if (ret) {
		pthread_mutex_destroy(&p->lock);
		free(p);
		return NULL;
	}
	return p;
}

/* Ends an attachment whose pool left the set: space goes back, the loop forgets the stream. */
static void retire(struct mc_store *s, struct spool *p)
{
	struct watch_arg w = { p, false };

	atomic_store(&p->gone, true);
	if (p->attached && p->owner)
		loop_call(s->loop, watch, &w);
}

static bool in_set(const struct pool_set *set, const struct spool *p)
{
	for (unsigned i = 0; i < set->nr; i++)
		if (set->pool[i] == p)
			return true;
	return false;
}

static int rebuild(struct mc_store *s, const struct msg_pools *m, uint64_t deadline_ns)
{
	struct pool_set *old = pools_get(s), *set = set_alloc(m->nr + 1);
	bool own = false;

	if (!set) {
		pools_put(old);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < m->nr; i++) {
		struct spool *p = pool_for(s, old, &m->pools[i], deadline_ns);

		if (p)
			set->pool[set->nr++] = p;
	}
	/* Our own pool stays, whether the master knows it at the moment or not. */
	for (unsigned i = 0; i < old->nr; i++) {
		struct spool *p = old->pool[i];

		own = s->owner && p->attached && !atomic_load(&p->gone) && !in_set(set, p) &&
		      !strcmp(p->unix_path, owner_unix_path(s->owner));
		if (own) {
			spool_get(p);
			set->pool[set->nr++] = p;
		} else if (!in_set(set, p)) {
			retire(s, p);
		}
	}
	set_replace(s, set);
	pools_put(old);
	return 0;
}

/* The thread sanitizer of gcc 12 does not see pthread_mutex_clocklock() and is told. */
static int lock_until(pthread_mutex_t *m, uint64_t deadline_ns)
{
	struct timespec ts = timespec_of(deadline_ns);
	int ret;

#ifdef __SANITIZE_THREAD__
	__tsan_mutex_pre_lock(m, __tsan_mutex_try_lock);
#endif
	ret = -pthread_mutex_clocklock(m, CLOCK_MONOTONIC, &ts);
#ifdef __SANITIZE_THREAD__
	__tsan_mutex_post_lock(m, __tsan_mutex_try_lock | (ret ? __tsan_mutex_try_lock_failed : 0), 0);
#endif
	return ret;
}

int pools_refresh(struct mc_store *s, bool force, uint64_t deadline_ns)
{
	struct ask a = ASK_INIT;
	int ret;

	ret = lock_until(&s->refresh_lock, deadline_ns);
	if (ret)
		return ret;
	if (!force && atomic_load(&s->view_seen) == atomic_load(&s->view_known))
		goto out; /* another thread did it */
	atomic_store_explicit(&s->refreshed_ns, clock_now_ns(), memory_order_relaxed);
	ret = store_ask_pools(s, deadline_ns, &a);
	if (!ret)
		ret = rebuild(s, &a.pools, deadline_ns);
	if (!ret) {
		atomic_store(&s->view_known, a.pools.view);
		atomic_store(&s->view_seen, a.pools.view);
	}
out:
	pthread_mutex_unlock(&s->refresh_lock);
	ask_end(&a);
	return ret;
}

static bool knows_all(const struct pool_set *set, const struct msg_located *m)
{
	for (uint32_t i = 0; i < m->nr; i++)
		for (unsigned r = 0; r < m->items[i].nr_replicas; r++)
			if (!pools_by_index(set, m->items[i].replica[r].pool))
				return false;
	return true;
}

struct pool_set *pools_for(struct mc_store *s, const struct msg_located *m, uint64_t deadline_ns)
{
	struct pool_set *set = pools_get(s);

	if (m && (!knows_all(set, m) || atomic_load(&s->view_seen) != atomic_load(&s->view_known))) {
		pools_refresh(s, !knows_all(set, m), deadline_ns);
		pools_put(set);
		set = pools_get(s);
	}
	return set;
}

int pools_attach(struct mc_store *s, const char *unix_path, struct spool **out, uint64_t deadline_ns)
{
	struct pool_set *set = set_alloc(1);
	struct spool *p = set ? spool_new(s) : NULL;
	int ret;

	if (!p) {
		free(set);
		return -ENOMEM;
	}
	p->same_node = true;
	snprintf(p->unix_path, sizeof(p->unix_path), "%s", unix_path);
	ret = attach(s, p, unix_path, deadline_ns);
	if (ret) {
		pthread_mutex_destroy(&p->lock);
		free(p);
		free(set);
		return ret;
	}
	for (unsigned i = 0; i < p->nr_regions; i++)
		p->region[i].len = p->view.region[i].size;
	set->pool[set->nr++] = p;
	set_replace(s, set);
	*out = p;
	return 0;
}

int pools_borrow(struct mc_store *s, const struct pool_view *v, const struct pool_ring *ring)
{
	struct pool_set *set = set_alloc(1);
	struct spool *p = set ? spool_new(s) : NULL;

	if (!p) {
		free(set);
		return -ENOMEM;
	}
	p->same_node = true;
	p->attached = true;
	p->view = *v;
	p->view.touches = ring->ring;
	p->view.touch_mask = ring->mask;
	set->pool[set->nr++] = p;
	set_replace(s, set);
	return 0;
}

int spool_segment(struct spool *p, uint64_t deadline_ns, struct mc_segment **out)
{
	struct mc_segment *seg, *spare = NULL;
	struct mc_engine *eng;
	int ret;

	pthread_mutex_lock(&p->lock);
	seg = p->seg;
	pthread_mutex_unlock(&p->lock);
	if (!seg) {
		ret = store_engine(p->store, &eng);
		if (!ret)
			ret = mc_segment_open(eng, p->segment, deadline_ns, &seg);
		if (ret)
			return ret;
		pthread_mutex_lock(&p->lock);
		if (p->seg)
			spare = seg;
		else
			p->seg = seg;
		seg = p->seg;
		pthread_mutex_unlock(&p->lock);
		if (spare)
			mc_segment_close(spare);
	}
	*out = seg;
	return 0;
}

void pools_fini(struct mc_store *s)
{
	struct pool_set *set;

	pthread_mutex_lock(&s->refresh_lock); /* an owner may be going at this moment: leave_set() */
	set = s->set;
	s->set = NULL;
	pthread_mutex_unlock(&s->refresh_lock);
	if (!set)
		return;
	for (unsigned i = 0; i < set->nr; i++)
		retire(s, set->pool[i]);
	pools_put(set);
}
