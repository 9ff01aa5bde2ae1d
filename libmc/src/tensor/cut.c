/* SPDX-License-Identifier: Apache-2.0 */
/* Where the bytes of a part of a tensor lie. */
#include "tensor/tensor.h"

struct cut cut_of(const struct mc_tensor *t, int dim, int64_t first, int64_t len)
{
	uint64_t rows = 1, below = mc_dtype_bytes(t->dtype);

	for (int i = 0; i < dim; i++)
		rows *= (uint64_t)t->shape[i];
	for (int i = dim + 1; i < t->ndim; i++)
		below *= (uint64_t)t->shape[i];
	return (struct cut){
		.rows = rows,
		.run = (uint64_t)len * below,
		.stride = (uint64_t)t->shape[dim] * below,
		.off = (uint64_t)first * below,
	};
}

struct mc_tensor cut_shape(const struct mc_tensor *t, int dim, int64_t len)
{
	struct mc_tensor part = *t;

	part.shape[dim] = len;
	return part;
}
