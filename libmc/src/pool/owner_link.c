// SPDX-License-Identifier: Apache-2.0
/*
 * The owner's connection to the master. It comes back for as long as the owner is open, and each time the master is told
 * everything: which pool this is, all its objects, and from then on every change.
 *
 *	DOWN ─▸ CONNECTING ─▸ HELLO ─▸ JOINING ─▸ UP (refilling, synced)
 *	  ▴         │            │         │        │
 *	  └─ wait ──┴────────────┴── LOST ─┴────────┘
 */
#include <stdio.h>
#include <unistd.h>

#include <mooncake/mooncake.h>

#include "pool/owner_private.h"

static void link_retry(struct owner *ow);

bool link_is_open(const struct owner *ow)
{
	const struct master_link *l = &ow->link;

	return l->state >= LINK_HELLO && l->state <= LINK_UP;
}

static void tell_waiters(struct owner *ow, bool synced, int why)
{
	pthread_mutex_lock(&ow->lock);
	ow->seen.synced = synced;
	ow->seen.why = why;
	ow->seen.version = why == -EPROTO;
	pthread_cond_broadcast(&ow->changed);
	pthread_mutex_unlock(&ow->lock);
}

void link_synced(struct owner *ow)
{
	tell_waiters(ow, true, 0);
}

void link_lose(struct owner *ow, const char *why)
{
	struct master_link *l = &ow->link;

	if (!link_is_open(ow))
		return;
	l->state = LINK_LOST;
	if (why)
		log_warn("owner: master %s: %s: connecting anew", ow->master, why);
	refill_stop(ow);
	withdraw_reset(ow);
	conn_close(l->conn);
}

void link_send(struct owner *ow, uint16_t type, const struct buf *b)
{
	struct master_link *l = &ow->link;

	if (l->state != LINK_UP)
		return;
	if (b->err || conn_call(l->conn, type, b->data, b->len, DEADLINE_NEVER, NULL, NULL))
		link_lose(ow, "a message could not be sent");
	else if (conn_out_bytes(l->conn) > LINK_OUT_MAX)
		link_lose(ow, "does not read what it is sent");
}

/* ---- what the master asks ---- */

static void link_request(struct conn_req *r)
{
	struct owner *ow = conn_user(r->conn);

	scratch_reset(&ow->scratch);
	if (r->frame.flags & NET_ONEWAY)
		return; /* nothing is defined: a newer master's hint */
	if (ow->link.state != LINK_UP)
		conn_reply_status(r, -ESHUTDOWN);
	else if (r->frame.type == MSG_DROP)
		drop_request(ow, r);
	else if (r->frame.type == MSG_DROP_MATCH)
		drop_match_request(ow, r);
	else if (r->frame.type == MSG_COPY)
		copy_request(ow, r);
	else
		conn_reply_status(r, -EOPNOTSUPP);
}

static void link_closed(struct conn *c, int err)
{
	struct owner *ow = conn_user(c);
	struct master_link *l = &ow->link;

	if (l->state != LINK_LOST && !l->stopped)
		log_warn("owner: the master at %s went away (%s): reads go on, puts wait for it", ow->master,
			 err ? strerror(-err) : "it closed the connection");
	refill_stop(ow);
	withdraw_reset(ow);
	l->conn = NULL;
	l->state = LINK_DOWN;
	if (l->why != -EPROTO)
		l->why = -ECONNREFUSED;
	tell_waiters(ow, false, l->why);
	link_retry(ow);
	owner_check(ow);
}

static const struct conn_ops link_ops = {
	.request = link_request,
	.closed = link_closed,
};

/* ---- coming up ---- */

static void send_stat(struct owner *ow)
{
	struct pool_stat st;
	struct msg_pool_stat m;
	struct buf b = BUF_INIT;

	pool_stat(ow->pool, &st);
	m = (struct msg_pool_stat){
		.flags = ow->draining ? POOL_DRAINING : 0,
		.capacity = st.capacity,
		.used = st.used,
		.objects = st.objects,
		.evicted = st.evicted,
		.evicted_bytes = st.evicted_bytes,
	};
	msg_pool_stat_encode(&m, &b);
	link_send(ow, MSG_POOL_STAT, &b);
	buf_fini(&b);
}

/* Something is always under way, if only the last tick's heartbeat: a machine that acknowledges nothing shows within three. */
void link_tick(struct owner *ow)
{
	struct master_link *l = &ow->link;

	if (l->state != LINK_UP)
		return;
	if (net_watch_cut_off(&l->watch, conn_fd(l->conn)))
		link_lose(ow, "its machine is cut off");
	else
		send_stat(ow);
}

static void joined(void *arg, int status, const uint8_t *body, size_t len)
{
	struct owner *ow = arg;
	struct master_link *l = &ow->link;
	struct msg_pool_join_reply rep;

	if (l->state != LINK_JOINING)
		return;
	if (!status)
		status = msg_pool_join_reply_decode(body, len, &ow->scratch, &rep);
	if (status) {
		log_warn_limited("owner: master %s does not take pool (%s)", ow->master, strerror(-status));
		l->failures++;
		link_lose(ow, NULL);
		return;
	}
	if (rep.has_rules)
		pool_set_rules(ow->pool, &rep.rules);
	l->index = rep.index;
	l->state = LINK_UP;
	l->watch = (struct net_watch){ 0 };
	l->failures = 0;
	l->why = -ETIMEDOUT;
	l->joins++;
	tell_waiters(ow, false, l->why);
	log_info("owner: joined master %s as pool %u", ow->master, rep.index);
	send_stat(ow);
	publish_kick(ow); /* somebody waits for these */
	refill_start(ow);
}

static struct key key_of(const char *text)
{
	return (struct key){ text, (uint16_t)strlen(text) };
}

static void send_join(struct owner *ow)
{
	const struct pool_view *v = ow->view;
	struct msg_pool_join m = { 0 };
	struct buf b = BUF_INIT;
	struct pool_stat st;
	int ret;

	pool_stat(ow->pool, &st);
	m.pool = (struct pool_info){
		.epoch = v->dir->epoch,
		.flags = ow->draining ? POOL_DRAINING : 0,
		.segment = key_of(ow->segment),
		.unix_path = key_of(ow->apart ? "" : ow->unix_path),
		.addr = key_of(ow->addr),
		.capacity = st.capacity,
		.used = st.used,
		.nr_regions = (uint16_t)v->nr_regions,
	};
	memcpy(m.pool.id, v->dir->pool_id, sizeof(m.pool.id));
	memcpy(m.pool.node, ow->node, sizeof(m.pool.node));
	for (unsigned i = 0; i < v->nr_regions; i++)
		m.pool.region[i] = (struct region_info){ (uintptr_t)v->region[i].base, v->region[i].size };
	msg_pool_join_encode(&m, &b);
	ow->link.state = LINK_JOINING;
	ret = b.err;
	if (!ret)
		ret = conn_call(ow->link.conn, MSG_POOL_JOIN, b.data, b.len, deadline_after_ns(OWNER_REPLY_NS), joined, ow);
	buf_fini(&b);
	if (ret)
		link_lose(ow, "join failed");
}

static int hello_accept(struct owner *ow, int status, const uint8_t *body, size_t len, struct msg_hello_reply *rep)
{
	int ret = 0;

	if (!status || len)
		ret = msg_hello_reply_decode(body, len, &ow->scratch, rep);
	if (status == -EPROTO && !ret && len) {
		log_err_limited("owner: master %s speaks protocol version %u at most, this node %u to %u: run the same release",
				ow->master, rep->version, PROTO_VERSION_MIN, PROTO_VERSION);
		return -EPROTO;
	}
	if (status)
		return status;
	if (!ret && (rep->version < PROTO_VERSION_MIN || rep->version > PROTO_VERSION))
		ret = -EBADMSG;
	return ret;
}

static void greeted(void *arg, int status, const uint8_t *body, size_t len)
{
	struct owner *ow = arg;
	struct master_link *l = &ow->link;
	struct msg_hello_reply rep = { 0 };

	if (l->state != LINK_HELLO)
		return;
	status = hello_accept(ow, status, body, len, &rep);
	if (status) {
		if (status != -EPROTO)
			log_warn_limited("owner: master %s: hello failed: %s", ow->master, strerror(-status));
		l->failures++;
		l->why = status == -EPROTO ? -EPROTO : -ECONNREFUSED;
		link_lose(ow, NULL);
		return;
	}
	memcpy(l->master_id, rep.id, sizeof(l->master_id));
	if (rep.lease_ns)
		l->lease_ns = rep.lease_ns;
	send_join(ow);
}

static void send_hello(struct owner *ow)
{
	struct msg_hello m = {
		.version_min = PROTO_VERSION_MIN,
		.version_max = PROTO_VERSION,
		.role = ROLE_OWNER,
		.name = key_of(ow->segment[0] ? ow->segment : ow->unix_path),
		.software = key_of(MC_VERSION),
	};
	struct buf b = BUF_INIT;
	int ret;

	memcpy(m.id, ow->id, sizeof(m.id));
	memcpy(m.node, ow->node, sizeof(m.node));
	msg_hello_encode(&m, &b);
	ow->link.state = LINK_HELLO;
	ret = b.err;
	if (!ret)
		ret = conn_call(ow->link.conn, MSG_HELLO, b.data, b.len, deadline_after_ns(OWNER_REPLY_NS), greeted, ow);
	buf_fini(&b);
	if (ret)
		link_lose(ow, "hello could not be sent");
}

/* ---- connecting ---- */

void link_connected(struct owner *ow, int fd, int err)
{
	struct master_link *l = &ow->link;
	const struct conn_limits lim = { 0 };

	l->state = LINK_DOWN;
	if (!err && l->stopped) {
		close(fd);
	} else if (!err) {
		err = conn_open(ow->loop, fd, &link_ops, &lim, ow, &l->conn);
		if (err)
			close(fd);
	}
	if (err) {
		if (!l->failures++)
			log_warn("owner: master %s: %s: trying until it answers", ow->master, strerror(-err));
		l->why = -ECONNREFUSED;
		tell_waiters(ow, false, l->why);
		link_retry(ow);
	} else if (!l->stopped) {
		send_hello(ow);
	}
	owner_check(ow);
}

static void link_connect(struct owner *ow)
{
	struct master_link *l = &ow->link;
	int ret;

	l->state = LINK_CONNECTING;
	ret = connector_start(ow);
	if (ret) {
		l->state = LINK_DOWN;
		log_warn_limited("owner: no thread to connect to the master: %s", strerror(-ret));
		link_retry(ow);
	}
}

static void retry_now(struct loop_timer *t)
{
	struct owner *ow = container_of(t, struct owner, link.retry);

	if (ow->link.state == LINK_DOWN && !ow->link.stopped)
		link_connect(ow);
}

/* 50 ms, 100 ms … 1 s, each between a half and all of it, so that the nodes of a dead master do not come in step. */
static void link_retry(struct owner *ow)
{
	struct master_link *l = &ow->link;
	uint64_t ns = LINK_BACKOFF_MAX_NS, part;

	if (l->stopped)
		return;
	if (l->failures < 5)
		ns = MIN(LINK_BACKOFF_MIN_NS << l->failures, LINK_BACKOFF_MAX_NS);
	random_bytes(&part, sizeof(part));
	ns = ns / 2 + part % (ns / 2);
	if (loop_timer_set(ow->loop, &l->retry, clock_now_ns() + ns, retry_now))
		log_err("owner: no memory for a timer: the master is not looked for any more");
}

void link_start(struct owner *ow)
{
	ow->link.lease_ns = OWNER_LEASE_NS;
	link_connect(ow);
}

void link_stop(struct owner *ow)
{
	struct master_link *l = &ow->link;

	l->stopped = true;
	loop_timer_del(ow->loop, &l->retry);
	if (l->conn && l->state != LINK_LOST) {
		l->state = LINK_LOST;
		refill_stop(ow);
		conn_close(l->conn);
	}
}

/* ---- leaving ---- */

static void left(void *arg, int status, const uint8_t *body, size_t len)
{
	struct owner *ow = arg;

	pthread_mutex_lock(&ow->lock);
	ow->seen.left = true;
	pthread_cond_broadcast(&ow->changed);
	pthread_mutex_unlock(&ow->lock);
}

void link_leave(struct owner *ow)
{
	struct master_link *l = &ow->link;

	l->stopped = true;
	if (l->state != LINK_UP ||
	    conn_call(l->conn, MSG_POOL_LEAVE, NULL, 0, deadline_after_ns(OWNER_LEAVE_NS), left, ow))
		left(ow, 0, NULL, 0);
}
