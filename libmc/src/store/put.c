/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Storing. Each replica of each object is a task; tasks go to pools, all pools work at the same time, and one
 * acknowledgement per pool ends them. What a pool could not take is tried in another.
 */
#include "store/store.h"

#include "base/copy.h"
#include "base/hash.h"
#include "base/log.h"

_Static_assert(sizeof(struct mc_iov) == sizeof(struct iovec) && offsetof(struct mc_iov, len) == offsetof(struct iovec, iov_len),
	       "mc_iov is iovec by another name");

bool put_check(const struct mc_put *it, uint64_t *bytes)
{
	uint64_t sum = 0;

	if (!it->key.len || it->key.len > KEY_MAX)
		return false;
	for (unsigned i = 0; i < it->nr_iov; i++)
		if (check_add(sum, it->iov[i].len, &sum))
			return false;
	*bytes = sum;
	return sum && sum <= NET_PAYLOAD_MAX;
}

/* ---- one pool's share of a round ------------------------------------------------------------------------------------ */

struct group {
	struct spool *pool;
	struct put_task **task; /* into one array for all groups */
	unsigned nr, staged;	/* tasks; of them with space, from the front */
	struct mux_req commit;
	struct buf body;
	bool committing;
};

static void fail_from(struct group *g, unsigned first, int err)
{
	for (unsigned i = first; i < g->nr; i++)
		g->task[i]->result = err;
}

static void submit_commit(struct group *g)
{
	struct publish_item *items = calloc(g->staged, sizeof(*items));
	struct msg_commit m = { .nr = g->staged, .items = items };
	int ret = items ? 0 : -ENOMEM;

	for (unsigned i = 0; i < g->staged && items; i++) {
		const struct put_task *t = g->task[i];

		items[i] = (struct publish_item){ .key = t->key,
						  .put_id = t->put_id,
						  .size = t->bytes,
						  .flags = t->flags,
						  .soft_pin_ms = t->soft_pin_ms,
						  .loc = extents_loc(t->x) };
	}
	if (!ret) {
		msg_commit_encode(&m, &g->body);
		ret = g->body.err;
	}
	free(items);
	if (!ret) {
		g->commit = (struct mux_req){ .type = MSG_COMMIT, .body = g->body.data, .body_len = g->body.len };
		ret = mux_submit(g->pool->owner, &g->commit, false);
	}
	g->committing = !ret;
	if (ret) {
		for (unsigned i = 0; i < g->staged; i++) {
			g->task[i]->result = ret;
			grant_undo(g->pool, g->task[i]->x);
			g->task[i]->x = NULL;
		}
	}
}

/* On this node: carve, copy, and send the commit without waiting for it. */
static void start_mapped(struct group *g, uint64_t deadline_ns)
{
	int err = 0;

	g->staged = grant_carve(g->pool, g->task, g->nr, deadline_ns, &err);
	fail_from(g, g->staged, err ? err : -EAGAIN);
	for (unsigned i = 0; i < g->staged; i++) {
		struct put_task *t = g->task[i];

		extents_fill(&g->pool->view, t->x, &t->key, (uint16_t)t->flags, (const struct iovec *)t->it->iov,
			     (int)t->it->nr_iov);
	}
	if (g->staged)
		submit_commit(g);
}

/* Whether the owner saw a commit at all. */
static bool unanswered(int ret)
{
	return ret == -ETIMEDOUT || ret == -ECONNRESET || ret == -EBADMSG;
}

static void finish_mapped(struct group *g, uint64_t deadline_ns)
{
	struct scratch scratch = SCRATCH_INIT;
	struct msg_statuses m;
	int ret;

	if (!g->committing)
		return;
	ret = mux_wait(g->pool->owner, &g->commit, deadline_ns);
	if (!ret)
		ret = msg_statuses_decode(g->commit.reply.data, g->commit.reply.len, &scratch, &m);
	if (!ret && m.nr != g->staged)
		ret = -EBADMSG;
	for (unsigned i = 0; i < g->staged; i++) {
		struct put_task *t = g->task[i];

		t->result = ret ? ret : m.status[i];
		/* Refused, alone or all: the space is ours again. No answer: whose it is is not known; the owner reclaims it later. */
		if (t->result && !unanswered(ret))
			grant_undo(g->pool, t->x);
		else
			free(t->x);
		t->x = NULL;
	}
	scratch_fini(&scratch);
	buf_fini(&g->commit.reply);
	buf_fini(&g->body);
}

/* Elsewhere: one frame per object, sent one after the other, answered as they are stored. */
static void start_remote(struct group *g, struct link_conn *c)
{
	for (unsigned i = 0; i < g->nr; i++) {
		struct put_task *t = g->task[i];
		struct msg_put m = { .key = t->key,
				     .put_id = t->put_id,
				     .size = t->bytes,
				     .flags = t->flags,
				     .soft_pin_ms = t->soft_pin_ms };

		for (unsigned k = 0; k < t->it->nr_iov; k++)
			m.crc = crc32c(m.crc, t->it->iov[k].addr, t->it->iov[k].len);
		msg_put_encode(&m, &t->body);
		t->req = (struct mux_req){ .type = MSG_PUT,
					   .body = t->body.data,
					   .body_len = t->body.len,
					   .out = (const struct iovec *)t->it->iov,
					   .nr_out = (int)t->it->nr_iov };
		t->result = t->body.err ? t->body.err : mux_submit(c->mux, &t->req, i + 1 < g->nr);
		g->staged += !t->result;
	}
}

static void finish_remote(struct group *g, struct link_conn *c, uint64_t deadline_ns)
{
	for (unsigned i = 0; i < g->nr; i++) {
		struct put_task *t = g->task[i];

		if (!t->result)
			t->result = mux_wait(c->mux, &t->req, deadline_ns);
		buf_fini(&t->req.reply);
		buf_fini(&t->body);
	}
}

/* ---- a round: all pools at once ------------------------------------------------------------------------------------- */

static int by_pool(const void *a, const void *b)
{
	const struct put_task *const *x = a, *const *y = b;

	if ((*x)->pool != (*y)->pool)
		return (*x)->pool < (*y)->pool ? -1 : 1;
	return (*x)->item < (*y)->item ? -1 : (*x)->item > (*y)->item;
}

#define GROUPS_MAX 64 /* pools one batch is spread over */

static void run_round(struct put_task **task, unsigned nr, uint64_t deadline_ns)
{
	struct link_conn *conn[GROUPS_MAX] = { NULL };
	struct group group[GROUPS_MAX];
	unsigned groups = 0;
	int ret;

	qsort(task, nr, sizeof(*task), by_pool);
	for (unsigned i = 0; i < nr; i++) {
		if (!groups || group[groups - 1].pool != task[i]->pool) {
			if (groups == GROUPS_MAX) {
				task[i]->result = -EAGAIN;
				continue;
			}
			group[groups++] = (struct group){ .pool = task[i]->pool, .task = &task[i] };
		}
		group[groups - 1].nr++;
	}
	/* Others first: their bytes travel while ours are copied. */
	for (unsigned i = 0; i < groups; i++) {
		if (group[i].pool->attached)
			continue;
		ret = link_get(&group[i].pool->remote, deadline_ns, &conn[i]);
		if (ret)
			fail_from(&group[i], 0, ret);
		else
			start_remote(&group[i], conn[i]);
	}
	for (unsigned i = 0; i < groups; i++)
		if (group[i].pool->attached)
			start_mapped(&group[i], deadline_ns);
	for (unsigned i = 0; i < groups; i++) {
		if (group[i].pool->attached) {
			finish_mapped(&group[i], deadline_ns);
			grant_trim(group[i].pool);
		} else if (conn[i]) {
			finish_remote(&group[i], conn[i], deadline_ns);
			link_put(&group[i].pool->remote, conn[i]);
		}
	}
}

/* ---- choosing ------------------------------------------------------------------------------------------------------- */

static bool is_preferred(const struct spool *p, const struct mc_put_opts *o)
{
	for (unsigned i = 0; o && i < o->nr_preferred; i++)
		if (!strcmp(o->preferred[i], p->segment))
			return true;
	return false;
}

struct chooser {
	struct pool_set *set;
	struct candidate *cand;
	uint64_t random;
};

static int chooser_open(struct chooser *c, struct mc_store *s, const struct mc_put_opts *o)
{
	c->set = pools_get(s);
	c->cand = calloc(c->set->nr + 1, sizeof(*c->cand));
	random_bytes(&c->random, sizeof(c->random));
	if (!c->cand) {
		pools_put(c->set);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < c->set->nr; i++) {
		struct spool *p = c->set->pool[i];

		c->cand[i] = (struct candidate){
			.usable = !atomic_load(&p->gone) && !(atomic_load(&p->flags) & POOL_DRAINING) &&
				  (p->attached || (s->remote_ok && p->addr[0])),
			.same_node = p->same_node,
			.preferred = is_preferred(p, o),
			.capacity = atomic_load(&p->capacity),
			.used = atomic_load(&p->used),
		};
	}
	return 0;
}

static void chooser_close(struct chooser *c)
{
	free(c->cand);
	pools_put(c->set);
}

/* A pool that @used[] does not mark yet; marks it. NULL: none is left. */
static struct spool *choose(struct chooser *c, bool *used)
{
	bool saved[c->set->nr + 1];
	int at;

	for (unsigned i = 0; i < c->set->nr; i++) {
		saved[i] = c->cand[i].usable;
		c->cand[i].usable = saved[i] && !used[i];
	}
	c->random = c->random * 6364136223846793005ULL + 1442695040888963407ULL;
	at = place_pick(c->cand, c->set->nr, c->random >> 16);
	for (unsigned i = 0; i < c->set->nr; i++)
		c->cand[i].usable = saved[i];
	if (at < 0)
		return NULL;
	used[at] = true;
	return c->set->pool[at];
}

/* ---- the call ------------------------------------------------------------------------------------------------------- */

struct put_item {
	unsigned stored;  /* replicas that are there */
	int error;	  /* of the last failure */
	bool exists, bad;
};

struct put_call {
	struct mc_store *s;
	struct mc_put *items;
	unsigned nr, replicas;
	struct put_item *state;
	struct put_task *tasks;
	struct put_task **todo;
	bool *used; /* nr × pools: where a replica of the item was tried */
	struct chooser ch;
};

/* Errors that another pool may not have. */
static bool elsewhere(int err)
{
	return err == -ENOSPC || err == -ESHUTDOWN || err == -ECONNRESET || err == -ECONNREFUSED || err == -EHOSTUNREACH ||
	       err == -EAGAIN;
}

/* Found here already: nothing to send. The read of the directory is also the touch that protects the object. */
static bool stored_here(struct put_call *c, const struct key *key)
{
	struct found f;

	for (unsigned i = 0; i < c->ch.set->nr; i++) {
		struct spool *p = c->ch.set->pool[i];

		if (p->attached && !atomic_load(&p->gone) && !view_lookup(&p->view, key->data, key->len, &f)) {
			view_touch(&p->view, &f);
			return true;
		}
	}
	return false;
}

/* Gives every unfinished replica a pool. Return: tasks to run. */
static unsigned assign(struct put_call *c, const struct keys *keys, const uint64_t *bytes, const struct mc_put_opts *o,
		       const uint64_t *put_id)
{
	uint32_t flags = (o ? o->flags : 0), obj = OBJ_CRC;
	unsigned nr = 0;

	obj |= flags & MC_PUT_HARD_PIN ? OBJ_HARD_PIN : 0;
	obj |= flags & MC_PUT_SOFT_PIN ? OBJ_SOFT_PIN : 0;
	obj |= flags & MC_PUT_REPLACE ? OBJ_REPLACE : 0;
	for (unsigned i = 0; i < c->nr; i++) {
		struct put_item *st = &c->state[i];

		for (unsigned r = st->stored; r < c->replicas && !st->bad && !st->exists; r++) {
			struct spool *p = choose(&c->ch, &c->used[(size_t)i * (c->ch.set->nr + 1)]);

			if (!p) {
				if (!st->error)
					st->error = -ECONNREFUSED; /* no pool at all */
				break;
			}
			c->tasks[nr] = (struct put_task){ .it = &c->items[i],
							  .key = keys->key[i],
							  .bytes = bytes[i],
							  .put_id = put_id[i],
							  .flags = obj,
							  .soft_pin_ms = o ? (uint32_t)MIN(o->soft_pin_ms, UINT32_MAX) : 0,
							  .item = i,
							  .pool = p };
			c->todo[nr] = &c->tasks[nr];
			nr++;
		}
	}
	return nr;
}

/* Takes in what a round did. Return: is there anything to try elsewhere? */
static bool settle(struct put_call *c, unsigned nr)
{
	bool again = false;

	for (unsigned i = 0; i < nr; i++) {
		const struct put_task *t = c->todo[i];
		struct put_item *st = &c->state[t->item];

		if (!t->result) {
			st->stored++;
		} else if (t->result == -EEXIST) {
			st->exists = true;
		} else {
			st->error = t->result;
			again |= elsewhere(t->result);
			st->bad |= !elsewhere(t->result);
			/* The same pool may have room for it once this round's space is used or returned. */
			if (t->result == -EAGAIN)
				memset(&c->used[(size_t)t->item * (c->ch.set->nr + 1)], 0, c->ch.set->nr + 1);
		}
	}
	return again;
}

static const struct mc_key *key_at(const void *items, unsigned i)
{
	return &((const struct mc_put *)items)[i].key;
}

static void run_call(struct put_call *c, const struct keys *keys, const uint64_t *bytes, const struct mc_put_opts *o,
		     const uint64_t *put_id, uint64_t deadline_ns)
{
	unsigned nr;

	for (int round = 0; round < 64; round++) {
		nr = assign(c, keys, bytes, o, put_id);
		if (!nr)
			break;
		run_round(c->todo, nr, deadline_ns);
		if (!settle(c, nr) || deadline_passed(deadline_ns))
			break;
	}
}

int cluster_put(struct mc_store *s, struct mc_put *items, unsigned nr, const struct mc_put_opts *o, uint64_t deadline_ns)
{
	struct put_call c = { .s = s, .items = items, .nr = nr, .replicas = o && o->replicas ? o->replicas : 1 };
	uint64_t *bytes = NULL, *put_id = NULL;
	struct keys keys;
	int ret, ok = 0;

	if (atomic_load(&s->view_seen) != atomic_load(&s->view_known) || !atomic_load(&s->view_known))
		pools_refresh(s, false, deadline_ns);
	ret = keys_make(s, items, nr, key_at, &keys);
	if (ret)
		goto out_keys;
	ret = chooser_open(&c.ch, s, o);
	if (ret)
		goto out_chooser;
	if (c.replicas > c.ch.set->nr)
		c.replicas = c.ch.set->nr ? c.ch.set->nr : 1;
	c.state = calloc(nr, sizeof(*c.state));
	c.tasks = calloc((size_t)nr * c.replicas, sizeof(*c.tasks));
	c.todo = calloc((size_t)nr * c.replicas, sizeof(*c.todo));
	c.used = calloc((size_t)nr * (c.ch.set->nr + 1), sizeof(*c.used));
	bytes = calloc(nr, sizeof(*bytes));
	put_id = calloc(nr, sizeof(*put_id));
	if (!c.state || !c.tasks || !c.todo || !c.used || !bytes || !put_id) {
		ret = -ENOMEM;
		goto out;
	}
	for (unsigned i = 0; i < nr; i++) {
		put_id[i] = store_put_id(s);
		if (!put_check(&items[i], &bytes[i])) {
			c.state[i].bad = true;
			c.state[i].error = -EINVAL;
		} else if (!(o && o->flags & MC_PUT_REPLACE) && stored_here(&c, &keys.key[i])) {
			c.state[i].exists = true;
		}
	}
	run_call(&c, &keys, bytes, o, put_id, deadline_ns);
	for (unsigned i = 0; i < nr; i++) {
		struct put_item *st = &c.state[i];

		items[i].result = st->stored || st->exists ? 0 : st->error == -EAGAIN ? -ENOSPC : st->error;
		ok += !items[i].result;
		if (st->stored) {
			atomic_fetch_add_explicit(&s->count.puts, 1, memory_order_relaxed);
			atomic_fetch_add_explicit(&s->count.put_bytes, bytes[i], memory_order_relaxed);
			if (o && o->flags & MC_PUT_REPLACE && s->cache)
				cache_drop(s->cache, &keys.key[i]);
		}
	}
out:
	free(put_id);
	free(bytes);
	free(c.used);
	free(c.todo);
	free(c.tasks);
	free(c.state);
	chooser_close(&c.ch);
out_chooser:
	keys_free(&keys);
out_keys:
	for (unsigned i = 0; i < nr && ret; i++)
		items[i].result = ret;
	return ret ? 0 : ok;
}

int mc_store_put(struct mc_store *s, struct mc_put *items, unsigned nr, const struct mc_put_opts *opts, uint64_t deadline_ns)
{
	int ret = nr > BATCH_MAX ? -E2BIG : store_enter(s);

	if (ret) {
		for (unsigned i = 0; i < nr; i++)
			items[i].result = ret;
		return 0;
	}
	if (nr)
		ret = s->ops->put(s, items, nr, opts, store_deadline(s, deadline_ns));
	store_leave(s);
	return ret;
}
