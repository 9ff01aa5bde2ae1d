/* SPDX-License-Identifier: Apache-2.0 */
/* A bare socket that moves the same bytes as a transport does: what the transport is measured against. */
#ifndef BENCH_BARE_H
#define BENCH_BARE_H

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/net.h"

struct bare_ask {
	uint64_t len;
	uint64_t write;
};

static inline bool bare_read(int fd, void *p, size_t len)
{
	return recv(fd, p, len, MSG_WAITALL) == (ssize_t)len;
}

static inline bool bare_write(int fd, const void *p, size_t len)
{
	const uint8_t *at = p;

	while (len) {
		ssize_t n = send(fd, at, len, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		at += n;
		len -= (size_t)n;
	}
	return true;
}

/* Answers asks with bytes of @mem, and bytes with an answer, until the stream ends. */
static inline void bare_serve(int fd, uint8_t *mem)
{
	struct bare_ask a;

	while (bare_read(fd, &a, sizeof(a)))
		if (a.write ? !bare_read(fd, mem, a.len) || !bare_write(fd, mem, 8) : !bare_write(fd, mem, a.len))
			break;
}

/* A process that serves @mem and ends with this one. Return: a connection to it; -1. */
static inline int bare_open(uint8_t *mem)
{
	struct net_addr a;
	int l, fd;

	if (net_addr_parse("127.0.0.1:0", 0, &a) || net_listen(&a, 1, &l))
		return -1;
	a.len = sizeof(a.ss);
	getsockname(l, (struct sockaddr *)&a.ss, &a.len);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	net_unpace(fd, &a); /* as ours */
	if (connect(fd, (struct sockaddr *)&a.ss, a.len))
		return -1;
	net_tune(fd);
	if (!fork()) {
		close(fd);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		do
			fd = accept4(l, NULL, NULL, SOCK_CLOEXEC);
		while (fd < 0 && errno == EAGAIN);
		net_tune(fd);
		bare_serve(fd, mem);
		_exit(0);
	}
	close(l);
	return fd;
}

/* @len bytes there from @mem, or back to it. */
static inline bool bare_move(int fd, uint8_t *mem, uint64_t len, bool write)
{
	struct bare_ask a = { len, write };

	return bare_write(fd, &a, sizeof(a)) && (!write || bare_write(fd, mem, len)) && bare_read(fd, mem, write ? 8 : len);
}

#endif
