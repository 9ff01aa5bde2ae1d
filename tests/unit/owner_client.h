/* SPDX-License-Identifier: Apache-2.0 */
/* A client of a pool that speaks the owner's messages by itself: attach, grant, fill, commit, return; and put over any stream. */
#ifndef OWNER_CLIENT_H
#define OWNER_CLIENT_H

#include <stdio.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "mctest.h"
#include "net/net.h"
#include "pool/pool.h"
#include "proto/proto.h"

#define RIG_NS (10 * NSEC_PER_SEC) /* everything here is over long before */

static inline uint64_t soon(void)
{
	return deadline_after_ns(RIG_NS);
}

struct tc {
	struct mux *m;
	struct pool_view v;
	bool attached;
	struct range_set runs[POOL_REGIONS_MAX];
	uint64_t gen, gen_end;
};

/* One request; the answer's body in @reply, which may be NULL. */
static inline int tc_call(struct tc *c, uint16_t type, struct buf *body, struct buf *reply)
{
	struct mux_req r = { .type = type, .body = body->data, .body_len = body->len };
	int ret = mux_call(c->m, &r, soon());

	buf_fini(body);
	if (reply && !ret)
		*reply = r.reply;
	else
		buf_fini(&r.reply);
	return ret;
}

static inline int tc_connect(struct tc *c, const char *addr)
{
	struct net_addr a;
	int fd, ret;

	*c = (struct tc){ 0 };
	ret = net_addr_parse(addr, 0, &a);
	if (!ret)
		ret = net_connect(&a, soon(), &fd);
	return ret ? ret : mux_open(fd, &c->m);
}

static inline int tc_hello(struct tc *c)
{
	struct msg_hello m = { .version_min = 1, .version_max = 1, .role = ROLE_CLIENT, .name = { "test", 4 } };
	struct buf b = BUF_INIT;

	node_id(m.node);
	msg_hello_encode(&m, &b);
	return tc_call(c, MSG_HELLO, &b, NULL);
}

static inline int tc_attach(struct tc *c, bool write)
{
	struct msg_attach m = { .write = write };
	struct msg_attach_reply rep;
	struct scratch s = SCRATCH_INIT;
	struct buf b = BUF_INIT;
	struct mux_req r;
	int ret;

	node_id(m.node);
	msg_attach_encode(&m, &b);
	r = (struct mux_req){ .type = MSG_ATTACH, .body = b.data, .body_len = b.len };
	ret = mux_call(c->m, &r, soon());
	if (!ret)
		ret = msg_attach_reply_decode(r.reply.data, r.reply.len, &s, &rep);
	if (!ret && r.nr_fds != 2 + rep.nr_regions)
		ret = -EBADMSG;
	if (!ret)
		ret = view_open(r.fds[0], r.fds[1], r.fds + 2, &rep, write, &c->v);
	c->attached = !ret;
	buf_fini(&r.reply);
	buf_fini(&b);
	scratch_fini(&s);
	return ret;
}

static inline int tc_open(struct tc *c, const char *addr)
{
	int ret = tc_connect(c, addr);

	if (!ret)
		ret = tc_hello(c);
	return ret ? ret : tc_attach(c, true);
}

static inline int tc_grant(struct tc *c, uint64_t bytes)
{
	struct msg_grant m = { .bytes = bytes };
	struct msg_grant_reply rep;
	struct scratch s = SCRATCH_INIT;
	struct buf b = BUF_INIT, reply = BUF_INIT;
	int ret;

	msg_grant_encode(&m, &b);
	ret = tc_call(c, MSG_GRANT, &b, &reply);
	if (!ret)
		ret = msg_grant_reply_decode(reply.data, reply.len, &s, &rep);
	if (!ret)
		ret = view_granted(&c->v, &rep, c->runs);
	if (!ret) {
		c->gen = rep.gen;
		c->gen_end = rep.gen + 2u * rep.gen_count;
	}
	buf_fini(&reply);
	scratch_fini(&s);
	return ret;
}

static inline uint64_t tc_held(const struct tc *c)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < POOL_REGIONS_MAX; i++)
		bytes += c->runs[i].bytes;
	return bytes;
}

static inline int tc_return(struct tc *c)
{
	struct grant_run runs[256];
	struct msg_return m = { .runs = runs };
	struct buf b = BUF_INIT;

	for (unsigned i = 0; i < POOL_REGIONS_MAX; i++) {
		for (size_t k = 0; k < c->runs[i].count && m.nr < ARRAY_SIZE(runs); k++)
			runs[m.nr++] = (struct grant_run){ (uint16_t)i, c->runs[i].r[k].off, c->runs[i].r[k].len };
		range_set_fini(&c->runs[i]);
		c->runs[i] = (struct range_set){ 0 };
	}
	msg_return_encode(&m, &b);
	return tc_call(c, MSG_RETURN, &b, NULL);
}

static inline struct key full_key(const char *name, uint8_t out[FULL_KEY_MAX])
{
	struct key k = { .data = out };

	if (key_make(NULL, name, strlen(name), out, &k.len))
		abort();
	return k;
}

/* Carves and fills one object from the grant; the key's memory is the caller's. */
static inline int tc_fill(struct tc *c, const struct key *key, const void *data, size_t len, uint32_t flags, struct extents *x,
			  struct publish_item *it)
{
	static uint64_t put_id = 1000;
	const struct iovec src = { (void *)data, len };
	int ret;

	if (c->gen >= c->gen_end)
		return -ERANGE;
	ret = extents_carve(c->runs, c->v.nr_regions, len, key->len, c->gen, x);
	if (ret)
		return ret;
	c->gen += 2;
	x->put_id = __atomic_add_fetch(&put_id, 1, __ATOMIC_RELAXED);
	extents_fill(&c->v, x, key, (uint16_t)flags, &src, 1);
	*it = (struct publish_item){ .key = *key, .put_id = x->put_id, .size = len, .flags = flags, .loc = extents_loc(x) };
	return 0;
}

/* @status: one per item, filled when the call itself succeeded. */
static inline int tc_ask(struct tc *c, uint16_t type, struct publish_item *items, uint32_t nr, int32_t *status)
{
	struct msg_commit m = { .nr = nr, .items = items };
	struct scratch s = SCRATCH_INIT;
	struct buf b = BUF_INIT, reply = BUF_INIT;
	struct msg_statuses st;
	int ret;

	msg_commit_encode(&m, &b);
	ret = tc_call(c, type, &b, &reply);
	if (!ret)
		ret = msg_statuses_decode(reply.data, reply.len, &s, &st);
	if (!ret && st.nr != nr)
		ret = -EBADMSG;
	if (!ret)
		memcpy(status, st.status, nr * sizeof(*status));
	buf_fini(&reply);
	scratch_fini(&s);
	return ret;
}

static inline int tc_commit(struct tc *c, struct publish_item *items, uint32_t nr, int32_t *status)
{
	return tc_ask(c, MSG_COMMIT, items, nr, status);
}

/* Carves, writes the headers, announces. Return: the answer; @x is what to go on with. */
static inline int tc_announce(struct tc *c, const char *name, size_t len, struct extents *x)
{
	static uint64_t put_id = 1 << 30;
	uint8_t full[FULL_KEY_MAX];
	struct key key = full_key(name, full);
	struct publish_item it;
	int32_t status = 1;
	int ret;

	if (c->gen >= c->gen_end)
		return -ERANGE;
	ret = extents_carve(c->runs, c->v.nr_regions, len, key.len, c->gen, x);
	if (ret)
		return ret;
	c->gen += 2;
	x->put_id = ++put_id;
	extents_begin(&c->v, x, &key, OBJ_CRC);
	it = (struct publish_item){ .key = key, .put_id = x->put_id, .size = len, .flags = OBJ_CRC, .loc = extents_loc(x) };
	ret = tc_ask(c, MSG_ANNOUNCE, &it, 1, &status);
	return ret ? ret : status;
}

static inline int tc_reveal(struct tc *c, const struct extents *x, const void *data)
{
	const struct iovec src = { (void *)data, x->size };

	extents_copy(&c->v, x, OBJ_CRC, &src, 1);
	return extents_reveal(&c->v, x);
}

/* Grant, fill, commit: the whole of a put. Space of a refused one goes back into the sets. */
static inline int tc_put(struct tc *c, const char *name, const void *data, size_t len, uint32_t flags)
{
	uint8_t full[FULL_KEY_MAX];
	struct key key = full_key(name, full);
	struct publish_item it;
	struct extents x;
	int32_t status = 1;
	int ret;

	ret = tc_fill(c, &key, data, len, flags, &x, &it);
	if (ret == -ENOSPC || ret == -ERANGE) {
		ret = tc_grant(c, extent_bytes(len, key.len) + 64 * KiB);
		if (!ret)
			ret = tc_fill(c, &key, data, len, flags, &x, &it);
	}
	if (ret)
		return ret;
	ret = tc_commit(c, &it, 1, &status);
	if (!ret)
		ret = status;
	if (ret)
		extents_return(c->runs, &x);
	return ret;
}

/* MSG_PUT on whatever stream @c is. */
static inline int tc_send(struct tc *c, const char *name, const void *data, size_t len, uint32_t flags, uint32_t crc)
{
	static uint64_t put_id = 1;
	uint8_t full[FULL_KEY_MAX];
	struct msg_put m = { .key = full_key(name, full), .put_id = ++put_id, .size = len, .flags = flags, .crc = crc };
	const struct iovec iov = { (void *)data, len };
	struct buf b = BUF_INIT;
	struct mux_req r;
	int ret;

	msg_put_encode(&m, &b);
	r = (struct mux_req){ .type = MSG_PUT, .body = b.data, .body_len = b.len, .out = &iov, .nr_out = len ? 1 : 0 };
	ret = mux_call(c->m, &r, soon());
	buf_fini(&r.reply);
	buf_fini(&b);
	return ret;
}

static inline int view_find(const struct pool_view *v, const char *name, struct found *out)
{
	uint8_t full[FULL_KEY_MAX];
	struct key k = full_key(name, full);

	return view_lookup(v, k.data, k.len, out);
}

/* All of it; the mux has the socket give up after a while that a slow machine needs for a reply. */
static inline bool recv_all(int fd, void *to, size_t len)
{
	uint64_t end = soon();
	size_t got = 0;

	while (got < len) {
		ssize_t n = recv(fd, (char *)to + got, len - got, 0);

		if (n > 0)
			got += (size_t)n;
		else if (!n || (errno != EAGAIN && errno != EINTR) || deadline_passed(end))
			return false;
	}
	return true;
}

/*
 * The same by hand, with a checksum behind the payload, and in a piece that is late. Nothing else is under way on @c.
 * Return: the reply's status.
 */
static inline int tc_send_sum(struct tc *c, const char *name, const void *data, size_t len, uint32_t crc)
{
	static uint64_t put_id = 1u << 20;
	uint8_t full[FULL_KEY_MAX], head[NET_FRAME_BYTES], sum[NET_SUM_BYTES];
	struct msg_put m = { .key = full_key(name, full), .put_id = ++put_id, .size = len, .flags = OBJ_CRC };
	struct net_frame f = { .flags = NET_SUM, .type = MSG_PUT, .id = put_id, .payload_len = len };
	struct buf b = BUF_INIT;
	int fd = mux_fd(c->m);
	bool ok;

	msg_put_encode(&m, &b);
	f.body_len = (uint32_t)b.len;
	net_frame_encode(&f, head);
	put_le32(sum, crc);
	ok = send(fd, head, sizeof(head), 0) == sizeof(head) && send(fd, b.data, b.len, 0) == (ssize_t)b.len &&
	     send(fd, data, len, 0) == (ssize_t)len && send(fd, sum, sizeof(sum), 0) == sizeof(sum);
	do
		ok = ok && recv_all(fd, head, sizeof(head)) && !net_frame_decode(head, &f);
	while (ok && f.id != put_id);
	buf_fini(&b);
	return ok && !f.body_len ? f.status : -EPIPE;
}

/* Is the object there, with these bytes? */
static inline int view_check(const struct pool_view *v, const char *name, const void *data, size_t len)
{
	struct found f;
	char *got;
	int ret = view_find(v, name, &f);

	if (ret)
		return ret;
	if (f.size != len)
		return -EMSGSIZE;
	got = malloc(len);
	ret = view_read(v, &f.loc, f.size, 0, got, len);
	if (!ret && memcmp(got, data, len))
		ret = -EBADMSG;
	free(got);
	return ret;
}

static inline void tc_close(struct tc *c)
{
	if (c->attached)
		view_close(&c->v);
	if (c->m)
		mux_close(c->m);
	for (unsigned i = 0; i < POOL_REGIONS_MAX; i++)
		range_set_fini(&c->runs[i]);
	*c = (struct tc){ 0 };
}

#endif
