// SPDX-License-Identifier: Apache-2.0
/*
 * From extents that somebody filled to an object that readers find. Clients can write every byte
 * of the regions at any time: each header field is loaded once, what was loaded is checked, and
 * later steps use the checked copy alone.
 */
#include "pool/inner.h"

/* The bit of @gen in the holder's windows, or NULL. The newest is the likeliest. */
static uint64_t *gen_word(struct pool_holder *h, uint64_t gen, uint64_t *bit)
{
	for (unsigned i = 1; i <= HOLDER_GENS; i++) {
		struct gen_window *w = &h->gens[(h->next_window - i) % HOLDER_GENS];
		uint64_t at = (gen - w->first) / 2;

		if (gen < w->first || at >= w->count)
			continue;
		*bit = (uint64_t)1 << (at % 64);
		return &w->used[at / 64];
	}
	return NULL;
}

/* May it have been the holder's, so long ago that nobody knows whether it was used? */
static bool gen_forgotten(const struct pool_holder *h, uint64_t gen)
{
	return h->next_window > HOLDER_GENS && gen && gen < h->gens[h->next_window % HOLDER_GENS].first;
}

struct header {
	uint64_t gen, hash[2], len, next, obj_len, put_id;
	uint16_t key_len;
};

static struct header header_load(const struct extent_hdr *h)
{
	return (struct header){
		.gen = atomic_load_explicit(&h->gen, memory_order_acquire),
		.hash = { peek(&h->hash[0]), peek(&h->hash[1]) },
		.len = peek(&h->len),
		.next = peek(&h->next),
		.obj_len = peek(&h->obj_len),
		.put_id = peek(&h->put_id),
		.key_len = peek(&h->key_len),
	};
}

int layout_read(const struct pool *p, const struct publish_item *it, const uint64_t hash[2],
		struct layout *l)
{
	uint64_t place = place_pack(it->loc.region, it->loc.off), size = 0;
	uint64_t gen = it->loc.gen | !!(it->flags & OBJ_PENDING);

	for (unsigned i = 0; i < it->loc.nr_extents; i++) {
		const struct extent_hdr *at = place_at(&p->view, place, sizeof(*at));
		struct header h;

		if (!place || !at)
			return -EINVAL;
		h = header_load(at);
		if (h.gen != gen || h.hash[0] != hash[0] || h.hash[1] != hash[1] ||
		    h.obj_len != it->size || h.put_id != it->put_id ||
		    h.key_len != (i ? 0 : it->key.len) || h.len > it->size - size)
			return -EBADMSG;
		l->piece[i] =
			(struct piece){ .place = place, .bytes = extent_bytes(h.len, h.key_len) };
		if (!place_at(&p->view, place, l->piece[i].bytes))
			return -EINVAL;
		if (!i) {
			l->first_len = h.len;
			if (memcmp((const uint8_t *)(at + 1) + h.len, it->key.data, it->key.len))
				return -EBADMSG;
		}
		size += h.len;
		l->bytes += l->piece[i].bytes;
		l->nr++;
		place = h.next;
	}
	return place || size != it->size ? -EBADMSG : 0;
}

static int pieces_unhold(struct pool *p, struct pool_holder *h, const struct layout *l)
{
	for (unsigned i = 0; i < l->nr; i++) {
		const struct piece *x = &l->piece[i];
		int ret = range_set_del(&h->held[place_region(x->place)], place_off(x->place),
					x->bytes);

		if (!ret)
			continue;
		while (i--) {
			x = &l->piece[i];
			range_set_add(&h->held[place_region(x->place)], place_off(x->place),
				      x->bytes);
		}
		return ret == -ENOENT ? -EINVAL : ret;
	}
	p->granted -= l->bytes;
	return 0;
}

/* The key is not looked at before this. */
static int item_check(const struct pool *p, const struct publish_item *it)
{
	if (!it->key.len || it->key.len > FULL_KEY_MAX || !it->size || it->size > p->capacity ||
	    !it->put_id)
		return -EINVAL;
	if (!it->loc.nr_extents || it->loc.nr_extents > EXTENTS_MAX || !it->loc.gen ||
	    it->loc.gen & 1)
		return -EINVAL;
	if (it->flags & OBJ_PENDING && it->flags & OBJ_REPLACE)
		return -EINVAL;
	return it->loc.off >> 48 ? -EINVAL : 0;
}

/* ---- staged objects: most have one extent and a short key, and such a one is used again and again ---- */

#define STAGED_KEY  96	 /* room for a key in one that is kept; with the rest that makes 256 bytes */
#define STAGED_KEEP 4096 /* a few batches */

static struct staged *staged_alloc(struct pool *p, uint16_t key_len)
{
	struct staged *s = p->spare;

	if (key_len > STAGED_KEY)
		return malloc(sizeof(*s) + key_len);
	if (!s)
		return malloc(sizeof(*s) + STAGED_KEY);
	p->spare = s->next;
	p->nr_spare--;
	for (size_t at = 0; p->spare && at < sizeof(*s) + STAGED_KEY; at += 64)
		__builtin_prefetch((char *)p->spare + at, 1);
	return s;
}

void staged_free(struct pool *p, struct staged *s)
{
	if (s->layout != staged_single(s))
		free(s->layout);
	if (s->item.key.len > STAGED_KEY || p->nr_spare == STAGED_KEEP) {
		free(s);
		return;
	}
	s->next = p->spare;
	p->spare = s;
	p->nr_spare++;
}

void staged_free_spare(struct pool *p)
{
	while (p->spare) {
		struct staged *s = p->spare;

		p->spare = s->next;
		free(s);
	}
}

static int staged_new(struct pool *p, const struct publish_item *it, const uint64_t hash[2],
		      struct staged **out)
{
	struct staged *s = staged_alloc(p, it->key.len);

	if (!s)
		return -ENOMEM;
	s->item = *it;
	s->entry = NIL;
	s->hash[0] = hash[0];
	s->hash[1] = hash[1];
	memcpy(s->key, it->key.data, it->key.len);
	s->item.key.data = s->key;
	s->layout = staged_single(s);
	*s->layout = (struct layout){ .key_len = it->key.len };
	if (it->loc.nr_extents > 1)
		s->layout = layout_new(it->loc.nr_extents, it->key.len);
	if (!s->layout) {
		staged_free(p, s);
		return -ENOMEM;
	}
	*out = s;
	return 0;
}

/* Of what @i is to be replaced with. */
static void keep_pin(const struct pool *p, uint32_t i, struct staged *s)
{
	struct publish_item old;

	entry_item(p, i, &old);
	s->item.flags |= old.flags & OBJ_SOFT_PIN;
	s->item.soft_pin_ms = old.soft_pin_ms;
}

/* Everything but the space and the generation, which depend on whose they are. @it is checked, @hash its key's. */
static int stage_begin(struct pool *p, const struct publish_item *it, const uint64_t hash[2],
		       struct staged **out)
{
	struct staged *s;
	int ret = staged_new(p, it, hash, &s);
	uint32_t i;

	if (ret)
		return ret;
	/* From @it, not the copy: what was stored a moment ago is slow to load. */
	ret = layout_read(p, it, hash, s->layout);
	/* One that is still being written is no reason to refuse another: the master says which of them it will be. */
	i = ret ? NIL : dir_find(p, hash);
	if (i != NIL && !(it->flags & OBJ_REPLACE) && !announced_writing(p, i))
		ret = -EEXIST;
	if (ret) {
		staged_free(p, s);
		return ret;
	}
	if (i != NIL && it->flags & OBJ_KEEP_PIN)
		keep_pin(p, i, s);
	*out = s;
	return 0;
}

static int stage_end(struct pool *p, struct staged *s)
{
	s->entry = dir_reserve(p);
	while (s->entry == NIL && space_evict(p))
		s->entry = dir_reserve(p);
	if (s->entry == NIL)
		return -ENOSPC;
	if (htab_add(&p->staged, &s->node, s->item.loc.gen >> 1)) {
		dir_unreserve(p, s->entry);
		return -ENOMEM;
	}
	return 0;
}

static int stage_one(struct pool *p, struct pool_holder *h, const struct publish_item *it,
		     const uint64_t hash[2], struct staged **out)
{
	uint64_t *word, bit = 0;
	struct staged *s;
	int ret;

	word = gen_word(h, it->loc.gen, &bit);
	if (!word && gen_forgotten(h, it->loc.gen))
		return -ESTALE;
	if (!word || *word & bit || it->loc.gen & 1)
		return -EINVAL;
	ret = stage_begin(p, it, hash, &s);
	if (ret)
		return ret;
	ret = pieces_unhold(p, h, s->layout);
	if (ret)
		goto err_free;
	ret = staged_announced(s) ? announced_hold(s, h) : 0;
	if (ret)
		goto err_hold;
	ret = stage_end(p, s);
	if (ret)
		goto err_announced;
	*word |= bit;
	*out = s;
	return 0;

err_announced:
	if (staged_announced(s))
		announced_unhold(s);
err_hold:
	for (unsigned i = 0; i < s->layout->nr; i++)
		range_set_add(&h->held[place_region(s->layout->piece[i].place)],
			      place_off(s->layout->piece[i].place), s->layout->piece[i].bytes);
	p->granted += s->layout->bytes;
err_free:
	staged_free(p, s);
	return ret;
}

int pool_stage(struct pool *p, struct pool_holder *h, const struct publish_item *it,
	       struct staged **out)
{
	uint64_t hash[2];
	int ret = item_check(p, it);

	if (ret)
		return ret;
	siphash128(&p->view.hash_key, it->key.data, it->key.len, hash);
	return stage_one(p, h, it, hash, out);
}

/* ---- many: pool and directory fit no cache, so what some will touch is asked for while others are worked on ---- */

#define STAGE_AHEAD 8

struct fetched { /* items whose memory is on its way */
	uint64_t hash[STAGE_AHEAD][2];
	uint32_t nr;
};

/* In one function: gcc drops calls of one that does nothing but fetch. */
static void fetch_items(const struct pool *p, const struct publish_item *items, uint32_t nr,
			int32_t *status, struct fetched *f)
{
	f->nr = MIN(nr, (uint32_t)STAGE_AHEAD);
	for (uint32_t i = 0; i < f->nr; i++) {
		const struct publish_item *it = &items[i];
		const char *at;

		status[i] = item_check(p, it);
		if (status[i])
			continue;
		siphash128(&p->view.hash_key, it->key.data, it->key.len, f->hash[i]);
		__builtin_prefetch(bucket_of(p, f->hash[i]), 1);
		at = place_at(&p->view, place_pack(it->loc.region, it->loc.off), it->size);
		if (!at)
			continue;
		__builtin_prefetch(at);
		if (it->loc.nr_extents == 1)
			__builtin_prefetch(at + sizeof(struct extent_hdr) + it->size);
	}
}

static void fetch_chains(const struct pool *p, const struct fetched *f, const int32_t *status)
{
	for (uint32_t i = 0; i < f->nr; i++) {
		uint32_t head = status[i] ? 0 : atomic_load_explicit(&bucket_of(p, f->hash[i])->head,
								     memory_order_relaxed);

		if (head)
			__builtin_prefetch(&p->entries[head - 1]);
	}
}

uint32_t pool_stage_many(struct pool *p, struct pool_holder *h, const struct publish_item *items,
			 uint32_t nr, struct staged **out, int32_t *status)
{
	struct fetched now, next;
	uint32_t done = 0;

	fetch_items(p, items, nr, status, &now);
	for (uint32_t at = 0; at < nr; at += now.nr, now = next) {
		fetch_chains(p, &now, status + at);
		fetch_items(p, items + at + now.nr, nr - at - now.nr, status + at + now.nr, &next);
		for (uint32_t i = at; i < at + now.nr; i++) {
			out[i] = NULL;
			if (!status[i])
				status[i] = stage_one(p, h, &items[i], now.hash[i - at], &out[i]);
			done += !status[i];
		}
	}
	return done;
}

void pool_fetch_staged(struct pool *p, struct staged *const *s, uint32_t nr)
{
	if (nr > 2 * STAGE_AHEAD && s[2 * STAGE_AHEAD])
		__builtin_prefetch(s[2 * STAGE_AHEAD]);
	if (nr <= STAGE_AHEAD || !s[STAGE_AHEAD])
		return;
	__builtin_prefetch(bucket_of(p, s[STAGE_AHEAD]->hash), 1);
	__builtin_prefetch(&p->entries[s[STAGE_AHEAD]->entry], 1);
	__builtin_prefetch(&p->slots[s[STAGE_AHEAD]->entry], 1);
}

int pool_stage_own(struct pool *p, const struct extents *x, const struct publish_item *it,
		   struct staged **out)
{
	struct staged *s;
	uint64_t hash[2];
	int ret;

	if (it->loc.gen != x->gen || it->loc.nr_extents != x->nr || it->flags & OBJ_PENDING)
		return -EINVAL;
	ret = item_check(p, it);
	if (ret)
		return ret;
	siphash128(&p->view.hash_key, it->key.data, it->key.len, hash);
	ret = stage_begin(p, it, hash, &s);
	if (ret)
		return ret;
	for (unsigned i = 0; i < x->nr; i++)
		if (s->layout->piece[i].place != x->piece[i].place ||
		    s->layout->piece[i].bytes != extent_bytes(x->piece[i].len, i ? 0 : x->key_len))
			ret = -EBADMSG;
	if (!ret)
		ret = stage_end(p, s);
	if (ret) {
		staged_free(p, s);
		return ret;
	}
	*out = s;
	return 0;
}

static uint32_t soft_end(const struct pool *p, uint32_t ms)
{
	return soft_time(p->now_ns + (ms ? ms : p->rules.soft_pin_ms) * (uint64_t)1000000) + 1;
}

void pool_inherit(struct staged *s, const struct inherited *in)
{
	if (in->group)
		s->item.group = in->group;
	if (!in->soft_pin_ms)
		return;
	s->item.flags |= OBJ_SOFT_PIN;
	s->item.soft_pin_ms = in->soft_pin_ms;
}

void pool_publish(struct pool *p, struct staged *s)
{
	uint32_t i = s->entry, old = dir_find(p, s->hash);
	uint32_t group = s->item.group || old == NIL ? s->item.group : group_of(p, old);
	uint32_t until = soft_end(p, s->item.soft_pin_ms);
	struct dir_entry *e = &p->entries[i];
	bool single = s->layout->nr == 1;

	extra_note(p, i, s->item.loc.gen, group, s->item.flags & OBJ_SOFT_PIN ? until : 0);
	/* The generation is 0: dir_unlink() saw to it, or the page is new. */
	fence_release();
	poke(&e->hash[0], s->hash[0]);
	poke(&e->hash[1], s->hash[1]);
	poke(&e->size, s->item.size);
	poke(&e->first, s->layout->piece[0].place);
	poke(&e->flags, (uint16_t)(s->item.flags & ~(uint32_t)(OBJ_REPLACE | OBJ_KEEP_PIN)));
	poke(&e->nr_extents, s->layout->nr);
	poke(&e->put_id, s->item.put_id);
	poke(&e->stamp, ++p->stamp); /* OBJ_PENDING among the flags: look at the header first */
	atomic_store_explicit(&e->gen, s->item.loc.gen, memory_order_release);
	p->slots[i] =
		(struct slot){ .key_len = s->item.key.len,
			       .soft_until = until,
			       .touched_ns = 0,
			       .layout = single ? NULL : s->layout };
	group_join(p, i, group);
	dir_link(p, i);
	htab_del(&p->staged, &s->node);
	if (staged_announced(s))
		announced_publish(p, s);
	else
		order_insert(p, i);
	/*
	 * The old one goes when the new one can be found, so that no reader misses both. Its put may report success because the
	 * new one is there, but only when that is certain.
	 */
	if (old != NIL && !(staged_announced(s) && announced_displace(p, old, GEN_REVOKED)))
		object_remove(p, old);
	if (staged_announced(s))
		return;
	if (!single)
		s->layout = staged_single(s); /* the slot has it */
	staged_free(p, s);
}

void pool_unstage(struct pool *p, struct staged *s, struct pool_holder *h)
{
	struct layout *l = s->layout;

	if (staged_announced(s)) {
		announced_unstage(p, s);
		dir_unreserve(p, s->entry);
		htab_del(&p->staged, &s->node);
		staged_free(p, s);
		return;
	}
	/* Nobody was promised this generation; it is spent all the same. */
	pieces_spoil(p, l->piece, l->nr, s->item.loc.gen);
	for (unsigned i = 0; i < l->nr; i++) {
		struct piece *x = &l->piece[i];

		if (h &&
		    !range_set_add(&h->held[place_region(x->place)], place_off(x->place), x->bytes))
			p->granted += x->bytes;
		else
			pieces_free(p, x, 1);
	}
	dir_unreserve(p, s->entry);
	htab_del(&p->staged, &s->node);
	staged_free(p, s);
}

const struct publish_item *staged_item(const struct staged *s)
{
	return &s->item;
}

struct staged *pool_staged_by_gen(struct pool *p, uint64_t gen)
{
	for (struct hnode *n = htab_first(&p->staged, gen >> 1); n; n = htab_next(n)) {
		struct staged *s = container_of(n, struct staged, node);

		if (s->item.loc.gen == gen)
			return s;
	}
	return NULL;
}
