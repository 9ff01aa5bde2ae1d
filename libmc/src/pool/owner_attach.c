// SPDX-License-Identifier: Apache-2.0
/* Sharing the pool with a process of this node: its descriptors, and what its end means. */
#include <sys/epoll.h>
#include <unistd.h>

#include "pool/owner_private.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5 */
#endif

static void process_exited(struct loop_fd *f, uint32_t ready)
{
	struct client *c = container_of(f, struct client, exit);

	c->exited = true;
	announce_exited(c);
	loop_fd_del(c->ow->loop, f);
	if (c->conn)
		conn_close(c->conn); /* a child may have inherited the socket, but it has not the memory */
	else
		client_release(c);
}

int client_watch(struct client *c, int pidfd)
{
	int ret = loop_fd_add(c->ow->loop, &c->exit, pidfd, EPOLLIN, process_exited);

	if (ret) {
		close(pidfd);
		c->exit.fd = -1;
	}
	return ret;
}

/* The socket's own pidfd cannot be mistaken for that of a later process with the same number. */
static int peer_pidfd(const struct client *c, int *fd)
{
	socklen_t len = sizeof(*fd);

	if (!getsockopt(conn_fd(c->conn), SOL_SOCKET, SO_PEERPIDFD, fd, &len))
		return 0;
	if (errno != ENOPROTOOPT)
		return -errno;
	return c->cred.pid > 0 ? process_pidfd(c->cred.pid, fd) : -ESRCH;
}

static int watch_process(struct client *c)
{
	int fd, ret;

	ret = peer_pidfd(c, &fd);
	if (ret) {
		log_warn_limited("owner: process %d cannot be watched (%s): it may read the pool, but not write to it; "
				 "share the pid namespace with it",
				 c->cred.pid, strerror(-ret));
		return ret == -ESRCH ? -EOPNOTSUPP : ret;
	}
	return client_watch(c, fd);
}

static void unwatch_process(struct client *c)
{
	if (c->exit.fd < 0)
		return;
	loop_fd_del(c->ow->loop, &c->exit);
	close(c->exit.fd);
	c->exit.fd = -1;
}

static int become_writer(struct client *c)
{
	int ret;

	ret = watch_process(c);
	if (ret)
		return ret;
	ret = ledger_enter(c);
	if (ret)
		goto err_watch;
	ret = -ENOMEM;
	c->holder = malloc(sizeof(*c->holder));
	if (!c->holder)
		goto err_ledger;
	pool_holder_init(c->holder);
	c->writer = true;
	return 0;

err_ledger:
	ledger_leave(c);
err_watch:
	unwatch_process(c);
	return ret;
}

static void stop_writing(struct client *c)
{
	if (!c->holder)
		return;
	pool_holder_fini(c->ow->pool, c->holder);
	free(c->holder);
	c->holder = NULL;
	c->writer = false;
	ledger_leave(c);
	unwatch_process(c);
}

void attach_undo(struct client *c)
{
	if (c->ring)
		pool_ring_close(c->ow->pool, c->ring);
	c->ring = NULL;
}

/* Descriptors in the order of msg_attach_reply. A client that only reads gets descriptors that cannot be mapped otherwise. */
static int collect_fds(struct client *c, int *fds, struct msg_attach_reply *info)
{
	struct owner *ow = c->ow;
	int ret;

	ret = pool_fds(ow->pool, &fds[0], &fds[2], info);
	if (ret)
		return ret;
	fds[1] = c->ring->region.fd;
	info->ring_bytes = c->ring->region.size;
	for (unsigned i = 0; !c->writer && i < info->nr_regions; i++) {
		if (ow->ro_fd[i] < 0)
			ret = region_readonly_fd(&ow->view->region[i], &ow->ro_fd[i]);
		if (ret)
			return ret;
		fds[2 + i] = ow->ro_fd[i];
	}
	return 2 + info->nr_regions;
}

static int attach(struct client *c, const struct msg_attach *m, int *fds, struct msg_attach_reply *info)
{
	int ret;

	if (c->ring)
		return -EALREADY;
	if (memcmp(m->node, c->ow->node, sizeof(m->node)) || c->ow->apart)
		return -EXDEV;
	if (c->ow->closing)
		return -ESHUTDOWN;
	if (m->write) {
		ret = become_writer(c);
		if (ret)
			return ret;
	}
	ret = pool_ring_open(c->ow->pool, &c->ring);
	if (ret)
		goto err_writer;
	ret = collect_fds(c, fds, info);
	if (ret < 0)
		goto err_ring;
	return ret;

err_ring:
	attach_undo(c);
err_writer:
	stop_writing(c);
	return ret;
}

void attach_request(struct client *c, struct conn_req *r)
{
	struct msg_attach_reply info = { 0 };
	int fds[2 + POOL_REGIONS_MAX];
	struct buf b = BUF_INIT;
	struct msg_attach m;
	int ret;

	_Static_assert(ARRAY_SIZE(fds) <= NET_FDS_MAX, "an attachment's descriptors fit one message");
	ret = msg_attach_decode(r->body, r->frame.body_len, &c->ow->scratch, &m);
	if (!ret)
		ret = attach(c, &m, fds, &info);
	if (ret < 0) {
		conn_reply_status(r, ret);
		return;
	}
	msg_attach_reply_encode(&info, &b);
	if (b.err)
		conn_reply_status(r, b.err);
	else
		conn_reply(r, &(struct conn_reply){ .body = b.data, .body_len = b.len, .fds = fds, .nr_fds = ret });
	buf_fini(&b);
}
