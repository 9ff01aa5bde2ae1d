// SPDX-License-Identifier: Apache-2.0
/*
 * The owner's space: what is free, and how room is made. While less than a little (the slack) is
 * free, room comes from evicting until one run is long enough; beyond that free space is in
 * pieces, and they are used before anything more is evicted.
 */
#include "pool/inner.h"

#include "base/log.h"

#define SLACK_SHARE \
	128	      /* of the capacity: what may lie free in pieces rather than split an object */
#define RUN_LEAST 128 /* shorter runs hold no payload worth a header */

struct layout *layout_new(unsigned nr, uint16_t key_len)
{
	struct layout *l = calloc(1, sizeof(*l) + nr * sizeof(l->piece[0]));

	if (l)
		l->key_len = key_len;
	return l;
}

void pieces_spoil(struct pool *p, const struct piece *piece, unsigned nr, uint64_t gen)
{
	for (unsigned i = 0; i < nr; i++) {
		struct extent_hdr *h = place_at(&p->view, piece[i].place, sizeof(*h));

		atomic_store_explicit(&h->gen, gen | 1, memory_order_release);
	}
	fence_release(); /* before anything is written there by the next one to get the space */
}

void space_put(struct pool *p, uint16_t region, uint64_t off, uint64_t len)
{
	range_put(p->space[region], off, len);
	p->free += len;
}

void pieces_free(struct pool *p, const struct piece *piece, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		space_put(p, place_region(piece[i].place), place_off(piece[i].place),
			  piece[i].bytes);
}

/* The entry goes, too; it is out of the order already. */
static void object_free(struct pool *p, uint32_t i)
{
	struct slot *s = &p->slots[i];
	struct layout *l = s->layout;
	struct piece one = { .place = p->entries[i].first, .bytes = entry_bytes(p, i) };
	uint64_t gen = entry_gen(p, i);

	/* Zeroes: the directory was revoked, and so may have been what was read before. */
	if (unlikely(!gen))
		return;
	dir_unlink(p, i);
	pieces_spoil(p, l ? l->piece : &one, l ? l->nr : 1, gen);
	if (!lent_keep_space(p, i, l, &one)) {
		pieces_free(p, l ? l->piece : &one, l ? l->nr : 1);
		free(l);
	}
	dir_unreserve(p, i);
}

void object_remove(struct pool *p, uint32_t i)
{
	if (announced_displace(p, i, GEN_REMOVED))
		return;
	order_remove(p, i);
	object_free(p, i);
}

bool space_evict(struct pool *p)
{
	uint32_t i = order_victim(p);
	struct key key;

	if (i == NIL)
		return false;
	p->evicted++;
	p->evicted_bytes += entry_bytes(p, i);
	if (!entry_key(p, i, &key))
		log_warn_limited("key of an evicted object was overwritten by a client; the master "
				 "keeps a stale entry");
	else if (p->evicted_fn)
		p->evicted_fn(p->evicted_arg, &key, entry_gen(p, i));
	object_free(p, i);
	return true;
}

/* ---- finding runs ---- */

static uint64_t longest_run(const struct pool *p)
{
	uint64_t longest = 0;

	for (unsigned i = 0; i < p->view.nr_regions; i++)
		longest = MAX(longest, range_longest(p->space[i]));
	return longest;
}

/* A run of @want bytes, else the longest of at least @least. */
static uint64_t take_run(struct pool *p, uint64_t want, uint64_t least, struct grant_run *out)
{
	uint64_t longest = 0;
	unsigned best = 0;

	for (unsigned i = 0; i < p->view.nr_regions; i++) {
		uint64_t len = range_longest(p->space[i]);

		if (len > longest) {
			longest = len;
			best = i;
		}
	}
	for (unsigned k = 0; k < p->view.nr_regions; k++) {
		unsigned i = (best + k) % p->view.nr_regions;
		uint64_t len = range_get_some(p->space[i], want, least, &out->off);

		if (len) {
			out->region = (uint16_t)i;
			out->len = len;
			p->free -= len;
			return len;
		}
	}
	return 0;
}

/* The shortest run that is of use when @bytes are to come in at most @left more. */
static uint64_t least_run(const struct pool *p, uint64_t bytes, uint64_t want, uint64_t overhead,
			  unsigned left, bool can_evict)
{
	uint64_t least = RUN_LEAST;

	if (can_evict && p->free <= p->capacity / SLACK_SHARE)
		return want;
	if (can_evict)
		least = align_up((bytes + left - 1) / left + overhead, POOL_UNIT);
	return MIN(want, least);
}

bool pool_make_room(struct pool *p, uint64_t bytes, unsigned max)
{
	uint64_t want = align_up(MIN(bytes, p->free + order_evictable(p)), POOL_UNIT);

	while (longest_run(p) < least_run(p, want, want, 0, GRANT_RUNS_MAX, true)) {
		if (!max--)
			return false;
		if (!space_evict(p))
			break;
	}
	return true;
}

unsigned space_collect(struct pool *p, uint64_t bytes, uint64_t overhead, uint64_t first_least,
		       unsigned max, struct grant_run *runs)
{
	bool can_evict = true;
	unsigned nr = 0;

	pool_drain_touches(p, p->now_ns);
	while (bytes && nr < max) {
		uint64_t want = align_up(bytes + overhead, POOL_UNIT);
		uint64_t least = least_run(p, bytes, want, overhead, max - nr, can_evict);

		if (!nr && least < first_least)
			least = MIN(want, first_least);
		if (take_run(p, want, least, &runs[nr])) {
			bytes -= MIN(bytes, runs[nr].len - overhead);
			nr++;
			continue;
		}
		if (!can_evict)
			break;
		can_evict = space_evict(p);
	}
	return nr;
}

/* ---- the owner's own puts ---- */

static void lay_out(struct extents *x, const struct grant_run *runs, unsigned nr)
{
	uint64_t left = x->size;

	x->nr = (uint16_t)nr;
	for (unsigned i = 0; i < nr; i++) {
		uint64_t room = runs[i].len - sizeof(struct extent_hdr) - (i ? 0 : x->key_len);

		x->piece[i].place = place_pack(runs[i].region, runs[i].off);
		x->piece[i].len = MIN(left, room);
		left -= x->piece[i].len;
	}
}

int pool_alloc(struct pool *p, uint64_t size, uint16_t key_len, struct extents *out)
{
	const uint64_t hdr = sizeof(struct extent_hdr);
	struct grant_run runs[EXTENTS_MAX];
	uint64_t got = 0;
	unsigned nr;

	/* Nothing is evicted for what cannot succeed. */
	if (size > p->capacity || extent_bytes(size, key_len) > p->free + order_evictable(p))
		return -ENOSPC;
	nr = space_collect(p, size + key_len, hdr, align_up(hdr + key_len, POOL_UNIT), EXTENTS_MAX,
			   runs);
	for (unsigned i = 0; i < nr; i++)
		got += runs[i].len - hdr;
	if (got < size + key_len) {
		for (unsigned i = 0; i < nr; i++)
			space_put(p, runs[i].region, runs[i].off, runs[i].len);
		return -ENOSPC;
	}
	*out = (struct extents){ .gen = p->next_gen, .size = size, .key_len = key_len };
	lay_out(out, runs, nr);
	p->next_gen += 2;
	atomic_store_explicit(&p->dir->next_gen, p->next_gen, memory_order_release);
	return 0;
}

void pool_alloc_undo(struct pool *p, const struct extents *x)
{
	for (unsigned i = 0; i < x->nr; i++)
		space_put(p, place_region(x->piece[i].place), place_off(x->piece[i].place),
			  extent_bytes(x->piece[i].len, i ? 0 : x->key_len));
}
