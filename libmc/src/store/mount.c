/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that comes and goes while a store is open. Each mount is a pool with an owner of its own, so to unmount is to close that
 * owner: it drains, the master and the clients hear of it, and only then the engine lets go and the memory is freed.
 *
 *	MOUNTED ──unmount──▸ closed
 *	   └──unmount, grace──▸ LEAVING: readable, takes nothing ──reaper──▸ closed
 */
#include "store/store.h"

#include <mooncake/mount.h>
#include <stdio.h>

#include "base/log.h"
#include "base/thread.h"

#define LEAVE_NS (2 * NSEC_PER_SEC) /* for puts under way, and clients to return what they hold */

struct mount {
	struct list node; /* of mounts.all */
	struct mc_uuid id;
	struct owner *owner;
	struct mc_engine *engine;
	void *served[POOL_REGIONS_MAX]; /* registered with it */
	unsigned nr_served;
	bool leaving;
	uint64_t close_ns; /* leaving: when the grace is over */
};

struct mounts {
	pthread_mutex_t lock; /* of all below; not held while anything waits */
	pthread_cond_t changed;
	struct list all;
	pthread_t reaper;
	bool reaping, stop;
};

/* ---- the end of one ---- */

static void unserve(void *arg)
{
	struct mount *m = arg;

	owner_empty(m->owner);
	/* Waits for what peers are reading. */
	if (m->nr_served)
		mc_region_del_many(m->engine, m->served, m->nr_served);
}

static void mount_close(struct mount *m)
{
	owner_close_then(m->owner, deadline_after_ns(LEAVE_NS), unserve, m);
	free(m);
}

/* ---- the reaper: one thread, from the first unmounting with grace on ---- */

static struct mount *take_due(struct mounts *ms, uint64_t *next_ns)
{
	uint64_t now = clock_now_ns();
	struct mount *m;

	*next_ns = DEADLINE_NEVER;
	list_for_each_entry(m, &ms->all, node) {
		if (!m->leaving)
			continue;
		if (m->close_ns <= now) {
			list_del(&m->node);
			return m;
		}
		*next_ns = MIN(*next_ns, m->close_ns);
	}
	return NULL;
}

static void *reap(void *arg)
{
	struct mounts *ms = arg;
	struct mount *m;
	uint64_t next;

	pthread_mutex_lock(&ms->lock);
	while (!ms->stop) {
		m = take_due(ms, &next);
		if (!m) {
			cond_wait_until(&ms->changed, &ms->lock, next);
			continue;
		}
		pthread_mutex_unlock(&ms->lock);
		mount_close(m);
		pthread_mutex_lock(&ms->lock);
	}
	pthread_mutex_unlock(&ms->lock);
	return NULL;
}

/* ---- all of a store ---- */

int mounts_open(struct mounts **out)
{
	struct mounts *ms = calloc(1, sizeof(*ms));

	if (!ms)
		return -ENOMEM;
	pthread_mutex_init(&ms->lock, NULL);
	pthread_cond_init(&ms->changed, NULL);
	list_init(&ms->all);
	*out = ms;
	return 0;
}

void mounts_close(struct mounts *ms)
{
	struct mount *m, *tmp;

	if (!ms)
		return;
	pthread_mutex_lock(&ms->lock);
	ms->stop = true;
	pthread_cond_signal(&ms->changed);
	pthread_mutex_unlock(&ms->lock);
	if (ms->reaping)
		pthread_join(ms->reaper, NULL);
	list_for_each_entry_safe(m, tmp, &ms->all, node)
		mount_close(m);
	pthread_cond_destroy(&ms->changed);
	pthread_mutex_destroy(&ms->lock);
	free(ms);
}

/* ---- mounting ---- */

/* What the owner has, for peers. */
static int serve(struct mount *m)
{
	const struct pool_view *v = owner_view(m->owner);
	struct mc_range ranges[POOL_REGIONS_MAX];
	int ret;

	for (uint32_t i = 0; i < v->nr_regions; i++)
		ranges[i] = (struct mc_range){ v->region[i].base, v->region[i].size };
	ret = mc_region_add_many(m->engine, ranges, v->nr_regions, NULL);
	if (ret) {
		log_err("mounted memory cannot be registered for other nodes: %s", strerror(-ret));
		return ret;
	}
	for (uint32_t i = 0; i < v->nr_regions; i++)
		m->served[i] = ranges[i].addr;
	m->nr_served = v->nr_regions;
	return 0;
}

static int start_owner(struct mc_store *s, const struct pool_opts *po, struct mount *m)
{
	char listen[NET_ADDR_TEXT];
	const struct owner_opts oo = {
		.pool_opts = *po,
		.master = s->master.addr,
		.listen = listen,
		.segment = mc_engine_name(m->engine),
		.apart = po->memory,
	};

	snprintf(listen, sizeof(listen), strchr(s->host, ':') ? "[%s]:0" : "%s:0", s->host);
	return owner_open(&oo, &m->owner);
}

static int mount_pool(struct mc_store *s, const struct pool_opts *po, uint64_t deadline_ns, struct mc_uuid *id)
{
	struct mount *m = calloc(1, sizeof(*m));
	uint8_t pool[16];
	int ret;

	if (!m)
		return -ENOMEM;
	ret = store_serving_engine(s, deadline_ns, &m->engine);
	if (!ret)
		ret = start_owner(s, po, m);
	if (ret)
		goto err_free;
	ret = serve(m);
	if (!ret)
		ret = owner_joined(m->owner, deadline_ns);
	if (ret) {
		log_err("%llu bytes are not mounted: %s", (unsigned long long)po->bytes, strerror(-ret));
		mount_close(m);
		return ret;
	}
	owner_pool_id(m->owner, pool);
	m->id = *id = store_uuid(pool);
	pthread_mutex_lock(&s->mounts->lock);
	list_append(&s->mounts->all, &m->node);
	pthread_mutex_unlock(&s->mounts->lock);
	pools_refresh(s, true, deadline_ns); /* our own puts may use it at once; later is fine, too */
	return 0;

err_free:
	free(m);
	return ret;
}

static int mount_enter(struct mc_store *s)
{
	int ret = store_enter(s);

	if (ret)
		return ret;
	if (s->of_node)
		err_note("a client of a node mounts no memory: the node does, or a client of its own");
	else if (s->ops == &embedded_ops)
		err_note("a store without a master mounts no memory");
	ret = s->of_node ? -ENOSYS : s->ops == &embedded_ops ? -EOPNOTSUPP : 0;
	if (ret)
		store_leave(s);
	return ret;
}

static int check_bytes(uint64_t bytes)
{
	if (bytes >= POOL_MIN_BYTES)
		return 0;
	err_note("%llu bytes are too few to be mounted: at least %llu", (unsigned long long)bytes, (unsigned long long)POOL_MIN_BYTES);
	return -EINVAL;
}

int mc_store_mount_file(struct mc_store *s, const char *path, uint64_t off, uint64_t bytes, uint64_t deadline_ns,
			struct mc_uuid *id)
{
	struct region r = { .fd = -1 };
	const struct pool_opts po = { .name = "mooncake-mount", .memory = &r, .bytes = bytes };
	int ret = mount_enter(s);

	if (ret)
		return ret;
	ret = check_bytes(bytes);
	if (!ret)
		ret = region_file(path, off, bytes, &r);
	if (!ret)
		ret = mount_pool(s, &po, store_deadline(s, deadline_ns), id);
	region_close(&r); /* unless the pool took it */
	store_leave(s);
	return ret;
}

int mc_store_mount_memory(struct mc_store *s, uint64_t bytes, uint64_t deadline_ns, struct mc_uuid *id)
{
	const struct pool_opts po = {
		.name = "mooncake-mount", .bytes = bytes, .region_flags = REGION_POPULATE | REGION_HUGE, .spread = true,
	};
	int ret = mount_enter(s);

	if (ret)
		return ret;
	ret = check_bytes(bytes);
	if (!ret)
		ret = mount_pool(s, &po, store_deadline(s, deadline_ns), id);
	store_leave(s);
	return ret;
}

/* ---- unmounting ---- */

static struct mount *find(struct mounts *ms, const struct mc_uuid *id)
{
	struct mount *m;

	list_for_each_entry(m, &ms->all, node)
		if (m->id.hi == id->hi && m->id.lo == id->lo && !m->leaving)
			return m;
	return NULL;
}

/* With the lock. -EAGAIN: there is no thread for it. */
static int leave_later(struct mounts *ms, struct mount *m, uint64_t grace_ns)
{
	if (!ms->reaping)
		ms->reaping = !thread_start(&ms->reaper, "mc-unmount", reap, ms);
	if (!ms->reaping)
		return -EAGAIN;
	m->leaving = true;
	m->close_ns = deadline_after_ns(grace_ns);
	owner_drain(m->owner);
	pthread_cond_signal(&ms->changed);
	return 0;
}

static int unmount(struct mounts *ms, const struct mc_uuid *id, uint64_t grace_ns)
{
	struct mount *m;
	int ret = -ENOENT;

	pthread_mutex_lock(&ms->lock);
	m = find(ms, id);
	if (m && grace_ns) {
		ret = leave_later(ms, m, grace_ns);
		m = NULL;
	}
	if (m)
		list_del(&m->node);
	pthread_mutex_unlock(&ms->lock);
	if (!m)
		return ret;
	mount_close(m);
	return 0;
}

int mc_store_unmount(struct mc_store *s, const struct mc_uuid *id, uint64_t grace_ns)
{
	int ret = mount_enter(s);

	if (ret)
		return ret == -EOPNOTSUPP ? -ENOENT : ret;
	ret = unmount(s->mounts, id, grace_ns);
	if (ret == -ENOENT)
		err_note("this store has mounted nothing with the id %llu-%llu", (unsigned long long)id->hi, (unsigned long long)id->lo);
	store_leave(s);
	return ret;
}
