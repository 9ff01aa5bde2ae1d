// SPDX-License-Identifier: Apache-2.0
/* The receiving half of a mux: replies, small ones through a buffer, large ones straight into the caller's memory. */
#include "base/log.h"
#include "net/mux_private.h"

#define RX_PIECES 256

static void bad_stream(struct mux *m, const char *what)
{
	log_warn_limited("%s sent %s; closing the connection", m->peer, what);
	mux_break(m, -EBADMSG);
}

/* ---- from one state to the next ---- */

static struct mux_req *find(struct mux *m, uint64_t id)
{
	struct mux_req *r;

	/* Replies come about in the order of the requests, so this ends soon. */
	list_for_each_entry(r, &m->waitq, node)
		if (r->id == id)
			return r;
	return NULL;
}

static void skip(struct mux *m, uint64_t n)
{
	m->cur = NULL;
	m->left = n;
	m->state = n ? RX_SKIP : RX_HEADER;
}

static void reply_done(struct mux *m)
{
	struct mux_req *r = m->cur;
	int status = m->frame.status;

	m->cur = NULL;
	m->state = RX_HEADER;
	r->got = m->frame.payload_len;
	if (m->frame.flags & NET_SUM && get_le32(m->sum) != r->crc) {
		log_warn_limited("%s: a reply of %llu bytes arrived damaged", m->peer, (unsigned long long)r->got);
		status = status ? status : -EBADMSG;
	}
	mux_complete(m, r, status);
}

/* Body and payload are dropped, with all that follows them. */
static uint64_t rest_of_frame(const struct mux *m)
{
	return m->frame.payload_len + (m->frame.flags & NET_SUM ? NET_SUM_BYTES : 0);
}

static void body_done(struct mux *m)
{
	struct mux_req *r = m->cur;

	if (m->frame.payload_len > r->in_len) {
		skip(m, rest_of_frame(m));
		mux_complete(m, r, m->frame.status ? m->frame.status : -EMSGSIZE);
		return;
	}
	m->left = m->frame.payload_len;
	m->walk = (struct iov_walk){ .iov = r->in, .nr = r->nr_in };
	m->state = RX_PAYLOAD;
	r->crc = 0;
	if (!m->left)
		reply_done(m);
}

static void begin_reply(struct mux *m, struct mux_req *r)
{
	m->cur = r;
	m->left = m->frame.body_len;
	m->state = RX_BODY;
	buf_reset(&r->reply);
	if (m->left && !buf_push(&r->reply, m->left)) {
		skip(m, m->frame.body_len + rest_of_frame(m));
		mux_complete(m, r, -ENOMEM);
		return;
	}
	if (!m->left)
		body_done(m);
}

static void header_done(struct mux *m, const uint8_t *head)
{
	int fds[NET_FDS_MAX], nr_fds = 0;
	struct mux_req *r;
	bool reply;

	if (net_frame_decode(head, &m->frame) || net_fds_claim(&m->box, &m->frame, &nr_fds, fds)) {
		bad_stream(m, "a malformed frame");
		return;
	}
	reply = m->frame.flags & NET_REPLY;
	if (reply ? m->frame.id >= m->next_id || !m->frame.id : !(m->frame.flags & NET_ONEWAY)) {
		net_fds_close(&nr_fds, fds);
		bad_stream(m, reply ? "an answer to nothing that was asked" : "a request, which this end does not serve");
		return;
	}
	r = reply ? find(m, m->frame.id) : NULL;
	if (!r) { /* cancelled meanwhile, or one way */
		net_fds_close(&nr_fds, fds);
		skip(m, m->frame.body_len + rest_of_frame(m));
		return;
	}
	memcpy(r->fds, fds, (size_t)nr_fds * sizeof(int));
	r->nr_fds = nr_fds;
	begin_reply(m, r);
}

/* Is a checksum of what comes in wanted? */
static bool summing(const struct mux *m)
{
	return m->state == RX_PAYLOAD && (m->cur->sum_in || m->frame.flags & NET_SUM);
}

static void payload_done(struct mux *m)
{
	if (!(m->frame.flags & NET_SUM)) {
		reply_done(m);
		return;
	}
	m->left = NET_SUM_BYTES;
	m->state = RX_SUM;
}

/* @n bytes of the current state are in place. */
static void advance(struct mux *m, uint64_t n)
{
	m->left -= n;
	if (summing(m))
		m->cur->crc = iov_crc(&m->walk, n, m->cur->crc);
	else if (m->state == RX_PAYLOAD)
		iov_advance(&m->walk, n);
	if (m->left)
		return;
	if (m->state == RX_BODY)
		body_done(m);
	else if (m->state == RX_PAYLOAD)
		payload_done(m);
	else if (m->state == RX_SUM)
		reply_done(m);
	else
		m->state = RX_HEADER;
}

static uint8_t *body_at(struct mux *m)
{
	return m->cur->reply.data + (m->frame.body_len - m->left);
}

static void parse(struct mux *m)
{
	while (!m->broken) {
		size_t have = m->end - m->pos;
		uint64_t n = MIN((uint64_t)have, m->left);
		const uint8_t *p = m->rbuf + m->pos;

		if (m->state == RX_HEADER) {
			if (have < NET_FRAME_BYTES)
				return;
			m->pos += NET_FRAME_BYTES;
			header_done(m, p);
			continue;
		}
		if (!n)
			return;
		m->pos += n;
		if (m->state == RX_BODY)
			memcpy(body_at(m), p, n);
		if (m->state == RX_PAYLOAD) {
			struct iov_walk at = m->walk;

			iov_fill(&at, p, n);
		}
		if (m->state == RX_SUM)
			memcpy(m->sum + (NET_SUM_BYTES - m->left), p, n);
		advance(m, n);
	}
}

/* ---- reading ---- */

bool mux_rbuf(struct mux *m)
{
	if (!m->rbuf)
		m->rbuf = net_rbuf_get();
	if (!m->rbuf)
		mux_break(m, -ENOMEM);
	return m->rbuf;
}

void mux_rest(struct mux *m)
{
	if (m->reading || m->pos != m->end || !list_empty(&m->sendq) || !list_empty(&m->waitq))
		return;
	net_rbuf_put(m->rbuf);
	m->rbuf = NULL;
	m->pos = m->end = 0;
}

/*
 * Room in the buffer. With a large payload due, less: the rest of it is then read straight into place. Not so on TCP, where
 * a short first read of a megabyte was measured to cost more (up to half the throughput) than the copy of 64 KiB.
 */
static size_t room(const struct mux *m)
{
	const struct mux_req *next = list_first(&m->waitq, struct mux_req, node);

	if (m->is_unix && m->state != RX_SKIP && next && next->in_len >= MUX_LARGE)
		return MUX_LARGE;
	return NET_RBUF;
}

/*
 * Where the next bytes go: a step of what is left of a body or payload, then the buffer; @only: not the buffer. Reads are not
 * longer even when all of it is awaited: 1 MiB over loopback came a quarter faster in steps than in one.
 * Return: pieces; *@direct: the bytes of those that are not the buffer.
 */
int mux_pieces(struct mux *m, struct iovec *iov, int max, bool only, uint64_t *direct)
{
	int nr = 0;

	*direct = 0;
	if (m->state == RX_BODY)
		iov[nr++] = (struct iovec){ body_at(m), MIN(m->left, NET_STEP) };
	else if (m->state == RX_PAYLOAD)
		nr = iov_rest(&m->walk, iov, max - 1, MIN(m->left, NET_STEP));
	for (int i = 0; i < nr; i++)
		*direct += iov[i].iov_len;
	memmove(m->rbuf, m->rbuf + m->pos, m->end - m->pos);
	m->end -= m->pos;
	m->pos = 0;
	if (!nr || (!only && *direct == m->left))
		iov[nr++] = (struct iovec){ m->rbuf + m->end, room(m) - m->end };
	return nr;
}

ssize_t mux_recv(struct mux *m, struct iovec *iov, int nr, int flags)
{
	struct msghdr h = { .msg_iov = iov, .msg_iovlen = (size_t)nr };
	union net_control control;
	ssize_t n;

	if (m->is_unix) {
		h.msg_control = control.bytes;
		h.msg_controllen = sizeof(control);
	}
	do
		n = recvmsg(m->fd, &h, flags | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR && flags & MSG_DONTWAIT);
	if (n < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	/* box is the reader's, as rbuf is. */
	if (m->is_unix && net_fds_collect(&h, &m->box))
		return -EBADMSG;
	return n ? n : -ECONNRESET;
}

void mux_received(struct mux *m, ssize_t n, uint64_t direct)
{
	if (m->broken)
		return;
	if (n == -EAGAIN) {
		mux_look_after(m);
		return;
	}
	if (n == -EBADMSG) {
		bad_stream(m, "more file descriptors than a frame may carry");
		return;
	}
	if (n < 0) {
		if (m->state != RX_HEADER || m->end != m->pos)
			log_warn_limited("%s ended the stream in the middle of a frame", m->peer);
		mux_break(m, -ECONNRESET);
		return;
	}
	mux_heard(m);
	direct = MIN((uint64_t)n, direct);
	m->end += (size_t)n - direct;
	if (direct)
		advance(m, direct);
	parse(m);
}

ssize_t mux_read_now(struct mux *m)
{
	struct iovec iov[RX_PIECES];
	uint64_t direct;
	ssize_t n;
	int nr;

	if (!mux_rbuf(m))
		return -ENOMEM;
	nr = mux_pieces(m, iov, RX_PIECES, false, &direct);
	n = mux_recv(m, iov, nr, MSG_DONTWAIT);
	mux_received(m, n, direct);
	return n;
}
