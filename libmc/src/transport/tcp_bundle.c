/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests on a stream to a peer of ours. What a small transfer costs is mostly not its bytes: small ones of one
 * submission share a frame each way, system calls, a look at the peer's ranges and one copy straight into place.
 */
#include "transport/tcp.h"

#define TOGETHER_BYTES (256 * KiB) /* one step of a stream at either end */
#define TOGETHER_VECS  256
#define SPARE_MAX      128 /* records kept for the next requests, */
#define SPARE_VECS     TOGETHER_VECS /* and of their vectors not more than so many */

/* ---- records --------------------------------------------------------------------------------- */

static struct bundle *record(struct bundle_pool *pool)
{
	struct bundle *b;

	pthread_mutex_lock(&pool->lock);
	b = pool->first;
	if (b) {
		pool->first = b->next;
		pool->nr--;
	}
	pthread_mutex_unlock(&pool->lock);
	return b ? b : calloc(1, sizeof(*b));
}

static void destroy(struct bundle *b)
{
	buf_fini(&b->body);
	buf_fini(&b->req.reply);
	free(b->vec);
	free(b->iov);
	free(b->x);
	free(b);
}

void bundle_free(struct bundle_pool *pool, struct bundle *b)
{
	bool keep = b->max_vec <= SPARE_VECS && b->max_x <= SPARE_VECS;

	pthread_mutex_lock(&pool->lock);
	keep &= pool->nr < SPARE_MAX;
	if (keep) {
		b->next = pool->first;
		pool->first = b;
		pool->nr++;
	}
	pthread_mutex_unlock(&pool->lock);
	if (!keep)
		destroy(b);
}

void bundle_pool_fini(struct bundle_pool *pool)
{
	while (pool->first) {
		struct bundle *b = pool->first;

		pool->first = b->next;
		destroy(b);
	}
	pthread_mutex_destroy(&pool->lock);
}

/* ---- what goes together ---------------------------------------------------------------------- */

static bool alike(const struct xfer *a, const struct xfer *b)
{
	return a->op == b->op && a->urgent == b->urgent && a->told == b->told && a->arg == b->arg;
}

unsigned bundle_size(struct xfer *const *x, unsigned nr, uint64_t *bytes)
{
	unsigned vecs = x[0]->nr, n = 1;
	uint64_t more;

	*bytes = xfer_bytes(x[0]);
	for (; n < nr && alike(x[0], x[n]); n++, *bytes += more) {
		vecs += x[n]->nr;
		more = xfer_bytes(x[n]);
		if (vecs > TOGETHER_VECS || *bytes + more > TOGETHER_BYTES)
			break;
	}
	return n;
}

/* ---- a request ------------------------------------------------------------------------------- */

/* Room for so many transfers and vectors. What was there is of no use any more. */
static bool reserve(struct bundle *b, unsigned nr_x, unsigned nr_vec)
{
	if (nr_x > b->max_x) {
		free(b->x);
		b->x = calloc(nr_x, sizeof(*b->x));
		b->max_x = b->x ? nr_x : 0;
	}
	if (nr_vec > b->max_vec) {
		free(b->iov);
		free(b->vec);
		b->iov = calloc(nr_vec, sizeof(*b->iov));
		b->vec = calloc(nr_vec, sizeof(*b->vec));
		b->max_vec = b->iov && b->vec ? nr_vec : 0;
	}
	return b->max_x >= nr_x && b->max_vec >= nr_vec;
}

/* Body and buffer list; they stay the same when it is sent again. */
static int make_request(struct bundle *b)
{
	struct msg_data m = { .vecs = b->vec };

	b->bytes = 0;
	for (unsigned i = 0; i < b->nr; i++) {
		for (unsigned k = 0; k < b->x[i]->nr; k++) {
			const struct xvec *v = &b->x[i]->vec[k];

			b->vec[m.nr] = (struct data_vec){ v->remote, v->len };
			b->iov[m.nr++] = (struct iovec){ v->local, v->len };
			b->bytes += v->len;
		}
	}
	b->nr_vec = m.nr;
	b->stale = false;
	buf_reset(&b->body);
	msg_data_encode(&m, &b->body);
	return b->body.err;
}

int bundle_new(struct bundle_pool *pool, struct xfer *const *x, unsigned nr, struct bundle **out)
{
	struct bundle *b = record(pool);
	unsigned vecs = 0;
	int ret = -ENOMEM;

	if (!b)
		return ret;
	for (unsigned i = 0; i < nr; i++)
		vecs += x[i]->nr;
	b->stream = NULL;
	b->submitted = b->again = false;
	if (reserve(b, nr, vecs)) {
		memcpy(b->x, x, nr * sizeof(struct xfer *));
		b->nr = nr;
		ret = make_request(b);
	}
	if (ret) {
		bundle_free(pool, b);
		return ret;
	}
	for (unsigned i = 0; i < nr; i++)
		x[i]->priv = b;
	*out = b;
	return 0;
}

static void ended(struct mux_req *r)
{
	const struct xfer *x = container_of(r, struct bundle, req)->x[0];

	x->told(x->arg);
}

int bundle_submit(struct bundle *b, bool more)
{
	const struct xfer *x = b->x[0];
	bool write = x->op == XFER_WRITE;
	int ret = b->stale ? make_request(b) : 0;

	if (ret)
		return ret;
	buf_reset(&b->req.reply);
	b->req = (struct mux_req){
		.type = write ? MSG_WRITE : MSG_READ,
		.body = b->body.data,
		.body_len = b->body.len,
		.out = write ? b->iov : NULL,
		.nr_out = write ? (int)b->nr_vec : 0,
		.in = write ? NULL : b->iov,
		.nr_in = write ? 0 : (int)b->nr_vec,
		.ended = x->told ? ended : NULL,
		.sum_in = x->sum && b->nr == 1,
		.reply = b->req.reply,
	};
	ret = mux_submit(b->stream->mux, &b->req, more);
	b->submitted = !ret;
	return ret;
}

/* ---- on a stream, and off it ----------------------------------------------------------------- */

void bundle_join(struct bundle *b, struct tcp_stream *s)
{
	stream_get(s);
	b->stream = s;
	atomic_fetch_add_explicit(&s->backlog, b->bytes, memory_order_relaxed);
}

void bundle_leave(struct bundle *b)
{
	if (!b->stream)
		return;
	atomic_fetch_sub_explicit(&b->stream->backlog, b->bytes, memory_order_relaxed);
	stream_put(b->stream);
	b->stream = NULL;
	b->submitted = false;
}

void bundle_drop(struct bundle *b, struct xfer *x)
{
	uint64_t bytes = xfer_bytes(x);
	unsigned i = 0;

	if (b->submitted)
		mux_cancel(b->stream->mux, &b->req);
	b->submitted = false;
	while (b->x[i] != x)
		i++;
	memmove(&b->x[i], &b->x[i + 1], (b->nr - i - 1) * sizeof(struct xfer *));
	b->nr--;
	b->stale = true;
	b->bytes -= bytes;
	atomic_fetch_sub_explicit(&b->stream->backlog, bytes, memory_order_relaxed);
	x->priv = NULL;
}

void bundle_tell(const struct bundle *b)
{
	if (b->nr > 1 && b->x[0]->told)
		b->x[0]->told(b->x[0]->arg);
}

void bundle_end(struct bundle_pool *pool, struct bundle *b, int status)
{
	bundle_leave(b);
	for (unsigned i = 0; i < b->nr; i++) {
		struct xfer *x = b->x[i];

		if (!status)
			x->bytes = xfer_bytes(x);
		x->summed = !status && b->req.sum_in;
		x->crc = b->req.crc;
		x->priv = NULL;
		x->status = status;
		x->done = true;
	}
	if (status)
		bundle_tell(b);
	bundle_free(pool, b);
}
