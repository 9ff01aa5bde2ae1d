/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tensors in Python: objects of torch or numpy on one side, the library's calls on the other.
 *
 *	tensor_lib.c		torch and numpy, when they are there
 *	tensor_torch.c		tensors of torch as C values, memory as tensors of torch
 *	tensor_numpy.c		the same for numpy
 *	tensor_args.c		tensors, axes and targets as C values; memory as tensors
 *	tensor_calls.c		the two calls behind all methods
 *	tensor_format.c		tensors as bytes, without a store
 *	store_tensor.c		methods for whole tensors, and files
 *	store_tensor_tp.c	methods that cut along one dimension
 *	store_parallel.c	methods with axes of parallelism and writers
 */
#ifndef MC_PY_TENSOR_H
#define MC_PY_TENSOR_H

#include <mooncake/tensor.h>

#include "store.h"

/* ---- tensor_lib.c --------------------------------------------------------------------------- */

struct tensor_lib {
	PyObject *module, *describe, *view; /* mooncake._tensor and its functions, for what is out of the ordinary */
	PyObject *torch, *to_dlpack, *from_dlpack, *is_neg; /* its type of tensor; None: no torch */
	PyObject *numpy, *types, *array_struct; /* its type of array, the types of elements; None: no numpy */
	unsigned long dlpack; /* a bit for each enum mc_dtype that torch takes through DLPack */
};

/* Made by the first call, and lives as long as the module. NULL with an exception. */
struct tensor_lib *tensor_lib(struct core_state *st);

/* ---- tensor_torch.c, tensor_numpy.c --------------------------------------------------------- */

/* As tensor_take(), for objects of that kind. False: not one of the ordinary; maybe with an exception. */
bool torch_take(const struct tensor_lib *lib, PyObject *o, struct mc_tensor_put *it, PyObject **keep);
bool numpy_take(const struct tensor_lib *lib, PyObject *o, struct mc_tensor_put *it, PyObject **keep);

/* As tensor_view(), with the elements at @data. */
struct tensor_memory;
PyObject *torch_view(const struct tensor_lib *lib, struct tensor_memory *memory, void *data, const struct mc_tensor *t);
/* An array over the bytes of @memory from @off on. */
PyObject *numpy_view(const struct tensor_lib *lib, PyObject *memory, uint64_t off, const struct mc_tensor *t, PyObject *shape);

/* ---- tensor_args.c -------------------------------------------------------------------------- */

/*
 * A tensor's type, shape and elements into @it. *keep: a new reference to what owns the memory.
 * False: it is none that can be stored, or with an exception that the caller passes on (forgive()).
 */
bool tensor_take(struct core_state *st, PyObject *o, struct mc_tensor_put *it, PyObject **keep);

/* Objects with the right attributes. False: not so, or with an exception as above. */
bool parallel_take(PyObject *o, struct mc_parallel *out);
bool writer_take(PyObject *o, struct mc_partition *out);

/* A ReadTarget or None. *has: it names a parallelism. */
bool target_take(PyObject *o, int *mode, struct mc_parallel *out, bool *has);

/* A tensor over the bytes of @memory from @off on, which it keeps alive. NULL with an exception. */
PyObject *tensor_over(struct core_state *st, PyObject *memory, uint64_t off, const struct mc_tensor *t);

/* Memory of a room that belongs to a tensor. No @mem: it is the caller's, who keeps it. */
struct tensor_memory {
	struct room *room;
	void *mem;
	uint64_t len;
};
void tensor_memory_free(struct tensor_memory *m); /* any thread, with the interpreter lock or without; again is fine */

/*
 * A tensor over [@at, @at + @len), its elements from @off on; takes over @memory, which that lies in. After a failure what it
 * did not take is the caller's. NULL with an exception.
 */
PyObject *tensor_view(struct core_state *st, struct tensor_memory *memory, void *at, uint64_t len, uint64_t off,
		      const struct mc_tensor *t);

/* ---- tensor_calls.c ------------------------------------------------------------------------- */

/* A method's arguments by number; 0: it has no such argument. The key, or keys, come first. */
struct tensor_put_shape {
	struct sig sig;
	bool many;
	int tensor;    /* or tensors */
	int ptr, size; /* of header and elements in memory, instead */
	int config;
	bool match_segments; /* as many preferred_segments as replicas, or none */
	int tp_size, split_dim;
	int parallel, writer; /* or one each per key */
	uint32_t flags;	      /* of every put */
};
PyObject *tensor_put(PyObject *self, const struct tensor_put_shape *shape, ARGS);

struct tensor_get_shape {
	struct sig sig;
	bool many;
	int ptr, size; /* where to; none: into memory of its own */
	int tp_rank, tp_size;
	int target; /* or targets */
};
PyObject *tensor_get(PyObject *self, const struct tensor_get_shape *shape, ARGS);

/* The arguments that come first: the key, or keys under one of two names, and what is stored or where it is read to. */
#define TENSOR                    \
	{ "key", ARG_KEY },       \
	{                         \
		"tensor", ARG_ANY \
	}
#define TENSORS_AT(keys)                 \
	{ keys, ARG_KEYS },              \
	{                                \
		"tensors_list", ARG_LIST \
	}
#define MEMORY                                         \
	{ "key", ARG_KEY }, { "buffer_ptr", ARG_U64 }, \
	{                                              \
		"size", ARG_U64                        \
	}
#define MEMORIES_AT(keys)                                \
	{ keys, ARG_KEYS }, { "buffer_ptrs", ARG_U64S }, \
	{                                                \
		"sizes", ARG_U64S                        \
	}
#define CONFIG                       \
	{                            \
		"config", ARG_CONFIG \
	}

#define TENSOR_PUT(name, ...)                                             \
	METHOD(name)                                                      \
	{                                                                 \
		static const struct tensor_put_shape shape = __VA_ARGS__; \
                                                                          \
		return tensor_put(self, &shape, PASSED);                  \
	}
#define TENSOR_GET(name, ...)                                             \
	METHOD(name)                                                      \
	{                                                                 \
		static const struct tensor_get_shape shape = __VA_ARGS__; \
                                                                          \
		return tensor_get(self, &shape, PASSED);                  \
	}

#endif
