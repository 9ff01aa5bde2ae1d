/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who has which bytes: an allocator of ranges in [0, size), and small sets of ranges. Both keep their books outside the
 * memory they speak of, so nobody who can write that memory can break them. Not thread-safe.
 */
#ifndef MC_RANGE_H
#define MC_RANGE_H

#include "base/base.h"

struct range {
	uint64_t off, len;
};

struct range_alloc;

/* Offsets and lengths are multiples of @unit (a power of two). Everything is free at the start. */
int range_alloc_open(uint64_t size, uint64_t unit, struct range_alloc **out);
void range_alloc_close(struct range_alloc *a);

/*
 * One contiguous run of @len bytes, O(1): segregated bins, good fit. -ENOSPC when no run is long enough, or when the only
 * ones are of nearly this length (1.6 %) and hide behind many that are shorter; -EINVAL for 0 and for parts of a unit.
 */
int range_get(struct range_alloc *a, uint64_t len, uint64_t *off);

/* About the longest run there is (1.6 %), but at most @want and at least @least bytes. Return: its length, or 0. */
uint64_t range_get_some(struct range_alloc *a, uint64_t want, uint64_t least, uint64_t *off);

/*
 * Exactly [off, off+len): how a restarted owner marks what its directory holds. -EBUSY unless all of it is free; -EINVAL
 * outside [0, size), for 0 and for parts of a unit; -ENOMEM.
 */
int range_take(struct range_alloc *a, uint64_t off, uint64_t len);

/*
 * Any part of what was given out, in any pieces; neighbours merge. Freeing what is free, or outside, is a bug and aborts.
 * When there is no memory for the books, the bytes stay given out and an error is logged.
 */
void range_put(struct range_alloc *a, uint64_t off, uint64_t len);

uint64_t range_free_bytes(const struct range_alloc *a);
uint64_t range_longest(const struct range_alloc *a); /* a lower bound within one bin (1.6 %) of the longest free run */

/* A sorted set of disjoint ranges; neighbours merge. For tens to hundreds of ranges: grants, registrations. */
struct range_set {
	struct range *r;
	size_t count, cap;
	uint64_t bytes;
};

void range_set_fini(struct range_set *s);
/* Zero bytes are added, deleted and had without effect. */
int range_set_add(struct range_set *s, uint64_t off, uint64_t len); /* -EEXIST when any byte is in; -EINVAL wraps; -ENOMEM */
int range_set_del(struct range_set *s, uint64_t off, uint64_t len); /* -ENOENT unless all of it is in; -ENOMEM */
bool range_set_has(const struct range_set *s, uint64_t off, uint64_t len);

/* Cuts @len bytes (or less: the whole of the longest range) out of the set. Return: how many, 0 when empty. */
uint64_t range_set_cut(struct range_set *s, uint64_t len, uint64_t *off);

#endif
