// SPDX-License-Identifier: Apache-2.0
/* The admin HTTP server. Handlers run on its threads and look at shared state only. */
#include "base/log.h"
#include "master.h"

#define BODY_MAX (64 * KiB)
#define JSON "application/json; charset=utf-8"

static void health(void *arg, struct http_req *r)
{
	r->content_type = JSON;
	buf_printf(r->out, "{\"status\":\"ok\",\"role\":\"leader\",\"ha_state\":\"serving\",\"service_ready\":true,"
		   "\"leader_address\":null,\"view_version\":null}");
}

static void ready(void *arg, struct http_req *r)
{
	struct master *m = arg;
	bool yes = pools_ready(m->pools, clock_now_ns());

	r->status = yes ? 200 : 503;
	buf_printf(r->out, "%s\n", yes ? "ready" : "waiting for pools");
}

static const struct http_route routes[] = {
	{ "GET", "/health", health },
	{ "GET", "/ready", ready },
};

int admin_open(struct master *m)
{
	int ret;

	ret = http_server_open(m->set.metrics_host, (uint16_t)m->set.metrics_port, BODY_MAX, routes, ARRAY_SIZE(routes), m,
			       &m->admin, &m->http_port);
	if (ret)
		log_err("cannot listen for HTTP on %s port %d: %s%s", m->set.metrics_host, (int)m->set.metrics_port, strerror(-ret),
			ret == -EADDRINUSE ? "; choose another with --metrics_port" : "");
	return ret;
}

void admin_close(struct master *m)
{
	http_server_close(m->admin);
	m->admin = NULL;
}
