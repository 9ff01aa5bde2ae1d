/* SPDX-License-Identifier: Apache-2.0 */
/* Has this process been forked since? Handles remember the generation they were made in; a child's differs. No system call. */
#ifndef MC_FORK_H
#define MC_FORK_H

#include <stdatomic.h>

extern _Atomic unsigned fork_generation_;

/* Registers the handler on first use, so that loading the library does nothing. */
unsigned fork_watch(void);

static inline unsigned fork_generation(void)
{
	return atomic_load_explicit(&fork_generation_, memory_order_relaxed);
}

#endif
