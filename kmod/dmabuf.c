// SPDX-License-Identifier: GPL-2.0-only
/*
 * The provider of dma-bufs, the main road for GPU memory.
 *
 * We are no device, so we never map the memory ourselves but for one question. An exporter that can move or revoke it
 * (a dynamic one) tells its attachments so, without saying which of the two; whether the memory can still be had is
 * found by trying. So we stay attached to such exporters, and to no others.
 */

#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "compat.h"
#include "provider.h"

struct mc_dmabuf {
	struct mc_import *imp;
	struct dma_buf *buf;
	/* guarded by the reservation lock */
	struct dma_buf_attachment *at;	/* NULL: not yet, no more, or never, as the exporter never moves anything */
	bool closed;			/* no more */

	struct delayed_work look;
	unsigned int tries;
};

static int mc_dmabuf_check(const struct dma_buf *buf, const struct mc_ioc_region_import *a)
{
	const fmode_t want = FMODE_READ | ((a->fd_flags & O_ACCMODE) == O_RDWR ? FMODE_WRITE : 0);

	if (a->offset + a->length > buf->size)
		return -EINVAL;
	if ((buf->file->f_mode & want) != want)
		return -EACCES;
	/* Behind a window of ours there is one exporter. Behind many windows the kernel's stack would end. */
	return mc_is_forward(buf) ? -ELOOP : 0;
}

static int mc_dmabuf_probe(const struct mc_ioc_region_import *a)
{
	struct dma_buf *buf = dma_buf_get(a->fd);
	int ret;

	if (IS_ERR(buf))
		return PTR_ERR(buf);
	ret = mc_dmabuf_check(buf, a);
	dma_buf_put(buf);
	return ret;
}

static void mc_dmabuf_moved(struct dma_buf_attachment *at)
{
	struct mc_dmabuf *d = at->importer_priv;

	mod_delayed_work(mc_import_wq, &d->look, 0);
}

static const struct dma_buf_attach_ops mc_dmabuf_watch = {
	.allow_peer2peer = true,
	.mc_moved = mc_dmabuf_moved,
};

/* Is the memory still to be had? Nobody cares any more who has closed, and who is about to attach must be asked later. */
static int mc_dmabuf_try(struct mc_dmabuf *d)
{
	struct sg_table *sgt = NULL;

	dma_resv_lock(d->buf->resv, NULL);
	if (d->at) {
		/* Nobody is to write through it, so it is in the way of no other mapping of this memory. */
		sgt = dma_buf_map_attachment(d->at, DMA_TO_DEVICE);
		if (!IS_ERR(sgt))
			dma_buf_unmap_attachment(d->at, sgt, DMA_TO_DEVICE);
	} else if (!d->closed) {
		sgt = ERR_PTR(-EAGAIN);
	}
	dma_resv_unlock(d->buf->resv);
	return PTR_ERR_OR_ZERO(sgt);
}

/* The attachment there was. Whoever looks at it does so under the lock, so afterwards it may go. */
static struct dma_buf_attachment *mc_dmabuf_set(struct mc_dmabuf *d, struct dma_buf_attachment *at)
{
	struct dma_buf_attachment *old;

	dma_resv_lock(d->buf->resv, NULL);
	old = d->at;
	d->at = at;
	d->closed = !at;
	dma_resv_unlock(d->buf->resv);
	return old;
}

static void mc_dmabuf_look(struct work_struct *work)
{
	struct mc_dmabuf *d = container_of(to_delayed_work(work), struct mc_dmabuf, look);

	switch (mc_dmabuf_try(d)) {
	case 0:
		d->tries = 0;
		return;
	case -EAGAIN:
	case -EBUSY:
	case -ENOMEM:
	case -EINTR:
	case -ERESTARTSYS:
		/* No answer. Ask at growing intervals, up to a second. */
		d->tries = min(d->tries + 1, 10u);
		queue_delayed_work(mc_import_wq, &d->look, msecs_to_jiffies(1u << d->tries));
		return;
	}
	mc_import_lost(d->imp);
}

static int mc_dmabuf_get(struct mc_import *imp, const struct mc_ioc_region_import *a)
{
	struct dma_buf_attachment *at;
	struct mc_dmabuf *d;
	int ret;

	d = kzalloc(sizeof(*d), GFP_KERNEL_ACCOUNT);
	if (!d)
		return -ENOMEM;
	d->imp = imp;
	INIT_DELAYED_WORK(&d->look, mc_dmabuf_look);
	d->buf = dma_buf_get(a->fd);
	if (IS_ERR(d->buf)) {
		ret = PTR_ERR(d->buf);
		goto err_free;
	}
	/* The descriptor may have become another dma-buf since it was looked at. */
	ret = mc_dmabuf_check(d->buf, a);
	if (ret)
		goto err_put;
	if (dma_buf_is_dynamic(d->buf)) {
		at = dma_buf_dynamic_attach(d->buf, mc_dma_device(), &mc_dmabuf_watch, d);
		if (IS_ERR(at)) {
			ret = PTR_ERR(at);
			cancel_delayed_work_sync(&d->look);
			goto err_put;
		}
		mc_dmabuf_set(d, at);
	}
	imp->src = d;
	return 0;

err_put:
	dma_buf_put(d->buf);
err_free:
	kfree(d);
	return ret;
}

static void mc_dmabuf_put(struct mc_import *imp, void *src)
{
	struct mc_dmabuf *d = src;
	struct dma_buf_attachment *at = mc_dmabuf_set(d, NULL);

	/* Once detached nothing queues the work any more. */
	if (at)
		dma_buf_detach(d->buf, at);
	cancel_delayed_work_sync(&d->look);
	dma_buf_put(d->buf);
	kfree(d);
}

/* A reference to the dma-buf, -EKEYREVOKED. */
static struct dma_buf *mc_dmabuf_of(struct mc_import *imp)
{
	struct dma_buf *buf = ERR_PTR(-EKEYREVOKED);
	struct mc_dmabuf *d;

	mutex_lock(&imp->region->gate_lock);
	d = imp->src;
	if (d) {
		buf = d->buf;
		get_dma_buf(buf);
	}
	mutex_unlock(&imp->region->gate_lock);
	return buf;
}

static int mc_dmabuf_mmap(struct mc_import *imp, struct vm_area_struct *vma)
{
	struct dma_buf *buf = mc_dmabuf_of(imp);
	int ret = -EOPNOTSUPP;

	if (IS_ERR(buf))
		return PTR_ERR(buf);
	if (buf->ops->mmap)
		ret = dma_buf_mmap(buf, vma, vma->vm_pgoff);
	if (!ret)
		ret = dma_buf_is_dynamic(buf);
	dma_buf_put(buf);
	return ret == -ENOTSUPP ? -EOPNOTSUPP : ret;
}

static void *mc_dmabuf_hold(struct mc_import *imp, struct dma_resv **resv, bool *dynamic)
{
	struct dma_buf *buf = mc_dmabuf_of(imp);

	if (!IS_ERR(buf)) {
		*resv = buf->resv;
		*dynamic = dma_buf_is_dynamic(buf);
	}
	return buf;
}

static void mc_dmabuf_unhold(void *src)
{
	dma_buf_put(src);
}

/* The exporter speaks to us, under the lock we share: pass it on. */
static void mc_reach_moved(struct dma_buf_attachment *at)
{
	struct mc_reach *reach = at->importer_priv;

	if (reach->at->importer_ops)
		reach->at->importer_ops->mc_moved(reach->at);
}

static const struct dma_buf_attach_ops mc_reach_ops = { .mc_moved = mc_reach_moved };
static const struct dma_buf_attach_ops mc_reach_p2p_ops = { .allow_peer2peer = true, .mc_moved = mc_reach_moved };

static int mc_dmabuf_attach(struct mc_reach *reach, void *src)
{
	struct dma_buf *buf = src;
	struct dma_buf_attachment *at;

	if (dma_buf_is_dynamic(buf))
		at = dma_buf_dynamic_attach(buf, reach->at->dev,
					    reach->at->peer2peer ? &mc_reach_p2p_ops : &mc_reach_ops, reach);
	else
		at = dma_buf_attach(buf, reach->at->dev);
	if (IS_ERR(at))
		return PTR_ERR(at);
	reach->priv = at;
	return 0;
}

static void mc_dmabuf_detach(struct mc_reach *reach)
{
	struct dma_buf_attachment *at = reach->priv;

	dma_buf_detach(at->dmabuf, at);
}

static int mc_dmabuf_pin(struct mc_reach *reach)
{
	return dma_buf_pin(reach->priv);
}

static void mc_dmabuf_unpin(struct mc_reach *reach)
{
	dma_buf_unpin(reach->priv);
}

/* What a device gets, and what it is a part of. */
struct mc_window {
	struct sg_table part;
	struct sg_table *whole;
};

static unsigned int mc_window_entries(struct sg_table *whole, u64 offset, u64 end)
{
	struct scatterlist *sg;
	unsigned int n = 0;
	u64 pos = 0;
	int i;

	for_each_sgtable_dma_sg(whole, sg, i) {
		if (pos < end && pos + sg_dma_len(sg) > offset)
			n++;
		pos += sg_dma_len(sg);
	}
	/* 0 also for an exporter that maps less than it has. */
	return pos < end ? 0 : n;
}

/* By DMA address only; the pages behind another exporter's table are none of ours. */
static void mc_window_fill(struct sg_table *part, struct sg_table *whole, u64 offset, u64 end)
{
	struct scatterlist *sg, *out = part->sgl;
	u64 pos = 0, from, to;
	int i;

	for_each_sgtable_dma_sg(whole, sg, i) {
		from = max(pos, offset);
		to = min(pos + sg_dma_len(sg), end);
		if (from < to) {
			sg_set_page(out, NULL, to - from, 0);
			sg_dma_address(out) = sg_dma_address(sg) + (from - pos);
			sg_dma_len(out) = to - from;
			out = sg_next(out);
		}
		pos += sg_dma_len(sg);
	}
}

static struct sg_table *mc_dmabuf_map(struct mc_reach *reach, u64 offset, u64 length, enum dma_data_direction dir)
{
	struct dma_buf_attachment *at = reach->priv;
	struct sg_table *whole;
	struct mc_window *w;
	unsigned int n;
	int ret;

	/* Our dma-buf shares the exporter's lock, so it is held where this kernel wants it held. */
	whole = dma_buf_map_attachment(at, dir);
	if (IS_ERR(whole))
		return whole;
	n = mc_window_entries(whole, offset, offset + length);
	w = kzalloc(sizeof(*w), GFP_KERNEL);
	ret = !w ? -ENOMEM : !n ? -EINVAL : sg_alloc_table(&w->part, n, GFP_KERNEL);
	if (ret) {
		kfree(w);
		dma_buf_unmap_attachment(at, whole, dir);
		return ERR_PTR(ret);
	}
	w->whole = whole;
	mc_window_fill(&w->part, whole, offset, offset + length);
	return &w->part;
}

static void mc_dmabuf_unmap(struct mc_reach *reach, struct sg_table *sgt, enum dma_data_direction dir)
{
	struct mc_window *w = container_of(sgt, struct mc_window, part);

	dma_buf_unmap_attachment(reach->priv, w->whole, dir);
	sg_free_table(&w->part);
	kfree(w);
}

static int mc_dmabuf_sync_cpu(void *src, enum dma_data_direction dir, bool begin)
{
	return begin ? dma_buf_begin_cpu_access(src, dir) : dma_buf_end_cpu_access(src, dir);
}

const struct mc_provider mc_dmabuf_provider = {
	.name = "dma-buf",
	.kind = MC_IMPORT_DMABUF,
	.backing = MC_BACKING_DMABUF,
	.feature = MC_FEAT_IMPORT_DMABUF,
	.align = PAGE_SIZE,
	.probe = mc_dmabuf_probe,
	.get = mc_dmabuf_get,
	.put = mc_dmabuf_put,
	.mmap = mc_dmabuf_mmap,
	.hold = mc_dmabuf_hold,
	.unhold = mc_dmabuf_unhold,
	.attach = mc_dmabuf_attach,
	.detach = mc_dmabuf_detach,
	.pin = mc_dmabuf_pin,
	.unpin = mc_dmabuf_unpin,
	.map = mc_dmabuf_map,
	.unmap = mc_dmabuf_unmap,
	.sync_cpu = mc_dmabuf_sync_cpu,
};
