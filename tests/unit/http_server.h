/* SPDX-License-Identifier: Apache-2.0 */
/* A small HTTP server for tests of what asks one: a thread of its own, one request per connection, what it says is the test's. */
#ifndef HTTP_SERVER_H
#define HTTP_SERVER_H

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/net.h"

struct http_server {
	int listener;
	uint16_t port;
	pthread_t thread;
	/* Return: the status; the answer's text through @out. On the server's thread. */
	int (*answer)(struct http_server *s, const char *method, const char *target, const char *body, const char **out);
};

static inline void http_serve_one(struct http_server *s, int fd)
{
	char in[8192], out[8192], method[16], target[1024], *head_end;
	const char *body = "";
	size_t len = 0, want = 0;
	int status, n;

	do {
		ssize_t got = recv(fd, in + len, sizeof(in) - 1 - len, 0);

		if (got <= 0)
			return;
		len += (size_t)got;
		in[len] = 0;
		head_end = strstr(in, "\r\n\r\n");
		if (head_end) {
			char *cl = strstr(in, "Content-Length:");

			want = (size_t)(head_end + 4 - in) + (cl ? strtoul(cl + 15, NULL, 10) : 0);
		}
	} while (!head_end || len < want);
	if (sscanf(in, "%15s %1023s", method, target) != 2)
		return;
	status = s->answer(s, method, target, head_end + 4, &body);
	n = snprintf(out, sizeof(out), "HTTP/1.1 %d x\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
		     status, strlen(body), body);
	if (send(fd, out, (size_t)n, MSG_NOSIGNAL) != n)
		return;
}

static inline void *http_server_main(void *arg)
{
	struct http_server *s = arg;

	for (;;) {
		int fd = accept(s->listener, NULL, NULL);

		if (fd < 0)
			break;
		http_serve_one(s, fd);
		close(fd);
	}
	return NULL;
}

static inline void http_server_start(struct http_server *s)
{
	if (net_listen_range("127.0.0.1", 20000, 30000, &s->listener, &s->port))
		abort();
	fcntl(s->listener, F_SETFL, 0);
	if (pthread_create(&s->thread, NULL, http_server_main, s))
		abort();
}

static inline void http_server_stop(struct http_server *s)
{
	shutdown(s->listener, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	close(s->listener);
}

#endif
