// SPDX-License-Identifier: Apache-2.0
/* Puts whose bytes come through a socket: space first, then the payload straight into it, then the master's word. */
#include <sys/uio.h>

#include "base/hash.h"
#include "pool/owner_private.h"

struct put {
	struct list node; /* of owner.puts, while the payload arrives */
	struct client *client;
	uint64_t deadline_ns;
	uint64_t left, moved_ns; /* of the payload, as last looked at, and since when */
	struct msg_put m; /* the key lies in the request's body */
	struct extents x;
	uint32_t crc[EXTENTS_MAX]; /* of each piece, where the frame has a checksum */
};

static int put_admit(struct client *c, const struct conn_req *r, const struct msg_put *m)
{
	struct owner *ow = c->ow;
	struct publish_item there;
	struct key tenant, key;

	if (!m->size || m->size != r->frame.payload_len || !m->put_id)
		return -EINVAL;
	if (key_split(&m->key, &tenant, &key) || !key.len)
		return -EINVAL;
	if (ow->draining)
		return -ESHUTDOWN;
	if (!link_is_open(ow))
		return -ENOTCONN;
	if (publish_pending(ow) >= OWNER_PENDING_MAX)
		return -EAGAIN;
	if (!(m->flags & OBJ_REPLACE) && !pool_find(ow->pool, &m->key, &there))
		return -EEXIST;
	return 0;
}

int put_payload(struct client *c, struct conn_req *r, struct iovec *iov, int max)
{
	struct owner *ow = c->ow;
	struct put *p;
	int ret;

	p = malloc(sizeof(*p)); /* extents are large, and filled by pool_alloc() */
	if (!p)
		return -ENOMEM;
	p->client = c;
	ret = msg_put_decode(r->body, r->frame.body_len, &ow->scratch, &p->m);
	if (!ret)
		ret = put_admit(c, r, &p->m);
	if (ret)
		goto err_free;
	announce_look(ow);
	pool_drain_touches(ow->pool, clock_now_ns());
	ret = pool_alloc(ow->pool, p->m.size, p->m.key.len, &p->x);
	if (ret)
		goto err_free;
	ret = -E2BIG;
	if (p->x.nr > max)
		goto err_alloc;
	p->x.put_id = p->m.put_id;
	extents_begin(ow->view, &p->x, &p->m.key, (uint16_t)p->m.flags);
	ret = extents_iov(ow->view, &p->x, iov, max);
	if (ret <= 0)
		goto err_alloc;
	p->deadline_ns = deadline_after_ns(OWNER_PUT_NS + p->m.size / MiB * NSEC_PER_SEC);
	p->left = p->m.size;
	p->moved_ns = clock_now_ns();
	list_append(&ow->puts, &p->node);
	c->put = p;
	r->user = p;
	r->piece_crc = p->crc;
	return ret;

err_alloc:
	pool_alloc_undo(ow->pool, &p->x);
err_free:
	free(p);
	return ret;
}

/* extents_iov() left out pieces without payload. */
static void crc_of_pieces(struct put *p)
{
	unsigned from = p->x.nr;

	for (unsigned i = 0; i < p->x.nr; i++)
		from -= !p->x.piece[i].len;
	for (unsigned i = p->x.nr; i--;)
		p->crc[i] = p->x.piece[i].len ? p->crc[--from] : 0;
}

/* The CRC of the whole from those of the pieces, which the seal has just computed. */
static bool crc_matches(const struct owner *ow, const struct put *p)
{
	uint32_t crc = 0;

	if (!(p->m.flags & OBJ_CRC))
		return true;
	for (unsigned i = 0; i < p->x.nr; i++) {
		uint64_t place = p->x.piece[i].place;
		const struct extent_hdr *h =
			(void *)((char *)ow->view->region[place_region(place)].base + place_off(place));

		crc = crc32c_join(crc, h->crc, p->x.piece[i].len);
	}
	return crc == p->m.crc;
}

static int put_stage(struct client *c, struct conn_req *r, struct put *p, struct commit **out)
{
	struct owner *ow = c->ow;
	struct publish_item it = {
		.key = p->m.key,
		.put_id = p->m.put_id,
		.size = p->m.size,
		.flags = p->m.flags,
		.soft_pin_ms = p->m.soft_pin_ms,
		.group = p->m.group,
		.loc = extents_loc(&p->x),
	};
	struct commit *cm;
	int ret;

	if (r->damaged)
		return r->damaged;
	if (r->frame.flags & NET_SUM)
		crc_of_pieces(p);
	extents_seal(ow->view, &p->x, (uint16_t)p->m.flags, r->frame.flags & NET_SUM ? p->crc : NULL);
	if (!(r->frame.flags & NET_SUM) && !crc_matches(ow, p)) {
		log_warn_limited("owner: a put of %llu bytes arrived damaged: refused", (unsigned long long)p->m.size);
		return -EBADMSG;
	}
	ret = commit_new(c, r, 1, r->frame.body_len + 64u, &cm);
	if (ret)
		return ret;
	ret = pool_stage_own(ow->pool, &p->x, &it, &cm->staged[0]);
	if (ret) {
		c->pending--;
		free(cm);
		return ret;
	}
	cm->own = true;
	cm->nr_staged = 1;
	*out = cm;
	return 0;
}

void put_request(struct client *c, struct conn_req *r)
{
	struct owner *ow = c->ow;
	struct put *p = r->user;
	struct commit *cm;
	int ret;

	if (!p) { /* no payload */
		conn_reply_status(r, -EINVAL);
		return;
	}
	list_del(&p->node);
	c->put = NULL;
	ret = put_stage(c, r, p, &cm);
	if (ret) {
		pool_alloc_undo(ow->pool, &p->x);
		free(p);
		conn_reply_status(r, ret);
		return;
	}
	ow->count.puts++;
	ow->count.put_bytes += p->m.size;
	free(p);
	commit_queue(cm);
}

void put_abandon(struct client *c)
{
	struct put *p = c->put;

	if (!p)
		return;
	list_del(&p->node);
	pool_alloc_undo(c->ow->pool, &p->x);
	free(p);
	c->put = NULL;
}

/* A sender that stopped in the middle, or hardly moves, does not keep space for ever. */
void put_tick(struct owner *ow, uint64_t now_ns)
{
	struct put *p;

	list_for_each_entry(p, &ow->puts, node) {
		uint64_t left = conn_in_left(p->client->conn);

		if (left != p->left)
			p->moved_ns = now_ns;
		p->left = left;
		if (p->deadline_ns > now_ns && now_ns - p->moved_ns < ow->put_idle_ns)
			continue;
		log_warn_limited("owner: a put of %llu bytes stopped with %llu to come: its stream is closed",
				 (unsigned long long)p->m.size, (unsigned long long)left);
		conn_close(p->client->conn);
	}
}
