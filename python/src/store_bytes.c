/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values that are Python objects: put, get and their kin. They pass through the library's
 * memory only where they must.
 */
#include "store.h"

#include <errno.h>
#include <stdlib.h>

/* ---- put ------------------------------------------------------------------------------------ */

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
	*e = (struct exports){ 0 };
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

/*
 * The pieces of one object; no bytes at all are @none: -600, or 0 for calls that take that for
 * nothing to do.
 */
static long put_one(PyObject *self, const struct mc_key *key, const struct exports *e,
		    struct put_config *cfg, uint32_t flags, long none)
{
	struct mc_put p = { .key = *key, .iov = e->iov, .nr_iov = (unsigned)e->nr };
	struct shared *sh = cfg->same_node || !config_valid(cfg, 1) ? NULL : store_get(self);
	bool fits;

	if (!sh)
		return NOT_SET_UP;
	cfg->opts.flags |= flags;
	Py_BEGIN_ALLOW_THREADS fits = e->bytes <= room_limit(sh->room);
	if (fits && e->bytes)
		mc_store_put(sh->s, &p, 1, &cfg->opts, 0);
	store_put(sh);
	Py_END_ALLOW_THREADS return !fits ? NOT_SET_UP :
	e->bytes			  ? (long)mc_store_code(p.result) :
					    none;
}

static PyObject *put_value(PyObject *self, const struct sig *sig, PyObject *const *args,
			   Py_ssize_t nargs, PyObject *kwnames, uint32_t flags)
{
	struct put_config cfg;
	struct exports e;
	struct mc_key key;
	PyObject *a[3];
	long ret;

	if (!bind_args(sig, args, nargs, kwnames, a) || !arg_key(a[0], "key", &key) ||
	    !config_get(((struct store_obj *)self)->st, a[2], &cfg))
		return NULL;
	if (!exports_room(&e, 1) || !exports_add(&e, a[1])) {
		exports_free(&e);
		config_put(&cfg);
		return NULL;
	}
	ret = put_one(self, &key, &e, &cfg, flags, NOT_SET_UP);
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
static PyObject *put_gathered(PyObject *self, const char *name, PyObject *const *args,
			      Py_ssize_t nargs, PyObject *kwnames, uint32_t flags)
{
	const struct sig sig = { name, { "key", "config", NULL }, 1, 0 };
	Py_ssize_t nr_named = kwnames ? PyTuple_Size(kwnames) : 0, first = nargs ? 1 : 0;
	PyObject *a[2], *fixed[3] = { NULL };
	struct put_config cfg;
	struct exports e;
	struct mc_key key;
	long ret;

	if (nr_named > 2)
		return PyErr_Format(PyExc_TypeError,
				    "%s(): incompatible function arguments: too many keywords",
				    name);
	if (nargs)
		fixed[0] = args[0];
	for (Py_ssize_t i = 0; i < nr_named; i++)
		fixed[first + i] = args[nargs + i];
	if (!bind_args(&sig, fixed, first, kwnames, a) || !arg_key(a[0], "key", &key) ||
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
	ret = put_one(self, &key, &e, &cfg, flags, 0);
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
static long put_all(PyObject *self, const struct mc_key *key, const struct exports *e,
		    struct put_config *cfg, uint32_t flags)
{
	struct mc_put *p = PyMem_Calloc((size_t)e->nr + 1, sizeof(*p));
	struct shared *sh = p ? store_get(self) : NULL;
	long ret = NOT_SET_UP;

	for (Py_ssize_t i = 0; i < e->nr && p; i++)
		p[i] = (struct mc_put){
			.key = key[i], .iov = &e->iov[i], .nr_iov = 1, .result = -EINVAL
		};
	cfg->opts.flags |= flags;
	if (sh) {
		Py_BEGIN_ALLOW_THREADS if (e->bytes <= room_limit(sh->room))
		{
			mc_store_put(sh->s, p, (unsigned)e->nr, &cfg->opts, 0);
			ret = 0;
		}
		store_put(sh);
		Py_END_ALLOW_THREADS
	}
	for (Py_ssize_t i = 0; i < e->nr && !ret; i++)
		ret = (long)mc_store_code(p[i].result);
	PyMem_Free(p);
	return ret;
}

static PyObject *put_values(PyObject *self, const struct sig *sig, PyObject *const *args,
			    Py_ssize_t nargs, PyObject *kwnames, uint32_t flags)
{
	PyObject *a[3], *keys = NULL, *values = NULL, *out = NULL;
	struct exports e = { 0 };
	struct mc_key *key = NULL;
	struct put_config cfg;
	bool ok;

	if (!bind_args(sig, args, nargs, kwnames, a) ||
	    !config_get(((struct store_obj *)self)->st, a[2], &cfg))
		return NULL;
	keys = arg_keys(a[0], "keys", &key);
	values = keys ? arg_tuple(a[1], "values") : NULL;
	if (!values || !exports_room(&e, PyTuple_Size(values)))
		goto out;
	ok = PyTuple_Size(keys) == PyTuple_Size(values) && !cfg.same_node &&
	     config_valid(&cfg, PyTuple_Size(keys));
	for (Py_ssize_t i = 0; i < PyTuple_Size(values); i++) {
		if (!exports_add(&e, PyTuple_GetItem(values, i)))
			goto out;
		ok = ok && e.iov[i].len;
	}
	out = PyLong_FromLong(ok ? put_all(self, key, &e, &cfg, flags) : NOT_SET_UP);
out:
	exports_free(&e);
	PyMem_Free(key);
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
	    (!nr || !((struct store_obj *)self)->sh)) { /* callers know this one element */
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
		else if (!x[i] || PyList_SetItem(list, i, x[i]))
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
