/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tensors in the store. An object is a header of 304 bytes and the elements, row-major; the header names
 * the element type, the shape, and, for a shard, the whole it is a part of. Shards are objects of their own
 * under keys derived from the tensor's; a small object, the manifest, tells how many there are. All
 * functions are thread-safe.
 */
#ifndef MOONCAKE_TENSOR_H
#define MOONCAKE_TENSOR_H

#include <mooncake/store.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MC_TENSOR_HEADER_BYTES 304u
#define MC_TENSOR_MAX_DIMS 8
#define MC_TENSOR_MAX_AXES 4

/** enum mc_dtype - element types; the values are stored. */
enum mc_dtype {
	MC_FLOAT32 = 0,
	MC_FLOAT64,
	MC_INT8,
	MC_UINT8,
	MC_INT16,
	MC_UINT16,
	MC_INT32,
	MC_UINT32,
	MC_INT64,
	MC_UINT64,
	MC_BOOL,
	MC_FLOAT16,
	MC_BFLOAT16,
	MC_FLOAT8_E4M3FN,
	MC_FLOAT8_E5M2,
	MC_NR_DTYPES
};

/** mc_dtype_bytes - of one element; 0: no such type. */
MC_API unsigned mc_dtype_bytes(int dtype);

/** enum mc_axis_kind - what a tensor is parallel over; the values are stored. Only the tensor axis cuts it. */
enum mc_axis_kind {
	MC_AXIS_DATA = 0,
	MC_AXIS_TENSOR,
	MC_AXIS_EXPERT,
	MC_AXIS_PIPELINE,
	MC_NR_AXIS_KINDS
};

#define MC_AXIS_NONE (-1)

/** struct mc_axis - rank @rank of @size along one axis. */
struct mc_axis {
	int32_t kind;
	int32_t rank, size;
	int32_t split_dim; /* MC_AXIS_TENSOR: the dimension that is cut into @size equal parts; else MC_AXIS_NONE */
	int32_t id;	   /* MC_AXIS_EXPERT, MC_AXIS_PIPELINE: which expert, which stage; else MC_AXIS_NONE */
};

/** struct mc_parallel - 1 to MC_TENSOR_MAX_AXES axes, no two of one kind. */
struct mc_parallel {
	unsigned nr_axes;
	struct mc_axis axis[MC_TENSOR_MAX_AXES];
};

/** struct mc_tensor - what a header says. */
struct mc_tensor {
	int32_t dtype;
	int32_t ndim;				/* 0 to MC_TENSOR_MAX_DIMS; 0 is one element */
	int64_t shape[MC_TENSOR_MAX_DIMS];	/* of the elements at hand */
	int64_t whole_shape[MC_TENSOR_MAX_DIMS]; /* of the tensor they belong to */
	int is_shard;
	struct mc_parallel parallel; /* of a shard, in the order the caller gave; no axes otherwise */
};

/** mc_tensor_bytes - of its elements. Return: 0; -EINVAL type, dimensions, or more bytes than 2^63. */
MC_API int mc_tensor_bytes(const struct mc_tensor *t, uint64_t *bytes);

/** mc_tensor_encode - writes the header, MC_TENSOR_HEADER_BYTES at @out. Return: 0; -EINVAL. */
MC_API int mc_tensor_encode(const struct mc_tensor *t, void *out);

/**
 * mc_tensor_decode - reads the header of an object of @object_bytes bytes, of which at least MC_TENSOR_HEADER_BYTES lie at @header.
 * @data_off: where in the object the elements start. Return: 0; -EBADMSG not a tensor.
 */
MC_API int mc_tensor_decode(const void *header, uint64_t object_bytes, struct mc_tensor *out, uint64_t *data_off);

/** struct mc_partition - writer @rank of @size, each of which stores its part of @split_dim. */
struct mc_partition {
	int32_t rank, size, split_dim;
};

/**
 * struct mc_tensor_put - one tensor to store.
 *
 * Where the tensor goes depends on @parallel and @writer, of which one at most is given:
 *   none          the whole, under the key.
 *   writer        @data is the whole; this writer's part, then the writer manifest.
 *   tensor axis   alone: @data is this rank's shard; it and the manifest. With other axes: @data is the whole, of which this rank's
 *                 shard is stored, and the manifest. With MC_TENSOR_SPLIT: @data is the whole, all shards are stored, no manifest.
 *   other axes    @data is stored whole under the key of these axes.
 */
struct mc_tensor_put {
	struct mc_key key;
	struct mc_tensor tensor; /* dtype, ndim, shape of @data; the rest is ignored */
	const void *data;	 /* its elements, contiguous and row-major; any address */
	const void *packed;	 /* instead of @tensor and @data: a header and elements as mc_tensor_encode() makes them */
	uint64_t packed_bytes;	 /* of both */
	const struct mc_parallel *parallel; /* NULL: none */
	const struct mc_partition *writer;  /* NULL: none */
	uint32_t flags;			    /* MC_TENSOR_SPLIT */
	/* out: as mc_store_put(); -EINVAL also for what does not describe a tensor or does not divide evenly; -E2BIG over 65536 shards */
	int result;
};
#define MC_TENSOR_SPLIT 1u

/**
 * mc_store_put_tensors - store @nr tensors. A tensor of several objects is complete when its result is 0; after a failure some of
 * its shards may be there, its manifest is not.
 * Return: how many results are 0.
 */
MC_API int mc_store_put_tensors(struct mc_store *s, struct mc_tensor_put *items, unsigned nr, const struct mc_put_opts *opts,
				uint64_t deadline_ns);

/** enum mc_tensor_mode - what to read. */
enum mc_tensor_mode {
	MC_TENSOR_AS_STORED = 0, /* the object under the key; with @parallel of one tensor axis: that rank's object as it is */
	MC_TENSOR_SHARD,	 /* the shard that @parallel names: as stored, or cut out of the shards that are there */
	MC_TENSOR_FULL,		 /* the whole, put together from its shards; the object under the key when there are none */
};

/**
 * struct mc_tensor_get - one tensor to read. A part is read without the rest: only the bytes that it consists of move.
 * What is put together from several objects is not one moment's state when they are replaced meanwhile.
 */
struct mc_tensor_get {
	struct mc_key key;
	int mode;
	const struct mc_parallel *parallel; /* NULL: none */
	/*
	 * Where @bytes bytes, a header and the elements, shall go; called from the calling thread, at most once unless the object was
	 * replaced while it was read. NULL: -ENOMEM.
	 */
	void *(*alloc)(void *arg, uint64_t bytes);
	void *arg;
	struct mc_tensor tensor; /* out: what was read */
	uint64_t data_off;	 /* out: where its elements start in the memory @alloc gave */
	int64_t result; /* out: bytes written; -ENOENT; -EBADMSG no tensor, or shards that do not fit each other;
			* -E2BIG over 65536 shards or 16777216 runs of bytes; as mc_store_get() */
};

/** mc_store_get_tensors - read @nr tensors. Return: how many succeeded. */
MC_API int mc_store_get_tensors(struct mc_store *s, struct mc_tensor_get *items, unsigned nr, uint64_t deadline_ns);

#ifdef __cplusplus
}
#endif

#endif
