/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Storing tensors: each becomes one object or several, all objects of a batch are stored in one call, and manifests in a second one
 * when the shards they speak of are there.
 */
#include "tensor/tensor.h"

#include "store/store.h"

#define PIECES_MAX \
	1024 /* more runs than this are gathered by us: a piece costs the store more than a copy of a few bytes */

struct part { /* one object */
	unsigned item;
	uint8_t header[MC_TENSOR_HEADER_BYTES];
	struct mc_iov two[2], *iov; /* @iov: @two, or its own */
	unsigned nr_iov;
	struct name name; /* data NULL: the caller's key */
	void *gathered;
};

struct put_plan {
	struct mc_tensor_put *items;
	struct part *part;
	unsigned nr, room;
	struct part one; /* for the plain tensor, which needs no allocation */
};

/* ---- what an item asks for ----------------------------------------------------------------------------------------------- */

struct job {
	const struct mc_tensor_put *item;
	struct mc_tensor tensor; /* whole or shard, as given */
	const uint8_t *data;
	const struct mc_axis *axis;   /* the tensor axis; NULL: none */
	int32_t first_rank, nr_ranks; /* shards to store */
};

static bool divides(const struct mc_tensor *t, int dim, int32_t parts)
{
	return dim >= 0 && dim < t->ndim && parts > 0 && t->shape[dim] % parts == 0;
}

static int job_source(struct job *j)
{
	const struct mc_tensor_put *it = j->item;
	uint64_t off, bytes;

	if (it->packed) {
		int ret = mc_tensor_decode(it->packed, it->packed_bytes, &j->tensor, &off);

		if (ret)
			return -EINVAL;
		j->data = (const uint8_t *)it->packed + off;
	} else {
		j->tensor =
			(struct mc_tensor){ .dtype = it->tensor.dtype, .ndim = it->tensor.ndim };
		memcpy(j->tensor.shape, it->tensor.shape, sizeof(j->tensor.shape));
		j->data = it->data;
	}
	if (mc_tensor_bytes(&j->tensor, &bytes) || (bytes && !j->data))
		return -EINVAL;
	return 0;
}

/* The header's part that is not of the tensor itself. */
static void say_whole(struct mc_tensor *t)
{
	memcpy(t->whole_shape, t->shape, sizeof(t->shape));
	t->is_shard = 0;
	t->parallel = (struct mc_parallel){ 0 };
}

static int job_open(struct job *j, const struct mc_tensor_put *it)
{
	int ret;

	*j = (struct job){ .item = it };
	if (!it->key.len || (it->parallel && it->writer) ||
	    (it->parallel && parallel_check(it->parallel)))
		return -EINVAL;
	ret = job_source(j);
	if (ret)
		return ret;
	j->axis = parallel_tensor_axis(it->parallel);
	if (it->writer)
		return it->writer->rank >= 0 && it->writer->rank < it->writer->size &&
				       divides(&j->tensor, it->writer->split_dim,
					       it->writer->size) ?
			       0 :
			       -EINVAL;
	if (!j->axis)
		return 0;
	j->first_rank = it->flags & MC_TENSOR_SPLIT ? 0 : j->axis->rank;
	j->nr_ranks = it->flags & MC_TENSOR_SPLIT ? j->axis->size : 1;
	if (j->nr_ranks > SHARDS_MAX)
		return -E2BIG;
	if (it->parallel->nr_axes == 1 &&
	    !(it->flags &
	      MC_TENSOR_SPLIT)) /* a shard: any length, the whole is so many times that */
		return j->axis->split_dim < j->tensor.ndim ? 0 : -EINVAL;
	return divides(&j->tensor, j->axis->split_dim, j->axis->size) ? 0 : -EINVAL;
}

/* ---- objects ------------------------------------------------------------------------------------------------------------- */

static struct part *plan_add(struct put_plan *p, unsigned item)
{
	if (p->nr == p->room) {
		unsigned room = p->room * 2;
		struct part *more =
			realloc(p->part == &p->one ? NULL : p->part, room * sizeof(*more));

		if (!more)
			return NULL;
		if (p->part == &p->one)
			more[0] = p->one;
		p->part = more;
		p->room = room;
	}
	p->part[p->nr] = (struct part){ .item = item, .nr_iov = 2 };
	return &p->part[p->nr++];
}

/* Parts move while the plan grows, so what points into themselves is set when it is complete. */
static void plan_settle(struct put_plan *p)
{
	for (unsigned i = 0; i < p->nr; i++) {
		struct part *a = &p->part[i];

		if (!a->iov)
			a->iov = a->two;
		if (!a->iov[0].addr)
			a->iov[0].addr = a->header;
	}
}

/* Drops the objects from @nr on: all of them, or those of an item that failed, of which nothing is stored. */
static void plan_cut(struct put_plan *p, unsigned nr)
{
	while (p->nr > nr) {
		struct part *a = &p->part[--p->nr];

		free(a->name.data);
		free(a->gathered);
		if (a->iov != a->two)
			free(a->iov);
	}
}

static void plan_free(struct put_plan *p)
{
	plan_cut(p, 0);
	if (p->part != &p->one)
		free(p->part);
}

/* Runs that are many go through a copy, runs that are few as they are. */
static int part_runs(struct part *a, const uint8_t *data, const struct cut *c)
{
	uint8_t *to;

	a->two[0] = (struct mc_iov){ NULL, MC_TENSOR_HEADER_BYTES };
	if (c->rows == 1 || !c->run) {
		a->two[1] = (struct mc_iov){ (void *)(uintptr_t)(data + (c->run ? c->off : 0)),
					     c->rows ? c->run : 0 };
		return 0;
	}
	if (c->rows < PIECES_MAX) {
		a->nr_iov = (unsigned)c->rows + 1;
		a->iov = calloc(a->nr_iov, sizeof(*a->iov));
		if (!a->iov)
			return -ENOMEM;
		a->iov[0] = a->two[0];
		for (unsigned i = 0; i < c->rows; i++)
			a->iov[i + 1] =
				(struct mc_iov){ (void *)(uintptr_t)(data + c->off + i * c->stride),
						 c->run };
		return 0;
	}
	to = a->gathered = malloc(c->rows * c->run);
	if (!to)
		return -ENOMEM;
	for (uint64_t i = 0; i < c->rows; i++)
		memcpy(to + i * c->run, data + c->off + i * c->stride, c->run);
	a->two[1] = (struct mc_iov){ to, c->rows * c->run };
	return 0;
}

static int add_plain(struct put_plan *p, unsigned item, struct job *j)
{
	struct part *a = plan_add(p, item);
	uint64_t bytes;

	if (!a)
		return -ENOMEM;
	if (j->item->packed) {
		a->nr_iov = 1;
		a->two[0] = (struct mc_iov){ (void *)(uintptr_t)j->item->packed,
					     j->item->packed_bytes };
		return 0;
	}
	say_whole(&j->tensor);
	mc_tensor_bytes(&j->tensor, &bytes);
	a->two[0] = (struct mc_iov){ NULL, MC_TENSOR_HEADER_BYTES };
	a->two[1] = (struct mc_iov){ (void *)(uintptr_t)j->data, bytes };
	return mc_tensor_encode(&j->tensor, a->header);
}

/* All of what was given, as one place among others: under the key of its axes. */
static int add_as_given(struct put_plan *p, unsigned item, const struct job *j)
{
	const struct mc_parallel *par = j->item->parallel;
	struct mc_tensor t = j->tensor;
	struct part *a = plan_add(p, item);
	uint64_t bytes;

	if (!a)
		return -ENOMEM;
	say_whole(&t);
	t.is_shard = 1;
	t.parallel = *par;
	if (j->axis && check_mul(t.shape[j->axis->split_dim], (int64_t)j->axis->size,
				 &t.whole_shape[j->axis->split_dim]))
		return -EINVAL;
	mc_tensor_bytes(&t, &bytes);
	a->two[0] = (struct mc_iov){ NULL, MC_TENSOR_HEADER_BYTES };
	a->two[1] = (struct mc_iov){ (void *)(uintptr_t)j->data, bytes };
	return mc_tensor_encode(&t, a->header) ?: name_shard(&j->item->key, par, &a->name);
}

static int add_cut(struct put_plan *p, unsigned item, const struct job *j,
		   const struct mc_parallel *par, int dim, int32_t rank, int32_t size)
{
	int64_t len = j->tensor.shape[dim] / size;
	struct cut c = cut_of(&j->tensor, dim, rank * len, len);
	struct mc_tensor t = cut_shape(&j->tensor, dim, len);
	struct part *a = plan_add(p, item);

	if (!a)
		return -ENOMEM;
	memcpy(t.whole_shape, j->tensor.shape, sizeof(t.whole_shape));
	t.is_shard = 1;
	t.parallel = *par;
	return mc_tensor_encode(&t, a->header) ?: part_runs(a, j->data, &c);
}

static int add_writer(struct put_plan *p, unsigned item, const struct job *j)
{
	const struct mc_partition *w = j->item->writer;
	struct mc_parallel par = {
		1, { { MC_AXIS_TENSOR, w->rank, w->size, w->split_dim, MC_AXIS_NONE } }
	};
	int ret = add_cut(p, item, j, &par, w->split_dim, w->rank, w->size);

	return ret ?: name_writer(&j->item->key, w, &p->part[p->nr - 1].name);
}

static int add_ranks(struct put_plan *p, unsigned item, const struct job *j)
{
	for (int32_t r = j->first_rank; r < j->first_rank + j->nr_ranks; r++) {
		struct mc_parallel par =
			parallel_moved(j->item->parallel, r, j->axis->size, j->axis->split_dim);
		int ret = add_cut(p, item, j, &par, j->axis->split_dim, r, j->axis->size);

		if (!ret)
			ret = name_shard(&j->item->key, &par, &p->part[p->nr - 1].name);
		if (ret)
			return ret;
	}
	return 0;
}

static int plan_item(struct put_plan *p, unsigned item)
{
	const struct mc_tensor_put *it = &p->items[item];
	struct job j;
	int ret = job_open(&j, it);

	if (ret)
		return ret;
	if (it->writer)
		return add_writer(p, item, &j);
	if (!it->parallel)
		return add_plain(p, item, &j);
	if (!j.axis || (it->parallel->nr_axes == 1 && !(it->flags & MC_TENSOR_SPLIT)))
		return add_as_given(p, item, &j);
	return add_ranks(p, item, &j);
}

/* ---- manifests ----------------------------------------------------------------------------------------------------------- */

static bool has_manifest(const struct mc_tensor_put *it)
{
	return it->writer || (parallel_tensor_axis(it->parallel) && !(it->flags & MC_TENSOR_SPLIT));
}

static int add_manifest(struct put_plan *p, unsigned item)
{
	const struct mc_tensor_put *it = &p->items[item];
	struct manifest m;
	struct part *a;
	struct job j;
	int ret = job_open(&j, it);

	if (ret)
		return ret;
	a = plan_add(p, item);
	if (!a)
		return -ENOMEM;
	m = (struct manifest){
		.dtype = j.tensor.dtype,
		.ndim = j.tensor.ndim,
		.split_dim = it->writer ? it->writer->split_dim : j.axis->split_dim,
		.count = it->writer ? it->writer->size : j.axis->size,
	};
	memcpy(m.whole_shape, j.tensor.shape, sizeof(m.whole_shape));
	if (!it->writer && it->parallel->nr_axes == 1)
		m.whole_shape[m.split_dim] *= m.count;
	manifest_encode(&m, a->header);
	a->nr_iov = 1;
	a->two[0] = (struct mc_iov){ NULL, MANIFEST_BYTES };
	return name_suffix(&it->key, it->writer ? NAME_WRITER_MANIFEST : NAME_PARALLEL_MANIFEST,
			   &a->name);
}

/* ---- the call ------------------------------------------------------------------------------------------------------------ */

/* Each part of a tensor is in the tensor's group. */
static int plan_groups(const struct put_plan *p, struct mc_put_opts *o)
{
	struct mc_key *groups;

	if (!o->groups)
		return 0;
	groups = calloc(p->nr, sizeof(*groups));
	if (!groups)
		return -ENOMEM;
	for (unsigned i = 0; i < p->nr; i++)
		groups[i] = o->groups[p->part[i].item];
	o->groups = groups;
	return 0;
}

static void plan_run(struct put_plan *p, struct mc_store *s, const struct mc_put_opts *opts,
		     uint64_t deadline_ns)
{
	struct mc_put one, *puts = p->nr > 1 ? calloc(p->nr, sizeof(*puts)) : &one;
	struct mc_put_opts o = *opts;

	plan_settle(p);
	if (!puts || plan_groups(p, &o)) {
		for (unsigned i = 0; i < p->nr; i++)
			p->items[p->part[i].item].result = -ENOMEM;
		goto out;
	}
	for (unsigned i = 0; i < p->nr; i++) {
		struct part *a = &p->part[i];

		puts[i] = (struct mc_put){ .key = a->name.data ? (struct mc_key){ a->name.data,
										  a->name.len } :
								 p->items[a->item].key,
					   .iov = a->iov,
					   .nr_iov = a->nr_iov };
	}
	mc_store_put(s, puts, p->nr, &o, deadline_ns);
	for (unsigned i = 0; i < p->nr; i++)
		if (!p->items[p->part[i].item].result)
			p->items[p->part[i].item].result = puts[i].result;
	if (o.groups != opts->groups)
		free((void *)(uintptr_t)o.groups);
out:
	if (puts != &one)
		free(puts);
}

static const char *words(int err)
{
	if (err != -EINVAL)
		return strerror(-err);
	return "no tensor that can be stored (its type, more than 8 dimensions, its bytes), or axes, a writer or a split that do not fit "
	       "it";
}

static void round_of(struct mc_store *s, struct mc_tensor_put *items, unsigned nr,
		     int (*plan)(struct put_plan *, unsigned),
		     bool (*wants)(const struct mc_tensor_put *), const struct mc_put_opts *opts,
		     uint64_t deadline_ns)
{
	struct put_plan p = { .items = items, .room = 1 };
	const struct mc_tensor_put *bad = NULL;

	p.part = &p.one;
	for (unsigned i = 0; i < nr; i++) {
		unsigned before = p.nr;

		if (items[i].result || (wants && !wants(&items[i])))
			continue;
		items[i].result = plan(&p, i);
		if (!items[i].result)
			continue;
		plan_cut(&p, before);
		bad = bad ? bad : &items[i];
	}
	if (p.nr)
		plan_run(&p, s, opts, deadline_ns);
	plan_free(&p);
	if (bad)
		note_words("put", &bad->key, words(bad->result), bad->result, 0);
}

int mc_store_put_tensors(struct mc_store *s, struct mc_tensor_put *items, unsigned nr,
			 const struct mc_put_opts *opts, uint64_t deadline_ns)
{
	struct mc_put_opts o;
	int ok = 0, ret = put_opts_take(opts, &o);

	deadline_ns = store_deadline(s, deadline_ns);
	for (unsigned i = 0; i < nr; i++)
		items[i].result = ret;
	round_of(s, items, nr, plan_item, NULL, &o, deadline_ns);
	round_of(s, items, nr, add_manifest, has_manifest, &o, deadline_ns);
	for (unsigned i = 0; i < nr; i++)
		ok += !items[i].result;
	return ok;
}
