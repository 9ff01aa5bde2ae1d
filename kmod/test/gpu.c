// SPDX-License-Identifier: GPL-2.0-only
/*
 * A fake GPU: exports its memory, which is the system's, as dma-bufs of every kind there is, moves it about while nobody
 * holds it in place, and takes it back.
 */

#include <linux/dma-resv.h>
#include <linux/file.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "../compat.h"
#include "mct.h"

struct mct_buf {
	u32 flags;			/* MCT_G_* */
	unsigned long nr;
	struct dma_buf *buf;
	struct mutex lock;		/* inside the reservation lock */
	/* guarded by lock */
	struct page **pages;
	bool revoked;
	u32 maps, pins, vmas;
};

static int mct_gpu_attach(struct dma_buf *buf, struct dma_buf_attachment *at)
{
	return mct_fault(MCT_FAIL_ATTACH);
}

static int mct_gpu_pin(struct dma_buf_attachment *at)
{
	struct mct_buf *g = at->dmabuf->priv;
	int ret = mct_fault(MCT_FAIL_PIN);

	dma_resv_assert_held(at->dmabuf->resv);
	mutex_lock(&g->lock);
	if (!ret && g->revoked)
		ret = -ENODEV;
	if (!ret)
		g->pins++;
	mutex_unlock(&g->lock);
	return ret;
}

static void mct_gpu_unpin(struct dma_buf_attachment *at)
{
	struct mct_buf *g = at->dmabuf->priv;

	mutex_lock(&g->lock);
	WARN_ON(!g->pins--);
	mutex_unlock(&g->lock);
}

static int mct_gpu_table(struct mct_buf *g, struct sg_table *sgt, struct device *dev, enum dma_data_direction dir)
{
	int ret = mct_fault(MCT_FAIL_MAP);

	if (!ret && g->revoked)
		ret = -ENODEV;
	if (!ret)
		ret = sg_alloc_table_from_pages(sgt, g->pages, g->nr, 0, g->nr << PAGE_SHIFT, GFP_KERNEL);
	if (ret)
		return ret;
	/* As graphics drivers do: several devices may have it mapped. */
	ret = dma_map_sgtable(dev, sgt, dir, DMA_ATTR_SKIP_CPU_SYNC);
	if (ret)
		sg_free_table(sgt);
	else
		g->maps++;
	return ret;
}

static struct sg_table *mct_gpu_map(struct dma_buf_attachment *at, enum dma_data_direction dir)
{
	struct mct_buf *g = at->dmabuf->priv;
	struct sg_table *sgt = kzalloc(sizeof(*sgt), GFP_KERNEL);
	int ret;

	if (!sgt)
		return ERR_PTR(-ENOMEM);
	mutex_lock(&g->lock);
	ret = mct_gpu_table(g, sgt, at->dev, dir);
	mutex_unlock(&g->lock);
	if (!ret)
		return sgt;
	kfree(sgt);
	return ERR_PTR(ret);
}

static void mct_gpu_unmap(struct dma_buf_attachment *at, struct sg_table *sgt, enum dma_data_direction dir)
{
	struct mct_buf *g = at->dmabuf->priv;

	dma_unmap_sgtable(at->dev, sgt, dir, DMA_ATTR_SKIP_CPU_SYNC);
	sg_free_table(sgt);
	kfree(sgt);
	mutex_lock(&g->lock);
	WARN_ON(!g->maps--);
	mutex_unlock(&g->lock);
}

static void mct_vm_open(struct vm_area_struct *vma)
{
	struct mct_buf *g = vma->vm_private_data;

	mutex_lock(&g->lock);
	g->vmas++;
	mutex_unlock(&g->lock);
}

static void mct_vm_close(struct vm_area_struct *vma)
{
	struct mct_buf *g = vma->vm_private_data;

	mutex_lock(&g->lock);
	WARN_ON(!g->vmas--);
	mutex_unlock(&g->lock);
}

static vm_fault_t mct_vm_fault(struct vm_fault *vmf)
{
	struct mct_buf *g = vmf->vma->vm_private_data;
	vm_fault_t ret = VM_FAULT_SIGBUS;

	/* As drivers do: so that nothing moves meanwhile. */
	dma_resv_lock(g->buf->resv, NULL);
	mutex_lock(&g->lock);
	if (g->revoked || vmf->pgoff >= g->nr) {
		;
	} else if (g->flags & MCT_G_MMAP_PFN) {
		ret = vmf_insert_pfn(vmf->vma, vmf->address, page_to_pfn(g->pages[vmf->pgoff]));
	} else {
		vmf->page = g->pages[vmf->pgoff];
		get_page(vmf->page);
		ret = 0;
	}
	mutex_unlock(&g->lock);
	dma_resv_unlock(g->buf->resv);
	return ret;
}

static const struct vm_operations_struct mct_vm_ops = {
	.open = mct_vm_open,
	.close = mct_vm_close,
	.fault = mct_vm_fault,
};

static int mct_gpu_mmap(struct dma_buf *buf, struct vm_area_struct *vma)
{
	struct mct_buf *g = buf->priv;
	unsigned long at, i = vma->vm_pgoff;
	int ret = mct_fault(MCT_FAIL_MMAP);

	if (ret)
		return ret;
	if (g->flags & MCT_G_MMAP_ALL) {
		for (at = vma->vm_start; at < vma->vm_end && !ret; at += PAGE_SIZE)
			ret = remap_pfn_range(vma, at, page_to_pfn(g->pages[i++]), PAGE_SIZE, vma->vm_page_prot);
		return ret;
	}
	if (g->flags & MCT_G_MMAP_PFN)
		vm_flags_set(vma, VM_PFNMAP);
	vma->vm_ops = &mct_vm_ops;
	vma->vm_private_data = g;
	mct_vm_open(vma);
	return 0;
}

static void mct_pages_free(struct page **pages, unsigned long nr)
{
	while (nr)
		put_page(pages[--nr]);
	kvfree(pages);
}

static struct page **mct_pages_new(unsigned long nr)
{
	struct page **pages = kvcalloc(nr, sizeof(*pages), GFP_KERNEL);
	unsigned long i;

	for (i = 0; pages && i < nr; i++) {
		pages[i] = alloc_page(GFP_KERNEL | __GFP_ZERO);
		if (!pages[i]) {
			mct_pages_free(pages, i);
			pages = NULL;
		}
	}
	return pages;
}

static void mct_gpu_release(struct dma_buf *buf)
{
	struct mct_buf *g = buf->priv;

	WARN_ON(g->maps || g->pins || g->vmas);
	mct_pages_free(g->pages, g->nr);
	mutex_destroy(&g->lock);
	kfree(g);
}

#define MCT_OPS(...) {				\
	.attach = mct_gpu_attach,		\
	.map_dma_buf = mct_gpu_map,		\
	.unmap_dma_buf = mct_gpu_unmap,		\
	.release = mct_gpu_release,		\
	__VA_ARGS__				\
}
#define MCT_PIN .pin = mct_gpu_pin, .unpin = mct_gpu_unpin
#define MCT_MMAP .mmap = mct_gpu_mmap

/* By dynamic, mmap. */
static const struct dma_buf_ops mct_gpu_ops[] = {
	MCT_OPS(), MCT_OPS(MCT_PIN), MCT_OPS(MCT_MMAP), MCT_OPS(MCT_PIN, MCT_MMAP),
};

static const struct dma_buf_ops *mct_gpu_ops_of(u32 flags)
{
	return &mct_gpu_ops[!!(flags & MCT_G_DYNAMIC) +
			    2 * !!(flags & (MCT_G_MMAP | MCT_G_MMAP_PFN | MCT_G_MMAP_ALL))];
}

long mct_gpu(struct mct_gpu *a)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct mct_buf *g;
	int fd;

	if (!a->length || !PAGE_ALIGNED(a->length) || a->length > SZ_256M || a->flags > 0xf)
		return -EINVAL;
	g = kzalloc(sizeof(*g), GFP_KERNEL);
	if (!g)
		return -ENOMEM;
	g->flags = a->flags;
	g->nr = a->length >> PAGE_SHIFT;
	mutex_init(&g->lock);
	g->pages = mct_pages_new(g->nr);
	if (!g->pages) {
		kfree(g);
		return -ENOMEM;
	}
	info.exp_name = "mooncake-test";
	info.ops = mct_gpu_ops_of(a->flags);
	info.size = a->length;
	info.flags = a->fd_flags & O_ACCMODE;
	info.priv = g;
	g->buf = dma_buf_export(&info);
	if (IS_ERR(g->buf)) {
		fd = PTR_ERR(g->buf);
		mct_pages_free(g->pages, g->nr);
		kfree(g);
		return fd;
	}
	fd = dma_buf_fd(g->buf, a->fd_flags & O_CLOEXEC);
	if (fd < 0) {
		dma_buf_put(g->buf);
		return fd;
	}
	a->out_fd = fd;
	return 0;
}

/* Under the reservation lock. */
static bool mct_gpu_move(struct mct_buf *g)
{
	struct page **pages, **old;
	unsigned long i;

	mc_dma_buf_gone(g->buf);
	mutex_lock(&g->lock);
	/* Whoever says that he never moves anything must not: nobody would look out for it. */
	if (!(g->flags & MCT_G_DYNAMIC) || g->revoked || g->maps || g->pins) {
		mutex_unlock(&g->lock);
		return false;
	}
	pages = mct_pages_new(g->nr);
	if (pages) {
		unmap_mapping_range(g->buf->file->f_mapping, 0, 0, 1);
		for (i = 0; i < g->nr; i++)
			copy_highpage(pages[i], g->pages[i]);
		old = g->pages;
		g->pages = pages;
		mct_pages_free(old, g->nr);
	}
	mutex_unlock(&g->lock);
	return pages;
}

static void mct_gpu_revoke(struct mct_buf *g)
{
	mutex_lock(&g->lock);
	g->revoked = true;
	mutex_unlock(&g->lock);
	mc_dma_buf_gone(g->buf);
	unmap_mapping_range(g->buf->file->f_mapping, 0, 0, 1);
}

static long mct_gpu_word(struct mct_buf *g, u64 offset, u64 *value, bool write)
{
	u64 *p;

	if (offset % 8 || offset >= (u64)g->nr << PAGE_SHIFT)
		return -EINVAL;
	mutex_lock(&g->lock);
	p = kmap_local_page(g->pages[offset >> PAGE_SHIFT]) + offset_in_page(offset);
	if (write)
		WRITE_ONCE(*p, *value);
	else
		*value = READ_ONCE(*p);
	kunmap_local(p);
	mutex_unlock(&g->lock);
	return 0;
}

static long mct_gpu_do(struct mct_buf *g, struct mct_gpu_op *a)
{
	u32 i;

	switch (a->op) {
	case MCT_OP_STAT:
		break;
	case MCT_OP_MOVE:
		for (i = 0, a->out_moved = 0; i < a->count; i++) {
			dma_resv_lock(g->buf->resv, NULL);
			a->out_moved += mct_gpu_move(g);
			dma_resv_unlock(g->buf->resv);
			cond_resched();
		}
		break;
	case MCT_OP_REVOKE:
		dma_resv_lock(g->buf->resv, NULL);
		mct_gpu_revoke(g);
		dma_resv_unlock(g->buf->resv);
		break;
	case MCT_OP_PEEK:
	case MCT_OP_POKE:
		return mct_gpu_word(g, a->offset, &a->value, a->op == MCT_OP_POKE);
	default:
		return -EINVAL;
	}
	mutex_lock(&g->lock);
	a->out_maps = g->maps;
	a->out_pins = g->pins;
	a->out_vmas = g->vmas;
	mutex_unlock(&g->lock);
	return 0;
}

long mct_gpu_op(struct mct_gpu_op *a)
{
	struct dma_buf *buf = dma_buf_get(a->fd);
	long ret = -EINVAL;

	if (IS_ERR(buf))
		return PTR_ERR(buf);
	if (buf->ops >= mct_gpu_ops && buf->ops < mct_gpu_ops + ARRAY_SIZE(mct_gpu_ops))
		ret = mct_gpu_do(buf->priv, a);
	dma_buf_put(buf);
	return ret;
}
