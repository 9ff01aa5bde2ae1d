/* SPDX-License-Identifier: Apache-2.0 */
/* The module: makes the types, nothing else. Importing it starts no thread and opens nothing. */
#include "core.h"
#include "gather.h"
#include "memory.h"

#include <stdatomic.h>

static struct PyModuleDef core_def;

struct core_state *core_state_of(PyTypeObject *type)
{
	PyObject *module = NULL;

	/* A Python subclass has no module of ours; its base has. */
	while (type && !(module = PyType_GetModule(type))) {
		PyErr_Clear();
		type = PyType_GetSlot(type, Py_tp_base);
	}
	if (!module) {
		PyErr_SetString(PyExc_TypeError, "not a type of this module");
		return NULL;
	}
	return PyModule_GetState(module);
}

PyObject *attr(PyObject *o, const char *name)
{
	PyObject *interned = PyUnicode_InternFromString(name);
	PyObject *out = interned ? PyObject_GetAttr(o, interned) : NULL;

	Py_XDECREF(interned);
	return out;
}

PyObject *core_type(struct core_state *st, const char *name)
{
	PyObject *types = atomic_load_explicit(&st->types, memory_order_acquire), *mine;

	if (!types) {
		mine = PyImport_ImportModule("mooncake._types"); /* other threads may run meanwhile */
		if (!mine || atomic_compare_exchange_strong(&st->types, &types, mine))
			types = mine;
		else
			Py_DECREF(mine); /* another one was first */
	}
	return types ? attr(types, name) : NULL;
}

void gather(PyMethodDef *all, size_t max, PyMethodDef *const *tables, size_t nr)
{
	size_t n = 0;

	if (all[0].ml_name)
		return;
	for (size_t t = 0; t < nr; t++)
		for (const PyMethodDef *m = tables[t]; m->ml_name; m++) {
			if (n == max)
				Py_FatalError("a table of methods is too small");
			all[n++] = *m;
		}
}

/* Where each type is made, and kept. */
static const struct {
	PyType_Spec *spec;
	const char *name;
	size_t at;
} types[] = {
#define TYPE(member, name) { &member##_spec, name, offsetof(struct core_state, member) }
	TYPE(store, "MooncakeDistributedStore"),
	TYPE(config, "ReplicateConfig"),
	TYPE(handle, "BufferHandle"),
	TYPE(engine, "TransferEngine"),
	TYPE(inner, "InnerTransferEngine"),
	TYPE(pool, "BufferPool"),
	TYPE(lease, "BufferLease"),
	TYPE(lease_view, "BufferLeaseView"),
	TYPE(allocator, "MooncakeHostMemAllocator"),
	TYPE(calls, "Calls"),
	TYPE(call, "Call"),
#undef TYPE
};

#define NR_TYPES (sizeof(types) / sizeof(types[0]))

static PyTypeObject **type_at(struct core_state *st, size_t i)
{
	return (PyTypeObject **)((char *)st + types[i].at);
}

static int core_exec(PyObject *module)
{
	struct core_state *st = PyModule_GetState(module);

	store_gather();
	engine_gather();
	for (size_t i = 0; i < NR_TYPES; i++) {
		PyObject *type = PyType_FromModuleAndSpec(module, types[i].spec, NULL);

		*type_at(st, i) = (PyTypeObject *)type;
		if (!type || PyModule_AddObjectRef(module, types[i].name, type))
			return -1;
	}
	if (PyModule_AddIntConstant(module, "tensor_header_bytes", MC_TENSOR_HEADER_BYTES))
		return -1;
	return PyModule_AddStringConstant(module, "__version__", mc_version());
}

static int core_traverse(PyObject *module, visitproc visit, void *arg)
{
	struct core_state *st = PyModule_GetState(module);

	for (size_t i = 0; i < NR_TYPES; i++)
		Py_VISIT(*type_at(st, i));
	Py_VISIT(st->types);
	return tensor_lib_traverse(st->tensor, visit, arg);
}

static int core_clear(PyObject *module)
{
	struct core_state *st = PyModule_GetState(module);

	for (size_t i = 0; i < NR_TYPES; i++)
		Py_CLEAR(*type_at(st, i));
	Py_XDECREF(atomic_exchange(&st->types, NULL));
	tensor_lib_free(atomic_exchange(&st->tensor, NULL));
	return 0;
}

static void core_free(void *module)
{
	core_clear(module);
}

static PyModuleDef_Slot core_slots[] = {
	{ Py_mod_exec, core_exec },
#ifdef Py_GIL_DISABLED
	{ Py_mod_gil, Py_MOD_GIL_NOT_USED },
#endif
	{ 0, NULL },
};

static PyMethodDef core_functions[] = {
	{ "get_here", CALL(get_here), FAST, NULL },
	{ "get_into_here", CALL(get_into_here), FAST, NULL },
	{ "shutdown_store", shutdown_store, METH_O, NULL },
	{ "note_error", note_error, METH_O, NULL },
	{ "shared_memory", shared_memory, METH_O, NULL },
	{ "serialize_tensor", serialize_tensor, METH_O, NULL },
	{ "deserialize_tensor", deserialize_tensor, METH_O, NULL },
	{ "bind_to_numa_node", bind_to_numa_node, METH_O,
	  "bind_to_numa_node($module, node, /)\n--\n\nRun the calling thread on the processors of a NUMA "
	  "node, and prefer its memory. What cannot be had is logged." },
	{ "get_alloc_func_addr", get_alloc_func_addr, METH_NOARGS,
	  "get_alloc_func_addr($module, /)\n--\n\nThe address of void *(size_t), which allocates for SPDK. "
	  "Without SPDK, as here, it gives NULL." },
	{ "get_free_func_addr", get_free_func_addr, METH_NOARGS,
	  "get_free_func_addr($module, /)\n--\n\nThe address of void (void *), which frees what that gave. "
	  "Here it does nothing." },
	{ NULL, NULL, 0, NULL },
};

static struct PyModuleDef core_def = {
	PyModuleDef_HEAD_INIT,
	.m_name = "mooncake._core",
	.m_doc = "The C side of mooncake.store and mooncake.engine.",
	.m_size = sizeof(struct core_state),
	.m_methods = core_functions,
	.m_slots = core_slots,
	.m_traverse = core_traverse,
	.m_clear = core_clear,
	.m_free = core_free,
};

PyMODINIT_FUNC PyInit__core(void);

PyMODINIT_FUNC PyInit__core(void)
{
	return PyModuleDef_Init(&core_def);
}
