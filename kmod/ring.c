// SPDX-License-Identifier: GPL-2.0-only
/*
 * Filling the ring of a completion queue.
 *
 * The consumer may scribble over the whole ring. So the module keeps its own tail and size and reads two words only:
 * head, where nonsense makes the queue dead, and uflags. In an SPSC ring the poster's page adds one such word, tail.
 */

#include <linux/sched.h>

#include "compat.h"
#include "cq.h"
#include "trace.h"

static u32 mc_cq_tail(struct mc_cq *cq)
{
	/* Pairs with the poster's release of tail: its entries are there. */
	return cq->spsc ? smp_load_acquire(cq->ring_tail) : READ_ONCE(cq->tail);
}

u32 mc_cq_used(struct mc_cq *cq)
{
	u32 head, tail, i = 0;

	/* Both may move while we look; a pair of which head was the same before and after belongs together. */
	do {
		/* Pairs with the consumer's release of head: its reads of the entries are done. */
		head = smp_load_acquire(&cq->ring->head);
		tail = mc_cq_tail(cq);
		/* The second look at head comes after that at tail. */
		smp_rmb();
	} while (READ_ONCE(cq->ring->head) != head && ++i < 8);
	return tail - head;
}

void mc_cq_flag(struct mc_cq *cq, u32 set, u32 clear)
{
	lockdep_assert_held(&cq->lock);
	WRITE_ONCE(cq->kflags, (cq->kflags | set) & ~clear);
	WRITE_ONCE(cq->ring->kflags, cq->kflags);
}

static void mc_cq_lose(struct mc_cq *cq)
{
	cq->lost = true;
	WRITE_ONCE(cq->ring->dropped, ++cq->dropped);
	mc_cq_flag(cq, MC_CQ_K_OVERFLOWED, 0);
	trace_mc_cq_lost(cq, cq->dropped);
}

static int mc_cq_append(struct mc_cq *cq, const struct mc_cqe *cqe, u64 now)
{
	u32 used = mc_cq_used(cq), tail = mc_cq_tail(cq);
	struct mc_cqe *slot;

	lockdep_assert_held(&cq->lock);
	if (cq->kflags & MC_CQ_K_DEAD)
		return -EPIPE;
	if (used > cq->entries) {
		mc_cq_flag(cq, MC_CQ_K_DEAD, 0);
		return -EPIPE;
	}
	if (used == cq->entries) {
		if (cq->overflow == MC_CQ_RESERVE)
			return -EAGAIN;
		mc_cq_lose(cq);
		return 0;
	}
	slot = &cq->cqes[tail & (cq->entries - 1)];
	*slot = *cqe;
	slot->ts_ns = now;
	if (cq->lost)
		slot->flags |= MC_CQE_F_OVERFLOW_BEFORE;
	cq->lost = false;
	WRITE_ONCE(cq->ring->last_ts, now);
	WRITE_ONCE(cq->tail, tail + 1);
	/* Pairs with the consumer's acquire of tail: the entry is there. */
	smp_store_release(cq->ring_tail, tail + 1);
	return 0;
}

bool mc_cq_sleeps(struct mc_cq *cq)
{
	/* No barrier: nobody is woken by this, and a stale answer does no harm. */
	return waitqueue_active(&cq->wait) || cq->eventfd;
}

void mc_cq_wake(struct mc_cq *cq)
{
	/* Full barrier inside: tail written, then sleepers looked for; they queue up, then look at tail. */
	if (wq_has_sleeper(&cq->wait))
		wake_up_interruptible_poll(&cq->wait, EPOLLIN | EPOLLHUP);
	if (cq->eventfd && !(READ_ONCE(cq->ring->uflags) & MC_CQ_U_NO_EVENTFD))
		mc_eventfd_signal(cq->eventfd);
}

void mc_cq_arm(struct mc_cq *cq)
{
	if (!cq->spsc)
		return;
	spin_lock(&cq->lock);
	mc_cq_flag(cq, MC_CQ_K_ARMED, 0);
	spin_unlock(&cq->lock);
	/* Pairs with the poster's barrier between tail and kflags: one of the two sees what the other wrote. */
	smp_mb();
}

int mc_cq_kick(struct mc_cq *cq)
{
	spin_lock(&cq->lock);
	mc_cq_flag(cq, 0, MC_CQ_K_ARMED);
	spin_unlock(&cq->lock);
	/* Whoever armed before this is on the wait queue; whoever arms after it looks at tail after that. */
	mc_cq_wake(cq);
	return mc_cq_dead(cq) ? -EPIPE : 0;
}

int mc_cq_push(struct mc_cq *cq, const struct mc_cqe *cqe, u32 nr)
{
	u64 now = ktime_get_ns();
	int ret = 0;
	u32 i;

	spin_lock(&cq->lock);
	for (i = 0; i < nr && !ret; i++)
		ret = mc_cq_append(cq, &cqe[i], now);
	spin_unlock(&cq->lock);
	if (ret)
		i--;
	if (i || ret == -EPIPE)
		mc_cq_wake(cq);
	return i ? (int)i : ret;
}

int mc_cq_poster_add(struct mc_cq *cq)
{
	int ret = 0;

	spin_lock(&cq->lock);
	if (cq->spsc && cq->post_files) {
		ret = -EBUSY;
	} else if (cq->kflags & MC_CQ_K_DEAD) {
		ret = -EPIPE;
	} else {
		kref_get(&cq->ref);
		cq->post_files++;
	}
	spin_unlock(&cq->lock);
	return ret;
}

void mc_cq_poster_here(struct mc_cq *cq)
{
	spin_lock(&cq->lock);
	cq->posters++;
	mc_cq_flag(cq, 0, MC_CQ_K_HUP);
	spin_unlock(&cq->lock);
}

void mc_cq_poster_del(struct mc_cq *cq, bool told)
{
	static const struct mc_cqe gone = { .type = MC_CQE_PEER };
	u64 now = ktime_get_ns();
	bool last;

	spin_lock(&cq->lock);
	last = told && !--cq->posters;
	if (last) {
		/* Into a full ring the entry does not go; the flag and poll say the same. */
		mc_cq_flag(cq, MC_CQ_K_HUP, 0);
		mc_cq_append(cq, &gone, now);
	}
	/* Only now may another poster come to an SPSC ring. */
	cq->post_files--;
	spin_unlock(&cq->lock);
	if (last)
		mc_cq_wake(cq);
	mc_cq_put(cq);
}
