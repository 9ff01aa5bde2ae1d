// SPDX-License-Identifier: Apache-2.0
/* Waiting for replies: one thread reads for all, and hands that on when it has what it came for. */
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "base/thread.h"
#include "net/mux_private.h"

#define WAIT_PIECES 256
#define LOOK_NS (200 * NSEC_PER_MSEC) /* the reader looks after the other end at least so often */
#define POLL_STEPS 4 /* who polls has others to look after, however fast bytes come */
#define NO_KICK_NS (10 * NSEC_PER_MSEC) /* how long the writer polls when it cannot be woken */

static uint64_t left_ns(uint64_t deadline_ns)
{
	uint64_t now;

	if (deadline_ns == DEADLINE_NEVER)
		return UINT64_MAX;
	now = clock_now_ns();
	return deadline_ns > now ? deadline_ns - now : 0;
}

/* ---- waking each other ---- */

void waiter_wake(struct mux *m, struct waiter *w)
{
	const uint64_t one = 1;

	if (!w->polling) {
		pthread_cond_signal(&w->cond);
		return;
	}
	if (m->kicked || m->kickfd < 0)
		return;
	m->kicked = write(m->kickfd, &one, sizeof(one)) == sizeof(one);
}

/* Called by whoever leaves: is there a role to fill, and somebody to fill it? */
static void hand_over(struct mux *m)
{
	struct waiter *w = list_first(&m->waiters, struct waiter, node);

	if (w && (!m->reading || (mux_unsent(m) && !m->writing)))
		waiter_wake(m, w);
}

/* ---- is anybody there? ---- */

void mux_heard(struct mux *m)
{
	if (m->watch.look_ns)
		net_watch_heard(&m->watch, m->fd);
}

void mux_look_after(struct mux *m)
{
	if (m->is_unix || m->broken || !net_watch_cut_off(&m->watch, m->fd))
		return;
	log_warn_limited("%s acknowledges nothing any more: cut off, or down", m->peer);
	mux_break(m, -ETIMEDOUT);
}

/* ---- the two roles; the lock is held on entry and return ---- */

/* Waits without the lock for something to read, and for room when there is something to send. Return: is there input? */
static bool poll_socket(struct mux *m, uint64_t for_ns)
{
	struct pollfd p = { .fd = m->fd, .events = POLLIN };
	struct timespec ts = timespec_of(for_ns);
	int ret;

	if (mux_unsent(m))
		p.events |= POLLOUT;
	pthread_mutex_unlock(&m->lock);
	ret = ppoll(&p, 1, for_ns == UINT64_MAX ? NULL : &ts, NULL);
	pthread_mutex_lock(&m->lock);
	if (ret > 0 && p.revents & (POLLOUT | POLLERR | POLLHUP))
		m->tx_full = false;
	return ret > 0 && p.revents & ~POLLOUT;
}

/* Answers of peers that have answered fast are looked for before sleeping. */
static ssize_t recv_soon(struct mux *m, struct iovec *iov, int nr, int flags)
{
	uint64_t until_ns = spin_start(&m->spin, clock_now_ns());
	ssize_t n = -EAGAIN;
	bool found;

	if (until_ns) {
		do
			n = mux_recv(m, iov, nr, MSG_DONTWAIT);
		while (n == -EAGAIN && spin_more(until_ns));
	}
	found = n != -EAGAIN;
	if (!found)
		n = mux_recv(m, iov, nr, flags);
	spin_ended(&m->spin, found, clock_now_ns());
	return n;
}

/*
 * A blocking read without the lock: into rbuf, which is the reader's, or into the reader's own request, which nobody else may
 * cancel. One system call instead of two.
 */
static void read_blocking(struct mux *m)
{
	struct iovec iov[WAIT_PIECES];
	uint64_t direct;
	ssize_t n;
	int nr;

	if (!mux_rbuf(m))
		return;
	nr = mux_pieces(m, iov, WAIT_PIECES, m->state == RX_BODY || m->state == RX_PAYLOAD, &direct);
	pthread_mutex_unlock(&m->lock);
	/* From far away, large payloads take so long that looking for each bit of them would cost more than it saves. */
	if (direct && !m->is_near)
		n = mux_recv(m, iov, nr, MSG_WAITALL);
	else
		n = recv_soon(m, iov, nr, direct ? MSG_WAITALL : 0);
	pthread_mutex_lock(&m->lock);
	mux_received(m, n, direct);
}

static void read_turn(struct mux *m, struct mux_req *r, uint64_t for_ns)
{
	/* The timeout of a blocking read is fixed; what ends sooner has to poll. */
	bool block = for_ns > MUX_SLICE_NS + MUX_SLICE_NS / 4 && !mux_unsent(m) && (!m->cur || m->cur == r);

	m->reading = true;
	if (block) {
		read_blocking(m);
	} else if (!m->cur || mux_read_now(m) == -EAGAIN) {
		bool input = poll_socket(m, MIN(for_ns, LOOK_NS));

		mux_flush(m);
		if (!input)
			mux_look_after(m);
		else if (!m->broken)
			mux_read_now(m);
	}
	m->reading = false;
}

static void write_turn(struct mux *m, struct waiter *w, uint64_t for_ns)
{
	struct pollfd p[2] = { { .fd = m->fd, .events = POLLOUT }, { .events = POLLIN } };
	struct timespec ts;
	uint64_t count;
	int ret;

	if (m->kickfd < 0)
		m->kickfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (m->kickfd < 0)
		for_ns = MIN(for_ns, NO_KICK_NS);
	p[1].fd = m->kickfd;
	ts = timespec_of(for_ns);
	m->writing = w->polling = true;
	pthread_mutex_unlock(&m->lock);
	ret = ppoll(p, 2, for_ns == UINT64_MAX ? NULL : &ts, NULL);
	pthread_mutex_lock(&m->lock);
	m->writing = w->polling = false;
	if (m->kicked && read(m->kickfd, &count, sizeof(count)) == sizeof(count))
		m->kicked = false;
	if (ret > 0 && p[0].revents)
		m->tx_full = false;
	mux_flush(m);
}

/* ---- waiting ---- */

static void wait_locked(struct mux *m, struct mux_req *r, struct waiter *w, uint64_t deadline_ns)
{
	while (r->state != MUX_DONE) {
		uint64_t for_ns = left_ns(deadline_ns);

		if (!for_ns)
			return;
		if (!m->reading)
			read_turn(m, r, for_ns);
		else if (mux_unsent(m) && !m->writing)
			write_turn(m, w, for_ns);
		else
			cond_wait_until(&w->cond, &m->lock, deadline_ns);
	}
}

/* With the lock, which is released meanwhile. */
static void drive(struct mux *m, struct mux_req *r, uint64_t deadline_ns)
{
	struct waiter w = { .cond = PTHREAD_COND_INITIALIZER };

	m->inside++;
	list_append(&m->waiters, &w.node);
	r->waiter = &w;
	mux_flush(m);
	wait_locked(m, r, &w, deadline_ns);
	r->waiter = NULL;
	list_del(&w.node);
	hand_over(m);
	mux_rest(m);
	if (!--m->inside)
		pthread_cond_signal(&m->empty);
	pthread_cond_destroy(&w.cond);
}

int mux_wait(struct mux *m, struct mux_req *r, uint64_t deadline_ns)
{
	int status = -EINVAL;

	pthread_mutex_lock(&m->lock);
	if (r->state != MUX_DONE && r->state != MUX_NEW) {
		drive(m, r, deadline_ns);
		if (r->state != MUX_DONE)
			mux_drop(m, r, -ETIMEDOUT);
	}
	if (r->state == MUX_DONE)
		status = r->status;
	pthread_mutex_unlock(&m->lock);
	return status;
}

bool mux_progress(struct mux *m, struct mux_req *r, uint64_t deadline_ns)
{
	bool done;

	pthread_mutex_lock(&m->lock);
	if (r->state != MUX_DONE && r->state != MUX_NEW)
		drive(m, r, deadline_ns);
	done = r->state == MUX_DONE;
	pthread_mutex_unlock(&m->lock);
	return done;
}

bool mux_poll(struct mux *m, struct mux_req *r)
{
	bool done;

	pthread_mutex_lock(&m->lock);
	if (r->state != MUX_DONE) {
		m->tx_full = false;
		mux_flush(m);
	}
	for (int i = 0; i < POLL_STEPS && !m->reading && r->state != MUX_DONE; i++)
		if (mux_read_now(m) <= 0)
			break;
	done = r->state == MUX_DONE;
	hand_over(m);
	mux_rest(m);
	pthread_mutex_unlock(&m->lock);
	return done;
}
