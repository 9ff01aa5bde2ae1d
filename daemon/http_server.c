// SPDX-License-Identifier: Apache-2.0
/* HTTP for people and scrapers: routes over libmicrohttpd, which brings its own threads. */
#include <microhttpd.h>
#include <netdb.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "net/net.h"
#include "svc.h"

#define HTTP_THREADS 2
#define HTTP_CONNECTIONS_MAX 256
#define HTTP_IDLE_SECONDS 30

struct http_server {
	struct MHD_Daemon *mhd;
	const struct http_route *routes;
	size_t nr_routes;
	size_t body_max;
	void *arg;
};

/* One request while its body comes in. */
struct exchange {
	struct buf body;
	bool too_long;
};

static const char *query(struct http_req *r, const char *name)
{
	return MHD_lookup_connection_value(r->conn, MHD_GET_ARGUMENT_KIND, name);
}

static bool path_fits(const struct http_route *rt, const char *path)
{
	size_t len = strlen(rt->path);

	return !strcmp(rt->path, path) || (len > 1 && rt->path[len - 1] == '/' && !strncmp(rt->path, path, len));
}

/* HEAD is a GET whose body libmicrohttpd keeps back. */
static bool method_fits(const struct http_route *rt, const char *method)
{
	return !rt->method || !strcmp(rt->method, method) || (!strcmp(method, "HEAD") && !strcmp(rt->method, "GET"));
}

static void dispatch(struct http_server *h, struct http_req *r)
{
	bool known = false;

	for (size_t i = 0; i < h->nr_routes; i++) {
		if (!path_fits(&h->routes[i], r->path))
			continue;
		known = true;
		if (!method_fits(&h->routes[i], r->method))
			continue;
		r->status = 200;
		h->routes[i].fn(h->arg, r);
		return;
	}
	r->status = known ? 405 : 404;
	buf_printf(r->out, "%s\n", known ? "method not allowed" : "not found");
}

static enum MHD_Result answer(struct MHD_Connection *c, struct http_req *r)
{
	struct MHD_Response *resp;
	enum MHD_Result ret;

	if (r->out->err) {
		buf_fini(r->out);
		r->status = 500;
	}
	/* The memory becomes libmicrohttpd's. */
	resp = MHD_create_response_from_buffer(r->out->len, r->out->data, MHD_RESPMEM_MUST_FREE);
	if (!resp) {
		buf_fini(r->out);
		return MHD_NO;
	}
	*r->out = BUF_INIT;
	MHD_add_response_header(resp, MHD_HTTP_HEADER_CONTENT_TYPE, r->content_type);
	ret = MHD_queue_response(c, (unsigned)r->status, resp);
	MHD_destroy_response(resp);
	return ret;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *c, const char *url, const char *method, const char *version,
				  const char *data, size_t *len, void **state)
{
	struct http_server *h = arg;
	struct exchange *x = *state;
	struct buf out = BUF_INIT;
	struct http_req r = {
		.method = method,
		.path = url,
		.query = query,
		.conn = c,
		.content_type = "text/plain; charset=utf-8",
		.out = &out,
	};

	if (!x) {
		x = calloc(1, sizeof(*x));
		*state = x;
		return x ? MHD_YES : MHD_NO;
	}
	if (*len) {
		x->too_long |= *len > h->body_max - x->body.len;
		if (!x->too_long)
			buf_put(&x->body, data, *len);
		*len = 0;
		return x->body.err ? MHD_NO : MHD_YES;
	}
	r.body = x->body.data;
	r.body_len = x->body.len;
	if (x->too_long) {
		r.status = 413;
		buf_printf(&out, "body over %zu bytes\n", h->body_max);
	} else {
		dispatch(h, &r);
	}
	return answer(c, &r);
}

static void on_completed(void *arg, struct MHD_Connection *c, void **state, enum MHD_RequestTerminationCode why)
{
	struct exchange *x = *state;

	if (x)
		buf_fini(&x->body);
	free(x);
	*state = NULL;
}

static mc_printf(2, 0) void on_log(void *arg, const char *fmt, va_list ap)
{
	char text[256];

	vsnprintf(text, sizeof(text), fmt, ap);
	log_debug("http: %s", text);
}

int http_server_open(const char *bind_host, uint16_t port, size_t body_max, const struct http_route *routes, size_t nr, void *arg,
		     struct http_server **out, uint16_t *bound)
{
	const union MHD_DaemonInfo *info;
	struct http_server *h;
	struct net_addr a;
	char host[256];
	int ret, fd;

	/* A bare IPv6 address would look like host:port. */
	snprintf(host, sizeof(host), strchr(bind_host, ':') && *bind_host != '[' ? "[%s]" : "%s", bind_host);
	ret = net_addr_parse(host, port, &a);
	if (ret)
		return ret;
	ret = net_listen(&a, 128, &fd);
	if (ret)
		return ret;
	h = calloc(1, sizeof(*h));
	if (!h) {
		close(fd);
		return -ENOMEM;
	}
	*h = (struct http_server){ .routes = routes, .nr_routes = nr, .body_max = body_max, .arg = arg };
	h->mhd = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, h,
				  MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
				  MHD_OPTION_THREAD_POOL_SIZE, (unsigned)HTTP_THREADS, MHD_OPTION_CONNECTION_LIMIT,
				  (unsigned)HTTP_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)HTTP_IDLE_SECONDS,
				  MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_END);
	if (!h->mhd) {
		close(fd);
		free(h);
		return -EIO;
	}
	a.len = sizeof(a.ss);
	info = MHD_get_daemon_info(h->mhd, MHD_DAEMON_INFO_LISTEN_FD);
	if (bound && info && !getsockname(info->listen_fd, (struct sockaddr *)&a.ss, &a.len))
		*bound = net_addr_port(&a);
	*out = h;
	return 0;
}

void http_server_close(struct http_server *h)
{
	if (!h)
		return;
	MHD_stop_daemon(h->mhd);
	free(h);
}
