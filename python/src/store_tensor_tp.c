/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors cut into equal parts along one dimension, each part an object of its own: <key>_tp_<rank>. */
#include "tensor.h"

#define TENSORS TENSORS_AT("base_keys")
#define MEMORIES MEMORIES_AT("base_keys")
#define RANKS                      \
	{ "tp_rank", ARG_I64 },    \
	{                          \
		"tp_size", ARG_I64 \
	}
#define CUT                          \
	RANKS,                       \
	{                            \
		"split_dim", ARG_I64 \
	}

TENSOR_PUT(put_tensor_with_tp, { { "put_tensor_with_tp", 2, 0, { TENSOR, CUT } },
				 .tensor = 1,
				 .tp_size = 3,
				 .split_dim = 4 })
TENSOR_PUT(batch_put_tensor_with_tp, { { "batch_put_tensor_with_tp", 2, 0, { TENSORS, CUT } },
				       .many = true,
				       .tensor = 1,
				       .tp_size = 3,
				       .split_dim = 4 })
TENSOR_PUT(pub_tensor_with_tp, { { "pub_tensor_with_tp", 2, 0, { TENSOR, CONFIG, CUT } },
				 .tensor = 1,
				 .config = 2,
				 .match_segments = true,
				 .tp_size = 4,
				 .split_dim = 5 })
TENSOR_PUT(batch_pub_tensor_with_tp,
	   { { "batch_pub_tensor_with_tp", 2, 0, { TENSORS, CONFIG, CUT } },
	     .many = true,
	     .tensor = 1,
	     .config = 2,
	     .match_segments = true,
	     .tp_size = 4,
	     .split_dim = 5 })
TENSOR_PUT(put_tensor_with_tp_from, { { "put_tensor_with_tp_from", 3, 0, { MEMORY, CUT } },
				      .ptr = 1,
				      .size = 2,
				      .tp_size = 4,
				      .split_dim = 5 })
TENSOR_PUT(batch_put_tensor_with_tp_from,
	   { { "batch_put_tensor_with_tp_from", 3, 0, { MEMORIES, CUT } },
	     .many = true,
	     .ptr = 1,
	     .size = 2,
	     .tp_size = 4,
	     .split_dim = 5 })

TENSOR_GET(get_tensor_with_tp, { { "get_tensor_with_tp", 1, 0, { { "key", ARG_KEY }, CUT } },
				 .tp_rank = 1,
				 .tp_size = 2 })
TENSOR_GET(batch_get_tensor_with_tp,
	   { { "batch_get_tensor_with_tp", 1, 0, { { "base_keys", ARG_KEYS }, RANKS } },
	     .many = true,
	     .tp_rank = 1,
	     .tp_size = 2 })
TENSOR_GET(get_tensor_with_tp_into, { { "get_tensor_with_tp_into", 3, 0, { MEMORY, CUT } },
				      .ptr = 1,
				      .size = 2,
				      .tp_rank = 3,
				      .tp_size = 4 })
TENSOR_GET(batch_get_tensor_with_tp_into,
	   { { "batch_get_tensor_with_tp_into", 3, 0, { MEMORIES, RANKS } },
	     .many = true,
	     .ptr = 1,
	     .size = 2,
	     .tp_rank = 3,
	     .tp_size = 4 })

PyMethodDef store_tensor_tp[] = {
	{ "put_tensor_with_tp", CALL(put_tensor_with_tp), FAST,
	  "put_tensor_with_tp($self, /, key, tensor, tp_rank=0, tp_size=1, split_dim=0)\n--\n\nCut "
	  "the whole tensor into tp_size equal "
	  "parts along\nsplit_dim and store all of them, part r under '<key>_tp_<r>'; tp_rank is "
	  "not looked at. tp_size 1: as put_tensor().\n"
	  "Returns 0, or the first part's code that is not; -600 the dimension does not divide." },
	{ "batch_put_tensor_with_tp", CALL(batch_put_tensor_with_tp), FAST,
	  "batch_put_tensor_with_tp($self, /, base_keys, tensors_list, tp_rank=0, tp_size=1, "
	  "split_dim=0)\n--\n\nOne code per key, as "
	  "put_tensor_with_tp()." },
	{ "pub_tensor_with_tp", CALL(pub_tensor_with_tp), FAST,
	  "pub_tensor_with_tp($self, /, key, tensor, config=..., tp_rank=0, tp_size=1, "
	  "split_dim=0)\n--\n\nput_tensor_with_tp() with a "
	  "ReplicateConfig." },
	{ "batch_pub_tensor_with_tp", CALL(batch_pub_tensor_with_tp), FAST,
	  "batch_pub_tensor_with_tp($self, /, base_keys, tensors_list, config=..., tp_rank=0, "
	  "tp_size=1, split_dim=0)\n--\n\nOne code per "
	  "key, as\npub_tensor_with_tp()." },
	{ "put_tensor_with_tp_from", CALL(put_tensor_with_tp_from), FAST,
	  "put_tensor_with_tp_from($self, /, key, buffer_ptr, size, tp_rank=0, tp_size=1, "
	  "split_dim=0)\n--\n\nThe same for memory that "
	  "holds\nthe whole tensor's header and elements." },
	{ "batch_put_tensor_with_tp_from", CALL(batch_put_tensor_with_tp_from), FAST,
	  "batch_put_tensor_with_tp_from($self, /, base_keys, buffer_ptrs, sizes, tp_rank=0, "
	  "tp_size=1, split_dim=0)\n--\n\nOne code per "
	  "key,\nas put_tensor_with_tp_from()." },
	{ "get_tensor_with_tp", CALL(get_tensor_with_tp), FAST,
	  "get_tensor_with_tp($self, /, key, tp_rank=0, tp_size=1, split_dim=0)\n--\n\nThe part "
	  "stored under '<key>_tp_<tp_rank>', or None; "
	  "never\ncut out of a whole tensor. split_dim is not looked at. tp_size 1: as "
	  "get_tensor()." },
	{ "batch_get_tensor_with_tp", CALL(batch_get_tensor_with_tp), FAST,
	  "batch_get_tensor_with_tp($self, /, base_keys, tp_rank=0, tp_size=1)\n--\n\nOne part or "
	  "None per key." },
	{ "get_tensor_with_tp_into", CALL(get_tensor_with_tp_into), FAST,
	  "get_tensor_with_tp_into($self, /, key, buffer_ptr, size, tp_rank=0, tp_size=1, "
	  "split_dim=0)\n--\n\nThe same into memory, as "
	  "get_tensor_into()." },
	{ "batch_get_tensor_with_tp_into", CALL(batch_get_tensor_with_tp_into), FAST,
	  "batch_get_tensor_with_tp_into($self, /, base_keys, buffer_ptrs, sizes, tp_rank=0, "
	  "tp_size=1)\n--\n\nOne part or None per key, as\n"
	  "batch_get_tensor_into()." },
	{ NULL, NULL, 0, NULL },
};
