// SPDX-License-Identifier: Apache-2.0
/* Requests on a shared stream that their callers drive: opening, submitting, cancelling, failing. */
#include <fcntl.h>
#include <poll.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/log.h"
#include "net/mux_private.h"

/* ---- ending requests; the lock is held ---- */

void mux_complete(struct mux *m, struct mux_req *r, int status)
{
	list_del(&r->node);
	r->status = status;
	r->state = MUX_DONE;
	if (r->waiter)
		waiter_wake(m, r->waiter);
	if (r->ended)
		r->ended(r);
}

static void end_all(struct mux *m, struct list *q, int err)
{
	struct mux_req *r;

	while ((r = list_first(q, struct mux_req, node)))
		mux_complete(m, r, err);
}

void mux_break(struct mux *m, int err)
{
	if (m->broken)
		return;
	m->broken = true;
	shutdown(m->fd, SHUT_RDWR); /* whoever is blocked in a system call returns */
	m->cur = NULL;
	m->state = RX_HEADER;
	free(m->tail);
	m->tail = NULL;
	end_all(m, &m->sendq, err);
	end_all(m, &m->waitq, err);
}

/* The rest of its frame must go out, or the stream is worth nothing. */
static void drop_queued(struct mux *m, struct mux_req *r)
{
	if (!r->sent || !mux_detach_rest(m, r))
		return;
	log_warn_limited("a request to %s was cancelled with much of it unsent; closing the connection", m->peer);
	mux_break(m, -ECONNRESET);
}

static void drop_sent(struct mux *m, struct mux_req *r)
{
	if (m->cur != r)
		return;
	if (m->state == RX_BODY)
		m->left += m->frame.payload_len;
	if (m->state != RX_SUM && m->frame.flags & NET_SUM)
		m->left += NET_SUM_BYTES;
	m->state = RX_SKIP;
	m->cur = NULL;
}

void mux_drop(struct mux *m, struct mux_req *r, int status)
{
	if (r->state == MUX_QUEUED)
		drop_queued(m, r);
	else if (r->state == MUX_SENT)
		drop_sent(m, r);
	else
		return;
	mux_complete(m, r, status);
	net_fds_close(&r->nr_fds, r->fds);
	buf_reset(&r->reply);
}

/* ---- the interface ---- */

static int check(const struct mux *m, struct mux_req *r)
{
	if (iov_total(r->out, r->nr_out, &r->out_len) || iov_total(r->in, r->nr_in, &r->in_len))
		return -EINVAL;
	if (r->nr_out_fds < 0 || r->nr_out_fds > NET_FDS_MAX || (r->nr_out_fds && !m->is_unix))
		return -EINVAL;
	r->sum_out &= r->out_len > 0;
	return r->body_len > NET_BODY_MAX || r->out_len > NET_PAYLOAD_MAX ? -EMSGSIZE : 0;
}

int mux_submit(struct mux *m, struct mux_req *r, bool more)
{
	int ret = check(m, r);

	if (ret)
		return ret;
	r->waiter = NULL;
	r->sent = r->got = r->summed = 0;
	r->crc = 0;
	memset(r->sum, 0, sizeof(r->sum));
	r->nr_fds = 0;
	r->status = -EINPROGRESS;
	buf_reset(&r->reply);
	pthread_mutex_lock(&m->lock);
	if (m->broken) {
		pthread_mutex_unlock(&m->lock);
		r->state = MUX_NEW;
		return -ECONNRESET;
	}
	if (list_empty(&m->sendq) && list_empty(&m->waitq))
		mux_heard(m);
	r->id = m->next_id++;
	r->state = MUX_QUEUED;
	list_append(&m->sendq, &r->node);
	if (!more)
		mux_flush(m);
	pthread_mutex_unlock(&m->lock);
	return 0;
}

int mux_call(struct mux *m, struct mux_req *r, uint64_t deadline_ns)
{
	int ret = mux_submit(m, r, true);

	return ret ? ret : mux_wait(m, r, deadline_ns);
}

void mux_cancel(struct mux *m, struct mux_req *r)
{
	pthread_mutex_lock(&m->lock);
	mux_drop(m, r, -ECANCELED);
	mux_rest(m);
	pthread_mutex_unlock(&m->lock);
}

bool mux_broken(const struct mux *m)
{
	return atomic_load_explicit(&m->broken, memory_order_relaxed);
}

int mux_fd(const struct mux *m)
{
	return m->fd;
}

bool mux_done(struct mux *m, const struct mux_req *r)
{
	bool done;

	pthread_mutex_lock(&m->lock);
	done = r->state == MUX_DONE;
	pthread_mutex_unlock(&m->lock);
	return done;
}

short mux_events(struct mux *m)
{
	short events;

	pthread_mutex_lock(&m->lock);
	events = mux_unsent(m) ? POLLIN | POLLOUT : POLLIN;
	pthread_mutex_unlock(&m->lock);
	return events;
}

/* Blocking reads with a fixed timeout; sends say MSG_DONTWAIT each time. */
static int set_blocking(int fd)
{
	struct timeval tv = { .tv_usec = MUX_SLICE_NS / NSEC_PER_USEC };
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)))
		return -errno;
	return 0;
}

int mux_open(int fd, struct mux **out)
{
	struct mux *m = calloc(1, sizeof(*m));
	int ret;

	if (!m)
		return -ENOMEM;
	ret = set_blocking(fd);
	if (ret) {
		free(m);
		return ret;
	}
	m->fd = fd;
	m->kickfd = -1;
	m->next_id = 1;
	m->is_unix = net_fd_is_unix(fd);
	m->is_near = net_fd_is_near(fd);
	net_peer_text(fd, m->peer, sizeof(m->peer));
	net_tune(fd);
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->empty, NULL);
	list_init(&m->sendq);
	list_init(&m->waitq);
	list_init(&m->waiters);
	*out = m;
	return 0;
}

void mux_set_near(struct mux *m)
{
	m->is_near = true;
}

void mux_close(struct mux *m)
{
	if (!m)
		return;
	pthread_mutex_lock(&m->lock);
	mux_break(m, -ECONNRESET);
	while (m->inside)
		pthread_cond_wait(&m->empty, &m->lock);
	pthread_mutex_unlock(&m->lock);
	net_fds_close(&m->box.nr, m->box.fd);
	if (m->kickfd >= 0)
		close(m->kickfd);
	close(m->fd);
	pthread_cond_destroy(&m->empty);
	pthread_mutex_destroy(&m->lock);
	net_rbuf_put(m->rbuf);
	free(m);
}
