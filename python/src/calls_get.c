/* SPDX-License-Identifier: Apache-2.0 */
/* Gets of bytes for mooncake.async_store: at once from this machine's memory, or in the background without the interpreter lock. */
#include "calls.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- in the background ---------------------------------------------------------------------- */

#define TOGETHER 32 /* gets in one call of the library: one question to the master */

static void *bytes_for(void *arg, size_t len)
{
	struct call *c = arg;

	if (len <= room_limit(c->sh->room))
		c->mem = malloc(len ? len : 1);
	return c->mem;
}

void get_drop(struct call *c)
{
	if (c->sh)
		store_put(c->sh);
	c->sh = NULL;
	free(c->mem);
	c->mem = NULL;
}

/* On a thread of the queue. */
static void run_gets(struct mc_job *job)
{
	struct call *c[TOGETHER] = { call_of(job) };
	struct mc_store *store = c[0]->sh->s;
	struct mc_job *more[TOGETHER - 1];
	struct mc_get g[TOGETHER];
	unsigned nr = 1 + mc_async_join(c[0]->queue, job, more, TOGETHER - 1);

	for (unsigned i = 0; i < nr; i++) {
		c[i] = i ? call_of(more[i - 1]) : c[0];
		g[i] = (struct mc_get){ .key = c[i]->name, .alloc = bytes_for, .arg = c[i], .result = -EINVAL };
	}
	mc_store_get(store, g, nr, 0);
	for (unsigned i = 0; i < nr; i++) {
		c[i]->len = g[i].result;
		if (g[i].result < 0) {
			mc_store_get_note(&g[i]);
			snprintf(c[i]->error, sizeof(c[i]->error), "%s", mc_last_error());
		}
		store_put(c[i]->sh);
		c[i]->sh = NULL;
	}
}

void get_end(struct call *c)
{
	bool there = !c->job.error && c->len >= 0 && c->mem;

	c->value = there ? PyBytes_FromStringAndSize(c->mem, (Py_ssize_t)c->len) : PyBytes_FromStringAndSize("", 0);
	get_drop(c);
	if (c->value)
		return;
	PyErr_Clear();
	c->failed = 1;
	c->value = PyObject_CallNoArgs(PyExc_MemoryError);
}

/* (store, key, future); None when the store is not set up. */
PyObject *calls_submit_get(PyObject *self, PyObject *args)
{
	struct calls *q = (struct calls *)self;
	PyObject *store, *key, *future;
	struct mc_key name;
	struct call *c;

	if (!PyArg_ParseTuple(args, "O!OO", q->st->store, &store, &key, &future) || !arg_key(key, "key", &name))
		return NULL;
	c = call_new(q, future);
	if (!c)
		return NULL;
	c->key = Py_NewRef(key);
	c->name = name;
	c->queue = q->queue; /* if it is closed by now, this is not run */
	c->sh = store_get(store);
	if (!c->sh) {
		Py_DECREF((PyObject *)c);
		Py_RETURN_NONE;
	}
	c->job.run = run_gets;
	c->job.group = c->sh;
	return call_submit(q, c);
}

/* ---- what needs no thread ------------------------------------------------------------------- */

/* Larger copies would hold up the loop: 256 KiB take some 20 microseconds. */
#define HERE_MAX ((uint64_t)256 << 10)

struct here {
	const struct shared *sh;
	PyObject *bytes;
};

static void *small_bytes(void *arg, size_t len)
{
	struct here *h = arg;

	if (len > HERE_MAX || len > room_limit(h->sh->room))
		return NULL;
	h->bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)len);
	if (!h->bytes)
		PyErr_Clear();
	return h->bytes ? PyBytes_AsString(h->bytes) : NULL;
}

/* (store, …), or NULL with an exception. */
static PyObject *store_arg(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
	struct core_state *st = PyModule_GetState(module);

	if (nargs && PyObject_TypeCheck(args[0], st->store))
		return args[0];
	PyErr_SetString(PyExc_TypeError, "not a MooncakeDistributedStore");
	return NULL;
}

PyObject *get_here(PyObject *module, ARGS)
{
	static const struct sig sig = { "async_get", 1, 1, { { "key", ARG_KEY } } };
	PyObject *self = store_arg(module, args, nargs);
	struct here h = { .bytes = NULL };
	struct mc_get g = { .alloc = small_bytes, .arg = &h };
	struct shared *sh;
	struct arg a[1];

	if (!self || !args_take(PyModule_GetState(module), &sig, args + 1, nargs - 1, kwnames, a))
		return NULL;
	g.key = a[0].key;
	sh = store_get(self);
	if (!sh)
		return PyBytes_FromStringAndSize("", 0);
	h.sh = sh;
	mc_store_get_here(sh->s, &g, 1); /* waits for nothing, so the interpreter lock stays */
	store_put(sh);
	if (g.result >= 0 && h.bytes)
		return h.bytes;
	Py_XDECREF(h.bytes);
	Py_RETURN_NONE;
}

PyObject *get_into_here(PyObject *module, ARGS)
{
	static const struct sig sig = {
		"async_get_into", 3, 0, { { "key", ARG_KEY }, { "buffer_ptr", ARG_U64 }, { "size", ARG_U64 } }
	};
	PyObject *self = store_arg(module, args, nargs);
	struct mc_get g = { .nr_iov = 1, .result = -EAGAIN };
	struct shared *sh;
	struct mc_iov iov;
	struct arg a[3];

	if (!self || !args_take(PyModule_GetState(module), &sig, args + 1, nargs - 1, kwnames, a))
		return NULL;
	iov = piece(a[1].u64, a[2].u64);
	g.key = a[0].key;
	g.iov = &iov;
	sh = iov.len <= HERE_MAX && pieces_usable(self, &iov, 1) ? store_get(self) : NULL;
	if (sh) {
		mc_store_get_here(sh->s, &g, 1);
		store_put(sh);
	}
	if (g.result >= 0)
		return PyLong_FromLongLong(g.result);
	Py_RETURN_NONE;
}

/* What a call in the background was told is the last error of the thread that waited for it. */
PyObject *note_error(PyObject *module, PyObject *call)
{
	const struct core_state *st = PyModule_GetState(module);
	const struct call *c = (const struct call *)call;

	if (!PyObject_TypeCheck(call, st->call))
		return PyErr_Format(PyExc_TypeError, "not a call");
	if (c->ended && *c->error)
		mc_error_set(c->error);
	Py_RETURN_NONE;
}

/* Calls under way end soon, and nothing is waited for: close() comes next. */
PyObject *shutdown_store(PyObject *module, PyObject *self)
{
	struct shared *sh = store_arg(module, &self, 1) ? store_get(self) : NULL;

	if (PyErr_Occurred())
		return NULL;
	if (sh)
		UNLOCKED(mc_store_shutdown(sh->s); store_put(sh));
	Py_RETURN_NONE;
}
