// SPDX-License-Identifier: Apache-2.0
/*
 * Reading objects where they lie. Anything in the regions may change under us or be nonsense:
 * places and lengths are loaded once, checked against our own copy of the sizes, and believed only
 * when the extent's generation was right before and after.
 */
#include "pool/inner.h"

#include "base/copy.h"

struct extent {
	const struct extent_hdr *hdr;
	const uint8_t *data;
	uint64_t len, next, obj_len;
};

racy_fn static bool extent_still(const struct extent *x, uint64_t gen)
{
	fence_acquire();
	return likely(atomic_load_explicit(&x->hdr->gen, memory_order_relaxed) == gen);
}

/* False: not (or no longer) an extent of the object @gen. */
racy_fn static bool extent_open(const struct pool_view *v, uint64_t place, uint64_t gen,
				struct extent *x)
{
	x->hdr = place_at(v, place, sizeof(*x->hdr));
	/* Pairs with the release in extents_seal(). */
	if (unlikely(!x->hdr || atomic_load_explicit(&x->hdr->gen, memory_order_acquire) != gen))
		return false;
	x->len = peek(&x->hdr->len);
	x->next = peek(&x->hdr->next);
	x->obj_len = peek(&x->hdr->obj_len);
	x->data = (const uint8_t *)(x->hdr + 1);
	return x->len <= v->region[place_region(place)].size &&
	       place_at(v, place, sizeof(*x->hdr) + x->len);
}

/* The extents of an object, one after the other. */
struct walk {
	const struct pool_view *v;
	uint64_t place, gen, size;
	unsigned left;
};

static struct walk walk_start(const struct pool_view *v, const struct loc *loc, uint64_t size)
{
	return (struct walk){ .v = v,
			      .place = place_pack(loc->region, loc->off),
			      .gen = loc->gen,
			      .size = size,
			      .left = MIN(loc->nr_extents, EXTENTS_MAX) };
}

static bool walk_next(struct walk *w, struct extent *x)
{
	if (!w->left || !extent_open(w->v, w->place, w->gen, x) || x->obj_len != w->size)
		return false;
	w->left--;
	w->place = x->next;
	return true;
}

/* Where the bytes go. */
struct scatter {
	const struct iovec *iov;
	size_t done; /* of iov[0] */
};

static void scatter_copy(struct scatter *s, const uint8_t *src, uint64_t len)
{
	while (len) {
		uint64_t part = MIN(len, s->iov->iov_len - s->done);

		copy_racy((char *)s->iov->iov_base + s->done, src, part);
		src += part;
		len -= part;
		s->done += part;
		if (s->done == s->iov->iov_len) {
			s->iov++;
			s->done = 0;
		}
	}
}

/* [off, off + len) lies inside the object, and @s has room for @len. */
static int read_range(const struct pool_view *v, const struct loc *loc, uint64_t size, uint64_t off,
		      struct scatter *s, uint64_t len)
{
	struct walk w = walk_start(v, loc, size);
	struct extent x;

	while (len) {
		uint64_t part;

		if (!walk_next(&w, &x))
			return -ESTALE;
		part = off < x.len ? MIN(len, x.len - off) : 0;
		scatter_copy(s, x.data + (part ? off : 0), part);
		if (!extent_still(&x, loc->gen))
			return -ESTALE;
		off -= MIN(off, x.len);
		len -= part;
	}
	return 0;
}

int view_read(const struct pool_view *v, const struct loc *loc, uint64_t size, uint64_t off,
	      void *dst, uint64_t len)
{
	struct iovec iov = { .iov_base = dst, .iov_len = len };
	struct scatter s = { .iov = &iov };

	if (!range_inside(off, len, size) || loc->gen & 1)
		return -EINVAL;
	return read_range(v, loc, size, off, &s, len);
}

int view_readv(const struct pool_view *v, const struct loc *loc, uint64_t size,
	       const struct iovec *dst, int nr)
{
	struct scatter s = { .iov = dst };
	uint64_t len = 0;

	for (int i = 0; i < nr && len < size; i++)
		len = dst[i].iov_len < size - len ? len + dst[i].iov_len : size;
	if (loc->gen & 1)
		return -EINVAL;
	return read_range(v, loc, size, 0, &s, len);
}

int view_map(const struct pool_view *v, const struct loc *loc, uint64_t size, struct iovec *out,
	     int max)
{
	struct walk w = walk_start(v, loc, size);
	uint64_t left = size;
	struct extent x;
	int nr = 0;

	while (left) {
		if (nr == max)
			return -E2BIG;
		if (!walk_next(&w, &x) || x.len > left || !extent_still(&x, loc->gen))
			return -ESTALE;
		out[nr++] =
			(struct iovec){ .iov_base = (void *)(uintptr_t)x.data, .iov_len = x.len };
		left -= x.len;
	}
	return nr;
}

bool view_valid(const struct pool_view *v, const struct loc *loc)
{
	uint64_t place = place_pack(loc->region, loc->off);
	unsigned nr = MIN(loc->nr_extents, EXTENTS_MAX);
	struct extent x;

	fence_acquire(); /* what the caller did with the bytes comes before */
	for (unsigned i = 0; i < nr; i++) {
		if (!extent_open(v, place, loc->gen, &x) || !extent_still(&x, loc->gen))
			return false;
		place = x.next;
	}
	return nr && !(loc->gen & 1);
}
