// SPDX-License-Identifier: Apache-2.0
/*
 * The pool's memory across restarts. With the kernel module it has a name there, which the next node looks for
 * (pool/kept.c). Without it the pool's descriptors lie in the service manager's store, under the names "pool-dir",
 * "pool-ledger", "pool-0", "pool-1" …, and the next process adopts them.
 */
#include <stdio.h>
#include <strings.h>
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

static void forget_all(void)
{
	forget(DIR_NAME);
	forget(LEDGER_NAME);
	for (unsigned i = 0; i < POOL_REGIONS_MAX; i++)
		forget(region_name(i).text);
}

static void keep(const struct pool *p, int ledger_fd)
{
	const struct pool_view *v = pool_view(p);
	int ret;

	forget_all();
	ret = svc_keep_fd(DIR_NAME, v->dir_region.fd);
	if (!ret)
		ret = svc_keep_fd(LEDGER_NAME, ledger_fd);
	for (unsigned i = 0; !ret && i < v->nr_regions; i++)
		ret = svc_keep_fd(region_name(i).text, v->region[i].fd);
	if (ret && ret != -ENOTCONN)
		log_warn("node: the pool will not outlive this process: the service manager does not keep it: %s", strerror(-ret));
}

/* A pool that is not wanted: its memory is free when neither this process nor the manager holds it. */
static void discard(const struct kept *k)
{
	log_warn("node: the kept pool is given up, because kernel_module is require");
	close(k->dir_fd);
	close(k->ledger_fd);
	for (unsigned i = 0; i < k->nr; i++)
		close(k->fds[i]);
}

static uint64_t pool_bytes(const struct pool *p)
{
	struct pool_stat st;

	pool_stat(p, &st);
	return st.capacity;
}

static void check_size(const struct node_options *o, const struct pool *p, const char *how)
{
	if (pool_bytes(p) + 2 * POOL_UNIT * POOL_REGIONS_MAX < o->global_segment_size)
		log_warn("node: the kept pool has %llu bytes, not the %llu asked for: %s to resize it",
			 (unsigned long long)pool_bytes(p), (unsigned long long)o->global_segment_size, how);
}

static bool adopt(const struct node_options *o, struct pool **out, int *ledger_fd)
{
	uint64_t found = 0, lost = 0;
	struct kept k;
	int ret;

	if (!kept_find(&k))
		return false;
	if (!strcasecmp(o->kernel_module, "require")) {
		discard(&k);
		return false;
	}
	ret = pool_adopt(k.dir_fd, k.fds, k.nr, o->eviction[0] ? o->eviction : NULL, out, &found, &lost);
	if (ret) {
		log_warn("node: the kept pool cannot be used (%s): starting an empty one", strerror(-ret));
		close(k.ledger_fd);
		return false;
	}
	*ledger_fd = k.ledger_fd;
	log_info("node: took over %llu objects, %llu were unfinished", (unsigned long long)found, (unsigned long long)lost);
	check_size(o, *out, "stop the service and clear its descriptor store");
	return true;
}

/* The pool that the module has under our name, or a new one there. */
static int open_named(const struct node_options *o, struct pool_opts *po, struct pool **out, int *ledger_fd)
{
	struct pool_found f;
	int ret;

	ret = pool_open_kept(po, out, ledger_fd, &f);
	if (ret == -EBUSY)
		log_err("node: pool %s is served by another process: stop it, or give this node a --pool_name of its own", po->keep);
	else if (ret)
		log_warn("node: no pool %s of the kernel module: %s", po->keep, strerror(-ret));
	if (ret)
		return ret;
	forget_all(); /* of a time without the module */
	if (!f.found) {
		log_info("node: pool %s is new; it outlives every process until mooncakectl region rm", po->keep);
		return 0;
	}
	log_info("node: took over %llu objects of pool %s, %llu were unfinished; its last owner %s", (unsigned long long)f.kept,
		 po->keep, (unsigned long long)f.lost, f.clean ? "left in order" : "died, so every header was checked");
	check_size(o, *out, "stop the node and remove its regions with mooncakectl region rm");
	return 0;
}

/* Memory that a process, or the service manager, has to hold. */
static int open_held(const struct pool_opts *po, struct pool **out, int *ledger_fd)
{
	int ret;

	ret = pool_create(po, out);
	if (ret) {
		log_err("node: no pool of %llu bytes: %s", (unsigned long long)po->bytes, strerror(-ret));
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

static void choose_name(const struct node_options *o, char *out, size_t size)
{
	if (o->pool_name[0])
		snprintf(out, size, "%s", o->pool_name);
	else if (o->port)
		snprintf(out, size, "node-%u", (unsigned)o->port);
	else
		out[0] = 0; /* nothing by which the next node could be told to be the same */
}

int node_pool_open(const struct node_options *o, gid_t group, struct pool **out, int *ledger_fd)
{
	char name[POOL_KEEP_MAX + 2];
	struct pool_opts po = {
		.name = "node",
		.bytes = o->global_segment_size,
		.region_flags = (o->huge_pages ? REGION_HUGE : 0) | (o->populate ? REGION_POPULATE : 0),
		.policy = o->eviction[0] ? o->eviction : NULL,
		.spread = true,
		.group = group,
	};
	int ret;

	if (adopt(o, out, ledger_fd))
		return 0;
	choose_name(o, name, sizeof(name));
	if (name[0] && strcmp(region_backend(), "memfd") != 0) {
		po.keep = name;
		ret = open_named(o, &po, out, ledger_fd);
		if (!ret || ret == -EBUSY || ret == -EINVAL || !strcasecmp(o->kernel_module, "require"))
			return ret;
		po.keep = NULL;
	}
	return open_held(&po, out, ledger_fd);
}
