/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that can be shared with another process, and where threads run: MooncakeHostMemAllocator and functions of the module. */
#include "memory.h"

#include <mooncake/memory.h>

static PyObject *alloc(PyObject *self, PyObject *arg)
{
	uint64_t size;
	void *p;
	int ret;

	if (!arg_u64(arg, "size", &size))
		return NULL;
	UNLOCKED(ret = mc_memory_alloc(size, NULL, &p));
	if (ret)
		return PyErr_Format(PyExc_RuntimeError, "%llu bytes of memory could not be had: %s",
				    (unsigned long long)size, mc_last_error());
	return PyLong_FromVoidPtr(p);
}

static PyObject *release(PyObject *self, PyObject *arg)
{
	uint64_t addr;
	int ret;

	if (!arg_u64(arg, "ptr", &addr))
		return NULL;
	UNLOCKED(ret = mc_memory_free((void *)(uintptr_t)addr));
	return PyLong_FromLong(ret ? -1 : 0);
}

static PyMethodDef allocator_methods[] = {
	{ "alloc", alloc, METH_O,
	  "alloc($self, size, /)\n--\n\nThe address of size bytes, zeroed, all pages there, "
	  "aligned to a "
	  "page. RuntimeError when they cannot be had." },
	{ "free", release, METH_O,
	  "free($self, ptr, /)\n--\n\nGive back what alloc() gave. Returns 0; -1 nothing starts at "
	  "ptr. "
	  "While it is registered with a\nstore it stays mapped." },
	{ NULL, NULL, 0, NULL },
};

static PyType_Slot allocator_slots[] = {
	{ Py_tp_doc, (void *)"MooncakeHostMemAllocator()\n--\n\n"
			     "Memory in a memfd, which a client of a node on this host can "
			     "register (setup_dummy). On "
			     "huge pages when MC_STORE_USE_HUGEPAGE\nis set, of "
			     "MC_STORE_HUGEPAGE_SIZE (2MB or 1GB), "
			     "where enough are set aside. All instances are one." },
	{ Py_tp_methods, allocator_methods },
	{ 0, NULL },
};

PyType_Spec allocator_spec = {
	.name = "mooncake.store.MooncakeHostMemAllocator",
	.basicsize = sizeof(PyObject),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
	.slots = allocator_slots,
};

/* ---- functions of the module ---------------------------------------------------------------- */

PyObject *bind_to_numa_node(PyObject *module, PyObject *arg)
{
	int64_t node;

	if (!arg_i64(arg, "node", &node))
		return NULL;
	mc_numa_prefer(
		node < -1 || node > INT32_MAX ? -1 : (int)node); /* what cannot be had is logged */
	Py_RETURN_NONE;
}

/* Of a build with SPDK, which this is not: callers know that one by the NULL it gives. */
static void *no_alloc(size_t size)
{
	return NULL;
}

static void no_free(void *p)
{
}

PyObject *get_alloc_func_addr(PyObject *module, PyObject *unused)
{
	return PyLong_FromUnsignedLongLong((uintptr_t)no_alloc);
}

PyObject *get_free_func_addr(PyObject *module, PyObject *unused)
{
	return PyLong_FromUnsignedLongLong((uintptr_t)no_free);
}
