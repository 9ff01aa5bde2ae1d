/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A transport that joins queue pairs as RDMA does, with NICs on paper: those that the topology names. Its data goes by the
 * kernel's copies between processes, but only between ends that were joined, and only into ranges whose keys the peer published.
 * Programs that include this have a table of transports of their own.
 */
#ifndef MC_TEST_PAPER_H
#define MC_TEST_PAPER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/conf.h"
#include "base/thread.h"
#include "dev/dev.h"
#include "transport/transport.h"

#define PAPER_QPS      2
#define PAPER_ENDS     16
#define PAPER_FIRST_QP 0x100
#define PAPER_JOIN_NS  (3 * NSEC_PER_SEC)
#define PAPER_KEYS     65536

/* Of every process of the test: what its passive sides saw, and what they are told to do. In shared memory. */
struct paper_book {
	atomic_uint joined, again, ready, retired;
	atomic_int registered; /* ranges that have keys now */
	atomic_bool refuse;
	_Atomic uint32_t keys; /* handed out */
	atomic_bool valid[PAPER_KEYS];
};
static struct paper_book *paper_book;

static inline void paper_new_book(void)
{
	paper_book = mmap(NULL, sizeof(*paper_book), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

struct paper_end { /* the passive side of one connection */
	char asker[300];
	uint32_t theirs[PAPER_QPS], ours[PAPER_QPS];
	bool usable;
};

struct paper {
	struct transport base;
	struct transport_env env;
	char name[256];
	struct places places;
	char *nic[SEGMENT_NICS_MAX];
	uint32_t nr_nics;
	/* The loop's: */
	struct paper_end end[PAPER_ENDS];
	unsigned nr_ends;
	_Atomic uint32_t next_qp;
};

struct paper_peer {
	struct peer base;
	struct segment_desc desc;
	char *path, *peer_path;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool joined;
	int status;
};

/* ---- NICs ------------------------------------------------------------------------------------ */

static inline void paper_gid(uint8_t i, char out[48])
{
	snprintf(out, 48, "00:00:00:00:00:00:00:00:00:00:ff:ff:7f:00:00:%02x", (uint8_t)(i + 1));
}

static inline void paper_add(struct paper *t, char *const *names, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++) {
		bool known = !list_has(t->env.devices, names[i]);

		for (uint32_t k = 0; k < t->nr_nics && !known; k++)
			known = !strcmp(t->nic[k], names[i]);
		if (!known && t->nr_nics < SEGMENT_NICS_MAX)
			t->nic[t->nr_nics++] = strdup(names[i]);
	}
}

static inline void paper_close(struct transport *base)
{
	struct paper *t = container_of(base, struct paper, base);

	for (uint32_t i = 0; i < t->nr_nics; i++)
		free(t->nic[i]);
	places_fini(&t->places);
	free(t);
}

static inline int paper_open(const struct transport_env *env, struct transport **out);

/* In the order in which upstream's readers come across them. */
static inline void paper_describe(struct transport *base, struct segment_desc *d)
{
	struct paper *t = container_of(base, struct paper, base);
	char gid[48];

	free(d->protocol);
	d->protocol = strdup("rdma");
	places_copy(&t->places, &d->places);
	d->nics = calloc(t->nr_nics, sizeof(*d->nics));
	while (d->nr_nics < t->nr_nics) {
		paper_gid((uint8_t)d->nr_nics, gid);
		d->nics[d->nr_nics] = (struct segment_nic){ .name = strdup(t->nic[d->nr_nics]), .gid = strdup(gid) };
		d->nr_nics++;
	}
}

static inline int paper_reg(struct transport *base, struct segment_buffer *b)
{
	struct paper *t = container_of(base, struct paper, base);

	b->keys = calloc(t->nr_nics, sizeof(*b->keys));
	if (!b->keys)
		return -ENOMEM;
	for (b->nr_keys = 0; b->nr_keys < t->nr_nics; b->nr_keys++) {
		uint32_t key = atomic_fetch_add(&paper_book->keys, 2) % PAPER_KEYS;

		b->keys[b->nr_keys] = (struct segment_keys){ .rkey = key, .lkey = key + 1 };
		paper_book->valid[key] = true;
	}
	paper_book->registered++;
	return 0;
}

static inline void paper_dereg(struct transport *base, const struct segment_buffer *b)
{
	for (uint32_t i = 0; i < b->nr_keys; i++)
		paper_book->valid[b->keys[i].rkey] = false;
	paper_book->registered--;
}

/* ---- asked by peers -------------------------------------------------------------------------- */

static inline struct paper_end *paper_end(struct paper *t, const char *asker)
{
	for (unsigned i = 0; i < t->nr_ends; i++)
		if (!strcmp(t->end[i].asker, asker))
			return &t->end[i];
	if (t->nr_ends == PAPER_ENDS)
		return NULL;
	snprintf(t->end[t->nr_ends].asker, sizeof(t->end[0].asker), "%s", asker);
	return &t->end[t->nr_ends++];
}

/* The engine has looked that it is one. */
static inline uint32_t paper_index(const struct paper *t, const char *path)
{
	uint32_t i = 0;

	while (i < t->nr_nics && strcmp(t->nic[i], strrchr(path, '@') + 1))
		i++;
	return i;
}

static inline int paper_pair(struct transport *base, const struct pairs_json *asked, struct pairs_json *answer)
{
	struct paper *t = container_of(base, struct paper, base);
	struct paper_end *e = paper_end(t, asked->local_nic_path);
	char gid[48];
	bool same;

	if (!e)
		return -ENOSPC;
	if (paper_book->refuse || asked->nr_qps != PAPER_QPS) {
		answer->reply_msg = strdup(paper_book->refuse ? "not today" : "two queue pairs are expected");
		return -EPERM;
	}
	same = e->ours[0] && !memcmp(e->theirs, asked->qp, sizeof(e->theirs));
	if (!same) {
		paper_book->retired += !!e->ours[0];
		memcpy(e->theirs, asked->qp, sizeof(e->theirs));
		for (int i = 0; i < PAPER_QPS; i++)
			e->ours[i] = t->next_qp++;
		e->usable = asked->ready == PAIRS_READY_UNSAID;
	}
	if (asked->ready == PAIRS_READY) {
		if (!same)
			return -EPROTO;
		e->usable = true;
		paper_book->ready++;
		return 0;
	}
	same ? paper_book->again++ : paper_book->joined++;
	memcpy(answer->qp, e->ours, sizeof(e->ours));
	answer->nr_qps = PAPER_QPS;
	answer->ready = asked->ready;
	paper_gid((uint8_t)paper_index(t, asked->peer_nic_path), gid);
	answer->local_gid = strdup(gid);
	return 0;
}

/* ---- asking ---------------------------------------------------------------------------------- */

static inline int paper_join(struct paper_peer *p)
{
	struct paper *t = container_of(p->base.transport, struct paper, base);
	uint32_t first = atomic_fetch_add(&t->next_qp, PAPER_QPS);
	struct pairs_json answer, ask = {
		.local_nic_path = p->path,
		.peer_nic_path = p->peer_path,
		.local_gid = (char *)"00:00:00:00:00:00:00:00:00:00:ff:ff:7f:00:00:01",
		.qp = { first, first + 1 },
		.nr_qps = PAPER_QPS,
		.ready = PAIRS_READY_LATER,
	};
	uint64_t deadline_ns = deadline_after_ns(PAPER_JOIN_NS);
	int ret = t->env.pair(t->env.arg, p->desc.name, &ask, deadline_ns, &answer);

	if (ret)
		return ret;
	ret = *answer.reply_msg ? -EPERM : 0;
	if (!ret && answer.ready != PAIRS_READY_UNSAID) {
		pairs_json_fini(&answer);
		ask.ready = PAIRS_READY;
		ret = t->env.pair(t->env.arg, p->desc.name, &ask, deadline_ns, &answer);
		if (ret)
			return ret;
		ret = *answer.reply_msg ? -EPERM : 0;
	}
	pairs_json_fini(&answer);
	return ret;
}

/* Off the data path: whoever has a transfer waits until its own deadline, not for this. */
static inline void *paper_joiner(void *arg)
{
	struct paper_peer *p = arg;
	int status = paper_join(p);

	pthread_mutex_lock(&p->lock);
	p->status = status;
	p->joined = true;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

static inline void paper_disconnect(struct peer *base)
{
	struct paper_peer *p = container_of(base, struct paper_peer, base);

	pthread_join(p->thread, NULL);
	pthread_cond_destroy(&p->changed);
	pthread_mutex_destroy(&p->lock);
	segment_desc_fini(&p->desc);
	free(p->path);
	free(p->peer_path);
	free(p);
}

static inline int paper_connect(struct transport *base, const struct segment_desc *d, struct peer **out, uint64_t *cost)
{
	struct paper *t = container_of(base, struct paper, base);
	struct paper_peer *p;

	if (strcmp(d->protocol, "rdma") || !d->nr_nics)
		return -EOPNOTSUPP;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->base.transport = base;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->changed, NULL);
	if (segment_desc_copy(d, &p->desc) || asprintf(&p->path, "%s@%s", t->name, t->nic[0]) < 0 ||
	    asprintf(&p->peer_path, "%s@%s", d->name, d->nics[0].name) < 0 || thread_start(&p->thread, "paper", paper_joiner, p))
		abort();
	*out = &p->base;
	*cost = 1;
	return 0;
}

/* ---- data ------------------------------------------------------------------------------------ */

static inline void paper_finish(struct xfer *x, int status)
{
	x->status = status;
	x->done = true;
}

/* Who failed to join tries once more for whoever comes next. */
static inline void paper_try_again(struct paper_peer *p)
{
	bool again;

	pthread_mutex_lock(&p->lock);
	again = p->joined && p->status && p->status != -EPERM;
	p->joined &= !again;
	pthread_mutex_unlock(&p->lock);
	if (!again)
		return;
	pthread_join(p->thread, NULL);
	if (thread_start(&p->thread, "paper", paper_joiner, p))
		abort();
}

static inline void paper_submit(struct peer *base, struct xfer *const *x, unsigned nr)
{
	paper_try_again(container_of(base, struct paper_peer, base));
	for (unsigned i = 0; i < nr; i++) {
		x[i]->peer = base;
		x[i]->done = false;
		x[i]->bytes = 0;
	}
}

/* Is there a key for it? */
static inline bool paper_keyed(const struct segment_desc *d, const struct xvec *v)
{
	for (uint32_t i = 0; i < d->nr_buffers; i++) {
		const struct segment_buffer *b = &d->buffers[i];

		if (v->remote >= b->addr && v->remote + v->len <= b->addr + b->len)
			return b->nr_keys == d->nr_nics && paper_book->valid[b->keys[0].rkey];
	}
	return false;
}

static inline int paper_move(const struct paper_peer *p, struct xfer *x)
{
	for (unsigned i = 0; i < x->nr; i++) {
		struct process_vec v = { x->vec[i].local, x->vec[i].remote, x->vec[i].len };
		pid_t pid = (pid_t)p->desc.mc.pid;
		int ret;

		if (!paper_keyed(&p->desc, &x->vec[i]))
			return -EFAULT;
		ret = x->op == XFER_READ ? process_read(pid, &v, 1) : process_write(pid, &v, 1);
		if (ret)
			return ret == -ESRCH ? -ECONNRESET : ret;
		x->bytes += v.len;
	}
	return 0;
}

static inline bool paper_progress(struct peer *base, struct xfer *x, uint64_t deadline_ns)
{
	struct paper_peer *p = container_of(base, struct paper_peer, base);
	bool joined;
	int ret = 0;

	if (x->done)
		return true;
	pthread_mutex_lock(&p->lock);
	while (!p->joined && !ret && deadline_ns > XFER_GLANCE)
		ret = cond_wait_until(&p->changed, &p->lock, deadline_ns);
	joined = p->joined;
	pthread_mutex_unlock(&p->lock);
	if (!joined)
		return false;
	/* A peer that refuses may be reached by other means; the engine knows them. */
	x->elsewhere = p->status == -EPERM;
	paper_finish(x, p->status ? p->status : paper_move(p, x));
	return true;
}

static inline int paper_wants(struct peer *p, const struct xfer *x, short *events)
{
	return -1;
}

static inline void paper_cancel(struct peer *p, struct xfer *x)
{
	if (!x->done)
		paper_finish(x, -ECANCELED);
}

static inline uint64_t paper_backlog(const struct peer *p)
{
	return 0;
}

static const struct transport_ops transport_paper = {
	.name = "rdma",
	.open = paper_open,
	.close = paper_close,
	.describe = paper_describe,
	.reg = paper_reg,
	.dereg = paper_dereg,
	.pair = paper_pair,
	.connect = paper_connect,
	.disconnect = paper_disconnect,
	.submit = paper_submit,
	.progress = paper_progress,
	.wants = paper_wants,
	.cancel = paper_cancel,
	.backlog = paper_backlog,
};

static inline int paper_open(const struct transport_env *env, struct transport **out)
{
	struct paper *t = calloc(1, sizeof(*t));
	int ret;

	if (!t)
		return -ENOMEM;
	t->base.ops = &transport_paper;
	t->env = *env;
	t->next_qp = PAPER_FIRST_QP;
	snprintf(t->name, sizeof(t->name), "%s", env->name);
	ret = env->places(env->devices, &t->places);
	for (unsigned i = 0; i < t->places.nr && !ret; i++) {
		paper_add(t, t->places.place[i].near, t->places.place[i].nr_near);
		paper_add(t, t->places.place[i].far, t->places.place[i].nr_far);
	}
	if (!ret && !t->nr_nics)
		ret = -ENODEV;
	if (ret)
		paper_close(&t->base);
	else
		*out = &t->base;
	return ret;
}

const struct transport_ops *const transports[] = { &transport_paper, &transport_tcp, NULL };

#endif
