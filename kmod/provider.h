/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Providers: where memory that is not ours comes from. import.c has the table of them; a provider is one file and one
 * line there. It knows how to hold such memory, how to let a device reach it and, perhaps, how to let a CPU.
 *
 * The source of an import is what the provider holds. It is there from get() until put(), which REVOKE or the end of the
 * region calls once; whoever uses it in between holds region->gate_lock just long enough to take a reference of its own.
 */
#ifndef MC_PROVIDER_H
#define MC_PROVIDER_H

#include <linux/dma-direction.h>
#include <linux/rwsem.h>

#include "kmod.h"

struct dma_buf;
struct dma_buf_attachment;
struct dma_resv;
struct sg_table;

struct mc_import {
	struct mc_region *region;	/* that this is part of; no reference */
	const struct mc_provider *ops;
	struct mc_cq *cq;		/* told of the source's end, or NULL */
	u64 user_data;
	u64 offset;			/* of the region in the source */
	void *src;			/* NULL once given up; guarded by region->gate_lock */

	/* foreign.c */
	struct file *space;		/* an address space of our own, empty; also what holds the module for mappings */
	struct rw_semaphore faults;	/* read: in a page fault of the exporter's */
	struct mutex views_lock;
	struct list_head views;		/* guarded by views_lock */
};

struct mc_forward;

/* A device that reaches the source through a dma-buf of ours. */
struct mc_reach {
	struct mc_forward *fwd;
	struct dma_buf_attachment *at;	/* of the device, to our dma-buf */
	void *priv;			/* the provider's */
};

struct mc_provider {
	const char *name;
	u32 kind;			/* MC_IMPORT_* that it serves */
	u32 backing;			/* MC_BACKING_* as INFO tells it */
	u64 align;			/* of offset and length, here and in EXPORT */
	u32 feature;			/* MC_FEAT_* */

	/* Is the argument one for us? No side effects. */
	int (*probe)(const struct mc_ioc_region_import *a);
	/* Take hold of the source, set imp->src. From here on mc_import_lost() may be called. */
	int (*get)(struct mc_import *imp, const struct mc_ioc_region_import *a);
	/* Let go of @src. When this returns mc_import_lost() is not running and will not be called. Nothing is locked. */
	void (*put)(struct mc_import *imp, void *src);

	/* Have the exporter set @vma up. 1 when he may move the memory later, 0 when he never does; -EOPNOTSUPP. */
	int (*mmap)(struct mc_import *imp, struct vm_area_struct *vma);

	/* For forward.c: a reference to the source, and the reservation lock our dma-buf must share with it or NULL. */
	void *(*hold)(struct mc_import *imp, struct dma_resv **resv, bool *dynamic);
	void (*unhold)(void *src);
	/* As the dma_buf_ops of the same names. @offset counts from the start of the source. */
	int (*attach)(struct mc_reach *reach, void *src);
	void (*detach)(struct mc_reach *reach);
	int (*pin)(struct mc_reach *reach);
	void (*unpin)(struct mc_reach *reach);
	struct sg_table *(*map)(struct mc_reach *reach, u64 offset, u64 length, enum dma_data_direction dir);
	void (*unmap)(struct mc_reach *reach, struct sg_table *sgt, enum dma_data_direction dir);
	int (*sync_cpu)(void *src, enum dma_data_direction dir, bool begin);
};

extern const struct mc_provider mc_dmabuf_provider, mc_nvp2p_provider;

/* import.c */

extern struct workqueue_struct *mc_import_wq;

/* The source is gone for good. Process context, with nothing locked that REVOKE or a page fault needs. */
void mc_import_lost(struct mc_import *imp);

/* foreign.c: CPU mappings whose pages are an exporter's. */

int mc_foreign_init(struct mc_import *imp);
void mc_foreign_fini(struct mc_import *imp);
/* The region's gate is closed: empty every mapping made through it. Waits for page faults. */
void mc_foreign_zap(struct mc_import *imp);
/* As mc_map(), after its checks. @writes: counted as a writer, which stays with the mapping if there is one. */
int mc_foreign_mmap(struct mc_handle *h, struct vm_area_struct *vma, u64 offset, bool writes);

/* forward.c: dma-bufs of imported regions. */

struct dma_buf *mc_forward_new(struct mc_region *r, u64 offset, u64 length, bool rdonly, u32 fd_flags);
bool mc_is_forward(const struct dma_buf *buf);

#endif /* MC_PROVIDER_H */
