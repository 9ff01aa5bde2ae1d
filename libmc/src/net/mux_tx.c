// SPDX-License-Identifier: Apache-2.0
/* The sending half of a mux: queued requests, gathered into one call. */
#include "base/hash.h"
#include "net/mux_private.h"

#define TX_PIECES 512
#define TX_FRAMES 64 /* per call */

static uint64_t frame_bytes(const struct mux_req *r)
{
	return NET_FRAME_BYTES + r->body_len + r->out_len + (r->sum_out ? NET_SUM_BYTES : 0);
}

/* How much of @out may leave now: with a checksum, what it covers already, which is brought ahead of what was sent. */
static uint64_t payload_ready(struct mux_req *r)
{
	struct iov_walk w = { .iov = r->out, .nr = r->nr_out };
	uint64_t before = NET_FRAME_BYTES + r->body_len, upto;

	if (!r->sum_out)
		return r->out_len;
	upto = (r->sent > before ? r->sent - before : 0) + NET_STEP;
	upto = MIN(r->out_len, upto);
	if (upto > r->summed) {
		iov_advance(&w, r->summed);
		put_le32(r->sum, iov_crc(&w, upto - r->summed, get_le32(r->sum)));
		r->summed = upto;
	}
	return r->summed;
}

/* What of @r is not sent yet and may be. @head: room for its header. Return: pieces. */
static int rest_of(struct mux_req *r, uint8_t head[NET_FRAME_BYTES], struct iovec *iov, int max)
{
	struct iov_walk out = { .iov = r->out, .nr = r->nr_out };
	uint64_t skip = r->sent, ready = payload_ready(r);
	int nr = 0, at;

	if (skip < NET_FRAME_BYTES) {
		struct net_frame f = {
			.flags = (uint8_t)((r->nr_out_fds ? NET_FDS : 0) | (r->sum_out ? NET_SUM : 0)),
			.type = r->type,
			.id = r->id,
			.body_len = (uint32_t)r->body_len,
			.payload_len = r->out_len,
		};

		net_frame_encode(&f, head);
		iov[nr++] = (struct iovec){ head + skip, NET_FRAME_BYTES - skip };
	}
	skip -= MIN(skip, (uint64_t)NET_FRAME_BYTES);
	if (skip < r->body_len && nr < max)
		iov[nr++] = (struct iovec){ (char *)r->body + skip, r->body_len - skip };
	else if (skip < r->body_len)
		return nr;
	skip -= MIN(skip, (uint64_t)r->body_len);
	iov_advance(&out, MIN(skip, r->out_len));
	at = nr;
	nr += iov_rest(&out, iov + nr, max - nr, ready - MIN(skip, ready));
	while (at < nr)
		skip += iov[at++].iov_len;
	if (r->sum_out && skip >= r->out_len && nr < max)
		iov[nr++] = (struct iovec){ r->sum + (skip - r->out_len), NET_SUM_BYTES - (skip - r->out_len) };
	return nr;
}

struct tx {
	struct iovec iov[TX_PIECES];
	uint8_t head[TX_FRAMES][NET_FRAME_BYTES];
	union net_control control;
	struct msghdr m;
	uint64_t total;
};

static void gather(struct mux *m, struct tx *t)
{
	struct mux_req *r;
	int nr = 0, frames = 0, at = 0;

	t->total = 0;
	t->m = (struct msghdr){ .msg_iov = t->iov };
	if (m->tail) {
		t->total = m->tail_len - m->tail_at;
		t->iov[nr++] = (struct iovec){ m->tail + m->tail_at, t->total };
		at = nr;
	}
	list_for_each_entry(r, &m->sendq, node) {
		bool fds = r->nr_out_fds && !r->sent;

		if (frames == TX_FRAMES || nr == TX_PIECES || (fds && nr))
			break;
		if (r->sum_out && t->total >= NET_STEP)
			break;
		if (fds)
			net_fds_attach(&t->m, &t->control, r->out_fds, r->nr_out_fds);
		nr += rest_of(r, t->head[frames++], t->iov + nr, TX_PIECES - nr);
		for (; at < nr; at++)
			t->total += t->iov[at].iov_len;
		if (r->sum_out && r->summed < r->out_len)
			break; /* the rest of the frame comes first */
	}
	t->m.msg_iovlen = (size_t)nr;
}

static void consume(struct mux *m, uint64_t n)
{
	struct mux_req *r;

	if (m->tail) {
		uint64_t step = MIN((uint64_t)(m->tail_len - m->tail_at), n);

		m->tail_at += step;
		n -= step;
		if (m->tail_at < m->tail_len)
			return;
		free(m->tail);
		m->tail = NULL;
	}
	while ((r = list_first(&m->sendq, struct mux_req, node))) {
		uint64_t step = MIN(frame_bytes(r) - r->sent, n);

		r->sent += step;
		n -= step;
		if (r->sent < frame_bytes(r))
			return;
		list_del(&r->node);
		list_append(&m->waitq, &r->node);
		r->state = MUX_SENT;
	}
}

bool mux_unsent(const struct mux *m)
{
	return m->tail || !list_empty(&m->sendq);
}

void mux_flush(struct mux *m)
{
	struct tx t;
	ssize_t n;

	while (mux_unsent(m) && !m->tx_full) {
		gather(m, &t);
		n = sendmsg(m->fd, &t.m, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN) {
			mux_break(m, -ECONNRESET);
			return;
		}
		m->tx_full = n < 0 || (uint64_t)n < t.total;
		if (n > 0)
			consume(m, (uint64_t)n);
	}
}

int mux_detach_rest(struct mux *m, struct mux_req *r)
{
	uint64_t len = frame_bytes(r) - r->sent;
	uint8_t head[NET_FRAME_BYTES];
	struct mux_req part = *r;
	struct iovec iov[16];
	uint8_t *p;
	int nr;

	if (len > MUX_TAIL_MAX)
		return -EMSGSIZE;
	p = malloc(len);
	if (!p)
		return -ENOMEM;
	m->tail = p;
	m->tail_len = len;
	m->tail_at = 0;
	while (part.sent < frame_bytes(&part)) {
		nr = rest_of(&part, head, iov, ARRAY_SIZE(iov));
		for (int i = 0; i < nr; i++) {
			memcpy(p, iov[i].iov_base, iov[i].iov_len);
			p += iov[i].iov_len;
			part.sent += iov[i].iov_len;
		}
	}
	return 0;
}
