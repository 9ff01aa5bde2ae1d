/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Upstream's data protocol, serving side: a header, the bytes, in version 2 a status; then the next
 * header.
 *
 *	HEADER ── write ──> RECEIVE ── v2 ──> STATUS ──> HEADER		(v1: no status)
 *	HEADER ── read v2 ──> STATUS ──> SEND ──> HEADER		(v1: no status)
 *	HEADER ── not reachable, v2 ──> STATUS (rejected) ──> closed	(v1: closed at once)
 */
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "transport/tcp.h"

#define TURN_BYTES (4 * MiB) /* moved for one connection before others have their turn */

struct cconn {
	struct tcp *tcp;
	struct list node;
	struct loop_fd fd;
	struct loop_timer stall; /* set while a request is under way */
	enum { C_HEADER, C_RECEIVE, C_STATUS, C_SEND } state;
	struct classic_header h;
	bool held, rejected;
	uint64_t done;			    /* bytes of the current part */
	uint8_t part[CLASSIC_HEADER_BYTES]; /* header in, status out */
};

static void release(struct cconn *c)
{
	if (c->held)
		reach_put(c->tcp->reach, c->h.addr);
	c->held = false;
}

static void cconn_close(struct cconn *c)
{
	struct tcp *t = c->tcp;

	loop_fd_del(t->loop, &c->fd);
	loop_timer_del(t->loop, &c->stall);
	close(c->fd.fd);
	release(c);
	list_del(&c->node);
	free(c);
	tcp_serving_put(t);
}

static void stalled(struct loop_timer *timer)
{
	struct cconn *c = container_of(timer, struct cconn, stall);

	log_warn_limited(
		"tcp: a peer stopped in the middle of a transfer, its connection is closed");
	cconn_close(c);
}

static int enter(struct cconn *c, int state)
{
	c->state = state;
	c->done = 0;
	return loop_fd_mod(c->tcp->loop, &c->fd,
			   state == C_STATUS || state == C_SEND ? EPOLLOUT : EPOLLIN);
}

static int enter_status(struct cconn *c)
{
	put_le64(c->part, classic_status(c->rejected));
	return enter(c, C_STATUS);
}

static int next_request(struct cconn *c)
{
	release(c);
	loop_timer_del(c->tcp->loop, &c->stall);
	return enter(c, C_HEADER);
}

static int begin(struct cconn *c)
{
	classic_header_decode(c->part, &c->h);
	c->held = c->h.size && reach_get(c->tcp->reach, c->h.addr, c->h.size);
	c->rejected = !c->held;
	if (c->rejected)
		log_warn_limited(
			"tcp: a peer asked for [0x%llx, +%llu), which is in no registered range",
			(unsigned long long)c->h.addr, (unsigned long long)c->h.size);
	if (c->rejected && !c->h.v2)
		return -EFAULT;
	if (c->rejected || (!c->h.write && c->h.v2))
		return enter_status(c);
	return enter(c, c->h.write ? C_RECEIVE : C_SEND);
}

/* A part is complete. */
static int advance(struct cconn *c)
{
	switch (c->state) {
	case C_HEADER:
		return begin(c);
	case C_RECEIVE:
		/*
		 * Version 2: the status says that every byte is stored, so nothing is held from
		 * here on.
		 */
		release(c);
		return c->h.v2 ? enter_status(c) : next_request(c);
	case C_STATUS:
		if (c->rejected)
			return -EFAULT;
		return c->h.write ? next_request(c) : enter(c, C_SEND);
	default:
		return next_request(c);
	}
}

static void *part_of(struct cconn *c, uint64_t *len)
{
	switch (c->state) {
	case C_HEADER:
		*len = CLASSIC_HEADER_BYTES;
		return c->part;
	case C_STATUS:
		*len = CLASSIC_STATUS_BYTES;
		return c->part;
	default:
		*len = c->h.size;
		return (void *)(uintptr_t)c->h.addr;
	}
}

/* Moves bytes of the current part. Return: how many; -EAGAIN. */
static ssize_t move_some(struct cconn *c)
{
	uint64_t len;
	uint8_t *p = part_of(c, &len);
	size_t n = (size_t)MIN(len - c->done, TURN_BYTES);
	ssize_t ret;

	if (c->state == C_STATUS || c->state == C_SEND)
		ret = send(c->fd.fd, p + c->done, n, MSG_NOSIGNAL);
	else
		ret = recv(c->fd.fd, p + c->done, n, 0);
	if (ret > 0)
		c->done += (uint64_t)ret;
	return ret > 0 ? ret : !ret ? -ECONNRESET : errno == EINTR ? -EAGAIN : -errno;
}

static int serve(struct cconn *c)
{
	uint64_t turn = 0, len;

	while (turn < TURN_BYTES) {
		ssize_t n = move_some(c);
		int ret;

		if (n < 0)
			return (int)n;
		turn += (uint64_t)n;
		part_of(c, &len);
		ret = c->done == len ? advance(c) : 0;
		if (ret)
			return ret;
	}
	return 0;
}

/* Memory that is to go has been waited for as long as a peer may take that does nothing. */
static bool is_overdue(const struct cconn *c)
{
	const struct iovec v = { (void *)(uintptr_t)c->h.addr, c->h.size };

	if (!c->held || !reach_overdue(c->tcp->reach, &v, 1, c->tcp->stall_ns))
		return false;
	log_warn_limited("tcp: a peer uses memory that is unregistered, and takes too long, its connection is closed");
	return true;
}

static void cconn_ready(struct loop_fd *f, uint32_t ready)
{
	struct cconn *c = container_of(f, struct cconn, fd);
	int ret = serve(c);

	if (ret == -EAGAIN && is_overdue(c))
		ret = -ETIMEDOUT;
	if (ret && ret != -EAGAIN) {
		cconn_close(c);
		return;
	}
	if (c->state == C_HEADER && !c->done)
		return; /* between requests a peer may be silent for as long as it likes */
	loop_timer_set(c->tcp->loop, &c->stall, deadline_after_ns(c->tcp->stall_ns), stalled);
}

int classic_serve(struct tcp *t, int fd)
{
	struct cconn *c = calloc(1, sizeof(*c));
	int ret;

	if (!c) {
		close(fd);
		return -ENOMEM;
	}
	c->tcp = t;
	ret = loop_fd_add(t->loop, &c->fd, fd, EPOLLIN, cconn_ready);
	if (ret) {
		close(fd);
		free(c);
		return ret;
	}
	list_append(&t->classics, &c->node);
	tcp_serving_get(t);
	return 0;
}

void classic_close_all(struct tcp *t)
{
	while (!list_empty(&t->classics))
		cconn_close(list_first(&t->classics, struct cconn, node));
}
