// SPDX-License-Identifier: Apache-2.0
/*
 * Writing objects into granted space: cutting extents from it, and filling them so that no reader
 * takes them for whole too early.
 */
#include "pool/inner.h"

#include "base/copy.h"

int view_granted(const struct pool_view *v, const struct msg_grant_reply *m, struct range_set *runs)
{
	uint32_t i;
	int ret = 0;

	for (i = 0; i < m->nr; i++) {
		const struct grant_run *g = &m->runs[i];

		if (g->region >= v->nr_regions || (g->off | g->len) % POOL_UNIT ||
		    !place_pack(g->region, g->off) ||
		    !range_inside(g->off, g->len, v->region[g->region].size))
			ret = -EBADMSG;
		else
			ret = range_set_add(&runs[g->region], g->off, g->len);
		if (ret)
			break;
	}
	if (!ret)
		return 0;
	while (i--)
		range_set_del(&runs[m->runs[i].region], m->runs[i].off, m->runs[i].len);
	return ret == -ENOMEM ? ret : -EBADMSG;
}

/* ---- cutting ---- */

/* The set with the shortest run of at least @want bytes, else the one with the longest. */
static unsigned best_region(const struct range_set *runs, unsigned nr_regions, uint64_t want)
{
	unsigned best = 0;
	uint64_t best_len = 0;

	if (nr_regions == 1)
		return 0;
	for (unsigned i = 0; i < nr_regions; i++) {
		for (size_t k = 0; k < runs[i].count; k++) {
			uint64_t len = runs[i].r[k].len;

			if (len >= want ? best_len < want || len < best_len : len > best_len) {
				best = i;
				best_len = len;
			}
		}
	}
	return best;
}

int extents_carve(struct range_set *runs, unsigned nr_regions, uint64_t size, uint16_t key_len,
		  uint64_t gen, struct extents *out)
{
	uint64_t left = size, all = 0, off;

	out->gen = gen;
	out->size = size;
	out->key_len = key_len;
	out->nr = 0;
	for (unsigned i = 0; i < nr_regions; i++)
		all += runs[i].bytes;
	if (size > all)
		return -ENOSPC;
	do {
		uint64_t extra = sizeof(struct extent_hdr) + (out->nr ? 0 : key_len);
		uint64_t want = align_up(extra + left, POOL_UNIT), len;
		unsigned region = best_region(runs, nr_regions, want);

		if (out->nr == EXTENTS_MAX) {
			extents_return(runs, out);
			return -E2BIG;
		}
		len = range_set_cut(&runs[region], want, &off);
		/*
		 * The longest run has no room for payload. A first one without any is fine: the
		 * key alone may fill it.
		 */
		if (len < extra || (out->nr && len == extra)) {
			if (len)
				range_set_add(&runs[region], off, len);
			extents_return(runs, out);
			return -ENOSPC;
		}
		len = MIN(left, len - extra);
		out->piece[out->nr].place = place_pack((uint16_t)region, off);
		out->piece[out->nr++].len = len;
		left -= len;
	} while (left);
	return 0;
}

static uint64_t piece_bytes(const struct extents *x, unsigned i)
{
	return extent_bytes(x->piece[i].len, i ? 0 : x->key_len);
}

void extents_return(struct range_set *runs, const struct extents *x)
{
	for (unsigned i = 0; i < x->nr; i++)
		range_set_add(&runs[place_region(x->piece[i].place)], place_off(x->piece[i].place),
			      piece_bytes(x, i));
}

struct loc extents_loc(const struct extents *x)
{
	return (struct loc){ .region = place_region(x->piece[0].place),
			     .nr_extents = x->nr,
			     .off = place_off(x->piece[0].place),
			     .gen = x->gen };
}

/* ---- filling ---- */

static struct extent_hdr *piece_hdr(const struct pool_view *v, const struct extents *x, unsigned i)
{
	return (struct extent_hdr *)((char *)v->region[place_region(x->piece[i].place)].base +
				     place_off(x->piece[i].place));
}

static uint8_t *piece_data(const struct pool_view *v, const struct extents *x, unsigned i)
{
	return (uint8_t *)(piece_hdr(v, x, i) + 1);
}

void extents_begin(const struct pool_view *v, const struct extents *x, const struct key *key,
		   uint16_t flags)
{
	uint64_t hash[2];

	siphash128(&v->hash_key, key->data, key->len, hash);
	for (unsigned i = 0; i < x->nr; i++) {
		struct extent_hdr *h = piece_hdr(v, x, i);

		atomic_store_explicit(&h->gen, x->gen | 1, memory_order_relaxed);
		fence_release(); /* nobody sees what follows under an earlier, even generation */
		poke(&h->hash[0], hash[0]);
		poke(&h->hash[1], hash[1]);
		poke(&h->len, x->piece[i].len);
		poke(&h->next, i + 1u < x->nr ? x->piece[i + 1].place : 0);
		poke(&h->obj_len, x->size);
		poke(&h->put_id, x->put_id);
		poke(&h->crc, 0);
		poke(&h->key_len, i ? 0 : key->len);
		poke(&h->flags, flags);
	}
	copy_racy(piece_data(v, x, 0) + x->piece[0].len, key->data, key->len);
}

int extents_iov(const struct pool_view *v, const struct extents *x, struct iovec *out, int max)
{
	int nr = 0;

	for (unsigned i = 0; i < x->nr; i++) {
		if (!x->piece[i].len)
			continue;
		if (nr == max)
			return -E2BIG;
		out[nr++] = (struct iovec){ .iov_base = piece_data(v, x, i),
					    .iov_len = x->piece[i].len };
	}
	return nr;
}

void extents_write(const struct pool_view *v, const struct extents *x, uint64_t off, const void *src, uint64_t len)
{
	for (unsigned i = 0; i < x->nr && len; i++) {
		uint64_t here = x->piece[i].len, part;

		if (off >= here) {
			off -= here;
			continue;
		}
		part = MIN(len, here - off);
		copy_bytes(piece_data(v, x, i) + off, src, part);
		src = (const uint8_t *)src + part;
		len -= part;
		off = 0;
	}
}

static void seal(const struct pool_view *v, const struct extents *x)
{
	/*
	 * Release: who sees the even generation sees payload and fields. Pairs with extent_open().
	 */
	for (unsigned i = 0; i < x->nr; i++)
		atomic_store_explicit(&piece_hdr(v, x, i)->gen, x->gen, memory_order_release);
}

void extents_seal(const struct pool_view *v, const struct extents *x, uint16_t flags,
		  const uint32_t *crc)
{
	for (unsigned i = 0; i < x->nr; i++) {
		struct extent_hdr *h = piece_hdr(v, x, i);

		poke(&h->flags, flags);
		if (flags & OBJ_CRC)
			poke(&h->crc, crc ? crc[i] : crc32c(0, h + 1, x->piece[i].len));
	}
	seal(v, x);
}

/* Where the bytes come from. */
struct gather {
	const struct iovec *iov;
	int nr;
	size_t done; /* of iov[0] */
};

/* Return: the CRC when wanted. */
static uint32_t gather_copy(struct gather *g, uint8_t *dst, uint64_t len, bool crc)
{
	uint32_t sum = 0;

	while (len && g->nr) {
		const uint8_t *src = (const uint8_t *)g->iov->iov_base + g->done;
		uint64_t part = MIN(len, g->iov->iov_len - g->done);

		if (crc)
			sum = copy_crc32c(dst, src, part, sum);
		else
			copy_bytes(dst, src, part);
		dst += part;
		len -= part;
		g->done += part;
		if (g->done == g->iov->iov_len) {
			g->iov++;
			g->nr--;
			g->done = 0;
		}
	}
	return sum;
}

void extents_copy(const struct pool_view *v, const struct extents *x, uint16_t flags,
		  const struct iovec *src, int nr_src)
{
	struct gather g = { .iov = src, .nr = nr_src };

	for (unsigned i = 0; i < x->nr; i++) {
		uint32_t crc =
			gather_copy(&g, piece_data(v, x, i), x->piece[i].len, flags & OBJ_CRC);

		if (flags & OBJ_CRC)
			poke(&piece_hdr(v, x, i)->crc, crc);
	}
}

void extents_fill(const struct pool_view *v, const struct extents *x, const struct key *key,
		  uint16_t flags, const struct iovec *src, int nr_src)
{
	extents_begin(v, x, key, flags);
	extents_copy(v, x, flags, src, nr_src);
	seal(v, x);
}

/* ---- announced objects ---- */

static int first_gen_swap(const struct pool_view *v, const struct extents *x, uint64_t seen,
			  uint64_t gen)
{
	/* Release: as in seal(). */
	if (atomic_compare_exchange_strong_explicit(&piece_hdr(v, x, 0)->gen, &seen, gen,
						    memory_order_release, memory_order_acquire))
		return 0;
	return seen == (uint64_t)GEN_REMOVED ? -ENOENT :
	       seen == (uint64_t)GEN_REVOKED ? -ESTALE :
					       -EBADMSG;
}

int extents_reveal(const struct pool_view *v, const struct extents *x)
{
	/* Nobody gets to the others but through the first. */
	for (unsigned i = 1; i < x->nr; i++)
		atomic_store_explicit(&piece_hdr(v, x, i)->gen, x->gen, memory_order_release);
	return first_gen_swap(v, x, x->gen | 1 | GEN_AGREED, x->gen);
}

int extents_abandon(const struct pool_view *v, const struct extents *x)
{
	if (!first_gen_swap(v, x, x->gen | 1, GEN_ABANDONED))
		return 0;
	return first_gen_swap(v, x, x->gen | 1 | GEN_AGREED, GEN_ABANDONED);
}

int extents_agreed(const struct pool_view *v, const struct extents *x)
{
	uint64_t gen = atomic_load_explicit(&piece_hdr(v, x, 0)->gen, memory_order_relaxed);

	return gen == (x->gen | 1) ? -EINPROGRESS : gen == (x->gen | 1 | GEN_AGREED) ? 0 : -ECANCELED;
}
