// SPDX-License-Identifier: Apache-2.0
/* Memory for the program's buffers (mooncake/memory.h): regions of memfd, found again by their address. */
#include <mooncake/memory.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/env.h"
#include "base/list.h"
#include "base/log.h"
#include "base/opts.h"
#include "dev/dev.h"

#define MEMORY_NAME "mooncake_shm"

struct memory {
	struct list node;
	struct region region;
	size_t bytes;
	unsigned holds; /* registrations */
	bool freed;	/* by its owner; goes with the last hold */
};

static struct list all = { &all, &all };
static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER; /* guards the list and what hangs in it; never held for long */
static pthread_once_t all_once = PTHREAD_ONCE_INIT;

/* A child has a copy of the list: it must not come to it halfway through a change. */
static void before_fork(void)
{
	pthread_mutex_lock(&all_lock);
}

static void after_fork(void)
{
	pthread_mutex_unlock(&all_lock);
}

static void watch_forks(void)
{
	pthread_atfork(before_fork, after_fork, after_fork);
}

/* With the lock. */
static struct memory *starts_at(const void *addr)
{
	struct memory *m;

	list_for_each_entry(m, &all, node)
		if (m->region.base == addr && !m->freed)
			return m;
	return NULL;
}

/* ---- how ---------------------------------------------------------------------------------------------------------- */

static uint64_t page_of_environment(void)
{
	uint64_t bytes = 0;
	struct env env;

	if (env_open(&env))
		return 0;
	if (env.store_use_hugepage)
		parse_size(env.store_hugepage_size, &bytes);
	env_close(&env);
	return bytes;
}

static int take_opts(const struct mc_memory_opts *in, struct mc_memory_opts *o)
{
	int ret;

	*o = (struct mc_memory_opts){ .size = sizeof(*o), .node = -1 };
	if (!in) {
		o->page_bytes = page_of_environment();
		return 0;
	}
	ret = opts_take(in, offsetof(struct mc_memory_opts, flags), o, sizeof(*o));
	if (ret)
		return ret;
	return o->flags || (o->page_bytes && o->page_bytes != 2 * MiB && o->page_bytes != GiB) ? -EINVAL : 0;
}

static unsigned region_flags(uint64_t page_bytes)
{
	return REGION_MEMFD | REGION_POPULATE | (page_bytes ? REGION_HUGE : 0) | (page_bytes == GiB ? REGION_GIANT : 0);
}

/* ---- the calls ---------------------------------------------------------------------------------------------------- */

int mc_memory_alloc(size_t bytes, const struct mc_memory_opts *opts, void **out)
{
	struct mc_memory_opts o;
	int ret = take_opts(opts, &o);
	struct memory *m;

	if (!ret && !bytes)
		ret = -EINVAL;
	if (ret) {
		err_note("memory of %zu bytes: at least one, on pages of 2 MiB or 1 GiB or ordinary ones", bytes);
		return ret;
	}
	pthread_once(&all_once, watch_forks);
	m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->bytes = bytes;
	ret = region_create(MEMORY_NAME, bytes, region_flags(o.page_bytes), o.node, &m->region);
	if (ret) {
		free(m);
		return ret;
	}
	/* It is the program's, not a pool's: its children may go on with it. */
	madvise(m->region.base, m->region.size, MADV_DOFORK);
	*out = m->region.base;
	pthread_mutex_lock(&all_lock);
	list_append(&all, &m->node);
	pthread_mutex_unlock(&all_lock);
	return 0;
}

/* One hold less, or its owner's: the last one takes the memory along. */
static void drop(struct memory *m)
{
	if (!m)
		return;
	region_close(&m->region);
	free(m);
}

int mc_memory_free(void *addr)
{
	struct memory *m, *last = NULL;

	pthread_mutex_lock(&all_lock);
	m = starts_at(addr);
	if (m) {
		m->freed = true;
		if (!m->holds) {
			list_del(&m->node);
			last = m;
		}
	}
	pthread_mutex_unlock(&all_lock);
	drop(last);
	return m ? 0 : -ENOENT;
}

int mc_memory_find(const void *addr, struct mc_memory_info *info, int *fd)
{
	const struct memory *m;
	int ret = -ENOENT;

	pthread_mutex_lock(&all_lock);
	m = starts_at(addr);
	if (m && fd) {
		ret = fcntl(m->region.fd, F_DUPFD_CLOEXEC, 0);
		*fd = ret < 0 ? *fd : ret;
		ret = ret < 0 ? -errno : 0;
	} else if (m) {
		ret = 0;
	}
	if (!ret)
		*info = (struct mc_memory_info){ m->bytes, m->region.size, m->region.page_size };
	pthread_mutex_unlock(&all_lock);
	return ret;
}

/* ---- holds -------------------------------------------------------------------------------------------------------- */

void *memory_hold(const void *addr, size_t len)
{
	struct memory *m, *found = NULL;

	pthread_mutex_lock(&all_lock);
	list_for_each_entry(m, &all, node) {
		if (m->freed || (const char *)addr < (const char *)m->region.base ||
		    !range_inside((uint64_t)((const char *)addr - (const char *)m->region.base), len, m->region.size))
			continue;
		m->holds++;
		found = m;
		break;
	}
	pthread_mutex_unlock(&all_lock);
	return found;
}

void memory_let_go(void *hold)
{
	struct memory *m = hold, *last = NULL;

	if (!m)
		return;
	pthread_mutex_lock(&all_lock);
	if (!--m->holds && m->freed) {
		list_del(&m->node);
		last = m;
	}
	pthread_mutex_unlock(&all_lock);
	drop(last);
}
