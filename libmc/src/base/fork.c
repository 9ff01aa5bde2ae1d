/* SPDX-License-Identifier: Apache-2.0 */
/* Counts forks in the child, so that handles of the parent are told apart without asking for the pid. */
#include "base/fork.h"

#include <pthread.h>

_Atomic unsigned fork_generation_;

static void in_child(void)
{
	atomic_fetch_add_explicit(&fork_generation_, 1, memory_order_relaxed);
}

static void watch(void)
{
	pthread_atfork(NULL, NULL, in_child);
}

unsigned fork_watch(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, watch);
	return fork_generation();
}
