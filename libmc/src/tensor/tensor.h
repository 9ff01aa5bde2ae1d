/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tensors on top of the store: the format of the objects, the keys of shards, which bytes of which shard make which part. Uses the
 * public calls of <mooncake/store.h> alone, so a tensor is never more than its objects.
 */
#ifndef MC_TENSOR_H
#define MC_TENSOR_H

#include <mooncake/tensor.h>

#include "base/base.h"

#define SHARDS_MAX 65536 /* objects that one call writes or reads for one tensor */

/* ---- format.c: the manifest; the header is in the public header ------------------------------------------------------- */

#define MANIFEST_BYTES 96

struct manifest { /* how a tensor was cut */
	int32_t dtype, ndim, split_dim, count;
	int64_t whole_shape[MC_TENSOR_MAX_DIMS];
};
void manifest_encode(const struct manifest *m, uint8_t out[MANIFEST_BYTES]);
int manifest_decode(const void *data, uint64_t bytes, struct manifest *out); /* -EBADMSG */

/* ---- parallel.c: axes, and the keys they lead to ---------------------------------------------------------------------- */

/* -EINVAL: more or fewer axes than allowed, a kind twice, a rank outside, a split where none belongs, an id that is missing. */
int parallel_check(const struct mc_parallel *p);
const struct mc_axis *
parallel_tensor_axis(const struct mc_parallel *p); /* NULL: it has none; @p may be NULL */
bool parallel_same(const struct mc_parallel *a, const struct mc_parallel *b); /* in any order */
/* The same place in the other axes, but rank @rank of @size shards along @split_dim. @p has a tensor axis. */
struct mc_parallel parallel_moved(const struct mc_parallel *p, int32_t rank, int32_t size,
				  int32_t split_dim);

struct name { /* a key of the library's making, to free() */
	char *data;
	size_t len;
};
int name_shard(const struct mc_key *base, const struct mc_parallel *p,
	       struct name *out); /* -ENOMEM, -EINVAL too long; so all */
int name_writer(const struct mc_key *base, const struct mc_partition *w, struct name *out);
int name_suffix(const struct mc_key *base, const char *suffix, struct name *out);
#define NAME_WRITER_MANIFEST   "__writer_manifest"
#define NAME_PARALLEL_MANIFEST "__parallelism_manifest"

/* ---- cut.c: a part of a dimension, in bytes ---------------------------------------------------------------------------- */

/*
 * Positions [@first, @first + @len) of dimension @dim, seen in the row-major bytes of a tensor: @rows runs of @run bytes, @stride
 * apart, the first at @off. No product overflows when mc_tensor_bytes() accepted the tensor.
 */
struct cut {
	uint64_t rows, run, stride, off;
};
struct cut cut_of(const struct mc_tensor *t, int dim, int64_t first, int64_t len);
/* @t with dimension @dim only @len long. */
struct mc_tensor cut_shape(const struct mc_tensor *t, int dim, int64_t len);

/* ---- get.c, assemble.c --------------------------------------------------------------------------------------------------- */

/* Reads the object as it is. Result as in struct mc_tensor_get; @it's key is not looked at. */
void read_object(struct mc_store *s, const struct name *key, struct mc_tensor_get *it,
		 uint64_t deadline_ns);

/* Where shards lie: under keys of @parallel with every rank of its tensor axis, or of writer partitions. */
struct shards {
	const struct mc_key *base;
	const struct mc_parallel *parallel; /* NULL: of writers */
	struct manifest cut;
};
/*
 * Puts positions [@first, @first + @len) of the cut dimension together, with @it->tensor's parallel as the header's.
 * @it->result: bytes; -ENOENT a shard is missing; -EBADMSG they do not fit each other; -ENOMEM, …
 */
void assemble(struct mc_store *s, const struct shards *from, int64_t first, int64_t len,
	      struct mc_tensor_get *it, uint64_t deadline_ns);

/* The header of the object under @key, and nothing else of it. -ENOENT, -EBADMSG, … */
int read_header(struct mc_store *s, const struct name *key, struct mc_tensor *out,
		uint64_t deadline_ns);

#endif
