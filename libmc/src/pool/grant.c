// SPDX-License-Identifier: Apache-2.0
/* Grants: space and generations that a client uses by itself, and what it gives back. */
#include "pool/inner.h"

#define GENS_MIN     256
#define GENS_MAX     (uint64_t)65536
#define OBJECT_LEAST 128 /* header, and some bytes and key */

void pool_holder_init(struct pool_holder *h)
{
	*h = (struct pool_holder){ 0 };
}

void pool_holder_fini(struct pool *p, struct pool_holder *h)
{
	for (unsigned r = 0; r < POOL_REGIONS_MAX; r++) {
		for (size_t i = 0; i < h->held[r].count; i++)
			space_put(p, (uint16_t)r, h->held[r].r[i].off, h->held[r].r[i].len);
		p->granted -= h->held[r].bytes;
		range_set_fini(&h->held[r]);
		h->held[r] = (struct range_set){ 0 };
		/* What is announced is in nobody's hands until that ended. */
		if (h->announced[r].bytes)
			continue;
		range_set_fini(&h->announced[r]);
		h->announced[r] = (struct range_set){ 0 };
	}
	for (unsigned i = 0; i < HOLDER_GENS; i++)
		free(h->gens[i].used);
	memset(h->gens, 0, sizeof(h->gens));
	h->next_window = 0;
}

static size_t words(uint64_t count)
{
	return (size_t)(count + 63) / 64;
}

/*
 * Generations of one grant after the other, as long as nobody else was granted some in between, are one window: an answer to many
 * small requests is not to push out what is in use.
 */
static bool window_extend(struct pool *p, struct gen_window *w, uint64_t count)
{
	size_t had = words(w->count), nr = words(w->count + count);
	uint64_t *used;

	if (!w->used || w->first + 2 * (uint64_t)w->count != p->next_gen || w->count + count > GENS_MAX)
		return false;
	used = realloc(w->used, nr * sizeof(*used));
	if (!used)
		return false;
	memset(used + had, 0, (nr - had) * sizeof(*used));
	w->used = used;
	w->count += (uint32_t)count;
	return true;
}

/* The oldest window gives way: what it had left is spent. */
static int window_start(struct pool *p, struct pool_holder *h, uint64_t count)
{
	struct gen_window *w = &h->gens[h->next_window % HOLDER_GENS];
	uint64_t *used = calloc(words(count), sizeof(*used));

	if (!used)
		return -ENOMEM;
	free(w->used);
	*w = (struct gen_window){ .first = p->next_gen, .count = (uint32_t)count, .used = used };
	h->next_window++;
	return 0;
}

static int window_add(struct pool *p, struct pool_holder *h, uint64_t bytes, struct msg_grant_reply *m)
{
	uint64_t count = MIN(bytes / OBJECT_LEAST, GENS_MAX);
	int ret = 0;

	count = MAX(count, (uint64_t)GENS_MIN);
	if (!window_extend(p, &h->gens[(h->next_window - 1) % HOLDER_GENS], count))
		ret = window_start(p, h, count);
	if (ret)
		return ret;
	m->gen = p->next_gen;
	m->gen_count = (uint32_t)count;
	p->next_gen += 2 * count;
	atomic_store_explicit(&p->dir->next_gen, p->next_gen, memory_order_release);
	return 0;
}

static int hold(struct pool *p, struct pool_holder *h, const struct grant_run *runs, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++) {
		int ret = range_set_add(&h->held[runs[i].region], runs[i].off, runs[i].len);

		if (ret) {
			while (i--)
				range_set_del(&h->held[runs[i].region], runs[i].off, runs[i].len);
			return ret;
		}
	}
	for (unsigned i = 0; i < nr; i++)
		p->granted += runs[i].len;
	return 0;
}

int pool_grant(struct pool *p, struct pool_holder *h, uint64_t bytes, struct scratch *s,
	       struct msg_grant_reply *m)
{
	struct grant_run runs[GRANT_RUNS_MAX];
	unsigned nr;
	int ret;

	if (!bytes || bytes > p->capacity)
		return bytes ? -ENOSPC : -EINVAL;
	nr = space_collect(p, MIN(align_up(bytes, POOL_UNIT), p->free + order_evictable(p)), 0, 0,
			   GRANT_RUNS_MAX, runs);
	if (!nr)
		return -ENOSPC;
	*m = (struct msg_grant_reply){ .nr = nr, .runs = scratch_alloc(s, nr, sizeof(*m->runs)) };
	ret = m->runs ? hold(p, h, runs, nr) : -ENOMEM;
	if (ret)
		goto err_put;
	ret = window_add(p, h, bytes, m);
	if (ret)
		goto err_unhold;
	memcpy(m->runs, runs, nr * sizeof(*runs));
	return 0;

err_unhold:
	for (unsigned i = 0; i < nr; i++) {
		range_set_del(&h->held[runs[i].region], runs[i].off, runs[i].len);
		p->granted -= runs[i].len;
	}
err_put:
	for (unsigned i = 0; i < nr; i++)
		space_put(p, runs[i].region, runs[i].off, runs[i].len);
	return ret;
}

int pool_return(struct pool *p, struct pool_holder *h, const struct msg_return *m)
{
	for (uint32_t i = 0; i < m->nr; i++) {
		const struct grant_run *r = &m->runs[i];
		int ret;

		if (r->region >= p->view.nr_regions || (r->off | r->len) % POOL_UNIT)
			return -EINVAL;
		ret = range_set_del(&h->held[r->region], r->off, r->len);
		if (ret)
			return ret == -ENOENT ? -EINVAL : ret;
		p->granted -= r->len;
		space_put(p, r->region, r->off, r->len);
	}
	return 0;
}
