/* SPDX-License-Identifier: Apache-2.0 */
/* Requests: checked and copied at submission, handed to a transport, looked at by status. */
#include "engine/engine.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"

#define BLOCK_VECS 1024

/* Vectors of requests with more than one; kept for the batch's next use. */
struct vec_block {
	struct vec_block *next;
	size_t used, cap;
	struct xvec v[];
};

static struct xvec *vecs_alloc(struct mc_batch *b, unsigned nr)
{
	struct vec_block *k = b->vecs;
	size_t cap = MAX(nr, (unsigned)BLOCK_VECS);

	if (!k || k->cap - k->used < nr) {
		k = malloc(sizeof(*k) + cap * sizeof(k->v[0]));
		if (!k)
			return NULL;
		*k = (struct vec_block){ .next = b->vecs, .cap = cap };
		b->vecs = k;
	}
	k->used += nr;
	return &k->v[k->used - nr];
}

/* Keeps one block. */
static void vecs_reset(struct mc_batch *b, bool all)
{
	while (b->vecs && (all || b->vecs->next)) {
		struct vec_block *k = b->vecs;

		b->vecs = k->next;
		free(k);
	}
	if (b->vecs)
		b->vecs->used = 0;
}

int mc_batch_open(struct mc_engine *eng, unsigned max, void (*done)(void *arg), void *arg,
		  struct mc_batch **out)
{
	struct mc_batch *b;
	size_t size;

	if (engine_forked(eng))
		return engine_refuse_fork();
	if (!max || check_mul((size_t)max, sizeof(b->item[0]) + sizeof(b->run[0]), &size) ||
	    check_add(size, sizeof(*b), &size))
		return -EINVAL;
	b = calloc(1, size);
	if (!b)
		return -ENOMEM;
	b->run = (struct xfer **)&b->item[max];
	b->eng = eng;
	b->max = max;
	b->done = done;
	b->arg = arg;
	b->told = true;
	list_init(&b->node);
	list_init(&b->ended);
	turn_init(&b->turn);
	*out = b;
	return 0;
}

void mc_batch_close(struct mc_batch *b)
{
	if (!b || engine_forked(b->eng))
		return;
	mc_batch_cancel(b);
	if (b->cq)
		cq_leave(b);
	vecs_reset(b, true);
	turn_fini(&b->turn);
	free(b);
}

int mc_batch_reset(struct mc_batch *b)
{
	int ret = -EBUSY;

	if (engine_forked(b->eng))
		return engine_refuse_fork();
	if (b->pending)
		return ret;
	/* Who saw the last request end is about to leave. */
	turn_take(&b->turn, DEADLINE_NEVER);
	if (!b->pending) {
		if (b->cq)
			cq_take_back(b);
		vecs_reset(b, false);
		b->nr = b->next = 0;
		ret = 0;
	}
	turn_give(&b->turn);
	return ret;
}

int mc_batch_priority(struct mc_batch *b, enum mc_priority p)
{
	int ret = -EBUSY;

	if (engine_forked(b->eng))
		return engine_refuse_fork();
	if (p != MC_PRIORITY_NORMAL && p != MC_PRIORITY_HIGH && p != MC_PRIORITY_BACKGROUND)
		return -EINVAL;
	if (b->pending)
		return ret;
	turn_take(&b->turn, DEADLINE_NEVER);
	if (!b->pending) {
		b->priority = p;
		b->next = b->nr;
		ret = 0;
	}
	turn_give(&b->turn);
	return ret;
}

/* ---- submission ------------------------------------------------------------------------------ */

static bool vec_ok(const struct mc_vec *v)
{
	uint64_t end;

	return !check_add(v->remote, v->len, &end) &&
	       !check_add((uint64_t)(uintptr_t)v->local, v->len, &end);
}

static const char *transport_name(const struct mc_engine *eng, const char *name)
{
	for (unsigned i = 0; i < eng->nr_transports; i++) {
		if (!strcmp(eng->transport[i]->ops->name, name))
			return eng->transport[i]->ops->name;
	}
	return NULL;
}

static int check(const struct mc_engine *eng, const struct mc_request *r)
{
	uint64_t sum = 0;

	if ((r->op != MC_READ && r->op != MC_WRITE) || !r->segment || r->segment->eng != eng) {
		log_err_limited("request: no operation, or no segment of this engine");
		return -EINVAL;
	}
	if (r->flags & ~MC_REQUEST_FLAGS) {
		log_err_limited("request: flags 0x%x are not known", r->flags & ~MC_REQUEST_FLAGS);
		return -EINVAL;
	}
	if (!r->nr_vec || r->nr_vec > ENGINE_VECS_MAX) {
		log_err_limited("request: %u vectors; 1 to %u are possible", r->nr_vec,
				ENGINE_VECS_MAX);
		return -EINVAL;
	}
	for (unsigned i = 0; i < r->nr_vec; i++) {
		if (!vec_ok(&r->vec[i]) || check_add(sum, r->vec[i].len, &sum)) {
			log_err_limited("request: a vector wraps around");
			return -EINVAL;
		}
	}
	if (r->transport && !transport_name(eng, r->transport)) {
		log_err_limited("request: transport \"%s\" is not open", r->transport);
		return -EINVAL;
	}
	return 0;
}

/* Transports know no empty vectors. */
static unsigned copy_vecs(const struct mc_request *r, struct xvec *to)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < r->nr_vec; i++) {
		const struct mc_vec *v = &r->vec[i];

		if (v->len)
			to[nr++] = (struct xvec){ v->local, v->remote, v->len };
	}
	return nr;
}

static int item_fill(struct mc_batch *b, struct item *it, const struct mc_request *r,
		     uint64_t deadline_ns)
{
	struct xvec *v = &it->one;

	*it = (struct item){
		.seg = r->segment,
		.deadline_ns = deadline_ns,
		.transport = r->transport ? transport_name(b->eng, r->transport) : NULL,
	};
	if (r->nr_vec > 1) {
		v = vecs_alloc(b, r->nr_vec);
		if (!v)
			return -ENOMEM;
	}
	it->x = (struct xfer){ .op = r->op == MC_READ ? XFER_READ : XFER_WRITE,
			       .vec = v,
			       .nr = copy_vecs(r, v),
			       .sum = r->flags & MC_REQUEST_CRC && r->op == MC_READ,
			       .urgent = b->priority == MC_PRIORITY_HIGH,
			       .told = b->cq ? driver_told : NULL,
			       .arg = &b->eng->driver };
	return b->priority == MC_PRIORITY_BACKGROUND ? slice_prepare(it) : 0;
}

static uint32_t crc_of(const struct xfer *x)
{
	uint32_t crc = 0;

	for (unsigned i = 0; i < x->nr && !x->summed; i++)
		crc = crc32c(crc, x->vec[i].local, x->vec[i].len);
	return x->summed ? x->crc : crc;
}

void item_end(struct mc_batch *b, struct item *it, int error)
{
	if (it->way)
		way_put(it->way);
	it->way = NULL;
	it->error = error;
	it->bytes = error ? 0 : it->x.bytes;
	it->crc = !error && it->x.sum ? crc_of(&it->x) : 0;
	if (b->priority == MC_PRIORITY_BACKGROUND)
		slice_end(b, it);
	/* Release: pairs with mc_batch_status(), which does not lock. */
	atomic_store_explicit(&it->state, MC_DONE, memory_order_release);
	atomic_fetch_sub_explicit(&b->pending, 1, memory_order_release);
}

/* The way of the item before is mostly this one's too. */
static int item_way(struct item *it, const struct item *before)
{
	if (!before || !before->way || before->seg != it->seg || before->transport != it->transport)
		return segment_way(it->seg, it->transport, &it->way, &it->gen);
	it->way = before->way;
	it->gen = before->gen;
	atomic_fetch_add_explicit(&it->way->refs, 1, memory_order_relaxed);
	return 0;
}

static void run(struct mc_batch *b, const struct item *it, unsigned nr)
{
	if (nr)
		way_ops(it->way)->submit(it->way->peer, b->run, nr);
}

void item_start(struct mc_batch *b, struct item *it, unsigned nr)
{
	const struct item *first = NULL;
	unsigned together = 0;

	for (unsigned i = 0; i < nr; i++) {
		int ret = it[i].x.nr ? item_way(&it[i], i ? &it[i - 1] : NULL) : 0;

		if (ret || !it[i].x.nr) {
			item_end(b, &it[i], ret);
			continue;
		}
		if (together && first->way != it[i].way) {
			run(b, first, together);
			together = 0;
		}
		if (!together)
			first = &it[i];
		it[i].x.summed = it[i].x.elsewhere = false;
		b->run[together++] = &it[i].x;
		atomic_store_explicit(&it[i].state, MC_PENDING, memory_order_relaxed);
	}
	run(b, first, together);
}

int mc_batch_submit(struct mc_batch *b, const struct mc_request *reqs, unsigned nr,
		    uint64_t deadline_ns)
{
	struct driver *d;
	unsigned first;
	int ret = 0;

	if (engine_forked(b->eng))
		return engine_refuse_fork();
	for (unsigned i = 0; i < nr && !ret; i++)
		ret = check(b->eng, &reqs[i]);
	if (ret || !nr)
		return ret;
	turn_take(&b->turn, DEADLINE_NEVER);
	first = b->nr;
	if (nr > b->max - first) {
		ret = -ENOSPC;
		err_note("batch of %u requests: %u are in it, %u more do not fit", b->max, first,
			 nr);
	}
	for (unsigned i = 0; i < nr && !ret; i++) {
		ret = item_fill(b, &b->item[first + i], &reqs[i], deadline_ns);
		for (unsigned k = 0; ret && k < i; k++)
			slice_end(b, &b->item[first + k]);
	}
	if (!ret) {
		b->told = false;
		atomic_fetch_add(&b->pending, nr);
		/* Release: pairs with mc_batch_status(). */
		atomic_store_explicit(&b->nr, first + nr, memory_order_release);
		if (b->priority == MC_PRIORITY_BACKGROUND)
			slices_start(b);
		else
			item_start(b, &b->item[first], nr);
		if (b->cq)
			driver_add(b);
	}
	d = b->cq ? &b->eng->driver : NULL;
	turn_give(&b->turn); /* from here on it may be collected, and closed */
	if (d && !ret)
		driver_kick(d);
	return ret;
}

int mc_batch_status(struct mc_batch *b, unsigned i, struct mc_status *out)
{
	struct item *it;

	if (i >= atomic_load_explicit(&b->nr, memory_order_acquire))
		return -ENOENT;
	it = &b->item[i];
	*out = (struct mc_status){ .state =
					   atomic_load_explicit(&it->state, memory_order_acquire) };
	if (out->state == MC_DONE) {
		out->error = it->error;
		out->bytes = it->bytes;
		out->crc = it->crc;
	}
	return 0;
}

int mc_transfer(struct mc_engine *eng, const struct mc_request *reqs, unsigned nr,
		uint64_t deadline_ns)
{
	struct mc_batch *b;
	int ret;

	if (!nr)
		return engine_forked(eng) ? engine_refuse_fork() : 0;
	ret = mc_batch_open(eng, nr, NULL, NULL, &b);
	if (ret)
		return ret;
	ret = mc_batch_submit(b, reqs, nr, deadline_ns);
	if (!ret)
		mc_batch_wait(b, DEADLINE_NEVER); /* each request ends by its own */
	for (unsigned i = 0; i < nr && !ret; i++)
		ret = b->item[i].error;
	mc_batch_close(b);
	return ret;
}
