// SPDX-License-Identifier: Apache-2.0
/* The node's HTTP server: is it well, and what does it hold. Routes and codes are upstream's. */
#include "base/log.h"
#include "node.h"

static void answer_json(struct http_req *r, int status)
{
	r->status = status;
	r->content_type = "application/json";
}

/* Healthy: the master knows this node. What it is still being told of does not count against it. */
static void health(void *arg, struct http_req *r)
{
	struct node *n = arg;
	int ret = owner_joined(n->owner, 0);

	if (!ret || ret == -ETIMEDOUT) {
		buf_printf(r->out, "{\"status\":\"healthy\",\"code\":0}");
		answer_json(r, 200);
	} else {
		buf_printf(r->out, "{\"status\":\"master_unreachable\",\"code\":2}");
		answer_json(r, 503);
	}
}

static void gauge(struct buf *out, const char *name, const char *help, uint64_t v)
{
	metric_head(out, name, "gauge", help);
	metric_u64(out, name, NULL, v);
}

static void counter(struct buf *out, const char *name, const char *help, uint64_t v)
{
	metric_head(out, name, "counter", help);
	metric_u64(out, name, NULL, v);
}

static void metrics(void *arg, struct http_req *r)
{
	struct node *n = arg;
	struct pool_stat st = { 0 };

	owner_stat(n->owner, &st);
	gauge(r->out, "mooncake_node_capacity_bytes", "Memory for objects", st.capacity);
	gauge(r->out, "mooncake_node_used_bytes", "Memory that objects take", st.used);
	gauge(r->out, "mooncake_node_granted_bytes", "Memory that clients may write to", st.granted);
	gauge(r->out, "mooncake_node_pinned_bytes", "Memory of objects that are never evicted", st.pinned_bytes);
	gauge(r->out, "mooncake_node_objects", "Objects", st.objects);
	counter(r->out, "mooncake_node_evicted_objects_total", "Objects evicted", st.evicted);
	counter(r->out, "mooncake_node_evicted_bytes_total", "Bytes evicted", st.evicted_bytes);
	gauge(r->out, "mooncake_node_master_up", "The master knows this node", owner_joined(n->owner, 0) != -ECONNREFUSED);
	r->status = 200;
}

static void summary(void *arg, struct http_req *r)
{
	struct node *n = arg;
	struct pool_stat st = { 0 };

	owner_stat(n->owner, &st);
	buf_printf(r->out, "objects %llu, %llu of %llu bytes used, %llu evicted\n", (unsigned long long)st.objects,
		   (unsigned long long)st.used, (unsigned long long)st.capacity, (unsigned long long)st.evicted);
	r->status = 200;
}

static void status(void *arg, struct http_req *r)
{
	struct node *n = arg;

	answer_json(r, owner_status_json(n->owner, r->out) ? 500 : 200);
}

static const struct http_route routes[] = {
	{ "GET", "/health", health },
	{ "GET", "/metrics", metrics },
	{ "GET", "/metrics/summary", summary },
	{ "GET", "/status", status },
};

int node_http_open(struct node *n)
{
	uint16_t port;
	int ret;

	if (!n->opt.enable_http_server)
		return 0;
	ret = http_server_open(n->opt.http_host, (uint16_t)n->opt.http_port, 0, routes, ARRAY_SIZE(routes), n, &n->http, &port);
	if (ret)
		log_err("node: no HTTP server at %s:%u: %s", n->opt.http_host, (unsigned)n->opt.http_port, strerror(-ret));
	else
		log_info("node: http://%s:%u/health", n->opt.http_host, port);
	return ret;
}
