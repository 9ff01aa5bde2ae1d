/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rings in shared memory. A lossy ring carries hints (touches): many writers, one reader, writing never waits and never
 * fails; a reader that falls behind loses the oldest. Layout is fixed, both processes map it.
 */
#ifndef MC_RING_H
#define MC_RING_H

#include <stdatomic.h>

#include "base/base.h"

struct lossy_ring {
	_Atomic uint64_t head; /* next place to write; writers add one */
	uint64_t pad0[7];
	uint64_t tail; /* next place to read; the reader's */
	uint64_t pad1[7];
	uint64_t mask; /* places - 1, set by the creator; a reader uses its own copy */
	uint64_t pad2[7];
	_Atomic uint64_t slot[];
};

#define LOSSY_RING_BYTES(places) (sizeof(struct lossy_ring) + (places) * sizeof(uint64_t))

void lossy_ring_init(struct lossy_ring *r, uint64_t places); /* a power of two */

/* @v is not 0. Two atomic operations, no system call. */
static inline void lossy_ring_push(struct lossy_ring *r, uint64_t mask, uint64_t v)
{
	uint64_t at = atomic_fetch_add_explicit(&r->head, 1, memory_order_relaxed);

	atomic_store_explicit(&r->slot[at & mask], v, memory_order_release);
}

/*
 * Up to @max values in order of writing. @mask and *@tail are the reader's own (the writers can write all of the ring, so
 * nothing in it is trusted). Return: how many.
 */
size_t lossy_ring_drain(struct lossy_ring *r, uint64_t mask, uint64_t *tail, uint64_t *out, size_t max);

#endif
