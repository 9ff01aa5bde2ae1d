// SPDX-License-Identifier: GPL-2.0-only
/*
 * Opened devices, and what happens to regions and RDMA devices. Each opened device may have one queue that is told of what
 * its opener may see; netlink tells administrators.
 */

#include <linux/slab.h>
#include <linux/xarray.h>

#include "kmod.h"
#include "netlink.h"

struct mc_ctx {
	u64 id;
	struct file *file;		/* that this belongs to */
	struct pid *opener;		/* thread group */
	/* guarded by mc_subs_lock */
	struct list_head node;		/* in mc_subs while cq is set */
	struct mc_cq *cq;
	u64 mask;
	u64 user_data;
};

static DEFINE_MUTEX(mc_subs_lock);	/* innermost of ours */
/* guarded by mc_subs_lock */
static LIST_HEAD(mc_subs);
static DEFINE_XARRAY(mc_ctxs);		/* all, by id */
static unsigned int mc_nr_ctxs;

struct mc_ctx *mc_ctx_new(struct file *file)
{
	struct mc_ctx *ctx = kzalloc(sizeof(*ctx), GFP_KERNEL_ACCOUNT);
	int ret;

	if (!ctx)
		return ERR_PTR(-ENOMEM);
	ctx->id = mc_new_id();
	ctx->file = file;
	INIT_LIST_HEAD(&ctx->node);
	mutex_lock(&mc_subs_lock);
	ret = xa_err(xa_store(&mc_ctxs, ctx->id, ctx, GFP_KERNEL_ACCOUNT));
	if (!ret) {
		mc_nr_ctxs++;
		ctx->opener = get_pid(task_tgid(current));
	}
	mutex_unlock(&mc_subs_lock);
	if (ret) {
		kfree(ctx);
		return ERR_PTR(ret);
	}
	return ctx;
}

/* @cq: a reference that passes to @ctx, or NULL. */
static void mc_ctx_subscribe(struct mc_ctx *ctx, struct mc_cq *cq, u64 mask, u64 user_data)
{
	struct mc_cq *old;

	mutex_lock(&mc_subs_lock);
	old = ctx->cq;
	ctx->cq = cq;
	ctx->mask = mask;
	ctx->user_data = user_data;
	list_del_init(&ctx->node);
	if (cq)
		list_add_tail(&ctx->node, &mc_subs);
	mutex_unlock(&mc_subs_lock);
	if (old)
		mc_cq_put(old);
}

void mc_ctx_free(struct mc_ctx *ctx)
{
	mc_ctx_subscribe(ctx, NULL, 0, 0);
	mutex_lock(&mc_subs_lock);
	xa_erase(&mc_ctxs, ctx->id);
	mc_nr_ctxs--;
	mutex_unlock(&mc_subs_lock);
	put_pid(ctx->opener);
	kfree(ctx);
}

bool mc_ctx_next(u64 id, struct mc_ctx_info *out)
{
	unsigned long index = id;
	struct mc_ctx *ctx;

	mutex_lock(&mc_subs_lock);
	ctx = xa_find_after(&mc_ctxs, &index, ULONG_MAX, XA_PRESENT);
	if (ctx)
		*out = (struct mc_ctx_info){ .id = ctx->id, .uid = ctx->file->f_cred->fsuid,
			.pid = pid_vnr(ctx->opener), .mask = ctx->mask };
	mutex_unlock(&mc_subs_lock);
	return ctx;
}

void mc_ctx_fdinfo(struct seq_file *m, struct file *file)
{
	struct mc_ctx *ctx = file->private_data;

	seq_printf(m, "mc-id:\t%llu\nmc-events:\t%#llx\n", ctx->id, READ_ONCE(ctx->mask));
}

unsigned int mc_ctx_count(void)
{
	return READ_ONCE(mc_nr_ctxs);
}

void mc_event_named(struct mc_region *r, const char *name, u64 event, u16 type, s32 what)
{
	struct mc_cqe cqe = { .type = type, .res = what, .data = r->id };
	struct mc_ctx *ctx;
	bool everybody;
	kuid_t uid;

	mutex_lock(&mc_names_lock);
	uid = r->name.uid;
	everybody = r->name.mode & 04;
	mutex_unlock(&mc_names_lock);

	mutex_lock(&mc_subs_lock);
	list_for_each_entry(ctx, &mc_subs, node) {
		if (!(ctx->mask & event))
			continue;
		if (!everybody && !uid_eq(ctx->file->f_cred->fsuid, uid) &&
		    !file_ns_capable(ctx->file, &init_user_ns, CAP_SYS_ADMIN))
			continue;
		cqe.user_data = ctx->user_data;
		mc_cq_push(ctx->cq, &cqe, 1);
	}
	mutex_unlock(&mc_subs_lock);
	mc_nl_region_event(r, name, what);
}

void mc_event(struct mc_region *r, u64 event, u16 type, s32 what)
{
	mc_event_named(r, NULL, event, type, what);
}

void mc_event_rdma(u32 index, u32 port, s32 what)
{
	struct mc_cqe cqe = { .type = MC_CQE_RDMA_DEV, .res = what, .data = index | (u64)port << 32 };
	struct mc_ctx *ctx;

	mutex_lock(&mc_subs_lock);
	list_for_each_entry(ctx, &mc_subs, node) {
		if (!(ctx->mask & MC_EVENT_RDMA_DEV))
			continue;
		cqe.user_data = ctx->user_data;
		mc_cq_push(ctx->cq, &cqe, 1);
	}
	mutex_unlock(&mc_subs_lock);
}

int mc_events(struct mc_call *call)
{
	struct mc_ioc_events *a = call->arg;
	struct mc_cq *cq;

	if (a->flags || a->rsv || a->mask & ~(u64)(MC_EVENT_REGION | MC_EVENT_RDMA_DEV | MC_EVENT_PEER))
		return -EINVAL;
	if (!a->mask) {
		if (a->cq_fd != -1 || a->user_data)
			return -EINVAL;
		mc_ctx_subscribe(call->file->private_data, NULL, 0, 0);
		return 0;
	}
	cq = mc_cq_from_fd(a->cq_fd);
	if (IS_ERR(cq))
		return PTR_ERR(cq);
	mc_ctx_subscribe(call->file->private_data, cq, a->mask, a->user_data);
	return 0;
}
