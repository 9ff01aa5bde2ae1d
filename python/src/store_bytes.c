/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values that are Python objects: put, get and their kin. They pass through the library's
 * memory only where they must.
 */
#include "store.h"

#include <stdlib.h>

/* ---- put ------------------------------------------------------------------------------------ */

/* The values of one put, exported for the duration of the call. */
struct exports {
	Py_buffer *view;
	struct mc_iov *iov;
	Py_ssize_t nr;
};

static void exports_free(struct exports *e)
{
	for (Py_ssize_t i = 0; i < e->nr; i++)
		PyBuffer_Release(&e->view[i]);
	PyMem_Free(e->view);
	PyMem_Free(e->iov);
}

static bool exports_add(struct exports *e, const char *name, PyObject *value)
{
	if (!arg_buffer(value, name, &e->view[e->nr]))
		return false;
	e->iov[e->nr] = (struct mc_iov){ e->view[e->nr].buf, (size_t)e->view[e->nr].len };
	e->nr++;
	return true;
}

/* All or none. */
static bool exports_open(struct exports *e, const char *name, PyObject *const *values,
			 Py_ssize_t nr)
{
	bool ok;

	*e = (struct exports){ .view = PyMem_Calloc((size_t)nr + 1, sizeof(*e->view)),
			       .iov = PyMem_Calloc((size_t)nr + 1, sizeof(*e->iov)) };
	ok = e->view && e->iov;
	if (!ok)
		PyErr_NoMemory();
	for (Py_ssize_t i = 0; i < nr && ok; i++)
		ok = exports_add(e, name, values[i]);
	if (!ok)
		exports_free(e);
	return ok;
}

static PyObject *put_value(PyObject *self, const struct sig *sig, ARGS, uint32_t flags)
{
	struct mc_put p = { .nr_iov = 1 };
	struct mc_iov iov;
	struct arg a[3];
	long ret;

	if (!TAKE(sig, a))
		return NULL;
	iov = (struct mc_iov){ a[1].bytes.buf, (size_t)a[1].bytes.len };
	p.key = a[0].key;
	p.iov = &iov;
	ret = put_object(self, &p, &a[2].config, flags, true, NOT_SET_UP);
	args_drop(sig, a);
	return PyLong_FromLong(ret);
}

#define VALUE                                                                         \
	{                                                                             \
		{ "key", ARG_KEY }, { "value", ARG_BYTES }, { "config", ARG_CONFIG }, \
	}

METHOD(put)
{
	static const struct sig sig = { "put", 2, 0, VALUE };

	return put_value(self, &sig, PASSED, 0);
}

METHOD(upsert)
{
	static const struct sig sig = { "upsert", 2, 0, VALUE };

	return put_value(self, &sig, PASSED, MC_PUT_REPLACE);
}

static bool parts_flat(const struct exports *e)
{
	for (Py_ssize_t i = 0; i < e->nr; i++) {
		if (e->view[i].itemsize == 1 && e->view[i].ndim <= 1)
			continue;
		PyErr_SetString(PyExc_RuntimeError, "parts must be 1-D bytes-like");
		return false;
	}
	return true;
}

/* (key, *parts, config=…): config by keyword only. */
static PyObject *put_gathered(PyObject *self, const struct sig *sig, ARGS, uint32_t flags)
{
	Py_ssize_t nr_named = kwnames ? PyTuple_Size(kwnames) : 0, first = nargs ? 1 : 0;
	PyObject *fixed[3] = { NULL }, *out = NULL;
	struct mc_put p = { .result = 0 };
	struct exports e;
	struct arg a[2];

	if (nr_named > 2)
		return PyErr_Format(PyExc_TypeError,
				    "%s(): incompatible function arguments: too many keywords",
				    sig->name);
	if (nargs)
		fixed[0] = args[0];
	for (Py_ssize_t i = 0; i < nr_named; i++)
		fixed[first + i] = args[nargs + i];
	if (!args_take(((struct store_obj *)self)->st, sig, fixed, first, kwnames, a))
		return NULL;
	if (exports_open(&e, "a part", args + 1, nargs ? nargs - 1 : 0)) {
		p = (struct mc_put){ .key = a[0].key, .iov = e.iov, .nr_iov = (unsigned)e.nr };
		if (parts_flat(&e))
			out = PyLong_FromLong(put_object(self, &p, &a[1].config, flags, true, 0));
		exports_free(&e);
	}
	args_drop(sig, a);
	return out;
}

METHOD(put_parts)
{
	static const struct sig sig = {
		"put_parts", 1, 0, { { "key", ARG_KEY }, { "config", ARG_CONFIG } }
	};

	return put_gathered(self, &sig, PASSED, 0);
}

METHOD(upsert_parts)
{
	static const struct sig sig = {
		"upsert_parts", 1, 0, { { "key", ARG_KEY }, { "config", ARG_CONFIG } }
	};

	return put_gathered(self, &sig, PASSED, MC_PUT_REPLACE);
}

/* One int for all: 0, or the first failing key's code. */
static PyObject *put_all(PyObject *self, const struct arg *keys, const struct exports *e,
			 struct put_config *cfg)
{
	uint64_t bytes = pieces_bytes(e->iov, (unsigned)e->nr), limit;
	struct mc_put *p;
	long ret = 0;

	if (!store_limit(self, &limit) || (keys->nr != e->nr && !tell_why(LENGTHS_DIFFER)) || !config_put_valid(cfg, e->nr) ||
	    !bytes_fit(bytes, limit))
		return PyLong_FromLong(NOT_SET_UP);
	for (Py_ssize_t i = 0; i < e->nr; i++)
		if (!e->iov[i].len && !tell_why("an empty value is not stored"))
			return PyLong_FromLong(NOT_SET_UP);
	p = PyMem_Calloc((size_t)e->nr + 1, sizeof(*p));
	if (!p)
		return PyErr_NoMemory();
	for (Py_ssize_t i = 0; i < e->nr; i++)
		p[i] = (struct mc_put){
			.key = keys->keys[i], .iov = &e->iov[i], .nr_iov = 1, .result = -EINVAL
		};
	run_put(self, p, e->nr, &cfg->opts);
	for (Py_ssize_t i = 0; i < e->nr && !ret; i++)
		ret = (long)mc_store_code(p[i].result);
	PyMem_Free(p);
	return PyLong_FromLong(ret);
}

static PyObject *put_values(PyObject *self, const struct sig *sig, ARGS, uint32_t flags)
{
	PyObject *out = NULL, **values;
	struct exports e;
	struct arg a[3];

	if (!TAKE(sig, a))
		return NULL;
	values = PyMem_Malloc((size_t)(a[1].nr + 1) * sizeof(PyObject *));
	for (Py_ssize_t i = 0; values && i < a[1].nr; i++)
		values[i] = PyTuple_GetItem(a[1].list, i);
	a[2].config.opts.flags |= flags;
	if (!values)
		PyErr_NoMemory();
	else if (exports_open(&e, "each of values", values, a[1].nr)) {
		out = put_all(self, &a[0], &e, &a[2].config);
		exports_free(&e);
	}
	PyMem_Free(values);
	args_drop(sig, a);
	return out;
}

#define VALUES                                                                          \
	{                                                                               \
		{ "keys", ARG_KEYS }, { "values", ARG_LIST }, { "config", ARG_CONFIG }, \
	}

METHOD(put_batch)
{
	static const struct sig sig = { "put_batch", 2, 0, VALUES };

	return put_values(self, &sig, PASSED, 0);
}

METHOD(upsert_batch)
{
	static const struct sig sig = { "upsert_batch", 2, 0, VALUES };

	return put_values(self, &sig, PASSED, MC_PUT_REPLACE);
}

/* ---- get ------------------------------------------------------------------------------------ */

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
	if (p)
		memory_fresh(p, len);
	return p;
}

static void *as_memory(void *arg, size_t len)
{
	struct target *t = arg;

	if (!room_take(t->room, len))
		return NULL;
	t->mem = room_alloc(t->room, len);
	if (!t->mem)
		room_give(t->room, len);
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
		h = handle_new(st, t->mem, t->len, t->room, true);
		if (h)
			return h;
		PyErr_Clear();
	}
	if (t->mem) {
		room_free(t->room, t->mem, t->len);
		room_give(t->room, t->len);
	}
	Py_RETURN_NONE;
}

/*
 * Reads one object per key; each ends as bytes or a handle in @x, a new reference or NULL with
 * an exception.
 */
static void read_objects(PyObject *self, struct mc_get *g, struct target *t, PyObject **x,
			 Py_ssize_t nr, bool handles)
{
	struct core_state *st = ((struct store_obj *)self)->st;
	struct shared *sh = store_get(self);
	PyThreadState *thread;
	struct room *room;

	room = sh ? sh->room : NULL;
	for (Py_ssize_t i = 0; i < nr; i++) {
		t[i] = (struct target){ .thread = &thread, .room = room };
		g[i].alloc = handles ? as_memory : as_bytes;
		g[i].arg = &t[i];
		g[i].result = -EINVAL;
	}
	if (sh) {
		/* Not UNLOCKED(): memory is asked for in between, with the lock. */
		thread = PyEval_SaveThread();
		mc_store_get(sh->s, g, (unsigned)nr, 0);
		room_ref(room); /* handles are made when the store may be closed already */
		store_put(sh);
		PyEval_RestoreThread(thread);
	}
	for (Py_ssize_t i = 0; i < nr; i++)
		x[i] = handles ? handle_of(st, &t[i], g[i].result) : bytes_of(&t[i], g[i].result);
	room_unref(room);
}

static PyObject *get_one(PyObject *self, PyObject *key, bool handle)
{
	struct mc_get g = { .result = 0 };
	struct target t;
	PyObject *x;

	if (!arg_key(key, "key", &g.key))
		return NULL;
	read_objects(self, &g, &t, &x, 1, handle);
	return x;
}

static PyObject *get_list(PyObject *self, PyObject *arg, bool handles)
{
	PyObject *keys, *list = NULL, **x = NULL;
	struct mc_key *key = NULL;
	struct target *t = NULL;
	struct mc_get *g = NULL;
	Py_ssize_t nr;

	keys = arg_keys(arg, "keys", &key);
	if (!keys)
		return NULL;
	nr = PyTuple_Size(keys);
	if (!handles &&
	    (!nr || !store_is_open(self))) { /* callers know this one element */
		list = Py_BuildValue("[y#]", "", (Py_ssize_t)0);
		goto out;
	}
	g = PyMem_Calloc((size_t)nr + 1, sizeof(*g));
	t = PyMem_Calloc((size_t)nr + 1, sizeof(*t));
	x = PyMem_Calloc((size_t)nr + 1, sizeof(PyObject *));
	if (!g || !t || !x) {
		PyErr_NoMemory();
		goto out;
	}
	for (Py_ssize_t i = 0; i < nr; i++)
		g[i].key = key[i];
	read_objects(self, g, t, x, nr, handles);
	list = PyList_New(nr);
	for (Py_ssize_t i = 0; i < nr; i++) {
		if (!list)
			Py_XDECREF(x[i]);
		else if (!list_set(list, i, x[i]))
			Py_CLEAR(list);
	}
out:
	PyMem_Free(x);
	PyMem_Free(t);
	PyMem_Free(g);
	PyMem_Free(key);
	Py_DECREF(keys);
	return list;
}

static PyObject *get(PyObject *self, PyObject *key)
{
	return get_one(self, key, false);
}

static PyObject *get_buffer(PyObject *self, PyObject *key)
{
	return get_one(self, key, true);
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
	  "put($self, /, key, value, config=...)\n--\n\n"
	  "Store the bytes of a C-contiguous bytes-like value. Returns 0 when it is stored, or was "
	  "there already (the stored value is\n"
	  "not changed); -600 bad arguments, empty value, or larger than local_buffer_size; -200 "
	  "no room; -900 no master." },
	{ "put_parts", CALL(put_parts), FAST,
	  "put_parts($self, /, key, *parts, config=...)\n--\n\n"
	  "Store the concatenation of 1-D bytes-like parts. No bytes at all: 0, and nothing is "
	  "stored. Codes as put()." },
	{ "put_batch", CALL(put_batch), FAST,
	  "put_batch($self, /, keys, values, config=...)\n--\n\n"
	  "Store several values with one acknowledgement. Returns 0, or the first failing key's "
	  "code; others may be stored. -600 when\n"
	  "the lists differ in length or a value is empty: nothing is sent." },
	{ "upsert", CALL(upsert), FAST,
	  "upsert($self, /, key, value, config=...)\n--\n\nAs put(), but replaces what is there." },
	{ "upsert_parts", CALL(upsert_parts), FAST,
	  "upsert_parts($self, /, key, *parts, config=...)\n--\n\nAs put_parts(), but replaces "
	  "what is there." },
	{ "upsert_batch", CALL(upsert_batch), FAST,
	  "upsert_batch($self, /, keys, values, config=...)\n--\n\nAs put_batch(), but replaces "
	  "what is there." },
	{ "get", get, METH_O,
	  "get($self, key, /)\n--\n\nThe value; b'' when it is missing or could not be read "
	  "(last_error() says which)." },
	{ "get_batch", get_batch, METH_O,
	  "get_batch($self, keys, /)\n--\n\nOne entry per key, b'' where it is missing. An empty "
	  "list gives [b'']." },
	{ "get_buffer", get_buffer, METH_O,
	  "get_buffer($self, key, /)\n--\n\nThe value in memory of the library; None when it is "
	  "missing or\n"
	  "local_buffer_size has no room for it." },
	{ "batch_get_buffer", batch_get_buffer, METH_O,
	  "batch_get_buffer($self, keys, /)\n--\n\nAs get_buffer() for each key." },
	{ NULL, NULL, 0, NULL },
};
