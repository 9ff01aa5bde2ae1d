/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transfers to a peer of ours: each is a READ or WRITE, or with others a part of one, on one of a few streams that all
 * transfers share. The thread that waits sends and receives. A stream that dies takes its transfers along to a new one,
 * once each: both operations may be repeated.
 */
#include "base/clock.h"
#include "base/log.h"
#include "transport/tcp.h"

#define STREAMS	       2 /* for all, and one more: */
#define URGENT	       STREAMS
#define SPREAD_BYTES   (1 * MiB) /* so much of one submission stays together on a stream */
#define BACKOFF_MIN_NS (10 * NSEC_PER_MSEC)
#define BACKOFF_MAX_NS (1 * NSEC_PER_SEC)

struct tcp_peer {
	struct tcp_peer_head head;
	struct tcp *tcp;
	struct net_addr addr;
	bool near;
	pthread_mutex_t lock; /* guards what follows; nobody waits with it */
	struct tcp_stream *stream[STREAMS + 1];
	/* After a failed connection: with what, the next one not before, and how long next time. */
	int err;
	uint64_t retry_ns, backoff_ns;
};

static struct tcp_peer *peer_of(struct tcp_peer_head *h)
{
	return container_of(h, struct tcp_peer, head);
}

/* ---- streams --------------------------------------------------------------------------------- */

static bool is_dead(const struct tcp_stream *s)
{
	int state = atomic_load_explicit(&s->state, memory_order_acquire);

	return state == STREAM_BROKEN || (state == STREAM_READY && mux_broken(s->mux));
}

/* A new stream for the empty slot @i, unless the peer refused one a moment ago. */
static int stream_new(struct tcp_peer *p, int i)
{
	int ret;

	if (p->err && clock_now_ns() < p->retry_ns)
		return p->err;
	ret = stream_open(p->tcp, &p->addr, p->near, &p->stream[i]);
	if (ret)
		log_debug("tcp: no stream: %s", strerror(-ret));
	return ret;
}

/*
 * The stream with the least to do; a second one is opened when all others are busy. What is urgent
 * has its own. NULL: @err says why.
 */
static struct tcp_stream *stream_choose(struct tcp_peer *p, bool urgent, int *err)
{
	struct tcp_stream *best = NULL;
	int empty = -1;

	pthread_mutex_lock(&p->lock);
	for (int i = urgent ? URGENT : 0; i < STREAMS + urgent; i++) {
		struct tcp_stream *s = p->stream[i];

		if (s && is_dead(s)) {
			stream_put(s);
			s = p->stream[i] = NULL;
		}
		if (!s)
			empty = empty < 0 ? i : empty;
		else if (!best || s->backlog < best->backlog)
			best = s;
	}
	if (empty >= 0 && (!best || best->backlog)) {
		*err = stream_new(p, empty);
		if (!*err)
			best = p->stream[empty];
	}
	if (best)
		stream_get(best);
	pthread_mutex_unlock(&p->lock);
	return best;
}

/* Connecting failed: the next attempt waits a little, twice as long each time. */
static void back_off(struct tcp_peer *p, int err)
{
	pthread_mutex_lock(&p->lock);
	if (clock_now_ns() >= p->retry_ns) {
		p->backoff_ns = MAX(2 * p->backoff_ns, BACKOFF_MIN_NS);
		p->backoff_ns = MIN(p->backoff_ns, BACKOFF_MAX_NS);
		p->retry_ns = deadline_after_ns(p->backoff_ns);
	}
	p->err = err;
	pthread_mutex_unlock(&p->lock);
}

static void connected(struct tcp_peer *p)
{
	pthread_mutex_lock(&p->lock);
	p->err = 0;
	p->backoff_ns = 0;
	pthread_mutex_unlock(&p->lock);
}

/* ---- transfers ------------------------------------------------------------------------------- */

static bool ready(const struct tcp_stream *s)
{
	return atomic_load_explicit(&s->state, memory_order_acquire) == STREAM_READY;
}

static bool stream_failed(int status)
{
	return status == -ECONNRESET || status == -EPIPE;
}

static void all_failed(struct xfer *const *xs, unsigned nr, int status)
{
	for (unsigned i = 0; i < nr; i++) {
		xs[i]->status = status;
		xs[i]->done = true;
	}
}

/* @xs as one request on @s. */
static void start(struct tcp_peer *p, struct tcp_stream *s, struct xfer *const *xs, unsigned nr, bool more)
{
	struct bundle *b;
	int ret = bundle_new(&p->tcp->spare, xs, nr, &b);

	if (ret) {
		all_failed(xs, nr, ret);
		return;
	}
	bundle_join(b, s);
	/* Not ready, or dead: progress() takes care. */
	if (ready(s))
		bundle_submit(b, more);
}

/* Those whose stream died get one more. Return: did they? */
static bool once_more(struct tcp_peer *p, struct bundle *b)
{
	bool urgent = b->x[0]->urgent;
	struct tcp_stream *s;
	int err;

	if (b->again)
		return false;
	b->again = true;
	bundle_leave(b);
	s = stream_choose(p, urgent, &err);
	if (!s)
		return false;
	bundle_join(b, s);
	stream_put(s);
	return true;
}

/* Refused as a whole for what one of them asked: each goes alone now. */
static void come_apart(struct tcp_peer *p, struct bundle *b)
{
	struct tcp_stream *s = b->stream;

	stream_get(s);
	bundle_leave(b);
	bundle_tell(b);
	for (unsigned i = 0; i < b->nr; i++)
		start(p, s, &b->x[i], 1, i + 1 < b->nr);
	bundle_free(&p->tcp->spare, b);
	stream_put(s);
}

/* Of one submission the first stretch of bytes goes to one stream, the next to another: system calls are shared. */
static void peer_submit(struct tcp_peer_head *h, struct xfer *const *xs, unsigned nr)
{
	struct tcp_peer *p = peer_of(h);
	struct tcp_stream *s = NULL;
	uint64_t together = 0, bytes;
	int err = 0;

	for (unsigned i = 0; i < nr; i++) {
		xs[i]->peer = &h->base;
		xs[i]->done = false;
		xs[i]->bytes = 0;
		xs[i]->priv = NULL;
	}
	for (unsigned at = 0, n; at < nr; at += n) {
		n = bundle_size(xs + at, nr - at, &bytes);
		if (!s || together >= SPREAD_BYTES) {
			if (s)
				stream_put(s);
			s = stream_choose(p, xs[at]->urgent, &err);
			together = 0;
		}
		if (!s) {
			all_failed(xs + at, n, err);
			continue;
		}
		together += bytes;
		start(p, s, xs + at, n, at + n < nr && together < SPREAD_BYTES);
	}
	if (s)
		stream_put(s);
}

/* Brings the request onto its stream. -EINPROGRESS: not by the deadline. */
static int ensure_submitted(struct tcp_peer *p, struct bundle *b, uint64_t deadline_ns)
{
	int ret;

	if (b->submitted)
		return 0;
	ret = stream_advance(b->stream, deadline_ns);
	if (ret == -EINPROGRESS)
		return ret;
	if (ret && ret != -ECONNRESET)
		back_off(p, ret);
	if (ret)
		return ret;
	connected(p);
	return bundle_submit(b, false);
}

static bool nothing_new(const struct bundle *b)
{
	if (b->submitted)
		return !mux_done(b->stream->mux, &b->req);
	return atomic_load_explicit(&b->stream->state, memory_order_acquire) < STREAM_READY;
}

static bool peer_progress(struct tcp_peer_head *h, struct xfer *x, uint64_t deadline_ns)
{
	struct tcp_peer *p = peer_of(h);
	struct bundle *b;
	int ret;

	if (deadline_ns == XFER_GLANCE && !x->done && nothing_new(x->priv))
		return false;
	while (!x->done) {
		b = x->priv;
		ret = ensure_submitted(p, b, deadline_ns);
		if (ret == -EINPROGRESS)
			return false;
		if (!ret) {
			if (!(deadline_ns ? mux_progress(b->stream->mux, &b->req, deadline_ns) :
					    mux_poll(b->stream->mux, &b->req)))
				return false;
			ret = b->req.status;
		}
		if (stream_failed(ret) && once_more(p, b))
			continue;
		if (ret == -EFAULT && b->nr > 1) {
			come_apart(p, b);
			continue;
		}
		if (!ret && x->op == XFER_READ && b->req.got != b->bytes)
			ret = -EBADMSG;
		bundle_end(&p->tcp->spare, b, ret);
	}
	return true;
}

static int peer_wants(struct tcp_peer_head *h, const struct xfer *x, short *events)
{
	const struct bundle *b = x->priv;

	return b ? stream_wants(b->stream, events) : -1;
}

static void peer_cancel(struct tcp_peer_head *h, struct xfer *x)
{
	struct bundle *b = x->priv;

	if (x->done)
		return;
	bundle_drop(b, x);
	x->status = -ECANCELED;
	x->done = true;
	if (!b->nr)
		bundle_end(&peer_of(h)->tcp->spare, b, -ECANCELED);
}

static uint64_t peer_backlog(const struct tcp_peer_head *h)
{
	struct tcp_peer *p = container_of((struct tcp_peer_head *)h, struct tcp_peer, head);
	uint64_t sum = 0;

	pthread_mutex_lock(&p->lock);
	for (int i = 0; i <= URGENT; i++)
		sum += p->stream[i] ? p->stream[i]->backlog : 0;
	pthread_mutex_unlock(&p->lock);
	return sum;
}

static void peer_disconnect(struct tcp_peer_head *h)
{
	struct tcp_peer *p = peer_of(h);

	for (int i = 0; i <= URGENT; i++) {
		if (p->stream[i])
			stream_put(p->stream[i]);
	}
	pthread_mutex_destroy(&p->lock);
	free(p);
}

static const struct tcp_peer_ops framed_ops = {
	.disconnect = peer_disconnect,
	.submit = peer_submit,
	.progress = peer_progress,
	.wants = peer_wants,
	.cancel = peer_cancel,
	.backlog = peer_backlog,
};

int tcp_peer_open(struct tcp *t, const struct net_addr *a, bool near, struct tcp_peer_head **out)
{
	struct tcp_peer *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->head.base.transport = &t->base;
	p->head.ops = &framed_ops;
	p->tcp = t;
	p->addr = *a;
	p->near = near;
	pthread_mutex_init(&p->lock, NULL);
	/* The first stream connects while the caller goes on. A failure shows when it is used. */
	p->err = stream_new(p, 0);
	*out = &p->head;
	return 0;
}
