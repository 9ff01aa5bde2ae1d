// SPDX-License-Identifier: Apache-2.0
/*
 * The owner's side of the directory. One thread writes; readers (view.c) follow the chains at the
 * same time:
 *
 *	in:	gen = 0 │ fields │ gen = G (release) │ next = head, head = entry (release)
 *	out:	predecessor's next skips it │ seq + 1 (release) │ gen = 0 (release) │ free for use
 */
#include "pool/inner.h"

uint32_t dir_find(const struct pool *p, const uint64_t hash[2])
{
	uint32_t at = atomic_load_explicit(&bucket_of(p, hash)->head, memory_order_relaxed);

	while (at) {
		const struct dir_entry *e = &p->entries[at - 1];

		if (e->hash[0] == hash[0] && e->hash[1] == hash[1])
			return at - 1;
		at = atomic_load_explicit(&e->next, memory_order_relaxed);
	}
	return NIL;
}

uint32_t dir_reserve(struct pool *p)
{
	uint64_t top = atomic_load_explicit(&p->dir->top, memory_order_relaxed);
	uint32_t i = p->unused;

	if (i != NIL) {
		p->unused = p->slots[i].next;
		if (p->unused != NIL)
			__builtin_prefetch(&p->slots[p->unused], 1); /* the next one's link */
	} else {
		if (top == p->view.nr_entries)
			return NIL;
		i = (uint32_t)top;
		atomic_store_explicit(&p->dir->top, top + 1, memory_order_release);
	}
	__builtin_prefetch(&p->entries[i], 1);
	p->reserved++;
	return i;
}

void dir_unreserve(struct pool *p, uint32_t i)
{
	p->slots[i] = (struct slot){ .next = p->unused };
	p->unused = i;
	p->reserved--;
}

void dir_link(struct pool *p, uint32_t i)
{
	struct dir_entry *e = &p->entries[i];
	struct dir_bucket *b = bucket_of(p, e->hash);

	atomic_store_explicit(&e->next, atomic_load_explicit(&b->head, memory_order_relaxed),
			      memory_order_release);
	atomic_store_explicit(&b->head, i + 1, memory_order_release);
	p->reserved--;
	p->objects++;
}

void dir_unlink(struct pool *p, uint32_t i)
{
	struct dir_entry *e = &p->entries[i];
	struct dir_bucket *b = bucket_of(p, e->hash);
	_Atomic uint32_t *at = &b->head;
	uint32_t to;

	if (p->slots[i].grouped)
		group_leave(p, i);
	while ((to = atomic_load_explicit(at, memory_order_relaxed)) != i + 1) {
		if (!to)
			return; /* the directory was revoked: it holds zeroes */
		at = &p->entries[to - 1].next;
	}
	atomic_store_explicit(at, atomic_load_explicit(&e->next, memory_order_relaxed),
			      memory_order_release);
	atomic_store_explicit(&b->seq, atomic_load_explicit(&b->seq, memory_order_relaxed) + 1,
			      memory_order_release);
	/* Release: who sees the entry cleared, or anything written to it later, sees seq moved. */
	atomic_store_explicit(&e->gen, 0, memory_order_release);
	p->objects--;
	p->reserved++;
}

uint64_t entry_bytes(const struct pool *p, uint32_t i)
{
	const struct slot *s = &p->slots[i];

	return s->layout ? s->layout->bytes : extent_bytes(p->entries[i].size, s->key_len);
}

void entry_key_at(const struct pool *p, uint32_t i, struct key *out)
{
	const struct dir_entry *e = &p->entries[i];
	const struct slot *s = &p->slots[i];
	const char *at = place_at(&p->view, e->first, sizeof(struct extent_hdr));
	uint64_t first_len = s->layout ? s->layout->first_len : e->size;

	*out = (struct key){ .data = at + sizeof(struct extent_hdr) + first_len,
			     .len = s->key_len };
}

bool entry_key(const struct pool *p, uint32_t i, struct key *out)
{
	const struct dir_entry *e = &p->entries[i];
	uint64_t hash[2];

	entry_key_at(p, i, out);
	siphash128(&p->view.hash_key, out->data, out->len, hash);
	return hash[0] == e->hash[0] && hash[1] == e->hash[1];
}

/* Most objects need none, and cost nothing here: their entry's extra is of a generation that is past, or a page of zeroes. */
void extra_note(struct pool *p, uint32_t i, uint64_t gen, uint32_t group, uint32_t soft_until)
{
	struct dir_extra *x = p->extras ? &p->extras[i] : NULL;

	if (!x || (!group && !soft_until))
		return;
	atomic_store_explicit(&x->gen, 0, memory_order_relaxed);
	fence_release();
	poke(&x->group, group);
	poke(&x->soft_until, soft_until);
	atomic_store_explicit(&x->gen, gen, memory_order_release);
}

bool extra_read(const struct pool *p, uint32_t i, struct dir_extra *out)
{
	if (!p->extras || atomic_load_explicit(&p->extras[i].gen, memory_order_acquire) != entry_gen(p, i))
		return false;
	*out = p->extras[i];
	return true;
}

/* What is left of a soft pin; at least 1, for 0 says that the default is meant. */
static uint32_t soft_left_ms(const struct pool *p, uint32_t i)
{
	uint64_t now = soft_time(p->now_ns), until = p->slots[i].soft_until;

	if (!(p->entries[i].flags & OBJ_SOFT_PIN))
		return 0;
	return until > now ? (uint32_t)MIN(((until - now) << 26) / 1000000, (uint64_t)UINT32_MAX) : 1;
}

void entry_item(const struct pool *p, uint32_t i, struct publish_item *out)
{
	const struct dir_entry *e = &p->entries[i];

	*out = (struct publish_item){
		.put_id = e->put_id,
		.size = e->size,
		.flags = e->flags,
		.soft_pin_ms = soft_left_ms(p, i),
		.group = group_of(p, i),
		.loc = { .region = place_region(e->first),
			 .nr_extents = e->nr_extents,
			 .off = place_off(e->first),
			 .gen = entry_gen(p, i) },
	};
}

void fetch_object(const struct pool *p, uint64_t i, bool key, bool header)
{
	const struct dir_entry *e = &p->entries[i];
	const char *at;

	if (i >= dir_top(p) || !entry_gen(p, (uint32_t)i) ||
	    place_region(e->first) >= p->view.nr_regions)
		return;
	at = (const char *)p->view.region[place_region(e->first)].base + place_off(e->first);
	if (key)
		__builtin_prefetch(at + sizeof(struct extent_hdr) + e->size);
	if (header) {
		__builtin_prefetch(at, 1);
		__builtin_prefetch(view_bucket(&p->view, e->hash), 1);
	}
}
