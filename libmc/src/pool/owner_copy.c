// SPDX-License-Identifier: Apache-2.0
/*
 * The master's COPY: an object of ours goes to another owner as any client elsewhere puts it, with its put_id, so that the master
 * takes it for one more replica. It is lent meanwhile: what a thread of its own sends is what the object was when it was asked for.
 */
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/thread.h"
#include "pool/owner_private.h"

struct copying {
	struct list node; /* of owner.copies */
	struct owner *ow;
	struct conn_req *req;
	struct lent *lent;
	pthread_t thread;
	struct loop_work done;
	uint64_t deadline_ns;
	int status;

	pthread_mutex_t lock; /* of the next two */
	struct mux *mux;
	bool cut;

	char unix_path[NET_ADDR_TEXT], addr[NET_ADDR_TEXT];
	struct msg_put put;
	uint8_t key[FULL_KEY_MAX];
	struct iovec iov[EXTENTS_MAX];
	int nr_iov;
};

/* ---- on its thread: nothing of the owner's but what never changes, and the lent bytes ---- */

static bool set_mux(struct copying *cp, struct mux *m)
{
	bool cut;

	pthread_mutex_lock(&cp->lock);
	cp->mux = m;
	cut = cp->cut;
	pthread_mutex_unlock(&cp->lock);
	return !cut;
}

static int reach(struct copying *cp, const char *text, struct mux **out)
{
	struct net_addr a;
	int fd, ret;

	ret = net_addr_parse(text, 0, &a);
	if (!ret)
		ret = net_connect(&a, MIN(cp->deadline_ns, deadline_after_ns(LINK_CONNECT_NS)), &fd);
	if (ret)
		return ret;
	ret = mux_open(fd, out);
	if (ret)
		close(fd);
	return ret;
}

static int send_put(struct copying *cp, struct mux *m)
{
	struct owner *ow = cp->ow;
	struct msg_hello_reply hi;
	struct buf b = BUF_INIT;
	struct mux_req r = { .type = MSG_PUT, .out = cp->iov, .nr_out = cp->nr_iov };
	const struct greeting g = { ROLE_OWNER, ow->id, ow->node, ow->segment };
	int ret;

	ret = greet(m, &g, cp->addr[0] ? cp->addr : cp->unix_path, cp->deadline_ns, &hi);
	if (ret)
		return ret;
	msg_put_encode(&cp->put, &b);
	r.body = b.data;
	r.body_len = b.len;
	ret = b.err ? b.err : mux_call(m, &r, cp->deadline_ns);
	buf_fini(&b);
	buf_fini(&r.reply);
	return ret;
}

static int copy(struct copying *cp)
{
	struct mux *m = NULL;
	int ret = -EHOSTUNREACH;

	if (cp->unix_path[0])
		ret = reach(cp, cp->unix_path, &m);
	if (ret && cp->addr[0])
		ret = reach(cp, cp->addr, &m);
	if (ret)
		return ret;
	ret = set_mux(cp, m) ? send_put(cp, m) : -ESHUTDOWN;
	set_mux(cp, NULL);
	mux_close(m);
	return ret;
}

static void *copy_main(void *arg)
{
	struct copying *cp = arg;

	cp->status = copy(cp);
	loop_post(cp->ow->loop, &cp->done);
	return NULL;
}

/* ---- on the loop ---- */

static void copying_free(struct copying *cp)
{
	pool_give_back(cp->ow->pool, cp->lent);
	list_del(&cp->node);
	cp->ow->nr_copies--;
	pthread_mutex_destroy(&cp->lock);
	free(cp);
}

static void copied(struct loop_work *w)
{
	struct copying *cp = container_of(w, struct copying, done);
	struct owner *ow = cp->ow;

	pthread_join(cp->thread, NULL);
	ow->count.copies += !cp->status;
	conn_reply_status(cp->req, cp->status);
	copying_free(cp);
	owner_check(ow);
}

/* The CRC of the whole from those of the extents. */
static uint32_t crc_of(const struct copying *cp)
{
	uint32_t crc = 0;

	for (int i = 0; i < cp->nr_iov; i++) {
		const struct extent_hdr *h = (const struct extent_hdr *)cp->iov[i].iov_base - 1;

		crc = crc32c_join(crc, h->crc, cp->iov[i].iov_len);
	}
	return crc;
}

static int take_text(char *out, const struct key *from)
{
	if (from->len >= NET_ADDR_TEXT || memchr(from->data ? from->data : "", 0, from->len))
		return -EINVAL;
	snprintf(out, NET_ADDR_TEXT, "%.*s", from->len, from->len ? (const char *)from->data : "");
	return 0;
}

static int take_target(struct copying *cp, const struct msg_copy *m)
{
	int ret = take_text(cp->addr, &m->addr);

	if (!ret && !memcmp(m->node, cp->ow->node, sizeof(m->node)))
		ret = take_text(cp->unix_path, &m->unix_path);
	if (!ret && !memcmp(m->pool, cp->ow->view->dir->pool_id, sizeof(m->pool)))
		ret = -EEXIST;
	return ret;
}

/* What is sent, once it is lent. */
static int take_object(struct copying *cp, const struct publish_item *it)
{
	int nr = view_map(cp->ow->view, &it->loc, it->size, cp->iov, EXTENTS_MAX);

	if (nr < 0)
		return nr;
	cp->nr_iov = nr;
	memcpy(cp->key, it->key.data, it->key.len);
	cp->put = (struct msg_put){
		.key = { cp->key, it->key.len }, .put_id = it->put_id, .size = it->size,
		.flags = it->flags & OBJ_FLAGS & ~(uint32_t)OBJ_REPLACE, .soft_pin_ms = it->soft_pin_ms, .group = it->group,
	};
	if (it->flags & OBJ_CRC)
		cp->put.crc = crc_of(cp);
	return 0;
}

static int start(struct owner *ow, struct conn_req *r, const struct msg_copy *m)
{
	struct publish_item it;
	struct copying *cp;
	int ret;

	if (ow->nr_copies >= COPIES_MAX)
		return -EAGAIN;
	if (ow->closing)
		return -ESHUTDOWN;
	if (pool_find(ow->pool, &m->key, &it) || it.loc.gen != m->gen)
		return -ENOENT;
	cp = calloc(1, sizeof(*cp));
	if (!cp)
		return -ENOMEM;
	cp->ow = ow;
	cp->req = r;
	cp->done.fn = copied;
	cp->deadline_ns = deadline_after_ms(m->timeout_ms);
	list_init(&cp->node);
	pthread_mutex_init(&cp->lock, NULL);
	ret = pool_lend(ow->pool, &m->key, m->gen, &cp->lent);
	if (ret)
		goto err_free;
	list_append(&ow->copies, &cp->node);
	ow->nr_copies++;
	ret = take_target(cp, m);
	if (!ret)
		ret = take_object(cp, &it);
	if (!ret)
		ret = thread_start(&cp->thread, "mc-copy", copy_main, cp);
	if (ret)
		copying_free(cp);
	return ret;

err_free:
	pthread_mutex_destroy(&cp->lock);
	free(cp);
	return ret;
}

void copy_request(struct owner *ow, struct conn_req *r)
{
	struct msg_copy m;
	int ret;

	ret = msg_copy_decode(r->body, r->frame.body_len, &ow->scratch, &m);
	if (!ret)
		ret = start(ow, r, &m);
	if (ret)
		conn_reply_status(r, ret);
}

void copies_cut(struct owner *ow)
{
	struct copying *cp;

	list_for_each_entry(cp, &ow->copies, node) {
		pthread_mutex_lock(&cp->lock);
		cp->cut = true;
		if (cp->mux)
			shutdown(mux_fd(cp->mux), SHUT_RDWR);
		pthread_mutex_unlock(&cp->lock);
	}
}
