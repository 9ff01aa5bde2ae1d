// SPDX-License-Identifier: GPL-2.0-only
/* EVENTS: each opened /dev/mooncake may have one queue that is told what happens to the regions its opener may see. */

#include <linux/slab.h>

#include "kmod.h"

struct mc_ctx {
	struct file *file;		/* that this belongs to */
	/* guarded by mc_subs_lock */
	struct list_head node;		/* in mc_subs while cq is set */
	struct mc_cq *cq;
	u64 mask;
	u64 user_data;
};

static DEFINE_MUTEX(mc_subs_lock);	/* innermost of ours */
static LIST_HEAD(mc_subs);

struct mc_ctx *mc_ctx_new(struct file *file)
{
	struct mc_ctx *ctx = kzalloc(sizeof(*ctx), GFP_KERNEL_ACCOUNT);

	if (!ctx)
		return ERR_PTR(-ENOMEM);
	ctx->file = file;
	INIT_LIST_HEAD(&ctx->node);
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
	kfree(ctx);
}

void mc_event(struct mc_region *r, u64 event, u16 type, s32 what)
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
	if (a->mask & MC_EVENT_RDMA_DEV)
		return -EOPNOTSUPP;
	cq = mc_cq_from_fd(a->cq_fd);
	if (IS_ERR(cq))
		return PTR_ERR(cq);
	mc_ctx_subscribe(call->file->private_data, cq, a->mask, a->user_data);
	return 0;
}
