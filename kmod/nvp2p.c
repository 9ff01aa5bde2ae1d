// SPDX-License-Identifier: GPL-2.0-only
/*
 * The provider of NVIDIA's peer memory, for GPUs whose driver cannot make dma-bufs: device memory by its address becomes
 * a region, and its exports become dma-bufs for importers that can reach device memory.
 *
 * Built when NVIDIA's <nv-p2p.h> is found (Kbuild), linked to nothing: the functions are looked up when they are first
 * wanted. symbol_get() gives a GPL module only what is exported to GPL modules, so this works with NVIDIA's open kernel
 * modules and with no others.
 *
 * Two pins are taken, both by the process that imports, whose addresses they are. One says by a callback that the owner
 * frees the memory; it would not keep it. The other, persistent, does, until the region is revoked and no device has the
 * memory mapped: no device ever reaches memory that was given to somebody else, whether it can be told to unmap or not.
 *
 * The callback comes with the driver's locks held, which put_pages() takes as well, and put_pages() waits for a callback
 * on its way. So the callback takes no lock of ours: it leaves a note and work to do.
 */

#include <linux/completion.h>
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

/* NVIDIA's header knows the C library's names of these types. */
#include <linux/types.h>
#include <nv-p2p.h>

#include "provider.h"

#define MC_NV_PAGE	0x10000ull	/* the only page size there is, and the unit of addresses and lengths */

struct mc_nv_syms {
	typeof(&nvidia_p2p_get_pages) get;
	typeof(&nvidia_p2p_put_pages) put;
	typeof(&nvidia_p2p_get_pages_persistent) get_persistent;
	typeof(&nvidia_p2p_put_pages_persistent) put_persistent;
};

struct mc_nv {
	struct kref ref;
	struct mc_import *imp;
	struct mc_nv_syms sym;		/* hold the driver's module */
	u64 addr;
	u64 length;
	struct nvidia_p2p_page_table *table;
	struct completion called;	/* the callback is through */
	bool freed;			/* it was called: the table is the driver's again */
	struct work_struct lost;

	struct mutex lock;		/* inside a dma-buf's reservation lock; not for the callback */
	/* guarded by lock */
	struct nvidia_p2p_page_table *kept;	/* persistent; NULL when nobody may map any more and nobody has */
	unsigned int maps;
	bool closed;
};

static void mc_nv_syms_put(struct mc_nv_syms *s)
{
	if (s->get)
		symbol_put(nvidia_p2p_get_pages);
	if (s->put)
		symbol_put(nvidia_p2p_put_pages);
	if (s->get_persistent)
		symbol_put(nvidia_p2p_get_pages_persistent);
	if (s->put_persistent)
		symbol_put(nvidia_p2p_put_pages_persistent);
	*s = (struct mc_nv_syms){};
}

static int mc_nv_syms_get(struct mc_nv_syms *s)
{
	s->get = symbol_get(nvidia_p2p_get_pages);
	s->put = symbol_get(nvidia_p2p_put_pages);
	s->get_persistent = symbol_get(nvidia_p2p_get_pages_persistent);
	s->put_persistent = symbol_get(nvidia_p2p_put_pages_persistent);
	if (s->get && s->put && s->get_persistent && s->put_persistent)
		return 0;
	mc_nv_syms_put(s);
	return -EOPNOTSUPP;
}

static int mc_nv_errno(int ret)
{
	return ret == -ENOTSUPP ? -EOPNOTSUPP : ret;
}

static void mc_nv_release(struct kref *ref)
{
	struct mc_nv *n = container_of(ref, struct mc_nv, ref);

	WARN_ON(n->maps || n->kept);
	mc_nv_syms_put(&n->sym);
	mutex_destroy(&n->lock);
	kfree(n);
}

static void mc_nv_unkeep(struct mc_nv *n)
{
	lockdep_assert_held(&n->lock);
	if (!n->closed || n->maps || !n->kept)
		return;
	n->sym.put_persistent(n->addr, n->kept, 0);
	n->kept = NULL;
}

static void mc_nv_close(struct mc_nv *n)
{
	mutex_lock(&n->lock);
	n->closed = true;
	mc_nv_unkeep(n);
	mutex_unlock(&n->lock);
}

static void mc_nv_lost(struct work_struct *work)
{
	struct mc_nv *n = container_of(work, struct mc_nv, lost);

	mc_import_lost(n->imp);
	mc_nv_close(n);
}

/* The driver frees its table when we return. */
static void mc_nv_freed(void *data)
{
	struct mc_nv *n = data;

	WRITE_ONCE(n->freed, true);
	queue_work(mc_import_wq, &n->lost);
	complete_all(&n->called);
}

/* Pages of a size we know, all of the range. */
static int mc_nv_check(const struct mc_nv *n, const struct nvidia_p2p_page_table *table)
{
	if (!NVIDIA_P2P_PAGE_TABLE_VERSION_COMPATIBLE(table) || table->page_size != NVIDIA_P2P_PAGE_SIZE_64KB)
		return -EOPNOTSUPP;
	return table->entries < n->length / MC_NV_PAGE ? -EINVAL : 0;
}

static int mc_nv_probe(const struct mc_ioc_region_import *a)
{
	struct mc_nv_syms s;
	int ret;

	if (a->fd != -1 || !a->offset)
		return -EINVAL;
	ret = mc_nv_syms_get(&s);
	if (!ret)
		mc_nv_syms_put(&s);
	return ret;
}

static void mc_nv_put(struct mc_import *imp, void *src)
{
	struct mc_nv *n = src;

	/* Whoever comes first tells the other: put_pages() of what the driver has taken back does nothing. */
	if (n->table && !READ_ONCE(n->freed))
		n->sym.put(0, 0, n->addr, n->table);
	if (READ_ONCE(n->freed))
		wait_for_completion(&n->called);
	cancel_work_sync(&n->lost);
	mc_nv_close(n);
	kref_put(&n->ref, mc_nv_release);
}

static int mc_nv_get(struct mc_import *imp, const struct mc_ioc_region_import *a)
{
	struct mc_nv *n;
	int ret;

	n = kzalloc(sizeof(*n), GFP_KERNEL_ACCOUNT);
	if (!n)
		return -ENOMEM;
	kref_init(&n->ref);
	mutex_init(&n->lock);
	init_completion(&n->called);
	INIT_WORK(&n->lost, mc_nv_lost);
	n->imp = imp;
	n->addr = a->offset;
	n->length = a->length;
	ret = mc_nv_syms_get(&n->sym);
	if (ret)
		goto err_put;
	ret = mc_nv_errno(n->sym.get_persistent(n->addr, n->length, &n->kept, 0));
	if (ret) {
		n->kept = NULL;
		goto err_put;
	}
	ret = mc_nv_check(n, n->kept);
	if (ret)
		goto err_put;
	/* The callback may come before this returns; then the table is gone already. */
	ret = mc_nv_errno(n->sym.get(0, 0, n->addr, n->length, &n->table, mc_nv_freed, n));
	if (ret) {
		n->table = NULL;
		goto err_put;
	}
	imp->src = n;
	return 0;

err_put:
	mc_nv_put(imp, n);
	return ret;
}

static int mc_nv_mmap(struct mc_import *imp, struct vm_area_struct *vma)
{
	return -EOPNOTSUPP;
}

static void *mc_nv_hold(struct mc_import *imp, struct dma_resv **resv, bool *dynamic)
{
	struct mc_nv *n;

	mutex_lock(&imp->region->gate_lock);
	n = imp->src;
	if (n)
		kref_get(&n->ref);
	mutex_unlock(&imp->region->gate_lock);
	*dynamic = true;
	return n ? n : ERR_PTR(-EKEYREVOKED);
}

static void mc_nv_unhold(void *src)
{
	struct mc_nv *n = src;

	kref_put(&n->ref, mc_nv_release);
}

/* Device memory has no pages, and whoever asks for them would take the addresses for RAM. */
static int mc_nv_attach(struct mc_reach *reach, void *src)
{
	if (!reach->at->peer2peer)
		return -EOPNOTSUPP;
	reach->priv = src;
	return 0;
}

static void mc_nv_detach(struct mc_reach *reach)
{
}

/* What is mapped is kept anyway, and where it is. */
static int mc_nv_pin(struct mc_reach *reach)
{
	return 0;
}

static void mc_nv_unpin(struct mc_reach *reach)
{
}

static int mc_nv_begin(struct mc_nv *n)
{
	int ret = 0;

	mutex_lock(&n->lock);
	if (n->closed)
		ret = -EKEYREVOKED;
	else
		n->maps++;
	mutex_unlock(&n->lock);
	return ret;
}

static void mc_nv_end(struct mc_nv *n)
{
	mutex_lock(&n->lock);
	n->maps--;
	mc_nv_unkeep(n);
	mutex_unlock(&n->lock);
}

static void mc_nv_unmap_pages(struct device *dev, struct sg_table *sgt, unsigned int nr, enum dma_data_direction dir)
{
	struct scatterlist *sg;
	unsigned int i;

	for_each_sg(sgt->sgl, sg, nr, i)
		dma_unmap_resource(dev, sg_dma_address(sg), sg_dma_len(sg), dir, DMA_ATTR_SKIP_CPU_SYNC);
}

static int mc_nv_map_pages(struct mc_nv *n, struct device *dev, struct sg_table *sgt, u64 first,
			   enum dma_data_direction dir)
{
	struct scatterlist *sg;
	dma_addr_t addr;
	unsigned int i;

	for_each_sg(sgt->sgl, sg, sgt->orig_nents, i) {
		addr = dma_map_resource(dev, n->kept->pages[first + i]->physical_address, MC_NV_PAGE, dir, DMA_ATTR_SKIP_CPU_SYNC);
		if (dma_mapping_error(dev, addr)) {
			mc_nv_unmap_pages(dev, sgt, i, dir);
			return -EIO;
		}
		sg_set_page(sg, NULL, MC_NV_PAGE, 0);
		sg_dma_address(sg) = addr;
		sg_dma_len(sg) = MC_NV_PAGE;
	}
	return 0;
}

static struct sg_table *mc_nv_map(struct mc_reach *reach, u64 offset, u64 length, enum dma_data_direction dir)
{
	struct mc_nv *n = reach->priv;
	struct sg_table *sgt;
	int ret;

	sgt = kzalloc(sizeof(*sgt), GFP_KERNEL);
	if (!sgt)
		return ERR_PTR(-ENOMEM);
	ret = sg_alloc_table(sgt, length / MC_NV_PAGE, GFP_KERNEL);
	if (ret)
		goto err_free;
	ret = mc_nv_begin(n);
	if (ret)
		goto err_table;
	/* @offset counts from address 0, as the region's does. */
	ret = mc_nv_map_pages(n, reach->at->dev, sgt, (offset - n->addr) / MC_NV_PAGE, dir);
	if (ret)
		goto err_end;
	return sgt;

err_end:
	mc_nv_end(n);
err_table:
	sg_free_table(sgt);
err_free:
	kfree(sgt);
	return ERR_PTR(ret);
}

static void mc_nv_unmap(struct mc_reach *reach, struct sg_table *sgt, enum dma_data_direction dir)
{
	mc_nv_unmap_pages(reach->at->dev, sgt, sgt->orig_nents, dir);
	mc_nv_end(reach->priv);
	sg_free_table(sgt);
	kfree(sgt);
}

static int mc_nv_sync_cpu(void *src, enum dma_data_direction dir, bool begin)
{
	return 0;
}

const struct mc_provider mc_nvp2p_provider = {
	.name = "nvidia_p2p",
	.kind = MC_IMPORT_P2P,
	.backing = MC_BACKING_P2P,
	.feature = MC_FEAT_IMPORT_P2P,
	.align = MC_NV_PAGE,
	.probe = mc_nv_probe,
	.get = mc_nv_get,
	.put = mc_nv_put,
	.mmap = mc_nv_mmap,
	.hold = mc_nv_hold,
	.unhold = mc_nv_unhold,
	.attach = mc_nv_attach,
	.detach = mc_nv_detach,
	.pin = mc_nv_pin,
	.unpin = mc_nv_unpin,
	.map = mc_nv_map,
	.unmap = mc_nv_unmap,
	.sync_cpu = mc_nv_sync_cpu,
};
