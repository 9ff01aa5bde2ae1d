/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A round of writing: tasks that know their pools. Each pool's share goes on its way before any is waited for, and the pools'
 * acknowledgements end it. A large share on this node is committed in parts, so that owner and master work on one while the next
 * is copied; a few large objects are announced before they are copied, for the same reason.
 */
#include "store/store.h"

#include "base/copy.h"
#include "base/hash.h"
#include "base/spin.h"

_Static_assert(sizeof(struct mc_iov) == sizeof(struct iovec) && offsetof(struct mc_iov, len) == offsetof(struct iovec, iov_len),
	       "mc_iov is iovec by another name");

/* ---- one pool's share of a round ------------------------------------------------------------------------------------ */

/* One COMMIT or ANNOUNCE. */
struct part {
	unsigned first, nr; /* of the group's tasks */
	struct mux_req commit;
	struct buf body;
	bool committing;
	bool announced; /* before it was written */
	bool keep;	/* space of what is refused stays with the task */
};

struct group {
	struct spool *pool;
	struct put_task **task; /* into one array for all groups */
	unsigned nr, staged;	/* tasks; of them with space, from the front */
	struct part one, *part; /* here: &one, or an array */
	unsigned nr_parts;
	struct put_wire *wire; /* elsewhere: one for each task */
};

/* A PUT to another node. */
struct put_wire {
	struct mux_req req;
	struct buf body;
};

static void fail_from(struct group *g, unsigned first, int err)
{
	for (unsigned i = first; i < g->nr; i++)
		g->task[i]->result = err;
}

/* Whose the space of a commit without a verdict is, the owner knows; it has decided after so long. */
#define VERDICT_NS (OWNER_PUBLISH_NS + NSEC_PER_SEC)

static bool owner_decided(int err)
{
	return err != -ETIMEDOUT && err != -ECONNRESET && err != -EBADMSG && err != -ENOMEM;
}

static void encode_commit(const struct group *g, struct part *pt)
{
	struct publish_item *items = malloc(pt->nr * sizeof(*items));
	struct msg_commit m = { .nr = pt->nr, .items = items };

	if (!items) {
		pt->body.err = -ENOMEM;
		return;
	}
	for (unsigned i = 0; i < pt->nr; i++) {
		const struct put_task *t = g->task[pt->first + i];

		items[i] = (struct publish_item){ .key = t->key,
						  .put_id = t->put_id,
						  .size = t->bytes,
						  .flags = t->flags,
						  .soft_pin_ms = t->soft_pin_ms,
						  .group = t->group,
						  .loc = extents_loc(t->x) };
	}
	msg_commit_encode(&m, &pt->body);
	free(items);
}

/* @more: another message follows. */
static void submit(struct group *g, struct part *pt, bool more)
{
	int ret;

	encode_commit(g, pt);
	ret = pt->body.err;
	if (!ret) {
		pt->commit = (struct mux_req){ .type = pt->announced ? MSG_ANNOUNCE : MSG_COMMIT,
					       .body = pt->body.data,
					       .body_len = pt->body.len };
		ret = mux_submit(g->pool->owner, &pt->commit, more);
	}
	pt->committing = !ret;
	for (unsigned i = 0; i < pt->nr && ret; i++) {
		g->task[pt->first + i]->result = ret;
		if (!pt->keep)
			grant_undo(g->pool, g->task[pt->first + i]);
	}
}

/* How many from the front one COMMIT holds. */
static unsigned commit_fit(const struct group *g)
{
	size_t bytes = 0;
	unsigned n = 0;

	while (n < g->nr && key_fits(&bytes, &g->task[n]->key))
		n++;
	return n;
}

#define PART_NR 128		/* objects, and */
#define PART_BYTES (256 * KiB)	/* of them, that are worth a message */
#define PARTS_MAX 16u

/* Room for as many parts as there may be; the first always has its own. */
static void make_parts(struct group *g, unsigned nr)
{
	g->part = nr > 1 ? calloc(nr, sizeof(*g->part)) : NULL;
	if (g->part)
		return;
	g->part = &g->one;
	g->one = (struct part){ 0 };
}

static unsigned parts_of(const struct group *g)
{
	uint64_t bytes = 0;
	unsigned nr = g->staged / PART_NR;

	for (unsigned i = 0; i < g->staged; i++)
		bytes += g->task[i]->bytes;
	nr = (unsigned)MIN((uint64_t)nr, bytes / PART_BYTES);
	nr = MIN(nr, PARTS_MAX);
	return nr ? nr : 1;
}

/*
 * Large objects are announced, so that owner and master have decided when the copy is done, and what is left is one store into
 * each header. Small ones are copied faster than anybody answers.
 */
#define ANNOUNCE_LEAST (128 * KiB) /* half as much each of several, for together they take longer */
#define ANNOUNCE_NR    64u

static bool worth_announcing(const struct group *g)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < g->staged; i++)
		bytes += g->task[i]->bytes;
	return g->staged <= ANNOUNCE_NR && bytes >= g->staged * (g->staged > 1 ? ANNOUNCE_LEAST / 2 : ANNOUNCE_LEAST) &&
	       !atomic_load_explicit(&g->pool->no_announce, memory_order_relaxed);
}

static void announce_part(struct group *g, struct part *pt)
{
	const struct pool_view *v = &g->pool->view;
	bool more;

	for (unsigned i = 0; i < pt->nr; i++) {
		const struct put_task *t = g->task[pt->first + i];

		extents_begin(v, t->x, &t->key, (uint16_t)t->flags);
	}
	more = grant_short(g->pool, &g->task[pt->first], pt->nr);
	submit(g, pt, more);
	if (more) /* in the same system call, and the owner has time for it while the master decides */
		grant_ahead(g->pool, &g->task[pt->first], pt->nr);
	for (unsigned i = 0; i < pt->nr && pt->committing; i++) {
		const struct put_task *t = g->task[pt->first + i];

		extents_copy(v, t->x, (uint16_t)t->flags, (const struct iovec *)t->it->iov, (int)t->it->nr_iov);
	}
}

static void commit_part(struct group *g, struct part *pt)
{
	for (unsigned i = 0; i < pt->nr; i++) {
		const struct put_task *t = g->task[pt->first + i];

		extents_fill(&g->pool->view, t->x, &t->key, (uint16_t)t->flags, (const struct iovec *)t->it->iov,
			     (int)t->it->nr_iov);
	}
	submit(g, pt, false);
}

/* On this node: carve, copy, and send the commits without waiting for them. */
static void start_mapped(struct group *g, bool announce, uint64_t deadline_ns)
{
	unsigned parts, each, done = 0;
	int err = 0;

	grant_enter(g->pool);
	g->staged = grant_carve(g->pool, g->task, commit_fit(g), deadline_ns, &err);
	fail_from(g, g->staged, err ? err : -EAGAIN);
	announce &= worth_announcing(g);
	parts = announce ? 1 : parts_of(g);
	make_parts(g, parts);
	each = g->part == &g->one ? g->staged : (g->staged + parts - 1) / parts;
	while (done < g->staged) {
		struct part *pt = &g->part[g->nr_parts++];

		*pt = (struct part){ .first = done, .nr = MIN(each, g->staged - done), .announced = announce };
		done += pt->nr;
		if (announce)
			announce_part(g, pt);
		else
			commit_part(g, pt);
	}
}

/* Return: 0, -EINPROGRESS after so long, another error at once. */
static int watch_agreed(const struct group *g, const struct part *pt, uint64_t until_ns)
{
	int ret = 0;

	for (unsigned i = 0; i < pt->nr && !ret; i++) {
		const struct extents *x = g->task[pt->first + i]->x;

		while ((ret = extents_agreed(&g->pool->view, x)) == -EINPROGRESS && spin_more(until_ns))
			;
	}
	return ret;
}

/*
 * The owner's yes is in the headers before its reply is on the way, and mostly before the copy is done. To sleep for the last few
 * microseconds would cost more of them: waking takes longer, for both sides. Where that is in vain, it is tried more seldom.
 */
static bool wait_agreed(const struct group *g, const struct part *pt)
{
	struct backoff *b = &g->pool->watch;
	int ret = watch_agreed(g, pt, 0);

	if (ret == -EINPROGRESS && backoff_try(b)) {
		ret = watch_agreed(g, pt, deadline_after_ns(SPIN_NS));
		if (ret == -EINPROGRESS)
			backoff_failed(b);
	}
	if (!ret)
		backoff_worked(b);
	return !ret;
}

/* Return: the status of the request. Without a reply @m stays as it is: all is well. */
static int part_answer(struct group *g, struct part *pt, uint64_t deadline_ns, struct scratch *scratch, struct msg_statuses *m)
{
	struct mux *owner = g->pool->owner;
	int ret;

	if (pt->announced && wait_agreed(g, pt)) {
		if (!mux_poll(owner, &pt->commit)) /* reads what is there, so that nothing gathers */
			mux_cancel(owner, &pt->commit);
		return 0;
	}
	ret = mux_wait(owner, &pt->commit, deadline_ns);
	if (!ret)
		ret = msg_statuses_decode(pt->commit.reply.data, pt->commit.reply.len, scratch, m);
	if (!ret && m->nr != pt->nr)
		ret = -EBADMSG;
	if (ret == -EOPNOTSUPP && pt->announced) {
		atomic_store_explicit(&g->pool->no_announce, true, memory_order_relaxed);
		ret = -EAGAIN;
	}
	return ret;
}

/* No answer, so nothing becomes readable. */
static void abandon(struct group *g, struct put_task *t)
{
	if (extents_abandon(&g->pool->view, t->x))
		grant_undo(g->pool, t);
	else
		grant_spent(t); /* the owner's, unless it never heard of it */
}

/* The owner agreed, unless somebody was faster: it becomes readable now. */
static void reveal(struct group *g, struct put_task *t)
{
	int ret = extents_reveal(&g->pool->view, t->x);

	/* The answer may be a dead owner's. Nobody may have kept what was written after it. */
	if (!ret && atomic_load(&g->pool->gone))
		t->result = -ECONNRESET;
	/* Revoked, because it took so long: once more, and not announced. Removed meanwhile: then it was there. */
	else if (ret && ret != -ENOENT)
		t->result = ret == -ESTALE ? -EAGAIN : -EIO;
	if (ret == -ENOENT || ret == -ESTALE)
		grant_undo(g->pool, t);
	else
		grant_spent(t);
}

static void finish_part(struct group *g, struct part *pt, uint64_t deadline_ns)
{
	struct scratch scratch = SCRATCH_INIT;
	struct msg_statuses m = { 0 };
	int ret = part_answer(g, pt, deadline_ns, &scratch, &m);

	for (unsigned i = 0; i < pt->nr; i++) {
		struct put_task *t = g->task[pt->first + i];

		t->result = ret ? ret : m.nr ? m.status[i] : 0;
		/* Other threads were granted so much meanwhile that its generation is too old: once more. */
		if (t->result == -ESTALE) {
			grant_stale(g->pool);
			t->result = -EAGAIN;
		}
		/* Refused, one or all: the space is ours again. */
		if (t->result && owner_decided(ret) && pt->keep)
			continue;
		else if (t->result && owner_decided(ret))
			grant_undo(g->pool, t);
		else if (pt->announced && ret)
			abandon(g, t);
		else if (pt->announced)
			reveal(g, t);
		else
			grant_spent(t);
	}
	if (!owner_decided(ret))
		grant_lost(g->pool, VERDICT_NS);
	scratch_fini(&scratch);
	buf_fini(&pt->commit.reply);
}

static void finish_mapped(struct group *g, uint64_t deadline_ns)
{
	for (unsigned i = 0; i < g->nr_parts; i++) {
		if (g->part[i].committing)
			finish_part(g, &g->part[i], deadline_ns);
		buf_fini(&g->part[i].body);
	}
	if (g->part != &g->one)
		free(g->part);
	grant_trim(g->pool, deadline_ns);
	grant_leave(g->pool, deadline_ns);
}

void put_commit(struct put_task **task, unsigned nr, uint64_t deadline_ns)
{
	struct group g = { .pool = task[0]->pool, .task = task, .nr = nr };

	while (g.nr) {
		struct part pt = { .nr = commit_fit(&g), .keep = true };

		submit(&g, &pt, false);
		if (pt.committing)
			finish_part(&g, &pt, deadline_ns);
		buf_fini(&pt.body);
		g.task += pt.nr;
		g.nr -= pt.nr;
	}
}

/* Elsewhere: one frame per object, sent one after the other, answered as they are stored. */
static int send_put(struct put_task *t, struct put_wire *w, const struct link_conn *c, bool more)
{
	bool sum = c->hello.version >= PROTO_VERSION_SUM;
	struct msg_put put = { .key = t->key,
			       .put_id = t->put_id,
			       .size = t->bytes,
			       .flags = t->flags,
			       .soft_pin_ms = t->soft_pin_ms,
			       .group = t->group };

	/* Else the checksum follows the bytes, and nobody waits for it. */
	for (unsigned k = 0; !sum && k < t->it->nr_iov; k++)
		put.crc = crc32c(put.crc, t->it->iov[k].addr, t->it->iov[k].len);
	msg_put_encode(&put, &w->body);
	w->req = (struct mux_req){ .type = MSG_PUT,
				   .body = w->body.data,
				   .body_len = w->body.len,
				   .out = (const struct iovec *)t->it->iov,
				   .nr_out = (int)t->it->nr_iov,
				   .sum_out = sum };
	return w->body.err ? w->body.err : mux_submit(c->mux, &w->req, more);
}

static void start_remote(struct group *g, struct link_conn *c)
{
	g->wire = calloc(g->nr, sizeof(*g->wire));
	if (!g->wire)
		fail_from(g, 0, -ENOMEM);
	for (unsigned i = 0; i < g->nr && g->wire; i++)
		g->task[i]->result = send_put(g->task[i], &g->wire[i], c, i + 1 < g->nr);
}

static void finish_remote(struct group *g, struct link_conn *c, uint64_t deadline_ns)
{
	for (unsigned i = 0; i < g->nr && g->wire; i++) {
		struct put_task *t = g->task[i];
		struct put_wire *w = &g->wire[i];

		if (!t->result)
			t->result = mux_wait(c->mux, &w->req, deadline_ns);
		buf_fini(&w->req.reply);
		buf_fini(&w->body);
	}
	free(g->wire);
}

/* ---- a round: all pools at once ------------------------------------------------------------------------------------- */

static int by_pool(const void *a, const void *b)
{
	const struct put_task *const *x = a, *const *y = b;

	if ((*x)->pool != (*y)->pool)
		return (*x)->pool < (*y)->pool ? -1 : 1;
	return (*x)->item < (*y)->item ? -1 : (*x)->item > (*y)->item;
}

/* Mostly there is one pool, and nothing to do. */
static void sort(struct put_task **task, unsigned nr)
{
	for (unsigned i = 1; i < nr; i++)
		if (by_pool(&task[i - 1], &task[i]) > 0) {
			qsort(task, nr, sizeof(*task), by_pool);
			return;
		}
}

#define GROUPS_MAX 64 /* pools one batch is spread over */

void put_round(struct put_task **task, unsigned nr, bool announce, uint64_t deadline_ns)
{
	struct link_conn *conn[GROUPS_MAX] = { NULL };
	struct group group[GROUPS_MAX];
	unsigned groups = 0;
	int ret;

	sort(task, nr);
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
			start_mapped(&group[i], announce, deadline_ns);
	for (unsigned i = 0; i < groups; i++) {
		if (group[i].pool->attached) {
			finish_mapped(&group[i], deadline_ns);
		} else if (conn[i]) {
			finish_remote(&group[i], conn[i], deadline_ns);
			link_put(&group[i].pool->remote, conn[i]);
		}
	}
}
