/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every daemon does: options and file, signals, readiness and watchdog towards the service manager, sockets handed over,
 * descriptors kept across restarts, an HTTP server for people and scrapers. main.c of each daemon reads as a list of these.
 */
#ifndef MC_SVC_H
#define MC_SVC_H

#include <mooncake/mooncake.h>

#include "base/base.h"
#include "base/buf.h"
#include "base/conf.h"
#include "base/loop.h"

struct svc {
	const char *name;
	struct conf conf;
	struct loop *loop; /* the main thread's */
	void (*stop)(void *arg); /* SIGTERM or SIGINT: begin the orderly end; call loop_stop() when done. A second signal ends at once */
	void *arg;
	/* svc's own */
	struct loop_fd signals;
	struct loop_timer watchdog;
	int asked;
};

/*
 * Reads flags and files into @values by @items (which include at least config_path), handles --help and --version, sets up
 * logging to stderr (journal levels under systemd), signals and the loop.
 * Return: 0; 1 when the program should end with success now (--help); -EINVAL after a message (exit 2).
 */
int svc_open(struct svc *s, const char *name, const struct conf_item *items, size_t nr, void *values, int argc, char **argv);
void svc_close(struct svc *s);

void svc_ready(struct svc *s, const char *status); /* READY=1, starts the watchdog */
void svc_stopping(struct svc *s, const char *status);
void svc_extend(struct svc *s, unsigned seconds); /* still stopping: EXTEND_TIMEOUT_USEC */

/* Socket activation: the inherited listening socket called @name, or -ENOENT. */
int svc_listen_fd(const char *name);

/* The manager's descriptor store: kept across restarts of this service. -ENOTCONN when not run by systemd. */
int svc_keep_fd(const char *name, int fd);
int svc_kept_fd(const char *name, int *fd); /* -ENOENT */
void svc_forget_fd(const char *name); /* before another is kept under the name */

/* ---- HTTP (http_server.c, on libmicrohttpd with its own threads) ------------------------------------------------------ */

struct http_server;

struct http_req {
	const char *method, *path;
	const uint8_t *body;
	size_t body_len;
	const char *(*query)(struct http_req *r, const char *name); /* percent-decoded; NULL: absent */
	void *conn;
	/* The answer: */
	int status;
	const char *content_type; /* default "text/plain; charset=utf-8" */
	struct buf *out;
};

/* "/metadata"; a path that ends with "/" also takes everything below it. Called on server threads, several at a time. */
struct http_route {
	const char *method; /* NULL: any */
	const char *path;
	void (*fn)(void *arg, struct http_req *r);
};

/* @bind_host "127.0.0.1", "::1", "0.0.0.0" …; @port 0: any; *bound is what it became. -EADDRINUSE. */
int http_server_open(const char *bind_host, uint16_t port, size_t body_max, const struct http_route *routes, size_t nr, void *arg,
		     struct http_server **out, uint16_t *bound);
void http_server_close(struct http_server *h); /* requests under way are finished */

/* ---- Prometheus text (metrics.c) ------------------------------------------------------------------------------------- */

void metric_head(struct buf *out, const char *name, const char *type, const char *help);
void metric_u64(struct buf *out, const char *name, const char *labels, uint64_t value); /* @labels "a=\"b\"" or NULL */

#endif
