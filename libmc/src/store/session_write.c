/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing in parts. Where one replica goes to this node's memory, the parts go into granted space that no directory knows yet; else
 * into memory of ours that is put at the end. Who dies in between leaves nothing: granted space comes back with its holder.
 */
#include "store/session.h"

#include "base/copy.h"

/* Options of one start, shared by its sessions. */
struct wishes {
	int refs; /* under the sessions' lock */
	struct mc_put_opts opts;
	const char *preferred[]; /* then the texts */
};

struct writing {
	struct session x;
	uint64_t bytes;
	struct wishes *wishes;
	struct put_task task; /* task.x: granted space of task.pool, of which grant_enter() was told */
	struct put_room room;
	struct mc_put put; /* key and size for the task */
	bool refused;	   /* the owner did not take it: it is put like any other bytes */
	void *memory;	   /* instead of space */
	uint64_t share;	   /* of what sessions may have of task.pool; 0: none is taken */
	struct mc_key group;
	uint8_t group_name[];
};

static void wishes_put(struct mc_store *s, struct wishes *w)
{
	bool last;

	pthread_mutex_lock(&s->sessions->lock);
	last = !--w->refs;
	pthread_mutex_unlock(&s->sessions->lock);
	if (last)
		free(w);
}

/* What a session has of a pool goes back. */
static void leave_pool(struct mc_store *s, struct writing *w)
{
	struct spool *p = w->task.pool;

	if (!p)
		return;
	if (w->task.x)
		grant_undo(p, &w->task);
	atomic_fetch_sub(&p->in_sessions, w->share);
	grant_leave(p, deadline_after_ns(NSEC_PER_SEC));
	spool_put(p);
	w->task.pool = NULL;
}

static void writing_free(struct mc_store *s, struct session *x)
{
	struct writing *w = container_of(x, struct writing, x);

	leave_pool(s, w);
	if (w->memory)
		session_memory_free(s, w->bytes, w->memory);
	wishes_put(s, w->wishes);
	free(w);
}

/* ---- starting ----------------------------------------------------------------------------------------------------- */

static int wishes_of(const struct mc_put_opts *o, struct wishes **out)
{
	size_t text = 0;
	struct wishes *w;
	char *p;

	if (o->flags & MC_PUT_REPLACE)
		return -EINVAL;
	for (unsigned i = 0; i < o->nr_preferred; i++)
		text += strlen(o->preferred[i]) + 1;
	w = calloc(1, sizeof(*w) + o->nr_preferred * sizeof(w->preferred[0]) + text);
	if (!w)
		return -ENOMEM;
	w->refs = 1;
	w->opts = *o;
	w->opts.preferred = w->preferred;
	w->opts.groups = NULL; /* each session has its own */
	p = (char *)&w->preferred[o->nr_preferred];
	for (unsigned i = 0; i < o->nr_preferred; i++) {
		size_t len = strlen(o->preferred[i]) + 1;

		w->preferred[i] = memcpy(p, o->preferred[i], len);
		p += len;
	}
	*out = w;
	return 0;
}

/* Where objects may go. */
struct room_at {
	struct spool *here; /* this node's pool with the most room: a reference, or NULL */
	bool others;	    /* there are more */
	uint64_t largest;   /* of the pools; 0: there is none */
};

static uint64_t capacity_of(const struct spool *p)
{
	uint64_t bytes = atomic_load(&p->capacity);

	for (uint32_t i = 0; !bytes && p->attached && i < p->view.nr_regions; i++) /* nobody told so far */
		bytes += p->view.region[i].size;
	return bytes ? bytes : UINT64_MAX;
}

static void look_around(struct mc_store *s, struct room_at *at)
{
	struct pool_set *set = pools_get(s);
	struct spool *best = NULL;
	uint64_t most = 0;

	*at = (struct room_at){ 0 };
	for (unsigned i = 0; i < set->nr; i++) {
		struct spool *p = set->pool[i];
		uint64_t capacity = capacity_of(p), used = atomic_load(&p->used);

		if (atomic_load(&p->gone) || atomic_load(&p->flags) & POOL_DRAINING)
			continue;
		at->largest = MAX(at->largest, capacity);
		if (!p->attached || !p->owner) {
			at->others = true;
			continue;
		}
		at->others |= best != NULL;
		if (!best || capacity - MIN(used, capacity) > most) {
			best = p;
			most = capacity - MIN(used, capacity);
		}
	}
	if (best)
		spool_get(best);
	at->here = best;
	pools_put(set);
}

static struct writing *writing_new(struct mc_store *s, const struct key *key, uint64_t bytes, struct wishes *wishes,
				   const struct mc_key *group)
{
	size_t len = group ? group->len : 0;
	struct writing *w = calloc(1, sizeof(*w) + len);

	if (!w || session_init(&w->x, SESSION_WRITE, key, writing_free)) {
		free(w);
		return NULL;
	}
	w->bytes = bytes;
	w->wishes = wishes;
	pthread_mutex_lock(&s->sessions->lock);
	wishes->refs++;
	pthread_mutex_unlock(&s->sessions->lock);
	if (len)
		memcpy(w->group_name, group->data, len);
	w->group = (struct mc_key){ w->group_name, len };
	w->task = (struct put_task){ .it = &w->put,
				     .key = w->x.key,
				     .bytes = bytes,
				     .put_id = store_put_id(s),
				     .flags = put_object_flags(&wishes->opts),
				     .soft_pin_ms = (uint32_t)MIN(wishes->opts.soft_pin_ms, UINT32_MAX),
				     .group = put_group(s, &w->group),
				     .room = &w->room };
	return w;
}

/* What clients forget is nobody's: half of a pool is for the others. One object may be larger. */
static bool take_share(struct spool *p, struct writing *w)
{
	uint64_t bytes = extent_bytes(w->bytes, w->task.key.len), had = atomic_fetch_add(&p->in_sessions, bytes);

	if (!had || had + bytes <= capacity_of(p) / 2) {
		w->share = bytes;
		return true;
	}
	atomic_fetch_sub(&p->in_sessions, bytes);
	return false;
}

/*
 * Space in @p for as many from the front as there is and they may have; those that got none have no pool afterwards. Return:
 * -ENOSPC, … for them.
 */
static int carve(struct spool *p, struct writing **w, unsigned nr, uint64_t deadline_ns)
{
	struct put_task **t = calloc(nr + 1, sizeof(*t));
	unsigned done = 0, all = nr;
	int err = 0;

	if (!t)
		return -ENOMEM;
	for (nr = 0; nr < all && take_share(p, w[nr]); nr++) {
		grant_enter(p); /* until the session ends */
		t[nr] = &w[nr]->task;
	}
	while (done < nr && !err) {
		unsigned n = grant_carve(p, t + done, nr - done, deadline_ns, &err);

		done += n;
		if (n && err == -EAGAIN)
			err = 0;
	}
	for (unsigned i = 0; i < nr; i++) {
		if (i < done) {
			spool_get(p);
			w[i]->task.pool = p;
			extents_begin(&p->view, w[i]->task.x, &w[i]->task.key, (uint16_t)w[i]->task.flags);
		} else {
			atomic_fetch_sub(&p->in_sessions, w[i]->share);
			grant_leave(p, deadline_ns);
		}
	}
	free(t);
	if (done < nr) /* what was granted and is too little helps others more */
		grant_trim(p, deadline_ns);
	return err || nr == all ? err : -ENOSPC;
}

/* The objects that are there already, and keys that are none, are refused. */
static void refuse_known(struct mc_store *s, struct mc_session *items, unsigned nr, uint64_t deadline_ns)
{
	struct mc_query *q = calloc(nr + 1, sizeof(*q));

	for (unsigned i = 0; q && i < nr; i++)
		q[i].key = items[i].key;
	if (q)
		mc_store_exists(s, q, nr, deadline_ns);
	for (unsigned i = 0; i < nr; i++) {
		items[i].result = !q ? -ENOMEM : q[i].result > 0 ? -EEXIST : q[i].result;
		if (!items[i].result && (!items[i].bytes || items[i].bytes > NET_PAYLOAD_MAX))
			items[i].result = -EINVAL;
	}
	free(q);
}

/* Space for the sessions that @w has, here or in memory of ours. Results of those that got none. */
static void make_room(struct mc_store *s, const struct room_at *at, const struct wishes *wishes, struct mc_session **items,
		      struct writing **w, unsigned nr, uint64_t deadline_ns)
{
	bool direct = at->here && wishes->opts.replicas <= 1 && !wishes->opts.nr_preferred;
	int err = direct ? carve(at->here, w, nr, deadline_ns) : 0;

	for (unsigned i = 0; i < nr; i++) {
		if (w[i]->task.pool)
			continue;
		/* The owner may go, and others come; but where there is none, there is no room. */
		if (direct && !at->others) {
			items[i]->result = err == -EAGAIN || !err ? -ENOSPC : err;
			continue;
		}
		items[i]->result = session_memory_take(s, w[i]->bytes, &w[i]->memory);
	}
}

static int start_all(struct mc_store *s, const struct key *key, struct mc_session *items, unsigned nr, struct wishes *wishes,
		     const struct mc_key *groups, uint64_t deadline_ns)
{
	struct writing **w = calloc(nr + 1, sizeof(*w));
	struct mc_session **it = calloc(nr + 1, sizeof(*it));
	struct room_at at;
	unsigned n = 0;
	int ok = 0;

	refuse_known(s, items, nr, deadline_ns);
	if (atomic_load(&s->view_seen) != atomic_load(&s->view_known))
		pools_refresh(s, false, deadline_ns);
	look_around(s, &at);
	if (!at.largest && s->ops == &cluster_ops && !pools_refresh(s, true, deadline_ns))
		look_around(s, &at);
	for (unsigned i = 0; i < nr; i++) {
		struct writing *one;
		bool fits;

		if (items[i].result)
			continue;
		/* Nothing shall be evicted for what fits nowhere. */
		fits = extent_bytes(items[i].bytes, key[i].len) <= at.largest;
		one = fits && w && it ? writing_new(s, &key[i], items[i].bytes, wishes, groups ? &groups[i] : NULL) : NULL;
		items[i].result = one ? 0 : !at.largest ? -ENOMEDIUM : fits ? -ENOMEM : -ENOSPC;
		if (!one)
			continue;
		/* In the table first, sealed: of two starts of one key the second is refused before it takes room. */
		one->x.sealed = true;
		items[i].result = session_add(s, &one->x);
		if (items[i].result) {
			items[i].result = items[i].result == -EEXIST ? -EINVAL : items[i].result;
			session_put(s, &one->x);
			continue;
		}
		w[n] = one;
		it[n++] = &items[i];
	}
	if (n)
		make_room(s, &at, wishes, it, w, n, deadline_ns);
	for (unsigned i = 0; i < n; i++) {
		if (it[i]->result)
			session_drop(s, &w[i]->x);
		else
			session_unseal(s, &w[i]->x);
		ok += !it[i]->result;
		session_put(s, &w[i]->x);
	}
	spool_put(at.here);
	free(w);
	free(it);
	return ok;
}

int mc_session_write_start(struct mc_store *s, struct mc_session *items, unsigned nr, const struct mc_put_opts *opts,
			   uint64_t deadline_ns)
{
	struct wishes *wishes = NULL;
	struct mc_put_opts o;
	struct keys keys;
	int ret = put_opts_take(opts, &o), ok = 0;

	if (!ret)
		ret = wishes_of(&o, &wishes);
	if (!ret)
		ret = sessions_enter(s, items, nr, session_key, &keys);
	if (ret) {
		free(wishes);
		goto out;
	}
	ok = start_all(s, keys.key, items, nr, wishes, o.groups, store_deadline(s, deadline_ns));
	wishes_put(s, wishes);
	keys_leave(s, &keys);
out:
	for (unsigned i = 0; i < nr && ret; i++)
		items[i].result = ret;
	session_tell(s, "put session of", items, nr);
	return ok;
}

/* ---- writing ------------------------------------------------------------------------------------------------------ */

static void write_part(const struct writing *w, const struct mc_part *p)
{
	if (w->memory)
		copy_bytes((char *)w->memory + p->off, p->addr, p->len);
	else
		extents_write(&w->task.pool->view, w->task.x, p->off, p->addr, p->len);
}

static int64_t write_one(struct mc_store *s, const struct key *key, const struct mc_session_move *m)
{
	struct session *x = key->len ? session_get(s, SESSION_WRITE, key) : NULL;
	const struct writing *w = container_of(x, struct writing, x);
	uint64_t sum;
	int ret = -EINVAL;

	if (!x)
		return ret;
	if (session_enter(s, x)) {
		ret = w->refused ? -EINVAL : session_parts(m, w->bytes, &sum);
		for (unsigned i = 0; i < m->nr && !ret; i++)
			write_part(w, &m->parts[i]);
		session_leave(s, x);
	}
	session_put(s, x);
	return ret ? ret : (int64_t)sum;
}

int mc_session_write(struct mc_store *s, struct mc_session_move *items, unsigned nr)
{
	struct keys keys;
	int ret = sessions_enter(s, items, nr, session_move_key, &keys), ok = 0;

	if (ret)
		goto out;
	for (unsigned i = 0; i < nr; i++) {
		items[i].result = write_one(s, &keys.key[i], &items[i]);
		ok += items[i].result >= 0;
	}
	keys_leave(s, &keys);
out:
	for (unsigned i = 0; i < nr && ret; i++)
		items[i].result = ret;
	session_tell_moves(s, "put session of", items, nr);
	return ok;
}

/* ---- ending ------------------------------------------------------------------------------------------------------- */

static int by_pool(const void *a, const void *b)
{
	const struct writing *const *x = a, *const *y = b;

	return (*x)->task.pool < (*y)->task.pool ? -1 : (*x)->task.pool > (*y)->task.pool;
}

/* Those in granted space, @nr of them sorted by pool: each pool's are one commit. What it refuses is put in another way. */
static void commit(struct mc_store *s, struct writing **w, unsigned nr, uint64_t deadline_ns)
{
	struct put_task **t = calloc(nr + 1, sizeof(*t));
	uint64_t start_ns = clock_now_ns();
	struct tally tally;

	tally_init(&tally);
	for (unsigned i = 0; i < nr; i++) {
		struct put_task *one = &w[i]->task;

		one->result = t ? 0 : -ENOMEM;
		if (!t)
			continue;
		t[i] = one;
		extents_seal(&one->pool->view, one->x, (uint16_t)one->flags, NULL);
	}
	for (unsigned i = 0, n; t && i < nr; i += n) {
		for (n = 1; i + n < nr && t[i + n]->pool == t[i]->pool; n++)
			;
		put_commit(t + i, n, deadline_ns);
	}
	for (unsigned i = 0; t && i < nr; i++) {
		const struct put_task *one = &w[i]->task;

		w[i]->refused = one->x && one->result && one->result != -EEXIST;
		if (!one->result)
			tally_add(&tally, MC_PATH_MAPPED, one->bytes);
		tally.puts += !one->result;
	}
	stats_put(s, &tally, start_ns);
	free(t);
}

/* Like any other put, from where the bytes lie. */
static int put_bytes(struct mc_store *s, struct writing *w, uint64_t deadline_ns)
{
	size_t tenant = strlen(s->tenant) + 1;
	struct mc_put_opts o = w->wishes->opts;
	struct iovec iov[EXTENTS_MAX] = { { w->memory, w->bytes } };
	struct mc_put put = { .key = { (const char *)w->x.key.data + tenant, w->x.key.len - tenant },
			      .iov = (const struct mc_iov *)iov,
			      .nr_iov = 1 };
	int nr = w->memory ? 1 : extents_iov(&w->task.pool->view, w->task.x, iov, EXTENTS_MAX);

	if (nr < 0)
		return nr;
	put.nr_iov = (unsigned)nr;
	o.groups = &w->group;
	mc_store_put(s, &put, 1, &o, deadline_ns);
	return put.result;
}

static int end_one(struct mc_store *s, struct writing *w, uint64_t deadline_ns)
{
	int ret = w->task.result;

	/* Its space is not ours any more, and whether it was stored nobody says: there is nothing to do again. */
	if (w->task.pool && !w->task.x) {
		session_drop(s, &w->x);
		return ret;
	}
	if (w->memory || w->refused)
		ret = put_bytes(s, w, deadline_ns);
	if (!ret || ret == -EEXIST)
		session_drop(s, &w->x);
	else
		session_unseal(s, &w->x);
	return ret == -EEXIST ? 0 : ret;
}

static int end_all(struct mc_store *s, const struct key *key, struct mc_session *items, unsigned nr, uint64_t deadline_ns)
{
	struct writing **w = calloc(nr + 1, 2 * sizeof(*w)), **granted = w + nr + 1;
	unsigned nr_granted = 0;
	int ok = 0;

	for (unsigned i = 0; i < nr; i++) {
		struct session *x = w && key[i].len ? session_get(s, SESSION_WRITE, &key[i]) : NULL;

		items[i].result = !w ? -ENOMEM : x ? session_seal(s, x, deadline_ns) : -EINVAL;
		if (x && items[i].result)
			session_put(s, x);
		if (!x || items[i].result)
			continue;
		w[i] = container_of(x, struct writing, x);
		if (w[i]->task.x && !w[i]->refused)
			granted[nr_granted++] = w[i];
	}
	if (nr_granted) {
		qsort(granted, nr_granted, sizeof(*granted), by_pool);
		commit(s, granted, nr_granted, deadline_ns);
	}
	for (unsigned i = 0; w && i < nr; i++) {
		if (w[i]) {
			items[i].result = end_one(s, w[i], deadline_ns);
			session_put(s, &w[i]->x);
		}
		ok += !items[i].result;
	}
	free(w);
	return ok;
}

static int revoke_all(struct mc_store *s, const struct key *key, struct mc_session *items, unsigned nr, uint64_t deadline_ns)
{
	int ok = 0;

	for (unsigned i = 0; i < nr; i++) {
		struct session *x = key[i].len ? session_get(s, SESSION_WRITE, &key[i]) : NULL;

		items[i].result = x ? session_seal(s, x, deadline_ns) : -EINVAL;
		if (!items[i].result)
			session_drop(s, x);
		session_put(s, x);
		ok += !items[i].result;
	}
	sessions_trim(s, deadline_ns);
	return ok;
}

static int finish(struct mc_store *s, struct mc_session *items, unsigned nr, uint64_t deadline_ns,
		  int (*fn)(struct mc_store *s, const struct key *key, struct mc_session *items, unsigned nr, uint64_t deadline_ns))
{
	struct keys keys;
	int ret = sessions_enter(s, items, nr, session_key, &keys), ok = 0;

	if (ret)
		goto out;
	ok = fn(s, keys.key, items, nr, store_deadline(s, deadline_ns));
	keys_leave(s, &keys);
out:
	for (unsigned i = 0; i < nr && ret; i++)
		items[i].result = ret;
	session_tell(s, "put session of", items, nr);
	return ok;
}

int mc_session_write_end(struct mc_store *s, struct mc_session *items, unsigned nr, uint64_t deadline_ns)
{
	return finish(s, items, nr, deadline_ns, end_all);
}

int mc_session_write_revoke(struct mc_store *s, struct mc_session *items, unsigned nr, uint64_t deadline_ns)
{
	return finish(s, items, nr, deadline_ns, revoke_all);
}
