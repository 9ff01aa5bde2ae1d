/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Outlets: what the dma-bufs of a region have in common, be the memory ours (export.c) or a provider's (forward.c).
 * REVOKE finds them all and tells their importers.
 */
#ifndef MC_OUTLET_H
#define MC_OUTLET_H

#include <linux/dma-direction.h>

#include "kmod.h"

struct dma_buf;

struct mc_outlet {
	struct mc_handle *h;		/* what mappings of the dma-buf count as */
	u64 offset;
	u64 length;
	bool rdonly;
	struct dma_buf *buf;
	struct list_head node;		/* in region->outlets, guarded by region->lock */
	/* Nobody reaches the memory any more, nor will: let go of it. Called once, or never. May be NULL. */
	void (*drop)(struct mc_outlet *o);

	struct mutex lock;		/* inside the dma-buf's reservation lock */
	/* guarded by lock */
	unsigned int maps;
	bool revoked;
	bool dropped;
};

/*
 * Make @o one of @r's: from here on PUNCH leaves the pages alone and nobody seals. -EKEYREVOKED, -EACCES, -ENOMEM.
 * Undone by mc_outlet_fini().
 */
int mc_outlet_init(struct mc_outlet *o, struct mc_region *r, u64 offset, u64 length, bool rdonly);
void mc_outlet_fini(struct mc_outlet *o);
/* Let REVOKE find @o; -EKEYREVOKED when it has been there. */
int mc_outlet_show(struct mc_outlet *o, struct dma_buf *buf);
/* A device is about to map, or has unmapped. -EKEYREVOKED, -EACCES. */
int mc_outlet_map(struct mc_outlet *o, enum dma_data_direction dir);
void mc_outlet_unmap(struct mc_outlet *o);
/* REVOKE: have everything unmapped that can be. The gate is closed. */
void mc_outlets_revoke(struct mc_region *r);

#endif /* MC_OUTLET_H */
