// SPDX-License-Identifier: Apache-2.0
/* An owner's life: opened, drained, closed; and what other threads ask it. */
#include "pool/owner.h"

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/thread.h"
#include "pool/owner_private.h"

#define CLOSING_TICK_NS (20 * NSEC_PER_MSEC)

/* ---- opening ---- */

static int copy_text(char *dst, const char *src, const char *what)
{
	if (src && strlen(src) >= NET_ADDR_TEXT) {
		log_err("owner: %s is longer than %d characters: %s", what, NET_ADDR_TEXT - 1, src);
		return -EINVAL;
	}
	snprintf(dst, NET_ADDR_TEXT, "%s", src ? src : "");
	return 0;
}

static int copy_opts(struct owner *ow, const struct owner_opts *o)
{
	int ret;

	if (!o->master || !o->master[0]) {
		log_err("owner: no master address");
		return -EINVAL;
	}
	ret = copy_text(ow->master, o->master, "master address");
	if (!ret)
		ret = copy_text(ow->segment, o->segment, "segment name");
	if (!ret)
		ret = copy_text(ow->unix_path, o->unix_path, "unix path");
	if (o->metadata && strlen(o->metadata) < sizeof(ow->metadata))
		strcpy(ow->metadata, o->metadata);
	ow->refill_batch = o->refill_batch ? MIN(o->refill_batch, (unsigned)BATCH_MAX) : REFILL_BATCH;
	ow->group = o->group;
	ow->apart = o->apart;
	ow->put_idle_ns = o->put_idle_ns ? o->put_idle_ns : OWNER_PUT_IDLE_NS;
	ow->announce.patience_ns = o->announce_ns ? o->announce_ns : ANNOUNCE_NS;
	return ret;
}

static void default_unix_path(struct owner *ow)
{
	const struct dir_header *dir = ow->view->dir;
	char id[sizeof(dir->pool_id) * 2 + 1];

	snprintf(ow->unix_path, sizeof(ow->unix_path), "unix:@mooncake-pool-%s", hex_text(id, dir->pool_id, sizeof(dir->pool_id)));
}

static int listen_at(const char *text, bool local, int *fd)
{
	struct net_addr a;
	int ret;

	ret = net_addr_parse(text, 0, &a);
	if (ret)
		return ret;
	if (net_addr_is_unix(&a) != local) {
		log_err("owner: %s is not %s address", text, local ? "a unix:" : "a host:port");
		return -EINVAL;
	}
	ret = net_listen(&a, SOMAXCONN, fd);
	if (ret)
		log_err("owner: cannot listen at %s: %s", text, strerror(-ret));
	return ret;
}

/* What others are told: @advertise, or what was bound; for "every address" the host by which the engine is reached. */
static int choose_addr(struct owner *ow, const struct owner_opts *o, int fd)
{
	char host[NET_ADDR_TEXT], seg_host[NET_ADDR_TEXT];
	struct net_addr a = { .len = sizeof(a.ss) };
	uint16_t port;
	bool v6;
	int ret;

	if (o->advertise)
		return copy_text(ow->addr, o->advertise, "advertised address");
	if (getsockname(fd, (struct sockaddr *)&a.ss, &a.len))
		return -errno;
	net_addr_format(&a, ow->addr, sizeof(ow->addr));
	ret = net_split_host_port(ow->addr, host, sizeof(host), &port);
	if (ret || !net_host_is_any(host))
		return ret;
	if (net_split_host_port(ow->segment, seg_host, sizeof(seg_host), &port) || net_host_is_any(seg_host)) {
		log_err("owner: %s listens on every address: say which one others shall use", ow->addr);
		return -EINVAL;
	}
	port = net_addr_port(&a);
	v6 = strchr(seg_host, ':');
	ret = snprintf(ow->addr, sizeof(ow->addr), "%s%s%s:%u", v6 ? "[" : "", seg_host, v6 ? "]" : "", port);
	return (size_t)ret < sizeof(ow->addr) ? 0 : -EINVAL;
}

static int listen_all(struct owner *ow, const struct owner_opts *o)
{
	int unix_fd, tcp_fd = -1, ret;

	if (!ow->unix_path[0])
		default_unix_path(ow);
	ret = listen_at(ow->unix_path, true, &unix_fd);
	if (ret)
		return ret;
	if (o->listen) {
		ret = listen_at(o->listen, false, &tcp_fd);
		if (!ret)
			ret = choose_addr(ow, o, tcp_fd);
	}
	if (!ret)
		return serve_open(ow, unix_fd, tcp_fd);
	close(unix_fd);
	if (tcp_fd >= 0)
		close(tcp_fd);
	return ret;
}

static int begin_drain(void *arg);

static void evicted(void *arg, const struct key *key, uint64_t gen)
{
	withdraw_add(arg, key, gen);
}

/* Nothing can be served any more, and the master should know. The memory is zeroes by now, which nobody reads as an object. */
static void give_up(struct owner *ow)
{
	log_err("owner: the pool's memory was revoked; nothing of it is served any more");
	ow->revoked = true;
	begin_drain(ow);
	publish_fail_all(ow, -EKEYREVOKED);
	link_leave(ow);
	pthread_mutex_lock(&ow->lock);
	ow->seen.revoked = true;
	pthread_mutex_unlock(&ow->lock);
}

static void ticked(struct loop_timer *t)
{
	struct owner *ow = container_of(t, struct owner, tick);
	uint64_t now = clock_now_ns();

	if (!ow->revoked && !ow->closing && pool_revoked(ow->pool))
		give_up(ow);

	if (ow->closing) {
		serve_farewell(ow);
	} else if (!ow->revoked) {
		pool_drain_touches(ow->pool, now);
		link_tick(ow);
		serve_tick(ow, now);
	}
	put_tick(ow, now);
	loop_timer_set(ow->loop, t, now + (ow->closing ? CLOSING_TICK_NS : OWNER_TICK_NS), ticked);
}

static int begin(void *arg)
{
	struct owner *ow = arg;
	int ret;

	ret = loop_timer_set(ow->loop, &ow->tick, clock_now_ns() + OWNER_TICK_NS, ticked);
	if (!ret)
		link_start(ow);
	return ret;
}

static void init(struct owner *ow)
{
	pthread_cond_init(&ow->changed, NULL);
	pthread_mutex_init(&ow->lock, NULL);
	list_init(&ow->clients);
	list_init(&ow->puts);
	list_init(&ow->copies);
	list_init(&ow->publish.queue);
	list_init(&ow->publish.sent);
	list_init(&ow->publish.again);
	list_init(&ow->announce.writing);
	grant_init(ow);
	withdraw_init(ow);
	random_bytes(ow->id, sizeof(ow->id));
	node_id(ow->node);
	ow->seen.why = ow->link.why = -ECONNREFUSED;
	for (int i = 0; i < POOL_REGIONS_MAX; i++)
		ow->ro_fd[i] = -1;
}

static void owner_free(struct owner *ow)
{
	serve_stop(ow);
	loop_close(ow->loop);
	for (int i = 0; i < POOL_REGIONS_MAX; i++)
		if (ow->ro_fd[i] >= 0)
			close(ow->ro_fd[i]);
	ledger_close(ow);
	withdraw_fini(ow);
	scratch_fini(&ow->scratch);
	pthread_cond_destroy(&ow->changed);
	pthread_mutex_destroy(&ow->lock);
	free(ow);
}

int owner_open(const struct owner_opts *o, struct owner **out)
{
	struct owner *ow;
	int ret;

	ow = calloc(1, sizeof(*ow));
	if (!ow)
		return -ENOMEM;
	init(ow);
	ret = copy_opts(ow, o);
	if (ret)
		goto err_free;
	ret = loop_open(&ow->loop);
	if (ret)
		goto err_free;
	ow->pool = o->pool;
	if (!ow->pool) {
		ret = pool_create(&o->pool_opts, &ow->pool);
		if (ret)
			goto err_free;
	}
	ow->view = pool_view(ow->pool);
	pool_drain_touches(ow->pool, clock_now_ns()); /* times begin now, not at 0 */
	pool_on_evict(ow->pool, evicted, ow);
	ret = ledger_open(ow, o->ledger_fd);
	if (ret) {
		log_err("owner: the ledger of an earlier owner cannot be used: %s", strerror(-ret));
		goto err_pool;
	}
	ret = listen_all(ow, o);
	if (ret)
		goto err_pool;
	ret = begin(ow); /* nobody else is there yet */
	if (ret)
		goto err_pool;
	ret = loop_start(ow->loop, "mc-owner");
	if (ret)
		goto err_link;
	*out = ow;
	return 0;

err_link:
	ow->link.stopped = true; /* loop_close() runs what the connector posted, which drops its result */
	connector_join(ow);
err_pool:
	pool_on_evict(ow->pool, NULL, NULL);
	serve_stop(ow);
	serve_free(ow);
	loop_close(ow->loop);
	ow->loop = NULL;
	if (!o->pool)
		pool_close(ow->pool);
err_free:
	owner_free(ow);
	return ret;
}

/* ---- waiting for the loop ---- */

/* True: the wait ended because of the deadline. The caller holds the lock. */
static bool wait_change(struct owner *ow, uint64_t deadline_ns)
{
	return cond_wait_until(&ow->changed, &ow->lock, deadline_ns) == -ETIMEDOUT;
}

static bool wait_flag(struct owner *ow, const bool *flag, uint64_t deadline_ns)
{
	bool set;

	pthread_mutex_lock(&ow->lock);
	while (!*flag && !wait_change(ow, deadline_ns))
		;
	set = *flag;
	pthread_mutex_unlock(&ow->lock);
	return set;
}

int owner_joined(struct owner *ow, uint64_t deadline_ns)
{
	int ret = 0;

	pthread_mutex_lock(&ow->lock);
	while (!ow->seen.synced && !ow->seen.version)
		if (wait_change(ow, deadline_ns))
			break;
	if (!ow->seen.synced)
		ret = ow->seen.why ? ow->seen.why : -ETIMEDOUT;
	pthread_mutex_unlock(&ow->lock);
	return ret;
}

/* ---- closing ---- */

static bool work_done(const struct owner *ow)
{
	const struct client *c;

	list_for_each_entry(c, &ow->clients, node)
		if (c->pending || c->put)
			return false;
	return true;
}

/* Those whose stream ended cannot return anything: they are not waited for. */
static bool space_returned(const struct owner *ow)
{
	const struct client *c;

	list_for_each_entry(c, &ow->clients, node)
		if (c->conn && client_held_bytes(c))
			return false;
	return true;
}

static bool space_outside(const struct owner *ow)
{
	const struct client *c;

	list_for_each_entry(c, &ow->clients, node)
		if (!c->exited && client_held_bytes(c))
			return true;
	return false;
}

static bool streams_gone(const struct owner *ow)
{
	const struct client *c;

	if (ow->link.conn || ow->link.connector.running || ow->nr_copies)
		return false;
	list_for_each_entry(c, &ow->clients, node)
		if (c->conn || c->pending)
			return false;
	return true;
}

void owner_check(struct owner *ow)
{
	if (!ow->closing)
		return;
	pthread_mutex_lock(&ow->lock);
	ow->seen.done = work_done(ow);
	ow->seen.quiet = ow->seen.done && space_returned(ow);
	ow->seen.empty = streams_gone(ow);
	pthread_cond_broadcast(&ow->changed);
	pthread_mutex_unlock(&ow->lock);
}

static int begin_drain(void *arg)
{
	struct owner *ow = arg;

	if (ow->draining)
		return 0;
	ow->draining = true;
	link_tick(ow);
	return 0;
}

bool owner_revoked(struct owner *ow)
{
	bool gone;

	pthread_mutex_lock(&ow->lock);
	gone = ow->seen.revoked;
	pthread_mutex_unlock(&ow->lock);
	return gone;
}

void owner_drain(struct owner *ow)
{
	loop_call(ow->loop, begin_drain, ow);
}

static int begin_close(void *arg)
{
	struct owner *ow = arg;

	begin_drain(ow);
	ow->closing = true;
	serve_stop(ow);
	pool_farewell(ow->pool);
	serve_farewell(ow);
	loop_timer_set(ow->loop, &ow->tick, clock_now_ns() + CLOSING_TICK_NS, ticked);
	owner_check(ow);
	return 0;
}

static int begin_leave(void *arg)
{
	struct owner *ow = arg;

	publish_fail_all(ow, -ESHUTDOWN);
	withdraw_flush(ow);
	link_leave(ow);
	return 0;
}

static int cut(void *arg)
{
	struct owner *ow = arg;

	loop_timer_del(ow->loop, &ow->tick);
	link_stop(ow);
	copies_cut(ow);
	publish_fail_all(ow, -ESHUTDOWN);
	serve_close(ow);
	owner_check(ow);
	return 0;
}

static int forget_clients(void *arg)
{
	struct owner *ow = arg;
	int ret = space_outside(ow) ? -EBUSY : 0;

	serve_free(ow);
	return ret;
}

int owner_close_then(struct owner *ow, uint64_t deadline_ns, void (*last)(void *arg), void *arg)
{
	int ret;

	if (!ow)
		return 0;
	loop_call(ow->loop, begin_close, ow);
	wait_flag(ow, &ow->seen.quiet, MIN(deadline_ns, deadline_after_ns(OWNER_RETURN_NS)));
	wait_flag(ow, &ow->seen.done, deadline_ns);
	loop_call(ow->loop, begin_leave, ow);
	wait_flag(ow, &ow->seen.left, deadline_after_ns(2 * OWNER_LEAVE_NS));
	loop_call(ow->loop, cut, ow);
	wait_flag(ow, &ow->seen.empty, DEADLINE_NEVER); /* every stream was closed, every connecting ends */
	if (last)
		last(arg);
	ret = loop_call(ow->loop, forget_clients, ow);
	if (ret)
		log_info("owner: closed while a process that still lives may write to the pool");
	loop_close(ow->loop);
	ow->loop = NULL;
	pool_close(ow->pool);
	owner_free(ow);
	return ret;
}

int owner_close(struct owner *ow, uint64_t deadline_ns)
{
	return owner_close_then(ow, deadline_ns, NULL, NULL);
}

static int empty(void *arg)
{
	struct owner *ow = arg;

	pool_drop_prefix(ow->pool, NULL, 0, true, 0, 0);
	return 0;
}

void owner_empty(struct owner *ow)
{
	loop_call(ow->loop, empty, ow);
}

/* ---- asking ---- */

const struct pool_view *owner_view(const struct owner *ow)
{
	return ow->view;
}

const char *owner_unix_path(const struct owner *ow)
{
	return ow->unix_path;
}

const char *owner_addr(const struct owner *ow)
{
	return ow->addr;
}

void owner_pool_id(const struct owner *ow, uint8_t out[16])
{
	memcpy(out, ow->view->dir->pool_id, 16);
}

struct ask {
	struct owner *ow;
	void *out;
};

static int ask_stat(void *arg)
{
	struct ask *a = arg;

	pool_stat(a->ow->pool, a->out);
	return 0;
}

void owner_stat(struct owner *ow, struct pool_stat *out)
{
	loop_call(ow->loop, ask_stat, &(struct ask){ ow, out });
}

static int ask_status(void *arg)
{
	struct ask *a = arg;

	return owner_status_buf(a->ow, a->out);
}

int owner_status_json(struct owner *ow, struct buf *out)
{
	return loop_call(ow->loop, ask_status, &(struct ask){ ow, out });
}
