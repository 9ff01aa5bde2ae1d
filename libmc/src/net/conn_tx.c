// SPDX-License-Identifier: Apache-2.0
/* The sending half of a conn: a queue of frames, gathered into as few system calls as the socket allows. */
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include "base/log.h"
#include "net/conn_private.h"

#define TX_PIECES 512
#define TX_ONCE_BYTES (8 * MiB) /* per flush, so that one fast reader does not keep the loop */

/* One frame; header and body lie behind the pieces. */
struct out {
	struct list node;
	struct iov_walk walk;
	uint64_t left;
	int nr_fds, *fds; /* duplicates, until the first byte left */
	void (*sent)(void *arg);
	void *arg;
	struct iovec iov[];
};

static int out_dup_fds(struct out *o, const int *fds, int nr)
{
	for (int i = 0; i < nr; i++) {
		int fd = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);

		if (fd < 0) {
			fd = -errno;
			net_fds_close(&o->nr_fds, o->fds);
			return fd;
		}
		o->fds[o->nr_fds++] = fd;
	}
	return 0;
}

static struct out *out_new(const struct net_frame *f, const struct conn_reply *rep)
{
	size_t nr = 1 + (size_t)rep->nr_payload;
	size_t pieces = nr * sizeof(struct iovec), fds = (size_t)rep->nr_fds * sizeof(int);
	struct out *o = malloc(sizeof(*o) + pieces + fds + NET_FRAME_BYTES + rep->body_len);
	uint8_t *head;

	if (!o)
		return NULL;
	*o = (struct out){ .fds = (int *)((char *)o->iov + pieces), .sent = rep->sent, .arg = rep->arg };
	head = (uint8_t *)o->fds + fds;
	net_frame_encode(f, head);
	if (rep->body_len)
		memcpy(head + NET_FRAME_BYTES, rep->body, rep->body_len);
	o->iov[0] = (struct iovec){ .iov_base = head, .iov_len = NET_FRAME_BYTES + rep->body_len };
	if (rep->nr_payload)
		memcpy(o->iov + 1, rep->payload, (nr - 1) * sizeof(struct iovec));
	o->walk = (struct iov_walk){ .iov = o->iov, .nr = (int)nr };
	o->left = NET_FRAME_BYTES + rep->body_len + f->payload_len;
	return o;
}

static void out_free(struct out *o)
{
	list_del(&o->node);
	net_fds_close(&o->nr_fds, o->fds);
	if (o->sent)
		o->sent(o->arg);
	free(o);
}

/* Queues one frame and, unless a flush is sure to follow, sends what the socket takes. On error nothing was queued. */
int conn_send(struct conn *c, const struct net_frame *f, const struct conn_reply *rep)
{
	struct net_frame flagged = *f;
	struct out *o;
	int ret;

	if (rep->nr_fds)
		flagged.flags |= NET_FDS;
	o = out_new(&flagged, rep);
	if (!o)
		return -ENOMEM;
	ret = out_dup_fds(o, rep->fds, rep->nr_fds);
	if (ret) {
		free(o);
		return ret;
	}
	list_append(&c->out, &o->node);
	c->tx_shared |= rep->shared;
	c->out_bytes += o->left;
	if (!c->busy) {
		conn_flush(c);
		conn_update(c);
	}
	return 0;
}

/*
 * The longest run of the queue that one sendmsg() may carry: descriptors go with a first byte, so a frame that has some
 * starts a call of its own.
 */
static int gather(struct conn *c, struct iovec *iov, uint64_t *total)
{
	uint64_t most = TX_ONCE_BYTES;
	struct out *o;
	int nr = 0;

	list_for_each_entry(o, &c->out, node) {
		uint64_t want = MIN(o->left, most);
		int at = nr;

		if ((nr && o->nr_fds) || !want || nr == TX_PIECES)
			break;
		nr += iov_rest(&o->walk, iov + nr, TX_PIECES - nr, want);
		for (; at < nr; at++)
			most -= iov[at].iov_len;
	}
	*total = TX_ONCE_BYTES - most;
	return nr;
}

static void consume(struct conn *c, uint64_t n)
{
	struct out *o;

	c->out_bytes -= n;
	while ((o = list_first(&c->out, struct out, node))) {
		uint64_t step = MIN(o->left, n);

		if (!step)
			break;
		net_fds_close(&o->nr_fds, o->fds);
		o->left -= step;
		n -= step;
		if (o->left)
			iov_advance(&o->walk, step);
		else
			out_free(o);
	}
}

/*
 * The thread sanitizer takes a read of memory that somebody writes for a mistake. Where it is the design (a reader of extents
 * validates what it got), it is told so; elsewhere this is a sendmsg().
 */
#ifdef __SANITIZE_THREAD__
void AnnotateIgnoreReadsBegin(const char *file, int line);
void AnnotateIgnoreReadsEnd(const char *file, int line);
#else
#define AnnotateIgnoreReadsBegin(file, line) ((void)0)
#define AnnotateIgnoreReadsEnd(file, line)   ((void)0)
#endif

static ssize_t send_shared(int fd, const struct msghdr *m, int flags)
{
	ssize_t n;

	AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
	n = sendmsg(fd, m, flags);
	AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
	return n;
}

static ssize_t send_some(struct conn *c, uint64_t *total)
{
	struct out *first = list_first(&c->out, struct out, node);
	struct iovec iov[TX_PIECES];
	struct msghdr m = { .msg_iov = iov };
	union net_control control;
	ssize_t n;

	m.msg_iovlen = (size_t)gather(c, iov, total);
	if (first->nr_fds)
		net_fds_attach(&m, &control, first->fds, first->nr_fds);
	do
		n = (c->tx_shared ? send_shared : sendmsg)(c->lf.fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* ---- a peer that takes nothing holds the memory of its replies ---- */

static void stalled(struct loop_timer *t)
{
	struct conn *c = container_of(t, struct conn, stall);

	if (list_empty(&c->out))
		return;
	if (clock_now_ns() - c->took_ns < c->lim.stall_ns) {
		loop_timer_set(c->loop, t, c->took_ns + c->lim.stall_ns, stalled);
		return;
	}
	log_warn_limited("%s takes none of its replies; closing the connection", c->peer);
	conn_fail(c, -ETIMEDOUT);
}

void conn_watch_stall(struct conn *c)
{
	if (c->stall.slot)
		return;
	c->took_ns = clock_now_ns();
	if (loop_timer_set(c->loop, &c->stall, c->took_ns + c->lim.stall_ns, stalled))
		conn_fail(c, -ENOMEM);
}

void conn_flush(struct conn *c)
{
	uint64_t total, done = 0;
	bool outer = c->busy;
	ssize_t n;

	if (c->tx_blocked)
		return;
	c->busy = true; /* sent() may answer further requests */
	while (!c->closing && !list_empty(&c->out)) {
		if (done >= TX_ONCE_BYTES) {
			c->tx_blocked = true; /* the loop comes back at once */
			break;
		}
		n = send_some(c, &total);
		if (n == -EAGAIN) {
			c->tx_blocked = true;
			break;
		}
		if (n < 0) {
			conn_fail(c, (int)n);
			break;
		}
		consume(c, (uint64_t)n);
		if (c->stall.slot)
			c->took_ns = clock_now_ns();
		done += (uint64_t)n;
		c->tx_blocked = (uint64_t)n < total;
		if (c->tx_blocked)
			break;
	}
	c->busy = outer;
}

bool conn_cork(struct conn *c)
{
	if (c->busy)
		return false;
	c->busy = true;
	conn_get(c);
	return true;
}

void conn_uncork(struct conn *c)
{
	c->busy = false;
	conn_flush(c);
	conn_update(c);
	conn_put(c);
}

void conn_tx_fini(struct conn *c)
{
	struct out *o;

	while ((o = list_first(&c->out, struct out, node)))
		out_free(o);
	c->out_bytes = 0;
}

/* ---- answering ---- */

/* What cannot be sent as asked becomes an error reply without body, payload and descriptors. */
static int reply_problem(const struct conn *c, const struct conn_reply *rep, uint64_t *payload)
{
	if (rep->status > 0 || rep->body_len > NET_BODY_MAX || rep->nr_fds < 0 || rep->nr_fds > NET_FDS_MAX)
		return -EIO;
	if (iov_total(rep->payload, rep->nr_payload, payload) || *payload > NET_PAYLOAD_MAX)
		return -EIO;
	return rep->nr_fds && !c->is_unix ? -EOPNOTSUPP : 0;
}

static void send_error(struct conn *c, struct net_frame *f, int status, const struct conn_reply *rep)
{
	struct conn_reply plain = { .sent = rep->sent, .arg = rep->arg };
	int ret;

	f->status = status;
	f->payload_len = f->body_len = 0;
	ret = conn_send(c, f, &plain);
	if (!ret)
		return;
	conn_fail(c, ret);
	if (rep->sent)
		rep->sent(rep->arg);
}

void conn_reply(struct conn_req *r, const struct conn_reply *rep)
{
	struct request *q = container_of(r, struct request, r);
	struct conn *c = r->conn;
	bool oneway = r->frame.flags & NET_ONEWAY; /* freed behind request() */
	struct net_frame f = {
		.flags = NET_REPLY,
		.type = r->frame.type,
		.id = r->frame.id,
		.status = rep->status,
		.body_len = (uint32_t)rep->body_len,
	};
	int ret;

	if (c->closing || oneway) {
		if (rep->sent)
			rep->sent(rep->arg);
		if (!oneway)
			request_free(q);
		return;
	}
	conn_get(c);
	ret = reply_problem(c, rep, &f.payload_len);
	if (ret)
		log_warn("an answer to %s for message %u is not sendable: %s", c->peer, f.type, strerror(-ret));
	else
		ret = conn_send(c, &f, rep);
	if (ret)
		send_error(c, &f, ret, rep);
	request_free(q); /* only now: the answer may point into the question */
	conn_update(c);
	conn_put(c);
}

void conn_reply_status(struct conn_req *r, int status)
{
	conn_reply(r, &(struct conn_reply){ .status = status });
}
