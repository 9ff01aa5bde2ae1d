// SPDX-License-Identifier: Apache-2.0
/*
 * Space granted to a process of this node, and space it returns. Who announces an object asks for its next space in the same
 * breath, and that is not as urgent as the verdict its put ends with: room for it is made between verdicts, a few objects at a
 * time.
 *
 *	GRANT ──▸ granted ──▸ reply
 *	   └──▸ later, while an announcement of this client is at the master ──▸ step by step
 */
#include "pool/owner_private.h"

#define LATER_EVICT 8 /* objects in a step: some microseconds */

struct later {
	struct list node; /* of granter.later */
	struct client *client;
	struct conn_req *req;
	uint64_t bytes;
};

/* ---- at once ---- */

static int may_grant(const struct client *c)
{
	if (!c->writer)
		return -EPERM;
	if (c->ow->draining)
		return -ESHUTDOWN;
	/* Room is made by evicting, and nothing could be stored there. */
	return link_is_open(c->ow) ? 0 : -ENOTCONN;
}

static void grant(struct client *c, struct conn_req *r, uint64_t bytes)
{
	struct owner *ow = c->ow;
	struct msg_grant_reply rep = { 0 };
	struct buf b = BUF_INIT;
	int ret = may_grant(c);

	if (!ret)
		ret = pool_grant(ow->pool, c->holder, bytes, &ow->scratch, &rep);
	if (ret) {
		conn_reply_status(r, ret);
		return;
	}
	ledger_note(c);
	ow->count.grants++;
	msg_grant_reply_encode(&rep, &b);
	reply_buf(r, &b);
}

/* ---- later ---- */

static void end_later(struct later *l)
{
	struct client *c = l->client;

	list_del(&l->node);
	free(l);
	c->pending--;
	client_release(c);
	owner_check(c->ow);
}

/* The first in the queue, by one step. Return: is there anything left to do for it? */
static bool step(struct owner *ow, struct later *l)
{
	struct client *c = l->client;

	announce_look(ow);
	if (c->conn && !may_grant(c) && !pool_make_room(ow->pool, l->bytes, LATER_EVICT))
		return true;
	scratch_reset(&ow->scratch);
	if (c->conn)
		grant(c, l->req, l->bytes);
	else
		conn_reply_status(l->req, -ECONNRESET); /* nobody hears it, nobody shall have it */
	end_later(l);
	return false;
}

static void post(struct owner *ow)
{
	if (ow->grant.posted || list_empty(&ow->grant.later))
		return;
	ow->grant.posted = true;
	loop_post(ow->loop, &ow->grant.work);
}

static void step_work(struct loop_work *w)
{
	struct granter *g = container_of(w, struct granter, work);
	struct owner *ow = container_of(g, struct owner, grant);
	struct later *l = list_first(&g->later, struct later, node);

	g->posted = false;
	if (!l || publish_announces(ow, l->client))
		return; /* the verdict moves it on */
	step(ow, l);
	post(ow);
}

/* At least a step for each verdict, so that it comes to an end whatever else is announced meanwhile. */
void grant_later(struct owner *ow)
{
	struct later *l = list_first(&ow->grant.later, struct later, node);

	if (l && !ow->grant.posted)
		step(ow, l);
	post(ow);
}

void grant_init(struct owner *ow)
{
	list_init(&ow->grant.later);
	ow->grant.work.fn = step_work;
}

static int queue_later(struct client *c, struct conn_req *r, uint64_t bytes)
{
	struct later *l = malloc(sizeof(*l));

	if (!l)
		return -ENOMEM;
	*l = (struct later){ .client = c, .req = r, .bytes = bytes };
	list_append(&c->ow->grant.later, &l->node);
	c->pending++;
	return 0;
}

void grant_request(struct client *c, struct conn_req *r)
{
	struct owner *ow = c->ow;
	struct msg_grant m;
	int ret;

	ret = msg_grant_decode(r->body, r->frame.body_len, &ow->scratch, &m);
	if (!ret)
		ret = may_grant(c);
	if (!ret && !m.bytes)
		ret = -EINVAL;
	if (ret) {
		conn_reply_status(r, ret);
		return;
	}
	if (publish_announces(ow, c) && !queue_later(c, r, m.bytes))
		return;
	announce_look(ow);
	pool_drain_touches(ow->pool, clock_now_ns());
	grant(c, r, m.bytes);
}

/* ---- returned ---- */

/* A client that lost an answer does not know what it holds: it returns all, and asks anew. */
static int return_all(struct client *c)
{
	pool_holder_fini(c->ow->pool, c->holder);
	return 0;
}

void return_request(struct client *c, struct conn_req *r)
{
	struct msg_return m;
	int ret;

	ret = msg_return_decode(r->body, r->frame.body_len, &c->ow->scratch, &m);
	if (!ret)
		ret = !c->writer ? -EPERM : m.nr ? pool_return(c->ow->pool, c->holder, &m) : return_all(c);
	if (ret)
		log_warn_limited("owner: process %d returned space that it does not hold: %s", c->cred.pid, strerror(-ret));
	else
		ledger_note(c);
	conn_reply_status(r, ret);
	owner_check(c->ow);
}
