// SPDX-License-Identifier: Apache-2.0
/* A framed stream on a loop: its life, its limits, and calls to the other end. */
#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/log.h"
#include "net/conn_private.h"

#define OUT_BYTES_MAX (64 * MiB)
#define REQUESTS_MAX 1024
#define LINGER_NS NSEC_PER_SEC
#define STALL_NS (120 * NSEC_PER_SEC)

struct call {
	struct hnode node;
	struct conn *conn;
	uint64_t id;
	struct loop_timer timer;
	conn_done done;
	void *arg;
};

void conn_get(struct conn *c)
{
	c->refs++;
}

void conn_put(struct conn *c)
{
	if (--c->refs)
		return;
	htab_fini(&c->calls);
	free(c);
}

/* ---- calls ---- */

static uint64_t id_hash(uint64_t id)
{
	return id * 0x9e3779b97f4a7c15u; /* ids are ours and count up: spreading them is enough */
}

static struct call *call_find(struct conn *c, uint64_t id)
{
	struct hnode *n;

	for (n = htab_first(&c->calls, id_hash(id)); n; n = htab_next(n))
		if (container_of(n, struct call, node)->id == id)
			return container_of(n, struct call, node);
	return NULL;
}

static void call_end(struct call *k, int status, const uint8_t *body, size_t len)
{
	struct conn *c = k->conn;

	htab_del(&c->calls, &k->node);
	loop_timer_del(c->loop, &k->timer);
	k->done(k->arg, status, body, len);
	free(k);
}

void conn_call_done(struct conn *c, uint64_t id, int status, const uint8_t *body, size_t len)
{
	struct call *k = call_find(c, id);

	if (k) /* else it timed out */
		call_end(k, status, body, len);
}

static void call_late(struct loop_timer *t)
{
	call_end(container_of(t, struct call, timer), -ETIMEDOUT, NULL, 0);
}

static int call_lost(struct hnode *n, void *arg)
{
	call_end(container_of(n, struct call, node), -ECONNRESET, NULL, 0);
	return 0;
}

static int call_open(struct conn *c, uint64_t id, uint64_t deadline_ns, conn_done done, void *arg, struct call **out)
{
	struct call *k = calloc(1, sizeof(*k));
	int ret;

	if (!k)
		return -ENOMEM;
	*k = (struct call){ .conn = c, .id = id, .done = done, .arg = arg };
	ret = htab_add(&c->calls, &k->node, id_hash(id));
	if (ret)
		goto err_free;
	if (deadline_ns != DEADLINE_NEVER)
		ret = loop_timer_set(c->loop, &k->timer, deadline_ns, call_late);
	if (ret)
		goto err_del;
	*out = k;
	return 0;

err_del:
	htab_del(&c->calls, &k->node);
err_free:
	free(k);
	return ret;
}

int conn_call(struct conn *c, uint16_t type, const void *body, size_t len, uint64_t deadline_ns, conn_done done, void *arg)
{
	struct net_frame f = { .flags = done ? 0 : NET_ONEWAY, .type = type, .id = c->next_id, .body_len = (uint32_t)len };
	struct call *k = NULL;
	int ret;

	if (c->closing || c->lingering)
		return -ECONNRESET;
	if (len > NET_BODY_MAX)
		return -EMSGSIZE;
	if (c->out_bytes > c->lim.out_bytes_max)
		return -ENOBUFS;
	ret = done ? call_open(c, f.id, deadline_ns, done, arg, &k) : 0;
	if (ret)
		return ret;
	c->next_id++;
	ret = conn_send(c, &f, &(struct conn_reply){ .body = body, .body_len = len });
	if (ret && k) {
		htab_del(&c->calls, &k->node);
		loop_timer_del(c->loop, &k->timer);
		free(k);
	}
	return ret;
}

/* ---- limits ---- */

bool conn_paused(const struct conn *c)
{
	if (c->out_bytes > c->lim.out_bytes_max)
		return true;
	/* A request that has begun is received to its end: it may be the one that everything waits for. */
	return c->state == RX_HEADER && (c->nr_reqs >= c->lim.requests_max || c->body_bytes > c->lim.out_bytes_max);
}

static void linger_over(struct loop_timer *t)
{
	conn_fail(container_of(t, struct conn, linger), 0);
}

static void start_linger(struct conn *c)
{
	c->lingering = true;
	shutdown(c->lf.fd, SHUT_WR);
	if (loop_timer_set(c->loop, &c->linger, deadline_after_ns(LINGER_NS), linger_over))
		conn_fail(c, 0);
}

static void resume(struct loop_work *w)
{
	struct conn *c = container_of(w, struct conn, resume_work);

	c->resume_posted = false;
	if (!c->closing)
		conn_receive(c);
	conn_put(c);
}

void conn_update(struct conn *c)
{
	bool paused = conn_paused(c);
	uint32_t events = 0;

	if (c->closing || c->busy)
		return;
	if (c->draining && !c->lingering && !c->nr_reqs && list_empty(&c->out))
		start_linger(c);
	if (!paused)
		events |= EPOLLIN;
	if (!list_empty(&c->out)) {
		events |= EPOLLOUT;
		conn_watch_stall(c);
	}
	/* Frames left in the buffer by a pause bring no event. */
	if (!paused && c->end - c->pos >= NET_FRAME_BYTES && c->state == RX_HEADER && !c->resume_posted) {
		c->resume_posted = true;
		conn_get(c);
		loop_post(c->loop, &c->resume_work);
	}
	if (!c->closing && loop_fd_mod(c->loop, &c->lf, events))
		conn_fail(c, -EIO);
}

static void ready(struct loop_fd *f, uint32_t events)
{
	struct conn *c = container_of(f, struct conn, lf);

	conn_get(c);
	if (events & (EPOLLHUP | EPOLLERR) && !(f->events & EPOLLIN)) {
		conn_fail(c, -ECONNRESET); /* paused, and nobody is left to read what we queued */
	} else {
		if (events & EPOLLOUT) {
			c->tx_blocked = false;
			conn_flush(c);
		}
		if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) && !c->closing)
			conn_receive(c);
		conn_update(c);
	}
	conn_put(c);
}

/* ---- life ---- */

static void finish(struct loop_work *w)
{
	struct conn *c = container_of(w, struct conn, close_work);

	loop_timer_del(c->loop, &c->linger);
	loop_timer_del(c->loop, &c->stall);
	conn_rx_fini(c);
	conn_tx_fini(c);
	htab_walk(&c->calls, call_lost, NULL);
	close(c->lf.fd);
	c->closed = true;
	c->ops->closed(c, c->err);
	conn_put(c);
}

void conn_fail(struct conn *c, int err)
{
	if (c->closing)
		return;
	c->closing = true;
	c->err = err;
	loop_fd_del(c->loop, &c->lf);
	loop_post(c->loop, &c->close_work);
}

void conn_close(struct conn *c)
{
	conn_fail(c, 0);
}

void conn_drain(struct conn *c)
{
	c->draining = true;
	conn_update(c);
}

int conn_open(struct loop *l, int fd, const struct conn_ops *ops, const struct conn_limits *lim, void *user,
	      struct conn **out)
{
	struct conn *c = calloc(1, sizeof(*c));
	int ret, flags;

	if (!c)
		return -ENOMEM;
	*c = (struct conn){
		.loop = l,
		.ops = ops,
		.lim = lim ? *lim : (struct conn_limits){ 0 },
		.user = user,
		.is_unix = net_fd_is_unix(fd),
		.refs = 1,
		.next_id = 1,
		.close_work.fn = finish,
		.resume_work.fn = resume,
	};
	if (!c->lim.out_bytes_max)
		c->lim.out_bytes_max = OUT_BYTES_MAX;
	if (!c->lim.requests_max)
		c->lim.requests_max = REQUESTS_MAX;
	if (!c->lim.stall_ns)
		c->lim.stall_ns = STALL_NS;
	list_init(&c->out);
	net_peer_text(fd, c->peer, sizeof(c->peer));
	net_tune(fd);
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK))) {
		ret = -errno;
		goto err_free;
	}
	ret = loop_fd_add(l, &c->lf, fd, EPOLLIN, ready);
	if (ret)
		goto err_free;
	*out = c;
	return 0;

err_free:
	free(c);
	return ret;
}

void *conn_user(const struct conn *c)
{
	return c->user;
}

struct loop *conn_loop(const struct conn *c)
{
	return c->loop;
}

int conn_fd(const struct conn *c)
{
	return c->lf.fd;
}

uint64_t conn_out_bytes(const struct conn *c)
{
	return c->out_bytes;
}

uint64_t conn_in_left(const struct conn *c)
{
	return c->left;
}
