// SPDX-License-Identifier: GPL-2.0-only
/*
 * REGION_EXPORT of imported memory: a dma-buf of ours in front of the provider's. It passes everything on, shares the
 * provider's reservation lock, and adds what a region is for: a window, less access, and being taken away.
 */

#include <linux/dma-buf.h>
#include <linux/slab.h>

#include "compat.h"
#include "outlet.h"
#include "provider.h"

struct mc_forward {
	struct mc_outlet o;
	const struct mc_provider *ops;
	void *src;			/* a reference */
	u64 offset;			/* of the dma-buf in the source */
};

static int mc_forward_attach(struct dma_buf *buf, struct dma_buf_attachment *at)
{
	struct mc_forward *f = buf->priv;
	struct mc_reach *reach;
	int ret;

	if (READ_ONCE(f->o.h->region->gate) & MC_GATE_REVOKED)
		return -EKEYREVOKED;
	reach = kzalloc(sizeof(*reach), GFP_KERNEL);
	if (!reach)
		return -ENOMEM;
	reach->fwd = f;
	reach->at = at;
	ret = f->ops->attach(reach, f->src);
	if (ret) {
		kfree(reach);
		return ret;
	}
	at->priv = reach;
	return 0;
}

static void mc_forward_detach(struct dma_buf *buf, struct dma_buf_attachment *at)
{
	struct mc_forward *f = buf->priv;

	f->ops->detach(at->priv);
	kfree(at->priv);
}

static int mc_forward_pin(struct dma_buf_attachment *at)
{
	struct mc_forward *f = at->dmabuf->priv;

	if (READ_ONCE(f->o.h->region->gate) & MC_GATE_REVOKED)
		return -EKEYREVOKED;
	return f->ops->pin(at->priv);
}

static void mc_forward_unpin(struct dma_buf_attachment *at)
{
	struct mc_forward *f = at->dmabuf->priv;

	f->ops->unpin(at->priv);
}

static struct sg_table *mc_forward_map(struct dma_buf_attachment *at, enum dma_data_direction dir)
{
	struct mc_forward *f = at->dmabuf->priv;
	struct sg_table *sgt;
	int ret;

	ret = mc_outlet_map(&f->o, dir);
	if (ret)
		return ERR_PTR(ret);
	sgt = f->ops->map(at->priv, f->offset, f->o.length, dir);
	if (IS_ERR(sgt))
		mc_outlet_unmap(&f->o);
	return sgt;
}

static void mc_forward_unmap(struct dma_buf_attachment *at, struct sg_table *sgt, enum dma_data_direction dir)
{
	struct mc_forward *f = at->dmabuf->priv;

	f->ops->unmap(at->priv, sgt, dir);
	mc_outlet_unmap(&f->o);
}

static int mc_forward_begin_cpu(struct dma_buf *buf, enum dma_data_direction dir)
{
	struct mc_forward *f = buf->priv;

	return f->ops->sync_cpu(f->src, dir, true);
}

static int mc_forward_end_cpu(struct dma_buf *buf, enum dma_data_direction dir)
{
	struct mc_forward *f = buf->priv;

	return f->ops->sync_cpu(f->src, dir, false);
}

static int mc_forward_mmap(struct dma_buf *buf, struct vm_area_struct *vma)
{
	struct mc_forward *f = buf->priv;

	return mc_map(f->o.h, vma, f->o.offset, f->o.length);
}

static void mc_forward_free(struct mc_forward *f)
{
	const struct mc_provider *ops = f->ops;
	void *src = f->src;

	mc_outlet_fini(&f->o);
	ops->unhold(src);
	kfree(f);
}

static void mc_forward_release(struct dma_buf *buf)
{
	mc_forward_free(buf->priv);
}

/* As dynamic as the source is: what cannot move there cannot be told to move here. */
static const struct dma_buf_ops mc_forward_dynamic_ops = {
	.attach = mc_forward_attach,
	.detach = mc_forward_detach,
	.pin = mc_forward_pin,
	.unpin = mc_forward_unpin,
	.map_dma_buf = mc_forward_map,
	.unmap_dma_buf = mc_forward_unmap,
	.begin_cpu_access = mc_forward_begin_cpu,
	.end_cpu_access = mc_forward_end_cpu,
	.mmap = mc_forward_mmap,
	.release = mc_forward_release,
};

static const struct dma_buf_ops mc_forward_static_ops = {
	.attach = mc_forward_attach,
	.detach = mc_forward_detach,
	.map_dma_buf = mc_forward_map,
	.unmap_dma_buf = mc_forward_unmap,
	.begin_cpu_access = mc_forward_begin_cpu,
	.end_cpu_access = mc_forward_end_cpu,
	.mmap = mc_forward_mmap,
	.release = mc_forward_release,
};

bool mc_is_forward(const struct dma_buf *buf)
{
	return buf->ops == &mc_forward_dynamic_ops || buf->ops == &mc_forward_static_ops;
}

struct dma_buf *mc_forward_new(struct mc_region *r, u64 offset, u64 length, bool rdonly, u32 fd_flags)
{
	struct mc_import *imp = r->import;
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct mc_forward *f;
	struct dma_buf *buf;
	bool dynamic = false;
	int ret;

	f = kzalloc(sizeof(*f), GFP_KERNEL_ACCOUNT);
	if (!f)
		return ERR_PTR(-ENOMEM);
	f->ops = imp->ops;
	f->offset = imp->offset + offset;
	f->src = f->ops->hold(imp, &info.resv, &dynamic);
	if (IS_ERR(f->src)) {
		ret = PTR_ERR(f->src);
		goto err_free;
	}
	ret = mc_outlet_init(&f->o, r, offset, length, rdonly);
	if (ret)
		goto err_unhold;
	info.exp_name = "mooncake";
	info.ops = dynamic ? &mc_forward_dynamic_ops : &mc_forward_static_ops;
	info.size = length;
	info.flags = fd_flags & O_ACCMODE;
	info.priv = f;
	buf = dma_buf_export(&info);
	if (IS_ERR(buf)) {
		mc_forward_free(f);
		return buf;
	}
	ret = mc_outlet_show(&f->o, buf);
	if (ret) {
		dma_buf_put(buf);
		return ERR_PTR(ret);
	}
	return buf;

err_unhold:
	f->ops->unhold(f->src);
err_free:
	kfree(f);
	return ERR_PTR(ret);
}
