/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transfers to a peer of ours: each is one READ or WRITE on one of a few streams that all transfers
 * share. The thread that waits sends and receives. A stream that dies takes its transfers along to
 * a new one, once each: both operations may be repeated.
 */
#include "base/clock.h"
#include "base/log.h"
#include "transport/tcp.h"

#define STREAMS	       2 /* for all, and one more: */
#define URGENT	       STREAMS
#define SPREAD_BYTES   (1 * MiB) /* so much of one submission stays together on a stream */
#define BACKOFF_MIN_NS (10 * NSEC_PER_MSEC)
#define BACKOFF_MAX_NS (1 * NSEC_PER_SEC)
#define SPARE_MAX      1024 /* records of transfers kept for the next ones, */
#define SPARE_BODY     (4 * KiB) /* and of their request bodies, not more than so much */

struct tcp_peer {
	struct tcp_peer_head head;
	struct tcp *tcp;
	struct net_addr addr;
	pthread_mutex_t lock; /* guards what follows; nobody waits with it */
	struct tcp_stream *stream[STREAMS + 1];
	/* After a failed connection: with what, the next one not before, and how long next time. */
	int err;
	uint64_t retry_ns, backoff_ns;
};

/* One transfer on its way. */
struct ttx {
	struct ttx *next;
	struct xfer *x;
	struct tcp_stream *stream; /* a reference; NULL: none could be had */
	bool submitted, again;
	int refused; /* why there is no stream */
	uint64_t bytes;
	struct mux_req req;
	struct buf body;
	struct iovec *iov, one;
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
	ret = stream_open(p->tcp, &p->addr, &p->stream[i]);
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
	if (!p->err)
		return;
	pthread_mutex_lock(&p->lock);
	p->err = 0;
	p->backoff_ns = 0;
	pthread_mutex_unlock(&p->lock);
}

/* ---- transfers ------------------------------------------------------------------------------- */

static struct ttx *ttx_new(struct ttx_pool *pool)
{
	struct ttx *t;

	pthread_mutex_lock(&pool->lock);
	t = pool->first;
	if (t) {
		pool->first = t->next;
		pool->nr--;
	}
	pthread_mutex_unlock(&pool->lock);
	return t ? t : calloc(1, sizeof(*t));
}

static void ttx_destroy(struct ttx *t)
{
	buf_fini(&t->body);
	buf_fini(&t->req.reply);
	free(t);
}

static void ttx_free(struct ttx_pool *pool, struct ttx *t)
{
	bool keep;

	if (t->iov != &t->one)
		free(t->iov);
	if (t->body.cap > SPARE_BODY)
		buf_fini(&t->body);
	pthread_mutex_lock(&pool->lock);
	keep = pool->nr < SPARE_MAX;
	if (keep) {
		t->next = pool->first;
		pool->first = t;
		pool->nr++;
	}
	pthread_mutex_unlock(&pool->lock);
	if (!keep)
		ttx_destroy(t);
}

void ttx_pool_fini(struct ttx_pool *pool)
{
	while (pool->first) {
		struct ttx *t = pool->first;

		pool->first = t->next;
		ttx_destroy(t);
	}
	pthread_mutex_destroy(&pool->lock);
}

static void leave_stream(struct ttx *t)
{
	if (!t->stream)
		return;
	atomic_fetch_sub_explicit(&t->stream->backlog, t->bytes, memory_order_relaxed);
	stream_put(t->stream);
	t->stream = NULL;
	t->submitted = false;
}

static void join_stream(struct ttx *t, struct tcp_stream *s)
{
	t->stream = s;
	atomic_fetch_add_explicit(&s->backlog, t->bytes, memory_order_relaxed);
}

static void finish(struct tcp_peer *p, struct xfer *x, int status)
{
	struct ttx *t = x->priv;

	if (t) {
		leave_stream(t);
		if (!status)
			x->bytes = t->bytes;
		x->summed = t->req.sum_in;
		x->crc = t->req.crc;
		x->priv = NULL;
		ttx_free(&p->tcp->spare, t);
	}
	x->status = status;
	x->done = true;
}

/* Body and buffer list of the request; they stay the same when it is sent again. */
static int ttx_fill(struct ttx *t, struct xfer *x)
{
	struct scratch scratch = SCRATCH_INIT;
	struct msg_data m = { .nr = x->nr };

	*t = (struct ttx){ .x = x, .body = t->body, .req.reply = t->req.reply };
	buf_reset(&t->body);
	m.vecs = scratch_alloc(&scratch, x->nr, sizeof(*m.vecs));
	t->iov = x->nr == 1 ? &t->one : calloc(x->nr, sizeof(*t->iov));
	if (!m.vecs || !t->iov) {
		scratch_fini(&scratch);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < x->nr; i++) {
		m.vecs[i] = (struct data_vec){ x->vec[i].remote, x->vec[i].len };
		t->iov[i] = (struct iovec){ x->vec[i].local, x->vec[i].len };
		t->bytes += x->vec[i].len;
	}
	msg_data_encode(&m, &t->body);
	scratch_fini(&scratch);
	return t->body.err;
}

static void ttx_ended(struct mux_req *r)
{
	const struct xfer *x = container_of(r, struct ttx, req)->x;

	x->told(x->arg);
}

static int put_on_stream(struct ttx *t, const struct xfer *x, bool more)
{
	struct mux_req *r = &t->req;
	bool write = x->op == XFER_WRITE;
	int ret;

	buf_reset(&r->reply);
	*r = (struct mux_req){
		.type = write ? MSG_WRITE : MSG_READ,
		.body = t->body.data,
		.body_len = t->body.len,
		.out = write ? t->iov : NULL,
		.nr_out = write ? (int)x->nr : 0,
		.in = write ? NULL : t->iov,
		.nr_in = write ? 0 : (int)x->nr,
		.ended = x->told ? ttx_ended : NULL,
		.sum_in = x->sum,
		.reply = r->reply,
	};
	ret = mux_submit(t->stream->mux, r, more);
	t->submitted = !ret;
	return ret;
}

static bool stream_failed(int status)
{
	return status == -ECONNRESET || status == -EPIPE;
}

/* A transfer whose stream died gets one more. Return: did it? */
static bool once_more(struct tcp_peer *p, struct xfer *x)
{
	struct ttx *t = x->priv;
	struct tcp_stream *s;

	if (t->again)
		return false;
	t->again = true;
	leave_stream(t);
	s = stream_choose(p, x->urgent, &t->refused);
	if (s)
		join_stream(t, s);
	return s;
}

/*
 * With one submission the first stretch of bytes goes to one stream, the next to another: system
 * calls are shared.
 */
static void peer_submit(struct tcp_peer_head *h, struct xfer *const *xs, unsigned nr)
{
	struct tcp_peer *p = peer_of(h);
	struct tcp_stream *s = NULL;
	uint64_t together = 0;
	int err = 0;

	for (unsigned i = 0; i < nr; i++) {
		struct xfer *x = xs[i];
		struct ttx *t = ttx_new(&p->tcp->spare);

		x->peer = &h->base;
		x->done = false;
		x->bytes = 0;
		x->priv = t;
		err = t ? ttx_fill(t, x) : -ENOMEM;
		if (err) {
			finish(p, x, err);
			continue;
		}
		if (!s || together >= SPREAD_BYTES) {
			if (s)
				stream_put(s);
			s = stream_choose(p, x->urgent, &t->refused);
			together = 0;
		}
		if (!s) {
			finish(p, x, t->refused);
			continue;
		}
		together += t->bytes;
		stream_get(s);
		join_stream(t, s);
		/* Not ready, or dead: progress() takes care. */
		if (atomic_load_explicit(&s->state, memory_order_acquire) == STREAM_READY)
			put_on_stream(t, x, i + 1 < nr && together < SPREAD_BYTES);
	}
	if (s)
		stream_put(s);
}

/* Brings the request onto its stream. -EINPROGRESS: not by the deadline. */
static int ensure_submitted(struct tcp_peer *p, struct xfer *x, uint64_t deadline_ns)
{
	struct ttx *t = x->priv;
	int ret;

	if (t->submitted)
		return 0;
	ret = stream_advance(t->stream, deadline_ns);
	if (ret == -EINPROGRESS)
		return ret;
	if (ret && ret != -ECONNRESET)
		back_off(p, ret);
	if (ret)
		return ret;
	connected(p);
	return put_on_stream(t, x, false);
}

static bool nothing_new(const struct ttx *t)
{
	if (t->submitted)
		return !mux_done(t->stream->mux, &t->req);
	return atomic_load_explicit(&t->stream->state, memory_order_acquire) < STREAM_READY;
}

static bool peer_progress(struct tcp_peer_head *h, struct xfer *x, uint64_t deadline_ns)
{
	struct tcp_peer *p = peer_of(h);
	struct ttx *t = x->priv;
	int ret;

	if (deadline_ns == XFER_GLANCE && !x->done && nothing_new(t))
		return false;
	while (!x->done) {
		ret = ensure_submitted(p, x, deadline_ns);
		if (ret == -EINPROGRESS)
			return false;
		if (!ret) {
			if (!(deadline_ns ? mux_progress(t->stream->mux, &t->req, deadline_ns) :
					    mux_poll(t->stream->mux, &t->req)))
				return false;
			ret = t->req.status;
		}
		if (stream_failed(ret) && once_more(p, x))
			continue;
		if (!ret && x->op == XFER_READ && t->req.got != t->bytes)
			ret = -EBADMSG;
		finish(p, x, ret);
	}
	return true;
}

static int peer_wants(struct tcp_peer_head *h, const struct xfer *x, short *events)
{
	const struct ttx *t = x->priv;

	return t ? stream_wants(t->stream, events) : -1;
}

static void peer_cancel(struct tcp_peer_head *h, struct xfer *x)
{
	struct ttx *t = x->priv;

	if (x->done)
		return;
	if (t->submitted)
		mux_cancel(t->stream->mux, &t->req);
	finish(peer_of(h), x, -ECANCELED);
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

int tcp_peer_open(struct tcp *t, const struct net_addr *a, struct tcp_peer_head **out)
{
	struct tcp_peer *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->head.base.transport = &t->base;
	p->head.ops = &framed_ops;
	p->tcp = t;
	p->addr = *a;
	pthread_mutex_init(&p->lock, NULL);
	/* The first stream connects while the caller goes on. A failure shows when it is used. */
	p->err = stream_new(p, 0);
	*out = &p->head;
	return 0;
}
