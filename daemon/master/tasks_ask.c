// SPDX-License-Identifier: Apache-2.0
/* Tasks as clients ask for them: whose is the object, which pools are meant, what became of it. */
#include "master.h"

struct segment_pick {
	const struct key *name;
	const struct located *at; /* a pool that has the object already is the one that is meant */
	bool mounted, has;
	uint64_t room;
	uint32_t pool; /* 0: none that takes anything */
};

static bool holds(const struct located *l, uint32_t pool)
{
	for (unsigned i = 0; i < l->nr_replicas; i++)
		if (l->replica[i].pool == pool)
			return true;
	return false;
}

static void consider(void *arg, const struct pool *p)
{
	struct segment_pick *sp = arg;
	uint64_t room = p->info.capacity > p->info.used ? p->info.capacity - p->info.used : 0;

	if (p->state != POOL_ONLINE || p->info.segment.len != sp->name->len ||
	    memcmp(p->info.segment.data, sp->name->data, sp->name->len))
		return;
	sp->mounted = true;
	if (sp->has || (p->info.flags & POOL_DRAINING && !holds(sp->at, p->info.index)))
		return;
	sp->has = holds(sp->at, p->info.index);
	if (!sp->has && sp->pool && room <= sp->room)
		return;
	sp->pool = p->info.index;
	sp->room = room;
}

/* Several pools may be one segment: the one that has the object, or the one with most room. */
static struct segment_pick pick(struct master *m, const struct key *name, const struct located *at)
{
	struct segment_pick sp = { .name = name, .at = at };

	pools_each(m->pools, consider, &sp);
	return sp;
}

static int pick_targets(struct master *m, const struct msg_task_create *c, const struct located *at, struct task_spec *s)
{
	for (unsigned i = 0; i < c->nr_targets; i++) {
		struct segment_pick sp = pick(m, &c->target[i], at);

		if (!c->target[i].len || !sp.mounted)
			return -EINVAL;
		if (!sp.pool)
			return -EHOSTDOWN;
		s->target[s->nr_targets++] = sp.pool;
	}
	return 0;
}

/* A pending replica will do: its put may have returned, and the task waits for it. */
bool task_source(struct master *m, const struct located *at, uint32_t pool, struct task_spec *s)
{
	struct pool_life life;

	for (unsigned i = 0; i < at->nr_replicas; i++) {
		s->source = at->replica[i].pool;
		if ((!pool || pool == s->source) && pools_life(m->pools, s->source, &life) &&
		    pools_id(m->pools, s->source, s->pool)) {
			s->slot = life.slot;
			return true;
		}
	}
	return false;
}

static bool same_text(const struct key *a, const struct key *b)
{
	return a->len == b->len && !memcmp(a->data, b->data, a->len);
}

static int plan(struct master *m, const struct msg_task_create *c, struct task_spec *s)
{
	struct segment_pick from = { .has = true };
	struct key tenant, key;
	struct located at;
	int ret;

	if (key_split(&c->key, &tenant, &key) || !c->nr_targets)
		return -EINVAL;
	if (c->type == TASK_MOVE && (c->nr_targets != 1 || !c->source.len || same_text(&c->source, &c->target[0])))
		return -EINVAL;
	objects_locate(m->ix, &c->key, false, clock_now_ns(), &at);
	if (at.status)
		return at.status;
	*s = (struct task_spec){ .type = (enum task_type)c->type, .key = c->key, .put_id = at.put_id };
	ret = pick_targets(m, c, &at, s);
	if (ret)
		return ret;
	if (c->source.len)
		from = pick(m, &c->source, &at);
	if (!from.has)
		return -EINVAL;
	return task_source(m, &at, from.pool, s) ? 0 : -ENXIO;
}

int on_task_create(struct peer *p, struct conn_req *r)
{
	struct worker *w = p->w;
	struct msg_task_create c;
	struct msg_task_id rep;
	struct task_spec s;
	int ret;

	ret = msg_task_create_decode(r->body, r->frame.body_len, &w->scratch, &c);
	if (!ret)
		ret = plan(w->m, &c, &s);
	if (!ret)
		ret = tasks_create(w->m->tasks, &s, task_times(), rep.id);
	if (ret)
		return ret;
	tasks_kick(w->m, s.source);
	buf_reset(&w->out);
	msg_task_id_encode(&rep, &w->out);
	reply_out(w, r);
	return 0;
}

int on_task_query(struct peer *p, struct conn_req *r)
{
	char message[TASK_MESSAGE_BYTES];
	struct worker *w = p->w;
	struct msg_task_id m;
	struct msg_task rep;
	int ret;

	ret = msg_task_id_decode(r->body, r->frame.body_len, &w->scratch, &m);
	if (!ret)
		ret = tasks_query(w->m->tasks, m.id, &rep, message);
	if (ret)
		return ret;
	buf_reset(&w->out);
	msg_task_encode(&rep, &w->out);
	reply_out(w, r);
	return 0;
}
