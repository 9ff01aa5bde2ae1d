// SPDX-License-Identifier: Apache-2.0
/* The reading end of lossy rings. */
#include "base/ring.h"

void lossy_ring_init(struct lossy_ring *r, uint64_t places)
{
	if (!is_pow2(places))
		abort();
	memset(r, 0, LOSSY_RING_BYTES(places));
	r->mask = places - 1;
}

size_t lossy_ring_drain(struct lossy_ring *r, uint64_t mask, uint64_t *tail, uint64_t *out,
			size_t max)
{
	uint64_t head = atomic_load_explicit(&r->head, memory_order_relaxed), at = *tail;
	size_t nr = 0;

	/*
	 * Further apart than the ring is long: overrun, or a writer that broke the ring. Either way only the last round is
	 * there, and no loop runs longer than that.
	 */
	if (head - at > mask + 1)
		at = head - mask - 1;
	for (; at != head && nr < max; at++) {
		/*
		 * Zero: the place was claimed and not written yet (or its writer died). Not waiting for it loses at most that
		 * one hint. The acquire pairs with the release in lossy_ring_push().
		 */
		uint64_t v = atomic_exchange_explicit(&r->slot[at & mask], 0, memory_order_acquire);

		if (v)
			out[nr++] = v;
	}
	*tail = at;
	return nr;
}
