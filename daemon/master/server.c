// SPDX-License-Identifier: Apache-2.0
/* Workers: threads with a loop each, the connections they own, and who handles which message. */
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "master.h"

#define OUT_KEEP MiB /* one huge answer must not hold its memory for ever */

static const struct msg_kind {
	handler fn;
	const char *name;
	bool one_way; /* may come without asking for an answer */
	bool owner;   /* only after POOL_JOIN */
} kinds[] = {
	[MSG_POOL_JOIN] = { on_join, "POOL_JOIN" },
	[MSG_POOL_STAT] = { on_stat, "POOL_STAT", .one_way = true, .owner = true },
	[MSG_POOL_SYNCED] = { on_synced, "POOL_SYNCED", .one_way = true, .owner = true },
	[MSG_POOL_LEAVE] = { on_leave, "POOL_LEAVE", .owner = true },
	[MSG_PUBLISH] = { on_publish, "PUBLISH", .owner = true },
	[MSG_WITHDRAW] = { on_withdraw, "WITHDRAW", .one_way = true, .owner = true },
	[MSG_STORED] = { on_stored, "STORED", .one_way = true, .owner = true },
	[MSG_LOCATE] = { on_locate, "LOCATE" },
	[MSG_EXISTS] = { on_exists, "EXISTS" },
	[MSG_REMOVE] = { on_remove, "REMOVE" },
	[MSG_REMOVE_MATCH] = { on_remove_match, "REMOVE_MATCH" },
	[MSG_LIST] = { on_list, "LIST" },
	[MSG_POOLS] = { on_pools, "POOLS" },
	[MSG_STATUS] = { on_status, "STATUS" },
	[MSG_CLEAR] = { on_clear, "CLEAR" },
	[MSG_TASK_CREATE] = { on_task_create, "TASK_CREATE" },
	[MSG_TASK_QUERY] = { on_task_query, "TASK_QUERY" },
};

void reply_out(struct worker *w, struct conn_req *r)
{
	if (w->out.err) {
		conn_reply_status(r, w->out.err);
		return;
	}
	conn_reply(r, &(struct conn_reply){ .body = w->out.data, .body_len = w->out.len });
	if (w->out.cap > OUT_KEEP)
		buf_fini(&w->out);
}

/* ---- a connection ---- */

/* The peer gets the reason, then the stream ends: what follows a bad message cannot be trusted either. */
static void refuse(struct peer *p, struct conn_req *r, int err, const char *why)
{
	struct conn *c = p->conn;

	count(p->w, CNT_BAD, 1);
	log_warn_limited("connection of %s: message %u refused, %s; closing it", p->name, r->frame.type, why);
	if (!(r->frame.flags & NET_ONEWAY))
		conn_reply_status(r, err);
	conn_drain(c);
}

static int greet(struct peer *p, struct conn_req *r)
{
	struct worker *w = p->w;
	struct msg_hello m;
	struct msg_hello_reply rep = {
		.version = PROTO_VERSION,
		.lease_ns = w->m->set.lease_ns,
		.view = pools_view(w->m->pools),
		.software = { MC_VERSION, sizeof(MC_VERSION) - 1 },
	};
	int ret;

	ret = msg_hello_decode(r->body, r->frame.body_len, &w->scratch, &m);
	if (ret)
		return ret;
	snprintf(p->name, sizeof(p->name), "%.*s", m.name.len, (const char *)m.name.data);
	if (m.version_min <= PROTO_VERSION && m.version_max >= PROTO_VERSION_MIN)
		rep.version = MIN(m.version_max, (uint16_t)PROTO_VERSION);
	memcpy(rep.id, w->m->id, sizeof(rep.id));
	buf_reset(&w->out);
	msg_hello_reply_encode(&rep, &w->out);
	if (m.version_min > PROTO_VERSION || m.version_max < PROTO_VERSION_MIN) {
		struct conn *c = p->conn;

		count(w, CNT_BAD, 1);
		log_warn_limited("%s (%.*s) speaks protocol versions %u to %u, this master %u to %u: upgrade the older one", p->name,
				 m.software.len, (const char *)m.software.data, m.version_min, m.version_max, PROTO_VERSION_MIN,
				 PROTO_VERSION);
		conn_reply(r, &(struct conn_reply){ .status = -EPROTO, .body = w->out.data, .body_len = w->out.len });
		conn_drain(c);
		return 0;
	}
	p->greeted = true;
	p->version = rep.version;
	p->role = m.role >= ROLE_CLIENT && m.role <= ROLE_ENGINE ? m.role : 0;
	atomic_fetch_add(&w->nr_peers[p->role], 1);
	reply_out(w, r);
	return 0;
}

static void on_request(struct conn_req *r)
{
	struct peer *p = conn_user(r->conn);
	struct worker *w = p->w;
	const struct msg_kind *k = r->frame.type < ARRAY_SIZE(kinds) ? &kinds[r->frame.type] : NULL;
	bool one_way = r->frame.flags & NET_ONEWAY;
	int ret;

	scratch_reset(&w->scratch);
	if (r->frame.type == MSG_HELLO && !p->greeted && !one_way) {
		ret = greet(p, r);
		if (ret)
			refuse(p, r, ret, "HELLO is malformed");
		return;
	}
	if (!p->greeted) {
		refuse(p, r, -EPROTO, "HELLO comes first");
		return;
	}
	if (!k || !k->fn || (one_way && !k->one_way)) {
		refuse(p, r, -EPROTO, "it has no place in this conversation");
		return;
	}
	if (k->owner && !p->joined) {
		refuse(p, r, -EPROTO, "POOL_JOIN comes first");
		return;
	}
	ret = k->fn(p, r);
	if (ret == -EBADMSG)
		refuse(p, r, ret, "it is malformed");
	else if (!one_way && (ret || k->one_way))
		conn_reply_status(r, ret);
}

static void on_closed(struct conn *c, int err)
{
	struct peer *p = conn_user(c);

	if (err && err != -ECONNRESET && err != -EPIPE)
		log_warn_limited("connection of %s ended: %s", p->name, strerror(-err));
	if (p->joined)
		owner_gone(p, false);
	if (p->greeted)
		atomic_fetch_sub(&p->w->nr_peers[p->role], 1);
	atomic_fetch_sub(&p->w->nr_conns, 1);
	list_del(&p->node);
	free(p);
}

static const struct conn_ops peer_ops = { .request = on_request, .closed = on_closed };

/* ---- new connections ---- */

struct adoption {
	struct loop_work work;
	struct worker *w;
	int fd;
};

static void adopt(struct loop_work *work)
{
	struct adoption *a = container_of(work, struct adoption, work);
	struct worker *w = a->w;
	struct peer *p = calloc(1, sizeof(*p));
	int ret = -ESHUTDOWN;

	if (!p || w->stopping)
		goto err;
	*p = (struct peer){ .w = w, .name = "a new peer" };
	ret = conn_open(w->loop, a->fd, &peer_ops, NULL, p, &p->conn);
	if (ret)
		goto err;
	list_append(&w->peers, &p->node);
	free(a);
	return;

err:
	if (ret != -ESHUTDOWN)
		log_err_limited("cannot serve a new connection: %s", strerror(-ret));
	atomic_fetch_sub(&w->nr_conns, 1);
	close(a->fd);
	free(p);
	free(a);
}

void workers_adopt(struct master *m, int fd)
{
	struct adoption *a = malloc(sizeof(*a));
	struct worker *w = &m->workers[m->next_worker++ % m->nr_workers];

	if (!a) {
		close(fd);
		return;
	}
	*a = (struct adoption){ .work.fn = adopt, .w = w, .fd = fd };
	atomic_fetch_add(&w->nr_conns, 1);
	loop_post(w->loop, &a->work);
}

/* ---- all workers ---- */

int workers_open(struct master *m, unsigned nr)
{
	char name[16];
	int ret = 0;

	m->workers = calloc(nr, sizeof(*m->workers));
	if (!m->workers)
		return -ENOMEM;
	for (; m->nr_workers < nr; m->nr_workers++) {
		struct worker *w = &m->workers[m->nr_workers];

		w->m = m;
		w->index = m->nr_workers;
		list_init(&w->peers);
		ret = loop_open(&w->loop);
		if (ret)
			break;
		snprintf(name, sizeof(name), "mc-worker-%u", w->index);
		ret = loop_start(w->loop, name);
		if (ret) {
			loop_close(w->loop);
			break;
		}
	}
	if (ret)
		workers_close(m);
	return ret;
}

static int drain(void *arg)
{
	struct worker *w = arg;
	struct peer *p, *tmp;

	w->stopping = true;
	list_for_each_entry_safe(p, tmp, &w->peers, node)
		conn_drain(p->conn);
	return 0;
}

static int cut(void *arg)
{
	struct worker *w = arg;
	struct peer *p, *tmp;

	list_for_each_entry_safe(p, tmp, &w->peers, node)
		conn_close(p->conn);
	return 0;
}

void workers_drain(struct master *m)
{
	for (unsigned i = 0; i < m->nr_workers; i++)
		loop_call(m->workers[i].loop, drain, &m->workers[i]);
}

void workers_cut(struct master *m)
{
	for (unsigned i = 0; i < m->nr_workers; i++)
		loop_call(m->workers[i].loop, cut, &m->workers[i]);
}

bool workers_idle(const struct master *m)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < m->nr_workers; i++)
		nr += atomic_load(&m->workers[i].nr_conns);
	return !nr && !atomic_load(&m->ops);
}

void workers_close(struct master *m)
{
	if (!m->workers)
		return;
	for (unsigned i = 0; i < m->nr_workers; i++)
		loop_close(m->workers[i].loop);
	for (unsigned i = 0; i < m->nr_workers; i++) {
		scratch_fini(&m->workers[i].scratch);
		buf_fini(&m->workers[i].out);
	}
	free(m->workers);
	m->workers = NULL;
	m->nr_workers = 0;
}

uint64_t counted(const struct master *m, enum counter c)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < m->nr_workers; i++)
		sum += atomic_load_explicit(&m->workers[i].counters[c], memory_order_relaxed);
	return sum;
}

unsigned peers_of_role(const struct master *m, enum proto_role role)
{
	unsigned sum = 0;

	for (unsigned i = 0; i < m->nr_workers; i++)
		sum += atomic_load(&m->workers[i].nr_peers[role]);
	return sum;
}
