/* SPDX-License-Identifier: Apache-2.0 */
/* Whole tensors: one object each. */
#include "tensor.h"

#define TENSORS TENSORS_AT("keys")
#define MEMORIES MEMORIES_AT("keys")

/* ---- storing -------------------------------------------------------------------------------- */

TENSOR_PUT(put_tensor, { { "put_tensor", 2, 0, { TENSOR } }, .tensor = 1 })
TENSOR_PUT(batch_put_tensor,
	   { { "batch_put_tensor", 2, 0, { TENSORS } }, .many = true, .tensor = 1 })
TENSOR_PUT(pub_tensor, { { "pub_tensor", 2, 0, { TENSOR, CONFIG } },
			 .tensor = 1,
			 .config = 2,
			 .match_segments = true })
TENSOR_PUT(batch_pub_tensor, { { "batch_pub_tensor", 2, 0, { TENSORS, CONFIG } },
			       .many = true,
			       .tensor = 1,
			       .config = 2,
			       .match_segments = true })
TENSOR_PUT(put_tensor_from, { { "put_tensor_from", 3, 0, { MEMORY } }, .ptr = 1, .size = 2 })
TENSOR_PUT(batch_put_tensor_from,
	   { { "batch_put_tensor_from", 3, 0, { MEMORIES } }, .many = true, .ptr = 1, .size = 2 })
TENSOR_PUT(upsert_tensor,
	   { { "upsert_tensor", 2, 0, { TENSOR } }, .tensor = 1, .flags = MC_PUT_REPLACE })
TENSOR_PUT(batch_upsert_tensor, { { "batch_upsert_tensor", 2, 0, { TENSORS } },
				  .many = true,
				  .tensor = 1,
				  .flags = MC_PUT_REPLACE })
TENSOR_PUT(upsert_tensor_from, { { "upsert_tensor_from", 3, 0, { MEMORY } },
				 .ptr = 1,
				 .size = 2,
				 .flags = MC_PUT_REPLACE })
TENSOR_PUT(batch_upsert_tensor_from, { { "batch_upsert_tensor_from", 3, 0, { MEMORIES } },
				       .many = true,
				       .ptr = 1,
				       .size = 2,
				       .flags = MC_PUT_REPLACE })
TENSOR_PUT(upsert_pub_tensor, { { "upsert_pub_tensor", 2, 0, { TENSOR, CONFIG } },
				.tensor = 1,
				.config = 2,
				.match_segments = true,
				.flags = MC_PUT_REPLACE })
TENSOR_PUT(batch_upsert_pub_tensor, { { "batch_upsert_pub_tensor", 2, 0, { TENSORS, CONFIG } },
				      .many = true,
				      .tensor = 1,
				      .config = 2,
				      .match_segments = true,
				      .flags = MC_PUT_REPLACE })

/* ---- reading -------------------------------------------------------------------------------- */

TENSOR_GET(get_tensor, { { "get_tensor", 1, 0, { { "key", ARG_KEY } } } })
TENSOR_GET(batch_get_tensor,
	   { { "batch_get_tensor", 1, 0, { { "keys", ARG_KEYS } } }, .many = true })
TENSOR_GET(get_tensor_into, { { "get_tensor_into", 3, 0, { MEMORY } }, .ptr = 1, .size = 2 })
TENSOR_GET(batch_get_tensor_into,
	   { { "batch_get_tensor_into", 3, 0, { MEMORIES } }, .many = true, .ptr = 1, .size = 2 })

/* ---- device memory: for clients of a node on this host, which is what this store is not ------- */

#define NO_DEVICE "this build reads into no device memory; get_tensor() and .cuda() do"

METHOD(get_tensor_into_cuda)
{
	static const struct sig sig = { "get_tensor_into_cuda", 2, 0, { TENSOR } };
	struct arg a[2];

	if (!TAKE(&sig, a))
		return NULL;
	args_drop(&sig, a);
	tell_why(NO_DEVICE);
	return PyLong_FromLong(NOT_SET_UP);
}

METHOD(batch_get_tensor_into_cuda)
{
	static const struct sig sig = { "batch_get_tensor_into_cuda", 2, 0, { TENSORS } };
	struct arg a[2];
	PyObject *out;

	if (!TAKE(&sig, a))
		return NULL;
	tell_why(NO_DEVICE);
	out = list_of_value(a[0].nr, NOT_SET_UP);
	args_drop(&sig, a);
	return out;
}

/* ---- files ---------------------------------------------------------------------------------- */

METHOD(save_tensor_to_safetensor)
{
	static const struct sig sig = {
		"save_tensor_to_safetensor", 1, 0, { { "key", ARG_KEY }, { "file_name", ARG_NAME } }
	};
	const struct tensor_lib *lib;
	PyObject *got = NULL;
	struct arg a[2];

	if (!TAKE(&sig, a))
		return NULL;
	if (!store_is_open(self)) {
		args_drop(&sig, a);
		return PyLong_FromLong(NOT_SET_UP);
	}
	lib = tensor_lib(((struct store_obj *)self)->st);
	if (lib)
		got = PyObject_CallMethod(lib->module, "save", "OOO", self, a[0].o,
					  a[1].o ? a[1].o : Py_None);
	args_drop(&sig, a);
	return got;
}

METHOD(load_tensor_from_safetensor)
{
	static const struct sig sig = { "load_tensor_from_safetensor",
					0,
					0,
					{ { "key", ARG_NAME }, { "file_name", ARG_NAME } } };
	const struct tensor_lib *lib;
	PyObject *got = NULL;
	struct arg a[2];

	if (!TAKE(&sig, a))
		return NULL;
	if (!a[1].o || !a[1].text) {
		args_drop(&sig, a);
		return PyErr_Format(PyExc_TypeError,
				    "%s(): incompatible function arguments: missing 'file_name'",
				    sig.name);
	}
	if (!store_is_open(self)) {
		args_drop(&sig, a);
		Py_RETURN_NONE;
	}
	lib = tensor_lib(((struct store_obj *)self)->st);
	if (lib)
		got = PyObject_CallMethod(lib->module, "load", "OOO", self, a[0].o ? a[0].o : Py_None,
					  a[1].o);
	args_drop(&sig, a);
	return got;
}

PyMethodDef store_tensor[] = {
	{ "put_tensor", CALL(put_tensor), FAST,
	  "put_tensor($self, /, key, tensor)\n--\n\nStore a torch tensor, or a numpy array: any "
	  "shape of up to 8 dimensions, dtypes\n"
	  "float32, float64, int8 to uint64, bool, float16, bfloat16, float8_e4m3fn, float8_e5m2. "
	  "One that is not contiguous, or on a\n"
	  "device, is copied. Returns 0 (an existing key is not changed); -600 no such tensor; "
	  "codes as put()." },
	{ "batch_put_tensor", CALL(batch_put_tensor), FAST,
	  "batch_put_tensor($self, /, keys, tensors_list)\n--\n\nOne code per key, as "
	  "put_tensor(); all -600 when the lists differ in "
	  "length." },
	{ "pub_tensor", CALL(pub_tensor), FAST,
	  "pub_tensor($self, /, key, tensor, config=...)\n--\n\nput_tensor() with a "
	  "ReplicateConfig, whose preferred_segments are as "
	  "many as\nreplica_num, or none; else -600." },
	{ "batch_pub_tensor", CALL(batch_pub_tensor), FAST,
	  "batch_pub_tensor($self, /, keys, tensors_list, config=...)\n--\n\nOne code per key, as "
	  "pub_tensor()." },
	{ "put_tensor_from", CALL(put_tensor_from), FAST,
	  "put_tensor_from($self, /, key, buffer_ptr, size)\n--\n\nStore memory that holds a "
	  "tensor object: its 304 byte header and its\n"
	  "elements, size bytes in all. Returns 0; -600 it does not." },
	{ "batch_put_tensor_from", CALL(batch_put_tensor_from), FAST,
	  "batch_put_tensor_from($self, /, keys, buffer_ptrs, sizes)\n--\n\nOne code per key, as "
	  "put_tensor_from()." },
	{ "upsert_tensor", CALL(upsert_tensor), FAST,
	  "upsert_tensor($self, /, key, tensor)\n--\n\nAs put_tensor(), replacing." },
	{ "batch_upsert_tensor", CALL(batch_upsert_tensor), FAST,
	  "batch_upsert_tensor($self, /, keys, tensors_list)\n--\n\nAs batch_put_tensor(), "
	  "replacing." },
	{ "upsert_tensor_from", CALL(upsert_tensor_from), FAST,
	  "upsert_tensor_from($self, /, key, buffer_ptr, size)\n--\n\nAs put_tensor_from(), "
	  "replacing." },
	{ "batch_upsert_tensor_from", CALL(batch_upsert_tensor_from), FAST,
	  "batch_upsert_tensor_from($self, /, keys, buffer_ptrs, sizes)\n--\n\nAs "
	  "batch_put_tensor_from(), replacing." },
	{ "upsert_pub_tensor", CALL(upsert_pub_tensor), FAST,
	  "upsert_pub_tensor($self, /, key, tensor, config=...)\n--\n\nAs pub_tensor(), "
	  "replacing." },
	{ "batch_upsert_pub_tensor", CALL(batch_upsert_pub_tensor), FAST,
	  "batch_upsert_pub_tensor($self, /, keys, tensors_list, config=...)\n--\n\nAs "
	  "batch_pub_tensor(), replacing." },
	{ "get_tensor", CALL(get_tensor), FAST,
	  "get_tensor($self, /, key)\n--\n\nA CPU tensor with memory of its own (of numpy where "
	  "there is no torch); None when the key is\n"
	  "missing or holds no tensor." },
	{ "batch_get_tensor", CALL(batch_get_tensor), FAST,
	  "batch_get_tensor($self, /, keys)\n--\n\nOne tensor or None per key." },
	{ "get_tensor_into", CALL(get_tensor_into), FAST,
	  "get_tensor_into($self, /, key, buffer_ptr, size)\n--\n\nRead a tensor object into "
	  "memory, header and elements. The tensor\n"
	  "returned lies in that memory, which the caller keeps; None when it is missing or does "
	  "not fit." },
	{ "batch_get_tensor_into", CALL(batch_get_tensor_into), FAST,
	  "batch_get_tensor_into($self, /, keys, buffer_ptrs, sizes)\n--\n\nOne tensor or None per "
	  "key; -600 for each when the lists differ "
	  "in\nlength or a pointer is null." },
	{ "get_tensor_into_cuda", CALL(get_tensor_into_cuda), FAST,
	  "get_tensor_into_cuda($self, /, key, tensor)\n--\n\nFor clients of a node on the same "
	  "host only: -600." },
	{ "batch_get_tensor_into_cuda", CALL(batch_get_tensor_into_cuda), FAST,
	  "batch_get_tensor_into_cuda($self, /, keys, tensors_list)\n--\n\n-600 per key, as "
	  "get_tensor_into_cuda()." },
	{ "save_tensor_to_safetensor", CALL(save_tensor_to_safetensor), FAST,
	  "save_tensor_to_safetensor($self, /, key, file_name=None)\n--\n\nWrite a stored tensor "
	  "to a file, named like the key when no name\n"
	  "is given. Needs the package safetensors. Returns 0; -1100 no such tensor; -600 the file "
	  "(a warning says why)." },
	{ "load_tensor_from_safetensor", CALL(load_tensor_from_safetensor), FAST,
	  "load_tensor_from_safetensor($self, /, key=None, file_name=None)\n--\n\nThe tensor "
	  "called key in a file, else its first; stored "
	  "under\nkey, or under file_name when there is none. file_name must be given. None when "
	  "it cannot be had (a warning says why)." },
	{ NULL, NULL, 0, NULL },
};
