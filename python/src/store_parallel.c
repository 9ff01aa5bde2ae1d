/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors as ranks of several kinds of parallelism, or several writers, see them. */
#include "tensor.h"

#define TENSORS TENSORS_AT("keys")
#define MEMORIES MEMORIES_AT("keys")
#define PLACE                                                 \
	{ "parallelism", ARG_ANY }, { "config", ARG_CONFIG }, \
	{                                                     \
		"writer_partition", ARG_ANY                   \
	}
#define PLACES                                                     \
	{ "parallelisms", ARG_OPTIONS }, { "config", ARG_CONFIG }, \
	{                                                          \
		"writer_partitions", ARG_OPTIONS                   \
	}

#define OF_TENSOR .tensor = 1, .parallel = 2, .config = 3, .writer = 4, .match_segments = true
#define OF_MEMORY \
	.ptr = 1, .size = 2, .parallel = 3, .config = 4, .writer = 5, .match_segments = true

TENSOR_PUT(put_tensor_with_parallelism,
	   { { "put_tensor_with_parallelism", 2, 0, { TENSOR, PLACE } }, OF_TENSOR })
TENSOR_PUT(upsert_tensor_with_parallelism,
	   { { "upsert_tensor_with_parallelism", 2, 0, { TENSOR, PLACE } },
	     OF_TENSOR,
	     .flags = MC_PUT_REPLACE })
TENSOR_PUT(batch_put_tensor_with_parallelism,
	   { { "batch_put_tensor_with_parallelism", 2, 0, { TENSORS, PLACES } },
	     .many = true,
	     OF_TENSOR })
TENSOR_PUT(batch_upsert_tensor_with_parallelism,
	   { { "batch_upsert_tensor_with_parallelism", 2, 0, { TENSORS, PLACES } },
	     .many = true,
	     OF_TENSOR,
	     .flags = MC_PUT_REPLACE })
TENSOR_PUT(put_tensor_with_parallelism_from,
	   { { "put_tensor_with_parallelism_from", 3, 0, { MEMORY, PLACE } }, OF_MEMORY })
TENSOR_PUT(upsert_tensor_with_parallelism_from,
	   { { "upsert_tensor_with_parallelism_from", 3, 0, { MEMORY, PLACE } },
	     OF_MEMORY,
	     .flags = MC_PUT_REPLACE })
TENSOR_PUT(batch_put_tensor_with_parallelism_from,
	   { { "batch_put_tensor_with_parallelism_from", 3, 0, { MEMORIES, PLACES } },
	     .many = true,
	     OF_MEMORY })
TENSOR_PUT(batch_upsert_tensor_with_parallelism_from,
	   { { "batch_upsert_tensor_with_parallelism_from", 3, 0, { MEMORIES, PLACES } },
	     .many = true,
	     OF_MEMORY,
	     .flags = MC_PUT_REPLACE })

TENSOR_GET(get_tensor_with_parallelism,
	   { { "get_tensor_with_parallelism", 1, 0, { { "key", ARG_KEY }, { "target", ARG_ANY } } },
	     .target = 1 })
TENSOR_GET(batch_get_tensor_with_parallelism,
	   { { "batch_get_tensor_with_parallelism",
	       1,
	       0,
	       { { "keys", ARG_KEYS }, { "targets", ARG_OPTIONS } } },
	     .many = true,
	     .target = 1 })
TENSOR_GET(get_tensor_with_parallelism_into,
	   { { "get_tensor_with_parallelism_into", 3, 0, { MEMORY, { "target", ARG_ANY } } },
	     .ptr = 1,
	     .size = 2,
	     .target = 3 })
TENSOR_GET(batch_get_tensor_with_parallelism_into, { { "batch_get_tensor_with_parallelism_into",
						       3,
						       0,
						       { MEMORIES, { "targets", ARG_OPTIONS } } },
						     .many = true,
						     .ptr = 1,
						     .size = 2,
						     .target = 3 })

PyMethodDef store_parallel[] = {
	{ "put_tensor_with_parallelism", CALL(put_tensor_with_parallelism), FAST,
	  "put_tensor_with_parallelism($self, /, key, tensor, parallelism=None, config=..., "
	  "writer_partition=None)\n--\n\n"
	  "Store a tensor, or the part of it that belongs to one rank.\n\n"
	  "Without parallelism and writer_partition: as pub_tensor(). With a writer_partition "
	  "(rank, size, split_dim) tensor is the\n"
	  "whole, whose part is stored with the writer manifest. With one tp axis tensor is that "
	  "rank's shard; with tp and other axes\n"
	  "it is the whole, whose shard is stored; both with the parallelism manifest. With dp, "
	  "ep, pp alone it is stored as it is under\n"
	  "the axes' key. Returns 0; -600 axes that contradict themselves, a dimension that does "
	  "not divide; codes as put()." },
	{ "upsert_tensor_with_parallelism", CALL(upsert_tensor_with_parallelism), FAST,
	  "upsert_tensor_with_parallelism($self, /, key, tensor, parallelism=None, config=..., "
	  "writer_partition=None)\n--\n\n"
	  "As put_tensor_with_parallelism(), replacing." },
	{ "batch_put_tensor_with_parallelism", CALL(batch_put_tensor_with_parallelism), FAST,
	  "batch_put_tensor_with_parallelism($self, /, keys, tensors_list, parallelisms=None, "
	  "config=..., writer_partitions=None)\n--\n\n"
	  "One code per key; the lists are as long as keys, items of the last two may be None." },
	{ "batch_upsert_tensor_with_parallelism", CALL(batch_upsert_tensor_with_parallelism), FAST,
	  "batch_upsert_tensor_with_parallelism($self, /, keys, tensors_list, parallelisms=None, "
	  "config=..., writer_partitions=None)\n--\n\n"
	  "As batch_put_tensor_with_parallelism(), replacing." },
	{ "put_tensor_with_parallelism_from", CALL(put_tensor_with_parallelism_from), FAST,
	  "put_tensor_with_parallelism_from($self, /, key, buffer_ptr, size, parallelism=None, "
	  "config=..., writer_partition=None)\n--\n\n"
	  "The same for memory that holds the header and elements of the whole tensor. With a tp "
	  "axis all its shards are stored, and no\n"
	  "manifest." },
	{ "upsert_tensor_with_parallelism_from", CALL(upsert_tensor_with_parallelism_from), FAST,
	  "upsert_tensor_with_parallelism_from($self, /, key, buffer_ptr, size, parallelism=None, "
	  "config=..., writer_partition=None)\n--\n\n"
	  "As put_tensor_with_parallelism_from(), replacing." },
	{ "batch_put_tensor_with_parallelism_from", CALL(batch_put_tensor_with_parallelism_from),
	  FAST,
	  "batch_put_tensor_with_parallelism_from($self, /, keys, buffer_ptrs, sizes, "
	  "parallelisms=None, config=..., "
	  "writer_partitions=None)\n--\n\n"
	  "One code per key, as put_tensor_with_parallelism_from()." },
	{ "batch_upsert_tensor_with_parallelism_from",
	  CALL(batch_upsert_tensor_with_parallelism_from), FAST,
	  "batch_upsert_tensor_with_parallelism_from($self, /, keys, buffer_ptrs, sizes, "
	  "parallelisms=None, config=..., "
	  "writer_partitions=None)\n--\n\n"
	  "As batch_put_tensor_with_parallelism_from(), replacing." },
	{ "get_tensor_with_parallelism", CALL(get_tensor_with_parallelism), FAST,
	  "get_tensor_with_parallelism($self, /, key, target=None)\n--\n\n"
	  "What a ReadTarget asks for: the object under the key ('as_stored', or None), one rank's "
	  "shard ('shard'), as stored or cut out\n"
	  "of another division of the same dimension, or the whole ('full'), put together from its "
	  "shards. Only bytes that are needed\n"
	  "move. None when something is missing or does not fit." },
	{ "batch_get_tensor_with_parallelism", CALL(batch_get_tensor_with_parallelism), FAST,
	  "batch_get_tensor_with_parallelism($self, /, keys, targets=None)\n--\n\nOne tensor or "
	  "None per key." },
	{ "get_tensor_with_parallelism_into", CALL(get_tensor_with_parallelism_into), FAST,
	  "get_tensor_with_parallelism_into($self, /, key, buffer_ptr, size, target=None)\n--\n\n"
	  "The same into memory that holds header and elements; the tensor returned "
	  "lies in it." },
	{ "batch_get_tensor_with_parallelism_into", CALL(batch_get_tensor_with_parallelism_into),
	  FAST,
	  "batch_get_tensor_with_parallelism_into($self, /, keys, buffer_ptrs, sizes, "
	  "targets=None)\n--\n\n"
	  "One tensor or None per key, as batch_get_tensor_into()." },
	{ NULL, NULL, 0, NULL },
};
