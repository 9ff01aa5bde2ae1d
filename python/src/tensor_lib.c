/* SPDX-License-Identifier: Apache-2.0 */
/* What tensors are made of here: torch or numpy, looked up once by mooncake._tensor. Neither is linked with. */
#include "tensor.h"

#include <stdatomic.h>
#include <stdlib.h>

/* Each object by its name in mooncake._tensor, or, with a dot before it, the name itself. */
#define OBJECT(member, name) { offsetof(struct tensor_lib, member), name }
static const struct {
	size_t at;
	const char *name;
} objects[] = {
	OBJECT(module, NULL),
	OBJECT(describe, "describe"),
	OBJECT(view, "view"),
	OBJECT(torch, "TENSOR"),
	OBJECT(to_dlpack, "to_dlpack"),
	OBJECT(from_dlpack, "from_dlpack"),
	OBJECT(is_neg, ".is_neg"),
	OBJECT(numpy, "ARRAY"),
	OBJECT(types, "NUMPY"),
	OBJECT(array_struct, ".__array_struct__"),
};
#define NR_OBJECTS (sizeof(objects) / sizeof(objects[0]))

static PyObject **object_at(struct tensor_lib *lib, size_t i)
{
	return (PyObject **)((char *)lib + objects[i].at);
}

void tensor_lib_free(struct tensor_lib *lib)
{
	for (size_t i = 0; lib && i < NR_OBJECTS; i++)
		Py_CLEAR(*object_at(lib, i));
	free(lib);
}

int tensor_lib_traverse(struct tensor_lib *lib, visitproc visit, void *arg)
{
	for (size_t i = 0; lib && i < NR_OBJECTS; i++)
		Py_VISIT(*object_at(lib, i));
	return 0;
}

static PyObject *object_of(PyObject *module, const char *name)
{
	return !name ? Py_NewRef(module) : name[0] == '.' ? PyUnicode_InternFromString(name + 1) : attr(module, name);
}

static struct tensor_lib *lib_new(void)
{
	struct tensor_lib *lib = calloc(1, sizeof(*lib));
	PyObject *module, *known = NULL;

	if (!lib)
		return (void *)PyErr_NoMemory();
	module = PyImport_ImportModule("mooncake._tensor"); /* other threads may run meanwhile */
	for (size_t i = 0; module && i < NR_OBJECTS; i++)
		if (!(*object_at(lib, i) = object_of(module, objects[i].name)))
			Py_CLEAR(module);
	known = module ? attr(module, "DLPACK") : NULL;
	if (known)
		lib->dlpack = PyLong_AsUnsignedLong(known);
	Py_XDECREF(known);
	Py_XDECREF(module);
	if (!PyErr_Occurred())
		return lib;
	tensor_lib_free(lib);
	return NULL;
}

struct tensor_lib *tensor_lib(struct core_state *st)
{
	struct tensor_lib *lib = atomic_load_explicit(&st->tensor, memory_order_acquire), *mine;

	if (lib)
		return lib;
	mine = lib_new();
	if (!mine || atomic_compare_exchange_strong(&st->tensor, &lib, mine))
		return mine;
	tensor_lib_free(mine); /* another thread was first */
	return lib;
}
