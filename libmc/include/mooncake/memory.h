/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for buffers of a program: in a memfd, so that it can be shared with a process on the same machine, on large pages when
 * they can be had, near one memory node. All functions are thread-safe.
 */
#ifndef MOONCAKE_MEMORY_H
#define MOONCAKE_MEMORY_H

#include <mooncake/mooncake.h>

#ifdef __cplusplus
extern "C" {
#endif

/** struct mc_memory_opts - zero means the default, but for @node. */
struct mc_memory_opts {
	size_t size;	     /* sizeof(struct mc_memory_opts) */
	int32_t node;	     /* NUMA node to prefer; -1: any */
	uint32_t flags;	     /* 0 */
	uint64_t page_bytes; /* 2 MiB or 1 GiB: large pages of this size, set aside by the administrator; ordinary ones when too few are
				free, which is told once. 0: ordinary ones */
};

/**
 * mc_memory_alloc - zeroed memory in a memfd named "mooncake_shm", every page of it there already.
 * @bytes: at least 1; rounded up to whole pages.
 * @opts:  NULL: any node; large pages when MC_STORE_USE_HUGEPAGE is set, of MC_STORE_HUGEPAGE_SIZE (2MB, the default, or 1GB).
 * @out:   the first byte, aligned to a page.
 *
 * Children of fork() share it, as they share any shared mapping; freeing it in one leaves the others'. Not in core files.
 * Return: 0; -EINVAL; -ENOMEM: also when less is available, control groups counted; -EMFILE.
 */
MC_API int mc_memory_alloc(size_t bytes, const struct mc_memory_opts *opts, void **out);

/**
 * mc_memory_free - gives back what mc_memory_alloc() gave.
 * What is registered with a store stays mapped until it is not, and until the store's calls of that moment have ended: no transfer
 * loses its memory.
 * Return: 0; -ENOENT: no memory starts at @addr.
 */
MC_API int mc_memory_free(void *addr);

/** struct mc_memory_info - what lies behind an address. */
struct mc_memory_info {
	size_t bytes;	     /* as asked for */
	size_t mapped;	     /* whole pages */
	uint64_t page_bytes; /* of the pages that it got */
};

/**
 * mc_memory_find - what starts at @addr.
 * @fd: a new descriptor of the memory, sealed against shrinking, the caller's to close; NULL: none wanted.
 * Return: 0; -ENOENT: no memory starts there; -EMFILE.
 */
MC_API int mc_memory_find(const void *addr, struct mc_memory_info *info, int *fd);

/**
 * mc_numa_prefer - the calling thread runs on the processors of @node, and its new memory comes from there while there is some.
 * What cannot be had is logged. Return: 0; a negative errno: the processors (-EINVAL: no such node), or else the memory.
 */
MC_API int mc_numa_prefer(int node);

#ifdef __cplusplus
}
#endif

#endif
