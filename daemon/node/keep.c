// SPDX-License-Identifier: Apache-2.0
/*
 * The pool's memory across restarts: its descriptors lie in the service manager's store, under the names "pool-dir",
 * "pool-ledger", "pool-0", "pool-1" …, and the next process adopts them.
 */
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "node.h"

#define DIR_NAME "pool-dir"
#define LEDGER_NAME "pool-ledger"

struct kept {
	int dir_fd, ledger_fd, fds[POOL_REGIONS_MAX];
	unsigned nr;
};

struct region_name {
	char text[16];
};

static struct region_name region_name(unsigned i)
{
	struct region_name n;

	snprintf(n.text, sizeof(n.text), "pool-%u", i);
	return n;
}

/* All of it or nothing: without its ledger a pool is not safe to take over. */
static bool kept_find(struct kept *k)
{
	*k = (struct kept){ .dir_fd = -1, .ledger_fd = -1 };
	if (svc_kept_fd(DIR_NAME, &k->dir_fd) || svc_kept_fd(LEDGER_NAME, &k->ledger_fd))
		return false;
	while (k->nr < POOL_REGIONS_MAX && !svc_kept_fd(region_name(k->nr).text, &k->fds[k->nr]))
		k->nr++;
	return true;
}

static void forget(const char *name)
{
	int fd;

	if (!svc_kept_fd(name, &fd))
		svc_forget_fd(name);
}

static void keep(const struct pool *p, int ledger_fd)
{
	const struct pool_view *v = pool_view(p);
	int ret;

	forget(DIR_NAME);
	forget(LEDGER_NAME);
	for (unsigned i = 0; i < POOL_REGIONS_MAX; i++)
		forget(region_name(i).text);
	ret = svc_keep_fd(DIR_NAME, v->dir_region.fd);
	if (!ret)
		ret = svc_keep_fd(LEDGER_NAME, ledger_fd);
	for (unsigned i = 0; !ret && i < v->nr_regions; i++)
		ret = svc_keep_fd(region_name(i).text, v->region[i].fd);
	if (ret && ret != -ENOTCONN)
		log_warn("node: the pool will not outlive this process: the service manager does not keep it: %s", strerror(-ret));
}

static uint64_t pool_bytes(const struct pool *p)
{
	struct pool_stat st;

	pool_stat(p, &st);
	return st.capacity;
}

static bool adopt(const struct node_options *o, struct pool **out, int *ledger_fd)
{
	uint64_t found = 0, lost = 0;
	struct kept k;
	int ret;

	if (!kept_find(&k))
		return false;
	ret = pool_adopt(k.dir_fd, k.fds, k.nr, o->eviction[0] ? o->eviction : NULL, out, &found, &lost);
	if (ret) {
		log_warn("node: the kept pool cannot be used (%s): starting an empty one", strerror(-ret));
		close(k.ledger_fd);
		return false;
	}
	*ledger_fd = k.ledger_fd;
	log_info("node: took over %llu objects, %llu were unfinished", (unsigned long long)found, (unsigned long long)lost);
	if (pool_bytes(*out) + 2 * POOL_UNIT < o->global_segment_size)
		log_warn("node: the kept pool has %llu bytes, not the %llu asked for: stop the service and clear its descriptor "
			 "store to resize it",
			 (unsigned long long)pool_bytes(*out), (unsigned long long)o->global_segment_size);
	return true;
}

int node_pool_open(const struct node_options *o, struct pool **out, int *ledger_fd)
{
	struct pool_opts po = {
		.name = "node",
		.bytes = o->global_segment_size,
		.region_flags = (o->huge_pages ? REGION_HUGE : 0) | (o->populate ? REGION_POPULATE : 0),
		.policy = o->eviction[0] ? o->eviction : NULL,
	};
	int ret;

	if (adopt(o, out, ledger_fd))
		return 0;
	ret = pool_create(&po, out);
	if (ret) {
		log_err("node: no pool of %llu bytes: %s", (unsigned long long)po.bytes, strerror(-ret));
		return ret;
	}
	ret = owner_ledger_create(ledger_fd);
	if (ret) {
		pool_close(*out);
		*out = NULL;
		return ret;
	}
	keep(*out, *ledger_fd);
	return 0;
}
