/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tcp transport's table, its port, and the first look at who connects: one of ours or one of
 * upstream's.
 */
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/thread.h"
#include "dev/dev.h"
#include "transport/tcp.h"

#define FIRST_BYTES_NS (30 * NSEC_PER_SEC) /* a connection that says nothing is dropped */
#define CLOSE_WAIT_NS  (5 * NSEC_PER_SEC)

/* A connection whose first bytes are not here yet. */
struct fresh {
	struct tcp *tcp;
	struct list node;
	struct loop_fd fd;
	struct loop_timer timer;
};

void tcp_serving_get(struct tcp *t)
{
	pthread_mutex_lock(&t->lock);
	t->serving++;
	pthread_mutex_unlock(&t->lock);
}

void tcp_serving_put(struct tcp *t)
{
	pthread_mutex_lock(&t->lock);
	if (!--t->serving)
		pthread_cond_broadcast(&t->quiet);
	pthread_mutex_unlock(&t->lock);
}

int tcp_connect_start(const struct net_addr *a, int *out)
{
	int fd = socket(a->ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int ret;

	if (fd < 0)
		return -errno;
	net_tune(fd);
	net_unpace(fd, a);
	if (connect(fd, (const struct sockaddr *)&a->ss, a->len) && errno != EINPROGRESS) {
		ret = -errno;
		close(fd);
		return ret;
	}
	*out = fd;
	return 0;
}

/* ---- first bytes ----------------------------------------------------------------------------- */

/* Leaves the loop; the descriptor stays open. */
static int fresh_free(struct fresh *f)
{
	int fd = f->fd.fd;

	loop_fd_del(f->tcp->loop, &f->fd);
	loop_timer_del(f->tcp->loop, &f->timer);
	list_del(&f->node);
	free(f);
	return fd;
}

static void fresh_silent(struct loop_timer *timer)
{
	close(fresh_free(container_of(timer, struct fresh, timer)));
}

/*
 * Ours begin with the HELLO frame. What is missing of a frame's header here is the payload's
 * length, which HELLO has none of.
 */
static bool is_ours(const uint8_t first[CLASSIC_HEADER_BYTES])
{
	uint8_t header[NET_FRAME_BYTES] = { 0 };
	struct net_frame f;

	memcpy(header, first, CLASSIC_HEADER_BYTES);
	return !net_frame_decode(header, &f) && f.type == MSG_HELLO && !f.flags;
}

static void fresh_ready(struct loop_fd *lfd, uint32_t ready)
{
	struct fresh *f = container_of(lfd, struct fresh, fd);
	struct tcp *t = f->tcp;
	uint8_t first[CLASSIC_HEADER_BYTES];
	ssize_t n = recv(lfd->fd, first, sizeof(first), MSG_PEEK);
	int fd, any = 1;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	fd = fresh_free(f);
	if (n < (ssize_t)sizeof(first)) {
		close(fd);
		return;
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &any, sizeof(any));
	if (is_ours(first))
		stream_serve(t, fd);
	else
		classic_serve(t, fd);
}

static void accepted(void *arg, int fd)
{
	int low = CLASSIC_HEADER_BYTES;
	struct tcp *t = arg;
	struct fresh *f = calloc(1, sizeof(*f));

	if (!f) {
		close(fd);
		return;
	}
	net_tune(fd);
	/* Readable only once all of it is here. */
	setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &low, sizeof(low));
	f->tcp = t;
	list_append(&t->fresh, &f->node);
	f->fd.fd = fd;
	if (loop_fd_add(t->loop, &f->fd, fd, EPOLLIN, fresh_ready) ||
	    loop_timer_set(t->loop, &f->timer, deadline_after_ns(FIRST_BYTES_NS), fresh_silent)) {
		fresh_free(f);
		close(fd);
	}
}

/* ---- open and close -------------------------------------------------------------------------- */

struct listen_args {
	struct tcp *tcp;
	int fd;
};

static int listen_here(void *arg)
{
	struct listen_args *a = arg;

	return listener_open(a->tcp->loop, a->fd, accepted, a->tcp, &a->tcp->listener);
}

static int stop_here(void *arg)
{
	struct tcp *t = arg;

	listener_close(t->listener);
	while (!list_empty(&t->fresh))
		close(fresh_free(list_first(&t->fresh, struct fresh, node)));
	stream_close_all(t);
	classic_close_all(t);
	return 0;
}

static int tcp_listen(struct tcp *t, const struct transport_env *env)
{
	struct listen_args a = { .tcp = t };
	int ret = net_listen_range(env->bind_host, env->min_port, env->max_port, &a.fd, &t->port);

	if (ret)
		return ret;
	ret = loop_call(t->loop, listen_here, &a);
	if (ret)
		close(a.fd);
	return ret;
}

static int tcp_open(const struct transport_env *env, struct transport **out)
{
	struct tcp *t = calloc(1, sizeof(*t));
	int ret;

	if (!t)
		return -ENOMEM;
	*t = (struct tcp){ .base.ops = &transport_tcp, .loop = env->loop, .reach = env->reach };
	t->stall_ns = TCP_STALL_NS;
	random_bytes(t->id, sizeof(t->id));
	node_id(t->node);
	list_init(&t->fresh);
	list_init(&t->streams);
	list_init(&t->classics);
	pthread_mutex_init(&t->lock, NULL);
	pthread_mutex_init(&t->spare.lock, NULL);
	pthread_cond_init(&t->quiet, NULL);
	ret = t->loop ? tcp_listen(t, env) : 0;
	if (ret) {
		bundle_pool_fini(&t->spare);
		pthread_cond_destroy(&t->quiet);
		pthread_mutex_destroy(&t->lock);
		free(t);
		return ret;
	}
	*out = &t->base;
	return 0;
}

/* Connections report their end from the loop, one after the other. */
static bool wait_until_quiet(struct tcp *t)
{
	uint64_t deadline_ns = deadline_after_ns(CLOSE_WAIT_NS);
	int ret = 0;

	pthread_mutex_lock(&t->lock);
	while (t->serving && !ret)
		ret = cond_wait_until(&t->quiet, &t->lock, deadline_ns);
	pthread_mutex_unlock(&t->lock);
	return !ret;
}

static void tcp_close(struct transport *base)
{
	struct tcp *t = container_of(base, struct tcp, base);

	if (t->loop) {
		loop_call(t->loop, stop_here, t);
		if (!wait_until_quiet(t)) {
			log_err("tcp: connections do not end; their memory is left alone");
			return;
		}
	}
	bundle_pool_fini(&t->spare);
	scratch_fini(&t->scratch);
	pthread_cond_destroy(&t->quiet);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

static void tcp_describe(struct transport *base, struct segment_desc *desc)
{
	const struct tcp *t = container_of(base, struct tcp, base);

	desc->tcp_data_port = t->port;
	desc->tcp_proto_version = 2;
}

static int tcp_connect(struct transport *base, const struct segment_desc *desc, struct peer **out,
		       uint64_t *cost)
{
	struct tcp *t = container_of(base, struct tcp, base);
	struct tcp_peer_head *p;
	struct net_addr addr;
	int ret;

	if (desc->tcp_data_port <= 0 || desc->tcp_data_port > UINT16_MAX || !desc->host)
		return -EOPNOTSUPP;
	/* Ours listen whatever way they would rather be reached. */
	if (!desc->mc.present && (!desc->protocol || strcmp(desc->protocol, "tcp")))
		return -EOPNOTSUPP;
	ret = net_addr_parse(desc->host, (uint16_t)desc->tcp_data_port, &addr);
	if (ret)
		return -EHOSTUNREACH;
	if (desc->mc.present && desc->mc.version >= PROTO_VERSION_MIN)
		ret = tcp_peer_open(t, &addr, !memcmp(desc->mc.node, t->node, sizeof(t->node)), &p);
	else
		ret = classic_peer_open(t, &addr, desc->tcp_proto_version, &p);
	if (ret)
		return ret;
	*cost = TCP_COST_NS_PER_MIB;
	*out = &p->base;
	return 0;
}

static struct tcp_peer_head *head_of(struct peer *p)
{
	return container_of(p, struct tcp_peer_head, base);
}

static void tcp_disconnect(struct peer *p)
{
	head_of(p)->ops->disconnect(head_of(p));
}

static void tcp_submit(struct peer *p, struct xfer *const *x, unsigned nr)
{
	head_of(p)->ops->submit(head_of(p), x, nr);
}

static bool tcp_progress(struct peer *p, struct xfer *x, uint64_t deadline_ns)
{
	return head_of(p)->ops->progress(head_of(p), x, deadline_ns);
}

static int tcp_wants(struct peer *p, const struct xfer *x, short *events)
{
	return head_of(p)->ops->wants(head_of(p), x, events);
}

static void tcp_cancel(struct peer *p, struct xfer *x)
{
	head_of(p)->ops->cancel(head_of(p), x);
}

static uint64_t tcp_backlog(const struct peer *p)
{
	const struct tcp_peer_head *h = container_of(p, struct tcp_peer_head, base);

	return h->ops->backlog(h);
}

const struct transport_ops transport_tcp = {
	.name = "tcp",
	.open = tcp_open,
	.close = tcp_close,
	.describe = tcp_describe,
	.connect = tcp_connect,
	.disconnect = tcp_disconnect,
	.submit = tcp_submit,
	.progress = tcp_progress,
	.wants = tcp_wants,
	.cancel = tcp_cancel,
	.backlog = tcp_backlog,
};
