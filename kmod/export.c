// SPDX-License-Identifier: GPL-2.0-only
/*
 * REGION_EXPORT: a window of a region as dma-buf, for NICs and GPUs. A static exporter: the dma-buf holds each page, so
 * nothing a device may reach is freed or moved, whatever happens to the region.
 */

#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "compat.h"
#include "kmod.h"

struct mc_export {
	struct mc_handle *h;		/* what mappings of the dma-buf count as */
	u64 offset;
	u64 length;
	bool rdonly;
	unsigned long nr;
	struct page **pages;		/* a reference each */
	struct mutex lock;
	struct list_head attachments;	/* guarded by lock */
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
	mutex_lock(&e->lock);
	list_add(&a->node, &e->attachments);
	mutex_unlock(&e->lock);
	return 0;
}

static void mc_export_detach(struct dma_buf *buf, struct dma_buf_attachment *at)
{
	struct mc_export *e = buf->priv;
	struct mc_attachment *a = at->priv;

	mutex_lock(&e->lock);
	list_del(&a->node);
	mutex_unlock(&e->lock);
	kfree(a);
}

static struct sg_table *mc_export_map(struct dma_buf_attachment *at, enum dma_data_direction dir)
{
	struct mc_export *e = at->dmabuf->priv;
	struct mc_attachment *a = at->priv;
	int ret;

	if (READ_ONCE(e->h->region->gate) & MC_GATE_REVOKED)
		return ERR_PTR(-EKEYREVOKED);
	if (e->rdonly && dir != DMA_TO_DEVICE)
		return ERR_PTR(-EACCES);
	/* Neighbouring pages become one entry, so a huge page is one. */
	ret = sg_alloc_table_from_pages_segment(&a->sgt, e->pages, e->nr, 0, e->length, dma_get_max_seg_size(a->dev),
						GFP_KERNEL);
	if (ret)
		return ERR_PTR(ret);
	ret = dma_map_sgtable(a->dev, &a->sgt, dir, 0);
	if (ret) {
		sg_free_table(&a->sgt);
		return ERR_PTR(ret);
	}
	mutex_lock(&e->lock);
	a->dir = dir;
	mutex_unlock(&e->lock);
	return &a->sgt;
}

static void mc_export_unmap(struct dma_buf_attachment *at, struct sg_table *sgt, enum dma_data_direction dir)
{
	struct mc_export *e = at->dmabuf->priv;
	struct mc_attachment *a = at->priv;

	mutex_lock(&e->lock);
	a->dir = DMA_NONE;
	mutex_unlock(&e->lock);
	dma_unmap_sgtable(a->dev, sgt, dir, 0);
	sg_free_table(sgt);
}

static int mc_export_begin_cpu(struct dma_buf *buf, enum dma_data_direction dir)
{
	struct mc_export *e = buf->priv;
	struct mc_attachment *a;

	mutex_lock(&e->lock);
	list_for_each_entry(a, &e->attachments, node)
		if (a->dir != DMA_NONE)
			dma_sync_sgtable_for_cpu(a->dev, &a->sgt, a->dir);
	mutex_unlock(&e->lock);
	return 0;
}

static int mc_export_end_cpu(struct dma_buf *buf, enum dma_data_direction dir)
{
	struct mc_export *e = buf->priv;
	struct mc_attachment *a;

	mutex_lock(&e->lock);
	list_for_each_entry(a, &e->attachments, node)
		if (a->dir != DMA_NONE)
			dma_sync_sgtable_for_device(a->dev, &a->sgt, a->dir);
	mutex_unlock(&e->lock);
	return 0;
}

static int mc_export_mmap(struct dma_buf *buf, struct vm_area_struct *vma)
{
	struct mc_export *e = buf->priv;

	return mc_map(e->h, vma, e->offset, e->length);
}

static void mc_export_free(struct mc_export *e)
{
	struct mc_region *r = e->h->region;
	unsigned long i;

	for (i = 0; i < e->nr; i++) {
		put_page(e->pages[i]);
		if (!(i % 512))
			cond_resched();
	}
	if (!e->rdonly)
		mc_writer_end(r);
	atomic64_sub(e->length, &r->exported);
	if (atomic_dec_and_test(&r->nr_exports))
		mc_export_gone(r);
	mc_handle_put(e->h);
	mutex_destroy(&e->lock);
	kvfree(e->pages);
	kfree(e);
}

static void mc_export_release(struct dma_buf *buf)
{
	mc_export_free(buf->priv);
}

static const struct dma_buf_ops mc_export_ops = {
	.attach = mc_export_attach,
	.detach = mc_export_detach,
	.map_dma_buf = mc_export_map,
	.unmap_dma_buf = mc_export_unmap,
	.begin_cpu_access = mc_export_begin_cpu,
	.end_cpu_access = mc_export_end_cpu,
	.mmap = mc_export_mmap,
	.release = mc_export_release,
};

/* Announce the export first: from then on PUNCH and REVOKE leave the pages alone. */
static int mc_export_admit(struct mc_region *r, u64 length, bool rdonly)
{
	int ret = 0;

	if (!rdonly) {
		ret = mc_writer_begin(r);
		if (ret)
			return ret;
	}
	mutex_lock(&r->lock);
	if (r->state & MC_STATE_REVOKED) {
		ret = -EKEYREVOKED;
	} else {
		atomic_inc(&r->nr_exports);
		atomic64_add(length, &r->exported);
	}
	mutex_unlock(&r->lock);
	if (ret && !rdonly)
		mc_writer_end(r);
	return ret;
}

static struct page *mc_export_page(struct mc_region *r, u64 offset)
{
	struct page *page;

	if (r->mem)
		return mc_backing_page(r->mem, (r->mem_offset + offset) >> PAGE_SHIFT);
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
	unsigned long nr = e->length >> PAGE_SHIFT;
	struct page *page;

	while (e->nr < nr) {
		if (fatal_signal_pending(current))
			return -EINTR;
		page = mc_export_page(e->h->region, e->offset + ((u64)e->nr << PAGE_SHIFT));
		if (IS_ERR(page))
			return PTR_ERR(page);
		e->pages[e->nr++] = page;
		cond_resched();
	}
	return 0;
}

/* On failure everything is undone, the admission too. */
static struct mc_export *mc_export_new(struct mc_region *r, u64 offset, u64 length, bool rdonly)
{
	struct mc_export *e;
	int ret = -ENOMEM;

	e = kzalloc(sizeof(*e), GFP_KERNEL_ACCOUNT);
	if (!e)
		return ERR_PTR(-ENOMEM);
	e->offset = offset;
	e->length = length;
	e->rdonly = rdonly;
	mutex_init(&e->lock);
	INIT_LIST_HEAD(&e->attachments);
	e->h = mc_handle_new(r);
	if (IS_ERR(e->h)) {
		ret = PTR_ERR(e->h);
		goto err_free;
	}
	e->pages = kvcalloc(length >> PAGE_SHIFT, sizeof(*e->pages), GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!e->pages)
		goto err_put;
	ret = mc_export_admit(r, length, rdonly);
	if (ret)
		goto err_put;
	ret = mc_export_fill(e);
	if (ret) {
		mc_export_free(e);
		return ERR_PTR(ret);
	}
	return e;

err_put:
	kvfree(e->pages);
	mc_handle_put(e->h);
err_free:
	kfree(e);
	return ERR_PTR(ret);
}

int mc_region_export(struct mc_call *call)
{
	struct mc_ioc_region_export *a = call->arg;
	struct mc_handle *h = call->file->private_data;
	bool rdonly = a->flags & MC_EXPORT_RDONLY;
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct mc_export *e;
	struct dma_buf *buf;
	u64 end;

	if (a->flags & ~MC_EXPORT_RDONLY || a->fd != -1 || a->rsv || !mc_fd_flags_ok(a->fd_flags))
		return -EINVAL;
	if (!a->length || !PAGE_ALIGNED(a->offset) || !PAGE_ALIGNED(a->length) ||
	    check_add_overflow(a->offset, a->length, &end) || end > h->region->length)
		return -EINVAL;
	if (rdonly && (a->fd_flags & O_ACCMODE) != O_RDONLY)
		return -EINVAL;
	if (!rdonly && !(call->file->f_mode & FMODE_WRITE))
		return -EACCES;

	e = mc_export_new(h->region, a->offset, a->length, rdonly);
	if (IS_ERR(e))
		return PTR_ERR(e);
	info.exp_name = "mooncake";
	info.ops = &mc_export_ops;
	info.size = a->length;
	info.flags = a->fd_flags & O_ACCMODE;
	info.priv = e;
	buf = dma_buf_export(&info);
	if (IS_ERR(buf)) {
		mc_export_free(e);
		return PTR_ERR(buf);
	}
	return mc_call_new_file(call, buf->file, a->fd_flags, &a->out_fd);
}

MC_IMPORT_NS_DMA_BUF;
