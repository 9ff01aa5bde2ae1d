// SPDX-License-Identifier: Apache-2.0
/*
 * Pools with a name: their regions are published by the module and outlive every process. The directory comes first and
 * goes last; its writer's lease is what makes a process the owner, and says to the next one how the last one left.
 *
 *	mc-NAME-dir	the directory; the lease is on it, and it is handed to nobody
 *	mc-NAME-ledger	who may be writing where (owner_ledger.c)
 *	mc-NAME-0 …	data, numbered in the directory as the module numbers them
 */
#include "pool/inner.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "pool/owner.h"

#define LEASE_NS (3 * NSEC_PER_SEC) /* for the last owner's mappings to go: it was killed a moment ago */

struct kept_name {
	char text[REGION_NAME_MAX + 1];
};

static struct kept_name name_of(const char *keep, const char *part)
{
	struct kept_name n;

	snprintf(n.text, sizeof(n.text), "mc-%.*s-%s", POOL_KEEP_MAX, keep, part);
	return n;
}

static struct kept_name name_of_data(const char *keep, unsigned i)
{
	char part[12];

	snprintf(part, sizeof(part), "%u", i);
	return name_of(keep, part);
}

static bool name_ok(const char *keep)
{
	size_t len = strspn(keep, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

	return len && len <= POOL_KEEP_MAX && !keep[len];
}

/* Data is for clients, whom the owner gives it for writing anyway; the rest is the owner's alone. */
static int publish(const struct pool_opts *o, const struct region *r, struct kept_name n, bool data)
{
	int ret = region_publish(r, n.text, !o->group ? 0600 : data ? 0660 : 0640, o->group);

	/* Not a member: then they do without. */
	if (ret == -EPERM && o->group)
		ret = region_publish(r, n.text, 0600, 0);
	return ret;
}

int keep_region(const struct pool_opts *o, struct region *r, unsigned i)
{
	return publish(o, r, name_of_data(o->keep, i), true);
}

/* All but the directory. */
static void forget_parts(const char *keep)
{
	region_unpublish(name_of(keep, "ledger").text);
	for (unsigned i = 0; i < POOL_REGIONS_MAX; i++)
		region_unpublish(name_of_data(keep, i).text);
}

/* With the lease at hand: nobody else is opening the pool meanwhile. */
static int forget_leased(const char *keep, struct region *dir)
{
	int ret;

	forget_parts(keep);
	region_close(dir);
	ret = region_unpublish(name_of(keep, "dir").text);
	return ret == -ENOENT ? 0 : ret;
}

static int take_lease(const char *keep, struct region *dir, struct region_lease *lease)
{
	const uint64_t end = deadline_after_ns(LEASE_NS);
	int ret;

	for (;;) {
		ret = region_open(name_of(keep, "dir").text, true, dir, lease);
		if (ret != -EBUSY || deadline_passed(end))
			return ret;
		usleep(20000);
	}
}

int pool_forget_kept(const char *keep)
{
	struct region_lease lease;
	struct region dir;
	int ret;

	if (!name_ok(keep))
		return -EINVAL;
	ret = region_open(name_of(keep, "dir").text, true, &dir, &lease);
	if (ret != -EKEYREVOKED)
		return ret ? ret : forget_leased(keep, &dir);
	forget_parts(keep);
	return region_unpublish(name_of(keep, "dir").text);
}

/* ---- a new one ---- */

static int make_directory(const struct pool_opts *o, struct region *dir, struct region_lease *lease)
{
	uint64_t bytes = pool_dir_bytes(o);
	struct kept_name n = name_of(o->keep, "dir");
	struct region r;
	int ret;

	if (!bytes)
		return -EINVAL;
	ret = region_create(n.text, bytes, REGION_KEEP, -1, &r);
	if (ret)
		return ret;
	ret = publish(o, &r, n, false);
	region_close(&r);
	return ret ? ret : take_lease(o->keep, dir, lease);
}

static int make_ledger(const struct pool_opts *o, int *fd)
{
	struct region r;
	int ret;

	ret = owner_ledger_region(REGION_KEEP, &r);
	if (ret)
		return ret;
	ret = publish(o, &r, name_of(o->keep, "ledger"), false);
	if (!ret) {
		*fd = dup(r.fd);
		ret = *fd < 0 ? -errno : 0;
	}
	region_close(&r);
	return ret;
}

/* @p has nothing yet. On failure nothing of it stays in the module. */
static int make(const struct pool_opts *o, struct pool *p, int *ledger_fd)
{
	struct region_lease lease;
	int ret;

	ret = make_directory(o, &p->view.dir_region, &lease);
	if (ret)
		return ret == -EEXIST ? -EBUSY : ret;
	p->kept = true;
	forget_parts(o->keep); /* of an owner that was killed while it made them */
	ret = pool_make_regions(o, &p->view);
	if (!ret)
		ret = make_ledger(o, ledger_fd);
	if (!ret) {
		pool_make_header(o, &p->view);
		((struct dir_header *)p->view.dir_region.base)->lease_epoch = lease.epoch;
		ret = view_init(&p->view);
	}
	if (!ret)
		ret = pool_init(p, o->policy);
	if (ret && p->view.dir_region.base) {
		forget_leased(o->keep, &p->view.dir_region);
		p->kept = false;
	}
	return ret;
}

/* ---- one that is there ---- */

static int open_data(const char *keep, struct pool_view *v)
{
	const struct dir_header *h = v->dir_region.base;
	struct region_lease unused;
	struct region_stat st;
	int ret = 0;

	if (v->dir_region.size < sizeof(*h) || h->magic != POOL_MAGIC || h->nr_regions > POOL_REGIONS_MAX)
		return -EBADMSG;
	for (unsigned i = 0; i < h->nr_regions && !ret; i++) {
		ret = region_open(name_of_data(keep, i).text, false, &v->region[i], &unused);
		if (ret)
			return ret;
		v->nr_regions++;
		ret = region_stat(&v->region[i], &st);
		if (!ret && st.id != h->region_id[i])
			ret = -EBADMSG; /* made by another owner under a name of this pool */
	}
	return ret;
}

static int open_ledger(const char *keep, int *fd)
{
	struct region_lease unused;
	struct region r;
	int ret;

	ret = region_open(name_of(keep, "ledger").text, false, &r, &unused);
	if (ret)
		return ret;
	*fd = dup(r.fd);
	ret = *fd < 0 ? -errno : 0;
	region_close(&r);
	return ret;
}

/* @p has its directory, with the lease. */
static int attach(const struct pool_opts *o, const struct region_lease *lease, struct pool *p, int *ledger_fd,
		  struct pool_found *f)
{
	struct dir_header *h = p->view.dir_region.base;
	int ret;

	ret = open_data(o->keep, &p->view);
	if (!ret)
		ret = view_init(&p->view);
	if (!ret)
		ret = open_ledger(o->keep, ledger_fd);
	if (ret)
		return ret;
	/* A word of order from another epoch than the one this directory was written in says nothing about it. */
	f->clean = !lease->dirty && lease->epoch == h->lease_epoch;
	ret = pool_take_over(p, o->policy, f->clean, &f->kept, &f->lost);
	if (ret) {
		close(*ledger_fd);
		*ledger_fd = -1;
		return ret;
	}
	h->lease_epoch = lease->epoch;
	f->found = true;
	return 0;
}

/* What is there can never be used; everything else may go away by itself, or is for a person to decide. */
static bool is_ruin(int err)
{
	return err == -EBADMSG || err == -EPROTO || err == -EKEYREVOKED || err == -ENOENT || err == -EINVAL;
}

static int open_or_make(const struct pool_opts *o, struct pool *p, int *ledger_fd, struct pool_found *f)
{
	struct region_lease lease;
	int ret;

	ret = take_lease(o->keep, &p->view.dir_region, &lease);
	if (ret == -ENOENT)
		return make(o, p, ledger_fd);
	if (!ret) {
		p->kept = true;
		ret = attach(o, &lease, p, ledger_fd, f);
	}
	if (!ret || !is_ruin(ret))
		return ret;
	return -ESTALE;
}

int pool_open_kept(const struct pool_opts *o, struct pool **out, int *ledger_fd, struct pool_found *f)
{
	struct pool *p;
	int ret;

	*f = (struct pool_found){ 0 };
	if (!name_ok(o->keep)) {
		log_err("pool name \"%s\": 1 to %d letters, digits, dots, dashes and underscores", o->keep, POOL_KEEP_MAX);
		return -EINVAL;
	}
	if (strcmp(region_backend(), "/dev/mooncake") != 0)
		return -EOPNOTSUPP;
	for (int tries = 0; tries < 2; tries++) {
		p = pool_new();
		if (!p)
			return -ENOMEM;
		ret = open_or_make(o, p, ledger_fd, f);
		if (!ret) {
			*out = p;
			return 0;
		}
		p->kept = false; /* nothing to call clean */
		pool_close(p);
		if (ret != -ESTALE)
			break;
		log_warn("pool %s: what the module kept of it cannot be used (revoked, incomplete or of another release); "
			 "starting an empty one", o->keep);
		ret = pool_forget_kept(o->keep);
		if (ret && ret != -ENOENT)
			break;
	}
	return ret == -ESTALE ? -EBADMSG : ret;
}
