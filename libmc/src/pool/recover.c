// SPDX-License-Identifier: Apache-2.0
/*
 * Taking over a pool whose owner ended at any instruction. Only owners write directories, so
 * chains are well formed at all times (directory.c); what can be half done is one object: filled
 * and not yet linked, or unlinked and not yet cleared. Readers may be at work meanwhile, so chains
 * are mended in place. The regions are checked as if hostile clients had written all of them.
 */
#include "pool/inner.h"

#include "base/clock.h"

#include <unistd.h>

#include "base/log.h"

#define GEN_JUMP ((uint64_t)1 << 20)

union layout_room {
	struct layout l;
	char room[sizeof(struct layout) + EXTENTS_MAX * sizeof(struct piece)];
};

/*
 * The object as its entry and its headers tell it; everything that must agree does. @trusted: the key itself is not looked
 * at, because the last owner left in order.
 */
static bool entry_read(const struct pool *p, uint32_t i, bool trusted, struct layout *l)
{
	const struct dir_entry *e = &p->entries[i];
	const struct extent_hdr *h = place_at(&p->view, e->first, sizeof(*h));
	struct publish_item it;
	uint64_t len, hash[2];

	*l = (struct layout){ 0 };
	entry_item(p, i, &it);
	if (!h || it.loc.gen & 1 || !it.size || !it.loc.nr_extents ||
	    it.loc.nr_extents > EXTENTS_MAX)
		return false;
	len = peek(&h->len);
	it.key.len = peek(&h->key_len);
	if (!it.key.len || it.key.len > FULL_KEY_MAX || len > it.size || it.size > p->capacity ||
	    !place_at(&p->view, e->first, sizeof(*h) + len + it.key.len))
		return false;
	it.key.data = (const char *)(h + 1) + len;
	memcpy(hash, e->hash, sizeof(hash));
	if (!trusted)
		siphash128(&p->view.hash_key, it.key.data, it.key.len, hash);
	l->key_len = it.key.len;
	return hash[0] == e->hash[0] && hash[1] == e->hash[1] && !layout_read(p, &it, hash, l);
}

static bool take_pieces(struct pool *p, const struct layout *l)
{
	for (unsigned i = 0; i < l->nr; i++) {
		if (range_take(p->space[place_region(l->piece[i].place)],
			       place_off(l->piece[i].place), l->piece[i].bytes)) {
			pieces_free(p, l->piece, i);
			return false;
		}
		p->free -= l->piece[i].bytes;
	}
	return true;
}

/* Its group, and until when it is pinned. When nobody noted that: as long as if nobody had said. */
static void keep_extra(struct pool *p, uint32_t i)
{
	struct dir_extra x = { .soft_until = soft_time(clock_now_ns() + SOFT_PIN_MS * (uint64_t)1000000) };

	extra_read(p, i, &x);
	p->slots[i].soft_until = x.soft_until;
	group_join(p, i, x.group);
}

static bool entry_keep(struct pool *p, uint32_t i, bool trusted)
{
	union layout_room u;
	struct slot *s = &p->slots[i];

	if (!entry_read(p, i, trusted, &u.l) || !take_pieces(p, &u.l))
		return false;
	*s = (struct slot){ .key_len = u.l.key_len };
	if (u.l.nr > 1) {
		s->layout = layout_new(u.l.nr, u.l.key_len);
		if (!s->layout) {
			pieces_free(p, u.l.piece, u.l.nr);
			*s = (struct slot){ 0 };
			return false;
		}
		memcpy(s->layout, &u.l, sizeof(u.l) + u.l.nr * sizeof(u.l.piece[0]));
	}
	keep_extra(p, i);
	return true;
}

/* Is the entry in its chain? -EBADMSG: the chain is not one. */
static int linked(const struct pool *p, uint32_t i)
{
	const struct dir_entry *e = &p->entries[i];
	uint32_t at =
		atomic_load_explicit(&view_bucket(&p->view, e->hash)->head, memory_order_relaxed);

	for (uint64_t steps = 0; at; steps++) {
		if (at == i + 1)
			return 1;
		if (at > p->view.nr_entries || steps > p->view.nr_entries)
			return -EBADMSG;
		at = atomic_load_explicit(&p->entries[at - 1].next, memory_order_relaxed);
	}
	return 0;
}

/* Puts the entry into its chain, or takes it out and clears it. */
static void mend(struct pool *p, uint32_t i, bool keep, bool trusted)
{
	bool in = (keep && trusted) || linked(p, i) == 1;

	/*
	 * The counts are as of an entry that is in use where it is; the directory's functions move
	 * them on.
	 */
	if (in)
		p->objects++;
	else
		p->reserved++;
	if (keep && !in) {
		dir_link(p, i);
	} else if (!keep) {
		if (in)
			dir_unlink(p, i);
		else
			atomic_store_explicit(&p->entries[i].gen, 0, memory_order_release);
		dir_unreserve(p, i);
	}
}

/* Which entries are whole: those get their space and a key length. Return: are all chains sound? */
static bool scan_entries(struct pool *p, uint64_t top, bool trusted)
{
	bool sound = true;

	for (uint32_t i = 0; i < top; i++) {
		fetch_object(p, i + FETCH_AHEAD, !trusted, true);
		if (!entry_gen(p, i))
			continue;
		if (announced_adopt(p, i))
			entry_keep(p, i, trusted);
		sound &= trusted || linked(p, i) >= 0;
	}
	return sound;
}

static void mend_chains(struct pool *p, uint64_t top, bool sound, bool trusted, uint64_t *lost)
{
	if (!sound) {
		log_warn("pool directory has damaged chains; building them anew");
		for (uint64_t b = 0; b < p->view.nr_buckets; b++)
			atomic_store_explicit(&p->buckets[b].head, 0, memory_order_release);
	}
	for (uint32_t i = (uint32_t)top;
	     i--;) { /* backwards: the list of unused entries then starts with the lowest */
		if (i >= FETCH_AHEAD)
			fetch_object(p, i - FETCH_AHEAD, false, true);
		if (!entry_gen(p, i)) {
			p->reserved++;
			dir_unreserve(p, i);
			continue;
		}
		/* Whoever was still writing was promised nothing. */
		*lost += !p->slots[i].key_len && !(p->entries[i].flags & OBJ_PENDING);
		mend(p, i, p->slots[i].key_len, trusted);
	}
}

struct aged {
	uint64_t stamp;
	uint32_t entry;
};

static int by_age(const void *a, const void *b)
{
	const struct aged *x = a, *y = b;

	return x->stamp < y->stamp ? -1 : x->stamp > y->stamp;
}

/* Another entry of the same key, or NIL: a replacement was interrupted. */
static uint32_t twin(const struct pool *p, uint32_t i)
{
	const struct dir_entry *e = &p->entries[i];
	uint32_t at =
		atomic_load_explicit(&view_bucket(&p->view, e->hash)->head, memory_order_relaxed);

	while (at) {
		const struct dir_entry *o = &p->entries[at - 1];

		if (at != i + 1 && o->hash[0] == e->hash[0] && o->hash[1] == e->hash[1])
			return at - 1;
		at = atomic_load_explicit(&o->next, memory_order_relaxed);
	}
	return NIL;
}

/* Used longest ago first, as the last owner saw it. Of twins the later one stays. */
static int restore_order(struct pool *p, uint64_t top)
{
	struct aged *list = malloc((p->objects + 1) * sizeof(*list));
	uint64_t nr = 0;

	if (!list)
		return -ENOMEM;
	for (uint32_t i = 0; i < top; i++)
		if (entry_gen(p, i))
			list[nr++] = (struct aged){ .stamp = p->entries[i].stamp, .entry = i };
	qsort(list, nr, sizeof(*list), by_age);
	for (uint64_t k = 0; k < nr; k++) {
		uint32_t other = twin(p, list[k].entry);

		order_insert(p, list[k].entry);
		if (other != NIL)
			object_remove(p, other);
	}
	if (nr)
		p->stamp = list[nr - 1].stamp;
	free(list);
	return 0;
}

/* @fd is taken. */
static int map_whole(int fd, struct region *out)
{
	uint64_t size;
	int ret;

	ret = region_size(fd, &size);
	if (ret) {
		close(fd);
		return ret;
	}
	return region_map(fd, size, true, out);
}

static int map_all(int dir_fd, const int *region_fds, unsigned nr_regions, struct pool_view *v)
{
	int ret = map_whole(dir_fd, &v->dir_region);

	for (unsigned i = 0; i < nr_regions; i++) {
		int err = map_whole(region_fds[i], &v->region[i]);

		ret = ret ? ret : err;
	}
	v->nr_regions = nr_regions;
	return ret;
}

int pool_take_over(struct pool *p, const char *policy, bool trusted, uint64_t *kept, uint64_t *lost)
{
	uint64_t top;
	int ret;

	ret = pool_init(p, policy);
	if (ret)
		return ret;
	top = dir_top(p);
	if (top > p->view.nr_entries)
		return -EBADMSG;
	*lost = 0;
	mend_chains(p, top, scan_entries(p, top, trusted), trusted, lost);
	ret = restore_order(p, top);
	if (ret)
		return ret;
	*kept = p->objects;
	p->next_gen += GEN_JUMP;
	atomic_store_explicit(&p->dir->next_gen, p->next_gen, memory_order_release);
	atomic_fetch_add_explicit(&p->dir->epoch, 1, memory_order_release);
	atomic_store_explicit(&p->dir->dead, 0, memory_order_release);
	return 0;
}

int pool_adopt(int dir_fd, const int *region_fds, unsigned nr_regions, const char *policy,
	       struct pool **out, uint64_t *kept, uint64_t *lost)
{
	struct pool *p;
	int ret;

	if (nr_regions > POOL_REGIONS_MAX)
		return -EINVAL;
	p = pool_new();
	if (!p)
		return -ENOMEM;
	ret = map_all(dir_fd, region_fds, nr_regions, &p->view);
	if (!ret)
		ret = view_init(&p->view);
	if (!ret)
		ret = pool_take_over(p, policy, false, kept, lost);
	if (ret) {
		pool_close(p);
		return ret;
	}
	*out = p;
	return 0;
}
