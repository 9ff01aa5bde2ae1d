/* SPDX-License-Identifier: Apache-2.0 */
/*
 * setup_dummy(): a client of the node on this host, which is told nothing but the node's address. It is a store like any other:
 * it maps the node's pool, so values go through no socket, and what it held goes back to the node when its process dies.
 */
#include "store.h"

#include <mooncake/memory.h>

bool dummy_memory(uint64_t addr, uint64_t len)
{
	struct mc_memory_info info;

	return !mc_memory_find((const void *)(uintptr_t)addr, &info, NULL) && (len == info.bytes || len == info.mapped);
}

METHOD(setup_dummy)
{
	static const struct sig sig = {
		"setup_dummy",
		3,
		0,
		{ { "mem_pool_size", ARG_U64 }, { "local_buffer_size", ARG_U64 }, { "server_address", ARG_TEXT } }
	};
	struct mc_store_opts opts = { .local_name = "127.0.0.1", .flags = MC_STORE_OF_NODE };
	struct mc_node node;
	PyObject *done;
	struct arg a[3];
	int ret;

	if (!TAKE(&sig, a))
		return NULL;
	UNLOCKED(ret = mc_node_ask(a[2].text, 0, &node));
	if (ret)
		return PyLong_FromLong(-1);
	opts.local_buffer_bytes = a[1].u64;
	opts.master = node.master;
	opts.metadata = node.metadata[0] ? node.metadata : NULL;
	done = store_run_setup((struct store_obj *)self, &opts, NULL, a[2].text);
	if (!done)
		return NULL;
	ret = PyObject_IsTrue(done); /* any code but 0 */
	Py_DECREF(done);
	return PyLong_FromLong(ret ? -1 : 0);
}

PyMethodDef store_dummy[] = {
	{ "setup_dummy", CALL(setup_dummy), FAST,
	  "setup_dummy($self, /, mem_pool_size, local_buffer_size, server_address)\n--\n\n"
	  "Become a client of the mooncake-node (mooncake_client) at server_address on this host: 'host:port', port 50052 by\n"
	  "default. It knows the master. mem_pool_size is not used; local_buffer_size bytes limit what passes through the\n"
	  "library's own memory. Returns 0, or -1 (last_error() says why)." },
	{ NULL, NULL, 0, NULL },
};
