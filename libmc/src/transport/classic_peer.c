/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transfers to upstream's peers: a few connections, each with one exchange at a time, moved on by
 * whoever waits. A vector is one exchange; the vectors of a transfer stay on one connection, in
 * order.
 */
#include <poll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "transport/tcp.h"

#define LANES	   5
#define URGENT	   (LANES - 1) /* that lane is for what is urgent alone, when the others are taken */
#define MOVE_BYTES (1 * MiB) /* per system call */
#define TURN_STEPS 8	     /* of one lane, with the lock held */
#define LOOK_NS \
	(20 *   \
	 NSEC_PER_MSEC) /* waiting threads share the lanes: they look again at least so often */

enum lane_state { L_CLOSED, L_CONNECTING, L_IDLE, L_HEADER, L_SEND, L_STATUS, L_RECEIVE };

struct lane {
	int fd;
	enum lane_state state;
	struct ctx *tx; /* whose exchange */
	bool fresh;	/* nothing was answered on this connection yet */
	uint64_t connect_by_ns;
	struct net_watch watch;
	uint64_t done;	/* bytes of the current part */
	uint8_t header[CLASSIC_HEADER_BYTES], status[CLASSIC_STATUS_BYTES];
	unsigned status_got;
};

/* One transfer under way. */
struct ctx {
	struct list node; /* waiting for a lane */
	struct xfer *x;
	struct lane *lane;
	unsigned at; /* vector */
	bool again;
};

struct classic_peer {
	struct tcp_peer_head head;
	struct net_addr addr;
	bool v2;
	pthread_mutex_t lock; /* guards everything below */
	struct lane lane[LANES];
	struct list waiting;
	uint64_t backlog;
	unsigned urgent; /* transfers */
};

static struct classic_peer *peer_of(struct tcp_peer_head *h)
{
	return container_of(h, struct classic_peer, head);
}

static void lane_close(struct lane *l)
{
	if (l->state != L_CLOSED)
		close(l->fd);
	l->state = L_CLOSED;
	l->watch = (struct net_watch){ 0 };
	l->tx = NULL;
}

/* Ends the transfer; its lane must be idle or closed by now. */
static void finish(struct classic_peer *p, struct ctx *c, int status)
{
	struct xfer *x = c->x;

	p->backlog -= xfer_bytes(x);
	p->urgent -= x->urgent;
	if (c->lane)
		c->lane->tx = NULL;
	list_del(&c->node);
	x->bytes = status ? 0 : xfer_bytes(x);
	x->status = status;
	x->priv = NULL;
	x->done = true;
	free(c);
	if (x->told)
		x->told(x->arg);
}

/* ---- one exchange ---------------------------------------------------------------------------- */

static const struct xvec *vec_of(const struct lane *l)
{
	return &l->tx->x->vec[l->tx->at];
}

static void exchange_start(const struct classic_peer *p, struct lane *l)
{
	const struct classic_header h = {
		.size = vec_of(l)->len,
		.addr = vec_of(l)->remote,
		.write = l->tx->x->op == XFER_WRITE,
		.v2 = p->v2,
	};

	classic_header_encode(&h, l->header);
	l->state = L_HEADER;
	l->done = 0;
	l->status_got = 0;
}

static ssize_t move(ssize_t n)
{
	return n > 0 ? n : !n ? -ECONNRESET : errno == EINTR ? -EAGAIN : -errno;
}

static int lane_status(struct lane *l)
{
	ssize_t n = move(
		recv(l->fd, l->status + l->status_got, CLASSIC_STATUS_BYTES - l->status_got, 0));
	uint64_t v;

	if (n < 0)
		return (int)n;
	l->status_got += (unsigned)n;
	if (l->status_got < CLASSIC_STATUS_BYTES)
		return -EAGAIN;
	v = get_le64(l->status);
	return v == classic_status(0) ? 0 : v == classic_status(1) ? -EFAULT : -EBADMSG;
}

/* A write may be refused before all of it is sent; a confirmation that early makes no sense. */
static int refused_early(struct lane *l)
{
	int ret = lane_status(l);

	return !ret ? -EBADMSG : ret == -EAGAIN ? 0 : ret;
}

static int lane_send(const struct classic_peer *p, struct lane *l)
{
	const struct xvec *v = vec_of(l);
	int ret = p->v2 ? refused_early(l) : 0;
	ssize_t n;

	if (ret)
		return ret;
	n = move(send(l->fd, (char *)v->local + l->done, (size_t)MIN(v->len - l->done, MOVE_BYTES),
		      MSG_NOSIGNAL));
	if (n < 0)
		return (int)n;
	l->done += (uint64_t)n;
	if (l->done < v->len)
		return 0;
	l->state = p->v2 ? L_STATUS : L_IDLE;
	return 0;
}

static int lane_receive(struct lane *l)
{
	const struct xvec *v = vec_of(l);
	ssize_t n = move(recv(l->fd, (char *)v->local + l->done,
			      (size_t)MIN(v->len - l->done, MOVE_BYTES), 0));

	if (n < 0)
		return (int)n;
	l->done += (uint64_t)n;
	if (l->done == v->len)
		l->state = L_IDLE;
	return 0;
}

static int lane_header(const struct classic_peer *p, struct lane *l)
{
	bool write = l->tx->x->op == XFER_WRITE;
	ssize_t n = move(send(l->fd, l->header + l->done, CLASSIC_HEADER_BYTES - l->done,
			      MSG_NOSIGNAL | (write ? MSG_MORE : 0)));

	if (n < 0)
		return (int)n;
	l->done += (uint64_t)n;
	if (l->done < CLASSIC_HEADER_BYTES)
		return 0;
	l->done = 0;
	l->state = write ? L_SEND : p->v2 ? L_STATUS : L_RECEIVE;
	return 0;
}

static int lane_connected(struct lane *l)
{
	struct pollfd pfd = { .fd = l->fd, .events = POLLOUT };
	socklen_t len = sizeof(int);
	int err = 0;

	if (poll(&pfd, 1, 0) <= 0)
		return deadline_passed(l->connect_by_ns) ? -ETIMEDOUT : -EAGAIN;
	if (getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &err, &len))
		return -errno;
	if (!err)
		l->state = L_IDLE;
	return -err;
}

static int lane_move(struct classic_peer *p, struct lane *l)
{
	int ret;

	switch (l->state) {
	case L_CLOSED:
		ret = tcp_connect_start(&p->addr, &l->fd);
		if (!ret) {
			l->state = L_CONNECTING;
			l->fresh = true;
			l->connect_by_ns = deadline_after_ns(NET_CONNECT_NS);
		}
		return ret;
	case L_CONNECTING:
		return lane_connected(l);
	case L_IDLE:
		exchange_start(p, l);
		return 0;
	case L_HEADER:
		return lane_header(p, l);
	case L_SEND:
		return lane_send(p, l);
	case L_STATUS:
		ret = lane_status(l);
		if (!ret)
			l->state = l->tx->x->op == XFER_WRITE ? L_IDLE : L_RECEIVE;
		return ret;
	default:
		return lane_receive(l);
	}
}

/* One step of the lane's exchange. -EAGAIN: the socket is not ready; -ETIMEDOUT: and never will be. */
static int lane_step(struct classic_peer *p, struct lane *l)
{
	int ret = lane_move(p, l);

	if (ret != -EAGAIN || l->state <= L_IDLE)
		net_watch_heard(&l->watch, l->fd);
	else if (net_watch_cut_off(&l->watch, l->fd))
		return -ETIMEDOUT;
	return ret;
}

/* Until the transfer ends, the socket is not ready, or others should have the lock. */
static void lane_run(struct classic_peer *p, struct lane *l)
{
	for (int i = 0; l->tx && i < TURN_STEPS; i++) {
		bool was_running = l->state > L_IDLE;
		struct ctx *c = l->tx;
		int ret = lane_step(p, l);

		if (ret == -EAGAIN)
			return;
		if (!ret && was_running && l->state == L_IDLE) {
			l->fresh = false;
			if (++c->at == c->x->nr)
				finish(p, c, 0);
			continue;
		}
		if (!ret)
			continue;
		/* A connection kept from earlier may have been closed by the peer meanwhile. */
		if ((ret == -ECONNRESET || ret == -EPIPE) && !l->fresh && !c->again) {
			c->again = true;
			lane_close(l);
			l->tx = c;
			continue;
		}
		lane_close(l);
		finish(p, c, ret);
	}
}

/* ---- transfers ------------------------------------------------------------------------------- */

static struct ctx *first_urgent(const struct classic_peer *p)
{
	struct ctx *c;

	if (p->urgent)
		list_for_each_entry(c, &p->waiting, node)
			if (c->x->urgent)
				return c;
	return NULL;
}

/* What lane @i may take: the first that waits, or the first that is urgent. */
static struct ctx *next_for(const struct classic_peer *p, int i)
{
	struct ctx *c = first_urgent(p);

	return c || i == URGENT ? c : list_first(&p->waiting, struct ctx, node);
}

static void assign(struct classic_peer *p)
{
	for (int i = 0; i < LANES && !list_empty(&p->waiting); i++) {
		struct lane *l = &p->lane[i];
		struct ctx *c = l->tx ? NULL : next_for(p, i);

		if (!c)
			continue;
		list_del(&c->node);
		c->lane = l;
		l->tx = c;
	}
}

static void run_all(struct classic_peer *p)
{
	bool more;

	do {
		assign(p);
		for (int i = 0; i < LANES; i++)
			lane_run(p, &p->lane[i]);
		/* A lane that became free takes the next transfer at once. */
		more = false;
		for (int i = 0; i < LANES; i++)
			more |= !p->lane[i].tx && next_for(p, i);
	} while (more);
}

static void classic_submit(struct tcp_peer_head *h, struct xfer *const *x, unsigned nr)
{
	struct classic_peer *p = peer_of(h);

	pthread_mutex_lock(&p->lock);
	for (unsigned i = 0; i < nr; i++) {
		struct ctx *c = calloc(1, sizeof(*c));

		x[i]->peer = &h->base;
		x[i]->done = !c;
		x[i]->status = c ? 0 : -ENOMEM;
		x[i]->bytes = 0;
		x[i]->priv = c;
		if (!c)
			continue;
		c->x = x[i];
		list_append(&p->waiting, &c->node);
		p->urgent += x[i]->urgent;
		p->backlog += xfer_bytes(x[i]);
	}
	run_all(p);
	pthread_mutex_unlock(&p->lock);
}

static short lane_events(const struct classic_peer *p, const struct lane *l)
{
	return l->state == L_STATUS || l->state == L_RECEIVE ? POLLIN :
	       l->state == L_SEND && p->v2		     ? POLLIN | POLLOUT :
							       POLLOUT;
}

static int poll_set(const struct classic_peer *p, struct pollfd *pfd)
{
	int nr = 0;

	for (int i = 0; i < LANES; i++) {
		const struct lane *l = &p->lane[i];

		if (l->tx && l->state != L_CLOSED)
			pfd[nr++] = (struct pollfd){ .fd = l->fd, .events = lane_events(p, l) };
	}
	return nr;
}

static bool classic_progress(struct tcp_peer_head *h, struct xfer *x, uint64_t deadline_ns)
{
	struct classic_peer *p = peer_of(h);
	bool done;

	pthread_mutex_lock(&p->lock);
	for (;;) {
		struct pollfd pfd[LANES];
		uint64_t look_ns;
		int nr;

		if (deadline_ns != XFER_GLANCE)
			run_all(p);
		done = x->done;
		if (done || deadline_passed(deadline_ns))
			break;
		nr = poll_set(p, pfd);
		pthread_mutex_unlock(&p->lock);
		look_ns = deadline_after_ns(LOOK_NS);
		poll(pfd, (nfds_t)nr, deadline_left_ms(MIN(deadline_ns, look_ns)));
		pthread_mutex_lock(&p->lock);
	}
	pthread_mutex_unlock(&p->lock);
	return done;
}

/* Without a lane it waits for any: whoever looks after one hands it on. */
static int classic_wants(struct tcp_peer_head *h, const struct xfer *x, short *events)
{
	struct classic_peer *p = peer_of(h);
	const struct lane *l = &p->lane[0];
	const struct ctx *c;
	int fd = -1;

	pthread_mutex_lock(&p->lock);
	c = x->priv;
	if (c && c->lane)
		l = c->lane;
	if (c && l->state != L_CLOSED) {
		*events = lane_events(p, l);
		fd = l->fd;
	}
	pthread_mutex_unlock(&p->lock);
	return fd;
}

/* What was sent of an exchange cannot be taken back, so its connection goes. */
static void classic_cancel(struct tcp_peer_head *h, struct xfer *x)
{
	struct classic_peer *p = peer_of(h);
	struct ctx *c;

	pthread_mutex_lock(&p->lock);
	c = x->priv;
	if (c) {
		if (c->lane)
			lane_close(c->lane);
		finish(p, c, -ECANCELED);
	}
	pthread_mutex_unlock(&p->lock);
}

static uint64_t classic_backlog(const struct tcp_peer_head *h)
{
	struct classic_peer *p = container_of((struct tcp_peer_head *)h, struct classic_peer, head);
	uint64_t n;

	pthread_mutex_lock(&p->lock);
	n = p->backlog;
	pthread_mutex_unlock(&p->lock);
	return n;
}

static void classic_disconnect(struct tcp_peer_head *h)
{
	struct classic_peer *p = peer_of(h);

	for (int i = 0; i < LANES; i++)
		lane_close(&p->lane[i]);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

static const struct tcp_peer_ops classic_ops = {
	.disconnect = classic_disconnect,
	.submit = classic_submit,
	.progress = classic_progress,
	.wants = classic_wants,
	.cancel = classic_cancel,
	.backlog = classic_backlog,
};

int classic_peer_open(struct tcp *t, const struct net_addr *a, int version,
		      struct tcp_peer_head **out)
{
	struct classic_peer *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->head.base.transport = &t->base;
	p->head.ops = &classic_ops;
	p->addr = *a;
	p->v2 = version >= 2;
	pthread_mutex_init(&p->lock, NULL);
	list_init(&p->waiting);
	*out = &p->head;
	return 0;
}
