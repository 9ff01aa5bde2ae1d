/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the transports to processes on the same node have in common: who is such a process, and
 * transfers without anything under way in between, as whoever wants one copies it.
 *
 * Small transfers of one submission share system calls and are done when submit() returns; what is
 * larger is copied in slices by whoever waits, so that it can be cancelled in between.
 */
#ifndef MC_NEAR_H
#define MC_NEAR_H

#include "dev/dev.h"
#include "transport/transport.h"

#define SLICE_VECS 512

/* What is moved at a time. */
struct slice {
	struct process_vec v[SLICE_VECS + 1]; /* the last is the transport's */
	unsigned nr;
	uint64_t bytes;
};

/*
 * Moves all of @s. -EAGAIN: not now, ask again soon; anything else but 0 is the transfer's status.
 * Several threads at a time.
 */
typedef int near_move(struct peer *p, enum xfer_op op, struct slice *s);

/* Does @desc's process run on this node, with names for processes that mean the same here? */
bool near_has(const struct segment_desc *desc, const uint8_t node[16], uint64_t pid_ns);

/* transport_ops with one more argument, and as they are. */
void near_submit(struct peer *p, struct xfer *const *x, unsigned nr, near_move *move);
bool near_progress(struct peer *p, struct xfer *x, uint64_t deadline_ns, near_move *move);
void near_cancel(struct peer *p, struct xfer *x);
uint64_t near_backlog(const struct peer *p);

#endif
