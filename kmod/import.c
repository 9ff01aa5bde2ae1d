// SPDX-License-Identifier: GPL-2.0-only
/*
 * REGION_IMPORT: memory that somebody else made. It stays theirs; we see to names, copies, access and, where its owner
 * can take it back, to its end. Memfds are files like our own (backing.c) or pinned (pin.c); the rest has providers.
 */

#include <linux/file.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "provider.h"
#include "trace.h"

static const struct mc_provider *const mc_providers[] = {
	&mc_dmabuf_provider,
#ifdef MC_HAVE_NV_P2P
	&mc_nvp2p_provider,
#endif
};

struct workqueue_struct *mc_import_wq;

int mc_import_init(void)
{
	mc_import_wq = alloc_workqueue("mooncake", WQ_UNBOUND, 0);
	return mc_import_wq ? 0 : -ENOMEM;
}

void mc_import_exit(void)
{
	destroy_workqueue(mc_import_wq);
}

u64 mc_import_features(void)
{
	u64 features = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(mc_providers); i++)
		features |= BIT_ULL(mc_providers[i]->feature);
#ifdef MC_HAVE_MEMFD_PIN_FOLIOS
	if (IS_ENABLED(CONFIG_HUGETLBFS))
		features |= BIT_ULL(MC_FEAT_IMPORT_HUGETLB);
#endif
	return features;
}

static const struct mc_provider *mc_provider_find(u32 kind)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(mc_providers); i++)
		if (mc_providers[i]->kind == kind)
			return mc_providers[i];
	return NULL;
}

static int mc_import_check(const struct mc_ioc_region_import *a)
{
	u64 end;

	if (a->flags & ~MC_REGION_PERSIST_OK || a->rsv || !mc_fd_flags_ok(a->fd_flags))
		return -EINVAL;
	if (!a->kind || a->kind > MC_IMPORT_P2P || (a->cq_fd == -1 && a->user_data))
		return -EINVAL;
	if (!a->length || !PAGE_ALIGNED(a->offset) || !PAGE_ALIGNED(a->length) ||
	    check_add_overflow(a->offset, a->length, &end))
		return -EINVAL;
	return a->length > MAX_LFS_FILESIZE ? -EINVAL : 0;
}

static int mc_import_memory(struct mc_region *r, const struct mc_ioc_region_import *a, struct file *file)
{
	bool writable = (a->fd_flags & O_ACCMODE) == O_RDWR;
	u64 end = a->offset + a->length;

	if (end > MAX_LFS_FILESIZE)
		return -EINVAL;
	r->backing = MC_BACKING_MEMFD;
	if (mc_backing_is_hugetlb(file)) {
		r->page_shift = mc_backing_hugetlb_shift(file);
		r->pin = mc_pin_hugetlb(file, a->offset, a->length, writable);
		if (!IS_ERR(r->pin))
			return 0;
		return PTR_ERR(xchg(&r->pin, NULL));
	}
	r->mem = mc_backing_adopt(file, end, writable);
	if (IS_ERR(r->mem))
		return PTR_ERR(xchg(&r->mem, NULL));
	r->mem_offset = a->offset;
	r->adopted = true;
	return 0;
}

static int mc_import_memfd(struct mc_call *call, struct mc_ioc_region_import *a)
{
	struct mc_region *r;
	struct file *file;
	int ret;

	if (a->cq_fd != -1)
		return -EINVAL;
	file = fget(a->fd);
	if (!file)
		return -EBADF;
	r = mc_region_new(call->file->f_cred, a->length, a->flags, a->length);
	if (IS_ERR(r)) {
		fput(file);
		return PTR_ERR(r);
	}
	ret = mc_import_memory(r, a, file);
	if (!ret)
		ret = mc_region_show(call, r, a->fd_flags, &a->out_fd, &a->out_id);
	mc_region_put(r);
	fput(file);
	return ret;
}

/* Nobody uses the source any more that did not take a reference before. */
void mc_import_let_go(struct mc_import *imp)
{
	void *src;

	mutex_lock(&imp->region->gate_lock);
	src = imp->src;
	imp->src = NULL;
	mutex_unlock(&imp->region->gate_lock);
	if (src)
		imp->ops->put(imp, src);
}

void mc_import_free(struct mc_import *imp)
{
	if (!imp)
		return;
	mc_import_let_go(imp);
	mc_foreign_fini(imp);
	if (imp->cq)
		mc_cq_put(imp->cq);
	kfree(imp);
}

void mc_import_zap(struct mc_import *imp)
{
	mc_foreign_zap(imp);
}

void mc_import_lost(struct mc_import *imp)
{
	struct mc_region *r = imp->region;
	struct mc_cqe cqe = { .user_data = imp->user_data, .type = MC_CQE_REGION, .res = MC_EV_REVOKED, .data = r->id };
	u64 pinned;

	trace_mc_import_lost(r->id, imp->ops->kind);
	mc_revoke_access(r, &pinned);
	if (imp->cq)
		mc_cq_push(imp->cq, &cqe, 1);
}

static int mc_import_new(struct mc_region *r, const struct mc_provider *ops, const struct mc_ioc_region_import *a)
{
	struct mc_import *imp = kzalloc(sizeof(*imp), GFP_KERNEL_ACCOUNT);
	struct mc_cq *cq = NULL;
	int ret;

	if (!imp)
		return -ENOMEM;
	if (a->cq_fd != -1) {
		cq = mc_cq_from_fd(a->cq_fd);
		if (IS_ERR(cq)) {
			kfree(imp);
			return PTR_ERR(cq);
		}
	}
	imp->region = r;
	imp->ops = ops;
	imp->cq = cq;
	imp->user_data = a->user_data;
	imp->offset = a->offset;
	ret = mc_foreign_init(imp);
	if (ret) {
		if (cq)
			mc_cq_put(cq);
		kfree(imp);
		return ret;
	}
	r->import = imp;
	r->backing = ops->backing;
	return ops->get(imp, a);
}

static int mc_import_foreign(struct mc_call *call, struct mc_ioc_region_import *a)
{
	const struct mc_provider *ops = mc_provider_find(a->kind);
	struct mc_region *r;
	int ret;

	if (!ops)
		return -EOPNOTSUPP;
	if (!IS_ALIGNED(a->offset, ops->align) || !IS_ALIGNED(a->length, ops->align))
		return -EINVAL;
	ret = ops->probe(a);
	if (ret)
		return ret;
	/* Not memory of this machine's that anybody's quota could be about. */
	r = mc_region_new(call->file->f_cred, a->length, a->flags, 0);
	if (IS_ERR(r))
		return PTR_ERR(r);
	ret = mc_import_new(r, ops, a);
	if (!ret)
		ret = mc_region_show(call, r, a->fd_flags, &a->out_fd, &a->out_id);
	mc_region_put(r);
	return ret;
}

int mc_region_import(struct mc_call *call)
{
	struct mc_ioc_region_import *a = call->arg;
	int ret;

	ret = mc_import_check(a);
	if (ret)
		return ret;
	return a->kind == MC_IMPORT_MEMFD ? mc_import_memfd(call, a) : mc_import_foreign(call, a);
}
