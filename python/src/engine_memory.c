/* SPDX-License-Identifier: Apache-2.0 */
/* TransferEngine: memory that peers may reach, the caller's and the engine's own. */
#include "engine.h"

#include <errno.h>
#include <string.h>

METHOD(register_memory)
{
	static const struct sig sig = {
		"register_memory", { "buffer_addr", "capacity", "location", NULL }, 2, 0
	};
	const char *location = NULL;
	uint64_t addr, len;
	struct engine_ref *r;
	PyObject *a[3];
	int ret;

	if (!bind_args(&sig, args, nargs, kwnames, a) || !arg_u64(a[0], "buffer_addr", &addr) ||
	    !arg_u64(a[1], "capacity", &len) || (a[2] && !arg_text(a[2], "location", &location)))
		return NULL;
	r = engine_get(self);
	if (!r)
		return PyLong_FromLong(-1);
	Py_BEGIN_ALLOW_THREADS ret =
		mc_region_add(r->eng, (void *)(uintptr_t)addr, len,
			      location && strcmp(location, "*") ? location : NULL, NULL);
	engine_put(r);
	Py_END_ALLOW_THREADS return engine_result(ret);
}

METHOD(unregister_memory)
{
	static const struct sig sig = { "unregister_memory", { "buffer_addr", NULL }, 1, 1 };
	struct engine_ref *r;
	PyObject *a[1];
	uint64_t addr;
	int ret;

	if (!bind_args(&sig, args, nargs, kwnames, a) || !arg_u64(a[0], "buffer_addr", &addr))
		return NULL;
	r = engine_get(self);
	if (!r)
		return PyLong_FromLong(-1);
	Py_BEGIN_ALLOW_THREADS ret = mc_region_del_addr(r->eng, (void *)(uintptr_t)addr);
	engine_put(r);
	Py_END_ALLOW_THREADS return engine_result(ret);
}

METHOD(batch_register_memory)
{
	static const struct sig sig = { "batch_register_memory",
					{ "buffer_addresses", "capacities", "location", NULL },
					2,
					0 };
	PyObject *a[3], *t1 = NULL, *t2 = NULL, *out = NULL;
	uint64_t *addr = NULL, *len = NULL;
	const char *location = NULL;
	struct mc_range *ranges = NULL;
	struct engine_ref *r;
	Py_ssize_t nr = 0;
	int ret = -EINVAL;

	if (!bind_args(&sig, args, nargs, kwnames, a) ||
	    (a[2] && !arg_text(a[2], "location", &location)))
		return NULL;
	t1 = arg_u64s(a[0], "buffer_addresses", &addr);
	t2 = t1 ? arg_u64s(a[1], "capacities", &len) : NULL;
	if (!t2)
		goto out;
	nr = PyTuple_Size(t1);
	ranges = PyMem_Calloc((size_t)nr + 1, sizeof(*ranges));
	if (!ranges) {
		PyErr_NoMemory();
		goto out;
	}
	for (Py_ssize_t i = 0; i < nr && i < PyTuple_Size(t2); i++)
		ranges[i] = (struct mc_range){ (void *)(uintptr_t)addr[i], len[i] };
	r = PyTuple_Size(t2) == nr ? engine_get(self) : NULL;
	if (r) {
		Py_BEGIN_ALLOW_THREADS ret =
			mc_region_add_many(r->eng, ranges, (unsigned)nr,
					   location && strcmp(location, "*") ? location : NULL);
		engine_put(r);
		Py_END_ALLOW_THREADS
	}
	out = engine_result(ret);
out:
	PyMem_Free(ranges);
	PyMem_Free(addr);
	PyMem_Free(len);
	Py_XDECREF(t1);
	Py_XDECREF(t2);
	return out;
}

METHOD(batch_unregister_memory)
{
	static const struct sig sig = {
		"batch_unregister_memory", { "buffer_addresses", NULL }, 1, 1
	};
	uint64_t *addr = NULL;
	struct engine_ref *r;
	PyObject *a[1], *t;
	int ret = -EINVAL;

	if (!bind_args(&sig, args, nargs, kwnames, a))
		return NULL;
	t = arg_u64s(a[0], "buffer_addresses", &addr);
	if (!t)
		return NULL;
	r = engine_get(self);
	if (r) {
		unsigned nr = (unsigned)PyTuple_Size(t);

		_Static_assert(sizeof(uint64_t) == sizeof(void *), "addresses are 64 bits");
		Py_BEGIN_ALLOW_THREADS ret = mc_region_del_many(r->eng, (void *const *)addr, nr);
		engine_put(r);
		Py_END_ALLOW_THREADS
	}
	PyMem_Free(addr);
	Py_DECREF(t);
	return engine_result(ret);
}

METHOD(allocate_managed_buffer)
{
	static const struct sig sig = { "allocate_managed_buffer", { "length", NULL }, 1, 1 };
	struct engine_ref *r;
	PyObject *a[1];
	void *p = NULL;
	uint64_t len;

	if (!bind_args(&sig, args, nargs, kwnames, a) || !arg_u64(a[0], "length", &len))
		return NULL;
	r = engine_get(self);
	if (r) {
		Py_BEGIN_ALLOW_THREADS p = managed_get(r, len);
		engine_put(r);
		Py_END_ALLOW_THREADS
	}
	return PyLong_FromUnsignedLongLong((uintptr_t)p);
}

METHOD(free_managed_buffer)
{
	static const struct sig sig = {
		"free_managed_buffer", { "buffer_addr", "length", NULL }, 2, 2
	};
	uint64_t addr, len;
	struct engine_ref *r;
	PyObject *a[2];

	if (!bind_args(&sig, args, nargs, kwnames, a) || !arg_u64(a[0], "buffer_addr", &addr) ||
	    !arg_u64(a[1], "length", &len))
		return NULL;
	r = engine_get(self);
	if (r) {
		Py_BEGIN_ALLOW_THREADS managed_put(r, (void *)(uintptr_t)addr, len);
		engine_put(r);
		Py_END_ALLOW_THREADS
	}
	return PyLong_FromLong(0);
}

METHOD(write_bytes_to_buffer)
{
	static const struct sig sig = {
		"write_bytes_to_buffer", { "dest_address", "data", "length", NULL }, 3, 3
	};
	struct mc_key data;
	uint64_t addr, len;
	PyObject *a[3];

	if (!bind_args(&sig, args, nargs, kwnames, a) || !arg_u64(a[0], "dest_address", &addr) ||
	    !arg_key(a[1], "data", &data) || !arg_u64(a[2], "length", &len))
		return NULL;
	if (len > data.len)
		return PyErr_Format(PyExc_ValueError,
				    "length %llu is more than the data's %zu bytes",
				    (unsigned long long)len, data.len);
	if (len && !addr)
		return PyErr_Format(PyExc_ValueError, "dest_address is null");
	if (len)
		memcpy((void *)(uintptr_t)addr, data.data, len);
	return PyLong_FromLong(0);
}

METHOD(read_bytes_from_buffer)
{
	static const struct sig sig = {
		"read_bytes_from_buffer", { "source_address", "length", NULL }, 2, 2
	};
	uint64_t addr, len;
	PyObject *a[2];

	if (!bind_args(&sig, args, nargs, kwnames, a) || !arg_u64(a[0], "source_address", &addr) ||
	    !arg_u64(a[1], "length", &len))
		return NULL;
	if (len > PY_SSIZE_T_MAX)
		return PyErr_NoMemory();
	if (len && !addr)
		return PyErr_Format(PyExc_ValueError, "source_address is null");
	return PyBytes_FromStringAndSize((const char *)(uintptr_t)addr, (Py_ssize_t)len);
}

PyMethodDef engine_memory[] = {
	{ "register_memory", CALL(register_memory), FAST,
	  "register_memory($self, /, buffer_addr, capacity, location='*')\n--\n\nLet peers read "
	  "and write capacity bytes. Returns 0; -1 empty;\n"
	  "-7 overlaps a registered range; -200 metadata." },
	{ "unregister_memory", CALL(unregister_memory), FAST,
	  "unregister_memory($self, buffer_addr, /)\n--\n\nReturns 0; -3 no range starts there." },
	{ "batch_register_memory", CALL(batch_register_memory), FAST,
	  "batch_register_memory($self, /, buffer_addresses, capacities, location='*')\n--\n\nAll "
	  "or none. Returns 0 or a code." },
	{ "batch_unregister_memory", CALL(batch_unregister_memory), FAST,
	  "batch_unregister_memory($self, buffer_addresses, /)\n--\n\nReturns 0 or the first "
	  "code." },
	{ "allocate_managed_buffer", CALL(allocate_managed_buffer), FAST,
	  "allocate_managed_buffer($self, length, /)\n--\n\nAddress of registered memory; 0 on "
	  "failure." },
	{ "free_managed_buffer", CALL(free_managed_buffer), FAST,
	  "free_managed_buffer($self, buffer_addr, length, /)\n--\n\nThe same length as allocated. "
	  "Returns 0." },
	{ "write_bytes_to_buffer", CALL(write_bytes_to_buffer), FAST,
	  "write_bytes_to_buffer($self, dest_address, data, length, /)\n--\n\nCopy length bytes of "
	  "str or bytes. Returns 0." },
	{ "read_bytes_from_buffer", CALL(read_bytes_from_buffer), FAST,
	  "read_bytes_from_buffer($self, source_address, length, /)\n--\n\nA copy of memory of "
	  "this process." },
	{ NULL, NULL, 0, NULL },
};
