/* SPDX-License-Identifier: Apache-2.0 */
/* TransferEngine: memory that peers may reach, the caller's and the engine's own. */
#include "engine.h"

#include <string.h>

static void *at(uint64_t addr)
{
	return (void *)(uintptr_t)addr;
}

/* "*" is any place. */
static const char *location(const struct arg *a)
{
	return a->text && strcmp(a->text, "*") ? a->text : NULL;
}

METHOD(register_memory)
{
	static const struct sig sig = {
		"register_memory",
		2,
		0,
		{ { "buffer_addr", ARG_U64 }, { "capacity", ARG_U64 }, { "location", ARG_TEXT } }
	};
	struct arg a[3];

	if (!TAKE(&sig, a))
		return NULL;
	return engine_result(ON_ENGINE(
		self, r, mc_region_add(r->eng, at(a[0].u64), a[1].u64, location(&a[2]), NULL)));
}

METHOD(unregister_memory)
{
	static const struct sig sig = { "unregister_memory", 1, 1, { { "buffer_addr", ARG_U64 } } };
	struct arg a[1];

	if (!TAKE(&sig, a))
		return NULL;
	return engine_result(ON_ENGINE(self, r, mc_region_del_addr(r->eng, at(a[0].u64))));
}

METHOD(batch_register_memory)
{
	static const struct sig sig = { "batch_register_memory",
					2,
					0,
					{ { "buffer_addresses", ARG_U64S },
					  { "capacities", ARG_U64S },
					  { "location", ARG_TEXT } } };
	struct mc_range *ranges;
	PyObject *out = NULL;
	struct arg a[3];
	int ret = -EINVAL;

	if (!TAKE(&sig, a))
		return NULL;
	ranges = PyMem_Calloc((size_t)a[0].nr + 1, sizeof(*ranges));
	if (!ranges) {
		PyErr_NoMemory();
		goto out;
	}
	for (Py_ssize_t i = 0; i < a[0].nr && a[1].nr == a[0].nr; i++)
		ranges[i] = (struct mc_range){ at(a[0].u64s[i]), a[1].u64s[i] };
	if (a[1].nr == a[0].nr)
		ret = ON_ENGINE(self, r,
				mc_region_add_many(r->eng, ranges, (unsigned)a[0].nr, location(&a[2])));
	out = engine_result(ret);
	PyMem_Free(ranges);
out:
	args_drop(&sig, a);
	return out;
}

METHOD(batch_unregister_memory)
{
	static const struct sig sig = {
		"batch_unregister_memory", 1, 1, { { "buffer_addresses", ARG_U64S } }
	};
	struct arg a[1];
	int ret;

	_Static_assert(sizeof(uint64_t) == sizeof(void *), "addresses are 64 bits");
	if (!TAKE(&sig, a))
		return NULL;
	ret = ON_ENGINE(
		self, r,
		mc_region_del_many(r->eng, (void *const *)a[0].u64s, (unsigned)a[0].nr));
	args_drop(&sig, a);
	return engine_result(ret);
}

METHOD(allocate_managed_buffer)
{
	static const struct sig sig = { "allocate_managed_buffer", 1, 1, { { "length", ARG_U64 } } };
	struct engine_ref *r;
	struct arg a[1];
	void *p = NULL;

	if (!TAKE(&sig, a))
		return NULL;
	r = engine_get(self);
	if (r)
		UNLOCKED(p = managed_get(r, a[0].u64); engine_put(r));
	return PyLong_FromUnsignedLongLong((uintptr_t)p);
}

METHOD(free_managed_buffer)
{
	static const struct sig sig = {
		"free_managed_buffer", 2, 2, { { "buffer_addr", ARG_U64 }, { "length", ARG_U64 } }
	};
	struct engine_ref *r;
	struct arg a[2];

	if (!TAKE(&sig, a))
		return NULL;
	r = engine_get(self);
	if (r)
		UNLOCKED(managed_put(r, at(a[0].u64), a[1].u64); engine_put(r));
	return PyLong_FromLong(0);
}

METHOD(write_bytes_to_buffer)
{
	static const struct sig sig = {
		"write_bytes_to_buffer",
		3,
		3,
		{ { "dest_address", ARG_U64 }, { "data", ARG_KEY }, { "length", ARG_U64 } }
	};
	struct arg a[3];
	uint64_t len;

	if (!TAKE(&sig, a))
		return NULL;
	len = a[2].u64;
	if (len > a[1].key.len)
		return PyErr_Format(PyExc_ValueError,
				    "length %llu is more than the data's %zu bytes",
				    (unsigned long long)len, a[1].key.len);
	if (len && !a[0].u64)
		return PyErr_Format(PyExc_ValueError, "dest_address is null");
	if (len)
		memcpy(at(a[0].u64), a[1].key.data, len);
	return PyLong_FromLong(0);
}

METHOD(read_bytes_from_buffer)
{
	static const struct sig sig = { "read_bytes_from_buffer",
					2,
					2,
					{ { "source_address", ARG_U64 }, { "length", ARG_U64 } } };
	struct arg a[2];

	if (!TAKE(&sig, a))
		return NULL;
	if (a[1].u64 > PY_SSIZE_T_MAX)
		return PyErr_NoMemory();
	if (a[1].u64 && !a[0].u64)
		return PyErr_Format(PyExc_ValueError, "source_address is null");
	return PyBytes_FromStringAndSize(at(a[0].u64), (Py_ssize_t)a[1].u64);
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
