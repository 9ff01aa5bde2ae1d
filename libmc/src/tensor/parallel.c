/* SPDX-License-Identifier: Apache-2.0 */
/* Axes of parallelism: what makes sense, and which key a shard has. */
#include "tensor/tensor.h"

#include <stdio.h>

#define KEY_LIMIT 4096 /* the store's */

static bool axis_ok(const struct mc_axis *a)
{
	bool cuts = a->kind == MC_AXIS_TENSOR;
	bool has_id = a->kind == MC_AXIS_EXPERT || a->kind == MC_AXIS_PIPELINE;

	return a->kind >= 0 && a->kind < MC_NR_AXIS_KINDS && a->size > 0 && a->rank >= 0 &&
	       a->rank < a->size && (cuts ? a->split_dim >= 0 : a->split_dim == MC_AXIS_NONE) &&
	       (has_id ? a->id >= 0 : a->id == MC_AXIS_NONE);
}

int parallel_check(const struct mc_parallel *p)
{
	unsigned seen = 0;

	if (!p->nr_axes || p->nr_axes > MC_TENSOR_MAX_AXES)
		return -EINVAL;
	for (unsigned i = 0; i < p->nr_axes; i++) {
		if (!axis_ok(&p->axis[i]) || seen & 1u << p->axis[i].kind)
			return -EINVAL;
		seen |= 1u << p->axis[i].kind;
	}
	return 0;
}

static const struct mc_axis *axis_of(const struct mc_parallel *p, int kind)
{
	for (unsigned i = 0; i < p->nr_axes; i++)
		if (p->axis[i].kind == kind)
			return &p->axis[i];
	return NULL;
}

const struct mc_axis *parallel_tensor_axis(const struct mc_parallel *p)
{
	return p ? axis_of(p, MC_AXIS_TENSOR) : NULL;
}

bool parallel_same(const struct mc_parallel *a, const struct mc_parallel *b)
{
	if (a->nr_axes != b->nr_axes)
		return false;
	for (unsigned i = 0; i < a->nr_axes; i++) {
		const struct mc_axis *x = &a->axis[i], *y = axis_of(b, x->kind);

		if (!y || x->rank != y->rank || x->size != y->size ||
		    x->split_dim != y->split_dim || x->id != y->id)
			return false;
	}
	return true;
}

struct mc_parallel parallel_moved(const struct mc_parallel *p, int32_t rank, int32_t size,
				  int32_t split_dim)
{
	struct mc_parallel moved = *p;

	for (unsigned i = 0; i < moved.nr_axes; i++)
		if (moved.axis[i].kind == MC_AXIS_TENSOR)
			moved.axis[i] = (struct mc_axis){ MC_AXIS_TENSOR, rank, size, split_dim,
							  MC_AXIS_NONE };
	return moved;
}

/* ---- keys ---------------------------------------------------------------------------------------------------------------- */

int name_suffix(const struct mc_key *base, const char *suffix, struct name *out)
{
	size_t n = strlen(suffix);

	if (!base->len || base->len > KEY_LIMIT || base->len + n > KEY_LIMIT)
		return -EINVAL;
	out->data = malloc(base->len + n);
	if (!out->data)
		return -ENOMEM;
	memcpy(out->data, base->data, base->len);
	memcpy(out->data + base->len, suffix, n);
	out->len = base->len + n;
	return 0;
}

static const struct {
	int kind;
	const char *word;
} key_order[] = { { MC_AXIS_DATA, "dp" },
		  { MC_AXIS_TENSOR, "tp" },
		  { MC_AXIS_EXPERT, "ep" },
		  { MC_AXIS_PIPELINE, "pp" } };

int name_shard(const struct mc_key *base, const struct mc_parallel *p, struct name *out)
{
	char text[MC_TENSOR_MAX_AXES * 64];
	int n = 0;

	if (p->nr_axes == 1 && p->axis[0].kind == MC_AXIS_TENSOR) {
		snprintf(text, sizeof(text), "_tp_%d", p->axis[0].rank);
		return name_suffix(base, text, out);
	}
	for (size_t i = 0; i < ARRAY_SIZE(key_order); i++) {
		const struct mc_axis *a = axis_of(p, key_order[i].kind);

		if (!a)
			continue;
		n += snprintf(text + n, sizeof(text) - (size_t)n, "__%s_%dof%d", key_order[i].word,
			      a->rank, a->size);
		if (a->split_dim != MC_AXIS_NONE)
			n += snprintf(text + n, sizeof(text) - (size_t)n, "_sd%d", a->split_dim);
		if (a->id != MC_AXIS_NONE)
			n += snprintf(text + n, sizeof(text) - (size_t)n, "_%s%d",
				      a->kind == MC_AXIS_EXPERT ? "eid" : "sid", a->id);
	}
	return name_suffix(base, text, out);
}

int name_writer(const struct mc_key *base, const struct mc_partition *w, struct name *out)
{
	char text[64];

	snprintf(text, sizeof(text), "__writer_%dof%d_sd%d", w->rank, w->size, w->split_dim);
	return name_suffix(base, text, out);
}
