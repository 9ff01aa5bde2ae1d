/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tensor, or a part of it, from the shards it was cut into. Their headers are read first; then the bytes
 * that are wanted, together with the headers once more: an object that was replaced in between shows by a
 * header that differs, and the reading starts again.
 */
#include "tensor/tensor.h"

#include "store/store.h"

#define TRIES	   3
#define SLICES_MAX (1u << 24) /* of one reading */
#define RUN_MIN \
	256 /* bytes: for shorter runs that are most of a shard, the shard is fetched as it is and copied from */

struct piece { /* what one shard gives */
	struct name key;
	uint8_t header[MC_TENSOR_HEADER_BYTES], again[MC_TENSOR_HEADER_BYTES];
	struct mc_tensor tensor;
	uint64_t data_off;
	int32_t rank;
	int64_t first, len; /* positions of the cut dimension, in the shard */
	int64_t to;	    /* and in the result */
	uint8_t *fetched;   /* the shard's elements, when they are copied from */
};

struct work {
	struct mc_store *s;
	const struct shards *from;
	struct mc_tensor_get *it;
	struct piece *piece;
	unsigned nr;
	struct mc_get_slices *get;
	uint8_t *dst; /* the result's elements */
	uint64_t deadline_ns;
};

static int piece_open(struct work *w, struct piece *p, int32_t rank, int64_t shard_len,
		      int64_t first, int64_t len)
{
	int64_t lo = MAX(rank * shard_len, first), end = first + len, hi = (rank + 1) * shard_len;
	const struct manifest *c = &w->from->cut;

	hi = MIN(hi, end);
	*p = (struct piece){
		.rank = rank, .first = lo - rank * shard_len, .len = hi - lo, .to = lo - first
	};
	if (w->from->parallel) {
		struct mc_parallel par =
			parallel_moved(w->from->parallel, rank, c->count, c->split_dim);

		return name_shard(w->from->base, &par, &p->key);
	}
	return name_writer(w->from->base, &(struct mc_partition){ rank, c->count, c->split_dim },
			   &p->key);
}

/* Is this the shard it should be? */
static int piece_check(const struct work *w, struct piece *p, int64_t object_bytes)
{
	const struct manifest *c = &w->from->cut;
	const struct mc_axis *a;

	if (mc_tensor_decode(p->header, (uint64_t)object_bytes, &p->tensor, &p->data_off))
		return -EBADMSG;
	a = parallel_tensor_axis(&p->tensor.parallel);
	if (!a || a->rank != p->rank || a->size != c->count || a->split_dim != c->split_dim ||
	    p->tensor.dtype != c->dtype || p->tensor.ndim != c->ndim)
		return -EBADMSG;
	for (int i = 0; i < c->ndim; i++)
		if (p->tensor.shape[i] !=
		    (i == c->split_dim ? c->whole_shape[i] / c->count : c->whole_shape[i]))
			return -EBADMSG;
	return 0;
}

static int first_error(const struct work *w)
{
	for (unsigned i = 0; i < w->nr; i++) {
		if (w->get[i].result < 0)
			return (int)w->get[i].result;
		for (unsigned k = 0; k < w->get[i].nr; k++)
			if (w->get[i].slices[k].result < 0)
				return w->get[i].slices[k].result == -ERANGE ?
					       -EBADMSG :
					       (int)w->get[i].slices[k].result;
	}
	return 0;
}

static int read_headers(struct work *w)
{
	struct mc_slice *slice = calloc(w->nr, sizeof(*slice));
	int ret;

	if (!slice)
		return -ENOMEM;
	for (unsigned i = 0; i < w->nr; i++) {
		struct piece *p = &w->piece[i];

		slice[i] = (struct mc_slice){ .dst = p->header, .len = sizeof(p->header) };
		w->get[i] = (struct mc_get_slices){ .key = { p->key.data, p->key.len },
						    .slices = &slice[i],
						    .nr = 1 };
	}
	mc_store_get_slices(w->s, w->get, w->nr, w->deadline_ns);
	ret = first_error(w);
	for (unsigned i = 0; i < w->nr && !ret; i++)
		ret = piece_check(w, &w->piece[i], w->get[i].result);
	free(slice);
	return ret;
}

/* ---- the bytes ----------------------------------------------------------------------------------------------------------- */

static struct cut piece_source(const struct work *w, const struct piece *p)
{
	return cut_of(&p->tensor, w->from->cut.split_dim, p->first, p->len);
}

static struct cut piece_target(const struct work *w, const struct piece *p)
{
	return cut_of(&w->it->tensor, w->from->cut.split_dim, p->to, p->len);
}

static bool whole_is_better(const struct cut *c)
{
	return c->rows > 1 && c->run < RUN_MIN && c->run * 2 >= c->stride;
}

static uint64_t slices_of(const struct cut *c)
{
	if (!c->run || !c->rows)
		return 1;
	return 1 + (whole_is_better(c) ? 1 : c->rows);
}

static int add_slices(struct work *w, struct piece *p, struct mc_slice *to)
{
	struct cut src = piece_source(w, p), dst = piece_target(w, p);
	uint64_t n = slices_of(&src);

	to[0] = (struct mc_slice){ .dst = p->again, .len = sizeof(p->again) };
	if (n > 1 && whole_is_better(&src)) {
		p->fetched = malloc(src.rows * src.stride);
		if (!p->fetched)
			return -ENOMEM;
		to[1] = (struct mc_slice){ .dst = p->fetched,
					   .src_off = p->data_off,
					   .len = src.rows * src.stride };
		return 0;
	}
	for (uint64_t i = 1; i < n; i++)
		to[i] = (struct mc_slice){ .dst = w->dst + dst.off + (i - 1) * dst.stride,
					   .src_off = p->data_off + src.off + (i - 1) * src.stride,
					   .len = src.run };
	return 0;
}

static void copy_fetched(struct work *w, struct piece *p)
{
	struct cut src = piece_source(w, p), dst = piece_target(w, p);

	for (uint64_t i = 0; i < src.rows; i++)
		memcpy(w->dst + dst.off + i * dst.stride, p->fetched + src.off + i * src.stride,
		       src.run);
}

static int count_slices(const struct work *w, uint64_t *nr)
{
	*nr = 0;
	for (unsigned i = 0; i < w->nr; i++) {
		struct cut c = piece_source(w, &w->piece[i]);

		if (check_add(*nr, slices_of(&c), nr) || *nr > SLICES_MAX)
			return -E2BIG;
	}
	return 0;
}

/* The pieces' slices, one after the other in @slice. */
static int plan_slices(struct work *w, struct mc_slice *slice)
{
	for (unsigned i = 0; i < w->nr; i++) {
		struct piece *p = &w->piece[i];
		struct cut c = piece_source(w, p);
		int ret = add_slices(w, p, slice);

		if (ret)
			return ret;
		w->get[i].slices = slice;
		w->get[i].nr = (unsigned)slices_of(&c);
		slice += w->get[i].nr;
	}
	return 0;
}

/* What was fetched into memory of ours goes to its place, unless it is of no use, and the memory away. */
static void settle_fetched(struct work *w, bool good)
{
	for (unsigned i = 0; i < w->nr; i++) {
		struct piece *p = &w->piece[i];

		if (good && p->fetched)
			copy_fetched(w, p);
		free(p->fetched);
		p->fetched = NULL;
	}
}

static int read_bytes(struct work *w)
{
	struct mc_slice *slice;
	uint64_t nr;
	int ret = count_slices(w, &nr);

	if (ret)
		return ret;
	slice = calloc(nr, sizeof(*slice));
	if (!slice)
		return -ENOMEM;
	ret = plan_slices(w, slice);
	if (!ret) {
		mc_store_get_slices(w->s, w->get, w->nr, w->deadline_ns);
		ret = first_error(w);
	}
	for (unsigned i = 0; i < w->nr && !ret; i++)
		if (memcmp(w->piece[i].header, w->piece[i].again, MC_TENSOR_HEADER_BYTES))
			ret = -ESTALE;
	settle_fetched(w, !ret);
	free(slice);
	return ret;
}

/* ---- the call ------------------------------------------------------------------------------------------------------------ */

static int work_open(struct work *w, int64_t first, int64_t len)
{
	const struct manifest *c = &w->from->cut;
	int64_t shard_len = c->whole_shape[c->split_dim] / c->count;
	int32_t from_rank, to_rank;

	if (c->whole_shape[c->split_dim] % c->count)
		return -EBADMSG;
	/* Of a tensor without elements in this dimension, the first shard is asked whether it is there. */
	from_rank = shard_len ? (int32_t)(first / shard_len) : 0;
	to_rank = shard_len && len ? (int32_t)((first + len - 1) / shard_len) : from_rank;
	from_rank = MIN(from_rank, c->count - 1);
	to_rank = MIN(to_rank, c->count - 1);
	if (to_rank - from_rank >= SHARDS_MAX)
		return -E2BIG;
	w->piece = calloc((size_t)(to_rank - from_rank) + 1, sizeof(*w->piece));
	w->get = calloc((size_t)(to_rank - from_rank) + 1, sizeof(*w->get));
	if (!w->piece || !w->get)
		return -ENOMEM;
	for (int32_t r = from_rank; r <= to_rank; r++) {
		int ret = piece_open(w, &w->piece[w->nr], r, shard_len, first, len);

		if (ret)
			return ret;
		w->nr++;
	}
	return 0;
}

static void work_close(struct work *w)
{
	for (unsigned i = 0; i < w->nr; i++)
		free(w->piece[i].key.data);
	free(w->piece);
	free(w->get);
}

static int try_once(struct work *w, uint64_t bytes)
{
	int ret = read_headers(w);
	uint8_t *at;

	if (ret)
		return ret;
	at = w->dst ? w->dst - MC_TENSOR_HEADER_BYTES :
		      w->it->alloc(w->it->arg, MC_TENSOR_HEADER_BYTES + bytes);
	if (!at)
		return -ENOMEM;
	w->dst = at + MC_TENSOR_HEADER_BYTES;
	ret = mc_tensor_encode(&w->it->tensor, at);
	return ret ? -EBADMSG : read_bytes(w);
}

void assemble(struct mc_store *s, const struct shards *from, int64_t first, int64_t len,
	      struct mc_tensor_get *it, uint64_t deadline_ns)
{
	struct work w = { .s = s, .from = from, .it = it, .deadline_ns = deadline_ns };
	uint64_t bytes;
	int ret;

	it->tensor.shape[from->cut.split_dim] = len;
	ret = mc_tensor_bytes(&it->tensor, &bytes) ? -EBADMSG : work_open(&w, first, len);
	for (int i = 0; i < TRIES && !ret; i++) {
		ret = try_once(&w, bytes);
		if (ret != -ESTALE)
			break;
		ret = i + 1 < TRIES ? 0 : -ENOENT;
	}
	work_close(&w);
	it->data_off = MC_TENSOR_HEADER_BYTES;
	it->result = ret ? ret : (int64_t)(MC_TENSOR_HEADER_BYTES + bytes);
}
