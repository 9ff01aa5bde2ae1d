/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a store after setup(): how it is, what went wrong, its end. */
#include "store.h"

#include <mooncake/memory.h>
#include <string.h>

static PyObject *close_store(PyObject *self, PyObject *unused)
{
	store_replace((struct store_obj *)self, NULL);
	return PyLong_FromLong(0);
}

#define NODE_MS 2000 /* a node on this machine that takes longer is not well */

static PyObject *health_check(PyObject *self, PyObject *unused)
{
	struct shared *sh = store_get(self);
	struct mc_node node;
	int ret;

	if (!sh)
		return PyLong_FromLong(1);
	UNLOCKED(ret = mc_store_health(sh->s);
		 if (!ret && sh->node) ret = mc_node_ask(sh->node, mc_deadline_ms(NODE_MS), &node);
		 store_put(sh));
	return PyLong_FromLong(!ret ? 0 : ret == -ESHUTDOWN || ret == -EPERM ? 1 : 2);
}

static PyObject *get_hostname(PyObject *self, PyObject *unused)
{
	struct shared *sh = store_get(self);
	PyObject *out = PyUnicode_FromString(sh && !sh->node ? mc_store_name(sh->s) : "");

	if (sh)
		store_put(sh);
	return out;
}

static PyObject *enter(PyObject *self, PyObject *unused)
{
	return Py_NewRef(self);
}

METHOD(leave)
{
	store_replace((struct store_obj *)self, NULL);
	Py_RETURN_NONE;
}

/* Memory that a node shares with its clients on the same host; a store of its own has none to give. */
METHOD(alloc_from_mem_pool)
{
	static const struct sig sig = { "alloc_from_mem_pool", 1, 0, { { "size", ARG_U64 } } };
	struct arg a[1];
	void *p = NULL;

	if (!TAKE(&sig, a))
		return NULL;
	if (store_is_dummy(self))
		UNLOCKED(if (mc_memory_alloc(a[0].u64, NULL, &p)) p = NULL);
	else
		tell_why("alloc_from_mem_pool() is for a client of a node; MooncakeHostMemAllocator gives memory to any");
	return PyLong_FromUnsignedLongLong((uintptr_t)p);
}

/* What other extensions in C++ look for; their pointer would mean nothing here. */
static PyObject *no_capsule(PyObject *self, PyObject *unused)
{
	Py_RETURN_NONE;
}

static PyObject *nothing_offloaded(PyObject *self, PyObject *unused)
{
	return PyLong_FromLong(0);
}

/* Of an older release: no call of it ever succeeded on a store that was not set up, nor on one that was. */
METHOD(init_all)
{
	static const struct sig sig = {
		"init_all",
		3,
		3,
		{ { "protocol", ARG_TEXT }, { "device_name", ARG_TEXT }, { "mount_segment_size", ARG_U64 } }
	};
	struct arg a[3];

	if (!TAKE(&sig, a))
		return NULL;
	tell_why("init_all() sets nothing up, here and in upstream's releases; setup() does");
	return PyLong_FromLong(store_is_dummy(self) ? -1 : NOT_SET_UP);
}

static PyObject *last_error(PyObject *self, PyObject *unused)
{
	return PyUnicode_DecodeUTF8(mc_last_error(), (Py_ssize_t)strlen(mc_last_error()),
				    "replace");
}

PyMethodDef store_life[] = {
	{ "close", close_store, METH_NOARGS,
	  "close($self, /)\n--\n\nEnd calls in other threads, leave the pool, free everything. "
	  "Returns 0; may be called again." },
	{ "health_check", health_check, METH_NOARGS,
	  "health_check($self, /)\n--\n\n0 healthy; 1 not set up or closed; 2 the master does not "
	  "answer,\nor after setup_dummy() the node." },
	{ "get_hostname", get_hostname, METH_NOARGS,
	  "get_hostname($self, /)\n--\n\n'host:port' of this client; '' when not set up, and after setup_dummy()." },
	{ "alloc_from_mem_pool", CALL(alloc_from_mem_pool), FAST,
	  "alloc_from_mem_pool($self, /, size)\n--\n\nFor clients of a node on this host (setup_dummy): the "
	  "address of new memory shared with it. Else 0." },
	{ "init_all", CALL(init_all), FAST,
	  "init_all($self, protocol, device_name, mount_segment_size, /)\n--\n\nOf an older release, where it could not be used: "
	  "-600. Call setup()." },
	{ "get_offload_rpc_read_count", nothing_offloaded, METH_NOARGS,
	  "get_offload_rpc_read_count($self, /)\n--\n\nReads of other clients' disks by this one: 0." },
	{ "_get_pyclient_capsule", no_capsule, METH_NOARGS,
	  "_get_pyclient_capsule($self, /)\n--\n\nNone." },
	{ "last_error", last_error, METH_NOARGS,
	  "last_error($self, /)\n--\n\nThe calling thread's last error in words, with cause and "
	  "fix; '' when nothing failed." },
	{ "__enter__", enter, METH_NOARGS, NULL },
	{ "__exit__", CALL(leave), FAST, NULL },
	{ NULL, NULL, 0, NULL },
};
