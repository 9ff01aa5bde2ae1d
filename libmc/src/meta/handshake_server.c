/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Serves the handshake channel: all connections at once on the loop, one request each.
 *
 *	READ ── whole frame ──> WRITE ── answer sent, half-closed ──> LINGER ── peer closed ──> gone
 *	  └──── malformed, refused, silent for 5 s, or too long in all: gone from any state ──┘
 */
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "meta/meta.h"
#include "net/net.h"

#define SILENCE_NS (5 * NSEC_PER_SEC)
#define LASTS_NS   (30 * NSEC_PER_SEC) /* the largest request, byte by byte, does not hold a place for ever */
#define CONNS_MAX  512

struct handshake_server {
	struct loop *loop;
	struct listener *listener;
	const struct handshake_ops *ops;
	void *arg;
	struct list conns;
	unsigned nr_conns;
};

struct hconn {
	struct handshake_server *server;
	struct list node;
	struct loop_fd fd;
	struct loop_timer timer;
	uint64_t by_ns; /* gone by then */
	struct buf in, out;
	size_t sent;
	enum { HCONN_READ, HCONN_WRITE, HCONN_LINGER } state;
};

static void hconn_close(struct hconn *c)
{
	loop_fd_del(c->server->loop, &c->fd);
	loop_timer_del(c->server->loop, &c->timer);
	close(c->fd.fd);
	list_del(&c->node);
	c->server->nr_conns--;
	buf_fini(&c->in);
	buf_fini(&c->out);
	free(c);
}

static void hconn_silent(struct loop_timer *t)
{
	hconn_close(container_of(t, struct hconn, timer));
}

static int hconn_alive(struct hconn *c)
{
	uint64_t until_ns = deadline_after_ns(SILENCE_NS);

	return loop_timer_set(c->server->loop, &c->timer, MIN(until_ns, c->by_ns), hconn_silent);
}

/* Types nobody handles get what upstream gives them. */
static int answer_none(struct buf *answer)
{
	buf_printf(answer, "null\n");
	return answer->err;
}

static int answer_to(struct hconn *c, const struct handshake_frame *f, struct buf *answer)
{
	const struct handshake_ops *ops = c->server->ops;

	switch (f->type) {
	case HANDSHAKE_CONNECTION:
		return ops->connection ? ops->connection(c->server->arg, f->text, f->len, answer) : answer_none(answer);
	case HANDSHAKE_METADATA:
		return ops->metadata(c->server->arg, f->text, f->len, answer);
	case HANDSHAKE_NOTIFY:
		return ops->notify(c->server->arg, f->text, f->len, answer);
	case HANDSHAKE_PROBE:
		buf_printf(answer, "{\"status\":\"success\"}\n");
		return answer->err;
	default:
		return answer_none(answer);
	}
}

static int hconn_write(struct hconn *c)
{
	while (c->sent < c->out.len) {
		ssize_t n =
			send(c->fd.fd, c->out.data + c->sent, c->out.len - c->sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return loop_fd_mod(c->server->loop, &c->fd, EPOLLOUT);
		if (n < 0 && errno != EINTR)
			return -errno;
		c->sent += n > 0 ? (size_t)n : 0;
	}
	c->state = HCONN_LINGER;
	shutdown(c->fd.fd, SHUT_WR);
	return loop_fd_mod(c->server->loop, &c->fd, EPOLLIN);
}

static int hconn_answer(struct hconn *c, const struct handshake_frame *f)
{
	struct handshake_frame reply = { .type = f->type, .legacy = f->legacy };
	struct buf answer = BUF_INIT;
	int ret = answer_to(c, f, &answer);

	if (!ret) {
		reply.text = (const char *)answer.data;
		reply.len = answer.len;
		handshake_put(&c->out, &reply);
		ret = c->out.err;
	}
	buf_fini(&answer);
	c->state = HCONN_WRITE;
	return ret ? ret : hconn_write(c);
}

static int hconn_read(struct hconn *c)
{
	struct handshake_frame f;
	ssize_t n;
	int ret;

	ret = buf_reserve(&c->in, 4 * KiB);
	if (ret)
		return ret;
	n = recv(c->fd.fd, c->in.data + c->in.len, c->in.cap - c->in.len, 0);
	if (!n)
		return -ECONNRESET;
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	c->in.len += (size_t)n;
	ret = hconn_alive(c);
	if (ret)
		return ret;
	ret = handshake_parse(c->in.data, c->in.len, &f);
	if (ret == -EBADMSG)
		log_warn_limited("handshake: a peer sent a length of 0 or over %llu bytes",
				 (unsigned long long)HANDSHAKE_MAX);
	return ret == -EAGAIN ? 0 : ret ? ret : hconn_answer(c, &f);
}

/* The peer has the answer; its close, or anything it says, ends the connection. */
static int hconn_linger(struct hconn *c)
{
	char byte;
	ssize_t n = recv(c->fd.fd, &byte, 1, 0);

	return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -ECONNRESET;
}

static void hconn_ready(struct loop_fd *f, uint32_t ready)
{
	struct hconn *c = container_of(f, struct hconn, fd);
	int ret;

	switch (c->state) {
	case HCONN_READ:
		ret = hconn_read(c);
		break;
	case HCONN_WRITE:
		ret = hconn_write(c);
		break;
	default:
		ret = hconn_linger(c);
	}
	if (ret)
		hconn_close(c);
}

static void accepted(void *arg, int fd)
{
	struct handshake_server *s = arg;
	struct hconn *c;

	if (s->nr_conns >= CONNS_MAX) {
		log_warn_limited("handshake: more than %d connections at once, one is dropped",
				 CONNS_MAX);
		close(fd);
		return;
	}
	c = calloc(1, sizeof(*c));
	if (!c) {
		close(fd);
		return;
	}
	c->server = s;
	c->by_ns = deadline_after_ns(s->ops->lasts_ns ?: LASTS_NS);
	list_append(&s->conns, &c->node);
	s->nr_conns++;
	if (loop_fd_add(s->loop, &c->fd, fd, EPOLLIN, hconn_ready)) {
		c->fd.fd = fd;
		hconn_close(c);
		return;
	}
	if (hconn_alive(c))
		hconn_close(c);
}

int handshake_serve(struct loop *l, int fd, const struct handshake_ops *ops, void *arg,
		    struct handshake_server **out)
{
	struct handshake_server *s = calloc(1, sizeof(*s));
	int ret;

	if (!s)
		return -ENOMEM;
	*s = (struct handshake_server){ .loop = l, .ops = ops, .arg = arg };
	list_init(&s->conns);
	ret = listener_open(l, fd, accepted, s, &s->listener);
	if (ret) {
		free(s);
		return ret;
	}
	*out = s;
	return 0;
}

void handshake_close(struct handshake_server *s)
{
	struct hconn *c, *tmp;

	if (!s)
		return;
	listener_close(s->listener);
	list_for_each_entry_safe(c, tmp, &s->conns, node)
		hconn_close(c);
	free(s);
}
