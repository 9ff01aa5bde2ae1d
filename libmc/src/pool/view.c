// SPDX-License-Identifier: Apache-2.0
/* Opening a pool's memory and finding objects in its directory, from any process of the node. */
#include "pool/inner.h"

#include <unistd.h>

#include "base/log.h"

#define WALK_MAX \
	65536 /* entries of one chain: real chains have a few, a damaged one may be a ring */
#define TRIES_MAX 1000 /* of a walk during which entries were taken out */

int view_check_header(const struct pool_view *v, const struct dir_header *h)
{
	uint64_t size = v->dir_region.size, buckets, entries, extras;

	if (!is_pow2(h->nr_buckets) || !is_pow2(h->nr_entries) || h->nr_entries >= NIL ||
	    h->nr_regions != v->nr_regions)
		return -EBADMSG;
	if (check_mul(h->nr_buckets, sizeof(struct dir_bucket), &buckets) ||
	    h->buckets_off % sizeof(struct dir_bucket) || h->buckets_off < sizeof(*h) ||
	    !range_inside(h->buckets_off, buckets, size))
		return -EBADMSG;
	if (check_mul(h->nr_entries, sizeof(struct dir_entry), &entries) ||
	    h->entries_off % sizeof(struct dir_entry) || h->entries_off < sizeof(*h) ||
	    !range_inside(h->entries_off, entries, size))
		return -EBADMSG;
	if (h->extras_off && (check_mul(h->nr_entries, sizeof(struct dir_extra), &extras) ||
			      h->extras_off % sizeof(struct dir_extra) || h->extras_off < sizeof(*h) ||
			      !range_inside(h->extras_off, extras, size)))
		return -EBADMSG;
	for (uint32_t i = 0; i < v->nr_regions; i++)
		if (h->region_bytes[i] != v->region[i].size)
			return -EBADMSG;
	return 0;
}

int view_init(struct pool_view *v)
{
	struct dir_header h;
	int ret = -EBADMSG;

	if (v->dir_region.size < sizeof(h))
		goto err_close;
	v->dir = v->dir_region.base;
	v->dir_bytes = v->dir_region.size;
	memcpy(&h, v->dir, sizeof(h)); /* what is checked is what is used */
	if (h.magic != POOL_MAGIC)
		goto err_close;
	if (h.layout != POOL_LAYOUT) {
		ret = -EPROTO;
		goto err_close;
	}
	ret = view_check_header(v, &h);
	if (ret)
		goto err_close;
	v->hash_key = h.hash_key;
	v->nr_buckets = h.nr_buckets;
	v->nr_entries = h.nr_entries;
	v->buckets_off = h.buckets_off;
	v->entries_off = h.entries_off;
	v->extras_off = h.extras_off;
	return 0;

err_close:
	log_err("pool directory is %s; start owner and client from the same release",
		ret == -EPROTO ? "of another layout" : "damaged");
	view_close(v);
	return ret;
}

/* The descriptors from here on were not mapped, so nobody else closes them. */
static void close_rest(const int *fds, unsigned from, unsigned nr)
{
	for (unsigned i = from; i < nr; i++)
		close(fds[i]);
}

static int map_regions(const int *fds, const struct msg_attach_reply *info, bool writable,
		       struct pool_view *v)
{
	for (unsigned i = 0; i < info->nr_regions; i++) {
		int ret = region_map(fds[i], info->region_bytes[i], writable, &v->region[i]);

		if (ret) {
			close_rest(fds, i + 1, info->nr_regions);
			return ret;
		}
		v->nr_regions++;
	}
	return 0;
}

static int map_ring(int fd, uint64_t bytes, struct pool_view *v)
{
	uint64_t places = touch_places(bytes);
	int ret;

	if (fd < 0)
		return 0;
	if (!places) {
		close(fd);
		return -EBADMSG;
	}
	ret = region_map(fd, bytes, true, &v->ring_region);
	if (ret)
		return ret;
	v->touches = v->ring_region.base;
	v->touch_mask = places - 1;
	return 0;
}

static void view_clear(struct pool_view *v)
{
	*v = (struct pool_view){ .dir_region.fd = -1, .ring_region.fd = -1 };
	for (unsigned i = 0; i < POOL_REGIONS_MAX; i++)
		v->region[i].fd = -1;
}

int view_open(int dir_fd, int ring_fd, const int *region_fds, const struct msg_attach_reply *info,
	      bool writable, struct pool_view *out)
{
	struct pool_view v;
	int ret, err;

	view_clear(&v);
	if (info->nr_regions > POOL_REGIONS_MAX) { /* the decoder refuses this */
		close_rest(&dir_fd, 0, 1);
		close_rest(&ring_fd, 0, ring_fd >= 0);
		return -EBADMSG;
	}
	/* Each call takes its descriptors whatever happened before, so that none is left open. */
	ret = region_map(dir_fd, info->dir_bytes, false, &v.dir_region);
	err = map_ring(ring_fd, info->ring_bytes, &v);
	ret = ret ? ret : err;
	err = map_regions(region_fds, info, writable, &v);
	ret = ret ? ret : err;
	if (ret) {
		view_close(&v);
		return ret;
	}
	ret = view_init(&v);
	if (ret)
		return ret;
	if (memcmp(v.dir->pool_id, info->pool_id, sizeof(info->pool_id))) {
		view_close(&v);
		return -EBADMSG;
	}
	*out = v;
	return 0;
}

void view_close(struct pool_view *v)
{
	region_close(&v->dir_region);
	region_close(&v->ring_region);
	for (unsigned i = 0; i < POOL_REGIONS_MAX; i++)
		region_close(&v->region[i]);
	view_clear(v);
}

bool view_dead(const struct pool_view *v)
{
	return atomic_load_explicit(&v->dir->dead, memory_order_acquire);
}

/*
 * Is @e the entry of @hash, now? The generation before and after the fields says that they belong
 * together: the owner clears it before it fills an entry anew. Pairs with dir_link() and
 * dir_unlink().
 */
static bool entry_match(const struct pool_view *v, const struct dir_entry *e, uint32_t i,
			const uint64_t hash[2], struct found *out)
{
	uint64_t gen, place;
	bool pending;

	if (peek(&e->hash[0]) != hash[0])
		return false;
	gen = atomic_load_explicit(&e->gen, memory_order_acquire);
	if (!gen || gen & 1 || peek(&e->hash[0]) != hash[0] || peek(&e->hash[1]) != hash[1])
		return false;
	place = peek(&e->first);
	*out = (struct found){
		.loc = { .region = place_region(place),
			 .nr_extents = peek(&e->nr_extents),
			 .off = place_off(place),
			 .gen = gen },
		.size = peek(&e->size),
		.entry = i,
		.flags = peek(&e->flags) & OBJ_FLAGS,
	};
	pending = peek(&e->flags) & OBJ_PENDING;
	fence_acquire();
	if (atomic_load_explicit(&e->gen, memory_order_relaxed) != gen)
		return false;
	/* Announced: there as soon as its writer says so, whether the owner has noticed or not. */
	return likely(!pending) || view_valid(v, &out->loc);
}

static bool chain_find(const struct pool_view *v, const struct dir_bucket *b,
		       const uint64_t hash[2], struct found *out)
{
	uint32_t at = atomic_load_explicit(&b->head, memory_order_acquire);

	for (unsigned steps = 0; at && at <= v->nr_entries && steps < WALK_MAX; steps++) {
		const struct dir_entry *e = view_entry(v, at - 1);

		if (entry_match(v, e, at - 1, hash, out))
			return true;
		at = atomic_load_explicit(&e->next, memory_order_acquire);
	}
	return false;
}

void view_prefault(const struct pool_view *v)
{
	region_prefault(&v->dir_region, 0, v->entries_off);
}

void view_hash(const struct pool_view *v, const struct key *key, uint64_t hash[2])
{
	siphash128(&v->hash_key, key->data, key->len, hash);
}

void view_fetch(const struct pool_view *v, const uint64_t (*hash)[2], unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		__builtin_prefetch(view_bucket(v, hash[i]));
	for (unsigned i = 0; i < nr; i++) {
		const struct dir_bucket *b = view_bucket(v, hash[i]);
		uint32_t head = atomic_load_explicit(&b->head, memory_order_relaxed);

		if (head && head <= v->nr_entries)
			__builtin_prefetch(view_entry(v, head - 1));
	}
}

int view_lookup(const struct pool_view *v, const void *key, uint16_t key_len, struct found *out)
{
	uint64_t hash[2];

	siphash128(&v->hash_key, key, key_len, hash);
	return view_lookup_hash(v, hash, out);
}

int view_lookup_hash(const struct pool_view *v, const uint64_t hash[2], struct found *out)
{
	const struct dir_bucket *b = view_bucket(v, hash);
	uint32_t seq;

	for (int tries = 0; tries < TRIES_MAX; tries++) {
		seq = atomic_load_explicit(&b->seq, memory_order_acquire);
		if (chain_find(v, b, hash, out))
			return 0;
		/*
		 * An entry that was taken out may have led us into another chain; dir_unlink()
		 * moves seq first.
		 */
		fence_acquire();
		if (likely(atomic_load_explicit(&b->seq, memory_order_relaxed) == seq))
			break;
	}
	return -ENOENT;
}

void view_touch(const struct pool_view *v, const struct found *f)
{
	if (v->touches)
		lossy_ring_push(v->touches, v->touch_mask, touch_pack(f->entry, f->loc.gen));
}
