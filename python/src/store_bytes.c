/* SPDX-License-Identifier: Apache-2.0 */
/* Values that are Python objects: put, get and their kin. They pass through the library's memory only where they must. */
#include "store.h"

#include <stdlib.h>

/* ---- put ------------------------------------------------------------------------------------------------------------ */

/* The values of one put, exported for the duration of the call. */
struct exports {
	Py_buffer *view;
	struct mc_iov *iov;
	Py_ssize_t nr;
	uint64_t bytes;
};

static void exports_free(struct exports *e)
{
	for (Py_ssize_t i = 0; i < e->nr; i++)
		PyBuffer_Release(&e->view[i]);
	PyMem_Free(e->view);
	PyMem_Free(e->iov);
	e->nr = 0;
}

static bool exports_room(struct exports *e, Py_ssize_t nr)
{
	*e = (struct exports){ 0 };
	e->view = PyMem_Calloc((size_t)nr + 1, sizeof(*e->view));
	e->iov = PyMem_Calloc((size_t)nr + 1, sizeof(*e->iov));
	if (e->view && e->iov)
		return true;
	exports_free(e);
	PyErr_NoMemory();
	return false;
}

static bool exports_add(struct exports *e, PyObject *value)
{
	if (!arg_buffer(value, "value", &e->view[e->nr]))
		return false;
	e->iov[e->nr] = (struct mc_iov){ e->view[e->nr].buf, (size_t)e->view[e->nr].len };
	e->bytes += (uint64_t)e->view[e->nr].len;
	e->nr++;
	return true;
}

static long put_one(struct shared *sh, const struct mc_key *key, const struct mc_iov *iov, Py_ssize_t nr,
		    struct put_config *cfg, uint32_t flags)
{
	struct mc_put p = { .key = *key, .iov = iov, .nr_iov = (unsigned)nr };

	cfg->opts.flags |= flags;
	Py_BEGIN_ALLOW_THREADS
	mc_store_put(sh->s, &p, 1, &cfg->opts, 0);
	Py_END_ALLOW_THREADS
	return (long)mc_store_code(p.result);
}

static PyObject *put_value(PyObject *self, const struct sig *sig, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
			   uint32_t flags)
{
	struct put_config cfg;
	struct shared *sh;
	struct exports e;
	struct mc_key key;
	PyObject *a[3];
	long ret = NOT_SET_UP;

	if (!bind_args(sig, args, nargs, kwnames, a) || !arg_key(a[0], "key", &key) ||
	    !config_get(((struct store_obj *)self)->st, a[2], &cfg))
		return NULL;
	if (!exports_room(&e, 1) || !exports_add(&e, a[1])) {
		exports_free(&e);
		config_put(&cfg);
		return NULL;
	}
	sh = store_get(self);
	if (sh && e.bytes && e.bytes <= room_limit(sh->room) && !cfg.same_node && config_valid(&cfg, 1))
		ret = put_one(sh, &key, e.iov, 1, &cfg, flags);
	if (sh)
		store_put(sh);
	exports_free(&e);
	config_put(&cfg);
	return PyLong_FromLong(ret);
}

METHOD(put)
{
	static const struct sig sig = { "put", { "key", "value", "config", NULL }, 2, 0 };

	return put_value(self, &sig, args, nargs, kwnames, 0);
}

METHOD(upsert)
{
	static const struct sig sig = { "upsert", { "key", "value", "config", NULL }, 2, 0 };

	return put_value(self, &sig, args, nargs, kwnames, MC_PUT_REPLACE);
}

/* (key, *parts, config=…): config by keyword only. */
static PyObject *put_gathered(PyObject *self, const char *name, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
			      uint32_t flags)
{
	const struct sig sig = { name, { "key", "config", NULL }, 1, 0 };
	struct put_config cfg;
	struct shared *sh;
	struct exports e;
	struct mc_key key;
	PyObject *a[2], *fixed[2];
	long ret = NOT_SET_UP;

	if (kwnames && PyTuple_Size(kwnames) > 1)
		return PyErr_Format(PyExc_TypeError, "%s(): config is the only keyword", name);
	fixed[0] = nargs ? args[0] : NULL;
	fixed[1] = kwnames && PyTuple_Size(kwnames) ? args[nargs] : NULL;
	if (!bind_args(&sig, fixed, nargs ? 1 : 0, fixed[1] ? kwnames : NULL, a) || !arg_key(a[0], "key", &key) ||
	    !config_get(((struct store_obj *)self)->st, a[1], &cfg))
		return NULL;
	if (!exports_room(&e, nargs))
		goto err_config;
	for (Py_ssize_t i = 1; i < nargs; i++) {
		if (!exports_add(&e, args[i]))
			goto err_exports;
		if (e.view[e.nr - 1].itemsize != 1 || e.view[e.nr - 1].ndim > 1) {
			PyErr_SetString(PyExc_RuntimeError, "parts must be 1-D bytes-like");
			goto err_exports;
		}
	}
	sh = store_get(self);
	if (sh && !cfg.same_node && config_valid(&cfg, 1) && e.bytes <= room_limit(sh->room))
		ret = e.bytes ? put_one(sh, &key, e.iov, e.nr, &cfg, flags) : 0; /* nothing to store: nothing is stored */
	if (sh)
		store_put(sh);
	exports_free(&e);
	config_put(&cfg);
	return PyLong_FromLong(ret);

err_exports:
	exports_free(&e);
err_config:
	config_put(&cfg);
	return NULL;
}

METHOD(put_parts)
{
	return put_gathered(self, "put_parts", args, nargs, kwnames, 0);
}

METHOD(upsert_parts)
{
	return put_gathered(self, "upsert_parts", args, nargs, kwnames, MC_PUT_REPLACE);
}

/* One int for all: 0, or the first failing key's code. */
static long put_all(struct shared *sh, PyObject *keys, struct exports *e, struct put_config *cfg, uint32_t flags)
{
	Py_ssize_t nr = PyTuple_Size(keys);
	struct mc_put *p = PyMem_Calloc((size_t)nr + 1, sizeof(*p));
	long ret = 0;

	if (!p)
		return -1;
	for (Py_ssize_t i = 0; i < nr; i++) {
		if (!arg_key(PyTuple_GetItem(keys, i), "keys", &p[i].key)) {
			PyMem_Free(p);
			return 0; /* the exception speaks */
		}
		p[i].iov = &e->iov[i];
		p[i].nr_iov = 1;
	}
	cfg->opts.flags |= flags;
	Py_BEGIN_ALLOW_THREADS
	mc_store_put(sh->s, p, (unsigned)nr, &cfg->opts, 0);
	Py_END_ALLOW_THREADS
	for (Py_ssize_t i = 0; i < nr && !ret; i++)
		ret = (long)mc_store_code(p[i].result);
	PyMem_Free(p);
	return ret;
}

static PyObject *put_values(PyObject *self, const struct sig *sig, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
			    uint32_t flags)
{
	PyObject *a[3], *keys = NULL, *values = NULL, *out = NULL;
	struct exports e = { 0 };
	struct put_config cfg;
	struct shared *sh;
	bool ok = true;
	long ret = NOT_SET_UP;

	if (!bind_args(sig, args, nargs, kwnames, a) || !config_get(((struct store_obj *)self)->st, a[2], &cfg))
		return NULL;
	keys = arg_tuple(a[0], "keys");
	values = keys ? arg_tuple(a[1], "values") : NULL;
	if (!values || !exports_room(&e, PyTuple_Size(values)))
		goto out;
	for (Py_ssize_t i = 0; i < PyTuple_Size(values); i++) {
		if (!exports_add(&e, PyTuple_GetItem(values, i)))
			goto out;
		ok = ok && e.iov[i].len;
	}
	sh = store_get(self);
	if (sh && ok && PyTuple_Size(keys) == e.nr && e.bytes <= room_limit(sh->room) && !cfg.same_node &&
	    config_valid(&cfg, e.nr))
		ret = put_all(sh, keys, &e, &cfg, flags);
	if (sh)
		store_put(sh);
	if (!PyErr_Occurred())
		out = PyLong_FromLong(ret);
out:
	exports_free(&e);
	Py_XDECREF(values);
	Py_XDECREF(keys);
	config_put(&cfg);
	return out;
}

METHOD(put_batch)
{
	static const struct sig sig = { "put_batch", { "keys", "values", "config", NULL }, 2, 0 };

	return put_values(self, &sig, args, nargs, kwnames, 0);
}

METHOD(upsert_batch)
{
	static const struct sig sig = { "upsert_batch", { "keys", "values", "config", NULL }, 2, 0 };

	return put_values(self, &sig, args, nargs, kwnames, MC_PUT_REPLACE);
}

/* ---- get ------------------------------------------------------------------------------------------------------------ */

/* Memory for one object, asked for when its size is known, without the interpreter lock. */
struct target {
	PyThreadState **thread;
	struct room *room;
	PyObject *bytes; /* as_bytes: made with the lock taken again for a moment */
	void *mem;	 /* as_memory */
	size_t len;
};

static void *as_bytes(void *arg, size_t len)
{
	struct target *t = arg;
	void *p = NULL;

	if (len > room_limit(t->room))
		return NULL;
	PyEval_RestoreThread(*t->thread);
	t->bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)len);
	if (t->bytes)
		p = PyBytes_AsString(t->bytes);
	else
		PyErr_Clear();
	*t->thread = PyEval_SaveThread();
	return p;
}

static void *as_memory(void *arg, size_t len)
{
	struct target *t = arg;

	if (!room_take(t->room, len))
		return NULL;
	if (posix_memalign(&t->mem, 64, len ? len : 1)) {
		t->mem = NULL;
		room_give(t->room, len);
	}
	t->len = len;
	return t->mem;
}

static PyObject *bytes_of(struct target *t, int64_t result)
{
	PyObject *out = result >= 0 ? t->bytes : NULL;

	if (out)
		return out;
	Py_XDECREF(t->bytes);
	return PyBytes_FromStringAndSize("", 0);
}

static PyObject *handle_of(struct core_state *st, struct target *t, int64_t result)
{
	PyObject *h;

	if (result >= 0) {
		h = handle_new(st, t->mem, t->len, t->room);
		if (h)
			return h;
		PyErr_Clear();
	}
	if (t->mem) {
		free(t->mem);
		room_give(t->room, t->len);
	}
	Py_RETURN_NONE;
}

/* Reads all @keys; each result becomes bytes, or a handle. */
static PyObject *get_many(PyObject *self, struct shared *sh, PyObject *keys, bool handles)
{
	struct core_state *st = ((struct store_obj *)self)->st;
	Py_ssize_t nr = PyTuple_Size(keys);
	struct mc_get *g = PyMem_Calloc((size_t)nr + 1, sizeof(*g));
	struct target *t = PyMem_Calloc((size_t)nr + 1, sizeof(*t));
	PyThreadState *thread;
	PyObject *list = NULL, *x;
	bool ok = g && t;

	for (Py_ssize_t i = 0; ok && i < nr; i++) {
		ok = arg_key(PyTuple_GetItem(keys, i), "keys", &g[i].key);
		t[i].thread = &thread;
		t[i].room = sh->room;
		g[i].alloc = handles ? as_memory : as_bytes;
		g[i].arg = &t[i];
	}
	if (ok) {
		thread = PyEval_SaveThread();
		mc_store_get(sh->s, g, (unsigned)nr, 0);
		PyEval_RestoreThread(thread);
		list = PyList_New(nr);
		for (Py_ssize_t i = 0; i < nr; i++) {
			x = handles ? handle_of(st, &t[i], g[i].result) : bytes_of(&t[i], g[i].result);
			if (list && (!x || PyList_SetItem(list, i, x)))
				Py_CLEAR(list);
			else if (!list)
				Py_XDECREF(x);
		}
	}
	PyMem_Free(t);
	PyMem_Free(g);
	return list ? list : PyErr_Occurred() ? NULL : PyErr_NoMemory();
}

static PyObject *get_first(PyObject *self, PyObject *key, bool handles)
{
	struct shared *sh;
	PyObject *keys, *list, *out = NULL;
	struct mc_key check;

	if (!arg_key(key, "key", &check))
		return NULL;
	sh = store_get(self);
	if (!sh)
		return handles ? Py_NewRef(Py_None) : PyBytes_FromStringAndSize("", 0);
	keys = PyTuple_Pack(1, key);
	list = keys ? get_many(self, sh, keys, handles) : NULL;
	if (list)
		out = Py_NewRef(PyList_GetItem(list, 0));
	Py_XDECREF(list);
	Py_XDECREF(keys);
	store_put(sh);
	return out;
}

static PyObject *get(PyObject *self, PyObject *key)
{
	return get_first(self, key, false);
}

static PyObject *get_buffer(PyObject *self, PyObject *key)
{
	return get_first(self, key, true);
}

static PyObject *get_list(PyObject *self, PyObject *arg, bool handles)
{
	PyObject *keys = arg_tuple(arg, "keys"), *out;
	struct shared *sh;

	if (!keys)
		return NULL;
	sh = store_get(self);
	if (!handles && (!sh || !PyTuple_Size(keys))) /* callers know this one element */
		out = Py_BuildValue("[y#]", "", (Py_ssize_t)0);
	else if (!sh)
		out = PyList_New(0);
	else
		out = get_many(self, sh, keys, handles);
	if (handles && !sh && out)
		for (Py_ssize_t i = 0; i < PyTuple_Size(keys); i++)
			if (PyList_Append(out, Py_None))
				Py_CLEAR(out);
	if (sh)
		store_put(sh);
	Py_DECREF(keys);
	return out;
}

static PyObject *get_batch(PyObject *self, PyObject *keys)
{
	return get_list(self, keys, false);
}

static PyObject *batch_get_buffer(PyObject *self, PyObject *keys)
{
	return get_list(self, keys, true);
}

PyMethodDef store_bytes[] = {
	{ "put", CALL(put), FAST,
	  "put(key, value, config=ReplicateConfig()) -> int\n\n"
	  "Store the bytes of a C-contiguous bytes-like value. Returns 0 when it is stored, or was there already (the stored value is\n"
	  "not changed); -600 bad arguments, empty value, or larger than local_buffer_size; -200 no room; -900 no master." },
	{ "put_parts", CALL(put_parts), FAST,
	  "put_parts(key, *parts, config=ReplicateConfig()) -> int\n\n"
	  "Store the concatenation of 1-D bytes-like parts. No bytes at all: 0, and nothing is stored. Codes as put()." },
	{ "put_batch", CALL(put_batch), FAST,
	  "put_batch(keys, values, config=ReplicateConfig()) -> int\n\n"
	  "Store several values with one acknowledgement. Returns 0, or the first failing key's code; others may be stored. -600 when\n"
	  "the lists differ in length or a value is empty: nothing is sent." },
	{ "upsert", CALL(upsert), FAST, "upsert(key, value, config=ReplicateConfig()) -> int\n\nAs put(), but replaces what is there." },
	{ "upsert_parts", CALL(upsert_parts), FAST,
	  "upsert_parts(key, *parts, config=ReplicateConfig()) -> int\n\nAs put_parts(), but replaces what is there." },
	{ "upsert_batch", CALL(upsert_batch), FAST,
	  "upsert_batch(keys, values, config=ReplicateConfig()) -> int\n\nAs put_batch(), but replaces what is there." },
	{ "get", get, METH_O,
	  "get(key, /) -> bytes\n\nThe value; b'' when it is missing or could not be read (last_error() says which)." },
	{ "get_batch", get_batch, METH_O,
	  "get_batch(keys, /) -> list[bytes]\n\nOne entry per key, b'' where it is missing. An empty list gives [b'']." },
	{ "get_buffer", get_buffer, METH_O,
	  "get_buffer(key, /) -> BufferHandle or None\n\nThe value in memory of the library; None when it is missing or\n"
	  "local_buffer_size has no room for it." },
	{ "batch_get_buffer", batch_get_buffer, METH_O,
	  "batch_get_buffer(keys, /) -> list[BufferHandle or None]\n\nAs get_buffer() for each key." },
	{ NULL, NULL, 0, NULL },
};
