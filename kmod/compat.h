/* SPDX-License-Identifier: GPL-2.0-only */
/* Differences between kernels, and nothing else. Kbuild probes the headers and defines MC_HAVE_*. */
#ifndef MC_COMPAT_H
#define MC_COMPAT_H

#include <linux/dma-buf.h>
#include <linux/eventfd.h>
#include <linux/export.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <net/genetlink.h>
#ifdef MC_HAVE_FOLIO_BATCH_H	/* since 7.x */
#include <linux/folio_batch.h>
#else
#include <linux/pagevec.h>
#endif

/* Since 6.3 vm_flags is read-only and changes go through helpers that assert the lock. */
#ifndef MC_HAVE_VM_FLAGS_SET
static inline void vm_flags_set(struct vm_area_struct *vma, unsigned long flags)
{
	vma->vm_flags |= flags;
}

static inline void vm_flags_clear(struct vm_area_struct *vma, unsigned long flags)
{
	vma->vm_flags &= ~flags;
}
#endif

/* Since 7.x a set of flags is a structure. */
#ifdef MC_HAVE_SHMEM_VMA_FLAGS
#define MC_NO_VMA_FLAGS	EMPTY_VMA_FLAGS
#else
#define MC_NO_VMA_FLAGS	0
#endif

/* How to pin for reading such that a later write by the owner is seen: before 6.2 only as a forced write. */
#ifdef MC_HAVE_PIN_UNSHARES
#define MC_PIN_FOR_READ	0
#else
#define MC_PIN_FOR_READ	(FOLL_WRITE | FOLL_FORCE)
#endif

#ifdef MC_HAVE_NS_IS_NAME
#define MC_IMPORT_NS_DMA_BUF MODULE_IMPORT_NS(DMA_BUF)
#define MC_IMPORT_NS_MOONCAKE MODULE_IMPORT_NS(MOONCAKE)
#define MC_EXPORT(symbol) EXPORT_SYMBOL_NS_GPL(symbol, MOONCAKE)
#else
#define MC_IMPORT_NS_DMA_BUF MODULE_IMPORT_NS("DMA_BUF")
#define MC_IMPORT_NS_MOONCAKE MODULE_IMPORT_NS("MOONCAKE")
#define MC_EXPORT(symbol) EXPORT_SYMBOL_NS_GPL(symbol, "MOONCAKE")
#endif

/* A group for those with CAP_SYS_ADMIN; before 6.7 (and what was backported) only CAP_NET_ADMIN could be asked for. */
#ifdef GENL_MCAST_CAP_SYS_ADMIN
#define MC_MCAST_ADMIN	GENL_MCAST_CAP_SYS_ADMIN
#else
#define MC_MCAST_ADMIN	GENL_UNS_ADMIN_PERM
#endif

/* What @fops would do to map @file, which has other operations by now. Since 6.17 files describe a mapping instead. */
static inline int mc_mmap_as(const struct file_operations *fops, struct file *file, struct vm_area_struct *vma)
{
#ifdef MC_HAVE_MMAP_PREPARE
	struct vm_area_desc desc;
	int ret;

	if (fops->mmap_prepare) {
		compat_set_desc_from_vma(&desc, file, vma);
		ret = fops->mmap_prepare(&desc);
		return ret ? ret : __compat_vma_mmap(&desc, vma);
	}
#endif
	return fops->mmap(file, vma);
}

/* The member of dma_buf_attach_ops that hears of it, and how an exporter says it, under the reservation lock. */
#ifdef MC_HAVE_DMA_BUF_INVALIDATE
#define mc_moved invalidate_mappings
#define mc_dma_buf_gone dma_buf_invalidate_mappings
#else
#define mc_moved move_notify
#define mc_dma_buf_gone dma_buf_move_notify
#endif

static inline void mc_eventfd_signal(struct eventfd_ctx *ctx)
{
#ifdef MC_HAVE_EVENTFD_SIGNAL_ONCE
	eventfd_signal(ctx);
#else
	eventfd_signal(ctx, 1);
#endif
}

#endif /* MC_COMPAT_H */
