// SPDX-License-Identifier: Apache-2.0
/* Accepting connections on a loop. */
#include <sys/epoll.h>
#include <unistd.h>

#include "base/log.h"
#include "net/net_private.h"

#define ACCEPT_ONCE 16 /* per event: the loop has other work */
#define PAUSE_NS (100 * NSEC_PER_MSEC)

struct listener {
	struct loop *loop;
	struct loop_fd lf;
	struct loop_timer timer;
	void (*accepted)(void *arg, int fd);
	void *arg;
	bool inside, gone; /* closed from within accepted() */
};

static void unpause(struct loop_timer *t)
{
	struct listener *li = container_of(t, struct listener, timer);

	loop_fd_mod(li->loop, &li->lf, EPOLLIN);
}

/* The waiting connection keeps the socket readable: without a pause this would spin. */
static void out_of_files(struct listener *li, int err)
{
	log_warn_limited("cannot accept connections: %s; raise the limit of open files (LimitNOFILE=, ulimit -n)",
			 strerror(err));
	loop_fd_mod(li->loop, &li->lf, 0);
	loop_timer_set(li->loop, &li->timer, deadline_after_ns(PAUSE_NS), unpause);
}

static void ready(struct loop_fd *f, uint32_t events)
{
	struct listener *li = container_of(f, struct listener, lf);

	li->inside = true;
	for (int i = 0; i < ACCEPT_ONCE && !li->gone; i++) {
		int fd = accept4(f->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			li->accepted(li->arg, fd);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			out_of_files(li, errno);
		/* ECONNABORTED and the errors of a half-made connection concern nobody else. */
		if (errno == EINTR || errno == ECONNABORTED)
			continue;
		break;
	}
	li->inside = false;
	if (li->gone)
		free(li);
}

int listener_open(struct loop *l, int fd, void (*accepted)(void *arg, int fd), void *arg, struct listener **out)
{
	struct listener *li = calloc(1, sizeof(*li));
	int ret;

	if (!li)
		return -ENOMEM;
	*li = (struct listener){ .loop = l, .accepted = accepted, .arg = arg };
	ret = loop_fd_add(l, &li->lf, fd, EPOLLIN, ready);
	if (ret) {
		free(li);
		return ret;
	}
	*out = li;
	return 0;
}

void listener_close(struct listener *li)
{
	if (!li)
		return;
	loop_fd_del(li->loop, &li->lf);
	loop_timer_del(li->loop, &li->timer);
	close(li->lf.fd);
	if (li->inside)
		li->gone = true;
	else
		free(li);
}
