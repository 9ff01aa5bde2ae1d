/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Space in this node's pools, granted by the owner ahead of time: a put takes what it needs without a message and asks for
 * more when that runs out.
 */
#include "store/store.h"

#include "base/log.h"

#define ASK_MAX (256 * MiB) /* in one GRANT; larger batches go in rounds */

static uint64_t held_bytes(const struct spool *p)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < p->nr_regions; i++)
		sum += p->runs[i].bytes;
	return sum;
}

/* One object, under the pool's lock. */
static int carve_one(struct spool *p, struct put_task *t)
{
	struct extents *x;
	int ret;

	if (p->gen == p->gen_end)
		return -EAGAIN;
	x = malloc(sizeof(*x));
	if (!x)
		return -ENOMEM;
	ret = extents_carve(p->runs, p->nr_regions, t->bytes, t->key.len, p->gen, x);
	if (ret) {
		free(x);
		return ret == -ENOMEM ? ret : -EAGAIN;
	}
	p->gen += 2;
	x->put_id = t->put_id;
	t->x = x;
	return 0;
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

static int take_runs(struct spool *p, const struct msg_grant_reply *m)
{
	int ret = 0;

	pthread_mutex_lock(&p->lock);
	/* Unused generations of the last grant are forgotten: there are 2^63 of them. */
	p->gen = m->gen;
	p->gen_end = m->gen + 2 * (uint64_t)m->gen_count;
	for (uint32_t i = 0; i < m->nr && !ret; i++)
		ret = range_set_add(&p->runs[m->runs[i].region], m->runs[i].off, m->runs[i].len);
	pthread_mutex_unlock(&p->lock);
	return ret;
}

static int ask(struct spool *p, uint64_t bytes, uint64_t deadline_ns)
{
	struct msg_grant m = { .bytes = bytes };
	struct scratch scratch = SCRATCH_INIT;
	struct buf body = BUF_INIT;
	struct mux_req r = { .type = MSG_GRANT };
	struct msg_grant_reply reply;
	int ret;

	msg_grant_encode(&m, &body);
	r.body = body.data;
	r.body_len = body.len;
	ret = body.err ? body.err : mux_call(p->owner, &r, deadline_ns);
	if (!ret)
		ret = msg_grant_reply_decode(r.reply.data, r.reply.len, &scratch, &reply);
	if (!ret)
		ret = check_runs(p, &reply);
	for (uint32_t i = 0; !ret && i < reply.nr; i++)
		prefault_run(p, &reply.runs[i]);
	if (!ret)
		ret = take_runs(p, &reply);
	scratch_fini(&scratch);
	buf_fini(&body);
	buf_fini(&r.reply);
	return ret;
}

/* What the objects need beyond what is held, rounded up so that small puts do not ask each time. */
static uint64_t shortage(const struct spool *p, struct put_task **t, unsigned nr)
{
	uint64_t need = 0, ahead = MIN(STORE_GRANT_BYTES, atomic_load(&p->capacity) / 64);

	for (unsigned i = 0; i < nr && need < ASK_MAX; i++)
		need += extent_bytes(t[i]->bytes, t[i]->key.len);
	return need > ahead ? need : MAX(ahead, need);
}

unsigned grant_carve(struct spool *p, struct put_task **t, unsigned nr, uint64_t deadline_ns, int *err)
{
	unsigned done = 0;
	uint64_t more = 0;

	/* Other threads may take what was granted to this one: a few rounds, then it is said to be full. */
	for (int rounds = 0; rounds < 8; rounds++) {
		*err = 0;
		pthread_mutex_lock(&p->lock);
		while (done < nr && !*err) {
			*err = carve_one(p, t[done]);
			done += !*err;
		}
		if (*err == -EAGAIN)
			more = shortage(p, t + done, nr - done) + held_bytes(p) / 8;
		pthread_mutex_unlock(&p->lock);
		if (*err != -EAGAIN)
			return done;
		if (done && rounds)
			return done; /* write these first; their space may make room in a later round */
		*err = ask(p, more, deadline_ns);
		if (*err)
			return done;
	}
	*err = -ENOSPC;
	return done;
}

void grant_undo(struct spool *p, struct extents *x)
{
	pthread_mutex_lock(&p->lock);
	extents_return(p->runs, x);
	pthread_mutex_unlock(&p->lock);
	free(x);
}

static void send_return(struct spool *p, const struct msg_return *m)
{
	struct buf body = BUF_INIT;
	struct mux_req r = { .type = MSG_RETURN };

	msg_return_encode(m, &body);
	r.body = body.data;
	r.body_len = body.len;
	/* Answered, so that the space is free when this returns; a dead owner needs no answer. */
	if (!body.err)
		mux_call(p->owner, &r, deadline_after_ms(1000));
	buf_fini(&r.reply);
	buf_fini(&body);
}

void grant_trim(struct spool *p)
{
	struct grant_run runs[16];
	struct msg_return m = { .runs = runs };
	uint64_t keep = MIN(STORE_KEEP_BYTES, atomic_load(&p->capacity) / 32), held;

	pthread_mutex_lock(&p->lock);
	for (unsigned i = 0; i < p->nr_regions && m.nr < ARRAY_SIZE(runs); i++) {
		struct grant_run *r = &runs[m.nr];

		held = held_bytes(p);
		if (held <= keep)
			break;
		r->region = (uint16_t)i;
		r->len = range_set_cut(&p->runs[i], (held - keep) & ~(uint64_t)(POOL_UNIT - 1), &r->off);
		if (r->len) {
			m.nr++;
			i--; /* the same region may have more */
		}
	}
	pthread_mutex_unlock(&p->lock);
	if (m.nr)
		send_return(p, &m);
}

void grant_release(struct spool *p)
{
	struct msg_return all = { 0 };

	pthread_mutex_lock(&p->lock);
	for (unsigned i = 0; i < p->nr_regions; i++)
		range_set_fini(&p->runs[i]);
	memset(p->runs, 0, sizeof(p->runs));
	p->gen = p->gen_end = 0;
	pthread_mutex_unlock(&p->lock);
	send_return(p, &all);
}
