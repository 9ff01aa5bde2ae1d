// SPDX-License-Identifier: Apache-2.0
/* mooncake-master: options, listen, ready, loop, stop. */
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "master.h"

#define TICK_NS (NSEC_PER_SEC / 4)
#define QUIET_NS (3 * NSEC_PER_SEC) /* three heartbeats of an owner */
#define PURGE_NS (NSEC_PER_SEC / 4)   /* between looks for something to forget */
#define PURGE_SLICE 500		      /* replicas forgotten before others get their turn */
#define REPORT_NS (10 * NSEC_PER_SEC)
#define STOP_NS (700 * NSEC_PER_MSEC) /* answers under way have this long to leave */

/* ---- housekeeping, on the main thread ---- */

static void tick(struct loop_timer *t)
{
	struct master *m = container_of(t, struct master, tick);
	uint64_t now = clock_now_ns();

	pools_tick(m->pools, now, owner_expired, m);
	tasks_housekeeping(m);
	loop_timer_set(m->svc.loop, t, now + TICK_NS, tick);
}

static void purge(struct loop_timer *t)
{
	struct master *m = container_of(t, struct master, purge);
	uint64_t now = clock_now_ns();
	bool more = pools_purge(m->pools, now, PURGE_SLICE);

	loop_timer_set(m->svc.loop, t, more ? now : now + PURGE_NS, purge);
}

/* Quiet while nobody asks for anything; signs of life do not count. */
static void report(struct loop_timer *t)
{
	struct master *m = container_of(t, struct master, report);
	uint64_t requests = 0;
	struct buf b = BUF_INIT;

	for (unsigned c = 0; c < CNT_NR; c++)
		requests += c == CNT_STAT ? 0 : counted(m, c);
	if (requests != m->reported) {
		summary_text(m, &b);
		if (!b.err)
			log_info("%.*s", (int)b.len, (const char *)b.data);
		buf_fini(&b);
	}
	m->reported = requests;
	loop_timer_set(m->svc.loop, t, clock_now_ns() + REPORT_NS, report);
}

/* ---- listening ---- */

static void accepted(void *arg, int fd)
{
	workers_adopt(arg, fd);
}

static int listen_on(struct master *m, const char *text, uint16_t port, struct listener **out, uint16_t *bound)
{
	struct net_addr a;
	int fd, ret;

	ret = net_addr_parse(text, port, &a);
	if (!ret)
		ret = net_listen(&a, 1024, &fd);
	if (ret == -EADDRINUSE)
		log_err("is another master running? --rpc_port chooses another port");
	if (ret)
		return ret;
	a.len = sizeof(a.ss);
	if (bound && !getsockname(fd, (struct sockaddr *)&a.ss, &a.len))
		*bound = net_addr_port(&a);
	ret = listener_open(m->svc.loop, fd, accepted, m, out);
	if (ret)
		close(fd);
	return ret;
}

static int listen_tcp(struct master *m)
{
	struct net_addr a;
	char host[64];
	int fd, ret;

	fd = svc_listen_fd("mooncake-master");
	if (fd >= 0) {
		a.len = sizeof(a.ss);
		if (!getsockname(fd, (struct sockaddr *)&a.ss, &a.len))
			m->port = net_addr_port(&a);
		return listener_open(m->svc.loop, fd, accepted, m, &m->tcp);
	}
	ret = settings_rpc_host(&m->set, host, sizeof(host));
	if (ret)
		return ret;
	ret = listen_on(m, host, (uint16_t)settings_rpc_port(&m->set), &m->tcp, &m->port);
	if (ret)
		return ret;
	if (!strcmp(host, "127.0.0.1"))
		log_info("serving this machine only; --rpc_address=0.0.0.0 serves others too");
	return 0;
}

static int listen_local(struct master *m)
{
	char path[NET_ADDR_TEXT];

	if (!strcmp(m->set.unix_path, "none"))
		return 0;
	if (!strcmp(m->set.unix_path, "auto"))
		snprintf(path, sizeof(path), "unix:@mooncake-master-%u", m->port);
	else
		snprintf(path, sizeof(path), "%s%s", strncmp(m->set.unix_path, "unix:", 5) ? "unix:" : "", m->set.unix_path);
	return listen_on(m, path, 0, &m->local, NULL);
}

/* ---- stopping ---- */

static void drained(struct loop_timer *t)
{
	struct master *m = container_of(t, struct master, drain);
	uint64_t now = clock_now_ns();

	if (workers_idle(m)) {
		loop_stop(m->svc.loop);
		return;
	}
	if (now >= m->stop_at_ns) {
		workers_cut(m);
		m->stop_at_ns = UINT64_MAX;
	}
	loop_timer_set(m->svc.loop, t, now + 2 * NSEC_PER_MSEC, drained);
}

static void stop(void *arg)
{
	struct master *m = arg;

	svc_stopping(&m->svc, "finishing what is under way");
	listener_close(m->tcp);
	listener_close(m->local);
	m->tcp = m->local = NULL;
	workers_drain(m);
	m->stop_at_ns = deadline_after_ns(STOP_NS);
	drained(&m->drain);
}

/* ---- from start to end ---- */

static int state_open(struct master *m)
{
	struct objects_opts oo = { .lease_ns = m->set.lease_ns, .soft_pin_ms = settings_rules(&m->set).soft_pin_ms };
	struct pools_opts po = { .ttl_ns = m->set.client_ttl_ns, .quiet_ns = QUIET_NS, .settle_ns = m->set.settle_ns };
	struct tasks_opts to = {
		.max_pending = (uint32_t)m->set.tasks_pending, .max_processing = (uint32_t)m->set.tasks_processing,
		.max_finished = (uint32_t)m->set.tasks_finished, .pending_ns = m->set.task_wait_ns,
		.max_retries = (uint32_t)m->set.task_retries,
	};
	int ret;

	m->started_ns = clock_now_ns();
	random_bytes(m->id, sizeof(m->id));
	ret = objects_open(&oo, &m->ix);
	if (ret)
		return ret;
	ret = tasks_open(&to, &m->tasks);
	if (ret)
		return ret;
	ret = pools_open(&po, m->ix, m->started_ns, &m->pools);
	if (ret)
		return ret;
	return workers_open(m, settings_workers(&m->set));
}

static int serve(struct master *m)
{
	char status[128];
	int ret;

	ret = listen_tcp(m);
	if (ret)
		return ret;
	ret = listen_local(m);
	if (ret)
		return ret;
	ret = admin_open(m);
	if (ret)
		return ret;
	tick(&m->tick);
	purge(&m->purge);
	if (m->set.report)
		report(&m->report);
	snprintf(status, sizeof(status), "serving on port %u, HTTP on port %u", m->port, m->http_port);
	log_info("Master service started on port %u: address %s, %u workers, HTTP port %u, lease %" PRIu64 " ms, client_ttl %" PRIu64
		 " s, version %s", m->port, m->set.rpc_address, m->nr_workers, m->http_port, m->set.lease_ns / NSEC_PER_MSEC,
		 m->set.client_ttl_ns / NSEC_PER_SEC, MC_VERSION);
	svc_ready(&m->svc, status);
	return loop_run(m->svc.loop);
}

static void finish(struct master *m)
{
	admin_close(m);
	listener_close(m->tcp);
	listener_close(m->local);
	workers_close(m);
	loop_timer_del(m->svc.loop, &m->tick);
	loop_timer_del(m->svc.loop, &m->purge);
	loop_timer_del(m->svc.loop, &m->report);
	pools_close(m->pools);
	tasks_close(m->tasks);
	objects_close(m->ix);
}

int main(int argc, char **argv)
{
	struct master *m = calloc(1, sizeof(*m));
	int ret;

	if (!m)
		return 1;
	ret = svc_open(&m->svc, "mooncake-master", settings_items, settings_nr, &m->set, argc, argv);
	if (ret) {
		free(m);
		return ret == 1 ? 0 : ret == -EINVAL ? 2 : 1;
	}
	m->svc.stop = stop;
	m->svc.arg = m;
	ret = state_open(m);
	if (!ret)
		ret = serve(m);
	finish(m);
	svc_close(&m->svc);
	free(m);
	return ret ? 1 : 0;
}
