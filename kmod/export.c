// SPDX-License-Identifier: GPL-2.0-only
/*
 * REGION_EXPORT: a window of a region as dma-buf, for NICs and GPUs. The dma-buf holds each page, so nothing a device may
 * reach is freed or moved, whatever happens to the region; after a REVOKE until the last device has let go.
 */

#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "compat.h"
#include "outlet.h"
#include "provider.h"

struct mc_export {
	struct mc_outlet o;
	unsigned long nr;
	struct page **pages;		/* a reference each */
	struct list_head attachments;	/* guarded by o.lock */
};

struct mc_attachment {
	struct list_head node;
	struct device *dev;
	struct sg_table sgt;
	enum dma_data_direction dir;	/* DMA_NONE: not mapped */
};

static int mc_export_attach(struct dma_buf *buf, struct dma_buf_attachment *at)
{
	struct mc_export *e = buf->priv;
	struct mc_attachment *a = kzalloc(sizeof(*a), GFP_KERNEL);

	if (!a)
		return -ENOMEM;
	a->dev = at->dev;
	a->dir = DMA_NONE;
	at->priv = a;
	mutex_lock(&e->o.lock);
	list_add(&a->node, &e->attachments);
	mutex_unlock(&e->o.lock);
	return 0;
}

static void mc_export_detach(struct dma_buf *buf, struct dma_buf_attachment *at)
{
	struct mc_export *e = buf->priv;
	struct mc_attachment *a = at->priv;

	mutex_lock(&e->o.lock);
	list_del(&a->node);
	mutex_unlock(&e->o.lock);
	kfree(a);
}

/* The pages never move, so there is nothing to do but to say no. */
static int mc_export_pin(struct dma_buf_attachment *at)
{
	struct mc_export *e = at->dmabuf->priv;

	return READ_ONCE(e->o.h->region->gate) & MC_GATE_REVOKED ? -EKEYREVOKED : 0;
}

static void mc_export_unpin(struct dma_buf_attachment *at)
{
}

static struct sg_table *mc_export_map(struct dma_buf_attachment *at, enum dma_data_direction dir)
{
	struct mc_export *e = at->dmabuf->priv;
	struct mc_attachment *a = at->priv;
	int ret;

	ret = mc_outlet_map(&e->o, dir);
	if (ret)
		return ERR_PTR(ret);
	/* Neighbouring pages become one entry, so a huge page is one. */
	ret = sg_alloc_table_from_pages_segment(&a->sgt, e->pages, e->nr, 0, e->o.length,
						dma_get_max_seg_size(a->dev), GFP_KERNEL);
	if (ret)
		goto err_outlet;
	/* Many devices may have the same memory mapped, which is said by making them see it in a step of its own. */
	ret = dma_map_sgtable(a->dev, &a->sgt, dir, DMA_ATTR_SKIP_CPU_SYNC);
	if (ret)
		goto err_table;
	dma_sync_sgtable_for_device(a->dev, &a->sgt, dir);
	mutex_lock(&e->o.lock);
	a->dir = dir;
	mutex_unlock(&e->o.lock);
	return &a->sgt;

err_table:
	sg_free_table(&a->sgt);
err_outlet:
	mc_outlet_unmap(&e->o);
	return ERR_PTR(ret);
}

static void mc_export_unmap(struct dma_buf_attachment *at, struct sg_table *sgt, enum dma_data_direction dir)
{
	struct mc_export *e = at->dmabuf->priv;
	struct mc_attachment *a = at->priv;

	mutex_lock(&e->o.lock);
	a->dir = DMA_NONE;
	mutex_unlock(&e->o.lock);
	dma_sync_sgtable_for_cpu(a->dev, sgt, dir);
	dma_unmap_sgtable(a->dev, sgt, dir, DMA_ATTR_SKIP_CPU_SYNC);
	sg_free_table(sgt);
	mc_outlet_unmap(&e->o);
}

static int mc_export_begin_cpu(struct dma_buf *buf, enum dma_data_direction dir)
{
	struct mc_export *e = buf->priv;
	struct mc_attachment *a;

	mutex_lock(&e->o.lock);
	list_for_each_entry(a, &e->attachments, node)
		if (a->dir != DMA_NONE)
			dma_sync_sgtable_for_cpu(a->dev, &a->sgt, a->dir);
	mutex_unlock(&e->o.lock);
	return 0;
}

static int mc_export_end_cpu(struct dma_buf *buf, enum dma_data_direction dir)
{
	struct mc_export *e = buf->priv;
	struct mc_attachment *a;

	mutex_lock(&e->o.lock);
	list_for_each_entry(a, &e->attachments, node)
		if (a->dir != DMA_NONE)
			dma_sync_sgtable_for_device(a->dev, &a->sgt, a->dir);
	mutex_unlock(&e->o.lock);
	return 0;
}

static int mc_export_mmap(struct dma_buf *buf, struct vm_area_struct *vma)
{
	struct mc_export *e = buf->priv;

	return mc_map(e->o.h, vma, e->o.offset, e->o.length);
}

static void mc_export_drop(struct mc_outlet *o)
{
	struct mc_export *e = container_of(o, struct mc_export, o);
	unsigned long i;

	for (i = 0; i < e->nr; i++) {
		put_page(e->pages[i]);
		if (!(i % 512))
			cond_resched();
	}
	e->nr = 0;
}

static void mc_export_free(struct mc_export *e)
{
	mc_outlet_fini(&e->o);
	kvfree(e->pages);
	kfree(e);
}

static void mc_export_release(struct dma_buf *buf)
{
	mc_export_free(buf->priv);
}

/* With pin and unpin importers can be told that the memory goes; for that they map it for reading and writing. */
static const struct dma_buf_ops mc_export_ops = {
	.attach = mc_export_attach,
	.detach = mc_export_detach,
	.pin = mc_export_pin,
	.unpin = mc_export_unpin,
	.map_dma_buf = mc_export_map,
	.unmap_dma_buf = mc_export_unmap,
	.begin_cpu_access = mc_export_begin_cpu,
	.end_cpu_access = mc_export_end_cpu,
	.mmap = mc_export_mmap,
	.release = mc_export_release,
};

static const struct dma_buf_ops mc_export_rdonly_ops = {
	.attach = mc_export_attach,
	.detach = mc_export_detach,
	.map_dma_buf = mc_export_map,
	.unmap_dma_buf = mc_export_unmap,
	.begin_cpu_access = mc_export_begin_cpu,
	.end_cpu_access = mc_export_end_cpu,
	.mmap = mc_export_mmap,
	.release = mc_export_release,
};

static struct page *mc_export_page(struct mc_region *r, u64 offset)
{
	struct page *page;

	if (r->mem) {
		page = mc_backing_page(r->mem, (r->mem_offset + offset) >> PAGE_SHIFT);
		/* Shmem's word for a page that memory-failure handling took out. */
		return page == ERR_PTR(-EIO) ? ERR_PTR(-EREMOTEIO) : page;
	}
	rcu_read_lock();
	if (READ_ONCE(r->gate) & MC_GATE_REVOKED) {
		page = ERR_PTR(-EKEYREVOKED);
	} else {
		page = mc_pin_page(r->pin, offset >> PAGE_SHIFT);
		get_page(page);
	}
	rcu_read_unlock();
	return page;
}

static int mc_export_fill(struct mc_export *e)
{
	unsigned long nr = e->o.length >> PAGE_SHIFT;
	struct page *page;

	while (e->nr < nr) {
		if (fatal_signal_pending(current))
			return -EINTR;
		page = mc_export_page(e->o.h->region, e->o.offset + ((u64)e->nr << PAGE_SHIFT));
		if (IS_ERR(page))
			return PTR_ERR(page);
		e->pages[e->nr++] = page;
		cond_resched();
	}
	return 0;
}

static struct mc_export *mc_export_new(struct mc_region *r, u64 offset, u64 length, bool rdonly)
{
	struct mc_export *e;
	int ret = -ENOMEM;

	e = kzalloc(sizeof(*e), GFP_KERNEL_ACCOUNT);
	if (!e)
		return ERR_PTR(-ENOMEM);
	INIT_LIST_HEAD(&e->attachments);
	e->o.drop = mc_export_drop;
	e->pages = kvcalloc(length >> PAGE_SHIFT, sizeof(*e->pages), MC_GFP_LARGE);
	if (!e->pages)
		goto err_free;
	ret = mc_outlet_init(&e->o, r, offset, length, rdonly);
	if (ret)
		goto err_free;
	ret = mc_export_fill(e);
	if (ret) {
		mc_export_free(e);
		return ERR_PTR(ret);
	}
	return e;

err_free:
	kvfree(e->pages);
	kfree(e);
	return ERR_PTR(ret);
}

static struct dma_buf *mc_export_own(struct mc_region *r, u64 offset, u64 length, bool rdonly, u32 fd_flags)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct mc_export *e;
	struct dma_buf *buf;
	int ret;

	e = mc_export_new(r, offset, length, rdonly);
	if (IS_ERR(e))
		return ERR_CAST(e);
	info.exp_name = "mooncake";
	info.ops = rdonly ? &mc_export_rdonly_ops : &mc_export_ops;
	info.size = length;
	info.flags = fd_flags & O_ACCMODE;
	info.priv = e;
	buf = dma_buf_export(&info);
	if (IS_ERR(buf)) {
		mc_export_free(e);
		return buf;
	}
	ret = mc_outlet_show(&e->o, buf);
	if (ret) {
		dma_buf_put(buf);
		return ERR_PTR(ret);
	}
	return buf;
}

int mc_region_export(struct mc_call *call)
{
	struct mc_ioc_region_export *a = call->arg;
	struct mc_handle *h = call->file->private_data;
	struct mc_region *r = h->region;
	bool rdonly = a->flags & MC_EXPORT_RDONLY;
	u64 align = r->import ? r->import->ops->align : PAGE_SIZE, end;
	struct dma_buf *buf;

	if (a->flags & ~MC_EXPORT_RDONLY || a->fd != -1 || a->rsv || !mc_fd_flags_ok(a->fd_flags))
		return -EINVAL;
	if (!a->length || !IS_ALIGNED(a->offset, align) || !IS_ALIGNED(a->length, align) ||
	    check_add_overflow(a->offset, a->length, &end) || end > r->length)
		return -EINVAL;
	if (rdonly && (a->fd_flags & O_ACCMODE) != O_RDONLY)
		return -EINVAL;
	if (!rdonly && !(call->file->f_mode & FMODE_WRITE))
		return -EACCES;

	if (r->import)
		buf = mc_forward_new(r, a->offset, a->length, rdonly, a->fd_flags);
	else
		buf = mc_export_own(r, a->offset, a->length, rdonly, a->fd_flags);
	if (IS_ERR(buf))
		return PTR_ERR(buf);
	return mc_call_new_file(call, buf->file, a->fd_flags, &a->out_fd);
}

MC_IMPORT_NS_DMA_BUF;
