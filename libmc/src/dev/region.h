/* SPDX-License-Identifier: Apache-2.0 */
/* What a kind of region brings along; touching pages in parallel. Nothing outside dev includes this. */
#ifndef MC_DEV_REGION_H
#define MC_DEV_REGION_H

#include "dev/dev.h"

struct region_ops {
	const char *name;

	/* Why this machine cannot have it, or NULL. */
	const char *(*missing)(void);

	/* A descriptor of @r->size bytes, which is rounded up to whole pages; sets fd, size and page_size. */
	int (*create)(const char *name, unsigned flags, struct region *r);

	/* Is @r->fd of this kind and safe to map? Sets page_size; -EMEDIUMTYPE: another kind's. */
	int (*check)(struct region *r);
};

extern const struct region_ops region_memfd;

/* Every page of @r is there afterwards. -ENOMEM. */
int region_populate(const struct region *r);

#endif
