/* SPDX-License-Identifier: GPL-2.0-only */
/* What ring.c, which fills rings, and cq.c, which hands them out, share. */
#ifndef MC_KMOD_CQ_H
#define MC_KMOD_CQ_H

#include "kmod.h"

struct mc_cq {
	struct kref ref;
	struct mc_name name;
	struct mc_cq_ring *ring;
	u32 *ring_tail;			/* in @ring */
	struct mc_cqe *cqes;		/* in @ring */
	size_t ring_size;
	u32 entries;
	u32 overflow;
	bool spsc;			/* the poster writes tail and entries, and the module only once it is gone */
	struct mc_user *user;		/* charged with ring_size */
	struct eventfd_ctx *eventfd;
	wait_queue_head_t wait;		/* consumers and posters */

	spinlock_t lock;
	/* guarded by lock; read without it where a stale value does no harm */
	u32 tail;			/* not with spsc */
	u32 kflags;
	u64 dropped;
	bool lost;			/* entries since the last one appended */
	bool named;			/* posters may still come */
	unsigned int post_files;
	unsigned int posters;		/* those of them that somebody got */
};

/* Entries the consumer has not taken; more than there can be means that head, or an SPSC poster's tail, is nonsense. */
u32 mc_cq_used(struct mc_cq *cq);
void mc_cq_flag(struct mc_cq *cq, u32 set, u32 clear);
/* Somebody may have something to do: wake who sleeps, and only then. */
void mc_cq_wake(struct mc_cq *cq);
/* SPSC: a consumer is about to sleep; what is posted from now on it sees, or the poster calls mc_cq_kick(). */
void mc_cq_arm(struct mc_cq *cq);
int mc_cq_kick(struct mc_cq *cq);
/* Would a post wake somebody? A guess, good enough to count them. */
bool mc_cq_sleeps(struct mc_cq *cq);
/* Nothing will be posted any more. */
static inline bool mc_cq_dead(struct mc_cq *cq)
{
	return READ_ONCE(cq->kflags) & MC_CQ_K_DEAD;
}

__poll_t mc_cq_poll_post(struct mc_cq *cq, struct file *file, poll_table *wait);

#endif /* MC_KMOD_CQ_H */
