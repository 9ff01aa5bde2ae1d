/* SPDX-License-Identifier: Apache-2.0 */
/* Neighbours: who is one, and transfers that are copied by whoever wants them. */
#include "transport/near.h"

#include <string.h>
#include <time.h>

#include "base/clock.h"

#define SLICE_BYTES  (4 * MiB)
#define SUBMIT_BYTES (8 * MiB) /* copied at most by one submit() */

bool near_has(const struct segment_desc *desc, const uint8_t node[16], uint64_t pid_ns)
{
	return desc->mc.present && desc->mc.pid > 0 && desc->mc.reach_fd >= 0 &&
	       desc->mc.pid_ns == pid_ns && !memcmp(desc->mc.node, node, sizeof(desc->mc.node));
}

/* Adds what is left of @x, as far as it fits. */
static void slice_fill(struct slice *s, const struct xfer *x, uint64_t max_bytes)
{
	uint64_t skip = x->bytes;

	for (unsigned i = 0; i < x->nr && s->nr < SLICE_VECS && s->bytes < max_bytes; i++) {
		const struct xvec *v = &x->vec[i];
		uint64_t len = v->len;

		if (skip >= len) {
			skip -= len;
			continue;
		}
		len = MIN(len - skip, max_bytes - s->bytes);
		s->v[s->nr++] =
			(struct process_vec){ (char *)v->local + skip, v->remote + skip, len };
		s->bytes += len;
		skip = 0;
	}
}

static void finish(struct xfer *x, int status)
{
	x->status = status;
	x->done = true;
}

/*
 * Moves x[0..nr), which are together in @s, at once. On failure they are left to progress(), one by
 * one.
 */
static void flush(struct peer *p, struct slice *s, struct xfer *const *x, unsigned nr, near_move *move)
{
	if (nr && !move(p, x[0]->op, s)) {
		for (unsigned i = 0; i < nr; i++) {
			x[i]->bytes = xfer_bytes(x[i]);
			finish(x[i], 0);
		}
	}
	s->nr = 0;
	s->bytes = 0;
}

void near_submit(struct peer *p, struct xfer *const *x, unsigned nr, near_move *move)
{
	struct slice s; /* large: only what is used is set */
	uint64_t left = SUBMIT_BYTES;
	unsigned first = 0, i;

	s.nr = 0;
	s.bytes = 0;
	for (i = 0; i < nr; i++) {
		x[i]->peer = p;
		x[i]->done = false;
		x[i]->bytes = 0;
	}
	for (i = 0; i < nr; i++) {
		uint64_t bytes = xfer_bytes(x[i]);

		if (bytes > left || x[i]->nr > SLICE_VECS)
			break;
		if (i > first && (x[i]->op != x[first]->op || s.nr + x[i]->nr > SLICE_VECS ||
				  s.bytes + bytes > SLICE_BYTES)) {
			flush(p, &s, x + first, i - first, move);
			first = i;
		}
		slice_fill(&s, x[i], UINT64_MAX);
		left -= bytes;
	}
	flush(p, &s, x + first, i - first, move);
}

bool near_progress(struct peer *p, struct xfer *x, uint64_t deadline_ns, near_move *move)
{
	const struct timespec nap = { .tv_nsec = 50 * NSEC_PER_USEC };
	uint64_t total = xfer_bytes(x);

	while (!x->done) {
		struct slice s;
		int ret;

		s.nr = 0;
		s.bytes = 0;
		slice_fill(&s, x, SLICE_BYTES);
		ret = move(p, x->op, &s);
		if (!ret)
			x->bytes += s.bytes;
		if (x->bytes == total || (ret && ret != -EAGAIN))
			finish(x, ret);
		else if (deadline_passed(deadline_ns))
			break;
		else if (ret)
			nanosleep(&nap, NULL);
	}
	return x->done;
}

void near_cancel(struct peer *p, struct xfer *x)
{
	if (!x->done)
		finish(x, -ECANCELED);
}

uint64_t near_backlog(const struct peer *p)
{
	return 0;
}
