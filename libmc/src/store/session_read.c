/* SPDX-License-Identifier: Apache-2.0 */
/* Reading in parts: the place and generation that a session found, validated with every read. */
#include "store/session.h"

struct reading {
	struct session x;
	struct spool *pool;
	struct found found; /* here: for touches */
	struct loc loc;
	uint64_t size, put_id;
	uint32_t flags;
};

static void reading_free(struct mc_store *s, struct session *x)
{
	struct reading *r = container_of(x, struct reading, x);

	spool_put(r->pool);
	free(r);
}

/* ---- starting ----------------------------------------------------------------------------------------------------- */

static const struct mc_key *plain_key(const void *items, unsigned i)
{
	return &((const struct mc_key *)items)[i];
}

/* In one of this node's pools? */
static bool find_here(const struct pool_set *set, struct get_item *it, struct found *f)
{
	for (unsigned i = 0; i < set->nr; i++) {
		struct spool *p = set->pool[i];

		if (!p->attached || atomic_load_explicit(&p->gone, memory_order_relaxed) ||
		    view_lookup(&p->view, it->key.data, it->key.len, f) || !view_valid(&p->view, &f->loc))
			continue;
		view_touch(&p->view, f);
		it->size = f->size;
		it->flags = f->flags;
		it->loc = f->loc;
		it->pool = p;
		spool_get(p);
		return true;
	}
	return false;
}

static int add(struct mc_store *s, struct get_item *it, const struct found *f)
{
	struct reading *r = calloc(1, sizeof(*r));
	int ret = r ? session_init(&r->x, SESSION_READ, &it->key, reading_free) : -ENOMEM;

	if (ret) {
		free(r);
		return ret;
	}
	r->pool = it->pool; /* its reference */
	it->pool = NULL;
	r->found = *f;
	r->loc = it->loc;
	r->size = it->size;
	r->put_id = it->put_id;
	r->flags = it->flags;
	ret = session_add(s, &r->x);
	session_put(s, &r->x);
	return ret == -EEXIST ? 0 : ret; /* another thread's, of this very moment */
}

static void forget(struct mc_store *s, const struct key *key)
{
	struct session *x = session_get(s, SESSION_READ, key);

	if (!x)
		return;
	session_drop(s, x);
	session_put(s, x);
}

struct starting {
	struct keys keys;
	struct get_item *it, **far;
	struct found *found;
};

static int start_all(struct mc_store *s, struct starting *st, struct mc_session *items, unsigned nr, uint64_t deadline_ns)
{
	struct pool_set *set = pools_get(s);
	unsigned nr_far = 0;
	int ok = 0;

	for (unsigned i = 0; i < nr; i++) {
		struct get_item *it = &st->it[i];

		it->key = st->keys.key[i];
		it->result = it->key.len ? 0 : -EINVAL;
		if (it->result)
			continue;
		forget(s, &it->key);
		if (!find_here(set, it, &st->found[i]))
			st->far[nr_far++] = it;
	}
	pools_put(set);
	if (nr_far)
		s->ops->locate(s, st->far, nr_far, deadline_ns);
	for (unsigned i = 0; i < nr; i++) {
		struct get_item *it = &st->it[i];

		if (!it->result)
			it->result = add(s, it, &st->found[i]);
		items[i].result = it->result == -EHOSTUNREACH ? -ENOMEDIUM : (int)it->result;
		items[i].bytes = items[i].result ? 0 : it->size;
		spool_put(it->pool);
		ok += !items[i].result;
	}
	return ok;
}

int mc_session_read_start(struct mc_store *s, struct mc_session *items, unsigned nr, uint64_t deadline_ns)
{
	struct starting st = { 0 };
	int ret = sessions_enter(s, items, nr, session_key, &st.keys), ok = 0;

	if (ret)
		goto out;
	st.it = calloc(nr + 1, sizeof(*st.it));
	st.far = calloc(nr + 1, sizeof(*st.far));
	st.found = calloc(nr + 1, sizeof(*st.found));
	if (st.it && st.far && st.found)
		ok = start_all(s, &st, items, nr, store_deadline(s, deadline_ns));
	else
		ret = -ENOMEM;
	free(st.it);
	free(st.far);
	free(st.found);
	keys_leave(s, &st.keys);
out:
	for (unsigned i = 0; i < nr && ret; i++)
		items[i].result = ret;
	session_tell(s, "get session of", items, nr);
	return ok;
}

/* ---- reading ------------------------------------------------------------------------------------------------------ */

static int read_here(struct reading *r, const struct mc_session_move *m)
{
	const struct pool_view *v = &r->pool->view;
	int ret = 0;

	if (atomic_load_explicit(&r->pool->gone, memory_order_relaxed))
		return -ESTALE;
	for (unsigned i = 0; i < m->nr && !ret; i++)
		if (m->parts[i].len)
			ret = view_read(v, &r->loc, r->size, m->parts[i].off, m->parts[i].addr, m->parts[i].len);
	if (!ret)
		view_touch(v, &r->found);
	return ret;
}

/* One object to read through the engine: its parts as fragments. */
static int plan_far(const struct reading *r, const struct mc_session_move *m, struct get_item *it)
{
	struct mc_slice *sl = calloc(m->nr + 1, sizeof(*sl));

	if (!sl)
		return -ENOMEM;
	for (unsigned i = 0; i < m->nr; i++)
		sl[i] = (struct mc_slice){ m->parts[i].addr, m->parts[i].off, m->parts[i].len, 0 };
	*it = (struct get_item){ .key = r->x.key,
				 .size = r->size,
				 .put_id = r->put_id,
				 .flags = r->flags,
				 .loc = r->loc,
				 .pool = r->pool,
				 .slices = sl,
				 .nr_slices = m->nr };
	return 0;
}

struct moving {
	struct keys keys;
	struct session **x; /* references */
	struct get_item *it, **far;
	uint64_t *sum;
};

static bool settle(struct mc_store *s, struct session *x, int64_t result, uint64_t sum, struct mc_session_move *m)
{
	if (result == -ESTALE || result == -ENOENT) {
		session_drop(s, x);
		result = -EKEYEXPIRED;
	}
	m->result = result < 0 ? result : (int64_t)sum;
	return m->result >= 0;
}

static int read_all(struct mc_store *s, struct moving *mv, struct mc_session_move *items, unsigned nr, uint64_t deadline_ns)
{
	uint64_t start_ns = stats_sample_ns();
	unsigned nr_far = 0;
	struct tally tally;
	int ok = 0;

	tally_init(&tally);
	for (unsigned i = 0; i < nr; i++) {
		struct session *x = mv->keys.key[i].len ? session_get(s, SESSION_READ, &mv->keys.key[i]) : NULL;
		struct reading *r = container_of(x, struct reading, x);
		int ret = x ? session_parts(&items[i], r->size, &mv->sum[i]) : -EINVAL;

		mv->x[i] = x;
		items[i].result = ret;
		if (ret)
			continue;
		if (r->pool->attached) {
			items[i].result = read_here(r, &items[i]);
			continue;
		}
		items[i].result = plan_far(r, &items[i], &mv->it[i]);
		if (!items[i].result && mv->sum[i])
			mv->far[nr_far++] = &mv->it[i];
	}
	if (nr_far) {
		start_ns = start_ns ? start_ns : clock_now_ns();
		remote_read(s, mv->far, nr_far, deadline_ns);
	}
	for (unsigned i = 0; i < nr; i++) {
		if (mv->it[i].slices && mv->sum[i])
			items[i].result = mv->it[i].result;
		if (mv->x[i] && settle(s, mv->x[i], items[i].result, mv->sum[i], &items[i])) {
			tally_add(&tally, mv->it[i].slices ? mv->it[i].path : MC_PATH_MAPPED, mv->sum[i]);
			ok++;
		}
		free(mv->it[i].slices);
		session_put(s, mv->x[i]);
	}
	stats_got(s, &tally, start_ns);
	return ok;
}

int mc_session_read(struct mc_store *s, struct mc_session_move *items, unsigned nr, uint64_t deadline_ns)
{
	struct moving mv = { 0 };
	int ret = sessions_enter(s, items, nr, session_move_key, &mv.keys), ok = 0;

	if (ret)
		goto out;
	mv.x = calloc(nr + 1, sizeof(*mv.x));
	mv.it = calloc(nr + 1, sizeof(*mv.it));
	mv.far = calloc(nr + 1, sizeof(*mv.far));
	mv.sum = calloc(nr + 1, sizeof(*mv.sum));
	if (mv.x && mv.it && mv.far && mv.sum)
		ok = read_all(s, &mv, items, nr, store_deadline(s, deadline_ns));
	else
		ret = -ENOMEM;
	free(mv.x);
	free(mv.it);
	free(mv.far);
	free(mv.sum);
	keys_leave(s, &mv.keys);
out:
	for (unsigned i = 0; i < nr && ret; i++)
		items[i].result = ret;
	session_tell_moves(s, "get session of", items, nr);
	return ok;
}

void mc_session_read_end(struct mc_store *s, const struct mc_key *keys, unsigned nr)
{
	struct keys full;

	if (sessions_enter(s, keys, nr, plain_key, &full))
		return;
	for (unsigned i = 0; i < nr; i++)
		if (full.key[i].len)
			forget(s, &full.key[i]);
	keys_leave(s, &full);
}
