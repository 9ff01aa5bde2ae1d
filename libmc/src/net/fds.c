// SPDX-License-Identifier: Apache-2.0
/*
 * File descriptors that travel over Unix sockets, with frames or with packets. The sender attaches them to a frame's first byte and
 * sets NET_FDS; the kernel ends a read behind bytes that carry some, so the receiver never holds more than one lot unclaimed.
 */
#include "net/net_private.h"

#include <unistd.h>

void net_fds_attach(struct msghdr *m, union net_control *c, const int *fds, int nr)
{
	struct cmsghdr *h;

	m->msg_control = c->bytes;
	m->msg_controllen = CMSG_SPACE((size_t)nr * sizeof(int));
	h = CMSG_FIRSTHDR(m);
	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN((size_t)nr * sizeof(int));
	memcpy(CMSG_DATA(h), fds, (size_t)nr * sizeof(int));
}

void net_fds_close(int *nr, int *fds)
{
	for (int i = 0; i < *nr; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	*nr = 0;
}

int net_fds_collect(struct msghdr *m, struct fd_box *box)
{
	int ret = m->msg_flags & MSG_CTRUNC ? -EBADMSG : 0;

	for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
		size_t nr = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		int fds[NET_FDS_MAX];

		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		/* They are open in this process already, wanted or not. */
		nr = MIN(nr, (size_t)NET_FDS_MAX);
		memcpy(fds, CMSG_DATA(h), nr * sizeof(int));
		if (box->nr || ret) {
			int n = (int)nr;

			net_fds_close(&n, fds);
			ret = -EBADMSG;
			continue;
		}
		memcpy(box->fd, fds, nr * sizeof(int));
		box->nr = (int)nr;
	}
	return ret;
}

int net_fds_claim(struct fd_box *box, const struct net_frame *f, int *nr, int *fds)
{
	*nr = 0;
	if (!(f->flags & NET_FDS))
		return 0;
	if (!box->nr)
		return -EBADMSG;
	*nr = box->nr;
	memcpy(fds, box->fd, (size_t)box->nr * sizeof(int));
	box->nr = 0;
	return 0;
}

/* ---- packets ---- */

ssize_t net_packet_send(int sock, const void *data, size_t len, int fd)
{
	struct iovec iov = { (void *)data, len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	union net_control control;
	ssize_t n;

	if (fd >= 0)
		net_fds_attach(&m, &control, &fd, 1);
	n = sendmsg(sock, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	return n < 0 ? -errno : n;
}

ssize_t net_packet_recv(int sock, void *data, size_t len, int *fd)
{
	struct iovec iov = { data, len };
	union net_control control;
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes) };
	struct fd_box box = { 0 };
	ssize_t n = recvmsg(sock, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	int ret;

	*fd = -1;
	if (n < 0)
		return -errno;
	ret = net_fds_collect(&m, &box);
	if (ret || box.nr > 1) {
		net_fds_close(&box.nr, box.fd);
		return -EBADMSG;
	}
	if (box.nr)
		*fd = box.fd[0];
	return n;
}
