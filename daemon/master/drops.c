// SPDX-License-Identifier: Apache-2.0
/*
 * Asking owners to drop replicas. The request's worker makes one batch per pool; a batch travels to the worker that has the
 * pool's connection, is called there, and comes back.
 */
#include <stdio.h>

#include "base/log.h"
#include "master.h"

#define BATCH_BYTES_MAX (8 * MiB)
#define BUCKETS 64

struct batch {
	struct loop_work work;
	struct drops *d;
	struct batch *next_in_bucket, *next;
	uint32_t pool;
	uint32_t nr, cap;
	struct drop_item *items;
	struct tagged {
		uint32_t tag;
		uint16_t slot;
		int32_t status;
	} *tags;
	size_t bytes;
	struct buf body;
	bool back, suspected;
};

struct drops {
	struct worker *w;
	bool force, finished;
	void (*done)(void *arg, struct drops *d);
	void *arg;
	struct batch *batches;
	struct batch *bucket[BUCKETS]; /* by pool, the one that is being filled first */
	unsigned away;
	struct loop_timer patience;
};

struct drops *drops_new(struct worker *w, bool force, void (*done)(void *arg, struct drops *d), void *arg)
{
	struct drops *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->w = w;
	d->force = force;
	d->done = done;
	d->arg = arg;
	return d;
}

void drops_cancel(struct drops *d)
{
	struct batch *b, *next;

	for (b = d->batches; b; b = next) {
		next = b->next;
		buf_fini(&b->body);
		free(b->items);
		free(b->tags);
		free(b);
	}
	free(d);
}

/* ---- filling ---- */

static struct batch *batch_for(struct drops *d, uint32_t pool, size_t bytes)
{
	struct batch **head = &d->bucket[pool % BUCKETS], *b;

	for (b = *head; b; b = b->next_in_bucket)
		if (b->pool == pool && b->nr < BATCH_MAX && b->bytes + bytes <= BATCH_BYTES_MAX)
			return b;
	b = calloc(1, sizeof(*b));
	if (!b)
		return NULL;
	b->d = d;
	b->pool = pool;
	b->next_in_bucket = *head;
	*head = b;
	b->next = d->batches;
	d->batches = b;
	return b;
}

static int batch_reserve(struct batch *b)
{
	uint32_t cap = b->cap ? b->cap * 2 : 16;
	void *p;

	if (b->nr < b->cap)
		return 0;
	p = reallocarray(b->items, cap, sizeof(*b->items));
	if (!p)
		return -ENOMEM;
	b->items = p;
	p = reallocarray(b->tags, cap, sizeof(*b->tags));
	if (!p)
		return -ENOMEM;
	b->tags = p;
	b->cap = cap;
	return 0;
}

int drops_add(struct drops *d, const struct holder *h, const struct key *key, uint32_t tag)
{
	size_t bytes = key->len + sizeof(uint16_t) + sizeof(uint64_t);
	struct batch *b = batch_for(d, h->pool, bytes);

	if (!b || batch_reserve(b))
		return -ENOMEM;
	b->items[b->nr] = (struct drop_item){ .key = *key, .gen = h->gen };
	b->tags[b->nr] = (struct tagged){ .tag = tag, .slot = h->slot };
	b->nr++;
	b->bytes += bytes;
	return 0;
}

void drops_each(struct drops *d, void (*fn)(void *arg, uint32_t tag, const struct holder *h, const struct key *key, int status),
		void *arg)
{
	for (struct batch *b = d->batches; b; b = b->next)
		for (uint32_t i = 0; i < b->nr; i++) {
			struct holder h = { b->tags[i].slot, b->pool, b->items[i].gen };

			fn(arg, b->tags[i].tag, &h, &b->items[i].key, b->back ? b->tags[i].status : DROP_UNHEARD);
		}
}

/* ---- coming back, on the request's worker ---- */

static void finish(struct drops *d)
{
	if (d->finished)
		return;
	d->finished = true;
	loop_timer_del(d->w->loop, &d->patience);
	d->done(d->arg, d);
}

static void came_back(struct loop_work *work)
{
	struct batch *b = container_of(work, struct batch, work);
	struct drops *d = b->d;
	struct master *m = d->w->m;

	b->back = true;
	if (b->suspected) {
		pools_suspect(m->pools, b->pool, false);
		log_info("pool %u answers again", b->pool);
	}
	if (--d->away)
		return;
	finish(d);
	drops_cancel(d);
	atomic_fetch_sub(&m->ops, 1);
}

static void out_of_patience(struct loop_timer *t)
{
	struct drops *d = container_of(t, struct drops, patience);

	for (struct batch *b = d->batches; b; b = b->next) {
		if (b->back)
			continue;
		b->suspected = true;
		pools_suspect(d->w->m->pools, b->pool, true);
		log_warn_limited("pool %u did not answer within %u ms: its objects are invisible until it does", b->pool,
				 (unsigned)(DROP_PATIENCE_NS / NSEC_PER_MSEC));
	}
	finish(d); /* @d stays for what is still away */
}

/* ---- at the pool's connection, on its worker ---- */

static void all_status(struct batch *b, int status)
{
	for (uint32_t i = 0; i < b->nr; i++)
		b->tags[i].status = status;
}

static void answered(void *arg, int status, const uint8_t *body, size_t len)
{
	struct scratch s = SCRATCH_INIT;
	struct batch *b = arg;
	struct msg_statuses m;

	if (status == -ECONNRESET || status == -ETIMEDOUT) {
		all_status(b, DROP_UNHEARD); /* dead: it has nothing any more that anybody could find, unless it comes back */
	} else if (status || msg_statuses_decode(body, len, &s, &m) || m.nr != b->nr) {
		log_warn_limited("pool %u: DROP of %u objects failed: %s", b->pool, b->nr,
				 status ? strerror(-status) : "the answer is malformed");
		all_status(b, status ? status : -EIO);
	} else {
		for (uint32_t i = 0; i < b->nr; i++)
			b->tags[i].status = m.status[i];
	}
	scratch_fini(&s);
	b->work.fn = came_back;
	loop_post(b->d->w->loop, &b->work);
}

static void call_owner(struct loop_work *work)
{
	struct batch *b = container_of(work, struct batch, work);
	struct master *m = b->d->w->m;
	struct pool_life life;
	struct peer *p;
	int ret;

	if (!pools_life(m->pools, b->pool, &life)) {
		answered(b, -ECONNRESET, NULL, 0);
		return;
	}
	if (!loop_inside(m->workers[life.worker].loop)) { /* at first, and when it joined anew elsewhere meanwhile */
		loop_post(m->workers[life.worker].loop, &b->work);
		return;
	}
	p = m->workers[life.worker].owners[b->pool];
	if (!p) {
		answered(b, -ECONNRESET, NULL, 0);
		return;
	}
	ret = conn_call(p->conn, MSG_DROP, b->body.data, b->body.len, deadline_after_ns(m->set.client_ttl_ns), answered, b);
	if (ret)
		answered(b, ret, NULL, 0);
}

void drops_send(struct drops *d)
{
	struct master *m = d->w->m;
	struct batch *b, *next;

	for (b = d->batches; b; b = b->next) {
		struct msg_drop msg = { .force = d->force, .nr = b->nr, .items = b->items };

		msg_drop_encode(&msg, &b->body);
		b->work.fn = call_owner;
		d->away++;
	}
	if (!d->away) {
		finish(d);
		drops_cancel(d);
		return;
	}
	atomic_fetch_add(&m->ops, 1);
	if (loop_timer_set(d->w->loop, &d->patience, deadline_after_ns(DROP_PATIENCE_NS), out_of_patience))
		log_err_limited("no memory for a timer: a silent owner is waited for until it is lost");
	/* The last one may come back, and free all, only through this loop: not before we return. */
	for (b = d->batches; b; b = next) {
		next = b->next;
		if (b->body.err)
			answered(b, b->body.err, NULL, 0);
		else
			call_owner(&b->work);
	}
}
