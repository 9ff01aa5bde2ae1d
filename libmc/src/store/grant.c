/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Space in this node's pools, granted by the owner ahead of time: a put takes what it needs without a message and asks for
 * more when that runs out. Messages that give space back are queued under the pool's lock, so that no grant that is asked for
 * later can be meant by them.
 */
#include "store/store.h"

#include "base/log.h"

#define ASK_MAX (256 * MiB) /* in one GRANT; larger batches go in rounds */
#define RETURN_NS NSEC_PER_SEC

/* ---- giving back ---------------------------------------------------------------------------------------------------- */

static uint64_t held_bytes(const struct spool *p)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < p->nr_regions; i++)
		sum += p->runs[i].bytes;
	return sum;
}

struct giving {
	struct mux_req req;
	struct buf body;
	bool sent;
};

/* With the lock. Cuts what is over @keep out of the sets. @runs has room for one more than there are. */
static uint32_t cut_runs(struct spool *p, uint64_t keep, struct grant_run *runs, uint32_t max)
{
	uint64_t held = held_bytes(p);
	uint32_t nr = 0;

	for (unsigned i = 0; i < p->nr_regions; i++) {
		while (held > keep && nr < max) {
			struct grant_run *r = &runs[nr];

			r->region = (uint16_t)i;
			r->len = range_set_cut(&p->runs[i], align_up(held - keep, POOL_UNIT), &r->off);
			if (!r->len)
				break;
			held -= r->len;
			nr++;
		}
	}
	return nr;
}

/* With the lock. An empty list means all, also what we do not know of. */
static void give(struct spool *p, const struct msg_return *m, struct giving *g)
{
	*g = (struct giving){ .req = { .type = MSG_RETURN } };
	msg_return_encode(m, &g->body);
	g->req.body = g->body.data;
	g->req.body_len = g->body.len;
	g->sent = !g->body.err && !mux_submit(p->owner, &g->req, false);
	if (!g->sent)
		p->stray_ns = MAX(p->stray_ns, clock_now_ns());
}

/* With the lock, and no writer inside. */
static void give_all(struct spool *p, struct giving *g)
{
	struct msg_return all = { 0 };

	for (unsigned i = 0; i < POOL_REGIONS_MAX; i++) {
		range_set_fini(&p->runs[i]);
		p->runs[i] = (struct range_set){ 0 };
	}
	p->gen = p->gen_end = 0;
	grant_forget(p);
	if (p->stray_ns <= clock_now_ns())
		p->stray_ns = 0;
	give(p, &all, g);
}

/* Without the lock. A dead owner needs no answer, a slow one will see it in time. */
static void given(struct spool *p, struct giving *g, uint64_t deadline_ns)
{
	int ret = g->sent ? mux_wait(p->owner, &g->req, MIN(deadline_ns, deadline_after_ns(RETURN_NS))) : 0;

	if (ret)
		grant_lost(p, 0);
	buf_fini(&g->req.reply);
	buf_fini(&g->body);
}

/* Return: how many runs went. */
static uint32_t give_over(struct spool *p, uint64_t keep, uint64_t deadline_ns)
{
	struct msg_return m = { 0 };
	struct giving g;
	size_t max = 1;

	pthread_mutex_lock(&p->lock);
	for (unsigned i = 0; i < p->nr_regions; i++)
		max += p->runs[i].count;
	m.runs = held_bytes(p) > keep ? calloc(max, sizeof(*m.runs)) : NULL;
	if (m.runs)
		m.nr = cut_runs(p, keep, m.runs, (uint32_t)MIN(max, (size_t)GRANT_RUNS_MAX));
	if (m.nr)
		give(p, &m, &g);
	pthread_mutex_unlock(&p->lock);
	free(m.runs);
	if (m.nr)
		given(p, &g, deadline_ns);
	return m.nr;
}

/* Between calls. */
static uint64_t keep_bytes(const struct spool *p)
{
	return MIN(STORE_KEEP_BYTES, atomic_load(&p->capacity) / 32);
}

void grant_trim(struct spool *p, uint64_t deadline_ns)
{
	give_over(p, keep_bytes(p), deadline_ns);
}

void grant_release(struct spool *p, uint64_t deadline_ns)
{
	struct giving g;
	bool quiet;

	pthread_mutex_lock(&p->lock);
	quiet = !p->writers;
	if (quiet)
		give_all(p, &g);
	else
		p->stray_ns = MAX(p->stray_ns, clock_now_ns());
	pthread_mutex_unlock(&p->lock);
	if (quiet)
		given(p, &g, deadline_ns);
}

void grant_lost(struct spool *p, uint64_t for_ns)
{
	pthread_mutex_lock(&p->lock);
	p->stray_ns = MAX(p->stray_ns, deadline_after_ns(for_ns));
	pthread_mutex_unlock(&p->lock);
}

void grant_enter(struct spool *p)
{
	pthread_mutex_lock(&p->lock);
	p->writers++;
	pthread_mutex_unlock(&p->lock);
}

void grant_leave(struct spool *p, uint64_t deadline_ns)
{
	struct giving g;
	bool all;

	pthread_mutex_lock(&p->lock);
	all = !--p->writers && (p->stray_ns || atomic_load(&p->gone));
	if (all)
		give_all(p, &g);
	pthread_mutex_unlock(&p->lock);
	if (all)
		given(p, &g, deadline_ns);
}

/* ---- asking --------------------------------------------------------------------------------------------------------- */

static int take_runs(struct spool *p, const struct msg_grant_reply *m)
{
	int ret;

	pthread_mutex_lock(&p->lock);
	ret = view_granted(&p->view, m, p->runs);
	/* Those that go on where the last ones end are more of them; else what is unused is forgotten: there are 2^63. */
	if (!ret && m->gen != p->gen_end)
		p->gen = m->gen;
	if (!ret)
		p->gen_end = m->gen + 2 * (uint64_t)m->gen_count;
	pthread_mutex_unlock(&p->lock);
	return ret;
}

static int check_runs(const struct spool *p, const struct msg_grant_reply *m)
{
	for (uint32_t i = 0; i < m->nr; i++) {
		const struct grant_run *r = &m->runs[i];

		if (r->region >= p->nr_regions || !range_inside(r->off, r->len, p->view.region[r->region].size))
			return -EBADMSG;
	}
	return 0;
}

#define ASKS_MAX 32u

/* How many messages, and for how many bytes each. */
struct wish {
	uint64_t bytes;
	unsigned nr;
};

static int take_answer(struct spool *p, struct mux_req *r, uint64_t deadline_ns)
{
	struct scratch scratch = SCRATCH_INIT;
	struct msg_grant_reply reply;
	int ret, refused;

	ret = refused = mux_wait(p->owner, r, deadline_ns);
	if (!ret)
		ret = msg_grant_reply_decode(r->reply.data, r->reply.len, &scratch, &reply);
	if (!ret)
		ret = check_runs(p, &reply);
	for (uint32_t i = 0; !ret && i < reply.nr; i++)
		prefault_run(p, &reply.runs[i]);
	if (!ret)
		ret = take_runs(p, &reply);
	/* Something may have been granted that we do not have. */
	if (ret && (!refused || refused == -ETIMEDOUT))
		grant_lost(p, 0);
	scratch_fini(&scratch);
	buf_fini(&r->reply);
	return ret;
}

/* Requests on their way, and who waits for them is not known yet. */
struct asking {
	struct buf body;
	unsigned nr;
	struct mux_req req[];
};

/* All at once, so that they cost one round trip. */
static int send_asks(struct spool *p, const struct wish *w, struct asking **out)
{
	struct msg_grant m = { .bytes = w->bytes };
	struct asking *a = calloc(1, sizeof(*a) + w->nr * sizeof(a->req[0]));
	int ret;

	if (!a)
		return -ENOMEM;
	msg_grant_encode(&m, &a->body);
	ret = a->body.err;
	while (!ret && a->nr < w->nr) {
		a->req[a->nr] = (struct mux_req){ .type = MSG_GRANT, .body = a->body.data, .body_len = a->body.len };
		ret = mux_submit(p->owner, &a->req[a->nr], a->nr + 1 < w->nr);
		a->nr += !ret;
	}
	if (ret && !a->nr) {
		buf_fini(&a->body);
		free(a);
		return ret;
	}
	*out = a;
	return 0;
}

/* Return: 0 when something was granted. */
static int take_asks(struct spool *p, struct asking *a, uint64_t deadline_ns)
{
	int first = 0;
	bool got = false;

	for (unsigned i = 0; i < a->nr; i++) {
		int ret = take_answer(p, &a->req[i], deadline_ns);

		got |= !ret;
		first = first ? first : ret;
	}
	buf_fini(&a->body);
	free(a);
	return got ? 0 : first;
}

static int ask(struct spool *p, const struct wish *w, uint64_t deadline_ns)
{
	struct asking *a;
	int ret = send_asks(p, w, &a);

	return ret ? ret : take_asks(p, a, deadline_ns);
}

/* Of no use any more: the owner was told to take everything back, or is no more. */
void grant_forget(struct spool *p)
{
	struct asking *a = p->ahead;

	p->ahead = NULL;
	if (!a)
		return;
	for (unsigned i = 0; i < a->nr; i++) {
		mux_cancel(p->owner, &a->req[i]);
		buf_fini(&a->req[i].reply);
	}
	buf_fini(&a->body);
	free(a);
}

/* ---- cutting -------------------------------------------------------------------------------------------------------- */

/* One object, under the pool's lock. A batch may have tens of thousands: each keeps no more than the pieces it has. */
static int carve_one(struct spool *p, struct put_task *t)
{
	struct extents x;
	size_t bytes;
	int ret;

	if (p->gen == p->gen_end)
		return -EAGAIN;
	ret = extents_carve(p->runs, p->nr_regions, t->bytes, t->key.len, p->gen, &x);
	if (ret)
		return ret == -ENOMEM ? ret : -EAGAIN;
	x.put_id = t->put_id;
	bytes = offsetof(struct extents, piece) + x.nr * sizeof(x.piece[0]);
	t->x = bytes <= sizeof(*t->room) ? (void *)t->room : malloc(bytes);
	if (!t->x) {
		extents_return(p->runs, &x);
		return -ENOMEM;
	}
	memcpy(t->x, &x, bytes);
	p->gen += 2;
	return 0;
}

/* What an empty pool could grant: all but the place that means "none". */
static uint64_t pool_bytes(const struct spool *p)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < p->nr_regions; i++)
		sum += p->view.region[i].size / POOL_UNIT * POOL_UNIT;
	return sum - POOL_UNIT;
}

/*
 * A grant has so many runs and no more. In a full pool of small objects runs are as long as an object: to grant more than that the
 * owner would evict until longer ones appear, and leave the gaps between them empty. So a batch asks several times.
 */
static struct wish wish_of(uint64_t bytes, uint64_t least)
{
	uint64_t most = GRANT_RUNS_MAX * least;
	unsigned nr = (unsigned)MIN((bytes + most - 1) / most, (uint64_t)ASKS_MAX);

	return (struct wish){ .bytes = MIN((bytes + nr - 1) / nr, most), .nr = nr };
}

/*
 * What these objects need, rounded up so that small puts do not ask each time; a little more than that because what is held may
 * lie in pieces. Never more than the pool has: that would be refused, and a part of it is of use.
 */
static struct wish shortage(const struct spool *p, struct put_task **t, unsigned nr)
{
	uint64_t need = 0, all = pool_bytes(p), ahead = MIN(STORE_GRANT_BYTES, all / 64), least = UINT64_MAX, one;
	struct wish w;

	for (unsigned i = 0; i < nr && need < ASK_MAX; i++) {
		one = extent_bytes(t[i]->bytes, t[i]->key.len);
		least = MIN(least, one);
		need += one;
	}
	need = MAX(need, ahead) + held_bytes(p) / 8;
	one = extent_bytes(t[0]->bytes, t[0]->key.len) + EXTENTS_MAX * sizeof(struct extent_hdr);
	w = wish_of(need, MAX(least, one / GRANT_RUNS_MAX));
	w.bytes = MAX(w.bytes, one);
	w.bytes = MIN(w.bytes, all);
	return w;
}

#define AHEAD_MIN MiB /* batches below live on what is asked for more seldom */

/*
 * Who ran out within this batch will do so in the next. The owner works on that while this one is copied, and the answer is there
 * when it is needed.
 */
static struct wish ahead_wish(const struct spool *p, struct put_task **t, unsigned nr)
{
	uint64_t need = 0, least = UINT64_MAX, one, held = held_bytes(p), keep = keep_bytes(p);
	uint64_t ahead = MIN(STORE_GRANT_BYTES, pool_bytes(p) / 64);

	for (unsigned i = 0; i < nr; i++) {
		one = extent_bytes(t[i]->bytes, t[i]->key.len);
		least = MIN(least, one);
		need += one;
	}
	if (need < AHEAD_MIN || need > keep || held >= need || p->ahead || atomic_load(&p->gone))
		return (struct wish){ 0 };
	ahead = MIN(ahead, keep - held); /* single objects do not ask each time */
	return wish_of(MAX(need - held, ahead), least);
}

void grant_ahead(struct spool *p, struct put_task **t, unsigned nr)
{
	struct wish w;

	pthread_mutex_lock(&p->lock);
	w = ahead_wish(p, t, nr);
	if (w.nr)
		send_asks(p, &w, &p->ahead);
	pthread_mutex_unlock(&p->lock);
}

bool grant_short(struct spool *p, struct put_task **t, unsigned nr)
{
	bool is;

	pthread_mutex_lock(&p->lock);
	is = ahead_wish(p, t, nr).nr;
	pthread_mutex_unlock(&p->lock);
	return is;
}

/* As many as there is space for. *@more: what is missing then, *@ahead: it may be on its way. */
static unsigned carve(struct spool *p, struct put_task **t, unsigned nr, int *err, struct wish *more, struct asking **ahead)
{
	unsigned done = 0;

	*err = 0;
	pthread_mutex_lock(&p->lock);
	while (done < nr && !*err) {
		*err = carve_one(p, t[done]);
		done += !*err;
	}
	if (*err == -EAGAIN) {
		*more = shortage(p, t + done, nr - done);
		*ahead = p->ahead;
		p->ahead = NULL;
	}
	pthread_mutex_unlock(&p->lock);
	return done;
}

unsigned grant_carve(struct spool *p, struct put_task **t, unsigned nr, uint64_t deadline_ns, int *err)
{
	unsigned done = 0, rounds = 0;
	struct wish more = { 0 };
	struct asking *ahead;
	bool yielded = false, asked = false;

	/* Other threads may take what was granted to this one: a few rounds, then it is said to be full. */
	while (rounds < 8) {
		ahead = NULL;
		done += carve(p, t + done, nr - done, err, &more, &ahead);
		if (!*err && asked)
			grant_ahead(p, t, nr);
		if (ahead) {
			asked = true;
			take_asks(p, ahead, deadline_ns); /* what it did not bring is asked for now */
			continue;
		}
		if (*err != -EAGAIN || (done && rounds))
			return done; /* these are written first; their space may make room in a later round */
		asked = true;
		rounds++;
		*err = ask(p, &more, deadline_ns);
		if (*err == -ENOSPC && done)
			*err = -EAGAIN;
		/* Full, but for what is held here in pieces too small: the owner may join them with others. */
		if (*err == -ENOSPC && !yielded && give_over(p, 0, deadline_ns)) {
			yielded = true;
			*err = ask(p, &more, deadline_ns);
		}
		if (*err)
			return done;
	}
	*err = -ENOSPC;
	return done;
}

void grant_stale(struct spool *p)
{
	pthread_mutex_lock(&p->lock);
	p->gen = p->gen_end;
	pthread_mutex_unlock(&p->lock);
}

void grant_spent(struct put_task *t)
{
	if (t->x != (void *)t->room)
		free(t->x);
	t->x = NULL;
}

void grant_undo(struct spool *p, struct put_task *t)
{
	pthread_mutex_lock(&p->lock);
	extents_return(p->runs, t->x);
	pthread_mutex_unlock(&p->lock);
	grant_spent(t);
}
