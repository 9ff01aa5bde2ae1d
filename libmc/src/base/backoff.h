/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Something that saves time when it works and costs some when it does not: after each failure it is not tried 1, 2, 4 … 32 times,
 * and one success forgets that. Threads race here; the worst outcome is a try too many or too few.
 */
#ifndef MC_BACKOFF_H
#define MC_BACKOFF_H

#include <stdatomic.h>

#include "base/base.h"

#define BACKOFF_MAX 32u

/* All zero to begin with. */
struct backoff {
	_Atomic unsigned skip, last;
};

static inline bool backoff_try(struct backoff *b)
{
	unsigned skip = atomic_load_explicit(&b->skip, memory_order_relaxed);

	if (skip)
		atomic_store_explicit(&b->skip, skip - 1, memory_order_relaxed);
	return !skip;
}

static inline void backoff_failed(struct backoff *b)
{
	unsigned last = atomic_load_explicit(&b->last, memory_order_relaxed);

	last = last ? MIN(2 * last, BACKOFF_MAX) : 1;
	atomic_store_explicit(&b->last, last, memory_order_relaxed);
	atomic_store_explicit(&b->skip, last, memory_order_relaxed);
}

static inline void backoff_worked(struct backoff *b)
{
	if (unlikely(atomic_load_explicit(&b->last, memory_order_relaxed))) {
		atomic_store_explicit(&b->last, 0, memory_order_relaxed);
		atomic_store_explicit(&b->skip, 0, memory_order_relaxed);
	}
}

#endif
