// SPDX-License-Identifier: Apache-2.0
/* Receive buffers, lent to streams while something is coming in: a thousand idle ones have none. */
#include <stdatomic.h>

#include "net/net_private.h"

#define KEPT 16 /* for the next */

/* Without a lock, which a fork() might find taken. */
static uint8_t *_Atomic kept[KEPT];

uint8_t *net_rbuf_get(void)
{
	for (int i = 0; i < KEPT; i++) {
		uint8_t *b = atomic_load_explicit(&kept[i], memory_order_relaxed);

		/* Acquire: who kept it is done with it; pairs with the release below. */
		if (b && atomic_compare_exchange_strong_explicit(&kept[i], &b, NULL, memory_order_acquire,
								 memory_order_relaxed))
			return b;
	}
	return malloc(NET_RBUF);
}

void net_rbuf_put(uint8_t *b)
{
	for (int i = 0; i < KEPT && b; i++) {
		uint8_t *none = NULL;

		if (atomic_compare_exchange_strong_explicit(&kept[i], &none, b, memory_order_release,
							    memory_order_relaxed))
			return;
	}
	free(b);
}
