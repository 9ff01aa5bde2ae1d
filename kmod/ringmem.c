// SPDX-License-Identifier: GPL-2.0-only
/* Memory of rings: as vmalloc_user() has it, but charged to the caller's memory cgroup and silent when there is none. */

#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "kmod.h"

void *mc_ring_alloc(size_t size)
{
	unsigned int nr = size >> PAGE_SHIFT, i;
	struct page **pages;
	void *ring;

	pages = kvmalloc_array(nr, sizeof(*pages), MC_GFP_LARGE);
	if (!pages)
		return NULL;
	for (i = 0; i < nr; i++) {
		pages[i] = alloc_page(MC_GFP_LARGE | __GFP_ZERO);
		if (!pages[i])
			goto err_free;
	}
	/* From here on the pages and their array belong to the mapping. */
	ring = vmap(pages, nr, VM_MAP | VM_USERMAP | VM_MAP_PUT_PAGES, PAGE_KERNEL);
	if (ring)
		return ring;

err_free:
	while (i)
		__free_page(pages[--i]);
	kvfree(pages);
	return NULL;
}
