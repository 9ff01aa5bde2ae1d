// SPDX-License-Identifier: Apache-2.0
/* An owner's clients: who may come in, what they may ask, and what stays of them when their connection ends. */
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <mooncake/mooncake.h>

#include "pool/owner_private.h"

static bool in_groups(int fd, gid_t group)
{
	gid_t groups[256];
	socklen_t len = sizeof(groups);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len))
		return false;
	for (size_t i = 0; i < len / sizeof(*groups); i++)
		if (groups[i] == group)
			return true;
	return false;
}

/* Whoever comes in can read every object of the pool and, once it was granted space, write where others read. */
bool client_allowed(const struct owner *ow, int fd, const struct net_cred *cred)
{
	if (cred->uid == geteuid() || cred->uid == 0)
		return true;
	return ow->group && (cred->gid == ow->group || in_groups(fd, ow->group));
}

void reply_buf(struct conn_req *r, struct buf *b)
{
	if (b->err)
		conn_reply_status(r, b->err);
	else
		conn_reply(r, &(struct conn_reply){ .body = b->data, .body_len = b->len });
	buf_fini(b);
}

/* ---- requests ---- */

static void hello_request(struct client *c, struct conn_req *r)
{
	struct owner *ow = c->ow;
	struct msg_hello_reply rep = { .lease_ns = ow->link.lease_ns };
	struct buf b = BUF_INIT;
	struct msg_hello m;
	int ret;

	ret = msg_hello_decode(r->body, r->frame.body_len, &ow->scratch, &m);
	if (ret) {
		conn_reply_status(r, ret);
		conn_drain(c->conn);
		return;
	}
	rep.version = PROTO_VERSION;
	memcpy(rep.id, ow->id, sizeof(rep.id));
	rep.software = (struct key){ MC_VERSION, sizeof(MC_VERSION) - 1 };
	if (m.version_min > PROTO_VERSION || m.version_max < PROTO_VERSION_MIN) {
		log_warn_limited("owner: a client speaks protocol versions %u to %u, this node %u to %u: refused",
				 m.version_min, m.version_max, PROTO_VERSION_MIN, PROTO_VERSION);
		msg_hello_reply_encode(&rep, &b);
		conn_reply(r, &(struct conn_reply){ .status = -EPROTO, .body = b.data, .body_len = b.len });
		buf_fini(&b);
		conn_drain(c->conn);
		return;
	}
	rep.version = MIN(m.version_max, (uint16_t)PROTO_VERSION);
	c->hello = true;
	msg_hello_reply_encode(&rep, &b);
	reply_buf(r, &b);
}

static void status_request(struct client *c, struct conn_req *r)
{
	struct buf b = BUF_INIT;

	if (owner_status_buf(c->ow, &b))
		b.err = -ENOMEM;
	reply_buf(r, &b);
}

static const struct request_kind {
	uint16_t type;
	bool local; /* shares memory or processes of this node */
	void (*fn)(struct client *c, struct conn_req *r);
} kinds[] = {
	{ MSG_HELLO, false, hello_request },  { MSG_STATUS, false, status_request }, { MSG_PUT, false, put_request },
	{ MSG_ATTACH, true, attach_request }, { MSG_GRANT, true, grant_request },    { MSG_RETURN, true, return_request },
	{ MSG_COMMIT, true, commit_request }, { MSG_ANNOUNCE, true, announce_request },
};

static const struct request_kind *kind_of(uint16_t type)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (kinds[i].type == type)
			return &kinds[i];
	return NULL;
}

static void client_request(struct conn_req *r)
{
	struct client *c = conn_user(r->conn);
	const struct request_kind *k = kind_of(r->frame.type);
	bool oneway = r->frame.flags & NET_ONEWAY;

	scratch_reset(&c->ow->scratch);
	/* It would be gone when this returns, and none of ours may be. */
	if (oneway) {
		log_warn_limited("owner: a client sent message %u without wanting its reply: disconnected", r->frame.type);
		conn_close(c->conn);
	} else if (c->refused) {
		conn_reply_status(r, -EPERM);
		conn_drain(c->conn);
	} else if (!c->hello && r->frame.type != MSG_HELLO) {
		conn_reply_status(r, -EPROTO);
		conn_drain(c->conn);
	} else if (k && (c->local || !k->local)) {
		k->fn(c, r);
	} else {
		conn_reply_status(r, -EOPNOTSUPP);
	}
}

static int client_payload(struct conn_req *r, struct iovec *iov, int max)
{
	struct client *c = conn_user(r->conn);

	if (c->refused)
		return -EPERM;
	if (!c->hello || r->frame.flags & NET_ONEWAY)
		return -EPROTO;
	if (r->frame.type != MSG_PUT)
		return -EOPNOTSUPP;
	scratch_reset(&c->ow->scratch);
	return put_payload(c, r, iov, max);
}

/* ---- coming and going ---- */

uint64_t client_held_bytes(const struct client *c)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; c->holder && i < POOL_REGIONS_MAX; i++)
		bytes += c->holder->held[i].bytes + c->holder->announced[i].bytes;
	return bytes;
}

static void client_free(struct client *c)
{
	struct owner *ow = c->ow;

	attach_undo(c);
	announce_forget(c);
	if (c->holder) {
		pool_holder_fini(ow->pool, c->holder);
		free(c->holder);
	}
	ledger_leave(c);
	if (c->exit.fd >= 0) {
		loop_fd_del(ow->loop, &c->exit);
		close(c->exit.fd);
	}
	list_del(&c->node);
	ow->nr_clients--;
	free(c);
}

/*
 * Space that was granted comes back when nobody can write there any more: not while the process lives, even when it closed the
 * connection, because one of its threads may still be in the middle of a copy.
 */
void client_release(struct client *c)
{
	struct owner *ow = c->ow;
	uint64_t held;

	if (c->conn || c->pending)
		return;
	held = client_held_bytes(c);
	if (held && !c->exited) {
		log_info("owner: process %d left and holds %llu bytes until it ends", c->cred.pid, (unsigned long long)held);
	} else {
		client_free(c);
	}
	owner_check(ow);
}

static void client_closed(struct conn *conn, int err)
{
	struct client *c = conn_user(conn);

	put_abandon(c);
	attach_undo(c);
	c->conn = NULL;
	client_release(c);
}

static const struct conn_ops client_ops = {
	.payload = client_payload,
	.request = client_request,
	.closed = client_closed,
};

static void refuse(struct client *c)
{
	struct owner *ow = c->ow;

	c->refused = true;
	if (ow->refused_any && ow->refused_uid == c->cred.uid)
		return;
	ow->refused_any = true;
	ow->refused_uid = c->cred.uid;
	log_warn("owner: process %d of user %u may not use %s: run it as user %u, or let its group in", c->cred.pid,
		 c->cred.uid, ow->unix_path, geteuid());
}

static void client_new(struct owner *ow, int fd, bool local)
{
	const struct conn_limits lim = { .requests_max = OWNER_REQUESTS_MAX };
	struct client *c = NULL;
	struct net_cred cred = { 0 };
	int ret = -EMFILE;

	if (ow->nr_clients >= OWNER_CLIENTS_MAX)
		goto err;
	ret = local ? net_peer_cred(fd, &cred) : 0;
	if (ret)
		goto err;
	ret = -ENOMEM;
	c = calloc(1, sizeof(*c));
	if (!c)
		goto err;
	*c = (struct client){ .ow = ow, .local = local, .cred = cred, .exit.fd = -1, .page = -1, .since_ns = clock_now_ns() };
	if (local && !client_allowed(ow, fd, &cred))
		refuse(c);
	ret = conn_open(ow->loop, fd, &client_ops, &lim, c, &c->conn);
	if (ret)
		goto err;
	list_append(&ow->clients, &c->node);
	ow->nr_clients++;
	return;

err:
	log_warn_limited("owner: a connection was refused with %u clients here (limit %u): %s", ow->nr_clients, OWNER_CLIENTS_MAX,
			 strerror(-ret));
	free(c);
	close(fd);
}

static void accepted_local(void *arg, int fd)
{
	client_new(arg, fd, true);
}

static void accepted_tcp(void *arg, int fd)
{
	client_new(arg, fd, false);
}

/* ---- all of them ---- */

int serve_open(struct owner *ow, int unix_fd, int tcp_fd)
{
	int ret;

	ret = listener_open(ow->loop, unix_fd, accepted_local, ow, &ow->unix_listener);
	if (ret)
		goto err_fds;
	if (tcp_fd < 0)
		return 0;
	ret = listener_open(ow->loop, tcp_fd, accepted_tcp, ow, &ow->tcp_listener);
	if (!ret)
		return 0;

	close(tcp_fd);
	listener_close(ow->unix_listener);
	ow->unix_listener = NULL;
	return ret;

err_fds:
	close(unix_fd);
	if (tcp_fd >= 0)
		close(tcp_fd);
	return ret;
}

void serve_stop(struct owner *ow)
{
	if (ow->unix_listener)
		listener_close(ow->unix_listener);
	if (ow->tcp_listener)
		listener_close(ow->tcp_listener);
	ow->unix_listener = ow->tcp_listener = NULL;
}

/* The end of our half of the stream asks a client to return what it holds, on its own half, and to hang up. */
void serve_farewell(struct owner *ow)
{
	struct client *c;

	list_for_each_entry(c, &ow->clients, node) {
		if (!c->conn || c->told || c->pending || c->put || conn_out_bytes(c->conn))
			continue;
		c->told = true;
		shutdown(conn_fd(c->conn), SHUT_WR);
	}
}

void serve_close(struct owner *ow)
{
	struct client *c;

	list_for_each_entry(c, &ow->clients, node)
		if (c->conn)
			conn_close(c->conn);
}

void serve_free(struct owner *ow)
{
	struct client *c, *tmp;

	list_for_each_entry_safe(c, tmp, &ow->clients, node) {
		if (!c->exited && client_held_bytes(c))
			c->page = -1; /* it stays written, for the next owner */
		client_free(c);
	}
}

void serve_tick(struct owner *ow, uint64_t now_ns)
{
	struct client *c;

	list_for_each_entry(c, &ow->clients, node)
		if (c->conn && !c->hello && now_ns - c->since_ns > OWNER_HELLO_NS)
			conn_close(c->conn);
}
