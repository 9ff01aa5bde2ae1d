// SPDX-License-Identifier: Apache-2.0
/* What clients and tools ask. */
#include "base/log.h"
#include "base/pattern.h"
#include "master.h"

#define LIST_BYTES_MAX (1 * MiB)
#define LIST_ITEMS_MAX 4096
#define LIST_STEPS 65536 /* places looked at for one answer */

int on_exists(struct peer *p, struct conn_req *r)
{
	struct worker *w = p->w;
	struct msg_existing rep = { .view = pools_view(w->m->pools), .found = w->found };
	struct msg_keys m;
	uint32_t found;
	int ret;

	ret = msg_keys_decode(r->body, r->frame.body_len, &w->scratch, &m);
	if (ret)
		return ret;
	found = objects_exist(w->m->ix, m.keys, m.nr, m.touch, clock_now_ns(), w->found);
	count(w, m.nr == 1 ? CNT_EXIST : CNT_EXIST_BATCH, 1);
	count(w, CNT_EXIST_ITEMS, m.nr);
	count(w, CNT_EXIST_MISSED, m.nr - found);
	rep.nr = m.nr;
	buf_reset(&w->out);
	msg_existing_encode(&rep, &w->out);
	reply_out(w, r);
	return 0;
}

int on_locate(struct peer *p, struct conn_req *r)
{
	struct worker *w = p->w;
	uint64_t now = clock_now_ns(), missed = 0;
	struct located item;
	struct msg_keys m;
	int ret;

	ret = msg_keys_decode(r->body, r->frame.body_len, &w->scratch, &m);
	if (ret)
		return ret;
	buf_reset(&w->out);
	/* The view is read first: one that is too old only makes the client look again. */
	msg_located_begin(&w->out, pools_view(w->m->pools), m.nr);
	for (uint32_t i = 0; i < m.nr; i++) {
		if (m.nr > 1 && i % OBJECTS_BATCH == 0)
			objects_prefetch(w->m->ix, &m.keys[i], sizeof(*m.keys), MIN(m.nr - i, (uint32_t)OBJECTS_BATCH));
		objects_locate(w->m->ix, &m.keys[i], m.touch, now, &item);
		missed += item.status != 0;
		msg_located_add(&w->out, &item);
	}
	count(w, m.nr == 1 ? CNT_GET : CNT_GET_BATCH, 1);
	count(w, CNT_GET_ITEMS, m.nr);
	count(w, CNT_GET_MISSED, missed);
	reply_out(w, r);
	return 0;
}

int on_pools(struct peer *p, struct conn_req *r)
{
	struct worker *w = p->w;

	count(w, CNT_POOLS, 1);
	buf_reset(&w->out);
	pools_encode(w->m->pools, &w->out);
	reply_out(w, r);
	return 0;
}

/* ---- listing ---- */

struct listing {
	struct scratch *scratch;
	struct pattern *pattern; /* NULL: all */
	struct key tenant;
	struct list_item *items;
	uint32_t nr, max;
	size_t bytes;
	bool no_memory;
};

static bool list_one(void *arg, const struct object_view *o)
{
	struct listing *l = arg;
	struct key tenant, key;
	void *copy;

	if (key_split(&o->key, &tenant, &key) || tenant.len != l->tenant.len || memcmp(tenant.data, l->tenant.data, tenant.len))
		return true;
	if (l->nr == l->max || (l->nr && l->bytes + o->key.len > LIST_BYTES_MAX))
		return false;
	copy = scratch_alloc(l->scratch, 1, o->key.len);
	if (!copy) {
		l->no_memory = true;
		return false;
	}
	memcpy(copy, o->key.data, o->key.len);
	l->items[l->nr++] = (struct list_item){
		.key = { copy, o->key.len }, .size = o->size, .flags = o->flags, .nr_replicas = o->nr_replicas,
	};
	l->bytes += o->key.len;
	return true;
}

/* The matcher is slow and must not run under a shard's lock: what does not match is taken out afterwards. */
static void keep_matching(struct listing *l)
{
	struct key tenant, key;
	uint32_t kept = 0;

	for (uint32_t i = 0; i < l->nr; i++)
		if (!key_split(&l->items[i].key, &tenant, &key) && pattern_find(l->pattern, key.data, key.len))
			l->items[kept++] = l->items[i];
	l->nr = kept;
}

int on_list(struct peer *p, struct conn_req *r)
{
	struct worker *w = p->w;
	struct listing l = { .scratch = &w->scratch };
	struct msg_list_reply rep = { 0 };
	struct msg_match m;
	int ret;

	ret = msg_match_decode(r->body, r->frame.body_len, &w->scratch, &m);
	if (ret)
		return ret;
	if (m.pattern.len) {
		ret = pattern_open(m.pattern.data, m.pattern.len, &l.pattern);
		if (ret)
			return ret;
	}
	l.tenant = m.tenant;
	l.max = MIN(m.max ? m.max : LIST_ITEMS_MAX, (uint32_t)LIST_ITEMS_MAX);
	l.items = scratch_alloc(&w->scratch, l.max, sizeof(*l.items));
	if (l.items)
		rep.cursor = objects_walk(w->m->ix, m.cursor, LIST_STEPS, clock_now_ns(), list_one, &l);
	if (l.pattern)
		keep_matching(&l);
	pattern_close(l.pattern);
	if (!l.items || l.no_memory)
		return -ENOMEM;
	count(w, CNT_LIST, 1);
	rep.nr = l.nr;
	rep.items = l.items;
	buf_reset(&w->out);
	msg_list_reply_encode(&rep, &w->out);
	reply_out(w, r);
	return 0;
}

/* ---- removing ---- */

struct removing {
	struct conn_req *req;
	struct worker *w;
	uint32_t nr;
	int32_t status[];
};

static void removed_one(void *arg, uint32_t tag, const struct holder *h, const struct key *key, int status)
{
	struct removing *rm = arg;

	if (status < 0)
		rm->status[tag] = status;
	else if (status == DROP_UNHEARD)
		objects_bury(rm->w->m->ix, h->slot, key, h->gen);
	else
		objects_withdraw(rm->w->m->ix, h->slot, key, h->gen);
}

static void removed(void *arg, struct drops *d)
{
	struct removing *rm = arg;
	struct worker *w = rm->w;
	struct msg_statuses rep = { .nr = rm->nr, .status = rm->status };

	drops_each(d, removed_one, rm);
	for (uint32_t i = 0; i < rm->nr; i++)
		count(w, CNT_REMOVE_REFUSED, rm->status[i] != 0);
	buf_reset(&w->out);
	msg_statuses_encode(&rep, &w->out);
	reply_out(w, rm->req);
	free(rm);
}

static int collect(struct removing *rm, struct drops *d, const struct msg_keys *m)
{
	uint64_t now = clock_now_ns();
	int ret = 0;

	for (uint32_t i = 0; i < m->nr && !ret; i++) {
		struct holder h[REPLICAS_MAX];
		unsigned nr;

		rm->status[i] = objects_holders(rm->w->m->ix, &m->keys[i], m->force, now, h, &nr);
		for (unsigned k = 0; k < nr && !ret; k++)
			ret = drops_add(d, &h[k], &m->keys[i], i);
	}
	return ret;
}

/* ---- clearing: one's own puts, or what of them lies in one segment ---- */

struct wanted {
	struct key segment;
	struct pool_mask *in;
};

static void note_segment(void *arg, const struct pool *p)
{
	struct wanted *w = arg;

	if (p->info.segment.len == w->segment.len && !memcmp(p->info.segment.data, w->segment.data, w->segment.len))
		pool_mask_add(w->in, p->info.index);
}

static int collect_clear(struct removing *rm, struct drops *d, const struct msg_clear *m)
{
	struct master *ms = rm->w->m;
	struct pool_mask in = { 0 };
	uint64_t now = clock_now_ns();
	int ret = 0;

	if (m->segment.len)
		pools_each(ms->pools, note_segment, &(struct wanted){ m->segment, &in });
	for (uint32_t i = 0; i < m->nr && !ret; i++) {
		struct holder h[REPLICAS_MAX];
		unsigned nr;

		rm->status[i] = objects_clear(ms->ix, &m->items[i].key, m->items[i].gen, m->segment.len ? &in : NULL, now, h, &nr);
		for (unsigned k = 0; k < nr && !ret; k++)
			ret = drops_add(d, &h[k], &m->items[i].key, i);
	}
	return ret;
}

static struct removing *removing_new(struct worker *w, struct conn_req *r, uint32_t nr, bool force, struct drops **d)
{
	struct removing *rm = calloc(1, sizeof(*rm) + nr * sizeof(*rm->status));

	*d = rm ? drops_new(w, force, removed, rm) : NULL;
	if (!*d) {
		free(rm);
		return NULL;
	}
	rm->req = r;
	rm->w = w;
	rm->nr = nr;
	return rm;
}

/* Everything is collected, or @ret says why not. */
static int removing_go(struct removing *rm, struct drops *d, int ret)
{
	if (ret) {
		drops_cancel(d);
		free(rm);
		return ret;
	}
	count(rm->w, CNT_REMOVE, 1);
	count(rm->w, CNT_REMOVE_ITEMS, rm->nr);
	drops_send(d); /* keys stay valid with the request */
	return 0;
}

int on_remove(struct peer *p, struct conn_req *r)
{
	struct worker *w = p->w;
	struct removing *rm;
	struct msg_keys m;
	struct drops *d;
	int ret;

	ret = msg_keys_decode(r->body, r->frame.body_len, &w->scratch, &m);
	if (ret)
		return ret;
	rm = removing_new(w, r, m.nr, m.force, &d);
	return rm ? removing_go(rm, d, collect(rm, d, &m)) : -ENOMEM;
}

int on_clear(struct peer *p, struct conn_req *r)
{
	struct worker *w = p->w;
	struct removing *rm;
	struct msg_clear m;
	struct drops *d;
	int ret;

	ret = msg_clear_decode(r->body, r->frame.body_len, &w->scratch, &m);
	if (ret)
		return ret;
	rm = removing_new(w, r, m.nr, false, &d);
	return rm ? removing_go(rm, d, collect_clear(rm, d, &m)) : -ENOMEM;
}

static void match_removed(void *arg, int status, uint64_t nr)
{
	struct msg_count rep = { .count = nr };
	struct conn_req *r = arg;
	struct buf out = BUF_INIT;

	msg_count_encode(&rep, &out);
	conn_reply(r, &(struct conn_reply){ .status = status ? status : out.err, .body = out.data, .body_len = out.len });
	buf_fini(&out);
}

int on_remove_match(struct peer *p, struct conn_req *r)
{
	struct msg_match m;
	int ret;

	ret = msg_match_decode(r->body, r->frame.body_len, &p->w->scratch, &m);
	if (ret)
		return ret;
	return removal_start(p->w, &(struct removal_opts){
		.force = m.force, .tenant = m.tenant, .pattern = m.pattern, .done = match_removed, .arg = r,
	});
}

int on_status(struct peer *p, struct conn_req *r)
{
	struct worker *w = p->w;
	int ret;

	buf_reset(&w->out);
	ret = status_json(w->m, &w->out);
	if (ret)
		return ret;
	reply_out(w, r);
	return 0;
}
