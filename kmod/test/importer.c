// SPDX-License-Identifier: GPL-2.0-only
/*
 * A fake importer: attaches to a dma-buf as a NIC would, statically or dynamically, and reads and writes by DMA address.
 * Works where DMA addresses are physical ones, which is so in the guests it is made for.
 */

#include <linux/dma-resv.h>
#include <linux/io.h>
#include <linux/mm.h>

#include "../compat.h"
#include "mct.h"

static bool mct_dynamic(const struct mct *t)
{
	return t->flags & (MCT_A_DYNAMIC | MCT_A_KEEP);
}

/* Under the reservation lock. */
static void mct_moved(struct dma_buf_attachment *at)
{
	struct mct *t = at->importer_priv;

	t->moves++;
	if (t->flags & MCT_A_KEEP || !t->sgt)
		return;
	dma_buf_unmap_attachment(at, t->sgt, t->dir);
	t->sgt = NULL;
}

static const struct dma_buf_attach_ops mct_ops = { .mc_moved = mct_moved };
static const struct dma_buf_attach_ops mct_p2p_ops = { .allow_peer2peer = true, .mc_moved = mct_moved };

static long mct_map(struct mct *t)
{
	struct sg_table *sgt;

	if (mct_dynamic(t)) {
		dma_resv_lock(t->buf->resv, NULL);
		sgt = dma_buf_map_attachment(t->at, t->dir);
		if (!IS_ERR(sgt))
			t->sgt = sgt;
		dma_resv_unlock(t->buf->resv);
	} else {
		sgt = dma_buf_map_attachment_unlocked(t->at, t->dir);
		if (!IS_ERR(sgt))
			t->sgt = sgt;
	}
	return PTR_ERR_OR_ZERO(sgt);
}

long mct_unmap(struct mct *t)
{
	if (!t->buf)
		return -EINVAL;
	if (mct_dynamic(t)) {
		dma_resv_lock(t->buf->resv, NULL);
		if (t->sgt)
			dma_buf_unmap_attachment(t->at, t->sgt, t->dir);
		t->sgt = NULL;
		dma_resv_unlock(t->buf->resv);
	} else if (t->sgt) {
		dma_buf_unmap_attachment_unlocked(t->at, t->sgt, t->dir);
		t->sgt = NULL;
	}
	return 0;
}

long mct_remap(struct mct *t)
{
	if (!t->buf)
		return -EINVAL;
	mct_unmap(t);
	return mct_map(t);
}

void mct_detach(struct mct *t)
{
	if (!t->buf)
		return;
	mct_unmap(t);
	dma_buf_detach(t->buf, t->at);
	dma_buf_put(t->buf);
	t->buf = NULL;
}

long mct_attach(struct mct *t, struct mct_attach *a)
{
	const struct dma_buf_attach_ops *ops;
	long ret;

	if (t->buf)
		return -EBUSY;
	if (a->dir > DMA_FROM_DEVICE || a->flags > 7)
		return -EINVAL;
	t->buf = dma_buf_get(a->fd);
	if (IS_ERR(t->buf)) {
		ret = PTR_ERR(t->buf);
		goto err_clear;
	}
	t->dir = a->dir;
	t->flags = a->flags;
	t->moves = 0;
	ops = !mct_dynamic(t) ? NULL : a->flags & MCT_A_P2P ? &mct_p2p_ops : &mct_ops;
	t->at = dma_buf_dynamic_attach(t->buf, mct_device(), ops, t);
	if (IS_ERR(t->at)) {
		ret = PTR_ERR(t->at);
		goto err_put;
	}
	ret = mct_map(t);
	if (ret)
		goto err_detach;
	a->out_entries = t->sgt ? t->sgt->nents : 0;
	a->out_bytes = t->buf->size;
	return 0;

err_detach:
	dma_buf_detach(t->buf, t->at);
err_put:
	dma_buf_put(t->buf);
err_clear:
	t->buf = NULL;
	return ret;
}

static bool mct_addr(struct mct *t, u64 offset, dma_addr_t *addr)
{
	struct scatterlist *sg;
	int i;

	for_each_sgtable_dma_sg(t->sgt, sg, i) {
		if (offset < sg_dma_len(sg)) {
			*addr = sg_dma_address(sg) + offset;
			return true;
		}
		offset -= sg_dma_len(sg);
	}
	return false;
}

static long mct_touch(struct mct *t, struct mct_word *w, bool write)
{
	dma_addr_t addr;
	u64 *p;

	if (!t->sgt)
		return -ENXIO;
	if (!mct_addr(t, w->offset, &addr))
		return -EINVAL;
	p = phys_to_virt(addr);
	if (write)
		WRITE_ONCE(*p, w->value);
	else
		w->value = READ_ONCE(*p);
	return 0;
}

long mct_word(struct mct *t, struct mct_word *w, bool write)
{
	long ret;

	if (!t->buf || w->offset % 8 || w->offset >= t->buf->size)
		return -EINVAL;
	if (mct_dynamic(t))
		dma_resv_lock(t->buf->resv, NULL);
	ret = mct_touch(t, w, write);
	if (mct_dynamic(t))
		dma_resv_unlock(t->buf->resv);
	return ret;
}

long mct_stat(struct mct *t, struct mct_stat *s)
{
	s->moves = READ_ONCE(t->moves);
	s->mapped = !!READ_ONCE(t->sgt);
	return 0;
}

long mct_verify(struct mct *t, const struct mct_verify *v)
{
	struct page *page;
	dma_addr_t addr;
	u64 i;
	int n;

	if (!t->buf || !t->sgt)
		return -ENXIO;
	for (i = 0; i < v->length; i += PAGE_SIZE) {
		n = get_user_pages_fast(v->addr + i, 1, 0, &page);
		if (n != 1)
			return n < 0 ? n : -EFAULT;
		n = mct_addr(t, v->offset + i, &addr) && addr == page_to_phys(page);
		put_page(page);
		if (!n)
			return -EBADSLT;
	}
	return 0;
}
