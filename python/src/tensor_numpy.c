/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arrays of numpy through its array interface, a struct that every array gives. Anything out of the ordinary is left to
 * mooncake._tensor. Source: numpy's documentation, "The array interface protocol", version 3.
 */
#include "tensor.h"

enum { ROW_MAJOR = 0x1, NATIVE = 0x200 };

struct array_struct {
	int two;
	int nd;
	char kind;
	int itemsize;
	int flags;
	Py_intptr_t *shape, *strides;
	void *data;
	PyObject *descr;
};

static int32_t kind_of(const struct array_struct *a)
{
	static const struct {
		char kind;
		int itemsize, dtype;
	} kinds[] = {
		{ 'f', 4, MC_FLOAT32 }, { 'f', 8, MC_FLOAT64 }, { 'f', 2, MC_FLOAT16 }, { 'i', 1, MC_INT8 },
		{ 'i', 2, MC_INT16 },	{ 'i', 4, MC_INT32 },	{ 'i', 8, MC_INT64 },	{ 'u', 1, MC_UINT8 },
		{ 'u', 2, MC_UINT16 },	{ 'u', 4, MC_UINT32 },	{ 'u', 8, MC_UINT64 },	{ 'b', 1, MC_BOOL },
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (kinds[i].kind == a->kind && kinds[i].itemsize == a->itemsize)
			return kinds[i].dtype;
	return -1;
}

bool numpy_take(const struct tensor_lib *lib, PyObject *o, struct mc_tensor_put *it, PyObject **keep)
{
	PyObject *capsule = PyObject_GetAttr(o, lib->array_struct);
	struct array_struct *a = capsule ? PyCapsule_GetPointer(capsule, NULL) : NULL;
	int32_t kind = a && a->two == 2 ? kind_of(a) : -1;

	if (kind < 0 || !(a->flags & ROW_MAJOR) || !(a->flags & NATIVE) || a->nd > MC_TENSOR_MAX_DIMS) {
		Py_XDECREF(capsule);
		return false;
	}
	it->tensor.dtype = kind;
	it->tensor.ndim = a->nd;
	for (int i = 0; i < a->nd; i++)
		it->tensor.shape[i] = a->shape[i];
	it->data = a->data;
	*keep = capsule; /* keeps the array, so also its memory */
	return true;
}

PyObject *numpy_view(const struct tensor_lib *lib, PyObject *memory, uint64_t off, const struct mc_tensor *t, PyObject *shape)
{
	PyObject *at = PyLong_FromUnsignedLongLong(off), *type = PyTuple_GetItem(lib->types, t->dtype), *out = NULL;

	if (type == Py_None)
		PyErr_SetString(PyExc_TypeError, "numpy has no such type of elements");
	else if (at && type)
		out = PyObject_CallFunctionObjArgs(lib->numpy, shape, type, memory, at, NULL);
	Py_XDECREF(at);
	return out;
}
