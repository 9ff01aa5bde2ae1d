/* SPDX-License-Identifier: Apache-2.0 */
/* A conn server on a loop of its own for the tests of net: what it does with a request, the request's type says. */
#ifndef NET_SERVER_H
#define NET_SERVER_H

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "net/net.h"

enum {
	SRV_ECHO = 1, /* body and payload back */
	SRV_HOLD,     /* no answer until SRV_RELEASE */
	SRV_RELEASE,  /* answers all held requests, then this one */
	SRV_ERROR,    /* -ENOENT */
	SRV_MAKE,     /* body: u64 bytes; answers with that much payload, byte i is i * 7 */
	SRV_FDS,      /* the descriptors back */
	SRV_CLOSE,    /* conn_close() from within the callback, no answer */
	SRV_REFUSE,   /* payload() says -EPERM */
	SRV_DRAIN,    /* conn_drain(), then an answer */
	SRV_CALL,     /* conn_call() to the client with the same body, answers with what came back */
	SRV_ONEWAY,   /* counted */
	SRV_NUMBERED = 100, /* like SRV_ECHO: free for tests to tell requests apart */
};

struct server {
	struct loop *loop;
	struct conn_limits lim;
	struct conn *last; /* the newest open conn; on the loop */
	struct conn_req *held[4096];
	unsigned nr_held;
	atomic_uint requests, payloads, sent, closed, oneway;
	atomic_int close_err;
	uint8_t *made;
	size_t made_len;
};


struct srv_memory {
	struct server *s;
	uint8_t bytes[];
};

static inline void srv_free(void *arg)
{
	struct srv_memory *mem = arg;

	if (!mem)
		return;
	atomic_fetch_add(&mem->s->sent, 1);
	free(mem);
}

static inline int srv_payload(struct conn_req *r, struct iovec *iov, int max)
{
	struct server *s = conn_user(r->conn);
	uint64_t len = r->frame.payload_len, half = len / 2;
	struct srv_memory *mem;

	atomic_fetch_add(&s->payloads, 1);
	if (r->frame.type == SRV_REFUSE)
		return -EPERM;
	mem = malloc(sizeof(*mem) + len);
	mem->s = s;
	r->user = mem;
	iov[0] = (struct iovec){ mem->bytes, half };
	iov[1] = (struct iovec){ mem->bytes + half, len - half };
	return 2;
}

static inline void srv_echo(struct conn_req *r)
{
	struct srv_memory *mem = r->user;
	struct iovec iov = { mem ? mem->bytes : NULL, r->frame.payload_len };

	conn_reply(r, &(struct conn_reply){ .body = r->body, .body_len = r->frame.body_len, .payload = &iov,
					    .nr_payload = mem != NULL, .fds = r->fds, .nr_fds = r->nr_fds,
					    .sent = srv_free, .arg = mem });
}

static inline void srv_make(struct server *s, struct conn_req *r)
{
	struct iovec iov = { s->made, r->frame.body_len == 8 ? MIN(get_le64(r->body), (uint64_t)s->made_len) : 0 };

	conn_reply(r, &(struct conn_reply){ .body = "made", .body_len = 4, .payload = &iov, .nr_payload = 1 });
}

static inline void srv_called(void *arg, int status, const uint8_t *body, size_t len)
{
	conn_reply(arg, &(struct conn_reply){ .status = status, .body = body, .body_len = len });
}

static inline void srv_request(struct conn_req *r)
{
	struct server *s = conn_user(r->conn);
	unsigned i;

	atomic_fetch_add(&s->requests, 1);
	if (r->damaged) {
		atomic_fetch_add(&s->oneway, r->frame.type == SRV_ONEWAY);
		free(r->user);
		conn_reply_status(r, r->damaged);
		return;
	}
	switch (r->frame.type) {
	case SRV_HOLD:
		s->held[s->nr_held++ % ARRAY_SIZE(s->held)] = r;
		break;
	case SRV_RELEASE:
		for (i = 0; i < s->nr_held; i++)
			srv_echo(s->held[i]);
		s->nr_held = 0;
		srv_echo(r);
		break;
	case SRV_ERROR:
		conn_reply_status(r, -ENOENT);
		break;
	case SRV_MAKE:
		srv_make(s, r);
		break;
	case SRV_CLOSE:
		conn_close(r->conn);
		conn_reply_status(r, 0);
		break;
	case SRV_DRAIN:
		conn_drain(r->conn);
		srv_echo(r);
		break;
	case SRV_CALL:
		if (conn_call(r->conn, 7, r->body, r->frame.body_len, deadline_after_ms(200), srv_called, r))
			conn_reply_status(r, -EIO);
		break;
	case SRV_ONEWAY:
		atomic_fetch_add(&s->oneway, 1);
		free(r->user);
		if (!(r->frame.flags & NET_ONEWAY))
			conn_reply_status(r, 0);
		break;
	default:
		srv_echo(r);
	}
}

static inline void srv_closed(struct conn *c, int err)
{
	struct server *s = conn_user(c);

	if (s->last == c)
		s->last = NULL;
	for (unsigned i = 0; i < s->nr_held; i++)
		if (s->held[i]->conn == c) {
			srv_echo(s->held[i]);
			s->held[i--] = s->held[--s->nr_held];
		}
	s->close_err = err;
	atomic_fetch_add(&s->closed, 1);
}

static const struct conn_ops srv_ops = { .payload = srv_payload, .request = srv_request, .closed = srv_closed };

static inline void server_start(struct server *s)
{
	memset(s, 0, sizeof(*s));
	s->made_len = 2 * MiB;
	s->made = malloc(s->made_len);
	for (size_t i = 0; i < s->made_len; i++)
		s->made[i] = (uint8_t)(i * 7);
	if (loop_open(&s->loop) || loop_start(s->loop, "test-server"))
		abort();
}

struct srv_add {
	struct server *s;
	int fd;
};

static inline int srv_add(void *arg)
{
	struct srv_add *a = arg;

	return conn_open(a->s->loop, a->fd, &srv_ops, &a->s->lim, a->s, &a->s->last);
}

static inline void tcp_pair(int fd[2])
{
	struct net_addr a;
	int l;

	if (net_addr_parse("127.0.0.1:0", 0, &a) || net_listen(&a, 8, &l))
		abort();
	a.len = sizeof(a.ss);
	if (getsockname(l, (struct sockaddr *)&a.ss, &a.len) || net_connect(&a, deadline_after_ms(5000), &fd[0]))
		abort();
	fcntl(l, F_SETFL, 0);
	fd[1] = accept4(l, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	close(l);
}

/* A stream to the server. Return: the client's end, not yet in any mode. */
static inline int server_connect(struct server *s, bool tcp)
{
	struct srv_add a = { .s = s };
	int fd[2];

	if (tcp)
		tcp_pair(fd);
	else if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd))
		abort();
	a.fd = fd[1];
	if (loop_call(s->loop, srv_add, &a))
		abort();
	return fd[0];
}

static inline int srv_drop_last(void *arg)
{
	struct server *s = arg;

	if (s->last)
		conn_close(s->last);
	return 0;
}

/* Stops the loop; every conn must be closed before, or goes now. */
static inline void server_stop(struct server *s)
{
	loop_call(s->loop, srv_drop_last, s);
	loop_close(s->loop);
	free(s->made);
}

/* ---- a peer made by hand ---- */

static inline bool raw_write(int fd, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

		if (n < 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

static inline bool raw_read(int fd, void *data, size_t len)
{
	return !len || recv(fd, data, len, MSG_WAITALL) == (ssize_t)len;
}

static inline bool raw_head(int fd, struct net_frame f)
{
	uint8_t head[NET_FRAME_BYTES];

	net_frame_encode(&f, head);
	return raw_write(fd, head, sizeof(head));
}

/* The next frame's header; its body and payload are read and dropped. */
static inline bool raw_frame(int fd, struct net_frame *f)
{
	uint8_t head[NET_FRAME_BYTES], rest[4096];
	uint64_t left;

	if (!raw_read(fd, head, sizeof(head)) || net_frame_decode(head, f))
		return false;
	for (left = f->body_len + f->payload_len; left; left -= MIN(left, (uint64_t)sizeof(rest)))
		if (!raw_read(fd, rest, MIN(left, (uint64_t)sizeof(rest))))
			return false;
	return true;
}

/* Log lines of warning and error level since the last call; the text of the last one in log_last. */
static atomic_int log_lines;
static char log_last[512];

static inline void log_count(void *arg, enum mc_log_level level, const char *text)
{
	snprintf(log_last, sizeof(log_last), "%s", text);
	atomic_fetch_add(&log_lines, 1);
}

/* @len bytes with @sock itself as a descriptor @nr times, whatever anybody expects. */
static inline void send_fds(int sock, const void *bytes, size_t len, int nr)
{
	union {
		char bytes[CMSG_SPACE(64 * sizeof(int))];
		size_t align;
	} control = { { 0 } };
	struct iovec iov = { (void *)bytes, len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes,
			    .msg_controllen = CMSG_SPACE((size_t)nr * sizeof(int)) };
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);

	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN((size_t)nr * sizeof(int));
	for (int i = 0; i < nr; i++)
		memcpy(CMSG_DATA(h) + (size_t)i * sizeof(int), &sock, sizeof(int));
	sendmsg(sock, &m, MSG_NOSIGNAL);
}

static inline int count_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* Until @cond or 5 s: for things that another thread does soon. */
#define EVENTUALLY(cond)                                                       \
	({                                                                     \
		uint64_t until_ = deadline_after_ms(5000);                     \
		while (!(cond) && !deadline_passed(until_))                    \
			sched_yield();                                         \
		(cond);                                                        \
	})

#endif
