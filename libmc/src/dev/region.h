/* SPDX-License-Identifier: Apache-2.0 */
/* What a kind of region brings along; touching pages in parallel. Nothing outside dev includes this. */
#ifndef MC_DEV_REGION_H
#define MC_DEV_REGION_H

#include "dev/dev.h"

struct region_ops {
	const char *name;
	const char *life; /* how long its regions live, for the log */

	/* Why this machine cannot have it, and what to do, or NULL. Called once. */
	const char *(*missing)(void);

	/*
	 * A descriptor of @r->size bytes, which is rounded up to whole pages; sets fd, size and page_size. @node as
	 * region_create(); with @places the backend puts memory there itself.
	 */
	int (*create)(const char *name, unsigned flags, int node, struct region *r);
	bool places;
	bool revocable; /* mappings can be taken away */

	/* Is @r->fd of this kind and safe to map? Sets page_size; -EMEDIUMTYPE: another kind's. @size: whole region. */
	int (*check)(struct region *r, uint64_t *size);

	int (*readonly)(const struct region *r, int *fd);
	int (*stat)(const struct region *r, struct region_stat *out);
};

extern const struct region_ops region_memfd, region_module;

/* Every page of @r is there afterwards. -ENOMEM. */
int region_populate(const struct region *r);

/* Maps what @r's descriptor, size and ops name, from @off of the file on. */
int region_map_in(struct region *r, uint64_t off, bool huge);

/* /dev/mooncake, opened once; -1: not to be had. */
int module_fd(void);
bool region_source_is_off(void); /* then nobody asks for it */

/* guard.c: mappings that can be taken away. 0: no place is left, and it is not guarded. */
uint16_t guard_add(void *base, uint64_t size, bool writable);
void guard_del(uint16_t g);
bool guard_tripped(uint16_t g);

#endif
