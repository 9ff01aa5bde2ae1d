// SPDX-License-Identifier: Apache-2.0
/* mooncake-node: owns a pool and serves it to this node and to others. */
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "node.h"

/* ---- start ---- */

static int open_engine(struct node *n)
{
	const struct mc_engine_opts eo = {
		.size = sizeof(eo),
		.local_name = n->addr.engine,
		.metadata = n->opt.metadata_server,
		.protocol = n->opt.protocol,
		.devices = n->opt.device_names[0] ? n->opt.device_names : NULL,
		.deadline_ns = deadline_after_ns(NODE_ENGINE_NS),
	};
	const struct pool_view *v = pool_view(n->pool);
	struct mc_range ranges[POOL_REGIONS_MAX];
	int ret;

	ret = mc_engine_open(&eo, &n->engine);
	if (ret)
		return ret;
	for (unsigned i = 0; i < v->nr_regions; i++)
		ranges[i] = (struct mc_range){ v->region[i].base, v->region[i].size };
	ret = mc_region_add_many(n->engine, ranges, v->nr_regions, NULL);
	if (ret) {
		mc_engine_close(n->engine);
		n->engine = NULL;
	}
	return ret;
}

static const char *or_null(const char *text)
{
	return text[0] ? text : NULL;
}

static int open_owner(struct node *n)
{
	const struct owner_opts oo = {
		.pool = n->pool,
		.master = n->opt.master_server_address,
		.segment = mc_engine_name(n->engine),
		.metadata = n->opt.metadata_server,
		.unix_path = or_null(n->addr.unix_path),
		.listen = or_null(n->addr.listen),
		.advertise = or_null(n->addr.advertise),
		.ledger_fd = n->ledger_fd,
		.group = n->addr.group,
	};
	int ret = owner_open(&oo, &n->owner);

	if (!ret)
		n->pool = NULL; /* the owner's */
	return ret;
}

static bool worth_retrying(int err)
{
	return err == -ECONNREFUSED || err == -ETIMEDOUT || err == -EHOSTUNREACH || err == -ENETUNREACH || err == -EIO;
}

static void warn_if_open(const struct node *n)
{
	struct net_addr a;

	if (!n->addr.listen[0] || net_addr_parse(n->addr.listen, 0, &a) || net_addr_is_loopback(&a))
		return;
	log_warn("node: whoever reaches %s can read and store objects: nobody is asked for a secret yet; keep it on a trusted network",
		 n->addr.listen);
}

/* Everything that may have to wait for another service; runs on the loop, so that signals are heard between attempts. */
static void start(struct loop_timer *t)
{
	struct node *n = container_of(t, struct node, start);
	char text[2 * NET_ADDR_TEXT];
	int ret;

	ret = open_engine(n);
	if (ret && worth_retrying(ret)) {
		log_warn_limited("node: metadata service %s: %s: trying until it answers", n->opt.metadata_server, strerror(-ret));
		if (!loop_timer_set(n->svc.loop, t, clock_now_ns() + NODE_RETRY_NS, start))
			return;
	}
	if (!ret)
		ret = open_owner(n);
	if (!ret)
		ret = node_http_open(n);
	if (ret) {
		n->failed = ret;
		loop_stop(n->svc.loop);
		return;
	}
	snprintf(text, sizeof(text), "serving %s%s%s", owner_unix_path(n->owner), owner_addr(n->owner)[0] ? " and " : "",
		 owner_addr(n->owner));
	log_info("node: segment %s, %s", mc_engine_name(n->engine), text);
	warn_if_open(n);
	svc_ready(&n->svc, text);
}

/* ---- stop ---- */

static void node_close(struct node *n)
{
	if (n->http)
		http_server_close(n->http);
	if (n->owner) {
		owner_drain(n->owner);
		owner_close(n->owner, deadline_after_ns(NODE_STOP_NS));
	}
	mc_engine_close(n->engine);
	if (n->pool)
		pool_close(n->pool);
	if (n->ledger_fd >= 0)
		close(n->ledger_fd);
}

static void *closer(void *arg)
{
	struct node *n = arg;

	node_close(n);
	loop_stop(n->svc.loop);
	return NULL;
}

/* Clients are waited for on a thread: a second signal is heard, and the watchdog fed, meanwhile. */
static void stop(void *arg)
{
	struct node *n = arg;

	if (n->closing) /* the memory was revoked, and then a signal came */
		return;
	loop_timer_del(n->svc.loop, &n->start);
	loop_timer_del(n->svc.loop, &n->watch);
	svc_stopping(&n->svc, "waiting for clients");
	svc_extend(&n->svc, NODE_STOP_NS / NSEC_PER_SEC + 5);
	n->closing = !thread_start(&n->closer, "mc-closer", closer, n);
	if (!n->closing)
		loop_stop(n->svc.loop);
}

/* A pool that was taken away comes back only with a new process: the service manager starts one. */
static void watch(struct loop_timer *t)
{
	struct node *n = container_of(t, struct node, watch);

	if (n->owner && owner_revoked(n->owner)) {
		log_err("node: ending, because somebody revoked the pool's memory; the next one starts empty");
		n->failed = -EKEYREVOKED;
		stop(n);
		return;
	}
	loop_timer_set(n->svc.loop, t, clock_now_ns() + NSEC_PER_SEC, watch);
}

static int node_run(struct node *n)
{
	int ret;

	ret = region_source(n->opt.kernel_module) ? -EINVAL : 0;
	if (!ret)
		ret = node_pool_open(&n->opt, n->addr.group, &n->pool, &n->ledger_fd);
	if (!ret)
		ret = loop_timer_set(n->svc.loop, &n->watch, clock_now_ns() + NSEC_PER_SEC, watch);
	if (!ret)
		ret = loop_timer_set(n->svc.loop, &n->start, 0, start);
	if (!ret)
		ret = loop_run(n->svc.loop);
	if (n->closing)
		pthread_join(n->closer, NULL);
	else
		node_close(n);
	return ret ? ret : n->failed;
}

int main(int argc, char **argv)
{
	struct node n = { .ledger_fd = -1 };
	int ret;

	ret = svc_open(&n.svc, "mooncake-node", node_items, node_nr_items, &n.opt, argc, argv);
	if (ret)
		return ret > 0 ? 0 : 2;
	n.svc.stop = stop;
	n.svc.arg = &n;
	ret = node_addrs_choose(&n.opt, &n.addr) ? 2 : node_run(&n) ? 1 : 0;
	svc_close(&n.svc);
	return ret;
}
