/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moving a batch on: the thread that waits does the work. It goes round all that has not ended; a
 * peer that does not answer gets a short while of each round, so that it holds up nobody else.
 */
#include "engine/engine.h"

#include "base/clock.h"
#include "base/log.h"

#define SLICE_ALONE_NS	(90 * NSEC_PER_MSEC) /* one peer: until somebody may have asked to cancel */
#define SLICE_SHARED_NS (1 * NSEC_PER_MSEC)  /* several peers */
#define POLL_FETCH_NS \
	(1 * NSEC_PER_SEC) /* longest look for a restarted peer by a thread that polls */
#define STUCK_MAX 32

/* A round over the batch. */
struct round {
	uint64_t until_ns;   /* the caller's deadline; 0: only look */
	struct looks *looks; /* of such a round */
	uint64_t slice_ns;
	const struct way *stuck[STUCK_MAX]; /* had their while */
	unsigned nr_stuck;
};

static bool running(const struct item *it)
{
	return it->way && atomic_load_explicit(&it->state, memory_order_relaxed) == MC_PENDING;
}

static bool waiting(const struct item *it)
{
	return !it->way && atomic_load_explicit(&it->state, memory_order_relaxed) == MC_WAITING;
}

/* Would another process under the same name explain this failure? */
static bool may_be_stale(int status)
{
	switch (status) {
	case -EFAULT:
	case -ECONNREFUSED:
	case -ECONNRESET:
	case -EPIPE:
	case -EHOSTUNREACH:
	case -ENETUNREACH:
	case -EBADMSG:
	case -EPROTO:
		return true;
	default:
		return false;
	}
}

static void note_deadline(struct looks *l, const struct item *it)
{
	l->deadline_ns = MIN(l->deadline_ns, it->deadline_ns);
}

/* From the beginning, by whatever way there is now. */
static void restart(struct mc_batch *b, struct item *it, const struct round *r)
{
	way_put(it->way);
	it->way = NULL;
	slice_rewind(b, it);
	item_start(b, it, 1);
	if (r->looks)
		r->looks->soon = true;
}

/*
 * A failed transfer starts once more when its peer turns out to have become another process, and when its way turns out to
 * be none.
 */
static bool start_again(struct mc_batch *b, struct item *it, const struct round *r)
{
	uint64_t by_ns = it->deadline_ns;
	uint64_t gen = it->gen;
	int ret;

	if (it->x.elsewhere && !it->transport) {
		segment_leave_way(it->seg, it->way);
		restart(b, it, r);
		return true;
	}
	if (it->again || !may_be_stale(it->x.status))
		return false;
	if (!r->until_ns)
		by_ns = MIN(by_ns, deadline_after_ns(POLL_FETCH_NS));
	if (r->looks && r->looks->driver)
		ret = driver_changed(r->looks->driver, it->seg, gen, &it->checking);
	else
		ret = segment_changed(it->seg, gen, by_ns);
	if (ret == -EINPROGRESS && !deadline_passed(it->deadline_ns)) {
		note_deadline(r->looks, it);
		return true;
	}
	it->again = true;
	if (ret != 1)
		return false;
	restart(b, it, r);
	return true;
}

static void item_cancel(struct mc_batch *b, struct item *it, int why)
{
	if (waiting(it)) {
		item_end(b, it, why);
		return;
	}
	way_ops(it->way)->cancel(it->way->peer, &it->x);
	item_end(b, it, it->x.status == -ECANCELED ? why : it->x.status);
}

static void expire(struct mc_batch *b, struct item *it)
{
	if (deadline_passed(it->deadline_ns))
		item_cancel(b, it, -ETIMEDOUT);
}

static bool is_stuck(const struct round *r, const struct way *w)
{
	for (unsigned i = 0; i < r->nr_stuck; i++) {
		if (r->stuck[i] == w)
			return true;
	}
	return false;
}

/* Who waits for the same descriptor as one that was looked at has had his look. */
static struct pollfd *looked_at(const struct looks *l, int fd)
{
	for (unsigned i = l->nr; i-- && fd >= 0;) { /* the last one is the likeliest */
		if (l->pfd[i].fd == fd)
			return &l->pfd[i];
	}
	return NULL;
}

static bool look_room(struct looks *l)
{
	unsigned max = MAX(2 * l->max, 16u);
	struct pollfd *p;

	if (l->nr < l->max)
		return true;
	p = l->driver ? realloc(l->pfd, max * sizeof(*p)) : NULL;
	if (!p)
		return false;
	l->pfd = p;
	l->max = max;
	return true;
}

/* One look at a transfer. Return: is it done? If not, what it waits for is noted. */
static bool look(const struct item *it, struct looks *l)
{
	const struct transport_ops *ops = way_ops(it->way);
	struct peer *p = it->way->peer;
	struct xfer *x = (struct xfer *)&it->x;
	short events = 0;
	int fd = ops->wants(p, x, &events);
	bool known = looked_at(l, fd);
	struct pollfd *at;

	if (ops->progress(p, x, known ? XFER_GLANCE : 0))
		return true;
	fd = ops->wants(p, x, &events);
	at = looked_at(l, fd);
	if (at)
		at->events |= events;
	else if (fd >= 0 && look_room(l))
		l->pfd[l->nr++] = (struct pollfd){ .fd = fd, .events = events };
	else
		l->soon = true;
	return false;
}

static bool progress(struct item *it, struct round *r)
{
	uint64_t by_ns = MIN(r->until_ns, it->deadline_ns);
	bool done;

	if (!r->until_ns) {
		note_deadline(r->looks, it);
		return look(it, r->looks);
	}
	/* Many ended with the one before, which was waited for: those need no clock. */
	if (way_ops(it->way)->progress(it->way->peer, &it->x, XFER_GLANCE))
		return true;
	by_ns = MIN(by_ns, deadline_after_ns(r->slice_ns));
	done = way_ops(it->way)->progress(it->way->peer, &it->x, by_ns);
	if (!done && r->nr_stuck < STUCK_MAX)
		r->stuck[r->nr_stuck++] = it->way;
	return done;
}

/* Moves one request on; it may start again, and be looked at in the next round. */
static void drive_item(struct mc_batch *b, struct item *it, struct round *r)
{
	bool done = progress(it, r);

	/* Of slices the next is under way, and has had a look. */
	if (done && !it->x.status && slice_next(b, it)) {
		done = progress(it, r);
		if (done && !it->x.status && slice_next(b, it)) {
			done = false;
			if (r->looks)
				r->looks->soon = true;
		}
	}
	if (!done)
		expire(b, it);
	else if (!it->x.status || !start_again(b, it, r))
		item_end(b, it, it->x.status);
}

static void cancel_all(struct mc_batch *b, int why)
{
	for (unsigned i = 0; i < b->nr; i++) {
		if (running(&b->item[i]) || waiting(&b->item[i]))
			item_cancel(b, &b->item[i], why);
	}
	b->cancel = false;
}

/* Do all running items go the same way? */
static bool one_way(const struct mc_batch *b)
{
	const struct way *w = NULL;

	for (unsigned i = 0; i < b->nr; i++) {
		if (!running(&b->item[i]))
			continue;
		if (w && w != b->item[i].way)
			return false;
		w = b->item[i].way;
	}
	return true;
}

static void go_round(struct mc_batch *b, uint64_t until_ns, struct looks *looks)
{
	struct round r;

	r.until_ns = until_ns;
	r.looks = looks;
	r.slice_ns = !until_ns || one_way(b) ? SLICE_ALONE_NS : SLICE_SHARED_NS;
	r.nr_stuck = 0;
	for (unsigned i = 0; i < b->nr; i++) {
		struct item *it = &b->item[i];

		if (b->cancel)
			cancel_all(b, -ECANCELED);
		if (waiting(it)) {
			if (looks)
				note_deadline(looks, it);
			expire(b, it);
		}
		if (!running(it))
			continue;
		if (is_stuck(&r, it->way))
			expire(b, it);
		else
			drive_item(b, it, &r);
	}
	if (b->priority == MC_PRIORITY_BACKGROUND && slices_start(b) && looks)
		looks->soon = true;
}

void batch_look(struct mc_batch *b, struct looks *l)
{
	go_round(b, 0, l);
}

/* With the turn, or with the queue, others may close it. */
void batch_leave(struct mc_batch *b, bool kick)
{
	bool tell = !b->told && !b->pending;
	void (*done)(void *arg) = b->cq ? NULL : b->done;
	struct driver *d = &b->eng->driver;
	void *arg = b->arg;

	kick &= b->cq && b->pending;
	b->told |= tell;
	if (tell && b->cq)
		cq_push(b);
	turn_give(&b->turn);
	if (kick)
		driver_kick(d); /* it may have found the turn taken */
	if (tell && done)
		done(arg);
}

static int succeeded(const struct mc_batch *b)
{
	int nr = 0;

	for (unsigned i = 0; i < b->nr; i++)
		nr += !b->item[i].error;
	return nr;
}

int mc_batch_wait(struct mc_batch *b, uint64_t deadline_ns)
{
	int ret;

	if (engine_forked(b->eng))
		return engine_refuse_fork();
	if (!turn_take(&b->turn, deadline_ns))
		return -EINPROGRESS;
	do {
		go_round(b, deadline_ns, NULL);
	} while (b->pending && !deadline_passed(deadline_ns));
	ret = b->pending ? -EINPROGRESS : succeeded(b);
	batch_leave(b, true);
	return ret;
}

#define POLL_LOOKS 32

int mc_batch_poll(struct mc_batch *b)
{
	struct pollfd pfd[POLL_LOOKS];
	struct looks looks = { .pfd = pfd, .max = POLL_LOOKS };
	int left;

	if (engine_forked(b->eng))
		return engine_refuse_fork();
	/* Another thread that waits moves things on already. */
	if (!turn_take(&b->turn, 0))
		return (int)atomic_load(&b->pending);
	go_round(b, 0, &looks);
	left = (int)atomic_load(&b->pending);
	batch_leave(b, true);
	return left;
}

void mc_batch_cancel(struct mc_batch *b)
{
	if (engine_forked(b->eng))
		return;
	/* A thread that drives the batch sees this between two looks and does it. */
	b->cancel = true;
	turn_take(&b->turn, DEADLINE_NEVER);
	cancel_all(b, -ECANCELED);
	batch_leave(b, true);
}
