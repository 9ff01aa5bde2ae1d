// SPDX-License-Identifier: Apache-2.0
/* What owners say. A pool's messages are handled in the order they were sent, on its connection's worker. */
#include "base/log.h"
#include "master.h"

/* ---- a life begins and ends ---- */

struct ending {
	struct loop_work work;
	struct worker *w;
	struct pool_life life;
};

static void end_life(struct loop_work *work)
{
	struct ending *e = container_of(work, struct ending, work);
	struct peer *p = e->w->owners[e->life.index];

	if (p && p->life.slot == e->life.slot)
		conn_close(p->conn); /* owner_gone() follows */
	free(e);
}

/* Its connection is another worker's, maybe: that one ends it. */
static void post_ending(struct master *m, const struct pool_life *l)
{
	struct ending *e = malloc(sizeof(*e));

	if (!e) {
		log_err_limited("no memory to end a pool's connection");
		return;
	}
	*e = (struct ending){ .work.fn = end_life, .w = &m->workers[l->worker], .life = *l };
	loop_post(e->w->loop, &e->work);
}

void owner_expired(void *arg, const struct pool_life *l)
{
	struct master *m = arg;

	log_warn("pool %u: nothing heard for %.1f s; its objects are gone until it joins again", l->index,
		 (double)m->set.client_ttl_ns / (double)NSEC_PER_SEC);
	post_ending(m, l);
}

void owner_gone(struct peer *p, bool leave)
{
	struct worker *w = p->w;

	if (w->owners[p->life.index] == p)
		w->owners[p->life.index] = NULL;
	p->joined = false;
	pools_ended(w->m->pools, &p->life, leave, clock_now_ns());
	tasks_pool_gone(w->m->tasks, p->life.index, p->life.slot, task_times());
	if (!leave && !w->stopping)
		log_warn("pool %u of %s: connection lost; its objects are invisible until it joins again", p->life.index, p->name);
}

int on_join(struct peer *p, struct conn_req *r)
{
	struct worker *w = p->w;
	struct pool_life old;
	struct msg_pool_join m;
	struct msg_pool_join_reply rep;
	char id[33];
	int ret;

	ret = msg_pool_join_decode(r->body, r->frame.body_len, &w->scratch, &m);
	if (ret)
		return ret;
	if (p->joined) /* the same stream begins again: what it said before is forgotten */
		owner_gone(p, true);
	p->life = (struct pool_life){ .worker = w->index };
	ret = pools_join(w->m->pools, &m.pool, clock_now_ns(), &p->life, &old);
	hex_text(id, m.pool.id, sizeof(m.pool.id));
	if (ret < 0) {
		log_warn_limited("pool %s of %s may not join: %s", id, p->name,
				 ret == -EINVAL ? "no id, no region, or a range that wraps" :
				 ret == -ESTALE ? "a newer incarnation is served elsewhere; stop one of them" : strerror(-ret));
		return ret;
	}
	p->joined = true;
	p->synced = false;
	w->owners[p->life.index] = p;
	count(w, CNT_JOIN, 1);
	if (ret == 1)
		post_ending(w->m, &old);
	log_info("pool %u is %s of %s, %" PRIu64 " MiB", p->life.index, id, p->name, m.pool.capacity / MiB);

	rep = (struct msg_pool_join_reply){
		.index = p->life.index, .view = pools_view(w->m->pools),
		.has_rules = p->version >= PROTO_VERSION_RULES, .rules = settings_rules(&w->m->set),
	};
	buf_reset(&w->out);
	msg_pool_join_reply_encode(&rep, &w->out);
	reply_out(w, r);
	return 0;
}

int on_stat(struct peer *p, struct conn_req *r)
{
	struct msg_pool_stat m;
	int ret;

	ret = msg_pool_stat_decode(r->body, r->frame.body_len, &p->w->scratch, &m);
	if (ret)
		return ret;
	count(p->w, CNT_STAT, 1);
	pools_heard(p->w->m->pools, &p->life, &m, clock_now_ns());
	return 0;
}

int on_synced(struct peer *p, struct conn_req *r)
{
	p->synced = true;
	pools_synced(p->w->m->pools, &p->life);
	return 0;
}

int on_leave(struct peer *p, struct conn_req *r)
{
	count(p->w, CNT_LEAVE, 1);
	log_info("pool %u of %s leaves", p->life.index, p->name);
	owner_gone(p, true);
	conn_reply_status(r, 0);
	return 0;
}

/* ---- publishing ---- */

/* A publication that took the place of others: the answer waits until their holders have dropped them. */
struct takeover {
	struct conn_req *req;
	struct buf reply;
};

static void taken_over(void *arg, struct drops *d)
{
	struct takeover *t = arg;

	conn_reply(t->req, &(struct conn_reply){ .body = t->reply.data, .body_len = t->reply.len });
	buf_fini(&t->reply);
	free(t);
}

/* Other pools only: the one that publishes has dealt with its own old copy. */
static int collect(struct peer *p, struct takeover **t, struct drops **d, const struct holder *old, unsigned nr,
		   const struct key *key, uint32_t tag)
{
	int ret = 0;

	for (unsigned i = 0; i < nr && !ret; i++) {
		if (old[i].slot == p->life.slot)
			continue;
		if (!*d) {
			*t = calloc(1, sizeof(**t));
			*d = *t ? drops_new(p->w, true, taken_over, *t) : NULL;
		}
		ret = *d ? drops_add(*d, &old[i], key, tag) : -ENOMEM;
	}
	return ret;
}

static bool item_ok(const struct publish_item *it)
{
	struct key tenant, key;

	return it->put_id && !key_split(&it->key, &tenant, &key);
}

/* Of new puts. What a pool already has is told before it is synced, and stays as it is. */
static bool pin_too_long(const struct peer *p, const struct publish_item *it)
{
	return p->synced && it->flags & OBJ_SOFT_PIN && it->soft_pin_ms * NSEC_PER_MSEC > p->w->m->set.soft_pin_max_ns;
}

/* The @i-th of @nr: what it has of what it replaced, in @out. Without memory its owner does not hear of it. */
static void inherit(struct peer *p, const struct publish_item *it, uint32_t i, uint32_t nr, uint64_t now, struct msg_published *out)
{
	struct inherited one;

	if (p->version < PROTO_VERSION_RULES || !objects_inherited(p->w->m->ix, it, now, &one))
		return;
	if (!out->inherited)
		out->inherited = scratch_alloc(&p->w->scratch, nr, sizeof(*out->inherited));
	if (!out->inherited)
		return;
	one.index = i;
	out->inherited[out->nr++] = one;
}

int on_publish(struct peer *p, struct conn_req *r)
{
	struct worker *w = p->w;
	struct takeover *t = NULL;
	struct drops *d = NULL;
	struct msg_publish m;
	struct msg_published rep = { .statuses.status = w->status };
	uint64_t now = clock_now_ns();
	int ret;

	ret = msg_publish_decode(r->body, r->frame.body_len, &w->scratch, &m);
	if (ret)
		return ret;
	for (uint32_t i = 0; i < m.nr; i++) {
		const struct publish_item *it = &m.items[i];
		struct holder old[REPLICAS_MAX];
		unsigned nr_old = 0;

		if (m.nr > 1 && i % OBJECTS_BATCH == 0)
			objects_prefetch_new(w->m->ix, p->life.slot, &it->key, sizeof(*it), MIN(m.nr - i, (uint32_t)OBJECTS_BATCH));
		ret = item_ok(it) && !pin_too_long(p, it) ? objects_publish(w->m->ix, p->life.slot, it, now, old, &nr_old) : -EINVAL;
		if (nr_old && collect(p, &t, &d, old, nr_old, &it->key, i))
			log_err_limited("no memory to have %u replaced replicas dropped: their space is lost until evicted", nr_old);
		if (ret)
			count(w, CNT_PUBLISH_REFUSED, 1);
		else
			inherit(p, it, i, m.nr, now, &rep);
		w->status[i] = ret;
	}
	count(w, CNT_PUBLISH, 1);
	count(w, CNT_PUBLISH_ITEMS, m.nr);

	rep.statuses.nr = m.nr;
	buf_reset(&w->out);
	msg_published_encode(&rep, &w->out);
	if (!d) {
		free(t);
		reply_out(w, r);
		return 0;
	}
	t->req = r;
	buf_put(&t->reply, w->out.data, w->out.len);
	drops_send(d);
	return 0;
}

int on_stored(struct peer *p, struct conn_req *r)
{
	struct worker *w = p->w;
	struct msg_withdraw m;
	int ret;

	ret = msg_withdraw_decode(r->body, r->frame.body_len, &w->scratch, &m);
	if (ret)
		return ret;
	for (uint32_t i = 0; i < m.nr; i++)
		objects_stored(w->m->ix, p->life.slot, &m.items[i].key, m.items[i].gen);
	if (tasks_waiting(w->m->tasks))
		tasks_kick(w->m, p->life.index); /* one of these may be what it waits for */
	return 0;
}

int on_withdraw(struct peer *p, struct conn_req *r)
{
	struct worker *w = p->w;
	struct msg_withdraw m;
	int ret;

	ret = msg_withdraw_decode(r->body, r->frame.body_len, &w->scratch, &m);
	if (ret)
		return ret;
	for (uint32_t i = 0; i < m.nr; i++) {
		if (m.nr > 1 && i % OBJECTS_BATCH == 0)
			objects_prefetch(w->m->ix, &m.items[i].key, sizeof(*m.items), MIN(m.nr - i, (uint32_t)OBJECTS_BATCH));
		objects_withdraw(w->m->ix, p->life.slot, &m.items[i].key, m.items[i].gen);
	}
	count(w, CNT_WITHDRAW_ITEMS, m.nr);
	return 0;
}
