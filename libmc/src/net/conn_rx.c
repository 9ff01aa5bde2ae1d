// SPDX-License-Identifier: Apache-2.0
/* The receiving half of a conn: header, body, payload, one after the other, payloads straight to where they belong. */
#include <limits.h>

#include "base/hash.h"
#include "base/log.h"
#include "net/conn_private.h"

#define RX_PIECES 1024 /* the kernel's limit for one call, UIO_MAXIOV */
#define RX_ONCE_BYTES (4 * MiB) /* per readiness event: others on the loop want their turn */
#define RX_ONCE_READS 16

void request_free(struct request *q)
{
	struct conn *c = q->r.conn;

	net_fds_close(&q->r.nr_fds, q->r.fds);
	c->nr_reqs--;
	c->body_bytes -= q->r.frame.body_len;
	free(q);
	conn_put(c);
}

static void bad_frame(struct conn *c, const char *what)
{
	log_warn_limited("%s sent %s; closing the connection", c->peer, what);
	conn_fail(c, -EBADMSG);
}

/* ---- from one state to the next ---- */

static void request_done(struct conn *c)
{
	struct request *q = c->req;
	bool oneway = q->r.frame.flags & NET_ONEWAY;

	c->req = NULL;
	if (!q->refused)
		c->ops->request(&q->r);
	else if (!oneway)
		conn_reply_status(&q->r, q->refused);
	if (oneway)
		request_free(q);
}

static void frame_done(struct conn *c)
{
	uint8_t *body = c->body;

	c->state = RX_HEADER;
	c->body = NULL;
	if (c->req) {
		request_done(c);
		return;
	}
	conn_call_done(c, c->frame.id, c->frame.status, body, c->frame.body_len);
	free(body);
}

/* The two checksums are there. */
static void sum_done(struct conn *c)
{
	struct conn_req *r = &c->req->r;

	if (get_le32(c->sum) != r->crc) {
		log_warn_limited("%s: a payload of %llu bytes arrived damaged", c->peer,
				 (unsigned long long)c->frame.payload_len);
		r->damaged = -EBADMSG;
	}
	frame_done(c);
}

static bool summing(const struct conn *c)
{
	return c->state == RX_PAYLOAD && c->frame.flags & NET_SUM;
}

/* The next @n bytes lie in place. Pieces with a checksum of their own are joined: few, for that is slow. */
static void sum_payload(struct conn *c, uint64_t n)
{
	struct conn_req *r = &c->req->r;
	struct iov_walk *w = &c->walk;

	if (!r->piece_crc) {
		r->crc = iov_crc(w, n, r->crc);
		return;
	}
	while (n) {
		uint64_t len;
		uint32_t *crc;

		iov_advance(w, 0);
		len = MIN((uint64_t)w->iov->iov_len - w->skip, n);
		crc = &r->piece_crc[w->iov - c->iov];
		*crc = crc32c(w->skip ? *crc : 0, (char *)w->iov->iov_base + w->skip, len);
		if (w->skip + len == w->iov->iov_len)
			r->crc = crc32c_join(r->crc, *crc, w->iov->iov_len);
		n -= len;
		iov_advance(w, len);
	}
}

/* Asks the handler for memory. Return: is the payload to be received? Otherwise it is read and dropped. */
static bool payload_place(struct conn *c)
{
	struct request *q = c->req;
	uint64_t total;
	int nr;

	if (!q || q->refused)
		return false;
	if (!c->iov)
		c->iov = malloc(CONN_IOV_MAX * sizeof(*c->iov));
	nr = !c->iov ? -ENOMEM : !c->ops->payload ? -EOPNOTSUPP : c->ops->payload(&q->r, c->iov, CONN_IOV_MAX);
	if (nr >= 0 && (nr > CONN_IOV_MAX || iov_total(c->iov, nr, &total) || total != c->frame.payload_len)) {
		log_err_limited("message %u from %s: the memory for its payload has not the payload's size", c->frame.type,
				c->peer);
		nr = -EIO;
	}
	if (nr < 0) {
		q->refused = nr;
		return false;
	}
	c->walk = (struct iov_walk){ .iov = c->iov, .nr = nr };
	return true;
}

static void body_done(struct conn *c)
{
	if (c->req && c->draining)
		c->req->refused = -ESHUTDOWN;
	c->left = c->frame.payload_len;
	if (!c->left) {
		frame_done(c);
		return;
	}
	c->state = payload_place(c) ? RX_PAYLOAD : RX_SKIP;
	if (c->state == RX_SKIP && c->frame.flags & NET_SUM)
		c->left += NET_SUM_BYTES;
}

static int begin_request(struct conn *c)
{
	struct request *q = malloc(sizeof(*q) + c->frame.body_len);

	if (!q)
		return -ENOMEM;
	q->refused = 0;
	q->r = (struct conn_req){ .conn = c, .frame = c->frame, .body = q->body };
	conn_get(c);
	c->nr_reqs++;
	c->body_bytes += c->frame.body_len;
	c->req = q;
	c->body = q->body;
	return net_fds_claim(&c->box, &c->frame, &q->r.nr_fds, q->r.fds);
}

static int begin_reply(struct conn *c)
{
	if (c->frame.id >= c->next_id || c->frame.flags & NET_FDS)
		return -EBADMSG;
	c->body = malloc(c->frame.body_len ? c->frame.body_len : 1);
	return c->body ? 0 : -ENOMEM;
}

static void header_done(struct conn *c, const uint8_t *head)
{
	int ret = net_frame_decode(head, &c->frame);

	if (!ret)
		ret = c->frame.flags & NET_REPLY ? begin_reply(c) : begin_request(c);
	if (ret == -EBADMSG)
		bad_frame(c, "a malformed frame");
	else if (ret)
		conn_fail(c, ret);
	if (ret)
		return;
	c->left = c->frame.body_len;
	c->state = RX_BODY;
	if (!c->left)
		body_done(c);
}

/* @n bytes of the current state are in place. */
static void advance(struct conn *c, uint64_t n)
{
	c->left -= n;
	if (summing(c))
		sum_payload(c, n);
	else if (c->state == RX_PAYLOAD)
		iov_advance(&c->walk, n);
	if (c->left)
		return;
	if (c->state == RX_BODY) {
		body_done(c);
	} else if (c->state == RX_SUM) {
		sum_done(c);
	} else if (summing(c)) {
		c->left = NET_SUM_BYTES;
		c->state = RX_SUM;
	} else {
		frame_done(c);
	}
}

/* Works through the buffer until it is used up, a pause is due or the stream is over. */
static void parse(struct conn *c)
{
	while (!c->closing) {
		size_t have = c->end - c->pos;
		uint64_t n = MIN((uint64_t)have, c->left);
		const uint8_t *p = c->rbuf + c->pos;

		if (c->state == RX_HEADER) {
			if (have < NET_FRAME_BYTES || conn_paused(c))
				return;
			c->pos += NET_FRAME_BYTES;
			header_done(c, p);
			continue;
		}
		if (!n)
			return;
		c->pos += n;
		if (c->state == RX_BODY)
			memcpy(c->body + (c->frame.body_len - c->left), p, n);
		if (c->state == RX_PAYLOAD) {
			struct iov_walk at = c->walk;

			iov_fill(&at, p, n);
		}
		if (c->state == RX_SUM)
			memcpy(c->sum + (NET_SUM_BYTES - c->left), p, n);
		advance(c, n);
	}
}

/* ---- reading ---- */

/* Where the next bytes go: the rest of body or payload first, then the buffer. */
static int pieces(struct conn *c, struct iovec *iov, uint64_t *direct)
{
	int nr = 0;

	*direct = 0;
	if (c->state == RX_BODY)
		iov[nr++] = (struct iovec){ c->body + (c->frame.body_len - c->left), c->left };
	else if (c->state == RX_PAYLOAD)
		nr = iov_rest(&c->walk, iov, RX_PIECES - 1, summing(c) ? NET_STEP : UINT64_MAX);
	for (int i = 0; i < nr; i++)
		*direct += iov[i].iov_len;
	if (c->state == RX_HEADER) {
		memmove(c->rbuf, c->rbuf + c->pos, c->end - c->pos);
		c->end -= c->pos;
	} else {
		c->end = 0;
	}
	c->pos = 0;
	if (!nr || *direct == c->left)
		iov[nr++] = (struct iovec){ c->rbuf + c->end, NET_RBUF - c->end };
	return nr;
}

/* Return: bytes, 0 at the end of the stream, or a negative errno; *@more: the socket may hold further bytes. */
static ssize_t read_some(struct conn *c, bool *more)
{
	struct iovec iov[RX_PIECES];
	struct msghdr m = { .msg_iov = iov };
	union net_control control;
	uint64_t direct, total;
	ssize_t n;

	m.msg_iovlen = (size_t)pieces(c, iov, &direct);
	if (c->is_unix) {
		m.msg_control = control.bytes;
		m.msg_controllen = sizeof(control);
	}
	do
		n = recvmsg(c->lf.fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (c->is_unix && net_fds_collect(&m, &c->box))
		return -EBADMSG;
	if (iov_total(iov, (int)m.msg_iovlen, &total))
		return -EIO;
	/* A Unix socket ends a read behind descriptors, so a short one says nothing there. */
	*more = (uint64_t)n == total || (c->is_unix && m.msg_controllen);
	if ((uint64_t)n > direct)
		c->end += (size_t)n - direct;
	direct = MIN((uint64_t)n, direct);
	if (direct)
		advance(c, direct);
	return n;
}

static void end_of_stream(struct conn *c)
{
	if (c->state != RX_HEADER || c->end != c->pos) {
		log_warn_limited("%s ended the stream in the middle of a frame", c->peer);
		conn_fail(c, -ECONNRESET);
	} else {
		conn_fail(c, 0);
	}
}

/* The last reply has left; bytes that still come would turn our close into a reset that may overtake it. */
static void throw_away(struct conn *c)
{
	ssize_t n = recv(c->lf.fd, c->rbuf, NET_RBUF, MSG_DONTWAIT);

	if (!n || (n < 0 && errno != EAGAIN && errno != EINTR))
		conn_fail(c, 0);
}

void conn_receive(struct conn *c)
{
	uint64_t bytes = 0;
	bool more = true;
	ssize_t n;

	if (!c->rbuf)
		c->rbuf = net_rbuf_get();
	if (!c->rbuf) {
		conn_fail(c, -ENOMEM);
		return;
	}
	if (c->lingering) {
		throw_away(c);
		return;
	}
	c->busy = true;
	parse(c); /* what a pause left */
	for (int i = 0; i < RX_ONCE_READS && more && bytes < RX_ONCE_BYTES && !c->closing && !conn_paused(c); i++) {
		n = read_some(c, &more);
		if (n == -EAGAIN)
			break;
		if (!n)
			end_of_stream(c);
		else if (n == -EBADMSG)
			bad_frame(c, "more file descriptors than a frame may carry");
		else if (n < 0)
			conn_fail(c, (int)n);
		else
			parse(c);
		bytes += n > 0 ? (uint64_t)n : 0;
	}
	if (c->pos == c->end) {
		net_rbuf_put(c->rbuf);
		c->rbuf = NULL;
		c->pos = c->end = 0;
	}
	c->busy = false;
	conn_flush(c); /* the answers of this event leave together */
	conn_update(c);
}

void conn_rx_fini(struct conn *c)
{
	if (c->req)
		request_free(c->req);
	else
		free(c->body);
	c->req = NULL;
	c->body = NULL;
	net_fds_close(&c->box.nr, c->box.fd);
	net_rbuf_put(c->rbuf);
	free(c->iov);
	c->rbuf = NULL;
	c->iov = NULL;
}
