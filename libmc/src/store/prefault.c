/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Page tables ahead of use. The owner populated the memory; what a new mapping lacks is the entries, and a fault for each page
 * costs more than copying it. The housekeeping thread enters them bit by bit after an attach; space that is granted earlier than
 * it got there is entered with the grant.
 */
#include "store/store.h"

#define STEP_BYTES (16 * MiB) /* some milliseconds of the housekeeping thread */
#define AHEAD_BYTES (64 * GiB) /* beyond this, only what is granted */

static void step(struct loop_timer *t)
{
	struct spool *p = container_of(t, struct spool, prefault);
	uint64_t done = atomic_load_explicit(&p->prefaulted, memory_order_relaxed), base = 0;

	if (atomic_load(&p->gone) || done >= AHEAD_BYTES)
		return;
	if (!done)
		view_prefault(&p->view);
	for (unsigned i = 0; i < p->nr_regions; i++) {
		const struct region *r = &p->view.region[i];

		if (done < base + r->size) {
			region_prefault(r, done - base, MIN(STEP_BYTES, base + r->size - done));
			atomic_store_explicit(&p->prefaulted, MIN(done + STEP_BYTES, base + r->size), memory_order_relaxed);
			loop_timer_set(p->store->loop, t, clock_now_ns(), step);
			return;
		}
		base += r->size;
	}
}

void prefault_start(struct spool *p)
{
	loop_timer_set(p->store->loop, &p->prefault, clock_now_ns(), step);
}

void prefault_stop(struct spool *p)
{
	loop_timer_del(p->store->loop, &p->prefault);
}

void prefault_run(struct spool *p, const struct grant_run *run)
{
	uint64_t done = atomic_load_explicit(&p->prefaulted, memory_order_relaxed), base = 0;

	for (unsigned i = 0; i < run->region; i++)
		base += p->view.region[i].size;
	if (base + run->off + run->len > done)
		region_prefault(&p->view.region[run->region], run->off, run->len);
}
