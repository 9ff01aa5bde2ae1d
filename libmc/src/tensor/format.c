/* SPDX-License-Identifier: Apache-2.0 */
/* The two formats, to the byte: a tensor object's header and a manifest. */
#include "tensor/tensor.h"

#define HEADER_MAGIC   0x4d4f4f4eu
#define MANIFEST_MAGIC 0x574d414eu
#define VERSION	       1

enum header_field { /* offsets */
		    H_MAGIC = 0,
		    H_VERSION = 4,
		    H_SIZE = 6,
		    H_DTYPE = 8,
		    H_NDIM = 12,
		    H_LAYOUT = 16,
		    H_DATA_OFF = 24,
		    H_DATA_BYTES = 32,
		    H_WHOLE = 40,
		    H_SHAPE = 104,
		    H_NR_AXES = 168,
		    H_AXES = 176,
};

enum axis_field {
	A_KIND = 0,
	A_INDEX = 4,
	A_RANK = 8,
	A_SIZE = 12,
	A_SPLIT_DIM = 16,
	A_ID = 20,
	A_SPLIT_LEN = 24,
	AXIS_BYTES = 32,
};

enum manifest_field {
	M_MAGIC = 0,
	M_VERSION = 4,
	M_SIZE = 6,
	M_DTYPE = 8,
	M_NDIM = 12,
	M_SPLIT_DIM = 16,
	M_COUNT = 20,
	M_WHOLE = 32,
};

#define KINDS_READ 5 /* one kind more than is written: readers let it pass */

unsigned mc_dtype_bytes(int dtype)
{
	static const uint8_t bytes[MC_NR_DTYPES] = {
		[MC_FLOAT32] = 4,  [MC_FLOAT64] = 8,	   [MC_INT8] = 1,	 [MC_UINT8] = 1,
		[MC_INT16] = 2,	   [MC_UINT16] = 2,	   [MC_INT32] = 4,	 [MC_UINT32] = 4,
		[MC_INT64] = 8,	   [MC_UINT64] = 8,	   [MC_BOOL] = 1,	 [MC_FLOAT16] = 2,
		[MC_BFLOAT16] = 2, [MC_FLOAT8_E4M3FN] = 1, [MC_FLOAT8_E5M2] = 1,
	};

	return dtype >= 0 && dtype < MC_NR_DTYPES ? bytes[dtype] : 0;
}

static int dims_bytes(int dtype, int ndim, const int64_t *dim, uint64_t *bytes)
{
	uint64_t sum = mc_dtype_bytes(dtype);
	bool empty = false;

	if (!sum || ndim < 0 || ndim > MC_TENSOR_MAX_DIMS)
		return -EINVAL;
	for (int i = 0; i < ndim; i++) {
		if (dim[i] < 0)
			return -EINVAL;
		if (!dim[i])
			empty = true; /* and the others still have to be sane: products of a part of them are formed */
		else if (check_mul(sum, (uint64_t)dim[i], &sum))
			return -EINVAL;
	}
	if (sum > INT64_MAX - MC_TENSOR_HEADER_BYTES)
		return -EINVAL;
	*bytes = empty ? 0 : sum;
	return 0;
}

int mc_tensor_bytes(const struct mc_tensor *t, uint64_t *bytes)
{
	return dims_bytes(t->dtype, t->ndim, t->shape, bytes);
}

/* ---- dimensions ------------------------------------------------------------------------------------------------------- */

static void put_dims(uint8_t *p, const int64_t *dim, int ndim)
{
	for (int i = 0; i < MC_TENSOR_MAX_DIMS; i++)
		put_le64(p + 8 * i, i < ndim ? (uint64_t)dim[i] : UINT64_MAX);
}

static bool get_dims(const uint8_t *p, int64_t *dim, int ndim, bool strict)
{
	for (int i = 0; i < MC_TENSOR_MAX_DIMS; i++) {
		int64_t v = (int64_t)get_le64(p + 8 * i);

		if (i < ndim ? v < 0 : strict && v != -1)
			return false;
		dim[i] = i < ndim ? v : 0;
	}
	return true;
}

/* ---- the header ------------------------------------------------------------------------------------------------------- */

static void put_axis(uint8_t *p, const struct mc_axis *a, unsigned index, const struct mc_tensor *t)
{
	put_le32(p + A_KIND, (uint32_t)a->kind);
	put_le32(p + A_INDEX, index);
	put_le32(p + A_RANK, (uint32_t)a->rank);
	put_le32(p + A_SIZE, (uint32_t)a->size);
	put_le32(p + A_SPLIT_DIM, (uint32_t)a->split_dim);
	put_le32(p + A_ID, a->id == MC_AXIS_NONE ? 0 : (uint32_t)a->id);
	put_le64(p + A_SPLIT_LEN,
		 a->split_dim == MC_AXIS_NONE ? 0 : (uint64_t)t->shape[a->split_dim]);
}

int mc_tensor_encode(const struct mc_tensor *t, void *out)
{
	uint8_t *p = out;
	uint64_t bytes, whole;

	if (mc_tensor_bytes(t, &bytes) || dims_bytes(t->dtype, t->ndim, t->whole_shape, &whole) ||
	    t->parallel.nr_axes > MC_TENSOR_MAX_AXES)
		return -EINVAL;
	for (unsigned i = 0; i < t->parallel.nr_axes; i++)
		if (t->parallel.axis[i].split_dim < MC_AXIS_NONE ||
		    t->parallel.axis[i].split_dim >= t->ndim)
			return -EINVAL;
	memset(p, 0, MC_TENSOR_HEADER_BYTES);
	put_le32(p + H_MAGIC, HEADER_MAGIC);
	put_le16(p + H_VERSION, VERSION);
	put_le16(p + H_SIZE, MC_TENSOR_HEADER_BYTES);
	put_le32(p + H_DTYPE, (uint32_t)t->dtype);
	put_le32(p + H_NDIM, (uint32_t)t->ndim);
	put_le32(p + H_LAYOUT, t->is_shard != 0);
	put_le64(p + H_DATA_OFF, MC_TENSOR_HEADER_BYTES);
	put_le64(p + H_DATA_BYTES, bytes);
	put_dims(p + H_WHOLE, t->whole_shape, t->ndim);
	put_dims(p + H_SHAPE, t->shape, t->ndim);
	put_le32(p + H_NR_AXES, t->parallel.nr_axes);
	for (unsigned i = 0; i < t->parallel.nr_axes; i++)
		put_axis(p + H_AXES + (size_t)AXIS_BYTES * i, &t->parallel.axis[i], i, t);
	return 0;
}

static bool get_axis(const uint8_t *p, int ndim, struct mc_axis *a)
{
	*a = (struct mc_axis){
		.kind = (int32_t)get_le32(p + A_KIND),
		.rank = (int32_t)get_le32(p + A_RANK),
		.size = (int32_t)get_le32(p + A_SIZE),
		.split_dim = (int32_t)get_le32(p + A_SPLIT_DIM),
		.id = (int32_t)get_le32(p + A_ID),
	};
	if (a->kind != MC_AXIS_EXPERT && a->kind != MC_AXIS_PIPELINE)
		a->id = MC_AXIS_NONE;
	return a->kind >= 0 && a->kind < KINDS_READ && a->size > 0 && a->rank >= 0 &&
	       a->rank < a->size && a->split_dim >= MC_AXIS_NONE && a->split_dim < ndim;
}

int mc_tensor_decode(const void *header, uint64_t object_bytes, struct mc_tensor *out,
		     uint64_t *data_off)
{
	const uint8_t *p = header;
	struct mc_tensor t = { 0 };
	uint64_t off, bytes, need;

	if (object_bytes < MC_TENSOR_HEADER_BYTES || get_le32(p + H_MAGIC) != HEADER_MAGIC ||
	    get_le16(p + H_VERSION) != VERSION || get_le16(p + H_SIZE) != MC_TENSOR_HEADER_BYTES)
		return -EBADMSG;
	t.dtype = (int32_t)get_le32(p + H_DTYPE);
	t.ndim = (int32_t)get_le32(p + H_NDIM);
	t.is_shard = (int)get_le32(p + H_LAYOUT);
	t.parallel.nr_axes = get_le32(p + H_NR_AXES);
	if (t.ndim < 0 || t.ndim > MC_TENSOR_MAX_DIMS || get_le32(p + H_LAYOUT) > 1 ||
	    t.parallel.nr_axes > MC_TENSOR_MAX_AXES ||
	    !get_dims(p + H_WHOLE, t.whole_shape, t.ndim, true) ||
	    !get_dims(p + H_SHAPE, t.shape, t.ndim, true))
		return -EBADMSG;
	off = get_le64(p + H_DATA_OFF);
	bytes = get_le64(p + H_DATA_BYTES);
	if (off < MC_TENSOR_HEADER_BYTES || off > object_bytes || bytes != object_bytes - off)
		return -EBADMSG;
	if (mc_tensor_bytes(&t, &need) || need != bytes ||
	    dims_bytes(t.dtype, t.ndim, t.whole_shape, &need))
		return -EBADMSG;
	for (unsigned i = 0; i < t.parallel.nr_axes; i++)
		if (!get_axis(p + H_AXES + (size_t)AXIS_BYTES * i, t.ndim, &t.parallel.axis[i]))
			return -EBADMSG;
	*out = t;
	*data_off = off;
	return 0;
}

/* ---- the manifest ------------------------------------------------------------------------------------------------------ */

void manifest_encode(const struct manifest *m, uint8_t out[MANIFEST_BYTES])
{
	memset(out, 0, MANIFEST_BYTES);
	put_le32(out + M_MAGIC, MANIFEST_MAGIC);
	put_le16(out + M_VERSION, VERSION);
	put_le16(out + M_SIZE, MANIFEST_BYTES);
	put_le32(out + M_DTYPE, (uint32_t)m->dtype);
	put_le32(out + M_NDIM, (uint32_t)m->ndim);
	put_le32(out + M_SPLIT_DIM, (uint32_t)m->split_dim);
	put_le32(out + M_COUNT, (uint32_t)m->count);
	put_dims(out + M_WHOLE, m->whole_shape, m->ndim);
}

int manifest_decode(const void *data, uint64_t bytes, struct manifest *out)
{
	const uint8_t *p = data;
	struct manifest m = { 0 };
	uint64_t whole;

	if (bytes != MANIFEST_BYTES || get_le32(p + M_MAGIC) != MANIFEST_MAGIC ||
	    get_le16(p + M_VERSION) != VERSION || get_le16(p + M_SIZE) != MANIFEST_BYTES)
		return -EBADMSG;
	m.dtype = (int32_t)get_le32(p + M_DTYPE);
	m.ndim = (int32_t)get_le32(p + M_NDIM);
	m.split_dim = (int32_t)get_le32(p + M_SPLIT_DIM);
	m.count = (int32_t)get_le32(p + M_COUNT);
	if (m.ndim < 0 || m.ndim > MC_TENSOR_MAX_DIMS || m.count <= 0 || m.split_dim < 0 ||
	    m.split_dim >= m.ndim || !get_dims(p + M_WHOLE, m.whole_shape, m.ndim, false) ||
	    dims_bytes(m.dtype, m.ndim, m.whole_shape, &whole))
		return -EBADMSG;
	*out = m;
	return 0;
}
